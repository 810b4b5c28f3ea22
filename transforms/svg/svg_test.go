package svg

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const marks = "../../testdata/marks"

func TestParsePath(t *testing.T) {
	for _, c := range []struct {
		why, d         string
		contours       int
		x0, y0, x1, y1 float64 // what it spans
	}{
		{"lines", "M1 2L5 2L5 7Z", 1, 1, 2, 5, 7},
		{"relative, numbers run together", "m1 2l4-0l0 5.5.5-.5z", 1, 1, 2, 5.5, 7.5},
		{"further pairs of a move are lines", "M0 0 4 0 4 3z m1 1 2 0 0 1z", 2, 0, 0, 4, 3},
		{"across and down", "M1 1H9V4h-8z", 1, 1, 1, 9, 4},
		{"exponents", "M1e1,2E+0L20e-1 3z", 1, 2, 2, 10, 3},
		{"a cubic reaches three quarters of its handles", "M0 0C0 4 4 4 4 0z", 1, 0, 0, 4, 3},
		{"a smooth one mirrors the handle", "M0 0C0 4 4 4 4 0S8-4 8 0", 1, 0, -3, 8, 3},
		{"a quadratic reaches half", "M0 0Q2 4 4 0T8 0", 1, 0, -2, 8, 2},
		{"two half circles, flags run together", "M-3 0a3 3 0 013 3a3 3 0 0 1 3-3A3 3 0 01-3 0", 1, -3, 0, 3, 3},
		{"the long way round", "M1 0A1 1 0 1 1 0-1", 1, -1, -1, 1, 1},
		{"too small a radius grows", "M0 0A1 1 0 0 1 10 0z", 1, 0, -5, 10, 0},
		{"after a close it goes on from the start", "M1 1h2v2zl-1 1h1z", 2, 0, 1, 3, 3},
	} {
		o, err := parsePath(c.d, 0.12)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		lo, hi := o.Bounds()
		near := func(a, b float64) bool { return math.Abs(a-b) < 0.02 }
		if len(o) != c.contours || !near(lo.X, c.x0) || !near(lo.Y, c.y0) || !near(hi.X, c.x1) || !near(hi.Y, c.y1) {
			t.Errorf("%s: %d contours from %.2f to %.2f; want %d from (%v, %v) to (%v, %v)", c.why, len(o), lo, hi, c.contours, c.x0, c.y0, c.x1, c.y1)
		}
	}
	for _, d := range []string{"", "1 2", "M1", "M1 x", "M1 1B3 3", "M1 1Z 3 3"} {
		if o, err := parsePath(d, 0); err == nil {
			t.Errorf("%q: %v, want an error", d, o)
		}
	}
}

// drawing is an SVG file of 20 x 10 units.
func drawing(inner string) string {
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10">` + inner + `</svg>`
}

// frame keeps what is drawn from being cut to its bounds, in a colour that no case uses.
const frame = `<path fill="#010203" d="M0 0h1v1h-1zM19 9h1v1h-1z"/>`

func TestParse(t *testing.T) {
	red, blue, black, nothing := color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}, color.RGBA{0, 0, 0, 255}, color.RGBA{}
	type seen map[image.Point]color.RGBA // at points of the drawing
	for _, c := range []struct {
		why, inner string
		want       seen
	}{
		{"black where nothing is said", `<path d="M4 2h4v4h-4z"/>`, seen{{5, 3}: black, {9, 3}: nothing}},
		{"a later shape covers", `<rect x="4" y="2" width="4" height="4" fill="red"/><circle cx="8" cy="4" r="2" fill="#00f"/>`, seen{{5, 3}: red, {7, 4}: blue, {9, 4}: blue}},
		{"groups hand on", `<g fill="#f00"><g><rect x="4" y="2" width="4" height="4"/></g></g>`, seen{{5, 3}: red}},
		{"a style is stronger than an attribute", `<rect style="fill:rgb(100%, 0, 0)" fill="blue" x="4" y="2" width="4" height="4"/>`, seen{{5, 3}: red}},
		{"classes", `<defs><style>/* c */ .a, .b { fill: #ff0000 } .b{fill:blue}</style></defs><rect class="a" width="4" height="4" x="2"/><rect class="b" width="4" height="4" x="6"/>`, seen{{3, 3}: red, {7, 3}: blue}},
		{"what is defined is not seen", `<defs><rect width="20" height="10"/></defs><clipPath id="c"><rect width="20" height="10"/></clipPath>`, seen{{5, 3}: nothing}},
		{"no fill, no display", `<rect width="20" height="10" fill="none"/><g display="none"><rect width="20" height="10"/></g>`, seen{{5, 3}: nothing}},
		{"a hole by even-odd", `<path fill-rule="evenodd" fill="red" d="M4 1h8v8h-8zM6 3h4v4h-4z"/>`, seen{{5, 2}: red, {8, 5}: nothing}},
		{"none by non-zero", `<path fill="red" d="M4 1h8v8h-8zM6 3h4v4h-4z"/>`, seen{{5, 2}: red, {8, 5}: red}},
		{"a hole by the way round", `<path fill="red" d="M4 1h8v8h-8zM6 3v4h4v-4z"/>`, seen{{5, 2}: red, {8, 5}: nothing}},
		{"transforms, the last one first", `<g transform="translate(10 5)"><rect transform="rotate(90) scale(2)" width="1" height="2" fill="red"/></g>`, seen{{8, 6}: red, {11, 6}: nothing, {8, 4}: nothing}},
		{"turned about a point", `<rect transform="rotate(180, 10, 5)" x="2" y="4" width="4" height="2" fill="red"/>`, seen{{15, 5}: red, {3, 5}: nothing}},
		{"a matrix", `<rect transform="matrix(1 0 0 1 4 2)" width="4" height="4" fill="red"/>`, seen{{7, 5}: red, {3, 3}: nothing}},
		{"skewed", `<rect transform="skewX(45)" x="2" width="2" height="8" fill="red"/>`, seen{{9, 6}: red, {3, 6}: nothing}},
		{"an ellipse", `<ellipse cx="10" cy="5" rx="6" ry="3" fill="red"/>`, seen{{14, 5}: red, {14, 2}: nothing}},
		{"round corners", `<rect width="16" height="10" x="2" rx="5" fill="red"/>`, seen{{10, 5}: red, {2, 1}: nothing}},
		{"a polygon", `<polygon points="4,1 16,1 16,9" fill="red"/>`, seen{{14, 4}: red, {6, 7}: nothing}},
		{"what editors leave", `<title>t</title><metadata><x/></metadata><sodipodi:namedview xmlns:sodipodi="urn:s" fill="nonsense"><sodipodi:guide/></sodipodi:namedview><rect width="4" height="4" x="2" fill="red"/>`, seen{{3, 3}: red}},
	} {
		d, err := Parse([]byte(drawing(frame+c.inner)), 0)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		m, err := d.Draw(200)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		for at, want := range c.want {
			if got := m.RGBAAt(10*at.X+5, 10*at.Y+5); got != want {
				t.Errorf("%s: %v at %v, want %v", c.why, got, at, want)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ why, data, want string }{
		{"empty", "", "not an SVG drawing"},
		{"another kind of file", "\x89PNG\r\n", "not an SVG drawing"},
		{"a page", "<html></html>", "begins with <html>"},
		{"cut off", `<svg><path d="M0 0h1v1z"/>`, "not an SVG drawing"},
		{"an unknown entity", "<svg>&a;</svg>", "not an SVG drawing"},
		{"another encoding", `<?xml version="1.0" encoding="koi8-r"?><svg/>`, "want UTF-8"},
		{"nothing in it", drawing(""), "draws nothing"},
		{"text", drawing("<text>A</text>"), "<text>: this is not drawn here"},
		{"a picture", drawing(`<image href="a.png"/>`), "<image>: this is not drawn here"},
		{"a gradient", drawing(`<rect width="1" height="1" fill="url(#a)"/>`), `fill "url(#a)": no plain colour`},
		{"a stroke", drawing(`<g stroke="#000"/>`), `stroke "#000": this is not drawn here`},
		{"a clip", drawing(`<g style="clip-path:url(#a)"/>`), "clip-path"},
		{"a style sheet that is too clever", drawing(`<style>#a > b {fill:red}</style>`), "only classes are known"},
		{"a broken style sheet", drawing(`<style>.a {fill:red</style>`), "style sheet has"},
		{"a broken style", drawing(`<g style="fill"/>`), "style has"},
		{"a broken transform", drawing(`<g transform="rotate(1"/>`), "transform has"},
		{"a wrong transform", drawing(`<g transform="rotate(1 2)"/>`), "rotate of 2 numbers"},
		{"a broken path", drawing(`<path d="M0 0 L1"/>`), "<path>: path data has no number at 7"},
		{"too large a number", drawing(`<path d="M0 0L1e7 0"/>`), "want at most 1000000"},
		{"far away by and by", drawing(`<path d="M0 0` + strings.Repeat("l9e5 0", 3) + `"/>`), "path data leads to"},
		{"far away by transforms", drawing(`<g transform="scale(1e6)"><path d="M0 0h1e6v1z"/></g>`), "it leads to"},
		{"a relative length", drawing(`<rect width="100%" height="1"/>`), `width: "100%" is no number`},
		{"odd points", drawing(`<polygon points="1 2 3"/>`), "no pairs"},
		{"very many contours", drawing(`<path d="` + strings.Repeat("M0 0h1v1z", maxContours+1) + `"/>`), "simpler drawing"},
	} {
		_, err := Parse([]byte(c.data), 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.why, err, c.want)
		}
	}
	d, err := Parse([]byte(drawing(`<rect width="100" height="2"/>`)), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Draw(100); err == nil || !strings.Contains(err.Error(), "20 times") {
		t.Errorf("a line: %v", err)
	}
}

// The picture is as large as was asked for, and has no margins.
func TestDraw(t *testing.T) {
	files, err := filepath.Glob(marks + "/*.svg")
	if err != nil || len(files) < 17 {
		t.Fatal(len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(data, 0)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		m, err := d.Draw(64)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		b := m.Bounds()
		if max(b.Dx(), b.Dy()) != 64 {
			t.Errorf("%s: %v", f, b)
		}
		var edges [4]uint8 // the highest alpha on each, two pixels wide, as the end of a stroke may cover next to nothing
		for y := range b.Dy() {
			edges[0], edges[1] = max(edges[0], m.RGBAAt(0, y).A, m.RGBAAt(1, y).A), max(edges[1], m.RGBAAt(b.Dx()-1, y).A, m.RGBAAt(b.Dx()-2, y).A)
		}
		for x := range b.Dx() {
			edges[2], edges[3] = max(edges[2], m.RGBAAt(x, 0).A, m.RGBAAt(x, 1).A), max(edges[3], m.RGBAAt(x, b.Dy()-1).A, m.RGBAAt(x, b.Dy()-2).A)
		}
		for i, a := range edges {
			if a == 0 {
				t.Errorf("%s: nothing on edge %d", f, i)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"google", "hp", "bmw"} {
		data, err := os.ReadFile(filepath.Join(marks, name+".svg"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(drawing(`<style>.a{fill:#f00}</style><g transform="rotate(30 1 2) scale(2)" class="a" opacity="50%"><circle cx="1" cy="2" r="3"/><rect width="9" height="2" rx="1"/></g><path fill-rule="evenodd" d="M0 0a3 3 0 013 3T5 6S1 2 3 4Q1 2 9 9z"/>`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data, 0)
		if err != nil {
			return
		}
		n := 0
		for _, s := range d.Shapes {
			for _, c := range s.Outline {
				n += len(c)
				for _, p := range c {
					if math.IsNaN(p.X + p.Y) {
						t.Fatal("not a number among the points")
					}
				}
			}
		}
		if n > maxPoints+1000 || len(d.Shapes) == 0 {
			t.Fatalf("%d points of %d shapes", n, len(d.Shapes))
		}
		if m, err := d.Draw(32); err == nil && (m.Rect.Dx() > 32 || m.Rect.Dy() > 32) {
			t.Fatal(fmt.Sprint("drawn ", m.Rect))
		}
	})
}
