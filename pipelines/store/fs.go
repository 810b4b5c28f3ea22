package store

import (
	"cmp"
	"context"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// FS is a store in the form in which other packages read files. It asks the store with ctx as long as it is used. A
// folder is there if a file is below it; to open one lists all that is below it. Times of modification are zero.
func FS(ctx context.Context, s Store) fs.FS { return fsys{ctx, s} }

type fsys struct {
	ctx   context.Context
	store Store
}

func (f fsys) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return f.folder(name)
	}
	file, err := f.store.Open(f.ctx, name)
	if err == nil {
		return &openFile{ctx: f.ctx, file: file, info: fileInfo{path.Base(name), file.Info().Size, 0o444}}, nil
	}
	if d, e := f.folder(name); e == nil && len(d.entries) > 0 {
		return d, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: err}
}

// folder is a folder and what is right in it. One that is not there is empty.
func (f fsys) folder(name string) (*openFolder, error) {
	all, err := f.store.List(f.ctx, name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	d := &openFolder{info: fileInfo{path.Base(name), 0, fs.ModeDir | 0o555}}
	for _, i := range all {
		below := i.Name
		if name != "." {
			below = strings.TrimPrefix(i.Name, name+"/")
		}
		info := fileInfo{below, i.Size, 0o444}
		if child, _, ok := strings.Cut(below, "/"); ok {
			info = fileInfo{child, 0, fs.ModeDir | 0o555}
		}
		d.entries = append(d.entries, fs.FileInfoToDirEntry(info))
	}
	slices.SortStableFunc(d.entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	d.entries = slices.CompactFunc(d.entries, func(a, b fs.DirEntry) bool { return a.Name() == b.Name() })
	return d, nil
}

// fileInfo is what is known of a file or a folder.
type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return time.Time{} }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

// openFile is a file that is read from its beginning to its end.
type openFile struct {
	ctx    context.Context
	file   File
	info   fileInfo
	stream io.ReadCloser // nil before the first Read
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *openFile) Read(p []byte) (int, error) {
	if f.stream == nil {
		s, err := f.file.Range(f.ctx, 0, f.info.size)
		if err != nil {
			return 0, err
		}
		f.stream = s
	}
	return f.stream.Read(p)
}

func (f *openFile) Close() error {
	if f.stream != nil {
		f.stream.Close()
	}
	return f.file.Close()
}

// openFolder is a folder that is read entry by entry.
type openFolder struct {
	info    fileInfo
	entries []fs.DirEntry // not read yet
}

func (d *openFolder) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openFolder) Close() error               { return nil }

func (d *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: fs.ErrInvalid}
}

func (d *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.entries)
	} else if n = min(n, len(d.entries)); n == 0 {
		return nil, io.EOF
	}
	some := d.entries[:n:n]
	d.entries = d.entries[n:]
	return some, nil
}
