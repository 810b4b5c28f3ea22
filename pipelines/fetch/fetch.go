// Package fetch gets the bytes of images by their names in a listing: a path, a file:// URL, an http:// or https:// URL,
// a gs:// URL.
//
//	f, err := fetch.New(fetch.Config{Root: "posts", Contact: "https://example.org/about-our-crawler"})
//	defer f.Close()
//	data, err := f.Fetch(ctx, "2026/11/a.jpg")
//	err = f.Each(ctx, images, func(i fetch.Image) {
//		defer i.Release()
//		// i.Data or i.Err is what became of images[i.Index]
//	})
//
// Images come from places that nobody vouches for. So what is read is bounded in bytes and in time, redirects are few,
// only regular files are opened, and every address that is connected to has to be public, whatever name or redirect led
// there, unless Config.AllowNet has it (guard.go). Errors are *Error with one of a closed set of reasons; they name hosts
// and paths, but no query and no password of a URL, and the same fault gives the same words each time.
//
// Sites are asked as one would like to be asked: few connections a host, robots.txt (RFC 9309) and X-Robots-Tag kept, a
// User-Agent that says who asks, and quiet for as long as Retry-After says (RFC 9110). How images wait for their hosts
// without holding one another up is each.go and host.go.
//
// A redirect may lead from https to http, as some sites' do: what comes is looked at as a picture and believed in nothing else.
//
// Only HTTP/1.1 is spoken: each image has a connection to itself while it comes, so that none can disturb another.
//
// HTTP_PROXY, HTTPS_PROXY and NO_PROXY are followed. A proxy's own address need not be public. The target's name is looked
// up here, and refused if an address of it is not allowed, before the proxy is asked. But the proxy looks the name up
// again and may get another answer: behind a proxy the last word on addresses is the proxy's.
package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Config says where images are and what one may cost. A zero field takes its value from DefaultConfig.
type Config struct {
	Root     string // folder of relative paths; empty is the working folder
	MaxBytes int64  // of an image

	// Timeout is for an image, all attempts and redirects together. Waiting does not count: for a connection, for memory, for
	// a host that has asked for a pause or may be asked again only later. DialTimeout is for one connection with all
	// addresses that a host has, HeaderTimeout from the request to the header of the answer, IdleTimeout for a
	// body of which no byte comes. None of these is longer than Timeout.
	Timeout, DialTimeout, HeaderTimeout, IdleTimeout time.Duration

	// Patience is for the pauses that a host asks for (429, Retry-After): an image waits so long for all of them together. A host
	// that asks for a longer one is left alone, and its images end at once.
	Patience time.Duration

	MaxRedirects int // that are followed; below zero none
	Retries      int // after a failure that may pass; below zero none

	UserAgent string // of http requests
	Contact   string // a URL or a mail address, said in the User-Agent

	Connections     int     // open at one time; what is read from buckets counts as well
	HostConnections int     // of one host (a scheme, a name and a port)
	HostRate        float64 // requests a second to one host; 0 for as many as it answers

	// Memory is the bytes that images fetched and not yet released may have. Below twice MaxBytes it is exceeded by an image
	// that needs more, one at a time.
	Memory int64

	IgnoreRobots bool           // do not ask for robots.txt, and overlook X-Robots-Tag
	AllowNet     []netip.Prefix // addresses that may be connected to though they are not public
	resolver     *net.Resolver  // looks names up; nil for the system's
}

// DefaultConfig allows 32 MiB, 30 seconds, 5 redirects and 2 retries, and 128 connections, 8 to a host.
func DefaultConfig() Config {
	return Config{
		MaxBytes: 32 << 20,
		Timeout:  30 * time.Second, DialTimeout: 5 * time.Second, HeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second,
		Patience:     2 * time.Minute,
		MaxRedirects: 5, Retries: 2,
		UserAgent:   "logobeam (image classifier)",
		Connections: 128, HostConnections: 8,
		Memory: 64 << 20,
	}
}

// Validate says what New would not make a Fetcher of.
func (c Config) Validate() error {
	_, err := c.complete()
	return err
}

// complete fills in what is zero and checks the rest.
func (c Config) complete() (Config, error) {
	d := DefaultConfig()
	for _, n := range []struct {
		what  string
		value *int64
		or    int64
	}{
		{"bytes of an image", &c.MaxBytes, d.MaxBytes},
		{"time for an image", (*int64)(&c.Timeout), int64(d.Timeout)},
		{"time to connect", (*int64)(&c.DialTimeout), int64(d.DialTimeout)},
		{"time for a header", (*int64)(&c.HeaderTimeout), int64(d.HeaderTimeout)},
		{"time without a byte", (*int64)(&c.IdleTimeout), int64(d.IdleTimeout)},
		{"time for pauses", (*int64)(&c.Patience), int64(d.Patience)},
		{"bytes of all images", &c.Memory, d.Memory},
	} {
		if *n.value < 0 {
			return c, fmt.Errorf("fetch: the %s cannot be below zero", n.what)
		}
		*n.value = cmp.Or(*n.value, n.or)
	}
	if c.Connections < 0 || c.HostConnections < 0 || !(c.HostRate >= 0) {
		return c, errors.New("fetch: connections and requests of a host cannot be below zero")
	}
	c.DialTimeout, c.HeaderTimeout, c.IdleTimeout = min(c.DialTimeout, c.Timeout), min(c.HeaderTimeout, c.Timeout), min(c.IdleTimeout, c.Timeout)
	c.MaxRedirects, c.Retries = cmp.Or(c.MaxRedirects, d.MaxRedirects), cmp.Or(c.Retries, d.Retries)
	c.Connections = cmp.Or(c.Connections, d.Connections)
	c.HostConnections = min(cmp.Or(c.HostConnections, d.HostConnections), c.Connections)
	c.resolver = cmp.Or(c.resolver, net.DefaultResolver)
	c.AllowNet = slices.Clone(c.AllowNet)
	for i, p := range c.AllowNet {
		if !p.IsValid() {
			return c, fmt.Errorf("fetch: %v is not a network", p)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			c.AllowNet[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	if c.Contact != "" {
		if err := checkContact(c.Contact); err != nil {
			return c, err
		}
		if c.UserAgent == "" {
			c.UserAgent = strings.TrimSuffix(d.UserAgent, ")") + "; +" + c.Contact + ")"
		} else {
			c.UserAgent += " (+" + c.Contact + ")"
		}
	}
	c.UserAgent = cmp.Or(c.UserAgent, d.UserAgent)
	if !httpguts.ValidHeaderFieldValue(c.UserAgent) {
		return c, fmt.Errorf("fetch: the user agent %q has characters that a header cannot hold", c.UserAgent)
	}
	return c, nil
}

func checkContact(s string) error {
	u, err := url.Parse(s)
	isURL := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	m, err := mail.ParseAddress(s)
	isMail := err == nil && m.Address == s
	// Parentheses and backslashes would end the comment of the User-Agent in which the contact stands.
	odd := strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`()\`, r) })
	if odd || !isURL && !isMail {
		return fmt.Errorf("fetch: the contact %q is neither an http(s) URL nor a mail address", s)
	}
	return nil
}

// Fetcher gets images. It may be used from many goroutines, which share its limits.
type Fetcher struct {
	root  string
	begun func(int)
	*scheduler
}

// New checks cfg and makes a Fetcher of it, which has to be closed.
func New(cfg Config) (*Fetcher, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	return &Fetcher{root: cfg.Root, scheduler: newScheduler(cfg)}, nil
}

// Under is f with relative paths under another folder. It shares f's connections and limits, and is closed with it.
func (f *Fetcher) Under(root string) *Fetcher { return &Fetcher{root, f.begun, f.scheduler} }

// Telling is f, whose Each tells begun the index of each image when its first attempt begins, which is before it is
// delivered. begun must neither wait nor call f. An image that is refused without an attempt is not told.
func (f *Fetcher) Telling(begun func(index int)) *Fetcher {
	return &Fetcher{f.root, begun, f.scheduler}
}

// Close ends what is under way, with the error ErrClosed, and leaves no goroutine and no connection.
func (f *Fetcher) Close() { f.close() }

// ErrClosed is what Fetch and Each return once the Fetcher is closed.
var ErrClosed = errors.New("fetch: the fetcher is closed")

// Fetch returns the bytes of an image: an absolute path or one relative to Config.Root, or a URL. If ctx was cancelled, so
// says the error, and so it is with ErrClosed; any other is an *Error.
func (f *Fetcher) Fetch(ctx context.Context, image string) ([]byte, error) {
	var got Image
	err := f.Each(ctx, []string{image}, func(i Image) { got = i })
	got.Release()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, &Error{Image: Redact(image), Reason: Timeout, Detail: "the time that was given for it is over"}
	case err != nil:
		return nil, fmt.Errorf("fetching %s: %w", Redact(image), err)
	}
	return got.Data, got.Err
}
