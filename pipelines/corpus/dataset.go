package corpus

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sync/semaphore"

	"github.com/logobeam/logobeam/model/nearest"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/transforms"
)

// Options says how a listing becomes a dataset. Only Classes and the transforms that are used must be given.
type Options struct {
	Classes []string // of the model, in the order of its outputs; nil takes the labels of the listing, sorted
	// Training and Scoring are the transforms for epochs and for evaluation. Both end in the network's input.
	Training, Scoring transforms.List
	Views             int    // of each image in evaluation, made of Scoring by transforms.Views; 0 is 1
	Seed              uint64 // of random transforms, and of what Share takes
	// Share is how much of each class is taken, 0 to 1, but at least one image; 0 is all. With the same Seed the images of
	// a smaller share are among those of a larger one.
	Share  float64
	Limits transforms.Limits // the zero value is transforms.DefaultLimits()
	Root   string            // folder that relative paths start from; empty for the listing's own
	// ImageColumn and LabelColumn are the listing's columns; empty for "image" and "label".
	ImageColumn, LabelColumn string
}

// Dataset is a listing of labelled images as training and evaluation read it: a train.Dataset. It is safe for concurrent
// use.
type Dataset struct {
	rows   []Row
	labels []int
	opts   Options
	views  []transforms.List
	id     string
}

// Open reads a listing in any form that package listing reads.
//
// It is an error if the listing has no rows, lacks a column (the error lists those it has; that of boxes may be missing),
// has boxes that are none, or a label that is not among the classes (the error gives its line and the class it
// resembles). The images are not looked at.
func Open(file string, o Options) (*Dataset, error) {
	o.ImageColumn, o.LabelColumn = cmp.Or(o.ImageColumn, "image"), cmp.Or(o.LabelColumn, "label")
	rows, lines, err := read(file, o.ImageColumn, o.LabelColumn)
	if err != nil {
		return nil, err
	}
	o.Root = cmp.Or(o.Root, filepath.Dir(file))
	if o.Classes == nil {
		o.Classes = labels(rows)
	}
	if o.Limits == (transforms.Limits{}) {
		o.Limits = transforms.DefaultLimits()
	}
	if !(o.Share >= 0 && o.Share <= 1) {
		return nil, fmt.Errorf("corpus: %s: a share of %v: want 0 to 1", file, o.Share)
	}
	d := &Dataset{rows: rows, labels: make([]int, len(rows)), opts: o}
	if len(o.Scoring) > 0 {
		if d.views, err = transforms.Views(o.Scoring, max(o.Views, 1)); err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
	}
	index := make(map[string]int, len(o.Classes))
	for i, c := range o.Classes {
		index[c] = i
	}
	for i, r := range rows {
		k, ok := index[r.Label]
		if !ok {
			return nil, fmt.Errorf("corpus: %s line %d: class %q is not among the model's %d%s", file, lines[i], r.Label, len(o.Classes), nearest.Hint(r.Label, o.Classes))
		}
		d.labels[i] = k
	}
	if o.Share > 0 && o.Share < 1 {
		d.take(o.Share)
	}
	if d.id, err = d.identify(); err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", file, err)
	}
	return d, nil
}

// Classes lists the labels of a listing with the columns image and label, each once, sorted.
func Classes(file string) ([]string, error) {
	rows, _, err := read(file, "image", "label")
	if err != nil {
		return nil, err
	}
	return labels(rows), nil
}

// read returns the rows of a listing and the line that each begins at.
func read(file, imageColumn, labelColumn string) (rows []Row, lines []int64, err error) {
	columns := []string{imageColumn, labelColumn}
	if has, err := listing.Has(file, BoxesColumn); err != nil {
		return nil, nil, fmt.Errorf("corpus: %w", err)
	} else if has {
		columns = append(columns, BoxesColumn)
	}
	err = listing.EachRow(file, columns, func(line int64, values []string) error {
		r := Row{Image: values[0], Label: values[1]}
		if r.Image == "" || r.Label == "" {
			return fmt.Errorf("%s line %d: %s is %q and %s is %q: want both", file, line, imageColumn, r.Image, labelColumn, r.Label)
		}
		if len(values) > 2 {
			var err error
			if r.Boxes, err = ParseBoxes(values[2]); err != nil {
				return fmt.Errorf("%s line %d: %w", file, line, err)
			}
		}
		rows, lines = append(rows, r), append(lines, line)
		return nil
	})
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("%s holds no rows: want an image and its label in each", file)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("corpus: %w", err)
	}
	return rows, lines, nil
}

// take keeps a share of the images of each class, in the order of the listing. Which they are does not depend on that
// order, nor on where they lie.
func (d *Dataset) take(share float64) {
	of := make([][]int, len(d.opts.Classes))
	for i, k := range d.labels {
		of[k] = append(of[k], i)
	}
	var kept []int
	for k, class := range of {
		slices.SortStableFunc(class, func(a, b int) int { return cmp.Compare(d.rows[a].Key(), d.rows[b].Key()) })
		shuffle(class, d.opts.Seed, d.opts.Classes[k])
		kept = append(kept, class[:min(len(class), max(1, int(math.Round(share*float64(len(class))))))]...)
	}
	slices.Sort(kept)
	rows, labels := make([]Row, len(kept)), make([]int, len(kept))
	for to, from := range kept {
		rows[to], labels[to] = d.rows[from], d.labels[from]
	}
	d.rows, d.labels = rows, labels
}

// Len is the number of images.
func (d *Dataset) Len() int { return len(d.rows) }

// Row is what the listing says of image i.
func (d *Dataset) Row(i int) Row { return d.rows[i] }

// Classes are those of the options, or of the listing. They are not to be changed.
func (d *Dataset) Classes() []string { return d.opts.Classes }

// Label is the class of image i, an index into Classes.
func (d *Dataset) Label(i int) int { return d.labels[i] }

// Load writes image i to image, [H][W][C] as the transforms leave it: those for training, with what is random drawn anew
// each epoch, or for an epoch below 0 those for scoring, of view 0 for -1, view 1 for -2. The error names the image.
func (d *Dataset) Load(i, epoch int, image []float32) error {
	if epoch < 0 {
		return d.View(i, d.views[-1-epoch], image)
	}
	return d.with(i, func(data []byte) error {
		r := d.rows[i]
		return d.opts.Training.Tensor(data, transforms.Key{Seed: d.opts.Seed, Epoch: epoch, Image: r.Key(), Boxes: r.Boxes}, d.opts.Limits, image)
	})
}

// View writes image i to image as a list for scoring leaves it. The error names the image.
func (d *Dataset) View(i int, list transforms.List, image []float32) error {
	return d.with(i, func(data []byte) error {
		return list.Tensor(data, transforms.Key{Seed: d.opts.Seed, Epoch: -1, Image: d.rows[i].Key()}, d.opts.Limits, image)
	})
}

// Picture is image i after a list for scoring, for people to look at. The error names the image.
func (d *Dataset) Picture(i int, list transforms.List) (m *transforms.Image, err error) {
	err = d.with(i, func(data []byte) error {
		m, err = list.Picture(data, transforms.Key{Epoch: -1, Image: d.rows[i].Key()}, d.opts.Limits)
		return err
	})
	return m, err
}

// with reads image i, and has it decoded when there is memory for it.
func (d *Dataset) with(i int, do func(data []byte) error) error {
	data, err := readFile(d.file(i), d.opts.Limits.Bytes)
	if err == nil {
		err = decode(data, d.opts.Limits, func() error { return do(data) })
	}
	if err != nil {
		return fmt.Errorf("corpus: %s: %w", d.rows[i].Image, err)
	}
	return nil
}

// file is where image i lies.
func (d *Dataset) file(i int) string {
	file := filepath.FromSlash(d.rows[i].Image)
	if !filepath.IsAbs(file) {
		file = filepath.Join(d.opts.Root, file)
	}
	return file
}

// Name is the file of image i, as a path that does not depend on the folder one is in: it makes a Dataset a train.Named.
func (d *Dataset) Name(i int) string {
	file := d.file(i)
	if whole, err := filepath.Abs(file); err == nil {
		file = whole
	}
	return filepath.ToSlash(file)
}

// memory is how many bytes decoding may take at one time, in all datasets of the process, however many cores it has.
const memory = 512 << 20

var decoding = semaphore.NewWeighted(memory)

// decode does a decoding when there is memory for it. A picture that takes more than there is for all is decoded alone.
func decode(data []byte, lim transforms.Limits, do func() error) error {
	h, err := transforms.Inspect(data, lim)
	if err != nil {
		return err
	}
	weight := min(max(h.Memory, 1), memory)
	if err := decoding.Acquire(context.Background(), weight); err != nil { // which only ends with the context
		return err
	}
	defer decoding.Release(weight)
	return do()
}

// Key is what random transforms and ID know an image by: label and file name, not where it lies, so that moving the
// images changes nothing: the Image of a transforms.Key.
func (r Row) Key() string { return r.Label + "/" + path.Base(r.Image) }

// ID tells datasets apart that training would see differently: it is a hash of the names, labels and boxes of the images
// in their order, of classes, transforms, limits but that of time, and seed. What the images hold is not part of it.
func (d *Dataset) ID() string { return d.id }

func (d *Dataset) identify() (string, error) {
	o := d.opts
	o.Limits.Time = 0 // it depends on the machine, and an image that takes longer is an error
	how, err := json.Marshal([]any{o.Training, d.views, o.Limits, o.Seed, o.Classes})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	put := func(s string) {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	put(string(how))
	for i, r := range d.rows {
		put(d.rows[i].Key())
		put(r.Label)
		if len(r.Boxes) > 0 { // which no key is like
			put(formatBoxes(r.Boxes))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
