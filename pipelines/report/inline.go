package report

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/logobeam/logobeam/model/metrics"
)

// Plots that stand in a page. They are small enough to be read on a phone, and their colours are the page's, so that they
// are light or dark with it.

// Size of a plot in a page, in the units of its drawing; it is shown as wide as there is room.
const (
	inlineWidth  = 330
	inlineHeight = 200
)

// inlineColours are the colours of plots, and what the page calls them.
var inlineColours = strings.NewReplacer("#FFFFFF", "var(--card)", "#202124", "var(--ink)", "#8C8F94", "var(--soft)", "#E8EAED", "var(--line)",
	"#1056AC", "var(--mark)", "#0072B2", "var(--c0)", "#D55E00", "var(--c1)", "#009E73", "var(--c2)", "#E69F00", "var(--c3)", "#CC79A7", "var(--c4)",
	"#56B4E9", "var(--c5)", "#000000", "var(--ink)", "font-family:Liberation Sans;", "")

// inline draws a plot, under the names of its curves where there are several. What it shows is told in words to those who do
// not see it.
func inline(p *plot.Plot, what string, names ...string) (template.HTML, error) {
	key := newKey(names, inlineWidth)
	height := inlineHeight + key.height()
	canvas := vgsvg.New(inlineWidth, height)
	all := draw.New(canvas)
	key.draw(draw.Crop(all, 0, 0, inlineHeight, 0))
	p.Draw(draw.Crop(all, 0, -4, 0, -key.height()-4))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	_, drawing, _ := strings.Cut(b.String(), "<svg")
	_, drawing, ok := strings.Cut(drawing, ">")
	if !ok {
		return "", fmt.Errorf("report: the plotting library has drawn no SVG")
	}
	head := fmt.Sprintf(`<svg viewBox="0 0 %d %.0f" role="img" aria-label="%s">`, inlineWidth, float64(height), template.HTMLEscapeString(what))
	return template.HTML(head + inlineColours.Replace(drawing)), nil
}

// axes is a plot without anything on it, its axes named.
func axes(x, y string) *plot.Plot {
	p := plot.New()
	style(p)
	p.X.Label.Text, p.Y.Label.Text = x, y
	return p
}

// curvesOf draws lines over a common x. What is no finite number is left out. A line may have no points.
func curvesOf(x, y string, lines ...plotter.XYs) (*plot.Plot, error) {
	p := axes(x, y)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for i, points := range lines {
		var known plotter.XYs
		for _, xy := range points {
			if finite(xy.X) && finite(xy.Y) {
				known = append(known, xy)
				p.X.Min, p.X.Max = min(p.X.Min, xy.X), max(p.X.Max, xy.X)
				p.Y.Min, p.Y.Max = min(p.Y.Min, xy.Y), max(p.Y.Max, xy.Y)
			}
		}
		if len(known) == 0 {
			continue
		}
		drawn, err := curve(known, i)
		if err != nil {
			return nil, err
		}
		left, right, least, most := p.X.Min, p.X.Max, p.Y.Min, p.Y.Max
		p.Add(drawn) // which widens axes
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = left, right, least, most
	}
	if p.X.Min > p.X.Max {
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	}
	if p.X.Min == p.X.Max {
		p.X.Max++
	}
	round(&p.Y)
	return p, nil
}

// columns draws bars side by side over 0 to 1, filled where filled says so.
func columns(p *plot.Plot, heights []float64, filled func(i int) bool) error {
	width := 1 / float64(max(len(heights), 1))
	for i, h := range heights {
		if !(h > 0) {
			continue
		}
		left := float64(i)*width + width/20
		bar, err := plotter.NewPolygon(plotter.XYs{{X: left}, {X: left, Y: h}, {X: left + 0.9*width, Y: h}, {X: left + 0.9*width}})
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		bar.Color = right
		if !filled(i) {
			bar.Color = nil
		}
		bar.LineStyle = draw.LineStyle{Color: right, Width: 1}
		p.Add(bar)
	}
	return nil
}

// histogram draws how many of what have which probability.
func histogram(counts []int64, what string) (template.HTML, error) {
	p := axes("probability", what)
	heights := make([]float64, len(counts))
	p.Y.Max = 1
	for i, n := range counts {
		heights[i] = float64(n)
		p.Y.Max = max(p.Y.Max, float64(n))
	}
	if err := columns(p, heights, func(int) bool { return true }); err != nil {
		return "", err
	}
	p.X.Min, p.X.Max, p.Y.Min = 0, 1, 0
	round(&p.Y)
	return inline(p, "Histogram of probabilities: "+what)
}

// fewest is how many photographs a share of right answers is drawn solid for.
const fewest = 10

// reliability draws the share of right answers against their probability. Bars of fewer than fewest answers are outlines,
// as they say little.
func reliability(bins []metrics.Bin) (template.HTML, error) {
	p := axes("probability of the answer", "share of right answers")
	heights := make([]float64, len(bins))
	for i, b := range bins {
		if b.Images > 0 {
			heights[i] = float64(b.Right)
		}
	}
	if err := columns(p, heights, func(i int) bool { return bins[i].Images >= fewest }); err != nil {
		return "", err
	}
	diagonal, err := plotter.NewLine(plotter.XYs{{}, {X: 1, Y: 1}})
	if err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	diagonal.LineStyle = draw.LineStyle{Color: ink, Width: 1, Dashes: []vg.Length{4, 3}}
	p.Add(diagonal)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	return inline(p, "Share of right answers by their probability; where probabilities can be believed the bars end at the dashed diagonal")
}

// unit is what a length of time is shown in.
func unit(t time.Duration) (name string, of time.Duration) {
	switch {
	case t < 3*time.Minute:
		return "seconds", time.Second
	case t < 3*time.Hour:
		return "minutes", time.Minute
	}
	return "hours", time.Hour
}
