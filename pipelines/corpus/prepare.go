package corpus

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/transforms"
)

// The kinds of PrepareOptions.Tree.
const (
	NoTree = ""
	Link   = "link" // symbolic links to the images; the listings name the images themselves
	Copy   = "copy" // copies, which the listings name, so that the folder can be moved elsewhere
)

// PrepareOptions says what to prepare and how. Begin with DefaultPrepareOptions.
type PrepareOptions struct {
	Source string // FlickrLogos distribution or tree of class folders
	Out    string // folder for the listings: new, empty, or made by Prepare before
	Seed   uint64
	// NoLogoToTrain is the share of a FlickrLogos distribution's validation images without a logo that goes to
	// training, 0 to 1.
	NoLogoToTrain float64
	// Val and Test are the shares of each class of a tree of class folders; what is left is for training. A share of 0
	// makes no listing.
	Val, Test float64
	// SkipCheck leaves the images unread: neither that they are there nor that they can be decoded is checked, and
	// near-duplicates are not looked for.
	SkipCheck bool
	Limits    transforms.Limits // for that check
	Workers   int               // of that check; 0 is GOMAXPROCS
	// NearDuplicates is what to do about images that are nearly the same in two splits, as the same photograph saved again,
	// in another size or a little cut or brightened: Warn, Drop or Ignore.
	NearDuplicates string
	// Tree says whether the images are laid out in folders as well, train_data/CLASS/, val_data/CLASS/ and
	// test_data/CLASS/: NoTree, Link or Copy.
	Tree string
	// Progress, if there is one, is called as images are checked and then as composites are made, by several goroutines.
	Progress func(done, total int)
	// Boxes, if it is given, is a file that says where logos are: the annotations of FlickrLogos-27 (.txt), lines of file,
	// class, subset, x1, y1, x2 and y2 with spaces between them, or a listing (.csv and so on) with the columns image,
	// label, x1, y1, x2 and y2. Corners are in pixels of the stored file. Images are known by class, in any case of letters,
	// and file name. The listings get the column boxes.
	Boxes      string
	Composites Composites // to be added to training
}

// DefaultPrepareOptions is half of the validation images without a logo to training, 70 to 15 to 15 of class folders, and
// every image checked, near-duplicates only named.
func DefaultPrepareOptions() PrepareOptions {
	return PrepareOptions{Seed: 1, NoLogoToTrain: 0.5, Val: 0.15, Test: 0.15, Limits: transforms.DefaultLimits(), NearDuplicates: Warn}
}

// Splits is what Prepare made. Images are as in the listings.
type Splits struct {
	Train, Val, Test []Row
	Classes          []string // of all of them, sorted
	// FlickrLogos says that the source was recognised by its lists; Moved is how many images without a logo went from
	// validation to training.
	FlickrLogos bool
	Moved       int
	Boxes       *BoxCounts       // nil without PrepareOptions.Boxes
	Composites  *CompositeCounts // nil without PrepareOptions.Composites
	// NearDuplicates are images that are nearly the same in two splits, sorted by the image's split, class and name; Dropped
	// says how many of training and of validation were left out for that.
	NearDuplicates []NearDuplicate
	Dropped        [2]int
}

// String tells how many images are where, in a few lines.
func (s Splits) String() string {
	var b strings.Builder
	kind := "class folders"
	if s.FlickrLogos {
		kind = fmt.Sprintf("FlickrLogos, with %d validation images without a logo moved to training", s.Moved)
	}
	fmt.Fprintf(&b, "%s: %d classes\n\n%-12s%8s%8s%10s\n", kind, len(s.Classes), "", "images", "logos", model.NoLogo)
	for i, rows := range [][]Row{s.Train, s.Val, s.Test} {
		none := 0
		for _, r := range rows {
			if r.Label == model.NoLogo {
				none++
			}
		}
		fmt.Fprintf(&b, "%-12s%8d%8d%10d\n", splitNames[i], len(rows), len(rows)-none, none)
	}
	if s.Boxes != nil {
		fmt.Fprintf(&b, "\n%s\n", s.Boxes)
	}
	if s.Composites != nil {
		fmt.Fprintf(&b, "\n%s\n", s.Composites)
	}
	return b.String()
}

// The files that Prepare writes to its output.
const (
	trainCSV = "train.csv"
	valCSV   = "val.csv"
	testCSV  = "test.csv"
	record   = "prepared.json" // how the listings were made; says that the folder is ours
)

var (
	listingNames = [3]string{trainCSV, valCSV, testCSV}
	treeNames    = [3]string{"train_data", "val_data", "test_data"}
	splitNames   = [3]string{"training", "validation", "test"}
)

// Prepare splits labelled images into training, validation and test, and writes a listing of each, sorted by class and
// image: train.csv, val.csv and test.csv with the columns image and label. Images below the output folder are named
// relative to it, others by their absolute path. A split whose share is 0 has no listing. The same source and options give
// the same listings. Boxes are cut to their images' sizes as these are checked. What is nearly the same in two splits is
// listed in near-duplicates.csv, with the columns image, split, label, other, other_split, other_label and distance. Composites
// are written to the folder composites of the output, not to its tree, and stand in train.csv alone; with them the
// listings have the column boxes, too.
//
// Nothing is written if anything is wrong: a source that is neither a FlickrLogos distribution nor a tree of class
// folders, a list that is missing or leads out of the source, images that are not there or do not decode (the error names
// the first of them), boxes that cannot be read or are of none of the images, marks that cannot be read, near-duplicates
// without which a class could not be learnt, an output folder with other content, or one that the source lies in.
func Prepare(ctx context.Context, o PrepareOptions) (Splits, error) {
	if err := o.validate(); err != nil {
		return Splits{}, err
	}
	source, err := filepath.Abs(o.Source)
	if err != nil {
		return Splits{}, fmt.Errorf("corpus: %w", err)
	}
	out, err := filepath.Abs(o.Out)
	if err != nil {
		return Splits{}, fmt.Errorf("corpus: %w", err)
	}
	if info, err := os.Stat(source); err != nil {
		return Splits{}, fmt.Errorf("corpus: no source: %w", err)
	} else if !info.IsDir() {
		return Splits{}, fmt.Errorf("corpus: %s is a file: want a folder with a folder for each class, or a FlickrLogos distribution", o.Source)
	}
	if err := checkOutput(out); err != nil {
		return Splits{}, err
	}
	if inside(source, out) {
		return Splits{}, fmt.Errorf("corpus: %s lies in the output folder %s, where prepare replaces what it made before: name another folder", o.Source, o.Out)
	}

	s := Splits{FlickrLogos: isFlickrLogos(source)}
	shares := [3]float64{1 - o.Val - o.Test, o.Val, o.Test}
	var splits [3][]Row
	if s.FlickrLogos {
		if splits, err = readFlickrLogos(source); err != nil {
			return Splits{}, err
		}
		s.Moved = moveNoLogo(&splits, o.NoLogoToTrain, o.Seed)
	} else {
		rows, err := readFolders(source, out)
		if err != nil {
			return Splits{}, err
		}
		splits = deal(rows, shares, o.Seed)
	}
	for i, rows := range splits {
		if len(rows) == 0 && (s.FlickrLogos || shares[i] > 0) {
			return Splits{}, fmt.Errorf("corpus: %s: no images for %s", o.Source, splitNames[i])
		}
		sortRows(rows)
	}
	var boxes *boxFile
	if o.Boxes != "" {
		if boxes, err = readBoxes(o.Boxes); err != nil {
			return Splits{}, err
		}
		if err := boxes.give(&splits); err != nil {
			return Splits{}, fmt.Errorf("corpus: %s: %w", o.Boxes, err)
		}
	}
	if !o.SkipCheck {
		seen, err := check(ctx, source, slices.Concat(splits[0], splits[1], splits[2]), o)
		if err != nil {
			return Splits{}, err
		}
		if boxes != nil {
			sizes := seen.sizes
			for _, rows := range splits {
				for i := range rows {
					boxes.fit(&rows[i], sizes[i])
				}
				sizes = sizes[len(rows):]
			}
		}
		if o.NearDuplicates != Ignore {
			var named [3][]Row
			for i, rows := range splits {
				named[i] = located(source, out, rows)
			}
			found, drop := nearDuplicates(ctx, named, seen.hashes, o.workers())
			if err := ctx.Err(); err != nil {
				return Splits{}, fmt.Errorf("corpus: comparing images: %w", err)
			}
			s.NearDuplicates = found
			if o.NearDuplicates == Drop {
				if err := without(&splits, drop); err != nil {
					return Splits{}, err
				}
				s.Dropped = [2]int{len(drop[0]), len(drop[1])}
			}
		}
	}
	if boxes != nil {
		counts := boxes.count(splits)
		s.Boxes = &counts
	}
	var composites *compositor
	if o.Composites.N > 0 {
		if composites, err = newCompositor(ctx, source, out, splits, o); err != nil {
			return Splits{}, err
		}
		s.Composites = &composites.counts
	}
	if err := write(ctx, source, out, &splits, s, composites, o); err != nil {
		return Splits{}, err
	}
	s.Train, s.Val, s.Test = splits[0], splits[1], splits[2]
	s.Classes = labels(s.Train, s.Val, s.Test)
	return s, nil
}

func (o PrepareOptions) validate() error {
	if o.Source == "" || o.Out == "" {
		return errors.New("corpus: want a source and an output folder")
	}
	if !(o.NoLogoToTrain >= 0 && o.NoLogoToTrain <= 1) {
		return fmt.Errorf("corpus: the share of images without a logo is %v: want 0 to 1", o.NoLogoToTrain)
	}
	if !(o.Val >= 0 && o.Test >= 0 && o.Val+o.Test < 1) {
		return fmt.Errorf("corpus: shares of %v for validation and %v for test: want 0 or more each, and less than 1 together", o.Val, o.Test)
	}
	if err := o.Composites.validate(); err != nil {
		return err
	}
	switch o.NearDuplicates {
	case Warn, Ignore:
	case Drop:
		if o.SkipCheck {
			return errors.New("corpus: near-duplicates are found as images are checked: without the check none can be dropped")
		}
	default:
		return fmt.Errorf("corpus: near-duplicates %q: want %s, %s or %s", o.NearDuplicates, Warn, Drop, Ignore)
	}
	switch o.Tree {
	case NoTree, Link, Copy:
		return nil
	}
	return fmt.Errorf("corpus: tree %q: want %s or %s", o.Tree, Link, Copy)
}

func (o PrepareOptions) workers() int {
	if o.Workers < 1 {
		return runtime.GOMAXPROCS(0)
	}
	return o.Workers
}

// inside says that a folder is another, or lies below it, links followed.
func inside(folder, other string) bool {
	for _, p := range []*string{&folder, &other} {
		if real, err := filepath.EvalSymlinks(*p); err == nil {
			*p = real
		}
	}
	rel, err := filepath.Rel(other, folder)
	return err == nil && filepath.IsLocal(rel)
}

// checkOutput refuses a folder that holds anything that Prepare does not replace.
func checkOutput(out string) error {
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	var r struct {
		MadeBy string `json:"made_by"`
	}
	if data, err := os.ReadFile(filepath.Join(out, record)); err != nil || json.Unmarshal(data, &r) != nil || r.MadeBy != madeBy {
		return fmt.Errorf("corpus: %s holds %s and was not made by prepare: name a new or an empty folder", out, entries[0].Name())
	}
	known := slices.Concat(listingNames[:], treeNames[:], []string{record, compositesFolder, NearDuplicatesCSV})
	for _, e := range entries {
		if !slices.Contains(known, e.Name()) {
			return fmt.Errorf("corpus: %s holds %s, which is not of prepare's making: move it away, or name a new folder", out, e.Name())
		}
	}
	return nil
}

const madeBy = "logobeam prepare"

// looks are what check saw of each image.
type looks struct {
	sizes  []image.Point // as stored
	hashes []fingerprint // unless near-duplicates are ignored
}

// check reads and decodes every image.
func check(ctx context.Context, source string, rows []Row, o PrepareOptions) (looks, error) {
	const named = 10
	var (
		next, done atomic.Int64
		bad        = make([]error, len(rows))
		seen       = looks{make([]image.Point, len(rows)), make([]fingerprint, len(rows))}
		wait       sync.WaitGroup
	)
	for range o.workers() {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(rows)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				data, err := readFile(filepath.Join(source, filepath.FromSlash(rows[i].Image)), o.Limits.Bytes)
				if err == nil {
					err = decode(data, o.Limits, func() error {
						m, err := transforms.Decode(data, o.Limits)
						if err != nil {
							return err
						}
						seen.sizes[i] = m.Bounds().Size()
						if o.NearDuplicates != Ignore {
							seen.hashes[i], err = fingerprintOf(m)
						}
						return err
					})
				}
				bad[i] = err
				if n := int(done.Add(1)); o.Progress != nil {
					o.Progress(n, len(rows))
				}
			}
		})
	}
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return looks{}, fmt.Errorf("corpus: checking images: %w", err)
	}
	var b strings.Builder
	count := 0
	for i, err := range bad {
		if err == nil {
			continue
		}
		if count++; count <= named {
			fmt.Fprintf(&b, "\n  %s: %v", rows[i].Image, err)
		}
	}
	if count == 0 {
		return seen, nil
	}
	if count > named {
		fmt.Fprintf(&b, "\n  and %d more", count-named)
	}
	return looks{}, fmt.Errorf("corpus: %d of %d images cannot be used; mend or remove them:%s", count, len(rows), b.String())
}

// readFile reads a file of at most limit bytes; 0 is no limit. Its errors do not repeat the path.
func readFile(file string, limit int64) ([]byte, error) {
	info, err := os.Stat(file) // before it is opened: that would wait for a pipe's writer for ever
	switch {
	case err != nil:
		return nil, plain(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("not a file")
	case limit > 0 && info.Size() > limit:
		return nil, &transforms.Error{Reason: transforms.ReasonTooManyBytes, Detail: fmt.Sprintf("%d bytes, the limit is %d", info.Size(), limit)}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("reading it: %w", plain(err))
	}
	return data, nil
}

// plain takes operation and path off an error.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// write makes the output: the record first, so that what an interrupted run leaves can be recognised, and the listings
// last. It replaces the images of splits by what the listings name.
func write(ctx context.Context, source, out string, splits *[3][]Row, s Splits, composites *compositor, o PrepareOptions) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	for i := range splits {
		if err := os.Remove(filepath.Join(out, listingNames[i])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("corpus: %w", err)
		}
		if err := os.RemoveAll(filepath.Join(out, treeNames[i])); err != nil {
			return fmt.Errorf("corpus: %w", err)
		}
	}
	if err := os.RemoveAll(filepath.Join(out, compositesFolder)); err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	if err := os.Remove(filepath.Join(out, NearDuplicatesCSV)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("corpus: %w", err)
	}
	kind := "class folders"
	if s.FlickrLogos {
		kind = "flickrlogos"
	}
	note, err := json.MarshalIndent(map[string]any{
		"composites": o.Composites.N, "marks": o.Composites.Marks, "backgrounds": o.Composites.Backgrounds,
		"made_by": madeBy, "source": source, "kind": kind, "seed": o.Seed, "no_logo_share": o.NoLogoToTrain, "val_share": o.Val, "test_share": o.Test,
		"checked": !o.SkipCheck, "boxes": o.Boxes, "near_duplicates": o.NearDuplicates, "train": len(splits[0]), "val": len(splits[1]), "test": len(splits[2]),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	if err := replace(filepath.Join(out, record), append(note, '\n')); err != nil {
		return err
	}

	for i, rows := range splits {
		var named []Row
		switch o.Tree {
		case NoTree:
			named = located(source, out, rows)
		default:
			laid, err := lay(ctx, source, out, treeNames[i], rows, o.Tree)
			if err != nil {
				return err
			}
			if named = laid; o.Tree == Link {
				named = located(source, out, rows)
			}
		}
		sortRows(named)
		splits[i] = named
	}
	if composites != nil {
		rows, err := composites.write(ctx, out)
		if err != nil {
			return err
		}
		splits[0] = append(splits[0], rows...)
		sortRows(splits[0])
	}
	if len(s.NearDuplicates) > 0 {
		data, err := nearCSV(s.NearDuplicates)
		if err != nil {
			return err
		}
		if err := replace(filepath.Join(out, NearDuplicatesCSV), data); err != nil {
			return err
		}
	}
	for i, rows := range splits {
		if len(rows) == 0 {
			continue
		}
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		columns := []string{"image", "label"}
		if s.Boxes != nil || s.Composites != nil {
			columns = append(columns, BoxesColumn)
		}
		if err := w.Write(columns); err != nil {
			return fmt.Errorf("corpus: %w", err)
		}
		for _, r := range rows {
			if err := w.Write([]string{r.Image, r.Label, formatBoxes(r.Boxes)}[:len(columns)]); err != nil {
				return fmt.Errorf("corpus: %w", err)
			}
		}
		w.Flush()
		if err := replace(filepath.Join(out, listingNames[i]), b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// located names images as a listing in out does.
func located(source, out string, rows []Row) []Row {
	named := make([]Row, len(rows))
	for i, r := range rows {
		image := filepath.Join(source, filepath.FromSlash(r.Image))
		if rel, err := filepath.Rel(out, image); err == nil && filepath.IsLocal(rel) {
			image = rel
		}
		r.Image = filepath.ToSlash(image)
		named[i] = r
	}
	return named
}

// lay makes one folder of the tree, and names its images relative to out. Images of one class that have the same name
// in different folders get their whole path as a name.
func lay(ctx context.Context, source, out, folder string, rows []Row, tree string) ([]Row, error) {
	taken := map[string]int{}
	key := func(r Row) string { return r.Label + "/" + strings.ToLower(path.Base(r.Image)) }
	for _, r := range rows {
		taken[key(r)]++
	}
	laid := make([]Row, len(rows))
	for i, r := range rows {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		name := path.Base(r.Image)
		if taken[key(r)] > 1 {
			name = strings.ReplaceAll(r.Image, "/", "_")
		}
		image := path.Join(folder, r.Label, name)
		from, to := filepath.Join(source, filepath.FromSlash(r.Image)), filepath.Join(out, filepath.FromSlash(image))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		var err error
		if tree == Link {
			err = os.Symlink(from, to)
		} else {
			err = duplicate(from, to)
		}
		if err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		r.Image = image
		laid[i] = r
	}
	return laid, nil
}

func duplicate(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}

// replace writes a file beside its place and renames it.
func replace(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".*.tmp")
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("corpus: %s: %w", file, err)
	}
	return nil
}
