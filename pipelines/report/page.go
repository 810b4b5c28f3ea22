package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/jpeg"

	"golang.org/x/image/draw"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is what a page says. The template escapes all of it but pictures, which are made here: brands, posts and details are
// written by strangers.
type page struct {
	Title, Lead string
	Sections    []section
	Foot        string
}

// section is a part of a page under a heading: what of it there is, in this order.
type section struct {
	ID, Title string
	Tiles     []tile
	Text      []string
	Command   string
	Facts     []Fact
	Charts    []chart
	Tables    []table
	Sheets    []sheet
}

// Fact is a name with what is to be said of it.
type Fact struct{ Name, Value string }

type tile struct{ Value, Name, Note string }

type chart struct {
	Title string
	SVG   template.HTML
}

// table has columns of a kind: text "", "number", "brief" text that stays on one line, "code", "bar" or "bins".
type table struct {
	Caption string
	Note    string
	Class   string
	Fold    bool // it is opened by whoever wants it
	Columns []column
	Rows    [][]tableCell
}

type column struct{ Name, Kind string }

type tableCell struct {
	Text, Kind string
	Bar        float64 // per cent
	Bins       []bin
}

// bin is a bar of a small histogram, in its 100 x 20.
type bin struct{ X, Y, W, H float64 }

// add adds a row. A float64 is the length of a bar in per cent, []int64 a small histogram, a cell itself, and every other
// value is text.
func (t *table) add(values ...any) {
	row := make([]tableCell, len(t.Columns))
	for i, v := range values {
		row[i].Kind = t.Columns[i].Kind
		switch v := v.(type) {
		case float64:
			row[i].Bar = v
		case []int64:
			row[i].Bins = bins(v)
		case tableCell:
			row[i] = v
		default:
			row[i].Text = fmt.Sprint(v)
		}
	}
	t.Rows = append(t.Rows, row)
}

// bins lays a histogram out, its highest bar as high as there is room. What is there at all is to be seen.
func bins(counts []int64) []bin {
	most := int64(1)
	for _, n := range counts {
		most = max(most, n)
	}
	var list []bin
	w := 100 / float64(max(len(counts), 1))
	for i, n := range counts {
		if n > 0 {
			h := max(20*float64(n)/float64(most), 1)
			list = append(list, bin{float64(i) * w, 20 - h, w - 0.5, h})
		}
	}
	return list
}

type sheet struct {
	Title       string
	Photographs []photograph
}

type photograph struct {
	Src   template.URL // data:, empty for a picture that could not be read
	W, H  int
	Alt   string
	Lines []string
}

// Photograph is a picture on a page, and what stands under it.
type Photograph struct {
	Picture image.Image // nil leaves an empty frame
	Lines   []string
}

// thumbnailSide is the longer side of a picture on a page in pixels, of which a screen may show two as one.
const thumbnailSide = 168

// thumbnail puts a picture, scaled down, into the page itself.
func (p Photograph) thumbnail(alt string) (photograph, error) {
	shown := photograph{Alt: alt, Lines: p.Lines, W: thumbnailSide, H: thumbnailSide}
	if p.Picture == nil || p.Picture.Bounds().Empty() {
		return shown, nil
	}
	b := p.Picture.Bounds()
	w, h := b.Dx(), b.Dy()
	if long := max(w, h); long > thumbnailSide {
		w, h = max(w*thumbnailSide/long, 1), max(h*thumbnailSide/long, 1)
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.CatmullRom.Scale(small, small.Rect, p.Picture, b, draw.Over, nil)
	var file bytes.Buffer
	if err := jpeg.Encode(&file, small, &jpeg.Options{Quality: 78}); err != nil {
		return shown, fmt.Errorf("report: %w", err)
	}
	shown.Src = template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(file.Bytes()))
	shown.W, shown.H = w, h
	return shown, nil
}

func (p page) html() ([]byte, error) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return b.Bytes(), nil
}
