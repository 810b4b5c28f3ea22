package listing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// lines reads a file of text line by line, in memory that no line can enlarge.
type lines struct {
	r      *bufio.Reader
	offset int64 // of what comes next, in bytes
	line   int64 // of what comes next, from 1
}

// newLines begins at a place that position gave, or at 0, 0, the file's beginning.
func newLines(f io.ReadSeeker, offset, line int64) (*lines, error) {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	l := &lines{r: bufio.NewReaderSize(f, maxRow), offset: offset, line: max(line, 1)}
	if offset == 0 {
		if head, _ := l.r.Peek(len(bom)); string(head) == bom {
			l.skip(len(bom), 0)
		}
	}
	return l, nil
}

func (l *lines) position() (offset, line int64) { return l.offset, l.line }

// errTooLong is of a line, which has been skipped.
var errTooLong = fmt.Errorf("the row is longer than %d bytes", maxRow)

// peek returns the next line with its end. It stays unread, and valid until the next call. A blank line is a line.
// io.EOF comes after the last line, with or without its end.
func (l *lines) peek() ([]byte, error) {
	seen := 0
	for n := min(max(l.r.Buffered(), 4096), maxRow); ; n = min(2*n, maxRow) {
		text, err := l.r.Peek(n)
		if i := bytes.IndexByte(text[seen:], '\n'); i >= 0 {
			return text[:seen+i+1], nil
		}
		seen = len(text)
		switch {
		case err == io.EOF && len(text) > 0:
			return text, nil
		case err != nil:
			return nil, err
		case n == maxRow:
			return nil, errTooLong
		}
	}
}

// skip goes past n bytes with so many line ends among them. They have been peeked at.
func (l *lines) skip(n, ends int) {
	d, _ := l.r.Discard(n)
	l.offset += int64(d)
	l.line += int64(ends)
}

// skipLong goes past a line of any length.
func (l *lines) skipLong() error {
	for {
		text, err := l.r.ReadSlice('\n')
		l.offset += int64(len(text))
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		l.line++
		if err == io.EOF {
			return nil
		}
		return err
	}
}

// next returns the next line that is not blank, without its end; it is valid until the next call. bad tells that it was
// too long.
func (l *lines) next() (text []byte, line int64, bad string, err error) {
	for {
		line = l.line
		text, err = l.peek()
		if errors.Is(err, errTooLong) {
			return nil, line, errTooLong.Error(), l.skipLong()
		}
		if err != nil {
			return nil, line, "", err
		}
		l.skip(len(text), 1)
		if text = trimEnd(text); len(text) > 0 {
			return text, line, "", nil
		}
	}
}

// trimEnd takes a line's end away: LF or CRLF, or a CR before the end of the file.
func trimEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// textReader yields plain text, an image a line.
type textReader struct{ *lines }

func newText(f io.ReadSeeker, offset, line int64) (reader, error) {
	l, err := newLines(f, offset, line)
	return textReader{l}, err
}

func (t textReader) next() (record, error) {
	text, line, bad, err := t.lines.next()
	if err != nil {
		return record{}, err
	}
	r := record{line: line, values: []string{string(text)}, bad: bad}
	if bad == "" {
		r.bad = checkUTF8(r.values)
	}
	return r, nil
}
