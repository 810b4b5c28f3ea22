// Command int8 writes the assembly of package kernel's int8 layers. It belongs to the generator's module; run it by
// go generate in model/kernel.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Constants in memory.
var (
	order Mem // dwords 0, 4, 8, 12, 1, 5, ...: turns a 4x4 matrix of dwords over. The first 32 bytes serve no AVX2.
	ones  Mem // 8 dwords of ones, 8 of zeros: masks for AVX2
	even  Mem // words of 0x00ff
)

func main() {
	ConstraintExpr("amd64,!noasm")
	order = GLOBL("int8order", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(i%4*4+i/4))
	}
	ones = GLOBL("int8ones", RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(0xffffffff*uint32((15-i)/8)))
	}
	even = GLOBL("int8even", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(0x00ff00ff))
	}
	for _, s := range []isa{
		{name: "AVX2", lanes: 8, regs: ymm, most: 4},
		{name: "VNNI", lanes: 16, regs: zmm, most: 12, wide: true},
	} {
		s.tiles("product", false)
		s.tiles("channels", true)
		s.maxWindows()
		s.vectors()
	}
	interleaveAVX2()
	interleaveVNNI()
	averageVNNI()
	Generate()
}

var (
	ymm = []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	zmm = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
		Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}
)

// isa is one set of instructions: AVX2, or AVX-512 with VNNI.
type isa struct {
	name  string
	lanes int // dwords in a vector
	regs  []VecPhysical
	most  int // rows of a tile
	wide  bool
}

func (s isa) bytes() int { return 4 * s.lanes }

// Where tileInt8's fields are.
const (
	tileA, tileB, tileC, tileF, tileBias, tileScale = 0, 24, 48, 72, 96, 120

	tileA0 = 144 + 8*iota - 8
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
	tileStrips
	tileBS
	tileStream
	tileHigh
	tileZero = tileHigh + 4
	tileLow  = tileZero + 2
)

func field(offset int) Mem { return Mem{Base: RDI, Disp: offset} }

// mask makes the mask k of the first n bytes or lanes from n in CX, which is lost.
func mask(k Op) {
	MOVQ(I32(-1), RAX)
	BZHIQ(RCX, RAX, RAX)
	KMOVQ(RAX, k)
}

// tiles writes tileInt8.product, or channels where a is as wide as b. A tile has one or two vectors of columns (AVX2: two).
// Registers:
//
//	DI tile    SI, DX a and b at the beginning of a run    AX, BX, R14 a for rows 0, 5, 10    R12 b
//	R8, R15 as and 3 as    R9 ak    R10 bk    R11 runs left    CX groups of the run left    R13 c or f
//
// channels with VNNI goes through several strips, moving the tile's fields.
//
// Masks: K1 the bytes of a row of c, K2 the lanes of its last vector.
func (s isa) tiles(name string, channels bool) {
	TEXT(name+"Int8"+s.name, NOSPLIT, "func(t *byte)")
	Pragma("noescape")
	l := AllocLocal(40)
	t := tile{isa: s, channels: channels, left: l, a: l.Offset(8), c: l.Offset(16), cs: l.Offset(24), b: l.Offset(32)}
	Load(Param("t"), RDI)
	MOVQ(field(tileAS), R8)
	LEAQ(Mem{Base: R8, Index: R8, Scale: 2}, R15)
	MOVQ(field(tileAK), R9)
	MOVQ(field(tileBK), R10)
	Label("strip")
	MOVQ(field(tileA), RAX)
	ADDQ(field(tileA0), RAX)
	MOVQ(RAX, t.a)
	MOVQ(field(tileB), RAX)
	ADDQ(field(tileB0), RAX)
	MOVQ(RAX, t.b)
	MOVQ(field(tileC0), RAX)
	MOVQ(field(tileCS), RBX)
	MOVQ(field(tileF), RCX)
	TESTQ(RCX, RCX)
	JNE(LabelRef("float"))
	ADDQ(field(tileC), RAX)
	JMP(LabelRef("begin"))
	Label("float")
	LEAQ(Mem{Base: RCX, Index: RAX, Scale: 4}, RAX)
	SHLQ(U8(2), RBX)
	Label("begin")
	MOVQ(RAX, t.c)
	MOVQ(RBX, t.cs)
	MOVQ(field(tileM), RAX)
	MOVQ(RAX, t.left)

	widths := []int{2}
	if s.wide {
		widths = []int{1, 2}
		MOVQ(field(tileCols), RCX)
		mask(K1)
		CMPQ(RCX, U8(s.lanes))
		JG(LabelRef("two"))
	}
	for _, t.nv = range widths {
		prefix := map[int]string{1: "one", 2: "two"}[t.nv]
		Label(prefix)
		if s.wide {
			if t.nv == 2 {
				SUBQ(U8(s.lanes), RCX)
			}
			mask(K2)
		}
		Label(prefix + "_next")
		Comment("The next tile: of so many rows, or of those that are left.")
		MOVQ(field(tileRows), RCX)
		MOVQ(t.left, RAX)
		CMPQ(RAX, RCX)
		CMOVQLT(RAX, RCX)
		MOVQ(t.a, RSI)
		MOVQ(t.b, RDX)
		MOVQ(t.c, R13)
		for m := s.most; m > 1; m-- {
			CMPQ(RCX, U8(m))
			JEQ(LabelRef(fmt.Sprintf("%s_%d", prefix, m)))
		}
		for t.m = 1; t.m <= s.most; t.m++ {
			t.label = fmt.Sprintf("%s_%d", prefix, t.m)
			t.write(prefix + "_done")
		}
		Label(prefix + "_done")
		MOVQ(t.left, RAX)
		TESTQ(RAX, RAX)
		JG(LabelRef(prefix + "_next"))
		if channels && s.wide && t.nv == 2 {
			Comment("The next strip, if there is one.")
			DECQ(field(tileStrips))
			JEQ(LabelRef("end"))
			ADDQ(I32(4*2*s.lanes), field(tileA0))
			ADDQ(I32(2*s.lanes), field(tileC0))
			ADDQ(I32(4*2*s.lanes), field(tileBias))
			ADDQ(I32(4*2*s.lanes), field(tileScale))
			MOVQ(field(tileBS), RAX)
			ADDQ(RAX, field(tileB0))
			JMP(LabelRef("strip"))
			Label("end")
		}
		VZEROUPPER()
		RET()
	}
}

// tile is one tile of m rows of nv vectors.
type tile struct {
	isa
	channels       bool
	left           Mem // rows left
	a, b, c        Mem // where the next tile begins
	cs             Mem // distance of rows of c in bytes
	m, nv          int
	label          string
	scales, consts []VecPhysical
}

func (t *tile) acc(i, v int) VecPhysical { return t.regs[i*t.nv+v] }

// free is a register that holds no sum, counted from the last.
func (t *tile) free(i int) VecPhysical { return t.regs[len(t.regs)-1-i] }

// at is a for row i, moved by some bytes.
func (t *tile) at(i, disp int) Mem {
	at := Mem{Base: []GPPhysical{RAX, RBX, R14}[i/5], Disp: disp}
	switch i % 5 {
	case 1, 2, 4:
		at.Index, at.Scale = R8, uint8(i%5)
	case 3:
		at.Index, at.Scale = R15, 1
	}
	return at
}

func (t *tile) bases(f func(i int)) {
	for i := 0; i*5 < t.m; i++ {
		f(i)
	}
}

// columns loads the nv vectors at the beginning of bias or scale, of which the last may be incomplete. It uses AX, and CX
// and the last register for AVX2.
func (t *tile) columns(offset int, to func(v int) VecPhysical) {
	MOVQ(field(offset), RAX)
	if !t.wide {
		MOVQ(field(tileCols), RCX)
	}
	for v := range t.nv {
		m := Mem{Base: RAX, Disp: v * t.bytes()}
		switch {
		case t.wide && v == t.nv-1:
			VMOVDQU32_Z(m, K2, to(v))
		case t.wide:
			VMOVDQU32(m, to(v))
		default:
			t.lanesMask(v, t.free(0))
			VPMASKMOVD(m, t.free(0), to(v))
		}
	}
}

// lanesMask makes a mask for AVX2: of the first CX-8v lanes. It uses BX and R12.
func (t *tile) lanesMask(v int, to VecPhysical) {
	Comment("The mask begins at 8 minus that many lanes, from 0 to 8.")
	MOVQ(U32(8*(v+1)), RBX)
	SUBQ(RCX, RBX)
	XORQ(R12, R12)
	TESTQ(RBX, RBX)
	CMOVQLT(R12, RBX)
	MOVQ(U32(8), R12)
	CMPQ(RBX, R12)
	CMOVQGT(R12, RBX)
	LEAQ(ones, R12)
	VMOVDQU(Mem{Base: R12, Index: RBX, Scale: 4}, to)
}

// write writes the code for the tile.
func (t *tile) write(done string) {
	label := t.label
	Label(label)
	t.columns(tileBias, func(v int) VecPhysical { return t.acc(0, v) })
	for i := 1; i < t.m; i++ {
		for v := range t.nv {
			if t.wide {
				VMOVDQA32(t.acc(0, v), t.acc(i, v))
			} else {
				VMOVDQA(t.acc(0, v), t.acc(i, v))
			}
		}
	}
	MOVQ(field(tileRuns), R11)
	Label(label + "_run")
	MOVQ(RSI, RAX)
	for i := 1; i*5 < t.m; i++ {
		base := []GPPhysical{RAX, RBX, R14}
		LEAQ(Mem{Base: base[i-1], Index: R8, Scale: 4}, base[i])
		ADDQ(R8, base[i])
	}
	MOVQ(RDX, R12)
	MOVQ(field(tileRun), RCX)
	if t.wide && !t.channels {
		// Groups of a window's row are neighbours in a and in b: several at a time.
		const unroll = 4
		SUBQ(U8(unroll), RCX)
		JLT(LabelRef(label + "_rest"))
		CMPQ(field(tileStream), U8(0))
		JNE(LabelRef(label + "_ahead"))
		for _, ahead := range []bool{false, true} {
			loop := label + map[bool]string{false: "_loop", true: "_ahead"}[ahead]
			Label(loop)
			for u := range unroll {
				t.vnni(u, ahead)
			}
			ADDQ(I32(unroll*t.nv*64), R12)
			t.bases(func(i int) { ADDQ(U8(4*unroll), t.at(5*i, 0).Base) })
			SUBQ(U8(unroll), RCX)
			JGE(LabelRef(loop))
			if !ahead {
				JMP(LabelRef(label + "_rest"))
			}
		}
		Label(label + "_rest")
		ADDQ(U8(unroll), RCX)
		JEQ(LabelRef(label + "_ran"))
	}
	Label(label + "_group")
	if t.wide {
		t.vnni(0, false)
	} else {
		t.words()
	}
	ADDQ(R10, R12)
	t.bases(func(i int) { ADDQ(R9, t.at(5*i, 0).Base) })
	DECQ(RCX)
	JNE(LabelRef(label + "_group"))
	Label(label + "_ran")
	ADDQ(field(tileAR), RSI)
	ADDQ(field(tileBR), RDX)
	DECQ(R11)
	JNE(LabelRef(label + "_run"))

	t.end()
	MOVQ(R13, t.c)
	IMUL3Q(U8(t.m), R8, RAX)
	ADDQ(RAX, t.a)
	SUBQ(U8(t.m), t.left)
	JMP(LabelRef(done))
}

// vnni adds group u from here. ahead fetches weights that will be wanted soon: the processor alone does not get dense
// layers from memory as fast as memory is.
func (t *tile) vnni(u int, ahead bool) {
	b := func(v int) VecPhysical { return t.free(v) }
	for v := range t.nv {
		if ahead {
			PREFETCHT0(Mem{Base: R12, Disp: 4096 + (u*t.nv+v)*64})
		}
		VMOVDQU32(Mem{Base: R12, Disp: (u*t.nv + v) * 64}, b(v))
	}
	for i := range t.m {
		x := t.free(t.nv + i%4)
		if !t.channels {
			VPBROADCASTD(t.at(i, 4*u), x)
		}
		for v := range t.nv {
			if t.channels {
				x = t.free(t.nv + (i*t.nv+v)%4)
				VMOVDQU32(t.at(i, 64*v), x)
			}
			VPDPBUSD(b(v), x, t.acc(i, v))
		}
	}
}

// words adds a group by AVX2: even and odd bytes apart, as words, whose products do not saturate.
func (t *tile) words() {
	w := func(v, odd int) VecPhysical { return t.regs[8+2*v+odd] }
	x, e, p, q := t.regs[12], t.regs[13], t.regs[14], t.regs[15]
	for v := range t.nv {
		VMOVDQU(Mem{Base: R12, Disp: v * 32}, w(v, 0))
		VPSRAW(U8(8), w(v, 0), w(v, 1))
		VPSLLW(U8(8), w(v, 0), w(v, 0))
		VPSRAW(U8(8), w(v, 0), w(v, 0))
	}
	split := func() {
		VPAND(even, x, e)
		VPSRLW(U8(8), x, x)
	}
	for i := range t.m {
		if !t.channels {
			VPBROADCASTD(t.at(i, 0), x)
			split()
		}
		for v := range t.nv {
			if t.channels {
				VMOVDQU(t.at(i, 32*v), x)
				split()
			}
			VPMADDWD(w(v, 0), e, p)
			VPMADDWD(w(v, 1), x, q)
			VPADDD(p, t.acc(i, v), t.acc(i, v))
			VPADDD(q, t.acc(i, v), t.acc(i, v))
		}
	}
}

// end scales the sums and stores them.
func (t *tile) end() {
	scale := func(v int) VecPhysical { return t.free(1 + v) }
	t.columns(tileScale, scale)
	for i := range t.m {
		for v := range t.nv {
			VCVTDQ2PS(t.acc(i, v), t.acc(i, v))
			VMULPS(scale(v), t.acc(i, v), t.acc(i, v))
		}
	}
	CMPQ(field(tileF), U8(0))
	JEQ(LabelRef(t.label + "_bytes"))
	if !t.wide {
		for v := range t.nv {
			t.lanesMask(v, t.free(3+v))
		}
	}
	MOVQ(t.cs, R12)
	for i := range t.m {
		for v := range t.nv {
			m := Mem{Base: R13, Disp: v * t.bytes()}
			switch {
			case t.wide && v == t.nv-1:
				VMOVUPS(t.acc(i, v), K2, m)
			case t.wide:
				VMOVUPS(t.acc(i, v), m)
			default:
				VMASKMOVPS(t.acc(i, v), t.free(3+v), m)
			}
		}
		ADDQ(R12, R13)
	}
	JMP(LabelRef(t.label + "_stored"))
	Label(t.label + "_bytes")
	MOVQ(t.cs, R12)
	high, zero, low := t.free(3), t.free(4), t.free(5)
	VBROADCASTSS(field(tileHigh), high)
	VPBROADCASTW(field(tileZero), zero)
	VPBROADCASTB(field(tileLow), low)
	for i := range t.m {
		for v := range t.nv {
			VMINPS(high, t.acc(i, v), t.acc(i, v))
			VCVTPS2DQ(t.acc(i, v), t.acc(i, v))
		}
	}
	if t.wide {
		t.storeVNNI(zero, low)
	} else {
		t.storeAVX2(zero, low)
	}
	Label(t.label + "_stored")
}

// storeVNNI packs 4 vectors to one at a time.
func (t *tile) storeVNNI(zero, low VecPhysical) {
	turn := t.free(6)
	VMOVDQU32(order, turn)
	rows := 4 / t.nv
	for i := 0; i < t.m; i += rows {
		sums := make([]VecPhysical, 4)
		for q := range sums {
			sums[q] = t.acc(i, 0)
			if i+q/t.nv < t.m {
				sums[q] = t.acc(i+q/t.nv, q%t.nv)
			}
		}
		VPACKSSDW(sums[1], sums[0], sums[0])
		VPADDSW(zero, sums[0], sums[0])
		if i+2/t.nv < t.m {
			VPACKSSDW(sums[3], sums[2], sums[2])
			VPADDSW(zero, sums[2], sums[2])
			VPACKUSWB(sums[2], sums[0], sums[0])
		} else {
			VPACKUSWB(sums[0], sums[0], sums[0])
		}
		VPERMD(sums[0], turn, sums[0])
		VPMAXUB(low, sums[0], sums[0])
		part := t.free(0)
		for r := 0; r < rows && i+r < t.m; r++ {
			from := sums[0]
			if r > 0 {
				from = part
				if t.nv == 2 {
					VEXTRACTI64X4(U8(r), sums[0], part.AsY())
				} else {
					VEXTRACTI32X4(U8(r), sums[0], part.AsX())
				}
			}
			if t.nv == 2 {
				VMOVDQU8(from.AsY(), K1, Mem{Base: R13})
			} else {
				VMOVDQU8(from.AsX(), K1, Mem{Base: R13})
			}
			ADDQ(R12, R13)
		}
	}
}

// storeAVX2 packs and stores row by row.
func (t *tile) storeAVX2(zero, low VecPhysical) {
	MOVQ(field(tileCols), RCX)
	for i := range t.m {
		y := t.acc(i, 0)
		VPACKSSDW(t.acc(i, 1), y, y)
		VPERMQ(U8(0xd8), y, y)
		VPADDSW(zero, y, y)
		VPACKUSWB(y, y, y)
		VPERMQ(U8(0x08), y, y)
		VPMAXUB(low, y, y)
	}
	CMPQ(RCX, U8(16))
	JNE(LabelRef(t.label + "_tail"))
	for i := range t.m {
		VMOVDQU(t.acc(i, 0).AsX(), Mem{Base: R13})
		ADDQ(R12, R13)
	}
	JMP(LabelRef(t.label + "_stored"))
	Label(t.label + "_tail")
	for i := range t.m {
		x := t.acc(i, 0).AsX()
		MOVQ(R13, RAX)
		for _, n := range []int{8, 4, 2, 1} {
			skip := fmt.Sprintf("%s_tail%d_%d", t.label, i, n)
			TESTQ(U32(n), RCX)
			JEQ(LabelRef(skip))
			to := Mem{Base: RAX}
			switch n {
			case 8:
				VMOVQ(x, to)
			case 4:
				VMOVD(x, to)
			case 2:
				VPEXTRW(U8(0), x, to)
			case 1:
				VPEXTRB(U8(0), x, to)
			}
			VPSRLDQ(U8(n), x, x)
			ADDQ(U8(n), RAX)
			Label(skip)
		}
		ADDQ(R12, R13)
	}
}

// maxWindows writes the loop over a row of windows of a pool. Registers:
//
//	DI dst, SI src at the window    R8 channels    R9 step    R10 pitch    R11 windows left
//	R12 first channel of the vector, BX channels after it    R13 row    AX pixel    DX rows left    CX pixels left
//
// AVX2 has no masks for bytes: its last vector begins as many channels before the end as it has. It needs 32.
func (s isa) maxWindows() {
	TEXT("maxWindows"+s.name, NOSPLIT, "func(dst, src *uint8, m, c, rows, cols, step, pitch int)")
	Pragma("noescape")
	top := s.regs[0]
	Load(Param("dst"), RDI)
	Load(Param("src"), RSI)
	Load(Param("m"), R11)
	Load(Param("c"), R8)
	Load(Param("step"), R9)
	Load(Param("pitch"), R10)
	Label("window")
	XORQ(R12, R12)
	Label("vector")
	if s.wide {
		MOVQ(R8, RCX)
		SUBQ(R12, RCX)
		CMPQ(RCX, U8(64))
		JLE(LabelRef("narrow"))
		MOVQ(U32(64), RCX)
		Label("narrow")
		mask(K1)
		VPXORD(top, top, top)
	} else {
		VPXOR(top, top, top)
	}
	LEAQ(Mem{Base: RSI, Index: R12, Scale: 1}, R13)
	Load(Param("rows"), RDX)
	Label("row")
	MOVQ(R13, RAX)
	Load(Param("cols"), RCX)
	Label("pixel")
	if s.wide {
		VMOVDQU8_Z(Mem{Base: RAX}, K1, s.regs[1])
		VPMAXUB(s.regs[1], top, top)
	} else {
		VPMAXUB(Mem{Base: RAX}, top, top)
	}
	ADDQ(R8, RAX)
	DECQ(RCX)
	JNE(LabelRef("pixel"))
	ADDQ(R10, R13)
	DECQ(RDX)
	JNE(LabelRef("row"))
	if s.wide {
		VMOVDQU8(top, K1, Mem{Base: RDI, Index: R12, Scale: 1})
		ADDQ(U8(64), R12)
		CMPQ(R12, R8)
		JLT(LabelRef("vector"))
	} else {
		VMOVDQU(top, Mem{Base: RDI, Index: R12, Scale: 1})
		ADDQ(U8(32), R12)
		MOVQ(R8, RBX)
		SUBQ(R12, RBX)
		JLE(LabelRef("all"))
		CMPQ(RBX, U8(32))
		JGE(LabelRef("vector"))
		LEAQ(Mem{Base: R8, Disp: -32}, R12)
		JMP(LabelRef("vector"))
		Label("all")
	}
	ADDQ(R8, RDI)
	ADDQ(R9, RSI)
	DECQ(R11)
	JNE(LabelRef("window"))
	VZEROUPPER()
	RET()
}

// vectors writes the loops over plain slices. AVX-512 takes any number of values, AVX2 only whole vectors: multiples of 8.
// Registers: DI, SI, DX the slices, CX values left.
func (s isa) vectors() {
	r := s.regs
	broadcast := func(param string, to VecPhysical) {
		Load(Param(param), to.AsX())
		VBROADCASTSS(to.AsX(), to)
	}
	integer := func(param string, to VecPhysical) {
		Load(Param(param), EAX)
		VMOVD(EAX, to.AsX())
		VPBROADCASTD(to.AsX(), to)
	}
	widen := func(from GPPhysical, to VecPhysical, last bool) {
		if last {
			VPMOVZXBD_Z(Mem{Base: from}, K1, to)
		} else {
			VPMOVZXBD(Mem{Base: from}, to)
		}
	}
	// finish stores what x becomes as bytes.
	high, zero, low := r[10], r[11], r[12]
	finish := func(x VecPhysical, last bool) {
		VMINPS(high, x, x)
		VCVTPS2DQ(x, x)
		VPADDD(zero, x, x)
		VPMAXSD(low, x, x)
		switch {
		case last:
			VPMOVDB(x, K1, Mem{Base: RDI})
		case s.wide:
			VPMOVDB(x, Mem{Base: RDI})
		default:
			VEXTRACTI128(U8(1), x, X14)
			VPACKSSDW(X14, x.AsX(), X14)
			VPACKUSWB(X14, X14, X14)
			VMOVQ(X14, Mem{Base: RDI})
		}
	}
	ends := func() {
		broadcast("high", high)
		integer("zero", zero)
		integer("low", low)
	}
	scaleA, scaleB, zeroA, zeroB := r[6], r[7], r[8], r[9]
	s.vector("addInt8", "func(d, a, b *uint8, n int, scaleA, scaleB float32, zeroA, zeroB int32, high float32, zero, low int32)",
		[]GPPhysical{RDI, RSI, RDX}, []int{1, 1, 1}, func() {
			ends()
			broadcast("scaleA", scaleA)
			broadcast("scaleB", scaleB)
			integer("zeroA", zeroA)
			integer("zeroB", zeroB)
		}, func(last bool) {
			widen(RSI, r[0], last)
			widen(RDX, r[1], last)
			VPSUBD(zeroA, r[0], r[0])
			VPSUBD(zeroB, r[1], r[1])
			VCVTDQ2PS(r[0], r[0])
			VCVTDQ2PS(r[1], r[1])
			VMULPS(scaleA, r[0], r[0])
			VMULPS(scaleB, r[1], r[1])
			VADDPS(r[1], r[0], r[0])
			finish(r[0], last)
		})
	s.vector("quantize", "func(d *uint8, x *float32, n int, inverse, high float32, zero, low int32)",
		[]GPPhysical{RDI, RSI}, []int{1, 4}, func() {
			ends()
			broadcast("inverse", scaleA)
		}, func(last bool) {
			const ordered = 7
			if last {
				VMOVUPS_Z(Mem{Base: RSI}, K1, r[0])
			} else {
				VMOVUPS(Mem{Base: RSI}, r[0])
			}
			VMULPS(scaleA, r[0], r[0])
			if s.wide {
				VCMPPS(U8(ordered), r[0], r[0], K2)
				VMOVAPS_Z(r[0], K2, r[0])
			} else {
				VCMPPS(U8(ordered), r[0], r[0], r[1])
				VANDPS(r[1], r[0], r[0])
			}
			finish(r[0], last)
		})
}

// vector writes a loop over slices of values of so many bytes.
func (s isa) vector(name, signature string, slices []GPPhysical, size []int, before func(), step func(last bool)) {
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
	for i, r := range slices {
		ADDQ(U8(size[i]*s.lanes), r)
	}
	SUBQ(U8(s.lanes), RCX)
	JGE(LabelRef("loop"))
	Label("tail")
	if s.wide {
		ADDQ(U8(s.lanes), RCX)
		JEQ(LabelRef("end"))
		mask(K1)
		step(true)
		Label("end")
	}
	VZEROUPPER()
	RET()
}

// rows are where interleave reads.
var rows = []GPPhysical{RSI, RDX, R8, R9}

// interleave writes the loops around interleave's vectors, of n channels each. Registers:
//
//	DI dst    SI, DX, R8, R9 the rows at the pixel    R10 pixels left    R11 channels    R12 pitch
//	R13 channel    CX channels left
func interleave(name string, n int, vector func(), tail func()) {
	TEXT("interleave"+name, NOSPLIT, "func(dst, r0, r1, r2, r3 *uint8, pixels, channels, pitch int)")
	Pragma("noescape")
	Load(Param("dst"), RDI)
	for i, r := range rows {
		Load(Param(fmt.Sprintf("r%d", i)), r)
	}
	Load(Param("pixels"), R10)
	Load(Param("channels"), R11)
	Load(Param("pitch"), R12)
	if name == "VNNI" {
		Comment("K1 is for the channels left over at the end, K2 to K5 for 16 of them each.")
		VMOVDQU32(order, Z31)
		MOVQ(R11, RCX)
		ANDQ(U8(63), RCX)
		mask(K1)
		KMOVQ(K1, K2)
		KSHIFTRQ(U8(16), K1, K3)
		KSHIFTRQ(U8(32), K1, K4)
		KSHIFTRQ(U8(48), K1, K5)
	}
	Label("pixel")
	XORQ(R13, R13)
	MOVQ(R11, RCX)
	SUBQ(U8(n), RCX)
	JLT(LabelRef("tail"))
	Label("vector")
	vector()
	ADDQ(I32(4*n), RDI)
	ADDQ(U8(n), R13)
	SUBQ(U8(n), RCX)
	JGE(LabelRef("vector"))
	Label("tail")
	ADDQ(U8(n), RCX)
	JEQ(LabelRef("next"))
	tail()
	Label("next")
	for _, r := range rows {
		ADDQ(R12, r)
	}
	DECQ(R10)
	JNE(LabelRef("pixel"))
	VZEROUPPER()
	RET()
}

// interleaveAVX2 takes 16 channels at a time. It reads whole vectors.
func interleaveAVX2() {
	out := []VecPhysical{X0, X6, X4, X5}
	mix := func() {
		for i, r := range rows {
			VMOVDQU(Mem{Base: r, Index: R13, Scale: 1}, xmm[i])
		}
		VPUNPCKHBW(X1, X0, X4)
		VPUNPCKLBW(X1, X0, X0)
		VPUNPCKHBW(X3, X2, X5)
		VPUNPCKLBW(X3, X2, X2)
		VPUNPCKHWD(X2, X0, X6)
		VPUNPCKLWD(X2, X0, X0)
		VPUNPCKHWD(X5, X4, X1)
		VPUNPCKLWD(X5, X4, X4)
		VMOVDQA(X1, X5)
	}
	interleave("AVX2", 16, func() {
		mix()
		for i, x := range out {
			VMOVDQU(x, Mem{Base: RDI, Disp: 16 * i})
		}
	}, func() {
		mix()
		LEAQ(ones.Offset(32), RAX)
		for i, x := range out {
			whole := fmt.Sprintf("whole%d", i)
			CMPQ(RCX, U8(4))
			JGE(LabelRef(whole))
			SHLQ(U8(2), RCX)
			SUBQ(RCX, RAX)
			VMOVDQU(Mem{Base: RAX}, X7)
			VPMASKMOVD(x, X7, Mem{Base: RDI})
			ADDQ(RCX, RDI)
			JMP(LabelRef("next"))
			Label(whole)
			VMOVDQU(x, Mem{Base: RDI})
			ADDQ(U8(16), RDI)
			SUBQ(U8(4), RCX)
		}
	})
}

var xmm = []VecPhysical{X0, X1, X2, X3}

// interleaveVNNI takes 64 channels at a time. Turning the rows' dwords over first leaves each result in order.
func interleaveVNNI() {
	out := []VecPhysical{Z5, Z6, Z7, Z8}
	mix := func() {
		VPUNPCKLBW(Z1, Z0, Z4)
		VPUNPCKHBW(Z1, Z0, Z0)
		VPUNPCKLBW(Z3, Z2, Z1)
		VPUNPCKHBW(Z3, Z2, Z2)
		VPUNPCKLWD(Z1, Z4, out[0])
		VPUNPCKHWD(Z1, Z4, out[1])
		VPUNPCKLWD(Z2, Z0, out[2])
		VPUNPCKHWD(Z2, Z0, out[3])
	}
	interleave("VNNI", 64, func() {
		for i, r := range rows {
			VPERMD(Mem{Base: r, Index: R13, Scale: 1}, Z31, zmm[i])
		}
		mix()
		for i, z := range out {
			VMOVDQU32(z, Mem{Base: RDI, Disp: 64 * i})
		}
	}, func() {
		for i, r := range rows {
			VMOVDQU8_Z(Mem{Base: r, Index: R13, Scale: 1}, K1, zmm[i])
			VPERMD(zmm[i], Z31, zmm[i])
		}
		mix()
		for i, z := range out {
			VMOVDQU32(z, []Op{K2, K3, K4, K5}[i], Mem{Base: RDI, Disp: 64 * i})
		}
		LEAQ(Mem{Base: RDI, Index: RCX, Scale: 4}, RDI)
	})
}

// averageVNNI writes the sums over pixels, 16 channels at a time. Registers: DI dst, SI src, R8 channels left, R9 their
// number, AX pixel, DX pixels left.
func averageVNNI() {
	TEXT("averageVNNI", NOSPLIT, "func(dst, src *uint8, c, pixels int, bias int32, scale, high float32, zero int32)")
	Pragma("noescape")
	Load(Param("dst"), RDI)
	Load(Param("src"), RSI)
	Load(Param("c"), R8)
	MOVQ(R8, R9)
	for i, p := range []string{"bias", "zero"} {
		Load(Param(p), EAX)
		VPBROADCASTD(EAX, zmm[1+i])
	}
	for i, p := range []string{"scale", "high"} {
		Load(Param(p), X5)
		VBROADCASTSS(X5, zmm[3+i])
	}
	VPXORD(Z6, Z6, Z6)
	Label("vector")
	MOVQ(R8, RCX)
	CMPQ(RCX, U8(16))
	JLE(LabelRef("narrow"))
	MOVQ(U32(16), RCX)
	Label("narrow")
	mask(K1)
	VMOVDQA32(Z1, Z0)
	MOVQ(RSI, RAX)
	Load(Param("pixels"), RDX)
	Label("pixel")
	VPMOVZXBD_Z(Mem{Base: RAX}, K1, Z7)
	VPADDD(Z7, Z0, Z0)
	ADDQ(R9, RAX)
	DECQ(RDX)
	JNE(LabelRef("pixel"))
	VCVTDQ2PS(Z0, Z0)
	VMULPS(Z3, Z0, Z0)
	VMINPS(Z4, Z0, Z0)
	VCVTPS2DQ(Z0, Z0)
	VPADDD(Z2, Z0, Z0)
	VPMAXSD(Z6, Z0, Z0)
	VPMOVDB(Z0, K1, Mem{Base: RDI})
	ADDQ(U8(16), RDI)
	ADDQ(U8(16), RSI)
	SUBQ(U8(16), R8)
	JGT(LabelRef("vector"))
	VZEROUPPER()
	RET()
}
