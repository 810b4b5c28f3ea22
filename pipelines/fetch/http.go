package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// web asks servers. It follows no redirect and repeats nothing: that is the scheduler's.
type web struct {
	cfg             Config
	guard           guard
	dialer          *dialer
	direct, proxied *http.Transport
	proxy           func(*url.URL) (*url.URL, error)
}

func newWeb(life context.Context, cfg Config) *web {
	w := &web{cfg: cfg, guard: guard{cfg.AllowNet}, proxy: httpproxy.FromEnvironment().ProxyFunc()}
	w.dialer = &dialer{guard: w.guard, names: newNames(life, cfg.resolver, cfg.DialTimeout), timeout: cfg.DialTimeout,
		most: int64(cfg.Connections), idle: w.closeIdle}
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	w.direct = &http.Transport{
		DialContext:            w.dialer.dial,
		Protocols:              http1,
		TLSHandshakeTimeout:    cfg.HeaderTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           cfg.Connections,
		MaxIdleConnsPerHost:    cfg.HostConnections,
		IdleConnTimeout:        30 * time.Second,
		// Images are compressed already, and what unpacks is not bounded by what comes.
		DisableCompression: true,
	}
	// A transport of its own, so that a proxy's address is open to requests through the proxy and to no other.
	w.proxied = w.direct.Clone()
	w.proxied.DialContext = w.dialer.dialProxy
	w.proxied.Proxy = func(r *http.Request) (*url.URL, error) { return w.proxy(r.URL) }
	return w
}

func (w *web) closeIdle() {
	w.direct.CloseIdleConnections()
	w.proxied.CloseIdleConnections()
}

// close ends what is open. Connections become idle a moment after the last byte.
func (w *web) close() {
	for range 1000 {
		w.closeIdle()
		if w.dialer.open.Load() == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// get asks for a URL that was checked.
func (w *web) get(x *watch, j *job, u *url.URL) (a answer) {
	transport := w.direct
	if p, err := w.proxy(u); err != nil || p != nil {
		transport = w.proxied
		if _, err := w.dialer.allowed(x.ctx, u.Hostname()); err != nil {
			return answer{err: err}
		}
	}
	used := false
	ctx := httptrace.WithClientTrace(x.ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { used = c.Reused }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return answer{err: reject(BadURL, "the URL cannot be asked for")}
	}
	req.Header.Set("User-Agent", w.cfg.UserAgent)
	req.Header.Set("Accept", "image/*,*/*;q=0.5")
	if u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return answer{err: err, used: used}
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return w.body(x, j, resp)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if a.next, err = resp.Location(); errors.Is(err, http.ErrNoLocation) {
			a.err = statusError(resp.StatusCode)
		} else if err != nil {
			a.err = reject(BadAnswer, "it redirects to what is no URL")
		}
		a.heard = true
	default:
		e := statusError(resp.StatusCode)
		switch resp.StatusCode {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			a.pause = retryAfter(resp.Header, time.Now())
			e.ofHost = true
		case http.StatusBadGateway, http.StatusGatewayTimeout:
			e.ofHost = true
		}
		a.err, a.heard = e, !e.ofHost
	}
	if resp.ContentLength >= 0 && resp.ContentLength <= 4<<10 {
		x.timer.Reset(time.Second)
		io.Copy(io.Discard, resp.Body) // a short answer read to its end leaves the connection usable
	}
	return a
}

func (w *web) body(x *watch, j *job, resp *http.Response) (a answer) {
	x.idleAfter(w.cfg.IdleTimeout)
	switch {
	case j.robotsOf != nil:
		a.data, a.err = x.read(j.hold, io.LimitReader(resp.Body, maxRobots), min(resp.ContentLength, maxRobots), maxRobots)
	case !w.cfg.IgnoreRobots && tagged(resp.Header):
		return answer{err: reject(Robots, "the site's X-Robots-Tag does not want it read by programs"), heard: true}
	default:
		if err := checkSize(resp.ContentLength, w.cfg.MaxBytes); err != nil {
			return answer{err: err, heard: true}
		}
		// What a server announces is not believed beyond a megabyte: memory follows what it sends.
		a.data, a.err = x.read(j.hold, resp.Body, min(resp.ContentLength, 1<<20), w.cfg.MaxBytes)
	}
	a.begun, a.heard = true, x.ctx.Err() == nil
	return a
}

// retryAfter reads how long a server wants to be left alone (RFC 9110, section 10.2.3): 0 if it does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}

func statusError(code int) *Error {
	var reason Reason
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		reason = NotFound
	case code == http.StatusUnauthorized || code == http.StatusForbidden || code == http.StatusUnavailableForLegalReasons:
		reason = Permission
	case code == http.StatusTooManyRequests:
		reason = RateLimited
	case code == http.StatusRequestTimeout:
		reason = Timeout
	case code >= 500:
		reason = HTTP5xx
	case code >= 400:
		reason = HTTP4xx
	default:
		reason = HTTPOther
	}
	return reject(reason, "the server answers %s", strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code))))
}

// explain finds the reason of an error of a connection. Where it may be said of images for which the host was not even
// asked, since it was given up, the words are about the host. They hold nothing that differs from time to time: no port
// or address of this side, no measured time, no number of attempts.
func (s *scheduler) explain(ctx context.Context, h *host, err error, begun bool) *Error {
	var (
		timeout interface{ Timeout() bool }
		dns     *net.DNSError
		op      *net.OpError
	)
	switch {
	case ctx.Err() != nil || errors.Is(err, errTimeout) || errors.As(err, &timeout) && timeout.Timeout():
		c := s.cfg
		return ofHost(Timeout, "no whole answer from %s within %v (%v to connect, %v to answer, %v without a byte)",
			h.name, c.Timeout, c.DialTimeout, c.HeaderTimeout, c.IdleTimeout)
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return ofHost(UnknownHost, "there is no host %s", dns.Name)
		}
		return ofHost(Unreachable, "looking up %s fails", dns.Name)
	case tlsFault(err) != nil:
		return ofHost(BadTLS, "%s: %v", h.name, tlsFault(err))
	case errors.As(err, &op) && op.Op == "dial":
		return ofHost(Unreachable, "no connection to %s: %s", h.name, plain(err))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		if begun {
			return reject(CutOff, "the connection ended before the answer did")
		}
		return ofHost(CutOff, "%s ends connections without an answer", h.name)
	case errors.As(err, &op):
		return ofHost(Unreachable, "no connection to %s: %s", h.name, plain(err))
	}
	return reject(BadAnswer, "%s", plain(err))
}

// tlsFault is what is wrong with a server's TLS, if that is what an error is about.
func tlsFault(err error) error {
	var (
		record  tls.RecordHeaderError
		alert   tls.AlertError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		remote  *net.OpError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired: // whose text has the time of day
		return errors.New("its certificate has expired, or is not valid yet")
	case errors.As(err, &invalid):
		return invalid
	case errors.As(err, &host):
		return errors.New("its certificate is for other hosts")
	case errors.As(err, &unknown):
		return unknown
	case errors.As(err, &verify):
		return verify.Err
	case errors.As(err, &alert):
		return alert
	case errors.As(err, &record):
		return errors.New(record.Msg)
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert that the server sent
		return remote.Err
	}
	return nil
}
