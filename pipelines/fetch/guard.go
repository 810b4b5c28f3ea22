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
	if !g.allowed(a.Addr()) {
		return reject(BlockedAddress, "%v is not a public address: allow its network if it is meant", a.Addr())
	}
	return nil
}

func (g guard) allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range g.allow {
		if p.Contains(a) {
			return true
		}
	}
	if a.Is4() {
		return !contains(special4, a)
	}
	b := a.As16()
	if nat64.Contains(a) { // networks of IPv6 alone reach IPv4 so
		return g.allowed(netip.AddrFrom4([4]byte(b[12:])))
	}
	if !global6.Contains(a) || contains(special6, a) {
		return false
	}
	// ISATAP (RFC 5214) hides an IPv4 address in the last half of any prefix.
	if (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		return g.allowed(netip.AddrFrom4([4]byte(b[12:])))
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

// IANA's special-purpose registries, with the services that clouds keep at addresses that look public.
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
		"192.88.99.0/24",   // 6to4 relays
		"192.168.0.0/16",   // private
		"198.18.0.0/15",    // benchmarks
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved, broadcast
	)
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	global6  = netip.MustParsePrefix("2000::/3") // all that is public: not ::1, ::a.b.c.d, fc00::/7, fe80::/10, ff00::/8, 64:ff9b:1::/48
	special6 = prefixes(
		"2001::/23",     // protocol assignments, Teredo with an IPv4 address inside
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4, with an IPv4 address inside
		"3fff::/20",     // documentation
	)
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		list[i] = netip.MustParsePrefix(s)
	}
	return list
}
