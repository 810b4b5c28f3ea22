package monitor

import (
	"sync"
	"time"
)

const (
	sampleEvery = time.Second
	recent      = 30 * time.Second // for which stages' rates, and what binds, are worked out
	minutes     = 5 * time.Minute  // for which the rate of the remaining time is
	sparkEvery  = 5 * time.Second
	samples     = int(minutes/sampleEvery) + 2
)

// sample is what had been done at a moment since the run began.
type sample struct {
	at     time.Duration
	rows   int64 // finished by this run
	stages [stages]struct {
		busy               time.Duration
		photographs, bytes int64
	}
}

// history keeps samples of the last minutes, the last n of which are there; a new one takes the oldest one's place.
type history struct {
	sync.Mutex
	ring   [samples]sample
	n      int // taken since the run began
	course course
}

func (h *history) init() { h.n = 1 } // nothing was done at 0

// sample takes a sample if a second has passed. It is called by whoever happens to come by, so that no goroutine is needed.
func (m *Monitor) sample(now time.Duration) {
	next := m.next.Load()
	if int64(now) < next || !m.next.CompareAndSwap(next, int64(now+sampleEvery)) {
		return
	}
	m.history.Lock()
	defer m.history.Unlock()
	if s := m.read(); s.at-m.history.back(0).at >= sampleEvery/2 { // another may have been waiting for the lock
		m.history.ring[m.history.n%samples] = s
		m.history.n++
		m.history.course.keep(s)
	}
}

// read is what has been done until now.
func (m *Monitor) read() sample {
	s := sample{at: m.elapsed(), rows: m.own.done()}
	for i := range m.spent {
		from, to := &m.spent[i], &s.stages[i]
		to.busy, to.photographs, to.bytes = time.Duration(from.busy.Load()), from.photographs.Load(), from.bytes.Load()
	}
	return s
}

// back is the i-th last sample, the oldest if there are not so many.
func (h *history) back(i int) *sample {
	return &h.ring[(h.n-1-min(i, h.n-1, samples-1))%samples]
}

// since is the last sample that is not newer than at, or the oldest one.
func (h *history) since(at time.Duration) sample {
	h.Lock()
	defer h.Unlock()
	for i := range samples {
		if s := h.back(i); s.at <= at {
			return *s
		}
	}
	return *h.back(samples)
}

// spark gives the rows a second in each five seconds of the last minutes, the oldest first. Between samples rows are taken
// to have come evenly.
func (h *history) spark(now sample) []float64 {
	h.Lock()
	defer h.Unlock()
	oldest := h.back(samples).at
	rates := make([]float64, min((now.at-oldest)/sparkEvery, minutes/sparkEvery))
	later, i := now, -1 // the samples around a moment are the i-th last and the one after it
	until := float64(now.rows)
	for k := len(rates) - 1; k >= 0; k-- {
		at := now.at - time.Duration(len(rates)-k)*sparkEvery
		for h.back(i+1).at > at {
			i++
			later = *h.back(i)
		}
		earlier := *h.back(i + 1)
		rows := float64(earlier.rows)
		if later.at > earlier.at {
			rows += float64(later.rows-earlier.rows) * float64(at-earlier.at) / float64(later.at-earlier.at)
		}
		rates[k] = max(until-rows, 0) / sparkEvery.Seconds()
		until = rows
	}
	return rates
}

// remaining is the time that the rest of the rows will take at the rate of the last minutes, in which this run has finished
// rows in a while. What an earlier run has done is in done, and not in finished. It is 0 while it cannot be told: before 10
// seconds and 10 rows, and when more rows are done than were estimated.
func remaining(rows, done, finished int64, while time.Duration) time.Duration {
	if finished < 10 || while < 10*time.Second || done >= rows {
		return 0
	}
	const most = 10_000 * time.Hour // no more than a Duration holds
	return time.Duration(min(float64(rows-done)/float64(finished)*float64(while), float64(most)))
}

// binds tells which of fetch, decode, infer and write the run would have to do faster to be faster, and which share of the
// workers' time goes there. The rule: of the time that the workers had in the last half minute, decode, infer and write took
// what was spent in them; in the rest the workers had no photograph to work on, so the rest is fetch's. The largest of the
// four binds. How long photographs were fetched for has no say: hundreds of them wait at one time, which costs nothing as
// long as workers have others. It is "" in the first 5 seconds and when nothing is under way.
func binds(workers int64, while time.Duration, busy [stages]time.Duration, underWay int) (stage string, share float64) {
	if while < 5*time.Second || underWay == 0 {
		return "", 0
	}
	had := max(time.Duration(workers)*while, busy[Decode]+busy[Infer]+busy[Write]) // chunks are written beside the workers
	best, most := Fetch, had-busy[Decode]-busy[Infer]-busy[Write]
	for _, s := range []Stage{Decode, Infer, Write} {
		if busy[s] > most {
			best, most = s, busy[s]
		}
	}
	return best.String(), float64(most) / float64(had)
}
