package scores

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/logobeam/logobeam/pipelines/store"
)

const (
	mostFindings = 20  // that Verify tells of
	verifyBlock  = 256 // parts that Verify reads before it looks whether it has found enough
)

// Verify proves from the files alone that every row of the listing was scored, rejected or skipped, once: the parts of the
// manifest follow each other through the listing, each holds as many rows, brands and reasons as its footer and the
// manifest say, nothing else lies beside them, and together they have as many rows as the listing. All rows are read. The
// error names up to 20 faults.
func Verify(ctx context.Context, location string) (Manifest, error) {
	return Verification{}.Run(ctx, location)
}

// Verification is Verify that can be watched.
type Verification struct {
	// Progress, if there is one, is told after each part how many rows are read of how many.
	Progress func(rows, of int64)
}

// Run is Verify.
func (v Verification) Run(ctx context.Context, location string) (Manifest, error) {
	m, err := ReadManifest(ctx, location)
	if err != nil {
		return m, err
	}
	if m.Retrying > 0 {
		return m, retrying(location)
	}
	out, err := at(ctx, location)
	if err != nil {
		return m, err
	}
	if _, err := out.Stat(ctx, successFile); err != nil {
		return m, fmt.Errorf("%s is not finished: %w; run score again", location, err)
	}
	var faults []error
	found := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	found(m.check(location))
	type one struct {
		want Done
		last bool // of its chunk
	}
	var all []one
	for rounds := range m.byChunk() {
		for i, d := range rounds {
			all = append(all, one{d, i == len(rounds)-1})
		}
	}
	read := Manifest{Run: m.Run}
	parts := make([]Done, len(all))
	var done atomic.Int64
	// In blocks, so that the same faults are told of however many are found at once.
	for from := 0; from < len(all) && len(faults) < mostFindings; from += verifyBlock {
		block := all[from:min(len(all), from+verifyBlock)]
		errs := make([]error, len(block))
		var group errgroup.Group
		group.SetLimit(2 * runtime.GOMAXPROCS(0)) // half of them wait for a disk or a network
		for i, o := range block {
			group.Go(func() error {
				parts[from+i], errs[i] = m.verifyPart(ctx, location, o.want, o.last)
				read := o.want.Scored + o.want.Skipped
				if o.last {
					read += o.want.Rejected
				}
				if n := done.Add(read); v.Progress != nil {
					v.Progress(n, m.Rows)
				}
				return nil
			})
		}
		group.Wait()
		if ctx.Err() != nil {
			return m, ctx.Err()
		}
		for _, err := range errs {
			found(err)
		}
	}
	if len(faults) >= mostFindings {
		return m, errors.Join(faults[:mostFindings]...)
	}
	if read.set(parts); len(faults) == 0 && (read.Rows != m.Rows || read.Scored != m.Scored || read.Rejected != m.Rejected || read.Retryable != m.Retryable ||
		read.Skipped != m.Skipped || !maps.Equal(read.Brands, m.Brands) || !maps.Equal(read.Reasons, m.Reasons)) {
		found(fmt.Errorf("%s: the parts hold %d rows, %d of them scored and %d rejected, and the manifest tells of %d, %d and %d, or of other brands and reasons",
			location, read.Rows, read.Scored, read.Rejected, m.Rows, m.Scored, m.Rejected))
	}
	known := m.files()
	for _, dir := range []string{scoresDir, rejectsDir} {
		files, err := out.List(ctx, dir)
		found(err)
		for _, f := range files {
			if !known[f.Name] {
				found(fmt.Errorf("%s/%s is no part of this run", location, f.Name))
			}
		}
	}
	return m, errors.Join(faults[:min(len(faults), mostFindings)]...)
}

// verifyPart counts what is in a part. Of a chunk's rounds the rejects of the last alone are there still.
func (m *Manifest) verifyPart(ctx context.Context, location string, want Done, last bool) (Done, error) {
	f, err := openTable[Score](ctx, location, scoresFile(want.Chunk), columnBytes)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: the part of chunk %s is missing", location, want.Chunk)
	}
	if err != nil {
		return want, err
	}
	defer f.Close()
	footer, err := f.done(want.Chunk)
	if err != nil {
		return want, err
	}
	if !slices.Equal(f.keep, m.Run.Keep) {
		return footer, fmt.Errorf("%s has kept the columns %q; the run keeps %q", f.location, f.keep, m.Run.Keep)
	}
	have := Done{Piece: footer.Piece, Rejects: footer.Rejects, Brands: map[string]int64{}, Reasons: map[string]int64{}}
	hash := newRowsHash()
	for s, err := range f.rows(ctx) {
		if err != nil {
			return footer, err
		}
		have.score(s.Row)
		hash.add(s.Row, s.Kept)
	}
	if hash.String() != footer.Hash {
		return footer, fmt.Errorf("%s holds other scores than were written: something has changed it", f.location)
	}
	if last {
		if err := verifyRejects(ctx, location, want); err != nil {
			return footer, err
		}
		for r, err := range rowsOf[Reject](ctx, location, want.rejectsFile()) {
			if err != nil {
				return footer, err
			}
			have.reject(r.Row)
		}
	} else {
		have.Rejected, have.Retryable, have.Reasons = footer.Rejected, footer.Retryable, footer.Reasons
	}
	switch {
	case have.Scored != footer.Scored || have.Rejected != footer.Rejected || have.Retryable != footer.Retryable ||
		!maps.Equal(have.Brands, footer.Brands) || !maps.Equal(have.Reasons, footer.Reasons):
		return footer, fmt.Errorf("%s: the part of chunk %s holds %d scores and %d rejects, and its footer tells of %d and %d, or of other brands and reasons",
			location, want.Chunk, have.Scored, have.Rejected, footer.Scored, footer.Rejected)
	case footer.Piece != want.Piece || footer.Scored != want.Scored || footer.Rejected != want.Rejected || footer.Rejects != want.Rejects || footer.Hash != want.Hash:
		return footer, fmt.Errorf("%s: the part of chunk %s holds other rows than the manifest says", location, want.Chunk)
	}
	return footer, nil
}

// verifyRejects compares a file of rejects with the hash in its name.
func verifyRejects(ctx context.Context, location string, d Done) error {
	out, err := at(ctx, location)
	if err != nil {
		return err
	}
	data, err := store.ReadFile(ctx, out, d.rejectsFile())
	if err == nil && rejectsName(d.Chunk, data) != d.Rejects {
		err = fmt.Errorf("%s holds other bytes than were written: something has changed it", store.Join(location, d.rejectsFile()))
	}
	return err
}
