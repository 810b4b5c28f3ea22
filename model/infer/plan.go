// Package infer runs networks forward, as fast as one core can go.
//
//	plan, err := infer.Compile(m.Network, m.Params) // once, shared by all
//	arena := plan.NewArena(16)                      // once for each goroutine
//	copy(arena.Input(0), pixels)                    // normalised, H x W x C
//	logits := arena.Run(1)                          // [1][classes]
//	infer.Softmax(logits, plan.Classes())
//
// Predict does the same for many images on several goroutines. What an image is given does not depend on the others
// of its batch, nor on the number of goroutines, to the last bit.
package infer

import (
	"fmt"
	"slices"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
)

// Plan is a network ready to run: shapes worked out, weights packed, places in memory given out. It is immutable and
// can be shared.
type Plan struct {
	input   model.Shape
	classes int
	steps   []step
	buffers []buffer // of one image; a batch of n has n times as much of each, at n times the offset
	in, out int      // the buffers of the input and of the logits
	memory  int      // values that all buffers of one image lie in
	scratch int      // values that the greediest convolution wants beside its buffers
}

// step is one call of the kernels, or a few.
type step struct {
	op     model.Op
	act    kernel.Act
	shape  kernel.Shape
	packed *kernel.Packed
	weight []float32 // of depthwise
	bias   []float32
	dst    int
	src    []int
	widths []int // of concat: the channels of each source
}

// buffer is where the output of a layer lies while somebody has yet to read it: from step first to step last.
type buffer struct {
	offset, size int
	first, last  int
}

// overlaps reports whether two buffers are alive at the same time.
func (b buffer) overlaps(c buffer) bool { return b.first <= c.last && c.first <= b.last }

// align is the number of float32 in a cache line. Buffers begin at one.
const align = 16

// Compile works a network out. It keeps slices of p, which must not be written to while the plan is in use. Parameters
// that do not fit the network are an error.
func Compile(n model.Network, p model.Params) (*Plan, error) {
	if err := n.Check(p); err != nil {
		return nil, err
	}
	ins, err := n.Inputs()
	if err != nil {
		return nil, err
	}
	shapes, err := n.Shapes()
	if err != nil {
		return nil, err
	}
	shapeOf := func(layer int) model.Shape {
		if layer < 0 {
			return n.Input
		}
		return shapes[layer]
	}
	end := len(n.Layers) - 1
	last := make([]int, len(n.Layers)) // reader of each layer's output
	for i, from := range ins {
		last[i] = i
		for _, j := range from {
			if j >= 0 {
				last[j] = i
			}
		}
	}
	plan := &Plan{input: n.Input, classes: shapes[end].Size(), in: 0}
	plan.buffers = []buffer{{size: n.Input.Size(), first: -1, last: -1}}
	place := make([]int, len(n.Layers)) // the buffer of each layer's output
	bufferOf := func(layer int) int {
		if layer < 0 {
			return plan.in
		}
		return place[layer]
	}
	for i, l := range n.Layers {
		in, out := shapeOf(ins[i][0]), shapes[i]
		s := step{op: l.Op, act: activation(l.Act)}
		for _, j := range ins[i] {
			b := bufferOf(j)
			s.src = append(s.src, b)
			plan.buffers[b].last = max(plan.buffers[b].last, i)
			s.widths = append(s.widths, shapeOf(j).C)
		}
		switch l.Op {
		case model.Conv, model.Depthwise, model.MaxPool:
			w, err := l.Window(in)
			if err != nil {
				return nil, err
			}
			s.shape = kernel.Shape{H: in.H, W: in.W, C: in.C, OutH: w.OutH, OutW: w.OutW, OutC: out.C,
				Kernel: w.Kernel, Stride: w.Stride, PadTop: w.PadTop, PadLeft: w.PadLeft}
		default:
			s.shape = kernel.Shape{H: in.H, W: in.W, C: in.C, OutH: out.H, OutW: out.W, OutC: out.C}
		}
		weight, bias := p[l.Name+".weight"], p[l.Name+".bias"]
		switch l.Op {
		case model.Conv:
			s.packed, s.bias = kernel.PackConv(weight, s.shape), bias
			plan.scratch = max(plan.scratch, kernel.ConvScratch(s.shape))
		case model.Dense:
			s.packed, s.bias = kernel.PackDense(weight, out.C, in.Size()), bias
		case model.Depthwise:
			s.weight, s.bias = weight, bias
		}
		// A sum can be left in the place of its first summand when nobody reads that any more.
		if j := ins[i][0]; l.Op == model.Add && j >= 0 && last[j] == i && !slices.Contains(ins[i][1:], j) {
			s.dst = place[j]
			plan.buffers[s.dst].last = i
		} else {
			s.dst = len(plan.buffers)
			plan.buffers = append(plan.buffers, buffer{size: out.Size(), first: i, last: i})
		}
		place[i] = s.dst
		plan.steps = append(plan.steps, s)
	}
	// The logits stay readable while the inputs of the next batch are written.
	plan.out = place[end]
	plan.buffers[plan.out].first, plan.buffers[plan.out].last = -1, end+1
	plan.memory = arrange(plan.buffers)
	return plan, nil
}

func activation(a model.Activation) kernel.Act {
	switch a {
	case model.ReLU:
		return kernel.ReLU
	case model.ReLU6:
		return kernel.ReLU6
	default:
		return kernel.Linear
	}
}

// arrange gives every buffer its offset such that no two that are alive at the same time share memory, and tells how
// much they take together: the largest first, each at the lowest offset that is free for its whole life (Pisarchyk and
// Lee, Efficient Memory Management for Deep Neural Net Inference, 2020).
func arrange(buffers []buffer) (memory int) {
	order := make([]int, len(buffers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return buffers[b].size - buffers[a].size })
	var placed []*buffer // by offset
	for _, i := range order {
		b := &buffers[i]
		b.offset = 0
		for _, other := range placed {
			if !b.overlaps(*other) {
				continue
			}
			if b.offset+b.size <= other.offset {
				break
			}
			b.offset = max(b.offset, (other.offset+other.size+align-1)/align*align)
		}
		at, _ := slices.BinarySearchFunc(placed, b.offset, func(o *buffer, offset int) int { return o.offset - offset })
		placed = slices.Insert(placed, at, b)
		memory = max(memory, (b.offset+b.size+align-1)/align*align)
	}
	return memory
}

// Input is the shape of one image.
func (p *Plan) Input() model.Shape { return p.input }

// Classes is the number of logits of one image.
func (p *Plan) Classes() int { return p.classes }

// Arena is the memory in which one goroutine runs a plan.
type Arena struct {
	plan    *Plan
	batch   int
	buffers [][]float32
	scratch []float32
}

// NewArena makes an arena for up to batch images at a time, at least one. It takes batch times what one image's largest
// neighbouring activations do: for a photograph of 224x224, some 7 MB with efficientnet-lite0.
func (p *Plan) NewArena(batch int) *Arena {
	batch = max(batch, 1)
	a := &Arena{plan: p, batch: batch, scratch: make([]float32, p.scratch)}
	memory := make([]float32, p.memory*batch)
	for _, b := range p.buffers {
		a.buffers = append(a.buffers, memory[b.offset*batch:][:b.size*batch])
	}
	return a
}

// Input is where image i of the next batch is to be written, H x W x C values. Run leaves other things there: write it
// anew for each run.
func (a *Arena) Input(i int) []float32 {
	size := a.plan.input.Size()
	return a.buffers[a.plan.in][i*size:][:size:size]
}

// Batch is how many images the arena has room for.
func (a *Arena) Batch() int { return a.batch }

// Run computes the logits [n][classes] of the first n images, n from 0 to the arena's batch. They are valid until the
// next Run.
func (a *Arena) Run(n int) []float32 {
	if n < 0 || n > a.batch {
		panic(fmt.Sprintf("infer: %d images in an arena for %d", n, a.batch))
	}
	for i := range a.plan.steps {
		a.step(&a.plan.steps[i], n)
	}
	return a.buffers[a.plan.out][:n*a.plan.classes]
}

func (a *Arena) step(s *step, n int) {
	dst, src, in := a.buffers[s.dst], a.buffers[s.src[0]], s.shape.H*s.shape.W*s.shape.C
	switch s.op {
	case model.Conv:
		kernel.Conv(dst, src, n, s.packed, s.bias, s.shape, s.act, a.scratch)
	case model.Depthwise:
		kernel.Depthwise(dst, src, n, s.weight, s.bias, s.shape, s.act)
	case model.Dense:
		kernel.Dense(dst, src, n, s.packed, s.bias, s.act)
	case model.MaxPool:
		kernel.MaxPool(dst, src, n, s.shape)
	case model.GlobalAvgPool:
		kernel.GlobalAvgPool(dst, src, n, s.shape.H*s.shape.W, s.shape.C)
	case model.Add:
		sum := dst[:n*in]
		act := kernel.Linear
		for i, other := range s.src[1:] {
			if i == len(s.src)-2 {
				act = s.act
			}
			kernel.Add(sum, src[:n*in], a.buffers[other][:n*in], act)
			src = sum
		}
	case model.Concat:
		to, width := 0, s.shape.OutC
		for i, from := range s.src {
			c := s.widths[i]
			stripe := a.buffers[from][:n*s.shape.H*s.shape.W*c]
			for at := to; len(stripe) > 0; at += width {
				copy(dst[at:at+c], stripe)
				stripe = stripe[c:]
			}
			to += c
		}
	}
}
