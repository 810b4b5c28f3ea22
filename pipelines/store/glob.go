package store

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
)

// place is a Store that can show a folder without what is in its folders, so that Glob lists no more than it must.
type place interface {
	Store
	// children are the names, in the store, of the files and of the folders right in a folder whose own names begin with a
	// prefix.
	children(ctx context.Context, folder, prefix string) (files, folders []string, err error)
}

const meta = `*?[\` // what makes a name a pattern

// Glob gives the locations of the files that a pattern names, sorted: gs://bucket/2026-*/posts-[0-9].csv.gz, or a path
// with *, ?, [] and \ as path.Match has them, none of which meets a slash. They are for names of files and folders, not
// for a bucket's. A pattern without any of them is itself, whether there is such a file or not, and so is the name of a
// file or folder that is there as it is. Where nothing matches there are no locations and no error.
func Glob(ctx context.Context, pattern string) ([]string, error) {
	i := strings.IndexAny(pattern, meta)
	if i < 0 {
		return []string{pattern}, nil
	}
	if IsRemote(pattern) && !strings.Contains(pattern[len(remote):max(i, len(remote))], "/") {
		return nil, fmt.Errorf("%s: a bucket's name cannot be a pattern: write it out", pattern)
	}
	root, begin := Split(pattern[:i])
	rest := begin + pattern[i:]
	s, err := at(ctx, root)
	if err != nil {
		return nil, err
	}
	if there, err := exists(ctx, s, path.Clean(rest)); there || err != nil {
		return []string{pattern}, err
	}
	if _, err := path.Match(rest, ""); err != nil {
		return nil, fmt.Errorf(`%s: no pattern: a [ is not closed, or a \ stands at its end`, pattern)
	}
	found, err := match(ctx, s, ".", strings.Split(path.Clean(rest), "/"))
	if err != nil {
		return nil, err
	}
	for i, name := range found {
		found[i] = Join(root, name)
	}
	slices.Sort(found)
	return found, nil
}

func exists(ctx context.Context, s place, name string) (bool, error) {
	files, folders, err := s.children(ctx, path.Dir(name), path.Base(name))
	return slices.Contains(files, name) || slices.Contains(folders, name), err
}

// match gives the files under a folder whose names match the segments of a pattern, one after the other.
func match(ctx context.Context, s place, folder string, segments []string) ([]string, error) {
	prefix := segments[0]
	if i := strings.IndexAny(prefix, meta); i >= 0 {
		prefix = prefix[:i]
	}
	files, folders, err := s.children(ctx, folder, prefix)
	if err != nil {
		return nil, err
	}
	differs := func(name string) bool {
		ok, err := path.Match(segments[0], path.Base(name))
		return !ok || err != nil // no error: Glob has tried the whole pattern
	}
	if len(segments) == 1 {
		return slices.DeleteFunc(files, differs), nil
	}
	var all []string
	for _, folder := range slices.DeleteFunc(folders, differs) {
		found, err := match(ctx, s, folder, segments[1:])
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}
