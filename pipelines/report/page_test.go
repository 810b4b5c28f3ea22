package report

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/metrics"
)

// hostile is what a stranger may write into a listing, and what nothing may come of.
const hostile = `<script src="https://example.org/x.js">alert(1)</script>" onload=alert(1) '`

func someScored() Scored {
	s := Scored{Place: "scored", Program: "logobeam test", Facts: []Fact{{"Listing", "posts.csv"}, {"--precision", "int8"}}, Rows: 1003, Scored: 1000, Rejected: 3, Retryable: 1,
		Brands: map[string]int64{model.NoLogo: 900, "adidas": 70, hostile: 30}, Read: 1000, Probabilities: map[string][]int64{}, Calibration: someCalibration()}
	for brand, n := range s.Brands {
		counts := make([]int64, ProbabilityBins)
		counts[19], counts[9] = n-n/10, n/10
		s.Probabilities[brand] = counts
	}
	s.Rejects = []Rejected{
		{"fetch", "timeout", "it took too long", 2, []Example{{"17", "https://example.org/a.jpg?...", "no answer in 30s"}, {hostile, hostile, hostile}}},
		{"decode", "empty", "no bytes", 1, []Example{{"18", strings.Repeat("very-long-name-", 30), "0 bytes"}}},
	}
	s.Photographs = []BrandPhotographs{{"adidas", []Photograph{{gradient(40, 30), []string{"0.99", "17"}}, {nil, []string{"0.98", hostile}}}, []Photograph{{gradient(30, 40), []string{"0.31", "19"}}}}}
	c := Course{Began: time.Date(2026, 11, 26, 1, 0, 0, 0, time.UTC), Elapsed: 10 * time.Minute, Rows: 1003, Workers: 2, Hosts: []Host{{"https://slow.example.org", 20, 3, 1500 * time.Millisecond}}}
	for k := range time.Duration(11) {
		done := int64(k) * 100
		c.Moments = append(c.Moments, Moment{k * time.Minute, done, []StageCount{{"fetch", done, k * time.Minute}, {"decode", done, k * 50 * time.Second}, {"infer", done, k * 40 * time.Second}, {"write", done, k * time.Second}}})
	}
	s.Runs = []Course{c}
	return s
}

func someCalibration() *model.Calibration {
	return &model.Calibration{Temperature: 0.8, Images: 8, ECE: 0.05, ECEBefore: 0.2, Answers: map[string]model.BrandAnswers{
		"adidas": {Right: []float32{0.99, 0.97, 0.9, 0.55}, Wrong: []float32{0.5}}, model.NoLogo: {Right: []float32{0.95, 0.8}, Wrong: []float32{0.6}}}}
}

func someTrained() Trained {
	c := metrics.New([]string{"adidas", hostile, model.NoLogo})
	c.Counts = [][]int{{7, 1, 2}, {0, 0, 1}, {1, 0, 88}}
	t := Trained{Place: "my-model", Program: "logobeam test", Split: "validation", Command: "logobeam train data --out my-model", Facts: []Fact{{"Seed", "1"}}, Confusion: c,
		ECE: 0.06, ChanceECE: 0.05, Intervals: map[string]metrics.Interval{"macro_f1": {0.4, 0.7}}, Calibration: someCalibration(),
		Mistakes: []Photograph{{gradient(40, 30), []string{hostile, "-> adidas 0.97"}}}, AllMistakes: 5}
	for e := 1; e <= 5; e++ {
		f := metrics.Figure(0.1 * float64(e))
		t.Epochs = append(t.Epochs, EpochPoint{Point{e, float64(f), 3 / float64(e)}, f + 0.2, f, f, 12.5, e == 5})
	}
	return t
}

type htmler interface{ HTML() ([]byte, error) }

// pages are those with all there may be, and those with nothing.
func pages(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for name, p := range map[string]htmler{"scored.html": someScored(), "trained.html": someTrained(), "nothing-scored.html": Scored{NoPhotographs: "There are none."},
		"nothing-trained.html": Trained{Confusion: metrics.New([]string{"adidas", model.NoLogo})}} {
		page, err := p.HTML()
		if err != nil {
			t.Fatal(name, ": ", err)
		}
		again, err := p.HTML()
		if err != nil || !bytes.Equal(page, again) {
			t.Errorf("%s: the same page has other bytes: %v", name, err)
		}
		all[name] = page
	}
	return all
}

func TestPages(t *testing.T) {
	for name, page := range pages(t) {
		sameText(t, name, string(page))
		if strings.Contains(string(page), "<script") {
			t.Errorf("%s has a script", name)
		}
		// What strangers write is text alone, and nothing leads out of the page.
		for z := html.NewTokenizer(bytes.NewReader(page)); z.Next() != html.ErrorToken; {
			for _, a := range z.Token().Attr {
				leads := a.Key == "src" || a.Key == "href" || a.Key == "srcset" || a.Key == "action"
				if leads && !strings.HasPrefix(a.Val, "#") && !strings.HasPrefix(a.Val, "data:") || strings.HasPrefix(a.Key, "on") {
					t.Errorf("%s has %s=%q", name, a.Key, a.Val)
				}
			}
		}
		if strings.Contains(string(page), "ZgotmplZ") {
			t.Errorf("%s: the template has refused something", name)
		}
	}
}

// A page stays one that a browser can take.
func TestPageOfManyBrands(t *testing.T) {
	s := Scored{Rows: 1e9, Scored: 1e9, Brands: map[string]int64{}}
	for i := range 5000 {
		s.Brands[fmt.Sprintf("brand-%d", i)] = int64(i)
	}
	page, err := s.HTML()
	if err != nil || len(page) > 300_000 || !strings.Contains(string(page), "4,799 more brands") {
		t.Errorf("%d bytes, %v: want a short page that says how much it leaves out", len(page), err)
	}
}

// measure is a page that has another in a frame of a width, and writes what it sees there: elements that make it wider, what it
// asks for, and text of too little contrast (WCAG 2.2 AA: 4.5) with its ground.
const measure = `<!DOCTYPE html><meta charset="utf-8"><iframe id="f" style="border:0;width:%dpx;height:3000px" srcdoc="%s"></iframe><pre id="out">nothing</pre>
<script>
const rgb = c => { const n = c.match(/[\d.]+(e-?\d+)?/g).map(Number); return c.startsWith("color(") ? n.slice(0, 3).concat(n[3] ?? 1) : [n[0]/255, n[1]/255, n[2]/255, n[3] ?? 1]; };
const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v <= 0.04045 ? v/12.92 : ((v+0.055)/1.055)**2.4); return 0.2126*r + 0.7152*g + 0.0722*b; };
document.getElementById("f").onload = e => {
  const d = e.target.contentDocument, w = e.target.contentWindow, said = [];
  if (d.documentElement.scrollWidth > w.innerWidth) said.push("wide: " + d.documentElement.scrollWidth);
  for (const r of w.performance.getEntriesByType("resource")) if (!r.name.startsWith("data:")) said.push("asked: " + r.name);
  const seen = new Set();
  for (const n of d.querySelectorAll("body *")) {
    if (![...n.childNodes].some(c => c.nodeType === 3 && c.data.trim()) || !n.getClientRects().length) continue;
    const style = w.getComputedStyle(n);
    const ink = rgb(n instanceof w.SVGElement ? style.fill : style.color);
    let g = n, ground;
    for (; g; g = g.parentElement) { ground = rgb(w.getComputedStyle(g).backgroundColor); if (ground[3] > 0) break; }
    const a = light(ink), b = light(ground), contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const what = n.tagName + "." + (n.className.baseVal ?? n.className);
    if (contrast < 4.5 && !seen.has(what)) { seen.add(what); said.push("contrast " + contrast.toFixed(2) + ": " + what + " " + n.textContent.slice(0, 20)); }
  }
  let level = 0;
  for (const h of d.querySelectorAll("h1, h2, h3")) { const now = +h.tagName[1]; if (now > level + 1) said.push("heading: " + h.textContent); level = now; }
  for (const n of d.querySelectorAll("img:not([alt]), svg:not([aria-hidden]):not([aria-label])")) said.push("no text: " + n.outerHTML.slice(0, 60));
  document.getElementById("out").textContent = "measured\n" + said.join("\n");
};
</script>`

// TestPagesInBrowser looks at the pages with headless Chromium, where there is one.
func TestPagesInBrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	out := regexp.MustCompile(`(?s)<pre id="out">(.*?)</pre>`)
	dir := t.TempDir()
	all := pages(t)
	for _, tt := range []struct {
		page  string
		width int
		dark  bool
	}{{"scored.html", 375, false}, {"trained.html", 375, true}, {"scored.html", 1280, true}, {"trained.html", 1280, false}} {
		scheme := map[bool]string{false: "1", true: "0"}[tt.dark]
		path := filepath.Join(dir, fmt.Sprintf("%d-%s", tt.width, tt.page))
		if err := os.WriteFile(path, fmt.Appendf(nil, measure, tt.width, html.EscapeString(string(all[tt.page]))), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+dir, "--blink-settings=preferredColorScheme="+scheme,
			"--virtual-time-budget=10000", "--dump-dom", "file://"+path)
		dom, err := cmd.Output()
		if err != nil {
			t.Skip("chromium does not run here: ", err)
		}
		m := out.FindSubmatch(dom)
		if m == nil || strings.TrimSpace(string(m[1])) != "measured" {
			t.Errorf("%s at %d pixels, dark %v: %s", tt.page, tt.width, tt.dark, m)
		}
	}
}
