// Package classifier makes a model ready to look at photographs: its transforms parsed, its network compiled, both
// checked to fit.
//
//	c, err := classifier.Load(ctx, "my-model", classifier.Config{}) // or gs://bucket/my-model, or "" for the built-in one
//	probs, err := c.Classify(bytes, transforms.DefaultLimits())
//	class, probability := c.Answer(probs)
//
// A Classifier does not change, and any number of goroutines may use one. Whoever has many photographs at a time gives each
// goroutine a workspace of its own, of which Look makes the inputs of several.
package classifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/builtin"
	"github.com/logobeam/logobeam/model/device"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/model/metrics"
	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/transforms"
)

// Config says how a model is to be run. The zero value leaves it to the model's card.
type Config struct {
	// Device is what computes: empty or CPU, the processor; GPU, or GPU with a number, as "gpu:1", an accelerator.
	Device string
	// Precision is the arithmetic; empty for what the card says is best, or bf16 on an accelerator.
	Precision model.Precision
	// BrandPrecision is the share of each brand's answers that are to be right, as 0.95: a brand whose probability does not
	// reach its threshold (model.Card.Thresholds) is not given, but model.NoLogo. 0 gives the likeliest class.
	BrandPrecision float64
	// Views is how many parts of a photograph are looked at (transforms.Views); 0 for what the card says, which usually is 1.
	// Each costs as much as the first.
	Views int
	// Size is the height and width of the network's input; 0 for the model's own. Not every architecture has a choice.
	Size int
}

// The devices of Config.
const (
	CPU = "cpu"
	GPU = "gpu"
)

// accelerator says whether the device is one, and its number.
func (cfg Config) accelerator() (number int, ok bool, err error) {
	kind, digits, numbered := strings.Cut(cfg.Device, ":")
	switch {
	case (kind == "" || kind == CPU) && !numbered:
		return 0, false, nil
	case kind == GPU && !numbered:
		return 0, true, nil
	case kind == GPU:
		number, err = strconv.Atoi(digits)
	}
	if kind != GPU || err != nil || number < 0 {
		return 0, false, fmt.Errorf("no device %q: want cpu, gpu, or gpu:1 for the second", cfg.Device)
	}
	return number, true, nil
}

// Validate says what no model can be asked for.
func (cfg Config) Validate() error {
	_, gpu, err := cfg.accelerator()
	precisions := model.Precisions()
	if gpu {
		precisions = []model.Precision{model.FP32, model.BF16}
	}
	switch {
	case err != nil:
		return err
	case cfg.Precision != "" && !slices.Contains(precisions, cfg.Precision):
		return fmt.Errorf("no precision %q on the device %s: want one of %q", cfg.Precision, cmp.Or(cfg.Device, CPU), precisions)
	case !(cfg.BrandPrecision >= 0 && cfg.BrandPrecision <= 1):
		return fmt.Errorf("a precision of %g of the brands: want more than 0 and at most 1", cfg.BrandPrecision)
	case cfg.Views < 0 || cfg.Views > transforms.MaxViews:
		return fmt.Errorf("%d views of a photograph: want 1 to %d", cfg.Views, transforms.MaxViews)
	case cfg.Size < 0:
		return fmt.Errorf("an input of %d x %d pixels: want at least 1 x 1", cfg.Size, cfg.Size)
	}
	return nil
}

// A ConfigError says that a model cannot be run as Config asks: the wrong thing was asked for.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// Classifier is a model and what it takes to run it.
type Classifier struct {
	Config Config // with which it was loaded, what was left to the card filled in; Size is 0 for the model's own
	Model  *model.Model
	Views  []transforms.List // from a file's bytes to the network's input, for each view
	Engine infer.Engine

	thresholds []float32 // of each class; nil without Config.BrandPrecision
	noLogo     int       // the class that is given below them
	rooms      sync.Pool // infer.Workspace of one photograph, for Classify
}

// Classes are the names of what the classifier tells apart, in the order of its answers.
func (c *Classifier) Classes() []string { return c.Model.Card.Classes }

// Look makes the network's input of a file, for the photograph at a place of the workspace, which has one for every len(Views)
// images.
func (c *Classifier) Look(room infer.Workspace, at int, data []byte, key transforms.Key, limits transforms.Limits) error {
	return transforms.Tensors(c.Views, data, key, limits, func(i int) []float32 { return room.Input(at*len(c.Views) + i) })
}

// Classify gives the probability of each class for the photograph in a file. If the file is at fault, errors.As finds a
// *transforms.Error.
func (c *Classifier) Classify(data []byte, limits transforms.Limits) ([]float32, error) {
	room, ok := c.rooms.Get().(infer.Workspace)
	if !ok {
		var err error
		if room, err = c.Engine.Workspace(len(c.Views)); err != nil {
			return nil, err
		}
	}
	if err := c.Look(room, 0, data, transforms.Key{Epoch: -1}, limits); err != nil {
		c.rooms.Put(room)
		return nil, err
	}
	probs, err := room.Run(len(c.Views))
	if err != nil { // and so it would be again
		return nil, err
	}
	probs = slices.Clone(probs)
	c.rooms.Put(room)
	infer.Softmax(probs, len(c.Classes()))
	return c.Pool(probs), nil
}

// Predict gives the probabilities [count][view][class] of photographs 0 to count-1, of whose views load writes one at a time.
// What is said of infer.Predict holds.
func (c *Classifier) Predict(ctx context.Context, count, workers int, load func(i int, view transforms.List, image []float32) error) ([]float32, error) {
	n := len(c.Views)
	return infer.Predict(ctx, c.Engine, count*n, workers, c.Engine.Batch(), func(i int, image []float32) error { return load(i/n, c.Views[i%n], image) })
}

// Pool turns probabilities of views, [photograph][view][class], into those of photographs, [photograph][class], in place, as
// metrics.Pool does.
func (c *Classifier) Pool(probs []float32) []float32 {
	return metrics.Pool(probs, len(c.Views), len(c.Classes()))
}

// Answer is the class that is given for the probabilities of all, and its probability: the likeliest, the first of equals,
// or model.NoLogo in place of a brand whose probability is too small for Config.BrandPrecision.
func (c *Classifier) Answer(probs []float32) (class int, probability float32) {
	class = metrics.Argmax(probs)
	if c.thresholds != nil && probs[class] < c.thresholds[class] {
		class = c.noLogo
	}
	return class, probs[class]
}

// Guess is a class with its probability.
type Guess struct {
	Brand       string  `json:"brand"`
	Probability float32 `json:"probability"`
}

// Top gives at most n classes for the probabilities of all: first the one that Answer gives, then the likeliest.
func (c *Classifier) Top(probs []float32, n int) []Guess {
	order := make([]int, len(probs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(probs[b], probs[a]) })
	given, _ := c.Answer(probs)
	at := slices.Index(order, given)
	order = slices.Insert(slices.Delete(order, at, at+1), 0, given)
	var top []Guess
	for _, i := range order[:min(n, len(order))] {
		top = append(top, Guess{c.Classes()[i], probs[i]})
	}
	return top
}

// Never lists the brands that are never given, since by what is known of them they are not right as often as
// Config.BrandPrecision asks however sure the model is.
func (c *Classifier) Never() (brands []string) {
	for i, t := range c.thresholds {
		if t > 1 {
			brands = append(brands, c.Classes()[i])
		}
	}
	return brands
}

// Read reads the model in dir, a folder's path or gs://bucket/prefix, or the built-in one for "".
func Read(ctx context.Context, dir string) (*model.Model, error) {
	switch {
	case dir == "":
		return builtin.Load()
	case !store.IsRemote(dir):
		return model.Load(dir)
	}
	s, err := store.At(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("model %w", err)
	}
	m, err := model.LoadFS(store.FS(ctx, s))
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", dir, err)
	}
	return m, nil
}

// Exists says whether there is a model in dir, a folder's path or gs://bucket/prefix.
func Exists(ctx context.Context, dir string) (bool, error) {
	s, err := store.At(ctx, dir)
	if err != nil {
		return false, err
	}
	_, err = s.Stat(ctx, "model.json")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Publish copies the model in a folder to gs://bucket/prefix, where the former one, if there is one, is replaced at once.
func Publish(ctx context.Context, folder, to string) error {
	s, err := store.At(ctx, to)
	if err != nil {
		return err
	}
	put := func(name string, data []byte) error { return s.Put(ctx, name, data) }
	remove := func(name string) error { return s.Remove(ctx, name) }
	if err := model.Publish(folder, put, remove); err != nil {
		return fmt.Errorf("copying the model: %w", err)
	}
	return nil
}

// Save writes m to dir, a folder's path or gs://bucket/prefix, as Model.Save does.
func Save(ctx context.Context, m *model.Model, dir string, half bool) error {
	if !store.IsRemote(dir) {
		return m.Save(dir, half)
	}
	folder, err := os.MkdirTemp("", "logobeam-model-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := m.Save(folder, half); err != nil {
		return err
	}
	return Publish(ctx, folder, dir)
}

// Transforms are those of the model's card, which have to give what its network takes.
func Transforms(m *model.Model) (transforms.List, error) {
	steps, err := transforms.Parse(m.Card.Transforms)
	if err == nil {
		err = steps.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("the model's transforms: %w", err)
	}
	if w, h := steps.Size(); w != m.Network.Input.W || h != m.Network.Input.H {
		return nil, fmt.Errorf("the model's transforms make pictures of %d x %d, and its network takes %v", w, h, m.Network.Input)
	}
	return steps, nil
}

// Load reads the model in dir as Read does, and makes it ready to run. The error is a *ConfigError if the model is not one
// that can be run like this.
func Load(ctx context.Context, dir string, cfg Config) (*Classifier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, &ConfigError{err}
	}
	m, err := Read(ctx, dir)
	if err != nil {
		return nil, err
	}
	steps, err := Transforms(m)
	if err != nil {
		return nil, err
	}
	best := m.Card.DefaultPrecision()
	switch number, gpu, _ := cfg.accelerator(); {
	case !gpu:
		cfg.Device = ""
	case number == 0:
		cfg.Device, best = GPU, model.BF16
	default:
		best = model.BF16
	}
	cfg.Precision, cfg.Views = cmp.Or(cfg.Precision, best), cmp.Or(cfg.Views, m.Card.Views, 1)
	net := m.Network
	if cfg.Size == net.Input.H && cfg.Size == net.Input.W {
		cfg.Size = 0
	}
	if cfg.Size > 0 {
		if net, err = m.Network.Resized(cfg.Size); err == nil {
			steps, err = transforms.Resized(steps, cfg.Size)
		}
		if err != nil {
			return nil, &ConfigError{err}
		}
	}
	views, err := transforms.Views(steps, cfg.Views)
	if err != nil {
		return nil, &ConfigError{err}
	}
	engine, err := compile(m, net, cfg)
	if err != nil {
		return nil, err
	}
	c := &Classifier{Config: cfg, Model: m, Views: views, Engine: engine}
	if cfg.BrandPrecision > 0 {
		if c.thresholds, err = m.Card.Thresholds(cfg.BrandPrecision); err != nil {
			return nil, &ConfigError{fmt.Errorf("a precision of %g: %w", cfg.BrandPrecision, err)}
		}
		c.noLogo = slices.Index(m.Card.Classes, model.NoLogo)
		if found := max(m.Card.Calibration.Views, 1); found != cfg.Views || cfg.Size > 0 {
			return nil, &ConfigError{fmt.Errorf("a precision of %g: what is known of the model's answers is of %d views in its own size, so it holds for no others: choose these, or calibrate it for more views with logobeam calibrate --views", cfg.BrandPrecision, found)}
		}
	}
	return c, nil
}

func compile(m *model.Model, net model.Network, cfg Config) (infer.Engine, error) {
	if number, gpu, err := cfg.accelerator(); err != nil {
		return nil, err
	} else if gpu {
		d, err := device.Open(number)
		if err != nil {
			return nil, &ConfigError{err}
		}
		return device.Compile(d, net, m.Params, cfg.Precision)
	}
	if cfg.Precision == model.Int8 {
		if m.Card.Quantization == nil {
			return nil, errors.New("the model was never quantized: run it in fp32, or make one for int8 with logobeam quantize")
		}
		return infer.CompileInt8(net, m.Params, m.Card.Quantization)
	}
	return infer.Compile(net, m.Params)
}
