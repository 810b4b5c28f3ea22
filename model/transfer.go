package model

import (
	"fmt"
	"slices"
)

// Transfer copies from's parameters for a network of the same architecture that is to learn classes: the weights to
// fine-tune. The head is drawn anew from seed unless from knows the very same classes in the same order; fresh names
// the parameters drawn.
func Transfer(n Network, classes []string, from *Model, seed uint64) (p Params, fresh []string, err error) {
	all, err := n.Parameters()
	if err != nil {
		return nil, nil, err
	}
	head, keep := n.Head(), slices.Equal(classes, from.Card.Classes)
	p = make(Params, len(all))
	for _, want := range all {
		if want.Layer == head && !keep {
			fresh = append(fresh, want.Name)
			continue
		}
		have, ok := from.Params[want.Name]
		if !ok || len(have) != want.Len() {
			return nil, nil, fmt.Errorf("model: %s has no parameter %s of shape %v, which %s needs; begin with a model of the same architecture and input size",
				from.Network.Arch, want.Name, want.Shape, n.Arch)
		}
		p[want.Name] = slices.Clone(have)
	}
	if len(fresh) > 0 {
		if err := initLayer(n, head, seed, p); err != nil {
			return nil, nil, err
		}
	}
	return p, fresh, nil
}

// WithClasses is n with so many logits: its head has as many outputs. The parameters of the other layers fit as they are.
func (n Network) WithClasses(classes int) (Network, error) {
	head := n.Head()
	if head < 0 || n.Layers[head].Op == Depthwise {
		return n, fmt.Errorf("model: %s has no last layer that could be given %d classes", n.Arch, classes)
	}
	n.Layers = slices.Clone(n.Layers)
	n.Layers[head].Out = classes
	shapes, err := n.Shapes()
	if err != nil {
		return n, err
	}
	if got := shapes[len(shapes)-1].Size(); got != classes {
		return n, fmt.Errorf("model: %s gives %d values where layer %s has %d outputs; want as many", n.Arch, got, n.Layers[head].Name, classes)
	}
	return n, nil
}
