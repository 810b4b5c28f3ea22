package fetch

import (
	"container/heap"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	robotsName = "logobeam" // that robots.txt and X-Robots-Tag know this program by
	maxRobots  = 500 << 10  // bytes of robots.txt that are read: RFC 9309, section 2.5
	keepRobots = 24 * time.Hour
)

// robots is what a host's robots.txt says to this program (RFC 9309).
type robots struct {
	expires time.Time // zero before it is known
	asked   bool      // it is on its way
	rules   []rule
	delay   time.Duration // between requests: Crawl-delay, which is no part of the RFC
	size    int           // bytes of rules
}

// rule allows or disallows paths that match a pattern.
type rule struct {
	allow bool
	parts []string // of the pattern, between its asterisks
	end   bool     // it matches whole paths ($), and otherwise their beginnings
	bytes int      // of the pattern
}

// settleRobots notes a host's robots.txt, or what it means that it cannot be had (RFC 9309, section 2.3.1): all is allowed if the
// server has none, and nothing if it fails.
func (s *scheduler) settleRobots(j *job, data []byte, e *Error) {
	h := j.robotsOf
	r := &h.robots
	r.asked = false
	defer s.list(h)
	switch {
	case e == nil:
	case slices.Contains([]Reason{NotFound, Permission, HTTP4xx, HTTPOther, TooManyRedirects}, e.Reason):
		data = nil
	case j.url == nil && (e.ofHost || e.Reason == BlockedAddress) && e.Reason != HTTP5xx:
		s.giveUp(h, e, h.rest()) // images would fare the same: they are there as well
		return
	default:
		s.giveUp(h, ofHost(RobotsUnknown, "robots.txt of %s: %s", h.name, e.Detail), h.rest())
		return
	}
	s.robots -= r.size
	*r = parseRobots(data)
	r.expires = time.Now().Add(keepRobots)
	h.verdict = nil // if one was there for want of this
	s.robots += r.size
	h.queue.keep(func(j *job) bool { return s.mayAsk(h, j) })
	h.later = slices.DeleteFunc(h.later, func(j *job) bool { return !s.mayAsk(h, j) })
	heap.Init(&h.later)
}

// mayAsk tells whether robots.txt allows a job, which ends if not.
func (s *scheduler) mayAsk(h *host, j *job) bool {
	t, e := s.target(j)
	if e == nil && !h.robots.allows(t.url) {
		e = refuse(h)
	}
	if e != nil {
		s.fail(j, e)
	}
	return e == nil
}

func refuse(h *host) *Error {
	return reject(Robots, "robots.txt of %s does not want it read by programs", h.name)
}

// parseRobots takes the rules for this program out of a robots.txt. Whatever is not understood is skipped, as the RFC wants.
func parseRobots(data []byte) robots {
	var ours, all robots
	var named bool // there is a group for us
	var forUs, forAll, inRules bool
	text := strings.TrimPrefix(string(data), "\ufeff")
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line, _, _ = strings.Cut(line, "#")
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		if key == "user-agent" {
			if inRules {
				forUs, forAll, inRules = false, false, false
			}
			forAll = forAll || value == "*"
			if product.FindString(strings.ToLower(value)) == robotsName {
				forUs, named = true, true
			}
			continue
		}
		for _, g := range []struct {
			*robots
			is bool
		}{{&ours, forUs}, {&all, forAll}} {
			if g.is {
				g.add(key, value)
			}
		}
		inRules = inRules || key == "allow" || key == "disallow" || key == "crawl-delay"
	}
	if !named {
		ours = all
	}
	return ours
}

// product is the name of a program in a User-agent line, which may go on with its version.
var product = regexp.MustCompile(`^[a-z_-]+`)

func (r *robots) add(key, value string) {
	switch key {
	case "crawl-delay":
		if n, err := strconv.ParseFloat(value, 64); err == nil && n > 0 {
			r.delay = time.Duration(min(n, 3600) * float64(time.Second))
		}
	case "allow", "disallow":
		if value == "" {
			return
		}
		pattern, end := strings.CutSuffix(encode(value), "$")
		r.rules = append(r.rules, rule{allow: key == "allow", parts: strings.Split(pattern, "*"), end: end, bytes: len(value)})
		r.size += len(value)
	}
}

// allows tells whether a URL may be asked for: the longest pattern that matches decides, and if two do, Allow.
func (r *robots) allows(u *url.URL) bool {
	if len(r.rules) == 0 {
		return true
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		path += "?" + u.RawQuery
	}
	path = encode(path)
	longest, allowed := -1, true
	for _, p := range r.rules {
		if (p.bytes > longest || p.bytes == longest && p.allow) && p.matches(path) {
			longest, allowed = p.bytes, p.allow
		}
	}
	return allowed
}

// matches takes the first place for each part, and the last for the last part if that has to be at the end. So it never goes back.
func (p rule) matches(path string) bool {
	rest, ok := strings.CutPrefix(path, p.parts[0])
	if !ok {
		return false
	}
	if len(p.parts) == 1 {
		return !p.end || rest == ""
	}
	last := len(p.parts) - 1
	for i, part := range p.parts[1:] {
		if i+1 == last && p.end {
			return strings.HasSuffix(rest, part)
		}
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return true
}

// encode brings a path or a pattern to the form in which they are compared (RFC 9309, section 2.2.2): what need not be
// percent-encoded is not, and all else that can be is.
func encode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				i += 2
				if c = byte(n); isUnreserved(c) {
					b.WriteByte(c)
				} else {
					b.Write([]byte{'%', hex[c>>4], hex[c&15]})
				}
				continue
			}
		}
		if c <= ' ' || c >= 0x7f {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isUnreserved(c byte) bool { // RFC 3986, section 2.3
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// tagged tells whether an answer's X-Robots-Tag does not want the image to be used by programs like this one. Rules after
// the name of a program are for that program alone.
func tagged(h http.Header) bool {
	for _, line := range h.Values("X-Robots-Tag") {
		forUs := true
		for field := range strings.SplitSeq(line, ",") {
			field = strings.ToLower(strings.TrimSpace(field))
			if name, rest, ok := strings.Cut(field, ":"); ok {
				name = strings.TrimSpace(name)
				if slices.Contains(withValues, name) {
					continue
				}
				forUs = name == robotsName
				field = strings.TrimSpace(rest)
			}
			if forUs && slices.Contains(refusals, field) {
				return true
			}
		}
	}
	return false
}

var (
	refusals   = []string{"none", "noindex", "noimageindex", "noai", "noimageai"}
	withValues = []string{"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"} // of X-Robots-Tag, no programs' names
)
