package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// figures are equal if both are absent, or nearly the same.
var figures = cmp.Comparer(func(a, b Figure) bool {
	return a.Absent() && b.Absent() || math.Abs(float64(a-b)) <= 1e-12
})

func confusion(classes []string, counts [][]int) *Confusion {
	c := New(classes)
	for t, row := range counts {
		for p, n := range row {
			for range n {
				c.Add(t, p)
			}
		}
	}
	return c
}

func TestFigures(t *testing.T) {
	nan := Figure(math.NaN())
	abc := []string{"a", "b", "no-logo"}
	for _, c := range []struct {
		reason  string
		classes []string
		counts  [][]int
		want    Summary
	}{
		// precision a 2/4, b 3/4, none 4/4; recall 2/3, 3/4, 4/5; so F1 4/7, 6/8, 8/9
		{"each figure by hand", abc, [][]int{{2, 1, 0}, {1, 3, 0}, {1, 0, 4}},
			Summary{12, 9. / 12, 5. / 12, Figure((4./7 + 6./8 + 8./9) / 3), 5. / 7, 1. / 5}},
		// what the article's network learnt, on FlickrLogos-32's own proportions: 1500 of 2460 validation images show
		// nothing
		{"always no-logo looks like 0.61", abc, [][]int{{0, 0, 480}, {0, 0, 480}, {0, 0, 1500}},
			Summary{2460, 1500. / 2460, 1500. / 2460, Figure(2 * 1500. / (2460 + 1500) / 3), 0, 0}},
		{"a class in neither truth nor answers does not count", abc, [][]int{{1, 0, 0}, {0, 0, 0}, {0, 0, 1}},
			Summary{2, 1, 0.5, 1, 1, 0}},
		{"a class only answered counts with F1 0", abc, [][]int{{1, 1, 0}, {0, 0, 0}, {0, 0, 0}},
			Summary{2, 0.5, 1, Figure((2./3 + 0) / 2), 0.5, nan}},
		{"without a class for no logo", []string{"a", "b"}, [][]int{{1, 0}, {1, 0}},
			Summary{2, 0.5, 0.5, Figure((2./3 + 0) / 2), 0.5, nan}},
		{"nothing but images without a logo", abc, [][]int{{0, 0, 0}, {0, 0, 0}, {1, 0, 3}},
			Summary{4, 0.75, 1, Figure((0 + 6./7) / 2), nan, 0.25}},
		{"nothing at all", abc, [][]int{{0, 0, 0}, {0, 0, 0}, {0, 0, 0}}, Summary{0, nan, nan, nan, nan, nan}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			got := confusion(c.classes, c.counts).Summary()
			if d := cmp.Diff(c.want, got, figures); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestPerClass(t *testing.T) {
	got := confusion([]string{"a", "b", "c"}, [][]int{{2, 1, 0}, {1, 3, 0}, {0, 0, 0}}).PerClass()
	nan := Figure(math.NaN())
	want := []Class{
		{"a", 3, 3, 2. / 3, 2. / 3, 2. / 3},
		{"b", 4, 4, 0.75, 0.75, 0.75},
		{"c", 0, 0, nan, nan, nan},
	}
	if d := cmp.Diff(want, got, figures); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestJSONHasNoNaN(t *testing.T) {
	c := New([]string{"a", "no-logo"})
	data, err := json.Marshal(struct {
		Summary
		Classes []Class
		Inf     Figure
	}{c.Summary(), c.PerClass(), Figure(math.Inf(1))})
	if err != nil {
		t.Fatal(err)
	}
	if s := string(data); !strings.Contains(s, `"accuracy":null`) || !strings.Contains(s, `"Inf":null`) || !strings.Contains(s, `"precision":null`) {
		t.Errorf("absent figures are not null: %s", s)
	}
	var back Summary
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Summary(), back, figures); d != "" || !back.Accuracy.Absent() {
		t.Errorf("null does not read back as absent (-want +got)\n%s", d)
	}
	var f Figure
	if err := json.Unmarshal([]byte("0.25"), &f); err != nil || f != 0.25 {
		t.Errorf("0.25 reads as %v, %v", f, err)
	}
	if err := json.Unmarshal([]byte(`"x"`), &f); err == nil {
		t.Error("a string reads as a figure")
	}
}

// The same counts as sklearn.metrics.f1_score(average="macro") and accuracy_score saw, worked out as tp, fp and fn.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.IntRange(2, 6).Draw(t, "classes")
		names := make([]string, k)
		for i := range names {
			names[i] = fmt.Sprint(i)
		}
		names[k-1] = "no-logo"
		pairs := rapid.SliceOfN(rapid.IntRange(0, k*k-1), 1, 60).Draw(t, "answers")
		c := New(names)
		for _, p := range pairs {
			c.Add(p/k, p%k)
		}
		tp, fp, fn := make([]int, k), make([]int, k), make([]int, k)
		for _, p := range pairs {
			if p/k == p%k {
				tp[p/k]++
			} else {
				fn[p/k]++
				fp[p%k]++
			}
		}
		sum, seen, right := 0.0, 0.0, 0
		for i := range names {
			right += tp[i]
			if n := 2*tp[i] + fp[i] + fn[i]; n > 0 {
				sum += 2 * float64(tp[i]) / float64(n)
				seen++
			}
		}
		s := c.Summary()
		if math.Abs(float64(s.MacroF1)-sum/seen) > 1e-12 || math.Abs(float64(s.Accuracy)-float64(right)/float64(len(pairs))) > 1e-12 {
			t.Fatalf("macro-F1 %v, accuracy %v; want %v, %v", s.MacroF1, s.Accuracy, sum/seen, float64(right)/float64(len(pairs)))
		}
		for _, f := range []Figure{s.Accuracy, s.Majority, s.MacroF1, s.LogoRecall, s.FalseAlarms} {
			if !f.Absent() && (f < 0 || f > 1) {
				t.Fatalf("%+v: a figure is no share", s)
			}
		}
		// accuracy is what logo recall and false alarms make together
		logos, none := 0.0, float64(c.support(k-1))
		for i := range k - 1 {
			logos += float64(c.support(i))
		}
		rights := 0.0
		if logos > 0 {
			rights += logos * c.LogoRecall()
		}
		if none > 0 {
			rights += none * (1 - c.FalseAlarms())
		}
		if math.Abs(rights-float64(right)) > 1e-9 {
			t.Fatalf("recall on logos and false alarms account for %v right answers, not %d", rights, right)
		}
	})
}

func TestAddAll(t *testing.T) {
	c := New([]string{"a", "b"})
	c.AddAll([]int{0, 1, 1}, []float32{.9, .1, .2, .8, .5, .5}) // the last: the first of equals wins
	if d := cmp.Diff([][]int{{1, 0}, {1, 1}}, c.Counts); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if Argmax(nil) != -1 {
		t.Error("an empty row has no largest value")
	}
}
