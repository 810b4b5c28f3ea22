package classifier

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/store/storetest"
	"github.com/logobeam/logobeam/transforms"
)

// small is a model that says something.
func small(t *testing.T, seed uint64) *model.Model {
	t.Helper()
	net := model.Network{Arch: "tiny", Input: model.Shape{H: 16, W: 16, C: 3}, Layers: []model.Layer{
		{Name: "conv", Op: model.Conv, Out: 8, Kernel: 3, Stride: 2, Act: model.ReLU},
		{Name: "fc", Op: model.Dense, Out: 3},
	}}
	params, err := model.Init(net, seed)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := json.Marshal(transforms.DefaultScoring(16, [3]float64{127, 127, 127}, [3]float64{60, 60, 60}))
	if err != nil {
		t.Fatal(err)
	}
	return &model.Model{Network: net, Params: params, Card: model.Card{Classes: []string{"adidas", "bmw", model.NoLogo}, Transforms: steps}}
}

func TestBucket(t *testing.T) {
	storetest.Bucket(t, nil)
	m, dir := small(t, 1), t.TempDir()
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	if there, err := Exists(t.Context(), "gs://bucket/models/small"); there || err != nil {
		t.Errorf("a model is there: %v, %v", there, err)
	}
	if err := Save(t.Context(), small(t, 2), "gs://bucket/models/small", true); err != nil { // which is replaced
		t.Fatal(err)
	}
	if err := Publish(t.Context(), dir, "gs://bucket/models/small"); err != nil {
		t.Fatal(err)
	}
	for _, location := range []string{dir, "gs://bucket/models/small"} {
		if there, err := Exists(t.Context(), location); !there || err != nil {
			t.Errorf("%s: a model is there: %v, %v", location, there, err)
		}
	}
	for _, location := range []string{dir, "gs://bucket/models/small", "gs://bucket/models/small/"} {
		c, err := Load(t.Context(), location, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := c.Model.Hash(), m.Hash(); got != want {
			t.Errorf("%s: model %s; want %s", location, got, want)
		}
	}
	for location, want := range map[string]string{
		"gs://bucket/models/other": "no model.json",
		"gs://nowhere/small":       "no model.json",
		"gs://No":                  "no name of a bucket",
	} {
		if _, err := Read(t.Context(), location); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), location) {
			t.Errorf("%s: %v; want %s", location, err, want)
		}
	}
	_, err := Read(t.Context(), "gs://bucket/models/other")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A brand is given from its threshold on, and no-logo below it, with no-logo's own probability.
func TestAnswer(t *testing.T) {
	m, dir := small(t, 1), t.TempDir()
	m.Card.Calibration = &model.Calibration{Temperature: 1, Answers: map[string]model.BrandAnswers{
		"adidas": {Right: slices.Repeat([]float32{0.8}, 20), Wrong: slices.Repeat([]float32{0.4}, 20)},
		"bmw":    {Wrong: slices.Repeat([]float32{0.8}, 20)},
	}}
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	c, err := Load(t.Context(), dir, Config{BrandPrecision: 0.8})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Load(t.Context(), dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason      string
		c           *Classifier
		probs       []float32
		class       int
		probability float32
	}{
		{"sure enough", c, []float32{0.75, 0.15, 0.1}, 0, 0.75},
		{"not sure enough", c, []float32{0.5, 0.1, 0.4}, 2, 0.4},
		{"a brand that is never given", c, []float32{0, 1, 0}, 2, 0},
		{"none is none", c, []float32{0.2, 0.2, 0.6}, 2, 0.6},
		{"the likeliest, where nothing is asked for", plain, []float32{0.5, 0.1, 0.4}, 0, 0.5},
	} {
		if class, p := tt.c.Answer(tt.probs); class != tt.class || p != tt.probability {
			t.Errorf("%s: class %d with %v; want %d with %v", tt.reason, class, p, tt.class, tt.probability)
		}
	}
	if got := c.Never(); !slices.Equal(got, []string{"bmw"}) || plain.Never() != nil {
		t.Errorf("never given: %q and %q", got, plain.Never())
	}
	for _, cfg := range []Config{{BrandPrecision: 2}, {Precision: "int4"}} {
		if _, err := Load(t.Context(), dir, cfg); !errors.As(err, new(*ConfigError)) {
			t.Errorf("%+v: %v; want a ConfigError", cfg, err)
		}
	}
}

// The mean of the views answers, and what is no number is not passed over.
func TestPool(t *testing.T) {
	nan := float32(math.NaN())
	for _, tt := range []struct {
		reason string
		views  int
		probs  []float32
		want   []float32
	}{
		{"one view is as it was", 1, []float32{0.2, 0.5, 0.3, 1, 0, 0}, []float32{0.2, 0.5, 0.3, 1, 0, 0}},
		{"the means of two photographs' views", 2, []float32{0.25, 0.5, 0.25, 0.75, 0, 0.25, 0, 0, 1, 0.5, 0.25, 0.25}, []float32{0.5, 0.25, 0.25, 0.25, 0.125, 0.625}},
		{"no number in a later view", 2, []float32{0.5, 0.5, 0, nan, nan, nan}, []float32{nan, nan, nan}},
		{"no number in the first one", 2, []float32{nan, nan, nan, 1, 0, 0}, []float32{nan, nan, nan}},
	} {
		c := &Classifier{Model: small(t, 1), Views: make([]transforms.List, tt.views)}
		got := c.Pool(slices.Clone(tt.probs))
		if !slices.EqualFunc(got, tt.want, func(a, b float32) bool { return a == b || a != a && b != b }) {
			t.Errorf("%s: %v; want %v", tt.reason, got, tt.want)
		}
	}
}

// A model looks at as many views as are asked for, or else its card says, with an input of the size that is asked for.
func TestViewsAndSize(t *testing.T) {
	dense, dir := small(t, 1), t.TempDir()
	if err := dense.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	pooled, fully := small(t, 1), t.TempDir()
	pooled.Network.Layers = slices.Insert(slices.Clone(pooled.Network.Layers), 1, model.Layer{Name: "pool", Op: model.GlobalAvgPool})
	params, err := model.Init(pooled.Network, 1)
	if err != nil {
		t.Fatal(err)
	}
	pooled.Params, pooled.Card.Views = params, 2
	if err := pooled.Save(fully, false); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason, dir string
		cfg         Config
		views, side int
		size        int // of the Config that comes out
		fails       string
	}{
		{"nothing is said", dir, Config{}, 1, 16, 0, ""},
		{"the card says it", fully, Config{}, 2, 16, 0, ""},
		{"the card is overruled", fully, Config{Views: 1}, 1, 16, 0, ""},
		{"another size", fully, Config{Views: 3, Size: 24}, 3, 24, 24, ""},
		{"the model's own size is none", dir, Config{Size: 16}, 1, 16, 0, ""},
		{"a dense layer that sees every place apart", dir, Config{Size: 24}, 0, 0, 0, "tiny takes no other input than 16x16x3: layer fc sees every place apart"},
		{"too small for a convolution", fully, Config{Size: 2}, 0, 0, 0, "use a larger input"},
		{"too many views", dir, Config{Views: 4}, 0, 0, 0, "want 1 to 3"},
		{"no size", dir, Config{Size: -1}, 0, 0, 0, "-1 x -1"},
	} {
		c, err := Load(t.Context(), tt.dir, tt.cfg)
		if tt.fails != "" {
			if !errors.As(err, new(*ConfigError)) || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("%s: %v; want a ConfigError that says %q", tt.reason, err, tt.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.reason, err)
			continue
		}
		for _, l := range c.Views {
			if w, h := l.Size(); w != tt.side || h != tt.side {
				t.Errorf("%s: a view of %d x %d", tt.reason, w, h)
			}
		}
		if len(c.Views) != tt.views || c.Engine.Input().H != tt.side || c.Config.Size != tt.size || c.Config.Views != tt.views {
			t.Errorf("%s: %d views of %v, %+v", tt.reason, len(c.Views), c.Engine.Input(), c.Config)
		}
	}
}
