package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// disk is a folder of a local disk.
type disk struct{ root string }

func (d disk) String() string { return d.root }

func (d disk) path(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", fmt.Errorf("%s: %q is no name of a file in it", d.root, name)
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}

func info(name string, i fs.FileInfo) Info {
	return Info{Name: name, Size: i.Size(), Version: strconv.FormatInt(i.ModTime().UnixNano(), 10)}
}

func (d disk) Stat(_ context.Context, name string) (Info, error) {
	path, err := d.path(name)
	if err != nil {
		return Info{}, err
	}
	i, err := os.Stat(path)
	if err != nil {
		return Info{}, err
	}
	if !i.Mode().IsRegular() {
		return Info{}, fmt.Errorf("%s is not a regular file", path)
	}
	return info(name, i), nil
}

// diskFile is a file as it was when it was opened.
type diskFile struct {
	*os.File
	was Info
}

func (f diskFile) Info() Info { return f.was }

func (f diskFile) Range(_ context.Context, offset, n int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(f, offset, n)), nil
}

func (d disk) Open(_ context.Context, name string) (File, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would wait for a writer for ever
	if err != nil {
		return nil, err
	}
	i, err := f.Stat()
	if err == nil && !i.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return diskFile{f, info(name, i)}, nil
}

func (d disk) List(ctx context.Context, folder string) ([]Info, error) {
	top, err := d.path(folder)
	if err != nil {
		return nil, err
	}
	var all []Info
	err = filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // no such folder, or removed since it was listed
			return nil
		}
		if err != nil || e.IsDir() || isPending(e.Name()) {
			return cmpErr(err, ctx.Err())
		}
		rel, err := filepath.Rel(d.root, file)
		if err != nil {
			return err
		}
		i, err := os.Stat(file) // a link to a file is a file
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && i.Mode().IsRegular() {
			all = append(all, info(filepath.ToSlash(rel), i))
		}
		return err
	})
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

func (d disk) children(ctx context.Context, folder, prefix string) (files, folders []string, err error) {
	top, err := d.path(folder)
	if err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(top)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || isPending(e.Name()) {
			continue
		}
		i, err := os.Stat(filepath.Join(top, e.Name())) // a link is what it points to
		switch name := path.Join(folder, e.Name()); {
		case err != nil:
		case i.IsDir():
			folders = append(folders, name)
		case i.Mode().IsRegular():
			files = append(files, name)
		}
	}
	return files, folders, cmpErr(err, ctx.Err())
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

const pendingMark = ".pending-" // begins the names of files that are being written

func isPending(name string) bool { return strings.HasPrefix(name, pendingMark) }

// diskWriter writes beside the file's final place.
type diskWriter struct {
	*os.File
	final string
	done  bool
}

func (d disk) Create(_ context.Context, name string) (Writer, error) { return d.create(name) }

func (d disk) create(name string) (*diskWriter, error) {
	final, err := d.path(name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(final), pendingMark+path.Base(name)+"-*")
	if err != nil {
		return nil, err
	}
	return &diskWriter{File: f, final: final}, nil
}

// finish makes the content last, under the pending name.
func (w *diskWriter) finish() error {
	return errors.Join(w.Chmod(0o644), w.Sync(), w.Close())
}

func (w *diskWriter) Commit() error {
	defer w.Abort()
	if err := w.finish(); err != nil {
		return err
	}
	// A link, unlike a renamed file, never takes another's place.
	if err := os.Link(w.Name(), w.final); err != nil {
		return err
	}
	os.Remove(w.Name())
	w.done = true
	return syncFolder(filepath.Dir(w.final))
}

func (w *diskWriter) Abort() {
	if !w.done {
		w.done = true
		w.Close()
		os.Remove(w.Name())
	}
}

func (d disk) Put(_ context.Context, name string, data []byte) error {
	w, err := d.create(name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	if err := w.finish(); err != nil {
		return err
	}
	if err := os.Rename(w.Name(), w.final); err != nil {
		return err
	}
	w.done = true
	return syncFolder(filepath.Dir(w.final))
}

func (d disk) Remove(_ context.Context, name string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d disk) Lock(context.Context) (unlock func() error, err error) {
	if err := os.MkdirAll(d.root, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Open(d.root)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("%s: %w", d.root, err)
	}
	return f.Close, nil
}

func (d disk) Sweep(context.Context) error {
	err := filepath.WalkDir(d.root, func(file string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && isPending(e.Name()) {
			err = os.Remove(file)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return err
}

// syncFolder makes the names in a folder last.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
