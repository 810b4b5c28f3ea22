package scores

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/logobeam/logobeam/pipelines/store"
)

// table is a Parquet file of rows of T and kept columns while it is written, in memory: a chunk's rows are few.
type table[T any] struct {
	file   bytes.Buffer
	writer *parquet.GenericWriter[T] // without kept columns, which is faster
	values *parquet.Writer           // with them
	base   *parquet.Schema           // of T
	buffer []parquet.Row
	rows   []T
	kept   [][]string
	err    error
}

// schemaOf is T's columns, followed by optional strings.
func schemaOf[T any](keep []string) *parquet.Schema {
	t := reflect.TypeFor[T]()
	if len(keep) == 0 {
		return parquet.SchemaOf(reflect.Zero(t).Interface())
	}
	fields := reflect.VisibleFields(t)
	for i, name := range keep {
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("Kept%d", i), Type: reflect.TypeFor[*string](), Tag: reflect.StructTag(fmt.Sprintf("parquet:%q", name+",optional")),
		})
	}
	for i := range fields {
		fields[i].Index, fields[i].Offset = nil, 0
	}
	return parquet.SchemaOf(reflect.Zero(reflect.StructOf(fields)).Interface())
}

// codec is one for all, as it lends out the same few encoders again and again, which take some megabytes each.
var codec = zstd.Codec{Level: zstd.SpeedFastest, Concurrency: 1}

// options keep everything out of a file that would tell one build or machine from another.
func options(schema *parquet.Schema) []parquet.WriterOption {
	return []parquet.WriterOption{schema, parquet.Compression(&codec), parquet.CreatedBy("logobeam", "", "")}
}

func newTable[T any](keep []string) *table[T] {
	t := &table[T]{base: schemaOf[T](nil)}
	if len(keep) == 0 {
		t.writer = parquet.NewGenericWriter[T](&t.file, options(t.base)...)
	} else {
		t.values = parquet.NewWriter(&t.file, options(schemaOf[T](keep))...)
	}
	return t
}

// batchRows is how many rows are handed to the Parquet library at once.
const batchRows = 512

func (t *table[T]) add(row T, kept []string) {
	t.rows = append(t.rows, row)
	if t.values != nil {
		t.kept = append(t.kept, kept)
	}
	if len(t.rows) == batchRows {
		t.flush()
	}
}

func (t *table[T]) flush() {
	var err error
	if t.values == nil {
		_, err = t.writer.Write(t.rows)
	} else {
		err = t.flushKept()
	}
	if t.err == nil {
		t.err = err
	}
	clear(t.rows)
	t.rows, t.kept = t.rows[:0], t.kept[:0]
}

func (t *table[T]) flushKept() error {
	columns := len(t.base.Columns())
	if t.buffer == nil {
		t.buffer = make([]parquet.Row, batchRows)
	}
	for i := range t.rows {
		row := t.base.Deconstruct(t.buffer[i][:0], &t.rows[i])
		for k, v := range t.kept[i] {
			if v == "" {
				row = append(row, parquet.NullValue().Level(0, 0, columns+k))
			} else { // which the writer copies
				row = append(row, parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(v), len(v))).Level(0, 1, columns+k))
			}
		}
		t.buffer[i] = row
	}
	_, err := t.values.WriteRows(t.buffer[:len(t.rows)])
	return err
}

// finish returns the file's bytes.
func (t *table[T]) finish(metadata string) ([]byte, error) {
	t.flush()
	var closing io.Closer = t.writer
	set := t.writer.SetKeyValueMetadata
	if t.values != nil {
		closing, set = t.values, t.values.SetKeyValueMetadata
	}
	if metadata != "" {
		set(metadataKey, metadata)
	}
	if err := errors.Join(t.err, closing.Close()); err != nil {
		return nil, err
	}
	return t.file.Bytes(), nil
}

// Part is the part of one piece while it is written, in memory. It is for one goroutine.
type Part struct {
	done    Done
	keep    int
	scores  *table[Score]
	rejects *table[Reject]
}

// NewPart begins a part whose rows have the columns keep beside those of Score and Reject.
func NewPart(p Piece, keep []string) *Part {
	return &Part{Done{Piece: p, Brands: map[string]int64{}, Reasons: map[string]int64{}}, len(keep), newTable[Score](keep), newTable[Reject](keep)}
}

// Score adds a row to the scores, with a value for each kept column. An empty one is written as null.
func (p *Part) Score(s Score, kept []string) {
	p.done.score(s)
	p.scores.add(s, p.fit(kept))
}

// Reject adds a row to the rejects likewise.
func (p *Part) Reject(r Reject, kept []string) {
	p.done.reject(r)
	p.rejects.add(r, p.fit(kept))
}

// fit gives a row that was too broken for its columns to be told as many values as there are columns.
func (p *Part) fit(kept []string) []string {
	if len(kept) == p.keep {
		return kept
	}
	fitted := make([]string, p.keep)
	copy(fitted, kept)
	return fitted
}

// Commit puts the part in its place in an output that Open has made, in another process perhaps. If another attempt at
// the piece has been faster, its part stays, and Commit says what is in that. It is an error if rows are missing.
func (p *Part) Commit(ctx context.Context, location string) (Done, error) {
	done, err := p.commit(ctx, location)
	if err != nil {
		return Done{}, fmt.Errorf("a part of the output %s: %w", location, err)
	}
	return done, nil
}

func (p *Part) commit(ctx context.Context, location string) (Done, error) {
	d := &p.done
	if d.Scored+d.Rejected+d.Skipped != d.Rows {
		return Done{}, fmt.Errorf("chunk %s has %d rows: %d scored, %d rejected and %d skipped are not as many", d.Chunk, d.Rows, d.Scored, d.Rejected, d.Skipped)
	}
	// An attempt that is late by hours, when the run was committed long ago, is to leave nothing behind.
	if there, ok, err := ReadPart(ctx, location, d.Chunk); err != nil || ok {
		return there, err
	}
	out, err := at(ctx, location)
	if err != nil {
		return Done{}, err
	}
	rejects, err := p.rejects.finish("")
	if err != nil {
		return Done{}, err
	}
	d.Rejects = fmt.Sprintf("part-%s-%016x.parquet", d.Chunk, xxh3.Hash(rejects))
	if err := create(ctx, out, d.rejectsFile(), rejects); err != nil && !errors.Is(err, fs.ErrExist) {
		return Done{}, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return Done{}, err
	}
	found, err := p.scores.finish(string(text))
	if err != nil {
		return Done{}, err
	}
	if err := create(ctx, out, scoresFile(d.Chunk), found); !errors.Is(err, fs.ErrExist) {
		return *d, err
	}
	there, ok, err := ReadPart(ctx, location, d.Chunk)
	if err == nil && !ok {
		err = fmt.Errorf("%s was there and is gone", scoresFile(d.Chunk))
	}
	if err == nil && there.Rejects != d.Rejects {
		err = out.Remove(ctx, d.rejectsFile()) // no part names it, and none will
	}
	return there, err
}

func create(ctx context.Context, out store.Store, name string, data []byte) error {
	w, err := out.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit()
}

// at is store.At, which tests put faults in front of.
var at = store.At

// ReadPart says what is in a chunk's part, by the footer of its scores alone, and whether it is there at all.
func ReadPart(ctx context.Context, location, chunk string) (d Done, ok bool, err error) {
	f, err := openTable[Score](ctx, location, scoresFile(chunk))
	if errors.Is(err, fs.ErrNotExist) {
		return Done{}, false, nil
	}
	if err != nil {
		return Done{}, false, err
	}
	defer f.Close()
	text, found := f.table.Lookup(metadataKey)
	if err = json.Unmarshal([]byte(text), &d); !found || err != nil || d.Chunk != chunk {
		return Done{}, false, f.fail(fmt.Errorf("its footer does not say what it is of"))
	}
	return d, true, nil
}
