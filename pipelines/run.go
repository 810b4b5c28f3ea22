package pipelines

import (
	"context"
	"log"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
)

// Runners are those that ScoreConfig.Runner can name: both work in this process. prism is Beam's own local runner, direct
// the older one it replaces.
func Runners() []string { return []string{"prism", "direct"} }

// oneRun keeps runs of this process from each other: Beam's options, like what hush changes, are the process's.
var oneRun = make(chan struct{}, 1)

// hush readies Beam, and keeps it from two habits until the returned function is called. It logs at length what is returned as an
// error anyway, and what a run that is interrupted by intention has to end like. And it leaves an empty file in the temporary
// folder for each run, in place of a worker's binary that nobody needs, as the worker is this process.
func hush() (restore func(), err error) {
	logger, output, flags := slog.Default(), log.Writer(), log.Flags()
	temporary, set := os.LookupEnv("TMPDIR")
	dir, err := os.MkdirTemp("", "logobeam-*")
	if err != nil {
		return nil, err
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return nil, err
	}
	if !beam.Initialized() {
		beam.Init()
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	return func() {
		slog.SetDefault(logger)
		log.SetOutput(output) // which slog.SetDefault redirects
		log.SetFlags(flags)
		if set {
			os.Setenv("TMPDIR", temporary)
		} else {
			os.Unsetenv("TMPDIR")
		}
		os.RemoveAll(dir)
	}, nil
}

// running is a run of this process. A DoFn that works in the same process finds it by its name, so that it can end with the run's
// context, which Beam does not hand on, report its progress, and return its error as it is, not as Beam prints it. Its methods
// do nothing on nil, as in another process.
type running struct {
	ctx  context.Context
	show func(Progress)

	rows, done, rejected atomic.Int64

	mutex sync.Mutex
	err   error // the first of a DoFn
}

var (
	runs    sync.Map // by name: *running
	lastRun atomic.Int64
)

// run runs a pipeline to its end, or to ctx's.
func (cfg ScoreConfig) run(ctx context.Context, rows int64, build func(id string) *beam.Pipeline) error {
	select {
	case oneRun <- struct{}{}:
		defer func() { <-oneRun }()
	case <-ctx.Done():
		return ctx.Err()
	}
	restore, err := hush()
	if err != nil {
		return err
	}
	defer restore()
	r := &running{ctx: ctx, show: cfg.Progress}
	r.rows.Store(rows)
	id := strconv.FormatInt(lastRun.Add(1), 10)
	runs.Store(id, r)
	defer runs.Delete(id)

	finished := make(chan error, 1)
	go func() {
		_, err := beam.Run(context.WithoutCancel(ctx), cfg.Runner, build(id))
		finished <- err
	}()
	select {
	case err := <-finished:
		if first := r.failure(); first != nil {
			return first
		}
		return err
	case <-ctx.Done():
	}
	select { // the chunks under way end by themselves, and the pipeline with them
	case <-finished:
	case <-time.After(time.Second):
	}
	return ctx.Err()
}

// enter gives a DoFn the context to work under, and the run it is part of if that is one of this process. It is left when the
// DoFn returns.
func enter(ctx context.Context, id string) (context.Context, *running, func()) {
	found, ok := runs.Load(id)
	if !ok {
		return ctx, nil, func() {}
	}
	r := found.(*running)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.ctx, cancel)
	return ctx, r, func() { stop(); cancel() }
}

// add counts finished rows.
func (r *running) add(rows, rejected int64) {
	if r == nil {
		return
	}
	p := Progress{Rows: r.rows.Load(), Done: r.done.Add(rows), Rejected: r.rejected.Add(rejected)}
	if r.show != nil {
		r.show(p)
	}
}

// fail keeps the first error, and returns err.
func (r *running) fail(err error) error {
	if r == nil || err == nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.err == nil {
		r.err = err
	}
	return err
}

func (r *running) failure() error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.err
}
