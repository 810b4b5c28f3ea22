package transforms

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// noise is a picture in which no two places look the same.
func noise(w, h int) *Image {
	m := NewImage(w, h)
	r := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32())
	}
	return m
}

// smooth is a picture whose neighbouring pixels are alike, as in photographs.
func smooth(w, h int) *Image {
	m := NewImage(w, h)
	for y := range h {
		for x := range w {
			for c := range 3 {
				v := 127 + 60*math.Sin(float64(x)/17+float64(c)) + 60*math.Cos(float64(y)/23-float64(c*x)/91)
				m.Pix[3*(y*w+x)+c] = uint8(v)
			}
		}
	}
	return m
}

func apply(t testing.TB, m *Image, key Key, l ...Step) *Image {
	t.Helper()
	for _, s := range l {
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	before := slices.Clone(m.Pix)
	out, err := List(l).Apply(m, key)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, m.Pix) {
		t.Fatal("Apply changed its argument")
	}
	if len(out.Pix) != 3*out.W*out.H {
		t.Fatalf("%d x %d pixels in %d bytes", out.W, out.H, len(out.Pix))
	}
	return out
}

var scoring = Key{Epoch: -1}

// The goldens were made by Pillow 13: Image.resize(size, BILINEAR), which rounds to 8 bits between its two passes.
func TestResizeLikePillow(t *testing.T) {
	var cases []struct {
		Source, Golden string
		Width, Height  int
	}
	if err := json.Unmarshal(read(t, "resize.json"), &cases); err != nil || len(cases) < 9 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		t.Run(c.Golden, func(t *testing.T) {
			source, err := Decode(read(t, c.Source), DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			want, err := Decode(read(t, c.Golden), DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			got := apply(t, source, scoring, Resize{Width: c.Width, Height: c.Height})
			if largest, mean := difference(t, got, want); largest > 1 || mean > 0.3 {
				t.Errorf("largest difference %d, mean %.3f; want at most 1 and 0.3", largest, mean)
			}
		})
	}
}

func resampled(src image.Image, g geometry) *Image {
	m := NewImage(g.cut.Dx(), g.cut.Dy())
	resample(src, g, func(y int, rgb []uint8) { copy(m.Pix[3*y*m.W:3*(y+1)*m.W], rgb) })
	return m
}

// TestResizePlanes compares the way of JPEGs, whose planes are resized before they are converted, with the plain way.
func TestResizePlanes(t *testing.T) {
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		for _, size := range []image.Point{{200, 140}, {201, 139}, {97, 300}} {
			src := image.NewYCbCr(image.Rectangle{Max: size}, ratio)
			m := smooth(size.X, size.Y)
			for y := range size.Y {
				for x := range size.X {
					p := m.At(x, y).(color.RGBA)
					yy, cb, cr := color.RGBToYCbCr(p.R/2+64, p.G/2+64, p.B/2+64) // away from the corners of the cube
					src.Y[src.YOffset(x, y)] = yy
					src.Cb[src.COffset(x, y)], src.Cr[src.COffset(x, y)] = cb, cr
				}
			}
			window, to := image.Rect(13, 7, size.X-5, size.Y-1), image.Pt(40, 30)
			g := geometry{window: window, to: to, cut: image.Rectangle{Max: to}, scale: 1}
			got, want := resampled(src, g), resampled(FromImage(src), g)
			if largest, mean := difference(t, got, want); largest > 4 || mean > 0.8 {
				t.Errorf("%v of %v: largest difference %d, mean %.3f", ratio, size, largest, mean)
			}
		}
	}
}

// TestOneResample checks that geometry done at once is what it would be one step after another.
func TestOneResample(t *testing.T) {
	for o := 1; o <= 8; o++ {
		m := smooth(120, 77)
		m.Orientation = o
		l := List{Orient{}, CenterCrop{Size: 70}, Resize{Width: 50, Height: 41}, CenterCrop{Size: 37}}
		atOnce := apply(t, m, scoring, l...)
		for _, s := range l {
			m = apply(t, m, scoring, s)
		}
		if largest, _ := difference(t, atOnce, m); largest > 1 {
			t.Errorf("orientation %d: largest difference %d", o, largest)
		}
	}
}

func TestOrient(t *testing.T) {
	for o := 1; o <= 8; o++ {
		upright := noise(3, 2)
		file := NewImage(3, 2)
		if turns[o].swap {
			file = NewImage(2, 3)
		}
		for y := range file.H {
			for x := range file.W {
				// EXIF: which side of the scene row 0 and column 0 of the file show.
				var ux, uy int
				switch o {
				case 1: // top, left
					ux, uy = x, y
				case 2: // top, right
					ux, uy = 2-x, y
				case 3: // bottom, right
					ux, uy = 2-x, 1-y
				case 4: // bottom, left
					ux, uy = x, 1-y
				case 5: // left, top
					ux, uy = y, x
				case 6: // right, top
					ux, uy = 2-y, x
				case 7: // right, bottom
					ux, uy = 2-y, 1-x
				case 8: // left, bottom
					ux, uy = y, 1-x
				}
				copy(file.Pix[3*(y*file.W+x):], upright.Pix[3*(uy*3+ux):3*(uy*3+ux)+3])
			}
		}
		file.Orientation = o
		if diff := cmp.Diff(upright, apply(t, file, scoring, Orient{})); diff != "" {
			t.Errorf("orientation %d (-want +got):\n%s", o, diff)
		}
	}
}

func TestOrientationOfFiles(t *testing.T) {
	for _, file := range []string{"orient6.jpg", "orient6.png", "orient6.webp", "orient6.tiff"} {
		data := read(t, file)
		m, err := Decode(data, DefaultLimits())
		if err != nil {
			t.Fatal(file, err)
		}
		if m.Orientation != 6 || m.W != 48 || m.H != 32 {
			t.Errorf("%s: orientation %d of %d x %d pixels, want 6 of 48 x 32", file, m.Orientation, m.W, m.H)
		}
		upright, err := List{Orient{}}.Picture(data, scoring, DefaultLimits())
		if err != nil {
			t.Fatal(file, err)
		}
		if upright.W != 32 || upright.H != 48 || upright.Orientation != 1 || upright.At(31, 0) != m.At(0, 0) {
			t.Errorf("%s: upright %d x %d pixels, orientation %d, corner %v for %v", file, upright.W, upright.H, upright.Orientation, upright.At(31, 0), m.At(0, 0))
		}
	}
}

func TestOrientationTag(t *testing.T) {
	for _, test := range []struct {
		why, tiff string
		want      int
	}{
		{"little-endian short", "II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00", 6},
		{"big-endian short", "MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x08\x00\x00", 8},
		{"written as a long", "II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x04\x00\x01\x00\x00\x00\x03\x00\x00\x00", 3},
		{"out of range", "II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x09\x00\x00\x00", 1},
		{"a text", "II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\x01\x00\x00\x00\x06\x00\x00\x00", 1},
		{"values beyond the end", "II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\xff\xff\xff\xff\xf0\xff\xff\xff", 1},
		{"no values at all", "II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x00\x00\x00\x00\x06\x00\x00\x00", 1},
		{"directory beyond the end", "II*\x00\xff\xff\xff\xff", 1},
		{"fewer entries than said", "II*\x00\x08\x00\x00\x00\xff\xff\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00", 6},
		{"no TIFF", "Exif and nothing more", 1},
	} {
		if got := orientationTag([]byte(test.tiff)); got != test.want {
			t.Errorf("%s: %d, want %d", test.why, got, test.want)
		}
	}
}

func TestProperties(t *testing.T) {
	picture := rapid.Custom(func(t *rapid.T) *Image {
		return noise(rapid.IntRange(1, 40).Draw(t, "w"), rapid.IntRange(1, 40).Draw(t, "h"))
	})
	rapid.Check(t, func(rt *rapid.T) {
		m := picture.Draw(rt, "picture")
		key := Key{Seed: rapid.Uint64().Draw(rt, "seed"), Epoch: rapid.IntRange(-1, 9).Draw(rt, "epoch"), Image: rapid.String().Draw(rt, "image")}
		size := rapid.IntRange(1, 50).Draw(rt, "size")

		flip := HorizontalFlip{Probability: 1}
		if twice := apply(t, m, Key{}, flip, flip); !slices.Equal(twice.Pix, m.Pix) {
			rt.Fatal("two flips are not the identity")
		}

		inverse := []int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
		o := rapid.IntRange(1, 8).Draw(rt, "orientation")
		there := *m
		there.Orientation = o
		back := apply(t, &there, scoring, Orient{})
		back.Orientation = inverse[o]
		if back = apply(t, back, scoring, Orient{}); !cmp.Equal(back, m) {
			rt.Fatalf("orientation %d and %d are not inverse", o, inverse[o])
		}

		w, h := rapid.IntRange(1, 60).Draw(rt, "width"), rapid.IntRange(1, 60).Draw(rt, "height")
		plain := NewImage(m.W, m.H)
		for i := range plain.Pix {
			plain.Pix[i] = m.Pix[i%3]
		}
		out := apply(t, plain, scoring, Resize{Width: w, Height: h})
		for i, v := range out.Pix {
			if v != plain.Pix[i%3] {
				rt.Fatalf("%d x %d of one colour to %d x %d: sample %d is %d, want %d", m.W, m.H, w, h, i, v, plain.Pix[i%3])
			}
		}
		if same := apply(t, m, scoring, Resize{Width: m.W, Height: m.H}); !slices.Equal(same.Pix, m.Pix) {
			rt.Fatal("a resize to the same size is not the identity")
		}

		for _, s := range []Step{
			CenterCrop{Size: size}, RandomCrop{Size: size}, RandomCrop{Size: size, Padding: w},
			RandomResizedCrop{Size: size, Scale: [2]float64{0.1, 1}, Ratio: [2]float64{0.5, 2}},
		} {
			a, b := apply(t, m, key, s), apply(t, m, key, s)
			if a.W != size || a.H != size {
				rt.Fatalf("%s: %d x %d pixels, want %d", s.Name(), a.W, a.H, size)
			}
			if !slices.Equal(a.Pix, b.Pix) {
				rt.Fatalf("%s: the same key gave different pixels", s.Name())
			}
		}

		jitter := ColorJitter{Brightness: 0.5, Contrast: 0.5, Saturation: 1, Hue: 0.5}
		grey := NewImage(m.W, m.H)
		for i := range grey.Pix {
			grey.Pix[i] = m.Pix[i/3]
		}
		for i, p := range slices.Collect(slices.Chunk(apply(t, grey, key, jitter).Pix, 3)) {
			if d := int(slices.Max(p)) - int(slices.Min(p)); d > 1 {
				rt.Fatalf("pixel %d was grey and is %v", i, p)
			}
		}
	})
}

func TestLetterbox(t *testing.T) {
	for _, c := range []struct {
		w, h   int
		inside image.Rectangle // where the picture comes to lie
		reason string
	}{
		{200, 100, image.Rect(0, 25, 100, 75), "wide: grey above and below"},
		{50, 100, image.Rect(25, 0, 75, 100), "high, and as large as it becomes"},
		{40, 40, image.Rect(0, 0, 100, 100), "a square fills it, and is enlarged"},
		{300, 1, image.Rect(0, 49, 100, 50), "a line of pixels is still to be seen"},
	} {
		m := smooth(c.w, c.h)
		got := apply(t, m, scoring, Letterbox{Size: 100})
		want := apply(t, m, scoring, Resize{Width: c.inside.Dx(), Height: c.inside.Dy()})
		for y := range 100 {
			for x := range 100 {
				expect := [3]uint8{128, 128, 128}
				if p := image.Pt(x, y); p.In(c.inside) {
					p = p.Sub(c.inside.Min)
					expect = [3]uint8(want.Pix[3*(p.Y*want.W+p.X):])
				}
				if pixel := [3]uint8(got.Pix[3*(y*got.W+x):]); pixel != expect {
					t.Fatalf("%s: pixel %d, %d is %v, want %v", c.reason, x, y, pixel, expect)
				}
			}
		}
	}
}

func TestRandomCrop(t *testing.T) {
	m := noise(30, 20)
	seen := map[[3]uint8]bool{}
	for epoch := range 200 {
		out := apply(t, m, Key{Epoch: epoch, Image: "a"}, RandomCrop{Size: 19})
		found := false
		for y := 0; y <= 1 && !found; y++ {
			for x := 0; x <= 11 && !found; x++ {
				found = slices.Equal(out.Pix, apply(t, m, scoring, cropTo{x, y, 19}).Pix)
			}
		}
		if !found {
			t.Fatalf("epoch %d: not a part of the picture", epoch)
		}
		seen[[3]uint8(out.Pix)] = true
	}
	if len(seen) != 12*2 {
		t.Errorf("%d places in 200 epochs, want all 24", len(seen))
	}
	// Padding is black, and a crop may lie wholly in it.
	black := 0
	for epoch := range 200 {
		out := apply(t, m, Key{Epoch: epoch}, RandomCrop{Size: 4, Padding: 8})
		if slices.Max(out.Pix) == 0 {
			black++
		}
	}
	if black == 0 || black == 200 {
		t.Errorf("%d of 200 crops are black", black)
	}
}

// cropTo crops at a given place.
type cropTo struct{ x, y, side int }

func (cropTo) Name() string               { return "crop-to" }
func (cropTo) Validate() error            { return nil }
func (c cropTo) size(_, _ int) (int, int) { return c.side, c.side }
func (c cropTo) apply(v *view, _ *rand.Rand) error {
	v.crop(c.x, c.y, c.side, c.side)
	return nil
}

func TestColorJitter(t *testing.T) {
	m := NewImage(2, 1)
	copy(m.Pix, []uint8{200, 100, 50, 40, 80, 120})
	if out := apply(t, m, Key{}, ColorJitter{}); !slices.Equal(out.Pix, m.Pix) {
		t.Errorf("jitter of nothing: %v, want %v", out.Pix, m.Pix)
	}
	if out := apply(t, m, scoring, ColorJitter{Brightness: 1, Hue: 0.5}); !slices.Equal(out.Pix, m.Pix) {
		t.Errorf("jitter for scoring: %v, want %v", out.Pix, m.Pix)
	}
	// Brightness multiplies, so the ratios of the channels stay.
	out := apply(t, m, Key{Seed: 4}, ColorJitter{Brightness: 0.2})
	factor := float64(out.Pix[0]) / 200
	for i, v := range m.Pix {
		if d := float64(out.Pix[i]) - factor*float64(v); math.Abs(d) > 1 {
			t.Errorf("sample %d of %d became %d under a brightness of %.3f", i, v, out.Pix[i], factor)
		}
	}
	if factor == 1 || factor < 0.79 || factor > 1.21 {
		t.Errorf("brightness %.3f, want 0.8 to 1.2 and not 1", factor)
	}
	// Hue leaves the luma.
	out = apply(t, m, Key{Seed: 5}, ColorJitter{Hue: 0.05})
	luma := func(p []uint8) float64 {
		return grey[0]*float64(p[0]) + grey[1]*float64(p[1]) + grey[2]*float64(p[2])
	}
	if slices.Equal(out.Pix, m.Pix) || math.Abs(luma(out.Pix)-luma(m.Pix)) > 1 {
		t.Errorf("hue: %v became %v, luma %.1f became %.1f", m.Pix, out.Pix, luma(m.Pix), luma(out.Pix))
	}
}

// TestGoldenRandom pins what keys give: a change here changes every training run.
func TestGoldenRandom(t *testing.T) {
	var got []string
	for _, key := range []Key{{}, {Seed: 1}, {Epoch: 1}, {Image: "a.jpg"}} {
		r := key.random(3)
		got = append(got, fmt.Sprintf("%d %d %.6f", r.IntN(1000), r.IntN(1000), between(r, -1, 1)))
	}
	want := []string{"936 857 0.202000", "424 468 0.657682", "990 90 -0.218605", "245 588 -0.252382"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if scoring.random(0) != nil {
		t.Error("a generator for scoring")
	}
}

func TestExtremeShapes(t *testing.T) {
	mean, std := [3]float64{127, 127, 127}, [3]float64{128, 128, 128}
	dst := make([]float32, 224*224*3)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, size := range []image.Point{{1, 1}, {1, 20000}, {20000, 1}, {3, 65535}, {65535, 2}} {
		var data []byte
		if size.X == 65535 {
			data = pngBomb(t, size.X, size.Y, 8, 2, 0, 3*size.X)
		} else {
			data = jpegOf(t, image.NewYCbCr(image.Rectangle{Max: size}, image.YCbCrSubsampleRatio420))
		}
		for _, l := range []List{
			DefaultScoring(224, mean, std),
			DefaultTraining(224, mean, std),
			StrongTraining(224, mean, std),
			{Resize{Width: 224, Height: 224}, Normalise{mean, std}},
			{RandomCrop{Size: 224, Padding: 10}, HorizontalFlip{1}, Normalise{mean, std}},
		} {
			if err := l.Tensor(data, Key{Epoch: 1}, DefaultLimits(), dst); err != nil {
				t.Fatal(size, err)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 60<<20 {
		t.Errorf("%d bytes for 25 small pictures", n)
	}
	// Where nothing crops the strip that a resize makes, it would be too large to make.
	if _, err := (List{Resize{Short: 256}}).Apply(NewImage(1, 20000), scoring); err == nil {
		t.Error("a picture of 256 x 5,120,000 pixels was made")
	}
}
