package pipelines

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
)

// An image that is named again, or whose bytes come again, is worked on once, in whichever chunk it is.
func TestRepeats(t *testing.T) {
	web := newSite(t)
	const rows, names, pictures = 120, 12, 6
	var lines []string
	for i := range rows {
		lines = append(lines, fmt.Sprintf("%d,%s/%d/%d.png", i, web.url, i%names/pictures, i%pictures)) // each picture has two names
	}
	cfg := ScoreConfig{Listing: listed(t, "post_id,image", lines...), Options: listing.Options{ChunkRows: 25}, Model: newModel(t, 1), Images: local()}
	var want map[string]string
	for _, tt := range []struct {
		again                 bool
		asked, most, repeated int
	}{
		{false, names, 1, rows - pictures},
		{true, rows, rows / names, 0},
	} {
		web.hits = map[string]int{}
		var watched *monitor.Monitor
		cfg.Repeats, cfg.Out, cfg.Started = tt.again, filepath.Join(t.TempDir(), "out"), func(m *monitor.Monitor) { watched = m }
		score(t, cfg)
		if all, most := web.asked(); all != tt.asked || most != tt.most {
			t.Errorf("repeats %v: %d requests, at most %d of one image; want %d and %d", tt.again, all, most, tt.asked, tt.most)
		}
		if got := watched.Snapshot().Repeated; got != int64(tt.repeated) {
			t.Errorf("repeats %v: %d rows answered by others; want %d", tt.again, got, tt.repeated)
		}
		if want == nil {
			want = files(t, cfg.Out)
		}
		same(t, want, files(t, cfg.Out))
	}
}

// What was asked for lately is remembered, and no more than twice as much.
func TestForgetting(t *testing.T) {
	a := newAnswers()
	q := func(i int) question { return question{Lo: uint64(i)} }
	const n = 3*remembered + 1000
	for i := range n {
		if _, known, mine := a.ask(q(i), waiter{}); known || !mine {
			t.Fatalf("question %d was never asked: known %v, mine %v", i, known, mine)
		}
		a.tell(q(i), outcome{brand: int32(i)})
		if i%(remembered/2) == 0 { // asked for often
			if _, known, _ := a.ask(q(0), waiter{}); !known {
				t.Errorf("what was asked for %d questions ago is forgotten", remembered/2)
			}
		}
	}
	if most := 2 * remembered; len(a.young)+len(a.old) > most || len(a.underWay) > 0 {
		t.Errorf("%d answers are remembered, at most %d may be; %d are under way", len(a.young)+len(a.old), most, len(a.underWay))
	}
	for _, i := range []int{n - 1, n - remembered/2, n - remembered + 2} {
		if o, known, _ := a.ask(q(i), waiter{}); !known || o.brand != int32(i) {
			t.Errorf("question %d of %d: known %v, answer %d", i, n, known, o.brand)
		}
	}
	if _, known, _ := a.ask(q(1), waiter{}); known {
		t.Error("the oldest question is remembered still")
	}
}

// newTestScorer is a scorer that has nobody to tell, closed at the end of the test.
func newTestScorer(t testing.TB, dir string, workers int, images Images) *scorer {
	t.Helper()
	c, err := classifier.Load(context.Background(), dir, classifier.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := ScoreConfig{Listing: "none", Out: "none", Model: dir, Workers: workers, Batch: 2, Images: images}.complete()
	if err != nil {
		t.Fatal(err)
	}
	run, err := cfg.describe(context.Background(), nil, c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newScorer(context.Background(), cfg.scoring("", run), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A question that is given up is asked again by whoever waits for its answer.
func TestGivenUp(t *testing.T) {
	noLeaks(t)
	web := newSite(t)
	web.answers(hang)
	s := newTestScorer(t, newModel(t, 1), 1, local())
	defer s.close()
	rows := listing.PostsOf(listing.Row{PostID: "1", Image: web.url + "/1.png"})
	ctx, cancel := context.WithCancel(context.Background())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.score(ctx, "", rows)
		first <- err
	}()
	waiting := func(n int) func() bool {
		return func() bool {
			s.answers.mutex.Lock()
			defer s.answers.mutex.Unlock()
			w, asked := s.answers.underWay[askName("", rows.At(0).Image)]
			return asked && len(w) == n
		}
	}
	eventually(t, "the first chunk asks", waiting(0))
	var outcomes []outcome
	go func() {
		var err error
		outcomes, err = s.score(context.Background(), "", rows)
		second <- err
	}()
	eventually(t, "the second chunk waits", waiting(1))
	web.answers(nil)
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first chunk: error %v", err)
	}
	if err := <-second; err != nil || outcomes[0].reject != nil || outcomes[0].frames != 1 {
		t.Errorf("the second chunk: %+v, error %v", outcomes, err)
	}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never seen: %s", what)
		}
	}
}

// Chunks that share images in any order neither wait for each other for ever nor mix answers up, though some are given up.
func TestAnyOrder(t *testing.T) {
	noLeaks(t)
	dir, root := newModel(t, 1), t.TempDir()
	const pictures = 4
	for i := range pictures {
		for _, name := range []string{"a", "b"} { // the same bytes by two names
			if err := os.WriteFile(filepath.Join(root, fmt.Sprint(name, i)), picture(i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	alone := newTestScorer(t, dir, 1, Images{})
	defer alone.close()
	answer := map[string]outcome{}
	for _, image := range []string{"a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3", "missing"} {
		o, err := alone.score(context.Background(), root, listing.PostsOf(listing.Row{Image: image}))
		if err != nil {
			t.Fatal(err)
		}
		answer[image] = o[0]
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := newTestScorer(t, dir, rapid.IntRange(1, 4).Draw(rt, "workers"), Images{})
		defer s.close()
		image := rapid.SampledFrom([]string{"a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3", "missing"})
		names := rapid.SliceOfN(image, 1, 60).Draw(rt, "images")
		size := rapid.IntRange(1, 7).Draw(rt, "rows of a chunk")
		givenUp := rapid.SliceOfN(rapid.IntRange(0, 9), 60, 60).Draw(rt, "given up where 0")
		ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
		defer stop()
		room, chunks := make(chan struct{}, chunksAtOnce), sync.WaitGroup{}
		for i := 0; i < len(names); i += size {
			rows := new(listing.Posts)
			for k, name := range names[i:min(i+size, len(names))] {
				rows.Add(listing.Row{PostID: fmt.Sprint(i + k), Image: name})
			}
			room <- struct{}{}
			chunks.Go(func() {
				defer func() { <-room }()
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				if givenUp[i] == 0 {
					go cancel()
				}
				outcomes, err := s.score(ctx, root, rows)
				if err != nil {
					if givenUp[i] != 0 {
						t.Errorf("rows from %d on: %v", i, err)
					}
					return
				}
				for k, o := range outcomes {
					want := answer[rows.At(k).Image]
					if (o.reject == nil) != (want.reject == nil) || o.reject == nil && o != want || o.reject != nil && *o.reject != *want.reject {
						t.Errorf("%s: %+v; want %+v", rows.At(k).Image, o, want)
					}
				}
			})
		}
		chunks.Wait()
		if n := len(s.answers.underWay); n > 0 {
			t.Errorf("%d questions are never answered", n)
		}
		if m := s.fetcher.Stats().Memory; m != 0 {
			t.Errorf("images of %d bytes were not released", m)
		}
	})
}

// Names that differ, or stand in different folders, are different questions, and so are names and bytes.
func TestQuestions(t *testing.T) {
	seen := map[question]string{}
	for what, q := range map[string]question{
		"a in x": askName("x", "a"), "a in y": askName("y", "a"), "b in x": askName("x", "b"), "xa": askName("", "xa"),
		"the bytes a": askBytes([]byte("a")), "a in none": askName("", "a"), "no bytes": askBytes(nil), "no name": askName("", ""),
	} {
		if other, twice := seen[q]; twice {
			t.Errorf("%s and %s are one question, %x", what, other, binary.BigEndian.AppendUint64(nil, q.Hi))
		}
		seen[q] = what
	}
}
