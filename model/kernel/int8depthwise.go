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

// depthwiseBlock is how many channels are worked on at a time, so that their interleaved rows stay in the first cache.
func (s Shape) depthwiseBlock(groups, width int) int {
	return min(max((24<<10)/(groups*width*4)/stripInt8, 1)*stripInt8, s.C)
}

// DepthwiseInt8Scratch is how many bytes of scratch memory DepthwiseInt8 needs.
func DepthwiseInt8Scratch(s Shape) int {
	groups, _ := s.depthwisePlan()
	_, width := s.padded()
	return groups*width*s.depthwiseBlock(groups, width)*4 + stripInt8*4 + lineBytes + s.W*s.C + Int8Slack
}

// DepthwiseInt8 computes n images dst[OutH][OutW][C] from src[H][W][C], each channel by itself. zero is the input's zero
// point: what padding holds. The capacity of src must include Int8Slack.
func DepthwiseInt8(dst, src []uint8, n int, w *PackedInt8, r *Requant, s Shape, zero uint8, scratch []uint8) {
	w.check(s.depthwiseWindow(), r)
	if n == 0 {
		return
	}
	src, dst = src[:n*s.in()+Int8Slack], dst[:n*s.OutH*s.OutW*s.C]
	groups, rows := s.depthwisePlan()
	_, width := s.padded()
	block := s.depthwiseBlock(groups, width)
	size := groups*width*block*4 + stripInt8*4 // reads of whole strips go beyond the last channel
	mixed := alignedBytes(scratch[:size+lineBytes], size)
	blank := scratch[size+lineBytes:][:s.W*s.C+Int8Slack] // a row of padding
	fillBytes(blank, zero)
	t := tileInt8{a: mixed, b: w.data, c: dst, m: s.OutW, runs: groups, run: s.Kernel, cs: s.C}
	t.requant(r)
	inner := max(min(s.W, width-s.PadLeft), 0) // pixels of a row that windows read
	for c := 0; c < s.C; c += block {
		channels := min(block, s.C-c)
		fillBytes(mixed, zero)
		t.as, t.ar, t.ak = s.Stride*channels*4, width*channels*4, channels*4
		for i := range n {
			for y := 0; y < s.OutH; y += rows {
				for g := range groups {
					var in [4][]uint8
					for k := range in {
						in[k] = blank[c:]
						if at := y*s.Stride - s.PadTop + 4*g + k; at >= 0 && at < s.H {
							in[k] = src[(i*s.H+at)*s.W*s.C+c:]
						}
					}
					interleave(mixed[(g*width+s.PadLeft)*channels*4:], in, inner, channels, s.C)
				}
				for row := range min(rows, s.OutH-y) {
					for j := 0; j < channels; j += stripInt8 {
						t.strip(w, r, c+j)
						t.b0 += row * groups * s.Kernel * t.bk
						t.br = s.Kernel * t.bk
						t.a0 = 4 * j
						t.c0 = ((i*s.OutH+y+row)*s.OutW)*s.C + c + j
						t.channels()
					}
				}
			}
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
