package fetch

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// names looks hosts' names up, and remembers answers: one for a name at a time is asked for. That something fails for now
// is not remembered.
type names struct {
	resolver *net.Resolver
	timeout  time.Duration
	life     context.Context
	asking   singleflight.Group
	cache    *lru.Cache[string, found]

	good, bad time.Duration // for which an answer is remembered: that there are addresses, or no such name
}

type found struct {
	addrs   []netip.Addr
	err     error
	expires time.Time
}

const maxNames = 16384 // remembered

func newNames(life context.Context, r *net.Resolver, timeout time.Duration) *names {
	n := &names{resolver: r, timeout: timeout, life: life, good: time.Minute, bad: 10 * time.Second}
	n.cache, _ = lru.New[string, found](maxNames)
	return n
}

// lookup returns a name's addresses, in the order in which they are to be tried.
func (n *names) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	if f, ok := n.cache.Get(name); ok && time.Now().Before(f.expires) {
		return f.addrs, f.err
	}
	answer := n.asking.DoChan(name, func() (any, error) { return n.ask(name) })
	select {
	case r := <-answer:
		addrs, _ := r.Val.([]netip.Addr)
		return addrs, r.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (n *names) ask(name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(n.life, n.timeout) // of nobody who waits: they come and go
	defer cancel()
	addrs, err := n.resolver.LookupNetIP(ctx, "ip", name)
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	addrs = alternate(addrs)
	var dns *net.DNSError
	switch {
	case err == nil:
		n.cache.Add(name, found{addrs, nil, time.Now().Add(n.good)})
	case errors.As(err, &dns) && dns.IsNotFound:
		n.cache.Add(name, found{nil, err, time.Now().Add(n.bad)})
	}
	return addrs, err
}

// alternate puts IPv6 and IPv4 in turn, beginning with what the resolver prefers (RFC 8305, section 4).
func alternate(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	mixed := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			mixed = append(mixed, first[i])
		}
		if i < len(second) {
			mixed = append(mixed, second[i])
		}
	}
	return mixed
}
