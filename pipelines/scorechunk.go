package pipelines

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/semaphore"

	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
)

// ChunkFn is what a DoFn over chunks is made of. All it needs is in its exported fields, as Beam sends it to where the work is
// done.
type ChunkFn struct {
	Scoring
	scorer *scorer
	bundle *bundle[scores.Done]
}

// Setup takes what all chunks of the process share.
func (f *ChunkFn) Setup() (err error) {
	f.scorer, err = scorerOf(f.Scoring)
	return err
}

// StartBundle begins a bundle of chunks.
func (f *ChunkFn) StartBundle(func(int, scores.Done)) {
	f.bundle = newBundle[scores.Done](f.Run, f.scorer.room)
}

// FinishBundle waits for all chunks, and passes their records on.
func (f *ChunkFn) FinishBundle(ctx context.Context, emit func(int, scores.Done)) error {
	return f.bundle.finish(func(d scores.Done) {
		count(ctx, d)
		emit(0, d)
	})
}

// ScoreChunkFn scores chunks of the listing, each into a part of its own.
type ScoreChunkFn struct{ ChunkFn }

// ProcessElement begins a chunk, as soon as there is room for it among those under way.
func (f *ScoreChunkFn) ProcessElement(ctx context.Context, c listing.Chunk, _ func(int, scores.Done)) error {
	return f.bundle.begin(ctx, c.About, func(ctx context.Context, run *running) (scores.Done, error) { return f.score(ctx, run, c) })
}

// score makes a chunk's part.
func (f *ScoreChunkFn) score(ctx context.Context, run *running, c listing.Chunk) (scores.Done, error) {
	root := cmp.Or(f.Images.Root, c.Root())
	piece := scores.Piece{Chunk: partName(c, f.ModelHash, f.Options), Index: c.Index, File: c.File, Offset: c.Offset, End: c.End}
	return f.scorer.part(ctx, run, piece, func() (*listing.Posts, []outcome, error) {
		rows, err := c.Read(ctx)
		if err != nil {
			return nil, nil, err
		}
		outcomes, err := f.scorer.score(ctx, root, rows)
		return rows, outcomes, err
	})
}

// part makes a part of what find finds, unless it is there already.
func (s *scorer) part(ctx context.Context, run *running, piece scores.Piece, find func() (*listing.Posts, []outcome, error)) (scores.Done, error) {
	done, ok, err := scores.ReadPart(ctx, s.Out, piece.Chunk)
	if err != nil || ok {
		if ok {
			s.monitor.ChunkFound(done.Scored, done.Rejected, done.Skipped)
		}
		return done, err
	}
	began := time.Now()
	s.monitor.ChunkBegan(piece.Chunk, piece.Index)
	rows, outcomes, err := find()
	if err == nil {
		done, err = s.write(ctx, s.Out, piece, rows, outcomes)
	}
	if err != nil {
		s.monitor.ChunkFailed(piece.Chunk)
		return scores.Done{}, err
	}
	s.monitor.ChunkDone(piece.Chunk)
	run.log(ctx, "chunk done", "chunk", piece.Index, "part", piece.Chunk, "rows", done.Rows, "scored", done.Scored, "rejected", done.Rejected,
		"skipped", done.Skipped, "seconds", time.Since(began).Seconds())
	return done, nil
}

// write writes a part: rows in the order of post_id, and of the listing where that is the same, whoever found out about them.
func (s *scorer) write(ctx context.Context, out string, piece scores.Piece, rows *listing.Posts, outcomes []outcome) (scores.Done, error) {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	began := time.Now()
	defer func() { s.monitor.Spent(monitor.Write, time.Since(began), int64(rows.Len()), 0) }()
	piece.Rows = int64(rows.Len())
	for _, o := range outcomes {
		if o.skipped {
			piece.Skipped++
		}
	}
	part := scores.NewPart(piece, scores.Run{ModelHash: s.ModelHash, Options: s.Options, Keep: s.Keep})
	classes := s.Classes()
	for _, i := range byPost(rows) {
		row, o := rows.At(i), outcomes[i]
		switch {
		case o.skipped:
		case o.reject != nil:
			r := o.reject
			part.Reject(scores.Reject{PostID: row.PostID, Image: row.Image, Stage: r.stage.String(), Reason: r.reason, Detail: r.detail, Retryable: r.retryable}, row.Kept)
		default:
			part.Score(scores.Score{PostID: row.PostID, Brand: classes[o.brand], Probability: o.probability, Frames: o.frames}, row.Kept)
		}
	}
	return part.Commit(ctx, out)
}

// byPost are the indices of rows in the order of post_id.
func byPost(rows *listing.Posts) []int {
	posts, order := make([]string, rows.Len()), make([]int, rows.Len())
	for i := range posts {
		posts[i], order[i] = rows.At(i).PostID, i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(posts[a], posts[b]) })
	return order
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

// rowsAtOnce is how many rows of a process are under way at one time, whatever the size of chunks and the number of bundles
// that Beam makes of them: while the last images of a chunk are waited for, others are fetched. Of chunks that are larger
// than usual there are chunksAtOnce.
const (
	rowsAtOnce   = chunksAtOnce << 14
	chunksAtOnce = 3
)

// partsAtOnce is how many parts are written at one time: each takes a megabyte.
const partsAtOnce = 3

func newRoom() *semaphore.Weighted { return semaphore.NewWeighted(rowsAtOnce) }

// bundle is the chunks that Beam has handed to one instance of a DoFn. Beam wants them one after the other, and their
// records, T, from the goroutine that it calls; the work goes on behind that.
type bundle[T any] struct {
	run     string
	room    *semaphore.Weighted // for rows of the process
	chunks  sync.WaitGroup
	mutex   sync.Mutex
	records []T
	err     error
}

func newBundle[T any](run string, room *semaphore.Weighted) *bundle[T] {
	return &bundle[T]{run: run, room: room}
}

// begin runs do in a goroutine of its own, once there is room for so many rows. The error is of an earlier one.
func (b *bundle[T]) begin(ctx context.Context, rows int64, do func(context.Context, *running) (T, error)) error {
	rows = min(rows, rowsAtOnce/chunksAtOnce)
	b.room.Acquire(context.Background(), rows) // whoever has taken the room ends when the run does
	if err := b.failed(); err != nil {
		b.room.Release(rows)
		return err
	}
	ctx, run, leave := enter(ctx, b.run)
	run.chunk(1)
	b.chunks.Go(func() {
		defer func() { leave(); run.chunk(-1); b.room.Release(rows) }()
		err := ctx.Err() // for what Beam still hands out after the end of the run
		var d T
		if err == nil {
			d, err = do(ctx, run)
		}
		run.fail(err)
		b.mutex.Lock()
		defer b.mutex.Unlock()
		switch {
		case err == nil:
			b.records = append(b.records, d)
		case b.err == nil:
			b.err = err
		}
	})
	return nil
}

func (b *bundle[T]) failed() error {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.err
}

// finish waits for what was begun, and passes the records on.
func (b *bundle[T]) finish(emit func(T)) error {
	b.chunks.Wait()
	for _, d := range b.records {
		emit(d)
	}
	return b.err
}
