// Package model describes networks that recognise brands: what layers they have, what parameters, and how
// both are kept in files.
//
// A network is a list of layers. Each layer reads the one before it, or the ones it names:
//
//	net := model.ArticleCNN(28)
//	shapes, err := net.Shapes()     // of every layer's output
//	params, err := model.Init(net, 7) // Xavier or He, from a seed
//
// Activations are NHWC ([n][y][x][channel]) float32 everywhere; a dense layer reads its input flattened in that
// order. Package infer runs a network, package train teaches it; package kernel does the arithmetic for both.
package model

import (
	"fmt"
	"maps"
	"slices"
)

// Op is the kind of a layer.
type Op string

// The operations. A dense layer is a convolution whose kernel covers its whole input, and is computed as one.
const (
	Conv          Op = "conv"          // convolution; weights [Out][Kernel][Kernel][in]
	Depthwise     Op = "depthwise"     // convolution of each channel by itself; weights [Kernel][Kernel][in]
	Dense         Op = "dense"         // all inputs to each of Out outputs; weights [Out][inputs]; output 1 x 1 x Out
	MaxPool       Op = "maxpool"       // largest of each Kernel x Kernel window; padding never wins
	GlobalAvgPool Op = "globalavgpool" // mean over all pixels; output 1 x 1 x channels
	Add           Op = "add"           // sum of two or more inputs of one shape
	Concat        Op = "concat"        // inputs of one height and width joined along channels
)

// Activation is the function a layer applies to its outputs.
type Activation string

// The activations.
const (
	Linear Activation = ""      // x
	ReLU   Activation = "relu"  // max(x, 0)
	ReLU6  Activation = "relu6" // min(max(x, 0), 6)
)

// Padding says how many zero rows and columns lie around a convolution's or a pool's input.
type Padding string

// The paddings. Besides these, Layer.Pad gives a number for all four sides.
const (
	Explicit Padding = ""     // Layer.Pad on all four sides
	Same     Padding = "same" // TensorFlow's SAME: ceil(in/stride) outputs, the odd pixel at the bottom and right
	CeilMode Padding = "ceil" // Layer.Pad on all four sides, and a last window that may hang over the edge (Caffe's pools)
)

// Layer is one step of a network. Fields that do not concern its Op are zero.
type Layer struct {
	// Name is unique in the network. Parameters of the layer are Name+".weight" and Name+".bias".
	Name string `json:"name"`
	Op   Op     `json:"op"`
	// From names the layers whose outputs this one reads, or Input. Empty means the layer before it.
	From []string `json:"from,omitempty"`
	// Out is the number of output channels of conv and dense.
	Out int `json:"out,omitempty"`
	// Kernel and Stride are in pixels, the same for both axes. A stride of 0 is 1.
	Kernel  int        `json:"kernel,omitempty"`
	Stride  int        `json:"stride,omitempty"`
	Pad     int        `json:"pad,omitempty"`
	Padding Padding    `json:"padding,omitempty"`
	Act     Activation `json:"act,omitempty"`
	// Norm names the batch normalisation that follows the layer in the files it is imported from, and NormEps its epsilon.
	// Its statistics are folded into weight and bias on import, so no layer of it is left.
	Norm    string  `json:"norm,omitempty"`
	NormEps float64 `json:"norm_eps,omitempty"`
	// Zero asks Init for zero weights, as for the last convolution of a residual branch (Zhang et al., Fixup, 2019), so
	// that a deep network without normalisation starts as the identity and can be trained from nothing.
	Zero bool `json:"zero,omitempty"`
}

// Input is the name by which a layer reads the network's input.
const Input = "input"

// Shape is the height, width and channels of one image's activations.
type Shape struct {
	H, W, C int
}

// Size is the number of values of the shape.
func (s Shape) Size() int { return s.H * s.W * s.C }

func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.H, s.W, s.C) }

// Network is a list of layers in an order in which they can run. The last one's output, flattened, are the logits.
type Network struct {
	Arch   string  `json:"architecture"`
	Input  Shape   `json:"input"`
	Layers []Layer `json:"layers"`
}

// Window is where a convolution or pool reads: kernel, stride and the padding before the first row and column.
type Window struct {
	Kernel, Stride, PadTop, PadLeft int
	OutH, OutW                      int
}

// Window resolves the layer's padding for an input of shape in.
func (l Layer) Window(in Shape) (Window, error) {
	w := Window{Kernel: l.Kernel, Stride: max(l.Stride, 1), PadTop: l.Pad, PadLeft: l.Pad}
	if l.Kernel < 1 || l.Kernel > maxKernel || l.Pad < 0 || l.Pad >= l.Kernel || l.Stride < 0 || l.Stride > maxSide {
		return w, fmt.Errorf("model: layer %s: kernel %d, stride %d, pad %d: want 1 <= kernel <= %d, 0 <= stride <= %d, 0 <= pad < kernel",
			l.Name, l.Kernel, l.Stride, l.Pad, maxKernel, maxSide)
	}
	switch l.Padding {
	case Explicit, Same, CeilMode:
	default:
		return w, fmt.Errorf("model: layer %s: unknown padding %q", l.Name, l.Padding)
	}
	out := func(n int) (outs, before int) {
		switch l.Padding {
		case Same:
			outs = (n + w.Stride - 1) / w.Stride
			return outs, max((outs-1)*w.Stride+l.Kernel-n, 0) / 2
		case CeilMode:
			outs = (n+2*l.Pad-l.Kernel+w.Stride-1)/w.Stride + 1
			if (outs-1)*w.Stride >= n+l.Pad { // a window must begin inside the input or its left padding
				outs--
			}
			return outs, l.Pad
		default:
			return (n+2*l.Pad-l.Kernel)/w.Stride + 1, l.Pad
		}
	}
	w.OutH, w.PadTop = out(in.H)
	w.OutW, w.PadLeft = out(in.W)
	if in.H+2*l.Pad < l.Kernel && l.Padding != Same || in.W+2*l.Pad < l.Kernel && l.Padding != Same || w.OutH < 1 || w.OutW < 1 {
		return w, fmt.Errorf("model: layer %s: a kernel of %d does not fit an input of %v; use a larger input", l.Name, l.Kernel, in)
	}
	return w, nil
}

// Limits on what a model file can ask for. They keep every product of sizes inside 64 bits and are far above any
// network that looks at photographs.
const (
	maxLayers   = 1 << 14
	maxSide     = 1 << 14
	maxChannels = 1 << 20
	maxKernel   = 1 << 9
	maxValues   = 1 << 30 // in one activation of one image, or in one parameter
)

// Inputs resolves From: for every layer the indices of the layers it reads, -1 for the network's input.
func (n Network) Inputs() ([][]int, error) {
	index := map[string]int{Input: -1}
	ins := make([][]int, len(n.Layers))
	for i, l := range n.Layers {
		if l.Name == "" {
			return nil, fmt.Errorf("model: %s: layer %d has no name", n.Arch, i)
		}
		if _, dup := index[l.Name]; dup {
			return nil, fmt.Errorf("model: %s: two layers are named %q", n.Arch, l.Name)
		}
		if len(l.From) == 0 {
			ins[i] = []int{i - 1}
		}
		for _, name := range l.From {
			j, ok := index[name]
			if !ok {
				return nil, fmt.Errorf("model: %s: layer %s reads %q, which no layer before it is named", n.Arch, l.Name, name)
			}
			ins[i] = append(ins[i], j)
		}
		index[l.Name] = i
	}
	return ins, nil
}

// Shapes gives the shape of every layer's output, in the order of the layers.
func (n Network) Shapes() ([]Shape, error) {
	ins, err := n.Inputs()
	if err != nil {
		return nil, err
	}
	if in := n.Input; in.H < 1 || in.W < 1 || in.C < 1 || in.H > maxSide || in.W > maxSide || in.C > maxChannels || in.Size() > maxValues ||
		len(n.Layers) == 0 || len(n.Layers) > maxLayers {
		return nil, fmt.Errorf("model: %s: an input of %v and %d layers make no network", n.Arch, n.Input, len(n.Layers))
	}
	shapes := make([]Shape, len(n.Layers))
	at := func(i int) Shape {
		if i < 0 {
			return n.Input
		}
		return shapes[i]
	}
	for i, l := range n.Layers {
		in := at(ins[i][0])
		if (l.Op == Add || l.Op == Concat) != (len(ins[i]) > 1) {
			return nil, fmt.Errorf("model: layer %s: %s cannot read %d layers", l.Name, l.Op, len(ins[i]))
		}
		switch l.Act {
		case Linear:
		case ReLU, ReLU6:
			if l.Op == MaxPool || l.Op == GlobalAvgPool || l.Op == Concat {
				return nil, fmt.Errorf("model: layer %s: %s has no activation of its own; give %s to the layer before it", l.Name, l.Op, l.Act)
			}
		default:
			return nil, fmt.Errorf("model: layer %s: unknown activation %q", l.Name, l.Act)
		}
		switch l.Op {
		case Conv, Depthwise, MaxPool:
			w, err := l.Window(in)
			if err != nil {
				return nil, err
			}
			shapes[i] = Shape{w.OutH, w.OutW, in.C}
			if l.Op == Conv {
				shapes[i].C = l.Out
			}
		case Dense:
			shapes[i] = Shape{1, 1, l.Out}
		case GlobalAvgPool:
			shapes[i] = Shape{1, 1, in.C}
		case Add:
			for _, j := range ins[i][1:] {
				if at(j) != in {
					return nil, fmt.Errorf("model: layer %s adds %v and %v", l.Name, in, at(j))
				}
			}
			shapes[i] = in
		case Concat:
			shapes[i] = Shape{in.H, in.W, 0}
			for _, j := range ins[i] {
				if s := at(j); s.H != in.H || s.W != in.W {
					return nil, fmt.Errorf("model: layer %s joins %v and %v", l.Name, in, s)
				}
				shapes[i].C += at(j).C
			}
		default:
			return nil, fmt.Errorf("model: layer %s: unknown operation %q", l.Name, l.Op)
		}
		if c := shapes[i].C; c < 1 || c > maxChannels {
			return nil, fmt.Errorf("model: layer %s has %d output channels; want 1 to %d", l.Name, c, maxChannels)
		}
		if shapes[i].Size() > maxValues {
			return nil, fmt.Errorf("model: layer %s has an output of %v; at most %d values can be held", l.Name, shapes[i], maxValues)
		}
	}
	return shapes, nil
}

// Param is one parameter tensor: its name and its shape as it lies in memory.
type Param struct {
	Name  string
	Shape []int
	Layer int // index of the layer that owns it
}

// Len is the number of values of the parameter.
func (p Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Parameters lists the network's parameters in the order of its layers, weight before bias. Shapes in memory:
// conv [out][kernel][kernel][in], depthwise [kernel][kernel][channels], dense [out][inH][inW][inC], bias [out].
func (n Network) Parameters() ([]Param, error) {
	ins, err := n.Inputs()
	if err != nil {
		return nil, err
	}
	shapes, err := n.Shapes()
	if err != nil {
		return nil, err
	}
	var ps []Param
	for i, l := range n.Layers {
		in := n.Input
		if j := ins[i][0]; j >= 0 {
			in = shapes[j]
		}
		var w []int
		switch l.Op {
		case Conv:
			w = []int{l.Out, l.Kernel, l.Kernel, in.C}
		case Depthwise:
			w = []int{l.Kernel, l.Kernel, in.C}
		case Dense:
			w = []int{l.Out, in.H, in.W, in.C}
		default:
			continue
		}
		weight := Param{l.Name + ".weight", w, i}
		if weight.Len() > maxValues {
			return nil, fmt.Errorf("model: layer %s has weights of %v; at most %d values can be held", l.Name, w, maxValues)
		}
		ps = append(ps, weight, Param{l.Name + ".bias", []int{shapes[i].C}, i})
	}
	return ps, nil
}

// Resized is the network for an input of size x size, with the same parameters. It is an error if some layer's parameters
// depend on the size, as those of a dense layer do that sees every pixel apart.
func (n Network) Resized(size int) (Network, error) {
	before, err := n.Parameters()
	if err != nil {
		return n, err
	}
	r := n
	r.Input.H, r.Input.W = size, size
	after, err := r.Parameters()
	if err != nil {
		return n, err
	}
	for i, p := range after {
		if !slices.Equal(p.Shape, before[i].Shape) {
			return n, fmt.Errorf("model: %s takes no other input than %v: layer %s sees every place apart", n.Arch, n.Input, n.Layers[p.Layer].Name)
		}
	}
	return r, nil
}

// Classes is the number of logits, 0 for a network whose shapes do not fit.
func (n Network) Classes() int {
	shapes, err := n.Shapes()
	if err != nil {
		return 0
	}
	return shapes[len(shapes)-1].Size()
}

// Head is the index of the last layer that has parameters: the one a new set of classes replaces. -1 if there is none.
func (n Network) Head() int {
	for i := len(n.Layers) - 1; i >= 0; i-- {
		switch n.Layers[i].Op {
		case Conv, Depthwise, Dense:
			return i
		}
	}
	return -1
}

// Params are a network's parameters by name, each laid out as Network.Parameters says.
type Params map[string][]float32

// finite tells whether all values are numbers, and where the first is that is not.
func finite(values []float32) (at int, ok bool) {
	for i, v := range values {
		if v-v != 0 { // infinity less itself is not a number either
			return i, false
		}
	}
	return 0, true
}

// Check says what keeps p from being the parameters of n: one missing, of another length, infinite or not a number, or
// unknown to the network.
func (n Network) Check(p Params) error {
	want, err := n.Parameters()
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(want))
	for _, w := range want {
		v, ok := p[w.Name]
		if !ok {
			return fmt.Errorf("model: %s: parameter %s is missing", n.Arch, w.Name)
		}
		if len(v) != w.Len() {
			return fmt.Errorf("model: %s: parameter %s has %d values; want %v, which is %d", n.Arch, w.Name, len(v), w.Shape, w.Len())
		}
		if i, ok := finite(v); !ok {
			return fmt.Errorf("model: %s: parameter %s holds %g at %d; its training has diverged", n.Arch, w.Name, v[i], i)
		}
		known[w.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if !known[name] {
			return fmt.Errorf("model: %s has no parameter %s", n.Arch, name)
		}
	}
	return nil
}
