package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/logobeam/logobeam/model"
	"pgregory.net/rapid"
)

// drawn is the probabilities of a model whose logits are too large by the factor sure, and labels drawn as true
// probabilities say.
func drawn(r *rand.Rand, images, classes int, sure float64) (truth []int, probs []float32) {
	for range images {
		logits, p := make([]float64, classes), make([]float64, classes)
		sum := func(factor float64) (s float64) {
			for i, v := range logits {
				p[i] = math.Exp(factor * v)
				s += p[i]
			}
			return s
		}
		for i := range logits {
			logits[i] = 2 * r.NormFloat64()
		}
		u := r.Float64() * sum(1)
		label := 0
		for u > p[label] && label < classes-1 {
			u -= p[label]
			label++
		}
		truth = append(truth, label)
		all := sum(sure)
		for _, v := range p {
			probs = append(probs, float32(v/all))
		}
	}
	return truth, probs
}

// A model that is too sure by a known factor is found out.
func TestCalibrateFindsTheTemperature(t *testing.T) {
	classes := []string{"a", "b", "c", "no-logo"}
	for _, sure := range []float64{0.25, 1, 3} {
		truth, probs := drawn(rand.New(rand.NewPCG(1, 0)), 4000, len(classes), sure)
		c := Calibrate(classes, 1, truth, probs)
		if math.Abs(c.Temperature-sure) > 0.08*sure {
			t.Errorf("logits too large by %v: temperature %v", sure, c.Temperature)
		}
		if c.NLL > c.NLLBefore+1e-12 || c.ECE > 0.02 || sure != 1 && c.ECEBefore < 5*c.ECE {
			t.Errorf("logits too large by %v: %+v", sure, c)
		}
	}
}

// Images without a logo that come by the hundred do not change how sure the model is of the others.
func TestCalibrateWeighsClassesAlike(t *testing.T) {
	truth, probs := drawn(rand.New(rand.NewPCG(2, 0)), 200, 3, 2)
	once := Calibrate([]string{"a", "b", "no-logo"}, 1, truth, probs)
	for range 9 {
		for i := range 200 {
			if truth[i] == 2 {
				truth, probs = append(truth, 2), append(probs, probs[3*i:3*i+3]...)
			}
		}
	}
	often := Calibrate([]string{"a", "b", "no-logo"}, 1, truth, probs)
	if math.Abs(once.Temperature-often.Temperature) > 2e-4 || math.Abs(once.NLL-often.NLL) > 1e-6 {
		t.Errorf("temperature %v, and %v with the images without a logo ten times", once.Temperature, often.Temperature)
	}
}

// Views that are all alike are as one; where they differ the temperature is that of their mean.
func TestCalibrateViews(t *testing.T) {
	truth, probs := drawn(rand.New(rand.NewPCG(3, 0)), 500, 4, 3)
	var twice []float32
	for i := range truth {
		row := probs[4*i : 4*i+4]
		twice = append(append(twice, row...), row...)
	}
	classes := []string{"a", "b", "c", "no-logo"}
	one, two := Calibrate(classes, 1, truth, probs), Calibrate(classes, 2, truth, twice)
	if math.Abs(one.Temperature-two.Temperature) > 2e-4 || math.Abs(one.NLL-two.NLL) > 1e-6 || one.Views != 0 || two.Views != 2 {
		t.Errorf("one view %+v, two of the same %+v", one, two)
	}
	truth, views := []int{0, 1}, []float32{.9, .1, .5, .5, .2, .8, .6, .4}
	c := Calibrate([]string{"a", "b"}, 2, truth, views)
	if want := -(math.Log(.7) + math.Log(.6)) / 2; math.Abs(c.NLLBefore-want) > 1e-6 {
		t.Errorf("likelihood %v before, want that of the mean, %v", c.NLLBefore, want)
	}
}

func TestCalibrateAnswers(t *testing.T) {
	classes := []string{"a", "no-logo", "b"}
	c := Calibrate(classes, 1, []int{0, 0, 1, 2, 1}, []float32{.5, .3, .2, .8, .1, .1, .1, .9, 0, .6, .4, 0, .2, .6, .2})
	a := c.Answers["a"]
	if len(c.Answers) != 1 || len(a.Right) != 2 || len(a.Wrong) != 1 || a.Right[0] < a.Right[1] {
		t.Errorf("%+v; want two right answers of a, falling, a wrong one, and none of no-logo", c.Answers)
	}
}

// No temperature below that where there is none: one that is never wrong could be sure without end.
func TestCalibrateWithoutMistakes(t *testing.T) {
	c := Calibrate([]string{"a", "b"}, 1, []int{0, 1}, []float32{.75, .25, 0, 1})
	if c.Temperature != 1 || c.NLL != c.NLLBefore || c.Answers["a"].Right[0] != 0.75 {
		t.Errorf("%+v; want all as it was", c)
	}
}

// At no other temperature are the images likelier, whatever a model says.
func TestTemperatureIsBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(2, 5).Draw(t, "classes")
		images := rapid.IntRange(2, 30).Draw(t, "images")
		classes := make([]string, k)
		for i := range classes {
			classes[i] = string(rune('a' + i))
		}
		classes[k-1] = model.NoLogo
		truth, probs := make([]int, images), []float32(nil)
		for i := range truth {
			truth[i] = rapid.IntRange(0, k-1).Draw(t, "label")
			row, sum := make([]float32, k), float32(0)
			for j := range row {
				row[j] = rapid.Float32Range(0, 1).Draw(t, "share")
				sum += row[j]
			}
			for j := range row {
				if sum == 0 {
					row[0], sum = 1, 1
				}
				row[j] /= sum
			}
			probs = append(probs, row...)
		}
		c := Calibrate(classes, 1, truth, probs)
		if c.Temperature < coldest || c.Temperature > hottest || math.IsNaN(c.NLL) || math.IsInf(c.NLL, 0) || math.IsNaN(c.ECE) {
			t.Fatalf("%+v", c)
		}
		if c.NLL > c.NLLBefore+1e-6*math.Abs(c.NLLBefore) {
			t.Fatalf("it makes the images less likely: %+v", c)
		}
		s := soften(k, 1, truth, probs)
		for _, x := range []float64{coldest, 0.3, 0.9 * c.Temperature, 1.1 * c.Temperature, 3, hottest} {
			if x >= coldest && x <= hottest && c.Temperature != 1 && s.nll(x) < c.NLL-1e-4*c.NLL {
				t.Fatalf("at %g the images are likelier than at %g", x, c.Temperature)
			}
		}
		said := 0
		for brand, b := range c.Answers {
			if brand == model.NoLogo {
				t.Fatal("no-logo is no brand")
			}
			said += len(b.Right) + len(b.Wrong)
		}
		for _, a := range Answers(truth, probs) {
			if a.Class == k-1 {
				said++
			}
		}
		if said != images {
			t.Fatalf("%d answers of %d images", said, images)
		}
	})
}
