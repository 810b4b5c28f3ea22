package monitor

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNil(t *testing.T) {
	var m *Monitor
	task := m.Begin(Fetch, "1", "a.jpg")
	task.Enter(Decode)
	task.End()
	m.Count(1, 1, 1, 1)
	m.Reject(Fetch, "timeout", "1", "a.jpg", "")
	m.Spent(Fetch, time.Second, 1, 1)
	m.Workers(2)
	m.ChunkBegan("a", 0)
	m.ChunkDone("a")
	m.ChunkFailed("a")
	m.ChunkFound(1, 1, 1)
	m.Fetching(func() Fetching { return Fetching{} })
	m.Watch(t.Context(), nil, time.Second, time.Second)
	if m.Tripped(0) || m.Explain(nil) != "" || m.Snapshot().Done != 0 {
		t.Error("a nil monitor knows something")
	}
}

// What is counted is all there in the end, whoever counts and looks at the same time.
func TestConcurrent(t *testing.T) {
	const workers, each = 8, 500
	m := New(workers*each, true, 1)
	var g sync.WaitGroup
	for w := range workers {
		g.Go(func() {
			for i := range each {
				task := m.Begin(Fetch, "post", "http://example.org/a.jpg")
				task.Enter(Decode)
				m.Spent(Decode, time.Millisecond, 1, 10)
				if i%10 == 0 {
					m.Reject(Decode, []string{"truncated", "corrupt"}[i/10%2], "post", "a.jpg", "")
					m.Count(0, 1, 0, 0)
				} else {
					m.Count(1, 0, 0, 1)
				}
				task.End()
				if i%100 == w {
					m.ChunkBegan("chunk", w)
					m.Snapshot()
					m.ChunkFailed("chunk")
				}
			}
		})
	}
	g.Wait()
	s := m.Snapshot()
	if s.Done != workers*each || s.Rejected != workers*each/10 || s.Repeated != s.Scored || s.UnderWay != 0 || s.Oldest != nil {
		t.Errorf("done %d, rejected %d, repeated %d, under way %d", s.Done, s.Rejected, s.Repeated, s.UnderWay)
	}
	if got := s.Stages[Decode]; got.Photographs != workers*each || got.Bytes != 10*workers*each || got.Busy != 4 {
		t.Errorf("decode: %+v", got)
	}
	if len(s.Reasons) != 2 || s.Reasons[0].Count != workers*each/20 || s.Reasons[1].Count != workers*each/20 {
		t.Errorf("reasons: %+v", s.Reasons)
	}
}

// The photograph under way for longest is the oldest, whatever begins and ends in whatever order.
func TestOldest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New(0, false, 0)
		type under struct {
			task Task
			post string
		}
		var model []under // in the order of beginning
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(model) == 0 || rapid.Bool().Draw(t, "begin") {
				post := string(rune('A' + step))
				model = append(model, under{m.Begin(Fetch, post, "a"), post})
			} else {
				i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
				ended := model[i].task
				model = append(model[:i:i], model[i+1:]...)
				ended.End()
				ended.End() // a second time, and Enter after it, must not touch another's
				ended.Enter(Write)
			}
			o, n := m.oldest(m.elapsed(), nil)
			if n != len(model) {
				t.Fatalf("%d under way, want %d", n, len(model))
			}
			if n > 0 && (o.Post != model[0].post || o.Stage != Fetch) {
				t.Fatalf("the oldest is %+v, want %s", o, model[0].post)
			}
		}
	})
}

// More photographs than there are slots: those that find none go unseen, and all ends well.
func TestSlotsRunOut(t *testing.T) {
	m := New(0, false, 0)
	tasks := make([]Task, slots+100)
	for i := range tasks {
		tasks[i] = m.Begin(Fetch, "p", "a")
	}
	if s := m.Snapshot(); s.UnderWay != slots {
		t.Errorf("%d are seen, want %d", s.UnderWay, slots)
	}
	for _, task := range tasks {
		task.Enter(Decode)
		task.End()
	}
	if s := m.Snapshot(); s.UnderWay != 0 {
		t.Errorf("%d are left", s.UnderWay)
	}
}

func TestRedact(t *testing.T) {
	for _, tt := range []struct{ image, shown, host string }{
		{"shoes/a?b#c.jpg", "shoes/a?b#c.jpg", ""}, // a file's name
		{"https://example.org/a.jpg", "https://example.org/a.jpg", "example.org"},
		{"https://me:secret@example.org:8443/a.jpg?token=secret#secret", "https://example.org:8443/a.jpg?...", "example.org"},
		{"HTTP://example.org/?", "http://example.org/", "example.org"},
		{"https://example.org/?...", "https://example.org/?...", "example.org"}, // redacted already
		{"http://me:secret%zz@example.org/a.jpg", "http://...", ""},             // no URL, and a password in it
		{"https:/me:secret@example.org/a.jpg", "https:...", ""},                 // nearly a URL
		{"https:/example.org/a.jpg?token=secret", "https:...", ""},
		{" https:/example.org/a.jpg?token=secret", " https:...", ""},
		{"example.org/a.jpg?token=secret&next=https:/example.org", "example.org/a.jpg?...", ""},
		{"C:/shoes/a.jpg", "C:/shoes/a.jpg", ""},
		{"data:image/png;base64,secret", "data:...", ""},
		{"gs://bucket/a.jpg", "gs://bucket/a.jpg", "bucket"},
		{"", "", ""},
		{"a\xffb", "a\uFFFDb", ""},
		{strings.Repeat("a", 400), strings.Repeat("a", 300) + "...", ""},
	} {
		if shown, host := redact(tt.image); shown != tt.shown || host != tt.host {
			t.Errorf("%q is shown as %q of %q, want %q of %q", tt.image, shown, host, tt.shown, tt.host)
		}
	}
}

// Whatever strange URL it is, what is secret in it is not shown.
func FuzzRedact(f *testing.F) {
	f.Add("example.org", "a.jpg")
	f.Add("exa%zzmple.org:port", "a?b#c")
	f.Add("[::1", "@/?")
	f.Fuzz(func(t *testing.T, host, path string) {
		const secret = "s3cretw0rd"
		shown, at := redact("https://me:" + secret + "@" + host + "/" + path + "?q=" + secret + "#" + secret)
		if strings.Contains(shown+at, secret) {
			t.Errorf("%q of %q shows the secret", shown, at)
		}
	})
}

func TestChunks(t *testing.T) {
	m := New(100, true, 5)
	m.ChunkFound(8, 2, 0)
	m.ChunkBegan("a", 1)
	m.ChunkBegan("b", 2)
	m.ChunkBegan("b", 2) // another attempt at it
	m.ChunkBegan("c", 3)
	m.ChunkDone("b")
	m.ChunkDone("b") // counts once
	m.ChunkFailed("c")
	s := m.Snapshot()
	if s.Chunks.Done != 2 || len(s.Chunks.UnderWay) != 1 || s.Chunks.UnderWay[0].Name != "a" || s.Done != 10 || s.Found != 10 || s.Rejected != 2 {
		t.Errorf("%+v", s)
	}
}

// What is known of a run over time: rates, remaining time, history.
func TestOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(100_000, true, 10)
		m.Workers(2)
		m.ChunkFound(40_000, 0, 0) // in no time: it must not be in the rate
		m.Begin(Fetch, "1", "https://example.org/a.jpg?secret")
		work := func(seconds, rows int) {
			for range seconds * 10 {
				time.Sleep(100 * time.Millisecond)
				m.Spent(Decode, 150*time.Millisecond, int64(rows/10), 1000)
				m.Count(int64(rows/10), 0, 0, 0)
			}
		}
		work(9, 100)
		if s := m.Snapshot(); s.Remaining != 0 || s.Rate != 100 || s.Done != 40_900 {
			t.Errorf("after 9 seconds: %v left, %v/s, %d done", s.Remaining, s.Rate, s.Done)
		}
		work(51, 100)
		if s := m.Snapshot(); s.Remaining != 540 || s.OverallRate != 100 || len(s.History) != 12 || s.History[3] != 100 {
			t.Errorf("after a minute: %v left, %v/s overall, history %v", s.Remaining, s.OverallRate, s.History)
		}
		work(300, 50) // now the first minute is forgotten
		s := m.Snapshot()
		if s.Remaining != (100_000-61_000)/50 || s.Rate != 50 || s.History[0] != 50 || len(s.History) != 60 {
			t.Errorf("after 6 minutes: %v left, %v/s, history %v", s.Remaining, s.Rate, s.History)
		}
		if d := s.Stages[Decode]; d.Rate != 50 || d.AtOnce != 1.5 || math.Abs(d.OverallRate-(6000+15_000)/360.0) > 0.01 {
			t.Errorf("decode: %+v", d)
		}
		if s.Binds != "decode" || s.BindsShare != 0.75 {
			t.Errorf("%s binds, %v", s.Binds, s.BindsShare)
		}
		if o := s.Oldest; o == nil || o.Age != 360 || o.Image != "https://example.org/a.jpg?..." || o.Host != "example.org" {
			t.Errorf("the oldest is %+v", o)
		}
		time.Sleep(10 * time.Minute) // nobody looks, nothing happens
		if s := m.Snapshot(); s.Rate != 0 || s.Remaining != 0 || s.Idle != 600 || s.History[len(s.History)-1] != 0 {
			t.Errorf("stuck: %v/s, %v left, idle for %v", s.Rate, s.Remaining, s.Idle)
		}
	})
}

func TestRemaining(t *testing.T) {
	for _, tt := range []struct {
		rows, done, finished int64
		while, want          time.Duration
		why                  string
	}{
		{1000, 100, 100, 100 * time.Second, 900 * time.Second, "one row a second"},
		{1000, 600, 100, 100 * time.Second, 400 * time.Second, "500 rows were done before this run, and are not in its rate"},
		{1000, 100, 100, 9 * time.Second, 0, "too short"},
		{1000, 9, 9, time.Minute, 0, "too few rows"},
		{1000, 990, 0, time.Minute, 0, "nothing in the last minutes"},
		{1000, 1000, 1000, time.Minute, 0, "all done"},
		{1000, 1100, 1100, time.Minute, 0, "there are more than were estimated"},
		{0, 100, 100, time.Minute, 0, "nobody knows how many there are"},
		{math.MaxInt64, 10, 10, time.Minute, 10_000 * time.Hour, "no overflow"},
	} {
		if got := remaining(tt.rows, tt.done, tt.finished, tt.while); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}

func TestBinds(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		fetch, decode, infer, write time.Duration // busy in 10 seconds of 4 workers
		while                       time.Duration
		underWay                    int
		want                        string
		share                       float64
		why                         string
	}{
		{0, 20 * s, 10 * s, 2 * s, 10 * s, 1, "decode", 0.5, "workers decode for most of the time"},
		{0, 10 * s, 24 * s, 2 * s, 10 * s, 1, "infer", 0.6, "workers infer"},
		{0, 2 * s, 2 * s, 30 * s, 10 * s, 1, "write", 0.75, "the disk is slow"},
		{0, 8 * s, 2 * s, 0, 10 * s, 1, "fetch", 0.75, "workers wait"},
		{900 * s, 20 * s, 10 * s, 2 * s, 10 * s, 1, "decode", 0.5, "hundreds are being fetched, but workers have enough"},
		{0, 60 * s, 20 * s, 0, 10 * s, 1, "decode", 0.75, "more time than workers had: times are noted at a stage's end"},
		{0, 8 * s, 2 * s, 0, 4 * s, 1, "", 0, "too early"},
		{0, 0, 0, 0, 10 * s, 0, "", 0, "nothing is under way"},
	} {
		got, share := binds(4, tt.while, [stages]time.Duration{Fetch: tt.fetch, Decode: tt.decode, Infer: tt.infer, Write: tt.write}, tt.underWay)
		if got != tt.want || math.Abs(share-tt.share) > 1e-9 {
			t.Errorf("%s: %s binds with %v, want %s with %v", tt.why, got, share, tt.want, tt.share)
		}
	}
}

// The values are of the same formula in Python's decimals.
func TestWilson(t *testing.T) {
	for _, tt := range []struct {
		k, n int64
		want float64
	}{
		{0, 200, 0.000000000000},
		{200, 200, 0.892817284943},
		{20, 200, 0.035707112597},
		{16, 200, 0.025441870313},
		{100, 900, 0.069558788884},
		{50, 1000, 0.025550290000},
		{50000, 1000000, 0.048942832167},
		{8000, 100000, 0.075896381761},
		{1, 1, 0.039984006397},
		{500000, 1000000, 0.497550029412},
	} {
		if got := wilson(tt.k, tt.n); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%d of %d: %.12f, want %.12f", tt.k, tt.n, got, tt.want)
		}
	}
}

func TestTripped(t *testing.T) {
	for _, tt := range []struct {
		limit            float64
		scored, rejected int64
		foundRejected    int64
		rows             int64
		exact            bool
		want             bool
		why              string
	}{
		{0.05, 0, 199, 0, 1_000_000, true, false, "all are rejects, but there are too few"},
		{0.05, 0, 200, 0, 1_000_000, true, true, "all are rejects"},
		{0.05, 800, 100, 0, 1_000_000, true, true, "11 % of 900"},
		{0.05, 184, 16, 0, 1_000_000, true, false, "8 % of 200 may be chance"},
		{0.05, 950_000, 50_000, 0, 10_000_000, true, false, "just at the limit"},
		{0.05, 92_000, 8_000, 0, 10_000_000, true, true, "8 % of 100,000 is no chance"},
		{0.05, 940, 51, 0, 1_000, true, true, "more than all rows may have: the run cannot end within the limit"},
		{0.05, 940, 50, 0, 1_000, true, false, "as many as all rows may have"},
		{0.05, 940, 51, 0, 1_000, false, false, "the number of rows is an estimate"},
		{0.05, 10, 1, 60, 1_000, true, true, "an earlier run's rejects are the output's too"},
		{0.05, 1000, 0, 5_000, 1_000_000, true, false, "what made an earlier run reject is mended"},
		{1, 0, 1_000, 0, 1_000, true, false, "everything may be rejected"},
		{0, 0, 1, 0, 1_000, true, true, "nothing may be rejected"},
		{0, 10, 0, 0, 1_000, true, false, "nothing is rejected"},
		{0, 211, 0, 0, 1_000, true, false, "nothing is rejected, of enough rows"},
	} {
		m := New(tt.rows, tt.exact, 0)
		m.Count(tt.scored, tt.rejected, 1000, 0)
		m.ChunkFound(0, tt.foundRejected, 0)
		if got := m.Tripped(tt.limit); got != tt.want {
			t.Errorf("%s: %v", tt.why, got)
		}
	}
}

func TestExplain(t *testing.T) {
	m := New(0, false, 0)
	if got := m.Explain(nil); got != "" {
		t.Errorf("without rejects: %q", got)
	}
	m.Count(40, 60, 0, 0)
	for range 50 {
		m.Reject(Fetch, "not-found", "17", "https://example.org/17.jpg?token=secret", "404 Not Found")
	}
	m.Reject(Fetch, "not-found", "18", "18.jpg", "not the first")
	m.Reject(Decode, "corrupt", "19\x1b[2J\u202e", "19.jpg", "two\nlines")
	for _, r := range []string{"a", "b", "c", "d", "e"} {
		m.Reject(Infer, r, "20", "20.jpg", "-")
	}
	got := m.Explain(func(stage Stage, reason string) string {
		if stage == Fetch && reason == "not-found" {
			return "check --root"
		}
		return ""
	})
	want := `60 of 100 rows (60.0 %) were rejected
  fetch: not-found: 51 (51.0 %)
    first: post 17, https://example.org/17.jpg?...: 404 Not Found
    to do: check --root
  decode: corrupt: 1 (1.0 %)
    first: post 19` + "\uFFFD[2J\uFFFD" + `, 19.jpg: two` + "\uFFFD" + `lines
  infer: a: 1 (1.0 %)
    first: post 20, 20.jpg: -
  infer: b: 1 (1.0 %)
    first: post 20, 20.jpg: -
  infer: c: 1 (1.0 %)
    first: post 20, 20.jpg: -
  and 2 other reasons
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// locked is a log that is read while it is written.
type locked struct {
	mutex sync.Mutex
	text  []byte
}

func (l *locked) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

// take gives what was written since it was last called.
func (l *locked) take() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	s := string(l.text)
	l.text = nil
	return s
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out locked
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		ctx, cancel := context.WithCancel(t.Context())
		m := New(10, true, 1)
		m.Fetching(func() Fetching {
			return Fetching{OldestImage: "https://example.org/a.jpg?...", OldestHost: "moved.example.org"}
		})
		ended := make(chan struct{})
		go func() { m.Watch(ctx, log, time.Second, 10*time.Second); close(ended) }()
		says := func(after time.Duration, what string, want ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got, want := strings.TrimSpace(out.take()), strings.Join(want, "\n"); got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
			}
		}
		time.Sleep(500 * time.Millisecond)
		slow := m.Begin(Fetch, "17", "https://me:secret@example.org/a.jpg?token=secret")
		quick := m.Begin(Fetch, "18", "b.jpg")
		says(9*time.Second, "nothing is late")
		m.Count(1, 0, 0, 0)
		says(2*time.Second, "the oldest is late", `level=WARN msg="a photograph is under way for long" post=17 image=https://example.org/a.jpg?... stage=fetch host=moved.example.org age=11s in_stage=11s`)
		slow.Enter(Decode)
		m.Count(1, 0, 0, 0)
		says(9*time.Second, "the same is not as old again yet")
		m.Count(1, 0, 0, 0)
		says(2*time.Second, "it is as old again", `level=WARN msg="a photograph is under way for long" post=17 image=https://example.org/a.jpg?... stage=decode host=moved.example.org age=22s in_stage=11s`)
		slow.End()
		says(time.Second, "another is the oldest now", `level=WARN msg="a photograph is under way for long" post=18 image=b.jpg stage=fetch host="" age=23s in_stage=23s`)
		quick.End()
		if _, stuck := m.stuck(); stuck {
			t.Error("stuck too early")
		}
		says(8*time.Second, "nothing was finished", `level=WARN msg="nothing was finished for long" for=11s rows_done=3 chunks_done=0 chunks_under_way=0`)
		if _, stuck := m.stuck(); !stuck {
			t.Error("not stuck")
		}
		says(12*time.Second, "still not", `level=WARN msg="nothing was finished for long" for=22s rows_done=3 chunks_done=0 chunks_under_way=0`)
		m.Count(1, 0, 0, 0)
		says(9*time.Second, "there it is")
		cancel()
		<-ended
	})
}

func TestStages(t *testing.T) {
	text, err := json.Marshal(append(Stages(), Stage(7)))
	if want := `["listing","fetch","decode","infer","write","stage 7"]`; err != nil || string(text) != want {
		t.Errorf("%s, %v, want %s", text, err, want)
	}
	m := New(0, false, 0)
	m.Spent(Stage(7), time.Second, 1, 1) // is of no stage
	for _, s := range m.Snapshot().Stages {
		if s.Photographs != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func BenchmarkTask(b *testing.B) {
	m := New(0, false, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			task := m.Begin(Fetch, "17", "https://example.org/17.jpg")
			task.Enter(Decode)
			task.End()
		}
	})
}

func BenchmarkCount(b *testing.B) {
	m := New(0, false, 0)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Spent(Decode, time.Millisecond, 1, 1000)
			m.Reject(Fetch, "not-found", "17", "https://example.org/17.jpg", "404 Not Found")
			m.Count(0, 1, 0, 0)
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	m := New(0, false, 0)
	for range 300 {
		m.Begin(Fetch, "17", "https://example.org/17.jpg")
	}
	for b.Loop() {
		m.Snapshot()
	}
}

// The engine calls these for every photograph.
func TestNoAllocations(t *testing.T) {
	m := New(0, false, 0)
	m.Reject(Fetch, "not-found", "17", "17.jpg", "")
	if n := testing.AllocsPerRun(100, func() {
		task := m.Begin(Fetch, "17", "17.jpg")
		task.Enter(Decode)
		m.Spent(Decode, time.Millisecond, 1, 1000)
		m.Reject(Fetch, "not-found", "17", "17.jpg", "")
		m.Count(0, 1, 0, 0)
		task.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
