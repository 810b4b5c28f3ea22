//go:build !noasm

package kernel

import "golang.org/x/sys/cpu"

//go:generate go run -C _gen ./int8 -out ../int8_amd64.s

// The loops of int8tile.go, int8depthwise.go and int8vector.go in assembly. They read and write what their Go twins do.

//go:noescape
func productInt8AVX2(t *tileInt8)

//go:noescape
func productInt8VNNI(t *tileInt8)

//go:noescape
func channelsInt8AVX2(t *tileInt8)

//go:noescape
func channelsInt8VNNI(t *tileInt8)

//go:noescape
func interleaveAVX2(dst, r0, r1, r2, r3 *uint8, pixels, channels, pitch int)

//go:noescape
func interleaveVNNI(dst, r0, r1, r2, r3 *uint8, pixels, channels, pitch int)

//go:noescape
func maxWindowsAVX2(dst, src *uint8, m, c, rows, cols, step, pitch int)

//go:noescape
func maxWindowsVNNI(dst, src *uint8, m, c, rows, cols, step, pitch int)

//go:noescape
func averageVNNI(dst, src *uint8, c, pixels int, bias int32, scale, high float32, zero int32)

//go:noescape
func addInt8AVX2(d, a, b *uint8, n int, scaleA, scaleB float32, zeroA, zeroB int32, high float32, zero, low int32)

//go:noescape
func addInt8VNNI(d, a, b *uint8, n int, scaleA, scaleB float32, zeroA, zeroB int32, high float32, zero, low int32)

//go:noescape
func quantizeAVX2(d *uint8, x *float32, n int, inverse, high float32, zero, low int32)

//go:noescape
func quantizeVNNI(d *uint8, x *float32, n int, inverse, high float32, zero, low int32)

// vnni says whether the level avx512 has the instruction for products of bytes; without it, int8 runs on AVX2.
var vnni = cpu.X86.HasAVX512VNNI && cpu.X86.HasBMI2

func levelInt8() int {
	if level == avx512 && !vnni {
		return avx2
	}
	return level
}

// featuresInt8 is what Features adds.
func featuresInt8() string {
	if level == avx512 && vnni {
		return "+vnni"
	}
	return ""
}

func (t *tileInt8) product() {
	t.check(4)
	switch levelInt8() {
	case avx512:
		t.split(12)
		productInt8VNNI(t)
	case avx2:
		for i := range 2 {
			if u := t.half(i, 0); u.cols > 0 {
				productInt8AVX2(&u)
			}
		}
	default:
		t.productGeneric()
	}
}

// channels loses t.
func (t *tileInt8) channels() {
	t.checkChannels()
	l := levelInt8()
	if l == avx512 {
		t.split(12)
		channelsInt8VNNI(t)
		return
	}
	for n := t.strips; n > 0; n-- {
		if l == generic {
			t.channelsGeneric()
		} else {
			for i := range 2 {
				if u := t.half(i, 2*stripInt8); u.cols > 0 {
					channelsInt8AVX2(&u)
				}
			}
		}
		if n > 1 {
			t.move(1)
		}
	}
}

// half is columns 0 to 15 or 16 to 31 of a strip, as AVX2 has room for. a lies aw bytes farther for the second half.
func (t *tileInt8) half(i, aw int) tileInt8 {
	const half = stripInt8 / 2
	u := *t
	u.split(4)
	u.cols = min(max(t.cols-i*half, 0), half)
	if i > 0 && u.cols > 0 {
		u.a0, u.b0, u.c0 = t.a0+aw, t.b0+4*half, t.c0+half
		u.bias, u.scale = t.bias[half:], t.scale[half:]
	}
	return u
}

func interleave(dst []uint8, rows [4][]uint8, pixels, channels, pitch int) {
	l := levelInt8()
	if l == generic || pixels == 0 {
		interleaveGeneric(dst, rows, pixels, channels, pitch)
		return
	}
	reachIn(dst, 0, pixels*channels*4, 0, 0, 0)
	for _, r := range rows {
		reachIn(r, 0, roundUp(channels, 16), (pixels-1)*pitch, 0, 0)
	}
	if l == avx512 {
		interleaveVNNI(&dst[0], &rows[0][0], &rows[1][0], &rows[2][0], &rows[3][0], pixels, channels, pitch)
	} else {
		interleaveAVX2(&dst[0], &rows[0][0], &rows[1][0], &rows[2][0], &rows[3][0], pixels, channels, pitch)
	}
}

func maxWindows(dst, src []uint8, m, c, rows, cols, step, pitch int) {
	l := levelInt8()
	if l == generic || l == avx2 && c < 32 {
		maxWindowsGeneric(dst, src, m, c, rows, cols, step, pitch)
		return
	}
	reachIn(dst, 0, m*c, 0, 0, 0)
	reachIn(src, 0, c, (m-1)*step, (rows-1)*pitch, (cols-1)*c)
	if l == avx512 {
		maxWindowsVNNI(&dst[0], &src[0], m, c, rows, cols, step, pitch)
	} else {
		maxWindowsAVX2(&dst[0], &src[0], m, c, rows, cols, step, pitch)
	}
}

// average has no twin for AVX2: a global pool is next to nothing.
func average(dst, src []uint8, pixels int, bias int32, scale float32, zero uint8) {
	if levelInt8() != avx512 {
		averageGeneric(dst, src, pixels, bias, scale, zero)
		return
	}
	reachIn(src, 0, pixels*len(dst), 0, 0, 0)
	averageVNNI(&dst[0], &src[0], len(dst), pixels, bias, scale, float32(255-int(zero)), int32(zero))
}

// whole is how many of n values the assembly takes. The rest is left to Go.
func whole(l, n int) int {
	switch l {
	case avx512:
		return n
	case avx2:
		return n &^ 7
	}
	return 0
}

func addInt8(dst, a, b []uint8, p *AddQuant) {
	l := levelInt8()
	n := whole(l, len(dst))
	high := float32(int(p.High) - int(p.Zero))
	switch {
	case n == 0:
	case l == avx512:
		addInt8VNNI(&dst[0], &a[0], &b[0], n, p.ScaleA, p.ScaleB, int32(p.ZeroA), int32(p.ZeroB), high, int32(p.Zero), int32(p.Low))
	default:
		addInt8AVX2(&dst[0], &a[0], &b[0], n, p.ScaleA, p.ScaleB, int32(p.ZeroA), int32(p.ZeroB), high, int32(p.Zero), int32(p.Low))
	}
	addInt8Generic(dst[n:], a[n:], b[n:], p)
}

func quantize(dst []uint8, src []float32, inverse float32, zero uint8) {
	l := levelInt8()
	n := whole(l, len(dst))
	high := float32(255 - int(zero))
	switch {
	case n == 0:
	case l == avx512:
		quantizeVNNI(&dst[0], &src[0], n, inverse, high, int32(zero), 0)
	default:
		quantizeAVX2(&dst[0], &src[0], n, inverse, high, int32(zero), 0)
	}
	quantizeGeneric(dst[n:], src[n:], inverse, zero)
}
