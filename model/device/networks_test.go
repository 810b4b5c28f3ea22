package device_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/logobeam/logobeam/model"
)

// small are networks with all that a network can have, small enough for the interpreter.
func small() []model.Network {
	conv := func(name string, out, kernel, stride int, act model.Activation, from ...string) model.Layer {
		return model.Layer{Name: name, Op: model.Conv, Out: out, Kernel: kernel, Stride: stride, Pad: kernel / 2, Act: act, From: from}
	}
	list := []model.Network{
		{Arch: "dense", Input: model.Shape{H: 9, W: 7, C: 3}, Layers: []model.Layer{ // the article's
			conv("conv1", 6, 3, 1, model.ReLU),
			{Name: "pool1", Op: model.MaxPool, Kernel: 3, Stride: 2, Padding: model.CeilMode},
			{Name: "conv2", Op: model.Conv, Out: 9, Kernel: 5, Padding: model.Same, Act: model.ReLU6},
			{Name: "fc1", Op: model.Dense, Out: 20, Act: model.ReLU},
			{Name: "fc2", Op: model.Dense, Out: 5},
		}},
		{Arch: "residual", Input: model.Shape{H: 8, W: 8, C: 3}, Layers: []model.Layer{
			conv("stem", 8, 3, 1, model.ReLU),
			conv("a1", 8, 3, 1, model.ReLU), conv("a2", 8, 3, 1, model.Linear),
			{Name: "a", Op: model.Add, From: []string{"a2", "stem"}, Act: model.ReLU},
			conv("b1", 12, 3, 2, model.ReLU), conv("b2", 12, 3, 1, model.Linear), conv("b0", 12, 1, 2, model.Linear, "a"),
			{Name: "b", Op: model.Add, From: []string{"b2", "b0"}},
			{Name: "c", Op: model.Add, From: []string{"b", "b2", "b0"}, Act: model.ReLU6},
			{Name: "pool", Op: model.GlobalAvgPool},
			{Name: "fc", Op: model.Dense, Out: 4},
		}},
		{Arch: "joined", Input: model.Shape{H: 9, W: 9, C: 3}, Layers: []model.Layer{ // SqueezeNet's
			conv("stem", 7, 3, 2, model.ReLU),
			conv("squeeze", 4, 1, 1, model.ReLU),
			conv("left", 5, 1, 1, model.ReLU, "squeeze"), conv("right", 6, 3, 1, model.ReLU, "squeeze"),
			{Name: "fire", Op: model.Concat, From: []string{"left", "right"}},
			{Name: "max", Op: model.MaxPool, Kernel: 3, Stride: 1, Pad: 1},
			conv("after", 5, 1, 1, model.Linear, "max"),
			{Name: "all", Op: model.Concat, From: []string{"max", "after", "fire", "stem"}},
			conv("head", 6, 1, 1, model.Linear),
			{Name: "pool", Op: model.GlobalAvgPool},
		}},
		{Arch: "depthwise", Input: model.Shape{H: 11, W: 11, C: 3}, Layers: []model.Layer{ // EfficientNet-Lite's
			{Name: "stem", Op: model.Conv, Out: 8, Kernel: 3, Stride: 2, Padding: model.Same, Act: model.ReLU6},
			{Name: "d3", Op: model.Depthwise, Kernel: 3, Padding: model.Same, Act: model.ReLU6},
			conv("p3", 8, 1, 1, model.Linear),
			{Name: "sum", Op: model.Add, From: []string{"p3", "stem"}},
			{Name: "d5", Op: model.Depthwise, Kernel: 5, Stride: 2, Padding: model.Same, Act: model.ReLU6},
			{Name: "d2", Op: model.Depthwise, Kernel: 2, Act: model.ReLU},
			{Name: "pool", Op: model.GlobalAvgPool},
			{Name: "fc", Op: model.Dense, Out: 70},
		}},
	}
	return list
}

// parameters of a network, of a size that keeps activations about as large as images.
func parameters(net model.Network) model.Params {
	p, err := model.Init(net, 3)
	if err != nil {
		panic(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range slices.Sorted(maps.Keys(p)) {
		v := p[name]
		for i := range v {
			v[i] += float32(0.1 * r.NormFloat64())
		}
	}
	return p
}

// image i of a network's input.
func image(i int, to []float32) {
	r := rand.New(rand.NewPCG(uint64(i), 3))
	for k := range to {
		to[k] = float32(r.NormFloat64())
	}
}

// distance is the largest difference between two lists, of the largest value.
func distance(got, want []float32) float64 {
	largest, most := 0.0, 0.0
	for i, v := range want {
		largest = math.Max(largest, math.Abs(float64(v)))
		d := math.Abs(float64(got[i]) - float64(v))
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		most = math.Max(most, d)
	}
	return most / max(largest, 1e-6)
}
