package jpeg

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A golden is what libjpeg-turbo makes of a file of testdata at a scale: see testdata/README.md.
type golden struct {
	file  string
	scale int
	kind  string // grey, rgb, cmyk
	w, h  int
	sum   uint32 // CRC-32 (IEEE) of the samples, row by row
}

func goldens(t testing.TB) (all []golden) {
	t.Helper()
	f, err := os.Open("testdata/libjpeg-turbo.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var g golden
		if _, err := fmt.Sscanf(s.Text(), "%s %d %s %d %d %x", &g.file, &g.scale, &g.kind, &g.w, &g.h, &g.sum); err != nil {
			t.Fatal(s.Text(), err)
		}
		all = append(all, g)
	}
	return all
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// samples of an image as djpeg writes them, without interpolation of chroma.
func flatten(m image.Image, kind string) (out []byte) {
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			switch m := m.(type) {
			case *image.Gray:
				out = append(out, m.GrayAt(x, y).Y)
			case *image.YCbCr:
				c := m.YCbCrAt(x, y)
				if kind == "grey" {
					out = append(out, c.Y)
				} else {
					r, g, b := rgb(c.Y, c.Cb, c.Cr)
					out = append(out, r, g, b)
				}
			case *image.RGBA:
				c := m.RGBAAt(x, y)
				out = append(out, c.R, c.G, c.B)
			case *image.CMYK:
				c := m.CMYKAt(x, y)
				out = append(out, c.C, c.M, c.Y, c.K)
			}
		}
	}
	return out
}

// likeLibjpeg reports whether libjpeg-turbo, which makes blocks larger in both directions or none, makes the same
// blocks at a scale as we do.
func likeLibjpeg(t *testing.T, data []byte, scale int) bool {
	t.Helper()
	c, err := DecodeConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	var f file
	f.set(c)
	f.options = Options{Scale: scale}
	f.plan()
	for _, c := range f.component[:f.components] {
		n := 8 / scale
		for m := n; n < 8 && f.hMax*m%(2*n*c.h) == 0 && f.vMax*m%(2*n*c.v) == 0; {
			n *= 2
		}
		if c.nx != n || c.ny != n {
			return false
		}
	}
	return true
}

// Every sample is that of libjpeg-turbo.
func TestLikeLibjpegTurbo(t *testing.T) {
	exact := 0
	for _, g := range goldens(t) {
		data := read(t, g.file)
		r, err := Decode(data, Options{Scale: g.scale})
		if err != nil {
			t.Errorf("%s at 1/%d: %v", g.file, g.scale, err)
			continue
		}
		if r.Image.Bounds() != image.Rect(0, 0, g.w, g.h) || r.Warnings != 0 {
			t.Errorf("%s at 1/%d: %v, %v; want %d x %d", g.file, g.scale, r.Image.Bounds(), r.Warnings, g.w, g.h)
		}
		if g.kind == "rgb" && !likeLibjpeg(t, data, g.scale) {
			continue
		}
		if sum := crc32.ChecksumIEEE(flatten(r.Image, g.kind)); sum != g.sum {
			t.Errorf("%s at 1/%d: other %s samples than libjpeg-turbo's", g.file, g.scale, g.kind)
			continue
		}
		exact++
	}
	if exact < 300 {
		t.Errorf("only %d pictures compared", exact)
	}
}

// What djpeg has no way to show: chroma that is transformed to more samples in one direction than in the other is the
// mean of what it is at full size.
func TestChromaByDirection(t *testing.T) {
	for _, g := range goldens(t) {
		if g.kind != "rgb" || g.scale == 1 || !strings.HasPrefix(g.file, "4") || !strings.HasSuffix(g.file, "q92.jpg") {
			continue
		}
		data := read(t, g.file)
		full, err := Decode(data, Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := Decode(data, Options{Scale: g.scale})
		if err != nil {
			t.Fatal(err)
		}
		whole, m := full.Image.(*image.YCbCr), r.Image.(*image.YCbCr)
		sum, n := 0, 0
		for y := range g.h - 1 {
			for x := range g.w - 1 {
				var cb, cr int
				for j := range g.scale {
					for i := range g.scale {
						c := whole.YCbCrAt(x*g.scale+i, y*g.scale+j)
						cb, cr = cb+int(c.Cb), cr+int(c.Cr)
					}
				}
				c := m.YCbCrAt(x, y)
				area := g.scale * g.scale
				for _, d := range []int{int(c.Cb) - cb/area, int(c.Cr) - cr/area} {
					sum += d * d
					n++
				}
			}
		}
		if mean := float64(sum) / float64(n); mean > 4 { // 42 dB
			t.Errorf("%s at 1/%d: mean squared error of chroma %.2f", g.file, g.scale, mean)
		}
	}
}
