package onnx

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/model/onnx/internal/onnxpb"
)

// logits runs a network on one image.
func logits(t *testing.T, n model.Network, p model.Params, image []float32) []float32 {
	t.Helper()
	plan, err := infer.Compile(n, p)
	if err != nil {
		t.Fatal(err)
	}
	a := plan.NewArena(1)
	copy(a.Input(0), image)
	return slices.Clone(a.Run(1))
}

func readFloats(t *testing.T, path string) []float32 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(data)/4)
	if _, err := binary.Decode(data, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return values
}

// TestGolden holds graphs as exporters make them to what ONNX Runtime gives for them: testdata/make.py.
func TestGolden(t *testing.T) {
	image := readFloats(t, "testdata/image.f32")
	files, err := filepath.Glob("testdata/*.onnx")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".onnx")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			im, err := Import(data, 0)
			if err != nil {
				t.Fatal(err)
			}
			if im.Producer != "make.py" || im.Classes != nil || im.Transforms != nil {
				t.Errorf("it says to be by %q, of %v, with %s", im.Producer, im.Classes, im.Transforms)
			}
			want := readFloats(t, strings.TrimSuffix(file, ".onnx")+".f32")
			got := logits(t, im.Network, im.Params, image)
			for i := range want {
				if len(got) != len(want) || math.Abs(float64(got[i]-want[i])) > 1e-5 {
					t.Fatalf("the logits are %v; want %v", got, want)
				}
			}
		})
	}
}

// exported is a model of an architecture with random weights, small where the architecture allows, and its file.
func exported(t testing.TB, arch string) (*model.Model, []byte) {
	t.Helper()
	net, err := model.New(arch, 5)
	if err != nil {
		t.Fatal(err)
	}
	net.Input.H, net.Input.W = 75, 80
	params, err := model.Init(net, 3)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 0))
	for _, l := range net.Layers { // which are zeros
		for _, part := range []string{".weight", ".bias"} {
			if values := params[l.Name+part]; l.Zero || part == ".bias" {
				for i := range values {
					values[i] = float32(random.NormFloat64()) / 50
				}
			}
		}
	}
	m := &model.Model{Network: net, Params: params, Card: model.Card{
		Classes:    []string{"a", "b", "c & d", "e", model.NoLogo},
		Transforms: json.RawMessage(`[{"step":"resize","width":80,"height":75},{"step":"normalise","mean":[127,127,127],"std":[128,128,128]}]`),
	}}
	var b bytes.Buffer
	if err := Export(&b, m); err != nil {
		t.Fatal(err)
	}
	return m, b.Bytes()
}

// What is exported and imported again answers as before, to the last bit.
func TestRoundTrip(t *testing.T) {
	for _, arch := range model.Architectures() {
		t.Run(arch, func(t *testing.T) {
			m, data := exported(t, arch)
			if arch == "squeezenet" { // one will do, and it is the smallest
				var again bytes.Buffer
				if err := Export(&again, m); err != nil || !bytes.Equal(again.Bytes(), data) {
					t.Errorf("exported again, the bytes differ (%v)", err)
				}
			}
			im, err := Import(data, 0)
			if err != nil {
				t.Fatal(err)
			}
			back := &model.Model{Network: im.Network, Params: im.Params, Card: model.Card{Classes: im.Classes, Transforms: im.Transforms}}
			if err := back.Validate(); err != nil {
				t.Fatal(err)
			}
			if im.Network.Arch != arch || !slices.Equal(im.Classes, m.Card.Classes) || !bytes.Equal(im.Transforms, m.Card.Transforms) {
				t.Errorf("it is %s of %q with %s", im.Network.Arch, im.Classes, im.Transforms)
			}
			image := make([]float32, m.Network.Input.Size())
			random := rand.New(rand.NewPCG(1, 1))
			for i := range image {
				image[i] = float32(random.NormFloat64())
			}
			want, got := logits(t, m.Network, m.Params, image), logits(t, im.Network, im.Params, image)
			if !slices.Equal(got, want) || want[0] == 0 && want[1] == 0 {
				t.Errorf("the logits were %v and are %v", want, got)
			}
			// Its layers are those that its weights can be transferred to.
			if _, _, err := model.Transfer(m.Network, []string{"x", "y", "z", "u", "v"}, back, 1); err != nil {
				t.Error(err)
			}
		})
	}
}

// plain is testdata/plain.onnx, changed.
func plain(t testing.TB, change func(*onnxpb.ModelProto)) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/plain.onnx")
	if err != nil {
		t.Fatal(err)
	}
	var m onnxpb.ModelProto
	if err := proto.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	change(&m)
	if data, err = proto.Marshal(&m); err != nil {
		t.Fatal(err)
	}
	return data
}

// find is the first node of an operator.
func find(m *onnxpb.ModelProto, op string) *onnxpb.NodeProto {
	return m.Graph.Node[slices.IndexFunc(m.Graph.Node, func(n *onnxpb.NodeProto) bool { return n.GetOpType() == op })]
}

func TestRefused(t *testing.T) {
	attribute := func(op string, a *onnxpb.AttributeProto) func(*onnxpb.ModelProto) {
		return func(m *onnxpb.ModelProto) {
			n := find(m, op)
			n.Attribute = append(slices.DeleteFunc(n.Attribute, func(b *onnxpb.AttributeProto) bool { return b.GetName() == a.GetName() }), a)
		}
	}
	dims := func(d ...int64) func(*onnxpb.ModelProto) {
		return func(m *onnxpb.ModelProto) {
			in := m.Graph.Input[0].GetType().GetTensorType()
			in.Shape = &onnxpb.TensorShapeProto{}
			for _, v := range d {
				in.Shape.Dim = append(in.Shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: v}})
			}
		}
	}
	insert := func(after string, n *onnxpb.NodeProto) func(*onnxpb.ModelProto) { // a node behind another
		return func(m *onnxpb.ModelProto) {
			at := slices.Index(m.Graph.Node, find(m, after))
			n.Input = append([]string{m.Graph.Node[at].Output[0] + "'"}, n.Input...)
			n.Output = slices.Clone(m.Graph.Node[at].Output)
			m.Graph.Node[at].Output[0] += "'"
			m.Graph.Node = slices.Insert(m.Graph.Node, at+1, n)
		}
	}
	node := func(op string, inputs ...string) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{OpType: proto.String(op), Name: proto.String("/new/" + op), Input: inputs}
	}
	for _, tt := range []struct {
		why    string
		change func(*onnxpb.ModelProto)
		want   string
	}{
		{"no graph", func(m *onnxpb.ModelProto) { m.Graph = nil }, "not an ONNX file"},
		{"an operator that there is none for", insert("Relu", node("HardSwish")),
			`onnx: node "/new/HardSwish" (HardSwish): the operator is not supported; supported are Add, `},
		{"one of somebody else's", func(m *onnxpb.ModelProto) { find(m, "Relu").Domain = proto.String("com.microsoft") }, "operators of com.microsoft are not supported"},
		{"old rules", func(m *onnxpb.ModelProto) { m.OpsetImport[0].Version = proto.Int64(6) }, "opset 6: want 7 or later"},
		{"weights elsewhere", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
		}, "its weights lie in another file: save them in one"},
		{"fewer weights than the shape says", func(m *onnxpb.ModelProto) { m.Graph.Initializer[0].RawData = []byte{1, 2, 3, 4} }, "with 4 bytes of FLOAT: want 648"},
		{"a shape beyond all memory", func(m *onnxpb.ModelProto) { m.Graph.Initializer[0].Dims = []int64{math.MaxInt64, math.MaxInt64, 3, 3} }, "at most 1073741824 values can be held"},
		{"a negative shape", func(m *onnxpb.ModelProto) { m.Graph.Initializer[0].Dims = []int64{-6, -3, 3, 3} }, "a tensor of the shape [-6 -3 3 3]"},
		{"weights in the field of another type", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].RawData, m.Graph.Initializer[0].DoubleData = nil, make([]float64, 6*3*3*3)
		}, "with 0 bytes of FLOAT: want 648"},
		{"weights that are no numbers", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].DataType = proto.Int32(int32(onnxpb.TensorProto_STRING))
		}, "a tensor of STRING: want float"},
		{"weights that are infinite", func(m *onnxpb.ModelProto) { copy(m.Graph.Initializer[0].RawData, []byte{0, 0, 128, 127}) }, "holds +Inf at 0"},
		{"no weights", func(m *onnxpb.ModelProto) { m.Graph.Initializer = m.Graph.Initializer[1:] }, "which no node before it gives"},
		{"a node before what it reads", func(m *onnxpb.ModelProto) { slices.Reverse(m.Graph.Node) }, "which no node before it gives"},
		{"two inputs", func(m *onnxpb.ModelProto) {
			m.Graph.Input = append(m.Graph.Input, &onnxpb.ValueInfoProto{Name: proto.String("mask")})
		}, `the inputs "x" and "mask": want one`},
		{"no input", func(m *onnxpb.ModelProto) { m.Graph.Input = nil }, "no input"},
		{"bytes for input", func(m *onnxpb.ModelProto) {
			m.Graph.Input[0].GetType().GetTensorType().ElemType = proto.Int32(int32(onnxpb.TensorProto_UINT8))
		}, "is of UINT8: want float"},
		{"an input of one channel", dims(1, 1, 10, 8), "has 1 channels: want 3"},
		{"an input of no size", dims(1, 3, 0, 0), "no height or width of its own"},
		{"an input that is a list", dims(1, 3), "has 2 dimensions: want 4"},
		{"an input beyond all memory", dims(1, 3, 1<<40, 1<<40), "too large"},
		{"two outputs", func(m *onnxpb.ModelProto) { m.Graph.Output = append(m.Graph.Output, m.Graph.Output[0]) }, "2 outputs: want one"},
		{"an output that is an image", func(m *onnxpb.ModelProto) { m.Graph.Output[0].Name = proto.String(find(m, "Relu").Output[0]) }, "want one number for each class"},
		{"a softmax in the middle", insert("Relu", node("Softmax")), "want all classes along it"},
		{"an activation behind the softmax", insert("Softmax", node("Relu")), "it reads what a Softmax gives, which has to be the last"},
		{"dilated windows", attribute("Conv", integers("dilations", 2, 2)), "dilations [2 2] are not supported"},
		{"other strides along than down", attribute("Conv", integers("strides", 1, 2)), "strides [1 2]: want the same for rows and columns"},
		{"a stride of 0", attribute("Conv", integers("strides", 0, 0)), "strides [0 0]"},
		{"padding that no layer has", attribute("Conv", integers("pads", 0, 2, 1, 0)), "pads of [0 2 1 0] on 10x8x3 are not supported"},
		{"padding without end", attribute("Conv", integers("pads", math.MaxInt64, 1, 1, 1)), "are not supported"},
		{"groups that do not fit", attribute("Conv", integer("group", 2)), "in 2 groups do not fit 3 channels"},
		{"no groups at all", attribute("Conv", integer("group", 0)), "in 0 groups"},
		{"training", attribute("BatchNormalization", integer("training_mode", 1)), "in PyTorch after eval()"},
		{"a transposed image", attribute("Gemm", integer("transA", 1)), "transA is not supported"},
		{"weights for others", attribute("Gemm", integer("transB", 0)), "do not fit values of the shape [6]"},
		{"a pad before an activation", insert("BatchNormalization", &onnxpb.NodeProto{OpType: proto.String("Pad"), Attribute: []*onnxpb.AttributeProto{integers("pads", 0, 0, 1, 1, 0, 0, 1, 1)}}),
			"it reads what a Pad gives: want a convolution or a pool there"},
		{"padded channels", insert("BatchNormalization", &onnxpb.NodeProto{OpType: proto.String("Pad"), Attribute: []*onnxpb.AttributeProto{integers("pads", 0, 1, 0, 0, 0, 1, 0, 0)}}),
			"want zeros around [n][channel][row][column]"},
		{"images multiplied", insert("Relu", node("Mul", "BatchNormalization2.0")), "of two images is not supported"},
		{"a transposition of the batch", insert("Relu", &onnxpb.NodeProto{OpType: proto.String("Transpose"), Attribute: []*onnxpb.AttributeProto{integers("perm", 1, 0, 2, 3)}}),
			"the batch has to stay the first"},
		{"one that is none", insert("Relu", &onnxpb.NodeProto{OpType: proto.String("Transpose"), Attribute: []*onnxpb.AttributeProto{integers("perm", 0, 2, 2, 9)}}), "perm [0 2 2 9]"},
		{"rows for columns", insert("Relu", &onnxpb.NodeProto{OpType: proto.String("Transpose"), Attribute: []*onnxpb.AttributeProto{integers("perm", 0, 1, 3, 2)}}),
			"no image: want [n][channel][row][column]"},
		{"part of the rows", func(m *onnxpb.ModelProto) {
			n := &onnxpb.NodeProto{OpType: proto.String("Split"), Attribute: []*onnxpb.AttributeProto{integer("axis", 2), integers("split", 2, 3)}}
			insert("Relu", n)(m)
			n.Output = append(n.Output, "rest")
		}, "it cuts axis 2 of [6 5 4]: want that of the channels"},
		{"parts that are not all", insert("Relu", &onnxpb.NodeProto{OpType: proto.String("Split"), Attribute: []*onnxpb.AttributeProto{integer("axis", 1), integers("split", 2)}}), "6 into parts of [2]"},
		{"no output", func(m *onnxpb.ModelProto) { find(m, "Relu").Output = nil }, "which no node before it gives"},
		{"a normalisation of part of the channels", func(m *onnxpb.ModelProto) { // of one of six, in front of which is a dimension of 1
			m.Graph.Initializer = append(m.Graph.Initializer, &onnxpb.TensorProto{Name: proto.String("one"), Dims: []int64{1},
				DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), FloatData: []float32{1}})
			for _, n := range []*onnxpb.NodeProto{
				{OpType: proto.String("Squeeze"), Attribute: []*onnxpb.AttributeProto{integers("axes", 1)}},
				node("BatchNormalization", "one", "one", "one", "one"),
				{OpType: proto.String("Unsqueeze"), Attribute: []*onnxpb.AttributeProto{integers("axes", 1)}},
			} {
				insert("Conv", n)(m)
			}
		}, "of values of the shape [1 6 5 4]: want all channels after the batch"},
		{"and of half of them", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer = append(m.Graph.Initializer,
				&onnxpb.TensorProto{Name: proto.String("two"), Dims: []int64{2}, DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), FloatData: []float32{1, 1}},
				&onnxpb.TensorProto{Name: proto.String("halves"), Dims: []int64{5}, DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: []int64{0, 2, 3, 5, 4}},
				&onnxpb.TensorProto{Name: proto.String("whole"), Dims: []int64{4}, DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Int64Data: []int64{0, 6, 5, 4}})
			for _, n := range []*onnxpb.NodeProto{node("Reshape", "whole"), node("BatchNormalization", "two", "two", "two", "two"), node("Reshape", "halves")} {
				insert("Conv", n)(m)
			}
		}, "of values of the shape [2 3 5 4]: want all channels after the batch"},
		{"a constant that is named and not there", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer = m.Graph.Initializer[1:]
			m.Graph.Node = slices.Insert(m.Graph.Node, 0, &onnxpb.NodeProto{OpType: proto.String("Constant"), Output: []string{"conv1.weight"},
				Attribute: []*onnxpb.AttributeProto{{Name: proto.String("value")}}})
		}, "it has no value"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			im, err := Import(plain(t, tt.change), 0)
			if err == nil {
				t.Fatalf("it was imported: %+v", im.Network)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "onnx: ") {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

// Few bytes can ask for much: it is refused before there is no memory left.
func TestRefusedGrowth(t *testing.T) {
	data := plain(t, func(m *onnxpb.ModelProto) {
		last := find(m, "Relu").Output[0]
		var nodes []*onnxpb.NodeProto
		for i := range 60 { // twice as many channels each time
			out := fmt.Sprintf("grown%d", i)
			nodes = append(nodes, &onnxpb.NodeProto{OpType: proto.String("Concat"), Input: []string{last, last}, Output: []string{out},
				Attribute: []*onnxpb.AttributeProto{integer("axis", 1)}})
			last = out
		}
		pool := slices.Index(m.Graph.Node, find(m, "GlobalAveragePool"))
		m.Graph.Node[pool].Input[0] = last
		m.Graph.Node = slices.Insert(m.Graph.Node, pool, nodes...)
	})
	if _, err := Import(data, 0); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Error(err)
	}
}

// chain is a graph of a few bytes: a convolution of 1 x 1 from 3 to so many channels, "wide", their means, "pooled", the nodes
// behind it, and 5 logits of "last", which has one channel. The weights called many are for as many channels from as many.
func chain(channels int64, nodes ...*onnxpb.NodeProto) *onnxpb.GraphProto {
	zeros := func(name string, dims ...int64) *onnxpb.TensorProto {
		n := int64(4)
		for _, d := range dims {
			n *= d
		}
		return &onnxpb.TensorProto{Name: proto.String(name), Dims: dims, DataType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), RawData: make([]byte, n)}
	}
	var sides []*onnxpb.TensorShapeProto_Dimension
	for _, v := range []int64{1, 3, 1, 1} {
		sides = append(sides, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: v}})
	}
	image := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(onnxpb.TensorProto_FLOAT)), Shape: &onnxpb.TensorShapeProto{Dim: sides}}
	g := &onnxpb.GraphProto{
		Input:       []*onnxpb.ValueInfoProto{{Name: proto.String("x"), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: image}}}},
		Initializer: []*onnxpb.TensorProto{zeros("wide.weight", channels, 3, 1, 1), zeros(many, channels, channels), zeros("last.weight", 5, 1)},
		Output:      []*onnxpb.ValueInfoProto{{Name: proto.String("logits")}},
	}
	g.Node = append(g.Node, op("Conv", "wide", "x", "wide.weight"), op("Flatten", "pooled", "wide"))
	g.Node = append(append(g.Node, nodes...), op("Gemm", "logits", "last", "last.weight"))
	g.Node[len(g.Node)-1].Attribute = []*onnxpb.AttributeProto{integer("transB", 1)}
	return g
}

var many = strings.Repeat("many", 8000) + ".weight" // a long name

func op(kind, output string, inputs ...string) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(kind), Name: proto.String(output), Input: inputs, Output: []string{output}}
}

// What a graph makes of few bytes is counted before there is no memory left.
func TestMemory(t *testing.T) {
	along := func(n *onnxpb.NodeProto, axis int) *onnxpb.NodeProto {
		n.Attribute = append(n.Attribute, integer("axis", axis))
		return n
	}
	each := along(op("Split", "last", "pooled"), 1) // into a part for each channel
	for i := range 2047 {
		each.Output = append(each.Output, fmt.Sprint("part", i))
	}
	join := along(op("Concat", "last", slices.Repeat([]string{"pooled"}, 2048)...), 1)
	repeated := func(n int, node func(out, in string) *onnxpb.NodeProto) (nodes []*onnxpb.NodeProto) {
		in := "pooled"
		for i := range n {
			out := fmt.Sprint("value", i)
			nodes, in = append(nodes, node(out, in)), out
		}
		return append(nodes, op("Identity", "last", in))
	}
	for _, tt := range []struct {
		why      string
		channels int64
		nodes    []*onnxpb.NodeProto
		want     string // in the error; none if empty
	}{
		{"many parts of many channels", 2048, []*onnxpb.NodeProto{each}, ""},
		{"many times many channels", 2048, []*onnxpb.NodeProto{join}, "too large"},
		{"the same weights in many layers", 64, repeated(300, func(out, in string) *onnxpb.NodeProto { return op("MatMul", out, in, many) }), "its weights and those of the nodes before are too many"},
		{"channels picked again and again", 2048, repeated(300, func(out, in string) *onnxpb.NodeProto {
			n := op("Slice", out, in)
			n.Attribute = []*onnxpb.AttributeProto{integers("starts", 0), integers("ends", -1), integers("axes", 1)}
			return n
		}), "and many for nodes before: that is too many"},
		{"a constant of ever more dimensions", 1, repeated(300, func(out, in string) *onnxpb.NodeProto {
			n := op("Unsqueeze", out, strings.Replace(in, "pooled", many, 1))
			n.Attribute = []*onnxpb.AttributeProto{integers("axes", 0, 1, 2, 3)}
			return n
		}), "its output has 10 dimensions"},
		{"integers without end", 1, []*onnxpb.NodeProto{
			{OpType: proto.String("Constant"), Output: []string{"list"}, Attribute: []*onnxpb.AttributeProto{integers("value_ints", make([]int, 64)...)}},
			along(op("Concat", "last", slices.Repeat([]string{"list"}, 20_000)...), 0),
		}, "want a short list"},
		{"a long name for many layers", 1, repeated(600, func(out, in string) *onnxpb.NodeProto { return op("MatMul", out, in, many) }), ""},
	} {
		t.Run(tt.why, func(t *testing.T) {
			p := chain(tt.channels, tt.nodes...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := newGraph(1<<18).read(p, 0)
			runtime.ReadMemStats(&after)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v; want %q", err, tt.want)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
				t.Errorf("it took %d MiB", took>>20)
			}
		})
	}
}

// A file may leave the height and width open.
func TestImportSize(t *testing.T) {
	open, err := os.ReadFile("testdata/sizes/open.onnx")
	if err != nil {
		t.Fatal(err)
	}
	im, err := Import(open, 32)
	if err != nil {
		t.Fatal(err)
	}
	if want := (model.Shape{H: 32, W: 32, C: 3}); im.Network.Input != want {
		t.Errorf("its input is %v, want %v", im.Network.Input, want)
	}
	if _, err := Import(open, 0); err == nil || !strings.Contains(err.Error(), "no height or width") {
		t.Error(err)
	}
	if _, err := Import(plain(t, func(*onnxpb.ModelProto) {}), 32); err == nil || !strings.Contains(err.Error(), "takes no other size") {
		t.Error(err)
	}
}

func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/*.onnx")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := Import(data, 16)
		if err != nil {
			im, err = Import(data, 0)
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "onnx: ") {
				t.Errorf("%v does not say that it is about ONNX", err)
			}
			return
		}
		if err := im.Network.Check(im.Params); err != nil {
			t.Error(err)
		}
	})
}
