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

// dial connects to a host, for a transport.
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
	return d.counted(ctx, func() (net.Conn, error) { return d.race(ctx, network, addrs, port) })
}

// race connects to addresses, one after the other with a short wait between them, and takes the first that answers.
func (d *dialer) race(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
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
				return r.conn, nil
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
	return d.counted(ctx, func() (net.Conn, error) {
		return (&net.Dialer{Resolver: d.names.resolver}).DialContext(ctx, network, address)
	})
}

// bounded ends with the time for a connection, and with the fetcher, since a connection that a request has begun may go on without it.
func (d *dialer) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout, errTimeout)
	stop := context.AfterFunc(d.names.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// counted waits until there is room for a connection, and counts it until it is closed. No more requests are under way than
// there may be connections. So there is room as soon as those that are idle are closed; one becomes idle a moment after
// its request has ended.
func (d *dialer) counted(ctx context.Context, connect func() (net.Conn, error)) (net.Conn, error) {
	n := d.open.Add(1)
	for n > d.most {
		d.open.Add(-1)
		d.idle()
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		n = d.open.Add(1)
	}
	for p := d.peak.Load(); n > p && !d.peak.CompareAndSwap(p, n); p = d.peak.Load() {
	}
	conn, err := connect()
	if err != nil {
		d.open.Add(-1)
		return nil, err
	}
	return &counted{Conn: conn, open: &d.open}, nil
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
