package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestBFloat16Rounds(t *testing.T) {
	for _, tt := range []struct {
		why        string
		bits, want uint32
	}{
		{"exact", 0x3f800000, 0x3f800000},
		{"below the half", 0x3f807fff, 0x3f800000},
		{"the half goes to the even one below", 0x3f808000, 0x3f800000},
		{"the half goes to the even one above", 0x3f818000, 0x3f820000},
		{"above the half", 0x3f808001, 0x3f810000},
		{"up to the next power of two", 0x3fffffff, 0x40000000},
		{"the same below zero", 0xbf818000, 0xbf820000},
		{"the largest float32 is beyond bfloat16", 0x7f7fffff, 0x7f800000},
		{"infinity", 0xff800000, 0xff800000},
		{"NaN whose payload would be cut off", 0x7f800001, 0x7fc00000},
		{"NaN", 0xffc12345, 0xffc10000},
		{"minus zero", 0x80000000, 0x80000000},
		{"the largest that is not normal", 0x007fffff, 0},
		{"the least normal one", 0x00800000, 0x00800000},
	} {
		if got := bfloat16(math.Float32frombits(tt.bits)); got != tt.want {
			t.Errorf("%s: %08x becomes %08x; want %08x", tt.why, tt.bits, got, tt.want)
		}
	}
}

// Pairs of any bits whatever, and of every length of a tail, are the same at all levels.
func TestPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	values := func(n int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = math.Float32frombits(r.Uint32())
			if i%3 > 0 {
				s[i] = float32(r.NormFloat64())
			}
		}
		return s
	}
	same := func(what string, n int, got, want []float32) {
		for i, w := range want {
			if math.Float32bits(got[i]) != math.Float32bits(w) {
				t.Fatalf("%s of %d values: pair %d is %08x; want %08x", what, n, i, math.Float32bits(got[i]), math.Float32bits(w))
			}
		}
	}
	for n := range 140 {
		a, b := values(n), values(n)
		for _, rows := range []struct {
			what      string
			low, high []float32
		}{{"rows", a, b}, {"a row over zeros", a, nil}, {"a row below zeros", nil, b}, {"no rows", nil, nil}} {
			got, want := dirty(n), make([]float32, n)
			pairRowsGeneric(want, rows.low, rows.high)
			pairRows(got, rows.low, rows.high)
			same(rows.what, n, got, want)
		}
		got, want := dirty(paired(n)), make([]float32, paired(n))
		pairNeighboursGeneric(want, a)
		pairNeighbours(got, a)
		same("neighbours", n, got, want)
		if pairNeighbours(a, a); n > 0 {
			same("neighbours in place", n, a, want)
		}
	}
}

// offBy is the size of the error against the reference as a share of the size of what is right.
func offBy(got []float32, want []sum) float64 {
	var off, size float64
	for i, w := range want {
		off += (float64(got[i]) - w.v) * (float64(got[i]) - w.v)
		size += w.v * w.v
	}
	return math.Sqrt(off / max(size, 1e-30))
}

// A factor in bfloat16 is off by at most 1/512, by 1/900 in the mean square, and a sum of products of two of them by 1.4
// times that share; Winograd's transformations, which are rounded instead, double it. So every tensor is within 1 % of the
// float64 one. That products are rounded at all shows as well: float32 would be within a millionth.
func TestBFloat16IsNear(t *testing.T) {
	const n = 2
	rounded := 0
	for _, tt := range convShapes {
		s := tt.s
		c := newConvCase(rand.New(rand.NewPCG(33, 34)), n, s)
		ref := convReference(c.src, c.w, c.bias, c.ddst, n, s, false, Linear)
		s.BFloat16 = true
		dst, dsrc, dw, db := dirty(n*s.out()), dirty(n*s.in()), dirty(len(c.w)), dirty(s.OutC)
		Conv(dst, c.src, n, PackConv(c.w, s), c.bias, s, Linear, dirty(ConvScratch(s)))
		ConvGrad(dsrc, dw, db, c.ddst, dst, c.src, n, PackConvGrad(c.w, s), s, Linear, dirty(ConvGradScratch(s)))
		near(t, "db", db, ref.db)
		for _, of := range []struct {
			what string
			off  float64
		}{{"dst", offBy(dst, ref.dst)}, {"dsrc", offBy(dsrc, ref.dsrc)}, {"dw", offBy(dw, ref.dw)}} {
			if !(of.off < 0.01) {
				t.Errorf("%s: %s is off by %.2g of its size", tt.why, of.what, of.off)
			}
			if of.off > 1e-4 {
				rounded++
			}
		}
	}
	if rounded < 2*len(convShapes) {
		t.Errorf("%d of %d tensors are off by more than float32 would be", rounded, 3*len(convShapes))
	}
}
