package infer

import (
	"sync"

	"github.com/logobeam/logobeam/model"
)

// How many multiplications (or comparisons) a goroutine must be given: some fifty microseconds of work, several times
// what it takes to wake one up.
const (
	worthSpreading     = 4 << 20
	worthSpreadingInt8 = 16 << 20
)

// Spread lets every later Run work on each of its images with up to so many goroutines, for those who wait for a few
// images rather than for many. The logits stay the same to the last bit: layers are cut into bands of output rows, or
// into groups of outputs if they are dense. Each Run starts goroutines; nothing else is allocated. It returns a.
func (a *Arena) Spread(cores int) *Arena {
	if a.plan.precision == model.Int8 {
		return a.spread(cores, worthSpreadingInt8)
	}
	return a.spread(cores, worthSpreading)
}

func (a *Arena) spread(cores, worth int) *Arena {
	a.parts = make([][]step, len(a.plan.steps))
	scratch := a.plan.scratch(a.batch)
	for i := range a.plan.steps {
		a.parts[i] = a.plan.steps[i].cut(cores, worth)
		for _, part := range a.parts[i] {
			scratch = max(scratch, part.scratch(1))
		}
	}
	if a.plan.precision == model.Int8 {
		a.bytes.scratch = rows[uint8](max(cores, 1), scratch)
	} else {
		a.floats.scratch = rows[float32](max(cores, 1), scratch)
	}
	return a
}

func rows[T any](n, length int) [][]T {
	all := make([][]T, n)
	for i := range all {
		all[i] = make([]T, length)
	}
	return all
}

// together runs the parts of a step side by side, for n images from first on.
func (a *Arena) together(parts []step, first, n int) {
	var all sync.WaitGroup
	for i := range parts[1:] {
		all.Add(1)
		go a.alone(&parts[1+i], first, n, 1+i, &all)
	}
	all.Add(1)
	a.alone(&parts[0], first, n, 0, &all)
	all.Wait()
}

// alone runs one part for one image after another, since only whole images lie side by side.
func (a *Arena) alone(part *step, first, n, goroutine int, all *sync.WaitGroup) {
	defer all.Done()
	for i := range n {
		a.step(part, first+i, 1, goroutine)
	}
}

// cut gives up to so many parts, each with worth multiplications, that together do what s does, each in the same way as
// s.
func (s *step) cut(cores, worth int) []step {
	sh := s.shape
	each := sh.Kernel * sh.Kernel // work for an output
	size := sh.OutH               // what is cut
	switch s.op {
	case model.Conv:
		each *= sh.C
	case model.Depthwise, model.MaxPool:
	case model.Dense:
		each, size = sh.H*sh.W*sh.C, sh.OutC
	default:
		return nil
	}
	n := min(cores, size, each*sh.OutH*sh.OutW*sh.OutC/worth)
	var parts []step
	for i := range n {
		from, to := i*size/n, (i+1)*size/n
		if s.op == model.Dense {
			parts = append(parts, s.outputs(from, to))
		} else {
			// Kernels may work on two rows at a time: from an even one on they do it alike.
			if from, to = from&^1, to&^1; i == n-1 {
				to = size
			}
			if from < to {
				parts = append(parts, s.rows(from, to))
			}
		}
	}
	return parts
}

// rows is the part of a layer of windows that gives the output rows from..to-1.
func (s *step) rows(from, to int) step {
	part := *s
	sh := &part.shape
	top := from*sh.Stride - sh.PadTop // input row that the first window begins at
	end := min((to-1)*sh.Stride-sh.PadTop+sh.Kernel, sh.H)
	sh.PadTop, top = max(-top, 0), max(top, 0)
	sh.H, sh.OutH = end-top, to-from
	part.from += top * sh.W * sh.C
	part.to += from * sh.OutW * max(sh.Pitch, sh.OutC)
	return part
}

// outputs is the part of a dense layer that gives the outputs from..to-1.
func (s *step) outputs(from, to int) step {
	part, in := *s, s.shape.H*s.shape.W*s.shape.C
	part.shape.OutC = to - from
	part.weight, part.bias = s.weight[from*in:to*in], s.bias[from:to]
	part.to += from
	if s.quantized != nil {
		q := *s.quantized
		part.quantized = &q
	}
	part.pack()
	return part
}
