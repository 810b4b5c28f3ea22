package kernel

// MaxPool computes n images dst[OutH][OutW][C] from src[H][W][C]: the largest value of each window. Padding never wins;
// nor does NaN, unless the window begins with it.
func MaxPool(dst, src []float32, n int, s Shape) {
	t := tile{a: src, c: dst, as: s.Stride * s.C, ar: s.W * s.C, ak: s.C, cs: s.C, cols: s.C}
	for i := range n {
		for y := range s.OutH {
			ky, kyEnd := s.clip(y, s.PadTop, s.H)
			t.runs = kyEnd - ky
			top := i*s.H + y*s.Stride - s.PadTop + ky
			for x := 0; x < s.OutW; x += t.m {
				t.m = s.alike(x)
				kx, kxEnd := s.clip(x, s.PadLeft, s.W)
				t.run = kxEnd - kx
				t.a0 = (top*s.W + x*s.Stride - s.PadLeft + kx) * s.C
				t.c0 = ((i*s.OutH+y)*s.OutW + x) * s.C
				if t.runs > 0 && t.run > 0 {
					t.maxima()
				} else {
					clear(dst[t.c0:][:s.C])
				}
			}
		}
	}
}

// MaxPoolGrad computes the gradient dsrc of n inputs of MaxPool: each output's gradient goes to the first value in its
// window, row by row, that equals the output.
func MaxPoolGrad(dsrc, ddst, src, dst []float32, n int, s Shape) {
	clear(dsrc[:n*s.in()])
	for i := range n {
		image, grad := src[i*s.in():][:s.in()], dsrc[i*s.in():][:s.in()]
		for y := range s.OutH {
			ky, kyEnd := s.clip(y, s.PadTop, s.H)
			for x := range s.OutW {
				kx, kxEnd := s.clip(x, s.PadLeft, s.W)
				if kyEnd <= ky || kxEnd <= kx {
					continue
				}
				at := ((y*s.Stride-s.PadTop+ky)*s.W + x*s.Stride - s.PadLeft + kx) * s.C
				o := ((i*s.OutH+y)*s.OutW + x) * s.C
				firstEqual(grad[at:], ddst[o:][:s.C], image[at:], dst[o:][:s.C], kyEnd-ky, kxEnd-kx, s.W*s.C)
			}
		}
	}
}

// firstEqualGeneric adds each gradient d[c] to grad where image first equals max[c], in rows x cols pixels whose rows
// lie stride values apart.
func firstEqualGeneric(grad, d, image, max []float32, rows, cols, stride int) {
	for c, m := range max {
	search:
		for r := range rows {
			at := r*stride + c
			for range cols {
				if image[at] == m {
					grad[at] += d[c]
					break search
				}
				at += len(max)
			}
		}
	}
}

// GlobalAvgPool computes dst[n][c], the means over the pixels of src[n][pixels][c].
func GlobalAvgPool(dst, src []float32, n, pixels, c int) {
	for i := range n {
		d := dst[i*c:][:c]
		sumRows(d, src[i*pixels*c:], pixels, c)
		for j := range d {
			d[j] /= float32(pixels)
		}
	}
}

// GlobalAvgPoolGrad computes the gradient dsrc[n][pixels][c] of GlobalAvgPool's input.
func GlobalAvgPoolGrad(dsrc, ddst []float32, n, pixels, c int) {
	for i := range n {
		first := dsrc[i*pixels*c:][:c]
		for j, d := range ddst[i*c:][:c] {
			first[j] = d / float32(pixels)
		}
		for p := 1; p < pixels; p++ {
			copy(dsrc[(i*pixels+p)*c:][:c], first)
		}
	}
}
