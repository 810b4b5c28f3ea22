package fetch

import (
	"container/heap"
	"net/url"
	"time"

	"golang.org/x/time/rate"
)

// How a host's failures are taken. Failures here are those that speak of the host and not of one image (Error.ofHost).
const (
	// A host is given up after so many images in a row that failed. If it has answered before, chance can bring more of
	// them together, such as the images of a chunk that hang, which stay to the end while the others go by.
	failuresOfNew, failuresOfKnown = 8, 32
	// The first time it is given up for restFirst, then each time for twice as long, up to restLast. After that one image is
	// tried at a time, until one does not fail.
	restFirst, restLast = 30 * time.Second, 5 * time.Minute
	// A host is slow if its requests take longer, or end by a time limit. Slow hosts together get half of the connections.
	slowAfter = 2 * time.Second
)

// host is what requests are counted by: a scheme, a name and a port on the web, a bucket, the disk. The scheduler's lock
// guards it.
type host struct {
	name string
	kind kind
	url  *url.URL // of its root, on the web

	first dueJobs  // robots.txt to go on with; unlike images, it does not wait for robots.txt
	later dueJobs  // images to go on with: other attempts, redirects to here
	queue jobQueue // images in the order of the listing

	listed  bool        // in a lane's list of those that may have something to start
	timer   *time.Timer // wakes it
	active  int         // under way
	width   int         // how many may be under way
	streak  int         // answers since width was changed
	limiter *rate.Limiter

	pausedUntil time.Time
	pausedFor   time.Duration // in all

	known    bool // it has answered
	failures int  // in a row
	verdict  *Error
	until    time.Time // of the verdict
	rests    int       // how often it was given up in a row

	robots robots

	// For Stats.
	requests, failed int64
	took             time.Duration // in all
	late             time.Duration // a request's, of late
}

func (s *scheduler) newHost(name string, t target) *host {
	h := &host{name: name, kind: t.kind, width: s.cfg.HostConnections}
	switch t.kind {
	case onDisk:
		h.width = diskReads
	case inBucket, elsewhere:
		h.width = bucketReads
	case onWeb:
		h.url = &url.URL{Scheme: t.url.Scheme, Host: t.url.Host, Path: "/"}
		if s.cfg.HostRate > 0 {
			h.limiter = rate.NewLimiter(rate.Limit(s.cfg.HostRate), 1)
		}
		if s.cfg.IgnoreRobots {
			h.robots.expires = time.Now().Add(100 * 365 * 24 * time.Hour)
		}
	}
	return h
}

func (h *host) waiting() int { return len(h.first) + len(h.later) + h.queue.len }

// pick takes the next job that may start now. Without one it says when to ask again; never, if that depends on a job's end.
func (h *host) pick(now time.Time) (j *job, again time.Time) {
	width := h.width
	if h.verdict != nil {
		width = 1 // one image finds out whether the host is back
	}
	if h.active >= width || h.waiting() == 0 {
		return nil, time.Time{}
	}
	if now.Before(h.pausedUntil) {
		return nil, h.pausedUntil
	}
	due := h.first.due(now) || h.later.due(now)
	asks := !h.first.due(now) && h.kind == onWeb && now.After(h.robots.expires) // for robots.txt before all else
	switch {
	case asks && h.robots.asked:
		return nil, h.first.next(time.Time{})
	case !due && (h.queue.len == 0 || h.verdict != nil && len(h.later) > 0): // in the latter case, the one image is to be tried again
		return nil, h.first.next(h.later.next(time.Time{}))
	}
	if h.limiter != nil {
		r := h.limiter.ReserveN(now, 1)
		if wait := r.DelayFrom(now); wait > 0 {
			r.CancelAt(now)
			return nil, now.Add(wait)
		}
	}
	switch {
	case h.first.due(now):
		return heap.Pop(&h.first).(*job), time.Time{}
	case asks:
		h.robots.asked = true
		cause := h.queue.head
		if due {
			cause = h.later[0]
		}
		return &job{call: cause.call, robotsOf: h}, time.Time{}
	case due:
		return heap.Pop(&h.later).(*job), time.Time{}
	}
	return h.queue.pop(), time.Time{}
}

// pause keeps the host quiet for a while. Images that have waited long enough for its pauses end.
func (s *scheduler) pause(h *host, d time.Duration) {
	now := time.Now()
	until := now.Add(d)
	if !until.After(h.pausedUntil) {
		return
	}
	if h.pausedUntil.After(now) {
		now = h.pausedUntil
	}
	h.pausedFor += until.Sub(now)
	h.pausedUntil = until
	for h.queue.len > 0 && h.pausedFor-h.queue.head.pausedBefore > s.cfg.Patience {
		s.fail(h.queue.pop(), tooLong(h))
	}
}

func tooLong(h *host) *Error {
	return ofHost(RateLimited, "%s asks for longer pauses than there is time for", h.name)
}

// giveUp ends all that waits for a host, as it will end what comes, for a while.
func (s *scheduler) giveUp(h *host, why *Error, rest time.Duration) {
	now := time.Now()
	if h.givenUp(now) { // what was still under way says so too
		return
	}
	h.verdict, h.until = why, now.Add(rest)
	h.rests++
	for h.queue.len > 0 {
		s.fail(h.queue.pop(), why)
	}
	for _, j := range h.later {
		s.fail(j, why)
	}
	h.later = nil
}

func (h *host) givenUp(now time.Time) bool { return h.verdict != nil && now.Before(h.until) }

func (h *host) rest() time.Duration { return min(restFirst<<min(h.rests, 10), restLast) }

// failure counts an image that ended without the host's having been of use.
func (s *scheduler) failure(h *host, why *Error) {
	h.failures++
	enough := failuresOfNew
	if h.known {
		enough = failuresOfKnown
	}
	if h.failures >= enough || h.verdict != nil {
		s.giveUp(h, why, h.rest())
	}
}

// answered notes that the host is there.
func (h *host) answered(widest int) {
	if h.verdict != nil && h.verdict.Reason == RateLimited && h.givenUp(time.Now()) { // it is there, and wants to be left alone
		return
	}
	h.known, h.failures, h.rests, h.verdict = true, 0, 0, nil
	if h.streak++; h.streak >= h.width && h.width < widest {
		h.width, h.streak = h.width+1, 0
	}
}

// throttle is the answer to 429: half as many requests at a time, and slowly more again.
func (h *host) throttle() { h.width, h.streak = max(h.width/2, 1), 0 }

// note counts a request.
func (h *host) note(took time.Duration, e *Error) {
	h.requests++
	h.took += took
	h.late += (took - h.late) / 4
	if e != nil {
		h.failed++
	}
	if h.requests == 1 || e != nil && e.Reason == Timeout {
		h.late = max(h.late, took)
	}
}

func (h *host) slow() bool { return h.late > slowAfter }

// jobQueue is a list of jobs, first in, first out.
type jobQueue struct {
	head, tail *job
	len        int
}

func (q *jobQueue) push(j *job) {
	j.next = nil
	if q.tail == nil {
		q.head = j
	} else {
		q.tail.next = j
	}
	q.tail = j
	q.len++
}

func (q *jobQueue) pop() *job {
	j := q.head
	if q.head = j.next; q.head == nil {
		q.tail = nil
	}
	j.next = nil
	q.len--
	return j
}

// keep leaves those in the queue for which ok, which is asked in order, says so.
func (q *jobQueue) keep(ok func(*job) bool) {
	old := *q
	*q = jobQueue{}
	for j := old.head; j != nil; {
		next := j.next
		if ok(j) {
			q.push(j)
		}
		j = next
	}
}

// dueJobs is a heap by the time when a job may go on; what is due at the same time goes in the order of the listing.
type dueJobs []*job

func (d dueJobs) Len() int { return len(d) }
func (d dueJobs) Less(a, b int) bool {
	if d[a].due.Equal(d[b].due) {
		return d[a].index < d[b].index
	}
	return d[a].due.Before(d[b].due)
}
func (d dueJobs) Swap(a, b int) { d[a], d[b] = d[b], d[a] }

func (d dueJobs) due(now time.Time) bool { return len(d) > 0 && !now.Before(d[0].due) }

// next is the earlier of when a job is due and another time, where zero is never.
func (d dueJobs) next(other time.Time) time.Time {
	if len(d) > 0 && (other.IsZero() || d[0].due.Before(other)) {
		return d[0].due
	}
	return other
}

func (d *dueJobs) Push(x any) { *d = append(*d, x.(*job)) }
func (d *dueJobs) Pop() any {
	old := *d
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	return j
}
