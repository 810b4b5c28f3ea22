package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines/corpus"
)

func newPrepare() *cobra.Command {
	o := corpus.DefaultPrepareOptions()
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "prepare SOURCE --out DIR",
		Short: "split labelled photographs into train, validation and test listings",
		Long: `prepare reads SOURCE, writes DIR/train.csv, DIR/val.csv and DIR/test.csv (image,label).

SOURCE is FlickrLogos-32 or FlickrLogos-27, known by its list files, or any
folder with a folder of photographs for each class; photographs without a logo
belong in one named no-logo. A share of the no-logo validation photographs of
FlickrLogos is moved to training, which has none of its own.

Where the places of logos are known, --boxes names a file of them, so that
training may look closer (the step logo-crop): the annotations of FlickrLogos-27,
lines of FILE CLASS SUBSET X1 Y1 X2 Y2, or a CSV file with the columns
image,label,x1,y1,x2,y2, in pixels of the stored photographs. The listings get a
column boxes.

With --composites N and --marks, N training images are made of each brand that
has a mark: the mark on photographs without a logo, seen from aside and in their
light. They are written to DIR/composites and stand in train.csv alone. A brand
of which there is no photograph becomes a class.

Photographs that are nearly the same in two splits, saved again, in another size
or a little cut, make figures too good. They are listed in
DIR/near-duplicates.csv, and with --near-duplicates drop left out of training, or
of validation if it is test that has the other.`,
		Example: `  logobeam prepare photographs --out data
  logobeam prepare FlickrLogos-v2 --out data --tree link
  logobeam prepare photographs --out data --composites 200 --marks marks`,
		Args: exactly("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Out == "" {
				return usagef("--out is missing: name the folder to write the listings to")
			}
			if c := o.Composites; (c.N > 0) != (c.Marks != "") || c.N < 0 {
				return usagef("--composites %d with --marks %q: want a number above 0 and a folder, or neither", c.N, c.Marks)
			}
			switch o.NearDuplicates {
			case corpus.Warn, corpus.Ignore:
			case corpus.Drop:
				if o.SkipCheck {
					return usagef("--near-duplicates drop has to open the photographs: leave out --no-check")
				}
			default:
				return usagef("--near-duplicates %s: want %s, %s or %s", o.NearDuplicates, corpus.Warn, corpus.Drop, corpus.Ignore)
			}
			if o.Composites.N == 0 && o.Composites.Backgrounds != "" {
				return usagef("--backgrounds without --composites: say how many to make")
			}
			o.Source = args[0]
			var work counter
			o.Progress = func(checked, of int) { work.set(int64(checked), int64(of)) }
			stop := watch(cmd.Context(), cmd.ErrOrStderr(), "preparing", work.tick)
			splits, err := corpus.Prepare(cmd.Context(), o)
			stop()
			if err != nil {
				return err
			}
			nearDuplicates(cmd.ErrOrStderr(), splits, o)
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
					Classes        int `json:"classes"`
					Train          int `json:"train"`
					Validation     int `json:"validation"`
					Test           int `json:"test"`
					NearDuplicates int `json:"near_duplicates"`
				}{len(splits.Classes), len(splits.Train), len(splits.Val), len(splits.Test), len(splits.NearDuplicates)})
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), splits)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Out, "out", "", "folder to write to")
	f.Float64Var(&o.NoLogoToTrain, "no-logo-to-train", o.NoLogoToTrain, "share of the no-logo validation photographs that is moved to training (FlickrLogos)")
	f.Float64Var(&o.Val, "val", o.Val, "share of each class that becomes validation (class folders)")
	f.Float64Var(&o.Test, "test", o.Test, "share of each class that becomes test (class folders)")
	f.StringVar(&o.Boxes, "boxes", "", "file that says where the logos are")
	f.IntVar(&o.Composites.N, "composites", 0, "training images to make of each brand in --marks")
	f.StringVar(&o.Composites.Marks, "marks", "", "folder of brand marks: BRAND.svg, BRAND.png, or folders BRAND of such files")
	f.StringVar(&o.Composites.Backgrounds, "backgrounds", "", "folder of photographs without any brand to lay marks on (default those of training in no-logo)")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the splits and the composites")
	f.StringVar(&o.Tree, "tree", "", "also write train_data/, val_data/ and test_data/ with a folder a class: link or copy")
	f.StringVar(&o.NearDuplicates, "near-duplicates", o.NearDuplicates, "`warn|drop|ignore` photographs that are nearly the same in two splits")
	f.BoolVar(&o.SkipCheck, "no-check", false, "do not open the photographs, nor look for near-duplicates")
	jsonFlag(cmd, &asJSON)
	limitFlags(cmd, &o.Limits)
	return cmd
}

// nearDuplicates names photographs that are nearly the same in two splits.
func nearDuplicates(stderr io.Writer, s corpus.Splits, o corpus.PrepareOptions) {
	const named = 10
	n := len(s.NearDuplicates)
	if n == 0 {
		return
	}
	kept := "all are kept (--near-duplicates drop leaves them out)"
	if o.NearDuplicates == corpus.Drop {
		kept = fmt.Sprintf("%d of training and %d of validation are left out", s.Dropped[0], s.Dropped[1])
	}
	fmt.Fprintf(stderr, "warning: photographs that are nearly the same in two splits: %d; %s:\n", n, kept)
	for _, d := range s.NearDuplicates[:min(n, named)] {
		fmt.Fprintf(stderr, "  %s\n", d)
	}
	if n > named {
		fmt.Fprintf(stderr, "  and %d more\n", n-named)
	}
	fmt.Fprintf(stderr, "%s lists them\n", filepath.Join(o.Out, corpus.NearDuplicatesCSV))
}
