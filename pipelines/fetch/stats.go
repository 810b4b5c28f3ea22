package fetch

import (
	"cmp"
	"slices"
	"time"
)

// Stats is what a Fetcher has done and does.
type Stats struct {
	Requests int64 // to servers, robots.txt and redirects too
	Retries  int64
	Bytes    int64 // of images that were got

	Connections     int64 // open now
	PeakConnections int64
	Waiting         int64 // images and robots.txt that wait for their turn
	InFlight        int64 // under way
	Memory          int64 // bytes of images under way or not released

	Hosts []HostStats // the slowest first, at most 20
}

// HostStats is how a host does.
type HostStats struct {
	Host     string // "https://example.org", "gs://bucket"
	Requests int64
	Failures int64         // of requests
	Parked   bool          // its images wait for the end of a pause, or it was given up
	Mean     time.Duration // of a request
}

const slowestHosts = 20

// Stats tells what f has done since it was made.
func (f *Fetcher) Stats() Stats {
	s := f.scheduler
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.stats
	t.Connections, t.PeakConnections = s.web.dialer.open.Load(), s.web.dialer.peak.Load()
	t.InFlight, t.Memory = int64(s.flying()), s.memory.used
	now := time.Now()
	for _, h := range s.hosts.Values() {
		t.Waiting += int64(h.waiting())
		if h.requests == 0 {
			continue
		}
		t.Hosts = append(t.Hosts, HostStats{h.name, h.requests, h.failed, now.Before(h.pausedUntil) || h.verdict != nil, h.took / time.Duration(h.requests)})
	}
	slices.SortFunc(t.Hosts, func(a, b HostStats) int { return cmp.Or(cmp.Compare(b.Mean, a.Mean), cmp.Compare(a.Host, b.Host)) })
	t.Hosts = slices.Clone(t.Hosts[:min(len(t.Hosts), slowestHosts)])
	return t
}

// Oldest tells which image has been under way longest, and since when: redacted, with what is asked for it (as in
// HostStats, or "disk"). Where images of a host wait for its robots.txt, that counts as one. It is not ok if none is under way.
func (f *Fetcher) Oldest() (image, host string, since time.Time, ok bool) {
	s := f.scheduler
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *job
	for j := range s.begun {
		if oldest == nil || j.began.Before(oldest.began) {
			oldest = j
		}
	}
	if oldest == nil {
		return "", "", time.Time{}, false
	}
	return Redact(oldest.image()), oldest.host.name, oldest.began, true
}
