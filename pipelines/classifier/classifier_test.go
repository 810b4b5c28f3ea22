package classifier

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/store"
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

// bucket starts a server with an empty bucket, gs://bucket.
func bucket(t *testing.T) store.Store {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	address := web.Listener.Addr().String()
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: address})
	if err != nil {
		t.Fatal(err)
	}
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "bucket"})
	web.Config.Handler = fake.HTTPHandler()
	web.Start()
	t.Cleanup(web.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", address)
	s, err := store.At(t.Context(), "gs://bucket")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoadFromBucket(t *testing.T) {
	s := bucket(t)
	m, dir := small(t, 1), t.TempDir()
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.safetensors", "model.json"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), "models/small/"+name, data); err != nil {
			t.Fatal(err)
		}
	}
	for _, location := range []string{dir, "gs://bucket/models/small", "gs://bucket/models/small/"} {
		c, err := Load(t.Context(), location, "")
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
