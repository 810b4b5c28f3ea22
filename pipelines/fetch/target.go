package fetch

import (
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/logobeam/logobeam/pipelines/store"
)

type kind int

const (
	onDisk kind = iota
	inBucket
	elsewhere // of a registered scheme
	onWeb
)

// target is where an image is.
type target struct {
	kind kind
	path string   // on disk, the location in a bucket, or the URL elsewhere
	url  *url.URL // on the web
}

// host names what is asked for the target.
func (t target) host() string {
	switch t.kind {
	case onWeb:
		return t.url.Scheme + "://" + t.url.Host
	case inBucket:
		bucket, _, _ := strings.Cut(t.path[len("gs://"):], "/")
		return "gs://" + bucket
	case elsewhere:
		scheme, rest, _ := strings.Cut(t.path, "://")
		host, _, _ := strings.Cut(rest, "/")
		return scheme + "://" + host
	}
	return "disk"
}

// schemeOf is the scheme of a URL in lower case, and "" of a path. A URL begins with a scheme of at least two letters, so
// that C:\a.jpg is none, and two slashes; data: needs none.
func schemeOf(image string) string {
	i := strings.IndexByte(image, ':')
	if i < 2 || !isLetter(image[0]) {
		return ""
	}
	for _, c := range []byte(image[:i]) {
		if !isLetter(c) && (c < '0' || c > '9') && c != '+' && c != '.' && c != '-' {
			return ""
		}
	}
	scheme := strings.ToLower(image[:i])
	if !strings.HasPrefix(image[i:], "://") && scheme != "data" {
		return ""
	}
	return scheme
}

// OnWeb tells whether an image is asked for at a server of strangers, and not read from a disk or a bucket.
func OnWeb(image string) bool {
	scheme := schemeOf(image)
	return scheme == "http" || scheme == "https"
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// A longer URL is none that a server would take.
const maxURL = 16 << 10

// target finds where a job goes next.
func (s *scheduler) target(j *job) (target, *Error) {
	switch {
	case j.url != nil:
		u, err := s.web.check(j.url)
		return target{kind: onWeb, url: u}, err
	case j.robotsOf != nil:
		return target{kind: onWeb, url: j.robotsOf.url.JoinPath("robots.txt")}, nil
	}
	image := j.call.images[j.index]
	scheme := schemeOf(image)
	switch {
	case scheme != "":
	case filepath.IsAbs(image):
		return target{kind: onDisk, path: image}, nil
	case store.IsRemote(j.call.root):
		return inFolder(j.call.root, image)
	default:
		return target{kind: onDisk, path: filepath.Join(j.call.root, image)}, nil
	}
	switch scheme {
	case "gs":
		bucket, object, _ := strings.Cut(image[len("gs://"):], "/")
		if bucket == "" || object == "" {
			return target{}, reject(BadURL, "a gs URL names a bucket and an object: gs://bucket/folder/a.jpg")
		}
		return target{kind: inBucket, path: "gs://" + bucket + "/" + object}, nil
	case "file", "http", "https":
	default:
		if sourceOf(scheme) != nil {
			return target{kind: elsewhere, path: image}, nil
		}
		return target{}, reject(UnsupportedScheme, "%s: is not supported: give a path, or a file://, http://, https:// or gs:// URL", scheme)
	}
	if len(image) > maxURL {
		return target{}, reject(BadURL, "the URL is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(image)
	if err != nil || u.Opaque != "" {
		return target{}, reject(BadURL, "the URL cannot be parsed")
	}
	if scheme == "file" {
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return target{}, reject(BadURL, "a file URL has three slashes and an absolute path: file:///folder/a.jpg")
		}
		return target{kind: onDisk, path: u.Path}, nil
	}
	u, e := s.web.check(u)
	return target{kind: onWeb, url: u}, e
}

// inFolder is an object of a bucket by its path relative to a folder there. The names of objects are no paths, so only what leads
// up or nowhere is resolved.
func inFolder(folder, image string) (target, *Error) {
	bucket, _, _ := strings.Cut(folder[len("gs://"):], "/")
	at := store.Join(folder, image)
	if dots := "/" + image + "/"; strings.Contains(dots, "/../") || strings.Contains(dots, "/./") {
		at = "gs://" + path.Join(at[len("gs://"):])
	}
	if !strings.HasPrefix(at, "gs://"+bucket+"/") {
		return target{}, reject(NotFound, "the path leads out of the bucket %s", bucket)
	}
	return target{kind: inBucket, path: at}, nil
}

// check brings a URL's host to the form in which it is looked up, as the URL standard (https://url.spec.whatwg.org) has it,
// and refuses what is no host, and addresses that are not allowed.
func (w *web) check(u *url.URL) (*url.URL, *Error) {
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, reject(UnsupportedScheme, "it redirects to a %s URL: only http and https are followed", u.Scheme)
	}
	name, err := hostName(u.Hostname())
	if err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(name); err == nil {
		if e := w.guard.check(a); e != nil {
			return nil, e
		}
		if name = a.String(); a.Is6() {
			name = "[" + name + "]"
		}
	}
	port := u.Port()
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil, reject(BadURL, "the URL's port is none")
		}
		if port = strconv.FormatUint(n, 10); port == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
			port = ""
		}
	}
	v := *u
	v.Fragment, v.RawFragment = "", ""
	if v.Host = name; port != "" {
		v.Host += ":" + port
	}
	return &v, nil
}

// hostName is a host's name in lower-case ASCII without a dot at its end, or an address. Addresses written as one number, in octal
// or hexadecimal, or with fewer than four numbers are refused: nobody writes them so who has nothing to hide.
func hostName(s string) (string, *Error) {
	if strings.Contains(s, "%") || strings.Contains(s, ":") { // only IPv6 has them here
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return a.String(), nil
		}
		return "", reject(BlockedAddress, "%q is no public address", s)
	}
	name := strings.ToLower(s)
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil {
			return "", reject(BadURL, "the URL's host is no name of a host")
		}
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" {
		return "", reject(BadURL, "the URL names no host")
	}
	if strings.Contains("."+name+".", "..") || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}) {
		return "", reject(BadURL, "the URL's host is no name of a host")
	}
	if _, err := netip.ParseAddr(name); err != nil && numeric.MatchString(name) {
		return "", reject(BadURL, "%s is a number and no address: write an IPv4 address as four numbers", name)
	}
	return name, nil
}

// numeric is a host that the URL standard takes for an IPv4 address: its last label is a number.
var numeric = regexp.MustCompile(`(^|\.)(0x[0-9a-f]*|[0-9]+)$`)
