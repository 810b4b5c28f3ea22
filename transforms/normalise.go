package transforms

import (
	"fmt"
	"math/rand/v2"
)

// Normalise makes a network's input of the picture: (value - Mean) / Std in each of the three channels, with values,
// Mean and Std of 0 to 255. It is a list's last step.
type Normalise struct {
	Mean [3]float64 `json:"mean"`
	Std  [3]float64 `json:"std"`
}

// Name is "normalise".
func (Normalise) Name() string { return "normalise" }

// Validate wants each Mean in [-255, 255] and each Std in [0.001, 65536].
func (s Normalise) Validate() error {
	for c := range 3 {
		if !(-255 <= s.Mean[c] && s.Mean[c] <= 255) {
			return fmt.Errorf(`"mean" is %v, want three numbers in [-255, 255]`, s.Mean)
		}
		if !(0.001 <= s.Std[c] && s.Std[c] <= 65536) {
			return fmt.Errorf(`"std" is %v, want three numbers in [0.001, 65536]`, s.Std)
		}
	}
	return nil
}

func (Normalise) size(w, h int) (int, int) { return w, h }

func (Normalise) apply(*view, *rand.Rand) error { return nil } // List.Tensor calls tensor instead

// tensor writes the picture as [y][x][channel].
func (s Normalise) tensor(dst []float32, pix []uint8) {
	var table [3][256]float32
	for c := range table {
		for v := range table[c] {
			table[c][v] = float32((float64(v) - s.Mean[c]) / s.Std[c])
		}
	}
	for i := 0; i+2 < len(pix); i += 3 {
		d, p := dst[i:i+3:i+3], pix[i:i+3:i+3]
		d[0], d[1], d[2] = table[0][p[0]], table[1][p[1]], table[2][p[2]]
	}
}
