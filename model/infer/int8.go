package infer

import (
	"fmt"
	"math"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
)

// CompileInt8 works a network out in int8: weights with a scale for each output channel, activations with a scale and a
// zero point for each tensor, by the ranges of q, and biases that keep the means of the outputs. Layers that are joined
// share one scale, and so do a maximum pool and what it reads, so that neither has anything to compute. The logits are
// float32 again. They are the same bytes on every processor, since sums are exact.
//
// It keeps slices of p, as Compile does. Parameters and ranges that do not fit the network are an error.
func CompileInt8(n model.Network, p model.Params, q *model.Quantization) (*Plan, error) {
	if q == nil {
		return nil, fmt.Errorf("infer: %s has no quantization: run it in fp32, or quantize it first", n.Arch)
	}
	plan, err := lay(n, p, 1)
	if err != nil {
		return nil, err
	}
	if err := q.Check(n); err != nil {
		return nil, err
	}
	ins, err := n.Inputs()
	if err != nil {
		return nil, err
	}
	scales := tensorScales(n, ins, q.Ranges)
	plan.precision, plan.inputScale = model.Int8, scales[0]
	for i := range plan.steps {
		s := &plan.steps[i]
		s.quantized = &quantized{out: scales[i+1], logits: i == len(plan.steps)-1}
		for _, j := range ins[i] {
			s.quantized.in = append(s.quantized.in, scales[j+1])
		}
		if from := ins[i][0]; from < 0 {
			s.quantized.means = q.Means[model.Input]
		} else {
			s.quantized.means = q.Means[n.Layers[from].Name]
		}
		s.pack()
	}
	return plan, nil
}

// scale is what the bytes of a tensor stand for: size * (q - zero).
type scale struct {
	size float64
	zero uint8
}

// leastScale keeps quotients of scales finite. A tensor that never holds anything but zero gets it.
const leastScale = 0x1p-40

// newScale covers a range, and zero in any case: padding and what an activation clips are zeros, which must be exact.
func newScale(r model.Range) scale {
	low, high := min(float64(r[0]), 0), max(float64(r[1]), 0)
	size := max((high-low)/255, leastScale)
	return scale{size, uint8(min(math.RoundToEven(-low/size), 255))}
}

// tensorScales gives the scales of the input and of every layer's output, in this order.
func tensorScales(n model.Network, ins [][]int, ranges map[string]model.Range) []scale {
	same := make([]int, len(ins)+1) // another tensor of the same scale, or itself
	for i := range same {
		same[i] = i
	}
	root := func(i int) int {
		for same[i] != i {
			i = same[i]
		}
		return i
	}
	all := []model.Range{ranges[model.Input]}
	for i, l := range n.Layers {
		all = append(all, ranges[l.Name])
		if l.Op == model.Concat || l.Op == model.MaxPool {
			for _, j := range ins[i] {
				same[root(j+1)] = root(i + 1)
			}
		}
	}
	for i, r := range all {
		whole := &all[root(i)]
		whole[0], whole[1] = min(whole[0], r[0]), max(whole[1], r[1])
	}
	scales := make([]scale, len(all))
	for i := range all {
		scales[i] = newScale(all[root(i)])
	}
	return scales
}

// quantized is what a step needs beside its weights in float32 to run in int8.
type quantized struct {
	in     []scale
	out    scale
	means  []float32 // of the input's channels
	logits bool      // the output is wanted in float32

	packed  *kernel.PackedInt8
	requant kernel.Requant
	// real is what the sums of each output channel are multiplied by where logits are wanted.
	real []float32
	sums []kernel.AddQuant // one for each operand of a sum after the first
	mean float32           // what the sum over all pixels is multiplied by
}

// limits are the bytes between which an activation keeps the outputs.
func (q *quantized) limits(act kernel.Act) (low, high uint8) {
	switch act {
	case kernel.ReLU:
		return q.out.zero, 255
	case kernel.ReLU6:
		return q.out.zero, uint8(min(math.RoundToEven(6/q.out.size)+float64(q.out.zero), 255))
	}
	return 0, 255
}

// pack makes what the int8 kernels read of the step's weights.
func (q *quantized) pack(s *step) {
	in, out := q.in[0], q.out
	low, high := q.limits(s.act)
	inputs := s.shape.H * s.shape.W * s.shape.C
	switch s.op {
	case model.Conv:
		w := q.weights(s, s.shape.Kernel*s.shape.Kernel*s.shape.C)
		q.packed = kernel.PackConvInt8(w, s.shape)
	case model.Dense:
		w := q.weights(s, inputs)
		q.packed = kernel.PackDenseInt8(w, s.shape.OutC, inputs)
	case model.Depthwise:
		w := q.weights(s, s.shape.Kernel*s.shape.Kernel)
		q.packed = kernel.PackDepthwiseInt8(w, s.shape)
	case model.GlobalAvgPool:
		pixels := float64(s.shape.H * s.shape.W)
		q.mean = multiplier(in.size, out.size*pixels)
		if q.logits {
			q.mean = multiplier(in.size, pixels)
		}
	case model.Add:
		first := in // the sum so far
		for i, other := range q.in[1:] {
			sum := kernel.AddQuant{ZeroA: first.zero, ScaleA: multiplier(first.size, out.size),
				ZeroB: other.zero, ScaleB: multiplier(other.size, out.size), Zero: out.zero, High: 255}
			if i == len(q.in)-2 {
				sum.Low, sum.High = low, high
			}
			q.sums = append(q.sums, sum)
			first = out
		}
	}
	q.requant.Zero, q.requant.Low, q.requant.High = out.zero, low, high
}

// multiplier is a/b, so far from infinity that no sum times it is.
func multiplier(a, b float64) float32 { return float32(min(a/b, 0x1p90)) }

// The sum of all products of a channel stays below the one and a bias below the other, and both together within int32,
// however many inputs there are.
const (
	maxProducts = 1.5 * (1 << 30)
	maxBias     = 1 << 28
)

// weights quantises the step's weights, each output channel's by themselves: symmetric, to the nearest of -127 to 127
// times a scale. It sets what the sums of products are completed with. What rounding the weights adds to the mean of an
// output is taken from its bias.
func (q *quantized) weights(s *step, inputs int) []int8 {
	channel, next := inputs, 1 // how far apart channels are, and a channel's weights
	if s.op == model.Depthwise {
		channel, next = 1, s.shape.OutC
	}
	in, outs := q.in[0], s.shape.OutC
	w := make([]int8, len(s.weight))
	q.requant.Bias, q.requant.Scale, q.real = make([]int32, outs), make([]float32, outs), make([]float32, outs)
	for o := range outs {
		largest, positive, negative := 0.0, 0.0, 0.0
		for i := range inputs {
			v := float64(s.weight[o*channel+i*next])
			largest, positive, negative = max(largest, math.Abs(v)), positive+max(v, 0), negative+max(-v, 0)
		}
		bias := float64(s.bias[o])
		size := max(largest/127, 255*max(positive, negative)/maxProducts, math.Abs(bias)/(in.size*maxBias))
		if size == 0 {
			size = 1 // of a channel that is always zero
		}
		sum, added := 0, 0.0
		for i := range inputs {
			at := o*channel + i*next
			w[at] = int8(math.RoundToEven(float64(s.weight[at]) / size))
			sum += int(w[at])
			mean := q.means[i%len(q.means)]
			if s.op == model.Depthwise {
				mean = q.means[o]
			}
			added += (size*float64(w[at]) - float64(s.weight[at])) * float64(mean)
		}
		bias = min(max(bias-added, -in.size*size*maxBias), in.size*size*maxBias)
		q.requant.Bias[o] = int32(int(math.RoundToEven(bias/(in.size*size))) - sum*int(in.zero))
		q.requant.Scale[o] = multiplier(in.size*size, q.out.size)
		q.real[o] = multiplier(in.size*size, 1)
	}
	return w
}

// scratch is how many bytes the step wants beside its buffers.
func (q *quantized) scratch(s *step) int {
	switch s.op {
	case model.Conv:
		return kernel.ConvInt8Scratch(s.shape)
	case model.Depthwise:
		return kernel.DepthwiseInt8Scratch(s.shape)
	}
	return 0
}

// runInt8 is step in int8.
func (a *Arena) runInt8(s *step, first, n, goroutine int) {
	m, q := &a.bytes, s.quantized
	dst, src, in := m.values(s.dst, first)[s.to:], m.values(s.src[0], first)[s.from:], s.shape.H*s.shape.W*s.shape.C
	logits := a.logits[first*a.plan.classes:]
	scratch := m.scratch[goroutine]
	switch s.op {
	case model.Conv:
		kernel.ConvInt8(dst, src, n, q.packed, &q.requant, s.shape, q.in[0].zero, scratch)
	case model.Depthwise:
		kernel.DepthwiseInt8(dst, src, n, q.packed, &q.requant, s.shape, q.in[0].zero, scratch)
	case model.Dense:
		if q.logits {
			kernel.DenseInt8Float(logits[s.to:], src, n, q.packed, q.requant.Bias, q.real)
			activate(logits[s.to:][:n*s.shape.OutC], s.act)
			return
		}
		kernel.DenseInt8(dst, src, n, q.packed, &q.requant)
	case model.MaxPool:
		kernel.MaxPoolInt8(dst, src, n, s.shape)
	case model.GlobalAvgPool:
		if q.logits {
			means(logits, src, n, s.shape.H*s.shape.W, s.shape.C, q.in[0].zero, q.mean)
			return
		}
		kernel.GlobalAvgPoolInt8(dst, src, n, s.shape.H*s.shape.W, s.shape.C, q.in[0].zero, q.mean, q.out.zero)
	case model.Add:
		sum := dst[:n*in]
		for i := range q.sums {
			kernel.AddInt8(sum, src[:n*in], m.values(s.src[i+1], first)[:n*in], &q.sums[i])
			src = sum
		}
	case model.Concat:
		for _, c := range s.copies {
			join(dst[c.to:], m.values(c.src, first), n*s.shape.H*s.shape.W, c.channels, s.shape.OutC)
		}
	}
	if q.logits {
		for i, v := range m.values(a.plan.out, first)[:n*a.plan.classes] {
			logits[i] = float32((float64(v) - float64(q.out.zero)) * q.out.size)
		}
	}
}

// activate is the activation of logits.
func activate(logits []float32, act kernel.Act) {
	for i, v := range logits {
		if act != kernel.Linear {
			v = max(v, 0)
		}
		if act == kernel.ReLU6 {
			v = min(v, 6)
		}
		logits[i] = v
	}
}

// means computes dst[n][c], the means over the pixels of src[n][pixels][c], with no rounding but float32's.
func means(dst []float32, src []uint8, n, pixels, c int, zero uint8, scale float32) {
	for i := range n {
		for j := range c {
			sum := -int64(pixels) * int64(zero)
			for p := range pixels {
				sum += int64(src[(i*pixels+p)*c+j])
			}
			dst[i*c+j] = float32(sum) * scale
		}
	}
}
