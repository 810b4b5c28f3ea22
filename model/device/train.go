package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/train"
)

// Opener opens the accelerator of a number to train on.
func Opener(number int) train.Opener {
	return train.Opener{Kind: "gpu", Open: func(j train.Job) (train.Device, error) {
		d, err := Open(number)
		if err != nil {
			return nil, err
		}
		return NewTrainer(d, j)
	}}
}

// Trainer computes gradients on a device and changes parameters there. It is package train's device of another kind: the layers
// run in their order and their gradients in the opposite one, as launches that are worked out once. What comes out is what
// the processor's graph gives but for rounding, and the same bit for bit in every run.
//
// Images are copied on a stream of their own, while the step before is computed. A step waits for the device once, for the loss
// and the norm of the gradient, and the solver's launches are under way when the next step's come.
type Trainer struct {
	*network
	cfg            train.Config
	learn          []learned
	classes        int
	copies         Stream
	batch          int
	images         Ptr    // of the step, copied here from its slot
	steps          []step // from there to the gradient
	gradients      Ptr    // of all that is learnt, one after another
	values         int    // of them
	losses, rights Ptr
	found          Ptr       // the sum of the losses, that of the right answers, and the parts of the gradient's norm
	host           []float64 // a copy of them
	normed         bool      // the norm in it is the gradient's
	scale          Ptr
	now            *slot // that is computed

	mu    sync.Mutex // of slots, of which some are loaded while another is computed
	slots map[int]*slot
}

var _ train.Device = (*Trainer)(nil)

// learned is a parameter that is trained, where it lies.
type learned struct {
	train.Parameter
	value, gradient, average Ptr
	moments                  [2]Ptr
}

// slot is a part of a batch on its way.
type slot struct {
	images, targets, labels Ptr
	count                   int
	classes                 []int64
	loaded                  Event
}

// normParts is how many sums the norm of a gradient is the sum of.
const normParts = 256

// NewTrainer makes a device ready for a phase of a training. The trainer has the driver from then on, and closes it.
func NewTrainer(d Driver, j train.Job) (t *Trainer, err error) {
	defer func() {
		if err != nil {
			d.Close()
			err = fmt.Errorf("device: %s: training %s with %d images a step: %w", d.Name(), j.Network.Arch, j.Config.Batch, err)
		}
	}()
	n, err := newNetwork(d, j.Network, j.Params, j.Config.Precision == train.FP32)
	if err != nil {
		return nil, err
	}
	t = &Trainer{network: n, cfg: j.Config, batch: j.Config.Batch, classes: j.Network.Classes(), slots: map[int]*slot{}, host: make([]float64, 2+normParts)}
	if t.copies, err = d.NewStream(); err != nil {
		return nil, err
	}
	for _, p := range j.Learn {
		t.values += len(p.Values)
	}
	take := func(to *Ptr, values int) {
		if err == nil {
			var p piece
			p, err = n.memory.take(values)
			*to = p.at
		}
	}
	take(&t.images, t.batch*t.input.Size())
	take(&t.gradients, t.values)
	take(&t.losses, 2*t.batch)
	take(&t.rights, 2*t.batch)
	take(&t.found, 2*len(t.host))
	take(&t.scale, 1)
	if err != nil {
		return nil, err
	}
	at := t.gradients
	for i, p := range j.Learn {
		l := learned{Parameter: p, gradient: at, value: n.layers[p.Layer].bias}
		if p.Name == n.layers[p.Layer].Name+".weight" {
			l.value = n.layers[p.Layer].weight
		}
		for k, m := range p.Moments {
			if l.moments[k], err = n.memory.upload(m); err != nil {
				return nil, err
			}
		}
		if p.Average != nil {
			if l.average, err = n.memory.upload(p.Average); err != nil {
				return nil, err
			}
		}
		at += Ptr(4 * len(j.Learn[i].Values))
		t.learn = append(t.learn, l)
	}
	return t, t.lay()
}

// lay gives activations and gradients their places and makes the steps from images to gradients.
func (t *Trainer) lay() (err error) {
	n := t.network
	dw, db := make([]Ptr, len(n.layers)), make([]Ptr, len(n.layers)) // 0 for layers that are not trained
	for _, l := range t.learn {
		if l.value == n.layers[l.Layer].weight {
			dw[l.Layer] = l.gradient
		} else {
			db[l.Layer] = l.gradient
		}
	}
	needs := make([]bool, len(n.layers)) // something up to and including the layer is trained
	places := make([]Ptr, len(n.layers))
	at := func(i int) Ptr {
		if i < 0 {
			return t.images
		}
		return n.place(i, places[n.root(i)])
	}
	for i, l := range n.layers {
		needs[i] = dw[i] != 0
		for _, j := range l.ins {
			needs[i] = needs[i] || j >= 0 && needs[j]
		}
		if root := n.root(i); places[root] == 0 {
			p, err := n.memory.take(t.batch * n.layers[root].out.Size())
			if err != nil {
				return err
			}
			places[root] = p.at
		}
		t.steps = n.forward(t.steps, i, at)
	}
	last := len(n.layers) - 1
	b := backward{t, at, dw, db, needs, make([]*gradient, len(n.layers))}
	loss, err := b.take(last)
	if err != nil {
		return err
	}
	b.of[last] = loss
	t.steps = append(t.steps,
		func(images int) Launch {
			return Launch{"cross_entropy", [3]int{ceil(images, 4), 1, 1}, [3]int{128, 1, 1}, []uint64{uint64(t.losses), uint64(t.rights), uint64(loss.at),
				uint64(at(last)), uint64(t.now.targets), uint64(t.now.labels), uint64(images), uint64(t.classes)}}
		},
		func(images int) Launch {
			return Launch{"outcome", [3]int{1, 1, 1}, [3]int{256, 1, 1}, []uint64{uint64(t.found), uint64(t.losses), uint64(t.rights), uint64(images)}}
		})
	for i := last; i >= 0; i-- {
		if b.of[i] == nil { // nothing trained comes before it, or nobody reads it
			continue
		}
		if err := b.layer(i); err != nil {
			return err
		}
	}
	n.memory.keep()
	return nil
}

// backward makes the steps of the gradients.
type backward struct {
	*Trainer
	place  func(layer int) Ptr
	dw, db []Ptr
	needs  []bool
	of     []*gradient // of the layers' outputs, as far as they have been worked out
}

// gradient is the place of one. Those of joined layers lie in that of the layer that joins them.
type gradient struct {
	piece
	users int
}

func (b *backward) take(layer int) (*gradient, error) {
	p, err := b.memory.take(b.batch * b.layers[layer].out.Size())
	return &gradient{p, 1}, err
}

func (b *backward) drop(g *gradient) {
	if g.users--; g.users == 0 {
		b.memory.give(g.piece)
	}
}

// into appends what writes a gradient of layer j: where there is one already, it is added. make gets the place; adds says that what
// it makes can add by itself.
func (b *backward) into(j int, make func(dst Ptr, add uint64) step, adds bool) error {
	old := b.of[j]
	if old != nil && adds {
		b.steps = append(b.steps, make(old.at, 1))
		return nil
	}
	g, err := b.take(j)
	if err != nil {
		return err
	}
	b.steps = append(b.steps, make(g.at, 0))
	if old == nil {
		b.of[j] = g
		return nil
	}
	b.steps = append(b.steps, b.add(old.at, old.at, g.at, b.layers[j].out.Size(), 0))
	b.drop(g)
	return nil
}

// layer appends the steps of a layer: from the gradient of its output to those of its parameters and inputs.
func (b *backward) layer(i int) error {
	l, g := &b.layers[i], b.of[i]
	defer b.drop(g)
	d, y, pitch := g.at, b.place(i), b.pitch(i)
	if l.concat >= 0 {
		d += Ptr(4 * l.from)
	}
	wanted := func(j int) bool { return j >= 0 && b.needs[j] }
	if err := b.throughAct(i, d, y, pitch); err != nil {
		return err
	}
	if b.dw[i] != 0 {
		if err := b.weightGrad(i, d, pitch); err != nil {
			return err
		}
	}
	j := l.ins[0]
	switch l.Op {
	case model.Conv, model.Dense:
		if !wanted(j) {
			return nil
		}
		return b.into(j, func(dst Ptr, add uint64) step {
			w := l.window
			return func(images int) Launch {
				args := append([]uint64{uint64(dst), uint64(d), uint64(l.weight)}, l.shapeArgs(images)...)
				return b.product("conv_data_grad", l, images*ceil(l.in.H, w.Stride)*ceil(l.in.W, w.Stride), l.in.C, w.Stride*w.Stride,
					append(args, uint64(pitch), add)...)
			}
		}, true)
	case model.Depthwise:
		if !wanted(j) {
			return nil
		}
		return b.into(j, func(dst Ptr, _ uint64) step {
			return func(images int) Launch {
				return threads("depthwise_data_grad", images*l.in.H*l.in.W*ceil(l.in.C, 4),
					append([]uint64{uint64(dst), uint64(d), uint64(l.weight)}, l.shapeArgs(images)...)...)
			}
		}, false)
	case model.MaxPool:
		return b.into(j, func(dst Ptr, _ uint64) step {
			return func(images int) Launch {
				return threads("max_pool_grad", images*l.in.Size(),
					append([]uint64{uint64(dst), uint64(d), uint64(b.place(j)), uint64(y)}, l.shapeArgs(images)...)...)
			}
		}, false)
	case model.GlobalAvgPool:
		return b.into(j, func(dst Ptr, _ uint64) step {
			return func(images int) Launch {
				return threads("global_avg_pool_grad", images*l.in.Size(), uint64(dst), uint64(d), uint64(images), uint64(l.in.H*l.in.W), uint64(l.in.C))
			}
		}, false)
	case model.Add:
		for _, j := range l.ins {
			if !wanted(j) {
				continue
			}
			if b.of[j] == nil && g.users == 1 { // nobody else wants the memory
				b.of[j] = g
				g.users++
				continue
			}
			c := l.out.C
			if err := b.into(j, func(dst Ptr, _ uint64) step { return columns(dst, d, l.out.H*l.out.W, c, c, c) }, false); err != nil {
				return err
			}
		}
	case model.Concat:
		from := 0
		for _, j := range l.ins {
			c := b.shape(j).C
			switch stripe := d + Ptr(4*from); {
			case !wanted(j):
			case b.layers[j].concat == i:
				b.of[j] = g
				g.users++
			default:
				if err := b.into(j, func(dst Ptr, _ uint64) step { return columns(dst, stripe, l.out.H*l.out.W, c, c, l.out.C) }, false); err != nil {
					return err
				}
			}
			from += c
		}
	}
	return nil
}

// throughAct takes the gradient of an output through its activation, in place, and sums that of the biases.
func (b *backward) throughAct(i int, d, y Ptr, pitch int) error {
	l, pixels := &b.layers[i], b.layers[i].out.H*b.layers[i].out.W
	c := l.out.C
	// Blocks take 32 columns and a part of the rows.
	parts := func(images int) int { return max(1, min(2*fill/ceil(c, 32), ceil(images*pixels, 256))) }
	if b.db[i] == 0 {
		if l.act != 0 {
			b.steps = append(b.steps, func(images int) Launch {
				return Launch{"act_grad", [3]int{ceil(c, 32), parts(images), 1}, [3]int{256, 1, 1},
					[]uint64{uint64(d), uint64(y), 0, uint64(images * pixels), uint64(c), uint64(pitch), l.act}}
			})
		}
		return nil
	}
	return b.inParts(b.db[i], c, parts, func(dst Ptr, parts, images int) Launch {
		return Launch{"act_grad", [3]int{ceil(c, 32), parts, 1}, [3]int{256, 1, 1},
			[]uint64{uint64(d), uint64(y), uint64(dst), uint64(images * pixels), uint64(c), uint64(pitch), l.act}}
	})
}

// weightGrad sums the gradient of the layer's weights.
func (b *backward) weightGrad(i int, d Ptr, pitch int) error {
	l := &b.layers[i]
	src, w, c := b.place(l.ins[0]), l.window, l.in.C
	pixels := w.OutH * w.OutW
	if l.Op == model.Depthwise {
		parts := func(images int) int { return max(1, min(fill/ceil(c, 32), ceil(images*pixels, 256))) }
		kernel := "depthwise_weight_grad_any"
		if w.Kernel == 3 || w.Kernel == 5 {
			kernel = fmt.Sprintf("depthwise_weight_grad_%d", w.Kernel)
		}
		return b.inParts(b.dw[i], w.Kernel*w.Kernel*c, parts, func(dst Ptr, parts, images int) Launch {
			return Launch{kernel, [3]int{ceil(c, 32), parts, 1}, [3]int{256, 1, 1},
				append([]uint64{uint64(dst), uint64(d), uint64(src)}, l.shapeArgs(images)...)}
		})
	}
	cols := w.Kernel * w.Kernel * c
	tile, _ := b.tile(l, l.out.C, cols)
	parts := func(images int) int {
		return max(1, min(fill/(ceil(l.out.C, tile)*ceil(cols, tile)), ceil(images*pixels, 512)))
	}
	return b.inParts(b.dw[i], l.out.C*cols, parts, func(dst Ptr, parts, images int) Launch {
		args := append([]uint64{uint64(dst), uint64(d), uint64(src)}, l.shapeArgs(images)...)
		return b.product("conv_weight_grad", l, l.out.C, cols, parts, append(args, uint64(pitch))...)
	})
}

// inParts appends a step that sums into several parts, and the sum of these, of so many values.
func (b *backward) inParts(dst Ptr, values int, parts func(images int) int, make func(dst Ptr, parts, images int) Launch) error {
	p, err := b.memory.take(values * parts(b.batch))
	if err != nil {
		return err
	}
	b.steps = append(b.steps, func(images int) Launch {
		if parts(images) == 1 {
			return make(dst, 1, images)
		}
		return make(p.at, parts(images), images)
	}, func(images int) Launch {
		if parts(images) == 1 {
			return Launch{}
		}
		return threads("sum_parts", values, uint64(dst), uint64(p.at), uint64(parts(images)), uint64(values))
	})
	b.memory.give(p)
	return nil
}

// Load copies a part to the device.
func (t *Trainer) Load(number int, p train.Part) error {
	if len(p.Labels) < 1 || len(p.Labels) > t.batch {
		return fmt.Errorf("device: a part of %d images: want 1 to %d", len(p.Labels), t.batch)
	}
	s, err := t.slot(number)
	if err != nil {
		return err
	}
	s.count, s.classes = len(p.Labels), s.classes[:0]
	for _, l := range p.Labels {
		s.classes = append(s.classes, int64(l))
	}
	d := t.driver
	return errors.Join(
		d.CopyIn(s.images, Bytes(p.Images), t.copies),
		d.CopyIn(s.targets, Bytes(p.Targets), t.copies),
		d.CopyIn(s.labels, Bytes(s.classes), t.copies),
		d.Record(s.loaded, t.copies))
}

// slot finds a slot, or makes it.
func (t *Trainer) slot(number int) (*slot, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.slots[number]; s != nil {
		return s, nil
	}
	images, err1 := t.memory.take(t.batch * t.input.Size())
	targets, err2 := t.memory.take(t.batch * t.classes)
	labels, err3 := t.memory.take(2 * t.batch)
	loaded, err4 := t.driver.NewEvent()
	s := &slot{images: images.at, targets: targets.at, labels: labels.at, loaded: loaded}
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	t.slots[number] = s
	return s, nil
}

// Gradient computes the part in the slot.
func (t *Trainer) Gradient(ctx context.Context, number int, _ train.SolverStep) (out train.Outcome, err error) {
	if err := ctx.Err(); err != nil {
		return out, err
	}
	s, err := t.slot(number)
	if err != nil {
		return out, err
	}
	t.now = s
	if err := t.driver.Wait(compute, s.loaded); err != nil {
		return out, err
	}
	size := t.input.Size()
	begin := []step{columns(t.images, s.images, 1, size, size, size)}
	if err := errors.Join(launch(t.driver, begin, s.count, compute), launch(t.driver, t.steps, s.count, compute), t.norm()); err != nil {
		return out, err
	}
	if err := t.driver.CopyOut(Bytes(t.host), t.found, compute); err != nil {
		return out, err
	}
	t.normed = true
	return train.Outcome{Loss: t.host[0], Right: int(t.host[1])}, nil
}

// norm puts the parts of the gradient's squared norm behind what was found.
func (t *Trainer) norm() error {
	return t.driver.Launch(Launch{"sum_squares", [3]int{normParts, 1, 1}, [3]int{256, 1, 1},
		[]uint64{uint64(t.found) + 16, uint64(t.gradients), uint64(t.values)}}, compute)
}

// ReadGradient copies the gradient to the host.
func (t *Trainer) ReadGradient(dst []float32) error {
	return t.driver.CopyOut(Bytes(dst[:t.values]), t.gradients, compute)
}

// WriteGradient copies a gradient from the host.
func (t *Trainer) WriteGradient(src []float32) error {
	t.normed = false
	return t.driver.CopyIn(t.gradients, Bytes(src[:t.values]), compute)
}

// SquaredNorm is the sum of the gradient's squares.
func (t *Trainer) SquaredNorm() (float64, error) {
	if !t.normed {
		if err := errors.Join(t.norm(), t.driver.CopyOut(Bytes(t.host), t.found, compute)); err != nil {
			return 0, err
		}
		t.normed = true
	}
	sum := 0.0
	for _, v := range t.host[2:] {
		sum += v
	}
	return sum, nil
}

// Update takes a step of the solver: see train.SolverStep.
func (t *Trainer) Update(at train.SolverStep) error {
	scale := Ptr(0)
	if at.Scale != 1 {
		scale = t.scale
		if err := t.driver.Launch(threads("fill", 1, uint64(scale), 1, F64(float64(at.Scale))), compute); err != nil {
			return err
		}
	}
	c, rest := t.cfg, F64(float64(1-at.Keep))
	for _, l := range t.learn {
		rate, count := at.Rate*l.Rate, len(l.Values)
		args := []uint64{uint64(l.value), uint64(l.gradient), uint64(l.moments[0])}
		kernel := "momentum"
		if c.Solver == train.AdamW {
			kernel = "adamw"
			n := float64(at.Number)
			args = append(args, uint64(l.moments[1]), uint64(l.average), uint64(scale), uint64(count), F64(c.Beta1), F64(1-c.Beta1), F64(c.Beta2), F64(1-c.Beta2),
				F64(1-rate*l.Decay), F64(rate/(1-math.Pow(c.Beta1, n))), F64(1/math.Sqrt(1-math.Pow(c.Beta2, n))), F64(c.Epsilon), rest)
		} else {
			nesterov := uint64(0)
			if c.Nesterov {
				nesterov = 1
			}
			args = append(args, uint64(l.average), uint64(scale), uint64(count), F64(rate), F64(l.Decay), F64(c.Momentum), nesterov, rest)
		}
		if err := t.driver.Launch(threads(kernel, count, args...), compute); err != nil {
			return err
		}
	}
	return nil
}

// each calls f for what a parameter has on the host and where that is on the device.
func (t *Trainer) each(f func(host []float32, at Ptr) error) error {
	for _, l := range t.learn {
		errs := []error{f(l.Values, l.value)}
		for k, m := range l.Moments {
			errs = append(errs, f(m, l.moments[k]))
		}
		if l.Average != nil {
			errs = append(errs, f(l.Average, l.average))
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("device: %s: %w", l.Name, err)
		}
	}
	return nil
}

// Read copies all that changes in training to the host.
func (t *Trainer) Read() error {
	return t.each(func(host []float32, at Ptr) error { return t.driver.CopyOut(Bytes(host), at, compute) })
}

// Write copies it from the host.
func (t *Trainer) Write() error {
	return t.each(func(host []float32, at Ptr) error { return t.driver.CopyIn(at, Bytes(host), compute) })
}

// Close gives the device back.
func (t *Trainer) Close() error { return t.driver.Close() }
