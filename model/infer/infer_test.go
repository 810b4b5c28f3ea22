package infer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/logobeam/logobeam/model"
	"pgregory.net/rapid"
)

// reduced is an architecture at a size that the reference can compute, odd where the network allows.
func reduced(t testing.TB, arch string, classes int) model.Network {
	t.Helper()
	n, err := model.New(arch, classes)
	if err != nil {
		t.Fatal(err)
	}
	n.Input = map[string]model.Shape{
		"mlp":                {H: 19, W: 23, C: 3},
		"article-cnn":        {H: 79, W: 95, C: 3},
		"resnet18":           {H: 33, W: 40, C: 3},
		"squeezenet":         {H: 40, W: 47, C: 3},
		"efficientnet-lite0": {H: 49, W: 33, C: 3},
	}[arch]
	return n
}

func compile(t testing.TB, n model.Network, p model.Params) *Plan {
	t.Helper()
	plan, err := Compile(n, p)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// difference is the largest distance of two slices' values, and the largest of want's values.
func difference(got []float32, want []float64) (apart, size float64) {
	if len(got) != len(want) {
		return math.Inf(1), 0
	}
	for i := range want {
		apart, size = max(apart, math.Abs(float64(got[i])-want[i])), max(size, math.Abs(want[i]))
	}
	return apart, size
}

func TestArchitecturesAgainstReference(t *testing.T) {
	for _, arch := range model.Architectures() {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			n := reduced(t, arch, 7)
			p := randomParams(t, n, 5)
			arena := compile(t, n, p).NewArena(3)
			last := n.Layers[len(n.Layers)-1].Name
			var want []float64
			for i := range 2 {
				image := randomImage(n, uint64(i))
				copy(arena.Input(i), image)
				want = append(want, reference(t, n, p, image)[last].v...)
			}
			apart, size := difference(arena.Run(2), want)
			t.Logf("largest difference %.2g of logits up to %.3g", apart, size)
			if size < 0.01 || apart > 1e-5*max(size, 1) {
				t.Errorf("logits are up to %g apart and as large as %g", apart, size)
			}
		})
	}
}

// mixed is a network of every operation, activation and padding, with the cases that the architectures do not have:
// sums of three, a layer added to itself, a summand that is read again, the input added and joined, a layer that nobody
// reads.
func mixed() model.Network {
	return model.Network{Arch: "mixed", Input: model.Shape{H: 9, W: 8, C: 4}, Layers: []model.Layer{
		{Name: "a", Op: model.Conv, Out: 4, Kernel: 3, Pad: 1, Act: model.ReLU6},
		{Name: "b", Op: model.Add, From: []string{model.Input, "a"}, Act: model.ReLU},
		{Name: "c", Op: model.Add, From: []string{"b", "b"}, Act: model.ReLU6},
		{Name: "d", Op: model.Depthwise, Kernel: 3, Padding: model.Same},
		{Name: "e", Op: model.Add, From: []string{"d", "c", "a"}, Act: model.ReLU},
		{Name: "unread", Op: model.Conv, From: []string{"e"}, Out: 9, Kernel: 2},
		{Name: "f", Op: model.Add, From: []string{"e", "d"}},
		{Name: "g", Op: model.Concat, From: []string{"f", model.Input, "e"}},
		{Name: "h", Op: model.MaxPool, Kernel: 3, Stride: 2, Pad: 1, Padding: model.CeilMode},
		{Name: "i", Op: model.Depthwise, Kernel: 2, Stride: 2, Act: model.ReLU6},
		{Name: "j", Op: model.Dense, Out: 5, Act: model.ReLU6},
		{Name: "k", Op: model.GlobalAvgPool, From: []string{"h"}},
		{Name: "l", Op: model.Concat, From: []string{"j", "k", "j"}},
		{Name: "m", Op: model.Dense, Out: 22},
		{Name: "n", Op: model.Add, From: []string{"m", "l"}},
	}}
}

func TestMixedAgainstReference(t *testing.T) {
	n := mixed()
	p := randomParams(t, n, 1)
	arena := compile(t, n, p).NewArena(1)
	for i := range 3 { // what one run leaves behind must not reach the next
		image := randomImage(n, uint64(i))
		copy(arena.Input(0), image)
		if apart, _ := difference(arena.Run(1), reference(t, n, p, image)["n"].v); apart > 1e-5 {
			t.Errorf("image %d: logits are up to %g apart", i, apart)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	n := reduced(t, "mlp", 3)
	p := randomParams(t, n, 1)
	delete(p, "fc2.bias")
	if _, err := Compile(n, p); err == nil || !strings.Contains(err.Error(), "fc2.bias is missing") {
		t.Errorf("%v; want an error that names the missing parameter", err)
	}
	if _, err := Compile(model.Network{}, nil); err == nil {
		t.Error("a network of no layers was compiled")
	}
}

// align is how many float32 there are in a cache line.
const align = line / 4

// buffersOf are the buffers of a plan that hold one image at a time, or the others.
func buffersOf(p *Plan, single bool) (list []*buffer) {
	for i := range p.buffers {
		if p.buffers[i].single == single {
			list = append(list, &p.buffers[i])
		}
	}
	return list
}

// checkBuffers fails unless all that are alive at the same time lie apart and within memory.
func checkBuffers(t interface{ Fatalf(string, ...any) }, buffers []*buffer, memory int) {
	for i, a := range buffers {
		if a.offset < 0 || a.offset%align != 0 || a.offset+a.size > memory {
			t.Fatalf("buffer %d %+v is not within %d", i, a, memory)
		}
		for j, b := range buffers[:i] {
			together := a.first <= b.last && b.first <= a.last
			if together && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
				t.Fatalf("buffers %d %+v and %d %+v are alive together and overlap", j, b, i, a)
			}
		}
	}
}

func TestArrange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		buffers := make([]*buffer, n)
		sum, peak := 0, 0
		for i := range buffers {
			first := rapid.IntRange(-1, 30).Draw(t, "first")
			buffers[i] = &buffer{size: rapid.IntRange(1, 100).Draw(t, "size"), first: first, last: first + rapid.IntRange(0, 10).Draw(t, "life")}
			sum += buffers[i].size + align
		}
		memory := arrange(buffers, align)
		checkBuffers(t, buffers, memory)
		for at := -1; at <= 40; at++ {
			alive := 0
			for _, b := range buffers {
				if b.first <= at && at <= b.last {
					alive += b.size
				}
			}
			peak = max(peak, alive)
		}
		if memory < peak || memory > sum {
			t.Fatalf("%d values for buffers that need at least %d and at most %d", memory, peak, sum)
		}
	})
}

// The lives of buffers, worked out once more from who writes and reads them, must be those that the arrangement was
// made for.
func TestPlannedBuffers(t *testing.T) {
	for _, arch := range append(model.Architectures(), "mixed") {
		n := mixed()
		if arch != "mixed" {
			n = reduced(t, arch, 5)
		}
		plan := compile(t, n, randomParams(t, n, 1))
		checkBuffers(t, buffersOf(plan, true), plan.single)
		checkBuffers(t, buffersOf(plan, false), plan.batched)
		content := make([]map[int]string, len(plan.buffers)) // whose output lies in a buffer, by the first channel
		content[plan.in] = map[int]string{0: model.Input}
		before := model.Input
		shapes, err := n.Shapes()
		if err != nil {
			t.Fatal(err)
		}
		channels := map[string]int{model.Input: n.Input.C}
		for i, l := range n.Layers {
			channels[l.Name] = shapes[i].C
			from := l.From
			if len(from) == 0 {
				from = []string{before}
			}
			s := plan.steps[i]
			if b := plan.buffers[s.dst]; i < b.first || i > b.last {
				t.Errorf("%s: layer %s writes outside its life %+v", arch, l.Name, b)
			}
			channel := 0
			for j, name := range from {
				at := 0
				if l.Op == model.Concat && s.src[j] == s.dst { // it is there already
					at = channel
				} else if l.Op == model.Concat && !slices.Contains(s.copies, copying{s.src[j], channels[name], channel}) {
					t.Errorf("%s: %s neither lies in its stripe of %s nor is copied there", arch, name, l.Name)
				}
				if content[s.src[j]][at] != name {
					t.Errorf("%s: layer %s reads %s where %v lie", arch, l.Name, name, content[s.src[j]])
				}
				if b := plan.buffers[s.src[j]]; i < b.first || i > b.last {
					t.Errorf("%s: layer %s reads %s outside its life %+v", arch, l.Name, name, b)
				}
				channel += channels[name]
			}
			if s.shape.Pitch == 0 || content[s.dst] == nil {
				content[s.dst] = map[int]string{}
			}
			content[s.dst][s.to], before = l.Name, l.Name
		}
		if b := plan.buffers[plan.out]; b.first > -1 || b.last < len(n.Layers) || content[plan.out][0] != before {
			t.Errorf("%s: the logits %+v do not last until the next run", arch, b)
		}
	}
}

// What is alive at the hungriest step is the least that any arrangement takes.
func TestMemoryIsReused(t *testing.T) {
	for _, arch := range model.Architectures() {
		n := reduced(t, arch, 28)
		plan := compile(t, n, randomParams(t, n, 1))
		for _, single := range []bool{true, false} {
			buffers, memory := buffersOf(plan, single), plan.batched
			if single {
				memory = plan.single
			}
			least, sum := 0, 0
			for at := range n.Layers {
				alive := 0
				for _, b := range buffers {
					if b.first <= at && at <= b.last {
						alive += (b.size + align - 1) / align * align
					}
				}
				least = max(least, alive)
			}
			for _, b := range buffers {
				sum += b.size
			}
			t.Logf("%s: one image at a time %v: %d values, %d alive at once, %d in all", arch, single, memory, least, sum)
			if float64(memory) > 1.1*float64(least) {
				t.Errorf("%s: its buffers take %d values; %d are alive at once", arch, memory, least)
			}
		}
	}
}

// both compiles a network in every precision.
func both(t testing.TB, n model.Network, p model.Params) []*Plan {
	t.Helper()
	return []*Plan{compile(t, n, p), compileInt8(t, n, p)}
}

// An image's logits are the same bits alone, in any place of a batch, and among any others.
func TestBatchChangesNothing(t *testing.T) {
	for _, arch := range append(model.Architectures(), "mixed") {
		n := mixed()
		if arch != "mixed" {
			n = reduced(t, arch, 5)
		}
		for _, plan := range both(t, n, randomParams(t, n, 1)) {
			alone, batch := plan.NewArena(1), plan.NewArena(5)
			var want [5][]float32
			for i := range want {
				copy(alone.Input(0), randomImage(n, uint64(i)))
				want[i] = slices.Clone(alone.Run(1))
			}
			for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 2, 0}, {3, 3}, {}} {
				for place, i := range order {
					copy(batch.Input(place), randomImage(n, uint64(i)))
				}
				got := batch.Run(len(order))
				for place, i := range order {
					if row := got[place*plan.Classes():][:plan.Classes()]; !slices.Equal(row, want[i]) {
						t.Errorf("%s, %s: image %d at %d of %d: %v; alone %v", arch, plan.Precision(), i, place, len(order), row, want[i])
					}
				}
			}
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for _, arch := range append(model.Architectures(), "mixed") {
		n := mixed()
		if arch != "mixed" {
			n = reduced(t, arch, 5)
		}
		for _, plan := range both(t, n, randomParams(t, n, 1)) {
			arena := plan.NewArena(2)
			if got := testing.AllocsPerRun(2, func() { Softmax(arena.Run(2), plan.Classes()) }); got != 0 {
				t.Errorf("%s, %s: %v allocations a run", arch, plan.Precision(), got)
			}
		}
	}
}

// Squeezenet's joined convolutions are the ones that this is for.
func TestConvolutionsWriteIntoStripes(t *testing.T) {
	n := reduced(t, "squeezenet", 5)
	for i, s := range compile(t, n, randomParams(t, n, 1)).steps {
		if name := n.Layers[i].Name; len(s.copies) > 0 || strings.Contains(name, "expand") != (s.shape.Pitch > 0) {
			t.Errorf("%s: %d copies, %d values from pixel to pixel", name, len(s.copies), s.shape.Pitch)
		}
	}
}

// Goroutines that share an image give it the logits that one gives it.
func TestSpreadChangesNothing(t *testing.T) {
	for _, n := range []model.Network{wide(), mixed()} {
		for _, plan := range both(t, n, randomParams(t, n, 1)) {
			alone := plan.NewArena(3)
			for _, cores := range []int{1, 2, 3, 16} {
				spread := plan.NewArena(3).spread(cores, 1<<20)
				for run := range 2 {
					for i := range 3 {
						image := randomImage(n, uint64(run*3+i))
						copy(alone.Input(i), image)
						copy(spread.Input(i), image)
					}
					if want, got := alone.Run(3-run), spread.Run(3-run); !slices.Equal(want, got) {
						t.Errorf("%s, %s on %d cores: %v; on one %v", n.Arch, plan.Precision(), cores, got, want)
					}
				}
				parts := 0
				for _, p := range spread.parts {
					parts = max(parts, len(p))
				}
				if n.Arch == "wide" && parts != cores {
					t.Errorf("%s: %d cores work on up to %d parts", plan.Precision(), cores, parts)
				}
			}
		}
	}
}

// wide is a network of layers that are each worth several goroutines, with every kind of window.
func wide() model.Network {
	return model.Network{Arch: "wide", Input: model.Shape{H: 49, W: 50, C: 8}, Layers: []model.Layer{
		{Name: "a", Op: model.Conv, Out: 40, Kernel: 5, Pad: 2, Act: model.ReLU},
		{Name: "b", Op: model.Conv, From: []string{"a"}, Out: 40, Kernel: 3, Padding: model.Same, Stride: 2, Act: model.ReLU6},
		{Name: "c", Op: model.Conv, From: []string{"a"}, Out: 200, Kernel: 1, Stride: 2},
		{Name: "d", Op: model.Concat, From: []string{"b", "c"}},
		{Name: "e", Op: model.Depthwise, Kernel: 5, Pad: 2, Act: model.ReLU6},
		{Name: "f", Op: model.Depthwise, Kernel: 3, Stride: 2, Padding: model.Same},
		{Name: "g", Op: model.MaxPool, From: []string{"d"}, Kernel: 9, Stride: 1, Pad: 3, Padding: model.CeilMode},
		{Name: "h", Op: model.Conv, From: []string{"g"}, Out: 16, Kernel: 1, Act: model.ReLU},
		{Name: "i", Op: model.Dense, Out: 600, Act: model.ReLU},
		{Name: "j", Op: model.Dense, Out: 5},
	}}
}

func TestLogitsStayWhileInputsAreWritten(t *testing.T) {
	n := mixed()
	for _, plan := range both(t, n, randomParams(t, n, 1)) {
		arena := plan.NewArena(2)
		copy(arena.Input(0), randomImage(n, 1))
		copy(arena.Input(1), randomImage(n, 2))
		logits := arena.Run(2)
		before := slices.Clone(logits)
		clear(arena.Input(0))
		clear(arena.Input(1))
		if !slices.Equal(before, logits) {
			t.Errorf("%s: writing the next inputs changed the logits", plan.Precision())
		}
	}
}

func TestSoftmax(t *testing.T) {
	for _, c := range []struct{ logits, want []float32 }{
		{[]float32{0, 0}, []float32{0.5, 0.5}},
		{[]float32{1, 2, 3}, []float32{0.09003057, 0.24472847, 0.66524096}}, // scipy.special.softmax
		{[]float32{1000, 0}, []float32{1, 0}},
		{[]float32{-1000, -1000}, []float32{0.5, 0.5}},
		{[]float32{math.MaxFloat32, -math.MaxFloat32}, []float32{1, 0}},
	} {
		rows := append(slices.Clone(c.logits), c.logits...) // every row by itself
		Softmax(rows, len(c.logits))
		for i, got := range rows {
			if want := c.want[i%len(c.want)]; math.Abs(float64(got-want)) > 1e-7 {
				t.Errorf("softmax %v: %v; want twice %v", c.logits, rows, c.want)
				break
			}
		}
	}
}

func TestPredict(t *testing.T) {
	n := reduced(t, "mlp", 3)
	for _, plan := range both(t, n, randomParams(t, n, 1)) {
		testPredict(t, n, plan)
	}
}

func testPredict(t *testing.T, n model.Network, plan *Plan) {
	load := images(n)
	const count = 23
	arena := plan.NewArena(1)
	var want []float32
	for i := range count {
		load(i, arena.Input(0))
		row := slices.Clone(arena.Run(1))
		Softmax(row, 3)
		want = append(want, row...)
	}
	for _, c := range []struct{ workers, batch int }{{1, 1}, {1, 7}, {2, 4}, {5, 3}, {99, 1}, {2, 99}, {0, 0}, {-1, -1}} {
		got, err := plan.Predict(context.Background(), count, c.workers, c.batch, load)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d workers, batches of %d: other probabilities than one by one, %v", c.workers, c.batch, err)
		}
	}
	if got, err := plan.Predict(context.Background(), 0, 2, 2, load); len(got) != 0 || err != nil {
		t.Errorf("no images: %v %v", got, err)
	}
}

func TestPredictReportsTheFirstFailure(t *testing.T) {
	n := reduced(t, "mlp", 3)
	plan := compile(t, n, randomParams(t, n, 1))
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 40).Draw(t, "count")
		bad := rapid.SliceOfN(rapid.IntRange(0, count-1), 1, 4).Draw(t, "bad")
		cause := errors.New("truncated")
		_, err := plan.Predict(context.Background(), count, rapid.IntRange(1, 4).Draw(t, "workers"), rapid.IntRange(1, 9).Draw(t, "batch"),
			func(i int, image []float32) error {
				if slices.Contains(bad, i) {
					return cause
				}
				return nil
			})
		if want := fmt.Sprintf("image %d: truncated", slices.Min(bad)); err == nil || err.Error() != want || !errors.Is(err, cause) {
			t.Fatalf("%v; want %q", err, want)
		}
	})
}

func TestPredictStops(t *testing.T) {
	n := reduced(t, "mlp", 3)
	plan := compile(t, n, randomParams(t, n, 1))
	ctx, cancel := context.WithCancel(context.Background())
	var loaded atomic.Int64
	_, err := plan.Predict(ctx, 1_000_000, 2, 8, func(i int, image []float32) error {
		if loaded.Add(1) == 20 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want context.Canceled", err)
	}
	if n := loaded.Load(); n > 21 { // the other goroutine may be in its load
		t.Errorf("%d images were loaded when the context ended at 20", n)
	}
	loaded.Store(100)
	if _, err := plan.Predict(ctx, 10, 2, 8, func(int, []float32) error { loaded.Add(1); return nil }); !errors.Is(err, context.Canceled) || loaded.Load() != 100 {
		t.Errorf("a context that had ended before: %v, %d loads", err, loaded.Load()-100)
	}
	boom := errors.New("boom")
	loaded.Store(0)
	if _, err := plan.Predict(context.Background(), 1_000_000, 2, 8, func(i int, image []float32) error {
		loaded.Add(1)
		if i == 20 {
			return boom
		}
		return nil
	}); !errors.Is(err, boom) || loaded.Load() > 1000 {
		t.Errorf("%v after %d loads; want it to stop at the failure", err, loaded.Load())
	}
}

// The published weights and what PyTorch computed with them. LOGOBEAM_DATA names a folder with
// efficientnet_lite0/{efficientnet_lite0,golden}.safetensors.
func TestEfficientNetLite0Golden(t *testing.T) {
	data := os.Getenv("LOGOBEAM_DATA")
	if data == "" {
		t.Skip("LOGOBEAM_DATA is not set")
	}
	folder := filepath.Join(data, "efficientnet_lite0")
	n := model.EfficientNetLite0(1000)
	p, _, err := model.Import(n, filepath.Join(folder, "efficientnet_lite0.safetensors"), false, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(folder, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	golden, err := model.ReadSafetensors(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	features := n // without its last layer, the pooled features are what it answers
	features.Layers = n.Layers[:len(n.Layers)-1]
	inner := model.Params{}
	for name, v := range p {
		if !strings.HasPrefix(name, "_fc.") {
			inner[name] = v
		}
	}
	for _, c := range []struct {
		name   string
		n      model.Network
		p      model.Params
		within float64
	}{{"logits", n, p, 1e-3}, {"pooled", features, inner, 1e-4}} {
		arena := compile(t, c.n, c.p).NewArena(2)
		in := golden["input"]
		size := n.Input.Size()
		for i := range 2 {
			image := arena.Input(i)
			for j := range size / 3 {
				for k := range 3 {
					image[j*3+k] = in.Data[i*size+k*size/3+j]
				}
			}
		}
		want := make([]float64, len(golden[c.name].Data))
		for i, v := range golden[c.name].Data {
			want[i] = float64(v)
		}
		apart, largest := difference(arena.Run(2), want)
		t.Logf("%s: largest difference %.3g of values up to %.3g", c.name, apart, largest)
		if apart > c.within {
			t.Errorf("%s are up to %g from PyTorch's; want within %g", c.name, apart, c.within)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	for _, arch := range model.Architectures() {
		n, err := model.New(arch, 28)
		if err != nil {
			b.Fatal(err)
		}
		p, err := model.Init(n, 1)
		if err != nil {
			b.Fatal(err)
		}
		for _, plan := range both(b, n, p) {
			for _, batch := range []int{1, 8, 32} {
				b.Run(fmt.Sprintf("%s/%s/batch%d", arch, plan.Precision(), batch), func(b *testing.B) {
					run(b, n, plan.NewArena(batch), batch)
				})
			}
			b.Run(fmt.Sprintf("%s/%s/spread", arch, plan.Precision()), func(b *testing.B) {
				run(b, n, plan.NewArena(1).Spread(runtime.GOMAXPROCS(0)), 1)
			})
		}
	}
}

func run(b *testing.B, n model.Network, arena *Arena, batch int) {
	image := randomImage(n, 1)
	for b.Loop() {
		for i := range batch {
			copy(arena.Input(i), image)
		}
		arena.Run(batch)
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "img/s")
}

func TestBatch(t *testing.T) {
	for _, tt := range []struct {
		arch string
		want int
		why  string
	}{
		{"article-cnn", 64, "a dense layer of 79 million weights, each used once an image"},
		{"mlp", 64, "all its weights are used once an image"},
		{"squeezenet", 8, "few weights, each used for many pixels"},
		{"resnet18", 16, "11 million weights, 1.8 thousand million multiplications"},
	} {
		net, err := model.New(tt.arch, 33)
		if err != nil {
			t.Fatal(err)
		}
		params, err := model.Init(net, 1)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := Compile(net, params)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Batch(); got != tt.want {
			t.Errorf("%s: batches of %d; want %d: %s", tt.arch, got, tt.want, tt.why)
		}
	}
}
