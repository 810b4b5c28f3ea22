package train

import (
	"math"
	"testing"
)

// Three steps from w = (1, -2, 0.5) along g = (0.1, -0.2, 0.3), (0.4, 0, -0.1), (-0.3, 0.2, 0.05), worked out in float64 by
// the algorithms as the documentation of torch.optim.SGD and torch.optim.AdamW states them:
//
//	SGD:   d = g + wd w;  m = mu m + d (m = d at first);  d = nesterov ? d + mu m : m;  w -= lr d
//	AdamW: w -= lr wd w;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g²;  w -= lr (m/(1-b1^t)) / (sqrt(v/(1-b2^t)) + eps)
func TestSolvers(t *testing.T) {
	gradients := [3][]float32{{0.1, -0.2, 0.3}, {0.4, 0, -0.1}, {-0.3, 0.2, 0.05}}
	for _, c := range []struct {
		reason      string
		cfg         func(*Config)
		rate, decay float64
		want        [3][3]float64
	}{
		{"sgd", func(c *Config) { c.Momentum = 0 }, 0.1, 0,
			[3][3]float64{{0.99, -1.98, 0.47}, {0.95, -1.98, 0.48}, {0.98, -2, 0.475}}},
		{"sgd with weight decay", func(c *Config) { c.Momentum = 0 }, 0.1, 0.01,
			[3][3]float64{{0.989, -1.978, 0.4695}, {0.948011, -1.976022, 0.4790305}, {0.97706299, -1.99404598, 0.47355147}}},
		{"momentum", func(*Config) {}, 0.1, 0,
			[3][3]float64{{0.99, -1.98, 0.47}, {0.941, -1.962, 0.453}, {0.9269, -1.9658, 0.4327}}},
		{"Nesterov's momentum with weight decay", func(c *Config) { c.Nesterov = true }, 0.1, 0.01,
			[3][3]float64{{0.9791, -1.9582, 0.44205}, {0.89232971, -1.93665942, 0.43550511}, {0.90642221, -1.95335563, 0.41068508}}},
		{"adamw", func(c *Config) { c.Solver = AdamW }, 0.01, 0,
			[3][3]float64{{0.99, -1.99, 0.49}, {0.98115624, -1.98329942, 0.48599781}, {0.97938915, -1.9841581, 0.48194356}}},
		{"adamw with weight decay", func(c *Config) { c.Solver = AdamW }, 0.01, 0.1,
			[3][3]float64{{0.989, -1.988, 0.4895}, {0.97916724, -1.97931142, 0.48500831}, {0.97642099, -1.97819078, 0.48046905}}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			cfg := DefaultConfig()
			c.cfg(&cfg)
			s := newSolver(cfg)
			w := []float32{1, -2, 0.5}
			var m [2][]float32
			for k := range s.moments {
				m[k] = make([]float32, 3)
			}
			for step, g := range gradients {
				s.update(w, g, m, step+1, c.rate, c.decay)
				for i, want := range c.want[step] {
					if math.Abs(float64(w[i])-want) > 5e-7 {
						t.Fatalf("step %d: w is %v, want %v", step+1, w, c.want[step])
					}
				}
			}
		})
	}
}
