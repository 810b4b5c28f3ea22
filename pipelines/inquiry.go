package pipelines

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
)

// inquiry is the rows that a chunk wants to know about.
type inquiry struct {
	scorer   *scorer
	ctx      context.Context
	cancel   context.CancelCauseFunc
	root     string
	rows     *listing.Posts
	outcomes []outcome
	left     atomic.Int64
	done     chan struct{} // closed when nothing is left
	mine     []int         // rows whose images are to be fetched, -1 from when they have come
	mutex    sync.Mutex
	begun    map[int]*photograph // that are being fetched, by their place in mine
	again    []int               // rows whose question somebody else has asked and given up
}

// score finds out about rows. Names of images that are neither absolute nor URLs are relative to root.
func (s *scorer) score(ctx context.Context, root string, rows *listing.Posts) ([]outcome, error) {
	outcomes := make([]outcome, rows.Len())
	all := make([]int, rows.Len())
	for i := range all {
		all[i] = i
	}
	return outcomes, s.about(ctx, root, rows, all, outcomes)
}

// about finds out about some of the rows.
func (s *scorer) about(ctx context.Context, root string, rows *listing.Posts, todo []int, outcomes []outcome) error {
	defer s.use()()
	for len(todo) > 0 { // once, but for questions that another chunk asked first and then gave up
		again, err := s.pass(ctx, root, rows, todo, outcomes)
		if err != nil {
			return err
		}
		todo = again
	}
	return nil
}

// pass finds out about the rows of todo, and returns those to be asked again.
func (s *scorer) pass(ctx context.Context, root string, rows *listing.Posts, todo []int, outcomes []outcome) (again []int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j := &inquiry{scorer: s, ctx: ctx, cancel: cancel, root: root, rows: rows, outcomes: outcomes, done: make(chan struct{}), begun: map[int]*photograph{}}
	j.left.Store(int64(len(todo)))
	var at tally // of what needs no image, counted together: there may be millions a second
	repeated := int64(0)
	for _, i := range todo {
		switch row := rows.At(i); {
		case row.Malformed != "":
			j.put(i, rejected(monitor.Listing, ReasonMalformed, place(&row)+": "+row.Malformed, false), &at)
		case s.earlier.has(row.PostID):
			j.put(i, outcome{skipped: true}, &at)
		default:
			o, known, ours := s.answers.ask(askName(root, row.Image), waiter{inquiry: j, row: i})
			if ours {
				j.mine = append(j.mine, i)
				continue
			}
			repeated++
			if known {
				j.put(i, o, &at)
			}
		}
	}
	s.monitor.Count(at.scored, at.rejected, at.skipped, repeated)
	j.settled(at.scored + at.rejected + at.skipped)
	names := make([]string, len(j.mine))
	for k, row := range j.mine {
		names[k] = rows.At(row).Image
	}
	err = s.fetcher.Under(root).Telling(j.begin).Each(ctx, names, func(image fetch.Image) { j.take(image.Index).fetched(image) })
	for k, row := range j.mine {
		if row >= 0 { // ctx has ended
			j.take(k).settle(outcome{abandoned: true})
		}
	}
	select {
	case <-j.done:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return j.again, err
}

// begin makes a photograph of an image, and shows it to whoever watches, as its first byte is asked for.
func (j *inquiry) begin(k int) {
	p := j.photograph(k)
	p.began = time.Now()
	row := j.rows.At(p.row)
	p.task = j.scorer.monitor.Begin(monitor.Fetch, row.PostID, row.Image)
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.begun[k] = p
}

// take gives the photograph of an image that has come, or is not to come any more.
func (j *inquiry) take(k int) *photograph {
	j.mutex.Lock()
	p, ok := j.begun[k]
	delete(j.begun, k)
	j.mutex.Unlock()
	if !ok { // it was refused at once
		p = j.photograph(k)
	}
	j.mine[k] = -1
	return p
}

func (j *inquiry) photograph(k int) *photograph {
	row := j.mine[k]
	return &photograph{inquiry: j, row: row, byName: askName(j.root, j.rows.At(row).Image)}
}

// settle says what became of a row. Each row of a pass is settled once.
func (j *inquiry) settle(row int, o outcome) {
	if o.abandoned {
		j.mutex.Lock()
		j.again = append(j.again, row)
		j.mutex.Unlock()
	} else {
		var one tally
		j.put(row, o, &one)
		j.scorer.monitor.Count(one.scored, one.rejected, one.skipped, 0)
	}
	j.settled(1)
}

// tally counts rows by what became of them.
type tally struct{ scored, rejected, skipped int64 }

// put notes what became of a row, and adds it to a tally.
func (j *inquiry) put(row int, o outcome, to *tally) {
	j.outcomes[row] = o
	switch {
	case o.skipped:
		to.skipped++
	case o.reject != nil:
		to.rejected++
		r := j.rows.At(row)
		j.scorer.monitor.Reject(o.reject.stage, o.reject.reason, r.PostID, r.Image, o.reject.detail)
	default:
		to.scored++
	}
}

// settled says that n more rows are.
func (j *inquiry) settled(n int64) {
	if n > 0 && j.left.Add(-n) == 0 {
		close(j.done)
	}
}

// place is where a row stands in its listing.
func place(r *listing.Row) string {
	if r.Line == 0 {
		return fmt.Sprintf("byte %d", r.Offset)
	}
	return fmt.Sprintf("line %d", r.Line)
}
