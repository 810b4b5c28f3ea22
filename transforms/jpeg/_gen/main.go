// Command _gen writes the assembly of package jpeg. It is a module of its own, so that nobody who builds logobeam needs
// avo. Run it by go generate in transforms/jpeg.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, size := range [][2]int{{8, 8}, {8, 4}, {4, 8}, {4, 4}, {4, 2}, {2, 4}, {2, 2}} {
		idct(size[0], size[1])
	}
	block()
	Generate()
}

// pair is a pair of factors, for VPMADDWD.
type pair [2]int16

func (p pair) bits() uint32 { return uint32(uint16(p[0])) | uint32(uint16(p[1]))<<16 }

// The factors of idct.go.
const unit = 1 << 13

var (
	odd8 = [4][2]pair{
		{{11363, 9633}, {6437, 2260}},
		{{9633, -2259}, {-11362, -6436}},
		{{6437, -11362}, {2261, 9633}},
		{{2260, -6436}, {9633, -11363}},
	}
	sum8, difference8 = pair{unit, unit}, pair{unit, -unit}
	outer8, inner8    = pair{10703, 4433}, pair{4433, -10704}

	odd4 = [2][2]pair{{{20995, 7373}, {-4926, -4176}}, {{8697, -17799}, {11893, -1730}}}
	sum4 = pair{2 * unit, 0}
	mid4 = pair{15137, -6270}

	odd2  = [2]pair{{29692, -10426}, {6967, -5906}}
	half2 = pair{2 * unit, 0} // to be doubled: 4 units are more than 16 bits hold
)

func (p pair) negative() pair { return pair{-p[0], -p[1]} }

var constants = map[string]Mem{}

// lanes is a constant of 8 double words, the lower four and the upper four equal.
func lanes(low, high uint32) Mem {
	name := fmt.Sprintf("c%08x%08x", low, high)
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range 8 {
			v := low
			if i >= 4 {
				v = high
			}
			DATA(4*i, U32(v))
		}
		constants[name] = m
	}
	return m
}

func both(p pair) Mem     { return lanes(p.bits(), p.bits()) }
func round(n int) Mem     { return lanes(1<<(n-1), 1<<(n-1)) }
func sides(l, h pair) Mem { return lanes(l.bits(), h.bits()) }

// bytes is a constant of 32 bytes.
func bytes(name string, at func(i int) uint8) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range 32 {
			DATA(i, U8(at(i)))
		}
		constants[name] = m
	}
	return m
}

// A vec is a register that can be seen in its two widths.
type vec = VecVirtual

// A machine computes with registers of one width.
type machine struct{ wide bool }

func (m machine) reg(v vec) Register {
	if m.wide {
		return v.AsY()
	}
	return v.AsX()
}

func (m machine) new() vec {
	if m.wide {
		return YMM()
	}
	return XMM()
}

func (m machine) madd(c Mem, x vec) vec {
	r := m.new()
	VPMADDWD(c, m.reg(x), m.reg(r))
	return r
}

func (m machine) add(a, b vec) vec {
	r := m.new()
	VPADDD(m.reg(b), m.reg(a), m.reg(r))
	return r
}

func (m machine) addTo(a vec, b Op) vec {
	VPADDD(b, m.reg(a), m.reg(a))
	return a
}

func (m machine) sub(a, b vec) vec {
	r := m.new()
	VPSUBD(m.reg(b), m.reg(a), m.reg(r))
	return r
}

func (m machine) shift(v vec, n int) vec {
	VPSRAD(U8(n), m.reg(v), m.reg(v))
	return v
}

// samples8, samples4 and samples2 take pairs of coefficients (0, 4), (2, 6), (1, 3) and (5, 7), and give samples that
// were shifted n bits to the right.
func (m machine) samples8(p [4]vec, n int) (out []vec) {
	t0 := m.addTo(m.madd(both(sum8), p[0]), round(n))
	t1 := m.addTo(m.madd(both(difference8), p[0]), round(n))
	u0, u1 := m.madd(both(outer8), p[1]), m.madd(both(inner8), p[1])
	even := []vec{m.add(t0, u0), m.add(t1, u1), m.sub(t1, u1), m.sub(t0, u0)}
	out = make([]vec, 8)
	for i, e := range even {
		o := m.madd(both(odd8[i][0]), p[2])
		m.addTo(o, m.reg(m.madd(both(odd8[i][1]), p[3])))
		out[i], out[7-i] = m.shift(m.add(e, o), n), m.shift(m.sub(e, o), n)
	}
	return out
}

func (m machine) samples4(p [4]vec, n int) []vec {
	t := m.addTo(m.madd(both(sum4), p[0]), round(n))
	u := m.madd(both(mid4), p[1])
	even := []vec{m.add(t, u), m.sub(t, u)}
	out := make([]vec, 4)
	for i, e := range even {
		o := m.madd(both(odd4[i][0]), p[2])
		m.addTo(o, m.reg(m.madd(both(odd4[i][1]), p[3])))
		out[i], out[3-i] = m.shift(m.add(e, o), n), m.shift(m.sub(e, o), n)
	}
	return out
}

func (m machine) samples2(p [4]vec, n int) []vec {
	e := m.madd(both(half2), p[0])
	m.addTo(e, m.reg(e))
	m.addTo(e, round(n))
	o := m.madd(both(odd2[0]), p[2])
	m.addTo(o, m.reg(m.madd(both(odd2[1]), p[3])))
	return []vec{m.shift(m.add(e, o), n), m.shift(m.sub(e, o), n)}
}

func (m machine) samples(size int, p [4]vec, bits int) []vec {
	switch size {
	case 8:
		return m.samples8(p, 13+bits)
	case 4:
		return m.samples4(p, 14+bits)
	}
	return m.samples2(p, 15+bits)
}

// idct writes a transform to nx x ny samples.
func idct(nx, ny int) {
	TEXT(fmt.Sprintf("idct%dx%dAVX2", nx, ny), NOSPLIT, "func(dst *byte, stride int, block, quant *[64]int16)")
	Pragma("noescape")
	dst, stride := Load(Param("dst"), GP64()), Load(Param("stride"), GP64())
	block, quant := Load(Param("block"), GP64()), Load(Param("quant"), GP64())
	y, x := machine{true}, machine{false}

	Comment("Columns: a register has 8 of them in the order 0, 4, 2, 6, 1, 3, 5, 7.")
	var p [4]vec
	for i := range p {
		if ny == 2 && i == 1 {
			continue
		}
		p[i] = YMM()
		VMOVDQU(Mem{Base: block, Disp: 32 * i}, p[i].AsY())
		VPMULLW(Mem{Base: quant, Disp: 32 * i}, p[i].AsY(), p[i].AsY())
	}
	rows := y.samples(ny, p, -2)

	Comment("Pairs of columns of all rows together.")
	var packed []vec
	for i := 0; i < ny; i += 2 {
		r := YMM()
		VPACKSSDW(rows[i+1].AsY(), rows[i].AsY(), r.AsY())
		packed = append(packed, r)
	}
	if ny == 2 {
		packed = append(packed, packed[0])
	}
	var halves []vec // of four rows: columns (0, 4) and (1, 3), then (2, 6) and (5, 7)
	for i := 0; i < len(packed); i += 2 {
		for _, pick := range []uint64{0x88, 0xdd} {
			r := YMM()
			VSHUFPS(U8(pick), packed[i+1].AsY(), packed[i].AsY(), r.AsY())
			halves = append(halves, r)
		}
	}
	m := x
	var q [4]vec
	if ny == 8 {
		m = y
		for i, from := range []int{0, 1, 0, 1} {
			q[i] = YMM()
			VPERM2I128(U8([]uint64{0x20, 0x20, 0x31, 0x31}[i]), halves[from+2].AsY(), halves[from].AsY(), q[i].AsY())
		}
	} else {
		q[0], q[1] = halves[0], halves[1]
		for i := range 2 {
			q[2+i] = XMM()
			VEXTRACTI128(U8(1), halves[i].AsY(), q[2+i].AsX())
		}
	}

	Comment("Rows, as columns of samples.")
	columns := m.samples(nx, q, 5)
	var words, quads []vec
	for i := 0; i < nx; i += 2 {
		r := m.new()
		VPACKSSDW(m.reg(columns[i+1]), m.reg(columns[i]), m.reg(r))
		words = append(words, r)
	}
	if nx == 2 {
		words = append(words, words[0])
	}
	for i := 0; i < len(words); i += 2 {
		r := m.new()
		VPACKSSWB(m.reg(words[i+1]), m.reg(words[i]), m.reg(r))
		VPXOR(bytes("signs", func(int) uint8 { return 0x80 }), m.reg(r), m.reg(r))
		VPSHUFB(bytes("turn", func(i int) uint8 { return uint8(i%4*4 + i%16/4) }), m.reg(r), m.reg(r))
		quads = append(quads, r)
	}

	stored := 0
	next := func() Mem {
		if stored > 0 {
			ADDQ(stride, dst)
		}
		stored++
		return Mem{Base: dst}
	}
	switch nx {
	case 8:
		pairs := []vec{m.new(), m.new()}
		VPUNPCKLDQ(m.reg(quads[1]), m.reg(quads[0]), m.reg(pairs[0]))
		VPUNPCKHDQ(m.reg(quads[1]), m.reg(quads[0]), m.reg(pairs[1]))
		for lane := range ny / 4 {
			for _, v := range pairs {
				if lane == 1 {
					VEXTRACTI128(U8(1), v.AsY(), v.AsX())
				}
				VMOVQ(v.AsX(), next())
				VMOVHPS(v.AsX(), next())
			}
		}
	case 4, 2:
		for row := range ny {
			if row == 4 {
				VEXTRACTI128(U8(1), quads[0].AsY(), quads[0].AsX())
			}
			switch {
			case nx == 2:
				VPEXTRW(U8(row*2), quads[0].AsX(), next())
			case row%4 == 0:
				VMOVD(quads[0].AsX(), next())
			default:
				VPEXTRD(U8(row%4), quads[0].AsX(), next())
			}
		}
	}
	VZEROUPPER()
	RET()
}
