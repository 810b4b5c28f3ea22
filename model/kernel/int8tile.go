package kernel

import "fmt"

// tileInt8 is the loop under the int8 layers: m x cols outputs, each a sum over runs x run groups of 4 products.
//
// product computes, for i < m and j < cols,
//
//	sum = bias[j] + sum over r < runs, k < run, q < 4 of a[a0+i*as+r*ar+k*ak+q] * b[b0+r*br+k*bk+4*j+q]
//
// and channels the same with 4*j added to the index of a as well. The sum ends, by way of scale, high, zero and low (see
// Requant), in c[c0+i*cs+j], or as float32(sum)*scale[j] in f at the same place where f is given.
//
// The assembly reads the fields by their offsets, taken from this struct by the generator's copy: keep both alike. It
// reads b for columns up to the next multiple of 16, and so does channels with a.
type tileInt8 struct {
	a          []uint8
	b          []int8
	c          []uint8
	f          []float32
	bias       []int32
	scale      []float32
	a0, b0, c0 int
	as, ar, ak int
	br, bk     int
	cs         int
	m, cols    int
	runs, run  int
	rows       int     // height of the tiles the assembly cuts m into, so that none is much smaller than the others
	strips, bs int     // channels: how many strips; more than one have stripInt8 columns each and lie bs apart in b
	stream     int     // 1: the weights come from memory rather than a cache
	high       float32 // the largest value before zero is added
	zero       int16
	low        uint8
}

func (t *tileInt8) requant(r *Requant) {
	t.high, t.zero, t.low = float32(int(r.High)-int(r.Zero)), int16(r.Zero), r.Low
}

// strip sets what depends on the strip of weights from column j on.
func (t *tileInt8) strip(w *PackedInt8, r *Requant, j int) {
	t.b0, t.cols, t.bk = w.strip(j)
	t.bias, t.scale = r.Bias[j:], r.Scale[j:]
}

// check panics when a tile would leave its slices, which keeps assembly as safe as Go. aw is how many bytes of a one
// group needs: 4, or 4 a column for channels.
func (t *tileInt8) check(aw int) {
	_, _ = t.bias[t.cols-1], t.scale[t.cols-1]
	reachIn(t.a, t.a0, aw, (t.m-1)*t.as, (t.runs-1)*t.ar, (t.run-1)*t.ak)
	reachIn(t.b, t.b0, 4*roundUp(t.cols, stripInt8/2), (t.runs-1)*t.br, (t.run-1)*t.bk, 0)
	if t.f != nil {
		reachIn(t.f, t.c0, t.cols, (t.m-1)*t.cs, 0, 0)
	} else {
		reachIn(t.c, t.c0, t.cols, (t.m-1)*t.cs, 0, 0)
	}
}

// checkChannels is check for all strips of channels.
func (t *tileInt8) checkChannels() {
	last := *t
	last.move(t.strips - 1)
	for _, t := range []*tileInt8{t, &last} {
		t.check(4 * roundUp(t.cols, stripInt8/2))
	}
}

// move goes n strips farther in channels.
func (t *tileInt8) move(n int) {
	t.a0 += n * 4 * stripInt8
	t.b0 += n * t.bs
	t.c0 += n * stripInt8
	t.bias, t.scale = t.bias[n*stripInt8:], t.scale[n*stripInt8:]
}

// reachIn is reach for any type of values.
func reachIn[T any](s []T, from, width, d0, d1, d2 int) {
	lo := from + min(d0, 0) + min(d1, 0) + min(d2, 0)
	hi := from + max(d0, 0) + max(d1, 0) + max(d2, 0) + width
	if lo < 0 || hi > len(s) {
		panic(fmt.Sprintf("kernel: a slice of %d values is too short: values %d to %d are needed", len(s), lo, hi))
	}
}

// split sets rows.
func (t *tileInt8) split(most int) {
	n := (t.m + most - 1) / most
	t.rows = (t.m + n - 1) / n
}

// end stores a sum.
func (t *tileInt8) end(i, j int, sum int32) {
	v := float32(sum+t.bias[j]) * t.scale[j]
	at := t.c0 + i*t.cs + j
	if t.f != nil {
		t.f[at] = v
		return
	}
	t.c[at] = quantized(v, t.high, t.zero, t.low)
}

// quantized is the end of Requant: v has been scaled.
func quantized(v, high float32, zero int16, low uint8) uint8 {
	if !(v < high) {
		v = high
	}
	if least := float32(int16(low) - zero); v < least {
		v = least
	}
	return uint8(int16(round(v)) + zero)
}

// round rounds halves to even, as the processors do. |v| is at most 2^22.
func round(v float32) float32 {
	const magic = 3 << 22 // from here on to 2^24, float32 holds integers alone
	return float32(v+magic) - magic
}

// productGeneric is product in Go.
func (t *tileInt8) productGeneric() {
	for i := range t.m {
		for j := 0; j < t.cols; j += 4 {
			var v [4]int32
			for r := range t.runs {
				a, b := t.a0+i*t.as+r*t.ar, t.b0+r*t.br+4*j
				for range t.run {
					x, w := t.a[a:a+4:a+4], t.b[b:b+16:b+16]
					x0, x1, x2, x3 := int32(x[0]), int32(x[1]), int32(x[2]), int32(x[3])
					v[0] += x0*int32(w[0]) + x1*int32(w[1]) + x2*int32(w[2]) + x3*int32(w[3])
					v[1] += x0*int32(w[4]) + x1*int32(w[5]) + x2*int32(w[6]) + x3*int32(w[7])
					v[2] += x0*int32(w[8]) + x1*int32(w[9]) + x2*int32(w[10]) + x3*int32(w[11])
					v[3] += x0*int32(w[12]) + x1*int32(w[13]) + x2*int32(w[14]) + x3*int32(w[15])
					a += t.ak
					b += t.bk
				}
			}
			for q := range min(4, t.cols-j) {
				t.end(i, j+q, v[q])
			}
		}
	}
}

// channelsGeneric is a strip of channels in Go.
func (t *tileInt8) channelsGeneric() {
	for i := range t.m {
		for j := range t.cols {
			var v int32
			for r := range t.runs {
				a, b := t.a0+i*t.as+r*t.ar+4*j, t.b0+r*t.br+4*j
				for range t.run {
					x, w := t.a[a:a+4:a+4], t.b[b:b+4:b+4]
					v += int32(x[0])*int32(w[0]) + int32(x[1])*int32(w[1]) + int32(x[2])*int32(w[2]) + int32(x[3])*int32(w[3])
					a += t.ak
					b += t.bk
				}
			}
			t.end(i, j, v)
		}
	}
}
