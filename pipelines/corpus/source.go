package corpus

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/logobeam/logobeam/model"
)

// The lists of a FlickrLogos distribution, without their endings. Those of a set are read one after the other; where
// the first set is not there the second is taken.
var lists = []struct {
	split string
	sets  [2][]string
}{
	{"training", [2][]string{{"trainset"}, nil}},
	{"validation", [2][]string{{"valset-logosonly", "valset-nologos"}, {"valset"}}},
	{"test", [2][]string{{"testset"}, {"testset-logosonly", "testset-nologos"}}},
}

// listPath finds a list by its name: with paths in it, or with a brand and a file's name on each line.
func listPath(source, name string) (file string, ok bool) {
	for _, ending := range []string{".relpaths.txt", ".txt"} {
		file = filepath.Join(source, name+ending)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file, true
		}
	}
	return "", false
}

// isFlickrLogos says that a folder has the list of training images that all distributions have.
func isFlickrLogos(source string) bool {
	_, ok := listPath(source, "trainset")
	return ok
}

// readFlickrLogos reads the three splits as the lists have them. Images are relative to source, with slashes.
func readFlickrLogos(source string) (splits [3][]Row, err error) {
	seen := map[string]string{}
	for i, l := range lists {
		var files []string
		for _, set := range l.sets {
			for _, name := range set {
				if file, ok := listPath(source, name); ok {
					files = append(files, file)
				}
			}
			if len(files) > 0 {
				break
			}
		}
		if len(files) == 0 {
			return splits, fmt.Errorf("corpus: %s has a list of training images but none of %s images: want %s.relpaths.txt or .txt beside it",
				source, l.split, strings.Join(l.sets[0], " and "))
		}
		for _, file := range files {
			rows, err := readList(file, seen)
			if err != nil {
				return splits, err
			}
			splits[i] = append(splits[i], rows...)
		}
	}
	return splits, nil
}

// readList reads lines of "classes/jpg/adidas/144503924.jpg" or "adidas,144503924.jpg". seen tells where an image was
// listed before: one image in two places would be learnt and then tested on, or counted twice.
func readList(file string, seen map[string]string) ([]Row, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	var rows []Row
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		where := fmt.Sprintf("line %d of %s", n, filepath.Base(file))
		image := line
		if brand, name, ok := strings.Cut(line, ","); ok && !strings.Contains(line, "/") {
			brand, name = strings.TrimSpace(brand), strings.TrimSpace(name)
			if image = "classes/jpg/" + brand + "/" + name; image != path.Clean(image) || brand == "" || brand == "." {
				return nil, fmt.Errorf("corpus: %s names no class: %q is not BRAND,FILE", where, line)
			}
		}
		image = path.Clean(image)
		if !filepath.IsLocal(filepath.FromSlash(image)) {
			return nil, fmt.Errorf("corpus: %s leads out of the folder: %s", where, line)
		}
		folder := path.Base(path.Dir(image))
		if folder == "." {
			return nil, fmt.Errorf("corpus: %s names no class: %q is neither FOLDER/BRAND/FILE nor BRAND,FILE", where, line)
		}
		if before, dup := seen[image]; dup {
			return nil, fmt.Errorf("corpus: %s lists %s again, after %s: an image may be in one list, once", where, image, before)
		}
		seen[image] = where
		rows = append(rows, Row{Image: image, Label: classOf(folder)})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", file, err)
	}
	return rows, nil
}

// moveNoLogo moves a share of the validation images without a logo to training, which in FlickrLogos has none.
func moveNoLogo(splits *[3][]Row, share float64, seed uint64) (moved int) {
	var none []Row
	for _, r := range splits[1] {
		if r.Label == model.NoLogo {
			none = append(none, r)
		}
	}
	sortRows(none)
	shuffle(none, seed, model.NoLogo)
	moved = int(math.Round(share * float64(len(none))))
	take := map[string]bool{}
	for _, r := range none[:moved] {
		take[r.Image] = true
	}
	splits[1] = slices.DeleteFunc(splits[1], func(r Row) bool { return r.Label == model.NoLogo && take[r.Image] })
	splits[0] = append(splits[0], none[:moved]...)
	return moved
}

// endings are those of files that a tree of class folders is searched for. What they hold is looked at later.
var endings = []string{".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}

// findImages finds images in a folder and those below it, relative to it, with slashes. Hidden files and folders, files of
// other kinds, and the folder skip are passed over.
func findImages(folder, skip string) (images []string, err error) {
	// With a separator at its end a folder that is a link is followed.
	err = filepath.WalkDir(folder+string(filepath.Separator), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, p)
		if err != nil {
			return err
		}
		switch {
		case rel == ".":
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || p == skip):
			return fs.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), ".") || !slices.Contains(endings, strings.ToLower(filepath.Ext(p))):
		default:
			images = append(images, filepath.ToSlash(rel))
		}
		return nil
	})
	return images, err
}

// readFolders finds images in a tree of folders, but for the folder skip: an image's class is the folder that it lies in.
func readFolders(source, skip string) ([]Row, error) {
	images, err := findImages(source, skip)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("corpus: no images in %s: want a folder for each class with images in it, or FlickrLogos' lists (trainset.relpaths.txt and so on)", source)
	}
	rows := make([]Row, len(images))
	for i, image := range images {
		folder := path.Base(path.Dir(image))
		if folder == "." {
			return nil, fmt.Errorf("corpus: %s lies in %s itself, in no folder of a class: move it into one, %s for no brand", image, source, model.NoLogo)
		}
		rows[i] = Row{Image: image, Label: classOf(folder)}
	}
	sortRows(rows)
	return rows, nil
}

// deal splits the images of each class by shares, so that every split has its part of every class. What a class has is
// rounded, but each split with a share gets at least one where there are enough images, training first.
func deal(rows []Row, shares [3]float64, seed uint64) (splits [3][]Row) {
	sum := shares[0] + shares[1] + shares[2]
	for len(rows) > 0 { // sorted by class
		n := 1
		for n < len(rows) && rows[n].Label == rows[0].Label {
			n++
		}
		class := slices.Clone(rows[:n])
		rows = rows[n:]
		shuffle(class, seed, class[0].Label)
		var part [3]int
		for i := 2; i > 0; i-- {
			part[i] = int(math.Round(float64(n) * shares[i] / sum))
			if part[i] == 0 && shares[i] > 0 && n > i {
				part[i] = 1
			}
		}
		part[0] = n - part[1] - part[2]
		for part[0] < 1 && shares[0] > 0 { // rounding must not leave nothing to learn from
			from := 2
			if part[1] > part[2] {
				from = 1
			}
			part[from]--
			part[0]++
		}
		for i, k := range part {
			splits[i] = append(splits[i], class[:k]...)
			class = class[k:]
		}
	}
	return splits
}

// shuffle is Fisher and Yates', written out so that no release of Go changes what a seed draws. name keeps classes from
// depending on each other.
func shuffle[T any](rows []T, seed uint64, name string) {
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	for i := len(rows) - 1; i > 0; i-- {
		k := int(rng.Uint64() % uint64(i+1)) // the bias of the remainder is below 2^-40
		rows[i], rows[k] = rows[k], rows[i]
	}
}
