package device

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
)

// Plan is a network ready to run on a device: parameters copied there, places for activations given out, launches worked out.
// Workspaces share it, and the places.
//
// Images are copied one by one, on a stream of their workspace, while it is filled and while the device computes for other
// workspaces, so a device that is faster than the copies waits for these alone.
type Plan struct {
	*network
	precision model.Precision
	classes   int
	batch     int
	steps     []step

	mu      sync.Mutex // so that the launches of a workspace come together
	in, out Ptr        // where the first layers read and the last writes
}

var _ infer.Engine = (*Plan)(nil)

// mostImages is how many images a plan runs at once where there is memory for them: the large devices have a tile for every
// processor then.
const mostImages = 128

// Compile makes a network ready to run in float32, or in bfloat16 with sums in float32. The plan has the driver from then on, and closes it.
func Compile(d Driver, net model.Network, params model.Params, precision model.Precision) (*Plan, error) {
	if precision != model.FP32 && precision != model.BF16 {
		return nil, fmt.Errorf("device: no precision %q on an accelerator: want %q", precision, []model.Precision{model.FP32, model.BF16})
	}
	n, err := newNetwork(d, net, params, precision == model.FP32)
	if err != nil {
		return nil, err
	}
	p := &Plan{network: n, precision: precision, classes: net.Classes()}
	weights := len(n.memory.all)
	for p.batch = mostImages; ; p.batch /= 2 {
		if err = p.lay(); err == nil {
			return p, nil
		}
		for _, at := range n.memory.all[weights:] {
			d.Free(at)
		}
		n.memory.all, n.memory.free = n.memory.all[:weights], nil
		if p.batch == 1 {
			return nil, fmt.Errorf("device: %s for one image: %w", net.Arch, err)
		}
	}
}

// lay gives the layers places, of others that nobody reads any more as far as possible, and makes the steps.
func (p *Plan) lay() (err error) {
	last := make([]int, len(p.layers)) // that reads each
	for i, l := range p.layers {
		for _, j := range l.ins {
			if j >= 0 {
				last[p.root(j)] = i
			}
		}
	}
	end := len(p.layers) - 1
	last[end] = end + 1
	in, err := p.memory.take(p.batch * p.input.Size())
	if err != nil {
		return err
	}
	p.in, p.steps = in.at, nil
	places := make([]piece, len(p.layers))
	at := func(i int) Ptr {
		if i < 0 {
			return in.at
		}
		return p.place(i, places[p.root(i)].at)
	}
	for i := range p.layers {
		if root := p.root(i); places[root].at == 0 {
			if places[root], err = p.memory.take(p.batch * p.layers[root].out.Size()); err != nil {
				return err
			}
		}
		p.steps = p.forward(p.steps, i, at)
		for j := range p.layers[:i+1] {
			if last[j] == i && places[j].at != 0 && p.root(j) == j {
				p.memory.give(places[j])
				last[j] = -1
			}
		}
	}
	p.out = at(end)
	p.memory.keep()
	return nil
}

// Precision is what the plan computes in.
func (p *Plan) Precision() model.Precision { return p.precision }

// Input is the shape of one image.
func (p *Plan) Input() model.Shape { return p.input }

// Classes is the number of logits of one image.
func (p *Plan) Classes() int { return p.classes }

// Batch is how many images are run at once at most.
func (p *Plan) Batch() int { return p.batch }

// Close gives the device back. No workspace may be used any more.
func (p *Plan) Close() error { return p.driver.Close() }

// workspace is what one goroutine runs a plan with: the memory of its next batch, on the device.
type workspace struct {
	*Plan
	batch       int
	image       []float32 // the last that Input was asked for
	at          int       // its place
	logits      []float32
	in, out     Ptr
	copies      Stream
	ready, done Event
	err         error
}

// Workspace makes the memory in which one goroutine runs the network, for up to batch images: more than the plan's are run in
// parts.
func (p *Plan) Workspace(batch int) (infer.Workspace, error) {
	w := &workspace{Plan: p, batch: max(batch, 1)}
	w.image, w.logits = make([]float32, p.input.Size()), make([]float32, w.batch*p.classes)
	p.mu.Lock()
	defer p.mu.Unlock()
	in, err1 := p.memory.take(w.batch * p.input.Size())
	out, err2 := p.memory.take(w.batch * p.classes)
	w.in, w.out = in.at, out.at
	var err3, err4, err5 error
	w.copies, err3 = p.driver.NewStream()
	w.ready, err4 = p.driver.NewEvent()
	w.done, err5 = p.driver.NewEvent()
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, fmt.Errorf("device: room for %d images: %w", w.batch, err)
	}
	return w, nil
}

func (w *workspace) Batch() int { return w.batch }

// Input is the place of image i, which is always the same memory of the host: what was written there before is copied to the
// device.
func (w *workspace) Input(i int) []float32 {
	if i < 0 || i > min(w.at+1, w.batch-1) {
		panic(fmt.Sprintf("device: image %d after %d of at most %d", i, w.at, w.batch))
	}
	if i > w.at {
		w.copyIn()
	}
	w.at = i
	return w.image
}

func (w *workspace) copyIn() {
	if w.err == nil {
		w.err = w.driver.CopyIn(w.in+Ptr(4*w.at*w.input.Size()), Bytes(w.image), w.copies)
	}
}

// Run computes the logits [n][classes] of the first n images.
func (w *workspace) Run(n int) ([]float32, error) {
	if n < 0 || n > w.batch {
		panic(fmt.Sprintf("device: %d images in a workspace for %d", n, w.batch))
	}
	if n == 0 {
		return nil, nil
	}
	if w.at < n {
		w.copyIn()
	}
	w.at = 0
	if err := w.run(n); err != nil {
		return nil, fmt.Errorf("device: %s: %w", w.driver.Name(), err)
	}
	return w.logits[:n*w.classes], nil
}

func (w *workspace) run(n int) error {
	if w.err != nil {
		return w.err
	}
	d := w.driver
	if err := d.Record(w.ready, w.copies); err != nil {
		return err
	}
	if err := w.start(n); err != nil {
		return err
	}
	if err := d.Wait(w.copies, w.done); err != nil {
		return err
	}
	return d.CopyOut(Bytes(w.logits[:n*w.classes]), w.out, w.copies)
}

// start puts the launches for n images behind those of others.
func (w *workspace) start(n int) error {
	d, p := w.driver, w.Plan
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := d.Wait(compute, w.ready); err != nil {
		return err
	}
	for first := 0; first < n; first += p.batch {
		images, size := min(p.batch, n-first), p.input.Size()
		in := columns(p.in, w.in+Ptr(4*first*size), 1, size, size, size)
		out := columns(w.out+Ptr(4*first*p.classes), p.out, 1, p.classes, p.classes, p.classes)
		if err := launch(d, slices.Concat([]step{in}, p.steps, []step{out}), images, compute); err != nil {
			return err
		}
	}
	return d.Record(w.done, compute)
}
