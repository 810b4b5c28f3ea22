package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/logobeam/logobeam/model/infer"
	"github.com/logobeam/logobeam/pipelines/classifier"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/monitor"
)

// Scoring is what the processes that work on a run have to know of it. It travels as JSON.
type Scoring struct {
	Run   string // finds the run in the process that began it
	Out   string
	Model string
	classifier.Config
	ModelHash string
	Options   map[string]string // that change results; they are part of a part's name
	Keep      []string          // columns of the listing that go into the output
	After     []string          // outputs of earlier nights, whose scored posts are skipped
	Images    Images
	Workers   int
	Batch     int
	Memory    int64
	Repeats   bool // an image that comes again is worked on again
}

// scorer is what all chunks of a process share: the model, the fetcher, the workers, and what was answered already.
//
// The fetcher decides what to get next and how much at one time, and hands an image to whichever worker is free. The worker
// decodes it into its workspace and takes the next; when that is full, or nothing else has come in, it runs the network.
// So no image waits for a batch to fill, and no worker for a slow host.
type scorer struct {
	Scoring
	*classifier.Classifier
	monitor  *monitor.Monitor
	log      *slog.Logger // hears what is stuck, where the run does not
	fetcher  *fetch.Fetcher
	answers  *answers
	earlier  earlier
	decoding *semaphore.Weighted  // bytes
	most     int64                // of them
	rooms    chan infer.Workspace // one for each worker

	room    *semaphore.Weighted // rows under way
	writing chan struct{}       // a place for each part that is being written
	fetched chan *photograph
	mutex   sync.Mutex
	users   int // chunks under way
	stop    func()
}

var scorers sync.Map // by a Scoring as JSON: func() (*scorer, error)

// scorerOf is this process's one scorer for a run. If the run was begun by another process, this one works for it until it
// ends, within its memory, and says to the runner's log what is stuck.
func scorerOf(s Scoring) (*scorer, error) {
	load, _ := scorers.LoadOrStore(s.key(), sync.OnceValues(func() (*scorer, error) {
		ctx := context.Background()
		c, err := classifier.Load(ctx, s.Model, s.Config)
		if err != nil {
			return nil, err
		}
		bound(s.Memory)
		r, err := newScorer(ctx, s, c)
		if err == nil {
			r.watchedBy(monitor.New(0, false, 0))
			r.log = slog.Default()
		}
		return r, err
	}))
	return load.(func() (*scorer, error))()
}

func (s Scoring) key() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // it has nothing that JSON lacks
	}
	return string(text)
}

// keep makes s what scorerOf finds in this process until forget is called, which closes it.
func (s *scorer) keep(of Scoring) (forget func()) {
	scorers.Store(of.key(), func() (*scorer, error) { return s, nil })
	return func() { scorers.Delete(of.key()); s.close() }
}

// newScorer makes a scorer of a model, which has to be closed.
func newScorer(ctx context.Context, s Scoring, c *classifier.Classifier) (*scorer, error) {
	if c.Model.Hash() != s.ModelHash || !maps.Equal(modelOptions(c.Config), modelOptions(s.Config)) {
		return nil, fmt.Errorf("the model in %s is not the one that the run began with: score again", cmp.Or(s.Model, "this program"))
	}
	var err error
	s.Batch = cmp.Or(s.Batch, max(c.Engine.Batch()/len(c.Views), 1))
	r := &scorer{Scoring: s, Classifier: c, fetched: make(chan *photograph), room: newRoom(), writing: make(chan struct{}, partsAtOnce), rooms: make(chan infer.Workspace, s.Workers)}
	for range s.Workers {
		room, err := c.Engine.Workspace(s.Batch * len(c.Views))
		if err != nil {
			return nil, err
		}
		r.rooms <- room
	}
	if !s.Repeats {
		r.answers = newAnswers()
	}
	if r.earlier, err = readEarlier(ctx, s.After); err != nil {
		return nil, err
	}
	share, err := divide(s.Memory, s.Images.Limits)
	if err != nil {
		return nil, err
	}
	r.most, r.decoding = share.decode, semaphore.NewWeighted(share.decode)
	config := s.Images.Fetch
	config.Root, config.MaxBytes, config.Memory = s.Images.Root, s.Images.Limits.Bytes, share.fetch
	if r.fetcher, err = fetch.New(config); err != nil {
		return nil, err
	}
	return r, nil
}

// watchedBy says who is told of what goes on.
func (s *scorer) watchedBy(m *monitor.Monitor) {
	s.monitor = m
	m.Workers(s.Workers)
	m.Fetching(func() monitor.Fetching {
		now := s.fetcher.Stats()
		f := monitor.Fetching{Requests: now.Requests, Retries: now.Retries, Bytes: now.Bytes, Open: now.Connections, Waiting: now.Waiting}
		for _, h := range now.Hosts {
			f.Hosts = append(f.Hosts, monitor.Host{Name: h.Host, Requests: h.Requests, Failures: h.Failures, Parked: h.Parked, Mean: monitor.Seconds(h.Mean.Seconds())})
		}
		f.OldestImage, f.OldestHost, f.OldestSince, _ = s.fetcher.Oldest()
		return f
	})
}

// close lets go of connections.
func (s *scorer) close() { s.fetcher.Close() }

// use keeps the process's workers at work until release is called.
func (s *scorer) use() (release func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.users++; s.users == 1 {
		ctx, end := context.WithCancel(context.Background())
		var workers sync.WaitGroup
		for range s.Workers {
			workers.Go(func() { s.work(ctx.Done()) })
		}
		if s.log != nil {
			workers.Go(func() { s.monitor.Watch(ctx, s.log, watchEvery, s.Images.stuckAfter()) })
		}
		s.stop = func() { end(); workers.Wait() }
	}
	return func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.users--; s.users == 0 {
			s.stop()
		}
	}
}
