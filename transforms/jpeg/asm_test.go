//go:build amd64 && !noasm

package jpeg

import (
	"math/rand/v2"
	"testing"
)

// withoutAssembly decodes by the generic twins.
func withoutAssembly(decode func() (Result, error)) outcome {
	defer func(was bool) { useAVX2 = was }(useAVX2)
	useAVX2 = false
	r, err := decode()
	return outcome{r, err}
}

// Transforms of all sizes, of numbers that photographs have and of those that only broken files have.
func TestTransformsLikeGeneric(t *testing.T) {
	if !useAVX2 {
		t.Skip("no AVX2, or not wanted")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{1, 2, 4, 8}
	for round := range 3000 {
		var block, quant [64]int16
		for i := range quant {
			quant[i] = int16(1 + rng.IntN(60))
		}
		for range rng.IntN(64) {
			block[rng.IntN(64)] = int16(rng.IntN(41) - 20)
		}
		if round%3 == 0 { // anything
			for i := range block {
				block[i], quant[i] = int16(rng.Uint32()), int16(rng.Uint32())
				if round%2 == 0 {
					block[i], quant[i] = []int16{-32768, 32767}[rng.IntN(2)], 1
				}
			}
		}
		for _, nx := range sizes {
			for _, ny := range sizes {
				stride := nx + rng.IntN(9)
				n := stride*(ny-1) + nx
				got, want := make([]byte, n+16), make([]byte, n+16)
				idct(got[:n], stride, &block, &quant, nx, ny)
				idctGeneric(want[:n], stride, &block, &quant, nx, ny)
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("%d x %d, stride %d: byte %d is %d, in Go %d", nx, ny, stride, i, got[i], want[i])
					}
				}
			}
		}
	}
}
