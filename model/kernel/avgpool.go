package kernel

// AvgPool computes n images dst[OutH][OutW][C] from src[H][W][C]: the mean of each window. Padding does not count: a window
// that hangs over the edge is the mean of what lies inside, as PyTorch's avg_pool2d with count_include_pad=False and
// ONNX's AveragePool have it. A window with nothing inside gives 0.
func AvgPool(dst, src []float32, n int, s Shape) {
	for i := range n {
		image := src[i*s.in():][:s.in()]
		for y := range s.OutH {
			ky, kyEnd := s.clip(y, s.PadTop, s.H)
			for x := range s.OutW {
				kx, kxEnd := s.clip(x, s.PadLeft, s.W)
				d := dst[((i*s.OutH+y)*s.OutW+x)*s.C:][:s.C]
				clear(d)
				if kyEnd <= ky || kxEnd <= kx {
					continue
				}
				for k := ky; k < kyEnd; k++ {
					row := ((y*s.Stride-s.PadTop+k)*s.W + x*s.Stride - s.PadLeft + kx) * s.C
					addRows(d, image[row:], kxEnd-kx)
				}
				count := float32((kyEnd - ky) * (kxEnd - kx))
				for c := range d {
					d[c] /= count
				}
			}
		}
	}
}

// AvgPoolGrad computes the gradient dsrc of n inputs of AvgPool from the gradient ddst of its outputs.
func AvgPoolGrad(dsrc, ddst []float32, n int, s Shape) {
	clear(dsrc[:n*s.in()])
	var shares [256]float32 // some channels of what each pixel of a window gets
	for i := range n {
		grad := dsrc[i*s.in():][:s.in()]
		for y := range s.OutH {
			ky, kyEnd := s.clip(y, s.PadTop, s.H)
			for x := range s.OutW {
				kx, kxEnd := s.clip(x, s.PadLeft, s.W)
				d := ddst[((i*s.OutH+y)*s.OutW+x)*s.C:][:s.C]
				count := float32((kyEnd - ky) * (kxEnd - kx))
				for c := 0; c < s.C; c += len(shares) {
					share := shares[:min(len(shares), s.C-c)]
					for j := range share {
						share[j] = d[c+j] / count
					}
					for k := ky; k < kyEnd; k++ {
						row := (y*s.Stride - s.PadTop + k) * s.W
						for l := kx; l < kxEnd; l++ {
							addTo(grad[(row+x*s.Stride-s.PadLeft+l)*s.C+c:][:len(share)], share)
						}
					}
				}
			}
		}
	}
}
