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

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
)

// Plan is a network ready to run: shapes worked out, weights packed, places in memory given out. It is immutable and
// can be shared.
type Plan struct {
	input   model.Shape
	classes int
	steps   []step   // one for each layer
	buffers []buffer // of one image; a batch of n has n times as much of each, at n times the offset
	in, out int      // the buffers of the input and of the logits
	memory  int      // values that all buffers of one image lie in
	scratch int      // values that the greediest step wants beside its buffers
}

// Compile works a network out in float32. It keeps slices of p, which must not be written to while the plan is in use.
// Parameters that do not fit the network are an error.
func Compile(n model.Network, p model.Params) (*Plan, error) {
	plan, err := lay(n, p, 4)
	if err != nil {
		return nil, err
	}
	for i := range plan.steps {
		s := &plan.steps[i]
		s.pack()
		plan.scratch = max(plan.scratch, s.scratch())
	}
	return plan, nil
}

func (s *step) pack() {
	switch s.op {
	case model.Conv:
		s.packed = kernel.PackConv(s.weight, s.shape)
	case model.Dense:
		s.packed = kernel.PackDense(s.weight, s.shape.OutC, s.shape.H*s.shape.W*s.shape.C)
	}
}

// scratch is how many values the step wants beside its buffers.
func (s *step) scratch() int {
	if s.op == model.Conv {
		return kernel.ConvScratch(s.shape)
	}
	return 0
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
	scratch [][]float32 // one for each goroutine
	parts   [][]step    // what Spread cut the steps into
}

// NewArena makes an arena for up to batch images at a time, at least one. It takes batch times what one image's largest
// neighbouring activations do: for a photograph of 224x224, some 7 MB with efficientnet-lite0.
func (p *Plan) NewArena(batch int) *Arena {
	batch = max(batch, 1)
	a := &Arena{plan: p, batch: batch, scratch: [][]float32{make([]float32, p.scratch)}}
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
		a.run(i, n)
	}
	return a.buffers[a.plan.out][:n*a.plan.classes]
}

// run does step i for n images.
func (a *Arena) run(i, n int) {
	if a.parts != nil && len(a.parts[i]) > 1 {
		a.together(a.parts[i], n)
		return
	}
	a.step(&a.plan.steps[i], 0, n, a.scratch[0])
}

// step does one step, or a part of one, for n images from first on.
func (a *Arena) step(s *step, first, n int, scratch []float32) {
	values := func(buffer int) []float32 { return a.buffers[buffer][first*a.plan.buffers[buffer].size:] }
	dst, src, in := values(s.dst)[s.to:], values(s.src[0])[s.from:], s.shape.H*s.shape.W*s.shape.C
	switch s.op {
	case model.Conv:
		kernel.Conv(dst, src, n, s.packed, s.bias, s.shape, s.act, scratch)
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
			kernel.Add(sum, src[:n*in], values(other)[:n*in], act)
			src = sum
		}
	case model.Concat:
		for _, c := range s.copies {
			join(dst[c.to:], values(c.src), n*s.shape.H*s.shape.W, c.channels, s.shape.OutC)
		}
	}
}

// join copies pixels of so many channels to every pitch values of dst.
func join[T any](dst, src []T, pixels, channels, pitch int) {
	for i := range pixels {
		copy(dst[i*pitch:], src[i*channels:][:channels])
	}
}
