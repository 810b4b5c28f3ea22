package train

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
)

// A trainer takes steps: it gives each device its part of a batch, adds the gradients up, and has the devices take the step
// of the solver. After the first step it allocates nothing.
//
// Gradients are added in the order of the devices, on the host; a device that is alone keeps its own. All devices take the
// same step from the same parameters, so that these stay the same bit for bit on devices of one kind.
type trainer struct {
	net     model.Network
	params  model.Params
	cfg     Config
	learn   []Parameter // what is trained, in the order of the layers: of the first device
	jobs    []Job
	devices []Device
	crew    *crew       // that speaks with the devices; nil if there is one
	sums    [][]float32 // gradients of the devices, if there are several
	steps   int         // steps taken, of the phase
	epochs  int         // of the phase
	keep    float32     // share of the average that the step keeps

	// Of the step that is being taken.
	ctx                                      context.Context
	batch                                    *batch
	at                                       SolverStep
	outcomes                                 []Outcome
	takePart, takeSum, takeWrite, takeUpdate func(worker, i int) error
}

// newTrainer is a trainer for an epoch, from 0, and all that follow in its phase.
func newTrainer(net model.Network, params model.Params, cfg Config, epoch int) (*trainer, error) {
	cfg, epochs := cfg.phase(epoch)
	learn, err := learnt(net, params, cfg)
	if err != nil {
		return nil, err
	}
	t := &trainer{net: net, params: params, cfg: cfg, learn: learn, jobs: jobs(net, params, learn, cfg), epochs: epochs}
	t.outcomes = make([]Outcome, len(t.jobs))
	for i, o := range cfg.devices() {
		d, err := o.Open(t.jobs[i])
		if err != nil {
			t.close()
			return nil, err
		}
		t.devices = append(t.devices, d)
	}
	if len(t.devices) > 1 {
		t.crew = newCrew(len(t.devices))
		values := 0
		for _, p := range learn {
			values += len(p.Values)
		}
		for range t.devices {
			t.sums = append(t.sums, make([]float32, values))
		}
	}
	t.takePart = func(_, i int) error { return t.part(i) }
	t.takeSum = func(_, i int) error { t.sum(i); return nil }
	t.takeWrite = func(_, i int) error { return t.devices[i].WriteGradient(t.sums[0]) }
	t.takeUpdate = func(_, i int) error { return t.devices[i].Update(t.at) }
	return t, nil
}

// learnt are the parameters that a configuration trains, with moments and averages as they begin.
func learnt(net model.Network, params model.Params, cfg Config) ([]Parameter, error) {
	head := net.Head()
	frozen := map[string]bool{}
	for _, name := range cfg.FreezeLayers {
		if !slices.ContainsFunc(net.Layers, func(l model.Layer) bool { return l.Name == name }) {
			return nil, fmt.Errorf("train: no layer of %s is named %q: it cannot be frozen", net.Arch, name)
		}
		frozen[name] = true
	}
	var body []string // layers with parameters before the head
	for i, l := range net.Layers {
		if i != head && (l.Op == model.Conv || l.Op == model.Depthwise || l.Op == model.Dense) {
			body = append(body, l.Name)
		}
	}
	for _, name := range body[:int(math.Round(cfg.FreezeShare*float64(len(body))))] {
		frozen[name] = true
	}
	list, err := net.Parameters()
	if err != nil {
		return nil, err
	}
	var learn []Parameter
	for i, q := range list {
		values := params[q.Name]
		if len(values) != q.Len() {
			return nil, fmt.Errorf("train: parameter %s has %d values: want %v", q.Name, len(values), q.Shape)
		}
		name := net.Layers[q.Layer].Name
		if cfg.Freeze && q.Layer != head || frozen[name] {
			continue
		}
		p := Parameter{Name: q.Name, Layer: q.Layer, Values: values, Rate: 1}
		if i%2 == 0 { // weights, before their biases
			p.Decay = cfg.WeightDecay
		}
		if k := slices.Index(body, name); k < 0 {
			p.Rate = cfg.HeadRate
		} else if last := len(body) - 1; last > 0 {
			p.Rate = math.Pow(cfg.LayerRate, 1-float64(k)/float64(last))
		}
		for range newSolver(cfg).moments {
			p.Moments = append(p.Moments, make([]float32, len(values)))
		}
		if cfg.Average > 0 {
			p.Average = slices.Clone(values)
		}
		learn = append(learn, p)
	}
	if len(learn) == 0 {
		return nil, fmt.Errorf("train: every layer is frozen: nothing is left to train")
	}
	return learn, nil
}

// close closes the devices. There is no trainer where a phase could not begin.
func (t *trainer) close() {
	if t == nil {
		return
	}
	for _, d := range t.devices {
		d.Close()
	}
	if t.crew != nil {
		t.crew.close()
	}
}

// answering are the parameters that are evaluated and saved: the averages of those that have one. They are those of the
// last read.
func (t *trainer) answering() model.Params {
	if t.cfg.Average == 0 {
		return t.params
	}
	params := maps.Clone(t.params)
	for _, p := range t.learn {
		params[p.Name] = p.Average
	}
	return params
}

// read brings what is on the host up to date. Devices hold the same, so one is asked.
func (t *trainer) read() error { return t.devices[0].Read() }

// write gives the devices what has been changed on the host.
func (t *trainer) write() error {
	for i, d := range t.devices {
		for k, p := range t.jobs[i].Learn {
			from := t.learn[k]
			copy(p.Values, from.Values)
			copy(p.Average, from.Average)
			for m := range p.Moments {
				copy(p.Moments[m], from.Moments[m])
			}
		}
		if err := d.Write(); err != nil {
			return err
		}
	}
	return nil
}

// batch is the images of one step, ready to be computed. Behind images there is memory, dark, for those that fill a slice up.
type batch struct {
	slot    int // of the devices
	count   int
	images  []float32 // [count][H*W*C]
	targets []float32 // [count][classes]
	labels  []int
	shares  []float64 // of its label in each image, as Config.Mix leaves them; nil if none is mixed
	draws   []draw
}

// parts is which images of a batch fall to device i of n: contiguous, and as many as to the others, or one more.
func parts(count, i, n int) (from, to int) { return count * i / n, count * (i + 1) / n }

// ready labels a batch and gives the devices their parts of it.
func (t *trainer) ready(b *batch) error {
	size := t.net.Input.Size()
	clear(b.images[b.count*size:])
	t.label(b)
	classes := t.net.Classes()
	for i, d := range t.devices {
		from, to := parts(b.count, i, len(t.devices))
		if from == to {
			continue
		}
		if err := d.Load(b.slot, Part{b.images[from*size : to*size], b.targets[from*classes : to*classes], b.labels[from:to]}); err != nil {
			return err
		}
	}
	return nil
}

// step computes the gradient of the batch and changes the parameters. A loss or a gradient that is not finite ends the
// training before it reaches them.
func (t *trainer) step(ctx context.Context, b *batch, rate float64) (out Outcome, err error) {
	t.ctx, t.batch, t.at = ctx, b, SolverStep{Number: t.steps + 1, Rate: rate, Keep: t.keep, Scale: 1}
	if err := t.each(t.takePart); err != nil {
		return out, err
	}
	for _, o := range t.outcomes {
		out.Loss += o.Loss
		out.Right += o.Right
	}
	if !finite(out.Loss) {
		return out, &NotFiniteError{What: "loss", Value: out.Loss, Rate: rate}
	}
	if t.crew != nil {
		if err := t.crew.run((len(t.sums[0])+pieceSize-1)/pieceSize, t.takeSum); err != nil {
			return out, err
		}
		if err := t.each(t.takeWrite); err != nil {
			return out, err
		}
	}
	square, err := t.devices[0].SquaredNorm()
	if err != nil {
		return out, err
	}
	norm := math.Sqrt(square)
	if !finite(norm) {
		return out, &NotFiniteError{What: "norm of the gradient", Value: norm, Rate: rate}
	}
	if clip := t.cfg.ClipNorm; clip > 0 && norm > clip {
		t.at.Scale = float32(clip / norm)
	}
	t.steps++
	return out, t.each(t.takeUpdate)
}

// each calls f for every device, all at once.
func (t *trainer) each(f func(worker, i int) error) error {
	if t.crew == nil {
		return f(0, 0)
	}
	return t.crew.run(len(t.devices), f)
}

// part has a device compute its part of the batch. One that has none adds no gradient.
func (t *trainer) part(i int) (err error) {
	t.outcomes[i] = Outcome{}
	if from, to := parts(t.batch.count, i, len(t.devices)); from == to {
		clear(t.sums[i])
		return nil
	}
	if t.outcomes[i], err = t.devices[i].Gradient(t.ctx, t.batch.slot, t.at); err != nil || t.crew == nil {
		return err
	}
	return t.devices[i].ReadGradient(t.sums[i])
}

// sum adds the gradients of all devices to the first's, a piece of them.
func (t *trainer) sum(piece int) {
	from := piece * pieceSize
	to := min(from+pieceSize, len(t.sums[0]))
	for _, g := range t.sums[1:] {
		kernel.AddTo(t.sums[0][from:to], g[from:to])
	}
}

// label writes the targets as crossEntropy takes them: mixed as the images are, smoothed, and weighing 1/count so that
// the loss is a mean.
func (t *trainer) label(b *batch) {
	classes := t.net.Classes()
	weight := 1 / float64(b.count)
	for i, label := range b.labels[:b.count] {
		row := b.targets[i*classes : (i+1)*classes]
		for c := range row {
			row[c] = float32(weight * t.cfg.LabelSmoothing / float64(classes))
		}
		share, rest := 1.0, t.cfg.LabelSmoothing/float64(classes)
		if b.shares != nil {
			if other := b.labels[b.count-1-i]; other != label {
				share = b.shares[i]
				row[other] = float32(weight * ((1-share)*(1-t.cfg.LabelSmoothing) + rest))
			}
		}
		row[label] = float32(weight * (share*(1-t.cfg.LabelSmoothing) + rest))
	}
}
