package kernel

import (
	"fmt"
	"unsafe"
)

// The int8 half of the package. Activations are uint8 with a scale and a zero point per tensor: real = scale*(q-zero).
// Weights are int8 from -127 to 127, without a zero point, with a scale per output channel. Sums are exact in int32, so
// that every processor gives the same bytes, whatever its Features: a layer may have up to 66,000 weights per output
// before its sums can leave int32 (they wrap then).
//
//	s := kernel.Shape{H: 56, W: 56, C: 64, OutH: 56, OutW: 56, OutC: 64, Kernel: 3, Stride: 1, PadTop: 1, PadLeft: 1}
//	w := kernel.PackConvInt8(weights, s)                    // once
//	scratch := make([]uint8, kernel.ConvInt8Scratch(s))     // once for each goroutine
//	kernel.ConvInt8(dst, src, n, w, &requant, s, zeroIn, scratch)

// Int8Slack is how many bytes convolutions and dense layers may read past the last value of their input, which they
// multiply by zero or do not use: the capacity of such an input must include them. What they hold does not matter.
const Int8Slack = 64

// Requant is how a layer of int8 ends, per output channel o:
//
//	q = max(Low, Zero + roundToEven(min(float32(sum+Bias[o])*Scale[o], High-Zero)))
//
// which is q clamped to Low..High, and High where a scale is NaN. The product is rounded to float32. The caller has
// folded the layer's bias and the input's zero point into Bias: bias/(sIn*sW[o]) - zeroIn*(sum of o's weights), and
// sIn*sW[o]/sOut into Scale. ReLU is Low = Zero; ReLU6 is High = Zero + 6/sOut as well. Low is at most High.
type Requant struct {
	Bias            []int32
	Scale           []float32
	Zero, Low, High uint8
}

// PackedInt8 holds a layer's weights as the int8 kernels read them. It is immutable and can be shared by goroutines.
//
// The output channels are cut into strips of stripInt8, the last of them padded with zeros to half of that or all of it.
// Of each strip, groups of 4 weights that meet 4 neighbouring bytes of the input lie together: [depth/4][strip][4].
type PackedInt8 struct {
	data  []int8
	out   int
	depth int // weights of an output channel with their padding
	shape Shape
}

const (
	stripInt8 = 32
	// l2Int8 is how many bytes of input a block of work may touch so that it stays in the second-level cache.
	l2Int8 = 384 << 10
)

func newPackedInt8(out, depth int, s Shape) *PackedInt8 {
	n := depth * roundUp(out, stripInt8/2)
	data := alignedBytes(make([]uint8, n+lineBytes), n)
	return &PackedInt8{unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(data))), n), out, depth, s}
}

// strip is where the strip from column j begins, how many columns it has, and how far apart its groups of 4 rows are.
func (p *PackedInt8) strip(j int) (at, cols, stride int) {
	cols = min(p.out-j, stripInt8)
	return j * p.depth, cols, 4 * roundUp(cols, stripInt8/2)
}

// put stores weight k of column o.
func (p *PackedInt8) put(o, k int, w int8) {
	at, _, stride := p.strip(o / stripInt8 * stripInt8)
	p.data[at+k/4*stride+o%stripInt8*4+k%4] = w
}

// window is what weights depend on.
func (s Shape) window() Shape {
	return Shape{C: s.C, OutC: s.OutC, Kernel: s.Kernel, Stride: s.Stride}
}

func (p *PackedInt8) check(s Shape, r *Requant) {
	if p.shape != s {
		panic(fmt.Sprintf("kernel: the weights are packed for %+v, not for %+v", p.shape, s))
	}
	r.check(p.out)
}

func (r *Requant) check(out int) {
	_, _ = r.Bias[:out], r.Scale[:out]
}

const lineBytes = 64

// alignedBytes is aligned for bytes: it needs a slice of n+lineBytes.
func alignedBytes(s []uint8, n int) []uint8 {
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(s))) % lineBytes)
	return s[off : off+n : off+n]
}

// fillBytes sets all of s to v.
func fillBytes(s []uint8, v uint8) {
	if v == 0 {
		clear(s)
		return
	}
	if len(s) == 0 {
		return
	}
	s[0] = v
	for n := 1; n < len(s); n *= 2 {
		copy(s[n:], s[:n])
	}
}

// PackConvInt8 packs the weights [OutC][Kernel][Kernel][C] of a convolution.
func PackConvInt8(w []int8, s Shape) *PackedInt8 {
	w = w[:s.OutC*s.Kernel*s.run()]
	run := roundUp(s.run(), 4)
	p := newPackedInt8(s.OutC, s.Kernel*run, s.window())
	for i, v := range w {
		row := i / s.run()
		p.put(row/s.Kernel, row%s.Kernel*run+i%s.run(), v)
	}
	return p
}

// PackDenseInt8 packs the weights [out][in] of a dense layer.
func PackDenseInt8(w []int8, out, in int) *PackedInt8 {
	w = w[:out*in]
	p := newPackedInt8(out, roundUp(in, 4), Shape{C: in, OutC: out})
	for i, v := range w {
		p.put(i/in, i%in, v)
	}
	return p
}

// ConvInt8Scratch is how many bytes of scratch memory ConvInt8 needs.
func ConvInt8Scratch(s Shape) int {
	if s.inside() {
		return 0
	}
	h, w := s.padded()
	return togetherInt8(h, w, s.C)*h*w*s.C + Int8Slack + lineBytes
}

// togetherInt8 is how many images of h x w x c bytes are worth computing side by side: as many as fit in the cache, so
// that small images share each load of the weights.
func togetherInt8(h, w, c int) int { return min(max(l2Int8/(h*w*c), 1), 16) }

// ConvInt8 computes n images dst[OutH][OutW][OutC] from src[H][W][C]. zero is the input's zero point: what padding holds.
// The capacity of src must include Int8Slack. With a Pitch, dst begins at the stripe's first value.
func ConvInt8(dst, src []uint8, n int, w *PackedInt8, r *Requant, s Shape, zero uint8, scratch []uint8) {
	w.check(s.window(), r)
	if n == 0 {
		return
	}
	src = src[:n*s.in()+Int8Slack]
	if s.flat() {
		multiplyInt8(tileInt8{c: dst, cs: s.pitch()}, src, n*s.H*s.W, s.C, w, r)
		return
	}
	t := tileInt8{b: w.data, c: dst, m: s.OutW, runs: s.Kernel, run: roundUp(s.run(), 4) / 4, ak: 4, cs: s.pitch()}
	t.requant(r)
	h, width := s.H, s.W
	inside := s.inside()
	if !inside {
		h, width = s.padded()
	}
	group := togetherInt8(h, width, s.C)
	var border []uint8
	if !inside {
		n := group*h*width*s.C + Int8Slack
		border = alignedBytes(scratch[:n+lineBytes], n)
		fillBytes(border, zero)
	}
	t.as, t.ar = s.Stride*s.C, width*s.C
	block := max(l2Int8/(s.Stride*width*s.C), 1)
	for i := 0; i < n; i += group {
		images := min(group, n-i)
		t.a = src[i*s.in():]
		if !inside {
			row := max(min(s.W, width-s.PadLeft), 0) * s.C
			for k := range images {
				for y := range min(s.H, h-s.PadTop) {
					copy(border[((k*h+y+s.PadTop)*width+s.PadLeft)*s.C:][:row], src[((i+k)*s.H+y)*s.W*s.C:])
				}
			}
			t.a = border
		}
		for y0 := 0; y0 < s.OutH; y0 += block {
			for j := 0; j < w.out; j += stripInt8 {
				t.strip(w, r, j)
				t.br = t.run * t.bk
				for k := range images {
					for y := y0; y < min(y0+block, s.OutH); y++ {
						t.a0 = (k*h + y*s.Stride) * width * s.C
						t.c0 = ((i+k)*s.OutH+y)*s.OutW*t.cs + j
						t.product()
					}
				}
			}
		}
	}
}

// multiplyInt8 computes the products of rows of src, each in bytes long, with all columns of w, into t.c or t.f.
func multiplyInt8(t tileInt8, src []uint8, rows, in int, w *PackedInt8, r *Requant) {
	t.a, t.b = src, w.data
	t.as, t.ak, t.runs, t.run = in, 4, 1, w.depth/4
	t.requant(r)
	if len(w.data) > 2*l2Int8 {
		t.stream = 1
	}
	block := max(l2Int8/in, 48)
	for i := 0; i < rows; i += block {
		t.a0, t.m = i*in, min(block, rows-i)
		for j := 0; j < w.out; j += stripInt8 {
			t.strip(w, r, j)
			t.c0 = i*t.cs + j
			t.product()
		}
	}
}

// DenseInt8 computes dst[rows][out] from src[rows][in]. The capacity of src must include Int8Slack.
func DenseInt8(dst, src []uint8, rows int, w *PackedInt8, r *Requant) {
	w.check(Shape{C: w.shape.C, OutC: w.out}, r)
	if rows == 0 {
		return
	}
	multiplyInt8(tileInt8{c: dst, cs: w.out}, src[:rows*w.shape.C+Int8Slack], rows, w.shape.C, w, r)
}

// DenseInt8Float is DenseInt8 for a network's last layer: dst[r][o] = float32(sum+bias[o]) * scale[o].
func DenseInt8Float(dst []float32, src []uint8, rows int, w *PackedInt8, bias []int32, scale []float32) {
	r := Requant{Bias: bias, Scale: scale}
	w.check(Shape{C: w.shape.C, OutC: w.out}, &r)
	if rows == 0 {
		return
	}
	multiplyInt8(tileInt8{f: dst[:rows*w.out], cs: w.out}, src[:rows*w.shape.C+Int8Slack], rows, w.shape.C, w, &r)
}
