package kernel

// Convolutions of 3x3 windows at stride 1 take 16 multiplications for 2x2 outputs instead of 36, by the minimal
// algorithm F(2x2, 3x3) of Winograd (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015):
//
//	Y = At [ (G g Gt) * (Bt d B) ] A
//
// for a window g and 4x4 inputs d. Summed over the channels, each of the 16 places is a product of matrices of its own:
// tiles x C by C x OutC. A window of 5x5 is four of 3x3, with zeros where it ends, which are summed as channels are: 64
// multiplications instead of 100. The sums are those of a direct convolution to about a millionth. An infinite input gives
// NaN in its neighbourhood.

const places = 16 // of a 4x4 tile

// winograd reports whether Conv works in this way: where there are channels enough to pay for the two transformations,
// and outputs enough to pay for the larger weights. Rows do not matter, so that bands of an image are computed alike; they
// must begin at an even row.
func (s Shape) winograd() bool {
	return (s.Kernel == 3 || s.Kernel == 5) && s.Stride == 1 && s.C >= 16 && s.OutC >= 32 && s.OutW >= 12
}

// thirds is how many windows of 3 a side of the window is made of.
func (s Shape) thirds() int { return (s.Kernel + 2) / 3 }

// winogradRun is how many products make a place of an output.
func (s Shape) winogradRun() int { return s.thirds() * s.thirds() * s.C }

// winogradTiles is how many tiles are transformed together: as many as stay in the cache with their products, but enough
// for reading all weights once.
func (s Shape) winogradTiles() int { return max(l2Weights/(places*(s.winogradRun()+s.OutC)), 48) }

// tiled is the size of an image in 2x2 outputs, and of the inputs they need.
func (s Shape) tiled() (down, across, h, w int) {
	down, across = (s.OutH+1)/2, (s.OutW+1)/2
	more := 3*s.thirds() - 1
	return down, across, 2*down + more, 2*across + more
}

func winogradScratch(s Shape) int {
	_, _, h, w := s.tiled()
	return borderSize(h, w, s.C) + s.winogradTiles()*places*(s.winogradRun()+s.OutC) + 2*lineValues
}

// packWinograd fills the panels of the 16 places with G g Gt.
func (p *Packed) packWinograd(w []float32) {
	size := p.shape.Kernel
	thirds, c := p.shape.thirds(), p.shape.C
	step := 1
	if p.conv.pairs {
		step = 2
	}
	for o := range p.out {
		g := w[o*p.in:][:p.in]
		j := o / p.conv.width * p.conv.width
		at, _, stride := p.conv.strip(j)
		for part := range thirds * thirds {
			top, left := part/thirds*3, part%thirds*3
			rows, columns := min(3, size-top), min(3, size-left)
			window := func(k int) [places]float32 { return gridOf(g[(top*size+left)*c+k:], rows, columns, size*c, c) }
			for k := 0; k < c; k += step {
				u := window(k)
				if step == 2 {
					for i, v := range window(k + 1) {
						u[i] = pair(u[i], v)
					}
				}
				to := p.conv.data[at+(part*c+k)/step*stride+o-j:]
				for i, v := range u {
					to[i*p.place] = v
				}
			}
		}
	}
}

// gridOf computes G g Gt of a window of which rows x columns are there: two of them at least.
func gridOf(g []float32, rows, columns, row, pixel int) (u [places]float32) {
	var t [4][3]float32
	for x := range columns {
		i := x * pixel
		a, b, d := g[i], g[i+row], float32(0)
		if rows == 3 {
			d = g[i+2*row]
		}
		t[0][x], t[1][x], t[2][x], t[3][x] = a, (a+b+d)/2, (a-b+d)/2, d
	}
	for y := range t {
		a, b, d := t[y][0], t[y][1], t[y][2]
		u[4*y], u[4*y+1], u[4*y+2], u[4*y+3] = a, (a+b+d)/2, (a-b+d)/2, d
	}
	return u
}

// convWinograd is Conv for shapes of winograd.
func convWinograd(dst, src []float32, n int, p *Packed, bias []float32, s Shape, act Act, scratch []float32) {
	down, across, h, w := s.tiled()
	most := s.winogradTiles()
	run := s.winogradRun()
	size := most * places * run
	v := aligned(scratch, size)
	m := aligned(scratch[size+lineValues:], most*places*s.OutC)
	b := newBorder(scratch[size+most*places*s.OutC+2*lineValues:], h, w, s.C, s.PadTop, s.PadLeft)
	group := together(h, w, s.C)
	imageSize := s.OutH * s.OutW * s.pitch()
	for first := 0; first < n; first += group {
		images := min(group, n-first)
		b.fill(src[first*s.in():], images, s.H, s.W)
		total := images * down * across
		for t0 := 0; t0 < total; t0 += most {
			tiles := min(most, total-t0)
			runs(t0, tiles, across, func(at, row, x, count int) {
				i, y := row/down, row%down
				for part := range s.thirds() * s.thirds() {
					top, left := 2*y+part/s.thirds()*3, 2*x+part%s.thirds()*3
					tilesIn(v[at*run+part*s.C:], b.data[((i*h+top)*w+left)*s.C:], count, s.C, w*s.C, run, tiles*run)
				}
			})
			k := run
			if p.conv.pairs {
				k = run / 2
				pairNeighbours(v, v[:places*tiles*run])
			}
			for i := range places {
				q := p.conv
				q.data = q.data[i*p.place:][:p.place]
				multiply(m[i*tiles*s.OutC:][:tiles*s.OutC], v[i*tiles*k:][:tiles*k], tiles, s.OutC, q, nil, Linear)
			}
			runs(t0, tiles, across, func(at, row, x, count int) {
				i, y := row/down, row%down
				o := dst[(first+i)*imageSize+(2*y*s.OutW+2*x)*s.pitch():]
				out := tilesOf{down: min(2, s.OutH-2*y), across: 2, channels: s.OutC, plane: tiles * s.OutC,
					row: s.OutW * s.pitch(), pixel: s.pitch()}
				whole := min(count, s.OutW/2-x) // the last of a row may be one output wide
				out.write(o, m[at*s.OutC:], bias, whole, act)
				if whole < count {
					out.across = 1
					out.write(o[whole*2*s.pitch():], m[(at+whole)*s.OutC:], bias, 1, act)
				}
			})
		}
	}
}

// runs calls f for each row, or part of one, of the tiles from t0 on: at is its first tile's place among them, x its
// place in the row.
func runs(t0, tiles, across int, f func(at, row, x, count int)) {
	for at := 0; at < tiles; {
		row, x := (t0+at)/across, (t0+at)%across
		count := min(across-x, tiles-at)
		f(at, row, x, count)
		at += count
	}
}

// tilesIn computes Bt d B for tiles side by side: 4x4 pixels of c channels each, rows of pixels lying row values apart and
// tiles 2 pixels. Place i of a tile goes to dst[i*plane], tiles tile values apart.
func tilesIn(dst, src []float32, tiles, c, row, tile, plane int) {
	if tiles == 0 {
		return
	}
	reach(src, 0, c, (2*tiles+1)*c, 3*row, 0)
	reach(dst, 0, c, (tiles-1)*tile, (places-1)*plane, 0)
	tilesInLevel(dst, src, tiles, c, row, tile, plane)
}

func tilesInGeneric(dst, src []float32, tiles, c, row, tile, plane int) {
	for t := range tiles {
		for k := range c {
			var u [4][4]float32
			for x := range 4 {
				at := (2*t+x)*c + k
				d0, d1, d2, d3 := src[at], src[at+row], src[at+2*row], src[at+3*row]
				u[0][x], u[1][x], u[2][x], u[3][x] = d0-d2, d1+d2, d2-d1, d1-d3
			}
			for y := range 4 {
				to := dst[4*y*plane+t*tile+k:]
				to[0], to[plane], to[2*plane], to[3*plane] = u[y][0]-u[y][2], u[y][1]+u[y][2], u[y][2]-u[y][1], u[y][1]-u[y][3]
			}
		}
	}
}

// tilesOf says where the outputs of tiles go: down x across of 2x2, rows of them lying row values apart and pixels pixel
// values.
type tilesOf struct {
	down, across, channels int
	plane                  int // values from one place of a tile to the next in the products
	row, pixel             int
}

// write computes At m A + bias and the activation for tiles side by side.
func (o tilesOf) write(dst, m, bias []float32, tiles int, act Act) {
	if tiles == 0 {
		return
	}
	reach(m, 0, tiles*o.channels, (places-1)*o.plane, 0, 0)
	reach(dst, 0, o.channels, (2*(tiles-1)+o.across-1)*o.pixel, (o.down-1)*o.row, 0)
	if bias != nil {
		_ = bias[o.channels-1]
	}
	o.writeLevel(dst, m, bias, tiles, act)
}

func (o tilesOf) writeGeneric(dst, m, bias []float32, tiles int, act Act) {
	for t := range tiles {
		for k := range o.channels {
			at := m[t*o.channels+k:]
			for y := range o.down {
				var r [4]float32
				for x := range r {
					if m1, m2 := at[(4+x)*o.plane], at[(8+x)*o.plane]; y == 0 {
						r[x] = at[x*o.plane] + m1 + m2
					} else {
						r[x] = m1 - m2 - at[(12+x)*o.plane]
					}
				}
				for x := range o.across {
					v := r[0] + r[1] + r[2]
					if x == 1 {
						v = r[1] - r[2] - r[3]
					}
					if bias != nil {
						v += bias[k]
					}
					if act != Linear && v < 0 {
						v = 0
					}
					if act == ReLU6 && v > 6 {
						v = 6
					}
					dst[y*o.row+(2*t+x)*o.pixel+k] = v
				}
			}
		}
	}
}
