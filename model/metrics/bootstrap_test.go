package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIntervals(t *testing.T) {
	classes := []string{"a", "no-logo"}
	mixed := make([]Answer, 100)
	for i := range mixed { // 80 of 100 right
		mixed[i] = Answer{i % 2, (i + i/80) % 2, 0.8}
	}
	for _, tt := range []struct {
		reason  string
		answers []Answer
		name    string
		low     [2]float64 // between which the lower end lies
		high    [2]float64
	}{
		// The standard error of 0.8 of 100 is 0.04: about 0.72 to 0.88.
		{"as a proportion's", mixed, "accuracy", [2]float64{0.70, 0.74}, [2]float64{0.85, 0.89}},
		{"the smaller share of images is not always the same", mixed, "majority", [2]float64{0.5, 0.51}, [2]float64{0.58, 0.63}},
		{"one answer says nothing of another, and the interval cannot know", mixed[:1], "accuracy", [2]float64{1, 1}, [2]float64{1, 1}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			got := Intervals(classes, tt.answers, 15, 1)[tt.name]
			if l, h := float64(got[0]), float64(got[1]); l < tt.low[0] || l > tt.low[1] || h < tt.high[0] || h > tt.high[1] {
				t.Errorf("got %v, want an interval from within %v to within %v", got, tt.low, tt.high)
			}
		})
	}
	if d := cmp.Diff(Intervals(classes, mixed, 15, 7), Intervals(classes, mixed, 15, 7)); d != "" {
		t.Errorf("one seed gives two intervals\n%s", d)
	}
	absent := Intervals(classes, []Answer{{0, 0, 1}}, 15, 1)["false_alarm_rate"]
	if !absent[0].Absent() || !absent[1].Absent() {
		t.Errorf("a figure that does not exist has the interval %v", absent)
	}
}

// Of many lists of images drawn from one source, the intervals of about 95 % hold what is true of the source.
func TestCoverage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	const lists, images, truth = 100, 60, 0.7
	held := 0
	for range lists {
		right := make([]float64, images)
		for i := range right {
			if r.Float64() < truth {
				right[i] = 1
			}
		}
		got := bootstrap(right, 1, func(sample []float64) []float64 {
			sum := 0.0
			for _, v := range sample {
				sum += v
			}
			return []float64{sum / float64(len(sample))}
		})[0]
		if float64(got[0]) <= truth && truth <= float64(got[1]) {
			held++
		}
	}
	if held < 88 || held > 99 {
		t.Errorf("the intervals of %d of %d lists hold the true share", held, lists)
	}
}

// What always answering the commonest class reaches is what a classifier reaches that does.
func TestMajorityF1(t *testing.T) {
	for _, counts := range [][][]int{{{2, 1, 0}, {1, 3, 0}, {1, 0, 4}}, {{5, 0, 0}, {0, 2, 0}, {0, 0, 0}}, {{0, 0, 7}, {0, 0, 0}, {0, 0, 0}}} {
		c, always := confusion([]string{"a", "b", "c"}, counts), New([]string{"a", "b", "c"})
		commonest := 0
		for k := range counts {
			if c.support(k) > c.support(commonest) {
				commonest = k
			}
		}
		for k := range counts {
			for range c.support(k) {
				always.Add(k, commonest)
			}
		}
		if got, want := c.MajorityF1(), always.MacroF1(); math.Abs(got-want) > 1e-12 {
			t.Errorf("%v: %v, want %v", counts, got, want)
		}
	}
	if !math.IsNaN(New([]string{"a"}).MajorityF1()) {
		t.Error("of no images it is a number")
	}
}

// On many images the error of right probabilities is next to nothing, on few it is not, and without any there is none.
func TestChanceECE(t *testing.T) {
	answers := func(n int) (list []Answer) {
		for i := range n {
			list = append(list, Answer{Truth: 1, Class: 0, Probability: 0.5 + float32(i%50)/100}) // what was true does not matter
		}
		return list
	}
	few, many := ChanceECE(answers(20), 15, 1), ChanceECE(answers(2000), 15, 1)
	if few < 0.1 || many > 0.03 || many <= 0 {
		t.Errorf("%v on 20 images, %v on 2000", few, many)
	}
	if again := ChanceECE(answers(20), 15, 1); again != few {
		t.Errorf("%v, then %v", few, again)
	}
	if none := ChanceECE(nil, 15, 1); !math.IsNaN(none) {
		t.Errorf("%v without images", none)
	}
}
