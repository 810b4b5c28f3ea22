package scores

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

var run = Run{Listing: "posts.csv", ListingHash: "aa", Rows: 5, Model: "built-in", ModelHash: "bb", Options: map[string]string{"root": "", "max-bytes": "9"}}

var (
	found = []Score{{"1", "ford", 0.5, 1}, {"2", "no-logo", 0.25, 24}, {"4", "ford", 1, 1}}
	lost  = []Reject{{"3", "c.jpg", "fetch", "timeout", "no answer", true}, {"5", "e.jpg", "decode", "truncated", "it ends early", false}}
)

// writeAll writes a whole run of two chunks.
func writeAll(t *testing.T, dir string) {
	t.Helper()
	o, err := Open(dir, "test", run)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.Finished() {
		t.Fatal("a new folder is finished")
	}
	var done []Done
	for i, chunk := range []string{"0a", "0b"} {
		p, err := NewPart(dir, chunk)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			for _, s := range found {
				if err := p.Score(s); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			for _, r := range lost {
				if err := p.Reject(r); err != nil {
					t.Fatal(err)
				}
			}
		}
		d, err := p.Commit()
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, d, d) // a second report of an attempt counts once
	}
	if _, err := Commit(dir, done[2:]); err == nil || !strings.Contains(err.Error(), "2 rows are scored or rejected and the listing has 5") {
		t.Errorf("a commit without the first chunk: error %v", err)
	}
	if _, err := Verify(dir); err == nil || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("before the commit: error %v", err)
	}
	if _, err := Commit(dir, done); err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	writeAll(t, dir)
	m, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := Manifest{Format: 1, Program: "test", Run: run, Rows: 5, Scored: 3, Rejected: 2,
		Brands: map[string]int64{"ford": 2, "no-logo": 1}, Reasons: map[string]int64{"fetch: timeout": 1, "decode: truncated": 1},
		Chunks: []Done{{Chunk: "0a", Scored: 3, Brands: map[string]int64{"ford": 2, "no-logo": 1}},
			{Chunk: "0b", Rejected: 2, Reasons: map[string]int64{"fetch: timeout": 1, "decode: truncated": 1}}}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	var gotScores []Score
	for s, err := range Scores(dir) {
		if err != nil {
			t.Fatal(err)
		}
		gotScores = append(gotScores, s)
	}
	var gotRejects []Reject
	for r, err := range Rejects(dir) {
		if err != nil {
			t.Fatal(err)
		}
		gotRejects = append(gotRejects, r)
	}
	if diff := cmp.Diff(found, gotScores); diff != "" {
		t.Errorf("scores (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(lost, gotRejects); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
	for _, name := range []string{"scores/part-0a.parquet", "scores/part-0b.parquet", "rejects/part-0a.parquet", "rejects/part-0b.parquet", "manifest.json", "_SUCCESS"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v, error %v; want it readable to all", name, info, err)
		}
	}
	o, err := Open(dir, "another version", run)
	if err != nil || !o.Finished() {
		t.Fatalf("the finished folder: error %v", err)
	}
	if diff := cmp.Diff(want, o.Manifest()); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
	if _, err := Open(dir, "test", run); err == nil || !strings.Contains(err.Error(), "another run is writing") {
		t.Errorf("a folder that is open: error %v", err)
	}
	o.Close()
	if o, err = Open(dir, "test", run); err != nil {
		t.Errorf("a folder that was closed: %v", err)
	} else {
		o.Close()
	}
}

// Verify sees whatever was done to an output.
func TestVerifySees(t *testing.T) {
	for _, tt := range []struct {
		reason string
		harm   func(dir string) error
		want   string
	}{
		{"scores of a chunk are gone", func(dir string) error { return os.Remove(filepath.Join(dir, "scores/part-0a.parquet")) }, "the part of chunk 0a is missing"},
		{"rejects of a chunk are gone", func(dir string) error { return os.Remove(filepath.Join(dir, "rejects/part-0a.parquet")) }, "the part of chunk 0a is missing"},
		{"a part is cut", func(dir string) error { return os.Truncate(filepath.Join(dir, "scores/part-0a.parquet"), 100) }, "part-0a.parquet cannot be read"},
		{"a part is empty", func(dir string) error { return os.Truncate(filepath.Join(dir, "scores/part-0a.parquet"), 0) }, "part-0a.parquet cannot be read"},
		{"a row is gone", func(dir string) error {
			return parquet.WriteFile(filepath.Join(dir, "scores/part-0a.parquet"), found[:2])
		}, "has 2 rows and its chunk 3"},
		{"a brand is another", func(dir string) error {
			return parquet.WriteFile(filepath.Join(dir, "scores/part-0a.parquet"), []Score{found[0], found[0], found[0]})
		}, "holds other rows than the manifest says"},
		{"a column is gone", func(dir string) error {
			return parquet.WriteFile(filepath.Join(dir, "scores/part-0a.parquet"), []struct {
				PostID string `parquet:"post_id"`
			}{{"1"}, {"2"}, {"4"}})
		}, "its columns are [post_id]"},
		{"a part of another run", func(dir string) error {
			return parquet.WriteFile(filepath.Join(dir, "scores/part-0c.parquet"), found)
		}, "part-0c.parquet is no part of this run"},
		{"a half written part", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "scores/.pending-part-0a.parquet-1"), nil, 0o600)
		}, ".pending-part-0a.parquet-1 is no part of this run"},
		{"_SUCCESS is gone", func(dir string) error { return os.Remove(filepath.Join(dir, "_SUCCESS")) }, "not finished"},
		{"the manifest is gone", func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json")) }, "no output of score"},
		{"the manifest is nonsense", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{"), 0o644)
		}, "no manifest of score"},
		{"the manifest of a later version", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"format": 2, "program": "logobeam v9"}`), 0o644)
		}, "use the version that wrote it (logobeam v9)"},
		{"the manifest forgets a chunk", func(dir string) error {
			m, err := ReadManifest(dir)
			if err != nil {
				return err
			}
			m.Chunks = m.Chunks[:1]
			o := Output{dir: dir, manifest: m}
			return o.writeManifest()
		}, "the listing has 5 rows"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			writeAll(t, dir)
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v; want one with %q", err, tt.want)
			}
		})
	}
}

// A part that is given up leaves nothing, and one that is written again has the same bytes.
func TestAttempts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	writeAll(t, dir)
	path := filepath.Join(dir, "scores/part-0a.parquet")
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for attempt := range 2 {
		p, err := NewPart(dir, "0a")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range found {
			if err := p.Score(s); err != nil {
				t.Fatal(err)
			}
		}
		if attempt == 0 {
			p.Abort()
		} else if _, err := p.Commit(); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(first) {
			t.Errorf("attempt %d changed %d bytes into %d", attempt, len(first), len(again))
		}
	}
	if _, err := Verify(dir); err != nil {
		t.Error(err)
	}
}

// A crash after the first thing that a run writes does not lock its folder for good.
func TestOpenAfterCrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o, err := Open(dir, "test", run)
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	for _, sub := range []string{"scores", "rejects"} {
		if err := os.Remove(filepath.Join(dir, sub)); err != nil {
			t.Fatal(err)
		}
	}
	writeAll(t, dir)

	// Nor does a crash while it writes that.
	dir = filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, ".pending-manifest.json-1")
	if err := os.WriteFile(half, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeAll(t, dir)
	if _, err := os.Stat(half); err == nil {
		t.Errorf("%s is still there", half)
	}
	if _, err := Verify(dir); err != nil {
		t.Error(err)
	}
}

func TestDiffers(t *testing.T) {
	for i, tt := range []struct {
		change func(*Run)
		want   string
	}{
		{func(r *Run) {}, ""},
		{func(r *Run) { r.Listing, r.Model = "moved.csv", "copied" }, ""},
		{func(r *Run) { r.ListingHash, r.Rows = "xx", 6 }, "listing posts.csv with 5 rows, hash aa (now posts.csv with 6 rows, hash xx)"},
		{func(r *Run) { r.ModelHash = "yy" }, "model built-in, hash bb (now built-in, hash yy)"},
		{func(r *Run) { r.Options = map[string]string{"root": "", "max-bytes": "8"} }, "--max-bytes 9 (now 8)"},
		{func(r *Run) { r.Options = map[string]string{"root": "", "max-bytes": "9", "new": "1"} }, "other options"},
	} {
		r := run
		tt.change(&r)
		if got := r.differs(run); got != tt.want {
			t.Errorf("%d: %q; want %q", i, got, tt.want)
		}
	}
}

func BenchmarkPart(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "out")
	o, err := Open(dir, "test", run)
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	const n = 16384
	for b.Loop() {
		p, err := NewPart(dir, "0a")
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			if err := p.Score(Score{fmt.Sprint(1000000000000 + i), "ford", float32(i) / n, 1}); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := p.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
}
