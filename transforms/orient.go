package transforms

import (
	"image"
	"math/rand/v2"
)

// Orient turns the picture upright as its EXIF orientation says. It has to be a list's first step; without it pictures
// stay as stored.
type Orient struct{}

// Name is "orient".
func (Orient) Name() string { return "orient" }

// Validate has nothing to check.
func (Orient) Validate() error { return nil }

func (Orient) size(w, h int) (int, int) { return 0, 0 } // depends on the file

func (Orient) apply(v *view, _ *rand.Rand) error {
	v.turn()
	return nil
}

// turns says for each EXIF orientation where a pixel of the upright picture is stored: its coordinates are swapped, then
// counted from the other side (EXIF 2.3, tag 274; JEITA CP-3451).
var turns = [9]struct{ swap, mirrorX, mirrorY bool }{
	1: {},
	2: {mirrorX: true},
	3: {mirrorX: true, mirrorY: true},
	4: {mirrorY: true},
	5: {swap: true},
	6: {swap: true, mirrorY: true},
	7: {swap: true, mirrorX: true, mirrorY: true},
	8: {swap: true, mirrorX: true},
}

// unturn finds where a rectangle of the upright picture lies in the stored one, of the given size.
func unturn(r image.Rectangle, orientation int, stored image.Point) image.Rectangle {
	t := turns[orientation]
	if t.swap {
		r.Min.X, r.Min.Y, r.Max.X, r.Max.Y = r.Min.Y, r.Min.X, r.Max.Y, r.Max.X
	}
	if t.mirrorX {
		r.Min.X, r.Max.X = stored.X-r.Max.X, stored.X-r.Min.X
	}
	if t.mirrorY {
		r.Min.Y, r.Max.Y = stored.Y-r.Max.Y, stored.Y-r.Min.Y
	}
	return r
}

// turnImage makes the upright picture of a stored one.
func turnImage(m *Image, orientation int) *Image {
	t := turns[orientation]
	if !t.swap && !t.mirrorX && !t.mirrorY {
		m.Orientation = 1
		return m
	}
	w, h := m.W, m.H
	if t.swap {
		w, h = h, w
	}
	out := NewImage(w, h)
	for y := range h {
		for x := range w {
			sx, sy := x, y
			if t.swap {
				sx, sy = sy, sx
			}
			if t.mirrorX {
				sx = m.W - 1 - sx
			}
			if t.mirrorY {
				sy = m.H - 1 - sy
			}
			i, j := 3*(y*w+x), 3*(sy*m.W+sx)
			out.Pix[i], out.Pix[i+1], out.Pix[i+2] = m.Pix[j], m.Pix[j+1], m.Pix[j+2]
		}
	}
	return out
}
