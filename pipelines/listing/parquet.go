package listing

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// parquetReader reads the columns asked for and no others.
type parquetReader struct {
	groups  []parquet.RowGroup
	rows    int64 // of the file
	row     int64 // what comes next, from 0
	left    int64 // rows of the current group that are still to come
	names   []string
	columns []*column // of the current group
	leaves  []int
	text    []func(parquet.Value) string
}

func newParquet(f *os.File, path string, names []string, offset int64) (r reader, err error) {
	defer recoverParquet(path, &err)
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%s is not a Parquet file, or a damaged one: %w", path, err)
	}
	p := &parquetReader{groups: file.RowGroups(), rows: file.NumRows(), names: names}
	sum := int64(0)
	for _, g := range p.groups {
		sum += g.NumRows()
	}
	if sum != p.rows || offset > p.rows {
		return nil, fmt.Errorf("%s is damaged, or has changed: it announces %d rows and its row groups hold %d", path, p.rows, sum)
	}
	// A column that is not there would read as empty strings.
	var have []string
	for _, c := range file.Schema().Columns() {
		if len(c) == 1 {
			have = append(have, c[0])
		}
	}
	for _, name := range names {
		if !slices.Contains(have, name) {
			return nil, &MissingColumnError{path, name, have}
		}
		leaf, _ := file.Schema().Lookup(name)
		text := textOf(leaf.Node)
		if text == nil {
			return nil, fmt.Errorf("%s: column %q is %v: want strings or integers", path, name, leaf.Node)
		}
		p.leaves = append(p.leaves, leaf.ColumnIndex)
		p.text = append(p.text, text)
	}
	if p.row = offset; offset < p.rows {
		err = p.enter(offset)
	}
	return p, err
}

// recoverParquet turns what the library makes of a damaged file into an error.
func recoverParquet(path string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s is a damaged Parquet file: %v", path, p)
	}
}

// textOf is how a value of a column is written as text; nil if the column holds neither strings nor integers.
func textOf(n parquet.Node) func(parquet.Value) string {
	if n.Repeated() {
		return nil
	}
	var logical format.LogicalTypeValue
	if t := n.Type().LogicalType(); t != nil {
		logical = t.Value
	}
	signed := true
	switch t := logical.(type) {
	case nil, *format.StringType, *format.EnumType, *format.JsonType:
	case *format.IntType:
		signed = t.IsSigned
	default: // dates, decimals and others
		return nil
	}
	switch n.Type().Kind() {
	case parquet.ByteArray:
		return func(v parquet.Value) string { return string(v.ByteArray()) }
	case parquet.Int32:
		if signed {
			return func(v parquet.Value) string { return strconv.FormatInt(int64(v.Int32()), 10) }
		}
		return func(v parquet.Value) string { return strconv.FormatUint(uint64(v.Uint32()), 10) }
	case parquet.Int64:
		if signed {
			return func(v parquet.Value) string { return strconv.FormatInt(v.Int64(), 10) }
		}
		return func(v parquet.Value) string { return strconv.FormatUint(v.Uint64(), 10) }
	}
	return nil
}

// enter goes to a row of the next row group that has any, counted from 0.
func (p *parquetReader) enter(row int64) error {
	p.Close()
	for p.left = 0; p.left == 0; {
		group := p.groups[0]
		p.groups = p.groups[1:]
		if p.left = max(group.NumRows()-row, 0); p.left == 0 {
			row -= group.NumRows()
			continue
		}
		chunks := group.ColumnChunks()
		for _, leaf := range p.leaves {
			c := &column{pages: chunks[leaf].Pages()}
			p.columns = append(p.columns, c)
			if row > 0 {
				if err := c.pages.SeekToRow(row); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Close leaves the current row group.
func (p *parquetReader) Close() error {
	for _, c := range p.columns {
		parquet.Release(c.page)
		c.pages.Close()
	}
	p.columns = nil
	return nil
}

func (p *parquetReader) position() (offset, line int64) { return p.row, p.row + 1 }

func (p *parquetReader) next() (r record, err error) {
	defer recoverParquet("this", &err)
	if p.row == p.rows {
		return record{}, io.EOF
	}
	if p.left == 0 {
		if err := p.enter(0); err != nil {
			return record{}, err
		}
	}
	r = record{line: p.row + 1, values: make([]string, len(p.columns))}
	for i, c := range p.columns {
		v, err := c.next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return record{}, fmt.Errorf("column %q, row %d: %w", p.names[i], r.line, err)
		}
		if v.IsNull() {
			r.bad = fmt.Sprintf("%q is null", p.names[i])
			continue
		}
		r.values[i] = p.text[i](v)
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
