package hostile

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kind is a kind of path and how it ends.
type Kind struct {
	Path      string // in which N stands for a number
	Stage     string // fetch or decode; empty if the image is scored
	Reason    string // of the reject, empty if there is none
	Temporary bool   // whether another try may succeed, as far as a client can know
	First     string // the reason for a client that asks only once, where that is another
	Slow      bool   // keeps a client waiting to the end of its time limit
	Pause     bool   // asks for a pause of a second before the next request
}

// At is the path of the kind for a number.
func (k Kind) At(n int) string { return strings.Replace(k.Path, "N", strconv.Itoa(n), 1) }

// Kinds lists all kinds, with how they end for a client that allows the networks of the server and no others, follows at
// most 5 redirects, asks again where that may help, takes at most 32 MiB and 50 million pixels, and minds robots.txt and
// X-Robots-Tag. The paths below Options.Disallow are not among them.
func Kinds() []Kind {
	return []Kind{
		{Path: "/good/N.jpg"},
		{Path: "/chunked/N"},
		{Path: "/redirect/3/N"},
		{Path: "/wrongtype/image/N"},
		{Path: "/429/N", First: "rate-limited", Pause: true},
		{Path: "/500once/N", First: "http-5xx"},
		{Path: "/resetonce/N", First: "cut-off"},

		{Path: "/hang/N", Stage: "fetch", Reason: "timeout", Temporary: true, Slow: true},
		{Path: "/hangbody/N", Stage: "fetch", Reason: "timeout", Temporary: true, Slow: true},
		{Path: "/drip/N", Stage: "fetch", Reason: "timeout", Temporary: true, Slow: true},
		{Path: "/slowheader/N", Stage: "fetch", Reason: "timeout", Temporary: true, Slow: true},
		{Path: "/reset/N", Stage: "fetch", Reason: "cut-off", Temporary: true},
		{Path: "/cut/N", Stage: "fetch", Reason: "cut-off", Temporary: true},
		{Path: "/429always/N", Stage: "fetch", Reason: "rate-limited", Temporary: true, Pause: true},
		{Path: "/500/N", Stage: "fetch", Reason: "http-5xx", Temporary: true},
		{Path: "/503/N", Stage: "fetch", Reason: "http-5xx", Temporary: true, Pause: true},
		{Path: "/404/N", Stage: "fetch", Reason: "not-found"},
		{Path: "/410/N", Stage: "fetch", Reason: "not-found"},
		{Path: "/403/N", Stage: "fetch", Reason: "permission"},
		{Path: "/418/N", Stage: "fetch", Reason: "http-4xx"},
		{Path: "/204/N", Stage: "fetch", Reason: "http-other"},
		{Path: "/redirect/9/N", Stage: "fetch", Reason: "too-many-redirects"},
		{Path: "/loop/N", Stage: "fetch", Reason: "too-many-redirects"},
		{Path: "/loopback/N", Stage: "fetch", Reason: "blocked-address"},
		{Path: "/scheme/N", Stage: "fetch", Reason: "unsupported-scheme"},
		{Path: "/huge/N", Stage: "fetch", Reason: "too-large"},
		{Path: "/hugelength/N", Stage: "fetch", Reason: "too-large"},
		{Path: "/headers/N", Stage: "fetch", Reason: "bad-answer"},
		{Path: "/badchunk/N", Stage: "fetch", Reason: "bad-answer"},
		{Path: "/noindex/N", Stage: "fetch", Reason: "robots"},

		{Path: "/bomb/png/N", Stage: "decode", Reason: "implausible-size"},
		{Path: "/bomb/jpeg/N", Stage: "decode", Reason: "implausible-size"},
		{Path: "/bomb/gzip/N", Stage: "decode", Reason: "not-an-image"},
		{Path: "/html/N", Stage: "decode", Reason: "html-page"},
		{Path: "/wrongtype/page/N", Stage: "decode", Reason: "html-page"},
		{Path: "/svg/N", Stage: "decode", Reason: "svg"},
		{Path: "/mp4/N", Stage: "decode", Reason: "video"},
		{Path: "/avif/N", Stage: "decode", Reason: "avif"},
		{Path: "/empty/N", Stage: "decode", Reason: "empty"},
		{Path: "/garbage/N", Stage: "decode", Reason: "not-an-image"},
	}
}

// exchange is a request and its answer.
type exchange struct {
	http.ResponseWriter
	request *http.Request
	rest    string // of the path, behind its first part
}

const other = "other" // counts the requests for paths of no kind

// behaviours are what there is, by the first part of a path.
var behaviours = map[string]func(*Server, *exchange){
	"good":      (*Server).good,
	"private":   (*Server).good,
	"chunked":   (*Server).chunked,
	"redirect":  (*Server).redirect,
	"wrongtype": (*Server).wrongType,
	"429":       onlyFirst((*Server).tooMany),
	"500once":   onlyFirst(status(http.StatusInternalServerError)),
	"resetonce": onlyFirst((*Server).reset),

	"hang":       (*Server).hang,
	"hangbody":   (*Server).hangBody,
	"drip":       (*Server).drip,
	"slowheader": (*Server).slowHeader,
	"reset":      (*Server).reset,
	"cut":        (*Server).cut,
	"429always":  (*Server).tooMany,
	"500":        status(http.StatusInternalServerError),
	"503":        (*Server).unavailable,
	"404":        status(http.StatusNotFound),
	"410":        status(http.StatusGone),
	"403":        status(http.StatusForbidden),
	"418":        status(http.StatusTeapot),
	"204":        func(_ *Server, x *exchange) { x.WriteHeader(http.StatusNoContent) },
	"loop":       func(_ *Server, x *exchange) { http.Redirect(x, x.request, x.request.URL.Path, http.StatusFound) },
	"loopback":   (*Server).loopback,
	"scheme":     func(_ *Server, x *exchange) { x.moved("file:///etc/passwd") },
	"huge":       (*Server).huge,
	"hugelength": (*Server).hugeLength,
	"headers":    (*Server).headers,
	"badchunk":   (*Server).badChunk,
	"noindex":    (*Server).noIndex,
	"robots.txt": (*Server).robots,

	"bomb":    (*Server).bomb,
	"html":    sends("text/html; charset=utf-8", page),
	"svg":     sends("image/svg+xml", drawing),
	"mp4":     sends("video/mp4", video),
	"avif":    sends("image/avif", avif),
	"empty":   sends("image/jpeg", nil),
	"garbage": (*Server).garbage,
}

// split takes the first part of a path from the rest.
func split(path string) (first, rest string) {
	first, rest, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first, rest
}

func hash(s string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, s)
	return h.Sum64()
}

// number is that at the end of the path. What is none is made one.
func (x *exchange) number() uint64 {
	last := x.rest[strings.LastIndexByte(x.rest, '/')+1:]
	digits, _, _ := strings.Cut(last, ".")
	if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
		return n
	}
	return hash(last)
}

// send is a whole answer.
func (x *exchange) send(kind string, data []byte) {
	x.Header().Set("Content-Type", kind)
	x.Header().Set("Content-Length", strconv.Itoa(len(data)))
	x.Write(data)
}

func sends(kind string, data []byte) func(*Server, *exchange) {
	return func(_ *Server, x *exchange) { x.send(kind, data) }
}

func status(code int) func(*Server, *exchange) {
	return func(_ *Server, x *exchange) { http.Error(x, http.StatusText(code), code) }
}

// moved redirects to wherever it is said, unlike http.Redirect.
func (x *exchange) moved(to string) {
	x.Header().Set("Location", to)
	x.WriteHeader(http.StatusFound)
}

// onlyFirst fails for the first request of a host and path, and is good to those that follow.
func onlyFirst(fail func(*Server, *exchange)) func(*Server, *exchange) {
	return func(s *Server, x *exchange) {
		if !s.first.seen(x.request.Host + x.request.URL.Path) {
			fail(s, x)
			return
		}
		s.good(x)
	}
}

func (s *Server) image(x *exchange) []byte {
	return s.opts.Images[x.number()%uint64(len(s.opts.Images))]
}

func (s *Server) good(x *exchange) {
	data := s.image(x)
	x.send(http.DetectContentType(data), data)
}

func (s *Server) chunked(x *exchange) {
	data := s.image(x)
	x.Write(data[:len(data)/2])
	http.NewResponseController(x.ResponseWriter).Flush()
	x.Write(data[len(data)/2:])
}

func (s *Server) redirect(x *exchange) {
	times, n, _ := strings.Cut(x.rest, "/")
	if k, err := strconv.Atoi(times); err == nil && k > 1 {
		x.moved(fmt.Sprintf("/redirect/%d/%s", k-1, n))
		return
	}
	x.moved("/good/" + n)
}

func (s *Server) wrongType(x *exchange) {
	if strings.HasPrefix(x.rest, "page/") {
		x.send("image/jpeg", page)
		return
	}
	x.send("text/html", s.image(x))
}

func (s *Server) tooMany(x *exchange) {
	x.Header().Set("Retry-After", "1")
	http.Error(x, "too many requests", http.StatusTooManyRequests)
}

func (s *Server) unavailable(x *exchange) {
	x.Header().Set("Retry-After", "1")
	http.Error(x, "come back later", http.StatusServiceUnavailable)
}

// waits returns false once the client has left, has waited long enough, or the server is closed, and true after d.
func (s *Server) waits(x *exchange, began time.Time, d time.Duration) bool {
	left := s.opts.Patience - time.Since(began)
	timer := time.NewTimer(min(d, left))
	defer timer.Stop()
	select {
	case <-timer.C:
		return d <= left
	case <-x.request.Context().Done():
	case <-s.closed:
	}
	return false
}

// forsake ends the connection without an end of the answer.
func forsake() { panic(http.ErrAbortHandler) }

func (s *Server) hang(x *exchange) {
	s.waits(x, time.Now(), s.opts.Patience)
	forsake()
}

func (s *Server) hangBody(x *exchange) {
	data := s.image(x)
	x.Header().Set("Content-Length", strconv.Itoa(len(data)))
	x.Write(data[:len(data)/2])
	http.NewResponseController(x.ResponseWriter).Flush()
	s.hang(x)
}

const dripping = 100 * time.Millisecond // a byte

func (s *Server) drip(x *exchange) {
	data := s.image(x)
	x.Header().Set("Content-Length", strconv.Itoa(1<<20))
	control := http.NewResponseController(x.ResponseWriter)
	began := time.Now()
	for i := 0; s.waits(x, began, dripping); i++ {
		if _, err := x.Write(data[i%len(data):][:1]); err != nil || control.Flush() != nil {
			break
		}
	}
	forsake()
}

// hijack gives the connection itself, for answers that net/http would not write. A client that does not speak HTTP/1 gets
// none.
func (x *exchange) hijack() net.Conn {
	c, _, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		forsake()
	}
	return c
}

// slowHeader cannot see the client leave but by its own writing.
func (s *Server) slowHeader(x *exchange) {
	c := x.hijack()
	defer c.Close()
	if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Slow: "); err != nil {
		return
	}
	for began := time.Now(); s.waits(x, began, dripping); {
		if _, err := c.Write([]byte("a")); err != nil {
			return
		}
	}
}

func (s *Server) reset(x *exchange) {
	c := x.hijack()
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0) // what is closed now is reset
	}
	c.Close()
}

// cut promises more than it sends, whereupon net/http closes the connection.
func (s *Server) cut(x *exchange) {
	data := s.image(x)
	x.Header().Set("Content-Length", strconv.Itoa(2*len(data)))
	x.Write(data)
}

// forbidden are places that no server may send a client to: this machine, the network it is in, the metadata of a cloud,
// and their disguises.
var forbidden = []string{
	"http://127.0.0.1:1/", "http://[::1]:1/", "http://0.0.0.0:1/", "http://10.0.0.1/", "http://192.168.0.1/admin",
	"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/meta-data/", "http://100.100.100.200/",
	"http://[::ffff:127.0.0.1]:1/", "http://[::ffff:a9fe:a9fe]/", "http://[64:ff9b::7f00:1]:1/", "http://[2002:7f00:1::]:1/",
	"http://[fe80::1]/", "http://[::]:1/",
}

func (s *Server) loopback(x *exchange) { x.moved(forbidden[x.number()%uint64(len(forbidden))]) }

const endless = 1 << 30 // bytes, where a client should have had enough long before

func (s *Server) huge(x *exchange) {
	x.Header().Set("Content-Type", "image/jpeg")
	for sent := 0; sent < endless; sent += len(noise) {
		if _, err := x.Write(noise); err != nil {
			break
		}
	}
	forsake()
}

func (s *Server) hugeLength(x *exchange) {
	x.Header().Set("Content-Length", strconv.Itoa(1<<40))
	x.Write(noise)
}

func (s *Server) headers(x *exchange) {
	for i := range 64 {
		x.Header().Set(fmt.Sprintf("X-Large-%d", i), longLine)
	}
	s.good(x)
}

func (s *Server) badChunk(x *exchange) {
	c := x.hijack()
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nno chunk\r\n")
	// Closed with the rest of the request unread, it would be a reset, which may overtake what was written.
	c.SetReadDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, c)
}

func (s *Server) noIndex(x *exchange) {
	x.Header().Set("X-Robots-Tag", "noindex, noimageindex")
	s.good(x)
}

func (s *Server) robots(x *exchange) {
	x.send("text/plain", []byte("User-agent: *\nDisallow: "+s.opts.Disallow+"\n")) // an empty Disallow allows all
}

func (s *Server) bomb(x *exchange) {
	kind, _, _ := strings.Cut(x.rest, "/")
	switch kind {
	case "png":
		x.send("image/png", bombPNG)
	case "jpeg":
		x.send("image/jpeg", bombJPEG)
	default:
		x.Header().Set("Content-Encoding", "gzip") // of whoever unpacks it
		x.send("image/jpeg", bombGzip())
	}
}

func (s *Server) garbage(x *exchange) {
	data := make([]byte, 2000)
	r := rand.New(rand.NewPCG(x.number(), 1))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	data[0] = 1 // of no format
	x.send("image/jpeg", data)
}
