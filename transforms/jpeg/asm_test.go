//go:build amd64 && !noasm

package jpeg

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// withoutAssembly decodes by the generic twins.
func withoutAssembly(decode func() (Result, error)) outcome {
	defer func(was bool) { useAVX2 = was }(useAVX2)
	useAVX2 = false
	r, err := decode()
	return outcome{r, err}
}

// Transforms of all sizes, of numbers that photographs have and of those that only broken files have.
func TestTransformsLikeGeneric(t *testing.T) {
	if !useAVX2 {
		t.Skip("no AVX2, or not wanted")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{1, 2, 4, 8}
	for round := range 3000 {
		var block, quant [64]int16
		for i := range quant {
			quant[i] = int16(1 + rng.IntN(60))
		}
		for range rng.IntN(64) {
			block[rng.IntN(64)] = int16(rng.IntN(41) - 20)
		}
		if round%3 == 0 { // anything
			for i := range block {
				block[i], quant[i] = int16(rng.Uint32()), int16(rng.Uint32())
				if round%2 == 0 {
					block[i], quant[i] = []int16{-32768, 32767}[rng.IntN(2)], 1
				}
			}
		}
		for _, nx := range sizes {
			for _, ny := range sizes {
				stride := nx + rng.IntN(9)
				n := stride*(ny-1) + nx
				got, want := make([]byte, n+16), make([]byte, n+16)
				idct(got[:n], stride, &block, &quant, nx, ny)
				idctGeneric(want[:n], stride, &block, &quant, nx, ny)
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("%d x %d, stride %d: byte %d is %d, in Go %d", nx, ny, stride, i, got[i], want[i])
					}
				}
			}
		}
	}
}

// Where the assembly looks for fields is where they are.
func TestFields(t *testing.T) {
	var r reader
	var p pairs
	got := [...]uintptr{unsafe.Offsetof(r.acc), unsafe.Offsetof(r.n), unsafe.Offsetof(r.pos), unsafe.Offsetof(r.win),
		unsafe.Offsetof(p.far), unsafe.Offsetof(p.first)}
	if want := [...]uintptr{0, 8, 16, 40, 8 << lookup, 8*(1<<lookup) + 8<<10}; got != want {
		t.Errorf("fields at %v, the generator says %v", got, want)
	}
}

// Blocks read from noise: coefficients, the last one's index, the DC coefficient, and every bit that is left.
func TestBlocksLikeGeneric(t *testing.T) {
	if !useAVX2 {
		t.Skip("no AVX2, or not wanted")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	var dc, ac table
	fast, slow := new(reader), new(reader)
	full, empty, runs, bad := 0, 0, 0, 0
	for round := range 400 {
		if round%2 == 0 {
			if _, err := dc.build([]byte(usual[0][rng.IntN(2)]), true); err != nil {
				t.Fatal(err)
			}
			if _, err := ac.build([]byte(usual[1][rng.IntN(2)]), false); err != nil {
				t.Fatal(err)
			}
		} else { // any tables: symbols that mean nothing, codes that are missing or all long
			if _, err := dc.build(anyTable(rng, 16), true); err != nil {
				t.Fatal(err)
			}
			if _, err := ac.build(anyTable(rng, 256), false); err != nil {
				t.Fatal(err)
			}
		}
		ac.prepare()
		noise := make([]byte, 3000)
		for i := range noise {
			if noise[i] = byte(rng.Uint32()); noise[i] == 0xff || round%5 == 0 && rng.IntN(3) > 0 {
				noise[i] = 0
			}
		}
		fast.reset(noise, 0)
		slow.reset(noise, 0)
		var a, b int32
		for !fast.over {
			var m, n [64]int16
			last := fast.block(&m, &dc, &ac, &a)
			useAVX2 = false
			want := slow.block(&n, &dc, &ac, &b)
			useAVX2 = true
			if last != want || last >= 0 && m != n || a != b || fast.over != slow.over ||
				last >= 0 && 8*fast.pos-int(fast.n) != 8*slow.pos-int(slow.n) {
				t.Fatalf("round %d: last %d, DC %d, %v; in Go %d, %d, %v", round, last, a, m, want, b, n)
			}
			switch last {
			case -1:
				bad++
			case 0:
				empty++
			case 63:
				full++
			default:
				runs++
			}
			if last < 0 {
				break
			}
		}
	}
	if full < 100 || empty < 100 || runs < 1000 || bad < 10 {
		t.Errorf("%d full blocks, %d empty, %d others, %d bad codes: too few to tell", full, empty, runs, bad)
	}
}

// anyTable is a Huffman table with a random number of codes of each length, and symbols below a limit.
func anyTable(rng *rand.Rand, symbols int) []byte {
	var body [16]byte
	n, room := 0, 1
	for length := range body {
		room *= 2
		c := min(rng.IntN(room+1), rng.IntN(60), symbols-n)
		if length < 15 && c == room {
			c--
		}
		body[length] = byte(c)
		n, room = n+c, min(room-c, 1<<12)
	}
	out := body[:]
	for range n {
		out = append(out, byte(rng.IntN(symbols)))
	}
	return out
}
