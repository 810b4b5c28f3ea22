package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// disk is a folder of a local disk, or of a disk of another machine that is mounted as one.
type disk struct{ root string }

func (d disk) String() string { return d.root }

// path is where a file lies.
func (d disk) path(ctx context.Context, name string) (string, error) {
	return filepath.Join(d.root, filepath.FromSlash(name)), cmp.Or(checkName(d.root, name), ctx.Err())
}

// folder is where a folder lies.
func (d disk) folder(ctx context.Context, name string) (string, error) {
	if name == "." {
		return d.root, ctx.Err()
	}
	return d.path(ctx, name)
}

func info(name string, i fs.FileInfo) Info {
	return Info{Name: name, Size: i.Size(), Version: fmt.Sprintf("%d-%d", i.ModTime().UnixNano(), i.Size())}
}

func regular(file string, i fs.FileInfo) error {
	if !i.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", file)
	}
	return nil
}

func (d disk) Stat(ctx context.Context, name string) (Info, error) {
	file, err := d.path(ctx, name)
	if err != nil {
		return Info{}, err
	}
	i, err := os.Stat(file)
	if err != nil {
		return Info{}, err
	}
	return info(name, i), regular(file, i)
}

// diskFile is a file as it was when it was opened. If another takes its name, this one can still be read to its end.
type diskFile struct {
	ctx context.Context // of Open, for ReadAt
	f   *os.File
	was Info
}

func (d disk) Open(ctx context.Context, name string) (File, error) {
	file, err := d.path(ctx, name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would wait for a writer for ever
	if err != nil {
		return nil, err
	}
	i, err := f.Stat()
	if err == nil {
		err = regular(file, i)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &diskFile{ctx, f, info(name, i)}, nil
}

func (f *diskFile) Info() Info   { return f.was }
func (f *diskFile) Close() error { return f.f.Close() }

func (f *diskFile) ReadAt(p []byte, offset int64) (int, error) { return f.read(f.ctx, p, offset) }

// read looks after each reading whether somebody has written to the file, for then what was read may be of two contents.
// Writing that leaves the size as it was within a tick of the file system's clock, some milliseconds, goes unnoticed.
func (f *diskFile) read(ctx context.Context, p []byte, offset int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, failed(f.f.Name(), err)
	}
	n, err := f.f.ReadAt(p, offset)
	if i, e := f.f.Stat(); e == nil && info(f.was.Name, i) != f.was {
		return 0, failed(f.f.Name(), ErrChanged)
	}
	return n, err
}

// diskStream is a part of a file while it is read.
type diskStream struct {
	ctx        context.Context
	file       *diskFile
	offset, to int64
}

func (f *diskFile) Range(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	if offset < 0 || n < 0 {
		return nil, fmt.Errorf("%s: no %d bytes can be read from byte %d on", f.f.Name(), n, offset)
	}
	return &diskStream{ctx, f, offset, offset + min(n, max(0, f.was.Size-offset))}, ctx.Err()
}

func (s *diskStream) Read(p []byte) (int, error) {
	if s.offset >= s.to {
		return 0, io.EOF
	}
	n, err := s.file.read(s.ctx, p[:min(int64(len(p)), s.to-s.offset)], s.offset)
	s.offset += int64(n)
	return n, err
}

func (s *diskStream) Close() error { return nil }

// walk goes through the files below a folder, those that are being written too, with their places in it. The folder may
// be a link to one; links to folders in it are not followed. Where there is no folder there are no files.
func walk(ctx context.Context, top string, do func(file, place string) error) error {
	if target, err := filepath.EvalSymlinks(top); err == nil {
		top = target
	}
	return filepath.WalkDir(top, func(file string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR): // or removed since it was listed
			return nil
		case err != nil:
			return err
		case e.IsDir() || file == top:
			return ctx.Err()
		}
		place, err := filepath.Rel(top, file)
		if err != nil {
			return err
		}
		return do(file, filepath.ToSlash(place))
	})
}

// listed says whether a file is one that List gives. A link to a file is a file.
func listed(file string) (fs.FileInfo, bool, error) {
	if isPending(filepath.Base(file)) {
		return nil, false, nil
	}
	i, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return i, err == nil && i.Mode().IsRegular(), err
}

func (d disk) Empty(ctx context.Context) (empty bool, err error) {
	empty = true
	err = walk(ctx, d.root, func(file, _ string) error {
		_, found, err := listed(file)
		if found {
			empty = false
			return fs.SkipAll
		}
		return err
	})
	return empty, err
}

func (d disk) List(ctx context.Context, folder string) ([]Info, error) {
	top, err := d.folder(ctx, folder)
	if err != nil {
		return nil, err
	}
	var all []Info
	err = walk(ctx, top, func(file, place string) error {
		i, found, err := listed(file)
		if found {
			all = append(all, info(path.Join(folder, place), i))
		}
		return err
	})
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

func (d disk) children(ctx context.Context, folder, prefix string) (files, folders []string, err error) {
	top, err := d.folder(ctx, folder)
	if err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(top)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || isPending(e.Name()) {
			continue
		}
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			if i, err := os.Stat(filepath.Join(top, e.Name())); err == nil { // else it points to nothing
				mode = i.Mode()
			}
		}
		switch name := path.Join(folder, e.Name()); {
		case mode.IsDir():
			folders = append(folders, name)
		case mode.IsRegular():
			files = append(files, name)
		}
	}
	return files, folders, err
}

// diskWriter writes a file beside its final place, under a name that nobody reads.
type diskWriter struct {
	ctx   context.Context
	f     *os.File
	final string
	err   error // of the first Write that failed, or fs.ErrClosed when all is over
}

func (d disk) Create(ctx context.Context, name string) (Writer, error) {
	w, err := d.create(ctx, name)
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (d disk) create(ctx context.Context, name string) (*diskWriter, error) {
	final, err := d.path(ctx, name)
	if err = cmp.Or(checkNew(d.root, name), err); err != nil {
		return nil, err
	}
	folder := filepath.Dir(final)
	if err := makeFolder(folder); err != nil {
		return nil, failed(final, err)
	}
	// Sweep leaves files alone that somebody has locked.
	f, err := openLocked(filepath.Join(folder, pendingMark+rand.Text()), os.O_EXCL)
	if f == nil {
		return nil, failed(final, err)
	}
	if err != nil && !lacking(err) {
		f.Close()
		return nil, failed(final, err)
	}
	return &diskWriter{ctx: ctx, f: f, final: final}, nil
}

func (w *diskWriter) Write(p []byte) (int, error) {
	n := 0
	if w.err = cmp.Or(w.err, w.ctx.Err()); w.err == nil {
		n, w.err = w.f.Write(p)
	}
	return n, failed(w.final, w.err)
}

func (w *diskWriter) Commit() error { return w.finish(nameNew) }

// finish makes the content last, gives it its name in a way of one's choice, and makes the name last.
func (w *diskWriter) finish(name func(pending, final string) error) error {
	defer w.Abort()
	err := cmp.Or(w.err, w.ctx.Err())
	if err == nil {
		err = w.f.Sync() // after this, closing has nothing left that could fail
	}
	if err == nil {
		err = name(w.f.Name(), w.final)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(w.final))
	}
	return failed(w.final, err)
}

func (w *diskWriter) Abort() {
	if w.err != fs.ErrClosed {
		w.err = fs.ErrClosed
		os.Remove(w.f.Name()) // the content has its other name, or none
		w.f.Close()
	}
}

func (d disk) Put(ctx context.Context, name string, data []byte) error {
	w, err := d.create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.finish(os.Rename)
}

// failed says what went wrong with a file, and not with the name under which it was being written.
func failed(file string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		err = fmt.Errorf("%w: free some there, and run again", err)
	}
	return fmt.Errorf("%s: %w", file, err)
}

// makeFolder makes a folder and those above it that are missing, and makes their names last.
func makeFolder(folder string) error {
	var changed []string
	for f := folder; f != filepath.Dir(f); f = filepath.Dir(f) {
		if _, err := os.Stat(f); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		changed = append(changed, filepath.Dir(f))
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	for _, f := range changed {
		if err := syncFolder(f); err != nil {
			return err
		}
	}
	return nil
}

// syncFolder makes the names in a folder last, where the file system can say so.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !lacking(err) {
		return err
	}
	return nil
}

// nameNew gives a file its final name if no file has it: in the best way that the file system has.
func nameNew(pending, final string) error {
	err := link(pending, final)
	if lacking(err) {
		err = renameNew(pending, final)
	}
	if lacking(err) {
		err = renameLocked(pending, final)
	}
	return err
}

// lacking says whether an error may mean that the file system cannot do what it was asked for: those without hard links
// (exFAT, many that run in user space) say EPERM, those without exclusive renames or syncing of folders EINVAL, network
// disks that lock no folders EBADF or ENOLCK.
func lacking(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOLCK)
}

// link gives a file a second name. Unlike a rename it never takes another file's place.
func link(pending, final string) error {
	err := os.Link(pending, final)
	if errors.Is(err, fs.ErrExist) {
		// Over a network the answer to the first try may be lost, and the second finds what the first has made.
		a, errA := os.Stat(pending)
		b, errB := os.Lstat(final)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return nil
		}
	}
	return err
}

// renameLocked looks, and renames, while no other process on this machine does the same in that folder. So it is safe as
// long as one machine writes there, which is what file systems that know neither links nor exclusive renames are made for.
func renameLocked(pending, final string) error {
	lock, err := openLocked(filepath.Join(filepath.Dir(final), pendingMark+"name"), 0)
	if lock != nil {
		defer lock.Close()
	}
	if err != nil {
		return err
	}
	if _, err := os.Lstat(final); !errors.Is(err, fs.ErrNotExist) {
		return cmp.Or(err, fs.ErrExist)
	}
	return os.Rename(pending, final)
}

// openLocked creates a file, or opens one, and locks it until it is closed. Where files cannot be locked it gives both
// the file and an error that is lacking.
func openLocked(file string, flags int) (*os.File, error) {
	for try := 1; ; try++ {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|flags, 0o666)
		if err != nil {
			return nil, err
		}
		if err := flock(f, unix.LOCK_EX); err != nil {
			return f, err
		}
		// Sweep may have removed it before it was locked; then others lock another file by that name.
		mine, err := f.Stat()
		if there, e := os.Lstat(file); err == nil && e == nil && os.SameFile(mine, there) || try == 100 {
			return f, nil
		}
		f.Close()
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

func (d disk) Remove(ctx context.Context, name string) error {
	file, err := d.path(ctx, name)
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (d disk) Lock(ctx context.Context) (unlock func() error, err error) {
	if err := cmp.Or(ctx.Err(), makeFolder(d.root)); err != nil {
		return nil, err
	}
	f, err := os.Open(d.root)
	if err != nil {
		return nil, err
	}
	switch err := flock(f, unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		f.Close()
		return nil, fmt.Errorf("%s: %w", d.root, ErrLocked)
	case err != nil && !lacking(err): // on some network disks folders cannot be locked
		f.Close()
		return nil, failed(d.root, err)
	}
	return f.Close, nil
}

func (d disk) Sweep(ctx context.Context) error {
	return walk(ctx, d.root, func(file, place string) error {
		if !isPending(path.Base(place)) {
			return nil
		}
		f, err := os.OpenFile(file, os.O_WRONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			defer f.Close()
			err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EWOULDBLOCK): // its writer is at work
			return nil
		case err != nil && !lacking(err):
			return err
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
