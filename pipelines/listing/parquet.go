package listing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/logobeam/logobeam/pipelines/store"
)

// parquetReader reads the columns asked for and no others.
type parquetReader struct {
	location string
	file     *parquet.File
	rows     int64 // of the file
	row      int64 // what comes next, from 0
	left     int64 // rows of the current group that are still to come
	group    int   // the next one
	want     columns
	columns  []*column // of the current group
	leaves   []int
	text     []func(to []byte, v parquet.Value) []byte
	values   [][]byte
	scratch  []byte
}

const (
	footer       = 64 << 10 // bytes of the end of a file that are read at once
	remoteBuffer = 1 << 20  // bytes of a column that are read from a bucket at once
)

// tailed is a file whose end has been read.
type tailed struct {
	io.ReaderAt
	begin int64
	tail  []byte
}

func (t tailed) ReadAt(to []byte, at int64) (int, error) {
	if at >= t.begin && at+int64(len(to)) <= t.begin+int64(len(t.tail)) {
		return copy(to, t.tail[at-t.begin:]), nil
	}
	return t.ReaderAt.ReadAt(to, at)
}

// newParquet reads the footer, and no row.
func newParquet(s *source, want columns) (r reader, err error) {
	defer recoverParquet(s.location, &err)
	if s.packed != plain {
		return nil, fmt.Errorf("%s is compressed with %s around its own compression: unpack it first", s.location, s.packed)
	}
	size := s.Info().Size
	t := tailed{s, max(size-footer, 0), make([]byte, min(size, footer))}
	if _, err := s.ReadAt(t.tail, t.begin); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s cannot be read: %w", s.location, err)
	}
	if n := len(t.tail); n < 12 || int64(binary.LittleEndian.Uint32(t.tail[n-8:])) > size-8 { // it would be allocated
		return nil, fmt.Errorf("%s is not a Parquet file, or a damaged one", s.location)
	}
	buffer := readBuffer
	if store.IsRemote(s.location) {
		buffer = remoteBuffer
	}
	file, err := parquet.OpenFile(t, size, parquet.SkipMagicBytes(true), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(buffer))
	if err != nil {
		return nil, fmt.Errorf("%s is not a Parquet file, or a damaged one: %w", s.location, err)
	}
	p := &parquetReader{location: s.location, file: file, rows: file.NumRows(), want: want, values: make([][]byte, len(want.names))}
	sum := int64(0)
	for _, g := range file.RowGroups() {
		if g.NumRows() < 0 {
			return nil, fmt.Errorf("%s is damaged: a row group announces %d rows", s.location, g.NumRows())
		}
		sum += g.NumRows()
	}
	if sum != p.rows {
		return nil, fmt.Errorf("%s is damaged: it announces %d rows and its row groups hold %d", s.location, p.rows, sum)
	}
	// A column that is not there would read as empty strings.
	var have []string
	for _, c := range file.Schema().Columns() {
		if len(c) == 1 {
			have = append(have, c[0])
		}
	}
	for i, name := range want.names {
		if !slices.Contains(have, name) {
			return nil, &MissingColumnError{s.location, name, have}
		}
		leaf, _ := file.Schema().Lookup(name)
		wanted, text := "strings or integers", textOf(leaf.Node)
		if i >= want.firm {
			wanted, text = "strings, numbers, booleans, dates or timestamps", renderingOf(leaf.Node)
		}
		if text == nil {
			return nil, fmt.Errorf("%s: column %q is %v: want %s", s.location, name, leaf.Node, wanted)
		}
		p.leaves = append(p.leaves, leaf.ColumnIndex)
		p.text = append(p.text, text)
	}
	return p, nil
}

// recoverParquet turns what the library makes of a damaged file into an error.
func recoverParquet(path string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s is a damaged Parquet file: %v", path, p)
	}
}

// textOf is how a value of a column is written as text; nil if the column holds neither strings nor integers.
func textOf(n parquet.Node) func([]byte, parquet.Value) []byte {
	if n.Repeated() {
		return nil
	}
	signed := true
	switch t := logicalOf(n).(type) {
	case nil, *format.StringType, *format.EnumType, *format.JsonType:
	case *format.IntType:
		signed = t.IsSigned
	default: // dates, decimals and others
		return nil
	}
	switch n.Type().Kind() {
	case parquet.ByteArray:
		return func(to []byte, v parquet.Value) []byte { return append(to, v.ByteArray()...) }
	case parquet.Int32:
		if signed {
			return func(to []byte, v parquet.Value) []byte { return strconv.AppendInt(to, int64(v.Int32()), 10) }
		}
		return func(to []byte, v parquet.Value) []byte { return strconv.AppendUint(to, uint64(v.Uint32()), 10) }
	case parquet.Int64:
		if signed {
			return func(to []byte, v parquet.Value) []byte { return strconv.AppendInt(to, v.Int64(), 10) }
		}
		return func(to []byte, v parquet.Value) []byte { return strconv.AppendUint(to, v.Uint64(), 10) }
	}
	return nil
}

func logicalOf(n parquet.Node) format.LogicalTypeValue {
	if t := n.Type().LogicalType(); t != nil {
		return t.Value
	}
	return nil
}

// renderingOf is how a value of a column that is kept is written as text: numbers in decimal, dates and times as ISO 8601
// has them. It is nil for nested columns and for types without a text.
func renderingOf(n parquet.Node) func([]byte, parquet.Value) []byte {
	if text := textOf(n); text != nil || n.Repeated() {
		return text
	}
	kind := n.Type().Kind()
	switch t := logicalOf(n).(type) {
	case nil:
		switch kind {
		case parquet.Boolean:
			return func(to []byte, v parquet.Value) []byte { return strconv.AppendBool(to, v.Boolean()) }
		case parquet.Float:
			return func(to []byte, v parquet.Value) []byte {
				return strconv.AppendFloat(to, float64(v.Float()), 'g', -1, 32)
			}
		case parquet.Double:
			return func(to []byte, v parquet.Value) []byte { return strconv.AppendFloat(to, v.Double(), 'g', -1, 64) }
		}
	case *format.DateType:
		if kind == parquet.Int32 {
			return func(to []byte, v parquet.Value) []byte {
				return time.Unix(int64(v.Int32())*24*60*60, 0).UTC().AppendFormat(to, time.DateOnly)
			}
		}
	case *format.TimestampType:
		layout := "2006-01-02T15:04:05.999999999"
		if t.IsAdjustedToUTC { // otherwise it is a local time of a zone that is not known
			layout += "Z"
		}
		var at func(int64) time.Time
		switch t.Unit.Value.(type) {
		case *format.MilliSeconds:
			at = time.UnixMilli
		case *format.MicroSeconds:
			at = time.UnixMicro
		case *format.NanoSeconds:
			at = func(n int64) time.Time { return time.Unix(0, n) }
		}
		if kind == parquet.Int64 && at != nil {
			return func(to []byte, v parquet.Value) []byte { return at(v.Int64()).UTC().AppendFormat(to, layout) }
		}
	case *format.DecimalType:
		switch kind {
		case parquet.Int32:
			return func(to []byte, v parquet.Value) []byte { return appendDecimal(to, int64(v.Int32()), int(t.Scale)) }
		case parquet.Int64:
			return func(to []byte, v parquet.Value) []byte { return appendDecimal(to, v.Int64(), int(t.Scale)) }
		}
	}
	return nil
}

// appendDecimal writes n / 10^scale, with all its decimals. Scales are at most 18, as those of 64 bits are.
func appendDecimal(to []byte, n int64, scale int) []byte {
	scale = min(max(scale, 0), 18)
	u := uint64(n)
	if n < 0 {
		to, u = append(to, '-'), -u
	}
	digits := fmt.Sprintf("%0*d", scale+1, u)
	to = append(to, digits[:len(digits)-scale]...)
	if scale > 0 {
		to = append(append(to, '.'), digits[len(digits)-scale:]...)
	}
	return to
}

// seek goes to a row. Where a column has an index of its pages, the pages before that row are not read.
func (p *parquetReader) seek(row, _, _ int64) (err error) {
	defer recoverParquet(p.location, &err)
	if row == p.row && row > 0 {
		return nil
	}
	p.leave()
	p.row, p.left, p.group = min(row, p.rows), 0, 0
	if p.row == p.rows {
		return nil
	}
	groups := p.file.RowGroups()
	for row >= groups[p.group].NumRows() {
		row -= groups[p.group].NumRows()
		p.group++
	}
	return p.enter(row)
}

// enter goes to a row of the next row group that has any, counted from 0.
func (p *parquetReader) enter(row int64) error {
	p.leave()
	groups := p.file.RowGroups()
	for groups[p.group].NumRows() == 0 {
		p.group++
	}
	group := groups[p.group]
	p.left = group.NumRows() - row
	chunks := group.ColumnChunks()
	for _, leaf := range p.leaves {
		chunk := chunks[leaf]
		// The library finds a column's index by the number that its row group claims, which not every writer sets.
		meta := p.file.Metadata().RowGroups[p.group]
		index := int64(meta.Columns[leaf].OffsetIndexLength)
		if file, ok := chunk.(*parquet.FileColumnChunk); ok && row > 0 && int(meta.Ordinal) == p.group && index > 0 && index < p.file.Size() {
			if _, err := file.OffsetIndex(); err != nil && !errors.Is(err, parquet.ErrMissingOffsetIndex) {
				return err
			}
		}
		c := &column{pages: chunk.Pages()}
		p.columns = append(p.columns, c)
		if row > 0 {
			if err := c.pages.SeekToRow(row); err != nil {
				return err
			}
		}
	}
	p.group++
	return nil
}

// leave leaves the current row group.
func (p *parquetReader) leave() {
	for _, c := range p.columns {
		parquet.Release(c.page)
		c.pages.Close()
	}
	p.columns = p.columns[:0]
}

func (p *parquetReader) close() { p.leave() }

func (p *parquetReader) position() (offset, line int64) { return p.row, p.row + 1 }

func (p *parquetReader) next() (r record, err error) {
	defer recoverParquet(p.location, &err)
	if p.row == p.rows {
		return record{}, io.EOF
	}
	if p.left == 0 {
		if err := p.enter(0); err != nil {
			return record{}, err
		}
	}
	r = record{offset: p.row, line: p.row + 1, values: p.values}
	p.scratch = p.scratch[:0]
	for i, c := range p.columns {
		v, err := c.next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return record{}, fmt.Errorf("column %q, row %d: %w", p.want.names[i], r.line, err)
		}
		p.values[i] = nil
		if !v.IsNull() {
			begin := len(p.scratch)
			p.scratch = p.text[i](p.scratch, v)
			p.values[i] = p.scratch[begin:]
		} else if i < p.want.firm && r.bad == "" {
			r.bad = fmt.Sprintf("%q is null", p.want.names[i])
		}
	}
	p.row++
	p.left--
	if r.bad == "" {
		r.bad = checkUTF8(r.values)
	}
	return r, nil
}

// column reads the values of one column of a row group.
type column struct {
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buffer [256]parquet.Value
	ready  []parquet.Value
}

func (c *column) next() (parquet.Value, error) {
	for len(c.ready) == 0 {
		if c.values == nil {
			parquet.Release(c.page)
			c.page = nil
			page, err := c.pages.ReadPage()
			if err != nil {
				return parquet.Value{}, err
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.buffer[:])
		c.ready = c.buffer[:n]
		if errors.Is(err, io.EOF) {
			c.values = nil
		} else if err != nil {
			return parquet.Value{}, err
		}
	}
	v := c.ready[0]
	c.ready = c.ready[1:]
	return v, nil
}
