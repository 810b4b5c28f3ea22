// Command _gen writes the assembly of package transforms. It is a module of its own, so that nobody who builds logobeam
// needs avo. Run it by go generate in transforms.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, s := range []isa{
		{name: "AVX2", bytes: 32, regs: ymm},
		{name: "AVX512", bytes: 64, regs: zmm, wide: true},
	} {
		s.columns()
		s.normalise()
	}
	alongAVX2()
	alongAVX512()
	order = GLOBL("order", RODATA|NOPTR)
	for third := range 3 {
		for c := range 3 {
			for i := range 16 {
				from := U8(0x80) // none
				if at := 16*third + i; at%3 == c {
					from = U8(at / 3)
				}
				DATA(16*(3*third+c)+i, from)
			}
		}
	}
	toBytes("fromRGBAVX2", false)
	toBytes("fromYCbCrAVX2", true)
	Generate()
}

// order is which byte of 16 pixels' red, green and blue each goes to each 16 of the 48 bytes.
var order Mem

var (
	xmm = []VecPhysical{X0, X1, X2, X3, X4, X5, X6, X7, X8, X9, X10, X11, X12, X13, X14, X15}
	ymm = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	zmm = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
)

// isa is one set of instructions.
type isa struct {
	name  string
	bytes int // of a vector
	regs  []VecPhysical
	wide  bool // AVX-512
}

func (s isa) zero(r VecPhysical) {
	if s.wide {
		VPXORD(r, r, r)
	} else {
		VPXOR(r, r, r)
	}
}

// spread fills a vector with a dword.
func spread(v uint32, r VecPhysical) {
	MOVL(U32(v), EAX)
	VMOVD(EAX, r.AsX())
	VPBROADCASTD(r.AsX(), r)
}

// columns writes columnsGeneric for width of a vector of words at least: two vectors at a time, then one, the last of which
// ends with the row and so may do again what is done. Registers:
//
//	DI row    SI src    R8 stride    R9 n    R10 weights    R11 columns left
//	CX rows left    DX src at a row    BX weights at a row
func (s isa) columns() {
	TEXT("columns"+s.name, NOSPLIT, "func(row *int16, src *uint8, stride, n int, weights *int16, width int)")
	Pragma("noescape")
	Load(Param("row"), RDI)
	Load(Param("src"), RSI)
	Load(Param("stride"), R8)
	Load(Param("n"), R9)
	Load(Param("weights"), R10)
	Load(Param("width"), R11)
	lanes := s.bytes / 2
	half := s.regs[15]
	spread(64, half)
	Label("two")
	CMPQ(R11, U32(uint32(2*lanes)))
	JL(LabelRef("one"))
	s.sum("two", 2, half)
	ADDQ(U32(uint32(2*lanes)), RSI)
	ADDQ(U32(uint32(4*lanes)), RDI)
	SUBQ(U32(uint32(2*lanes)), R11)
	JMP(LabelRef("two"))
	Label("one")
	TESTQ(R11, R11)
	JZ(LabelRef("done"))
	CMPQ(R11, U32(uint32(lanes)))
	JGE(LabelRef("full"))
	LEAQ(Mem{Base: RSI, Index: R11, Scale: 1, Disp: -lanes}, RSI)
	LEAQ(Mem{Base: RDI, Index: R11, Scale: 2, Disp: -2 * lanes}, RDI)
	MOVQ(U32(uint32(lanes)), R11)
	Label("full")
	s.sum("one", 1, half)
	ADDQ(U32(uint32(lanes)), RSI)
	ADDQ(U32(uint32(2*lanes)), RDI)
	SUBQ(U32(uint32(lanes)), R11)
	JMP(LabelRef("one"))
	Label("done")
	VZEROUPPER()
	RET()
}

// sum adds up the rows of some vectors: their sums are in registers 0 to 3, of a vector's low and its high half in each
// group of 8 words, which packing them joins again.
func (s isa) sum(label string, vectors int, half VecPhysical) {
	sums, weight := s.regs[:2*vectors], s.regs[4]
	a, b, low, high := s.regs[5], s.regs[6], s.regs[7], s.regs[8]
	load := func(m Mem, r VecPhysical) { VPMOVZXBW(m, r) }
	for _, r := range sums {
		if s.wide {
			VMOVDQA32(half, r)
		} else {
			VMOVDQA(half, r)
		}
	}
	MOVQ(RSI, RDX)
	MOVQ(R10, RBX)
	MOVQ(R9, RCX)
	add := func(single bool) {
		VPBROADCASTD(Mem{Base: RBX}, weight)
		if single {
			s.zero(b)
		}
		for v := range vectors {
			load(Mem{Base: RDX, Disp: v * s.bytes / 2}, a)
			if !single {
				load(Mem{Base: RDX, Index: R8, Scale: 1, Disp: v * s.bytes / 2}, b)
			}
			VPUNPCKLWD(b, a, low)
			VPUNPCKHWD(b, a, high)
			VPMADDWD(weight, low, low)
			VPMADDWD(weight, high, high)
			VPADDD(low, sums[2*v], sums[2*v])
			VPADDD(high, sums[2*v+1], sums[2*v+1])
		}
	}
	Label(label + "Pairs")
	SUBQ(U32(2), RCX)
	JL(LabelRef(label + "Rest"))
	add(false)
	LEAQ(Mem{Base: RDX, Index: R8, Scale: 2}, RDX)
	ADDQ(U32(4), RBX)
	JMP(LabelRef(label + "Pairs"))
	Label(label + "Rest")
	CMPQ(RCX, I8(-1))
	JNE(LabelRef(label + "Even"))
	add(true)
	Label(label + "Even")
	for v := range vectors {
		low, high := sums[2*v], sums[2*v+1]
		VPSRAD(U8(7), low, low)
		VPSRAD(U8(7), high, high)
		VPACKSSDW(high, low, low)
		m := Mem{Base: RDI, Disp: v * s.bytes}
		if s.wide {
			VMOVDQU16(low, m)
		} else {
			VMOVDQU(low, m)
		}
	}
}

// alongAVX2 writes alongGeneric: 8 outputs at a time, two pairs of inputs. Registers:
//
//	DI out    SI row    R8 starts    R9 pieces    R10 blocks left    R11 pairs    DX row at a pair    R12 pieces at a pair    CX pairs left
func alongAVX2() {
	TEXT("alongAVX2", NOSPLIT, "func(out, row *int16, starts *int32, pieces *int16, blocks, pairs int)")
	Pragma("noescape")
	Load(Param("out"), RDI)
	Load(Param("row"), RSI)
	Load(Param("starts"), R8)
	Load(Param("pieces"), R9)
	Load(Param("blocks"), R10)
	Load(Param("pairs"), R11)
	half, zero, most := Y15, Y14, Y13
	spread(8192, half)
	VPXOR(zero, zero, zero)
	spread(255<<7<<16|255<<7, most)
	Label("block")
	for h := range 2 {
		sum, label := ymm[h], []string{"low", "high"}[h]
		VMOVDQA(half, sum)
		MOVQ(RSI, RDX)
		LEAQ(Mem{Base: R9, Disp: 32 * h}, R12)
		MOVQ(R11, RCX)
		Label(label)
		// Inputs of outputs 0, 1 and 4, 5 in one register, of 2, 3 and 6, 7 in the other.
		for i := range 8 {
			x := xmm[2+i/2]
			MOVLQSX(Mem{Base: R8, Disp: 32*h + 4*i}, RAX)
			in := Mem{Base: RDX, Index: RAX, Scale: 2}
			if i%2 == 0 {
				VMOVQ(in, x)
			} else {
				VMOVHPS(in, x, x)
			}
		}
		VINSERTI128(U8(1), X4, Y2, Y2)
		VINSERTI128(U8(1), X5, Y3, Y3)
		VSHUFPS(U8(0x88), Y3, Y2, Y4)
		VSHUFPS(U8(0xdd), Y3, Y2, Y5)
		VPMADDWD(Mem{Base: R12}, Y4, Y4)
		VPMADDWD(Mem{Base: R12, Disp: 64}, Y5, Y5)
		VPADDD(Y4, sum, sum)
		VPADDD(Y5, sum, sum)
		ADDQ(U32(8), RDX)
		ADDQ(U32(128), R12)
		SUBQ(U32(2), RCX)
		JG(LabelRef(label))
		VPSRAD(U8(14), sum, sum)
	}
	VPACKSSDW(Y1, Y0, Y0)
	VPERMQ(U8(0xd8), Y0, Y0)
	VPMAXSW(zero, Y0, Y0)
	VPMINSW(most, Y0, Y0)
	VMOVDQU(Y0, Mem{Base: RDI})
	ADDQ(U32(32), RDI)
	ADDQ(U32(64), R8)
	LEAQ(Mem{Base: R12, Disp: -32}, R9)
	DECQ(R10)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// alongAVX512 writes alongGeneric where the inputs of a block lie within 64 words: 16 outputs at a time, a pair of inputs.
// Registers:
//
//	DI out    SI row    R8 bases    R13 places    R9 pieces    R10 blocks left    R11 pairs    DX row at a pair    CX pairs left
func alongAVX512() {
	TEXT("alongAVX512", NOSPLIT, "func(out, row *int16, bases *int32, places *uint16, pieces *int16, blocks, pairs int)")
	Pragma("noescape")
	Load(Param("out"), RDI)
	Load(Param("row"), RSI)
	Load(Param("bases"), R8)
	Load(Param("places"), R13)
	Load(Param("pieces"), R9)
	Load(Param("blocks"), R10)
	Load(Param("pairs"), R11)
	half, zero, most := Z15, Z14, Z13
	spread(8192, half)
	VPXORD(zero, zero, zero)
	spread(255<<7, most)
	Label("block")
	VMOVDQA32(half, Z0)
	VMOVDQU16(Mem{Base: R13}, Z1)
	MOVLQSX(Mem{Base: R8}, RAX)
	LEAQ(Mem{Base: RSI, Index: RAX, Scale: 2}, RDX)
	MOVQ(R11, RCX)
	Label("pair")
	VMOVDQA32(Z1, Z2)
	VMOVDQU16(Mem{Base: RDX}, Z3)
	VPERMI2W(Mem{Base: RDX, Disp: 64}, Z3, Z2)
	VPMADDWD(Mem{Base: R9}, Z2, Z2)
	VPADDD(Z2, Z0, Z0)
	ADDQ(U32(4), RDX)
	ADDQ(U32(64), R9)
	DECQ(RCX)
	JNZ(LabelRef("pair"))
	VPSRAD(U8(14), Z0, Z0)
	VPMAXSD(zero, Z0, Z0)
	VPMINSD(most, Z0, Z0)
	VPMOVDW(Z0, Mem{Base: RDI})
	ADDQ(U32(32), RDI)
	ADDQ(U32(4), R8)
	ADDQ(U32(64), R13)
	DECQ(R10)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// toBytes writes fromRGBGeneric or fromYCbCrGeneric, 16 pixels at a time. Registers:
//
//	DI rgb    SI, DX, R8 the channels    CX pixels left
func toBytes(name string, convert bool) {
	TEXT(name, NOSPLIT, "func(rgb *uint8, c0, c1, c2 *int16, n int)")
	Pragma("noescape")
	Load(Param("rgb"), RDI)
	Load(Param("c0"), RSI)
	Load(Param("c1"), RDX)
	Load(Param("c2"), R8)
	Load(Param("n"), RCX)
	words := func(v int, r VecPhysical) { spread(uint32(v)<<16|uint32(v), r) }
	words(64, Y15)
	if convert {
		words(128<<7, Y14)
		words(13173, Y13)
		words(11277, Y12)
		words(23401, Y11)
		words(7471, Y10)
	}
	Label("pixels")
	if !convert {
		VPADDSW(Mem{Base: RSI}, Y15, Y0)
		VPADDSW(Mem{Base: RDX}, Y15, Y1)
		VPADDSW(Mem{Base: R8}, Y15, Y2)
	} else {
		VMOVDQU(Mem{Base: RSI}, Y3)
		VMOVDQU(Mem{Base: RDX}, Y4)
		VMOVDQU(Mem{Base: R8}, Y5)
		VPSUBW(Y14, Y4, Y4)
		VPSUBW(Y14, Y5, Y5)
		VPMULHRSW(Y13, Y5, Y0)
		VPADDW(Y5, Y0, Y0)
		VPADDSW(Y3, Y0, Y0)
		VPMULHRSW(Y12, Y4, Y1)
		VPMULHRSW(Y11, Y5, Y2)
		VPADDW(Y2, Y1, Y1)
		VPSUBSW(Y1, Y3, Y1)
		VPMULHRSW(Y10, Y4, Y2)
		VPADDW(Y4, Y4, Y4)
		VPSUBW(Y2, Y4, Y2)
		VPADDSW(Y3, Y2, Y2)
		for _, y := range ymm[:3] {
			VPADDSW(Y15, y, y)
		}
	}
	for i, y := range ymm[:3] {
		VPSRAW(U8(7), y, y)
		VEXTRACTI128(U8(1), y, X6)
		VPACKUSWB(X6, xmm[i], xmm[i])
	}
	for i := range 3 {
		VPSHUFB(order.Offset(48*i), X0, X3)
		VPSHUFB(order.Offset(48*i+16), X1, X4)
		VPSHUFB(order.Offset(48*i+32), X2, X5)
		VPOR(X4, X3, X3)
		VPOR(X5, X3, X3)
		VMOVDQU(X3, Mem{Base: RDI, Disp: 16 * i})
	}
	for _, r := range []GPPhysical{RSI, RDX, R8} {
		ADDQ(U32(32), r)
	}
	ADDQ(U32(48), RDI)
	SUBQ(U32(16), RCX)
	JNZ(LabelRef("pixels"))
	VZEROUPPER()
	RET()
}

// normalise writes normaliseGeneric for groups of three vectors, which end with a pixel. Registers:
//
//	DI dst    SI src    CX groups left    R8 normal
func (s isa) normalise() {
	TEXT("normalise"+s.name, NOSPLIT, "func(dst *float32, src *uint8, s *float32, groups int)")
	Pragma("noescape")
	Load(Param("dst"), RDI)
	Load(Param("src"), RSI)
	Load(Param("s"), R8)
	Load(Param("groups"), RCX)
	for i := range 3 {
		VMOVUPS(Mem{Base: R8, Disp: i * s.bytes}, s.regs[3+i])
		VMOVUPS(Mem{Base: R8, Disp: 4*48 + i*s.bytes}, s.regs[6+i])
	}
	Label("group")
	for i := range 3 {
		v := s.regs[i]
		VPMOVZXBD(Mem{Base: RSI, Disp: i * s.bytes / 4}, v)
		VCVTDQ2PS(v, v)
		VSUBPS(s.regs[3+i], v, v)
		VMULPS(s.regs[6+i], v, v)
		VMOVUPS(v, Mem{Base: RDI, Disp: i * s.bytes})
	}
	ADDQ(U32(uint32(3*s.bytes)), RDI)
	ADDQ(U32(uint32(3*s.bytes/4)), RSI)
	DECQ(RCX)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}
