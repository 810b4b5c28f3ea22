package model

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTemperRefuses(t *testing.T) {
	conv := Layer{Name: "a", Op: Conv, Out: 4, Kernel: 1}
	for _, tt := range []struct {
		why    string
		layers []Layer
		t      float64
		want   string
	}{
		{"a head that is cut off at 6", []Layer{{Name: "a", Op: Dense, Out: 4, Act: ReLU6}}, 2, "layer a ends in relu6"},
		{"something is added to what the head gives", []Layer{{Name: "b", Op: Conv, Out: 4, Kernel: 1}, conv, {Name: "c", Op: Add, From: []string{"a", "b"}}}, 2, "layer c comes after"},
		{"no weights at all", []Layer{{Name: "p", Op: GlobalAvgPool}}, 2, "cannot be given the temperature 2"},
		{"no temperature", []Layer{conv}, 0, "temperature 0"},
		{"endlessly hot", []Layer{conv}, math.Inf(1), "temperature +Inf"},
	} {
		n := Network{Arch: "n", Input: Shape{4, 4, 3}, Layers: tt.layers}
		if _, err := n.Temper(Params{}, tt.t); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want an error that says %q", tt.why, err, tt.want)
		}
	}
}

func TestTemperKeepsTheRest(t *testing.T) {
	m := small(t)
	before := slices.Clone(m.Params["c.weight"])
	p, err := m.Network.Temper(m.Params, 2)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, m.Params["c.weight"]) {
		t.Error("it wrote to slices that others may hold")
	}
	if p["c.weight"][3] != before[3]/2 || &p["a.weight"][0] != &m.Params["a.weight"][0] {
		t.Error("the head is not halved, or another layer is not as it was")
	}
}

func TestCalibrationIsKept(t *testing.T) {
	m := small(t)
	bare := m.Hash()
	m.Card.Calibration = &Calibration{Temperature: 0.7, Images: 9, NLLBefore: 1, NLL: 0.9, ECEBefore: 0.2, ECE: 0.1,
		Answers: map[string]BrandAnswers{"adidas": {Right: []float32{0.9, 1. / 3}, Wrong: []float32{0.1}}, "ünü": {Right: []float32{0.5}}}}
	dir := t.TempDir()
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Errorf("what is loaded is not what was saved (-saved +loaded):\n%s", diff)
	}
	if m.Hash() == bare || m.Hash() != got.Hash() {
		t.Error("the hash is not that of a model that may give other answers")
	}
	good := *m.Card.Calibration
	for _, tt := range []struct {
		why   string
		spoil func(c *Calibration)
		want  string
	}{
		{"no temperature", func(c *Calibration) { c.Temperature = 0 }, "the temperature is 0"},
		{"a brand of another model", func(c *Calibration) { c.Answers["puma"] = BrandAnswers{} }, `"puma" is no brand`},
		{"no brand", func(c *Calibration) { c.Answers[NoLogo] = BrandAnswers{} }, `"no-logo" is no brand`},
		{"no probability", func(c *Calibration) { c.Answers["adidas"] = BrandAnswers{Wrong: []float32{2}} }, "probabilities of adidas"},
		{"out of order", func(c *Calibration) { c.Answers["adidas"] = BrandAnswers{Right: []float32{0.1, 0.2}} }, "probabilities of adidas"},
	} {
		c := good
		c.Answers = maps.Clone(good.Answers)
		tt.spoil(&c)
		m.Card.Calibration = &c
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want an error that says %q", tt.why, err, tt.want)
		}
	}
}
