package monitor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Serve shows m, which is not nil, over HTTP until ctx ends:
//
//	/              a status page for people
//	/status.json   the Snapshot
//	/metrics       for Prometheus
//	/healthz       200, or 503 when nothing was finished for longer than the watchdog's limit
//	/debug/pprof/  profiles of the process
//
// addr is a host and a port, as "127.0.0.1:8080"; ":8080" is that port on all of the machine's addresses, and port 0 a free
// one: bound says which. There is no password, and what is shown names posts, images and hosts: the address should be of a
// private network. URLs are shown without passwords and queries.
//
// The error is for an address that cannot be listened at. wait returns when ctx has ended and nothing of the server is left,
// within a second or so.
func Serve(ctx context.Context, addr string, m *Monitor, log *slog.Logger) (bound net.Addr, wait func(), err error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, fmt.Errorf("the status page cannot be served at %s: %w: choose another address or port", addr, err)
	}
	server := &http.Server{
		Handler:           m.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx }, // ends profiles that are being taken
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a profile of a minute fits in
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(patience) != nil {
			server.Close()
		}
	})
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); err != http.ErrServerClosed {
			log.WarnContext(ctx, "the status page is served no more", "error", err)
			if stop() {
				close(ended)
			}
		}
	}()
	return listener.Addr(), func() { <-served; <-ended }, nil
}

func (m *Monitor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", m.servePage)
	mux.HandleFunc("GET /page.json", func(w http.ResponseWriter, _ *http.Request) { s := m.Snapshot(); serveJSON(w, s.page()) })
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, _ *http.Request) { serveJSON(w, m.Snapshot()) })
	mux.Handle("GET /metrics", m.Metrics())
	mux.HandleFunc("GET /healthz", m.serveHealth)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// Metrics shows m, which is not nil, and the process to Prometheus.
func (m *Monitor) Metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{m}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

func (m *Monitor) servePage(w http.ResponseWriter, _ *http.Request) {
	s, nonce := m.Snapshot(), rand.Text()
	w.Header().Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; "+
		"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce, nonce))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = pageTemplate.Execute(w, struct { // an error is the reader's who has gone
		Page  page
		Nonce string
	}{s.page(), nonce})
}

func serveJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error is the reader's who has gone
}

func (m *Monitor) serveHealth(w http.ResponseWriter, _ *http.Request) {
	idle, stuck := m.stuck()
	if stuck {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, "nothing was finished for %v\n", idle.Round(time.Second))
		return
	}
	io.WriteString(w, "ok\n")
}
