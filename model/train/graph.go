package train

import (
	"fmt"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A graph is the network and its gradient as a gorgonia program for a slice of n images. One goroutine runs it; the
// values of the parameters are shared with the graphs of the others.
type graph struct {
	n       int
	classes int
	vm      gorgonia.VM
	x, t    *gorgonia.Node // images [n][H*W*C]; targets [n][classes]
	logits  *op
	loss    *op
	pool    pool
	scratch []float32
	err     error // of the operation that failed
}

// plan is what the graphs of all workers share: the network worked out, its parameters, and where gradients go.
type plan struct {
	net    model.Network
	ins    [][]int
	shapes []model.Shape
	params model.Params
	layers []layer
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
}

// newPlan works the network out. frozen tells the layers whose parameters stay as they are.
func newPlan(net model.Network, params model.Params, frozen func(layer int, name string) bool) (*plan, error) {
	p := &plan{net: net, params: params}
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
		y := layer{Layer: l, in: p.shape(p.ins[i][0]), out: p.shapes[i]}
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
				Kernel: w.Kernel, Stride: w.Stride, PadTop: w.PadTop, PadLeft: w.PadLeft}
		}
		p.layers = append(p.layers, y)
		for _, q := range list {
			if q.Layer != i {
				continue
			}
			if len(params[q.Name]) != q.Len() {
				return nil, fmt.Errorf("train: parameter %s has %d values: want %v", q.Name, len(params[q.Name]), q.Shape)
			}
			p.layers[i].hasParam = true
			p.layers[i].trained = !frozen(i, l.Name)
			p.layers[i].needs = p.layers[i].needs || p.layers[i].trained
		}
	}
	if !p.layers[len(p.layers)-1].needs {
		return nil, fmt.Errorf("train: every layer is frozen: nothing is left to train")
	}
	for i := range p.layers {
		p.pack(i)
	}
	return p, nil
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

// sink takes the gradient of a layer's parameters. give is called from the tape as soon as the gradient to the layer's
// output is known, and works the gradient out from it and from the layer's input: dw and db are memory to do so in,
// which need not hold the gradient afterwards.
type sink interface {
	give(layer int, dw, db, dy, x, scratch []float32)
	// room says whether give needs memory for dw.
	room(layer int) bool
}

// gradWeights works out the gradient of a layer's parameters.
func (p *plan) gradWeights(i, n int, dw, db, dy, x, scratch []float32) {
	switch l := &p.layers[i]; l.Op {
	case model.Conv:
		kernel.ConvGradWeights(dw, db, dy, x, n, l.kernel, scratch)
	case model.Depthwise:
		kernel.DepthwiseGradWeights(dw, db, dy, x, n, l.kernel)
	case model.Dense:
		kernel.DenseGradWeights(dw, db, dy, x, n, l.out.C, l.in.Size())
	}
}

// newGraph builds the program for n images and differentiates it.
func newGraph(p *plan, n int, to sink) (g *graph, err error) {
	defer func() {
		if r := recover(); r != nil { // gorgonia panics on what it takes for a mistake of ours
			err = fmt.Errorf("train: building the graph of %s: %v", p.net.Arch, r)
		}
	}()
	// The tape takes nodes of one 32-bit hash for one node, and does not look closer. Should two names collide, others
	// do not.
	for salt := range 16 {
		b := &builder{plan: p, sink: to, n: n, salt: salt, g: gorgonia.NewGraph(), graph: &graph{n: n}}
		if err := b.build(); err != nil {
			return nil, fmt.Errorf("train: building the graph of %s: %w", p.net.Arch, err)
		}
		if !b.collides() {
			b.graph.vm = gorgonia.NewTapeMachine(b.g)
			return b.graph, nil
		}
	}
	return nil, fmt.Errorf("train: building the graph of %s: hashes of nodes collide", p.net.Arch)
}

type builder struct {
	*plan
	sink  sink
	n     int
	salt  int
	g     *gorgonia.ExprGraph
	graph *graph
	ops   []*op
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
	o.salt, o.graph, o.args = b.salt, b.graph, make([][]float32, len(in))
	o.result = &result{dst: &o.dst}
	b.ops = append(b.ops, o)
	return gorgonia.ApplyOpWithName(o, o.name, in...)
}

func (b *builder) matrix(name string, size int) *gorgonia.Node {
	return gorgonia.NewMatrix(b.g, tensor.Float32, gorgonia.WithShape(b.n, size), gorgonia.WithName(name))
}

func (b *builder) vector(name string, values []float32) *gorgonia.Node {
	return gorgonia.NewVector(b.g, tensor.Float32, gorgonia.WithShape(len(values)), gorgonia.WithName(name),
		gorgonia.WithValue(tensor.New(tensor.WithShape(len(values)), tensor.WithBacking(values))))
}

func (b *builder) build() error {
	g := b.graph
	g.x = b.matrix("input", b.net.Input.Size())
	nodes := make([]*gorgonia.Node, len(b.layers))
	var wrt gorgonia.Nodes
	for i := range b.layers {
		var in []*gorgonia.Node
		for _, j := range b.ins[i] {
			if j < 0 {
				in = append(in, g.x)
			} else {
				in = append(in, nodes[j])
			}
		}
		if l := &b.layers[i]; l.hasParam {
			w, bias := b.vector(l.Name+".weight", b.weight(i)), b.vector(l.Name+".bias", b.bias(i))
			in = append(in, w, bias)
			if l.trained {
				wrt = append(wrt, w, bias)
			}
		}
		node, err := b.apply(b.forward(i), in...)
		if err != nil {
			return err
		}
		nodes[i] = node
	}
	logits := nodes[len(nodes)-1]
	g.logits = logits.Op().(*op)
	g.classes = b.shapes[len(nodes)-1].Size()
	g.t = b.matrix("targets", g.classes)
	loss, err := b.apply(b.crossEntropy(), logits, g.t)
	if err != nil {
		return err
	}
	g.loss = loss.Op().(*op)
	if _, err := gorgonia.Grad(loss, wrt...); err != nil {
		return err
	}
	b.readers()
	return nil
}

// readers counts for every result how many operations read it, so that the first run can tell when its memory is free.
func (b *builder) readers() {
	seen := map[*gorgonia.Node][]*result{}
	var behind func(n *gorgonia.Node) []*result
	behind = func(n *gorgonia.Node) (list []*result) {
		if o, ok := n.Op().(*op); ok {
			return []*result{o.result}
		}
		if list, ok := seen[n]; ok {
			return list
		}
		for it := b.g.From(n.ID()); it.Next(); { // gorgonia's own sum of gradients works in the memory of one of them
			list = append(list, behind(it.Node().(*gorgonia.Node))...)
		}
		seen[n] = list
		return list
	}
	for _, n := range b.g.AllNodes() {
		o, ok := n.Op().(*op)
		if !ok {
			continue
		}
		counted := map[*result]bool{}
		for _, child := range b.inputs(n) {
			for _, r := range behind(child) {
				if !counted[r] {
					counted[r] = true
					o.reads = append(o.reads, r)
					r.readers++
				}
			}
		}
	}
	b.graph.logits.result.readers++ // read after the run
}

func (b *builder) inputs(n *gorgonia.Node) (list gorgonia.Nodes) {
	for it := b.g.From(n.ID()); it.Next(); {
		list = append(list, it.Node().(*gorgonia.Node))
	}
	return list
}

// workspace is scratch memory of the worker, as large as any operation asks.
func (b *builder) workspace(size int) func() []float32 {
	if size > len(b.graph.scratch) {
		b.graph.scratch = make([]float32, size)
	}
	g := b.graph
	return func() []float32 { return g.scratch[:size] }
}

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
	s := l.kernel
	switch l.Op {
	case model.Conv:
		scratch := b.workspace(kernel.ConvScratch(s))
		o.run = func(dst []float32, in [][]float32) { kernel.Conv(dst, in[0], n, l.packed, in[2], s, l.act, scratch()) }
	case model.Depthwise:
		o.run = func(dst []float32, in [][]float32) { kernel.Depthwise(dst, in[0], n, in[1], in[2], s, l.act) }
	case model.Dense:
		o.run = func(dst []float32, in [][]float32) { kernel.Dense(dst, in[0], n, l.packed, in[2], l.act) }
	case model.MaxPool:
		o.run = func(dst []float32, in [][]float32) { kernel.MaxPool(dst, in[0], n, s) }
		o.diff = func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
			dx, err := b.apply(&op{name: l.Name + "/dx", out: in[0].Shape().Clone(), run: func(dst []float32, in [][]float32) {
				kernel.MaxPoolGrad(dst, in[0], in[1], in[2], n, s)
			}}, grad, in[0], out)
			return gorgonia.Nodes{dx}, err
		}
	case model.GlobalAvgPool:
		pixels, c := l.in.H*l.in.W, l.in.C
		o.run = func(dst []float32, in [][]float32) { kernel.GlobalAvgPool(dst, in[0], n, pixels, c) }
		o.diff = func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
			dx, err := b.apply(&op{name: l.Name + "/dx", out: in[0].Shape().Clone(), run: func(dst []float32, in [][]float32) {
				kernel.GlobalAvgPoolGrad(dst, in[0], n, pixels, c)
			}}, grad)
			return gorgonia.Nodes{dx}, err
		}
	case model.Add:
		o.run = func(dst []float32, in [][]float32) {
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
		o.run = func(dst []float32, in [][]float32) {
			to := 0
			for k, j := range b.ins[i] {
				c := b.shape(j).C
				copyColumns(dst[to:], in[k], n*l.out.H*l.out.W, c, l.out.C, c)
				to += c
			}
		}
		o.diff = func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
			grads := make(gorgonia.Nodes, len(in))
			from := 0
			for k, j := range b.ins[i] {
				c, first := b.shape(j).C, from
				from += c
				if !o.wrt[k] {
					continue
				}
				dx, err := b.apply(&op{name: fmt.Sprintf("%s/dx%d", l.Name, k), out: in[k].Shape().Clone(), run: func(dst []float32, in [][]float32) {
					copyColumns(dst, in[0][first:], n*l.out.H*l.out.W, c, c, l.out.C)
				}}, grad)
				if err != nil {
					return nil, err
				}
				grads[k] = dx
			}
			return grads, nil
		}
	}
	return o
}

// copyColumns copies the first c values of each row of src to those of dst. Rows begin a stride apart.
func copyColumns(dst, src []float32, rows, c, dstStride, srcStride int) {
	for r := range rows {
		copy(dst[r*dstStride:r*dstStride+c], src[r*srcStride:r*srcStride+c])
	}
}

// throughAct is the node of the gradient before a layer's activation, which all gradients of the layer begin with.
func (b *builder) throughAct(l *layer, out, grad *gorgonia.Node) (*gorgonia.Node, error) {
	if l.act == kernel.Linear {
		return grad, nil
	}
	return b.apply(&op{name: l.Name + "/act", out: out.Shape().Clone(), inPlace: true, run: func(dst []float32, in [][]float32) {
		if &dst[0] != &in[0][0] {
			copy(dst, in[0])
		}
		kernel.ActGrad(dst, in[1], l.act)
	}}, grad, out)
}

// gradParams gives the gradients of a layer with parameters: of its input, its weights and its bias, as far as they are
// wanted. The kernel works weights and bias out together: the operation of the weights fills the memory that the
// operation of the bias, which reads its node and so comes after it, has for a result.
func (b *builder) gradParams(i int) func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	l, n := &b.layers[i], b.n
	return func(in gorgonia.Nodes, out, grad *gorgonia.Node) (grads gorgonia.Nodes, err error) {
		grads = make(gorgonia.Nodes, 3)
		m, err := b.throughAct(l, out, grad)
		if err != nil {
			return nil, err
		}
		if l.trained {
			size := 0
			if l.Op == model.Conv {
				size = kernel.ConvGradWeightsScratch(l.kernel)
			}
			scratch := b.workspace(size)
			db := make([]float32, l.out.C)
			dw := &op{name: l.Name + "/dw", out: in[1].Shape().Clone(), run: func(dst []float32, in [][]float32) {
				b.sink.give(i, dst, db, in[0], in[1], scratch())
			}}
			if !b.sink.room(i) {
				dw.out = tensor.Shape{1} // the gradient comes to lie where the sink keeps it
			}
			if grads[1], err = b.apply(dw, m, in[0]); err != nil {
				return nil, err
			}
			if grads[2], err = b.apply(&op{name: l.Name + "/db", out: in[2].Shape().Clone(), fixed: db, run: func([]float32, [][]float32) {}}, grads[1]); err != nil {
				return nil, err
			}
		}
		if j := b.ins[i][0]; j >= 0 && b.layers[j].needs {
			dx := &op{name: l.Name + "/dx", out: in[0].Shape().Clone()}
			s := l.kernel
			switch l.Op {
			case model.Conv:
				scratch := b.workspace(kernel.ConvGradInputScratch(s))
				dx.run = func(dst []float32, in [][]float32) { kernel.ConvGradInput(dst, in[0], n, l.back, s, scratch()) }
			case model.Depthwise:
				dx.run = func(dst []float32, in [][]float32) { kernel.DepthwiseGradInput(dst, in[0], in[1], n, s) }
			case model.Dense:
				dx.run = func(dst []float32, in [][]float32) {
					kernel.DenseGradInput(dst, in[0], in[1], n, l.out.C, l.in.Size())
				}
			}
			if grads[0], err = b.apply(dx, m, in[1]); err != nil {
				return nil, err
			}
		}
		return grads, nil
	}
}
