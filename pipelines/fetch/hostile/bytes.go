package hostile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"strings"
	"sync"
)

// Photographs returns a few small pictures of coloured patches, PNG and JPEG of different sizes, the same each time.
func Photographs() [][]byte { return photographs() }

var photographs = sync.OnceValue(func() [][]byte {
	var all [][]byte
	for i, size := range []image.Point{{24, 20}, {32, 32}, {48, 40}, {64, 48}, {90, 60}, {120, 160}, {200, 150}, {320, 240}} {
		m := image.NewRGBA(image.Rectangle{Max: size})
		r := rand.New(rand.NewPCG(uint64(i), 0))
		var patches [6][5]color.RGBA
		for x := range patches {
			for y := range patches[x] {
				c := r.Uint32()
				patches[x][y] = color.RGBA{uint8(c), uint8(c >> 8), uint8(c >> 16), 255}
			}
		}
		for y := range size.Y {
			for x := range size.X {
				m.SetRGBA(x, y, patches[x*6/size.X][y*5/size.Y])
			}
		}
		var b bytes.Buffer
		var err error
		if i%2 == 0 {
			err = png.Encode(&b, m)
		} else {
			err = jpeg.Encode(&b, m, nil)
		}
		if err != nil {
			panic(err) // it is the same picture each time
		}
		all = append(all, b.Bytes())
	}
	return all
})

var (
	page    = []byte("<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in to see this photograph.</body></html>\n")
	drawing = []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle cx="4" cy="4" r="4"/></svg>` + "\n")
	video   = append([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42"), make([]byte, 400)...)
	avif    = append([]byte("\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf"), make([]byte, 400)...)

	noise    = bytes.Repeat([]byte("\xff\xd8\xff\xe0 no end of it "), 2048) // a piece of an endless body
	longLine = strings.Repeat("a", 4<<10)
)

// bombPNG claims 60000 x 60000 pixels.
var bombPNG = func() []byte {
	out := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, data []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		at := len(out)
		out = append(append(out, name...), data...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[at:]))
	}
	chunk("IHDR", []byte("\x00\x00\xea\x60\x00\x00\xea\x60\x08\x02\x00\x00\x00"))
	chunk("IDAT", make([]byte, 1000))
	chunk("IEND", nil)
	return out
}()

// bombJPEG is a photograph whose header claims 60000 x 60000 pixels.
var bombJPEG = func() []byte {
	data := bytes.Clone(photographs()[1])
	at := bytes.Index(data, []byte{0xff, 0xc0}) // the frame: its length, 8 bits, height, width
	copy(data[at+5:], "\xea\x60\xea\x60")
	return data
}()

// bombGzip is 40 MB of zeros, packed: more than most clients take.
var bombGzip = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	for range 40 {
		if err == nil {
			_, err = z.Write(make([]byte, 1<<20))
		}
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err) // it is the same each time
	}
	return b.Bytes()
})
