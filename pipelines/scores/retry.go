package scores

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/logobeam/logobeam/pipelines/store"
)

// ErrNothingToRetry says that no reject of an output may succeed at another time.
var ErrNothingToRetry = errors.New("no reject may succeed at another time")

// Retry is a round of trying again what an output's earlier rounds have rejected. Each chunk with rejects that may succeed
// gets one more part, named CHUNK-rN in round N: what is scored now is added to the scores, and all rejects that remain take
// the place of the chunk's former ones. While a round is under way there is no _SUCCESS, and the manifest says so.
type Retry struct {
	*Output
	round int
}

// BeginRetry begins a round of retry on a finished output, or goes on with one that has not ended; it has to be closed.
func BeginRetry(ctx context.Context, location string) (*Retry, error) {
	o, err := lock(ctx, location)
	if err != nil {
		return nil, err
	}
	r := &Retry{Output: o}
	if err := r.begin(ctx); err != nil {
		o.Close()
		return nil, err
	}
	return r, nil
}

func (r *Retry) begin(ctx context.Context) error {
	m, finished, err := Finished(ctx, r.location)
	if err != nil {
		return err
	}
	if !finished && m.Retrying == 0 {
		return fmt.Errorf("%s is not finished: run score again first", r.location)
	}
	if r.round = m.Retrying; r.round == 0 {
		if m.Retryable == 0 {
			return ErrNothingToRetry
		}
		for _, d := range m.Chunks {
			r.round = max(r.round, d.Round+1)
		}
		m.Retrying, m.Finished = r.round, false
		if err := m.write(ctx, r.store); err != nil {
			return err
		}
	}
	r.manifest = m
	return r.store.Remove(ctx, successFile)
}

// Round is the number of this round, from 1.
func (r *Retry) Round() int { return r.round }

// Chunks are the parts of earlier rounds whose rejects are to be tried again, without Brands and Reasons.
func (r *Retry) Chunks() []Done { return r.manifest.toRetry() }

func (m *Manifest) toRetry() (parts []Done) {
	for rounds := range m.byChunk() {
		if last := rounds[len(rounds)-1]; last.Retryable > 0 {
			parts = append(parts, last)
		}
	}
	return parts
}

// Next is what a part of the round is made of: the rejects of d.
func (d Done) Next(round int) Piece {
	p := d.Piece
	p.Chunk, p.Round, p.Rows, p.Skipped = fmt.Sprintf("%s-r%d", d.base(), round), round, d.Rejected, 0
	return p
}

// ReadRejects reads the rejects of a part, in their order.
func (d Done) ReadRejects(ctx context.Context, location string) (rows []Rejected, err error) {
	for r, err := range rowsOf[Reject](ctx, location, d.rejectsFile()) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, Rejected{r.Row, r.Kept})
	}
	return rows, nil
}

// CommitRetry ends the round of an output, in another process perhaps than the one that has begun it. Its parts are those
// of this round.
//
// Former rejects are removed first, then comes _SUCCESS, and the manifest last. So whoever reads by _SUCCESS sees each post
// once, and whoever reads the manifest before it is written anew is told to run retry again, which then finds all parts
// there.
func CommitRetry(ctx context.Context, location string, parts []Done) (Manifest, error) {
	m, err := ReadManifest(ctx, location)
	if err != nil {
		return m, err
	}
	if m.Retrying == 0 {
		return m, nil // it was committed before
	}
	todo := map[string]bool{}
	for _, d := range m.toRetry() {
		todo[d.Next(m.Retrying).Chunk] = true
	}
	for _, d := range parts {
		if d.Round != m.Retrying {
			return m, fmt.Errorf("%s: part %s is of another round than %d: run logobeam retry %s again", location, d.Chunk, m.Retrying, location)
		}
		delete(todo, d.Chunk)
	}
	if len(todo) > 0 {
		return m, fmt.Errorf("%s: %d parts of the retry are missing: run logobeam retry %s again", location, len(todo), location)
	}
	before, err := reread(ctx, location, m.Chunks)
	if err != nil {
		return m, err
	}
	m.Retrying = 0
	out, err := m.finish(ctx, location, append(before, parts...))
	if err != nil {
		return m, err
	}
	if err := out.Put(ctx, successFile, nil); err != nil {
		return m, err
	}
	return m, m.write(ctx, out)
}

// reread is parts of the manifest with their brands and reasons, which the manifest does not tell by parts.
func reread(ctx context.Context, location string, parts []Done) ([]Done, error) {
	var names []string
	for _, d := range parts {
		names = append(names, d.Chunk)
	}
	whole, err := ReadParts(ctx, location, names)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if i == len(whole) || whole[i].Chunk != name {
			return nil, fmt.Errorf("%s: %w", store.Join(location, scoresFile(name)), fs.ErrNotExist)
		}
	}
	return whole, nil
}
