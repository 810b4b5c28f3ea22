//go:build !noasm

package kernel

import "math"

// The loops of tile.go, vector.go and dense.go in assembly, which every processor of arm64 can run. They read and write what
// their Go twins do.

//go:noescape
func productNEON(t *tile)

//go:noescape
func channelsNEON(t *tile)

//go:noescape
func maximaNEON(t *tile)

//go:noescape
func addToNEON(d, x *float32, n int)

//go:noescape
func addNEON(d, a, b *float32, n int)

//go:noescape
func maxToNEON(d, x *float32, n int)

//go:noescape
func activateNEON(d *float32, n int, high float32)

//go:noescape
func actGradNEON(d, y *float32, n int, high float32)

func detect() int { return neon }

func tilesInLevel(dst, src []float32, tiles, c, row, tile, plane int) {
	tilesInGeneric(dst, src, tiles, c, row, tile, plane)
}

func (o tilesOf) writeLevel(dst, m, bias []float32, tiles int, act Act) {
	o.writeGeneric(dst, m, bias, tiles, act)
}

func (t *tile) productLevel() {
	if level == generic {
		t.productGeneric()
		return
	}
	t.split(8)
	whole := *t
	for left := whole.cols; left > 0; left -= t.cols {
		t.cols = piece(left, 12)
		productNEON(t)
		t.next(0)
	}
	*t = whole
}

func (t *tile) channelsLevel() {
	if level == generic {
		t.channelsGeneric()
		return
	}
	t.split(8)
	whole := *t
	for left := whole.cols; left > 0; left -= t.cols {
		t.cols = piece(left, 8)
		channelsNEON(t)
		t.next(t.cols)
	}
	*t = whole
}

func (t *tile) maximaLevel() {
	if level == generic {
		t.maximaGeneric()
		return
	}
	t.split(8)
	whole := *t
	for left := whole.cols; left > 0; left -= t.cols {
		t.cols = piece(left, 8)
		maximaNEON(t)
		t.next(t.cols)
	}
	*t = whole
}

// piece is how many of the columns left the assembly computes at a time: 4 to most, or one where there are fewer. What
// is left then is never fewer than 4, unless it always was.
func piece(left, most int) int {
	switch {
	case left < 4:
		return 1
	case left > most && left < most+4:
		return most - 4
	}
	return min(left, most)
}

// next moves a tile to the columns after its own. a is how far its first factor moves.
func (t *tile) next(a int) {
	t.a0, t.b0, t.c0 = t.a0+a, t.b0+t.cols, t.c0+t.cols
	if t.bias != nil {
		t.bias = t.bias[t.cols:]
	}
}

func firstEqual(grad, d, image, max []float32, rows, cols, stride int) {
	firstEqualGeneric(grad, d, image, max, rows, cols, stride)
}

func addTo(d, x []float32) {
	x = x[:len(d)]
	switch {
	case len(d) == 0:
	case level == generic:
		addToGeneric(d, x)
	default:
		addToNEON(&d[0], &x[0], len(d))
	}
}

func add(d, a, b []float32) {
	switch {
	case len(d) == 0:
	case level == generic:
		addGeneric(d, a, b)
	default:
		addNEON(&d[0], &a[0], &b[0], len(d))
	}
}

func maxTo(d, x []float32) {
	x = x[:len(d)]
	switch {
	case len(d) == 0:
	case level == generic:
		maxToGeneric(d, x)
	default:
		maxToNEON(&d[0], &x[0], len(d))
	}
}

// high is where an activation goes flat again. Nothing is beyond NaN.
func high(act Act) float32 {
	if act == ReLU6 {
		return 6
	}
	return float32(math.NaN())
}

func activate(d []float32, act Act) {
	switch {
	case len(d) == 0:
	case level == generic:
		activateGeneric(d, act)
	default:
		activateNEON(&d[0], len(d), high(act))
	}
}

func actGrad(d, y []float32, act Act) {
	switch {
	case len(d) == 0:
	case level == generic:
		actGradGeneric(d, y, act)
	default:
		actGradNEON(&d[0], &y[0], len(d), high(act))
	}
}
