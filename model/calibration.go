package model

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
)

// Calibration says how a model's probabilities were made to be as often right as they say, by one temperature that all
// logits were divided by (Guo et al., On Calibration of Modern Neural Networks, 2017). That changes no answer, only how
// sure it is. The weights are those after it, so that whoever runs the model gets calibrated probabilities.
type Calibration struct {
	Temperature float64 `json:"temperature"`     // above 1 for a model that was too sure; of all calibrations, if there were several
	Images      int     `json:"images"`          // of validation, that it was found with
	Views       int     `json:"views,omitempty"` // of each image that were looked at; 0 is 1
	// NLL is the mean over the classes of the negative log-likelihood of their images, which the temperature makes least,
	// and ECE the expected calibration error in 15 bins.
	NLLBefore float64 `json:"nll_before"`
	NLL       float64 `json:"nll"`
	ECEBefore float64 `json:"ece_before"`
	ECE       float64 `json:"ece"`
	// Answers are those that the calibrated model gave, by the brand that was answered: what there is to know of how far
	// a brand's probability can be trusted.
	Answers map[string]BrandAnswers `json:"answers"`
}

// BrandAnswers are the probabilities of a brand in the images that it was the answer for, each list falling.
type BrandAnswers struct {
	Right []float32 `json:"right,omitempty"` // of the images that show it
	Wrong []float32 `json:"wrong,omitempty"` // of the others
}

// shrinkage is how many answers of all brands together count with the answers of each one in Card.Thresholds: of the few
// validation photographs that a brand has, three right ones in three prove little.
const shrinkage = 10

// Thresholds gives for each class the probability from which on its answers are right as often as precision (0 to 1) asks,
// by the calibration's answers: 0 for NoLogo, and more than 1 for a brand that never is. The precision of a brand from a
// probability t on is estimated as (right + k pooled) / (answers + k), where right and answers count the brand's with at
// least t, pooled is the precision of all brands' answers with at least t, and k is shrinkage. The threshold is the least
// probability that a validation photograph had for which this reaches precision, or rather lies half way to the next
// smaller one.
func (c Card) Thresholds(precision float64) ([]float32, error) {
	if !(precision > 0 && precision <= 1) {
		return nil, fmt.Errorf("model: a precision of %g: want more than 0 and at most 1", precision)
	}
	if !slices.Contains(c.Classes, NoLogo) {
		return nil, fmt.Errorf("model: it has no class %s that it could answer where it is not sure of a brand", NoLogo)
	}
	if c.Calibration == nil {
		return nil, errors.New("model: it was never calibrated, so nothing says from which probability on a brand is right often enough: logobeam calibrate does that with validation photographs, as logobeam train has done for models since")
	}
	var all BrandAnswers
	for _, b := range c.Calibration.Answers {
		all.Right, all.Wrong = append(all.Right, b.Right...), append(all.Wrong, b.Wrong...)
	}
	steps := slices.Concat(all.Right, all.Wrong)
	for _, list := range [][]float32{all.Right, all.Wrong, steps} {
		slices.Sort(list)
		slices.Reverse(list)
	}
	steps = slices.Compact(steps)
	thresholds := make([]float32, len(c.Classes))
	for i, name := range c.Classes {
		if name == NoLogo {
			continue
		}
		b := c.Calibration.Answers[name]
		thresholds[i] = never
		for k, t := range steps {
			right, answers := b.from(t)
			allRight, allAnswers := all.from(t)
			if (right+shrinkage*allRight/allAnswers)/(answers+shrinkage) < precision {
				continue
			}
			thresholds[i] = 0
			if k+1 < len(steps) {
				thresholds[i] = (t + steps[k+1]) / 2
			}
		}
	}
	return thresholds, nil
}

// never is a threshold that no probability reaches.
const never = 2

// from counts the answers with a probability of at least t.
func (b BrandAnswers) from(t float32) (right, answers float64) {
	count := func(falling []float32) float64 {
		return float64(sort.Search(len(falling), func(i int) bool { return falling[i] < t }))
	}
	right = count(b.Right)
	return right, right + count(b.Wrong)
}

// Calibrated is m with its logits divided by the temperature of c, which its card has from then on. What m was divided by
// before is counted in. Its parameters and card are shared with m, but for what differs. The error is Network.Temper's.
func (m Model) Calibrated(c *Calibration) (Model, error) {
	params, err := m.Network.Temper(m.Params, c.Temperature)
	if err != nil {
		return m, err
	}
	if m.Card.Quantization != nil {
		q := *m.Card.Quantization
		q.Ranges = maps.Clone(q.Ranges)
		for _, l := range m.Network.Layers[m.Network.Head():] { // of the logits
			for i := range q.Ranges[l.Name] {
				r := q.Ranges[l.Name]
				r[i] = float32(float64(r[i]) / c.Temperature)
				q.Ranges[l.Name] = r
			}
		}
		m.Card.Quantization = &q
	}
	all := *c
	if former := m.Card.Calibration; former != nil {
		all.Temperature *= former.Temperature
	}
	m.Params, m.Card.Calibration = params, &all
	return m, nil
}

// Temper divides the network's logits by t: it gives p with the weights and biases of the head divided by t, in slices of
// their own, and the others as they are. It is an error if what comes after the head is more than a pool, or its
// activation bends at another place than 0, as then the logits are not in proportion to the head's weights.
func (n Network) Temper(p Params, t float64) (Params, error) {
	head := n.Head()
	if head < 0 || !(t > 0) || math.IsInf(t, 0) {
		return nil, fmt.Errorf("model: %s cannot be given the temperature %g", n.Arch, t)
	}
	if l := n.Layers[head]; l.Act == ReLU6 {
		return nil, fmt.Errorf("model: %s cannot be given a temperature: layer %s ends in %s", n.Arch, l.Name, l.Act)
	}
	for _, l := range n.Layers[head+1:] {
		if l.Op != GlobalAvgPool && l.Op != MaxPool || len(l.From) > 0 {
			return nil, fmt.Errorf("model: %s cannot be given a temperature: layer %s comes after its last weights", n.Arch, l.Name)
		}
	}
	tempered := maps.Clone(p)
	for _, name := range []string{n.Layers[head].Name + ".weight", n.Layers[head].Name + ".bias"} {
		values := make([]float32, len(p[name]))
		for i, v := range p[name] {
			values[i] = float32(float64(v) / t)
		}
		tempered[name] = values
	}
	return tempered, nil
}

// check says what keeps c from being the calibration of a model of these classes.
func (c *Calibration) check(classes []string) error {
	if !(c.Temperature > 0) || math.IsInf(c.Temperature, 0) {
		return fmt.Errorf("model: calibration: the temperature is %g", c.Temperature)
	}
	for _, brand := range slices.Sorted(maps.Keys(c.Answers)) {
		if !slices.Contains(classes, brand) || brand == NoLogo {
			return fmt.Errorf("model: calibration: %q is no brand of the model", brand)
		}
		for _, list := range [][]float32{c.Answers[brand].Right, c.Answers[brand].Wrong} {
			for i, p := range list {
				if !(p >= 0 && p <= 1) || i > 0 && p > list[i-1] {
					return fmt.Errorf("model: calibration: the probabilities of %s are not from 1 to 0 and falling", brand)
				}
			}
		}
	}
	return nil
}
