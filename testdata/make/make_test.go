package main

import (
	"bytes"
	"image/jpeg"
	"io/fs"
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
