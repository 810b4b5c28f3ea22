package transforms

import (
	"encoding/binary"
	"image"
	"image/color"
	"math"
)

// resample resizes the part window of src to the size to, of which it makes the part cut. Sums are in integers, so the
// result is the same on every machine; a picture of one colour keeps it exactly.
//
// A JPEG's planes are resized as they are, chroma at its own resolution, and only the result is converted to RGB.
func resample(src image.Image, window image.Rectangle, to image.Point, cut image.Rectangle) *Image {
	axes := func(window image.Rectangle, subX, subY int) (h, v taps) {
		return newTaps(window.Min.X, window.Max.X, subX, to.X, cut.Min.X, cut.Max.X),
			newTaps(window.Min.Y, window.Max.Y, subY, to.Y, cut.Min.Y, cut.Max.Y)
	}
	n := cut.Dx() * cut.Dy()
	switch src := src.(type) {
	case *image.YCbCr:
		if src.Rect.Min != (image.Point{}) { // chroma would not start with luma
			break
		}
		planes := make([]uint8, 3*n)
		y, cb, cr := planes[:n], planes[n:2*n], planes[2*n:]
		h, v := axes(window, 1, 1)
		resamplePlane(y, src.Y, src.YStride, 1, h, v)
		if subX, subY := subsampling(src.SubsampleRatio); subX > 1 || subY > 1 {
			h, v = axes(window, subX, subY)
		}
		resamplePlane(cb, src.Cb, src.CStride, 1, h, v)
		resamplePlane(cr, src.Cr, src.CStride, 1, h, v)
		m := NewImage(cut.Dx(), cut.Dy())
		for i := range n {
			m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = color.YCbCrToRGB(y[i], cb[i], cr[i])
		}
		return m
	case *image.Gray:
		luma := make([]uint8, n)
		h, v := axes(window.Sub(src.Rect.Min), 1, 1)
		resamplePlane(luma, src.Pix, src.Stride, 1, h, v)
		m := NewImage(cut.Dx(), cut.Dy())
		for i, v := range luma {
			m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = v, v, v
		}
		return m
	}
	part, ok := src.(*Image)
	if !ok {
		part = convert(src, window)
		window = part.Bounds()
	}
	m := NewImage(cut.Dx(), cut.Dy())
	h, v := axes(window, 1, 1)
	resamplePlane(m.Pix, part.Pix, 3*part.W, 3, h, v)
	return m
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

// taps is the filter of one axis: output i is the sum over t < n of weights[i*n+t] * input[first[i]+t]. Weights have 16
// bits below the point, and those of one output add up to 1 exactly. The same n for all outputs lets the processor
// foresee the end of each sum.
type taps struct {
	n       int
	first   []int
	weights []uint32
	lo, hi  int // the inputs that are read, [lo, hi)
}

const unit = 1 << 16

// newTaps is a triangle as wide as the outputs lie apart, but not narrower than the inputs do, as in Pillow's
// precompute_coeffs. The inputs from lo to hi become n outputs, of which those from out0 to out1 are wanted. Where the
// plane has one sample for sub inputs, lo and hi stay in inputs.
func newTaps(lo, hi, sub, n, out0, out1 int) taps {
	scale := float64(hi-lo) / float64(n*sub)
	support := max(scale, 1)
	origin := float64(lo) / float64(sub)
	lo, hi = lo/sub, (hi+sub-1)/sub
	t := taps{n: min(int(math.Ceil(2*support))+1, hi-lo), first: make([]int, out1-out0), lo: hi, hi: lo}
	t.weights = make([]uint32, t.n*len(t.first))
	exact := make([]float64, t.n)
	for i := range t.first {
		center := origin + float64((float64(out0+i)+0.5)*scale)
		first := min(max(lo, int(math.Floor(center-support+0.5))), hi-t.n)
		sum := 0.0
		for x := range exact {
			exact[x] = max(1-math.Abs((float64(first+x)+0.5-center)/support), 0)
			sum += exact[x]
		}
		// Rounding the running sum, not each weight, keeps the total.
		run, done := 0.0, uint32(0)
		for x, w := range exact {
			run += w
			upTo := uint32(math.Round(run / sum * unit))
			t.weights[i*t.n+x] = upTo - done
			done = upTo
		}
		t.first[i] = first
		t.lo, t.hi = min(t.lo, first), max(t.hi, first+t.n)
	}
	return t
}

// resamplePlane resizes a plane of 1 or 3 interleaved channels, first down the columns, then along each row.
func resamplePlane(dst, src []uint8, stride, channels int, h, v taps) {
	row := make([]uint16, (h.hi-h.lo)*channels)
	width := len(h.first) * channels
	along := alongGrey
	if channels == 3 {
		along = alongRGB
	}
	for i, first := range v.first {
		columns(row, src[first*stride+h.lo*channels:], stride, v.weights[i*v.n:(i+1)*v.n])
		along(dst[i*width:(i+1)*width], row, h)
	}
}

// alongGrey resizes a row. A sample of it has 8 bits below the point and a weight 16, so a sum has 24 and fits in 32.
func alongGrey(out []uint8, row []uint16, h taps) {
	weights := h.weights
	for j, first := range h.first {
		w := weights[:h.n]
		weights = weights[h.n:]
		in := row[first-h.lo:][:len(w)]
		sum := uint32(1 << 23)
		for t, k := range w {
			sum += k * uint32(in[t])
		}
		out[j] = uint8(sum >> 24)
	}
}

func alongRGB(out []uint8, row []uint16, h taps) {
	weights := h.weights
	for j, first := range h.first {
		w := weights[:h.n]
		weights = weights[h.n:]
		in := row[3*(first-h.lo):][:3*len(w)]
		r, g, b := uint32(1<<23), uint32(1<<23), uint32(1<<23)
		for t, k := range w {
			p := in[3*t : 3*t+3 : 3*t+3]
			r += k * uint32(p[0])
			g += k * uint32(p[1])
			b += k * uint32(p[2])
		}
		out[3*j], out[3*j+1], out[3*j+2] = uint8(r>>24), uint8(g>>24), uint8(b>>24)
	}
}

// columns adds weighted rows of src to one row with 8 bits below the point. Eight columns are added at a time, two to a
// 64-bit word: a weighted byte and its sums need 24 bits of the 32 that each has.
func columns(row []uint16, src []uint8, stride int, weights []uint32) {
	const pair, half = 0x000000ff_000000ff, 0x00000080_00000080
	x := 0
	for ; x+8 <= len(row); x += 8 {
		a, b, c, d := uint64(half), uint64(half), uint64(half), uint64(half)
		at := x
		for _, w := range weights {
			k, v := uint64(w), binary.LittleEndian.Uint64(src[at:])
			a += v & pair * k
			b += v >> 8 & pair * k
			c += v >> 16 & pair * k
			d += v >> 24 & pair * k
			at += stride
		}
		out := row[x : x+8 : x+8]
		out[0], out[4] = uint16(a>>8), uint16(a>>40)
		out[1], out[5] = uint16(b>>8), uint16(b>>40)
		out[2], out[6] = uint16(c>>8), uint16(c>>40)
		out[3], out[7] = uint16(d>>8), uint16(d>>40)
	}
	for ; x < len(row); x++ {
		sum, at := uint32(half&0xff), x
		for _, w := range weights {
			sum += w * uint32(src[at])
			at += stride
		}
		row[x] = uint16(sum >> 8)
	}
}
