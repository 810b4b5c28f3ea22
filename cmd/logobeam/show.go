package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"path/filepath"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/report"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/transforms"
)

type showFlags struct {
	out, image, label, steps, scored, model, root string
	rows, columns, size, epoch                    int
	seed                                          uint64
	limits                                        transforms.Limits
	byStep, json                                  bool
	mixup, cutmix                                 float64
}

func newShow() *cobra.Command {
	var o showFlags
	cmd := &cobra.Command{
		Use:   "show LISTING --out sheet.png",
		Short: "draw photographs of a listing as a contact sheet, as they are or as the network sees them",
		Long: `show draws photographs spread evenly over the listing, with their labels, as one
PNG: as they are, or after transforms, so that one sees what the network sees.

With --by-step there is a row for each step of --transforms, with what the step
alone does to the photographs of the first row: where it acts with a probability,
in the first epoch from --epoch on in which it does.`,
		Example: `  logobeam show data/train.csv --out sheet.png
  logobeam show data/train.csv --transforms light --epoch 3 --out augmented.png
  logobeam show data/train.csv --transforms strong --by-step --out steps.png
  logobeam show posts.csv --label-column post_id --scores scored --out found.png`,
		Args: exactly("LISTING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.out == "" {
				return usagef("--out is missing: name the PNG file to draw")
			}
			if o.rows < 1 || o.columns < 1 {
				return usagef("--rows %d and --columns %d: want at least 1", o.rows, o.columns)
			}
			if o.byStep && (o.scored != "" || o.mixup > 0 || o.cutmix > 0) {
				return usagef("--by-step shows each step alone: leave out --scores, --mixup and --cutmix")
			}
			if cfg := o.mixing(); cfg.Validate() != nil {
				return usageError{cfg.Validate()}
			}
			if err := checkFolder("--out", filepath.Dir(o.out)); err != nil {
				return err
			}
			if err := checkFolder("--root", o.root); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "PNG file to draw")
	f.IntVar(&o.rows, "rows", 5, "rows of photographs")
	f.IntVar(&o.columns, "columns", 8, "photographs in a row")
	f.IntVar(&o.size, "size", 160, "height and width of a photograph's place in pixels")
	f.StringVar(&o.image, "image-column", "image", "column that holds the image")
	f.StringVar(&o.label, "label-column", "label", "column that is written under the image")
	f.StringVar(&o.scored, "scores", "", "write the brands that score found under the images: the folder it wrote (post_id is taken from --label-column)")
	f.StringVar(&o.steps, "transforms", "none", "what to show the photographs after, `none|model|light|strong|FILE`: the model's own list, as train --augment, or a JSON file")
	f.BoolVar(&o.byStep, "by-step", false, "a row for each step of --transforms instead, and as many photographs as --columns")
	f.Float64Var(&o.mixup, "mixup", 0, "mix the photographs shown in pairs, as train --mixup mixes a batch")
	f.Float64Var(&o.cutmix, "cutmix", 0, "exchange rectangles of the photographs shown, as train --cutmix in a batch")
	f.IntVar(&o.epoch, "epoch", 0, "epoch whose random transforms are shown")
	f.Uint64Var(&o.seed, "seed", 1, "seed of random transforms, as train's")
	f.StringVar(&o.root, "root", "", "folder that paths are relative to (default the listing's)")
	modelFlag(cmd, &o.model)
	jsonFlag(cmd, &o.json)
	limitFlags(cmd, &o.limits)
	return cmd
}

func (o *showFlags) run(ctx context.Context, stdout, stderr io.Writer, path string) error {
	list, err := o.list(ctx)
	if err != nil {
		return err
	}
	columns := []string{o.image, o.label}
	if has, err := listing.Has(path, corpus.BoxesColumn); err != nil {
		return err
	} else if has {
		columns = append(columns, corpus.BoxesColumn)
	}
	rows, err := listing.ReadTable(path, columns...)
	if err != nil {
		return err
	}
	n := min(len(rows), o.rows*o.columns)
	if o.byStep {
		n = min(len(rows), o.columns)
	}
	shown := make([][]string, n) // spread evenly
	for i := range shown {
		shown[i] = rows[i*len(rows)/n]
	}
	var found map[string]scores.Score
	if o.scored != "" {
		if found, err = lookUp(ctx, o.scored, shown); err != nil {
			return err
		}
	}
	root := o.root
	if root == "" {
		root = filepath.Dir(path)
	}
	fetcher, err := fetch.New(fetch.Config{Root: root, MaxBytes: o.limits.Bytes})
	if err != nil {
		return err
	}
	defer fetcher.Close()

	stages := []stage{{list: list}}
	if o.byStep {
		stages = o.stages(list)
	}
	cells := make([]report.Cell, len(stages)*n) // a photograph's are n apart
	var unread []string
	var drawn atomic.Int64
	stop := watch(ctx, stderr, "drawing", func() tick { return tick{done: drawn.Load(), total: int64(n)} })
	defer func() { stop() }()
	for i, row := range shown {
		drawn.Store(int64(i))
		image, label := row[0], row[1]
		if found != nil {
			if s, ok := found[label]; ok {
				label = fmt.Sprintf("%s %.2f", s.Brand, s.Probability)
			} else {
				label = "not scored"
			}
		}
		photograph := corpus.Row{Image: image, Label: row[1]}
		if len(row) > 2 {
			if photograph.Boxes, err = corpus.ParseBoxes(row[2]); err != nil {
				return fmt.Errorf("%s: %s: %w", path, image, err)
			}
		}
		pictures, err := o.pictures(ctx, fetcher, stages, photograph)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // a photograph that cannot be read is an empty frame, with the reason under it
			unread = append(unread, oneLine(err))
			label += "\n" + reason(err)
		}
		for k, s := range stages {
			cells[k*n+i].Label = cmp.Or(s.name, label)
			if err == nil {
				cells[k*n+i].Picture = pictures[k]
			}
		}
	}
	stop()
	stop = func() {}
	for _, text := range unread {
		fmt.Fprintf(stderr, "logobeam: %s\n", text)
	}
	if o.mixup > 0 || o.cutmix > 0 {
		if err := o.mix(cells); err != nil {
			return err
		}
	}
	sheet, err := report.ContactSheet(cells, min(n, o.columns), o.size)
	if err != nil {
		return err
	}
	if err := writePNG(o.out, sheet); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(stdout).Encode(struct {
			Out    string `json:"out"`
			Shown  int    `json:"shown"`
			Of     int    `json:"of"`
			Unread int    `json:"unread"` // of those shown
		}{o.out, n, len(rows), len(unread)})
	}
	fmt.Fprintf(stderr, "%s shows %d of %d photographs\n", o.out, n, len(rows))
	return nil
}

// lookUp finds the scores of the rows that are shown, by post_id, in the folder that score wrote.
func lookUp(ctx context.Context, out string, shown [][]string) (map[string]scores.Score, error) {
	wanted := map[string]bool{}
	for _, row := range shown {
		wanted[row[1]] = true
	}
	found := map[string]scores.Score{}
	for s, err := range scores.Scores(ctx, out) {
		if err != nil {
			return nil, err
		}
		if wanted[s.PostID] {
			found[s.PostID] = s.Score
		}
	}
	return found, nil
}

// reason is why a photograph could not be read, in one word.
func reason(err error) string {
	var fetching *fetch.Error
	var decoding *transforms.Error
	switch {
	case errors.As(err, &fetching):
		return string(fetching.Reason)
	case errors.As(err, &decoding):
		return string(decoding.Reason)
	}
	return "unreadable"
}

// stage is what a photograph is shown after.
type stage struct {
	name string // stands under it; empty for what the photograph is
	list transforms.List
	to   subject
}

// subject is what a stage's list is done to.
type subject int

const (
	toFile   subject = iota // the list alone
	toFirst                 // the picture of the first stage, in an epoch in which the list's last step acts
	toStored                // the picture in the file, likewise
)

// stages are the photographs as scoring would see them, each step alone, and all of them.
func (o *showFlags) stages(list transforms.List) []stage {
	w, h := list.Size()
	size := max(w, h)
	if size == 0 {
		size = 224
	}
	scoring := transforms.DefaultScoring(size, [3]float64{}, [3]float64{1, 1, 1})
	stages := []stage{{list: scoring}}
	for _, s := range list {
		switch s.(type) {
		case transforms.Orient, transforms.Normalise: // which are not to be seen
		case transforms.LogoCrop: // whose boxes are in the picture as it is stored
			stages = append(stages, stage{s.Name(), transforms.List{transforms.Orient{}, s}, toStored})
		default:
			stages = append(stages, stage{s.Name(), transforms.List{s}, toFirst})
		}
	}
	return append(stages, stage{name: "all", list: list})
}

// pictures is a photograph after each stage.
func (o *showFlags) pictures(ctx context.Context, f *fetch.Fetcher, stages []stage, row corpus.Row) ([]*transforms.Image, error) {
	data, err := f.Fetch(ctx, row.Image)
	if err != nil {
		return nil, err
	}
	key := transforms.Key{Seed: o.seed, Epoch: o.epoch, Image: row.Key(), Boxes: row.Boxes}
	var pictures []*transforms.Image
	for _, s := range stages {
		var m *transforms.Image
		switch s.to {
		case toFile:
			m, err = s.list.Picture(data, key, o.limits)
		case toFirst:
			m, err = acting(s.list, pictures[0], key)
		case toStored:
			if m, err = (transforms.List{}).Picture(data, key, o.limits); err == nil {
				m, err = acting(s.list, m, key)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fetch.Redact(row.Image), err)
		}
		pictures = append(pictures, m)
	}
	return pictures, nil
}

// acting is a picture after a list, in the first epoch in which the list's last step does anything, of a hundred.
func acting(l transforms.List, m *transforms.Image, key transforms.Key) (after *transforms.Image, err error) {
	before, err := l[:len(l)-1].Apply(m, key)
	if err != nil {
		return nil, err
	}
	for last := key.Epoch + 100; key.Epoch < last; key.Epoch++ {
		after, err = l.Apply(m, key)
		if err != nil || !bytes.Equal(after.Pix, before.Pix) {
			break
		}
	}
	return after, err
}

// mixing is train's configuration for mixing.
func (o *showFlags) mixing() train.Config {
	cfg := train.DefaultConfig()
	cfg.Seed, cfg.Mixup, cfg.Cutmix = o.seed, o.mixup, o.cutmix
	return cfg
}

// mix mixes the pictures of a sheet as training would if they were a batch.
func (o *showFlags) mix(cells []report.Cell) error {
	var batch []*report.Cell
	var values []float32
	var size image.Point
	for i := range cells {
		m, ok := cells[i].Picture.(*transforms.Image)
		if !ok {
			continue
		}
		if len(batch) > 0 && m.Bounds().Size() != size {
			return usagef("--mixup and --cutmix want pictures of one size: name --transforms that make them, as light")
		}
		batch, size = append(batch, &cells[i]), m.Bounds().Size()
		for _, v := range m.Pix {
			values = append(values, float32(v))
		}
	}
	names, labels, shares := make([]string, len(batch)), make([]int, len(batch)), make([]float64, len(batch))
	for i, c := range batch {
		names[i], labels[i] = c.Label, i
	}
	o.mixing().Mix(model.Shape{H: size.Y, W: size.X, C: 3}, values, labels, shares, max(o.epoch, 0), 0)
	for i, c := range batch {
		pix := c.Picture.(*transforms.Image).Pix
		for k := range pix {
			pix[k] = uint8(values[i*len(pix)+k] + 0.5)
		}
		if share := shares[i]; share < 1 {
			c.Label = fmt.Sprintf("%.2f %s\n%.2f %s", share, names[labels[i]], 1-share, names[labels[len(batch)-1-i]])
		}
	}
	return nil
}

// list is the transforms that --transforms names; a photograph as it is stands upright, too.
func (o *showFlags) list(ctx context.Context) (transforms.List, error) {
	switch o.steps {
	case "none":
		return transforms.List{transforms.Orient{}}, nil
	case "light", "strong", "model":
		m, err := classifier.Read(ctx, o.model)
		if err != nil {
			return nil, err
		}
		if o.steps == "model" {
			return transforms.Parse(m.Card.Transforms)
		}
		mean, std := model.Normalisation(m.Network.Arch)
		return augmentation(o.steps, m.Network.Input.H, mean, std)
	}
	return readList(o.steps)
}
