// Package report makes what people look at: contact sheets, pictures of confusion matrices, tables and the summary at the
// end of a run. It returns pictures and strings, and prints nothing:
//
//	sheet, err := report.ContactSheet([]report.Cell{{Picture: m, Label: "starbucks 0.98"}}, 8, 160)
//	text := report.Summary{Rows: 215, Scored: 215, Brands: found}.String()
//
// Pictures are drawn with Go's own font, which knows Latin, Greek and Cyrillic letters; others show as boxes.
package report

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"sync"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

var (
	paper = color.RGBA{255, 255, 255, 255}
	ink   = color.RGBA{32, 33, 36, 255}
	faint = color.RGBA{140, 143, 148, 255}
	frame = color.RGBA{232, 234, 237, 255}
)

// maxPixels keeps a picture below 400 MB.
const maxPixels = 100_000_000

// blank is a sheet of paper of w by h pixels.
func blank(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	fill(m, m.Rect, paper)
	return m
}

func fill(m *image.RGBA, r image.Rectangle, c color.RGBA) {
	draw.Draw(m, r, image.NewUniform(c), image.Point{}, draw.Src)
}

var regular = sync.OnceValues(func() (*opentype.Font, error) { return opentype.Parse(goregular.TTF) })

// A pen writes in one size.
type pen struct {
	face   font.Face
	ascent int // pixels above the base line
	height int // of a line
}

// newPen is a pen whose letters are size pixels high. It is for one goroutine.
func newPen(size float64) (*pen, error) {
	f, err := regular()
	if err != nil {
		return nil, fmt.Errorf("report: Go's own font: %w", err)
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("report: Go's own font: %w", err)
	}
	m := face.Metrics()
	return &pen{face, m.Ascent.Ceil(), m.Height.Ceil()}, nil
}

func (p *pen) width(s string) int { return font.MeasureString(p.face, s).Ceil() }

// fit shortens s to at most w pixels, with an ellipsis in place of what is cut off its end.
func (p *pen) fit(s string, w int) string {
	if p.width(s) <= w {
		return s
	}
	runes := []rune(s)
	lo, hi := 0, min(len(runes), 1000) // the most letters that fit
	for lo < hi {
		if mid := (lo + hi + 1) / 2; p.width(string(runes[:mid])+"…") <= w {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	if lo == 0 {
		return ""
	}
	return string(runes[:lo]) + "…"
}

// write puts s with the top left corner of its line at (x, y).
func (p *pen) write(m draw.Image, x, y int, s string, c color.RGBA) {
	d := font.Drawer{Dst: m, Src: image.NewUniform(c), Face: p.face, Dot: fixed.P(x, y+p.ascent)}
	d.DrawString(s)
}

// writeUp puts s from bottom to top: its line's height begins at x, its first letter stands at y.
func (p *pen) writeUp(m *image.RGBA, x, y int, s string, c color.RGBA) {
	w, h := p.width(s)+2, p.height+2
	flat := image.NewAlpha(image.Rect(0, 0, w, h))
	p.write(flat, 0, 0, s, color.RGBA{A: 255})
	turned := image.NewAlpha(image.Rect(0, 0, h, w))
	for v := range h {
		for u := range w {
			turned.SetAlpha(v, w-1-u, flat.AlphaAt(u, v))
		}
	}
	draw.DrawMask(m, image.Rect(x, y-w, x+h, y), image.NewUniform(c), image.Point{}, turned, image.Point{}, draw.Over)
}

// mix is the colour at t, 0 to 1, between a and b.
func mix(a, b color.RGBA, t float64) color.RGBA {
	at := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (float64(b)-float64(a))*t)) }
	return color.RGBA{at(a.R, b.R), at(a.G, b.G), at(a.B, b.B), 255}
}
