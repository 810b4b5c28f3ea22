//go:build !noasm

#include "textflag.h"

// Loops of independent operations on registers, unrolled far enough to hide their latency. What they work out is thrown
// away; the values stay ordinary numbers.

#define EACHZ(op) op(Z0); op(Z1); op(Z2); op(Z3); op(Z4); op(Z5); op(Z6); op(Z7); op(Z8); op(Z9); op(Z10); op(Z11)
#define EACHY(op) op(Y0); op(Y1); op(Y2); op(Y3); op(Y4); op(Y5); op(Y6); op(Y7); op(Y8); op(Y9); op(Y10); op(Y11)

DATA one<>+0(SB)/4, $0x3f800000   // 1
DATA small<>+0(SB)/4, $0x35800000 // 2^-20
GLOBL one<>(SB), RODATA|NOPTR, $4
GLOBL small<>(SB), RODATA|NOPTR, $4

#define ZEROZ(r) VPXORD r, r, r
#define ZEROY(r) VPXOR r, r, r
#define FMAZ(r) VFMADD231PS Z14, Z15, r
#define FMAY(r) VFMADD231PS Y14, Y15, r
#define DOT8(r) VPDPBUSD Z15, Z14, r

// func fp32AVX512(n int): 12 x 16 multiplications and additions a round
TEXT ·fp32AVX512(SB), NOSPLIT, $0-8
	MOVQ n+0(FP), CX
	VBROADCASTSS one<>(SB), Z14
	VBROADCASTSS small<>(SB), Z15
	EACHZ(ZEROZ)
loop:
	EACHZ(FMAZ)
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET

// func fp32AVX2(n int): 12 x 8 multiplications and additions a round
TEXT ·fp32AVX2(SB), NOSPLIT, $0-8
	MOVQ n+0(FP), CX
	VBROADCASTSS one<>(SB), Y14
	VBROADCASTSS small<>(SB), Y15
	EACHY(ZEROY)
loop:
	EACHY(FMAY)
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET

// func int8VNNI(n int): 12 x 64 multiplications and additions a round
TEXT ·int8VNNI(SB), NOSPLIT, $0-8
	MOVQ n+0(FP), CX
	VPTERNLOGD $0xff, Z14, Z14, Z14 // bytes of -1: 255 unsigned
	VPABSB Z14, Z15                 // bytes of 1
	EACHZ(ZEROZ)
loop:
	EACHZ(DOT8)
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET

// VDPBF16PS Z15, Z14, Zi, which the assembler does not know: EVEX.512.F3.0F38.W0 52 /r.
#define DOT16L(i) BYTE $0x62; BYTE $0xd2; BYTE $0x0e; BYTE $0x48; BYTE $0x52; BYTE $(0xc7+8*i)
#define DOT16H(i) BYTE $0x62; BYTE $0x52; BYTE $0x0e; BYTE $0x48; BYTE $0x52; BYTE $(0xc7+8*(i-8))

// func bfloat16AVX512(n int): 12 x 32 multiplications and additions a round
TEXT ·bfloat16AVX512(SB), NOSPLIT, $0-8
	MOVQ n+0(FP), CX
	VBROADCASTSS one<>(SB), Z14 // pairs of 0 and 1 in bfloat16
	VBROADCASTSS small<>(SB), Z15
	EACHZ(ZEROZ)
loop:
	DOT16L(0); DOT16L(1); DOT16L(2); DOT16L(3); DOT16L(4); DOT16L(5); DOT16L(6); DOT16L(7)
	DOT16H(8); DOT16H(9); DOT16H(10); DOT16H(11)
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET
