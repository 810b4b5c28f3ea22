package transforms

import (
	"encoding/binary"
	"math/rand/v2"
)

// RandomErasing fills a rectangle at a random place with noise, every sample drawn evenly from 0 to 255, with a
// Probability, so that a part of a logo has to do (Zhong et al., Random Erasing Data Augmentation, 2017, whose RE-R
// this is). Scale is the range of the rectangle's share of the area, Ratio that of its width over its height, drawn
// evenly in the logarithm as torchvision does. After ten rectangles that do not fit nothing is erased. For scoring it
// does nothing.
type RandomErasing struct {
	Probability float64    `json:"probability"`
	Scale       [2]float64 `json:"scale"`
	Ratio       [2]float64 `json:"ratio"`
}

// Name is "random-erasing".
func (RandomErasing) Name() string { return "random-erasing" }

// Validate wants a Probability in (0, 1], a Scale within (0, 1] and a Ratio within [0.1, 10], low end first.
func (s RandomErasing) Validate() error {
	if err := checkProbability(s.Probability); err != nil {
		return err
	}
	return checkRectangle(s.Scale, s.Ratio)
}

func (RandomErasing) size(w, h int) (int, int) { return w, h }

func (s RandomErasing) apply(v *view, r *rand.Rand) error {
	if !happens(r, s.Probability) {
		return nil
	}
	w, h := v.size()
	rw, rh, ok := rectangle(r, w, h, s.Scale, s.Ratio)
	if !ok {
		return nil
	}
	x, y := r.IntN(w-rw+1), r.IntN(h-rh+1)
	m, err := v.writable()
	if err != nil {
		return err
	}
	for i := range rh {
		row := m.Pix[3*((y+i)*w+x):][:3*rw]
		for ; len(row) >= 8; row = row[8:] {
			binary.LittleEndian.PutUint64(row, r.Uint64())
		}
		for rest := r.Uint64(); len(row) > 0; row, rest = row[1:], rest>>8 {
			row[0] = uint8(rest)
		}
	}
	return nil
}
