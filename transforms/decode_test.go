package transforms

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// difference is the largest and the mean difference of two pictures' samples.
func difference(t testing.TB, a, b *Image) (largest int, mean float64) {
	t.Helper()
	if a.W != b.W || a.H != b.H {
		t.Fatalf("sizes differ: %dx%d and %dx%d", a.W, a.H, b.W, b.H)
	}
	sum := 0
	for i := range a.Pix {
		d := int(a.Pix[i]) - int(b.Pix[i])
		d = max(d, -d)
		largest, sum = max(largest, d), sum+d
	}
	return largest, float64(sum) / float64(max(len(a.Pix), 1))
}

// The files were written by Pillow 13 (libjpeg-turbo, libwebp, libtiff) from reference.png.
func TestDecodeFormats(t *testing.T) {
	reference, err := Decode(read(t, "reference.png"), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		file, format string
		mean         float64 // difference that the format's losses explain
		why          string
	}{
		{"420.jpg", "jpeg", 6, "chroma at half resolution, the commonest"},
		{"422.jpg", "jpeg", 6, "chroma at half width"},
		{"444.jpg", "jpeg", 3, "full chroma"},
		{"progressive.jpg", "jpeg", 6, "progressive"},
		{"cmyk.jpg", "jpeg", 3, "Adobe CMYK, stored inverted"},
		{"lossy.webp", "webp", 8, "VP8"},
		{"lossless.webp", "webp", 0, "VP8L"},
		{"deflate.tiff", "tiff", 0, "deflate"},
		{"lzw.tiff", "tiff", 0, "LZW"},
		{"plain.tiff", "tiff", 0, "not compressed"},
		{"plain.bmp", "bmp", 0, "24 bits"},
		{"palette.png", "png", 12, "16 colours"},
		{"animated.webp", "webp", 8, "the first frame"},
		{"animated-alpha.webp", "webp", 8, "the first frame, with transparency"},
		{"animated.gif", "gif", 6, "the first frame; the second is upside down"},
		{"animated.png", "png", 0, "the first frame"},
		{"animated-default.png", "png", 0, "the picture before the animation"},
	} {
		t.Run(test.file, func(t *testing.T) {
			data := read(t, test.file)
			h, err := Inspect(data, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if h.Format != test.format || h.W != 48 || h.H != 32 || h.Orientation != 1 || h.Memory < 48*32 {
				t.Errorf("%s: header %+v", test.why, h)
			}
			m, err := Decode(data, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if _, mean := difference(t, m, reference); mean > test.mean {
				t.Errorf("%s: mean difference %.2f, want at most %v", test.why, mean, test.mean)
			}
		})
	}
}

func TestDecodeGrey(t *testing.T) {
	m, err := Decode(read(t, "grey.jpg"), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(m.Pix); i += 3 {
		if m.Pix[i] != m.Pix[i+1] || m.Pix[i] != m.Pix[i+2] {
			t.Fatalf("pixel %d is %v, not grey", i/3, m.Pix[i:i+3])
		}
	}
	m, err = Decode(read(t, "grey16.png"), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.At(7, 3), (color.RGBA{23, 23, 23, 255}); got != want { // (3*48 + 7) * 40 / 256
		t.Errorf("16-bit grey is %v, want %v", got, want)
	}
}

func TestTransparentIsWhite(t *testing.T) {
	reference, err := Decode(read(t, "reference.png"), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		file      string
		tolerance int
	}{{"alpha.png", 1}, {"alpha-lossless.webp", 1}, {"alpha.webp", 60}} {
		m, err := Decode(read(t, test.file), DefaultLimits())
		if err != nil {
			t.Fatal(test.file, err)
		}
		for _, p := range []struct {
			x, y  int
			alpha int
		}{{10, 5, 0}, {5, 25, 128}, {40, 25, 255}} {
			got, want := m.At(p.x, p.y).(color.RGBA), reference.At(p.x, p.y).(color.RGBA)
			mixed := (int(want.R)*p.alpha + 255*(255-p.alpha)) / 255
			if d := int(got.R) - mixed; max(d, -d) > test.tolerance {
				t.Errorf("%s: red at (%d,%d) with alpha %d is %d, want about %d", test.file, p.x, p.y, p.alpha, got.R, mixed)
			}
		}
	}
}

// TestFromImage compares each fast path with the colours that image.Image gives for every pixel.
func TestFromImage(t *testing.T) {
	r := image.Rect(3, 5, 24, 18)
	fill := func(p []uint8) {
		for i := range p {
			p[i] = uint8(i*7 + i/5)
		}
	}
	var pictures []image.Image
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		m := image.NewYCbCr(r, ratio)
		fill(m.Y)
		fill(m.Cb)
		fill(m.Cr)
		pictures = append(pictures, m, m.SubImage(image.Rect(6, 7, 20, 15)))
	}
	grey, nrgba, rgba, cmyk, g16, n64, r64 := image.NewGray(r), image.NewNRGBA(r), image.NewRGBA(r), image.NewCMYK(r), image.NewGray16(r), image.NewNRGBA64(r), image.NewRGBA64(r)
	nycbcra := image.NewNYCbCrA(r, image.YCbCrSubsampleRatio420)
	for _, p := range [][]uint8{grey.Pix, nrgba.Pix, cmyk.Pix, g16.Pix, n64.Pix, nycbcra.Y, nycbcra.Cb, nycbcra.Cr, nycbcra.A} {
		fill(p)
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ { // colours multiplied by alpha cannot be just any bytes
			rgba.Set(x, y, nrgba.At(x, y))
			r64.Set(x, y, n64.At(x, y))
		}
	}
	paletted := image.NewPaletted(r, color.Palette{color.White, color.Transparent, color.NRGBA{200, 10, 20, 77}, color.Black})
	for i := range paletted.Pix {
		paletted.Pix[i] = uint8(i*i) % 4
	}
	pictures = append(pictures, grey, nrgba, rgba, cmyk, paletted, g16, n64, r64, nycbcra, nrgba.SubImage(image.Rect(4, 8, 9, 9)), &Image{W: 2, H: 1, Pix: []uint8{1, 2, 3, 4, 5, 6}})
	for _, src := range pictures {
		m, b := FromImage(src), src.Bounds()
		for y := range m.H {
			for x := range m.W {
				want := opaque(src.At(b.Min.X+x, b.Min.Y+y).RGBA())
				for c, v := range m.Pix[3*(y*m.W+x):][:3] {
					if d := int(v) - int(want[c]); d < -1 || d > 1 {
						t.Fatalf("%T at (%d,%d): %v, want %v", src, x, y, m.Pix[3*(y*m.W+x):][:3], want)
					}
				}
			}
		}
	}
}

func jpegOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// claim writes another size into a JPEG's frame header.
func claim(data []byte, marker byte, w, h int) []byte {
	data = bytes.Clone(data)
	i := bytes.Index(data, []byte{0xff, marker})
	binary.BigEndian.PutUint16(data[i+5:], uint16(h))
	binary.BigEndian.PutUint16(data[i+7:], uint16(w))
	return data
}

// pngBomb is a PNG of zeros, compressed as far as deflate goes.
func pngBomb(t testing.TB, w, h int, depth, kind, interlace byte, rowBytes int) []byte {
	t.Helper()
	var z bytes.Buffer
	zw, err := zlib.NewWriterLevel(&z, 9)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]byte, 1+rowBytes)
	for range h {
		if _, err := zw.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	out := []byte("\x89PNG\r\n\x1a\n")
	chunk := func(name string, d []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(d)))
		body := append([]byte(name), d...)
		out = append(out, body...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
	}
	header := binary.BigEndian.AppendUint32(nil, uint32(w))
	header = binary.BigEndian.AppendUint32(header, uint32(h))
	chunk("IHDR", append(header, depth, kind, 0, 0, interlace))
	chunk("IDAT", z.Bytes())
	chunk("IEND", nil)
	return out
}

// tiffOf builds a TIFF whose directory holds the given tags as longs, in ascending order.
func tiffOf(size int, tags ...[2]uint32) []byte {
	b := []byte("II*\x00\x08\x00\x00\x00")
	b = binary.LittleEndian.AppendUint16(b, uint16(len(tags)))
	for _, tag := range tags {
		b = binary.LittleEndian.AppendUint16(b, uint16(tag[0]))
		b = binary.LittleEndian.AppendUint16(b, 4)
		b = binary.LittleEndian.AppendUint32(b, 1)
		b = binary.LittleEndian.AppendUint32(b, tag[1])
	}
	return append(b, make([]byte, max(size-len(b), 4))...)
}

func TestDecodeRejects(t *testing.T) {
	half := func(data []byte) []byte { return data[:len(data)*2/3] }
	small := jpegOf(t, image.NewGray(image.Rect(0, 0, 16, 16)))
	progressive := read(t, "progressive.jpg")
	scans := bytes.Clone(progressive[:len(progressive)-2])
	last := bytes.LastIndex(scans, []byte{0xff, 0xda})
	for range 200 {
		scans = append(scans, scans[last:]...)
		scans = scans[:min(len(scans), 100_000)]
	}
	var palette bytes.Buffer
	if err := gif.Encode(&palette, image.NewPaletted(image.Rect(0, 0, 9, 9), color.Palette{color.Black, color.White}), nil); err != nil {
		t.Fatal(err)
	}
	wideGIF := bytes.Clone(palette.Bytes())
	copy(wideGIF[6:], "\xff\xff\xff\xff")
	webp := read(t, "lossy.webp")
	greedy := bytes.Clone(webp[:40]) // claims two gigabytes of which 40 bytes are there
	binary.LittleEndian.PutUint32(greedy[4:], 0x7ffffff0)
	binary.LittleEndian.PutUint32(greedy[16:], 0x7fffffe0)
	wideWebP := bytes.Clone(webp)
	binary.LittleEndian.PutUint16(wideWebP[26:], 8000)
	binary.LittleEndian.PutUint16(wideWebP[28:], 6000)
	wideBMP := read(t, "plain.bmp")
	binary.LittleEndian.PutUint32(wideBMP[18:], 6000)
	binary.LittleEndian.PutUint32(wideBMP[22:], 8000)
	lim := DefaultLimits()

	for _, test := range []struct {
		name   string
		data   []byte
		lim    Limits
		reason Reason
		detail string
	}{
		{"no bytes", nil, lim, ReasonEmpty, ""},
		{"AVIF", read(t, "avif.avif"), lim, ReasonAVIF, ""},
		{"moving WebP without a frame", bytes.Replace(read(t, "animated.webp"), []byte("ANMF"), []byte("ANMX"), -1), lim, ReasonTruncated, "without a frame"},
		{"bytes above the limit", small, Limits{Bytes: 100}, ReasonTooManyBytes, "the limit is 100"},
		{"pixels above the limit", small, Limits{Pixels: 100}, ReasonTooManyPixels, "16 x 16 = 256 pixels"},
		{"memory above the limit", small, Limits{Memory: 100}, ReasonTooMuchMemory, "16 x 16"},
		{"JPEG of no height", claim(small, 0xc0, 16, 0), lim, ReasonUnsupportedFeature, "height of 0"},
		{"JPEG far too short", claim(small, 0xc0, 30000, 30000), lim, ReasonImplausible, "30000 x 30000"},
		{"JPEG too short, no limits", claim(small, 0xc0, 30000, 30000), Limits{}, ReasonImplausible, "30000 x 30000"},
		{"progressive JPEG far too short", claim(progressive, 0xc2, 20000, 20000), lim, ReasonImplausible, "20000 x 20000"},
		{"progressive JPEG above the limit", append(claim(progressive, 0xc2, 10000, 10000), make([]byte, 1<<20)...), lim, ReasonTooManyPixels, "10000"},
		{"progressive JPEG that fits in pixels, not in memory", append(claim(progressive, 0xc2, 7000, 7000), make([]byte, 1<<20)...), lim, ReasonTooMuchMemory, "7000"},
		{"progressive JPEG of endless scans", scans, lim, ReasonImplausible, "scans"},
		{"half a JPEG", half(read(t, "444.jpg")), lim, ReasonTruncated, "of 32 rows"},
		{"half a progressive JPEG", half(progressive), lim, ReasonTruncated, "of 32 rows"},
		{"two bytes of a JPEG", small[:2], lim, ReasonTruncated, "jpeg"},
		{"JPEG of 12 bits", bytes.Replace(small, []byte{0xff, 0xc0, 0, 11, 8}, []byte{0xff, 0xc0, 0, 11, 12}, 1), lim, ReasonUnsupportedFeature, "12 bits"},
		{"lossless JPEG", bytes.Replace(small, []byte{0xff, 0xc0}, []byte{0xff, 0xc3}, 1), lim, ReasonUnsupportedFeature, "lossless"},
		{"JPEG with a broken table", bytes.Replace(small, []byte{0xff, 0xdb, 0, 0x84, 0}, []byte{0xff, 0xdb, 0, 0x84, 9}, 1), lim, ReasonCorrupt, "quantisation table"},
		{"PNG bomb of 900 megapixels", pngBomb(t, 30000, 3000, 1, 0, 0, 3750), lim, ReasonTooManyPixels, "30000 x 3000"},
		{"PNG bomb of 8 bytes a pixel", pngBomb(t, 6000, 6000, 16, 6, 0, 1), lim, ReasonImplausible, "6000"},
		{"PNG too short", pngBomb(t, 6000, 6000, 8, 2, 0, 1), lim, ReasonImplausible, "6000 x 6000"},
		{"PNG above the limit of memory", pngBomb(t, 5600, 6000, 8, 6, 0, 4*5600), lim, ReasonTooMuchMemory, "5600"},
		{"PNG of one long line", pngBomb(t, 1_000_000, 1, 1, 0, 0, 125000), lim, ReasonTooManyPixels, "a side"},
		{"half a PNG", half(read(t, "reference.png")), lim, ReasonTruncated, "png"},
		{"PNG with a broken check sum", bytes.Replace(read(t, "reference.png"), []byte("IDAT"), []byte("IDAQ"), 1), lim, ReasonCorrupt, "png"},
		{"GIF of 65535 x 65535", wideGIF, lim, ReasonTooManyPixels, "65535"},
		{"half a GIF", half(read(t, "animated.gif")), lim, ReasonTruncated, "gif"},
		{"WebP far too short", wideWebP, lim, ReasonImplausible, "8000 x 6000"},
		{"half a WebP", half(webp), lim, ReasonTruncated, "webp"},
		{"WebP that claims two gigabytes", greedy, lim, ReasonTruncated, "webp"},
		{"BMP that claims 48 megapixels", wideBMP, lim, ReasonTruncated, "bmp"},
		{"BMP of 16 bits", append([]byte("BM"), append(make([]byte, 12), "\x28\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)...), lim, ReasonUnsupportedFeature, "bmp"},
		{"half a TIFF", half(read(t, "plain.tiff")), lim, ReasonTruncated, "tiff"},
		{"TIFF that claims 48 megapixels", tiffOf(1000, [2]uint32{256, 6000}, [2]uint32{257, 8000}, [2]uint32{258, 8}, [2]uint32{259, 5}, [2]uint32{262, 1}), lim, ReasonImplausible, "6000 x 8000"},
		{"TIFF of too many strips", tiffOf(1000, [2]uint32{256, 6000}, [2]uint32{257, 8000}, [2]uint32{258, 1}, [2]uint32{259, 4}, [2]uint32{262, 1}, [2]uint32{278, 1}), lim, ReasonImplausible, "8000 strips"},
		{"TIFF of too many tiles", tiffOf(400_000, [2]uint32{256, 6000}, [2]uint32{257, 8000}, [2]uint32{258, 1}, [2]uint32{259, 4}, [2]uint32{262, 1}, [2]uint32{322, 8}, [2]uint32{323, 8}), lim, ReasonImplausible, "tiles"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode(test.data, test.lim)
			runtime.ReadMemStats(&after)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want reason %s", err, test.reason)
			}
			if e.Reason != test.reason || !strings.Contains(e.Error(), test.detail) {
				t.Errorf("error %q, want reason %s and %q", e, test.reason, test.detail)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
				t.Errorf("rejecting took %d bytes of memory", n)
			}
		})
	}
}

// TestMemory holds Header.Memory to what decoders allocate, for pictures whose content says nothing, as bombs are.
func TestMemory(t *testing.T) {
	const w, h = 2000, 1500
	grey := image.NewGray(image.Rect(0, 0, w, h))
	rgba := image.NewRGBA(grey.Rect)
	encode := func(f func(b *bytes.Buffer) error) []byte {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, data := range map[string][]byte{
		"grey jpeg":      jpegOf(t, grey),
		"4:2:0 jpeg":     jpegOf(t, rgba),
		"grey png":       pngBomb(t, w, h, 8, 0, 0, w),
		"1-bit png":      pngBomb(t, w, h, 1, 0, 0, (w+7)/8),
		"16-bit png":     pngBomb(t, w, h, 16, 6, 0, 8*w),
		"interlaced png": pngBomb(t, w, h, 8, 6, 1, 8*w), // more rows than its passes need
		"gif":            encode(func(b *bytes.Buffer) error { return gif.Encode(b, grey, nil) }),
		"bmp":            encode(func(b *bytes.Buffer) error { return bmp.Encode(b, rgba) }),
		"tiff":           encode(func(b *bytes.Buffer) error { return tiff.Encode(b, rgba, nil) }),
		"deflated tiff":  encode(func(b *bytes.Buffer) error { return tiff.Encode(b, rgba, &tiff.Options{Compression: tiff.Deflate}) }),
		"progressive":    append(claim(read(t, "progressive.jpg"), 0xc2, w, h), make([]byte, 1<<20)...),
	} {
		t.Run(name, func(t *testing.T) {
			header, err := Inspect(data, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = DefaultScoring(224, [3]float64{}, [3]float64{1, 1, 1}).Picture(data, Key{Epoch: -1}, DefaultLimits())
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Log(err)
			}
			took := int64(after.TotalAlloc - before.TotalAlloc)
			if slack := int64(4 << 20); took > header.Memory+slack {
				t.Errorf("took %d bytes, the header said %d", took, header.Memory)
			}
		})
	}
}

// TestTruncated takes JPEGs of which half of the rows are there, if it is told to, and nothing else.
func TestTruncated(t *testing.T) {
	lim := DefaultLimits()
	lim.Truncated = true
	whole, cut := DefaultLimits(), func(file string, share int) []byte {
		data := read(t, file)
		return data[:len(data)*share/100]
	}
	list := List{Orient{}, Resize{Width: 24, Height: 16}}
	for _, test := range []struct {
		file  string
		share int // of its bytes, in hundredths
		lim   Limits
		ok    bool
	}{
		{"444.jpg", 80, lim, true},
		{"444.jpg", 80, whole, false},
		{"444.jpg", 30, lim, false},
		{"progressive.jpg", 90, lim, true},
		{"progressive.jpg", 90, whole, false},
		{"reference.png", 90, lim, false},
		{"lossless.webp", 90, lim, false},
	} {
		data := cut(test.file, test.share)
		_, err := Decode(data, test.lim)
		_, listed := list.Picture(data, scoring, test.lim)
		for _, err := range []error{err, listed} {
			var e *Error
			if test.ok && err != nil || !test.ok && (!errors.As(err, &e) || e.Reason != ReasonTruncated) {
				t.Errorf("%d %% of %s, --truncated=score %v: error %v", test.share, test.file, test.lim.Truncated, err)
			}
		}
	}
}

// TestTimeLimit lets no time pass, which every decoder has to notice.
func TestTimeLimit(t *testing.T) {
	lim := DefaultLimits()
	lim.Time = 1
	for _, file := range []string{"420.jpg", "progressive.jpg", "reference.png", "animated.gif", "lossy.webp", "lossless.webp", "animated-alpha.webp",
		"plain.bmp", "plain.tiff", "lzw.tiff", "deflate.tiff"} {
		_, err := Decode(read(t, file), lim)
		_, listed := List{Resize{Width: 3, Height: 2}}.Picture(read(t, file), scoring, lim)
		for _, err := range []error{err, listed} {
			var e *Error
			if !errors.As(err, &e) || e.Reason != ReasonDecodeTimeout || !e.Temporary() {
				t.Errorf("%s: error %v, want a timeout", file, err)
			}
		}
	}
}

func TestReasons(t *testing.T) {
	seen := map[Reason]bool{}
	for _, r := range Reasons() {
		if seen[r] || Explain(r) == "" {
			t.Errorf("%q twice or without explanation", r)
		}
		seen[r] = true
	}
	if Explain("nonsense") != "" {
		t.Error("nonsense has an explanation")
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) < 20 {
		f.Fatal(len(files), err)
	}
	for _, file := range files {
		if b := read(f, filepath.Base(file)); len(b) < 4000 {
			f.Add(b)
		}
	}
	lim := Limits{Bytes: 1 << 20, Pixels: 1 << 20, Memory: 32 << 20}
	list := List{Orient{}, Resize{Short: 10}, CenterCrop{Size: 8}}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := list.Picture(data, Key{Epoch: -1}, lim)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || Explain(e.Reason) == "" {
				t.Fatalf("%v is not an *Error with a known reason", err)
			}
			if _, err := Inspect(data, lim); errors.As(err, &e) && e.Reason == ReasonDecoderPanic {
				t.Fatal(err) // decoders may panic on pixels, which Decode catches, but headers are read here
			}
			return
		}
		if m.W != 8 || m.H != 8 || len(m.Pix) != 3*64 {
			t.Fatalf("%d x %d pixels, %d bytes", m.W, m.H, len(m.Pix))
		}
		if _, err := png.DecodeConfig(bytes.NewReader(data)); err == nil {
			if h, err := Inspect(data, lim); err != nil || h.W < 1 || h.H < 1 || h.Memory < int64(h.W)*int64(h.H) {
				t.Fatalf("decoded, yet its header is %+v, %v", h, err)
			}
		}
	})
}

// FuzzMemory holds Header.Memory to what decoders allocate, of TIFF above all, whose parts are inflated one by one.
func FuzzMemory(f *testing.F) {
	for _, file := range []string{"plain.tiff", "lzw.tiff", "deflate.tiff", "orient6.tiff", "animated.gif", "palette.png", "grey16.png", "lossy.webp", "lossless.webp", "plain.bmp"} {
		f.Add(read(f, file))
	}
	c := newCorpus(f, 3)
	for i := range 10 {
		r := rand.New(rand.NewPCG(3, uint64(i)))
		if data := c.tiff(r); len(data) < 100_000 {
			f.Add(data)
		}
	}
	lim := Limits{Bytes: 1 << 20, Pixels: 1 << 20, Memory: 64 << 20}
	list := List{Orient{}, Resize{Short: 10}, CenterCrop{Size: 8}}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Inspect(data, lim)
		if err != nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		list.Picture(data, Key{Epoch: -1}, lim)
		runtime.ReadMemStats(&after)
		if took, slack := int64(after.TotalAlloc-before.TotalAlloc), int64(4<<20); took > h.Memory+slack {
			t.Fatalf("a %s of %d bytes and %d x %d pixels took %d bytes, the header said %d", h.Format, len(data), h.W, h.H, took, h.Memory)
		}
	})
}

func FuzzOrientation(f *testing.F) {
	for _, file := range []string{"orient6.jpg", "orient6.png", "orient6.webp", "orient6.tiff"} {
		f.Add(read(f, file))
	}
	f.Add([]byte("II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range []format{formatJPEG, formatPNG, formatGIF, formatWebP, formatBMP, formatTIFF} {
			if o := orientation(format, data); o < 1 || o > 8 {
				t.Fatalf("orientation %d in %s", o, format)
			}
		}
	})
}
