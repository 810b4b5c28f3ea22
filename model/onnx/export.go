// Package onnx writes models as ONNX files, which other programs run, and reads networks of others from them.
//
//	err := onnx.Export(w, m)          // *model.Model
//	im, err := onnx.Import(data, 0)   // network, parameters
//
// ONNX (https://onnx.ai) describes a network as a graph of operators, in a protocol buffer. Package onnxpb is generated
// from its definition.
package onnx

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/onnx/internal/onnxpb"
)

// What an exported graph reads and gives.
const (
	Input  = "image"         // float32 [batch][3][height][width], normalised
	Output = "probabilities" // float32 [batch][classes]
)

const (
	opset     = 17 // of the operators, which all runtimes of 2022 and later have
	irVersion = 8  // that came with it
)

// The properties that Export gives a file, beside Input's mean and std.
const (
	keyFormat       = "logobeam.format" // "1"
	keyArchitecture = "architecture"
	keyClasses      = "classes"    // JSON list, in the order of Output
	keyTransforms   = "transforms" // JSON list of the steps from a file's bytes to Input, as package transforms reads it
	keyHash         = "model_sha256"
	keyMean         = "mean" // JSON list: red, green, blue, in units of 0 to 255
	keyStd          = "std"
)

// Export writes m as an ONNX file that takes batches of any size. Weights are float32, also where the model keeps them in
// half precision; what is there for int8 is left out. Output is of one view of a photograph. The file's properties say
// how photographs become Input, and what the classes are. The same model gives the same bytes.
func Export(w io.Writer, m *model.Model) error {
	if err := m.Validate(); err != nil {
		return err
	}
	g, err := export(m)
	if err != nil {
		return err
	}
	properties, err := describe(m)
	if err != nil {
		return err
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(&onnxpb.ModelProto{
		IrVersion: proto.Int64(irVersion), OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(opset)}},
		ProducerName: proto.String("logobeam"), Graph: g, MetadataProps: properties,
		DocString: proto.String(fmt.Sprintf("%s for %d classes. %s: RGB pixels after the steps of %s, less %s, divided by %s. %s: in the order of %s.",
			m.Network.Arch, len(m.Card.Classes), Input, keyTransforms, keyMean, keyStd, Output, keyClasses)),
	})
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	_, err = w.Write(data)
	return err
}

// describe gives what there is to know beside the graph.
func describe(m *model.Model) (properties []*onnxpb.StringStringEntryProto, err error) {
	var steps []struct{ Mean, Std []float64 }
	if err := json.Unmarshal(m.Card.Transforms, &steps); err != nil || len(steps) == 0 {
		return nil, fmt.Errorf("onnx: the model's transforms are %.40q: want a list that ends with normalise", m.Card.Transforms)
	}
	last := steps[len(steps)-1]
	for _, p := range []struct {
		key   string
		value any
	}{
		{keyFormat, 1}, {keyArchitecture, m.Network.Arch}, {keyHash, m.Hash()}, {keyClasses, m.Card.Classes}, {keyTransforms, m.Card.Transforms},
		{keyMean, last.Mean}, {keyStd, last.Std}, {"program", m.Card.Program}, {"description", m.Card.Description},
	} {
		text, ok := p.value.(string)
		if !ok {
			b, err := json.Marshal(p.value)
			if err != nil {
				return nil, fmt.Errorf("onnx: %s: %w", p.key, err)
			}
			text = string(b)
		}
		properties = append(properties, &onnxpb.StringStringEntryProto{Key: proto.String(p.key), Value: proto.String(text)})
	}
	return properties, nil
}

// export makes the graph. Nodes have the names of layers, weights those of parameters. A value's name is that of its layer
// with an ending, so no two are the same.
func export(m *model.Model) (*onnxpb.GraphProto, error) {
	net := m.Network
	ins, err := net.Inputs()
	if err != nil {
		return nil, err
	}
	shapes, err := net.Shapes()
	if err != nil {
		return nil, err
	}
	tensors, err := net.Tensors(m.Params)
	if err != nil {
		return nil, err
	}
	g := &onnxpb.GraphProto{Name: proto.String(net.Arch)}
	add := func(op, name, output string, inputs []string, attributes ...*onnxpb.AttributeProto) string {
		g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String(name), Input: inputs, Output: []string{output}, Attribute: attributes})
		return output
	}
	parameters := func(name string) []string {
		for _, p := range []string{name + ".weight", name + ".bias"} {
			g.Initializer = append(g.Initializer, tensor(p, tensors[p].Shape, tensors[p].Data))
		}
		return []string{name + ".weight", name + ".bias"}
	}
	bounds := []string{"relu6.min", "relu6.max"}
	bounded := false
	for i, l := range net.Layers {
		in := net.Input
		var inputs []string
		for k, j := range ins[i] {
			if j < 0 {
				inputs = append(inputs, Input)
				continue
			}
			inputs = append(inputs, net.Layers[j].Name+".output")
			if k == 0 {
				in = shapes[j]
			}
		}
		output := l.Name + ".output"
		if l.Act != model.Linear {
			output = l.Name + ".linear"
		}
		var window []*onnxpb.AttributeProto
		if l.Op == model.Conv || l.Op == model.Depthwise || l.Op == model.MaxPool {
			w, err := l.Window(in)
			if err != nil {
				return nil, err
			}
			window = windows(l, w, in)
		}
		switch l.Op {
		case model.Conv:
			add("Conv", l.Name, output, append(inputs, parameters(l.Name)...), window...)
		case model.Depthwise:
			add("Conv", l.Name, output, append(inputs, parameters(l.Name)...), append(window, integer("group", in.C))...)
		case model.Dense:
			flat := add("Flatten", l.Name+".flatten", l.Name+".flat", inputs, integer("axis", 1))
			add("Gemm", l.Name, output, append([]string{flat}, parameters(l.Name)...), integer("transB", 1))
		case model.MaxPool:
			add("MaxPool", l.Name, output, inputs, window...)
		case model.GlobalAvgPool:
			add("GlobalAveragePool", l.Name, output, inputs)
		case model.Add:
			op := "Add"
			if len(inputs) > 2 {
				op = "Sum"
			}
			add(op, l.Name, output, inputs)
		case model.Concat:
			add("Concat", l.Name, output, inputs, integer("axis", 1))
		default:
			return nil, fmt.Errorf("onnx: layer %s: %s has no operator", l.Name, l.Op)
		}
		switch l.Act {
		case model.ReLU:
			add("Relu", l.Name+".relu", l.Name+".output", []string{output})
		case model.ReLU6:
			bounded = true
			add("Clip", l.Name+".relu6", l.Name+".output", append([]string{output}, bounds...))
		}
	}
	if bounded {
		g.Initializer = append(g.Initializer, tensor(bounds[0], nil, []float32{0}), tensor(bounds[1], nil, []float32{6}))
	}
	last := net.Layers[len(net.Layers)-1].Name
	logits := add("Flatten", "logits", "logits", []string{last + ".output"}, integer("axis", 1))
	add("Softmax", "softmax", Output, []string{logits}, integer("axis", 1))
	g.Input = []*onnxpb.ValueInfoProto{value(Input, net.Input.C, net.Input.H, net.Input.W)}
	g.Output = []*onnxpb.ValueInfoProto{value(Output, net.Classes())}
	return g, nil
}

// windows are the attributes of a convolution or pool. Where windows hang over the edge, padding makes up for it.
func windows(l model.Layer, w model.Window, in model.Shape) []*onnxpb.AttributeProto {
	stride := max(l.Stride, 1)
	bottom, right := l.Pad, l.Pad
	if l.Padding != model.Explicit {
		bottom = max((w.OutH-1)*stride+l.Kernel-w.PadTop-in.H, 0)
		right = max((w.OutW-1)*stride+l.Kernel-w.PadLeft-in.W, 0)
	}
	return []*onnxpb.AttributeProto{
		integers("kernel_shape", l.Kernel, l.Kernel), integers("strides", stride, stride), integers("pads", w.PadTop, w.PadLeft, bottom, right),
	}
}

func integer(name string, v int) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(int64(v))}
}

func integers(name string, values ...int) *onnxpb.AttributeProto {
	a := &onnxpb.AttributeProto{Name: proto.String(name), Type: onnxpb.AttributeProto_INTS.Enum()}
	for _, v := range values {
		a.Ints = append(a.Ints, int64(v))
	}
	return a
}

func tensor(name string, shape []int, values []float32) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), RawData: make([]byte, 0, 4*len(values))}
	for _, d := range shape {
		t.Dims = append(t.Dims, int64(d))
	}
	for _, v := range values {
		t.RawData = binary.LittleEndian.AppendUint32(t.RawData, math.Float32bits(v))
	}
	return t
}

// value says what a tensor of floats looks like, whose first dimension is the batch.
func value(name string, sizes ...int) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "batch"}}}}
	for _, s := range sizes {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(s)}})
	}
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), Shape: shape},
	}}}
}
