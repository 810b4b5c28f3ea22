package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sameBytes fails the test where got is not want.
func sameBytes(t testing.TB, what string, got, want []uint8) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values; want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if got[i] != w {
			t.Fatalf("%s: value %d of %d is %d; want %d", what, i, len(want), got[i], w)
		}
	}
}

// int8Shapes are those of which int8 has its own reasons.
var int8Shapes = append([]struct {
	why string
	s   Shape
}{
	{"run of 4, no padding of weights", shape(6, 6, 4, 16, 1, 1, 0)},
	{"run of 9, padded to 12", same(12, 15, 3, 32, 3, 2)},
	{"run of 21, padded to 24, as ResNet begins", shape(20, 24, 3, 64, 7, 2, 3)},
	{"17 columns: the last strip has two vectors", shape(3, 14, 8, 49, 3, 1, 1)},
	{"13 outputs in a row: one more than a tile", shape(5, 15, 6, 40, 3, 1, 0)},
	{"25 outputs in a row: one more than two tiles", shape(5, 25, 6, 15, 3, 1, 1)},
	{"5x5, rows of the image one more than two blocks", shape(9, 9, 33, 33, 5, 1, 2)},
	{"7x7 depthwise: two groups of rows, two outputs", shape(9, 9, 48, 48, 7, 1, 3)},
	{"depthwise: several blocks of channels, the last of less than a vector", shape(3, 4, 1900, 2, 3, 1, 1)},
	{"depthwise: several blocks of columns, padding at both ends", shape(4, 97, 200, 2, 3, 1, 1)},
	{"depthwise: several blocks of columns, stride 2, hanging", hanging(5, 98, 250, 1, 5, 2, 2)},
	{"windows that begin in padding alone", Shape{H: 3, W: 3, C: 5, OutH: 5, OutW: 5, OutC: 5, Kernel: 1, Stride: 1, PadTop: 2, PadLeft: 2}},
}, convShapes...)

func TestConvInt8(t *testing.T) {
	for _, tt := range int8Shapes {
		const n = 2
		r := rand.New(rand.NewPCG(1, 2))
		src, w := randomBytes(r, n*tt.s.in()), randomWeights(r, tt.s.weightCount())
		q := randomRequant(r, tt.s.OutC, tt.s.Kernel*tt.s.run())
		want := q.finishAll(sumsReference(src, w, n, tt.s, 77, false))
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				packed := PackConvInt8(w, tt.s)
				dst := dirtyBytes(n * tt.s.out())
				ConvInt8(dst, src, n, packed, q, tt.s, 77, dirtyBytes(ConvInt8Scratch(tt.s)))
				sameBytes(t, "dst", dst, want)

				const left, right = 5, 3
				wide := tt.s
				wide.Pitch = left + wide.OutC + right
				dst = make([]uint8, n*wide.OutH*wide.OutW*wide.Pitch)
				stripes := make([]uint8, len(dst))
				for i := range n * wide.OutH * wide.OutW {
					copy(stripes[i*wide.Pitch+left:], want[i*wide.OutC:][:wide.OutC])
				}
				ConvInt8(dst[left:], src, n, packed, q, wide, 77, dirtyBytes(ConvInt8Scratch(wide)))
				sameBytes(t, "stripe and what lies beside it", dst, stripes)
			})
		})
	}
}

func TestDepthwiseInt8(t *testing.T) {
	for _, tt := range int8Shapes {
		const n = 2
		s := tt.s
		s.OutC = s.C
		r := rand.New(rand.NewPCG(3, 4))
		src, w := randomBytes(r, n*s.in()), randomWeights(r, s.Kernel*s.run())
		q := randomRequant(r, s.C, s.Kernel*s.Kernel)
		want := q.finishAll(sumsReference(src, w, n, s, 200, true))
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				dst := dirtyBytes(n * s.out())
				DepthwiseInt8(dst, src, n, PackDepthwiseInt8(w, s), q, s, 200, dirtyBytes(DepthwiseInt8Scratch(s)))
				sameBytes(t, "dst", dst, want)
			})
		})
	}
}

var denseInt8Shapes = []struct {
	why           string
	rows, out, in int
}{
	{"one value", 1, 1, 1},
	{"less than a register", 2, 3, 5},
	{"whole registers", 6, 32, 64},
	{"one more than everything", 13, 33, 129},
	{"half a strip at the end", 12, 48, 12},
	{"several blocks of rows", 101, 5, 4099},
	{"a head", 10, 28, 512},
}

func TestDenseInt8(t *testing.T) {
	for _, tt := range denseInt8Shapes {
		r := rand.New(rand.NewPCG(5, 6))
		src, w := randomBytes(r, tt.rows*tt.in), randomWeights(r, tt.out*tt.in)
		q := randomRequant(r, tt.out, tt.in)
		sums := sumsReference(src, w, tt.rows, shape(1, 1, tt.in, tt.out, 1, 1, 0), 0, false)
		want := q.finishAll(sums)
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				packed := PackDenseInt8(w, tt.out, tt.in)
				dst := dirtyBytes(tt.rows * tt.out)
				DenseInt8(dst, src, tt.rows, packed, q)
				sameBytes(t, "dst", dst, want)
				logits := dirty(tt.rows * tt.out)
				DenseInt8Float(logits, src, tt.rows, packed, q.Bias, q.Scale)
				for i, got := range logits {
					o := i % tt.out
					if want := float32(float64(float32(sums[i]+int64(q.Bias[o]))) * float64(q.Scale[o])); got != want {
						t.Fatalf("logit %d is %v; want %v", i, got, want)
					}
				}
			})
		})
	}
}

// Every end of the range of sums, scales and limits: the least and greatest sums of 19200 products, scales that leave
// int32, halves that round to even, and scales that no calibration gives but a damaged file may.
func TestRequantInt8(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	const in = 19200
	extremes := []struct {
		why        string
		weight     int8
		bias       int32
		scale      float32
		zero       uint8
		low, high  uint8
		want       uint8
		sourceByte uint8
	}{
		{"greatest sum", 127, 0, 1e-7, 3, 0, 255, 65, 255},
		{"least sum", -127, 0, 1e-7, 200, 0, 255, 138, 255},
		{"greatest sum, high", 127, 0, 1, 3, 0, 250, 250, 255},
		{"least sum, low", -127, 0, 1, 200, 7, 255, 7, 255},
		{"far beyond int32", 127, 0, 1e30, 3, 0, 250, 250, 255},
		{"far below int32", -127, 0, 1e30, 3, 2, 250, 2, 255},
		{"infinite", 127, 0, inf, 3, 2, 250, 250, 255},
		{"infinite, negative", -127, 0, inf, 3, 2, 250, 2, 255},
		{"not a number is high", 1, 0, nan, 3, 2, 250, 250, 255},
		{"0 times infinity is not a number", 0, 0, inf, 3, 2, 250, 250, 255},
		{"half to even, down", 0, 5, 0.5, 10, 0, 255, 12, 9},
		{"half to even, up", 0, 7, 0.5, 10, 0, 255, 14, 9},
		{"negative half to even", 0, -5, 0.5, 10, 0, 255, 8, 9},
		{"low is zero: ReLU", 0, -5, 1, 10, 10, 255, 10, 9},
		{"all one value", 0, 90, 1, 10, 20, 20, 20, 9},
		{"negative scale", 0, 90, -1, 100, 0, 255, 10, 9},
	}
	forLevels(t, func(t *testing.T) {
		for _, tt := range extremes {
			for _, out := range []int{1, 16, 17, 40} {
				src := make([]uint8, in)
				fillBytes(src, tt.sourceByte)
				src = withSlack(src)
				w := make([]int8, out*in)
				q := &Requant{make([]int32, out), make([]float32, out), tt.zero, tt.low, tt.high}
				for i := range w {
					w[i] = tt.weight
				}
				for o := range out {
					q.Bias[o], q.Scale[o] = tt.bias, tt.scale
				}
				dst := dirtyBytes(out)
				DenseInt8(dst, src, 1, PackDenseInt8(w, out, in), q)
				for o, got := range dst {
					if got != tt.want {
						t.Fatalf("%s: output %d of %d is %d; want %d", tt.why, o, out, got, tt.want)
					}
				}
			}
		}
	})
}

func TestMaxPoolInt8(t *testing.T) {
	for _, tt := range int8Shapes {
		const n = 2
		s := tt.s
		s.OutC = s.C
		src := randomBytes(rand.New(rand.NewPCG(7, 8)), n*s.in())
		want := make([]uint8, n*s.out())
		for at := range want {
			c, ox, oy, i := at%s.C, at/s.C%s.OutW, at/s.C/s.OutW%s.OutH, at/s.out()
			for y := max(oy*s.Stride-s.PadTop, 0); y < min(oy*s.Stride-s.PadTop+s.Kernel, s.H); y++ {
				for x := max(ox*s.Stride-s.PadLeft, 0); x < min(ox*s.Stride-s.PadLeft+s.Kernel, s.W); x++ {
					want[at] = max(want[at], src[((i*s.H+y)*s.W+x)*s.C+c])
				}
			}
		}
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				dst := dirtyBytes(n * s.out())
				MaxPoolInt8(dst, slices.Clip(src), n, s)
				sameBytes(t, "dst", dst, want)
			})
		})
	}
}

func TestGlobalAvgPoolInt8(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, tt := range []struct {
		why       string
		pixels, c int
		scale     float32
	}{
		{"one value", 1, 1, 1.5},
		{"a head of EfficientNet", 49, 1280, 0.03},
		{"odd", 7, 83, 0.2},
		{"more pixels than 16 bits hold sums", 1000, 65, 0.0012},
		{"beyond both ends", 4, 33, 3},
	} {
		const n, zeroIn, zeroOut = 3, 100, 120
		src := randomBytes(r, n*tt.pixels*tt.c)
		want := make([]uint8, n*tt.c)
		for at := range want {
			i, c := at/tt.c, at%tt.c
			sum := 0
			for p := range tt.pixels {
				sum += int(src[(i*tt.pixels+p)*tt.c+c]) - zeroIn
			}
			v := math.RoundToEven(float64(float32(float64(sum) * float64(tt.scale))))
			want[at] = uint8(min(max(v+zeroOut, 0), 255))
		}
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				dst := dirtyBytes(n * tt.c)
				GlobalAvgPoolInt8(dst, slices.Clip(src), n, tt.pixels, tt.c, zeroIn, tt.scale, zeroOut)
				sameBytes(t, "dst", dst, want)
			})
		})
	}
}

func TestAddInt8(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	forLevels(t, func(t *testing.T) {
		for n := range 150 { // all tails of vectors
			a, b := randomBytes(r, n), randomBytes(r, n)
			p := &AddQuant{ZeroA: uint8(r.UintN(256)), ZeroB: uint8(r.UintN(256)), ScaleA: r.Float32(), ScaleB: 2 * r.Float32(),
				Zero: uint8(r.UintN(256)), Low: uint8(r.UintN(50)), High: uint8(200 + r.UintN(56))}
			want := make([]uint8, n)
			for i := range want {
				x := float32((float64(a[i]) - float64(p.ZeroA)) * float64(p.ScaleA))
				y := float32((float64(b[i]) - float64(p.ZeroB)) * float64(p.ScaleB))
				v := math.RoundToEven(float64(float32(float64(x) + float64(y))))
				want[i] = uint8(min(max(v+float64(p.Zero), float64(p.Low)), float64(p.High)))
			}
			dst := dirtyBytes(n)
			AddInt8(dst, slices.Clip(a), slices.Clip(b), p)
			sameBytes(t, "dst", dst, want)
			AddInt8(a, a, b, p)
			sameBytes(t, "dst is a", a, want)
		}
	})
}

func TestQuantize(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	values := []float32{0, 0.5, 1, 1.5, 2.5, -0.5, -1.5, -64, 63.25, 127.5, 1e9, 1e30, -1e9, -1e30, inf, -inf, nan, math.MaxFloat32}
	wants := map[[2]float32][]uint8{
		// zero 128, inverse 1: halves go to even numbers before zero is added.
		{1, 128}: {128, 128, 129, 130, 130, 128, 126, 64, 191, 255, 255, 255, 0, 0, 255, 0, 128, 255},
		// zero 7, inverse 2: MaxFloat32 doubled is infinite.
		{2, 7}: {7, 8, 9, 10, 12, 6, 4, 0, 133, 255, 255, 255, 0, 0, 255, 0, 7, 255},
	}
	forLevels(t, func(t *testing.T) {
		for key, want := range wants {
			for n := range 150 { // all tails, all places in a vector
				src, expect := make([]float32, n), make([]uint8, n)
				for i := range n {
					src[i], expect[i] = values[(i+n)%len(values)], want[(i+n)%len(values)]
				}
				dst := dirtyBytes(n)
				Quantize(dst, src, key[0], uint8(key[1]))
				sameBytes(t, "dst", dst, expect)
			}
		}
	})
}

func TestInt8OfNothing(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		s := shape(4, 4, 3, 5, 3, 1, 1)
		d := s
		d.OutC = d.C
		r := rand.New(rand.NewPCG(13, 14))
		q := randomRequant(r, 5, 27)
		ConvInt8(nil, nil, 0, PackConvInt8(make([]int8, s.weightCount()), s), q, s, 1, nil)
		DepthwiseInt8(nil, nil, 0, PackDepthwiseInt8(make([]int8, 27), d), q, d, 1, nil)
		DenseInt8(nil, nil, 0, PackDenseInt8(make([]int8, 15), 5, 3), q)
		DenseInt8Float(nil, nil, 0, PackDenseInt8(make([]int8, 15), 5, 3), q.Bias, q.Scale)
		MaxPoolInt8(nil, nil, 0, d)
		GlobalAvgPoolInt8(nil, nil, 0, 4, 4, 1, 1, 1)
		AddInt8(nil, nil, nil, &AddQuant{})
		Quantize(nil, nil, 1, 1)
	})
}

// shortInt8 are calls with one slice too short each.
func shortInt8() map[string]func() {
	s := shape(4, 4, 3, 5, 3, 1, 1)
	d := s
	d.OutC = d.C
	r := rand.New(rand.NewPCG(15, 16))
	src, w := randomBytes(r, s.in()), randomWeights(r, s.weightCount())
	q := randomRequant(r, 5, 27)
	packed, depthwise, dense := PackConvInt8(w, s), PackDepthwiseInt8(w[:27], d), PackDenseInt8(w, 5, 27)
	scratch := dirtyBytes(max(ConvInt8Scratch(s), DepthwiseInt8Scratch(d)))
	slackless := src[: s.in() : s.in()+Int8Slack-1]
	dst := func(n int) []uint8 { return make([]uint8, n) }
	fewer := &Requant{Bias: q.Bias[:4:4], Scale: q.Scale}
	fewerScales := &Requant{Bias: q.Bias, Scale: q.Scale[:2:2]}
	other := s
	other.C = 2
	return map[string]func(){
		"conv dst": func() { ConvInt8(dst(s.out()-1), src, 1, packed, q, s, 0, scratch) },
		"conv src": func() { ConvInt8(dst(s.out()), slackless, 1, packed, q, s, 0, scratch) },
		"conv scratch": func() {
			ConvInt8(dst(s.out()), src, 1, packed, q, s, 0, scratch[:ConvInt8Scratch(s)-1:ConvInt8Scratch(s)-1])
		},
		"conv bias":         func() { ConvInt8(dst(s.out()), src, 1, packed, fewer, s, 0, scratch) },
		"conv scale":        func() { ConvInt8(dst(s.out()), src, 1, packed, fewerScales, s, 0, scratch) },
		"conv weights":      func() { ConvInt8(dst(s.out()), src, 1, packed, q, other, 0, scratch) },
		"pack":              func() { PackConvInt8(slices.Clip(w[:s.weightCount()-1]), s) },
		"depthwise dst":     func() { DepthwiseInt8(dst(d.out()-1), src, 1, depthwise, q, d, 0, scratch) },
		"depthwise src":     func() { DepthwiseInt8(dst(d.out()), slackless, 1, depthwise, q, d, 0, scratch) },
		"depthwise scratch": func() { DepthwiseInt8(dst(d.out()), src, 1, depthwise, q, d, 0, nil) },
		"depthwise weights": func() { DepthwiseInt8(dst(d.out()), src, 1, packed, q, d, 0, scratch) },
		"pack depthwise":    func() { PackDepthwiseInt8(slices.Clip(w[:26]), d) },
		"dense dst":         func() { DenseInt8(dst(4), src, 1, dense, q) },
		"dense src":         func() { DenseInt8(dst(5), src[:27:27+Int8Slack-1], 1, dense, q) },
		"dense scale":       func() { DenseInt8(dst(5), src, 1, dense, fewerScales) },
		"pack dense":        func() { PackDenseInt8(slices.Clip(w[:134]), 5, 27) },
		"logits":            func() { DenseInt8Float(make([]float32, 4), src, 1, dense, q.Bias, q.Scale) },
		"logits' bias":      func() { DenseInt8Float(make([]float32, 5), src, 1, dense, q.Bias[:3:3], q.Scale) },
		"pool dst":          func() { MaxPoolInt8(dst(d.out()-1), src, 1, d) },
		"pool src":          func() { MaxPoolInt8(dst(d.out()), slices.Clip(src[:d.in()-1]), 1, d) },
		"average dst":       func() { GlobalAvgPoolInt8(dst(2), src, 1, 16, 3, 0, 1, 0) },
		"average src":       func() { GlobalAvgPoolInt8(dst(3), slices.Clip(src[:47]), 1, 16, 3, 0, 1, 0) },
		"add a":             func() { AddInt8(dst(9), src[:8:8], src, &AddQuant{}) },
		"add b":             func() { AddInt8(dst(9), src, src[:8:8], &AddQuant{}) },
		"quantize":          func() { Quantize(dst(9), make([]float32, 8), 1, 0) },
	}
}

func TestShortInt8SlicesPanic(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		for why, f := range shortInt8() {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s too short: no panic", why)
					}
				}()
				f()
			}()
		}
	})
}

func TestInt8Allocations(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(17, 18))
		s := same(9, 9, 5, 5, 3, 2)
		src, w := randomBytes(r, 2*s.in()), randomWeights(r, s.weightCount())
		q := randomRequant(r, 5, 45)
		packed, depthwise, dense := PackConvInt8(w, s), PackDepthwiseInt8(w[:45], s), PackDenseInt8(w, 5, 45)
		dst, logits := dirtyBytes(2*s.in()), dirty(10)
		scratch := dirtyBytes(max(ConvInt8Scratch(s), DepthwiseInt8Scratch(s)))
		add := &AddQuant{ScaleA: 1}
		if n := testing.AllocsPerRun(5, func() {
			ConvInt8(dst, src, 2, packed, q, s, 3, scratch)
			DepthwiseInt8(dst, src, 2, depthwise, q, s, 3, scratch)
			DenseInt8(dst, src, 2, dense, q)
			DenseInt8Float(logits, src, 2, dense, q.Bias, q.Scale)
			MaxPoolInt8(dst, src, 2, s)
			GlobalAvgPoolInt8(dst, src, 1, 81, 5, 3, 1, 3)
			AddInt8(dst, dst, dst, add)
			Quantize(dst[:10], logits, 1, 3)
		}); n != 0 {
			t.Errorf("%v allocations; want none", n)
		}
	})
}
