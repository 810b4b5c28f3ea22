package transforms

import (
	"fmt"
	"math/rand/v2"
)

// RandomRotation turns the picture about its centre by an angle drawn evenly from [-Degrees, Degrees], as torchvision's
// RandomRotation. Its size stays; its corners are cut off, and grey (128) comes in from beyond the edges. Pixels are
// interpolated bilinearly, together with those of a RandomPerspective next to it. For scoring it does nothing.
type RandomRotation struct {
	Degrees float64 `json:"degrees"`
}

// Name is "random-rotation".
func (RandomRotation) Name() string { return "random-rotation" }

// Validate wants Degrees in (0, 180].
func (s RandomRotation) Validate() error {
	if !(0 < s.Degrees && s.Degrees <= 180) {
		return fmt.Errorf(`"degrees" is %v, want more than 0 and at most 180`, s.Degrees)
	}
	return nil
}

func (RandomRotation) size(w, h int) (int, int) { return w, h }

func (s RandomRotation) apply(v *view, r *rand.Rand) error { return v.project(s, r) }

func (s RandomRotation) projection(w, h int, r *rand.Rand) projection {
	return rotation(w, h, between(r, -s.Degrees, s.Degrees)/360)
}

// rotation turns a picture of w x h by so many full circles, anticlockwise.
func rotation(w, h int, turns float64) projection {
	sin, cos := sincos(turns)
	x, y := float64(w)/2, float64(h)/2
	return projection{
		{cos, -sin, x - float64(cos*x) + float64(sin*y)},
		{sin, cos, y - float64(sin*x) - float64(cos*y)},
		{0, 0, 1},
	}
}
