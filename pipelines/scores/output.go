package scores

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/logobeam/logobeam/pipelines/store"
)

// Run is what a run was asked to do, in so far as it changes what comes out. Output of one run is not mixed with another's.
type Run struct {
	Listing     string `json:"listing"`      // file or pattern, as given
	ListingHash string `json:"listing_hash"` // of its chunks
	Files       []File `json:"files"`        // of the listing
	PostID      string `json:"post_id_column,omitempty"`
	Image       string `json:"image_column,omitempty"`
	Rows        int64  `json:"rows"`   // of the listing; 0 if they are not counted before they are read
	Chunks      int    `json:"chunks"` // of the listing
	Model       string `json:"model"`  // its folder as given, or built-in
	ModelHash   string `json:"model_hash"`
	// Options are those that change results, by the names of their flags.
	Options map[string]string `json:"options"`
	Keep    []string          `json:"keep,omitempty"`  // columns of the listing that are carried into the output
	After   []string          `json:"after,omitempty"` // outputs whose scored posts are skipped
}

// File is a file of a listing, or a folder.
type File struct {
	Location string `json:"location"`
	Root     string `json:"root"`             // that images' relative paths are of
	Format   string `json:"format,omitempty"` // that it was read as
}

// Manifest is manifest.json.
type Manifest struct {
	Format    int              `json:"format"`
	Program   string           `json:"program"` // that wrote it
	Run       Run              `json:"run"`
	Finished  bool             `json:"finished"`           // for people: what decides is _SUCCESS
	Retrying  int              `json:"retrying,omitempty"` // the round of a retry that has begun and not ended
	Rows      int64            `json:"rows"`               // scored, rejected or skipped
	Scored    int64            `json:"scored"`
	Rejected  int64            `json:"rejected"`
	Retryable int64            `json:"retryable"` // of the rejects
	Skipped   int64            `json:"skipped"`
	Brands    map[string]int64 `json:"brands"`  // scores by brand
	Reasons   map[string]int64 `json:"reasons"` // rejects by "stage: reason"
	// Chunks are the parts in the listing's order, those of later rounds behind the first, without Brands and Reasons;
	// none while the run is not finished.
	Chunks []Done `json:"-"`
}

const manifestFormat = 2

// Output is where a run writes to. On a disk, other runs cannot open it until it is closed.
type Output struct {
	location string
	store    store.Store
	manifest Manifest
	finished bool
	unlock   func() error
}

// Close lets other runs open the output.
func (o *Output) Close() error { return o.unlock() }

// Finished says that everything was written, _SUCCESS included.
func (o *Output) Finished() bool { return o.finished }

// Manifest is what is known of the run: its counts once it is finished.
func (o *Output) Manifest() Manifest { return o.manifest }

// Open makes or reopens the output of a run, which has to be closed. It is an error, and nothing is touched, if there is
// another run's output (the error says what differs) or anything else, or if a run that has not ended is writing to it.
func Open(ctx context.Context, location, program string, run Run) (*Output, error) {
	o, err := lock(ctx, location)
	if err != nil {
		return nil, err
	}
	if err := o.open(ctx, program, run); err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

// lock keeps other runs away from an output on a disk. In a bucket there is no lock; there two runs would do the same work
// twice, and harm nothing.
func lock(ctx context.Context, location string) (*Output, error) {
	out, err := at(ctx, location)
	if err != nil {
		return nil, err
	}
	unlock, err := out.Lock(ctx)
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("another run is writing to %s: wait for its end, or choose another folder", location)
	}
	if err != nil {
		return nil, fmt.Errorf("the output folder cannot be used: %w", err)
	}
	return &Output{location: location, store: out, unlock: unlock}, nil
}

func (o *Output) open(ctx context.Context, program string, run Run) error {
	m, finished, err := Finished(ctx, o.location)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A run that was killed before its first manifest had its name has left nothing that is listed.
		empty, err := o.store.Empty(ctx)
		if err != nil {
			return fmt.Errorf("the output folder cannot be used: %w", err)
		}
		if !empty {
			// In a bucket, which has no locks, another run may have begun since.
			if _, _, err := Finished(ctx, o.location); !errors.Is(err, fs.ErrNotExist) {
				return o.open(ctx, program, run)
			}
			return fmt.Errorf("%s is not empty and holds no output of score: choose another folder", o.location)
		}
		o.manifest = Manifest{Format: manifestFormat, Program: program, Run: run}
		text, err := o.manifest.encode()
		if err == nil {
			err = store.CreateFile(ctx, o.store, manifestFile, text) // from now on the folder is known to be this run's
		}
		if errors.Is(err, fs.ErrExist) {
			return o.open(ctx, program, run)
		}
		return err
	case err != nil:
		return err
	}
	if d := run.differs(m.Run); d != "" {
		return fmt.Errorf("%s holds the output of another run, of %s: choose another folder, or remove this one", o.location, d)
	}
	if m.Retrying > 0 {
		return retrying(o.location)
	}
	o.manifest, o.finished = m, finished
	return nil
}

func retrying(location string) error {
	return fmt.Errorf("a retry of %s was begun and has not ended: run logobeam retry %s again", location, location)
}

// differs names what tells r from the run that an output is of, empty if nothing does.
func (r Run) differs(there Run) string {
	var list []string
	say := func(what, there, here string) {
		if there != here {
			list = append(list, fmt.Sprintf("%s %s (now %s)", what, there, here))
		}
	}
	if r.ListingHash != there.ListingHash {
		say("listing", there.listing(), r.listing())
	}
	if r.ModelHash != there.ModelHash {
		say("model", fmt.Sprintf("%s, hash %.8s", there.Model, there.ModelHash), fmt.Sprintf("%s, hash %.8s", r.Model, r.ModelHash))
	}
	names := maps.Clone(r.Options)
	if names == nil {
		names = map[string]string{}
	}
	maps.Copy(names, there.Options)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		say("--"+name, there.Option(name), r.Option(name))
	}
	say("--keep", fmt.Sprintf("%q", there.Keep), fmt.Sprintf("%q", r.Keep))
	say("--after", fmt.Sprintf("%q", there.After), fmt.Sprintf("%q", r.After))
	return strings.Join(list, ", ")
}

// Option is an option's value. Runs of other versions may not have it, and some are noted only where they are not as usual.
func (r Run) Option(name string) string {
	if v, ok := r.Options[name]; ok {
		return v
	}
	switch name {
	case "views":
		return "1"
	case "size":
		return "the model's own"
	}
	return "not known"
}

func (r Run) listing() string {
	if r.Rows == 0 {
		return fmt.Sprintf("%s, hash %.8s", r.Listing, r.ListingHash)
	}
	return fmt.Sprintf("%s with %d rows, hash %.8s", r.Listing, r.Rows, r.ListingHash)
}

// Partial notes in the manifest of a run that ends before its listing does what is done so far. The same run can go on.
func (o *Output) Partial(ctx context.Context, chunks []Done) error {
	m := o.manifest
	m.set(chunks)
	m.Finished = false
	m.Chunks = o.manifest.Chunks // of a retry, if the run was finished once
	return m.write(ctx, o.store)
}

// Commit ends the run of an output that Open has made, in another process perhaps: it checks that the parts follow each
// other through the listing and hold every row of it, removes what failed attempts left, and writes the manifest and then
// _SUCCESS. Reports of a chunk beyond its first count for nothing.
func Commit(ctx context.Context, location string, chunks []Done) (Manifest, error) {
	m, err := ReadManifest(ctx, location)
	if err != nil {
		return m, err
	}
	if m.Retrying > 0 {
		return m, retrying(location)
	}
	// What a retry has made counts too, if _SUCCESS alone was lost.
	retried, err := reread(ctx, location, slices.DeleteFunc(m.Chunks, func(d Done) bool { return d.Round == 0 }))
	if err != nil {
		return m, err
	}
	out, err := m.finish(ctx, location, append(retried, chunks...))
	if err != nil {
		return m, err
	}
	if err := m.write(ctx, out); err != nil {
		return m, err
	}
	return m, out.Put(ctx, successFile, nil)
}

// finish makes m the manifest of a finished run with these chunks, once they are proved to be all and nothing else lies in the
// output. Writing it, and _SUCCESS, is left to do.
func (m *Manifest) finish(ctx context.Context, location string, chunks []Done) (store.Store, error) {
	m.set(chunks)
	m.Finished = true
	if err := m.check(location); err != nil {
		return nil, err
	}
	out, err := at(ctx, location)
	if err != nil {
		return nil, err
	}
	return out, m.tidy(ctx, out)
}

// set sorts the chunks, takes each once, and counts what is in them.
func (m *Manifest) set(chunks []Done) {
	chunks = slices.Clone(chunks)
	slices.SortStableFunc(chunks, func(a, b Done) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Round, b.Round), cmp.Compare(a.Chunk, b.Chunk))
	})
	m.Chunks = slices.CompactFunc(chunks, func(a, b Done) bool { return a.Chunk == b.Chunk })
	m.Rows, m.Scored, m.Rejected, m.Retryable, m.Skipped = 0, 0, 0, 0, 0
	m.Brands, m.Reasons = map[string]int64{}, map[string]int64{}
	for rounds := range m.byChunk() {
		for _, d := range rounds {
			m.Scored += d.Scored
			for brand, n := range d.Brands {
				m.Brands[brand] += n
			}
		}
		last := rounds[len(rounds)-1]
		m.Rows += rounds[0].Rows
		m.Skipped += rounds[0].Skipped
		m.Rejected += last.Rejected
		m.Retryable += last.Retryable
		for reason, n := range last.Reasons {
			m.Reasons[reason] += n
		}
	}
}

// byChunk yields the rounds of each chunk of the listing.
func (m *Manifest) byChunk() func(yield func([]Done) bool) {
	return func(yield func([]Done) bool) {
		for rest := m.Chunks; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].Index == rest[0].Index {
				n++
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// check proves from the chunks' numbers that no row of the listing is missing, or there twice. The error names up to 20
// faults.
func (m *Manifest) check(location string) error {
	var faults []error
	fault := func(format string, args ...any) {
		if len(faults) < mostFindings {
			faults = append(faults, fmt.Errorf("%s: %w", location, fmt.Errorf(format, args...)))
		}
	}
	var before Done
	next := 0
	for rounds := range m.byChunk() {
		d := rounds[0]
		if d.Index != next || d.Round != 0 {
			fault("chunk %d of the listing is missing: run score again", next)
		} else if next > 0 && d.File == before.File && d.Offset != before.End {
			fault("chunk %d of the listing ends at %d and the next one begins at %d: remove the output and run score again", before.Index, before.End, d.Offset)
		} else if d.File < before.File || d.End < d.Offset {
			fault("chunk %d of the listing, from %d to %d of file %d, is not where it belongs: remove the output and run score again", d.Index, d.Offset, d.End, d.File)
		}
		for i, d := range rounds {
			want := rounds[0].Rows
			if i > 0 {
				want = rounds[i-1].Rejected
			}
			if d.Rows != want || d.Scored+d.Rejected+d.Skipped != d.Rows || min(d.Scored, d.Rejected, d.Skipped) < 0 || d.base() != rounds[0].Chunk {
				fault("part %s is of %d rows and holds %d scores, %d rejects and %d skipped; it should be of %d: remove the output and run score again",
					d.Chunk, d.Rows, d.Scored, d.Rejected, d.Skipped, want)
			}
		}
		before, next = d, d.Index+1
	}
	if next != m.Run.Chunks {
		fault("%d chunks are done and the listing has %d: run score again", next, m.Run.Chunks)
	}
	if m.Run.Rows > 0 && m.Rows != m.Run.Rows {
		fault("%d rows are scored, rejected or skipped and the listing has %d: run score again", m.Rows, m.Run.Rows)
	}
	return errors.Join(faults...)
}

// files are the names of the files in an output's folders that belong to the run.
func (m *Manifest) files() map[string]bool {
	known := map[string]bool{}
	for rounds := range m.byChunk() {
		for _, d := range rounds {
			known[scoresFile(d.Chunk)] = true
		}
		known[rounds[len(rounds)-1].rejectsFile()] = true
	}
	return known
}

// tidy removes what attempts that ended early, or came late, have left, and rejects that a later round has taken the place
// of. Before it removes anything it looks whether all files of the run are there. Scores that no chunk of the run has made
// are an error: they would be read with the others.
func (m *Manifest) tidy(ctx context.Context, out store.Store) error {
	missing := m.files()
	var left []string
	for _, dir := range []string{scoresDir, rejectsDir} {
		files, err := out.List(ctx, dir)
		if err != nil {
			return fmt.Errorf("tidying the output: %w", err)
		}
		for _, f := range files {
			switch {
			case missing[f.Name]:
				delete(missing, f.Name)
			case dir == scoresDir:
				return fmt.Errorf("%s is no part of this run, and would be read as if it were: remove it and run score again", store.Join(out.String(), f.Name))
			default:
				left = append(left, f.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		return fmt.Errorf("%s is missing: remove the file of scores of the same chunk too, if it is there, and run the same command again", store.Join(out.String(), name))
	}
	for _, name := range left {
		if err := out.Remove(ctx, name); err != nil {
			return fmt.Errorf("tidying the output: %w", err)
		}
	}
	return out.Sweep(ctx)
}

// ReadManifest reads an output's manifest.json. errors.Is(err, fs.ErrNotExist) where there is none.
func ReadManifest(ctx context.Context, location string) (Manifest, error) {
	out, err := at(ctx, location)
	if err != nil {
		return Manifest{}, err
	}
	text, err := store.ReadFile(ctx, out, manifestFile)
	if err != nil {
		return Manifest{}, fmt.Errorf("%s holds no output of score: %w", location, err)
	}
	var m struct {
		Manifest
		Chunks []Done `json:"chunks"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Manifest{}, fmt.Errorf("%s/%s is no manifest of score: %w", location, manifestFile, err)
	}
	if m.Format != manifestFormat {
		return Manifest{}, fmt.Errorf("%s/%s has format %d, and this version reads %d: use the version that wrote it (%s)",
			location, manifestFile, m.Format, manifestFormat, m.Program)
	}
	m.Manifest.Chunks = m.Chunks
	return m.Manifest, nil
}

// Finished reads the manifest of an output, and tells whether its run was finished.
func Finished(ctx context.Context, location string) (Manifest, bool, error) {
	m, err := ReadManifest(ctx, location)
	if err != nil {
		return m, false, err
	}
	out, err := at(ctx, location)
	if err != nil {
		return m, false, err
	}
	_, err = out.Stat(ctx, successFile)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	return m, err == nil && m.Retrying == 0, err
}

// write replaces the manifest.
func (m *Manifest) write(ctx context.Context, out store.Store) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	return out.Put(ctx, manifestFile, text)
}

// encode gives each chunk a line, so that people can read the manifest.
func (m *Manifest) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(bytes.TrimSuffix(text, []byte("\n}")))
	b.WriteString(",\n  \"chunks\": [")
	for i, d := range m.Chunks {
		d.Brands, d.Reasons = nil, nil
		line, err := json.Marshal(d)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		b.Write(line)
	}
	b.WriteString("\n  ]\n}\n")
	return b.Bytes(), nil
}
