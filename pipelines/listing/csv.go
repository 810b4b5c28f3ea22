package listing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// csvReader reads RFC 4180 as encoding/csv does, but in bounded memory, from any row on, and past rows that are broken.
// It differs in one rule: a quote inside a field that does not begin with one is a character like any other.
type csvReader struct {
	*lines
	fields int   // in the header, and so in every row
	at     []int // where the columns asked for are
	row    []string
	bytes  []byte // of a row with quotes, unquoted
	ends   []int  // of its fields in bytes
}

func newCSV(f io.ReadSeeker, path string, columns []string, offset, line int64) (reader, error) {
	l, err := newLines(f, 0, 0)
	if err != nil {
		return nil, err
	}
	c := &csvReader{lines: l}
	header, _, bad, err := c.read()
	if err == io.EOF {
		return nil, fmt.Errorf("%s is empty: a CSV listing begins with a header", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if bad != "" {
		return nil, fmt.Errorf("%s: its header: %s", path, bad)
	}
	c.fields = len(header)
	for _, name := range columns {
		i := slices.Index(header, name)
		if i < 0 {
			return nil, &MissingColumnError{path, name, slices.Clone(header)}
		}
		if slices.Contains(header[i+1:], name) {
			return nil, fmt.Errorf("%s has more than one column %q: rename the one that is not meant", path, name)
		}
		c.at = append(c.at, i)
	}
	if offset > 0 {
		c.lines, err = newLines(f, offset, line)
	}
	return c, err
}

func (c *csvReader) next() (record, error) {
	row, line, bad, err := c.read()
	if err != nil {
		return record{}, err
	}
	r := record{line: line, bad: bad}
	if bad == "" && len(row) != c.fields {
		r.bad = fmt.Sprintf("the row has %d fields and the header has %d", len(row), c.fields)
	}
	for _, i := range c.at {
		if i < len(row) {
			r.values = append(r.values, row[i])
		} else {
			r.values = append(r.values, "")
		}
	}
	if r.bad == "" {
		r.bad = checkUTF8(r.values)
	}
	return r, nil
}

// read returns the fields of the next row that is not a blank line, and the line it begins at. Of a broken row, bad
// tells what is wrong with it; it ends with its first line, so that a quote too many cannot swallow what follows.
func (c *csvReader) read() (row []string, line int64, bad string, err error) {
	for {
		line = c.line
		text, err := c.peek()
		if errors.Is(err, errTooLong) {
			return nil, line, errTooLong.Error(), c.skipLong()
		}
		if err != nil {
			return nil, line, "", err
		}
		first := len(text)
		if text = trimEnd(text); len(text) == 0 {
			c.skip(first, 1)
			continue
		}
		if bytes.IndexByte(text, '"') < 0 {
			c.row = append(c.row[:0], strings.Split(string(text), ",")...)
			c.skip(first, 1)
			return c.row, line, "", nil
		}
		n, bad, err := c.quoted(first)
		if err != nil {
			return nil, line, "", err
		}
		if bad != "" {
			c.skip(first, 1)
			return c.row, line, bad, nil
		}
		text, _ = c.r.Peek(n)
		c.skip(n, bytes.Count(text, []byte("\n")))
		return c.row, line, "", nil
	}
}

// quoted parses the row that comes next, whose first line has a quote and first bytes: n of however many lines. Of a broken
// row, c.row holds the fields before the broken one.
func (c *csvReader) quoted(first int) (n int, bad string, err error) {
	for window := first; ; window = min(2*window, maxRow) {
		text, err := c.r.Peek(window)
		if err != nil && err != io.EOF {
			return 0, "", err
		}
		n, bad = c.parse(text, err == io.EOF)
		if n > 0 || bad != "" {
			return n, bad, nil
		}
		if window == maxRow {
			return 0, unclosed, nil
		}
	}
}

const unclosed = "a quote is not closed"

// parse takes one row from the beginning of text. It returns 0 if the row may go on after text, which it does not if
// all is true.
func (c *csvReader) parse(text []byte, all bool) (n int, bad string) {
	c.bytes, c.ends, c.row = c.bytes[:0], c.ends[:0], c.row[:0]
	defer func() {
		s := string(c.bytes)
		begin := 0
		for _, end := range c.ends {
			c.row = append(c.row, s[begin:end])
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
