package report

import (
	"fmt"
	"image"
	"image/color"
	"strconv"

	"github.com/logobeam/logobeam/model/metrics"
)

// MaxClasses is the most classes that ConfusionMatrix draws.
const MaxClasses = 300

var (
	right = color.RGBA{16, 86, 172, 255} // of the diagonal
	wrong = color.RGBA{196, 48, 24, 255} // of everything else
)

// ConfusionMatrix draws what was true (rows) against what was answered (columns). A field's shade is its share of its row,
// blue where the answer was right and red where not, with the number of images in it. At most MaxClasses classes.
func ConfusionMatrix(c *metrics.Confusion) (*image.RGBA, error) {
	n := len(c.Classes)
	if n < 1 || n > MaxClasses {
		return nil, fmt.Errorf("report: a confusion matrix of %d classes cannot be drawn: want 1 to %d", n, MaxClasses)
	}
	// The more classes, the smaller the fields, down to what can still be read.
	field := min(max(1100/n, 18), 56)
	names, err := newPen(min(max(float64(field)*0.5, 11), 16))
	if err != nil {
		return nil, err
	}
	numbers, err := newPen(min(max(float64(field)*0.36, 8), 15))
	if err != nil {
		return nil, err
	}
	caption, err := newPen(14)
	if err != nil {
		return nil, err
	}

	const gap, longest = 10, 180
	label := 0
	for _, name := range c.Classes {
		label = max(label, min(names.width(name), longest))
	}
	left := gap + caption.height + gap + label + gap
	top := gap + caption.height + gap + label + gap
	const legend = "blue: right, red: wrong; the shade is the share of the row"
	width := max(left+n*field, 2*gap+caption.height+caption.width(legend)) + 2*gap
	m := blank(width, top+n*field+gap+caption.height+gap)

	caption.write(m, left, gap, "answered", faint)
	caption.writeUp(m, gap, top+caption.width("true")+2, "true", faint)
	caption.write(m, 2*gap+caption.height, top+n*field+gap, legend, faint)

	for i, name := range c.Classes {
		name = names.fit(name, longest)
		middle := i*field + (field-names.height)/2
		names.write(m, left-gap/2-names.width(name), top+middle, name, ink)
		names.writeUp(m, left+middle, top-gap/2, name, ink)
	}
	for t, row := range c.Counts {
		total := 0
		for _, v := range row {
			total += v
		}
		for p, v := range row {
			r := image.Rect(0, 0, field-1, field-1).Add(image.Pt(left+p*field, top+t*field))
			share := float64(v) / float64(max(total, 1))
			full := wrong
			if t == p {
				full = right
			}
			shade := color.RGBA{246, 247, 249, 255}
			if v > 0 { // even one in a thousand is to be seen
				shade = mix(shade, full, 0.12+0.88*share)
			}
			fill(m, r, shade)
			if v == 0 {
				continue
			}
			colour := ink
			if share > 0.45 {
				colour = paper
			}
			s := strconv.Itoa(v)
			if v > 9999 || numbers.width(s) > field {
				s = short(v)
			}
			if w := numbers.width(s); w <= field {
				numbers.write(m, r.Min.X+(r.Dx()-w)/2, r.Min.Y+(r.Dy()-numbers.height)/2, s, colour)
			}
		}
	}
	return m, nil
}

// short is a number in at most four letters.
func short(v int) string {
	for _, unit := range []struct {
		size int
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= unit.size {
			if v < 10*unit.size {
				return strconv.FormatFloat(float64(v/(unit.size/10))/10, 'f', -1, 64) + unit.name
			}
			return strconv.Itoa(v/unit.size) + unit.name
		}
	}
	return strconv.Itoa(v)
}
