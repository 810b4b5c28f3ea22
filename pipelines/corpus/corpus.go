// Package corpus turns folders of labelled photographs into listings to train on, and listings into datasets.
//
// Prepare reads a distribution of FlickrLogos-32 or FlickrLogos-27 by its list files, or any tree with a folder for each
// class, and writes train.csv, val.csv and test.csv with the columns image and label, and boxes where it is told of them.
// Open reads such a listing as a train.Dataset:
//
//	o := corpus.DefaultPrepareOptions()
//	o.Source, o.Out = "photographs", "data"
//	splits, err := corpus.Prepare(ctx, o)
//	classes, err := corpus.Classes("data/train.csv")
//	set, err := corpus.Open("data/train.csv", corpus.Options{Classes: classes, Training: training, Scoring: scoring, Seed: 1})
//
// All labelled images are files: nothing is fetched. A listing is held in memory, some 200 bytes an image.
package corpus

import (
	"cmp"
	"image"
	"slices"
	"strings"

	"github.com/logobeam/logobeam/model"
)

// Row is an image and the class it is of.
type Row struct {
	// Image is a path: absolute, or relative to the folder of the listing that it stands in.
	Image string
	// Label is the name of a class, model.NoLogo for an image without any brand.
	Label string
	// Boxes are where the logos are, in pixels of the file as it is stored; empty if that is not known.
	Boxes []image.Rectangle
}

// labels lists the labels of rows, each once, sorted.
func labels(rows ...[]Row) []string {
	seen := map[string]bool{}
	var names []string
	for _, list := range rows {
		for _, r := range list {
			if !seen[r.Label] {
				seen[r.Label] = true
				names = append(names, r.Label)
			}
		}
	}
	slices.Sort(names)
	return names
}

// classOf is the class that a folder's name stands for. Spellings of "no logo" are one class.
func classOf(folder string) string {
	switch strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(folder)) {
	case "nologo", "nologos":
		return model.NoLogo
	}
	return folder
}

func sortRows(rows []Row) {
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Or(cmp.Compare(a.Label, b.Label), cmp.Compare(a.Image, b.Image)) })
}
