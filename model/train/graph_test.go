package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/logobeam/logobeam/model"
)

// tolerance of float32 gradients, as a share of the largest value of the parameter's gradient. Float32 has 6e-8, some
// hundred additions of both signs lose two digits of it, and central differences in float64 are good to 1e-8.
const tolerance = 2e-5

func layers(h, w, c int, list ...model.Layer) model.Network {
	return model.Network{Arch: "test", Input: model.Shape{H: h, W: w, C: c}, Layers: list}
}

// Each operation stands between a convolution, so that its gradient to the input is needed, and a head.
func between(h, w, c int, op ...model.Layer) model.Network {
	list := []model.Layer{{Name: "first", Op: model.Conv, Out: 4, Kernel: 1}}
	list = append(list, op...)
	return layers(h, w, c, append(list, model.Layer{Name: "head", Op: model.Dense, Out: 3})...)
}

// everyOperation is a network with all of them.
func everyOperation() model.Network {
	return layers(9, 8, 3,
		model.Layer{Name: "stem", Op: model.Conv, Out: 6, Kernel: 3, Stride: 2, Padding: model.Same, Act: model.ReLU},
		model.Layer{Name: "wide", Op: model.Conv, Out: 8, Kernel: 1, Act: model.ReLU6},
		model.Layer{Name: "deep", Op: model.Depthwise, Kernel: 3, Padding: model.Same, Act: model.ReLU6},
		model.Layer{Name: "back", Op: model.Conv, Out: 6, Kernel: 1},
		model.Layer{Name: "sum", Op: model.Add, From: []string{"stem", "back"}, Act: model.ReLU},
		model.Layer{Name: "a", Op: model.Conv, Out: 3, Kernel: 1, Act: model.ReLU, From: []string{"sum"}},
		model.Layer{Name: "b", Op: model.Conv, Out: 4, Kernel: 3, Pad: 1, Act: model.ReLU, From: []string{"sum"}},
		model.Layer{Name: "cat", Op: model.Concat, From: []string{"a", "b", "sum"}},
		model.Layer{Name: "pool", Op: model.MaxPool, Kernel: 3, Stride: 2, Padding: model.CeilMode},
		model.Layer{Name: "again", Op: model.Add, From: []string{"pool", "pool", "pool"}},
		model.Layer{Name: "mean", Op: model.GlobalAvgPool},
		model.Layer{Name: "head", Op: model.Dense, Out: 5},
	)
}

func TestGradients(t *testing.T) {
	residual := everyOperation()
	usual := joinFrom
	join := func(*Config) { joinFrom = 1 }
	for _, c := range []struct {
		reason string
		net    model.Network
		images int
		slices int
		cfg    func(*Config)
	}{
		{"dense, joined", layers(1, 3, 2, model.Layer{Name: "a", Op: model.Dense, Out: joinedOutputs + 5, Act: model.ReLU}, model.Layer{Name: "head", Op: model.Dense, Out: 3}), 5, 3, join},
		{"dense, joined, behind a convolution", between(3, 4, 2, model.Layer{Name: "op", Op: model.Dense, Out: 5, Act: model.ReLU6}), 5, 2, join},
		{"the same, frozen", between(3, 4, 2, model.Layer{Name: "op", Op: model.Dense, Out: 5, Act: model.ReLU6}), 5, 2, func(c *Config) { join(c); c.FreezeLayers = []string{"op"} }},
		{"dense alone", layers(2, 3, 2, model.Layer{Name: "head", Op: model.Dense, Out: 3}), 4, 1, nil},
		{"dense wider than one part", layers(1, 3, 2, model.Layer{Name: "a", Op: model.Dense, Out: 2*joinedOutputs + 5, Act: model.ReLU}, model.Layer{Name: "head", Op: model.Dense, Out: 3}), 5, 3, nil},
		{"a gradient as large as the logits", layers(1, 4, 2, model.Layer{Name: "a", Op: model.Dense, Out: 3}, model.Layer{Name: "head", Op: model.Dense, Out: 3}), 8, 1, nil},
		{"convolution of one pixel", between(3, 4, 2, model.Layer{Name: "op", Op: model.Conv, Out: 5, Kernel: 1, Act: model.ReLU}), 3, 1, nil},
		{"padding", between(5, 4, 2, model.Layer{Name: "op", Op: model.Conv, Out: 3, Kernel: 3, Pad: 1, Act: model.ReLU}), 3, 1, nil},
		{"stride that leaves pixels over", between(7, 6, 2, model.Layer{Name: "op", Op: model.Conv, Out: 3, Kernel: 3, Stride: 2}), 3, 2, nil},
		{"same padding, odd pixel at the bottom", between(6, 7, 3, model.Layer{Name: "op", Op: model.Conv, Out: 3, Kernel: 3, Stride: 2, Padding: model.Same, Act: model.ReLU6}), 4, 2, nil},
		{"the article's 11x11 stride 4", between(19, 19, 1, model.Layer{Name: "op", Op: model.Conv, Out: 2, Kernel: 11, Stride: 4, Act: model.ReLU}), 2, 1, nil},
		{"depthwise", between(5, 6, 2, model.Layer{Name: "op", Op: model.Depthwise, Kernel: 3, Pad: 1, Act: model.ReLU6}), 3, 1, nil},
		{"depthwise 5x5 stride 2 same", between(7, 8, 2, model.Layer{Name: "op", Op: model.Depthwise, Kernel: 5, Stride: 2, Padding: model.Same, Act: model.ReLU}), 3, 1, nil},
		{"max pool with overlap", between(7, 7, 2, model.Layer{Name: "op", Op: model.MaxPool, Kernel: 3, Stride: 2}), 3, 1, nil},
		{"max pool over the edge", between(6, 6, 2, model.Layer{Name: "op", Op: model.MaxPool, Kernel: 3, Stride: 2, Padding: model.CeilMode}), 3, 1, nil},
		{"max pool with padding", between(6, 5, 2, model.Layer{Name: "op", Op: model.MaxPool, Kernel: 3, Stride: 2, Pad: 1}), 3, 1, nil},
		{"mean", between(3, 5, 2, model.Layer{Name: "op", Op: model.GlobalAvgPool}), 3, 1, nil},
		{"sum of one layer with itself", between(3, 3, 2, model.Layer{Name: "op", Op: model.Add, From: []string{"first", "first"}, Act: model.ReLU}), 3, 1, nil},
		{"a linear sum, whose gradient two activations share", between(3, 3, 2,
			model.Layer{Name: "a", Op: model.Conv, Out: 4, Kernel: 1, Act: model.ReLU, From: []string{"first"}},
			model.Layer{Name: "b", Op: model.Conv, Out: 4, Kernel: 1, Act: model.ReLU, From: []string{"first"}},
			model.Layer{Name: "op", Op: model.Add, From: []string{"a", "b"}}), 3, 1, nil},
		{"head of one channel and one image", layers(1, 1, 1, model.Layer{Name: "first", Op: model.Conv, Out: 1, Kernel: 1}, model.Layer{Name: "head", Op: model.Dense, Out: 2}), 1, 1, nil},
		{"residual, concat, depthwise, pools", residual, 5, 1, nil},
		{"the same in slices, the last not full", residual, 5, 3, nil},
		{"the same in slices of one", residual, 5, 5, nil},
		{"the same with smoothed labels", residual, 4, 2, func(c *Config) { c.LabelSmoothing = 0.1 }},
		{"the same with its trunk frozen", residual, 4, 2, func(c *Config) { c.Freeze = true }},
		{"the same with layers amid frozen", residual, 4, 2, func(c *Config) { c.FreezeLayers = []string{"stem", "wide", "b"} }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			p := newProblem(t, c.net, c.images, 5)
			cfg := DefaultConfig()
			cfg.Slices, cfg.Cores = c.slices, 2
			cfg.Batch = (c.images + c.slices - 1) / c.slices * c.slices
			if c.cfg != nil {
				c.cfg(&cfg)
				defer func() { joinFrom = usual }()
			}
			tr, err := newTrainer(c.net, p.params, cfg, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.close()
			ref := newReference(t, c.net)
			loss := ref.loss(t, p.params64, p.images64, p.labels, cfg.LabelSmoothing)
			right := 0
			for i, image := range p.images64 {
				z := ref.logits(t, p.params64, image)
				if slices.Index(z, slices.Max(z)) == p.labels[i] {
					right++
				}
			}
			slopes := map[string][]float64{}
			for _, l := range tr.learn {
				slopes[l.Name] = ref.gradient(t, p.params64, l.Name, p.images64, p.labels, cfg.LabelSmoothing)
			}
			for range 2 { // results keep their places after the first run
				out, err := tr.step(context.Background(), p.batch(tr), 0)
				if err != nil {
					t.Fatal(err)
				}
				if math.Abs(out.Loss-loss) > 1e-5*max(loss, 1) {
					t.Errorf("loss %v, want %v", out.Loss, loss)
				}
				if out.Right != right {
					t.Errorf("%d images are right, want %d", out.Right, right)
				}
				for _, l := range tr.learn { // after one step from rest the momentum is the gradient
					compare(t, l.Name, l.Moments[0], slopes[l.Name])
					clear(l.Moments[0])
				}
			}
			if cfg.Freeze && len(tr.learn) != 2 {
				t.Errorf("%d parameters are trained, not the head's 2", len(tr.learn))
			}
		})
	}
}

func compare(t *testing.T, name string, got []float32, want []float64) {
	t.Helper()
	most := 0.0
	for _, v := range want {
		most = math.Max(most, math.Abs(v))
	}
	for i, v := range want {
		if d := math.Abs(float64(got[i]) - v); !(d <= tolerance*most+1e-8) {
			t.Errorf("gradient of %s[%d] is %v, want %v (largest %v)", name, i, got[i], v, most)
			return
		}
	}
}

// In bfloat16 a step gives the gradients of float32, nearly: each within 2 % of its size, layer by layer, through
// convolutions by all algorithms and a dense layer of the whole batch. The layers are linear: a value that rounding moves over
// the edge of a ReLU would move the gradient by more than rounding does.
func TestBFloat16Gradients(t *testing.T) {
	defer func(usual int) { joinFrom = usual }(joinFrom)
	joinFrom = 1 << 10
	net := layers(25, 27, 3,
		model.Layer{Name: "stem", Op: model.Conv, Out: 16, Kernel: 5, Stride: 2, Padding: model.Same},
		model.Layer{Name: "narrow", Op: model.Conv, Out: 32, Kernel: 1},
		model.Layer{Name: "tiles", Op: model.Conv, Out: 32, Kernel: 3, Pad: 1},
		model.Layer{Name: "tiles5", Op: model.Conv, Out: 32, Kernel: 5, Pad: 2},
		model.Layer{Name: "skip", Op: model.Conv, Out: 21, Kernel: 3, Stride: 2, Pad: 1},
		model.Layer{Name: "odd", Op: model.Conv, Out: 20, Kernel: 1},
		model.Layer{Name: "fc", Op: model.Dense, Out: 40},
		model.Layer{Name: "head", Op: model.Dense, Out: 3})
	const images = 5
	gradients := func(precision string) (Outcome, map[string][]float32) {
		p := newProblem(t, net, images, 5)
		cfg := DefaultConfig()
		cfg.Batch, cfg.Slices, cfg.Precision = 6, 2, precision
		tr, err := newTrainer(net, p.params, cfg, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.close()
		out, err := tr.step(context.Background(), p.batch(tr), 0)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string][]float32{}
		for _, l := range tr.learn {
			all[l.Name] = l.Moments[0]
		}
		return out, all
	}
	wantOut, want := gradients(FP32)
	gotOut, got := gradients(BF16)
	if d := math.Abs(gotOut.Loss - wantOut.Loss); d > 0.005*wantOut.Loss || d == 0 {
		t.Errorf("the loss is %v; %v in float32", gotOut.Loss, wantOut.Loss)
	}
	for name, w := range want {
		var off, size float64
		for i, v := range w {
			off += float64(got[name][i]-v) * float64(got[name][i]-v)
			size += float64(v) * float64(v)
		}
		if share := math.Sqrt(off / size); !(share < 0.02) {
			t.Errorf("the gradient of %s is off by %.2g of its size", name, share)
		}
	}
}

// The tape of a network whose results share memory must not ask for more of it than is alive at once.
func TestMemoryIsUsedAgain(t *testing.T) {
	var list []model.Layer
	for i := range 20 {
		list = append(list, model.Layer{Name: fmt.Sprint("conv", i), Op: model.Conv, Out: 8, Kernel: 3, Pad: 1, Act: model.ReLU})
	}
	net := layers(8, 8, 8, append(list, model.Layer{Name: "head", Op: model.Dense, Out: 2})...)
	p := newProblem(t, net, 2, 3)
	one := 2 * 8 * 8 * 8 // values of one layer's output
	for _, c := range []struct {
		reason string
		freeze bool
		layers int
	}{
		{"all outputs, which the gradients read, and three gradients at a time", false, 20 + 4},
		{"two outputs at a time where nothing is kept", true, 4},
	} {
		cfg := DefaultConfig()
		cfg.Batch, cfg.Slices, cfg.Freeze = 2, 1, c.freeze
		tr, err := newTrainer(net, p.params, cfg, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.step(context.Background(), p.batch(tr), 0); err != nil {
			t.Fatal(err)
		}
		if got := tr.devices[0].(*cpu).slices[0].size; got > c.layers*one {
			t.Errorf("%s: %d values, want at most %d", c.reason, got, c.layers*one)
		}
		tr.close()
	}
}

// After the first step nothing is allocated, by any goroutine, whatever layers there are.
func TestStepsAllocateNothing(t *testing.T) {
	usual := joinFrom
	defer func() { joinFrom = usual }()
	net := layers(9, 9, 3,
		model.Layer{Name: "stem", Op: model.Conv, Out: 6, Kernel: 3, Stride: 2, Act: model.ReLU},
		model.Layer{Name: "deep", Op: model.Depthwise, Kernel: 3, Padding: model.Same, Act: model.ReLU6},
		model.Layer{Name: "sum", Op: model.Add, From: []string{"stem", "deep"}, Act: model.ReLU},
		model.Layer{Name: "a", Op: model.Conv, Out: 3, Kernel: 1, Act: model.ReLU, From: []string{"sum"}},
		model.Layer{Name: "cat", Op: model.Concat, From: []string{"a", "sum"}},
		model.Layer{Name: "pool", Op: model.MaxPool, Kernel: 2, Stride: 2},
		model.Layer{Name: "fc", Op: model.Dense, Out: 7, Act: model.ReLU},
		model.Layer{Name: "head", Op: model.Dense, Out: 5})
	p := newProblem(t, net, 5, 1)
	for _, joinFrom = range []int{usual, 1} {
		for i, solver := range []string{SGD, AdamW, SGD} {
			cfg := DefaultConfig()
			cfg.Batch, cfg.Slices, cfg.Cores, cfg.Solver = 6, 3, 2, solver
			cfg.Precision = []string{FP32, FP32, BF16}[i]
			if i == 2 {
				cfg.Devices = []Opener{CPU, CPU}
			}
			tr, err := newTrainer(net, p.params, cfg, 0)
			if err != nil {
				t.Fatal(err)
			}
			b := p.batch(tr)
			if n := testing.AllocsPerRun(5, func() {
				if _, err := tr.step(context.Background(), b, 0.001); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s in %s, layers joined from %d weights: %v allocations a step", solver, cfg.Precision, joinFrom, n)
			}
			tr.close()
		}
	}
}

// Layers that are joined give the same weights for any number of workers too.
func TestJoinedLayersDoNotDependOnWorkers(t *testing.T) {
	defer func(usual int) { joinFrom = usual }(joinFrom)
	joinFrom = 1
	net := between(5, 5, 3, model.Layer{Name: "op", Op: model.Dense, Out: 2*joinedOutputs + 3, Act: model.ReLU})
	for _, precision := range []string{FP32, BF16} {
		var want model.Params
		for _, workers := range []int{1, 2, 3, 7} {
			p := newProblem(t, net, 7, 1)
			cfg := DefaultConfig()
			cfg.Batch, cfg.Slices, cfg.Cores, cfg.Precision = 8, 4, workers, precision
			tr, err := newTrainer(net, p.params, cfg, 0)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := tr.step(context.Background(), p.batch(tr), 0.1); err != nil {
					t.Fatal(err)
				}
			}
			tr.close()
			if want == nil {
				want = p.params
			}
			sameParams(t, fmt.Sprintf("%s, %d workers", precision, workers), want, p.params)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	good := between(4, 4, 2)
	for _, c := range []struct {
		reason string
		net    model.Network
		break_ func(*Config, model.Params)
		want   string
	}{
		{"a parameter that is missing", good, func(_ *Config, p model.Params) { delete(p, "head.bias") }, "head.bias"},
		{"a frozen layer that is not there", good, func(c *Config, _ model.Params) { c.FreezeLayers = []string{"heat"} }, `no layer of test is named "heat"`},
		{"everything frozen", good, func(c *Config, _ model.Params) { c.FreezeLayers = []string{"head", "first"} }, "nothing is left to train"},
	} {
		p := newProblem(t, c.net, 1, 1)
		cfg := DefaultConfig()
		if c.break_ != nil {
			c.break_(&cfg, p.params)
		}
		if _, err := newTrainer(c.net, p.params, cfg, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.reason, err, c.want)
		}
	}
}

// A panic of a kernel must come back as an error that names the layer, and must not leave another worker waiting.
func TestPanicBecomesError(t *testing.T) {
	net := between(4, 4, 2, model.Layer{Name: "op", Op: model.Conv, Out: 5, Kernel: 3})
	p := newProblem(t, net, 4, 1)
	cfg := DefaultConfig()
	cfg.Batch, cfg.Slices, cfg.Cores = 4, 4, 2
	tr, err := newTrainer(net, p.params, cfg, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	tr.devices[0].(*cpu).byLayer[0].bias.g = nil // the total of the first layer's gradient has no room
	_, err = tr.step(context.Background(), p.batch(tr), 0.1)
	if err == nil || !strings.Contains(err.Error(), "layer first/grad: ") || errors.Is(err, errBroken) {
		t.Errorf("error %v, want one that names the layer", err)
	}
	other := fmt.Errorf("layer a: %w", errBroken)
	if got := first([]error{nil, other, err}); got != err {
		t.Errorf("of %v and %v the first is told, which only says that there is another", other, err)
	}
}
