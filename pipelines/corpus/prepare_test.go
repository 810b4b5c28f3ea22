package corpus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logobeam/logobeam/model"
)

const testdata = "../../testdata"

// layOut writes files into a new folder and returns it.
func layOut(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func contents(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func options(source, out string) PrepareOptions {
	o := DefaultPrepareOptions()
	o.Source, o.Out = source, out
	return o
}

func perLabel(rows []Row) map[string]int {
	n := map[string]int{}
	for _, r := range rows {
		n[r.Label]++
	}
	return n
}

// flickrLogos32 has the numbers of FlickrLogos-32 and no bytes: for each of 32 brands 10 images to learn from, 30 to
// validate and 30 to test with, and 3,000 without a logo to validate and 3,000 to test with.
func flickrLogos32(form func(brand, file string) string, ending string) map[string]string {
	files, lists := map[string]string{}, map[string]*strings.Builder{}
	add := func(list, brand string, n int) {
		if lists[list] == nil {
			lists[list] = &strings.Builder{}
		}
		for i := range n {
			file := fmt.Sprintf("%s%04d.jpg", list[:4], i)
			files["classes/jpg/"+brand+"/"+file] = ""
			fmt.Fprintln(lists[list], form(brand, file))
		}
	}
	for i := range 32 {
		brand := fmt.Sprintf("brand%02d", i)
		add("trainset", brand, 10)
		add("valset-logosonly", brand, 30)
		add("testset", brand, 30)
	}
	add("valset-nologos", "no-logo", 3000)
	add("testset", "no-logo", 3000)
	for name, b := range lists {
		files[name+ending] = b.String()
	}
	return files
}

func TestPrepareFlickrLogos32(t *testing.T) {
	for _, c := range []struct {
		name, ending string
		form         func(brand, file string) string
	}{
		{"paths", ".relpaths.txt", func(brand, file string) string { return "classes/jpg/" + brand + "/" + file }},
		{"brand and file", ".txt", func(brand, file string) string { return brand + "," + file }},
	} {
		t.Run(c.name, func(t *testing.T) {
			source, out := layOut(t, flickrLogos32(c.form, c.ending)), t.TempDir()
			o := options(source, out)
			o.SkipCheck, o.Tree = true, Link // the images are empty
			s, err := Prepare(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			// The counts of the article that trained on FlickrLogos-32 with half of the images without a logo moved.
			if got, want := [3]int{len(s.Train), len(s.Val), len(s.Test)}, [3]int{1820, 2460, 3960}; got != want {
				t.Errorf("training, validation, test: %v, want %v", got, want)
			}
			if s.Moved != 1500 || !s.FlickrLogos || len(s.Classes) != 33 {
				t.Errorf("moved %d, FlickrLogos %v, %d classes; want 1500, true, 33", s.Moved, s.FlickrLogos, len(s.Classes))
			}
			for i, want := range []map[string]int{{"brand07": 10, model.NoLogo: 1500}, {"brand07": 30, model.NoLogo: 1500}, {"brand07": 30, model.NoLogo: 3000}} {
				got := perLabel([][]Row{s.Train, s.Val, s.Test}[i])
				for label, n := range want {
					if got[label] != n {
						t.Errorf("split %d has %d of %s, want %d", i, got[label], label, n)
					}
				}
			}
			seen := map[string]bool{}
			for _, rows := range [][]Row{s.Train, s.Val, s.Test} {
				for _, r := range rows {
					if seen[r.Image] {
						t.Fatalf("%s is in the splits twice", r.Image)
					}
					seen[r.Image] = true
				}
			}
			if n := strings.Count(contents(t, out, "train.csv"), "\n"); n != 1821 {
				t.Errorf("train.csv has %d lines, want 1821", n)
			}
			for tree, want := range map[string]int{"train_data": 1820, "val_data": 2460, "test_data": 3960} {
				links, err := filepath.Glob(filepath.Join(out, tree, "*", "*.jpg"))
				if err != nil || len(links) != want {
					t.Errorf("%s holds %d images (%v), want %d", tree, len(links), err, want)
				}
			}
		})
	}
}

func TestSplitsString(t *testing.T) {
	got := fmt.Sprint(Splits{Train: []Row{{Image: "1", Label: "a"}, {Image: "2", Label: model.NoLogo}}, Val: []Row{{Image: "3", Label: "a"}}, Classes: []string{"a", model.NoLogo}, FlickrLogos: true, Moved: 1})
	want := `FlickrLogos, with 1 validation images without a logo moved to training: 2 classes

              images   logos   no-logo
training           2       1         1
validation         1       1         0
test               0       0         0
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Without a share there is no listing, so that nobody takes an empty one for a test passed.
func TestPrepareWithoutTest(t *testing.T) {
	source, out := layOut(t, map[string]string{"a/1.jpg": "", "a/2.jpg": ""}), t.TempDir()
	o := options(source, out)
	o.SkipCheck, o.Test = true, 0
	if _, err := Prepare(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "test.csv")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("test.csv: %v, want none", err)
	}
	if got, want := strings.Count(contents(t, out, "train.csv"), "\n"), 2; got != want {
		t.Errorf("train.csv has %d lines, want %d", got, want)
	}
}

func TestPrepareShareOfNoLogo(t *testing.T) {
	files := map[string]string{"trainset.txt": "a,1.jpg\n", "valset.txt": "a,2.jpg\nno-logo,1.jpg\nno-logo,2.jpg\nno-logo,3.jpg\nno-logo,4.jpg\n",
		"testset-logosonly.txt": "a,3.jpg\n", "testset-nologos.txt": "no-logo,5.jpg\n"}
	source := layOut(t, files)
	for share, want := range map[float64][3]int{0: {1, 5, 2}, 0.25: {2, 4, 2}, 0.5: {3, 3, 2}, 1: {5, 1, 2}} {
		o := options(source, t.TempDir())
		o.SkipCheck, o.NoLogoToTrain = true, share
		s, err := Prepare(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]int{len(s.Train), len(s.Val), len(s.Test)}; got != want {
			t.Errorf("share %v: %v, want %v", share, got, want)
		}
	}
}

// The repository's own photographs, every one decoded, with the same listings whoever prepares them how often.
func TestPrepareTestdata(t *testing.T) {
	source, err := filepath.Abs(testdata)
	if err != nil {
		t.Fatal(err)
	}
	var first [3]string
	for i, workers := range []int{1, 3} {
		out := filepath.Join(t.TempDir(), "data")
		o := options(source, out)
		o.Workers = workers
		s, err := Prepare(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := [3]int{len(s.Train), len(s.Val), len(s.Test)}, [3]int{93, 50, 72}; got != want || s.Moved != 12 || len(s.NearDuplicates) > 0 {
			t.Errorf("training, validation, test: %v, %d moved; want %v, 12", got, s.Moved, want)
		}
		for k, name := range listingNames {
			text := contents(t, out, name)
			if i == 0 {
				first[k] = text
			} else if diff := cmp.Diff(first[k], text); diff != "" {
				t.Errorf("%s differs with %d workers:\n%s", name, workers, diff)
			}
		}
		if !strings.HasPrefix(first[0], "image,label\n"+filepath.ToSlash(source)+"/classes/jpg/adidas/") {
			t.Errorf("train.csv begins %.120q", first[0])
		}
	}
}

func TestPrepareFolders(t *testing.T) {
	files := map[string]string{"deep/down/odd/1.jpg": "", "README.txt": "", ".hidden/x/1.jpg": "", "b/.2.jpg": "", "b/Thumbs.db": "", "no_logo/1.png": "", "No Logo/2.webp": ""}
	for i := range 20 {
		files[fmt.Sprintf("a/%02d.jpg", i)] = ""
		if i < 3 {
			files[fmt.Sprintf("b/%d.JPEG", i)] = ""
		}
	}
	source := layOut(t, files)
	o := options(source, filepath.Join(source, "data")) // inside: not to be read as a class
	o.SkipCheck = true
	var before Splits
	for range 2 { // the second time over what the first one wrote
		s, err := Prepare(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a", "b", "no-logo", "odd"}, s.Classes); diff != "" {
			t.Errorf("classes (-want +got):\n%s", diff)
		}
		got := []map[string]int{perLabel(s.Train), perLabel(s.Val), perLabel(s.Test)}
		want := []map[string]int{{"a": 14, "b": 1, "no-logo": 1, "odd": 1}, {"a": 3, "b": 1, "no-logo": 1}, {"a": 3, "b": 1}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("images per class (-want +got):\n%s", diff)
		}
		if before.Train != nil {
			if diff := cmp.Diff(before, s); diff != "" {
				t.Errorf("the second run differs:\n%s", diff)
			}
		}
		before = s
	}
	o.Seed = 2
	s, err := Prepare(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(before.Test, s.Test) {
		t.Error("another seed splits the same")
	}
}

// However many images a class has and whatever the shares, each image ends in one split, and each class is learnt.
func TestDeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 40), 1, 6).Draw(t, "sizes")
		share := rapid.Float64Range(0, 1)
		shares := [3]float64{rapid.Float64Range(0.01, 1).Draw(t, "train"), share.Draw(t, "val"), share.Draw(t, "test")}
		var rows []Row
		for c, n := range sizes {
			for i := range n {
				rows = append(rows, Row{Image: fmt.Sprintf("%d/%d.jpg", c, i), Label: fmt.Sprint(c)})
			}
		}
		sortRows(rows)
		splits := deal(rows, shares, rapid.Uint64().Draw(t, "seed"))
		var all []Row
		for i, s := range splits {
			all = append(all, s...)
			got := perLabel(s)
			for c, n := range sizes {
				exact := float64(n) * shares[i] / (shares[0] + shares[1] + shares[2])
				if k := float64(got[fmt.Sprint(c)]); k < exact-4 || k > exact+2 || // one more for each split that must have one
					i == 0 && k < 1 || shares[i] == 0 && k > 0 {
					t.Errorf("class of %d images: %v in split %d, its share is %v", n, k, i, exact)
				}
			}
		}
		sortRows(all)
		if diff := cmp.Diff(rows, all); diff != "" {
			t.Errorf("images lost or doubled (-want +got):\n%s", diff)
		}
	})
}

func TestPrepareTree(t *testing.T) {
	source := layOut(t, map[string]string{
		"x/a/1.jpg": "one", "x/a/2.jpg": "two", "x/a/3.jpg": "three", "y/a/1.jpg": "another one", "x/no-logo/1.jpg": "none", "x/no-logo/2.jpg": "none 2", "x/no-logo/3.jpg": "none 3",
	})
	named := func(out string, rows ...[]Row) map[string]int {
		got := map[string]int{}
		for _, list := range rows {
			for _, r := range list {
				image := filepath.FromSlash(r.Image)
				if !filepath.IsAbs(image) {
					image = filepath.Join(out, image)
				}
				got[contents(t, image)]++
			}
		}
		return got
	}
	want := map[string]int{"one": 1, "two": 1, "three": 1, "another one": 1, "none": 1, "none 2": 1, "none 3": 1}
	for _, tree := range []string{Link, Copy, NoTree} {
		o := options(source, filepath.Join(t.TempDir(), "data"))
		o.SkipCheck, o.Tree = true, tree
		s, err := Prepare(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, named(o.Out, s.Train, s.Val, s.Test)); diff != "" {
			t.Errorf("%s: what the listings name (-want +got):\n%s", tree, diff)
		}
		laid := map[string]int{}
		for i, name := range treeNames {
			files, err := filepath.Glob(filepath.Join(o.Out, name, "*", "*.jpg"))
			if err != nil {
				t.Fatal(err)
			}
			if rows := [][]Row{s.Train, s.Val, s.Test}[i]; tree != NoTree && len(files) != len(rows) {
				t.Errorf("%s: %d files in %s, %d rows", tree, len(files), name, len(rows))
			}
			for _, f := range files {
				laid[contents(t, f)]++
				info, err := os.Lstat(f)
				if err != nil {
					t.Fatal(err)
				}
				if link := info.Mode()&os.ModeSymlink != 0; link != (tree == Link) {
					t.Errorf("%s: %s is of mode %v", tree, f, info.Mode())
				}
			}
		}
		switch tree {
		case NoTree:
			if len(laid) > 0 {
				t.Errorf("a tree was not asked for, and there is %v", laid)
			}
		default:
			if diff := cmp.Diff(want, laid); diff != "" {
				t.Errorf("%s: what the tree holds (-want +got):\n%s", tree, diff)
			}
		}
		for _, r := range s.Train {
			if filepath.IsAbs(r.Image) == (tree == Copy) {
				t.Errorf("%s: the listing names %s", tree, r.Image)
			}
		}
	}

	// A tree that is not asked for any more does not stay behind.
	o := options(source, filepath.Join(t.TempDir(), "data"))
	o.SkipCheck = true
	for _, o.Tree = range []string{Copy, NoTree} {
		if _, err := Prepare(context.Background(), o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Out, "train_data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("train_data of the run before is still there: %v", err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	folders := map[string]string{"a/1.jpg": "", "a/2.jpg": "", "a/3.jpg": ""}
	lists := func(train, val, test string) map[string]string {
		return map[string]string{"trainset.relpaths.txt": train, "valset-logosonly.relpaths.txt": val, "testset.relpaths.txt": test}
	}
	for _, c := range []struct {
		why    string
		files  map[string]string
		out    map[string]string
		change func(o *PrepareOptions)
		want   string
	}{
		{"a path out of the source", lists("../../etc/passwd\n", "c/a/2.jpg\n", "c/a/3.jpg\n"), nil, nil, "line 1 of trainset.relpaths.txt leads out"},
		{"hidden in the middle", lists("c/a/1.jpg\nc/../../a/1.jpg\n", "c/a/2.jpg\n", "c/a/3.jpg\n"), nil, nil, "line 2 of trainset.relpaths.txt leads out"},
		{"an absolute path", lists("/etc/passwd\n", "c/a/2.jpg\n", "c/a/3.jpg\n"), nil, nil, "leads out"},
		{"out by the brand", map[string]string{"trainset.txt": "..,passwd\n"}, nil, nil, "names no class"},
		{"a line without a class", lists("1.jpg\n", "c/a/2.jpg\n", "c/a/3.jpg\n"), nil, nil, "names no class"},
		{"learnt and tested on", lists("c/a/1.jpg\n", "c/a/2.jpg\n", "\nc/a/../a/1.jpg\n"), nil, nil, "line 2 of testset.relpaths.txt lists c/a/1.jpg again, after line 1 of trainset"},
		{"no test list", map[string]string{"trainset.relpaths.txt": "c/a/1.jpg\n", "valset.txt": "a,2.jpg\n"}, nil, nil, "none of test images: want testset.relpaths.txt"},
		{"no validation list", map[string]string{"trainset.relpaths.txt": "c/a/1.jpg\n", "testset.txt": "a,2.jpg\n"}, nil, nil, "want valset-logosonly and valset-nologos"},
		{"a list without lines", lists("c/a/1.jpg\n", "\n", "c/a/3.jpg\n"), nil, nil, "no images for validation"},
		{"listed but not there", lists("c/a/1.jpg\n", "c/a/2.jpg\n", "c/a/3.jpg\n"), nil, func(o *PrepareOptions) { o.SkipCheck = false }, "3 of 3 images cannot be used; mend or remove them:\n  c/a/1.jpg: no such file"},
		{"not an image", folders, nil, func(o *PrepareOptions) { o.SkipCheck = false }, "a/1.jpg: empty"},
		{"larger than the limit", map[string]string{"a/1.jpg": "0123456789", "a/2.jpg": "0123456789", "a/3.jpg": "0"}, nil, func(o *PrepareOptions) { o.SkipCheck, o.Limits.Bytes = false, 9 }, "a/1.jpg: too-many-bytes: 10 bytes, the limit is 9"},
		{"no folders", map[string]string{"1.jpg": ""}, nil, nil, "1.jpg lies in"},
		{"no images", map[string]string{"a/1.txt": ""}, nil, nil, "no images in"},
		{"too few for a split", map[string]string{"a/1.jpg": ""}, nil, nil, "no images for validation"},
		{"another's folder", folders, map[string]string{"thesis.doc": ""}, nil, "holds thesis.doc and was not made by prepare"},
		{"another's listing", folders, map[string]string{"train.csv": ""}, nil, "holds train.csv and was not made by prepare"},
		{"ours with something else in it", folders, map[string]string{"prepared.json": `{"made_by":"logobeam prepare"}`, "notes.txt": ""}, nil, "holds notes.txt, which is not of prepare's making"},
		{"a share beyond all", folders, nil, func(o *PrepareOptions) { o.NoLogoToTrain = 1.5 }, "want 0 to 1"},
		{"nothing to learn from", folders, nil, func(o *PrepareOptions) { o.Val, o.Test = 0.5, 0.5 }, "less than 1 together"},
		{"near-duplicates without a check", folders, nil, func(o *PrepareOptions) { o.NearDuplicates = Drop }, "without the check none can be dropped"},
		{"an unknown way", folders, nil, func(o *PrepareOptions) { o.NearDuplicates = "keep" }, `near-duplicates "keep": want warn, drop or ignore`},
		{"an unknown tree", folders, nil, func(o *PrepareOptions) { o.Tree = "palm" }, `tree "palm"`},
		{"no source", folders, nil, func(o *PrepareOptions) { o.Source = filepath.Join(o.Source, "nowhere") }, "no source"},
		{"a file as source", folders, nil, func(o *PrepareOptions) { o.Source = filepath.Join(o.Source, "a", "1.jpg") }, "is a file"},
		{"nothing named", folders, nil, func(o *PrepareOptions) { o.Source = "" }, "want a source"},
	} {
		t.Run(c.why, func(t *testing.T) {
			o := options(layOut(t, c.files), layOut(t, c.out))
			o.SkipCheck = true
			if c.change != nil {
				c.change(&o)
			}
			before, err := os.ReadDir(o.Out)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Prepare(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v\nwant one with %q", err, c.want)
			}
			after, err := os.ReadDir(o.Out)
			if err != nil {
				t.Fatal(err)
			}
			if len(before) != len(after) {
				t.Errorf("the output folder had %v, has %v", before, after)
			}
		})
	}
}

// What prepare has copied is a source only for another folder: into its own it would be removed before it is read.
func TestPrepareOntoItself(t *testing.T) {
	o := options(layOut(t, map[string]string{"a/1.jpg": "1", "a/2.jpg": "2", "a/3.jpg": "3"}), t.TempDir())
	o.SkipCheck, o.Tree = true, Copy
	s, err := Prepare(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(o.Out, link); err != nil {
		t.Fatal(err)
	}
	for _, o.Source = range []string{o.Out, filepath.Join(o.Out, "train_data"), filepath.Join(link, "train_data")} {
		if _, err := Prepare(context.Background(), o); err == nil || !strings.Contains(err.Error(), "lies in the output folder") {
			t.Errorf("%s: error %v", o.Source, err)
		}
	}
	for _, r := range slices.Concat(s.Train, s.Val, s.Test) {
		if _, err := os.Stat(filepath.Join(o.Out, r.Image)); err != nil {
			t.Errorf("a copy is gone: %v", err)
		}
	}
}

// A pipe would be waited for.
func TestPreparePipe(t *testing.T) {
	o := options(layOut(t, map[string]string{"a/1.jpg": "1", "a/2.jpg": "2"}), t.TempDir())
	if err := syscall.Mkfifo(filepath.Join(o.Source, "a", "3.jpg"), 0o644); err != nil {
		t.Skip(err)
	}
	if _, err := Prepare(context.Background(), o); err == nil || !strings.Contains(err.Error(), "a/3.jpg: not a file") {
		t.Errorf("error %v", err)
	}
}

// Many bad images make one error of bounded length.
func TestPrepareManyBad(t *testing.T) {
	files := map[string]string{}
	for i := range 200 {
		files[fmt.Sprintf("a/%03d.jpg", i)] = "text"
	}
	_, err := Prepare(context.Background(), options(layOut(t, files), t.TempDir()))
	if err == nil || !strings.Contains(err.Error(), "200 of 200") || !strings.Contains(err.Error(), "and 190 more") || strings.Count(err.Error(), "\n") != 11 {
		t.Errorf("error %v", err)
	}
}

func TestPrepareInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	out := t.TempDir()
	o := options(testdata, out)
	o.Progress = func(done, total int) {
		if done == 5 {
			cancel()
		}
		if done > 50 {
			t.Errorf("image %d of %d is checked after the interruption", done, total)
		}
	}
	if _, err := Prepare(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 {
		t.Errorf("%v is left behind (%v)", entries, err)
	}
}

func FuzzReadList(f *testing.F) {
	f.Add("classes/jpg/adidas/144503924.jpg\nclasses/jpg/HP/1.jpg\n")
	f.Add("HP,144503924.jpg\r\nno-logo,1.jpg\r\n")
	f.Add("..0/0")
	f.Add("../x/1.jpg\n/etc/passwd\na,,\n,\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		file := filepath.Join(dir, "trainset.txt")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		rows, err := readList(file, map[string]string{})
		if err != nil {
			return
		}
		for _, r := range rows {
			rel, err := filepath.Rel(dir, filepath.Join(dir, filepath.FromSlash(r.Image)))
			if err != nil || !filepath.IsLocal(rel) || r.Label == "" || r.Label == "." || r.Label == ".." || strings.Contains(r.Label, "/") {
				t.Errorf("%q gives image %q of class %q", text, r.Image, r.Label)
			}
		}
	})
}
