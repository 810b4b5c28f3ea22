package listing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// csvReader reads RFC 4180 as encoding/csv does, but in bounded memory, from any row on, and past rows that are broken.
// It differs in one rule: a quote inside a field that does not begin with one is a character like any other.
type csvReader struct {
	*lines
	fields int   // in the header, and so in every row
	where  []int // the columns asked for are
	row    csvRow
	values [][]byte // of the columns asked for
}

// newCSV reads the header, which l is at.
func newCSV(l *lines, location string, want columns) (reader, error) {
	c := &csvReader{lines: l}
	header, err := c.read()
	if err == io.EOF {
		return nil, fmt.Errorf("%s is empty: a CSV listing begins with a header", location)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, line 1, its header: %w", location, err)
	}
	if header.bad != "" {
		return nil, fmt.Errorf("%s: its header: %s", location, header.bad)
	}
	names := make([]string, len(c.row.fields))
	for i, name := range c.row.fields {
		names[i] = string(name)
	}
	c.fields = len(names)
	for _, name := range want.names {
		i := slices.Index(names, name)
		if i < 0 {
			return nil, &MissingColumnError{location, name, names}
		}
		if slices.Contains(names[i+1:], name) {
			return nil, fmt.Errorf("%s has more than one column %q: rename the one that is not meant", location, name)
		}
		c.where = append(c.where, i)
	}
	c.values = make([][]byte, len(c.where))
	return c, nil
}

func (c *csvReader) next() (record, error) {
	r, err := c.read()
	if err != nil {
		return record{}, err
	}
	row := c.row.fields
	if r.bad == "" && len(row) != c.fields {
		r.bad = fmt.Sprintf("the row has %d fields and the header has %d", len(row), c.fields)
	}
	for k, i := range c.where {
		c.values[k] = nil
		if i < len(row) {
			c.values[k] = row[i]
		}
	}
	r.values = c.values
	if r.bad == "" {
		r.bad = checkUTF8(r.values)
	}
	return r, nil
}

// read takes the next row that is not a blank line into c.row. Of a broken row, bad tells what is wrong with it; it ends
// with its first line, so that a quote too many cannot swallow what follows.
func (c *csvReader) read() (r record, err error) {
	defer func() { r.end = c.offset }()
	c.row.fields = c.row.fields[:0]
	r.offset, r.line = c.position()
	text, err := c.peek()
	if errors.Is(err, errTooLong) {
		r.bad = errTooLong.Error()
		return r, c.skipLong()
	}
	if err != nil {
		return r, err
	}
	first := len(text)
	if bytes.IndexByte(text, '"') < 0 {
		c.row.split(trimEnd(text))
		c.skip(first, 1)
		return r, nil
	}
	n := 0
	for window := max(first, min(c.to-c.at, maxRow)); n == 0 && r.bad == ""; window = min(2*window, maxRow) {
		text = c.ahead(window)
		if len(text) < window && c.err != io.EOF {
			return r, c.err
		}
		if n, r.bad = c.row.parse(text, len(text) < window); n == 0 && r.bad == "" && window == maxRow {
			r.bad = unclosed
		}
	}
	if r.bad != "" {
		c.skip(first, 1)
		return r, nil
	}
	c.skip(n, bytes.Count(text[:n], []byte("\n")))
	return r, nil
}

const unclosed = "a quote is not closed"

// csvRow takes a row apart.
type csvRow struct {
	fields [][]byte
	bytes  []byte // of a row with quotes, unquoted
	ends   []int  // of its fields in bytes
}

// split takes a row without quotes, and without its end.
func (c *csvRow) split(text []byte) {
	c.fields = c.fields[:0]
	for {
		i := bytes.IndexByte(text, ',')
		if i < 0 {
			c.fields = append(c.fields, text)
			return
		}
		c.fields = append(c.fields, text[:i])
		text = text[i+1:]
	}
}

// extent is how many bytes the next row or blank line in text has, or 0 if that cannot be told without more of it; all
// says that there is no more.
func (c *csvRow) extent(text []byte, all bool) int {
	first := bytes.IndexByte(text, '\n') + 1
	switch {
	case first == 0 && (!all || len(text) > maxRow):
		return 0
	case first == 0:
		first = len(text)
	}
	if first > maxRow || bytes.IndexByte(text[:first], '"') < 0 {
		return first
	}
	if len(text) >= maxRow {
		text, all = text[:maxRow], false
	}
	switch n, bad := c.parse(text, all); {
	case n > 0:
		return n
	case bad != "" || len(text) == maxRow:
		return first
	}
	return 0
}

// parse takes one row from the beginning of text: n bytes of however many lines. Of a broken row, fields are those before
// the broken one. It returns 0 if the row may go on after text, which it does not if all is true.
func (c *csvRow) parse(text []byte, all bool) (n int, bad string) {
	c.bytes, c.ends, c.fields = c.bytes[:0], c.ends[:0], c.fields[:0]
	defer func() {
		begin := 0
		for _, end := range c.ends {
			c.fields = append(c.fields, c.bytes[begin:end])
			begin = end
		}
	}()
	endField := func() { c.ends = append(c.ends, len(c.bytes)) }
	for i := 0; ; i++ {
		if i == len(text) || text[i] != '"' {
			j := bytes.IndexAny(text[i:], ",\n")
			if j < 0 && !all {
				return 0, ""
			}
			if j < 0 {
				j = len(text) - i
			}
			field := text[i : i+j]
			i += j
			if i == len(text) || text[i] == '\n' {
				c.bytes = append(c.bytes, bytes.TrimSuffix(field, []byte("\r"))...)
				endField()
				return min(i+1, len(text)), ""
			}
			c.bytes = append(c.bytes, field...)
			endField()
			continue
		}
		for quote := i; text[quote] == '"'; quote = i { // the opening one, and then each second of a pair
			j := bytes.IndexByte(text[quote+1:], '"')
			if j < 0 && all {
				return 0, unclosed
			}
			i = quote + 1 + j + 1 // after the next quote
			if j < 0 || i == len(text) && !all {
				return 0, ""
			}
			c.bytes = append(c.bytes, text[quote+1:i-1]...)
			if i == len(text) || text[i] != '"' {
				break
			}
			c.bytes = append(c.bytes, '"')
		}
		endField()
		switch rest := text[i:]; {
		case len(rest) > 0 && rest[0] == ',':
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1, ""
		case bytes.HasPrefix(rest, []byte("\r\n")):
			return i + 2, ""
		case len(rest) < 2 && len(bytes.TrimSuffix(rest, []byte("\r"))) == 0:
			if !all {
				return 0, ""
			}
			return len(text), ""
		default:
			c.ends = c.ends[:len(c.ends)-1]
			return 0, "text follows a closing quote"
		}
	}
}
