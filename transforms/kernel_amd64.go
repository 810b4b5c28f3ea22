//go:build !noasm

package transforms

import "github.com/logobeam/logobeam/model/kernel"

//go:generate go run -C _gen . -out ../kernel_amd64.s

// level is what runs, as package kernel has chosen it. Tests lower it; nothing else writes it.
var level = kernel.Level()

//go:noescape
func columnsAVX2(row *int16, src *uint8, stride, n int, weights *int16, width int)

//go:noescape
func columnsAVX512(row *int16, src *uint8, stride, n int, weights *int16, width int)

//go:noescape
func alongAVX2(out, row *int16, starts *int32, pieces *int16, blocks, pairs int)

//go:noescape
func alongAVX512(out, row *int16, bases *int32, places *uint16, pieces *int16, blocks, pairs int)

//go:noescape
func fromRGBAVX2(rgb *uint8, c0, c1, c2 *int16, n int)

//go:noescape
func fromYCbCrAVX2(rgb *uint8, c0, c1, c2 *int16, n int)

//go:noescape
func normaliseAVX2(dst *float32, src *uint8, s *float32, groups int)

//go:noescape
func normaliseAVX512(dst *float32, src *uint8, s *float32, groups int)

func columns(row []int16, src []uint8, stride, n int, weights []int16) {
	if level == "generic" || len(row) < 16 {
		columnsGeneric(row, src, stride, n, weights)
		return
	}
	_, _ = src[(n-1)*stride+len(row)-1], weights[(n+1)&^1-1]
	if level == "avx512" && len(row) >= 32 {
		columnsAVX512(&row[0], &src[0], stride, n, &weights[0], len(row))
	} else {
		columnsAVX2(&row[0], &src[0], stride, n, &weights[0], len(row))
	}
}

func along(out, row []int16, t *taps) {
	if level == "generic" {
		alongGeneric(out, row, t)
		return
	}
	_, _ = out[len(t.bases)*block-1], row[:t.width()+overrun]
	if level == "avx512" && t.near {
		alongAVX512(&out[0], &row[0], &t.bases[0], &t.places[0], &t.pieces[0], len(t.bases), t.pairs)
	} else {
		alongAVX2(&out[0], &row[0], &t.starts[0], &t.pieces[0], len(t.bases), t.pairs)
	}
}

func fromRGB(rgb []uint8, r, g, b []int16) {
	if level == "generic" {
		fromRGBGeneric(rgb, r, g, b)
		return
	}
	fromRGBAVX2(&rgb[0], &r[0], &g[0], &b[0], len(r))
}

func fromYCbCr(rgb []uint8, y, cb, cr []int16) {
	if level == "generic" {
		fromYCbCrGeneric(rgb, y, cb, cr)
		return
	}
	fromYCbCrAVX2(&rgb[0], &y[0], &cb[0], &cr[0], len(y))
}

func normalise(dst []float32, src []uint8, s *normal) {
	done := 0
	switch {
	case level == "avx512" && len(src) >= 48:
		done = len(src) / 48 * 48
		_ = dst[done-1]
		normaliseAVX512(&dst[0], &src[0], &s.mean[0], done/48)
	case level != "generic" && len(src) >= 24:
		done = len(src) / 24 * 24
		_ = dst[done-1]
		normaliseAVX2(&dst[0], &src[0], &s.mean[0], done/24)
	}
	normaliseGeneric(dst[done:], src[done:], s)
}
