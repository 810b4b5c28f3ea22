package model

import (
	"math"
	"testing"
)

// half16 is what the 16 bits mean by IEEE 754, in float64 and by its formula.
func half16(h uint16) float64 {
	sign := 1 - 2*float64(h>>15)
	e, m := int(h>>10&31), float64(h&1023)
	switch e {
	case 0:
		return sign * m * math.Pow(2, -24)
	case 31:
		if m == 0 {
			return math.Inf(int(sign))
		}
		return math.NaN()
	}
	return sign * (1 + m/1024) * math.Pow(2, float64(e-15))
}

func TestHalfExhaustive(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := FromHalf(h)
		want := half16(h)
		if math.IsNaN(want) {
			if back := toHalf(f); !math.IsNaN(float64(f)) || !math.IsNaN(half16(back)) || back&0x8000 != h&0x8000 {
				t.Fatalf("%#x: NaN became %g and then %#x", h, f, back)
			}
			continue
		}
		if float64(f) != want || math.Signbit(float64(f)) != (h>>15 == 1) {
			t.Fatalf("%#x: %g; want %g", h, f, want)
		}
		if back := toHalf(f); back != h {
			t.Fatalf("%#x: %g came back as %#x", h, f, back)
		}
		if h&0x7fff >= 0x7c00 { // infinite: no neighbour above
			continue
		}
		// Between h and the next half away from zero: the middle goes to the even one, what lies to either side to its
		// neighbour.
		next := h + 1
		up := half16(next)
		if next&0x7fff == 0x7c00 {
			up = math.Copysign(65536, want) // where the next half would be, were the exponent larger
		}
		middle := float32((want + up) / 2)
		even := h
		if h&1 == 1 {
			even = next
		}
		for _, c := range []struct {
			f    float32
			want uint16
		}{
			{middle, even},
			{math.Nextafter32(middle, 0), h},
			{math.Nextafter32(middle, float32(math.Copysign(1e30, float64(middle)))), next},
		} {
			if got := toHalf(c.f); got != c.want {
				t.Fatalf("%g between %#x and %#x: %#x; want %#x", c.f, h, next, got, c.want)
			}
		}
	}
	for _, f := range []float32{1e-30, 0x1p-25, math.SmallestNonzeroFloat32} {
		if got := toHalf(f); got != 0 {
			t.Errorf("%g: %#x; want zero", f, got)
		}
	}
	if got := toHalf(math.MaxFloat32); got != 0x7c00 {
		t.Errorf("the largest float32: %#x; want infinity", got)
	}
}

func TestBfloat(t *testing.T) {
	for bits, want := range map[uint16]float32{0x3f80: 1, 0xc000: -2, 0x0000: 0, 0x7f80: float32(math.Inf(1)), 0x4049: 3.140625} {
		if got := fromBfloat(bits); got != want {
			t.Errorf("%#x: %g; want %g", bits, got, want)
		}
	}
}
