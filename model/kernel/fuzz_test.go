package kernel

import (
	"math/rand/v2"
	"testing"
)

// The fuzz targets compute layers of whole numbers, small enough that every sum is exact in float32, whatever the order
// of its additions and with or without fused multiply-adds. So all levels must give the very same values, and one term
// lost, doubled or taken from its neighbour shows. They are exact in bfloat16 too, and so is what Winograd's algorithm makes
// of them.

// integers gives numbers from -4 to 4.
func integers(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.IntN(9) - 4)
	}
	return s
}

// put places the values of a slice in the memory that a kernel gets.
type put func([]float32) []float32

func plain(s []float32) []float32 { return s }

// output is what a kernel wrote.
type output struct {
	what   string
	values []float32
}

// A computation runs kernels at the level in use, in memory of put's choice.
type computation func(put) []output

// sameAtAllLevels runs a computation at all levels, each of which must give what plain Go gives.
func sameAtAllLevels(t *testing.T, of any, compute computation) {
	t.Helper()
	best := level
	defer func() { level = best }()
	level = generic
	want := compute(plain)
	for _, l := range levels(best)[1:] {
		level = l
		for i, got := range compute(plain) {
			for j, v := range got.values {
				if w := want[i].values[j]; v != w { // values that were not written are NaN, and equal nothing
					t.Fatalf("%+v: %s: value %d of %d of %s is %v; generic gives %v", of, names[l], j, len(got.values), got.what, v, w)
				}
			}
		}
	}
}

// exact fails the test where got is not the reference's value.
func exact(t *testing.T, of any, got output, want []sum) {
	t.Helper()
	for i, w := range want {
		if float64(got.values[i]) != w.v {
			t.Fatalf("%+v: value %d of %s is %v; the reference gives %v", of, i, got.what, got.values[i], w.v)
		}
	}
}

// fuzzShape makes a valid shape of any numbers. Windows begin in the input or in the padding before it, and may end
// anywhere.
func fuzzShape(h, w, c, outH, outW, outC, kernel, stride, padTop, padLeft uint8) Shape {
	s := Shape{H: 1 + int(h)%12, W: 1 + int(w)%30, C: 1 + int(c)%72, OutC: 1 + int(outC)%72, Kernel: 1 + int(kernel)%7, Stride: 1 + int(stride)%4}
	s.PadTop, s.PadLeft = int(padTop)%s.Kernel, int(padLeft)%s.Kernel
	s.OutH, s.OutW = 1+int(outH)%((s.H-1+s.PadTop)/s.Stride+1), 1+int(outW)%((s.W-1+s.PadLeft)/s.Stride+1)
	return s
}

// seed is a layer that fuzzing begins with and that the plain tests compute.
type seed struct {
	s      Shape
	n, act uint8
}

// seeds are the shapes of the tables as far as fuzzShape makes them, and one for each tail of channels and of columns.
func seeds() []seed {
	var all []seed
	for i, tt := range convShapes {
		if tt.s.H <= 12 && tt.s.W <= 30 && tt.s.C <= 72 && tt.s.OutC <= 72 && tt.s.Kernel <= 7 {
			all = append(all, seed{tt.s, uint8(i % 4), uint8(i % 3)})
		}
	}
	for c := 1; c <= 72; c++ {
		all = append(all, seed{shape(3, 3+c%14, c, 73-c, 1+c%3, 1, c%2), uint8(c % 4), uint8(c / 3 % 3)})
	}
	return all
}

func seedShapes(f *testing.F) {
	for i, d := range seeds() {
		s := d.s
		f.Add(uint8(s.H-1), uint8(s.W-1), uint8(s.C-1), uint8(s.OutH-1), uint8(s.OutW-1), uint8(s.OutC-1), uint8(s.Kernel-1), uint8(s.Stride-1),
			uint8(s.PadTop), uint8(s.PadLeft), d.n, d.act, uint64(i))
	}
}

func convLayer(s Shape, n int, act Act, seed uint64) (computation, func() reference) {
	r := rand.New(rand.NewPCG(seed, 1))
	src, w, bias, ddst := integers(r, n*s.in()), integers(r, s.weightCount()), integers(r, s.OutC), integers(r, n*s.out())
	return func(put put) []output {
			dst, dsrc := put(dirty(n*s.out())), put(dirty(n*s.in()))
			dw, db := put(dirty(len(w))), put(dirty(s.OutC))
			src, w, ddst := put(src), put(w), put(ddst)
			packed := PackConv(w, s)
			packed.conv.data = put(packed.conv.data)
			Conv(dst, src, n, packed, put(bias), s, act, put(dirty(ConvScratch(s))))
			unbiased := put(dirty(n * s.out()))
			Conv(unbiased, src, n, packed, nil, s, act, put(dirty(ConvScratch(s))))
			grad := PackConvGrad(w, s)
			grad.conv.data = put(grad.conv.data)
			ConvGradInput(dsrc, ddst, n, grad, s, put(dirty(ConvGradInputScratch(s))))
			ConvGradWeights(dw, db, ddst, src, n, s, put(dirty(ConvGradWeightsScratch(s))))
			wide := s
			wide.Pitch = s.OutC + 3
			stripe := put(make([]float32, max(n*s.OutH*s.OutW*wide.Pitch-3, 0)))
			Conv(stripe, src, n, packed, bias, wide, act, put(dirty(ConvScratch(wide))))
			return []output{{"dst", dst}, {"dsrc", dsrc}, {"dw", dw}, {"db", db}, {"dst without bias", unbiased}, {"stripe", stripe}}
		}, func() reference {
			return convReference(src, w, bias, ddst, n, s, false, act)
		}
}

func depthwiseLayer(s Shape, n int, act Act, seed uint64) (computation, func() reference) {
	s.OutC = s.C
	r := rand.New(rand.NewPCG(seed, 2))
	src, w, bias, ddst := integers(r, n*s.in()), integers(r, s.Kernel*s.run()), integers(r, s.C), integers(r, n*s.out())
	return func(put put) []output {
			dst, dsrc := put(dirty(n*s.out())), put(dirty(n*s.in()))
			dw, db := put(dirty(len(w))), put(dirty(s.C))
			src, w, ddst := put(src), put(w), put(ddst)
			Depthwise(dst, src, n, w, put(bias), s, act)
			unbiased := put(dirty(n * s.out()))
			Depthwise(unbiased, src, n, w, nil, s, act)
			DepthwiseGradInput(dsrc, ddst, w, n, s)
			DepthwiseGradWeights(dw, db, ddst, src, n, s)
			return []output{{"dst", dst}, {"dsrc", dsrc}, {"dw", dw}, {"db", db}, {"dst without bias", unbiased}}
		}, func() reference {
			return convReference(src, w, bias, ddst, n, s, true, act)
		}
}

// checkLayer compares all levels with each other, and Go with the reference where that is quick.
func checkLayer(t *testing.T, s Shape, n int, work int, layer func() (computation, func() reference)) {
	compute, ref := layer()
	sameAtAllLevels(t, s, compute)
	if n*s.OutH*s.OutW*s.Kernel*s.Kernel*work > 1<<18 {
		return
	}
	best := level
	defer func() { level = best }()
	level = generic
	want := ref()
	for i, out := range compute(plain)[:4] {
		exact(t, s, out, [][]sum{want.dst, want.dsrc, want.dw, want.db}[i])
	}
}

func FuzzConv(f *testing.F) {
	seedShapes(f)
	f.Fuzz(func(t *testing.T, h, w, c, outH, outW, outC, kernel, stride, padTop, padLeft, images, act uint8, seed uint64) {
		s, n := fuzzShape(h, w, c, outH, outW, outC, kernel, stride, padTop, padLeft), int(images%4)
		for _, s.BFloat16 = range []bool{false, true} {
			checkLayer(t, s, n, s.C*s.OutC, func() (computation, func() reference) { return convLayer(s, n, Act(act%3), seed) })
		}
	})
}

func FuzzDepthwise(f *testing.F) {
	seedShapes(f)
	f.Fuzz(func(t *testing.T, h, w, c, outH, outW, outC, kernel, stride, padTop, padLeft, images, act uint8, seed uint64) {
		s, n := fuzzShape(h, w, c, outH, outW, c, kernel, stride, padTop, padLeft), int(images%4)
		checkLayer(t, s, n, s.C*s.C, func() (computation, func() reference) { return depthwiseLayer(s, n, Act(act%3), seed) })
	})
}

func denseLayer(rows, out, in int, act Act, seed uint64) (computation, func() reference) {
	r := rand.New(rand.NewPCG(seed, 3))
	src, w, bias, ddst := integers(r, rows*in), integers(r, out*in), integers(r, out), integers(r, rows*out)
	return func(put put) []output {
			dst, unbiased, dsrc := put(dirty(rows*out)), put(dirty(rows*out)), put(dirty(rows*in))
			dw, db := put(dirty(out*in)), put(dirty(out))
			src, w, ddst := put(src), put(w), put(ddst)
			scratch := put(dirty(DenseScratch(rows, out, in)))
			Dense(dst, src, rows, PackDense(w, out, in), put(bias), act, scratch)
			Dense(unbiased, src, rows, PackDense(w, out, in), nil, act, scratch)
			DenseGradInput(dsrc, ddst, w, rows, out, in)
			DenseGradWeights(dw, db, ddst, src, rows, out, in)
			return []output{{"dst", dst}, {"dsrc", dsrc}, {"dw", dw}, {"db", db}, {"dst without bias", unbiased}}
		}, func() reference {
			// A dense layer is a convolution of one pixel.
			return convReference(src, w, bias, ddst, rows, shape(1, 1, in, out, 1, 1, 0), false, act)
		}
}

// denseLayerBFloat16 is a dense layer in bfloat16, of the batch as a whole.
func denseLayerBFloat16(rows, out, in int, act Act, seed uint64) (computation, func() reference) {
	r := rand.New(rand.NewPCG(seed, 3))
	src, w, bias, ddst := integers(r, rows*in), integers(r, out*in), integers(r, out), integers(r, rows*out)
	return func(put put) []output {
			dst, dsrc := put(dirty(rows*out)), put(dirty(rows*in))
			dw, db := put(dirty(out*in)), put(dirty(out))
			src, w, ddst := put(src), put(w), put(ddst)
			packed := put(dirty(PackedRows(rows, in)))
			half := in / 4 * 2
			PackRowsBFloat16(packed, src, rows, in, half, in)
			PackRowsBFloat16(packed, src, rows, in, 0, half)
			DensePacked(dst, out, packed, rows, PackDenseBFloat16(w, out, in), put(bias), act, put(dirty(DensePackedScratch(rows, out))))
			batch := NewDenseBatch(rows+1, out, in, Linear, true)
			batch.dy, batch.turned = put(batch.dy), put(batch.turned)
			copy(db, batch.Begin(ddst, nil, rows))
			for k := range batch.Parts() {
				batch.Part(k, dsrc, src, w, func(first int, g []float32) { copy(dw[first:], g) }, put(dirty(DenseBatchScratch(rows))))
			}
			return []output{{"dst", dst}, {"dsrc", dsrc}, {"dw", dw}, {"db", db}}
		}, func() reference {
			return convReference(src, w, bias, ddst, rows, shape(1, 1, in, out, 1, 1, 0), false, act)
		}
}

func FuzzDense(f *testing.F) {
	for i := range 72 {
		f.Add(uint8(i%15+i/50*60), uint8(72-i), uint16(i), uint8(i), uint64(i))
	}
	const most = 10_000 // inputs: more than a part of a strip that stays in the cache
	for _, in := range []uint16{511, 512, most - 1} {
		f.Add(uint8(7), uint8(9), in, uint8(1), uint64(in))
	}
	f.Fuzz(func(t *testing.T, rows, outs uint8, ins uint16, act uint8, seed uint64) {
		n, out, in := int(rows)%(2*denseRows+3), 1+int(outs), 1+int(ins)%most
		for n > 1 && n*out*in > 1<<20 {
			n /= 2
		}
		checkLayer(t, shape(1, 1, in, out, 1, 1, 0), n, in*out, func() (computation, func() reference) {
			return denseLayer(n, out, in, Act(act%3), seed)
		})
		if n > 0 {
			checkLayer(t, shape(1, 1, in, out, 1, 1, 0), n, in*out, func() (computation, func() reference) {
				return denseLayerBFloat16(n, out, in, Act(act%3), seed)
			})
		}
	})
}

func poolLayer(s Shape, n int, seed uint64) computation {
	s.OutC = s.C
	r := rand.New(rand.NewPCG(seed, 4))
	src, ddst, means := integers(r, n*s.in()), integers(r, n*s.out()), integers(r, n*s.C)
	return func(put put) []output {
		src, ddst, means := put(src), put(ddst), put(means)
		most, mostGrad := put(dirty(n*s.out())), put(dirty(n*s.in()))
		MaxPool(most, src, n, s)
		MaxPoolGrad(mostGrad, ddst, src, most, n, s)
		mean, meanGrad := put(dirty(n*s.out())), put(dirty(n*s.in()))
		AvgPool(mean, src, n, s)
		AvgPoolGrad(meanGrad, ddst, n, s)
		global, globalGrad := put(dirty(n*s.C)), put(dirty(n*s.in()))
		GlobalAvgPool(global, src, n, s.H*s.W, s.C)
		GlobalAvgPoolGrad(globalGrad, means, n, s.H*s.W, s.C)
		return []output{{"MaxPool", most}, {"MaxPoolGrad", mostGrad}, {"AvgPool", mean}, {"AvgPoolGrad", meanGrad},
			{"GlobalAvgPool", global}, {"GlobalAvgPoolGrad", globalGrad}}
	}
}

func FuzzPool(f *testing.F) {
	seedShapes(f)
	f.Fuzz(func(t *testing.T, h, w, c, outH, outW, outC, kernel, stride, padTop, padLeft, images, act uint8, seed uint64) {
		s, n := fuzzShape(h, w, c, outH, outW, c, kernel, stride, padTop, padLeft), int(images%4)
		sameAtAllLevels(t, s, poolLayer(s, n, seed))
	})
}

func vectorLoops(n int, act Act, seed uint64) computation {
	r := rand.New(rand.NewPCG(seed, 5))
	a, b := integers(r, n), integers(r, n)
	for i := range a {
		a[i] *= 2 // up to 8, which is beyond ReLU6
	}
	return func(put put) []output {
		x, y := put(a), put(b)
		sum := put(dirty(n))
		Add(sum, x, y, act)
		inPlace := put(append([]float32(nil), a...))
		Add(inPlace, inPlace, y, act)
		gradient := put(append([]float32(nil), b...))
		ActGrad(gradient, x, act)
		to := put(append([]float32(nil), a...))
		addTo(to, y)
		most := put(append([]float32(nil), a...))
		maxTo(most, y)
		return []output{{"Add", sum}, {"Add in place", inPlace}, {"ActGrad", gradient}, {"addTo", to}, {"maxTo", most}}
	}
}

func FuzzVectors(f *testing.F) {
	for n := range uint16(140) {
		f.Add(n, uint8(n), uint64(n))
	}
	f.Fuzz(func(t *testing.T, length uint16, act uint8, seed uint64) {
		n := int(length % 1024)
		sameAtAllLevels(t, n, vectorLoops(n, Act(act%3), seed))
	})
}
