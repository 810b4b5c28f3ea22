package jpeg

import (
	"bytes"
	"encoding/binary"
)

const (
	window     = 1 << 16
	blockBytes = 264 // no block takes more: 64 codes of 16 bits, each with a number of up to 16; and a load of 8 bytes
	windowPad  = 2 * blockBytes
)

// A reader gives the bits of a scan's data. Bytes stuffed after 0xff are taken out and markers found beforehand, a
// window at a time, so that reading bits knows nothing of them. Behind the last byte before a marker, or before the end
// of the file, are zeros without end.
type reader struct {
	acc   uint64 // bits to come, the next one uppermost
	n     uint   // how many of acc's bits are counted; those below are right too, or zeros
	pos   int    // in win, of the next byte that is not counted
	limit int    // where pos must not be when a block begins
	end   int    // of the bytes in win
	win   [window + windowPad]byte

	src    []byte
	at     int  // in src: what comes after the window, or the marker
	ended  bool // nothing comes after the window
	marker byte // why; 0 at the end of the file
	over   bool // more bits were read than there are
}

// reset begins to read at src[at:].
func (r *reader) reset(src []byte, at int) {
	r.src, r.at = src, at
	r.begin()
}

func (r *reader) begin() {
	r.acc, r.n, r.pos, r.end, r.limit = 0, 0, 0, 0, 0
	r.ended, r.over, r.marker = false, false, 0
	r.more()
}

// more is for pos at or beyond limit: it moves the window on, or finds that its end has been passed.
func (r *reader) more() {
	if r.ended {
		if r.overrun() {
			r.over = true
			r.acc, r.n, r.pos = 0, 0, r.end
		}
		return
	}
	copy(r.win[:], r.win[r.pos:r.end])
	r.end -= r.pos
	r.pos = 0
	for r.end < window && !r.ended {
		s := r.src[r.at:]
		if room := window - r.end; len(s) > room {
			s = s[:room]
		}
		i := bytes.IndexByte(s, 0xff)
		if i < 0 {
			i = len(s)
		}
		copy(r.win[r.end:], s[:i])
		r.end += i
		r.at += i
		if i < len(s) {
			r.stuffed()
		} else if r.at == len(r.src) {
			r.ended = true
		}
	}
	clear(r.win[r.end : r.end+windowPad])
	r.limit = r.end - blockBytes
	if r.ended {
		r.limit = r.end - 8
	}
}

// stuffed looks at a byte 0xff: data if a zero follows, a marker otherwise. More bytes 0xff between are fill bytes.
func (r *reader) stuffed() {
	i := r.at + 1
	for i < len(r.src) && r.src[i] == 0xff {
		i++
	}
	switch {
	case i == len(r.src):
		r.ended = true
	case r.src[i] == 0:
		r.win[r.end] = 0xff
		r.end++
		r.at = i + 1
	default:
		r.at, r.ended, r.marker = i-1, true, r.src[i]
	}
}

// overrun reports whether more bits were read than there are.
func (r *reader) overrun() bool { return r.ended && 8*r.pos-int(r.n) > 8*r.end }

// left is how many whole bytes of the window were not read.
func (r *reader) left() int { return r.end - r.pos + int(r.n)/8 }

// refill makes at least 56 bits count.
func (r *reader) refill() {
	r.acc |= binary.BigEndian.Uint64(r.win[r.pos:]) >> (r.n & 63)
	r.pos += int(63-r.n) >> 3
	r.n |= 56
}

// bits reads n bits, n <= 16. There must have been a refill since 40 bits.
func (r *reader) bits(n uint) int32 {
	v := r.acc >> 1 >> (63 - n)
	r.acc <<= n
	r.n -= n
	return int32(v)
}

func (r *reader) skip(n uint) {
	r.acc <<= n
	r.n -= n
}
