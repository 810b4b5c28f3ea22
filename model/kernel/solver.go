package kernel

import "math"

// The solvers' steps, value by value: w, g and the moments are of one length. Products and sums are rounded one by one at
// every level, so all of them give the same bits.

// SGD computes w -= rate (g + decay w).
func SGD(w, g []float32, rate, decay float32) { sgd(w, g[:len(w)], rate, decay) }

func sgdGeneric(w, g []float32, rate, decay float32) {
	for i, d := range g {
		d += float32(decay * w[i])
		w[i] -= float32(rate * d)
	}
}

// Momentum computes m = mu m + d with d = g + decay w, and then w -= rate m, or w -= rate (d + mu m) if nesterov is set.
func Momentum(w, g, m []float32, rate, decay, mu float32, nesterov bool) {
	momentum(w, g[:len(w)], m[:len(w)], rate, decay, mu, nesterov)
}

func momentumGeneric(w, g, m []float32, rate, decay, mu float32, nesterov bool) {
	for i, d := range g {
		d += float32(decay * w[i])
		m[i] = float32(mu*m[i]) + d
		if nesterov {
			d += float32(mu * m[i])
		} else {
			d = m[i]
		}
		w[i] -= float32(rate * d)
	}
}

// AdamWStep holds the factors of a step of AdamW.
type AdamWStep struct {
	Beta1, Rest1 float32 // b1 and 1-b1
	Beta2, Rest2 float32 // b2 and 1-b2
	Keep         float32 // 1 - rate * decay
	Rate         float32 // rate / (1 - b1^step)
	Unbias       float32 // 1 / sqrt(1 - b2^step)
	Epsilon      float32
}

// AdamW computes m = b1 m + (1-b1) g, v = b2 v + (1-b2) g g and w = keep w - rate m / (sqrt(v) unbias + epsilon).
func AdamW(w, g, m, v []float32, s *AdamWStep) { adamW(w, g[:len(w)], m[:len(w)], v[:len(w)], s) }

func adamWGeneric(w, g, m, v []float32, s *AdamWStep) {
	for i, d := range g {
		m[i] = float32(s.Beta1*m[i]) + float32(s.Rest1*d)
		v[i] = float32(s.Beta2*v[i]) + float32(float32(s.Rest2*d)*d)
		root := float32(math.Sqrt(float64(v[i])))
		w[i] = float32(s.Keep*w[i]) - float32(s.Rate*m[i])/(float32(root*s.Unbias)+s.Epsilon)
	}
}

// AddTo computes d += x.
func AddTo(d, x []float32) { addTo(d, x[:len(d)]) }
