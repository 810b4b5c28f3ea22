package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"github.com/cenkalti/backoff/v5"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
)

// bucket is a prefix in a bucket of Google Cloud Storage, whose objects are seen whole or not at all, and by all at once.
type bucket struct {
	location string // as At was given it
	name     string
	prefix   string // of its objects' names, with a slash at its end unless it is empty
	*client
}

// https://cloud.google.com/storage/docs/buckets#naming
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

// inBucket takes gs://bucket/rest apart.
func inBucket(location string) (b bucket, rest string, err error) {
	name, rest, _ := strings.Cut(location[len(remote):], "/")
	if !bucketName.MatchString(name) {
		return bucket{}, "", fmt.Errorf("%s: %q is no name of a bucket: want gs://bucket/prefix", location, name)
	}
	c, err := theClient()
	if err != nil {
		return bucket{}, "", fmt.Errorf("%s: %w", location, err)
	}
	return bucket{location: location, name: name, client: c}, rest, nil
}

func bucketAt(location string) (place, error) {
	b, rest, err := inBucket(location)
	if err != nil {
		return nil, err
	}
	if rest = strings.TrimSuffix(rest, "/"); rest != "" {
		b.prefix = rest + "/"
	}
	return b, nil
}

func (b bucket) String() string { return b.location }

// handle is an object by its name in the store.
func (b bucket) handle(name string) *storage.ObjectHandle {
	return b.gcs.Bucket(b.name).Object(b.prefix + name)
}

// fail says what went wrong with a file.
func (b bucket) fail(l *limit, name string, err error) error {
	return explain(l, remote+b.name+"/"+b.prefix+name, err)
}

// check keeps names from meaning something else than a file. Objects that others have made may have names, as a//b, that
// this program gives to none.
func (b bucket) check(name string) error {
	if name == "" || name == "." || strings.HasSuffix(name, "/") {
		return fmt.Errorf("%s: %q is no name of a file in it", b.location, name)
	}
	return nil
}

func (b bucket) info(a *storage.ObjectAttrs) Info {
	return Info{
		Name:    strings.TrimPrefix(a.Name, b.prefix),
		Size:    a.Size,
		Version: strconv.FormatInt(a.Generation, 10),
		Sum:     fmt.Sprintf("crc32c:%08x", a.CRC32C),
	}
}

func (b bucket) Stat(ctx context.Context, name string) (Info, error) {
	a, err := b.attrs(ctx, name)
	if err != nil {
		return Info{}, err
	}
	return b.info(a), nil
}

func (b bucket) attrs(ctx context.Context, name string) (*storage.ObjectAttrs, error) {
	if err := b.check(name); err != nil {
		return nil, err
	}
	l := b.limit(ctx)
	defer l.end()
	a, err := b.handle(name).Attrs(l.ctx)
	return a, b.fail(l, name, err)
}

// bucketFile is one generation of an object.
type bucketFile struct {
	ctx    context.Context // of Open, for ReadAt
	bucket bucket
	object *storage.ObjectHandle
	info   Info
}

func (b bucket) Open(ctx context.Context, name string) (File, error) {
	a, err := b.attrs(ctx, name)
	if err != nil {
		return nil, err
	}
	// As it is stored: the server would unpack what its metadata call packed.
	o := b.handle(name).Generation(a.Generation).ReadCompressed(true)
	return &bucketFile{ctx, b, o, b.info(a)}, nil
}

func (f *bucketFile) Info() Info   { return f.info }
func (f *bucketFile) Close() error { return nil }

func (f *bucketFile) ReadAt(p []byte, offset int64) (int, error) {
	r, err := f.Range(f.ctx, offset, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.ReadFull(r, p)
	if err == io.ErrUnexpectedEOF && offset+int64(n) == f.info.Size {
		err = io.EOF
	}
	return n, err
}

// bucketStream is a part of an object while it comes.
type bucketStream struct {
	file  *bucketFile
	limit *limit
	body  *storage.Reader
	left  int64
}

func (f *bucketFile) Range(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	if offset < 0 || n < 0 {
		return nil, f.bucket.fail(nil, f.info.Name, fmt.Errorf("no %d bytes can be read from byte %d on", n, offset))
	}
	n = min(n, f.info.Size-offset)
	if n <= 0 {
		return http.NoBody, ctx.Err()
	}
	length := n
	if offset == 0 && n == f.info.Size {
		length = -1 // the library checks the checksum of what was asked for whole
	}
	l := f.bucket.limit(ctx)
	body, err := f.object.NewRangeReader(l.ctx, offset, length)
	l.hold()
	if err != nil {
		defer l.end()
		return nil, f.fail(l, err)
	}
	return &bucketStream{f, l, body, n}, nil
}

func (s *bucketStream) Read(p []byte) (int, error) {
	s.limit.rewind()
	n, err := s.body.Read(p)
	s.limit.hold()
	switch s.left -= int64(n); {
	case err == nil:
	case err != io.EOF:
		err = s.file.fail(s.limit, err)
	case s.left > 0:
		err = s.file.fail(s.limit, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (s *bucketStream) Close() error {
	defer s.limit.end()
	return s.body.Close()
}

// fail says what went wrong while f was read. A generation is gone when another has taken its place, or none.
func (f *bucketFile) fail(l *limit, err error) error {
	if errors.Is(err, storage.ErrObjectNotExist) {
		err = ErrChanged
	}
	return f.bucket.fail(l, f.info.Name, err)
}

// isFile says whether an object is none of those that the console makes to show folders.
func isFile(a *storage.ObjectAttrs) bool { return !strings.HasSuffix(a.Name, "/") }

func (b bucket) Empty(ctx context.Context) (empty bool, err error) {
	empty = true
	err = b.each(ctx, ".", &storage.Query{}, func(a *storage.ObjectAttrs) (more bool) {
		empty = !isFile(a)
		return empty
	})
	return empty, err
}

func (b bucket) List(ctx context.Context, folder string) ([]Info, error) {
	var all []Info
	err := b.each(ctx, folder, &storage.Query{}, func(a *storage.ObjectAttrs) (more bool) {
		if isFile(a) {
			all = append(all, b.info(a))
		}
		return true
	})
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

func (b bucket) children(ctx context.Context, folder, prefix string) (files, folders []string, err error) {
	err = b.each(ctx, folder, &storage.Query{Prefix: prefix, Delimiter: "/"}, func(a *storage.ObjectAttrs) (more bool) {
		if a.Prefix != "" {
			folders = append(folders, strings.TrimSuffix(strings.TrimPrefix(a.Prefix, b.prefix), "/"))
		} else if isFile(a) {
			files = append(files, strings.TrimPrefix(a.Name, b.prefix))
		}
		return true
	})
	return files, folders, err
}

// each goes through what a query, whose prefix is one in the folder, finds, as long as do wants more.
func (b bucket) each(ctx context.Context, folder string, q *storage.Query, do func(*storage.ObjectAttrs) (more bool)) error {
	if !fs.ValidPath(folder) {
		return fmt.Errorf("%s: %q is no name of a folder in it", b.location, folder)
	}
	if folder == "." {
		folder = ""
	} else {
		folder += "/"
	}
	q.Prefix = b.prefix + folder + q.Prefix
	q.Projection = storage.ProjectionNoACL
	if err := q.SetAttrSelection([]string{"Name", "Size", "Generation", "CRC32C"}); err != nil {
		return err
	}
	l := b.limit(ctx)
	defer l.end()
	for found := b.gcs.Bucket(b.name).Objects(l.ctx, q); ; l.rewind() {
		a, err := found.Next()
		if err == iterator.Done {
			return nil
		}
		if err != nil {
			return b.fail(l, folder, err)
		}
		if !do(a) {
			return nil
		}
	}
}

// bucketWriter holds a file in memory until it is committed, so that nothing is to be taken back before, and an upload
// that fails can begin again.
type bucketWriter struct {
	ctx    context.Context
	bucket bucket
	name   string
	data   bytes.Buffer
	done   bool
}

func (b bucket) Create(ctx context.Context, name string) (Writer, error) {
	if err := cmp.Or(checkNew(b.location, name), ctx.Err()); err != nil {
		return nil, err
	}
	return &bucketWriter{ctx: ctx, bucket: b, name: name}, nil
}

func (w *bucketWriter) Write(p []byte) (int, error) {
	if w.done {
		return 0, w.bucket.fail(nil, w.name, fs.ErrClosed)
	}
	if err := w.ctx.Err(); err != nil {
		return 0, w.bucket.fail(nil, w.name, err)
	}
	return w.data.Write(p)
}

func (w *bucketWriter) Commit() error {
	if w.done {
		return w.bucket.fail(nil, w.name, fs.ErrClosed)
	}
	defer w.Abort()
	return w.bucket.upload(w.ctx, w.name, w.data.Bytes(), &storage.Conditions{DoesNotExist: true})
}

func (w *bucketWriter) Abort() {
	w.done = true
	w.data = bytes.Buffer{}
}

func (b bucket) Put(ctx context.Context, name string, data []byte) error {
	if err := checkNew(b.location, name); err != nil {
		return err
	}
	return b.upload(ctx, name, data, nil)
}

// writeID is the key, in an object's metadata, of what tells one upload from all others.
const writeID = "logobeam-write"

// upload writes an object, again and again while the server fails for a while. The answer to a write may be lost; then
// the next try meets the object of the one before, which it knows by its ID.
func (b bucket) upload(ctx context.Context, name string, data []byte, only *storage.Conditions) error {
	l := b.limit(ctx)
	defer l.end()
	id := rand.Text()
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	var last error
	most := 0 // bytes that went out in one try
	try := func() (struct{}, error) {
		o := b.handle(name)
		if only != nil {
			o = o.If(*only)
		}
		w := o.NewWriter(l.ctx)
		w.ChunkSize = 0 // one request; it is repeated here, whose answer is lost too
		w.ContentType = "application/octet-stream"
		w.Metadata = map[string]string{writeID: id}
		w.CRC32C, w.SendCRC32C = sum, true
		for sent := 0; sent < len(data); {
			n, err := w.Write(data[sent:min(len(data), sent+1<<20)])
			if err != nil {
				break // Close says why
			}
			if sent += n; sent > most {
				most = sent
				l.rewind()
			}
		}
		last = w.Close()
		if last != nil && !storage.ShouldRetry(last) {
			return struct{}{}, backoff.Permanent(last)
		}
		return struct{}{}, last
	}
	pauses := &backoff.ExponentialBackOff{InitialInterval: firstPause, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: longestPause}
	_, err := backoff.Retry(l.ctx, try, backoff.WithBackOff(pauses), backoff.WithMaxElapsedTime(0))
	if l.ctx.Err() != nil {
		err = cmp.Or(last, err) // which says more than that it took too long
	}
	switch answer, _ := errors.AsType[*googleapi.Error](err); {
	case answer != nil && answer.Code == http.StatusPreconditionFailed:
		a, e := b.handle(name).Attrs(l.ctx)
		switch {
		case e == nil && a.Metadata[writeID] == id:
			return nil
		case e == nil || errors.Is(e, storage.ErrObjectNotExist): // removed since
			err = fs.ErrExist
		default:
			err = e
		}
	case answer != nil && answer.Code == http.StatusNotFound:
		err = storage.ErrBucketNotExist
	}
	return b.fail(l, name, err)
}

func (b bucket) Remove(ctx context.Context, name string) error {
	if err := b.check(name); err != nil {
		return err
	}
	l := b.limit(ctx)
	defer l.end()
	// A second try may remove what somebody has put there since the first; so may one that comes a little later.
	err := b.handle(name).Retryer(storage.WithPolicy(storage.RetryAlways)).Delete(l.ctx)
	if errors.Is(err, storage.ErrObjectNotExist) {
		return nil
	}
	return b.fail(l, name, err)
}

// Lock does nothing: files are created only where there are none, by whichever process is first, so processes that work in
// one place cannot harm one another; they only do work twice.
func (b bucket) Lock(ctx context.Context) (unlock func() error, err error) {
	return func() error { return nil }, ctx.Err()
}

// Sweep does nothing: of an upload that was never finished the service keeps no object.
func (b bucket) Sweep(ctx context.Context) error { return ctx.Err() }
