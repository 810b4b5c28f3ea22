// Package kernel does the arithmetic of networks on slices of float32: convolutions, dense layers, pools and
// their gradients. It knows nothing of networks, files or goroutines.
//
// Activations are NHWC ([n][y][x][channel]), convolution weights [out][ky][kx][in], depthwise weights [ky][kx][c],
// dense weights [out][in], biases [out]:
//
//	s := kernel.Shape{H: 224, W: 224, C: 3, OutH: 112, OutW: 112, OutC: 32, Kernel: 3, Stride: 2}
//	w := kernel.PackConv(weights, s)                 // once
//	scratch := make([]float32, kernel.ConvScratch(s)) // once for each goroutine
//	kernel.Conv(dst, src, n, w, bias, s, kernel.ReLU6, scratch)
//
// Every function runs on the calling goroutine, allocates nothing (packing aside) and overwrites its output. A value
// never depends on how many images or rows are computed together: its additions always come in the same order. Batches
// can be cut anywhere without changing a bit of the result, and images at even rows. Processors of different Features may
// differ in the last bits.
//
// Slices that are too short panic. Sizes must be positive, n and rows may be 0. Nothing is checked beyond that:
// shapes come from package model, which does check them.
//
// The Go code is the specification. The inner loops (tile.go, vector.go) have twins in assembly, made by the generators in
// _gen and chosen at start by what the processor has: AVX-512 and AVX2 with FMA on amd64, NEON on arm64, where they are
// tested in an emulator and their speed has not been measured. LOGOBEAM_KERNEL=generic, avx2, avx512 or neon asks for one
// of them; what the processor lacks is not followed (CheckEnvironment). The build tag noasm leaves them out.
package kernel

import (
	"fmt"
	"os"
)

//go:generate go run -C _gen ./arm64 -out ../kernels_arm64.s

// Act is the activation that ends a layer.
type Act uint8

// The activations. NaN passes through all of them.
const (
	Linear Act = iota // x
	ReLU              // max(x, 0)
	ReLU6             // min(max(x, 0), 6)
)

// Shape describes a convolution or a pool of one image: an H x W x C input, an OutH x OutW x OutC output, and square
// windows, the first of which begins PadTop rows above and PadLeft columns left of the input. Windows may hang over
// the bottom and right edges. For depthwise convolutions and pools OutC is C.
//
// Pitch is how many values lie between an output pixel and the next; 0 stands for OutC. A larger one lets Conv write its
// channels into a stripe of a wider tensor, which spares networks that join layers a copy: dst begins at the stripe, and
// what lies between stays as it is. Only Conv looks at it.
//
// BFloat16 asks convolutions to round the factors of their products to bfloat16, where that can be done in pairs: a layer
// with an odd number of channels that moves by an odd stride stays in float32, forward, and the gradient of the input of one
// with an odd number of outputs. Weights must be packed for the same shape.
type Shape struct {
	H, W, C, OutH, OutW, OutC int
	Kernel, Stride            int
	PadTop, PadLeft           int
	Pitch                     int
	BFloat16                  bool
}

func (s Shape) in() int  { return s.H * s.W * s.C }
func (s Shape) out() int { return s.OutH * s.OutW * s.OutC }
func (s Shape) pitch() int {
	if s.Pitch == 0 {
		return s.OutC
	}
	return s.Pitch
}
func (s Shape) run() int { return s.Kernel * s.C } // values of one row of a window, contiguous in the input

// flat reports whether the layer is a product of matrices: every pixel by itself.
func (s Shape) flat() bool {
	return s.Kernel == 1 && s.Stride == 1 && s.PadTop == 0 && s.PadLeft == 0 && s.OutH == s.H && s.OutW == s.W
}

// Levels of assembly.
const (
	generic = iota
	avx2
	avx512
	neon
)

var names = [...]string{generic: "generic", avx2: "avx2+fma", avx512: "avx512", neon: "neon"}

// wishes are the values of LOGOBEAM_KERNEL.
var wishes = [...]string{generic: "generic", avx2: "avx2", avx512: "avx512", neon: "neon"}

// level is what runs. Tests lower it; nothing else writes it.
var level, honoured = choose(detect(), os.Getenv("LOGOBEAM_KERNEL"))

// levels are those that run on a processor whose best level is given, the best one last.
func levels(best int) []int {
	switch best {
	case generic:
		return []int{generic}
	case avx512:
		return []int{generic, avx2, avx512}
	}
	return []int{generic, best}
}

// choose gives the level to run, and whether it is the one that was wished for, if any was.
func choose(best int, wish string) (level int, honoured bool) {
	for _, l := range levels(best) {
		if wishes[l] == wish {
			return l, true
		}
	}
	return best, wish == ""
}

// Level is the set of instructions in use, as LOGOBEAM_KERNEL names them: generic, avx2, avx512 or neon. Packages with
// assembly of their own follow it.
func Level() string { return wishes[level] }

// Features names the assembly in use: "avx512+vnni+bf16", "avx512+vnni", "avx512", "avx2+fma", "neon" or "generic". Without
// VNNI, int8 runs on AVX2; on arm64 it runs in Go, as bfloat16 does wherever it is not named.
func Features() string {
	if HasBFloat16() {
		return names[level] + featuresInt8() + "+bf16"
	}
	return names[level] + featuresInt8()
}

// CheckEnvironment tells of a value of LOGOBEAM_KERNEL that is unknown or more than the processor has, and that was
// therefore not followed.
func CheckEnvironment() error {
	if honoured {
		return nil
	}
	have := ""
	for i, l := range levels(detect()) {
		if i > 0 {
			have += ", "
		}
		have += wishes[l]
	}
	return fmt.Errorf("LOGOBEAM_KERNEL=%q is not among what this program has for this processor (%s): kernels are %s",
		os.Getenv("LOGOBEAM_KERNEL"), have, Features())
}

// lanes is the number of float32 in a vector register of the level.
func lanes() int {
	return [...]int{generic: 4, avx2: 8, avx512: 16, neon: 4}[level]
}

// widest is how many registers wide a tile can be.
func widest() int {
	return [...]int{generic: 2, avx2: 2, avx512: 4, neon: 3}[level]
}

// mostRows is how many rows a tile of so many registers can have.
func mostRows(vectors int) int {
	return [...][4]int{generic: {2, 2}, avx2: {12, 6}, avx512: {12, 12, 9, 6}, neon: {8, 8, 8}}[level][vectors-1]
}
