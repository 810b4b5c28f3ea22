package jpeg

import "encoding/binary"

const place63 = 3<<4 | 7<<1 | 1 // of the last coefficient: zigzag[63]

// block reads the coefficients of a block of a sequential scan. b must be zero but for its first, which is overwritten. It
// returns the index of the last coefficient, or -1 for a code that the tables lack.
func (r *reader) block(b *[64]int16, dc, ac *table, previous *int32) int {
	if r.pos >= r.limit {
		r.more()
		if r.over {
			return 0
		}
	}
	if !r.difference(dc, previous) {
		return -1
	}
	b[0] = int16(*previous)

	// What follows takes most of the time that decoding takes. An entry of the table takes 11 bits at most, so four of them
	// can follow a refill.
	acc, n, pos := r.acc, r.n, r.pos
	k, e := uint(0), uint32(0)
	for {
		acc |= binary.BigEndian.Uint64(r.win[pos:]) >> (n & 63)
		pos += int(63-n) >> 3
		n |= 56
		e = ac.fast[acc>>(64-lookup)]
		if e&partial != 0 {
			size, length := uint(e>>16), uint(e&63)
			distance := uint(e >> 8 & 255)
			if length == 0 {
				var s uint8
				if s, length = ac.long(acc); length == 0 {
					return -1
				}
				size, distance = uint(s&15), uint(s>>4)+1
				if size == 0 && s != 0xf0 {
					distance = endOfBlock
				}
			}
			acc <<= length & 63
			v := int32(0)
			if size > 0 {
				v = extend(int32(acc>>(64-size)), int(size))
			}
			acc <<= size & 63
			n -= length + size
			e = uint32(v) << 16
			if k += distance; k >= 63 {
				break
			}
			b[zigzag[k]&63] = int16(v)
			continue
		}
		acc <<= e & 63
		n -= uint(e & 63)
		if k += uint(e >> 8 & 255); k >= 63 {
			break
		}
		b[zigzag[k]&63] = int16(e >> 16)

		if e = ac.fast[acc>>(64-lookup)]; e&partial != 0 {
			continue
		}
		acc <<= e & 63
		n -= uint(e & 63)
		if k += uint(e >> 8 & 255); k >= 63 {
			break
		}
		b[zigzag[k]&63] = int16(e >> 16)

		if e = ac.fast[acc>>(64-lookup)]; e&partial != 0 {
			continue
		}
		acc <<= e & 63
		n -= uint(e & 63)
		if k += uint(e >> 8 & 255); k >= 63 {
			break
		}
		b[zigzag[k]&63] = int16(e >> 16)

		if e = ac.fast[acc>>(64-lookup)]; e&partial != 0 {
			continue
		}
		acc <<= e & 63
		n -= uint(e & 63)
		if k += uint(e >> 8 & 255); k >= 63 {
			break
		}
		b[zigzag[k]&63] = int16(e >> 16)
	}
	r.acc, r.n, r.pos = acc, n, pos
	switch {
	case k == 63:
		b[place63] = int16(e >> 16)
		return 63
	case k >= endOfBlock:
		return int(k - endOfBlock)
	}
	return 63 // a run beyond the block's end
}

// difference reads a DC coefficient's code, and adds its difference from the one before. It reports whether there is
// such a code.
func (r *reader) difference(t *table, previous *int32) bool {
	r.refill()
	e := t.fast[r.acc>>(64-lookup)]
	var difference int32
	if e&partial == 0 {
		r.skip(uint(e & 63))
		difference = int32(e) >> 16
	} else {
		size, length := uint(e>>16), uint(e&63)
		if length == 0 {
			var s uint8
			if s, length = t.long(r.acc); length == 0 {
				return false
			}
			size = uint(s)
		}
		r.skip(length)
		if size > 0 {
			difference = extend(r.bits(size), int(size))
		}
	}
	*previous += difference
	return true
}
