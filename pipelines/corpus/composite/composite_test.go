package composite

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logobeam/logobeam/transforms"
)

const testdata = "../../../testdata"

func layOut(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestList(t *testing.T) {
	dir := layOut(t, map[string]string{
		"b.svg": "", "B/2.PNG": "", "B/1.svg": "", "B/README.md": "", "B/deep/x.svg": "", "a.png": "", "LICENSE.md": "", ".hidden.svg": "", ".git/a.svg": "", "dr. oetker.svg": "",
	})
	got, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		for k, f := range got[i].Files {
			if got[i].Files[k], err = filepath.Rel(dir, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []Brand{{"B", []string{"B/1.svg", "B/2.PNG", "b.svg"}}, {"a", []string{"a.png"}}, {"dr. oetker", []string{"dr. oetker.svg"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		why   string
		files map[string]string
		want  string
	}{
		{"nothing", map[string]string{"README.md": ""}, "holds no marks: want BRAND.svg"},
		{"an empty brand", map[string]string{"a.svg": "", "b/README.md": ""}, "b holds no marks"},
		{"a photograph", map[string]string{"a.svg": "", "b.jpg": ""}, "b.jpg is no mark"},
		{"a photograph of a brand", map[string]string{"b/1.webp": ""}, "1.webp is no mark"},
	} {
		if _, err := List(layOut(t, c.files)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.why, err, c.want)
		}
	}
	if _, err := List(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "no marks") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// picture is a PNG of w x h pixels.
func picture(t *testing.T, w, h int, at func(x, y int) color.NRGBA) string {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, at(x, y))
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// block is a block of ink at (10, 10) to (w, h) on nothing.
func block(w, h int) func(x, y int) color.NRGBA {
	return func(x, y int) color.NRGBA {
		if x >= 10 && x < w && y >= 10 && y < h {
			return color.NRGBA{200, 0, 0, 255}
		}
		return color.NRGBA{}
	}
}

func TestReadRefuses(t *testing.T) {
	ground, err := os.ReadFile(testdata + "/backgrounds/brick.jpg")
	if err != nil {
		t.Fatal(err)
	}
	whole := picture(t, 100, 80, block(60, 50))
	limits := transforms.DefaultLimits()
	limits.Pixels, limits.Bytes = 512*512, 1<<19
	for _, c := range []struct{ why, name, data, want string }{
		{"broken XML", "a.svg", "<svg><path", "a.svg: not an SVG drawing"},
		{"nothing drawn", "a.svg", "<svg/>", "a.svg: it draws nothing"},
		{"text", "a.svg", "<svg><text>hp</text></svg>", "a.svg: <text>: this is not drawn here"},
		{"a line", "a.svg", `<svg><rect width="100" height="1"/></svg>`, "a.svg: it is 100 x 1 large"},
		{"a very long drawing", "a.svg", "<svg>" + strings.Repeat(" ", maxSVG), "a.svg: it has 1048581 bytes, the limit is 1048576"},
		{"no PNG", "a.png", "hello", "a.png: not-an-image"},
		{"nothing in it", "a.png", "", "a.png: empty"},
		{"a photograph by another name", "a.png", string(ground), "a.png: it is a jpeg: want a PNG"},
		{"cut off", "a.png", whole[:len(whole)-30], "a.png: "},
		{"opaque", "a.png", picture(t, 50, 50, func(x, y int) color.NRGBA { return color.NRGBA{0, 0, uint8(x), 255} }), "a.png: it is opaque all over"},
		{"transparent", "a.png", picture(t, 50, 50, func(x, y int) color.NRGBA { return color.NRGBA{1, 2, 3, 0} }), "a.png: what is not transparent has 0 x 0 pixels"},
		{"tiny", "a.png", picture(t, 50, 50, block(30, 30)), "has 20 x 20 pixels: want 32"},
		{"thin", "a.png", picture(t, 100, 50, block(90, 11)), "has 80 x 1 pixels"},
		{"too many pixels", "a.png", picture(t, 513, 512, block(90, 90)), "a.png: too-many-pixels"},
		{"too many bytes", "a.png", strings.Repeat("x", 1<<19+1), "a.png: it has 524289 bytes, the limit is 524288"},
	} {
		dir := layOut(t, map[string]string{c.name: c.data})
		if _, err := Read(filepath.Join(dir, c.name), limits); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.why, err, c.want)
		}
	}
	if _, err := Read(t.TempDir(), limits); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestRead(t *testing.T) {
	two := func(x, y int) color.NRGBA {
		c := block(90, 60)(x, y)
		if x > 50 {
			c.G = 200
		}
		return c
	}
	dir := layOut(t, map[string]string{
		"plain.png": picture(t, 100, 80, block(90, 50)), "two.png": picture(t, 100, 80, two),
		"plain.svg": `<svg><circle r="5" fill="#c80000"/></svg>`, "two.svg": `<svg><circle r="5"/><circle r="2" fill="white"/></svg>`,
	})
	for _, c := range []struct {
		name  string
		plain bool
		solid bool
		w, h  int
	}{{"plain.png", true, true, 320, 160}, {"two.png", false, true, 320, 200}, {"plain.svg", true, false, 320, 320}, {"two.svg", false, false, 320, 320}} {
		m, err := Read(filepath.Join(dir, c.name), transforms.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		if size := m.levels[0].Rect.Size(); m.plain != c.plain || m.solid != c.solid || size != image.Pt(c.w, c.h) {
			t.Errorf("%s: plain %v, solid %v, %v; want %v, %v, %d x %d", c.name, m.plain, m.solid, size, c.plain, c.solid, c.w, c.h)
		}
	}
}

// What comes out depends on the dice alone, is what it promises to be, and the mark is where its box says.
func TestCompose(t *testing.T) {
	ground, err := os.ReadFile(testdata + "/backgrounds/gravel.jpg")
	if err != nil {
		t.Fatal(err)
	}
	mark, err := Read(testdata+"/marks/shell.svg", transforms.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	compose := func(m *Mark, seed uint64) Composite {
		c, err := Compose(m, ground, transforms.DefaultLimits(), rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	seen := map[string]bool{}
	for seed := range uint64(12) {
		c := compose(mark, seed)
		if again := compose(mark, seed); !bytes.Equal(c.JPEG, again.JPEG) {
			t.Fatalf("seed %d gives different pictures", seed)
		}
		if seen[string(c.JPEG)] {
			t.Errorf("seed %d gives the picture of another one", seed)
		}
		seen[string(c.JPEG)] = true
		m, err := jpeg.Decode(bytes.NewReader(c.JPEG))
		if err != nil {
			t.Fatal(err)
		}
		if size := m.Bounds().Size(); size != c.Size || min(size.X, size.Y) < 208 || max(size.X, size.Y) > 512 {
			t.Errorf("seed %d: %v, says %v", seed, size, c.Size)
		}
		if len(c.Boxes) != 1 || !c.Boxes[0].In(m.Bounds()) {
			t.Fatalf("seed %d: boxes %v in %v", seed, c.Boxes, c.Size)
		}
		share := float64(max(c.Boxes[0].Dx(), c.Boxes[0].Dy())) / float64(min(c.Size.X, c.Size.Y))
		if share < 0.079 || share > 0.62 {
			t.Errorf("seed %d: the mark has %.3f of the side", seed, share)
		}
		if c := compose(nil, seed); len(c.Boxes) > 0 {
			t.Errorf("seed %d: a box of no mark: %v", seed, c.Boxes)
		}
	}
	if _, err := Compose(mark, []byte("no photograph"), transforms.DefaultLimits(), rand.New(rand.NewPCG(1, 0))); err == nil {
		t.Error("a background that is no image gives no error")
	}
}

// On an even ground all that differs lies in the box, but for what blends into it.
func TestSign(t *testing.T) {
	mark, err := Read(testdata+"/marks/apple.svg", transforms.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	bare := 0
	for seed := range uint64(60) {
		m := transforms.NewImage(400, 300)
		for i := range m.Pix {
			m.Pix[i] = 128
		}
		box := newScene(m).sign(dice{rand.New(rand.NewPCG(seed, 0))}, mark)
		changed := image.Rectangle{}
		for y := range m.H {
			for x := range m.W {
				if p := m.Pix[3*(y*m.W+x):]; p[0] != 128 || p[1] != 128 || p[2] != 128 {
					changed = changed.Union(image.Rect(x, y, x+1, y+1))
				}
			}
		}
		// A plate hangs over the mark's box. The corners of a rectangle round the mark, which span the box, are empty.
		if changed.Empty() || changed.Intersect(box).Dx() < box.Dx()/2 || changed.Intersect(box).Dy() < box.Dy()/2 {
			t.Errorf("seed %d: %v has changed, the mark is in %v", seed, changed, box)
		}
		if changed.In(box) {
			bare++
		}
	}
	if bare == 0 || bare == 60 {
		t.Errorf("%d of 60 marks have no plate; want some of both", bare)
	}
}

func TestHomography(t *testing.T) {
	d := dice{rand.New(rand.NewPCG(1, 2))}
	for range 100 {
		h := view(d)
		x, y := d.in(-1, 1), d.in(-1, 1)
		u, v := h.at(x, y)
		if a, b := h.inverse().at(u, v); fmt.Sprintf("%.6f %.6f", a, b) != fmt.Sprintf("%.6f %.6f", x, y) {
			t.Fatalf("(%v, %v) goes to (%v, %v) and comes back as (%v, %v)", x, y, u, v, a, b)
		}
	}
}

func BenchmarkCompose(b *testing.B) {
	ground, err := os.ReadFile(testdata + "/backgrounds/coffee.jpg")
	if err != nil {
		b.Fatal(err)
	}
	mark, err := Read(testdata+"/marks/starbucks.svg", transforms.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 0))
	for b.Loop() {
		if _, err := Compose(mark, ground, transforms.DefaultLimits(), r); err != nil {
			b.Fatal(err)
		}
	}
}
