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
	t      *testing.T
	module *ptx.Module
	mem    *ptx.Memory
}

func newGPU(t *testing.T) gpu {
	t.Helper()
	m, err := module()
	if err != nil {
		t.Fatal(err)
	}
	return gpu{t, m, ptx.NewMemory()}
}

// values is memory of the device, seen from here.
type values[T any] struct {
	p     uint64
	bytes []byte
}

func alloc[T any](g gpu, n int) values[T] {
	size := binary.Size(*new(T)) * n
	p := g.mem.Alloc(size)
	b, err := g.mem.Bytes(p, size)
	if err != nil {
		g.t.Fatal(err)
	}
	return values[T]{p, b}
}

func put[T any](g gpu, v []T) values[T] {
	d := alloc[T](g, len(v))
	if _, err := binary.Encode(d.bytes, binary.LittleEndian, v); err != nil {
		g.t.Fatal(err)
	}
	return d
}

func (d values[T]) get() []T {
	v := make([]T, len(d.bytes)/binary.Size(*new(T)))
	binary.Decode(d.bytes, binary.LittleEndian, v)
	return v
}

func (g gpu) launch(name string, grid ptx.Dim, threads int, args ...any) {
	g.t.Helper()
	list := make([]uint64, 0, len(args))
	for _, a := range args {
		switch a := a.(type) {
		case values[float32]:
			list = append(list, a.p)
		case values[float64]:
			list = append(list, a.p)
		case values[int64]:
			list = append(list, a.p)
		case values[byte]:
			list = append(list, a.p)
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
	if err := g.module.Launch(g.mem, name, grid, ptx.Dim{X: threads}, list...); err != nil {
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
			first = dw.bytes
		} else if !bytes.Equal(first, dw.bytes) {
			t.Fatal("two runs differ")
		}
	}
}
