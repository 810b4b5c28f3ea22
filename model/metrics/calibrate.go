package metrics

import (
	"math"
	"slices"

	"github.com/logobeam/logobeam/model"
)

// The temperatures that Calibrate looks among, and the bins of its ECE.
const (
	coldest, hottest = 0.05, 20
	calibrationBins  = 15
)

// Calibrate finds the temperature with which a model's probabilities of labelled images, [len(truth)][classes], are
// likeliest (Guo et al., 2017), every class weighing the same, and says what it does to them: how many of the images show no
// logo is chance, and must not decide how sure the model is of those that do. The images must be others than those the model has learnt
// from. Where every answer is right nothing says how sure the model may be, and the temperature is 1.
func Calibrate(classes []string, truth []int, probs []float32) *model.Calibration {
	s := soften(len(classes), truth, probs)
	before := Answers(truth, probs)
	c := &model.Calibration{Temperature: 1, Images: len(truth), Answers: map[string]model.BrandAnswers{}}
	if slices.ContainsFunc(before, func(a Answer) bool { return a.Class != a.Truth }) {
		c.Temperature = math.Round(1e4*s.temperature()) / 1e4
	}
	after := make([]Answer, len(before))
	for i, a := range before {
		a.Probability = float32(math.Exp(s.log(i, a.Class, c.Temperature)))
		after[i] = a
		name := classes[a.Class]
		if name == model.NoLogo {
			continue
		}
		b := c.Answers[name]
		if a.Class == a.Truth {
			b.Right = append(b.Right, a.Probability)
		} else {
			b.Wrong = append(b.Wrong, a.Probability)
		}
		c.Answers[name] = b
	}
	for _, b := range c.Answers {
		for _, list := range [][]float32{b.Right, b.Wrong} {
			slices.Sort(list)
			slices.Reverse(list)
		}
	}
	c.NLLBefore, c.NLL = s.nll(1), s.nll(c.Temperature)
	c.ECEBefore, c.ECE = ECE(before, calibrationBins), ECE(after, calibrationBins)
	return c
}

// softened is the logarithms of probabilities, which a temperature divides as it would the logits.
type softened struct {
	classes int
	truth   []int
	logs    []float64
	images  []float64 // of each class
}

func soften(classes int, truth []int, probs []float32) softened {
	s := softened{classes, truth, make([]float64, len(probs)), make([]float64, classes)}
	for i, p := range probs {
		s.logs[i] = math.Log(max(float64(p), math.SmallestNonzeroFloat32)) // what was too small for a float32 is not impossible
	}
	for _, c := range truth {
		s.images[c]++
	}
	return s
}

// log is the logarithm of the probability of a class of image i at the temperature t.
func (s softened) log(i, class int, t float64) float64 {
	row := s.logs[i*s.classes : (i+1)*s.classes]
	most, sum := slices.Max(row), 0.0
	for _, v := range row {
		sum += math.Exp((v - most) / t)
	}
	return (row[class]-most)/t - math.Log(sum)
}

// nll is the negative log-likelihood of what is true, the mean over the classes that occur of the means over their images.
func (s softened) nll(t float64) float64 {
	sum, classes := 0.0, 0.0
	for i, truth := range s.truth {
		sum -= s.log(i, truth, t) / s.images[truth]
	}
	for _, n := range s.images {
		classes += min(n, 1)
	}
	return sum / classes
}

// temperature is where nll is least, by golden section: it is convex in 1/t, and so has one least place.
func (s softened) temperature() float64 {
	golden := (math.Sqrt(5) - 1) / 2
	low, high := math.Log(coldest), math.Log(hottest)
	at := func(x float64) float64 { return s.nll(math.Exp(x)) }
	a, b := high-golden*(high-low), low+golden*(high-low)
	fa, fb := at(a), at(b)
	for high-low > 1e-5 {
		if fa < fb {
			high, b, fb = b, a, fa
			a = high - golden*(high-low)
			fa = at(a)
		} else {
			low, a, fa = a, b, fb
			b = low + golden*(high-low)
			fb = at(b)
		}
	}
	return math.Exp((low + high) / 2)
}
