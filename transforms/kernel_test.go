package transforms

import (
	"image"
	"math"
	"math/bits"
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
					weights[i] = int16(r.IntN(left+1) - r.IntN(4)/3*500)
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
					if want := min(max(sum>>7, math.MinInt16), math.MaxInt16); int(v) != want {
						t.Fatalf("width %d, %d rows: column %d is %d, want %d", width, n, x, v, want)
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
			a := axis{lo: lo, hi: hi, n: 1 + r.IntN(300), mirror: r.IntN(2) == 0}
			a = a.of(1<<r.IntN(4), 1<<r.IntN(3))
			a.out0 = r.IntN(a.n)
			a.out1 = a.out0 + 1 + r.IntN(a.n-a.out0)
			var f taps
			f.set(a, 4)
			row := make([]int16, f.width()+overrun)
			for i := range row {
				row[i] = int16(r.IntN(40000) - 7233)
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
					if w < 0 && a.sub == a.stored {
						t.Fatalf("%+v: a weight of %d", a, w)
					}
					sum += w * int(row[int(f.first[i])-f.lo+k])
					total += w
				}
				if want := min(max(sum>>14, 0), 255<<7); int(got[i]) != want || total != unit {
					t.Fatalf("%+v: output %d is %d, want %d; weights add up to %d", a, i, got[i], want, total)
				}
			}
		}
	})
}

// TestTaps compares the filters with the formula in floating point.
func TestTaps(t *testing.T) {
	for _, a := range []axis{
		{lo: 0, hi: 500, n: 256, out1: 256, sub: 1, stored: 1},
		{lo: 3, hi: 490, n: 256, out0: 16, out1: 240, sub: 2, stored: 1},
		{lo: 3, hi: 490, n: 256, out0: 16, out1: 240, sub: 2, stored: 2},
		{lo: 7, hi: 4000, n: 256, out1: 256, mirror: true, sub: 8, stored: 2},
		{lo: 0, hi: 9, n: 300, out1: 300, sub: 1, stored: 1},
		{lo: 0, hi: 65535, n: 2, out1: 2, sub: 1, stored: 1},
		{lo: 65534, hi: 65535, n: 4096, out1: 4096, sub: 4, stored: 4},
		{lo: 0, hi: 65535, n: 65535 * 4096, out0: 1 << 20, out1: 1<<20 + 50, sub: 1, stored: 1},
		{lo: 5, hi: 6, n: 1, out1: 1, sub: 32, stored: 4},
	} {
		var f taps
		f.set(a, 2)
		for i, first := range f.first {
			out := a.out0 + i
			if a.mirror {
				out = a.out1 - 1 - i
			}
			pixels := float64(a.hi-a.lo) / float64(a.n)
			variance := pixels * pixels / 6
			if a.stored > 1 {
				variance += 3. / 16 * float64(a.stored*a.stored)
			}
			stored := float64(a.stored)
			center, support := (float64(a.lo)+(float64(out)+0.5)*pixels)/stored, max(math.Sqrt(6*variance)/stored, 1)
			from, to, k := a.lo/a.sub, (a.hi+a.sub-1)/a.sub, a.sub/a.stored
			exact, total := make([]float64, to), 0.0
			for x := a.lo / a.stored; x < (a.hi+a.stored-1)/a.stored; x++ {
				w := max(1-math.Abs((float64(x)+0.5-center)/support), 0)
				slope := (float64(x%k)+0.5)/float64(k) - 0.5
				exact[x/k] += w
				exact[min(x/k+1, to-1)] += w * slope * 2 / 3
				exact[max(x/k-1, from)] -= w * slope * 2 / 3
				total += w
			}
			for x, w := range exact {
				got := 0.0
				if k := x - int(first); k >= 0 && k < f.n {
					got = float64(f.weights[i*f.padded+k]) / unit
				}
				if math.Abs(got-w/total) > 1.5/unit+2/float64(2*a.n*a.stored) { // the support is a whole number
					t.Fatalf("%+v: output %d: weight of %d is %v, want %v", a, i, x, got, w/total)
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

// sources calls f with pictures of each kind that resample takes, as a decoder leaves them that was told a geometry's reach
// and scale: with no sample more.
func sources(r *rand.Rand, stored image.Point, g geometry, f func(src image.Image, g geometry)) {
	fill := func(p []uint8) {
		for i := range p {
			p[i] = uint8(r.Uint32()) | uint8(-r.IntN(2)) // much white, so that sums go beyond it
		}
	}
	bounds := func(g geometry) image.Rectangle {
		b := g.reach().Intersect(image.Rectangle{Max: stored})
		return image.Rect(b.Min.X/g.scale, b.Min.Y/g.scale, (b.Max.X+g.scale-1)/g.scale, (b.Max.Y+g.scale-1)/g.scale)
	}
	grey, cmyk := image.NewGray(bounds(g)), image.NewCMYK(bounds(g))
	fill(grey.Pix)
	fill(cmyk.Pix)
	f(grey, g)
	f(cmyk, g)
	for ratio := image.YCbCrSubsampleRatio444; ratio <= image.YCbCrSubsampleRatio410; ratio++ {
		x, y := subsampling(ratio)
		g := g
		g.chroma = image.Pt(x, y).Mul(g.scale)
		if x == 1 { // chroma may have been transformed to more samples
			g.chroma.X = 1 << r.IntN(bits.Len(uint(g.scale)))
		}
		if y == 1 {
			g.chroma.Y = 1 << r.IntN(bits.Len(uint(g.scale)))
		}
		m := image.NewYCbCr(bounds(g), ratio)
		fill(m.Y)
		fill(m.Cb)
		fill(m.Cr)
		f(m, g)
	}
	if g.scale == 1 {
		m := NewImage(stored.X, stored.Y)
		fill(m.Pix)
		f(m, g)
	}
}

// TestResampleLevels compares whole resizes in assembly and in Go, bit for bit, of pictures that have no more than they say
// they need.
func TestResampleLevels(t *testing.T) {
	best := level
	defer func() { level = best }()
	r := rand.New(rand.NewPCG(5, 6))
	for range 150 {
		stored, scale := image.Pt(1+r.IntN(400), 1+r.IntN(300)), 1<<r.IntN(4)
		sources(r, stored, random(r, stored, scale), func(src image.Image, g geometry) {
			level = "generic"
			want := resampled(src, g)
			for _, level = range levels[1:] {
				if got := resampled(src, g); !slices.Equal(got.Pix, want.Pix) {
					t.Fatalf("%s: %T of %v, %+v: not as in Go", level, src, stored, g)
				}
			}
		})
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
			for sy, k := range weights(g.axisY(1, 1), y) {
				for x := range w {
					rows[y*w+x] += k * src[sy*w+x]
				}
			}
		}
		out := make([]float64, g.to.Y*g.to.X)
		for x := range g.to.X {
			k := weights(g.axisX(1, 1), x)
			for y := range g.to.Y {
				for sx, k := range k {
					out[y*g.to.X+x] += k * rows[y*w+sx]
				}
			}
		}
		return out
	}
	for _, test := range []struct{ size, to image.Point }{
		{image.Pt(500, 333), image.Pt(256, 170)},
		{image.Pt(300, 200), image.Pt(40, 30)},
		{image.Pt(31, 40), image.Pt(90, 100)},
	} {
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
