package transforms

import (
	"math"
	"math/rand/v2"
)

// Letterbox shows all of a picture in its own shape: it resizes it, antialiased, until the longer side is Size, and lays it
// in the middle of Size x Size pixels of grey (128).
type Letterbox struct {
	Size int `json:"size"`
}

// Name is "letterbox".
func (Letterbox) Name() string { return "letterbox" }

// Validate wants a Size of 1 to 4096 pixels.
func (s Letterbox) Validate() error { return checkSide("size", s.Size) }

func (s Letterbox) size(w, h int) (int, int) { return s.Size, s.Size }

func (s Letterbox) apply(v *view, _ *rand.Rand) error {
	w, h := v.size()
	scale := float64(s.Size) / float64(max(w, h))
	sw, sh := max(1, int(math.Round(scale*float64(w)))), max(1, int(math.Round(scale*float64(h))))
	return v.onGrey(s.Size, s.Size, sw, sh, (s.Size-sw)/2, (s.Size-sh)/2)
}
