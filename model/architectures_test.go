package model

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The published sizes count batch normalisations' scales and shifts. Folded, each such layer has one bias for the two.
func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		arch      string
		classes   int
		published int
		from      string
	}{
		{"mlp", 28, 150528*128 + 128 + 128*64 + 64 + 64*28 + 28, "its definition"},
		{"article-cnn", 28, 96*11*11*3 + 96 + 192*5*5*96 + 192 + 4096*10*10*192 + 4096 + 28*4096 + 28, "its definition: 10x10x192 are flattened"},
		{"resnet18", 1000, 11_689_512, "torchvision.models.resnet18"},
		{"squeezenet", 1000, 1_248_424, "torchvision.models.squeezenet1_0"},
		{"efficientnet-lite0", 1000, 4_652_008, "timm efficientnet_lite0"},
	} {
		n, err := New(c.arch, c.classes)
		if err != nil {
			t.Fatal(err)
		}
		ps, err := n.Parameters()
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, p := range ps {
			got += p.Len()
			if len(p.Shape) == 1 && n.Layers[p.Layer].Norm != "" {
				got += p.Len()
			}
		}
		if got != c.published {
			t.Errorf("%s with %d classes: %d parameters; %s has %d", c.arch, c.classes, got, c.from, c.published)
		}
		if n.Classes() != c.classes {
			t.Errorf("%s: %d outputs for %d classes", c.arch, n.Classes(), c.classes)
		}
	}
}

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		arch, layer string
		want        Shape
		why         string
	}{
		{"article-cnn", "conv1", Shape{54, 54, 96}, "(224-11)/4+1"},
		{"article-cnn", "pool2", Shape{10, 10, 192}, "the flatten the article prints"},
		{"resnet18", "maxpool", Shape{56, 56, 64}, ""},
		{"resnet18", "layer4.1", Shape{7, 7, 512}, ""},
		{"squeezenet", "features.0", Shape{109, 109, 96}, "torchvision pads nothing there"},
		{"squeezenet", "features.2", Shape{54, 54, 96}, ""},
		{"squeezenet", "features.6", Shape{27, 27, 256}, "(54-3)/2 rounded up, and one"},
		{"squeezenet", "features.11", Shape{13, 13, 512}, ""},
		{"efficientnet-lite0", "_conv_stem", Shape{112, 112, 32}, ""},
		{"efficientnet-lite0", "_blocks.15._project_conv", Shape{7, 7, 320}, ""},
	} {
		n, err := New(c.arch, 28)
		if err != nil {
			t.Fatal(err)
		}
		shapes, err := n.Shapes()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for i, l := range n.Layers {
			if l.Name == c.layer {
				found = true
				if shapes[i] != c.want {
					t.Errorf("%s %s: %v; want %v %s", c.arch, c.layer, shapes[i], c.want, c.why)
				}
			}
		}
		if !found {
			t.Errorf("%s has no layer %s", c.arch, c.layer)
		}
	}
}

func TestNewUnknown(t *testing.T) {
	_, err := New("resnet-18", 28)
	if err == nil || !strings.Contains(err.Error(), "did you mean \"resnet18\"?") || !strings.Contains(err.Error(), "mlp, article-cnn") {
		t.Errorf("got %v; want an error that names the nearest and lists all", err)
	}
	if _, err := New("mlp", 1); err == nil {
		t.Error("a network of one class was built; its probability would always be 1")
	}
}

func TestNormalisation(t *testing.T) {
	for _, arch := range Architectures() {
		mean, std := Normalisation(arch)
		for c := range 3 { // all constants in use lie near the middle of 0..255 and within a half and double of a quarter
			if mean[c] < 100 || mean[c] > 130 || std[c] < 50 || std[c] > 130 {
				t.Errorf("%s: mean %v, deviation %v are not in 0..255 units", arch, mean, std)
			}
		}
	}
	if mean, std := Normalisation("efficientnet-lite0"); mean != [3]float64{127, 127, 127} || std != [3]float64{128, 128, 128} {
		t.Errorf("efficientnet-lite0: %v %v", mean, std)
	}
}

// Networks come from files too.
func TestShapesOfBadNetworks(t *testing.T) {
	conv := func(change func(*Layer)) Network {
		l := Layer{Name: "c", Op: Conv, Out: 4, Kernel: 3}
		change(&l)
		return Network{Input: Shape{8, 8, 3}, Layers: []Layer{l}}
	}
	for _, c := range []struct {
		n    Network
		want string
	}{
		{Network{Input: Shape{8, 8, 3}}, "0 layers"},
		{Network{Input: Shape{0, 8, 3}, Layers: []Layer{{Name: "p", Op: GlobalAvgPool}}}, "input of 0x8x3"},
		{Network{Input: Shape{1 << 40, 1 << 40, 3}, Layers: []Layer{{Name: "p", Op: GlobalAvgPool}}}, "make no network"},
		{Network{Input: Shape{1 << 14, 1 << 14, 1 << 20}, Layers: []Layer{{Name: "p", Op: GlobalAvgPool}}}, "make no network"},
		{conv(func(l *Layer) { l.Name = "" }), "no name"},
		{conv(func(l *Layer) { l.Name = Input }), "two layers"},
		{conv(func(l *Layer) { l.From = []string{"later"} }), "reads \"later\""},
		{conv(func(l *Layer) { l.From = []string{Input, Input} }), "cannot read 2 layers"},
		{conv(func(l *Layer) { l.Op = "softmax" }), "unknown operation"},
		{conv(func(l *Layer) { l.Op = Add }), "cannot read 1 layers"},
		{conv(func(l *Layer) { l.Act = "swish" }), "unknown activation"},
		{conv(func(l *Layer) { l.Op, l.Act = MaxPool, ReLU }), "no activation of its own"},
		{conv(func(l *Layer) { l.Padding = "valid" }), "unknown padding"},
		{conv(func(l *Layer) { l.Kernel = 9 }), "does not fit"},
		{conv(func(l *Layer) { l.Kernel = 0 }), "kernel 0"},
		{conv(func(l *Layer) { l.Kernel = 1 << 40 }), "kernel"},
		{conv(func(l *Layer) { l.Pad = 3 }), "pad < kernel"},
		{conv(func(l *Layer) { l.Stride = -1 }), "stride"},
		{conv(func(l *Layer) { l.Stride = 1 << 62 }), "stride"},
		{conv(func(l *Layer) { l.Out = 0 }), "0 output channels"},
		{conv(func(l *Layer) { l.Out = -1 }), "-1 output channels"},
		{conv(func(l *Layer) { l.Out = 1 << 62 }), "output channels"},
		{Network{Input: Shape{8, 8, 3}, Layers: []Layer{
			{Name: "a", Op: Conv, Out: 4, Kernel: 1}, {Name: "s", Op: Add, From: []string{"a", Input}}}}, "adds 8x8x4 and 8x8x3"},
		{Network{Input: Shape{8, 8, 3}, Layers: []Layer{
			{Name: "a", Op: Conv, Out: 4, Kernel: 3}, {Name: "s", Op: Concat, From: []string{"a", Input}}}}, "joins 6x6x4 and 8x8x3"},
		{Network{Input: Shape{1 << 10, 1 << 10, 1 << 10}, Layers: []Layer{{Name: "d", Op: Dense, Out: 1 << 20}}}, "weights of"},
	} {
		_, err := c.n.Parameters()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want an error with %q", c.n, err, c.want)
		}
		if c.n.Classes() != 0 && !strings.Contains(c.want, "weights") {
			t.Errorf("%+v: has classes", c.n)
		}
	}
}

// A change in the random streams would silently make every documented training unrepeatable.
func TestInitGolden(t *testing.T) {
	var got bytes.Buffer
	for _, arch := range Architectures() {
		for _, seed := range []uint64{0, 7} {
			n, err := New(arch, 28)
			if err != nil {
				t.Fatal(err)
			}
			if arch == "mlp" || arch == "article-cnn" { // the same code for a thirtieth of the values
				n.Input = Shape{75, 75, 3}
			}
			p, err := Init(n, seed)
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Check(p); err != nil {
				t.Fatal(err)
			}
			ps, _ := n.Parameters()
			h := sha256.New()
			for _, q := range ps {
				hashFloats(h, p[q.Name])
			}
			fmt.Fprintf(&got, "%s seed %d: %x, first %v\n", arch, seed, h.Sum(nil), p[ps[0].Name][:3])
		}
	}
	const golden = "testdata/init.golden"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("Init has other random streams (-golden +now):\n%s", diff)
	}
}
