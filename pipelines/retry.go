package pipelines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// Retry tries again what a finished Score has rejected for a reason that may have passed, with the model and the
// options that it had, and moves what succeeds to the scores. cfg.Out names the output; what changes results is taken
// from its manifest, all but the model's place, which cfg.Model may name anew, and the rest from cfg, without
// MaxRejects. An interrupted Retry goes on where it was; until it is finished there is no _SUCCESS. Without anything to
// try again it does nothing.
func Retry(ctx context.Context, cfg ScoreConfig) (Summary, error) {
	m, err := scores.ReadManifest(ctx, cfg.Out)
	if err != nil {
		return Summary{}, err
	}
	if cfg, err = cfg.like(m.Run); err != nil {
		return Summary{}, fmt.Errorf("%s: %w", cfg.Out, err)
	}
	began := time.Now()
	defer bound(cfg.Memory)()
	c, err := classifier.Load(ctx, cfg.Model, cfg.Config)
	if err != nil {
		return Summary{}, err
	}
	if c.Model.Hash() != m.Run.ModelHash {
		return Summary{}, fmt.Errorf("%s was scored by the model %s, hash %.8s, and %s is another, hash %.8s: name the folder of that one with --model",
			cfg.Out, m.Run.Model, m.Run.ModelHash, cmp.Or(cfg.Model, "the built-in one"), c.Model.Hash())
	}
	retry, err := scores.BeginRetry(ctx, cfg.Out)
	if errors.Is(err, scores.ErrNothingToRetry) {
		return Summary{Manifest: m, Already: true}, nil
	}
	if err != nil {
		return Summary{}, err
	}
	defer retry.Close()
	chunks, rows, parts := retry.Chunks(), int64(0), []string(nil)
	for _, d := range chunks {
		if d.File < 0 || d.File >= len(m.Run.Files) {
			return Summary{}, fmt.Errorf("%s: its manifest has no file %d of the listing: score again into another folder", cfg.Out, d.File)
		}
		rows += d.Rejected
		parts = append(parts, d.Next(retry.Round()).Chunk)
	}
	if cfg, _, err = cfg.absolute(nil); err != nil {
		return Summary{}, err
	}
	var roots []string
	for _, f := range m.Run.Files {
		roots = append(roots, f.Root)
	}
	r := cfg.begin(ctx, rows, true, len(chunks))
	defer r.end()
	scoring := cfg.scoring(r.name(cfg.platform()), m.Run)
	if cfg.local() {
		if _, err := r.prepare(scoring, c); err != nil {
			return Summary{}, err
		}
	}
	dealt := func(root beam.Scope) beam.PCollection { return beam.CreateList(root, chunks) }
	try := &RetryChunkFn{ChunkFn: ChunkFn{Scoring: scoring}, Round: retry.Round(), Roots: roots}
	commit := &CommitRetryFn{Run: scoring.Run, Out: cfg.Out}
	if err := r.execute(cfg.platform(), newPartCount(cfg.Out, parts, r.monitor), func() *beam.Pipeline { return pipeline(dealt, try, commit) }); err != nil {
		return Summary{}, err
	}
	m, err = cfg.finished(ctx)
	return Summary{Manifest: m, Elapsed: time.Since(began)}, err
}

// like takes over what changes results from a run.
func (cfg ScoreConfig) like(run scores.Run) (ScoreConfig, error) {
	cfg.Listing, cfg.Options.Keep, cfg.After, cfg.MaxRejects = run.Listing, run.Keep, nil, nil // rows that were rejected once are no measure
	if cfg.Model == "" && run.Model != builtIn {
		cfg.Model = run.Model
	}
	o := run.Options
	var err error
	if cfg.Config, err = configOf(run); err != nil {
		return cfg, fmt.Errorf("its manifest has %w", err)
	}
	cfg.Images.Root = o["root"]
	l := &cfg.Images.Limits
	l.Truncated = o["truncated"] == "score"
	for name, to := range map[string]*int64{"max-bytes": &l.Bytes, "max-pixels": &l.Pixels, "max-memory": &l.Memory} {
		v, err := strconv.ParseInt(o[name], 10, 64)
		if err != nil {
			return cfg, fmt.Errorf("its manifest has no --%s that can be read: %w", name, err)
		}
		*to = v
	}
	return cfg.complete()
}

// RetryChunkFn tries the rejects of parts again, each into a part of its own.
type RetryChunkFn struct {
	ChunkFn
	Round int      // from 1
	Roots []string // of the listing's files
}

// ProcessElement begins a chunk, as soon as there is room for it among those under way.
func (f *RetryChunkFn) ProcessElement(ctx context.Context, d scores.Done, _ func(int, scores.Done)) error {
	return f.bundle.begin(ctx, d.Rejected, func(ctx context.Context, run *running) (scores.Done, error) { return f.retry(ctx, run, d) })
}

// retry makes the round's part of a chunk, unless it is there already. Rejects that would only fail again are carried over.
func (f *RetryChunkFn) retry(ctx context.Context, run *running, d scores.Done) (scores.Done, error) {
	piece := d.Next(f.Round)
	return f.scorer.part(ctx, run, piece, func() (*listing.Posts, []outcome, error) {
		before, err := d.ReadRejects(ctx, f.Out)
		if err != nil {
			return nil, nil, err
		}
		rows := new(listing.Posts)
		outcomes := make([]outcome, len(before))
		var again []int
		for i, b := range before {
			rows.Add(listing.Row{PostID: b.PostID, Image: b.Image, Kept: b.Kept})
			if b.Retryable {
				again = append(again, i)
			} else {
				outcomes[i] = carried(b.Reject)
				f.scorer.monitor.Count(0, 1, 0, 0)
			}
		}
		err = f.scorer.about(ctx, f.Roots[d.File], rows, again, outcomes)
		return rows, outcomes, err
	})
}

// CommitRetryFn ends a round once every chunk has reported.
type CommitRetryFn struct{ Run, Out string }

// ProcessElement is called once, with the records of all chunks under one key.
func (f *CommitRetryFn) ProcessElement(ctx context.Context, _ int, next func(*scores.Done) bool) error {
	ctx, run, leave := enter(ctx, f.Run)
	defer leave()
	_, err := scores.CommitRetry(ctx, f.Out, all(next))
	return run.fail(err)
}

// carried is the outcome that a reject tells of.
func carried(r scores.Reject) outcome {
	for _, stage := range monitor.Stages() {
		if stage.String() == r.Stage {
			return rejected(stage, r.Reason, r.Detail, r.Retryable)
		}
	}
	return rejected(monitor.Listing, r.Reason, r.Detail, r.Retryable) // of a version that had other stages
}

func init() {
	register.DoFn3x1[context.Context, scores.Done, func(int, scores.Done), error](&RetryChunkFn{})
	register.DoFn3x1[context.Context, int, func(*scores.Done) bool, error](&CommitRetryFn{})
}
