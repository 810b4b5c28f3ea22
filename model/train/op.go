package train

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// op is one operation of a worker's graph: a layer, a gradient of one, or the loss. gorgonia sees a symbolic operation
// like its own; the arithmetic is a function on slices.
//
// An op owns its result. gorgonia's tape forgets its registers between runs and would allocate every result anew, so
// the memory is found once, in the first run, by the worker's pool: which results are alive together is the same in
// each run of a tape.
type op struct {
	name string       // unique in the graph: gorgonia takes operations of one hash for one and the same
	in   []int        // dimensions of the inputs: 2 for activations [n][values], 1 for parameters
	out  tensor.Shape // of the result, empty for a scalar
	// run computes dst from the inputs. It must overwrite all of dst.
	run func(dst []float32, in [][]float32)
	// diff gives the nodes of the gradients of the inputs that wrt tells apart; both are nil for a gradient itself.
	diff func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error)
	wrt  []bool
	// fixed is memory of the op's own, for a result that lies elsewhere already; without it the pool gives some.
	fixed []float32
	// inPlace says that the result may overwrite the first input if nobody else needs that.
	inPlace bool
	// salt makes hashes that collide differ.
	salt int

	graph  *graph
	result *result
	reads  []*result // of other operations, inputs of stock ones between included
	args   [][]float32
	value  gorgonia.Value
	dst    []float32
}

var (
	_ gorgonia.SDOp = (*op)(nil)
)

func (o *op) Arity() int { return len(o.in) }

func (o *op) Type() hm.Type {
	types := make([]hm.Type, 0, len(o.in)+1)
	for _, d := range append(o.in[:len(o.in):len(o.in)], o.out.Dims()) {
		if d == 0 {
			types = append(types, tensor.Float32)
		} else {
			types = append(types, gorgonia.TensorType{Dims: d, Of: tensor.Float32})
		}
	}
	return hm.NewFnType(types...)
}

func (o *op) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return o.out.Clone(), nil }

// ReturnsPtr is true: the tape may hand the result itself on. OverwritesInput is -1 although some do (inPlace): the
// tape would have to know that results are not its own.
func (o *op) ReturnsPtr() bool      { return true }
func (o *op) CallsExtern() bool     { return false }
func (o *op) OverwritesInput() int  { return -1 }
func (o *op) WriteHash(h hash.Hash) { fmt.Fprintf(h, "logobeam %s %d", o.name, o.salt) }
func (o *op) String() string        { return o.name }

func (o *op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *op) DiffWRT(inputs int) []bool {
	if o.wrt == nil {
		return make([]bool, inputs)
	}
	return o.wrt
}

func (o *op) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if o.diff == nil {
		return nil, fmt.Errorf("train: %s has no gradient", o.name)
	}
	return o.diff(in, out, grad)
}

// Do runs the operation. A panic below it becomes an error here, since the tape runs in a goroutine of its own and would
// take the program with it. The graph keeps the error: what the tape makes of it cannot be unwrapped.
func (o *op) Do(values ...gorgonia.Value) (v gorgonia.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			if e, ok := r.(error); ok {
				err = e
			} else {
				err = fmt.Errorf("%v", r)
			}
		}
		if err != nil {
			err = fmt.Errorf("layer %s: %w", o.name, err)
			o.graph.err = err
		}
	}()
	for i, in := range values {
		switch data := in.Data().(type) {
		case []float32:
			o.args[i] = data
		case float32: // a scalar, or what gorgonia takes for one
			o.args[i] = append(o.args[i][:0], data)
		default:
			return nil, fmt.Errorf("input %d holds %T", i, data)
		}
	}
	if o.dst == nil {
		o.place()
	}
	o.run(o.dst, o.args)
	if o.out.Dims() == 0 {
		return gorgonia.NewF32(o.dst[0]), nil
	}
	return o.value, nil
}

// place finds memory for the result, in the first run, and gives back what is not needed after this operation.
func (o *op) place() {
	size := max(o.out.TotalSize(), 1)
	switch first := o.firstRead(); {
	case o.fixed != nil:
		o.dst = o.fixed[:size]
	case o.inPlace && first != nil && first.readers == 1 && first.memory != nil && len(o.args[0]) == size:
		o.dst, o.result.memory, first.memory = o.args[0], first.memory, nil
	default:
		o.result.memory = o.graph.pool.take(size)
		o.dst = o.result.memory[:size]
	}
	for _, r := range o.reads {
		if r.readers--; r.readers == 0 {
			o.graph.pool.give(r)
		}
	}
	if o.result.readers == 0 {
		o.graph.pool.give(o.result) // nothing reads it from the tape, and nothing runs before it is computed
	}
	if o.out.Dims() > 0 {
		o.value = tensor.New(tensor.WithShape(o.out...), tensor.WithBacking(o.dst))
	}
}

// firstRead is the result that the first input lies in, nil if it is an input of the network.
func (o *op) firstRead() *result {
	for _, r := range o.reads {
		if d := *r.dst; len(d) > 0 && len(o.args[0]) > 0 && &d[0] == &o.args[0][0] {
			return r
		}
	}
	return nil
}

// result is the memory of an operation's result while the first run finds places.
type result struct {
	dst     *[]float32 // of the operation
	memory  []float32  // what the pool gave for it; nil if it lies elsewhere
	readers int        // operations that have yet to read it
}

// pool is the memory of results that nobody reads any more. It lives for the first run of a tape.
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

func (p *pool) give(r *result) {
	if r.memory != nil {
		p.free = append(p.free, r.memory)
		r.memory = nil
	}
}
