package listing

import (
	"encoding/binary"
	"strings"
)

// Posts are rows in little memory, as most rows of a chunk wait: all of them lie in one text, each as its numbers and its
// values behind their lengths. The zero value is none.
type Posts struct {
	text    strings.Builder
	begin   []int // of each row
	scratch []byte
}

// PostsOf are these rows.
func PostsOf(rows ...Row) *Posts {
	p := new(Posts)
	for _, r := range rows {
		p.Add(r)
	}
	return p
}

// Len is the number of rows.
func (p *Posts) Len() int { return len(p.begin) }

// Add adds a row.
func (p *Posts) Add(r Row) {
	q := post{record: record{line: r.Line, offset: r.Offset, bad: r.Malformed}, text: [][]byte{[]byte(r.PostID), []byte(r.Image)}}
	for _, s := range r.Kept {
		q.text = append(q.text, []byte(s))
	}
	p.add(&q)
}

func (p *Posts) add(q *post) {
	b := p.scratch[:0]
	for _, n := range [...]int64{q.line, q.offset, int64(len(q.text)), int64(len(q.bad))} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = append(b, q.bad...)
	for _, v := range q.text {
		b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
	}
	p.begin = append(p.begin, p.text.Len())
	p.text.Write(b)
	p.scratch = b
}

// At is the row i, from 0. Its strings keep all rows' text in memory.
func (p *Posts) At(i int) (r Row) {
	text := p.text.String()[p.begin[i]:]
	number := func() (n uint64) {
		for shift := 0; ; shift += 7 {
			b := text[0]
			text = text[1:]
			if n |= uint64(b&0x7f) << shift; b < 0x80 {
				return n
			}
		}
	}
	next := func() (s string) {
		n := number()
		s, text = text[:n], text[n:]
		return s
	}
	r.Line, r.Offset = int64(number()), int64(number())
	kept := number() - 2
	r.Malformed, r.PostID, r.Image = next(), next(), next()
	if kept > 0 {
		r.Kept = make([]string, kept)
		for i := range r.Kept {
			r.Kept[i] = next()
		}
	}
	return r
}
