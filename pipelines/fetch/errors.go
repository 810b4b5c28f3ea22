package fetch

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Reason says in one word why an image's bytes could not be had. The set is closed: Reasons lists it.
type Reason string

// The reasons. Explain says each in a sentence.
const (
	NotFound          Reason = "not-found"
	Permission        Reason = "permission"
	NotAFile          Reason = "not-a-file"
	Unreadable        Reason = "unreadable"
	TooLarge          Reason = "too-large"
	Timeout           Reason = "timeout"
	BadURL            Reason = "bad-url"
	UnsupportedScheme Reason = "unsupported-scheme"
	BlockedAddress    Reason = "blocked-address"
	UnknownHost       Reason = "unknown-host"
	Unreachable       Reason = "unreachable"
	BadTLS            Reason = "bad-tls"
	CutOff            Reason = "cut-off"
	BadAnswer         Reason = "bad-answer"
	TooManyRedirects  Reason = "too-many-redirects"
	RateLimited       Reason = "rate-limited"
	HTTP4xx           Reason = "http-4xx"
	HTTP5xx           Reason = "http-5xx"
	HTTPOther         Reason = "http-other"
	Robots            Reason = "robots"
	RobotsUnknown     Reason = "robots-unknown"
)

var reasons = []struct {
	reason    Reason
	temporary bool
	text      string
}{
	{NotFound, false, "there is no such file, or the server has none (404, 410)"},
	{Permission, false, "the file or the URL may not be read (401, 403, 451)"},
	{NotAFile, false, "it is a folder, a pipe or a device, not a file"},
	{Unreadable, true, "the file is there, but the system fails to read it"},
	{TooLarge, false, "it has more bytes than the limit"},
	{Timeout, true, "it did not come whole within the time limit"},
	{BadURL, false, "the URL is not one"},
	{UnsupportedScheme, false, "a URL of another kind than file, http, https or gs"},
	{BlockedAddress, false, "the host's address is not public, and not in the networks that were allowed"},
	{UnknownHost, false, "the host's name does not exist"},
	{Unreachable, true, "no connection to the host"},
	{BadTLS, false, "the host's certificate or its TLS cannot be trusted"},
	{CutOff, true, "the connection ended before the image did"},
	{BadAnswer, false, "the server does not speak HTTP properly"},
	{TooManyRedirects, false, "it redirects again and again"},
	{RateLimited, true, "the server asks for fewer requests, or for a longer wait than there is patience for (429, Retry-After, Crawl-delay)"},
	{HTTP4xx, false, "the server refuses the request (another 4xx)"},
	{HTTP5xx, true, "the server fails (5xx)"},
	{HTTPOther, false, "the server answers neither with an image nor with an error"},
	{Robots, false, "the site does not want its images read by programs (robots.txt, X-Robots-Tag)"},
	{RobotsUnknown, true, "the site's robots.txt cannot be had, so nothing is asked of it for now"},
}

// Reasons returns every reason there is.
func Reasons() []Reason {
	all := make([]Reason, len(reasons))
	for i, r := range reasons {
		all[i] = r.reason
	}
	return all
}

// Explain says a reason in one sentence for people, and "" for what is not a reason.
func Explain(r Reason) string {
	for _, e := range reasons {
		if e.reason == r {
			return e.text
		}
	}
	return ""
}

// Temporary tells whether the same request may succeed at another time.
func (r Reason) Temporary() bool {
	for _, e := range reasons {
		if e.reason == r {
			return e.temporary
		}
	}
	return false
}

// Error is why an image's bytes could not be had.
type Error struct {
	Image  string // redacted
	Reason Reason
	Detail string // about this image; redacted

	ofHost bool // it would befall the host's other images as well, and the words are about the host
}

// Error gives the image, the reason and the detail in one line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Image, e.Reason, e.Detail)
}

// Temporary tells whether the same request may succeed at another time.
func (e *Error) Temporary() bool { return e.Reason.Temporary() }

func reject(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

func ofHost(r Reason, format string, args ...any) *Error {
	e := reject(r, format, args...)
	e.ofHost = true
	return e
}

// Redact is an image's name as it may stand in logs, and a post's, which it is in a listing of images alone: of a URL, and
// of a path that looks like one, without password, query and fragment.
func Redact(image string) string {
	scheme := schemeOf(image)
	switch {
	case scheme == "data":
		return "data:..."
	case scheme == "" && !strings.Contains(image, ":/"):
		return image
	}
	u, err := url.Parse(image)
	if scheme == "" || err != nil {
		if i := strings.IndexAny(image, "?#"); i >= 0 { // a sentence would go on behind a space
			image = image[:i+1] + "..."
		}
		return scrub(image)
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	if u.RawQuery != "" {
		u.RawQuery = "..."
	}
	return u.String()
}

var (
	queries   = regexp.MustCompile(`([?#])[^\s"'<>]+`)
	passwords = regexp.MustCompile(`(:/|//)[^\s/"'<>@]*@`)
)

const maxDetail = 300 // bytes; servers have a say in them

// scrub redacts URLs inside a sentence, and keeps it short and UTF-8.
func scrub(s string) string {
	if strings.ContainsAny(s, "?#@") {
		s = passwords.ReplaceAllString(queries.ReplaceAllString(s, "$1..."), "$1")
	}
	return strings.ToValidUTF8(s[:min(len(s), maxDetail)], "")
}
