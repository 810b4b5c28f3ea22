package scores

import (
	"bytes"
	"context"
	"errors"
	"io/fs"

	"github.com/logobeam/logobeam/pipelines/store"
)

// What is kept beside an output for people. It tells of times and of the network, so it is not the same from run to run,
// and nothing depends on it: it may be lost or removed.

// mostRuns is how many runs of an output are kept in mind: the last ones.
const mostRuns = 50

// AddRun notes a run of an output, in one line, behind those that were before it.
func AddRun(ctx context.Context, location string, line []byte) error {
	runs, err := Runs(ctx, location)
	if err != nil {
		return err
	}
	runs = append(runs[max(len(runs)+1-mostRuns, 0):], line)
	out, err := at(ctx, location)
	if err != nil {
		return err
	}
	return out.Put(ctx, runsFile, append(bytes.Join(runs, []byte("\n")), '\n'))
}

// Runs are the lines that AddRun has noted. There may be none.
func Runs(ctx context.Context, location string) ([][]byte, error) {
	out, err := at(ctx, location)
	if err != nil {
		return nil, err
	}
	text, err := store.ReadFile(ctx, out, runsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return bytes.FieldsFunc(text, func(r rune) bool { return r == '\n' }), nil
}

// PutReport puts an output's report.html beside it, in place of the one that is there.
func PutReport(ctx context.Context, location string, html []byte) error {
	out, err := at(ctx, location)
	if err != nil {
		return err
	}
	return out.Put(ctx, reportFile, html)
}
