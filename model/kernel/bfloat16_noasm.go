//go:build !amd64 || noasm

package kernel

// HasBFloat16 reports whether the processor multiplies in bfloat16. Where it does not, Go does, many times slower than it
// multiplies in float32.
func HasBFloat16() bool { return false }

func (t *tile) productPairsLevel() { t.productPairsGeneric() }
func (t *outer) sumPairsLevel()    { t.sumPairsGeneric() }

func pairNeighboursLevel(dst, src []float32) { pairNeighboursGeneric(dst, src) }
func pairRowsLevel(dst, low, high []float32) { pairRowsGeneric(dst, low, high) }
