package device

import (
	"fmt"
	"slices"

	"github.com/logobeam/logobeam/model"
)

// network is a list of layers worked out for a device, with its parameters there.
type network struct {
	driver Driver
	memory memory
	input  model.Shape
	layers []layer
	exact  bool // products as in float32, not with factors in bfloat16
}

// layer is what a network knows about one layer.
type layer struct {
	model.Layer
	ins     []int
	in, out model.Shape // of one image
	window  model.Window
	act     uint64
	// concat is the layer that joins this one, if this one writes its stripe there itself, from a channel on; -1 if not.
	concat, from int
	weight, bias Ptr
}

// newNetwork works the network out and copies its parameters to the device.
func newNetwork(d Driver, net model.Network, params model.Params, exact bool) (*network, error) {
	if err := net.Check(params); err != nil {
		return nil, err
	}
	ins, err := net.Inputs()
	if err != nil {
		return nil, err
	}
	shapes, err := net.Shapes()
	if err != nil {
		return nil, err
	}
	n := &network{driver: d, memory: memory{driver: d}, input: net.Input, exact: exact}
	readers := make([]int, len(shapes))
	for i, l := range net.Layers {
		for _, j := range ins[i] {
			if j >= 0 {
				readers[j]++
			}
		}
		y := layer{Layer: l, ins: ins[i], in: n.shape(ins[i][0]), out: shapes[i], concat: -1}
		switch l.Act {
		case model.ReLU:
			y.act = 1
		case model.ReLU6:
			y.act = 2
		}
		switch l.Op {
		case model.Conv, model.Depthwise, model.MaxPool:
			if y.window, err = l.Window(y.in); err != nil {
				return nil, err
			}
		case model.Dense: // a convolution of one pixel
			y.in = model.Shape{H: 1, W: 1, C: y.in.Size()}
			y.window = model.Window{Kernel: 1, Stride: 1, OutH: 1, OutW: 1}
		}
		n.layers = append(n.layers, y)
	}
	for i, l := range n.layers {
		if l.Op != model.Concat {
			continue
		}
		from := 0
		for _, j := range l.ins {
			if j >= 0 && n.layers[j].Op == model.Conv && readers[j] == 1 {
				n.layers[j].concat, n.layers[j].from = i, from
			}
			from += n.shape(j).C
		}
	}
	list, err := net.Parameters()
	if err != nil {
		return nil, err
	}
	for i, p := range list {
		at, err := n.memory.upload(params[p.Name])
		if err != nil {
			n.memory.close()
			return nil, fmt.Errorf("device: parameter %s: %w", p.Name, err)
		}
		if l := &n.layers[p.Layer]; i%2 == 0 {
			l.weight = at
		} else {
			l.bias = at
		}
	}
	return n, nil
}

// shape is the shape of a layer's output, or of the network's input for -1.
func (n *network) shape(i int) model.Shape {
	if i < 0 {
		return n.input
	}
	return n.layers[i].out
}

// root is the layer whose memory the output of layer i lies in.
func (n *network) root(i int) int {
	if c := n.layers[i].concat; c >= 0 {
		return c
	}
	return i
}

// place is where the output of layer i lies, given the memory of its root.
func (n *network) place(i int, root Ptr) Ptr {
	if l := &n.layers[i]; l.concat >= 0 {
		return root + Ptr(4*l.from)
	}
	return root
}

// pitch is how many values lie between a pixel of the layer's output and the next.
func (n *network) pitch(i int) int { return n.layers[n.root(i)].out.C }

// step is a launch for so many images, or a launch of no kernel if there is nothing to do for them.
type step func(images int) Launch

// threads is a launch of one thread for each of count values.
func threads(kernel string, count int, args ...uint64) Launch {
	return Launch{kernel, [3]int{ceil(count, 256), 1, 1}, [3]int{256, 1, 1}, args}
}

func ceil(a, b int) int { return (a + b - 1) / b }

// shapeArgs are the arguments SHAPE of the layer's kernels.
func (l *layer) shapeArgs(images int) []uint64 {
	w := l.window
	args := make([]uint64, 0, 16)
	for _, v := range []int{images, l.in.H, l.in.W, l.in.C, w.OutH, w.OutW, l.out.C, w.Kernel, w.Stride, w.PadTop, w.PadLeft} {
		args = append(args, uint64(v))
	}
	return args
}

// product is a launch of one of the kernels that multiply matrices, for rows x cols sums, as many times as depth says.
func (n *network) product(kernel string, l *layer, rows, cols, depth int, args ...uint64) Launch {
	tile, suffix := n.tile(l, rows, cols)
	return Launch{kernel + suffix, [3]int{ceil(rows, tile) * ceil(cols, tile), 1, depth}, [3]int{2 * tile, 1, 1}, args}
}

// fill is how many blocks keep a large device busy. What is cut up, is cut into so many: a number of its own, not the device's, so
// that sums have one order everywhere.
const fill = 256

// tile is the tile of the kernels for rows x cols sums, and their suffix.
func (n *network) tile(l *layer, rows, cols int) (tile int, suffix string) {
	switch {
	case n.exact || l.Op == model.Dense && l.in.C*l.out.C < exactDense:
		return 64, "_64x3"
	case min(rows, cols) > 64 && ceil(rows, 128)*ceil(cols, 128) >= fill/2:
		return 128, "_128"
	}
	return 64, "_64"
}

// exactDense is the number of weights below which a dense layer is multiplied as in float32, as model/train does: it costs
// nothing there, and the logits come from it.
const exactDense = 1 << 20

// forward appends the launches of layer i, which reads and writes where at says.
func (n *network) forward(steps []step, i int, at func(layer int) Ptr) []step {
	l := &n.layers[i]
	dst, src, pitch := at(i), at(l.ins[0]), uint64(n.pitch(i))
	args := func(images int, more ...uint64) []uint64 {
		all := []uint64{uint64(dst), uint64(src)}
		if l.weight != 0 {
			all = append(all, uint64(l.weight), uint64(l.bias))
		}
		return append(append(all, l.shapeArgs(images)...), more...)
	}
	switch l.Op {
	case model.Conv, model.Dense:
		return append(steps, func(images int) Launch {
			return n.product("conv_forward", l, images*l.window.OutH*l.window.OutW, l.out.C, 1, args(images, pitch, l.act)...)
		})
	case model.Depthwise:
		return append(steps, func(images int) Launch {
			return threads("depthwise_forward", images*l.out.H*l.out.W*ceil(l.out.C, 4), args(images, l.act)...)
		})
	case model.MaxPool:
		return append(steps, func(images int) Launch { return threads("max_pool", images*l.out.Size(), args(images)...) })
	case model.GlobalAvgPool:
		return append(steps, func(images int) Launch {
			return threads("global_avg_pool", images*l.in.C, uint64(dst), uint64(src), uint64(images), uint64(l.in.H*l.in.W), uint64(l.in.C))
		})
	case model.Add:
		for k, j := range l.ins[1:] {
			act := uint64(0)
			if k == len(l.ins)-2 {
				act = l.act
			}
			steps = append(steps, n.add(dst, src, at(j), l.out.Size(), act))
			src = dst
		}
		return steps
	case model.Concat:
		from := 0
		for _, j := range l.ins {
			c := n.shape(j).C
			if j < 0 || n.layers[j].concat != i {
				steps = append(steps, columns(dst+Ptr(4*from), at(j), l.out.H*l.out.W, c, l.out.C, c))
			}
			from += c
		}
		return steps
	}
	panic("device: unknown operation " + string(l.Op)) // Shapes knows no others
}

// add is dst = act(a + b) for so many values of an image.
func (n *network) add(dst, a, b Ptr, values int, act uint64) step {
	return func(images int) Launch {
		return threads("add", images*values, uint64(dst), uint64(a), uint64(b), uint64(images*values), act)
	}
}

// columns copies c channels of so many pixels of an image, which lie a pitch apart.
func columns(dst, src Ptr, pixels, c, to, from int) step {
	return func(images int) Launch {
		return threads("copy_columns", images*pixels*c, uint64(dst), uint64(src), uint64(images*pixels), uint64(c), uint64(to), uint64(from))
	}
}

// launch puts the steps on a stream.
func launch(d Driver, steps []step, images int, s Stream) error {
	for _, step := range steps {
		if l := step(images); l.Kernel != "" {
			if err := d.Launch(l, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// memory is what is taken of a device's, to be given back at once.
type memory struct {
	driver Driver
	all    []Ptr
	free   []piece
}

// piece is memory of so many bytes.
type piece struct {
	at    Ptr
	bytes int
}

// take gives memory for so many float32 values that nobody uses any more, or new.
func (m *memory) take(values int) (piece, error) {
	bytes, best := 4*values, -1
	for i, p := range m.free {
		if p.bytes >= bytes && (best < 0 || p.bytes < m.free[best].bytes) {
			best = i
		}
	}
	if best >= 0 {
		p := m.free[best]
		m.free = slices.Delete(m.free, best, best+1)
		return p, nil
	}
	at, err := m.driver.Alloc(bytes)
	if err != nil {
		return piece{}, err
	}
	m.all = append(m.all, at)
	return piece{at, bytes}, nil
}

// keep ends the reuse of what is free: steps that have been made use it, each in its turn.
func (m *memory) keep() { m.free = nil }

// give makes memory free for others.
func (m *memory) give(p piece) { m.free = append(m.free, p) }

// upload takes memory for values and copies them there.
func (m *memory) upload(values []float32) (Ptr, error) {
	p, err := m.take(len(values))
	if err != nil {
		return 0, err
	}
	return p.at, m.driver.CopyIn(p.at, Bytes(values), compute)
}

func (m *memory) close() {
	for _, p := range m.all {
		m.driver.Free(p) // an error would be an earlier one's
	}
	m.all, m.free = nil, nil
}
