package jpeg

import "encoding/binary"

// The inverse discrete cosine transforms are those of libjpeg, "slow integer": that of Loeffler, Ligtenberg and Moschytz
// for 8 samples (Practical Fast 1-D DCT Algorithms with 11 Multiplications, ICASSP 1989), and its reductions to 4, 2 and
// 1 samples, which give the means of 2, 4 and 8 neighbours. Columns come first, then rows; between them values have 2
// fractional bits.
//
// Here every output is written as what it is before its one rounding: a sum of products of 16-bit numbers, which
// vectors compute with VPMADDWD. Numbers that no encoder writes wrap where their 16 or 32 bits end, and saturate to 16
// bits between the passes.

// A block's coefficients lie as vectors want them: rows in the pairs (0, 4), (2, 6), (1, 3) and (5, 7), and columns in
// the order 0, 4, 2, 6, 1, 3, 5, 7, so that pairs of columns lie together after the first pass.
const (
	rowOrder    = "\x00\x20\x10\x21\x01\x30\x11\x31" // 16 times the pair and the place in it, as hexadecimal digits: see place
	columnOrder = "\x00\x04\x02\x05\x01\x06\x03\x07" // of columns 0 to 7
)

// place is where the coefficient of a row and a column lies in a block.
func place(row, column int) int {
	r := int(rowOrder[row])
	return r&0x30 + 2*int(columnOrder[column]) + r&1
}

// zigzag[k] is the place of the k-th coefficient in a file (T.81, figure A.6).
var zigzag = func() (z [64]uint8) {
	row, column := 0, 0
	for k := range z {
		z[k] = uint8(place(row, column))
		switch up := (row+column)%2 == 0; {
		case up && column == 7:
			row++
		case up && row == 0:
			column++
		case up:
			row, column = row-1, column+1
		case row == 7:
			column++
		case column == 0:
			row++
		default:
			row, column = row+1, column-1
		}
	}
	return z
}()

// Factors in units of 1/8192, rounded as libjpeg does. The odd part of 8 samples is sums of its factors: row i is for
// output i and its mirror 7-i, columns for coefficients 1, 3, 5, 7.
var odd8 = [4][4]int32{
	{11363, 9633, 6437, 2260},
	{9633, -2259, -11362, -6436},
	{6437, -11362, 2261, 9633},
	{2260, -6436, 9633, -11363},
}

// The odd parts of 4 samples, for outputs 0 and 1 and their mirrors, and of 2.
var (
	odd4 = [2][4]int32{{20995, 7373, -4926, -4176}, {8697, -17799, 11893, -1730}}
	odd2 = [4]int32{29692, -10426, 6967, -5906}
)

const (
	unit         = 1 << 13
	even2, even6 = 10703, 4433 // of 8 samples, outputs 0 and 7; outputs 1 and 6 take even6 and even6-15137
	half2, half6 = 15137, -6270
	fraction     = 2 // bits between the passes
)

// samples computes n samples, n = 8, 4, 2 or 1, of a column or a row x of 8 coefficients, with keep more fractional bits
// than those have, or fewer if it is negative.
func samples(n int, x *[8]int32, out *[8]int32, keep int) {
	dot := func(f *[4]int32) int32 { return x[1]*f[0] + x[3]*f[1] + x[5]*f[2] + x[7]*f[3] }
	switch n {
	case 8:
		shift := 13 - keep
		round := int32(1) << (shift - 1)
		sum, difference := (x[0]+x[4])*unit+round, (x[0]-x[4])*unit+round
		outer, inner := x[2]*even2+x[6]*even6, x[2]*even6+x[6]*(even6-15137)
		even := [4]int32{sum + outer, difference + inner, difference - inner, sum - outer}
		for i, e := range even {
			o := dot(&odd8[i])
			out[i], out[7-i] = (e+o)>>shift, (e-o)>>shift
		}
	case 4:
		shift := 14 - keep
		e, o := x[0]*(2*unit)+1<<(shift-1), x[2]*half2+x[6]*half6
		o0, o1 := dot(&odd4[0]), dot(&odd4[1])
		out[0], out[3] = (e+o+o0)>>shift, (e+o-o0)>>shift
		out[1], out[2] = (e-o+o1)>>shift, (e-o-o1)>>shift
	case 2:
		shift := 15 - keep
		e, o := x[0]*(4*unit)+1<<(shift-1), dot(&odd2)
		out[0], out[1] = (e+o)>>shift, (e-o)>>shift
	case 1:
		if keep >= 0 {
			out[0] = x[0] << keep
		} else {
			out[0] = (x[0] + 1<<(-keep-1)) >> -keep
		}
	}
}

// idctGeneric writes nx x ny samples of a block, whose coefficients are multiplied by those of quant, to dst, whose rows
// are stride bytes apart.
func idctGeneric(dst []byte, stride int, block, quant *[64]int16, nx, ny int) {
	var x, out [8]int32
	var between [8][8]int32
	for c := range 8 {
		var ac int32
		for r := range 8 {
			p := place(r, c)
			x[r] = int32(block[p] * quant[p])
			if r > 0 {
				ac |= x[r]
			}
		}
		if ac == 0 { // as the sums below would find
			v := saturate(x[0]<<fraction, -1<<15, 1<<15-1)
			for r := range ny {
				between[r][c] = v
			}
			continue
		}
		samples(ny, &x, &out, fraction)
		for r := range ny {
			between[r][c] = saturate(out[r], -1<<15, 1<<15-1)
		}
	}
	for r := range ny {
		samples(nx, &between[r], &out, -fraction-3)
		row := dst[r*stride:][:nx]
		for c := range row {
			row[c] = uint8(saturate(out[c], -128, 127) + 128)
		}
	}
}

func saturate(v, low, high int32) int32 { return min(max(v, low), high) }

// flat writes the samples of a block that has no coefficient but the first.
func flat(dst []byte, stride int, dc, quant int16, nx, ny int) {
	v := saturate(int32(dc*quant)<<fraction, -1<<15, 1<<15-1)
	s := uint8(saturate((v+16)>>(fraction+3), -128, 127) + 128)
	switch nx {
	case 8:
		for r := range ny {
			binary.LittleEndian.PutUint64(dst[r*stride:], 0x0101010101010101*uint64(s))
		}
	case 4:
		for r := range ny {
			binary.LittleEndian.PutUint32(dst[r*stride:], 0x01010101*uint32(s))
		}
	default:
		for r := range ny {
			row := dst[r*stride:][:nx]
			for c := range row {
				row[c] = s
			}
		}
	}
}
