package jpeg

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// cut returns the segments up to and with the first scan's header, and what follows.
func cut(t *testing.T, data []byte) (head, rest []byte) {
	t.Helper()
	var f file
	f.reset(data, Options{})
	for {
		m, _, err := f.segment()
		if err != nil {
			t.Fatal(err)
		}
		if m == sos {
			return bytes.Clone(data[:f.next]), bytes.Clone(data[f.next:])
		}
	}
}

// without takes all segments of a kind out of a header.
func without(t *testing.T, head []byte, marker byte) []byte {
	t.Helper()
	out := bytes.Clone(head[:2])
	for at := 2; at < len(head); {
		n := 2 + int(binary.BigEndian.Uint16(head[at+2:]))
		if head[at+1] != marker {
			out = append(out, head[at:at+n]...)
		}
		at += n
	}
	return out
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// restarts returns where the restart markers are.
func restarts(rest []byte) (at []int) {
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == 0xff && rest[i+1] >= rst0 && rest[i+1] <= rst7 {
			at = append(at, i)
		}
	}
	return at
}

// Files with faults that libjpeg shows: they decode to what they were, but for the rows given, and tell.
func TestOddities(t *testing.T) {
	plain := read(t, "420-baseline-q92.jpg")
	head, rest := cut(t, plain)
	progressive := read(t, "420-progressive-q92.jpg")
	intervals := read(t, "restart-1-row.jpg") // six rows of units, five markers
	ihead, irest := cut(t, intervals)
	marks := restarts(irest)
	renumber := func(i int, n byte) []byte {
		r := bytes.Clone(irest)
		r[marks[i]+1] = rst0 + n
		return join(ihead, r)
	}
	whole := image.Rect(0, 0, 131, 93)
	first := func(rows int) image.Rectangle { return image.Rect(0, 0, 131, rows) }
	for _, tt := range []struct {
		name     string
		of, file []byte
		warnings Warnings
		same     image.Rectangle // equal to the undamaged file's
	}{
		{"no end", plain, plain[:len(plain)-2], MissingEOI, whole},
		{"no end of a progressive file", progressive, progressive[:len(progressive)-2], MissingEOI, whole},
		{"half an end", plain, plain[:len(plain)-1], MissingEOI, whole},
		{"bytes behind the end", plain, join(plain, []byte("trailer\xff\xd8\xff\xd9")), 0, whole},
		{"bytes before the end", plain, join(plain[:len(plain)-2], []byte("12345"), plain[len(plain)-2:]), ExtraneousBytes, whole},
		{"bytes before a marker", plain, join(plain[:2], []byte("12345"), plain[2:]), ExtraneousBytes, whole},
		{"fill bytes before a marker", plain, join(plain[:2], []byte("\xff\xff\xff"), plain[2:]), 0, whole},
		{"fill bytes before the end", plain, join(plain[:len(plain)-2], []byte("\xff\xff"), plain[len(plain)-2:]), 0, whole},
		{"no Huffman tables", plain, join(without(t, head, dht), rest), MissingTables, whole},
		{"no JFIF marker", plain, join(without(t, head, app0), rest), 0, whole},
		{"bytes before a restart marker", intervals, join(ihead, irest[:marks[1]], []byte("123"), irest[marks[1]:]), ExtraneousBytes, whole},
		{"a misprinted restart marker", intervals, renumber(1, 5), RestartNumber, whole},
		{"a restart marker is missing", intervals, join(ihead, irest[:marks[1]], irest[marks[1]+2:]),
			ExtraneousBytes | RestartNumber | ShortInterval, first(32)},
		{"an interval is missing", intervals, join(ihead, irest[:marks[1]], irest[marks[2]:]), RestartNumber | ShortInterval, first(32)},
		{"an interval is there twice", intervals, join(ihead, irest[:marks[1]], irest[marks[0]:]), ExtraneousBytes | RestartNumber, whole},
		{"an interval is short", intervals, join(ihead, irest[:marks[1]+20], irest[marks[2]:]), ShortInterval, first(32)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want, err := Decode(tt.of, Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(tt.file, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Warnings != tt.warnings {
				t.Errorf("warnings %q, want %q", got.Warnings, tt.warnings)
			}
			if !samePixels(got.Image, want.Image, tt.same) {
				t.Errorf("other pixels within %v", tt.same)
			}
		})
	}
	t.Run("what follows a missing interval is in its place", func(t *testing.T) {
		want, _ := Decode(intervals, Options{})
		got, err := Decode(join(ihead, irest[:marks[1]], irest[marks[2]:]), Options{})
		if err != nil || !samePixels(got.Image, want.Image, image.Rect(0, 48, 131, 93)) {
			t.Error(err)
		}
		if c := got.Image.(*image.YCbCr).YCbCrAt(60, 40); c.Y != 128 || c.Cb != 128 || c.Cr != 128 {
			t.Errorf("%v for what is missing, want grey", c)
		}
	})
}

// Files of other kinds, and broken ones, get an error of the right type.
func TestErrors(t *testing.T) {
	plain := read(t, "420-baseline-q92.jpg")
	head, rest := cut(t, plain)
	frame := bytes.Index(plain, []byte{0xff, sof0})
	change := func(at int, b ...byte) []byte {
		out := bytes.Clone(plain)
		copy(out[at:], b)
		return out
	}
	scanHeader := len(head) - 3 // from, to, bits
	prog := read(t, "444-progressive-q92.jpg")
	phead, prest := cut(t, prog)
	limit, broken := UnsupportedError(""), FormatError("")
	for _, tt := range []struct {
		name, says string
		file       []byte
		kind       any
	}{
		{"nothing", "no JPEG", nil, &broken},
		{"PNG", "no JPEG", []byte("\x89PNG\r\n\x1a\n"), &broken},
		{"arithmetic", "arithmetic", change(frame+1, 0xc9), &limit},
		{"lossless", "lossless", change(frame+1, 0xc3), &limit},
		{"12 bits", "12 bits", change(frame+4, 12), &limit},
		{"9 bits", "9 bits", change(frame+4, 9), &broken},
		{"no width", "width of 0", change(frame+7, 0, 0), &broken},
		{"height by DNL", "DNL", change(frame+5, 0, 0), &limit},
		{"sampling of 5", "sampling", change(frame+11, 0x51), &broken},
		{"sampling of 0", "sampling", change(frame+11, 0x01), &broken},
		{"same names", "same name", change(frame+13, 1), &broken},
		{"frame length", "wrong length", change(frame+9, 4), &broken},
		{"2 components", "2 components", join(plain[:frame], []byte{0xff, sof0, 0, 14, 8, 0, 9, 0, 9, 2, 1, 0x11, 0, 2, 0x11, 0}, rest), &limit},
		{"no frame header", "before the frame header", join(without(t, head, sof0), rest), &broken},
		{"two frame headers", "second frame header", join(plain[:frame], plain[frame:frame+19], plain[frame:]), &broken},
		{"no quantisation table", "quantisation table", join(without(t, head, dqt), rest), &broken},
		{"no scan", "no picture", []byte("\xff\xd8\xff\xd9"), &broken},
		{"second start", "second start", join(plain[:2], plain), &broken},
		{"segment of 1 byte", "of 1 bytes", join(plain[:2], []byte{0xff, 0xe5, 0, 1}), &broken},
		{"progression from 5 to 1", "progression", join(phead[:len(phead)-3], []byte{5, 1, 0}, prest), &broken},
		{"progression by 2 bits", "progression", join(phead[:len(phead)-3], []byte{0, 0, 0x31}, prest), &broken},
	} {
		_, err := Decode(tt.file, Options{})
		ok := false
		switch kind := tt.kind.(type) {
		case *FormatError:
			ok = errors.As(err, kind)
		case *UnsupportedError:
			ok = errors.As(err, kind)
		}
		if !ok || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %T about %q", tt.name, err, tt.kind, tt.says)
		}
	}
	// What a sequential file's scan header says about progression means nothing, as for libjpeg.
	if _, err := Decode(change(scanHeader, 9, 5, 0x77), Options{}); err != nil {
		t.Error(err)
	}
}

// Files cut off anywhere are told from whole ones, and decode to grey below the cut where half of the rows are there.
func TestTruncated(t *testing.T) {
	for _, name := range []string{"420-baseline-q92.jpg", "420-progressive-q92.jpg", "restart-7-blocks.jpg", "scan-each.jpg", "grey-baseline.jpg"} {
		data := read(t, name)
		whole, err := Decode(data, Options{})
		if err != nil {
			t.Fatal(err)
		}
		shown, hidden := 0, 0
		for n := 1; n < len(data)-40; n += 37 {
			file := data[:n]
			_, err := Decode(file, Options{})
			if !errors.Is(err, io.ErrUnexpectedEOF) && n > 2 {
				t.Fatalf("%s cut after %d of %d bytes: %v", name, n, len(data), err)
			}
			if _, err := Decode(file, Options{Scale: 8}); err == nil {
				t.Fatalf("%s cut after %d of %d bytes: no error at 1/8", name, n, len(data))
			}
			// The upper part alone does not make it whole.
			if _, err := Decode(file, Options{Region: image.Rect(0, 0, 9, 9)}); err == nil {
				t.Fatalf("%s cut after %d of %d bytes: no error where the upper part is wanted", name, n, len(data))
			}
			r, err := Decode(file, Options{Truncated: true})
			var short *TruncatedError
			switch {
			case err == nil:
				shown++
				if r.Warnings&TruncatedRows == 0 {
					t.Fatalf("%s cut after %d bytes: %v", name, n, r.Warnings)
				}
				if top := image.Rect(0, 0, 131, 32); name == "420-baseline-q92.jpg" && !samePixels(r.Image, whole.Image, top) {
					t.Fatalf("%s cut after %d bytes: other pixels in the upper part", name, n)
				}
			case !errors.As(err, &short) || 2*short.Rows >= short.Height && short.Height > 0:
				if n > 2 {
					t.Fatalf("%s cut after %d bytes: %v", name, n, err)
				}
			default:
				hidden++
			}
		}
		if shown == 0 || hidden == 0 {
			t.Errorf("%s: %d cuts shown, %d not", name, shown, hidden)
		}
	}
}

// A part of a picture is that part of the whole, at every scale, for every kind of file.
func TestRegions(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var d Decoder
	seen := map[string]bool{}
	for _, g := range goldens(t) {
		if seen[g.file] {
			continue
		}
		seen[g.file] = true
		data := read(t, g.file)
		c, err := DecodeConfig(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, scale := range []int{1, 2, 4, 8} {
			whole, err := Decode(data, Options{Scale: scale})
			if err != nil {
				t.Fatal(err)
			}
			for range 6 {
				o := Options{Scale: scale, Region: image.Rect(rng.IntN(c.Width), rng.IntN(c.Height), rng.IntN(c.Width+20), rng.IntN(c.Height+20))}
				if o.Region.Empty() {
					continue
				}
				r, err := d.Decode(data, o)
				if err != nil {
					t.Fatalf("%s %+v: %v", g.file, o, err)
				}
				wellFormed(t, c, o, r)
				if r.Warnings != 0 || !samePixels(r.Image, whole.Image, r.Image.Bounds()) {
					t.Fatalf("%s %+v: other pixels than in the whole, or %v", g.file, o, r.Warnings)
				}
			}
		}
	}
	if r, err := d.Decode(read(t, "1x1.jpg"), Options{Region: image.Rect(500, 500, 600, 600)}); err != nil || r.Image.Bounds().Dx() != 1 {
		t.Error("a region beside the picture: ", err)
	}
}

// A decode ends with its context: before a row, within a progressive file too.
func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, name := range []string{"420-baseline-q92.jpg", "420-progressive-q92.jpg"} {
		if _, err := Decode(read(t, name), Options{Context: ctx}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Scans that say nothing are counted.
func TestScanFlood(t *testing.T) {
	data := read(t, "grey-progressive.jpg")
	head, _ := cut(t, data)
	flood := head
	scan := data[bytes.Index(data, []byte{0xff, sos}):len(head)]
	for range 1000 {
		flood = append(flood, scan...)
		flood = append(flood, 0)
	}
	var limit UnsupportedError
	if _, err := Decode(flood, Options{}); !errors.As(err, &limit) {
		t.Error(err)
	}
	if _, err := Decode(read(t, "many-scans.jpg"), Options{MaxScans: 10}); !errors.As(err, &limit) {
		t.Error(err)
	}
}

// A header that claims much costs nothing where the file is too short for it.
func TestClaims(t *testing.T) {
	for _, name := range []string{"420-baseline-q92.jpg", "420-progressive-q92.jpg"} {
		data := read(t, name)
		frame := max(bytes.Index(data, []byte{0xff, sof0}), bytes.Index(data, []byte{0xff, sof2}))
		copy(data[frame+5:], []byte{0xff, 0xff, 0xff, 0xff})
		c, err := DecodeConfig(data)
		if err != nil || c.Width != 65535 || c.MinSize() < 10<<20 || c.Memory(Options{}) < 6<<30 {
			t.Errorf("%s: %+v %v", name, c, err)
		}
		var d Decoder
		if _, err := d.Decode(data, Options{Truncated: true}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		for _, p := range d.planes {
			if p != nil {
				t.Error("memory taken for a file that is too short")
			}
		}
	}
}

// Config.Memory is a bound of what a Decoder keeps, and not a wide one.
func TestMemory(t *testing.T) {
	for _, name := range []string{"420-baseline-q92.jpg", "420-progressive-q92.jpg", "luma-below-chroma.jpg", "rgb.jpg", "cmyk-adobe.jpg"} {
		for _, o := range []Options{{}, {Scale: 4}, {Region: image.Rect(40, 40, 60, 60)}} {
			data := read(t, name)
			c, err := DecodeConfig(data)
			if err != nil {
				t.Fatal(err)
			}
			var d Decoder
			if _, err := d.Decode(data, o); err != nil {
				t.Fatal(err)
			}
			kept := 0
			for _, p := range d.planes {
				kept += cap(p)
			}
			for _, p := range d.pixels {
				kept += cap(p)
			}
			for _, s := range d.coefficients {
				kept += 2*cap(s.dc) + 8*cap(s.some) + 128*cap(s.ac)
			}
			if m := int(c.Memory(o)); kept > m || m > 4*kept {
				t.Errorf("%s %+v: %d bytes kept, %d foretold", name, o, kept, m)
			}
		}
	}
}

// What DecodeConfig says, for colours and sampling.
func TestDecodeConfig(t *testing.T) {
	for _, tt := range []struct {
		name     string
		color    Color
		sampling [2]int
		prog     bool
	}{
		{"420-progressive-q92.jpg", YCbCr, [2]int{2, 2}, true},
		{"411-baseline-q35.jpg", YCbCr, [2]int{4, 1}, false},
		{"grey-baseline.jpg", Gray, [2]int{1, 1}, false},
		{"rgb.jpg", RGB, [2]int{1, 1}, false},
		{"cmyk-adobe.jpg", CMYK, [2]int{1, 1}, false},
		{"ycck.jpg", YCCK, [2]int{1, 1}, false},
	} {
		data := read(t, tt.name)
		c, err := DecodeConfig(data)
		if err != nil || c.Color != tt.color || c.Sampling[0] != tt.sampling || c.Progressive != tt.prog {
			t.Errorf("%s: %+v %v", tt.name, c, err)
		}
		if c.MinSize() > int64(len(data)) {
			t.Errorf("%s: %d bytes, the least is %d", tt.name, len(data), c.MinSize())
		}
		// The frame header is enough.
		frame := max(bytes.Index(data, []byte{0xff, sof0}), bytes.Index(data, []byte{0xff, sof2}))
		if short, err := DecodeConfig(data[:frame+2+int(data[frame+3])]); err != nil || short.Width != c.Width {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := DecodeConfig(read(t, "rgb.jpg")[:20]); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}
