package corpus

import (
	"context"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logobeam/logobeam/transforms"
)

func TestParseBoxes(t *testing.T) {
	for _, c := range []struct {
		text string
		want []image.Rectangle
		err  string
	}{
		{"", nil, ""},
		{"1 2 3 4", []image.Rectangle{image.Rect(1, 2, 3, 4)}, ""},
		{"0 0 3 4; 10 20 30 40", []image.Rectangle{image.Rect(0, 0, 3, 4), image.Rect(10, 20, 30, 40)}, ""},
		{"1 2 3", nil, "want x1 y1 x2 y2"},
		{"1 2 3 4 5", nil, "want x1 y1 x2 y2"},
		{"1 2 3 4;", nil, "and ; between two boxes"},
		{"3 4 1 2", nil, "the upper left corner first"},
		{"1 2 1 4", nil, "want x1 y1 x2 y2"},
		{"1 2 3 4.5", nil, `"4.5" is no number of pixels`},
		{"-1 2 3 4", nil, `"-1" is no number of pixels`},
		{"[[1,2,3,4]]", nil, `"[[1,2,3,4]]" is no number`},
	} {
		got, err := ParseBoxes(c.text)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: error %v, want %q", c.text, err, c.err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.text, diff)
		}
	}
}

// Both forms of the file give the same column, whatever the tree, and without one there is no column.
func TestPrepareBoxes(t *testing.T) {
	text := `IMAGE Adidas 1 10 20 40 50
IMAGE Adidas 2 10 20 40 50
IMAGE adidas 3 60 20 80 9999

IMAGE Adidas 3 60 20 60 99
IMAGE Adidas 3 9000 20 9100 99
IMAGE Apple 1 1 2 3 4
absent.jpg Adidas 1 1 2 3 4
`
	table := `y2,label,image,x1,y1,x2
50.2,Adidas,some/where/IMAGE,10,20,40
50,Adidas,IMAGE,10,19.9,40
9999,adidas,IMAGE,60,20,80
9,Adidas,IMAGE,70,20,80
99,Adidas,IMAGE,9000,20,9100
4,Apple,IMAGE,1,2,3
4,Adidas,absent.jpg,1,2,3
`
	images, err := filepath.Glob(filepath.Join(testdata, "classes/jpg/adidas/*.jpg"))
	if err != nil || len(images) < 4 {
		t.Fatal(images, err)
	}
	name := filepath.Base(images[0])
	photographs := map[string]string{}
	for _, image := range images[:4] {
		photographs["adidas/"+filepath.Base(image)] = contents(t, image)
	}
	source := layOut(t, photographs)
	dir := layOut(t, map[string]string{"annotation.TXT": strings.ReplaceAll(text, "IMAGE", name), "boxes.csv": strings.ReplaceAll(table, "IMAGE", name)})
	for _, o := range []PrepareOptions{
		{Boxes: "annotation.TXT"}, {Boxes: "boxes.csv"}, {Boxes: "boxes.csv", Tree: Copy}, {Boxes: "boxes.csv", Tree: Link},
	} {
		full := options(source, filepath.Join(t.TempDir(), "data"))
		full.Boxes, full.Tree = filepath.Join(dir, o.Boxes), o.Tree
		s, err := Prepare(context.Background(), full)
		if err != nil {
			t.Fatal(err)
		}
		var boxed []Row
		for _, rows := range [][]Row{s.Train, s.Val, s.Test} {
			for _, r := range rows {
				if len(r.Boxes) > 0 {
					boxed = append(boxed, r)
				}
			}
		}
		if len(boxed) != 1 || filepath.Base(boxed[0].Image) != name || boxed[0].Label != "adidas" {
			t.Fatalf("%v: boxes in %v", o, boxed)
		}
		size := sizeOf(t, images[0])
		if diff := cmp.Diff([]image.Rectangle{image.Rect(10, 20, 40, 50), image.Rect(60, 20, 80, size.Y)}, boxed[0].Boxes); diff != "" {
			t.Errorf("%v (-want +got):\n%s", o, diff)
		}
		want := BoxCounts{Used: 2, Images: 1, Repeated: 1, Empty: 1, Outside: 1, Elsewhere: 2}
		if diff := cmp.Diff(&want, s.Boxes); diff != "" {
			t.Errorf("%v (-want +got):\n%s", o, diff)
		}
		if got, want := s.String(), "\nboxes of 2 logos in 1 images; left out: 1 given twice, 1 without an area, 1 outside of their image, 2 of images that are not here\n"; !strings.HasSuffix(got, want) {
			t.Errorf("%q does not end in %q", got, want)
		}
		for k, rows := range [][]Row{s.Train, s.Val, s.Test} {
			back, _, err := read(filepath.Join(full.Out, listingNames[k]), "image", "label")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rows, back); diff != "" {
				t.Errorf("%v: %s there and back:\n%s", o, listingNames[k], diff)
			}
		}
	}
}

func sizeOf(t *testing.T, file string) image.Point {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	h, err := transforms.Inspect(data, transforms.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return image.Pt(h.W, h.H)
}

func TestPrepareRefusesBoxes(t *testing.T) {
	var many strings.Builder
	for i := range maxBoxes + 1 {
		fmt.Fprintf(&many, "1.jpg a 1 %d 2 100000000 100000000\n", maxCorner-1000+i)
	}
	for _, c := range []struct{ why, name, text, want string }{
		{"an empty file", "b.txt", "", "none of its boxes"},
		{"a field too few", "b.txt", "\n1.jpg a 1 2 3 4\n", `b.txt line 2: "1.jpg a 1 2 3 4" is not FILE CLASS SUBSET X1 Y1 X2 Y2`},
		{"a CSV that is named as text", "b.txt", "image,label,x1,y1,x2,y2\n", "line 1"},
		{"no number", "b.txt", "1.jpg a 1 2 3 4 x\n", `b.txt line 1: "x" is no number of pixels`},
		{"not a number", "b.csv", "image,label,x1,y1,x2,y2\n1.jpg,a,1,2,3,NaN\n", `b.csv line 2: "NaN" is no number of pixels`},
		{"beyond any image", "b.csv", "image,label,x1,y1,x2,y2\n1.jpg,a,1,2,3,1e9\n", `"1e9" is no number of pixels`},
		{"a column is missing", "b.csv", "image,label,x1,y1,x2\n1.jpg,a,1,2,3\n", `no column "y2"`},
		{"of other images", "b.txt", "9.jpg a 1 1 2 3 4\n", "none of its boxes is of an image that is here"},
		{"too many", "b.txt", many.String(), "line 201: more than 200 boxes in 1.jpg"},
	} {
		t.Run(c.why, func(t *testing.T) {
			o := options(layOut(t, map[string]string{"a/1.jpg": "1", "a/2.jpg": "2", "a/3.jpg": "3"}), t.TempDir())
			o.SkipCheck = true
			o.Boxes = filepath.Join(layOut(t, map[string]string{c.name: c.text}), c.name)
			if _, err := Prepare(context.Background(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if entries, err := os.ReadDir(o.Out); err != nil || len(entries) > 0 {
				t.Errorf("%v is left behind (%v)", entries, err)
			}
		})
	}
}

// What fits into a file of boxes fits into a listing.
func TestBoxesFit(t *testing.T) {
	boxes := slices.Repeat([]image.Rectangle{image.Rect(maxCorner-2, maxCorner-2, maxCorner-1, maxCorner-1)}, maxBoxes)
	d, err := Open(listingOf(t, "image,label,boxes\na.jpg,a,"+formatBoxes(boxes)+"\nb.jpg,b,\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Row(0).Boxes) != maxBoxes || d.Row(1).Boxes != nil {
		t.Errorf("%d and %d boxes", len(d.Row(0).Boxes), len(d.Row(1).Boxes))
	}
}

// Load hands the boxes to the transforms, for training alone.
func TestLoadBoxes(t *testing.T) {
	list := func(boxes string) *Dataset {
		near := slices.Insert(slices.Clone(scoring), 1, transforms.Step(transforms.LogoCrop{Scale: [2]float64{1, 1}, Probability: 1}))
		text := "image,label" + boxes
		d, err := Open(listingOf(t, text), Options{Training: near, Scoring: near, Root: testdata})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	load := func(d *Dataset, epoch int) []float32 {
		dst := make([]float32, side*side*3)
		if err := d.Load(0, epoch, dst); err != nil {
			t.Fatal(err)
		}
		return dst
	}
	with, without := list(",boxes\noddities/plain.jpg,a,10 20 60 70\n"), list("\noddities/plain.jpg,a\n")
	if slices.Equal(load(with, 0), load(without, 0)) {
		t.Error("the box does nothing")
	}
	if !slices.Equal(load(with, -1), load(without, -1)) || !slices.Equal(load(without, 0), load(without, -1)) {
		t.Error("scoring, or training without boxes, is not as if the step were not there")
	}
}

func FuzzReadBoxes(f *testing.F) {
	f.Add("144503924.jpg Adidas 1 38 12 234 142 \n\n2451569770.jpg no_logo 1 242 208 413 331", "38 12 234 142;1 2 3 4")
	f.Add("a b 1 -1 1e7 3 Inf\n", "1 2 3 4;")
	f.Fuzz(func(t *testing.T, text, column string) {
		file := filepath.Join(t.TempDir(), "boxes.txt")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		read, err := readBoxes(file)
		if err != nil {
			read = &boxFile{boxes: map[string][]image.Rectangle{}}
		}
		if boxes, err := ParseBoxes(column); err == nil && len(boxes) > 0 {
			read.boxes["column"] = boxes
		}
		for key, boxes := range read.boxes {
			back, err := ParseBoxes(formatBoxes(boxes))
			if err != nil || !slices.Equal(boxes, back) {
				t.Errorf("%s: %v became %v: %v", key, boxes, back, err)
			}
		}
	})
}
