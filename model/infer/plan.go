// Package infer runs networks forward, as fast as one core can go.
//
//	plan, err := infer.Compile(m.Network, m.Params) // once, shared by all
//	arena := plan.NewArena(16)                      // once for each goroutine
//	copy(arena.Input(0), pixels)                    // normalised, H x W x C
//	logits := arena.Run(1)                          // [1][classes]
//	infer.Softmax(logits, plan.Classes())
//
// Predict does the same for many images on several goroutines, and Arena.Spread puts several on one image. What an
// image is given does not depend on the others of its batch, nor on the number of goroutines, to the last bit.
//
// CompileInt8 makes a plan of the same kind that runs in int8, several times as fast, with what Calibrate finds out with
// photographs:
//
//	q, err := infer.Calibrate(ctx, m.Network, m.Params, infer.Percentile, 256, workers, load)
//	plan, err := infer.CompileInt8(m.Network, m.Params, q)
package infer

import (
	"fmt"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
)

// Plan is a network ready to run: shapes worked out, weights packed, places in memory given out. It is immutable and
// can be shared.
type Plan struct {
	precision model.Precision
	input     model.Shape
	classes   int
	steps     []step   // one for each layer
	imagewise int      // so many of them are done for one image after another, the rest for a batch
	buffers   []buffer // a batch of n has n times as much of each that is not single, at n times the offset
	in, out   int      // the buffers of the input and of the logits
	single    int      // values that the buffers of one image at a time lie in
	batched   int      // values that the other buffers lie in, for each image of a batch

	inputScale scale // of int8
}

// Compile works a network out in float32. It keeps slices of p, which must not be written to while the plan is in use.
// Parameters that do not fit the network are an error.
func Compile(n model.Network, p model.Params) (*Plan, error) {
	plan, err := lay(n, p, 4)
	if err != nil {
		return nil, err
	}
	plan.precision = model.FP32
	for i := range plan.steps {
		plan.steps[i].pack()
	}
	return plan, nil
}

// pack makes what the kernels read of the step's weights.
func (s *step) pack() {
	switch {
	case s.quantized != nil:
		s.quantized.pack(s)
	case s.op == model.Conv:
		s.packed = kernel.PackConv(s.weight, s.shape)
	case s.op == model.Dense:
		s.packed = kernel.PackDense(s.weight, s.shape.OutC, s.shape.H*s.shape.W*s.shape.C)
	}
}

// scratch is how many values the greediest step wants beside its buffers, for up to batch images.
func (p *Plan) scratch(batch int) (values int) {
	for i := range p.steps {
		values = max(values, p.steps[i].scratch(batch))
	}
	return values
}

// scratch is how many values the step wants beside its buffers.
func (s *step) scratch(batch int) int {
	switch {
	case s.quantized != nil:
		return s.quantized.scratch(s)
	case s.op == model.Conv:
		return kernel.ConvScratch(s.shape)
	case s.op == model.Dense:
		return kernel.DenseScratch(batch, s.shape.OutC, s.shape.H*s.shape.W*s.shape.C)
	}
	return 0
}

// Batch is how many images a worker had better run at once where there are many: 8 to 64, so many that reading the weights
// takes little time beside the multiplications. The logits do not depend on it.
func (p *Plan) Batch() int {
	weights, multiplications := 0, 0
	for i := range p.steps {
		s := &p.steps[i]
		if i >= p.imagewise {
			weights += len(s.weight)
		}
		switch s.op {
		case model.Conv, model.Dense:
			multiplications += s.shape.OutH * s.shape.OutW * len(s.weight)
		}
	}
	// A core does a few hundred multiplications in the time in which it reads a value from memory.
	batch := 8
	for batch < 64 && batch*multiplications < 2048*weights {
		batch *= 2
	}
	return batch
}

// Precision is what the plan computes in.
func (p *Plan) Precision() model.Precision { return p.precision }

// Input is the shape of one image.
func (p *Plan) Input() model.Shape { return p.input }

// Classes is the number of logits of one image.
func (p *Plan) Classes() int { return p.classes }

// Arena is the memory in which one goroutine runs a plan.
type Arena struct {
	plan          *Plan
	batch         int
	input, logits []float32       // input of one image, or of all where they stay
	begun         int             // images that are worked on as far as they can be alone
	floats        memory[float32] // of a plan in fp32
	bytes         memory[uint8]   // of a plan in int8
	parts         [][]step        // what Spread cut the steps into
}

// memory holds the activations of a batch.
type memory[T any] struct {
	plan    *Plan
	buffers [][]T
	scratch [][]T // one for each goroutine
}

// newMemory makes room for batch images and, behind them, for slack values that kernels may read.
func newMemory[T any](p *Plan, batch, slack int) memory[T] {
	m := memory[T]{plan: p, scratch: [][]T{make([]T, p.scratch(batch))}}
	single, batched := make([]T, p.single+slack), make([]T, p.batched*batch+slack)
	for _, b := range p.buffers {
		if b.single {
			m.buffers = append(m.buffers, single[b.offset:][:b.size])
		} else {
			m.buffers = append(m.buffers, batched[b.offset*batch:][:b.size*batch])
		}
	}
	return m
}

// values are those of a buffer from image first on.
func (m *memory[T]) values(buffer, first int) []T {
	b := &m.plan.buffers[buffer]
	if b.single {
		first = 0
	}
	return m.buffers[buffer][first*b.size:]
}

// NewArena makes an arena for up to batch images at a time, at least one. It takes room for one image's large activations,
// its input among them, and for the batch's small ones.
func (p *Plan) NewArena(batch int) *Arena {
	batch = max(batch, 1)
	a := &Arena{plan: p, batch: batch}
	if p.precision == model.Int8 {
		a.bytes = newMemory[uint8](p, batch, kernel.Int8Slack)
		a.input, a.logits = make([]float32, p.input.Size()), make([]float32, batch*p.classes)
		return a
	}
	a.floats = newMemory[float32](p, batch, 0)
	a.input, a.logits = a.floats.buffers[p.in], a.floats.buffers[p.out]
	return a
}

// Input is where image i of the next batch is to be written, H x W x C values. Images come in their order: asking for the
// next one's place begins to work on the one before, while its values are in the cache, and may give the same memory again.
// Asking for the same place, or an earlier one, lets what was written from there on be written anew. Run leaves other
// things there: write all for each run. A gap in the order panics.
func (a *Arena) Input(i int) []float32 {
	if i < 0 || i > min(a.begun+1, a.batch-1) {
		panic(fmt.Sprintf("infer: image %d after %d of at most %d", i, a.begun, a.batch))
	}
	if i > a.begun {
		a.begin()
	}
	a.begun = i
	size := a.plan.input.Size()
	if len(a.input) == size {
		return a.input[:size:size]
	}
	return a.input[i*size:][:size:size]
}

// begin works on the image that was written last as far as it can be worked on alone.
func (a *Arena) begin() {
	p := a.plan
	if p.precision == model.Int8 {
		kernel.Quantize(a.bytes.values(p.in, a.begun)[:p.input.Size()], a.input, float32(1/p.inputScale.size), p.inputScale.zero)
	}
	a.steps(0, p.imagewise, a.begun, 1)
	a.begun++
}

// Batch is how many images the arena has room for.
func (a *Arena) Batch() int { return a.batch }

// Run computes the logits [n][classes] of the first n images, n from 0 to the arena's batch. They are valid until the
// next Run.
func (a *Arena) Run(n int) []float32 {
	if n < 0 || n > a.batch {
		panic(fmt.Sprintf("infer: %d images in an arena for %d", n, a.batch))
	}
	p := a.plan
	for a.begun < n {
		a.begin()
	}
	a.begun = 0
	a.steps(p.imagewise, len(p.steps), 0, n)
	return a.logits[:n*p.classes]
}

// steps does the steps from..to-1 for n images from first on.
func (a *Arena) steps(from, to, first, n int) {
	for i := from; i < to; i++ {
		if a.parts != nil && len(a.parts[i]) > 1 {
			a.together(a.parts[i], first, n)
		} else {
			a.step(&a.plan.steps[i], first, n, 0)
		}
	}
}

// step does one step, or a part of one, for n images from first on. Each goroutine has a number of its own.
func (a *Arena) step(s *step, first, n, goroutine int) {
	if s.quantized != nil {
		a.runInt8(s, first, n, goroutine)
	} else {
		a.runFP32(s, first, n, goroutine)
	}
}

func (a *Arena) runFP32(s *step, first, n, goroutine int) {
	m := &a.floats
	dst, src, in := m.values(s.dst, first)[s.to:], m.values(s.src[0], first)[s.from:], s.shape.H*s.shape.W*s.shape.C
	switch s.op {
	case model.Conv:
		kernel.Conv(dst, src, n, s.packed, s.bias, s.shape, s.act, m.scratch[goroutine])
	case model.Depthwise:
		kernel.Depthwise(dst, src, n, s.weight, s.bias, s.shape, s.act)
	case model.Dense:
		kernel.Dense(dst, src, n, s.packed, s.bias, s.act, m.scratch[goroutine])
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
			kernel.Add(sum, src[:n*in], m.values(other, first)[:n*in], act)
			src = sum
		}
	case model.Concat:
		for _, c := range s.copies {
			join(dst[c.to:], m.values(c.src, first), n*s.shape.H*s.shape.W, c.channels, s.shape.OutC)
		}
	}
}

// join copies pixels of so many channels to every pitch values of dst.
func join[T any](dst, src []T, pixels, channels, pitch int) {
	for i := range pixels {
		copy(dst[i*pitch:], src[i*channels:][:channels])
	}
}
