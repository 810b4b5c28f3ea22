package transforms

import "math/rand/v2"

// HorizontalFlip mirrors the picture, left for right, with a probability. For scoring it does nothing.
type HorizontalFlip struct {
	Probability float64 `json:"probability"`
}

// Name is "horizontal-flip".
func (HorizontalFlip) Name() string { return "horizontal-flip" }

// Validate wants a Probability in (0, 1].
func (s HorizontalFlip) Validate() error { return checkProbability(s.Probability) }

func (HorizontalFlip) size(w, h int) (int, int) { return w, h }

func (s HorizontalFlip) apply(v *view, r *rand.Rand) error {
	if !happens(r, s.Probability) {
		return nil
	}
	v.flip()
	return nil
}
