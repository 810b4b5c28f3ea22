package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
)

type point struct{ x, y float64 }

// An outline is the inside of closed contours by the non-zero rule. Curves are flattened, and straight lines are
// cut up too, so that it can be bent.
type outline [][]point

// parseSVG reads a drawing that is one path, as those of simple-icons are.
func parseSVG(data []byte) (outline, error) {
	var svg struct {
		Paths []struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal(data, &svg); err != nil {
		return nil, err
	}
	if len(svg.Paths) != 1 {
		return nil, fmt.Errorf("it has %d paths; want 1", len(svg.Paths))
	}
	return parsePath(svg.Paths[0].D)
}

// arity is the number of numbers each command of path data takes at a time.
var arity = map[byte]int{'M': 2, 'L': 2, 'H': 1, 'V': 1, 'C': 6, 'S': 4, 'Q': 4, 'T': 2, 'A': 7, 'Z': 0}

// parsePath reads the path data of SVG 1.1, section 8.3.
func parsePath(d string) (outline, error) {
	var (
		p        pen
		i        int
		cmd, old byte
		ctrl     point // last control point, for S and T
	)
	skip := func() {
		for i < len(d) && (d[i] == ' ' || d[i] == ',' || d[i] == '\n' || d[i] == '\t' || d[i] == '\r') {
			i++
		}
	}
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
			v[k] = f
			i += n
		}
		if cmd >= 'a' { // relative
			switch upper {
			case 'H':
				v[0] += p.at.x
			case 'V':
				v[0] += p.at.y
			case 'A':
				v[5] += p.at.x
				v[6] += p.at.y
			default:
				for k := 0; k < arity[upper]; k += 2 {
					v[k] += p.at.x
					v[k+1] += p.at.y
				}
			}
		}
		a, b, c := point{v[0], v[1]}, point{v[2], v[3]}, point{v[4], v[5]}
		mirrored := point{2*p.at.x - ctrl.x, 2*p.at.y - ctrl.y}
		switch upper {
		case 'M':
			p.move(a)
			cmd -= 'M' - 'L' // further pairs are lines
		case 'L':
			p.line(a)
		case 'H':
			p.line(point{v[0], p.at.y})
		case 'V':
			p.line(point{p.at.x, v[0]})
		case 'C':
			p.cubic(a, b, c)
			ctrl = b
		case 'S':
			if old != 'C' && old != 'S' {
				mirrored = p.at
			}
			p.cubic(mirrored, a, b)
			ctrl = a
		case 'Q':
			p.quad(a, b)
			ctrl = a
		case 'T':
			if old != 'Q' && old != 'T' {
				mirrored = p.at
			}
			p.quad(mirrored, a)
			ctrl = mirrored
		case 'A':
			p.arc(v[0], v[1], v[2]*math.Pi/180, v[3] != 0, v[4] != 0, point{v[5], v[6]})
		case 'Z':
			p.close()
		}
		old = upper
	}
	p.close()
	if len(p.out) == 0 {
		return nil, fmt.Errorf("path data draws nothing")
	}
	return p.out, nil
}

// number is the length of the number that s begins with, or of what stands there instead. Numbers need no space
// between them if a sign or a second point tells them apart; flags are one digit.
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

// A pen flattens curves to chords of about step units, of the 24 that a mark is wide.
type pen struct {
	out       outline
	at, start point
	open      bool
}

const step = 0.12

func (p *pen) move(to point) { p.at, p.start, p.open = to, to, false }

func (p *pen) add(to point) {
	if !p.open {
		p.out = append(p.out, []point{p.at})
		p.open = true
	}
	last := len(p.out) - 1
	p.out[last] = append(p.out[last], to)
	p.at = to
}

// curve adds f(t) for t up to 1, in chords as many as length asks for.
func (p *pen) curve(length float64, f func(t float64) point) {
	n := min(max(math.Ceil(length/step), 1), 400)
	for k := 1.0; k <= n; k++ {
		p.add(f(k / n))
	}
}

func (p *pen) line(to point) {
	a := p.at
	p.curve(dist(a, to), func(t float64) point { return lerp(a, to, t) })
}

func (p *pen) quad(b, c point) {
	a := p.at
	p.curve(dist(a, b)+dist(b, c), func(t float64) point { return lerp(lerp(a, b, t), lerp(b, c, t), t) })
}

func (p *pen) cubic(b, c, d point) {
	a := p.at
	p.curve(dist(a, b)+dist(b, c)+dist(c, d), func(t float64) point {
		ab, bc, cd := lerp(a, b, t), lerp(b, c, t), lerp(c, d, t)
		return lerp(lerp(ab, bc, t), lerp(bc, cd, t), t)
	})
}

// arc follows SVG 1.1, appendix F.6: from two ends to the centre and angles.
func (p *pen) arc(rx, ry, phi float64, large, sweep bool, to point) {
	from := p.at
	if rx, ry = math.Abs(rx), math.Abs(ry); rx == 0 || ry == 0 || from == to {
		p.line(to)
		return
	}
	sin, cos := math.Sincos(phi)
	hx, hy := (from.x-to.x)/2, (from.y-to.y)/2
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
	mx, my := (from.x+to.x)/2, (from.y+to.y)/2
	p.curve(math.Abs(turn)*max(rx, ry), func(t float64) point {
		if t == 1 {
			return to
		}
		s, c := math.Sincos(a0 + t*turn)
		ex, ey := cx+rx*c, cy+ry*s
		return point{mx + cos*ex - sin*ey, my + sin*ex + cos*ey}
	})
}

func (p *pen) close() {
	if p.open && p.at != p.start {
		p.line(p.start)
	}
	p.move(p.start)
}

func dist(a, b point) float64          { return math.Hypot(b.x-a.x, b.y-a.y) }
func lerp(a, b point, t float64) point { return point{a.x + (b.x-a.x)*t, a.y + (b.y-a.y)*t} }
func mapped(o outline, f func(point) point) outline {
	to := make(outline, len(o))
	for i, c := range o {
		to[i] = make([]point, len(c))
		for k, p := range c {
			to[i][k] = f(p)
		}
	}
	return to
}

func bounds(o outline) (lo, hi point) {
	lo, hi = point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	for _, c := range o {
		for _, p := range c {
			lo = point{min(lo.x, p.x), min(lo.y, p.y)}
			hi = point{max(hi.x, p.x), max(hi.y, p.y)}
		}
	}
	return lo, hi
}

// centred moves an outline to the origin and makes its longer side 1.
func centred(o outline) outline {
	lo, hi := bounds(o)
	size := max(hi.x-lo.x, hi.y-lo.y)
	return mapped(o, func(p point) point {
		return point{(p.x - (lo.x+hi.x)/2) / size, (p.y - (lo.y+hi.y)/2) / size}
	})
}
