package pipelines

import (
	"cmp"
	"context"
	stdlog "log"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/hooks"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	//lint:ignore SA1019 Beam has deprecated the direct runner, but people may ask for it by name
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// Runners are those that ScoreConfig.Runner can name. Two work in this process: prism is Beam's own local runner, direct
// the older one it replaces. The others work elsewhere (remote.go): flink and universal through a job service of Beam,
// dataflow on Google's Dataflow. They want settings, for which Beam has flags.
func Runners() []string { return []string{"prism", "direct", "flink", "dataflow", "universal"} }

// LocalRunners are those of Runners that work in this process.
func LocalRunners() []string { return Runners()[:2] }

// startBeam readies Beam, which can be done once a process, and drops its log lines: Beam logs at length what is
// returned as an error anyway, and how an interrupted run ends. What others log goes where it went before.
var startBeam = sync.OnceFunc(func() {
	log.SetLogger(silence{})
	hooks.DisableHook(harness.DefaultRemoteLoggingHook) // which would set another
	former, out, flags := slog.Default(), stdlog.Writer(), stdlog.Flags()
	if !beam.Initialized() {
		beam.Init() // and sets the default logger
	}
	slog.SetDefault(slog.New(exceptBeam{former.Handler()})) // and turns package log to it, which former may write to
	stdlog.SetOutput(out)
	stdlog.SetFlags(flags)
})

// silence is what Beam's SDK logs to, which does not log by slog directly.
type silence struct{}

func (silence) Log(context.Context, log.Severity, int, string) {}

// exceptBeam is a handler that drops what Beam's packages log.
type exceptBeam struct{ slog.Handler }

func (h exceptBeam) Handle(ctx context.Context, r slog.Record) error {
	from, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
	if strings.HasPrefix(from.Function, "github.com/apache/beam/") {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h exceptBeam) WithAttrs(attrs []slog.Attr) slog.Handler {
	return exceptBeam{h.Handler.WithAttrs(attrs)}
}

func (h exceptBeam) WithGroup(name string) slog.Handler {
	return exceptBeam{h.Handler.WithGroup(name)}
}

// oneRun keeps runs of this process from each other: Beam's options, like the temporary folder, are the process's.
var oneRun = make(chan struct{}, 1)

// ownTemporaryFolder gives the process a temporary folder of its own until remove is called. For each run Beam leaves
// an empty file there, in place of a worker's binary that nobody needs, as the worker is this process.
func ownTemporaryFolder() (remove func(), err error) {
	former, set := os.LookupEnv("TMPDIR")
	dir, err := os.MkdirTemp("", "logobeam-*")
	if err != nil {
		return nil, err
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return nil, err
	}
	return func() {
		if set {
			os.Setenv("TMPDIR", former)
		} else {
			os.Unsetenv("TMPDIR")
		}
		os.RemoveAll(dir)
	}, nil
}

// running is a run of this process. A DoFn that works in the same process finds it by its name, so that it ends with
// the run's context, which Beam does not hand on, reports its progress, and has its error returned as it is, not as
// Beam prints it. A DoFn in another process finds nil, and the methods do nothing.
type running struct {
	ctx  context.Context
	show func(Progress)
	rows int64 // of the listing

	done, rejected atomic.Int64

	mutex sync.Mutex
	err   error // the first of a DoFn
}

var (
	runs    sync.Map // by name: *running
	lastRun atomic.Int64
)

// execute runs the pipeline over chunks to its end, or to ctx's.
func (cfg ScoreConfig) execute(ctx context.Context, run scores.Run, chunks []listing.Chunk) error {
	select {
	case oneRun <- struct{}{}:
		defer func() { <-oneRun }()
	case <-ctx.Done():
		return ctx.Err()
	}
	startBeam()
	remove, err := ownTemporaryFolder()
	if err != nil {
		return err
	}
	defer remove()
	defer keepSettings()()
	if slices.Contains(LocalRunners(), cfg.Runner) {
		return cfg.runHere(ctx, run, chunks)
	}
	return cfg.runElsewhere(ctx, run, chunks)
}

// keepSettings gives a function that sets Beam's settings, which its runners change, back to what they are now.
func keepSettings() (restore func()) {
	var all []func()
	for _, s := range []*string{jobopts.Endpoint, jobopts.JobName, jobopts.EnvironmentType, jobopts.EnvironmentConfig, jobopts.WorkerBinary} {
		was := *s
		all = append(all, func() { *s = was })
	}
	return func() {
		for _, f := range all {
			f()
		}
	}
}

// prismAt is where Beam's local runner listens, once it has been started, which it is once a process.
var prismAt string

// runHere runs the pipeline in this process.
func (cfg ScoreConfig) runHere(ctx context.Context, run scores.Run, chunks []listing.Chunk) error {
	r := &running{ctx: ctx, show: cfg.Progress, rows: run.Rows}
	id := strconv.FormatInt(lastRun.Add(1), 10)
	runs.Store(id, r)
	*jobopts.Endpoint, *jobopts.EnvironmentType, *jobopts.WorkerBinary = prismAt, "loopback", ""
	defer func() { prismAt = *jobopts.Endpoint }()

	finished := make(chan error, 1)
	go func() {
		defer runs.Delete(id) // not before: what Beam still hands out after ctx's end has to find that out
		_, err := beam.Run(context.WithoutCancel(ctx), cfg.Runner, cfg.pipeline(id, chunks, run))
		finished <- err
	}()
	select {
	case err := <-finished:
		if err == nil || ctx.Err() == nil {
			return cmp.Or(r.failure(), err)
		}
	case <-ctx.Done():
		select { // the chunks under way end by themselves, and the pipeline with them
		case <-finished:
		case <-time.After(time.Second):
		}
	}
	return ctx.Err()
}

// enter gives a DoFn the context to work under, and the run it is part of if that is one of this process. It is left
// when the DoFn returns.
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
	p := Progress{Rows: r.rows, Done: r.done.Add(rows), Rejected: r.rejected.Add(rejected)}
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
