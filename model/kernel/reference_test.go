package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// forLevels runs a test with each kind of kernel that the processor has.
func forLevels(t *testing.T, f func(t *testing.T)) {
	best := level
	defer func() { level = best }()
	for _, l := range levels(best) {
		level = l
		t.Run(names[l], f)
	}
}

func random(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

// dirty is memory that holds what nobody wants to see in a result.
func dirty(n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(math.NaN())
	}
	return s
}

// sum is a value of the reference: in float64, with the sum of its terms' magnitudes and their number, which bound the
// error of any float32 computation.
type sum struct {
	v, size float64
	n       int
}

func (s *sum) add(v float64) {
	s.v += v
	s.size += math.Abs(v)
	s.n++
}

// near fails the test where got is not want. Rounding errors of n terms grow like the square root of n; 4 of those is
// far from chance and far below a lost term.
func near(t *testing.T, what string, got []float32, want []sum) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values; want %d", what, len(got), len(want))
	}
	for i, w := range want {
		tol := 4 * math.Sqrt(float64(w.n+1)) * w.size * 0x1p-24
		if d := math.Abs(float64(got[i]) - w.v); !(d <= tol) {
			t.Fatalf("%s: value %d is %v; want %v within %.2g", what, i, got[i], w.v, tol)
		}
	}
}

func (s *sum) act(a Act) {
	switch a {
	case ReLU:
		s.v = max(s.v, 0)
	case ReLU6:
		s.v = min(max(s.v, 0), 6)
	}
}

// reference is a convolution with its gradients, as simple as can be. groups is 1, or C for a depthwise one.
type reference struct {
	dst, dsrc, dw, db []sum
}

func convReference(src, w, bias, ddst []float32, n int, s Shape, depthwise bool, act Act) reference {
	wn := s.OutC * s.Kernel * s.Kernel * s.C
	if depthwise {
		wn = s.Kernel * s.Kernel * s.C
	}
	ref := reference{make([]sum, n*s.out()), make([]sum, n*s.in()), make([]sum, wn), make([]sum, s.OutC)}
	for i := range n {
		for oy := range s.OutH {
			for ox := range s.OutW {
				for o := range s.OutC {
					d := ((i*s.OutH+oy)*s.OutW+ox)*s.OutC + o
					ref.dst[d].add(float64(bias[o]))
					ref.db[o].add(float64(ddst[d]))
					for ky := range s.Kernel {
						for kx := range s.Kernel {
							y, x := oy*s.Stride+ky-s.PadTop, ox*s.Stride+kx-s.PadLeft
							if y < 0 || x < 0 || y >= s.H || x >= s.W {
								continue
							}
							for c := range s.C {
								wi := ((o*s.Kernel+ky)*s.Kernel+kx)*s.C + c
								if depthwise {
									if c != o {
										continue
									}
									wi = (ky*s.Kernel+kx)*s.C + c
								}
								si := ((i*s.H+y)*s.W+x)*s.C + c
								ref.dst[d].add(float64(src[si]) * float64(w[wi]))
								ref.dsrc[si].add(float64(ddst[d]) * float64(w[wi]))
								ref.dw[wi].add(float64(ddst[d]) * float64(src[si]))
							}
						}
					}
					ref.dst[d].act(act)
				}
			}
		}
	}
	return ref
}

// shape gives a Shape with as many windows as fit.
func shape(h, w, c, out, kernel, stride, pad int) Shape {
	return Shape{H: h, W: w, C: c, OutC: out, Kernel: kernel, Stride: stride, PadTop: pad, PadLeft: pad,
		OutH: (h+2*pad-kernel)/stride + 1, OutW: (w+2*pad-kernel)/stride + 1}
}

// same gives TensorFlow's SAME padding, which is uneven where the kernel is even or the stride skips.
func same(h, w, c, out, kernel, stride int) Shape {
	s := Shape{H: h, W: w, C: c, OutC: out, Kernel: kernel, Stride: stride, OutH: (h + stride - 1) / stride, OutW: (w + stride - 1) / stride}
	s.PadTop = max((s.OutH-1)*stride+kernel-h, 0) / 2
	s.PadLeft = max((s.OutW-1)*stride+kernel-w, 0) / 2
	return s
}

// hanging has one more row and column of windows than fit.
func hanging(h, w, c, out, kernel, stride, pad int) Shape {
	s := shape(h, w, c, out, kernel, stride, pad)
	s.OutH++
	s.OutW++
	return s
}

type convShape = struct {
	why string
	s   Shape
}

var convShapes = []convShape{
	{"one value", shape(1, 1, 1, 1, 1, 1, 0)},
	{"1x1: a matrix product", shape(5, 7, 16, 24, 1, 1, 0)},
	{"1x1, odd sizes everywhere", shape(3, 5, 17, 33, 1, 1, 0)},
	{"1x1, several blocks of rows, several strips", shape(9, 31, 33, 97, 1, 1, 0)},
	{"1x1 that skips pixels", shape(7, 6, 5, 9, 1, 2, 0)},
	{"1x1 that skips pixels, larger stride than needed", shape(7, 8, 3, 40, 1, 3, 0)},
	{"1x1 that looks at the border", shape(3, 4, 5, 6, 1, 1, 1)},
	{"3x3 without padding", shape(6, 9, 3, 16, 3, 1, 0)},
	{"3x3 with padding", shape(7, 5, 16, 17, 3, 1, 1)},
	{"3x3 on less than its size", shape(2, 1, 4, 5, 3, 1, 1)},
	{"3x3 stride 2, uneven padding", same(8, 10, 5, 33, 3, 2)},
	{"3x3 stride 2, even padding", same(9, 7, 33, 5, 3, 2)},
	{"3x3 stride 2, last row and column unread", shape(8, 10, 3, 8, 3, 2, 0)},
	{"3x3 stride 2, hanging", hanging(8, 6, 4, 8, 3, 2, 0)},
	{"2x2, uneven padding", same(5, 6, 6, 7, 2, 1)},
	{"5x5", shape(9, 8, 17, 48, 5, 1, 2)},
	{"5x5 stride 2", same(11, 12, 8, 16, 5, 2)},
	{"5x5 stride 3, larger than the image", same(4, 3, 3, 5, 5, 3)},
	{"5x5 more channels than two registers", shape(7, 7, 96, 40, 5, 1, 0)},
	{"11x11 stride 4 as the article's first layer", shape(31, 27, 3, 96, 11, 4, 0)},
	{"11x11 stride 4, padded", shape(25, 29, 3, 10, 11, 4, 2)},
	{"whole input in one window", shape(5, 5, 12, 34, 5, 1, 0)},
	{"several blocks of rows", shape(70, 75, 33, 3, 3, 1, 1)},
	{"weights of a kernel row larger than the cache", shape(3, 3, 560, 35, 3, 1, 1)},
	{"windows in few columns, many rows", shape(20, 3, 7, 20, 3, 1, 1)},
	{"by winograd, even sizes", shape(14, 16, 16, 32, 3, 1, 1)},
	{"by winograd, odd sizes, tails of channels", shape(13, 15, 19, 37, 3, 1, 1)},
	{"by winograd, without padding, one row", shape(3, 14, 33, 40, 3, 1, 0)},
	{"by winograd, 5x5 in four parts", shape(13, 17, 16, 33, 5, 1, 2)},
	{"by winograd, several blocks of tiles", shape(26, 25, 40, 34, 3, 1, 1)},
}

func (s Shape) String() string {
	return fmt.Sprintf("%dx%dx%d->%dx%dx%d kernel %d stride %d pad %d,%d", s.H, s.W, s.C, s.OutH, s.OutW, s.OutC, s.Kernel, s.Stride, s.PadTop, s.PadLeft)
}

// weightCount is the number of weights of a convolution.
func (s Shape) weightCount() int { return s.OutC * s.Kernel * s.run() }
