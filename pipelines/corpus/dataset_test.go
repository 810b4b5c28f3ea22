package corpus

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/transforms"
)

var (
	_ train.Dataset = (*Dataset)(nil)
	_ train.Named   = (*Dataset)(nil)
)

const side = 24

var (
	scoring  = transforms.DefaultScoring(side, [3]float64{127, 127, 127}, [3]float64{128, 128, 128})
	training = transforms.DefaultTraining(side, [3]float64{127, 127, 127}, [3]float64{128, 128, 128})
)

func listingOf(t *testing.T, text string) string {
	return filepath.Join(layOut(t, map[string]string{"list.csv": text}), "list.csv")
}

func TestOpen(t *testing.T) {
	out := t.TempDir()
	prepare := options(testdata, out)
	prepare.SkipCheck = true
	if _, err := Prepare(context.Background(), prepare); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(out, "train.csv")
	classes, err := Classes(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(classes) != 17 || !slices.IsSorted(classes) || !slices.Contains(classes, model.NoLogo) {
		t.Errorf("classes %q", classes)
	}
	slices.Reverse(classes) // a model's classes may stand in any order
	d, err := Open(file, Options{Classes: classes, Training: training, Scoring: scoring, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	if d.Len() != 93 {
		t.Errorf("%d images, want 93", d.Len())
	}
	for i := range d.Len() {
		if got := d.Classes()[d.Label(i)]; got != d.Row(i).Label || !strings.Contains(d.Row(i).Image, "/"+got+"/") {
			t.Errorf("%s is of class %s", d.Row(i).Image, got)
		}
	}
}

// What Load gives depends on image and epoch alone, however many load at once, and is random in training only.
func TestLoad(t *testing.T) {
	o := Options{Training: training, Scoring: scoring, Seed: 3, Root: testdata, LabelColumn: "post_id"}
	d, err := Open(filepath.Join(testdata, "posts.csv"), o)
	if err != nil {
		t.Fatal(err)
	}
	const images = 6
	load := func(d *Dataset, i, epoch int) []float32 {
		dst := make([]float32, side*side*3)
		if err := d.Load(i, epoch, dst); err != nil {
			t.Error(err)
		}
		return dst
	}
	epochs := []int{-1, -1, 0, 1}
	var want, got [images][4][]float32
	for i := range images {
		for k, e := range epochs {
			want[i][k] = load(d, i, e)
		}
		if !slices.Equal(want[i][0], want[i][1]) {
			t.Errorf("image %d is scored in two ways", i)
		}
		if slices.Equal(want[i][2], want[i][3]) || slices.Equal(want[i][0], want[i][2]) {
			t.Errorf("image %d is the same in every epoch", i)
		}
	}
	var all sync.WaitGroup
	for i := range images {
		for k, e := range epochs {
			all.Go(func() { got[i][k] = load(d, i, e) })
		}
	}
	all.Wait()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("many at once (-want +got):\n%s", diff)
	}
	o.Seed = 4
	other, err := Open(filepath.Join(testdata, "posts.csv"), o)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(load(other, 0, 0), want[0][2]) || !slices.Equal(load(other, 0, -1), want[0][0]) {
		t.Error("the seed must matter in training, and only there")
	}
}

// The same images elsewhere are the same to training.
func TestDatasetMoved(t *testing.T) {
	prepare := func(tree string) *Dataset {
		o := options(testdata, t.TempDir())
		o.SkipCheck, o.Tree = true, tree
		if _, err := Prepare(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		d, err := Open(filepath.Join(o.Out, "val.csv"), Options{Training: training, Scoring: scoring})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, b := prepare(NoTree), prepare(Copy)
	if a.ID() != b.ID() {
		t.Errorf("ids %s and %s", a.ID(), b.ID())
	}
	x, y := make([]float32, side*side*3), make([]float32, side*side*3)
	if err := errors.Join(a.Load(7, 0, x), b.Load(7, 0, y)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x, y) {
		t.Error("an image that was moved is drawn in another way")
	}
}

func TestID(t *testing.T) {
	const text = "image,label\na/1.jpg,a\nb/1.jpg,b\n"
	ids := map[string]string{}
	for name, c := range map[string]struct {
		text string
		o    Options
	}{
		"as it is":            {text, Options{Training: training}},
		"another label":       {"image,label\na/1.jpg,a\nb/1.jpg,a\n", Options{Training: training, Classes: []string{"a", "b"}}},
		"another image":       {"image,label\na/1.jpg,a\nb/2.jpg,b\n", Options{Training: training}},
		"another order":       {"image,label\nb/1.jpg,b\na/1.jpg,a\n", Options{Training: training}},
		"other classes":       {text, Options{Training: training, Classes: []string{"b", "a"}}},
		"other transforms":    {text, Options{Training: scoring}},
		"another seed":        {text, Options{Training: training, Seed: 1}},
		"one image less":      {"image,label\na/1.jpg,a\n", Options{Training: training, Classes: []string{"a", "b"}}},
		"a box":               {"image,label,boxes\na/1.jpg,a,1 2 3 4\nb/1.jpg,b,\n", Options{Training: training}},
		"another box":         {"image,label,boxes\na/1.jpg,a,1 2 3 5\nb/1.jpg,b,\n", Options{Training: training}},
		"another's box":       {"image,label,boxes\na/1.jpg,a,\nb/1.jpg,b,1 2 3 4\n", Options{Training: training}},
		"scored in other way": {text, Options{Training: training, Scoring: scoring}},
	} {
		d, err := Open(listingOf(t, c.text), c.o)
		if err != nil {
			t.Fatal(err)
		}
		if before, dup := ids[d.ID()]; dup {
			t.Errorf("%s has the id of %s", name, before)
		}
		ids[d.ID()] = name
	}
}

// Shares are nested, of every class, in the listing's order, and do not depend on that or on where the images lie.
func TestShare(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var rows []string
		for class, n := range rapid.SliceOfN(rapid.IntRange(1, 30), 1, 5).Draw(rt, "sizes") {
			for i := range n {
				rows = append(rows, fmt.Sprintf("%d.jpg,%c", i, 'a'+class))
			}
		}
		seed, shares := rapid.Uint64().Draw(rt, "seed"), []float64{rapid.Float64Range(0.001, 1).Draw(rt, "share"), rapid.Float64Range(0.001, 1).Draw(rt, "another"), 0}
		slices.Sort(shares[:2])
		open := func(rows []string, folder string, share float64) *Dataset {
			d, err := Open(listingOf(t, "image,label\n"+folder+strings.Join(rows, "\n"+folder)+"\n"), Options{Seed: seed, Share: share})
			if err != nil {
				rt.Fatal(err)
			}
			return d
		}
		keys := func(d *Dataset) (keys []string) {
			for i := range d.Len() {
				keys = append(keys, d.Row(i).Key())
				if d.Classes()[d.Label(i)] != d.Row(i).Label {
					rt.Fatalf("%v has the label %d", d.Row(i), d.Label(i))
				}
			}
			return keys
		}
		all := open(rows, "", 0)
		small, large := open(rows, "", shares[0]), open(rows, "", shares[1])
		for _, pair := range [][2]*Dataset{{small, large}, {large, all}} {
			at := 0
			for _, k := range keys(pair[1]) { // a part in the same order
				if in := keys(pair[0]); at < len(in) && in[at] == k {
					at++
				}
			}
			if at < pair[0].Len() {
				rt.Fatalf("%v is not among %v", keys(pair[0]), keys(pair[1]))
			}
			if (pair[0].ID() == pair[1].ID()) != (pair[0].Len() == pair[1].Len()) {
				rt.Fatalf("ids of %d and of %d images", pair[0].Len(), pair[1].Len())
			}
		}
		count := func(d *Dataset, class int) (n int) {
			for i := range d.Len() {
				if d.Label(i) == class {
					n++
				}
			}
			return n
		}
		for class := range all.Classes() {
			if got, want := count(small, class), max(1, int(math.Round(shares[0]*float64(count(all, class))))); got != want {
				rt.Fatalf("%d images of %d, want %d", got, count(all, class), want)
			}
		}
		slices.Reverse(rows)
		got, want := keys(open(rows, "elsewhere/", shares[0])), keys(small)
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("another order, another folder (-want +got):\n%s", diff)
		}
	})
	const text = "image,label\n1.jpg,a\n2.jpg,a\n3.jpg,a\n4.jpg,a\n5.jpg,a\n6.jpg,a\n"
	drawn := map[string]bool{}
	for seed := range uint64(40) {
		d, err := Open(listingOf(t, text), Options{Seed: seed, Share: 0.17})
		if err != nil {
			t.Fatal(err)
		}
		drawn[d.Row(0).Image] = true
	}
	if len(drawn) != 6 {
		t.Errorf("40 seeds drew %v", drawn)
	}
}

func TestOpenRefuses(t *testing.T) {
	classes := []string{"adidas", "cocacola", "HP", model.NoLogo}
	for _, c := range []struct {
		why, text string
		o         Options
		want      []string
	}{
		{"a column is missing", "image,brand\n1.jpg,adidas\n", Options{}, []string{"label", "brand"}},
		{"another column is missing", "image,label\n1.jpg,adidas\n", Options{ImageColumn: "photo"}, []string{"photo", "image"}},
		{"an unknown class", "image,label\n1.jpg,adidas\n2.jpg,addidas\n", Options{Classes: classes}, []string{"line 3", `"addidas"`, "4", `did you mean "adidas"?`}},
		{"another case", "image,label\n1.jpg,hp\n", Options{Classes: classes}, []string{"line 2", `did you mean "HP"?`}},
		{"nothing like it", "image,label\n1.jpg,starbucks\n", Options{Classes: classes}, []string{`"starbucks" is not among the model's 4`}},
		{"no rows", "image,label\n", Options{}, []string{"no rows"}},
		{"a box that is none", "image,label,boxes\n1.jpg,a,1 2 3 4\n2.jpg,a,1 2 3\n", Options{}, []string{"line 3", `box "1 2 3": want x1 y1 x2 y2`}},
		{"no label", "image,label\n1.jpg,\n", Options{}, []string{"line 2", `label is ""`}},
		{"a share beyond all", "image,label\n1.jpg,a\n", Options{Share: 1.1}, []string{"a share of 1.1: want 0 to 1"}},
		{"a share of no number", "image,label\n1.jpg,a\n", Options{Share: math.NaN()}, []string{"a share of NaN"}},
		{"a transform of no number", "image,label\n1.jpg,a\n", Options{Training: transforms.List{transforms.Normalise{Mean: [3]float64{math.NaN()}}}}, []string{"list.csv"}},
	} {
		t.Run(c.why, func(t *testing.T) {
			file := listingOf(t, c.text)
			_, err := Open(file, c.o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(c.want, file) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.csv"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a listing that is not there: %v", err)
	}
	if _, err := Classes(listingOf(t, "image\n1.jpg\n")); err == nil {
		t.Error("Classes of a listing without labels: no error")
	}
}

// The odd files of testdata become what is written there of them, with the right reason.
func TestOddities(t *testing.T) {
	d, err := Open(filepath.Join(testdata, "oddities.csv"), Options{LabelColumn: "post_id", Scoring: scoring})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(testdata, "oddities", "expected.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	expected, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(expected)-1 != d.Len() {
		t.Fatalf("%d files, %d expectations", d.Len(), len(expected)-1)
	}
	dst := make([]float32, side*side*3)
	for i, e := range expected[1:] {
		kind, stage, reason := e[0], e[2], e[3]
		if stage == "fetch" && kind != "missing" {
			continue // URLs and the like, which package fetch knows
		}
		err := d.Load(i, -1, dst)
		var bad *transforms.Error
		got := fmt.Sprint(err)
		switch {
		case err == nil:
			got = ""
		case errors.Is(err, os.ErrNotExist):
			got = "not-found"
		case errors.As(err, &bad):
			got = string(bad.Reason)
		}
		if got != reason || d.Row(i).Label != kind || (reason == "") != (e[1] == "score") || (reason == "") != (stage == "") {
			t.Errorf("%s: %q, want %q at stage %q (%s)", kind, got, reason, stage, e[1])
		}
	}
}

// Images are evaluated in as many views as Views says, which are those of package transforms.
func TestViews(t *testing.T) {
	list := transforms.List{transforms.Resize{Short: 20}, transforms.CenterCrop{Size: 16}, transforms.Normalise{Std: [3]float64{255, 255, 255}}}
	d, err := Open(filepath.Join(testdata, "posts.csv"), Options{Scoring: list, Views: 2, LabelColumn: "post_id"})
	if err != nil {
		t.Fatal(err)
	}
	views, err := transforms.Views(list, 2)
	if err != nil {
		t.Fatal(err)
	}
	var seen [2][16 * 16 * 3]float32
	for v, view := range views {
		var want [16 * 16 * 3]float32
		if err := errors.Join(d.Load(0, -1-v, seen[v][:]), d.View(0, view, want[:])); err != nil {
			t.Fatal(err)
		}
		if seen[v] != want {
			t.Errorf("view %d is another one", v)
		}
	}
	if seen[0] == seen[1] {
		t.Error("both views are the same")
	}
	one, err := Open(filepath.Join(testdata, "posts.csv"), Options{Scoring: list, LabelColumn: "post_id"})
	if err != nil || one.ID() == d.ID() {
		t.Errorf("%v; one view and two have the same ID", err)
	}
	if _, err := Open(filepath.Join(testdata, "posts.csv"), Options{Scoring: list, Views: 9, LabelColumn: "post_id"}); err == nil {
		t.Error("there are no 9 views")
	}
}
