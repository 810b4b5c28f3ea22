// Package hostile is a server of images such as nobody wants to meet, for tests: it hangs, resets, drips, lies about
// sizes and types, redirects to where nobody should go, and sends bombs, beside good photographs.
//
//	server := hostile.New(hostile.Options{})
//	hosts, err := server.Listen(8) // "http://127.0.0.2:40001", "http://127.0.0.3:40002", ...
//	defer server.Close()
//	resp, err := http.Get(hosts[0] + "/good/17.jpg")
//
// What a path gives depends on the path alone, so that a run that is repeated or goes on after an interruption sees the
// same world; Kinds lists all there are and how each ends. Only the kinds that fail for the first request remember
// anything, in memory of a fixed size, until Forget. A million requests cost no more than what is open at one time, and
// that is bounded too.
package hostile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a server. Zero fields take the values that are named.
type Options struct {
	Images      [][]byte      // the good photographs; Photographs
	Disallow    string        // a prefix of paths that robots.txt keeps programs from; none
	Connections int           // open at one time, in all of Listen's hosts: others wait; 4096
	Patience    time.Duration // how long a client that waits is kept waiting; 2 minutes
}

// Server is an http.Handler. Listen makes hosts of it.
type Server struct {
	opts     Options
	requests map[string]*atomic.Int64 // by kind
	first    sieve
	closed   chan struct{}
	closing  sync.Once

	hosts    []*http.Server
	networks []netip.Prefix
	serving  sync.WaitGroup
	slots    chan struct{} // one for each connection

	mutex sync.Mutex // for what follows
	open  map[*connection]struct{}
	most  int
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	if o.Images == nil {
		o.Images = Photographs()
	}
	o.Connections = cmp.Or(o.Connections, 4096)
	o.Patience = cmp.Or(o.Patience, 2*time.Minute)
	s := &Server{opts: o, requests: map[string]*atomic.Int64{other: {}}, closed: make(chan struct{}),
		slots: make(chan struct{}, o.Connections), open: map[*connection]struct{}{}}
	for name := range behaviours {
		s.requests[name] = new(atomic.Int64)
	}
	return s
}

// Listen starts hosts at free ports of 127.0.0.2, 127.0.0.3 and so on, at most 200, and returns their URLs, without a
// slash at the end. Linux has these addresses without being asked; 127.0.0.1 is not among them, so that a client can be
// allowed to reach them and not the rest of this machine, where some kinds redirect to.
func (s *Server) Listen(hosts int) ([]string, error) {
	if hosts < 1 || hosts > 200 {
		return nil, fmt.Errorf("hostile: %d hosts: want 1 to 200", hosts)
	}
	var urls []string
	for i := range hosts {
		address := netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)})
		l, err := net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("hostile: %w", err), s.Close())
		}
		host := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0), MaxHeaderBytes: 64 << 10,
			ReadHeaderTimeout: 30 * time.Second, IdleTimeout: time.Minute}
		s.hosts = append(s.hosts, host)
		s.networks = append(s.networks, netip.PrefixFrom(address, 32))
		s.serving.Go(func() { host.Serve(&listener{Listener: l, server: s}) })
		urls = append(urls, "http://"+l.Addr().String())
	}
	return urls, nil
}

// Networks are the addresses of Listen's hosts, as a client has to allow them.
func (s *Server) Networks() []netip.Prefix { return s.networks }

// Close ends all connections and waits for what serves them. A Server that did not listen need not be closed, but lets
// go of waiting clients.
func (s *Server) Close() error {
	s.closing.Do(func() { close(s.closed) })
	var errs []error
	for _, h := range s.hosts {
		errs = append(errs, h.Close())
	}
	s.serving.Wait()
	s.mutex.Lock()
	left := slices.Collect(maps.Keys(s.open)) // those that net/http does not know, or not yet
	s.mutex.Unlock()
	for _, c := range left {
		c.Close()
	}
	return errors.Join(errs...)
}

// Forget makes the next request for each path the first one again.
func (s *Server) Forget() { s.first.clear() }

// Stats is what a server has counted.
type Stats struct {
	Requests        int64            `json:"requests"`
	Kinds           map[string]int64 `json:"kinds"` // requests by the first part of their path
	Connections     int              `json:"connections"`
	MostConnections int              `json:"most_connections"`
}

// Stats counts requests however the server is used, and connections of Listen's hosts.
func (s *Server) Stats() Stats {
	s.mutex.Lock()
	st := Stats{Kinds: map[string]int64{}, Connections: len(s.open), MostConnections: s.most}
	s.mutex.Unlock()
	for name, n := range s.requests {
		if n := n.Load(); n > 0 {
			st.Kinds[name] = n
			st.Requests += n
		}
	}
	return st
}

// ServeHTTP answers as the path's kind does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rest := split(r.URL.Path)
	behave, ok := behaviours[name]
	if !ok {
		s.requests[other].Add(1)
		http.NotFound(w, r)
		return
	}
	s.requests[name].Add(1)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	behave(s, &exchange{w, r, rest})
}

// listener admits Options.Connections connections, and counts them until they are closed, whoever has taken them over.
type listener struct {
	net.Listener
	server *Server
}

func (l *listener) Accept() (net.Conn, error) {
	s := l.server
	select {
	case s.slots <- struct{}{}:
	case <-s.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-s.slots
		return nil, err
	}
	conn := &connection{TCPConn: c.(*net.TCPConn), server: s}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.open[conn] = struct{}{}
	s.most = max(s.most, len(s.open))
	return conn, nil
}

type connection struct {
	*net.TCPConn
	server *Server
}

func (c *connection) Close() error {
	err := c.TCPConn.Close()
	c.server.mutex.Lock()
	defer c.server.mutex.Unlock()
	if _, ok := c.server.open[c]; ok {
		delete(c.server.open, c)
		<-c.server.slots
	}
	return err
}

// sieve remembers strings, in two megabytes. It takes one string in very many for one that it has seen, and never
// forgets one that it has.
type sieve [1 << 19]atomic.Uint32

// seen tells whether s was seen, and remembers it.
func (v *sieve) seen(s string) bool {
	h := hash(s) % (32 * uint64(len(v)))
	bit := uint32(1) << (h % 32)
	return v[h/32].Or(bit)&bit != 0
}

func (v *sieve) clear() {
	for i := range v {
		v[i].Store(0)
	}
}
