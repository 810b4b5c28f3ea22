package scores

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"reflect"
	"slices"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/zeebo/xxh3"
	"golang.org/x/sync/errgroup"

	"github.com/logobeam/logobeam/pipelines/store"
)

// table is a Parquet file of rows of T and kept columns while it is written, in memory: a chunk's rows are few.
type table[T row] struct {
	file    bytes.Buffer
	writer  *parquet.GenericWriter[any] // by columns, which are not those of a Go type
	columns [][]parquet.Value           // of the rows that the writer has not got yet
	last    string                      // post_id
	err     error
}

// row is what stands in a table, beside kept columns.
type row interface {
	Score | Reject
	// put appends its values to the columns, which are in the order of its fields.
	put(columns [][]parquet.Value)
}

func (s Score) put(columns [][]parquet.Value) {
	columns[0] = append(columns[0], text(s.PostID))
	columns[1] = append(columns[1], text(s.Brand))
	columns[2] = append(columns[2], parquet.FloatValue(s.Probability))
	columns[3] = append(columns[3], parquet.Int32Value(s.Frames))
}

func (r Reject) put(columns [][]parquet.Value) {
	for i, s := range [...]string{r.PostID, r.Image, r.Stage, r.Reason, r.Detail} {
		columns[i] = append(columns[i], text(s))
	}
	columns[5] = append(columns[5], parquet.BooleanValue(r.Retryable))
}

// text is s itself, which the writer copies.
func text(s string) parquet.Value {
	return parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// schemaOf is T's columns, followed by optional strings of any names. The library has no struct tags for names with commas
// in them, and sorts the columns of its groups.
func schemaOf[T row](keep []string) *parquet.Schema {
	var none T
	base := parquet.SchemaOf(none)
	if len(keep) == 0 {
		return base
	}
	fields := slices.Clone(base.Fields())
	for _, name := range keep {
		fields = append(fields, field{parquet.Optional(parquet.String()), name})
	}
	return parquet.NewSchema(base.Name(), group{base, fields})
}

// group is a group of columns in an order of its own.
type group struct {
	parquet.Node
	fields []parquet.Field
}

func (g group) Fields() []parquet.Field { return g.fields }

// field is a column that no field of a struct stands for.
type field struct {
	parquet.Node
	name string
}

func (f field) Name() string                      { return f.name }
func (f field) Value(reflect.Value) reflect.Value { return reflect.Value{} }

// pageBytes is about the size of a page before it is compressed: below 64 KiB, from which on an encoder would keep a history of
// 8 MiB.
const pageBytes = 48 << 10

// codec is one for all, as it lends out the same few encoders again and again, which take some megabytes each.
var codec = zstd.Codec{Level: zstd.SpeedFastest, Concurrency: 1}

// postBits is how many bits a post has in the Bloom filter of its column: of posts that are not in a file, one in a hundred is
// looked for there.
const postBits = 10

func newTable[T row](keep []string) *table[T] {
	schema := schemaOf[T](keep)
	t := &table[T]{columns: make([][]parquet.Value, len(schema.Columns()))}
	// Nothing may be in the file that would tell one build or machine from another.
	t.writer = parquet.NewGenericWriter[any](&t.file, schema, parquet.Compression(&codec), parquet.PageBufferSize(pageBytes), parquet.CreatedBy("logobeam", "", ""),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending(postColumn))), parquet.BloomFilters(parquet.SplitBlockFilter(postBits, postColumn)))
	return t
}

// batchRows is how many rows the Parquet library writes or reads at once.
const batchRows = 512

func (t *table[T]) add(row T, kept []string) {
	row.put(t.columns)
	first := len(t.columns) - len(kept)
	for i, s := range kept {
		v := parquet.NullValue()
		if s != "" {
			v = text(s).Level(0, 1, first+i)
		}
		t.columns[first+i] = append(t.columns[first+i], v)
	}
	if len(t.columns[0]) == batchRows {
		t.flush()
	}
}

func (t *table[T]) flush() {
	if len(t.columns[0]) == 0 {
		return
	}
	for i, w := range t.writer.ColumnWriters() {
		if _, err := w.WriteRowValues(t.columns[i]); err != nil && t.err == nil {
			t.err = err
		}
		clear(t.columns[i])
		t.columns[i] = t.columns[i][:0]
	}
}

// finish returns the file's bytes, with metadata in its footer.
func (t *table[T]) finish(metadata map[string]string) ([]byte, error) {
	t.flush()
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		t.writer.SetKeyValueMetadata(key, metadata[key])
	}
	if err := errors.Join(t.err, t.writer.Close()); err != nil {
		return nil, err
	}
	return t.file.Bytes(), nil
}

// Part is the part of one piece while it is written, in memory. It is for one goroutine.
type Part struct {
	done     Done
	run      Run
	hash     rowsHash
	scores   *table[Score]
	rejects  *table[Reject]
	unsorted error
}

// rowsHash is a hash of scores, so that Verify sees what has happened to them since.
type rowsHash struct {
	hasher *xxh3.Hasher
	buffer []byte
}

func newRowsHash() rowsHash { return rowsHash{hasher: xxh3.New()} }

func (h *rowsHash) add(s Score, kept []string) {
	b := h.buffer[:0]
	for _, text := range [...]string{s.PostID, s.Brand} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(s.Probability))
	b = binary.LittleEndian.AppendUint32(b, uint32(s.Frames))
	for _, text := range kept {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	h.hasher.Write(b)
	h.buffer = b
}

func (h *rowsHash) String() string {
	sum := h.hasher.Sum128()
	return fmt.Sprintf("%016x%016x", sum.Hi, sum.Lo)
}

// NewPart begins a part of a run, of which it takes the columns that are kept, the model's hash and the options.
func NewPart(p Piece, run Run) *Part {
	return &Part{done: Done{Piece: p, Brands: map[string]int64{}, Reasons: map[string]int64{}}, run: run, hash: newRowsHash(),
		scores: newTable[Score](run.Keep), rejects: newTable[Reject](run.Keep)}
}

// Score adds a row to the scores, with a value for each kept column. An empty one is written as null. Rows come in the order of
// their post_id, byte by byte, in which readers may then search.
func (p *Part) Score(s Score, kept []string) {
	kept = p.fit(kept)
	p.follows(&p.scores.last, s.PostID)
	p.done.score(s)
	p.hash.add(s, kept)
	p.scores.add(s, kept)
}

// Reject adds a row to the rejects likewise.
func (p *Part) Reject(r Reject, kept []string) {
	p.follows(&p.rejects.last, r.PostID)
	p.done.reject(r)
	p.rejects.add(r, p.fit(kept))
}

func (p *Part) follows(last *string, post string) {
	if post < *last && p.unsorted == nil {
		p.unsorted = fmt.Errorf("post %q comes after %q: rows have to be in the order of post_id", post, *last)
	}
	*last = post
}

// fit gives a row that was too broken for its columns to be told as many values as there are columns.
func (p *Part) fit(kept []string) []string {
	if len(kept) == len(p.run.Keep) {
		return kept
	}
	fitted := make([]string, len(p.run.Keep))
	copy(fitted, kept)
	return fitted
}

// Commit puts the part in its place in an output that Open has made, in another process perhaps. If another attempt at
// the piece has been faster, its part stays, and Commit says what is in that. It is an error if rows are missing, or were
// not in order.
//
// Whatever the moments at which attempts at a piece die or overtake each other, its part is that of one of them:
//
//   - The file of scores decides, and store.Writer.Commit makes it once. Before that, none of the attempts counts.
//   - The rejects that it names were there before it, whole: their file is made once as well, and its name is the hash of its
//     bytes, so that an attempt that finds it there has the same ones. What counts nobody removes but a later round.
//   - An attempt that dies before its scores are there leaves at most rejects that nothing names. Commit of the run
//     removes them before it writes _SUCCESS.
//   - An attempt that comes later finds the scores at the beginning and writes nothing, or finds them at the end and
//     takes back its rejects, unless they are those that count. So it leaves nothing either, even after _SUCCESS. One
//     that is killed between those two moments, with the run committed meanwhile, does: Verify tells of it.
func (p *Part) Commit(ctx context.Context, location string) (Done, error) {
	done, err := p.commit(ctx, location)
	if err != nil {
		return Done{}, fmt.Errorf("a part of the output %s: %w", location, err)
	}
	return done, nil
}

func (p *Part) commit(ctx context.Context, location string) (Done, error) {
	if p.unsorted != nil {
		return Done{}, p.unsorted
	}
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
	options, err := json.Marshal(p.run.Options)
	if err != nil {
		return Done{}, err
	}
	metadata := map[string]string{modelKey: p.run.ModelHash, optionsKey: string(options)}
	rejects, err := p.rejects.finish(metadata)
	if err != nil {
		return Done{}, err
	}
	d.Rejects, d.Hash = rejectsName(d.Chunk, rejects), p.hash.String()
	if err := store.CreateFile(ctx, out, d.rejectsFile(), rejects); err != nil && !errors.Is(err, fs.ErrExist) {
		return Done{}, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return Done{}, err
	}
	metadata[partKey] = string(text)
	found, err := p.scores.finish(metadata)
	if err != nil {
		return Done{}, err
	}
	if err := store.CreateFile(ctx, out, scoresFile(d.Chunk), found); !errors.Is(err, fs.ErrExist) {
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

// rejectsName is the name of a file of rejects with these bytes.
func rejectsName(chunk string, data []byte) string {
	return fmt.Sprintf("part-%s-%016x.parquet", chunk, xxh3.Hash(data))
}

// at is store.At, which tests put faults in front of.
var at = store.At

// ReadPart says what is in a chunk's part, by the footer of its scores alone, and whether it is there at all.
func ReadPart(ctx context.Context, location, chunk string) (d Done, ok bool, err error) {
	f, err := openTable[Score](ctx, location, scoresFile(chunk), footerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Done{}, false, nil
	}
	if err != nil {
		return Done{}, false, err
	}
	defer f.Close()
	d, err = f.done(chunk)
	return d, err == nil, err
}

// footersAtOnce is how many footers are read at once: a bucket takes a while to answer.
const footersAtOnce = 32

// ReadParts says what is in the parts of chunks, in their order, without those that are not there.
func ReadParts(ctx context.Context, location string, chunks []string) ([]Done, error) {
	all, there := make([]Done, len(chunks)), make([]bool, len(chunks))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(footersAtOnce)
	for i, chunk := range chunks {
		group.Go(func() (err error) {
			all[i], there[i], err = ReadPart(ctx, location, chunk)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var parts []Done
	for i, d := range all {
		if there[i] {
			parts = append(parts, d)
		}
	}
	return parts, nil
}

// done is what the footer of a chunk's scores says.
func (f *tableFile[T]) done(chunk string) (d Done, err error) {
	text, found := f.table.Lookup(partKey)
	err = json.Unmarshal([]byte(text), &d)
	if !found || err != nil || d.Chunk != chunk || d.Scored != f.table.NumRows() {
		return Done{}, f.fail(errors.New("its footer does not say what it is of"))
	}
	return d, nil
}
