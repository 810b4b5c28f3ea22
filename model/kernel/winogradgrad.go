package kernel

// The gradient of the weights of a convolution by Winograd's algorithm (winograd.go) is
//
//	dg = Gt [ sum over tiles of (A dY At) * (Bt d B) ] G
//
// for tiles dY of 2x2 gradients of outputs, and d of 4x4 inputs: again 16 products of matrices, OutC x tiles by tiles x C,
// with 16 multiplications for 36. Windows of 5x5 are four of 3x3 here too.

// winogradGradTiles is how many tiles are transformed together: sums over fewer are stored and loaded too often.
const winogradGradTiles = 160

// winogradGrad reports whether the gradient of the weights is worked out in this way: where the two transformations are few
// beside the products. In bfloat16 the products take so much less time that four windows of 3x3 are not worth it for one of 5x5.
func (s Shape) winogradGrad() bool {
	return s.winograd() && s.C >= 32 && !(s.BFloat16 && s.Kernel == 5)
}

// planWinograd is planWeights for shapes of winogradGrad: it sets the blocks, and tells the memory for sums, strips (of inputs and of gradients) and tiles
// (transformations of both).
func (s Shape) planWinograd() (g gradWeights, sum, strips, tiles int) {
	g = gradWeights{s: s, places: true, pairs: s.BFloat16}
	var down, across int
	down, across, g.h, g.w = s.tiled()
	g.images, g.rows, g.step = together(g.h, g.w, s.C), s.OutH, 1
	c, o := roundUp(s.C, lanes()), roundUp(s.OutC, lanes())
	parts := s.thirds() * s.thirds()
	return g, places*parts*s.C*s.OutC + lineValues, g.images*(g.h*g.w*c+4*down*across*o) + lineValues,
		winogradGradTiles*places*(parts*c+o) + lineValues
}

// addPlaces adds the gradients of images, at most g.images.
func (g *gradWeights) addPlaces(ddst, src []float32, images int) {
	s, width := g.s, outerWidth()
	down, across, h, w := s.tiled()
	parts := s.thirds() * s.thirds()
	cs, os := roundUp(s.C, lanes()), roundUp(s.OutC, lanes())
	inputs, grads := g.strips[:images*h*w*cs], g.strips[images*h*w*cs:]
	for j := 0; j < s.C; j += width {
		cols := min(width, s.C-j)
		for i := range images {
			g.fill(inputs[(j*images+i*roundUp(cols, lanes()))*h*w:], src[i*s.in()+j:], 0, h, s.OutW, cols)
		}
	}
	size := 4 * down * across
	for j := 0; j < s.OutC; j += width {
		cols := min(width, s.OutC-j)
		lane := roundUp(cols, lanes())
		for i := range images {
			d := grads[(j*images+i*lane)*size:][:size*lane]
			for y := range s.OutH {
				row := d[y*2*across*lane:][:2*across*lane]
				copyRows(row, ddst[(i*s.OutH+y)*s.OutW*s.OutC+j:], s.OutW, cols, lane, s.OutC, true)
				clear(row[s.OutW*lane:])
			}
			clear(d[s.OutH*2*across*lane:])
		}
	}
	total := images * down * across
	for t0 := 0; t0 < total; t0 += winogradGradTiles {
		tiles := min(winogradGradTiles, total-t0)
		v, m := g.tiles[:places*tiles*parts*cs], g.tiles[places*tiles*parts*cs:][:places*tiles*os]
		for at := 0; at < tiles; {
			row, x := (t0+at)/across, (t0+at)%across
			count := min(across-x, tiles-at)
			i, y := row/down, row%down
			for j := 0; j < s.C; j += width {
				lane := roundUp(min(width, s.C-j), lanes())
				for part := range parts {
					from := (2*y+part/s.thirds()*3)*w + 2*x + part%s.thirds()*3
					tilesIn(v[(part*cs+j)*tiles+at*lane:], inputs[((j*images+i*lane)*h*w)+from*lane:], count, lane, w*lane, lane, tiles*parts*cs)
				}
			}
			for j := 0; j < s.OutC; j += width {
				lane := roundUp(min(width, s.OutC-j), lanes())
				tilesGrad(m[j*tiles+at*lane:], grads[(j*images+i*lane)*size+(4*y*across+2*x)*lane:], count, lane, 2*across*lane, tiles*os)
			}
			at += count
		}
		t := outer{a: m, b: v, c: g.sum, cs: s.C, images: 1, rows: 1, run: tiles, add: 1, pairs: g.pairs}
		if g.pairs {
			t.run = paired(tiles)
			g.pairTiles(v, parts*cs, s.C, parts, tiles)
			g.pairTiles(m, os, s.OutC, 1, tiles)
		}
		if !g.more {
			t.add = 0
		}
		for p := range places * parts {
			place, part := p/parts, p%parts
			for j := 0; j < s.C; j += width {
				t.cols = min(width, s.C-j)
				t.bStep = roundUp(t.cols, lanes())
				t.b0 = (p*cs + j) * tiles
				for o := 0; o < s.OutC; o += width {
					t.m = min(width, s.OutC-o)
					t.aStep = roundUp(t.m, lanes())
					t.height = even(t.m, tallest())
					t.at = t.height
					t.a0 = (place*os + o) * tiles
					t.c0 = ((place*parts+part)*s.OutC+o)*s.C + j
					t.sum()
				}
			}
		}
		g.more = true
	}
}

// finishPlaces turns the sums into the gradient.
func (g *gradWeights) finishPlaces(dw []float32) {
	s := g.s
	parts := s.thirds() * s.thirds()
	plane := parts * s.OutC * s.C
	for o := range s.OutC {
		if parts == 1 {
			tilesBack(dw[o*9*s.C:][:9*s.C], g.sum[o*s.C:], s.C, s.C, plane)
			continue
		}
		for part := range parts {
			window := g.tiles[:9*s.C]
			tilesBack(window, g.sum[(part*s.OutC+o)*s.C:], s.C, s.C, plane)
			for y := range 3 {
				ky, kx := part/s.thirds()*3+y, part%s.thirds()*3
				if ky < s.Kernel { // what lies beyond the window has no weights
					copy(dw[((o*s.Kernel+ky)*s.Kernel+kx)*s.C:][:min(3, s.Kernel-kx)*s.C], window[3*y*s.C:])
				}
			}
		}
	}
}

// tilesGrad computes A dY At for tiles side by side: 2x2 pixels of c channels each, rows of pixels lying row values apart.
// Place i of a tile goes to dst[i*plane], tiles c values apart. c is whole vectors.
func tilesGrad(dst, src []float32, tiles, c, row, plane int) {
	if tiles == 0 {
		return
	}
	reach(src, 0, c, (2*tiles-1)*c, row, 0)
	reach(dst, 0, tiles*c, (places-1)*plane, 0, 0)
	tilesGradLevel(dst, src, tiles, c, row, plane)
}

func tilesGradGeneric(dst, src []float32, tiles, c, row, plane int) {
	for t := range tiles {
		for k := range c {
			at := 2*t*c + k
			a, b, d, e := src[at], src[at+c], src[at+row], src[at+c+row]
			for y, u := range [4][2]float32{{a, b}, {a + d, b + e}, {a - d, b - e}, {0 - d, 0 - e}} {
				to := dst[4*y*plane+t*c+k:]
				to[0], to[plane], to[2*plane], to[3*plane] = u[0], u[0]+u[1], u[0]-u[1], 0-u[1]
			}
		}
	}
}

// tilesBack computes Gt u G for n values side by side, the places of u lying plane values apart and the taps of dw tap
// values.
func tilesBack(dw, u []float32, n, tap, plane int) {
	reach(u, 0, n, (places-1)*plane, 0, 0)
	reach(dw, 0, n, 8*tap, 0, 0)
	tilesBackLevel(dw, u, n, tap, plane)
}

func tilesBackGeneric(dw, u []float32, n, tap, plane int) {
	fold := func(a, b, c, d float32) (float32, float32, float32) {
		t := float32((b + c) * 0.5)
		return a + t, float32((b - c) * 0.5), t + d
	}
	for i := range n {
		var r [4][3]float32
		for y := range r {
			at := u[4*y*plane+i:]
			r[y][0], r[y][1], r[y][2] = fold(at[0], at[plane], at[2*plane], at[3*plane])
		}
		for x := range 3 {
			dw[x*tap+i], dw[(3+x)*tap+i], dw[(6+x)*tap+i] = fold(r[0][x], r[1][x], r[2][x], r[3][x])
		}
	}
}
