package transforms

import (
	"image"
	"image/color"
)

// Image is a picture of 8-bit RGB: 3 bytes a pixel, rows from the top, no gaps. It is an image.Image too, so that
// image/png and image/draw take it.
type Image struct {
	W, H int
	Pix  []uint8
	// Orientation is the EXIF orientation, 1 to 8, that the file asks for and that Decode has not applied. 1 is upright.
	Orientation int
}

// NewImage returns a black picture of w x h pixels.
func NewImage(w, h int) *Image {
	return &Image{W: w, H: h, Pix: make([]uint8, 3*w*h), Orientation: 1}
}

// ColorModel is that of opaque RGBA.
func (m *Image) ColorModel() color.Model { return color.RGBAModel }

// Bounds starts at (0, 0).
func (m *Image) Bounds() image.Rectangle { return image.Rect(0, 0, m.W, m.H) }

// At returns a pixel as color.RGBA, and black outside the bounds.
func (m *Image) At(x, y int) color.Color {
	if x < 0 || y < 0 || x >= m.W || y >= m.H {
		return color.RGBA{A: 255}
	}
	p := m.Pix[3*(y*m.W+x):]
	return color.RGBA{p[0], p[1], p[2], 255}
}

// FromImage converts any picture to 8-bit RGB. What is transparent is laid on white, 16-bit samples are reduced to
// their upper half.
func FromImage(src image.Image) *Image { return convert(src, src.Bounds()) }

// convert is FromImage of the part r of src, which lies within src.
func convert(src image.Image, r image.Rectangle) *Image {
	m := NewImage(r.Dx(), r.Dy())
	var palette [256][3]uint8
	if p, ok := src.(*image.Paletted); ok {
		for i, c := range p.Palette[:min(len(p.Palette), 256)] {
			palette[i] = opaque(c.RGBA())
		}
	}
	for y := range m.H {
		row := m.Pix[3*y*m.W : 3*(y+1)*m.W]
		sx, sy := r.Min.X, r.Min.Y+y
		switch src := src.(type) {
		case *Image:
			copy(row, src.Pix[3*(sy*src.W+sx):])
		case *image.YCbCr:
			for x := range m.W {
				yi, ci := src.YOffset(sx+x, sy), src.COffset(sx+x, sy)
				row[3*x], row[3*x+1], row[3*x+2] = color.YCbCrToRGB(src.Y[yi], src.Cb[ci], src.Cr[ci])
			}
		case *image.Gray:
			for x, v := range src.Pix[src.PixOffset(sx, sy):][:m.W] {
				row[3*x], row[3*x+1], row[3*x+2] = v, v, v
			}
		case *image.NRGBA:
			p := src.Pix[src.PixOffset(sx, sy):][:4*m.W]
			for x := range m.W {
				s, d := p[4*x:4*x+4:4*x+4], row[3*x:3*x+3:3*x+3]
				d[0], d[1], d[2] = s[0], s[1], s[2]
				if s[3] != 255 {
					onWhite(d, s[3])
				}
			}
		case *image.RGBA: // colours are already multiplied by alpha
			p := src.Pix[src.PixOffset(sx, sy):][:4*m.W]
			for x := range m.W {
				s, d := p[4*x:4*x+4:4*x+4], row[3*x:3*x+3:3*x+3]
				white := 255 - s[3]
				d[0], d[1], d[2] = addClamped(s[0], white), addClamped(s[1], white), addClamped(s[2], white)
			}
		case *image.CMYK:
			p := src.Pix[src.PixOffset(sx, sy):][:4*m.W]
			for x := range m.W {
				s := p[4*x : 4*x+4 : 4*x+4]
				row[3*x], row[3*x+1], row[3*x+2] = color.CMYKToRGB(s[0], s[1], s[2], s[3])
			}
		case *image.Paletted:
			for x, i := range src.Pix[src.PixOffset(sx, sy):][:m.W] {
				copy(row[3*x:], palette[i][:])
			}
		case image.RGBA64Image: // the other types of package image, without an allocation for each pixel
			for x := range m.W {
				c := src.RGBA64At(sx+x, sy)
				rgb := opaque(uint32(c.R), uint32(c.G), uint32(c.B), uint32(c.A))
				copy(row[3*x:], rgb[:])
			}
		default:
			for x := range m.W {
				rgb := opaque(src.At(sx+x, sy).RGBA())
				copy(row[3*x:], rgb[:])
			}
		}
	}
	return m
}

// onWhite lays a colour that is not multiplied by its alpha on white.
func onWhite(rgb []uint8, alpha uint8) {
	a := uint32(alpha)
	for i, v := range rgb {
		rgb[i] = uint8((uint32(v)*a + 255*(255-a) + 127) / 255)
	}
}

func addClamped(a, b uint8) uint8 {
	return uint8(min(uint(a)+uint(b), 255))
}

// opaque lays a 16-bit colour, multiplied by its alpha, on white and reduces it to 8 bits a channel.
func opaque(r, g, b, a uint32) [3]uint8 {
	white := 0xffff - a
	return [3]uint8{uint8(min(r+white, 0xffff) >> 8), uint8(min(g+white, 0xffff) >> 8), uint8(min(b+white, 0xffff) >> 8)}
}
