package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/logobeam/logobeam/model/kernel"
	"github.com/logobeam/logobeam/model/metrics"
)

// A cpu is the processor as a device: it computes the gradient of its part of a batch, which it takes for a batch, on several
// cores, and lets the solver change the parameters. After the first step it allocates nothing.
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
// in memory, unless other devices or clipping want it. Networks with such layers keep every slice's results until the batch is through.
type cpu struct {
	*plan
	cfg     Config
	rows    int // images of a slice
	crew    *crew
	workers []*worker
	slices  []*slice // one for each worker, or for each slice if they meet
	solver  solver
	learn   []*learned // what is trained, in the order of the layers
	byLayer map[int]*layerGrad
	pieces  []piece // of the gradients, which are added up and which the solver takes when the slices are through
	squares []float64
	repacks []int // layers whose weights are packed again after that
	// alone says that joined layers take their steps while they are computed.
	alone  bool
	parts  [ahead]Part // that are loaded
	broken bool        // a joined layer has come upon values that are not finite

	// Of the step that is being taken. What takes part in it is made once: functions too, which would be allocated anew.
	ctx        context.Context
	part       Part
	pixels     []float32 // of the part, filled up to whole slices
	active     int       // slices that hold images
	at         SolverStep
	targets    []float32
	losses     []float64
	rights     []int
	from, to   int // steps of the programs
	takeSlice  func(worker, i int) error
	takeSquare func(worker, i int) error
	takePiece  func(worker, i int) error
	takeRepack func(worker, i int) error
}

// learned is a parameter that is trained, and the gradient of the part of a batch.
type learned struct {
	*Parameter
	g []float32 // nil for a joined layer's weights and bias, if the device is alone
}

// piece is some values of a parameter. Every value is worked out by itself, so any cut gives the same.
type piece struct {
	of       *learned
	from, to int
}

const pieceSize = 1 << 16

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
	*cpu
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

func newCPU(j Job) (*cpu, error) {
	cfg := j.Config
	trained := map[int]bool{}
	for _, p := range j.Learn {
		trained[p.Layer] = true
	}
	p, err := newPlan(j.Network, j.Params, cfg.Precision, func(layer int) bool { return trained[layer] })
	if err != nil {
		return nil, err
	}
	d := &cpu{plan: p, cfg: cfg, rows: cfg.rows(), solver: newSolver(cfg), byLayer: map[int]*layerGrad{},
		losses: make([]float64, cfg.Slices), rights: make([]int, cfg.Slices), alone: j.Alone && cfg.ClipNorm == 0}
	d.targets = make([]float32, d.rows*cfg.Slices*p.shapes[len(p.shapes)-1].Size())
	weights, biases := 0, 0
	for k := 0; k < len(j.Learn); k += 2 {
		w, b := &learned{Parameter: &j.Learn[k]}, &learned{Parameter: &j.Learn[k+1]}
		l := p.layers[w.Layer]
		for _, q := range []*learned{w, b} {
			if l.joined && d.alone {
				continue
			}
			q.g = make([]float32, len(q.Values))
			for from := 0; from < len(q.g); from += pieceSize {
				d.pieces = append(d.pieces, piece{q, from, min(from+pieceSize, len(q.g))})
			}
		}
		if !l.joined {
			weights, biases = max(weights, len(w.Values)), max(biases, len(b.Values))
		}
		if l.packed != nil {
			d.repacks = append(d.repacks, w.Layer)
		}
		g := &layerGrad{weight: w, bias: b}
		g.turn.change.L = &g.turn.mu
		d.learn = append(d.learn, w, b)
		d.byLayer[w.Layer] = g
	}
	d.squares = make([]float64, len(d.pieces))
	d.takeSlice = func(worker, i int) error { return d.slice(worker, i).take(i, d.workers[worker]) }
	d.takeSquare = func(_, i int) error { d.squares[i] = sumSquares(d.pieces[i].gradient()); return nil }
	d.takePiece = func(_, i int) error { d.update(d.pieces[i].of, d.pieces[i].from, d.pieces[i].gradient()); return nil }
	d.takeRepack = func(_, i int) error { d.repack(d.repacks[i]); return nil }
	programs := min(cfg.cores(), cfg.Slices)
	if p.meets() {
		programs = cfg.Slices
	}
	shared, scratch := map[int][]float32{}, 0
	for k := range programs {
		s := &slice{cpu: d}
		if s.program, err = newGraph(p, d.rows, s, k, cfg.Slices, shared); err != nil {
			return nil, err
		}
		scratch = max(scratch, s.scratch)
		d.slices = append(d.slices, s)
	}
	if p.meets() {
		scratch = max(scratch, kernel.DenseBatchScratch(d.rows*cfg.Slices), kernel.DensePackedScratch(d.rows*cfg.Slices, joinedOutputs))
	}
	if cfg.Slices == 1 {
		weights, biases = 0, 0 // the first slice's gradients are the total
	}
	for range cfg.cores() {
		d.workers = append(d.workers, &worker{make([]float32, scratch), make([]float32, weights), make([]float32, biases)})
	}
	d.crew = newCrew(cfg.cores())
	return d, nil
}

func (d *cpu) Close() error {
	d.crew.close()
	return nil
}

func (d *cpu) Load(slot int, p Part) error {
	d.parts[slot] = p
	return nil
}

func (d *cpu) Read() error { return nil }

func (d *cpu) Write() error {
	return d.crew.run(len(d.repacks), d.takeRepack)
}

func (d *cpu) ReadGradient(dst []float32) error {
	for _, p := range d.learn {
		dst = dst[copy(dst, p.g):]
	}
	return nil
}

func (d *cpu) WriteGradient(src []float32) error {
	for _, p := range d.learn {
		src = src[copy(p.g, src):]
	}
	return nil
}

func (p piece) gradient() []float32 { return p.of.g[p.from:p.to] }

// slice is where slice i of the batch is computed by a worker.
func (d *cpu) slice(worker, i int) *slice {
	if d.meets() {
		return d.slices[i]
	}
	return d.slices[worker]
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
	return s.worker.dw[:len(g.weight.Values)], s.worker.db[:len(g.bias.Values)]
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
	d, l := s.cpu, &s.layers[layer]
	outs, size := l.out.C, l.in.Size()
	w, bias := d.weight(layer), d.bias(layer)
	packed := make([]float32, kernel.PackedRows(d.rows*d.cfg.Slices, size))
	pack, packRows := kernel.PackDense, kernel.PackRows
	if d.bfloat16 {
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
		kernel.DensePacked(dst[i*joinedOutputs:], outs, packed, rows, parts[i], bias[i*joinedOutputs:], l.act, d.workers[worker].scratch)
		return nil
	}
	return func(out []float32, in [][]float32, n int) error {
		dst, src, rows = out, in[0], n
		if err := d.crew.run((size+joinedInputs-1)/joinedInputs, packPart); err != nil {
			return err
		}
		return d.crew.run(len(parts), part)
	}
}

// joinedDenseGrad works out the gradients of a dense layer for the batch, a part of the inputs at a time, and lets the
// solver change the weights, or keeps what they are for Update.
func (s *slice) joinedDenseGrad(layer int) func(dst []float32, in [][]float32, rows int) error {
	d, l := s.cpu, &s.layers[layer]
	j := d.ins[layer][0]
	wanted := j >= 0 && d.layers[j].needs
	g := d.byLayer[layer]
	dense := kernel.NewDenseBatch(d.rows*d.cfg.Slices, l.out.C, l.in.Size(), l.act, d.bfloat16)
	take := d.update
	if !d.alone {
		take = func(p *learned, first int, values []float32) { copy(p.g[first:], values) }
	}
	var change func(first int, values []float32)
	if g != nil {
		change = func(first int, values []float32) { take(g.weight, first, values) }
	}
	var dst, src []float32
	part := func(worker, i int) error {
		dense.Part(i, dst, src, d.weight(layer), change, d.workers[worker].scratch)
		return nil
	}
	return func(dx []float32, in [][]float32, rows int) error {
		if dst, src = nil, in[2]; wanted {
			dst = dx
		}
		if d.alone && g != nil && !finiteProducts(in[0][:rows*l.out.C], src[:rows*l.in.Size()], rows) {
			return errNotFinite
		}
		db := dense.Begin(in[0], in[1], rows)
		if err := d.crew.run(dense.Parts(), part); err != nil {
			return err
		}
		if g != nil {
			take(g.bias, 0, db)
		}
		return nil
	}
}

// finiteProducts reports whether sums of so many products of a value of a and one of b can only be finite.
func finiteProducts(a, b []float32, terms int) bool {
	return largest(a)*largest(b)*float64(terms) <= math.MaxFloat32
}

// largest is the largest magnitude; NaN or infinite if a value is.
func largest(values []float32) float64 {
	most := uint32(0)
	for _, v := range values { // magnitudes are in the order of their bits, with infinity and NaN last
		most = max(most, math.Float32bits(v)&^(1<<31))
	}
	return float64(math.Float32frombits(most))
}

var errNotFinite = errors.New("values that are not finite")

// sumSquares adds up in float64, in four sums so that none waits for the other.
func sumSquares(values []float32) float64 {
	var s [4]float64
	for ; len(values) >= 4; values = values[4:] {
		a, b, c, d := float64(values[0]), float64(values[1]), float64(values[2]), float64(values[3])
		s[0] += float64(a * a)
		s[1] += float64(b * b)
		s[2] += float64(c * c)
		s[3] += float64(d * d)
	}
	for _, v := range values {
		s[0] += float64(float64(v) * float64(v))
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}

func (d *cpu) SquaredNorm() (float64, error) {
	if d.broken {
		return math.NaN(), nil
	}
	if err := d.crew.run(len(d.pieces), d.takeSquare); err != nil {
		return 0, err
	}
	sum := 0.0
	for _, s := range d.squares {
		sum += s
	}
	return sum, nil
}

// update lets the solver change the values of p from the first on along their gradient g.
func (d *cpu) update(p *learned, first int, g []float32) {
	if s := d.at.Scale; s != 1 {
		for i := range g {
			g[i] *= s
		}
	}
	var m [2][]float32
	for k := range p.Moments {
		m[k] = p.Moments[k][first:]
	}
	w := p.Values[first : first+len(g)]
	d.solver.update(w, g, m, d.at.Number, d.at.Rate*p.Rate, p.Decay)
	if p.Average != nil {
		a, rest := p.Average[first:first+len(g)], 1-d.at.Keep
		for i, v := range w {
			a[i] += float32(rest * (v - a[i]))
		}
	}
}

func (d *cpu) Update(at SolverStep) error {
	d.at = at
	if err := d.crew.run(len(d.pieces), d.takePiece); err != nil {
		return err
	}
	return d.crew.run(len(d.repacks), d.takeRepack)
}

func (d *cpu) Gradient(ctx context.Context, slot int, at SolverStep) (Outcome, error) {
	d.ctx, d.part, d.at, d.broken = ctx, d.parts[slot], at, false
	count, classes := len(d.part.Labels), len(d.targets)/(d.rows*d.cfg.Slices)
	d.active = (count + d.rows - 1) / d.rows
	d.pixels = d.part.Images[:d.active*d.rows*d.net.Input.Size()] // see batch
	clear(d.targets[copy(d.targets, d.part.Targets[:count*classes]):])
	for _, g := range d.byLayer {
		g.turn.next, g.turn.broken = 0, false
	}
	program := d.slices[0].program
	lossAt := len(program.steps)
	for i := range program.steps {
		if program.steps[i].out == program.loss {
			lossAt = i
		}
	}
	var out Outcome
	for d.from, d.to = 0, 0; d.from < len(program.steps); d.from = d.to + 1 {
		for d.to = d.from; d.to < len(program.steps) && program.steps[d.to].batch == nil; {
			d.to++
		}
		if err := d.crew.run(d.active, d.takeSlice); err != nil {
			return out, err
		}
		if d.from <= lossAt && lossAt < d.to {
			for s := range d.active {
				out.Loss += d.losses[s]
				out.Right += d.rights[s]
			}
			if !finite(out.Loss) { // before anything is changed
				return out, nil
			}
		}
		if d.to < len(program.steps) {
			switch err := d.meet(&program.steps[d.to]); {
			case errors.Is(err, errNotFinite):
				d.broken = true
				return out, nil
			case err != nil:
				return out, err
			}
		}
	}
	return out, nil
}

// meet runs a step for all slices.
func (d *cpu) meet(s *step) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	for k, r := range s.in {
		switch {
		case r == d.slices[0].images:
			s.args[k] = d.pixels
		case r.batch != nil:
			s.args[k] = r.batch
		default:
			s.args[k] = r.dst
		}
	}
	if err := s.op.batch(s.out.batch, s.args, d.active*d.rows); err != nil {
		return fmt.Errorf("layer %s: %w", s.name, err)
	}
	return nil
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
	size, classes, first := s.net.Input.Size(), len(s.cpu.targets)/(s.rows*s.cfg.Slices), number*s.rows
	s.images.dst = s.pixels[first*size : (first+s.rows)*size]
	s.program.targets.dst = s.cpu.targets[first*classes : (first+s.rows)*classes]
	if err := s.program.run(s.from, s.to, w.scratch); err != nil {
		return err
	}
	s.losses[number], s.rights[number] = float64(s.loss.dst[0]), 0
	for i := range min(s.rows, len(s.part.Labels)-first) {
		if metrics.Argmax(s.logits.dst[i*classes:(i+1)*classes]) == s.part.Labels[first+i] {
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
