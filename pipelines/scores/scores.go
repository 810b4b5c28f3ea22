// Package scores is what a run of score writes: Parquet parts of scores and of rejects, a manifest, and _SUCCESS. Nothing
// else in the program writes output, and everything here can be read again:
//
//	run := scores.Run{Listing: "posts.csv", ListingHash: "8d0c…", Rows: 2, Model: "built-in", ModelHash: "3fa1…"}
//	out, err := scores.Open("scored", "logobeam v1", run) // new, resumed or finished; another run's folder is refused
//	defer out.Close()
//	part, err := scores.NewPart("scored", "9f86d081884c7d65") // named by what it is made from
//	err = part.Score(scores.Score{PostID: "17", Brand: "adidas", Probability: 0.98, Frames: 1})
//	err = part.Reject(scores.Reject{PostID: "18", Image: "b.jpg", Stage: "fetch", Reason: "not-found", Detail: "no such file"})
//	done, err := part.Commit()
//	manifest, err := scores.Commit("scored", []scores.Done{done})
//
// The folder holds
//
//	scores/part-CHUNK.parquet    post_id, brand, probability, frames
//	rejects/part-CHUNK.parquet   post_id, image, stage, reason, detail, retryable; perhaps without rows
//	manifest.json                what was run on what, and what came out
//	_SUCCESS                     written last
//
// A part is written aside, synced and renamed, so a file under a final name is whole. A chunk is done when both of its
// parts are there. The same rows give the same bytes.
package scores

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// Score is a row of scores/*.parquet: a photograph that was classified.
type Score struct {
	PostID      string  `parquet:"post_id"`     // as in the listing
	Brand       string  `parquet:"brand,dict"`  // a class of the model, which may be no-logo
	Probability float32 `parquet:"probability"` // of that class, 0 to 1
	Frames      int32   `parquet:"frames"`      // of the file: 1, or those of an animation, whose first one was classified
}

// Reject is a row of rejects/*.parquet: a row of the listing that could not be scored.
type Reject struct {
	PostID    string `parquet:"post_id"`     // as in the listing
	Image     string `parquet:"image"`       // as in the listing
	Stage     string `parquet:"stage,dict"`  // where it failed: listing, fetch, decode or infer
	Reason    string `parquet:"reason,dict"` // one of a closed set
	Detail    string `parquet:"detail"`      // for people
	Retryable bool   `parquet:"retryable"`   // another try may succeed
}

// The files of an output folder.
const (
	scoresDir    = "scores"
	rejectsDir   = "rejects"
	manifestFile = "manifest.json"
	successFile  = "_SUCCESS"
	pendingMark  = ".pending-" // begins the names of files that are being written
)

func partFile(chunk string) string { return "part-" + chunk + ".parquet" }

// pendingName is the pattern, as os.CreateTemp wants it, of the names that a file has while it is written.
func pendingName(final string) string { return pendingMark + final + "-*" }

func isPending(name string) bool { return strings.HasPrefix(name, pendingMark) }

// writerOptions keep everything out of a part that would tell one build or machine from another.
func writerOptions() []parquet.WriterOption {
	return []parquet.WriterOption{parquet.Compression(&parquet.Zstd), parquet.CreatedBy("logobeam", "", "")}
}

// pendingFile is a part of one kind while it is written.
type pendingFile[T any] struct {
	*parquet.GenericWriter[T]
	file  *os.File
	final string
}

func createPending[T any](dir, chunk string) (*pendingFile[T], error) {
	f, err := os.CreateTemp(dir, pendingName(partFile(chunk)))
	if err != nil {
		return nil, fmt.Errorf("a part of the output: %w", err)
	}
	return &pendingFile[T]{parquet.NewGenericWriter[T](f, writerOptions()...), f, filepath.Join(dir, partFile(chunk))}, nil
}

// finish writes and syncs the file, and leaves it under its pending name.
func (p *pendingFile[T]) finish() error {
	if err := errors.Join(p.Close(), p.file.Chmod(0o644), p.file.Sync(), p.file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", p.final, err)
	}
	return nil
}

// rename gives the finished file its final name, which lasts once the folder is synced.
func (p *pendingFile[T]) rename() error {
	if err := os.Rename(p.file.Name(), p.final); err != nil {
		return fmt.Errorf("a part of the output: %w", err)
	}
	return syncDir(filepath.Dir(p.final))
}

func (p *pendingFile[T]) remove() {
	p.file.Close()
	os.Remove(p.file.Name())
}

// syncDir makes the renames in a folder last through a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing a folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}

// Part is the part of one chunk while it is written. It is for one goroutine.
type Part struct {
	done    Done
	scores  *pendingFile[Score]
	rejects *pendingFile[Reject]
}

// Done says of a chunk's part what is in it.
type Done struct {
	Chunk    string           `json:"chunk"` // its name
	Scored   int64            `json:"scored"`
	Rejected int64            `json:"rejected"`
	Brands   map[string]int64 `json:"brands,omitempty"`  // scores by brand
	Reasons  map[string]int64 `json:"reasons,omitempty"` // rejects by "stage: reason"
}

func newDone(chunk string) Done {
	return Done{Chunk: chunk, Brands: map[string]int64{}, Reasons: map[string]int64{}}
}

func (d *Done) score(s Score)   { d.Scored++; d.Brands[s.Brand]++ }
func (d *Done) reject(r Reject) { d.Rejected++; d.Reasons[r.Stage+": "+r.Reason]++ }

// Score adds a row to the scores.
func (p *Part) Score(s Score) error {
	p.done.score(s)
	_, err := p.scores.Write([]Score{s})
	return err
}

// Reject adds a row to the rejects.
func (p *Part) Reject(r Reject) error {
	p.done.reject(r)
	_, err := p.rejects.Write([]Reject{r})
	return err
}

// Commit puts the part in place: rejects first, so that a chunk whose scores are there is whole.
func (p *Part) Commit() (Done, error) {
	defer p.Abort() // removes nothing that was renamed
	if err := errors.Join(p.scores.finish(), p.rejects.finish()); err != nil {
		return Done{}, err
	}
	if err := p.rejects.rename(); err != nil {
		return Done{}, err
	}
	if err := p.scores.rename(); err != nil {
		return Done{}, err
	}
	return p.done, nil
}

// Abort removes what was written. After Commit it does nothing.
func (p *Part) Abort() {
	p.scores.remove()
	p.rejects.remove()
}

// Scores yields the scores of an output folder, part by part in the order of their names, and ends with the first error.
func Scores(out string) iter.Seq2[Score, error] { return rows[Score](filepath.Join(out, scoresDir)) }

// Rejects yields the rejects likewise.
func Rejects(out string) iter.Seq2[Reject, error] {
	return rows[Reject](filepath.Join(out, rejectsDir))
}

func rows[T any](dir string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		entries, err := os.ReadDir(dir) // sorted by name
		if err != nil {
			yield(none, fmt.Errorf("no output of score: %w", err))
			return
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			for row, err := range fileRows[T](filepath.Join(dir, e.Name())) {
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

// fileRows yields the rows of one part.
func fileRows[T any](path string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		fail := func(err error) {
			yield(none, fmt.Errorf("%s cannot be read: %w; remove it to have it made again", path, err))
		}
		f, err := os.Open(path)
		if err != nil {
			fail(err)
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			fail(err)
			return
		}
		// Opened as a file first: the reader of structures panics on what is no Parquet, and reads a missing column as
		// empty.
		var p *parquet.File
		err = guard(func() (err error) { p, err = parquet.OpenFile(f, info.Size()); return err })
		if err != nil {
			fail(err)
			return
		}
		want, have := columns(parquet.SchemaOf(none)), columns(p.Schema())
		if !slices.Equal(want, have) {
			fail(fmt.Errorf("its columns are %v, not %v", have, want))
			return
		}
		if !parquet.EqualNodes(parquet.SchemaOf(none), p.Schema()) { // a null in a required column would be read as a pointer
			fail(errors.New("its columns are of other types"))
			return
		}
		r := parquet.NewGenericReader[T](p)
		defer r.Close()
		for buffer := make([]T, 512); ; {
			var n int
			err := guard(func() (err error) { n, err = r.Read(buffer); return err })
			for _, row := range buffer[:n] {
				if !yield(row, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				fail(err)
				return
			}
		}
	}
}

// guard makes an error of a panic, which the library answers some damaged files with.
func guard(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	return read()
}

func columns(s *parquet.Schema) []string {
	var names []string
	for _, path := range s.Columns() {
		names = append(names, strings.Join(path, "."))
	}
	return names
}
