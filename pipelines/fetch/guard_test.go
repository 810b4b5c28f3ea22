package fetch

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		address string
		want    bool
		reason  string
	}{
		{"93.184.216.34", true, "public"},
		{"8.8.8.8", true, "public"},
		{"172.15.255.255", true, "just before private"},
		{"172.32.0.0", true, "just after private"},
		{"100.128.0.0", true, "just after shared"},
		{"2606:4700::1111", true, "public"},
		{"2001:4860:4860::8888", true, "public, next to Teredo"},
		{"64:ff9b::808:808", true, "NAT64 of a public address"},
		{"2606:4700::5efe:808:808", true, "ISATAP of a public address"},
		{"127.0.0.1", false, "loopback"},
		{"127.255.255.255", false, "loopback"},
		{"0.0.0.0", false, "this host"},
		{"10.1.2.3", false, "private"},
		{"172.16.0.1", false, "private"},
		{"172.31.255.255", false, "private"},
		{"192.168.1.1", false, "private"},
		{"100.64.0.1", false, "shared"},
		{"100.100.100.200", false, "metadata"},
		{"169.254.169.254", false, "metadata"},
		{"168.63.129.16", false, "Azure"},
		{"192.0.0.192", false, "metadata"},
		{"198.18.0.1", false, "benchmarks"},
		{"224.0.0.1", false, "multicast"},
		{"255.255.255.255", false, "broadcast"},
		{"::", false, "this host"},
		{"::1", false, "loopback"},
		{"fe80::1", false, "link-local"},
		{"fe80::1%eth0", false, "link-local with a zone"},
		{"fc00::1", false, "private"},
		{"fd00:ec2::254", false, "metadata"},
		{"ff02::1", false, "multicast"},
		{"::ffff:127.0.0.1", false, "IPv4-mapped"},
		{"::ffff:8.8.8.8", true, "IPv4-mapped, public"},
		{"::7f00:1", false, "IPv4-compatible"},
		{"64:ff9b::7f00:1", false, "NAT64 of loopback"},
		{"64:ff9b::a9fe:a9fe", false, "NAT64 of metadata"},
		{"64:ff9b:1::7f00:1", false, "local NAT64"},
		{"2002:7f00:1::", false, "6to4 of loopback"},
		{"2002:808:808::", false, "6to4"},
		{"2001:0:4136:e378:8000:63bf:80ff:fffe", false, "Teredo of loopback"},
		{"2606:4700::5efe:7f00:1", false, "ISATAP of loopback"},
		{"2606:4700::200:5efe:a00:1", false, "ISATAP of a private address"},
		{"2001:db8::1", false, "documentation"},
		{"::ffff:0:7f00:1", false, "IPv4-translated (SIIT) loopback"},
		{"::ffff:0:a00:1", false, "IPv4-translated private"},
		{"::ffff:169.254.169.254", false, "IPv4-mapped metadata"},
		{"::a9fe:a9fe", false, "IPv4-compatible metadata"},
		{"64:ff9b::a00:1", false, "NAT64 of a private address"},
		{"64:ff9b::c0a8:101", false, "NAT64 of a private address"},
		{"64:ff9b:1:7f00:1:a00:0:1", false, "local NAT64, /48 form"},
		{"64:ff9b:1:ffff::a00:1", false, "local NAT64, /96 form"},
		{"2002:a9fe:a9fe::1", false, "6to4 of metadata"},
		{"2002:a00:1::", false, "6to4 of a private address"},
		{"2001:0:a00:1::1", false, "Teredo by a private server"},
		{"2606:4700::100:5efe:a00:1", false, "ISATAP with the group bit"},
		{"2606:4700::5efe:a9fe:a9fe", false, "ISATAP of metadata"},
		{"fe80::5efe:7f00:1", false, "ISATAP, link-local"},
		{"fe80::a9fe:a9fe", false, "metadata of OpenStack"},
		{"fd20:ce::254", false, "metadata of Google"},
		{"fd00:42::42", false, "metadata of Scaleway"},
		{"fec0::1", false, "site-local"},
		{"100::1", false, "discarded"},
		{"100:0:0:1::1", false, "dummy prefix"},
		{"5f00::1", false, "segment routing"},
		{"2001:2::1", false, "benchmarks"},
		{"2001:20::1", false, "ORCHID"},
		{"3fff::1", false, "documentation"},
		{"2620:4f:8000::1", false, "AS112"},
		{"ff05::1:3", false, "multicast to a site"},
		{"169.254.170.2", false, "credentials of AWS containers"},
		{"192.88.99.1", false, "6to4 relay"},
		{"192.0.2.1", false, "documentation"},
		{"198.51.100.1", false, "documentation"},
		{"203.0.113.1", false, "documentation"},
		{"240.0.0.1", false, "reserved"},
		{"2606:4700::1111%eth0", false, "a zone, whatever the address"},
	} {
		if got := (guard{}).allowed(netip.MustParseAddr(tt.address)); got != tt.want {
			t.Errorf("%s (%s): allowed %v; want %v", tt.address, tt.reason, got, tt.want)
		}
	}
	g := guard{[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/16")}}
	for address, want := range map[string]bool{"10.9.9.9": true, "::ffff:10.9.9.9": true, "64:ff9b::a09:909": true, "fd00::1": true, "192.168.0.1": false, "fd01::1": false} {
		if got := g.allowed(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s where 10.0.0.0/8 and fd00::/16 are allowed: %v; want %v", address, got, want)
		}
	}
	if err := g.control("unix", "/run/docker.sock", nil); err == nil {
		t.Error("what is not an address may be connected to")
	}
}

// inner4 are the IPv4 addresses that the usual decoders would find inside an IPv6 address, worked out on its digits and not as guard does.
func inner4(a netip.Addr) []netip.Addr {
	b := a.As16()
	digits := hex.EncodeToString(b[:])
	at := func(nibble int, flip byte) netip.Addr {
		raw, _ := hex.DecodeString(digits[nibble : nibble+8])
		for i := range raw {
			raw[i] ^= flip
		}
		v4, _ := netip.AddrFromSlice(raw)
		return v4
	}
	var found []netip.Addr
	zeros := strings.Repeat("0", 24)
	switch top := digits[:24]; {
	case a.Is4():
		found = append(found, a)
	case top == zeros, top == zeros[:20]+"ffff", top == zeros[:16]+"ffff0000", top == "0064ff9b"+zeros[:16]:
		found = append(found, at(24, 0))
	case strings.HasPrefix(digits, "0064ff9b0001"): // RFC 6052 after 48, 56, 64 and 96 bits
		found = append(found, at(24, 0))
	case strings.HasPrefix(digits, "2002"):
		found = append(found, at(4, 0))
	case strings.HasPrefix(digits, "20010000"):
		found = append(found, at(8, 0), at(24, 0xff))
	}
	if i := strings.LastIndex(digits, "5efe"); i == 20 && strings.Contains("0000 0100 0200 0300", digits[16:20]) {
		found = append(found, at(24, 0))
	}
	return found
}

func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		a.As4()[0] == 0 || a.As4()[0] >= 240 || a.As4()[0] == 100 && a.As4()[1]&0xc0 == 64
}

// FuzzGuard looks for an address that is let through with a private one inside.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2606:4700::5efe:a00:1", "2001::1", "::ffff:0:a00:1", "8.8.8.8"} {
		a := netip.MustParseAddr(s)
		f.Add(a.AsSlice())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok || !(guard{}).allowed(a) {
			return
		}
		if !a.Is4() && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()) {
			t.Errorf("%v is allowed", a)
		}
		for _, v4 := range inner4(a) {
			if private(v4) {
				t.Errorf("%v is allowed, with %v inside", a, v4)
			}
		}
	})
}

// TestInside tries to reach servers inside, on loopback, by addresses, names and redirects. All would answer, and none may be reached.
func TestInside(t *testing.T) {
	var hits atomic.Int64
	count := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hits.Add(1) })
	inside := httptest.NewServer(count)
	defer inside.Close()
	port := strings.TrimPrefix(inside.URL, "http://127.0.0.1:")
	if l, err := net.Listen("tcp", "[::1]:"+port); err == nil { // where there is IPv6
		six := &httptest.Server{Listener: l, Config: &http.Server{Handler: count}}
		six.Start()
		defer six.Close()
	}
	// The way in: a server that may be asked, and redirects to wherever one likes.
	outside, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("this system has one loopback address only: ", err)
	}
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
	}))
	front.Listener.Close()
	front.Listener = outside
	front.Start()
	defer front.Close()
	resolver := nameServer(t, zone(map[string]string{
		"outside.test":  "127.0.0.2",
		"inside.test":   "127.0.0.1",
		"six.test":      "::1",
		"mapped.test":   "::ffff:127.0.0.1",
		"nat64.test":    "64:ff9b::7f00:1",
		"6to4.test":     "2002:7f00:1::1",
		"metadata.test": "169.254.169.254",
		"several.test":  "10.0.0.1 127.0.0.1 ::1",
		"any.test":      "0.0.0.0",
	}))
	f := fetcher(t, Config{resolver: resolver, Retries: -1, IgnoreRobots: true, Timeout: 5 * time.Second, AllowNet: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	if _, err := f.Fetch(context.Background(), at(front, "127.0.0.2")); err == nil || err.(*Error).Reason != BadAnswer && err.(*Error).Reason != HTTPOther {
		t.Fatalf("the way in is closed: %v", err)
	}
	p := ":" + port + "/a.jpg"
	for _, tt := range []struct {
		url    string
		want   Reason
		reason string
	}{
		{"http://127.0.0.1" + p, BlockedAddress, "as it is"},
		{"HTTP://127.0.0.1" + p, BlockedAddress, "upper-case scheme"},
		{"hTtPs://127.0.0.1" + p, BlockedAddress, "https"},
		{"http://127.0.0.1." + p, BlockedAddress, "a dot at the end"},
		{"http://127.1.2.3" + p, BlockedAddress, "all of 127.0.0.0/8"},
		{"http://0.0.0.0" + p, BlockedAddress, "this host"},
		{"http://[::1]" + p, BlockedAddress, "IPv6 loopback"},
		{"http://[0:0:0:0:0:0:0:1]" + p, BlockedAddress, "IPv6 in full"},
		{"http://[::]" + p, BlockedAddress, "IPv6, this host"},
		{"http://[::ffff:127.0.0.1]" + p, BlockedAddress, "mapped"},
		{"http://[::ffff:7f00:1]" + p, BlockedAddress, "mapped, in hexadecimal"},
		{"http://[::FFFF:7F00:1]" + p, BlockedAddress, "mapped, in upper case"},
		{"http://[::127.0.0.1]" + p, BlockedAddress, "compatible"},
		{"http://[::ffff:0:127.0.0.1]" + p, BlockedAddress, "translated"},
		{"http://[64:ff9b::127.0.0.1]" + p, BlockedAddress, "NAT64"},
		{"http://[64:ff9b:1::127.0.0.1]" + p, BlockedAddress, "local NAT64"},
		{"http://[2002:7f00:1::]" + p, BlockedAddress, "6to4"},
		{"http://[2001:0:4136:e378:8000:63bf:80ff:fffe]" + p, BlockedAddress, "Teredo"},
		{"http://[2606:4700::5efe:7f00:1]" + p, BlockedAddress, "ISATAP"},
		{"http://[fe80::1%25lo]" + p, BlockedAddress, "a zone"},
		{"http://[::1%25lo]" + p, BlockedAddress, "loopback with a zone"},
		{"http://2130706433" + p, BadURL, "one number"},
		{"http://017700000001" + p, BadURL, "octal"},
		{"http://0x7f000001" + p, BadURL, "hexadecimal"},
		{"http://0X7F000001" + p, BadURL, "hexadecimal in upper case"},
		{"http://0x7f.1" + p, BadURL, "hexadecimal and short"},
		{"http://127.1" + p, BadURL, "short"},
		{"http://127.0.1" + p, BadURL, "short, three numbers"},
		{"http://0177.0.0.1" + p, BadURL, "octal in part"},
		{"http://127.0.0.01" + p, BadURL, "a zero in front"},
		{"http://127.0.0.0x1" + p, BadURL, "hexadecimal in part"},
		{"http://127.0.0.1.." + p, BadURL, "two dots at the end"},
		{"http://0" + p, BadURL, "zero"},
		{"http://0x" + p, BadURL, "an empty hexadecimal number"},
		{"http://4294967297" + p, BadURL, "a number that overflows"},
		{"http://127.0.0.257" + p, BadURL, "a part that overflows"},
		{"http://127.0.0.1.1" + p, BadURL, "five parts"},
		{"http://①②⑦.⓪.⓪.①" + p, BlockedAddress, "circled digits"},
		{"http://１２７.０.０.１" + p, BlockedAddress, "fullwidth digits"},
		{"http://127。0。0。1" + p, BlockedAddress, "ideographic full stops"},
		{"http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ" + p, BlockedAddress, "circled letters"},
		{"http://loc\u00adalhost" + p, BlockedAddress, "a soft hyphen"},
		{"http://%31%32%37.0.0.1" + p, BadURL, "percent-encoded digits"},
		{"http://127.0.0.1%2f" + p, BadURL, "a percent-encoded slash"},
		{"http://127.0.0.1%00.example.org" + p, BadURL, "a percent-encoded zero"},
		{"http://93.184.216.34@127.0.0.1" + p, BlockedAddress, "a public address as user"},
		{"http://example.org:80@127.0.0.1" + p, BlockedAddress, "a public name as user, a port as password"},
		{"http://outside.test@inside.test" + p, BlockedAddress, "a public name as user"},
		{"http://127.0.0.1:" + port + "\\@outside.test/", BadURL, "a backslash"},
		{"http://127.0.0.1 .outside.test" + p, BadURL, "a space"},
		{"http://127.0.0.1\t" + p, BadURL, "a tab"},
		{"http://127.0.0.1\r\nX: y" + p, BadURL, "the end of a line"},
		{"http://127.0.0.1:0/", BlockedAddress, "port 0"},
		{"http://127.0.0.1:99999/", BlockedAddress, "no port"},
		{"http://localhost" + p, BlockedAddress, "by name"},
		{"http://LOCALHOST" + p, BlockedAddress, "by name in upper case"},
		{"http://localhost." + p, BlockedAddress, "by name with a dot at the end"},
		{"http://inside.test" + p, BlockedAddress, "by a name server"},
		{"http://INSIDE.test." + p, BlockedAddress, "by a name server, with a dot at the end"},
		{"http://six.test" + p, BlockedAddress, "a name with an IPv6 address"},
		{"http://mapped.test" + p, BlockedAddress, "a name with a mapped address"},
		{"http://nat64.test" + p, BlockedAddress, "a name with a NAT64 address"},
		{"http://6to4.test" + p, BlockedAddress, "a name with a 6to4 address"},
		{"http://several.test" + p, BlockedAddress, "a name with several"},
		{"http://any.test" + p, BlockedAddress, "a name with 0.0.0.0"},
		{"http://metadata.test/latest/meta-data/", BlockedAddress, "metadata by a name"},
		{"http://169.254.169.254/latest/meta-data/", BlockedAddress, "metadata"},
		{"http://[fd00:ec2::254]/latest/meta-data/", BlockedAddress, "metadata by IPv6"},
		{"http://100.100.100.200/latest/meta-data/", BlockedAddress, "metadata of Alibaba Cloud"},
		{"http://168.63.129.16/", BlockedAddress, "Azure's wire server"},
		{"http://192.0.0.192/", BlockedAddress, "metadata of Oracle Cloud"},
		{"gopher://127.0.0.1" + p, UnsupportedScheme, "gopher"},
		{"dict://127.0.0.1" + p, UnsupportedScheme, "dict"},
		{"ftp://127.0.0.1" + p, UnsupportedScheme, "ftp"},
		{"data:text/plain,x", UnsupportedScheme, "data"},
	} {
		_, err := f.Fetch(context.Background(), tt.url)
		if e, ok := err.(*Error); !ok || e.Reason != tt.want {
			t.Errorf("%s (%s): error %v; want reason %s", tt.url, tt.reason, err, tt.want)
		}
		if !strings.Contains(tt.url, ":/") || strings.ContainsAny(tt.url, "\r\n\t") {
			continue // what cannot stand in a header
		}
		// A redirect leads to the same places, and there is no way to tell them apart.
		_, err = f.Fetch(context.Background(), at(front, "127.0.0.2")+"/?to="+url.QueryEscape(tt.url))
		if e, ok := err.(*Error); !ok || e.Reason != tt.want && e.Reason != BadAnswer {
			t.Errorf("a redirect to %s (%s): error %v; want reason %s", tt.url, tt.reason, err, tt.want)
		}
	}
	for _, tt := range []struct {
		to   string
		want Reason
	}{
		{"//127.0.0.1" + p, BlockedAddress}, // of the same scheme
		{"file:///etc/passwd", UnsupportedScheme},
		{"FILE:///etc/passwd", UnsupportedScheme},
		{"file:/etc/passwd", UnsupportedScheme},
		{"data:image/png;base64,AAAA", UnsupportedScheme},
		{"javascript:alert(1)", UnsupportedScheme},
		{"gs://bucket/a.jpg", UnsupportedScheme},
		{"unix:///run/docker.sock", UnsupportedScheme},
		{"http:127.0.0.1" + p, BadURL},
		{"http:///127.0.0.1" + p, BadURL},
		{"?to=" + url.QueryEscape("?to="+url.QueryEscape("http://127.0.0.1"+p)), BlockedAddress}, // the third
	} {
		_, err := f.Fetch(context.Background(), at(front, "outside.test")[:len("http://")]+"outside.test:"+outsidePort(outside)+"/?to="+url.QueryEscape(tt.to))
		if e, ok := err.(*Error); !ok || e.Reason != tt.want {
			t.Errorf("a redirect to %s: error %v; want reason %s", tt.to, err, tt.want)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("servers inside were reached %d times", n)
	}
}

func outsidePort(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestHosts is what must be let through, and how it is asked for.
func TestHosts(t *testing.T) {
	w := &web{}
	for in, want := range map[string]string{
		"http://example.org/a.jpg":             "http://example.org/a.jpg",
		"http://EXAMPLE.org./a.jpg":            "http://example.org/a.jpg",
		"HTTPS://example.org:443/a.jpg#x":      "https://example.org/a.jpg",
		"http://outside.test#@inside.test/":    "http://outside.test",
		"http://example.org:0080/":             "http://example.org/",
		"http://example.org:/a":                "http://example.org/a",
		"https://example.org:80/":              "https://example.org:80/",
		"http://93.184.216.34:8080/?a=b":       "http://93.184.216.34:8080/?a=b",
		"http://[2606:4700::1111]/":            "http://[2606:4700::1111]/",
		"http://[2606:4700:0:0:0:0:0:1111]:81": "http://[2606:4700::1111]:81",
		"http://my_bucket.example.org/":        "http://my_bucket.example.org/",
		"http://bücher.example/":               "http://xn--bcher-kva.example/",
		"http://1.example.org/":                "http://1.example.org/",
		"http://127.0.0.1.example.org/":        "http://127.0.0.1.example.org/",
		"http://0x7f.example/":                 "http://0x7f.example/",
		"http://me:pw@example.org/a%20b":       "http://me:pw@example.org/a%20b",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, e := w.check(u); e != nil || got.String() != want {
			t.Errorf("%s: %v, error %v; want %s", in, got, e, want)
		}
	}
}
