//go:build !noasm

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// The loops of bfloat16.go in assembly.

//go:noescape
func productBF16(t *tile)

//go:noescape
func outerSumBF16(t *outer)

//go:noescape
func pairNeighboursBF16(dst, src *float32, n int)

//go:noescape
func pairRowsBF16(dst, low, high *float32, n int, lows, highs uint16)

// dotBF16 says whether the processor multiplies pairs of bfloat16.
var dotBF16 = cpu.X86.HasAVX512BF16

// HasBFloat16 reports whether the processor multiplies in bfloat16. Where it does not, Go does, many times slower than it
// multiplies in float32.
func HasBFloat16() bool { return level == avx512 && dotBF16 }

func (t *tile) productPairsLevel() {
	if !HasBFloat16() {
		t.productPairsGeneric()
		return
	}
	n, cols := lanes(), t.cols
	if whole := t.cols / n * n; t.cols > 2*n && t.cols > whole && t.padded == 0 {
		// As in productLevel.
		rest := *t
		rest.b0, rest.c0, rest.cols = t.b0+whole, t.c0+whole, t.cols-whole
		if t.bias != nil {
			rest.bias = t.bias[whole:]
		}
		rest.productPairsLevel()
		t.cols = whole
	}
	t.split(mostRows((t.cols + n - 1) / n))
	productBF16(t)
	t.cols = cols
}

func (t *outer) sumPairsLevel() {
	if HasBFloat16() {
		outerSumBF16(t)
	} else {
		t.sumPairsGeneric()
	}
}

func pairNeighboursLevel(dst, src []float32) {
	if HasBFloat16() {
		pairNeighboursBF16(&dst[0], &src[0], len(src))
	} else {
		pairNeighboursGeneric(dst, src)
	}
}

func pairRowsLevel(dst, low, high []float32) {
	if !HasBFloat16() {
		pairRowsGeneric(dst, low, high)
		return
	}
	lows, highs := uint16(0xffff), uint16(0xffff)
	if low == nil {
		low, lows = high, 0
	}
	if high == nil {
		high, highs = low, 0
	}
	pairRowsBF16(&dst[0], unsafe.SliceData(low), unsafe.SliceData(high), len(dst), lows, highs)
}
