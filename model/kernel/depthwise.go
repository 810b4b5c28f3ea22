package kernel

// clip says which of the kernel rows of output row o lie in the input, for one axis.
func (s Shape) clip(o, pad, size int) (from, to int) {
	first := o*s.Stride - pad
	return min(max(-first, 0), s.Kernel), max(min(s.Kernel, size-first), 0)
}

// Depthwise computes n images dst[OutH][OutW][C] from src[H][W][C], each channel by itself: dst = act(bias + src * w)
// with weights w[Kernel][Kernel][C]. bias may be nil.
func Depthwise(dst, src []float32, n int, w, bias []float32, s Shape, act Act) {
	t := tile{a: src, b: w, c: dst, as: s.Stride * s.C, ar: s.W * s.C, ak: s.C, br: s.Kernel * s.C, bk: s.C, cs: s.C}
	t.act(act)
	width := 2 * lanes()
	for i := range n {
		for y := range s.OutH {
			ky, kyEnd := s.clip(y, s.PadTop, s.H)
			t.runs = max(kyEnd-ky, 0)
			top := i*s.H + y*s.Stride - s.PadTop + ky
			for c := 0; c < s.C; c += width {
				t.cols = min(width, s.C-c)
				if bias != nil {
					t.bias = bias[c:]
				}
				for x := 0; x < s.OutW; x += t.m {
					kx, kxEnd := s.clip(x, s.PadLeft, s.W)
					for t.m = 1; x+t.m < s.OutW; t.m++ {
						if from, to := s.clip(x+t.m, s.PadLeft, s.W); from != kx || to != kxEnd {
							break
						}
					}
					t.run = max(kxEnd-kx, 0)
					t.a0 = (top*s.W+x*s.Stride-s.PadLeft+kx)*s.C + c
					t.b0 = (ky*s.Kernel+kx)*s.C + c
					t.c0 = ((i*s.OutH+y)*s.OutW+x)*s.C + c
					t.channels()
				}
			}
		}
	}
}

// reachable says, for one axis, which of the taps j of input row y (see convgrad.go) come from an output row: output
// row q-j reaches it through kernel row phase+j*Stride.
func (s Shape) reachable(y, pad, outs int) (q, phase, from, to int) {
	phase = (y + pad) % s.Stride
	q = (y + pad) / s.Stride
	return q, phase, max(q-outs+1, 0), min(s.taps(phase), q+1)
}

// DepthwiseGradInput computes the gradient dsrc of n inputs of Depthwise from the gradient ddst of its outputs, taken
// before the activation.
func DepthwiseGradInput(dsrc, ddst, w []float32, n int, s Shape) {
	t := tile{a: ddst, b: w, c: dsrc, as: s.C, ar: -s.OutW * s.C, ak: -s.C,
		br: s.Stride * s.Kernel * s.C, bk: s.Stride * s.C, cs: s.Stride * s.C}
	width := 2 * lanes()
	for i := range n {
		for y := range s.H {
			qy, py, jy, jyEnd := s.reachable(y, s.PadTop, s.OutH)
			t.runs = max(jyEnd-jy, 0)
			for c := 0; c < s.C; c += width {
				t.cols = min(width, s.C-c)
				for first := range min(s.Stride, s.W) {
					for x := first; x < s.W; x += t.m * s.Stride {
						qx, px, jx, jxEnd := s.reachable(x, s.PadLeft, s.OutW)
						for t.m = 1; x+t.m*s.Stride < s.W; t.m++ {
							if _, _, from, to := s.reachable(x+t.m*s.Stride, s.PadLeft, s.OutW); from != jx || to != jxEnd {
								break
							}
						}
						t.run = max(jxEnd-jx, 0)
						t.a0 = ((i*s.OutH+qy-jy)*s.OutW+qx-jx)*s.C + c
						t.b0 = ((py+jy*s.Stride)*s.Kernel+px+jx*s.Stride)*s.C + c
						t.c0 = ((i*s.H+y)*s.W+x)*s.C + c
						t.channels()
					}
				}
			}
		}
	}
}

// DepthwiseGradWeights computes the gradients dw[Kernel][Kernel][C] and db[C] of Depthwise's weights and bias, summed
// over n images, from the gradient ddst of its outputs, taken before the activation. db may be nil.
func DepthwiseGradWeights(dw, db, ddst, src []float32, n int, s Shape) {
	sumRows(db, ddst, n*s.OutH*s.OutW, s.C)
	dw = dw[:s.Kernel*s.Kernel*s.C]
	clear(dw)
	t := tile{a: src, b: ddst, c: dw, as: s.C, ak: s.Stride * s.C, ar: s.Stride * s.W * s.C, bk: s.C, br: s.OutW * s.C, cs: s.C, add: 1}
	width := 2 * lanes()
	for i := range n {
		for ky := range s.Kernel {
			// The output rows that read an input row through ky.
			y := max((s.PadTop-ky+s.Stride-1)/s.Stride, 0)
			yEnd := y
			if last := s.H - 1 + s.PadTop - ky; last >= 0 {
				yEnd = min(s.OutH, last/s.Stride+1)
			}
			if t.runs = yEnd - y; t.runs <= 0 {
				continue
			}
			top := i*s.H + y*s.Stride - s.PadTop + ky
			for x, count := 0, 0; x < s.OutW; x += count {
				kx, kxEnd := s.clip(x, s.PadLeft, s.W)
				for count = 1; x+count < s.OutW; count++ {
					if from, to := s.clip(x+count, s.PadLeft, s.W); from != kx || to != kxEnd {
						break
					}
				}
				if t.m = kxEnd - kx; t.m <= 0 {
					continue
				}
				t.run = count
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
