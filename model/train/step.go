package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
	"github.com/logobeam/logobeam/model/metrics"
)

// A trainer takes steps: it computes the gradient of a batch on several cores and lets the solver change the
// parameters. After the first step it allocates nothing.
//
// A batch is cut into cfg.Slices slices, whatever the number of workers. Workers take slices in their order, each with
// memory of its own. The gradient of a layer is added to the total as soon as it is known, but in the order of the
// slices: a worker that is early waits for its turn. So the sum is the same bit for bit for any number of workers, and no
// worker keeps gradients of its own beyond one layer's.
//
// Large dense layers are joined: their weights are by far the most (a hundred times the convolutions' in the article's
// network), and reading them takes longer than what a slice does with them. So all slices of the batch meet there, and
// the layer is worked out for all of them at once, by all workers, cut along its outputs or inputs. Its weights are read
// once forward and once backward, when the solver takes each part while it is in the cache: the gradient as a whole is never
// in memory. Networks with such layers keep every slice's results until the batch is through.
type trainer struct {
	*plan
	cfg     Config
	rows    int // images of a slice
	crew    *crew
	workers []*worker
	slices  []*slice // one for each worker, or for each slice if they meet
	solver  solver
	learn   []*learned // what is trained, in the order of the layers
	byLayer map[int]*layerGrad
	tasks   []func(worker int) // the solver's steps when the slices are through
	repacks []int              // layers whose weights are packed again after that
	steps   int                // steps taken, of the phase
	epochs  int                // of the phase
	keep    float32            // share of the average that the step keeps

	// Of the step that is being taken. What takes part in it is made once: functions too, which would be allocated anew.
	ctx        context.Context
	batch      *batch
	active     int // slices that hold images
	rate       float64
	targets    []float32
	losses     []float64
	rights     []int
	from, to   int // steps of the programs
	out        outcome
	takeSlice  func(worker, i int) error
	takeTask   func(worker, i int) error
	takeRepack func(worker, i int) error
}

// learned is a parameter that is trained.
type learned struct {
	name    string
	w       []float32
	g       []float32 // the gradient of the batch; nil for a joined layer's
	moments [2][]float32
	average []float32 // moving average of w; nil for none
	decay   float64   // weight decay
	rate    float64   // multiplies the learning rate
}

// layerGrad is where the gradient of one layer comes together.
type layerGrad struct {
	weight, bias *learned
	turn         turn
}

// worker is the memory that one goroutine works in.
type worker struct {
	scratch []float32
	dw, db  []float32
}

// slice is a program and the slice of the batch that it is at.
type slice struct {
	*trainer
	*program
	worker *worker
	number int
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

// newTrainer is a trainer for an epoch, from 0, and all that follow in its phase.
func newTrainer(net model.Network, params model.Params, cfg Config, epoch int) (*trainer, error) {
	cfg, epochs := cfg.phase(epoch)
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
	var body []string // layers with parameters before the head
	for i, l := range net.Layers {
		if i != head && (l.Op == model.Conv || l.Op == model.Depthwise || l.Op == model.Dense) {
			body = append(body, l.Name)
		}
	}
	for _, name := range body[:int(math.Round(cfg.FreezeShare*float64(len(body))))] {
		named[name] = true
	}
	p, err := newPlan(net, params, cfg.Precision, func(i int, name string) bool { return cfg.Freeze && i != head || named[name] })
	if err != nil {
		return nil, err
	}
	t := &trainer{plan: p, cfg: cfg, epochs: epochs, rows: (cfg.Batch + cfg.Slices - 1) / cfg.Slices, solver: newSolver(cfg), byLayer: map[int]*layerGrad{},
		losses: make([]float64, cfg.Slices), rights: make([]int, cfg.Slices)}
	t.targets = make([]float32, t.rows*cfg.Slices*p.shapes[len(p.shapes)-1].Size())
	weights, biases := 0, 0
	for i, l := range p.layers {
		if !l.trained {
			continue
		}
		w, b := &learned{name: l.Name + ".weight", w: p.weight(i), decay: cfg.WeightDecay, rate: 1}, &learned{name: l.Name + ".bias", w: p.bias(i), rate: 1}
		if k := slices.Index(body, l.Name); k < 0 {
			w.rate, b.rate = cfg.HeadRate, cfg.HeadRate
		} else if last := len(body) - 1; last > 0 {
			w.rate = math.Pow(cfg.LayerRate, 1-float64(k)/float64(last))
			b.rate = w.rate
		}
		g := &layerGrad{weight: w, bias: b}
		g.turn.change.L = &g.turn.mu
		for _, q := range []*learned{w, b} {
			for k := range t.solver.moments {
				q.moments[k] = make([]float32, len(q.w))
			}
			if cfg.Average > 0 {
				q.average = slices.Clone(q.w)
			}
			if !l.joined {
				q.g = make([]float32, len(q.w))
				t.tasks = append(t.tasks, t.updates(q)...)
			}
		}
		if !l.joined {
			weights, biases = max(weights, len(w.w)), max(biases, len(b.w))
		}
		if l.packed != nil {
			t.repacks = append(t.repacks, i)
		}
		t.learn = append(t.learn, w, b)
		t.byLayer[i] = g
	}
	t.takeSlice = func(worker, i int) error { return t.slice(worker, i).take(i, t.workers[worker]) }
	t.takeTask = func(worker, i int) error { t.tasks[i](worker); return nil }
	t.takeRepack = func(_, i int) error { t.repack(t.repacks[i]); return nil }
	programs := min(cfg.cores(), cfg.Slices)
	if p.meets() {
		programs = cfg.Slices
	}
	shared, scratch := map[int][]float32{}, 0
	for k := range programs {
		s := &slice{trainer: t}
		if s.program, err = newGraph(p, t.rows, s, k, cfg.Slices, shared); err != nil {
			return nil, err
		}
		scratch = max(scratch, s.scratch)
		t.slices = append(t.slices, s)
	}
	if p.meets() {
		scratch = max(scratch, kernel.DenseBatchScratch(t.rows*cfg.Slices), kernel.DensePackedScratch(t.rows*cfg.Slices, joinedOutputs))
	}
	if cfg.Slices == 1 {
		weights, biases = 0, 0 // the first slice's gradients are the total
	}
	for range cfg.cores() {
		t.workers = append(t.workers, &worker{make([]float32, scratch), make([]float32, weights), make([]float32, biases)})
	}
	t.crew = newCrew(cfg.cores())
	return t, nil
}

func (t *trainer) close() { t.crew.close() }

// slice is where slice i of the batch is computed by a worker.
func (t *trainer) slice(worker, i int) *slice {
	if t.meets() {
		return t.slices[i]
	}
	return t.slices[worker]
}

// room is memory for the gradients of a layer: the total itself for the first slice, which needs not wait for anybody, nor
// add.
func (s *slice) room(layer int) (dw, db []float32) {
	g := s.byLayer[layer]
	switch {
	case g == nil: // frozen: the kernel wants memory for the bias alone
		return nil, nil
	case s.number == 0:
		return g.weight.g, g.bias.g
	}
	return s.worker.dw[:len(g.weight.w)], s.worker.db[:len(g.bias.w)]
}

// give adds the gradient of the slice to the total.
func (s *slice) give(layer int, dw, db []float32) {
	g := s.byLayer[layer]
	if g == nil {
		return
	}
	if s.number > 0 {
		g.turn.wait(s.number)
		kernel.AddTo(g.weight.g, dw)
		kernel.AddTo(g.bias.g, db)
	}
	g.turn.pass()
}

// joinedOutputs is how many outputs of a joined layer are worked out as one part, and joinedInputs how many inputs are
// packed as one.
const (
	joinedOutputs = 64
	joinedInputs  = 1024
)

// joinedDense works out a dense layer for the batch, a part of the outputs at a time.
func (s *slice) joinedDense(layer int) func(dst []float32, in [][]float32, rows int) error {
	t, l := s.trainer, &s.layers[layer]
	outs, size := l.out.C, l.in.Size()
	w, bias := t.weight(layer), t.bias(layer)
	packed := make([]float32, kernel.PackedRows(t.rows*t.cfg.Slices, size))
	pack, packRows := kernel.PackDense, kernel.PackRows
	if t.bfloat16 {
		pack, packRows = kernel.PackDenseBFloat16, kernel.PackRowsBFloat16
	}
	var parts []*kernel.Packed
	for o := 0; o < outs; o += joinedOutputs {
		c := min(joinedOutputs, outs-o)
		parts = append(parts, pack(w[o*size:(o+c)*size], c, size))
	}
	var dst, src []float32
	var rows int
	packPart := func(_, i int) error {
		packRows(packed, src, rows, size, i*joinedInputs, min((i+1)*joinedInputs, size))
		return nil
	}
	part := func(worker, i int) error {
		kernel.DensePacked(dst[i*joinedOutputs:], outs, packed, rows, parts[i], bias[i*joinedOutputs:], l.act, t.workers[worker].scratch)
		return nil
	}
	return func(d []float32, in [][]float32, n int) error {
		dst, src, rows = d, in[0], n
		if err := t.crew.run((size+joinedInputs-1)/joinedInputs, packPart); err != nil {
			return err
		}
		return t.crew.run(len(parts), part)
	}
}

// joinedDenseGrad works out the gradients of a dense layer for the batch, a part of the inputs at a time, and lets the
// solver change the weights.
func (s *slice) joinedDenseGrad(layer int) func(dst []float32, in [][]float32, rows int) error {
	t, l := s.trainer, &s.layers[layer]
	j := t.ins[layer][0]
	wanted := j >= 0 && t.layers[j].needs
	g := t.byLayer[layer]
	d := kernel.NewDenseBatch(t.rows*t.cfg.Slices, l.out.C, l.in.Size(), l.act, t.bfloat16)
	var change func(first int, values []float32)
	if g != nil {
		change = func(first int, values []float32) { t.update(g.weight, first, values) }
	}
	var dst, src []float32
	part := func(worker, i int) error {
		d.Part(i, dst, src, t.weight(layer), change, t.workers[worker].scratch)
		return nil
	}
	return func(dx []float32, in [][]float32, rows int) error {
		if dst, src = nil, in[2]; wanted {
			dst = dx
		}
		db := d.Begin(in[0], in[1], rows)
		if err := t.crew.run(d.Parts(), part); err != nil {
			return err
		}
		if g != nil {
			t.update(g.bias, 0, db)
		}
		return nil
	}
}

// updates are the solver's steps for a parameter whose gradient is there. Every value is worked out by itself, so any cut
// gives the same.
func (t *trainer) updates(p *learned) (list []func(worker int)) {
	const piece = 1 << 16
	for i := 0; i < len(p.w); i += piece {
		g := p.g[i:min(i+piece, len(p.g))]
		list = append(list, func(int) { t.update(p, i, g) })
	}
	return list
}

// update lets the solver change the values of p from the first on along their gradient g.
func (t *trainer) update(p *learned, first int, g []float32) {
	var m [2][]float32
	for k := range t.solver.moments {
		m[k] = p.moments[k][first:]
	}
	w := p.w[first : first+len(g)]
	t.solver.update(w, g, m, t.steps+1, t.rate*p.rate, p.decay)
	if p.average != nil {
		a, rest := p.average[first:first+len(g)], 1-t.keep
		for i, v := range w {
			a[i] += float32(rest * (v - a[i]))
		}
	}
}

// answering are the parameters that are evaluated and saved: the averages of those that have one.
func (t *trainer) answering() model.Params {
	if t.cfg.Average == 0 {
		return t.params
	}
	params := maps.Clone(t.params)
	for _, p := range t.learn {
		params[p.name] = p.average
	}
	return params
}

// batch is the images of one step, ready to be computed.
type batch struct {
	count  int
	images []float32 // [count, filled up to whole slices][H*W*C]
	labels []int
	shares []float64 // of its label in each image, as Config.Mix leaves them; nil if none is mixed
}

// outcome is what a step tells.
type outcome struct {
	loss  float64 // mean over the images
	right int     // images the network had right before the step
}

// step computes the gradient of the batch and changes the parameters. A loss that is no number ends the training before it
// reaches them.
func (t *trainer) step(ctx context.Context, b *batch, rate float64) (outcome, error) {
	t.ctx, t.batch, t.rate, t.out = ctx, b, rate, outcome{}
	t.active = (b.count + t.rows - 1) / t.rows
	size := t.net.Input.Size()
	clear(b.images[b.count*size : t.active*t.rows*size])
	t.label(b)
	for _, g := range t.byLayer {
		g.turn.next, g.turn.broken = 0, false
	}
	program := t.slices[0].program
	lossAt := len(program.steps)
	for i := range program.steps {
		if program.steps[i].out == program.loss {
			lossAt = i
		}
	}
	for t.from, t.to = 0, 0; t.from < len(program.steps); t.from = t.to + 1 {
		for t.to = t.from; t.to < len(program.steps) && program.steps[t.to].batch == nil; {
			t.to++
		}
		if err := t.crew.run(t.active, t.takeSlice); err != nil {
			return outcome{}, err
		}
		if t.from <= lossAt && lossAt < t.to {
			if err := t.look(); err != nil {
				return t.out, err
			}
		}
		if t.to < len(program.steps) {
			if err := t.meet(&program.steps[t.to]); err != nil {
				return t.out, err
			}
		}
	}
	if err := t.crew.run(len(t.tasks), t.takeTask); err != nil {
		return t.out, err
	}
	t.steps++
	return t.out, t.crew.run(len(t.repacks), t.takeRepack)
}

// look adds up what the slices have found before anything is changed.
func (t *trainer) look() error {
	for s := range t.active {
		t.out.loss += t.losses[s]
		t.out.right += t.rights[s]
	}
	if math.IsNaN(t.out.loss) || math.IsInf(t.out.loss, 0) {
		return fmt.Errorf("the loss is %v at a learning rate of %v: a lower one may help, or a warm-up", t.out.loss, t.rate)
	}
	return nil
}

// meet runs a step for all slices.
func (t *trainer) meet(s *step) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	for k, r := range s.in {
		switch {
		case r == t.slices[0].images:
			s.args[k] = t.batch.images
		case r.batch != nil:
			s.args[k] = r.batch
		default:
			s.args[k] = r.dst
		}
	}
	if err := s.op.batch(s.out.batch, s.args, t.active*t.rows); err != nil {
		return fmt.Errorf("layer %s: %w", s.name, err)
	}
	return nil
}

// label writes the targets as crossEntropy takes them: mixed as the images are, smoothed, and weighing 1/count so that
// the loss is a mean. Rows past count weigh nothing.
func (t *trainer) label(b *batch) {
	clear(t.targets)
	classes := len(t.targets) / (t.rows * t.cfg.Slices)
	weight := 1 / float64(b.count)
	for i, label := range b.labels[:b.count] {
		row := t.targets[i*classes : (i+1)*classes]
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

// take computes a part of one slice: its share of the loss and of the right answers, and its gradients, which go through
// give.
func (s *slice) take(number int, w *worker) (err error) {
	defer func() {
		if err != nil {
			for _, g := range s.byLayer {
				g.turn.breakUp()
			}
		}
	}()
	if err := s.ctx.Err(); err != nil {
		return err
	}
	s.number, s.worker = number, w
	size, classes, first := s.net.Input.Size(), len(s.trainer.targets)/(s.rows*s.cfg.Slices), number*s.rows
	s.images.dst = s.batch.images[first*size : (first+s.rows)*size]
	s.program.targets.dst = s.trainer.targets[first*classes : (first+s.rows)*classes]
	if err := s.program.run(s.from, s.to, w.scratch); err != nil {
		return err
	}
	s.losses[number], s.rights[number] = float64(s.loss.dst[0]), 0
	for i := range min(s.rows, s.batch.count-first) {
		if metrics.Argmax(s.logits.dst[i*classes:(i+1)*classes]) == s.batch.labels[first+i] {
			s.rights[number]++
		}
	}
	return nil
}

// crew is goroutines that wait for work, so that none need be started for a step.
type crew struct {
	start []chan struct{}
	done  sync.WaitGroup
	mu    sync.Mutex
	next  int
	n     int
	f     func(worker, i int) error
	errs  []error // of each goroutine
}

func newCrew(n int) *crew {
	c := &crew{errs: make([]error, n)}
	for k := range n {
		start := make(chan struct{})
		c.start = append(c.start, start)
		go func() {
			for range start {
				c.errs[k] = c.work(k)
				c.done.Done()
			}
		}()
	}
	return c
}

func (c *crew) close() {
	for _, s := range c.start {
		close(s)
	}
}

// run calls f for 0 to n-1, in this order, on as many goroutines as there are. After an error no more are begun.
func (c *crew) run(n int, f func(worker, i int) error) error {
	c.next, c.n, c.f = 0, n, f
	clear(c.errs)
	workers := min(len(c.start), n)
	c.done.Add(workers)
	for _, s := range c.start[:workers] {
		s <- struct{}{}
	}
	c.done.Wait()
	return first(c.errs)
}

func (c *crew) work(k int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("train: %v", r)
		}
		if err != nil {
			c.mu.Lock()
			c.n = 0
			c.mu.Unlock()
		}
	}()
	for {
		c.mu.Lock()
		i := c.next
		c.next++
		more := i < c.n
		c.mu.Unlock()
		if !more {
			return nil
		}
		if err := c.f(k, i); err != nil {
			return err
		}
	}
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
