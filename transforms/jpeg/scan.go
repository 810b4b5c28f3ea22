package jpeg

import "fmt"

// A scan is one pass over the blocks of some components: units of them (MCU, T.81, A.2) in rows, in intervals between
// restart markers.
type scan struct {
	d            *Decoder
	in           []*component
	across, down int // units
	top, bottom  int // rows of units that are needed
}

// measure counts the units. Those of a component alone are its blocks, without those that fill up.
func (s *scan) measure() {
	s.across, s.down, s.top, s.bottom = s.d.across, s.d.down, s.d.top, s.d.bottom
	if len(s.in) == 1 {
		c := s.in[0]
		s.across, s.down, s.top, s.bottom = c.width, c.height, min(c.top, c.height), min(c.bottom, c.height)
	}
}

// sides are the blocks of a component in a unit.
func (s *scan) sides(c *component) (h, v int) {
	if len(s.in) == 1 {
		return 1, 1
	}
	return c.h, c.v
}

// walk calls read for pieces of rows of units, until the rows that are needed are there, or all of them where that has
// to be known. read reads the units [from, to) of row y and returns how far it came, which is less than to only where
// the data end. lost is called for units that are not there.
func (s *scan) walk(read func(y, from, to int) (int, error), lost func(y, from, to int)) error {
	d := s.d
	d.reader.reset(d.data, d.next)
	d.startInterval()
	d.short = false
	missing := -1 // the first of those units that are missing up to here
	restart, interval, turn := d.restart, d.restart, 0
	for y := range s.down {
		if y >= s.bottom && d.hasEOI {
			d.skipScan(d.at)
			return nil
		}
		if err := d.stopped(); err != nil {
			return err
		}
		for x := 0; x < s.across; {
			if restart > 0 && interval == 0 {
				if !d.nextInterval(turn) {
					restart = 0
				}
				d.startInterval()
				if missing >= 0 && !d.over {
					d.warnings |= ShortInterval
					missing = -1
				}
				interval, turn = restart, (turn+1)&7
			}
			to := s.across
			if restart > 0 {
				to = min(to, x+interval)
				interval -= to - x
			}
			at := x
			if !d.over {
				var err error
				if at, err = read(y, x, to); err != nil {
					if !d.overrun() {
						return err
					}
					d.over = true // zeros behind the end need not be a code
				}
				if at == to && d.overrun() && (restart > 0 && interval == 0 || to == s.across && y == s.down-1) {
					at--
				}
			}
			if at < to {
				d.over = true
				if missing < 0 {
					missing = y*s.across + at
				}
				if lost != nil {
					lost(y, at, to)
				}
			}
			x = to
		}
	}
	if missing >= 0 {
		d.short = true
		if !d.progressive || s.in[0].bits[0] < 0 {
			d.rows = min(d.rows, missing/s.across*d.height/s.down)
		}
	}
	d.endScan()
	return nil
}

// stopped returns the error of the options' context.
func (d *Decoder) stopped() error {
	if ctx := d.options.Context; ctx != nil && ctx.Err() != nil {
		return fmt.Errorf("jpeg: decoding stopped: %w", ctx.Err())
	}
	return nil
}

// startInterval forgets what an interval's blocks take from those before them.
func (d *Decoder) startInterval() {
	d.run = 0
	for i := range d.components {
		d.component[i].previous = 0
	}
}

// endScan goes to the marker behind a scan's data.
func (d *Decoder) endScan() {
	if !d.over && d.reader.left() > 0 {
		d.warnings |= ExtraneousBytes
	}
	d.next = d.at
}

// skipScan goes to the marker behind a scan's data, of which those before at have been read.
func (d *Decoder) skipScan(at int) {
	w := d.warnings
	d.next = at
	for {
		m, ok := d.file.marker()
		if !ok {
			break
		}
		if m < rst0 || m > rst7 {
			d.next -= 2
			break
		}
	}
	d.warnings = w
}

// nextInterval goes to the restart marker whose turn it is, and reports whether there may be more of them. With others
// it does what libjpeg does: one of the next two tells that data are missing, one of the last two that there are some
// twice; any other one is taken as a misprint.
func (d *Decoder) nextInterval(turn int) bool {
	d.endScan()
	for {
		m, ok := d.file.marker()
		switch ahead := (int(m) - rst0 - turn) & 7; {
		case !ok:
			d.at, d.ended, d.over = len(d.data), true, true
			return false
		case m >= rst0 && m <= rst7 && (ahead == 1 || ahead == 2), m >= sof0 && (m < rst0 || m > rst7):
			d.warnings |= RestartNumber
			d.at, d.ended, d.over = d.next-2, true, true
			return m >= rst0 && m <= rst7
		case m < sof0 || ahead >= 6:
			d.warnings |= RestartNumber
		default:
			if ahead != 0 {
				d.warnings |= RestartNumber
			}
			d.reader.reset(d.data, d.next)
			return true
		}
	}
}

// sequential reads a scan of a baseline or extended sequential file.
func (s *scan) sequential() error {
	for _, c := range s.in {
		c.dc, c.ac = s.d.table(0, c.dcSlot), s.d.table(1, c.acSlot)
		if c.dc == nil || c.ac == nil {
			return errNoTable
		}
		c.ac.prepare()
	}
	s.measure()
	return s.walk(s.readBlocks, s.fillGrey)
}

func (s *scan) readBlocks(y, from, to int) (int, error) {
	d := s.d
	needed := y >= s.top && y < s.bottom
	for x := from; x < to; x++ {
		for _, c := range s.in {
			h, v := s.sides(c)
			for j := range v {
				for i := range h {
					last := d.reader.block(&d.block, c.dc, c.ac, &c.previous)
					if last < 0 {
						d.block = [64]int16{}
						return x, errCode
					}
					if d.over {
						return x, nil
					}
					if bx := x*h + i; needed && bx >= c.left && bx < c.right {
						at := (y*v+j-c.top)*c.ny*c.stride + (bx-c.left)*c.nx
						if last == 0 {
							flat(c.plane[at:], c.stride, d.block[0], c.quant[0], c.nx, c.ny)
						} else {
							idct(c.plane[at:], c.stride, &d.block, &c.quant, c.nx, c.ny)
						}
					}
					if last > 0 {
						d.block = [64]int16{}
					}
				}
			}
		}
	}
	return to, nil
}

// fillGrey writes blocks that are not there.
func (s *scan) fillGrey(y, from, to int) {
	if y < s.top || y >= s.bottom {
		return
	}
	for x := from; x < to; x++ {
		for _, c := range s.in {
			h, v := s.sides(c)
			for j := range v {
				for i := range h {
					if bx := x*h + i; bx >= c.left && bx < c.right {
						at := (y*v+j-c.top)*c.ny*c.stride + (bx-c.left)*c.nx
						flat(c.plane[at:], c.stride, 0, 0, c.nx, c.ny)
					}
				}
			}
		}
	}
}
