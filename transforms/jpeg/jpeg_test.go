package jpeg

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"path/filepath"
	"testing"
)

func difference(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }

// The standard library's transform has other roundings: samples differ by 1, colours by 3.
func TestLikeStandardLibrary(t *testing.T) {
	files, err := filepath.Glob("../testdata/*.jpg")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(file, err)
		}
		r, err := Decode(data, Options{})
		if err != nil {
			t.Fatal(file, err)
		}
		if r.Image.Bounds() != want.Bounds() || r.Image.ColorModel() != want.ColorModel() || r.Warnings != 0 {
			t.Errorf("%s: %v %T %v, want %v %T", file, r.Image.Bounds(), r.Image, r.Warnings, want.Bounds(), want)
		}
		for y := range r.Height {
			for x := range r.Width {
				a, b := rgba(r.Image, x, y), rgba(want, x, y)
				for i := range a {
					if difference(a[i], b[i]) > 3 {
						t.Fatalf("%s at (%d, %d): %v, want about %v", file, x, y, a, b)
					}
				}
			}
		}
	}
}

func rgba(m image.Image, x, y int) [4]uint8 {
	r, g, b, a := m.At(x, y).RGBA()
	return [4]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), uint8(a >> 8)}
}
