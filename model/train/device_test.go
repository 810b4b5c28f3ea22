package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/logobeam/logobeam/model"
)

func processors(n int) (list []Opener) {
	for range n {
		list = append(list, CPU)
	}
	return list
}

// sameReplicas checks that all devices hold the same values bit for bit.
func sameReplicas(t *testing.T, tr *trainer) {
	t.Helper()
	for i, d := range tr.devices {
		if err := d.Read(); err != nil {
			t.Fatal(err)
		}
		for k, p := range tr.jobs[i].Learn {
			first := tr.learn[k]
			values := func(p Parameter) model.Params {
				all := model.Params{"values": p.Values, "average": p.Average}
				for m := range p.Moments {
					all[fmt.Sprint("moment", m)] = p.Moments[m]
				}
				return all
			}
			sameParams(t, fmt.Sprintf("device %d: %s", i, p.Name), values(first), values(p))
		}
	}
}

// However many devices share the batches, the parameters are those of one, but for the last bits of sums. Batches
// do not divide by the devices, and some have fewer images than there are devices.
func TestDevicesAreOne(t *testing.T) {
	usual := joinFrom
	defer func() { joinFrom = usual }()
	wide := between(5, 5, 3, model.Layer{Name: "op", Op: model.Dense, Out: joinedOutputs + 3, Act: model.ReLU})
	for _, c := range []struct {
		reason    string
		net       model.Network
		join      int
		tolerance float64 // as a share of how far the parameter has moved at most
		cfg       func(*Config)
	}{
		{"every operation", everyOperation(), usual, 1e-4, nil},
		{"dense layers that meet", wide, 1, 1e-4, nil},
		{"the same, clipped", wide, 1, 1e-4, func(c *Config) { c.ClipNorm = 0.1 }},
		{"the same, with layers frozen and slower", wide, 1, 1e-4, func(c *Config) { c.FreezeLayers, c.LayerRate = []string{"op"}, 0.5 }},
		{"smoothed labels and averages", everyOperation(), usual, 1e-4, func(c *Config) { c.LabelSmoothing, c.Average = 0.1, 0.5 }},
		{"in bfloat16, where nearly the same may be rounded to another value", wide, 1, 2e-2, func(c *Config) { c.Precision = BF16 }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			joinFrom = c.join
			train := func(n int) (model.Params, []Outcome) {
				var tr *trainer
				var outcomes []Outcome
				params := newProblem(t, c.net, 1, 1).params
				for i, images := range []int{9, 9, 7, 3, 1, 9} {
					p := newProblem(t, c.net, images, uint64(i))
					if tr == nil {
						cfg := DefaultConfig()
						cfg.Batch, cfg.Slices, cfg.Cores, cfg.Devices = 9, 4, 2, processors(n)
						if c.cfg != nil {
							c.cfg(&cfg)
						}
						var err error
						if tr, err = newTrainer(c.net, params, cfg, 0); err != nil {
							t.Fatal(err)
						}
						defer tr.close()
						tr.keep = 0.5
					}
					out, err := tr.step(context.Background(), p.batch(tr), 0.02)
					if err != nil {
						t.Fatal(err)
					}
					outcomes = append(outcomes, out)
				}
				sameReplicas(t, tr)
				return tr.answering(), outcomes
			}
			before := newProblem(t, c.net, 1, 1).params
			want, wantOut := train(1)
			for _, n := range []int{2, 4} {
				got, out := train(n)
				for name, w := range want {
					moved, off := 0.0, 0.0
					for i, v := range w {
						moved = max(moved, math.Abs(float64(v-before[name][i])))
						off = max(off, math.Abs(float64(v-got[name][i])))
					}
					if off > c.tolerance*moved+1e-7 {
						t.Errorf("%d devices: %s is off by %v, where it has moved by %v", n, name, off, moved)
					}
				}
				for i := range out {
					if math.Abs(out[i].Loss-wantOut[i].Loss) > c.tolerance*wantOut[i].Loss || c.tolerance < 1e-3 && out[i].Right != wantOut[i].Right {
						t.Errorf("%d devices: step %d tells %+v, want %+v", n, i, out[i], wantOut[i])
					}
				}
			}
		})
	}
}

// A run of several devices is resumed bit for bit, on as many.
func TestDevicesResume(t *testing.T) {
	cfg := toyConfig()
	cfg.Devices, cfg.Solver, cfg.LearningRate, cfg.HeadEpochs, cfg.Average, cfg.Mixup = processors(3), AdamW, 0.01, 1, 0.7, 0.2
	want := mustRun(t, toyCNN(), toyData(), cfg)
	cfg.State, cfg.Resume = filepath.Join(t.TempDir(), "state"), true
	for i, cut := range [][2]int{{1, 2}, {2, 3}, {4, 1}} {
		ctx, stop := stopAt(cut[0], cut[1])
		cfg.Cores = 1 + 2*i
		if _, err := Run(ctx, toyCNN(), start(t, toyCNN()), toyData(), cfg, stop); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want that of the context", err)
		}
	}
	got := mustRun(t, toyCNN(), toyData(), cfg)
	sameParams(t, "resumed", want.Params, got.Params)
	if d := cmp.Diff(want.History, got.History, times); d != "" {
		t.Errorf("history (-want +got)\n%s", d)
	}
	cfg.Devices = nil
	if _, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), toyData(), cfg); err == nil || !strings.Contains(err.Error(), `devices (["cpu","cpu","cpu"] there, nothing now)`) {
		t.Errorf("error %v of a state of three devices on one", err)
	}
}

// A device that cannot be opened ends the run, and those that have been are closed: no goroutine is left, as TestMain sees.
func TestDeviceIsNotThere(t *testing.T) {
	cfg := toyConfig()
	cfg.Devices = []Opener{CPU, {"gpu", func(Job) (Device, error) { return nil, errors.New("no driver") }}}
	if _, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), toyData(), cfg); err == nil || !strings.Contains(err.Error(), "no driver") {
		t.Errorf("error %v, want the device's", err)
	}
}

// Nor does a phase that cannot begin leave any.
func TestSecondPhaseHasNoDevice(t *testing.T) {
	cfg := toyConfig()
	opened := 0
	cfg.HeadEpochs, cfg.Devices = 1, []Opener{{"cpu", func(j Job) (Device, error) {
		if opened++; opened > 1 {
			return nil, errors.New("it is lost")
		}
		return CPU.Open(j)
	}}}
	if _, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), toyData(), cfg); err == nil || !strings.Contains(err.Error(), "it is lost") {
		t.Errorf("error %v, want the device's", err)
	}
}

// The network has two weights a class, all 0, so that its gradient is worked out by hand: for an image (3, 4) of the
// first of two classes the logits' is (-0.5, 0.5), the weights' ((-1.5, -2), (1.5, 2)), and the norm of all that is the
// root of 2 (1.5² + 2²) + 2 0.5² = 13.
func TestClip(t *testing.T) {
	net := layers(1, 1, 2, model.Layer{Name: "head", Op: model.Dense, Out: 2})
	gradient := []float64{-1.5, -2, 1.5, 2, -0.5, 0.5}
	for _, c := range []struct {
		reason  string
		clip    float64
		scale   float64
		devices int
		join    int
	}{
		{"none", 0, 1, 1, 1 << 20},
		{"to 1", 1, 1 / math.Sqrt(13), 1, 1 << 20},
		{"shorter than the limit", 3.7, 1, 1, 1 << 20},
		{"to 2, on two devices", 2, 2 / math.Sqrt(13), 2, 1 << 20},
		{"to 1, of a layer that is worked out for the batch", 1, 1 / math.Sqrt(13), 1, 1},
	} {
		t.Run(c.reason, func(t *testing.T) {
			defer func(usual int) { joinFrom = usual }(joinFrom)
			joinFrom = c.join
			cfg := DefaultConfig()
			cfg.Batch, cfg.Slices, cfg.ClipNorm, cfg.Devices = 2, 1, c.clip, processors(c.devices)
			tr, err := newTrainer(net, model.Params{"head.weight": make([]float32, 4), "head.bias": make([]float32, 2)}, cfg, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.close()
			b := tr.newBatch(0)
			b.count = 2
			copy(b.images, []float32{3, 4, 3, 4})
			if err := tr.ready(b); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.step(context.Background(), b, 0); err != nil {
				t.Fatal(err)
			}
			var got []float32 // after one step from rest the momentum is the gradient
			for _, p := range tr.learn {
				got = append(got, p.Moments[0]...)
			}
			for i, g := range gradient {
				if math.Abs(float64(got[i])-g*c.scale) > 1e-6 {
					t.Fatalf("the gradient is %v, want %v times %v", got, gradient, c.scale)
				}
			}
		})
	}
}

func TestSumSquares(t *testing.T) {
	for n := range 9 {
		values := make([]float32, n)
		want := 0.0
		for i := range values {
			values[i] = float32(i) - 2.5
			want += float64(values[i]) * float64(values[i])
		}
		if got := sumSquares(values); got != want {
			t.Errorf("of %v: %v, want %v", values, got, want)
		}
	}
	if got := sumSquares([]float32{1e30, 1e30, 1e30, 1e30, 1e30}); math.Abs(got/5e60-1) > 1e-6 {
		t.Errorf("squares beyond float32: %v", got)
	}
}

// blinding is a dataset with names, of which an image is infinitely bright.
type blinding struct {
	*toy
	image int
}

func (b blinding) Name(i int) string { return fmt.Sprintf("/photographs/%d, old.jpg", i) }

func (b blinding) Load(i, epoch int, image []float32) error {
	if err := b.toy.Load(i, epoch, image); err != nil {
		return err
	}
	if i == b.image && epoch >= 0 {
		image[7] = float32(math.Inf(1))
	}
	return nil
}

// The batch of a step whose loss is no number is saved, with what the step needs to fail again, and the parameters are as
// they were before.
func TestBadBatch(t *testing.T) {
	for _, n := range []int{1, 3} {
		for _, mix := range []float64{0, 0.2} {
			t.Run(fmt.Sprintf("%d devices, mixup %v", n, mix), func(t *testing.T) {
				cfg := toyConfig()
				cfg.BadBatch, cfg.Devices, cfg.Mixup, cfg.Balance = filepath.Join(t.TempDir(), "model", "bad"), processors(n), mix, Full
				data := toyData()
				data.Train = blinding{data.Train.(*toy), 40}
				params := start(t, toyMLP())
				before := model.Params{}
				step := 0
				_, err := Run(context.Background(), toyMLP(), params, data, cfg, Hook{OnStep: func(_ context.Context, s StepInfo) error {
					step++
					for name, w := range params {
						before[name] = slices.Clone(w)
					}
					return nil
				}})
				var bad *NotFiniteError
				if !errors.As(err, &bad) || bad.Batch != cfg.BadBatch || bad.Epoch != 0 || !strings.Contains(err.Error(), fmt.Sprintf("epoch 1: step %d: the loss is ", step+1)) {
					t.Fatalf("error %v, want one that names epoch, step %d and folder", err, step+1)
				}
				sameParams(t, "after the step", before, params)

				list, err := os.ReadFile(filepath.Join(cfg.BadBatch, "batch.csv"))
				if err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(strings.TrimSpace(string(list)), "\n")
				draws := order(data.Train.(blinding).labels, 3, cfg.Balance, cfg.Seed, 0)[step*cfg.Batch:]
				if lines[0] != "image,label,epoch,largest" || len(lines) != 1+min(cfg.Batch, len(draws)) {
					t.Fatalf("the listing is\n%s", list)
				}
				infinite := 0
				for i, line := range lines[1:] {
					d := draws[i]
					if want := fmt.Sprintf(`"/photographs/%d, old.jpg",%s,%d,`, d.image, toyClasses[d.image%3], d.repeat*cfg.Epochs); !strings.HasPrefix(line, want) {
						t.Errorf("line %d is %s, want %s", i, line, want)
					}
					if strings.HasSuffix(line, ",+Inf") {
						infinite++
					}
				}
				if infinite == 0 {
					t.Errorf("no image is infinite in\n%s", list)
				}

				f, err := os.Open(filepath.Join(cfg.BadBatch, "batch.safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				info, err := f.Stat()
				if err != nil {
					t.Fatal(err)
				}
				saved, err := model.ReadSafetensors(f, info.Size())
				if err != nil {
					t.Fatal(err)
				}
				again := model.Params{}
				for name := range params {
					again[name] = saved[name].Data
				}
				sameParams(t, "saved", before, again)
				tr, err := newTrainer(toyMLP(), again, cfg, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer tr.close()
				b := tr.newBatch(0)
				b.count = saved["images"].Shape[0]
				copy(b.images, saved["images"].Data)
				if err := tr.ready(b); err != nil {
					t.Fatal(err)
				}
				copy(b.targets, saved["targets"].Data)
				if _, err := tr.step(context.Background(), b, 0.01); !errors.As(err, &bad) {
					t.Errorf("error %v of the saved batch", err)
				}
			})
		}
	}
}

// A gradient may overflow where the loss does not: the weights of the first layer are 0, so logits are too, and the gradient
// is an image of 1e20 times weights of 1e20.
func TestGradientOverflows(t *testing.T) {
	net := layers(1, 1, 1, model.Layer{Name: "a", Op: model.Dense, Out: 2}, model.Layer{Name: "head", Op: model.Dense, Out: 2})
	for _, c := range []struct {
		reason  string
		join    int
		devices int
		clip    float64
		may     string // change before it is known
	}{
		{"one device", 1 << 20, 1, 0, "none"},
		{"two devices", 1 << 20, 2, 0, "none"},
		{"a layer that learns while it is computed", 1, 1, 0, "head."},
		{"a layer whose gradient is kept for others", 1, 2, 0, "none"},
		{"a layer whose gradient is kept to clip it", 1, 1, 1, "none"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			defer func(usual int) { joinFrom = usual }(joinFrom)
			joinFrom = c.join
			cfg := DefaultConfig()
			cfg.Batch, cfg.Slices, cfg.Devices, cfg.ClipNorm = 2, 1, processors(c.devices), c.clip
			params := model.Params{"a.weight": {0, 0}, "a.bias": {0, 0}, "head.weight": {1e20, 0, 0, 1e20}, "head.bias": {0, 0}}
			tr, err := newTrainer(net, params, cfg, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.close()
			b := tr.newBatch(0)
			b.count = 2
			b.images[0], b.images[1] = 1e20, 1e20
			if err := tr.ready(b); err != nil {
				t.Fatal(err)
			}
			var bad *NotFiniteError
			if _, err := tr.step(context.Background(), b, 0.1); !errors.As(err, &bad) || bad.What != "norm of the gradient" {
				t.Fatalf("error %v, want one of the gradient", err)
			}
			for name, w := range (model.Params{"a.weight": {0, 0}, "a.bias": {0, 0}, "head.weight": {1e20, 0, 0, 1e20}, "head.bias": {0, 0}}) {
				if !slices.Equal(params[name], w) && !strings.HasPrefix(name, c.may) {
					t.Errorf("%s is %v after the step, was %v", name, params[name], w)
				}
			}
		})
	}
}
