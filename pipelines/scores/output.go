package scores

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Run is what a run was asked to do, in so far as it changes what comes out. Output of one run is not mixed with another's.
type Run struct {
	Listing     string `json:"listing"`      // file or pattern, as given
	ListingHash string `json:"listing_hash"` // of its rows
	Rows        int64  `json:"rows"`         // of the listing
	Model       string `json:"model"`        // its folder as given, or built-in
	ModelHash   string `json:"model_hash"`
	// Options are those that change results, by the names of their flags.
	Options map[string]string `json:"options"`
}

// Manifest is manifest.json.
type Manifest struct {
	Format   int              `json:"format"`
	Program  string           `json:"program"` // that wrote it
	Run      Run              `json:"run"`
	Rows     int64            `json:"rows"`
	Scored   int64            `json:"scored"`
	Rejected int64            `json:"rejected"`
	Brands   map[string]int64 `json:"brands"`  // scores by brand
	Reasons  map[string]int64 `json:"reasons"` // rejects by "stage: reason"
	Chunks   []Done           `json:"chunks"`  // sorted by name; none while the run is not finished
}

const manifestFormat = 1

// Output is a folder that a run writes to. Other runs cannot open it until it is closed.
type Output struct {
	dir      string
	manifest Manifest
	finished bool
	lock     *os.File
}

// Close lets other runs open the folder.
func (o *Output) Close() error { return o.lock.Close() }

// Open makes or reopens the folder of a run, which has to be closed. It is an error, and nothing is touched, if the
// folder holds another run's output (the error says what differs) or anything else, or if a run that has not ended is
// writing to it.
func Open(dir, program string, run Run) (*Output, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the output folder cannot be made: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	o, err := open(dir, program, run)
	if err != nil {
		lock.Close()
		return nil, err
	}
	o.lock = lock
	return o, nil
}

// lockFolder keeps other processes from locking dir until the file is closed, or this process ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("the output folder cannot be used: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("another run is writing to %s: wait for its end, or choose another folder", dir)
	}
	return nil, fmt.Errorf("the output folder %s cannot be locked: %w", dir, err)
}

func open(dir, program string, run Run) (*Output, error) {
	o := &Output{dir: dir, manifest: Manifest{Format: manifestFormat, Program: program, Run: run}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the output folder cannot be used: %w", err)
	}
	// A run that was killed before its first manifest had its name has left that alone, under another.
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !isPending(e.Name()) }) {
		m, finished, err := Finished(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not empty and holds no output of score: choose another folder", dir)
		}
		if err != nil {
			return nil, err
		}
		if d := run.differs(m.Run); d != "" {
			return nil, fmt.Errorf("%s holds the output of another run, of %s: choose another folder, or remove this one", dir, d)
		}
		o.manifest, o.finished = m, finished
		if finished {
			return o, nil
		}
	} else if err := o.writeManifest(); err != nil { // from now on the folder is known to be this run's
		return nil, err
	}
	for _, sub := range []string{scoresDir, rejectsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("the output folder cannot be made: %w", err)
		}
	}
	return o, nil
}

// differs names what tells r from the run that a folder is of, empty if nothing does.
func (r Run) differs(there Run) string {
	var list []string
	say := func(what, there, here string) {
		if there != here {
			list = append(list, fmt.Sprintf("%s %s (now %s)", what, there, here))
		}
	}
	if r.ListingHash != there.ListingHash {
		say("listing", fmt.Sprintf("%s with %d rows, hash %.8s", there.Listing, there.Rows, there.ListingHash), fmt.Sprintf("%s with %d rows, hash %.8s", r.Listing, r.Rows, r.ListingHash))
	}
	if r.ModelHash != there.ModelHash {
		say("model", fmt.Sprintf("%s, hash %.8s", there.Model, there.ModelHash), fmt.Sprintf("%s, hash %.8s", r.Model, r.ModelHash))
	}
	for _, name := range slices.Sorted(maps.Keys(there.Options)) {
		say("--"+name, there.Options[name], r.Options[name])
	}
	if list == nil && !reflect.DeepEqual(r.Options, there.Options) {
		return "other options"
	}
	return strings.Join(list, ", ")
}

// Finished says that everything was written, _SUCCESS included.
func (o *Output) Finished() bool { return o.finished }

// Manifest is what is known of the run: its counts once it is finished.
func (o *Output) Manifest() Manifest { return o.manifest }

// NewPart begins the part of a chunk in a folder that Open has made, in another process perhaps. Whoever begins it
// aborts or commits it.
func NewPart(dir, chunk string) (*Part, error) {
	s, err := createPending[Score](filepath.Join(dir, scoresDir), chunk)
	if err != nil {
		return nil, err
	}
	r, err := createPending[Reject](filepath.Join(dir, rejectsDir), chunk)
	if err != nil {
		s.remove()
		return nil, err
	}
	return &Part{newDone(chunk), s, r}, nil
}

// ReadPart says what is in a chunk's part, and whether it is there at all. A part with another number of rows than
// the chunk has is an error.
func ReadPart(dir, chunk string, rows int64) (d Done, ok bool, err error) {
	d = newDone(chunk)
	for s, err := range fileRows[Score](filepath.Join(dir, scoresDir, partFile(chunk))) {
		if errors.Is(err, fs.ErrNotExist) {
			return Done{}, false, nil
		}
		if err != nil {
			return Done{}, false, err
		}
		d.score(s)
	}
	for r, err := range fileRows[Reject](filepath.Join(dir, rejectsDir, partFile(chunk))) {
		if errors.Is(err, fs.ErrNotExist) {
			return Done{}, false, nil
		}
		if err != nil {
			return Done{}, false, err
		}
		d.reject(r)
	}
	if d.Scored+d.Rejected != rows {
		return Done{}, false, fmt.Errorf("%s: part %s has %d rows and its chunk %d: remove it from %s and %s to have it made again",
			dir, partFile(chunk), d.Scored+d.Rejected, rows, scoresDir, rejectsDir)
	}
	return d, true, nil
}

// Commit ends the run of a folder that Open has made, in another process perhaps: it checks that the chunks account for
// every row of the listing, removes what failed attempts left, and writes the manifest and then _SUCCESS.
func Commit(dir string, chunks []Done) (Manifest, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return m, err
	}
	m.add(chunks)
	if m.Rows != m.Run.Rows {
		return m, fmt.Errorf("%s: %d rows are scored or rejected and the listing has %d: run score again", dir, m.Rows, m.Run.Rows)
	}
	if err := tidy(dir, m.Chunks); err != nil {
		return m, err
	}
	o := Output{dir: dir, manifest: m}
	if err := o.writeManifest(); err != nil {
		return m, err
	}
	return m, o.writeFile(successFile, nil)
}

// add counts the chunks, each once however often an attempt at it was reported.
func (m *Manifest) add(chunks []Done) {
	byName := map[string]Done{}
	for _, c := range chunks {
		byName[c.Chunk] = c
	}
	m.Rows, m.Scored, m.Rejected, m.Chunks = 0, 0, 0, nil
	m.Brands, m.Reasons = map[string]int64{}, map[string]int64{}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		c := byName[name]
		m.Chunks = append(m.Chunks, c)
		m.Scored += c.Scored
		m.Rejected += c.Rejected
		for brand, n := range c.Brands {
			m.Brands[brand] += n
		}
		for reason, n := range c.Reasons {
			m.Reasons[reason] += n
		}
	}
	m.Rows = m.Scored + m.Rejected
}

// tidy removes the pending files of attempts that ended early. A part that no chunk of the run has made is an error: it
// would be read with the others.
func tidy(dir string, chunks []Done) error {
	known := map[string]bool{}
	for _, c := range chunks {
		known[partFile(c.Chunk)] = true
	}
	for _, sub := range []string{"", scoresDir, rejectsDir} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			return fmt.Errorf("tidying the output: %w", err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, sub, e.Name())
			if isPending(e.Name()) {
				if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("tidying the output: %w", err)
				}
			} else if sub != "" && !known[e.Name()] {
				return fmt.Errorf("%s is no part of this run, and would be read as if it were: remove it and run score again", path)
			}
		}
	}
	return nil
}

// Verify proves from the files alone that every row of the listing was scored or rejected, once: each chunk of the
// manifest has its parts, they hold as many rows, brands and reasons as it says, nothing else lies beside them, and
// together they have as many rows as the listing.
func Verify(dir string) (Manifest, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return m, err
	}
	if _, err := os.Stat(filepath.Join(dir, successFile)); err != nil {
		return m, fmt.Errorf("%s is not finished: %w; run score again", dir, err)
	}
	var errs []error
	for _, want := range m.Chunks {
		have, ok, err := ReadPart(dir, want.Chunk, want.Scored+want.Rejected)
		switch {
		case err != nil:
			errs = append(errs, err)
		case !ok:
			errs = append(errs, fmt.Errorf("%s: the part of chunk %s is missing", dir, want.Chunk))
		case have.Scored != want.Scored || !maps.Equal(have.Brands, want.Brands) || !maps.Equal(have.Reasons, want.Reasons):
			errs = append(errs, fmt.Errorf("%s: the part of chunk %s holds other rows than the manifest says", dir, want.Chunk))
		}
	}
	total := m
	total.add(m.Chunks)
	if total.Rows != m.Run.Rows || total.Rows != m.Rows || total.Scored != m.Scored {
		errs = append(errs, fmt.Errorf("%s: the listing has %d rows, the manifest %d, its chunks %d", dir, m.Run.Rows, m.Rows, total.Rows))
	}
	for _, sub := range []string{scoresDir, rejectsDir} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if !slices.ContainsFunc(m.Chunks, func(c Done) bool { return partFile(c.Chunk) == e.Name() }) {
				errs = append(errs, fmt.Errorf("%s is no part of this run", filepath.Join(dir, sub, e.Name())))
			}
		}
	}
	return m, errors.Join(errs...)
}

// ReadManifest reads a folder's manifest.json. errors.Is(err, fs.ErrNotExist) where there is none.
func ReadManifest(dir string) (Manifest, error) {
	path := filepath.Join(dir, manifestFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return Manifest{}, fmt.Errorf("no output of score: %w", err)
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return Manifest{}, fmt.Errorf("%s is no manifest of score: %w", path, err)
	}
	if m.Format != manifestFormat {
		return Manifest{}, fmt.Errorf("%s has format %d, and this version reads %d: use the version that wrote it (%s)", path, m.Format, manifestFormat, m.Program)
	}
	return m, nil
}

// Finished reads the manifest of a folder, and tells whether its run was finished.
func Finished(dir string) (Manifest, bool, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return m, false, err
	}
	_, err = os.Stat(filepath.Join(dir, successFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	return m, err == nil, err
}

func (o *Output) writeManifest() error {
	text, err := json.MarshalIndent(o.manifest, "", "  ")
	if err != nil {
		return err
	}
	return o.writeFile(manifestFile, append(text, '\n'))
}

// writeFile replaces a file of the folder at once, and makes it last.
func (o *Output) writeFile(name string, text []byte) error {
	f, err := os.CreateTemp(o.dir, pendingName(name))
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer os.Remove(f.Name()) // nothing is left of it once it is renamed
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(f.Name(), filepath.Join(o.dir, name)); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return syncDir(o.dir)
}
