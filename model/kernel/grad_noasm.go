//go:build !amd64 || noasm

package kernel

func (t *outer) sumLevel() {
	if level == generic {
		t.sumGeneric()
	} else {
		t.sumTiles()
	}
}

func copyRowsLevel(dst, src []float32, rows, cols, ds, ss int, pad bool) {
	copyRowsGeneric(dst, src, rows, cols, ds, ss, pad)
}

func gradRowsLevel(d, y, sum []float32, rows, cols, stride int, act Act) {
	gradRowsGeneric(d, y, sum, rows, cols, stride, act)
}

func sgd(w, g []float32, rate, decay float32) { sgdGeneric(w, g, rate, decay) }

func momentum(w, g, m []float32, rate, decay, mu float32, nesterov bool) {
	momentumGeneric(w, g, m, rate, decay, mu, nesterov)
}

func adamW(w, g, m, v []float32, s *AdamWStep) { adamWGeneric(w, g, m, v, s) }

func tilesGradLevel(dst, src []float32, tiles, c, row, plane int) {
	tilesGradGeneric(dst, src, tiles, c, row, plane)
}

func tilesBackLevel(dw, u []float32, n, tap, plane int) { tilesBackGeneric(dw, u, n, tap, plane) }
