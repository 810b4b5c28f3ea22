package transforms

import (
	"encoding/binary"
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
