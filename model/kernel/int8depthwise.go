package kernel

// A depthwise convolution has a sum of its own for each channel, where VPDPBUSD and its like want 4 bytes that belong to
// one sum side by side. So the rows of the input are interleaved first, 4 at a time: [x][c][4 rows]. Blocks of some
// output rows read the same interleaved rows, with weights that are shifted for each.

// depthwisePlan says how many groups of 4 input rows the outputs of a block read, and how many output rows that makes.
func (s Shape) depthwisePlan() (groups, rows int) {
	groups = (s.Kernel + 3) / 4
	return groups, (4*groups-s.Kernel)/s.Stride + 1
}

// PackDepthwiseInt8 packs the weights [Kernel][Kernel][C] of a depthwise convolution.
func PackDepthwiseInt8(w []int8, s Shape) *PackedInt8 {
	w = w[:s.Kernel*s.run()]
	groups, rows := s.depthwisePlan()
	p := newPackedInt8(s.C, rows*groups*s.Kernel*4, s.depthwiseWindow())
	for i, v := range w {
		c, kx, ky := i%s.C, i/s.C%s.Kernel, i/s.run()
		for r := range rows {
			y := r*s.Stride + ky
			p.put(c, ((r*groups+y/4)*s.Kernel+kx)*4+y%4, v)
		}
	}
	return p
}

func (s Shape) depthwiseWindow() Shape {
	s.OutC = 1
	return s.window()
}

// mixedInt8 is how many bytes of interleaved rows a block has: enough that the ends of blocks cost little, few enough to
// be read again from a near cache.
const mixedInt8 = 64 << 10

// depthwiseBlock is how many channels and how many outputs of a row make a block, and how many bytes its
// interleaved rows take.
func (s Shape) depthwiseBlock() (channels, outputs, size int) {
	groups, _ := s.depthwisePlan()
	of := func(outputs int) int { return groups * 4 * ((outputs-1)*s.Stride + s.Kernel) } // bytes a channel
	channels = s.C
	if few := of(min(s.OutW, 7)); few*channels > mixedInt8 {
		channels = min(max(mixedInt8/few/64, 1)*64, s.C)
	}
	outputs = 1
	for outputs < s.OutW && of(outputs+1)*channels <= mixedInt8 {
		outputs++
	}
	return channels, outputs, of(outputs)*channels + stripInt8*4 // reads of whole strips go beyond the last channel
}

// DepthwiseInt8Scratch is how many bytes of scratch memory DepthwiseInt8 needs.
func DepthwiseInt8Scratch(s Shape) int {
	_, _, size := s.depthwiseBlock()
	return size + lineBytes + s.W*s.C + Int8Slack
}

// DepthwiseInt8 computes n images dst[OutH][OutW][C] from src[H][W][C], each channel by itself. zero is the input's zero
// point: what padding holds. The capacity of src must include Int8Slack.
func DepthwiseInt8(dst, src []uint8, n int, w *PackedInt8, r *Requant, s Shape, zero uint8, scratch []uint8) {
	w.check(s.depthwiseWindow(), r)
	if n == 0 {
		return
	}
	d := depthwiseInt8{Shape: s, src: src[:n*s.in()+Int8Slack], zero: zero, w: w, r: r}
	var size int
	d.channels, d.outputs, size = s.depthwiseBlock()
	d.groups, d.rows = s.depthwisePlan()
	d.mixed = alignedBytes(scratch[:size+lineBytes], size)
	d.blank = scratch[size+lineBytes:][:s.W*s.C+Int8Slack]
	fillBytes(d.blank, zero)
	d.tile = tileInt8{a: d.mixed, b: w.data, c: dst[:n*s.out()], runs: d.groups, run: s.Kernel, cs: s.C}
	d.tile.requant(r)
	for c := 0; c < s.C; c += d.channels {
		for i := range n {
			for y := 0; y < s.OutH; y += d.rows {
				for x := 0; x < s.OutW; x += d.outputs {
					d.block(i, y, x, c)
				}
			}
		}
	}
}

// depthwiseInt8 is a call of DepthwiseInt8.
type depthwiseInt8 struct {
	Shape
	src, mixed, blank       []uint8 // blank is a row of padding
	zero                    uint8
	w                       *PackedInt8
	r                       *Requant
	tile                    tileInt8
	channels, outputs, rows int // of a block
	groups                  int
}

// block computes the outputs from row y, column x and channel c of image i on.
func (d *depthwiseInt8) block(i, y, x, c int) {
	channels, outputs := min(d.channels, d.C-c), min(d.outputs, d.OutW-x)
	width := (outputs-1)*d.Stride + d.Kernel
	// Columns from left to right are in the input, the first of them being column first there.
	at := x*d.Stride - d.PadLeft
	left := min(max(-at, 0), width)
	right := max(min(d.W-at, width), left)
	first := at + left
	for g := range d.groups {
		to := d.mixed[g*width*channels*4:][:width*channels*4]
		fillBytes(to[:left*channels*4], d.zero)
		fillBytes(to[right*channels*4:], d.zero)
		if left == right {
			continue
		}
		var in [4][]uint8
		for k := range in {
			in[k] = d.blank[c:]
			if row := y*d.Stride - d.PadTop + 4*g + k; row >= 0 && row < d.H {
				in[k] = d.src[((i*d.H+row)*d.W+first)*d.C+c:]
			}
		}
		to = to[left*channels*4:]
		if channels == d.C {
			interleave(to, in, 1, (right-left)*channels, 0)
		} else {
			interleave(to, in, right-left, channels, d.C)
		}
	}
	for row := range min(d.rows, d.OutH-y) {
		// Whole strips first: they lie equally far apart.
		for j := 0; j < channels; {
			t := d.tile
			t.m, t.as, t.ar, t.ak = outputs, d.Stride*channels*4, width*channels*4, channels*4
			t.strip(d.w, d.r, c+j)
			t.strips, t.bs = max((channels-j)/stripInt8, 1), stripInt8*d.w.depth
			t.cols = min(stripInt8, channels-j)
			t.b0 += row * d.groups * d.Kernel * t.bk
			t.br = d.Kernel * t.bk
			t.a0 = 4 * j
			t.c0 = ((i*d.OutH+y+row)*d.OutW+x)*d.C + c + j
			j += t.strips * stripInt8
			t.channels()
		}
	}
}

// interleaveGeneric writes dst[pixels][channels][4] from 4 rows of pixels that lie pitch bytes apart.
func interleaveGeneric(dst []uint8, rows [4][]uint8, pixels, channels, pitch int) {
	for x := range pixels {
		d := dst[x*channels*4:][:channels*4]
		r0, r1, r2, r3 := rows[0][x*pitch:][:channels], rows[1][x*pitch:][:channels], rows[2][x*pitch:][:channels], rows[3][x*pitch:][:channels]
		for c, v := range r0 {
			to := d[4*c : 4*c+4 : 4*c+4]
			to[0], to[1], to[2], to[3] = v, r1[c], r2[c], r3[c]
		}
	}
}
