package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Every height and width of a tile, tails and all three levels of loops, against the plainest sum.
func TestOuter(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
			draw := func(name string, from, to int) int { return rapid.IntRange(from, to).Draw(rt, name) }
			o := outer{m: draw("m", 1, 2*tallest()+3), cols: draw("cols", 1, outerWidth()), height: draw("height", 1, tallest()),
				images: draw("images", 0, 3), rows: draw("rows", 0, 3), run: draw("run", 0, 5), add: draw("add", 0, 1)}
			tiles := (o.m + o.height - 1) / o.height
			width := roundUp(o.cols, lanes())
			o.aStep, o.bStep = o.height+draw("a gap", 0, 3), width+draw("b gap", 0, 3)
			o.aRow, o.bRow = o.aStep*o.run, o.bStep*(o.run+draw("row gap", 0, 2))
			o.aImage, o.bImage = o.aRow*o.rows, o.bRow*o.rows
			o.at = o.aImage*o.images + o.height
			o.cs = o.cols + draw("c gap", 0, 3)
			o.a0, o.b0, o.c0 = draw("a0", 0, 3), draw("b0", 0, 3), draw("c0", 0, 3)
			o.a, o.b, o.c = random(r, o.a0+o.at*tiles+o.aStep), random(r, o.b0+o.bImage*o.images+o.bStep), random(r, o.c0+o.cs*o.m)
			before := slices.Clone(o.c)
			if o.sum(); rapid.Bool().Draw(rt, "by tiles") {
				o.c = slices.Clone(before)
				o.sumTiles()
			}
			for i, got := range o.c {
				at := i - o.c0
				y, x := at/o.cs, at%o.cs
				if at < 0 || y >= o.m || x >= o.cols {
					if got != before[i] {
						rt.Fatalf("value %d beside the tile was written", i)
					}
					continue
				}
				want, size := 0.0, 1.0
				if o.add != 0 {
					want = float64(before[i])
				}
				for p := range o.images {
					for row := range o.rows {
						for k := range o.run {
							v := float64(o.a[o.a0+y/o.height*o.at+y%o.height+p*o.aImage+row*o.aRow+k*o.aStep]) *
								float64(o.b[o.b0+p*o.bImage+row*o.bRow+k*o.bStep+x])
							want += v
							size += math.Abs(v)
						}
					}
				}
				if d := math.Abs(float64(got) - want); !(d <= size*0x1p-20) {
					rt.Fatalf("row %d, column %d is %v; want %v", y, x, got, want)
				}
			}
		})
	})
}

// What Go does with rows and with the solvers' values, every level does to the bit. All tails come up.
func TestRowsAgreeWithGo(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(21, 22))
		nan := float32(math.NaN())
		outputs := []float32{-7, -0.5, 0, 0.5, 5.5, 6, 6.5, nan}
		for cols := 1; cols < 150; cols += 1 + cols/40 {
			const rows = 5
			stride := cols + cols%3
			n := rows * stride
			src, y := random(r, n), make([]float32, n)
			for i := range y {
				y[i] = outputs[r.IntN(len(outputs))]
			}
			for _, pad := range []bool{false, true} {
				ds := cols + 2
				if pad {
					ds = roundUp(cols, lanes())
				}
				got, want := dirty(rows*ds), dirty(rows*ds)
				copyRows(got, src, rows, cols, ds, stride, pad)
				copyRowsGeneric(want, src, rows, cols, ds, stride, pad)
				if !equalBits(got, want) {
					t.Fatalf("copies of %d columns differ, padded %v", cols, pad)
				}
			}
			for act := Linear; act <= ReLU6; act++ {
				got, want, start := slices.Clone(src), slices.Clone(src), random(r, cols)
				sum, wantSum := slices.Clone(start), slices.Clone(start)
				gradRows(got, y, sum, rows, cols, stride, act)
				gradRowsGeneric(want, y, wantSum, rows, cols, stride, act)
				if !equalBits(got, want) || !equalBits(sum, wantSum) {
					t.Fatalf("gradients of %d columns differ, activation %d", cols, act)
				}
			}
			if cols%lanes() == 0 {
				const tiles, plane = 3, 3*160 + 5
				got, want := dirty(places*plane), dirty(places*plane)
				pixels := random(r, 4*tiles*cols+2)
				tilesGrad(got, pixels, tiles, cols, 2*tiles*cols+2, plane)
				tilesGradGeneric(want, pixels, tiles, cols, 2*tiles*cols+2, plane)
				if !equalBits(got, want) {
					t.Fatalf("tiles of %d gradients differ", cols)
				}
			}
			u := random(r, places*(cols+1))
			dw, wantDW := dirty(9*cols), dirty(9*cols)
			tilesBack(dw, u, cols, cols, cols+1)
			tilesBackGeneric(wantDW, u, cols, cols, cols+1)
			if !equalBits(dw, wantDW) {
				t.Fatalf("windows of %d channels differ", cols)
			}
			w, g, m, v := random(r, cols), random(r, cols), random(r, cols), random(r, cols)
			for i := range v {
				v[i] *= v[i]
			}
			s := &AdamWStep{0.9, 0.1, 0.999, 0.001, 0.99, 0.02, 1.5, 1e-8}
			for name, f := range map[string][2]func(w, g, m, v []float32){
				"sgd": {func(w, g, m, v []float32) { SGD(w, g, 0.1, 0.01) }, func(w, g, m, v []float32) { sgdGeneric(w, g, 0.1, 0.01) }},
				"momentum": {func(w, g, m, v []float32) { Momentum(w, g, m, 0.1, 0.01, 0.9, false) },
					func(w, g, m, v []float32) { momentumGeneric(w, g, m, 0.1, 0.01, 0.9, false) }},
				"nesterov": {func(w, g, m, v []float32) { Momentum(w, g, m, 0.1, 0.01, 0.9, true) },
					func(w, g, m, v []float32) { momentumGeneric(w, g, m, 0.1, 0.01, 0.9, true) }},
				"adamw": {func(w, g, m, v []float32) { AdamW(w, g, m, v, s) }, func(w, g, m, v []float32) { adamWGeneric(w, g, m, v, s) }},
			} {
				var out [2][]float32
				for k := range out {
					w, m, v := slices.Clone(w), slices.Clone(m), slices.Clone(v)
					f[k](w, g, m, v)
					out[k] = slices.Concat(w, m, v)
				}
				if !equalBits(out[0], out[1]) {
					t.Fatalf("%s: %d values differ", name, cols)
				}
			}
		}
	})
}

// Layers wide enough that blocks, parts and strips are many, against the generic level.
func TestWideGradients(t *testing.T) {
	best := level
	defer func() { level = best }()
	for _, tt := range []struct {
		n int
		s Shape
	}{
		{20, shape(7, 7, 128, 70, 3, 1, 1)}, {3, shape(28, 28, 64, 64, 3, 1, 1)}, {2, shape(30, 30, 48, 64, 1, 2, 0)},
		{2, shape(40, 40, 24, 144, 1, 1, 0)}, {2, shape(40, 40, 144, 24, 1, 1, 0)}, {1, same(90, 90, 3, 32, 3, 2)},
	} {
		c := newConvCase(rand.New(rand.NewPCG(1, 2)), tt.n, tt.s)
		var want []float32
		for _, l := range levels(best) {
			level = l
			dw := dirty(len(c.w))
			ConvGradWeights(dw, nil, c.ddst, c.src, tt.n, tt.s, dirty(ConvGradWeightsScratch(tt.s)))
			if l == generic {
				want = dw
				continue
			}
			for i, v := range dw {
				if d := math.Abs(float64(v - want[i])); !(d <= 1e-5*math.Sqrt(float64(tt.n*tt.s.OutH*tt.s.OutW))*10) {
					t.Fatalf("%v, %s: value %d is %v; generic gives %v", tt.s, names[l], i, v, want[i])
				}
			}
		}
	}
}

// ConvGrad and its kin give what their parts give, from gradients after the activation, in stripes as well.
func TestGradientsTogether(t *testing.T) {
	shapes := append(convShapes[:len(convShapes):len(convShapes)],
		convShape{"3x3 by winograd, odd sizes", shape(13, 15, 33, 35, 3, 1, 1)},
		convShape{"3x3 by winograd, many tiles", shape(30, 26, 32, 32, 3, 1, 0)},
		convShape{"5x5 by winograd", shape(16, 17, 34, 37, 5, 1, 0)},
		convShape{"5x5 by winograd, padded", shape(13, 14, 48, 33, 5, 1, 2)})
	for k, tt := range shapes {
		const n, left, right = 3, 2, 3
		s, r, act := tt.s, rand.New(rand.NewPCG(23, 24)), Act(k%3)
		c := newConvCase(r, n, s)
		y := random(r, len(c.ddst))
		for i := range y {
			y[i] = max(min(4*y[i], 6), 0)
		}
		before := slices.Clone(c.ddst)
		ActGrad(before, y, act)
		ref := convReference(c.src, c.w, c.bias, before, n, s, false, Linear)

		d := s
		d.OutC = d.C
		w, dd, dy := random(r, d.Kernel*d.run()), random(r, n*d.out()), random(r, n*d.out())
		before = slices.Clone(dd)
		ActGrad(before, dy, act)
		depthwise := convReference(c.src, w, make([]float32, d.C), before, n, d, true, Linear)

		forLevels(t, func(t *testing.T) {
			packed := PackConvGrad(c.w, s)
			for _, pitch := range []int{0, left + s.OutC + right} {
				wide := s
				wide.Pitch = pitch
				ddst, dst := slices.Clone(c.ddst), y
				if pitch != 0 {
					pixels := n * s.OutH * s.OutW
					ddst, dst = dirty(pixels*pitch), dirty(pixels*pitch)
					copyRows(ddst[left:], c.ddst, pixels, s.OutC, pitch, s.OutC, false)
					copyRows(dst[left:], y, pixels, s.OutC, pitch, s.OutC, false)
					ddst, dst = ddst[left:], dst[left:]
				}
				again := slices.Clone(ddst)
				dsrc, dw, db := dirty(n*s.in()), dirty(len(c.w)), dirty(s.OutC)
				ConvGrad(dsrc, dw, db, ddst, dst, c.src, n, packed, wide, act, dirty(ConvGradScratch(wide)))
				near(t, tt.why+": dsrc", dsrc, ref.dsrc)
				near(t, tt.why+": dw", dw, ref.dw)
				near(t, tt.why+": db", db, ref.db)
				alone := dirty(n * s.in())
				ConvGrad(alone, nil, nil, again, dst, c.src, n, packed, wide, act, dirty(ConvGradScratch(wide)))
				if !equalBits(alone, dsrc) {
					t.Fatalf("%s: the gradient of the input depends on whether that of the weights is wanted", tt.why)
				}
			}
			dsrc, dw, db := dirty(n*d.in()), dirty(len(w)), dirty(d.C)
			ddst, again := slices.Clone(dd), slices.Clone(dd)
			DepthwiseGrad(dsrc, dw, db, ddst, dy, c.src, w, n, d, act)
			near(t, tt.why+": depthwise dsrc", dsrc, depthwise.dsrc)
			near(t, tt.why+": depthwise dw", dw, depthwise.dw)
			near(t, tt.why+": depthwise db", db, depthwise.db)
			alone := dirty(len(dsrc))
			DepthwiseGrad(alone, nil, nil, again, dy, c.src, w, n, d, act)
			if !equalBits(alone, dsrc) {
				t.Fatalf("%s: the gradient of a depthwise input depends on whether that of the weights is wanted", tt.why)
			}
		})
	}
}

// A dense layer's gradients in parts are those of the whole.
func TestDenseBatch(t *testing.T) {
	forLevels(t, func(t *testing.T) {
		for _, tt := range []struct{ most, rows, out, in int }{
			{1, 1, 1, 1}, {7, 5, 3, 40}, {13, 13, denseOutputs + 5, 35}, {3, 2, 9, denseInputs + 17}, {40, 40, 2*denseOutputs + 1, denseInputs + 1},
		} {
			s := shape(1, 1, tt.in, tt.out, 1, 1, 0)
			c := newConvCase(rand.New(rand.NewPCG(25, 26)), tt.rows, s)
			y := random(rand.New(rand.NewPCG(27, 28)), len(c.ddst))
			before := slices.Clone(c.ddst)
			ActGrad(before, y, ReLU)
			ref := convReference(c.src, c.w, c.bias, before, tt.rows, s, false, Linear)
			d := NewDenseBatch(tt.most, tt.out, tt.in, ReLU, false)
			for range 2 {
				db := d.Begin(c.ddst, y, tt.rows)
				near(t, "db", db, ref.db)
				dsrc, dw, scratch := dirty(len(c.src)), dirty(len(c.w)), dirty(DenseBatchScratch(tt.most))
				for k := range d.Parts() {
					d.Part(k, dsrc, c.src, c.w, func(first int, g []float32) { copy(dw[first:], g) }, scratch)
				}
				near(t, "dsrc", dsrc, ref.dsrc)
				near(t, "dw", dw, ref.dw)
			}
		}
	})
}
