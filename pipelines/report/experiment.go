package report

import (
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/logobeam/logobeam/model/metrics"
)

// Spread is the mean and the standard deviation of a few values.
type Spread struct {
	Mean float64
	Std  float64 // of a sample: over N-1. 0 for one value
	N    int
}

// Over is the spread of those values that are finite numbers. Without any, N is 0 and the mean NaN.
func Over(values ...float64) Spread {
	var s Spread
	for _, v := range values {
		if finite(v) {
			s.N++
			s.Mean += (v - s.Mean) / float64(s.N)
		}
	}
	if s.N == 0 {
		return Spread{Mean: math.NaN()}
	}
	for _, v := range values {
		if finite(v) && s.N > 1 {
			s.Std += (v - s.Mean) * (v - s.Mean) / float64(s.N-1)
		}
	}
	s.Std = math.Sqrt(s.Std)
	return s
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// write is the mean, and the standard deviation where there are several values, in a format for one; a dash for none.
func (s Spread) write(format string) string {
	switch s.N {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf(format, s.Mean)
	}
	return fmt.Sprintf(format, s.Mean) + " ± " + strings.TrimPrefix(fmt.Sprintf(format, s.Std), "+")
}

// Experiment is what trainings that differ in a few things came to.
type Experiment struct {
	Title string `json:"title"`
	// Runs are compared with the one named Baseline, on validation and, where it was measured, on test.
	Runs     []Run  `json:"runs"`
	Baseline string `json:"baseline"`
	Machine  string `json:"machine"` // what the times are of
}

// Run is one way of training.
type Run struct {
	Name     string    `json:"name"`
	Planned  int       `json:"planned"` // seeds that are asked for
	Outcomes []Outcome `json:"outcomes"`
}

// Outcome is what a run came to with one seed.
type Outcome struct {
	Seed            uint64    `json:"seed"`
	Epoch           int       `json:"epoch"`  // that was kept, from 1; 0 while the training is not done
	Epochs          int       `json:"epochs"` // that were run
	Seconds         float64   `json:"seconds"`
	ImagesPerSecond float64   `json:"images_per_second"` // of training alone
	Validation      *Measured `json:"validation,omitempty"`
	Test            *Measured `json:"test,omitempty"`
}

// Measured is figures of a model on a split.
type Measured struct {
	metrics.Summary
	ECE metrics.Figure `json:"ece"`
}

// The figures of a Measured in the order of the columns, as CSV names them.
var measures = []struct {
	name, title string
	of          func(*Measured) metrics.Figure
}{
	{"macro_f1", "macro-F1", func(m *Measured) metrics.Figure { return m.MacroF1 }},
	{"accuracy", "accuracy", func(m *Measured) metrics.Figure { return m.Accuracy }},
	{"majority", "commonest", func(m *Measured) metrics.Figure { return m.Majority }},
	{"logo_recall", "logo recall", func(m *Measured) metrics.Figure { return m.LogoRecall }},
	{"false_alarm_rate", "false alarms", func(m *Measured) metrics.Figure { return m.FalseAlarms }},
	{"ece", "ECE", func(m *Measured) metrics.Figure { return m.ECE }},
}

var splits = []struct {
	name string
	of   func(Outcome) *Measured
}{
	{"validation", func(o Outcome) *Measured { return o.Validation }},
	{"test", func(o Outcome) *Measured { return o.Test }},
}

// Markdown is a table for each split: a row for each run, with means and standard deviations over the seeds, and how the
// macro-F1 differs from the baseline's, in points, from seed to seed of both.
func (e Experiment) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", cell(e.Title))
	base, compared := e.baseline()
	for _, split := range splits {
		images := 0
		for _, r := range e.Runs {
			for _, o := range r.Outcomes {
				if m := split.of(o); m != nil {
					images = m.Images
				}
			}
		}
		if images == 0 {
			continue
		}
		fmt.Fprintf(&b, "\nOn %s images of %s: mean ± standard deviation over seeds, of the epochs that were kept for their validation.\n",
			grouped(int64(images)), split.name)
		head := []string{"run", "seeds"}
		for _, m := range measures {
			head = append(head, m.title)
			if compared && m.name == "macro_f1" {
				head = append(head, "points")
			}
		}
		if split.name == "validation" {
			head = append(head, "kept epoch", "seconds", "images/s")
		}
		fmt.Fprintf(&b, "\n| %s |\n|---%s|\n", strings.Join(head, " | "), strings.Repeat("|--:", len(head)-1))
		for _, r := range e.Runs {
			row := []string{cell(r.Name), fmt.Sprint(len(r.Outcomes))}
			if len(r.Outcomes) < r.Planned {
				row[1] += fmt.Sprintf(" of %d", r.Planned)
			}
			for _, m := range measures {
				spread := r.over(func(o Outcome) float64 { return figureOf(split.of(o), m.of) })
				if m.name == "majority" { // of the data, whatever the seed
					spread.N = min(spread.N, 1)
				}
				row = append(row, spread.write("%.3f"))
				if compared && m.name == "macro_f1" {
					difference := "-"
					if r.Name != base.Name {
						difference = r.points(base, split.of).write("%+.1f")
					}
					row = append(row, difference)
				}
			}
			if split.name == "validation" {
				row = append(row, r.epochs(),
					r.over(func(o Outcome) float64 { return o.Seconds }).write("%.1f"),
					r.over(func(o Outcome) float64 { return o.ImagesPerSecond }).write("%.0f"))
			}
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		}
	}
	fmt.Fprintln(&b)
	if compared {
		fmt.Fprintf(&b, "Points: of macro-F1, above %s with the same seed. ", cell(base.Name))
	}
	fmt.Fprintf(&b, "Commonest: the accuracy of always giving the commonest answer. Seconds: of training, with its validation, on %s.\n", cell(e.Machine))
	return b.String()
}

func (e Experiment) baseline() (base Run, compared bool) {
	for _, r := range e.Runs {
		if r.Name == e.Baseline {
			return r, len(e.Runs) > 1
		}
	}
	return Run{}, false
}

func (r Run) over(figure func(Outcome) float64) Spread {
	var values []float64
	for _, o := range r.Outcomes {
		values = append(values, figure(o))
	}
	return Over(values...)
}

// points is the spread of the differences in macro-F1 of those seeds that both runs have.
func (r Run) points(base Run, split func(Outcome) *Measured) Spread {
	var list []float64
	for _, o := range r.Outcomes {
		for _, other := range base.Outcomes {
			if o.Seed == other.Seed {
				list = append(list, 100*(figureOf(split(o), measures[0].of)-figureOf(split(other), measures[0].of)))
			}
		}
	}
	return Over(list...)
}

// epochs is which epoch was kept and of how many.
func (r Run) epochs() string {
	kept, of := r.over(func(o Outcome) float64 { return float64(o.Epoch) }), r.over(func(o Outcome) float64 { return float64(o.Epochs) })
	if kept.N == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f of %.0f", kept.Mean, of.Mean)
}

func figureOf(m *Measured, of func(*Measured) metrics.Figure) float64 {
	if m == nil {
		return math.NaN()
	}
	return float64(of(m))
}

// cell keeps text from ending a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// CSV has a line for each run, seed and split, with figures as they are. What does not exist is empty.
func (e Experiment) CSV() string {
	var b strings.Builder
	w := csv.NewWriter(&b) // whose errors are those of b, which has none
	head := []string{"run", "seed", "split", "images"}
	for _, m := range measures {
		head = append(head, m.name)
	}
	w.Write(append(head, "epoch", "epochs", "seconds", "images_per_second"))
	number := func(v float64) string {
		if !finite(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	for _, r := range e.Runs {
		for _, o := range r.Outcomes {
			for _, split := range splits {
				m := split.of(o)
				if m == nil {
					continue
				}
				line := []string{r.Name, fmt.Sprint(o.Seed), split.name, fmt.Sprint(m.Images)}
				for _, f := range measures {
					line = append(line, number(float64(f.of(m))))
				}
				w.Write(append(line, fmt.Sprint(o.Epoch), fmt.Sprint(o.Epochs), number(o.Seconds), number(o.ImagesPerSecond)))
			}
		}
	}
	w.Flush()
	return b.String()
}
