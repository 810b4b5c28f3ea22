package train

import (
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// crossEntropy is the loss of logits [n][classes] against targets of the same shape: -sum t log softmax(logits). A row
// of targets holds the share each class has in the label times the weight of the image, so that label smoothing,
// weights, the mean over a batch and rows that are only there to fill a slice are all in the targets.
func (b *builder) crossEntropy(classes int) *op {
	n := b.n
	return &op{name: "loss", wrt: []bool{true, false},
		run: func(dst []float32, in [][]float32, _ []float32) {
			sum := 0.0
			for i := range n {
				row, t := in[0][i*classes:(i+1)*classes], in[1][i*classes:(i+1)*classes]
				if log, weight := logSum(row), total(t); weight > 0 {
					for c, v := range row {
						sum += float64(t[c]) * (log - float64(v))
					}
				}
			}
			dst[0] = float32(sum)
		},
		diff: func(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
			d, err := b.apply(&op{name: "loss/dx", out: tensor.Shape{n, classes}, run: func(dst []float32, in [][]float32, _ []float32) {
				for i := range n {
					row, t, d := in[0][i*classes:(i+1)*classes], in[1][i*classes:(i+1)*classes], dst[i*classes:(i+1)*classes]
					log, weight := logSum(row), total(t)
					if weight == 0 {
						clear(d)
						continue
					}
					for c, v := range row {
						d[c] = float32(weight*math.Exp(float64(v)-log) - float64(t[c]))
					}
				}
			}}, in[0], in[1])
			return gorgonia.Nodes{d, nil}, err
		},
	}
}

// logSum is log(sum(exp(row))), without overflow.
func logSum(row []float32) float64 {
	most := math.Inf(-1)
	for _, v := range row {
		most = math.Max(most, float64(v))
	}
	if math.IsInf(most, -1) {
		return most
	}
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v) - most)
	}
	return most + math.Log(sum)
}

func total(row []float32) float64 {
	sum := 0.0
	for _, v := range row {
		sum += float64(v)
	}
	return sum
}
