package fetch

import (
	"net/netip"
	"syscall"
)

// guard refuses connections to addresses that are not public. It looks at the address itself at the moment of
// connecting, so no name, no redirect and no second answer of a name server gets around it.
type guard struct {
	allow []netip.Prefix
}

// control is a net.Dialer's Control.
func (g guard) control(network, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return reject(BlockedAddress, "%s %s is not an address", network, address)
	}
	if e := g.check(a.Addr()); e != nil { // not returned as it is: a nil *Error is an error
		return e
	}
	return nil
}

func (g guard) check(a netip.Addr) *Error {
	if g.allowed(a) {
		return nil
	}
	return reject(BlockedAddress, "%v is not a public address: allow its network if it is meant", a)
}

func (g guard) allowed(a netip.Addr) bool {
	if a.Zone() != "" { // a zone is a network card of this machine
		return false
	}
	a = a.Unmap()
	if contains(g.allow, a) {
		return true
	}
	if a.Is4() {
		return !contains(special4, a)
	}
	b := a.As16()
	inner := netip.AddrFrom4([4]byte(b[12:]))
	switch {
	case nat64.Contains(a): // networks of IPv6 alone reach IPv4 so
		return g.allowed(inner)
	case !global6.Contains(a) || contains(special6, a):
		return false
	case b[8]&^3 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP (RFC 5214) under any prefix
		return g.allowed(inner)
	}
	return true
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// IANA's registries of special-purpose addresses (RFC 6890, as of 2026), with the services that clouds keep at addresses
// that look public. Of those that IANA has down as reachable from everywhere, some are refused all the same: no photograph
// is there.
//
// An IPv4 address inside an IPv6 address can stand for a way into a private network. In the forms with a prefix of their
// own it is found: those outside 2000::/3 are mapped (::ffff:a.b.c.d), compatible (::a.b.c.d), translated
// (::ffff:0:a.b.c.d) and NAT64 (64:ff9b::/96, 64:ff9b:1::/48); inside are 6to4, Teredo and ISATAP. What cannot be found is
// NAT64 under a prefix that a network has chosen out of its own public addresses (RFC 6052, section 2.2): such a network has
// to filter itself.
var (
	special4 = prefixes(
		"0.0.0.0/8",        // this network
		"10.0.0.0/8",       // private
		"100.64.0.0/10",    // shared by carriers; metadata of Alibaba Cloud
		"127.0.0.0/8",      // loopback
		"168.63.129.16/32", // Azure's wire server
		"169.254.0.0/16",   // link-local; metadata of most clouds
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // protocol assignments; metadata of Oracle Cloud
		"192.0.2.0/24",     // documentation
		"192.31.196.0/24",  // AS112
		"192.52.193.0/24",  // multicast tunnels (AMT)
		"192.88.99.0/24",   // 6to4 relays
		"192.168.0.0/16",   // private
		"192.175.48.0/24",  // AS112
		"198.18.0.0/15",    // benchmarks
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved, broadcast
	)
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	global6  = netip.MustParsePrefix("2000::/3") // all that is public: not ::/96, 64:ff9b:1::/48, 100::/64, 5f00::/16, fc00::/7, fe80::/10, ff00::/8
	special6 = prefixes(
		"2001::/23",         // protocol assignments, and Teredo with an IPv4 address inside
		"2001:db8::/32",     // documentation
		"2002::/16",         // 6to4, with an IPv4 address inside
		"2620:4f:8000::/48", // AS112
		"3fff::/20",         // documentation
	)
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		list[i] = netip.MustParsePrefix(s)
	}
	return list
}
