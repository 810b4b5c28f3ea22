package kernel

// Add computes dst = act(a + b), value by value. dst may be a or b.
func Add(dst, a, b []float32, act Act) {
	a, b = a[:len(dst)], b[:len(dst)]
	add(dst, a, b)
	if act != Linear {
		activate(dst, act)
	}
}

// ActGrad turns d, the gradient after an activation, into the gradient before it: zero where y, the activation's output,
// says it was flat (y <= 0, or y >= 6 for ReLU6).
func ActGrad(d, y []float32, act Act) {
	if act != Linear {
		actGrad(d, y[:len(d)], act)
	}
}

// The loops below have twins in assembly. All slices of a call are of one length.

// addToGeneric computes d += x.
func addToGeneric(d, x []float32) {
	x = x[:len(d)]
	for i := range d {
		d[i] += x[i]
	}
}

// addGeneric computes d = a + b.
func addGeneric(d, a, b []float32) {
	a, b = a[:len(d)], b[:len(d)]
	for i := range d {
		d[i] = a[i] + b[i]
	}
}

// maxToGeneric computes d = x where x > d.
func maxToGeneric(d, x []float32) {
	x = x[:len(d)]
	for i, v := range x {
		if v > d[i] {
			d[i] = v
		}
	}
}

// activateGeneric applies ReLU or ReLU6.
func activateGeneric(d []float32, act Act) {
	for i, v := range d {
		if v < 0 {
			d[i] = 0
		}
		if act == ReLU6 && v > 6 {
			d[i] = 6
		}
	}
}

// actGradGeneric is ActGrad for ReLU or ReLU6.
func actGradGeneric(d, y []float32, act Act) {
	y = y[:len(d)]
	for i, v := range y {
		if v <= 0 || act == ReLU6 && v >= 6 {
			d[i] = 0
		}
	}
}
