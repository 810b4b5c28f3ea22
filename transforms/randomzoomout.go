package transforms

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
)

// RandomZoomOut makes everything smaller, with a Probability: the picture shrinks, antialiased, to 1/n of its width and
// height, n drawn evenly from Side, and is laid at a random place on grey (128) of its former size. It is torchvision's
// RandomZoomOut, the expansion of SSD (Liu et al., 2016), at a size that stays. RandomResizedCrop only enlarges,
// and a network trained with it alone has never seen logos as small as in scoring. For scoring it does nothing.
type RandomZoomOut struct {
	Side        [2]float64 `json:"side"`
	Probability float64    `json:"probability"`
}

// Name is "random-zoom-out".
func (RandomZoomOut) Name() string { return "random-zoom-out" }

// Validate wants a Side within [1, 16], the low end first, and a Probability in (0, 1].
func (s RandomZoomOut) Validate() error {
	if !(1 <= s.Side[0] && s.Side[0] <= s.Side[1] && s.Side[1] <= 16) {
		return fmt.Errorf(`"side" is %v, want two numbers in [1, 16], the lower first`, s.Side)
	}
	return checkProbability(s.Probability)
}

func (RandomZoomOut) size(w, h int) (int, int) { return w, h }

func (s RandomZoomOut) apply(v *view, r *rand.Rand) error {
	if !happens(r, s.Probability) {
		return nil
	}
	w, h := v.size()
	if int64(w)*int64(h) > maxResult {
		_, err := v.pixels() // which says so
		return err
	}
	side := between(r, s.Side[0], s.Side[1])
	sw, sh := max(1, int(math.Round(float64(w)/side))), max(1, int(math.Round(float64(h)/side)))
	x, y := r.IntN(w-sw+1), r.IntN(h-sh+1)
	if v.cut == (image.Rectangle{Max: v.to}) {
		v.to = image.Point{} // a resize that is only noted is done to the smaller size at once
	}
	return v.onGrey(w, h, sw, sh, x, y)
}
