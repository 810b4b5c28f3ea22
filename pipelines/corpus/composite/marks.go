package composite

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/draw"

	"github.com/logobeam/logobeam/transforms"
	"github.com/logobeam/logobeam/transforms/svg"
)

// Brand is a brand and the files of its marks, at least one.
type Brand struct {
	Name  string
	Files []string
}

// List finds the marks in a folder: NAME.svg and NAME.png, and folders NAME with such files in them, sorted by name.
// Spellings that differ in case are one brand. Hidden files and those of other kinds are passed over.
//
// It is an error if there is no mark in the folder or in one of a brand, or a photograph where a mark should be.
func List(folder string) ([]Brand, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("composite: no marks: %w", err)
	}
	var brands []Brand
	add := func(name string, files ...string) {
		for i, b := range brands {
			if strings.EqualFold(b.Name, name) {
				brands[i].Files = append(b.Files, files...)
				return
			}
		}
		brands = append(brands, Brand{name, files})
	}
	for _, e := range entries {
		file := filepath.Join(folder, e.Name())
		info, err := os.Stat(file) // of what a link leads to
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case err != nil:
			return nil, fmt.Errorf("composite: %w", err)
		case info.IsDir():
			inner, err := os.ReadDir(file)
			if err != nil {
				return nil, fmt.Errorf("composite: %w", err)
			}
			var files []string
			for _, e := range inner {
				if ok, err := isMark(filepath.Join(file, e.Name())); err != nil {
					return nil, err
				} else if ok {
					files = append(files, filepath.Join(file, e.Name()))
				}
			}
			if len(files) == 0 {
				return nil, fmt.Errorf("composite: %s holds no marks: want SVG or PNG files, or no such folder", file)
			}
			add(e.Name(), files...)
		default:
			if ok, err := isMark(file); err != nil {
				return nil, err
			} else if ok {
				add(strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), file)
			}
		}
	}
	if len(brands) == 0 {
		return nil, fmt.Errorf("composite: %s holds no marks: want BRAND.svg, BRAND.png, or folders BRAND with such files", folder)
	}
	slices.SortFunc(brands, func(a, b Brand) int { return strings.Compare(a.Name, b.Name) })
	return brands, nil
}

// isMark tells a mark by its ending. What somebody may have taken for one is an error.
func isMark(file string) (bool, error) {
	if strings.HasPrefix(filepath.Base(file), ".") {
		return false, nil
	}
	switch strings.ToLower(filepath.Ext(file)) {
	case ".svg", ".png":
		return true, nil
	case ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".pdf", ".ai", ".eps", ".svgz":
		return false, fmt.Errorf("composite: %s is no mark: want an SVG, or a PNG with an alpha channel", file)
	}
	return false, nil
}

// The longer side of a mark in pixels: as it is kept, just more than the largest that is laid on, and the least of a PNG.
const (
	markSide = 320
	leastPNG = 32
)

// maxSVG bounds a drawing's file. Those of brands have some kilobytes.
const maxSVG = 1 << 20

// Mark is the mark of a brand, ready to be laid on photographs.
type Mark struct {
	levels []*image.RGBA // without margins; each half as large as the one before
	plain  bool          // of one colour, so that it may be had in others
	colour rgb           // that colour, or the mean
	solid  bool          // it fills its rectangle nearly, as a badge does
}

// Read reads a mark. limits are those of a PNG.
//
// The error names the file. It is one if a drawing cannot be read or drawn, if a PNG is not one, is larger than the limits,
// smaller than 32 pixels, or opaque all over or transparent.
func Read(file string, limits transforms.Limits) (*Mark, error) {
	m, err := read(file, limits)
	if err != nil {
		return nil, fmt.Errorf("composite: %s: %w", file, err)
	}
	return m, nil
}

func read(file string, limits transforms.Limits) (*Mark, error) {
	drawing := strings.EqualFold(filepath.Ext(file), ".svg")
	if drawing {
		limits.Bytes = maxSVG
	}
	info, err := os.Stat(file) // before it is opened: that would wait for a pipe's writer for ever
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a file")
	case limits.Bytes > 0 && info.Size() > limits.Bytes:
		err = fmt.Errorf("it has %d bytes, the limit is %d", info.Size(), limits.Bytes)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, err
	}
	var m *image.RGBA
	if drawing {
		d, err := svg.Parse(data, 0)
		if err != nil {
			return nil, err
		}
		if m, err = d.Draw(markSide); err != nil {
			return nil, err
		}
	} else if m, err = readPNG(data, limits); err != nil {
		return nil, err
	}
	return newMark(m), nil
}

func readPNG(data []byte, limits transforms.Limits) (*image.RGBA, error) {
	h, err := transforms.Inspect(data, limits)
	if err != nil {
		return nil, err
	}
	if h.Format != "png" {
		return nil, fmt.Errorf("it is a %s: want a PNG with an alpha channel", h.Format)
	}
	src, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if o, ok := src.(interface{ Opaque() bool }); ok && o.Opaque() {
		return nil, errors.New("it is opaque all over: want an alpha channel that leaves the mark alone")
	}
	ink := image.Rectangle{}
	b := src.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if _, _, _, a := src.At(x, y).RGBA(); a >= 0x1000 {
				ink = ink.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	w, h2 := ink.Dx(), ink.Dy()
	if max(w, h2) < leastPNG || min(w, h2)*20 < max(w, h2) {
		return nil, fmt.Errorf("what is not transparent has %d x %d pixels: want %d or more on the longer side, at most 20 times the other", w, h2, leastPNG)
	}
	long := max(w, h2)
	m := image.NewRGBA(image.Rect(0, 0, max(1, w*markSide/long), max(1, h2*markSide/long)))
	draw.CatmullRom.Scale(m, m.Rect, src, ink, draw.Src, nil)
	return m, nil
}

// newMark looks at the colours of a picture and makes smaller ones.
func newMark(m *image.RGBA) *Mark {
	mark := &Mark{levels: []*image.RGBA{m}, plain: true}
	var sum rgb
	n := 0.0
	each := func(f func(c rgb)) {
		for i := 0; i < len(m.Pix); i += 4 {
			if a := float64(m.Pix[i+3]); a >= 128 {
				f(rgb{float64(m.Pix[i]) * 255 / a, float64(m.Pix[i+1]) * 255 / a, float64(m.Pix[i+2]) * 255 / a})
			}
		}
	}
	each(func(c rgb) {
		n++
		for k := range c {
			sum[k] += c[k]
		}
	})
	for k := range sum {
		mark.colour[k] = sum[k] / max(n, 1)
	}
	others := 0.0
	each(func(c rgb) {
		if far := max(c[0]-mark.colour[0], mark.colour[0]-c[0], c[1]-mark.colour[1], mark.colour[1]-c[1], c[2]-mark.colour[2], mark.colour[2]-c[2]); far > 24 {
			others++
		}
	})
	mark.plain = others <= 0.005*n
	mark.solid = n > 0.92*float64(m.Rect.Dx()*m.Rect.Dy())
	for max(m.Rect.Dx(), m.Rect.Dy()) > 24 {
		half := image.NewRGBA(image.Rect(0, 0, max(1, (m.Rect.Dx()+1)/2), max(1, (m.Rect.Dy()+1)/2)))
		draw.BiLinear.Scale(half, half.Rect, m, m.Rect, draw.Src, nil)
		mark.levels = append(mark.levels, half)
		m = half
	}
	return mark
}
