// Package pipelines holds the program's Beam pipelines. Score is this file:
//
//	summary, err := pipelines.Score(ctx, pipelines.ScoreConfig{Listing: "posts.csv", Out: "scored"})
//
// It reads a listing of posts, gets each photograph, classifies it, and writes post_id, brand, probability to
// Parquet. What crosses a stage of Beam is a chunk of the listing or a small record of one, never a row or a
// photograph. Train (train.go) trains on many machines, in rounds. Retry (retry.go) does again what failed for a reason that may have passed, and Predict (plan.go) says
// beforehand what a run will cost.
//
// What happens to a chunk is scorechunk.go, to its rows inquiry.go, to a photograph photograph.go; what can be asked for is
// scoreconfig.go, and how Beam is run run.go.
package pipelines

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// Summary is what a run did.
type Summary struct {
	scores.Manifest
	Already   bool          `json:"already"` // the output was finished before, and nothing was done
	Elapsed   time.Duration `json:"-"`       // 0 if nothing was done
	Predicted time.Duration `json:"-"`       // what Elapsed was to be by the run's own sample; 0 if it took none
}

// ErrDeadline says that a run was ended by ScoreConfig.Deadline. What is finished stays, and the same call goes on from
// there.
var ErrDeadline = errors.New("the deadline has come before the end")

// ErrRejects says that a run was ended since it is plain that more rows are rejected than ScoreConfig.MaxRejects allows.
var ErrRejects = errors.New("more rejects than allowed")

// Score classifies the photographs of a listing. A second run on a finished output does nothing; one on an unfinished
// output does what is missing. When ctx ends, Score returns its error within about a second: what is finished stays,
// nothing half written has a final name, and the same call goes on from there. So it does after ErrDeadline and
// ErrRejects.
func Score(ctx context.Context, cfg ScoreConfig) (Summary, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return Summary{}, err
	}
	began := time.Now()
	defer bound(cfg.Memory)()
	c, err := classifier.Load(ctx, cfg.Model, cfg.Config)
	if err != nil {
		return Summary{}, err
	}
	if never := c.Never(); len(never) > 0 && cfg.Log != nil {
		cfg.Log.WarnContext(ctx, "brands that are never given at this precision", "precision", cfg.BrandPrecision, "brands", strings.Join(never, ", "))
	}
	chunks, err := listing.Plan(ctx, cfg.Listing, cfg.Options)
	if err != nil {
		return Summary{}, err
	}
	run, err := cfg.describe(ctx, chunks, c)
	if err != nil {
		return Summary{}, err
	}
	out, err := scores.Open(ctx, cfg.Out, cfg.Program, run)
	if err != nil {
		return Summary{}, err
	}
	defer out.Close()
	if out.Finished() {
		return Summary{Manifest: out.Manifest(), Already: true}, nil
	}
	if cfg, chunks, err = cfg.absolute(chunks); err != nil {
		return Summary{}, err
	}
	rows, exact := listing.Rows(chunks)
	r := cfg.begin(ctx, rows, exact, len(chunks))
	defer r.end()
	scoring := cfg.scoring(r.name(cfg.platform()), run)
	predicted := time.Duration(0)
	if cfg.local() {
		s, err := r.prepare(scoring, c)
		if err != nil {
			return Summary{}, err
		}
		predicted = s.predictQuickly(r.ctx, chunks)
	}
	var parts []string
	for _, c := range chunks {
		parts = append(parts, partName(c, run.ModelHash, run.Options))
	}
	dealt := func(root beam.Scope) beam.PCollection {
		return beam.ParDo(root, &DealFn{pack(chunks)}, beam.Impulse(root))
	}
	score, commit := &ScoreChunkFn{ChunkFn{Scoring: scoring}}, &CommitFn{Run: scoring.Run, Out: cfg.Out}
	if err := r.execute(cfg.platform(), newPartCount(cfg.Out, parts, r.monitor), func() *beam.Pipeline { return pipeline(dealt, score, commit) }); err != nil {
		return Summary{}, cfg.partial(ctx, out, parts, err)
	}
	m, err := cfg.finished(ctx)
	return Summary{Manifest: m, Elapsed: time.Since(began), Predicted: predicted}, err
}

// pipeline is the whole of it: chunks are dealt out, score makes parts of them, and the records of what was done are
// gathered for the commit. For Retry the chunks are parts with rejects.
func pipeline(chunks func(beam.Scope) beam.PCollection, score, commit any) *beam.Pipeline {
	p, root := beam.NewPipelineWithRoot()
	done := beam.ParDo(root, score, beam.Reshuffle(root, chunks(root)))
	beam.ParDo0(root, commit, beam.GroupByKey(root, done))
	return p
}

// DealFn deals chunks out. It has them packed, as pack does, since each of those that a pipeline passes through has a copy.
type DealFn struct{ Chunks []byte }

// ProcessElement is called once.
func (f *DealFn) ProcessElement(_ []byte, emit func(listing.Chunk)) error {
	var chunks []listing.Chunk
	if err := json.NewDecoder(flate.NewReader(bytes.NewReader(f.Chunks))).Decode(&chunks); err != nil {
		return fmt.Errorf("the plan of the listing: %w", err)
	}
	for _, c := range chunks {
		emit(c)
	}
	return nil
}

func pack(chunks []listing.Chunk) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err = errors.Join(err, json.NewEncoder(w).Encode(chunks), w.Close()); err != nil {
		panic(err) // a buffer takes everything, and chunks have nothing that JSON lacks
	}
	return b.Bytes()
}

// CommitFn ends the run once every chunk has reported.
type CommitFn struct{ Run, Out string }

// ProcessElement is called once, with the records of all chunks under one key.
func (f *CommitFn) ProcessElement(ctx context.Context, _ int, next func(*scores.Done) bool) error {
	ctx, run, leave := enter(ctx, f.Run)
	defer leave()
	_, err := scores.Commit(ctx, f.Out, all(next))
	return run.fail(err)
}

func all[T any](next func(*T) bool) (records []T) {
	for d := *new(T); next(&d); d = *new(T) {
		records = append(records, d)
	}
	return records
}

// partial notes in the manifest what is done of a run that was ended by its deadline or by its rejects, and returns why.
func (cfg ScoreConfig) partial(ctx context.Context, out *scores.Output, parts []string, why error) error {
	if !errors.Is(why, ErrDeadline) && !errors.Is(why, ErrRejects) {
		return why
	}
	done, err := scores.ReadParts(ctx, cfg.Out, parts)
	if err != nil {
		return errors.Join(why, err)
	}
	if err := out.Partial(ctx, done); err != nil {
		return errors.Join(why, err)
	}
	return fmt.Errorf("%w: %d of %d chunks are done, and the same command goes on with the rest", why, len(done), len(parts))
}

// finished reads what came out. A runner's word that all went well is not enough: the files decide.
func (cfg ScoreConfig) finished(ctx context.Context) (scores.Manifest, error) {
	m, ok, err := scores.Finished(ctx, cfg.Out)
	if err == nil && !ok {
		err = fmt.Errorf("the runner %s ended without finishing %s: run the same command again", cfg.Runner, cfg.Out)
	}
	return m, err
}

// What crosses a stage is JSON to the runner. Beam would have it as rows of a schema, which runners in Java take apart, and they
// stumble over lists and maps that Go's SDK has written.
func encodeChunk(c listing.Chunk) ([]byte, error) { return json.Marshal(c) }
func decodeChunk(text []byte) (c listing.Chunk, err error) {
	err = json.Unmarshal(text, &c)
	return c, err
}
func encodeDone(d scores.Done) ([]byte, error) { return json.Marshal(d) }
func decodeDone(text []byte) (d scores.Done, err error) {
	err = json.Unmarshal(text, &d)
	return d, err
}

func init() {
	beam.RegisterCoder(reflect.TypeFor[listing.Chunk](), encodeChunk, decodeChunk)
	beam.RegisterCoder(reflect.TypeFor[scores.Done](), encodeDone, decodeDone)
	register.DoFn2x1[[]byte, func(listing.Chunk), error](&DealFn{})
	register.Emitter1[listing.Chunk]()
	register.DoFn3x1[context.Context, listing.Chunk, func(int, scores.Done), error](&ScoreChunkFn{})
	register.DoFn3x1[context.Context, int, func(*scores.Done) bool, error](&CommitFn{})
	register.Emitter2[int, scores.Done]()
	register.Iter1[scores.Done]()
}
