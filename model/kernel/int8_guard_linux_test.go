package kernel

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// bytes is copy for bytes, with slack behind them. The end away from the fence may have up to 3 bytes more.
func (f *fences) bytes(s []uint8, slack int) []uint8 {
	n := len(s) + slack
	floats := f.copy(make([]float32, (n+3)/4))
	all := unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(floats))), 4*len(floats))
	if f.after {
		all = all[len(all)-n:]
	}
	copy(all, s)
	return all[:len(s):n]
}

func TestNothingBeyondInt8Slices(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(23, 24))
		for _, tt := range int8Shapes {
			for _, after := range []bool{true, false} {
				f := &fences{t: t, after: after}
				const n = 2
				fenced := func(n, slack int) []uint8 { return f.bytes(randomBytes(r, n)[:n:n], slack) }
				requant := func(out, products int) *Requant {
					q := randomRequant(r, out, products)
					q.Scale = f.copy(q.Scale)
					bias := f.copy(make([]float32, out))
					fencedBias := unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(bias))), out)
					copy(fencedBias, q.Bias)
					q.Bias = fencedBias
					return q
				}
				weights := func(p *PackedInt8) *PackedInt8 {
					data := unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(p.data))), len(p.data))
					data = f.bytes(data, 0)
					p.data = unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(data))), len(data))
					return p
				}
				s, d := tt.s, tt.s
				d.OutC = d.C
				src := fenced(n*s.in(), Int8Slack)
				ConvInt8(fenced(n*s.out(), 0), src, n, weights(PackConvInt8(randomWeights(r, s.weightCount()), s)), requant(s.OutC, s.Kernel*s.run()), s, 5, fenced(max(ConvInt8Scratch(s), 1), 0))
				DepthwiseInt8(fenced(n*d.out(), 0), src, n, weights(PackDepthwiseInt8(randomWeights(r, d.Kernel*d.run()), d)), requant(d.C, 9), d, 5, fenced(DepthwiseInt8Scratch(d), 0))
				in := s.Kernel * s.run()
				dense := weights(PackDenseInt8(randomWeights(r, in*s.OutC), s.OutC, in))
				q := requant(s.OutC, in)
				x := fenced(n*in, Int8Slack)
				DenseInt8(fenced(n*s.OutC, 0), x, n, dense, q)
				DenseInt8Float(f.copy(make([]float32, n*s.OutC)), x, n, dense, q.Bias, q.Scale)
				tight := fenced(n*s.in(), 0)
				MaxPoolInt8(fenced(n*d.out(), 0), tight, n, d)
				GlobalAvgPoolInt8(fenced(n*d.C, 0), tight, n, d.H*d.W, d.C, 3, 0.1, 4)
				AddInt8(fenced(len(tight), 0), tight, tight, &AddQuant{ScaleA: 1, High: 255})
				Quantize(fenced(len(tight), 0), f.copy(random(r, len(tight))), 50, 100)
				f.release()
			}
		}
	})
}
