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
	b := p.scratch[:0]
	for _, n := range [...]int64{r.Line, r.Offset, int64(len(r.Kept))} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	put := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	put(r.PostID)
	put(r.Image)
	put(r.Malformed)
	for _, s := range r.Kept {
		put(s)
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
	kept := number()
	r.PostID, r.Image, r.Malformed = next(), next(), next()
	if kept > 0 {
		r.Kept = make([]string, kept)
		for i := range r.Kept {
			r.Kept[i] = next()
		}
	}
	return r
}
