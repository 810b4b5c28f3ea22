package listing

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	sampled   = 16         // places of a file where the lengths of rows are looked at
	atATime   = 16         // places looked at
	furthest  = 2 * maxRow // bytes looked at to find where a row begins
	chunkMost = 256 << 20  // bytes of a chunk
)

// ranges cuts a text into ranges of bytes that begin and end with rows, without reading it. ok is false if that cannot be
// told of too many places.
func (p *planner) ranges(ctx context.Context, c Chunk, in opened) (ok bool, err error) {
	begin, line := in.position()
	size := in.Info().Size
	k := newCutter(in, p.limits)
	length, err := k.rowLength(ctx, begin)
	if err != nil {
		return false, in.failed(err)
	}
	rows := p.rows
	if !p.fixed {
		for rows = max(rows, usualChunk); rows < largestChunk && float64(size)/length/float64(rows) > tooMany; {
			rows *= 2
		}
		p.rows = rows
	}
	most := max(min(int64(float64(rows)*length), chunkMost), (size-begin)/mostChunks, 1) // bytes
	n := (size - begin + most - 1) / most
	places := make([]int64, 0, n)
	for i := int64(1); i < n; i++ {
		places = append(places, begin+(size-begin)*i/n)
	}
	starts, err := k.rowStarts(ctx, places)
	if err == errUnknown {
		return false, nil
	}
	if err != nil {
		return false, in.failed(err)
	}
	ends := starts[:0]
	from := begin
	for _, end := range append(starts, size) {
		if end <= from {
			continue
		}
		if end-from > 4*most+furthest { // a chunk's rows are in memory together
			return false, nil
		}
		ends = append(ends, end)
		from = end
	}
	c.Offset, c.Line = begin, line
	for _, end := range ends {
		c.End, c.About = end, max(int64(float64(end-c.Offset)/length+0.5), 1)
		p.add(planned{Chunk: c})
		c.Offset, c.Line = end, 0
	}
	return true, nil
}

// cutter finds where rows begin by looking at a text from the middle.
type cutter struct {
	file   *source
	size   int64
	look   int  // bytes looked at first
	csv    bool // and otherwise every line is a row
	fields int  // of the CSV's header
}

func newCutter(in opened, l limits) cutter {
	k := cutter{file: in.source, size: in.Info().Size, look: l.look}
	if r, ok := in.reader.(*csvReader); ok {
		k.csv, k.fields = true, r.fields
	}
	return k
}

// none is the place of a row's start that was not found.
const none = -1

const mostUnknown = 64 // places of a file at which it is not known where a row begins, since each costs furthest bytes

var errUnknown = errors.New("it cannot be told where rows begin")

// rowStarts gives the first row's start after each of the places, or none. errUnknown says that too many are none.
func (k cutter) rowStarts(ctx context.Context, places []int64) ([]int64, error) {
	starts := make([]int64, len(places))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atATime)
	var unknown atomic.Int64
	for i, at := range places {
		g.Go(func() error {
			_, start, err := k.rowStart(ctx, at)
			if starts[i] = start; err == nil && start == none && unknown.Add(1) > mostUnknown {
				err = errUnknown
			}
			return err
		})
	}
	return starts, g.Wait()
}

// rowStart gives the start of the first row after a byte, and the text from there as far as it was looked at.
func (k cutter) rowStart(ctx context.Context, at int64) (text []byte, start int64, err error) {
	for look := k.look; ; look = min(8*look, furthest) {
		if err := ctx.Err(); err != nil {
			return nil, none, err
		}
		text = make([]byte, min(int64(look), k.size-at))
		if _, err := io.ReadFull(io.NewSectionReader(k.file, at, int64(len(text))), text); err != nil {
			return nil, none, err
		}
		all := at+int64(len(text)) == k.size
		if n := k.find(text, all); n != none {
			return text[n:], at + int64(n), nil
		}
		if all || look >= furthest {
			return nil, none, nil
		}
	}
}

// find gives the place in text, which begins anywhere in a row, where a row begins; none if that cannot be told without
// more of it. all says that there is no more.
//
// A line of a CSV either begins a row or is inside a quoted field. In both cases it is then beyond doubt where the rows
// after it end, and the two ways of telling rows apart soon meet: where the row ends that the line is inside of, if it is
// inside of one. A place where they meet begins a row in either case. If being inside a field would break the rules, the
// line begins a row. Only where no quote is in sight is it a guess: that lines with as many commas as the header are
// rows, and not all of them inside a quoted field.
func (k cutter) find(text []byte, all bool) int {
	line := bytes.IndexByte(text, '\n') + 1
	if line == 0 {
		return none
	}
	if !k.csv {
		return line
	}
	var row csvRow
	text[line-1] = '"' // as if a field was opened there
	n, bad := row.parse(text[line-1:min(line+maxRow, len(text))], all && len(text) <= line+maxRow)
	text[line-1] = '\n'
	switch {
	case bad != "", n == 0 && len(text) >= line+maxRow:
		return line
	case n == 0 && k.typical(text[line:]):
		return line
	case n == 0:
		return none
	}
	inside, outside := line-1+n, line
	for inside != outside {
		behind := &outside
		if inside < outside {
			behind = &inside
		}
		n := row.extent(text[*behind:], all)
		if n == 0 {
			return none
		}
		*behind += n
	}
	return inside
}

// typical says whether lines without quotes are rows as the header has them: at least 8, and all but one in 16.
func (k cutter) typical(text []byte) bool {
	if k.fields < 2 || bytes.IndexByte(text, '"') >= 0 {
		return false
	}
	rows, others := 0, 0
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return rows >= 8 && others*16 <= rows
		}
		if line := trimEnd(text[:i]); len(line) > 0 {
			rows++
			if bytes.Count(line, []byte(",")) != k.fields-1 {
				others++
			}
		}
		text = text[i+1:]
	}
}

// rowLength estimates how many bytes a row has.
func (k cutter) rowLength(ctx context.Context, begin int64) (float64, error) {
	rows, total := 0, 0
	for i := range int64(sampled) {
		text, _, err := k.rowStart(ctx, begin+(k.size-begin)*i/sampled)
		if err != nil {
			return 0, err
		}
		var row csvRow
		for n := 0; len(text) > 0; text = text[n:] {
			if n = bytes.IndexByte(text, '\n') + 1; k.csv {
				n = row.extent(text, false)
			}
			if n == 0 {
				break
			}
			if len(trimEnd(text[:n])) > 0 {
				rows++
			}
			total += n
		}
	}
	if rows == 0 { // none of them ends within what was looked at
		return maxRow, nil
	}
	return float64(total) / float64(rows), nil
}

// groups cuts Parquet by its row groups: small ones go together, large ones are divided evenly.
func (p *planner) groups(c Chunk, r *parquetReader) {
	rows := p.rows
	if !p.fixed {
		for rows = max(rows, usualChunk); rows < largestChunk && r.rows/rows > tooMany; {
			rows *= 2
		}
		p.rows = rows
	}
	cut := func(end int64) {
		if end > c.Offset {
			c.End, c.Rows, c.About, c.Line = end, end-c.Offset, end-c.Offset, c.Offset+1
			p.add(planned{Chunk: c})
			c.Offset = end
		}
	}
	begin := int64(0)
	for _, g := range r.file.RowGroups() {
		n := g.NumRows()
		if begin+n-c.Offset > rows {
			cut(begin)
		}
		if parts := (n + rows - 1) / rows; parts > 1 {
			for i := range parts {
				cut(begin + n*(i+1)/parts)
			}
		}
		begin += n
	}
	cut(begin)
}
