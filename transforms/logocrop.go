package transforms

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
)

// LogoCrop keeps a window around a logo, with a Probability, so that training sees logos closer than photographs show
// them. It takes one of the Key's Boxes; the window is a square with a side of Scale times the box's longer one, drawn
// evenly in the logarithm, at a random place that has all of the box in it. Where the picture is smaller the window is
// cut to it. Without boxes, and for scoring, it does nothing. As boxes are of the picture as it is stored, the step
// comes before all others but orient.
type LogoCrop struct {
	Scale       [2]float64 `json:"scale"`
	Probability float64    `json:"probability"`
}

// Name is "logo-crop".
func (LogoCrop) Name() string { return "logo-crop" }

// Validate wants a Scale within [1, 100], the low end first, and a Probability in (0, 1].
func (s LogoCrop) Validate() error {
	if !(1 <= s.Scale[0] && s.Scale[0] <= s.Scale[1] && s.Scale[1] <= 100) {
		return fmt.Errorf(`"scale" is %v, want two numbers in [1, 100], the lower first`, s.Scale)
	}
	return checkProbability(s.Probability)
}

func (LogoCrop) size(w, h int) (int, int) { return 0, 0 } // depends on the file

func (s LogoCrop) apply(v *view, r *rand.Rand) error {
	var boxes []image.Rectangle
	for _, b := range v.boxes {
		if b = v.turn.do(b, v.src.Size()).Intersect(v.window); !b.Empty() {
			boxes = append(boxes, b)
		}
	}
	if len(boxes) == 0 || !happens(r, s.Probability) {
		return nil
	}
	box := boxes[r.IntN(len(boxes))]
	longer := float64(max(box.Dx(), box.Dy()))
	side := int(math.Round(longer * exp(between(r, log(s.Scale[0]), log(s.Scale[1])))))
	x, w := around(r, box.Min.X, box.Max.X, side, v.window.Dx())
	y, h := around(r, box.Min.Y, box.Max.Y, side, v.window.Dy())
	v.crop(x, y, w, h)
	return nil
}

// around draws where a run of length side begins, of 0 to all, that has [lo, hi) in it. It is cut to all.
func around(r *rand.Rand, lo, hi, side, all int) (at, length int) {
	length = min(max(side, hi-lo), all) // side is a rounded product
	first, last := max(0, hi-length), min(lo, all-length)
	return first + r.IntN(last-first+1), length
}
