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

// ConvGradInputScratch is how many values of scratch memory ConvGradInput needs.
func ConvGradInputScratch(s Shape) int {
	n := panelsSize(s.Kernel*s.Kernel*s.OutC, s.C) + lineValues
	if !s.spreadInside() {
		h, w, _ := s.spread()
		n += borderSize(h, w, s.OutC)
	}
	return n
}

// ConvGradInput computes the gradient dsrc of n inputs of Conv from the gradient ddst of its outputs, taken before the
// activation. w are the weights [OutC][Kernel][Kernel][C], not packed.
func ConvGradInput(dsrc, ddst, w []float32, n int, s Shape, scratch []float32) {
	if n == 0 {
		return
	}
	size := panelsSize(s.Kernel*s.Kernel*s.OutC, s.C)
	packed := aligned(scratch[:size+lineValues], size)
	at := 0
	for py := range s.Stride {
		for px := range s.Stride {
			at += s.packPhase(packed[at:], w, py, px)
		}
	}
	if s.flat() {
		multiply(dsrc, ddst, n*s.H*s.W, s.C, newPanels(packed, s.OutC, s.C), nil, Linear)
		return
	}
	h, width, before := s.spread()
	inside := s.spreadInside()
	var b border
	if inside {
		h, width = s.OutH, s.OutW
	} else {
		b = newBorder(scratch[size+lineValues:], h, width, s.OutC, before, before)
	}
	v := view{stride: 1, h: h, w: width, c: s.OutC, yStep: s.Stride * s.W * s.C, xStep: s.Stride * s.C, imageStep: s.in()}
	group := together(h, width, s.OutC)
	for i := 0; i < n; i += group {
		v.images = min(group, n-i)
		t := tile{c: dsrc[i*s.in():][:v.images*s.in()], a: ddst[i*s.out():][:v.images*s.out()]}
		if !inside {
			b.fill(t.a, v.images, s.OutH, s.OutW)
			t.a = b.data
		}
		at := 0
		for py := range s.Stride {
			for px := range s.Stride {
				ky, kx := s.taps(py), s.taps(px)
				p := newPanels(packed[at:], ky*kx*s.OutC, s.C)
				at += len(p.data)
				y, qy, ny := s.phase(py, s.PadTop, s.H)
				x, qx, nx := s.phase(px, s.PadLeft, s.W)
				if ny == 0 || nx == 0 {
					continue
				}
				t.c0 = (y*s.W + x) * s.C
				v.kernel, v.run, v.outH, v.outW = ky, kx*s.OutC, ny, nx
				if ky > 0 && kx > 0 {
					t.a0 = ((before+qy-ky+1)*width + before + qx - kx + 1) * s.OutC
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
	p := newPanels(dst, ny*nx*s.OutC, s.C)
	for y := range ny {
		for x := range nx {
			ky, kx := py+(ny-1-y)*s.Stride, px+(nx-1-x)*s.Stride
			for o := range s.OutC {
				from := w[((o*s.Kernel+ky)*s.Kernel+kx)*s.C:][:s.C]
				for j := 0; j < s.C; j += p.width {
					at, cols, stride := p.strip(j)
					row := p.data[at+((y*nx+x)*s.OutC+o)*stride:][:stride]
					copy(row, from[j:j+cols])
					clear(row[cols:])
				}
			}
		}
	}
	return len(p.data)
}

// The gradient of the weights is a product of matrices, for each kernel row ky: its element (o, (kx, c)) is the sum
// over pixels of ddst[pixel][o] * src[row of the window][(kx, c)]. Both factors are read in place. Vectors run along
// (kx, c), or, where fewer lanes are left idle that way, along o; the result is then transposed.

// byOut reports whether vectors run along o.
func (s Shape) byOut() bool {
	return 10*s.run()*cost(s.OutC) < 9*s.OutC*cost(s.run())
}

// cost is about how long a row of n outputs takes, in vectors. Half a tile takes more than half a tile's time.
func cost(n int) int {
	full, rest := n/(2*lanes()), n%(2*lanes())
	switch {
	case rest == 0:
		return 4 * full
	case rest <= lanes():
		return 4*full + 3
	}
	return 4*full + 4
}

// ConvGradWeightsScratch is how many values of scratch memory ConvGradWeights needs.
func ConvGradWeightsScratch(s Shape) int {
	n := ConvScratch(s)
	if s.byOut() {
		n += s.Kernel*s.run()*s.OutC + lineValues
	}
	return n
}

// ConvGradWeights computes the gradients dw[OutC][Kernel][Kernel][C] and db[OutC] of Conv's weights and bias, summed
// over n images, from the gradient ddst of its outputs, taken before the activation. db may be nil.
func ConvGradWeights(dw, db, ddst, src []float32, n int, s Shape, scratch []float32) {
	k := s.Kernel * s.run()
	dw = dw[:s.OutC*k]
	if db != nil {
		db = db[:s.OutC]
		clear(db)
	}
	if n == 0 {
		clear(dw)
		return
	}
	g := gradWeights{dw: dw, db: db, s: s, h: s.H, w: s.W, byOut: s.byOut()}
	if g.byOut {
		g.dw = aligned(scratch[:k*s.OutC+lineValues], k*s.OutC)
		scratch = scratch[k*s.OutC+lineValues:]
	}
	if s.flat() {
		// Pixels are alike, whatever row or image they are in.
		pixels := n * s.H * s.W
		block := max(2*l2/(s.C+s.OutC), 64)
		for p := 0; p < pixels; p += block {
			g.block(ddst[p*s.OutC:], src[p*s.C:], 1, 0, 1, min(block, pixels-p))
		}
	} else {
		inside := s.inside()
		var b border
		if !inside {
			g.h, g.w = s.padded()
			b = newBorder(scratch, g.h, g.w, s.C, s.PadTop, s.PadLeft)
		}
		block := max(2*l2/(s.Stride*g.w*s.C+s.OutW*s.OutC), 1)
		group := together(g.h, g.w, s.C)
		for i := 0; i < n; i += group {
			images := min(group, n-i)
			x := src[i*s.in():][:images*s.in()]
			if !inside {
				b.fill(x, images, s.H, s.W)
				x = b.data
			}
			for y := 0; y < s.OutH; y += block {
				g.block(ddst[i*s.out():], x, images, y, min(block, s.OutH-y), s.OutW)
			}
		}
	}
	if g.byOut {
		transpose(dw, g.dw, k, s.OutC)
	}
}

// gradWeights accumulates the gradients of weights and bias.
type gradWeights struct {
	dw    []float32 // [OutC][k], or [k][OutC] if byOut
	db    []float32
	s     Shape
	h, w  int // pixels of an image in src
	byOut bool
	more  bool // dw holds something
}

// block adds, of each image, ny rows of nx outputs from row y on.
func (g *gradWeights) block(ddst, src []float32, images, y, ny, nx int) {
	s := g.s
	if g.db != nil {
		for i := range images {
			addRows(g.db, ddst[i*s.out()+y*nx*s.OutC:], ny*nx)
		}
	}
	t := tile{c: g.dw, runs: ny, run: nx, as: 1}
	t.a, t.ar, t.ak, t.m = ddst, nx*s.OutC, s.OutC, s.OutC
	t.b, t.br, t.bk, t.cs = src, s.Stride*g.w*s.C, s.Stride*s.C, s.Kernel*s.run()
	n, cStep := s.run(), s.run() // columns of each product; from one kernel row's to the next one's
	if g.byOut {
		t.a, t.b, t.ar, t.br, t.ak, t.bk = t.b, t.a, t.br, t.ar, t.bk, t.ak
		t.m, n, t.cs, cStep = s.run(), s.OutC, s.OutC, s.run()*s.OutC
	}
	width := 2 * lanes()
	for ky := range s.Kernel {
		for j := 0; j < n; j += width {
			t.cols = min(width, n-j)
			t.c0 = ky*cStep + j
			t.add = 0
			if g.more {
				t.add = 1
			}
			for i := range images {
				d := i*s.out() + y*nx*s.OutC
				x := ((i*g.h + y*s.Stride + ky) * g.w) * s.C
				if g.byOut {
					t.a0, t.b0 = x, d+j
				} else {
					t.a0, t.b0 = d, x+j
				}
				t.product()
				t.add = 1
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
