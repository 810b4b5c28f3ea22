package onnx

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/onnx/internal/onnxpb"
)

// Imported is what an ONNX file holds.
type Imported struct {
	Network  model.Network
	Params   model.Params
	Producer string // name and version of the program that wrote it
	Nodes    int    // of the graph
	// Classes and Transforms are there in what Export wrote: the names of the outputs, and the steps from a file to the
	// input.
	Classes    []string
	Transforms json.RawMessage
}

// Limits on what is read, far above any network that looks at photographs.
const (
	maxNodes    = 1 << 14
	maxRank     = 8
	maxChannels = 1 << 17
	maxName     = 200     // bytes of a layer's
	maxMade     = 1 << 26 // values of weights that are not in the file, as those that pick channels, above as many as it could hold
	minOpset    = 7       // of the default operators; before, shapes were matched by other rules
)

// Import reads an ONNX file. size is the height and width of its input if the file leaves them open, and 0 otherwise.
//
// The graph has to take one batch of float images of three channels, [n][3][h][w] or [n][h][w][3], and to give one list
// of logits, or of probabilities by a softmax, for each; it may consist of Operators. Batch normalisations and other
// factors and summands of channels are folded into the weights before them; Flatten, Reshape, Transpose, Split and the
// like cost nothing, as the weights behind them are put into another order. Where that is not possible, a convolution of
// 1 x 1 with ones and zeros picks the channels. A convolution in groups becomes one of all channels with zeros among its
// weights, which takes as many times longer.
//
// Errors name the node. Whatever the file holds, Import takes no more memory than a few times its size, and 1 GiB.
func Import(data []byte, size int) (*Imported, error) {
	var file onnxpb.ModelProto
	if err := proto.Unmarshal(data, &file); err != nil || file.Graph == nil {
		return nil, errors.New("onnx: not an ONNX file, or a damaged one")
	}
	for _, set := range file.OpsetImport {
		if d := set.GetDomain(); (d == "" || d == "ai.onnx") && set.GetVersion() < minOpset {
			return nil, fmt.Errorf("onnx: it uses opset %d: want %d or later; export it anew", set.GetVersion(), minOpset)
		}
	}
	if n := len(file.Graph.Node); n > maxNodes {
		return nil, fmt.Errorf("onnx: the graph has %d nodes; at most %d are read", n, maxNodes)
	}
	g := newGraph(maxMade + len(data)/2) // weights in a file have two bytes at least
	if err := g.read(file.Graph, size); err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	im := &Imported{Network: g.net, Producer: strings.TrimSpace(file.GetProducerName() + " " + file.GetProducerVersion()), Nodes: len(file.Graph.Node)}
	im.Network.Arch = "onnx"
	var err error
	if im.Params, err = g.net.FromTensors(g.tensors); err != nil {
		return nil, fmt.Errorf("onnx: %w", err)
	}
	for i := range im.Network.Layers { // they are folded in
		im.Network.Layers[i].Norm, im.Network.Layers[i].NormEps = "", 0
	}
	return im, im.describe(file.MetadataProps)
}

// describe takes what Export says of a model.
func (im *Imported) describe(properties []*onnxpb.StringStringEntryProto) error {
	known := map[string]string{}
	for _, p := range properties {
		known[p.GetKey()] = p.GetValue()
	}
	if known[keyFormat] == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(known[keyClasses]), &im.Classes); err != nil {
		return fmt.Errorf("onnx: its property %s: %w", keyClasses, err)
	}
	im.Network.Arch, im.Transforms = known[keyArchitecture], json.RawMessage(known[keyTransforms])
	return nil
}

// graph is a network while it is read.
type graph struct {
	net     model.Network
	shapes  []model.Shape           // of the layers
	tensors map[string]model.Tensor // by the names of parameters, in PyTorch's layouts
	names   map[string]int          // that are taken, with the last number behind each
	made    int                     // values of weights that are not in the file, and channels that are picked
	params  int                     // values of the layers' parameters: several layers may have the same in the file
	most    int                     // of made, and of params

	uses         map[string]int // how many nodes read a value
	initializers map[string]*onnxpb.TensorProto
	constants    map[string]*constant
	views        map[string]view
	batch        int // the batch as shapes of the graph give it
}

func newGraph(most int) *graph {
	return &graph{
		most: most, uses: map[string]int{}, initializers: map[string]*onnxpb.TensorProto{}, constants: map[string]*constant{}, views: map[string]view{},
		names: map[string]int{model.Input: 1}, tensors: map[string]model.Tensor{},
	}
}

// openBatch stands for the size of a batch where the file leaves it open: a prime that no other size can be taken for.
const openBatch = 1<<31 - 1

func (g *graph) read(p *onnxpb.GraphProto, size int) error {
	for _, t := range p.Initializer {
		g.initializers[t.GetName()] = t
	}
	if len(p.SparseInitializer) > 0 {
		return errors.New("it has sparse weights, which are not supported")
	}
	if err := g.input(p, size); err != nil {
		return err
	}
	if len(p.Output) != 1 {
		return fmt.Errorf("the graph has %d outputs: want one, the logits or the probabilities", len(p.Output))
	}
	needed := g.needed(p)
	for i, n := range p.Node {
		if !needed[i] {
			continue
		}
		n := newNode(n)
		if err := g.node(n); err != nil {
			return fmt.Errorf("node %q (%s): %w", n.name(), n.GetOpType(), err)
		}
	}
	return g.output(p.Output[0].GetName())
}

// name is that of a node, or of what it gives where it has none.
func (n *node) name() string {
	if n.GetName() == "" && len(n.Output) > 0 {
		return n.Output[0]
	}
	return n.GetName()
}

// needed finds the nodes that the output depends on, and counts who reads what.
func (g *graph) needed(p *onnxpb.GraphProto) []bool {
	needed, wanted := make([]bool, len(p.Node)), map[string]bool{}
	for _, o := range p.Output {
		wanted[o.GetName()] = true
		g.uses[o.GetName()]++
	}
	for i := len(p.Node) - 1; i >= 0; i-- { // a node stands behind all that it reads
		for _, o := range p.Node[i].Output {
			needed[i] = needed[i] || o != "" && wanted[o]
		}
		if needed[i] {
			for _, in := range p.Node[i].Input {
				wanted[in] = true
				g.uses[in]++
			}
		}
	}
	return needed
}

// input finds the one input that is no constant.
func (g *graph) input(p *onnxpb.GraphProto, size int) error {
	var in *onnxpb.ValueInfoProto
	for _, i := range p.Input {
		if g.initializers[i.GetName()] != nil {
			continue
		}
		if in != nil {
			return fmt.Errorf("the graph has the inputs %q and %q: want one, the image", in.GetName(), i.GetName())
		}
		in = i
	}
	if in == nil {
		return errors.New("the graph has no input")
	}
	t := in.GetType().GetTensorType()
	if kind := onnxpb.TensorProto_DataType(t.GetElemType()); !slices.Contains(floating, kind) {
		return fmt.Errorf("the input %q is of %v: want float", in.GetName(), kind)
	}
	dims := t.GetShape().GetDim()
	if len(dims) != 4 {
		return fmt.Errorf("the input %q has %d dimensions: want 4, [n][3][height][width]", in.GetName(), len(dims))
	}
	if g.batch = int(min(dims[0].GetDimValue(), openBatch)); g.batch < 1 {
		g.batch = openBatch
	}
	height, width, order := 2, 3, []axis{channel, row, column}
	if dims[1].GetDimValue() != 3 && dims[3].GetDimValue() == 3 {
		height, width, order = 1, 2, []axis{row, column, channel}
	} else if dims[1].GetDimValue() != 3 && dims[1].GetDimValue() != 0 {
		return fmt.Errorf("the input %q has %d channels: want 3", in.GetName(), dims[1].GetDimValue())
	}
	side := func(i int) int {
		if v := dims[i].GetDimValue(); v > 0 {
			return int(min(v, maxValues))
		}
		return size
	}
	g.net.Input = model.Shape{H: side(height), W: side(width), C: 3}
	switch {
	case g.net.Input.H < 1 || g.net.Input.W < 1:
		return fmt.Errorf("the input %q has no height or width of its own: say which with --size", in.GetName())
	case size > 0 && (g.net.Input.H != size || g.net.Input.W != size):
		return fmt.Errorf("the input %q is %d x %d and takes no other size", in.GetName(), g.net.Input.W, g.net.Input.H)
	case g.net.Input.H > maxValues/g.net.Input.W/3:
		return fmt.Errorf("the input %q is %d x %d: that is too large", in.GetName(), g.net.Input.W, g.net.Input.H)
	}
	v := view{layer: -1}
	for _, a := range order {
		v.dims = append(v.dims, whole(a, map[axis]int{channel: 3, row: g.net.Input.H, column: g.net.Input.W}[a]))
	}
	g.views[in.GetName()] = v
	return nil
}

// output wants a value to be the logits, as the last layer's output.
func (g *graph) output(name string) error {
	v, ok := g.views[name]
	if !ok {
		return fmt.Errorf("the output %q does not depend on the input", name)
	}
	if v.pads != [4]int{} {
		return fmt.Errorf("the output %q is padded", name)
	}
	if s := g.shape(v.layer); s.H != 1 || s.W != 1 {
		return fmt.Errorf("the output %q is of images of %v: want one number for each class", name, s)
	}
	classes := g.channelsOf(v)
	if !inOrder(classes, g.shape(v.layer).C) || v.layer != len(g.net.Layers)-1 {
		v.pick, v.dims = classes, [][]atom{whole(channel, len(classes))}
		if _, err := g.materialise(v, "output"); err != nil {
			return err
		}
	}
	return nil
}

// channelsOf are the layer's channels in the order of all of a view's values, for one of a single pixel.
func (g *graph) channelsOf(v view) []int { return v.channels(slices.Concat(v.dims...)) }

// shape is that of a layer's output, or of the input.
func (g *graph) shape(layer int) model.Shape {
	if layer < 0 {
		return g.net.Input
	}
	return g.shapes[layer]
}

// constant gives a value that is known, nil if name is not one.
func (g *graph) constant(name string) (*constant, error) {
	if c := g.constants[name]; c != nil {
		return c, nil
	}
	t := g.initializers[name]
	if t == nil {
		return nil, nil
	}
	c, err := decode(t)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	g.constants[name] = &c
	return &c, nil
}

// node reads one node.
func (g *graph) node(n *node) error {
	if d := n.GetDomain(); d != "" && d != "ai.onnx" {
		return fmt.Errorf("operators of %s are not supported", d)
	}
	op := n.GetOpType()
	handle, ok := operators[op]
	if !ok {
		return fmt.Errorf("the operator is not supported; supported are %s", strings.Join(Operators(), ", "))
	}
	if len(n.Output) == 0 {
		return errors.New("it has no output")
	}
	for _, extra := range n.Output[1:] {
		if op != "Split" && extra != "" && g.uses[extra] > 0 {
			return fmt.Errorf("its output %q is read: only the first is supported", extra)
		}
	}
	images := false
	n.constants, n.views = make([]*constant, len(n.Input)), make([]*view, len(n.Input))
	for i, name := range n.Input {
		if name == "" {
			continue
		}
		v, ok := g.views[name]
		if !ok {
			var err error
			if n.constants[i], err = g.constant(name); err != nil {
				return err
			}
			if n.constants[i] == nil {
				return fmt.Errorf("it reads %q, which no node before it gives", name)
			}
			continue
		}
		if v.pads != [4]int{} && !slices.Contains([]string{"Conv", "MaxPool", "AveragePool"}, op) {
			return errors.New("it reads what a Pad gives: want a convolution or a pool there")
		}
		if v.probabilities && !slices.Contains([]string{"Identity", "Reshape", "Flatten", "Squeeze", "Cast", "Dropout"}, op) {
			return errors.New("it reads what a Softmax gives, which has to be the last")
		}
		v.shared = v.shared || g.uses[name] > 1
		images, n.views[i] = true, &v
	}
	if op == "Shape" || op == "Constant" || !images {
		c, err := g.known(op, n)
		if err != nil {
			return err
		}
		if len(c.shape) > maxRank {
			return fmt.Errorf("its output has %d dimensions", len(c.shape))
		}
		g.constants[n.Output[0]] = &c
		return nil
	}
	if handle == nil {
		return errors.New("it is supported on constants, not on images")
	}
	outs, err := handle(g, n)
	if err != nil {
		return err
	}
	for i, v := range outs {
		if len(v.dims) > maxRank {
			return fmt.Errorf("its output has %d dimensions", 1+len(v.dims))
		}
		if err := g.hold(2 * len(v.pick)); err != nil { // of eight bytes
			return err
		}
		g.views[n.Output[i]] = v
	}
	return nil
}

// known works out a node whose output does not depend on the values of images.
func (g *graph) known(op string, n *node) (constant, error) {
	switch op {
	case "Constant":
		for _, a := range n.Attribute {
			switch a.GetName() {
			case "value":
				if a.T != nil {
					return decode(a.T)
				}
			case "value_int":
				return constant{ints: []int64{a.GetI()}}, nil
			case "value_ints":
				return constant{shape: []int{len(a.Ints)}, ints: a.GetInts()}, nil
			case "value_float":
				return constant{floats: []float32{a.GetF()}}, nil
			case "value_floats":
				return constant{shape: []int{len(a.Floats)}, floats: a.GetFloats()}, nil
			}
		}
		return constant{}, errors.New("it has no value")
	case "Shape":
		v, err := n.image(0)
		if err != nil {
			return constant{}, err
		}
		c := constant{ints: []int64{int64(g.batch)}}
		for _, s := range v.sizes() {
			c.ints = append(c.ints, int64(s))
		}
		rank := int64(len(c.ints))
		bound := func(name string, otherwise int64) int64 {
			at := n.integer(name, otherwise)
			if at < 0 {
				at += rank
			}
			return min(max(at, 0), rank)
		}
		from, to := bound("start", 0), bound("end", rank)
		c.ints = c.ints[from:max(from, to)]
		c.shape = []int{len(c.ints)}
		return c, nil
	}
	in := make([]constant, 0, len(n.constants))
	for _, c := range n.constants {
		if c != nil {
			in = append(in, *c)
		}
	}
	if len(in) == 0 {
		return constant{}, errors.New("it reads nothing")
	}
	return g.fold(op, n, in)
}

// layerName makes a name that is not taken: that of the weights without their ending, as PyTorch gives both, or the
// node's.
func (g *graph) layerName(n *node, weights string) string {
	name, ok := strings.CutSuffix(weights, ".weight")
	if !ok || name == "" {
		name = strings.ReplaceAll(strings.Trim(n.name(), "/"), "/", ".")
	}
	return g.free(name)
}

// free makes a name that is not taken, and not long: one name may stand for many layers.
func (g *graph) free(name string) string {
	name = strings.ToValidUTF8(name[:min(len(name), maxName)], "?")
	free := name
	for g.names[free] > 0 || free == "" {
		g.names[name]++
		free = fmt.Sprintf("%s-%d", name, g.names[name])
	}
	g.names[free] = 1
	return free
}

// add puts a layer behind the others. Its own shape follows from those of the layers that it reads.
func (g *graph) add(l model.Layer, from ...int) (layer int, err error) {
	in := g.shape(from[0])
	out := in
	switch l.Op {
	case model.Add:
	case model.Concat:
		out.C = 0
		for _, f := range from {
			out.C += g.shape(f).C
		}
	default:
		alone := model.Network{Input: in, Layers: []model.Layer{l}}
		shapes, err := alone.Shapes()
		if err != nil {
			return 0, err
		}
		out = shapes[0]
		parameters, err := alone.Parameters()
		if err != nil {
			return 0, err
		}
		for _, p := range parameters {
			if g.params += p.Len(); g.params > g.most {
				return 0, errors.New("its weights and those of the nodes before are too many")
			}
		}
	}
	if out.C > maxChannels || out.H > maxValues/out.W/out.C {
		return 0, fmt.Errorf("an output of %v: that is too large", out)
	}
	if len(from) > 1 || from[0] != len(g.net.Layers)-1 {
		for _, f := range from {
			name := model.Input
			if f >= 0 {
				name = g.net.Layers[f].Name
			}
			l.From = append(l.From, name)
		}
	}
	g.net.Layers, g.shapes = append(g.net.Layers, l), append(g.shapes, out)
	return len(g.net.Layers) - 1, nil
}

// make gives zeros for weights that are not in the file.
func (g *graph) make(sizes ...int) ([]float32, error) {
	n := 1
	for _, s := range sizes {
		if n *= s; n > g.most {
			return nil, fmt.Errorf("weights of %v would have to be made for it: that is too many", sizes)
		}
	}
	if err := g.hold(n); err != nil {
		return nil, err
	}
	return make([]float32, n), nil
}

// hold counts values of four bytes that are not in the file.
func (g *graph) hold(n int) error {
	if g.made += n; g.made > g.most {
		return fmt.Errorf("%d values would have to be made for it, and many for nodes before: that is too many", n)
	}
	return nil
}

// bias sets a layer's bias, to zeros if values are left out.
func (g *graph) bias(layer string, channels int, values []float32) (err error) {
	if values == nil {
		values, err = g.make(channels)
	}
	g.tensors[layer+".bias"] = model.Tensor{Shape: []int{channels}, Data: values}
	return err
}

// view is all of a layer's output, [n][channel][row][column].
func (g *graph) view(layer int) view {
	s := g.shape(layer)
	return view{layer: layer, dims: [][]atom{whole(channel, s.C), whole(row, s.H), whole(column, s.W)}}
}

// picture wants a view to be [n][channel][row][column], of any channels in any order, which its pick says then.
func (g *graph) picture(v view) (view, error) {
	s := g.shape(v.layer)
	if len(v.dims) != 3 || !along(v.dims[0], channel) || !slices.Equal(v.dims[1], whole(row, s.H)) || !slices.Equal(v.dims[2], whole(column, s.W)) {
		return v, fmt.Errorf("it reads values of the shape %v that are no image: want [n][channel][row][column]", v.sizes())
	}
	return g.repick(v, 0), nil
}

// permuted reports whether a view has all channels of its layer, in any order.
func (g *graph) permuted(v view) bool {
	sorted := slices.Clone(v.pick)
	slices.Sort(sorted)
	return v.pick == nil || inOrder(sorted, g.shape(v.layer).C)
}

// holdsAll reports whether a dimension along the channels holds all that the view has.
func (g *graph) holdsAll(v view, dim int) bool {
	s := g.shape(v.layer)
	return size(v.dims[dim])*s.H*s.W == size(slices.Concat(v.dims...))
}

// repick has the pick of a view say the order of the channels in one of its dimensions, which holds them all.
func (g *graph) repick(v view, dim int) view {
	if c := g.shape(v.layer).C; v.pick == nil && slices.Equal(v.dims[dim], whole(channel, c)) {
		return v
	}
	v.pick = v.channels(v.dims[dim])
	v.dims = slices.Clone(v.dims)
	v.dims[dim] = whole(channel, len(v.pick))
	if inOrder(v.pick, g.shape(v.layer).C) {
		v.pick = nil
	}
	return v
}

// materialise makes a layer of a view's channels, so that they are all there and in their order: a convolution with a
// one for each.
func (g *graph) materialise(v view, name string) (view, error) {
	c := g.shape(v.layer).C
	if v.pick == nil {
		return v, nil
	}
	weights, err := g.make(len(v.pick), c)
	if err != nil {
		return v, err
	}
	for i, from := range v.pick {
		weights[i*c+from] = 1
	}
	l := model.Layer{Name: g.free(name + ".pick"), Op: model.Conv, Out: len(v.pick), Kernel: 1}
	g.tensors[l.Name+".weight"] = model.Tensor{Shape: []int{len(v.pick), c, 1, 1}, Data: weights}
	if err := g.bias(l.Name, len(v.pick), nil); err != nil {
		return v, err
	}
	if v.layer, err = g.add(l, v.layer); err != nil {
		return v, err
	}
	v.pick, v.shared = nil, false
	return v, nil
}

// window finds how a layer says where its windows lie. pads are above, left, below and right; ceil lets a last window
// hang over.
func (g *graph) window(l model.Layer, in model.Shape, pads [4]int, same, ceil bool) (model.Layer, model.Window, error) {
	outs := func(n, before, after int) int {
		if same {
			return (n + l.Stride - 1) / l.Stride
		}
		room := n + before + after - l.Kernel
		if room < 0 {
			return 0
		}
		if ceil {
			out := (room+l.Stride-1)/l.Stride + 1
			if (out-1)*l.Stride >= n+before { // the window would begin in the padding behind
				out--
			}
			return out
		}
		return room/l.Stride + 1
	}
	h, w := outs(in.H, pads[0], pads[2]), outs(in.W, pads[1], pads[3])
	for _, padding := range []model.Padding{model.Explicit, model.Same, model.CeilMode} {
		try := l
		if try.Padding = padding; padding != model.Same {
			try.Pad = pads[0]
		}
		got, err := try.Window(in)
		if err == nil && got.OutH == h && got.OutW == w && (same && padding == model.Same || !same && got.PadTop == pads[0] && got.PadLeft == pads[1]) {
			return try, got, nil
		}
	}
	return l, model.Window{}, fmt.Errorf("a kernel of %d, stride %d and pads of %v on %v are not supported: want the same padding on all sides, or TensorFlow's SAME",
		l.Kernel, l.Stride, pads, in)
}

// windowOf reads kernel, stride and padding of a convolution or pool.
func (g *graph) windowOf(n *node, l model.Layer, v view) (model.Layer, model.Window, error) {
	var w model.Window
	var err error
	if l.Stride, err = n.pair("strides", 1); err != nil {
		return l, w, err
	}
	if d, err := n.pair("dilations", 1); err != nil || d != 1 {
		return l, w, fmt.Errorf("dilations %v are not supported", n.list("dilations"))
	}
	pads, same := v.pads, false
	switch auto := n.text("auto_pad"); auto {
	case "", "NOTSET":
		list := n.list("pads")
		if len(list) != 0 && len(list) != 4 {
			return l, w, fmt.Errorf("pads %v: want four", list)
		}
		for i, p := range list {
			if p < 0 || p > maxValues {
				return l, w, fmt.Errorf("pads %v are not supported", list)
			}
			pads[i] += int(p)
		}
	case "VALID":
	case "SAME_UPPER":
		if same = true; pads != [4]int{} {
			return l, w, errors.New("a Pad before auto_pad SAME_UPPER is not supported")
		}
	default:
		return l, w, fmt.Errorf("auto_pad %s is not supported", auto)
	}
	l, w, err = g.window(l, g.shape(v.layer), pads, same, n.integer("ceil_mode", 0) != 0)
	if l.Stride == 1 { // as it is where nothing is said
		l.Stride = 0
	}
	return l, w, err
}

// conv reads a convolution.
func conv(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	if v, err = g.picture(v); err != nil {
		return nil, err
	}
	weight, err := n.weight(1, 4)
	if err != nil {
		return nil, err
	}
	out, each, k := weight.shape[0], weight.shape[1], weight.shape[2]
	if k != weight.shape[3] {
		return nil, fmt.Errorf("a kernel of %d x %d is not supported: want as many rows as columns", k, weight.shape[3])
	}
	bias, err := n.floats(2, out)
	if err != nil {
		return nil, err
	}
	in, groups := size(v.dims[0]), int(min(n.integer("group", 1), maxValues))
	if groups < 1 || in%groups != 0 || out%groups != 0 || each != in/groups {
		return nil, fmt.Errorf("weights of %v in %d groups do not fit %d channels", weight.shape, groups, in)
	}
	l := model.Layer{Op: model.Conv, Out: out, Kernel: k}
	depthwise := groups == in && out == in && in > 1
	if depthwise {
		l.Op, l.Out = model.Depthwise, 0
		if !g.permuted(v) {
			if v, err = g.materialise(v, n.name()); err != nil {
				return nil, err
			}
		}
		weight.floats, bias = arranged(weight.floats, v.pick), arranged(bias, v.pick)
	}
	if l, _, err = g.windowOf(n, l, v); err != nil {
		return nil, err
	}
	l.Name = g.layerName(n, n.Input[1])
	if all := g.shape(v.layer).C; !depthwise && (groups > 1 || v.pick != nil) {
		if weight, err = g.spread(weight, groups, all, v.pick); err != nil {
			return nil, err
		}
	}
	g.tensors[l.Name+".weight"] = model.Tensor{Shape: weight.shape, Data: weight.floats}
	if err := g.bias(l.Name, out, bias); err != nil {
		return nil, err
	}
	if depthwise {
		return g.pooled(v, l)
	}
	return g.layer(l, v.layer)
}

// arranged gives values of channels in the order of the graph that of the layer, all of which pick has.
func arranged(values []float32, pick []int) []float32 {
	if pick == nil || values == nil {
		return values
	}
	each := len(values) / len(pick)
	out := make([]float32, len(values))
	for i, to := range pick {
		copy(out[to*each:][:each], values[i*each:])
	}
	return out
}

// spread turns the weights of a convolution in groups into those of one that reads all channels of a layer, of which
// pick are the graph's, with zeros for those that it does not look at.
func (g *graph) spread(c constant, groups, all int, pick []int) (constant, error) {
	out, each, pixels := c.shape[0], c.shape[1], c.shape[2]*c.shape[3]
	weights, err := g.make(out, all, pixels)
	if err != nil {
		return c, err
	}
	for o := range out {
		for i := range each {
			from := o/(out/groups)*each + i
			if pick != nil {
				from = pick[from]
			}
			for p, w := range c.floats[(o*each+i)*pixels:][:pixels] {
				weights[(o*all+from)*pixels+p] += w // a channel may be picked twice
			}
		}
	}
	return constant{shape: []int{out, all, c.shape[2], c.shape[3]}, floats: weights}, nil
}

// layer adds a layer and gives all of its output.
func (g *graph) layer(l model.Layer, from ...int) ([]view, error) {
	at, err := g.add(l, from...)
	if err != nil {
		return nil, err
	}
	return []view{g.view(at)}, nil
}

// dense reads a product of all values of each image with a matrix: Gemm, or MatMul, behind which an Add has the bias.
func dense(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	weight, err := n.weight(1, 2)
	if err != nil {
		return nil, err
	}
	transposed := n.integer("transB", 0) != 0
	in, out := weight.shape[0], weight.shape[1]
	if transposed {
		in, out = out, in
	}
	if len(v.dims) != 1 || size(v.dims[0]) != in {
		return nil, fmt.Errorf("weights of %v do not fit values of the shape %v: want [n][%d]", weight.shape, v.sizes(), in)
	}
	if n.integer("transA", 0) != 0 {
		return nil, errors.New("transA is not supported")
	}
	var bias []float32
	if n.has(2) {
		if c := n.constants[2]; c == nil || c.floats == nil || len(c.floats) != out && len(c.floats) != 1 || len(c.shape) > 2 {
			return nil, fmt.Errorf("its bias has to be a constant of %d numbers", out)
		}
		bias = make([]float32, out)
		for i := range bias {
			bias[i] = n.constants[2].floats[i%len(n.constants[2].floats)] * n.number("beta", 1)
		}
	}
	// PyTorch's layout has the inputs in the order channel, row, column.
	s := g.shape(v.layer)
	where := make([]int, in)
	for i, p := range places(v.dims[0]) {
		if v.pick != nil {
			p.channel = v.pick[p.channel]
		}
		where[i] = (p.channel*s.H+p.row)*s.W + p.column
	}
	inputs := s.Size()
	if out > maxValues/inputs {
		return nil, fmt.Errorf("weights of %d x %d are too many", out, inputs)
	}
	values := weight.floats
	if alpha := n.number("alpha", 1); alpha != 1 || !transposed || !inOrder(where, inputs) {
		if values, err = g.make(out, inputs); err != nil {
			return nil, err
		}
		for o := range out {
			for i, to := range where {
				w := weight.floats
				if transposed {
					values[o*inputs+to] += alpha * w[o*in+i]
				} else {
					values[o*inputs+to] += alpha * w[i*out+o]
				}
			}
		}
	}
	l := model.Layer{Name: g.layerName(n, n.Input[1]), Op: model.Dense, Out: out}
	g.tensors[l.Name+".weight"] = model.Tensor{Shape: []int{out, inputs}, Data: values}
	if err := g.bias(l.Name, out, bias); err != nil {
		return nil, err
	}
	at, err := g.add(l, v.layer)
	return []view{{layer: at, dims: [][]atom{whole(channel, out)}}}, err
}

// maxPool reads a pool of largest values.
func maxPool(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	if v, err = g.picture(v); err != nil {
		return nil, err
	}
	l := model.Layer{Op: model.MaxPool}
	if l.Kernel, err = n.pair("kernel_shape", 0); err != nil {
		return nil, err
	}
	if v.pads != [4]int{} && (v.layer < 0 || g.net.Layers[v.layer].Act == model.Linear) {
		return nil, errors.New("a Pad with zeros before it is supported behind Relu and Clip alone, as zeros could be the largest")
	}
	if l, _, err = g.windowOf(n, l, v); err != nil {
		return nil, err
	}
	l.Name = g.layerName(n, "")
	return g.pooled(v, l)
}

// pooled adds a layer that treats all channels alike, so that a view's pick holds for its output.
func (g *graph) pooled(v view, l model.Layer) ([]view, error) {
	outs, err := g.layer(l, v.layer)
	if err == nil && v.pick != nil {
		outs[0].pick, outs[0].dims[0] = v.pick, v.dims[0]
	}
	return outs, err
}

// averagePool reads a pool of means, which is a convolution of each channel with weights that are alike.
func averagePool(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	if v, err = g.picture(v); err != nil {
		return nil, err
	}
	s := g.shape(v.layer)
	padded := v.pads != [4]int{}
	own := n.text("auto_pad") == "SAME_UPPER" || slices.ContainsFunc(n.list("pads"), func(p int64) bool { return p != 0 })
	if slices.Equal(n.list("kernel_shape"), []int64{int64(s.H), int64(s.W)}) && !padded && !own {
		return globalPool(g, n)
	}
	l := model.Layer{Op: model.Depthwise}
	if l.Kernel, err = n.pair("kernel_shape", 0); err != nil {
		return nil, err
	}
	l, w, err := g.windowOf(n, l, v)
	if err != nil {
		return nil, err
	}
	stride := max(l.Stride, 1)
	if l.Kernel == 1 && stride == 1 && !padded && !own {
		return []view{v}, nil
	}
	over := w.PadTop > 0 || w.PadLeft > 0 || (w.OutH-1)*stride+l.Kernel-w.PadTop > s.H || (w.OutW-1)*stride+l.Kernel-w.PadLeft > s.W
	if over && (own && n.integer("count_include_pad", 0) == 0 || n.integer("ceil_mode", 0) != 0) {
		return nil, errors.New("windows that hang over the edge are not supported: their means are of fewer values")
	}
	l.Name = g.layerName(n, "")
	weights, err := g.make(s.C, l.Kernel, l.Kernel)
	if err != nil {
		return nil, err
	}
	for i := range weights {
		weights[i] = float32(1 / float64(l.Kernel*l.Kernel))
	}
	g.tensors[l.Name+".weight"] = model.Tensor{Shape: []int{s.C, 1, l.Kernel, l.Kernel}, Data: weights}
	if err := g.bias(l.Name, s.C, nil); err != nil {
		return nil, err
	}
	return g.pooled(v, l)
}

// globalPool reads the mean of all pixels.
func globalPool(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	if v, err = g.picture(v); err != nil {
		return nil, err
	}
	return g.pooled(v, model.Layer{Name: g.layerName(n, ""), Op: model.GlobalAvgPool})
}

// mean reads ReduceMean over rows and columns.
func mean(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	rank := 1 + len(v.dims)
	axes, err := n.axes(1, rank)
	if err != nil {
		return nil, err
	}
	var reduced []atom
	var kept [][]atom
	for i, d := range v.dims {
		switch named := slices.Contains(axes, i+1) || slices.Contains(axes, i+1-rank); {
		case !named:
			kept = append(kept, d)
		case n.integer("keepdims", 1) != 0:
			kept = append(kept, nil)
			fallthrough
		default:
			reduced = append(reduced, d...)
		}
	}
	s := g.shape(v.layer)
	if len(axes) == 0 || slices.Contains(axes, 0) || slices.Contains(axes, -rank) || size(reduced) != s.H*s.W ||
		slices.ContainsFunc(reduced, func(a atom) bool { return a.axis == channel }) {
		return nil, fmt.Errorf("of the axes %v of %v: want those of rows and columns", axes, v.sizes())
	}
	at, err := g.add(model.Layer{Name: g.layerName(n, ""), Op: model.GlobalAvgPool}, v.layer)
	return []view{{layer: at, pick: v.pick, dims: kept}}, err
}

// pad reads zeros around an image, which the convolution or pool behind it takes over.
func pad(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	if mode := n.text("mode"); mode != "" && mode != "constant" {
		return nil, fmt.Errorf("mode %s is not supported: want constant", mode)
	}
	if n.has(2) {
		if c := n.constants[2]; c == nil || len(c.floats) != 1 || c.floats[0] != 0 {
			return nil, errors.New("it pads with other values than 0")
		}
	}
	if n.number("value", 0) != 0 {
		return nil, errors.New("it pads with other values than 0")
	}
	pads, err := n.integers("pads", 1)
	if err != nil {
		return nil, err
	}
	if n.has(3) {
		return nil, errors.New("axes are not supported")
	}
	rank := 1 + len(v.dims)
	if len(pads) != 2*rank {
		return nil, fmt.Errorf("pads %v of %d dimensions", pads, rank)
	}
	for i, p := range pads {
		if p < 0 || p > maxValues || p > 0 && (rank != 4 || i%rank < 2) {
			return nil, fmt.Errorf("pads %v are not supported: want zeros around [n][channel][row][column]", pads)
		}
		if p > 0 {
			v.pads[i/rank*2+i%rank-2] += int(p)
		}
	}
	return []view{v}, nil
}

// activation gives the layer before it an activation, or adds one that does nothing else.
func (g *graph) activation(n *node, act model.Activation) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	if v.layer >= 0 {
		l := &g.net.Layers[v.layer]
		if l.Act == model.ReLU6 || l.Act == act {
			return []view{v}, nil
		}
		switch l.Op {
		case model.Conv, model.Depthwise, model.Dense, model.Add:
			if !v.shared {
				l.Act = act
				return []view{v}, nil
			}
		}
	}
	return g.affine(v, n, act, nil)
}

func relu(g *graph, n *node) ([]view, error) { return g.activation(n, model.ReLU) }

// clip reads min(max(x, 0), 6), or max(x, 0).
func clip(g *graph, n *node) ([]view, error) {
	bounds := [2]float32{n.number("min", -math.MaxFloat32), n.number("max", math.MaxFloat32)}
	for i := range bounds {
		c, err := n.floats(i+1, 1)
		if err != nil {
			return nil, err
		}
		if c != nil {
			bounds[i] = c[0]
		}
	}
	switch {
	case bounds == [2]float32{0, 6}:
		return g.activation(n, model.ReLU6)
	case bounds[0] == 0 && bounds[1] >= math.MaxFloat32:
		return g.activation(n, model.ReLU)
	}
	return nil, fmt.Errorf("from %g to %g is not supported: want 0 to 6, or to infinity", bounds[0], bounds[1])
}

// norm is a factor and a summand for each channel, as a batch normalisation with the weight and the bias, the mean and the
// variance.
type norm struct {
	values [4][]float32
	eps    float64
}

// affine gives each channel of a view a factor and a summand, those of its layer or, where others read that as it is,
// those of a new layer, which then has the activation. A nil norm changes nothing.
func (g *graph) affine(v view, n *node, act model.Activation, by *norm) ([]view, error) {
	c := g.shape(v.layer).C
	if !g.permuted(v) {
		var err error
		if v, err = g.materialise(v, n.name()); err != nil {
			return nil, err
		}
		c = g.shape(v.layer).C
	}
	var l *model.Layer
	if v.layer >= 0 && !v.shared && act == model.Linear {
		if last := &g.net.Layers[v.layer]; last.Act == model.Linear && last.Norm == "" {
			switch last.Op {
			case model.Conv, model.Depthwise, model.Dense:
				l = last
			}
		}
	}
	if l == nil {
		ones, err := g.make(c)
		if err != nil {
			return nil, err
		}
		for i := range ones {
			ones[i] = 1
		}
		own := model.Layer{Name: g.layerName(n, ""), Op: model.Depthwise, Kernel: 1, Act: act}
		g.tensors[own.Name+".weight"] = model.Tensor{Shape: []int{c, 1, 1, 1}, Data: ones}
		if err := g.bias(own.Name, c, nil); err != nil {
			return nil, err
		}
		if v.layer, err = g.add(own, v.layer); err != nil {
			return nil, err
		}
		v.shared = false
		l = &g.net.Layers[v.layer]
	}
	if by != nil {
		l.Norm, l.NormEps = g.free(l.Name+".norm"), by.eps
		for i, part := range []string{".weight", ".bias", ".running_mean", ".running_var"} {
			g.tensors[l.Norm+part] = model.Tensor{Shape: []int{c}, Data: arranged(by.values[i], v.pick)}
		}
	}
	return []view{v}, nil
}

// batchNorm reads a batch normalisation with the statistics that it has learnt.
func batchNorm(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	if n.integer("training_mode", 0) != 0 {
		return nil, errors.New("it is in training mode: export the network as it is evaluated, in PyTorch after eval()")
	}
	if len(v.dims) == 0 || !along(v.dims[0], channel) || !g.holdsAll(v, 0) {
		return nil, fmt.Errorf("of values of the shape %v: want all channels after the batch", v.sizes())
	}
	by := &norm{eps: float64(n.number("epsilon", 1e-5))}
	for i := range by.values {
		if by.values[i], err = n.floats(i+1, size(v.dims[0])); err != nil {
			return nil, err
		}
		if by.values[i] == nil {
			return nil, errors.New("it wants scale, bias, mean and variance")
		}
	}
	return g.affine(g.repick(v, 0), n, model.Linear, by)
}

// arithmetic reads an Add of images, or an Add, Sub, Mul or Div with a constant for all or for each channel.
func arithmetic(g *graph, n *node) ([]view, error) {
	op := n.GetOpType()
	if len(n.Input) != 2 {
		return nil, fmt.Errorf("it has %d inputs: want 2", len(n.Input))
	}
	if n.views[0] != nil && n.views[1] != nil {
		if op != "Add" {
			return nil, errors.New("of two images is not supported: want a constant")
		}
		return sum(g, n)
	}
	at := 0
	if n.views[0] == nil {
		at = 1
	}
	if at == 1 && (op == "Sub" || op == "Div") {
		return nil, errors.New("from or of a constant is not supported")
	}
	v, err := n.image(at)
	if err != nil {
		return nil, err
	}
	c := n.constants[1-at]
	if c == nil || c.floats == nil || len(c.floats) == 0 {
		return nil, errors.New("want a constant of numbers")
	}
	// The constant's dimensions are matched with the last ones, and all but the channels' have to be 1.
	dim := -1
	for i, d := range v.dims {
		from := len(c.shape) - len(v.dims) + i
		switch {
		case along(d, channel) && size(d) > 1 && (dim < 0 || from >= 0 && c.shape[from] > 1):
			dim = i
		case from >= 0 && c.shape[from] > 1:
			return nil, fmt.Errorf("a constant of the shape %v for values of %v is not supported: want one number for each channel", c.shape, v.sizes())
		}
	}
	if dim < 0 || len(c.shape) > 1+len(v.dims) || len(c.shape) == 1+len(v.dims) && c.shape[0] != 1 {
		return nil, fmt.Errorf("a constant of the shape %v for values of %v is not supported: want one number for each channel", c.shape, v.sizes())
	}
	channels := size(v.dims[dim])
	if len(c.floats) != 1 && len(c.floats) != channels || !g.holdsAll(v, dim) {
		return nil, fmt.Errorf("a constant of the shape %v for values of %v is not supported: want one number for each channel", c.shape, v.sizes())
	}
	by := &norm{}
	for i := range by.values {
		if by.values[i], err = g.make(channels); err != nil {
			return nil, err
		}
	}
	for i := range channels {
		x := c.floats[i%len(c.floats)]
		by.values[0][i], by.values[3][i] = 1, 1
		switch op {
		case "Add":
			by.values[1][i] = x
		case "Sub":
			by.values[1][i] = -x
		case "Mul":
			by.values[0][i] = x
		case "Div":
			by.values[0][i] = 1 / x
		}
	}
	return g.affine(g.repick(v, dim), n, model.Linear, by)
}

// sum reads the sum of images.
func sum(g *graph, n *node) ([]view, error) {
	var from []int
	var first view
	for i := range n.Input {
		v, err := n.image(i)
		if err != nil {
			return nil, err
		}
		if v.pick != nil || len(v.dims) == 3 {
			if v, err = g.picture(v); err != nil {
				return nil, err
			}
			if v, err = g.materialise(v, n.name()); err != nil {
				return nil, err
			}
		}
		if i == 0 {
			first = v
		}
		if g.shape(v.layer) != g.shape(first.layer) || !slices.EqualFunc(v.dims, first.dims, slices.Equal) {
			return nil, fmt.Errorf("of values of the shapes %v and %v: want the same", first.sizes(), v.sizes())
		}
		from = append(from, v.layer)
	}
	if len(from) == 1 {
		return []view{first}, nil
	}
	at, err := g.add(model.Layer{Name: g.layerName(n, ""), Op: model.Add}, from...)
	return []view{{layer: at, dims: first.dims}}, err
}

// concat reads images joined along their channels.
func concat(g *graph, n *node) ([]view, error) {
	var from, pick []int
	before, mixed := 0, false
	for i := range n.Input {
		v, err := n.image(i)
		if err != nil {
			return nil, err
		}
		if axis, err := n.axis(1, 1+len(v.dims)); err != nil || axis != 1 {
			return nil, fmt.Errorf("along axis %d is not supported: want channels", n.integer("axis", 1))
		}
		if s := g.shape(v.layer); len(v.dims) == 1 && s.H == 1 && s.W == 1 {
			v.dims = [][]atom{v.dims[0], nil, nil}
		}
		if v, err = g.picture(v); err != nil {
			return nil, err
		}
		if !g.permuted(v) {
			if v, err = g.materialise(v, n.name()); err != nil {
				return nil, err
			}
		}
		s := g.shape(v.layer)
		mixed = mixed || v.pick != nil
		if len(from) > 0 && (s.H != g.shape(from[0]).H || s.W != g.shape(from[0]).W) {
			return nil, fmt.Errorf("of images of %v and %v", g.shape(from[0]), s)
		}
		for c := range s.C {
			if v.pick != nil {
				c = v.pick[c]
			}
			pick = append(pick, before+c)
		}
		if from, before = append(from, v.layer), before+s.C; before > maxChannels {
			return nil, fmt.Errorf("of %d channels and more: that is too large", before)
		}
	}
	rank := len(n.views[0].dims)
	if len(from) == 1 {
		return []view{*n.views[0]}, nil
	}
	at, err := g.add(model.Layer{Name: g.layerName(n, ""), Op: model.Concat}, from...)
	if err != nil {
		return nil, err
	}
	v := g.view(at)
	v.dims = v.dims[:rank]
	if mixed {
		v.pick = pick
	}
	return []view{v}, nil
}

// split reads parts of an image's channels, which cost nothing where convolutions read them.
func split(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	axis, err := n.axis(0, 1+len(v.dims))
	if err != nil {
		return nil, err
	}
	sizes, err := n.integers("split", 1)
	if err != nil {
		return nil, err
	}
	if axis < 1 {
		return nil, errors.New("of the batch is not supported")
	}
	total := size(v.dims[axis-1])
	if len(sizes) == 0 {
		each := int64((total + len(n.Output) - 1) / len(n.Output))
		for left := int64(total); left > 0; left -= each {
			sizes = append(sizes, min(each, left))
		}
	}
	if len(sizes) != len(n.Output) {
		return nil, fmt.Errorf("%d into %d parts", total, len(n.Output))
	}
	bounds := []int{0}
	for i, s := range sizes {
		if s < 1 || s > int64(total-bounds[i]) {
			return nil, fmt.Errorf("%d into parts of %v", total, sizes)
		}
		bounds = append(bounds, bounds[i]+int(s))
	}
	if bounds[len(sizes)] != total {
		return nil, fmt.Errorf("%d into parts of %v", total, sizes)
	}
	return g.cut(v, axis, bounds...)
}

// slice reads a part of an image's channels.
func slice(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	axes, err := n.axes(3, 1+len(v.dims))
	if err != nil {
		return nil, err
	}
	axis := 0
	if len(axes) == 1 {
		if axis = axes[0]; axis < 0 {
			axis += 1 + len(v.dims)
		}
	}
	if axis < 1 || axis > len(v.dims) {
		return nil, fmt.Errorf("it cuts the axes %v: want that of the channels", axes)
	}
	from, to, err := n.slice(1+len(v.dims), axis, size(v.dims[axis-1]))
	if err != nil {
		return nil, err
	}
	return g.cut(v, axis, from, to)
}

// cut takes the channels from each bound to the next one along the axis, which has to have them all.
func (g *graph) cut(v view, axis int, bounds ...int) ([]view, error) {
	d := v.dims[axis-1]
	if len(bounds) == 2 && bounds[0] == 0 && bounds[1] == size(d) {
		return []view{v}, nil
	}
	if !along(d, channel) || !g.holdsAll(v, axis-1) {
		return nil, fmt.Errorf("it cuts axis %d of %v: want that of the channels", axis, v.sizes())
	}
	all := v.channels(d)
	parts := make([]view, len(bounds)-1)
	for i := range parts {
		part := v
		part.pick = slices.Clone(all[bounds[i]:bounds[i+1]])
		part.dims = slices.Clone(v.dims)
		part.dims[axis-1] = whole(channel, len(part.pick))
		part.shared = true // the layer has the other channels as well
		parts[i] = part
	}
	return parts, nil
}

// shaped reads what gives the same values another shape.
func shaped(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	now := append([]int{g.batch}, v.sizes()...)
	var sizes []int
	switch n.GetOpType() {
	case "Reshape":
		if !n.has(1) || n.constants[1] == nil || n.constants[1].ints == nil || len(n.constants[1].ints) > maxRank {
			return nil, errors.New("its shape has to be a constant")
		}
		target := slices.Clone(n.constants[1].ints)
		if len(target) > 1 && (target[0] == -1 || target[0] == int64(g.batch)) {
			target[0] = 0 // the batch is left out of the arithmetic
		}
		if len(target) == 0 || target[0] != 0 {
			return nil, fmt.Errorf("%v becomes %v: the batch has to stay the first dimension", now, target)
		}
		// Zeros take the sizes that were there, so that the batch's place is kept as 1.
		if sizes, err = resolve(append([]int64{1}, target[1:]...), append([]int{1}, now[1:]...), n.integer("allowzero", 0) != 0); err != nil {
			return nil, err
		}
		sizes = sizes[1:]
	case "Flatten":
		if axis := n.integer("axis", 1); axis != 1 && axis != int64(-len(v.dims)) {
			return nil, fmt.Errorf("axis %d is not supported: want 1", axis)
		}
		sizes = []int{size(slices.Concat(v.dims...))}
	case "Squeeze", "Unsqueeze":
		axes, err := n.axes(1, len(now))
		if err != nil {
			return nil, err
		}
		if len(axes) == 0 {
			return nil, errors.New("without axes it is not supported: it would squeeze a batch of one")
		}
		now[0] = 2 // not of size 1, whatever the batch
		if n.GetOpType() == "Squeeze" {
			sizes, _, err = squeezed(now, axes)
		} else {
			sizes, err = unsqueezed(now, axes, 1)
		}
		if err != nil {
			return nil, err
		}
		if sizes[0] != 2 {
			return nil, fmt.Errorf("axes %v: the batch has to stay the first dimension", axes)
		}
		sizes = sizes[1:]
	}
	dims, ok := reshape(v.dims, sizes)
	if !ok {
		return nil, fmt.Errorf("%v becomes %v: want a shape that keeps rows and columns whole", now[1:], sizes)
	}
	v.dims = dims
	return []view{v}, nil
}

// transposed reads dimensions in another order.
func transposed(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	perm := n.list("perm")
	rank := len(v.dims) + 1
	seen := make([]bool, rank)
	if len(perm) != rank || perm[0] != 0 {
		return nil, fmt.Errorf("perm %v of %d dimensions: the batch has to stay the first", perm, rank)
	}
	dims := make([][]atom, 0, len(v.dims))
	for _, p := range perm {
		if p < 0 || p >= int64(rank) || seen[p] {
			return nil, fmt.Errorf("perm %v of %d dimensions", perm, rank)
		}
		if seen[p] = true; p > 0 {
			dims = append(dims, v.dims[p-1])
		}
	}
	v.dims = dims
	return []view{v}, nil
}

// softmax reads the last operator of networks that give probabilities.
func softmax(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	axis, err := n.axis(-1, 1+len(v.dims))
	if err != nil {
		return nil, err
	}
	for i, d := range v.dims {
		if (i+1 == axis) != (size(d) > 1) {
			return nil, fmt.Errorf("along axis %d of values of the shape %v: want all classes along it", axis, v.sizes())
		}
	}
	v.probabilities = true
	return []view{v}, nil
}

// same reads what changes nothing when a network is evaluated.
func same(g *graph, n *node) ([]view, error) {
	v, err := n.image(0)
	if err != nil {
		return nil, err
	}
	switch n.GetOpType() {
	case "Dropout":
		if n.has(2) && (n.constants[2] == nil || !slices.Equal(n.constants[2].ints, []int64{0})) {
			return nil, errors.New("it is in training mode: export the network as it is evaluated, in PyTorch after eval()")
		}
	case "Cast":
		if to := onnxpb.TensorProto_DataType(n.integer("to", 0)); !slices.Contains(floating, to) {
			return nil, fmt.Errorf("to %v is not supported on images", to)
		}
	}
	return []view{v}, nil
}

// operators are those that Import knows, with what they do to images; nil are those for constants alone.
var operators map[string]func(*graph, *node) ([]view, error)

func init() { // the functions refer to Operators in turn
	operators = map[string]func(*graph, *node) ([]view, error){
		"Add": arithmetic, "AveragePool": averagePool, "BatchNormalization": batchNorm, "Cast": same, "Clip": clip, "Concat": concat, "Constant": nil,
		"Conv": conv, "Div": arithmetic, "Dropout": same, "Flatten": shaped, "Gather": nil, "Gemm": dense, "GlobalAveragePool": globalPool,
		"Identity": same, "LogSoftmax": softmax, "MatMul": dense, "MaxPool": maxPool, "Mul": arithmetic, "Pad": pad, "ReduceMean": mean, "Relu": relu,
		"Reshape": shaped, "Shape": nil, "Slice": slice, "Softmax": softmax, "Split": split, "Squeeze": shaped, "Sub": arithmetic, "Sum": sum,
		"Transpose": transposed, "Unsqueeze": shaped,
	}
}

// Operators lists the operators that Import knows.
func Operators() []string { return slices.Sorted(maps.Keys(operators)) }
