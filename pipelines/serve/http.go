package serve

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/monitor"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": func(x float32) string { return fmt.Sprintf("%.1f", 100*x) },
}).Parse(pageHTML))

// Handler answers requests, without the time limits of Serve on connections.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", s.serve)
	mux.HandleFunc("/classify", s.serve)
	mux.Handle("GET /metrics", s.monitor.Metrics())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, nil, fault(http.StatusNotFound, monitor.Fetch, ReasonBadRequest, "there is nothing here: POST / takes a photograph"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost:
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, POST")
		s.write(w, r, nil, fault(http.StatusMethodNotAllowed, monitor.Fetch, ReasonBadRequest, "%s is not answered here: POST / takes a photograph", r.Method))
		return
	case !r.URL.Query().Has("url"):
		s.page(w, http.StatusOK, nil, nil)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Reading+s.cfg.Answer)
	defer cancel()
	a, f := s.classify(ctx, w, r)
	if f != nil {
		s.monitor.Reject(f.at, f.Reason, "", "", f.Detail)
		s.monitor.Count(0, 1, 0, 0)
	} else {
		s.monitor.Count(1, 0, 0, 0)
	}
	s.write(w, r, a, f)
}

// classify answers a request that names a photograph, if there is room.
func (s *Server) classify(ctx context.Context, w http.ResponseWriter, r *http.Request) (*Answer, *Fault) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return nil, fault(http.StatusForbidden, monitor.Fetch, ReasonBadRequest, "a page of another site sends it")
	}
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	default:
		return nil, fault(http.StatusServiceUnavailable, monitor.Fetch, ReasonBusy, "%d photographs are under way", cap(s.room))
	}
	size := s.cfg.Limits.Bytes // as long as it is not known
	if r.Method == http.MethodPost && r.ContentLength >= 0 {
		if r.ContentLength > size+envelope {
			return nil, s.tooLarge()
		}
		size = min(r.ContentLength, size)
	}
	weight := s.weight(size)
	if !s.files.TryAcquire(weight) {
		return nil, fault(http.StatusServiceUnavailable, monitor.Fetch, ReasonBusy, "the photographs under way take all the memory")
	}
	defer func() { s.files.Release(weight) }()

	image := ""
	get := func() ([]byte, *Fault) { return s.body(w, r) }
	if r.Method != http.MethodPost {
		image = r.URL.Query().Get("url")
		get = func() ([]byte, *Fault) { return s.fetch(ctx, image) }
	}
	task := s.monitor.Begin(monitor.Fetch, "", image)
	defer task.End()
	began := time.Now()
	data, f := get()
	s.monitor.Spent(monitor.Fetch, time.Since(began), 1, int64(len(data)))
	if f != nil {
		return nil, f
	}
	s.files.Release(weight - s.weight(int64(len(data))))
	weight = s.weight(int64(len(data)))
	return s.look(ctx, task, data)
}

// envelope is what a form may have beside its photograph: bytes.
const envelope = 64 << 10

func (s *Server) tooLarge() *Fault {
	return fault(http.StatusRequestEntityTooLarge, monitor.Fetch, string(fetch.TooLarge), "it has more than the %d bytes that are allowed", s.cfg.Limits.Bytes)
}

// body reads the photograph that a request brings. What it is, its bytes say, and not the request's header.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, *Fault) {
	if c := r.Header.Get("Content-Encoding"); c != "" && c != "identity" {
		return nil, fault(http.StatusUnsupportedMediaType, monitor.Fetch, ReasonBadRequest, "the body is encoded: send the file as it is")
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.cfg.Limits.Bytes+envelope)
	photograph := io.Reader(r.Body)
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		form, err := r.MultipartReader()
		if err != nil {
			return nil, fault(http.StatusBadRequest, monitor.Fetch, ReasonBadRequest, "the form cannot be read: %v", err)
		}
		for {
			part, err := form.NextPart()
			if err == io.EOF {
				return nil, fault(http.StatusBadRequest, monitor.Fetch, ReasonBadRequest, "the form has no field \"image\"")
			}
			if err != nil {
				return nil, s.unread(err)
			}
			if part.FormName() == "image" {
				photograph = part
				break
			}
		}
	}
	data, err := io.ReadAll(io.LimitReader(photograph, s.cfg.Limits.Bytes+1))
	switch {
	case err != nil:
		return nil, s.unread(err)
	case int64(len(data)) > s.cfg.Limits.Bytes:
		return nil, s.tooLarge()
	}
	return data, nil
}

// unread says why a request cannot be read to its end.
func (s *Server) unread(err error) *Fault {
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault(http.StatusRequestTimeout, monitor.Fetch, string(fetch.Timeout), "it did not come whole within %v", s.cfg.Reading)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault(http.StatusBadRequest, monitor.Fetch, string(fetch.CutOff), "it ends too early")
	}
	return fault(http.StatusBadRequest, monitor.Fetch, ReasonBadRequest, "it cannot be read: %v", err)
}

// fetch gets a photograph by its URL. Files and buckets, which this process may read and who asks perhaps not, are none.
func (s *Server) fetch(ctx context.Context, image string) ([]byte, *Fault) {
	if !fetch.OnWeb(image) { // as the fetcher has it, which takes for a path what a parser of URLs does not
		return nil, fault(http.StatusBadRequest, monitor.Fetch, string(fetch.UnsupportedScheme), "want an http or https URL")
	}
	data, err := s.fetcher.Fetch(ctx, image)
	var e *fetch.Error
	switch {
	case err == nil:
		return data, nil
	case !errors.As(err, &e):
		return nil, late(monitor.Fetch)
	}
	status := http.StatusBadGateway
	switch e.Reason {
	case fetch.BadURL:
		status = http.StatusBadRequest
	case fetch.BlockedAddress:
		status = http.StatusForbidden
	case fetch.TooLarge:
		status = http.StatusRequestEntityTooLarge
	case fetch.Timeout:
		status = http.StatusGatewayTimeout
	}
	f := fault(status, monitor.Fetch, string(e.Reason), "%s", e.Detail)
	f.Retryable = e.Temporary()
	return nil, f
}

// write gives the answer or the fault, as a page to who asks for one.
func (s *Server) write(w http.ResponseWriter, r *http.Request, a *Answer, f *Fault) {
	status := http.StatusOK
	if f != nil {
		if status = f.Status; status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
	}
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.page(w, status, a, f)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	var answer any = a
	if f != nil {
		answer = f
	}
	_ = json.NewEncoder(w).Encode(answer) // an error is the reader's who has gone
}

func (s *Server) page(w http.ResponseWriter, status int, a *Answer, f *Fault) {
	nonce := rand.Text()
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pageTemplate.Execute(w, struct { // an error is the reader's who has gone
		Nonce, Arch, Precision, Hash string
		Classes                      []string
		Answer                       *Answer
		Fault                        *Fault
	}{nonce, s.Model.Network.Arch, string(s.Engine.Precision()), s.hash, s.Classes(), a, f})
}
