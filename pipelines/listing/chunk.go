package listing

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/logobeam/logobeam/pipelines/store"
)

// Options say how a listing of posts is read. The zero value is that of a listing with the columns post_id and image.
type Options struct {
	Format       Format   // by default, by the file's extension
	PostIDColumn string   // post_id if empty
	ImageColumn  string   // image if empty
	Keep         []string // further columns that a row has as text: strings, numbers, booleans, dates
	// ChunkRows is the number of rows of a chunk. 0 lets the number of rows decide: 256 rows at first, twice as many each
	// time there would be 128 chunks, up to 16,384; and on, up to 65,536, each time there would be 4096. In a large file
	// that is cut without being read, chunks have about as many rows, by the length of some of them, 16,384 or more if 0;
	// and such a file is never cut into more than 16,384 chunks.
	ChunkRows int
	// Exact has large files, too, read once to cut them at exact rows.
	Exact bool
}

// Defaults of Options.
const (
	DefaultPostIDColumn = "post_id"
	DefaultImageColumn  = "image"
)

// maxChunkRows is the largest Options.ChunkRows: a chunk's rows are in memory together.
const maxChunkRows = 1 << 20

const guessedMost = 4 * maxChunkRows // rows of a chunk that was cut by a guess of their length

// written are the names that the output's columns have already.
var written = []string{"post_id", "brand", "probability", "frames", "image", "stage", "reason", "detail", "retryable"}

func (o Options) complete() Options {
	if o.PostIDColumn == "" {
		o.PostIDColumn = DefaultPostIDColumn
	}
	if o.ImageColumn == "" {
		o.ImageColumn = DefaultImageColumn
	}
	return o
}

// Check says what of the options no listing can be read by.
func (o Options) Check() error {
	o = o.complete()
	if o.ChunkRows < 0 || o.ChunkRows > maxChunkRows {
		return fmt.Errorf("chunks of %d rows: want 1 to %d, or 0 for as many as suit the listing", o.ChunkRows, maxChunkRows)
	}
	if o.Format != ByExtension && !slices.Contains(formats(), o.Format) {
		return fmt.Errorf("listings cannot be read as %q: the formats are %q", o.Format, formats())
	}
	for i, name := range o.Keep {
		switch {
		case name == "":
			return errors.New("a column to keep has no name: name columns as --keep author,language")
		case name == o.PostIDColumn || name == o.ImageColumn:
			return fmt.Errorf("the column %q cannot be kept beside itself: it identifies the post or its image already", name)
		case slices.Contains(o.Keep[:i], name):
			return fmt.Errorf("the column %q is to be kept twice", name)
		case slices.Contains(written, name):
			return fmt.Errorf("the column %q cannot be kept: the output has a column of that name already; rename it in the listing", name)
		}
	}
	return nil
}

// Row is a post to score.
type Row struct {
	Line          int64 // the line it begins at, from 1; in Parquet and folders the row; 0 if not known
	Offset        int64 // where it begins, as Chunk.Offset
	PostID, Image string
	Kept          []string // of the columns Options.Keep; "" where there is no value
	// Malformed says what breaks the format's rules, and is empty for a good row. The values of a malformed row are what
	// could be made out, as UTF-8 text within the limits.
	Malformed string
}

// Chunk is a run of rows of one file, or of images of one folder. It can be stored and sent: all of it is in its fields.
type Chunk struct {
	Index  int    // in the plan
	File   int    // of the listing's files, or folders, from 0
	Source string // a file's location, or a folder's
	// Version is that of the source, which must not change while the run lasts. It is empty if Hash is that of the rows,
	// and they decide whether something has changed.
	Version      string
	Format       Format
	PostIDColumn string
	ImageColumn  string
	Keep         []string
	Offset, End  int64  // where its first row begins, and the next chunk's: bytes of the (unpacked) text, rows of Parquet, files of a folder
	Line         int64  // the line at Offset, from 1; 0 if not known
	Rows         int64  // 0 if not known before they are read
	About        int64  // rows to be expected
	Hash         string // of its rows, or if Version is given of that, the range and the columns; 128 bits in hexadecimal. Without both, Read does not check that the rows are as they were
}

// Root is the folder that images' names are relative to, unless something else is asked for: the source's own.
func (c Chunk) Root() string {
	switch {
	case c.Format == folder:
		return c.Source
	case store.IsRemote(c.Source):
		root, _ := store.Split(c.Source)
		return root
	}
	return filepath.Dir(c.Source)
}

func (c Chunk) columns() columns {
	return columns{append([]string{c.PostIDColumn, c.ImageColumn}, c.Keep...), 2}
}

// open begins at the chunk's first row.
func (c Chunk) open(ctx context.Context) (opened, error) {
	if c.Format == folder {
		names, err := listed.images(ctx, c.Source)
		return opened{&folderReader{names: names, at: c.Offset}, nil}, err
	}
	in, err := openAt(ctx, c.Source, c.Format, c.columns(), c.Offset, c.End, c.Line)
	return in, c.suggest(err)
}

// suggest adds to the error of a missing column what can be done about it.
func (c Chunk) suggest(err error) error {
	missing := new(MissingColumnError)
	if !errors.As(err, &missing) {
		return err
	}
	flag := "--keep"
	switch missing.Column {
	case c.PostIDColumn:
		flag = "--post-id-column"
	case c.ImageColumn:
		flag = "--image-column"
	}
	return fmt.Errorf("%w; name the right one with %s", err, flag)
}

// changed is the error of a chunk that is not as it was planned.
func (c Chunk) changed() error {
	where := fmt.Sprintf("from byte %d", c.Offset)
	if c.Line > 0 {
		where = fmt.Sprintf("from line %d", c.Line)
	}
	return fmt.Errorf("the listing %s has changed since the run began (rows %s on): start again with another output folder", c.Source, where)
}

// Read reads the chunk's rows, and checks that they are the ones that were planned. It may be called from several
// goroutines. In a compressed file it goes on where an earlier Read of this process ended, if it can.
func (c Chunk) Read(ctx context.Context) (*Posts, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in, parked, err := parking.take(ctx, c)
	if err != nil {
		return nil, err
	}
	rows, err := c.read(ctx, in)
	// What an earlier call has left may be out of date: a connection that was closed, a folder's old list.
	if err != nil && ctx.Err() == nil && (parked || c.Format == folder) {
		in.close()
		listed.forget(c.Source)
		if in, err = c.open(ctx); err != nil {
			return nil, err
		}
		rows, err = c.read(ctx, in)
	}
	if err != nil {
		in.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	parking.leave(c, in)
	return rows, nil
}

func (c Chunk) read(ctx context.Context, in opened) (*Posts, error) {
	defer in.during(ctx)()
	if c.Version != "" && version(in.Info()) != c.Version {
		return nil, c.changed()
	}
	rows := &Posts{begin: make([]int, 0, min(max(c.Rows, c.About), maxChunkRows))}
	var hash rowsHash
	var post post
	for {
		at, _ := in.position()
		if c.Rows > 0 && int64(rows.Len()) == c.Rows || c.Rows == 0 && at >= c.End {
			break
		}
		r, err := in.next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, store.ErrChanged) {
			return nil, c.changed()
		}
		if err != nil {
			return nil, in.failed(err)
		}
		if rows.Len() == guessedMost {
			return nil, fmt.Errorf("the listing %s has more than %d rows from byte %d to %d, since their lengths differ too much to be guessed: have it read once first with --exact-chunks", c.Source, rows.Len(), c.Offset, c.End)
		}
		if c.Rows == 0 && r.end > c.End {
			return nil, fmt.Errorf("the listing %s was to be cut at byte %d, but the row that begins at byte %d goes on to byte %d: quoted fields that span lines hide where rows begin; have it read once first with --exact-chunks",
				c.Source, c.End, r.offset, r.end)
		}
		post.take(&c, r)
		if rows.add(&post); rows.Len() == 256 { // the others will be about as long: text that grew would be twice as large
			rows.text.Grow(min(rows.text.Len()/256*(cap(rows.begin)-256), 4<<20))
		}
		if c.Version == "" {
			hash.add(&post)
		}
	}
	end, _ := in.position()
	if c.Version == "" && c.Hash != "" && hash.String() != c.Hash || int64(rows.Len()) < c.Rows || c.Rows == 0 && end < c.End {
		return nil, c.changed()
	}
	return rows, nil
}

// post is a record held to the limits of posts.
type post struct {
	record
	kept    int      // values after post_id and image
	text    [][]byte // post_id, image and what is kept
	scratch []byte
}

// take makes a post of a record. It is valid as long as that.
func (p *post) take(c *Chunk, r record) {
	p.record, p.kept = r, len(c.Keep)
	p.text = append(p.text[:0], r.values...)
	if len(r.values) == 1 { // plain text: the image is all there is
		p.text = append(p.text, r.values[0])
	}
	for len(p.text) < 2+p.kept {
		p.text = append(p.text, nil)
	}
	for i, v := range p.text {
		if p.bad != "" {
			break
		}
		if i < 2 && len(v) == 0 {
			p.bad = fmt.Sprintf("%q is empty", c.column(i))
		} else if len(v) > maxValue {
			p.bad = fmt.Sprintf("%q has %d bytes: at most %d are taken", c.column(i), len(v), maxValue)
		}
	}
	if p.bad != "" {
		for i, v := range p.text {
			p.text[i] = []byte(legible(string(v)))
		}
	}
}

func (c Chunk) column(i int) string {
	switch i {
	case 0:
		return c.PostIDColumn
	case 1:
		return c.ImageColumn
	}
	return c.Keep[i-2]
}

// row is the post for good. Its values share one string.
func (p *post) row() Row {
	p.scratch = p.scratch[:0]
	for _, v := range p.text {
		p.scratch = append(p.scratch, v...)
	}
	all := string(p.scratch)
	next := func(v []byte) (s string) {
		s, all = all[:len(v)], all[len(v):]
		return s
	}
	row := Row{Line: p.line, Offset: p.offset, PostID: next(p.text[0]), Image: next(p.text[1]), Malformed: p.bad}
	if p.kept > 0 {
		row.Kept = make([]string, p.kept)
		for i := range row.Kept {
			row.Kept[i] = next(p.text[2+i])
		}
	}
	return row
}

// legible is what may stand in a report of a malformed value.
func legible(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxValue)], "\ufffd")
}

// rowsHash is a hash of rows in their order, such that the hashes of two runs of rows give that of both: two
// polynomials modulo 2^64 whose coefficients are the halves of the rows' hashes.
type rowsHash [2]uint64

var rowsBase = rowsHash{0x9e3779b97f4a7c15, 0xd1b54a32d192ed03}

func (h *rowsHash) add(p *post) {
	text := p.scratch[:0]
	for i, v := range p.text {
		text = append(binary.AppendUvarint(text, uint64(len(v))), v...)
		if i == 1 {
			text = append(binary.AppendUvarint(text, uint64(len(p.bad))), p.bad...)
		}
	}
	p.scratch = text
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

// identity is the hash of a chunk whose rows are not read.
func (c Chunk) identity() string {
	h := xxh3.HashString128(fmt.Sprintf("%q %d %d %q %q", c.Version, c.Offset, c.End, c.Format, c.columns().names))
	return rowsHash{h.Hi, h.Lo}.String()
}

// Hash is that of a whole plan in its order, 128 bits in hexadecimal. It depends neither on what the files are called, nor
// on where they lie. Of files whose rows were read it is that of their rows, however they are cut into chunks.
func Hash(chunks []Chunk) string {
	var all rowsHash
	for _, c := range chunks {
		var h rowsHash
		fmt.Sscanf(c.Hash, "%16x%16x", &h[0], &h[1])
		if c.Version != "" {
			all.join(h, 1)
		} else {
			all.join(h, c.Rows)
		}
	}
	return all.String()
}

// Rows is how many rows a plan has. Where a file is cut without being read, n is an estimate.
func Rows(chunks []Chunk) (n int64, exact bool) {
	exact = true
	for _, c := range chunks {
		n += max(c.Rows, c.About)
		exact = exact && c.Rows > 0
	}
	return n, exact
}
