package transforms

import (
	"fmt"
	"math/rand/v2"
)

// JPEG leaves on the picture what saving it as a JPEG does, with a Probability: the quality is drawn evenly from the
// whole numbers of Quality, 1 to 100 as in libjpeg, with the tables of Annex K of ITU-T T.81 and chroma at half the
// resolution. The coefficients are rounded as a file would keep them, and nothing is written, since coding loses
// nothing more. It is torchvision's JPEG. For scoring it does nothing.
type JPEG struct {
	Quality     [2]int  `json:"quality"`
	Probability float64 `json:"probability"`
}

// Name is "jpeg".
func (JPEG) Name() string { return "jpeg" }

// Validate wants a Quality within [1, 100], the low end first, and a Probability in (0, 1].
func (s JPEG) Validate() error {
	if !(1 <= s.Quality[0] && s.Quality[0] <= s.Quality[1] && s.Quality[1] <= 100) {
		return fmt.Errorf(`"quality" is %v, want two whole numbers in [1, 100], the lower first`, s.Quality)
	}
	return checkProbability(s.Probability)
}

func (JPEG) size(w, h int) (int, int) { return w, h }

func (s JPEG) apply(v *view, r *rand.Rand) error {
	if !happens(r, s.Probability) {
		return nil
	}
	quality := s.Quality[0] + r.IntN(s.Quality[1]-s.Quality[0]+1)
	m, err := v.writable()
	if err != nil {
		return err
	}
	luma, chroma := newQuantiser(&lumaTable, quality), newQuantiser(&chromaTable, quality)
	var u mcu
	for y := 0; y < m.H; y += 16 {
		for x := 0; x < m.W; x += 16 {
			u.read(m, x, y)
			for i := range u.y {
				u.y[i].code(luma)
			}
			u.cb.code(chroma)
			u.cr.code(chroma)
			u.write(m, x, y)
		}
	}
	return nil
}

// mcu is 16 x 16 pixels: four blocks of luma, from the upper left, and one of each chroma. Samples lie about zero.
type mcu struct {
	y      [4]dctBlock
	cb, cr dctBlock
}

// dctBlock is 8 x 8 samples or coefficients, row by row.
type dctBlock [64]int32

// read converts the pixels from (x, y) on. Those beyond the edges are as the outermost.
func (u *mcu) read(m *Image, x, y int) {
	// BT.601 with 16 bits below the point; chroma is of the sum of four pixels.
	for by := range 8 {
		upper := 3 * m.W * min(y+2*by, m.H-1)
		lower := 3 * m.W * min(y+2*by+1, m.H-1)
		for bx := range 8 {
			left, right := 3*min(x+2*bx, m.W-1), 3*min(x+2*bx+1, m.W-1)
			luma := &u.y[by/4*2+bx/4]
			at := by%4*16 + bx%4*2
			var r, g, b int32
			for i, p := range [4]int{upper + left, upper + right, lower + left, lower + right} {
				rgb := m.Pix[p : p+3 : p+3]
				pr, pg, pb := int32(rgb[0]), int32(rgb[1]), int32(rgb[2])
				luma[at+i/2*8+i%2] = (19595*pr+38470*pg+7471*pb+1<<15)>>16 - 128
				r, g, b = r+pr, g+pg, b+pb
			}
			u.cb[8*by+bx] = (-11059*r - 21709*g + 32768*b + 1<<17) >> 18
			u.cr[8*by+bx] = (32768*r - 27439*g - 5329*b + 1<<17) >> 18
		}
	}
}

// write is the way back, for the pixels that lie within m.
func (u *mcu) write(m *Image, x, y int) {
	for by := range 8 {
		for bx := range 8 {
			cb, cr := u.cb[8*by+bx], u.cr[8*by+bx]
			r := (91881*cr + 1<<15) >> 16
			g := (-22554*cb - 46802*cr + 1<<15) >> 16
			b := (116130*cb + 1<<15) >> 16
			luma := &u.y[by/4*2+bx/4]
			at := by%4*16 + bx%4*2
			for i := range 4 {
				px, py := x+2*bx+i%2, y+2*by+i/2
				if px >= m.W || py >= m.H {
					continue
				}
				v := luma[at+i/2*8+i%2] + 128
				p := m.Pix[3*(py*m.W+px):][:3:3]
				p[0], p[1], p[2] = clamp8(v+r), clamp8(v+g), clamp8(v+b)
			}
		}
	}
}

func clamp8(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// code takes the samples to coefficients, rounds these to what a file would hold, and goes back.
func (b *dctBlock) code(q *quantiser) {
	b.forward()
	q.round(b)
	b.inverse()
}

// quantiser rounds coefficients that have 3 bits below the point to multiples of its steps.
type quantiser struct {
	step    [64]int32
	divides [64]uint64 // 2^32 over the step with 3 bits below the point, rounded up
}

// newQuantiser scales a table as libjpeg does: quality 50 leaves it as it is.
func newQuantiser(table *[64]uint8, quality int) *quantiser {
	percent := 200 - 2*quality
	if quality < 50 {
		percent = 5000 / quality
	}
	var q quantiser
	for i, v := range table {
		q.step[i] = int32(min(max((int(v)*percent+50)/100, 1), 255))
		q.divides[i] = (1<<32)/uint64(8*q.step[i]) + 1
	}
	return &q
}

func (q *quantiser) round(b *dctBlock) {
	for i, c := range b {
		size := max(c, -c) + 4*q.step[i]
		n := int32(uint64(size) * q.divides[i] >> 32 * uint64(q.step[i])) // exact: sizes are below 2^15, steps below 2^11
		if c < 0 {
			n = -n
		}
		b[i] = n
	}
}

// c1 to c7 are half of cos(k pi/16) with 13 bits below the point: the orthonormal transform of eight samples (T.81,
// A.3.3). Even coefficients depend on the sums of opposite samples alone and odd ones on the differences, which leaves
// 22 of 64 multiplications.
const (
	c1 = 4017
	c2 = 3784
	c3 = 3406
	c4 = 2896
	c5 = 2276
	c6 = 1567
	c7 = 799
)

// forward leaves coefficients with 3 bits below the point.
func (b *dctBlock) forward() {
	var half dctBlock
	forward(&half, b, 13-4) // 4 bits below the point
	forward(b, &half, 13+1)
}

// forward transforms the rows of src and turns them to columns of dst, so that doing it twice transforms a block.
func forward(dst, src *dctBlock, shift uint) {
	half := int32(1) << (shift & 31) >> 1
	for i := range 8 {
		v := (*[8]int32)(src[8*i:])
		s0, s1, s2, s3 := v[0]+v[7], v[1]+v[6], v[2]+v[5], v[3]+v[4]
		d0, d1, d2, d3 := v[0]-v[7], v[1]-v[6], v[2]-v[5], v[3]-v[4]
		sum, inner, a, b := s0+s3, s1+s2, s0-s3, s1-s2
		dst[i] = (c4*(sum+inner) + half) >> (shift & 31)
		dst[8+i] = (c1*d0 + c3*d1 + c5*d2 + c7*d3 + half) >> (shift & 31)
		dst[16+i] = (c2*a + c6*b + half) >> (shift & 31)
		dst[24+i] = (c3*d0 - c7*d1 - c1*d2 - c5*d3 + half) >> (shift & 31)
		dst[32+i] = (c4*(sum-inner) + half) >> (shift & 31)
		dst[40+i] = (c5*d0 - c1*d1 + c7*d2 + c3*d3 + half) >> (shift & 31)
		dst[48+i] = (c6*a - c2*b + half) >> (shift & 31)
		dst[56+i] = (c7*d0 - c5*d1 + c3*d2 - c1*d3 + half) >> (shift & 31)
	}
}

// inverse takes whole coefficients.
func (b *dctBlock) inverse() {
	var half dctBlock
	inverse(&half, b, 13-4) // 4 bits below the point
	inverse(b, &half, 13+4)
}

func inverse(dst, src *dctBlock, shift uint) {
	half := int32(1) << (shift & 31) >> 1
	for i := range 8 {
		v := (*[8]int32)(src[8*i:])
		if v[1]|v[2]|v[3]|v[4]|v[5]|v[6]|v[7] == 0 { // as in most rows of coefficients
			x := (c4*v[0] + half) >> (shift & 31)
			dst[i], dst[8+i], dst[16+i], dst[24+i], dst[32+i], dst[40+i], dst[48+i], dst[56+i] = x, x, x, x, x, x, x, x
			continue
		}
		a, b := c4*(v[0]+v[4])+half, c4*(v[0]-v[4])+half
		c, d := c2*v[2]+c6*v[6], c6*v[2]-c2*v[6]
		e0, e1, e2, e3 := a+c, b+d, b-d, a-c
		o0 := c1*v[1] + c3*v[3] + c5*v[5] + c7*v[7]
		o1 := c3*v[1] - c7*v[3] - c1*v[5] - c5*v[7]
		o2 := c5*v[1] - c1*v[3] + c7*v[5] + c3*v[7]
		o3 := c7*v[1] - c5*v[3] + c3*v[5] - c1*v[7]
		dst[i], dst[56+i] = (e0+o0)>>(shift&31), (e0-o0)>>(shift&31)
		dst[8+i], dst[48+i] = (e1+o1)>>(shift&31), (e1-o1)>>(shift&31)
		dst[16+i], dst[40+i] = (e2+o2)>>(shift&31), (e2-o2)>>(shift&31)
		dst[24+i], dst[32+i] = (e3+o3)>>(shift&31), (e3-o3)>>(shift&31)
	}
}

// The tables of T.81, K.1, row by row.
var (
	lumaTable = [64]uint8{
		16, 11, 10, 16, 24, 40, 51, 61,
		12, 12, 14, 19, 26, 58, 60, 55,
		14, 13, 16, 24, 40, 57, 69, 56,
		14, 17, 22, 29, 51, 87, 80, 62,
		18, 22, 37, 56, 68, 109, 103, 77,
		24, 35, 55, 64, 81, 104, 113, 92,
		49, 64, 78, 87, 103, 121, 120, 101,
		72, 92, 95, 98, 112, 100, 103, 99,
	}
	chromaTable = [64]uint8{
		17, 18, 24, 47, 99, 99, 99, 99,
		18, 21, 26, 66, 99, 99, 99, 99,
		24, 26, 56, 99, 99, 99, 99, 99,
		47, 66, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99,
	}
)
