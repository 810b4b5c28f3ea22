package transforms

import (
	"encoding/binary"
	"image"
	"math"
	"sync"
)

// geometry is what one resize makes of a stored picture. Where src has one sample for scale x scale of its pixels, window
// stays in pixels: a sample (x, y) covers those from (x*scale, y*scale).
type geometry struct {
	window           image.Rectangle // the part that is resized
	to               image.Point     // what it is resized to
	cut              image.Rectangle // the part of the resized window that is made
	mirrorX, mirrorY bool            // the columns or rows of cut are made from the last to the first
	scale            int
	chroma           image.Point // how many pixels a sample of chroma in the file covers; zero: as many as in src
}

// resample makes the rows of a geometry from the top, as 8-bit RGB, and gives each to emit, which may not keep it. Sums are
// in integers, so the result is the same on every machine; a picture of one colour keeps it exactly.
//
// A JPEG's planes are resized as they are, chroma at its own resolution, and colours are converted a row at a time, before
// they are rounded to 8 bits. There is no picture in between.
func resample(src image.Image, g geometry, emit func(y int, rgb []uint8)) {
	r := resamplers.Get().(*resampler)
	defer resamplers.Put(r)
	switch src := src.(type) {
	case *image.YCbCr:
		subX, subY := subsampling(src.SubsampleRatio)
		luma := src.Rect.Min
		chroma := image.Pt(luma.X/subX, luma.Y/subY)
		if g.chroma == (image.Point{}) {
			g.chroma = image.Pt(subX, subY)
		}
		h, v := &r.h[0], &r.v[0]
		h.set(g.axisX(1, 1), 4)
		v.set(g.axisY(1, 1), 2)
		if g.chroma.X > 1 {
			h = &r.h[1]
			h.set(g.axisX(subX, g.chroma.X), 4)
		}
		if g.chroma.Y > 1 {
			v = &r.v[1]
			v.set(g.axisY(subY, g.chroma.Y), 2)
		}
		r.size(g.cut.Dx(), max(r.h[0].width(), h.width()))
		for y := range g.cut.Dy() {
			r.plane(0, y, src.Y, src.YStride, luma, &r.h[0], &r.v[0])
			r.plane(1, y, src.Cb, src.CStride, chroma, h, v)
			r.plane(2, y, src.Cr, src.CStride, chroma, h, v)
			fromYCbCr(r.rgb, r.out[0], r.out[1], r.out[2])
			emit(y, r.rgb[:3*g.cut.Dx()])
		}
	case *image.Gray:
		r.h[0].set(g.axisX(1, 1), 4)
		r.v[0].set(g.axisY(1, 1), 2)
		r.size(g.cut.Dx(), r.h[0].width())
		for y := range g.cut.Dy() {
			r.plane(0, y, src.Pix, src.Stride, src.Rect.Min, &r.h[0], &r.v[0])
			fromRGB(r.rgb, r.out[0], r.out[0], r.out[0])
			emit(y, r.rgb[:3*g.cut.Dx()])
		}
	default:
		h, v := &r.h[0], &r.v[0]
		h.set(g.axisX(1, 1), 4)
		v.set(g.axisY(1, 1), 2)
		part, ok := src.(*Image)
		var origin image.Point
		if !ok {
			origin = image.Pt(h.lo, v.lo)
			part = convert(src, image.Rect(h.lo, v.lo, h.hi, v.hi))
		}
		n := h.width()
		r.size(g.cut.Dx(), 3*n)
		for y := range g.cut.Dy() {
			first := int(v.first[y])
			columns(r.row[:3*n], part.Pix[3*((first-origin.Y)*part.W+h.lo-origin.X):], 3*part.W, v.n, v.weights[y*v.padded:])
			for c := range r.apart {
				for x, i := 0, c; x < n; x, i = x+1, i+3 {
					r.apart[c][x] = r.row[i]
				}
				along(r.out[c], r.apart[c], h)
			}
			fromRGB(r.rgb, r.out[0], r.out[1], r.out[2])
			emit(y, r.rgb[:3*g.cut.Dx()])
		}
	}
}

func subsampling(r image.YCbCrSubsampleRatio) (x, y int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

// resampler is what a goroutine needs to resize pictures: a few rows and the filters' tables, kept from one to the next.
type resampler struct {
	h, v  [2]taps    // of luma and of chroma, where that differs
	row   []int16    // source rows added to one
	apart [3][]int16 // that row's channels, of RGB
	out   [3][]int16 // the channels of a row of the result
	rgb   []uint8
}

var resamplers = sync.Pool{New: func() any { return new(resampler) }}

// overrun is how many samples beyond a row kernels may read, and multiply by 0.
const overrun = 80

// size makes room for results of a width and for rows of the source.
func (r *resampler) size(width, row int) {
	width = (width + block - 1) / block * block
	r.row = grow(r.row, row+overrun)
	for c := range r.out {
		r.apart[c] = grow(r.apart[c], row+overrun)
		r.out[c] = grow(r.out[c], width)
	}
	r.rgb = grow(r.rgb, 3*width)
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// plane makes row y of a channel from a plane whose first sample is at origin.
func (r *resampler) plane(channel, y int, src []uint8, stride int, origin image.Point, h, v *taps) {
	at := (int(v.first[y])-origin.Y)*stride + h.lo - origin.X
	columns(r.row[:h.width()], src[at:], stride, v.n, v.weights[y*v.padded:])
	along(r.out[channel], r.row, h)
}

// axis is one side of a geometry and of a plane. The pixels from lo to hi become n outputs, of which those from out0 to
// out1 are wanted, the last one first if it is mirrored. A sample of the plane covers sub pixels. It is the mean of some
// that are stored in the file, each of which covers stored pixels.
type axis struct {
	lo, hi, n, out0, out1 int
	mirror                bool
	sub, stored           int
}

func (g geometry) axisX(sub, stored int) axis {
	a := axis{lo: g.window.Min.X, hi: g.window.Max.X, n: g.to.X, out0: g.cut.Min.X, out1: g.cut.Max.X, mirror: g.mirrorX}
	return a.of(sub*g.scale, stored)
}

func (g geometry) axisY(sub, stored int) axis {
	a := axis{lo: g.window.Min.Y, hi: g.window.Max.Y, n: g.to.Y, out0: g.cut.Min.Y, out1: g.cut.Max.Y, mirror: g.mirrorY}
	return a.of(sub*g.scale, stored)
}

func (a axis) of(sub, stored int) axis {
	if a.sub, a.stored = sub, stored; stored > sub || sub%stored != 0 {
		a.stored = sub
	}
	return a
}

// filter says what each output of an axis is made of.
//
// Of the stored samples, it is a triangle as wide as the outputs lie apart, but not narrower than the samples do, as in
// Pillow's precompute_coeffs. For chroma that has one sample for c pixels, usual decoders spread triangles over the pixels
// first. What blurs one after another adds up its variances, c^2 * 3/16 of these pixels and support^2 / 6 of a triangle, and
// one triangle that is as much wider does for both.
//
// Where the plane's samples are means of k stored ones, these are taken to lie on a straight line through each mean, as steep
// as 2/3 of the difference between the mean after it and that before it. 1/2 would be the line's slope if it were straight
// everywhere; of the slopes tried on photographs, 2/3 came nearest to full decodes.
//
// Lengths are in a unit with which they are whole numbers.
type filter struct {
	axis
	sample   int64 // the length of a stored sample
	support  int64 // how far the triangle reaches to each side
	from, to int   // the samples that the axis has, [from, to)
	stride   int   // stored samples to one of the plane: k
	taps     int   // how many samples an output is made of
}

func (a axis) filter() filter {
	f := filter{axis: a, sample: 2 * int64(a.n) * int64(a.stored), from: a.lo / a.sub, to: (a.hi + a.sub - 1) / a.sub, stride: a.sub / a.stored}
	f.support = 2 * int64(a.hi-a.lo)
	if a.stored > 1 { // no product is fused with a sum, so that machines agree; squares of whole numbers have exact roots
		spread := float64(f.sample) * float64(f.sample) * 18 / 16
		f.support = int64(math.Sqrt(float64(float64(f.support)*float64(f.support)) + spread))
	}
	f.support = max(f.support, f.sample)
	f.taps = int((2*f.support + f.sample - 1) / f.sample)
	if f.stride > 1 {
		f.taps = (f.taps+f.stride-2)/f.stride + 1 + 2 // and a neighbour at each end
	}
	f.taps = min(f.taps, f.to-f.from)
	return f
}

// center is where the middle of an output lies.
func (f *filter) center(out int) int64 {
	return 2*int64(f.n)*int64(f.lo) + int64(2*out+1)*int64(f.hi-f.lo)
}

// stores is the first stored sample that has a weight in an output.
func (f *filter) stores(out int) int {
	return max(int((2*(f.center(out)-f.support)+f.sample)/(2*f.sample)), f.lo/f.stored)
}

// first is the first sample that an output is made of.
func (f *filter) first(out int) int {
	first := f.stores(out)
	if f.stride > 1 {
		first = first/f.stride - 1
	}
	return min(max(first, f.from), f.to-f.taps)
}

// inputs are the samples that the wanted outputs are made of.
func (f *filter) inputs() (lo, hi int) { return f.first(f.out0), f.first(f.out1-1) + f.taps }

// weigh adds the weights of an output's samples to w, in any unit.
func (f *filter) weigh(w []int64, out, first int) {
	if f.stride == 1 {
		at := int64(first)*f.sample + f.sample/2 - f.center(out) // of a sample's middle, from the triangle's
		for x := range w {
			w[x] = triangle(at, f.support)
			at += f.sample
		}
		return
	}
	x := f.stores(out)
	at := int64(x)*f.sample + f.sample/2 - f.center(out)
	for end := min((f.hi+f.stored-1)/f.stored, f.to*f.stride); x < end && at < f.support; x++ {
		mean, place := x/f.stride, x%f.stride
		v := triangle(at, f.support)
		// The place from the middle, in units of half a stored sample, times 2/3 over the length in such units is the slope's
		// part; all is multiplied by 3 * stride.
		slope := v * int64(2*place+1-f.stride)
		w[mean-first] += 3 * int64(f.stride) * v
		w[min(mean+1, f.to-1)-first] += slope
		w[max(mean-1, f.from)-first] -= slope
		at += f.sample
	}
}

func triangle(x, support int64) int64 { return max(support-max(x, -x), 0) }

// reach is the region of the stored picture that a resize reads, where chroma is decoded in full size or at the scale.
func (g geometry) reach() image.Rectangle {
	side := func(axis func(sub, stored int) axis, coarsest int) (lo, hi int) {
		luma := axis(1, 1).filter()
		lo, hi = luma.inputs()
		lo, hi = lo*luma.sub, hi*luma.sub
		for sub := 1; coarsest > 1 && sub*g.scale <= max(coarsest, g.scale); sub++ {
			chroma := axis(sub, coarsest).filter()
			from, to := chroma.inputs()
			lo, hi = min(lo, from*chroma.sub), max(hi, to*chroma.sub)
		}
		return lo, hi
	}
	x0, x1 := side(g.axisX, g.chroma.X)
	y0, y1 := side(g.axisY, g.chroma.Y)
	return image.Rect(x0, y0, x1, y1)
}

// taps is the filter of one axis: output i is the sum over t < n of weights[i*padded+t] * input[first[i]+t]. Weights have
// 14 bits below the point, so that they fit in 16 with a sign, and those of one output add up to 1 exactly.
type taps struct {
	axis      axis
	multiple  int
	n, padded int // padded is n and as many weights of 0 as processors like to have
	first     []int32
	weights   []int16
	lo, hi    int     // the inputs that are read, [lo, hi)
	exact     []int64 // of one output, before they are rounded
	blocks            // the same for along
}

const unit = 1 << 14

// set calculates the weights of an axis. padded becomes a multiple of the number given.
func (t *taps) set(a axis, multiple int) {
	if t.axis == a && t.multiple == multiple { // as often, the picture before this one had the same size
		return
	}
	t.axis, t.multiple = a, multiple
	f := a.filter()
	t.n = f.taps
	t.padded = (t.n + multiple - 1) / multiple * multiple
	outs := a.out1 - a.out0
	t.first, t.weights, t.exact = grow(t.first, outs), grow(t.weights, outs*t.padded), grow(t.exact, t.n)
	clear(t.weights)
	t.lo, t.hi = f.inputs()
	for i := range outs {
		out := a.out0 + i
		if a.mirror {
			out = a.out1 - 1 - i
		}
		first := f.first(out)
		t.first[i] = int32(first)
		clear(t.exact)
		f.weigh(t.exact, out, first)
		sum := int64(0)
		for _, w := range t.exact {
			sum += w
		}
		// Rounding the running sum, not each weight, keeps the total. It may be a little below 0 but not below -sum.
		run, done := sum, uint64(unit)
		for x, w := range t.exact {
			run += w
			upTo := uint64(2*unit*run+sum) / uint64(2*sum)
			t.weights[i*t.padded+x] = int16(upTo - done)
			done = upTo
		}
	}
	if multiple == 4 {
		t.block()
	}
}

func (t *taps) width() int { return t.hi - t.lo }

// block is how many outputs along makes together.
const block = 16

// blocks is a filter in the order in which along wants it. Outputs that fill up the last block weigh nothing.
type blocks struct {
	pairs  int
	starts []int32  // of each output, from lo
	bases  []int32  // of each block, the lowest of its starts
	places []uint16 // of each output, its start and the sample after it, from the block's base
	near   bool     // places are below 64
	pieces []int16  // the weights: [block][pair of inputs][output][2]
}

func (t *taps) block() {
	outs := len(t.first)
	n := (outs + block - 1) / block
	b := &t.blocks
	b.pairs, b.near = t.padded/2, true
	b.starts, b.bases, b.places = grow(b.starts, n*block), grow(b.bases, n), grow(b.places, n*block*2)
	b.pieces = grow(b.pieces, n*block*t.padded)
	clear(b.pieces)
	for k := range n {
		at, end := k*block, min((k+1)*block, outs)
		base := min(t.first[at], t.first[end-1]) - int32(t.lo)
		b.bases[k] = base
		for j := range block {
			i, start := at+j, base
			if i < end {
				start = t.first[i] - int32(t.lo)
				for p := range b.pairs {
					piece := b.pieces[((k*b.pairs+p)*block+j)*2:][:2]
					piece[0], piece[1] = t.weights[i*t.padded+2*p], t.weights[i*t.padded+2*p+1]
				}
			}
			b.starts[i] = start
			place := start - base
			b.near = b.near && place < 63
			b.places[2*i], b.places[2*i+1] = uint16(place), uint16(place)+1
		}
	}
}

// columnsGeneric adds n weighted rows of src to one row with 7 bits below the point, as far as 16 bits go. Eight columns are
// added at a time, two to a 64-bit word: a weighted byte and its sums need fewer than the 32 bits that each has, and where
// the lower one is below 0 it has borrowed from the upper.
func columnsGeneric(row []int16, src []uint8, stride, n int, weights []int16) {
	const pair, half = 0x000000ff_000000ff, 0x00000040_00000040
	weights = weights[:n]
	x := 0
	for ; x+8 <= len(row); x += 8 {
		a, b, c, d := uint64(half), uint64(half), uint64(half), uint64(half)
		at := x
		for _, w := range weights {
			k, v := uint64(int64(w)), binary.LittleEndian.Uint64(src[at:])
			a += v & pair * k
			b += v >> 8 & pair * k
			c += v >> 16 & pair * k
			d += v >> 24 & pair * k
			at += stride
		}
		out := row[x : x+8 : x+8]
		out[0], out[4] = toWords(a)
		out[1], out[5] = toWords(b)
		out[2], out[6] = toWords(c)
		out[3], out[7] = toWords(d)
	}
	for ; x < len(row); x++ {
		sum, at := int32(half&0xff), x
		for _, w := range weights {
			sum += int32(w) * int32(src[at])
			at += stride
		}
		row[x] = toWord(sum)
	}
}

func toWords(v uint64) (low, high int16) {
	l := int32(v)
	return toWord(l), toWord(int32((v - uint64(int64(l))) >> 32))
}

func toWord(v int32) int16 { return int16(min(max(v>>7, math.MinInt16), math.MaxInt16)) }

// most is the largest sample, with 7 bits below the point.
const most = 255 << 7

// alongGeneric resizes a row, which begins at lo, and keeps its 7 bits below the point.
func alongGeneric(out, row []int16, t *taps) {
	pieces := t.pieces
	for k := range t.bases {
		var sums [block]int32
		starts := (*[block]int32)(t.starts[k*block:])
		for p := range t.pairs {
			piece := (*[2 * block]int16)(pieces)
			pieces = pieces[2*block:]
			for j, start := range starts {
				in := row[int(start)+2*p:][:2]
				sums[j] += int32(piece[2*j])*int32(in[0]) + int32(piece[2*j+1])*int32(in[1])
			}
		}
		for j, sum := range sums {
			out[k*block+j] = int16(min(max((sum+unit/2)>>14, 0), most))
		}
	}
}

// fromRGBGeneric rounds three rows to bytes.
func fromRGBGeneric(rgb []uint8, r, g, b []int16) {
	for i := range r {
		p := rgb[3*i:][:3]
		p[0], p[1], p[2] = toByte(int32(r[i])), toByte(int32(g[i])), toByte(int32(b[i]))
	}
}

// fromYCbCrGeneric converts colours as JFIF 1.02 says. The factors have 15 bits below the point; what is above 1 is added.
func fromYCbCrGeneric(rgb []uint8, y, cb, cr []int16) {
	for i := range y {
		y, cb, cr := int32(y[i]), int32(cb[i])-128<<7, int32(cr[i])-128<<7
		p := rgb[3*i:][:3]
		p[0] = toByte(y + cr + times(cr, red))
		p[1] = toByte(y - times(cb, greenCb) - times(cr, greenCr))
		p[2] = toByte(y + 2*cb - times(cb, blue))
	}
}

const (
	red     = 13173 // 0.402
	greenCb = 11277 // 0.344136
	greenCr = 23401 // 0.714136
	blue    = 7471  // 2 - 1.772
)

func times(v, factor int32) int32 { return (v*factor + 1<<14) >> 15 }

func toByte(v int32) uint8 { return uint8(min(max((v+64)>>7, 0), 255)) }
