package kernel

import "unsafe"

// Packed holds a layer's weights as the forward kernels read them. It is immutable and can be shared by goroutines.
type Packed struct {
	conv  panels
	shape Shape     // of conv
	place int       // by winograd: values of conv that belong to one place of a tile, else 0
	w     []float32 // dense: as given
	in    int
	out   int
	// bfloat16 says that dense weights become pairs when they are multiplied.
	bfloat16 bool
	// Of PackConvGrad: the convolution, and its weights turned for backwards, if that is how it is done.
	grad   *Shape
	turned []float32
	// Of shapes that are paired: memory for the weights as pairs.
	paired []float32
}

// panels are a matrix of k rows cut into strips of columns: [n/width][k][width], each strip padded with zeros to whole
// registers. Only the last strip can be narrower than width, which is such that it is not much narrower.
type panels struct {
	data     []float32
	k, n     int
	width    int
	register int
	pairs    bool // rows are pairs of bfloat16
}

func panelsSize(k, n int) int { return k * roundUp(n, lanes()) }

func newPanels(data []float32, k, n int) panels {
	vectors := (n + lanes() - 1) / lanes()
	strips := (vectors + widest() - 1) / widest()
	return panels{data[:panelsSize(k, n)], k, n, (vectors + strips - 1) / strips * lanes(), lanes(), false}
}

// forRows chooses the width of the strips for products of m rows, where that makes a difference.
func (p panels) forRows(m int) panels {
	vectors := (p.n + lanes() - 1) / lanes()
	least := 0
	for nv := widest(); nv > 1; nv-- {
		cost := vectors / nv * productCost(m, nv)
		if vectors%nv > 0 {
			cost += productCost(m, vectors%nv)
		}
		if least == 0 || cost < least {
			least, p.width = cost, nv*lanes()
		}
	}
	return p
}

// productCost says about how long a step along k takes for m rows of nv vectors: a sum each, a load for each row, and
// for each vector one from the second cache.
func productCost(m, nv int) int {
	most := mostRows(nv)
	pieces := (m + most - 1) / most
	return m*nv + m + pieces*(2*nv+1)
}

// strip is where the strip from column j begins, how many columns it has, and how far apart its rows are.
func (p panels) strip(j int) (at, cols, stride int) {
	cols = min(p.n-j, p.width)
	return j * p.k, cols, roundUp(cols, p.register)
}

// share is how many of the next k rows of a strip to read at a time so that they stay in the cache: an even part.
func (p panels) share(k int) int {
	parts := (k*p.width + l2Weights - 1) / l2Weights
	return (k + max(parts, 1) - 1) / max(parts, 1)
}

func roundUp(n, m int) int { return (n + m - 1) / m * m }

// aligned gives n values that begin at the border of a cache line: loads of vectors that cross one take twice as long.
// It needs a slice of n+lineValues.
func aligned(s []float32, n int) []float32 {
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(s))) % 64 / 4)
	return s[off : off+n : off+n]
}

const lineValues = 16

// PackConv packs the weights [OutC][Kernel][Kernel][C] of a convolution.
func PackConv(w []float32, s Shape) *Packed {
	p := &Packed{shape: s, in: s.Kernel * s.run(), out: s.OutC}
	if s.winograd() {
		k := s.winogradRun()
		if s.paired() {
			k = paired(k)
		}
		p.place = panelsSize(k, s.OutC)
		n := places * p.place
		data := aligned(make([]float32, n+lineValues), n)
		p.conv = newPanels(data, k, s.OutC).forRows(s.winogradTiles())
		p.conv.data = data
	} else {
		rows := s.OutW
		if s.flat() {
			rows *= s.OutH
		}
		k := p.in
		if s.paired() {
			k = s.Kernel * s.pairedRun()
			p.paired = make([]float32, s.OutC*k)
		}
		n := panelsSize(k, s.OutC)
		p.conv = newPanels(aligned(make([]float32, n+lineValues), n), k, s.OutC).forRows(rows)
	}
	p.conv.pairs = s.paired()
	p.Repack(w)
	return p
}

// PackDense packs the weights [out][in] of a dense layer. It keeps w itself, which must not change while the result is
// used.
func PackDense(w []float32, out, in int) *Packed {
	return &Packed{w: w[:out*in], in: in, out: out}
}

// PackDenseBFloat16 is PackDense for products of values rounded to bfloat16, of rows that PackRowsBFloat16 packs.
func PackDenseBFloat16(w []float32, out, in int) *Packed {
	p := PackDense(w, out, in)
	p.bfloat16 = true
	return p
}

// Repack replaces the weights by others of the same shape, without allocating. Nobody may be using p meanwhile.
func (p *Packed) Repack(w []float32) {
	if p.grad != nil {
		p.repackGrad(w)
		return
	}
	p.repack(w)
}

func (p *Packed) repack(w []float32) {
	switch {
	case p.w != nil:
		p.w = w[:p.out*p.in]
	case p.place > 0:
		p.packWinograd(w[:p.out*p.in])
	case p.paired != nil:
		run, pairs := p.shape.run(), p.shape.pairedRun()
		for r := range p.out * p.shape.Kernel {
			pairNeighbours(p.paired[r*pairs:][:pairs], w[r*run:][:run])
		}
		p.conv.transpose(p.paired)
	default:
		p.conv.transpose(w[:p.out*p.in])
	}
}

// transpose fills the panels with the transpose of w, [n][k]. The padding stays as it is.
func (p panels) transpose(w []float32) { p.transposePart(w, 0, p.k) }

// transposePart does so for the rows from..to-1 of k alone.
func (p panels) transposePart(w []float32, from, to int) {
	for j := 0; j < p.n; j += p.width {
		at, cols, stride := p.strip(j)
		strip := p.data[at:]
		const block = 64 // rows of k at a time, so that what is written stays in the first cache
		for k0 := from; k0 < to; k0 += block {
			k1 := min(k0+block, to)
			for c := range cols {
				i := k0*stride + c
				for _, v := range w[(j+c)*p.k+k0 : (j+c)*p.k+k1] {
					strip[i] = v
					i += stride
				}
			}
		}
	}
}

// transposePairs fills the panels of pairs with those of neighbours from..to-1 in the rows of w, [n][in].
func (p panels) transposePairs(w []float32, in, from, to int) {
	const block = 64
	var pairs [block / 2]float32
	for j := 0; j < p.n; j += p.width {
		at, cols, stride := p.strip(j)
		strip := p.data[at:]
		for k := from; k < to; k += block {
			values := min(block, to-k)
			for c := range cols {
				pairNeighbours(pairs[:], w[(j+c)*in+k:][:values])
				i := k/2*stride + c
				for _, v := range pairs[:paired(values)] {
					strip[i] = v
					i += stride
				}
			}
		}
	}
}
