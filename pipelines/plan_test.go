package pipelines

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
)

func predict(t *testing.T, cfg ScoreConfig, sample int) Prediction {
	t.Helper()
	if cfg.Out == "" {
		cfg.Out = filepath.Join(t.TempDir(), "out")
	}
	p, err := Predict(context.Background(), cfg, sample, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cfg.Out); err == nil {
		t.Error("a prediction has made the output's folder")
	}
	return p
}

// A prediction knows the rows, estimates the rest from a sample, and leaves nothing.
func TestPredict(t *testing.T) {
	noLeaks(t)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	dir := t.TempDir()
	var rows []string
	const n = 800
	for i := range n { // every fourth is not there
		if i%4 > 0 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.png", i)), picture(i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, fmt.Sprintf("%d,%s/%d.png", i, dir, i))
	}
	cfg := ScoreConfig{Listing: listed(t, "post_id,image", rows...), Model: newModel(t, 1), Options: listing.Options{ChunkRows: 200}}
	before := files(t, dir)
	p := predict(t, cfg, 300)
	if p.Rows != n || !p.Exact || p.Sampled < 200 || p.Sampled > 300 {
		t.Errorf("%d rows, exact %v, %d sampled", p.Rows, p.Exact, p.Sampled)
	}
	if math.Abs(p.Rejects-0.25) > 0.1 {
		t.Errorf("a share of %v is rejected; want some 0.25", p.Rejects)
	}
	if p.Fresh != 1 || p.Hosts != 0 || p.Latency != 0 {
		t.Errorf("fresh %v, %d hosts, latency %v; want 1, 0 and 0", p.Fresh, p.Hosts, p.Latency)
	}
	if p.Decode <= 0 || p.Infer <= 0 || p.Seconds <= 0 || p.Memory <= 0 || p.Binds == "" {
		t.Errorf("%+v", p)
	}
	var bytes int64
	for name, data := range before {
		if name != "" {
			bytes += int64(len(data))
		}
	}
	if p.ImageBytes < bytes*8/10 || p.ImageBytes > bytes*12/10 {
		t.Errorf("images of %d bytes; want some %d", p.ImageBytes, bytes)
	}
	same(t, before, files(t, dir))
	same(t, nil, files(t, temporary))

	cfg.Out = filepath.Join(t.TempDir(), "out")
	score(t, cfg)
	var output int64
	for name, data := range files(t, cfg.Out) {
		if filepath.Ext(name) == ".parquet" {
			output += int64(len(data))
		}
	}
	if p.OutputBytes < output/2 || p.OutputBytes > output*2 {
		t.Errorf("an output of %d bytes is predicted, and has %d", p.OutputBytes, output)
	}
}

// Over a slow network it is the network that binds.
func TestPredictNetwork(t *testing.T) {
	web := newSite(t)
	const slow = 20 * time.Millisecond
	web.answers(func(http.ResponseWriter, *http.Request) bool { time.Sleep(slow); return false })
	cfg := ScoreConfig{Listing: listed(t, "post_id,image", numbered(3000, web.url+"/%d.png")...), Model: newModel(t, 1), Images: local()}
	p := predict(t, cfg, 80)
	if p.Hosts != 1 || p.Binds != "fetch" || p.Latency < slow.Seconds() || p.Latency > 1 { // on a busy machine it is more
		t.Errorf("%d hosts, %s binds, latency %v s; want 1, fetch, and some %v", p.Hosts, p.Binds, p.Latency, slow)
	}
	if want := 3000 * p.Latency / 8; math.Abs(p.Seconds-want) > 1 { // 8 connections to a host
		t.Errorf("%v s in all; want some %v", p.Seconds, want)
	}
	cfg.Images.Fetch.HostRate = 50
	if p := predict(t, cfg, 20); p.Seconds < 60 || math.Abs(p.Seconds-max(60, 3000*p.Latency/8)) > 1 {
		t.Errorf("at 50 requests a second: %v s in all; want some 60", p.Seconds)
	}
}

// Images that come again cost nothing, unless that is asked for.
func TestPredictRepeats(t *testing.T) {
	list := posts(t, 3000)
	cfg := ScoreConfig{Listing: list, Model: newModel(t, 1)}
	if p := predict(t, cfg, 200); p.Fresh <= 0 || p.Fresh > 0.05 {
		t.Errorf("a share of %v is fresh; want some 0.01", p.Fresh)
	}
	cfg.Repeats = true
	if p := predict(t, cfg, 200); p.Fresh != 1 {
		t.Errorf("with repeats a share of %v is fresh; want 1", p.Fresh)
	}
}

// A long run says at its end what it was to take, by a sample whose answers it does not look for again.
func TestPredictQuickly(t *testing.T) {
	web := newSite(t)
	rows := make([]string, predictedFrom)
	for i := range rows {
		rows[i] = fmt.Sprintf("%d,%s/%d.png", i, web.url, i%50)
	}
	cfg := ScoreConfig{Listing: listed(t, "post_id,image", rows...), Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"), Images: local()}
	if s := score(t, cfg); s.Predicted <= 0 || s.Scored != predictedFrom {
		t.Errorf("%v was predicted, %d rows were scored", s.Predicted, s.Scored)
	}
	if all, most := web.asked(); all != 50 || most != 1 {
		t.Errorf("%d requests, at most %d of one image; want 50 and 1", all, most)
	}
	if _, err := scores.Verify(context.Background(), cfg.Out); err != nil {
		t.Error(err)
	}
	web.answers(hang)
	cfg.Out, cfg.Deadline = filepath.Join(t.TempDir(), "out"), time.Now().Add(300*time.Millisecond)
	if _, err := Score(context.Background(), cfg); err == nil || time.Since(cfg.Deadline) > 2*time.Second {
		t.Errorf("a sample goes on for %v beyond the deadline, error %v", time.Since(cfg.Deadline), err)
	}
}
