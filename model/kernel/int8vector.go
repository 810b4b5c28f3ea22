package kernel

import "math"

// MaxPoolInt8 computes n images dst[OutH][OutW][C] from src[H][W][C]: the largest value of each window. Padding never
// wins; a window of nothing but padding gives 0.
func MaxPoolInt8(dst, src []uint8, n int, s Shape) {
	dst, src = dst[:n*s.OutH*s.OutW*s.C], src[:n*s.in()]
	for i := range n {
		for y := range s.OutH {
			ky, kyEnd := s.clip(y, s.PadTop, s.H)
			m := 1
			for x := 0; x < s.OutW; x += m {
				m = s.alike(x)
				kx, kxEnd := s.clip(x, s.PadLeft, s.W)
				d := dst[((i*s.OutH+y)*s.OutW+x)*s.C:][:m*s.C]
				if kyEnd <= ky || kxEnd <= kx {
					clear(d)
					continue
				}
				at := ((i*s.H+y*s.Stride-s.PadTop+ky)*s.W + x*s.Stride - s.PadLeft + kx) * s.C
				maxWindows(d, src[at:], m, s.C, kyEnd-ky, kxEnd-kx, s.Stride*s.C, s.W*s.C)
			}
		}
	}
}

// maxWindowsGeneric computes m outputs of c values each: the maxima of windows of rows x cols pixels. Windows begin step
// values apart, their rows lie pitch values apart.
func maxWindowsGeneric(dst, src []uint8, m, c, rows, cols, step, pitch int) {
	for i := range m {
		d := dst[i*c:][:c]
		copy(d, src[i*step:][:c])
		for r := range rows {
			for k := range cols {
				for j, v := range src[i*step+r*pitch+k*c:][:c] {
					d[j] = max(d[j], v)
				}
			}
		}
	}
}

// GlobalAvgPoolInt8 computes dst[n][c], the means over the pixels of src[n][pixels][c]:
//
//	q = clamp(zeroOut + roundToEven(float32(sum of (q-zeroIn)) * scale), 0, 255)
//
// with scale = sIn/(sOut*pixels). There can be up to 2^23 pixels.
func GlobalAvgPoolInt8(dst, src []uint8, n, pixels, c int, zeroIn uint8, scale float32, zeroOut uint8) {
	dst, src = dst[:n*c], src[:n*pixels*c]
	for i := range n {
		average(dst[i*c:][:c], src[i*pixels*c:][:pixels*c], pixels, -int32(pixels)*int32(zeroIn), scale, zeroOut)
	}
}

// averageGeneric sums up pixels and bias for each channel and scales the sums.
func averageGeneric(dst, src []uint8, pixels int, bias int32, scale float32, zero uint8) {
	c := len(dst)
	high := float32(255 - int(zero))
	var sums [64]int32
	for j := 0; j < c; j += len(sums) {
		part := sums[:min(len(sums), c-j)]
		for q := range part {
			part[q] = bias
		}
		for p := range pixels {
			for q, v := range src[p*c+j:][:len(part)] {
				part[q] += int32(v)
			}
		}
		for q, v := range part {
			dst[j+q] = quantized(float32(v)*scale, high, int16(zero), 0)
		}
	}
}

// AddQuant is how AddInt8 sees its operands and ends: scales are sA/sOut and sB/sOut. Low is at most High.
type AddQuant struct {
	ZeroA, ZeroB    uint8
	ScaleA, ScaleB  float32
	Zero, Low, High uint8
}

// AddInt8 computes, value by value,
//
//	q = clamp(Zero + roundToEven(float32(a-ZeroA)*ScaleA + float32(b-ZeroB)*ScaleB), Low, High)
//
// with each product and the sum rounded to float32. dst may be a or b.
func AddInt8(dst, a, b []uint8, p *AddQuant) {
	a, b = a[:len(dst)], b[:len(dst)]
	if len(dst) > 0 {
		addInt8(dst, a, b, p)
	}
}

func addInt8Generic(dst, a, b []uint8, p *AddQuant) {
	high := float32(int(p.High) - int(p.Zero))
	for i := range dst {
		x := float32(float32(int(a[i])-int(p.ZeroA)) * p.ScaleA)
		y := float32(float32(int(b[i])-int(p.ZeroB)) * p.ScaleB)
		dst[i] = quantized(float32(x+y), high, int16(p.Zero), p.Low)
	}
}

// Quantize computes dst = clamp(zero + roundToEven(src*inverse), 0, 255), inverse being 1/scale and the product rounded
// to float32. NaN becomes zero.
func Quantize(dst []uint8, src []float32, inverse float32, zero uint8) {
	src = src[:len(dst)]
	if len(dst) > 0 {
		quantize(dst, src, inverse, zero)
	}
}

func quantizeGeneric(dst []uint8, src []float32, inverse float32, zero uint8) {
	high := float32(255 - int(zero))
	for i, v := range src {
		v = float32(v * inverse)
		if math.IsNaN(float64(v)) {
			v = 0
		}
		dst[i] = quantized(v, high, int16(zero), 0)
	}
}
