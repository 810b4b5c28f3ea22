package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/transforms"
)

const oddities = "../../testdata/oddities"

// tiny loads a model that says something, whose batches have room for several photographs.
func tiny(t *testing.T) *classifier.Classifier {
	t.Helper()
	net := model.Network{Arch: "tiny", Input: model.Shape{H: 16, W: 16, C: 3}, Layers: []model.Layer{
		{Name: "conv", Op: model.Conv, Out: 8, Kernel: 3, Stride: 2, Act: model.ReLU},
		{Name: "fc", Op: model.Dense, Out: 4},
	}}
	params, err := model.Init(net, 1)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := json.Marshal(transforms.DefaultScoring(16, [3]float64{127, 127, 127}, [3]float64{60, 60, 60}))
	if err != nil {
		t.Fatal(err)
	}
	m := &model.Model{Network: net, Params: params, Card: model.Card{Classes: []string{"adidas", "bmw", "<b>", model.NoLogo}, Transforms: steps}}
	dir := t.TempDir()
	if err := m.Save(dir, false); err != nil {
		t.Fatal(err)
	}
	c, err := classifier.Load(t.Context(), dir, classifier.Config{Views: 2})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// running is a server at an address of its own, as Serve serves it, and what stops it: end, which has waited for the last
// answer when it returns.
func running(t *testing.T, cfg Config) (s *Server, address string, end func()) {
	t.Helper()
	s, err := New(tiny(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		s.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	t.Cleanup(end)
	return s, "http://" + l.Addr().String(), end
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(oddities, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// said is an answer or a fault, as it came.
type said struct {
	Status int
	Answer
	Fault
	header http.Header
	text   string
}

func hear(t *testing.T, r *http.Response, err error) said {
	t.Helper()
	if err != nil {
		t.Error(err)
		return said{}
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	s := said{Status: r.StatusCode, header: r.Header, text: string(text)}
	for _, part := range []any{&s.Answer, &s.Fault} {
		if err := json.Unmarshal(text, part); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	return s
}

func post(t *testing.T, address string, body io.Reader) said {
	t.Helper()
	r, err := http.Post(address, "application/octet-stream", body)
	return hear(t, r, err)
}

// want is what the model says of a file by itself.
func want(t *testing.T, c *classifier.Classifier, data []byte) []classifier.Guess {
	t.Helper()
	probs, err := c.Classify(data, transforms.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return c.Top(probs, 5)
}

// Many at one time are each given what the model says of theirs alone, to the last bit, whatever the batches were.
func TestTogether(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cfg := DefaultConfig()
	cfg.Window = 50 * time.Millisecond
	s, address, end := running(t, cfg)
	names := []string{"plain.jpg", "grey.jpg", "progressive.jpg", "picture.webp", "animated.gif", "transparent.png"}
	files, wanted := map[string][]byte{}, map[string][]classifier.Guess{}
	for _, name := range names {
		files[name] = read(t, name)
		wanted[name] = want(t, s.Classifier, files[name])
	}
	if cmp.Equal(wanted["plain.jpg"], wanted["grey.jpg"]) {
		t.Fatal("the model says the same of everything: nothing is tested")
	}
	var clients sync.WaitGroup
	for k := range 48 {
		clients.Go(func() {
			name := names[k%len(names)]
			got := post(t, address, bytes.NewReader(files[name]))
			if diff := cmp.Diff(wanted[name], got.Top); diff != "" || got.Guess != got.Top[0] || got.Model != s.Model.Hash() {
				t.Errorf("%s: (-want +got) %s", name, diff)
			}
			if frames := got.Frames; frames < 1 || (frames > 1) != (name == "animated.gif") {
				t.Errorf("%s: %d frames", name, frames)
			}
		})
	}
	clients.Wait()
	metrics := hearText(t, address+"/metrics")
	if !strings.Contains(metrics, `logobeam_rows_total{outcome="scored"} 48`) {
		t.Errorf("metrics: %s", metrics)
	}
	if got := hearText(t, address+"/healthz"); got != "ok\n" {
		t.Errorf("healthz: %q", got)
	}
	end()
}

func hearText(t *testing.T, address string) string {
	t.Helper()
	r, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// form is a request with a file in a field.
func form(t *testing.T, address, field string, data []byte) *http.Request {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("note", "before it"); err != nil {
		t.Fatal(err)
	}
	part, err := w.CreateFormFile(field, "a.jpg")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest("POST", address, &b)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", w.FormDataContentType())
	return r
}

// What is not a photograph, or not sent as one, is refused with a status and the words of the rejects.
func TestRefused(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Limits.Bytes = 1 << 20
	_, address, _ := running(t, cfg)
	plain := read(t, "plain.jpg")
	request := func(method, path string, body io.Reader, header ...string) *http.Request {
		r, err := http.NewRequest(method, address+path, body)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	file := func(name string) *http.Request { return request("POST", "/", bytes.NewReader(read(t, name))) }
	chunked := func(n int) io.Reader { return io.MultiReader(bytes.NewReader(make([]byte, n))) } // of a length that is not said
	for _, tt := range []struct {
		name          string
		request       *http.Request
		status        int
		stage, reason string
	}{
		{"a photograph as a body", file("plain.jpg"), 200, "", ""},
		{"at the other path", request("POST", "/classify", bytes.NewReader(plain)), 200, "", ""},
		{"in a form", form(t, address, "image", plain), 200, "", ""},
		{"as curl sends it", request("POST", "/", bytes.NewReader(plain), "Content-Type", "application/x-www-form-urlencoded"), 200, "", ""},
		{"in another field", form(t, address, "picture", plain), 400, "fetch", "bad-request"},
		{"a form without boundary", request("POST", "/", bytes.NewReader(plain), "Content-Type", "multipart/form-data"), 400, "fetch", "bad-request"},
		{"a form that is none", request("POST", "/", bytes.NewReader(plain), "Content-Type", "multipart/form-data; boundary=x"), 400, "fetch", "bad-request"},
		{"compressed", request("POST", "/", bytes.NewReader(plain), "Content-Encoding", "gzip"), 415, "fetch", "bad-request"},
		{"nothing", request("POST", "/", nil), 400, "decode", "empty"},
		{"words", file("text.jpg"), 415, "decode", "not-an-image"},
		{"a drawing", file("drawing.svg"), 415, "decode", "svg"},
		{"half a photograph", request("POST", "/", bytes.NewReader(plain[:len(plain)/3])), 422, "decode", "truncated"},
		{"a bomb", file("huge.jpg"), 422, "decode", "implausible-size"},
		{"a long body", request("POST", "/", bytes.NewReader(make([]byte, 2<<20))), 413, "fetch", "too-large"},
		{"a little too long", request("POST", "/", bytes.NewReader(make([]byte, 1<<20+1))), 413, "fetch", "too-large"},
		{"a long body of unknown length", request("POST", "/", chunked(2<<20)), 413, "fetch", "too-large"},
		{"a long file in a form", form(t, address, "image", make([]byte, 1<<20+1)), 413, "fetch", "too-large"},
		{"from another site's page", request("POST", "/", bytes.NewReader(plain), "Sec-Fetch-Site", "cross-site"), 403, "fetch", "bad-request"},
		{"another method", request("PUT", "/", bytes.NewReader(plain)), 405, "fetch", "bad-request"},
		{"another path", request("POST", "/a.jpg", bytes.NewReader(plain)), 404, "fetch", "bad-request"},
		{"a path for a URL", request("GET", "/?url="+url.QueryEscape("/etc/passwd"), nil), 400, "fetch", "unsupported-scheme"},
		{"a file for a URL", request("GET", "/?url="+url.QueryEscape("file:///etc/passwd"), nil), 400, "fetch", "unsupported-scheme"},
		{"a bucket for a URL", request("GET", "/?url="+url.QueryEscape("gs://bucket/a.jpg"), nil), 400, "fetch", "unsupported-scheme"},
		{"a path that a parser takes for a URL", request("GET", "/?url=http:/../../../testdata/oddities/plain.jpg", nil), 400, "fetch", "unsupported-scheme"},
		{"another without a slash", request("GET", "/?url=http:..%2F..%2F..%2F..%2Ftestdata%2Foddities%2Fplain.jpg", nil), 400, "fetch", "unsupported-scheme"},
		{"this server's own address", request("GET", "/?url="+url.QueryEscape(address+"/?token=hush"), nil), 403, "fetch", "blocked-address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.DefaultClient.Do(tt.request)
			got := hear(t, r, err)
			if got.Status != tt.status || got.Stage != tt.stage || got.Reason != tt.reason || (tt.reason != "") != (got.Detail != "") {
				t.Errorf("%d %s; want %d %s %s", got.Status, got.text, tt.status, tt.stage, tt.reason)
			}
			if strings.Contains(got.text, "hush") {
				t.Errorf("a secret is repeated: %s", got.text)
			}
			if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Content-Security-Policy") == "" {
				t.Errorf("headers: %v", got.header)
			}
		})
	}
}

// A photograph that costs too much is refused by what it would cost.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		limit  func(*transforms.Limits)
		status int
		reason transforms.Reason
	}{
		{func(l *transforms.Limits) { l.Pixels = 10 }, 413, transforms.ReasonTooManyPixels},
		{func(l *transforms.Limits) { l.Memory = 10 }, 413, transforms.ReasonTooMuchMemory},
		{func(l *transforms.Limits) { l.Time = 1 }, 503, transforms.ReasonDecodeTimeout},
	} {
		cfg := DefaultConfig()
		tt.limit(&cfg.Limits)
		_, address, _ := running(t, cfg)
		got := post(t, address, bytes.NewReader(read(t, "plain.jpg")))
		if got.Status != tt.status || got.Reason != string(tt.reason) || got.Retryable != tt.reason.Temporary() {
			t.Errorf("%d %s; want %d %s", got.Status, got.text, tt.status, tt.reason)
		}
	}
}

// Every reason that a picture can be refused for says whose fault it is.
func TestStatusOf(t *testing.T) {
	for _, r := range transforms.Reasons() {
		if got := statusOf(r); (got >= 500) != (r == transforms.ReasonDecodeTimeout || r == transforms.ReasonDecoderPanic) || got < 400 {
			t.Errorf("%s: %d", r, got)
		}
	}
}

func TestURL(t *testing.T) {
	files := httptest.NewServer(http.FileServer(http.Dir(oddities)))
	t.Cleanup(files.Close)
	cfg := DefaultConfig()
	cfg.Fetch.AllowNet = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s, address, _ := running(t, cfg)
	r, err := http.Get(address + "/?url=" + url.QueryEscape(files.URL+"/plain.jpg"))
	if diff := cmp.Diff(want(t, s.Classifier, read(t, "plain.jpg")), hear(t, r, err).Top); diff != "" {
		t.Errorf("(-want +got) %s", diff)
	}
	r, err = http.Get(address + "/classify?url=" + url.QueryEscape(files.URL+"/none.jpg"))
	if got := hear(t, r, err); got.Status != 502 || got.Reason != string(fetch.NotFound) {
		t.Errorf("%d %s", got.Status, got.text)
	}
}

// slow sends the header and the first bytes of a photograph, and the rest when it is told to. begun returns once the server has
// taken the request in.
func slow(t *testing.T, s *Server, address string, data []byte) (rest func() *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	before := len(s.room)
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(data), data[:100])
	for len(s.room) == before {
		time.Sleep(time.Millisecond)
	}
	return func() *http.Response {
		if _, err := c.Write(data[100:]); err != nil {
			t.Error(err)
		}
		return response(t, c)
	}
}

func response(t *testing.T, c io.Reader) *http.Response {
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Who is too many is told to come again, and those under way are answered none the less.
func TestFull(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Room = 2
	s, address, _ := running(t, cfg)
	plain := read(t, "plain.jpg")
	first, second := slow(t, s, address, plain), slow(t, s, address, plain)
	got := post(t, address, bytes.NewReader(plain))
	if got.Status != 503 || got.Reason != ReasonBusy || !got.Retryable || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", got.Status, got.text)
	}
	for _, rest := range []func() *http.Response{first, second} {
		if got := hear(t, rest(), nil); got.Status != 200 {
			t.Errorf("%d %s", got.Status, got.text)
		}
	}
	for len(s.room) > 0 { // the place is given back after the answer
		time.Sleep(time.Millisecond)
	}
	if got := post(t, address, bytes.NewReader(plain)); got.Status != 200 {
		t.Errorf("%d %s", got.Status, got.text)
	}
}

// So it is with those whose files together take more memory than there is, here by what they say of themselves.
func TestFullOfBytes(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Limits.Bytes = 4096
	s, address, _ := running(t, cfg)
	for range 8 {
		slow(t, s, address, make([]byte, 4096))
	}
	got := post(t, address, bytes.NewReader(make([]byte, 4096)))
	if got.Status != 503 || got.Reason != ReasonBusy || !strings.Contains(got.Detail, "memory") {
		t.Errorf("%d %s", got.Status, got.text)
	}
}

// Who sends nothing for too long loses the place; who ends too early is told so.
func TestSlow(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Reading = 200 * time.Millisecond
	_, address, _ := running(t, cfg)
	for _, tt := range []struct {
		closes bool
		status int
		reason fetch.Reason
	}{{false, 408, fetch.Timeout}, {true, 400, fetch.CutOff}} {
		c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
		if tt.closes {
			c.(*net.TCPConn).CloseWrite()
		}
		if got := hear(t, response(t, c), nil); got.Status != tt.status || got.Reason != string(tt.reason) {
			t.Errorf("%d %s; want %d %s", got.Status, got.text, tt.status, tt.reason)
		}
	}
}

// A server that is told to end takes nothing new and answers what is under way.
func TestEnd(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, address, end := running(t, DefaultConfig())
	plain := read(t, "plain.jpg")
	var rests []func() *http.Response
	for range 10 {
		rests = append(rests, slow(t, s, address, plain))
	}
	ended := make(chan struct{})
	go func() { defer close(ended); end() }()
	for { // until nobody listens any more
		c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
		if err != nil {
			break
		}
		c.Close()
		time.Sleep(time.Millisecond)
	}
	for _, rest := range rests {
		if got := hear(t, rest(), nil); got.Status != 200 || len(got.Top) != 4 {
			t.Errorf("%d %s", got.Status, got.text)
		}
	}
	<-ended
}

// Browsers get pages: a form, an answer whose brands are text, a fault.
func TestPage(t *testing.T) {
	_, address, _ := running(t, DefaultConfig())
	for _, tt := range []struct {
		name   string
		make   func() *http.Request
		status int
		want   []string
	}{
		{"the form", func() *http.Request { r, _ := http.NewRequest("GET", address, nil); return r }, 200,
			[]string{`<input type="file" id="image" name="image"`, "4 classes", "adidas, bmw, &lt;b&gt;, no-logo"}},
		{"an answer", func() *http.Request { return form(t, address, "image", read(t, "plain.jpg")) }, 200,
			[]string{`<p class="big">`, "&lt;b&gt;", " %</td>"}},
		{"a fault", func() *http.Request { return form(t, address, "image", []byte("<b>words")) }, 415,
			[]string{"not-an-image", `role="alert"`}},
	} {
		r := tt.make()
		r.Header.Set("Accept", "text/html,*/*;q=0.8")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != tt.status {
			t.Errorf("%s: %d %v", tt.name, answer.StatusCode, err)
		}
		for _, w := range tt.want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s: there is no %s in %s", tt.name, w, text)
			}
		}
		if strings.Contains(string(text), "<script") || strings.Contains(string(text), "<b>") || !strings.Contains(answer.Header.Get("Content-Security-Policy"), "form-action 'self'") {
			t.Errorf("%s: it has a script or lacks a policy: %s", tt.name, text)
		}
	}
}
