package monitor

import "time"

// Record is what is worth keeping of a run when it has ended: how fast it was, and what its hosts were like.
type Record struct {
	Snapshot Snapshot `json:"snapshot"` // of the end
	Course   []Moment `json:"course"`   // the first one at the beginning
}

// Moment is what a run had done at a time since it began.
type Moment struct {
	At     Seconds       `json:"at_seconds"`
	Rows   int64         `json:"rows"`
	Stages []StageMoment `json:"stages"` // those that anything was in
}

// StageMoment is what was through a stage by then, and the time of all photographs together.
type StageMoment struct {
	Stage       string  `json:"stage"`
	Photographs int64   `json:"photographs"`
	Busy        Seconds `json:"busy_seconds"`
}

// Record tells all that is known, and how it came to be. Of a nil *Monitor it is empty.
func (m *Monitor) Record() Record {
	if m == nil {
		return Record{}
	}
	r := Record{Snapshot: m.Snapshot()}
	for _, s := range append(m.history.courseNow(), m.read()) {
		now := Moment{At: seconds(s.at), Rows: s.rows}
		for _, stage := range Stages() {
			if of := s.stages[stage]; of.photographs > 0 {
				now.Stages = append(now.Stages, StageMoment{stage.String(), of.photographs, seconds(of.busy)})
			}
		}
		r.Course = append(r.Course, now)
	}
	return r
}

// course keeps samples of the whole run, however long: when there are courseMost, every second one is dropped, and from then
// on half as many are kept.
type course struct {
	kept  []sample
	every int // sampleEvery between two that are kept
}

const courseMost = 240

func (c *course) keep(s sample) {
	c.every = max(c.every, 1)
	if n := len(c.kept); n > 0 && s.at-c.kept[n-1].at < sampleEvery*time.Duration(c.every)-sampleEvery/2 {
		return
	}
	if c.kept = append(c.kept, s); len(c.kept) < courseMost {
		return
	}
	for i := range courseMost / 2 {
		c.kept[i] = c.kept[2*i]
	}
	c.kept = c.kept[:courseMost/2]
	c.every *= 2
}

// courseNow is a copy, which begins with the beginning, when nothing was done.
func (h *history) courseNow() []sample {
	h.Lock()
	defer h.Unlock()
	return append([]sample{{}}, h.course.kept...)
}
