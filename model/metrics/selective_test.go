package metrics

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSelect(t *testing.T) {
	classes := []string{"a", "b", "no-logo"}
	likeliest := []Answer{{0, 0, .9}, {0, 0, .5}, {1, 0, .4}, {1, 1, .8}, {2, 1, .3}, {2, 2, .9}}
	given := []Answer{{0, 0, .9}, {0, 2, .4}, {1, 0, .4}, {1, 1, .8}, {2, 2, .2}, {2, 2, .9}}
	got := Select(classes, likeliest, given, 1)
	// three brands given, two of them right, of five that were likeliest; two of four logos found
	want := Selective{BrandPrecision: 2. / 3, LogoRecall: 0.5, FalseAlarms: 0, Coverage: 3. / 5}
	if d := cmp.Diff(want, got, figures, cmpopts.IgnoreFields(Selective{}, "Intervals")); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if i := got.Intervals["coverage"]; len(got.Intervals) != 4 || !(i[0] < 0.6 && i[1] > 0.6) {
		t.Errorf("intervals %v", got.Intervals)
	}
	if none := Select(classes, likeliest[5:], given[5:], 1); !none.BrandPrecision.Absent() || !none.Coverage.Absent() {
		t.Errorf("where no brand is given: %+v", none)
	}
}
