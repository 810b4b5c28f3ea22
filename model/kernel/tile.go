package kernel

import "fmt"

// tile is the loop under everything: m x cols outputs, each a sum over runs x run products.
//
// product computes, for i < m and j < cols, with r and k ascending,
//
//	c[c0+i*cs+j] = act(start + sum over r < runs, k < run of a[a0+i*as+r*ar+k*ak] * b[b0+r*br+k*bk+j])
//
// and channels the same with j added to the index of a as well. start is the old value of c if add is set, else
// bias[j], or 0 without bias. With pairs, product adds two products for each k: see bfloat16.go. maxima is the largest a that channels would read; b, add, bias and the activation are
// nothing to it. All strides are in values; those of a and b may be negative.
//
// The assembly reads the fields by their offsets, taken from this struct by the generator's copy: keep both alike.
type tile struct {
	a, b, c, bias  []float32
	a0, b0, c0     int
	as, ar, ak     int
	br, bk         int
	cs             int
	m, cols        int
	runs, run      int
	rows           int  // height of the pieces the assembly cuts m into, so that none is much smaller than the others
	add, low, high int  // 1: start from c; replace values below 0; replace values above 6
	padded         int  // 1: product may read b up to the next whole vector
	pairs          bool // product multiplies pairs of bfloat16
}

// Flags of tile.
func (t *tile) act(a Act) {
	t.low, t.high = 0, 0
	switch a {
	case ReLU:
		t.low = 1
	case ReLU6:
		t.low, t.high = 1, 1
	}
}

// check panics when a tile would leave its slices, which keeps assembly as safe as Go. aw and bw are how many values of a
// and b one product needs.
func (t *tile) check(aw, bw int) {
	if t.bias != nil {
		_ = t.bias[t.cols-1]
	}
	if t.runs > 0 && t.run > 0 {
		reach(t.a, t.a0, aw, (t.m-1)*t.as, (t.runs-1)*t.ar, (t.run-1)*t.ak)
		if bw > 0 {
			reach(t.b, t.b0, bw, (t.runs-1)*t.br, (t.run-1)*t.bk, 0)
		}
	}
	reach(t.c, t.c0, t.cols, (t.m-1)*t.cs, 0, 0)
}

// product and its siblings run the twin of the level in use.
func (t *tile) product() {
	width := t.cols
	if t.padded != 0 {
		width = roundUp(width, lanes())
	}
	t.check(1, width)
	if t.pairs {
		t.productPairsLevel()
	} else {
		t.productLevel()
	}
}

func (t *tile) channels() {
	t.check(t.cols, t.cols)
	t.channelsLevel()
}

func (t *tile) maxima() {
	t.check(t.cols, 0)
	t.maximaLevel()
}

// reach panics unless s holds width values at from moved by any of the distances.
func reach(s []float32, from, width, d0, d1, d2 int) {
	lo := from + min(d0, 0) + min(d1, 0) + min(d2, 0)
	hi := from + max(d0, 0) + max(d1, 0) + max(d2, 0) + width
	if lo < 0 || hi > len(s) {
		panic(fmt.Sprintf("kernel: a slice of %d values is too short: values %d to %d are needed", len(s), lo, hi))
	}
}

// split sets rows.
func (t *tile) split(most int) {
	n := (t.m + most - 1) / most
	t.rows = (t.m + n - 1) / n
}

func (t *tile) start(i, j int) float32 {
	switch {
	case t.add != 0:
		return t.c[t.c0+i*t.cs+j]
	case t.bias != nil:
		return t.bias[j]
	}
	return 0
}

func (t *tile) store(i, j int, v float32) {
	if t.low != 0 && v < 0 {
		v = 0
	}
	if t.high != 0 && v > 6 {
		v = 6
	}
	t.c[t.c0+i*t.cs+j] = v
}

// productGeneric is product in Go. The conversions of products forbid fused multiply-adds, so that every
// architecture gives the same bits.
func (t *tile) productGeneric() {
	for i := 0; i < t.m; i++ {
		j := 0
		for ; j+4 <= t.cols; j += 4 {
			if i+2 <= t.m {
				t.product2x4(i, j)
			} else {
				t.product1x4(i, j)
			}
		}
		last := i + 1
		if i+2 <= t.m {
			last++
		}
		for ; j < t.cols; j++ {
			for i := i; i < last; i++ {
				v := t.start(i, j)
				for r := range t.runs {
					a, b := t.a0+i*t.as+r*t.ar, t.b0+r*t.br+j
					for range t.run {
						v += float32(t.a[a] * t.b[b])
						a += t.ak
						b += t.bk
					}
				}
				t.store(i, j, v)
			}
		}
		i = last - 1
	}
}

func (t *tile) product1x4(i, j int) {
	v0, v1, v2, v3 := t.start(i, j), t.start(i, j+1), t.start(i, j+2), t.start(i, j+3)
	as, bs := t.a, t.b
	for r := range t.runs {
		a, b := t.a0+i*t.as+r*t.ar, t.b0+r*t.br+j
		for range t.run {
			w := bs[b : b+4 : b+4]
			x := as[a]
			v0 += float32(x * w[0])
			v1 += float32(x * w[1])
			v2 += float32(x * w[2])
			v3 += float32(x * w[3])
			a += t.ak
			b += t.bk
		}
	}
	t.store(i, j, v0)
	t.store(i, j+1, v1)
	t.store(i, j+2, v2)
	t.store(i, j+3, v3)
}

func (t *tile) product2x4(i, j int) {
	v0, v1, v2, v3 := t.start(i, j), t.start(i, j+1), t.start(i, j+2), t.start(i, j+3)
	u0, u1, u2, u3 := t.start(i+1, j), t.start(i+1, j+1), t.start(i+1, j+2), t.start(i+1, j+3)
	as, bs, ak, bk := t.a, t.b, t.ak, t.bk
	for r := range t.runs {
		a, b := t.a0+i*t.as+r*t.ar, t.b0+r*t.br+j
		a1 := a + t.as
		for range t.run {
			w := bs[b : b+4 : b+4]
			x, y := as[a], as[a1]
			w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
			v0 += float32(x * w0)
			u0 += float32(y * w0)
			v1 += float32(x * w1)
			u1 += float32(y * w1)
			v2 += float32(x * w2)
			u2 += float32(y * w2)
			v3 += float32(x * w3)
			u3 += float32(y * w3)
			a += ak
			a1 += ak
			b += bk
		}
	}
	t.store(i, j, v0)
	t.store(i, j+1, v1)
	t.store(i, j+2, v2)
	t.store(i, j+3, v3)
	t.store(i+1, j, u0)
	t.store(i+1, j+1, u1)
	t.store(i+1, j+2, u2)
	t.store(i+1, j+3, u3)
}

// maximaGeneric is maxima in Go.
func (t *tile) maximaGeneric() {
	for i := range t.m {
		a, c := t.a0+i*t.as, t.c0+i*t.cs
		copy(t.c[c:c+t.cols], t.a[a:])
		for r := range t.runs {
			for k := range t.run {
				maxToGeneric(t.c[c:c+t.cols], t.a[a+r*t.ar+k*t.ak:][:t.cols])
			}
		}
	}
}

// channelsGeneric is channels in Go.
func (t *tile) channelsGeneric() {
	for i := range t.m {
		j := 0
		for ; j+4 <= t.cols; j += 4 {
			v0, v1, v2, v3 := t.start(i, j), t.start(i, j+1), t.start(i, j+2), t.start(i, j+3)
			for r := range t.runs {
				a, b := t.a0+i*t.as+r*t.ar+j, t.b0+r*t.br+j
				for range t.run {
					x, w := t.a[a:a+4:a+4], t.b[b:b+4:b+4]
					v0 += float32(x[0] * w[0])
					v1 += float32(x[1] * w[1])
					v2 += float32(x[2] * w[2])
					v3 += float32(x[3] * w[3])
					a += t.ak
					b += t.bk
				}
			}
			t.store(i, j, v0)
			t.store(i, j+1, v1)
			t.store(i, j+2, v2)
			t.store(i, j+3, v3)
		}
		for ; j < t.cols; j++ {
			v := t.start(i, j)
			for r := range t.runs {
				a, b := t.a0+i*t.as+r*t.ar+j, t.b0+r*t.br+j
				for range t.run {
					v += float32(t.a[a] * t.b[b])
					a += t.ak
					b += t.bk
				}
			}
			t.store(i, j, v)
		}
	}
}
