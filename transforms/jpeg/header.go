package jpeg

import (
	"bytes"
	"fmt"
	"image"
)

// Markers (T.81, table B.1).
const (
	sof0  = 0xc0 // baseline
	sof1  = 0xc1 // extended sequential
	sof2  = 0xc2 // progressive
	dht   = 0xc4
	rst0  = 0xd0
	rst7  = 0xd7
	soi   = 0xd8
	eoi   = 0xd9
	sos   = 0xda
	dqt   = 0xdb
	dnl   = 0xdc
	dri   = 0xdd
	app0  = 0xe0
	app14 = 0xee
	tem   = 0x01
)

// A file is a walk along a file's segments, and what the frame header and the markers of colour tell.
type file struct {
	data     []byte
	next     int // in data, of the next marker
	options  Options
	warnings Warnings

	width, height int
	components    int // 0: no frame header yet
	component     [4]component
	progressive   bool
	jfif, adobe   bool
	transform     uint8 // Adobe's

	hMax, vMax   int // the largest sampling factors
	across, down int // units of blocks (MCU) in the picture
	left, right  int // units that the region needs
	top, bottom  int
	bounds       image.Rectangle // of the result
	ratio        image.YCbCrSubsampleRatio
	spread       bool // the planes do not fit one of image.YCbCr's ratios: all of them are spread to full size
}

// A component is one of the planes of samples that a picture is made of.
type component struct {
	id            uint8
	h, v          int // sampling factors
	selector      int // of the quantisation table
	quant         [64]int16
	seen          bool // in a scan, which fixes the quantisation table
	width, height int  // in blocks, without those that only fill units up

	nx, ny       int // samples of a block
	across       int // blocks in a row, with those that fill units up
	left, right  int // blocks that the region needs
	top, bottom  int
	stride, rows int // of the plane
	plane        []byte
	stored       int // progressive: rows of blocks whose coefficients are kept

	previous int32 // DC coefficient
	dc, ac   *table
	dcSlot   uint8 // of the tables
	acSlot   uint8
	store    *coefficients // progressive
	detailed bool          // progressive: coefficients beyond DC are of interest
	bits     [64]int8      // progressive: how many low bits of each coefficient are missing; -1: all
}

func (f *file) reset(data []byte, o Options) {
	*f = file{data: data, options: o}
}

// marker finds the next marker, and warns of what had to be skipped. There is none at the end of the data.
func (f *file) marker() (uint8, bool) {
	at := f.next
	for {
		i := bytes.IndexByte(f.data[at:], 0xff)
		if i < 0 {
			f.next = len(f.data)
			return 0, false
		}
		start := at + i
		for at = start; at < len(f.data) && f.data[at] == 0xff; at++ {
		}
		if at == len(f.data) {
			f.next = at
			return 0, false
		}
		if m := f.data[at]; m != 0 {
			if start > f.next {
				f.warnings |= ExtraneousBytes
			}
			f.next = at + 1
			return m, true
		}
	}
}

// segment reads the next marker and what belongs to it.
func (f *file) segment() (marker uint8, body []byte, err error) {
	if f.next == 0 {
		if len(f.data) < 2 || f.data[0] != 0xff || f.data[1] != soi {
			return 0, nil, FormatError("no JPEG")
		}
		f.next = 2
	}
	for {
		m, ok := f.marker()
		if !ok {
			return 0, nil, &TruncatedError{}
		}
		switch {
		case m == eoi:
			return m, nil, nil
		case m == soi:
			return 0, nil, FormatError("a second start of image")
		case m >= rst0 && m <= rst7 || m == tem:
			continue // parameterless
		}
		if len(f.data)-f.next < 2 {
			return 0, nil, &TruncatedError{}
		}
		n := int(f.data[f.next])<<8 | int(f.data[f.next+1])
		if n < 2 {
			return 0, nil, FormatError(fmt.Sprintf("segment %#02x of %d bytes", m, n))
		}
		if len(f.data)-f.next < n {
			return 0, nil, &TruncatedError{}
		}
		body = f.data[f.next+2 : f.next+n]
		f.next += n
		return m, body, nil
	}
}

// header takes in a segment that is neither a scan nor tables for one.
func (f *file) header(marker uint8, body []byte) error {
	switch marker {
	case sof0, sof1, sof2:
		return f.frame(marker, body)
	case app0:
		f.jfif = f.jfif || len(body) >= 5 && string(body[:5]) == "JFIF\x00"
	case app14:
		if len(body) >= 12 && string(body[:5]) == "Adobe" {
			f.adobe, f.transform = true, body[11]
		}
	case 0xc3, 0xc5, 0xc6, 0xc7, 0xcb, 0xcd, 0xce, 0xcf:
		return UnsupportedError("lossless or hierarchical coding")
	case 0xc9, 0xca:
		return UnsupportedError("arithmetic coding")
	}
	return nil
}

// frame reads a frame header (T.81, B.2.2).
func (f *file) frame(marker uint8, b []byte) error {
	if f.components != 0 {
		return FormatError("a second frame header")
	}
	if len(b) < 6 {
		return FormatError("short frame header")
	}
	n := int(b[5])
	switch {
	case b[0] == 12:
		return UnsupportedError("12 bits a sample")
	case b[0] != 8:
		return FormatError(fmt.Sprintf("%d bits a sample", b[0]))
	case len(b) != 6+3*n:
		return FormatError("frame header of a wrong length")
	case n != 1 && n != 3 && n != 4:
		return UnsupportedError(fmt.Sprintf("%d components", n))
	}
	f.height, f.width = int(b[1])<<8|int(b[2]), int(b[3])<<8|int(b[4])
	if f.width == 0 {
		return FormatError("a width of 0")
	}
	if f.height == 0 {
		return UnsupportedError("a height of 0, or one that follows in a DNL marker")
	}
	for i := range n {
		c := &f.component[i]
		*c = component{id: b[6+3*i], h: int(b[7+3*i] >> 4), v: int(b[7+3*i] & 15), selector: int(b[8+3*i])}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.selector > 3 {
			return FormatError("sampling factor or quantisation table out of range")
		}
		for j := range i {
			if f.component[j].id == c.id {
				return FormatError("two components of the same name")
			}
		}
		if n == 1 { // its factors mean nothing
			c.h, c.v = 1, 1
		}
		for k := range c.bits {
			c.bits[k] = -1
		}
	}
	f.components, f.progressive = n, marker == sof2
	f.measure()
	return nil
}

// color finds out what the components are, as libjpeg does.
func (f *file) color() Color {
	switch {
	case f.components == 1:
		return Gray
	case f.components == 4:
		if f.adobe && f.transform != 0 {
			return YCCK
		}
		return CMYK
	case f.jfif:
		return YCbCr
	case f.adobe:
		if f.transform == 0 {
			return RGB
		}
	case f.component[0].id == 'R' && f.component[1].id == 'G' && f.component[2].id == 'B':
		return RGB
	}
	return YCbCr
}

func ceil(a, b int) int { return (a + b - 1) / b }

// measure counts blocks.
func (f *file) measure() {
	f.hMax, f.vMax = 1, 1
	for i := range f.components {
		f.hMax, f.vMax = max(f.hMax, f.component[i].h), max(f.vMax, f.component[i].v)
	}
	f.across, f.down = ceil(f.width, 8*f.hMax), ceil(f.height, 8*f.vMax)
	for i := range f.components {
		c := &f.component[i]
		c.width, c.height = ceil(ceil(f.width*c.h, f.hMax), 8), ceil(ceil(f.height*c.v, f.vMax), 8)
		c.across = f.across * c.h
	}
}

// plan finds what the options ask for: units, blocks, samples.
func (f *file) plan() {
	full := image.Rect(0, 0, f.width, f.height)
	region := f.options.Region.Intersect(full)
	if f.options.Region.Empty() {
		region = full
	} else if region.Empty() { // beside the picture
		region = image.Rect(0, 0, 1, 1)
	}
	f.left, f.right = region.Min.X/(8*f.hMax), ceil(region.Max.X, 8*f.hMax)
	f.top, f.bottom = region.Min.Y/(8*f.vMax), ceil(region.Max.Y, 8*f.vMax)
	n := 8 / f.options.Scale
	unitX, unitY := f.hMax*n, f.vMax*n
	f.bounds = image.Rect(f.left*unitX, f.top*unitY, f.right*unitX, f.bottom*unitY).
		Intersect(image.Rect(0, 0, ceil(f.width, f.options.Scale), ceil(f.height, f.options.Scale)))
	for i := range f.components {
		c := &f.component[i]
		c.nx, c.ny = n, n
		for c.nx < 8 && unitX%(2*c.nx*c.h) == 0 {
			c.nx *= 2
		}
		for c.ny < 8 && unitY%(2*c.ny*c.v) == 0 {
			c.ny *= 2
		}
		c.left, c.right, c.top, c.bottom = f.left*c.h, f.right*c.h, f.top*c.v, f.bottom*c.v
		c.stride, c.rows = (c.right-c.left)*c.nx, (c.bottom-c.top)*c.ny
	}
	f.layout(unitX, unitY)
}

// layout decides how the planes become a picture.
func (f *file) layout(unitX, unitY int) {
	c := &f.component
	f.spread = f.components == 3 && f.color() == YCbCr
	if !f.spread || c[0].nx*c[0].h != unitX || c[0].ny*c[0].v != unitY ||
		c[1].nx*c[1].h != c[2].nx*c[2].h || c[1].ny*c[1].v != c[2].ny*c[2].v {
		return
	}
	x, y := c[1].nx*c[1].h, c[1].ny*c[1].v
	for ratio, r := range [][2]int{
		image.YCbCrSubsampleRatio444: {1, 1},
		image.YCbCrSubsampleRatio422: {2, 1},
		image.YCbCrSubsampleRatio420: {2, 2},
		image.YCbCrSubsampleRatio440: {1, 2},
		image.YCbCrSubsampleRatio411: {4, 1},
		image.YCbCrSubsampleRatio410: {4, 2},
	} {
		if unitX == r[0]*x && unitY == r[1]*y {
			f.ratio, f.spread = image.YCbCrSubsampleRatio(ratio), false
		}
	}
}
