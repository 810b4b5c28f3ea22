package kernel

// A depthwise convolution is cut into runs of outputs, in a row or in a column, that use the same taps: along one axis one run
// in the middle, where all of them lie inside the input, and single outputs at its ends.

// clip says which of the kernel rows of output row o lie in the input, for one axis.
func (s Shape) clip(o, pad, size int) (from, to int) {
	first := o*s.Stride - pad
	return min(max(-first, 0), s.Kernel), max(min(s.Kernel, size-first), 0)
}

// alike is how many outputs from column x on have all their windows inside the input, or else 1.
func (s Shape) alike(x int) int { return s.alikeAlong(x, s.PadLeft, s.W, s.OutW) }

// alikeAlong is alike from output o on, for an axis of so many outputs.
func (s Shape) alikeAlong(o, pad, size, outs int) int {
	first := o*s.Stride - pad
	if free := size - s.Kernel - first; first >= 0 && free >= 0 {
		return min(free/s.Stride+1, outs-o)
	}
	return 1
}

// Depthwise computes n images dst[OutH][OutW][C] from src[H][W][C], each channel by itself: dst = act(bias + src * w)
// with weights w[Kernel][Kernel][C]. bias may be nil.
func Depthwise(dst, src []float32, n int, w, bias []float32, s Shape, act Act) {
	t := tile{a: src, b: w, c: dst, ar: s.W * s.C, ak: s.C, br: s.Kernel * s.C, bk: s.C}
	t.act(act)
	strip := max(l1/(s.Kernel*s.W)/(8*lanes()), 1) * 8 * lanes()
	each := (s.C + strip - 1) / strip // strips of an image
	for j := range n * each {
		i, c := j/each, j%each*strip
		t.cols = min(strip, s.C-c)
		if bias != nil {
			t.bias = bias[c:]
		}
		for y, down := 0, 0; y < s.OutH; y += down {
			down = s.alikeAlong(y, s.PadTop, s.H, s.OutH)
			ky, kyEnd := s.clip(y, s.PadTop, s.H)
			t.runs = max(kyEnd-ky, 0)
			for x, across := 0, 0; x < s.OutW; x += across {
				across = s.alike(x)
				kx, kxEnd := s.clip(x, s.PadLeft, s.W)
				t.run = max(kxEnd-kx, 0)
				t.b0 = (ky*s.Kernel+kx)*s.C + c
				// The longer runs, one beside the other.
				a0, aStep := (((i*s.H+y*s.Stride-s.PadTop+ky)*s.W)+x*s.Stride-s.PadLeft+kx)*s.C+c, s.Stride*s.W*s.C
				c0, cStep := ((i*s.OutH+y)*s.OutW+x)*s.C+c, s.OutW*s.C
				t.m, t.as, t.cs = across, s.Stride*s.C, s.C
				lines := down
				if across < down {
					t.m, lines = down, across
					t.as, aStep = aStep, t.as
					t.cs, cStep = cStep, t.cs
				}
				for j := range lines {
					t.a0, t.c0 = a0+j*aStep, c0+j*cStep
					t.channels()
				}
			}
		}
	}
}

// reachable says, for one axis, which of a phase's taps j (see convgrad.go) come from an output row: row q-j.
func reachable(q, taps, outs int) (from, to int) {
	return max(q-outs+1, 0), min(taps, q+1)
}

// DepthwiseGradInput computes the gradient dsrc of n inputs of Depthwise from the gradient ddst of its outputs, taken
// before the activation.
func DepthwiseGradInput(dsrc, ddst, w []float32, n int, s Shape) {
	t := tile{a: ddst, b: w, c: dsrc, as: s.C, ar: -s.OutW * s.C, ak: -s.C,
		br: s.Stride * s.Kernel * s.C, bk: s.Stride * s.C, cs: s.Stride * s.C}
	width := 2 * lanes()
	for i := range n {
		for y := range s.H {
			py, qy := (y+s.PadTop)%s.Stride, (y+s.PadTop)/s.Stride
			jy, jyEnd := reachable(qy, s.taps(py), s.OutH)
			t.runs = max(jyEnd-jy, 0)
			for px := range s.Stride {
				taps := s.taps(px)
				x, qx, left := s.phase(px, s.PadLeft, s.W)
				for ; left > 0; left -= t.m {
					t.m = 1
					if qx >= taps-1 && qx < s.OutW {
						t.m = min(left, s.OutW-qx)
					}
					jx, jxEnd := reachable(qx, taps, s.OutW)
					t.run = max(jxEnd-jx, 0)
					for c := 0; c < s.C; c += width {
						t.cols = min(width, s.C-c)
						t.a0 = ((i*s.OutH+qy-jy)*s.OutW+qx-jx)*s.C + c
						t.b0 = ((py+jy*s.Stride)*s.Kernel+px+jx*s.Stride)*s.C + c
						t.c0 = ((i*s.H+y)*s.W+x)*s.C + c
						t.channels()
					}
					x += t.m * s.Stride
					qx += t.m
				}
			}
		}
	}
}

// DepthwiseGradWeights computes the gradients dw[Kernel][Kernel][C] and db[C] of Depthwise's weights and bias, summed
// over n images, from the gradient ddst of its outputs, taken before the activation. db may be nil.
func DepthwiseGradWeights(dw, db, ddst, src []float32, n int, s Shape) {
	dw = dw[:s.Kernel*s.Kernel*s.C]
	clear(dw)
	if db != nil {
		db = db[:s.C]
		clear(db)
		gradRows(ddst, nil, db, n*s.OutH*s.OutW, s.C, s.C, Linear)
	}
	s.addDepthwise(dw, ddst, src, n)
}

// DepthwiseGrad computes the gradients of n images of Depthwise as ConvGrad does those of Conv.
func DepthwiseGrad(dsrc, dw, db, ddst, dst, src, w []float32, n int, s Shape, act Act) {
	if dw != nil {
		dw, db = dw[:s.Kernel*s.Kernel*s.C], db[:s.C]
		clear(dw)
		clear(db)
	}
	for i := range n {
		d := ddst[i*s.out():][:s.out()]
		if dw == nil {
			ActGrad(d, dst[i*s.out():], act)
		} else {
			gradRows(d, dst[i*s.out():], db, s.OutH*s.OutW, s.C, s.C, act)
		}
		if dsrc != nil {
			DepthwiseGradInput(dsrc[i*s.in():][:s.in()], d, w, 1, s)
		}
		if dw != nil {
			s.addDepthwise(dw, d, src[i*s.in():][:s.in()], 1)
		}
	}
}

func (s Shape) addDepthwise(dw, ddst, src []float32, n int) {
	t := tile{a: src, b: ddst, c: dw, as: s.C, ak: s.Stride * s.C, ar: s.Stride * s.W * s.C, bk: s.C, br: s.OutW * s.C, cs: s.C, add: 1}
	width := 2 * lanes()
	block := max(l2/((s.Stride*s.W+s.OutW)*s.C), 1) // output rows at a time, so that they stay in the cache for all taps
	for i := range n {
		for y0 := 0; y0 < s.OutH; y0 += block {
			y1 := min(y0+block, s.OutH)
			for ky := range s.Kernel {
				// The output rows that read an input row through ky.
				y, yEnd := max((s.PadTop-ky+s.Stride-1)/s.Stride, y0), 0
				if last := s.H - 1 + s.PadTop - ky; last >= 0 {
					yEnd = min(y1, last/s.Stride+1)
				}
				if t.runs = yEnd - y; t.runs <= 0 {
					continue
				}
				top := i*s.H + y*s.Stride - s.PadTop + ky
				for x := 0; x < s.OutW; x += t.run {
					t.run = s.alike(x)
					kx, kxEnd := s.clip(x, s.PadLeft, s.W)
					if t.m = kxEnd - kx; t.m <= 0 {
						continue
					}
					for c := 0; c < s.C; c += width {
						t.cols = min(width, s.C-c)
						t.a0 = (top*s.W+x*s.Stride-s.PadLeft+kx)*s.C + c
						t.b0 = ((i*s.OutH+y)*s.OutW+x)*s.C + c
						t.c0 = (ky*s.Kernel+kx)*s.C + c
						t.channels()
					}
				}
			}
		}
	}
}
