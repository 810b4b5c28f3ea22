package corpus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"github.com/logobeam/logobeam/model/train"
)

// OpenSplits opens the listings that Prepare leaves in a folder, to train on: train.csv, of which alone o.Share is taken,
// val.csv, and test.csv if that is asked for. All other options hold for all of them.
func OpenSplits(dir string, o Options, test bool) (train.Data, error) {
	d := train.Data{Classes: o.Classes, Views: o.Views}
	id := sha256.New()
	share := o.Share
	for _, split := range []struct {
		name, file string
		to         *train.Dataset
	}{{"train", "train.csv", &d.Train}, {"validation", "val.csv", &d.Validation}, {"test", "test.csv", &d.Test}} {
		if split.name == "test" && !test {
			continue
		}
		if o.Share = 1; split.name == "train" {
			o.Share = share
		}
		set, err := Open(filepath.Join(dir, split.file), o)
		if err != nil {
			return d, err
		}
		*split.to = set
		fmt.Fprintln(id, split.name, set.ID())
	}
	d.ID = hex.EncodeToString(id.Sum(nil))
	return d, nil
}
