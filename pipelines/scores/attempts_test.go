package scores

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/pipelines/store/storetest"
)

// attemptRun is a run whose only chunk several attempts are made at.
var attemptRun = Run{Listing: "posts.csv", ListingHash: "aa", Rows: 3, Chunks: 1, Keep: run.Keep}

// outcome is what an attempt finds out about the chunk's rows: the first n are scored, the network fails the others.
func outcome(n int) (scored []Score, rejected []Reject) {
	for k := range 3 {
		if k < n {
			scored = append(scored, found[k])
		} else {
			rejected = append(rejected, lost[k])
		}
	}
	return scored, rejected
}

func attemptOf(ctx context.Context, location string, n int) (Done, error) {
	part := NewPart(piece(0), attemptRun)
	scored, rejected := outcome(n)
	for i, s := range scored {
		part.Score(s, extra[i])
	}
	for i, r := range rejected {
		part.Reject(r, extra[i])
	}
	return part.Commit(ctx, location)
}

// checkAttempts wants an output that holds one attempt's rows and no other's, which all attempts have reported.
func checkAttempts(t *testing.T, location string, reports []Done) {
	t.Helper()
	for _, d := range reports[1:] {
		if diff := cmp.Diff(reports[0], d, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("two attempts tell of different parts:\n%s", diff)
		}
	}
	var files []string
	for name := range contents(t, location) {
		files = append(files, name)
	}
	slices.Sort(files)
	if want := []string{manifestFile, reports[0].rejectsFile(), scoresFile("0a")}; !slices.Equal(files, want) {
		t.Errorf("files %q; want %q", files, want)
	}
	m, err := Commit(background, location, reports)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(background, location); err != nil {
		t.Error(err)
	}
	scored, rejected := outcome(int(m.Scored))
	var gotScored []Score
	for s, err := range Scores(background, location) {
		if err != nil {
			t.Fatal(err)
		}
		gotScored = append(gotScored, s.Score)
	}
	var gotRejected []Reject
	for r, err := range Rejects(background, location) {
		if err != nil {
			t.Fatal(err)
		}
		gotRejected = append(gotRejected, r.Reject)
	}
	if diff := cmp.Diff(scored, gotScored) + cmp.Diff(rejected, gotRejected); diff != "" {
		t.Errorf("rows of %d scores (-want +got):\n%s", m.Scored, diff)
	}
}

// steps lets an attempt go on only when it is told to: before it opens a file, gives one its name, or removes one.
type steps struct{ reached, proceed chan struct{} }

func (s steps) step() {
	s.reached <- struct{}{}
	<-s.proceed
}

type stepsKey struct{}

// stepping is the store of a context with steps.
type stepping struct {
	store.Store
	steps steps
}

func (s stepping) Open(ctx context.Context, name string) (store.File, error) {
	s.steps.step()
	return s.Store.Open(ctx, name)
}

func (s stepping) Remove(ctx context.Context, name string) error {
	s.steps.step()
	return s.Store.Remove(ctx, name)
}

func (s stepping) Create(ctx context.Context, name string) (store.Writer, error) {
	w, err := s.Store.Create(ctx, name)
	return steppingWriter{w, s.steps}, err
}

type steppingWriter struct {
	store.Writer
	steps steps
}

func (w steppingWriter) Commit() error {
	w.steps.step()
	return w.Writer.Commit()
}

// interleaved makes two attempts, whose steps come in the order that choices say: at each step at which both could go on,
// the number of the one that does, and 0 when there are no more choices. It returns the choices that were made.
func interleaved(t *testing.T, location string, choices []int) (made []int, reports []Done) {
	var attempts [2]struct {
		steps
		ended   chan struct{}
		over    bool
		waiting bool
		done    Done
		err     error
	}
	for i := range attempts {
		a := &attempts[i]
		a.steps, a.ended = steps{make(chan struct{}), make(chan struct{})}, make(chan struct{})
		go func() {
			defer close(a.ended)
			a.done, a.err = attemptOf(context.WithValue(background, stepsKey{}, a.steps), location, i+1)
		}()
	}
	for {
		var ready []int
		for i := range attempts {
			a := &attempts[i]
			if !a.over && !a.waiting {
				select {
				case <-a.reached:
					a.waiting = true
				case <-a.ended:
					a.over = true
				}
			}
			if a.waiting {
				ready = append(ready, i)
			}
		}
		if len(ready) == 0 {
			break
		}
		next := ready[0]
		if len(ready) == 2 {
			if len(made) < len(choices) {
				next = choices[len(made)]
			}
			made = append(made, next)
		}
		attempts[next].waiting = false
		attempts[next].proceed <- struct{}{}
	}
	for i := range attempts {
		if err := attempts[i].err; err != nil {
			t.Errorf("attempt %d: %v", i, err)
		}
		reports = append(reports, attempts[i].done)
	}
	return made, reports
}

// However the steps of two attempts at a chunk that have met different failures fall between each other, one of them counts,
// whole, and the other leaves nothing.
func TestInterleavedAttempts(t *testing.T) {
	at = func(ctx context.Context, location string) (store.Store, error) {
		s, err := store.At(ctx, location)
		if steps, ok := ctx.Value(stepsKey{}).(steps); ok && err == nil {
			s = stepping{s, steps}
		}
		return s, err
	}
	defer func() { at = store.At }()
	var choices []int
	won := map[int64]int{}
	orders := 0
	for more := true; more; orders++ {
		dir := filepath.Join(t.TempDir(), "out")
		o, err := Open(background, dir, "test", attemptRun)
		if err != nil {
			t.Fatal(err)
		}
		made, reports := interleaved(t, dir, choices)
		checkAttempts(t, dir, reports)
		o.Close()
		if t.Failed() {
			t.Fatalf("in the order %v", made)
		}
		won[reports[0].Scored]++
		// The next order differs from this one as late as it can.
		last := len(made) - 1
		for last >= 0 && made[last] == 1 {
			last--
		}
		if more = last >= 0; more {
			choices = append(made[:last:last], 1)
		}
	}
	if orders < 20 || won[1] == 0 || won[2] == 0 {
		t.Errorf("%d orders, won by %v: the test interleaves nothing", orders, won)
	}
}

// So it is with many attempts that nobody puts in an order, on disks and in buckets.
func TestRacingAttempts(t *testing.T) {
	storetest.Bucket(t, nil)
	for round := range 10 {
		for _, location := range []string{filepath.Join(t.TempDir(), "out"), fmt.Sprintf("gs://bucket/%d", round)} {
			o, err := Open(background, location, "test", attemptRun)
			if err != nil {
				t.Fatal(err)
			}
			reports := make([]Done, 8)
			errs := make([]error, len(reports))
			var attempts sync.WaitGroup
			for i := range reports {
				attempts.Go(func() { reports[i], errs[i] = attemptOf(background, location, i%4) })
			}
			attempts.Wait()
			o.Close()
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
			checkAttempts(t, location, reports)
		}
	}
}

// An attempt that comes when the run, or a retry of it, was committed long ago changes nothing.
func TestLateAttempts(t *testing.T) {
	dir := written(t)
	for _, when := range []string{"after score", "after retry"} {
		before := contents(t, dir)
		if d, err := attempt(dir, 0); err != nil || d.Rejected != 3 {
			t.Errorf("%s: %+v, error %v; want the part that is there", when, d, err)
		}
		sameFiles(t, before, contents(t, dir))
		if err := retryAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// intruded is a store in which somebody else does something just before a file is written.
type intruded struct {
	store.Store
	intrude func()
}

func (s intruded) Create(ctx context.Context, name string) (store.Writer, error) {
	s.intrude()
	return s.Store.Create(ctx, name)
}

func (s intruded) Put(ctx context.Context, name string, data []byte) error {
	s.intrude()
	return s.Store.Put(ctx, name, data)
}

// Of two runs that begin in one place of a bucket at a time, which cannot be locked, the second one is told of the first,
// unless they are the same.
func TestTwoRuns(t *testing.T) {
	storetest.Bucket(t, nil)
	defer func() { at = store.At }()
	other := run
	other.ModelHash = "yy"
	for _, tt := range []struct {
		location string
		first    Run
		want     string
	}{
		{"gs://bucket/other", other, "holds the output of another run, of model built-in, hash yy (now built-in, hash bb)"},
		{"gs://bucket/same", run, ""},
	} {
		at = func(ctx context.Context, location string) (store.Store, error) {
			s, err := store.At(ctx, location)
			return intruded{s, func() {
				at = store.At
				if _, err := Open(background, location, "test", tt.first); err != nil {
					t.Fatal(err)
				}
			}}, err
		}
		_, err := Open(background, tt.location, "test", run)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v; want %q", tt.location, err, tt.want)
		}
		if m, err := ReadManifest(background, tt.location); err != nil || m.Run.ModelHash != tt.first.ModelHash {
			t.Errorf("%s: the manifest is of %+v, error %v", tt.location, m.Run, err)
		}
	}
}

// What is missing is told of before anything is removed that might be of use.
func TestTidyLooksFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o, err := Open(background, dir, "test", attemptRun)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	d, err := attemptOf(background, dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	named := d
	named.Rejects = "part-0a-0000000000000000.parquet"
	if _, err := Commit(background, dir, []Done{named}); err == nil || !strings.Contains(err.Error(), named.Rejects+" is missing") {
		t.Errorf("error %v", err)
	}
	if _, err := Commit(background, dir, []Done{d}); err != nil {
		t.Error(err)
	}
}
