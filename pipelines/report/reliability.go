package report

import (
	"fmt"
	"image"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/logobeam/logobeam/model/metrics"
)

// ReliabilityDiagram draws the share of right answers (bars) against their probability, in the bins of metrics.Reliability.
// Where probabilities can be believed the bars end at the diagonal. A bar is the paler the fewer of the images are in it.
func ReliabilityDiagram(bins []metrics.Bin) (image.Image, error) {
	if len(bins) == 0 {
		return nil, fmt.Errorf("report: a reliability diagram wants at least 1 bin")
	}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "probability of the answer", "share of right answers"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	most := 0
	for _, b := range bins {
		most = max(most, b.Images)
	}
	width := 1 / float64(len(bins))
	for i, b := range bins {
		if b.Images == 0 {
			continue
		}
		left := float64(i) * width
		bar, err := plotter.NewPolygon(plotter.XYs{{X: left}, {X: left, Y: float64(b.Right)}, {X: left + width, Y: float64(b.Right)}, {X: left + width}})
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		bar.Color = mix(color.RGBA{246, 247, 249, 255}, right, 0.2+0.8*float64(b.Images)/float64(most))
		bar.LineStyle = draw.LineStyle{Color: right, Width: vg.Points(0.5)}
		p.Add(bar)
	}
	diagonal, err := plotter.NewLine(plotter.XYs{{}, {X: 1, Y: 1}})
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	diagonal.LineStyle = draw.LineStyle{Color: ink, Width: vg.Points(1), Dashes: []vg.Length{vg.Points(4), vg.Points(3)}}
	p.Add(diagonal)

	const side = 12 * vg.Centimeter
	c := vgimg.New(side, side)
	p.Draw(draw.New(c))
	return c.Image(), nil
}
