package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/metrics"
)

// Trained is what a model does on labelled photographs and how it came to be, as its page shows it.
type Trained struct {
	Place, Program string
	Split          string // that the figures are of
	Command        string // that has made the model, empty if that is not known
	Facts          []Fact
	Epochs         []EpochPoint // none for a model that is only measured
	Confusion      *metrics.Confusion
	Answers        []metrics.Answer
	ECE, ChanceECE metrics.Figure
	Intervals      map[string]metrics.Interval // of the figures, by their names in JSON
	Calibration    *model.Calibration
	Mistakes       []Photograph // the surest first
	AllMistakes    int
}

// EpochPoint is what an epoch came to.
type EpochPoint struct {
	Point
	Accuracy, TrainAccuracy, LogoRecall metrics.Figure // on validation, but for the second
	Seconds                             float64
	Best                                bool
}

// mostConfusion is the most classes of which the whole matrix is shown.
const mostConfusion = 100

// HTML is one page that needs nothing but itself. The same Trained gives the same bytes.
func (t Trained) HTML() ([]byte, error) {
	p := page{Title: "Model " + t.Place, Foot: t.Program}
	s := t.Confusion.Summary()
	p.Lead = fmt.Sprintf("%s classes. On %s of %s: macro-F1 %s, accuracy %s.", grouped(int64(len(t.Confusion.Classes))),
		plural(int64(s.Images), "photograph"), t.Split, figure(s.MacroF1), figure(s.Accuracy))
	parts := []func() (section, error){t.overview}
	if len(t.Epochs) > 0 {
		parts = append(parts, t.curves)
	}
	for _, make := range append(parts, t.classes, t.confusion, t.mistakes, t.calibration) {
		one, err := make()
		if err != nil {
			return nil, err
		}
		p.Sections = append(p.Sections, one)
	}
	return p.html()
}

func (t Trained) overview() (section, error) {
	s := t.Confusion.Summary()
	note := func(key, text string) string { return strings.TrimSpace(bracketed(t.Intervals, key) + " " + text) }
	one := section{ID: "overview", Title: "Overview", Command: t.Command, Facts: t.Facts, Tiles: []tile{
		{figure(s.MacroF1), "macro-F1", note("macro_f1", "")},
		{figure(s.Accuracy), "accuracy", note("accuracy", "commonest class "+figure(s.Majority))},
		{figure(s.LogoRecall), "recall on logos", note("logo_recall", "")},
		{figure(s.FalseAlarms), "false alarms", note("false_alarm_rate", "")},
		{figure(t.ECE), "calibration error", note("ece", "by chance "+figure(t.ChanceECE))},
	}}
	if len(t.Intervals) > 0 {
		one.Text = []string{fmt.Sprintf("In brackets what 95 %% of %s resamples of these photographs give.", grouped(metrics.Resamples))}
	}
	if text := faultless(s); text != "" {
		one.Text = append(one.Text, text)
	}
	if !(s.Accuracy > s.Majority) {
		one.Text = append(one.Text, "This model is no better than giving the commonest answer to everything.")
	}
	return one, nil
}

func (t Trained) curves() (section, error) {
	one := section{ID: "curves", Title: "Learning curves"}
	of := func(figure func(EpochPoint) float64) (points plotter.XYs) {
		for _, e := range t.Epochs {
			points = append(points, plotter.XY{X: float64(e.Epoch), Y: figure(e)})
		}
		return points
	}
	for _, drawn := range []struct {
		title string
		names []string
		lines []plotter.XYs
	}{
		{"On validation", []string{"macro-F1", "accuracy", "recall on logos"}, []plotter.XYs{
			of(func(e EpochPoint) float64 { return e.MacroF1 }), of(func(e EpochPoint) float64 { return float64(e.Accuracy) }),
			of(func(e EpochPoint) float64 { return float64(e.LogoRecall) })}},
		{"Loss in training", nil, []plotter.XYs{of(func(e EpochPoint) float64 { return e.Loss })}},
	} {
		p, err := curvesOf("epoch", "", drawn.lines...)
		if err != nil {
			return one, err
		}
		p.X.Tick.Marker = plot.TickerFunc(wholeTicks)
		svg, err := inline(p, drawn.title+" by epoch", drawn.names...)
		if err != nil {
			return one, err
		}
		one.Charts = append(one.Charts, chart{drawn.title, svg})
	}
	all := table{Caption: "Every epoch", Fold: true, Columns: []column{{"Epoch", "number"}, {"Loss", "number"}, {"Accuracy in training", "number"}, {"Accuracy", "number"},
		{"Macro-F1", "number"}, {"Recall on logos", "number"}, {"Seconds", "number"}, {"", "brief"}}}
	for _, e := range t.Epochs {
		best := ""
		if e.Best {
			best = "best so far"
		}
		all.add(e.Epoch, fmt.Sprintf("%.4f", e.Loss), figure(e.TrainAccuracy), figure(e.Accuracy), figure(metrics.Figure(e.MacroF1)), figure(e.LogoRecall), fmt.Sprintf("%.1f", e.Seconds), best)
	}
	one.Tables = []table{all}
	return one, nil
}

func (t Trained) classes() (section, error) {
	one := section{ID: "classes", Title: "Classes"}
	all := table{Caption: "Classes on " + t.Split + ", the worst first", Columns: []column{{"Class", "brief"}, {"Photographs", "number"}, {"Answers", "number"},
		{"Precision", "number"}, {"Recall", "number"}, {"F1", "number"}, {"", "bar"}}}
	list := t.Confusion.PerClass()
	slices.SortStableFunc(list, func(a, b metrics.Class) int { // classes without a figure last
		return cmp.Or(cmp.Compare(asNumber(a.F1), asNumber(b.F1)), cmp.Compare(a.Name, b.Name))
	})
	for _, c := range list {
		length := 0.0
		if !c.F1.Absent() {
			length = 100 * float64(c.F1)
		}
		all.add(c.Name, c.Support, c.Predicted, figure(c.Precision), figure(c.Recall), figure(c.F1), length)
	}
	one.Tables = []table{all}
	return one, nil
}

func asNumber(f metrics.Figure) float64 {
	if f.Absent() {
		return 2
	}
	return float64(f)
}

func (t Trained) confusion() (section, error) {
	one := section{ID: "confusion", Title: "Confusion"}
	c := t.Confusion
	type mix struct{ truth, answer, n int }
	var mixed []mix
	for truth, row := range c.Counts {
		for answer, n := range row {
			if n > 0 && truth != answer {
				mixed = append(mixed, mix{truth, answer, n})
			}
		}
	}
	slices.SortStableFunc(mixed, func(a, b mix) int { return cmp.Compare(b.n, a.n) })
	if len(mixed) == 0 {
		one.Text = []string{"No class was taken for another."}
	} else {
		const most = 10
		pairs := table{Caption: "What is taken for what most often", Columns: []column{{"True", "brief"}, {"Answered", "brief"}, {"Photographs", "number"}}}
		for _, m := range mixed[:min(len(mixed), most)] {
			pairs.add(c.Classes[m.truth], c.Classes[m.answer], m.n)
		}
		one.Tables = append(one.Tables, pairs)
	}
	if len(c.Classes) > mostConfusion {
		one.Text = append(one.Text, fmt.Sprintf("A matrix of %d classes is too large for this page.", len(c.Classes)))
		return one, nil
	}
	all := table{Caption: "True class (rows) and answer (columns)", Class: "confusion", Columns: []column{{"", ""}},
		Note: "Blue: right. Red: wrong. The shade is the share of the row."}
	for _, name := range c.Classes {
		all.Columns = append(all.Columns, column{name, ""})
	}
	for truth, row := range c.Counts {
		total := 0
		for _, n := range row {
			total += n
		}
		cells := []any{c.Classes[truth]}
		for answer, n := range row {
			cells = append(cells, shaded(n, total, truth == answer))
		}
		all.add(cells...)
	}
	one.Tables = append(one.Tables, all)
	return one, nil
}

// shaded is a field of the matrix.
func shaded(n, total int, isRight bool) tableCell {
	if n == 0 {
		return tableCell{}
	}
	shade := 1
	switch share := float64(n) / float64(total); {
	case share > 0.6:
		shade = 3
	case share > 0.25:
		shade = 2
	}
	kind := "w"
	if isRight {
		kind = "r"
	}
	return tableCell{Text: short(n), Kind: fmt.Sprintf("%s%d", kind, shade)}
}

func (t Trained) mistakes() (section, error) {
	one := section{ID: "mistakes", Title: "Worst mistakes"}
	if t.AllMistakes == 0 {
		one.Text = []string{"There are none on " + t.Split + "."}
		return one, nil
	}
	sh := sheet{Title: fmt.Sprintf("%d of %s on %s, those made most surely first", len(t.Mistakes), plural(int64(t.AllMistakes), "mistake"), t.Split)}
	for _, p := range t.Mistakes {
		shown, err := p.thumbnail(strings.Join(p.Lines, ", "))
		if err != nil {
			return one, err
		}
		sh.Photographs = append(sh.Photographs, shown)
	}
	one.Sheets = []sheet{sh}
	return one, nil
}

func (t Trained) calibration() (section, error) {
	one := section{ID: "calibration", Title: "Calibration"}
	if err := one.calibrate(t.Calibration); err != nil {
		return one, err
	}
	if len(t.Epochs) > 0 && t.Calibration != nil { // the same answers
		return one, nil
	}
	return one, one.reliability("Answers on "+t.Split, t.Answers)
}
