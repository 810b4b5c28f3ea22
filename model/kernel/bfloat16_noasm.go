//go:build !amd64 || noasm

package kernel

func hasBFloat16() bool { return false }

func (t *tile) productPairsLevel() { t.productPairsGeneric() }
func (t *outer) sumPairsLevel()    { t.sumPairsGeneric() }

func pairNeighboursLevel(dst, src []float32) { pairNeighboursGeneric(dst, src) }
func pairRowsLevel(dst, low, high []float32) { pairRowsGeneric(dst, low, high) }
