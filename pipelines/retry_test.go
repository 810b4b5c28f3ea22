package pipelines

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// overloaded says so for pictures whose number is divisible by n.
func overloaded(n int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		var i int
		if _, err := fmt.Sscanf(filepath.Base(r.URL.Path), "%d.png", &i); err != nil || i%n != 0 {
			return false
		}
		http.Error(w, "overloaded", http.StatusInternalServerError)
		return true
	}
}

func retry(t testing.TB, cfg ScoreConfig) Summary {
	t.Helper()
	s, err := Retry(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// failing is a run over 60 pictures, every fifth of which its server cannot give, and one that is none, with a kept column.
func failing(t *testing.T, web *site) ScoreConfig {
	t.Helper()
	web.answers(overloaded(5))
	var rows []string
	for i := range 60 {
		rows = append(rows, fmt.Sprintf("%d,%s/%d.png,likes %d", i, web.url, i, i))
	}
	rows = append(rows, "none,"+web.url+"/none,likes none", "bad,no-such.png,likes bad")
	allowed := 0.9
	cfg := ScoreConfig{Listing: listed(t, "post_id,image,likes", rows...), Options: listing.Options{ChunkRows: 12, Keep: []string{"likes"}}, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"),
		Images: local(), MaxRejects: &allowed}
	if s := score(t, cfg); s.Rejected != 14 || s.Retryable != 12 {
		t.Fatalf("%d rejects, %d of them to be tried again; want 14 and 12", s.Rejected, s.Retryable)
	}
	return cfg
}

// postsIn are the posts of an output by the folder they are in, and how often each is there.
func postsIn(t *testing.T, out string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for s, err := range scores.Scores(context.Background(), out) {
		if err != nil {
			t.Fatal(err)
		}
		all["scored "+s.PostID]++
	}
	for r, err := range scores.Rejects(context.Background(), out) {
		if err != nil {
			t.Fatal(err)
		}
		all["rejected "+r.PostID]++
	}
	return all
}

// What failed for a while is scored later, round by round, with nothing else changed, and the same bytes each time.
func TestRetry(t *testing.T) {
	noLeaks(t)
	web := newSite(t)
	cfg := failing(t, web)
	before := files(t, cfg.Out)
	copyTo := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copyTo, os.DirFS(cfg.Out)); err != nil {
		t.Fatal(err)
	}
	rounds := func(out string) map[string]string {
		cfg := ScoreConfig{Out: out, Images: local(), MaxRejects: new(float64)} // which is no measure here
		var watched *monitor.Monitor
		cfg.Started = func(m *monitor.Monitor) { watched = m }
		web.answers(overloaded(10))
		web.hits = map[string]int{}
		if s := retry(t, cfg); s.Scored != 54 || s.Rejected != 8 || s.Retryable != 6 || s.Already {
			t.Errorf("the first round: %d scored, %d rejected, %d retryable", s.Scored, s.Rejected, s.Retryable)
		}
		if all, most := web.asked(); all != 12 || most != 1 {
			t.Errorf("the first round has asked for %d images, at most %d times for one; want 12 and 1", all, most)
		}
		if w := watched.Snapshot(); w.Done != w.Rows || w.Chunks.Done != w.Chunks.Total {
			t.Errorf("watched to the end: %d of %d rows, %d of %d chunks", w.Done, w.Rows, w.Chunks.Done, w.Chunks.Total)
		}
		web.answers(nil)
		if s := retry(t, cfg); s.Scored != 60 || s.Rejected != 2 || s.Retryable != 0 {
			t.Errorf("the second round: %d scored, %d rejected, %d retryable", s.Scored, s.Rejected, s.Retryable)
		}
		if m, err := scores.Verify(context.Background(), out); err != nil || m.Rows != 62 {
			t.Errorf("%d rows, error %v", m.Rows, err)
		}
		return files(t, out)
	}
	got := rounds(cfg.Out)
	same(t, got, rounds(copyTo))
	for name := range before {
		if strings.HasPrefix(name, "scores/") && before[name] != got[name] {
			t.Errorf("%s has changed: only what is new is written", name)
		}
	}
	all := postsIn(t, cfg.Out)
	for i := range 60 {
		if all[fmt.Sprint("scored ", i)] != 1 {
			t.Errorf("post %d is scored %d times", i, all[fmt.Sprint("scored ", i)])
		}
	}
	if len(all) != 62 || all["rejected none"] != 1 || all["rejected bad"] != 1 {
		t.Errorf("%d posts, %v", len(all), all)
	}
	for _, folder := range []string{"scores", "rejects"} {
		for post, kept := range keptLikes(t, cfg.Out, folder) {
			if kept != "likes "+post {
				t.Errorf("%s: post %s has kept %q", folder, post, kept)
			}
		}
	}
	web.hits = map[string]int{}
	if s := retry(t, ScoreConfig{Out: cfg.Out, Images: local()}); !s.Already {
		t.Error("there was something left to do")
	}
	if asked, _ := web.asked(); asked > 0 {
		t.Errorf("%d images were asked for though nothing was left to do", asked)
	}
	same(t, got, files(t, cfg.Out))
	if s := score(t, cfg); !s.Already || s.Scored != 60 {
		t.Errorf("the score that was retried: %+v", s)
	}
}

func keptLikes(t *testing.T, out, folder string) map[string]string {
	all := keptIn(t, out, folder)
	for post, kept := range all {
		all[post] = strings.TrimSuffix(kept, ", null")
	}
	return all
}

// A retry that was interrupted goes on where it was, and until then its output does not pass for whole.
func TestRetryInterrupted(t *testing.T) {
	noLeaks(t)
	web := newSite(t)
	cfg := failing(t, web)
	undisturbed := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(undisturbed, os.DirFS(cfg.Out)); err != nil {
		t.Fatal(err)
	}
	web.answers(func(w http.ResponseWriter, r *http.Request) bool {
		return (r.URL.Path == "/15.png" || r.URL.Path == "/40.png") && hang(w, r)
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	again := ScoreConfig{Out: cfg.Out, Images: local()}
	again.Started = func(m *monitor.Monitor) {
		go func() {
			for m.Snapshot().Chunks.Done < 2 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
	}
	if _, err := Retry(ctx, again); err != context.Canceled {
		t.Fatalf("error %v; want the cancellation", err)
	}
	if _, err := scores.Verify(context.Background(), cfg.Out); err == nil || !strings.Contains(err.Error(), "logobeam retry "+cfg.Out) {
		t.Errorf("verify: error %v", err)
	}
	if _, err := Score(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), "logobeam retry "+cfg.Out) {
		t.Errorf("score: error %v", err)
	}
	web.answers(nil)
	again.Started = nil
	retry(t, again)
	again.Out = undisturbed
	retry(t, again)
	same(t, files(t, undisturbed), files(t, cfg.Out))
	if _, err := scores.Verify(context.Background(), cfg.Out); err != nil {
		t.Error(err)
	}
}

// The model may have moved, but has to be the same. Paths are those of the listing, wherever the retry is run.
func TestRetryElsewhere(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	cfg := ScoreConfig{Listing: "posts.csv", Model: newModel(t, 1), Out: "out"}
	cfg.Images.Limits.Time = 1 // no picture is decoded so fast
	for name, data := range map[string][]byte{"posts.csv": []byte("post_id,image\n1,photos/1.png\n"), "photos/1.png": picture(1)} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if s := score(t, cfg); s.Retryable != 1 {
		t.Fatalf("summary %+v", s)
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(cfg.Model, moved); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	out := filepath.Join(dir, "out")
	if _, err := Retry(context.Background(), ScoreConfig{Out: out}); err == nil || !strings.Contains(err.Error(), cfg.Model) {
		t.Errorf("without its model: error %v", err)
	}
	other := newModel(t, 2)
	if _, err := Retry(context.Background(), ScoreConfig{Out: out, Model: other}); err == nil || !strings.Contains(err.Error(), other+" is another") || !strings.Contains(err.Error(), "--model") {
		t.Errorf("with another model: error %v", err)
	}
	if _, err := scores.Verify(context.Background(), out); err != nil {
		t.Errorf("a retry that could not begin has left: %v", err)
	}
	if s := retry(t, ScoreConfig{Out: out, Model: moved}); s.Scored != 1 || s.Rejected != 0 {
		t.Errorf("summary %+v", s)
	}
}
