// Package serve answers HTTP with what a model sees in a photograph, for trying the model from a browser, a script or another
// program:
//
//	c, err := classifier.Load(ctx, "my-model", classifier.Config{})
//	s, err := serve.New(c, serve.DefaultConfig())
//	defer s.Close()
//	err = s.Serve(ctx, listener) // until ctx ends and the last answer is given
//
//	POST /          a photograph as the body, or as the field "image" of a form (multipart/form-data)
//	GET  /?url=...  a photograph by its http(s) URL
//	GET  /          a page with both as forms
//	GET  /metrics   for Prometheus, as a run's: a photograph is a row
//	GET  /healthz   200
//
// The answer is JSON, an [Answer] or a [Fault], or a page for who accepts text/html. It is what the same bytes are given by
// any other way of running the model, to the last bit: photographs are decoded each for itself, and then wait a few
// milliseconds for others that are on their way, since a batch costs less than its images one by one.
//
// Photographs come from strangers. A request is bounded in bytes, in pixels, in memory and in time; when as many are under way
// as there is room for, others are told to come again (503, Retry-After). URLs go through the guard of package fetch. There
// is no password and no TLS: the address should be of a private network, or behind a server that has them.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/transforms"
)

// Config says what requests may cost.
type Config struct {
	Limits  transforms.Limits // of a photograph; Bytes is above 0
	Fetch   fetch.Config      // how URLs are fetched; MaxBytes is that of Limits
	Top     int               // classes in an answer, at least 1
	Room    int               // requests under way, at least 1; together they hold at most 8 of the largest files
	Window  time.Duration     // that a photograph waits for others that are on their way
	Reading time.Duration     // for a request to come in
	Answer  time.Duration     // for its answer, waiting included
}

// DefaultConfig has the limits of transforms and of fetch, 5 classes, room for 64 requests, 15 seconds for one to come in and
// a minute for its answer. robots.txt is not asked for: it is a person who wants these images, as with a browser.
func DefaultConfig() Config {
	f := fetch.DefaultConfig()
	f.IgnoreRobots = true
	return Config{Limits: transforms.DefaultLimits(), Fetch: f, Top: 5, Room: 64,
		Window: 5 * time.Millisecond, Reading: 15 * time.Second, Answer: time.Minute}
}

// Answer is what a model says of a photograph.
type Answer struct {
	classifier.Guess
	Top    []classifier.Guess `json:"top"`    // Guess, and then the likeliest others
	Frames int                `json:"frames"` // of the file, of which the first was looked at
	Model  string             `json:"model"`  // its hash
}

// Fault is why there is no Answer, in the words of the rejects of a run.
type Fault struct {
	Status    int    `json:"-"`     // of HTTP
	Stage     string `json:"stage"` // fetch, decode or infer
	Reason    string `json:"reason"`
	Detail    string `json:"detail"`
	Retryable bool   `json:"retryable"`

	at monitor.Stage
}

// Reasons beside those of fetch and transforms.
const (
	ReasonBadRequest = "bad-request"  // it holds no photograph, or is not one that is answered here
	ReasonBusy       = "busy"         // there is no room, or the answer would take too long
	ReasonPanic      = "panic"        // as in a run
	ReasonNoNumber   = "not-a-number" // as in a run
)

func fault(status int, at monitor.Stage, reason, format string, args ...any) *Fault {
	return &Fault{Status: status, Stage: at.String(), Reason: reason, Detail: fmt.Sprintf(format, args...), at: at,
		Retryable: status == http.StatusServiceUnavailable}
}

// Error gives the stage, the reason and the detail in one line.
func (f *Fault) Error() string { return f.Stage + ": " + f.Reason + ": " + f.Detail }

// Server classifies what it is sent. New makes one.
type Server struct {
	*classifier.Classifier
	cfg      Config
	hash     string // of the model
	fetcher  *fetch.Fetcher
	monitor  *monitor.Monitor
	room     chan struct{}       // a place for each request under way
	files    *semaphore.Weighted // bytes of files, and of what the network will see of them
	decoding *semaphore.Weighted // bytes
	most     int64               // of them
	decoded  chan *job
	ended    chan struct{} // closed when nothing is inferred any more
	stop     func()
}

// job is a decoded photograph that waits for the network.
type job struct {
	pixels [][]float32 // of each view
	answer chan answer // has room for one
}

type answer struct {
	probs []float32
	fault *Fault
}

// New makes a Server of a model, which has to be closed.
func New(c *classifier.Classifier, cfg Config) (*Server, error) {
	if cfg.Top < 1 || cfg.Room < 1 || cfg.Limits.Bytes < 1 {
		return nil, errors.New("serve: want at least one class in an answer, room for one request, and a byte of a file")
	}
	room, err := c.Engine.Workspace(max(c.Engine.Batch()/len(c.Views), 1) * len(c.Views))
	if err != nil {
		return nil, err
	}
	infer.Spread(room, runtime.GOMAXPROCS(0))
	cfg.Fetch.MaxBytes = cfg.Limits.Bytes
	f, err := fetch.New(cfg.Fetch)
	if err != nil {
		return nil, err
	}
	s := &Server{Classifier: c, cfg: cfg, hash: c.Model.Hash(), fetcher: f, monitor: monitor.New(0, false, 0), room: make(chan struct{}, cfg.Room),
		decoded: make(chan *job), ended: make(chan struct{})}
	s.files = semaphore.NewWeighted(8 * s.weight(cfg.Limits.Bytes))
	s.most = max(2*cfg.Limits.Memory, 1)
	s.decoding = semaphore.NewWeighted(s.most)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.ended)
		s.work(ctx, room)
	}()
	return s, nil
}

// Close ends what is under way and leaves no goroutine.
func (s *Server) Close() {
	s.stop()
	<-s.ended
	s.fetcher.Close()
}

// Serve answers at a listener, which it closes, until ctx ends; then it takes no more requests and returns when those under way
// have their answers.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: min(5*time.Second, s.cfg.Reading),
		ReadTimeout:       s.cfg.Reading,
		WriteTimeout:      s.cfg.Reading + s.cfg.Answer + 10*time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10, // a URL is at most half of it
	}
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), server.WriteTimeout)
		defer cancel()
		ended <- server.Shutdown(patience)
	})
	err := server.Serve(l)
	if stop() {
		return fmt.Errorf("no longer listening: %w", err)
	}
	return errors.Join(<-ended, server.Close())
}

// weight is what a request holds until its answer: its file, and what the network will see of it.
func (s *Server) weight(bytes int64) int64 {
	return bytes + int64(4*s.Engine.Input().Size()*len(s.Views))
}

// look says what the model sees in a file.
func (s *Server) look(ctx context.Context, task monitor.Task, data []byte) (a *Answer, f *Fault) {
	defer func() { // a fault in one photograph's way must not take the others with it
		if r := recover(); r != nil {
			a, f = nil, fault(http.StatusInternalServerError, monitor.Decode, ReasonPanic, "%v", r)
		}
	}()
	task.Enter(monitor.Decode)
	header, err := transforms.Inspect(data, s.cfg.Limits)
	j := &job{answer: make(chan answer, 1)}
	if err == nil {
		j.pixels, err = s.decode(ctx, data, header)
	}
	var e *transforms.Error
	switch {
	case errors.As(err, &e):
		return nil, fault(statusOf(e.Reason), monitor.Decode, string(e.Reason), "%s", e.Explain())
	case ctx.Err() != nil:
		return nil, late(monitor.Decode)
	case err != nil:
		return nil, fault(http.StatusInternalServerError, monitor.Decode, ReasonPanic, "%v", err)
	}
	task.Enter(monitor.Infer)
	select {
	case s.decoded <- j:
	case <-ctx.Done():
		return nil, late(monitor.Infer)
	case <-s.ended:
		return nil, late(monitor.Infer)
	}
	select {
	case got := <-j.answer:
		if got.fault != nil {
			return nil, got.fault
		}
		top := s.Top(got.probs, s.cfg.Top)
		return &Answer{Guess: top[0], Top: top, Frames: header.Frames, Model: s.hash}, nil
	case <-ctx.Done():
		return nil, late(monitor.Infer)
	}
}

func late(at monitor.Stage) *Fault {
	return fault(http.StatusServiceUnavailable, at, ReasonBusy, "there was no answer in time")
}

// decode makes the network's inputs of a file, when there is memory and a processor for it.
func (s *Server) decode(ctx context.Context, data []byte, header transforms.Header) ([][]float32, error) {
	// As many at one time as there are processors; one that takes more than there is for all of them is decoded alone.
	weight := min(max(header.Memory, s.most/int64(runtime.GOMAXPROCS(0)), 1), s.most)
	if err := s.decoding.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	defer s.decoding.Release(weight)
	began := time.Now()
	defer func() { s.monitor.Spent(monitor.Decode, time.Since(began), 1, int64(len(data))) }()
	pixels := make([][]float32, len(s.Views))
	for i := range pixels {
		pixels[i] = make([]float32, s.Engine.Input().Size())
	}
	return pixels, transforms.Tensors(s.Views, data, transforms.Key{Epoch: -1}, s.cfg.Limits, func(i int) []float32 { return pixels[i] })
}

// work runs the network on batches of what is decoded until ctx ends. A photograph that is alone in the house waits for nobody.
func (s *Server) work(ctx context.Context, room infer.Workspace) {
	size := room.Batch() / len(s.Views)
	for {
		var batch []*job
		select {
		case j := <-s.decoded:
			batch = append(batch, j)
		case <-ctx.Done():
			return
		}
		window := time.NewTimer(s.cfg.Window)
		for waiting := true; waiting && len(batch) < min(size, len(s.room)); {
			select {
			case j := <-s.decoded:
				batch = append(batch, j)
			case <-window.C:
				waiting = false
			}
		}
		window.Stop()
		s.infer(room, batch)
	}
}

// infer runs the network on a batch and answers.
func (s *Server) infer(room infer.Workspace, batch []*job) {
	began := time.Now()
	answered := 0
	defer func() { // a goroutine that panics would take the process with it
		if r := recover(); r != nil {
			for _, j := range batch[answered:] {
				j.answer <- answer{fault: fault(http.StatusInternalServerError, monitor.Infer, ReasonPanic, "%v", r)}
			}
		}
		s.monitor.Spent(monitor.Infer, time.Since(began), int64(len(batch)), 0)
	}()
	for i, j := range batch {
		for v, pixels := range j.pixels {
			copy(room.Input(i*len(s.Views)+v), pixels)
		}
	}
	classes := len(s.Classes())
	logits, err := room.Run(len(batch) * len(s.Views))
	if err != nil {
		panic(err) // an accelerator's, which fails from then on
	}
	probs := append([]float32(nil), logits...) // they outlive the workspace's next batch
	infer.Softmax(probs, classes)
	probs = s.Pool(probs)
	for i, j := range batch {
		row := probs[i*classes : (i+1)*classes]
		a := answer{probs: row}
		if _, x := s.Answer(row); !(x >= 0 && x <= 1) {
			a = answer{fault: fault(http.StatusInternalServerError, monitor.Infer, ReasonNoNumber, "the network's answer is no probability")}
		}
		answered = i + 1
		j.answer <- a
	}
}

// statusOf is the status of HTTP for what is wrong with a picture.
func statusOf(r transforms.Reason) int {
	switch r {
	case transforms.ReasonEmpty:
		return http.StatusBadRequest
	case transforms.ReasonTooManyBytes, transforms.ReasonTooManyPixels, transforms.ReasonTooMuchMemory:
		return http.StatusRequestEntityTooLarge
	case transforms.ReasonNotAnImage, transforms.ReasonHTML, transforms.ReasonSVG, transforms.ReasonPDF, transforms.ReasonVideo,
		transforms.ReasonAVIF, transforms.ReasonHEIC, transforms.ReasonUnsupportedFormat, transforms.ReasonUnsupportedFeature:
		return http.StatusUnsupportedMediaType
	case transforms.ReasonDecodeTimeout:
		return http.StatusServiceUnavailable
	case transforms.ReasonDecoderPanic:
		return http.StatusInternalServerError
	}
	return http.StatusUnprocessableEntity // the bytes are those of an image, and broken
}
