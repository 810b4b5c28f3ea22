package ptx

import (
	"math"
	"math/bits"
)

// The operations on single values. They are worked out for all lanes, whoever asked.

type operation = func(d, a, b, c *lanes)

// operations are those that give a value, by their names in PTX.
var operations = map[string]operation{
	"add.s32": func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = uint64(uint32(a[l] + b[l]))
		}
	},
	"add.s64": func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = a[l] + b[l]
		}
	},
	"mul.lo.s32": func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = uint64(uint32(a[l] * b[l]))
		}
	},
	"mul.lo.s64": func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = a[l] * b[l]
		}
	},
	"mad.lo.s32": func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = uint64(uint32(a[l]*b[l] + c[l]))
		}
	},
	"and.b64": func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = a[l] & b[l]
		}
	},
	"or.b64": func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = a[l] | b[l]
		}
	},
	"xor.b64": func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = a[l] ^ b[l]
		}
	},
	"cvt.u32.u64": func(d, a, _, _ *lanes) {
		for l := range d {
			d[l] = uint64(uint32(a[l]))
		}
	},
	"cvt.s64.s32": func(d, a, _, _ *lanes) {
		for l := range d {
			d[l] = uint64(int32(a[l]))
		}
	},
	"mov.b64": func(d, a, _, _ *lanes) { *d = *a },

	"add.f32":  floats(func(a, b float32) float32 { return a + b }),
	"sub.f32":  floats(func(a, b float32) float32 { return a - b }),
	"mul.f32":  floats(func(a, b float32) float32 { return a * b }),
	"div.f32":  floats(func(a, b float32) float32 { return a / b }),
	"neg.f32":  floats(func(a, _ float32) float32 { return -a }),
	"sqrt.f32": floats(func(a, _ float32) float32 { return float32(math.Sqrt(float64(a))) }),
	"ex2.approx.ftz.f32": floats(func(a, _ float32) float32 {
		if r := float32(math.Exp2(float64(a))); r >= 0x1p-126 || r != r {
			return r
		}
		return 0
	}),
	"cvt.sat.f32.f32": floats(func(a, _ float32) float32 {
		if a >= 0 {
			return min(a, 1)
		}
		return 0
	}),
	"fma.rn.f32": func(d, a, b, c *lanes) {
		for l := range d {
			sum, rest := fma(float(a[l]), float(b[l]), float(c[l]))
			if rest != 0 && math.Float64bits(sum)&1 == 0 { // to odd, so that rounding once more errs not
				sum = math.Nextafter(sum, math.Copysign(math.Inf(1), rest))
			}
			d[l] = value(float32(sum))
		}
	},
	"fma.rm.f32": func(d, a, b, c *lanes) {
		for l := range d {
			sum, rest := fma(float(a[l]), float(b[l]), float(c[l]))
			r := float32(sum)
			if float64(r) > sum || float64(r) == sum && rest < 0 {
				r = math.Nextafter32(r, float32(math.Inf(-1)))
			}
			d[l] = value(r)
		}
	},
	"cvt.rn.bf16x2.f32": func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = bfloat16(a[l])<<16 | bfloat16(b[l])
		}
	},

	"add.f64":  doubles(func(a, b, _ float64) float64 { return a + b }),
	"sub.f64":  doubles(func(a, b, _ float64) float64 { return a - b }),
	"mul.f64":  doubles(func(a, b, _ float64) float64 { return a * b }),
	"div.f64":  doubles(func(a, b, _ float64) float64 { return a / b }),
	"neg.f64":  doubles(func(a, _, _ float64) float64 { return -a }),
	"sqrt.f64": doubles(func(a, _, _ float64) float64 { return math.Sqrt(a) }),
	"fma.f64":  doubles(math.FMA),

	"cvt.f64.f32":    words(func(a, _, _ uint64) uint64 { return math.Float64bits(float64(float(a))) }),
	"cvt.rn.f32.f64": words(func(a, _, _ uint64) uint64 { return value(float32(math.Float64frombits(a))) }),
	"cvt.rn.f64.s64": words(func(a, _, _ uint64) uint64 { return math.Float64bits(float64(int64(a))) }),
	"cvt.rn.f32.s64": words(func(a, _, _ uint64) uint64 { return value(float32(int64(a))) }),
	"cvt.rn.f32.s32": words(func(a, _, _ uint64) uint64 { return value(float32(int32(a))) }),
	"cvt.rn.f32.u16": words(func(a, _, _ uint64) uint64 { return value(float32(uint16(a))) }),

	"sub.s64":      words(func(a, b, _ uint64) uint64 { return a - b }),
	"neg.s64":      words(func(a, _, _ uint64) uint64 { return -a }),
	"not.b64":      words(func(a, _, _ uint64) uint64 { return ^a }),
	"min.s64":      words(func(a, b, _ uint64) uint64 { return uint64(min(int64(a), int64(b))) }),
	"max.s64":      words(func(a, b, _ uint64) uint64 { return uint64(max(int64(a), int64(b))) }),
	"mad.lo.s64":   words(func(a, b, c uint64) uint64 { return a*b + c }),
	"shl.b64":      words(func(a, b, _ uint64) uint64 { return a << uint32(b) }),
	"shr.u64":      words(func(a, b, _ uint64) uint64 { return a >> uint32(b) }),
	"shr.s64":      words(func(a, b, _ uint64) uint64 { return uint64(int64(a) >> uint32(b)) }),
	"mul.wide.s32": words(func(a, b, _ uint64) uint64 { return uint64(int64(int32(a)) * int64(int32(b))) }),
	"mul.wide.u32": words(func(a, b, _ uint64) uint64 { return a * b }),
	// Dividing by 0 gives what the hardware gives: all ones.
	"div.u64": words(func(a, b, _ uint64) uint64 {
		if b == 0 {
			return math.MaxUint64
		}
		return a / b
	}),
	"rem.u64": words(func(a, b, _ uint64) uint64 {
		if b == 0 {
			return math.MaxUint64
		}
		return a % b
	}),
	"div.s64": words(func(a, b, _ uint64) uint64 {
		if b == 0 {
			return math.MaxUint64
		}
		return uint64(int64(a) / int64(b))
	}),
	"rem.s64": words(func(a, b, _ uint64) uint64 {
		if b == 0 {
			return math.MaxUint64
		}
		return uint64(int64(a) % int64(b))
	}),

	"sub.s32":    halves(func(a, b, _ uint32) uint32 { return a - b }),
	"neg.s32":    halves(func(a, _, _ uint32) uint32 { return -a }),
	"not.b32":    halves(func(a, _, _ uint32) uint32 { return ^a }),
	"min.s32":    halves(func(a, b, _ uint32) uint32 { return uint32(min(int32(a), int32(b))) }),
	"max.s32":    halves(func(a, b, _ uint32) uint32 { return uint32(max(int32(a), int32(b))) }),
	"min.u32":    halves(func(a, b, _ uint32) uint32 { return min(a, b) }),
	"max.u32":    halves(func(a, b, _ uint32) uint32 { return max(a, b) }),
	"shl.b32":    halves(func(a, b, _ uint32) uint32 { return a << b }),
	"shr.u32":    halves(func(a, b, _ uint32) uint32 { return a >> b }),
	"shr.s32":    halves(func(a, b, _ uint32) uint32 { return uint32(int32(a) >> b) }),
	"clz.b32":    halves(func(a, _, _ uint32) uint32 { return uint32(bits.LeadingZeros32(a)) }),
	"mul.hi.u32": halves(func(a, b, _ uint32) uint32 { return uint32(uint64(a) * uint64(b) >> 32) }),
	"div.u32": halves(func(a, b, _ uint32) uint32 {
		if b == 0 {
			return math.MaxUint32
		}
		return a / b
	}),
	"rem.u32": halves(func(a, b, _ uint32) uint32 {
		if b == 0 {
			return math.MaxUint32
		}
		return a % b
	}),
	"div.s32": halves(func(a, b, _ uint32) uint32 {
		if b == 0 {
			return math.MaxUint32
		}
		return uint32(int32(a) / int32(b))
	}),
	"rem.s32": halves(func(a, b, _ uint32) uint32 {
		if b == 0 {
			return math.MaxUint32
		}
		return uint32(int32(a) % int32(b))
	}),
}

// alike are names of operations that do what others do: types that make no difference, and roundings that are the usual one.
var alike = map[string]string{
	"add.u32": "add.s32", "add.u64": "add.s64", "sub.u32": "sub.s32", "sub.u64": "sub.s64",
	"mul.lo.u32": "mul.lo.s32", "mul.lo.u64": "mul.lo.s64", "mad.lo.u32": "mad.lo.s32", "mad.lo.u64": "mad.lo.s64",
	"and.b16": "and.b64", "and.b32": "and.b64", "or.b16": "or.b64", "or.b32": "or.b64", "xor.b16": "xor.b64", "xor.b32": "xor.b64",
	"mov.b16": "mov.b64", "mov.u16": "mov.b64", "mov.b32": "mov.b64", "mov.u32": "mov.b64", "mov.s32": "mov.b64", "mov.f32": "mov.b64",
	"mov.u64": "mov.b64", "mov.s64": "mov.b64", "mov.f64": "mov.b64", "cvt.u64.u32": "mov.b64",
	"cvta.to.global.u64": "mov.b64", "cvta.to.shared.u64": "mov.b64", "cvta.global.u64": "mov.b64",
	"add.rn.f32": "add.f32", "sub.rn.f32": "sub.f32", "mul.rn.f32": "mul.f32", "div.rn.f32": "div.f32", "sqrt.rn.f32": "sqrt.f32",
	"add.rn.f64": "add.f64", "sub.rn.f64": "sub.f64", "mul.rn.f64": "mul.f64", "div.rn.f64": "div.f64", "sqrt.rn.f64": "sqrt.f64",
	"fma.rn.f64": "fma.f64",
}

func init() {
	for name, other := range alike {
		operations[name] = operations[other]
	}
}

func words(f func(a, b, c uint64) uint64) operation {
	return func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = f(a[l], b[l], c[l])
		}
	}
}

func halves(f func(a, b, c uint32) uint32) operation {
	return func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = uint64(f(uint32(a[l]), uint32(b[l]), uint32(c[l])))
		}
	}
}

func floats(f func(a, b float32) float32) operation {
	return func(d, a, b, _ *lanes) {
		for l := range d {
			d[l] = value(f(float(a[l]), float(b[l])))
		}
	}
}

func doubles(f func(a, b, c float64) float64) operation {
	return func(d, a, b, c *lanes) {
		for l := range d {
			d[l] = math.Float64bits(f(math.Float64frombits(a[l]), math.Float64frombits(b[l]), math.Float64frombits(c[l])))
		}
	}
}

func float(v uint64) float32 { return math.Float32frombits(uint32(v)) }

// value is a result: the hardware has one NaN for all.
func value(f float32) uint64 {
	if f != f {
		return 0x7fffffff
	}
	return uint64(math.Float32bits(f))
}

// fma is a*b + c as a float64 and what that lacks of the sum (Knuth's TwoSum): products of two float32 are exact.
func fma(a, b, c float32) (sum, rest float64) {
	p, q := float64(a)*float64(b), float64(c)
	sum = p + q
	if math.IsInf(sum, 0) || sum != sum {
		return sum, 0
	}
	part := sum - p
	return sum, (p - (sum - part)) + (q - part)
}

// bfloat16 rounds to even.
func bfloat16(v uint64) uint64 {
	if f := float(v); f != f {
		return 0x7fff
	}
	return (v + 0x7fff + v>>16&1) >> 16
}

// signed and unsigned order integers, ordered and unordered floats: what holds of them is cut into a bit for less, equal,
// greater and not comparable.
const (
	less = 1 << iota
	equal
	greater
	neither
)

var conditions = map[string]int{"eq": equal, "ne": less | greater, "lt": less, "le": less | equal, "gt": greater, "ge": greater | equal,
	"equ": equal | neither, "neu": less | greater | neither, "ltu": less | neither, "leu": less | equal | neither,
	"gtu": greater | neither, "geu": greater | equal | neither, "num": less | equal | greater, "nan": neither}

// ordered compares values of a type; nil if there is none of the name. Integers know the first six conditions, and bits the first
// two.
func ordered(condition, kind string) func(a, b *lanes) uint32 {
	want, ok := conditions[condition]
	if !ok {
		return nil
	}
	integer := len(condition) == 2
	switch kind {
	case "s16":
		if integer {
			return comparing(want, func(v uint64) int16 { return int16(v) })
		}
	case "u16", "b16":
		if integer {
			return comparing(want, func(v uint64) uint16 { return uint16(v) })
		}
	case "s32":
		if integer {
			return comparing(want, func(v uint64) int32 { return int32(v) })
		}
	case "u32", "b32", "u64", "b64":
		if integer {
			return comparing(want, func(v uint64) uint64 { return v })
		}
	case "s64":
		if integer {
			return comparing(want, func(v uint64) int64 { return int64(v) })
		}
	case "f32":
		return comparing(want, float)
	case "f64":
		return comparing(want, math.Float64frombits)
	}
	return nil
}

func comparing[T int16 | uint16 | int32 | uint64 | int64 | float32 | float64](want int, as func(uint64) T) func(a, b *lanes) uint32 {
	return func(a, b *lanes) uint32 {
		var r uint32
		for l := range a {
			x, y := as(a[l]), as(b[l])
			is := neither
			switch {
			case x < y:
				is = less
			case x == y:
				is = equal
			case x > y:
				is = greater
			}
			if is&want != 0 {
				r |= 1 << l
			}
		}
		return r
	}
}

// bfi.b32 inserts b's first len bits into a from position pos on.
func insert(a, b, pos, length uint32) uint32 {
	pos, length = min(pos&0xff, 32), min(length&0xff, 32)
	mask := uint32((uint64(1)<<length - 1) << pos)
	return b&^mask | a<<pos&mask
}

var logics = map[string]func(a, b uint32) uint32{
	"and.pred": func(a, b uint32) uint32 { return a & b },
	"or.pred":  func(a, b uint32) uint32 { return a | b },
	"xor.pred": func(a, b uint32) uint32 { return a ^ b },
	"not.pred": func(a, _ uint32) uint32 { return ^a },
	"mov.pred": func(a, _ uint32) uint32 { return a },
}
