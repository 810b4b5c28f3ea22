// Package composite lays marks of brands on photographs, for training images of brands of which there are few photographs or
// none.
//
//	brands, err := composite.List("marks")
//	mark, err := composite.Read(brands[0].Files[0], limits)
//	c, err := composite.Compose(mark, photograph, limits, r)
//
// A composite is a part of a photograph with a sign in it: the mark, often on a plate, turned and seen from aside, in the
// light of the place, through a camera that is not the best. Variety comes before beauty, as in Synthetic Data for Text
// Localisation in Natural Images (Gupta et al., 2016) and Deep Learning Logo Detection with Data Expansion by Synthesising
// Context (Su et al., 2017).
package composite

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"

	"github.com/logobeam/logobeam/transforms"
	"github.com/logobeam/logobeam/transforms/svg"
)

// Composite is a photograph with a mark in it.
type Composite struct {
	JPEG  []byte            // of quality 30 to 90
	Size  image.Point       // 208 to 512 pixels a side
	Boxes []image.Rectangle // of the marks, in pixels; their longer side is 8 to 60 % of the picture's shorter one
}

// Compose lays a mark on a part of a photograph. All that is random is drawn from r. Without a mark (nil) it is the same
// photograph with a sign that means nothing, or with none, and has no boxes.
//
// It is an error if the photograph cannot be decoded.
func Compose(mark *Mark, photograph []byte, limits transforms.Limits, r *rand.Rand) (Composite, error) {
	d := dice{r}
	size := 320 + 16*d.IntN(13)
	key := transforms.Key{Seed: d.Uint64()}
	m, err := transforms.List{
		transforms.Orient{},
		transforms.RandomResizedCrop{Size: size, Scale: [2]float64{0.25, 1}, Ratio: [2]float64{1, 1}},
		transforms.HorizontalFlip{Probability: 0.5},
	}.Picture(photograph, key, limits)
	if err != nil {
		return Composite{}, err
	}
	m = shaped(d, m)

	var boxes []image.Rectangle
	if mark != nil {
		boxes = []image.Rectangle{newScene(m).sign(d, mark)}
	} else if d.is(0.67) {
		newScene(m).sign(d, meaningless(d))
	}
	if m, err = (transforms.List{transforms.GaussianBlur{Sigma: [2]float64{0.3, 1.5}, Probability: 0.6}}).Apply(m, key); err != nil {
		return Composite{}, err
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, developed(d, m), &jpeg.Options{Quality: 30 + d.IntN(61)}); err != nil {
		return Composite{}, err
	}
	return Composite{b.Bytes(), image.Pt(m.W, m.H), boxes}, nil
}

// dice draws what varies from picture to picture.
type dice struct{ *rand.Rand }

func (d dice) in(lo, hi float64) float64 { return lo + (hi-lo)*d.Float64() }
func (d dice) is(p float64) bool         { return d.Float64() < p }
func pick[T any](d dice, of ...T) T      { return of[d.IntN(len(of))] }

// shaped cuts a square to a shape that photographs have.
func shaped(d dice, m *transforms.Image) *transforms.Image {
	w, h := m.W, m.H
	short := int(float64(w) * pick(d, 0.65, 0.75, 0.75, 0.8, 1))
	if d.is(0.65) {
		h = short
	} else {
		w = short
	}
	out := transforms.NewImage(w, h)
	for y := range h {
		copy(out.Pix[3*w*y:3*w*(y+1)], m.Pix[3*m.W*y:])
	}
	return out
}

// developed is what the camera does: exposure, white balance, and noise, most of it grey. Training changes colours further.
func developed(d dice, m *transforms.Image) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.W, m.H))
	gain := d.in(0.75, 1.2)
	balance := rgb{gain * d.in(0.92, 1.08), gain, gain * d.in(0.92, 1.08)}
	sigma := max(0, d.in(-3, 9))
	// Sums of bytes stand for normal numbers: four have a deviation of 147.2, one has 73.6.
	grey, colour := 0.8*sigma/147.2, 0.5*sigma/73.6
	for i, k := 0, 0; i < len(m.Pix); i, k = i+3, k+4 {
		p, q := m.Pix[i:i+3:i+3], out.Pix[k:k+4:k+4]
		n := d.Uint64()
		g := 0.5 + grey*(float64(n&255+n>>8&255+n>>16&255+n>>24&255)-510)
		for c := range 3 {
			v := float64(p[c])*balance[c] + g + colour*(float64(n>>(32+8*c)&255)-127.5)
			q[c] = uint8(min(max(v, 0), 255))
		}
		q[3] = 255
	}
	return out
}

// meaningless is a sign that is no brand's. Without such, a plate or an edge that was laid on would tell of a brand.
func meaningless(d dice) *Mark {
	var p svg.Pen
	around := func(n int, at func(i int) float64) {
		for i := range n {
			sin, cos := math.Sincos(2 * math.Pi * float64(i) / float64(n))
			if q := svg.Pt(at(i)*sin, -at(i)*cos); i == 0 {
				p.Move(q)
			} else {
				p.Line(q)
			}
		}
		p.Close()
	}
	kind := d.IntN(5)
	ring := kind == 2
	switch kind {
	case 0: // a star, or nearly a polygon
		inner := d.in(0.35, 1)
		around(6+2*d.IntN(6), func(i int) float64 { return 1 - float64(i%2)*(1-inner) })
	case 1: // a blob
		a, b, s, t := d.in(0.05, 0.3), d.in(0.05, 0.25), float64(2+d.IntN(3)), float64(3+d.IntN(5))
		around(120, func(i int) float64 {
			phi := 2 * math.Pi * float64(i) / 120
			return 1 + a*math.Sin(s*phi) + b*math.Cos(t*phi)
		})
	case 2: // a ring
		flat, hole := d.in(0.4, 1), d.in(0.3, 0.85)
		p.Ellipse(svg.Pt(0, 0), 1, flat)
		p.Ellipse(svg.Pt(0, 0), hole, flat*hole)
	case 3: // bars
		for i := range 3 + d.IntN(4) {
			p.Rect(0, float64(i), d.in(1, 4), d.in(0.4, 0.8), 0, 0)
		}
	default: // what looks like letters from afar
		for i := range 3 + d.IntN(6) {
			x, w := float64(i)*0.8, d.in(0.15, 0.3)
			p.Rect(x, d.in(0, 0.3), w, 1, 0, 0)
			if d.is(0.7) {
				p.Rect(x, d.in(0, 1), 0.6, w, 0, 0)
			}
			if d.is(0.4) {
				p.Rect(x+0.6-w, 0.3, w, d.in(0.3, 0.9), 0, 0)
			}
		}
	}
	m, err := svg.Drawing{Shapes: []svg.Shape{{Outline: p.Outline(), EvenOdd: ring, Fill: black}}}.Draw(markSide / 2)
	if err != nil { // none of these is a line
		panic(err)
	}
	return newMark(m)
}
