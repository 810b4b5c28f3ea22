package transforms

import (
	"image"
	"sync"

	"github.com/logobeam/logobeam/transforms/jpeg"
)

// jpegFile is the source of a JPEG's pixels. It is decoded when it is known what is needed: a part, at a scale that leaves
// the resize 7 samples to 5 that it makes at the least. With that photographs stay within 42 dB of what a full decode
// gives, with 1 to 1 within 34 dB.
type jpegFile struct {
	data   []byte
	config jpeg.Config
	lim    Limits
}

func (f *jpegFile) Size() image.Point { return image.Pt(f.config.Width, f.config.Height) }

// plan sets the scale, and says what part of the picture is needed.
func (f *jpegFile) plan(g *geometry) (region image.Rectangle) {
	g.scale = 1
	if g.to == (image.Point{}) {
		return g.window
	}
	enough := func(pixels, to int) bool { return 5*pixels >= 7*2*g.scale*to }
	for g.scale < 8 && enough(g.window.Dx(), g.to.X) && enough(g.window.Dy(), g.to.Y) {
		g.scale *= 2
	}
	g.chroma = f.chroma()
	return g.reach()
}

func (f *jpegFile) draw(g geometry, use func(src image.Image, g geometry)) error {
	region := f.plan(&g)
	return f.decode(region, g.scale, func(src image.Image) { use(src, g) })
}

// drawAll lends use a picture with all samples that several geometries need, at one scale.
func (f *jpegFile) drawAll(all []geometry, use func(src image.Image, scale int)) error {
	scale := 8
	for _, g := range all {
		f.plan(&g)
		scale = min(scale, g.scale)
	}
	var region image.Rectangle
	for _, g := range all {
		g.scale, g.chroma = scale, f.chroma()
		region = region.Union(g.reach())
	}
	return f.decode(region, scale, func(src image.Image) { use(src, scale) })
}

// decode lends use the samples of a region, one for scale x scale pixels.
func (f *jpegFile) decode(region image.Rectangle, scale int, use func(src image.Image)) error {
	ctx, stop := f.lim.deadline()
	defer stop()
	o := jpeg.Options{Scale: scale, Region: region, Truncated: f.lim.Truncated, Context: ctx}
	d := jpegDecoders.Get().(*jpeg.Decoder)
	m, err := decodeJPEG(d, f.data, o)
	if err == nil {
		use(m)
	}
	// A decoder keeps its memory. Those of large pictures are left to the garbage collector.
	if memory := f.config.Memory(o); err == nil && memory < 16<<20 {
		jpegDecoders.Put(d)
	} else {
		collect(memory)
	}
	if err != nil && ctx.Err() != nil {
		return f.lim.late(formatJPEG)
	}
	return err
}

var jpegDecoders = sync.Pool{New: func() any { return new(jpeg.Decoder) }}

func decodeJPEG(d *jpeg.Decoder, data []byte, o jpeg.Options) (m image.Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, reject(ReasonDecoderPanic, "%s: %v", formatJPEG, p)
		}
	}()
	r, err := d.Decode(data, o)
	if err != nil {
		return nil, classify(formatJPEG, err)
	}
	return r.Image, nil
}

// chroma is how many pixels, along each side, a sample of the coarser plane of chroma covers.
func (f *jpegFile) chroma() image.Point {
	s, c := f.config.Sampling, image.Pt(1, 1)
	if f.config.Components == 3 {
		c.X = max(s[0][0]/min(s[1][0], s[2][0]), 1)
		c.Y = max(s[0][1]/min(s[1][1], s[2][1]), 1)
	}
	return c
}
