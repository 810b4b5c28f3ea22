// Package classifier makes a model ready to look at photographs: its transforms parsed, its network compiled, both
// checked to fit.
//
//	c, err := classifier.Load(ctx, "my-model", "") // or gs://bucket/my-model, or "" for the built-in one; and model.FP32 or model.Int8
//	arena := c.Plan.NewArena(1)
//	err = c.Steps.Tensor(bytes, transforms.Key{Epoch: -1}, transforms.DefaultLimits(), arena.Input(0))
//	logits := arena.Run(1)
//
// A Classifier does not change, and any number of goroutines may use one, each with an arena of its own.
package classifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/builtin"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/transforms"
)

// Classifier is a model and what it takes to run it.
type Classifier struct {
	Model *model.Model
	Steps transforms.List // from a file's bytes to the network's input
	Plan  *infer.Plan
}

// Classes are the names of what the classifier tells apart, in the order of its answers.
func (c *Classifier) Classes() []string { return c.Model.Card.Classes }

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

// Load reads the model in dir as Read does, and makes it ready to run in a precision, or for "" in the one that its card
// says is best.
func Load(ctx context.Context, dir string, precision model.Precision) (*Classifier, error) {
	m, err := Read(ctx, dir)
	if err != nil {
		return nil, err
	}
	steps, err := transforms.Parse(m.Card.Transforms)
	if err == nil {
		err = steps.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("the model's transforms: %w", err)
	}
	plan, err := compile(m, cmp.Or(precision, m.Card.DefaultPrecision()))
	if err != nil {
		return nil, err
	}
	if w, h := steps.Size(); w != plan.Input().W || h != plan.Input().H {
		return nil, fmt.Errorf("the model's transforms make pictures of %d x %d, and its network takes %v", w, h, plan.Input())
	}
	return &Classifier{m, steps, plan}, nil
}

func compile(m *model.Model, precision model.Precision) (*infer.Plan, error) {
	switch precision {
	case model.FP32:
		return infer.Compile(m.Network, m.Params)
	case model.Int8:
		if m.Card.Quantization == nil {
			return nil, errors.New("the model was never quantized: run it in fp32, or make one for int8 with logobeam quantize")
		}
		return infer.CompileInt8(m.Network, m.Params, m.Card.Quantization)
	}
	return nil, fmt.Errorf("no precision %q: want one of %q", precision, model.Precisions())
}
