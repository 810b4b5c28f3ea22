package train

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
)

// Config says how to train. The zero value does not train: begin with DefaultConfig.
type Config struct {
	// Epochs is how often the training images are gone through.
	Epochs int `json:"epochs"`
	// Batch is the number of images per step of the solver. Each batch is cut into Slices equal parts whose gradients are
	// added in their order, so the result does not depend on Cores, only on Slices.
	Batch  int `json:"batch"`
	Slices int `json:"slices"`
	// Cores is the number of goroutines that compute; 0 is GOMAXPROCS. More than Slices bring nothing to training.
	Cores int `json:"-"`
	// Devices train in step, each with a part of every batch; nil is CPU alone. The result is that of one device but for
	// rounding. Cores and Slices are divided among them.
	Devices []Opener `json:"devices,omitempty"`
	// Seed draws the order of the images. The starting weights and what Dataset.Load draws have seeds of their own.
	Seed uint64 `json:"seed"`

	// Precision is FP32 or BF16: whether the factors of products, of convolutions and of large dense layers, are rounded to
	// bfloat16. Sums, weights, gradients and what the solver keeps are float32 in both. No loss is scaled: bfloat16 has the
	// exponents of float32, so gradients do not vanish in it as in float16, which is why that is not offered.
	Precision string `json:"precision"`

	// Solver is SGD or AdamW.
	Solver string `json:"solver"`
	// LearningRate is the rate at its highest, before Schedule.
	LearningRate float64 `json:"learning_rate"`
	// HeadRate multiplies the rate of the head, the last layer that has parameters.
	HeadRate float64 `json:"head_rate"`
	// LayerRate multiplies the rate of the first layer that has parameters; for those behind it the factor grows, by the
	// same share from one to the next, to 1 for the last before the head (Howard and Ruder, Universal Language Model
	// Fine-tuning, 2018): early layers see edges and colours, which are the same in all photographs.
	LayerRate float64 `json:"layer_rate"`
	// HeadEpochs is the number of epochs in which the head learns alone before all layers do, so that what a new head
	// answers at random does not unlearn the others (Kumar et al., Fine-Tuning can Distort Pretrained Features, 2022).
	// They have the full rate; Warmup and Schedule, and what the solver keeps, begin anew behind them.
	HeadEpochs int `json:"head_epochs"`
	// WeightDecay pulls weights, not biases, towards zero: added to the gradient by SGD, apart from it by AdamW.
	WeightDecay float64 `json:"weight_decay"`
	// Momentum and Nesterov concern SGD.
	Momentum float64 `json:"momentum"`
	Nesterov bool    `json:"nesterov"`
	// Beta1, Beta2 and Epsilon concern AdamW.
	Beta1   float64 `json:"beta1"`
	Beta2   float64 `json:"beta2"`
	Epsilon float64 `json:"epsilon"`

	// ClipNorm is the most that the norm of a step's gradient, of all parameters together, may be: a longer one is scaled down
	// to it (Pascanu et al., On the difficulty of training recurrent neural networks, 2013). 0 clips nothing.
	ClipNorm float64 `json:"clip_norm,omitempty"`
	// Scaling is how the rate grows with Batch times Workers beyond BaseBatch, which it was tuned with: None; Linear, for SGD
	// with a warm-up (Goyal et al., Accurate, Large Minibatch SGD, 2017); or Sqrt, for AdamW (Krizhevsky, One weird trick for
	// parallelizing convolutional neural networks, 2014; Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient
	// Algorithms, 2022). LearningRate is the rate before that. Below BaseBatch it shrinks by the same rule.
	Scaling   string `json:"lr_scaling,omitempty"`
	BaseBatch int    `json:"base_batch,omitempty"`
	// Workers is how many such trainings have their parameters averaged in rounds; 0 is 1. Scaling alone looks at it.
	Workers int `json:"workers,omitempty"`

	// Schedule is Constant, Step or Cosine.
	Schedule string `json:"schedule"`
	// Warmup is the number of epochs, or part of one, in which the rate climbs from nothing to its highest.
	Warmup float64 `json:"warmup"`
	// StepEpochs and StepFactor concern Step: every StepEpochs epochs the rate is multiplied by StepFactor.
	StepEpochs int     `json:"step_epochs"`
	StepFactor float64 `json:"step_factor"`
	// Floor concerns Cosine: the share of the rate at which it ends.
	Floor float64 `json:"floor"`

	// LabelSmoothing is the share of each label that is spread evenly over all classes (Szegedy et al., 2015).
	LabelSmoothing float64 `json:"label_smoothing"`
	// Mixup and Cutmix are the alphas of the distributions by which training images are mixed in pairs, with their
	// labels; 0 mixes none. Config.Mix says how.
	Mixup  float64 `json:"mixup,omitempty"`
	Cutmix float64 `json:"cutmix,omitempty"`
	// Average is the time constant, in epochs, of the exponential moving average of the weights that is evaluated and
	// saved in place of the weights themselves; 0 is no average (Polyak and Juditsky, 1992; Izmailov et al., Averaging
	// Weights Leads to Wider Optima, 2018). It follows faster in the beginning, when weights are far from good.
	Average float64 `json:"average"`
	// TrainSize is the height and width of training images where these differ from the network's input, 0 where not.
	// Random crops show logos larger than they are in scoring, so smaller images in training suit larger ones in scoring,
	// and cost less (Touvron et al., Fixing the train-test resolution discrepancy, 2019).
	TrainSize int `json:"train_size,omitempty"`
	// Balance is None, Sqrt or Full: whether a class is drawn as often as it has images, as often as the square root of
	// that, or as often as any other.
	Balance string `json:"balance"`
	// Freeze leaves all layers but the head as they are; FreezeShare the share that it says of those with parameters before
	// the head, from the first, which look at the most pixels and cost the most to teach; FreezeLayers those it names.
	Freeze       bool     `json:"freeze"`
	FreezeShare  float64  `json:"freeze_share"`
	FreezeLayers []string `json:"freeze_layers,omitempty"`

	// Best is what makes an epoch the best so far on the validation images: MacroF1 or Accuracy. The earlier of equals
	// wins.
	Best string `json:"best"`
	// EvaluateTest measures the test images too, after each epoch. They never decide anything.
	EvaluateTest bool `json:"-"`
	// State is the file that holds all that Resume needs, there from the beginning and replaced after each epoch; empty for none.
	State string `json:"-"`
	// BadBatch is the folder that gets the batch of a step whose loss or gradient is not finite; empty for none.
	BadBatch string `json:"-"`
	// Resume continues from State if it is there, and starts anew if it is not.
	Resume bool `json:"-"`
}

// The values of Config.Precision, Solver, Scaling, Schedule, Balance and Best.
const (
	FP32 = "fp32"
	BF16 = "bf16"

	SGD   = "sgd"   // w -= rate v, where v = momentum v + gradient
	AdamW = "adamw" // Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019

	Constant = "constant"
	Step     = "step"
	Cosine   = "cosine" // Loshchilov and Hutter, SGDR, 2017, without restarts

	None   = "none"
	Linear = "linear"
	Sqrt   = "sqrt"
	Full   = "full"

	MacroF1  = "macro-f1"
	Accuracy = "accuracy"
)

// DefaultConfig is how the article trains its networks from nothing, with momentum: SGD at 0.01, batches of 40, 20 epochs.
func DefaultConfig() Config {
	return Config{
		Epochs: 20, Batch: 40, Slices: 8, Precision: FP32,
		Solver: SGD, LearningRate: 0.01, HeadRate: 1, LayerRate: 1, Momentum: 0.9, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8,
		Schedule: Constant, StepEpochs: 10, StepFactor: 0.1,
		Scaling: None, BaseBatch: 40,
		Balance: None, Best: MacroF1, EvaluateTest: true,
	}
}

// FineTuneConfig is how to teach a network that begins with trained weights, which larger steps would destroy: two epochs of
// the head alone, and then all but the first third of the layers at 6e-4 by AdamW, with the head, which is new, five times
// as fast and the first layers a third as fast, an epoch of warm-up and a cosine. What is kept is an average over two
// epochs. README says what each of these brings.
func FineTuneConfig() Config {
	c := DefaultConfig()
	c.Epochs, c.Batch, c.BaseBatch = 24, 32, 32
	c.Solver, c.LearningRate, c.HeadRate, c.WeightDecay = AdamW, 6e-4, 5, 0.05
	c.HeadEpochs, c.LayerRate, c.FreezeShare, c.Average = 2, 0.3, 0.35, 2
	c.Schedule, c.Warmup = Cosine, 1
	c.LabelSmoothing, c.Mixup = 0.1, 0.2
	return c
}

// Validate says what is wrong with the configuration, in the terms of its JSON names.
func (c Config) Validate() error {
	share := func(name string, v, most float64) error {
		if !(v >= 0 && v <= most) {
			return fmt.Errorf("train: %s is %v: want 0 to %v", name, v, most)
		}
		return nil
	}
	below1 := math.Nextafter(1, 0)
	one := func(name, v string, of ...string) error {
		if !slices.Contains(of, v) {
			return fmt.Errorf("train: %s is %q: want one of %s", name, v, strings.Join(of, ", "))
		}
		return nil
	}
	count := func(name string, v, least int) error {
		if v < least {
			return fmt.Errorf("train: %s is %d: want at least %d", name, v, least)
		}
		return nil
	}
	for _, err := range []error{
		count("epochs", c.Epochs, 1),
		count("batch", c.Batch, 1),
		count("slices", c.Slices, 1),
		count("cores", c.Cores, 0),
		one("precision", c.Precision, FP32, BF16),
		one("solver", c.Solver, SGD, AdamW),
		share("learning_rate", c.LearningRate, math.MaxFloat32),
		share("head_rate", c.HeadRate, math.MaxFloat32),
		share("layer_rate", c.LayerRate, 1),
		share("head_epochs", float64(c.HeadEpochs), float64(max(c.Epochs-1, 0))),
		share("average", c.Average, math.MaxFloat32),
		count("train_size", c.TrainSize, 0),
		share("freeze_share", c.FreezeShare, 1),
		share("weight_decay", c.WeightDecay, 1),
		share("momentum", c.Momentum, below1),
		share("beta1", c.Beta1, below1),
		share("beta2", c.Beta2, below1),
		share("epsilon", c.Epsilon, 1),
		one("schedule", c.Schedule, Constant, Step, Cosine),
		share("warmup", c.Warmup, float64(c.Epochs-c.HeadEpochs)),
		share("floor", c.Floor, 1),
		share("clip_norm", c.ClipNorm, math.MaxFloat32),
		one("lr_scaling", c.Scaling, None, Linear, Sqrt),
		count("base_batch", c.BaseBatch, 1),
		count("workers", c.Workers, 0),
		share("label_smoothing", c.LabelSmoothing, below1),
		share("mixup", c.Mixup, 32),
		share("cutmix", c.Cutmix, 32),
		one("balance", c.Balance, None, Sqrt, Full),
		one("best", c.Best, MacroF1, Accuracy),
	} {
		if err != nil {
			return err
		}
	}
	if c.Slices > c.Batch {
		return fmt.Errorf("train: a batch of %d cannot be cut into %d slices", c.Batch, c.Slices)
	}
	if len(c.Devices) > c.Batch {
		return fmt.Errorf("train: a batch of %d cannot be shared by %d devices", c.Batch, len(c.Devices))
	}
	if c.Schedule == Step {
		if err := count("step_epochs", c.StepEpochs, 1); err != nil {
			return err
		}
		if err := share("step_factor", c.StepFactor, 1); err != nil {
			return err
		}
	}
	if c.Solver == AdamW && c.Epsilon == 0 {
		return fmt.Errorf("train: epsilon is 0: want more, adamw divides by it")
	}
	if c.Resume && c.State == "" {
		return fmt.Errorf("train: nothing to resume from: no state file is named")
	}
	return nil
}

func (c Config) cores() int {
	if c.Cores > 0 {
		return c.Cores
	}
	return runtime.GOMAXPROCS(0)
}

func (c Config) devices() []Opener {
	if len(c.Devices) > 0 {
		return c.Devices
	}
	return []Opener{CPU}
}

// rows is how many images a slice has.
func (c Config) rows() int { return (c.Batch + c.Slices - 1) / c.Slices }

// phase is the configuration of an epoch and the number of epochs that it holds for: the head's, then all layers'.
func (c Config) phase(epoch int) (Config, int) {
	switch {
	case c.Freeze || c.HeadEpochs == 0:
		return c, c.Epochs
	case epoch < c.HeadEpochs:
		c.Freeze, c.Schedule = true, Constant
		return c, c.HeadEpochs
	}
	return c, c.Epochs - c.HeadEpochs
}

// rate is the learning rate of a step; steps count from 0 through a phase of some epochs.
func (c Config) rate(step, stepsPerEpoch, epochs int) float64 {
	peak := c.LearningRate * c.scale()
	if warm := c.Warmup * float64(stepsPerEpoch); float64(step) < warm {
		return peak * min(float64(step+1)/warm, 1)
	}
	switch c.Schedule {
	case Step:
		return peak * math.Pow(c.StepFactor, float64(step/stepsPerEpoch/c.StepEpochs))
	case Cosine:
		t := (float64(step)/float64(stepsPerEpoch) - c.Warmup) / (float64(epochs) - c.Warmup)
		return peak * (c.Floor + (1-c.Floor)*(1+math.Cos(math.Pi*t))/2)
	}
	return peak
}

// scale is what Scaling multiplies the rate by.
func (c Config) scale() float64 {
	times := float64(c.Batch) * float64(max(c.Workers, 1)) / float64(c.BaseBatch)
	switch c.Scaling {
	case Linear:
		return times
	case Sqrt:
		return math.Sqrt(times)
	}
	return 1
}

// decay is the share of the moving average that a step keeps; steps count from 0 through a phase.
func (c Config) decay(step, stepsPerEpoch int) float32 {
	return float32(min(math.Exp(-1/(c.Average*float64(stepsPerEpoch))), float64(1+step)/float64(10+step)))
}
