package train

import (
	"image"
	"math"
	"math/rand/v2"

	"github.com/logobeam/logobeam/model"
)

// Mix mixes the images of a batch in pairs, the first with the last and so on inwards, and leaves the middle one of an
// odd number alone. images is one after the other, [H][W][C] of shape; labels are their classes. Image i then shows
// what shares[i] says of labels[i], which is at least a half, and for the rest labels[len(labels)-1-i]: where the other
// image of a pair has come to prevail in it, the two labels change places.
//
// Mixup adds the two images, share times the one and 1 - share times the other, the share drawn from Beta(Mixup, Mixup)
// (Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018). Cutmix exchanges a rectangle, whose centre is drawn
// evenly and whose share of the area, before it is cut off at the edges, from Beta(Cutmix, Cutmix); the share of a
// label is exactly that of the pixels (Yun et al., CutMix, 2019). If both are above 0, either has half of the pairs.
// Every pair draws anew, from Seed, epoch and step alone, both from 0.
func (c Config) Mix(shape model.Shape, images []float32, labels []int, shares []float64, epoch, step int) {
	n := len(labels)
	for i := range n {
		shares[i] = 1
	}
	if c.Mixup == 0 && c.Cutmix == 0 {
		return
	}
	rng := rand.New(rand.NewPCG(c.Seed, uint64(epoch+1)<<32|uint64(step))) // order has the streams below 2^32
	size := shape.Size()
	for i := range n / 2 {
		j := n - 1 - i
		a, b := images[i*size:(i+1)*size], images[j*size:(j+1)*size]
		var share float64
		if c.Cutmix == 0 || c.Mixup > 0 && rng.Uint64()&1 == 0 {
			share = mixup(a, b, beta(rng, c.Mixup))
		} else {
			share = cutmix(a, b, shape, box(rng, shape, beta(rng, c.Cutmix)))
		}
		if share < 0.5 {
			share = 1 - share
			labels[i], labels[j] = labels[j], labels[i]
		}
		shares[i], shares[j] = share, share
	}
}

// mixup leaves share of a in a and of b in b.
func mixup(a, b []float32, share float64) float64 {
	own, other := float32(share), float32(1-share)
	for i, x := range a {
		y := b[i]
		a[i], b[i] = own*x+other*y, own*y+other*x
	}
	return share
}

// box draws a rectangle with 1 - share of the area, less what lies beyond the edges.
func box(rng *rand.Rand, shape model.Shape, share float64) image.Rectangle {
	side := math.Sqrt(1 - share)
	w, h := int(float64(shape.W)*side), int(float64(shape.H)*side)
	x, y := rng.IntN(shape.W)-w/2, rng.IntN(shape.H)-h/2
	return image.Rect(x, y, x+w, y+h).Intersect(image.Rect(0, 0, shape.W, shape.H))
}

// cutmix exchanges a rectangle, and tells the share that is left.
func cutmix(a, b []float32, shape model.Shape, r image.Rectangle) (share float64) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		from, to := (y*shape.W+r.Min.X)*shape.C, (y*shape.W+r.Max.X)*shape.C
		for i := from; i < to; i++ {
			a[i], b[i] = b[i], a[i]
		}
	}
	return 1 - float64(r.Dx()*r.Dy())/float64(shape.W*shape.H)
}

// beta draws from Beta(alpha, alpha): the share that one of two draws from Gamma(alpha) has in their sum. Logarithms
// keep a small alpha, whose draws may be next to nothing, from dividing 0 by 0.
func beta(rng *rand.Rand, alpha float64) float64 {
	return 1 / (1 + math.Exp(logGamma(rng, alpha)-logGamma(rng, alpha)))
}

// logGamma is the logarithm of a draw from Gamma(alpha), by Marsaglia and Tsang (A Simple Method for Generating Gamma
// Variables, 2000).
func logGamma(rng *rand.Rand, alpha float64) float64 {
	boost := 0.0
	if alpha < 1 {
		boost = math.Log(1-rng.Float64()) / alpha
		alpha++
	}
	d := alpha - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-rng.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return boost + math.Log(d*v)
		}
	}
}
