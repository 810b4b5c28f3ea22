package fetch

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Image is what became of the image images[Index] of Each.
type Image struct {
	Index int
	Data  []byte
	Err   error // nil or an *Error

	hold *hold
}

// Release tells that Data is not needed any more. It must not depend on other images' being delivered.
func (i Image) Release() { i.hold.release() }

// Each fetches many images and hands each to deliver once, in whatever order, all from the calling goroutine. Images of
// one host are begun in their order in images. If deliver blocks, no more is fetched than Config.Memory has room for. What
// deliver is given has to be released.
//
// Each returns when all were delivered, or with ctx's error; then some were not delivered. It leaves no goroutine.
// Several calls at a time share the limits of the Fetcher.
func (f *Fetcher) Each(ctx context.Context, images []string, deliver func(Image)) error {
	c, err := f.begin(ctx, images, f.root, f.begun)
	if err != nil {
		return err
	}
	defer f.end(c)
	for range images {
		i, err := f.take(c)
		if err != nil {
			return err
		}
		deliver(i)
	}
	return nil
}

// scheduler decides which image is asked for when. It has no goroutine of its own, and none for an image that waits:
// whoever changes something that another image may have waited for (a new image, an end, a release, a timer) calls pump,
// which starts a goroutine for each image that can start now.
type scheduler struct {
	cfg  Config
	web  *web
	life context.Context
	die  context.CancelCauseFunc

	mu       sync.Mutex
	calls    map[*call]struct{}
	hosts    *simplelru.LRU[string, *host] // with what is known of hosts of late; those with jobs stay
	robots   int                           // bytes of rules in hosts
	memory   budget
	disk     lane
	slow     lane
	quick    lane
	starting []*job            // by the fill that is under way
	placed   int               // images that have jobs and are not yet taken
	ahead    int               // images that are done and not yet taken
	begun    map[*job]struct{} // images whose first attempt has begun
	stats    Stats             // but for what is counted when it is asked for
	ended    sync.WaitGroup    // goroutines
}

// lane is hosts that share a number of places. They take turns, an image a turn.
type lane struct {
	hosts  []*host // that may have something to start
	active int
	places int
}

const (
	diskReads   = 8       // files read at one time
	bucketReads = 32      // objects of a bucket read at one time
	maxHosts    = 16384   // remembered
	maxRules    = 8 << 20 // bytes of robots.txt remembered
)

func newScheduler(cfg Config) *scheduler {
	s := &scheduler{cfg: cfg, memory: newBudget(cfg), calls: map[*call]struct{}{}, begun: map[*job]struct{}{}}
	s.life, s.die = context.WithCancelCause(context.Background())
	s.web = newWeb(s.life, cfg)
	s.hosts, _ = simplelru.NewLRU[string, *host](math.MaxInt, nil)
	s.disk.places, s.slow.places, s.quick.places = diskReads, (cfg.Connections+1)/2, cfg.Connections
	return s
}

// call is one call of Each. The scheduler's lock guards it.
type call struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	images []string
	root   string
	begun  func(index int) // nil for nobody

	next    int           // in images: those before it have been placed
	taken   int           // of images
	left    int           // not yet done
	running int           // goroutines
	done    []Image       // done and not yet taken
	wake    chan struct{} // after a change to running or done
}

// job is an image on its way, or the robots.txt of a host.
type job struct {
	call     *call
	index    int   // in call.images
	robotsOf *host // nil for an image

	host *host
	url  *url.URL // where a redirect has led; nil at the beginning
	hops int      // redirects since the beginning

	began        time.Time // the first attempt
	spent        time.Duration
	tries        int
	failed       *Error // of the attempt before
	backoff      *backoff.ExponentialBackOff
	due          time.Time     // not before this
	pausedBefore time.Duration // of the host, when the job came to it

	lane *lane // while it runs
	hold *hold
	next *job // in a queue
}

// image is the job's name.
func (j *job) image() string {
	if j.robotsOf != nil {
		return j.robotsOf.url.JoinPath("robots.txt").String()
	}
	return j.call.images[j.index]
}

func (s *scheduler) begin(ctx context.Context, images []string, root string, begun func(int)) (*call, error) {
	c := &call{images: images, root: root, begun: begun, left: len(images), wake: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		c.cancel(ErrClosed)
		return nil, ErrClosed
	}
	s.calls[c] = struct{}{}
	s.more(c)
	return c, nil
}

// window is how many images have jobs at a time: so many may wait for slow hosts before the others do. Each call has some.
const window, leastOfCall = 8192, 64

// more places images of a call for which there is room.
func (s *scheduler) more(c *call) {
	if c.next == len(c.images) || c.next-c.taken >= leastOfCall && s.placed > window-leastOfCall {
		return
	}
	for c.next < len(c.images) && (c.next-c.taken < leastOfCall || s.placed < window) {
		s.placed++
		s.place(&job{call: c, index: c.next}, time.Time{})
		if c.next++; c.next%512 == 0 { // let others to the lock, and begin
			s.pump()
			s.mu.Unlock()
			s.mu.Lock()
		}
	}
	s.pump()
}

// take waits for the next image that is done.
func (s *scheduler) take(c *call) (Image, error) {
	for {
		if c.ctx.Err() != nil {
			if context.Cause(c.ctx) == ErrClosed {
				return Image{}, ErrClosed
			}
			return Image{}, c.ctx.Err()
		}
		s.mu.Lock()
		if len(c.done) > 0 {
			i := c.done[0]
			c.done[0] = Image{}
			c.done = c.done[1:]
			c.taken++
			s.placed--
			if s.ahead--; s.ahead == furthest*s.cfg.Connections-1 {
				s.pump()
			}
			s.more(c)
			s.mu.Unlock()
			return i, nil
		}
		s.mu.Unlock()
		select {
		case <-c.wake:
		case <-c.ctx.Done():
		}
	}
}

// end takes what is left of a call out of the scheduler, and waits for its goroutines.
func (s *scheduler) end(c *call) {
	c.cancel(context.Canceled)
	s.mu.Lock()
	delete(s.calls, c)
	if c.left > 0 {
		s.forget(c)
	}
	for c.running > 0 {
		s.mu.Unlock()
		<-c.wake
		s.mu.Lock()
	}
	done := c.done
	c.done = nil
	s.ahead -= len(done)
	s.placed -= c.next - c.taken
	s.pump()
	s.mu.Unlock()
	for _, i := range done {
		i.Release()
	}
}

// forget drops the jobs of a call that wait.
func (s *scheduler) forget(c *call) {
	others := func(j *job) bool { return j.call != c }
	for _, h := range s.hosts.Values() {
		if h.waiting() == 0 {
			continue
		}
		h.queue.keep(others)
		for _, d := range []*dueJobs{&h.later, &h.first} {
			for _, j := range *d {
				if !others(j) {
					s.abandon(j)
				}
			}
			*d = slices.DeleteFunc(*d, func(j *job) bool { return !others(j) })
			heap.Init(d)
		}
		s.list(h)
	}
	s.pump()
}

func (s *scheduler) close() {
	s.mu.Lock()
	s.die(ErrClosed)
	for c := range s.calls {
		c.cancel(ErrClosed)
	}
	for _, h := range s.hosts.Values() {
		if h.timer != nil {
			h.timer.Stop()
		}
	}
	s.mu.Unlock()
	s.ended.Wait()
	s.web.close()
}

// host is the host of a target.
func (s *scheduler) host(t target) *host {
	key := t.host()
	h, ok := s.hosts.Get(key)
	if !ok {
		h = s.newHost(key, t)
		s.hosts.Add(key, h)
		// Hosts with jobs are asked for again and again, so that they seldom are the oldest.
		for n := 0; n < 8 && (s.hosts.Len() > maxHosts || s.robots > maxRules); n++ {
			k, old, _ := s.hosts.GetOldest()
			if old == h || old.active > 0 || old.waiting() > 0 || old.robots.asked {
				s.hosts.Get(k)
				continue
			}
			s.robots -= old.robots.size
			s.hosts.Remove(k)
		}
	}
	return h
}

// place puts a job where it waits for its turn, not before due, or ends it if it need not wait.
func (s *scheduler) place(j *job, due time.Time) {
	t, err := s.target(j)
	if err != nil {
		s.fail(j, err)
		return
	}
	j.host, j.due = s.host(t), due
	h := j.host
	j.pausedBefore = h.pausedFor
	switch {
	case j.robotsOf != nil:
		heap.Push(&h.first, j)
	case h.givenUp(time.Now()):
		s.fail(j, h.verdict)
		return
	case h.kind == onWeb && !h.robots.allows(t.url):
		s.fail(j, refuse(h))
		return
	case due.IsZero():
		h.queue.push(j)
	default:
		heap.Push(&h.later, j)
	}
	s.list(h)
}

// list lets a host take part in its lane.
func (s *scheduler) list(h *host) {
	if h.listed || h.waiting() == 0 {
		return
	}
	h.listed = true
	l := s.laneOf(h)
	l.hosts = append(l.hosts, h)
}

func (s *scheduler) laneOf(h *host) *lane {
	switch {
	case h.kind == onDisk:
		return &s.disk
	case h.slow():
		return &s.slow
	}
	return &s.quick
}

// pump starts whatever can start.
func (s *scheduler) pump() {
	for _, j := range s.startable() {
		go s.run(j)
	}
}

// startable takes what can start now. The slice is good until the next call.
func (s *scheduler) startable() []*job {
	clear(s.starting) // an old job would keep its call in memory, and all that belongs to that
	s.starting = s.starting[:0]
	if s.life.Err() != nil {
		return nil
	}
	now := time.Now()
	s.fill(&s.disk, now, func() bool { return s.disk.active < s.disk.places })
	connections := func() bool { return s.slow.active+s.quick.active < s.cfg.Connections }
	s.fill(&s.slow, now, func() bool { return s.slow.active < s.slow.places && connections() })
	s.fill(&s.quick, now, connections)
	return s.starting
}

// furthest is how many times Config.Connections images may be done and wait to be delivered: whoever is slower than the
// network, or the disk, need not have all of it in memory.
const furthest = 4

// fill takes jobs of a lane's hosts in turn while there are places and memory.
func (s *scheduler) fill(l *lane, now time.Time, places func() bool) {
	for len(l.hosts) > 0 && places() && s.ahead < furthest*s.cfg.Connections && s.memory.room(s.flying()) {
		h := l.hosts[0]
		l.hosts[0] = nil
		l.hosts = l.hosts[1:]
		h.listed = false
		j, again := h.pick(now)
		if j != nil {
			s.start(j, h, l, now)
			s.list(h)
			continue
		}
		if !again.IsZero() {
			s.wake(h, again.Sub(now))
		}
	}
}

func (s *scheduler) flying() int { return s.disk.active + s.slow.active + s.quick.active }

// wake lists a host again after a while.
func (s *scheduler) wake(h *host, after time.Duration) {
	if h.timer != nil {
		h.timer.Stop()
	}
	h.timer = time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list(h)
		s.pump()
	})
}

func (s *scheduler) start(j *job, h *host, l *lane, now time.Time) {
	j.host, j.lane, j.hold = h, l, s.memory.start(s)
	if j.began.IsZero() {
		j.began = now
		s.begun[j] = struct{}{}
		if j.call.begun != nil && j.robotsOf == nil {
			j.call.begun(j.index)
		}
	}
	h.active++
	l.active++
	j.call.running++
	if h.robots.delay > 0 {
		s.pause(h, h.robots.delay)
	}
	s.ended.Add(1)
	s.starting = append(s.starting, j)
}

// answer is what came of an attempt.
type answer struct {
	data  []byte
	err   error         // an *Error, or anything if the call has ended
	next  *url.URL      // where a redirect leads
	pause time.Duration // that the host asks for
	begun bool          // a header came
	used  bool          // none came, on a connection that had answered before: what came may be the rest of that answer
	heard bool          // the host is of use, whatever it said
	took  time.Duration
}

// run makes attempts: at first j, and then, to keep a goroutine that has grown its stack, what can start at its end.
func (s *scheduler) run(j *job) {
	for j != nil {
		a := s.attempt(j)
		s.mu.Lock()
		s.settle(j, a)
		s.ended.Done()
		j = nil
		for _, next := range s.startable() {
			if j == nil {
				j = next
			} else {
				go s.run(next)
			}
		}
		s.mu.Unlock()
	}
}

// attempt asks for an image once. It counts the time that the image had, without what it waited for memory.
func (s *scheduler) attempt(j *job) (a answer) {
	t, e := s.target(j)
	if e != nil {
		return answer{err: e}
	}
	w := newWatch(j.call.ctx, s.cfg.Timeout-j.spent)
	defer func() { a.took = w.stop() }()
	switch t.kind {
	case onDisk:
		a.data, a.err = s.local(w, j.hold, t.path)
	case inBucket:
		a.data, a.err = s.object(w, j.hold, t)
		a.heard = !errors.As(a.err, &e) || !e.ofHost
	case elsewhere:
		a.data, a.err = s.elsewhere(w, j.hold, t)
		a.heard = !errors.As(a.err, &e) || !e.ofHost
	case onWeb:
		a = s.web.get(w, j, t.url)
	}
	if a.err != nil && !errors.As(a.err, &e) {
		a.err = s.explain(w.ctx, j.host, a.err, a.begun)
	}
	return a
}

// settle decides what comes after an attempt.
func (s *scheduler) settle(j *job, a answer) {
	h, c := j.host, j.call
	h.active--
	j.lane.active--
	defer func() {
		s.list(h)
		c.running--
		c.poke()
	}()
	if c.ctx.Err() != nil {
		s.abandon(j)
		return
	}
	e, _ := a.err.(*Error)
	j.spent += a.took
	if h.kind != onDisk {
		s.stats.Requests++
		h.note(a.took, e)
	}
	if a.heard && j.robotsOf == nil {
		h.answered(s.cfg.HostConnections)
	}
	if a.pause > 0 {
		h.throttle()
		s.pause(h, min(a.pause, s.cfg.Patience))
	}
	if a.pause > s.cfg.Patience {
		e = tooLong(h)
		s.giveUp(h, e, min(a.pause, restLast))
		j.tries = s.cfg.Retries
	}
	switch {
	case a.next != nil:
		s.redirect(j, a.next)
	case e != nil && (e.Temporary() || a.used && e.Reason == BadAnswer) && h.kind == onWeb && j.tries < s.cfg.Retries && j.spent < s.cfg.Timeout:
		s.retry(j, e)
	case e != nil:
		if e.Reason == Timeout && j.failed != nil {
			e = j.failed // which an attempt had all of its time to find out, as this one may not have had
		}
		if e.ofHost && j.robotsOf == nil {
			s.failure(h, e)
		}
		s.fail(j, e)
	default:
		s.finish(j, a.data, nil)
	}
}

// redirect goes on with a job where a redirect leads: there it waits for its turn as others do.
func (s *scheduler) redirect(j *job, next *url.URL) {
	s.drop(j)
	limit := max(s.cfg.MaxRedirects, 0)
	if j.robotsOf != nil {
		limit = max(limit, 5) // RFC 9309, 2.3.1.2
	}
	if j.hops++; j.hops > limit {
		s.fail(j, reject(TooManyRedirects, "more than %d redirects", limit))
		return
	}
	j.url = next
	s.place(j, time.Now())
}

// retry begins a job again after a while. That is the one place where attempts are repeated.
func (s *scheduler) retry(j *job, e *Error) {
	h := j.host
	s.drop(j)
	if j.backoff == nil {
		first := min(500*time.Millisecond, s.cfg.Timeout/10)
		j.backoff = &backoff.ExponentialBackOff{InitialInterval: first, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: s.cfg.Timeout}
	}
	after := j.backoff.NextBackOff()
	if e.Reason == RateLimited {
		h.throttle()
		s.pause(h, after)
	}
	j.tries++
	j.failed = e
	s.stats.Retries++
	j.url, j.hops = nil, 0
	s.place(j, time.Now().Add(after))
}

// drop gives back what a job holds while it runs.
func (s *scheduler) drop(j *job) {
	if j.hold != nil {
		s.memory.resize(j.hold, 0)
		j.hold = nil
	}
}

// abandon drops a job whose call has ended.
func (s *scheduler) abandon(j *job) {
	s.drop(j)
	delete(s.begun, j)
	if j.robotsOf != nil { // another call may wait for it
		j.robotsOf.robots.asked = false
		s.list(j.robotsOf)
	}
}

func (s *scheduler) fail(j *job, e *Error) {
	s.finish(j, nil, e)
}

// finish ends a job.
func (s *scheduler) finish(j *job, data []byte, e *Error) {
	delete(s.begun, j)
	if j.robotsOf != nil {
		s.drop(j)
		s.settleRobots(j, data, e)
		return
	}
	c := j.call
	i := Image{Index: j.index}
	if e != nil {
		s.drop(j)
		i.Err = &Error{Image: Redact(j.image()), Reason: e.Reason, Detail: scrub(e.Detail)}
	} else {
		s.stats.Bytes += int64(len(data))
		s.memory.resize(j.hold, max(int64(cap(data)), 1))
		i.Data, i.hold = data, j.hold
	}
	c.left--
	c.done = append(c.done, i)
	s.ahead++
	c.poke()
}

// poke wakes whoever waits for the call.
func (c *call) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
