package device_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/device"
	"github.com/logobeam/logobeam/model/train"
)

// noise is labelled images of nothing.
type noise struct{ images, classes int }

func (d noise) Len() int        { return d.images }
func (d noise) Label(i int) int { return i * 7 % d.classes }
func (d noise) Load(i, _ int, to []float32) error {
	image(i, to)
	return nil
}

// run trains a network and gives what came out, and the device that trained, if one did.
func run(t *testing.T, ctx context.Context, net model.Network, cfg train.Config, gpu bool, hooks ...train.Hook) (train.Result, device.Driver, error) {
	t.Helper()
	var d device.Driver
	if gpu {
		cfg.Devices = []train.Opener{{Kind: "gpu", Open: func(j train.Job) (train.Device, error) {
			d = newDriver(t)
			return device.NewTrainer(d, j)
		}}}
	}
	classes := make([]string, net.Classes())
	data := train.Data{Classes: classes, Train: noise{10, len(classes)}, Validation: noise{2, len(classes)}}
	for i := range classes {
		classes[i] = string(rune('a' + i))
	}
	result, err := train.Run(ctx, net, parameters(net), data, cfg, hooks...)
	return result, d, err
}

func config() train.Config {
	cfg := train.DefaultConfig()
	cfg.Epochs, cfg.Batch, cfg.Slices, cfg.Cores, cfg.LearningRate = 2, 6, 2, 2, 0.02 // the second batch has 4
	cfg.Best, cfg.LabelSmoothing = train.Accuracy, 0.1
	return cfg
}

func TestTrainer(t *testing.T) {
	for _, tt := range []struct {
		name     string
		networks []model.Network
		change   func(*train.Config)
		most     float64 // of the way that a parameter goes
	}{
		{"sgd", small(), func(c *train.Config) { c.Epochs = 1 }, 1e-3},
		{"plain, clipped, an average", small()[:1], func(c *train.Config) { c.Momentum, c.ClipNorm, c.Average = 0, 0.5, 1 }, 1e-3},
		{"nesterov, frozen in front", small()[2:3], func(c *train.Config) {
			c.Nesterov, c.FreezeShare, c.HeadRate, c.LayerRate = true, 0.5, 2, 0.3
		}, 1e-3},
		{"adamw, the head first", small()[1:2], func(c *train.Config) {
			c.Solver, c.HeadEpochs, c.Average, c.WeightDecay, c.Epsilon, c.LearningRate = train.AdamW, 1, 1, 0.05, 1e-2, 0.003
		}, 1e-2},
		{"bf16", small()[3:], func(c *train.Config) { c.Epochs, c.Precision = 1, train.BF16 }, 0.2},
	} {
		for _, net := range tt.networks {
			cfg := config()
			tt.change(&cfg)
			want, _, err := run(t, context.Background(), net, cfg, false)
			if err != nil {
				t.Fatal(err)
			}
			got, d, err := run(t, context.Background(), net, cfg, true)
			if err != nil {
				t.Fatalf("%s: %s: %v", tt.name, net.Arch, err)
			}
			before := parameters(net)
			for name, w := range want.Params {
				moved, off := 0.0, 0.0
				for i, v := range w {
					moved = max(moved, math.Abs(float64(v-before[name][i])))
					off = max(off, math.Abs(float64(v-got.Params[name][i])))
				}
				if !(off <= tt.most*moved+1e-6) {
					t.Errorf("%s: %s: %s is off by %.2g, where it has moved by %.2g", tt.name, net.Arch, name, off, moved)
				}
			}
			for i, e := range want.History {
				if g := got.History[i]; math.Abs(g.Loss-e.Loss) > tt.most*e.Loss || tt.most < 0.1 && g.TrainAccuracy != e.TrainAccuracy {
					t.Errorf("%s: %s: epoch %d: a loss of %v and %v right: want %v and %v", tt.name, net.Arch, i+1, g.Loss, g.TrainAccuracy, e.Loss, e.TrainAccuracy)
				}
			}
			closed(t, d)
		}
	}
}

// A run that was stopped goes on to the same parameters, bit for bit, as one that was not.
func TestTrainerResumes(t *testing.T) {
	net, cfg := small()[1], config()
	cfg.Solver, cfg.Average = train.AdamW, 1
	want, _, err := run(t, context.Background(), net, cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	cfg.State, cfg.Resume = filepath.Join(t.TempDir(), "state"), true
	ctx, cancel := context.WithCancel(context.Background())
	stop := train.Hook{OnStep: func(_ context.Context, s train.StepInfo) error {
		if s.Epoch == 2 {
			cancel()
		}
		return nil
	}}
	if _, _, err := run(t, ctx, net, cfg, true, stop); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v of a run that was stopped", err)
	}
	got, _, err := run(t, context.Background(), net, cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range want.Params {
		if !slices.Equal(got.Params[name], w) {
			t.Errorf("%s differs from that of a run that was not stopped", name)
		}
	}
}

// Devices in step have the same parameters as one.
func TestTrainersInStep(t *testing.T) {
	net, cfg := small()[2], config()
	cfg.Epochs = 1
	want, _, err := run(t, context.Background(), net, cfg, true)
	if err != nil {
		t.Fatal(err)
	}
	open := train.Opener{Kind: "gpu", Open: func(j train.Job) (train.Device, error) { return device.NewTrainer(newDriver(t), j) }}
	cfg.Devices = []train.Opener{open, open}
	got, _, err := run(t, context.Background(), net, cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range want.Params {
		if far := distance(got.Params[name], w); far > 1e-4 {
			t.Errorf("%s is off by %.2g", name, far)
		}
	}
}
