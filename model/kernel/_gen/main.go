// Command _gen writes the assembly of package kernel. It is a module of its own, so that nobody who builds logobeam
// needs avo. Run it by go generate in model/kernel.
package main

import (
	"github.com/logobeam/logobeam/model/kernel/_gen/bfloat16"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	ones := GLOBL("masks", RODATA|NOPTR)
	for i := range 16 {
		v := U32(0)
		if i < 8 {
			v = 0xffffffff
		}
		DATA(4*i, v)
	}
	for _, s := range []isa{
		{name: "AVX2", lanes: 8, regs: ymm, masks: ones},
		{name: "AVX512", lanes: 16, regs: zmm, wide: true},
	} {
		s.product()
		s.byChannel("channels", piece.channels)
		s.byChannel("maxima", piece.maxima)
		s.vectors()
		s.firstEqual()
		s.tilesIn()
		s.tilesOut()
	}
	isa{name: "BF16", lanes: 16, regs: zmm, wide: true, pairs: true}.product()
	Generate()
}

var (
	ymm = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	zmm = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
)

// isa is one set of instructions. Vectors that may reach beyond a slice are "last": they are loaded and stored through
// a mask, which lies in K1 or in the last register.
type isa struct {
	name  string
	lanes int
	regs  []VecPhysical
	wide  bool // AVX-512
	pairs bool // product multiplies pairs of bfloat16
	masks Mem  // AVX2: 8 words of ones, 8 of zeros
}

func (s isa) bytes() int        { return 4 * s.lanes }
func (s isa) mask() VecPhysical { return s.regs[15] }

// setMask makes the mask of the first n lanes from n in CX, which is lost.
func (s isa) setMask() {
	if s.wide {
		MOVL(U32(1), EAX)
		SHLL(CL, EAX)
		DECL(EAX)
		KMOVW(EAX, K1)
		return
	}
	LEAQ(s.masks.Offset(32), RAX)
	SHLQ(U8(2), RCX)
	SUBQ(RCX, RAX)
	VMOVUPS(Mem{Base: RAX}, s.mask())
}

func (s isa) load(m Mem, to VecPhysical, last bool) {
	switch {
	case !last:
		VMOVUPS(m, to)
	case s.wide:
		VMOVUPS_Z(m, K1, to)
	default:
		VMASKMOVPS(m, s.mask(), to)
	}
}

func (s isa) store(from VecPhysical, m Mem, last bool) {
	switch {
	case !last:
		VMOVUPS(from, m)
	case s.wide:
		VMOVUPS(from, K1, m)
	default:
		VMASKMOVPS(from, s.mask(), m)
	}
}

func (s isa) zero(r VecPhysical) {
	if s.wide {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

// broadcast fills r with the float32 of these bits. It uses CX.
func (s isa) broadcast(bits uint32, r VecPhysical) {
	MOVL(U32(bits), ECX)
	VMOVD(ECX, r.AsX())
	VBROADCASTSS(r.AsX(), r)
}

// multiplyAdd adds the products of x and y to sum.
func (s isa) multiplyAdd(y, x, sum VecPhysical) {
	if s.pairs {
		bfloat16.VDPBF16PS(y, x, sum)
	} else {
		VFMADD231PS(y, x, sum)
	}
}

const six = 0x40c00000

// vectors writes the loops over plain slices. Registers: DI, SI, DX the slices, CX values left.
func (s isa) vectors() {
	d, x, y := s.regs[0], s.regs[1], s.regs[2]
	high, zero := s.regs[3], s.regs[4]
	to, a, b := Mem{Base: RDI}, Mem{Base: RSI}, Mem{Base: RDX}

	s.vector("addTo", "func(d, x *float32, n int)", []GPPhysical{RDI, RSI}, nil, func(last bool) {
		s.load(to, d, last)
		s.load(a, x, last)
		VADDPS(x, d, d)
		s.store(d, to, last)
	})
	s.vector("add", "func(d, a, b *float32, n int)", []GPPhysical{RDI, RSI, RDX}, nil, func(last bool) {
		s.load(a, x, last)
		s.load(b, y, last)
		VADDPS(y, x, x)
		s.store(x, to, last)
	})
	s.vector("maxTo", "func(d, x *float32, n int)", []GPPhysical{RDI, RSI}, nil, func(last bool) {
		s.load(to, d, last)
		s.load(a, x, last)
		VMAXPS(d, x, d) // x > d ? x : d
		s.store(d, to, last)
	})
	limits := func() {
		Load(Param("high"), high.AsX())
		VBROADCASTSS(high.AsX(), high)
		s.zero(zero)
	}
	s.vector("activate", "func(d *float32, n int, high float32)", []GPPhysical{RDI}, limits, func(last bool) {
		s.load(to, d, last)
		VMAXPS(d, zero, d)
		VMINPS(d, high, d)
		s.store(d, to, last)
	})
	s.vector("actGrad", "func(d, y *float32, n int, high float32)", []GPPhysical{RDI, RSI}, limits, func(last bool) {
		const le, ge = 2, 13
		s.load(to, d, last)
		s.load(a, y, last)
		if s.wide {
			VCMPPS(U8(le), zero, y, K2)
			VCMPPS(U8(ge), high, y, K3)
			KORW(K2, K3, K2)
			VMOVAPS(zero, K2, d)
		} else {
			VCMPPS(U8(le), zero, y, x)
			VCMPPS(U8(ge), high, y, y)
			VORPS(x, y, y)
			VANDNPS(d, y, d)
		}
		s.store(d, to, last)
	})
}

// vector writes a loop over slices.
func (s isa) vector(name, signature string, slices []GPPhysical, before func(), step func(last bool)) {
	TEXT(name+s.name, NOSPLIT, signature)
	Pragma("noescape")
	for i, r := range slices {
		Load(ParamIndex(i), r)
	}
	if before != nil {
		before()
	}
	Load(Param("n"), RCX)
	SUBQ(U8(s.lanes), RCX)
	JLT(LabelRef("tail"))
	Label("loop")
	step(false)
	for _, r := range slices {
		ADDQ(U8(s.bytes()), r)
	}
	SUBQ(U8(s.lanes), RCX)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(U8(s.lanes), RCX)
	JEQ(LabelRef("end"))
	s.setMask()
	step(true)
	Label("end")
	VZEROUPPER()
	RET()
}

// firstEqual writes the gradient of a window of a pool. Registers:
//
//	DI, SI grad and image at this vector of channels    R8, R9 d and max likewise    R10 values of channels left
//	R11 bytes from one row to the next    R12 bytes from one pixel to the next
//	BX offset of the row    AX offset of the pixel    R13 rows left    CX pixels left
func (s isa) firstEqual() {
	TEXT("firstEqual"+s.name, NOSPLIT, "func(grad, d, image, max *float32, channels, rows, cols, stride int)")
	Pragma("noescape")
	max, d, eq, open := s.regs[0], s.regs[1], s.regs[2], s.regs[3]
	Load(Param("grad"), RDI)
	Load(Param("d"), R8)
	Load(Param("image"), RSI)
	Load(Param("max"), R9)
	Load(Param("channels"), R10)
	Load(Param("stride"), R11)
	SHLQ(U8(2), R11)
	MOVQ(R10, R12)
	SHLQ(U8(2), R12)

	// step goes through the windows of one vector of channels. Whole vectors are stored as a whole: the next window, which
	// overlaps this one, would wait for a store through a mask.
	step := func(name string, last bool) {
		s.load(Mem{Base: R9}, max, last)
		s.load(Mem{Base: R8}, d, last)
		Comment("Channels that have not found their maximum yet.")
		switch {
		case s.wide && last:
			KMOVW(K1, K2)
		case s.wide:
			KXNORW(K2, K2, K2)
		case last:
			VMOVAPS(s.mask(), open)
		default:
			VPCMPEQD(open, open, open)
		}
		XORQ(RBX, RBX)
		Load(Param("rows"), R13)
		Label(name + "_rows")
		MOVQ(RBX, RAX)
		Load(Param("cols"), RCX)
		Label(name + "_cols")
		image, grad := Mem{Base: RSI, Index: RAX, Scale: 1}, Mem{Base: RDI, Index: RAX, Scale: 1}
		if s.wide {
			// No branches: nobody can foresee them.
			VCMPPS(U8(0), image, max, K2, K3)
			KANDNW(K2, K3, K2)
			s.load(grad, eq, last)
			VADDPS(d, eq, K3, eq)
			s.store(eq, grad, last)
		} else {
			sum := s.regs[4]
			VMASKMOVPS(image, open, eq)
			VCMPPS(U8(0), eq, max, eq)
			VANDPS(open, eq, eq)
			VTESTPS(eq, eq)
			JEQ(LabelRef(name + "_none"))
			VMASKMOVPS(grad, eq, sum)
			VADDPS(d, sum, sum)
			VMASKMOVPS(sum, eq, grad)
			VANDNPS(open, eq, open)
			VTESTPS(open, open)
			JEQ(LabelRef(name + "_found"))
		}
		Label(name + "_none")
		ADDQ(R12, RAX)
		DECQ(RCX)
		JNE(LabelRef(name + "_cols"))
		ADDQ(R11, RBX)
		DECQ(R13)
		JNE(LabelRef(name + "_rows"))
		Label(name + "_found")
	}
	SUBQ(U8(s.lanes), R10)
	JLT(LabelRef("rest"))
	Label("channels")
	step("whole", false)
	for _, r := range []GPPhysical{RDI, RSI, R8, R9} {
		ADDQ(U8(s.bytes()), r)
	}
	SUBQ(U8(s.lanes), R10)
	JGE(LabelRef("channels"))
	Label("rest")
	ADDQ(U8(s.lanes), R10)
	JEQ(LabelRef("end"))
	MOVQ(R10, RCX)
	s.setMask()
	step("tail", true)
	Label("end")
	VZEROUPPER()
	RET()
}
