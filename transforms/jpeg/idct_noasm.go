package jpeg

func idct(dst []byte, stride int, block, quant *[64]int16, nx, ny int) {
	idctGeneric(dst, stride, block, quant, nx, ny)
}
