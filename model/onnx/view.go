package onnx

import "slices"

// axis is a direction in an image.
type axis int

const (
	channel axis = iota
	row
	column
)

// atom is a number of places along one axis, so many steps apart.
type atom struct {
	axis         axis
	size, stride int
}

// view says how a tensor of the graph lies on the output of a layer. ONNX describes what becomes of a tensor's shape by
// nodes of its own (Flatten, Reshape, Transpose, Split); here they change the view, and the layer that reads it arranges
// its weights accordingly, once.
type view struct {
	layer int // -1 is the network's input
	// pick are the layer's channels in the order in which the tensor has them; nil is all in their order.
	pick []int
	// dims are the tensor's dimensions without the first, which is the batch. Each is a product of atoms, the outermost
	// first; one of size 1 has none. Those of channels count in pick.
	dims [][]atom
	// shared says that others read the same values, so that what comes next must not change them.
	shared bool
	// pads are zeros around the image that are still to be added: top, left, bottom, right.
	pads [4]int
	// probabilities says that there was a softmax, which is left out since infer has its own.
	probabilities bool
}

// sizes are those of the dimensions.
func (v view) sizes() []int {
	sizes := make([]int, len(v.dims))
	for i, d := range v.dims {
		sizes[i] = size(d)
	}
	return sizes
}

func size(atoms []atom) int {
	n := 1
	for _, a := range atoms {
		n *= a.size
	}
	return n
}

// reshape gives the same values other dimensions. Not ok is a shape that cuts through rows or columns.
func reshape(dims [][]atom, sizes []int) (out [][]atom, ok bool) {
	rest := slices.Concat(dims...)
	for _, n := range sizes {
		var d []atom
		for n > 1 {
			if len(rest) == 0 {
				return nil, false
			}
			a := rest[0]
			switch {
			case n%a.size == 0:
				rest = rest[1:]
			case a.size%n == 0: // the outer part is taken
				rest = slices.Clone(rest)
				rest[0].size /= n
				a = atom{a.axis, n, a.stride * rest[0].size}
			default:
				return nil, false
			}
			n /= a.size
			if last := len(d) - 1; last >= 0 && d[last].axis == a.axis && d[last].stride == a.size*a.stride {
				d[last] = atom{a.axis, d[last].size * a.size, a.stride}
			} else {
				d = append(d, a)
			}
		}
		out = append(out, d)
	}
	return out, len(rest) == 0
}

// whole makes the dimension of all places along an axis.
func whole(a axis, n int) []atom {
	if n == 1 {
		return nil
	}
	return []atom{{a, n, 1}}
}

// along reports whether a dimension runs along one axis alone.
func along(d []atom, a axis) bool {
	return !slices.ContainsFunc(d, func(part atom) bool { return part.axis != a })
}

// place is a value of an image.
type place struct{ channel, row, column int }

// places lists what a dimension runs through, in its order.
func places(d []atom) []place {
	all := []place{{}}
	for _, a := range d {
		next := make([]place, 0, len(all)*a.size)
		for _, p := range all {
			for i := range a.size {
				q := p
				switch a.axis {
				case channel:
					q.channel += i * a.stride
				case row:
					q.row += i * a.stride
				case column:
					q.column += i * a.stride
				}
				next = append(next, q)
			}
		}
		all = next
	}
	return all
}

// channels are the layer's channels that a dimension along them runs through, in its order.
func (v view) channels(d []atom) []int {
	all := make([]int, 0, size(d))
	for _, p := range places(d) {
		c := p.channel
		if v.pick != nil {
			c = v.pick[c]
		}
		all = append(all, c)
	}
	return all
}

// inOrder reports whether a pick is all of so many channels in their order.
func inOrder(pick []int, channels int) bool {
	if len(pick) != channels {
		return false
	}
	for i, c := range pick {
		if i != c {
			return false
		}
	}
	return true
}
