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
	"net/url"
	"strings"
	"syscall"
	"time"
)

func newClient(cfg Config) *http.Client {
	guard := guard{cfg.AllowNet}
	dialer := net.Dialer{Timeout: cfg.Timeout, Control: guard.control}
	return &http.Client{
		Transport: &http.Transport{
			// A proxy would connect to addresses that nobody here has checked.
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    cfg.Timeout,
			ResponseHeaderTimeout:  cfg.Timeout,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns:           256,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        30 * time.Second,
			// Images are compressed already, and what unpacks is not bounded by what comes.
			DisableCompression: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > max(cfg.MaxRedirects, 0) {
				return reject(TooManyRedirects, "more than %d redirects", max(cfg.MaxRedirects, 0))
			}
			if s := req.URL.Scheme; s != "http" && s != "https" {
				return reject(UnsupportedScheme, "it redirects to a %s URL: only http and https are followed", s)
			}
			req.Header.Del("Referer") // it would carry the former URL's query
			return nil
		},
	}
}

func (f *Fetcher) get(ctx context.Context, u *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, reject(BadURL, "the URL cannot be asked for")
	}
	req.Header.Set("User-Agent", f.cfg.UserAgent)
	req.Header.Set("Accept", "image/*,*/*;q=0.5")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := statusError(resp.StatusCode); err != nil {
		io.CopyN(io.Discard, resp.Body, 4<<10) // a short answer read to its end leaves the connection usable
		return nil, err
	}
	if err := f.checkSize(resp.ContentLength); err != nil {
		return nil, err
	}
	// What a server announces is not believed beyond a megabyte: memory follows what it sends.
	return f.read(ctx, resp.Body, min(resp.ContentLength, 1<<20))
}

func statusError(code int) error {
	var reason Reason
	switch {
	case code == http.StatusOK:
		return nil
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

// explain finds the reason of an error of the http client.
func (f *Fetcher) explain(ctx context.Context, err error) *Error {
	if u := new(url.Error); errors.As(err, &u) { // its text holds the URL
		err = u.Err
	}
	var (
		timeout interface{ Timeout() bool }
		dns     *net.DNSError
		op      *net.OpError
		record  tls.RecordHeaderError
		alert   tls.AlertError
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
	)
	switch {
	case ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout():
		return reject(Timeout, "no whole answer within %v", f.cfg.Timeout)
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return reject(UnknownHost, "there is no host %s", dns.Name)
		}
		return reject(Unreachable, "looking up %s: %s", dns.Name, dns.Err)
	case errors.As(err, &record), errors.As(err, &alert), errors.As(err, &host), errors.As(err, &unknown), errors.As(err, &invalid), errors.As(err, &verify):
		return reject(BadTLS, "%v", err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reject(CutOff, "the connection ended before the answer did")
	case errors.As(err, &op):
		return reject(Unreachable, "%v", op)
	}
	return reject(BadAnswer, "%v", err)
}
