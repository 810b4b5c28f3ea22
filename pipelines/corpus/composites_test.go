package corpus

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logobeam/logobeam/model"
)

// The repository's photographs, without those of two brands, whose marks stand for them.
func TestComposites(t *testing.T) {
	source := t.TempDir()
	for _, class := range []string{"dhl", "Ford", "no-logo"} {
		photographs := os.DirFS(filepath.Join(testdata, "classes/jpg", strings.ToLower(class)))
		if err := os.CopyFS(filepath.Join(source, class), photographs); err != nil {
			t.Fatal(err)
		}
	}
	mark := func(name string) string { return contents(t, testdata, "marks", name+".svg") }
	marks := layOut(t, map[string]string{"DHL.svg": mark("dhl"), "ford.svg": mark("ford"), "shell.svg": mark("shell"), "aldi/nord.svg": mark("aldinord"), "aldi/sued.svg": mark("aldisud")})

	prepare := func(workers int, change func(o *PrepareOptions)) (Splits, map[string]string, string) {
		o := options(source, filepath.Join(t.TempDir(), "data"))
		o.SkipCheck, o.Workers, o.Composites = true, workers, Composites{N: 3, Marks: marks}
		change(&o)
		s, err := Prepare(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		made := map[string]string{}
		files, err := filepath.Glob(filepath.Join(o.Out, "composites", "*", "*.jpg"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			made[strings.TrimPrefix(filepath.ToSlash(f), filepath.ToSlash(o.Out)+"/")] = contents(t, f)
		}
		return s, made, o.Out
	}
	s, made, out := prepare(1, func(*PrepareOptions) {})
	if diff := cmp.Diff([]string{"Ford", "aldi", "dhl", model.NoLogo, "shell"}, s.Classes); diff != "" {
		t.Errorf("classes (-want +got):\n%s", diff)
	}
	want := CompositeCounts{Images: 12, Brands: 4, Unmarked: 3, Alone: []string{"aldi", "shell"}}
	if diff := cmp.Diff(&want, s.Composites); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if text := s.String(); !strings.HasSuffix(text, "\ntraining has 12 composites of 4 brands and 3 without a mark\n2 brands are known by composites alone: aldi, shell\n") {
		t.Errorf("the summary ends %q", text)
	}
	if len(made) != 15 {
		t.Errorf("%d files, want 15", len(made))
	}
	trained := map[string]int{}
	for i, rows := range [][]Row{s.Train, s.Val, s.Test} {
		for _, r := range rows {
			if !strings.HasPrefix(r.Image, "composites/") {
				continue
			}
			if i > 0 {
				t.Errorf("%s is for %s", r.Image, splitNames[i])
			}
			trained[r.Label]++
			m, err := jpeg.Decode(bytes.NewReader([]byte(made[r.Image])))
			if err != nil {
				t.Errorf("%s: %v", r.Image, err)
			} else if len(r.Boxes) != 1 != (r.Label == model.NoLogo) || len(r.Boxes) == 1 && !r.Boxes[0].In(m.Bounds()) {
				t.Errorf("%s of %v has the boxes %v", r.Image, m.Bounds(), r.Boxes)
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"Ford": 3, "aldi": 3, "dhl": 3, model.NoLogo: 3, "shell": 3}, trained); diff != "" {
		t.Errorf("composites in training (-want +got):\n%s", diff)
	}
	set, err := Open(filepath.Join(out, "train.csv"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	boxes := map[string][]image.Rectangle{}
	for _, r := range s.Train {
		boxes[r.Image] = r.Boxes
	}
	for i := range set.Len() {
		if r := set.Row(i); !cmp.Equal(boxes[r.Image], r.Boxes) {
			t.Errorf("the listing says %v of %s, want %v", r.Boxes, r.Image, boxes[r.Image])
		}
	}
	for _, line := range []string{`"composites": 3`, `"marks": "` + filepath.ToSlash(marks)} {
		if text := contents(t, out, record); !strings.Contains(text, line) {
			t.Errorf("the record does not say %s:\n%s", line, text)
		}
	}

	// The same whoever makes them, and the first of more; others for another seed.
	_, same, _ := prepare(3, func(o *PrepareOptions) { o.Composites.N = 4 })
	_, other, _ := prepare(2, func(o *PrepareOptions) { o.Seed = 2; o.Composites.Backgrounds = filepath.Join(testdata, "backgrounds") })
	for name, data := range made {
		if same[name] != data {
			t.Errorf("%s is another picture with 3 workers and 4 composites", name)
		}
		if other[name] == "" || other[name] == data {
			t.Errorf("%s is the same or none for another seed and other backgrounds", name)
		}
	}
	if len(same) != 20 {
		t.Errorf("%d files, want 20", len(same))
	}

	// What is not asked for any more does not stay behind.
	o := options(source, out)
	o.SkipCheck = true
	if _, err := Prepare(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "composites")); !os.IsNotExist(err) {
		t.Errorf("composites of the run before are still there: %v", err)
	}
}

func TestCompositesRefuse(t *testing.T) {
	photographs := map[string]string{"a/1.jpg": "", "a/2.jpg": "", "a/3.jpg": "", "no-logo/1.jpg": "", "no-logo/2.jpg": "", "no-logo/3.jpg": ""}
	mark := contents(t, testdata, "marks", "hp.svg")
	good := map[string]string{"a.svg": mark}
	for _, c := range []struct {
		why         string
		photographs map[string]string
		marks       map[string]string
		change      func(o *PrepareOptions)
		want        string
	}{
		{"fewer than none", photographs, good, func(o *PrepareOptions) { o.Composites.N = -1 }, "-1 composites: want 0 to 100000"},
		{"no marks", photographs, good, func(o *PrepareOptions) { o.Composites.Marks = "" }, "want a folder of marks"},
		{"marks for nothing", photographs, good, func(o *PrepareOptions) { o.Composites.N = 0 }, "without a number of composites"},
		{"a folder that is not there", photographs, good, func(o *PrepareOptions) { o.Composites.Marks += "x" }, "no marks: open"},
		{"no backgrounds there", photographs, good, func(o *PrepareOptions) { o.Composites.Backgrounds = "nowhere" }, "no backgrounds: lstat nowhere"},
		{"empty backgrounds", photographs, good, func(o *PrepareOptions) { o.Composites.Backgrounds = o.Composites.Marks }, "want photographs to lay marks on"},
		{"a background that is broken", photographs, map[string]string{"a/1.svg": mark, "a/deep/1.jpg": "x"}, func(o *PrepareOptions) {
			o.Composites.Backgrounds = o.Composites.Marks
		}, "1.jpg: not-an-image"},
		{"no photograph without a logo", map[string]string{"a/1.jpg": "", "a/2.jpg": "", "a/3.jpg": ""}, good, nil, "name a folder of backgrounds"},
		{"a broken mark", photographs, map[string]string{"a.svg": "<svg"}, nil, "a.svg: not an SVG drawing"},
		{"a mark of no brand", photographs, map[string]string{"No Logo.svg": mark}, nil, "is of no-logo, which is not a brand"},
		{"marks in the output", photographs, map[string]string{record: `{"made_by":"logobeam prepare"}`, "composites/a.svg": mark}, func(o *PrepareOptions) {
			o.Out, o.Composites.Marks = o.Composites.Marks, filepath.Join(o.Composites.Marks, "composites")
		}, "lies in the output folder"},
	} {
		o := options(layOut(t, c.photographs), filepath.Join(t.TempDir(), "data"))
		o.SkipCheck, o.Composites = true, Composites{N: 1, Marks: layOut(t, c.marks)}
		if c.change != nil {
			c.change(&o)
		}
		_, err := Prepare(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.why, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(o.Out, trainCSV)); err == nil {
			t.Errorf("%s: there is a listing all the same", c.why)
		}
	}
}
