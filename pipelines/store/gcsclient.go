package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/httptransport"
	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

const (
	stall    = 30 * time.Second // a request in which nothing moves for so long is given up and repeated
	patience = 2 * time.Minute  // an operation gives up when it got no further for so long, however often it was repeated

	firstPause, longestPause = 100 * time.Millisecond, 10 * time.Second // before requests are repeated
)

const login = "log in with `gcloud auth application-default login`, or let GOOGLE_APPLICATION_CREDENTIALS name the key file of a service account"

// client is the connection to the service, for the whole process.
type client struct {
	gcs      *storage.Client
	patience time.Duration
}

var clients struct {
	sync.Mutex
	by map[string]*client // by STORAGE_EMULATOR_HOST, which only tests change
}

// theClient is the process's client, which is made on first use.
func theClient() (*client, error) {
	clients.Lock()
	defer clients.Unlock()
	emulator := os.Getenv("STORAGE_EMULATOR_HOST")
	if c := clients.by[emulator]; c != nil {
		return c, nil
	}
	c, err := newClient(emulator, stall, patience)
	if err != nil {
		return nil, err
	}
	if clients.by == nil {
		clients.by = map[string]*client{}
	}
	clients.by[emulator] = c
	return c, nil
}

func newClient(emulator string, stall, patience time.Duration) (*client, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConns, base.MaxIdleConnsPerHost = 0, 256 // as many as work at a time may wait for more work
	base.Protocols = new(http.Protocols)
	base.Protocols.SetHTTP1(true) // HTTP/2 would send all that is read at a time through one connection
	o := httptransport.Options{
		BaseRoundTripper: unstalled{base, stall},
		Headers:          http.Header{"User-Agent": {"logobeam"}},
		DisableTelemetry: true,
	}
	var opts []option.ClientOption
	if emulator == "" {
		creds, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{storage.ScopeReadWrite}})
		if err != nil {
			return nil, fmt.Errorf("no credentials for Google Cloud Storage (%w): %s", err, login)
		}
		o.Credentials = creds
		opts = append(opts, option.WithAuthCredentials(creds))
	} else {
		o.DisableAuthentication = true
	}
	hc, err := httptransport.NewClient(&o)
	if err != nil {
		return nil, err
	}
	gcs, err := storage.NewClient(context.Background(), append(opts, option.WithHTTPClient(hc))...)
	if err != nil {
		return nil, err
	}
	gcs.SetRetry(storage.WithBackoff(gax.Backoff{Initial: firstPause, Max: longestPause, Multiplier: 2}))
	return &client{gcs, patience}, nil
}

// limit is a context that ends when its clock, which can be wound up again, has run down.
type limit struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	clock  *time.Timer
	after  time.Duration
}

func newLimit(ctx context.Context, after time.Duration, cause error) *limit {
	ctx, cancel := context.WithCancelCause(ctx)
	return &limit{ctx, cancel, time.AfterFunc(after, func() { cancel(cause) }), after}
}

func (l *limit) rewind() { l.clock.Reset(l.after) }
func (l *limit) hold()   { l.clock.Stop() }

func (l *limit) end() {
	l.clock.Stop()
	l.cancel(nil)
}

var errPatience = errors.New("the server does not get done what it was asked for")

// limit bounds an operation and what is repeated of it.
func (c *client) limit(ctx context.Context) *limit { return newLimit(ctx, c.patience, errPatience) }

// errStalled is a temporary error to the library, which repeats the request.
var errStalled error = stalled{}

type stalled struct{}

func (stalled) Error() string   { return "the server does not answer" }
func (stalled) Temporary() bool { return true }

// unstalled gives up requests in which nothing moves, neither out nor in.
type unstalled struct {
	base  http.RoundTripper
	after time.Duration
}

func (u unstalled) RoundTrip(r *http.Request) (*http.Response, error) {
	l := newLimit(r.Context(), u.after, errStalled)
	r = r.WithContext(l.ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = outgoing{r.Body, l}
	}
	answer, err := u.base.RoundTrip(r)
	l.hold()
	if err != nil {
		err = orStalled(l, err)
		l.end()
		return nil, err
	}
	answer.Body = incoming{answer.Body, l}
	return answer, nil
}

func orStalled(l *limit, err error) error {
	if err != nil && err != io.EOF && context.Cause(l.ctx) == errStalled {
		return errStalled
	}
	return err
}

type outgoing struct {
	io.ReadCloser
	*limit
}

func (o outgoing) Read(p []byte) (int, error) {
	o.rewind()
	return o.ReadCloser.Read(p)
}

type incoming struct {
	io.ReadCloser
	*limit
}

func (i incoming) Read(p []byte) (int, error) {
	i.rewind() // only now: whoever reads may take their time
	n, err := i.ReadCloser.Read(p)
	i.hold()
	return n, orStalled(i.limit, err)
}

func (i incoming) Close() error {
	defer i.end()
	return i.ReadCloser.Close()
}

// explain says what went wrong with an object and what to do about it. URLs, whose queries are secret, are left out.
func explain(l *limit, where string, err error) error {
	if err == nil {
		return nil
	}
	if l != nil && l.ctx.Err() != nil {
		if cause := context.Cause(l.ctx); cause != errPatience {
			return fmt.Errorf("%s: %w", where, cause)
		}
		last := plain(err)
		if errors.Is(last, context.Canceled) {
			last = errPatience
		}
		return fmt.Errorf("%s: given up after %v without getting any further: %v", where, l.after, last) // nobody has cancelled it
	}
	answer, _ := errors.AsType[*googleapi.Error](err)
	switch {
	case errors.Is(err, storage.ErrBucketNotExist), answer != nil && strings.Contains(answer.Message, "bucket does not exist"):
		return fmt.Errorf("%s: the bucket does not exist (%w): check its name, or create it", where, fs.ErrNotExist)
	case errors.Is(err, storage.ErrObjectNotExist):
		return fmt.Errorf("%s: %w", where, fs.ErrNotExist)
	case answer != nil && answer.Code == http.StatusForbidden:
		return fmt.Errorf("%s: %w: give the account the role Storage Object User (roles/storage.objectUser) on the bucket: %w",
			where, fs.ErrPermission, plain(err))
	case answer != nil && answer.Code == http.StatusUnauthorized:
		return fmt.Errorf("%s: %w: the credentials are refused: %s: %w", where, fs.ErrPermission, login, plain(err))
	}
	if _, ok := errors.AsType[*auth.Error](err); ok {
		return fmt.Errorf("%s: %w: the credentials give no access: %s: %w", where, fs.ErrPermission, login, plain(err))
	}
	return fmt.Errorf("%s: %w", where, plain(err))
}

// plain is what there is to say of an error beside the request's URL and the answer's page.
func plain(err error) error {
	if answer, ok := errors.AsType[*googleapi.Error](err); ok {
		text, _, _ := strings.Cut(answer.Message, "\n")
		return fmt.Errorf("the server answers %d %s", answer.Code, strings.TrimSpace(http.StatusText(answer.Code)+" "+text[:min(len(text), 200)]))
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
