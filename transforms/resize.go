package transforms

import (
	"errors"
	"fmt"
	"math/rand/v2"
)

// Resize changes the size with an antialiased triangle filter, as Pillow's BILINEAR and torchvision's antialias=True do.
// Either Short is given, the length of the shorter side after it, and the shape stays (the longer side is rounded down);
// or Width and Height are, and the picture is squeezed into them.
type Resize struct {
	Short  int `json:"short,omitempty"`
	Width  int `json:"width,omitempty"`
	Height int `json:"height,omitempty"`
}

// Name is "resize".
func (Resize) Name() string { return "resize" }

// Validate checks that Short or both of Width and Height are given, 1 to 4096 pixels.
func (s Resize) Validate() error {
	if s.Short != 0 {
		if s.Width != 0 || s.Height != 0 {
			return errors.New(`either "short" or "width" and "height", not both`)
		}
		return checkSide("short", s.Short)
	}
	if s.Width == 0 && s.Height == 0 {
		return errors.New(`wants "short", or "width" and "height"`)
	}
	return errors.Join(checkSide("width", s.Width), checkSide("height", s.Height))
}

func (s Resize) size(w, h int) (int, int) {
	switch {
	case s.Short == 0:
		return s.Width, s.Height
	case w == 0:
		return 0, 0
	}
	return shortSide(w, h, s.Short)
}

func (s Resize) apply(v *view, _ *rand.Rand) error {
	w, h := v.size()
	return v.resize(s.size(w, h))
}

// shortSide scales w x h until the shorter side is size, and rounds the longer one down as torchvision does.
func shortSide(w, h, size int) (int, int) {
	if w <= h {
		return size, max(size, int(int64(size)*int64(h)/int64(w)))
	}
	return max(size, int(int64(size)*int64(w)/int64(h))), size
}

const maxOutput = 4096 // pixels a side that a step may ask for

func checkSide(name string, n int) error {
	if n < 1 || n > maxOutput {
		return fmt.Errorf("%q is %d, want 1 to %d", name, n, maxOutput)
	}
	return nil
}
