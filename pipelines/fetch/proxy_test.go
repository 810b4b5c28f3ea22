package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestProxy(t *testing.T) {
	var asked atomic.Pointer[string]
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := r.Method + " " + r.URL.String()
		asked.Store(&u)
		if r.Method == http.MethodConnect || strings.Contains(u, "robots.txt") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		fmt.Fprint(w, "by proxy")
	}))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", at(proxy, "proxy.test"))
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "direct.test")
	resolver := nameServer(t, zone(map[string]string{
		"proxy.test":   "127.0.0.1",
		"outside.test": "192.0.2.1", // passes for public; nobody connects to it from here
		"inside.test":  "127.0.0.1",
		"direct.test":  "127.0.0.1",
	}))
	f := fetcher(t, Config{Timeout: 5 * time.Second, Retries: -1, resolver: resolver, AllowNet: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	data, err := f.Fetch(context.Background(), "http://outside.test/a.jpg?b=c")
	if err != nil || string(data) != "by proxy" {
		t.Errorf("%q, error %v; want it by proxy", data, err)
	}
	if got := *asked.Load(); got != "GET http://outside.test/a.jpg?b=c" {
		t.Errorf("the proxy was asked for %s", got)
	}
	asked.Store(nil)
	port := proxy.URL[strings.LastIndex(proxy.URL, ":"):]
	for _, url := range []string{
		"http://inside.test/a.jpg",
		"https://inside.test/a.jpg",
		"http://10.0.0.1/a.jpg",
		"https://[::ffff:10.0.0.1]/a.jpg",
		proxy.URL + "/a.jpg",              // the proxy's address is open to the proxy's requests alone
		"http://proxy.test" + port + "/",  // by name
		"http://direct.test" + port + "/", // and past the proxy
		"https://direct.test" + port + "/",
	} {
		_, err := f.Fetch(context.Background(), url)
		if wantReason(t, err, BlockedAddress); asked.Load() != nil {
			t.Errorf("%s: the proxy was asked for %s", url, *asked.Load())
		}
	}
	_, err = f.Fetch(context.Background(), "http://outside.test/?to=http://inside.test/")
	wantReason(t, err, BlockedAddress)
	_, err = f.Fetch(context.Background(), "http://nowhere.test/")
	wantReason(t, err, UnknownHost)
	asked.Store(nil)
	_, err = f.Fetch(context.Background(), "https://outside.test/a.jpg")
	wantReason(t, err, RobotsUnknown)
	if got := asked.Load(); got == nil || !strings.HasPrefix(*got, "CONNECT ") {
		t.Errorf("the proxy was asked for %v; want a tunnel", got)
	}
}
