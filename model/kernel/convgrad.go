package kernel

// The gradient of the input is a convolution too, of the output's gradient. Input row y receives, through kernel row
// ky, from output row (y+PadTop-ky)/Stride where that is whole: with y+PadTop = q*Stride + phase, through
// ky = phase + j*Stride from output row q-j. So the rows of one phase are a convolution of stride 1 with every
// Stride-th row of the kernel, upside down; and columns likewise.

// taps is how many kernel rows reach a phase.
func (s Shape) taps(phase int) int {
	if phase >= s.Kernel {
		return 0
	}
	return (s.Kernel-phase-1)/s.Stride + 1
}

// spread is the gradient of one output image with the zeros that the windows of all phases read: h x w pixels, top and
// left of them before the first.
func (s Shape) spread() (h, w, before int) {
	before = s.taps(0) - 1
	return before + (s.H-1+s.PadTop)/s.Stride + 1, before + (s.W-1+s.PadLeft)/s.Stride + 1, before
}

// spreadInside reports whether no zeros are needed.
func (s Shape) spreadInside() bool {
	h, w, before := s.spread()
	return before == 0 && h <= s.OutH && w <= s.OutW
}

// backwards is the convolution of the output's gradient that gives the input's, where there is one phase alone: with windows
// turned by half a circle.
func (s Shape) backwards() (b Shape, ok bool) {
	b = Shape{H: s.OutH, W: s.OutW, C: s.OutC, OutH: s.H, OutW: s.W, OutC: s.C, Kernel: s.Kernel, Stride: 1, BFloat16: s.BFloat16,
		PadTop: s.Kernel - 1 - s.PadTop, PadLeft: s.Kernel - 1 - s.PadLeft}
	return b, s.Stride == 1 && b.PadTop >= 0 && b.PadLeft >= 0
}

// PackConvGrad packs the weights [OutC][Kernel][Kernel][C] of a convolution for the gradient of its input: for each phase,
// panels with a row for each (ky, kx, out).
func PackConvGrad(w []float32, s Shape) *Packed {
	if b, ok := s.backwards(); ok {
		turned := make([]float32, s.Kernel*s.run()*s.OutC)
		s.turn(turned, w)
		p := PackConv(turned, b)
		p.grad, p.turned = &s, turned
		return p
	}
	n := panelsSize(s.Kernel*s.Kernel*s.gradValues(), s.C)
	p := &Packed{conv: panels{data: aligned(make([]float32, n+lineValues), n)}, in: s.Kernel * s.run(), out: s.OutC, grad: &s}
	p.Repack(w)
	return p
}

func (p *Packed) repackGrad(w []float32) {
	if p.turned != nil {
		p.grad.turn(p.turned, w)
		p.repack(p.turned)
		return
	}
	at := 0
	for py := range p.grad.Stride {
		for px := range p.grad.Stride {
			at += p.grad.packPhase(p.conv.data[at:], w, py, px)
		}
	}
}

// turn writes the weights of backwards, [C][Kernel][Kernel][OutC].
func (s Shape) turn(turned, w []float32) {
	taps := s.Kernel * s.Kernel
	const block = 16 // values of a line of the cache
	for o0 := 0; o0 < s.OutC; o0 += block {
		for k := range taps {
			for c := range s.C {
				to := turned[(c*taps+taps-1-k)*s.OutC:][:s.OutC]
				for o := o0; o < min(o0+block, s.OutC); o++ {
					to[o] = w[(o*taps+k)*s.C+c]
				}
			}
		}
	}
}

// ConvGradInputScratch is how many values of scratch memory ConvGradInput needs.
func ConvGradInputScratch(s Shape) int {
	if b, ok := s.backwards(); ok {
		return ConvScratch(b)
	}
	if s.spreadInside() && !s.pairedGrad() {
		return 0
	}
	h, w, _ := s.spread()
	return borderSize(h, w, s.gradValues())
}

// ConvGradInput computes the gradient dsrc of n inputs of Conv from the gradient ddst of its outputs, taken before the
// activation. w is what PackConvGrad made.
func ConvGradInput(dsrc, ddst []float32, n int, w *Packed, s Shape, scratch []float32) {
	if n == 0 {
		return
	}
	if b, ok := s.backwards(); ok {
		Conv(dsrc, ddst[:n*s.out()], n, w, nil, b, Linear, scratch)
		return
	}
	h, width, before := s.spread()
	inside := s.spreadInside() && !s.pairedGrad()
	c := s.gradValues()
	var b border
	if inside {
		h, width = s.OutH, s.OutW
	} else {
		b = newBorder(scratch, h, width, c, before, before)
	}
	v := view{stride: 1, h: h, line: width * c, step: c, yStep: s.Stride * s.W * s.C, xStep: s.Stride * s.C, imageStep: s.in()}
	group := together(h, width, c)
	for i := 0; i < n; i += group {
		v.images = min(group, n-i)
		t := tile{c: dsrc[i*s.in():][:v.images*s.in()], a: ddst[i*s.out():][:v.images*s.out()]}
		switch {
		case s.pairedGrad():
			b.fillPairs(t.a, v.images, s.OutH, s.OutW)
			t.a = b.data
		case !inside:
			b.fill(t.a, v.images, s.OutH, s.OutW)
			t.a = b.data
		}
		at := 0
		for py := range s.Stride {
			for px := range s.Stride {
				ky, kx := s.taps(py), s.taps(px)
				p := newPanels(w.conv.data[at:], ky*kx*c, s.C)
				p.pairs = s.pairedGrad()
				at += len(p.data)
				y, qy, ny := s.phase(py, s.PadTop, s.H)
				x, qx, nx := s.phase(px, s.PadLeft, s.W)
				if ny == 0 || nx == 0 {
					continue
				}
				t.c0 = (y*s.W + x) * s.C
				v.kernel, v.run, v.outH, v.outW = ky, kx*c, ny, nx
				if ky > 0 && kx > 0 {
					t.a0 = ((before+qy-ky+1)*width + before + qx - kx + 1) * c
				}
				v.convolve(t, p, nil, Linear)
			}
		}
	}
}

// phase gives the first of size rows in a phase, its q, and how many rows the phase has.
func (s Shape) phase(phase, pad, size int) (first, q, count int) {
	first = ((phase-pad)%s.Stride + s.Stride) % s.Stride
	if first >= size {
		return 0, 0, 0
	}
	return first, (first + pad) / s.Stride, (size-first-1)/s.Stride + 1
}

// packPhase packs the part of w that reaches one phase, as panels with a row for each (ky, kx, out), and says how much
// memory that took.
func (s Shape) packPhase(dst, w []float32, py, px int) int {
	ny, nx := s.taps(py), s.taps(px)
	outs := s.gradValues()
	p := newPanels(dst, ny*nx*outs, s.C)
	for y := range ny {
		for x := range nx {
			ky, kx := py+(ny-1-y)*s.Stride, px+(nx-1-x)*s.Stride
			from := func(o int) []float32 { return w[((o*s.Kernel+ky)*s.Kernel+kx)*s.C:][:s.C] }
			for o := range outs {
				for j := 0; j < s.C; j += p.width {
					at, cols, stride := p.strip(j)
					row := p.data[at+((y*nx+x)*outs+o)*stride:][:stride]
					if s.pairedGrad() {
						pairRows(row[:cols], from(2 * o)[j:], from(2*o + 1)[j:])
					} else {
						copy(row, from(o)[j:j+cols])
					}
					clear(row[cols:])
				}
			}
		}
	}
	return len(p.data)
}

// The gradient of the weights is a product of matrices, for each kernel row ky: its element (o, (kx, c)) is the sum over
// pixels of ddst[pixel][o] * src[row of the window][(kx, c)]. One factor gives vectors, the other single values (see
// outer). Vectors run along c, tap by tap, or, where fewer lanes are left idle that way, along o; the sums are then
// transposed at the end. Pixels come in blocks. Of a block, the factors are copied into strips and tiles first, so that they
// are read from one end to the other as often as they are needed: values that lie a power of two apart would drive each
// other out of the first cache. Copying costs little beside that: there is one copy of each value, not one for each tap.

// gradPixels is about how many pixels a strip and a tile may have so that both fit the first cache.
const gradPixels = 192

// byOut reports whether vectors run along o.
func (s Shape) byOut() bool {
	return s.C < lanes() || idle(s.OutC)*s.C < idle(s.C)*s.OutC
}

// idle is how many lanes n values take, single vectors being a little dear.
func idle(n int) int {
	vectors := (n + lanes() - 1) / lanes()
	return (8*vectors + vectors%2) * lanes()
}

// gradWeights sums the gradients of weights.
type gradWeights struct {
	s     Shape
	byOut bool
	sum   []float32 // [OutC][k], [k][OutC] if byOut, or [place][OutC][C] if places
	// places says that the sums are those of winogradGrad.
	places bool
	more   bool // sum holds something
	// Blocks are of so many images and rows of outputs; those of flat layers of one row of cols pixels, whatever image they
	// are in.
	images, rows, cols int
	border             []float32 // byOut: memory for images with zeros around them
	strips             []float32 // of the factor that gives vectors: [strip][pixel][lanes]
	tiles              []float32 // of the other, unless it is read where it is: [tile][pixel][height]
	h, w, step         int       // of an image in border or strips: pixels, and pixels from one window to the next
	copied             bool      // single values come from tiles
	// pairs says that what is multiplied are pairs of bfloat16: of the halves of an image, whole, or of tiles of places.
	pairs  bool
	whole  Shape
	halves []float32 // memory for the pairs of images
}

// planWeights works out how the sums are made, and how much memory strips, tiles and more take: the border, or the sums of
// places.
func (s Shape) planWeights() (g gradWeights, more, strips, tiles int) {
	switch {
	case s.winogradGrad():
		return s.planWinograd()
	case s.BFloat16:
		g, more, strips, tiles = s.halved().planDirect()
		g.pairs, g.whole = true, s
		return g, more, strips, tiles
	}
	return s.planDirect()
}

func (s Shape) planDirect() (g gradWeights, more, strips, tiles int) {
	g = gradWeights{s: s, byOut: s.byOut(), images: 1, rows: s.OutH, cols: s.OutW, step: s.Stride}
	g.h, g.w = s.padded()
	if s.flat() {
		g.rows, g.cols = 1, min(max(l2/(s.C+s.OutC), gradPixels), 2048)
		g.h, g.w = 1, g.cols
	} else if g.images = together(g.h, g.w, s.C); g.images == 1 {
		g.rows = min(max(l2/(s.Stride*g.w*s.C+s.OutW*s.OutC), 1), s.OutH)
	}
	pixels := g.images * g.rows * g.cols
	if g.byOut {
		if s.inside() {
			g.h, g.w = s.H, s.W
		} else {
			more = borderSize(g.h, g.w, s.C)
		}
		return g, more, stripsSize(s.OutC, pixels), 0
	}
	if s.Kernel == 1 && s.inside() {
		g.step, g.w = 1, g.cols // pixels that no window reads are left out
	}
	if g.copied = !s.flat() || s.OutC%64 == 0; g.copied {
		tiles = roundUp(s.OutC, even(s.OutC, tallest()))*pixels + lineValues
	}
	return g, 0, stripsSize(s.C, g.images*g.high(g.rows)*g.w), tiles
}

// high is how many rows of input so many rows of outputs read.
func (g *gradWeights) high(rows int) int { return (rows-1)*g.step + g.s.Kernel }

func stripsSize(n, pixels int) int { return roundUp(n, lanes())*pixels + lineValues }

// ConvGradScratch is how many values of scratch memory ConvGrad needs.
func ConvGradScratch(s Shape) int {
	n := ConvGradWeightsScratch(s) + ConvGradInputScratch(s) + s.OutC
	if s.pitch() != s.OutC {
		images, pixels, _ := s.together()
		n += images*pixels*s.OutC + lineValues
	}
	return n
}

// together is how many images ConvGrad works on at a time, and how many pixels of output and values of input each has. To
// flat layers every pixel is an image.
func (s Shape) together() (images, pixels, in int) {
	g, _, _, _ := s.planWeights()
	if s.flat() {
		return g.pixels(), 1, s.C
	}
	return g.images, s.OutH * s.OutW, s.in()
}

// ConvGrad computes the gradients of n images of Conv: dsrc of its input, and dw[OutC][Kernel][Kernel][C] and db[OutC] of
// weights and bias, summed over the images. dsrc or dw is nil if it is not wanted, and db is nil if dw is. ddst is the
// gradient of the outputs dst, and becomes that before the activation. Pitch is honoured: of both of these. w is what
// PackConvGrad made.
//
// It does what ActGrad, ConvGradInput and ConvGradWeights do, a part at a time, which is then read from the cache.
func ConvGrad(dsrc, dw, db, ddst, dst, src []float32, n int, w *Packed, s Shape, act Act, scratch []float32) {
	take := func(n int) []float32 {
		out := scratch[:n:n]
		scratch = scratch[n:]
		return out
	}
	pitch := s.pitch()
	s.Pitch = 0
	images, pixels, in := s.together()
	if dw == nil {
		db = take(s.OutC)
	}
	clear(db[:s.OutC])
	var g gradWeights
	if weights := take(ConvGradWeightsScratch(s)); dw != nil {
		g = s.newGradWeights(dw, weights)
	}
	var compact []float32
	if pitch != s.OutC {
		compact = aligned(take(images*pixels*s.OutC+lineValues), images*pixels*s.OutC)
	}
	flat := s.flat()
	if flat {
		n *= s.H * s.W
	}
	for i := 0; i < n; i += images {
		count := min(images, n-i)
		d := ddst[i*pixels*pitch:]
		var y []float32
		if act != Linear {
			y = dst[i*pixels*pitch:]
		}
		gradRows(d, y, db[:s.OutC], count*pixels, s.OutC, pitch, act)
		if compact != nil {
			copyRows(compact, d, count*pixels, s.OutC, s.OutC, pitch, false)
			d = compact
		}
		if flat {
			s.H, s.W, s.OutH, s.OutW = 1, count, 1, count
			if dsrc != nil {
				ConvGradInput(dsrc[i*in:], d, 1, w, s, scratch)
			}
			if dw != nil {
				g.addPixels(d, src[i*in:], count)
			}
			continue
		}
		if dsrc != nil {
			ConvGradInput(dsrc[i*in:], d, count, w, s, scratch)
		}
		if dw != nil {
			g.add(d, src[i*in:], count)
		}
	}
	if dw != nil {
		g.finish(dw)
	}
}

// ConvGradWeightsScratch is how many values of scratch memory ConvGradWeights needs.
func ConvGradWeightsScratch(s Shape) int {
	g, more, strips, tiles := s.planWeights()
	if g.byOut {
		more += s.Kernel*s.run()*s.OutC + lineValues
	}
	return more + strips + tiles + g.halvesSize()
}

// ConvGradWeights computes the gradients dw[OutC][Kernel][Kernel][C] and db[OutC] of Conv's weights and bias, summed
// over n images, from the gradient ddst of its outputs, taken before the activation. db may be nil.
func ConvGradWeights(dw, db, ddst, src []float32, n int, s Shape, scratch []float32) {
	if db != nil {
		db = db[:s.OutC]
		clear(db)
		gradRows(ddst, nil, db, n*s.OutH*s.OutW, s.OutC, s.OutC, Linear)
	}
	g := s.newGradWeights(dw, scratch)
	g.add(ddst, src, n)
	g.finish(dw)
}

func (s Shape) newGradWeights(dw, scratch []float32) gradWeights {
	g, more, strips, tiles := s.planWeights()
	k := s.Kernel * s.run() * s.OutC
	g.sum = dw[:k]
	take := func(n int) []float32 {
		if n == 0 {
			return nil
		}
		out := scratch[:n:n]
		scratch = scratch[n:]
		return out
	}
	if g.byOut {
		g.sum = aligned(take(k+lineValues), k)
	}
	if g.places {
		g.sum = aligned(take(more), more-lineValues)
	} else {
		g.border = take(more)
	}
	if n := g.halvesSize(); n > 0 {
		g.halves = aligned(take(n), n-lineValues)
	}
	g.strips = aligned(take(strips), strips-lineValues)
	if tiles > 0 {
		g.tiles = aligned(take(tiles), tiles-lineValues)
	}
	return g
}

// finish gives what has been added. The sums are dw itself unless byOut.
func (g *gradWeights) finish(dw []float32) {
	k := g.s.Kernel * g.s.run()
	if !g.more {
		clear(dw[:k*g.s.OutC])
		return
	}
	switch {
	case g.places:
		g.finishPlaces(dw)
	case g.byOut:
		transpose(dw[:k*g.s.OutC], g.sum, k, g.s.OutC)
	}
}

// add adds the gradients of n images.
func (g *gradWeights) add(ddst, src []float32, n int) {
	s := g.s
	if s.flat() {
		for p, pixels := 0, n*s.H*s.W; p < pixels; p += g.pixels() {
			g.addPixels(ddst[p*s.OutC:], src[p*s.C:], min(g.pixels(), pixels-p))
		}
		return
	}
	whole := s
	if g.pairs && !g.places {
		whole = g.whole
	}
	for i := 0; i < n; i += g.images {
		images := min(g.images, n-i)
		if g.places {
			g.addPlaces(ddst[i*s.out():], src[i*s.in():], images)
			continue
		}
		d, x := ddst[i*whole.out():], src[i*whole.in():][:images*whole.in()]
		if g.pairs {
			d, x = g.pair(d, x, images)
		}
		if g.byOut && !s.inside() {
			b := newBorder(g.border, g.h, g.w, s.C, s.PadTop, s.PadLeft)
			b.fill(x, images, s.H, s.W)
			x = b.data
		}
		for y := 0; y < s.OutH; y += g.rows {
			g.block(d, x, images, y, min(g.rows, s.OutH-y), s.OutW)
		}
	}
}

// block adds, of each image, ny rows of nx outputs from row y on.
func (g *gradWeights) block(ddst, src []float32, images, y, ny, nx int) {
	s, k := g.s, g.s.Kernel*g.s.run()
	pixels, width, line := ny*nx, outerWidth(), s.OutW*s.OutC
	ddst = ddst[y*line:]
	t := outer{a: ddst, b: g.strips, c: g.sum, aStep: s.OutC, aRow: line, aImage: s.OutH * line, pairs: g.pairs}
	if g.byOut {
		pitch := 0
		if s.flat() && s.OutC%lanes() == 0 && s.OutC%64 != 0 {
			t.b, pitch = ddst, s.OutC
		}
		for j := 0; pitch == 0 && j < s.OutC; j += width {
			cols := min(width, s.OutC-j)
			for i := range images {
				copyRows(g.strips[(j*images+i*roundUp(cols, lanes()))*pixels:], ddst[i*s.OutH*line+j:], pixels, cols, roundUp(cols, lanes()), s.OutC, true)
			}
		}
		t.a, t.aStep, t.aRow, t.aImage = src[y*s.Stride*g.w*s.C:], s.Stride*s.C, s.Stride*g.w*s.C, g.h*g.w*s.C
		t.m, t.cs = s.run(), s.OutC
		t.height = even(t.m, tallest())
		t.at = t.height
		g.sums(t, images, ny, nx, s.OutC, strip{pixels, nx, 1, pitch}, tap{cols: 1, aRow: g.w * s.C, cRow: s.run() * s.OutC})
		return
	}
	h := g.high(ny)
	for j := 0; j < s.C; j += width {
		cols := min(width, s.C-j)
		for i := range images {
			g.fill(g.strips[(j*images+i*roundUp(cols, lanes()))*h*g.w:], src[i*s.in()+j:], y, h, nx, cols)
		}
	}
	t.m, t.cs, t.height = s.OutC, k, even(s.OutC, tallest())
	t.at = t.height
	if g.copied {
		for o := 0; o < s.OutC; o += t.height {
			for i := range images {
				copyRows(g.tiles[(o*images+i*t.height)*pixels:], ddst[i*s.OutH*line+o:], pixels, min(t.height, s.OutC-o), t.height, s.OutC, false)
			}
		}
		t.a, t.at, t.aStep, t.aRow, t.aImage = g.tiles, images*pixels*t.height, t.height, nx*t.height, pixels*t.height
	}
	g.sums(t, images, ny, nx, s.C, strip{h * g.w, g.step * g.w, g.step, 0}, tap{cols: s.Kernel, bRow: g.w, bCol: 1, cRow: s.run(), cCol: s.C})
}

// fill copies cols channels of the h rows of an image that outputs from row y on read, with the zeros around them.
func (g *gradWeights) fill(dst, src []float32, y, h, nx, cols int) {
	s, width := g.s, roundUp(cols, lanes())
	if s.flat() {
		copyRows(dst, src, nx, cols, width, s.C, true)
		return
	}
	from, left, row := 0, s.PadLeft, min(s.W, g.w-s.PadLeft)
	if g.step != s.Stride {
		from, left, row = s.PadLeft, 0, g.w
	}
	for r := range h {
		d := dst[r*g.w*width:][:g.w*width]
		at := y*s.Stride - s.PadTop + r*s.Stride/g.step
		if at < 0 || at >= s.H {
			clear(d)
			continue
		}
		clear(d[:left*width])
		copyRows(d[left*width:], src[(at*s.W+from)*s.C:], row, cols, width, s.Stride/g.step*s.C, true)
		clear(d[(left+row)*width:])
	}
}

// strip says how many pixels of an image a strip has, and how many lie between the rows and the pixels of the sums. With a
// pitch there are no strips: pixels lie so many values apart, as they were.
type strip struct{ size, row, step, pitch int }

// tap says how many taps a row of the kernel has, and how far each row and each column of it moves a and c, in values, and
// b, in pixels.
type tap struct{ cols, aRow, bRow, bCol, cRow, cCol int }

// sums adds the products of a block of n columns. Each strip goes through the pixels a part at a time, and through the taps
// for each part.
func (g *gradWeights) sums(t outer, images, ny, nx, n int, b strip, k tap) {
	part := even(ny, max(gradPixels/nx, 1))
	some := 1
	if part == ny {
		some = even(images, max(gradPixels/(nx*ny), 1))
	}
	t.run = nx
	for j := 0; j < n; j += outerWidth() {
		t.cols = min(outerWidth(), n-j)
		lane, from := roundUp(t.cols, lanes()), j*images*b.size
		if b.pitch > 0 {
			lane, from = b.pitch, j
		}
		t.bStep, t.bRow, t.bImage = b.step*lane, b.row*lane, b.size*lane
		for i := 0; i < images; i += some {
			t.images = min(some, images-i)
			for y := 0; y < ny; y += part {
				t.rows = min(part, ny-y)
				t.add = 1
				if !g.more && i == 0 && y == 0 {
					t.add = 0
				}
				for ky := range g.s.Kernel {
					for kx := range k.cols {
						t.a0 = i*t.aImage + y*t.aRow + ky*k.aRow
						t.b0 = from + i*t.bImage + y*t.bRow + (ky*k.bRow+kx*k.bCol)*lane
						t.c0 = j + ky*k.cRow + kx*k.cCol
						t.sum()
					}
				}
			}
		}
	}
	g.more = true
}

// transpose computes dst[cols][rows] from src[rows][cols].
func transpose(dst, src []float32, rows, cols int) {
	const block = 32
	for r0 := 0; r0 < rows; r0 += block {
		r1 := min(r0+block, rows)
		for c := range cols {
			to := dst[c*rows+r0 : c*rows+r1]
			i := r0*cols + c
			for k := range to {
				to[k] = src[i]
				i += cols
			}
		}
	}
}

// sumRows computes sum[cols] over rows of src. A nil sum is left out.
func sumRows(sum, src []float32, rows, cols int) {
	if sum == nil {
		return
	}
	sum = sum[:cols]
	clear(sum)
	addRows(sum, src, rows)
}

// addRows adds rows of src to sum.
func addRows(sum, src []float32, rows int) {
	for r := range rows {
		addTo(sum, src[r*len(sum):][:len(sum)])
	}
}
