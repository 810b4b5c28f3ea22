// Package store is where the program's files lie: listings, models, outputs. A Store is a folder of a local disk or a
// prefix in a bucket of Google Cloud Storage, and both keep the same promises:
//
//	out, err := store.At(ctx, "gs://bucket/scored") // or a folder's path
//	w, err := out.Create(ctx, "scores/part-1.parquet")
//	defer w.Abort()
//	_, err = w.Write(data)
//	err = w.Commit() // errors.Is(err, fs.ErrExist) if somebody was first; what is there stays
//
// A file is seen under its name when it is whole, and never before. What Commit or Put has returned nil for stays through
// a crash and a power cut. Names in a Store are slash-separated and relative to it, as fs.ValidPath has them. In locations
// nothing is escaped: gs://bucket/100%.csv is the object "100%.csv".
//
// Buckets are reached with application default credentials (https://google.aip.dev/auth/4110), or without any at the
// address in STORAGE_EMULATOR_HOST. What fails for a while is repeated; an operation that gets no further for two minutes
// ends with an error.
//
// Errors answer errors.Is for fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, ErrChanged and the context's errors. They name
// the location in full.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Info is what a store knows of a file without reading it.
type Info struct {
	Name string // in the store
	Size int64  // bytes
	// Version changes whenever the content may have: on a disk it is the time of modification and the size, in a bucket the
	// generation.
	Version string
	// Sum is a checksum of the content where the store has one ("crc32c:9ae0daaf"), and otherwise empty.
	Sum string
}

// File is a file open for reading, at any place and from many goroutines. ReadAt uses the context of Open. What is read is
// the content that was there at Open; where that cannot be had any more the error is ErrChanged. In a bucket this is so
// when another file has taken its place. On a disk a file that was replaced can be read to its end, but one that was
// written to in its place cannot, which programs other than this one may do.
//
// In a bucket each ReadAt and each Range is a request: better few of them for much.
type File interface {
	io.ReaderAt
	io.Closer
	Info() Info
	// Range streams n bytes from offset on, fewer where the file ends. The stream is to be closed. Of a bucket's file that
	// is streamed whole, the checksum is checked.
	Range(ctx context.Context, offset, n int64) (io.ReadCloser, error)
}

// Writer writes a file that nobody sees before Commit. It is for one goroutine.
type Writer interface {
	io.Writer
	// Commit gives the file its name, durably. If there is a file of that name already, it stays as it is and the error is
	// fs.ErrExist, even if it is the same; only what this Writer itself has put there, by a try whose answer was lost, is no
	// error. After another error there is nothing, or the whole file.
	Commit() error
	// Abort removes what was written. After Commit it does nothing.
	Abort()
}

// Store is a place for files. It may be used from many goroutines.
type Store interface {
	// String is the location that At was given.
	String() string
	Stat(ctx context.Context, name string) (Info, error)
	Open(ctx context.Context, name string) (File, error)
	// List gives all files under a folder, those in its folders too, sorted by name; "." is the whole store. Files that are
	// being written are not among them. Where there is no such folder there are no files.
	List(ctx context.Context, folder string) ([]Info, error)
	// Empty says whether List(ctx, ".") gives nothing, without listing all that there may be.
	Empty(ctx context.Context) (bool, error)
	// Create begins a file that must not be there yet when it is committed. ctx holds until then. On a disk the file grows
	// beside its final place, for a bucket in memory.
	Create(ctx context.Context, name string) (Writer, error)
	// Put writes a file at once, in place of the one that is there.
	Put(ctx context.Context, name string, data []byte) error
	// Remove removes a file. It is no error if there is none.
	Remove(ctx context.Context, name string) error
	// Lock keeps other processes from locking the store until unlock is called or this process ends, where that can be had:
	// on a disk, and not on every network's. ErrLocked if another has it. It spares work that would be done twice; that no
	// file is lost is Commit's promise, with or without it.
	Lock(ctx context.Context) (unlock func() error, err error)
	// Sweep removes what writers that ended without Commit or Abort have left. It leaves those alone that are at work.
	Sweep(ctx context.Context) error
}

var (
	// ErrChanged says that a file was replaced while it was being read.
	ErrChanged = errors.New("the file has changed while it was read")
	// ErrLocked says that another process works in the store.
	ErrLocked = errors.New("another process is writing there")
)

const remote = "gs://" // begins the locations of buckets

// IsRemote says whether a location is in a bucket.
func IsRemote(location string) bool { return strings.HasPrefix(location, remote) }

// At is the store at a location: gs://bucket/prefix or a folder's path, which need not be there yet.
func At(ctx context.Context, location string) (Store, error) { return at(ctx, location) }

func at(ctx context.Context, location string) (place, error) {
	switch scheme, _, ok := strings.Cut(location, "://"); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case location == "":
		return nil, errors.New("a location is missing: name a folder or gs://bucket/prefix")
	case IsRemote(location):
		return bucketAt(location)
	case !ok || strings.ContainsAny(scheme, `/\`):
		return disk{location}, nil
	default:
		return nil, fmt.Errorf("%s: files cannot be kept at %s: name a folder or gs://bucket/prefix", location, scheme)
	}
}

// checkName keeps names from meaning something else than a file. Bytes that are no UTF-8 may be in a disk's names.
func checkName(location, name string) error {
	if !fs.ValidPath(strings.ToValidUTF8(name, "?")) || name == "." {
		return fmt.Errorf("%s: %q is no name of a file in it", location, name)
	}
	return nil
}

const pendingMark = ".pending-" // begins the names of files that are being written

func isPending(name string) bool { return strings.HasPrefix(name, pendingMark) }

// checkNew is checkName for a file that is to be written.
func checkNew(location, name string) error {
	if isPending(path.Base(name)) {
		return fmt.Errorf("%s: %q would be taken for a file that is not finished: choose another name", location, name)
	}
	return checkName(location, name)
}

// OpenFile opens the file at a location.
func OpenFile(ctx context.Context, location string) (File, error) {
	if IsRemote(location) { // a slash that is doubled, or at the beginning, is a part of an object's name
		b, name, err := inBucket(location)
		if err != nil {
			return nil, err
		}
		return b.Open(ctx, name)
	}
	folder, name := Split(location)
	s, err := At(ctx, folder)
	if err != nil {
		return nil, err
	}
	return s.Open(ctx, name)
}

// ReadFile reads a small file of a store, anew if it is replaced meanwhile.
func ReadFile(ctx context.Context, s Store, name string) (data []byte, err error) {
	for range 5 {
		if data, err = readOnce(ctx, s, name); !errors.Is(err, ErrChanged) {
			break
		}
	}
	return data, err
}

func readOnce(ctx context.Context, s Store, name string) ([]byte, error) {
	f, err := s.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := f.Range(ctx, 0, f.Info().Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// CreateFile writes a file of a store that must not be there yet: fs.ErrExist if it is.
func CreateFile(ctx context.Context, s Store, name string, data []byte) error {
	w, err := s.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit()
}

// Split takes a file's location apart into that of the folder it is in and its name there.
func Split(location string) (folder, name string) {
	begin := 0
	if IsRemote(location) {
		begin = len(remote)
	}
	i := strings.LastIndexByte(location[begin:], '/')
	switch {
	case i < 0 && begin > 0: // a bucket
		return location, ""
	case i < 0:
		return ".", location
	case begin+i == 0:
		return "/", location[1:]
	}
	return location[:begin+i], location[begin+i+1:]
}

// Join is the location of a file by the folder's and its name there.
func Join(folder, name string) string {
	switch {
	case folder == ".":
		return name
	case strings.HasSuffix(folder, "/"):
		return folder + name
	}
	return folder + "/" + name
}
