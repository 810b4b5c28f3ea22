package transforms

import "math/rand/v2"

// CenterCrop keeps the Size x Size pixels at the centre. A picture with a shorter side is enlarged first, keeping its
// shape, until that side is Size.
type CenterCrop struct {
	Size int `json:"size"`
}

// Name is "center-crop".
func (CenterCrop) Name() string { return "center-crop" }

// Validate wants a Size of 1 to 4096 pixels.
func (s CenterCrop) Validate() error { return checkSide("size", s.Size) }

func (s CenterCrop) size(w, h int) (int, int) { return s.Size, s.Size }

func (s CenterCrop) apply(v *view, _ *rand.Rand) error {
	if err := v.cover(s.Size); err != nil {
		return err
	}
	v.cropAt(s.Size, s.Size, nil)
	return nil
}
