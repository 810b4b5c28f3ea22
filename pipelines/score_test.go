package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/transforms"
)

// newModel saves a network small enough for tests.
func newModel(t testing.TB, seed uint64) string {
	t.Helper()
	net := model.Network{Arch: "tiny", Input: model.Shape{H: 16, W: 16, C: 3}, Layers: []model.Layer{
		{Name: "conv", Op: model.Conv, Out: 8, Kernel: 3, Stride: 2, Act: model.ReLU},
		{Name: "fc", Op: model.Dense, Out: 4},
	}}
	params, err := model.Init(net, seed)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := json.Marshal(transforms.DefaultScoring(16, [3]float64{127, 127, 127}, [3]float64{60, 60, 60}))
	if err != nil {
		t.Fatal(err)
	}
	m := model.Model{Network: net, Params: params, Card: model.Card{Classes: []string{"adidas", "bmw", "ford", model.NoLogo}, Transforms: steps}}
	dir := filepath.Join(t.TempDir(), "model")
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	return dir
}

// picture is a PNG of patches whose colours come from a seed.
func picture(seed int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, 24, 20))
	x := uint32(seed)*2654435761 + 1
	for y := range 5 {
		for c := range 6 {
			x = x*1664525 + 1013904223
			for i := range 16 {
				m.Set(4*c+i%4, 4*y+i/4, color.RGBA{uint8(x >> 24), uint8(x >> 16), uint8(x >> 8), 255})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// bad are rows that cannot be scored, and what is to be said of them.
var bad = []struct{ post, image, stage, reason string }{
	{"missing", "no-such.png", "fetch", "not-found"},
	{"folder", ".", "fetch", "not-a-file"},
	{"bucket", "s3://bucket/a.png", "fetch", "unsupported-scheme"},
	{"private", "http://10.0.0.1/a.png", "fetch", "blocked-address"},
	{"empty", "empty.png", "decode", "empty"},
	{"text", "text.jpg", "decode", "not-an-image"},
	{"page", "page.jpg", "decode", "html-page"},
	{"cut", "cut.png", "decode", "truncated"},
	{"no image", "", "listing", "malformed-row"},
	{"a field too many", "a.png,b.png", "listing", "malformed-row"},
	{"unclosed", `"photo-1.png`, "listing", "malformed-row"},
}

// posts writes photographs and a listing of n rows over them, among which every bad row is once. Photographs are shared.
func posts(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	const photographs = 20
	files := map[string][]byte{"empty.png": nil, "text.jpg": []byte("this is no image, whatever it is called"), "cut.png": picture(1)[:150],
		"page.jpg": []byte("<!DOCTYPE html><html><body>404</body></html>")}
	for i := range photographs {
		files[fmt.Sprintf("photo-%d.png", i)] = picture(i)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var b strings.Builder
	b.WriteString("post_id,image\n")
	for i := range n {
		if k := i - n/3; k >= 0 && k < len(bad) {
			fmt.Fprintf(&b, "%s,%s\n", bad[k].post, bad[k].image)
			continue
		}
		fmt.Fprintf(&b, "post-%04d,photo-%d.png\n", i, i*7%photographs)
	}
	path := filepath.Join(dir, "posts.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// files are all of a folder, by their names in it.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(data)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func same(t testing.TB, want, got map[string]string) {
	t.Helper()
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s differs: %d bytes; want %d", name, len(got[name]), len(want[name]))
		}
	}
	if len(want) != len(got) {
		t.Errorf("%d files; want %d", len(got), len(want))
	}
}

// noLeaks fails the test if goroutines other than Beam's own stay.
func noLeaks(t *testing.T) {
	t.Helper()
	// Beam's job server, and the connections to it, live as long as the process.
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before,
			goleak.IgnoreAnyFunction("google.golang.org/grpc.(*Server).Serve"),
			goleak.IgnoreAnyFunction("google.golang.org/grpc.(*Server).serveStreams"),
			goleak.IgnoreAnyFunction("google.golang.org/grpc.(*Server).handleStream"),
			goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/transport.(*http2Server).keepalive"),
			goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/transport.(*controlBuffer).get"),
			goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/transport.(*http2Client).reader"),
			goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
		)
	})
}

func score(t testing.TB, cfg ScoreConfig) Summary {
	t.Helper()
	s, err := Score(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every row of the listing is in one place, once, in its order, with the answer that the model alone gives.
func TestScore(t *testing.T) {
	noLeaks(t)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	list, out, dir := posts(t, 600), filepath.Join(t.TempDir(), "deep", "out"), newModel(t, 1)
	var watched *monitor.Monitor
	s := score(t, ScoreConfig{Listing: list, Options: listing.Options{ChunkRows: 70}, Out: out, Model: dir, Program: "test",
		Started: func(m *monitor.Monitor) { watched = m }})
	if s.Rows != 600 || s.Rejected != int64(len(bad)) || s.Scored != 600-s.Rejected || s.Already || s.Elapsed <= 0 {
		t.Errorf("summary %+v", s)
	}
	if w := watched.Snapshot(); w.Rows != 600 || w.Done != 600 || w.Rejected != int64(len(bad)) || w.Chunks.Done != 9 || w.UnderWay != 0 || w.Repeated < 500 {
		t.Errorf("watched to the end: %+v", w)
	}
	m, err := scores.Verify(context.Background(), out)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Manifest, m); diff != "" {
		t.Errorf("the manifest differs from the summary (-summary +manifest):\n%s", diff)
	}

	chunks, err := listing.Plan(context.Background(), list, listing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := infer.Compile(loaded.Network, loaded.Params)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := transforms.Parse(loaded.Card.Transforms)
	if err != nil {
		t.Fatal(err)
	}
	arena := plan.NewArena(1)
	wantScores, wantRejects := map[string]scores.Score{}, map[string]string{}
	for _, c := range chunks {
		rows, err := c.Read(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows.Len() {
			r := rows.At(i)
			if !strings.HasPrefix(r.PostID, "post-") {
				continue
			}
			data, err := os.ReadFile(filepath.Join(filepath.Dir(list), r.Image))
			if err != nil {
				t.Fatal(err)
			}
			if err := steps.Tensor(data, transforms.Key{Epoch: -1, Image: r.Image}, transforms.DefaultLimits(), arena.Input(0)); err != nil {
				t.Fatal(err)
			}
			probs := arena.Run(1)
			infer.Softmax(probs, 4)
			best := 0
			for i, p := range probs {
				if p > probs[best] {
					best = i
				}
			}
			wantScores[r.PostID] = scores.Score{PostID: r.PostID, Brand: loaded.Card.Classes[best], Probability: probs[best], Frames: 1}
		}
	}
	for _, b := range bad {
		wantRejects[b.post] = b.stage + " " + b.reason
	}
	gotScores, gotRejects := map[string]scores.Score{}, map[string]string{}
	brands := map[string]bool{}
	for s, err := range scores.Scores(context.Background(), out) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := gotScores[s.PostID]; twice {
			t.Errorf("%s is scored twice", s.PostID)
		}
		gotScores[s.PostID] = s.Score
		brands[s.Brand] = true
	}
	for r, err := range scores.Rejects(context.Background(), out) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := gotRejects[r.PostID]; twice || r.Detail == "" || r.Retryable {
			t.Errorf("%+v: twice, without a detail, or retryable", r)
		}
		gotRejects[r.PostID] = r.Stage + " " + r.Reason
	}
	if diff := cmp.Diff(wantScores, gotScores); diff != "" {
		t.Errorf("scores (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantRejects, gotRejects); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
	if len(brands) < 2 {
		t.Errorf("all photographs show %v: the test cannot tell answers apart", brands)
	}
	for name := range files(t, out) {
		if strings.Contains(name, "/.") || strings.HasPrefix(name, ".") {
			t.Errorf("%s was left behind", name)
		}
	}
	if left := files(t, temporary); len(left) > 0 {
		t.Errorf("%d files were left in the temporary folder: %.200v", len(left), left)
	}
}

// The same listing, model and options give the same bytes, whoever does the work and however it is cut up among them.
func TestSameBytes(t *testing.T) {
	list, dir := posts(t, 300), newModel(t, 1)
	cfg := ScoreConfig{Listing: list, Options: listing.Options{ChunkRows: 64}, Model: dir, Out: filepath.Join(t.TempDir(), "out"), Workers: 1, Batch: 1}
	score(t, cfg)
	want := files(t, cfg.Out)
	for _, tt := range []ScoreConfig{
		{Runner: "prism", Workers: 4, Batch: 8},
		{Runner: "prism", Workers: 3, Batch: 64, Repeats: true},
		{Runner: "direct", Workers: 2, Batch: 3},
	} {
		t.Run(fmt.Sprint(tt.Runner, tt.Workers, tt.Batch), func(t *testing.T) {
			cfg := cfg
			cfg.Runner, cfg.Workers, cfg.Batch, cfg.Repeats, cfg.Out = tt.Runner, tt.Workers, tt.Batch, tt.Repeats, filepath.Join(t.TempDir(), "out")
			score(t, cfg)
			same(t, want, files(t, cfg.Out))
		})
	}
}

// A run that was interrupted goes on where it was, and ends as if nothing had happened.
func TestResume(t *testing.T) {
	list, dir := posts(t, 600), newModel(t, 1)
	for _, runner := range LocalRunners() {
		t.Run(runner, func(t *testing.T) {
			noLeaks(t)
			cfg := ScoreConfig{Listing: list, Options: listing.Options{ChunkRows: 50}, Model: dir, Out: filepath.Join(t.TempDir(), "out"), Runner: runner}
			score(t, cfg)
			want := files(t, cfg.Out)

			cfg.Out = filepath.Join(t.TempDir(), "out")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var at atomic.Int64
			interrupted := cfg
			interrupted.Started = func(m *monitor.Monitor) {
				go func() {
					for m.Snapshot().Chunks.Done < 4 && ctx.Err() == nil {
						time.Sleep(time.Millisecond)
					}
					at.Store(time.Now().UnixNano())
					cancel()
				}()
			}
			_, err := Score(ctx, interrupted)
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v; want the cancellation", err)
			}
			if took := time.Since(time.Unix(0, at.Load())); took > 2*time.Second {
				t.Errorf("it ended %v after it was interrupted", took)
			}
			there := files(t, cfg.Out)
			parts := 0
			for name, data := range there {
				switch {
				case strings.Contains(name, ".parquet"):
					parts++
					if want[name] != data {
						t.Errorf("%s is half written", name)
					}
				case name != "manifest.json":
					t.Errorf("%s was left behind", name)
				}
			}
			if parts == 0 || parts >= 24 {
				t.Errorf("%d of 24 files are there: the test did not interrupt", parts)
			}
			if _, err := scores.Verify(context.Background(), cfg.Out); err == nil {
				t.Error("an unfinished output passes for whole")
			}

			// What an attempt that was killed leaves behind, and a part of which a half is missing.
			for _, dir := range []string{"scores", "rejects"} {
				if err := os.WriteFile(filepath.Join(cfg.Out, dir, ".pending-part-dead.parquet-1"), []byte("half"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name := range there {
				if strings.HasPrefix(name, "scores/") {
					os.Remove(filepath.Join(cfg.Out, name))
					break
				}
			}
			if s := score(t, cfg); s.Already || s.Rows != 600 {
				t.Errorf("summary %+v", s)
			}
			same(t, want, files(t, cfg.Out))
		})
	}
}

// A second run on a finished output does nothing.
func TestFinished(t *testing.T) {
	cfg := ScoreConfig{Listing: posts(t, 60), Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out")}
	first := score(t, cfg)
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name := range files(t, cfg.Out) {
		if err := os.Chtimes(filepath.Join(cfg.Out, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Workers, cfg.Runner = 1, "direct"
	second := score(t, cfg)
	if !second.Already || second.Elapsed != 0 {
		t.Errorf("the second run says %+v", second)
	}
	if diff := cmp.Diff(first.Manifest, second.Manifest); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	for name := range files(t, cfg.Out) {
		if info, err := os.Stat(filepath.Join(cfg.Out, name)); err != nil || !info.ModTime().Equal(old) {
			t.Errorf("%s was touched", name)
		}
	}
}

// What cannot be done is said before anything is touched.
func TestRefused(t *testing.T) {
	list, dir := posts(t, 60), newModel(t, 1)
	mine := filepath.Join(t.TempDir(), "out")
	base := ScoreConfig{Listing: list, Model: dir, Out: mine}
	score(t, base)
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "thesis.txt"), []byte("years of work"), 0o644); err != nil {
		t.Fatal(err)
	}
	noImage := filepath.Join(t.TempDir(), "posts.csv")
	if err := os.WriteFile(noImage, []byte("post_id,url\n1,a.jpg\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(t.TempDir(), "out")
	for _, tt := range []struct {
		reason string
		change func(*ScoreConfig)
		want   []string
	}{
		{"no listing", func(c *ScoreConfig) { c.Listing = "" }, []string{"listing"}},
		{"no output", func(c *ScoreConfig) { c.Out = "" }, []string{"output"}},
		{"no such listing", func(c *ScoreConfig) { c.Listing, c.Out = "no-such.csv", nowhere }, []string{"no-such.csv", "no such file"}},
		{"no such column", func(c *ScoreConfig) { c.Listing, c.Out = noImage, nowhere }, []string{`no column "image"`, `"url"`, "--image-column"}},
		{"no such model", func(c *ScoreConfig) { c.Model, c.Out = "no-such-model", nowhere }, []string{"no-such-model"}},
		{"no such runner", func(c *ScoreConfig) { c.Runner, c.Out = "spark", nowhere }, []string{"spark", "prism"}},
		{"no such precision", func(c *ScoreConfig) { c.Precision, c.Out = "int4", nowhere }, []string{"int4", "fp32", "int8"}},
		{"a precision that the model lacks", func(c *ScoreConfig) { c.Precision, c.Out = model.Int8, nowhere }, []string{"never quantized", "fp32", "logobeam quantize"}},
		{"more in a batch than any memory holds", func(c *ScoreConfig) { c.Batch, c.Out = 100_000_000, nowhere }, []string{"batches of 100000000", "1024"}},
		{"workers below zero", func(c *ScoreConfig) { c.Workers, c.Out = -1, nowhere }, []string{"worker"}},
		{"another listing", func(c *ScoreConfig) { c.Listing = posts(t, 61) }, []string{"another run", "listing", "60 rows", "61 rows"}},
		{"another model", func(c *ScoreConfig) { c.Model = newModel(t, 2) }, []string{"another run", "model"}},
		{"another limit", func(c *ScoreConfig) { c.Images.Limits.Pixels = 100 }, []string{"another run", "max-pixels"}},
		{"another limit of memory", func(c *ScoreConfig) { c.Images.Limits.Memory = 1e6 }, []string{"another run", "max-memory"}},
		{"files that end too early", func(c *ScoreConfig) { c.Images.Limits.Truncated = true }, []string{"another run", "truncated"}},
		{"other chunks", func(c *ScoreConfig) { c.Options.ChunkRows = 10 }, []string{"another run, of --chunk-rows 0 (now 10)"}},
		{"somebody's folder", func(c *ScoreConfig) { c.Out = other }, []string{other, "choose another"}},
		{"a file", func(c *ScoreConfig) { c.Out = noImage }, []string{noImage}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			cfg := base
			tt.change(&cfg)
			before := files(t, cfg.Out)
			if cfg.Out == "" {
				before = nil
			}
			_, err := Score(context.Background(), cfg)
			if err == nil {
				t.Fatal("nothing was said")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q has more than one line", err)
			}
			if cfg.Out != "" {
				same(t, before, files(t, cfg.Out))
			}
		})
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("an output folder was made for a run that could not begin")
	}
}

// A server that never answers does not keep a run from being interrupted, and its rows end when their time is over.
func TestHangingServer(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/robots.txt":
			http.NotFound(w, r)
			return
		case "/good.png":
			w.Write(picture(1))
			return
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	path := filepath.Join(t.TempDir(), "posts.jsonl")
	text := fmt.Sprintf(`{"post_id":1,"image":"%s/never.png?k=secret"}%[2]s{"post_id":2,"image":"%[1]s/good.png"}%[2]s`, server.URL, "\n")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := ScoreConfig{Listing: path, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"), Workers: 1,
		Images: Images{Fetch: fetch.Config{AllowNet: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}}
	for _, runner := range LocalRunners() {
		cfg.Runner = runner
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		began := time.Now()
		_, err := Score(ctx, cfg)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: error %v; want that of the context", runner, err)
		}
		if took := time.Since(began); took > 2500*time.Millisecond {
			t.Errorf("%s: it ended %v after it was interrupted", runner, took-500*time.Millisecond)
		}
	}
	cfg.Images.Fetch.Timeout = 200 * time.Millisecond
	cfg.Out = filepath.Join(t.TempDir(), "out")
	s := score(t, cfg)
	if s.Scored != 1 || s.Rejected != 1 {
		t.Errorf("summary %+v", s)
	}
	for r, err := range scores.Rejects(context.Background(), cfg.Out) {
		if err != nil || r.PostID != "1" || r.Reason != "timeout" || !r.Retryable || strings.Contains(r.Detail, "secret") {
			t.Errorf("reject %+v, error %v", r, err)
		}
	}
}

// Whoever reads the scores can tell an animation, of which the first frame alone was looked at.
func TestFrames(t *testing.T) {
	list := filepath.Join(t.TempDir(), "posts.csv")
	root, err := filepath.Abs("../testdata/oddities")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, []byte("post_id,image\n1,animated.gif\n2,animated.webp\n3,plain.jpg\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	score(t, ScoreConfig{Listing: list, Out: out, Model: newModel(t, 1), Images: Images{Root: root}})
	got := map[string]int32{}
	for s, err := range scores.Scores(context.Background(), out) {
		if err != nil {
			t.Fatal(err)
		}
		got[s.PostID] = s.Frames
	}
	if diff := cmp.Diff(map[string]int32{"1": 3, "2": 2, "3": 1}, got); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

// BenchmarkRow is what a row costs beside its photograph: reading the listing twice, Beam, and writing its part. Its
// photographs are not there, so nothing is decoded.
func BenchmarkRow(b *testing.B) {
	var text strings.Builder
	text.WriteString("post_id,image\n")
	const n = 100000
	for i := range n {
		fmt.Fprintf(&text, "%d,\n", i+1000000000000)
	}
	path := filepath.Join(b.TempDir(), "posts.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	dir := newModel(b, 1)
	for b.Loop() {
		score(b, ScoreConfig{Listing: path, Model: dir, Out: filepath.Join(b.TempDir(), "out")})
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n*b.N), "µs/row")
}

// A photograph that is not decoded in time is the one kind of reject of that stage that another try may change.
func TestDecodeTimeout(t *testing.T) {
	cfg := ScoreConfig{Listing: posts(t, 40), Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out")}
	cfg.Images.Limits.Time = 1
	s := score(t, cfg)
	if s.Scored > 0 {
		t.Errorf("%d photographs were scored in no time", s.Scored)
	}
	for r, err := range scores.Rejects(context.Background(), cfg.Out) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(r.PostID, "post-") && (r.Reason != "decode-timeout" || !r.Retryable) {
			t.Errorf("%+v: want a timeout that may be tried again", r)
		}
	}
}
