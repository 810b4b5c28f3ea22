//go:build !amd64 || noasm

package jpeg

// idct is idctGeneric where there is no assembly.
func idct(dst []byte, stride int, block, quant *[64]int16, nx, ny int) {
	idctGeneric(dst, stride, block, quant, nx, ny)
}

func (r *reader) coefficients(b *[64]int16, dc, ac *table, previous *int32) int {
	return r.coefficientsGeneric(b, dc, ac, previous)
}

func (t *table) prepare() {}
