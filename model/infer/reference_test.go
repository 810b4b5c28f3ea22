package infer

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/logobeam/logobeam/model"
)

// reference runs a network on one image in float64 by the definitions of its layers: activations and weights as PyTorch
// lays them out (CHW, OIHW), one multiplication after another, padding by asking whether a pixel is there. It shares
// nothing with the kernels and works out its own output sizes. It gives the output of every layer by name.
func reference(t *testing.T, n model.Network, p model.Params, image []float32) map[string]volume {
	t.Helper()
	in := volume{n.Input.C, n.Input.H, n.Input.W, make([]float64, n.Input.Size())}
	for y := range in.h {
		for x := range in.w {
			for c := range in.c {
				in.v[(c*in.h+y)*in.w+x] = float64(image[(y*in.w+x)*in.c+c])
			}
		}
	}
	out := map[string]volume{model.Input: in}
	before := in
	for _, l := range n.Layers {
		from := []volume{before}
		if len(l.From) > 0 {
			from = nil
			for _, name := range l.From {
				from = append(from, out[name])
			}
		}
		x, y := from[0], volume{}
		weight, bias := p[l.Name+".weight"], p[l.Name+".bias"]
		switch l.Op {
		case model.Conv:
			y = windows(x, l, l.Out, func(o int, at func(c, ky, kx int) (float64, bool)) float64 {
				sum := float64(bias[o])
				for c := range x.c {
					for ky := range l.Kernel {
						for kx := range l.Kernel {
							v, _ := at(c, ky, kx)
							sum += v * float64(weight[((o*l.Kernel+ky)*l.Kernel+kx)*x.c+c])
						}
					}
				}
				return sum
			})
		case model.Depthwise:
			y = windows(x, l, x.c, func(o int, at func(c, ky, kx int) (float64, bool)) float64 {
				sum := float64(bias[o])
				for ky := range l.Kernel {
					for kx := range l.Kernel {
						v, _ := at(o, ky, kx)
						sum += v * float64(weight[(ky*l.Kernel+kx)*x.c+o])
					}
				}
				return sum
			})
		case model.MaxPool:
			y = windows(x, l, x.c, func(o int, at func(c, ky, kx int) (float64, bool)) float64 {
				best := math.Inf(-1)
				for ky := range l.Kernel {
					for kx := range l.Kernel {
						if v, there := at(o, ky, kx); there {
							best = math.Max(best, v)
						}
					}
				}
				return best
			})
		case model.Dense:
			y = volume{l.Out, 1, 1, make([]float64, l.Out)}
			for o := range l.Out {
				y.v[o] = float64(bias[o])
				for c := range x.c {
					for i := range x.h * x.w {
						y.v[o] += x.v[c*x.h*x.w+i] * float64(weight[(o*x.h*x.w+i)*x.c+c])
					}
				}
			}
		case model.GlobalAvgPool:
			y = volume{x.c, 1, 1, make([]float64, x.c)}
			for i, v := range x.v {
				y.v[i/(x.h*x.w)] += v / float64(x.h*x.w)
			}
		case model.Add:
			y = volume{x.c, x.h, x.w, make([]float64, len(x.v))}
			for _, f := range from {
				for i, v := range f.v {
					y.v[i] += v
				}
			}
		case model.Concat: // along channels, which come first here
			y = volume{0, x.h, x.w, nil}
			for _, f := range from {
				y.c += f.c
				y.v = append(y.v, f.v...)
			}
		default:
			t.Fatalf("no reference for %s", l.Op)
		}
		for i, v := range y.v {
			switch l.Act {
			case model.ReLU:
				y.v[i] = math.Max(v, 0)
			case model.ReLU6:
				y.v[i] = math.Min(math.Max(v, 0), 6)
			}
		}
		out[l.Name], before = y, y
	}
	return out
}

// volume is the activation of one image, [c][h][w].
type volume struct {
	c, h, w int
	v       []float64
}

// windows slides l's window over x and fills so many channels with what f makes of it. Outside x, at gives 0 and false.
func windows(x volume, l model.Layer, channels int, f func(o int, at func(c, ky, kx int) (float64, bool)) float64) volume {
	stride := l.Stride
	if stride == 0 {
		stride = 1
	}
	size := func(n int) (outs, before int) {
		switch l.Padding {
		case model.Same:
			outs = int(math.Ceil(float64(n) / float64(stride)))
			all := (outs-1)*stride + l.Kernel - n // rows of padding in all, if any
			return outs, int(math.Max(0, float64(all))) / 2
		case model.CeilMode: // PyTorch's rule for pools: as many windows as begin inside the input or the padding before it
			for outs*stride < n+l.Pad && (outs == 0 || (outs-1)*stride+l.Kernel < n+2*l.Pad) {
				outs++
			}
			return outs, l.Pad
		}
		for outs*stride+l.Kernel <= n+2*l.Pad {
			outs++
		}
		return outs, l.Pad
	}
	h, top := size(x.h)
	w, left := size(x.w)
	y := volume{channels, h, w, make([]float64, channels*h*w)}
	for o := range channels {
		for oy := range h {
			for ox := range w {
				y.v[(o*h+oy)*w+ox] = f(o, func(c, ky, kx int) (float64, bool) {
					iy, ix := oy*stride-top+ky, ox*stride-left+kx
					if iy < 0 || ix < 0 || iy >= x.h || ix >= x.w {
						return 0, false
					}
					return x.v[(c*x.h+iy)*x.w+ix], true
				})
			}
		}
	}
	return y
}

// randomParams fills a network such that activations keep their size through it: nothing is zero, no ReLU6 is always full.
func randomParams(t *testing.T, n model.Network, seed uint64) model.Params {
	t.Helper()
	for i := range n.Layers {
		n.Layers[i].Zero = false
	}
	p, err := model.Init(n, seed)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	for _, l := range n.Layers {
		for i := range p[l.Name+".bias"] {
			p[l.Name+".bias"][i] = float32(random.NormFloat64() * 0.1)
		}
	}
	return p
}

func randomImage(n model.Network, seed uint64) []float32 {
	random := rand.New(rand.NewPCG(seed, 2))
	image := make([]float32, n.Input.Size())
	for i := range image {
		image[i] = float32(random.NormFloat64())
	}
	return image
}
