package pipelines

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/logobeam/logobeam/pipelines/fetch"
)

// site is a web server of the pictures /0.png, /1.png and so on, that counts how often each path is asked for.
type site struct {
	url    string
	mutex  sync.Mutex
	hits   map[string]int
	answer func(w http.ResponseWriter, r *http.Request) (done bool) // what it says instead of showing a picture
}

func newSite(t *testing.T) *site {
	s := &site{hits: map[string]int{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	s.hits[r.URL.Path]++
	answer := s.answer
	s.mutex.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	n := 0
	if _, err := fmt.Sscanf(path.Base(r.URL.Path), "%d.png", &n); err != nil {
		http.NotFound(w, r)
		return
	}
	w.Write(picture(n))
}

// answers changes what the site says.
func (s *site) answers(answer func(w http.ResponseWriter, r *http.Request) bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.answer = answer
}

// asked is how often all paths were asked for, and the path that was asked for most how often.
func (s *site) asked() (all, most int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, n := range s.hits {
		all, most = all+n, max(most, n)
	}
	return all, most
}

// hang keeps a request waiting until its client leaves.
func hang(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done()
	return true
}

// local lets images come from servers of the test, asked for once.
func local() Images {
	return Images{Fetch: fetch.Config{AllowNet: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, IgnoreRobots: true, Retries: -1}}
}

// listed writes a listing with a line for each row.
func listed(t testing.TB, header string, rows ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "posts.csv")
	if err := os.WriteFile(file, []byte(header+"\n"+strings.Join(rows, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// numbered are rows of posts 0 to n-1, whose images are made from a format.
func numbered(n int, format string) (rows []string) {
	for i := range n {
		rows = append(rows, fmt.Sprintf("%d,", i)+fmt.Sprintf(format, i))
	}
	return rows
}
