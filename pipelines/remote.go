package pipelines

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/hooks"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/pipelines/store"
)

// lookEvery is how often a job elsewhere is looked after.
const lookEvery = time.Second

// elsewhere has another machine's runner run a pipeline. What becomes of it is known by asking, and by the parts in the
// output: a DoFn in another process cannot tell.
func (r *running) elsewhere(on platform, parts *partCount, p *beam.Pipeline) error {
	if !jobopts.IsLoopback() { // workers tell the runner, whose logs people look at, what Beam logs there
		if err := hooks.EnableHook(harness.DefaultRemoteLoggingHook); err != nil {
			return err
		}
		defer hooks.DisableHook(harness.DefaultRemoteLoggingHook)
	}
	if *jobopts.JobName == "" {
		*jobopts.JobName = time.Now().UTC().Format("logobeam-20060102-150405")
	}
	parts.begin(r.ctx)
	defer func() { parts.count(context.WithoutCancel(r.ctx)) }()
	if on.runner == "dataflow" {
		return on.runDataflow(r.ctx, p, parts)
	}
	return on.runPortable(r.ctx, p, parts)
}

func (cfg ScoreConfig) platform() platform { return platform{"score", cfg.Runner, cfg.Flink} }
func (cfg ScoreConfig) local() bool        { return cfg.platform().local() }

// absolute names what workers elsewhere read and write in a way that does not depend on the folder in which this process
// runs. For local runners it changes nothing.
func (cfg ScoreConfig) absolute(chunks []listing.Chunk) (ScoreConfig, []listing.Chunk, error) {
	if cfg.local() {
		return cfg, chunks, nil
	}
	chunks, cfg.After = slices.Clone(chunks), slices.Clone(cfg.After)
	places := []*string{&cfg.Out, &cfg.Model, &cfg.Images.Root}
	for i := range chunks {
		places = append(places, &chunks[i].Source)
	}
	for i := range cfg.After {
		places = append(places, &cfg.After[i])
	}
	return cfg, chunks, absolute(places...)
}

// absolute makes local paths absolute.
func absolute(places ...*string) error {
	for _, p := range places {
		if *p == "" || store.IsRemote(*p) {
			continue
		}
		path, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = path
	}
	return nil
}

// runDataflow has Google's Dataflow run the pipeline, to its end or to ctx's.
func (on platform) runDataflow(ctx context.Context, p *beam.Pipeline, parts *partCount) error {
	if *jobopts.WorkerBinary == "" { // Beam would compile one
		if runtime.GOOS != "linux" {
			return fmt.Errorf("%s: Dataflow's workers run on Linux: name this program, built for that, with --worker_binary", on.command)
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		*jobopts.WorkerBinary = self
	}
	name := *jobopts.JobName
	finished := make(chan error, 1)
	go func() {
		_, err := beam.Run(context.WithoutCancel(ctx), on.runner, p)
		finished <- err
	}()
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		select {
		case err := <-finished:
			if err != nil {
				return fmt.Errorf("%s: the job %s on Dataflow: %w", on.command, name, err)
			}
			return nil
		case <-ctx.Done():
			return &RunsOnError{name, context.Cause(ctx), "`gcloud dataflow jobs cancel` ends it, by the id that `gcloud dataflow jobs list` gives it"}
		case <-every.C:
			parts.look(ctx)
		}
	}
}

// RunsOnError says that the run has ended, and a job elsewhere that works for it perhaps has not.
type RunsOnError struct {
	Job string
	Err error // why the run has ended
	Why string
}

func (e *RunsOnError) Error() string {
	return fmt.Sprintf("%v; the job %s may run on: %s", e.Err, e.Job, e.Why)
}
func (e *RunsOnError) Unwrap() error { return e.Err }

// partCount shows how far a run elsewhere is by the parts that are there. Methods of a nil one do nothing.
type partCount struct {
	out     string
	to      *monitor.Monitor
	missing map[string]bool // parts that have not been seen
	begun   bool            // this run may have made those that appear
	next    time.Time       // not to be looked before
}

func newPartCount(out string, parts []string, to *monitor.Monitor) *partCount {
	c := &partCount{out: out, to: to, missing: map[string]bool{}}
	for _, part := range parts {
		c.missing[part] = true
	}
	return c
}

// begin counts what an earlier run has made.
func (c *partCount) begin(ctx context.Context) {
	if c != nil {
		c.count(ctx)
		c.begun = true
	}
}

// look counts, unless that would take a large part of the time: a bucket's thousands of parts are listed at a price.
func (c *partCount) look(ctx context.Context) {
	if c == nil {
		return
	}
	if began := time.Now(); began.After(c.next) {
		c.count(ctx)
		c.next = began.Add(30 * time.Since(began))
	}
}

// count looks for parts and shows what there is. It does not fail: the work does not depend on it.
func (c *partCount) count(ctx context.Context) {
	if c == nil {
		return
	}
	out, err := store.At(ctx, c.out)
	if err != nil {
		return
	}
	files, err := out.List(ctx, "scores")
	if err != nil {
		return
	}
	for _, f := range files {
		part := strings.TrimSuffix(strings.TrimPrefix(path.Base(f.Name), "part-"), ".parquet")
		if !c.missing[part] {
			continue
		}
		d, ok, err := scores.ReadPart(ctx, c.out, part)
		if err != nil || !ok {
			continue
		}
		delete(c.missing, part)
		if !c.begun {
			c.to.ChunkFound(d.Scored, d.Rejected, d.Skipped)
			continue
		}
		c.to.ChunkBegan(part, d.Index)
		c.to.ChunkDone(part)
		c.to.Count(d.Scored, d.Rejected, d.Skipped, 0)
	}
}
