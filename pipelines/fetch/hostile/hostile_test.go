package hostile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/fetch/hostile"
	"github.com/logobeam/logobeam/transforms"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	server := hostile.New(hostile.Options{Disallow: "/private/"})
	host := httptest.NewServer(server) // or server.Listen, for several hosts whose connections are counted
	defer host.Close()
	for _, path := range []string{"/good/17.jpg", "/500once/1", "/500once/1", "/404/3"} {
		resp, err := http.Get(host.URL + path)
		if err != nil {
			fmt.Println(err)
			continue
		}
		resp.Body.Close()
		fmt.Println(path, resp.StatusCode)
	}
	fmt.Println(server.Stats().Kinds["500once"], "requests for /500once")
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// /good/17.jpg 200
	// /500once/1 500
	// /500once/1 200
	// /404/3 404
	// 2 requests for /500once
}

func listen(t *testing.T, o hostile.Options, hosts int) (*hostile.Server, []string) {
	t.Helper()
	s := hostile.New(o)
	urls, err := s.Listen(hosts)
	if err != nil {
		t.Skip("needs Linux, where all of 127.0.0.0/8 is this machine: ", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := s.Stats().Connections; n != 0 {
			t.Errorf("%d connections are open after the end", n)
		}
	})
	return s, urls
}

// outcome is where an image ends: nowhere, if it can be scored.
func outcome(t *testing.T, f *fetch.Fetcher, url string) (stage, reason string) {
	t.Helper()
	data, err := f.Fetch(context.Background(), url)
	if e := (*fetch.Error)(nil); errors.As(err, &e) {
		return "fetch", string(e.Reason)
	}
	if err == nil {
		_, err = transforms.Decode(data, transforms.DefaultLimits())
	}
	if e := (*transforms.Error)(nil); errors.As(err, &e) {
		return "decode", string(e.Reason)
	}
	if err != nil {
		t.Errorf("%s: %v", url, err)
	}
	return "", ""
}

// The table is what our own fetcher and decoders make of each kind.
func TestKinds(t *testing.T) {
	s, urls := listen(t, hostile.Options{}, 3)
	f, err := fetch.New(fetch.Config{AllowNet: s.Networks(), Timeout: 400 * time.Millisecond, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	// The fetcher asks once, so that no time is waited in vain, and this test again where that helps.
	ends := func(url string, k hostile.Kind) (stage, reason string) {
		stage, reason = outcome(t, f, url)
		if k.First != "" && reason == k.First {
			stage, reason = outcome(t, f, url)
		}
		return stage, reason
	}
	t.Run("all", func(t *testing.T) { // the cleanups above come after its parallel ones
		for _, k := range hostile.Kinds() {
			t.Run(strings.Trim(k.Path, "/"), func(t *testing.T) {
				t.Parallel()
				if k.Stage == "fetch" && !slices.Contains(fetch.Reasons(), fetch.Reason(k.Reason)) {
					t.Skipf("the fetcher knows no reason %s", k.Reason)
				}
				if k.Stage == "fetch" && fetch.Reason(k.Reason).Temporary() != k.Temporary {
					t.Errorf("%s is temporary: %v", k.Reason, !k.Temporary)
				}
				times := 1
				if k.Path == "/loopback/N" {
					times = 14
				}
				for n := range times {
					host := urls[n%2]
					if k.Pause {
						host = urls[2] // the others need not wait
					}
					if stage, reason := ends(host+k.At(n), k); stage != k.Stage || reason != k.Reason {
						t.Errorf("%s ends with %q in %q; want %q in %q", k.At(n), reason, stage, k.Reason, k.Stage)
					}
				}
			})
		}
	})
	st := s.Stats()
	if int(st.Requests) < len(hostile.Kinds()) || st.Kinds["good"] == 0 || st.MostConnections < 2 {
		t.Errorf("counted %+v", st)
	}
}

// What can be read to its end is the same at every time and from every server.
func TestSame(t *testing.T) {
	one, two := httptest.NewServer(hostile.New(hostile.Options{})), httptest.NewServer(hostile.New(hostile.Options{}))
	defer one.Close()
	defer two.Close()
	// A client that reuses connections asks again by itself where one was reset.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	read := func(url string) string {
		resp, err := client.Get(url)
		if err != nil {
			return "an error" // its text has a port
		}
		defer resp.Body.Close()
		resp.Header.Del("Date")
		data, err := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.Status, resp.Header, string(data), err)
	}
	for _, k := range hostile.Kinds() {
		if k.Slow || strings.HasPrefix(k.Path, "/huge") {
			continue
		}
		for _, n := range []int{0, 7} {
			first, again := read(one.URL+k.At(n)), read(two.URL+k.At(n))
			if first != again {
				t.Errorf("%s: %.300q, then %.300q", k.At(n), first, again)
			}
			if second := read(one.URL + k.At(n)); (second == first) == (k.First != "") {
				t.Errorf("%s: %.300q, and the second time %.300q", k.At(n), first, second)
			}
		}
	}
	if read(one.URL+"/garbage/1") == read(one.URL+"/garbage/2") || read(one.URL+"/good/1.jpg") == read(one.URL+"/good/2.jpg") {
		t.Error("the number changes nothing")
	}
}

func get(t *testing.T, method, url string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

func TestAnswers(t *testing.T) {
	given := []byte("\xff\xd8\xff given")
	s := hostile.New(hostile.Options{Images: [][]byte{given}, Disallow: "/private/"})
	host := httptest.NewServer(s)
	defer host.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for _, tt := range []struct {
		method, path string
		code         int
		header, text string
	}{
		{"GET", "/good/5.jpg", 200, "Content-Type: image/jpeg", string(given)},
		{"GET", "/good/not-a-number", 200, "", string(given)},
		{"GET", "/good/", 200, "", string(given)},
		{"HEAD", "/good/5.jpg", 200, "Content-Length: 9", ""},
		{"POST", "/good/5.jpg", 405, "", "only GET and HEAD\n"},
		{"GET", "/redirect/2/5", 200, "", string(given)},
		{"GET", "/robots.txt", 200, "", "User-agent: *\nDisallow: /private/\n"},
		{"GET", "/private/1", 200, "", string(given)},
		{"GET", "/noindex/1", 200, "X-Robots-Tag: noindex, noimageindex", string(given)},
		{"GET", "/429/1", 429, "Retry-After: 1", "too many requests\n"},
		{"GET", "/429/1", 200, "", string(given)},
		{"GET", "/429/2", 429, "Retry-After: 1", "too many requests\n"},
		{"GET", "/429always/1", 429, "Retry-After: 1", "too many requests\n"},
		{"GET", "/429always/1", 429, "Retry-After: 1", "too many requests\n"},
		{"GET", "/503/1", 503, "Retry-After: 1", "come back later\n"},
		{"GET", "/", 404, "", "404 page not found\n"},
		{"GET", "/no-such-kind/1", 404, "", "404 page not found\n"},
	} {
		code, header, text := get(t, tt.method, host.URL+tt.path)
		name, value, _ := strings.Cut(tt.header, ": ")
		if code != tt.code || text != tt.text || name != "" && header.Get(name) != value {
			t.Errorf("%s %s: %d %v %q; want %d %s %q", tt.method, tt.path, code, header, text, tt.code, tt.header, tt.text)
		}
	}
	s.Forget()
	if code, _, _ := get(t, "GET", host.URL+"/429/1"); code != 429 {
		t.Errorf("/429/1 after Forget: %d; want 429", code)
	}
	if got := s.Stats().Kinds["other"]; got != 2 {
		t.Errorf("%d requests for paths of no kind; want 2", got)
	}
}

func TestReset(t *testing.T) {
	_, urls := listen(t, hostile.Options{}, 1)
	for _, path := range []string{"/reset/1", "/resetonce/1"} {
		_, err := http.Get(urls[0] + path)
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v; want a reset", path, err)
		}
	}
	if code, _, _ := get(t, "GET", urls[0]+"/resetonce/1"); code != 200 {
		t.Errorf("after the reset: %d", code)
	}
	http.DefaultClient.CloseIdleConnections()
}

// A client that has waited long enough is let go of, so that nothing is kept open for ever.
func TestPatience(t *testing.T) {
	_, urls := listen(t, hostile.Options{Patience: 150 * time.Millisecond}, 1)
	client := &http.Client{Timeout: 20 * time.Second}
	for _, k := range hostile.Kinds() {
		if !k.Slow {
			continue
		}
		resp, err := client.Get(urls[0] + k.At(1))
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if e := (interface{ Timeout() bool })(nil); err == nil || errors.As(err, &e) && e.Timeout() {
			t.Errorf("%s: %v; want the connection to be ended", k.Path, err)
		}
	}
}

// No more connections are open than were asked for. Others come when those end, however they end.
func TestConnections(t *testing.T) {
	s, urls := listen(t, hostile.Options{Connections: 2}, 2)
	done := make(chan error, 40)
	for i := range cap(done) {
		path := []string{"/good/1", "/reset/1", "/badchunk/1", "/cut/1"}[i%4]
		go func() {
			req, err := http.NewRequest("GET", urls[i%2]+path, nil)
			if err == nil {
				req.Close = true
				var resp *http.Response
				if resp, err = http.DefaultClient.Do(req); err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
			if (err == nil) != (path == "/good/1") {
				done <- fmt.Errorf("%s: %v", path, err)
				return
			}
			done <- nil
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := s.Stats().MostConnections; n != 2 {
		t.Errorf("%d connections were open; want 2", n)
	}
}

// Clients that leave, leave nothing open.
func TestLeave(t *testing.T) {
	s, urls := listen(t, hostile.Options{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	for _, k := range hostile.Kinds() {
		if k.Slow || k.Path == "/huge/N" {
			req, err := http.NewRequestWithContext(ctx, "GET", urls[0]+k.At(1), nil)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if resp, err := http.DefaultClient.Do(req); err == nil {
					io.CopyN(io.Discard, resp.Body, 100)
					<-ctx.Done()
					resp.Body.Close()
				}
			}()
		}
	}
	await := func(what string, ok func(hostile.Stats) bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !ok(s.Stats()); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %+v", what, s.Stats())
			}
		}
	}
	await("the clients have not come", func(st hostile.Stats) bool { return st.Requests == 5 })
	cancel()
	await("the clients have left", func(st hostile.Stats) bool { return st.Connections == 0 })
}

func TestPhotographs(t *testing.T) {
	sizes := map[string]bool{}
	for i, data := range hostile.Photographs() {
		m, err := transforms.Decode(data, transforms.DefaultLimits())
		if err != nil {
			t.Fatal(i, err)
		}
		sizes[fmt.Sprint(m.W, m.H)] = true
		if !bytes.Equal(data, hostile.Photographs()[i]) {
			t.Error("another picture the second time")
		}
	}
	if len(sizes) < 5 {
		t.Errorf("sizes %v", sizes)
	}
}

func TestListenErrors(t *testing.T) {
	for _, n := range []int{0, -1, 201} {
		if _, err := hostile.New(hostile.Options{}).Listen(n); err == nil {
			t.Errorf("%d hosts can be had", n)
		}
	}
}
