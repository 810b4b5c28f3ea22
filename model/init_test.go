package model

import (
	"math"
	"slices"
	"testing"
)

func TestInitDistributions(t *testing.T) {
	for _, c := range []struct {
		arch, param string
		bound       float64 // of a uniform distribution; 0 for a normal one
		deviation   float64
		why         string
	}{
		{"article-cnn", "conv2.weight", math.Sqrt(2.24 / ((96*25 + 192*25) / 2.)), math.Sqrt(2.24 / ((96*25 + 192*25) / 2.) / 3), "mx.init.Xavier(magnitude=2.24)"},
		{"mlp", "fc2.weight", math.Sqrt(2.24 / ((128 + 64) / 2.)), math.Sqrt(2.24 / ((128 + 64) / 2.) / 3), "mx.init.Xavier(magnitude=2.24)"},
		{"resnet18", "layer1.0.conv1.weight", 0, math.Sqrt(2. / (64 * 9)), "a ReLU follows"},
		{"resnet18", "fc.weight", 0, math.Sqrt(1. / 512), "nothing follows"},
		{"resnet18", "layer2.1.conv2.weight", 0, 0, "the last of a residual branch"},
		{"efficientnet-lite0", "_blocks.14._depthwise_conv.weight", 0, math.Sqrt(2. / 25), "each output sees one channel"},
	} {
		n, err := New(c.arch, 28)
		if err != nil {
			t.Fatal(err)
		}
		if c.arch == "article-cnn" || c.arch == "mlp" {
			n.Input = Shape{75, 75, 3}
		}
		p, err := Init(n, 3)
		if err != nil {
			t.Fatal(err)
		}
		v := p[c.param]
		mean, square := 0., 0.
		for _, x := range v {
			mean += float64(x) / float64(len(v))
			square += float64(x) * float64(x) / float64(len(v))
		}
		// The deviation of n values is known to about 1/sqrt(2n), their mean to 1/sqrt(n); four times that is beyond
		// chance.
		slack := 4 / math.Sqrt(float64(len(v)))
		if got := math.Sqrt(square); math.Abs(got-c.deviation) > slack*c.deviation || math.Abs(mean) > slack*c.deviation {
			t.Errorf("%s %s: mean %g, deviation %g; want 0 and %g: %s", c.arch, c.param, mean, got, c.deviation, c.why)
		}
		if c.bound > 0 {
			if largest := max(float64(slices.Max(v)), -float64(slices.Min(v))); largest > c.bound || largest < 0.99*c.bound {
				t.Errorf("%s %s: largest %g; want just under %g", c.arch, c.param, largest, c.bound)
			}
		}
	}
}

func TestInitStreamsAreOfTheLayerAlone(t *testing.T) {
	a, b := ResNet18(28), ResNet18(5)
	pa, err := Init(a, 1)
	if err != nil {
		t.Fatal(err)
	}
	pb, err := Init(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pa["conv1.weight"], pb["conv1.weight"]) {
		t.Error("conv1 depends on the number of classes")
	}
	if slices.Equal(pa["layer1.0.conv1.weight"], pa["layer1.1.conv1.weight"]) {
		t.Error("two layers of one shape got the same values")
	}
	other, err := Init(a, 2)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(pa["conv1.weight"], other["conv1.weight"]) {
		t.Error("another seed gave the same values")
	}
	head := Params{}
	if err := initLayer(a, a.Head(), 1, head); err != nil {
		t.Fatal(err)
	}
	if len(head) != 2 || !slices.Equal(head["fc.weight"], pa["fc.weight"]) {
		t.Error("initLayer draws other values than Init")
	}
}
