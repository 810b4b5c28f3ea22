package report

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"strconv"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	plotfont "gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Curve is how one way of training went, with one seed or several.
type Curve struct {
	Name  string
	Seeds [][]Point // of each seed the epochs, in any order
}

// A Point is what an epoch came to. A figure that is no finite number is left out.
type Point struct {
	Epoch   int     // from 1
	MacroF1 float64 // on validation
	Loss    float64 // in training
}

// The colours that Okabe and Ito (Color Universal Design, 2008) found to be told apart by everybody, but for yellow, which
// is too pale on white. After the last they begin again, with other dashes.
var (
	hues = []color.NRGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {230, 159, 0, 255}, {204, 121, 167, 255},
		{86, 180, 233, 255}, {0, 0, 0, 255}}
	dashes = [][]vg.Length{nil, {6, 3}, {1.5, 2.5}, {8, 3, 1.5, 3}}
)

// Sizes of the picture in points, of which 3 are 4 pixels of a browser.
const (
	plotWidth   = 600
	panelHeight = 230
	plotMargin  = 9
	keyLine     = 26 // length of the line beside a name
	plotDPI     = 192
)

// LearningCurves draws macro-F1 on validation and the loss in training against the epoch: a line for the mean over the
// seeds of each curve, and a band of one standard deviation where there are several. format is svg (800 pixels wide) or png
// (twice as many). The same curves give the same bytes.
func LearningCurves(curves []Curve, format string) ([]byte, error) {
	if format != "svg" && format != "png" {
		return nil, fmt.Errorf("report: a plot cannot be drawn as %q: want svg or png", format)
	}
	above, err := panel("macro-F1 on validation", curves, func(p Point) float64 { return p.MacroF1 })
	if err != nil {
		return nil, err
	}
	below, err := panel("loss in training", curves, func(p Point) float64 { return p.Loss })
	if err != nil {
		return nil, err
	}
	above.Y.Max = min(above.Y.Max, 1)
	below.Y.Max = min(below.Y.Max, 2*usualStart(curves)) // a run that diverged does not flatten the others
	below.X.Label.Text = "epoch"
	for _, p := range []*plot.Plot{above, below} {
		p.X.Min, p.X.Max = 1, 2
		for _, c := range curves {
			for _, seed := range c.Seeds {
				for _, e := range seed {
					p.X.Max = max(p.X.Max, float64(e.Epoch))
				}
			}
		}
		round(&p.Y)
	}

	var names []string
	for _, c := range curves {
		names = append(names, c.Name)
	}
	key := newKey(names, plotWidth)
	size := struct{ w, h vg.Length }{plotWidth, 2*panelHeight + key.height() + 3*plotMargin}
	var canvas vg.CanvasWriterTo
	if format == "svg" {
		canvas = vgsvg.New(size.w, size.h)
	} else {
		canvas = vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(size.w, size.h), vgimg.UseDPI(plotDPI))}
	}
	all := draw.New(canvas)
	all.SetColor(paper)
	all.Fill(all.Rectangle.Path())
	inner := draw.Crop(all, plotMargin, -2*plotMargin, plotMargin, -plotMargin)
	key.draw(draw.Crop(inner, 0, 0, 0, key.height()-(inner.Max.Y-inner.Min.Y)))
	panels := draw.Crop(inner, 0, 0, key.height()+plotMargin, 0)
	rows := [][]*plot.Plot{{above}, {below}}
	for i, row := range plot.Align(rows, draw.Tiles{Rows: 2, Cols: 1, PadY: plotMargin}, panels) {
		rows[i][0].Draw(row[0])
	}

	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	// Liberation has the widths of Arial, which stands in where it is missing.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

// panel is a plot of one figure of the curves.
func panel(name string, curves []Curve, figure func(Point) float64) (*plot.Plot, error) {
	p := plot.New()
	style(p)
	p.Y.Label.Text = name
	p.X.Tick.Marker = plot.TickerFunc(wholeTicks)
	p.Y.Min, p.Y.Max = math.Inf(1), math.Inf(-1)

	var lines []plot.Plotter // above all bands
	for i, c := range curves {
		var points, upper, lower plotter.XYs
		for _, at := range c.spread(figure) {
			points = append(points, plotter.XY{X: float64(at.epoch), Y: at.Mean})
			if at.N > 1 {
				upper = append(upper, plotter.XY{X: float64(at.epoch), Y: at.Mean + at.Std})
				lower = append(lower, plotter.XY{X: float64(at.epoch), Y: at.Mean - at.Std})
			}
		}
		for _, xys := range []plotter.XYs{points, upper, lower} {
			for _, xy := range xys {
				p.Y.Min, p.Y.Max = min(p.Y.Min, xy.Y), max(p.Y.Max, xy.Y)
			}
		}
		if len(upper) > 1 {
			slices.Reverse(lower)
			band, err := plotter.NewPolygon(append(upper, lower...))
			if err != nil {
				return nil, fmt.Errorf("report: %w", err)
			}
			shade := hues[i%len(hues)]
			shade.A = 36
			band.Color, band.LineStyle.Width = shade, 0
			p.Add(band)
		}
		if len(points) > 0 {
			drawn, err := curve(points, i)
			if err != nil {
				return nil, err
			}
			lines = append(lines, drawn)
		}
	}
	if len(lines) == 0 {
		return nil, errors.New("report: learning curves of no epochs cannot be drawn")
	}
	least, most := p.Y.Min, p.Y.Max
	p.Add(lines...) // which widens axes to all that is drawn
	p.Y.Min, p.Y.Max = least, most
	return p, nil
}

// style gives a plot its letters, axes and grid.
func style(p *plot.Plot) {
	p.BackgroundColor = paper
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Padding, a.LineStyle.Color = ink, 0, faint
		a.Label.TextStyle, a.Tick.Label = lettering(10.5, a.Label.TextStyle), lettering(9.5, a.Tick.Label)
		a.Tick.LineStyle.Color, a.Tick.Length = faint, 4
		a.Tick.Marker = plot.TickerFunc(func(least, most float64) []plot.Tick { return ticks(least, most, step(least, most)) })
	}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = frame
	p.Add(grid)
}

// wholeTicks are at whole numbers from 1 on, such as epochs.
func wholeTicks(least, most float64) []plot.Tick {
	epochs := ticks(least, most, max(1, step(least, most)))
	if len(epochs) == 0 || epochs[0].Value > 1 {
		epochs = append(epochs, plot.Tick{Value: 1, Label: "1"})
	}
	return epochs
}

// curve is the i-th curve: a dot where that is one point, since a line of that would not be seen.
func curve(points plotter.XYs, i int) (plot.Plotter, error) {
	if len(points) == 1 {
		dot, err := plotter.NewScatter(points)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		dot.GlyphStyle = draw.GlyphStyle{Color: hues[i%len(hues)], Radius: 2.5, Shape: draw.CircleGlyph{}}
		return dot, nil
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	line.LineStyle = stroke(i)
	return line, nil
}

// at is the spread of a figure over the seeds at an epoch.
type at struct {
	epoch int
	Spread
}

func (c Curve) spread(figure func(Point) float64) []at {
	values := map[int][]float64{}
	for _, seed := range c.Seeds {
		for _, p := range seed {
			values[p.Epoch] = append(values[p.Epoch], figure(p))
		}
	}
	var list []at
	for _, epoch := range slices.Sorted(maps.Keys(values)) {
		if s := Over(values[epoch]...); s.N > 0 {
			list = append(list, at{epoch, s})
		}
	}
	return list
}

// usualStart is the median of the losses in the first epoch that is known of each curve.
func usualStart(curves []Curve) float64 {
	var first []float64
	for _, c := range curves {
		if s := c.spread(func(p Point) float64 { return p.Loss }); len(s) > 0 {
			first = append(first, s[0].Mean)
		}
	}
	slices.Sort(first)
	return first[len(first)/2]
}

// step is the least of 1, 2 and 5 times a power of ten of which at most six make up a range.
func step(least, most float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10((most-least)/6)))
	for _, s := range []float64{1, 2, 5} {
		if s*power*6 >= most-least {
			return s * power
		}
	}
	return 10 * power
}

// round widens an axis to whole steps, and gives one of a single value some height.
func round(a *plot.Axis) {
	if !(a.Max-a.Min > 1e-6*max(math.Abs(a.Max), 1e-3)) {
		a.Min, a.Max = a.Min-0.05, a.Max+0.05
	}
	s := step(a.Min, a.Max)
	a.Min, a.Max = s*math.Floor(a.Min/s+1e-9), s*math.Ceil(a.Max/s-1e-9)
}

// ticks are the multiples of s in a range.
func ticks(least, most, s float64) []plot.Tick {
	digits := max(0, int(-math.Floor(math.Log10(s)+1e-9)))
	var list []plot.Tick
	for k := math.Ceil(least/s-1e-9) + 0; k*s <= most+1e-9*s; k++ { // + 0: not -0
		list = append(list, plot.Tick{Value: k * s, Label: strconv.FormatFloat(k*s, 'f', digits, 64)})
	}
	return list
}

func stroke(i int) draw.LineStyle {
	return draw.LineStyle{Color: hues[i%len(hues)], Width: 1.5, Dashes: dashes[i/len(hues)%len(dashes)]}
}

// lettering is a style in another size, without serifs.
func lettering(size float64, s text.Style) text.Style {
	s.Font = plotfont.Font{Typeface: "Liberation", Variant: "Sans", Style: font.StyleNormal, Size: plotfont.Length(size)}
	s.Color = ink
	return s
}

// key is the names of the curves with their lines, in as many columns as they leave room for.
type key struct {
	names   []string
	style   text.Style
	columns int
	width   vg.Length // of a column
}

const keyHeight = 15

func newKey(names []string, width vg.Length) key {
	k := key{style: lettering(10, text.Style{Handler: plot.DefaultTextHandler, XAlign: text.XLeft, YAlign: text.YCenter})}
	room := width - 3*plotMargin
	for _, name := range names {
		name := []rune(name)
		for cut := len(name); k.style.Width(string(name)) > room-keyLine-2*plotMargin; {
			cut--
			name = append(name[:cut:cut], '…')
		}
		k.names = append(k.names, string(name))
		k.width = max(k.width, keyLine+2*plotMargin+k.style.Width(string(name)))
	}
	k.columns = max(1, min(int(room/max(k.width, 1)), len(names)))
	return k
}

func (k key) rows() int { return (len(k.names) + k.columns - 1) / k.columns }

func (k key) height() vg.Length { return vg.Length(k.rows() * keyHeight) }

// draw fills column after column.
func (k key) draw(c draw.Canvas) {
	for i, name := range k.names {
		x := c.Min.X + vg.Length(i/k.rows())*k.width
		y := c.Max.Y - vg.Length(i%k.rows())*keyHeight - keyHeight/2
		c.StrokeLine2(stroke(i), x, y, x+keyLine, y)
		c.FillText(k.style, vg.Point{X: x + keyLine + plotMargin/2, Y: y}, name)
	}
}
