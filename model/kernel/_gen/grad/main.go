// Command grad writes the assembly of the gradients in package kernel. Run it by go generate in model/kernel.
package main

import (
	"fmt"

	"github.com/logobeam/logobeam/model/kernel/_gen/bfloat16"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	ones := GLOBL("gradMasks", RODATA|NOPTR)
	for i := range 16 {
		v := U32(0)
		if i < 8 {
			v = 0xffffffff
		}
		DATA(4*i, v)
	}
	for _, s := range []isa{
		{name: "AVX2", lanes: 8, shift: 3, regs: ymm, masks: ones, tallest: 6},
		{name: "AVX512", lanes: 16, shift: 4, regs: zmm, wide: true, tallest: 12},
	} {
		s.outer()
		s.copyRows()
		s.gradRows()
		s.winograd()
		s.solvers()
	}
	pairs := isa{name: "BF16", lanes: 16, shift: 4, regs: zmm, wide: true, tallest: 12, pairs: true}
	pairs.outer()
	pairs.pair()
	Generate()
}

var (
	ymm = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	zmm = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
)

// isa is one set of instructions. The last vector of a row goes through a mask, in K1 or in the last register.
type isa struct {
	name    string
	lanes   int
	shift   uint8 // log2 of lanes
	regs    []VecPhysical
	wide    bool // AVX-512
	masks   Mem  // AVX2: 8 words of ones, 8 of zeros
	tallest int
	pairs   bool // outer multiplies pairs of bfloat16
}

func (s isa) bytes() int        { return 4 * s.lanes }
func (s isa) mask() VecPhysical { return s.regs[15] }

// setMask makes the mask of the first n lanes from n in CX, which is lost. It uses AX.
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

// Where outer's fields are.
const (
	outerA, outerB, outerC = 0, 24, 48
	outerA0                = 72 + 8*iota - 8
	outerB0
	outerC0
	outerAT
	outerAImage
	outerARow
	outerAStep
	outerBImage
	outerBRow
	outerBStep
	outerCS
	outerM
	outerCols
	outerHeight
	outerImages
	outerRows
	outerRun
	outerAdd
)

func field(offset int) Mem { return Mem{Base: RDI, Disp: offset} }

// outer writes outer.sum. Registers:
//
//	DI outer    R8, R9 aStep and bStep    SI, DX a and b    CX values of the run left, or pairs of them
//	R10 rows left    R11 images left    R12, R13 a and b at the row    R14, R15 at the image    AX, BX scratch
func (s isa) outer() {
	TEXT("outerSum"+s.name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	l := AllocLocal(72)
	a, b, c, left, aRow, bRow, aImage, bImage, cs := l, l.Offset(8), l.Offset(16), l.Offset(24), l.Offset(32), l.Offset(40), l.Offset(48), l.Offset(56), l.Offset(64)
	Load(Param("t"), RDI)
	for _, d := range []struct {
		field int
		to    Op
	}{{outerAStep, R8}, {outerBStep, R9}, {outerARow, aRow}, {outerBRow, bRow}, {outerAImage, aImage}, {outerBImage, bImage}, {outerCS, cs}} {
		MOVQ(field(d.field), RAX)
		SHLQ(U8(2), RAX)
		MOVQ(RAX, d.to)
	}
	for _, p := range []struct {
		base, offset int
		to           Mem
	}{{outerA, outerA0, a}, {outerB, outerB0, b}, {outerC, outerC0, c}} {
		MOVQ(field(p.offset), RCX)
		MOVQ(field(p.base), RAX)
		LEAQ(Mem{Base: RAX, Index: RCX, Scale: 4}, RAX)
		MOVQ(RAX, p.to)
	}
	MOVQ(field(outerM), RAX)
	MOVQ(RAX, left)
	Comment("The mask of the last vector of the columns.")
	MOVQ(field(outerCols), RCX)
	DECQ(RCX)
	MOVQ(RCX, RBX)
	ANDQ(I32(s.lanes-1), RCX)
	INCQ(RCX)
	s.setMask()
	CMPQ(RBX, U8(s.lanes))
	JGE(LabelRef("two"))
	for _, nv := range []int{1, 2} {
		name := map[int]string{1: "one", 2: "two"}[nv]
		Label(name)
		MOVQ(field(outerHeight), RCX)
		MOVQ(left, RAX)
		CMPQ(RAX, RCX)
		CMOVQLT(RAX, RCX)
		for m := s.tallest; m > 1; m-- {
			CMPQ(RCX, U8(m))
			JEQ(LabelRef(fmt.Sprintf("%s_%d", name, m)))
		}
		for m := 1; m <= s.tallest; m++ {
			label := fmt.Sprintf("%s_%d", name, m)
			Label(label)
			s.outerTile(m, nv, label, a, b, c, aRow, bRow, aImage, bImage, cs)
			SUBQ(U8(m), left)
			if m < s.tallest {
				JMP(LabelRef(name + "_done"))
			}
		}
		Label(name + "_done")
		MOVQ(field(outerAT), RAX)
		SHLQ(U8(2), RAX)
		ADDQ(RAX, a)
		MOVQ(RBX, c)
		CMPQ(left, U8(0))
		JG(LabelRef(name))
		VZEROUPPER()
		RET()
	}
}

// outerTile writes the sums of m rows and nv vectors. It leaves the place of the next tile in c in BX.
func (s isa) outerTile(m, nv int, label string, a, b, c, aRow, bRow, aImage, bImage, cs Mem) {
	acc := func(i, v int) VecPhysical { return s.regs[i*nv+v] }
	y := func(v int) VecPhysical { return s.regs[m*nv+v] }
	x := s.regs[m*nv+nv]
	for i := range m * nv {
		s.zero(s.regs[i])
	}
	step := func(sa, sb Mem) {
		for v := range nv {
			m := sb
			m.Disp += v * s.bytes()
			VMOVUPS(m, y(v))
		}
		for i := range m {
			at := sa
			at.Disp += 4 * i
			if nv == 1 && s.wide && !s.pairs {
				VFMADD231PS_BCST(at, y(0), acc(i, 0))
				continue
			}
			VBROADCASTSS(at, x)
			for v := range nv {
				if s.pairs {
					bfloat16.VDPBF16PS(y(v), x, acc(i, v))
				} else {
					VFMADD231PS(y(v), x, acc(i, v))
				}
			}
		}
	}
	MOVQ(field(outerImages), R11)
	TESTQ(R11, R11)
	JEQ(LabelRef(label + "_end"))
	CMPQ(field(outerRows), U8(0))
	JEQ(LabelRef(label + "_end"))
	CMPQ(field(outerRun), U8(0))
	JEQ(LabelRef(label + "_end"))
	MOVQ(a, R14)
	MOVQ(b, R15)
	Label(label + "_image")
	MOVQ(R14, R12)
	MOVQ(R15, R13)
	MOVQ(field(outerRows), R10)
	Label(label + "_row")
	MOVQ(R12, RSI)
	MOVQ(R13, RDX)
	MOVQ(field(outerRun), RCX)
	SHRQ(U8(1), RCX)
	JEQ(LabelRef(label + "_odd"))
	Label(label + "_pair")
	step(Mem{Base: RSI}, Mem{Base: RDX})
	step(Mem{Base: RSI, Index: R8, Scale: 1}, Mem{Base: RDX, Index: R9, Scale: 1})
	LEAQ(Mem{Base: RSI, Index: R8, Scale: 2}, RSI)
	LEAQ(Mem{Base: RDX, Index: R9, Scale: 2}, RDX)
	DECQ(RCX)
	JNE(LabelRef(label + "_pair"))
	Label(label + "_odd")
	TESTQ(U32(1), field(outerRun))
	JEQ(LabelRef(label + "_ran"))
	step(Mem{Base: RSI}, Mem{Base: RDX})
	Label(label + "_ran")
	ADDQ(aRow, R12)
	ADDQ(bRow, R13)
	DECQ(R10)
	JNE(LabelRef(label + "_row"))
	ADDQ(aImage, R14)
	ADDQ(bImage, R15)
	DECQ(R11)
	JNE(LabelRef(label + "_image"))
	Label(label + "_end")
	MOVQ(c, RBX)
	MOVQ(cs, RAX)
	CMPQ(field(outerAdd), U8(0))
	JEQ(LabelRef(label + "_store"))
	for i := range m {
		for v := range nv {
			at := Mem{Base: RBX, Disp: v * s.bytes()}
			if v == nv-1 {
				s.load(at, x, true)
				VADDPS(x, acc(i, v), acc(i, v))
			} else {
				VADDPS(at, acc(i, v), acc(i, v))
			}
		}
		if i < m-1 {
			ADDQ(RAX, RBX)
		}
	}
	MOVQ(c, RBX)
	Label(label + "_store")
	for i := range m {
		for v := range nv {
			s.store(acc(i, v), Mem{Base: RBX, Disp: v * s.bytes()}, v == nv-1)
		}
		ADDQ(RAX, RBX)
	}
}

// copyRows: DI, SI dst and src of this vector of columns, R8, R9 distances, R10 rows, R11 columns left, DX, BX walk.
func (s isa) copyRows() {
	TEXT("copyRows"+s.name, NOSPLIT, "func(dst, src *float32, rows, cols, ds, ss, pad int)")
	Pragma("noescape")
	Load(Param("dst"), RDI)
	Load(Param("src"), RSI)
	Load(Param("cols"), R11)
	Load(Param("ds"), R8)
	Load(Param("ss"), R9)
	SHLQ(U8(2), R8)
	SHLQ(U8(2), R9)
	walk := func(name string, nv int, load, store bool) {
		Load(Param("rows"), R10)
		MOVQ(RDI, RDX)
		MOVQ(RSI, RBX)
		Label(name)
		for v := range nv {
			s.load(Mem{Base: RBX, Disp: v * s.bytes()}, s.regs[v], load)
		}
		for v := range nv {
			s.store(s.regs[v], Mem{Base: RDX, Disp: v * s.bytes()}, store)
		}
		ADDQ(R8, RDX)
		ADDQ(R9, RBX)
		DECQ(R10)
		JNE(LabelRef(name))
	}
	for _, nv := range []int{4, 2, 1} {
		name := fmt.Sprintf("cols%d", nv)
		Label(name)
		CMPQ(R11, U8(nv*s.lanes))
		JLT(LabelRef(name + "_end"))
		walk(name+"_rows", nv, false, false)
		ADDQ(U32(nv*s.bytes()), RDI)
		ADDQ(U32(nv*s.bytes()), RSI)
		SUBQ(U8(nv*s.lanes), R11)
		JMP(LabelRef(name))
		Label(name + "_end")
	}
	MOVQ(R11, RCX)
	TESTQ(RCX, RCX)
	JEQ(LabelRef("end"))
	s.setMask()
	Load(Param("pad"), RAX)
	TESTQ(RAX, RAX)
	JEQ(LabelRef("plain"))
	walk("padded", 1, true, false)
	JMP(LabelRef("end"))
	Label("plain")
	walk("plain_rows", 1, true, true)
	Label("end")
	VZEROUPPER()
	RET()
}

// gradRows: DI, SI, R8 d, y and sum of these columns, R9 distance, R10 rows, R11 columns left, DX, BX walk.
func (s isa) gradRows() {
	TEXT("gradRows"+s.name, NOSPLIT, "func(d, y, sum *float32, rows, cols, stride int, high float32)")
	Pragma("noescape")
	Load(Param("d"), RDI)
	Load(Param("y"), RSI)
	Load(Param("sum"), R8)
	Load(Param("cols"), R11)
	Load(Param("stride"), R9)
	SHLQ(U8(2), R9)
	high, zero, t := s.regs[14], s.regs[13], s.regs[12]
	Load(Param("high"), high.AsX())
	VBROADCASTSS(high.AsX(), high)
	s.zero(zero)
	acc := func(v int) VecPhysical { return s.regs[v] }
	d, y := func(v int) VecPhysical { return s.regs[4+v] }, func(v int) VecPhysical { return s.regs[8+v] }
	walk := func(name string, nv int, last bool) {
		for v := range nv {
			s.zero(acc(v))
		}
		MOVQ(RDI, RDX)
		Load(Param("rows"), R10)
		TESTQ(RSI, RSI)
		JEQ(LabelRef(name + "_linear"))
		MOVQ(RSI, RBX)
		Label(name)
		for v := range nv {
			at := Mem{Base: RDX, Disp: v * s.bytes()}
			s.load(Mem{Base: RBX, Disp: v * s.bytes()}, y(v), last)
			s.load(at, d(v), last)
			const le, ge = 2, 13
			if s.wide {
				VCMPPS(U8(le), zero, y(v), K2)
				VCMPPS(U8(ge), high, y(v), K3)
				KORW(K2, K3, K2)
				VMOVAPS(zero, K2, d(v))
			} else {
				VCMPPS(U8(le), zero, y(v), t)
				VCMPPS(U8(ge), high, y(v), y(v))
				VORPS(t, y(v), y(v))
				VANDNPS(d(v), y(v), d(v))
			}
			VADDPS(d(v), acc(v), acc(v))
			s.store(d(v), at, last)
		}
		ADDQ(R9, RDX)
		ADDQ(R9, RBX)
		DECQ(R10)
		JNE(LabelRef(name))
		JMP(LabelRef(name + "_sum"))
		Label(name + "_linear")
		for v := range nv {
			s.load(Mem{Base: RDX, Disp: v * s.bytes()}, d(v), last)
			VADDPS(d(v), acc(v), acc(v))
		}
		ADDQ(R9, RDX)
		DECQ(R10)
		JNE(LabelRef(name + "_linear"))
		Label(name + "_sum")
		for v := range nv {
			at := Mem{Base: R8, Disp: v * s.bytes()}
			s.load(at, d(v), last)
			VADDPS(d(v), acc(v), acc(v))
			s.store(acc(v), at, last)
		}
	}
	for _, nv := range []int{4, 1} {
		name := fmt.Sprintf("cols%d", nv)
		Label(name)
		CMPQ(R11, U8(nv*s.lanes))
		JLT(LabelRef(name + "_end"))
		walk(name+"_rows", nv, false)
		ADDQ(U32(nv*s.bytes()), RDI)
		ADDQ(U32(nv*s.bytes()), R8)
		TESTQ(RSI, RSI)
		JEQ(LabelRef(name + "_flat"))
		ADDQ(U32(nv*s.bytes()), RSI)
		Label(name + "_flat")
		SUBQ(U8(nv*s.lanes), R11)
		JMP(LabelRef(name))
		Label(name + "_end")
	}
	MOVQ(R11, RCX)
	TESTQ(RCX, RCX)
	JEQ(LabelRef("end"))
	s.setMask()
	walk("tail", 1, true)
	Label("end")
	VZEROUPPER()
	RET()
}

// winograd writes the transformations of winogradGrad. All channels are whole vectors. Registers: DI, SI dst and src,
// R8, R9 distances, CX, R10 counts, AX, BX, DX walk.
func (s isa) winograd() {
	r := s.regs
	// A dy At of 2x2 gradients: sums and differences of rows, then of columns.
	TEXT("tilesGrad"+s.name, NOSPLIT, "func(dst, src *float32, tiles, c, row, plane int)")
	Pragma("noescape")
	Load(Param("dst"), RDI)
	Load(Param("src"), RSI)
	Load(Param("row"), R8)
	SHLQ(U8(2), R8)
	Load(Param("plane"), R9)
	SHLQ(U8(2), R9)
	Load(Param("c"), R11)
	SHLQ(U8(2), R11)
	Load(Param("tiles"), R10)
	s.zero(r[15-1])
	zero := r[15-1]
	Label("tile")
	MOVQ(R11, RCX)
	Label("vector")
	VMOVUPS(Mem{Base: RSI}, r[0])
	VMOVUPS(Mem{Base: RSI, Index: R11, Scale: 1}, r[1])
	LEAQ(Mem{Base: RSI, Index: R8, Scale: 1}, RAX)
	VMOVUPS(Mem{Base: RAX}, r[2])
	VMOVUPS(Mem{Base: RAX, Index: R11, Scale: 1}, r[3])
	MOVQ(RDI, RBX)
	out := func(v VecPhysical) {
		VMOVUPS(v, Mem{Base: RBX})
		ADDQ(R9, RBX)
	}
	line := func(a, b VecPhysical) {
		out(a)
		VADDPS(b, a, r[6])
		out(r[6])
		VSUBPS(b, a, r[7])
		out(r[7])
		VSUBPS(b, zero, r[8])
		out(r[8])
	}
	line(r[0], r[1])
	VADDPS(r[2], r[0], r[4])
	VADDPS(r[3], r[1], r[5])
	line(r[4], r[5])
	VSUBPS(r[2], r[0], r[4])
	VSUBPS(r[3], r[1], r[5])
	line(r[4], r[5])
	VSUBPS(r[2], zero, r[4])
	VSUBPS(r[3], zero, r[5])
	line(r[4], r[5])
	ADDQ(U8(s.bytes()), RDI)
	ADDQ(U8(s.bytes()), RSI)
	SUBQ(U8(s.bytes()), RCX)
	JNE(LabelRef("vector"))
	ADDQ(R11, RSI)
	DECQ(R10)
	JNE(LabelRef("tile"))
	VZEROUPPER()
	RET()

	// Gt u G, of n values side by side.
	TEXT("tilesBack"+s.name, NOSPLIT, "func(dw, u *float32, n, tap, plane int)")
	Pragma("noescape")
	Load(Param("dw"), RDI)
	Load(Param("u"), RSI)
	Load(Param("tap"), R8)
	SHLQ(U8(2), R8)
	Load(Param("plane"), R9)
	SHLQ(U8(2), R9)
	Load(Param("n"), R10)
	half := r[14]
	s.broadcast(0x3f000000, half)
	// fold turns four values into three: a + (b+c)/2, (b-c)/2, (b+c)/2 + d.
	fold := func(a, b, c, d, t VecPhysical) {
		VADDPS(c, b, t)
		VMULPS(half, t, t)
		VSUBPS(c, b, b)
		VMULPS(half, b, b)
		VADDPS(t, a, a)
		VADDPS(d, t, c)
	}
	step := func(last bool) {
		MOVQ(RSI, RAX)
		// Columns first: of each row of four places three values stay, in r[3*y] on.
		for y := range 4 {
			at := []VecPhysical{r[3*y], r[3*y+1], r[3*y+2], r[12]}
			for _, v := range at {
				s.load(Mem{Base: RAX}, v, last)
				ADDQ(R9, RAX)
			}
			fold(at[0], at[1], at[2], at[3], r[13])
		}
		for x := range 3 {
			fold(r[x], r[3+x], r[6+x], r[9+x], r[13])
		}
		MOVQ(RDI, RBX)
		for i := range 9 {
			s.store(r[i], Mem{Base: RBX}, last)
			if i < 8 {
				ADDQ(R8, RBX)
			}
		}
	}
	SUBQ(U8(s.lanes), R10)
	JLT(LabelRef("tail"))
	Label("loop")
	step(false)
	ADDQ(U8(s.bytes()), RDI)
	ADDQ(U8(s.bytes()), RSI)
	SUBQ(U8(s.lanes), R10)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(U8(s.lanes), R10)
	JEQ(LabelRef("end"))
	MOVQ(R10, RCX)
	s.setMask()
	step(true)
	Label("end")
	VZEROUPPER()
	RET()
}

// broadcast fills r with the float32 of these bits. It uses CX.
func (s isa) broadcast(bits uint32, r VecPhysical) {
	MOVL(U32(bits), ECX)
	VMOVD(ECX, r.AsX())
	VBROADCASTSS(r.AsX(), r)
}

// solvers writes the steps of the solvers. Registers: DI, SI, DX, BX the slices, CX values left.
func (s isa) solvers() {
	w, g, m, t, v := s.regs[0], s.regs[1], s.regs[2], s.regs[3], s.regs[4]
	factor := func(i int) VecPhysical { return s.regs[7+i] }
	factors := func(names ...string) func() {
		return func() {
			for i, name := range names {
				Load(Param(name), factor(i).AsX())
				VBROADCASTSS(factor(i).AsX(), factor(i))
			}
		}
	}
	s.vector("sgd", "func(w, d *float32, n int, rate, decay float32)", []GPPhysical{RDI, RSI}, factors("rate", "decay"), func(last bool) {
		s.load(Mem{Base: RDI}, w, last)
		s.load(Mem{Base: RSI}, g, last)
		VMULPS(w, factor(1), t)
		VADDPS(t, g, g)
		VMULPS(g, factor(0), g)
		VSUBPS(g, w, w)
		s.store(w, Mem{Base: RDI}, last)
	})
	for _, nesterov := range []bool{false, true} {
		name := map[bool]string{false: "momentum", true: "nesterov"}[nesterov]
		s.vector(name, "func(w, d, m *float32, n int, rate, decay, mu float32)", []GPPhysical{RDI, RSI, RDX}, factors("rate", "decay", "mu"), func(last bool) {
			s.load(Mem{Base: RDI}, w, last)
			s.load(Mem{Base: RSI}, g, last)
			s.load(Mem{Base: RDX}, m, last)
			VMULPS(w, factor(1), t)
			VADDPS(t, g, g)
			VMULPS(m, factor(2), m)
			VADDPS(g, m, m)
			s.store(m, Mem{Base: RDX}, last)
			d := m
			if nesterov {
				VMULPS(m, factor(2), m)
				VADDPS(m, g, g)
				d = g
			}
			VMULPS(d, factor(0), d)
			VSUBPS(d, w, w)
			s.store(w, Mem{Base: RDI}, last)
		})
	}
	s.vector("adamW", "func(w, d, m, v *float32, n int, s *float32)", []GPPhysical{RDI, RSI, RDX, RBX}, func() {
		Load(Param("s"), RAX)
		for i := range 8 {
			VBROADCASTSS(Mem{Base: RAX, Disp: 4 * i}, factor(i))
		}
	}, func(last bool) {
		s.load(Mem{Base: RSI}, g, last)
		s.load(Mem{Base: RDX}, m, last)
		s.load(Mem{Base: RBX}, v, last)
		VMULPS(m, factor(0), m)
		VMULPS(g, factor(1), t)
		VADDPS(t, m, m)
		s.store(m, Mem{Base: RDX}, last)
		VMULPS(v, factor(2), v)
		VMULPS(g, factor(3), t)
		VMULPS(g, t, t)
		VADDPS(t, v, v)
		s.store(v, Mem{Base: RBX}, last)
		VSQRTPS(v, t)
		VMULPS(t, factor(6), t)
		VADDPS(t, factor(7), t)
		VMULPS(m, factor(5), m)
		VDIVPS(t, m, m)
		s.load(Mem{Base: RDI}, w, last)
		VMULPS(w, factor(4), w)
		VSUBPS(m, w, w)
		s.store(w, Mem{Base: RDI}, last)
	})
}

// vector writes a loop over slices.
func (s isa) vector(name, signature string, slices []GPPhysical, before func(), step func(last bool)) {
	TEXT(name+s.name, NOSPLIT, signature)
	Pragma("noescape")
	for i, r := range slices {
		Load(ParamIndex(i), r)
	}
	before()
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

// pair writes the loops that make pairs of bfloat16. Registers: DI dst, SI and DX the sources, CX values left.
func (s isa) pair() {
	low, high, order := s.regs[0], s.regs[1], s.regs[2]
	TEXT("pairNeighboursBF16", NOSPLIT, "func(dst, src *float32, n int)")
	Pragma("noescape")
	Load(Param("dst"), RDI)
	Load(Param("src"), RSI)
	Load(Param("n"), RBX)
	SUBQ(U8(2*s.lanes), RBX)
	JLT(LabelRef("tail"))
	Label("loop")
	VMOVUPS(Mem{Base: RSI}, low)
	VMOVUPS(Mem{Base: RSI, Disp: s.bytes()}, high)
	bfloat16.VCVTNE2PS2BF16(low, high, low)
	VMOVUPS(low, Mem{Base: RDI})
	ADDQ(U32(2*s.bytes()), RSI)
	ADDQ(U8(s.bytes()), RDI)
	SUBQ(U8(2*s.lanes), RBX)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(U8(2*s.lanes), RBX)
	JEQ(LabelRef("end"))
	Comment("The masks of the values left: of the first vector, of the second, and of the pairs.")
	MOVQ(RBX, RCX)
	MOVL(U32(1), EAX)
	SHLQ(CL, RAX)
	DECQ(RAX)
	KMOVW(EAX, K1)
	SHRQ(U8(s.lanes), RAX)
	KMOVW(EAX, K2)
	LEAQ(Mem{Base: RBX, Disp: 1}, RCX)
	SHRQ(U8(1), RCX)
	MOVL(U32(1), EAX)
	SHLL(CL, EAX)
	DECL(EAX)
	KMOVW(EAX, K3)
	VMOVUPS_Z(Mem{Base: RSI}, K1, low)
	s.zero(high)
	CMPQ(RBX, U8(s.lanes))
	JLE(LabelRef("one"))
	VMOVUPS_Z(Mem{Base: RSI, Disp: s.bytes()}, K2, high)
	Label("one")
	bfloat16.VCVTNE2PS2BF16(low, high, low)
	VMOVUPS(low, K3, Mem{Base: RDI})
	Label("end")
	VZEROUPPER()
	RET()

	// Words j of both halves become the pair j.
	words := GLOBL("pairOrder", RODATA|NOPTR)
	for i := range s.lanes {
		DATA(4*i, U32(i|(s.lanes+i)<<16))
	}
	TEXT("pairRowsBF16", NOSPLIT, "func(dst, low, high *float32, n int, lows, highs uint16)")
	Pragma("noescape")
	VMOVDQU32(words, order)
	Load(Param("dst"), RDI)
	Load(Param("low"), RSI)
	Load(Param("high"), RDX)
	Load(Param("lows"), R8)
	Load(Param("highs"), R9)
	KMOVW(R8L, K2)
	KMOVW(R9L, K3)
	Load(Param("n"), RBX)
	step := func(last bool) {
		VMOVUPS_Z(Mem{Base: RSI}, K2, low)
		VMOVUPS_Z(Mem{Base: RDX}, K3, high)
		bfloat16.VCVTNE2PS2BF16(low, high, low)
		VPERMW(low, order, low)
		s.store(low, Mem{Base: RDI}, last)
	}
	SUBQ(U8(s.lanes), RBX)
	JLT(LabelRef("rows_tail"))
	Label("rows_loop")
	step(false)
	for _, r := range []GPPhysical{RDI, RSI, RDX} {
		ADDQ(U8(s.bytes()), r)
	}
	SUBQ(U8(s.lanes), RBX)
	JGE(LabelRef("rows_loop"))
	Label("rows_tail")
	ADDQ(U8(s.lanes), RBX)
	JEQ(LabelRef("rows_end"))
	MOVQ(RBX, RCX)
	s.setMask()
	KANDW(K1, K2, K2)
	KANDW(K1, K3, K3)
	step(true)
	Label("rows_end")
	VZEROUPPER()
	RET()
}
