//go:build (!amd64 && !arm64) || noasm

package kernel

func detect() int { return generic }

func tilesInLevel(dst, src []float32, tiles, c, row, tile, plane int) {
	tilesInGeneric(dst, src, tiles, c, row, tile, plane)
}

func (o tilesOf) writeLevel(dst, m, bias []float32, tiles int, act Act) {
	o.writeGeneric(dst, m, bias, tiles, act)
}

func (t *tile) productLevel()  { t.productGeneric() }
func (t *tile) channelsLevel() { t.channelsGeneric() }
func (t *tile) maximaLevel()   { t.maximaGeneric() }

func firstEqual(grad, d, image, max []float32, rows, cols, stride int) {
	firstEqualGeneric(grad, d, image, max, rows, cols, stride)
}

func addTo(d, x []float32)            { addToGeneric(d, x) }
func add(d, a, b []float32)           { addGeneric(d, a, b) }
func maxTo(d, x []float32)            { maxToGeneric(d, x) }
func activate(d []float32, act Act)   { activateGeneric(d, act) }
func actGrad(d, y []float32, act Act) { actGradGeneric(d, y, act) }
