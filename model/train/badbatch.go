package train

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/logobeam/logobeam/model"
)

// NotFiniteError ends a training whose loss or gradient is not finite. The step has changed no parameters, but those of
// dense layers so large that they learn while they are computed, where what is not finite arises before them.
type NotFiniteError struct {
	What  string  // "loss", or "norm of the gradient"
	Value float64 // of it
	Rate  float64 // learning rate
	// Batch is the folder with the batch of the step, if Config.BadBatch asks for one, and Epoch the number that draws its
	// random transforms, as in Dataset.Load.
	Batch string
	Epoch int
}

func (e *NotFiniteError) Error() string {
	text := fmt.Sprintf("the %s is %v at a learning rate of %v: a lower one may help, or a warm-up, or clipping", e.What, e.Value, e.Rate)
	if e.Batch != "" {
		text += "; its batch is in " + e.Batch
	}
	return text
}

// Named is a Dataset whose images have names, as paths that do not depend on the folder one is in. A listing of some of
// its images gives them, where otherwise stands the number.
type Named interface{ Name(i int) string }

// saveBadBatch writes what led to a step whose loss or gradient is not finite: batch.csv lists its images, with the label,
// the epoch that their random transforms were drawn from, and the largest magnitude in what the network saw, and
// batch.safetensors holds that itself, images [n][H][W][C] and targets [n][classes], with all parameters.
func (t *trainer) saveBadBatch(dir string, b *batch, data Data, epoch int) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("saving its batch: %w", err)
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	list, err := os.Create(filepath.Join(dir, "batch.csv"))
	if err != nil {
		return err
	}
	defer list.Close()
	w := csv.NewWriter(list)
	w.Write([]string{"image", "label", "epoch", "largest"}) // a csv.Writer keeps its first error
	size := t.net.Input.Size()
	for k, d := range b.draws {
		name := strconv.Itoa(d.image)
		if named, ok := data.Train.(Named); ok {
			name = named.Name(d.image)
		}
		most := largest(b.images[k*size : (k+1)*size])
		w.Write([]string{name, data.Classes[data.Train.Label(d.image)], strconv.Itoa(t.cfg.drawn(epoch, d)), strconv.FormatFloat(most, 'g', 6, 32)})
	}
	w.Flush()
	if err := errors.Join(w.Error(), list.Close()); err != nil {
		return err
	}

	if err := t.read(); err != nil {
		return err
	}
	in, classes := t.net.Input, t.net.Classes()
	tensors := map[string]model.Tensor{
		"images":  {Shape: []int{b.count, in.H, in.W, in.C}, Data: b.images[:b.count*size]},
		"targets": {Shape: []int{b.count, classes}, Data: b.targets[:b.count*classes]},
	}
	parameters, err := t.net.Parameters()
	if err != nil {
		return err
	}
	for _, p := range parameters {
		tensors[p.Name] = model.Tensor{Shape: p.Shape, Data: t.params[p.Name]}
	}
	f, err := os.Create(filepath.Join(dir, "batch.safetensors"))
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(model.WriteSafetensors(out, tensors, false), out.Flush(), f.Close())
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
