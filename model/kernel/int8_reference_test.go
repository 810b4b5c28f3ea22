package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
)

// withSlack gives s the capacity that int8 layers ask for, and dirt behind its end.
func withSlack(s []uint8) []uint8 {
	out := slices.Grow(slices.Clone(s), Int8Slack)
	for i := range out[len(s):cap(out)] {
		out[len(s) : len(s)+i+1][i] = 0xa5
	}
	return out
}

func randomBytes(r *rand.Rand, n int) []uint8 {
	s := make([]uint8, n)
	for i := range s {
		s[i] = uint8(r.UintN(256))
	}
	return withSlack(s)
}

func randomWeights(r *rand.Rand, n int) []int8 {
	s := make([]int8, n)
	for i := range s {
		s[i] = int8(r.IntN(255) - 127)
	}
	return s
}

func dirtyBytes(n int) []uint8 {
	s := make([]uint8, n)
	fillBytes(s, 0x5a)
	return s
}

// randomRequant lets most outputs of sums of so many products fall inside the range and some beyond either end.
func randomRequant(r *rand.Rand, out, products int) *Requant {
	q := &Requant{Bias: make([]int32, out), Scale: make([]float32, out), Low: uint8(r.IntN(40)), High: uint8(200 + r.IntN(56))}
	q.Zero = q.Low + uint8(r.IntN(100))
	spread := 10e3 * math.Sqrt(float64(products))
	for o := range out {
		q.Bias[o] = int32(r.NormFloat64() * spread)
		q.Scale[o] = float32((0.5 + r.Float64()) * 70 / spread)
	}
	return q
}

// finish is Requant's formula in float64, with roundings to float32 where it says so.
func (r *Requant) finish(sum int64, o int) uint8 {
	v := float64(float32(float64(float32(sum+int64(r.Bias[o]))) * float64(r.Scale[o])))
	return uint8(min(max(math.RoundToEven(v)+float64(r.Zero), float64(r.Low)), float64(r.High)))
}

// sumsReference are the sums of a convolution as simple as can be, padding holding zero.
func sumsReference(src []uint8, w []int8, n int, s Shape, zero uint8, depthwise bool) []int64 {
	var sums []int64
	for i := range n {
		for oy := range s.OutH {
			for ox := range s.OutW {
				for o := range s.OutC {
					var sum int64
					for ky := range s.Kernel {
						for kx := range s.Kernel {
							y, x := oy*s.Stride+ky-s.PadTop, ox*s.Stride+kx-s.PadLeft
							at := func(c int) int64 {
								if y < 0 || x < 0 || y >= s.H || x >= s.W {
									return int64(zero)
								}
								return int64(src[((i*s.H+y)*s.W+x)*s.C+c])
							}
							if depthwise {
								sum += at(o) * int64(w[(ky*s.Kernel+kx)*s.C+o])
								continue
							}
							for c := range s.C {
								sum += at(c) * int64(w[((o*s.Kernel+ky)*s.Kernel+kx)*s.C+c])
							}
						}
					}
					sums = append(sums, sum)
				}
			}
		}
	}
	return sums
}

func (r *Requant) finishAll(sums []int64) []uint8 {
	out := make([]uint8, len(sums))
	for i, sum := range sums {
		out[i] = r.finish(sum, i%len(r.Bias))
	}
	return out
}
