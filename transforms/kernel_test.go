package transforms

import (
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// levels are those that this processor has.
var levels = func() []string {
	all := []string{"generic", "avx2", "avx512"}
	return all[:slices.Index(all, level)+1]
}()

// each runs f on every level.
func each(t *testing.T, f func(t *testing.T)) {
	best := level
	defer func() { level = best }()
	for _, l := range levels {
		t.Run(l, func(t *testing.T) {
			level = l
			f(t)
		})
	}
}

// guarded is n bytes whose neighbours no kernel may write.
func guarded[T uint8 | int16 | float32](n int) (s []T, check func(t *testing.T)) {
	all := make([]T, n+64)
	for i := range all {
		all[i] = 77
	}
	return all[:n:n], func(t *testing.T) {
		t.Helper()
		for i, v := range all[n:] {
			if v != 77 {
				t.Fatalf("sample %d after the end was written", i)
			}
		}
	}
}

func TestColumns(t *testing.T) {
	each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, width := range []int{1, 7, 8, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 127, 128, 129, 360} {
			for n := 1; n <= 9; n++ {
				stride := width + r.IntN(3)
				src := make([]uint8, (n-1)*stride+width) // not a byte more than there may be
				for i := range src {
					src[i] = uint8(r.Uint32()) | uint8(-r.IntN(2))
				}
				weights := make([]int16, (n+1)&^1)
				left := unit
				for i := range n {
					weights[i] = int16(r.IntN(left + 1))
					if i == n-1 {
						weights[i] = int16(left)
					}
					left -= int(weights[i])
				}
				got, check := guarded[int16](width)
				columns(got, src, stride, n, weights)
				check(t)
				for x, v := range got {
					sum := 64
					for i := range n {
						sum += int(weights[i]) * int(src[i*stride+x])
					}
					if int(v) != sum>>7 {
						t.Fatalf("width %d, %d rows: column %d is %d, want %d", width, n, x, v, sum>>7)
					}
				}
			}
		}
	})
}

func TestAlong(t *testing.T) {
	each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for range 300 {
			hi := 1 + r.IntN(700)
			lo := r.IntN(hi)
			a := axis{lo: lo, hi: hi, sub: 1 << r.IntN(3), n: 1 + r.IntN(300), mirror: r.IntN(2) == 0}
			a.out0 = r.IntN(a.n)
			a.out1 = a.out0 + 1 + r.IntN(a.n-a.out0)
			var f taps
			f.set(a, 4)
			row := make([]int16, f.width()+overrun)
			for i := range row {
				row[i] = int16(r.IntN(255<<7 + 1))
				if i >= f.width() {
					row[i] = 32767 // is multiplied by 0
				}
			}
			got, check := guarded[int16]((len(f.first) + block - 1) / block * block)
			along(got, row, &f)
			check(t)
			for i := range f.first {
				sum, total := unit/2, 0
				for k := range f.n {
					w := int(f.weights[i*f.padded+k])
					if w < 0 {
						t.Fatalf("%+v: a weight of %d", a, w)
					}
					sum += w * int(row[int(f.first[i])-f.lo+k])
					total += w
				}
				if int(got[i]) != sum>>14 || total != unit {
					t.Fatalf("%+v: output %d is %d, want %d; weights add up to %d", a, i, got[i], sum>>14, total)
				}
			}
		}
	})
}

// TestTaps compares the filters with the formula in floating point.
func TestTaps(t *testing.T) {
	for _, a := range []axis{
		{0, 500, 1, 256, 0, 256, false}, {3, 490, 2, 256, 16, 240, false}, {7, 4000, 8, 256, 0, 256, true}, {0, 9, 1, 300, 0, 300, false},
		{0, 65535, 1, 2, 0, 2, false}, {65534, 65535, 1, 4096, 0, 4096, false}, {0, 65535, 1, 65535 * 4096, 1 << 20, 1<<20 + 50, false}, {5, 6, 32, 1, 0, 1, false},
	} {
		var f taps
		f.set(a, 2)
		for i, first := range f.first {
			out := a.out0 + i
			if a.mirror {
				out = a.out1 - 1 - i
			}
			scale := float64(a.hi-a.lo) / float64(a.n*a.sub)
			center, support := float64(a.lo)/float64(a.sub)+(float64(out)+0.5)*scale, max(scale, 1)
			exact, total := make([]float64, f.n), 0.0
			for k := range exact {
				exact[k] = max(1-math.Abs((float64(int(first)+k)+0.5-center)/support), 0)
				total += exact[k]
			}
			for x := a.lo / a.sub; x < (a.hi+a.sub-1)/a.sub; x++ { // nothing outside is left out
				if w := 1 - math.Abs((float64(x)+0.5-center)/support); w > 1e-5 && (x < int(first) || x >= int(first)+f.n) {
					t.Fatalf("%+v: output %d leaves out sample %d of weight %v", a, i, x, w)
				}
			}
			for k, w := range exact {
				if got := float64(f.weights[i*f.padded+k]) / unit; math.Abs(got-w/total) > 1.5/unit {
					t.Fatalf("%+v: output %d: weight %d is %v, want %v", a, i, k, got, w/total)
				}
			}
		}
	}
}

// TestColours holds the conversion to the formula of JFIF 1.02 in floating point, for every colour there is on a grid.
func TestColours(t *testing.T) {
	var y, cb, cr []int16
	for i := 0; i < 52; i++ {
		for j := 0; j < 52; j++ {
			for k := 0; k < 52; k++ {
				y, cb, cr = append(y, int16(i*5<<7)), append(cb, int16(j*5<<7)), append(cr, int16(k*5<<7))
			}
		}
	}
	for len(y)%block > 0 {
		y, cb, cr = append(y, 9<<7), append(cb, 127), append(cr, 255<<7)
	}
	each(t, func(t *testing.T) {
		rgb, check := guarded[uint8](3 * len(y))
		fromYCbCr(rgb, y, cb, cr)
		check(t)
		for i := range y {
			l, b, r := float64(y[i])/128, float64(cb[i])/128-128, float64(cr[i])/128-128
			for c, want := range []float64{l + 1.402*r, l - 0.344136*b - 0.714136*r, l + 1.772*b} {
				want = min(max(want, 0), 255)
				if got := float64(rgb[3*i+c]); math.Abs(got-want) > 0.52 {
					t.Fatalf("%v %v %v: channel %d is %v, want %.2f", l, b, r, c, got, want)
				}
			}
		}
		fromRGB(rgb, y, cb, cr)
		check(t)
		for i := range y {
			for c, v := range []int16{y[i], cb[i], cr[i]} {
				if want := uint8(min((int(v)+64)>>7, 255)); rgb[3*i+c] != want {
					t.Fatalf("channel %d of %d became %d, want %d", c, v, rgb[3*i+c], want)
				}
			}
		}
	})
}

func TestNormaliseLevels(t *testing.T) {
	s := Normalise{Mean: [3]float64{123.675, 116.28, 103.53}, Std: [3]float64{58.395, 57.12, 57.375}}
	each(t, func(t *testing.T) {
		for pixels := range 70 {
			src := make([]uint8, 3*pixels)
			for i := range src {
				src[i] = uint8(i * 37)
			}
			got, check := guarded[float32](len(src))
			normalise(got, src, s.normal())
			check(t)
			for i, v := range src {
				if want := (float64(v) - s.Mean[i%3]) / s.Std[i%3]; math.Abs(float64(got[i])-want) > 1e-6 {
					t.Fatalf("%d pixels: number %d is %v, want %v", pixels, i, got[i], want)
				}
			}
		}
	})
}

// random draws a geometry.
func random(r *rand.Rand, stored image.Point, scale int) geometry {
	x, y := r.IntN(stored.X), r.IntN(stored.Y)
	g := geometry{
		window:  image.Rect(x, y, x+1+r.IntN(stored.X-x), y+1+r.IntN(stored.Y-y)),
		to:      image.Pt(1+r.IntN(90), 1+r.IntN(90)),
		mirrorX: r.IntN(2) == 0, mirrorY: r.IntN(2) == 0, scale: scale,
	}
	x, y = r.IntN(g.to.X), r.IntN(g.to.Y)
	g.cut = image.Rect(x, y, x+1+r.IntN(g.to.X-x), y+1+r.IntN(g.to.Y-y))
	return g
}

// sources are pictures of each kind that resample takes, of which it sees one sample for scale x scale pixels of the stored
// size, and no more than region needs.
func sources(r *rand.Rand, stored image.Point, scale int, region image.Rectangle) []image.Image {
	region = region.Intersect(image.Rectangle{Max: stored})
	b := image.Rect(region.Min.X/scale, region.Min.Y/scale, (region.Max.X+scale-1)/scale, (region.Max.Y+scale-1)/scale)
	fill := func(p []uint8) {
		for i := range p {
			p[i] = uint8(r.Uint32())
		}
	}
	grey, cmyk := image.NewGray(b), image.NewCMYK(b)
	fill(grey.Pix)
	fill(cmyk.Pix)
	all := []image.Image{grey, cmyk}
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		m := image.NewYCbCr(b, ratio)
		fill(m.Y)
		fill(m.Cb)
		fill(m.Cr)
		all = append(all, m)
	}
	if scale == 1 {
		m := NewImage(stored.X, stored.Y)
		fill(m.Pix)
		all = append(all, m)
	}
	return all
}

// TestResampleLevels compares whole resizes in assembly and in Go, bit for bit, of pictures that have no more than they say
// they need.
func TestResampleLevels(t *testing.T) {
	best := level
	defer func() { level = best }()
	r := rand.New(rand.NewPCG(5, 6))
	for range 150 {
		stored, scale := image.Pt(1+r.IntN(400), 1+r.IntN(300)), 1<<r.IntN(4)
		g := random(r, stored, scale)
		for _, src := range sources(r, stored, scale, g.reach(image.Pt(4, 4).Mul(scale))) {
			level = "generic"
			want := resampled(src, g)
			for _, level = range levels[1:] {
				if got := resampled(src, g); !slices.Equal(got.Pix, want.Pix) {
					t.Fatalf("%s: %T of %v, %+v: not as in Go", level, src, stored, g)
				}
			}
		}
	}
}

// TestExactness holds resizes to the same filter in floating point, on the samples there are.
func TestExactness(t *testing.T) {
	exact := func(src []float64, w, h int, g geometry) []float64 { // of a plane
		weights := func(a axis, out int) []float64 {
			lo, hi := a.lo/a.sub, (a.hi+a.sub-1)/a.sub
			scale := float64(a.hi-a.lo) / float64(a.n*a.sub)
			center, support := float64(a.lo)/float64(a.sub)+(float64(out)+0.5)*scale, max(scale, 1)
			k, sum := make([]float64, hi), 0.0
			for x := lo; x < hi; x++ {
				k[x] = max(1-math.Abs((float64(x)+0.5-center)/support), 0)
				sum += k[x]
			}
			for x := range k {
				k[x] /= sum
			}
			return k
		}
		rows := make([]float64, g.to.Y*w)
		for y := range g.to.Y {
			for sy, k := range weights(g.axisY(1), y) {
				for x := range w {
					rows[y*w+x] += k * src[sy*w+x]
				}
			}
		}
		out := make([]float64, g.to.Y*g.to.X)
		for x := range g.to.X {
			k := weights(g.axisX(1), x)
			for y := range g.to.Y {
				for sx, k := range k {
					out[y*g.to.X+x] += k * rows[y*w+sx]
				}
			}
		}
		return out
	}
	for _, test := range []struct{ size, to image.Point }{{image.Pt(500, 333), image.Pt(256, 170)}, {image.Pt(300, 200), image.Pt(40, 30)}, {image.Pt(31, 40), image.Pt(90, 100)}} {
		w, h := test.size.X, test.size.Y
		src := image.NewYCbCr(image.Rectangle{Max: test.size}, image.YCbCrSubsampleRatio444)
		p := smooth(w, h)
		r := rand.New(rand.NewPCG(7, 8))
		planes := [3][]float64{make([]float64, w*h), make([]float64, w*h), make([]float64, w*h)}
		for i := range src.Y { // texture in all planes, within the cube
			src.Y[i], src.Cb[i], src.Cr[i] = p.Pix[3*i]/2+64+uint8(r.IntN(20)), 108+uint8(r.IntN(40)), 108+p.Pix[3*i+1]/8
			planes[0][i], planes[1][i], planes[2][i] = float64(src.Y[i]), float64(src.Cb[i]), float64(src.Cr[i])
		}
		g := geometry{window: src.Rect, to: test.to, cut: image.Rectangle{Max: test.to}, scale: 1}
		for c := range planes {
			planes[c] = exact(planes[c], w, h, g)
		}
		got, sum := resampled(src, g), 0.0
		for i := range planes[0] {
			y, cb, cr := planes[0][i], planes[1][i]-128, planes[2][i]-128
			for c, want := range []float64{y + 1.402*cr, y - 0.344136*cb - 0.714136*cr, y + 1.772*cb} {
				d := float64(got.Pix[3*i+c]) - want
				sum += d * d
			}
		}
		// Rounding to 8 bits alone leaves 58.9 dB.
		if psnr := 10 * math.Log10(255*255*float64(len(got.Pix))/sum); psnr < 58.5 {
			t.Errorf("%v to %v: %.2f dB", test.size, test.to, psnr)
		}
	}
}

func BenchmarkResample(b *testing.B) {
	for _, bench := range []struct {
		name   string
		src    image.Image
		scaled int
	}{
		{"half of 1100x825", image.NewYCbCr(image.Rect(0, 0, 550, 413), image.YCbCrSubsampleRatio444), 2},
		{"500x375", image.NewYCbCr(image.Rect(0, 0, 500, 375), image.YCbCrSubsampleRatio420), 1},
		{"RGB 1100x825", NewImage(1100, 825), 1},
	} {
		size := bench.src.Bounds().Size().Mul(bench.scaled)
		to := image.Pt(341, 256)
		g := geometry{window: image.Rectangle{Max: size}, to: to, cut: image.Rect(58, 16, 282, 240), scale: bench.scaled}
		dst, s := make([]float32, 3*224*224), Normalise{Std: [3]float64{1, 1, 1}}.normal()
		best := level
		for _, level = range levels {
			b.Run(bench.name+"/"+level, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					resample(bench.src, g, func(y int, rgb []uint8) { normalise(dst[y*3*224:], rgb, s) })
				}
			})
		}
		level = best
	}
}
