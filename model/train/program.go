package train

import (
	"fmt"

	"github.com/logobeam/logobeam/model/kernel"
	"gorgonia.org/gorgonia"
)

// A program is a graph's operations in the order in which they were added to it, gradients last, with the memory of their
// results. Running it allocates nothing.
type program struct {
	steps   []step
	size    int // values of memory for results, in all
	scratch int // values of scratch memory that the operations need
	// What is set before a run, and what is read after it.
	images, targets *result
	logits, loss    *result
}

// step is an operation of a program.
type step struct {
	*op
	in   []*result
	out  *result
	copy []float32 // memory for a copy of the first input, where the operation changes that and others still need it
	args [][]float32
}

// result is a value of a program: of an operation, or a parameter, or what is set before a run.
type result struct {
	size int // of an operation's
	dst  []float32
	// part says that it lies in another's memory, from a value on.
	part *result
	from int
	// batch is the memory of all slices for a result that they share; dst is the slice's part of it.
	batch []float32
	// While places are found: the memory that the pool gave, the steps that have yet to read it, or a part of it, and
	// whether it is read after the run.
	memory  []float32
	readers int
	kept    bool
}

// root is the result whose memory it lies in.
func (r *result) root() *result {
	for r.part != nil {
		r = r.part
	}
	return r
}

// newProgram finds the inputs of the operations and places for their results. Those that all slices share lie in batch,
// by the number of the step; the first of the programs makes them.
func newProgram(b *builder, slice, slices int, batch map[int][]float32) (*program, error) {
	p := &program{images: &result{}, targets: &result{}}
	results := map[*gorgonia.Node]*result{b.x: p.images, b.t: p.targets}
	add := func(o *op, in []*result) *result {
		r := &result{size: max(o.out.TotalSize(), 1)}
		p.steps = append(p.steps, step{op: o, in: in, out: r, args: make([][]float32, len(in))})
		p.scratch = max(p.scratch, o.scratch)
		return r
	}
	var of func(nodes []*gorgonia.Node) ([]*result, error)
	of = func(nodes []*gorgonia.Node) (list []*result, err error) {
		for _, n := range nodes {
			if results[n] == nil {
				if results[n], err = p.other(b, n, of, add); err != nil {
					return nil, err
				}
			}
			list = append(list, results[n])
		}
		return list, nil
	}
	for k, n := range b.nodes {
		in, err := of(b.args[k])
		if err != nil {
			return nil, err
		}
		results[n] = add(n.Op().(*op), in)
	}
	for _, s := range p.steps {
		if s.stripe != nil {
			s.out.part, s.out.from = results[*s.stripe], s.from
			if s.out.part == nil {
				s.out.part = s.in[0]
			}
		}
	}
	p.logits, p.loss = results[b.logits], results[b.loss]
	p.logits.kept, p.loss.kept = true, true
	p.place(slice, slices, batch)
	return p, nil
}

// other is the result of a node that is no operation of ours: a parameter, or gorgonia's sum of two gradients.
func (p *program) other(b *builder, n *gorgonia.Node, of func([]*gorgonia.Node) ([]*result, error), add func(*op, []*result) *result) (*result, error) {
	if v := n.Value(); v != nil {
		if values, ok := v.Data().([]float32); ok {
			return &result{dst: values}, nil
		}
	}
	var nodes []*gorgonia.Node
	for it := b.g.From(n.ID()); it.Next(); {
		nodes = append(nodes, it.Node().(*gorgonia.Node))
	}
	terms, err := of(nodes)
	if err != nil {
		return nil, err
	}
	if len(terms) != 2 {
		return nil, fmt.Errorf("%v of the gradient is no sum of two", n)
	}
	return add(&op{name: "sum", out: n.Shape().Clone(), inPlace: true, run: func(dst []float32, in [][]float32, _ []float32) {
		kernel.Add(dst, in[0], in[1], kernel.Linear)
	}}, terms), nil
}

// place finds memory for the results: of others that nobody reads any more, as far as possible.
func (p *program) place(slice, slices int, batch map[int][]float32) {
	shared := map[*result]bool{}
	for _, s := range p.steps {
		for _, r := range s.in {
			r.root().readers++
			shared[r] = shared[r] || s.batch != nil
		}
		shared[s.out] = shared[s.out] || s.batch != nil
	}
	var free pool
	made := map[*result]int{} // the step
	for i, s := range p.steps {
		made[s.out] = i
	}
	take := func(r *result) {
		if !shared[r] {
			r.memory = free.take(r.size)
			r.dst = r.memory[:r.size]
			return
		}
		i := made[r]
		if batch[i] == nil {
			batch[i] = make([]float32, slices*r.size)
		}
		r.batch = batch[i]
		r.dst = r.batch[slice*r.size:][:r.size]
	}
	for i := range p.steps {
		s := &p.steps[i]
		var first *result
		if len(s.in) > 0 {
			first = s.in[0]
		}
		switch root := s.out.root(); {
		case root.dst == nil && s.inPlace && p.alone(i, first) && first.memory != nil && first.size == s.out.size && !shared[s.out]:
			s.out.dst, s.out.memory, first.memory = first.dst, first.memory, nil
		case root.dst == nil:
			take(root)
		}
		if s.out.part != nil {
			s.out.dst = s.out.part.dst[s.out.from:]
		}
		if s.overwrites && !p.alone(i, first) {
			memory := free.take(len(first.dst))
			s.copy = memory[:len(first.dst)]
			free.give(memory)
		}
		for _, r := range s.in {
			r.root().readers--
		}
		for _, r := range append(s.in[:len(s.in):len(s.in)], s.out) {
			if r = r.root(); r.memory != nil && r.readers == 0 && !r.kept {
				free.give(r.memory)
				r.memory = nil
			}
		}
	}
	p.size = free.size
}

// alone says whether nobody needs the result r of an operation after step i, so that this may change it. Stripes of one
// result do not touch each other.
func (p *program) alone(i int, r *result) bool {
	if r.root().kept || r.size == 0 {
		return false
	}
	for _, s := range p.steps[i+1:] {
		if s.run == nil && s.batch == nil {
			continue // reads nothing itself
		}
		for _, q := range s.in {
			if q.root() == r.root() && !(q.part != nil && q.part == r.part && q.from != r.from) {
				return false
			}
		}
	}
	return true
}

// run runs the steps from one up to another, none of which are for the whole batch. A panic becomes an error.
func (p *program) run(from, to int, scratch []float32) (err error) {
	i := from
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(error)
			if !ok {
				e = fmt.Errorf("%v", r)
			}
			err = fmt.Errorf("layer %s: %w", p.steps[i].name, e)
		}
	}()
	for ; i < to; i++ {
		s := &p.steps[i]
		if s.op.run == nil {
			continue
		}
		for k, r := range s.in {
			s.args[k] = r.dst
		}
		if s.copy != nil {
			copy(s.copy, s.args[0])
			s.args[0] = s.copy
		}
		s.op.run(s.out.dst, s.args, scratch)
	}
	return nil
}

// pool is the memory of results that nobody reads any more.
type pool struct {
	free [][]float32
	size int // values handed out in all
}

// take finds the smallest free piece of at least size values, or makes one.
func (p *pool) take(size int) []float32 {
	best := -1
	for i, f := range p.free {
		if len(f) >= size && (best < 0 || len(f) < len(p.free[best])) {
			best = i
		}
	}
	if best < 0 {
		p.size += size
		return make([]float32, size)
	}
	f := p.free[best]
	p.free = append(p.free[:best], p.free[best+1:]...)
	return f
}

func (p *pool) give(memory []float32) { p.free = append(p.free, memory) }
