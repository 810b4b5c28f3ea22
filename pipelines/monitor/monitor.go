// Package monitor knows what a run is doing at this moment, and shows it: to the progress line, in a log, on a status
// page and to Prometheus. Whoever does the work tells it what begins and ends:
//
//	m := monitor.New(10_000_000, true, 2441) // rows, counted exactly, in chunks
//	go m.Watch(ctx, log, 10*time.Second, 2*time.Minute)
//	_, wait, err := monitor.Serve(ctx, ":8080", m, log)
//
//	task := m.Begin(monitor.Fetch, "17", "https://example.org/17.jpg")
//	task.Enter(monitor.Decode)
//	task.End()
//	m.Spent(monitor.Decode, 3*time.Millisecond, 1, 180_000)
//	m.Count(1, 0, 0, 0)
//
//	s := m.Snapshot() // s.Done, s.Rate, s.Remaining, s.Binds, s.Oldest, ...
//
// All methods may be called from many goroutines, and on a nil *Monitor, where they do nothing. Those that are called for
// each photograph allocate nothing and have no lock in common; what they cost is reading the clock.
package monitor

import (
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Stage is a part of a photograph's way, as the rejects name it.
type Stage int

// The stages, in the order in which a row meets them.
const (
	Listing Stage = iota // rows are read
	Fetch                // bytes of an image are got
	Decode               // they become pixels
	Infer                // pixels become an answer
	Write                // answers become files
	stages
)

var stageNames = [stages]string{"listing", "fetch", "decode", "infer", "write"}

// Stages returns all stages in order.
func Stages() []Stage { return []Stage{Listing, Fetch, Decode, Infer, Write} }

// String is the stage's name in the rejects: listing, fetch, decode, infer or write.
func (s Stage) String() string {
	if !s.known() {
		return fmt.Sprintf("stage %d", int(s))
	}
	return stageNames[s]
}

// MarshalText is String, for JSON.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Stage) known() bool { return s >= 0 && s < stages }

// Monitor gathers what is known of a run. New makes one.
type Monitor struct {
	began  time.Time
	rows   int64
	exact  bool
	chunks int

	workers  atomic.Int64
	own      outcomes     // of this process's work
	found    outcomes     // of chunks that an earlier run has done
	finished atomic.Int64 // when rows were finished last, as elapsed has it
	limit    atomic.Int64 // the watchdog's, 0 without one; nanoseconds
	spent    [stages]spent
	tickets  atomic.Uint64
	slots    [slots]slot
	rejects  rejects
	fetching atomic.Pointer[func() Fetching]

	next    atomic.Int64 // when the history wants its next sample, as elapsed has it
	history history

	chunk struct {
		sync.Mutex
		underWay map[string]Chunk
		done     int
	}
}

// outcomes count rows by what became of them.
type outcomes struct{ scored, rejected, skipped, repeated atomic.Int64 }

func (o *outcomes) add(scored, rejected, skipped, repeated int64) {
	o.scored.Add(scored)
	o.rejected.Add(rejected)
	o.skipped.Add(skipped)
	o.repeated.Add(repeated)
}

func (o *outcomes) done() int64 { return o.scored.Load() + o.rejected.Load() + o.skipped.Load() }

// spent is what a stage has taken. It fills a cache line, so that stages do not slow each other down.
type spent struct {
	busy, photographs, bytes atomic.Int64
	_                        [40]byte
}

// New is a Monitor of a run that begins now. rows is the number of the listing's rows, an estimate unless exact; chunks
// the number of its chunks. Either is 0 while it is not known.
func New(rows int64, exact bool, chunks int) *Monitor {
	m := &Monitor{began: time.Now(), rows: rows, exact: exact, chunks: chunks}
	m.workers.Store(int64(runtime.GOMAXPROCS(0)))
	m.next.Store(int64(sampleEvery))
	m.history.init()
	m.chunk.underWay = map[string]Chunk{}
	return m
}

// elapsed is the time since the run began, by the monotonic clock.
func (m *Monitor) elapsed() time.Duration { return time.Since(m.began) }

// Workers says how many goroutines decode and infer, all chunks together. Without it, it is as many as there are processors.
func (m *Monitor) Workers(n int) {
	if m != nil {
		m.workers.Store(int64(max(n, 1)))
	}
}

// Count adds rows that are finished: scored, rejected, or skipped since an earlier output has them. repeated tells how many
// of the scored and rejected ones were answered from the cache.
func (m *Monitor) Count(scored, rejected, skipped, repeated int64) {
	if m == nil {
		return
	}
	m.own.add(scored, rejected, skipped, repeated)
	now := m.elapsed()
	m.finished.Store(int64(now))
	m.sample(now)
}

// Spent adds the time d that n photographs of so many bytes have spent in a stage. Times of photographs that were there
// together add up: ten that wait a second spend ten seconds.
func (m *Monitor) Spent(stage Stage, d time.Duration, n, bytes int64) {
	if m == nil || !stage.known() {
		return
	}
	s := &m.spent[stage]
	s.busy.Add(int64(d))
	s.photographs.Add(n)
	s.bytes.Add(bytes)
}

// Chunk is a chunk under way.
type Chunk struct {
	Name  string    `json:"name"`
	Index int       `json:"index"` // in the listing, from 0
	Since time.Time `json:"since"`
}

// ChunkBegan says that work on a chunk has begun.
func (m *Monitor) ChunkBegan(name string, index int) {
	if m == nil {
		return
	}
	m.chunk.Lock()
	defer m.chunk.Unlock()
	m.chunk.underWay[name] = Chunk{name, index, time.Now()}
}

// ChunkDone says that a chunk's part is committed. Of two attempts at one chunk the first to be done counts.
func (m *Monitor) ChunkDone(name string) {
	if m.chunkEnded(name) {
		m.chunkFinished()
	}
}

// ChunkFailed says that an attempt at a chunk has ended without a part.
func (m *Monitor) ChunkFailed(name string) { m.chunkEnded(name) }

// ChunkFound says that a chunk's part was there already, with so many rows. They are done, but say nothing about the rate.
func (m *Monitor) ChunkFound(scored, rejected, skipped int64) {
	if m == nil {
		return
	}
	m.found.add(scored, rejected, skipped, 0)
	m.chunkFinished()
}

func (m *Monitor) chunkEnded(name string) (wasUnderWay bool) {
	if m == nil {
		return false
	}
	m.chunk.Lock()
	defer m.chunk.Unlock()
	_, wasUnderWay = m.chunk.underWay[name]
	delete(m.chunk.underWay, name)
	return wasUnderWay
}

func (m *Monitor) chunkFinished() {
	m.chunk.Lock()
	m.chunk.done++
	m.chunk.Unlock()
	m.finished.Store(int64(m.elapsed()))
}

func (m *Monitor) chunksNow() (underWay []Chunk, done int) {
	m.chunk.Lock()
	defer m.chunk.Unlock()
	for c := range maps.Values(m.chunk.underWay) {
		underWay = append(underWay, c)
	}
	return underWay, m.chunk.done
}

// Fetching is what the fetcher knows of its work. Images and hosts must be redacted.
type Fetching struct {
	Requests int64  `json:"requests"`
	Retries  int64  `json:"retries"` // among the requests
	Bytes    int64  `json:"bytes"`
	Open     int64  `json:"open"`    // connections
	Waiting  int64  `json:"waiting"` // images, for a connection or for their turn at a host
	Hosts    []Host `json:"hosts"`   // the slowest first

	// The image that is being fetched for longest. Host is the one that is being asked, which a redirect may have named.
	OldestImage string    `json:"oldest_image,omitempty"`
	OldestHost  string    `json:"oldest_host,omitempty"`
	OldestSince time.Time `json:"oldest_since,omitzero"`
}

// Host is what the fetcher knows of one host.
type Host struct {
	Name     string  `json:"name"`
	Requests int64   `json:"requests"`
	Failures int64   `json:"failures"`
	Parked   bool    `json:"parked"`       // it is left alone for a while
	Mean     Seconds `json:"mean_seconds"` // until it answers
}

// Fetching says where to ask for the fetcher's figures. ask is called by Snapshot, perhaps from several goroutines.
func (m *Monitor) Fetching(ask func() Fetching) {
	if m != nil {
		m.fetching.Store(&ask)
	}
}

func (m *Monitor) fetchingNow() *Fetching {
	ask := m.fetching.Load()
	if ask == nil || *ask == nil {
		return nil
	}
	f := (*ask)()
	return &f
}
