package train

import (
	"math"

	"github.com/logobeam/logobeam/model/kernel"
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
	lr, wd := float32(rate), float32(decay)
	switch {
	case s.cfg.Solver == AdamW:
		t := float64(step)
		// w -= rate m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps)
		kernel.AdamW(w, g, moments[0], moments[1], &kernel.AdamWStep{
			Beta1: float32(s.cfg.Beta1), Rest1: float32(1 - s.cfg.Beta1),
			Beta2: float32(s.cfg.Beta2), Rest2: float32(1 - s.cfg.Beta2),
			Keep:    float32(1 - rate*decay),
			Rate:    float32(rate / (1 - math.Pow(s.cfg.Beta1, t))),
			Unbias:  float32(1 / math.Sqrt(1-math.Pow(s.cfg.Beta2, t))),
			Epsilon: float32(s.cfg.Epsilon),
		})
	case s.moments == 0:
		kernel.SGD(w, g, lr, wd)
	default:
		kernel.Momentum(w, g, moments[0], lr, wd, float32(s.cfg.Momentum), s.cfg.Nesterov)
	}
}
