package infer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/logobeam/logobeam/model"
)

// Method is how Calibrate chooses ranges.
type Method string

// The methods. The network's input gets the range of its values in any case.
const (
	MinMax     Method = "min-max"    // from the least to the largest value seen
	Percentile Method = "percentile" // without the outermost 0.005 % on either side
	LeastError Method = "mse"        // of the least mean squared error, rounding and clipping taken together
)

// Methods lists the names that can be asked for.
func Methods() []Method { return []Method{MinMax, Percentile, LeastError} }

// Calibrate finds what CompileInt8 needs: it runs the network in fp32 on images 0 to count-1, each of which load writes
// in the network's input shape, normalised, and looks at every activation. Up to workers goroutines, at least one, call
// load, twice for each image; the result does not depend on their number.
//
// Images that cannot be loaded are left out; Images of the result says how many were not. None at all is an error, and
// so is an activation that is infinite or not a number. When ctx ends, the error is ctx's.
func Calibrate(ctx context.Context, n model.Network, p model.Params, method Method, count, workers int, load func(i int, image []float32) error) (*model.Quantization, error) {
	if !slices.Contains(Methods(), method) {
		return nil, fmt.Errorf("infer: no calibration method %q; there are %q", method, Methods())
	}
	if count <= 0 {
		return nil, errors.New("infer: there are no images to calibrate with")
	}
	plan, err := Compile(n, p)
	if err != nil {
		return nil, err
	}
	c := &calibration{plan: plan, workers: max(min(workers, count), 1), load: load, unread: make([]error, count)}
	ranges, err := c.extremes(ctx, n)
	if err != nil {
		return nil, err
	}
	images := 0
	for _, err := range c.unread {
		if err == nil {
			images++
		}
	}
	if images == 0 {
		return nil, fmt.Errorf("infer: none of the %d images to calibrate with could be read; the first: %w", count, c.unread[0])
	}
	seen, err := c.histograms(ctx, ranges)
	if err != nil {
		return nil, err
	}
	measured, err := n.Measured()
	if err != nil {
		return nil, err
	}
	q := &model.Quantization{Ranges: map[string]model.Range{}, Means: map[string][]float32{}, Method: string(method), Images: images}
	for i, h := range seen {
		name := model.Input
		if i > 0 {
			name = n.Layers[i-1].Name
		}
		q.Ranges[name] = ranges[i]
		if i > 0 && method != MinMax {
			q.Ranges[name] = h.clip(method)
		}
		if _, ok := measured[name]; ok {
			q.Means[name] = h.means()
		}
	}
	return q, nil
}

// calibration is a network that is looked at while it runs. Its tensors are the input and each layer's output.
type calibration struct {
	plan    *Plan
	workers int
	load    func(i int, image []float32) error
	unread  []error // by image: why it is left out
}

// each runs the network on every image that can be read, and shows all pixels of all tensors to see, which several
// goroutines call at the same time, each with its own number.
func (c *calibration) each(ctx context.Context, see func(goroutine, image, tensor int, pixel []float32)) error {
	var all sync.WaitGroup
	var next atomic.Int64
	for g := range c.workers {
		all.Go(func() {
			a := c.plan.NewArena(1)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(c.unread) {
					return
				}
				if c.unread[i] == nil {
					c.unread[i] = c.load(i, a.Input(0))
				}
				if c.unread[i] != nil {
					continue
				}
				for pixel := range slices.Chunk(a.Input(0), c.plan.input.C) {
					see(g, i, 0, pixel)
				}
				for k := range c.plan.steps {
					s := &c.plan.steps[k]
					a.step(s, 0, 1, 0)
					out, pitch := a.floats.values(s.dst, 0)[s.to:], max(s.shape.Pitch, s.shape.OutC)
					for range s.shape.OutH * s.shape.OutW {
						see(g, i, k+1, out[:s.shape.OutC])
						out = out[min(pitch, len(out)):]
					}
				}
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// extremes are the ranges of all values of each tensor.
func (c *calibration) extremes(ctx context.Context, n model.Network) ([]model.Range, error) {
	type fault struct{ image, tensor int }
	tensors := len(n.Layers) + 1
	seen := make([][]model.Range, c.workers)
	faults := make([]fault, c.workers) // the first of each goroutine
	for g := range seen {
		seen[g] = slices.Repeat([]model.Range{{math.MaxFloat32, -math.MaxFloat32}}, tensors)
		faults[g].image = len(c.unread)
	}
	err := c.each(ctx, func(g, image, tensor int, pixel []float32) {
		r := &seen[g][tensor]
		low, high, bad := r[0], r[1], float32(0)
		for _, v := range pixel {
			low, high = min(low, v), max(high, v)
			bad += v - v // 0, or no number if v is infinite or none
		}
		if bad != 0 {
			if image < faults[g].image {
				faults[g] = fault{image, tensor}
			}
			return
		}
		*r = model.Range{low, high}
	})
	if err != nil {
		return nil, err
	}
	first := slices.MinFunc(faults, func(a, b fault) int { return a.image - b.image })
	if first.image < len(c.unread) {
		name := model.Input
		if first.tensor > 0 {
			name = n.Layers[first.tensor-1].Name
		}
		return nil, fmt.Errorf("infer: image %d makes the output of layer %s infinite or no number: the model cannot be quantised", first.image, name)
	}
	ranges := seen[0]
	for _, other := range seen[1:] {
		for i, r := range other {
			ranges[i] = model.Range{min(ranges[i][0], r[0]), max(ranges[i][1], r[1])}
		}
	}
	return ranges, nil
}

// bins is how finely a tensor's values are told apart: 16 times as finely as 8 bits do.
const bins = 4096

// histogram counts a tensor's values in bins of equal width. Zeros, which are exact in any scale, are left out. All
// that it gathers are integers, whose sums do not depend on an order.
type histogram struct {
	low, width float64
	counts     []int64 // one bin more than bins, for the largest value
	sums       []int64 // of each channel, in units
	pixels     int64
	unit       float64
}

func newHistogram(r model.Range, channels int) histogram {
	low, high := float64(r[0]), float64(r[1])
	return histogram{low: low, width: max((high-low)/bins, leastScale), counts: make([]int64, bins+1),
		sums: make([]int64, channels), unit: max(-low, high, leastScale) / (1 << 30)}
}

func (h *histogram) add(pixel []float32) {
	low, per, units := h.low, 1/h.width, 1/h.unit
	for i, v := range pixel {
		if v != 0 {
			h.counts[int((float64(v)-low)*per)]++
			h.sums[i] += int64(math.RoundToEven(float64(v) * units))
		}
	}
	h.pixels++
}

func (h *histogram) merge(other histogram) {
	for b, n := range other.counts {
		h.counts[b] += n
	}
	for c, sum := range other.sums {
		h.sums[c] += sum
	}
	h.pixels += other.pixels
}

// means are those of the channels.
func (h histogram) means() []float32 {
	all := make([]float32, len(h.sums))
	for c, sum := range h.sums {
		all[c] = float32(float64(sum) * h.unit / float64(h.pixels))
	}
	return all
}

func (c *calibration) histograms(ctx context.Context, ranges []model.Range) ([]histogram, error) {
	seen := make([][]histogram, c.workers)
	for g := range seen {
		for i, r := range ranges {
			channels := c.plan.input.C
			if i > 0 {
				channels = c.plan.steps[i-1].shape.OutC
			}
			seen[g] = append(seen[g], newHistogram(r, channels))
		}
	}
	err := c.each(ctx, func(g, _, tensor int, pixel []float32) { seen[g][tensor].add(pixel) })
	for _, other := range seen[1:] {
		for i := range other {
			seen[0][i].merge(other[i])
		}
	}
	return seen[0], err
}

// middle is the value that stands for a bin.
func (h histogram) middle(b int) float64 { return h.low + (float64(b)+0.5)*h.width }

// clip chooses the range to keep.
func (h histogram) clip(m Method) model.Range {
	choose := h.leastError
	if m == Percentile {
		choose = h.percentile
	}
	low, high := choose()
	return model.Range{float32(low), float32(high)}
}

// outermost is the share of values that Percentile gives up on either side.
const outermost = 0.00005

func (h histogram) percentile() (low, high float64) {
	total := int64(0)
	for _, n := range h.counts {
		total += n
	}
	allowed := int64(outermost * float64(total))
	b, left := 0, allowed
	for ; b < bins && h.counts[b] <= left; b++ {
		left -= h.counts[b]
	}
	low = h.low + float64(b)*h.width
	e := bins
	for left = allowed; e > b && h.counts[e] <= left; e-- {
		left -= h.counts[e]
	}
	return low, h.low + float64(e+1)*h.width
}

// leastError tries ranges that are shorter by 128ths of either side's length. A value within the range is wrong by up
// to half a step, which is step*step/12 in the mean of the squares; one beyond it by its distance.
func (h histogram) leastError() (low, high float64) {
	const tries = 128
	n, sum, squares := make([]float64, bins+2), make([]float64, bins+2), make([]float64, bins+2) // of the bins before
	for b, count := range h.counts {
		c, v := float64(count), h.middle(b)
		n[b+1], sum[b+1], squares[b+1] = n[b]+c, sum[b]+c*v, squares[b]+c*v*v
	}
	all := bins + 1
	beyond := func(from, to int, limit float64) float64 { // squared distances of bins from..to-1 to limit
		return squares[to] - squares[from] - 2*limit*(sum[to]-sum[from]) + limit*limit*(n[to]-n[from])
	}
	bin := func(v float64) int { return min(max(int(math.Round((v-h.low)/h.width)), 0), all) }
	least, most := min(h.low, 0), max(h.low+bins*h.width, 0)
	best := math.Inf(1)
	for i := 1; i <= tries; i++ {
		for j := 1; j <= tries; j++ {
			l, u := least*float64(i)/tries, most*float64(j)/tries
			from, to := bin(l), bin(u)
			if j == tries {
				to = all
			}
			step := (u - l) / 255
			e := beyond(0, from, l) + beyond(to, all, u) + (n[to]-n[from])*step*step/12
			if e <= best {
				best, low, high = e, l, u
			}
			if most == 0 {
				break
			}
		}
		if least == 0 {
			return low, high
		}
	}
	return low, high
}
