package model

import "math"

// toHalf rounds to the nearest IEEE 754 binary16, ties to even. What is too large becomes infinite.
func toHalf(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits>>16) & 0x8000
	bits &^= 1 << 31
	switch {
	case bits > 0x7f800000: // not a number, kept as a quiet one
		return sign | 0x7e00 | uint16(bits>>13)&0x1ff
	case bits >= 0x477ff000: // 65520, half way from the largest half to the next power of two
		return sign | 0x7c00
	case bits >= 0x38800000: // 2^-14, the smallest normal half
		bits -= (127 - 15) << 23
		return sign | uint16((bits+0xfff+bits>>13&1)>>13)
	default: // the last bit of 0.5 is 2^-24, the unit of subnormal halves, so this addition rounds to it
		return sign | uint16(math.Float32bits(math.Float32frombits(bits)+0.5)-math.Float32bits(0.5))
	}
}

// FromHalf widens an IEEE 754 binary16 (float16) to float32, exactly.
func FromHalf(h uint16) float32 {
	sign, exponent, mantissa := uint32(h&0x8000)<<16, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0:
		return math.Float32frombits(math.Float32bits(float32(mantissa)*0x1p-24) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | mantissa<<13)
	default:
		return math.Float32frombits(sign | (exponent+127-15)<<23 | mantissa<<13)
	}
}

// fromBfloat widens a bfloat16, the upper half of a float32, exactly.
func fromBfloat(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }
