package pipelines

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"

	"github.com/logobeam/logobeam/model"
)

// Beam's lines are dropped, and those of others go where they went before Beam was there.
func TestLogs(t *testing.T) {
	startBeam()
	var lines bytes.Buffer
	out := log.Writer()
	defer log.SetOutput(out)
	log.SetOutput(&lines)
	log.Print("by package log")
	slog.Info("by package slog")
	beamlog.Error(context.Background(), "by Beam")
	if got := lines.String(); !strings.Contains(got, "by package log") || !strings.Contains(got, "INFO by package slog") || strings.Contains(got, "by Beam") {
		t.Errorf("logged:\n%s", got)
	}
}

// A chunk that Beam hands out after the end of its run is not scored, even if Score has returned.
func TestEnterAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	runs.Store("ended", &running{ctx: ctx})
	defer runs.Delete("ended")
	cancel()
	inner, _, leave := enter(context.Background(), "ended")
	defer leave()
	select {
	case <-inner.Done():
	case <-time.After(10 * time.Second):
		t.Error("the chunk's context does not end")
	}
}

// A model that is trained anew, or only now, is the one that scores, in the same process too.
func TestModelReadAgain(t *testing.T) {
	cfg := ScoreConfig{Listing: posts(t, 40), Model: filepath.Join(t.TempDir(), "model"), Out: filepath.Join(t.TempDir(), "1")}
	if _, err := Score(context.Background(), cfg); err == nil {
		t.Fatal("there is no model yet")
	}
	for seed, out := range []string{"2", "3"} {
		m, err := model.Load(newModel(t, uint64(seed)))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Save(cfg.Model, false); err != nil {
			t.Fatal(err)
		}
		cfg.Out = filepath.Join(t.TempDir(), out)
		if s := score(t, cfg); s.Run.ModelHash != m.Hash() {
			t.Errorf("scored by the model %.8s; the folder holds %.8s", s.Run.ModelHash, m.Hash())
		}
	}
}
