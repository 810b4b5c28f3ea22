package infer

import (
	"slices"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
)

// step is one layer: a call of the kernels, or a few, on places in buffers.
type step struct {
	op    model.Op
	act   kernel.Act
	shape kernel.Shape
	// weight and bias are the network's own; packed, or quantized where that is there, is how the kernels read them.
	weight, bias []float32
	packed       *kernel.Packed
	quantized    *quantized

	dst int   // buffer that the output goes to, or lies in a stripe of
	src []int // buffers of the inputs
	// to and from are how many values of an image lie before those that the step writes in dst and reads in src[0].
	to, from int
	copies   []copying // of concat: its inputs that have not been written straight into their stripes
}

// copying puts all channels of a buffer into a stripe of another.
type copying struct {
	src, channels int
	to            int // the stripe's first channel
}

// buffer is where outputs lie while somebody has yet to read them: from step first to step last.
type buffer struct {
	offset, size int // in values; of one image
	first, last  int
	single       bool // holds one image at a time
}

// overlaps reports whether two buffers are alive at the same time.
func (b buffer) overlaps(c buffer) bool { return b.first <= c.last && c.first <= b.last }

// line is the number of bytes in a cache line. Buffers begin at one.
const line = 64

// lay works out who reads what and where it lies, for values of so many bytes.
func lay(n model.Network, p model.Params, width int) (*Plan, error) {
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
	plan := &Plan{input: n.Input, classes: shapes[end].Size(), in: 0}
	plan.buffers = []buffer{{size: n.Input.Size(), first: -1, last: -1}}
	place := make([]int, len(n.Layers)) // the buffer of each layer's output
	for i := range place {
		place[i] = -1
	}
	bufferOf := func(layer int) int {
		if layer < 0 {
			return plan.in
		}
		return place[layer]
	}
	claim := func(layer, at int) int { // gives a layer its buffer, unless it has one
		if place[layer] < 0 {
			place[layer] = len(plan.buffers)
			plan.buffers = append(plan.buffers, buffer{size: shapes[layer].Size(), first: at, last: at})
		}
		return place[layer]
	}
	last, stripes := readers(n, ins, shapeOf)
	for i, l := range n.Layers {
		in, out := shapeOf(ins[i][0]), shapes[i]
		s := step{op: l.Op, act: activation(l.Act), weight: p[l.Name+".weight"], bias: p[l.Name+".bias"]}
		s.shape = kernel.Shape{H: in.H, W: in.W, C: in.C, OutH: out.H, OutW: out.W, OutC: out.C}
		switch l.Op {
		case model.Conv, model.Depthwise, model.MaxPool:
			w, err := l.Window(in)
			if err != nil {
				return nil, err
			}
			s.shape.Kernel, s.shape.Stride, s.shape.PadTop, s.shape.PadLeft = w.Kernel, w.Stride, w.PadTop, w.PadLeft
		}
		switch stripe, ok := stripes[i]; {
		case ok:
			s.dst, s.to, s.shape.Pitch = claim(stripe.join, i), stripe.channel, shapes[stripe.join].C
			place[i] = s.dst
		case l.Op == model.Add && ins[i][0] >= 0 && last[ins[i][0]] == i && !slices.Contains(ins[i][1:], ins[i][0]):
			s.dst = place[ins[i][0]] // a sum can be left in the place of its first summand when nobody reads that any more
			place[i] = s.dst
		default:
			s.dst = claim(i, i)
		}
		channel := 0
		for _, j := range ins[i] {
			b, c := bufferOf(j), shapeOf(j).C
			s.src = append(s.src, b)
			plan.buffers[b].last = i
			if l.Op == model.Concat && b != s.dst {
				s.copies = append(s.copies, copying{b, c, channel})
			}
			channel += c
		}
		plan.buffers[s.dst].last = i
		plan.steps = append(plan.steps, s)
	}
	// The logits stay readable while the inputs of the next batch are written.
	plan.out = place[end]
	plan.buffers[plan.out].first, plan.buffers[plan.out].last = -1, end+1
	plan.imagewise = imagewise(plan)
	var single, batched []*buffer
	for i := range plan.buffers {
		b := &plan.buffers[i]
		if b.single = b.last < plan.imagewise; b.single {
			single = append(single, b)
			continue
		}
		if b.first < plan.imagewise { // other images' values may have to wait there until all have come so far
			b.first, b.last = -1, max(b.last, plan.imagewise-1)
		}
		batched = append(batched, b)
	}
	plan.single, plan.batched = arrange(single, line/width), arrange(batched, line/width)
	return plan, nil
}

// imagewise is how many steps from the first on had better be done for one image after another: as long as activations
// are larger than weights, it pays to read them while they are in the cache, and later to read the weights once for
// many images. A batch is taken to be of 8.
func imagewise(p *Plan) (steps int) {
	const batch = 8
	var cost, best int // in values that come from beyond the cache, against none of the steps being done so
	for i := range p.steps {
		s := &p.steps[i]
		moved := s.shape.OutH * s.shape.OutW * s.shape.OutC
		for _, b := range s.src {
			moved += p.buffers[b].size
		}
		if cost += len(s.weight) - len(s.weight)/batch - moved; cost < best {
			best, steps = cost, i+1
		}
	}
	return steps
}

// stripe is a place in a concatenation.
type stripe struct {
	join    int // layer
	channel int // the first
}

// readers gives the last layer that reads each layer's output, and the stripes into which convolutions can write what is
// read by one concatenation and nobody else.
func readers(n model.Network, ins [][]int, shapeOf func(int) model.Shape) (last []int, stripes map[int]stripe) {
	last, times := make([]int, len(ins)), make([]int, len(ins))
	for i, from := range ins {
		last[i] = i
		for _, j := range from {
			if j >= 0 {
				last[j] = i
				times[j]++
			}
		}
	}
	stripes = map[int]stripe{}
	for i, from := range ins {
		if n.Layers[i].Op != model.Concat {
			continue
		}
		channel := 0
		for _, j := range from {
			if j >= 0 && n.Layers[j].Op == model.Conv && times[j] == 1 {
				stripes[j] = stripe{i, channel}
			}
			channel += shapeOf(j).C
		}
	}
	return last, stripes
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
// Lee, Efficient Memory Management for Deep Neural Net Inference, 2020). Offsets are multiples of align.
func arrange(buffers []*buffer, align int) (memory int) {
	order := slices.Clone(buffers)
	slices.SortStableFunc(order, func(a, b *buffer) int { return b.size - a.size })
	var placed []*buffer // by offset
	for _, b := range order {
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
