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
	v.upright()
	return nil
}

// turn says where a pixel of the turned picture is stored: its coordinates are swapped, then counted from the other side.
type turn struct{ swap, mirrorX, mirrorY bool }

// turns are those that make a picture of each EXIF orientation upright (EXIF 2.3, tag 274; JEITA CP-3451).
var turns = [9]turn{
	1: {},
	2: {mirrorX: true},
	3: {mirrorX: true, mirrorY: true},
	4: {mirrorY: true},
	5: {swap: true},
	6: {swap: true, mirrorY: true},
	7: {swap: true, mirrorX: true, mirrorY: true},
	8: {swap: true, mirrorX: true},
}

// undo finds where a rectangle of the turned picture lies in the stored one, of the given size.
func (t turn) undo(r image.Rectangle, stored image.Point) image.Rectangle {
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

// do finds where a rectangle of the stored picture, of the given size, lies in the turned one.
func (t turn) do(r image.Rectangle, stored image.Point) image.Rectangle {
	if t.mirrorX {
		r.Min.X, r.Max.X = stored.X-r.Max.X, stored.X-r.Min.X
	}
	if t.mirrorY {
		r.Min.Y, r.Max.Y = stored.Y-r.Max.Y, stored.Y-r.Min.Y
	}
	if t.swap {
		r.Min.X, r.Min.Y, r.Max.X, r.Max.Y = r.Min.Y, r.Min.X, r.Max.Y, r.Max.X
	}
	return r
}

// apply turns a picture: m itself where there is nothing to turn. The result counts as upright.
func (t turn) apply(m *Image) *Image {
	if t == (turn{}) {
		m.Orientation = 1
		return m
	}
	w, h := m.W, m.H
	if t.swap {
		w, h = h, w
	}
	// Where the first pixel is stored, and how far from it those are that follow it to the right and below.
	at, right, below := 0, 3, 3*m.W
	if t.mirrorX {
		at, right = 3*(m.W-1), -3
	}
	if t.mirrorY {
		at, below = at+3*m.W*(m.H-1), -3*m.W
	}
	if t.swap {
		right, below = below, right
	}
	out := NewImage(w, h)
	for y := range h {
		row, from := out.Pix[3*y*w:3*(y+1)*w], at+y*below
		for x := 0; x < len(row); x += 3 {
			p, q := row[x:x+3:x+3], m.Pix[from:from+3:from+3]
			p[0], p[1], p[2] = q[0], q[1], q[2]
			from += right
		}
	}
	return out
}
