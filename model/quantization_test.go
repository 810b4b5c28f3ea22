package model

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// quantized is small with what int8 needs.
func quantized(t *testing.T) *Model {
	t.Helper()
	m := small(t)
	m.Card.Quantization = &Quantization{
		Ranges: map[string]Range{Input: {-1, 1}, "a": {0, 5.25}, "b": {0, 6}, "c": {-3.1, 4}},
		Means:  map[string][]float32{Input: {0.1, 0.2, -0.3}, "a": {1, 2, 3, 4, 5}, "b": {0, 0, 1e-3, 0, 6}},
		Method: "mse", Images: 7,
		Metrics: map[string]map[Precision]map[string]float64{"validation": {FP32: {"macro_f1": 0.71}, Int8: {"macro_f1": 0.709}}},
	}
	return m
}

func TestSaveLoadQuantized(t *testing.T) {
	for _, half := range []bool{false, true} {
		m := quantized(t)
		before := m.Card.Quantization.Means[Input][0]
		dir := filepath.Join(t.TempDir(), "m")
		means := m.Card.Quantization.Means
		if err := m.Save(dir, half); err != nil {
			t.Fatal(err)
		}
		if means[Input][0] != before {
			t.Error("Save wrote to slices that others may hold")
		}
		got, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" || got.Hash() != m.Hash() {
			t.Errorf("half %v: what is loaded is not what Save left (-saved +loaded):\n%s", half, diff)
		}
		if q := (&Quantization{Means: means}); half {
			if err := q.Halve(); err != nil || !cmp.Equal(q.Means, got.Card.Quantization.Means) {
				t.Errorf("Halve gives %v (%v); the file holds %v", q.Means, err, got.Card.Quantization.Means)
			}
		}
		if rounded := got.Card.Quantization.Means[Input][0] != before; rounded != half {
			t.Errorf("half %v: means were rounded: %v", half, rounded)
		}
	}
	m := quantized(t)
	m.Card.Quantization.Means["a"][3] = 1e6
	if err := m.Save(t.TempDir(), true); err == nil || !strings.Contains(err.Error(), "too large for float16") {
		t.Errorf("%v; want an error that says what float16 cannot hold", err)
	}
}

// What int8 answers depends on its ranges and means, and fp32 answers do not say so: both are in the hash, the figures
// are not.
func TestHashOfQuantized(t *testing.T) {
	base := quantized(t).Hash()
	if base == small(t).Hash() {
		t.Error("a quantised model has the hash of the one that it was made from")
	}
	for why, c := range map[string]struct {
		change func(*Quantization)
		same   bool
	}{
		"a range":    {func(q *Quantization) { q.Ranges["a"] = Range{0, 5.5} }, false},
		"a mean":     {func(q *Quantization) { q.Means["a"][0] = 1.5 }, false},
		"the method": {func(q *Quantization) { q.Method = "min-max" }, true},
		"a figure":   {func(q *Quantization) { q.Metrics = nil }, true},
	} {
		m := quantized(t)
		c.change(m.Card.Quantization)
		if same := m.Hash() == base; same != c.same {
			t.Errorf("%s: the same hash: %v", why, same)
		}
	}
}

func TestQuantizationChecked(t *testing.T) {
	for want, change := range map[string]func(*Quantization){
		"the range of layer b is missing":                 func(q *Quantization) { delete(q.Ranges, "b") },
		"the range of layer input is missing":             func(q *Quantization) { delete(q.Ranges, Input) },
		"no layer d":                                      func(q *Quantization) { q.Ranges["d"] = Range{} },
		"layer c has the range 4 to -3":                   func(q *Quantization) { q.Ranges["c"] = Range{4, -3} },
		"layer c has the range -Inf to 0":                 func(q *Quantization) { q.Ranges["c"] = Range{float32(math.Inf(-1)), 0} },
		"layer a has the means of 0 channels; want 5":     func(q *Quantization) { delete(q.Means, "a") },
		"layer input has the means of 2 channels; want 3": func(q *Quantization) { q.Means[Input] = q.Means[Input][1:] },
		"channel 1 of layer a has the mean NaN":           func(q *Quantization) { q.Means["a"][1] = float32(math.NaN()) },
		"no weights read layer c, whose means are there":  func(q *Quantization) { q.Means["c"] = make([]float32, 4) },
	} {
		m := quantized(t)
		change(m.Card.Quantization)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error with %q", err, want)
		}
		if err := m.Save(filepath.Join(t.TempDir(), "m"), false); err == nil {
			t.Errorf("a model was saved: %s", want)
		}
	}
}

// A file whose two halves do not agree on the quantization is refused in words.
func TestLoadDamagedQuantization(t *testing.T) {
	for want, change := range map[string]func(f fstest.MapFS){
		"the range of layer b is missing": func(f fstest.MapFS) {
			f[cardFile].Data = []byte(strings.Replace(string(f[cardFile].Data), `"b": [`, `"bb": [`, 1))
		},
		`.mean" is no parameter`: func(f fstest.MapFS) {
			text := string(f[cardFile].Data)
			from := strings.Index(text, `"quantization"`)
			f[cardFile].Data = []byte(text[:from] + `"formerly` + text[from+1:])
		},
	} {
		f := files(t, quantized(t))
		change(f)
		if _, err := LoadFS(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error with %q", err, want)
		}
	}
}

func TestDefaultPrecision(t *testing.T) {
	figures := func(fp32, int8 float64) map[Precision]map[string]float64 {
		return map[Precision]map[string]float64{FP32: {"macro_f1": fp32}, Int8: {"macro_f1": int8}}
	}
	type splits = map[string]map[Precision]map[string]float64
	for why, c := range map[string]struct {
		metrics splits
		want    Precision
	}{
		"nobody measured":                        {nil, FP32},
		"it costs little":                        {splits{"validation": figures(0.71, 0.7075)}, Int8},
		"it costs nothing":                       {splits{"validation": figures(0.71, 0.72)}, Int8},
		"it costs more than 0.3 points":          {splits{"validation": figures(0.71, 0.706)}, FP32},
		"validation decides, as for epochs":      {splits{"validation": figures(0.71, 0.71), "test": figures(0.7, 0.6)}, Int8},
		"every other listing must be worth it":   {splits{"listing": figures(0.71, 0.71), "other": figures(0.7, 0.6)}, FP32},
		"a listing of one's own":                 {splits{"listing": figures(0.71, 0.71)}, Int8},
		"the figure is undefined in one of them": {splits{"validation": {FP32: {"macro_f1": 0.7}, Int8: {}}}, FP32},
	} {
		card := Card{Quantization: &Quantization{Metrics: c.metrics}}
		if got := card.DefaultPrecision(); got != c.want {
			t.Errorf("%s: %s; want %s", why, got, c.want)
		}
	}
	if got := (Card{}).DefaultPrecision(); got != FP32 {
		t.Errorf("never quantised: %s", got)
	}
}

func TestMeasured(t *testing.T) {
	got, err := small(t).Network.Measured()
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{Input: 3, "a": 5, "b": 5}; !maps.Equal(got, want) {
		t.Errorf("%v; want %v, which weights are applied to", slices.Sorted(maps.Keys(got)), want)
	}
}
