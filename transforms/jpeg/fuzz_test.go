package jpeg

import (
	"context"
	"errors"
	"image"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// seeds are the small files of testdata.
func seeds(t testing.TB) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.jpg")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

// wellFormed checks what holds for every result.
func wellFormed(t *testing.T, c Config, o Options, r Result) {
	t.Helper()
	if r.Width != c.Width || r.Height != c.Height {
		t.Fatalf("%d x %d pixels, the header says %d x %d", r.Width, r.Height, c.Width, c.Height)
	}
	b, whole := r.Image.Bounds(), image.Rect(0, 0, ceil(c.Width, r.Scale), ceil(c.Height, r.Scale))
	want := whole
	if !o.Region.Empty() {
		in := o.Region.Intersect(image.Rect(0, 0, c.Width, c.Height))
		want = image.Rect(in.Min.X/r.Scale, in.Min.Y/r.Scale, ceil(in.Max.X, r.Scale), ceil(in.Max.Y, r.Scale))
	}
	if b.Empty() || !b.In(whole) || !want.In(b) {
		t.Fatalf("bounds %v of %v do not hold %v", b, whole, want)
	}
	for _, p := range []image.Point{b.Min, b.Max.Sub(image.Pt(1, 1))} {
		r.Image.At(p.X, p.Y)
	}
}

// No bytes make the decoder panic, hang, or take more than the header tells, and assembly finds in them what Go does.
func FuzzDecode(f *testing.F) {
	for i, data := range seeds(f) {
		f.Add(data, uint8(i), uint16(3*i), uint16(i), uint16(40), uint16(30), i%2 == 0)
		f.Add(data[:len(data)*2/3], uint8(i), uint16(0), uint16(0), uint16(0), uint16(0), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, scale uint8, x, y, w, h uint16, truncated bool) {
		c, err := DecodeConfig(data)
		o := Options{Scale: 1 << (scale & 3), Truncated: truncated, MaxScans: 20}
		o.Region = image.Rect(int(x), int(y), int(x)+int(w), int(y)+int(h))
		if err != nil || c.Width*c.Height > 1<<20 || c.Memory(o) > 16<<20 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		o.Context = ctx
		r, err := Decode(data, o)
		other := withoutAssembly(func() (Result, error) { return Decode(data, o) })
		if err != nil {
			var broken FormatError
			var limit UnsupportedError
			var short *TruncatedError
			if !errors.As(err, &broken) && !errors.As(err, &limit) && !errors.As(err, &short) {
				t.Fatal(err)
			}
			if errors.Is(err, io.ErrUnexpectedEOF) != (short != nil) || other.err == nil || other.err.Error() != err.Error() {
				t.Fatalf("%v; without assembly %v", err, other.err)
			}
			return
		}
		wellFormed(t, c, o, r)
		if other.err != nil || r.Warnings != other.Warnings || !samePixels(r.Image, other.Image, r.Image.Bounds()) {
			t.Fatalf("without assembly other pixels, or %v, %v", other.err, other.Warnings)
		}
	})
}

type outcome struct {
	Result
	err error
}

// samePixels compares what of two pictures lies in b.
func samePixels(m, n image.Image, b image.Rectangle) bool {
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if m.At(x, y) != n.At(x, y) {
				return false
			}
		}
	}
	return true
}
