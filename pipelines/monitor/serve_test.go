package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/html"
)

var update = flag.Bool("update", false, "write the golden files")

// busy is a run in the middle, two minutes after it began. It is for a bubble of synctest, where times are the same always.
func busy() *Monitor {
	m := New(10_000, true, 10)
	m.Workers(4)
	m.ChunkFound(900, 100, 0)
	m.ChunkBegan("chunk-a", 1)
	m.ChunkBegan("chunk-b", 2)
	m.Fetching(func() Fetching {
		return Fetching{Requests: 5000, Retries: 70, Bytes: 1 << 30, Open: 64, Waiting: 12, Hosts: []Host{
			{Name: "slow.example.org", Requests: 40, Failures: 9, Parked: true, Mean: 7.5}, {Name: "example.org", Requests: 4960, Mean: 0.125},
		}}
	})
	m.Begin(Decode, "post-1", "https://example.org/1.jpg?token=secret")
	m.Reject(Fetch, "timeout", "post-2", "https://slow.example.org/2.jpg?token=secret", "it did not come whole in 30s")
	m.Reject(Fetch, "timeout", "post-3", "3.jpg", "another")
	m.Reject(Decode, "truncated", "post-4", "4.jpg", "a JPEG ends at row 17 of 32")
	for range 120 {
		time.Sleep(time.Second)
		m.Spent(Fetch, 12*time.Second, 24, 2_000_000)
		m.Spent(Decode, 1500*time.Millisecond, 24, 2_000_000)
		m.Spent(Infer, 2250*time.Millisecond, 24, 0)
		m.Count(20, 4, 1, 2)
	}
	m.ChunkDone("chunk-a")
	return m
}

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); go test -update writes it anew:\n%s", file, diff)
	}
}

func ask(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry() // which checks that Describe tells the truth
		registry.MustRegister(collector{busy()})
		w := ask(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), "GET", "/metrics")
		golden(t, "metrics.txt", w.Body.Bytes())
	})
}

func TestStatusJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := busy().Snapshot()
		s.Memory = Memory{Heap: 100 << 20, Total: 200 << 20, Goroutines: 80, Descriptors: 90}
		s.Began, s.At, s.Oldest.Since = time.Time{}, time.Time{}, time.Time{}
		for i := range s.Chunks.UnderWay {
			s.Chunks.UnderWay[i].Since = time.Time{}
		}
		text, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "status.json", append(text, '\n'))
	})
}

// What the page says, in words.
func TestPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := busy().Snapshot()
		s.Memory = Memory{Heap: 100 << 20, Total: 200 << 20, Goroutines: 80, Descriptors: 90}
		s.At = s.At.UTC()
		var b bytes.Buffer
		p := s.page()
		for _, line := range []string{p.Title, p.Clock, p.Progress, p.Remaining, p.Elapsed, p.Rate, p.Highest, p.Spark[:20], p.Area[:20], p.Binds, p.BindsWhy, p.Oldest, p.OldestWhere} {
			b.WriteString(line + "\n")
		}
		for _, table := range p.Tables {
			b.WriteString("\n" + table.Caption + "\n")
			for _, row := range table.Rows {
				for i, c := range row {
					if i > 0 {
						b.WriteString(" | ")
					}
					if c.Kind == "bar" {
						b.WriteString(strings.Repeat("=", int(c.Bar/10)))
					}
					b.WriteString(c.Text)
				}
				b.WriteString("\n")
			}
		}
		golden(t, "page.txt", b.Bytes())
	})
}

// A run of which nothing is known yet has a page as well.
func TestPageOfNothing(t *testing.T) {
	s := New(0, false, 0).Snapshot()
	p := s.page()
	if p.Percent >= 0 || p.Progress != "0 rows" || p.Remaining != "Remaining time not known yet" || p.Oldest != "None" {
		t.Errorf("%+v", p)
	}
	w := ask(New(0, false, 0).handler(), "GET", "/")
	if w.Code != http.StatusOK || !strings.HasSuffix(strings.TrimSpace(w.Body.String()), "</html>") {
		t.Errorf("%d, %s", w.Code, w.Body)
	}
}

func TestLength(t *testing.T) {
	for _, tt := range []struct {
		seconds Seconds
		want    string
	}{
		{0, "0 µs"}, {0.0000254, "25 µs"}, {0.012, "12 ms"}, {3.44, "3.4 s"}, {59.96, "60.0 s"}, {63, "1 min 3 s"}, {3600, "1 h 0 min"},
		{47*3600 + 60, "47 h 1 min"}, {49 * 3600, "2 days 1 h"},
	} {
		if got := length(tt.seconds); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.seconds, got, tt.want)
		}
	}
}

const evil = `"><img src=x onerror=alert(1)><script>alert(2)</script>'&amp;{{.}}` + "`${alert(3)}`"

// What strangers write is text on the page, in whatever field it stands.
func TestEscaped(t *testing.T) {
	m := New(10, true, 1)
	m.ChunkBegan(evil, 1)
	m.Begin(Fetch, evil, evil)
	m.Reject(Fetch, evil, evil, evil, evil)
	m.Fetching(func() Fetching { return Fetching{Hosts: []Host{{Name: evil}}} })
	w := ask(m.handler(), "GET", "/")
	doc, err := html.Parse(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	seen := 0
	for n := range doc.Descendants() {
		switch {
		case n.Type == html.ElementNode:
			count[n.Data]++
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.Contains(a.Val, "alert") {
					t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
				}
			}
		case n.Type == html.TextNode && n.Parent.Data != "script":
			seen += strings.Count(n.Data, evil)
		}
	}
	// reason; post, image and detail of its example; post and image of the oldest; chunk; host
	if count["script"] != 1 || count["img"] != 0 || seen != 8 {
		t.Errorf("%d scripts, %d images, the text is there %d times: want 1, 0 and 8", count["script"], count["img"], seen)
	}
	// The script puts the same fields into the page: as text, and attributes that no stranger writes.
	for _, unsafe := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval", "Function(", "setHTML", ".href", ".src", "srcdoc"} {
		if strings.Contains(pageHTML, unsafe) {
			t.Errorf("the page uses %s", unsafe)
		}
	}
	// And JSON may be taken for HTML by nobody.
	for _, path := range []string{"/page.json", "/status.json"} {
		w := ask(m.handler(), "GET", path)
		if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Content-Type-Options") != "nosniff" || strings.Contains(w.Body.String(), "<img") {
			t.Errorf("%s: %v %s", path, w.Header(), w.Body)
		}
	}
}

// Each run of the page has another nonce, so that only its own script and style count.
func TestPolicy(t *testing.T) {
	h := New(1, true, 1).handler()
	first, second := ask(h, "GET", "/"), ask(h, "GET", "/")
	policy := first.Header().Get("Content-Security-Policy")
	_, rest, _ := strings.Cut(policy, "'nonce-")
	nonce, _, _ := strings.Cut(rest, "'")
	if len(nonce) < 20 || strings.Count(first.Body.String(), `nonce="`+nonce+`"`) != 2 || !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("policy %s, page %s", policy, first.Body)
	}
	if policy == second.Header().Get("Content-Security-Policy") {
		t.Error("the nonce is the same again")
	}
}

func TestPaths(t *testing.T) {
	h := busyNow().handler()
	for _, tt := range []struct {
		method, path string
		code         int
		contains     string
	}{
		{"GET", "/", 200, "<progress"},
		{"HEAD", "/", 200, ""},
		{"GET", "/page.json", 200, `"Percent":20`},
		{"GET", "/status.json", 200, `"rows":10,`},
		{"GET", "/metrics", 200, `logobeam_rows_total{outcome="scored"} 2`},
		{"GET", "/metrics", 200, "go_goroutines"},
		{"GET", "/healthz", 200, "ok"},
		{"GET", "/debug/pprof/", 200, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"GET", "/debug/pprof/cmdline", 404, ""}, // what was typed may hold what is nobody's business
		{"POST", "/", 405, ""},
		{"GET", "/other", 404, ""},
	} {
		w := ask(h, tt.method, tt.path)
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.contains) {
			t.Errorf("%s %s: %d, want %d with %q: %.300s", tt.method, tt.path, w.Code, tt.code, tt.contains, w.Body)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s shows a query", tt.path)
		}
	}
}

func busyNow() *Monitor {
	m := New(10, true, 1)
	m.Count(2, 0, 0, 0)
	const first, second = "https://me:secret@example.org/1.jpg?token=secret", "https://example.org/2.jpg?token=secret"
	m.Begin(Fetch, first, first) // as in a listing of URLs alone
	m.Reject(Fetch, "timeout", second, second, "late")
	return m
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(10, true, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		health := func() int { return ask(m.handler(), "GET", "/healthz").Code }
		time.Sleep(time.Hour)
		if got := health(); got != 200 {
			t.Errorf("without a watchdog: %d", got)
		}
		m.Count(1, 0, 0, 0)
		go m.Watch(ctx, slog.New(slog.DiscardHandler), time.Second, time.Minute)
		time.Sleep(time.Minute)
		if got := health(); got != 200 {
			t.Errorf("after a minute: %d", got)
		}
		time.Sleep(time.Second)
		if got := health(); got != 503 {
			t.Errorf("after more than a minute: %d", got)
		}
		m.Count(0, 1, 0, 0)
		if got := health(); got != 200 {
			t.Errorf("after another row: %d", got)
		}
	})
}

// The server is gone soon after ctx's end, whatever it is asked at that moment. TestMain looks for goroutines.
func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	addr, wait, err := Serve(ctx, "127.0.0.1:0", busyNow(), log)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	url := "http://" + addr.String()
	answer, err := client.Get(url + "/status.json")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || !bytes.Contains(body, []byte(`"scored":2`)) {
		t.Errorf("%s, %v", body, err)
	}
	if _, _, err := Serve(ctx, addr.String(), busyNow(), log); err == nil || !strings.Contains(err.Error(), addr.String()) {
		t.Errorf("twice at one address: %v", err)
	}

	profiled := make(chan struct{})
	go func() {
		defer close(profiled)
		if answer, err := client.Get(url + "/debug/pprof/trace?seconds=60"); err == nil {
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}()
	cancel()
	began := time.Now()
	wait()
	<-profiled
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the server took %v to end", took)
	}
	if _, err := client.Get(url); err == nil {
		t.Error("it answers still")
	}
}

func TestCounter(t *testing.T) {
	if got := Counter(RejectsTotal, "fetch", "timeout"); got != "rejects_total_fetch_timeout" {
		t.Error(got)
	}
}
