package jpeg

import "encoding/binary"

const place63 = 3<<4 | 7<<1 | 1 // of the last coefficient: zigzag[63]

// block reads the coefficients of a block of a sequential scan. b must be zero but for its first, which is overwritten.
// It returns the index of the last coefficient, or -1 for a code that the tables lack, with anything in b.
func (r *reader) block(b *[64]int16, dc, ac *table, previous *int32) int {
	if r.pos >= r.limit {
		r.more()
		if r.over {
			return 0
		}
	}
	return r.coefficients(b, dc, ac, previous)
}

func (r *reader) coefficientsGeneric(b *[64]int16, dc, ac *table, previous *int32) int {
	if !r.difference(dc, previous) {
		return -1
	}
	b[0] = int16(*previous)

	// What follows takes most of the time that decoding takes. What one code waits for is the length of the one before,
	// so that is looked up, and numbers are worked out aside. A refill is enough for a long code and a short one, or
	// two short ones.
	acc, n, pos := r.acc, r.n, r.pos
	k := uint(0)
	var e uint32
	var v int32
	for {
		acc |= binary.BigEndian.Uint64(r.win[pos:]) >> (n & 63)
		pos += int(63-n) >> 3
		n |= 56
		if e = ac.fast[acc>>(64-lookup)]; e == 0 {
			if e = ac.long(acc); e == 0 {
				return -1
			}
		}
		v = number(acc, e)
		acc <<= e & 63
		n -= uint(e & 63)
		if k += uint(e >> 8 & 255); k >= 63 {
			break
		}
		b[zigzag[k]&63] = int16(v)

		if e = ac.fast[acc>>(64-lookup)]; e == 0 {
			continue
		}
		v = number(acc, e)
		acc <<= e & 63
		n -= uint(e & 63)
		if k += uint(e >> 8 & 255); k >= 63 {
			break
		}
		b[zigzag[k]&63] = int16(v)
	}
	r.acc, r.n, r.pos = acc, n, pos
	switch {
	case k == 63:
		b[place63] = int16(v)
		return 63
	case k >= endOfBlock:
		return int(k-endOfBlock) - int(e>>8&15)
	}
	return 63 // a run beyond the block's end
}

// difference reads a DC coefficient's code, and adds its difference from the one before. It reports whether there is
// such a code.
func (r *reader) difference(t *table, previous *int32) bool {
	r.refill()
	e := t.fast[r.acc>>(64-lookup)]
	if e == 0 {
		if e = t.long(r.acc); e == 0 {
			return false
		}
	}
	*previous += number(r.acc, e)
	r.skip(uint(e & 63))
	return true
}
