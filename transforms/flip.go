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
	m, err := v.writable()
	if err != nil {
		return err
	}
	for y := range m.H {
		row := m.Pix[3*y*m.W : 3*(y+1)*m.W]
		for i, j := 0, len(row)-3; i < j; i, j = i+3, j-3 {
			row[i], row[j] = row[j], row[i]
			row[i+1], row[j+1] = row[j+1], row[i+1]
			row[i+2], row[j+2] = row[j+2], row[i+2]
		}
	}
	return nil
}
