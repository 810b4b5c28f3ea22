package scores

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/parquet-go/parquet-go"

	"github.com/logobeam/logobeam/pipelines/store"
)

// tableFile is an open file of rows of T.
type tableFile[T row] struct {
	store.File
	location string // of the file
	table    *parquet.File
	keep     []string // further columns

	end    []byte // of the file, held in memory
	unread error  // why the store did not give what was asked for
}

// How much of a file is read at once, which in a bucket is a request: footers are smaller than the one, most columns, and
// many a whole part, than the other.
const (
	footerBytes = 32 << 10
	columnBytes = 256 << 10
)

// openTable opens a file, reading as much as ahead of its end at once, and checks its columns: those of T, in T's types, and
// then optional strings. The reader of structures panics on what is no Parquet, and reads a missing column as empty.
func openTable[T row](ctx context.Context, location, name string, ahead int64) (*tableFile[T], error) {
	out, err := at(ctx, location)
	if err != nil {
		return nil, err
	}
	file, err := out.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	f := &tableFile[T]{File: file, location: store.Join(location, name)}
	if err := guard(func() error { return f.open(ahead) }); err != nil {
		file.Close()
		return nil, f.fail(err)
	}
	return f, nil
}

func (f *tableFile[T]) open(ahead int64) error {
	size := f.Info().Size
	end := make([]byte, min(size, ahead))
	if n, err := f.ReadAt(end, size-int64(len(end))); n < len(end) {
		return err
	}
	f.end = end
	// The library makes room for a footer of whatever length the file says it has.
	if n := len(end); n < 12 || int64(binary.LittleEndian.Uint32(end[n-8:])) > size-12 {
		return errors.New("it is no Parquet file, or only a piece of one")
	}
	var err error
	f.table, err = parquet.OpenFile(f, size, parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true),
		parquet.ReadBufferSize(columnBytes))
	if err != nil {
		return err
	}
	return f.check()
}

// ReadAt reads what is not in memory, and remembers if that failed.
func (f *tableFile[T]) ReadAt(p []byte, offset int64) (int, error) {
	if from := f.Info().Size - int64(len(f.end)); offset >= from && offset+int64(len(p)) <= f.Info().Size {
		return copy(p, f.end[offset-from:]), nil
	}
	if offset < 0 {
		return 0, errors.New("it tells of what comes before its beginning")
	}
	n, err := f.File.ReadAt(p, offset)
	if err != nil && err != io.EOF {
		f.unread = err
	}
	return n, err
}

// fail says what is wrong with the file, and what to do. It does not tell anybody to remove a file that a network or a disk
// has failed to give.
func (f *tableFile[T]) fail(err error) error {
	if f.unread != nil {
		return fmt.Errorf("%s cannot be read: %w", f.location, f.unread)
	}
	return fmt.Errorf("%s cannot be read: %w; remove it and %s, and run score again", f.location, err, successFile)
}

func (f *tableFile[T]) check() error {
	base := schemaOf[T](nil)
	want, have := columns(base), columns(f.table.Schema())
	if len(have) < len(want) || strings.Join(have[:len(want)], ",") != strings.Join(want, ",") {
		return fmt.Errorf("its columns are %v, not %v", have, want)
	}
	f.keep = have[len(want):]
	if !parquet.EqualNodes(schemaOf[T](f.keep), f.table.Schema()) { // a null in a required column would be read as a pointer
		return errors.New("its columns are of other types")
	}
	return nil
}

func columns(s *parquet.Schema) []string {
	var names []string
	for _, path := range s.Columns() {
		names = append(names, strings.Join(path, "."))
	}
	return names
}

// guard makes an error of a panic, which the library answers some damaged files with.
func guard(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	return read()
}

// kept is a row with the values of its kept columns.
type kept[T row] struct {
	Row  T
	Kept []string
}

// rowsOf yields a file's rows, and ends with the first error.
func rowsOf[T row](ctx context.Context, location, name string) iter.Seq2[kept[T], error] {
	return func(yield func(kept[T], error) bool) {
		f, err := openTable[T](ctx, location, name, columnBytes)
		if err != nil {
			yield(kept[T]{}, err)
			return
		}
		defer f.Close()
		for k, err := range f.rows(ctx) {
			if !yield(k, err) {
				return
			}
		}
	}
}

func (f *tableFile[T]) rows(ctx context.Context) iter.Seq2[kept[T], error] {
	return func(yield func(kept[T], error) bool) {
		buffer := make([]parquet.Row, batchRows)
		batch := make([]kept[T], batchRows)
		for _, group := range f.table.RowGroups() {
			rows := group.Rows()
			defer rows.Close()
			for more := true; more; {
				n := 0
				err := guard(func() (err error) {
					if f.unread = ctx.Err(); f.unread != nil {
						return f.unread
					}
					n, err = rows.ReadRows(buffer)
					return cmp.Or(f.take(batch[:n], buffer), err)
				})
				more = err == nil && n > 0
				if err != nil && !errors.Is(err, io.EOF) {
					yield(kept[T]{}, f.fail(err))
					return
				}
				for _, k := range batch[:n] {
					if !yield(k, nil) {
						return
					}
				}
			}
		}
	}
}

// take makes rows of what the Parquet library has read.
func (f *tableFile[T]) take(to []kept[T], from []parquet.Row) error {
	schema := schemaOf[T](nil)
	for i := range to {
		row, k := from[i], &to[i]
		base := len(row) - len(f.keep)
		if err := schema.Reconstruct(&k.Row, row[:base]); err != nil {
			return err
		}
		k.Kept = nil
		if len(f.keep) > 0 {
			k.Kept = make([]string, len(f.keep))
		}
		for j, v := range row[base:] {
			if !v.IsNull() {
				k.Kept[j] = string(v.ByteArray())
			}
		}
	}
	return nil
}

// Scored is a row of scores with the values of its kept columns, which Run.Keep names; null is empty.
type Scored struct {
	Score
	Kept []string
}

// Rejected is a row of rejects likewise.
type Rejected struct {
	Reject
	Kept []string
}

// Scores yields the scores of an output, part by part in the order of their names, and ends with the first error.
func Scores(ctx context.Context, location string) iter.Seq2[Scored, error] {
	return rows(ctx, location, scoresDir, func(k kept[Score]) Scored { return Scored{k.Row, k.Kept} })
}

// ReadScores yields the scores of a part, in their order, and ends with the first error.
func (d Done) ReadScores(ctx context.Context, location string) iter.Seq2[Score, error] {
	return func(yield func(Score, error) bool) {
		for row, err := range rowsOf[Score](ctx, location, scoresFile(d.Chunk)) {
			if !yield(row.Row, err) || err != nil {
				return
			}
		}
	}
}

// Rejects yields the rejects likewise.
func Rejects(ctx context.Context, location string) iter.Seq2[Rejected, error] {
	return rows(ctx, location, rejectsDir, func(k kept[Reject]) Rejected { return Rejected{k.Row, k.Kept} })
}

func rows[T row, R Scored | Rejected](ctx context.Context, location, dir string, of func(kept[T]) R) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		for name, err := range parts(ctx, location, dir) {
			if err != nil {
				yield(none, err)
				return
			}
			for row, err := range rowsOf[T](ctx, location, name) {
				if !yield(of(row), err) || err != nil {
					return
				}
			}
		}
	}
}

// parts yields the names of the files in a folder of an output.
func parts(ctx context.Context, location, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if _, err := ReadManifest(ctx, location); err != nil {
			yield("", err)
			return
		}
		out, err := at(ctx, location)
		if err != nil {
			yield("", err)
			return
		}
		files, err := out.List(ctx, dir)
		if err != nil {
			yield("", err)
			return
		}
		for _, f := range files {
			if !yield(f.Name, nil) {
				return
			}
		}
	}
}

// PostIDs yields the post_id of every score of an output, reading that column alone, and ends with the first error.
func PostIDs(ctx context.Context, location string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for name, err := range parts(ctx, location, scoresDir) {
			if err != nil {
				yield("", err)
				return
			}
			if !postIDs(ctx, location, name, yield) {
				return
			}
		}
	}
}

func postIDs(ctx context.Context, location, name string, yield func(string, error) bool) (more bool) {
	f, err := openTable[Score](ctx, location, name, columnBytes)
	if err != nil {
		yield("", err)
		return false
	}
	defer f.Close()
	var values [batchRows]parquet.Value
	for _, group := range f.table.RowGroups() {
		pages := group.ColumnChunks()[0].Pages() // post_id is the first column
		defer pages.Close()
		for {
			var page parquet.Page
			err := guard(func() (err error) { page, err = pages.ReadPage(); return err })
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				yield("", f.fail(err))
				return false
			}
			for reader := page.Values(); ; {
				var n int
				err := guard(func() (err error) { n, err = reader.ReadValues(values[:]); return err })
				for _, v := range values[:n] {
					if !yield(string(v.ByteArray()), nil) {
						return false
					}
				}
				if errors.Is(err, io.EOF) || err == nil && n == 0 {
					break
				}
				if err != nil {
					yield("", f.fail(err))
					return false
				}
			}
			parquet.Release(page)
		}
	}
	return true
}
