package transforms

import "math"

// The functions of package math may differ in the last bit from one kind of processor to another, where they are
// assembly or where a product is fused with a sum, and so might a pixel. Those below consist of single operations of
// IEEE 754, kept apart by conversions, and are the same everywhere. Their error is a few units of the last place.

// sincos is the sine and the cosine of an angle in turns of a full circle.
func sincos(turns float64) (sin, cos float64) {
	quarters := math.Round(4 * turns)
	x := float64((turns - quarters/4) * 2 * math.Pi) // at most an eighth of a turn
	square := float64(x * x)
	sin, cos = 1, 1
	for n := 18.0; n > 0; n -= 2 { // Taylor's series from the inside out
		cos = 1 - float64(square*cos)/(n*(n-1))
		sin = 1 - float64(square*sin)/(n*(n+1))
	}
	sin *= x
	switch int64(math.Mod(quarters, 4)+4) % 4 {
	case 1:
		return cos, -sin
	case 2:
		return -sin, -cos
	case 3:
		return -cos, sin
	}
	return sin, cos
}

// exp is e to the x.
func exp(x float64) float64 {
	twos := math.Round(x / math.Ln2)
	r := x - float64(twos*math.Ln2) // at most half of ln 2
	sum := 1.0
	for n := 18.0; n > 0; n-- {
		sum = 1 + float64(r*sum)/n
	}
	return math.Ldexp(sum, int(twos))
}

// log is the natural logarithm of a number above 0.
func log(x float64) float64 {
	fraction, twos := math.Frexp(x)
	if fraction < math.Sqrt2/2 {
		fraction, twos = 2*fraction, twos-1
	}
	t := (fraction - 1) / (fraction + 1) // log(fraction) is 2 (t + t^3/3 + t^5/5 ...)
	square := float64(t * t)
	sum := 0.0
	for n := 25.0; n > 0; n -= 2 {
		sum = 1/n + float64(square*sum)
	}
	return float64(float64(twos)*math.Ln2) + float64(2*t*sum)
}
