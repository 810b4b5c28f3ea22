//go:build !amd64 || noasm

package kernel

func featuresInt8() string { return "" }

func (t *tileInt8) product() {
	t.check(4)
	t.productGeneric()
}

func (t *tileInt8) channels() {
	t.checkChannels()
	for range t.strips - 1 {
		t.channelsGeneric()
		t.move(1)
	}
	t.channelsGeneric()
}

func interleave(dst []uint8, rows [4][]uint8, pixels, channels, pitch int) {
	interleaveGeneric(dst, rows, pixels, channels, pitch)
}

func maxWindows(dst, src []uint8, m, c, rows, cols, step, pitch int) {
	maxWindowsGeneric(dst, src, m, c, rows, cols, step, pitch)
}

func average(dst, src []uint8, pixels int, bias int32, scale float32, zero uint8) {
	averageGeneric(dst, src, pixels, bias, scale, zero)
}

func addInt8(dst, a, b []uint8, p *AddQuant) { addInt8Generic(dst, a, b, p) }

func quantize(dst []uint8, src []float32, inverse float32, zero uint8) {
	quantizeGeneric(dst, src, inverse, zero)
}
