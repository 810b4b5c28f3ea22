package model

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
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

func TestThresholds(t *testing.T) {
	times := func(n int, p float32) (list []float32) {
		for range n {
			list = append(list, p)
		}
		return list
	}
	for _, tt := range []struct {
		why       string
		answers   map[string]BrandAnswers
		precision float64
		want      []float32 // of a, b, no-logo
	}{
		{"all right: every answer counts", map[string]BrandAnswers{"a": {Right: []float32{0.9, 0.2}}}, 1, []float32{0, 0, 0}},
		// From 0.9 on 10 of 10 are right, from 0.4 on 10 of 20: half way between.
		{"half way to the probability that is too small", map[string]BrandAnswers{"a": {Right: times(10, 0.9), Wrong: times(10, 0.4)}}, 0.9, []float32{0.65, 0.65, 0}},
		// Of b nothing is known but that all brands are right in 20 of 24: for a (20+10*20/24)/(20+10) = 0.944, for b (0+10*20/24)/(4+10) = 0.595.
		{"a brand that is always wrong pays, and one that is always right is believed", map[string]BrandAnswers{"a": {Right: times(20, 0.5)}, "b": {Wrong: times(4, 0.5)}}, 0.9, []float32{0, never, 0}},
		// 3 of 3 right: (3+10*3/6)/13 = 0.615.
		{"three right answers prove little beside the three wrong ones of others", map[string]BrandAnswers{"a": {Right: times(3, 0.5)}, "b": {Wrong: times(3, 0.5)}}, 0.65, []float32{never, never, 0}},
		{"and enough for less", map[string]BrandAnswers{"a": {Right: times(3, 0.5)}, "b": {Wrong: times(3, 0.5)}}, 0.6, []float32{0, never, 0}},
		{"nothing is known", nil, 0.5, []float32{never, never, 0}},
	} {
		card := Card{Classes: []string{"a", "b", NoLogo}, Calibration: &Calibration{Temperature: 1, Answers: tt.answers}}
		got, err := card.Thresholds(tt.precision)
		if err != nil || !cmp.Equal(got, tt.want, cmp.Comparer(func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 })) {
			t.Errorf("%s: %v, %v; want %v", tt.why, got, err, tt.want)
		}
	}
	for want, card := range map[string]Card{
		"logobeam calibrate": {Classes: []string{"a", NoLogo}},
		"no class no-logo":   {Classes: []string{"a", "b"}, Calibration: &Calibration{}},
	} {
		if _, err := card.Thresholds(0.9); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error that says %q", err, want)
		}
	}
	for _, precision := range []float64{0, -1, 1.01, math.NaN()} {
		if _, err := (Card{Classes: []string{"a", NoLogo}, Calibration: &Calibration{}}).Thresholds(precision); err == nil {
			t.Errorf("a precision of %v", precision)
		}
	}
}

// Who asks for more gets no lower threshold; and what is promised is so, by the answers that are known.
func TestThresholdsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		falling := rapid.Map(rapid.SliceOfN(rapid.Float32Range(0, 1), 0, 12), func(list []float32) []float32 {
			slices.Sort(list)
			slices.Reverse(list)
			return list
		})
		c := &Calibration{Temperature: 1, Answers: map[string]BrandAnswers{}}
		var all BrandAnswers
		for _, brand := range []string{"a", "b", "c"} {
			b := BrandAnswers{falling.Draw(t, brand+" right"), falling.Draw(t, brand+" wrong")}
			c.Answers[brand] = b
			all.Right, all.Wrong = append(all.Right, b.Right...), append(all.Wrong, b.Wrong...)
		}
		card := Card{Classes: []string{"a", NoLogo, "b", "c"}, Calibration: c}
		less, more := rapid.Float64Range(0.01, 1).Draw(t, "less"), rapid.Float64Range(0.01, 1).Draw(t, "more")
		less, more = min(less, more), max(less, more)
		low, err := card.Thresholds(less)
		if err != nil {
			t.Fatal(err)
		}
		high, err := card.Thresholds(more)
		if err != nil {
			t.Fatal(err)
		}
		count := func(list []float32, from float32) (n float64) {
			for _, p := range list {
				if p >= from {
					n++
				}
			}
			return n
		}
		for i, name := range card.Classes {
			if low[i] > high[i] {
				t.Fatalf("%s: %v for a precision of %v, and %v for %v", name, low[i], less, high[i], more)
			}
			if name == NoLogo || high[i] > 1 {
				continue
			}
			right, wrong := count(c.Answers[name].Right, high[i]), count(c.Answers[name].Wrong, high[i])
			r, w := count(all.Right, high[i]), count(all.Wrong, high[i])
			if got := (right + 10*r/(r+w)) / (right + wrong + 10); got < more-1e-9 {
				t.Fatalf("%s from %v on: %v, want %v", name, high[i], got, more)
			}
		}
	})
}

func TestCalibrated(t *testing.T) {
	m := quantized(t)
	m.Card.Calibration = &Calibration{Temperature: 3}
	got, err := m.Calibrated(&Calibration{Temperature: 2, Images: 5})
	if err != nil {
		t.Fatal(err)
	}
	if got.Params["c.bias"][0] != m.Params["c.bias"][0]/2 || got.Card.Calibration.Temperature != 6 || got.Card.Calibration.Images != 5 {
		t.Errorf("calibration %+v, bias %v of %v", got.Card.Calibration, got.Params["c.bias"][0], m.Params["c.bias"][0])
	}
	q := got.Card.Quantization
	if q.Ranges["c"] != (Range{-3.1 / 2, 2}) || q.Ranges["b"] != (Range{0, 6}) || m.Card.Quantization.Ranges["c"] != (Range{-3.1, 4}) {
		t.Errorf("ranges %v, were %v; want those of the logits halved, in a table of their own", q.Ranges, m.Card.Quantization.Ranges)
	}
}
