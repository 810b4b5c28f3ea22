package jpeg

import "fmt"

// A Decoder decodes one file after another with the same memory. The zero value is ready. It is not for several
// goroutines at once.
type Decoder struct {
	reader
	file
	tables   [2][4]table // DC, AC
	given    [2][4]bool  // by this file; the others are those of an earlier one
	quant    [4][64]int16
	hasQuant [4]bool
	restart  int // units of blocks between restart markers; 0: none
	scans    int
	hasEOI   bool // behind the first scan's header
	short    bool // the last scan ended early
	rows     int  // of pixels that are there

	planes       [4][]byte // of the components
	pixels       [3][]byte // of pictures that the planes do not fit: spread planes, or all components together
	block        [64]int16
	coefficients [4]coefficients
	run          int // progressive: blocks to come that have no more coefficients in this scan
}

// Decode is like the function Decode, but the Image lies in the decoder's memory: the next Decode overwrites it.
func (d *Decoder) Decode(data []byte, o Options) (Result, error) {
	d.file.reset(data, o.withDefaults())
	d.given, d.hasQuant = [2][4]bool{}, [4]bool{}
	d.restart, d.scans, d.short = 0, 0, false
	defer func() { // the file is the caller's
		d.file.reset(nil, Options{})
		d.src = nil
	}()
	if err := d.decode(); err != nil {
		return Result{}, err
	}
	return Result{Image: d.picture(), Width: d.width, Height: d.height, Scale: d.options.Scale, Warnings: d.warnings}, nil
}

// withDefaults replaces zeros by what they stand for.
func (o Options) withDefaults() Options {
	switch o.Scale {
	case 0:
		o.Scale = 1
	case 1, 2, 4, 8:
	default:
		panic(fmt.Sprintf("jpeg: scale %d is none of 1, 2, 4, 8", o.Scale))
	}
	if o.MaxScans <= 0 {
		o.MaxScans = 100
	}
	return o
}

// decode reads segments until all is there.
func (d *Decoder) decode() error {
	for {
		marker, body, err := d.segment()
		if d.scans > 0 && (err != nil || marker == eoi) {
			return d.finish(err == nil)
		}
		switch {
		case err != nil:
			return err
		case marker == eoi:
			return FormatError("no picture before the end of image")
		case marker == sos:
			err = d.scan(body)
		default:
			err = d.header(marker, body)
		}
		if err != nil {
			return err
		}
		if !d.progressive && d.complete() {
			return d.finish(d.hasEOI)
		}
	}
}

// complete reports whether every component has been in a scan, and in a progressive file whether all bits of its
// coefficients have.
func (d *Decoder) complete() bool {
	for i := range d.components {
		c := &d.component[i]
		if !c.seen {
			return false
		}
		if d.progressive {
			for _, b := range c.bits {
				if b != 0 {
					return false
				}
			}
		}
	}
	return d.components > 0
}

// finish says what is missing after the last scan, and makes the samples of a progressive file.
func (d *Decoder) finish(end bool) error {
	if !end {
		d.warnings |= MissingEOI
	}
	for i := range d.components {
		if c := &d.component[i]; !c.seen || d.progressive && c.bits[0] < 0 {
			d.rows, d.short = 0, true
		}
	}
	if d.short || !end && !d.complete() {
		if !d.options.Truncated || 2*d.rows < d.height {
			return &TruncatedError{d.rows, d.height}
		}
		d.warnings |= TruncatedRows
	}
	if d.progressive {
		return d.reconstruct()
	}
	return nil
}

// header takes in a segment that is no scan.
func (d *Decoder) header(marker uint8, body []byte) error {
	switch marker {
	case dht:
		for len(body) > 0 {
			class, slot := body[0]>>4, body[0]&15
			if class > 1 || slot > 3 {
				return FormatError("Huffman table with a number beyond 3")
			}
			n, err := d.tables[class][slot].build(body[1:], class == 0)
			if err != nil {
				return err
			}
			d.given[class][slot] = true
			body = body[1+n:]
		}
	case dqt:
		for len(body) > 0 {
			wide, slot := int(body[0]>>4), body[0]&15
			if wide > 1 || slot > 3 {
				return FormatError("quantisation table with a number beyond 3")
			}
			n := 1 + 64*(1+wide)
			if len(body) < n {
				return FormatError("short quantisation table")
			}
			for k := range 64 {
				q := uint16(body[1+k])
				if wide == 1 {
					q = uint16(body[1+2*k])<<8 | uint16(body[2+2*k])
				}
				d.quant[slot][zigzag[k]] = int16(q)
			}
			d.hasQuant[slot] = true
			body = body[n:]
		}
	case dri:
		if len(body) != 2 {
			return FormatError("restart interval of another length than 2")
		}
		d.restart = int(body[0])<<8 | int(body[1])
	default:
		return d.file.header(marker, body)
	}
	return nil
}

// scan reads a scan's header (T.81, B.2.3) and data.
func (d *Decoder) scan(b []byte) error {
	if d.components == 0 {
		return FormatError("a scan before the frame header")
	}
	if len(b) < 1 || b[0] < 1 || int(b[0]) > d.components || len(b) != 4+2*int(b[0]) {
		return FormatError("scan header of a wrong length")
	}
	if d.scans == 0 {
		if err := d.begin(); err != nil {
			return err
		}
	}
	if d.scans++; d.scans > d.options.MaxScans {
		return UnsupportedError(fmt.Sprintf("more than %d scans", d.options.MaxScans))
	}
	var in [4]*component
	n := int(b[0])
	for i := range n {
		for j := range d.components {
			if c := &d.component[j]; c.id == b[1+2*i] {
				in[i] = c
			}
		}
		c := in[i]
		if c == nil {
			return FormatError("a scan of a component that is not there")
		}
		for _, other := range in[:i] {
			if c == other {
				return FormatError("a scan with a component twice")
			}
		}
		dc, ac := b[2+2*i]>>4, b[2+2*i]&15
		if dc > 3 || ac > 3 {
			return FormatError("Huffman table with a number beyond 3")
		}
		c.dcSlot, c.acSlot = dc, ac
		if err := d.fix(c); err != nil {
			return err
		}
	}
	s := scan{d: d, in: in[:n]}
	if d.progressive {
		return s.progressive(b[1+2*n:])
	}
	return s.sequential()
}

// table returns a Huffman table, or nil if the file has not given it. A file that gives none gets the usual ones.
func (d *Decoder) table(class int, slot uint8) *table {
	if d.given == [2][4]bool{} {
		for class, tables := range usual {
			for slot, body := range tables {
				if _, err := d.tables[class][slot].build([]byte(body), class == 0); err == nil {
					d.given[class][slot] = true
				}
			}
		}
		d.warnings |= MissingTables
	}
	if !d.given[class][slot] {
		return nil
	}
	return &d.tables[class][slot]
}

// fix gives a component, in its first scan, the quantisation table that is its own from then on.
func (d *Decoder) fix(c *component) error {
	if c.seen {
		return nil
	}
	if !d.hasQuant[c.selector] {
		return FormatError("a scan without its quantisation table")
	}
	c.quant, c.seen = d.quant[c.selector], true
	return nil
}

// begin makes room for the samples and coefficients, as soon as the first scan shows that there are any.
func (d *Decoder) begin() error {
	least := d.config().MinSize()
	if d.options.Truncated {
		least /= 2
	}
	if int64(len(d.data)) < least {
		return &TruncatedError{0, d.height}
	}
	d.plan()
	rest := d.data[d.next:]
	d.hasEOI = false
	for i := len(rest) - 1; i > 0 && !d.hasEOI; i-- {
		d.hasEOI = rest[i] == eoi && rest[i-1] == 0xff
	}
	d.rows = d.height
	for i := range d.components {
		c := &d.component[i]
		c.plane = grow(&d.planes[i], c.stride*c.rows)
		if d.progressive {
			c.stored = c.bottom
			if !d.hasEOI { // all has to be read, to tell whether the file is whole
				c.stored = d.down * c.v
			}
			c.detailed = c.nx > 1 || c.ny > 1 || !d.hasEOI
			c.store = &d.coefficients[i]
			c.store.reset(c.across*c.stored, c.detailed)
		}
	}
	return nil
}

// grow gives a slice of n elements from *s, which is made longer where it has to be.
func grow[E any](s *[]E, n int) []E {
	if cap(*s) < n {
		*s = make([]E, n)
	}
	*s = (*s)[:n]
	return *s
}
