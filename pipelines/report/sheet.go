package report

import (
	"fmt"
	"image"
	"strings"

	"golang.org/x/image/draw"
)

// Cell is one picture of a contact sheet.
type Cell struct {
	Picture image.Image // nil leaves an empty frame, for a picture that could not be read
	Label   string      // stands under it; each line of it is cut to the width of the cell
}

// ContactSheet lays pictures out in rows of columns, from the top left on. Each gets size by size pixels: larger ones are
// scaled down, smaller ones stay as they are. Labels stand under them, as many lines as the longest label of all has.
//
// The error is for numbers that make no sheet: columns or size below 1, size below 16, no cell at all, or more than 100
// million pixels.
func ContactSheet(cells []Cell, columns, size int) (*image.RGBA, error) {
	const gap = 6
	if len(cells) == 0 || columns < 1 || size < 16 {
		return nil, fmt.Errorf("report: %d pictures in %d columns of %d pixels make no contact sheet: want at least 1, 1 and 16", len(cells), columns, size)
	}
	columns = min(columns, len(cells))
	text, err := newPen(min(max(float64(size)/12, 10), 18))
	if err != nil {
		return nil, err
	}
	lines := 0
	for _, c := range cells {
		if c.Label != "" {
			lines = max(lines, strings.Count(c.Label, "\n")+1)
		}
	}
	rows := (len(cells) + columns - 1) / columns
	across, down := size+gap, size+lines*text.height+2*gap
	if float64(across)*float64(columns)*float64(down)*float64(rows) > maxPixels {
		return nil, fmt.Errorf("report: %d pictures of %d pixels in %d columns make too large a contact sheet: show fewer, or smaller ones", len(cells), size, columns)
	}
	sheet := blank(columns*across+gap, rows*down+gap)
	for i, c := range cells {
		x, y := gap+i%columns*across, gap+i/columns*down
		place(sheet, image.Rect(x, y, x+size, y+size), c.Picture)
		for k, line := range strings.Split(c.Label, "\n") {
			text.write(sheet, x, y+size+2+k*text.height, text.fit(line, size), ink)
		}
	}
	return sheet, nil
}

// place draws a picture in the middle of r, scaled down to fit.
func place(sheet *image.RGBA, r image.Rectangle, picture image.Image) {
	fill(sheet, r, frame)
	if picture == nil {
		return
	}
	b := picture.Bounds()
	if b.Empty() {
		return
	}
	w, h := b.Dx(), b.Dy()
	if long := max(w, h); long > r.Dx() {
		w, h = max(w*r.Dx()/long, 1), max(h*r.Dy()/long, 1)
	}
	at := image.Rect(0, 0, w, h).Add(r.Min).Add(image.Pt((r.Dx()-w)/2, (r.Dy()-h)/2))
	draw.CatmullRom.Scale(sheet, at, picture, b, draw.Over, nil)
}
