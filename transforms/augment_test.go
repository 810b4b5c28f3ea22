package transforms

import (
	"bytes"
	"fmt"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func decoded(t testing.TB, file string) *Image {
	t.Helper()
	m, err := Decode(read(t, file), DefaultLimits())
	if err != nil {
		t.Fatal(file, err)
	}
	return m
}

func TestExactFunctions(t *testing.T) {
	for i := -4000; i <= 4000; i++ {
		x := float64(i) / 777
		sin, cos := sincos(x)
		wantSin, wantCos := math.Sincos(2 * math.Pi * math.Mod(x, 1)) // reduced exactly
		if math.Abs(sin-wantSin) > 2e-15 || math.Abs(cos-wantCos) > 2e-15 {
			t.Fatalf("sincos(%v) is %v, %v; want %v, %v", x, sin, cos, wantSin, wantCos)
		}
		if got, want := exp(10*x), math.Exp(10*x); math.Abs(got-want) > 2e-14*want {
			t.Fatalf("exp(%v) is %v, want %v", 10*x, got, want)
		}
		if y := math.Abs(x) + 0.001; math.Abs(log(y)-math.Log(y)) > 4e-16*(1+math.Abs(math.Log(y))) {
			t.Fatalf("log(%v) is %v, want %v", y, log(y), math.Log(y))
		}
	}
	for quarters, want := range [][2]float64{{0, 1}, {1, 0}, {0, -1}, {-1, 0}} {
		if sin, cos := sincos(float64(quarters) / 4); sin != want[0] || cos != want[1] {
			t.Errorf("%d quarters: %v, %v; want %v", quarters, sin, cos, want)
		}
	}
}

const goldenNumbers = "0x1.d916f2233cd6p-03 0x1.f226f819bb317p-01 0x1.29f6b7bfe469dp-02 -0x1.025ed83ac4692p-02"

const goldenPixels = `random-rotation 107750
random-perspective 961513
color-jitter 541084
random-grayscale 191769
gaussian-blur 439804
jpeg 304274
random-erasing 281496`

// TestGoldenBits pins numbers to the last bit, and pixels, so that a kind of processor that gives others is found out.
func TestGoldenBits(t *testing.T) {
	sin, cos := sincos(0.0371)
	if got := fmt.Sprintf("%x %x %x %x", sin, cos, exp(-1.2345), log(0.777)); got != goldenNumbers {
		t.Errorf("%s, want %s", got, goldenNumbers)
	}
	var sums []string
	for _, s := range StrongTraining(40, [3]float64{}, [3]float64{1, 1, 1})[4:11] { // without those that resize
		sum := 0
		for epoch := range 50 {
			for i, v := range apply(t, decoded(t, "scene.png"), Key{Epoch: epoch}, s).Pix {
				sum = (sum*31 + int(v)*(i%7+1)) % 1_000_003
			}
		}
		sums = append(sums, fmt.Sprint(s.Name(), " ", sum))
	}
	if got := strings.Join(sums, "\n"); got != goldenPixels {
		t.Errorf("got\n%s\nwant\n%s", got, goldenPixels)
	}
}

// The goldens were made by Pillow 13 from scene.png of 97 x 61: Image.rotate(15, BILINEAR), and Image.transform((97,
// 61), PERSPECTIVE, c, BILINEAR), where c, solved for by numpy, moves the corners to the shares below; both with a
// fillcolor of (128, 128, 128). Pillow does not mix the picture with it at the edges.
func TestProjectLikePillow(t *testing.T) {
	m := decoded(t, "scene.png")
	corners := [4][2]float64{{0.1, 0.05}, {0.95, 0.15}, {0.8, 0.9}, {0.02, 0.97}}
	for _, c := range []struct {
		golden string
		p      projection
	}{{"rotate15.png", rotation(97, 61, 15.0/360)}, {"perspective.png", toCorners(97, 61, corners)}} {
		got, want := project(m, c.p), decoded(t, c.golden)
		edge, sum := 0, 0
		for i, v := range got.Pix {
			x, y := float64(i/3%97)+0.5, float64(i/3/97)+0.5
			u, v1, w := c.p[0][0]*x+c.p[0][1]*y+c.p[0][2], c.p[1][0]*x+c.p[1][1]*y+c.p[1][2], c.p[2][0]*x+c.p[2][1]*y+c.p[2][2]
			in := min(u/w, 97-u/w, v1/w, 61-v1/w) // how deep in the picture
			d := max(int(v)-int(want.Pix[i]), int(want.Pix[i])-int(v))
			switch {
			case math.Abs(in) < 0.51:
				edge++
			case d > 3:
				t.Fatalf("%s: sample %d is %d, want %d", c.golden, i, v, want.Pix[i])
			}
			if math.Abs(in) >= 0.51 {
				sum += d
			}
		}
		if n := len(got.Pix) - edge; n < 3*97*61*8/10 || float64(sum)/float64(n) > 0.4 {
			t.Errorf("%s: mean difference %.3f of %d samples", c.golden, float64(sum)/float64(n), n)
		}
	}
}

func TestProjections(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, h := rapid.IntRange(1, 30).Draw(rt, "w"), rapid.IntRange(1, 30).Draw(rt, "h")
		m := noise(w, h)
		if got := project(m, still); !slices.Equal(got.Pix, m.Pix) {
			rt.Fatal("no movement changes the picture")
		}
		if got := project(m, rotation(w, h, 0)); !slices.Equal(got.Pix, m.Pix) {
			rt.Fatal("a rotation by nothing changes the picture")
		}
		// Half a turn puts every pixel where another was.
		got := project(m, rotation(w, h, 0.5))
		for i := range w * h {
			if !slices.Equal(got.Pix[3*i:3*i+3], m.Pix[3*(w*h-1-i):][:3]) {
				rt.Fatalf("half a turn of %d x %d: pixel %d", w, h, i)
			}
		}
		if w == h { // a quarter, anticlockwise: the upper right corner comes to the upper left
			got := project(m, rotation(w, h, 0.25))
			if !slices.Equal(got.Pix[:3], m.Pix[3*(w-1):3*w]) {
				rt.Fatal("a quarter of a turn")
			}
		}
		// Corners go where they are told to, and what is composed does what one after the other does to a point.
		var corners [4][2]float64
		for i, c := range [4][2]float64{{0, 0}, {1, 0}, {1, 1}, {0, 1}} {
			for k := range c {
				corners[i][k] = math.Abs(c[k] - rapid.Float64Range(0, 0.3).Draw(rt, "in"))
			}
		}
		p := toCorners(w, h, corners)
		q := rotation(w, h, rapid.Float64Range(-1, 1).Draw(rt, "turns"))
		for i, c := range [4][2]float64{{0, 0}, {1, 0}, {1, 1}, {0, 1}} {
			x, y := moved(p, corners[i][0]*float64(w), corners[i][1]*float64(h))
			if math.Abs(x-c[0]*float64(w)) > 1e-9 || math.Abs(y-c[1]*float64(h)) > 1e-9 {
				rt.Fatalf("corner %d is from (%v, %v)", i, x, y)
			}
			x1, y1 := moved(q, 3, 4)
			x1, y1 = moved(p, x1, y1)
			if x2, y2 := moved(p.times(q), 3, 4); !(math.Abs(x1-x2)+math.Abs(y1-y2) < 1e-6*(1+math.Abs(x1)+math.Abs(y1))) {
				rt.Fatalf("(%v, %v) at once, (%v, %v) one after the other", x2, y2, x1, y1)
			}
		}
	})
}

func moved(p projection, x, y float64) (u, v float64) {
	w := p[2][0]*x + p[2][1]*y + p[2][2]
	return (p[0][0]*x + p[0][1]*y + p[0][2]) / w, (p[1][0]*x + p[1][1]*y + p[1][2]) / w
}

// TestOneProjection checks that neighbours in a list are one resampling, which is sharper than two, and mean the same.
func TestOneProjection(t *testing.T) {
	m := smooth(60, 40)
	key := Key{Seed: 3, Epoch: 2}
	rotate, tilt := RandomRotation{Degrees: 30}, RandomPerspective{Distortion: 0.4, Probability: 1}
	got := apply(t, m, key, rotate, tilt)
	once := project(m, rotate.projection(60, 40, key.random(0)).times(tilt.projection(60, 40, key.random(1))))
	if !slices.Equal(got.Pix, once.Pix) {
		t.Error("not one resampling")
	}
	twice := project(project(m, rotate.projection(60, 40, key.random(0))), tilt.projection(60, 40, key.random(1)))
	if _, mean := difference(t, got, twice); mean > 3 {
		t.Errorf("one resampling is %.2f from two on average", mean)
	}
	// A step between them wants the picture as it is then.
	grey := apply(t, m, key, rotate, RandomGrayscale{1})
	if want := apply(t, project(m, rotate.projection(60, 40, key.random(0))), key, CenterCrop{40}, RandomGrayscale{1}); !slices.Equal(
		apply(t, grey, scoring, CenterCrop{40}).Pix, want.Pix) {
		t.Error("grey and rotation")
	}
}

func TestRandomRotation(t *testing.T) {
	// A white picture with black beyond the centre tells the angle: that of a half plane's border.
	const n = 101
	m := NewImage(n, n)
	for i := range n * n {
		if i%n > n/2 {
			copy(m.Pix[3*i:], []uint8{255, 255, 255})
		}
	}
	least, most := 90.0, -90.0
	for epoch := range 300 {
		out := apply(t, m, Key{Epoch: epoch}, RandomRotation{Degrees: 20})
		across := func(y int) int { // where the border crosses the row
			x := 20
			for out.Pix[3*(y*n+x)] < 128 || out.Pix[3*(y*n+x)] == fill {
				x++
			}
			return x
		}
		angle := math.Atan(float64(across(25)-across(75))/50) * 180 / math.Pi
		least, most = min(least, angle), max(most, angle)
	}
	if least < -22 || least > -18 || most > 22 || most < 18 {
		t.Errorf("angles from %.1f to %.1f degrees, want -20 to 20", least, most)
	}
}

func TestRandomZoomOut(t *testing.T) {
	m := NewImage(48, 36)
	for i := range m.Pix {
		m.Pix[i] = 200
	}
	widths := map[int]bool{}
	for epoch := range 200 {
		out := apply(t, m, Key{Epoch: epoch}, RandomZoomOut{Side: [2]float64{1, 3}, Probability: 1})
		x0, y0, x1, y1, n := 48, 36, -1, -1, 0
		for i := range 48 * 36 {
			switch p := out.Pix[3*i]; p {
			case 200:
				x0, y0, x1, y1, n = min(x0, i%48), min(y0, i/48), max(x1, i%48), max(y1, i/48), n+1
			case fill:
			default:
				t.Fatalf("a sample of %d", p)
			}
		}
		w, h := x1-x0+1, y1-y0+1
		if n != w*h || w < 16 || math.Abs(float64(w)/float64(h)-4.0/3) > 0.1 {
			t.Fatalf("%d pixels of the picture in %d x %d", n, w, h)
		}
		widths[w] = true
	}
	if len(widths) < 20 {
		t.Errorf("%d widths in 200 epochs", len(widths))
	}
	// After a resize the picture is not enlarged first: detail of the size that comes out is not lost twice.
	src := smooth(300, 300)
	key := Key{Epoch: 1}
	zoom := RandomZoomOut{Side: [2]float64{2, 2}, Probability: 1}
	got := apply(t, src, key, Resize{Width: 100, Height: 100}, zoom)
	small := apply(t, src, scoring, Resize{Width: 50, Height: 50})
	r := key.random(1)
	r.Float64()
	r.Float64()
	x, y := r.IntN(51), r.IntN(51)
	if cut := apply(t, got, scoring, cropTo{x, y, 50}); !slices.Equal(cut.Pix, small.Pix) {
		t.Error("not what a resize to the smaller size gives")
	}
}

// The goldens were made by OpenCV 5 from scene.png: cv2.GaussianBlur(m, (k, k), sigma, borderType=cv2.BORDER_REPLICATE)
// with k of 5, 11 and 19, which like ours are three standard deviations.
func TestBlurLikeOpenCV(t *testing.T) {
	for file, sigma := range map[string]float64{"blur0.5.png": 0.5, "blur1.5.png": 1.5, "blur3.png": 3} {
		got := decoded(t, "scene.png")
		got.blur(gaussian(sigma))
		if largest, mean := difference(t, got, decoded(t, file)); largest > 2 || mean > 0.6 {
			t.Errorf("%s: largest difference %d, mean %.3f; want at most 2 and 0.6", file, largest, mean)
		}
	}
}

func TestGaussian(t *testing.T) {
	for sigma := 0.01; sigma <= 10; sigma += 0.01 {
		kernel := gaussian(sigma)
		sum, variance := uint64(0), 0.0
		for i, w := range kernel {
			d := float64(i - len(kernel)/2)
			sum += w
			variance += d * d * float64(w) / 256
			if w > 256 || w != kernel[len(kernel)-1-i] {
				t.Fatalf("sigma %v: %v", sigma, kernel)
			}
			exact := 0.0 // the integral of the density over the pixel is close to the density where sigma is not small
			if exact = 256 / (sigma * math.Sqrt(2*math.Pi)) * math.Exp(-d*d/(2*sigma*sigma)); sigma > 1 && math.Abs(exact-float64(w)) > 1.9 {
				t.Fatalf("sigma %v: weight %d at %v, want %.2f", sigma, w, d, exact)
			}
		}
		if sum != 256 || sigma > 0.8 && math.Abs(variance/(sigma*sigma)-1) > 0.06 {
			t.Fatalf("sigma %v: the weights add up to %d, their variance is %v", sigma, sum, variance)
		}
	}
	m := noise(11, 9)
	want := slices.Clone(m.Pix)
	if m.blur(gaussian(0.05)); !slices.Equal(m.Pix, want) {
		t.Error("a blur of a twentieth of a pixel changes the picture")
	}
}

func TestRandomGrayscale(t *testing.T) {
	m := noise(20, 20)
	out := apply(t, m, Key{}, RandomGrayscale{Probability: 1})
	for i := range 400 {
		p := m.Pix[3*i : 3*i+3]
		want := color.GrayModel.Convert(color.RGBA{p[0], p[1], p[2], 255}).(color.Gray).Y
		for _, v := range out.Pix[3*i : 3*i+3] {
			if max(v, want)-min(v, want) > 1 { // theirs is cut off from 16 bits, not rounded
				t.Fatalf("%v became %d, want %d", p, v, want)
			}
		}
	}
}

// TestJPEGLikeAFile compares with what package image/jpeg writes and reads, which is another transform and another way
// to convert colours, at every quality.
func TestJPEGLikeAFile(t *testing.T) {
	coffee, err := os.ReadFile("../testdata/backgrounds/coffee.jpg")
	if err != nil {
		t.Fatal(err)
	}
	photograph, err := Decode(coffee, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m     *Image
		least float64 // dB; few coefficients halfway between two steps, rounded the other way, weigh more in a small picture
	}{{apply(t, photograph, scoring, CenterCrop{224}), 38}, {apply(t, photograph, scoring, CenterCrop{100}, Resize{Width: 33, Height: 17}), 32}} {
		for quality := 1; quality <= 100; quality++ {
			var file bytes.Buffer
			if err := jpeg.Encode(&file, c.m, &jpeg.Options{Quality: quality}); err != nil {
				t.Fatal(err)
			}
			back, err := jpeg.Decode(&file)
			if err != nil {
				t.Fatal(err)
			}
			got := apply(t, c.m, Key{}, JPEG{[2]int{quality, quality}, 1})
			if off := psnr(got, FromImage(back)); off < c.least {
				t.Errorf("%d x %d at quality %d: %.1f dB from what is in the file, want %v", c.m.W, c.m.H, quality, off, c.least)
			}
			if change := psnr(got, c.m); quality < 95 && change > 42 || quality == 100 && change < 30 {
				t.Errorf("%d x %d at quality %d: %.1f dB from the picture", c.m.W, c.m.H, quality, change)
			}
		}
	}
}

// psnr is the peak signal to noise ratio in decibels.
func psnr(a, b *Image) float64 {
	sum := 0.0
	for i, v := range a.Pix {
		d := float64(v) - float64(b.Pix[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a.Pix))/sum)
}

// TestDCT compares with the definition (T.81, A.3.3) in float64.
func TestDCT(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b, back dctBlock
		for i := range b {
			b[i] = int32(rapid.IntRange(-128, 127).Draw(t, "sample"))
		}
		samples := b
		b.forward()
		for v := range 8 {
			for u := range 8 {
				want := 0.0
				for y := range 8 {
					for x := range 8 {
						want += float64(samples[8*y+x]) * math.Cos(float64((2*x+1)*u)*math.Pi/16) * math.Cos(float64((2*y+1)*v)*math.Pi/16) / 4
					}
				}
				for _, k := range []int{u, v} {
					if k == 0 {
						want /= math.Sqrt2
					}
				}
				if got := float64(b[8*v+u]) / 8; math.Abs(got-want) > 0.35 {
					t.Fatalf("coefficient %d, %d is %v, want %v", u, v, got, want)
				}
				back[8*v+u] = int32(math.Round(want))
			}
		}
		back.inverse()
		for i, v := range samples {
			if d := back[i] - v; d < -2 || d > 2 {
				t.Fatalf("sample %d was %d and is %d", i, v, back[i])
			}
		}
	})
}

func TestQuantiser(t *testing.T) {
	for quality := 1; quality <= 100; quality++ {
		for _, table := range []*[64]uint8{&lumaTable, &chromaTable} {
			q := newQuantiser(table, quality)
			for c := int32(-8300); c <= 8300; c += 7 {
				b := dctBlock{}
				for i := range b {
					b[i] = c
				}
				q.round(&b)
				for i, v := range b {
					step := float64(q.step[i])
					if want := int32(math.Round(float64(c)/8/step) * step); v != want {
						t.Fatalf("quality %d: %v/8 in steps of %v is %v, want %v", quality, c, step, v, want)
					}
				}
			}
		}
	}
}

func TestRandomErasing(t *testing.T) {
	m := NewImage(60, 50) // black: what is erased is hardly ever
	s := RandomErasing{Probability: 0.5, Scale: [2]float64{0.1, 0.3}, Ratio: [2]float64{0.5, 2}}
	erased, sum, samples := 0, 0.0, 0
	for epoch := range 400 {
		out := apply(t, m, Key{Epoch: epoch}, s)
		x0, y0, x1, y1, n := 60, 50, -1, -1, 0
		for i := range 60 * 50 {
			if p := out.Pix[3*i : 3*i+3]; slices.Max(p) > 0 {
				x0, y0, x1, y1, n = min(x0, i%60), min(y0, i/60), max(x1, i%60), max(y1, i/60), n+1
				sum += float64(p[0]) + float64(p[1]) + float64(p[2])
			}
		}
		if n == 0 {
			continue
		}
		w, h := float64(x1-x0+1), float64(y1-y0+1)
		erased++
		samples += 3 * n
		if share := w * h / (60 * 50); float64(n) < 0.99*w*h || share < 0.09 || share > 0.32 || w/h < 0.45 || w/h > 2.2 {
			t.Fatalf("epoch %d: %d pixels of %v x %v are erased", epoch, n, w, h)
		}
	}
	if mean := sum / float64(samples); erased < 160 || erased > 240 || mean < 126 || mean > 129 {
		t.Errorf("%d of 400 are erased, with a mean of %.1f; want about half, and 127.5", erased, mean)
	}
	wide := RandomErasing{Probability: 1, Scale: [2]float64{0.9, 0.9}, Ratio: [2]float64{10, 10}}
	if out := apply(t, m, Key{}, wide); !slices.Equal(out.Pix, m.Pix) {
		t.Error("a rectangle that does not fit erased something")
	}
}

// randomSteps are steps that leave the size alone and act with a probability of p.
func randomSteps(p float64) []Step {
	return []Step{
		RandomZoomOut{[2]float64{1, 16}, p}, HorizontalFlip{p}, RandomRotation{180 * p}, RandomPerspective{0.6, p}, ColorJitter{1, 1, 1, 0.5},
		RandomGrayscale{p}, GaussianBlur{[2]float64{0.01, 10}, p}, JPEG{[2]int{1, 100}, p}, RandomErasing{p, [2]float64{0.01, 1}, [2]float64{0.1, 10}},
	}
}

// TestAnySize runs the steps on pictures of any size, alone and together.
func TestAnySize(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := noise(rapid.IntRange(1, 40).Draw(rt, "w"), rapid.IntRange(1, 40).Draw(rt, "h"))
		key := Key{Seed: rapid.Uint64().Draw(rt, "seed"), Epoch: rapid.IntRange(0, 9).Draw(rt, "epoch")}
		all := rapid.Permutation(randomSteps(rapid.Float64Range(0.01, 1).Draw(rt, "probability"))).Draw(rt, "steps")
		for _, l := range append([][]Step{all}, slices.Collect(slices.Chunk(all, 1))...) {
			a, b := apply(t, m, key, l...), apply(t, m, key, l...)
			if a.W != m.W || a.H != m.H {
				rt.Fatalf("%v: %d x %d became %d x %d", l, m.W, m.H, a.W, a.H)
			}
			if !slices.Equal(a.Pix, b.Pix) {
				rt.Fatalf("%v: the same key gave different pixels", l)
			}
		}
		if out := apply(t, m, scoring, all...); !slices.Equal(out.Pix, m.Pix) {
			rt.Fatal("scoring changes the picture")
		}
	})
}

func TestProbability(t *testing.T) {
	m := noise(16, 16)
	for _, s := range randomSteps(0.25) {
		switch s.(type) {
		case RandomRotation, ColorJitter: // which always act
			continue
		}
		n := 0
		for epoch := range 1000 {
			if !bytes.Equal(apply(t, m, Key{Epoch: epoch}, s).Pix, m.Pix) {
				n++
			}
		}
		if n < 190 || n > 310 { // four standard deviations; some draws change nothing
			t.Errorf("%s acts in %d of 1000 epochs, want about 250", s.Name(), n)
		}
	}
}
