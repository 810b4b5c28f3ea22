package transforms

import (
	"encoding/binary"
	"fmt"
	"image"
	"math"
	"math/rand/v2"

	"github.com/zeebo/xxh3"
)

// Key is all that random steps depend on: the same key gives the same pixels on every machine, whatever was drawn
// before. Image is the image's name in its listing. An Epoch below 0 asks for scoring: random crops take the centre,
// and the other random steps do nothing.
type Key struct {
	Seed  uint64
	Epoch int
	Image string
	// Boxes are where logos are, for LogoCrop: in pixels of the picture as it is stored, which is not turned upright. What
	// hangs over its edges is cut off. It may be empty.
	Boxes []image.Rectangle
}

// random returns the generator of one step of a list, nil for scoring.
func (k Key) random(step int) *rand.Rand {
	if k.Epoch < 0 {
		return nil
	}
	b := make([]byte, 0, 24+len(k.Image))
	b = binary.LittleEndian.AppendUint64(b, k.Seed)
	b = binary.LittleEndian.AppendUint64(b, uint64(k.Epoch))
	b = binary.LittleEndian.AppendUint64(b, uint64(step))
	h := xxh3.Hash128(append(b, k.Image...))
	return rand.New(rand.NewPCG(h.Hi, h.Lo))
}

// between draws uniformly from [lo, hi).
func between(r *rand.Rand, lo, hi float64) float64 {
	return lo + float64(r.Float64()*(hi-lo)) // the conversion keeps the product from being fused with the sum
}

// happens draws whether a step of a probability acts: never for scoring.
func happens(r *rand.Rand, probability float64) bool { return r != nil && r.Float64() < probability }

func checkProbability(p float64) error {
	if !(0 < p && p <= 1) {
		return fmt.Errorf(`"probability" is %v, want more than 0 and at most 1`, p)
	}
	return nil
}

// rectangle draws the sides of a rectangle that fits into w x h. scale is the range of its share of the area, ratio
// that of its width over its height, drawn evenly in the logarithm. After ten that do not fit, ok is false.
func rectangle(r *rand.Rand, w, h int, scale, ratio [2]float64) (rw, rh int, ok bool) {
	lo, hi := log(ratio[0]), log(ratio[1])
	for range 10 {
		area := float64(w) * float64(h) * between(r, scale[0], scale[1])
		shape := exp(between(r, lo, hi))
		rw, rh = int(math.Round(math.Sqrt(area*shape))), int(math.Round(math.Sqrt(area/shape)))
		if 0 < rw && rw <= w && 0 < rh && rh <= h {
			return rw, rh, true
		}
	}
	return 0, 0, false
}

func checkRectangle(scale, ratio [2]float64) error {
	if !(0 < scale[0] && scale[0] <= scale[1] && scale[1] <= 1) {
		return fmt.Errorf(`"scale" is %v, want two numbers in (0, 1], the lower first`, scale)
	}
	if !(0.1 <= ratio[0] && ratio[0] <= ratio[1] && ratio[1] <= 10) {
		return fmt.Errorf(`"ratio" is %v, want two numbers in [0.1, 10], the lower first`, ratio)
	}
	return nil
}
