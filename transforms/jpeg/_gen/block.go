package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Where the fields of reader and pairs are, and what they hold.
const (
	readerAcc, readerN, readerPos, readerWin = 0, 8, 16, 40

	lookup               = 10
	farCodes             = 1 << 10
	pairsFar, pairsFirst = 8 << lookup, 8 * (1<<lookup + farCodes)
	endOfBlock           = 128
)

// block writes reader.block, but for what it asks before and where codes are beyond its tables.
func block() {
	TEXT("blockBMI2", NOSPLIT, "func(r *byte, b *[64]int16, dc *uint32, ac *byte, order *[256]uint8, previous *int32) int")
	Pragma("noescape")
	r, b, order, fast := GP64(), GP64(), GP64(), GP64()
	Load(Param("r"), r)
	Load(Param("b"), b)
	Load(Param("order"), order)
	Load(Param("dc"), fast)
	acc, n, at := GP64(), GP64(), GP64()
	MOVQ(Mem{Base: r, Disp: readerAcc}, acc)
	MOVQ(Mem{Base: r, Disp: readerN}, n)
	MOVQ(Mem{Base: r, Disp: readerPos}, at)
	LEAQ(Mem{Base: r, Index: at, Scale: 1, Disp: readerWin}, at)
	e, t, sign, up := GP64(), GP64(), GP64(), GP64()

	refill := func() {
		Comment("At least 56 bits.")
		MOVQ(Mem{Base: at}, t)
		BSWAPQ(t)
		SHRXQ(n, t, t)
		ORQ(t, acc)
		MOVL(U32(63), up.As32())
		SUBL(n.As32(), up.As32())
		SHRL(U8(3), up.As32())
		ADDQ(up, at)
		ORQ(U8(56), n)
	}
	// number makes of the bits in v, whose uppermost are the number's, the number; down holds 63 less how many they are.
	number := func(v, down GPVirtual) {
		MOVQ(v, sign)
		SARQ(U8(63), sign)
		NOTQ(sign)
		XORQ(sign, v)
		SHRQ(U8(1), v)
		SHRXQ(down, v, v)
		XORQ(sign, v)
		SUBQ(sign, v)
	}

	Comment("The DC coefficient.")
	refill()
	MOVQ(acc, t)
	SHRQ(U8(64-lookup), t)
	MOVL(Mem{Base: fast, Index: t, Scale: 4}, e.As32())
	TESTL(e.As32(), e.As32())
	JZ(LabelRef("strange"))
	MOVL(e.As32(), up.As32())
	SHRL(U8(16), up.As32())
	SHLXQ(up, acc, t)
	SHRL(U8(8), up.As32())
	number(t, up)
	SHLXQ(e, acc, acc)
	MOVBQZX(e.As8(), e)
	SUBQ(e, n)
	Load(Param("previous"), up)
	ADDL(Mem{Base: up}, t.As32())
	sum := AllocLocal(8)
	MOVL(t.As32(), sum)

	Comment("The others: up to two codes in a look, of which the second may begin the next block.")
	pairs, k := fast, GP64()
	Load(Param("ac"), pairs)
	XORL(k.As32(), k.As32())
	after, k1, v := GP64(), GP64(), GP64()

	symbols := func(name string, long LabelRef) {
		MOVQ(acc, t)
		SHRQ(U8(64-lookup), t)
		MOVQ(Mem{Base: pairs, Index: t, Scale: 8}, e)
		TESTQ(e, e)
		JZ(long)
		if name != "" {
			Label(name)
		}
		SHLXQ(e, acc, after)
		MOVQ(e, up)
		SHRQ(U8(8), up)
		SHLXQ(up, acc, v)
		SHRQ(U8(8), up)
		SHLXQ(up, acc, t)
		SHRQ(U8(8), up)
		number(t, up)
		SHRQ(U8(8), up)
		number(v, up)
		SHRQ(U8(8), up)
		MOVBQZX(up.As8(), k1)
		ADDQ(k, k1)
		SHRQ(U8(8), up)
		MOVBQZX(up.As8(), up)
		ADDQ(k1, up)
		Comment("The second first: where there is none, both have one place. What lies beyond the block goes to the DC coefficient's.")
		MOVBQZX(Mem{Base: order, Index: up, Scale: 1}, sign)
		MOVW(v.As16(), Mem{Base: b, Index: sign, Scale: 2})
		MOVBQZX(Mem{Base: order, Index: k1, Scale: 1}, sign)
		MOVW(t.As16(), Mem{Base: b, Index: sign, Scale: 2})
		CMPQ(up, U8(63))
		JGE(LabelRef("end"))
		MOVBQZX(e.As8(), sign)
		SUBQ(sign, n)
		MOVQ(after, acc)
		MOVQ(up, k)
	}
	Label("next")
	refill()
	symbols("found", LabelRef("long"))
	symbols("", LabelRef("next"))
	JMP(LabelRef("next"))

	Label("long")
	Comment("A long code: its bits, less those of the first long one, are looked up.")
	MOVQ(acc, t)
	SHRQ(U8(48), t)
	SUBQ(Mem{Base: pairs, Disp: pairsFirst}, t)
	CMPQ(t, U32(farCodes))
	JCC(LabelRef("strange"))
	MOVQ(Mem{Base: pairs, Index: t, Scale: 8, Disp: pairsFar}, e)
	TESTQ(e, e)
	JNZ(LabelRef("found"))

	Label("strange")
	Comment("A code that these tables lack. Nothing has been changed but b.")
	MOVQ(I32(-1), t)
	Store(t, ReturnIndex(0))
	RET()

	Label("end")
	Comment("If the first code ends the block, the bits behind it are the next block's.")
	MOVBQZX(e.As8(), t)
	SHRQ(U8(56), e)
	CMPQ(k1, U8(63))
	CMOVQGE(e, t)
	SHLXQ(t, acc, acc)
	SUBQ(t, n)
	Comment("The last coefficient: the 63rd, the first code's, or the one before.")
	full, last := v, after
	MOVL(U32(63), full.As32())
	MOVQ(full, last)
	CMPQ(up, U32(endOfBlock))
	CMOVQGE(k1, last)
	CMPQ(k1, full)
	CMOVQGE(full, last)
	CMPQ(k1, U32(endOfBlock))
	CMOVQGE(k, last)

	Load(Param("r"), t)
	MOVQ(acc, Mem{Base: t, Disp: readerAcc})
	MOVQ(n, Mem{Base: t, Disp: readerN})
	LEAQ(Mem{Base: t, Disp: readerWin}, e)
	SUBQ(e, at)
	MOVQ(at, Mem{Base: t, Disp: readerPos})
	Load(Param("previous"), t)
	MOVL(sum, e.As32())
	MOVL(e.As32(), Mem{Base: t})
	MOVW(e.As16(), Mem{Base: b})
	Store(last, ReturnIndex(0))
	RET()
}
