package monitor

import (
	"context"
	"log/slog"
	"time"
)

// Watch is the watchdog: until ctx ends, it looks every so often whether the run is stuck, and logs a warning that names
//
//   - the oldest photograph under way, if it is so for longer than limit, its stage and its host; of the same photograph not
//     again until its age has doubled;
//   - how long nothing at all was finished, if longer than limit; not again until that has doubled.
//
// every and limit are above 0.
func (m *Monitor) Watch(ctx context.Context, log *slog.Logger, every, limit time.Duration) {
	if m == nil {
		return
	}
	m.limit.Store(int64(limit))
	w := watchdog{monitor: m, log: log, limit: limit}
	for tick := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			w.look(ctx)
		}
	}
}

// watchdog remembers what it has warned of.
type watchdog struct {
	monitor *Monitor
	log     *slog.Logger
	limit   time.Duration

	ticket uint64        // of the photograph
	age    time.Duration // that it had
	idle   time.Duration // for which nothing had been finished
}

func (w *watchdog) look(ctx context.Context) {
	m := w.monitor
	now := m.elapsed()
	m.sample(now)
	if o, _ := m.oldest(now, m.fetchingNow()); o != nil && o.Age.Duration() > w.limit {
		if age := o.Age.Duration(); o.ticket != w.ticket || age >= 2*w.age {
			w.ticket, w.age = o.ticket, age
			w.log.WarnContext(ctx, "a photograph is under way for long", "post", o.Post, "image", o.Image, "stage", o.Stage.String(), "host", o.Host,
				"age", age.Round(time.Second), "in_stage", o.Stays.Duration().Round(time.Second))
		}
	}
	switch idle := m.idle(now); {
	case idle <= w.limit:
		w.idle = 0
	case idle >= 2*w.idle:
		w.idle = idle
		underWay, done := m.chunksNow()
		w.log.WarnContext(ctx, "nothing was finished for long", "for", idle.Round(time.Second), "rows_done", m.own.done()+m.found.done(),
			"chunks_done", done, "chunks_under_way", len(underWay))
	}
}

// idle is the time since anything was finished.
func (m *Monitor) idle(now time.Duration) time.Duration {
	return max(now-time.Duration(m.finished.Load()), 0)
}

// stuck tells whether nothing was finished for longer than the watchdog's limit. Without a watchdog nothing is ever stuck.
func (m *Monitor) stuck() (idle time.Duration, yes bool) {
	idle = m.idle(m.elapsed())
	limit := time.Duration(m.limit.Load())
	return idle, limit > 0 && idle > limit
}
