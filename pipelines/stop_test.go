package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// checkPartial wants an output whose manifest tells of what is done, and which does not pass for whole.
func checkPartial(t *testing.T, out string) {
	t.Helper()
	m, finished, err := scores.Finished(context.Background(), out)
	if err != nil || finished {
		t.Fatalf("finished %v, error %v; want an unfinished output", finished, err)
	}
	var rows int64
	for name := range files(t, out) {
		if chunk, ok := strings.CutPrefix(name, "scores/part-"); ok {
			d, ok, err := scores.ReadPart(context.Background(), out, strings.TrimSuffix(chunk, ".parquet"))
			if err != nil || !ok {
				t.Fatalf("%s: there %v, error %v", name, ok, err)
			}
			rows += d.Rows
		}
	}
	if m.Rows != rows || m.Rows != m.Scored+m.Rejected {
		t.Errorf("the manifest tells of %d rows, %d scored and %d rejected; the parts hold %d", m.Rows, m.Scored, m.Rejected, rows)
	}
}

// A run ends at its deadline whatever its servers do, says what is done, and goes on from there.
func TestDeadline(t *testing.T) {
	noLeaks(t)
	web := newSite(t)
	web.answers(func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasPrefix(r.URL.Path, "/late") && hang(w, r)
	})
	rows := append(numbered(20, web.url+"/%d.png"), numbered(20, web.url+"/late/%d.png")...)
	cfg := ScoreConfig{Listing: listed(t, "post_id,image", rows...), Options: listing.Options{ChunkRows: 5}, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"),
		Images: local(), Deadline: time.Now().Add(600 * time.Millisecond)}
	_, err := Score(context.Background(), cfg)
	if !errors.Is(err, ErrDeadline) || !strings.Contains(err.Error(), "of 8 chunks are done") {
		t.Fatalf("error %v; want that of the deadline", err)
	}
	if late := time.Since(cfg.Deadline); late > 2*time.Second {
		t.Errorf("it ended %v after its deadline", late)
	}
	checkPartial(t, cfg.Out)
	web.answers(nil)
	cfg.Deadline = time.Time{}
	score(t, cfg)
	got := files(t, cfg.Out)
	cfg.Out = filepath.Join(t.TempDir(), "out")
	score(t, cfg)
	same(t, files(t, cfg.Out), got)
}

// A run with plainly too many rejects ends, says why they were rejected, and goes on where it was once that is mended.
func TestMaxRejects(t *testing.T) {
	noLeaks(t)
	web := newSite(t)
	web.answers(func(w http.ResponseWriter, r *http.Request) bool {
		time.Sleep(5 * time.Millisecond)
		if strings.HasPrefix(r.URL.Path, "/gone") {
			http.NotFound(w, r)
			return true
		}
		return false
	})
	const n = 900
	rows := append(numbered(n/3, web.url+"/gone/%d.png?key=secret"), numbered(2*n/3, web.url+"/%d.png")...)
	cfg := ScoreConfig{Listing: listed(t, "post_id,image", rows...), Options: listing.Options{ChunkRows: 100}, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"), Images: local()}
	allowed := 0.1
	cfg.MaxRejects = &allowed
	var watched *monitor.Monitor
	cfg.Started = func(m *monitor.Monitor) { watched = m }
	_, err := Score(context.Background(), cfg)
	if !errors.Is(err, ErrRejects) || !strings.Contains(err.Error(), "of 9 chunks are done") {
		t.Fatalf("error %v; want that of the rejects", err)
	}
	if all, _ := web.asked(); all >= n {
		t.Errorf("all %d images were asked for before the run ended", n)
	}
	if text := watched.Explain(nil); !strings.Contains(text, "fetch: not-found") && !strings.Contains(text, "fetch: http-") || strings.Contains(text, "secret") {
		t.Errorf("the reasons are:\n%s", text)
	}
	checkPartial(t, cfg.Out)
	cfg.MaxRejects = nil
	web.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/gone") {
			http.NotFound(w, r)
			return true
		}
		return false
	})
	if s := score(t, cfg); s.Rejected != n/3 || s.Scored != n-n/3 {
		t.Errorf("summary %+v", s)
	}
	if _, err := scores.Verify(context.Background(), cfg.Out); err != nil {
		t.Error(err)
	}
}

// A photograph that takes too long is named to the log, with what it waits for, before it ends.
func TestWatchdog(t *testing.T) {
	web := newSite(t)
	web.answers(hang)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var lines safeBuffer
	log := slog.New(slog.NewJSONHandler(&lines, nil))
	cfg := ScoreConfig{Listing: listed(t, "post_id,image", "late,"+web.url+"/1.png?key=secret"), Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"), Images: local()}
	var watching sync.WaitGroup
	cfg.Started = func(m *monitor.Monitor) { // as the run's own, with less patience
		watching.Go(func() { m.Watch(ctx, log, 10*time.Millisecond, 100*time.Millisecond) })
		watching.Go(func() {
			for !strings.Contains(lines.String(), "a photograph is under way") && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		})
	}
	if _, err := Score(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v; want that of whoever has seen the warning", err)
	}
	watching.Wait()
	for line := range strings.Lines(lines.String()) {
		var got struct{ Level, Msg, Post, Image, Stage, Host string }
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "secret") || got.Level != "WARN" {
			t.Errorf("logged %s", line)
		}
		if strings.HasPrefix(got.Msg, "a photograph") && (got.Post != "late" || got.Stage != "fetch" || !strings.Contains(got.Host, "127.0.0.1") || !strings.HasSuffix(got.Image, "/1.png?...")) {
			t.Errorf("logged %s", line)
		}
	}
	if !strings.Contains(lines.String(), "a photograph is under way") {
		t.Errorf("logged %s", lines.String())
	}
	images := Images{}
	images.Fetch.Timeout, images.Limits.Time = 7*time.Second, 5*time.Second
	if got := images.stuckAfter(); got <= 12*time.Second || got > 30*time.Second {
		t.Errorf("a photograph that may take 12 s is worth a word after %v", got)
	}
}

// safeBuffer may be written and read at one time.
type safeBuffer struct {
	mutex sync.Mutex
	bytes bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.bytes.Write(p)
}

func (b *safeBuffer) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.bytes.String()
}

// The log has a line for each chunk that is done, and none for those found done.
func TestLogOfChunks(t *testing.T) {
	var lines safeBuffer
	cfg := ScoreConfig{Listing: posts(t, 60), Options: listing.Options{ChunkRows: 12}, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"),
		Log: slog.New(slog.NewJSONHandler(&lines, nil))}
	score(t, cfg)
	if err := os.Remove(filepath.Join(cfg.Out, "_SUCCESS")); err != nil {
		t.Fatal(err)
	}
	score(t, cfg)
	chunks, rows, rejected := map[int]bool{}, 0, 0
	for line := range strings.Lines(lines.String()) {
		var got struct {
			Msg                                    string
			Chunk, Rows, Scored, Rejected, Skipped int
			Seconds                                float64
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if got.Msg != "chunk done" || chunks[got.Chunk] || got.Scored+got.Rejected != got.Rows || got.Seconds <= 0 {
			t.Errorf("logged %s", line)
		}
		chunks[got.Chunk], rows, rejected = true, rows+got.Rows, rejected+got.Rejected
	}
	if len(chunks) != 5 || rows != 60 || rejected != len(bad) {
		t.Errorf("the lines are of %d chunks, %d rows and %d rejects; want 5, 60 and %d", len(chunks), rows, rejected, len(bad))
	}
}

// A chunk that cannot be written ends the run with its error. What the others have done stays, and the run can go on.
func TestChunkFails(t *testing.T) {
	noLeaks(t)
	cfg := ScoreConfig{Listing: posts(t, 300), Options: listing.Options{ChunkRows: 20}, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out")}
	score(t, cfg)
	want := files(t, cfg.Out)
	m, err := scores.ReadManifest(context.Background(), cfg.Out)
	if err != nil {
		t.Fatal(err)
	}
	part := "scores/part-" + m.Chunks[7].Chunk + ".parquet"
	for _, runner := range LocalRunners() {
		t.Run(runner, func(t *testing.T) {
			cfg := cfg
			cfg.Runner, cfg.Out = runner, filepath.Join(t.TempDir(), "out")
			cfg.Started = func(*monitor.Monitor) {
				if err := os.MkdirAll(filepath.Join(cfg.Out, part, "in the way"), 0o755); err != nil {
					t.Error(err)
				}
			}
			began := time.Now()
			_, err := Score(context.Background(), cfg)
			if err == nil || !strings.Contains(err.Error(), filepath.Base(part)) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %v; want that of %s, in a line", err, part)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v to fail", took)
			}
			for name, data := range files(t, cfg.Out) {
				if strings.HasSuffix(name, ".parquet") && want[name] != data {
					t.Errorf("%s is not as it should be", name)
				}
			}
			if err := os.RemoveAll(filepath.Join(cfg.Out, part)); err != nil {
				t.Fatal(err)
			}
			cfg.Started = nil
			score(t, cfg)
			same(t, want, files(t, cfg.Out))
		})
	}
}

// A network that panics ends the run, and not the process, with an error that names posts.
func TestNetworkPanics(t *testing.T) {
	s := newTestScorer(t, newModel(t, 1), 1, Images{})
	defer s.close()
	j := &inquiry{scorer: s, rows: listing.PostsOf(listing.Row{PostID: "a"}, listing.Row{PostID: "b"}, listing.Row{PostID: "c"}), done: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancelCause(context.Background())
	j.left.Store(3)
	s.infer(<-s.rooms, []*photograph{{inquiry: j, row: 0}, {inquiry: j, row: 1}, {inquiry: j, row: 2}}) // one more than there is room for
	if err := context.Cause(j.ctx); err == nil || !strings.Contains(err.Error(), "the network fails on posts a to c") {
		t.Errorf("error %v", err)
	}
	if len(j.again) != 3 {
		t.Errorf("%d of 3 photographs were given up", len(j.again))
	}
}

// A bundle passes on what its chunks have made though one of them fails, begins none after that, and leaves nobody.
func TestBundle(t *testing.T) {
	noLeaks(t)
	b := newBundle[scores.Done]("", newRoom())
	fault := errors.New("the disk is full")
	ends := make(chan struct{})
	do := func(i int) error {
		return b.begin(context.Background(), 1, func(context.Context, *running) (scores.Done, error) {
			if i == 2 {
				return scores.Done{}, fault
			}
			<-ends
			return scores.Done{Piece: scores.Piece{Chunk: fmt.Sprint(i)}}, nil
		})
	}
	for i := range 2 {
		if err := do(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := do(2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third chunk fails", func() bool { return b.failed() != nil })
	if err := do(3); err != fault {
		t.Errorf("the fourth chunk: error %v; want that of the third", err)
	}
	close(ends)
	b.chunks.Wait()
	var got []string
	err := b.finish(func(d scores.Done) { got = append(got, d.Chunk) })
	if err != fault || len(got) != 2 {
		t.Errorf("%d records and error %v; want 2 and that of the third chunk", len(got), err)
	}
}
