package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/gif"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/draw"
	"golang.org/x/image/tiff"
)

// An oddity is a file that is unlike the photographs of the corpus in one way.
type oddity struct {
	kind, file string // a name in the folder, or a URL
	stage      string // where it is rejected; empty if it is scored
	reason     string
	note       string
	make       func(m *image.RGBA) ([]byte, error) // nil if oddities.py makes it, or nobody
}

var oddities = []oddity{
	{"plain", "plain.jpg", "", "", "an ordinary JPEG, 4:2:0, to compare the others with", func(m *image.RGBA) ([]byte, error) { return encode(m, 90) }},
	{"progressive", "progressive.jpg", "", "", "progressive JPEG", nil},
	{"grey", "grey.jpg", "", "", "JPEG of one component", func(m *image.RGBA) ([]byte, error) { return encode(grey(m), 90) }},
	{"cmyk", "cmyk.jpg", "", "", "JPEG of four inks, as Adobe stores them: inverted", nil},
	{"ycck", "ycck.jpg", "", "", "the same with three inks as YCbCr: Adobe transform 2", nil},
	{"444", "444.jpg", "", "", "JPEG with colour at full resolution", nil},
	{"422", "422.jpg", "", "", "JPEG with colour at half the width", nil},
	{"restart", "restart.jpg", "", "", "JPEG with restart markers", nil},
	{"orientation-1", "orientation-1.jpg", "", "", "stored upright", oriented(1)},
	{"orientation-2", "orientation-2.jpg", "", "", "stored mirrored", oriented(2)},
	{"orientation-3", "orientation-3.jpg", "", "", "stored upside down", oriented(3)},
	{"orientation-4", "orientation-4.jpg", "", "", "stored upside down and mirrored", oriented(4)},
	{"orientation-5", "orientation-5.jpg", "", "", "stored with rows and columns exchanged", oriented(5)},
	{"orientation-6", "orientation-6.jpg", "", "", "stored turned to the left", oriented(6)},
	{"orientation-7", "orientation-7.jpg", "", "", "stored with rows and columns exchanged, upside down and mirrored", oriented(7)},
	{"orientation-8", "orientation-8.jpg", "", "", "stored turned to the right", oriented(8)},
	{"png-named-jpg", "png-named.jpg", "", "", "PNG under another name", pngNamed},
	{"png-transparent", "transparent.png", "", "", "PNG with an alpha channel", transparent},
	{"png-16-bit", "16-bit.png", "", "", "PNG with 16 bits a sample", deep},
	{"animated-gif", "animated.gif", "", "", "GIF of three frames: the first counts", animated},
	{"webp", "picture.webp", "", "", "WebP, lossy", nil},
	{"webp-lossless", "lossless.webp", "", "", "WebP, lossless with alpha", nil},
	{"animated-webp", "animated.webp", "", "", "WebP of two frames: the first counts", nil},
	{"bmp", "picture.bmp", "", "", "BMP", func(m *image.RGBA) ([]byte, error) {
		var b bytes.Buffer
		err := bmp.Encode(&b, small(m, 72, 54))
		return b.Bytes(), err
	}},
	{"tiff", "picture.tiff", "", "", "TIFF, deflated", func(m *image.RGBA) ([]byte, error) {
		var b bytes.Buffer
		err := tiff.Encode(&b, small(m, 64, 48), &tiff.Options{Compression: tiff.Deflate, Predictor: true})
		return b.Bytes(), err
	}},
	{"1x1", "1x1.jpg", "", "", "JPEG of one pixel", func(m *image.RGBA) ([]byte, error) { return encode(small(m, 1, 1), 90) }},
	{"thin", "thin.png", "", "", "PNG of 2000 x 1 pixels", func(m *image.RGBA) ([]byte, error) {
		var b bytes.Buffer
		err := png.Encode(&b, small(m, 2000, 1))
		return b.Bytes(), err
	}},

	{"truncated", "truncated.jpg", "decode", "truncated", "JPEG that ends in the middle", func(m *image.RGBA) ([]byte, error) {
		data, err := encode(m, 90)
		return data[:len(data)/2], err
	}},
	{"empty", "empty.jpg", "decode", "empty", "a file of no bytes", func(*image.RGBA) ([]byte, error) { return nil, nil }},
	{"text", "text.jpg", "decode", "not-an-image", "text under the name of a JPEG", text("The photograph that was here has been taken down.\n")},
	{"page", "page.jpg", "decode", "html-page", "what a server sent in place of a photograph", text("<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n")},
	{"svg", "drawing.svg", "decode", "svg", "SVG", text("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 24 24\"><path d=\"M2 2h20v20H2z\"/></svg>\n")},
	{"pdf", "document.jpg", "decode", "pdf", "the beginning of a PDF document", text("%PDF-1.4\n%%EOF\n")},
	{"avif", "picture.avif", "decode", "avif", "AVIF", nil},
	{"heic", "picture.heic", "decode", "heic", "the first box of a HEIC file", text("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1")},
	{"video", "clip.jpg", "decode", "video", "the first box of an MP4 file", text("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41")},
	{"corrupt", "corrupt.jpg", "decode", "corrupt", "JPEG whose Huffman tables are nonsense", func(m *image.RGBA) ([]byte, error) {
		data, err := encode(m, 90)
		at := bytes.Index(data, []byte{0xff, 0xc4})
		for i := range 16 { // numbers of codes by length
			data[at+5+i] = 0xff
		}
		return data, err
	}},
	{"huge", "huge.jpg", "decode", "implausible-size", "JPEG of 378 bytes that claims 30000 x 30000 pixels", huge},
	{"missing", "missing.jpg", "fetch", "not-found", "no such file", nil},
	{"folder", ".", "fetch", "not-a-file", "a folder", nil},
	{"scheme", "gs://bucket/photograph.jpg", "fetch", "unsupported-scheme", "a URL of a kind that is not fetched", nil},
	{"private-address", "http://169.254.169.254/latest/meta-data/", "fetch", "blocked-address", "a URL that a stranger's listing must not reach", nil},
}

// writeOddities makes them all from one small scene, and lists them.
func writeOddities(out string, marks string, grounds []background) error {
	mark, err := readMark(filepath.Join(marks, "dhl.svg"))
	if err != nil {
		return err
	}
	d := dice{rand.New(rand.NewPCG(4, 0))} // a seed of its own: what others know of these files stays true
	ground := grounds[0]
	c := backdrop(d, ground, 160, 120)
	c.sign(d, mark, scheme{rgb{208, 8, 20}, rgb{252, 204, 4}}, "rectangle", 0.8, 0.8)
	m := c.develop(d)

	listing := [][]string{{"post_id", "image"}}
	expected := [][]string{{"post_id", "outcome", "stage", "reason", "note"}}
	for _, o := range oddities {
		image, path := "oddities/"+o.file, filepath.Join(out, "oddities", o.file)
		if strings.Contains(o.file, "://") {
			image = o.file
		}
		switch {
		case o.make != nil:
			data, err := o.make(m)
			if err != nil {
				return fmt.Errorf("%s: %w", o.file, err)
			}
			if err := writeFile(path, data); err != nil {
				return err
			}
		case o.stage != "fetch":
			if _, err := os.Stat(path); err != nil {
				fmt.Fprintf(os.Stderr, "%s is missing: run testdata/make/oddities.py\n", path)
			}
		}
		outcome := "score"
		if o.stage != "" {
			outcome = "reject"
		}
		listing = append(listing, []string{o.kind, image})
		expected = append(expected, []string{o.kind, outcome, o.stage, o.reason, o.note})
	}
	if err := writeCSV(filepath.Join(out, "oddities.csv"), listing); err != nil {
		return err
	}
	return writeCSV(filepath.Join(out, "oddities", "expected.csv"), expected)
}

func text(s string) func(*image.RGBA) ([]byte, error) {
	return func(*image.RGBA) ([]byte, error) { return []byte(s), nil }
}

func grey(m image.Image) *image.Gray {
	g := image.NewGray(m.Bounds())
	draw.Draw(g, g.Rect, m, image.Point{}, draw.Src)
	return g
}

func small(m image.Image, w, h int) *image.RGBA {
	s := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.CatmullRom.Scale(s, s.Rect, m, m.Bounds(), draw.Src, nil)
	return s
}

// oriented stores the scene so that a viewer which heeds the EXIF orientation shows it upright (Exif 2.3, 4.6.4, tag 274).
func oriented(o int) func(m *image.RGBA) ([]byte, error) {
	return func(m *image.RGBA) ([]byte, error) {
		w, h := m.Rect.Dx(), m.Rect.Dy()
		if o >= 5 {
			w, h = h, w
		}
		stored := image.NewRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			for x := range w {
				// Row 0 and column 0 of what is stored are these edges of the scene.
				u, v := x, y
				switch o {
				case 2: // top, right
					u = w - 1 - x
				case 3: // bottom, right
					u, v = w-1-x, h-1-y
				case 4: // bottom, left
					v = h - 1 - y
				case 5: // left, top
					u, v = y, x
				case 6: // right, top
					u, v = h-1-y, x
				case 7: // right, bottom
					u, v = h-1-y, w-1-x
				case 8: // left, bottom
					u, v = y, w-1-x
				}
				stored.SetRGBA(x, y, m.RGBAAt(u, v))
			}
		}
		data, err := encode(stored, 90)
		if err != nil {
			return nil, err
		}
		tiff := "MM\x00\x2a\x00\x00\x00\x08" + // header, first directory at 8
			"\x00\x01" + "\x01\x12\x00\x03\x00\x00\x00\x01\x00" + string(rune(o)) + "\x00\x00" + // one entry: 274, short, 1 value
			"\x00\x00\x00\x00" // no further directory
		exif := "Exif\x00\x00" + tiff
		app1 := append([]byte{0xff, 0xe1, 0, byte(len(exif) + 2)}, exif...)
		return append(append(data[:2:2], app1...), data[2:]...), nil
	}
}

func pngNamed(m *image.RGBA) ([]byte, error) {
	var b bytes.Buffer
	err := png.Encode(&b, small(m, 72, 54))
	return b.Bytes(), err
}

// transparent fades out to the right.
func transparent(m *image.RGBA) ([]byte, error) {
	s := small(m, 64, 48)
	n := image.NewNRGBA(s.Rect)
	for y := range 48 {
		for x := range 64 {
			c := s.RGBAAt(x, y)
			n.SetNRGBA(x, y, color.NRGBA{c.R, c.G, c.B, uint8(255 - 2*x)})
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, n)
	return b.Bytes(), err
}

func deep(m *image.RGBA) ([]byte, error) {
	s := small(m, 40, 30)
	n := image.NewRGBA64(s.Rect)
	draw.Draw(n, n.Rect, s, image.Point{}, draw.Src)
	var b bytes.Buffer
	err := png.Encode(&b, n)
	return b.Bytes(), err
}

// animated shows the scene, then nothing but green, then nothing but blue.
func animated(m *image.RGBA) ([]byte, error) {
	s := small(m, 96, 72)
	g := &gif.GIF{}
	for _, frame := range []image.Image{s, image.NewUniform(color.RGBA{0, 200, 0, 255}), image.NewUniform(color.RGBA{0, 0, 200, 255})} {
		p := image.NewPaletted(s.Rect, palette.WebSafe)
		draw.FloydSteinberg.Draw(p, p.Rect, frame, image.Point{})
		g.Image, g.Delay = append(g.Image, p), append(g.Delay, 50)
	}
	var b bytes.Buffer
	err := gif.EncodeAll(&b, g)
	return b.Bytes(), err
}

// huge is sound but for its size: one component, one quantisation table, Huffman tables of one code, and a few blocks.
func huge(*image.RGBA) ([]byte, error) {
	const length, side = 378, 30000
	var b []byte
	segment := func(marker byte, data string) {
		b = append(b, 0xff, marker)
		b = binary.BigEndian.AppendUint16(b, uint16(len(data)+2))
		b = append(b, data...)
	}
	b = append(b, 0xff, 0xd8)
	segment(0xdb, "\x00"+strings.Repeat("\x10", 64))
	segment(0xc0, "\x08"+string([]byte{side >> 8, side & 255, side >> 8, side & 255})+"\x01\x01\x11\x00")
	lengths := "\x01" + strings.Repeat("\x00", 15) // one code, of one bit
	segment(0xc4, "\x00"+lengths+"\x00")           // DC: no difference
	segment(0xc4, "\x10"+lengths+"\x00")           // AC: end of block
	segment(0xda, "\x01\x01\x00\x00\x3f\x00")
	for len(b) < length-2 {
		b = append(b, 0) // blocks of two bits each
	}
	return append(b, 0xff, 0xd9), nil
}
