package monitor

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is what the status page says, in words. The template and the page's script show the same fields.
type page struct {
	Title, Clock                 string
	Progress, Remaining, Elapsed string
	Percent                      float64 // below 0 if not known
	Rate, Highest                string
	Spark, Area                  string // points in the 300 x 60 of the SVG
	Binds, BindsWhy              string
	Oldest, OldestWhere          string
	Tables                       []table
}

type table struct {
	ID, Caption string
	Wide        bool
	Columns     []column
	Rows        [][]cell
}

// A column and its cells are of one kind: text "", "number", "brief" text that stays on one line, "long" text
// that has some room, "example", or "bar".
type column struct{ Name, Kind string }

type cell struct {
	Text, Kind string
	Bar        float64 // per cent
}

// add adds a row, which is empty where there are fewer values than columns. A float64 is the length of a bar in per cent,
// and every other value is text.
func (t *table) add(values ...any) {
	row := make([]cell, len(t.Columns))
	for i, v := range values {
		row[i].Kind = t.Columns[i].Kind
		if bar, ok := v.(float64); ok {
			row[i].Bar = bar
		} else {
			row[i].Text = fmt.Sprint(v)
		}
	}
	t.Rows = append(t.Rows, row)
}

func (s *Snapshot) page() page {
	p := page{
		Clock:   s.At.Format("15:04:05 MST"),
		Percent: -1, Progress: count(s.Done) + " rows",
		Remaining: "Remaining time not known yet",
		Elapsed:   "Running for " + length(s.Elapsed),
		Rate:      decimal(s.Rate),
		Title:     count(s.Done) + " rows, logobeam",
		Binds:     "Not known yet",
		BindsWhy:  "The run has just begun, or nothing is under way.",
		Oldest:    "None",
		Tables:    []table{s.rowsTable(), s.stagesTable(), s.reasonsTable(), s.chunksTable(), s.machineTable(), s.hostsTable()},
	}
	if s.Rows > 0 {
		about := ""
		if !s.Exact {
			about = "about "
		}
		p.Percent = min(100*float64(s.Done)/float64(s.Rows), 100)
		p.Progress = fmt.Sprintf("%s of %s%s rows (%.1f %%)", count(s.Done), about, count(s.Rows), p.Percent)
		p.Title = fmt.Sprintf("%.1f %%, logobeam", p.Percent)
	}
	switch {
	case s.Remaining > 0:
		p.Remaining = "About " + length(s.Remaining) + " left"
	case s.Rows > 0 && s.Exact && s.Done >= s.Rows:
		p.Remaining = "All rows are done"
	}
	p.Spark, p.Area, p.Highest = spark(s.History)
	if s.Binds != "" {
		p.Binds = strings.ToUpper(s.Binds[:1]) + s.Binds[1:]
		p.BindsWhy = fmt.Sprintf("%.0f %% of the time of %d workers in the last 30 seconds", 100*s.BindsShare, s.Workers)
		if s.Binds == Fetch.String() {
			p.BindsWhy += ", in which they waited for photographs"
		}
	}
	if o := s.Oldest; o != nil {
		p.Oldest = fmt.Sprintf("%s, post %s", o.Image, o.Post)
		p.OldestWhere = fmt.Sprintf("For %s, in %s for %s", length(o.Age), o.Stage, length(o.Stays))
		if o.Host != "" {
			p.OldestWhere += ", host " + o.Host
		}
		p.OldestWhere += fmt.Sprintf("; %s under way in all", count(s.UnderWay))
	}
	return p
}

func (s *Snapshot) rowsTable() table {
	t := table{ID: "rows", Caption: "Rows by outcome", Columns: []column{{"Outcome", ""}, {"Rows", "number"}, {"Of those done", "number"}}}
	for _, r := range []struct {
		name string
		n    int64
	}{
		{"scored", s.Scored}, {"rejected", s.Rejected}, {"skipped: an earlier output has them", s.Skipped},
		{"of these: answered from the cache", s.Repeated}, {"of these: found done from an earlier run", s.Found},
	} {
		t.add(r.name, count(r.n), percent(float64(r.n)/float64(max(s.Done, 1))))
	}
	return t
}

func (s *Snapshot) stagesTable() table {
	t := table{ID: "stages", Caption: "Stages, in the last 30 seconds", Columns: []column{
		{"Stage", "brief"}, {"Photographs a second", "bar"}, {"", "number"}, {"At once", "number"}, {"Each takes", "number"}}}
	highest := 0.0
	for _, stage := range s.Stages {
		highest = max(highest, stage.Rate)
	}
	for _, stage := range s.Stages {
		if stage.Photographs == 0 {
			t.add(stage.Stage)
			continue
		}
		t.add(stage.Stage, 100*stage.Rate/max(highest, 1e-9), decimal(stage.Rate), decimal(stage.AtOnce), length(stage.Mean))
	}
	return t
}

func (s *Snapshot) reasonsTable() table {
	t := table{ID: "reasons", Caption: "Why rows were rejected", Wide: true, Columns: []column{
		{"Reason", "brief"}, {"Stage", "brief"}, {"Rows", "number"}, {"Share", "number"}, {"First example", "example"}}}
	for _, r := range s.Reasons {
		t.add(r.Reason, r.Stage, count(r.Count), percent(r.Share), r.Example)
	}
	if len(t.Rows) == 0 {
		t.add("none so far")
	}
	return t
}

func (s *Snapshot) hostsTable() table {
	t := table{ID: "hosts", Caption: "Slowest hosts", Wide: true, Columns: []column{{"Host", "long"}, {"Requests", "number"}, {"Failed", "number"}, {"Answers in", "number"}, {"", "brief"}}}
	if s.Fetching != nil {
		for _, h := range s.Fetching.Hosts[:min(len(s.Fetching.Hosts), 10)] {
			state := ""
			if h.Parked {
				state = "parked"
			}
			t.add(clip(h.Name), count(h.Requests), count(h.Failures), length(h.Mean), state)
		}
	}
	if len(t.Rows) == 0 {
		t.add("none so far")
	}
	return t
}

func (s *Snapshot) chunksTable() table {
	const most = 6
	t := table{ID: "chunks", Caption: "Chunks", Columns: []column{{"Chunk", ""}, {"", "number"}}}
	total := ""
	if s.Chunks.Total > 0 {
		total = " of " + count(s.Chunks.Total)
	}
	t.add("done", count(s.Chunks.Done)+total)
	t.add("under way", count(len(s.Chunks.UnderWay)))
	for _, c := range s.Chunks.UnderWay[:min(len(s.Chunks.UnderWay), most)] {
		t.add(fmt.Sprintf("chunk %d, %s", c.Index, clip(c.Name)), "for "+length(seconds(s.At.Sub(c.Since))))
	}
	return t
}

func (s *Snapshot) machineTable() table {
	t := table{ID: "machine", Caption: "Machine and network", Columns: []column{{"Figure", ""}, {"", "number"}}}
	t.add("memory from the system", humanize.IBytes(s.Memory.Total))
	t.add("heap", humanize.IBytes(s.Memory.Heap))
	t.add("goroutines", count(s.Memory.Goroutines))
	if s.Memory.Descriptors > 0 {
		t.add("open files and connections", count(s.Memory.Descriptors))
	}
	if f := s.Fetching; f != nil {
		t.add("requests", count(f.Requests))
		t.add("of these: retries", count(f.Retries))
		t.add("received", humanize.IBytes(uint64(max(f.Bytes, 0))))
		t.add("connections", count(f.Open))
		t.add("images that wait for one", count(f.Waiting))
	}
	return t
}

// spark lays out rates, five seconds each, in the 300 x 60 of the sparkline, the last one at the right; and says their highest.
func spark(rates []float64) (line, area, highest string) {
	const width, height, full = 300.0, 58.0, int(minutes / sparkEvery)
	if len(rates) < 2 {
		return "", "", "No history yet"
	}
	top := slices.Max(rates)
	var points strings.Builder
	x := func(i int) float64 { return width * float64(full-len(rates)+i) / float64(full-1) }
	for i, r := range rates {
		fmt.Fprintf(&points, "%.1f,%.1f ", x(i), 1+height-height*r/max(top, 1e-9))
	}
	line = strings.TrimSpace(points.String())
	area = fmt.Sprintf("%.1f,60 %s %.1f,60", x(0), line, width)
	return line, area, fmt.Sprintf("At most %s in the last %s", decimal(top), length(seconds(time.Duration(len(rates))*sparkEvery)))
}

func count[T int | int64 | uint64](n T) string { return humanize.Comma(int64(n)) }

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// decimal is a rate with as many digits as tell something.
func decimal(v float64) string {
	switch {
	case v >= 100:
		return humanize.Comma(int64(math.Round(v)))
	case v >= 1 || v == 0:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// length is a length of time in at most two units.
func length(s Seconds) string {
	d := s.Duration()
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
