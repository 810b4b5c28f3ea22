package train

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Every epoch shows as many images as there are; without balance each of them once; with it every class as often as its
// share asks for, and the images of a class as evenly as they divide.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		classes := rapid.IntRange(1, 5).Draw(t, "classes")
		labels := rapid.SliceOfN(rapid.IntRange(0, classes-1), 1, 200).Draw(t, "labels")
		seed, epoch := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 100).Draw(t, "epoch")
		balance := rapid.SampledFrom([]string{None, Sqrt, Full}).Draw(t, "balance")

		draws := order(labels, classes, balance, seed, epoch)
		if !slices.Equal(draws, order(labels, classes, balance, seed, epoch)) {
			t.Fatal("the same arguments give another order")
		}
		if len(draws) != len(labels) {
			t.Fatalf("%d images are drawn of %d", len(draws), len(labels))
		}
		images, drawn := make([]int, len(labels)), make([]int, classes)
		for _, d := range draws {
			images[d.image]++
			drawn[labels[d.image]]++
		}
		size, present := make([]int, classes), 0
		for _, l := range labels {
			if size[l]++; size[l] == 1 {
				present++
			}
		}
		seen := map[draw]bool{}
		for _, d := range draws {
			if seen[d] || d.repeat < 0 || d.repeat >= images[d.image] {
				t.Fatalf("image %d, drawn %d times, is drawn with repeat %d", d.image, images[d.image], d.repeat)
			}
			seen[d] = true
		}
		for i, n := range images {
			c := labels[i]
			if even := drawn[c] / size[c]; n < even || n > even+1 {
				t.Fatalf("image %d is drawn %d times where its class of %d is drawn %d times", i, n, size[c], drawn[c])
			}
			if balance == None && n != 1 {
				t.Fatalf("image %d is drawn %d times", i, n)
			}
		}
		for c, n := range drawn {
			if even := len(labels) / present; balance == Full && size[c] > 0 && (n < even || n > even+1) {
				t.Fatalf("class %d is drawn %d times of %d, in %d classes", c, n, len(labels), present)
			}
		}
	})
}

func TestOrderChanges(t *testing.T) {
	labels := make([]int, 50)
	first := order(labels, 1, None, 1, 0)
	if slices.Equal(first, order(labels, 1, None, 1, 1)) {
		t.Error("two epochs have one order")
	}
	if slices.Equal(first, order(labels, 1, None, 2, 0)) {
		t.Error("two seeds have one order")
	}
	// A seed must draw the same with every release: models are made again from their cards.
	var got []int
	for _, d := range order(make([]int, 10), 1, None, 7, 3) {
		got = append(got, d.image)
	}
	if want := []int{2, 5, 0, 8, 6, 9, 4, 1, 7, 3}; !slices.Equal(got, want) {
		t.Errorf("seed 7, epoch 3 draws %v, and drew %v", got, want)
	}
}

// 1500 images without a logo and 10 of each of 32 brands, as in the article: sqrt(1500) = 38.73 and sqrt(10) = 3.162
// make shares of 0.2768 and 0.0226 of 1820 images: 503.8 and 41.13; full balance gives each of 33 classes 55.15.
func TestQuotas(t *testing.T) {
	of := [][]int{make([]int, 1500)}
	for range 32 {
		of = append(of, make([]int, 10))
	}
	for _, c := range []struct {
		balance     string
		none, brand int
	}{{None, 1500, 10}, {Sqrt, 504, 41}, {Full, 55, 55}} {
		q := quotas(of, c.balance, 1820)
		sum := 0
		for _, n := range q {
			sum += n
		}
		if q[0] < c.none || q[0] > c.none+1 || q[32] != c.brand || sum != 1820 {
			t.Errorf("%s: %v, want %d and %d, 1820 together", c.balance, q, c.none, c.brand)
		}
	}
}
