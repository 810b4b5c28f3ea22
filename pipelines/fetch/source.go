package fetch

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// Open opens an image of a scheme of its own. It gets the URL as it stands in the listing, and a context that ends with the time
// for the image, upon which Open and what it opens have to end as well. An error that errors.Is fs.ErrNotExist or fs.ErrPermission
// is the reason NotFound or Permission, and any other Unreadable, which another try may pass; so are those of reading.
type Open func(ctx context.Context, url string) (io.ReadCloser, error)

var sources = struct {
	sync.RWMutex
	open map[string]Open
}{open: map[string]Open{}}

// Register has every Fetcher get images of a scheme, of lower-case letters, by open: "s3" is for s3://bucket/a.jpg. It is meant for
// init, so that each process that works on a run knows it, and panics if there is such a scheme already. At most 32 images of one
// host are open at one time, and Config's limits on bytes, time and memory hold. Nothing is guarded that open connects to.
func Register(scheme string, open Open) {
	sources.Lock()
	defer sources.Unlock()
	builtIn := scheme == "file" || scheme == "http" || scheme == "https" || scheme == "gs" || scheme == "data"
	if _, there := sources.open[scheme]; there || builtIn || open == nil || schemeOf(scheme+"://") != scheme {
		panic(fmt.Sprintf("fetch: the scheme %q cannot be registered: it is there already, or is none in lower-case letters", scheme))
	}
	sources.open[scheme] = open
}

func sourceOf(scheme string) Open {
	sources.RLock()
	defer sources.RUnlock()
	return sources.open[scheme]
}

// elsewhere reads an image of a registered scheme.
func (s *scheduler) elsewhere(w *watch, h *hold, t target) ([]byte, error) {
	data, err := s.readElsewhere(w, h, t.path)
	return data, s.explainStore(w, t, err, "its source has no such image", "its source does not allow this program to read it")
}

func (s *scheduler) readElsewhere(w *watch, h *hold, location string) ([]byte, error) {
	body, err := sourceOf(schemeOf(location))(w.ctx, location)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	w.idleAfter(s.cfg.IdleTimeout)
	return w.read(h, body, -1, s.cfg.MaxBytes)
}
