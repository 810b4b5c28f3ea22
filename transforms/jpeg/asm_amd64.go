//go:build !noasm

package jpeg

import (
	"os"

	"golang.org/x/sys/cpu"
)

//go:generate go run -C _gen . -out ../jpeg_amd64.s

// useAVX2 tells whether the assembly runs; of LOGOBEAM_KERNEL's wishes generic alone is against it. Tests switch it off;
// nothing else writes it.
var useAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasBMI2 && os.Getenv("LOGOBEAM_KERNEL") != "generic"

//go:noescape
func idct8x8AVX2(dst *byte, stride int, block, quant *[64]int16)

//go:noescape
func idct8x4AVX2(dst *byte, stride int, block, quant *[64]int16)

//go:noescape
func idct4x8AVX2(dst *byte, stride int, block, quant *[64]int16)

//go:noescape
func idct4x4AVX2(dst *byte, stride int, block, quant *[64]int16)

//go:noescape
func idct4x2AVX2(dst *byte, stride int, block, quant *[64]int16)

//go:noescape
func idct2x4AVX2(dst *byte, stride int, block, quant *[64]int16)

//go:noescape
func idct2x2AVX2(dst *byte, stride int, block, quant *[64]int16)

// idct is idctGeneric.
func idct(dst []byte, stride int, block, quant *[64]int16, nx, ny int) {
	if !useAVX2 {
		idctGeneric(dst, stride, block, quant, nx, ny)
		return
	}
	_ = dst[(ny-1)*stride+nx-1]
	switch nx<<4 | ny {
	case 0x88:
		idct8x8AVX2(&dst[0], stride, block, quant)
	case 0x44:
		idct4x4AVX2(&dst[0], stride, block, quant)
	case 0x22:
		idct2x2AVX2(&dst[0], stride, block, quant)
	case 0x84:
		idct8x4AVX2(&dst[0], stride, block, quant)
	case 0x48:
		idct4x8AVX2(&dst[0], stride, block, quant)
	case 0x42:
		idct4x2AVX2(&dst[0], stride, block, quant)
	case 0x24:
		idct2x4AVX2(&dst[0], stride, block, quant)
	case 0x11:
		flat(dst, stride, block[0], quant[0], 1, 1)
	default:
		idctGeneric(dst, stride, block, quant, nx, ny)
	}
}

//go:noescape
func blockBMI2(r *reader, b *[64]int16, dc *[1 << lookup]uint32, ac *pairs, order *[256]uint8, previous *int32) int

// order is zigzag, with the place of the DC coefficient for all that lies beyond a block.
var order = func() (o [256]uint8) {
	copy(o[:], zigzag[:])
	return o
}()

// coefficients is coefficientsGeneric.
func (r *reader) coefficients(b *[64]int16, dc, ac *table, previous *int32) int {
	if useAVX2 {
		if last := blockBMI2(r, b, &dc.fast, ac.pairs, &order, previous); last >= 0 {
			return last
		}
	}
	return r.coefficientsGeneric(b, dc, ac, previous)
}

// prepare makes what coefficients needs of a table of AC codes.
func (t *table) prepare() {
	if useAVX2 {
		t.pair()
	}
}
