package listing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/logobeam/logobeam/pipelines/store"
)

const (
	smallestChunk = 256
	usualChunk    = 1 << 14 // rows, unless asked for
	largestChunk  = 1 << 16
	manyChunks    = 128     // of fewer rows than usual
	tooMany       = 1 << 12 // of fewer rows than the largest
	mostChunks    = 1 << 14 // of a file that is cut without being read
)

// limits are what tests lower.
type limits struct {
	whole int64 // bytes of a file up to which it is read whole
	look  int   // bytes looked at first to find a place for a cut
}

var usual = limits{whole: 64 << 20, look: 16 << 10}

// Plan cuts the listing into chunks. It is a file, a pattern as store.Glob takes it (its files are read in the order of
// their names), or a folder of images: every file below it whose name ends as an image's does is a post, with its path
// relative to the folder for its post_id and its image.
func Plan(ctx context.Context, pattern string, o Options) ([]Chunk, error) {
	return plan(ctx, pattern, o, usual)
}

func plan(ctx context.Context, pattern string, o Options, l limits) ([]Chunk, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.complete()
	sources, err := expand(ctx, pattern)
	if err != nil {
		return nil, err
	}
	p := planner{limits: l, rows: smallestChunk, exact: o.Exact}
	if o.ChunkRows > 0 {
		p.rows, p.fixed = int64(o.ChunkRows), true
	}
	for i, source := range sources {
		c := Chunk{File: i, Source: source, Format: o.Format, PostIDColumn: o.PostIDColumn, ImageColumn: o.ImageColumn, Keep: o.Keep}
		if err := p.source(ctx, c); err != nil {
			return nil, err
		}
	}
	if len(p.chunks) == 0 {
		return nil, fmt.Errorf("the listing %s holds no rows", pattern)
	}
	chunks := make([]Chunk, len(p.chunks))
	for i, c := range p.chunks {
		chunks[i] = c.Chunk
		chunks[i].Index = i
		if c.Version == "" {
			chunks[i].Hash = c.hash.String()
		} else {
			chunks[i].Hash = c.identity()
		}
	}
	return chunks, nil
}

// expand gives the files of a pattern. A file whose name happens to be a pattern is that file.
func expand(ctx context.Context, pattern string) ([]string, error) {
	if pattern == "-" {
		return nil, errors.New("the listing cannot be read from standard input: its rows are read more than once, so save them to a file first")
	}
	if scheme, _, ok := strings.Cut(pattern, "://"); ok && !strings.ContainsAny(scheme, `/\`) && !store.IsRemote(pattern) {
		return nil, fmt.Errorf("the listing %s cannot be read from there: copy it to a local disk or a bucket (gs://) first", pattern)
	}
	if _, err := os.Lstat(pattern); err == nil && !store.IsRemote(pattern) {
		return []string{filepath.Clean(pattern)}, nil
	}
	sources, err := store.Glob(ctx, pattern)
	if err != nil {
		return nil, fmt.Errorf("the listing %w", err)
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("no file matches the listing's pattern %s", pattern)
	}
	return sources, nil
}

// isFolder says whether there is a folder at a location. A bucket has folders by the names of what is in them.
func isFolder(ctx context.Context, location string) (bool, error) {
	if !store.IsRemote(location) {
		info, err := os.Stat(location)
		return err == nil && info.IsDir(), nil
	}
	parent, name := store.Split(location)
	if name == "" {
		return true, nil
	}
	s, err := store.At(ctx, parent)
	if err != nil {
		return false, err
	}
	_, err = s.Stat(ctx, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	within, err := s.List(ctx, name)
	return len(within) > 0, err
}

// planner collects chunks. It joins neighbours of one file, two by two, when there are too many, so that one pass over
// a listing of unknown length is enough.
type planner struct {
	limits
	chunks []planned
	rows   int64 // of a chunk
	fixed  bool
	exact  bool
}

type planned struct {
	Chunk
	hash rowsHash
}

func (p *planner) source(ctx context.Context, c Chunk) error {
	is, err := isFolder(ctx, c.Source)
	if err != nil {
		return fmt.Errorf("the listing %s: %w", c.Source, err)
	}
	if is {
		return p.folder(ctx, c)
	}
	format, err := formatOf(c.Source, c.Format)
	if err != nil { // but first, what keeps it from being read at all: a folder's misspelt name has no extension either
		in, missing := openFile(ctx, c.Source)
		if missing != nil {
			return missing
		}
		in.close()
		return err
	}
	c.Format = format
	if len(c.Keep) > 0 && c.Format == Text {
		return fmt.Errorf("%s is plain text without columns: there is no %q to keep", c.Source, c.Keep[0])
	}
	in, err := open(ctx, c.Source, c.Format, c.columns())
	if err != nil {
		return c.suggest(err)
	}
	defer in.close()
	defer in.during(ctx)()
	if in.Info().Size <= p.whole || in.packed != plain || p.exact {
		return p.read(ctx, c, in)
	}
	c.Version = version(in.Info())
	if r, ok := in.reader.(*parquetReader); ok {
		p.groups(c, r)
		return nil
	}
	ok, err := p.ranges(ctx, c, in)
	if err != nil || ok {
		return err
	}
	c.Version = ""
	return p.read(ctx, c, in)
}

// read cuts what is read from in at exact rows.
func (p *planner) read(ctx context.Context, c Chunk, in opened) error {
	var post post
	c.Offset, c.Line = in.position()
	for {
		var hash rowsHash
		var end error
		for c.Rows = 0; c.Rows < p.rows; c.Rows++ {
			var r record
			if r, end = in.next(); end != nil {
				break
			}
			post.take(&c, r)
			hash.add(&post)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if end != nil && end != io.EOF {
			return in.failed(end)
		}
		next, line := in.position()
		if c.Rows > 0 {
			c.End, c.About = next, c.Rows
			p.add(planned{c, hash})
		}
		if end != nil {
			return nil
		}
		c.Offset, c.Line = next, line
	}
}

func (p *planner) add(c planned) {
	p.chunks = append(p.chunks, c)
	if !p.fixed && (len(p.chunks) >= manyChunks && p.rows < usualChunk || len(p.chunks) >= tooMany && p.rows < largestChunk) {
		p.join()
	}
}

// join makes one chunk of two where two of one file follow each other.
func (p *planner) join() {
	p.rows *= 2
	joined := p.chunks[:0]
	for i := 0; i < len(p.chunks); i++ {
		c := p.chunks[i]
		if i+1 < len(p.chunks) {
			next := p.chunks[i+1]
			most := p.rows
			if c.Version != "" { // how many rows it has is a guess
				most += most / 8
			}
			if next.Source == c.Source && next.Version == c.Version && c.About+next.About <= most {
				c.hash.join(next.hash, next.Rows)
				c.Rows += next.Rows
				c.About += next.About
				c.End = next.End
				i++
			}
		}
		joined = append(joined, c)
	}
	p.chunks = joined
}
