// Package pipelines holds the program's Beam pipeline, Score, which is this file:
//
//	summary, err := pipelines.Score(ctx, pipelines.ScoreConfig{Listing: "posts.csv", Out: "scored"})
//
// It reads a listing of posts, gets each photograph, classifies it, and writes post_id, brand and probability to
// Parquet. What crosses a stage of Beam is a chunk of the listing or a small record of one, never a row or a
// photograph. What happens inside a chunk is scorechunk.go, what can be asked for scoreconfig.go, and how Beam is run
// run.go.
package pipelines

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// Summary is what a run did.
type Summary struct {
	scores.Manifest
	Already bool          `json:"already"` // the output was finished before, and nothing was done
	Elapsed time.Duration `json:"-"`       // 0 if nothing was done
}

// Score classifies the photographs of a listing. A second run on a finished output does nothing; one on an unfinished
// output does what is missing. When ctx ends, Score returns its error within about a second: what is finished stays,
// nothing half written has a final name, and the same call goes on from there.
func Score(ctx context.Context, cfg ScoreConfig) (Summary, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return Summary{}, err
	}
	began := time.Now()
	forget(cfg.Model, cfg.Precision) // since an earlier run of this process it may have been trained anew
	c, err := share(cfg.Model, cfg.Precision)
	if err != nil {
		return Summary{}, err
	}
	chunks, err := listing.Plan(ctx, cfg.Listing, cfg.Options)
	if err != nil {
		return Summary{}, err
	}
	run := cfg.describe(chunks, c.hash, c.Plan.Precision())
	out, err := scores.Open(cfg.Out, cfg.Program, run)
	if err != nil {
		return Summary{}, err
	}
	defer out.Close()
	if out.Finished() {
		return Summary{Manifest: out.Manifest(), Already: true}, nil
	}
	err = cfg.execute(ctx, run, chunks)
	if err != nil {
		return Summary{}, err
	}
	// A runner's word that all went well is not enough: the files decide.
	m, ok, err := scores.Finished(cfg.Out)
	if err == nil && !ok {
		err = fmt.Errorf("score: the runner %s ended without finishing %s: score again", cfg.Runner, cfg.Out)
	}
	if err != nil {
		return Summary{}, err
	}
	return Summary{Manifest: m, Elapsed: time.Since(began)}, nil
}

// pipeline is the whole of it: chunks are dealt out, scored into parts of their own, and the records of what was done
// gathered for the commit.
func (cfg ScoreConfig) pipeline(id string, chunks []listing.Chunk, run scores.Run) *beam.Pipeline {
	p, s := beam.NewPipelineWithRoot()
	dealt := beam.Reshuffle(s, beam.CreateList(s, chunks))
	done := beam.ParDo(s, &ScoreChunkFn{
		Run: id, Out: cfg.Out, Model: cfg.Model, Precision: cfg.Precision, ModelHash: run.ModelHash, Options: run.Options,
		Images: cfg.Images, Workers: cfg.Workers, Batch: cfg.Batch, Memory: cfg.Memory,
	}, dealt)
	beam.ParDo0(s, &CommitFn{Run: id, Out: cfg.Out}, beam.GroupByKey(s, done))
	return p
}

// CommitFn ends the run once every chunk has reported.
type CommitFn struct{ Run, Out string }

// ProcessElement is called once, with the records of all chunks under one key.
func (f *CommitFn) ProcessElement(ctx context.Context, _ int, next func(*scores.Done) bool) error {
	_, run, leave := enter(ctx, f.Run)
	defer leave()
	var chunks []scores.Done
	for d := (scores.Done{}); next(&d); d = (scores.Done{}) {
		chunks = append(chunks, d)
	}
	_, err := scores.Commit(f.Out, chunks)
	return run.fail(err)
}

func init() {
	register.DoFn3x1[context.Context, listing.Chunk, func(int, scores.Done), error](&ScoreChunkFn{})
	register.DoFn3x1[context.Context, int, func(*scores.Done) bool, error](&CommitFn{})
	register.Emitter2[int, scores.Done]()
	register.Iter1[scores.Done]()
}
