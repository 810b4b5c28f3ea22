package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/logobeam/logobeam/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// toy is images of noise on which a bright bar lies across, along, or not at all; where it lies is drawn anew each epoch.
type toy struct {
	shape  model.Shape
	labels []int
	seed   uint64
	fail   int          // image that cannot be loaded, from 1
	loads  atomic.Int64 // calls of Load
	asked  sync.Map     // [2]int{i, epoch}: how often
}

var toyClasses = []string{"across", "along", "no-logo"}

func newToy(n int, seed uint64) *toy {
	t := &toy{shape: model.Shape{H: 8, W: 8, C: 3}, seed: seed}
	for i := range n {
		t.labels = append(t.labels, i%3)
	}
	return t
}

func (t *toy) Len() int        { return len(t.labels) }
func (t *toy) Label(i int) int { return t.labels[i] }

func (t *toy) Load(i, epoch int, image []float32) error {
	t.loads.Add(1)
	n, _ := t.asked.LoadOrStore([2]int{i, epoch}, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
	if i+1 == t.fail {
		return errors.New("the file is gone")
	}
	rng := rand.New(rand.NewPCG(t.seed, uint64(i)<<32+uint64(epoch+1)))
	for k := range image {
		image[k] = float32(rng.NormFloat64() * 0.3)
	}
	at := rng.IntN(8)
	for k := range 8 {
		y, x := at, k
		if t.labels[i] == 1 {
			y, x = k, at
		}
		if t.labels[i] < 2 {
			image[(y*8+x)*3+k%3] += 2
		}
	}
	return nil
}

func toyMLP() model.Network {
	return layers(8, 8, 3,
		model.Layer{Name: "hidden", Op: model.Dense, Out: 96, Act: model.ReLU},
		model.Layer{Name: "head", Op: model.Dense, Out: 3})
}

func toyCNN() model.Network {
	return layers(8, 8, 3,
		model.Layer{Name: "conv1", Op: model.Conv, Out: 8, Kernel: 3, Pad: 1, Act: model.ReLU},
		model.Layer{Name: "pool1", Op: model.MaxPool, Kernel: 2, Stride: 2},
		model.Layer{Name: "conv2", Op: model.Conv, Out: 12, Kernel: 3, Pad: 1, Act: model.ReLU},
		model.Layer{Name: "pool2", Op: model.GlobalAvgPool},
		model.Layer{Name: "head", Op: model.Dense, Out: 3})
}

func start(t testing.TB, net model.Network) model.Params {
	t.Helper()
	p, err := model.Init(net, 3)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func toyData() Data {
	return Data{Classes: toyClasses, Train: newToy(75, 1), Validation: newToy(30, 2), Test: newToy(21, 3)}
}

func toyConfig() Config {
	cfg := DefaultConfig()
	cfg.Epochs, cfg.Batch, cfg.Slices, cfg.LearningRate = 4, 20, 4, 0.05
	return cfg
}

func mustRun(t testing.TB, net model.Network, data Data, cfg Config, hooks ...Hook) Result {
	t.Helper()
	r, err := Run(context.Background(), net, start(t, net), data, cfg, hooks...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLearns(t *testing.T) {
	for _, c := range []struct {
		reason   string
		net      model.Network
		cfg      func(*Config)
		loss     float64 // of the last epoch, at most; ln 3 = 1.10 is guessing
		accuracy float64 // of the validation images, at least
	}{
		{"mlp by sgd", toyMLP(), func(c *Config) { c.Epochs = 15 }, 0.25, 0.8},
		{"cnn by sgd", toyCNN(), func(c *Config) { c.Epochs, c.Schedule, c.Nesterov = 25, Cosine, true }, 0.15, 0.9},
		{"cnn of mixed images", toyCNN(), func(c *Config) {
			c.Epochs, c.Solver, c.LearningRate, c.Mixup = 30, AdamW, 0.01, 0.2
		}, 0.75, 0.9},
		{"cnn by sgd in bfloat16", toyCNN(), func(c *Config) { c.Epochs, c.Schedule, c.Nesterov, c.Precision = 25, Cosine, true, BF16 }, 0.15, 0.9},
		{"cnn by adamw", toyCNN(), func(c *Config) {
			c.Epochs, c.Solver, c.LearningRate, c.WeightDecay = 25, AdamW, 0.01, 0.01
		}, 0.15, 0.9},
	} {
		t.Run(c.reason, func(t *testing.T) {
			cfg := toyConfig()
			c.cfg(&cfg)
			data := toyData()
			data.Train = newToy(150, 1)
			r := mustRun(t, c.net, data, cfg)
			last := r.History[len(r.History)-1]
			if last.Loss > c.loss || float64(last.Validation.Accuracy) < c.accuracy || float64(last.TrainAccuracy) < c.accuracy {
				t.Errorf("%+v after %d epochs: want a loss of at most %v and an accuracy of at least %v", last, len(r.History), c.loss, c.accuracy)
			}
			if float64(last.Test.Accuracy) < c.accuracy-0.1 {
				t.Errorf("test accuracy %v where validation has %v", last.Test.Accuracy, last.Validation.Accuracy)
			}
		})
	}
}

func sameParams(t *testing.T, what string, want, got model.Params) {
	t.Helper()
	for name, w := range want {
		for i, v := range got[name] {
			if math.Float32bits(v) != math.Float32bits(w[i]) {
				t.Errorf("%s: %s[%d] is %v, want %v", what, name, i, v, w[i])
				return
			}
		}
	}
}

// times are what two runs never agree on.
var times = cmpopts.IgnoreFields(Epoch{}, "Seconds", "ImagesPerSecond")

func TestWorkersChangeNothing(t *testing.T) {
	cfg := toyConfig()
	cfg.Balance, cfg.LabelSmoothing = Sqrt, 0.1
	for _, cfg.Precision = range []string{FP32, BF16} {
		cfg.Cores = 1
		want := mustRun(t, toyCNN(), toyData(), cfg)
		for _, n := range []int{2, 3, 4, 9} {
			cfg.Cores = n
			got := mustRun(t, toyCNN(), toyData(), cfg)
			sameParams(t, fmt.Sprintf("%s, %d workers", cfg.Precision, n), want.Params, got.Params)
			if d := cmp.Diff(want.History, got.History, times); d != "" {
				t.Errorf("%s, %d workers (-one +got)\n%s", cfg.Precision, n, d)
			}
		}
		moved := false
		for name, w := range start(t, toyCNN()) {
			moved = moved || !slices.Equal(w, want.Params[name])
		}
		if !moved {
			t.Error("nothing has been learnt, so the comparison says nothing")
		}
	}
}

func TestFreeze(t *testing.T) {
	cfg := toyConfig()
	cfg.Freeze, cfg.Epochs = true, 2
	r := mustRun(t, toyCNN(), toyData(), cfg)
	for name, w := range start(t, toyCNN()) {
		if same := slices.Equal(w, r.Params[name]); same == strings.HasPrefix(name, "head.") {
			t.Errorf("%s is as it was: %v", name, same)
		}
	}
}

func TestFreezeShare(t *testing.T) {
	for share, frozen := range map[float64][]string{0.1: nil, 0.5: {"conv1"}, 1: {"conv1", "conv2"}} {
		cfg := toyConfig()
		cfg.FreezeShare, cfg.Epochs = share, 2
		r := mustRun(t, toyCNN(), toyData(), cfg)
		for name, w := range start(t, toyCNN()) {
			layer, _, _ := strings.Cut(name, ".")
			if same := slices.Equal(w, r.Params[name]); same != slices.Contains(frozen, layer) {
				t.Errorf("a share of %v: %s is as it was: %v", share, name, same)
			}
		}
	}
}

func TestHeadRate(t *testing.T) {
	cfg := toyConfig()
	cfg.HeadRate, cfg.Epochs = 0, 1
	r := mustRun(t, toyCNN(), toyData(), cfg)
	for name, w := range start(t, toyCNN()) {
		if same := slices.Equal(w, r.Params[name]); same != strings.HasPrefix(name, "head.") {
			t.Errorf("%s is as it was: %v", name, same)
		}
	}
}

func TestHeadEpochs(t *testing.T) {
	cfg := toyConfig()
	cfg.HeadEpochs, cfg.Epochs, cfg.Solver, cfg.LearningRate, cfg.Warmup = 2, 3, AdamW, 0.01, 0.5
	first := start(t, toyCNN())
	var rates []float64
	mustRun(t, toyCNN(), toyData(), cfg, Hook{
		OnStep: func(_ context.Context, s StepInfo) error {
			rates = append(rates, s.LearningRate)
			return nil
		},
		OnEpoch: func(_ context.Context, e Epoch, params model.Params) error {
			for name, w := range first {
				learns := strings.HasPrefix(name, "head.") || e.Epoch > 2
				if same := slices.Equal(w, params[name]); same == learns {
					t.Errorf("after epoch %d %s is as it was: %v", e.Epoch, name, same)
				}
			}
			return nil
		},
	})
	// 75 images are 4 steps an epoch; each phase climbs for 2 of them.
	if want := []float64{0.005, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.01, 0.01, 0.01}; !slices.Equal(rates, want) {
		t.Errorf("learning rates %v, want %v", rates, want)
	}
}

func TestLayerRate(t *testing.T) {
	one := func(rate float64) model.Params {
		cfg := toyConfig()
		cfg.LayerRate, cfg.Momentum, cfg.Epochs, cfg.Batch = rate, 0, 1, 75 // a single step
		return mustRun(t, toyCNN(), toyData(), cfg).Params
	}
	first, full, layered := start(t, toyCNN()), one(1), one(0.25)
	for name, want := range map[string]float64{"conv1.weight": 0.25, "conv1.bias": 0.25, "conv2.weight": 1, "head.weight": 1} {
		moved, whole := 0.0, 0.0
		for i, w := range first[name] {
			moved += math.Abs(float64(layered[name][i] - w))
			whole += math.Abs(float64(full[name][i] - w))
		}
		if got := moved / whole; math.Abs(got-want) > 1e-3 {
			t.Errorf("%s moves by %v of what it does at the full rate, want %v", name, got, want)
		}
	}
}

// The average is worked out anew, in float64, from the weights that each step leaves.
func TestAverage(t *testing.T) {
	for _, net := range []model.Network{toyCNN(), toyMLP()} { // with and without a layer that is joined
		cfg := toyConfig()
		cfg.Average = 0.8
		params := start(t, net)
		want := map[string][]float64{}
		for name, w := range params {
			for _, v := range w {
				want[name] = append(want[name], float64(v))
			}
		}
		step := 0
		r, err := Run(context.Background(), net, params, toyData(), cfg, Hook{OnStep: func(context.Context, StepInfo) error {
			keep := min(math.Exp(-1/(0.8*4)), float64(1+step)/float64(10+step))
			step++
			for name, w := range params {
				for i, v := range w {
					want[name][i] = keep*want[name][i] + (1-keep)*float64(v)
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		apart := false
		for name, w := range want {
			for i, v := range w {
				if got := float64(r.Params[name][i]); math.Abs(got-v) > 1e-5 {
					t.Fatalf("%s[%d] is %v on average, want %v", name, i, got, v)
				}
				apart = apart || r.Params[name][i] != params[name][i]
			}
		}
		if !apart {
			t.Error("the average is the weights themselves")
		}
	}
}

func TestTrainSize(t *testing.T) {
	cfg := toyConfig()
	cfg.TrainSize = 6
	data := toyData()
	small := newToy(75, 1)
	data.Train = sized{small, 6 * 6 * 3, t}
	r := mustRun(t, toyCNN(), data, cfg)
	if len(r.History) != cfg.Epochs {
		t.Errorf("%d epochs, want %d", len(r.History), cfg.Epochs)
	}
	if _, err := Run(context.Background(), toyMLP(), start(t, toyMLP()), toyData(), cfg); err == nil || !strings.Contains(err.Error(), "images of 6 x 6: model: test takes no other input than 8x8x3") {
		t.Errorf("error %v of a network whose first layer is dense", err)
	}
}

// sized checks for how large an image it is asked, and leaves it dark.
type sized struct {
	*toy
	values int
	t      *testing.T
}

func (s sized) Load(i, epoch int, image []float32) error {
	if len(image) != s.values {
		s.t.Errorf("image %d of epoch %d has %d values, want %d", i, epoch, len(image), s.values)
	}
	return nil
}

// stopAt ends a run in an epoch and step, as a signal would.
func stopAt(epoch, step int) (context.Context, Hook) {
	ctx, cancel := context.WithCancel(context.Background())
	return ctx, Hook{Name: "stop", OnStep: func(_ context.Context, s StepInfo) error {
		if s.Epoch == epoch && s.Step == step {
			cancel()
		}
		return nil
	}}
}

func TestResume(t *testing.T) {
	for i, solver := range []string{SGD, AdamW, AdamW} {
		cfg := toyConfig()
		cfg.Precision = []string{FP32, BF16, FP32}[i]
		if i == 2 { // the second epoch, where the runs are cut too, is the first of the second phase
			cfg.HeadEpochs, cfg.LayerRate, cfg.Average = 1, 0.5, 0.7
		}
		cfg.Solver, cfg.LearningRate, cfg.Schedule, cfg.Warmup, cfg.Balance = solver, 0.01, Cosine, 0.5, Full
		want := mustRun(t, toyCNN(), toyData(), cfg)
		for _, cuts := range [][][2]int{{{1, 1}}, {{1, 4}}, {{2, 1}}, {{3, 3}}, {{4, 4}}, {{1, 2}, {2, 3}, {4, 1}}} {
			t.Run(fmt.Sprint(solver, cfg.HeadEpochs, cuts), func(t *testing.T) {
				cfg := cfg
				cfg.State, cfg.Resume = filepath.Join(t.TempDir(), "state"), true
				for _, cut := range cuts {
					ctx, stop := stopAt(cut[0], cut[1])
					cfg.Cores = cut[1]
					r, err := Run(ctx, toyCNN(), start(t, toyCNN()), toyData(), cfg, stop)
					if !errors.Is(err, context.Canceled) {
						t.Fatalf("error %v, want that of the context", err)
					}
					if len(r.History) != cut[0]-1 {
						t.Fatalf("cut in epoch %d: %d epochs are told of", cut[0], len(r.History))
					}
				}
				got, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), toyData(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				sameParams(t, "resumed", want.Params, got.Params)
				if d := cmp.Diff(want.History, got.History, times); d != "" || got.Best != want.Best {
					t.Errorf("best %d, want %d; history (-want +got)\n%s", got.Best, want.Best, d)
				}
				// A finished run has nothing left to do.
				data := toyData()
				again, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), data, cfg)
				if err != nil || data.Train.(*toy).loads.Load() != 0 {
					t.Fatalf("a finished run: error %v, %d images loaded", err, data.Train.(*toy).loads.Load())
				}
				sameParams(t, "a finished run", want.Params, again.Params)
			})
		}
	}
}

// A run that is killed while hooks do what they do of its first epoch has a state to go on from: the starting weights'. One that ends
// before that, by itself, leaves none.
func TestResumeFirstEpoch(t *testing.T) {
	cfg := toyConfig()
	cfg.HeadEpochs, cfg.Average, cfg.Epochs = 1, 0.7, 2
	want := mustRun(t, toyCNN(), toyData(), cfg)
	cfg.State, cfg.Resume = filepath.Join(t.TempDir(), "folder", "state"), true
	var then []byte
	_, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), toyData(), cfg, Hook{OnEpoch: func(context.Context, Epoch, model.Params) (err error) {
		if then == nil {
			then, err = os.ReadFile(cfg.State)
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.State, then, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, stop := stopAt(1, 2)
	if _, err := Run(ctx, toyCNN(), start(t, toyCNN()), toyData(), cfg, stop); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	got, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), toyData(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	sameParams(t, "resumed", want.Params, got.Params)
	if d := cmp.Diff(want.History, got.History, times); d != "" {
		t.Errorf("history (-want +got)\n%s", d)
	}
	cfg.State = filepath.Join(t.TempDir(), "state")
	ctx, stop = stopAt(1, 2)
	Run(ctx, toyCNN(), start(t, toyCNN()), toyData(), cfg, stop)
	if _, err := os.Stat(cfg.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run that has come to nothing leaves a state: %v", err)
	}
}

func TestResumeRefuses(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	cfg := toyConfig()
	cfg.Epochs, cfg.State, cfg.Resume = 1, state, true
	mustRun(t, toyCNN(), toyData(), cfg)
	good, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-100] ^= 1
	for _, c := range []struct {
		reason string
		change func(net *model.Network, d *Data, c *Config)
		file   []byte
		want   string
	}{
		{"another rate", func(_ *model.Network, _ *Data, c *Config) { c.LearningRate = 0.5 }, good, "learning_rate (0.05 there, 0.5 now)"},
		{"another seed and solver", func(_ *model.Network, _ *Data, c *Config) { c.Seed, c.Solver = math.MaxUint64, AdamW }, good, `seed (0 there, 18446744073709551615 now), solver ("sgd" there, "adamw" now)`},
		{"more epochs", func(_ *model.Network, _ *Data, c *Config) { c.Epochs = 2 }, good, "epochs (1 there, 2 now)"},
		{"mixing", func(_ *model.Network, _ *Data, c *Config) { c.Mixup = 0.2 }, good, "mixup (nothing there, 0.2 now)"},
		{"fewer images", func(_ *model.Network, d *Data, _ *Config) { d.Train = newToy(74, 1) }, good, "training images (75 there, 74 now), training labels"},
		{"other images", func(_ *model.Network, d *Data, _ *Config) { d.ID = "b" }, good, `data ("" there, "b" now)`},
		{"other classes", func(_ *model.Network, d *Data, _ *Config) { d.Classes = []string{"a", "b", "c"} }, good, "classes"},
		{"another network", func(n *model.Network, _ *Data, _ *Config) { *n = toyMLP() }, good, "network, starting weights"},
		{"a file cut short", nil, good[:len(good)/2], "or remove it to start anew"},
		{"a file of something else", nil, []byte("hello"), "not the state of a training"},
		{"an empty file", nil, nil, "not the state of a training"},
		{"another format", nil, bytes.Replace(good, []byte(`"format":2`), []byte(`"format":3`), 1), "format 3"},
		{"a changed weight", nil, flipped, "checksum"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if err := os.WriteFile(state, c.file, 0o644); err != nil {
				t.Fatal(err)
			}
			net, data, cfg := toyCNN(), toyData(), cfg
			if c.change != nil {
				c.change(&net, &data, &cfg)
			}
			_, err := Run(context.Background(), net, start(t, net), data, cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if now, _ := os.ReadFile(state); !bytes.Equal(now, c.file) {
				t.Error("the file was touched")
			}
		})
	}
}

// The state of another build of hooks, workers and evaluation is the state of the same run.
func TestResumeIgnoresWhatChangesNothing(t *testing.T) {
	cfg := toyConfig()
	cfg.Epochs, cfg.State = 1, filepath.Join(t.TempDir(), "state")
	mustRun(t, toyCNN(), toyData(), cfg)
	cfg.Cores, cfg.Resume, cfg.EvaluateTest = 3, true, false
	mustRun(t, toyCNN(), toyData(), cfg)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(cfg.State), "*")); len(left) != 1 {
		t.Errorf("files are left beside the state: %v", left)
	}
}

func TestHooks(t *testing.T) {
	var calls []string
	h := Hook{Name: "notes",
		OnStep: func(_ context.Context, s StepInfo) error {
			calls = append(calls, fmt.Sprintf("step %d.%d/%d %d", s.Epoch, s.Step, s.Steps, s.Images))
			return nil
		},
		OnEpoch: func(_ context.Context, e Epoch, p model.Params) error {
			calls = append(calls, fmt.Sprintf("epoch %d %d", e.Epoch, len(p)))
			return nil
		},
		OnEnd: func(_ context.Context, r Result) error {
			calls = append(calls, fmt.Sprintf("end %d", len(r.History)))
			return nil
		},
	}
	cfg := toyConfig()
	cfg.Epochs, cfg.Batch = 2, 40
	mustRun(t, toyMLP(), toyData(), cfg, h, Hook{Name: "nothing"})
	want := []string{"step 1.1/2 40", "step 1.2/2 75", "epoch 1 4", "step 2.1/2 40", "step 2.2/2 75", "epoch 2 4", "end 2"}
	if d := cmp.Diff(want, calls); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	bad := errors.New("full")
	for _, h := range []Hook{
		{Name: "disk", OnStep: func(context.Context, StepInfo) error { return bad }},
		{Name: "disk", OnEpoch: func(context.Context, Epoch, model.Params) error { return bad }},
		{Name: "disk", OnEnd: func(context.Context, Result) error { return bad }},
	} {
		if _, err := Run(context.Background(), toyMLP(), start(t, toyMLP()), toyData(), cfg, h); !errors.Is(err, bad) || !strings.Contains(err.Error(), "disk: full") {
			t.Errorf("error %v, want the hook's with its name", err)
		}
	}
}

func TestSaveBest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	net := toyCNN()
	card := model.Card{Classes: toyClasses, Transforms: json.RawMessage("[]"), Training: &model.Training{Seed: 5, Epochs: 4}}
	kept := map[int]model.Params{}
	keep := Hook{Name: "keep", OnEpoch: func(_ context.Context, e Epoch, p model.Params) error {
		kept[e.Epoch-1] = model.Params{}
		for name, w := range p {
			kept[e.Epoch-1][name] = slices.Clone(w)
		}
		return nil
	}}
	cfg := toyConfig()
	cfg.Best = Accuracy
	r := mustRun(t, net, toyData(), cfg, SaveBest(dir, model.Model{Card: card, Network: net}, false), keep)
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	best := r.History[r.Best]
	if c := m.Card.Calibration; c == nil || c.Temperature == 1 || c.NLL >= c.NLLBefore || c.Images != toyData().Validation.Len() || best.Calibration != nil {
		t.Fatalf("the card says of the calibration %+v", c)
	}
	tempered, err := net.Temper(kept[r.Best], m.Card.Calibration.Temperature)
	if err != nil {
		t.Fatal(err)
	}
	sameParams(t, "the saved model", tempered, m.Params)
	if m.Card.Training.Epoch != best.Epoch || card.Training.Epoch != 0 || m.Card.Training.Seed != 5 {
		t.Errorf("the card says %+v, want epoch %d", m.Card.Training, best.Epoch)
	}
	if got := m.Card.Metrics["validation"]["accuracy"]; got != float64(best.Validation.Accuracy) {
		t.Errorf("the card says validation accuracy %v, want %v", got, best.Validation.Accuracy)
	}
	if got := m.Card.Metrics["test"]["macro_f1"]; got != float64(best.Test.MacroF1) {
		t.Errorf("the card says test macro-F1 %v, want %v", got, best.Test.MacroF1)
	}
	for i, e := range r.History { // the earlier of equals wins, and only what is better is best
		want := true
		for _, before := range r.History[:i] {
			want = want && e.Validation.Accuracy > before.Validation.Accuracy
		}
		if e.Best != want {
			t.Errorf("epoch %d: best %v, want %v", i+1, e.Best, want)
		}
	}
}

func TestDiverges(t *testing.T) {
	cfg := toyConfig()
	cfg.LearningRate = 1e30
	_, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), toyData(), cfg)
	if err == nil || !strings.Contains(err.Error(), "epoch 1: step ") || !strings.Contains(err.Error(), "1e+30") || !strings.Contains(err.Error(), "the loss is") {
		t.Errorf("error %v, want one that names epoch, step and rate", err)
	}
}

func TestLoadFails(t *testing.T) {
	for _, c := range []struct {
		reason string
		break_ func(d *Data)
		want   string
	}{
		{"training", func(d *Data) { d.Train.(*toy).fail = 33 }, "epoch 1: training image 32: the file is gone"},
		{"validation", func(d *Data) { d.Validation.(*toy).fail = 1 }, "the file is gone"},
	} {
		data := toyData()
		c.break_(&data)
		if _, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), data, toyConfig()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.reason, err, c.want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, c := range []struct {
		reason string
		break_ func(d *Data, c *Config)
		want   string
	}{
		{"a configuration that cannot be", func(_ *Data, c *Config) { c.Epochs = 0 }, "epochs is 0"},
		{"too few classes", func(d *Data, _ *Config) { d.Classes = toyClasses[:2] }, "3 outputs and there are 2 classes"},
		{"no training images", func(d *Data, _ *Config) { d.Train = newToy(0, 1) }, "no training images"},
		{"no validation images", func(d *Data, _ *Config) { d.Validation = nil }, "no validation images"},
		{"an empty test set", func(d *Data, _ *Config) { d.Test = newToy(0, 1) }, "no test images"},
		{"a label out of range", func(d *Data, _ *Config) { d.Validation.(*toy).labels[4] = 3 }, "validation image 4 has label 3 of 3 classes"},
		{"a state that cannot be written", func(_ *Data, c *Config) { c.State, c.Epochs = filepath.Join(os.DevNull, "state"), 1 }, "saving the state"},
	} {
		data, cfg := toyData(), toyConfig()
		c.break_(&data, &cfg)
		if _, err := Run(context.Background(), toyCNN(), start(t, toyCNN()), data, cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.reason, err, c.want)
		}
	}
}

// Images are loaded while others are computed, but no more than the batches that are allowed to wait.
func TestLoadsAhead(t *testing.T) {
	data := toyData()
	cfg := toyConfig()
	cfg.Epochs, cfg.Batch, cfg.Slices = 1, 5, 1
	check := Hook{Name: "check", OnStep: func(_ context.Context, s StepInfo) error {
		if loaded := int(data.Train.(*toy).loads.Load()); loaded > s.Images+ahead*cfg.Batch {
			return fmt.Errorf("%d images are loaded when %d have been seen", loaded, s.Images)
		}
		return nil
	}}
	mustRun(t, toyCNN(), data, cfg, check)
	if n := data.Train.(*toy).loads.Load(); n != 75 {
		t.Errorf("%d images were loaded of 75", n)
	}
}

// An image must not be shown twice in the same way for training, however often it is drawn, and never in a random way
// for scoring.
func TestEpochsOfLoad(t *testing.T) {
	data := toyData()
	small := newToy(40, 1)
	for i := range small.labels {
		small.labels[i] = min(i/2, 2) // two images of each bar, 36 without
	}
	data.Train = small
	cfg := toyConfig()
	cfg.Balance = Full
	mustRun(t, toyCNN(), data, cfg)
	small.asked.Range(func(key, n any) bool {
		if k := key.([2]int); k[1] < 0 || n.(*atomic.Int64).Load() != 1 {
			t.Errorf("training image %d is asked for %d times in epoch %d", k[0], n.(*atomic.Int64).Load(), k[1])
		}
		return true
	})
	if n := small.loads.Load(); n != 4*40 {
		t.Errorf("%d training images are loaded, want 4 epochs of 40", n)
	}
	for _, d := range []Dataset{data.Validation, data.Test} {
		d.(*toy).asked.Range(func(key, n any) bool {
			if k := key.([2]int); k[1] >= 0 || n.(*atomic.Int64).Load() != 4 {
				t.Errorf("image %d for scoring is asked for %d times in epoch %d", k[0], n.(*atomic.Int64).Load(), k[1])
			}
			return true
		})
	}
}
