package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/logobeam/logobeam/pipelines/fetch/hostile"
)

// sample is what is open at one moment of a run.
type sample struct {
	Seconds     float64 `json:"seconds"`
	Requests    int64   `json:"requests"`
	Connections int     `json:"connections"` // as the server sees them
	Descriptors int     `json:"descriptors"` // of the process, from /proc
	Goroutines  int     `json:"goroutines"`  // of the process, 0 without --listen
}

// fetched are the figures of the command http.
type fetched struct {
	Rows       int           `json:"rows"`
	Seconds    float64       `json:"seconds"`
	CPU        float64       `json:"cpu_seconds"`
	RowsSecond float64       `json:"rows_per_second"`
	Requests   float64       `json:"requests_per_second"`
	Peak       int64         `json:"peak_bytes"`
	Server     hostile.Stats `json:"server"`  // after the end
	Samples    []sample      `json:"samples"` // at most 20 of those taken
}

func runHTTP(ctx context.Context, cfg config, p *program, r *report) error {
	rows, err := cfg.oneRowCount(1000)
	if err != nil {
		return err
	}
	m := mix{rows: rows, faults: 0.03, slow: 0.01, distinct: true}
	if cfg.quick {
		m.hurried = true
	}
	o, err := serve(cfg, p, m, 8, "--connections=256", "--host-connections=64")
	if err != nil {
		return err
	}
	defer o.server.Close()
	args, metrics := o.to(filepath.Join(cfg.work, "out")), ""
	if p.has("--listen") {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		args, metrics = append(args, "--listen", address), "http://"+address
	}
	run, err := p.start(ctx, nil, args...)
	if err != nil {
		return err
	}
	samples := watchRun(run, o.server, metrics)
	if err := ctx.Err(); err != nil {
		return err
	}
	f, e := fetched{Rows: rows}, run.ended
	for i := 0; i < len(samples); i += len(samples)/20 + 1 {
		f.Samples = append(f.Samples, samples[i])
	}
	if err := e.failure(); err != nil {
		r.problem("%v", err)
	}
	got, err := readOutput(filepath.Join(cfg.work, "out"))
	if err != nil {
		return err
	}
	if err := o.want.check([]byte(got["manifest.json"]), rows); err != nil {
		r.problem("%v", err)
	}
	r.check("the output", ctx, p, filepath.Join(cfg.work, "out"), got, got)
	f.Server = closedBy(o.server, 5*time.Second)
	if f.Server.Connections > 0 {
		r.problem("%d connections are open after the program's end", f.Server.Connections)
	}
	s := e.Wall.Seconds()
	f.Seconds, f.CPU, f.Peak = round(s), round(e.CPU.Seconds()), e.Peak
	f.RowsSecond, f.Requests = round(float64(rows)/s), round(float64(f.Server.Requests)/s)
	for _, leak := range leaks(samples) {
		r.problem("%s", leak)
	}
	r.Runs = f
	most := peaks(samples)
	r.row("rows", "wall", "CPU", "rows/s", "requests/s", "peak MB", "connections", "descriptors", "goroutines")
	r.row(rows, f.Seconds, f.CPU, f.RowsSecond, f.Requests, f.Peak>>20, f.Server.MostConnections, most.Descriptors, most.Goroutines)
	return nil
}

// watchRun samples a run to its end, at most about two hundred times.
func watchRun(run *process, server *hostile.Server, metrics string) []sample {
	var all []sample
	every := 100 * time.Millisecond
	for {
		select {
		case <-run.done:
			return all
		case <-time.After(every):
		}
		st := server.Stats()
		s := sample{Seconds: round(time.Since(run.began).Seconds()), Requests: st.Requests, Connections: st.Connections, Descriptors: run.open()}
		if metrics != "" {
			s.Goroutines = goroutines(metrics)
		}
		all = append(all, s)
		if len(all) == 200 { // half as many, half as often
			for i := range 100 {
				all[i] = all[2*i]
			}
			all, every = all[:100], 2*every
		}
	}
}

// goroutines is the number that /metrics or, where it has none, pprof tells; 0 if neither does.
func goroutines(address string) int {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	find := func(path, prefix string) int {
		resp, err := client.Get(address + path)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(io.LimitReader(resp.Body, 4<<20))
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				n, _ := strconv.ParseFloat(rest, 64)
				return int(n)
			}
		}
		return 0
	}
	if n := find("/metrics", "go_goroutines "); n > 0 {
		return n
	}
	return find("/debug/pprof/goroutine?debug=1", "goroutine profile: total ")
}

// peaks are the most of each.
func peaks(samples []sample) (most sample) {
	for _, s := range samples {
		most.Connections = max(most.Connections, s.Connections)
		most.Descriptors = max(most.Descriptors, s.Descriptors)
		most.Goroutines = max(most.Goroutines, s.Goroutines)
	}
	return most
}

// leaks says what grew from the second quarter of a run, when all has started, to its last.
func leaks(samples []sample) []string {
	if len(samples) < 20 {
		return nil
	}
	quarter := len(samples) / 4
	early, late := peaks(samples[quarter:2*quarter]), peaks(samples[3*quarter:])
	var all []string
	grew := func(what string, before, after int) {
		if after > before+before/4+20 {
			all = append(all, fmt.Sprintf("%s grew from %d to %d", what, before, after))
		}
	}
	grew("open connections", early.Connections, late.Connections)
	grew("open descriptors", early.Descriptors, late.Descriptors)
	grew("goroutines", early.Goroutines, late.Goroutines)
	return all
}

// closedBy waits for the server's last connection to end.
func closedBy(server *hostile.Server, limit time.Duration) hostile.Stats {
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if st := server.Stats(); st.Connections == 0 || time.Now().After(end) {
			return st
		}
	}
}

// freeAddress is one that nobody listens at, for the moment.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
