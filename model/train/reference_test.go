package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/logobeam/logobeam/model"
)

// reference computes the loss in float64, layer by layer as the definition of each operation reads, sharing no code with
// the kernels.
type reference struct {
	net    model.Network
	ins    [][]int
	shapes []model.Shape
}

func newReference(t testing.TB, net model.Network) *reference {
	t.Helper()
	ins, err := net.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	shapes, err := net.Shapes()
	if err != nil {
		t.Fatal(err)
	}
	return &reference{net, ins, shapes}
}

// logits of one image.
func (r *reference) logits(t testing.TB, params map[string][]float64, image []float64) []float64 {
	outs := make([][]float64, len(r.shapes))
	for i, l := range r.net.Layers {
		var in [][]float64
		var shapes []model.Shape
		for _, j := range r.ins[i] {
			if j < 0 {
				in, shapes = append(in, image), append(shapes, r.net.Input)
			} else {
				in, shapes = append(in, outs[j]), append(shapes, r.shapes[j])
			}
		}
		out, s := r.shapes[i], shapes[0]
		y := make([]float64, out.Size())
		x := in[0]
		w, bias := params[l.Name+".weight"], params[l.Name+".bias"]
		switch l.Op {
		case model.Conv, model.Depthwise, model.MaxPool:
			win, err := l.Window(s)
			if err != nil {
				t.Fatal(err)
			}
			for oy := range out.H {
				for ox := range out.W {
					for o := range out.C {
						sum, most := 0.0, math.Inf(-1)
						if bias != nil {
							sum = bias[o]
						}
						for ky := range win.Kernel {
							for kx := range win.Kernel {
								iy, ix := oy*win.Stride-win.PadTop+ky, ox*win.Stride-win.PadLeft+kx
								if iy < 0 || ix < 0 || iy >= s.H || ix >= s.W {
									continue
								}
								at := (iy*s.W + ix) * s.C
								switch l.Op {
								case model.Conv:
									for c := range s.C {
										sum += w[((o*win.Kernel+ky)*win.Kernel+kx)*s.C+c] * x[at+c]
									}
								case model.Depthwise:
									sum += w[(ky*win.Kernel+kx)*s.C+o] * x[at+o]
								case model.MaxPool:
									most = math.Max(most, x[at+o])
								}
							}
						}
						if l.Op == model.MaxPool {
							sum = most
						}
						y[(oy*out.W+ox)*out.C+o] = sum
					}
				}
			}
		case model.Dense:
			for o := range y {
				y[o] = bias[o]
				for k, v := range x {
					y[o] += w[o*len(x)+k] * v
				}
			}
		case model.GlobalAvgPool:
			for k, v := range x {
				y[k%s.C] += v / float64(s.H*s.W)
			}
		case model.Add:
			for _, v := range in {
				for k := range y {
					y[k] += v[k]
				}
			}
		case model.Concat:
			first := 0
			for k, v := range in {
				c := shapes[k].C
				for p, u := range v {
					y[p/c*out.C+first+p%c] = u
				}
				first += c
			}
		}
		for k := range y {
			if l.Act != model.Linear {
				y[k] = math.Max(y[k], 0)
			}
			if l.Act == model.ReLU6 {
				y[k] = math.Min(y[k], 6)
			}
		}
		outs[i] = y
	}
	return outs[len(outs)-1]
}

// loss is the mean cross-entropy of the images against smoothed labels.
func (r *reference) loss(t testing.TB, params map[string][]float64, images [][]float64, labels []int, smoothing float64) float64 {
	sum := 0.0
	for i, image := range images {
		z := r.logits(t, params, image)
		log := 0.0
		for _, v := range z {
			log += math.Exp(v)
		}
		log = math.Log(log)
		for c, v := range z {
			share := smoothing / float64(len(z))
			if c == labels[i] {
				share += 1 - smoothing
			}
			sum += share * (log - v)
		}
	}
	return sum / float64(len(images))
}

// gradient is the slope of the loss along each value of a parameter, by central differences.
func (r *reference) gradient(t testing.TB, params map[string][]float64, name string, images [][]float64, labels []int, smoothing float64) []float64 {
	const h = 1e-5
	g := make([]float64, len(params[name]))
	for k, v := range params[name] {
		params[name][k] = v + h
		up := r.loss(t, params, images, labels, smoothing)
		params[name][k] = v - h
		g[k] = (up - r.loss(t, params, images, labels, smoothing)) / (2 * h)
		params[name][k] = v
	}
	return g
}

// problem is a network with parameters, images and labels from a seed, in float32 and as the same numbers in float64.
type problem struct {
	net      model.Network
	params   model.Params
	images   []float32
	labels   []int
	params64 map[string][]float64
	images64 [][]float64
}

func newProblem(t testing.TB, net model.Network, count int, seed uint64) problem {
	t.Helper()
	list, err := net.Parameters()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	p := problem{net: net, params: model.Params{}, params64: map[string][]float64{}}
	for _, q := range list {
		values, values64 := make([]float32, q.Len()), make([]float64, q.Len())
		scale := 0.3
		if len(q.Shape) > 1 {
			scale = 1.5 / math.Sqrt(float64(q.Len()/q.Shape[0]))
		}
		for i := range values {
			values[i] = float32(rng.NormFloat64() * scale)
			values64[i] = float64(values[i])
		}
		p.params[q.Name], p.params64[q.Name] = values, values64
	}
	size := net.Input.Size()
	for range count {
		image := make([]float64, size)
		for k := range image {
			v := float32(rng.NormFloat64())
			p.images = append(p.images, v)
			image[k] = float64(v)
		}
		p.images64 = append(p.images64, image)
		p.labels = append(p.labels, rng.IntN(net.Classes()))
	}
	return p
}

func (p problem) batch(t *trainer) *batch {
	b := t.newBatch(0)
	b.count = len(p.labels)
	for i := range b.images {
		b.images[i] = float32(math.NaN()) // rows that only fill a slice must not be read
	}
	copy(b.images, p.images)
	copy(b.labels, p.labels)
	if err := t.ready(b); err != nil {
		panic(err)
	}
	return b
}
