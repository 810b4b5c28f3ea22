//go:build !noasm

package kernel

//go:generate go run -C _gen ./grad -out ../grad_amd64.s

// The loops of outer.go and solver.go in assembly. They read and write what their Go twins do.

//go:noescape
func outerSumAVX2(t *outer)

//go:noescape
func outerSumAVX512(t *outer)

//go:noescape
func copyRowsAVX2(dst, src *float32, rows, cols, ds, ss, pad int)

//go:noescape
func copyRowsAVX512(dst, src *float32, rows, cols, ds, ss, pad int)

//go:noescape
func gradRowsAVX2(d, y, sum *float32, rows, cols, stride int, high float32)

//go:noescape
func gradRowsAVX512(d, y, sum *float32, rows, cols, stride int, high float32)

//go:noescape
func tilesGradAVX2(dst, src *float32, tiles, c, row, plane int)

//go:noescape
func tilesGradAVX512(dst, src *float32, tiles, c, row, plane int)

//go:noescape
func tilesBackAVX2(dw, u *float32, n, tap, plane int)

//go:noescape
func tilesBackAVX512(dw, u *float32, n, tap, plane int)

//go:noescape
func sgdAVX2(w, d *float32, n int, rate, decay float32)

//go:noescape
func sgdAVX512(w, d *float32, n int, rate, decay float32)

//go:noescape
func momentumAVX2(w, d, m *float32, n int, rate, decay, mu float32)

//go:noescape
func momentumAVX512(w, d, m *float32, n int, rate, decay, mu float32)

//go:noescape
func nesterovAVX2(w, d, m *float32, n int, rate, decay, mu float32)

//go:noescape
func nesterovAVX512(w, d, m *float32, n int, rate, decay, mu float32)

//go:noescape
func adamWAVX2(w, d, m, v *float32, n int, s *AdamWStep)

//go:noescape
func adamWAVX512(w, d, m, v *float32, n int, s *AdamWStep)

func (t *outer) sumLevel() {
	switch level {
	case avx512:
		outerSumAVX512(t)
	case avx2:
		outerSumAVX2(t)
	default:
		t.sumGeneric()
	}
}

func copyRowsLevel(dst, src []float32, rows, cols, ds, ss int, pad bool) {
	p := 0
	if pad {
		p = 1
	}
	switch level {
	case avx512:
		copyRowsAVX512(&dst[0], &src[0], rows, cols, ds, ss, p)
	case avx2:
		copyRowsAVX2(&dst[0], &src[0], rows, cols, ds, ss, p)
	default:
		copyRowsGeneric(dst, src, rows, cols, ds, ss, pad)
	}
}

func gradRowsLevel(d, y, sum []float32, rows, cols, stride int, act Act) {
	var out *float32
	if act != Linear {
		out = &y[0]
	}
	switch level {
	case avx512:
		gradRowsAVX512(&d[0], out, &sum[0], rows, cols, stride, high(act))
	case avx2:
		gradRowsAVX2(&d[0], out, &sum[0], rows, cols, stride, high(act))
	default:
		gradRowsGeneric(d, y, sum, rows, cols, stride, act)
	}
}

func tilesGradLevel(dst, src []float32, tiles, c, row, plane int) {
	switch level {
	case avx512:
		tilesGradAVX512(&dst[0], &src[0], tiles, c, row, plane)
	case avx2:
		tilesGradAVX2(&dst[0], &src[0], tiles, c, row, plane)
	default:
		tilesGradGeneric(dst, src, tiles, c, row, plane)
	}
}

func tilesBackLevel(dw, u []float32, n, tap, plane int) {
	switch level {
	case avx512:
		tilesBackAVX512(&dw[0], &u[0], n, tap, plane)
	case avx2:
		tilesBackAVX2(&dw[0], &u[0], n, tap, plane)
	default:
		tilesBackGeneric(dw, u, n, tap, plane)
	}
}

func sgd(w, g []float32, rate, decay float32) {
	switch {
	case len(w) == 0:
	case level == avx512:
		sgdAVX512(&w[0], &g[0], len(w), rate, decay)
	case level == avx2:
		sgdAVX2(&w[0], &g[0], len(w), rate, decay)
	default:
		sgdGeneric(w, g, rate, decay)
	}
}

func momentum(w, g, m []float32, rate, decay, mu float32, nesterov bool) {
	switch {
	case len(w) == 0:
	case level == generic:
		momentumGeneric(w, g, m, rate, decay, mu, nesterov)
	case level == avx512 && nesterov:
		nesterovAVX512(&w[0], &g[0], &m[0], len(w), rate, decay, mu)
	case level == avx512:
		momentumAVX512(&w[0], &g[0], &m[0], len(w), rate, decay, mu)
	case nesterov:
		nesterovAVX2(&w[0], &g[0], &m[0], len(w), rate, decay, mu)
	default:
		momentumAVX2(&w[0], &g[0], &m[0], len(w), rate, decay, mu)
	}
}

func adamW(w, g, m, v []float32, s *AdamWStep) {
	switch {
	case len(w) == 0:
	case level == avx512:
		adamWAVX512(&w[0], &g[0], &m[0], &v[0], len(w), s)
	case level == avx2:
		adamWAVX2(&w[0], &g[0], &m[0], &v[0], len(w), s)
	default:
		adamWGeneric(w, g, m, v, s)
	}
}
