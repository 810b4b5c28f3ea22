package model

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// Calibration says how a model's probabilities were made to be as often right as they say, by one temperature that all
// logits were divided by (Guo et al., On Calibration of Modern Neural Networks, 2017). That changes no answer, only how
// sure it is. The weights are those after it, so that whoever runs the model gets calibrated probabilities.
type Calibration struct {
	Temperature float64 `json:"temperature"` // above 1 for a model that was too sure
	Images      int     `json:"images"`      // of validation, that it was found with
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
