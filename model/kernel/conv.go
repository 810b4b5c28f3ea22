package kernel

// l1 is how many values a block of work may touch so that it stays in the first-level cache.
const l1 = 8 << 10

// l2 is how many values a block of work may touch so that it stays in the second-level cache.
const l2 = 96 << 10

// l2Weights is likewise for the part of a strip of weights that is read again and again.
const l2Weights = 160 << 10

// padded is the input of one image with a border of zeros: what the windows of s read, h x w pixels.
func (s Shape) padded() (h, w int) {
	return (s.OutH-1)*s.Stride + s.Kernel, (s.OutW-1)*s.Stride + s.Kernel
}

// inside reports whether no window reads beyond the input.
func (s Shape) inside() bool {
	h, w := s.padded()
	return s.PadTop == 0 && s.PadLeft == 0 && h <= s.H && w <= s.W
}

// border is scratch memory for some images with zeros around them. Images are copied into the middle; the zeros stay.
type border struct {
	data      []float32
	h, w, c   int // pixels and channels of each image in data
	top, left int
}

func borderSize(h, w, c int) int { return together(h, w, c)*h*w*c + lineValues }

// together is how many images of h x w x c values are worth computing side by side: as many as fit in the cache, so
// that small images share each load of the weights.
func together(h, w, c int) int { return min(max(2*l2/(h*w*c), 1), 16) }

func newBorder(scratch []float32, h, w, c, top, left int) border {
	n := together(h, w, c) * h * w * c
	data := aligned(scratch[:n+lineValues], n)
	clear(data)
	return border{data, h, w, c, top, left}
}

// fill copies n images of h x w pixels, as far as they fit.
func (b border) fill(src []float32, n, h, w int) {
	row := min(w, b.w-b.left) * b.c
	for i := range n {
		for y := range min(h, b.h-b.top) {
			copy(b.data[((i*b.h+y+b.top)*b.w+b.left)*b.c:][:row], src[(i*h+y)*w*b.c:])
		}
	}
}

// ConvScratch is how many values of scratch memory Conv needs.
func ConvScratch(s Shape) int {
	if s.winograd() {
		return winogradScratch(s)
	}
	if s.paired() {
		return pairedScratch(s)
	}
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
	if w.place > 0 {
		convWinograd(dst, src, n, w, bias, s, act, scratch)
		return
	}
	if w.conv.pairs {
		convPaired(dst, src, n, w, bias, s, act, scratch)
		return
	}
	if s.flat() {
		multiply(dst, src, n*s.H*s.W, s.pitch(), w.conv, bias, act)
		return
	}
	v := view{kernel: s.Kernel, run: s.run(), stride: s.Stride, h: s.H, line: s.W * s.C, step: s.Stride * s.C, outH: s.OutH, outW: s.OutW,
		yStep: s.OutW * s.pitch(), xStep: s.pitch(), imageStep: s.OutH * s.OutW * s.pitch()}
	inside := s.inside()
	var b border
	if !inside {
		var width int
		v.h, width = s.padded()
		v.line = width * s.C
		b = newBorder(scratch, v.h, width, s.C, s.PadTop, s.PadLeft)
	}
	group := together(v.h, v.line, 1)
	for i := 0; i < n; i += group {
		v.images = min(group, n-i)
		t := tile{a: src[i*s.in():][:v.images*s.in()], c: dst[i*v.imageStep:]}
		if !inside {
			b.fill(t.a, v.images, s.H, s.W)
			t.a = b.data
		}
		v.convolve(t, w.conv, bias, act)
	}
}

// multiply computes dst[rows][p.n] = act(bias + src[rows][p.k] * p), rows of dst being pitch values apart.
func multiply(dst, src []float32, rows, pitch int, p panels, bias []float32, act Act) {
	t := tile{a: src, b: p.data, c: dst, as: p.k, ak: 1, runs: 1, cs: pitch, padded: 1, pairs: p.pairs}
	block := max(l2/p.k, 48)
	for i := 0; i < rows; i += block {
		t.m = min(block, rows-i)
		for j := 0; j < p.n; j += p.width {
			var b0 int
			b0, t.cols, t.bk = p.strip(j)
			t.c0 = i*pitch + j
			t.begin(bias, j)
			for k := 0; k < p.k; k += t.run {
				t.run = p.share(p.k - k)
				t.a0, t.b0 = i*p.k+k, b0+k*t.bk
				t.end(k+t.run == p.k, act)
				t.product()
				t.add = 1
			}
		}
	}
}

// begin makes the sums of the columns from j on start with the bias.
func (t *tile) begin(bias []float32, j int) {
	t.add, t.bias = 0, nil
	if bias != nil {
		t.bias = bias[j:]
	}
}

// end sets the activation of the last of the products that make a sum.
func (t *tile) end(last bool, act Act) {
	if !last {
		act = Linear
	}
	t.act(act)
}

// view is where the windows of some images lie.
type view struct {
	images      int
	kernel, run int // rows of a window; values in each
	stride      int // rows from one window to the next below
	h           int // rows of an image
	line, step  int // how many values lie between neighbouring rows of it, and between windows side by side
	outH, outW  int
	// How many values lie between outputs of neighbouring rows, columns and images.
	yStep, xStep, imageStep int
}

// convolve computes the outputs at t.c from t.c0 on for the windows in t.a from t.a0 on.
func (v view) convolve(t tile, p panels, bias []float32, act Act) {
	a0, c0 := t.a0, t.c0
	t.b, t.padded, t.pairs = p.data, 1, p.pairs
	t.as, t.ar, t.ak = v.step, v.line, 1
	t.run = v.run
	t.m, t.cs = v.outW, v.xStep
	block := max(l2/(v.stride*v.line), 1)
	for y0 := 0; y0 < v.outH; y0 += block {
		for j := 0; j < p.n; j += p.width {
			var b0 int
			b0, t.cols, t.bk = p.strip(j)
			t.br = v.run * t.bk
			t.begin(bias, j)
			// So many weights at a time that they stay in the cache: some rows of the kernel, or some values of one.
			for ky, k := 0, 0; ky == 0 || ky < v.kernel; {
				t.runs, t.run = 1, p.share(v.run-k)
				if t.run == v.run && v.run > 0 {
					t.runs = min(max(p.share(v.run*v.kernel)/v.run, 1), v.kernel-ky)
				}
				t.b0 = b0 + ky*t.br + k*t.bk
				t.end(ky+t.runs >= v.kernel && k+t.run == v.run, act)
				for i := range v.images {
					for y := y0; y < min(y0+block, v.outH); y++ {
						t.a0 = a0 + (i*v.h+y*v.stride+ky)*v.line + k
						t.c0 = c0 + i*v.imageStep + y*v.yStep + j
						t.product()
					}
				}
				t.add = 1
				if k += t.run; k >= v.run {
					k, ky = 0, ky+max(t.runs, 1)
				}
			}
		}
	}
}
