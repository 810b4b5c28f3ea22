package main

import (
	"fmt"
	"math"
	"os"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"

	"github.com/logobeam/logobeam/transforms/svg"
)

// step is the length of the chords that outlines are cut into, of the 24 that a mark is wide.
const step = 0.12

// readMark reads a drawing that is one path, as those of simple-icons are, and makes it centred.
func readMark(file string) (svg.Outline, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d, err := svg.Parse(data, step)
	if err == nil && len(d.Shapes) != 1 {
		err = fmt.Errorf("it has %d shapes; want 1", len(d.Shapes))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return centred(d.Shapes[0].Outline), nil
}

// centred moves an outline to the origin and makes its longer side 1.
func centred(o svg.Outline) svg.Outline {
	lo, hi := o.Bounds()
	size := max(hi.X-lo.X, hi.Y-lo.Y)
	return o.Map(func(p svg.Point) svg.Point {
		return svg.Pt((p.X-(lo.X+hi.X)/2)/size, (p.Y-(lo.Y+hi.Y)/2)/size)
	})
}

// A scheme is the colour of a mark and of the plate behind it.
type scheme struct{ mark, plate rgb }

// A brand is what a folder of photographs is made from.
type brand struct {
	name    string
	files   []string // among the marks, without .svg
	images  int
	schemes []scheme
	plates  []string
}

var (
	white  = rgb{244, 244, 242}
	black  = rgb{22, 22, 24}
	silver = rgb{188, 190, 194}
)

const (
	many = 13 // of the brands that FlickrLogos-27 has too
	few  = 6
)

var brands = []brand{
	{"adidas", []string{"adidas"}, many, []scheme{{white, black}, {black, white}, {white, rgb{0, 74, 156}}, {rgb{0, 74, 156}, white}}, []string{"", "rectangle", "rounded"}},
	{"aldi", []string{"aldinord", "aldisud"}, few, []scheme{{white, rgb{0, 36, 96}}, {rgb{0, 36, 96}, white}, {rgb{255, 120, 0}, rgb{0, 36, 96}}}, []string{"rectangle", "rounded"}},
	{"apple", []string{"apple"}, many, []scheme{{white, black}, {black, white}, {white, silver}, {rgb{70, 70, 74}, silver}}, []string{"", "", "rounded", "rectangle"}},
	{"bmw", []string{"bmw"}, many, []scheme{{black, white}, {rgb{0, 92, 170}, white}, {white, rgb{0, 92, 170}}}, []string{"disc", "disc", "disc", "rounded"}},
	{"carlsberg", []string{"carlsberggroup"}, few, []scheme{{rgb{0, 98, 52}, white}, {white, rgb{0, 98, 52}}}, []string{"", "ellipse", "rounded"}},
	{"cocacola", []string{"cocacola"}, many, []scheme{{white, rgb{222, 20, 34}}, {white, rgb{200, 16, 30}}, {rgb{222, 20, 34}, white}}, []string{"rectangle", "rounded", "disc", "ellipse"}},
	{"dhl", []string{"dhl"}, many, []scheme{{rgb{208, 8, 20}, rgb{252, 204, 4}}}, []string{"rectangle", "rectangle", "rounded"}},
	{"fedex", []string{"fedex"}, many, []scheme{{rgb{76, 22, 138}, white}, {white, rgb{76, 22, 138}}}, []string{"rectangle", "rounded"}},
	{"ferrari", []string{"ferrari"}, many, []scheme{{black, rgb{252, 218, 20}}}, []string{"rectangle", "rounded", "shield", "shield"}},
	{"ford", []string{"ford"}, many, []scheme{{rgb{0, 48, 124}, white}, {white, rgb{0, 48, 124}}, {silver, rgb{0, 40, 104}}}, []string{"ellipse", "ellipse", "rectangle"}},
	{"google", []string{"google"}, many, []scheme{{rgb{66, 132, 244}, white}, {white, rgb{66, 132, 244}}, {rgb{218, 68, 54}, white}}, []string{"", "rounded", "disc", "rectangle"}},
	{"hp", []string{"hp"}, many, []scheme{{rgb{0, 144, 210}, white}, {white, rgb{0, 110, 180}}, {white, black}, {silver, black}}, []string{"", "rounded", "rectangle", "disc"}},
	{"nvidia", []string{"nvidia"}, few, []scheme{{rgb{118, 184, 0}, black}, {rgb{118, 184, 0}, white}, {white, black}}, []string{"", "rectangle", "rounded"}},
	{"shell", []string{"shell"}, few, []scheme{{rgb{220, 28, 32}, rgb{250, 206, 8}}, {rgb{250, 206, 8}, rgb{220, 28, 32}}, {rgb{250, 206, 8}, white}}, []string{"", "disc", "rounded"}},
	{"starbucks", []string{"starbucks"}, many, []scheme{{rgb{0, 108, 70}, white}, {rgb{0, 108, 70}, white}, {white, rgb{0, 108, 70}}}, []string{"disc", "disc", "rounded", ""}},
	{"ups", []string{"ups"}, few, []scheme{{rgb{56, 30, 22}, rgb{252, 180, 4}}, {rgb{252, 180, 4}, rgb{56, 30, 22}}}, []string{"rounded", "rectangle", ""}},
}

// plate is a shape to lay behind a mark of width w and height h, the longer of which is 1.
func plate(kind string, w, h, margin float64) svg.Outline {
	w, h = w+margin, h+margin
	p := svg.Pen{Step: step}
	switch kind {
	case "disc":
		r := max(w, h) / 2 * 1.08
		p.Move(svg.Pt(-r, 0))
		p.Arc(r, r, 0, false, true, svg.Pt(r, 0))
		p.Arc(r, r, 0, false, true, svg.Pt(-r, 0))
	case "ellipse":
		rx, ry := w/2*1.15, h/2*1.25
		p.Move(svg.Pt(-rx, 0))
		p.Arc(rx, ry, 0, false, true, svg.Pt(rx, 0))
		p.Arc(rx, ry, 0, false, true, svg.Pt(-rx, 0))
	case "shield":
		x, y := w/2*1.1, h/2*1.1
		p.Move(svg.Pt(-x, -y))
		p.Line(svg.Pt(x, -y))
		p.Cubic(svg.Pt(x, y*0.4), svg.Pt(x*0.5, y*0.9), svg.Pt(0, y*1.3))
		p.Cubic(svg.Pt(-x*0.5, y*0.9), svg.Pt(-x, y*0.4), svg.Pt(-x, -y))
	default:
		r := 0.0
		if kind == "rounded" {
			r = min(w, h) * 0.2
		}
		x, y := w/2, h/2
		p.Move(svg.Pt(-x+r, -y))
		p.Line(svg.Pt(x-r, -y))
		p.Arc(r, r, 0, false, true, svg.Pt(x, -y+r))
		p.Line(svg.Pt(x, y-r))
		p.Arc(r, r, 0, false, true, svg.Pt(x-r, y))
		p.Line(svg.Pt(-x+r, y))
		p.Arc(r, r, 0, false, true, svg.Pt(-x, y-r))
		p.Line(svg.Pt(-x, -y+r))
		p.Arc(r, r, 0, false, true, svg.Pt(-x+r, -y))
	}
	return p.Outline()
}

var words = []string{"OPEN", "EXIT", "CAFE", "SALE", "TAXI", "HOTEL", "Room 7", "Bakery", "to let", "PARKING", "fresh", "Platform 3", "Menu", "books", "24 h", "WET PAINT"}

// meaningless is a sign that is no brand's: a word, or a shape out of the air. Without them "there is something flat and
// bright" would tell photographs with a logo from those without.
func meaningless(d dice, f *sfnt.Font) (svg.Outline, error) {
	if d.is(0.45) {
		return word(f, pick(d, words))
	}
	var o svg.Outline
	switch d.IntN(5) {
	case 0: // a star, or nearly a polygon
		n, inner := 3+d.IntN(6), d.in(0.35, 1)
		o = append(o, around(2*n, func(i int, _ float64) float64 {
			if i%2 == 1 {
				return inner
			}
			return 1
		}))
	case 1: // a blob
		a, b, s, t := d.in(0.05, 0.3), d.in(0.05, 0.25), 2+d.IntN(3), 3+d.IntN(5)
		p, q := d.in(0, 6), d.in(0, 6)
		o = append(o, around(200, func(_ int, phi float64) float64 {
			return 1 + a*math.Sin(float64(s)*phi+p) + b*math.Sin(float64(t)*phi+q)
		}))
	case 2: // a chequer board
		n, m := 2+d.IntN(3), 2+d.IntN(3)
		for y := range n {
			for x := range m {
				if (x+y)%2 == 0 {
					o = append(o, box(float64(x), float64(y), 1, 1))
				}
			}
		}
	case 3: // bars of a chart
		for i := range 3 + d.IntN(4) {
			o = append(o, box(0, float64(i), d.in(1, 4), d.in(0.4, 0.8)))
		}
	case 4: // a zigzag
		p := svg.Pen{Step: step}
		n, thick := 2+d.IntN(4), d.in(0.3, 0.8)
		p.Move(svg.Pt(0, 0))
		for i := 1; i <= n; i++ {
			p.Line(svg.Pt(float64(i), float64(i%2)))
		}
		for i := n; i >= 0; i-- {
			p.Line(svg.Pt(float64(i), float64(i%2)+thick))
		}
		p.Close()
		o = p.Outline()
	}
	return o, nil
}

func box(x, y, w, h float64) []svg.Point {
	p := svg.Pen{Step: step}
	p.Move(svg.Pt(x, y))
	p.Line(svg.Pt(x+w, y))
	p.Line(svg.Pt(x+w, y+h))
	p.Line(svg.Pt(x, y+h))
	p.Close()
	return p.Outline()[0]
}

// around is a closed contour round the origin, of n corners at distance r(corner, angle).
func around(n int, r func(i int, phi float64) float64) []svg.Point {
	p := svg.Pen{Step: step}
	for i := range n {
		phi := 2 * math.Pi * float64(i) / float64(n)
		at := svg.Pt(r(i, phi)*math.Sin(phi), -r(i, phi)*math.Cos(phi))
		if i == 0 {
			p.Move(at)
		} else {
			p.Line(at)
		}
	}
	p.Close()
	return p.Outline()[0]
}

// word is the outline of a word in one of Go's fonts.
func word(f *sfnt.Font, text string) (svg.Outline, error) {
	var (
		buf sfnt.Buffer
		p   = svg.Pen{Step: step}
		x   float64
	)
	const em = 64
	for _, r := range text {
		g, err := f.GlyphIndex(&buf, r)
		if err != nil {
			return nil, err
		}
		segments, err := f.LoadGlyph(&buf, g, fixed.I(em), nil)
		if err != nil {
			return nil, err
		}
		at := func(q fixed.Point26_6) svg.Point {
			return svg.Pt(x+float64(q.X)/64/em*8, float64(q.Y)/64/em*8)
		}
		for _, s := range segments {
			switch s.Op {
			case sfnt.SegmentOpMoveTo:
				p.Close()
				p.Move(at(s.Args[0]))
			case sfnt.SegmentOpLineTo:
				p.Line(at(s.Args[0]))
			case sfnt.SegmentOpQuadTo:
				p.Quad(at(s.Args[0]), at(s.Args[1]))
			case sfnt.SegmentOpCubeTo:
				p.Cubic(at(s.Args[0]), at(s.Args[1]), at(s.Args[2]))
			}
		}
		p.Close()
		advance, err := f.GlyphAdvance(&buf, g, fixed.I(em), font.HintingNone)
		if err != nil {
			return nil, err
		}
		x += float64(advance) / 64 / em * 8
	}
	return p.Outline(), nil
}
