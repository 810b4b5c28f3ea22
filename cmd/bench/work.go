package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/device"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/transforms"
)

// classes is the number of outputs of the networks measured: 32 brands and no-logo, as in FlickrLogos-32.
const classes = 33

// seed draws the weights. They are random: what they are does not change how long the work takes.
const seed = 1

// network gives an architecture with random weights. Unlike those that training begins with, none is zero.
func network(arch string) (model.Network, model.Params, error) {
	net, err := model.New(arch, classes)
	if err != nil {
		return net, nil, err
	}
	drawn := net
	drawn.Layers = append([]model.Layer(nil), net.Layers...)
	for i := range drawn.Layers {
		drawn.Layers[i].Zero = false
	}
	params, err := model.Init(drawn, seed)
	if err != nil {
		return net, nil, err
	}
	all, err := net.Parameters()
	if err != nil {
		return net, nil, err
	}
	random := rand.New(rand.NewPCG(seed, 2))
	for _, p := range all {
		if len(p.Shape) > 1 {
			continue
		}
		for i := range params[p.Name] {
			params[p.Name][i] = 0.2*random.Float32() - 0.1
		}
	}
	return net, params, nil
}

// multiplyAdds counts the multiplications of one image, each with its addition. Biases are left out, as are pools and sums.
func multiplyAdds(n model.Network) (int, error) {
	ins, err := n.Inputs()
	if err != nil {
		return 0, err
	}
	shapes, err := n.Shapes()
	if err != nil {
		return 0, err
	}
	sum := 0
	for i, l := range n.Layers {
		in := n.Input
		if j := ins[i][0]; j >= 0 {
			in = shapes[j]
		}
		switch l.Op {
		case model.Conv:
			sum += shapes[i].Size() * l.Kernel * l.Kernel * in.C
		case model.Depthwise:
			sum += shapes[i].Size() * l.Kernel * l.Kernel
		case model.Dense:
			sum += shapes[i].Size() * in.Size()
		}
	}
	return sum, nil
}

// stepMultiplyAdds is multiplyAdds of a step of training: forward, the gradient by the weights, and the gradient by the
// input, which the first layer needs not give.
func stepMultiplyAdds(n model.Network) (int, error) {
	all, err := multiplyAdds(n)
	if err != nil {
		return 0, err
	}
	first := n
	first.Layers = n.Layers[:1]
	once, err := multiplyAdds(first)
	return 3*all - once, err
}

// pixels fills an image with what a normalised photograph may hold, the same for the same seed.
func pixels(image []float32, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 3))
	for i := range image {
		image[i] = 4*random.Float32() - 2
	}
}

// forward runs a network forward on several threads, each with batches of its own.
type forward struct {
	batch  int
	images [][]float32
	rooms  []infer.Workspace
}

// newForward takes a batch of 0 for what suits the network.
func newForward(engine infer.Engine, threads, batch int) (*forward, error) {
	if batch == 0 {
		batch = engine.Batch()
	}
	f := &forward{batch: batch}
	for i := range batch {
		image := make([]float32, engine.Input().Size())
		pixels(image, uint64(i))
		f.images = append(f.images, image)
	}
	for range threads {
		room, err := engine.Workspace(batch)
		if err != nil {
			return nil, err
		}
		f.rooms = append(f.rooms, room)
	}
	return f, nil
}

// measure works for at least so many seconds and gives images a second of all threads together.
func (f *forward) measure(seconds float64) (float64, error) {
	rates, errs := make([]float64, len(f.rooms)), make([]error, len(f.rooms))
	var all sync.WaitGroup
	for k, a := range f.rooms {
		all.Go(func() {
			start, done := time.Now(), 0
			for {
				for i, image := range f.images { // as the images' decoder would
					copy(a.Input(i), image)
				}
				if _, errs[k] = a.Run(f.batch); errs[k] != nil {
					return
				}
				done += f.batch
				if t := time.Since(start).Seconds(); t >= seconds {
					rates[k] = float64(done) / t
					return
				}
			}
		})
	}
	all.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum, errors.Join(errs...)
}

// compile makes an architecture with random weights ready to run, or the model in the folder dir; on an accelerator if gpu is set.
// Where a model has no ranges for int8, they are found with random images.
func compile(arch, dir string, precision model.Precision, gpu bool) (net model.Network, engine infer.Engine, err error) {
	var m model.Model
	if dir == "" {
		m.Network, m.Params, err = network(arch)
	} else {
		var loaded *model.Model
		if loaded, err = model.Load(dir); err == nil {
			m = *loaded
		}
	}
	if err != nil {
		return net, nil, err
	}
	switch {
	case gpu:
		var d device.Driver
		if d, err = device.Open(0); err == nil {
			engine, err = device.Compile(d, m.Network, m.Params, precision)
		}
	case precision == model.FP32:
		engine, err = infer.Compile(m.Network, m.Params)
	case precision == model.Int8:
		if m.Card.Quantization == nil {
			m.Card.Quantization, err = infer.Calibrate(context.Background(), m.Network, m.Params, infer.MinMax, 4, 2,
				func(i int, image []float32) error { pixels(image, uint64(i)); return nil })
		}
		if err == nil {
			engine, err = infer.CompileInt8(m.Network, m.Params, m.Card.Quantization)
		}
	default:
		err = fmt.Errorf("no precision %q: want one of %q", precision, model.Precisions())
	}
	return m.Network, engine, err
}

// quantize finds ranges for int8 with the images of a file, and keeps them in the model's folder.
func quantize(dir, images string) error {
	m, err := model.Load(dir)
	if err != nil {
		return err
	}
	f, err := os.Open(images)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := int64(4 * m.Network.Input.Size())
	load := func(i int, image []float32) error {
		return binary.Read(io.NewSectionReader(f, int64(i)*size, size), binary.LittleEndian, image)
	}
	m.Card.Quantization, err = infer.Calibrate(context.Background(), m.Network, m.Params, infer.MinMax, int(info.Size()/size), runtime.GOMAXPROCS(0), load)
	if err != nil {
		return err
	}
	return m.Save(dir, false)
}

// memory is a data set that lies in memory: count times the same few images.
type memory struct {
	images [][]float32
	count  int
}

func (m memory) Len() int        { return m.count }
func (m memory) Label(i int) int { return i % classes }

func (m memory) Load(i, _ int, image []float32) error {
	copy(image, m.images[i%len(m.images)])
	return nil
}

var errEnough = errors.New("measured for long enough")

// steps trains an architecture from nothing by plain SGD in a precision of training, and gives images a second of the steps after the first. It ends
// after at least so many steps and seconds.
func steps(arch, precision string, threads, batch, least int, seconds, momentum float64, gpu bool) (float64, error) {
	net, params, err := network(arch)
	if err != nil {
		return 0, err
	}
	cfg := train.DefaultConfig()
	cfg.Batch, cfg.Slices = batch, min(cfg.Slices, batch)
	cfg.Precision = cmp.Or(precision, cfg.Precision)
	cfg.Cores, cfg.Epochs, cfg.EvaluateTest = threads, 1, false
	cfg.Momentum, cfg.LearningRate = momentum, 1e-6 // random weights would diverge at once at a common rate
	if gpu {
		cfg.Devices = []train.Opener{device.Opener(0)}
	}
	data := memory{count: batch << 16}
	for i := range batch {
		image := make([]float32, net.Input.Size())
		pixels(image, uint64(i))
		data.images = append(data.images, image)
	}
	names := make([]string, classes)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	var start time.Time
	var rate float64
	hook := train.Hook{Name: "measure", OnStep: func(_ context.Context, s train.StepInfo) error {
		if s.Step == 1 {
			start = time.Now()
			return nil
		}
		if t := time.Since(start).Seconds(); s.Step > least && t >= seconds {
			rate = float64(batch*(s.Step-1)) / t
			return errEnough
		}
		return nil
	}}
	_, err = train.Run(context.Background(), net, params, train.Data{Classes: names, Train: data, Validation: memory{data.images, 1}}, cfg, hook)
	if !errors.Is(err, errEnough) {
		return 0, fmt.Errorf("training %s: %w", arch, err)
	}
	return rate, nil
}

// save writes an architecture with random weights as a model that programs can score with.
func save(arch, dir string) error {
	net, params, err := network(arch)
	if err != nil {
		return err
	}
	mean, std := model.Normalisation(arch)
	list, err := transforms.DefaultScoring(net.Input.H, mean, std).MarshalJSON()
	if err != nil {
		return err
	}
	m := model.Model{Network: net, Params: params, Card: model.Card{Transforms: list, Description: "Random weights, to measure with."}}
	for i := range classes - 1 {
		m.Card.Classes = append(m.Card.Classes, fmt.Sprintf("brand%02d", i))
	}
	m.Card.Classes = append(m.Card.Classes, model.NoLogo)
	return m.Save(filepath.Join(dir, arch), false)
}
