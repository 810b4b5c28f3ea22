package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
	"github.com/logobeam/logobeam/model/metrics"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A trainer takes steps: it computes the gradient of a batch on several cores and lets the solver change the
// parameters.
//
// A batch is cut into cfg.Slices slices, whatever the number of workers. Workers take slices in their order, each with a
// graph of its own. The gradient of a layer is added to the total as soon as it is known, but in the order of the
// slices: a worker that is early waits for its turn. So the sum is the same bit for bit for any number of workers, and no
// worker keeps gradients of its own beyond one layer's.
//
// Dense layers are treated apart. Their weights are by far the most (a hundred times the convolutions' in the
// article's network), and their gradient over a whole batch is one product of two matrices: so slices only hand over their
// inputs and gradients. The product is worked out once, a few outputs at a time, and the solver takes each part while it
// is still in the cache: the gradient as a whole is never in memory.
type trainer struct {
	*plan
	cfg     Config
	rows    int // images of a slice
	workers []*worker
	solver  solver
	learn   []*learned // what is trained, in the order of the layers
	byLayer map[int]*layerGrad
	tasks   []task // what is left to do when the slices are through
	parts   [][]float32
	steps   int // steps taken
}

// task is a piece of a step's work that can be done beside the others. It may use a worker's memory for a part.
type task func(part []float32, rows int, rate float64)

// learned is a parameter that is trained.
type learned struct {
	name    string
	w       []float32
	g       []float32 // the gradient of the batch; nil for a dense layer's
	moments [2][]float32
	decay   float64 // weight decay
	rate    float64 // multiplies the learning rate
}

// layerGrad is where the gradient of one layer comes together.
type layerGrad struct {
	layer        int
	weight, bias *learned
	turn         turn
	// For dense layers: inputs [rows of the batch][inputs], and the gradients to the outputs, cut along the outputs into
	// parts [rows of the batch][outputs of the part].
	x     []float32
	parts [][]float32
}

// denseOutputs is the number of outputs of a dense layer whose weights' gradient is worked out as one part.
const denseOutputs = 12

// worker is one goroutine's graph and the slice it is at.
type worker struct {
	*trainer
	*graph
	slice int
}

// turn lets slices pass in their order.
type turn struct {
	mu     sync.Mutex
	change sync.Cond
	next   int
	broken bool
}

var errBroken = errors.New("another slice failed")

func (t *turn) wait(slice int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.next != slice && !t.broken {
		t.change.Wait()
	}
	if t.broken {
		panic(errBroken) // becomes the operation's error
	}
}

func (t *turn) pass() {
	t.mu.Lock()
	t.next++
	t.mu.Unlock()
	t.change.Broadcast()
}

func (t *turn) breakUp() {
	t.mu.Lock()
	t.broken = true
	t.mu.Unlock()
	t.change.Broadcast()
}

func newTrainer(net model.Network, params model.Params, cfg Config) (*trainer, error) {
	head := net.Head()
	named := map[string]bool{}
	for _, name := range cfg.FreezeLayers {
		named[name] = true
	}
	for _, l := range net.Layers {
		delete(named, l.Name)
	}
	for name := range named {
		return nil, fmt.Errorf("train: no layer of %s is named %q: it cannot be frozen", net.Arch, name)
	}
	for _, name := range cfg.FreezeLayers {
		named[name] = true
	}
	p, err := newPlan(net, params, func(i int, name string) bool { return cfg.Freeze && i != head || named[name] })
	if err != nil {
		return nil, err
	}
	t := &trainer{plan: p, cfg: cfg, rows: (cfg.Batch + cfg.Slices - 1) / cfg.Slices, solver: newSolver(cfg), byLayer: map[int]*layerGrad{}}
	part := 0
	for i, l := range p.layers {
		if !l.trained {
			continue
		}
		w, b := &learned{name: l.Name + ".weight", w: p.weight(i), decay: cfg.WeightDecay, rate: 1}, &learned{name: l.Name + ".bias", w: p.bias(i), rate: 1}
		if i == head {
			w.rate, b.rate = cfg.HeadRate, cfg.HeadRate
		}
		g := &layerGrad{layer: i, weight: w, bias: b}
		g.turn.change.L = &g.turn.mu
		for _, q := range []*learned{w, b} {
			for k := range t.solver.moments {
				q.moments[k] = make([]float32, len(q.w))
			}
			if l.Op != model.Dense {
				q.g = make([]float32, len(q.w))
				t.tasks = append(t.tasks, t.updates(q)...)
			}
		}
		t.learn = append(t.learn, w, b)
		if l.Op == model.Dense {
			batch := t.rows * cfg.Slices
			g.x = make([]float32, batch*l.in.Size())
			for o := 0; o < l.out.C; o += denseOutputs {
				g.parts = append(g.parts, make([]float32, batch*min(denseOutputs, l.out.C-o)))
				t.tasks = append(t.tasks, t.multiply(g, len(g.parts)-1))
			}
			part = max(part, (l.in.Size()+1)*denseOutputs)
		}
		t.byLayer[i] = g
	}
	for range cfg.workers() {
		t.parts = append(t.parts, make([]float32, part))
	}
	for range min(cfg.workers(), cfg.Slices) {
		w := &worker{trainer: t}
		if w.graph, err = newGraph(p, t.rows, w); err != nil {
			return nil, err
		}
		t.workers = append(t.workers, w)
	}
	return t, nil
}

func (t *trainer) close() {
	for _, w := range t.workers {
		w.vm.Close()
	}
}

func (w *worker) room(layer int) bool {
	return w.layers[layer].Op != model.Dense && w.cfg.Slices > 1
}

// give adds the gradient of the slice to the total. See sink.
func (w *worker) give(layer int, dw, db, dy, x, scratch []float32) {
	g := w.byLayer[layer]
	if g.x != nil {
		w.handOver(g, dy, x)
		return
	}
	if w.slice == 0 { // the first needs not wait for anybody, nor add
		w.gradWeights(layer, w.rows, g.weight.g, g.bias.g, dy, x, scratch)
	} else {
		w.gradWeights(layer, w.rows, dw, db, dy, x, scratch)
		g.turn.wait(w.slice)
		kernel.AddTo(g.weight.g, dw)
		kernel.AddTo(g.bias.g, db)
	}
	g.turn.pass()
}

// handOver copies what a dense layer's gradient is made of to the slice's place in the batch.
func (w *worker) handOver(g *layerGrad, dy, x []float32) {
	l := &w.layers[g.layer]
	copy(g.x[w.slice*w.rows*l.in.Size():], x)
	for k, part := range g.parts {
		o := k * denseOutputs
		c := min(denseOutputs, l.out.C-o)
		copyColumns(part[w.slice*w.rows*c:], dy[o:], w.rows, c, c, l.out.C)
	}
}

// multiply is the task of working out part k of a dense layer's gradient, and of the solver's step along it.
func (t *trainer) multiply(g *layerGrad, k int) task {
	in, o := t.layers[g.layer].in.Size(), k*denseOutputs
	c := min(denseOutputs, len(g.bias.w)-o)
	return func(part []float32, rows int, rate float64) {
		dw, db := part[:c*in], part[c*in:c*in+c]
		kernel.DenseGradWeights(dw, db, g.parts[k], g.x, rows, c, in)
		t.update(g.weight, o*in, dw, rate)
		t.update(g.bias, o, db, rate)
	}
}

// updates are the tasks of the solver's step for a parameter whose gradient is there. Every value is worked out by itself,
// so any cut gives the same.
func (t *trainer) updates(p *learned) (list []task) {
	const piece = 1 << 16
	for i := 0; i < len(p.w); i += piece {
		g := p.g[i:min(i+piece, len(p.g))]
		list = append(list, func(_ []float32, _ int, rate float64) { t.update(p, i, g, rate) })
	}
	return list
}

// update lets the solver change the values of p from the first on along their gradient g.
func (t *trainer) update(p *learned, first int, g []float32, rate float64) {
	var m [2][]float32
	for k := range t.solver.moments {
		m[k] = p.moments[k][first:]
	}
	t.solver.update(p.w[first:first+len(g)], g, m, t.steps, rate*p.rate, p.decay)
}

// batch is the images of one step, ready to be computed.
type batch struct {
	count  int
	images []float32 // [count, filled up to whole slices][H*W*C]
	labels []int
}

// outcome is what a step tells.
type outcome struct {
	loss  float64 // mean over the images
	right int     // images the network had right before the step
}

// step computes the gradient of the batch and changes the parameters. A loss that is no number ends the training before it
// reaches them.
func (t *trainer) step(ctx context.Context, b *batch, rate float64) (outcome, error) {
	active := (b.count + t.rows - 1) / t.rows
	clear(b.images[b.count*t.net.Input.Size() : active*t.rows*t.net.Input.Size()])
	targets := t.targets(b, active*t.rows)
	for _, g := range t.byLayer {
		g.turn.next, g.turn.broken = 0, false
	}
	losses, rights := make([]float64, active), make([]int, active)
	errs := make([]error, active)
	var next atomic.Int64
	var group sync.WaitGroup
	for _, w := range t.workers[:min(len(t.workers), active)] {
		group.Go(func() {
			for {
				s := int(next.Add(1)) - 1
				if s >= active {
					return
				}
				if errs[s] = ctx.Err(); errs[s] == nil {
					losses[s], rights[s], errs[s] = w.run(s, b, targets)
				}
				if errs[s] != nil {
					for _, g := range t.byLayer {
						g.turn.breakUp()
					}
					return
				}
			}
		})
	}
	group.Wait()
	if err := first(errs); err != nil {
		return outcome{}, err
	}
	var out outcome
	for s := range losses {
		out.loss += losses[s]
		out.right += rights[s]
	}
	if math.IsNaN(out.loss) || math.IsInf(out.loss, 0) {
		return out, fmt.Errorf("the loss is %v at a learning rate of %v: a lower one may help, or a warm-up", out.loss, rate)
	}
	return out, t.change(active*t.rows, rate)
}

// first is the first error that says more than that there is another.
func first(errs []error) error {
	var broken error
	for _, err := range errs {
		if err != nil && !errors.Is(err, errBroken) {
			return err
		}
		if broken == nil {
			broken = err
		}
	}
	return broken
}

// targets is the labels as crossEntropy takes them: smoothed, and weighing 1/count so that the loss is a mean. Rows past
// count weigh nothing.
func (t *trainer) targets(b *batch, rows int) []float32 {
	classes := t.workers[0].classes
	targets := make([]float32, rows*classes)
	weight := 1 / float64(b.count)
	for i, label := range b.labels[:b.count] {
		row := targets[i*classes : (i+1)*classes]
		for c := range row {
			row[c] = float32(weight * t.cfg.LabelSmoothing / float64(classes))
		}
		row[label] = float32(weight * (1 - t.cfg.LabelSmoothing + t.cfg.LabelSmoothing/float64(classes)))
	}
	return targets
}

// run computes one slice: its share of the loss and of the right answers. Its gradients go through give.
func (w *worker) run(slice int, b *batch, targets []float32) (loss float64, right int, err error) {
	w.slice = slice
	size, from := w.net.Input.Size(), slice*w.rows
	matrix := func(values []float32, columns int) *tensor.Dense {
		return tensor.New(tensor.WithShape(w.rows, columns), tensor.WithBacking(values[from*columns:(from+w.rows)*columns]))
	}
	if err := gorgonia.Let(w.x, matrix(b.images, size)); err != nil {
		return 0, 0, err
	}
	if err := gorgonia.Let(w.t, matrix(targets, w.classes)); err != nil {
		return 0, 0, err
	}
	defer w.vm.Reset()
	if err := w.vm.RunAll(); err != nil {
		return 0, 0, cmp.Or(w.graph.err, err)
	}
	for i := range min(w.rows, b.count-from) {
		if metrics.Argmax(w.logits.dst[i*w.classes:(i+1)*w.classes]) == b.labels[from+i] {
			right++
		}
	}
	return float64(w.loss.dst[0]), right, nil
}

// change lets the solver take a step along the gradients that the slices left, and packs the new weights.
func (t *trainer) change(rows int, rate float64) error {
	t.steps++
	if err := t.parallel(len(t.tasks), func(worker, i int) { t.tasks[i](t.parts[worker], rows, rate) }); err != nil {
		return err
	}
	return t.parallel(len(t.layers), func(_, i int) {
		if t.layers[i].trained {
			t.repack(i)
		}
	})
}

// parallel calls f for 0 to n-1 on as many goroutines as there are workers.
func (t *trainer) parallel(n int, f func(worker, i int)) error {
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, min(t.cfg.workers(), n))
	for k := range errs {
		group.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					errs[k] = fmt.Errorf("train: %v", r)
				}
			}()
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(k, i)
			}
		})
	}
	group.Wait()
	return first(errs)
}
