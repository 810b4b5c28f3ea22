package train

import (
	"fmt"
	"slices"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// plan is what all programs share: the network worked out, and its parameters.
type plan struct {
	net    model.Network
	ins    [][]int
	shapes []model.Shape
	params model.Params
	layers []layer
	// bfloat16 says that kernels round the factors of their products.
	bfloat16 bool
}

// layer is what a plan knows about one layer.
type layer struct {
	model.Layer
	kernel   kernel.Shape // of conv, depthwise and maxpool
	act      kernel.Act
	in, out  model.Shape // of one image
	hasParam bool
	trained  bool // the parameters get gradients
	needs    bool // something up to and including this layer is trained, so the gradient goes through it
	packed   *kernel.Packed
	back     *kernel.Packed // conv: for the gradient of the input, if that is wanted
	// concat: the layer that joins this one, and the channel that this one's begin at, if it can write them there itself.
	concat, from int
	// joined says that the layer is worked out for all slices of a batch at once: see trainer.
	joined bool
}

// newPlan works the network out. trained tells the layers whose parameters get gradients.
func newPlan(net model.Network, params model.Params, precision string, trained func(layer int) bool) (*plan, error) {
	p := &plan{net: net, params: params, bfloat16: precision == BF16}
	var err error
	if p.ins, err = net.Inputs(); err != nil {
		return nil, err
	}
	if p.shapes, err = net.Shapes(); err != nil {
		return nil, err
	}
	list, err := net.Parameters()
	if err != nil {
		return nil, err
	}
	for i, l := range net.Layers {
		y := layer{Layer: l, in: p.shape(p.ins[i][0]), out: p.shapes[i], concat: -1}
		for _, j := range p.ins[i] {
			y.needs = y.needs || j >= 0 && p.layers[j].needs
		}
		switch l.Act {
		case model.Linear:
		case model.ReLU:
			y.act = kernel.ReLU
		case model.ReLU6:
			y.act = kernel.ReLU6
		default:
			return nil, fmt.Errorf("train: layer %s: unknown activation %q", l.Name, l.Act)
		}
		switch l.Op {
		case model.Conv, model.Depthwise, model.MaxPool:
			w, err := l.Window(y.in)
			if err != nil {
				return nil, err
			}
			y.kernel = kernel.Shape{H: y.in.H, W: y.in.W, C: y.in.C, OutH: w.OutH, OutW: w.OutW, OutC: y.out.C,
				Kernel: w.Kernel, Stride: w.Stride, PadTop: w.PadTop, PadLeft: w.PadLeft, BFloat16: p.bfloat16}
		}
		p.layers = append(p.layers, y)
		for _, q := range list {
			if q.Layer != i {
				continue
			}
			p.layers[i].hasParam = true
			p.layers[i].trained = trained(i)
			p.layers[i].needs = p.layers[i].needs || p.layers[i].trained
		}
	}
	p.join()
	for i := range p.layers {
		p.pack(i)
	}
	return p, nil
}

// joinFrom is the number of weights from which a dense layer is joined: where reading them, from memory, takes longer than
// the arithmetic of a slice. Tests lower it.
var joinFrom = 1 << 20

// join finds the layers that write into a concat's output themselves, and those that are worked out for a whole batch.
func (p *plan) join() {
	readers := make([]int, len(p.layers))
	for _, ins := range p.ins {
		for _, j := range ins {
			if j >= 0 {
				readers[j]++
			}
		}
	}
	for i := range p.layers {
		l := &p.layers[i]
		switch l.Op {
		case model.Dense:
			l.joined = l.out.C*l.in.Size() >= joinFrom
		case model.Concat:
			from := 0
			for _, j := range p.ins[i] {
				if j < 0 {
					from += p.net.Input.C
					continue
				}
				if of := &p.layers[j]; of.Op == model.Conv && readers[j] == 1 {
					of.concat, of.from, of.kernel.Pitch = i, from, l.out.C
				}
				from += p.layers[j].out.C
			}
		}
	}
}

// meets reports whether any layer is worked out for a whole batch.
func (p *plan) meets() bool {
	return slices.ContainsFunc(p.layers, func(l layer) bool { return l.joined })
}

// shape is the shape of a layer's output, or of the network's input for -1.
func (p *plan) shape(i int) model.Shape {
	if i < 0 {
		return p.net.Input
	}
	return p.shapes[i]
}

func (p *plan) weight(i int) []float32 { return p.params[p.layers[i].Name+".weight"] }
func (p *plan) bias(i int) []float32   { return p.params[p.layers[i].Name+".bias"] }

// pack lays the layer's weights out for the kernels, for all workers.
func (p *plan) pack(i int) {
	switch l := &p.layers[i]; l.Op {
	case model.Conv:
		l.packed = kernel.PackConv(p.weight(i), l.kernel)
		if j := p.ins[i][0]; j >= 0 && p.layers[j].needs {
			l.back = kernel.PackConvGrad(p.weight(i), l.kernel)
		}
	case model.Dense:
		l.packed = kernel.PackDense(p.weight(i), l.out.C, l.in.Size())
	}
}

// repack does so again after the weights have changed.
func (p *plan) repack(i int) {
	for _, packed := range []*kernel.Packed{p.layers[i].packed, p.layers[i].back} {
		if packed != nil {
			packed.Repack(p.weight(i))
		}
	}
}

// sink takes the gradient of a layer's parameters.
type sink interface {
	// room is memory to work them out in, before give is called.
	room(layer int) (dw, db []float32)
	give(layer int, dw, db []float32)
	// The work of joined layers, for as many rows as the batch has: see op.
	joinedDense(layer int) func(dst []float32, in [][]float32, rows int) error
	joinedDenseGrad(layer int) func(dst []float32, in [][]float32, rows int) error
}

// newGraph has gorgonia differentiate the network for n images, and makes a program of what comes out, for a slice of
// so many.
func newGraph(p *plan, n int, to sink, slice, slices int, batch map[int][]float32) (prog *program, err error) {
	defer func() {
		if r := recover(); r != nil { // gorgonia panics on what it takes for a mistake of ours
			err = fmt.Errorf("train: building the graph of %s: %v", p.net.Arch, r)
		}
	}()
	// gorgonia takes nodes of one 32-bit hash for one node, and does not look closer. Should two names collide, others do
	// not.
	for salt := range 16 {
		b := &builder{plan: p, sink: to, n: n, salt: salt, g: gorgonia.NewGraph()}
		if err := b.build(); err != nil {
			return nil, fmt.Errorf("train: building the graph of %s: %w", p.net.Arch, err)
		}
		if !b.collides() {
			if prog, err = newProgram(b, slice, slices, batch); err != nil {
				return nil, fmt.Errorf("train: building the graph of %s: %w", p.net.Arch, err)
			}
			return prog, nil
		}
	}
	return nil, fmt.Errorf("train: building the graph of %s: hashes of nodes collide", p.net.Arch)
}

type builder struct {
	*plan
	sink sink
	n    int
	salt int
	g    *gorgonia.ExprGraph
	x, t *gorgonia.Node // images [n][H*W*C]; targets [n][classes]
	// Operations in the order in which they were added, and their inputs.
	nodes        []*gorgonia.Node
	args         [][]*gorgonia.Node
	layer        []*gorgonia.Node // outputs of the layers
	logits, loss *gorgonia.Node
}

func (b *builder) collides() bool {
	seen := map[uint32]bool{}
	for _, n := range b.g.AllNodes() {
		if seen[n.Hashcode()] {
			return true
		}
		seen[n.Hashcode()] = true
	}
	return false
}

// apply adds an operation on the nodes to the graph.
func (b *builder) apply(o *op, in ...*gorgonia.Node) (*gorgonia.Node, error) {
	for _, n := range in {
		o.in = append(o.in, n.Dims())
	}
	o.salt = b.salt
	node, err := gorgonia.ApplyOpWithName(o, o.name, in...)
	b.nodes, b.args = append(b.nodes, node), append(b.args, slices.Clone(in))
	return node, err
}

func (b *builder) matrix(name string, size int) *gorgonia.Node {
	return gorgonia.NewMatrix(b.g, tensor.Float32, gorgonia.WithShape(b.n, size), gorgonia.WithName(name))
}

func (b *builder) vector(name string, values []float32) *gorgonia.Node {
	return gorgonia.NewVector(b.g, tensor.Float32, gorgonia.WithShape(len(values)), gorgonia.WithName(name),
		gorgonia.WithValue(tensor.New(tensor.WithShape(len(values)), tensor.WithBacking(values))))
}

func (b *builder) build() error {
	b.x = b.matrix("input", b.net.Input.Size())
	b.layer = make([]*gorgonia.Node, len(b.layers))
	var wrt gorgonia.Nodes
	for i := range b.layers {
		var in []*gorgonia.Node
		for _, j := range b.ins[i] {
			if j < 0 {
				in = append(in, b.x)
			} else {
				in = append(in, b.layer[j])
			}
		}
		if l := &b.layers[i]; l.hasParam {
			w, bias := b.vector(l.Name+".weight", b.weight(i)), b.vector(l.Name+".bias", b.bias(i))
			in = append(in, w, bias)
			if l.trained {
				wrt = append(wrt, w, bias)
			}
		}
		var err error
		if b.layer[i], err = b.apply(b.forward(i), in...); err != nil {
			return err
		}
	}
	b.logits = b.layer[len(b.layer)-1]
	classes := b.shapes[len(b.layer)-1].Size()
	b.t = b.matrix("targets", classes)
	var err error
	if b.loss, err = b.apply(b.crossEntropy(classes), b.logits, b.t); err != nil {
		return err
	}
	_, err = gorgonia.Grad(b.loss, wrt...)
	return err
}

// ofInput is the stripe of an operation's own first input.
var ofInput *gorgonia.Node

// forward is the operation of a layer.
func (b *builder) forward(i int) *op {
	l, n := &b.layers[i], b.n
	o := &op{name: l.Name, out: tensor.Shape{n, l.out.Size()}}
	for _, j := range b.ins[i] {
		o.wrt = append(o.wrt, j >= 0 && b.layers[j].needs)
	}
	if l.hasParam {
		o.wrt = append(o.wrt, l.trained, l.trained)
		o.diff = b.gradParams(i)
	}
	if l.concat >= 0 {
		o.stripe, o.from = &b.layer[l.concat], l.from
	}
	s := l.kernel
	switch l.Op {
	case model.Conv:
		o.scratch = kernel.ConvScratch(s)
		o.run = func(dst []float32, in [][]float32, scratch []float32) {
			kernel.Conv(dst, in[0], n, l.packed, in[2], s, l.act, scratch)
		}
	case model.Depthwise:
		o.run = func(dst []float32, in [][]float32, _ []float32) {
			kernel.Depthwise(dst, in[0], n, in[1], in[2], s, l.act)
		}
	case model.Dense:
		if l.joined {
			o.batch = b.sink.joinedDense(i)
			break
		}
		o.scratch = kernel.DenseScratch(n, l.out.C, l.in.Size())
		o.run = func(dst []float32, in [][]float32, scratch []float32) {
			kernel.Dense(dst, in[0], n, l.packed, in[2], l.act, scratch)
		}
	case model.MaxPool:
		o.run = func(dst []float32, in [][]float32, _ []float32) { kernel.MaxPool(dst, in[0], n, s) }
		o.diff = func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
			dx, err := b.apply(&op{name: l.Name + "/dx", out: in[0].Shape().Clone(), run: func(dst []float32, in [][]float32, _ []float32) {
				kernel.MaxPoolGrad(dst, in[0], in[1], in[2], n, s)
			}}, grad, in[0], out)
			return gorgonia.Nodes{dx}, err
		}
	case model.GlobalAvgPool:
		pixels, c := l.in.H*l.in.W, l.in.C
		o.run = func(dst []float32, in [][]float32, _ []float32) { kernel.GlobalAvgPool(dst, in[0], n, pixels, c) }
		o.diff = func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
			dx, err := b.apply(&op{name: l.Name + "/dx", out: in[0].Shape().Clone(), run: func(dst []float32, in [][]float32, _ []float32) {
				kernel.GlobalAvgPoolGrad(dst, in[0], n, pixels, c)
			}}, grad)
			return gorgonia.Nodes{dx}, err
		}
	case model.Add:
		o.run = func(dst []float32, in [][]float32, _ []float32) {
			sum := in[0]
			for k, v := range in[1:] {
				act := kernel.Linear
				if k == len(in)-2 {
					act = l.act
				}
				kernel.Add(dst, sum, v, act)
				sum = dst
			}
		}
		o.diff = func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
			m, err := b.throughAct(l, out, grad)
			grads := make(gorgonia.Nodes, len(in))
			for k := range in {
				if o.wrt[k] {
					grads[k] = m
				}
			}
			return grads, err
		}
	case model.Concat:
		b.concat(i, o)
	}
	return o
}

// concat joins layers. Those that write into its output themselves need no copy, nor do their gradients.
func (b *builder) concat(i int, o *op) {
	l, n := &b.layers[i], b.n
	from := 0
	type input struct{ k, c, from int }
	var copied []input
	stripes := make([]input, len(b.ins[i]))
	for k, j := range b.ins[i] {
		c := b.shape(j).C
		stripes[k] = input{k, c, from}
		if j < 0 || b.layers[j].concat != i {
			copied = append(copied, stripes[k])
		}
		from += c
	}
	pixels := n * l.out.H * l.out.W
	if len(copied) > 0 {
		o.run = func(dst []float32, in [][]float32, _ []float32) {
			for _, s := range copied {
				copyColumns(dst[s.from:], in[s.k], pixels, s.c, l.out.C, s.c)
			}
		}
	}
	o.diff = func(in gorgonia.Nodes, out, grad *gorgonia.Node) (grads gorgonia.Nodes, err error) {
		grads = make(gorgonia.Nodes, len(in))
		for k, s := range stripes {
			if !o.wrt[k] {
				continue
			}
			dx := &op{name: fmt.Sprintf("%s/dx%d", l.Name, k), out: in[k].Shape().Clone()}
			if b.layers[b.ins[i][k]].concat == i {
				dx.stripe, dx.from = &ofInput, s.from
			} else {
				dx.run = func(dst []float32, in [][]float32, _ []float32) {
					copyColumns(dst, in[0][s.from:], pixels, s.c, s.c, l.out.C)
				}
			}
			if grads[k], err = b.apply(dx, grad); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}
}

// copyColumns copies the first c values of each row of src to those of dst. Rows begin a stride apart.
func copyColumns(dst, src []float32, rows, c, dstStride, srcStride int) {
	for r := range rows {
		copy(dst[r*dstStride:r*dstStride+c], src[r*srcStride:r*srcStride+c])
	}
}

// throughAct is the node of the gradient before a sum's activation.
func (b *builder) throughAct(l *layer, out, grad *gorgonia.Node) (*gorgonia.Node, error) {
	if l.act == kernel.Linear {
		return grad, nil
	}
	return b.apply(&op{name: l.Name + "/act", out: out.Shape().Clone(), inPlace: true, run: func(dst []float32, in [][]float32, _ []float32) {
		if &dst[0] != &in[0][0] {
			copy(dst, in[0])
		}
		kernel.ActGrad(dst, in[1], l.act)
	}}, grad, out)
}

// gradParams gives the gradients of a layer with parameters: of its input, its weights and its bias, as far as they are
// wanted. One operation works all of them out, as the kernel does: its result is the gradient of the input, and the sink
// has those of the parameters, whose nodes stand for that.
func (b *builder) gradParams(i int) func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	l, n := &b.layers[i], b.n
	return func(in gorgonia.Nodes, out, grad *gorgonia.Node) (grads gorgonia.Nodes, err error) {
		grads = make(gorgonia.Nodes, 3)
		j := b.ins[i][0]
		wanted := j >= 0 && b.layers[j].needs
		all := &op{name: l.Name + "/grad", out: tensor.Shape{1}, overwrites: l.act != kernel.Linear}
		if wanted {
			all.out = in[0].Shape().Clone()
		}
		// begin gives the memory that the kernel works in.
		begin := func(dst []float32) (dx, dw, db []float32) {
			if wanted {
				dx = dst
			}
			dw, db = b.sink.room(i)
			return dx, dw, db
		}
		s := l.kernel
		switch l.Op {
		case model.Conv:
			all.scratch = kernel.ConvGradScratch(s)
			all.run = func(dst []float32, in [][]float32, scratch []float32) {
				dx, dw, db := begin(dst)
				kernel.ConvGrad(dx, dw, db, in[0], in[1], in[2], n, l.back, s, l.act, scratch)
				b.sink.give(i, dw, db)
			}
		case model.Depthwise:
			all.run = func(dst []float32, in [][]float32, _ []float32) {
				dx, dw, db := begin(dst)
				kernel.DepthwiseGrad(dx, dw, db, in[0], in[1], in[2], in[3], n, s, l.act)
				b.sink.give(i, dw, db)
			}
		case model.Dense:
			if l.joined {
				all.overwrites, all.batch = false, b.sink.joinedDenseGrad(i)
				break
			}
			all.run = func(dst []float32, in [][]float32, _ []float32) {
				dx, dw, db := begin(dst)
				kernel.DenseGrad(dx, dw, db, in[0], in[1], in[2], in[3], n, l.out.C, l.in.Size(), l.act)
				b.sink.give(i, dw, db)
			}
		}
		node, err := b.apply(all, grad, out, in[0], in[1])
		if err != nil {
			return nil, err
		}
		if wanted {
			grads[0] = node
		}
		if !l.trained {
			return grads, nil
		}
		for k, name := range []string{"/dw", "/db"} {
			if grads[1+k], err = b.apply(&op{name: l.Name + name, out: tensor.Shape{1}}, node); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}
}
