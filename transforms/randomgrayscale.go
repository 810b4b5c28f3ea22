package transforms

import "math/rand/v2"

// RandomGrayscale takes the colours out of the picture, with a Probability, and leaves the luma of ITU-R BT.601 in all
// three channels, as torchvision's RandomGrayscale. For scoring it does nothing.
type RandomGrayscale struct {
	Probability float64 `json:"probability"`
}

// Name is "random-grayscale".
func (RandomGrayscale) Name() string { return "random-grayscale" }

// Validate wants a Probability in (0, 1].
func (s RandomGrayscale) Validate() error { return checkProbability(s.Probability) }

func (RandomGrayscale) size(w, h int) (int, int) { return w, h }

func (s RandomGrayscale) apply(v *view, r *rand.Rand) error {
	if !happens(r, s.Probability) {
		return nil
	}
	m, err := v.writable()
	if err != nil {
		return err
	}
	for i := 0; i+2 < len(m.Pix); i += 3 {
		p := m.Pix[i : i+3 : i+3]
		luma := uint8((19595*uint32(p[0]) + 38470*uint32(p[1]) + 7471*uint32(p[2]) + 1<<15) >> 16) // 0.299, 0.587, 0.114
		p[0], p[1], p[2] = luma, luma, luma
	}
	return nil
}
