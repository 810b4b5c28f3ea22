package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type benchShape struct {
	name string
	n    int
	s    Shape
}

var benchShapes = []benchShape{
	{"article-conv1", 4, shape(224, 224, 3, 96, 11, 4, 0)},
	{"article-conv2", 4, shape(26, 26, 96, 192, 5, 1, 0)},
	{"resnet-3x3x64", 4, shape(56, 56, 64, 64, 3, 1, 1)},
	{"resnet-3x3x128-stride2", 4, shape(56, 56, 64, 128, 3, 2, 1)},
	{"resnet-3x3x512", 4, shape(7, 7, 512, 512, 3, 1, 1)},
	{"squeeze-3x3-16-64", 4, shape(54, 54, 16, 64, 3, 1, 1)},
	{"squeeze-3x3-32-128", 4, shape(27, 27, 32, 128, 3, 1, 1)},
	{"squeeze-3x3-64-256", 4, shape(13, 13, 64, 256, 3, 1, 1)},
	{"effnet-stem", 4, same(224, 224, 3, 32, 3, 2)},
	{"effnet-1x1-16-96", 4, shape(112, 112, 16, 96, 1, 1, 0)},
	{"effnet-1x1-144-24", 4, shape(56, 56, 144, 24, 1, 1, 0)},
	{"effnet-1x1-80-480", 4, shape(14, 14, 80, 480, 1, 1, 0)},
	{"effnet-1x1-1152-320", 4, shape(7, 7, 1152, 320, 1, 1, 0)},
}

func inBFloat16(shapes []benchShape) []benchShape {
	shapes = slices.Clone(shapes)
	for i := range shapes {
		shapes[i].name += "-bf16"
		shapes[i].s.BFloat16 = true
	}
	return shapes
}

var benchDepthwise = []struct {
	name string
	n    int
	s    Shape
}{
	{"3x3-96-stride2", 4, same(112, 112, 96, 96, 3, 2)},
	{"3x3-144", 4, same(56, 56, 144, 144, 3, 1)},
	{"5x5-240", 4, same(28, 28, 240, 240, 5, 1)},
	{"5x5-672-stride2", 4, same(14, 14, 672, 672, 5, 2)},
	{"5x5-1152", 4, same(7, 7, 1152, 1152, 5, 1)},
}

// rate reports how fast a benchmark's additions and multiplications went.
func rate(b *testing.B, operations int) {
	b.ReportMetric(float64(operations)*float64(b.N)/1e9/b.Elapsed().Seconds(), "GFLOP/s")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N), "ms/op")
}

// The loop alone, on what lies in the first cache.
func BenchmarkTile(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const k = 64
	width := 2 * lanes()
	t := tile{a: random(r, 12*k), b: aligned(random(r, k*width+lineValues), k*width), c: make([]float32, 12*width),
		as: k, ak: 1, bk: width, cs: width, m: 12, cols: width, runs: 1, run: k}
	t.runs, t.ar, t.br = 16, 0, 0
	for b.Loop() {
		t.product()
	}
	rate(b, 2*12*width*k*16)
}

func BenchmarkConv(b *testing.B) {
	for _, bb := range slices.Concat(benchShapes, inBFloat16(benchShapes)) {
		n, s := bb.n, bb.s
		c := newConvCase(rand.New(rand.NewPCG(1, 2)), n, s)
		operations := 2 * n * s.OutH * s.OutW * s.weightCount()
		packed, grad := PackConv(c.w, s), PackConvGrad(c.w, s)
		dst, dsrc, dw, db := make([]float32, len(c.ddst)), make([]float32, len(c.src)), make([]float32, len(c.w)), make([]float32, s.OutC)
		scratch := make([]float32, max(ConvScratch(s), ConvGradInputScratch(s), ConvGradWeightsScratch(s)))
		b.Run(bb.name+"/forward", func(b *testing.B) {
			for b.Loop() {
				Conv(dst, c.src, n, packed, c.bias, s, ReLU, scratch)
			}
			rate(b, operations)
		})
		b.Run(bb.name+"/input", func(b *testing.B) {
			for b.Loop() {
				ConvGradInput(dsrc, c.ddst, n, grad, s, scratch)
			}
			rate(b, operations)
		})
		b.Run(bb.name+"/weights", func(b *testing.B) {
			for b.Loop() {
				ConvGradWeights(dw, db, c.ddst, c.src, n, s, scratch)
			}
			rate(b, operations)
		})
	}
}

func BenchmarkDepthwise(b *testing.B) {
	for _, bb := range benchDepthwise {
		n, s := bb.n, bb.s
		r := rand.New(rand.NewPCG(1, 2))
		src, w, bias, ddst := random(r, n*s.in()), random(r, s.Kernel*s.run()), random(r, s.C), random(r, n*s.out())
		dst, dsrc, dw, db := make([]float32, len(ddst)), make([]float32, len(src)), make([]float32, len(w)), make([]float32, s.C)
		operations := 2 * n * s.OutH * s.OutW * len(w)
		b.Run(bb.name+"/forward", func(b *testing.B) {
			for b.Loop() {
				Depthwise(dst, src, n, w, bias, s, ReLU6)
			}
			rate(b, operations)
		})
		b.Run(bb.name+"/input", func(b *testing.B) {
			for b.Loop() {
				DepthwiseGradInput(dsrc, ddst, w, n, s)
			}
			rate(b, operations)
		})
		b.Run(bb.name+"/weights", func(b *testing.B) {
			for b.Loop() {
				DepthwiseGradWeights(dw, db, ddst, src, n, s)
			}
			rate(b, operations)
		})
	}
}

func BenchmarkDense(b *testing.B) {
	for _, bb := range []struct {
		name          string
		rows, out, in int
	}{
		{"article-19200x4096-rows1", 1, 4096, 19200},
		{"article-19200x4096-rows10", 10, 4096, 19200},
		{"article-19200x4096-rows32", 32, 4096, 19200},
		{"article-19200x4096-rows64", 64, 4096, 19200},
		{"4096x1024-rows10", 10, 1024, 4096},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		src, w, ddst := random(r, bb.rows*bb.in), make([]float32, bb.out*bb.in), random(r, bb.rows*bb.out)
		for i := range w {
			w[i] = float32(i%17) - 8
		}
		dst, dsrc, dw := make([]float32, len(ddst)), make([]float32, len(src)), make([]float32, len(w))
		packed, scratch := PackDense(w, bb.out, bb.in), make([]float32, DenseScratch(bb.rows, bb.out, bb.in))
		operations := 2 * bb.rows * bb.out * bb.in
		b.Run(bb.name+"/forward", func(b *testing.B) {
			for b.Loop() {
				Dense(dst, src, bb.rows, packed, nil, ReLU, scratch)
			}
			rate(b, operations)
		})
		b.Run(bb.name+"/input", func(b *testing.B) {
			for b.Loop() {
				DenseGradInput(dsrc, ddst, w, bb.rows, bb.out, bb.in)
			}
			rate(b, operations)
		})
		b.Run(bb.name+"/weights", func(b *testing.B) {
			for b.Loop() {
				DenseGradWeights(dw, nil, ddst, src, bb.rows, bb.out, bb.in)
			}
			rate(b, operations)
		})
	}
}

func BenchmarkMaxPool(b *testing.B) {
	const n = 4
	s := shape(54, 54, 96, 96, 3, 2, 0)
	r := rand.New(rand.NewPCG(1, 2))
	src, ddst := random(r, n*s.in()), random(r, n*s.out())
	dst, dsrc := make([]float32, len(ddst)), make([]float32, len(src))
	b.Run("forward", func(b *testing.B) {
		for b.Loop() {
			MaxPool(dst, src, n, s)
		}
	})
	b.Run("input", func(b *testing.B) {
		for b.Loop() {
			MaxPoolGrad(dsrc, ddst, src, dst, n, s)
		}
	})
}
