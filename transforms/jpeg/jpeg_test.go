package jpeg

import (
	"bytes"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"testing"
)

// The standard library's transform rounds otherwise: samples differ by 2 at the most.
func TestLikeStandardLibrary(t *testing.T) {
	compared := 0
	for _, g := range goldens(t) {
		if g.scale > 1 || g.kind == "rgb" {
			continue
		}
		data := read(t, g.file)
		want, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil { // it knows less: sampling, CMYK without a marker
			continue
		}
		r, err := Decode(data, Options{})
		if err != nil {
			t.Fatal(g.file, err)
		}
		if r.Image.Bounds() != want.Bounds() || r.Image.ColorModel() != want.ColorModel() {
			t.Errorf("%s: %v %T, want %v %T", g.file, r.Image.Bounds(), r.Image, want.Bounds(), want)
			continue
		}
		most := 2
		if g.file == "ycck.jpg" { // what is compared is converted to RGB, which makes more of it
			most = 4
		}
		compared++
		for y := range r.Height {
			for x := range r.Width {
				a, b := channels(r.Image, x, y), channels(want, x, y)
				for i := range a {
					if difference(a[i], b[i]) > most {
						t.Fatalf("%s at (%d, %d): %v, want about %v", g.file, x, y, a, b)
					}
				}
			}
		}
	}
	if compared < 30 {
		t.Errorf("only %d files compared", compared)
	}
}

func difference(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }

func channels(m image.Image, x, y int) [4]uint8 {
	switch c := m.At(x, y).(type) {
	case color.Gray:
		return [4]uint8{c.Y}
	case color.YCbCr:
		return [4]uint8{c.Y, c.Cb, c.Cr}
	case color.RGBA:
		return [4]uint8{c.R, c.G, c.B, c.A}
	case color.CMYK:
		return [4]uint8{c.C, c.M, c.Y, c.K}
	}
	panic("another colour")
}
