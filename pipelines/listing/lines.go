package listing

import (
	"bytes"
	"fmt"
	"io"
)

// lines reads text line by line, in memory that no line can enlarge.
type lines struct {
	open   func(offset, end int64) (io.ReadCloser, error) // as source.stream
	again  bool                                           // going forward is reading on
	in     io.ReadCloser
	err    error // that ended in
	buffer []byte
	at, to int   // what is read and not yet skipped is buffer[at:to]
	offset int64 // of what comes next, in bytes
	line   int64 // of what comes next, from 1; 0 if not known
}

// newLines begins at the beginning.
func newLines(s *source, end int64) (*lines, error) {
	l := &lines{open: s.stream, again: s.packed != plain, buffer: make([]byte, readBuffer)}
	if err := l.restart(0, end); err != nil {
		return nil, err
	}
	l.line = 1
	if err := checkText(l.ahead(4)); err != nil {
		l.close()
		return nil, err
	}
	if bytes.HasPrefix(l.ahead(len(bom)), []byte(bom)) {
		l.skip(len(bom), 0)
	}
	return l, nil
}

func (l *lines) restart(offset, end int64) (err error) {
	l.close()
	l.in, err = l.open(offset, end)
	l.at, l.to, l.err, l.offset = 0, 0, nil, offset
	return err
}

func (l *lines) close() {
	if l.in != nil {
		l.in.Close()
		l.in = nil
	}
}

// seek goes to a place and its line. Most of what is read from there on ends at end; 0 is the end of the file.
func (l *lines) seek(offset, end, line int64) error {
	if l.again && l.offset <= offset {
		for l.offset < offset {
			if l.at == l.to && !l.fill() {
				break // the file has become shorter
			}
			l.skip(int(min(int64(l.to-l.at), offset-l.offset)), 0)
		}
		if l.err != nil && l.err != io.EOF {
			return l.err
		}
	} else if err := l.restart(offset, end); err != nil {
		return err
	}
	l.line = line
	return nil
}

// fill reads more. It returns false at the end, where err says why, and if the buffer has maxRow bytes already.
func (l *lines) fill() bool {
	if l.at > 0 {
		l.to = copy(l.buffer, l.buffer[l.at:l.to])
		l.at = 0
	}
	if l.to == len(l.buffer) {
		if l.to == maxRow {
			return false
		}
		larger := make([]byte, min(2*l.to, maxRow))
		copy(larger, l.buffer)
		l.buffer = larger
	}
	for range 100 {
		if l.err != nil {
			return false
		}
		var n int
		n, l.err = l.in.Read(l.buffer[l.to:])
		l.to += n
		if n > 0 {
			return true
		}
	}
	l.err = io.ErrNoProgress
	return false
}

// ahead returns the next n bytes, fewer where there are no more. They stay unread, and valid until the next call of
// anything.
func (l *lines) ahead(n int) []byte {
	for l.to-l.at < n && l.fill() {
	}
	return l.buffer[l.at:min(l.at+n, l.to)]
}

// errTooLong is of a line, which is still to be skipped.
var errTooLong = fmt.Errorf("the row is longer than %d bytes", maxRow)

// peek returns the next line with its end. It stays unread, and valid until the next call. A blank line is a line.
// io.EOF comes after the last line, with or without its end.
func (l *lines) peek() ([]byte, error) {
	for seen := 0; ; {
		text := l.buffer[l.at:l.to]
		if i := bytes.IndexByte(text[seen:], '\n'); i >= 0 {
			return text[:seen+i+1], nil
		}
		if seen = len(text); seen == maxRow {
			return nil, errTooLong
		}
		if !l.fill() {
			if l.err == io.EOF && seen > 0 {
				return l.buffer[l.at:l.to], nil
			}
			return nil, l.err
		}
	}
}

// skip goes past n bytes with so many line ends among them. They have been peeked at.
func (l *lines) skip(n, ends int) {
	l.at += n
	l.offset += int64(n)
	if l.line > 0 {
		l.line += int64(ends)
	}
}

// skipLong goes past a line of any length.
func (l *lines) skipLong() error {
	for {
		text := l.buffer[l.at:l.to]
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			l.skip(i+1, 1)
			return nil
		}
		l.skip(len(text), 0)
		if !l.fill() {
			if l.err == io.EOF {
				return nil
			}
			return l.err
		}
	}
}

// position is where the next row begins, or the end of the text.
func (l *lines) position() (offset, line int64) {
	for {
		text, err := l.peek()
		if err != nil || len(trimEnd(text)) > 0 {
			return l.offset, l.line
		}
		l.skip(len(text), 1)
	}
}

// next returns the next line that is not blank, without its end; it is valid until the next call. bad tells that it was
// too long.
func (l *lines) next() (text []byte, r record, err error) {
	r.offset, r.line = l.position()
	text, err = l.peek()
	if err == errTooLong {
		r.bad = err.Error()
		err = l.skipLong()
		r.end = l.offset
		return nil, r, err
	}
	if err != nil {
		return nil, r, err
	}
	l.skip(len(text), 1)
	r.end = l.offset
	return trimEnd(text), r, nil
}

// trimEnd takes a line's end away: LF or CRLF, or a CR before the end of the file.
func trimEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// textReader yields plain text, an image a line.
type textReader struct {
	*lines
	value [1][]byte
}

func newText(l *lines) reader { return &textReader{lines: l} }

func (t *textReader) next() (record, error) {
	text, r, err := t.lines.next()
	if err != nil {
		return record{}, err
	}
	t.value[0] = text
	if r.values = t.value[:]; r.bad == "" {
		r.bad = checkUTF8(r.values)
	}
	return r, nil
}
