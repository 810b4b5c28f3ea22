package model

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// xavierMagnitude is the article's, and MXNet's for its residual networks.
const xavierMagnitude = 2.24

// Init draws the parameters of a network that starts from nothing. Each parameter has its own random stream, given by
// seed and its name, so the same seed gives the same values whatever other layers there are. Biases, and weights of
// layers marked Zero, are 0.
//
// mlp and article-cnn get Xavier's uniform weights with MXNet's magnitude (Glorot and Bengio, 2010): within ±sqrt(2.24
// / ((in + out) / 2)). All others get He's normal weights (He et al., Delving Deep into Rectifiers, 2015): variance 2 /
// in before a ReLU, 1 / in before nothing. In and out count the inputs of one output, and the outputs of one input.
func Init(n Network, seed uint64) (Params, error) {
	params := Params{}
	for i := range n.Layers {
		if err := initLayer(n, i, seed, params); err != nil {
			return nil, err
		}
	}
	return params, nil
}

// initLayer draws the parameters of one layer as Init does and puts them into params. A layer that has none is left alone.
func initLayer(n Network, layer int, seed uint64, params Params) error {
	all, err := n.Parameters()
	if err != nil {
		return err
	}
	if layer < 0 || layer >= len(n.Layers) {
		return fmt.Errorf("model: %s has no layer %d", n.Arch, layer)
	}
	for _, p := range all {
		if p.Layer != layer {
			continue
		}
		values := make([]float32, p.Len())
		if len(p.Shape) > 1 && !n.Layers[layer].Zero {
			draw(values, n, p, seed)
		}
		params[p.Name] = values
	}
	return nil
}

func draw(values []float32, n Network, p Param, seed uint64) {
	name := fnv.New64a()
	name.Write([]byte(p.Name))
	random := rand.New(rand.NewPCG(seed, name.Sum64()))

	l, s := n.Layers[p.Layer], p.Shape
	in, out := 0, 0
	switch l.Op {
	case Conv:
		in, out = s[1]*s[2]*s[3], s[0]*s[1]*s[2]
	case Depthwise:
		in, out = s[0]*s[1], s[0]*s[1]
	case Dense:
		in, out = s[1]*s[2]*s[3], s[0]
	}
	if n.Arch == "mlp" || n.Arch == "article-cnn" {
		bound := math.Sqrt(xavierMagnitude / (float64(in+out) / 2))
		for i := range values {
			values[i] = float32((2*random.Float64() - 1) * bound)
		}
		return
	}
	gain := 2.0
	if l.Act == Linear {
		gain = 1
	}
	deviation := math.Sqrt(gain / float64(in))
	for i := range values {
		values[i] = float32(random.NormFloat64() * deviation)
	}
}
