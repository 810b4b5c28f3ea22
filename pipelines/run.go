package pipelines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	runtime "runtime"
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
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow"
	//lint:ignore SA1019 Beam has deprecated the direct runner, but people may ask for it by name
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/pipelines/store"
)

// Runners are those that ScoreConfig.Runner can name. Two work in this process: prism is Beam's own local runner, direct
// the older one it replaces. flink and universal hand the work to a job service of Beam (portable.go), dataflow to Google's
// Dataflow, and both want settings that Beam has flags for.
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
	cfg, chunks, err = cfg.absolute(chunks)
	if err != nil {
		return err
	}
	if !jobopts.IsLoopback() { // workers tell the runner, whose logs people look at, what Beam logs there
		if err := hooks.EnableHook(harness.DefaultRemoteLoggingHook); err != nil {
			return err
		}
		defer hooks.DisableHook(harness.DefaultRemoteLoggingHook)
	}
	if *jobopts.JobName == "" {
		*jobopts.JobName = time.Now().UTC().Format("logobeam-20060102-150405")
	}
	tick := cfg.counting(run, chunks)
	defer func() { tick(context.WithoutCancel(ctx)) }()
	if cfg.Runner == "dataflow" {
		return cfg.runDataflow(ctx, cfg.pipeline("", chunks, run), tick)
	}
	return cfg.runPortable(ctx, cfg.pipeline("", chunks, run), tick)
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

// runDataflow has Google's Dataflow run the pipeline, to its end or to ctx's.
func (cfg ScoreConfig) runDataflow(ctx context.Context, p *beam.Pipeline, tick func(context.Context)) error {
	if *jobopts.WorkerBinary == "" { // Beam would compile one
		if runtime.GOOS != "linux" {
			return errors.New("score: Dataflow's workers run on Linux: name this program, built for that, with --worker_binary")
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		*jobopts.WorkerBinary = self
	}
	finished := make(chan error, 1)
	go func() {
		_, err := beam.Run(context.WithoutCancel(ctx), cfg.Runner, p)
		finished <- err
	}()
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		select {
		case err := <-finished:
			if err != nil {
				return fmt.Errorf("score: the job %s on Dataflow: %w", *jobopts.JobName, err)
			}
			return nil
		case <-ctx.Done():
			return &RunsOnError{*jobopts.JobName, ctx.Err(), "`gcloud dataflow jobs cancel` ends it, by the id that `gcloud dataflow jobs list` gives it"}
		case <-every.C:
			tick(ctx)
		}
	}
}

// absolute names what workers read and write in a way that does not depend on the folder in which this process runs.
func (cfg ScoreConfig) absolute(chunks []listing.Chunk) (ScoreConfig, []listing.Chunk, error) {
	chunks = slices.Clone(chunks)
	places := []*string{&cfg.Out, &cfg.Model, &cfg.Images.Root}
	for i := range chunks {
		places = append(places, &chunks[i].Source)
	}
	for _, p := range places {
		if *p == "" || strings.Contains(*p, "://") {
			continue
		}
		path, err := filepath.Abs(*p)
		if err != nil {
			return cfg, nil, err
		}
		*p = path
	}
	return cfg, chunks, nil
}

// counting gives a function that shows how far a run elsewhere is by the parts that are there. It does not fail: the work
// does not depend on it.
func (cfg ScoreConfig) counting(run scores.Run, chunks []listing.Chunk) (tick func(context.Context)) {
	if cfg.Progress == nil {
		return func(context.Context) {}
	}
	missing := map[string]int64{} // rows of the chunks whose parts have not been seen
	for _, c := range chunks {
		missing[partName(c, run.ModelHash, run.Options)] = c.Rows
	}
	p := Progress{Rows: run.Rows}
	return func(ctx context.Context) {
		out, err := store.At(ctx, cfg.Out)
		if err != nil {
			return
		}
		files, err := out.List(ctx, "scores")
		if err != nil {
			return
		}
		for _, f := range files {
			chunk := strings.TrimSuffix(strings.TrimPrefix(path.Base(f.Name), "part-"), ".parquet")
			rows, ok := missing[chunk]
			if !ok {
				continue
			}
			if d, ok, err := scores.ReadPart(cfg.Out, chunk, rows); err == nil && ok {
				delete(missing, chunk)
				p.Done += d.Scored + d.Rejected
				p.Rejected += d.Rejected
			}
		}
		cfg.Progress(p)
	}
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
