package kernel

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// onGeneric runs f as Go alone.
func onGeneric(f func()) {
	was := level
	defer func() { level = was }()
	level = generic
	f()
}

// twinsAgree runs every int8 layer on a shape drawn from the seed, in assembly and in Go.
func twinsAgree(t testing.TB, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := Shape{H: 1 + r.IntN(14), W: 1 + r.IntN(30), C: 1 + r.IntN(40), OutC: 1 + r.IntN(80), Stride: 1 + r.IntN(4), Kernel: []int{1, 1, 2, 3, 3, 4, 5, 7, 9}[r.IntN(9)]}
	if r.IntN(8) == 0 {
		s.C += r.IntN(200) // several vectors of channels
	}
	s.PadTop, s.PadLeft = r.IntN(s.Kernel), r.IntN(s.Kernel)
	s.OutH, s.OutW = 1+r.IntN((s.H-1+s.PadTop)/s.Stride+1), 1+r.IntN((s.W-1+s.PadLeft)/s.Stride+1)
	d := s
	d.OutC = d.C
	if r.IntN(2) == 0 {
		s.Pitch = s.OutC + r.IntN(40)
	}
	n := r.IntN(4)
	zero := uint8(r.UintN(256))
	src, w := randomBytes(r, n*s.in()), randomWeights(r, s.weightCount())
	dw := randomWeights(r, d.Kernel*d.run())
	in := 1 + r.IntN(300)
	rows := r.IntN(30)
	x, denseWeights := randomBytes(r, rows*in), randomWeights(r, in*s.OutC)
	floats := random(r, n*s.in())
	q, qd, qDense := randomRequant(r, s.OutC, s.Kernel*s.run()), randomRequant(r, d.C, d.Kernel*d.Kernel), randomRequant(r, s.OutC, in)
	packed, depthwise, dense := PackConvInt8(w, s), PackDepthwiseInt8(dw, d), PackDenseInt8(denseWeights, s.OutC, in)
	add := &AddQuant{ZeroA: zero, ZeroB: uint8(r.UintN(256)), ScaleA: r.Float32(), ScaleB: r.Float32(), Zero: 9, Low: uint8(r.UintN(9)), High: uint8(180 + r.UintN(60))}
	scale := r.Float32()
	all := func() (out [][]uint8, logits []float32) {
		out = [][]uint8{
			dirtyBytes(n*s.OutH*s.OutW*s.pitch() + 1), dirtyBytes(n * d.out()), dirtyBytes(rows * s.OutC), dirtyBytes(n * d.out()),
			dirtyBytes(n * s.C), dirtyBytes(len(src)), dirtyBytes(len(src)),
		}
		logits = make([]float32, rows*s.OutC)
		ConvInt8(out[0], src, n, packed, q, s, zero, dirtyBytes(ConvInt8Scratch(s)))
		DepthwiseInt8(out[1], src, n, depthwise, qd, d, zero, dirtyBytes(DepthwiseInt8Scratch(d)))
		DenseInt8(out[2], x, rows, dense, qDense)
		MaxPoolInt8(out[3], src, n, d)
		GlobalAvgPoolInt8(out[4], src, n, s.H*s.W, s.C, zero, scale/10, 100)
		AddInt8(out[5], src, out[5], add)
		Quantize(out[6], floats, 60*scale, zero)
		DenseInt8Float(logits, x, rows, dense, qDense.Bias, qDense.Scale)
		return out, logits
	}
	got, gotLogits := all()
	var want [][]uint8
	var wantLogits []float32
	onGeneric(func() { want, wantLogits = all() })
	for i, name := range []string{"convolution", "depthwise", "dense", "max pool", "average", "add", "quantize"} {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("seed %d: %s of %v, %d images, %d rows of %d: %s gives\n%v\nGo gives\n%v", seed, name, s, n, rows, in, names[level], got[i], want[i])
		}
	}
	if !equalBits(gotLogits, wantLogits) {
		t.Fatalf("seed %d: logits of %d rows of %d, %d outputs: %v; Go gives %v", seed, rows, in, s.OutC, gotLogits, wantLogits)
	}
}

func TestInt8TwinsAgree(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		if level == generic {
			t.Skip("Go is what the others are compared with")
		}
		for seed := range uint64(150) {
			twinsAgree(t, seed)
		}
	})
}

func FuzzInt8(f *testing.F) {
	f.Add(uint64(1), true)
	f.Add(uint64(2), false)
	best := level
	f.Fuzz(func(t *testing.T, seed uint64, most bool) {
		defer func() { level = best }()
		if !most && best == avx512 {
			level = avx2
		}
		twinsAgree(t, seed)
	})
}

// An image alone has the bytes that it has in a batch.
func TestInt8BatchesDoNotMatter(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(21, 22))
		const n = 19 // more than are computed together
		s := shape(7, 7, 12, 33, 3, 1, 1)
		src, w := randomBytes(r, n*s.in()), PackConvInt8(randomWeights(r, s.weightCount()), s)
		q := randomRequant(r, s.OutC, s.Kernel*s.run())
		whole, alone, scratch := dirtyBytes(n*s.out()), dirtyBytes(n*s.out()), dirtyBytes(ConvInt8Scratch(s))
		ConvInt8(whole, src, n, w, q, s, 9, scratch)
		for i := range n {
			ConvInt8(alone[i*s.out():][:s.out()], src[i*s.in():], 1, w, q, s, 9, scratch)
		}
		sameBytes(t, "images one by one", alone, whole)
	})
}
