package kernel

// l2 is how many values a block of work may touch so that it stays in the second-level cache.
const l2 = 96 << 10

// padded is the input of one image with a border of zeros: what the windows of s read, h x w pixels.
func (s Shape) padded() (h, w int) {
	return (s.OutH-1)*s.Stride + s.Kernel, (s.OutW-1)*s.Stride + s.Kernel
}

// inside reports whether no window reads beyond the input.
func (s Shape) inside() bool {
	h, w := s.padded()
	return s.PadTop == 0 && s.PadLeft == 0 && h <= s.H && w <= s.W
}

// border is scratch memory for one image with zeros around it. An image is copied into the middle; the zeros stay.
type border struct {
	data      []float32
	h, w, c   int // pixels and channels of data
	top, left int
}

func borderSize(h, w, c int) int { return h*w*c + lineValues }

func newBorder(scratch []float32, h, w, c, top, left int) border {
	data := aligned(scratch[:borderSize(h, w, c)], h*w*c)
	clear(data)
	return border{data, h, w, c, top, left}
}

// fill copies an image of h x w pixels, as far as it fits.
func (b border) fill(src []float32, h, w int) {
	n := min(w, b.w-b.left) * b.c
	for y := range min(h, b.h-b.top) {
		copy(b.data[((y+b.top)*b.w+b.left)*b.c:][:n], src[y*w*b.c:])
	}
}

// ConvScratch is how many values of scratch memory Conv needs.
func ConvScratch(s Shape) int {
	if s.inside() {
		return 0
	}
	h, w := s.padded()
	return borderSize(h, w, s.C)
}

// Conv computes n images dst[OutH][OutW][OutC] from src[H][W][C]: dst = act(bias + src * w). bias may be nil.
func Conv(dst, src []float32, n int, w *Packed, bias []float32, s Shape, act Act, scratch []float32) {
	if n == 0 {
		return
	}
	if s.flat() {
		multiply(dst, src, n*s.H*s.W, w.conv, bias, act)
		return
	}
	t := tile{bias: bias}
	t.act(act)
	if s.inside() {
		for i := range n {
			t.a, t.c = src[i*s.in():][:s.in()], dst[i*s.out():][:s.out()]
			windows(t, w.conv, s.Kernel, s.run(), s.Stride, s.W, s.C, s.OutH, s.OutW, s.OutW*s.OutC, s.OutC)
		}
		return
	}
	ph, pw := s.padded()
	b := newBorder(scratch, ph, pw, s.C, s.PadTop, s.PadLeft)
	t.a = b.data
	for i := range n {
		b.fill(src[i*s.in():][:s.in()], s.H, s.W)
		t.c = dst[i*s.out():][:s.out()]
		windows(t, w.conv, s.Kernel, s.run(), s.Stride, pw, s.C, s.OutH, s.OutW, s.OutW*s.OutC, s.OutC)
	}
}

// multiply computes dst[rows][p.n] = act(bias + src[rows][p.k] * p).
func multiply(dst, src []float32, rows int, p panels, bias []float32, act Act) {
	t := tile{a: src, b: p.data, c: dst, as: p.k, ak: 1, runs: 1, run: p.k, cs: p.n}
	t.act(act)
	block := max(l2/p.k, 48)
	for i := 0; i < rows; i += block {
		t.a0, t.m = i*p.k, min(block, rows-i)
		for j := 0; j < p.n; j += p.width {
			t.b0, t.cols, t.bk = p.strip(j)
			t.c0 = i*p.n + j
			if bias != nil {
				t.bias = bias[j:]
			}
			t.product()
		}
	}
}

// windows computes one image. Windows are kernel runs of run values each, lying w*c values apart in t.a from t.a0 on;
// the next window is stride pixels further. Outputs lie at t.c0, yStride and xStride values apart.
func windows(t tile, p panels, kernel, run, stride, w, c, outH, outW, yStride, xStride int) {
	a0, c0, bias := t.a0, t.c0, t.bias
	t.b = p.data
	t.as, t.ar, t.ak = stride*c, w*c, 1
	t.runs, t.run = kernel, run
	t.m, t.cs = outW, xStride
	block := max(l2/(stride*w*c), 1)
	for y0 := 0; y0 < outH; y0 += block {
		for j := 0; j < p.n; j += p.width {
			t.b0, t.cols, t.bk = p.strip(j)
			t.br = run * t.bk
			if bias != nil {
				t.bias = bias[j:]
			}
			for y := y0; y < min(y0+block, outH); y++ {
				t.a0 = a0 + y*stride*w*c
				t.c0 = c0 + y*yStride + j
				t.product()
			}
		}
	}
}
