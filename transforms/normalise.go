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

func (Normalise) apply(*view, *rand.Rand) error { return nil } // List.Tensor calls normalise instead

// normal is a Normalise as normalise takes it, for 48 samples in turn.
type normal struct{ mean, factor [48]float32 }

func (s Normalise) normal() *normal {
	var t normal
	for i := range t.mean {
		t.mean[i], t.factor[i] = float32(s.Mean[i%3]), float32(1/s.Std[i%3])
	}
	return &t
}

// normaliseGeneric writes samples of whole pixels as numbers. A difference and a product are rounded each by itself on every
// machine: there is no sum that could be fused with a product.
func normaliseGeneric(dst []float32, src []uint8, s *normal) {
	for i := 0; i+2 < len(src); i += 3 {
		d, p := dst[i:i+3:i+3], src[i:i+3:i+3]
		d[0] = (float32(p[0]) - s.mean[0]) * s.factor[0]
		d[1] = (float32(p[1]) - s.mean[1]) * s.factor[1]
		d[2] = (float32(p[2]) - s.mean[2]) * s.factor[2]
	}
}
