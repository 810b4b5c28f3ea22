package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRobotsRules(t *testing.T) {
	for _, tt := range []struct {
		reason, file, path string
		want               bool
	}{
		{"nothing is said", "", "/a", true},
		{"nothing that is understood", "hello\n:\n: :\n%%%", "/a", true},
		{"all is disallowed", "User-agent: *\nDisallow: /", "/a", false},
		{"an empty rule is none", "User-agent: *\nDisallow:", "/a", true},
		{"our own group", "User-agent: logobeam\nDisallow: /", "/a", false},
		{"our own group in capitals, with a version", "USER-AGENT : LogoBeam/2.0\ndisallow : /", "/a", false},
		{"another program's group", "User-agent: logobeamer\nDisallow: /", "/a", true},
		{"a group whose name ours begins with", "User-agent: logo\nDisallow: /", "/a", true},
		{"our group instead of all's", "User-agent: *\nDisallow: /\n\nUser-agent: logobeam\nDisallow: /b", "/a", true},
		{"our group is empty", "User-agent: *\nDisallow: /\n\nUser-agent: logobeam", "/a", true},
		{"groups for us are one", "User-agent: logobeam\nDisallow: /a\n\nUser-agent: x\nDisallow: /c\n\nUser-agent: logobeam\nDisallow: /b", "/b", false},
		{"a group of several programs", "User-agent: x\nUser-agent: logobeam\nDisallow: /a", "/a", false},
		{"rules end a list of programs", "User-agent: logobeam\nDisallow: /b\nUser-agent: x\nDisallow: /a", "/a", true},
		{"other lines do not", "User-agent: logobeam\nSitemap: http://x/\nUser-agent: x\nDisallow: /a", "/a", false},
		{"rules before any group", "Disallow: /\nUser-agent: x\nDisallow: /", "/a", true},
		{"the longest match, disallowed", "User-agent: *\nAllow: /a\nDisallow: /a/b", "/a/b/c", false},
		{"the longest match, allowed", "User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", true},
		{"equals: allowed", "User-agent: *\nDisallow: /a\nAllow: /a", "/a", true},
		{"a beginning", "User-agent: *\nDisallow: /fish", "/fishheads/yummy.jpg", false},
		{"paths have cases", "User-agent: *\nDisallow: /fish", "/Fish", true},
		{"anchored at the beginning", "User-agent: *\nDisallow: /fish*heads", "/x/fish/heads", true},
		{"an asterisk", "User-agent: *\nDisallow: /*.gif", "/a/b.gif?c", false},
		{"an asterisk for nothing", "User-agent: *\nDisallow: /a*b", "/ab", false},
		{"asterisks", "User-agent: *\nDisallow: /*a*b*c", "/xaxbxcx", false},
		{"asterisks in another order", "User-agent: *\nDisallow: /*a*b*c", "/xcxbxax", true},
		{"an end", "User-agent: *\nDisallow: /*.php$", "/a.php", false},
		{"not at the end", "User-agent: *\nDisallow: /*.php$", "/a.php?b", true},
		{"the last place, not the first", "User-agent: *\nDisallow: /*a$", "/aba", false},
		{"an end without an asterisk", "User-agent: *\nDisallow: /a$", "/ab", true},
		{"the whole path", "User-agent: *\nDisallow: /a$", "/a", false},
		{"parts that would overlap", "User-agent: *\nDisallow: /ab*bc$", "/abc", true},
		{"queries count", "User-agent: *\nDisallow: /a?b", "/a?b=c", false},
		{"no path is the root", "User-agent: *\nDisallow: /$", "", false},
		{"percent-encoded as other characters", "User-agent: *\nDisallow: /a%3cd.jpg", "/a%3Cd.jpg", false},
		{"needlessly percent-encoded", "User-agent: *\nDisallow: /%7Ejoe/", "/~joe/a.jpg", false},
		{"an encoded slash is no slash", "User-agent: *\nDisallow: /a/b", "/a%2fb", true},
		{"beyond ASCII", "User-agent: *\nDisallow: /ツ", "/%E3%83%84", false},
		{"an encoded asterisk is one", "User-agent: *\nDisallow: /a%2Ab", "/axb", true},
		{"comments", "User-agent: * # all\nDisallow: /a # not a\n#Disallow: /b", "/b", true},
		{"Windows line ends and a byte order mark", "\ufeffUser-agent: *\r\nDisallow: /a\r\n", "/a", false},
		{"old Mac line ends", "User-agent: *\rDisallow: /a\r", "/a", false},
	} {
		r := parseRobots([]byte(tt.file))
		u, err := url.Parse("http://example.org" + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.allows(u); got != tt.want {
			t.Errorf("%s: %q is allowed: %v; want %v\n%s", tt.reason, tt.path, got, tt.want, tt.file)
		}
	}
	for in, want := range map[string]time.Duration{"1.5": 1500 * time.Millisecond, "-1": 0, "x": 0, "1e300": time.Hour, "NaN": 0} {
		if got := parseRobots([]byte("User-agent: *\nCrawl-delay: " + in)).delay; got != want {
			t.Errorf("Crawl-delay: %s: %v; want %v", in, got, want)
		}
	}
}

// FuzzRobots looks for a file that cannot be read, and checks that a rule against all, put last, is not undone by what is before it in
// other programs' groups.
func FuzzRobots(f *testing.F) {
	f.Add("User-agent: *\nDisallow: /*a*b$\nAllow: /%zz", "/a%2fb?c")
	f.Fuzz(func(t *testing.T, file, path string) {
		u := &url.URL{Scheme: "http", Host: "example.org", Path: path}
		r := parseRobots([]byte(file))
		r.allows(u)
		if r.size > len(file) || r.delay < 0 {
			t.Errorf("%d bytes of rules from %d, a delay of %v", r.size, len(file), r.delay)
		}
		if e := encode(path); encode(e) != e {
			t.Errorf("%q is encoded as %q, and that as %q", path, e, encode(e))
		}
		alone := parseRobots([]byte("User-agent: " + robotsName + "\nDisallow: /\n\nUser-agent: x\n" + strings.ReplaceAll(strings.ToLower(file), "user-agent", "agent")))
		if u.Path = "/" + path; alone.allows(u) {
			t.Errorf("%q is allowed where nothing is, after %q", u.Path, file)
		}
	})
}

func TestRobotsTag(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{"all"}, false},
		{[]string{"nofollow, noarchive"}, false},
		{[]string{"noindex"}, true},
		{[]string{"nofollow", "NoImageIndex"}, true},
		{[]string{"nofollow,none"}, true},
		{[]string{"noai, noimageai"}, true},
		{[]string{"logobeam: noindex"}, true},
		{[]string{"LogoBeam : nofollow, noindex"}, true},
		{[]string{"otherbot: noindex, none"}, false},
		{[]string{"otherbot: noindex", "noai"}, true},
		{[]string{"otherbot: nofollow, logobeam: noindex"}, true},
		{[]string{"unavailable_after: 25 Jun 2030 15:00:00 PST, noindex"}, true},
		{[]string{"max-image-preview: none"}, false},
		{[]string{", :, ::,"}, false},
	} {
		if got := tagged(http.Header{"X-Robots-Tag": tt.lines}); got != tt.want {
			t.Errorf("X-Robots-Tag %q: %v; want %v", tt.lines, got, tt.want)
		}
	}
}

func TestRobots(t *testing.T) {
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(r.Host, ".")
		mu.Lock()
		asked[name+r.URL.Path]++
		n := asked[name+r.URL.Path]
		mu.Unlock()
		if r.URL.Path != "/robots.txt" {
			if r.URL.Path == "/tagged" {
				w.Header().Set("X-Robots-Tag", "noai")
			}
			fmt.Fprint(w, "image")
			return
		}
		switch name {
		case "private":
			fmt.Fprint(w, "User-agent: *\nDisallow: /private/\n")
		case "long":
			fmt.Fprint(w, "User-agent: *\nDisallow: /private/\n", strings.Repeat("#\n", maxRobots/2), "Disallow: /open/\n")
		case "forbidden":
			w.WriteHeader(http.StatusForbidden)
		case "broken":
			w.WriteHeader(http.StatusInternalServerError)
		case "recovers":
			if n < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		case "moved":
			http.Redirect(w, r, strings.Replace("http://"+r.Host+"/robots.txt", "moved", "private", 1), http.StatusMovedPermanently)
		case "loop":
			http.Redirect(w, r, "/robots.txt?"+r.URL.RawQuery+"x", http.StatusFound)
		case "inside":
			http.Redirect(w, r, "http://10.0.0.1/robots.txt", http.StatusFound)
		case "cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "User-agent: *\n")
		}
	}))
	defer server.Close()
	cfg := Config{Timeout: time.Second, resolver: nameServer(t, everywhere), AllowNet: loopback}
	for _, tt := range []struct {
		host string
		want map[string]Reason // of paths
		asks int
	}{
		{"private", map[string]Reason{"/private/a": Robots, "/open/a": "", "/private": "", "/tagged": Robots}, 1},
		{"long", map[string]Reason{"/private/a": Robots, "/open/a": ""}, 1},
		{"none", map[string]Reason{"/private/a": ""}, 1},
		{"forbidden", map[string]Reason{"/private/a": ""}, 1},
		{"recovers", map[string]Reason{"/private/a": ""}, 3},
		{"broken", map[string]Reason{"/open/a": RobotsUnknown, "/open/b": RobotsUnknown}, 3},
		{"moved", map[string]Reason{"/private/a": Robots, "/open/a": ""}, 1},
		{"loop", map[string]Reason{"/private/a": ""}, 6},
		{"inside", map[string]Reason{"/open/a": RobotsUnknown}, 1},
		{"cut", map[string]Reason{"/open/a": RobotsUnknown}, 3},
	} {
		t.Run(tt.host, func(t *testing.T) {
			f := fetcher(t, cfg)
			var images []string
			for path := range tt.want {
				for range 50 {
					images = append(images, at(server, tt.host+".test")+path)
				}
			}
			mu.Lock()
			clear(asked)
			mu.Unlock()
			for range 2 { // the second time it is known
				details := map[string]bool{}
				for _, i := range all(t, f, images) {
					u, _ := url.Parse(images[i.Index])
					if want := tt.want[u.Path]; want != "" {
						wantReason(t, i.Err, want)
						details[u.Path+i.Err.(*Error).Detail] = true
					} else if i.Err != nil {
						t.Error(i.Err)
					}
				}
				if len(details) > len(tt.want) {
					t.Errorf("details %v; want one a path", details)
				}
			}
			if n := asked[tt.host+"/robots.txt"]; n != tt.asks {
				t.Errorf("robots.txt was asked for %d times; want %d", n, tt.asks)
			}
			if n := asked[tt.host+"/private/a"]; n > 0 && tt.want["/private/a"] == Robots {
				t.Errorf("%d requests for what is disallowed", n)
			}
			cfg := cfg
			cfg.IgnoreRobots = true
			for _, i := range all(t, fetcher(t, cfg), images) {
				if i.Err != nil {
					t.Errorf("though robots.txt is ignored: %v", i.Err)
				}
			}
		})
	}
}

// A Crawl-delay spaces requests, and does not hold up a run for longer than there is patience for.
func TestCrawlDelay(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/robots.txt" {
			fmt.Fprint(w, "User-agent: *\nCrawl-delay: 0.05")
			return
		}
		n.Add(1)
	}))
	defer server.Close()
	f := fetcher(t, Config{Timeout: 50 * time.Millisecond, Patience: 500 * time.Millisecond, AllowNet: loopback})
	began := time.Now()
	late := 0
	for _, i := range all(t, f, strings.Fields(strings.Repeat(server.URL+"/a ", 1000))) {
		if i.Err != nil {
			wantReason(t, i.Err, RateLimited)
			late++
		}
	}
	if d := time.Since(began); int(n.Load())+late != 1000 || late < 900 || d < time.Duration(n.Load()-1)*50*time.Millisecond {
		t.Errorf("%d requests in %v, and %d images that did not wait", n.Load(), d, late)
	}
	if _, err := f.Fetch(context.Background(), server.URL+"/b"); err != nil {
		t.Error(err)
	}
}
