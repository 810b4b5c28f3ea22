package scores

import (
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
	location, name string
	table          *parquet.File
	keep           []string // further columns
}

// fail says what is wrong with the file, and what to do.
func (f *tableFile[T]) fail(err error) error {
	return fmt.Errorf("%s/%s cannot be read: %w; remove it to have it made again", f.location, f.name, err)
}

// How much of a file is read at once, which in a bucket is a request: footers are smaller than the one, most columns than
// the other.
const (
	footerBytes = 32 << 10
	columnBytes = 256 << 10
)

// openTable opens a file and checks its columns: those of T, in T's types, and then optional strings. The reader of
// structures panics on what is no Parquet, and reads a missing column as empty.
func openTable[T row](ctx context.Context, location, name string) (*tableFile[T], error) {
	out, err := at(ctx, location)
	if err != nil {
		return nil, err
	}
	file, err := out.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	f := &tableFile[T]{File: file, location: location, name: name}
	if err := guard(f.open); err != nil {
		file.Close()
		return nil, f.fail(err)
	}
	return f, nil
}

func (f *tableFile[T]) open() error {
	size := f.Info().Size
	tail := tailed{f.File, max(0, size-footerBytes), make([]byte, min(size, footerBytes))}
	if n, err := f.File.ReadAt(tail.data, tail.from); n < len(tail.data) {
		return err
	}
	// The library makes room for a footer of whatever length the file says it has.
	if n := len(tail.data); n < 12 || int64(binary.LittleEndian.Uint32(tail.data[n-8:])) > size-12 {
		return errors.New("it is no Parquet file, or only a piece of one")
	}
	var err error
	f.table, err = parquet.OpenFile(tail, size, parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true),
		parquet.ReadBufferSize(columnBytes))
	if err != nil {
		return err
	}
	return f.check()
}

// tailed is a file whose end is in memory.
type tailed struct {
	io.ReaderAt
	from int64 // where data begins
	data []byte
}

func (t tailed) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= t.from && offset+int64(len(p)) <= t.from+int64(len(t.data)) {
		return copy(p, t.data[offset-t.from:]), nil
	}
	return t.ReaderAt.ReadAt(p, offset)
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

// rowsOf yields a file's rows with their kept values, and ends with the first error.
func rowsOf[T row](ctx context.Context, location, name string) iter.Seq2[kept[T], error] {
	return func(yield func(kept[T], error) bool) {
		f, err := openTable[T](ctx, location, name)
		if err != nil {
			yield(kept[T]{}, err)
			return
		}
		defer f.Close()
		schema := schemaOf[T](nil)
		for _, group := range f.table.RowGroups() {
			rows := group.Rows()
			defer rows.Close()
			for buffer := make([]parquet.Row, batchRows); ; {
				var n int
				err := guard(func() (err error) { n, err = rows.ReadRows(buffer); return err })
				if err != nil && !errors.Is(err, io.EOF) {
					yield(kept[T]{}, f.fail(err))
					return
				}
				for _, row := range buffer[:n] {
					var k kept[T]
					if err := guard(func() error { return k.take(schema, row, len(f.keep)) }); err != nil {
						yield(kept[T]{}, f.fail(err))
						return
					}
					if !yield(k, nil) {
						return
					}
				}
				if err != nil || n == 0 {
					break
				}
			}
			if ctx.Err() != nil {
				yield(kept[T]{}, ctx.Err())
				return
			}
		}
	}
}

// kept is a row with the values of its kept columns.
type kept[T any] struct {
	Row  T
	Kept []string
}

func (k *kept[T]) take(schema *parquet.Schema, row parquet.Row, keep int) error {
	base := len(row) - keep
	if err := schema.Reconstruct(&k.Row, row[:base]); err != nil {
		return err
	}
	if keep > 0 {
		k.Kept = make([]string, keep)
		for i, v := range row[base:] {
			if !v.IsNull() {
				k.Kept[i] = string(v.ByteArray())
			}
		}
	}
	return nil
}

// Scores yields the scores of an output, part by part in the order of their names, and ends with the first error.
func Scores(ctx context.Context, location string) iter.Seq2[Score, error] {
	return rows[Score](ctx, location, scoresDir)
}

// Rejects yields the rejects likewise.
func Rejects(ctx context.Context, location string) iter.Seq2[Reject, error] {
	return rows[Reject](ctx, location, rejectsDir)
}

func rows[T row](ctx context.Context, location, dir string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for name, err := range parts(ctx, location, dir) {
			if err != nil {
				yield(none, err)
				return
			}
			for row, err := range rowsOf[T](ctx, location, name) {
				if !yield(row.Row, err) || err != nil {
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
	f, err := openTable[Score](ctx, location, name)
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
				if errors.Is(err, io.EOF) {
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
