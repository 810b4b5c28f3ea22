package main

import (
	"bytes"
	"image/jpeg"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logobeam/logobeam/transforms"
)

// What lies in the repository is what this program makes. Files of oddities.py are not made here.
func TestSameBytes(t *testing.T) {
	out := t.TempDir()
	if err := run(out, "../marks", "../backgrounds", 1); err != nil {
		t.Fatal(err)
	}
	made := 0
	err := filepath.WalkDir(out, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(out, p)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(filepath.Join("..", rel))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what is in the repository", rel)
		}
		made++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if made < 250 {
		t.Errorf("%d files; want the photographs, lists and oddities", made)
	}
}

func TestParsePath(t *testing.T) {
	for _, c := range []struct {
		why, d         string
		contours       int
		x0, y0, x1, y1 float64 // what it spans
	}{
		{"lines", "M1 2L5 2L5 7Z", 1, 1, 2, 5, 7},
		{"relative, numbers run together", "m1 2l4-0l0 5.5.5-.5z", 1, 1, 2, 5.5, 7.5},
		{"further pairs of a move are lines", "M0 0 4 0 4 3z m1 1 2 0 0 1z", 2, 0, 0, 4, 3},
		{"across and down", "M1 1H9V4h-8z", 1, 1, 1, 9, 4},
		{"exponents", "M1e1,2E+0L20e-1 3z", 1, 2, 2, 10, 3},
		{"a cubic reaches three quarters of its handles", "M0 0C0 4 4 4 4 0z", 1, 0, 0, 4, 3},
		{"a smooth one mirrors the handle", "M0 0C0 4 4 4 4 0S8-4 8 0", 1, 0, -3, 8, 3},
		{"a quadratic reaches half", "M0 0Q2 4 4 0T8 0", 1, 0, -2, 8, 2},
		{"two half circles, flags run together", "M-3 0a3 3 0 013 3a3 3 0 0 1 3-3A3 3 0 01-3 0", 1, -3, 0, 3, 3},
		{"the long way round", "M1 0A1 1 0 1 1 0-1", 1, -1, -1, 1, 1},
		{"too small a radius grows", "M0 0A1 1 0 0 1 10 0z", 1, 0, -5, 10, 0},
		{"after a close it goes on from the start", "M1 1h2v2zl-1 1h1z", 2, 0, 1, 3, 3},
	} {
		o, err := parsePath(c.d)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		lo, hi := bounds(o)
		near := func(a, b float64) bool { return math.Abs(a-b) < 0.02 }
		if len(o) != c.contours || !near(lo.x, c.x0) || !near(lo.y, c.y0) || !near(hi.x, c.x1) || !near(hi.y, c.y1) {
			t.Errorf("%s: %d contours from %.2f to %.2f; want %d from (%v, %v) to (%v, %v)", c.why, len(o), lo, hi, c.contours, c.x0, c.y0, c.x1, c.y1)
		}
	}
	for _, d := range []string{"", "1 2", "M1", "M1 x", "M1 1B3 3", "M1 1Z 3 3"} {
		if o, err := parsePath(d); err == nil {
			t.Errorf("%q: %v, want an error", d, o)
		}
	}
}

// The file that claims 30000 by 30000 pixels is sound in its header, or no decoder would come to believe it.
func TestHuge(t *testing.T) {
	data, err := huge(nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil || c.Width != 30000 || c.Height != 30000 || len(data) != 378 {
		t.Errorf("%d bytes of %d x %d pixels: %v", len(data), c.Width, c.Height, err)
	}
}

func TestListsAreDisjoint(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"trainset", "valset-logosonly", "valset-nologos", "testset"} {
		data, err := os.ReadFile("../" + name + ".relpaths.txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Fields(string(data)) {
			if seen[line] != "" {
				t.Errorf("%s is in %s and %s", line, seen[line], name)
			}
			seen[line] = name
		}
	}
	posts, err := os.ReadFile("../posts.csv")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(posts, []byte("\n")) - 1; n != len(seen) {
		t.Errorf("%d posts, %d photographs", n, len(seen))
	}
}

// Headers give bombs away, but for the one that decodes like what it pretends to be.
func TestBombs(t *testing.T) {
	out := t.TempDir()
	if err := writeBombs(out, "../classes/jpg/dhl", 20); err != nil {
		t.Fatal(err)
	}
	for _, b := range bombs {
		data, err := os.ReadFile(filepath.Join(out, b.file))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transforms.Inspect(data, transforms.DefaultLimits()); (err == nil) != (b.file == "profile.png") {
			t.Errorf("%s: %v", b.file, err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(out, "limit.png")); err != nil {
		t.Error(err)
	} else if _, err := transforms.Inspect(data, transforms.DefaultLimits()); err != nil {
		t.Error(err)
	}
	listing, err := os.ReadFile(filepath.Join(out, "bombs.csv"))
	if err != nil || !strings.Contains(string(listing), "post-00009,huge.jpg\n") || strings.Count(string(listing), "\n") != 21 {
		t.Errorf("bombs.csv: %v\n%s", err, listing)
	}
}
