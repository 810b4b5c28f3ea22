package fetch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// all runs Each and returns what became of each image.
func all(t *testing.T, f *Fetcher, images []string) []Image {
	t.Helper()
	got := make([]Image, len(images))
	seen := make([]bool, len(images))
	err := f.Each(context.Background(), images, func(i Image) {
		if seen[i.Index] {
			t.Errorf("%s is delivered twice", images[i.Index])
		}
		seen[i.Index] = true
		if (i.Data == nil) == (i.Err == nil) && i.Err != nil {
			t.Errorf("%s: %d bytes and error %v", images[i.Index], len(i.Data), i.Err)
		}
		i.Release()
		got[i.Index] = i
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, ok := range seen {
		if !ok {
			t.Fatalf("%s is not delivered", images[i])
		}
	}
	quiet(t, f)
	return got
}

// quiet checks that nothing is left of what was done.
func quiet(t *testing.T, f *Fetcher) {
	t.Helper()
	s := f.Stats()
	if s.Waiting != 0 || s.InFlight != 0 || s.Memory != 0 {
		t.Errorf("%d wait, %d are in flight, %d bytes are held; want none", s.Waiting, s.InFlight, s.Memory)
	}
	if image, _, _, ok := f.Oldest(); ok {
		t.Errorf("%s is still under way", image)
	}
}

// hosts counts what is asked of each host at one time.
type hosts struct {
	mu         sync.Mutex
	now, most  map[string]int
	requests   map[string]int
	total, max int
}

func (h *hosts) wrap(next http.HandlerFunc) http.HandlerFunc {
	h.now, h.most, h.requests = map[string]int{}, map[string]int{}, map[string]int{}
	return func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.requests[r.Host]++
		h.now[r.Host]++
		h.total++
		h.most[r.Host] = max(h.most[r.Host], h.now[r.Host])
		h.max = max(h.max, h.total)
		h.mu.Unlock()
		defer func() {
			h.mu.Lock()
			h.now[r.Host]--
			h.total--
			h.mu.Unlock()
		}()
		next(w, r)
	}
}

func TestEach(t *testing.T) {
	var h hosts
	server := httptest.NewServer(h.wrap(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/robots.txt" {
			http.NotFound(w, r)
			return
		}
		time.Sleep(time.Millisecond)
		fmt.Fprint(w, r.URL.Path)
	}))
	defer server.Close()
	dir := t.TempDir()
	var images, want []string
	for i := range 600 {
		name := fmt.Sprintf("/%d", i)
		switch {
		case i%20 == 0:
			images, want = append(images, "gopher://x"+name), append(want, "")
		case i%10 == 1:
			os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644)
			images, want = append(images, name[1:]), append(want, name)
		default:
			images, want = append(images, at(server, fmt.Sprintf("h%d.test", i%7))+name), append(want, name)
		}
	}
	f := fetcher(t, Config{Root: dir, Connections: 12, HostConnections: 3, resolver: nameServer(t, everywhere), AllowNet: loopback})
	before := runtime.NumGoroutine()
	var most atomic.Int64
	var wg sync.WaitGroup
	for range 3 { // calls at a time, which share the limits
		wg.Go(func() {
			for i, got := range all3(t, f, images, &most) {
				if (got.Err == nil) != (want[i] != "") || string(got.Data) != want[i] {
					t.Errorf("%s: %q, error %v; want %q", images[i], got.Data, got.Err, want[i])
				}
			}
		})
	}
	wg.Wait()
	quiet(t, f)
	for name, n := range h.most {
		if n > 3 {
			t.Errorf("%s had %d requests at a time; want at most 3", name, n)
		}
	}
	s := f.Stats()
	if h.max > 12 || s.PeakConnections > 12 || s.PeakConnections < 2 {
		t.Errorf("%d requests and %d connections at a time; want at most 12", h.max, s.PeakConnections)
	}
	// A request has a goroutine here, two in the transport and two in the server, and a few look names up.
	if n := int(most.Load()) - before; n > 12*5+diskReads+30 {
		t.Errorf("%d goroutines for 12 connections", n)
	}
	if n := h.requests["h3.test"+server.URL[strings.LastIndex(server.URL, ":"):]]; n == 0 || len(s.Hosts) != 7 {
		t.Errorf("%d requests to a host, and %d hosts are known", n, len(s.Hosts))
	}
}

// all3 is Each with a look at the number of goroutines.
func all3(t *testing.T, f *Fetcher, images []string, most *atomic.Int64) []Image {
	got := make([]Image, len(images))
	err := f.Each(context.Background(), images, func(i Image) {
		most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
		i.Release()
		got[i.Index] = i
	})
	if err != nil {
		t.Error(err)
	}
	return got
}

func TestListingOrder(t *testing.T) {
	var mu sync.Mutex
	asked := map[string][]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked[r.Host] = append(asked[r.Host], r.URL.Path)
	}))
	defer server.Close()
	var images []string
	want := map[string][]string{}
	for i := range 200 {
		path := fmt.Sprintf("/%03d", i)
		u := at(server, fmt.Sprintf("h%d.test", rand.IntN(3)))
		images = append(images, u+path)
		host := strings.TrimPrefix(u, "http://")
		want[host] = append(want[host], path)
	}
	all(t, fetcher(t, Config{HostConnections: 1, IgnoreRobots: true, resolver: nameServer(t, everywhere), AllowNet: loopback}), images)
	for host := range want {
		if fmt.Sprint(asked[host]) != fmt.Sprint(want[host]) {
			t.Errorf("%s was asked for %v; want %v", host, asked[host], want[host])
		}
	}
}

// stuck is a server of which some hosts never answer.
func stuck(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "stuck") {
			select {
			case <-done:
			case <-r.Context().Done():
			}
			return
		}
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(done) })
	return server
}

func TestSlowHostsHoldNobodyUp(t *testing.T) {
	server := stuck(t, func(w http.ResponseWriter, r *http.Request) {})
	var images []string
	for i := range 300 {
		images = append(images, at(server, fmt.Sprintf("stuck%d.test", i%2)), at(server, "good.test"))
	}
	f := fetcher(t, Config{Connections: 6, HostConnections: 2, Timeout: 300 * time.Millisecond, IgnoreRobots: true, resolver: nameServer(t, everywhere), AllowNet: loopback})
	var good, bad, before int // before the last good one
	details := map[string]int{}
	err := f.Each(context.Background(), images, func(i Image) {
		i.Release()
		if i.Err == nil {
			good, before = good+1, bad
			return
		}
		wantReason(t, i.Err, Timeout)
		details[i.Err.(*Error).Detail]++
		bad++
	})
	if err != nil || good != 300 || before > 16 {
		t.Errorf("error %v; %d of the good host's images came, with %d of the others before; want 300, with few before", err, good, before)
	}
	if len(details) != 2 {
		t.Errorf("details %v; want one a host", details)
	}
}

// A host that never answers costs a few images' time, whatever the number of its images, and is tried again later.
func TestDeadHost(t *testing.T) {
	var alive atomic.Bool
	var asked atomic.Int64
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if alive.Load() {
			return
		}
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(done)
	for _, ignore := range []bool{false, true} {
		t.Run(fmt.Sprint("ignoring robots.txt: ", ignore), func(t *testing.T) {
			alive.Store(false)
			asked.Store(0)
			images := make([]string, 5000)
			for i := range images {
				images[i] = fmt.Sprint(server.URL, "/", i)
			}
			f := fetcher(t, Config{Timeout: 200 * time.Millisecond, HeaderTimeout: 60 * time.Millisecond, HostConnections: 4, IgnoreRobots: ignore, AllowNet: loopback})
			details := map[string]int{}
			for _, i := range all(t, f, images) {
				wantReason(t, i.Err, Timeout)
				details[i.Err.(*Error).Detail]++
			}
			if n := asked.Load(); len(details) != 1 || n > 3*(failuresOfNew+4) {
				t.Errorf("%d requests, details %v; want a few requests and one detail", n, details)
			}
			if h := f.Stats().Hosts; len(h) != 1 || !h[0].Parked || h[0].Failures == 0 {
				t.Errorf("hosts %v; want one that is parked", h)
			}
			before := asked.Load()
			for _, i := range all(t, f, images[:10]) {
				wantReason(t, i.Err, Timeout)
			}
			if asked.Load() != before {
				t.Error("a host that was given up was asked again")
			}
			rested := func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				for _, h := range f.hosts.Values() {
					h.until = time.Now()
				}
			}
			rested()
			all(t, f, images[:100])
			if n := asked.Load() - before; n == 0 || n > 3 {
				t.Errorf("%d requests found out that the host is not back; want those for one image", n)
			}
			rested()
			alive.Store(true)
			for _, i := range all(t, f, images[:100]) {
				if i.Err != nil {
					t.Fatal(i.Err)
				}
			}
		})
	}
}

func TestRetries(t *testing.T) {
	var mu sync.Mutex
	asked := map[string][]time.Time{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := len(asked[r.Host+r.URL.Path])
		asked[r.Host+r.URL.Path] = append(asked[r.Host+r.URL.Path], time.Now())
		mu.Unlock()
		var code, times int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d/%d", &code, &times); err != nil || n >= times {
			return
		}
		if after := r.URL.Query().Get("after"); after != "" {
			w.Header().Set("Retry-After", after)
		}
		if code == 0 { // hang up
			panic(http.ErrAbortHandler)
		}
		if code == 302 {
			w.Header().Set("Location", "/302/0")
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	cfg := Config{IgnoreRobots: true, Timeout: 2 * time.Second, resolver: nameServer(t, everywhere), AllowNet: loopback}
	for _, tt := range []struct {
		path     string
		want     Reason
		requests int
	}{
		{"/500/2", "", 3},
		{"/500/9", HTTP5xx, 3},
		{"/503/1", "", 2},
		{"/429/1", "", 2},
		{"/429/9", RateLimited, 3},
		{"/0/1", "", 2},
		{"/0/9", CutOff, 3},
		{"/404/9", NotFound, 1},
		{"/403/9", Permission, 1},
		{"/418/9", HTTP4xx, 1},
		{"/204/9", HTTPOther, 1},
		{"/302/1", "", 1},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			name := strings.Trim(strings.ReplaceAll(tt.path, "/", "-"), "-") + ".test"
			f := fetcher(t, cfg)
			_, err := f.Fetch(context.Background(), at(server, name)+tt.path)
			if tt.want == "" && err != nil {
				t.Error(err)
			} else if tt.want != "" {
				wantReason(t, err, tt.want)
			}
			mu.Lock()
			defer mu.Unlock()
			n := len(asked[strings.TrimPrefix(at(server, name), "http://")+tt.path])
			if n != tt.requests || f.Stats().Retries != int64(tt.requests-1) {
				t.Errorf("%d requests, %d retries; want %d requests", n, f.Stats().Retries, tt.requests)
			}
		})
	}
	t.Run("Retry-After", func(t *testing.T) {
		t.Parallel()
		quick, patient := at(server, "quick.test"), at(server, "patient.test")
		images := []string{patient + "/429/1?after=1"}
		for i := range 20 {
			images = append(images, quick+"/"+strconv.Itoa(i), patient+"/"+strconv.Itoa(i))
		}
		images = append(images, patient+"/503/1?after="+strings.ReplaceAll(time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), " ", "+"))
		for _, i := range all(t, fetcher(t, Config{IgnoreRobots: true, HostConnections: 1, Timeout: 2 * time.Second, resolver: cfg.resolver, AllowNet: loopback}), images) {
			if i.Err != nil {
				t.Error(i.Err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		host := func(u string) string { return strings.TrimPrefix(u, "http://") }
		began := asked[host(patient)+"/429/1"][0]
		for i := range 20 {
			if d := asked[host(patient)+"/"+strconv.Itoa(i)][0].Sub(began); d < 900*time.Millisecond {
				t.Errorf("a host was asked %v after it had asked for a pause of a second", d)
			}
			if d := asked[host(quick)+"/"+strconv.Itoa(i)][0].Sub(began); d > 900*time.Millisecond {
				t.Errorf("another host waited %v", d)
			}
		}
	})
	t.Run("a longer wait than there is time for", func(t *testing.T) {
		t.Parallel()
		f := fetcher(t, cfg)
		images := []string{at(server, "busy.test") + "/503/1?after=3600"}
		for range 100 {
			images = append(images, at(server, "busy.test")+"/x")
		}
		details := map[string]bool{}
		for _, i := range all(t, f, images) {
			if i.Err != nil { // those that were under way at the same time have come
				wantReason(t, i.Err, RateLimited)
				details[i.Err.(*Error).Detail] = true
			}
		}
		if len(details) != 1 {
			t.Errorf("details %v; want one", details)
		}
		_, err := f.Fetch(context.Background(), at(server, "busy.test")+"/later")
		wantReason(t, err, RateLimited)
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"":                                 0,
		"120":                              2 * time.Minute,
		" 1 ":                              time.Second,
		"0":                                0,
		"-5":                               0,
		"1.5":                              0,
		"99999999999999999999":             0,
		"soon":                             0,
		"Thu, 26 Nov 2026 08:01:00 GMT":    time.Minute,
		"Thu, 26 Nov 2026 07:00:00 GMT":    0,
		"Thursday, 26-Nov-26 08:00:10 GMT": 10 * time.Second,
	} {
		if got := retryAfter(http.Header{"Retry-After": {in}}, now); got != want {
			t.Errorf("Retry-After: %s: %v; want %v", in, got, want)
		}
	}
}

func TestTimeLimits(t *testing.T) {
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/half":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("12345"))
			w.(http.Flusher).Flush()
		case "/drip": // for two seconds, and never idle for long
			for range 100 {
				w.Write([]byte("1"))
				w.(http.Flusher).Flush()
				select {
				case <-done:
					return
				case <-r.Context().Done():
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
			return
		}
		select {
		case <-done:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(done) })
	for name, tt := range map[string]struct {
		path string
		cfg  Config
	}{
		"header": {"/", Config{Timeout: time.Minute, HeaderTimeout: 50 * time.Millisecond}},
		"idle":   {"/half", Config{Timeout: time.Minute, IdleTimeout: 50 * time.Millisecond}},
		"whole":  {"/drip", Config{Timeout: 150 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Retries, tt.cfg.IgnoreRobots, tt.cfg.AllowNet = -1, true, loopback
			began := time.Now()
			_, err := fetcher(t, tt.cfg).Fetch(context.Background(), server.URL+tt.path)
			wantReason(t, err, Timeout)
			if d := time.Since(began); d > time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
	c, err := Config{Timeout: time.Second}.complete()
	if err != nil || c.DialTimeout != time.Second || c.HeaderTimeout != time.Second || c.IdleTimeout != time.Second {
		t.Errorf("limits %v, %v, %v within a second, error %v", c.DialTimeout, c.HeaderTimeout, c.IdleTimeout, err)
	}
}

func TestHostRate(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer server.Close()
	f := fetcher(t, Config{HostRate: 50, IgnoreRobots: true, AllowNet: loopback})
	began := time.Now()
	all(t, f, strings.Fields(strings.Repeat(server.URL+"/ ", 21)))
	if d := time.Since(began); d < 380*time.Millisecond {
		t.Errorf("21 requests at 50 a second took %v", d)
	}
}

// Images wait for memory and for one another's release, and all come.
func TestMemory(t *testing.T) {
	const limit = 300 << 10
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:])
		if n%2 == 0 {
			w.Header().Set("Content-Length", strconv.Itoa(n))
		}
		for ; n > 0; n -= 16 << 10 {
			w.Write(make([]byte, min(n, 16<<10)))
		}
	}))
	t.Cleanup(server.Close)
	for name, memory := range map[string]int64{"twice an image": 2 * limit, "much": 20 * limit, "less than an image": limit / 2, "next to nothing": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fetcher(t, Config{MaxBytes: limit, Memory: memory, IgnoreRobots: true, HostConnections: 32, AllowNet: loopback})
			most := max(memory, memory/2+limit, baseHold+limit)
			var images []string
			for range 150 {
				images = append(images, fmt.Sprint(server.URL, "/", rand.IntN(limit+limit/10)))
			}
			var wg sync.WaitGroup
			held := make(chan Image, 3) // a consumer that keeps some for a while
			wg.Go(func() {
				for i := range held {
					time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
					if used := f.Stats().Memory; used > most+1 {
						t.Errorf("%d bytes are held; want at most %d", used, most)
					}
					i.Release()
					i.Release() // twice is no more than once
				}
			})
			err := f.Each(context.Background(), images, func(i Image) {
				want, _ := strconv.Atoi(images[i.Index][len(server.URL)+1:])
				if want <= limit && len(i.Data) != want || want > limit && i.Err.(*Error).Reason != TooLarge {
					t.Errorf("%d bytes of %d, error %v", len(i.Data), want, i.Err)
				}
				held <- i
			})
			close(held)
			wg.Wait()
			if err != nil {
				t.Error(err)
			}
			quiet(t, f)
		})
	}
}

// The budget's own rules: whatever grows, ends and is released in whatever order, nothing is lost, and somebody can always go on.
func TestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{MaxBytes: rapid.Int64Range(1, 4<<20).Draw(t, "image"), Memory: rapid.Int64Range(1, 16<<20).Draw(t, "memory")}
		b := newBudget(cfg)
		var flying []*hold
		waits := func(h *hold) bool {
			for _, w := range b.waiting {
				if w == h {
					return true
				}
			}
			return false
		}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "start") && b.room(len(flying)) {
				flying = append(flying, b.start(nil))
			}
			if len(flying) == 0 {
				if !b.room(0) {
					t.Fatalf("nothing is under way, and nothing can start: %d used", b.used)
				}
				continue
			}
			i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
			h := flying[i]
			switch {
			case waits(h):
			case rapid.Bool().Draw(t, "grow") && h.bytes < max(cfg.MaxBytes, baseHold):
				to := rapid.Int64Range(h.bytes+1, max(cfg.MaxBytes, baseHold)).Draw(t, "to")
				if !((len(b.waiting) == 0 || b.keyed == h) && b.take(h, to)) {
					h.want, h.grown = to, make(chan struct{})
					b.waiting = append(b.waiting, h)
				}
			default:
				b.resize(h, 0)
				flying = append(flying[:i], flying[i+1:]...)
			}
			var used int64
			free := len(flying) == 0
			for _, h := range flying {
				used += h.bytes
				free = free || !waits(h)
			}
			if used != b.used || !free {
				t.Fatalf("%d bytes are held and %d counted; somebody can go on: %v", used, b.used, free)
			}
			if most := b.common + max(cfg.MaxBytes, baseHold) + baseHold; used > most {
				t.Fatalf("%d bytes are held; want at most %d", used, most)
			}
		}
	})
}

func TestEachIsCancelled(t *testing.T) {
	server := stuck(t, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1000)) })
	f := fetcher(t, Config{resolver: nameServer(t, everywhere), AllowNet: loopback})
	var images []string
	for i := range 500 {
		images = append(images, fmt.Sprint(at(server, "stuck.test"), "/", i), fmt.Sprint(at(server, "good.test"), "/", i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := f.Each(ctx, images, func(i Image) {
		if i.Release(); n == 100 {
			cancel()
		}
		n++
	})
	if !errors.Is(err, context.Canceled) || n != 101 {
		t.Errorf("error %v after %d images; want the cancellation after 101", err, n)
	}
	quiet(t, f)
	// Another call goes on where that one has stopped, robots.txt included.
	for _, i := range all(t, f, images[1:2]) {
		if i.Err != nil {
			t.Error(i.Err)
		}
	}
	if err := f.Each(ctx, images, func(Image) { t.Error("delivered though it was cancelled before") }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v; want the cancellation", err)
	}
	if err := f.Each(context.Background(), nil, nil); err != nil {
		t.Errorf("no images: error %v", err)
	}
}

func TestClose(t *testing.T) {
	server := stuck(t, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1000)) })
	f := fetcher(t, Config{resolver: nameServer(t, everywhere), AllowNet: loopback})
	all(t, f, []string{at(server, "good.test")})
	if n := f.Stats().Connections; n != 1 {
		t.Errorf("%d connections are open; want the one that is kept", n)
	}
	time.AfterFunc(20*time.Millisecond, f.Close)
	_, err := f.Fetch(context.Background(), at(server, "stuck.test"))
	if !errors.Is(err, ErrClosed) {
		t.Errorf("error %v; want %v", err, ErrClosed)
	}
	f.Close()
	if _, err := f.Fetch(context.Background(), "a.jpg"); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v; want %v", err, ErrClosed)
	}
	if n := f.Stats().Connections; n != 0 {
		t.Errorf("%d connections are open after Close", n)
	}
}

func TestOldest(t *testing.T) {
	server := stuck(t, func(w http.ResponseWriter, r *http.Request) {})
	f := fetcher(t, Config{IgnoreRobots: true, resolver: nameServer(t, everywhere), AllowNet: loopback})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	u := at(server, "stuck.test")
	began := time.Now()
	err := f.Each(ctx, []string{u + "/?k=secret", at(server, "good.test")}, func(i Image) {
		image, host, since, ok := f.Oldest()
		if !ok || image != u+"/?..." || host != u || since.Before(began) || since.After(time.Now()) {
			t.Errorf("the oldest is %s of %s since %v (%v)", image, host, since, ok)
		}
		cancel()
	})
	if err == nil {
		t.Error("the stuck image came")
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string // of the User-Agent; empty if it is refused
	}{
		{Config{}, "logobeam (image classifier)"},
		{Config{Contact: "https://example.org/bot?a=b"}, "logobeam (image classifier; +https://example.org/bot?a=b)"},
		{Config{Contact: "bot@example.org"}, "logobeam (image classifier; +bot@example.org)"},
		{Config{UserAgent: "ours/1", Contact: "bot@example.org"}, "ours/1 (+bot@example.org)"},
		{Config{Contact: "nobody"}, ""},
		{Config{Contact: "Bot <bot@example.org>"}, ""},
		{Config{Contact: "https://example.org/\r\nX: y"}, ""},
		{Config{Contact: "https://example.org/)"}, ""},
		{Config{Contact: "ftp://example.org/"}, ""},
		{Config{Contact: "https:"}, ""},
		{Config{UserAgent: "a\nb"}, ""},
		{Config{MaxBytes: -1}, ""},
		{Config{Timeout: -1}, ""},
		{Config{IdleTimeout: -1}, ""},
		{Config{Memory: -1}, ""},
		{Config{Connections: -1}, ""},
		{Config{HostRate: -1}, ""},
	} {
		f, err := New(tt.cfg)
		if (err == nil) != (tt.want != "") || err == nil && f.cfg.UserAgent != tt.want {
			t.Errorf("%+v: error %v; want %q", tt.cfg, err, tt.want)
		}
		if err == nil {
			f.Close()
		}
	}
}

// BenchmarkEach is the work of scheduling alone: files that are not there.
func BenchmarkEach(b *testing.B) {
	f, err := New(Config{Root: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	images := strings.Fields(strings.Repeat("no.jpg ", 1<<14))
	b.ReportAllocs()
	for b.Loop() {
		f.Each(context.Background(), images, func(i Image) { i.Release() })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(images)), "ns/image")
}

// BenchmarkHTTP is Each over one host on loopback, its server included.
func BenchmarkHTTP(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 20<<10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(body) }))
	defer server.Close()
	f, err := New(Config{AllowNet: loopback})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	images := strings.Fields(strings.Repeat(server.URL+"/a.jpg ", 1<<12))
	b.ReportAllocs()
	for b.Loop() {
		f.Each(context.Background(), images, func(i Image) { i.Release() })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(images)), "ns/image")
}

// What comes on a connection after an answer may be the rest of that one: the image is asked for once more.
func TestRestOfAnotherAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for n := 0; ; n++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if n > 0 || r.URL.Path == "/never" {
						io.WriteString(c, "more of what was before\r\n\r\n")
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nimage")
				}
			})
		}
	})
	f := fetcher(t, Config{IgnoreRobots: true, AllowNet: loopback})
	for _, path := range []string{"/first", "/second", "/third"} {
		if data, err := f.Fetch(t.Context(), "http://"+l.Addr().String()+path); err != nil || string(data) != "image" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	_, err = f.Fetch(t.Context(), "http://"+l.Addr().String()+"/never")
	wantReason(t, err, BadAnswer)
}
