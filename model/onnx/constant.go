package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/onnx/internal/onnxpb"
)

// constant is a tensor whose values are known when the file is read: weights, or the integers that shapes are worked out
// with. One of floats and ints is there, row-major.
type constant struct {
	shape  []int
	floats []float32
	ints   []int64
}

// widths are the bytes of a value, of the types that are read.
var widths = map[onnxpb.TensorProto_DataType]int{
	onnxpb.TensorProto_FLOAT: 4, onnxpb.TensorProto_FLOAT16: 2, onnxpb.TensorProto_BFLOAT16: 2, onnxpb.TensorProto_DOUBLE: 8,
	onnxpb.TensorProto_INT32: 4, onnxpb.TensorProto_INT64: 8, onnxpb.TensorProto_BOOL: 1,
}

// floating are those that become float32; the others become integers.
var floating = []onnxpb.TensorProto_DataType{onnxpb.TensorProto_FLOAT, onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16, onnxpb.TensorProto_DOUBLE}

// maxValues bounds a tensor, as package model does.
const maxValues = 1 << 30

// product is the number of values of a shape.
func product(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > maxValues || n > maxValues/max(d, 1) {
			return 0, fmt.Errorf("a tensor of the shape %v: at most %d values can be held", shape, maxValues)
		}
		n *= d
	}
	return n, nil
}

// decode reads a tensor of the file. Floating-point numbers of all widths become float32.
func decode(t *onnxpb.TensorProto) (constant, error) {
	if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL || len(t.ExternalData) > 0 {
		return constant{}, errExternal
	}
	c := constant{shape: make([]int, len(t.Dims))}
	for i, d := range t.Dims {
		c.shape[i] = int(min(d, math.MaxInt32))
	}
	n, err := product(c.shape)
	if err != nil {
		return constant{}, err
	}
	kind := onnxpb.TensorProto_DataType(t.GetDataType())
	width := widths[kind]
	if width == 0 {
		return constant{}, fmt.Errorf("a tensor of %v: want float, float16, bfloat16, double, int32, int64 or bool", kind)
	}
	// The values are either raw or in the field for their type.
	raw := t.RawData
	there := len(raw)
	if raw == nil {
		switch kind {
		case onnxpb.TensorProto_FLOAT:
			there = width * len(t.FloatData)
		case onnxpb.TensorProto_DOUBLE:
			there = width * len(t.DoubleData)
		case onnxpb.TensorProto_INT64:
			there = width * len(t.Int64Data)
		default:
			there = width * len(t.Int32Data)
		}
	}
	if there != n*width {
		return constant{}, fmt.Errorf("a tensor of the shape %v with %d bytes of %v: want %d", c.shape, there, kind, n*width)
	}
	if slices.Contains(floating, kind) {
		c.floats = make([]float32, n)
	} else {
		c.ints = make([]int64, n)
	}
	for i := range n {
		switch kind {
		case onnxpb.TensorProto_FLOAT:
			if raw != nil {
				c.floats[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			} else {
				c.floats[i] = t.FloatData[i]
			}
		case onnxpb.TensorProto_FLOAT16, onnxpb.TensorProto_BFLOAT16:
			var bits uint16
			if raw != nil {
				bits = binary.LittleEndian.Uint16(raw[2*i:])
			} else {
				bits = uint16(t.Int32Data[i])
			}
			if kind == onnxpb.TensorProto_FLOAT16 {
				c.floats[i] = model.FromHalf(bits)
			} else {
				c.floats[i] = math.Float32frombits(uint32(bits) << 16)
			}
		case onnxpb.TensorProto_DOUBLE:
			if raw != nil {
				c.floats[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
			} else {
				c.floats[i] = float32(t.DoubleData[i])
			}
		case onnxpb.TensorProto_BOOL:
			if raw != nil {
				c.ints[i] = int64(raw[i])
			} else {
				c.ints[i] = int64(t.Int32Data[i])
			}
		case onnxpb.TensorProto_INT32:
			if raw != nil {
				c.ints[i] = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
			} else {
				c.ints[i] = int64(t.Int32Data[i])
			}
		case onnxpb.TensorProto_INT64:
			if raw != nil {
				c.ints[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
			} else {
				c.ints[i] = t.Int64Data[i]
			}
		}
	}
	return c, nil
}

var errExternal = errors.New(`its weights lie in another file: save them in one, as with torch.onnx.export(..., external_data=False), or in Python: import onnx; onnx.save(onnx.load("model.onnx"), "one.onnx")`)

// fold works out a node that reads constants alone, as exporters leave them behind when they work out shapes.
func (g *graph) fold(op string, n *node, in []constant) (constant, error) {
	switch op {
	case "Identity", "Dropout":
		return in[0], nil
	case "Cast":
		return g.cast(in[0], onnxpb.TensorProto_DataType(n.integer("to", 0)))
	case "Gather", "Slice", "Concat", "Add", "Sub", "Mul", "Div":
		return foldList(op, n, in)
	case "Unsqueeze", "Squeeze", "Reshape", "Flatten":
		return foldShape(op, n, in)
	case "Transpose":
		return g.foldTranspose(n, in[0])
	}
	return constant{}, errors.New("it is supported on images, not on constants")
}

// cast changes the type of a constant.
func (g *graph) cast(c constant, to onnxpb.TensorProto_DataType) (constant, error) {
	switch {
	case slices.Contains(floating, to):
		if c.ints != nil {
			floats, err := g.make(len(c.ints))
			if err != nil {
				return c, err
			}
			for i, v := range c.ints {
				floats[i] = float32(v)
			}
			c.floats, c.ints = floats, nil
		}
	case to == onnxpb.TensorProto_INT32 || to == onnxpb.TensorProto_INT64:
		if c.floats != nil {
			return c, errors.New("of numbers to integers")
		}
	default:
		return c, fmt.Errorf("to %v: want a type of numbers", to)
	}
	return c, nil
}

// foldShape gives a constant another shape.
func foldShape(op string, n *node, in []constant) (constant, error) {
	c := in[0]
	var err error
	switch op {
	case "Unsqueeze":
		var axes []int
		if axes, err = n.axes(1, len(c.shape)); err != nil {
			return c, err
		}
		c.shape, err = unsqueezed(c.shape, axes, 1)
	case "Squeeze":
		var axes []int
		if axes, err = n.axes(1, len(c.shape)); err != nil {
			return c, err
		}
		c.shape, _, err = squeezed(c.shape, axes)
	case "Flatten":
		at := int(n.integer("axis", 1))
		if at < 0 || at > len(c.shape) {
			return c, fmt.Errorf("axis %d of the shape %v", at, c.shape)
		}
		before, e := product(c.shape[:at])
		if e != nil {
			return c, e
		}
		after, e := product(c.shape[at:])
		c.shape, err = []int{before, after}, e
	case "Reshape":
		if len(in) < 2 || in[1].ints == nil {
			return c, errors.New("no shape to give")
		}
		c.shape, err = resolve(in[1].ints, c.shape, n.integer("allowzero", 0) != 0)
	}
	return c, err
}

// unsqueezed puts dimensions of one at the axes of the result.
func unsqueezed[T any](shape []T, axes []int, one T) ([]T, error) {
	rank := len(shape) + len(axes)
	out := make([]T, 0, rank)
	rest := shape
	for i := range rank {
		switch {
		case slices.Contains(axes, i) || slices.Contains(axes, i-rank):
			out = append(out, one)
		case len(rest) > 0:
			out, rest = append(out, rest[0]), rest[1:]
		}
	}
	if len(out) != rank || len(rest) > 0 {
		return nil, fmt.Errorf("axes %v of %d dimensions", axes, rank)
	}
	return out, nil
}

// squeezed takes the axes out of a shape, or all of size 1 if there are none; kept are the others.
func squeezed(shape []int, axes []int) (out, kept []int, err error) {
	for i, d := range shape {
		named := slices.Contains(axes, i) || slices.Contains(axes, i-len(shape))
		if named && d != 1 {
			return nil, nil, fmt.Errorf("axis %d has the size %d", i, d)
		}
		if named || len(axes) == 0 && d == 1 {
			continue
		}
		out, kept = append(out, d), append(kept, i)
	}
	return out, kept, nil
}

// resolve works out the target of a Reshape: -1 is what is left, 0 the size that was there.
func resolve(target []int64, shape []int, zeros bool) ([]int, error) {
	total, err := product(shape)
	if err != nil {
		return nil, err
	}
	out, open := make([]int, len(target)), -1
	for i, t := range target {
		switch {
		case t == 0 && !zeros && i < len(shape):
			out[i] = shape[i]
		case t == -1 && open < 0:
			out[i], open = 1, i
		case t > 0 && t <= maxValues:
			out[i] = int(t)
		default:
			return nil, fmt.Errorf("%v cannot be given the shape %v", shape, target)
		}
	}
	known, err := product(out)
	if err != nil {
		return nil, err
	}
	if open >= 0 && known > 0 && total%known == 0 {
		out[open] = total / known
		known = total
	}
	if known != total {
		return nil, fmt.Errorf("%v cannot be given the shape %v", shape, target)
	}
	return out, nil
}

func (g *graph) foldTranspose(n *node, c constant) (constant, error) {
	if len(c.shape) != 2 || c.floats == nil {
		return c, fmt.Errorf("of a constant of the shape %v: want a matrix", c.shape)
	}
	if perm := n.list("perm"); len(perm) != 0 && !slices.Equal(perm, []int64{1, 0}) {
		return c, nil
	}
	rows, cols := c.shape[0], c.shape[1]
	t, err := g.make(rows, cols)
	if err != nil {
		return c, err
	}
	for i, v := range c.floats {
		t[i%cols*rows+i/cols] = v
	}
	return constant{shape: []int{cols, rows}, floats: t}, nil
}

// foldList works on the lists of integers that shapes are.
func foldList(op string, n *node, in []constant) (constant, error) {
	for _, c := range in {
		if c.floats != nil {
			return constant{}, errors.New("arithmetic on constants other than integers is not supported: PyTorch's torch.onnx.export(..., dynamo=True) does it itself")
		}
		if len(c.ints) == 0 || len(c.ints) > maxRank*maxRank || len(c.shape) > 1 {
			return constant{}, fmt.Errorf("of a constant of the shape %v: want a short list of integers", c.shape)
		}
	}
	x := in[0].ints
	list := func(values []int64) (constant, error) {
		return constant{shape: []int{len(values)}, ints: values}, nil
	}
	switch {
	case op == "Concat":
		var all []int64
		for _, c := range in {
			if all = append(all, c.ints...); len(all) > maxRank*maxRank {
				return constant{}, fmt.Errorf("of %d integers and more: want a short list", len(all))
			}
		}
		return list(all)
	case op == "Slice":
		from, to, err := n.slice(len(in[0].shape), 0, len(x))
		if err != nil {
			return constant{}, err
		}
		return list(x[from:to])
	case len(in) < 2:
		return constant{}, errors.New("it reads one tensor: want two")
	case op == "Gather":
		picked := make([]int64, len(in[1].ints))
		for i, at := range in[1].ints {
			if at < 0 {
				at += int64(len(x))
			}
			if at < 0 || at >= int64(len(x)) {
				return constant{}, fmt.Errorf("index %d of %d integers", in[1].ints[i], len(x))
			}
			picked[i] = x[at]
		}
		return constant{shape: in[1].shape, ints: picked}, nil
	}
	y := in[1].ints
	if len(x) != len(y) && len(x) != 1 && len(y) != 1 {
		return constant{}, fmt.Errorf("of %d and %d integers", len(x), len(y))
	}
	out := make([]int64, max(len(x), len(y)))
	for i := range out {
		a, b := x[i%len(x)], y[i%len(y)]
		switch {
		case op == "Add":
			out[i] = a + b
		case op == "Sub":
			out[i] = a - b
		case op == "Mul":
			out[i] = a * b
		case b == 0:
			return constant{}, errors.New("division by 0")
		default:
			out[i] = a / b
		}
	}
	shape := in[0].shape
	if len(in[1].shape) > len(shape) {
		shape = in[1].shape
	}
	return constant{shape: shape, ints: out}, nil
}
