package metrics

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestECE(t *testing.T) {
	for _, c := range []struct {
		reason string
		probs  []float32
		truth  []int
		want   float64
	}{
		{"sure and right", []float32{1, 0, 0, 1}, []int{0, 1}, 0},
		{"sure and wrong", []float32{1, 0, 0, 1}, []int{1, 0}, 1},
		{"0.75 sure, 1 of 2 right", []float32{.75, .25, .75, .25}, []int{0, 1}, 0.25},
		// bin (0.5, 0.6]: one of 0.6 that is right; bin (0.7, 0.8]: two of 0.8, one right: (0.4*1 + |1.6-1|)/3
		{"two bins of ten", []float32{.6, .4, .8, .2, .2, .8}, []int{0, 0, 0}, (0.4 + 0.6) / 3},
		{"no images", nil, nil, math.NaN()},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got := ECE(Answers(c.truth, c.probs), 10)
			if !(math.Abs(got-c.want) < 1e-6 || math.IsNaN(got) && math.IsNaN(c.want)) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if !math.IsNaN(ECE([]Answer{{Probability: 1}}, 0)) {
		t.Error("no bins give a number")
	}
}

func TestReliability(t *testing.T) {
	got := Reliability([]Answer{{0, 0, 0.5}, {0, 1, 0.25}, {1, 1, 1}, {0, 1, 0.75}, {0, 0, 0}}, 2)
	want := []Bin{{3, 0.25, 2. / 3}, {2, 0.875, 0.5}} // a bin's upper edge is its own; 0 is in the first
	if d := cmp.Diff(want, got, figures); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if b := Reliability(nil, 1)[0]; !b.Probability.Absent() || !b.Right.Absent() {
		t.Errorf("a bin without answers is %+v", b)
	}
}
