package transforms

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// projection says of every point of the picture that comes out where it was in the one that went in: (x, y, 1) times
// the matrix, divided by the third number of what that gives. Points are in pixels from the upper left corner, so that
// the centre of the first pixel is at (0.5, 0.5).
type projection [3][3]float64

// projective is a step that moves the points of a picture. Neighbours in a list become one projection, and the picture
// is resampled once.
type projective interface {
	Step
	// projection draws one for a picture of w x h.
	projection(w, h int, r *rand.Rand) projection
}

var still = projection{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}

// times is p after q, as seen from the picture that comes out.
func (p projection) times(q projection) (product projection) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				product[i][j] += float64(p[i][k] * q[k][j])
			}
		}
	}
	return product
}

// fill is the grey of what lies beyond the picture's edges, in the middle of the range as in AutoAugment (Cubuk et al.,
// 2019): after normalisation it is next to nothing.
const fill = 128

// project carries a projection out by bilinear interpolation between 64 places in a pixel either way, twice as fine as
// OpenCV's warpPerspective. What lies outside m counts as fill, so that the edges of a turned picture are smooth.
// Nothing is antialiased: projections that shrink a part to less than half its size would want that.
func project(m *Image, p projection) *Image {
	framed, stride := frame(m)
	out := NewImage(m.W, m.H)
	dst := out.Pix
	var places [256]uint64
	for y := range m.H {
		for x := 0; x < m.W; x += len(places) {
			part := places[:min(len(places), m.W-x)]
			p.places(part, x, y, m.W, m.H)
			for i, place := range part {
				px, py := place&0xffffffff, place>>32
				at := int(py>>6)*stride + 3*int(px>>6)
				// Two pixels each, and two bytes to spare.
				upper, lower := binary.LittleEndian.Uint64(framed[at:]), binary.LittleEndian.Uint64(framed[at+stride:])
				// Channels lie 21 bits apart: 8 for a sample and 6 for either weight leave one.
				right, below := px&63, py&63
				sum := (lanes(upper)*(64-right)+lanes(upper>>24)*right)*(64-below) + (lanes(lower)*(64-right)+lanes(lower>>24)*right)*below
				sum += 1<<11 | 1<<(11+21) | 1<<(11+42)
				d := dst[3*i : 3*i+3 : 3*i+3]
				d[0], d[1], d[2] = uint8(sum>>12), uint8(sum>>(12+21)), uint8(sum>>(12+42))
			}
			dst = dst[3*len(part):]
		}
	}
	return out
}

// places gives where the pixels from (x, y) on along the row were in a framed picture of w x h, in 64ths of a pixel
// from the centre of the frame's corner: x in the lower half, y in the upper one. What lies outside is at that corner.
func (p projection) places(places []uint64, x, y, w, h int) {
	cy := float64(y) + 0.5
	u, v, t := float64(p[0][1]*cy)+p[0][2], float64(p[1][1]*cy)+p[1][2], float64(p[2][1]*cy)+p[2][2]
	right, bottom := float64(64*(w+1)), float64(64*(h+1))
	for i := range places {
		cx := float64(x+i) + 0.5
		scale := 64 / (float64(p[2][0]*cx) + t)
		fx := float64((float64(p[0][0]*cx)+u)*scale) + (32 + 0.5) // half a pixel on, and rounded when the fraction is cut off
		fy := float64((float64(p[1][0]*cx)+v)*scale) + (32 + 0.5)
		places[i] = 0
		if scale > 0 && fx >= 0 && fx < right && fy >= 0 && fy < bottom { // which is false of NaN, too
			places[i] = uint64(int64(fx)) | uint64(int64(fy))<<32
		}
	}
}

// frame lays a picture on fill that is a pixel larger on every side. Eight bytes can be read from every pixel.
func frame(m *Image) (pix []uint8, stride int) {
	stride = 3 * (m.W + 2)
	pix = bytes.Repeat([]byte{fill}, stride*(m.H+2)+2)
	for y := range m.H {
		copy(pix[(y+1)*stride+3:], m.Pix[3*y*m.W:3*(y+1)*m.W])
	}
	return pix, stride
}

// lanes lays the lowest three bytes 21 bits apart.
func lanes(rgb uint64) uint64 { return rgb&0xff | rgb<<13&(0xff<<21) | rgb<<26&(0xff<<42) }
