package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/logobeam/logobeam/model/metrics"
)

// runs are n ways of training with so many seeds, each a little better than the one before.
func runs(n, seeds, epochs int) (list []Run, curves []Curve) {
	for k := range n {
		r, c := Run{Name: fmt.Sprintf("arch net-%d, share 0.%d", k, k+1), Planned: seeds}, Curve{}
		c.Name = r.Name
		for s := range seeds {
			noise := 0.02 * float64((s*7+k*3)%5-2)
			reach := 0.5 + 0.04*float64(k) + noise
			o := Outcome{Seed: uint64(s + 1), Epoch: epochs - s, Epochs: epochs, Seconds: float64(30*(k+1) + s), ImagesPerSecond: 1000 / float64(k+1)}
			summary := metrics.Summary{Images: 1250, Accuracy: metrics.Figure(reach + 0.1), Majority: 0.428, MacroF1: metrics.Figure(reach),
				LogoRecall: metrics.Figure(reach - 0.1), FalseAlarms: metrics.Figure(math.NaN())}
			o.Validation = &Measured{summary, 0.05}
			if k > 0 {
				summary.Images = 300
				o.Test = &Measured{summary, metrics.Figure(math.NaN())}
			}
			r.Outcomes = append(r.Outcomes, o)
			var points []Point
			for e := 1; e <= epochs; e++ {
				t := 1 - math.Exp(-float64(e)/(3+float64(k)))
				points = append(points, Point{e, reach*t + noise*math.Sin(float64(e)), 0.2 + 2.6*(1-t) + noise})
			}
			c.Seeds = append(c.Seeds, points)
		}
		list, curves = append(list, r), append(curves, c)
	}
	return list, curves
}

func TestExperimentTables(t *testing.T) {
	list, _ := runs(3, 3, 20)
	list[0].Outcomes[1].Validation.ECE = metrics.Figure(math.NaN()) // one of three is not there
	list[2].Outcomes = list[2].Outcomes[:1]                         // the other seeds are still to come
	list[1].Name = "a | b"
	list = append(list, Run{Name: "not begun", Planned: 3})
	e := Experiment{Title: "Three nets", Runs: list, Baseline: list[0].Name, Machine: "amd64 avx2"}
	sameText(t, "experiment.md", e.Markdown())
	sameText(t, "experiment.csv", e.CSV())

	rows, err := csv.NewReader(strings.NewReader(e.CSV())).ReadAll()
	if err != nil || len(rows) != 1+3+2*3+2 {
		t.Errorf("%d lines of CSV, error %v: want a head, and a line for each seed and split", len(rows), err)
	}
}

// One run with one seed has nothing to be compared with and no spread.
func TestExperimentOfOne(t *testing.T) {
	list, _ := runs(1, 1, 5)
	text := Experiment{Title: "One", Runs: list, Baseline: list[0].Name}.Markdown()
	if strings.Contains(text, "oints") || strings.Contains(text, "0 ±") {
		t.Errorf("a comparison with nothing:\n%s", text)
	}
}

func TestOver(t *testing.T) {
	for _, tt := range []struct {
		why    string
		values []float64
		want   string
	}{
		{"nothing", nil, "-"},
		{"no number among them", []float64{math.NaN(), math.Inf(1)}, "-"},
		{"one value has no spread", []float64{0.5}, "0.500"},
		{"what is missing counts for nothing", []float64{0.5, math.NaN()}, "0.500"},
		{"over n-1", []float64{1, 2, 3}, "2.000 ± 1.000"},
		{"equal values", []float64{0.1, 0.1, 0.1}, "0.100 ± 0.000"},
	} {
		if got := Over(tt.values...).write("%.3f"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
	}
	if got := Over(1, 3).write("%+.1f"); got != "+2.0 ± 1.4" {
		t.Errorf("%s: a spread has no sign", got)
	}
}

// Moving all values moves the mean alone; scaling them scales both; order does not matter beyond rounding.
func TestOverProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-100, 100), 1, 20).Draw(t, "values")
		by, times := rapid.Float64Range(-100, 100).Draw(t, "by"), rapid.Float64Range(0.1, 10).Draw(t, "times")
		s := Over(values...)
		var moved, scaled []float64
		least, most := math.Inf(1), math.Inf(-1)
		for i := range values {
			v := values[len(values)-1-i]
			moved, scaled = append(moved, v+by), append(scaled, v*times)
			least, most = min(least, v), max(most, v)
		}
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > 1e-6 {
				t.Errorf("%s of %v: %v, want %v", what, values, got, want)
			}
		}
		near("mean after a move", Over(moved...).Mean, s.Mean+by)
		near("spread after a move", Over(moved...).Std, s.Std)
		near("mean after scaling", Over(scaled...).Mean, s.Mean*times)
		near("spread after scaling", Over(scaled...).Std, s.Std*times)
		if s.Mean < least-1e-9 || s.Mean > most+1e-9 || s.Std > (most-least)+1e-9 {
			t.Errorf("%v: mean %v, spread %v", values, s.Mean, s.Std)
		}
	})
}

func TestLearningCurves(t *testing.T) {
	_, curves := runs(4, 3, 20)
	curves[2].Seeds = curves[2].Seeds[:1]
	curves[3].Seeds[1] = curves[3].Seeds[1][:7] // of a run under way
	curves[1].Seeds[0][4].Loss = math.NaN()
	for _, format := range []string{"svg", "png"} {
		one, err := LearningCurves(curves, format)
		if err != nil {
			t.Fatal(err)
		}
		if two, _ := LearningCurves(curves, format); !bytes.Equal(one, two) {
			t.Errorf("%s: the same curves gave other bytes", format)
		}
		if format == "svg" {
			sameText(t, "curves.svg", string(one))
		} else if m, err := png.Decode(bytes.NewReader(one)); err != nil || m.Bounds().Dx() != 1600 {
			t.Errorf("a picture of %v, error %v; want one of 1600 pixels", m.Bounds(), err)
		}
	}
}

func TestLearningCurvesOddities(t *testing.T) {
	_, many := runs(30, 2, 3)
	_, long := runs(2, 1, 3)
	long[0].Name = strings.Repeat("long & <narrow> ", 30)
	for why, curves := range map[string][]Curve{
		"one epoch":             {{"a", [][]Point{{{1, 0.5, 2}}}}},
		"one epoch, two seeds":  {{"a", [][]Point{{{1, 0.5, 2}}, {{1, 0.7, 2}}}}},
		"all alike":             {{"a", [][]Point{{{1, 0, 0}, {2, 0, 0}}}}},
		"perfect":               {{"a", [][]Point{{{1, 1, 0.1}, {2, 1, 0.1}}}}},
		"some not begun":        {{"a", nil}, {"b", [][]Point{{{1, 0.5, 2}}}}},
		"diverged":              {{"a", [][]Point{{{1, 0.5, 2}, {2, 0.1, 1e30}}}}, {"b", [][]Point{{{1, 0.5, 2}, {2, 0.1, math.Inf(1)}}}}},
		"many runs":             many,
		"names beyond the page": long,
	} {
		text, err := LearningCurves(curves, "svg")
		if err != nil {
			t.Errorf("%s: %v", why, err)
			continue
		}
		for d := xml.NewDecoder(bytes.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: no XML: %v", why, err)
				break
			}
		}
		if strings.Contains(string(text), "NaN") {
			t.Errorf("%s: a coordinate is no number", why)
		}
	}
}

func TestLearningCurvesRefuses(t *testing.T) {
	_, some := runs(1, 1, 2)
	for _, tt := range []struct {
		why    string
		curves []Curve
		format string
		want   string
	}{
		{"no format that people look at", some, "eps", `"eps"`},
		{"no curves", nil, "svg", "no epochs"},
		{"no epochs", []Curve{{"a", [][]Point{{}}}}, "svg", "no epochs"},
		{"no numbers", []Curve{{"a", [][]Point{{{1, math.NaN(), 2}}}}}, "svg", "no epochs"},
	} {
		if _, err := LearningCurves(tt.curves, tt.format); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.why, err, tt.want)
		}
	}
}
