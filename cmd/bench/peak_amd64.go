//go:build !noasm

package main

import "golang.org/x/sys/cpu"

//go:noescape
func fp32AVX512(n int)

//go:noescape
func fp32AVX2(n int)

//go:noescape
func int8VNNI(n int)

//go:noescape
func bfloat16AVX512(n int)

var peaks = []peak{
	{"fp32", "AVX-512", 12 * 16, cpu.X86.HasAVX512F, fp32AVX512},
	{"fp32", "AVX2 FMA", 12 * 8, cpu.X86.HasAVX2 && cpu.X86.HasFMA, fp32AVX2},
	{"int8", "AVX-512 VPDPBUSD", 12 * 64, cpu.X86.HasAVX512VNNI && cpu.X86.HasAVX512BW, int8VNNI},
	{"bf16", "AVX-512 VDPBF16PS", 12 * 32, cpu.X86.HasAVX512BF16, bfloat16AVX512},
}
