package corpus

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"image"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines/corpus/composite"
)

// Composites says which composites to add to the training images: marks of brands laid on photographs.
type Composites struct {
	N     int    // of each brand that has a mark; 0 for none at all
	Marks string // folder of the marks, as composite.List reads it
	// Backgrounds is a folder of photographs without any brand, and folders in it; empty for those in training that show no
	// logo.
	Backgrounds string
}

// CompositeCounts says what was made.
type CompositeCounts struct {
	Images, Brands int      // with marks, and how many brands these are of
	Unmarked       int      // images without a mark, of class model.NoLogo
	Alone          []string // brands that no photograph shows, sorted
}

// String is one line, or two.
func (c CompositeCounts) String() string {
	s := fmt.Sprintf("training has %d composites of %d brands", c.Images, c.Brands)
	if c.Unmarked > 0 {
		s += fmt.Sprintf(" and %d without a mark", c.Unmarked)
	}
	switch len(c.Alone) {
	case 0:
	case 1:
		s += "\n1 brand is known by composites alone: " + c.Alone[0]
	default:
		s += fmt.Sprintf("\n%d brands are known by composites alone: %s", len(c.Alone), strings.Join(c.Alone, ", "))
	}
	return s
}

const (
	compositesFolder = "composites"
	maxComposites    = 100_000 // of a brand
)

func (c Composites) validate() error {
	switch {
	case c.N < 0 || c.N > maxComposites:
		return fmt.Errorf("corpus: %d composites: want 0 to %d of each brand", c.N, maxComposites)
	case c.N > 0 && c.Marks == "":
		return errors.New("corpus: composites want a folder of marks")
	case c.N == 0 && c.Marks+c.Backgrounds != "":
		return errors.New("corpus: marks or backgrounds without a number of composites")
	}
	return nil
}

// compositor makes the composites of a run of Prepare.
type compositor struct {
	o       PrepareOptions
	brands  []composite.Brand // with the names of the classes
	grounds []string          // files
	counts  CompositeCounts
}

// newCompositor reads all that composites are made of, so that what is wrong is known before anything is written. The
// source's images have been checked.
func newCompositor(ctx context.Context, source, out string, splits [3][]Row, o PrepareOptions) (*compositor, error) {
	c := &compositor{o: o}
	for _, folder := range []string{o.Composites.Marks, o.Composites.Backgrounds} {
		if folder != "" && inside(folder, out) {
			return nil, fmt.Errorf("corpus: %s lies in the output folder %s, where prepare replaces what it made before: name another folder", folder, o.Out)
		}
	}
	var err error
	if c.brands, err = composite.List(o.Composites.Marks); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	classes := labels(splits[:]...)
	for i, b := range c.brands {
		if classOf(b.Name) == model.NoLogo {
			return nil, fmt.Errorf("corpus: %s is of %s, which is not a brand", b.Files[0], model.NoLogo)
		}
		k := slices.IndexFunc(classes, func(class string) bool { return strings.EqualFold(class, b.Name) })
		if k < 0 {
			c.counts.Alone = append(c.counts.Alone, b.Name)
		} else {
			c.brands[i].Name = classes[k]
		}
		for _, file := range b.Files {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("corpus: reading marks: %w", err)
			}
			if _, err := composite.Read(file, o.Limits); err != nil {
				return nil, fmt.Errorf("corpus: %w", err)
			}
		}
	}
	if slices.Contains(labels(splits[0]), model.NoLogo) {
		c.counts.Unmarked = o.Composites.N
	}
	c.counts.Brands, c.counts.Images = len(c.brands), len(c.brands)*o.Composites.N

	if folder := o.Composites.Backgrounds; folder != "" {
		images, err := findImages(folder, "")
		if err != nil {
			return nil, fmt.Errorf("corpus: no backgrounds: %w", err)
		}
		rows := make([]Row, len(images))
		for i, image := range images {
			rows[i].Image = image
			c.grounds = append(c.grounds, filepath.Join(folder, filepath.FromSlash(image)))
		}
		if !o.SkipCheck {
			if _, err := check(ctx, folder, rows, o); err != nil {
				return nil, err
			}
		}
		if len(c.grounds) == 0 {
			return nil, fmt.Errorf("corpus: no images in %s: want photographs to lay marks on", folder)
		}
		return c, nil
	}
	for _, r := range splits[0] {
		if r.Label == model.NoLogo {
			c.grounds = append(c.grounds, filepath.Join(source, filepath.FromSlash(r.Image)))
		}
	}
	if len(c.grounds) == 0 {
		return nil, fmt.Errorf("corpus: no photograph in training is without a logo, to lay marks on: name a folder of backgrounds")
	}
	return c, nil
}

// write makes the composites in a folder of out and returns their rows.
func (c *compositor) write(ctx context.Context, out string) ([]Row, error) {
	rows := make([]Row, 0, c.counts.Images+c.counts.Unmarked)
	var done atomic.Int64
	each := func(label string, marks []*composite.Mark, n int) error {
		folder := path.Join(compositesFolder, label)
		if err := os.MkdirAll(filepath.Join(out, filepath.FromSlash(folder)), 0o755); err != nil {
			return fmt.Errorf("corpus: %w", err)
		}
		first := len(rows)
		rows = rows[:first+n]
		pool, ctx := errgroup.WithContext(ctx)
		pool.SetLimit(c.o.Workers)
		if c.o.Workers < 1 {
			pool.SetLimit(runtime.GOMAXPROCS(0))
		}
		for i := range n {
			pool.Go(func() error {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("corpus: making composites: %w", err)
				}
				r := &rows[first+i]
				*r = Row{Image: fmt.Sprintf("%s/%04d.jpg", folder, i), Label: label}
				var err error
				if r.Boxes, err = c.make(filepath.Join(out, filepath.FromSlash(r.Image)), marks, r.Key()); err != nil {
					return err
				}
				if n := int(done.Add(1)); c.o.Progress != nil {
					c.o.Progress(n, cap(rows))
				}
				return nil
			})
		}
		return pool.Wait()
	}
	for _, b := range c.brands {
		var marks []*composite.Mark // of one brand at a time: there may be thousands
		for _, file := range b.Files {
			m, err := composite.Read(file, c.o.Limits)
			if err != nil {
				return nil, fmt.Errorf("corpus: %w", err)
			}
			marks = append(marks, m)
		}
		if err := each(b.Name, marks, c.o.Composites.N); err != nil {
			return nil, err
		}
	}
	if c.counts.Unmarked > 0 {
		if err := each(model.NoLogo, []*composite.Mark{nil}, c.counts.Unmarked); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// make makes one composite, which depends on the seed and its key alone, and on the marks and backgrounds that there are.
func (c *compositor) make(file string, marks []*composite.Mark, key string) (boxes []image.Rectangle, err error) {
	h := fnv.New64a()
	h.Write([]byte("composite " + key))
	r := rand.New(rand.NewPCG(c.o.Seed, h.Sum64()))
	mark, ground := marks[r.IntN(len(marks))], c.grounds[r.IntN(len(c.grounds))]
	var made composite.Composite
	data, err := readFile(ground, c.o.Limits.Bytes)
	if err == nil {
		err = decode(data, c.o.Limits, func() error {
			var err error
			made, err = composite.Compose(mark, data, c.o.Limits, r)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", ground, err)
	}
	if err := os.WriteFile(file, made.JPEG, 0o644); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	return made.Boxes, nil
}
