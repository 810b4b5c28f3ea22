package train

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestRate(t *testing.T) {
	for _, c := range []struct {
		reason string
		cfg    func(*Config)
		want   map[int]float64 // by step, 10 steps an epoch, 4 epochs
	}{
		{"constant", func(c *Config) {}, map[int]float64{0: 1, 39: 1}},
		{"constant after a warm-up of half an epoch", func(c *Config) { c.Warmup = 0.5 },
			map[int]float64{0: 0.2, 1: 0.4, 4: 1, 5: 1, 39: 1}},
		{"warm-up that is no whole number of steps", func(c *Config) { c.Warmup = 0.25 },
			map[int]float64{0: 0.4, 1: 0.8, 2: 1, 3: 1}},
		{"halved every epoch", func(c *Config) { c.Schedule, c.StepEpochs, c.StepFactor = Step, 1, 0.5 },
			map[int]float64{0: 1, 9: 1, 10: 0.5, 19: 0.5, 20: 0.25, 39: 0.125}},
		{"a tenth every third epoch", func(c *Config) { c.Schedule, c.StepEpochs, c.StepFactor = Step, 3, 0.1 },
			map[int]float64{29: 1, 30: 0.1, 39: 0.1}},
		{"cosine: 1/2 (1 + cos(pi t)), at t = 0, 1/4, 1/2, 3/4", func(c *Config) { c.Schedule = Cosine },
			map[int]float64{0: 1, 10: (1 + math.Sqrt2/2) / 2, 20: 0.5, 30: (1 - math.Sqrt2/2) / 2}},
		{"cosine to a floor", func(c *Config) { c.Schedule, c.Floor = Cosine, 0.2 },
			map[int]float64{0: 1, 20: 0.6}},
		{"cosine begins after the warm-up", func(c *Config) { c.Schedule, c.Warmup = Cosine, 2 },
			map[int]float64{0: 0.05, 19: 1, 20: 1, 30: 0.5}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.LearningRate, cfg.Epochs = 1, 4
			c.cfg(&cfg)
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			for step, want := range c.want {
				if got := cfg.rate(step, 10, cfg.Epochs); math.Abs(got-want) > 1e-12 {
					t.Errorf("step %d: %v, want %v", step, got, want)
				}
			}
		})
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { *c = Config{} }, "epochs is 0"},
		{func(c *Config) { c.Batch = 0 }, "batch is 0"},
		{func(c *Config) { c.Slices = 0 }, "slices is 0"},
		{func(c *Config) { c.Slices = 41 }, "a batch of 40 cannot be cut into 41 slices"},
		{func(c *Config) { c.Batch, c.Slices, c.Devices = 2, 1, []Opener{CPU, CPU, CPU} }, "a batch of 2 cannot be shared by 3 devices"},
		{func(c *Config) { c.Cores = -1 }, "cores is -1"},
		{func(c *Config) { c.Solver = "adam" }, "one of sgd, adamw"},
		{func(c *Config) { c.LearningRate = math.NaN() }, "learning_rate is NaN"},
		{func(c *Config) { c.LearningRate = -1 }, "learning_rate is -1"},
		{func(c *Config) { c.HeadRate = math.Inf(1) }, "head_rate is +Inf"},
		{func(c *Config) { c.WeightDecay = 2 }, "weight_decay is 2"},
		{func(c *Config) { c.Momentum = 1 }, "momentum is 1"},
		{func(c *Config) { c.Beta2 = 1 }, "beta2 is 1"},
		{func(c *Config) { c.Solver, c.Epsilon = AdamW, 0 }, "epsilon is 0"},
		{func(c *Config) { c.Schedule = "linear" }, "one of constant, step, cosine"},
		{func(c *Config) { c.Schedule, c.StepEpochs = Step, 0 }, "step_epochs is 0"},
		{func(c *Config) { c.Schedule, c.StepFactor = Step, 3 }, "step_factor is 3"},
		{func(c *Config) { c.Warmup = 21 }, "warmup is 21"},
		{func(c *Config) { c.Floor = -0.1 }, "floor is -0.1"},
		{func(c *Config) { c.LabelSmoothing = 1 }, "label_smoothing is 1"},
		{func(c *Config) { c.Mixup = -0.2 }, "mixup is -0.2"},
		{func(c *Config) { c.Cutmix = 33 }, "cutmix is 33: want 0 to 32"},
		{func(c *Config) { c.Cutmix = math.NaN() }, "cutmix is NaN"},
		{func(c *Config) { c.Precision = "fp16" }, "precision is \"fp16\": want one of fp32, bf16"},
		{func(c *Config) { c.Balance = "half" }, "one of none, sqrt, full"},
		{func(c *Config) { c.Best = "loss" }, "one of macro-f1, accuracy"},
		{func(c *Config) { c.Resume = true }, "no state file"},
		{func(c *Config) { c.ClipNorm = -1 }, "clip_norm is -1"},
		{func(c *Config) { c.ClipNorm = math.NaN() }, "clip_norm is NaN"},
		{func(c *Config) { c.Scaling = "square" }, "one of none, linear, sqrt"},
		{func(c *Config) { c.BaseBatch = 0 }, "base_batch is 0"},
		{func(c *Config) { c.Workers = -1 }, "workers is -1"},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

// The rate grows with images a step: by as many times, or the root of that.
func TestScaling(t *testing.T) {
	for _, c := range []struct {
		reason               string
		scaling              string
		batch, base, workers int
		want                 float64
	}{
		{"none, whatever the batch", None, 320, 32, 4, 1},
		{"the batch it was tuned with", Linear, 32, 32, 0, 1},
		{"Goyal et al.: a batch of 8192 for one of 256", Linear, 8192, 256, 1, 32},
		{"workers count", Linear, 32, 32, 4, 4},
		{"a smaller batch", Linear, 16, 32, 1, 0.5},
		{"the root", Sqrt, 128, 32, 1, 2},
		{"the root, of workers too", Sqrt, 64, 32, 8, 4},
		{"the root of a quarter", Sqrt, 8, 32, 0, 0.5},
	} {
		cfg := DefaultConfig()
		cfg.LearningRate, cfg.Slices, cfg.Warmup = 0.5, 1, 1
		cfg.Scaling, cfg.Batch, cfg.BaseBatch, cfg.Workers = c.scaling, c.batch, c.base, c.workers
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := cfg.rate(10, 10, cfg.Epochs); math.Abs(got-0.5*c.want) > 1e-12 {
			t.Errorf("%s: a rate of %v, want %v", c.reason, got, 0.5*c.want)
		}
		if got := cfg.rate(4, 10, cfg.Epochs); math.Abs(got-0.25*c.want) > 1e-12 {
			t.Errorf("%s: in the middle of the warm-up a rate of %v, want %v", c.reason, got, 0.25*c.want)
		}
	}
}

// What does not change the weights stays out of the JSON, which a state is compared by.
func TestConfigJSON(t *testing.T) {
	a, b := DefaultConfig(), DefaultConfig()
	b.Cores, b.State, b.Resume, b.EvaluateTest = 7, "x", true, false
	b.BadBatch = "y"
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	if y, _ := json.Marshal(b); string(x) != string(y) {
		t.Errorf("%s and %s differ", x, y)
	}
}
