package listing

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"
)

// Options say how a listing of posts is read. The zero value is that of a listing with the columns post_id and image.
type Options struct {
	Format       Format // by default, by the file's extension
	PostIDColumn string // post_id if empty
	ImageColumn  string // image if empty
	// ChunkRows is the number of rows of a chunk. 0 lets the number of rows decide: 256 rows at first, twice as many
	// each time there would be 128 chunks, up to 16,384.
	ChunkRows int
}

// Defaults of Options.
const (
	DefaultPostIDColumn = "post_id"
	DefaultImageColumn  = "image"
)

const (
	smallestChunk = 256
	largestChunk  = 1 << 14 // unless asked for
	manyChunks    = 128
)

// MaxChunkRows is the largest Options.ChunkRows: a chunk's rows are in memory together.
const MaxChunkRows = 1 << 20

// Row is a post to score.
type Row struct {
	Line          int64 // the line it begins at, from 1; in Parquet the row
	PostID, Image string
	// Malformed says what breaks the format's rules, and is empty for a good row. PostID and Image of a malformed row
	// are what could be made out, as UTF-8 text within the limits.
	Malformed string
}

// Chunk is a run of rows of one file. It can be stored and sent: all of it is in its fields.
type Chunk struct {
	Index        int // in the plan
	Source       string
	Format       Format
	PostIDColumn string
	ImageColumn  string
	Offset       int64 // where its first row begins: a byte, in Parquet a row
	Line         int64 // the line at Offset, from 1
	Rows         int64
	Hash         string // of its rows, 128 bits in hexadecimal
}

// Plan reads every row of the listing, a file or a pattern as filepath.Match takes it (its files are read in the order of
// their names), and cuts it into chunks.
func Plan(ctx context.Context, pattern string, o Options) ([]Chunk, error) {
	if o.ChunkRows < 0 || o.ChunkRows > MaxChunkRows {
		return nil, fmt.Errorf("chunks of %d rows: want 1 to %d, or 0 for as many as suit the listing", o.ChunkRows, MaxChunkRows)
	}
	paths, err := expand(pattern)
	if err != nil {
		return nil, err
	}
	p := planner{rows: smallestChunk}
	if o.ChunkRows > 0 {
		p.rows, p.fixed = int64(o.ChunkRows), true
	}
	for _, path := range paths {
		c := Chunk{Source: path, Format: o.Format, PostIDColumn: o.PostIDColumn, ImageColumn: o.ImageColumn}
		if c.PostIDColumn == "" {
			c.PostIDColumn = DefaultPostIDColumn
		}
		if c.ImageColumn == "" {
			c.ImageColumn = DefaultImageColumn
		}
		if err := p.file(ctx, c); err != nil {
			return nil, err
		}
	}
	if len(p.chunks) == 0 {
		return nil, fmt.Errorf("the listing %s holds no rows", pattern)
	}
	chunks := make([]Chunk, len(p.chunks))
	for i, c := range p.chunks {
		chunks[i] = c.Chunk
		chunks[i].Index, chunks[i].Hash = i, c.hash.String()
	}
	return chunks, nil
}

// expand gives the files of a pattern. A file whose name happens to be a pattern is that file.
func expand(pattern string) ([]string, error) {
	if scheme, _, ok := strings.Cut(pattern, "://"); ok && !strings.ContainsAny(scheme, "/\\") {
		return nil, fmt.Errorf("the listing %s is not a local file: copy it to a local disk first", pattern)
	}
	if _, err := os.Lstat(pattern); err == nil || !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}, nil
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("the listing %s: %w", pattern, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no file matches the listing's pattern %s", pattern)
	}
	slices.Sort(paths)
	return paths, nil
}

// planner collects chunks. It joins neighbours of one file, two by two, when there are too many, so that one pass over
// a listing of unknown length is enough.
type planner struct {
	chunks []planned
	rows   int64 // of a chunk
	fixed  bool
}

type planned struct {
	Chunk
	hash rowsHash
}

func (p *planner) file(ctx context.Context, c Chunk) error {
	in, err := c.open()
	if err != nil {
		return err
	}
	defer in.Close()
	for {
		c.Offset, c.Line = in.position()
		var hash rowsHash
		var end error
		for c.Rows = 0; c.Rows < p.rows; c.Rows++ {
			var r record
			if r, end = in.next(); end != nil {
				break
			}
			hash.add(c.row(r))
		}
		if end != nil && end != io.EOF {
			return fmt.Errorf("%s: %w", c.Source, end)
		}
		if c.Rows > 0 {
			p.chunks = append(p.chunks, planned{c, hash})
			if len(p.chunks) >= manyChunks && p.rows < largestChunk && !p.fixed {
				p.join()
			}
		}
		if end != nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// join makes one chunk of two where two of one file follow each other.
func (p *planner) join() {
	p.rows *= 2
	joined := p.chunks[:0]
	for i := 0; i < len(p.chunks); i++ {
		c := p.chunks[i]
		if i+1 < len(p.chunks) {
			if next := p.chunks[i+1]; next.Source == c.Source && c.Rows+next.Rows <= p.rows {
				c.Rows += next.Rows
				c.hash.join(next.hash, next.Rows)
				i++
			}
		}
		joined = append(joined, c)
	}
	p.chunks = joined
}

// rowsHash is a hash of rows in their order, such that the hashes of two runs of rows give that of both: two
// polynomials modulo 2^64 whose coefficients are the halves of the rows' hashes.
type rowsHash [2]uint64

var rowsBase = rowsHash{0x9e3779b97f4a7c15, 0xd1b54a32d192ed03}

func (h *rowsHash) add(r Row) {
	text := make([]byte, 0, 512)
	for _, s := range [...]string{r.PostID, r.Image, r.Malformed} {
		text = binary.AppendUvarint(text, uint64(len(s)))
		text = append(text, s...)
	}
	x := xxh3.Hash128(text)
	h[0] = h[0]*rowsBase[0] + x.Hi
	h[1] = h[1]*rowsBase[1] + x.Lo
}

func (h *rowsHash) join(next rowsHash, rows int64) {
	for i := range h {
		for power, n := rowsBase[i], rows; n > 0; n >>= 1 {
			if n&1 == 1 {
				h[i] *= power
			}
			power *= power
		}
		h[i] += next[i]
	}
}

func (h rowsHash) String() string { return fmt.Sprintf("%016x%016x", h[0], h[1]) }

// Hash is that of all rows of a plan in their order, 128 bits in hexadecimal. It depends neither on what the files are
// called, nor on where they lie, nor on how they are cut into chunks.
func Hash(chunks []Chunk) string {
	var all rowsHash
	for _, c := range chunks {
		var h rowsHash
		fmt.Sscanf(c.Hash, "%16x%16x", &h[0], &h[1])
		all.join(h, c.Rows)
	}
	return all.String()
}

func (c Chunk) open() (opened, error) {
	columns := []string{c.PostIDColumn, c.ImageColumn}
	in, err := open(c.Source, c.Format, columns, c.Offset, c.Line)
	if missing := new(MissingColumnError); errors.As(err, &missing) {
		flag := "--image-column"
		if missing.Column == c.PostIDColumn {
			flag = "--post-id-column"
		}
		err = fmt.Errorf("%w; name the right one with %s", err, flag)
	}
	return in, err
}

// Read reads the chunk's rows, and checks that they are the ones that were planned.
func (c Chunk) Read(ctx context.Context) ([]Row, error) {
	in, err := c.open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	rows := make([]Row, 0, min(c.Rows, MaxChunkRows))
	var hash rowsHash
	for int64(len(rows)) < c.Rows {
		r, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Source, err)
		}
		rows = append(rows, c.row(r))
		hash.add(rows[len(rows)-1])
		if len(rows)%smallestChunk == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if hash.String() != c.Hash {
		return nil, fmt.Errorf("the listing %s has changed since the run began (rows from line %d on): start again with another output folder", c.Source, c.Line)
	}
	return rows, nil
}

// row is a record as a post, held to the limits of posts.
func (c Chunk) row(r record) Row {
	if len(r.values) == 1 { // plain text: the image is all there is
		r.values = append(r.values, r.values[0])
	}
	row := Row{Line: r.line, Malformed: r.bad}
	for i, to := range []*string{&row.PostID, &row.Image} {
		if i < len(r.values) {
			*to = r.values[i]
		}
	}
	if row.Malformed == "" {
		for _, v := range [...]struct{ column, value string }{{c.PostIDColumn, row.PostID}, {c.ImageColumn, row.Image}} {
			switch {
			case v.value == "":
				row.Malformed = fmt.Sprintf("%q is empty", v.column)
			case len(v.value) > maxValue:
				row.Malformed = fmt.Sprintf("%q has %d bytes: at most %d are taken", v.column, len(v.value), maxValue)
			}
		}
	}
	if row.Malformed != "" {
		row.PostID, row.Image = legible(row.PostID), legible(row.Image)
	}
	return row
}

// legible is what may stand in a report of a malformed value.
func legible(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxValue)], "\ufffd")
}
