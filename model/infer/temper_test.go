package infer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/logobeam/logobeam/model"
)

// A temperature divides all logits of every architecture, so it changes no answer.
func TestTemper(t *testing.T) {
	for _, arch := range model.Architectures() {
		n := reduced(t, arch, 5)
		params, err := model.Init(n, 3)
		if err != nil {
			t.Fatal(err)
		}
		const images = 8
		logits := func(p model.Params) []float32 {
			arena, r := compile(t, n, p).NewArena(images), rand.New(rand.NewPCG(5, 0))
			for i := range images {
				for k := range arena.Input(i) {
					arena.Input(i)[k] = 2*r.Float32() - 1
				}
			}
			return slices.Clone(arena.Run(images))
		}
		before := logits(params)
		for _, temperature := range []float64{0.05, 0.7, 1.3, 20} {
			tempered, err := n.Temper(params, temperature)
			if err != nil {
				t.Fatal(err)
			}
			after := logits(tempered)
			for i := range images {
				was, is := before[5*i:5*i+5], after[5*i:5*i+5]
				most := slices.Index(was, slices.Max(was))
				size := max(math.Abs(float64(was[most])), math.Abs(float64(slices.Min(was))))
				for k := range was {
					if math.Abs(float64(is[k])*temperature-float64(was[k])) > 1e-5*size {
						t.Fatalf("%s: the logits %v are %v at the temperature %g", arch, was, is, temperature)
					}
				}
				if k := slices.Index(is, slices.Max(is)); k != most && float64(was[most]-was[k]) > 1e-5*size {
					t.Fatalf("%s: the answer is %d, and %d at the temperature %g", arch, most, k, temperature)
				}
			}
		}
	}
}
