package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type convCase struct {
	src, w, bias, ddst []float32
}

func newConvCase(r *rand.Rand, n int, s Shape) convCase {
	return convCase{random(r, n*s.in()), random(r, s.weightCount()), random(r, s.OutC), random(r, n*s.out())}
}

func TestConv(t *testing.T) {
	for _, tt := range convShapes {
		const n = 2
		c := newConvCase(rand.New(rand.NewPCG(1, 2)), n, tt.s)
		var refs [3]reference
		for act := range refs {
			refs[act] = convReference(c.src, c.w, c.bias, c.ddst, n, tt.s, false, Act(act))
		}
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				for act, ref := range refs {
					dst := dirty(n * tt.s.out())
					Conv(dst, c.src, n, PackConv(c.w, tt.s), c.bias, tt.s, Act(act), dirty(ConvScratch(tt.s)))
					near(t, "dst", dst, ref.dst)
				}
				ref := refs[Linear]
				dsrc := dirty(n * tt.s.in())
				ConvGradInput(dsrc, c.ddst, n, PackConvGrad(c.w, tt.s), tt.s, dirty(ConvGradInputScratch(tt.s)))
				near(t, "dsrc", dsrc, ref.dsrc)
				dw, db := dirty(len(c.w)), dirty(tt.s.OutC)
				ConvGradWeights(dw, db, c.ddst, c.src, n, tt.s, dirty(ConvGradWeightsScratch(tt.s)))
				near(t, "dw", dw, ref.dw)
				near(t, "db", db, ref.db)
			})
		})
	}
}

// A stripe of a wider tensor holds what a tensor of its own would, and its neighbours are left alone.
func TestConvIntoStripe(t *testing.T) {
	for _, tt := range convShapes {
		const n, left, right = 2, 5, 3
		c := newConvCase(rand.New(rand.NewPCG(1, 2)), n, tt.s)
		forLevels(t, func(t *testing.T) {
			packed := PackConv(c.w, tt.s)
			alone := dirty(n * tt.s.out())
			Conv(alone, c.src, n, packed, c.bias, tt.s, ReLU, dirty(ConvScratch(tt.s)))
			wide := tt.s
			wide.Pitch = left + tt.s.OutC + right
			dst := make([]float32, n*tt.s.OutH*tt.s.OutW*wide.Pitch)
			Conv(dst[left:], c.src, n, packed, c.bias, wide, ReLU, dirty(ConvScratch(wide)))
			want := make([]float32, len(dst))
			for i := range n * tt.s.OutH * tt.s.OutW {
				copy(want[i*wide.Pitch+left:], alone[i*tt.s.OutC:][:tt.s.OutC])
			}
			if !slices.Equal(dst, want) {
				t.Errorf("%s: the stripe differs from a tensor of its own, or something beside it was written", tt.why)
			}
		})
	}
}

// The reference's own gradients, by differences: sum(ddst * dst) is linear in each value, so a step of 1 is exact.
func TestReferenceGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, tt := range convShapes {
		for _, depthwise := range []bool{false, true} {
			s := tt.s
			if depthwise {
				s.OutC = s.C
			}
			if s.weightCount()*s.OutH*s.OutW > 1e6 {
				continue
			}
			c := newConvCase(r, 1, s)
			ref := convReference(c.src, c.w, c.bias, c.ddst, 1, s, depthwise, Linear)
			loss := func() (sum float64) {
				for i, v := range convReference(c.src, c.w, c.bias, c.ddst, 1, s, depthwise, Linear).dst {
					sum += v.v * float64(c.ddst[i])
				}
				return sum
			}
			before := loss()
			for range 3 {
				for _, p := range []struct {
					of   []float32
					grad []sum
				}{{c.src, ref.dsrc}, {c.w[:len(ref.dw)], ref.dw}, {c.bias, ref.db}} {
					i := r.IntN(len(p.of))
					was := p.of[i]
					p.of[i] = was + 1
					step := float64(p.of[i]) - float64(was)
					if got := (loss() - before) / step; math.Abs(got-p.grad[i].v) > 1e-6*(1+math.Abs(before)) {
						t.Errorf("%s: %v: gradient %d is %v by differences, %v by the reference", tt.why, s, i, got, p.grad[i].v)
					}
					p.of[i] = was
				}
			}
		}
	}
}

func TestDepthwise(t *testing.T) {
	for _, tt := range convShapes {
		const n = 2
		s := tt.s
		s.OutC = s.C
		r := rand.New(rand.NewPCG(5, 6))
		src, w, bias, ddst := random(r, n*s.in()), random(r, s.Kernel*s.Kernel*s.C), random(r, s.C), random(r, n*s.out())
		var refs [3]reference
		for act := range refs {
			refs[act] = convReference(src, w, bias, ddst, n, s, true, Act(act))
		}
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				for act, ref := range refs {
					dst := dirty(n * s.out())
					Depthwise(dst, src, n, w, bias, s, Act(act))
					near(t, "dst", dst, ref.dst)
				}
				dsrc := dirty(n * s.in())
				DepthwiseGradInput(dsrc, ddst, w, n, s)
				near(t, "dsrc", dsrc, refs[0].dsrc)
				dw, db := dirty(len(w)), dirty(s.C)
				DepthwiseGradWeights(dw, db, ddst, src, n, s)
				near(t, "dw", dw, refs[0].dw)
				near(t, "db", db, refs[0].db)
			})
		})
	}
}

func TestDense(t *testing.T) {
	for _, tt := range []struct {
		why           string
		rows, out, in int
	}{
		{"one value", 1, 1, 1},
		{"less than a register", 2, 3, 5},
		{"whole registers", 6, 8, 64},
		{"one more than everything", 13, 33, 129},
		{"several blocks of inputs and of outputs", 7, 66, 4115},
		{"more rows than are worked on together", 2*denseRows + 5, 70, 37},
		{"a head", 10, 28, 512},
	} {
		r := rand.New(rand.NewPCG(7, 8))
		// A dense layer is a convolution of one pixel.
		s := shape(1, 1, tt.in, tt.out, 1, 1, 0)
		c := newConvCase(r, tt.rows, s)
		var refs [3]reference
		for act := range refs {
			refs[act] = convReference(c.src, c.w, c.bias, c.ddst, tt.rows, s, false, Act(act))
		}
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				for act, ref := range refs {
					dst := dirty(tt.rows * tt.out)
					Dense(dst, c.src, tt.rows, PackDense(c.w, tt.out, tt.in), c.bias, Act(act), dirty(DenseScratch(tt.rows, tt.out, tt.in)))
					near(t, "dst", dst, ref.dst)
				}
				dsrc := dirty(tt.rows * tt.in)
				DenseGradInput(dsrc, c.ddst, c.w, tt.rows, tt.out, tt.in)
				near(t, "dsrc", dsrc, refs[0].dsrc)
				dw, db := dirty(len(c.w)), dirty(tt.out)
				DenseGradWeights(dw, db, c.ddst, c.src, tt.rows, tt.out, tt.in)
				near(t, "dw", dw, refs[0].dw)
				near(t, "db", db, refs[0].db)
			})
		})
	}
}

func TestMaxPool(t *testing.T) {
	for _, tt := range convShapes {
		const n = 2
		s := tt.s
		s.OutC = s.C
		if s.PadTop >= s.Kernel || s.PadLeft >= s.Kernel {
			continue
		}
		r := rand.New(rand.NewPCG(9, 10))
		src, ddst := make([]float32, n*s.in()), random(r, n*s.out())
		for i := range src {
			src[i] = float32(r.IntN(5) - 2) // so that windows have several maxima
		}
		want, wantGrad := make([]float32, n*s.out()), make([]sum, n*s.in())
		for i := range n {
			for oy := range s.OutH {
				for ox := range s.OutW {
					for c := range s.C {
						best, at := math.Inf(-1), -1
						for y := oy*s.Stride - s.PadTop; y < oy*s.Stride-s.PadTop+s.Kernel; y++ {
							for x := ox*s.Stride - s.PadLeft; x < ox*s.Stride-s.PadLeft+s.Kernel; x++ {
								if y < 0 || x < 0 || y >= s.H || x >= s.W {
									continue
								}
								if j := ((i*s.H+y)*s.W+x)*s.C + c; float64(src[j]) > best {
									best, at = float64(src[j]), j
								}
							}
						}
						o := ((i*s.OutH+oy)*s.OutW+ox)*s.C + c
						want[o] = float32(best)
						wantGrad[at].add(float64(ddst[o]))
					}
				}
			}
		}
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				dst, dsrc := dirty(n*s.out()), dirty(n*s.in())
				MaxPool(dst, src, n, s)
				if !slices.Equal(dst, want) {
					t.Fatalf("dst is %v; want %v", dst, want)
				}
				MaxPoolGrad(dsrc, ddst, src, dst, n, s)
				near(t, "dsrc", dsrc, wantGrad)
			})
		})
	}
}

func TestAvgPool(t *testing.T) {
	for _, tt := range append(slices.Clone(convShapes), convShape{"windows beyond the input", Shape{H: 3, W: 2, C: 300, OutH: 4, OutW: 4, Kernel: 2, Stride: 2, PadTop: 2, PadLeft: 3}}) {
		const n = 2
		s := tt.s
		s.OutC = s.C
		r := rand.New(rand.NewPCG(21, 22))
		src, ddst := random(r, n*s.in()), random(r, n*s.out())
		want, wantGrad := make([]sum, n*s.out()), make([]sum, n*s.in())
		for o := range want {
			c, ox, oy, i := o%s.C, o/s.C%s.OutW, o/s.C/s.OutW%s.OutH, o/s.out()
			var inside []int
			for y := oy*s.Stride - s.PadTop; y < oy*s.Stride-s.PadTop+s.Kernel; y++ {
				for x := ox*s.Stride - s.PadLeft; x < ox*s.Stride-s.PadLeft+s.Kernel; x++ {
					if y >= 0 && x >= 0 && y < s.H && x < s.W {
						inside = append(inside, ((i*s.H+y)*s.W+x)*s.C+c)
					}
				}
			}
			for _, at := range inside {
				want[o].add(float64(src[at]) / float64(len(inside)))
				wantGrad[at].add(float64(ddst[o]) / float64(len(inside)))
			}
		}
		t.Run(tt.why, func(t *testing.T) {
			forLevels(t, func(t *testing.T) {
				dst, dsrc := dirty(n*s.out()), dirty(n*s.in())
				AvgPool(dst, src, n, s)
				near(t, "dst", dst, want)
				AvgPoolGrad(dsrc, ddst, n, s)
				near(t, "dsrc", dsrc, wantGrad)
			})
		})
	}
}

// What PyTorch 2 gives for torch.nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False) of the numbers 1 to 20 in
// 4 rows, and as gradient of its outputs' sum, each times its number from 1 on.
func TestAvgPoolGolden(t *testing.T) {
	s := shape(4, 5, 1, 1, 3, 2, 1)
	src, ddst := make([]float32, s.in()), make([]float32, s.out())
	for i := range src {
		src[i] = float32(i + 1)
	}
	for i := range ddst {
		ddst[i] = float32(i + 1)
	}
	dst, dsrc := dirty(s.out()), dirty(s.in())
	AvgPool(dst, src, 1, s)
	AvgPoolGrad(dsrc, ddst, 1, s)
	want := []float32{4, 5.5, 7, 11.5, 13, 14.5}
	wantGrad := []float32{0.25, 0.583333, 0.333333, 1.083333, 0.75, 0.916667, 1.805556, 0.888889, 2.638889, 1.75, 0.666667, 1.222222, 0.555556, 1.555556, 1, 0.666667, 1.222222, 0.555556, 1.555556, 1}
	for i, v := range want {
		if math.Abs(float64(dst[i]-v)) > 1e-5 {
			t.Errorf("mean %d is %v; want %v", i, dst[i], v)
		}
	}
	for i, v := range wantGrad {
		if math.Abs(float64(dsrc[i]-v)) > 1e-5 {
			t.Errorf("gradient %d is %v; want %v", i, dsrc[i], v)
		}
	}
}

func TestGlobalAvgPool(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		const n, pixels, c = 3, 49, 37
		r := rand.New(rand.NewPCG(11, 12))
		src, ddst := random(r, n*pixels*c), random(r, n*c)
		want, wantGrad := make([]sum, n*c), make([]sum, n*pixels*c)
		for i := range wantGrad {
			o := i/(pixels*c)*c + i%c
			want[o].add(float64(src[i]) / pixels)
			wantGrad[i].add(float64(ddst[o]) / pixels)
		}
		dst, dsrc := dirty(n*c), dirty(n*pixels*c)
		GlobalAvgPool(dst, src, n, pixels, c)
		near(t, "dst", dst, want)
		GlobalAvgPoolGrad(dsrc, ddst, n, pixels, c)
		near(t, "dsrc", dsrc, wantGrad)
	})
}

func TestAddAndActGrad(t *testing.T) {
	nan := float32(math.NaN())
	forLevels(t, func(t *testing.T) {
		// One more value each time, so that all tails of vectors come up.
		values := []float32{-7, -0.5, 0, 0.5, 5.5, 6, 6.5, nan}
		for n := range 70 {
			a, b, y, d := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range n {
				y[i], a[i], b[i] = values[(i+n)%8], values[(i+n)%8], 0
			}
			for act := Linear; act <= ReLU6; act++ {
				Add(d, a, b, act)
				for i, v := range a {
					want := sum{v: float64(v)}
					if v == v {
						want.act(act)
					}
					if float64(d[i]) != want.v && !(v != v && d[i] != d[i]) {
						t.Fatalf("%d values, activation %d of %v is %v; want %v", n, act, v, d[i], want.v)
					}
				}
				for i := range d {
					d[i] = float32(i + 1)
				}
				ActGrad(d, y, act)
				for i, v := range y {
					flat := act != Linear && v <= 0 || act == ReLU6 && v >= 6
					if want := float32(i + 1); flat && d[i] != 0 || !flat && d[i] != want {
						t.Fatalf("%d values, gradient of activation %d at %v is %v", n, act, v, d[i])
					}
				}
			}
		}
	})
}

// drawShape draws a convolution of any kind that is quick to compute.
func drawShape(t *rapid.T) Shape {
	kernel := rapid.SampledFrom([]int{1, 1, 2, 3, 3, 4, 5, 7}).Draw(t, "kernel")
	s := Shape{
		H: rapid.IntRange(1, 14).Draw(t, "h"), W: rapid.IntRange(1, 30).Draw(t, "w"),
		C: rapid.IntRange(1, 40).Draw(t, "c"), OutC: rapid.IntRange(1, 70).Draw(t, "out"),
		Kernel: kernel, Stride: rapid.IntRange(1, 4).Draw(t, "stride"),
		PadTop: rapid.IntRange(0, kernel-1).Draw(t, "pad top"), PadLeft: rapid.IntRange(0, kernel-1).Draw(t, "pad left"),
	}
	// Windows begin in the input or its padding before it, and may end anywhere.
	s.OutH = rapid.IntRange(1, (s.H-1+s.PadTop)/s.Stride+1).Draw(t, "out h")
	s.OutW = rapid.IntRange(1, (s.W-1+s.PadLeft)/s.Stride+1).Draw(t, "out w")
	return s
}

// Every level gives what Go gives, for any shape.
func TestLevelsAgree(t *testing.T) {
	best := level
	defer func() { level = best }()
	rapid.Check(t, func(t *rapid.T) {
		s := drawShape(t)
		n := rapid.IntRange(0, 3).Draw(t, "n")
		act := Act(rapid.IntRange(0, 2).Draw(t, "act"))
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		c := newConvCase(r, n, s)
		d := s
		d.OutC = d.C
		dd := random(r, n*d.out())
		all := func(l int) [][]float32 {
			level = l
			out := [][]float32{
				dirty(n * s.out()), dirty(n * s.in()), dirty(s.weightCount()), dirty(s.OutC),
				dirty(n * d.out()), dirty(n * d.in()), dirty(d.Kernel * d.run()), dirty(d.C), dirty(n * d.out()), dirty(n * d.in()),
				dirty(n * s.OutC),
			}
			Conv(out[0], c.src, n, PackConv(c.w, s), c.bias, s, act, dirty(ConvScratch(s)))
			ConvGradInput(out[1], c.ddst, n, PackConvGrad(c.w, s), s, dirty(ConvGradInputScratch(s)))
			ConvGradWeights(out[2], out[3], c.ddst, c.src, n, s, dirty(ConvGradWeightsScratch(s)))
			Depthwise(out[4], c.src, n, c.w[:d.Kernel*d.run()], nil, d, act)
			DepthwiseGradInput(out[5], dd, c.w[:d.Kernel*d.run()], n, d)
			DepthwiseGradWeights(out[6], out[7], dd, c.src, n, d)
			MaxPool(out[8], c.src, n, d)
			MaxPoolGrad(out[9], dd, c.src, out[8], n, d)
			Dense(out[10], c.src, min(n, n*s.in()/max(s.Kernel*s.run(), 1)), PackDense(c.w, s.OutC, s.Kernel*s.run()), c.bias, act,
				dirty(DenseScratch(n, s.OutC, s.Kernel*s.run())))
			return out
		}
		if s.Kernel*s.run() > s.in() { // the dense layer reads a row of weights' length
			n = min(n, 0)
			c = newConvCase(r, n, s)
			dd = nil
		}
		if len(c.w) < d.Kernel*d.run() {
			t.Skip()
		}
		want := all(generic)
		for _, l := range levels(best)[1:] {
			for i, got := range all(l) {
				for j, v := range got {
					w := float64(want[i][j])
					// Both are off by their roundings: at most 2^-24 for each term, of numbers of about 1.
					if math.Abs(float64(v)-w) > 0x1p-22*float64(s.Kernel*s.run()+n*s.OutH*s.OutW+s.Kernel*s.Kernel*s.OutC+1)*8 {
						t.Fatalf("%v: %s: output %d, value %d is %v; generic gives %v", s, names[l], i, j, v, w)
					}
				}
			}
		}
	})
}

// An image alone, a row alone, have the bits that they have in a batch.
func TestBatchesDoNotMatter(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			const n = 7
			s := drawShape(t)
			d := s
			d.OutC = d.C
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			c := newConvCase(r, n, s)
			dw, ddDepth := random(r, d.Kernel*d.run()), random(r, n*d.out())
			packed := PackConv(c.w, s)
			dense := PackDense(c.w, s.OutC, s.Kernel*s.run())
			rows := random(r, n*s.Kernel*s.run())
			dRows := random(r, n*s.OutC)
			// Computes images from to to.
			all := func(from, to int) [][]float32 {
				n := to - from
				out := [][]float32{dirty(n * s.out()), dirty(n * s.in()), dirty(n * d.out()), dirty(n * d.in()), dirty(n * s.OutC), dirty(n * s.Kernel * s.run()),
					dirty(n * d.out()), dirty(n * d.in()), dirty(n * d.out()), dirty(n * d.in()), dirty(n * d.C), dirty(n * d.in())}
				src := c.src[from*s.in() : to*s.in()]
				Conv(out[0], src, n, packed, c.bias, s, ReLU, dirty(ConvScratch(s)))
				ConvGradInput(out[1], c.ddst[from*s.out():to*s.out()], n, PackConvGrad(c.w, s), s, dirty(ConvGradInputScratch(s)))
				Depthwise(out[2], src, n, dw, nil, d, Linear)
				DepthwiseGradInput(out[3], ddDepth[from*d.out():to*d.out()], dw, n, d)
				Dense(out[4], rows[from*dense.in:to*dense.in], n, dense, c.bias, Linear, dirty(DenseScratch(n, dense.out, dense.in)))
				DenseGradInput(out[5], dRows[from*s.OutC:to*s.OutC], c.w, n, s.OutC, dense.in)
				ddst := ddDepth[from*d.out() : to*d.out()]
				MaxPool(out[6], src, n, d)
				MaxPoolGrad(out[7], ddst, src, out[6], n, d)
				AvgPool(out[8], src, n, d)
				AvgPoolGrad(out[9], ddst, n, d)
				GlobalAvgPool(out[10], src, n, d.H*d.W, d.C)
				GlobalAvgPoolGrad(out[11], out[10], n, d.H*d.W, d.C)
				return out
			}
			want := all(0, n)
			for from := 0; from < n; {
				to := from + rapid.IntRange(1, n-from).Draw(t, "images")
				for i, got := range all(from, to) {
					if size := len(want[i]) / n; !equalBits(got, want[i][from*size:to*size]) {
						t.Fatalf("%v: output %d of images %d to %d differs from that of all", s, i, from, to)
					}
				}
				from = to
			}
		})
	})
}

func equalBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// A value does not depend on where in the picture it is: shifted by whole strides, the same windows give the same bits.
func TestPlaceDoesNotMatter(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(13, 14))
		const size, c, out = 40, 5, 37
		src, w := random(r, size*size*c), random(r, out*3*3*c)
		compute := func(src []float32, s Shape) [][]float32 {
			d := s
			d.OutC = d.C
			dst := [][]float32{dirty(s.out()), dirty(d.out()), dirty(d.out()), dirty(d.out())}
			Conv(dst[0], src, 1, PackConv(w, s), nil, s, Linear, nil)
			Depthwise(dst[1], src, 1, w[:d.Kernel*d.run()], nil, d, Linear)
			MaxPool(dst[2], src, 1, d)
			AvgPool(dst[3], src, 1, d)
			return dst
		}
		whole := shape(size, size, c, out, 3, 1, 0)
		want := compute(src, whole)
		for _, side := range []int{3, 4, 9, 14, 15, 27} {
			for _, at := range []int{0, 1, 5, 13} {
				s := shape(side, side, c, out, 3, 1, 0)
				cut := make([]float32, 0, s.in())
				for y := range side {
					cut = append(cut, src[((at+y)*size+at)*c:][:side*c]...)
				}
				for i, got := range compute(cut, s) {
					c := len(got) / (s.OutH * s.OutW)
					for y := range s.OutH {
						if !equalBits(got[y*s.OutW*c:][:s.OutW*c], want[i][((at+y)*whole.OutW+at)*c:][:s.OutW*c]) {
							t.Fatalf("output %d: row %d of %d pixels cut out at %d differs", i, y, side, at)
						}
					}
				}
			}
		}
	})
}

// Nor does it depend on its channel: with the channels turned round, all values are the same, turned round. Sums over
// what is turned are left out, since their order is another.
func TestChannelsDoNotMatter(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			const n = 2
			s := drawShape(t)
			d := s
			d.OutC = d.C
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
			c := newConvCase(r, n, s)
			depth := convCase{c.src, random(r, d.Kernel*d.run()), random(r, d.C), random(r, n*d.out())}
			k := s.Kernel * s.run()
			rows := random(r, n*k)
			// turned turns the channels of all slices of shape [..][channels][width] by some places.
			type array struct {
				values          []float32
				channels, width int
			}
			turned := func(by int, of ...array) [][]float32 {
				var out [][]float32
				for _, a := range of {
					v := make([]float32, len(a.values))
					for i := range v {
						block := i / (a.channels * a.width)
						channel := (i/a.width + by) % a.channels
						v[(block*a.channels+channel)*a.width+i%a.width] = a.values[i]
					}
					out = append(out, v)
				}
				return out
			}
			check := func(what string, by int, got [][]float32, want ...array) {
				for i, want := range turned(by, want...) {
					if !equalBits(got[i], want) {
						t.Fatalf("%v: %s turned by %d: output %d has other values", s, what, by, i)
					}
				}
			}
			outputs := func(w, bias, ddst []float32) [][]float32 {
				dst, dw, db, row := dirty(n*s.out()), dirty(len(w)), dirty(s.OutC), dirty(n*s.OutC)
				Conv(dst, c.src, n, PackConv(w, s), bias, s, ReLU6, dirty(ConvScratch(s)))
				ConvGradWeights(dw, db, ddst, c.src, n, s, dirty(ConvGradWeightsScratch(s)))
				Dense(row, rows, n, PackDense(w, s.OutC, k), bias, ReLU, dirty(DenseScratch(n, s.OutC, k)))
				return [][]float32{dst, dw, db, row}
			}
			by := rapid.IntRange(1, s.OutC).Draw(t, "outputs turned by")
			turn := turned(by, array{c.w, s.OutC, k}, array{c.bias, s.OutC, 1}, array{c.ddst, s.OutC, 1})
			want := outputs(c.w, c.bias, c.ddst)
			check("outputs", by, outputs(turn[0], turn[1], turn[2]), array{want[0], s.OutC, 1}, array{want[1], s.OutC, k}, array{want[2], s.OutC, 1}, array{want[3], s.OutC, 1})

			inputs := func(src, w []float32) [][]float32 {
				dsrc, dw := dirty(n*s.in()), dirty(len(w))
				ConvGradInput(dsrc, c.ddst, n, PackConvGrad(w, s), s, dirty(ConvGradInputScratch(s)))
				ConvGradWeights(dw, nil, c.ddst, src, n, s, dirty(ConvGradWeightsScratch(s)))
				return [][]float32{dsrc, dw}
			}
			by = rapid.IntRange(1, s.C).Draw(t, "inputs turned by")
			turn = turned(by, array{c.src, s.C, 1}, array{c.w, s.C, 1})
			want = inputs(c.src, c.w)
			check("inputs", by, inputs(turn[0], turn[1]), array{want[0], s.C, 1}, array{want[1], s.C, 1})

			alone := func(src, w, bias, ddst []float32) [][]float32 {
				out := [][]float32{dirty(n * d.out()), dirty(n * d.in()), dirty(len(w)), dirty(d.C), dirty(n * d.out()), dirty(n * d.in()), dirty(n * d.out()), dirty(n * d.in())}
				Depthwise(out[0], src, n, w, bias, d, ReLU)
				DepthwiseGradInput(out[1], ddst, w, n, d)
				DepthwiseGradWeights(out[2], out[3], ddst, src, n, d)
				MaxPool(out[4], src, n, d)
				MaxPoolGrad(out[5], ddst, src, out[4], n, d)
				AvgPool(out[6], src, n, d)
				AvgPoolGrad(out[7], ddst, n, d)
				return out
			}
			turn = turned(by, array{depth.src, d.C, 1}, array{depth.w, d.C, 1}, array{depth.bias, d.C, 1}, array{depth.ddst, d.C, 1})
			var all []array
			for _, v := range alone(depth.src, depth.w, depth.bias, depth.ddst) {
				all = append(all, array{v, d.C, 1})
			}
			check("channels by themselves", by, alone(turn[0], turn[1], turn[2], turn[3]), all...)
		})
	})
}

func TestAllocations(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 16))
		s := same(9, 9, 5, 5, 3, 2)
		c := newConvCase(r, 2, s)
		packed, grad, dense := PackConv(c.w, s), PackConvGrad(c.w, s), PackDense(c.w, s.OutC, s.Kernel*s.run())
		dst, dsrc, dw, db := dirty(len(c.ddst)), dirty(len(c.src)), dirty(len(c.w)), dirty(s.OutC)
		scratch := dirty(max(ConvScratch(s), ConvGradInputScratch(s), ConvGradWeightsScratch(s), DenseScratch(2, s.OutC, s.Kernel*s.run())))
		if n := testing.AllocsPerRun(5, func() {
			packed.Repack(c.w)
			Conv(dst, c.src, 2, packed, c.bias, s, ReLU6, scratch)
			grad.Repack(c.w)
			ConvGradInput(dsrc, c.ddst, 2, grad, s, scratch)
			ConvGradWeights(dw, db, c.ddst, c.src, 2, s, scratch)
			Depthwise(dst, c.src, 2, c.w, c.bias, s, ReLU)
			DepthwiseGradInput(dsrc, c.ddst, c.w, 2, s)
			DepthwiseGradWeights(dw, db, c.ddst, c.src, 2, s)
			Dense(dst, c.src, 2, dense, c.bias, ReLU, scratch)
			DenseGradInput(dsrc, c.ddst, c.w, 2, s.OutC, s.Kernel*s.run())
			DenseGradWeights(dw, db, c.ddst, c.src, 2, s.OutC, s.Kernel*s.run())
			MaxPool(dst, c.src, 2, s)
			MaxPoolGrad(dsrc, c.ddst, c.src, dst, 2, s)
			AvgPool(dst, c.src, 2, s)
			AvgPoolGrad(dsrc, c.ddst, 2, s)
			GlobalAvgPool(db, c.src, 1, 81, 5)
			GlobalAvgPoolGrad(dsrc, db, 1, 81, 5)
			Add(dst, dst, dst, ReLU)
			ActGrad(dst, dst, ReLU6)
		}); n != 0 {
			t.Errorf("%v allocations; want none", n)
		}
	})
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		best     int
		wish     string
		want     int
		honoured bool
		why      string
	}{
		{avx512, "", avx512, true, "no wish"},
		{avx512, "avx512", avx512, true, "what there is"},
		{avx512, "avx2", avx2, true, "less than possible"},
		{avx512, "generic", generic, true, "nothing"},
		{avx2, "avx512", avx2, false, "more than possible"},
		{generic, "avx2", generic, false, "more than possible"},
		{avx2, "abacus", avx2, false, "unknown"},
		{avx2, "AVX2", avx2, false, "unknown"},
		{neon, "", neon, true, "no wish"},
		{neon, "neon", neon, true, "what there is"},
		{neon, "generic", generic, true, "nothing"},
		{neon, "avx2", neon, false, "another processor's"},
		{avx512, "neon", avx512, false, "another processor's"},
	} {
		if got, honoured := choose(tt.best, tt.wish); got != tt.want || honoured != tt.honoured {
			t.Errorf("%s: choose(%s, %q) is %s, %v; want %s, %v", tt.why, names[tt.best], tt.wish, names[got], honoured, names[tt.want], tt.honoured)
		}
	}
}

func TestShortSlicesPanic(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		s := shape(4, 4, 3, 5, 3, 1, 1)
		c := newConvCase(rand.New(rand.NewPCG(17, 18)), 1, s)
		for why, f := range map[string]func(){
			"dst": func() {
				Conv(make([]float32, s.out()-1), c.src, 1, PackConv(c.w, s), c.bias, s, Linear, dirty(ConvScratch(s)))
			},
			"src": func() {
				Conv(make([]float32, s.out()), slices.Clip(c.src[:s.in()-1]), 1, PackConv(c.w, s), c.bias, s, Linear, dirty(ConvScratch(s)))
			},
			"bias": func() {
				Conv(make([]float32, s.out()), c.src, 1, PackConv(c.w, s), slices.Clip(c.bias[:4]), s, Linear, dirty(ConvScratch(s)))
			},
			"scratch": func() { Conv(make([]float32, s.out()), c.src, 1, PackConv(c.w, s), c.bias, s, Linear, nil) },
			"ddst": func() {
				ConvGradInput(make([]float32, s.in()), slices.Clip(c.ddst[:len(c.ddst)-1]), 1, PackConvGrad(c.w, s), s, dirty(ConvGradInputScratch(s)))
			},
			"dense": func() {
				Dense(make([]float32, 5), slices.Clip(c.src[:26]), 1, PackDense(c.w, 5, 27), nil, Linear, dirty(DenseScratch(1, 5, 27)))
			},
			"add": func() { Add(make([]float32, 3), c.src[:2:2], c.src, Linear) },
		} {
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

// A dense layer worked out a part of the outputs at a time, from rows packed a part of the inputs at a time, has the bits of
// the whole.
func TestDenseInParts(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		const rows, out, in = denseRows + 9, 37, 83
		r := rand.New(rand.NewPCG(19, 20))
		src, w, bias := random(r, rows*in), random(r, out*in), random(r, out)
		want := dirty(rows * out)
		Dense(want, src, rows, PackDense(w, out, in), bias, ReLU, dirty(DenseScratch(rows, out, in)))
		packed, got := dirty(PackedRows(rows, in)), dirty(rows*out)
		for from := 0; from < in; from += 20 {
			PackRows(packed, src, rows, in, from, min(from+20, in))
		}
		for from := 0; from < out; from += 16 {
			n := min(16, out-from)
			DensePacked(got[from:], out, packed, rows, PackDense(w[from*in:(from+n)*in], n, in), bias[from:], ReLU, dirty(DensePackedScratch(rows, n)))
		}
		if !equalBits(got, want) {
			t.Error("the parts have other values than the whole")
		}
	})
}
