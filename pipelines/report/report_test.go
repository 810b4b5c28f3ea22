package report

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/image/draw"
	"pgregory.net/rapid"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/metrics"
)

var update = flag.Bool("update", false, "write what the functions give as the golden files; then look at them")

func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// samePicture allows for what fused multiplications on other machines may change.
func samePicture(t *testing.T, name string, got *image.RGBA) {
	t.Helper()
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, got); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(bytes.NewReader(golden(t, name, b.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	if m.Bounds() != got.Rect {
		t.Fatalf("%s: %v, want %v", name, got.Rect, m.Bounds())
	}
	want := image.NewRGBA(m.Bounds())
	draw.Draw(want, want.Rect, m, image.Point{}, draw.Src)
	differ := 0
	for i := range want.Pix {
		if d := int(want.Pix[i]) - int(got.Pix[i]); d < -2 || d > 2 {
			differ++
		}
	}
	if differ > 0 {
		path := filepath.Join(t.ArtifactDir(), name)
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Error(err)
		}
		t.Errorf("%s: %d of %d values differ; run go test -artifacts and look at %s", name, differ, len(want.Pix), path)
	}
}

func sameText(t *testing.T, name, got string) {
	t.Helper()
	if diff := cmp.Diff(string(golden(t, name, []byte(got))), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// gradient is a picture whose corners can be told apart.
func gradient(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, color.RGBA{uint8(255 * x / w), uint8(255 * y / h), 96, 255})
		}
	}
	return m
}

func TestContactSheet(t *testing.T) {
	cells := []Cell{
		{gradient(200, 100), "wide\nsecond line"},
		{gradient(50, 160), "tall"},
		{gradient(20, 20), "smaller than its cell"},
		{nil, "nothing to show"},
		{gradient(2000, 1), "a label that is far too long for the width of its cell"},
		{gradient(300, 300).SubImage(image.Rect(100, 100, 250, 250)), "ünïcode Ж"},
		{image.NewRGBA(image.Rectangle{}), ""},
	}
	sheet, err := ContactSheet(cells, 4, 80)
	if err != nil {
		t.Fatal(err)
	}
	samePicture(t, "sheet.png", sheet)
}

func TestContactSheetColumns(t *testing.T) {
	one, err := ContactSheet([]Cell{{gradient(64, 64), ""}}, 100, 64)
	if err != nil {
		t.Fatal(err)
	}
	if w := one.Rect.Dx(); w > 80 {
		t.Errorf("a sheet of one picture of 64 pixels is %d wide: more columns than pictures leave no room empty", w)
	}
}

func TestContactSheetRefuses(t *testing.T) {
	some := []Cell{{gradient(8, 8), ""}}
	for _, c := range []struct {
		why           string
		cells         []Cell
		columns, size int
		want          string
	}{
		{"no pictures", nil, 4, 80, "0 pictures"},
		{"no columns", some, 0, 80, "0 columns"},
		{"too small to see", some, 4, 15, "15 pixels"},
		{"more memory than anybody has", make([]Cell, 1_000_000), 1000, 224, "show fewer"},
		{"a product that overflows", make([]Cell, 3), 3, math.MaxInt / 2, "show fewer"},
	} {
		if _, err := ContactSheet(c.cells, c.columns, c.size); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.why, err, c.want)
		}
	}
}

// confusion is of n classes with some of everything: full rows, an empty row, confusions, large numbers.
func confusion(n int) *metrics.Confusion {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("brand-%02d", i)
	}
	for i, name := range []string{"adidas", "cocacola", model.NoLogo, "stellaartois", "a class of a very long name indeed", "ups"} {
		if i < n {
			names[i] = name
		}
	}
	c := metrics.New(names)
	for i := range n {
		c.Counts[i][i] = 5 + i*7%23
		c.Counts[i][(i*5+2)%n] += i % 7
		c.Counts[i][(i*3+1)%n] += i % 3
	}
	c.Counts[2%n][2%n] = 2904
	if n > 4 {
		clear(c.Counts[4]) // no image is of this class
		c.Counts[0][4] = 3
	}
	return c
}

func TestConfusionMatrix(t *testing.T) {
	for _, n := range []int{3, 28} {
		m, err := ConfusionMatrix(confusion(n))
		if err != nil {
			t.Fatal(err)
		}
		samePicture(t, fmt.Sprintf("confusion%d.png", n), m)
	}
}

func TestConfusionMatrixSizes(t *testing.T) {
	for _, n := range []int{0, MaxClasses + 1} {
		if _, err := ConfusionMatrix(metrics.New(make([]string, n))); err == nil {
			t.Errorf("%d classes: no error", n)
		}
	}
	for _, n := range []int{1, 100, MaxClasses} {
		m, err := ConfusionMatrix(metrics.New(make([]string, n)))
		if err != nil {
			t.Fatalf("%d classes: %v", n, err)
		}
		if w := m.Rect.Dx(); w < 18*n || w > 18*n+600 {
			t.Errorf("%d classes: %d pixels wide", n, w)
		}
	}
}

// Right answers are blue and wrong ones red, whatever else the picture looks like.
func TestConfusionMatrixColours(t *testing.T) {
	c := metrics.New([]string{"a", "b"})
	c.Counts = [][]int{{1, 0}, {1, 0}}
	m, err := ConfusionMatrix(c)
	if err != nil {
		t.Fatal(err)
	}
	count := map[color.RGBA]int{}
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			count[m.RGBAAt(x, y)]++
		}
	}
	if count[right] < 1000 || count[wrong] < 1000 {
		t.Errorf("%d pixels are blue and %d red; want one whole field of each", count[right], count[wrong])
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[int]string{0: "0", 999: "999", 1000: "1k", 2904: "2.9k", 9999: "9.9k", 10_000: "10k", 999_999: "999k", 1_000_000: "1M", 2_500_000_000: "2.5G"} {
		if got := short(v); got != want {
			t.Errorf("short(%d) = %s, want %s", v, got, want)
		}
	}
}

func TestFit(t *testing.T) {
	p, err := newPen(12)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		s, w := rapid.String().Draw(t, "s"), rapid.IntRange(0, 300).Draw(t, "w")
		got := p.fit(s, w)
		if n := p.width(got); n > w {
			t.Errorf("%q is %d pixels wide, more than %d", got, n, w)
		}
		if got != s && got != "" && (!strings.HasSuffix(got, "…") || !utf8.ValidString(got)) {
			t.Errorf("%q does not show that it was cut", got)
		}
	})
}

func TestClassTable(t *testing.T) {
	c := metrics.New([]string{"adidas", "dhl", "guinness é", "unseen", model.NoLogo})
	c.Counts = [][]int{{2, 1, 0, 0, 0}, {0, 4, 0, 0, 0}, {0, 0, 0, 0, 5}, {0, 0, 0, 0, 0}, {1, 0, 0, 0, 1234}}
	sameText(t, "classes.txt", ClassTable(c))
	intervals := map[string]metrics.Interval{"accuracy": {0.989, 0.998}, "majority": {0.985, 0.995}, "false_alarm_rate": {0, 0.002}, "ece": {0.01, 0.03}}
	sameText(t, "figures.txt", Figures(c, 0.02, 0.015, intervals))
}

func TestFiguresOfFaultless(t *testing.T) {
	c := metrics.New([]string{"adidas", model.NoLogo})
	c.Count(slices.Repeat([]metrics.Answer{{Truth: 0, Class: 0}}, 35))
	if got := Figures(c, 0, 0, nil); !strings.Contains(got, "\nNo answer is wrong; of other images up to 8.2 % may be (95 % confidence).\n") {
		t.Errorf("no doubt is left of a model that was right 35 times:\n%s", got)
	}
	c.Count([]metrics.Answer{{Truth: 0, Class: 1}})
	if got := Figures(c, 0, 0, nil); strings.Contains(got, "No answer is wrong") {
		t.Errorf("one of 36 answers is wrong:\n%s", got)
	}
}

func TestFiguresOfNothing(t *testing.T) {
	sameText(t, "nothing.txt", Figures(metrics.New([]string{"adidas", model.NoLogo}), metrics.Figure(math.NaN()), metrics.Figure(math.NaN()), nil))
}

func TestSummary(t *testing.T) {
	many := map[string]int64{}
	for i := range 40 {
		many[fmt.Sprintf("brand-%02d", i)] = int64(1 + i*i)
	}
	for name, s := range map[string]Summary{
		"usual": {
			Rows: 1215, Scored: 1210, Rejected: 5, Elapsed: 4210 * time.Millisecond,
			Brands:  map[string]int64{model.NoLogo: 1100, "starbucks": 60, "adidas": 30, "ups": 17, "hp": 2, "nike": 1, "pepsi": 0},
			Reasons: map[string]int64{"decode truncated": 3, "fetch not-found": 1, "decode implausible-size": 1},
		},
		"many brands":    {Rows: 24_000_000, Scored: 24_000_000, Elapsed: 3*time.Hour + 12*time.Minute + 1600*time.Millisecond, Brands: many},
		"no logo":        {Rows: 3, Scored: 3, Elapsed: 612345678, Brands: map[string]int64{model.NoLogo: 3}},
		"all rejected":   {Rows: 2, Rejected: 2, Reasons: map[string]int64{"decode empty": 2}},
		"time unknown":   {Rows: 1, Scored: 1, Brands: map[string]int64{"a brand with a name that goes on and on and on": 1}},
		"nothing at all": {},
	} {
		sameText(t, strings.ReplaceAll(name, " ", "-")+".txt", s.String())
	}
}

// A summary neither loses counts nor runs over its lines, whatever it is given.
func TestSummaryProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Summary{Brands: rapid.MapOf(rapid.StringMatching(`[a-z\-é ]{1,60}`), rapid.Int64Range(0, 1e9)).Draw(t, "brands")}
		for _, n := range s.Brands {
			s.Scored += n
		}
		s.Rows = s.Scored
		for _, line := range strings.Split(s.String(), "\n") {
			if n := utf8.RuneCountInString(line); n > 84 {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	})
}

func TestBar(t *testing.T) {
	for columns, want := range map[float64]string{0: "▏", 0.01: "▏", 0.5: "▌", 1: "█", 2.25: "██▎", 2.99: "███"} {
		if got := bar(columns); got != want {
			t.Errorf("bar(%v) = %q, want %q", columns, got, want)
		}
	}
}

func ExampleSummary() {
	fmt.Print(Summary{Rows: 3, Scored: 2, Rejected: 1, Brands: map[string]int64{"dhl": 1, "no-logo": 1}, Reasons: map[string]int64{"decode empty": 1}})
	// Output:
	// 3 rows: 2 scored, 1 rejected
	//
	// logos found in 1 image (50.0 %), of 1 brand
	//   dhl  1  ██████████████████████████████
	//
	// rejected
	//   decode empty  1  ██████████████████████████████
}
