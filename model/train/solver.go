package train

import (
	"math"
)

// A solver turns gradients into steps. Its moments are lists of values as long as the parameters that are trained, held
// in the open so that a run can be stopped and continued: gorgonia's own solvers hide theirs.
type solver struct {
	cfg     Config
	moments int // values kept per parameter value: 1 for SGD with momentum, 2 for AdamW
}

func newSolver(cfg Config) solver {
	s := solver{cfg: cfg}
	switch {
	case cfg.Solver == AdamW:
		s.moments = 2
	case cfg.Momentum > 0:
		s.moments = 1
	}
	return s
}

// update takes one step for values w with gradient g. Steps count from 1. Every value is worked out by itself, so a
// parameter may be cut anywhere. decay is 0 for biases.
//
// The formulas are those of torch.optim.SGD and torch.optim.AdamW, so that published settings keep their meaning.
func (s solver) update(w, g []float32, moments [2][]float32, step int, rate, decay float64) {
	g = g[:len(w)]
	lr, wd := float32(rate), float32(decay)
	if s.cfg.Solver == AdamW {
		m, v := moments[0][:len(w)], moments[1][:len(w)]
		b1, b2 := float32(s.cfg.Beta1), float32(s.cfg.Beta2)
		c1, c2 := float32(1-s.cfg.Beta1), float32(1-s.cfg.Beta2)
		t := float64(step)
		// w -= rate m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps)
		size := float32(rate / (1 - math.Pow(s.cfg.Beta1, t)))
		unbias := float32(1 / math.Sqrt(1-math.Pow(s.cfg.Beta2, t)))
		eps := float32(s.cfg.Epsilon)
		keep := float32(1 - rate*decay)
		for i, d := range g {
			m[i] = b1*m[i] + c1*d
			v[i] = b2*v[i] + c2*d*d
			w[i] = keep*w[i] - size*m[i]/(float32(math.Sqrt(float64(v[i])))*unbias+eps)
		}
		return
	}
	if s.moments == 0 {
		for i, d := range g {
			w[i] -= lr * (d + wd*w[i])
		}
		return
	}
	mu, m := float32(s.cfg.Momentum), moments[0][:len(w)]
	for i, d := range g {
		d += wd * w[i]
		m[i] = mu*m[i] + d
		if s.cfg.Nesterov {
			d += mu * m[i]
		} else {
			d = m[i]
		}
		w[i] -= lr * d
	}
}
