package transforms

import (
	"math"
	"math/rand/v2"
)

// RandomResizedCrop keeps a part of random area and shape and resizes it to Size x Size (Szegedy et al., Going Deeper
// with Convolutions, 2014). Scale is the range of the part's share of the area, Ratio that of its width over its height,
// drawn evenly in the logarithm. After ten parts that do not fit, and for scoring, it takes the largest part at the
// centre whose shape is within Ratio.
type RandomResizedCrop struct {
	Size  int        `json:"size"`
	Scale [2]float64 `json:"scale"`
	Ratio [2]float64 `json:"ratio"`
}

// Name is "random-resized-crop".
func (RandomResizedCrop) Name() string { return "random-resized-crop" }

// Validate wants a Size of 1 to 4096 pixels, a Scale within (0, 1] and a Ratio within [0.1, 10], low end first.
func (s RandomResizedCrop) Validate() error {
	if err := checkRectangle(s.Scale, s.Ratio); err != nil {
		return err
	}
	return checkSide("size", s.Size)
}

func (s RandomResizedCrop) size(w, h int) (int, int) { return s.Size, s.Size }

func (s RandomResizedCrop) apply(v *view, r *rand.Rand) error {
	w, h := v.size()
	if r != nil {
		if cw, ch, ok := rectangle(r, w, h, s.Scale, s.Ratio); ok {
			v.cropAt(cw, ch, r)
			return v.resize(s.Size, s.Size)
		}
	}
	cw, ch := w, h
	if ratio := float64(w) / float64(h); ratio < s.Ratio[0] {
		ch = min(h, max(1, int(math.Round(float64(w)/s.Ratio[0]))))
	} else if ratio > s.Ratio[1] {
		cw = min(w, max(1, int(math.Round(float64(h)*s.Ratio[1]))))
	}
	v.cropAt(cw, ch, nil)
	return v.resize(s.Size, s.Size)
}
