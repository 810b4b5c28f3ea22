package corpus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/logobeam/logobeam/transforms"
)

func photograph(t *testing.T, file string) *transforms.Image {
	t.Helper()
	m, err := transforms.Decode([]byte(contents(t, file)), transforms.DefaultLimits())
	if err != nil {
		t.Fatal(file, err)
	}
	return m
}

func encoded(t *testing.T, m *transforms.Image, quality int) string {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func cut(m *transforms.Image, left, top, right, bottom int) *transforms.Image {
	out := transforms.NewImage(m.W-left-right, m.H-top-bottom)
	for y := range out.H {
		copy(out.Pix[3*y*out.W:3*(y+1)*out.W], m.Pix[3*((y+top)*m.W+left):])
	}
	return out
}

// What happens to a photograph on its way leaves it near, and no other photograph of its brand is.
func TestFingerprint(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(testdata, "classes/jpg/*/*.jpg"))
	if err != nil || len(files) < 200 {
		t.Fatal(len(files), err)
	}
	hash := func(m *transforms.Image) fingerprint {
		f, err := fingerprintOf(m)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	var hashes []fingerprint
	for i, file := range files {
		m := photograph(t, file)
		f := hash(m)
		for k, other := range hashes {
			if d := f.distance(other); d <= nearBits {
				t.Errorf("%s and %s are %d bits apart", files[k], file, d)
			}
		}
		hashes = append(hashes, f)
		if i%10 != 0 {
			continue
		}
		half, err := transforms.List{transforms.Resize{Width: m.W / 2, Height: m.H / 2}}.Apply(m, transforms.Key{Epoch: -1})
		if err != nil {
			t.Fatal(err)
		}
		bright := transforms.NewImage(m.W, m.H)
		for i, v := range m.Pix {
			bright.Pix[i] = uint8(min(int(v)*6/5, 255))
		}
		turned := transforms.NewImage(m.H, m.W) // by a quarter, with an orientation that says so
		turned.Orientation = 6
		for y := range m.H {
			for x := range m.W {
				copy(turned.Pix[3*((m.W-1-x)*m.H+y):][:3], m.Pix[3*(y*m.W+x):])
			}
		}
		w, h := (m.W+50)/100, (m.H+50)/100
		for why, c := range map[string]struct {
			m     *transforms.Image
			bound int
		}{
			"the same":                    {m, 0},
			"turned":                      {turned, 4},
			"in half the size":            {half, 8},
			"brighter":                    {bright, nearBits},
			"without 1 % at each edge":    {cut(m, w, h, w, h), nearBits},
			"without 2 % at one":          {cut(m, 0, 0, 2*w, 0), nearBits},
			"saved once more, at quality": {nil, 24},
		} {
			if c.m == nil {
				var err error
				if c.m, err = transforms.Decode([]byte(encoded(t, m, 30)), transforms.DefaultLimits()); err != nil {
					t.Fatal(err)
				}
			}
			if d := f.distance(hash(c.m)); d > c.bound {
				t.Errorf("%s, %s: %d bits", file, why, d)
			}
		}
	}
	// A kind of processor that gives others is found out.
	const want = "[1061c62619218f5a 7838d8ce7a3b58c8 27fff800d800ca38 27ffc73b877f39ce]"
	if got := fmt.Sprintf("%016x", hash(photograph(t, "../../transforms/testdata/scene.png"))); got != want {
		t.Errorf("the fingerprint of scene.png is %s, want %s", got, want)
	}
	if f := hash(transforms.NewImage(1, 1)); f != (fingerprint{}) {
		t.Errorf("a picture of one colour: %x", f)
	}
}

func TestClosest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := fingerprint{1, 2, 3, 4}
		draw := func(name string) (fs []fingerprint) { // few bits apart, so that some are near
			for _, flips := range rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 255), 0, 60), 0, 9).Draw(t, name) {
				f := base
				for _, b := range flips {
					f[b/64] ^= 1 << (b % 64)
				}
				fs = append(fs, f)
			}
			return fs
		}
		a, b := draw("a"), draw("b")
		which, distance := closest(context.Background(), a, b, rapid.IntRange(1, 3).Draw(t, "workers"))
		for i, f := range a {
			want, best := -1, nearBits+1
			for k, g := range b {
				if d := f.distance(g); d < best && (fingerprint{f[0]}).distance(fingerprint{g[0]}) <= lowBits {
					want, best = k, d
				}
			}
			if which[i] != want || distance[i] != best {
				t.Errorf("%x: %d at %d bits, want %d at %d", f, which[i], distance[i], want, best)
			}
		}
	})
}

// withCopies is a source of lists in which photographs of training and validation come again, saved anew.
func withCopies(t *testing.T) map[string]string {
	adidas, err := filepath.Glob(filepath.Join(testdata, "classes/jpg/adidas/*.jpg"))
	if err != nil || len(adidas) < 5 {
		t.Fatal(adidas, err)
	}
	var m []*transforms.Image
	for _, file := range adidas {
		m = append(m, photograph(t, file))
	}
	return map[string]string{
		"c/a/1.jpg": encoded(t, m[0], 90), "c/a/2.jpg": encoded(t, m[1], 90), "c/a/3.jpg": encoded(t, m[2], 90),
		"c/b/1.jpg": encoded(t, m[0], 50), "c/b/4.jpg": encoded(t, m[3], 90), // one in another class
		"c/a/9.jpg": encoded(t, m[1], 90), "c/a/8.jpg": encoded(t, cut(m[1], 2, 2, 2, 2), 60),
		"trainset.relpaths.txt":         "c/a/1.jpg\nc/a/2.jpg\nc/a/3.jpg\n",
		"valset-logosonly.relpaths.txt": "c/b/1.jpg\nc/b/4.jpg\nc/a/8.jpg\n",
		"testset.relpaths.txt":          "c/a/9.jpg\n",
	}
}

func TestPrepareNearDuplicates(t *testing.T) {
	source := layOut(t, withCopies(t))
	out := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		mode    string
		workers int
		listed  [3]int
		dropped [2]int
		found   []string
	}{
		{Warn, 1, [3]int{3, 3, 1}, [2]int{}, []string{"c/a/1.jpg,training,a,c/b/1.jpg,validation,b", "c/a/2.jpg,training,a,c/a/8.jpg,validation,a", "c/a/2.jpg,training,a,c/a/9.jpg,test,a,0", "c/a/8.jpg,validation,a,c/a/9.jpg,test,a"}},
		{Drop, 3, [3]int{1, 2, 1}, [2]int{2, 1}, []string{"c/a/1.jpg,training,a,c/b/1.jpg,validation,b", "c/a/2.jpg,training,a,c/a/8.jpg,validation,a", "c/a/2.jpg,training,a,c/a/9.jpg,test,a,0", "c/a/8.jpg,validation,a,c/a/9.jpg,test,a"}},
		{Ignore, 1, [3]int{3, 3, 1}, [2]int{}, nil}, // and what was listed before is gone
	} {
		o := options(source, out)
		o.NearDuplicates, o.Workers = c.mode, c.workers
		s, err := Prepare(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := [3]int{len(s.Train), len(s.Val), len(s.Test)}; got != c.listed || s.Dropped != c.dropped || len(s.NearDuplicates) != len(c.found) {
			t.Errorf("%s: %v images, %v dropped, %d found; want %v, %v, %d", c.mode, got, s.Dropped, len(s.NearDuplicates), c.listed, c.dropped, len(c.found))
		}
		if n := strings.Count(contents(t, out, "train.csv"), "\n"); n != c.listed[0]+1 {
			t.Errorf("%s: train.csv has %d lines", c.mode, n)
		}
		file := filepath.Join(out, NearDuplicatesCSV)
		if len(c.found) == 0 {
			if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %s is there: %v", c.mode, file, err)
			}
			continue
		}
		lines := strings.Split(strings.ReplaceAll(contents(t, file), filepath.ToSlash(source)+"/", ""), "\n")
		if lines[0] != "image,split,label,other,other_split,other_label,distance" || len(lines) != len(c.found)+2 {
			t.Fatalf("%s: %q", c.mode, lines)
		}
		for i, want := range c.found {
			if !strings.HasPrefix(lines[i+1], want) {
				t.Errorf("%s: line %q, want %s", c.mode, lines[i+1], want)
			}
		}
		if got, want := s.NearDuplicates[2].String(), "a/2.jpg (training) and a/9.jpg (test), 0 bits apart"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPrepareDropsNothingNeeded(t *testing.T) {
	for _, c := range []struct {
		why    string
		change func(files map[string]string)
		want   string
	}{
		{"a class of training", func(f map[string]string) {
			f["trainset.relpaths.txt"] = "c/a/3.jpg\nc/b/1.jpg\n"
			f["valset-logosonly.relpaths.txt"] = "c/a/1.jpg\n"
		},
			`all training images of class "b" are nearly the same`},
		{"all of validation", func(f map[string]string) { f["valset-logosonly.relpaths.txt"] = "c/a/8.jpg\n" }, "all images for validation are nearly the same"},
		{"all of training", func(f map[string]string) { f["trainset.relpaths.txt"] = "c/a/2.jpg\n" }, "all images for training are nearly the same"},
	} {
		files := withCopies(t)
		c.change(files)
		o := options(layOut(t, files), t.TempDir())
		o.NearDuplicates = Drop
		if _, err := Prepare(context.Background(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.why, err, c.want)
		}
		if entries, err := os.ReadDir(o.Out); err != nil || len(entries) > 0 {
			t.Errorf("%v is left behind (%v)", entries, err)
		}
	}
}

// The splits of 100,000 images that are dealt out in the usual shares.
func BenchmarkClosest(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	hashes := make([]fingerprint, 100_000)
	for i := range hashes {
		hashes[i] = fingerprint{rng.Uint64() >> 1, rng.Uint64(), rng.Uint64(), rng.Uint64()}
	}
	var splits [3][]Row
	for i, n := range []int{70_000, 15_000, 15_000} {
		splits[i] = slices.Repeat([]Row{{Image: "1.jpg", Label: "a"}}, n)
	}
	for b.Loop() {
		nearDuplicates(b.Context(), splits, hashes, 1)
	}
}
