package kernel

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// fences hands out memory between pages that nobody may touch: a kernel that reads or writes beyond a slice crashes.
type fences struct {
	t     *testing.T
	after bool // slices end at the fence behind them, else begin at the one before
	all   [][]byte
}

func (f *fences) copy(s []float32) []float32 {
	page := syscall.Getpagesize()
	size := (len(s)*4 + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		f.t.Fatal(err)
	}
	f.all = append(f.all, m)
	for _, fence := range [][]byte{m[:page], m[page+size:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			f.t.Fatal(err)
		}
	}
	at := page
	if f.after {
		at += size - 4*len(s)
	}
	out := unsafe.Slice((*float32)(unsafe.Pointer(&m[at])), len(s))
	copy(out, s)
	return out
}

func (f *fences) release() {
	for _, m := range f.all {
		if err := syscall.Munmap(m); err != nil {
			f.t.Error(err)
		}
	}
	f.all = nil
}

func TestNothingBeyondSlices(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(19, 20))
		for _, tt := range convShapes {
			for _, after := range []bool{true, false} {
				f := &fences{t: t, after: after}
				const n = 2
				s := tt.s
				values := func(n int) []float32 { return f.copy(random(r, n)) }
				src, w, bias, ddst := values(n*s.in()), values(s.weightCount()), values(s.OutC), values(n*s.out())
				dst, dsrc, dw, db := values(n*s.out()), values(n*s.in()), values(s.weightCount()), values(s.OutC)
				packed := PackConv(w, s)
				// Whatever the allocator leaves between panels and the end of its block must not matter either.
				packed.conv.data = f.copy(packed.conv.data)
				Conv(dst, src, n, packed, bias, s, ReLU6, values(max(ConvScratch(s), 1)))
				ConvGradInput(dsrc, ddst, n, PackConvGrad(w, s), s, values(ConvGradInputScratch(s)))
				ConvGradWeights(dw, db, ddst, src, n, s, values(max(ConvGradWeightsScratch(s), 1)))
				ConvGrad(dsrc, dw, db, ddst, dst, src, n, PackConvGrad(w, s), s, ReLU6, values(ConvGradScratch(s)))
				d := s
				d.OutC = d.C
				dw, w, bias, db = values(d.Kernel*d.run()), values(d.Kernel*d.run()), values(d.C), values(d.C)
				dst, ddst = values(n*d.out()), values(n*d.out())
				Depthwise(dst, src, n, w, bias, d, ReLU)
				DepthwiseGradInput(dsrc, ddst, w, n, d)
				DepthwiseGradWeights(dw, db, ddst, src, n, d)
				DepthwiseGrad(dsrc, dw, db, ddst, dst, src, w, n, d, ReLU)
				MaxPool(dst, src, n, d)
				MaxPoolGrad(dsrc, ddst, src, dst, n, d)
				GlobalAvgPool(db, src, 1, d.H*d.W, d.C)
				Add(dsrc, src, dsrc, ReLU6)
				ActGrad(dsrc, src, ReLU6)

				in, out := s.Kernel*s.run(), s.OutC
				src, w, bias, ddst = values(n*in), values(in*out), values(out), values(n*out)
				dst, dsrc, dw, db = values(n*out), values(n*in), values(in*out), values(out)
				Dense(dst, src, n, PackDense(w, out, in), bias, ReLU, values(DenseScratch(n, out, in)))
				DenseGradInput(dsrc, ddst, w, n, out, in)
				DenseGradWeights(dw, db, ddst, src, n, out, in)
				whole := NewDenseBatch(n, out, in, ReLU, false)
				whole.Begin(ddst, dst, n)
				for k := range whole.Parts() {
					whole.Part(k, dsrc, src, w, func(int, []float32) {}, values(DenseBatchScratch(n)))
				}
				AdamW(w, dw, random(r, len(w)), values(len(w)), &AdamWStep{})
				Momentum(w, dw, values(len(w)), 1, 1, 1, true)
				Momentum(w, dw, values(len(w)), 1, 1, 1, false)
				SGD(w, dw, 1, 1)
				AddTo(w, dw)
				f.release()
			}
		}
	})
}

// The same for every tail of channels, columns, rows of weights and plain slices.
func TestNoTailBeyondSlices(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		for _, after := range []bool{true, false} {
			f := &fences{t: t, after: after}
			for i, d := range seeds() {
				n, act := int(d.n), Act(d.act)
				conv, _ := convLayer(d.s, n, act, uint64(i))
				depthwise, _ := depthwiseLayer(d.s, n, act, uint64(i))
				dense, _ := denseLayer(1+i%7, d.s.OutC, d.s.C, act, uint64(i))
				d.s.BFloat16 = true
				convPairs, _ := convLayer(d.s, n, act, uint64(i))
				densePairs, _ := denseLayerBFloat16(1+i%7, d.s.OutC, d.s.C, act, uint64(i))
				for _, compute := range []computation{conv, depthwise, dense, convPairs, densePairs, poolLayer(d.s, n, uint64(i)), vectorLoops(i, act, uint64(i))} {
					compute(f.copy)
					f.release()
				}
			}
		}
	})
}
