package pipelines

import (
	"cmp"
	"context"
	"fmt"
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
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow"
	//lint:ignore SA1019 Beam has deprecated the direct runner, but people may ask for it by name
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
	_ "github.com/logobeam/logobeam/pipelines/user" // or Beam does not start
)

// Runners are those that ScoreConfig.Runner and TrainConfig.Runner can name. Two work in this process: prism is Beam's own local runner, direct
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
		return nil, fmt.Errorf("making a temporary folder: %w: name one in TMPDIR that may be written to", err)
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
// the run's context, which Beam does not hand on, can be watched, and has its error returned as it is, not as Beam
// prints it. A DoFn in another process finds nil, and the methods do nothing.
type running struct {
	id       string
	ctx      context.Context
	cancel   context.CancelCauseFunc
	monitor  *monitor.Monitor
	logger   *slog.Logger
	forget   func()        // the scorer
	beam     chan struct{} // closed when Beam has ended, and the chunks that it began; nil if it was not begun
	chunks   *sync.Cond    // when underWay is 0; shards of a training are chunks here
	underWay int
	learnt   func(epoch, images int) error // hears what a training has just learnt from
	watched  sync.WaitGroup
}

var (
	runs    sync.Map // by name: *running
	lastRun atomic.Int64
)

// newRun makes a run, which has to be ended.
func newRun(ctx context.Context, log *slog.Logger) *running {
	r := &running{id: strconv.FormatInt(lastRun.Add(1), 10), logger: log, forget: func() {}, chunks: sync.NewCond(new(sync.Mutex))}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	runs.Store(r.id, r)
	return r
}

// begin makes a run that is watched and kept within its bounds.
func (cfg ScoreConfig) begin(ctx context.Context, rows int64, exact bool, chunks int) *running {
	r := newRun(ctx, cfg.Log)
	r.monitor = monitor.New(rows, exact, chunks)
	if cfg.Started != nil {
		cfg.Started(r.monitor)
	}
	if cfg.Log != nil {
		r.watched.Go(func() { r.monitor.Watch(r.ctx, cfg.Log, watchEvery, cfg.Images.stuckAfter()) })
	}
	r.watched.Go(func() { r.police(cfg.Deadline, cfg.MaxRejects) })
	return r
}

const watchEvery = 5 * time.Second

// stuckAfter is the age at which a photograph under way is worth a word: what one may take by its limits, and a little more.
func (i Images) stuckAfter() time.Duration {
	return cmp.Or(i.Fetch.Timeout, fetch.DefaultConfig().Timeout) + i.Limits.Time + 10*time.Second
}

// name is what DoFns find the run by. Those of a runner elsewhere are not to find it, even if they happen to work in this
// process: such a run is watched by what it leaves.
func (r *running) name(on platform) string {
	if on.local() {
		return r.id
	}
	return ""
}

// prepare makes the scorer that the chunks of the run find in this process.
func (r *running) prepare(of Scoring, c *classifier.Classifier) (*scorer, error) {
	s, err := newScorer(r.ctx, of, c)
	if err != nil {
		return nil, err
	}
	r.forget = s.keep(of)
	s.watchedBy(r.monitor)
	return s, nil
}

// police ends the run at its deadline, and when it has plainly too many rejects.
func (r *running) police(deadline time.Time, maxRejects *float64) {
	late := make(<-chan time.Time)
	if !deadline.IsZero() {
		late = time.After(time.Until(deadline))
	}
	for look := time.NewTicker(200 * time.Millisecond); ; {
		select {
		case <-r.ctx.Done():
			look.Stop()
			return
		case <-late:
			r.cancel(ErrDeadline)
		case <-look.C:
			if maxRejects != nil && r.monitor.Tripped(*maxRejects) {
				r.cancel(ErrRejects)
			}
		}
	}
}

// end lets go of the run, once nobody works for it any more.
func (r *running) end() {
	r.cancel(nil)
	r.watched.Wait()
	done := func() { runs.Delete(r.id); r.forget() }
	if r.beam == nil {
		done()
		return
	}
	select {
	case <-r.beam:
		done()
	default: // what Beam still hands out after the end of the run has to find that out
		go func() { <-r.beam; done() }()
	}
}

// platform is where the work of a command is done.
type platform struct {
	command string // begins errors
	runner  string // one of Runners
	flink   Flink
}

// local says that the work is done in this process.
func (on platform) local() bool { return slices.Contains(LocalRunners(), on.runner) }

// execute runs a pipeline to its end, or to that of the run. parts, if there are any, show how far it is elsewhere.
func (r *running) execute(on platform, parts *partCount, build func() *beam.Pipeline) error {
	select {
	case oneRun <- struct{}{}:
		defer func() { <-oneRun }()
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	startBeam()
	remove, err := ownTemporaryFolder()
	if err != nil {
		return err
	}
	defer remove()
	defer keepSettings()()
	if on.local() {
		return r.here(on.runner, build)
	}
	return r.elsewhere(on, parts, build())
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

// here runs a pipeline in this process.
func (r *running) here(runner string, build func() *beam.Pipeline) error {
	*jobopts.Endpoint, *jobopts.EnvironmentType, *jobopts.WorkerBinary = prismAt, "loopback", ""
	defer func() { prismAt = *jobopts.Endpoint }()
	finished := make(chan error, 1)
	r.beam = make(chan struct{})
	go func() {
		defer close(r.beam)
		_, err := beam.Run(context.WithoutCancel(r.ctx), runner, build())
		r.quiet() // a bundle that has failed is not finished, and its other chunks end by themselves
		finished <- err
	}()
	select {
	case err := <-finished:
		if err == nil || r.ctx.Err() == nil {
			return err
		}
	case <-r.ctx.Done():
		select { // the chunks under way end by themselves, and the pipeline with them
		case <-finished:
		case <-time.After(time.Second):
		}
	}
	return context.Cause(r.ctx)
}

// enter gives a DoFn the context to work under, and the run it is part of if that is one of this process. It is left
// when the DoFn returns.
func enter(ctx context.Context, id string) (context.Context, *running, func()) {
	found, ok := runs.Load(id)
	if !ok {
		return ctx, nil, func() {}
	}
	r := found.(*running)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.ctx, func() { cancel(context.Cause(r.ctx)) })
	return ctx, r, func() { stop(); cancel(nil) }
}

// chunk counts the chunks under way.
func (r *running) chunk(n int) {
	if r == nil {
		return
	}
	r.chunks.L.Lock()
	defer r.chunks.L.Unlock()
	if r.underWay += n; r.underWay == 0 {
		r.chunks.Broadcast()
	}
}

// quiet waits until no chunk is under way.
func (r *running) quiet() {
	r.chunks.L.Lock()
	defer r.chunks.L.Unlock()
	for r.underWay > 0 {
		r.chunks.Wait()
	}
}

// log tells what was done: those who watch the run, or the runner's log.
func (r *running) log(ctx context.Context, message string, args ...any) {
	switch {
	case r == nil:
		log.Info(ctx, append([]any{message}, args...)...)
	case r.logger != nil:
		r.logger.InfoContext(ctx, message, args...)
	}
}

// fail ends the run with its first error, and returns err.
func (r *running) fail(err error) error {
	if r != nil && err != nil {
		r.cancel(err)
	}
	return err
}

// Beam's counters have the names of the monitor's figures.
var (
	scoredRows   = beam.NewCounter(counterSpace, monitor.Counter(monitor.RowsTotal, "scored"))
	rejectedRows = beam.NewCounter(counterSpace, monitor.Counter(monitor.RowsTotal, "rejected"))
	skippedRows  = beam.NewCounter(counterSpace, monitor.Counter(monitor.RowsTotal, "skipped"))
	chunksDone   = beam.NewCounter(counterSpace, monitor.Counter(monitor.ChunksNow, "done"))
)

const counterSpace = "logobeam"

// count tells Beam what is in a part.
func count(ctx context.Context, d scores.Done) {
	scoredRows.Inc(ctx, d.Scored)
	rejectedRows.Inc(ctx, d.Rejected)
	skippedRows.Inc(ctx, d.Skipped)
	chunksDone.Inc(ctx, 1)
}
