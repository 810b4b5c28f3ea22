package monitor

import (
	"cmp"
	"os"
	"runtime/metrics"
	"slices"
	"time"
)

// Seconds is a length of time as JSON and Prometheus have it.
type Seconds float64

// Duration is the same as Go has it.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

func seconds(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Snapshot is all that is known of a run at a moment. Rates without a name of their own are those of the last 30 seconds.
type Snapshot struct {
	Began   time.Time `json:"began"`
	At      time.Time `json:"at"`
	Elapsed Seconds   `json:"elapsed_seconds"`

	Rows     int64 `json:"rows"`       // of the listing, 0 if not known
	Exact    bool  `json:"rows_exact"` // not an estimate
	Done     int64 `json:"done"`       // Scored + Rejected + Skipped
	Scored   int64 `json:"scored"`
	Rejected int64 `json:"rejected"`
	Skipped  int64 `json:"skipped"`  // an earlier output has them
	Found    int64 `json:"found"`    // among those done: an earlier run of the same output has done them
	Repeated int64 `json:"repeated"` // among those scored or rejected: answered from the cache

	Rate        float64   `json:"rows_per_second"`
	OverallRate float64   `json:"rows_per_second_overall"` // since the run began
	History     []float64 `json:"rows_per_second_history"` // in each 5 seconds of the last 5 minutes, the oldest first

	// Remaining is the time that is left, at the rate of the last 5 minutes; 0 while there is too little to go by: before
	// this run has worked for 10 seconds and on 10 rows.
	Remaining Seconds `json:"remaining_seconds,omitempty"`
	// Idle is the time since anything was finished.
	Idle Seconds `json:"idle_seconds"`

	Workers int64         `json:"workers"`
	Stages  []StageStatus `json:"stages"`
	// Binds is what the run would have to do faster to be faster, fetch, decode, infer or write, and BindsShare the share of
	// the workers' time that goes there: they decode, infer, wait for what is written, or wait for photographs, which is
	// fetch. It is empty in the first seconds and when nothing is under way.
	Binds      string  `json:"binds,omitempty"`
	BindsShare float64 `json:"binds_share,omitempty"`

	Chunks   Chunks    `json:"chunks"`
	UnderWay int       `json:"under_way"` // photographs
	Oldest   *UnderWay `json:"oldest,omitempty"`
	Reasons  []Reason  `json:"reasons"` // why rows of this run were rejected, the commonest first
	Fetching *Fetching `json:"fetching,omitempty"`
	Memory   Memory    `json:"memory"`
}

// StageStatus is what a stage has done and does.
type StageStatus struct {
	Stage       Stage   `json:"stage"`
	Photographs int64   `json:"photographs"`
	Bytes       int64   `json:"bytes"`
	Busy        Seconds `json:"busy_seconds"` // of all photographs together
	Rate        float64 `json:"photographs_per_second"`
	OverallRate float64 `json:"photographs_per_second_overall"`
	BytesRate   float64 `json:"bytes_per_second"`
	AtOnce      float64 `json:"at_once"`      // photographs in the stage at one time, in the mean: busy seconds a second
	Mean        Seconds `json:"mean_seconds"` // a photograph's
}

// Chunks says how far the chunks are.
type Chunks struct {
	Total    int     `json:"total"`
	Done     int     `json:"done"`
	UnderWay []Chunk `json:"under_way"` // the oldest first
}

// Memory is what the process takes of the machine.
type Memory struct {
	Heap        uint64 `json:"heap_bytes"`  // of living and not yet collected objects
	Total       uint64 `json:"total_bytes"` // that Go has from the system
	Goroutines  uint64 `json:"goroutines"`
	Descriptors int    `json:"open_descriptors,omitempty"` // files and connections; 0 where the system does not tell
}

// Snapshot tells all that is known. It takes some tens of microseconds. Of a nil *Monitor it is empty.
func (m *Monitor) Snapshot() Snapshot {
	if m == nil {
		return Snapshot{}
	}
	m.sample(m.elapsed())
	now := m.read()
	s := Snapshot{
		Began: m.began, At: m.began.Add(now.at), Elapsed: seconds(now.at),
		Rows: m.rows, Exact: m.exact,
		Scored:   m.own.scored.Load() + m.found.scored.Load(),
		Rejected: m.own.rejected.Load() + m.found.rejected.Load(),
		Skipped:  m.own.skipped.Load() + m.found.skipped.Load(),
		Found:    m.found.done(), Repeated: m.own.repeated.Load(),
		OverallRate: rate(float64(now.rows), now.at),
		History:     m.history.spark(now),
		Idle:        seconds(m.idle(now.at)),
		Workers:     m.workers.Load(),
		Reasons:     m.rejects.reasons(m.own.scored.Load() + m.own.rejected.Load()),
		Fetching:    m.fetchingNow(),
		Memory:      memoryNow(),
	}
	s.Done = s.Scored + s.Rejected + s.Skipped
	before := m.history.since(now.at - minutes)
	s.Remaining = seconds(remaining(s.Rows, s.Done, now.rows-before.rows, now.at-before.at))
	s.Oldest, s.UnderWay = m.oldest(now.at, s.Fetching)
	m.recently(&s, now)
	s.Chunks.Total = m.chunks
	s.Chunks.UnderWay, s.Chunks.Done = m.chunksNow()
	slices.SortFunc(s.Chunks.UnderWay, func(a, b Chunk) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Index, b.Index)) })
	return s
}

// recently fills in what the last half minute tells.
func (m *Monitor) recently(s *Snapshot, now sample) {
	before := m.history.since(now.at - recent)
	while := now.at - before.at
	s.Rate = rate(float64(now.rows-before.rows), while)
	var busy [stages]time.Duration
	for _, stage := range Stages() {
		all, then := now.stages[stage], before.stages[stage]
		busy[stage] = all.busy - then.busy
		s.Stages = append(s.Stages, StageStatus{
			Stage: stage, Photographs: all.photographs, Bytes: all.bytes, Busy: seconds(all.busy),
			Rate:        rate(float64(all.photographs-then.photographs), while),
			OverallRate: rate(float64(all.photographs), now.at),
			BytesRate:   rate(float64(all.bytes-then.bytes), while),
			AtOnce:      rate(busy[stage].Seconds(), while),
			Mean:        seconds(all.busy / time.Duration(max(all.photographs, 1))),
		})
	}
	s.Binds, s.BindsShare = binds(s.Workers, while, busy, s.UnderWay)
}

// rate is n a second.
func rate(n float64, while time.Duration) float64 {
	if while <= 0 {
		return 0
	}
	return n / while.Seconds()
}

// memoryNow asks the runtime, which does not stop for it as it would for runtime.ReadMemStats.
func memoryNow() Memory {
	asked := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(asked)
	return Memory{
		Heap: asked[0].Value.Uint64(), Total: asked[1].Value.Uint64() - asked[2].Value.Uint64(),
		Goroutines: asked[3].Value.Uint64(), Descriptors: descriptors(),
	}
}

// descriptors counts the process's open files where Linux tells, and is 0 elsewhere.
func descriptors() int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return len(names) - 1 // without the folder's own
}
