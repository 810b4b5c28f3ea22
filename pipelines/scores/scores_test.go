package scores

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/pipelines/store/storetest"
)

var background = context.Background()

var update = flag.Bool("update", false, "write the golden files anew")

var run = Run{Listing: "posts.csv", ListingHash: "aa", Files: []File{{Location: "/a/posts.csv", Root: "/a"}}, Rows: 7, Chunks: 3, Model: "built-in", ModelHash: "bb",
	Options: map[string]string{"root": "", "max-bytes": "9"}, Keep: []string{"author", "aged"}}

// The rows of three chunks.
var (
	found = []Score{{"1", "ford", 0.5, 1}, {"2", "no-logo", 0.25, 24}, {"4", "ford", 1, 1}}
	lost  = []Reject{{"3", "c.jpg", "fetch", "timeout", "no answer", true}, {"5", "e.jpg", "decode", "truncated", "it ends early", false},
		{"6", "f.jpg", "fetch", "http-5xx", "it fails", true}}
	extra = [][]string{{"ann", "7"}, {"", "8"}, {"bob", ""}}
)

// piece is the i-th chunk's.
func piece(i int) Piece {
	return Piece{Chunk: fmt.Sprintf("0%c", 'a'+i), Index: i, Offset: int64(10 * i), End: int64(10 * (i + 1)), Rows: 3}
}

// commitParts commits the three chunks: scores alone, rejects alone, one post that was skipped alone.
func commitParts(dir string) (done []Done, err error) {
	for i := range 3 {
		p := piece(i)
		if i == 2 {
			p.Rows, p.Skipped = 1, 1
		}
		part := NewPart(p, run)
		for k := range 3 {
			switch i {
			case 0:
				part.Score(found[k], extra[k])
			case 1:
				part.Reject(lost[k], extra[k])
			}
		}
		d, err := part.Commit(background, dir)
		if err != nil {
			return nil, err
		}
		done = append(done, d, d) // a second report of an attempt counts once
	}
	return done, nil
}

// all writes a whole run.
func all(dir string) error {
	o, err := Open(background, dir, "test", run)
	if err != nil {
		return err
	}
	defer o.Close()
	if o.Finished() {
		return nil
	}
	done, err := commitParts(dir)
	if err != nil {
		return err
	}
	_, err = Commit(background, dir, done)
	return err
}

func written(t testing.TB) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "out")
	if err := all(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// contents are all files of an output.
func contents(t testing.TB, location string) map[string]string {
	t.Helper()
	s, err := store.At(background, location)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.List(background, ".")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range list {
		data, err := store.ReadFile(background, s, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(data)
	}
	return files
}

func sameFiles(t testing.TB, want, got map[string]string) {
	t.Helper()
	for name := range want {
		if want[name] != got[name] {
			t.Errorf("%s differs: %d bytes; want %d", name, len(got[name]), len(want[name]))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is too much", name)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	dir := written(t)
	m, err := Verify(background, dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.Rows != 7 || m.Scored != 3 || m.Rejected != 3 || m.Retryable != 2 || m.Skipped != 1 || len(m.Chunks) != 3 || !m.Finished {
		t.Errorf("manifest %+v", m)
	}
	if diff := cmp.Diff(map[string]int64{"ford": 2, "no-logo": 1}, m.Brands); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int64{"fetch: timeout": 1, "decode: truncated": 1, "fetch: http-5xx": 1}, m.Reasons); diff != "" {
		t.Error(diff)
	}
	var gotScores []Score
	for s, err := range Scores(background, dir) {
		if err != nil {
			t.Fatal(err)
		}
		gotScores = append(gotScores, s.Score)
	}
	if diff := cmp.Diff(found, gotScores); diff != "" {
		t.Errorf("scores (-want +got):\n%s", diff)
	}
	var gotRejects []Reject
	for r, err := range Rejects(background, dir) {
		if err != nil {
			t.Fatal(err)
		}
		gotRejects = append(gotRejects, r.Reject)
	}
	if diff := cmp.Diff(lost, gotRejects); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
	var ids []string
	for id, err := range PostIDs(background, dir) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if diff := cmp.Diff([]string{"1", "2", "4"}, ids); diff != "" {
		t.Errorf("posts (-want +got):\n%s", diff)
	}
	rows, err := m.Chunks[1].ReadRejects(background, dir)
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rejects to try again, error %v", len(rows), err)
	}
	for i, r := range rows {
		if diff := cmp.Diff(Rejected{lost[i], extra[i]}, r); diff != "" {
			t.Errorf("to try again (-want +got):\n%s", diff)
		}
	}
	f, err := parquet.OpenFile(open(t, filepath.Join(dir, "scores/part-0a.parquet")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"post_id", "brand", "probability", "frames", "author", "aged"}, columns(f.Schema())); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	o, err := Open(background, dir, "another version", run)
	if err != nil || !o.Finished() {
		t.Fatalf("the finished folder: error %v", err)
	}
	if diff := cmp.Diff(m, o.Manifest()); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
	if _, err := Open(background, dir, "test", run); err == nil || !strings.Contains(err.Error(), "another run is writing") {
		t.Errorf("a folder that is open: error %v", err)
	}
	o.Close()
}

func open(t *testing.T, path string) (*os.File, int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, info.Size()
}

// Verify sees whatever was done to an output.
func TestVerifySees(t *testing.T) {
	replace := func(write func(p *Part)) func(dir string) error {
		return func(dir string) error {
			if err := os.Remove(filepath.Join(dir, "scores/part-0a.parquet")); err != nil {
				return err
			}
			p := NewPart(piece(0), run)
			write(p)
			p.done.Rows = p.done.Scored + p.done.Rejected
			_, err := p.Commit(background, dir)
			return err
		}
	}
	manifest := func(change func(m *Manifest)) func(dir string) error {
		return func(dir string) error {
			m, err := ReadManifest(background, dir)
			if err != nil {
				return err
			}
			change(&m)
			s, err := store.At(background, dir)
			if err != nil {
				return err
			}
			return m.write(background, s)
		}
	}
	remove := func(pattern string) func(dir string) error {
		return func(dir string) error {
			names, err := filepath.Glob(filepath.Join(dir, pattern))
			if err == nil && len(names) != 1 {
				err = fmt.Errorf("%d files match %s", len(names), pattern)
			}
			if err != nil {
				return err
			}
			return os.Remove(names[0])
		}
	}
	for _, tt := range []struct {
		reason string
		harm   func(dir string) error
		want   string
	}{
		{"scores of a chunk are gone", remove("scores/part-0a.parquet"), "the part of chunk 0a is missing"},
		{"rejects of a chunk are gone", remove("rejects/part-0a-*"), "no such file"},
		{"a part is cut", func(dir string) error { return os.Truncate(filepath.Join(dir, "scores/part-0a.parquet"), 100) }, "part-0a.parquet cannot be read"},
		{"a part is empty", func(dir string) error { return os.Truncate(filepath.Join(dir, "scores/part-0a.parquet"), 0) }, "part-0a.parquet cannot be read"},
		{"a kept column is gone", func(dir string) error {
			if err := os.Remove(filepath.Join(dir, "scores/part-0a.parquet")); err != nil {
				return err
			}
			p := NewPart(piece(0), Run{Keep: run.Keep[:1]})
			for i, s := range found {
				p.Score(s, extra[i][:1])
			}
			_, err := p.Commit(background, dir)
			return err
		}, `has kept the columns ["author"]; the run keeps ["author" "aged"]`},
		{"a post is another", replace(func(p *Part) {
			p.Score(Score{"0", "ford", 0.5, 1}, extra[0])
			p.Score(found[1], extra[1])
			p.Score(found[2], extra[2])
		}), "holds other rows than the manifest says"},
		{"a byte of the rejects is another", func(dir string) error {
			names, err := filepath.Glob(filepath.Join(dir, "rejects/part-0b-*"))
			if err != nil {
				return err
			}
			data, err := os.ReadFile(names[0])
			if err != nil {
				return err
			}
			data[40] ^= 1
			return os.WriteFile(names[0], data, 0o644)
		}, "holds other bytes than were written"},
		{"a row is gone", replace(func(p *Part) { p.Score(found[0], extra[0]); p.Score(found[1], extra[1]) }), "holds other rows than the manifest says"},
		{"a brand is another", replace(func(p *Part) {
			for range 3 {
				p.Score(found[0], extra[0])
			}
		}), "holds other rows than the manifest says"},
		{"rows that the footer does not tell of", func(dir string) error {
			return parquet.WriteFile(filepath.Join(dir, "scores/part-0a.parquet"), found)
		}, "its footer does not say what it is of"},
		{"a column is gone", func(dir string) error {
			return parquet.WriteFile(filepath.Join(dir, "scores/part-0a.parquet"), []struct {
				PostID string `parquet:"post_id"`
			}{{"1"}, {"2"}, {"4"}})
		}, "its columns are [post_id]"},
		{"a part of another run", func(dir string) error {
			return parquet.WriteFile(filepath.Join(dir, "scores/part-0d.parquet"), found)
		}, "part-0d.parquet is no part of this run"},
		{"rejects of another attempt", func(dir string) error {
			return parquet.WriteFile(filepath.Join(dir, "rejects/part-0a-0000000000000000.parquet"), lost)
		}, "part-0a-0000000000000000.parquet is no part of this run"},
		{"_SUCCESS is gone", remove("_SUCCESS"), "not finished"},
		{"the manifest is gone", remove("manifest.json"), "no output of score"},
		{"the manifest is nonsense", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{"), 0o644)
		}, "no manifest of score"},
		{"the manifest of a later version", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(`{"format": 9, "program": "logobeam v9"}`), 0o644)
		}, "use the version that wrote it (logobeam v9)"},
		{"the manifest forgets the last chunk", manifest(func(m *Manifest) { m.Chunks = m.Chunks[:2] }), "part-0c.parquet is no part of this run"},
		{"the manifest forgets the first chunk", manifest(func(m *Manifest) { m.Chunks = m.Chunks[1:] }), "chunk 0 of the listing is missing"},
		{"a gap between two chunks", manifest(func(m *Manifest) { m.Chunks[1].Offset++ }), "ends at 10 and the next one begins at 11"},
		{"a count of the manifest's", manifest(func(m *Manifest) { m.Scored++ }), "the manifest tells of"},
		{"a retry that has not ended", manifest(func(m *Manifest) { m.Retrying = 1 }), "run logobeam retry"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			dir := written(t)
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(background, dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v; want one with %q", err, tt.want)
			}
		})
	}
}

// Everything that is wrong with a manifest is told at once.
func TestCheckAll(t *testing.T) {
	dir := written(t)
	good, err := ReadManifest(background, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason string
		harm   func(m *Manifest)
		want   []string // faults, in their order
	}{
		{"nothing", func(m *Manifest) {}, nil},
		{"a chunk is gone, its rows too", func(m *Manifest) { m.Chunks, m.Rows = append(m.Chunks[:1:1], m.Chunks[2]), 4 },
			[]string{"chunk 1 of the listing is missing", "4 rows are scored, rejected or skipped and the listing has 7"}},
		{"two cuts are elsewhere", func(m *Manifest) { m.Chunks[1].Offset, m.Chunks[1].End = 12, 19 },
			[]string{"chunk 0 of the listing ends at 10 and the next one begins at 12", "chunk 1 of the listing ends at 19 and the next one begins at 20"}},
		{"a chunk ends before it begins", func(m *Manifest) { m.Chunks[2].End = 1 }, []string{"chunk 2 of the listing, from 20 to 1 of file 0, is not where"}},
		{"a file comes again", func(m *Manifest) { m.Chunks[0].File = 1 }, []string{"chunk 1 of the listing, from 10 to 20 of file 0, is not where"}},
		{"counts that only their sum is right of", func(m *Manifest) { m.Chunks[0].Scored, m.Chunks[0].Rejected = 4, -1 }, []string{"part 0a is of 3 rows and holds 4 scores, -1 rejects"}},
		{"more than anybody reads", func(m *Manifest) {
			for i := range 50 {
				m.Chunks = append(m.Chunks, Done{Piece: Piece{Chunk: "x", Index: 3 + i, Offset: int64(-i), Rows: 1}})
			}
		}, slices.Repeat([]string{""}, mostFindings)},
	} {
		m := good
		m.Chunks = slices.Clone(good.Chunks)
		tt.harm(&m)
		var faults []string
		if err := m.check("out"); err != nil {
			faults = strings.Split(err.Error(), "\n")
		}
		if len(faults) != len(tt.want) {
			t.Errorf("%s: %d faults %q; want %d", tt.reason, len(faults), faults, len(tt.want))
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(faults[i], want) {
				t.Errorf("%s: %q; want %q", tt.reason, faults[i], want)
			}
		}
	}
}

// A commit without a chunk says so, and one that is repeated changes nothing.
func TestCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o, err := Open(background, dir, "test", run)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	done, err := commitParts(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Commit(background, dir, done[2:]); err == nil || !strings.Contains(err.Error(), "chunk 0 of the listing is missing") {
		t.Errorf("a commit without the first chunk: error %v", err)
	}
	if _, err := Commit(background, dir, done[:4]); err == nil || !strings.Contains(err.Error(), "2 chunks are done and the listing has 3") {
		t.Errorf("a commit without the last chunk: error %v", err)
	}
	if _, err := Verify(background, dir); err == nil || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("before the commit: error %v", err)
	}
	var before map[string]string
	for i := range 2 {
		if _, err := Commit(background, dir, done); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			sameFiles(t, before, contents(t, dir))
		}
		before = contents(t, dir)
	}
	part := NewPart(piece(3), Run{})
	part.Score(found[0], nil)
	if _, err := part.Commit(background, dir); err == nil || !strings.Contains(err.Error(), "chunk 0d has 3 rows: 1 scored, 0 rejected and 0 skipped are not as many") {
		t.Errorf("a part that lacks rows: error %v", err)
	}
}

// What is in progress is noted, and in nobody's way.
func TestPartial(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o, err := Open(background, dir, "test", run)
	if err != nil {
		t.Fatal(err)
	}
	done, err := commitParts(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Partial(background, done[:2]); err != nil {
		t.Fatal(err)
	}
	o.Close()
	if m, finished, err := Finished(background, dir); err != nil || finished || m.Finished || m.Scored != 3 || m.Rows != 3 {
		t.Errorf("%+v, finished %v, error %v", m, finished, err)
	}
	if err := all(dir); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, contents(t, written(t)), contents(t, dir))
}

// attempt is one of two at the second chunk, which have met different failures.
func attempt(dir string, n int) (Done, error) {
	part := NewPart(piece(1), run)
	for k := range 3 {
		if n == 0 && k == 0 || n == 1 && k > 0 {
			part.Reject(lost[k], extra[k])
		} else {
			part.Score(found[k], extra[k])
		}
	}
	return part.Commit(background, dir)
}

// Of two attempts at a chunk one counts, whole, whichever step the other one is interrupted at.
func TestAttempts(t *testing.T) {
	for stop := 0; ; stop++ { // the first attempt dies before this operation
		dir := filepath.Join(t.TempDir(), "out")
		o, err := Open(background, dir, "test", run)
		if err != nil {
			t.Fatal(err)
		}
		f := &faults{left: stop}
		restore := f.install()
		_, died := attempt(dir, 0)
		restore()
		second, err := attempt(dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		rejected := second.Rejected // the first attempt's 1, if its scores were there, or the second's 2
		if rejected != 1 && (rejected != 2 || died == nil) || second.Scored+rejected != 3 {
			t.Errorf("stopped at %d: %d scores and %d rejects count", stop, second.Scored, rejected)
		}
		done, err := commitParts(dir) // the other chunks
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Commit(background, dir, done); err != nil {
			t.Fatal(err)
		}
		o.Close()
		if m, err := Verify(background, dir); err != nil || m.Rejected != rejected {
			t.Errorf("stopped at %d: %+v, error %v", stop, m, err)
		}
		if died == nil {
			if stop < 4 {
				t.Errorf("an attempt takes %d operations: the test stops none", stop)
			}
			return
		}
	}
}

// faults stops for good at an operation of a store, as a crash would, some of them when half of the work is done.
type faults struct{ left int }

var errCrash = errors.New("the machine has lost its power")

// install puts the faults before every store until restore is called.
func (f *faults) install() (restore func()) {
	at = func(ctx context.Context, location string) (store.Store, error) {
		s, err := store.At(ctx, location)
		return faulty{s, f}, err
	}
	return func() { at = store.At }
}

func (f *faults) step() error {
	if f.left <= 0 {
		return errCrash
	}
	f.left--
	return nil
}

type faulty struct {
	store.Store
	faults *faults
}

func (s faulty) Create(ctx context.Context, name string) (store.Writer, error) {
	if err := s.faults.step(); err != nil {
		return nil, err
	}
	w, err := s.Store.Create(ctx, name)
	return faultyWriter{w, s.faults}, err
}

type faultyWriter struct {
	store.Writer
	faults *faults
}

func (w faultyWriter) Write(data []byte) (int, error) {
	if w.faults.step() != nil {
		n, _ := w.Writer.Write(data[:len(data)/2])
		return n, errCrash
	}
	return w.Writer.Write(data)
}

func (w faultyWriter) Commit() error {
	if err := w.faults.step(); err != nil {
		return err
	}
	err := w.Writer.Commit()
	return errors.Join(err, w.faults.step()) // done, and nobody has heard of it
}

func (w faultyWriter) Abort() {
	if w.faults.left > 0 { // the dead tidy nothing up
		w.Writer.Abort()
	}
}

func (s faulty) Open(ctx context.Context, name string) (store.File, error) {
	if err := s.faults.step(); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx, name)
}

func (s faulty) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := s.faults.step(); err != nil {
		return store.Info{}, err
	}
	return s.Store.Stat(ctx, name)
}

func (s faulty) List(ctx context.Context, folder string) ([]store.Info, error) {
	if err := s.faults.step(); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, folder)
}

func (s faulty) Put(ctx context.Context, name string, data []byte) error {
	if err := s.faults.step(); err != nil {
		return err
	}
	return errors.Join(s.Store.Put(ctx, name, data), s.faults.step())
}

func (s faulty) Remove(ctx context.Context, name string) error {
	if err := s.faults.step(); err != nil {
		return err
	}
	return s.Store.Remove(ctx, name)
}

func (s faulty) Sweep(ctx context.Context) error {
	if err := s.faults.step(); err != nil {
		return err
	}
	return s.Store.Sweep(ctx)
}

// retryAll is a round of retry in which the first reject of each part succeeds.
func retryAll(dir string) error {
	r, err := BeginRetry(background, dir)
	if errors.Is(err, ErrNothingToRetry) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	var done []Done
	for _, d := range r.Chunks() {
		next := d.Next(r.Round())
		there, ok, err := ReadPart(background, dir, next.Chunk)
		if err != nil {
			return err
		}
		if !ok {
			rows, err := d.ReadRejects(background, dir)
			if err != nil {
				return err
			}
			part, moved := NewPart(next, run), false
			for _, row := range rows {
				if row.Retryable && !moved {
					part.Score(Score{row.PostID, "bmw", 0.75, 1}, row.Kept)
					moved = true
				} else {
					part.Reject(row.Reject, row.Kept)
				}
			}
			if there, err = part.Commit(background, dir); err != nil {
				return err
			}
		}
		done = append(done, there)
	}
	_, err = CommitRetry(background, dir, done)
	return err
}

func TestRetry(t *testing.T) {
	dir := written(t)
	for round, want := range []struct{ scored, rejected, retryable int64 }{{4, 2, 1}, {5, 1, 0}, {5, 1, 0}} {
		if err := retryAll(dir); err != nil {
			t.Fatal(err)
		}
		m, err := Verify(background, dir)
		if err != nil {
			t.Fatal(err)
		}
		if m.Rows != 7 || m.Scored != want.scored || m.Rejected != want.rejected || m.Retryable != want.retryable {
			t.Errorf("after round %d: %+v", round+1, m)
		}
		posts := map[string]int{}
		for s := range Scores(background, dir) {
			posts[s.PostID]++
		}
		for r := range Rejects(background, dir) {
			posts[r.PostID]++
		}
		if len(posts) != 6 {
			t.Errorf("after round %d there are %d posts; want 6", round+1, len(posts))
		}
		for post, n := range posts {
			if n != 1 {
				t.Errorf("after round %d post %s is there %d times", round+1, post, n)
			}
		}
	}
	if r, err := BeginRetry(background, dir); !errors.Is(err, ErrNothingToRetry) {
		t.Errorf("%v, error %v; want %v", r, err, ErrNothingToRetry)
	}
	o, err := Open(background, dir, "test", run)
	if err != nil || !o.Finished() {
		t.Fatalf("score on what was retried: error %v", err)
	}
	o.Close()
	// What was retried is kept, if score has to finish again.
	if err := os.Remove(filepath.Join(dir, "_SUCCESS")); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	if err := all(dir); err != nil {
		t.Fatal(err)
	}
	before["_SUCCESS"] = ""
	sameFiles(t, before, contents(t, dir))
	// So it is, if that takes two runs of score.
	if err := os.Remove(filepath.Join(dir, "_SUCCESS")); err != nil {
		t.Fatal(err)
	}
	if o, err = Open(background, dir, "test", run); err != nil {
		t.Fatal(err)
	}
	if err := o.Partial(background, o.Manifest().Chunks[:1]); err != nil {
		t.Fatal(err)
	}
	if m, err := ReadManifest(background, dir); err != nil || m.Finished {
		t.Errorf("a run that is to go on: finished %v, error %v", m.Finished, err)
	}
	o.Close()
	if err := all(dir); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, before, contents(t, dir))
	if _, err := Verify(background, dir); err != nil {
		t.Error(err)
	}
}

// Whichever operation is the last, whoever goes on ends where nobody was interrupted.
func TestCrashes(t *testing.T) {
	whole := written(t)
	once := written(t)
	if err := retryAll(once); err != nil {
		t.Fatal(err)
	}
	storetest.Bucket(t, nil)
	for _, tt := range []struct {
		name string
		out  string // empty for a folder
		step int    // operations from one stop to the next: those on a bucket take their time
		from bool   // begin with a whole output
		do   func(dir string) error
		want map[string]string
	}{
		{"score", "", 1, false, all, contents(t, whole)},
		{"retry", "", 1, true, retryAll, contents(t, once)},
		{"score in a bucket", "gs://bucket/score", 4, false, all, contents(t, whole)},
		{"retry in a bucket", "gs://bucket/retry", 4, true, retryAll, contents(t, once)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for stop := 0; ; stop += tt.step {
				dir := fmt.Sprint(tt.out, stop)
				if tt.out == "" {
					dir = filepath.Join(t.TempDir(), "out")
				}
				if tt.from {
					if err := all(dir); err != nil {
						t.Fatal(err)
					}
				}
				f := &faults{left: stop}
				restore := f.install()
				died := tt.do(dir)
				restore()
				if died != nil && !errors.Is(died, errCrash) {
					t.Fatalf("stopped at %d: error %v", stop, died)
				}
				if m, err := ReadManifest(background, dir); err == nil && m.Retrying == 0 {
					// Either nothing has begun, or everything is done but the report.
					if _, finished, _ := Finished(background, dir); finished {
						if _, err := Verify(background, dir); err != nil {
							t.Errorf("stopped at %d: it passes for finished: %v", stop, err)
						}
					}
				}
				if !tt.from || !sameNames(tt.want, contents(t, dir)) {
					if err := tt.do(dir); err != nil {
						t.Fatalf("stopped at %d, and again: %v", stop, err)
					}
				}
				sameFiles(t, tt.want, contents(t, dir))
				if _, err := Verify(background, dir); err != nil {
					t.Errorf("stopped at %d: %v", stop, err)
				}
				if died == nil {
					if stop < 10 {
						t.Errorf("all is done in %d operations: the test stops none", stop)
					}
					return
				}
			}
		})
	}
}

func sameNames(a, b map[string]string) bool {
	return slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))) && a["manifest.json"] == b["manifest.json"]
}

// unread is a store whose files fail while they are read.
type unread struct{ store.Store }

type unreadFile struct{ store.File }

var errNetwork = errors.New("the network is down")

func (s unread) Open(ctx context.Context, name string) (store.File, error) {
	f, err := s.Store.Open(ctx, name)
	if strings.HasSuffix(name, ".parquet") {
		f = unreadFile{f}
	}
	return f, err
}

func (unreadFile) ReadAt([]byte, int64) (int, error) { return 0, errNetwork }

// Nobody is told to remove a part because a network has failed, or a run was called off.
func TestUnread(t *testing.T) {
	dir := written(t)
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	var called error
	for range Scores(ctx, dir) {
		cancel()
		_, called = Verify(ctx, dir)
	}
	at = func(ctx context.Context, location string) (store.Store, error) {
		s, err := store.At(ctx, location)
		return unread{s}, err
	}
	defer func() { at = store.At }()
	_, _, down := ReadPart(background, dir, "0a")
	_, verified := Verify(background, dir)
	for _, tt := range []struct{ got, want error }{{called, context.Canceled}, {down, errNetwork}, {verified, errNetwork}} {
		if !errors.Is(tt.got, tt.want) || strings.Contains(tt.got.Error(), "remove") {
			t.Errorf("error %v; want %v, and no advice to remove anything", tt.got, tt.want)
		}
	}
}

// What readers know of a part without reading its rows.
func TestFooter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	const n = 20000
	p := NewPart(Piece{Chunk: "0a", Rows: 2 * n}, run)
	for i := range n {
		p.Score(Score{fmt.Sprint(1000000 + i), "ford", 0.5, 1}, extra[i%3])
		p.Reject(Reject{fmt.Sprint(2000000 + i), "a.jpg", "fetch", "timeout", "no answer", true}, extra[i%3])
	}
	d, err := p.Commit(background, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file    string
		columns string
		dict    string // a column
		first   int    // post_id
		keys    []string
	}{
		{scoresFile("0a"), "post_id, brand, probability, frames, author, aged", "brand", 1000000, []string{modelKey, optionsKey, partKey}},
		{d.rejectsFile(), "post_id, image, stage, reason, detail, retryable, author, aged", "reason", 2000000, []string{modelKey, optionsKey}},
	} {
		f, err := parquet.OpenFile(open(t, filepath.Join(dir, tt.file)))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(columns(f.Schema()), ", "); got != tt.columns {
			t.Errorf("%s: columns %s; want %s", tt.file, got, tt.columns)
		}
		for _, field := range f.Schema().Fields() {
			if l := field.Type().LogicalType(); field.Type().Kind() == parquet.ByteArray && (l == nil || l.String() != "STRING") {
				t.Errorf("%s: %s is bytes; want UTF-8", tt.file, field.Name())
			}
			if field.Name() == tt.dict && field.Encoding().Encoding() != format.RLEDictionary {
				t.Errorf("%s: %s has no dictionary", tt.file, field.Name())
			}
		}
		var keys []string
		for _, kv := range f.Metadata().KeyValueMetadata {
			keys = append(keys, kv.Key)
		}
		slices.Sort(keys)
		model, _ := f.Lookup(modelKey)
		options, _ := f.Lookup(optionsKey)
		if !slices.Equal(keys, tt.keys) || model != run.ModelHash || options != `{"max-bytes":"9","root":""}` {
			t.Errorf("%s: metadata %q, model %q, options %s", tt.file, keys, model, options)
		}
		groups := f.RowGroups()
		if len(groups) != 1 {
			t.Fatalf("%s: %d row groups", tt.file, len(groups))
		}
		if s := groups[0].SortingColumns(); len(s) != 1 || s[0].Descending() || !slices.Equal(s[0].Path(), []string{"post_id"}) {
			t.Errorf("%s: sorted by %v", tt.file, s)
		}
		posts := groups[0].ColumnChunks()[0]
		index, err := posts.ColumnIndex()
		if err != nil {
			t.Fatal(err)
		}
		last := index.NumPages() - 1
		if first := fmt.Sprint(tt.first); last < 2 || !index.IsAscending() || string(index.MinValue(0).ByteArray()) != first || string(index.MaxValue(last).ByteArray()) != fmt.Sprint(tt.first+n-1) {
			t.Errorf("%s: %d pages, ascending %v, from %v to %v; want several from %s", tt.file, last+1, index.IsAscending(), index.MinValue(0), index.MaxValue(last), first)
		}
		found := 0
		for i := 0; i < 2*n; i += 10 {
			there, err := posts.BloomFilter().Check(parquet.ByteArrayValue([]byte(fmt.Sprint(tt.first + i))))
			if err != nil || !there && i < n {
				t.Fatalf("%s: the filter has no post %d, error %v", tt.file, tt.first+i, err)
			}
			if there {
				found++
			}
		}
		if found > n/10+n/500 {
			t.Errorf("%s: of %d posts that are not there, the filter holds %d", tt.file, n/10, found-n/10)
		}
	}
}

// Readers rely on the order that a footer tells of, so a part that is not in it is none.
func TestUnsorted(t *testing.T) {
	for _, tt := range []struct {
		reason string
		write  func(p *Part)
		want   string // empty for no error
	}{
		{"the same post again", func(p *Part) { p.Score(Score{PostID: "1"}, nil); p.Score(Score{PostID: "1"}, nil) }, ""},
		{"a reject before a score", func(p *Part) { p.Score(Score{PostID: "2"}, nil); p.Reject(Reject{PostID: "1"}, nil) }, ""},
		{"numbers are text", func(p *Part) { p.Score(Score{PostID: "9"}, nil); p.Score(Score{PostID: "10"}, nil) }, `post "10" comes after "9"`},
		{"rejects", func(p *Part) { p.Reject(Reject{PostID: "b"}, nil); p.Reject(Reject{PostID: "a"}, nil) }, `post "a" comes after "b"`},
		{"scores", func(p *Part) { p.Score(Score{PostID: "a"}, nil); p.Score(Score{}, nil) }, `post "" comes after "a"`},
	} {
		p := NewPart(Piece{Chunk: "0a", Rows: 2}, Run{})
		tt.write(p)
		_, err := p.Commit(background, filepath.Join(t.TempDir(), "out"))
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v; want %q", tt.reason, err, tt.want)
		}
	}
}

// Columns to keep may have any names, and stay in their order. Programs that know nothing of this one read the golden
// files: their bytes may change with the Parquet library, and what is in them with manifestFormat alone.
func TestGolden(t *testing.T) {
	keep := []string{"zeta", "a,b", `quo"te`, "dotted.name", "ünï"}
	values := [][]string{{"ann", "7", "", "x", "ü"}, {"", "8", "q", "", "日本"}, {"bob", "", "", "", ""}}
	dir := filepath.Join(t.TempDir(), "out")
	golden := attemptRun
	golden.Keep, golden.Rows = keep, 6
	o, err := Open(background, dir, "test", golden)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	p := piece(0)
	p.Rows = 6
	part := NewPart(p, golden)
	for i := range 3 {
		part.Score(found[i], values[i])
		part.Reject(lost[i], values[i])
	}
	d, err := part.Commit(background, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Commit(background, dir, []Done{d}); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(background, dir); err != nil {
		t.Error(err)
	}
	rows, err := d.ReadRejects(background, dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if diff := cmp.Diff(Rejected{lost[i], values[i]}, r); diff != "" {
			t.Errorf("row %d (-want +got):\n%s", i, diff)
		}
	}
	if *update {
		if err := errors.Join(os.RemoveAll("testdata/golden"), os.CopyFS("testdata/golden", os.DirFS(dir))); err != nil {
			t.Fatal(err)
		}
	}
	sameFiles(t, contents(t, "testdata/golden"), contents(t, dir))
}

// A bucket holds what a folder holds.
func TestBucket(t *testing.T) {
	storetest.Bucket(t, nil)
	const out = "gs://bucket/out"
	if err := all(out); err != nil {
		t.Fatal(err)
	}
	dir := written(t)
	for range 2 {
		sameFiles(t, contents(t, dir), contents(t, out))
		if _, err := Verify(background, out); err != nil {
			t.Error(err)
		}
		if err := errors.Join(retryAll(dir), retryAll(out)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(background, "gs://bucket", "test", run); err == nil || !strings.Contains(err.Error(), "is not empty and holds no output of score") {
		t.Errorf("a bucket with other things in it: error %v", err)
	}
}

// A crash while a run writes its first file does not lock its folder for good.
func TestOpenAfterCrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	half, err := os.CreateTemp(dir, ".pending-")
	if err != nil {
		t.Fatal(err)
	}
	half.Close()
	if err := all(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: error %v", half.Name(), err)
	}
	if _, err := Verify(background, dir); err != nil {
		t.Error(err)
	}
}

func TestDiffers(t *testing.T) {
	for i, tt := range []struct {
		change func(*Run)
		want   string
	}{
		{func(r *Run) {}, ""},
		{func(r *Run) { r.Listing, r.Model, r.Files = "moved.csv", "copied", nil }, ""},
		{func(r *Run) { r.ListingHash, r.Rows = "xx", 6 }, "listing posts.csv with 7 rows, hash aa (now posts.csv with 6 rows, hash xx)"},
		{func(r *Run) { r.ListingHash, r.Rows = "xx", 0 }, "listing posts.csv with 7 rows, hash aa (now posts.csv, hash xx)"},
		{func(r *Run) { r.ModelHash = "yy" }, "model built-in, hash bb (now built-in, hash yy)"},
		{func(r *Run) { r.Options = map[string]string{"root": "", "max-bytes": "8"} }, "--max-bytes 9 (now 8)"},
		{func(r *Run) { r.Options = map[string]string{"root": "", "max-bytes": "9", "new": "1"} }, "--new not known (now 1)"},
		{func(r *Run) { r.Options = map[string]string{"root": ""} }, "--max-bytes 9 (now not known)"},
		{func(r *Run) { r.Options = nil }, "--max-bytes 9 (now not known), --root  (now not known)"},
		{func(r *Run) { r.Keep = nil }, `--keep ["author" "aged"] (now [])`},
		{func(r *Run) { r.Keep = []string{"author,aged"} }, `--keep ["author" "aged"] (now ["author,aged"])`},
		{func(r *Run) { r.After = []string{"last"} }, `--after [] (now ["last"])`},
	} {
		r := run
		tt.change(&r)
		if got := r.differs(run); got != tt.want {
			t.Errorf("%d: %q; want %q", i, got, tt.want)
		}
	}
}

func BenchmarkPart(b *testing.B) {
	for _, keep := range [][]string{nil, {"author", "time"}} {
		b.Run(fmt.Sprint(len(keep)), func(b *testing.B) {
			const n = 16384
			values := []string{"somebody", "2026-11-26T00:00:00Z"}[:len(keep)]
			for i := range b.N {
				p := NewPart(Piece{Chunk: fmt.Sprint(i), Rows: n}, Run{Keep: keep})
				for i := range n {
					p.Score(Score{fmt.Sprint(1000000000000 + i), "ford", float32(i) / n, 1}, values)
				}
				if _, err := p.Commit(background, b.TempDir()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/row")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	const n = 1 << 16
	dir := b.TempDir()
	p := NewPart(Piece{Chunk: "0a", Rows: n}, Run{})
	for i := range n {
		p.Score(Score{fmt.Sprint(1000000000000 + i), "ford", float32(i) / n, 1}, nil)
	}
	if _, err := p.Commit(background, dir); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, err := range rowsOf[Score](background, dir, scoresFile("0a")) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/row")
}
