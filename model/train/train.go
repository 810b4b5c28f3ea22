// Package train teaches a network to recognise brands.
//
//	cfg := train.DefaultConfig()
//	cfg.Epochs = 10
//	result, err := train.Run(ctx, net, params, train.Data{Classes: classes, Train: a, Validation: b}, cfg,
//		train.SaveBest("model", model.Model{Card: card, Network: net}, false))
//
// The network is built as a gorgonia expression graph of operations of our own (each a layer with its activation, on the
// kernels of package kernel), which gorgonia.Grad differentiates. Its operations then run as a program with places of
// their own, since gorgonia's tape machine allocates values in every step; a program allocates nothing after the first.
// Images of a batch are spread over cores, and the weights that come out are the same bit for bit whatever their number: the
// same build on the same kind of processor, data, configuration and starting weights give the same model, also when a run
// was stopped and resumed.
//
// Limits: float32 alone; no batch normalisation (it is folded into the weights on import) and no dropout; one machine.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/model/metrics"
)

// Dataset is labelled images. Its methods are called from many goroutines.
type Dataset interface {
	Len() int
	// Label is the class of image i, an index into Data.Classes.
	Label(i int) int
	// Load writes image i to image, [H][W][C] of the network's input, or with Config.TrainSize for its height and width
	// where epoch is not negative. What it writes depends on i, epoch and what the
	// Dataset was made with alone. Epochs count from 0 and differ whenever random steps may differ; a negative one
	// asks for the image as it would be scored, with no random steps: -1 for its first view, -2 for the second.
	Load(i, epoch int, image []float32) error
}

// Data is what to learn from.
type Data struct {
	Classes []string // names of the network's outputs
	Train   Dataset
	// Validation chooses the best epoch. Test, if there is one, is measured and chooses nothing.
	Validation Dataset
	Test       Dataset
	// Views is how many views of an image are evaluated, whose probabilities metrics.Pool joins; 0 is 1.
	Views int
	// ID tells data apart that have the same labels, such as a hash of listings and transforms. A run of one ID is not
	// resumed with another.
	ID string
}

// Epoch is what is known after an epoch.
type Epoch struct {
	Epoch        int     `json:"epoch"`         // from 1
	Loss         float64 `json:"loss"`          // mean of the training images' losses
	LearningRate float64 `json:"learning_rate"` // of the last step
	// TrainAccuracy is the share of the training images, as drawn and transformed for training, that the network had right
	// in the step that then learnt from them: so it trails what the network would reach at the end of the epoch. Of a
	// mixed image the class with the greater share is right.
	TrainAccuracy metrics.Figure   `json:"train_accuracy"`
	Validation    metrics.Summary  `json:"validation"`
	Test          *metrics.Summary `json:"test,omitempty"`
	// Calibration is what would make the network's probabilities likeliest on the validation images. Only hooks see it.
	Calibration *model.Calibration `json:"-"`
	// Best says that Validation is the best so far by Config.Best.
	Best            bool    `json:"best"`
	Seconds         float64 `json:"seconds"`           // of training and evaluation
	ImagesPerSecond float64 `json:"images_per_second"` // of training alone
}

// StepInfo is what is known after a step.
type StepInfo struct {
	Epoch        int // from 1
	Step, Steps  int // of the epoch, from 1
	Loss         float64
	LearningRate float64
	Images       int // seen so far in the epoch
}

// Result is how a run went.
type Result struct {
	History []Epoch      // all epochs, those before a resume included
	Best    int          // index into History of the best epoch on the validation images
	Params  model.Params // of the last epoch: the average of the weights if Config asks for one
}

// Hook is called by Run on what its functions name; nil ones are left out. An error ends the run and is returned with the
// hook's name. The parameters are those that were evaluated: they hold still during the call, and are to be copied to be kept.
type Hook struct {
	Name    string
	OnStep  func(ctx context.Context, s StepInfo) error
	OnEpoch func(ctx context.Context, e Epoch, params model.Params) error
	OnEnd   func(ctx context.Context, r Result) error
}

// SaveBest saves the model of each epoch that is the best so far to the folder dir, as m with the parameters and figures of
// the epoch, in float16 if half is set (the figures are those before rounding). Its logits are divided by the epoch's
// temperature, if the network allows that, so that its probabilities are calibrated. The former one is replaced at once, or
// not at all.
func SaveBest(dir string, m model.Model, half bool) Hook {
	return Hook{Name: "save the best model", OnEpoch: func(_ context.Context, e Epoch, params model.Params) error {
		if !e.Best {
			return nil
		}
		best := e.Model(m, params)
		return best.Save(dir, half)
	}}
}

// Model is m with the parameters and figures of the epoch, and calibrated if the network allows that.
func (e Epoch) Model(m model.Model, params model.Params) model.Model {
	best := m
	best.Params = params
	if c := e.Calibration; c != nil {
		if calibrated, err := best.Calibrated(c); err == nil {
			best = calibrated
		}
	}
	best.Card.Metrics = map[string]map[string]float64{"validation": figures(e.Validation)}
	if e.Test != nil {
		best.Card.Metrics["test"] = figures(*e.Test)
	}
	if m.Card.Training != nil {
		training := *m.Card.Training
		training.Epoch = e.Epoch
		best.Card.Training = &training
	}
	return best
}

// figures are those of a summary that exist, under their JSON names.
func figures(s metrics.Summary) map[string]float64 {
	all := map[string]metrics.Figure{"accuracy": s.Accuracy, "majority": s.Majority, "macro_f1": s.MacroF1,
		"logo_recall": s.LogoRecall, "false_alarm_rate": s.FalseAlarms}
	list := map[string]float64{}
	for name, f := range all {
		if !f.Absent() {
			list[name] = float64(f)
		}
	}
	return list
}

// Run trains the network. params holds its starting weights and is trained in place: the slices in it are written to.
//
// Whenever ctx ends, Run returns ctx's error within a step; the state of the last finished epoch is on disk by then if
// Config.State asks for one, and none if there is no such epoch. An epoch's hooks run before its state is saved, in place of
// the one before or that of the starting weights, so what they did is done again at worst, with the same result.
func Run(ctx context.Context, net model.Network, params model.Params, data Data, cfg Config, hooks ...Hook) (Result, error) {
	labels, err := check(net, data, cfg)
	if err != nil {
		return Result{}, err
	}
	small, err := cfg.small(net)
	if err != nil {
		return Result{}, err
	}
	result := Result{Best: -1, Params: params}
	var run map[string]string
	if cfg.State != "" {
		if run, err = fingerprint(net, params, data, labels, cfg); err != nil {
			return Result{}, err
		}
	}
	var saved *saved
	if cfg.Resume {
		if saved, err = readState(cfg.State, run); err != nil {
			return Result{}, err
		}
		if saved != nil {
			result.History = saved.History
		}
	}
	result.Best = Best(result.History)
	t, err := newTrainer(small, params, cfg, max(len(result.History)-1, 0))
	if err != nil {
		return Result{}, err
	}
	defer func() { t.close() }()
	if saved != nil {
		if err := t.restore(saved); err != nil {
			return Result{}, fmt.Errorf("train: state %s: %w, or remove it to start anew", cfg.State, err)
		}
		result.Params = t.answering()
	} else if cfg.State != "" { // so that what hooks leave of the first epoch is seen to be of an unfinished run
		if err := t.save(cfg.State, state{Format: stateFormat, Run: run}); err != nil {
			return result, err
		}
		defer func() {
			if len(result.History) == 0 {
				os.Remove(cfg.State)
			}
		}()
	}
	free := t.buffers()
	for len(result.History) < cfg.Epochs {
		if n := len(result.History); n == cfg.HeadEpochs && t.cfg.Freeze != cfg.Freeze { // the head has learnt alone
			t.close()
			if t, err = newTrainer(small, params, cfg, n); err != nil {
				return result, err
			}
		}
		e, err := t.epoch(ctx, net, data, labels, len(result.History), free, hooks)
		if err != nil {
			return result, err
		}
		result.add(e, cfg)
		result.Params = t.answering()
		e = result.History[len(result.History)-1]
		for _, h := range hooks {
			if h.OnEpoch != nil {
				if err := h.OnEpoch(ctx, e, result.Params); err != nil {
					return result, fmt.Errorf("train: %s: %w", h.Name, err)
				}
			}
		}
		result.History[len(result.History)-1].Calibration = nil
		if cfg.State != "" {
			if err := t.save(cfg.State, state{stateFormat, run, t.steps, result.History}); err != nil {
				return result, err
			}
		}
	}
	for _, h := range hooks {
		if h.OnEnd != nil {
			if err := h.OnEnd(ctx, result); err != nil {
				return result, fmt.Errorf("train: %s: %w", h.Name, err)
			}
		}
	}
	return result, nil
}

// small is the network for images in training.
func (c Config) small(net model.Network) (model.Network, error) {
	if c.TrainSize == 0 {
		return net, nil
	}
	small, err := net.Resized(c.TrainSize)
	if err != nil {
		return net, fmt.Errorf("train: images of %d x %d: %w", c.TrainSize, c.TrainSize, err)
	}
	return small, nil
}

// add puts an epoch behind the others, and says whether it is the best.
func (r *Result) add(e Epoch, cfg Config) {
	e.Best = r.Best < 0 || cfg.score(e.Validation) > cfg.score(r.History[r.Best].Validation)
	if e.Best {
		r.Best = len(r.History)
	}
	r.History = append(r.History, e)
}

func (c Config) score(s metrics.Summary) float64 {
	if c.Best == Accuracy {
		return float64(s.Accuracy)
	}
	return float64(s.MacroF1)
}

// check looks at everything that can be wrong before the work begins, and gives the training labels.
func check(net model.Network, data Data, cfg Config) ([]int, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if n := net.Classes(); n < 2 || n != len(data.Classes) {
		return nil, fmt.Errorf("train: the network %s has %d outputs and there are %d classes: want as many, and at least 2", net.Arch, n, len(data.Classes))
	}
	var labels []int
	for _, set := range []struct {
		name string
		data Dataset
	}{{"training", data.Train}, {"validation", data.Validation}, {"test", data.Test}} {
		if set.data == nil || set.data.Len() == 0 {
			if set.name == "test" && set.data == nil {
				continue
			}
			return nil, fmt.Errorf("train: there are no %s images", set.name)
		}
		for i := range set.data.Len() {
			l := set.data.Label(i)
			if l < 0 || l >= len(data.Classes) {
				return nil, fmt.Errorf("train: %s image %d has label %d of %d classes", set.name, i, l, len(data.Classes))
			}
			if set.name == "training" {
				labels = append(labels, l)
			}
		}
	}
	return labels, nil
}

// epoch goes through the training images once and evaluates them in net, whose input may be larger. Epochs count from 0 here.
func (t *trainer) epoch(ctx context.Context, net model.Network, data Data, labels []int, epoch int, free chan *batch, hooks []Hook) (e Epoch, err error) {
	start := time.Now()
	e.Epoch = epoch + 1
	p, err := t.train(ctx, data, labels, Span{Epoch: epoch, Rounds: 1, Workers: 1}, Progress{}, free, hooks)
	if err != nil {
		return e, err
	}
	e.learnt(p)
	e.ImagesPerSecond = float64(p.Images) / time.Since(start).Seconds()

	plan, err := infer.Compile(net, t.answering())
	if err != nil {
		return e, err
	}
	var answers Answers
	if answers.Validation, err = predict(ctx, plan, data.Validation, data.views(), t.cfg.cores(), 0, data.Validation.Len()); err != nil {
		return e, fmt.Errorf("train: epoch %d: validation: %w", epoch+1, err)
	}
	if data.Test != nil && t.cfg.EvaluateTest {
		if answers.Test, err = predict(ctx, plan, data.Test, data.views(), t.cfg.cores(), 0, data.Test.Len()); err != nil {
			return e, fmt.Errorf("train: epoch %d: test: %w", epoch+1, err)
		}
	}
	if err := e.judge(data, t.cfg, answers); err != nil {
		return e, err
	}
	e.Seconds = time.Since(start).Seconds()
	return e, nil
}

// train takes the steps of a span. so is how far the worker was in the epoch.
func (t *trainer) train(ctx context.Context, data Data, labels []int, span Span, so Progress, free chan *batch, hooks []Hook) (p Progress, err error) {
	epoch := span.Epoch
	all := order(labels, len(data.Classes), t.cfg.Balance, t.cfg.Seed, epoch)
	draws := span.deal(all)
	first, last, steps := span.steps(len(draws), t.cfg.Batch)
	t.steps = (epoch-t.cfg.begin(epoch))*steps + first
	ctx, cancel := context.WithCancel(ctx)
	batches, wait := t.load(ctx, data.Train, draws[min(first*t.cfg.Batch, len(draws)):min(last*t.cfg.Batch, len(draws))], span, first, free)
	defer func() {
		// Loading ends with the span, however that ends. Its error is the cause if there is one of its own.
		cancel()
		for b := range batches {
			free <- b
		}
		if cause := wait(); cause != nil && !errors.Is(cause, context.Canceled) {
			err = fmt.Errorf("train: epoch %d: %w", epoch+1, cause)
		}
	}()

	p = so
	for step := first; step < last; step++ {
		b, ok := <-batches
		if !ok {
			if err := ctx.Err(); err != nil {
				return p, err
			}
			return p, fmt.Errorf("train: epoch %d: step %d: %w", epoch+1, step+1, wait())
		}
		p.LearningRate = t.cfg.rate(t.steps, steps, t.epochs)
		if t.cfg.Average > 0 {
			t.keep = t.cfg.decay(t.steps, steps)
		}
		out, err := t.step(ctx, b, p.LearningRate)
		if bad := (*NotFiniteError)(nil); errors.As(err, &bad) && t.cfg.BadBatch != "" {
			bad.Batch, bad.Epoch = t.cfg.BadBatch, epoch
			if failed := t.saveBadBatch(bad.Batch, b, data, epoch); failed != nil {
				bad.Batch = ""
				err = fmt.Errorf("%w; %w", err, failed)
			}
		}
		n := b.count
		free <- b
		if err != nil {
			if cause := ctx.Err(); cause != nil {
				return p, cause
			}
			return p, fmt.Errorf("train: epoch %d: step %d: %w", epoch+1, step+1, err)
		}
		p.Loss += out.Loss * float64(n) / float64(len(all))
		p.Right += out.Right
		p.Images += n
		for _, h := range hooks {
			if h.OnStep != nil {
				if err := h.OnStep(ctx, StepInfo{epoch + 1, step + 1, steps, out.Loss, p.LearningRate, p.Images}); err != nil {
					return p, fmt.Errorf("train: %s: %w", h.Name, err)
				}
			}
		}
	}
	if err := t.read(); err != nil {
		return p, fmt.Errorf("train: epoch %d: %w", epoch+1, err)
	}
	return p, nil
}

// learnt notes what was seen of the training images.
func (e *Epoch) learnt(all ...Progress) {
	right, seen := 0, 0
	for i, p := range all {
		e.Loss += p.Loss
		right += p.Right
		seen += p.Images
		if i == 0 {
			e.LearningRate = p.LearningRate
		}
	}
	e.TrainAccuracy = metrics.Figure(float64(right) / float64(seen))
}

// judge notes how good the answers are.
func (e *Epoch) judge(data Data, cfg Config, a Answers) error {
	truth := labelsOf(data.Validation)
	e.Validation, e.Calibration = summary(data.Classes, data.views(), truth, a.Validation), metrics.Calibrate(data.Classes, data.views(), truth, a.Validation)
	if a.Test != nil {
		test := summary(data.Classes, data.views(), labelsOf(data.Test), a.Test)
		e.Test = &test
	}
	if math.IsNaN(cfg.score(e.Validation)) {
		return fmt.Errorf("train: epoch %d: the validation images give no %s", e.Epoch, cfg.Best)
	}
	return nil
}

// Answers are the probabilities of images, [image][view][class]; those for the test images are nil if these are not asked for.
type Answers struct{ Validation, Test []float32 }

// predict gives the probabilities that a plan has for the images from first to before last.
func predict(ctx context.Context, plan *infer.Plan, data Dataset, views, cores, first, last int) ([]float32, error) {
	probs, err := plan.Predict(ctx, (last-first)*views, cores, plan.Batch(), func(i int, image []float32) error {
		return data.Load(first+i/views, -1-i%views, image)
	})
	if err != nil {
		return nil, err
	}
	for _, p := range probs {
		if math.IsNaN(float64(p)) {
			return nil, errors.New("the network answers with no numbers: a lower learning rate may help")
		}
	}
	return probs, nil
}

func labelsOf(data Dataset) []int {
	truth := make([]int, data.Len())
	for i := range truth {
		truth[i] = data.Label(i)
	}
	return truth
}

func (d Data) views() int { return max(d.Views, 1) }

func summary(classes []string, views int, truth []int, probs []float32) metrics.Summary {
	c := metrics.New(slices.Clone(classes))
	c.AddAll(truth, metrics.Pool(slices.Clone(probs), views, len(classes)))
	return c.Summary()
}
