package device_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/logobeam/logobeam/model/device"
	"github.com/logobeam/logobeam/model/device/ptx"
	"github.com/logobeam/logobeam/model/kernel"
)

// The kernels of a GPU run here in the interpreter, and are held against package kernel's.

var module = sync.OnceValues(func() (*ptx.Module, error) { return ptx.Parse(device.PTX) })

func TestPTXIsOfItsSource(t *testing.T) {
	source, err := os.ReadFile("kernels.cu")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("// sha256 of kernels.cu: %x\n", sha256.Sum256(source)); !strings.Contains(device.PTX, want) {
		t.Error("kernels.ptx is not of the kernels.cu beside it: run make ptx")
	}
}

// gpu is a device for one test.
type gpu struct {
	t *testing.T
	device.Driver
}

func newGPU(t *testing.T) gpu {
	t.Helper()
	d := newDriver(t)
	t.Cleanup(func() { d.Close() })
	return gpu{t, d}
}

// values is memory of the device, of so many bytes.
type values[T any] struct {
	g     gpu
	p     device.Ptr
	bytes int
}

// alloc gives memory of which all bytes are 0xff: NaN.
func alloc[T any](g gpu, n int) values[T] {
	d := values[T]{g, 0, binary.Size(*new(T)) * n}
	var err error
	if d.p, err = g.Alloc(d.bytes); err == nil {
		err = g.CopyIn(d.p, bytes.Repeat([]byte{0xff}, d.bytes), 0)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return d
}

func put[T any](g gpu, v []T) values[T] {
	d := alloc[T](g, len(v))
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err == nil {
		err = g.CopyIn(d.p, b, 0)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return d
}

// raw is what is there now.
func (d values[T]) raw() []byte {
	b := make([]byte, d.bytes)
	if err := d.g.CopyOut(b, d.p, 0); err != nil {
		d.g.t.Fatal(err)
	}
	return b
}

func (d values[T]) get() []T {
	v := make([]T, d.bytes/binary.Size(*new(T)))
	binary.Decode(d.raw(), binary.LittleEndian, v)
	return v
}

func (g gpu) launch(name string, grid ptx.Dim, threads int, args ...any) {
	g.t.Helper()
	list := make([]uint64, 0, len(args))
	for _, a := range args {
		switch a := a.(type) {
		case values[float32]:
			list = append(list, uint64(a.p))
		case values[float64]:
			list = append(list, uint64(a.p))
		case values[int64]:
			list = append(list, uint64(a.p))
		case values[byte]:
			list = append(list, uint64(a.p))
		case []uint64:
			list = append(list, a...)
		case float64:
			list = append(list, math.Float64bits(a))
		case int:
			list = append(list, uint64(a))
		case kernel.Act:
			list = append(list, uint64(a))
		case nil:
			list = append(list, 0)
		default:
			g.t.Fatalf("an argument of type %T", a)
		}
	}
	if err := g.Launch(device.Launch{Kernel: name, Grid: [3]int{max(grid.X, 1), max(grid.Y, 1), max(grid.Z, 1)}, Block: [3]int{threads, 1, 1}, Args: list}, 0); err != nil {
		g.t.Fatal(err)
	}
}

func ceil(a, b int) int { return (a + b - 1) / b }

// each launches a kernel with a thread for each of count values.
func (g gpu) each(name string, count int, args ...any) {
	g.t.Helper()
	g.launch(name, ptx.Dim{X: ceil(count, 256)}, 256, args...)
}

// shapeArgs are SHAPE.
func shapeArgs(n int, s kernel.Shape) []uint64 {
	var list []uint64
	for _, v := range []int{n, s.H, s.W, s.C, s.OutH, s.OutW, s.OutC, s.Kernel, s.Stride, s.PadTop, s.PadLeft} {
		list = append(list, uint64(v))
	}
	return list
}

func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func magnitudes(v []float32) []float32 {
	m := make([]float32, len(v))
	for i := range v {
		m[i] = float32(math.Abs(float64(v[i])))
	}
	return m
}

// near fails the test where got and want differ by more than a share of the sum of the magnitudes of what was added.
func near(t *testing.T, what string, got, want, sizes []float32, share float64) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= share*float64(sizes[i])+1e-30) {
			t.Fatalf("%s: value %d is %v; want %v within %.2g", what, i, got[i], want[i], share*float64(sizes[i]))
		}
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s: value %d is %v; want %v", what, i, got[i], want[i])
		}
	}
}

// products are the kinds of products, with the share of the sum of magnitudes that their factors' rounding takes at most: 2^-8 of each
// factor in bfloat16, and of two parts 2^-16 that the second lacks of each, and as much for the product of both seconds.
var products = []struct {
	suffix string
	tile   int
	share  float64
}{
	{"128", 128, 1.01 * 0x1p-7},
	{"64", 64, 1.01 * 0x1p-7},
	{"64x3", 64, 0x1p-14},
}

var convShapes = []struct {
	why string
	n   int
	s   kernel.Shape
}{
	{"one value", 1, kernel.Shape{H: 1, W: 1, C: 1, OutH: 1, OutW: 1, OutC: 1, Kernel: 1, Stride: 1}},
	{"dense", 5, kernel.Shape{H: 1, W: 1, C: 100, OutH: 1, OutW: 1, OutC: 28, Kernel: 1, Stride: 1}},
	{"1x1, several tiles", 3, kernel.Shape{H: 7, W: 9, C: 40, OutH: 7, OutW: 9, OutC: 136, Kernel: 1, Stride: 1}},
	{"1x1, odd channels", 2, kernel.Shape{H: 5, W: 3, C: 17, OutH: 5, OutW: 3, OutC: 67, Kernel: 1, Stride: 1}},
	{"1x1 that skips pixels", 1, kernel.Shape{H: 7, W: 6, C: 8, OutH: 4, OutW: 3, OutC: 12, Kernel: 1, Stride: 2}},
	{"first layer: three channels", 1, kernel.Shape{H: 11, W: 14, C: 3, OutH: 6, OutW: 7, OutC: 32, Kernel: 3, Stride: 2}},
	{"3x3, padded, images in one tile", 3, kernel.Shape{H: 4, W: 5, C: 12, OutH: 4, OutW: 5, OutC: 20, Kernel: 3, Stride: 1, PadTop: 1, PadLeft: 1}},
	{"3x3 stride 2, padded", 2, kernel.Shape{H: 9, W: 8, C: 16, OutH: 5, OutW: 4, OutC: 24, Kernel: 3, Stride: 2, PadTop: 1, PadLeft: 1}},
	{"2x2, uneven padding", 1, kernel.Shape{H: 5, W: 6, C: 6, OutH: 5, OutW: 6, OutC: 7, Kernel: 2, Stride: 1}},
	{"5x5 stride 3, larger than the image", 1, kernel.Shape{H: 4, W: 3, C: 5, OutH: 2, OutW: 1, OutC: 5, Kernel: 5, Stride: 3, PadTop: 2, PadLeft: 1}},
	{"7x7 stride 2, padded: as resnet18 begins", 1, kernel.Shape{H: 12, W: 10, C: 3, OutH: 6, OutW: 5, OutC: 9, Kernel: 7, Stride: 2, PadTop: 3, PadLeft: 3}},
	{"last row and column unread", 1, kernel.Shape{H: 8, W: 6, C: 4, OutH: 3, OutW: 2, OutC: 8, Kernel: 3, Stride: 2}},
	{"stride larger than the kernel", 1, kernel.Shape{H: 8, W: 7, C: 4, OutH: 3, OutW: 3, OutC: 4, Kernel: 2, Stride: 3}},
}

// randomShape is a layer of the kind that the table does not foresee.
func randomShape(r *rand.Rand) (int, kernel.Shape) {
	s := kernel.Shape{H: 1 + r.IntN(9), W: 1 + r.IntN(9), C: 1 + r.IntN(20), OutC: 1 + r.IntN(40), Kernel: 1 + r.IntN(4), Stride: 1 + r.IntN(3)}
	s.PadTop, s.PadLeft = r.IntN(s.Kernel), r.IntN(s.Kernel)
	s.OutH, s.OutW = (s.H+s.PadTop)/s.Stride+1, (s.W+s.PadLeft)/s.Stride+1 // the last windows may hang over, or see nothing
	return 1 + r.IntN(3), s
}

func TestConv(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	shapes := slices.Clone(convShapes)
	for i := range 4 {
		n, s := randomShape(r)
		shapes = append(shapes, convShapes[0])
		last := &shapes[len(shapes)-1]
		last.why, last.n, last.s = fmt.Sprintf("drawn %d: %+v", i, s), n, s
	}
	for i, tt := range shapes {
		t.Run(tt.why, func(t *testing.T) {
			for _, p := range products {
				testConv(t, r, tt.n, tt.s, kernel.Act(i%3), i%4*2, p.suffix, p.tile, p.share)
			}
		})
	}
}

// testConv runs a layer and its gradients. Outputs are a stripe of a tensor that is wider by extra values.
func testConv(t *testing.T, r *rand.Rand, n int, s kernel.Shape, act kernel.Act, extra int, suffix string, tile int, share float64) {
	g := newGPU(t)
	pixels, inputs := n*s.OutH*s.OutW, n*s.H*s.W*s.C
	taps := s.Kernel * s.Kernel
	pitch := s.OutC + extra
	src, w, bias, ddst := random(r, inputs), random(r, s.OutC*taps*s.C), random(r, s.OutC), random(r, pixels*s.OutC)

	// The twins, on the values and on their magnitudes.
	type results struct{ dst, dsrc, dw, db []float32 }
	twin := func(src, w, bias, ddst []float32, act kernel.Act) results {
		res := results{make([]float32, pixels*s.OutC), make([]float32, inputs), make([]float32, len(w)), make([]float32, s.OutC)}
		kernel.Conv(res.dst, src, n, kernel.PackConv(w, s), bias, s, act, make([]float32, kernel.ConvScratch(s)))
		kernel.ConvGradInput(res.dsrc, ddst, n, kernel.PackConvGrad(w, s), s, make([]float32, kernel.ConvGradInputScratch(s)))
		kernel.ConvGradWeights(res.dw, res.db, ddst, src, n, s, make([]float32, kernel.ConvGradWeightsScratch(s)))
		return res
	}
	want := twin(src, w, bias, ddst, act)
	sizes := twin(magnitudes(src), magnitudes(w), magnitudes(bias), magnitudes(ddst), kernel.Linear)

	striped := func(v []float32) []float32 {
		d := random(r, pixels*pitch)
		for p := range pixels {
			copy(d[p*pitch:], v[p*s.OutC:][:s.OutC])
		}
		return d
	}
	compact := func(v []float32) []float32 {
		var d []float32
		for p := range pixels {
			d = append(d, v[p*pitch:][:s.OutC]...)
		}
		return d
	}
	src2, w2, ddst2 := put(g, src), put(g, w), put(g, striped(ddst))
	before := random(r, pixels*pitch)
	dst := put(g, before)
	g.launch("conv_forward_"+suffix, ptx.Dim{X: ceil(pixels, tile) * ceil(s.OutC, tile)}, 2*tile, dst, src2, w2, put(g, bias), shapeArgs(n, s), pitch, act)
	near(t, suffix+" dst", compact(dst.get()), want.dst, sizes.dst, share)
	for i, v := range dst.get() {
		if i%pitch >= s.OutC && v != before[i] {
			t.Fatalf("%s: value %d, beside the stripe, has been written", suffix, i)
		}
	}
	g.launch("conv_forward_"+suffix, ptx.Dim{X: ceil(pixels, tile) * ceil(s.OutC, tile)}, 2*tile, dst, src2, w2, nil, shapeArgs(n, s), pitch, act)
	kernel.Conv(want.dst, src, n, kernel.PackConv(w, s), nil, s, act, make([]float32, kernel.ConvScratch(s)))
	near(t, suffix+" dst without bias", compact(dst.get()), want.dst, sizes.dst, share)

	grid := ptx.Dim{X: ceil(n*ceil(s.H, s.Stride)*ceil(s.W, s.Stride), tile) * ceil(s.C, tile), Z: s.Stride * s.Stride}
	dsrc := alloc[float32](g, inputs)
	g.launch("conv_data_grad_"+suffix, grid, 2*tile, dsrc, ddst2, w2, shapeArgs(n, s), pitch, 0)
	near(t, suffix+" dsrc", dsrc.get(), want.dsrc, sizes.dsrc, share)
	once := dsrc.get()
	g.launch("conv_data_grad_"+suffix, grid, 2*tile, dsrc, ddst2, w2, shapeArgs(n, s), pitch, 1)
	for i := range once {
		once[i] += once[i]
	}
	same(t, suffix+" dsrc added twice", dsrc.get(), once)

	for _, parts := range []int{1, 3} {
		dw, sum := alloc[float32](g, parts*len(w)), alloc[float32](g, len(w))
		g.launch("conv_weight_grad_"+suffix, ptx.Dim{X: ceil(s.OutC, tile) * ceil(taps*s.C, tile), Z: parts}, 2*tile, dw, ddst2, src2, shapeArgs(n, s), pitch)
		g.each("sum_parts", len(w), sum, dw, parts, len(w))
		near(t, fmt.Sprintf("%s dw in %d parts", suffix, parts), sum.get(), want.dw, sizes.dw, share)
	}
}

// A result is the same bits whatever runs when: there are several orders of blocks in any two runs here.
func TestSameBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := convShapes[2].s
	pixels := 3 * s.OutH * s.OutW
	src, ddst := random(r, 3*s.H*s.W*s.C), random(r, pixels*s.OutC)
	var first []byte
	for range 3 {
		g := newGPU(t)
		dw := alloc[float32](g, 4*s.OutC*s.C)
		g.launch("conv_weight_grad_64", ptx.Dim{X: ceil(s.OutC, 64) * ceil(s.C, 64), Z: 4}, 128, dw, put(g, ddst), put(g, src), shapeArgs(3, s), s.OutC)
		if first == nil {
			first = dw.raw()
		} else if !bytes.Equal(first, dw.raw()) {
			t.Fatal("two runs differ")
		}
	}
}

func TestDepthwise(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	type layer struct {
		n int
		s kernel.Shape
	}
	layers := []layer{
		{2, kernel.Shape{H: 7, W: 9, C: 40, OutH: 7, OutW: 9, Kernel: 3, Stride: 1, PadTop: 1, PadLeft: 1}},
		{1, kernel.Shape{H: 8, W: 6, C: 33, OutH: 4, OutW: 3, Kernel: 3, Stride: 2}},
		{2, kernel.Shape{H: 9, W: 5, C: 8, OutH: 5, OutW: 3, Kernel: 5, Stride: 2, PadTop: 2, PadLeft: 2}},
		{1, kernel.Shape{H: 2, W: 2, C: 3, OutH: 2, OutW: 2, Kernel: 5, Stride: 1, PadTop: 2, PadLeft: 2}},
	}
	for range 4 {
		n, s := randomShape(r)
		layers = append(layers, layer{n, s})
	}
	for i, l := range layers {
		n, s, act := l.n, l.s, kernel.Act(i%3)
		s.OutC = s.C
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			g := newGPU(t)
			taps := s.Kernel * s.Kernel
			pixels, inputs, weights := n*s.OutH*s.OutW, n*s.H*s.W, taps*s.C
			src, w, bias, ddst := random(r, inputs*s.C), random(r, weights), random(r, s.C), random(r, pixels*s.C)
			type results struct{ dst, dsrc, dw []float32 }
			twin := func(src, w, bias, ddst []float32, act kernel.Act) results {
				res := results{make([]float32, pixels*s.C), make([]float32, inputs*s.C), make([]float32, weights)}
				kernel.Depthwise(res.dst, src, n, w, bias, s, act)
				kernel.DepthwiseGradInput(res.dsrc, ddst, w, n, s)
				kernel.DepthwiseGradWeights(res.dw, nil, ddst, src, n, s)
				return res
			}
			want := twin(src, w, bias, ddst, act)
			sizes := twin(magnitudes(src), magnitudes(w), magnitudes(bias), magnitudes(ddst), kernel.Linear)
			dst, dsrc := alloc[float32](g, pixels*s.C), alloc[float32](g, inputs*s.C)
			src2, w2, ddst2 := put(g, src), put(g, w), put(g, ddst)
			g.each("depthwise_forward", pixels*ceil(s.C, 4), dst, src2, w2, put(g, bias), shapeArgs(n, s), act)
			near(t, "dst", dst.get(), want.dst, sizes.dst, 0x1p-20)
			g.each("depthwise_forward", pixels*ceil(s.C, 4), dst, src2, w2, nil, shapeArgs(n, s), act)
			kernel.Depthwise(want.dst, src, n, w, nil, s, act)
			near(t, "dst without bias", dst.get(), want.dst, sizes.dst, 0x1p-20)
			g.each("depthwise_data_grad", inputs*ceil(s.C, 4), dsrc, ddst2, w2, shapeArgs(n, s))
			near(t, "dsrc", dsrc.get(), want.dsrc, sizes.dsrc, 0x1p-20)
			names := []string{"any"}
			if s.Kernel == 3 || s.Kernel == 5 {
				names = append(names, fmt.Sprint(s.Kernel))
			}
			for _, name := range names {
				for _, parts := range []int{1, 3} {
					dw, sum := alloc[float32](g, parts*weights), alloc[float32](g, weights)
					g.launch("depthwise_weight_grad_"+name, ptx.Dim{X: ceil(s.C, 32), Y: parts}, 256, dw, ddst2, src2, shapeArgs(n, s))
					g.each("sum_parts", weights, sum, dw, parts, weights)
					near(t, fmt.Sprintf("dw by %s in %d parts", name, parts), sum.get(), want.dw, sizes.dw, 0x1p-20)
				}
			}
		})
	}
}

// Pools give the twins' bits, and so do their gradients where several values of a window are the largest.
func TestPools(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 12 {
		n, s := randomShape(r)
		s.OutC = s.C
		if i == 0 {
			s = kernel.Shape{H: 9, W: 8, C: 5, OutH: 5, OutW: 4, OutC: 5, Kernel: 3, Stride: 2, PadTop: 1, PadLeft: 1} // resnet18's
		}
		g := newGPU(t)
		outs, ins := n*s.OutH*s.OutW*s.C, n*s.H*s.W*s.C
		src, ddst := random(r, ins), random(r, outs)
		for j := range src {
			src[j] = float32(math.Round(float64(src[j])))
			if i%4 == 3 && j%7 == 0 {
				src[j] = float32(math.NaN())
			}
		}
		want, wantGrad := make([]float32, outs), make([]float32, ins)
		kernel.MaxPool(want, src, n, s)
		kernel.MaxPoolGrad(wantGrad, ddst, src, want, n, s)
		dst, dsrc, src2, ddst2 := alloc[float32](g, outs), alloc[float32](g, ins), put(g, src), put(g, ddst)
		g.each("max_pool", outs, dst, src2, shapeArgs(n, s))
		same(t, fmt.Sprintf("largest of %+v", s), dst.get(), want)
		g.each("max_pool_grad", ins, dsrc, ddst2, src2, dst, shapeArgs(n, s))
		same(t, fmt.Sprintf("gradient of the largest of %+v", s), dsrc.get(), wantGrad)

		pixels := s.H * s.W
		src, ddst = random(r, ins), random(r, n*s.C)
		want, sizes := make([]float32, n*s.C), make([]float32, n*s.C)
		kernel.GlobalAvgPool(want, src, n, pixels, s.C)
		kernel.GlobalAvgPool(sizes, magnitudes(src), n, pixels, s.C)
		kernel.GlobalAvgPoolGrad(wantGrad, ddst, n, pixels, s.C)
		mean := alloc[float32](g, n*s.C)
		g.each("global_avg_pool", n*s.C, mean, put(g, src), n, pixels, s.C)
		near(t, "means", mean.get(), want, sizes, 0x1p-20)
		g.each("global_avg_pool_grad", ins, dsrc, put(g, ddst), n, pixels, s.C)
		same(t, "gradient of means", dsrc.get(), wantGrad)
	}
}

func TestValueByValue(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	g := newGPU(t)
	const n = 700
	a, b := random(r, n), random(r, n)
	for i := range a {
		a[i], b[i] = 4*a[i], 4*b[i]
	}
	a[5] = float32(math.NaN())
	want, got := make([]float32, n), alloc[float32](g, n)
	for act := kernel.Linear; act <= kernel.ReLU6; act++ {
		kernel.Add(want, a, b, act)
		g.each("add", n, got, put(g, a), put(g, b), n, act)
		same(t, "sum", got.get(), want)
	}
	g.each("fill", n, got, n, 2.5)
	if v := got.get(); v[0] != 2.5 || v[n-1] != 2.5 {
		t.Error("fill leaves values out")
	}
	g.each("scale", n, got, n, -0.5)
	if v := got.get(); v[0] != -1.25 || v[n-1] != -1.25 {
		t.Error("scale leaves values out")
	}

	// 4 columns of rows of 7 go into rows of 5, and their neighbours stay.
	to := put(g, slices.Repeat([]float32{-1}, 500))
	g.each("copy_columns", 400, to, put(g, a), 100, 4, 5, 7)
	for i, v := range to.get() {
		want := float32(-1)
		if i%5 < 4 {
			want = a[i/5*7+i%5]
		}
		if v != want && v == v {
			t.Fatalf("column %d of row %d is %v; want %v", i%5, i/5, v, want)
		}
	}

	bytes, scale, shift := make([]byte, n), []float32{0.5, 2, -1, 3}, []float32{1, -7, 0.25, 0}
	for i := range bytes {
		bytes[i] = byte(i)
	}
	g.each("normalise", n, got, put(g, bytes), put(g, scale), put(g, shift), n/4, 4)
	for i, v := range got.get() {
		if want := float32(bytes[i])*scale[i%4] + shift[i%4]; v != want {
			t.Fatalf("byte %d becomes %v; want %v", i, v, want)
		}
	}
}

func TestActGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, tt := range []struct{ rows, cols, pitch, parts int }{{1, 1, 1, 1}, {50, 33, 33, 1}, {45, 32, 40, 4}, {3, 70, 71, 5}} {
		for act := kernel.Linear; act <= kernel.ReLU6; act++ {
			g := newGPU(t)
			d, y := random(r, tt.rows*tt.pitch), random(r, tt.rows*tt.pitch)
			for i := range y {
				y[i] = min(max(4*y[i], 0), 6)
			}
			want, db, sizes := slices.Clone(d), make([]float32, tt.cols), make([]float32, tt.cols)
			for row := range tt.rows {
				kernel.ActGrad(want[row*tt.pitch:][:tt.cols], y[row*tt.pitch:], act)
				for c := range tt.cols {
					db[c] += want[row*tt.pitch+c]
					sizes[c] += float32(math.Abs(float64(want[row*tt.pitch+c])))
				}
			}
			grid := ptx.Dim{X: ceil(tt.cols, 32), Y: tt.parts}
			got, sums, sum := put(g, d), alloc[float32](g, tt.parts*tt.cols), alloc[float32](g, tt.cols)
			g.launch("act_grad", grid, 256, got, put(g, y), sums, tt.rows, tt.cols, tt.pitch, act)
			same(t, "gradient before the activation", got.get(), want)
			g.each("sum_parts", tt.cols, sum, sums, tt.parts, tt.cols)
			near(t, "gradient of the bias", sum.get(), db, sizes, 0x1p-20)
			got = put(g, d)
			g.launch("act_grad", grid, 256, got, put(g, y), nil, tt.rows, tt.cols, tt.pitch, act)
			same(t, "gradient without that of the bias", got.get(), want)
		}
	}
}

func TestCrossEntropy(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, classes := range []int{1, 5, 32, 77} {
		g := newGPU(t)
		const rows = 9
		logits, targets, labels := random(r, rows*classes), make([]float32, rows*classes), make([]int64, rows)
		wantLoss, wantRight := 0.0, 0.0
		want := make([]float32, rows*classes)
		for i := range rows {
			row, target := logits[i*classes:][:classes], targets[i*classes:][:classes]
			for c := range row {
				row[c] *= 20
			}
			if i == 1 {
				row[classes-1] = row[0] // two that are alike
			}
			best := 0
			for c, v := range row {
				if v > row[best] {
					best = c
				}
			}
			labels[i] = int64(r.IntN(classes))
			if i%2 == 0 {
				labels[i] = int64(best)
			}
			if i == 4 {
				continue // fills a batch up
			}
			if labels[i] == int64(best) {
				wantRight++
			}
			total, sum := 0.0, 0.0
			for c, v := range row {
				target[c] = 0.02
				if int64(c) == labels[i] {
					target[c] += 0.1
				}
				total += float64(target[c])
				sum += math.Exp(float64(v) - float64(row[best]))
			}
			for c, v := range row {
				log := float64(v) - float64(row[best]) - math.Log(sum)
				wantLoss -= float64(target[c]) * log
				want[i*classes+c] = float32(total*math.Exp(log) - float64(target[c]))
			}
		}
		losses, rights, d, out := alloc[float64](g, rows), alloc[int64](g, rows), alloc[float32](g, rows*classes), alloc[float64](g, 2)
		logits2, targets2, labels2 := put(g, logits), put(g, targets), put(g, labels)
		for _, grad := range []any{d, nil} {
			g.launch("cross_entropy", ptx.Dim{X: ceil(rows, 4)}, 128, losses, rights, grad, logits2, targets2, labels2, rows, classes)
			g.launch("outcome", ptx.Dim{}, 256, out, losses, rights, rows)
			if got := out.get(); math.Abs(got[0]-wantLoss) > 1e-5*max(wantLoss, 1) || got[1] != wantRight {
				t.Errorf("%d classes: loss and right answers are %v; want %v, %v", classes, got, wantLoss, wantRight)
			}
		}
		near(t, fmt.Sprintf("gradient for %d classes", classes), d.get(), want, slices.Repeat([]float32{1}, len(want)), 1e-6)
		// NaN is in the loss, and no right answer.
		logits[0] = float32(math.NaN())
		g.launch("cross_entropy", ptx.Dim{X: ceil(rows, 4)}, 128, losses, rights, nil, put(g, logits), targets2, labels2, rows, classes)
		if v := losses.get()[0]; v == v || rights.get()[0] != 0 {
			t.Errorf("%d classes: the loss of NaN is %v, right %d", classes, v, rights.get()[0])
		}
	}
}

// The solvers' steps are those of package kernel, bit for bit.
func TestSolvers(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	const n = 300
	follow := func(average, w []float32, rest float64) {
		for i, v := range w {
			average[i] += float32(float32(rest) * (v - average[i]))
		}
	}
	const rate, decay, mu, rest = 0.05, 0.01, 0.9, 0.002
	for _, tt := range []struct {
		why      string
		momentum bool
		nesterov int
		scale    bool
	}{{"plain", false, 0, false}, {"momentum", true, 0, false}, {"nesterov, clipped", true, 1, true}} {
		g := newGPU(t)
		w, grad, m, average := random(r, n), random(r, n), random(r, n), random(r, n)
		w2, grad2, m2, average2, scale := put(g, w), put(g, grad), any(nil), put(g, average), any(nil)
		if tt.scale {
			scale = put(g, []float32{0.25})
			for i := range grad {
				grad[i] *= 0.25
			}
		}
		if tt.momentum {
			moment := put(g, m)
			m2 = moment
			kernel.Momentum(w, grad, m, rate, decay, mu, tt.nesterov != 0)
			defer func() { same(t, tt.why+" moment", moment.get(), m) }()
		} else {
			kernel.SGD(w, grad, rate, decay)
		}
		follow(average, w, rest)
		g.each("momentum", n, w2, grad2, m2, average2, scale, n, rate, decay, mu, tt.nesterov, rest)
		same(t, tt.why, w2.get(), w)
		same(t, tt.why+" average", average2.get(), average)
	}

	g := newGPU(t)
	w, grad, m, v, average := random(r, n), random(r, n), random(r, n), magnitudes(random(r, n)), random(r, n)
	w2, grad2, m2, v2, average2 := put(g, w), put(g, grad), put(g, m), put(g, v), put(g, average)
	s := kernel.AdamWStep{Beta1: 0.9, Rest1: 0.1, Beta2: 0.999, Rest2: 0.001, Keep: 0.9995, Rate: 0.003, Unbias: 1.7, Epsilon: 1e-8}
	for range 2 {
		kernel.AdamW(w, grad, m, v, &s)
		follow(average, w, rest)
		g.each("adamw", n, w2, grad2, m2, v2, average2, nil, n, float64(s.Beta1), float64(s.Rest1), float64(s.Beta2), float64(s.Rest2),
			float64(s.Keep), float64(s.Rate), float64(s.Unbias), float64(s.Epsilon), rest)
	}
	same(t, "adamw", w2.get(), w)
	same(t, "adamw first moment", m2.get(), m)
	same(t, "adamw second moment", v2.get(), v)
	same(t, "adamw average", average2.get(), average)
}

func TestClip(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	const n, parts = 5000, 3
	x := random(r, n)
	norm := 0.0
	for _, v := range x {
		norm += float64(v) * float64(v)
	}
	norm = math.Sqrt(norm)
	g := newGPU(t)
	sums, out := alloc[float64](g, parts), alloc[float32](g, 2)
	for _, tt := range []struct{ limit, want float64 }{{1, 1 / norm}, {2 * norm, 1}, {0, 1}} {
		g.launch("sum_squares", ptx.Dim{X: parts}, 256, sums, put(g, x), n)
		g.launch("clip", ptx.Dim{}, 256, out, sums, parts, tt.limit)
		if got := out.get(); math.Abs(float64(got[0])-tt.want) > 1e-6*tt.want || math.Abs(float64(got[1])-norm) > 1e-6*norm {
			t.Errorf("a norm of %v and a limit of %v: factor and norm are %v", norm, tt.limit, got)
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(-1)} {
		x[4321] = float32(v)
		g.launch("sum_squares", ptx.Dim{X: parts}, 256, sums, put(g, x), n)
		g.launch("clip", ptx.Dim{}, 256, out, sums, parts, 1.0)
		if got := float64(out.get()[1]); !math.IsNaN(got) && !math.IsInf(got, 0) {
			t.Errorf("with %v among the values, the norm is %v", v, got)
		}
	}
}

// A kernel that is added wants a test.
func TestEveryKernelIsTested(t *testing.T) {
	m, err := module()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("kernels_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range m.Kernels() {
		prefix := name[:strings.LastIndexByte(name, '_')+1]
		if !bytes.Contains(source, []byte(`"`+name+`"`)) && !bytes.Contains(source, []byte(`"`+prefix+`"`)) {
			t.Errorf("no test launches %s", name)
		}
	}
}
