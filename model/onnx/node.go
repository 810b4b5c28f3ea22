package onnx

import (
	"errors"
	"fmt"

	"github.com/logobeam/logobeam/model/onnx/internal/onnxpb"
)

// node is an operator of the graph with its attributes, and what it reads.
type node struct {
	*onnxpb.NodeProto
	attributes map[string]*onnxpb.AttributeProto
	constants  []*constant // by input; nil for an image and for one left out
	views      []*view     // by input; nil for a constant and for one left out
}

func newNode(p *onnxpb.NodeProto) *node {
	n := &node{NodeProto: p, attributes: map[string]*onnxpb.AttributeProto{}}
	for _, a := range p.Attribute {
		n.attributes[a.GetName()] = a
	}
	return n
}

// integer is an attribute, or what is meant where it is left out.
func (n *node) integer(name string, otherwise int64) int64 {
	if a := n.attributes[name]; a != nil {
		return a.GetI()
	}
	return otherwise
}

func (n *node) number(name string, otherwise float32) float32 {
	if a := n.attributes[name]; a != nil {
		return a.GetF()
	}
	return otherwise
}

func (n *node) text(name string) string {
	return string(n.attributes[name].GetS())
}

func (n *node) list(name string) []int64 { return n.attributes[name].GetInts() }

// pair is an attribute with a number for rows and one for columns, which have to be the same.
func (n *node) pair(name string, otherwise int) (int, error) {
	l := n.list(name)
	if len(l) == 0 {
		return otherwise, nil
	}
	if len(l) != 2 || l[0] != l[1] || l[0] < 1 || l[0] > maxValues {
		return 0, fmt.Errorf("%s %v: want the same for rows and columns", name, l)
	}
	return int(l[0]), nil
}

// has reports whether an input is there.
func (n *node) has(input int) bool {
	return input < len(n.Input) && n.Input[input] != ""
}

// image is an input that depends on the network's.
func (n *node) image(input int) (view, error) {
	if !n.has(input) || n.views[input] == nil {
		return view{}, fmt.Errorf("input %d has to be of the image, and is a constant", input)
	}
	return *n.views[input], nil
}

// floats are the values of an input that has to be constant and of so many; nil where it is left out.
func (n *node) floats(input, count int) ([]float32, error) {
	if !n.has(input) {
		return nil, nil
	}
	c := n.constants[input]
	if c == nil {
		return nil, fmt.Errorf("input %q has to be a constant", n.Input[input])
	}
	if c.floats == nil || len(c.floats) != count {
		return nil, fmt.Errorf("input %q has the shape %v: want %d numbers", n.Input[input], c.shape, count)
	}
	return c.floats, nil
}

// weight is an input that has to be constant and of so many dimensions.
func (n *node) weight(input, rank int) (constant, error) {
	if !n.has(input) || n.constants[input] == nil {
		return constant{}, fmt.Errorf("input %d, the weights, has to be a constant", input)
	}
	c := *n.constants[input]
	if c.floats == nil || len(c.shape) != rank || len(c.floats) == 0 {
		return constant{}, fmt.Errorf("its weights %q have the shape %v: want %d dimensions of numbers", n.Input[input], c.shape, rank)
	}
	return c, nil
}

// integers is an attribute that has been an input since some version of the operator.
func (n *node) integers(name string, input int) ([]int64, error) {
	if a := n.attributes[name]; a != nil {
		return a.GetInts(), nil
	}
	if !n.has(input) {
		return nil, nil
	}
	if c := n.constants[input]; c != nil && c.ints != nil {
		return c.ints, nil
	}
	return nil, fmt.Errorf("input %q, its %s, has to be of constant integers", n.Input[input], name)
}

// axes are those that a node names, of so many dimensions, or -1 and less for those from the last on.
func (n *node) axes(input, rank int) ([]int, error) {
	l, err := n.integers("axes", input)
	if err != nil {
		return nil, err
	}
	if len(l) > maxRank {
		return nil, fmt.Errorf("%d axes", len(l))
	}
	axes := make([]int, len(l))
	for i, a := range l {
		if a < -maxRank || a >= maxRank {
			return nil, fmt.Errorf("axis %d of %d dimensions", a, rank)
		}
		axes[i] = int(a)
	}
	return axes, nil
}

// axis is an attribute that counts from 0, or from the end below that, of so many dimensions.
func (n *node) axis(otherwise int64, rank int) (int, error) {
	a := n.integer("axis", otherwise)
	if a < 0 {
		a += int64(rank)
	}
	if a < 0 || a >= int64(rank) {
		return 0, fmt.Errorf("axis %d of %d dimensions", n.integer("axis", otherwise), rank)
	}
	return int(a), nil
}

// slice is the part of an axis of a given size that a Slice takes. Only one axis may be cut.
func (n *node) slice(rank, axis, size int) (from, to int, err error) {
	var lists [4][]int64
	for i, name := range []string{"starts", "ends", "axes", "steps"} {
		if lists[i], err = n.integers(name, i+1); err != nil {
			return 0, 0, err
		}
	}
	starts, ends, axes, steps := lists[0], lists[1], lists[2], lists[3]
	if len(starts) != 1 || len(ends) != 1 || len(axes) > 1 || len(steps) > 1 || len(steps) == 1 && steps[0] != 1 {
		return 0, 0, errors.New("it cuts several axes, or takes steps: want a part of one axis")
	}
	if len(axes) == 1 && axes[0] != int64(axis) && axes[0] != int64(axis-rank) || len(axes) == 0 && axis != 0 {
		return 0, 0, fmt.Errorf("it cuts axis %v: want that of the channels", axes)
	}
	at := func(v int64) int {
		if v < 0 {
			v += int64(size)
		}
		return int(min(max(v, 0), int64(size)))
	}
	if from, to = at(starts[0]), at(ends[0]); from >= to {
		return 0, 0, fmt.Errorf("nothing is left from %d to %d of %d", starts[0], ends[0], size)
	}
	return from, to, nil
}
