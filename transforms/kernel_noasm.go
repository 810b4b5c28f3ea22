//go:build !amd64 || noasm

package transforms

// level is what runs.
var level = "generic"

func columns(row []int16, src []uint8, stride, n int, weights []int16) {
	columnsGeneric(row, src, stride, n, weights)
}

func along(out, row []int16, t *taps)                 { alongGeneric(out, row, t) }
func fromRGB(rgb []uint8, r, g, b []int16)            { fromRGBGeneric(rgb, r, g, b) }
func fromYCbCr(rgb []uint8, y, cb, cr []int16)        { fromYCbCrGeneric(rgb, y, cb, cr) }
func normalise(dst []float32, src []uint8, s *normal) { normaliseGeneric(dst, src, s) }
