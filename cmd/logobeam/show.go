package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model"
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
}

func newShow() *cobra.Command {
	var o showFlags
	cmd := &cobra.Command{
		Use:   "show LISTING --out sheet.png",
		Short: "draw photographs of a listing as a contact sheet, as they are or as the network sees them",
		Long: `show draws photographs spread evenly over the listing, with their labels, as one
PNG: as they are, or after transforms, so that one sees what the network sees.`,
		Example: `  logobeam show data/train.csv --out sheet.png
  logobeam show data/train.csv --transforms light --epoch 3 --out augmented.png
  logobeam show posts.csv --label-column post_id --scores scored --out found.png`,
		Args: exactly("LISTING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.out == "" {
				return usagef("--out is missing: name the PNG file to draw")
			}
			if o.rows < 1 || o.columns < 1 {
				return usagef("--rows %d and --columns %d: want at least 1", o.rows, o.columns)
			}
			if err := checkFolder("--out", filepath.Dir(o.out)); err != nil {
				return err
			}
			if err := checkFolder("--root", o.root); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.ErrOrStderr(), args[0])
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
	f.StringVar(&o.steps, "transforms", "none", "what to show the photographs after: none, model (the model's own list), light (as train --augment light), or a JSON file")
	f.IntVar(&o.epoch, "epoch", 0, "epoch whose random transforms are shown")
	f.Uint64Var(&o.seed, "seed", 1, "seed of random transforms, as train's")
	f.StringVar(&o.root, "root", "", "folder that paths are relative to (default the listing's)")
	modelFlag(cmd, &o.model)
	limitFlags(cmd, &o.limits)
	return cmd
}

func (o *showFlags) run(ctx context.Context, stderr io.Writer, path string) error {
	list, err := o.list()
	if err != nil {
		return err
	}
	rows, err := listing.ReadTable(path, o.image, o.label)
	if err != nil {
		return err
	}
	n := min(len(rows), o.rows*o.columns)
	shown := make([][]string, n) // spread evenly
	for i := range shown {
		shown[i] = rows[i*len(rows)/n]
	}
	var found map[string]scores.Score
	if o.scored != "" {
		if found, err = lookUp(o.scored, shown); err != nil {
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

	var cells []report.Cell
	for _, row := range shown {
		image, label := row[0], row[1]
		if found != nil {
			if s, ok := found[label]; ok {
				label = fmt.Sprintf("%s %.2f", s.Brand, s.Probability)
			} else {
				label = "not scored"
			}
		}
		picture, err := o.picture(ctx, fetcher, list, corpus.Row{Image: image, Label: row[1]})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // a photograph that cannot be read is an empty frame, with the reason under it
			fmt.Fprintf(stderr, "logobeam: %s\n", oneLine(err))
			label += "\n" + reason(err)
			cells = append(cells, report.Cell{Label: label})
			continue
		}
		cells = append(cells, report.Cell{Picture: picture, Label: label})
	}
	sheet, err := report.ContactSheet(cells, o.columns, o.size)
	if err != nil {
		return err
	}
	if err := writePNG(o.out, sheet); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%s shows %d of %d photographs\n", o.out, n, len(rows))
	return nil
}

// lookUp finds the scores of the rows that are shown, by post_id, in the folder that score wrote.
func lookUp(out string, shown [][]string) (map[string]scores.Score, error) {
	wanted := map[string]bool{}
	for _, row := range shown {
		wanted[row[1]] = true
	}
	found := map[string]scores.Score{}
	for s, err := range scores.Scores(out) {
		if err != nil {
			return nil, err
		}
		if wanted[s.PostID] {
			found[s.PostID] = s
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

// picture is a photograph after the transforms.
func (o *showFlags) picture(ctx context.Context, f *fetch.Fetcher, list transforms.List, row corpus.Row) (*transforms.Image, error) {
	data, err := f.Fetch(ctx, row.Image)
	if err != nil {
		return nil, err
	}
	m, err := list.Picture(data, transforms.Key{Seed: o.seed, Epoch: o.epoch, Image: row.Key()}, o.limits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fetch.Redact(row.Image), err)
	}
	return m, nil
}

// list is the transforms that --transforms names; a photograph as it is stands upright, too.
func (o *showFlags) list() (transforms.List, error) {
	switch o.steps {
	case "none":
		return transforms.List{transforms.Orient{}}, nil
	case "light", "model":
		m, err := classifier.Read(o.model)
		if err != nil {
			return nil, err
		}
		if o.steps == "light" {
			mean, std := model.Normalisation(m.Network.Arch)
			return transforms.DefaultTraining(m.Network.Input.H, mean, std), nil
		}
		return transforms.Parse(m.Card.Transforms)
	}
	return readList(o.steps)
}
