package pipelines

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/pipelines/store"
)

// Prediction is what a run is likely to take, by a sample of its rows.
type Prediction struct {
	Rows    int64   `json:"rows"`
	Exact   bool    `json:"exact"`   // Rows is counted, not estimated from the listing's size
	Sampled int     `json:"sampled"` // rows
	Rejects float64 `json:"rejects"` // share of the sample
	Fresh   float64 `json:"fresh"`   // share of rows whose image is not one of those before, and so costs something
	Hosts   int     `json:"hosts"`   // of the sample's images

	Latency float64 `json:"latency_seconds"` // of an image over the network; 0 for local ones
	Decode  float64 `json:"decode_seconds"`  // of a worker, for an image
	Infer   float64 `json:"infer_seconds"`

	Seconds     float64 `json:"seconds"`      // of the run
	Binds       string  `json:"binds"`        // the stage that more time would be saved in than in any other
	ImageBytes  int64   `json:"image_bytes"`  // to be fetched
	OutputBytes int64   `json:"output_bytes"` // to be written
	Memory      int64   `json:"memory"`       // bytes of the process at its peak
}

// Predict looks at about sample rows, drawn by seed from the whole listing, as Score would, and says what all of them
// will take with the same configuration on this machine. It writes nothing, but for a while to the temporary folder.
// Images over the network are taken to come as fast as the sample's did; how many come at one time follows from the
// limits of fetch.Config and the number of hosts in the sample. cfg.Started hears of the sample as of a run.
func Predict(ctx context.Context, cfg ScoreConfig, sample int, seed uint64) (Prediction, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return Prediction{}, err
	}
	defer bound(cfg.Memory)()
	c, err := classifier.Load(ctx, cfg.Model, cfg.Config)
	if err != nil {
		return Prediction{}, err
	}
	chunks, err := listing.Plan(ctx, cfg.Listing, cfg.Options)
	if err != nil {
		return Prediction{}, err
	}
	run, err := cfg.describe(ctx, chunks, c)
	if err != nil {
		return Prediction{}, err
	}
	s, err := newScorer(ctx, cfg.scoring("", run), c)
	if err != nil {
		return Prediction{}, err
	}
	defer s.close()
	return s.predict(ctx, chunks, sample, seed, cfg.Started)
}

// A run of so many rows or more begins with a sample of so many, for at most so long, and says at its end how right it was.
const (
	predictedFrom = 20_000
	quickSample   = 256
	quickTime     = 10 * time.Second
)

// predictQuickly says what a run will take; 0 if it is short, or its sample takes too long. What the sample finds out is
// remembered for the run.
func (s *scorer) predictQuickly(ctx context.Context, chunks []listing.Chunk) time.Duration {
	if rows, _ := listing.Rows(chunks); rows < predictedFrom {
		return 0
	}
	ctx, stop := context.WithTimeout(ctx, quickTime)
	defer stop()
	p, err := s.predict(ctx, chunks, quickSample, 1, nil)
	if err != nil { // the run itself will meet what is wrong, and say it better
		return 0
	}
	return time.Duration(p.Seconds * float64(time.Second))
}

// perRow is what a row takes beside its image, in seconds of a core: reading it, Beam, and writing its answer.
const perRow = 1e-6

// warmUp is how many of a sample's rows are not timed.
const warmUp = 8

// sample draws about n rows, and says what their images' names are relative to.
func (s *scorer) sample(ctx context.Context, chunks []listing.Chunk, n int, seed uint64) (root string, rows []listing.Row, err error) {
	root = cmp.Or(s.Images.Root, chunks[0].Root())
	if s.Images.Root != "" || !slices.ContainsFunc(chunks, func(c listing.Chunk) bool { return c.Root() != root }) {
		rows, err = listing.Sample(ctx, chunks, n, seed)
		return root, rows, err
	}
	all, _ := listing.Rows(chunks) // files of several folders: some rows of each
	for len(chunks) > 0 {
		k := slices.IndexFunc(chunks, func(c listing.Chunk) bool { return c.Root() != chunks[0].Root() })
		if k < 0 {
			k = len(chunks)
		}
		have, _ := listing.Rows(chunks[:k])
		some, err := listing.Sample(ctx, chunks[:k], int(1+int64(n)*have/max(all, 1)), seed)
		if err != nil {
			return "", nil, err
		}
		for i, r := range some {
			if !strings.Contains(r.Image, "://") && !filepath.IsAbs(r.Image) {
				some[i].Image = store.Join(chunks[0].Root(), filepath.ToSlash(r.Image))
			}
		}
		rows = append(rows, some...)
		chunks = chunks[k:]
	}
	return "", rows, nil
}

// predict scores a sample of the chunks' rows. started, if not nil, is told where that can be watched.
func (s *scorer) predict(ctx context.Context, chunks []listing.Chunk, sample int, seed uint64, started func(*monitor.Monitor)) (p Prediction, err error) {
	root, rows, err := s.sample(ctx, chunks, sample+warmUp, seed)
	if err != nil {
		return p, err
	}
	p.Rows, p.Exact = listing.Rows(chunks)
	if len(rows) == 0 {
		return p, nil
	}
	seen := map[string]bool{}
	watching := s.monitor
	defer func() { s.monitor = watching }()
	s.monitor = nil
	if len(rows) > 2*warmUp {
		if _, err := s.score(ctx, root, listing.PostsOf(rows[:warmUp]...)); err != nil {
			return p, err
		}
		for _, r := range rows[:warmUp] {
			seen[r.Image] = true
		}
		rows = rows[warmUp:]
	}
	s.monitor = monitor.New(int64(len(rows)), true, 1)
	if started != nil {
		started(s.monitor)
	}
	before, began := s.fetcher.Stats(), time.Now()
	outcomes, err := s.score(ctx, root, listing.PostsOf(rows...))
	if err != nil {
		return p, err
	}
	elapsed, fetched := time.Since(began).Seconds(), s.fetcher.Stats()
	n := float64(len(rows))
	p.Sampled = len(rows)
	for _, o := range outcomes {
		if o.reject != nil {
			p.Rejects += 1 / n
		}
	}
	hosts := map[string]bool{}
	warm := len(seen)
	different := map[string]bool{}
	for _, r := range rows {
		seen[r.Image], different[r.Image] = true, true
		if u, err := url.Parse(r.Image); err == nil && u.Host != "" {
			hosts[u.Host] = true
		}
	}
	p.Fresh = 1
	if !s.Repeats {
		p.Fresh = fresh(len(rows), len(different), p.Rows)
	}
	p.Hosts = len(hosts)
	images := float64(max(len(seen)-warm, 1)) // that were worked on
	if s.Repeats {
		images = n
	}
	for _, t := range s.monitor.Snapshot().Stages {
		switch t.Stage {
		case monitor.Decode:
			p.Decode = float64(t.Busy) / images
		case monitor.Infer:
			p.Infer = float64(t.Busy) / images
		}
	}
	toDo := p.Fresh * float64(p.Rows)
	p.ImageBytes = int64(float64(fetched.Bytes-before.Bytes) / images * toDo)

	cores := float64(s.Workers)
	p.Binds = monitor.Decode.String()
	if p.Infer > p.Decode {
		p.Binds = monitor.Infer.String()
	}
	perImage := (p.Decode + p.Infer) / cores
	if waited := s.networkSeconds(&p, fetched); waited > perImage {
		perImage, p.Binds = waited, monitor.Fetch.String()
	} else if len(hosts) == 0 && elapsed/images > 2*perImage { // a disk that is slower than the processor
		perImage, p.Binds = elapsed/images, monitor.Fetch.String()
	}
	p.Seconds = toDo*perImage + float64(p.Rows)*perRow/cores
	p.Memory = min(inUse()+besides, s.Memory)
	p.OutputBytes, err = s.outputBytes(ctx, rows, outcomes, p.Rows, int64(len(chunks)))
	return p, err
}

// fresh is the share of rows whose image is none of those before, if a sample of n of them has so many different images. Were
// all images as frequent, u different ones would give u(1 - exp(-n/u)) in a sample of n: that is solved for u.
func fresh(n, different int, rows int64) float64 {
	if different >= n || rows <= int64(n) {
		return float64(different) / float64(max(n, 1))
	}
	expected := func(u, n float64) float64 { return -u * math.Expm1(-n/u) }
	low, high := float64(different), float64(n)*float64(n)
	for range 60 {
		if u := (low + high) / 2; expected(u, float64(n)) < float64(different) {
			low = u
		} else {
			high = u
		}
	}
	return expected(low, float64(rows)) / float64(rows)
}

// networkSeconds is what an image of the listing takes when the network alone binds.
func (s *scorer) networkSeconds(p *Prediction, got fetch.Stats) float64 {
	var seconds, requests float64
	for _, h := range got.Hosts {
		seconds += h.Mean.Seconds() * float64(h.Requests)
		requests += float64(h.Requests)
	}
	if requests == 0 || p.Hosts == 0 {
		return 0
	}
	p.Latency = seconds / requests
	f, d := s.Images.Fetch, fetch.DefaultConfig()
	atOnce := float64(min(cmp.Or(f.Connections, d.Connections), cmp.Or(f.HostConnections, d.HostConnections)*p.Hosts))
	perImage := p.Latency / atOnce
	if f.HostRate > 0 {
		perImage = max(perImage, 1/(f.HostRate*float64(p.Hosts)))
	}
	return perImage
}

// outputBytes is the size of the parts for all rows, by those of a part with the sample's rows and of one without any.
func (s *scorer) outputBytes(ctx context.Context, rows []listing.Row, outcomes []outcome, all, chunks int64) (int64, error) {
	size := func(n int) (total int64, err error) {
		dir, err := os.MkdirTemp("", "logobeam-plan-*")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		if _, err := s.write(ctx, dir, scores.Piece{Chunk: strings.Repeat("0", 32)}, listing.PostsOf(rows[:n]...), outcomes[:n]); err != nil {
			return 0, fmt.Errorf("trying how large the output will be: %w", err)
		}
		at, err := store.At(ctx, dir)
		if err != nil {
			return 0, err
		}
		files, err := at.List(ctx, ".")
		for _, f := range files {
			total += f.Size
		}
		return total, err
	}
	with, err := size(len(rows))
	if err != nil {
		return 0, err
	}
	without, err := size(0)
	return chunks*without + all*(with-without)/int64(max(len(rows), 1)), err
}
