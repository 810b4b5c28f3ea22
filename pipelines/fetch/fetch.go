// Package fetch gets the bytes of an image by its name in a listing: a path, a file:// URL, an http:// or https:// URL.
//
//	f, err := fetch.New(fetch.Config{Root: "posts"})
//	defer f.Close()
//	data, err := f.Fetch(ctx, "2026/11/a.jpg")
//
// Images come from places that nobody vouches for. So what is read is bounded in bytes and in time, redirects are few,
// only regular files are opened, and every address that is connected to has to be public, whatever name or redirect led
// there, unless Config.AllowNet has it. Proxies are not used. Errors are *Error with one of a closed set of reasons;
// they name hosts and paths, but no query and no password of a URL.
package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Config says where images are and what one may cost. A zero field takes its value from DefaultConfig.
type Config struct {
	Root         string         // folder of relative paths; empty is the working folder
	MaxBytes     int64          // of an image
	Timeout      time.Duration  // for an image, all redirects together
	MaxRedirects int            // that are followed; below zero none
	UserAgent    string         // of http requests
	AllowNet     []netip.Prefix // addresses that may be connected to though they are not public
}

// DefaultConfig allows 32 MiB, 30 seconds and 5 redirects.
func DefaultConfig() Config {
	return Config{MaxBytes: 32 << 20, Timeout: 30 * time.Second, MaxRedirects: 5, UserAgent: "logobeam (image classifier)"}
}

// Fetcher gets images. It may be used from many goroutines.
type Fetcher struct {
	cfg    Config
	client *http.Client
}

// New checks cfg and makes a Fetcher of it, which has to be closed.
func New(cfg Config) (*Fetcher, error) {
	d := DefaultConfig()
	if cfg.MaxBytes < 0 || cfg.Timeout < 0 {
		return nil, fmt.Errorf("fetch: at most %d bytes in %v: neither can be below zero", cfg.MaxBytes, cfg.Timeout)
	}
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, d.MaxBytes)
	cfg.Timeout = cmp.Or(cfg.Timeout, d.Timeout)
	cfg.MaxRedirects = cmp.Or(cfg.MaxRedirects, d.MaxRedirects)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, d.UserAgent)
	for _, p := range cfg.AllowNet {
		if !p.IsValid() {
			return nil, fmt.Errorf("fetch: %v is not a network", p)
		}
	}
	return &Fetcher{cfg, newClient(cfg)}, nil
}

// Under is f with relative paths under another folder. It shares f's connections and is closed with it.
func (f *Fetcher) Under(root string) *Fetcher {
	g := *f
	g.cfg.Root = root
	return &g
}

// Close lets go of idle connections.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// Fetch returns the bytes of an image: an absolute path or one relative to Config.Root, or a file, http or https URL.
// If ctx was cancelled, so says the error; any other is an *Error.
func (f *Fetcher) Fetch(ctx context.Context, image string) ([]byte, error) {
	ctx, stop := context.WithTimeoutCause(ctx, f.cfg.Timeout, errTimeout)
	defer stop()
	data, err := f.fetch(ctx, image)
	if err == nil {
		return data, nil
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return nil, fmt.Errorf("fetching %s: %w", Redact(image), context.Canceled)
	}
	var e *Error
	if !errors.As(err, &e) {
		e = f.explain(ctx, err)
	}
	e.Image, e.Detail = Redact(image), scrub(e.Detail)
	return nil, e
}

var errTimeout = errors.New("fetch: the time for one image is over")

// A URL begins with a scheme of at least two letters, so that C:\a.jpg is none, and two slashes; data: needs none.
var urlScheme = regexp.MustCompile(`^(?i:([a-z][a-z0-9+.-]+)://|(data):)`)

func (f *Fetcher) fetch(ctx context.Context, image string) ([]byte, error) {
	m := urlScheme.FindStringSubmatch(image)
	if m == nil {
		if !filepath.IsAbs(image) {
			image = filepath.Join(f.cfg.Root, image)
		}
		return f.local(ctx, image)
	}
	scheme := strings.ToLower(m[1] + m[2])
	switch scheme {
	case "file", "http", "https":
	default:
		return nil, reject(UnsupportedScheme, "%s: is not supported: give a path, or a file://, http:// or https:// URL", scheme)
	}
	u, err := url.Parse(image)
	if err != nil || u.Opaque != "" {
		return nil, reject(BadURL, "the URL cannot be parsed")
	}
	if scheme == "file" {
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return nil, reject(BadURL, "a file URL has three slashes and an absolute path: file:///folder/a.jpg")
		}
		return f.local(ctx, u.Path)
	}
	if u.Hostname() == "" {
		return nil, reject(BadURL, "the URL names no host")
	}
	return f.get(ctx, u)
}

// local reads a file. It looks before it opens and opens without waiting, as a pipe would wait for a writer for ever.
func (f *Fetcher) local(ctx context.Context, path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, localError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, reject(NotAFile, "it is a %s", kind(info.Mode()))
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, localError(err)
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, localError(err)
	}
	if !info.Mode().IsRegular() {
		return nil, reject(NotAFile, "it is a %s", kind(info.Mode()))
	}
	if err := f.checkSize(info.Size()); err != nil {
		return nil, err
	}
	data, err := f.read(ctx, file, info.Size())
	var e *Error
	if err == nil || errors.As(err, &e) || ctx.Err() != nil {
		return data, err
	}
	return nil, localError(err)
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

func localError(err error) *Error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return reject(NotFound, "no such file")
	case errors.Is(err, fs.ErrPermission):
		return reject(Permission, "%v", err)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return reject(NotFound, "%v", err)
	}
	return reject(Unreadable, "%v", err)
}

// read takes all of r. The buffer begins with expect bytes and grows as bytes come.
func (f *Fetcher) read(ctx context.Context, r io.Reader, expect int64) ([]byte, error) {
	data := make([]byte, 0, min(max(expect, 511), f.cfg.MaxBytes)+1)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if int64(len(data)) > f.cfg.MaxBytes {
			return nil, reject(TooLarge, "it has more than the %d bytes that are taken", f.cfg.MaxBytes)
		}
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			grown := make([]byte, len(data), min(2*int64(cap(data)), f.cfg.MaxBytes+1))
			copy(grown, data)
			data = grown
		}
	}
}

func (f *Fetcher) checkSize(size int64) error {
	if size > f.cfg.MaxBytes {
		return reject(TooLarge, "it has %d bytes: at most %d are taken", size, f.cfg.MaxBytes)
	}
	return nil
}
