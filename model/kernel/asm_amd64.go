//go:build !noasm

package kernel

import (
	"math"
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go run -C _gen . -out ../kernels_amd64.s

// The loops of tile.go, vector.go, dense.go and pool.go in assembly. They read and write what their Go twins do.

//go:noescape
func productAVX2(t *tile)

//go:noescape
func productAVX512(t *tile)

//go:noescape
func channelsAVX2(t *tile)

//go:noescape
func channelsAVX512(t *tile)

//go:noescape
func maximaAVX2(t *tile)

//go:noescape
func maximaAVX512(t *tile)

//go:noescape
func addToAVX2(d, x *float32, n int)

//go:noescape
func addToAVX512(d, x *float32, n int)

//go:noescape
func addAVX2(d, a, b *float32, n int)

//go:noescape
func addAVX512(d, a, b *float32, n int)

//go:noescape
func maxToAVX2(d, x *float32, n int)

//go:noescape
func maxToAVX512(d, x *float32, n int)

//go:noescape
func activateAVX2(d *float32, n int, high float32)

//go:noescape
func activateAVX512(d *float32, n int, high float32)

//go:noescape
func actGradAVX2(d, y *float32, n int, high float32)

//go:noescape
func actGradAVX512(d, y *float32, n int, high float32)

//go:noescape
func firstEqualAVX2(grad, d, image, max *float32, channels, rows, cols, stride int)

//go:noescape
func firstEqualAVX512(grad, d, image, max *float32, channels, rows, cols, stride int)

//go:noescape
func tilesInAVX2(dst, src *float32, tiles, c, row, tile, plane int)

//go:noescape
func tilesInAVX512(dst, src *float32, tiles, c, row, tile, plane int)

//go:noescape
func tilesOutAVX2(dst, m, bias *float32, tiles, channels, plane, row, pixel, down, across int, low, high float32)

//go:noescape
func tilesOutAVX512(dst, m, bias *float32, tiles, channels, plane, row, pixel, down, across int, low, high float32)

func detect() int {
	switch {
	case cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasFMA:
		return avx512
	case cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return avx2
	}
	return generic
}

func (t *tile) productLevel() {
	if level == generic {
		t.productGeneric()
		return
	}
	n, cols := lanes(), t.cols
	if whole := t.cols / n * n; t.cols > 2*n && t.cols > whole && t.padded == 0 {
		// Wide pieces read whole vectors only: the columns that are left go by themselves.
		rest := *t
		rest.b0, rest.c0, rest.cols = t.b0+whole, t.c0+whole, t.cols-whole
		if t.bias != nil {
			rest.bias = t.bias[whole:]
		}
		rest.productLevel()
		t.cols = whole
	}
	t.split(mostRows((t.cols + n - 1) / n))
	if level == avx512 {
		productAVX512(t)
	} else {
		productAVX2(t)
	}
	t.cols = cols
}

func (t *tile) channelsLevel() {
	t.split(12)
	switch level {
	case avx512:
		channelsAVX512(t)
	case avx2:
		channelsAVX2(t)
	default:
		t.channelsGeneric()
	}
}

func (t *tile) maximaLevel() {
	t.split(12)
	switch level {
	case avx512:
		maximaAVX512(t)
	case avx2:
		maximaAVX2(t)
	default:
		t.maximaGeneric()
	}
}

func tilesInLevel(dst, src []float32, tiles, c, row, tile, plane int) {
	switch level {
	case avx512:
		tilesInAVX512(&dst[0], &src[0], tiles, c, row, tile, plane)
	case avx2:
		tilesInAVX2(&dst[0], &src[0], tiles, c, row, tile, plane)
	default:
		tilesInGeneric(dst, src, tiles, c, row, tile, plane)
	}
}

func (o tilesOf) writeLevel(dst, m, bias []float32, tiles int, act Act) {
	low := float32(math.NaN())
	if act != Linear {
		low = 0
	}
	switch level {
	case avx512:
		tilesOutAVX512(&dst[0], &m[0], unsafe.SliceData(bias), tiles, o.channels, o.plane, o.row, o.pixel, o.down, o.across, low, high(act))
	case avx2:
		tilesOutAVX2(&dst[0], &m[0], unsafe.SliceData(bias), tiles, o.channels, o.plane, o.row, o.pixel, o.down, o.across, low, high(act))
	default:
		o.writeGeneric(dst, m, bias, tiles, act)
	}
}

func firstEqual(grad, d, image, max []float32, rows, cols, stride int) {
	c := len(max)
	if level == generic {
		firstEqualGeneric(grad, d, image, max, rows, cols, stride)
		return
	}
	reach(grad, 0, c, (rows-1)*stride, (cols-1)*c, 0)
	reach(image, 0, c, (rows-1)*stride, (cols-1)*c, 0)
	d = d[:c]
	if level == avx512 {
		firstEqualAVX512(&grad[0], &d[0], &image[0], &max[0], c, rows, cols, stride)
	} else {
		firstEqualAVX2(&grad[0], &d[0], &image[0], &max[0], c, rows, cols, stride)
	}
}

func addTo(d, x []float32) {
	x = x[:len(d)]
	switch {
	case len(d) == 0:
	case level == avx512:
		addToAVX512(&d[0], &x[0], len(d))
	case level == avx2:
		addToAVX2(&d[0], &x[0], len(d))
	default:
		addToGeneric(d, x)
	}
}

func add(d, a, b []float32) {
	switch {
	case len(d) == 0:
	case level == avx512:
		addAVX512(&d[0], &a[0], &b[0], len(d))
	case level == avx2:
		addAVX2(&d[0], &a[0], &b[0], len(d))
	default:
		addGeneric(d, a, b)
	}
}

func maxTo(d, x []float32) {
	x = x[:len(d)]
	switch {
	case len(d) == 0:
	case level == avx512:
		maxToAVX512(&d[0], &x[0], len(d))
	case level == avx2:
		maxToAVX2(&d[0], &x[0], len(d))
	default:
		maxToGeneric(d, x)
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
	case level == avx512:
		activateAVX512(&d[0], len(d), high(act))
	case level == avx2:
		activateAVX2(&d[0], len(d), high(act))
	default:
		activateGeneric(d, act)
	}
}

func actGrad(d, y []float32, act Act) {
	switch {
	case len(d) == 0:
	case level == avx512:
		actGradAVX512(&d[0], &y[0], len(d), high(act))
	case level == avx2:
		actGradAVX2(&d[0], &y[0], len(d), high(act))
	default:
		actGradGeneric(d, y, act)
	}
}
