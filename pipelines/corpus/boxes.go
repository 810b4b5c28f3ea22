package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/logobeam/logobeam/pipelines/listing"
)

// BoxesColumn is the column of a listing that says where the logos are, if it has one: for each x1 y1 x2 y2 in pixels of
// the stored file, from the upper left corner up to but without the lower right one, joined by ";". It is empty where
// they are not known.
const BoxesColumn = "boxes"

// ParseBoxes reads what is in the column boxes of one row.
func ParseBoxes(text string) ([]image.Rectangle, error) {
	if text == "" {
		return nil, nil
	}
	var boxes []image.Rectangle
	for group := range strings.SplitSeq(text, ";") {
		var at [4]int
		numbers := strings.Fields(group)
		for i := range min(len(numbers), 4) {
			n, err := strconv.Atoi(numbers[i])
			if err != nil || n < 0 {
				return nil, fmt.Errorf("box %.60q: %.20q is no number of pixels", group, numbers[i])
			}
			at[i] = n
		}
		r := image.Rectangle{Min: image.Pt(at[0], at[1]), Max: image.Pt(at[2], at[3])}
		if len(numbers) != 4 || r.Empty() {
			return nil, fmt.Errorf("box %.60q: want x1 y1 x2 y2, the upper left corner first, and ; between two boxes", group)
		}
		boxes = append(boxes, r)
	}
	return boxes, nil
}

// formatBoxes writes what ParseBoxes reads.
func formatBoxes(boxes []image.Rectangle) string {
	var b []byte
	for i, r := range boxes {
		if i > 0 {
			b = append(b, ';')
		}
		b = fmt.Appendf(b, "%d %d %d %d", r.Min.X, r.Min.Y, r.Max.X, r.Max.Y)
	}
	return string(b)
}

// BoxCounts says what became of the boxes that a file has.
type BoxCounts struct {
	Used, Images int // boxes in the listings, and the images that they are in
	Repeated     int // given before for the same image
	Empty        int // without an area
	Outside      int // beyond the edges of their image, where the images are checked
	Elsewhere    int // of images that are not in the source
}

// String is one line.
func (c BoxCounts) String() string {
	s := fmt.Sprintf("boxes of %d logos in %d images", c.Used, c.Images)
	between := "; left out: "
	for _, left := range []struct {
		n   int
		why string
	}{{c.Repeated, "given twice"}, {c.Empty, "without an area"}, {c.Outside, "outside of their image"}, {c.Elsewhere, "of images that are not here"}} {
		if left.n > 0 {
			s += fmt.Sprintf("%s%d %s", between, left.n, left.why)
			between = ", "
		}
	}
	return s
}

const (
	maxBoxes  = 200         // of an image, so that they fit into a value of a listing
	maxCorner = 100_000_000 // pixels, more than any image has
)

// boxFile are boxes by the images that they are in: class in small letters, slash, and file name.
type boxFile struct {
	boxes  map[string][]image.Rectangle
	counts BoxCounts
}

func boxKey(r Row) string { return strings.ToLower(r.Label) + "/" + path.Base(r.Image) }

// readBoxes reads the annotations of FlickrLogos-27 (.txt), lines of "144503924.jpg Adidas 1 38 12 234 142": file, class,
// subset, x1, y1, x2, y2. Other files are listings with the columns image, label, x1, y1, x2 and y2.
func readBoxes(file string) (*boxFile, error) {
	b := &boxFile{boxes: map[string][]image.Rectangle{}}
	if !strings.EqualFold(filepath.Ext(file), ".txt") {
		err := listing.EachRow(file, []string{"image", "label", "x1", "y1", "x2", "y2"}, func(line int64, v []string) error {
			return b.add(file, line, Row{Image: filepath.ToSlash(v[0]), Label: v[1]}, v[2:])
		})
		if err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		return b, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	for n := int64(1); lines.Scan(); n++ {
		v := strings.Fields(lines.Text())
		if len(v) == 0 {
			continue
		}
		if len(v) != 7 {
			return nil, fmt.Errorf("corpus: %s line %d: %.80q is not FILE CLASS SUBSET X1 Y1 X2 Y2; boxes in another form are read from CSV with the columns image, label, x1, y1, x2 and y2", file, n, lines.Text())
		}
		if err := b.add(file, n, Row{Image: v[0], Label: v[1]}, v[3:]); err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", file, err)
	}
	return b, nil
}

func (b *boxFile) add(file string, line int64, r Row, numbers []string) error {
	var at [4]int
	for i, s := range numbers {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(x) || math.Abs(x) > maxCorner {
			return fmt.Errorf("%s line %d: %.20q is no number of pixels", file, line, s)
		}
		at[i] = max(int(math.Round(x)), 0)
	}
	r.Label = classOf(r.Label)
	key, box := boxKey(r), image.Rectangle{Min: image.Pt(at[0], at[1]), Max: image.Pt(at[2], at[3])}
	switch {
	case box.Empty():
		b.counts.Empty++
		return nil
	case slices.Contains(b.boxes[key], box):
		b.counts.Repeated++
		return nil
	case len(b.boxes[key]) == maxBoxes:
		return fmt.Errorf("%s line %d: more than %d boxes in %s", file, line, maxBoxes, r.Image)
	}
	b.boxes[key] = append(b.boxes[key], box)
	return nil
}

// give puts the boxes to their images. It is an error if there is no image for any.
func (b *boxFile) give(splits *[3][]Row) error {
	given := map[string]bool{}
	for _, rows := range splits {
		for i := range rows {
			if boxes := b.boxes[boxKey(rows[i])]; boxes != nil {
				rows[i].Boxes = slices.Clone(boxes)
				given[boxKey(rows[i])] = true
			}
		}
	}
	for key, boxes := range b.boxes {
		if !given[key] {
			b.counts.Elsewhere += len(boxes)
		}
	}
	if len(given) == 0 {
		return errors.New("none of its boxes is of an image that is here: class and file name have to be those of the source")
	}
	return nil
}

// fit cuts an image's boxes to its size.
func (b *boxFile) fit(r *Row, size image.Point) {
	kept := r.Boxes[:0]
	for _, box := range r.Boxes {
		if box = box.Intersect(image.Rectangle{Max: size}); box.Empty() {
			b.counts.Outside++
		} else if !slices.Contains(kept, box) {
			kept = append(kept, box)
		}
	}
	r.Boxes = kept
}

// count counts what is used.
func (b *boxFile) count(splits [3][]Row) BoxCounts {
	for _, rows := range splits {
		for _, r := range rows {
			if len(r.Boxes) > 0 {
				b.counts.Images++
				b.counts.Used += len(r.Boxes)
			}
		}
	}
	return b.counts
}
