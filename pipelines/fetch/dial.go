package fetch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// dialer connects to hosts by addresses that the guard has let through, and counts what is open.
type dialer struct {
	guard   guard
	names   *names
	timeout time.Duration
	most    int64  // connections
	idle    func() // closes connections that nobody uses

	open, peak atomic.Int64
}

const (
	maxAddrs = 8 // tried of a host
	// The next address is tried if the last has not answered for so long: RFC 8305, "Connection Attempt Delay".
	nextAddr = 250 * time.Millisecond
)

// allowed returns the addresses of a host that may be connected to.
func (d *dialer) allowed(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := d.names.lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	var refused *Error
	good := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		if e := d.guard.check(a); e == nil {
			good = append(good, a)
		} else if refused == nil || e.Detail < refused.Detail { // whatever order they come in
			refused = e
		}
	}
	switch {
	case len(good) > 0:
	case refused != nil:
		return nil, refused
	default:
		return nil, &net.DNSError{Name: name, IsNotFound: true}
	}
	return good[:min(len(good), maxAddrs)], nil
}

// dial connects to a host's addresses, one after the other with a short wait between them, and takes the first that answers.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	addrs, err := d.allowed(ctx, name)
	if err != nil {
		return nil, err
	}
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	direct := net.Dialer{Control: d.guard.control} // the last word, on the address that is connected to
	try := func(a netip.Addr) {
		conn, err := direct.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		select {
		case results <- result{conn, err}:
		case <-ctx.Done():
			if conn != nil {
				conn.Close()
			}
		}
	}
	next := time.NewTimer(0)
	defer next.Stop()
	var failed []error
	for tried := 0; len(failed) < len(addrs); {
		select {
		case <-next.C:
			if tried < len(addrs) {
				a := addrs[tried]
				go try(a)
				tried++
				next.Reset(nextAddr)
			}
		case r := <-results:
			if r.err == nil {
				return d.count(r.conn), nil
			}
			failed = append(failed, r.err)
			next.Reset(0)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	// The same one of several each time, whichever address it came from.
	return nil, slices.MinFunc(failed, func(a, b error) int { return strings.Compare(plain(a), plain(b)) })
}

// dialProxy connects to a proxy, which may be anywhere.
func (d *dialer) dialProxy(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	conn, err := (&net.Dialer{Resolver: d.names.resolver}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return d.count(conn), nil
}

// bounded ends with the time for a connection, and with the fetcher, since a connection that a request has begun may go on without it.
func (d *dialer) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errTimeout)
	stop := context.AfterFunc(d.names.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// count makes room for a connection and counts it until it is closed. No more are in use than there may be, so there is
// room without those that are idle.
func (d *dialer) count(c net.Conn) net.Conn {
	n := d.open.Add(1)
	if n > d.most {
		d.idle()
		n = d.open.Load()
	}
	for p := d.peak.Load(); n > p && !d.peak.CompareAndSwap(p, n); p = d.peak.Load() {
	}
	return &counted{Conn: c, open: &d.open}
}

type counted struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *counted) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// plain is an error's text without addresses and ports, which differ from time to time.
func plain(err error) string {
	for {
		var op *net.OpError
		if !errors.As(err, &op) {
			break
		}
		err = op.Err
	}
	text := err.Error()
	if _, call, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(text, "connect") { // as in "connect: connection refused"
		return call
	}
	return text
}
