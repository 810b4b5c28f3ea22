package train

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/logobeam/logobeam/model"
)

// inRounds trains in rounds, as a pipeline does, and gives the states behind each round and the result.
func inRounds(t *testing.T, net model.Network, data Data, cfg Config, workers, rounds int, outer Outer) (states [][]byte, r Result) {
	t.Helper()
	ctx, params := context.Background(), start(t, net)
	var from []byte
	r.Best = -1
	for epoch := range cfg.Epochs {
		so := make([]Progress, workers)
		for round := range rounds {
			span := Span{Epoch: epoch, Round: round, Rounds: rounds, Workers: workers}
			ends, images := make([][]byte, workers), make([]int, workers)
			for span.Worker = range workers {
				k := span.Worker
				end, p, err := Round(ctx, net, params, data, cfg, from, span, so[k])
				if err != nil {
					t.Fatal(err)
				}
				ends[k], images[k], so[k] = end, p.Images-so[k].Images, p
			}
			span.Worker = 0
			var err error
			if from, err = Merge(params, cfg, span, same(from), images, list(ends), outer); err != nil {
				t.Fatal(err)
			}
			states = append(states, from)
		}
		var a Answers
		var err error
		if r.Params, err = Answering(params, from); err != nil {
			t.Fatal(err)
		}
		for k := range workers {
			share, err := Evaluate(ctx, net, r.Params, data, cfg, k, workers)
			if err != nil {
				t.Fatal(err)
			}
			a.Validation, a.Test = append(a.Validation, share.Validation...), append(a.Test, share.Test...)
		}
		e, err := Judge(data, cfg, r.History, so, a)
		if err != nil {
			t.Fatal(err)
		}
		e.Calibration = nil
		if r.History = append(r.History, e); e.Best {
			r.Best = epoch
		}
	}
	if d := cmp.Diff(start(t, net), params); d != "" {
		t.Error("the starting weights were written to")
	}
	return states, r
}

func list(states [][]byte) func(int) ([]byte, error) {
	return func(k int) ([]byte, error) { return states[k], nil }
}

// same is a state as Merge asks for the one before.
func same(state []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return state, nil }
}

// plainly is no outer step.
var plainly = Outer{LearningRate: 1}

// One worker in rounds takes the steps that Run takes, bit for bit, wherever the rounds end.
func TestOneWorkerIsPlain(t *testing.T) {
	for _, c := range []struct {
		reason string
		net    model.Network
		cfg    func(*Config)
	}{
		{"sgd with momentum", toyCNN(), func(*Config) {}},
		{"sgd without", toyMLP(), func(c *Config) { c.Momentum = 0 }},
		{"the recipe: phases, adamw, averages, mixing, warm-up, cosine", toyCNN(), func(c *Config) {
			c.Solver, c.LearningRate, c.WeightDecay, c.HeadEpochs, c.Average, c.Mixup, c.Cutmix = AdamW, 0.01, 0.05, 1, 2, 0.2, 1
			c.Schedule, c.Warmup, c.LabelSmoothing, c.Balance, c.FreezeShare, c.LayerRate = Cosine, 0.4, 0.1, Sqrt, 0.5, 0.3
		}},
		{"the head alone", toyCNN(), func(c *Config) { c.Freeze, c.Average, c.HeadEpochs = true, 1, 1 }},
		{"smaller images", toyPooled(), func(c *Config) { c.TrainSize, c.EvaluateTest = 8, false }},
	} {
		t.Run(c.reason, func(t *testing.T) {
			cfg := toyConfig()
			cfg.Epochs, cfg.Cores = 3, 2
			c.cfg(&cfg)
			want := mustRun(t, c.net, toyData(), cfg)
			cfg.Cores = 1
			for _, rounds := range []int{1, 4, 7} { // of 4 steps
				_, got := inRounds(t, c.net, toyData(), cfg, 1, rounds, plainly)
				sameParams(t, fmt.Sprint(rounds, " rounds"), want.Params, got.Params)
				if d := cmp.Diff(want.History, got.History, times); d != "" || want.Best != got.Best {
					t.Errorf("%d rounds (-plain +rounds)\n%s", rounds, d)
				}
			}
		})
	}
}

// toyPooled takes images of any size that it is resized to.
func toyPooled() model.Network {
	net := toyCNN()
	net.Input.H, net.Input.W = 16, 16
	return net
}

// The states of rounds are the same bytes in a second run, whatever the number of cores; not those of another number of
// workers. Each learns from every image of the epoch once.
func TestRoundsRepeat(t *testing.T) {
	cfg := toyConfig()
	cfg.Epochs, cfg.Solver, cfg.LearningRate, cfg.Average, cfg.HeadEpochs, cfg.Mixup = 3, AdamW, 0.01, 1, 1, 0.2
	seen := map[string]int{}
	for _, workers := range []int{1, 2, 3} {
		for _, outer := range []Outer{plainly, {LearningRate: 0.7, Momentum: 0.9}} {
			cfg.Cores = 1
			want, r := inRounds(t, toyCNN(), toyData(), cfg, workers, 2, outer)
			cfg.Cores = 3
			data := toyData()
			got, _ := inRounds(t, toyCNN(), data, cfg, workers, 2, outer)
			for i := range want {
				if !bytes.Equal(want[i], got[i]) {
					t.Errorf("%d workers, %v: state %d is another in a second run", workers, outer, i)
				}
			}
			last := string(want[len(want)-1])
			if other, ok := seen[last]; ok {
				t.Errorf("%d workers and %d come to the same", workers, other)
			}
			seen[last] = workers
			train := data.Train.(*toy)
			for i := range train.Len() {
				for epoch := range cfg.Epochs {
					if _, ok := train.asked.Load([2]int{i, epoch}); !ok {
						t.Errorf("%d workers: image %d is not seen in epoch %d", workers, i, epoch)
					}
				}
			}
			if n := train.loads.Load(); n != int64(cfg.Epochs*train.Len()) {
				t.Errorf("%d workers: %d images are loaded; want %d", workers, n, cfg.Epochs*train.Len())
			}
			for _, e := range r.History {
				if !(e.Loss > 0) || e.Validation.Images != 30 {
					t.Errorf("%d workers: %+v", workers, e)
				}
			}
		}
	}
}

// Workers learn: what they come to together is as good as what one comes to.
func TestWorkersLearn(t *testing.T) {
	cfg := toyConfig()
	cfg.Epochs, cfg.Schedule, cfg.Nesterov, cfg.Batch = 25, Cosine, true, 10
	data := toyData()
	data.Train = newToy(150, 1)
	for _, outer := range []Outer{plainly, {LearningRate: 0.7, Momentum: 0.5}} {
		_, r := inRounds(t, toyCNN(), data, cfg, 2, 2, outer)
		if last := r.History[len(r.History)-1]; float64(last.Validation.Accuracy) < 0.9 {
			t.Errorf("%v: %+v", outer, last)
		}
	}
}

// More workers than images, and more rounds than steps: who has nothing to do changes nothing.
func TestIdleWorkers(t *testing.T) {
	cfg := toyConfig()
	cfg.Epochs, cfg.Batch, cfg.Slices = 2, 2, 1
	data := toyData()
	data.Train = newToy(3, 1)
	for _, outer := range []Outer{plainly, {LearningRate: 0.7, Momentum: 0.9}} {
		three, _ := inRounds(t, toyCNN(), data, cfg, 3, 1, outer)
		five, _ := inRounds(t, toyCNN(), data, cfg, 5, 3, outer)
		if a, b := three[len(three)-1], five[len(five)-1]; !bytes.Equal(a, b) {
			t.Errorf("%v: two idle workers and two idle rounds change the state", outer)
		}
	}
}

// parameter is a state in which a network of one weight and one bias has these values, and more.
func parameter(t *testing.T, w float32, more map[string]float32) []byte {
	t.Helper()
	tensors := map[string]model.Tensor{"fc.weight": {Shape: []int{1}, Data: []float32{w}}}
	for name, v := range more {
		tensors[name] = model.Tensor{Shape: []int{1}, Data: []float32{v}}
	}
	var b bytes.Buffer
	if err := (state{Format: stateFormat, Steps: 5}).write(&b, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMerge(t *testing.T) {
	from := parameter(t, 2, map[string]float32{"fc.weight.moment1": 9, "fc.weight.velocity": 0.5})
	a := parameter(t, 1, map[string]float32{"fc.weight.moment1": 4, "fc.weight.average": 1})
	b := parameter(t, 3, map[string]float32{"fc.weight.moment1": 8, "fc.weight.average": 2})
	base := model.Params{"fc.weight": {4}}
	within, first := Span{Epoch: 1, Rounds: 1, Workers: 2}, Span{Rounds: 1, Workers: 2}
	// The mean of 1 and 3 that weigh 3 and 1 is 1.5. From 2 it is delta = 0.5; v = 0.5 x 0.5 + 0.5 = 0.75;
	// w = 2 - 0.8 (0.5 + 0.5 x 0.75) = 1.3. From the starting weight 4, at rest: delta = v = 2.5; w = 4 - 0.8 x 3.75 = 1.
	for _, c := range []struct {
		reason string
		span   Span
		from   []byte
		states [][]byte
		images []int
		outer  Outer
		want   map[string]float32
	}{
		{"by images", within, from, [][]byte{a, b}, []int{30, 10}, plainly,
			map[string]float32{"fc.weight": 1.5, "fc.weight.moment1": 5, "fc.weight.average": 1.25}},
		{"one has seen nothing", within, from, [][]byte{a, b}, []int{0, 10}, plainly,
			map[string]float32{"fc.weight": 3, "fc.weight.moment1": 8, "fc.weight.average": 2}},
		{"with a step", within, from, [][]byte{a, b}, []int{30, 10}, Outer{0.8, 0.5},
			map[string]float32{"fc.weight": 1.3, "fc.weight.moment1": 5, "fc.weight.average": 1.25, "fc.weight.velocity": 0.75}},
		{"with a step without momentum", within, from, [][]byte{a, b}, []int{30, 10}, Outer{0.5, 0},
			map[string]float32{"fc.weight": 1.75, "fc.weight.moment1": 5, "fc.weight.average": 1.25}},
		{"the first step", first, nil, [][]byte{a, b}, []int{3, 1}, Outer{0.8, 0.5},
			map[string]float32{"fc.weight": 1, "fc.weight.moment1": 5, "fc.weight.average": 1.25, "fc.weight.velocity": 2.5}},
		{"the first step of a phase", first, from, [][]byte{a, b}, []int{3, 1}, Outer{0.8, 0.5}, // 2 - 0.8 (0.5 + 0.5 x 0.5)
			map[string]float32{"fc.weight": 1.4, "fc.weight.moment1": 5, "fc.weight.average": 1.25, "fc.weight.velocity": 0.5}},
		{"nobody has seen anything", within, from, [][]byte{a, b}, []int{0, 0}, Outer{0.8, 0.5},
			map[string]float32{"fc.weight": 2, "fc.weight.moment1": 9, "fc.weight.velocity": 0.5}},
	} {
		from := same(c.from)
		if c.outer == plainly {
			from = nil // it is large, and not needed
		}
		got, err := Merge(base, DefaultConfig(), c.span, from, c.images, list(c.states), c.outer)
		if err != nil {
			t.Errorf("%s: %v", c.reason, err)
			continue
		}
		s, err := stateOf(got)
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]float32{}
		for name, v := range s.tensors {
			values[name] = v.Data[0]
		}
		if d := cmp.Diff(c.want, values, cmp.Comparer(func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 })); d != "" {
			t.Errorf("%s (-want +got)\n%s", c.reason, d)
		}
	}
	if one, err := Merge(base, DefaultConfig(), within, nil, []int{3}, list([][]byte{a}), plainly); err != nil || !bytes.Equal(one, a) {
		t.Errorf("one worker's state is not passed on as it is: %v", err)
	}
	there, err1 := Merge(base, DefaultConfig(), within, nil, []int{1, 2}, list([][]byte{a, b}), plainly)
	back, err2 := Merge(base, DefaultConfig(), within, nil, []int{2, 1}, list([][]byte{b, a}), plainly)
	if err1 != nil || err2 != nil || !slices.Equal(values(t, there), values(t, back)) { // a sum of two is the same from behind
		t.Error("two workers that change places come to something else", err1, err2)
	}
}

func values(t *testing.T, state []byte) []float32 {
	t.Helper()
	s, err := stateOf(state)
	if err != nil {
		t.Fatal(err)
	}
	return s.tensors["fc.weight"].Data
}

func TestMergeRefuses(t *testing.T) {
	good := parameter(t, 1, nil)
	long := parameter(t, 1, map[string]float32{"fc.bias": 1})
	for reason, c := range map[string]struct {
		states [][]byte
		outer  Outer
	}{
		"a damaged state":       {[][]byte{good, append(slices.Clone(good[:len(good)-1]), good[len(good)-1]+1)}, plainly},
		"one that is cut short": {[][]byte{good, good[:20]}, plainly},
		"one that lacks values": {[][]byte{long, good}, plainly},
		"no rate":               {[][]byte{good, good}, Outer{0, 0.9}},
		"a momentum of 1":       {[][]byte{good, good}, Outer{1, 1}},
		"a rate that is none":   {[][]byte{good, good}, Outer{math.NaN(), 0}},
	} {
		if _, err := Merge(model.Params{"fc.weight": {1}}, DefaultConfig(), Span{Rounds: 1, Workers: 2}, same(nil), []int{1, 1}, list(c.states), c.outer); err == nil {
			t.Errorf("%s is taken", reason)
		}
	}
}
