// Package jpeg decodes JPEG files (ITU-T T.81) to pictures of a half, a quarter or an eighth of their sides, or of all
// of them, and only the part of a picture that is needed. It is made for photographs that become small pictures, and
// for files from anywhere:
//
//	c, err := jpeg.DecodeConfig(data)
//	if err != nil || c.Width*c.Height > 50e6 || c.Memory(o) > limit || int64(len(data)) < c.MinSize() {
//		...
//	}
//	r, err := jpeg.Decode(data, jpeg.Options{Scale: 2})
//	img := r.Image.(*image.YCbCr)
//
// It reads baseline, extended sequential and progressive files of 8 bits a sample, with any sampling factors, of 1, 3
// or 4 components: grey, YCbCr, RGB, CMYK and YCCK as the JFIF and Adobe markers tell. Arithmetic coding, lossless and
// hierarchical files, 12 bits, and heights given by a DNL marker are UnsupportedErrors. It understands nothing of EXIF
// and colour profiles.
//
// A scale divides the sides, rounded up. The inverse transform of each block then gives fewer samples, as in
// libjpeg-turbo, and the same: each is the mean of those that it stands for. Chroma that is subsampled is transformed
// to more of them, so that a file of 4:2:0 at half its size is a picture of 4:4:4, and nothing has to be interpolated.
//
// Samples are those of libjpeg-turbo's default transform, bit for bit, before its upsampling; at full size they are
// within 2 of those of the standard library's image/jpeg. They are the same from assembly (AVX2, chosen at start) and
// from Go, which LOGOBEAM_KERNEL=generic and the build tag noasm ask for.
//
// A file costs no more than its header tells: Config.Memory bounds the memory, Options.Context and Options.MaxScans the
// time.
package jpeg

import (
	"context"
	"image"
	"sync"
)

// Options say what of a picture is needed. The zero value decodes all of it in full size.
type Options struct {
	// Scale divides the sides, rounded up: 1, 2, 4 or 8; 0 is 1, other values panic.
	Scale int
	// Region is the part that is needed, in full-size pixels as stored; empty: all. The result may be larger, but what
	// lies outside may be missing from it.
	Region image.Rectangle
	// Truncated accepts files that end too early where half of the rows are there; the others are grey. A row of a
	// progressive file is there when its first, coarse scans have it.
	Truncated bool
	// MaxScans bounds the number of scans; 0 is 100. Progressive files have about 10.
	MaxScans int
	// Context ends a decode early, with its error: it is looked at for every scan and row of blocks. nil: never.
	Context context.Context
}

// A Result is a decoded picture.
type Result struct {
	// Image is *image.Gray, *image.YCbCr, *image.RGBA for files that hold RGB, or *image.CMYK for CMYK and YCCK, where
	// 0 is no ink whatever the file does.
	//
	// Its sample (x, y) stands for the pixels [x*Scale, (x+1)*Scale) x [y*Scale, (y+1)*Scale) of the whole picture. Its
	// bounds lie in the whole picture's, ceil(Width/Scale) x ceil(Height/Scale), and hold Options.Region, widened to
	// whole units of blocks (8 to 32 pixels). They need not begin at (0, 0).
	Image         image.Image
	Width, Height int // of the whole picture in full size, as stored
	Scale         int
	Warnings      Warnings // of what was read: below Options.Region there may be more
}

// Decode decodes a file. Errors are a FormatError, an UnsupportedError, a *TruncatedError, or wrap that of
// Options.Context.
func Decode(data []byte, o Options) (Result, error) {
	d := decoders.Get().(*Decoder)
	defer decoders.Put(d)
	defer func() { // the caller keeps them
		d.planes, d.pixels = [4][]byte{}, [3][]byte{}
	}()
	return d.Decode(data, o)
}

var decoders = sync.Pool{New: func() any { return new(Decoder) }}

// Config is what a file's header tells.
type Config struct {
	Width, Height int // in pixels, as stored
	Components    int // 1: grey, 3: YCbCr or RGB, 4: CMYK or YCCK
	Progressive   bool
	Color         Color
	// Sampling are the horizontal and vertical sampling factors of the components.
	Sampling [4][2]int
}

// Color says what the components of a file are.
type Color uint8

// The colours there are.
const (
	Gray Color = iota
	YCbCr
	RGB
	CMYK
	YCCK
)

// DecodeConfig reads a file's header, up to its first scan. Errors are those of Decode.
func DecodeConfig(data []byte) (Config, error) {
	var f file
	f.reset(data, Options{})
	for {
		marker, body, err := f.segment()
		if err == nil && marker != sos && marker != eoi {
			err = f.header(marker, body)
		} else if f.components == 0 && err == nil {
			err = FormatError("no frame header before the first scan")
		}
		switch {
		case f.components == 0 && err != nil:
			return Config{}, err
		case err != nil || marker == sos || marker == eoi: // Decode tells what is wrong behind the frame header
			return f.config(), nil
		}
	}
}

func (f *file) config() Config {
	c := Config{Width: f.width, Height: f.height, Components: f.components, Progressive: f.progressive, Color: f.color()}
	for i := range f.components {
		c.Sampling[i] = [2]int{f.component[i].h, f.component[i].v}
	}
	return c
}

// blockCount is how many blocks all components have.
func (c Config) blockCount() int64 {
	var f file
	f.set(c)
	n := int64(0)
	for i := range c.Components {
		n += int64(f.component[i].width) * int64(f.component[i].height)
	}
	return n
}

// set takes in what a Config tells.
func (f *file) set(c Config) {
	f.width, f.height, f.components, f.progressive = c.Width, c.Height, c.Components, c.Progressive
	for i, s := range c.Sampling {
		f.component[i].h, f.component[i].v = s[0], s[1]
	}
	f.jfif = c.Color == YCbCr
	f.measure()
}

// MinSize is the least number of bytes that a whole file with this header can have. A file that is much shorter was cut
// off, or made to do harm.
func (c Config) MinSize() int64 {
	if c.Progressive { // a bit a block for its mean; runs of blocks without more take next to nothing
		return c.blockCount() / 8
	}
	return c.blockCount() / 4
}

// Memory is an upper bound of the bytes that Decode takes for a file with this header, beside the file and about 200 kB.
func (c Config) Memory(o Options) int64 {
	var f file
	f.set(c)
	f.options = o.withDefaults()
	f.plan()
	total := int64(0)
	for i := range f.components {
		c := &f.component[i]
		total += int64(c.stride) * int64(c.rows)
		if f.progressive {
			total += int64(c.across) * int64(f.down*c.v) * coefficientBytes
		}
	}
	pixels := int64(f.bounds.Dx()) * int64(f.bounds.Dy())
	switch {
	case c.Color != Gray && c.Color != YCbCr:
		total += 4 * pixels
	case f.spread:
		total += 3 * pixels
	}
	return total
}
