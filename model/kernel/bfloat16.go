package kernel

import "math"

// Convolutions and dense layers can multiply in bfloat16 (Shape.BFloat16): both factors of each product are rounded to the
// nearest bfloat16, even ones among equals, and the products, which are exact in float32, are summed in float32. That is
// what mixed precision means elsewhere (Micikevicius et al., Mixed Precision Training, 2018; Kalamkar et al., A Study of
// BFLOAT16 for Deep Learning Training, 2019). What goes in and what comes out is float32.
//
// The processor's instruction (VDPBF16PS of AVX512_BF16) multiplies pairs: a lane of 32 bits holds two factors, and adds
// two products. So the loops and the layouts of float32 serve as they are, with half as many values, each of them a pair:
// of neighbouring channels where a sum runs over channels, of pixels where it runs over pixels. Pairs are made where
// values are copied anyway. Without that instruction all this works in Go, many times slower than float32: for tests, and
// for going on with what another machine began.

// pair puts two values, rounded to bfloat16, into one: the first in the lower half.
func pair(low, high float32) float32 {
	return math.Float32frombits(bfloat16(low)>>16 | bfloat16(high))
}

// bfloat16 rounds a value: the bits of the float32 nearest to it whose lower half is 0. Values below the least normal one
// become 0, as the processor has it.
func bfloat16(v float32) uint32 {
	b := math.Float32bits(v)
	switch exponent := b >> 23 & 0xff; {
	case exponent == 0:
		return b & 0x80000000
	case exponent == 0xff && b<<9 != 0:
		return b&0xffff0000 | 0x00400000 // NaN stays NaN
	}
	return (b + 0x7fff + b>>16&1) & 0xffff0000
}

// halves are the two values of a pair.
func halves(p float32) (low, high float32) {
	b := math.Float32bits(p)
	return math.Float32frombits(b << 16), math.Float32frombits(b & 0xffff0000)
}

// addPair adds the products of two pairs to sum, one after the other.
func addPair(sum, x, y float32) float32 {
	x0, x1 := halves(x)
	y0, y1 := halves(y)
	sum += float32(x1 * y1)
	return sum + float32(x0*y0)
}

// paired is how many pairs n values make.
func paired(n int) int { return (n + 1) / 2 }

// pairNeighbours makes pairs of neighbours. To an odd last value 0 is added. dst may begin where src does.
func pairNeighbours(dst, src []float32) {
	dst = dst[:paired(len(src))]
	if len(src) > 0 {
		pairNeighboursLevel(dst, src)
	}
}

func pairNeighboursGeneric(dst, src []float32) {
	for i := range len(src) / 2 {
		dst[i] = pair(src[2*i], src[2*i+1])
	}
	if n := len(src); n%2 > 0 {
		dst[n/2] = pair(src[n-1], 0)
	}
}

// pairRows makes pairs of the values of two rows. A row that is nil is zeros. dst may be one of them.
func pairRows(dst, low, high []float32) {
	if low != nil {
		low = low[:len(dst)]
	}
	if high != nil {
		high = high[:len(dst)]
	}
	switch {
	case low == nil && high == nil:
		clear(dst)
	case len(dst) > 0:
		pairRowsLevel(dst, low, high)
	}
}

func pairRowsGeneric(dst, low, high []float32) {
	for i := range dst {
		var a, b float32
		if low != nil {
			a = low[i]
		}
		if high != nil {
			b = high[i]
		}
		dst[i] = pair(a, b)
	}
}

// pairHalves makes pairs of the rows of the upper half and of the lower half of src[rows][width]. If rows are odd, the last
// of the upper half, which is the larger one, are paired with zeros. dst may begin where src does.
func pairHalves(dst, src []float32, rows, width int) {
	upper, both := paired(rows)*width, rows/2*width
	pairRows(dst[:both], src[:both], src[upper:][:both])
	pairRows(dst[both:upper], src[both:upper], nil)
}

func (t *tile) productPairsGeneric() {
	for i := range t.m {
		for j := range t.cols {
			v := t.start(i, j)
			for r := range t.runs {
				a, b := t.a0+i*t.as+r*t.ar, t.b0+r*t.br+j
				for range t.run {
					v = addPair(v, t.a[a], t.b[b])
					a += t.ak
					b += t.bk
				}
			}
			t.store(i, j, v)
		}
	}
}

func (t *outer) sumPairsGeneric() {
	for i := range t.m {
		a := t.a0 + i/t.height*t.at + i%t.height
		for j := range t.cols {
			v := float32(0)
			for p := range t.images {
				for r := range t.rows {
					x, y := a+p*t.aImage+r*t.aRow, t.b0+j+p*t.bImage+r*t.bRow
					for range t.run {
						v = addPair(v, t.a[x], t.b[y])
						x += t.aStep
						y += t.bStep
					}
				}
			}
			c := &t.c[t.c0+i*t.cs+j]
			if t.add != 0 {
				v += *c
			}
			*c = v
		}
	}
}

// paired reports whether Conv makes pairs: of the values of a window's row, which must begin at an even one in every window.
func (s Shape) paired() bool { return s.BFloat16 && s.Stride*s.C%2 == 0 }

// pairedRun is how many pairs a row of a window is.
func (s Shape) pairedRun() int { return paired(s.run()) }

// pairedWidth is the pixels of a padded row, one more than needed where they would else be no whole number of pairs.
func (s Shape) pairedWidth() int {
	_, w := s.padded()
	return w + w*s.C%2
}

// pairedPixels is how many pixels of a flat layer are paired and multiplied together.
func (s Shape) pairedPixels() int { return max(l2/(s.C/2), 48) }

func pairedScratch(s Shape) int {
	if s.flat() {
		return s.pairedPixels()*s.C/2 + lineValues
	}
	h, _ := s.padded()
	w := s.pairedWidth()
	if s.C%2 == 0 {
		return borderSize(h, w, s.C/2)
	}
	return borderSize(h, w, s.C) + together(h, w, s.C)*h*w*s.C/2 + lineValues
}

// convPaired is Conv for shapes of paired.
func convPaired(dst, src []float32, n int, w *Packed, bias []float32, s Shape, act Act, scratch []float32) {
	if s.flat() {
		c, block := s.C/2, s.pairedPixels()
		pairs := aligned(scratch, block*c)
		for p, pixels := 0, n*s.H*s.W; p < pixels; p += block {
			count := min(block, pixels-p)
			pairNeighbours(pairs, src[p*s.C:][:count*s.C])
			multiply(dst[p*s.pitch():], pairs, count, s.pitch(), w.conv, bias, act)
		}
		return
	}
	h, _ := s.padded()
	width := s.pairedWidth()
	v := view{kernel: s.Kernel, run: s.pairedRun(), stride: s.Stride, h: h, line: width * s.C / 2, step: s.Stride * s.C / 2,
		outH: s.OutH, outW: s.OutW, yStep: s.OutW * s.pitch(), xStep: s.pitch(), imageStep: s.OutH * s.OutW * s.pitch()}
	var b border
	var pairs []float32
	group := 0
	if s.C%2 == 0 {
		b = newBorder(scratch, h, width, s.C/2, s.PadTop, s.PadLeft)
		group = together(h, width, s.C/2)
	} else {
		b = newBorder(scratch, h, width, s.C, s.PadTop, s.PadLeft)
		group = together(h, width, s.C)
		pairs = aligned(scratch[borderSize(h, width, s.C):], group*h*v.line)
	}
	for i := 0; i < n; i += group {
		v.images = min(group, n-i)
		x := src[i*s.in():][:v.images*s.in()]
		t := tile{a: b.data, c: dst[i*v.imageStep:]}
		if pairs == nil {
			b.fillPairs(x, v.images, s.H, s.W)
		} else {
			b.fill(x, v.images, s.H, s.W)
			pairNeighbours(pairs, b.data[:v.images*h*width*s.C])
			t.a = pairs
		}
		v.convolve(t, w.conv, bias, act)
	}
}

// fillPairs is fill for a border of pairs of channels.
func (b border) fillPairs(src []float32, n, h, w int) {
	row := min(w, b.w-b.left) * 2 * b.c
	for i := range n {
		for y := range min(h, b.h-b.top) {
			pairNeighbours(b.data[((i*b.h+y+b.top)*b.w+b.left)*b.c:], src[(i*h+y)*w*2*b.c:][:row])
		}
	}
}

// pairedGrad reports whether the gradient of the input pairs channels of the outputs, where it is worked out phase by phase.
func (s Shape) pairedGrad() bool { return s.BFloat16 && s.OutC%2 == 0 }

// gradValues is how many values, or pairs, a pixel of the outputs' gradient has there.
func (s Shape) gradValues() int {
	if s.pairedGrad() {
		return s.OutC / 2
	}
	return s.OutC
}

// The gradient of the weights pairs pixels: those of the upper half of an image with those of the lower half, so that the
// windows of both move together.

// halved is half an image: as many rows as the upper half of the outputs reads, with the zeros above them.
func (s Shape) halved() Shape {
	if s.flat() {
		return s // pixels are paired, whatever row they are in
	}
	s.OutH = paired(s.OutH)
	s.H, s.PadTop = (s.OutH-1)*s.Stride+s.Kernel, 0
	return s
}

// pair makes pairs of the halves of images.
func (g *gradWeights) pair(ddst, src []float32, images int) (d, x []float32) {
	s, half := g.whole, g.s
	d, x = g.halves[:images*half.out()], g.halves[g.images*half.out():][:images*half.in()]
	line := s.W * s.C
	for i := range images {
		pairHalves(d[i*half.out():], ddst[i*s.out():][:s.out()], s.OutH, s.OutW*s.OutC)
		image := src[i*s.in():][:s.in()]
		row := func(y int) []float32 {
			if y < 0 || y >= s.H {
				return nil
			}
			return image[y*line:][:line]
		}
		for y := range half.H {
			pairRows(x[i*half.in()+y*line:][:line], row(y-s.PadTop), row(y-s.PadTop+half.OutH*s.Stride))
		}
	}
	return d, x
}

// pixels is how many pixels of a flat layer a block has.
func (g *gradWeights) pixels() int {
	if g.pairs {
		return 2 * g.cols
	}
	return g.cols
}

// addPixels adds the gradients of so many pixels of a flat layer.
func (g *gradWeights) addPixels(ddst, src []float32, pixels int) {
	if g.pairs {
		s := g.s
		d, x := g.halves[:g.cols*s.OutC], g.halves[g.cols*s.OutC:][:g.cols*s.C]
		pairHalves(d, ddst[:pixels*s.OutC], pixels, s.OutC)
		pairHalves(x, src[:pixels*s.C], pixels, s.C)
		ddst, src, pixels = d, x, paired(pixels)
	}
	g.block(ddst, src, 1, 0, 1, pixels)
}

// halvesSize is the memory for pairs of images, or of pixels.
func (g *gradWeights) halvesSize() int {
	switch {
	case !g.pairs || g.places:
		return 0
	case g.s.flat():
		return g.cols*(g.s.C+g.s.OutC) + lineValues
	}
	return g.images*(g.s.in()+g.s.out()) + lineValues
}

// pairTiles makes pairs of the tiles of each place, whose values lie in strips of n channels, parts times.
func (g *gradWeights) pairTiles(v []float32, place, n, parts, tiles int) {
	width := outerWidth()
	for p := range places * parts {
		for j := 0; j < n; j += width {
			at := (p*(place/parts) + j) * tiles
			pairHalves(v[at:], v[at:], tiles, roundUp(min(width, n-j), lanes()))
		}
	}
}
