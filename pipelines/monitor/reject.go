package monitor

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
)

// rejects counts rejected rows by stage and reason. The map is never changed, only replaced, so that it is read without a lock.
type rejects struct {
	mutex sync.Mutex // of whoever replaces it
	now   atomic.Pointer[map[cause]*tally]
}

type cause struct {
	stage  Stage
	reason string
}

type tally struct {
	n     atomic.Int64
	first Example
}

// Example is one row of many. Its fields are short.
type Example struct {
	Post   string `json:"post"`
	Image  string `json:"image"` // a URL without password and query
	Detail string `json:"detail"`
}

// String is the example in one line: post 17, shoes/a.jpg: no such file.
func (e Example) String() string {
	s := "post " + cmp.Or(e.Post, "without a name")
	if e.Image != "" {
		s += ", " + e.Image
	}
	return printable(s + ": " + e.Detail)
}

// Reason is why rows of this run were rejected.
type Reason struct {
	Stage   Stage   `json:"stage"`
	Reason  string  `json:"reason"`
	Count   int64   `json:"count"`
	Share   float64 `json:"share"`   // of the rows that this run has scored or rejected
	Example Example `json:"example"` // the first
}

// Reject notes why a row is rejected; Count counts it. reason is of a closed set. post and image are as in the listing: they
// are shown without password and query. detail is shown as it is, so URLs in it must be redacted already, as those of fetch's errors are.
func (m *Monitor) Reject(stage Stage, reason, post, image, detail string) {
	if m == nil {
		return
	}
	c := cause{stage, reason}
	t := m.rejects.find(c)
	if t == nil {
		shown, _ := redact(image)
		post, _ = redact(post)
		t = m.rejects.add(c, Example{strings.Clone(post), strings.Clone(shown), clip(detail)}) // they may be parts of a long text
	}
	t.n.Add(1)
}

func (r *rejects) all() map[cause]*tally {
	if all := r.now.Load(); all != nil {
		return *all
	}
	return nil
}

func (r *rejects) find(c cause) *tally { return r.all()[c] }

func (r *rejects) add(c cause, first Example) *tally {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if t := r.find(c); t != nil { // somebody was faster
		return t
	}
	more := map[cause]*tally{c: {first: first}}
	maps.Copy(more, r.all())
	r.now.Store(&more)
	return more[c]
}

// reasons are those so far, the commonest first. tried is the number of rows that they are a share of.
func (r *rejects) reasons(tried int64) []Reason {
	all := []Reason{}
	for c, t := range r.all() {
		n := t.n.Load()
		all = append(all, Reason{c.stage, c.reason, n, float64(n) / float64(max(tried, n, 1)), t.first})
	}
	slices.SortFunc(all, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// Tripped tells whether something is plainly wrong: whether a run that is to have at most limit of its rows rejected, a share
// from 0 to 1, should stop now. So it is when
//
//   - of at least 200 rows that this run has scored or rejected so many are rejected that the lower end of Wilson's interval
//     for the share of rejects, at 4.9 standard deviations, lies above the limit: were rows rejected at random with a share of
//     limit, one look in two million would say so; or
//   - more rows are rejected, by earlier runs too, than limit allows of all the listing's rows, if these are counted exactly and at least 200.
//
// A listing whose bad rows come together, first those of a site that is gone, may be stopped by the first rule although it
// would have ended within the limit. A limit of 1 never trips.
func (m *Monitor) Tripped(limit float64) bool {
	if m == nil {
		return false
	}
	rejected, scored := m.own.rejected.Load(), m.own.scored.Load()
	if plainly(rejected, rejected+scored, limit) {
		return true
	}
	// A listing of fewer rows is at its end before anybody could stop it.
	return m.exact && m.rows >= 200 && float64(rejected+m.found.rejected.Load()) > limit*float64(m.rows)
}

// plainly is Tripped's first rule.
func plainly(rejected, tried int64, limit float64) bool {
	return tried >= 200 && rejected > 0 && wilson(rejected, tried) > limit // of no rejects rounding may leave a little above 0
}

// wilson is the lower end of the interval that holds the share of successes in n trials k of which succeeded, at 4.9 standard
// deviations (E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927). n is above 0.
func wilson(k, n int64) float64 {
	const z = 4.9
	p, t := float64(k)/float64(n), float64(n)
	return (p + z*z/(2*t) - z*math.Sqrt(p*(1-p)/t+z*z/(4*t*t))) / (1 + z*z/t)
}

// Explain says in lines for people which reasons rows were rejected for, the commonest first and at most five, with an example
// of each and what to do about it as advice knows; advice may be nil, and answer "". It is "" while there are no rejects.
func (m *Monitor) Explain(advice func(stage Stage, reason string) string) string {
	if m == nil {
		return ""
	}
	rejected, scored := m.own.rejected.Load(), m.own.scored.Load()
	tried := rejected + scored
	reasons := m.rejects.reasons(tried)
	if len(reasons) == 0 {
		return ""
	}
	const most = 5
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d rows (%.1f %%) were rejected\n", rejected, tried, 100*float64(rejected)/float64(max(tried, 1)))
	for _, r := range reasons[:min(len(reasons), most)] {
		fmt.Fprintf(&b, "  %s: %s: %d (%.1f %%)\n", r.Stage, r.Reason, r.Count, 100*r.Share)
		fmt.Fprintf(&b, "    first: %v\n", r.Example)
		if advice == nil {
			continue
		}
		if text := advice(r.Stage, r.Reason); text != "" {
			fmt.Fprintf(&b, "    to do: %s\n", text)
		}
	}
	if more := len(reasons) - most; more > 0 {
		fmt.Fprintf(&b, "  and %d other reasons\n", more)
	}
	return b.String()
}

// printable keeps what strangers write from moving a terminal's cursor, and from turning the direction of a line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
