package train

import (
	"math"
	"math/rand/v2"
	"slices"
)

// draw is one image of an epoch. An image may be drawn more than once when classes are balanced; repeat counts those
// draws from 0, so that random transforms need not show it the same way again.
type draw struct {
	image, repeat int
}

// order is the images of one epoch in the order in which they are shown: as many as there are labels, whatever the
// balance. It depends on its arguments alone.
func order(labels []int, classes int, balance string, seed uint64, epoch int) []draw {
	rng := rand.New(rand.NewPCG(seed, uint64(epoch)))
	of := make([][]int, classes)
	if balance == None {
		of = [][]int{make([]int, len(labels))}
		for i := range labels {
			of[0][i] = i
		}
	} else {
		for i, l := range labels {
			of[l] = append(of[l], i)
		}
	}
	draws := make([]draw, 0, len(labels))
	for c, n := range quotas(of, balance, len(labels)) {
		images := of[c]
		shuffle(rng, images)
		for k := range n {
			draws = append(draws, draw{images[k%len(images)], k / len(images)})
		}
	}
	shuffle(rng, draws)
	return draws
}

// quotas divides n draws among the classes by their share, and what rounding leaves to those it took most from.
func quotas(of [][]int, balance string, n int) []int {
	share := make([]float64, len(of))
	sum := 0.0
	for c, images := range of {
		switch {
		case balance == Full && len(images) > 0:
			share[c] = 1
		case balance == Sqrt:
			share[c] = math.Sqrt(float64(len(images)))
		default:
			share[c] = float64(len(images))
		}
		sum += share[c]
	}
	if sum == 0 {
		return make([]int, len(of))
	}
	quota := make([]int, len(of))
	rest := make([]float64, len(of))
	byRest := make([]int, 0, len(of))
	left := n
	for c := range of {
		exact := float64(n) * share[c] / sum
		quota[c] = int(exact)
		rest[c] = exact - float64(quota[c])
		left -= quota[c]
		if len(of[c]) > 0 {
			byRest = append(byRest, c)
		}
	}
	slices.SortStableFunc(byRest, func(a, b int) int {
		switch {
		case rest[a] > rest[b]:
			return -1
		case rest[a] < rest[b]:
			return 1
		}
		return 0
	})
	for i := range left {
		quota[byRest[i%len(byRest)]]++
	}
	return quota
}

// shuffle is Fisher and Yates', written out so that no release of Go changes what a seed draws.
func shuffle[T any](rng *rand.Rand, s []T) {
	for i := len(s) - 1; i > 0; i-- {
		j := int(rng.Uint64() % uint64(i+1)) // the bias of the remainder is below 2^-40 for any list of images
		s[i], s[j] = s[j], s[i]
	}
}
