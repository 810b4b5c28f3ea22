package jpeg

import "image"

// picture makes an image of the planes.
func (d *Decoder) picture() image.Image {
	b := d.bounds
	c := &d.component
	switch color := d.color(); {
	case color == Gray:
		return &image.Gray{Pix: c[0].plane, Stride: c[0].stride, Rect: b}
	case color == YCbCr && !d.spread:
		return &image.YCbCr{Y: c[0].plane, Cb: c[1].plane, Cr: c[2].plane, YStride: c[0].stride, CStride: c[1].stride,
			SubsampleRatio: d.ratio, Rect: b}
	case color == YCbCr:
		for i := range c[:3] {
			grow(&d.pixels[i], b.Dx()*b.Dy())
			d.each(i, func(at int, v uint8) { d.pixels[i][at] = v })
		}
		return &image.YCbCr{Y: d.pixels[0], Cb: d.pixels[1], Cr: d.pixels[2], YStride: b.Dx(), CStride: b.Dx(),
			SubsampleRatio: image.YCbCrSubsampleRatio444, Rect: b}
	default:
		pix := grow(&d.pixels[0], 4*b.Dx()*b.Dy())
		for i := range d.components {
			d.each(i, func(at int, v uint8) { pix[4*at+i] = v })
		}
		switch color {
		case RGB:
			for i := 3; i < len(pix); i += 4 {
				pix[i] = 255
			}
			return &image.RGBA{Pix: pix, Stride: 4 * b.Dx(), Rect: b}
		case YCCK:
			for i := 0; i < len(pix); i += 4 {
				p := pix[i : i+4 : i+4]
				p[0], p[1], p[2] = rgb(p[0], p[1], p[2]) // ink, since Adobe inverts it on both ways
				p[3] = 255 - p[3]
			}
		case CMYK:
			for i := range pix { // every program takes it as Adobe's does, with the marker or without
				pix[i] = 255 - pix[i]
			}
		}
		return &image.CMYK{Pix: pix, Stride: 4 * b.Dx(), Rect: b}
	}
}

// each calls f for every sample of the picture with that of a component.
func (d *Decoder) each(i int, f func(at int, v uint8)) {
	c, n := &d.component[i], 8/d.options.Scale
	nx, ny, unitX, unitY := c.h*c.nx, c.v*c.ny, d.hMax*n, d.vMax*n
	at := 0
	for y := range d.bounds.Dy() {
		row := c.plane[y*ny/unitY*c.stride:]
		for x := range d.bounds.Dx() {
			f(at, row[x*nx/unitX])
			at++
		}
	}
}

// rgb converts a sample as libjpeg does (JFIF 1.02, rounded to the nearest).
func rgb(y, cb, cr uint8) (r, g, b uint8) {
	const half = 1 << 15
	u, v, l := int32(cb)-128, int32(cr)-128, int32(y)
	clip := func(v int32) uint8 { return uint8(saturate(v, 0, 255)) }
	return clip(l + (91881*v+half)>>16), clip(l + (-22554*u-46802*v+half)>>16), clip(l + (116130*u+half)>>16)
}
