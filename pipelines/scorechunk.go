package pipelines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/model/metrics"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/transforms"
)

// The stages at which a row can be rejected.
const (
	stageListing = "listing"
	stageFetch   = "fetch"
	stageDecode  = "decode"
	stageInfer   = "infer"
)

// Reasons of our own, beside those of fetch and transforms.
const (
	ReasonMalformed = "malformed-row" // the listing breaks its format's rules here
	ReasonPanic     = "panic"         // a fault of this program: please report the photograph
	ReasonNoNumber  = "not-a-number"  // the network answered with no numbers: the model is broken
)

// ScoreChunkFn scores a chunk of the listing into a part of its own. All it needs is in its fields, as Beam sends it to
// where the work is done.
type ScoreChunkFn struct {
	Run       string // finds the run in the process that began it
	Out       string
	Model     string
	Precision model.Precision
	ModelHash string
	Options   map[string]string // that change results; they are part of a part's name
	Images    Images
	Workers   int
	Batch     int
	Memory    int64

	shared   *shared
	fetcher  *fetch.Fetcher
	working  *semaphore.Weighted // one for each worker
	decoding *semaphore.Weighted // bytes
}

// Setup takes what all chunks of the process share.
func (f *ScoreChunkFn) Setup() (err error) {
	if f.shared, err = share(f.Model, f.Precision); err != nil {
		return err
	}
	if f.shared.hash != f.ModelHash || string(f.shared.Plan.Precision()) != f.Options["precision"] {
		return fmt.Errorf("the model in %s is not the one that the run began with: score again", f.Model)
	}
	f.fetcher, err = fetch.New(fetch.Config{Root: f.Images.Root, MaxBytes: f.Images.Limits.Bytes, Timeout: f.Images.Timeout, AllowNet: f.Images.AllowNet})
	f.working, f.decoding = processWide("workers", int64(f.Workers)), processWide("memory", f.Memory)
	return err
}

// ProcessElement writes the chunk's part, unless it is there already.
func (f *ScoreChunkFn) ProcessElement(ctx context.Context, c listing.Chunk, emit func(int, scores.Done)) error {
	ctx, run, leave := enter(ctx, f.Run)
	defer leave()
	if err := ctx.Err(); err != nil { // what Beam still hands out after the end of the run
		return err
	}
	name := partName(c, f.ModelHash, f.Options)
	done, ok, err := scores.ReadPart(f.Out, name, c.Rows)
	switch {
	case err != nil:
	case ok:
		run.add(done.Scored+done.Rejected, done.Rejected)
	default:
		done, err = f.score(ctx, run, c, name)
	}
	if err != nil {
		return run.fail(err)
	}
	emit(0, done)
	return nil
}

// FinishBundle lets go of connections. Beam wants the parameter.
func (f *ScoreChunkFn) FinishBundle(func(int, scores.Done)) { f.fetcher.Close() }

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

// outcome is what became of a row: an answer or a reason.
type outcome struct {
	brand       int
	probability float32
	frames      int
	reject      *scores.Reject
}

// score classifies the rows of a chunk with a pool of workers, and writes its part.
func (f *ScoreChunkFn) score(ctx context.Context, run *running, c listing.Chunk, name string) (scores.Done, error) {
	rows, err := c.Read(ctx)
	if err != nil {
		return scores.Done{}, err
	}
	fetcher := f.fetcher
	if f.Images.Root == "" {
		fetcher = fetcher.Under(filepath.Dir(c.Source))
	}
	outcomes := make([]outcome, len(rows))
	batch := min(cmp.Or(f.Batch, f.shared.Plan.Batch()), max((len(rows)+f.Workers-1)/f.Workers, 1)) // every worker has work
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range min(f.Workers, (len(rows)+batch-1)/batch) {
		g.Go(func() error {
			// Beam may hand out several chunks at a time: the workers of all of them together are as many as asked for.
			if err := f.working.Acquire(ctx, 1); err != nil {
				return err
			}
			defer f.working.Release(1)
			arena := f.shared.arena(batch)
			defer f.shared.free(arena)
			for {
				from := int(next.Add(int64(batch))) - batch
				if from >= len(rows) {
					return nil
				}
				to := min(from+batch, len(rows))
				rejected, err := f.batch(ctx, fetcher, arena, rows[from:to], outcomes[from:to])
				if err != nil {
					return err
				}
				run.add(int64(to-from), rejected)
			}
		})
	}
	if err := g.Wait(); err != nil {
		return scores.Done{}, err
	}
	part, err := scores.NewPart(f.Out, name)
	if err != nil {
		return scores.Done{}, err
	}
	defer part.Abort()
	for i, o := range outcomes { // in the listing's order, whoever scored them
		if o.reject != nil {
			err = part.Reject(*o.reject)
		} else {
			err = part.Score(scores.Score{PostID: rows[i].PostID, Brand: f.shared.Classes()[o.brand], Probability: o.probability, Frames: int32(o.frames)})
		}
		if err != nil {
			return scores.Done{}, err
		}
	}
	return part.Commit()
}

// batch fills in the outcomes of a few rows. What is wrong with a row makes a reject of it; the error is ctx's, or a
// fault of the model that every other row would meet as well.
func (f *ScoreChunkFn) batch(ctx context.Context, fetcher *fetch.Fetcher, arena *infer.Arena, rows []listing.Row, outcomes []outcome) (rejected int64, err error) {
	good := make([]int, 0, len(rows))
	defer func() { // a goroutine that panics would take the process with it
		if p := recover(); p != nil {
			err = fmt.Errorf("the network fails on posts %s to %s: %v", rows[0].PostID, rows[len(rows)-1].PostID, p)
		}
	}()
	for i, row := range rows {
		frames, r, err := f.load(ctx, fetcher, row, arena.Input(len(good)))
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		if r != nil {
			outcomes[i].reject = r
			rejected++
			continue
		}
		outcomes[i].frames = frames
		good = append(good, i)
	}
	if len(good) == 0 {
		return rejected, nil
	}
	probs := arena.Run(len(good))
	classes := len(f.shared.Classes())
	infer.Softmax(probs, classes)
	for k, i := range good {
		row := probs[k*classes : (k+1)*classes]
		best := metrics.Argmax(row)
		if p := row[best]; p >= 0 && p <= 1 {
			outcomes[i].brand, outcomes[i].probability = best, p
			continue
		}
		outcomes[i].reject = reject(rows[i], stageInfer, ReasonNoNumber, "the network's answer is no probability", false)
		rejected++
	}
	return rejected, nil
}

// load takes a row as far as the network's input, and tells of how many frames the file is. A row that does not come so far is a reject; the error is as batch's.
func (f *ScoreChunkFn) load(ctx context.Context, fetcher *fetch.Fetcher, row listing.Row, input []float32) (frames int, r *scores.Reject, err error) {
	stage := stageFetch
	defer func() { // a fault in one photograph's way must not take the others with it
		if p := recover(); p != nil {
			frames, r, err = 0, reject(row, stage, ReasonPanic, fmt.Sprint(p), false), nil
		}
	}()
	if row.Malformed != "" {
		return 0, reject(row, stageListing, ReasonMalformed, fmt.Sprintf("line %d: %s", row.Line, row.Malformed), false), nil
	}
	data, err := fetcher.Fetch(ctx, row.Image)
	if err != nil {
		var e *fetch.Error
		if errors.As(err, &e) {
			return 0, reject(row, stage, string(e.Reason), e.Detail, e.Temporary()), nil
		}
		return 0, nil, err
	}
	stage = stageDecode
	header, err := transforms.Inspect(data, f.Images.Limits)
	if err == nil {
		// A picture that takes more than there is for all of them is decoded alone.
		weight := min(max(header.Memory, 1), f.Memory)
		if err := f.decoding.Acquire(ctx, weight); err != nil {
			return 0, nil, err
		}
		defer f.decoding.Release(weight)
		err = f.shared.Steps.Tensor(data, transforms.Key{Epoch: -1, Image: row.Image}, f.Images.Limits, input)
	}
	if err != nil {
		var e *transforms.Error
		if errors.As(err, &e) {
			return 0, reject(row, stage, string(e.Reason), detail(e), e.Temporary()), nil
		}
		return 0, nil, fmt.Errorf("post %s: %w", row.PostID, err)
	}
	return header.Frames, nil, nil
}

// detail is what is known of a picture's fault beside its reason.
func detail(e *transforms.Error) string {
	if e.Detail == "" && e.Err == nil {
		return transforms.Explain(e.Reason)
	}
	return strings.TrimPrefix(e.Error(), string(e.Reason)+": ")
}

func reject(row listing.Row, stage, reason, detail string, retryable bool) *scores.Reject {
	return &scores.Reject{PostID: row.PostID, Image: row.Image, Stage: stage, Reason: reason, Detail: detail, Retryable: retryable}
}
