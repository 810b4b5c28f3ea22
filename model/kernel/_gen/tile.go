package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Where tile's fields are.
const (
	tileA, tileB, tileC, tileBias = 0, 24, 48, 72
	tileA0                        = 96 + 8*iota - 8
	tileB0
	tileC0
	tileAS
	tileAR
	tileAK
	tileBR
	tileBK
	tileCS
	tileM
	tileCols
	tileRuns
	tileRun
	tileRows
	tileAdd
	tileLow
	tileHigh
	tilePadded
)

func field(offset int) Mem { return Mem{Base: RDI, Disp: offset} }

// tiles are the loops over a tile, cut into pieces of rows x vectors that fit the registers. What lies where:
//
//	DI tile    SI, DX a and b at the beginning of a run    AX, BX, R14 a for rows 0, 5, 10    R12 b
//	R8, R15 as and 3 as    R9 ak    R10 bk    R11 runs left    CX values of the run left    R13 c
type tiles struct {
	isa
	name  string
	left, // rows left
	a, c, // of the piece
	ar, br, // bytes
	ragged, // product: b has to be read through the mask
	off, // channels and maxima: bytes from the first channel
	colsLeft Mem
}

func (s isa) newTiles(name string) tiles {
	TEXT(name+s.name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	l := AllocLocal(64)
	t := tiles{s, name, l, l.Offset(8), l.Offset(16), l.Offset(24), l.Offset(32), l.Offset(40), l.Offset(48), l.Offset(56)}
	Load(Param("t"), RDI)
	Comment("Distances in bytes, beginnings as pointers.")
	for _, d := range []struct {
		field int
		to    Op
	}{{tileAS, R8}, {tileAK, R9}, {tileBK, R10}, {tileAR, t.ar}, {tileBR, t.br}} {
		MOVQ(field(d.field), RAX)
		SHLQ(U8(2), RAX)
		MOVQ(RAX, d.to)
	}
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, R15)
	pointer := func(base, offset int, to Mem) {
		MOVQ(field(offset), RCX)
		MOVQ(field(base), RAX)
		LEAQ(Mem{Base: RAX, Index: RCX, Scale: 4}, RAX)
		MOVQ(RAX, to)
	}
	pointer(tileA, tileA0, t.a)
	pointer(tileC, tileC0, t.c)
	MOVQ(field(tileM), RAX)
	MOVQ(RAX, t.left)
	return t
}

// pieces writes the choice of the next piece's height, then each height's code by f, which ends at label+"_done".
func (t tiles) pieces(label string, most int, f func(m int, label string)) {
	Label(label + "_next")
	Comment("The next piece: of so many rows, or of those that are left.")
	MOVQ(field(tileRows), RCX)
	MOVQ(t.left, RAX)
	CMPQ(RAX, RCX)
	CMOVQLT(RAX, RCX)
	for m := most; m > 1; m-- {
		CMPQ(RCX, U8(m))
		JEQ(LabelRef(fmt.Sprintf("%s_%d", label, m)))
	}
	for m := 1; m <= most; m++ {
		l := fmt.Sprintf("%s_%d", label, m)
		Label(l)
		f(m, l)
		IMUL3Q(U8(m), R8, RAX)
		ADDQ(RAX, t.a)
		MOVQ(field(tileCS), RAX)
		IMUL3Q(U8(4*m), RAX, RAX)
		ADDQ(RAX, t.c)
		SUBQ(U8(m), t.left)
		if m < most {
			JMP(LabelRef(label + "_done"))
		}
	}
	Label(label + "_done")
	CMPQ(t.left, U8(0))
	JG(LabelRef(label + "_next"))
	VZEROUPPER()
	RET()
}

// piece is m rows of nv vectors, of which the last may be cut by the mask.
type piece struct {
	tiles
	label string
	m, nv int
	cut   bool
}

func (p piece) acc(i, v int) VecPhysical { return p.regs[i*p.nv+v] }

// b and x lie behind the sums.
func (p piece) b(v int) VecPhysical {
	return p.regs[len(p.regs)-p.spare()-1-v]
}

func (p piece) x() VecPhysical {
	return p.regs[len(p.regs)-p.spare()]
}

// spare is how many registers are for x and the mask.
func (s isa) spare() int {
	if s.wide {
		return 1
	}
	return 2
}

func (p piece) last(v int) bool { return p.cut && v == p.nv-1 }

func (p piece) each(f func(i, v int)) {
	for i := range p.m {
		for v := range p.nv {
			f(i, v)
		}
	}
}

var bases = []GPPhysical{RAX, RBX, R14}

// row is where vector v of row i of a is, disp bytes on.
func (p piece) row(i, v, disp int) Mem {
	at := Mem{Base: bases[i/5], Disp: v*p.bytes() + disp}
	switch i % 5 {
	case 1, 2, 4:
		at.Index, at.Scale = R8, uint8(i%5)
	case 3:
		at.Index, at.Scale = R15, 1
	}
	return at
}

// start sets the sums.
func (p piece) start() {
	Comment("The sums begin with c,")
	CMPQ(field(tileAdd), U8(0))
	JEQ(LabelRef(p.label + "_bias"))
	MOVQ(R13, RAX)
	MOVQ(field(tileCS), R12)
	SHLQ(U8(2), R12)
	for i := range p.m {
		for v := range p.nv {
			p.load(Mem{Base: RAX, Disp: v * p.bytes()}, p.acc(i, v), p.last(v))
		}
		if i < p.m-1 {
			ADDQ(R12, RAX)
		}
	}
	JMP(LabelRef(p.label + "_runs"))
	Comment("or bias,")
	Label(p.label + "_bias")
	MOVQ(field(tileBias), RAX)
	TESTQ(RAX, RAX)
	JEQ(LabelRef(p.label + "_zero"))
	if p.name != "product" {
		ADDQ(p.off, RAX)
	}
	for v := range p.nv {
		p.load(Mem{Base: RAX, Disp: v * p.bytes()}, p.acc(0, v), p.last(v))
		for i := 1; i < p.m; i++ {
			VMOVAPS(p.acc(0, v), p.acc(i, v))
		}
	}
	JMP(LabelRef(p.label + "_runs"))
	Comment("or 0.")
	Label(p.label + "_zero")
	p.each(func(i, v int) { p.zero(p.acc(i, v)) })
	Label(p.label + "_runs")
}

// walk goes through the runs: loop has to go through CX values of one.
func (p piece) walk(loop func()) {
	MOVQ(field(tileRuns), R11)
	CMPQ(field(tileRun), U8(0))
	JEQ(LabelRef(p.label + "_end"))
	TESTQ(R11, R11)
	JEQ(LabelRef(p.label + "_end"))
	Label(p.label + "_run")
	p.toRow()
	MOVQ(RDX, R12)
	MOVQ(field(tileRun), RCX)
	loop()
	ADDQ(p.ar, RSI)
	ADDQ(p.br, RDX)
	DECQ(R11)
	JNE(LabelRef(p.label + "_run"))
	Label(p.label + "_end")
}

// toRow points at the rows of a from SI on.
func (p piece) toRow() {
	MOVQ(RSI, RAX)
	for i := 1; i*5 < p.m; i++ {
		LEAQ(Mem{Base: bases[i-1], Index: R8, Scale: 4}, bases[i])
		ADDQ(R8, bases[i])
	}
}

// onward moves to the next value of the run and goes back to the label while there is one.
func (p piece) onward(label string) {
	ADDQ(R10, R12)
	for i := 0; i*5 < p.m; i++ {
		ADDQ(R9, bases[i])
	}
	DECQ(RCX)
	JNE(LabelRef(label))
}

// finish applies the activation and stores.
func (p piece) finish() {
	x := p.x()
	CMPQ(field(tileLow), U8(0))
	JEQ(LabelRef(p.label + "_store"))
	p.zero(x)
	p.each(func(i, v int) { VMAXPS(p.acc(i, v), x, p.acc(i, v)) })
	CMPQ(field(tileHigh), U8(0))
	JEQ(LabelRef(p.label + "_store"))
	p.broadcast(six, x)
	p.each(func(i, v int) { VMINPS(p.acc(i, v), x, p.acc(i, v)) })
	Label(p.label + "_store")
	p.save()
}

func (p piece) save() {
	MOVQ(field(tileCS), R12)
	SHLQ(U8(2), R12)
	for i := range p.m {
		for v := range p.nv {
			p.store(p.acc(i, v), Mem{Base: R13, Disp: v * p.bytes()}, p.last(v))
		}
		if i < p.m-1 {
			ADDQ(R12, R13)
		}
	}
}

// most is how many rows a piece of nv vectors can have. Package kernel knows it too.
func (s isa) most(nv int) int {
	if s.wide {
		return []int{0, 12, 12, 9, 6}[nv]
	}
	return []int{0, 12, 6}[nv]
}

// product writes tile.product. A piece is of as many vectors as the tile has.
func (s isa) product() {
	t := s.newTiles("product")
	widest := 2
	if s.wide {
		widest = 4
	}
	prefix := []string{"", "one", "two", "three", "four"}
	Comment("The mask of the last vector, and whether b has to be read through it.")
	MOVQ(field(tileCols), RCX)
	DECQ(RCX)
	MOVQ(RCX, RBX)
	ANDQ(I32(s.lanes-1), RCX)
	INCQ(RCX)
	XORQ(RDX, RDX)
	CMPQ(RCX, U8(s.lanes))
	SETLT(DL)
	CMPQ(field(tilePadded), U8(0))
	JEQ(LabelRef("unpadded"))
	XORQ(RDX, RDX)
	Label("unpadded")
	MOVQ(RDX, t.ragged)
	s.setMask()
	SHRQ(U8(map[int]uint8{8: 3, 16: 4}[s.lanes]), RBX)
	for nv := widest; nv > 1; nv-- {
		CMPQ(RBX, U8(nv-1))
		JEQ(LabelRef(prefix[nv]))
	}
	for nv := 1; nv <= widest; nv++ {
		Label(prefix[nv])
		t.pieces(prefix[nv], s.most(nv), func(m int, label string) {
			piece{t, label, m, nv, true}.product()
		})
	}
}

func (p piece) product() {
	MOVQ(p.a, RSI)
	MOVQ(field(tileB0), RBX)
	MOVQ(field(tileB), RDX)
	LEAQ(Mem{Base: RDX, Index: RBX, Scale: 4}, RDX)
	MOVQ(p.c, R13)
	p.start()
	step := func(b Mem, disp int, cut bool) {
		for v := range p.nv {
			at := b
			at.Disp += v * p.bytes()
			p.load(at, p.b(v), cut && v == p.nv-1)
		}
		for i := range p.m {
			VBROADCASTSS(p.row(i, 0, disp), p.x())
			for v := range p.nv {
				p.multiplyAdd(p.b(v), p.x(), p.acc(i, v))
			}
		}
	}
	p.walk(func() {
		if p.nv <= 2 {
			CMPQ(p.ragged, U8(0))
			JNE(LabelRef(p.label + "_cut"))
		}
		Comment("Two values at a time where they are neighbours in a: fewer instructions beside the sums.")
		CMPQ(R9, U8(4))
		JNE(LabelRef(p.label + "_loop"))
		SHRQ(U8(1), RCX)
		JEQ(LabelRef(p.label + "_odd"))
		Label(p.label + "_pair")
		step(Mem{Base: R12}, 0, false)
		step(Mem{Base: R12, Index: R10, Scale: 1}, 4, false)
		LEAQ(Mem{Base: R12, Index: R10, Scale: 2}, R12)
		for i := 0; i*5 < p.m; i++ {
			ADDQ(U8(8), bases[i])
		}
		DECQ(RCX)
		JNE(LabelRef(p.label + "_pair"))
		Label(p.label + "_odd")
		MOVQ(field(tileRun), RCX)
		ANDQ(U8(1), RCX)
		JEQ(LabelRef(p.label + "_ran"))
		Label(p.label + "_loop")
		step(Mem{Base: R12}, 0, false)
		p.onward(p.label + "_loop")
		if p.nv <= 2 {
			JMP(LabelRef(p.label + "_ran"))
			Label(p.label + "_cut")
			step(Mem{Base: R12}, 0, true)
			p.onward(p.label + "_cut")
		}
		Label(p.label + "_ran")
	})
	p.finish()
}

// across is how many vectors a piece of m rows has in tile.channels and tile.maxima: as many as there are registers for
// their sums, for b and x.
func (s isa) across(m int) int {
	return min((len(s.regs)-s.spare())/(m+1), 8)
}

// byChannel writes tile.channels or tile.maxima. Pieces go along the channels: as long as they can, then vector by
// vector.
func (s isa) byChannel(name string, f func(p piece)) {
	t := s.newTiles(name)
	t.pieces("rows", 12, func(m int, label string) {
		MOVQ(U32(0), t.off)
		MOVQ(field(tileCols), RAX)
		MOVQ(RAX, t.colsLeft)
		one := func(nv int, suffix string) {
			MOVQ(t.off, RCX)
			MOVQ(t.a, RSI)
			ADDQ(RCX, RSI)
			MOVQ(field(tileB0), RBX)
			MOVQ(field(tileB), RDX)
			LEAQ(Mem{Base: RDX, Index: RBX, Scale: 4}, RDX)
			ADDQ(RCX, RDX)
			MOVQ(t.c, R13)
			ADDQ(RCX, R13)
			f(piece{t, label + suffix, m, nv, nv == 1})
			ADDQ(U32(nv*s.bytes()), t.off)
			SUBQ(U32(nv*s.lanes), t.colsLeft)
		}
		if nv := s.across(m); nv > 1 {
			Label(label + "_wide")
			CMPQ(t.colsLeft, U32(nv*s.lanes))
			JLT(LabelRef(label + "_tail"))
			one(nv, "_w")
			JMP(LabelRef(label + "_wide"))
		}
		Label(label + "_tail")
		MOVQ(t.colsLeft, RCX)
		TESTQ(RCX, RCX)
		JLE(LabelRef(label + "_end"))
		MOVQ(U32(s.lanes), RAX)
		CMPQ(RCX, RAX)
		CMOVQGT(RAX, RCX)
		s.setMask()
		one(1, "_t")
		JMP(LabelRef(label + "_tail"))
		Label(label + "_end")
	})
}

func (p piece) channels() {
	p.start()
	p.walk(func() {
		Label(p.label + "_loop")
		for v := range p.nv {
			p.load(Mem{Base: R12, Disp: v * p.bytes()}, p.b(v), p.last(v))
		}
		p.each(func(i, v int) {
			switch {
			case !p.last(v):
				VFMADD231PS(p.row(i, v, 0), p.b(v), p.acc(i, v))
			case p.wide:
				VFMADD231PS(p.row(i, v, 0), p.b(v), K1, p.acc(i, v))
			default:
				p.load(p.row(i, v, 0), p.x(), true)
				VFMADD231PS(p.x(), p.b(v), p.acc(i, v))
			}
		})
		p.onward(p.label + "_loop")
	})
	p.finish()
}

func (p piece) maxima() {
	p.toRow()
	p.each(func(i, v int) { p.load(p.row(i, v, 0), p.acc(i, v), p.last(v)) })
	p.walk(func() {
		Label(p.label + "_loop")
		p.each(func(i, v int) {
			p.load(p.row(i, v, 0), p.x(), p.last(v))
			VMAXPS(p.acc(i, v), p.x(), p.acc(i, v)) // x > sum ? x : sum
		})
		p.onward(p.label + "_loop")
	})
	p.save()
}
