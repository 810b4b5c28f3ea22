// Interop has what testdata/interop/interop.py compares other programs' readers with. From the repository's root
//
//	go run ./testdata/interop dump OUT        all rows of an output of score as JSON, a line each
//	go run ./testdata/interop week DIR        writes seven nights' outputs, DIR/night=2026-11-20 and so on
//	go run ./testdata/interop features DIR    their features per author, as features.sql has them, in JSON
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/logobeam/logobeam/pipelines/scores"
)

func main() {
	if err := run(context.Background(), os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want a command, dump, week or features, and a folder, not %q", args)
	}
	switch args[0] {
	case "dump":
		return dump(ctx, w, args[1])
	case "week":
		return week(ctx, args[1])
	case "features":
		f, err := featuresOf(ctx, args[1])
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(f)
	}
	return fmt.Errorf("no command %q: want dump, week or features", args[0])
}

// line is a row of a table, its kept columns last.
type line struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
	Values  []any    `json:"values"`
}

func dump(ctx context.Context, w io.Writer, out string) error {
	m, err := scores.ReadManifest(ctx, out)
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	put := func(table string, columns, kept []string, values ...any) error {
		for _, s := range kept {
			if s == "" {
				values = append(values, nil)
			} else {
				values = append(values, s)
			}
		}
		return e.Encode(line{table, append(columns, m.Run.Keep...), values})
	}
	for s, err := range scores.Scores(ctx, out) {
		if err == nil {
			err = put("scores", []string{"post_id", "brand", "probability", "frames"}, s.Kept, s.PostID, s.Brand, s.Probability, s.Frames)
		}
		if err != nil {
			return err
		}
	}
	for r, err := range scores.Rejects(ctx, out) {
		if err == nil {
			err = put("rejects", []string{"post_id", "image", "stage", "reason", "detail", "retryable"}, r.Kept,
				r.PostID, r.Image, r.Stage, r.Reason, r.Detail, r.Retryable)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
