package fetch

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is a DNS server. It answers a question for a name, the n-th from 1 of its type, with addresses, with "no such name" to
// none, and with a failure to one that is not valid.
func nameServer(t *testing.T, answer func(name string, n int) []netip.Addr) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	asked := map[string]int{}
	go func() {
		for buf := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			asked[q.GoString()]++
			addrs := answer(strings.TrimSuffix(q.Name.String(), "."), asked[q.GoString()])
			m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true}
			m.Additionals = nil
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
			switch {
			case len(addrs) == 0:
				m.RCode = dnsmessage.RCodeNameError
			case !addrs[0].IsValid():
				m.RCode = dnsmessage.RCodeServerFailure
			}
			for _, a := range addrs {
				switch {
				case a.Is4() && q.Type == dnsmessage.TypeA:
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
				case a.Is6() && q.Type == dnsmessage.TypeAAAA:
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
				}
			}
			if out, err := m.Pack(); err == nil {
				conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// zone answers each name with its addresses.
func zone(names map[string]string) func(string, int) []netip.Addr {
	return func(name string, _ int) []netip.Addr {
		var addrs []netip.Addr
		for _, s := range strings.Fields(names[name]) {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
		return addrs
	}
}

// everywhere has every name at the address of the test servers.
func everywhere(string, int) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} }

// at is a server's URL under another name.
func at(server *httptest.Server, name string) string {
	return strings.Replace(server.URL, "127.0.0.1", name, 1)
}

func TestNamesAreAskedForOnce(t *testing.T) {
	var asked atomic.Int64
	n := newNames(context.Background(), nameServer(t, func(name string, _ int) []netip.Addr {
		asked.Add(1)
		switch name {
		case "good.test":
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
		case "broken.test":
			return []netip.Addr{{}}
		}
		return nil
	}), time.Second)
	for _, tt := range []struct {
		name       string
		good       bool
		remembered bool
	}{{"good.test", true, true}, {"none.test", false, true}, {"broken.test", false, false}} {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				addrs, err := n.lookup(context.Background(), tt.name)
				if (err == nil) != tt.good {
					t.Errorf("%s: %v, error %v", tt.name, addrs, err)
				}
				for i := 1; i < len(addrs); i++ {
					if addrs[i].Is4() == addrs[i-1].Is4() {
						t.Errorf("%s: %v do not alternate", tt.name, addrs)
					}
				}
			})
		}
		wg.Wait()
		before := asked.Load()
		n.lookup(context.Background(), tt.name)
		if again := asked.Load() > before; again == tt.remembered {
			t.Errorf("%s: asked for again: %v; want it remembered: %v", tt.name, again, tt.remembered)
		}
	}
}

// A name that is first somewhere public and then inside must not lead inside, neither when the name is asked for again nor
// between the check of a name and the connection.
func TestRebinding(t *testing.T) {
	var hits atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer inside.Close()
	resolver := nameServer(t, func(name string, n int) []netip.Addr {
		switch {
		case name == "both.test":
			return []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("127.0.0.1")}
		case n == 1:
			return []netip.Addr{netip.MustParseAddr("203.0.113.1")} // nobody is there; here it passes for public
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	})
	cfg := Config{resolver: resolver, Retries: -1, Timeout: 100 * time.Millisecond, AllowNet: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, IgnoreRobots: true}
	f := fetcher(t, cfg)
	_, err := f.Fetch(context.Background(), at(inside, "rebind.test"))
	if r := err.(*Error).Reason; r != Timeout && r != Unreachable {
		t.Errorf("error %v; want that nobody is there", err)
	}
	f.web.dialer.names.cache.Purge()
	_, err = f.Fetch(context.Background(), at(inside, "rebind.test"))
	wantReason(t, err, BlockedAddress)
	if _, err = f.Fetch(context.Background(), at(inside, "both.test")); err == nil {
		t.Error("of two addresses the private one was taken")
	}
	// What the check has let through is all that is connected to; and were it not, control refuses it.
	if err := f.web.guard.control("tcp4", inside.Listener.Addr().String(), nil); err == nil {
		t.Error("control lets loopback through")
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the server inside was reached %d times", n)
	}
}

func TestNextAddress(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("x")) }))
	defer server.Close()
	// Nobody answers at the first address, nobody listens at the second.
	resolver := nameServer(t, zone(map[string]string{"many.test": "203.0.113.1 127.0.0.9 127.0.0.1"}))
	f := fetcher(t, Config{resolver: resolver, AllowNet: append(loopback, netip.MustParsePrefix("203.0.113.0/24")), IgnoreRobots: true})
	if _, err := f.Fetch(context.Background(), at(server, "many.test")); err != nil {
		t.Error(err)
	}
}

func TestNoAddress(t *testing.T) {
	resolver := nameServer(t, func(name string, _ int) []netip.Addr {
		if name == "broken.test" {
			return []netip.Addr{{}}
		}
		return nil
	})
	f := fetcher(t, Config{resolver: resolver, Timeout: time.Second})
	for name, want := range map[string]string{
		"none.test":   "unknown-host: there is no host none.test",
		"broken.test": "unreachable: looking up broken.test fails",
	} {
		_, err := f.Fetch(context.Background(), "http://"+name+"/a.jpg")
		if want = fmt.Sprintf("http://%s/a.jpg: %s", name, want); err == nil || err.Error() != want {
			t.Errorf("error %v; want %s", err, want)
		}
	}
}
