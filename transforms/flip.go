package transforms

import (
	"fmt"
	"math/rand/v2"
)

// HorizontalFlip mirrors the picture, left for right, with a probability. For scoring it does nothing.
type HorizontalFlip struct {
	Probability float64 `json:"probability"`
}

// Name is "horizontal-flip".
func (HorizontalFlip) Name() string { return "horizontal-flip" }

// Validate wants a Probability in (0, 1].
func (s HorizontalFlip) Validate() error {
	if !(0 < s.Probability && s.Probability <= 1) {
		return fmt.Errorf(`"probability" is %v, want more than 0 and at most 1`, s.Probability)
	}
	return nil
}

func (HorizontalFlip) size(w, h int) (int, int) { return w, h }

func (s HorizontalFlip) apply(v *view, r *rand.Rand) error {
	if r == nil || r.Float64() >= s.Probability {
		return nil
	}
	v.flip()
	return nil
}
