// Package pipelines holds the program's Beam pipelines, each on one screen. Score is the nightly one:
//
//	summary, err := pipelines.Score(ctx, pipelines.ScoreConfig{Listing: "posts.csv", Out: "scored"})
//
// It reads a listing of posts, gets each photograph, classifies it, and writes post_id, brand and probability to Parquet.
// What crosses a stage of Beam is a chunk of the listing or a small record of one, never a row or a photograph.
package pipelines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/zeebo/xxh3"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// ScoreConfig says what to score and how. Listing and Out must be given; zero fields take the values of DefaultScoreConfig.
type ScoreConfig struct {
	Listing string          // a file or a pattern
	Options listing.Options // its format, its columns, the rows of a chunk
	Out     string          // folder for what comes out
	Model   string          // folder of the model; empty for the built-in one
	Images  Images          // where photographs come from and what one may cost
	Workers int             // goroutines that fetch, decode and classify, in the whole process
	Batch   int             // photographs that a worker classifies at once
	Memory  int64           // bytes that decoding may take at one time, in the whole process
	Runner  string          // prism or direct
	Program string          // name and version for the manifest

	// Progress, if there is one, is called as rows are finished, by several goroutines. Rows of an earlier, interrupted run
	// count as finished at the start.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Rows, Done, Rejected int64
}

// Summary is what a run did.
type Summary struct {
	scores.Manifest
	Already bool          // the output was finished before, and nothing was done
	Elapsed time.Duration // 0 if nothing was done
}

// Score runs the pipeline. A second run on a finished output does nothing; one on an unfinished output does what is missing. When
// ctx ends, Score returns its error within about a second: what is finished stays, nothing half written has a final name, and the
// same call goes on from there.
func Score(ctx context.Context, cfg ScoreConfig) (Summary, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return Summary{}, err
	}
	began := time.Now()
	c, err := share(cfg.Model)
	if err != nil {
		return Summary{}, err
	}
	chunks, err := listing.Plan(ctx, cfg.Listing, cfg.Options)
	if err != nil {
		return Summary{}, err
	}
	run := cfg.describe(chunks, c.hash)
	out, err := scores.Open(cfg.Out, cfg.Program, run)
	if err != nil {
		return Summary{}, err
	}
	defer out.Close()
	if out.Finished() {
		return Summary{Manifest: out.Manifest(), Already: true}, nil
	}
	err = cfg.run(ctx, run.Rows, func(id string) *beam.Pipeline { return cfg.pipeline(id, chunks, run) })
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

// pipeline is the whole of it: chunks are dealt out, scored into parts of their own, and the records of what was done gathered for
// the commit.
func (cfg ScoreConfig) pipeline(id string, chunks []listing.Chunk, run scores.Run) *beam.Pipeline {
	p, s := beam.NewPipelineWithRoot()
	dealt := beam.Reshuffle(s, beam.CreateList(s, chunks))
	done := beam.ParDo(s, &ScoreChunkFn{
		Run: id, Out: cfg.Out, Model: cfg.Model, ModelHash: run.ModelHash, Options: run.Options,
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

// complete fills in what was left out, and checks the rest.
func (cfg ScoreConfig) complete() (ScoreConfig, error) {
	d := DefaultScoreConfig()
	if cfg.Listing == "" || cfg.Out == "" {
		return cfg, errors.New("score: a listing and an output folder must be named")
	}
	if cfg.Workers == 0 {
		cfg.Workers = d.Workers
	}
	if cfg.Batch == 0 {
		cfg.Batch = d.Batch
	}
	if cfg.Memory == 0 {
		cfg.Memory = d.Memory
	}
	if cfg.Runner == "" {
		cfg.Runner = d.Runner
	}
	if cfg.Images.MaxBytes == 0 {
		cfg.Images.MaxBytes = d.Images.MaxBytes
	}
	if cfg.Images.MaxPixels == 0 {
		cfg.Images.MaxPixels = d.Images.MaxPixels
	}
	if cfg.Images.Timeout == 0 {
		cfg.Images.Timeout = d.Images.Timeout
	}
	switch {
	case cfg.Workers < 1 || cfg.Batch < 1 || cfg.Memory < 1:
		return cfg, fmt.Errorf("score: %d workers, batches of %d, %d bytes for decoding: want at least 1 of each", cfg.Workers, cfg.Batch, cfg.Memory)
	case cfg.Images.MaxBytes < 1 || cfg.Images.MaxPixels < 1 || cfg.Images.Timeout < 0:
		return cfg, fmt.Errorf("score: photographs of %d bytes, %d pixels, in %v: want at least 1 of each", cfg.Images.MaxBytes, cfg.Images.MaxPixels, cfg.Images.Timeout)
	case !slices.Contains(Runners(), cfg.Runner):
		return cfg, fmt.Errorf("score: no runner %q: want one of %v", cfg.Runner, Runners())
	}
	return cfg, nil
}

// describe is what makes the run another than those of other results.
func (cfg ScoreConfig) describe(chunks []listing.Chunk, modelHash string) scores.Run {
	model := cfg.Model
	if model == "" {
		model = "built-in"
	}
	run := scores.Run{Listing: cfg.Listing, ListingHash: listing.Hash(chunks), Model: model, ModelHash: modelHash, Options: map[string]string{
		"root":       cfg.Images.Root,
		"chunk-rows": strconv.Itoa(cfg.Options.ChunkRows),
		"max-bytes":  strconv.FormatInt(cfg.Images.MaxBytes, 10),
		"max-pixels": strconv.FormatInt(cfg.Images.MaxPixels, 10),
	}}
	for _, c := range chunks {
		run.Rows += c.Rows
	}
	return run
}

// partName names a chunk's part by everything it is made from, and by its place, since two chunks may hold the same rows.
func partName(c listing.Chunk, modelHash string, options map[string]string) string {
	h := xxh3.New128()
	fmt.Fprintf(h, "%d %s %s", c.Index, c.Hash, modelHash)
	for _, name := range slices.Sorted(maps.Keys(options)) {
		fmt.Fprintf(h, " %s=%q", name, options[name])
	}
	sum := h.Sum128()
	return fmt.Sprintf("%016x%016x", sum.Hi, sum.Lo)
}
