package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tilesIn writes the transformation of the inputs of Winograd's tiles. Registers:
//
//	DI dst    SI src at the tile    AX, BX, R13, R14 src at this vector of the tile's four columns    R12 bytes of a pixel
//	R8, R9 bytes of one row of pixels and of three    R10, R11 likewise of places    DX dst at a row of places
//	CX tiles left    R15 channels left
func (s isa) tilesIn() {
	TEXT("tilesIn"+s.name, NOSPLIT, "func(dst, src *float32, tiles, c, row, tile, plane int)")
	Pragma("noescape")
	Load(Param("c"), RCX)
	ANDQ(I32(s.lanes-1), RCX)
	s.setMask()
	Load(Param("dst"), RDI)
	Load(Param("src"), RSI)
	triple("row", R8, R9)
	triple("plane", R10, R11)
	Load(Param("c"), R12)
	SHLQ(U8(2), R12)
	Load(Param("tiles"), RCX)

	columns := []GPPhysical{RAX, RBX, R13, R14}
	at := func(y, x int) Mem {
		return [...]Mem{{Base: columns[x]}, {Base: columns[x], Index: R8, Scale: 1}, {Base: columns[x], Index: R8, Scale: 2}, {Base: columns[x], Index: R9, Scale: 1}}[y]
	}
	u := func(x int) VecPhysical { return s.regs[x] }
	out, other := s.regs[4], s.regs[5]
	step := func(last bool) {
		MOVQ(RDI, RDX)
		for y, rows := range [4][2]int{{0, 2}, {1, 2}, {2, 1}, {1, 3}} {
			for x := range 4 {
				s.load(at(rows[0], x), u(x), last)
				from := Op(at(rows[1], x))
				if last {
					s.load(at(rows[1], x), other, true)
					from = other
				}
				if y == 1 {
					VADDPS(from, u(x), u(x))
				} else {
					VSUBPS(from, u(x), u(x))
				}
			}
			VSUBPS(u(2), u(0), out)
			s.store(out, Mem{Base: RDX}, last)
			VADDPS(u(2), u(1), out)
			s.store(out, Mem{Base: RDX, Index: R10, Scale: 1}, last)
			VSUBPS(u(1), u(2), out)
			s.store(out, Mem{Base: RDX, Index: R10, Scale: 2}, last)
			VSUBPS(u(3), u(1), out)
			s.store(out, Mem{Base: RDX, Index: R11, Scale: 1}, last)
			if y < 3 {
				LEAQ(Mem{Base: RDX, Index: R10, Scale: 4}, RDX)
			}
		}
	}
	Label("tile")
	MOVQ(RSI, RAX)
	for i := range 3 {
		LEAQ(Mem{Base: columns[i], Index: R12, Scale: 1}, columns[i+1])
	}
	LEAQ(Mem{Base: RSI, Index: R12, Scale: 2}, RSI)
	s.alongChannels("c", append(columns, RDI), step)
	Load(Param("tile"), RDX)
	LEAQ(Mem{Base: RDI, Index: RDX, Scale: 4}, RDI)
	SUBQ(R12, RDI)
	DECQ(RCX)
	JNE(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// triple loads a distance in values as bytes, once and three times.
func triple(param string, one, three GPPhysical) {
	Load(Param(param), one)
	SHLQ(U8(2), one)
	LEAQ(Mem{Base: one, Index: one, Scale: 2}, three)
}

// alongChannels goes along a tile's channels: the pointers end behind the last one. It uses R15.
func (s isa) alongChannels(param string, pointers []GPPhysical, step func(last bool)) {
	Load(Param(param), R15)
	SUBQ(U8(s.lanes), R15)
	JLT(LabelRef("tail"))
	Label("vector")
	step(false)
	for _, p := range pointers {
		ADDQ(U8(s.bytes()), p)
	}
	SUBQ(U8(s.lanes), R15)
	JGE(LabelRef("vector"))
	Label("tail")
	ADDQ(U8(s.lanes), R15)
	JEQ(LabelRef("end"))
	step(true)
	for _, p := range pointers {
		LEAQ(Mem{Base: p, Index: R15, Scale: 4}, p)
	}
	Label("end")
}

// tilesOut writes the transformation of the products of Winograd's tiles. Registers:
//
//	DI dst at the tile    R12, DX dst at this vector of the tile's two rows    SI bias
//	AX, BX, R13, R14 the products at this vector of four rows of places    R8, R9 bytes of one place and of three
//	R10 bytes of a row of pixels    R11 of a pixel    R15 channels left
func (s isa) tilesOut() {
	TEXT("tilesOut"+s.name, NOSPLIT, "func(dst, m, bias *float32, tiles, channels, plane, row, pixel, down, across int, low, high float32)")
	Pragma("noescape")
	tiles := AllocLocal(8)
	r := func(x int) VecPhysical { return s.regs[x] }
	out, other, low, high := s.regs[4], s.regs[5], s.regs[6], s.regs[7]
	Load(Param("channels"), RCX)
	ANDQ(I32(s.lanes-1), RCX)
	s.setMask()
	for _, b := range []struct {
		param string
		to    VecPhysical
	}{{"low", low}, {"high", high}} {
		Load(Param(b.param), b.to.AsX())
		VBROADCASTSS(b.to.AsX(), b.to)
	}
	Load(Param("tiles"), RAX)
	MOVQ(RAX, tiles)
	Load(Param("dst"), RDI)
	triple("plane", R8, R9)
	Load(Param("row"), R10)
	SHLQ(U8(2), R10)
	Load(Param("pixel"), R11)
	SHLQ(U8(2), R11)
	Load(Param("m"), RAX)
	rows := []GPPhysical{RAX, RBX, R13, R14}
	for i := range 3 {
		LEAQ(Mem{Base: rows[i], Index: R8, Scale: 4}, rows[i+1])
	}
	param := func(name string) Mem {
		p, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		return p.Addr
	}
	at := func(y, x int) Mem {
		return [...]Mem{{Base: rows[y]}, {Base: rows[y], Index: R8, Scale: 1}, {Base: rows[y], Index: R8, Scale: 2}, {Base: rows[y], Index: R9, Scale: 1}}[x]
	}
	of := func(last bool, m Mem) Op {
		if !last {
			return m
		}
		s.load(m, other, true)
		return other
	}
	step := func(last bool) {
		suffix := "_vector"
		if last {
			suffix = "_tail"
		}
		for y, dst := range []GPPhysical{R12, RDX} {
			name := []string{"upper", "lower"}[y] + suffix
			if y == 1 {
				CMPQ(param("down"), U8(2))
				JLT(LabelRef(name + "_done"))
			}
			for x := range 4 {
				s.load(at(y, x), r(x), last)
				for _, row := range []int{y + 1, y + 2} {
					if y == 0 {
						VADDPS(of(last, at(row, x)), r(x), r(x))
					} else {
						VSUBPS(of(last, at(row, x)), r(x), r(x))
					}
				}
			}
			finish := func(label string, to Mem) {
				TESTQ(RSI, RSI)
				JEQ(LabelRef(label))
				VADDPS(of(last, Mem{Base: RSI}), out, out)
				Label(label)
				VMAXPS(out, low, out)
				VMINPS(out, high, out)
				s.store(out, to, last)
			}
			VADDPS(r(1), r(0), out)
			VADDPS(r(2), out, out)
			finish(name+"_left", Mem{Base: dst})
			CMPQ(param("across"), U8(2))
			JLT(LabelRef(name + "_done"))
			VSUBPS(r(2), r(1), out)
			VSUBPS(r(3), out, out)
			finish(name+"_right", Mem{Base: dst, Index: R11, Scale: 1})
			Label(name + "_done")
		}
		TESTQ(RSI, RSI)
		JEQ(LabelRef("nobias" + suffix))
		ADDQ(U8(s.bytes()), RSI)
		Label("nobias" + suffix)
	}
	Label("tile")
	MOVQ(RDI, R12)
	LEAQ(Mem{Base: RDI, Index: R10, Scale: 1}, RDX)
	LEAQ(Mem{Base: RDI, Index: R11, Scale: 2}, RDI)
	Load(Param("bias"), RSI)
	s.alongChannels("channels", append(rows, R12, RDX), step)
	DECQ(tiles)
	JNE(LabelRef("tile"))
	VZEROUPPER()
	RET()
}
