package train

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// op is one operation of a graph: a layer, a gradient of one, or the loss. gorgonia sees a symbolic operation like its own,
// which it differentiates and orders; the arithmetic is a function on slices.
//
// The graph's program (program.go) runs the operations. gorgonia's tape machine could, through Do, but it allocates values
// and argument lists for every operation of every run, and knows nothing of results that lie in stripes of others, are
// overwritten by the only one that reads them, or are worked out for all slices of a batch at once.
type op struct {
	name string       // unique in the graph: gorgonia takes operations of one hash for one and the same
	in   []int        // dimensions of the inputs: 2 for activations [n][values], 1 for parameters
	out  tensor.Shape // of the result, empty for a scalar
	// run computes dst from the inputs. It must overwrite all of dst. An operation without it does nothing: its result is
	// there already.
	run func(dst []float32, in [][]float32, scratch []float32)
	// scratch is how many values of memory run works in.
	scratch int
	// diff gives the nodes of the gradients of the inputs that wrt tells apart; both are nil for a gradient itself.
	diff func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error)
	wrt  []bool
	// overwrites says that run changes its first input. Where others still need that, it is given a copy.
	overwrites bool
	// inPlace says that the result may lie in the memory of the first input if nobody else needs that.
	inPlace bool
	// stripe says that the result lies in that of another node, from a value on; of the first input if it points at nil.
	stripe **gorgonia.Node
	from   int
	// batch is run for all slices of a batch at once, by the trainer: its slices hold as many rows.
	batch func(dst []float32, in [][]float32, rows int) error
	// salt makes hashes that collide differ.
	salt int
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

// Do is for gorgonia's machines, which do not run these graphs.
func (o *op) Do(...gorgonia.Value) (gorgonia.Value, error) {
	return nil, fmt.Errorf("train: %s runs in a program alone", o.name)
}
