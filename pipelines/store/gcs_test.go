package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/logobeam/logobeam/pipelines/store/storetest"
)

func TestBucket(t *testing.T) {
	storetest.Bucket(t, nil)
	conform(t, func(t *testing.T) string { return "gs://bucket/" + t.Name() })
}

// open is a store in the bucket, with little patience.
func open(t *testing.T, prefix string, stall, patience time.Duration) bucket {
	t.Helper()
	b, rest, err := inBucket("gs://bucket/" + prefix)
	if err != nil {
		t.Fatal(err)
	}
	if b.client, err = newClient(os.Getenv("STORAGE_EMULATOR_HOST"), stall, patience); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.gcs.Close() })
	b.prefix = rest
	return b
}

// operations are all that asks the server, on a file that is there as "old" and has 100 bytes.
func operations(t *testing.T, b bucket, old File) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Stat":  func(ctx context.Context) error { _, err := b.Stat(ctx, "old"); return err },
		"Open":  func(ctx context.Context) error { _, err := b.Open(ctx, "old"); return err },
		"List":  func(ctx context.Context) error { _, err := b.List(ctx, "."); return err },
		"Empty": func(ctx context.Context) error { _, err := b.Empty(ctx); return err },
		"Glob":  func(ctx context.Context) error { _, _, err := b.children(ctx, ".", ""); return err },
		"Range": func(ctx context.Context) error {
			r, err := old.Range(ctx, 0, 100)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.ReadAll(r)
			return err
		},
		"Commit": func(ctx context.Context) error {
			w, err := b.Create(ctx, rand.Text())
			if err != nil {
				t.Error(err)
			}
			if _, err := w.Write(make([]byte, 100)); err != nil {
				t.Error(err)
			}
			return w.Commit()
		},
		"Put":    func(ctx context.Context) error { return b.Put(ctx, "new", make([]byte, 100)) },
		"Remove": func(ctx context.Context) error { return b.Remove(ctx, "gone") },
	}
}

// A server that does not answer, or stops in the middle of an answer, holds nothing up: once, and the request is
// repeated; always, and the operation ends.
func TestSilentServer(t *testing.T) {
	for _, halfway := range []bool{false, true} {
		for _, always := range []bool{false, true} {
			t.Run(fmt.Sprintf("halfway %v, always %v", halfway, always), func(t *testing.T) {
				var silent atomic.Bool
				storetest.Bucket(t, func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if !silent.Load() {
							h.ServeHTTP(w, r)
							return
						}
						silent.Store(always)
						if halfway {
							answer := httptest.NewRecorder()
							h.ServeHTTP(answer, r)
							for k, v := range answer.Header() {
								w.Header()[k] = v
							}
							w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
							w.WriteHeader(answer.Code)
							w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
							w.(http.Flusher).Flush()
						} else {
							io.Copy(io.Discard, r.Body) // else the server does not see that the client has left
						}
						<-r.Context().Done()
					})
				})
				b := open(t, "", 30*time.Millisecond, 400*time.Millisecond)
				put(t, b, "old", strings.Repeat("x", 100))
				old, err := b.Open(t.Context(), "old")
				if err != nil {
					t.Fatal(err)
				}
				silent.Store(true)
				var all sync.WaitGroup
				for name, do := range operations(t, b, old) {
					if !always {
						silent.Store(true)
						if err := do(t.Context()); err != nil {
							t.Errorf("%s: %v", name, err)
						}
					} else if name != "Remove" || !halfway { // which waits for no more than the head of the answer
						all.Go(func() {
							err := do(t.Context())
							if err == nil || errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "gs://bucket/") || !strings.Contains(err.Error(), "given up after 400ms") {
								t.Errorf("%s: %v", name, err)
							}
						})
					}
				}
				all.Wait()
			})
		}
	}
}

// A deadline of the caller's ends it sooner.
func TestDeadline(t *testing.T) {
	var silent atomic.Bool
	storetest.Bucket(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if silent.Load() {
				http.Error(w, "not now", http.StatusServiceUnavailable)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	b := open(t, "", time.Minute, time.Minute)
	put(t, b, "old", strings.Repeat("x", 100))
	old, err := b.Open(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	for name, do := range operations(t, b, old) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		wantErr(t, name, do(ctx), context.DeadlineExceeded)
		cancel()
	}
}

// What the service refuses, as it says so.
func TestRefusals(t *testing.T) {
	answer := func(code int, message string) string {
		return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"errors":[{"message":%q,"domain":"global","reason":"x"}]}}`, code, message, message)
	}
	for _, tt := range []struct {
		code    int
		body    string
		is      error
		mention string
	}{
		{403, answer(403, "me@example.com does not have storage.objects.get access"), fs.ErrPermission, "roles/storage.objectUser"},
		{401, answer(401, "Invalid Credentials"), fs.ErrPermission, "gcloud auth application-default login"},
		{404, answer(404, "The specified bucket does not exist."), fs.ErrNotExist, "the bucket does not exist"},
		{400, "<html>\n" + strings.Repeat("words ", 1000), nil, "the server answers 400 Bad Request"},
	} {
		t.Run(fmt.Sprint(tt.code), func(t *testing.T) {
			var refuse atomic.Bool
			storetest.Bucket(t, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !refuse.Load() {
						h.ServeHTTP(w, r)
						return
					}
					w.WriteHeader(tt.code)
					io.WriteString(w, tt.body)
				})
			})
			b := open(t, "folder/", time.Minute, time.Minute)
			put(t, b, "old", strings.Repeat("x", 100))
			old, err := b.Open(t.Context(), "old")
			if err != nil {
				t.Fatal(err)
			}
			refuse.Store(true)
			for name, do := range operations(t, b, old) {
				if tt.code == 404 && (name == "Range" || name == "Remove") {
					continue // then the file is gone
				}
				err := do(t.Context())
				switch {
				case err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.mention):
					t.Errorf("%s: %v; want %v, %q", name, err, tt.is, tt.mention)
				case !strings.HasPrefix(err.Error(), "gs://bucket/folder/") || strings.Contains(err.Error(), "http") || len(err.Error()) > 500:
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func TestNoCredentials(t *testing.T) {
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
	_, err := At(t.Context(), "gs://bucket/folder")
	if err == nil || !strings.Contains(err.Error(), "gcloud auth application-default login") || !strings.Contains(err.Error(), "gs://bucket/folder") {
		t.Error(err)
	}
}

// A server that is not there, or fails all the time: the error says so, in all that is asked of it.
func TestNoServer(t *testing.T) {
	var down atomic.Bool
	storetest.Bucket(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !down.Load() {
				h.ServeHTTP(w, r)
				return
			}
			http.Error(w, "not now", http.StatusServiceUnavailable)
		})
	})
	b := open(t, "", time.Minute, 150*time.Millisecond)
	put(t, b, "old", strings.Repeat("x", 100))
	old, err := b.Open(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	for name, do := range operations(t, b, old) {
		err := do(t.Context())
		if err == nil || !strings.Contains(err.Error(), "given up after 150ms") || !strings.HasSuffix(err.Error(), "the server answers 503 Service Unavailable") {
			t.Errorf("%s: %v", name, err)
		}
	}
	web := httptest.NewServer(nil)
	web.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", web.Listener.Addr().String())
	b = open(t, "", time.Minute, 150*time.Millisecond)
	if _, err := b.Stat(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "http") {
		t.Error(err)
	}
	if err := b.Put(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "http") {
		t.Error(err)
	}
}

// The first answer to a write is lost: what is there then is one's own. What another has put there is not, even if it is the same.
func TestLostAnswer(t *testing.T) {
	var lose atomic.Bool
	storetest.Bucket(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if lose.CompareAndSwap(true, false) {
				h.ServeHTTP(httptest.NewRecorder(), r)
				reset(w)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	s, err := At(t.Context(), "gs://bucket")
	if err != nil {
		t.Fatal(err)
	}
	lose.Store(true)
	if err := create(t, s, "f", []byte("x")); err != nil || lose.Load() {
		t.Error(err)
	}
	lose.Store(true)
	wantErr(t, "another's", create(t, s, "f", []byte("x")), fs.ErrExist)
}

// A byte that was changed on its way is noticed where a whole file is read.
func TestDamagedOnItsWay(t *testing.T) {
	storetest.Bucket(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			for k, v := range answer.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(answer.Code)
			w.Write(bytes.Replace(answer.Body.Bytes(), []byte("content"), []byte("c0ntent"), 1))
		})
	})
	s, err := At(t.Context(), "gs://bucket")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "f", "content")
	if data, err := fs.ReadFile(FS(t.Context(), s), "f"); err == nil || !strings.Contains(err.Error(), "CRC") {
		t.Errorf("%q, %v", data, err)
	}
}

// Objects that others have made: markers of folders, names with empty parts, content that is called packed, more than
// one page of them.
func TestObjectsOfOthers(t *testing.T) {
	fake, _ := storetest.Bucket(t, nil)
	object := func(name, encoding string, data []byte) {
		fake.CreateObject(fakestorage.Object{ObjectAttrs: fakestorage.ObjectAttrs{BucketName: "bucket", Name: name, ContentEncoding: encoding}, Content: data})
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, "content")
	z.Close()
	object("a/", "", nil)
	object("a/b/", "", nil)
	object("a/f", "gzip", packed.Bytes())
	object("a//g", "", []byte("g"))
	object("/h", "", []byte("h"))
	s, err := At(t.Context(), "gs://bucket/a/")
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, s, "."); got != "/g f" {
		t.Errorf("files: %s", got)
	}
	if got := read(t, s, "f"); got != packed.String() {
		t.Errorf("unpacked: %q", got)
	}
	for location, want := range map[string]string{"gs://bucket/a//g": "g", "gs://bucket//h": "h"} {
		f, err := OpenFile(t.Context(), location)
		if err != nil {
			t.Error(err)
			continue
		}
		p := make([]byte, 1)
		if _, err := f.ReadAt(p, 0); err != nil || string(p) != want {
			t.Errorf("%s: %q, %v", location, p, err)
		}
	}
	if _, err := OpenFile(t.Context(), "gs://bucket/a/"); err == nil {
		t.Error("a folder was opened")
	}
}

func TestPages(t *testing.T) {
	var pages atomic.Int64
	storetest.Bucket(t, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Has("prefix") {
				pages.Add(1)
				q.Set("maxResults", "3")
				r.URL.RawQuery = q.Encode()
			}
			h.ServeHTTP(w, r)
		})
	})
	s, err := At(t.Context(), "gs://bucket/many")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		put(t, s, fmt.Sprint(i), "")
	}
	// Four of them to list the files, and one to see whether there are any.
	if got := names(t, s, "."); got != "0 1 2 3 4 5 6 7 8 9" || pages.Load() != 5 {
		t.Errorf("files: %s in %d pages", got, pages.Load())
	}
}

func TestWholeBucket(t *testing.T) {
	storetest.Bucket(t, nil)
	s, err := At(t.Context(), "gs://bucket")
	if err != nil {
		t.Fatal(err)
	}
	testList(t, s)
}

// TestFailingServer is all of it again with a server that fails every second request.
func TestFailingServer(t *testing.T) {
	f := &failing{}
	storetest.Bucket(t, func(h http.Handler) http.Handler { f.Handler = h; return f })
	conform(t, func(t *testing.T) string { return "gs://bucket/" + t.Name() })
	t.Cleanup(func() { t.Logf("%d of %d requests failed", f.failed.Load(), f.all.Load()) })
}

// failing is a server in front of another that fails half of all requests, each in a way that follows from the request and
// how often it has come.
type failing struct {
	http.Handler
	all, failed atomic.Int64
	mu          sync.Mutex
	seen        map[string]int
}

func (f *failing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.all.Add(1)
	key := fmt.Sprint(r.Method, r.URL.Path, r.URL.Query().Get("name"), r.Header.Get("Range"))
	f.mu.Lock()
	if f.seen == nil {
		f.seen = map[string]int{}
	}
	f.seen[key]++
	h := fnv.New32a()
	fmt.Fprint(h, key, f.seen[key])
	f.mu.Unlock()
	lot := h.Sum32() >> 8 % 12
	if lot < 6 {
		f.failed.Add(1)
	}
	switch lot {
	case 0:
		http.Error(w, "overloaded", http.StatusServiceUnavailable)
	case 1:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case 2: // the connection breaks before anything is done
		reset(w)
	case 3: // it breaks while the request is on its way
		io.CopyN(io.Discard, r.Body, max(r.ContentLength, 2)/2)
		reset(w)
	case 4: // all is done, and the answer is lost
		f.Handler.ServeHTTP(httptest.NewRecorder(), r)
		reset(w)
	case 5: // all is done, and half of the answer is lost
		answer := httptest.NewRecorder()
		f.Handler.ServeHTTP(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		panic(http.ErrAbortHandler)
	default:
		f.Handler.ServeHTTP(w, r)
	}
}

// reset breaks the connection off.
func reset(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}
