package metrics

import (
	"math"
	"slices"

	"github.com/logobeam/logobeam/model"
)

// The temperatures that Calibrate looks among.
const coldest, hottest = 0.05, 20

// Pool makes probabilities of images, [image][class], of those of their views, [image][view][class], in place: their mean.
func Pool(probs []float32, views, classes int) []float32 {
	if views == 1 {
		return probs
	}
	images := len(probs) / (views * classes)
	for i := range images {
		for c := range classes {
			sum := float32(0)
			for v := range views {
				sum += probs[(i*views+v)*classes+c]
			}
			probs[i*classes+c] = sum / float32(views)
		}
	}
	return probs[:images*classes]
}

// Calibrate finds the temperature with which a model's answers for labelled images are likeliest (Guo et al., 2017), and says
// what it does to them. probs are the probabilities of each image's views, [len(truth)][views][classes], which Pool joins
// after the temperature. Every class weighs the same: how many of the images show no logo is chance, and must not decide how
// sure the model is of those that do. The images must be others than those the model has learnt from. Where every answer
// is right nothing says how sure the model may be, and the temperature is 1.
func Calibrate(classes []string, views int, truth []int, probs []float32) *model.Calibration {
	s := soften(len(classes), views, truth, probs)
	before := Answers(truth, Pool(slices.Clone(probs), views, len(classes)))
	c := &model.Calibration{Temperature: 1, Images: len(truth), Answers: map[string]model.BrandAnswers{}}
	if slices.ContainsFunc(before, func(a Answer) bool { return a.Class != a.Truth }) {
		c.Temperature = math.Round(1e4*s.temperature()) / 1e4
	}
	if views > 1 {
		c.Views = views
	}
	pooled := make([]float32, len(truth)*len(classes))
	for i := range pooled {
		pooled[i] = float32(s.at(i/len(classes), i%len(classes), c.Temperature))
	}
	after := Answers(truth, pooled)
	for _, a := range after {
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
	c.ECEBefore, c.ECE = ECE(before, ECEBins), ECE(after, ECEBins)
	return c
}

// softened is the logarithms of probabilities, which a temperature divides as it would the logits.
type softened struct {
	classes, views int
	truth          []int
	logs           []float64
	images         []float64 // of each class
}

func soften(classes, views int, truth []int, probs []float32) softened {
	s := softened{classes, views, truth, make([]float64, len(probs)), make([]float64, classes)}
	for i, p := range probs {
		s.logs[i] = math.Log(max(float64(p), math.SmallestNonzeroFloat32)) // what was too small for a float32 is not impossible
	}
	for _, c := range truth {
		s.images[c]++
	}
	return s
}

// at is the probability of a class of image i at the temperature t.
func (s softened) at(i, class int, t float64) float64 {
	p := 0.0
	for v := range s.views {
		row := s.logs[(i*s.views+v)*s.classes:][:s.classes]
		most, sum := slices.Max(row), 0.0
		for _, x := range row {
			sum += math.Exp((x - most) / t)
		}
		p += math.Exp((row[class]-most)/t) / sum
	}
	return p / float64(s.views)
}

// nll is the negative log-likelihood of what is true, the mean over the classes that occur of the means over their images.
func (s softened) nll(t float64) float64 {
	sum, classes := 0.0, 0.0
	for i, truth := range s.truth {
		sum -= math.Log(max(s.at(i, truth, t), math.SmallestNonzeroFloat64)) / s.images[truth]
	}
	for _, n := range s.images {
		classes += min(n, 1)
	}
	return sum / classes
}

// temperature is where nll is least, by golden section: of one view it is convex in 1/t, and so has one least place.
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
