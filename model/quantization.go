package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Precision is the arithmetic that a network is run in.
type Precision string

// The precisions.
const (
	FP32 Precision = "fp32" // float32 throughout
	Int8 Precision = "int8" // int8 weights, uint8 activations, exact sums; on the processor
	BF16 Precision = "bf16" // factors of products rounded to bfloat16, float32 elsewhere; on accelerators
)

// Precisions lists the names that can be asked for on the processor.
func Precisions() []Precision { return []Precision{FP32, Int8} }

// Range is the least and the largest value that int8 has to stand for; what lies beyond is clipped.
type Range [2]float32

// Quantization is what a model needs, beside its weights, to be run in int8: the range of every activation, found with
// photographs (Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
// Inference, 2018), and the means of those that weights are applied to. The weights' own scales follow from the
// weights, so a quantised model keeps them as they were and can be run in fp32 as well.
type Quantization struct {
	// Ranges are by the name of the layer whose output they are of, and Input.
	Ranges map[string]Range `json:"ranges"`
	// Means are those of each channel, by the same names, for what a convolution or a dense layer reads. With them the
	// biases make up for what rounding the weights adds to the mean of an output (Nagel et al., Data-Free Quantization
	// Through Weight Equalization and Bias Correction, 2019). They lie in model.safetensors, as NAME.mean.
	Means  map[string][]float32 `json:"-"`
	Method string               `json:"method"` // by which the ranges were chosen
	Images int                  `json:"images"` // that they were found with
	// Metrics are the figures of each split in both precisions, named as `logobeam evaluate --json` names them. They are
	// what int8 costs.
	Metrics map[string]map[Precision]map[string]float64 `json:"metrics,omitempty"`
	// Intervals are the 95 % confidence intervals of those figures, by the same names.
	Intervals map[string]map[Precision]map[string][2]float64 `json:"intervals,omitempty"`
}

// worthInt8 is how much macro-F1 int8 may cost and still be what a model is run in by default.
const worthInt8 = 0.003

// Halve rounds the means to what Save keeps with half, so that what is measured is what the file will give.
func (q *Quantization) Halve() (err error) {
	q.Means, err = halve(q.Means)
	return err
}

// Cost is how much macro-F1 int8 loses on a split. It is below 0 where int8 does better. Not ok says that nobody
// measured.
func (q *Quantization) Cost(split string) (cost float64, ok bool) {
	fp32, ok := q.Metrics[split][FP32]["macro_f1"]
	if !ok {
		return 0, false
	}
	int8, ok := q.Metrics[split][Int8]["macro_f1"]
	return fp32 - int8, ok
}

// DefaultPrecision is what a model is run in unless something else is asked for: int8 where the card says that it costs
// at most worthInt8 on the validation split, or on every split if there is none of that name, and fp32 otherwise.
func (c Card) DefaultPrecision() Precision {
	if c.Quantization == nil {
		return FP32
	}
	splits := slices.Collect(maps.Keys(c.Quantization.Metrics))
	if slices.Contains(splits, "validation") {
		splits = []string{"validation"}
	}
	for _, split := range splits {
		if cost, ok := c.Quantization.Cost(split); !ok || cost > worthInt8 {
			return FP32
		}
	}
	if len(splits) == 0 {
		return FP32
	}
	return Int8
}

// Measured lists the names, with their channels, of what a network's weights are applied to: Quantization has their
// means.
func (n Network) Measured() (map[string]int, error) {
	shapes, err := n.Shapes()
	if err != nil {
		return nil, err
	}
	ins, err := n.Inputs()
	if err != nil {
		return nil, err
	}
	channels := map[string]int{}
	for i, l := range n.Layers {
		switch j := ins[i][0]; l.Op {
		case Conv, Depthwise, Dense:
			if j < 0 {
				channels[Input] = n.Input.C
			} else {
				channels[n.Layers[j].Name] = shapes[j].C
			}
		}
	}
	return channels, nil
}

// Check says what keeps q from quantising n: a range or means that are missing, of no layer, infinite, upside down or of
// another number of channels.
func (q *Quantization) Check(n Network) error {
	if err := q.checkRanges(n); err != nil {
		return err
	}
	measured, err := n.Measured()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		if len(q.Means[name]) != measured[name] {
			return fmt.Errorf("model: quantization: layer %s has the means of %d channels; want %d", name, len(q.Means[name]), measured[name])
		}
		if i, ok := finite(q.Means[name]); !ok {
			return fmt.Errorf("model: quantization: channel %d of layer %s has the mean %g", i, name, q.Means[name][i])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(q.Means)) {
		if _, ok := measured[name]; !ok {
			return fmt.Errorf("model: quantization: no weights read layer %s, whose means are there", name)
		}
	}
	return nil
}

func (q *Quantization) checkRanges(n Network) error {
	names := []string{Input}
	for _, l := range n.Layers {
		names = append(names, l.Name)
	}
	for _, name := range names {
		r, ok := q.Ranges[name]
		if !ok {
			return fmt.Errorf("model: quantization: the range of layer %s is missing", name)
		}
		if _, ok := finite(r[:]); !ok || r[0] > r[1] {
			return fmt.Errorf("model: quantization: layer %s has the range %g to %g", name, r[0], r[1])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(q.Ranges)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("model: quantization: the network has no layer %s", name)
		}
	}
	return nil
}

// meanSuffix ends the names of means in model.safetensors.
const meanSuffix = ".mean"

// put adds the means to the tensors of a file.
func (q *Quantization) put(tensors map[string]Tensor) {
	for name, values := range q.Means {
		tensors[name+meanSuffix] = Tensor{Shape: []int{len(values)}, Data: values}
	}
}

// take moves the means from the tensors of a file to q.
func (q *Quantization) take(tensors map[string]Tensor) {
	q.Means = map[string][]float32{}
	for key, t := range tensors {
		if name, ok := strings.CutSuffix(key, meanSuffix); ok {
			q.Means[name] = t.Data
			delete(tensors, key)
		}
	}
}
