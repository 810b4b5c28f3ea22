// Package svg reads the drawings that brands give out as their marks: filled shapes in plain colours.
//
//	d, err := svg.Parse(data, 0)
//	picture, err := d.Draw(512)
//
// It knows the elements svg, g, a, path, rect, circle, ellipse, polygon and polyline, transforms, fills, opacity and classes
// of style sheets. What it cannot draw as it should look, such as text, gradients, strokes and clips, is an error that says
// so, never left out. It stands alone.
package svg

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/image/colornames"
)

// Drawing is what a file shows.
type Drawing struct {
	Shapes []Shape // from the back to the front, at least one
}

// Shape is an area of one colour.
type Shape struct {
	Outline Outline // in the drawing's units
	EvenOdd bool    // the rule by which its inside is found; false is the non-zero rule
	Fill    color.NRGBA
}

// maxContours bounds how long a file of a megabyte may take to draw, some seconds at worst.
const maxContours = 10_000

// style is what elements hand on to those inside them.
type style struct {
	fill    color.NRGBA
	none    bool // no fill
	evenOdd bool
	hidden  bool
	opacity float64 // of the groups so far
	own     float64 // fill-opacity
	turn    affine
}

// affine takes (x, y) to (a x + c y + e, b x + d y + f).
type affine struct{ a, b, c, d, e, f float64 }

func (m affine) at(p Point) Point {
	return Point{m.a*p.X + m.c*p.Y + m.e, m.b*p.X + m.d*p.Y + m.f}
}

// times is m after n.
func (m affine) times(n affine) affine {
	x, y, o := m.at(Point{n.a, n.b}), m.at(Point{n.c, n.d}), m.at(Point{n.e, n.f})
	return affine{x.X - m.e, x.Y - m.f, y.X - m.e, y.Y - m.f, o.X, o.Y}
}

// Parse reads an SVG file. step is as of parsePath.
//
// The error tells what is broken, or what the file has that cannot be drawn here.
func Parse(data []byte, step float64) (Drawing, error) {
	p := parser{step: step, classes: map[string]map[string]string{}}
	x := xml.NewDecoder(bytes.NewReader(data))
	x.CharsetReader = func(label string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("it is in %s: want UTF-8", label)
	}
	stack := []style{{fill: color.NRGBA{A: 255}, opacity: 1, own: 1, turn: affine{a: 1, d: 1}}}
	for root := true; ; {
		t, err := x.Token()
		if err == io.EOF && !root {
			break
		}
		if err != nil {
			return Drawing{}, fmt.Errorf("not an SVG drawing: %w", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if root && t.Name.Local != "svg" {
				return Drawing{}, fmt.Errorf("not an SVG drawing: it begins with <%s>", t.Name.Local)
			}
			inner := stack[len(stack)-1]
			skip, err := p.element(t, &inner, root)
			if err != nil {
				return Drawing{}, fmt.Errorf("<%s>: %w", t.Name.Local, err)
			}
			root = false
			switch {
			case t.Name.Local == "style":
				var sheet struct {
					Text string `xml:",chardata"`
				}
				if err = x.DecodeElement(&sheet, &t); err == nil {
					err = p.sheet(sheet.Text)
				}
			case skip:
				err = x.Skip()
			default:
				stack = append(stack, inner)
			}
			if err != nil {
				return Drawing{}, fmt.Errorf("<%s>: %w", t.Name.Local, err)
			}
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		}
	}
	if len(p.shapes) == 0 {
		return Drawing{}, errors.New("it draws nothing")
	}
	return Drawing{p.shapes}, nil
}

type parser struct {
	step             float64
	shapes           []Shape
	points, contours int
	classes          map[string]map[string]string // properties of the style sheet
}

// namespace is that of SVG. Elements and attributes of others, as editors leave them, are not looked at.
const namespace = "http://www.w3.org/2000/svg"

// element reads an element into the style that those inside it begin with, and draws it. skip says that nothing inside it
// is to be seen.
func (p *parser) element(t xml.StartElement, s *style, root bool) (skip bool, err error) {
	if t.Name.Space != "" && t.Name.Space != namespace {
		return true, nil
	}
	switch t.Name.Local {
	case "svg":
		if !root {
			return false, errors.New("a drawing in a drawing is not drawn here: save it as plain paths, or as a PNG")
		}
	case "title", "desc", "metadata", "symbol", "style", "clipPath", "mask", "linearGradient", "radialGradient", "filter", "pattern":
		return true, nil // what draws with them is refused
	case "g", "a", "defs", "path", "rect", "circle", "ellipse", "polygon", "polyline":
	default:
		return false, errors.New("this is not drawn here: save it as plain paths, or as a PNG")
	}
	attr := map[string]string{}
	for _, a := range t.Attr {
		if a.Name.Space == "" {
			attr[a.Name.Local] = strings.TrimSpace(a.Value)
		}
	}
	properties := maps.Clone(attr)
	for _, c := range strings.Fields(attr["class"]) {
		maps.Copy(properties, p.classes[c])
	}
	if err := declarations(attr["style"], properties); err != nil {
		return false, err
	}
	if err := s.apply(properties); err != nil {
		return false, err
	}
	if t.Name.Local == "defs" {
		s.hidden = true // but there may be a style sheet in it
	}
	turn, err := parseTransform(attr["transform"])
	if err != nil {
		return false, err
	}
	s.turn = s.turn.times(turn)

	o, err := p.outline(t.Name.Local, attr)
	alpha := float64(s.fill.A) * s.opacity * s.own
	if err != nil || o == nil || s.hidden || s.none || alpha < 0.5 {
		return false, err
	}
	o = o.Map(s.turn.at)
	for _, c := range o {
		p.points += len(c)
		for _, q := range c {
			if !(max(math.Abs(q.X), math.Abs(q.Y)) <= 10*maxNumber) {
				return false, fmt.Errorf("it leads to (%g, %g): want at most %.0f", q.X, q.Y, 10*maxNumber)
			}
		}
	}
	if p.contours += len(o); p.contours > maxContours || p.points > maxPoints {
		return false, fmt.Errorf("more than %d contours or %d points: want a simpler drawing, or a PNG", maxContours, maxPoints)
	}
	fill := s.fill
	fill.A = uint8(math.Round(alpha))
	p.shapes = append(p.shapes, Shape{o, s.evenOdd, fill})
	return false, nil
}

// outline is that of a shape; nil for a group, and for a shape without any area.
func (p *parser) outline(name string, attr map[string]string) (Outline, error) {
	pen := Pen{Step: p.step}
	var bad error
	length := func(name string) float64 {
		v, err := parseLength(attr[name])
		if err != nil {
			bad = fmt.Errorf("%s: %w", name, err)
		}
		return v
	}
	switch name {
	case "path":
		if attr["d"] == "" || attr["d"] == "none" {
			return nil, nil
		}
		return parsePath(attr["d"], p.step)
	case "rect":
		x, y, w, h, rx, ry := length("x"), length("y"), length("width"), length("height"), length("rx"), length("ry")
		if attr["rx"] == "" {
			rx = ry
		} else if attr["ry"] == "" {
			ry = rx
		}
		if w > 0 && h > 0 {
			pen.Rect(x, y, w, h, min(max(rx, 0), w/2), min(max(ry, 0), h/2))
		}
	case "circle", "ellipse":
		rx, ry := length("rx"), length("ry")
		if name == "circle" {
			rx = length("r")
			ry = rx
		}
		if cx, cy := length("cx"), length("cy"); rx > 0 && ry > 0 {
			pen.Ellipse(Pt(cx, cy), rx, ry)
		}
	case "polygon", "polyline":
		v, err := parseNumbers(attr["points"])
		if err != nil || len(v)%2 != 0 {
			return nil, fmt.Errorf("points are no pairs of numbers: %.40q", attr["points"])
		}
		for i := 0; i < len(v); i += 2 {
			if at := Pt(v[i], v[i+1]); i == 0 {
				pen.Move(at)
			} else {
				pen.Line(at)
			}
		}
		pen.Close()
	}
	return pen.Outline(), bad
}

// apply changes a style by properties. Those that change nothing here are passed over.
func (s *style) apply(properties map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(properties)) { // so that of two faults the same one is told each time
		v := properties[name]
		var err error
		switch name {
		case "fill":
			s.fill, s.none, err = parseColour(v, s.fill, s.none)
		case "fill-rule":
			s.evenOdd = v == "evenodd"
		case "fill-opacity":
			s.own, err = parseShare(v)
		case "opacity":
			var share float64
			share, err = parseShare(v)
			s.opacity *= share
		case "display":
			s.hidden = s.hidden || v == "none"
		case "visibility":
			s.hidden = s.hidden || v == "hidden" || v == "collapse"
		case "stroke", "clip-path", "mask", "filter":
			if v != "" && v != "none" && v != "transparent" {
				err = errors.New("this is not drawn here: save the drawing as plain paths, or as a PNG")
			}
		}
		if err != nil {
			return fmt.Errorf("%s %q: %w", name, v, err)
		}
	}
	return nil
}

// sheet reads a style sheet that gives properties to classes.
func (p *parser) sheet(text string) error {
	for {
		before, after, ok := strings.Cut(text, "/*")
		if !ok {
			break
		}
		_, after, _ = strings.Cut(after, "*/")
		text = before + " " + after
	}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		selectors, rest, ok := strings.Cut(text, "{")
		body, rest, end := strings.Cut(rest, "}")
		if !ok || !end {
			return fmt.Errorf("style sheet has %.40q: want .class { property: value; }", text)
		}
		text = rest
		for selector := range strings.SplitSeq(selectors, ",") {
			name, ok := strings.CutPrefix(strings.TrimSpace(selector), ".")
			if !ok || strings.ContainsAny(name, " .#:>[+~") {
				return fmt.Errorf("style sheet selects by %.40q: only classes are known here", selector)
			}
			if p.classes[name] == nil {
				p.classes[name] = map[string]string{}
			}
			if err := declarations(body, p.classes[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// declarations reads "fill: red; opacity: 0.5" into properties.
func declarations(text string, properties map[string]string) error {
	for d := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(d) == "" {
			continue
		}
		name, value, ok := strings.Cut(d, ":")
		if !ok {
			return fmt.Errorf("style has %.40q: want property: value", d)
		}
		properties[strings.TrimSpace(name)] = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "!important"))
	}
	return nil
}

func parseTransform(text string) (affine, error) {
	m := affine{a: 1, d: 1}
	for text = text[blank(text):]; text != ""; text = text[blank(text):] {
		name, rest, ok := strings.Cut(text, "(")
		inner, rest, end := strings.Cut(rest, ")")
		v, err := parseNumbers(inner)
		if !ok || !end || err != nil {
			return m, fmt.Errorf("transform has %.40q: want NAME(NUMBERS)", text)
		}
		text = rest
		name = strings.TrimSpace(name)
		n := len(v)
		v = append(v, make([]float64, 6)...)
		switch {
		case name == "matrix" && n == 6:
			m = m.times(affine{v[0], v[1], v[2], v[3], v[4], v[5]})
		case name == "translate" && (n == 1 || n == 2):
			m = m.times(affine{1, 0, 0, 1, v[0], v[1]})
		case name == "scale" && n == 1:
			m = m.times(affine{v[0], 0, 0, v[0], 0, 0})
		case name == "scale" && n == 2:
			m = m.times(affine{v[0], 0, 0, v[1], 0, 0})
		case name == "rotate" && (n == 1 || n == 3): // v[1] and v[2] are 0 where they are not given
			sin, cos := math.Sincos(v[0] * math.Pi / 180)
			m = m.times(affine{1, 0, 0, 1, v[1], v[2]}).times(affine{cos, sin, -sin, cos, 0, 0}).times(affine{1, 0, 0, 1, -v[1], -v[2]})
		case name == "skewX" && n == 1:
			m = m.times(affine{1, 0, math.Tan(v[0] * math.Pi / 180), 1, 0, 0})
		case name == "skewY" && n == 1:
			m = m.times(affine{1, math.Tan(v[0] * math.Pi / 180), 0, 1, 0, 0})
		default:
			return m, fmt.Errorf("transform has %s of %d numbers", name, n)
		}
	}
	return m, nil
}

// parseNumbers reads numbers with spaces, commas or signs between them.
func parseNumbers(text string) (v []float64, err error) {
	for text = text[blank(text):]; text != ""; text = text[blank(text):] {
		n := number(text, false)
		f, err := parseNumber(text[:n])
		if err != nil {
			return nil, err
		}
		v, text = append(v, f), text[n:]
	}
	return v, nil
}

func parseNumber(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(math.Abs(f) <= maxNumber) {
		return 0, fmt.Errorf("%.40q is no number of at most %.0f", text, maxNumber)
	}
	return f, nil
}

// parseLength reads a length in the drawing's units; "" is 0.
func parseLength(text string) (float64, error) {
	if text == "" || text == "auto" {
		return 0, nil
	}
	return parseNumber(strings.TrimSuffix(text, "px"))
}

// parseShare reads 0.5 or 50%.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	f, err := parseNumber(number)
	if percent {
		f /= 100
	}
	return min(max(f, 0), 1), err
}

// parseColour reads a fill. inherited is that of the element outside.
func parseColour(text string, inherited color.NRGBA, none bool) (color.NRGBA, bool, error) {
	lower := strings.ToLower(text)
	switch lower {
	case "none", "transparent":
		return inherited, true, nil
	case "", "inherit":
		return inherited, none, nil
	case "currentcolor":
		return color.NRGBA{A: 255}, false, nil
	}
	if c, ok := colornames.Map[lower]; ok {
		return color.NRGBA(c), false, nil // names are opaque
	}
	var digits [8]uint8
	if hex, ok := strings.CutPrefix(lower, "#"); ok {
		switch len(hex) {
		case 3, 4:
			for i := range len(hex) {
				digits[2*i], digits[2*i+1] = hex[i], hex[i]
			}
		case 6, 8:
			copy(digits[:], hex)
		}
		if len(hex) == 3 || len(hex) == 6 {
			digits[6], digits[7] = 'f', 'f'
		}
		if v, err := strconv.ParseUint(string(digits[:]), 16, 32); err == nil {
			return color.NRGBA{uint8(v >> 24), uint8(v >> 16), uint8(v >> 8), uint8(v)}, false, nil
		}
	}
	if inner, ok := strings.CutPrefix(lower, "rgb("); ok && strings.HasSuffix(inner, ")") {
		parts := strings.FieldsFunc(strings.TrimSuffix(inner, ")"), func(r rune) bool { return r == ',' || r == ' ' })
		var c [3]uint8
		ok = len(parts) == len(c)
		for i := 0; ok && i < len(c); i++ {
			number, percent := strings.CutSuffix(parts[i], "%")
			f, err := parseNumber(number)
			if percent {
				f *= 2.55
			}
			c[i], ok = uint8(math.Round(min(max(f, 0), 255))), err == nil
		}
		if ok {
			return color.NRGBA{c[0], c[1], c[2], 255}, false, nil
		}
	}
	return inherited, none, errors.New("no plain colour: want #rrggbb, rgb(), a name or none")
}

// Draw makes a picture of a drawing, without margins: its longer side has size pixels.
//
// It is an error if the drawing is more than 20 times as long as it is wide, or the other way round.
func (d Drawing) Draw(size int) (*image.RGBA, error) {
	lo, hi := Pt(math.Inf(1), math.Inf(1)), Pt(math.Inf(-1), math.Inf(-1))
	for _, s := range d.Shapes {
		a, b := s.Outline.Bounds()
		lo, hi = Pt(min(lo.X, a.X), min(lo.Y, a.Y)), Pt(max(hi.X, b.X), max(hi.Y, b.Y))
	}
	w, h := hi.X-lo.X, hi.Y-lo.Y
	if long := max(w, h); !(min(w, h)*20 >= long && long > 0) {
		return nil, fmt.Errorf("it is %g x %g large: want neither side more than 20 times the other", w, h)
	}
	scale := float64(size) / max(w, h)
	m := image.NewRGBA(image.Rect(0, 0, max(1, int(math.Ceil(w*scale-tiny))), max(1, int(math.Ceil(h*scale-tiny)))))
	for _, s := range d.Shapes {
		o := s.Outline.Map(func(p Point) Point { return Pt((p.X-lo.X)*scale, (p.Y-lo.Y)*scale) })
		a, b := o.Bounds()
		r := image.Rect(int(a.X), int(a.Y), int(math.Ceil(b.X)), int(math.Ceil(b.Y))).Intersect(m.Rect)
		draw.DrawMask(m, r, image.NewUniform(s.Fill), image.Point{}, o.Fill(r, s.EvenOdd), r.Min, draw.Over)
	}
	return m, nil
}
