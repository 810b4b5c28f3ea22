// Package bfloat16 writes the instructions on bfloat16 that Go's assembler and avo do not know, as bytes. Operands are in
// the order of Go's assembler: the result last.
package bfloat16

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The mandatory prefixes of Intel's manual, as EVEX abbreviates them.
const f3, f2 = 2, 3

// VDPBF16PS adds the two products of each pair of y and x to the float32 of sum: EVEX.512.F3.0F38.W0 52 /r.
func VDPBF16PS(y, x, sum reg.VecPhysical) { write("VDPBF16PS", f3, 0x52, y, x, sum) }

// VCVTNE2PS2BF16 rounds 32 values to bfloat16, those of low first: EVEX.512.F2.0F38.W0 72 /r.
func VCVTNE2PS2BF16(low, high, to reg.VecPhysical) {
	write("VCVTNE2PS2BF16", f2, 0x72, low, high, to)
}

// write writes an instruction of three vectors of 512 bits, from the map 0F38.
func write(name string, prefix, opcode byte, rm, v, r reg.VecPhysical) {
	bit := func(r reg.VecPhysical, n int) byte { return byte(r.PhysicalIndex()) >> n & 1 }
	not := func(b byte) byte { return 1 - b }
	code := []byte{
		0x62,
		not(bit(r, 3))<<7 | not(bit(rm, 4))<<6 | not(bit(rm, 3))<<5 | not(bit(r, 4))<<4 | 2,
		(15-byte(v.PhysicalIndex())&15)<<3 | 1<<2 | prefix,
		2<<5 | not(bit(v, 4))<<3,
		opcode,
		3<<6 | byte(r.PhysicalIndex())&7<<3 | byte(rm.PhysicalIndex())&7,
	}
	build.Commentf("%s %s, %s, %s", name, rm.Asm(), v.Asm(), r.Asm())
	long := uint32(code[0]) | uint32(code[1])<<8 | uint32(code[2])<<16 | uint32(code[3])<<24
	build.Instruction(&ir.Instruction{Opcode: "LONG", Operands: []operand.Op{operand.U32(long)}})
	build.Instruction(&ir.Instruction{Opcode: "WORD", Operands: []operand.Op{operand.U16(uint16(code[4]) | uint16(code[5])<<8)}})
}
