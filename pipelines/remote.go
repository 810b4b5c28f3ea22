package pipelines

import (
	"context"
	"errors"
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
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/pipelines/store"
)

// lookEvery is how often a job elsewhere is looked after.
const lookEvery = time.Second

// runElsewhere has another machine's runner run the pipeline. What becomes of it is known by asking, and by the parts in the
// output: a DoFn in another process cannot tell.
func (cfg ScoreConfig) runElsewhere(ctx context.Context, run scores.Run, chunks []listing.Chunk) error {
	cfg, chunks, err := cfg.absolute(chunks)
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
	parts := cfg.countParts(run, chunks)
	defer func() { parts.count(context.WithoutCancel(ctx)) }()
	p := cfg.pipeline("", chunks, run)
	if cfg.Runner == "dataflow" {
		return cfg.runDataflow(ctx, p, parts)
	}
	return cfg.runPortable(ctx, p, parts)
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

// runDataflow has Google's Dataflow run the pipeline, to its end or to ctx's.
func (cfg ScoreConfig) runDataflow(ctx context.Context, p *beam.Pipeline, parts *partCount) error {
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
	name := *jobopts.JobName
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
				return fmt.Errorf("score: the job %s on Dataflow: %w", name, err)
			}
			return nil
		case <-ctx.Done():
			return &RunsOnError{name, ctx.Err(), "`gcloud dataflow jobs cancel` ends it, by the id that `gcloud dataflow jobs list` gives it"}
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

// partCount shows how far a run elsewhere is by the parts that are there.
type partCount struct {
	out     string
	show    func(Progress)
	missing map[string]int64 // rows of the chunks whose parts have not been seen
	seen    Progress
	next    time.Time // not to be looked before
}

func (cfg ScoreConfig) countParts(run scores.Run, chunks []listing.Chunk) *partCount {
	c := &partCount{out: cfg.Out, show: cfg.Progress, missing: map[string]int64{}, seen: Progress{Rows: run.Rows}}
	for _, chunk := range chunks {
		c.missing[partName(chunk, run.ModelHash, run.Options)] = chunk.Rows
	}
	return c
}

// look counts, unless that would take a large part of the time: a bucket's thousands of parts are listed at a price.
func (c *partCount) look(ctx context.Context) {
	if began := time.Now(); began.After(c.next) {
		c.count(ctx)
		c.next = began.Add(30 * time.Since(began))
	}
}

// count looks for parts and shows what there is. It does not fail: the work does not depend on it.
func (c *partCount) count(ctx context.Context) {
	if c.show == nil {
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
		chunk := strings.TrimSuffix(strings.TrimPrefix(path.Base(f.Name), "part-"), ".parquet")
		rows, ok := c.missing[chunk]
		if !ok {
			continue
		}
		if d, ok, err := scores.ReadPart(c.out, chunk, rows); err == nil && ok {
			delete(c.missing, chunk)
			c.seen.Done += d.Scored + d.Rejected
			c.seen.Rejected += d.Rejected
		}
	}
	c.show(c.seen)
}
