package svg

import (
	"fmt"
	"image"
	"math"
	"strconv"

	"golang.org/x/image/vector"
)

// Point is a place in a drawing, y downwards.
type Point struct{ X, Y float64 }

// Pt is Point{X: x, Y: y}.
func Pt(x, y float64) Point { return Point{x, y} }

// Outline is the inside of closed contours. Curves are flattened.
type Outline [][]Point

// arity is the number of numbers each command of path data takes at a time.
var arity = map[byte]int{'M': 2, 'L': 2, 'H': 1, 'V': 1, 'C': 6, 'S': 4, 'Q': 4, 'T': 2, 'A': 7, 'Z': 0}

// Limits of what is read. A mark of a brand is far below them.
const (
	maxNumber = 1e6     // either way from zero, of coordinates
	maxPoints = 500_000 // of a path's outline
	tiny      = 1e-9    // radii and ways of arcs that are none
)

// parsePath reads the path data of SVG 1.1, section 8.3. The contours' chords are about step long, straight lines too,
// so that an outline can be bent; with a step of 0 lines are left whole and each curve has 24 chords.
//
// The error tells at which byte the data is wrong, or that nothing is drawn, or far too much.
func parsePath(d string, step float64) (Outline, error) {
	var (
		p        = Pen{Step: step}
		i        int
		cmd, old byte
		ctrl     Point // last control point, for S and T
	)
	skip := func() { i += blank(d[i:]) }
	for skip(); i < len(d); skip() {
		upper := d[i] &^ 0x20
		if _, ok := arity[upper]; ok && d[i] >= 'A' {
			cmd = d[i]
			i++
		} else if cmd == 0 || cmd&^0x20 == 'Z' {
			return nil, fmt.Errorf("path data has %q at %d; want a command", d[i], i)
		}
		upper = cmd &^ 0x20
		var v [7]float64
		for k := range arity[upper] {
			skip()
			n := number(d[i:], upper == 'A' && (k == 3 || k == 4))
			f, err := strconv.ParseFloat(d[i:i+n], 64)
			if err != nil {
				return nil, fmt.Errorf("path data has no number at %d: %w", i, err)
			}
			if math.Abs(f) > maxNumber {
				return nil, fmt.Errorf("path data has %s at %d; want at most %.0f", d[i:i+n], i, maxNumber)
			}
			v[k] = f
			i += n
		}
		if cmd >= 'a' { // relative
			switch upper {
			case 'H':
				v[0] += p.at.X
			case 'V':
				v[0] += p.at.Y
			case 'A':
				v[5] += p.at.X
				v[6] += p.at.Y
			default:
				for k := 0; k < arity[upper]; k += 2 {
					v[k] += p.at.X
					v[k+1] += p.at.Y
				}
			}
		}
		a, b, c := Point{v[0], v[1]}, Point{v[2], v[3]}, Point{v[4], v[5]}
		mirrored := Point{2*p.at.X - ctrl.X, 2*p.at.Y - ctrl.Y}
		switch upper {
		case 'M':
			p.Move(a)
			cmd -= 'M' - 'L' // further pairs are lines
		case 'L':
			p.Line(a)
		case 'H':
			p.Line(Point{v[0], p.at.Y})
		case 'V':
			p.Line(Point{p.at.X, v[0]})
		case 'C':
			p.Cubic(a, b, c)
			ctrl = b
		case 'S':
			if old != 'C' && old != 'S' {
				mirrored = p.at
			}
			p.Cubic(mirrored, a, b)
			ctrl = a
		case 'Q':
			p.Quad(a, b)
			ctrl = a
		case 'T':
			if old != 'Q' && old != 'T' {
				mirrored = p.at
			}
			p.Quad(mirrored, a)
			ctrl = mirrored
		case 'A':
			p.Arc(v[0], v[1], v[2]*math.Pi/180, v[3] != 0, v[4] != 0, Point{v[5], v[6]})
		case 'Z':
			p.Close()
		}
		old = upper
		if !(max(math.Abs(p.at.X), math.Abs(p.at.Y)) <= maxNumber) {
			return nil, fmt.Errorf("path data leads to (%g, %g) at %d; want at most %.0f", p.at.X, p.at.Y, i, maxNumber)
		}
		if p.points > maxPoints {
			return nil, fmt.Errorf("path data has more than %d points", maxPoints)
		}
	}
	p.Close()
	if len(p.out) == 0 {
		return nil, fmt.Errorf("path data draws nothing")
	}
	return p.out, nil
}

// blank is the length of the white space and commas that s begins with.
func blank(s string) (n int) {
	for n < len(s) && (s[n] == ' ' || s[n] == ',' || s[n] == '\n' || s[n] == '\t' || s[n] == '\r') {
		n++
	}
	return n
}

// number is the length of the number that s begins with, or of what stands there instead. Numbers need no space
// between them if a sign or a second Point tells them apart; flags are one digit.
func number(s string, flag bool) int {
	if flag {
		return min(1, len(s))
	}
	i := 0
	sign := func() {
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
	}
	digits := func() {
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
	}
	sign()
	digits()
	if i < len(s) && s[i] == '.' {
		i++
		digits()
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		sign()
		digits()
	}
	return i
}

// Pen draws contours. Its zero value is ready.
type Pen struct {
	Step      float64 // length of chords; 0 leaves lines whole and gives each curve 24
	out       Outline
	at, start Point
	open      bool
	points    int
}

// Outline is what has been drawn.
func (p *Pen) Outline() Outline { return p.out }

// Move begins another contour. What is not closed is closed by whoever fills it.
func (p *Pen) Move(to Point) { p.at, p.start, p.open = to, to, false }

func (p *Pen) add(to Point) {
	if !p.open {
		p.out = append(p.out, []Point{p.at})
		p.open = true
	}
	p.points++
	last := len(p.out) - 1
	p.out[last] = append(p.out[last], to)
	p.at = to
}

// curve adds f(t) for t up to 1, in chords as many as length asks for.
func (p *Pen) curve(length float64, f func(t float64) Point) {
	n := 24.0
	if p.Step > 0 {
		n = min(max(math.Ceil(length/p.Step), 1), 400)
	}
	for k := 1.0; k <= n; k++ {
		p.add(f(k / n))
	}
}

// Line goes on straight.
func (p *Pen) Line(to Point) {
	if p.Step == 0 {
		p.add(to)
		return
	}
	a := p.at
	p.curve(dist(a, to), func(t float64) Point { return lerp(a, to, t) })
}

// Quad goes on by a quadratic Bézier curve.
func (p *Pen) Quad(b, c Point) {
	a := p.at
	p.curve(dist(a, b)+dist(b, c), func(t float64) Point { return lerp(lerp(a, b, t), lerp(b, c, t), t) })
}

// Cubic goes on by a cubic Bézier curve.
func (p *Pen) Cubic(b, c, d Point) {
	a := p.at
	p.curve(dist(a, b)+dist(b, c)+dist(c, d), func(t float64) Point {
		ab, bc, cd := lerp(a, b, t), lerp(b, c, t), lerp(c, d, t)
		return lerp(lerp(ab, bc, t), lerp(bc, cd, t), t)
	})
}

// Arc goes on along an ellipse turned by phi radians. It follows SVG 1.1, appendix F.6: from two ends to the centre and angles.
func (p *Pen) Arc(rx, ry, phi float64, large, sweep bool, to Point) {
	from := p.at
	if rx, ry = math.Abs(rx), math.Abs(ry); min(rx, ry) < tiny || dist(from, to) < tiny {
		p.Line(to)
		return
	}
	sin, cos := math.Sincos(phi)
	hx, hy := (from.X-to.X)/2, (from.Y-to.Y)/2
	x, y := cos*hx+sin*hy, -sin*hx+cos*hy
	if r := x*x/(rx*rx) + y*y/(ry*ry); r > 1 {
		rx, ry = rx*math.Sqrt(r), ry*math.Sqrt(r)
	}
	q := rx*rx*y*y + ry*ry*x*x
	k := math.Sqrt(max(0, (rx*rx*ry*ry-q)/q))
	if large == sweep {
		k = -k
	}
	cx, cy := k*rx*y/ry, -k*ry*x/rx
	a0 := math.Atan2((y-cy)/ry, (x-cx)/rx)
	turn := math.Atan2((-y-cy)/ry, (-x-cx)/rx) - a0
	if sweep && turn < 0 {
		turn += 2 * math.Pi
	} else if !sweep && turn > 0 {
		turn -= 2 * math.Pi
	}
	mx, my := (from.X+to.X)/2, (from.Y+to.Y)/2
	p.curve(math.Abs(turn)*max(rx, ry), func(t float64) Point {
		if t == 1 {
			return to
		}
		s, c := math.Sincos(a0 + t*turn)
		ex, ey := cx+rx*c, cy+ry*s
		return Point{mx + cos*ex - sin*ey, my + sin*ex + cos*ey}
	})
}

// Close ends a contour where it began.
func (p *Pen) Close() {
	if p.open && p.at != p.start {
		p.Line(p.start)
	}
	p.Move(p.start)
}

// Ellipse draws an upright one. It is closed.
func (p *Pen) Ellipse(centre Point, rx, ry float64) {
	left, right := Pt(centre.X-rx, centre.Y), Pt(centre.X+rx, centre.Y)
	p.Move(left)
	p.Arc(rx, ry, 0, false, true, right)
	p.Arc(rx, ry, 0, false, true, left)
	p.Close()
}

// Rect draws a rectangle whose corners are quarters of an ellipse, or right angles with radii of 0.
func (p *Pen) Rect(x, y, w, h, rx, ry float64) {
	p.Move(Pt(x+rx, y))
	p.Line(Pt(x+w-rx, y))
	p.Arc(rx, ry, 0, false, true, Pt(x+w, y+ry))
	p.Line(Pt(x+w, y+h-ry))
	p.Arc(rx, ry, 0, false, true, Pt(x+w-rx, y+h))
	p.Line(Pt(x+rx, y+h))
	p.Arc(rx, ry, 0, false, true, Pt(x, y+h-ry))
	p.Line(Pt(x, y+ry))
	p.Arc(rx, ry, 0, false, true, Pt(x+rx, y))
	p.Close()
}

func dist(a, b Point) float64          { return math.Hypot(b.X-a.X, b.Y-a.Y) }
func lerp(a, b Point, t float64) Point { return Point{a.X + (b.X-a.X)*t, a.Y + (b.Y-a.Y)*t} }

// Map moves every point.
func (o Outline) Map(f func(Point) Point) Outline {
	to := make(Outline, len(o))
	for i, c := range o {
		to[i] = make([]Point, len(c))
		for k, p := range c {
			to[i][k] = f(p)
		}
	}
	return to
}

// Bounds is the smallest rectangle round an outline, infinitely far inside out for one without points.
func (o Outline) Bounds() (lo, hi Point) {
	lo, hi = Point{math.Inf(1), math.Inf(1)}, Point{math.Inf(-1), math.Inf(-1)}
	for _, c := range o {
		for _, p := range c {
			lo = Point{min(lo.X, p.X), min(lo.Y, p.Y)}
			hi = Point{max(hi.X, p.X), max(hi.Y, p.Y)}
		}
	}
	return lo, hi
}

// Fill is how much of each pixel of r lies inside an outline by the non-zero rule, or by even-odd. Points are in pixels and
// lie within r.
func (o Outline) Fill(r image.Rectangle, evenOdd bool) *image.Alpha {
	cover := image.NewAlpha(r)
	if !evenOdd {
		o.rasterise(cover)
		return cover
	}
	// Each contour turns what lies inside it over. Where one crosses itself the non-zero rule holds.
	for i := range o {
		one := o[i : i+1]
		lo, hi := one.Bounds()
		part := image.NewAlpha(image.Rect(int(math.Floor(lo.X)), int(math.Floor(lo.Y)), int(math.Ceil(hi.X)), int(math.Ceil(hi.Y))).Intersect(r))
		one.rasterise(part)
		for y := part.Rect.Min.Y; y < part.Rect.Max.Y; y++ {
			to := cover.Pix[cover.PixOffset(part.Rect.Min.X, y):]
			for x, a := range part.Pix[part.PixOffset(part.Rect.Min.X, y):][:part.Rect.Dx()] {
				b := int(to[x])
				to[x] = uint8(int(a) + b - (2*int(a)*b+127)/255)
			}
		}
	}
	return cover
}

func (o Outline) rasterise(to *image.Alpha) {
	b := to.Rect
	r := vector.NewRasterizer(b.Dx(), b.Dy())
	for _, contour := range o {
		for i, p := range contour {
			x, y := float32(p.X-float64(b.Min.X)), float32(p.Y-float64(b.Min.Y))
			if i == 0 {
				r.MoveTo(x, y)
			} else {
				r.LineTo(x, y)
			}
		}
		r.ClosePath()
	}
	r.Draw(to, b, image.Opaque, image.Point{})
}
