package classifier

import (
	"encoding/json"
	"errors"
	"io/fs"
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
