package transforms

import (
	"errors"
	"math/rand/v2"
)

// Crop keeps Size x Size pixels at a place: X and Y say where, from 0, at the left and the upper edge, to 1, at the right and
// the lower one. A picture with a shorter side is enlarged first, keeping its shape, until that side is Size.
type Crop struct {
	Size int     `json:"size"`
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
}

// Name is "crop".
func (Crop) Name() string { return "crop" }

// Validate wants a Size of 1 to 4096 pixels, and X and Y of 0 to 1.
func (s Crop) Validate() error {
	if !(s.X >= 0 && s.X <= 1 && s.Y >= 0 && s.Y <= 1) {
		return errors.New(`"x" and "y" want to be 0 to 1`)
	}
	return checkSide("size", s.Size)
}

func (s Crop) size(w, h int) (int, int) { return s.Size, s.Size }

func (s Crop) apply(v *view, _ *rand.Rand) error {
	if err := v.cover(s.Size); err != nil {
		return err
	}
	w, h := v.size()
	v.crop(int(s.X*float64(w-s.Size)), int(s.Y*float64(h-s.Size)), s.Size, s.Size)
	return nil
}
