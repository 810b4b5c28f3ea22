package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Bands of an image that begin at even rows hold what the whole holds, to the last bit: infer cuts images so.
func TestWinogradBands(t *testing.T) {
	s := shape(22, 17, 20, 35, 3, 1, 1)
	if !s.winograd() {
		t.Fatal("the shape is not computed by winograd")
	}
	c := newConvCase(rand.New(rand.NewPCG(1, 2)), 1, s)
	forLevels(t, func(t *testing.T) {
		packed := PackConv(c.w, s)
		whole, banded := dirty(s.out()), dirty(s.out())
		Conv(whole, c.src, 1, packed, c.bias, s, ReLU, dirty(ConvScratch(s)))
		for _, b := range [][2]int{{0, 6}, {6, 8}, {8, 22}} {
			band := s
			top := max(b[0]-1, 0)
			band.H, band.OutH, band.PadTop = min(b[1]+1, s.H)-top, b[1]-b[0], max(1-b[0], 0)
			Conv(banded[b[0]*s.OutW*s.OutC:], c.src[top*s.W*s.C:], 1, packed, c.bias, band, ReLU, dirty(ConvScratch(band)))
		}
		if !slices.Equal(whole, banded) {
			t.Error("a band differs from the whole")
		}
	})
}

// How far the sums are from exact ones, beside those of direct products: a user of large networks wants to know that the
// saving costs no accuracy worth a name.
func TestWinogradAccuracy(t *testing.T) {
	s := shape(12, 12, 128, 32, 3, 1, 1)
	c := newConvCase(rand.New(rand.NewPCG(3, 4)), 1, s)
	ref := convReference(c.src, c.w, c.bias, c.ddst, 1, s, false, Linear)
	var largest float64
	for _, v := range ref.dst {
		largest = max(largest, math.Abs(v.v))
	}
	forLevels(t, func(t *testing.T) {
		dst := dirty(s.out())
		Conv(dst, c.src, 1, PackConv(c.w, s), c.bias, s, Linear, dirty(ConvScratch(s)))
		worst := 0.0
		for i, v := range ref.dst {
			worst = max(worst, math.Abs(float64(dst[i])-v.v))
		}
		t.Logf("%.2g of the largest output", worst/largest)
		if worst > 5e-6*largest {
			t.Errorf("an output is %.2g off, the largest being %.2g", worst, largest)
		}
	})
}

// The transformations' twins do the same additions in the same order: not a bit may differ.
func TestWinogradTwins(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, channels := range []int{1, 7, 8, 15, 16, 17, 33, 64} {
		const tiles = 3
		row, tile := (2*tiles+3)*channels, channels+2
		plane := tiles*tile + 5
		src := random(r, 4*row)
		m, bias := random(r, 16*plane), random(r, channels)
		want := make([]float32, 16*plane)
		tilesInGeneric(want, src, tiles, channels, row, tile, plane)
		o := tilesOf{channels: channels, plane: plane, row: 2*tiles*(channels+3) + 9, pixel: channels + 3}
		forLevels(t, func(t *testing.T) {
			got := make([]float32, len(want))
			tilesIn(got, src, tiles, channels, row, tile, plane)
			if !slices.Equal(got, want) {
				t.Errorf("%d channels: inputs differ", channels)
			}
			for _, size := range [][2]int{{2, 2}, {1, 2}, {2, 1}, {1, 1}} {
				for _, b := range [][]float32{bias, nil} {
					for act := range ReLU6 + 1 {
						o.down, o.across = size[0], size[1]
						want, got := make([]float32, 2*o.row), make([]float32, 2*o.row)
						o.writeGeneric(want, m, b, tiles, act)
						o.write(got, m, b, tiles, act)
						if !slices.Equal(got, want) {
							t.Errorf("%d channels, %v outputs, activation %d: outputs differ", channels, size, act)
						}
					}
				}
			}
		})
	}
}
