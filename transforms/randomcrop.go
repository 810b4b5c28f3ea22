package transforms

import (
	"fmt"
	"math/rand/v2"
)

// RandomCrop keeps Size x Size pixels from a random place, after Padding black pixels have been laid on every side. A
// picture with a shorter side is enlarged first, as by CenterCrop. For scoring it is CenterCrop.
type RandomCrop struct {
	Size    int `json:"size"`
	Padding int `json:"padding,omitempty"`
}

// Name is "random-crop".
func (RandomCrop) Name() string { return "random-crop" }

// Validate wants a Size of 1 to 4096 pixels and a Padding of 0 to 1024.
func (s RandomCrop) Validate() error {
	if s.Padding < 0 || s.Padding > 1024 {
		return fmt.Errorf(`"padding" is %d, want 0 to 1024`, s.Padding)
	}
	return checkSide("size", s.Size)
}

func (s RandomCrop) size(w, h int) (int, int) { return s.Size, s.Size }

func (s RandomCrop) apply(v *view, r *rand.Rand) error {
	if err := v.cover(s.Size); err != nil {
		return err
	}
	if r == nil || s.Padding == 0 {
		v.cropAt(s.Size, s.Size, r)
		return nil
	}
	// The place is drawn in the padded picture, of which only the crop is made.
	w, h := v.size()
	x, y := r.IntN(w+2*s.Padding-s.Size+1)-s.Padding, r.IntN(h+2*s.Padding-s.Size+1)-s.Padding
	x0, y0, x1, y1 := max(x, 0), max(y, 0), min(x+s.Size, w), min(y+s.Size, h)
	out := NewImage(s.Size, s.Size)
	if x0 < x1 && y0 < y1 {
		v.crop(x0, y0, x1-x0, y1-y0)
		m, err := v.pixels()
		if err != nil {
			return err
		}
		for i := range m.H {
			copy(out.Pix[3*((y0-y+i)*s.Size+x0-x):], m.Pix[3*i*m.W:3*(i+1)*m.W])
		}
	}
	v.set(out)
	return nil
}
