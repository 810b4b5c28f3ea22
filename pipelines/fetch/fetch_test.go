package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")) // of the fake bucket's packages
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func fetcher(t *testing.T, cfg Config) *Fetcher {
	t.Helper()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func wantReason(t *testing.T, err error, want Reason) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v; want an Error with reason %s", err, want)
	}
	if e.Reason != want {
		t.Fatalf("error %v; want reason %s", err, want)
	}
	if Explain(e.Reason) == "" {
		t.Errorf("reason %s is not among those explained", e.Reason)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells a secret: %v", err)
	}
}

func TestLocal(t *testing.T) {
	dir := t.TempDir()
	want := bytes.Repeat([]byte("0123456789"), 1000)
	for name, data := range map[string][]byte{"a.jpg": want, "a b%.jpg": want, "a:b?c#d.jpg": want, "empty": nil, "large": append(bytes.Clone(want), 0)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	f := fetcher(t, Config{Root: dir, MaxBytes: int64(len(want))})
	for _, tt := range []struct {
		image string
		want  []byte
	}{
		{"a.jpg", want},
		{"./a.jpg", want},
		{filepath.Join(dir, "a.jpg"), want},
		{"file://" + dir + "/a.jpg", want},
		{"FILE://localhost" + dir + "/a%20b%25.jpg", want},
		{"a:b?c#d.jpg", want},
		{"empty", nil},
	} {
		got, err := f.Fetch(context.Background(), tt.image)
		if err != nil || !bytes.Equal(got, tt.want) {
			t.Errorf("%s: %d bytes, error %v; want %d bytes", tt.image, len(got), err, len(tt.want))
		}
	}
	if got, err := f.Under(filepath.Dir(dir)).Fetch(context.Background(), filepath.Join(filepath.Base(dir), "a.jpg")); err != nil || len(got) != len(want) {
		t.Errorf("under another folder: %d bytes, error %v", len(got), err)
	}
	for image, reason := range map[string]Reason{
		"no.jpg":                       NotFound,
		"a.jpg/b.jpg":                  NotFound,
		"nul\x00.jpg":                  NotFound,
		strings.Repeat("x", 5000):      NotFound,
		"loop":                         NotFound,
		"":                             NotAFile, // the root itself
		".":                            NotAFile,
		"pipe":                         NotAFile,
		"/dev/zero":                    NotAFile,
		"large":                        TooLarge,
		"s3://me:secret@bucket/a.jpg":  UnsupportedScheme,
		"data:image/png;base64,secret": UnsupportedScheme,
		"file://host/a.jpg":            BadURL,
		"file://":                      BadURL,
		"https://":                     BadURL,
		"https:///a.jpg":               BadURL,
		"http://a b/?secret":           BadURL,
		"http://[::1/?secret":          BadURL,
		"http://me:secret@%zz/":        BadURL,
	} {
		_, err := f.Fetch(context.Background(), image)
		wantReason(t, err, reason)
	}
	_, err := f.Fetch(context.Background(), "s3://bucket/a.jpg")
	if want := "s3://bucket/a.jpg: unsupported-scheme: s3: is not supported: give a path, or a file://, http://, https:// or gs:// URL"; err.Error() != want {
		t.Errorf("error %q; want %q", err, want)
	}
	if os.Geteuid() != 0 {
		os.Chmod(filepath.Join(dir, "a.jpg"), 0)
		_, err := f.Fetch(context.Background(), "a.jpg")
		wantReason(t, err, Permission)
	}
}

// hostile is a server that does what servers should not.
func hostile(t *testing.T, good []byte) *httptest.Server {
	done := make(chan struct{})
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, answer)
			conn.Close()
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "test" || r.Referer() != "" {
			t.Errorf("asked by %q with referer %q", r.UserAgent(), r.Referer())
		}
		w.Write(good)
	})
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, r *http.Request) {
		for i := range good {
			w.Write(good[i : i+1])
			if i%1000 == 0 {
				w.(http.Flusher).Flush()
			}
		}
	})
	mux.HandleFunc("/status/", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Path[len("/status/"):])
		w.WriteHeader(code)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop?k=secret", http.StatusFound) })
	mux.HandleFunc("/hops/", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[len("/hops/"):])
		if n == 0 {
			http.Redirect(w, r, "/good", http.StatusMovedPermanently)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/hops/%d?k=secret", n-1), http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("url"), http.StatusFound)
	})
	mux.HandleFunc("/never", func(w http.ResponseWriter, r *http.Request) { <-done })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		for {
			w.Write([]byte{0})
			w.(http.Flusher).Flush()
			select {
			case <-done:
				return
			case <-r.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for block := make([]byte, 1<<16); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/huge", raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx"))
	mux.HandleFunc("/cut", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"))
	mux.HandleFunc("/cut-chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"))
	mux.HandleFunc("/hang-up", raw(""))
	mux.HandleFunc("/nonsense", raw("SSH-2.0-OpenSSH hello?\r\n\r\n"))
	mux.HandleFunc("/bad-location", raw("HTTP/1.1 302 Found\r\nLocation: http://[?k=secret\r\n\r\n"))
	mux.HandleFunc("/headers", raw("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n"))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(done) })
	return server
}

func TestHostileServer(t *testing.T) {
	good := bytes.Repeat([]byte("0123456789"), 2000)
	server := hostile(t, good)
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.StartTLS()
	defer other.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	f := fetcher(t, Config{MaxBytes: int64(len(good)), UserAgent: "test", Retries: -1, AllowNet: loopback})
	hurried := fetcher(t, Config{Timeout: 300 * time.Millisecond, AllowNet: loopback})
	for _, path := range []string{"/good?k=secret", "/chunked", "/hops/0", "/hops/4"} {
		got, err := f.Fetch(context.Background(), server.URL+path)
		if err != nil || !bytes.Equal(got, good) {
			t.Errorf("%s: %d bytes, error %v; want %d bytes", path, len(got), err, len(good))
		}
	}
	to := func(s string) string { return server.URL + "/to?url=" + url.QueryEscape(s) }
	for _, tt := range []struct {
		url       string
		want      Reason
		temporary bool
	}{
		{server.URL + "/status/404?k=secret", NotFound, false},
		{server.URL + "/status/410", NotFound, false},
		{server.URL + "/status/403", Permission, false},
		{server.URL + "/status/418", HTTP4xx, false},
		{server.URL + "/status/429", RateLimited, true},
		{server.URL + "/status/500", HTTP5xx, true},
		{server.URL + "/status/503", HTTP5xx, true},
		{server.URL + "/status/204", HTTPOther, false},
		{server.URL + "/loop?k=secret", TooManyRedirects, false},
		{server.URL + "/hops/5", TooManyRedirects, false},
		{to("file:///etc/passwd?secret"), UnsupportedScheme, false},
		{to("http://169.254.169.254/latest/secret"), BlockedAddress, false},
		{to("http://[fd00:ec2::254]/secret"), BlockedAddress, false},
		{to("http://[::ffff:10.0.0.1]/secret"), BlockedAddress, false},
		{"http://10.0.0.1/?k=secret", BlockedAddress, false},
		{"http://0x0a000001/", BadURL, false},
		{server.URL + "/never?k=secret", Timeout, true},
		{server.URL + "/slow", Timeout, true},
		{server.URL + "/endless", TooLarge, false},
		{server.URL + "/huge", TooLarge, false},
		{server.URL + "/cut", CutOff, true},
		{server.URL + "/cut-chunk", CutOff, true},
		{server.URL + "/hang-up", CutOff, true},
		{server.URL + "/nonsense", BadAnswer, false},
		{server.URL + "/bad-location", BadAnswer, false},
		{server.URL + "/headers", BadAnswer, false},
		{other.URL, BadTLS, false},
		{"http://" + closed.Addr().String() + "/?k=secret", Unreachable, true},
	} {
		t.Run(strings.TrimPrefix(tt.url, server.URL), func(t *testing.T) {
			f := f
			if tt.want == Timeout {
				f = hurried
			}
			_, err := f.Fetch(context.Background(), tt.url)
			wantReason(t, err, tt.want)
			if _, again := f.Fetch(context.Background(), tt.url); again == nil || again.Error() != err.Error() {
				t.Errorf("the same fault in other words: %v, then %v", err, again)
			}
			if got := err.(*Error).Temporary(); got != tt.temporary {
				t.Errorf("temporary: %v; want %v", got, tt.temporary)
			}
		})
	}
	t.Run("no redirects", func(t *testing.T) {
		f := fetcher(t, Config{MaxRedirects: -1, AllowNet: loopback})
		_, err := f.Fetch(context.Background(), server.URL+"/hops/0")
		wantReason(t, err, TooManyRedirects)
	})
	t.Run("loopback is not public", func(t *testing.T) {
		f := fetcher(t, Config{})
		_, err := f.Fetch(context.Background(), server.URL+"/good")
		wantReason(t, err, BlockedAddress)
		_, err = f.Fetch(context.Background(), strings.Replace(server.URL, "127.0.0.1", "localhost", 1)+"/good")
		wantReason(t, err, BlockedAddress)
	})
	t.Run("cancelled", func(t *testing.T) {
		f := fetcher(t, Config{AllowNet: loopback})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := f.Fetch(ctx, server.URL+"/never?k=secret")
		if !errors.Is(err, context.Canceled) || errors.As(err, new(*Error)) || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v; want the cancellation", err)
		}
	})
	t.Run("the caller's deadline", func(t *testing.T) {
		f := fetcher(t, Config{AllowNet: loopback})
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err := f.Fetch(ctx, server.URL+"/never")
		wantReason(t, err, Timeout)
	})
}

func TestSchemes(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a.jpg": "", "a/b:c://d": "", `C:\a.jpg`: "", "c://a": "", "1a://b": "", "a:b": "", ":": "", "://": "", "ab:": "", "http:/a": "",
		"http://a": "http", "HTTP://": "http", "DATA:x": "data", "a+b.c-1://": "a+b.c-1", "é://a": "", "@b://": "", "[a://": "",
	} {
		if got := schemeOf(in); got != want {
			t.Errorf("the scheme of %q is %q; want %q", in, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"a/b?c.jpg": "a/b?c.jpg",
		"https://me:pw@example.org/a.jpg?X-Signature=abc#f": "https://example.org/a.jpg?...",
		"http://example.org/a.jpg":                          "http://example.org/a.jpg",
		"http://me:pw@exa mple/a?b=c":                       "http://exa mple/a?...",
		"data:image/png;base64,AAAA":                        "data:...",
		" https://me:pw@example.org/a.jpg?sig=abc":          " https://example.org/a.jpg?...", // a path, but nearly a URL
		"https:/me:pw@example.org/a.jpg?sig=abc d#e":        "https:/example.org/a.jpg?...",
		"C:/a b/c.jpg":                      "C:/a b/c.jpg",
		"https://example.org/%zz?sig=abc d": "https://example.org/%zz?...",
		"s3://key@bucket/a":                 "s3://bucket/a",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestReasons(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r] || Explain(r) == "" {
			t.Errorf("reason %q is there twice or unexplained", r)
		}
		seen[r] = true
	}
	if Explain("no-such-reason") != "" || Reason("no-such-reason").Temporary() {
		t.Error("an unknown reason is explained")
	}
}
