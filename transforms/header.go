package transforms

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/gif"
	"image/png"
	"time"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/logobeam/logobeam/transforms/jpeg"
)

// Limits bound what one picture may cost. A zero field means no limit of that kind, except that neither side may be
// longer than 65,535 pixels. All but Time are applied before anything is decoded.
type Limits struct {
	Bytes  int64 // of the file
	Pixels int64 // width times height; of an animation one frame alone is decoded
	Memory int64 // bytes that decoding keeps at one time: Header.Memory
	// Time is how long decoding may take. Decoders notice as they read on: a picture that is ready by then counts, and of a
	// lossy WebP, which is read at once, the other limits alone bound the time.
	Time time.Duration
	// Truncated lets JPEGs pass that end too early, if half of their rows are there; the others are grey.
	Truncated bool
}

// DefaultLimits lets through what people photograph (48-megapixel JPEG, 25-megapixel progressive JPEG, 27-megapixel
// PNG), keeps one picture below 200 MB, and gives it ten times the time that the slowest of these takes.
func DefaultLimits() Limits {
	return Limits{Bytes: 32 << 20, Pixels: 50_000_000, Memory: 190_000_000, Time: 10 * time.Second}
}

const maxSide = 65_535 // of JPEG and GIF themselves; the filter's tables grow with a side

// Header is what the first bytes of a file tell.
type Header struct {
	Format      string // jpeg, png, gif, webp, bmp, tiff
	W, H        int    // in pixels, before Orientation is applied
	Orientation int    // EXIF orientation, 1 to 8
	// Frames is the number of pictures of a GIF, APNG or WebP animation that the file holds, 1 for all other files. The
	// first one counts, of an APNG what programs show that know no APNG; the others cost nothing, as nobody decodes them.
	Frames int
	// Memory is an upper estimate of the bytes that the file's decoder and its conversion keep at one time, beside the
	// file and the result: the weight to acquire before List.Tensor where many pictures are decoded at once.
	Memory int64

	profile *profile // of its colours; nil for sRGB, and for what Inspect returns
}

// Inspect reads a file's header and says whether Decode would try the rest: it applies the limits, and it rejects a
// file too short for what its header claims, before anything is allocated. It takes about 10 microseconds. The error is
// an *Error.
func Inspect(data []byte, lim Limits) (h Header, err error) {
	f, err := sniff(data)
	if err != nil {
		return Header{}, err
	}
	if lim.Bytes > 0 && int64(len(data)) > lim.Bytes {
		return Header{}, reject(ReasonTooManyBytes, "%d bytes, the limit is %d", len(data), lim.Bytes)
	}
	defer func() {
		if p := recover(); p != nil {
			h, err = Header{}, reject(ReasonDecoderPanic, "%s header: %v", f, p)
		}
	}()
	h.Orientation, h.Frames = orientation(f, data), frames(f, data)
	if f == formatWebP {
		if data, err = stillWebP(data); err != nil {
			return Header{}, err
		}
	}
	var c image.Config
	r := bytes.NewReader(data)
	switch f {
	case formatJPEG:
		var j jpeg.Config
		j, err = jpeg.DecodeConfig(data)
		c.Width, c.Height = j.Width, j.Height
	case formatPNG:
		c, err = png.DecodeConfig(r)
	case formatGIF:
		c, err = gif.DecodeConfig(r)
	case formatWebP:
		c, err = webp.DecodeConfig(r)
	case formatBMP:
		c, err = bmp.DecodeConfig(r)
	case formatTIFF:
		c, err = tiff.DecodeConfig(r)
	}
	if err != nil {
		return Header{}, classify(f, err)
	}
	h.Format, h.W, h.H = string(f), c.Width, c.Height
	if h.W <= 0 || h.H <= 0 {
		return Header{}, reject(ReasonZeroSize, "%s of %d x %d pixels", f, h.W, h.H)
	}
	if h.W > maxSide || h.H > maxSide {
		return Header{}, reject(ReasonTooManyPixels, "%d x %d pixels, the limit is %d a side", h.W, h.H, maxSide)
	}
	// Of two faults the lie is told rather than the size, and the size rather than the memory.
	memory, err := cost(f, data, int64(h.W), int64(h.H))
	if err != nil {
		return Header{}, err
	}
	if n := int64(h.W) * int64(h.H); lim.Pixels > 0 && n > lim.Pixels {
		return Header{}, reject(ReasonTooManyPixels, "%d x %d = %d pixels, the limit is %d", h.W, h.H, n, lim.Pixels)
	}
	if lim.Memory > 0 && memory > lim.Memory {
		return Header{}, reject(ReasonTooMuchMemory, "%s of %d x %d pixels takes about %d MB, the limit is %d",
			f, h.W, h.H, memory/1e6, lim.Memory/1e6)
	}
	h.Memory = memory
	return h, nil
}

// cost estimates the memory that decoding takes, from what the decoders of the standard library and of golang.org/x/image
// do, and rejects data that cannot hold the pixels it claims.
func cost(f format, data []byte, w, h int64) (int64, error) {
	const rgb = 3 // bytes a pixel for our own copy, made beside the decoder's where it is not resized as it is
	size, pixels := int64(len(data)), w*h
	implausible := func(least int64) error {
		return reject(ReasonImplausible, "%s of %d bytes claims %d x %d pixels, which take %d bytes at the least", f, size, w, h, least)
	}
	switch f {
	case formatJPEG:
		return costJPEG(data)
	case formatPNG:
		depth, kind := int64(data[24]), data[25]
		samples := map[byte]int64{2: 3, 4: 2, 6: 4}[kind]
		raw := h * ((w*max(samples, 1)*depth+7)/8 + 1)
		if least := raw / 1032; size < least { // deflate's best ratio
			return 0, implausible(least)
		}
		decoded := int64(4)
		switch {
		case kind == 3:
			decoded = 1
		case depth == 16:
			decoded = 8
		}
		if data[28] != 0 { // interlaced: the passes beside the whole
			decoded *= 2
		}
		return pixels * (decoded + rgb), nil
	case formatGIF:
		return pixels * (1 + rgb), nil
	case formatWebP:
		lossy, coded := true, size
		walkWebP(data, func(name string, chunk []byte) bool {
			lossy = lossy && name != "VP8L" && name != "ALPH"
			if name == "VP8 " {
				coded = int64(len(chunk))
			}
			return true
		})
		// How a block of 16 x 16 pixels is predicted takes 3.4 bits at the least, with the fixed probabilities of a key frame
		// (RFC 6386, 11.2 to 11.5).
		if least := (w + 15) / 16 * ((h + 15) / 16) * 3 / 8; lossy && coded < least {
			return 0, implausible(least)
		}
		if lossy {
			return pixels * 2, nil
		}
		// Lossless pixels or alpha: two copies of 4 bytes, and up to 2,600 groups of Huffman trees of 50 kB, each of
		// which takes the file some 200 bytes at the least.
		return pixels*(8+1+rgb) + min(256*size, 130_000_000), nil
	case formatBMP:
		bits := int64(binary.LittleEndian.Uint16(data[28:]))
		if least := (w*bits + 31) / 32 * 4 * h; size < least {
			return 0, reject(ReasonTruncated, "bmp of %d x %d pixels takes %d bytes, there are %d", w, h, least, size)
		}
		return pixels * (4 + rgb), nil
	case formatTIFF:
		return costTIFF(data, w, h)
	}
	return 0, nil
}

// costJPEG is what decoding all of a JPEG takes, in full size. Lists that make small pictures take less.
func costJPEG(data []byte) (int64, error) {
	c, err := jpeg.DecodeConfig(data)
	if err != nil {
		return 0, classify(formatJPEG, err)
	}
	if size, least := int64(len(data)), c.MinSize(); size < least {
		return 0, reject(ReasonImplausible, "jpeg of %d bytes claims %d x %d pixels, which take %d bytes at the least", size, c.Width, c.Height, least)
	}
	// Each scan of a progressive file visits every block, even where it says nothing about them.
	const maxScans = 64
	rest := walkJPEG(data, func(byte, []byte) bool { return true })
	if n := bytes.Count(rest, []byte{0xff, 0xda}); c.Progressive && n > maxScans {
		return 0, reject(ReasonImplausible, "progressive jpeg of %d scans, the limit is %d", n, maxScans)
	}
	memory := c.Memory(jpeg.Options{})
	if c.Color != jpeg.Gray && c.Color != jpeg.YCbCr { // our own copy, which is resized
		memory += 3 * int64(c.Width) * int64(c.Height)
	}
	return memory, nil
}

// walkJPEG calls visit with each segment before the first scan until it returns false, and returns what follows. It
// steps as image/jpeg does, so that both find the same frame header.
func walkJPEG(data []byte, visit func(marker byte, segment []byte) bool) []byte {
	b := data[min(2, len(data)):]
	for len(b) >= 2 {
		if b[0] != 0xff || b[1] == 0 {
			b = b[1:]
			continue
		}
		marker := b[1]
		b = b[2:]
		for marker == 0xff && len(b) > 0 {
			marker, b = b[0], b[1:]
		}
		if marker == 0xd9 || marker == 0xda { // end of image, start of scan
			return b
		}
		if marker >= 0xd0 && marker <= 0xd7 {
			continue
		}
		if len(b) < 2 {
			return nil
		}
		n := int(binary.BigEndian.Uint16(b))
		if n < 2 || n > len(b) {
			return nil
		}
		if !visit(marker, b[2:n]) {
			return b[n:]
		}
		b = b[n:]
	}
	return nil
}

// costTIFF reads how the picture is cut into strips or tiles: each is inflated in a growing buffer of its own.
func costTIFF(data []byte, w, h int64) (int64, error) {
	const bits, compression, rowsPerStrip, tileWidth, tileLength = 258, 259, 278, 322, 323
	tags := map[uint16]int64{bits: 1, compression: 1, rowsPerStrip: h}
	walkIFD(data, func(tag uint16, value uint32, _ []byte) {
		switch tag {
		case bits, compression, rowsPerStrip, tileWidth, tileLength:
			tags[tag] = int64(value)
		}
	})
	blockW, blockH := w, min(max(tags[rowsPerStrip], 1), h)
	if tags[tileWidth] > 0 {
		blockW, blockH = tags[tileWidth], max(tags[tileLength], 1)
	}
	if blockW > maxSide || blockH > maxSide {
		return 0, reject(ReasonImplausible, "tiff of %d x %d pixels in tiles of %d x %d", w, h, blockW, blockH)
	}
	blocks := ((w + blockW - 1) / blockW) * ((h + blockH - 1) / blockH)
	if size := int64(len(data)); blocks > size {
		return 0, reject(ReasonImplausible, "tiff of %d bytes claims %d strips or tiles", size, blocks)
	}
	const maxBlocks = 1 << 17 // each sets up a decompressor
	if blocks > maxBlocks {
		return 0, reject(ReasonImplausible, "tiff of %d strips or tiles, the limit is %d", blocks, maxBlocks)
	}
	size, least, buffer := int64(len(data)), w*h*tags[bits]/8, 16*blockW*blockH
	switch tags[compression] {
	case 0, 1: // none
		if size < least {
			return 0, reject(ReasonTruncated, "tiff of %d x %d pixels takes %d bytes, there are %d", w, h, least, size)
		}
		buffer = min(buffer, 3*size)
	case 8, 32946:
		least /= 1032 // deflate's best ratio
	default:
		least /= 8192 // LZW's and the fax codes' best, generously
	}
	if size < least {
		return 0, reject(ReasonImplausible, "tiff of %d bytes claims %d x %d pixels, which take %d bytes at the least", size, w, h, least)
	}
	return w*h*(4*max(tags[bits]/8, 1)+3) + buffer + 64*blocks, nil
}
