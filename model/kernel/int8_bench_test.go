package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// rateInt8 is rate for integers.
func rateInt8(b *testing.B, operations int) {
	b.ReportMetric(float64(operations)*float64(b.N)/1e9/b.Elapsed().Seconds(), "GOP/s")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N), "ms/op")
}

// The loop alone, on what lies in the first cache.
func BenchmarkTileInt8(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const k = 64
	w := PackDenseInt8(randomWeights(r, stripInt8*k), stripInt8, k)
	q := randomRequant(r, stripInt8, k)
	t := tileInt8{a: randomBytes(r, 12*k), b: w.data, c: make([]uint8, 12*stripInt8), as: k, ak: 4, cs: stripInt8, m: 12, runs: 64, run: k / 4}
	t.requant(q)
	t.strip(w, q, 0)
	for b.Loop() {
		t.product()
	}
	rateInt8(b, 2*12*stripInt8*k*64)
}

func BenchmarkConvInt8(b *testing.B) {
	shapes := slices.Concat(benchShapes, []benchShape{
		{"resnet-7x7x3", 4, shape(224, 224, 3, 64, 7, 2, 3)},
		{"resnet-3x3x128", 4, shape(28, 28, 128, 128, 3, 1, 1)},
		{"resnet-3x3x256", 4, shape(14, 14, 256, 256, 3, 1, 1)},
		{"resnet-3x3x512-alone", 1, shape(7, 7, 512, 512, 3, 1, 1)},
		{"squeeze-1x1-512-64", 4, shape(13, 13, 512, 64, 1, 1, 0)},
		{"squeeze-1x1-64-256", 4, shape(13, 13, 64, 256, 1, 1, 0)},
	})
	for _, bb := range shapes {
		n, s := bb.n, bb.s
		r := rand.New(rand.NewPCG(1, 2))
		src, packed := randomBytes(r, n*s.in()), PackConvInt8(randomWeights(r, s.weightCount()), s)
		q := randomRequant(r, s.OutC, s.Kernel*s.run())
		dst, scratch := make([]uint8, n*s.out()), make([]uint8, ConvInt8Scratch(s))
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				ConvInt8(dst, src, n, packed, q, s, 100, scratch)
			}
			rateInt8(b, 2*n*s.OutH*s.OutW*s.weightCount())
		})
	}
}

func BenchmarkDepthwiseInt8(b *testing.B) {
	for _, bb := range benchDepthwise {
		n, s := bb.n, bb.s
		r := rand.New(rand.NewPCG(1, 2))
		src, packed := randomBytes(r, n*s.in()), PackDepthwiseInt8(randomWeights(r, s.Kernel*s.run()), s)
		q := randomRequant(r, s.C, s.Kernel*s.Kernel)
		dst, scratch := make([]uint8, n*s.out()), make([]uint8, DepthwiseInt8Scratch(s))
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				DepthwiseInt8(dst, src, n, packed, q, s, 100, scratch)
			}
			rateInt8(b, 2*n*s.OutH*s.OutW*s.Kernel*s.run())
		})
	}
}

func BenchmarkDenseInt8(b *testing.B) {
	const out, in = 4096, 19200
	r := rand.New(rand.NewPCG(1, 2))
	w := make([]int8, out*in)
	for i := range w {
		w[i] = int8(i%17) - 8
	}
	packed, q := PackDenseInt8(w, out, in), randomRequant(r, out, in)
	for _, rows := range []int{1, 4, 8, 16, 32} {
		src, dst := randomBytes(r, rows*in), make([]uint8, rows*out)
		b.Run(map[int]string{1: "row", 4: "4 rows", 8: "8 rows", 16: "16 rows", 32: "32 rows"}[rows], func(b *testing.B) {
			for b.Loop() {
				DenseInt8(dst, src, rows, packed, q)
			}
			rateInt8(b, 2*rows*out*in)
			b.ReportMetric(out*in*float64(b.N)/1e9/b.Elapsed().Seconds(), "GB/s")
		})
	}
}

func BenchmarkVectorsInt8(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 56 * 56 * 64
	x, y, dst := randomBytes(r, n), randomBytes(r, n), make([]uint8, n)
	floats := random(r, n)
	pool := shape(54, 54, 96, 96, 3, 2, 0)
	image := randomBytes(r, pool.in())
	p := &AddQuant{ZeroA: 100, ZeroB: 90, ScaleA: 0.7, ScaleB: 0.5, Zero: 3, High: 255}
	for _, bb := range []struct {
		name  string
		bytes int
		f     func()
	}{
		{"add", n, func() { AddInt8(dst, x, y, p) }},
		{"quantize", n, func() { Quantize(dst, floats, 50, 100) }},
		{"max pool 3x3 stride 2", pool.in(), func() { MaxPoolInt8(dst, image, 1, pool) }},
		{"global average 7x7x1280", 49 * 1280, func() { GlobalAvgPoolInt8(dst, x, 1, 49, 1280, 3, 0.1, 5) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(bb.bytes))
			for b.Loop() {
				bb.f()
			}
		})
	}
}
