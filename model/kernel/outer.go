package kernel

// outer is the loop under the gradients of weights: a matrix of m x cols values, each a sum over many pixels.
//
// sum computes, for i < m and j < cols,
//
//	c[c0+i*cs+j] (+)= sum over p < images, r < rows, k < run of
//	    a[a0 + i/height*at + i%height + p*aImage + r*aRow + k*aStep] * b[b0 + p*bImage + r*bRow + k*bStep + j]
//
// with p, r and k ascending from 0, added to the old value at the end if add is set. cols is at most two vectors, and b
// is read up to the next whole one. Rows of c come in tiles of height (at most tallest), whose values of a are neighbours,
// so that both factors are read from one end to the other when they are packed that way (copyRows).
//
// The assembly reads the fields by their offsets, taken from this struct by the generator's copy: keep both alike.
type outer struct {
	a, b, c             []float32
	a0, b0, c0          int
	at                  int
	aImage, aRow, aStep int
	bImage, bRow, bStep int
	cs                  int
	m, cols, height     int
	images, rows, run   int
	add                 int
	pairs               bool // of bfloat16: two products for each k
}

// tallest is how many rows a tile can have.
func tallest() int { return [...]int{generic: 6, avx2: 6, avx512: 12, neon: 6}[level] }

// outerWidth is how many columns a strip has.
func outerWidth() int { return 2 * lanes() }

// even cuts n into the fewest parts of at most the given size and says how large the largest of even parts is.
func even(n, most int) int {
	parts := (n + most - 1) / most
	return (n + parts - 1) / parts
}

func (t *outer) sum() {
	if t.m <= 0 || t.cols <= 0 {
		return
	}
	if t.images > 0 && t.rows > 0 && t.run > 0 {
		last := (t.m - 1) / t.height
		aw := last*t.at + t.m - last*t.height
		if last > 0 {
			aw = max(aw, (last-1)*t.at+t.height)
		}
		reach(t.a, t.a0, aw, (t.images-1)*t.aImage, (t.rows-1)*t.aRow, (t.run-1)*t.aStep)
		reach(t.b, t.b0, roundUp(t.cols, lanes()), (t.images-1)*t.bImage, (t.rows-1)*t.bRow, (t.run-1)*t.bStep)
	}
	reach(t.c, t.c0, t.cols, (t.m-1)*t.cs, 0, 0)
	if t.pairs {
		t.sumPairsLevel()
	} else {
		t.sumLevel()
	}
}

// sumGeneric is sum in Go.
func (t *outer) sumGeneric() {
	for i := range t.m {
		a := t.a0 + i/t.height*t.at + i%t.height
		for j := 0; j < t.cols; j += 4 {
			var v [4]float32
			for p := range t.images {
				for r := range t.rows {
					x, y := a+p*t.aImage+r*t.aRow, t.b0+j+p*t.bImage+r*t.bRow
					for range t.run {
						f, w := t.a[x], t.b[y:y+4:y+4]
						v[0] += float32(f * w[0])
						v[1] += float32(f * w[1])
						v[2] += float32(f * w[2])
						v[3] += float32(f * w[3])
						x += t.aStep
						y += t.bStep
					}
				}
			}
			c := t.c[t.c0+i*t.cs+j:][:min(4, t.cols-j)]
			for k := range c {
				if t.add != 0 {
					v[k] += c[k]
				}
				c[k] = v[k]
			}
		}
	}
}

// sumTiles is sum by tile.product, for processors without an assembly of its own.
func (t *outer) sumTiles() {
	p := tile{a: t.a, b: t.b, c: t.c, as: 1, ar: t.aRow, ak: t.aStep, br: t.bRow, bk: t.bStep, cs: t.cs, cols: t.cols,
		runs: t.rows, run: t.run, add: t.add, padded: 1}
	for i := 0; i < max(t.images, 1); i++ {
		if t.images == 0 {
			p.runs = 0
		}
		for r := 0; r < t.m; r += t.height {
			p.m = min(t.height, t.m-r)
			p.a0, p.b0, p.c0 = t.a0+r/t.height*t.at+i*t.aImage, t.b0+i*t.bImage, t.c0+r*t.cs
			p.product()
		}
		p.add = 1
	}
}

// copyRowsGeneric copies rows of cols values, ds and ss values apart. With pad, zeros follow in dst up to a whole vector.
func copyRowsGeneric(dst, src []float32, rows, cols, ds, ss int, pad bool) {
	whole := cols
	if pad {
		whole = roundUp(cols, lanes())
	}
	for r := range rows {
		d := dst[r*ds:][:whole]
		copy(d, src[r*ss:][:cols])
		clear(d[cols:])
	}
}

func copyRows(dst, src []float32, rows, cols, ds, ss int, pad bool) {
	if rows <= 0 || cols <= 0 {
		return
	}
	whole := cols
	if pad {
		whole = roundUp(cols, lanes())
	}
	reach(dst, 0, whole, (rows-1)*ds, 0, 0)
	reach(src, 0, cols, (rows-1)*ss, 0, 0)
	copyRowsLevel(dst, src, rows, cols, ds, ss, pad)
}

// gradRowsGeneric goes through rows of cols gradients d, stride values apart: where y, the activation's outputs, say that
// it was flat (see ActGrad) they become 0, and what is left is added to sum, row by row into a sum that starts from 0.
func gradRowsGeneric(d, y, sum []float32, rows, cols, stride int, act Act) {
	for j := range cols {
		v := float32(0)
		for r := range rows {
			i := r*stride + j
			if act != Linear && (y[i] <= 0 || act == ReLU6 && y[i] >= 6) {
				d[i] = 0
			}
			v += d[i]
		}
		sum[j] += v
	}
}

func gradRows(d, y, sum []float32, rows, cols, stride int, act Act) {
	if rows <= 0 || cols <= 0 {
		return
	}
	reach(d, 0, cols, (rows-1)*stride, 0, 0)
	if act != Linear {
		reach(y, 0, cols, (rows-1)*stride, 0, 0)
	}
	gradRowsLevel(d, y, sum[:cols], rows, cols, stride, act)
}
