package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot/plotter"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/metrics"
)

// Scored is what a run of score came to, as its page shows it. URLs are to be redacted already.
type Scored struct {
	Place   string // of the output
	Program string // that makes the page
	Facts   []Fact // of what was run on what
	Rows, Scored, Rejected,
	Retryable, Skipped int64
	Brands  map[string]int64 // scores by brand, model.NoLogo among them
	Rejects []Rejected       // the commonest reason first

	// Read scores were looked at for what follows, perhaps fewer than Scored. Probabilities counts them by brand, in
	// ProbabilityBins bins of equal width from 0 to 1.
	Read          int64
	Probabilities map[string][]int64
	Calibration   *model.Calibration // of the model, nil where it is not known
	Photographs   []BrandPhotographs // surest and least sure ones
	NoPhotographs string             // why there are none, a sentence

	Runs []Course // that were watched, the first one first
}

// ProbabilityBins is in how many bins Scored counts probabilities.
const ProbabilityBins = 20

// Rejected is a reason for rejects, with rows of that kind.
type Rejected struct {
	Stage, Reason, Text string
	Count               int64
	Examples            []Example
}

// Example is a row that was rejected.
type Example struct{ Post, Image, Detail string }

// BrandPhotographs are some of those that a brand was found in.
type BrandPhotographs struct {
	Brand  string
	Surest []Photograph // the surest first
	Least  []Photograph // others, the least sure last
}

// Course is how a run went.
type Course struct {
	Began   time.Time
	Elapsed time.Duration
	Rows    int64 // that it has finished
	Workers int64
	Moments []Moment
	Hosts   []Host // the slowest first
}

// Moment is what a run had done at a time since it began. The stages are in the order of their names in StageNames.
type Moment struct {
	At     time.Duration
	Rows   int64
	Stages []StageCount
}

// StageCount is what was through a stage, and the time of all photographs together that it took.
type StageCount struct {
	Name        string
	Photographs int64
	Busy        time.Duration
}

// Host is how a host did.
type Host struct {
	Name               string
	Requests, Failures int64
	Mean               time.Duration // until it answered
}

// Limits of a page, so that it stays one that a browser and a reader can take.
const (
	mostBrandRows = 200
	mostCourses   = 3
	mostHosts     = 20
)

// HTML is one page that needs nothing but itself. The same Scored gives the same bytes.
func (s Scored) HTML() ([]byte, error) {
	p := page{Title: "Brands found: " + s.Place, Foot: s.Program}
	found, brands := s.found()
	p.Lead = fmt.Sprintf("%s: %s scored, %s rejected. Logos in %s of %s.", plural(s.Rows, "row"), grouped(s.Scored), grouped(s.Rejected),
		plural(found, "photograph"), plural(int64(len(brands)), "brand"))
	for _, make := range []func() (section, error){s.overview, s.brands, s.photographs, s.probabilities, s.calibration, s.rejects, s.rates, s.hosts, s.run} {
		one, err := make()
		if err != nil {
			return nil, err
		}
		p.Sections = append(p.Sections, one)
	}
	return p.html()
}

func (s Scored) found() (n int64, brands []count) {
	brands = slices.DeleteFunc(ranked(s.Brands), func(c count) bool { return c.name == model.NoLogo || c.n == 0 })
	for _, c := range brands {
		n += c.n
	}
	return n, brands
}

func (s Scored) overview() (section, error) {
	found, brands := s.found()
	tiles := []tile{
		{grouped(s.Rows), "rows", ""},
		{grouped(s.Scored), "scored", shareOf(s.Scored, s.Rows)},
		{grouped(s.Rejected), "rejected", shareOf(s.Rejected, s.Rows)},
		{grouped(found), "with a logo", shareOf(found, s.Scored)},
		{grouped(int64(len(brands))), "brands", ""},
	}
	if s.Skipped > 0 {
		tiles = append(tiles, tile{grouped(s.Skipped), "skipped", "an earlier output has them"})
	}
	return section{ID: "overview", Title: "Overview", Tiles: tiles}, nil
}

func (s Scored) run() (section, error) {
	return section{ID: "run", Title: "What was run", Facts: s.Facts}, nil
}

func shareOf(n, of int64) string {
	if of == 0 {
		return ""
	}
	return percent(n, of)
}

func (s Scored) brands() (section, error) {
	one := section{ID: "brands", Title: "Brands"}
	found, brands := s.found()
	if len(brands) == 0 {
		one.Text = []string{"No photograph shows a brand that the model knows."}
		return one, nil
	}
	t := table{Caption: "Photographs by brand", Columns: []column{{"Brand", "brief"}, {"Photographs", "number"}, {"", "bar"}, {"Share", "number"}, {"Probabilities, 0 to 1", "bins"}, {"Median", "number"}}}
	most := brands[0].n
	rest := int64(0)
	for i, c := range brands {
		if i >= mostBrandRows {
			rest += c.n
			continue
		}
		t.add(c.name, grouped(c.n), 100*float64(c.n)/float64(most), percent(c.n, found), s.Probabilities[c.name], median(s.Probabilities[c.name]))
	}
	if rest > 0 {
		t.Note = fmt.Sprintf("%s more brands have %s.", grouped(int64(len(brands)-mostBrandRows)), plural(rest, "photograph"))
	}
	one.Tables = []table{t}
	one.Text = s.sampled()
	return one, nil
}

// sampled says so where not all scores were looked at.
func (s Scored) sampled() []string {
	if s.Read >= s.Scored {
		return nil
	}
	return []string{fmt.Sprintf("Probabilities are those of %s scores, from all over the listing.", grouped(s.Read))}
}

// median is the middle of the bin that the median lies in.
func median(counts []int64) string {
	all, before := int64(0), int64(0)
	for _, n := range counts {
		all += n
	}
	for i, n := range counts {
		if before += n; 2*before >= all && all > 0 {
			return fmt.Sprintf("%.2f", (float64(i)+0.5)/float64(len(counts)))
		}
	}
	return "-"
}

func (s Scored) photographs() (section, error) {
	one := section{ID: "photographs", Title: "Photographs"}
	if len(s.Photographs) == 0 {
		one.Text = []string{s.NoPhotographs}
		return one, nil
	}
	one.Text = []string{"Of each brand the photographs that the model was surest and least sure of, with their probability and post."}
	for _, b := range s.Photographs {
		sh := sheet{Title: fmt.Sprintf("%s: the surest and the least sure of %s", b.Brand, grouped(s.Brands[b.Brand]))}
		list := append(slices.Clone(b.Surest), b.Least...)
		if int64(len(list)) >= s.Brands[b.Brand] {
			sh.Title = b.Brand
		}
		for _, p := range list {
			shown, err := p.thumbnail(fmt.Sprintf("%s: %s", b.Brand, clip(strings.Join(p.Lines, ", post "))))
			if err != nil {
				return one, err
			}
			sh.Photographs = append(sh.Photographs, shown)
		}
		one.Sheets = append(one.Sheets, sh)
	}
	return one, nil
}

func (s Scored) probabilities() (section, error) {
	one := section{ID: "probabilities", Title: "Probabilities", Text: s.sampled()}
	logos, none := make([]int64, ProbabilityBins), make([]int64, ProbabilityBins)
	for _, brand := range slices.Sorted(maps.Keys(s.Probabilities)) {
		to := logos
		if brand == model.NoLogo {
			to = none
		}
		for i, n := range s.Probabilities[brand] {
			to[i] += n
		}
	}
	for _, h := range []struct {
		title  string
		counts []int64
	}{{"Of brands", logos}, {"Of no-logo", none}} {
		svg, err := histogram(h.counts, "photographs")
		if err != nil {
			return one, err
		}
		one.Charts = append(one.Charts, chart{h.title, svg})
	}
	return one, nil
}

func (s Scored) calibration() (section, error) {
	one := section{ID: "calibration", Title: "Calibration"}
	return one, one.calibrate(s.Calibration)
}

// calibrate tells how far a model's probabilities can be believed.
func (one *section) calibrate(c *model.Calibration) error {
	if c == nil {
		one.Text = []string{"Nothing is known of how far the model's probabilities can be believed: it was never calibrated, or is not at hand. logobeam calibrate does that with labelled photographs."}
		return nil
	}
	one.Text = []string{fmt.Sprintf("Probabilities were fitted to %s of validation: expected calibration error %.3f, before %.3f.",
		plural(int64(c.Images), "photograph"), c.ECE, c.ECEBefore),
		fmt.Sprintf("Where bars end at the dashed line, answers are right as often as they say. Bars without a filling are of fewer than %d photographs.", fewest)}
	var answers []metrics.Answer
	for _, brand := range slices.Sorted(maps.Keys(c.Answers)) {
		for _, p := range c.Answers[brand].Right {
			answers = append(answers, metrics.Answer{Probability: p})
		}
		for _, p := range c.Answers[brand].Wrong {
			answers = append(answers, metrics.Answer{Truth: 1, Probability: p})
		}
	}
	return one.reliability("Answers on validation", answers)
}

func (one *section) reliability(title string, answers []metrics.Answer) error {
	svg, err := reliability(metrics.Reliability(answers, 10))
	if err != nil {
		return err
	}
	one.Charts = append(one.Charts, chart{title, svg})
	return nil
}

func (s Scored) rejects() (section, error) {
	one := section{ID: "rejects", Title: "Rejects"}
	if s.Rejected == 0 {
		one.Text = []string{"No row was rejected."}
		return one, nil
	}
	t := table{Caption: "Why rows were rejected", Columns: []column{{"Reason", "brief"}, {"Stage", ""}, {"Rows", "number"}, {"Share", "number"}, {"What it means", "long"}}}
	examples := table{Caption: "Examples of rejected rows", Columns: []column{{"Reason", "brief"}, {"Post", ""}, {"Image", "long"}, {"Detail", "long"}}}
	for _, r := range s.Rejects {
		t.add(r.Reason, r.Stage, grouped(r.Count), percent(r.Count, max(s.Rows, 1)), r.Text)
		for _, e := range r.Examples {
			examples.add(r.Reason, clip(e.Post), clip(e.Image), clip(e.Detail))
		}
	}
	if s.Retryable > 0 {
		one.Text = []string{fmt.Sprintf("%s may succeed at another time: logobeam retry.", plural(s.Retryable, "reject"))}
	}
	one.Tables = []table{t}
	if len(examples.Rows) > 0 {
		one.Tables = append(one.Tables, examples)
	}
	return one, nil
}

func (s Scored) rates() (section, error) {
	one := section{ID: "rates", Title: "Rates over time"}
	if len(s.Runs) == 0 {
		one.Text = []string{"No run of this output was watched to its end by a version that notes its rates, or its photographs were worked on elsewhere."}
		return one, nil
	}
	courses := s.Runs
	if more := len(courses) - mostCourses; more > 0 {
		one.Text = []string{fmt.Sprintf("The last %d of %d runs.", mostCourses, len(courses))}
		courses = courses[more:]
	}
	for _, c := range courses {
		began := c.Began.UTC().Format("2006-01-02 15:04 MST")
		one.Text = append(one.Text, fmt.Sprintf("The run of %s finished %s in %s with %s.", began, plural(c.Rows, "row"), duration(c.Elapsed), plural(c.Workers, "worker")))
		if err := c.draw(&one, began); err != nil {
			return one, err
		}
	}
	return one, nil
}

// stageNames are the stages that photographs go through; what workers do in them, waiting aside, is all but fetch.
var stageNames = []string{"fetch", "decode", "infer", "write"}

// draw adds the charts and the table of a run.
func (c Course) draw(one *section, began string) error {
	name, scale := unit(c.Elapsed)
	at := func(t time.Duration) float64 { return float64(t) / float64(scale) }
	rates := make([]plotter.XYs, len(stageNames))
	shares := make([]plotter.XYs, len(stageNames))
	for i := 1; i < len(c.Moments); i++ {
		from, to := c.Moments[i-1], c.Moments[i]
		while := (to.At - from.At).Seconds()
		if while <= 0 {
			continue
		}
		middle := at((from.At + to.At) / 2)
		had := while * float64(max(c.Workers, 1))
		worked := 0.0
		for k, stage := range stageNames {
			a, b := from.stage(stage), to.stage(stage)
			rates[k] = append(rates[k], plotter.XY{X: middle, Y: float64(b.Photographs-a.Photographs) / while})
			if k > 0 {
				share := (b.Busy - a.Busy).Seconds()
				worked += share
				shares[k] = append(shares[k], plotter.XY{X: middle, Y: min(share/had, 1)})
			}
		}
		shares[0] = append(shares[0], plotter.XY{X: middle, Y: max(1-worked/had, 0)})
	}
	if len(rates[0]) == 0 {
		return nil
	}
	for _, drawn := range []struct {
		title, y string
		lines    []plotter.XYs
		names    []string
	}{
		{"Photographs a second, by stage", "a second", rates[:3], stageNames[:3]}, // they are written a chunk at a time
		{"Where the workers' time went", "share", shares, append([]string{"waiting (fetch)"}, stageNames[1:]...)},
	} {
		p, err := curvesOf(name, drawn.y, drawn.lines...)
		if err != nil {
			return err
		}
		p.Y.Min = 0
		if drawn.y == "share" {
			p.Y.Max = 1
		}
		svg, err := inline(p, drawn.title+" over time", drawn.names...)
		if err != nil {
			return err
		}
		one.Charts = append(one.Charts, chart{drawn.title + ", " + began, svg})
	}
	t := table{Caption: "Stages, run of " + began, Columns: []column{{"Stage", "brief"}, {"Photographs", "number"}, {"A second", "number"}, {"Each takes", "number"}}}
	last := c.Moments[len(c.Moments)-1]
	for _, stage := range stageNames {
		now := last.stage(stage)
		if now.Photographs == 0 {
			continue
		}
		t.add(stage, grouped(now.Photographs), fmt.Sprintf("%.1f", float64(now.Photographs)/max(c.Elapsed.Seconds(), 1e-3)),
			brief(now.Busy/time.Duration(now.Photographs)))
	}
	if len(t.Rows) > 0 {
		one.Tables = append(one.Tables, t)
	}
	return nil
}

func (m Moment) stage(name string) StageCount {
	for _, s := range m.Stages {
		if s.Name == name {
			return s
		}
	}
	return StageCount{}
}

// brief is a short time in few digits.
func brief(t time.Duration) string {
	switch {
	case t < time.Millisecond:
		return fmt.Sprintf("%d µs", t.Microseconds())
	case t < time.Second:
		return fmt.Sprintf("%.3g ms", float64(t)/float64(time.Millisecond))
	}
	return duration(t)
}

func (s Scored) hosts() (section, error) {
	one := section{ID: "hosts", Title: "Slowest hosts"}
	t := table{Caption: "Hosts by the time until they answered", Columns: []column{{"Host", "long"}, {"Requests", "number"}, {"Failed", "number"}, {"Answered in", "number"}}}
	if len(s.Runs) > 0 {
		for _, h := range s.Runs[len(s.Runs)-1].Hosts {
			if len(t.Rows) < mostHosts {
				t.add(h.Name, grouped(h.Requests), grouped(h.Failures), brief(h.Mean))
			}
		}
	}
	if len(t.Rows) == 0 {
		one.Text = []string{"No host was asked for a photograph by a run that was watched."}
		return one, nil
	}
	one.Tables = []table{t}
	return one, nil
}

// clip keeps what strangers write short.
func clip(s string) string {
	const most = 200
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
