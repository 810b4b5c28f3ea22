package jpeg

import (
	"encoding/binary"
	"math/bits"
)

// coefficients are those of a component of a progressive file, which come in many scans. Most blocks of photographs have
// few, so each has a set of those that are not zero: refinement walks over its bits, and blocks without any are never
// touched.
type coefficients struct {
	dc   []int16
	some []uint64    // bit k: the k-th is not zero; bit 0 is not used
	ac   [][64]int16 // of blocks that have some
}

const coefficientBytes = 2 + 8 + 128 // of a block

// reset makes room for blocks, of which all but the DC coefficients may be of no interest.
func (c *coefficients) reset(blocks int, detailed bool) {
	clear(grow(&c.dc, blocks))
	clear(grow(&c.some, blocks))
	if detailed {
		grow(&c.ac, blocks)
	}
}

// progressive reads a scan of a progressive file (T.81, G.1): the coefficients from to to, down to bit low.
func (s *scan) progressive(b []byte) error {
	d := s.d
	from, to, high, low := int(b[0]), int(b[1]), int8(b[2]>>4), int8(b[2]&15)
	if from > to || to > 63 || from == 0 && to > 0 || from > 0 && len(s.in) > 1 || low > 13 || high > 0 && high != low+1 {
		return FormatError("progression that cannot be")
	}
	c := s.in[0]
	skip := from > 0 && !c.detailed
	s.measure()
	var read func(y, from, to int) (int, error)
	p := progression{s, c, from, to, uint(low)}
	switch {
	case skip:
	case from == 0 && high == 0:
		for _, c := range s.in {
			if c.dc = d.table(0, c.dcSlot); c.dc == nil {
				return errNoTable
			}
		}
		read = p.firstDC
	case from == 0:
		read = p.refineDC
	default:
		if c.ac = d.table(1, c.acSlot); c.ac == nil {
			return errNoTable
		}
		if read = p.firstAC; high > 0 {
			read = p.refineAC
		}
	}
	if skip {
		d.skipScan(d.next)
		d.short = false
	} else if err := s.walk(read, nil); err != nil {
		return err
	}
	for _, c := range s.in {
		for k := from; k <= to; k++ {
			c.bits[k] = low
		}
	}
	return nil
}

type progression struct {
	*scan
	c        *component // of AC coefficients
	from, to int
	low      uint
}

// eachDC calls f for the DC coefficient of every block of some units.
func (p progression) eachDC(y, from, to int, f func(c *component, dc *int16) error) (int, error) {
	d := p.d
	var unused int16
	for x := from; x < to; x++ {
		for _, c := range p.in {
			h, v := p.sides(c)
			for j := range v {
				for i := range h {
					if d.pos >= d.limit {
						if d.more(); d.over {
							return x, nil
						}
					}
					dc := &unused
					if row := y*v + j; row < c.stored {
						dc = &c.store.dc[row*c.across+x*h+i]
					}
					if err := f(c, dc); err != nil {
						return x, err
					}
				}
			}
		}
	}
	return to, nil
}

func (p progression) firstDC(y, from, to int) (int, error) {
	d := p.d
	return p.eachDC(y, from, to, func(c *component, dc *int16) error {
		if !d.difference(c.dc, &c.previous) {
			return errCode
		}
		*dc = int16(c.previous << p.low)
		return nil
	})
}

func (p progression) refineDC(y, from, to int) (int, error) {
	d := p.d
	return p.eachDC(y, from, to, func(_ *component, dc *int16) error {
		if d.n == 0 {
			d.refill()
		}
		*dc |= int16(d.bits(1) << p.low)
		return nil
	})
}

// firstAC reads the upper bits of coefficients.
func (p progression) firstAC(y, from, to int) (int, error) {
	d, t := p.d, p.c.ac
	for x := from; x < to; x++ {
		if d.run > 0 {
			n := min(d.run, to-x)
			d.run -= n
			x += n - 1
			continue
		}
		if d.pos >= d.limit {
			if d.more(); d.over {
				return x, nil
			}
		}
		var block *[64]int16
		var some uint64
		i := y*p.c.across + x
		kept := y < p.c.stored
		if kept {
			block, some = &p.c.store.ac[i], p.c.store.some[i]
			if some == 0 {
				*block = [64]int16{}
			}
		} else {
			block = &d.block
		}
		acc, n, pos := d.acc, d.n, d.pos
		for k := p.from; k <= p.to; k++ {
			if n < 48 {
				acc |= binary.BigEndian.Uint64(d.win[pos:]) >> (n & 63)
				pos += int(63-n) >> 3
				n |= 56
			}
			e := t.fast[acc>>(64-lookup)]
			if e == 0 {
				if e = t.long(acc); e == 0 {
					return x, errCode
				}
			}
			distance, v := uint(e>>8&255), number(acc, e)
			acc <<= e & 63
			n -= uint(e & 63)
			if distance >= endOfBlock {
				run := distance - endOfBlock
				d.run = 1<<run + int(acc>>1>>(63-run)) - 1
				acc <<= run
				n -= run
				break
			}
			if k += int(distance) - 1; k > 63 {
				break
			}
			if v != 0 {
				block[zigzag[k]&63] = int16(v << p.low)
				some |= 1 << k
			}
		}
		d.acc, d.n, d.pos = acc, n, pos
		if kept {
			p.c.store.some[i] = some
		}
	}
	return to, nil
}

// refineAC reads a bit for each coefficient that is not zero, between codes for those that become 1 or -1.
func (p progression) refineAC(y, from, to int) (int, error) {
	if y >= p.c.stored {
		return to, nil // not reached: what is read is kept
	}
	d, t := p.d, p.c.ac
	band := uint64(1)<<p.to<<1 - 1
	row := y * p.c.across
	for x := from; x < to; x++ {
		some := p.c.store.some[row+x]
		if d.run > 0 && some&band>>p.from == 0 {
			d.run--
			continue
		}
		if d.pos >= d.limit {
			if d.more(); d.over {
				return x, nil
			}
		}
		block := &p.c.store.ac[row+x]
		k := p.from
		if d.run == 0 {
			acc, n, pos := d.acc, d.n, d.pos
			for k <= p.to {
				if n < 48 {
					acc |= binary.BigEndian.Uint64(d.win[pos:]) >> (n & 63)
					pos += int(63-n) >> 3
					n |= 56
				}
				e := t.fast[acc>>(64-lookup)]
				if e == 0 {
					if e = t.long(acc); e == 0 {
						return x, errCode
					}
				}
				distance, v := uint(e>>8&255), number(acc, e)
				acc <<= e & 63
				n -= uint(e & 63)
				if distance >= endOfBlock {
					run := distance - endOfBlock
					d.run = 1<<run + int(acc>>1>>(63-run))
					acc <<= run
					n -= run
					break
				}
				if uint32(v+1) > 2 {
					return x, FormatError("refinement by more than a bit")
				}
				zeros := ^some >> k
				for range distance - 1 {
					zeros &= zeros - 1
				}
				at := k + bits.TrailingZeros64(zeros)
				set := some & band >> k << k
				if at <= p.to {
					set &= 1<<at - 1
				}
				for ; set != 0; set &= set - 1 {
					if n == 0 {
						acc |= binary.BigEndian.Uint64(d.win[pos:])
						pos += 7
						n = 56
					}
					c := &block[zigzag[bits.TrailingZeros64(set)]&63]
					*c += (*c>>15 | 1) << p.low & -int16(acc>>63)
					acc <<= 1
					n--
				}
				if k = at + 1; at <= p.to && v != 0 {
					if some == 0 {
						*block = [64]int16{}
					}
					block[zigzag[at]&63] = int16(v << p.low)
					some |= 1 << at
				}
			}
			d.acc, d.n, d.pos = acc, n, pos
			p.c.store.some[row+x] = some
		}
		if d.run > 0 {
			if k <= p.to {
				d.correct(block, some&band>>k<<k, p.low)
			}
			d.run--
		}
	}
	return to, nil
}

// correct reads a bit for each of the coefficients of a set, and adds it to their magnitudes.
func (r *reader) correct(block *[64]int16, set uint64, low uint) {
	acc, n, pos := r.acc, r.n, r.pos
	for ; set != 0; set &= set - 1 {
		if n == 0 {
			acc |= binary.BigEndian.Uint64(r.win[pos:])
			pos += 7
			n = 56
		}
		c := &block[zigzag[bits.TrailingZeros64(set)]&63]
		*c += (*c>>15 | 1) << low & -int16(acc>>63)
		acc <<= 1
		n--
	}
	r.acc, r.n, r.pos = acc, n, pos
}

// reconstruct makes the samples from the coefficients.
func (d *Decoder) reconstruct() error {
	for i := range d.components {
		c := &d.component[i]
		store := c.store
		for y := c.top; y < c.bottom; y++ {
			if err := d.stopped(); err != nil {
				return err
			}
			for x := c.left; x < c.right; x++ {
				b := y*c.across + x
				to := c.plane[(y-c.top)*c.ny*c.stride+(x-c.left)*c.nx:]
				if store.some[b] == 0 {
					flat(to, c.stride, store.dc[b], c.quant[0], c.nx, c.ny)
					continue
				}
				store.ac[b][0] = store.dc[b]
				idct(to, c.stride, &store.ac[b], &c.quant, c.nx, c.ny)
			}
		}
	}
	return nil
}
