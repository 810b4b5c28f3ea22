package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/metrics"
)

// Figures is the figures of a classifier in a few lines, each with its interval, if there is one under its name in JSON,
// and with what accuracy alone would hide beside it. byChance is what metrics.ChanceECE says to ece.
func Figures(c *metrics.Confusion, ece, byChance metrics.Figure, intervals map[string]metrics.Interval) string {
	s := c.Summary()
	majority := "always answering the commonest class"
	if name := commonest(c); name != "" {
		majority = "always answering " + name
	}
	var b strings.Builder
	note := ""
	if len(intervals) > 0 {
		note = fmt.Sprintf("   in brackets: 95 %% of %s resamples of these images", grouped(metrics.Resamples))
	}
	fmt.Fprintf(&b, "%-18s%7s%s\n", "images", grouped(int64(s.Images)), note)
	line := func(name, key string, value metrics.Figure, note string) {
		b.WriteString(Figure(name, value, intervals, key, note))
	}
	line("accuracy", "accuracy", s.Accuracy, majority+" reaches "+figure(s.Majority)+bracketed(intervals, "majority"))
	line("macro-F1", "macro_f1", s.MacroF1, "every class weighs the same; "+majority+" reaches "+figure(metrics.Figure(c.MajorityF1())))
	line("recall on logos", "logo_recall", s.LogoRecall, "right brand, of images with one")
	line("false alarms", "false_alarm_rate", s.FalseAlarms, "some brand, of images without one")
	line("ECE", "ece", ece, "expected calibration error: how far probabilities are from the truth; on so few images right ones show "+figure(byChance))
	if text := faultless(s); text != "" {
		fmt.Fprintln(&b, text)
	}
	return b.String()
}

// faultless says what resamples cannot where no answer is wrong; otherwise it is "". Were more than 1 - 0.05^(1/n) of all answers
// wrong, n right ones would come less than once in 20 (Clopper and Pearson, 1934).
func faultless(s metrics.Summary) string {
	if s.Images == 0 || s.Accuracy < 1 {
		return ""
	}
	return fmt.Sprintf("No answer is wrong; of other images up to %.1f %% may be (95 %% confidence).", 100*(1-math.Pow(0.05, 1/float64(s.Images))))
}

// Figure is a line with a figure, its interval if there is one under key, and a note on what it is.
func Figure(name string, value metrics.Figure, intervals map[string]metrics.Interval, key, note string) string {
	return fmt.Sprintf("%-18s%7s%s   %s\n", name, figure(value), bracketed(intervals, key), note)
}

// bracketed is an interval to stand behind its figure, if there is one.
func bracketed(intervals map[string]metrics.Interval, key string) string {
	i, ok := intervals[key]
	if !ok || i[0].Absent() {
		return ""
	}
	return fmt.Sprintf(" [%s, %s]", figure(i[0]), figure(i[1]))
}

// commonest is the class that most images are of, "" if there are no images.
func commonest(c *metrics.Confusion) string {
	name, most := "", 0
	for _, p := range c.PerClass() {
		if p.Support > most {
			name, most = p.Name, p.Support
		}
	}
	return name
}

// ClassTable is a table of how each class fared, a line each in the order of the classes. Figures that do not exist are
// dashes.
func ClassTable(c *metrics.Confusion) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	width := utf8.RuneCountInString("class")
	for _, p := range c.PerClass() {
		width = max(width, utf8.RuneCountInString(p.Name))
	}
	pad := func(name string) string { return name + strings.Repeat(" ", width-utf8.RuneCountInString(name)) }
	fmt.Fprintf(w, "%s\timages\tanswers\tprecision\trecall\tF1\t\n", pad("class"))
	for _, p := range c.PerClass() {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t\n", pad(p.Name), p.Support, p.Predicted, figure(p.Precision), figure(p.Recall), figure(p.F1))
	}
	w.Flush()
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimRight(l, " "), "  ") // the margin that aligning to the right leaves
	}
	return strings.Join(lines, "\n")
}

func figure(f metrics.Figure) string {
	if f.Absent() {
		return "-"
	}
	return fmt.Sprintf("%.3f", float64(f))
}

// Summary is what is told at the end of a run that scored a listing.
type Summary struct {
	Rows     int64 // of the listing
	Scored   int64
	Rejected int64
	Skipped  int64         // since an earlier run has scored them
	Elapsed  time.Duration // 0 if it is not known or nothing was done
	// Predicted is what Elapsed was to be, as was said when the run began; 0 if nothing was.
	Predicted time.Duration
	Brands    map[string]int64 // scored images by class, model.NoLogo among them
	Reasons   map[string]int64 // rejects by "stage reason" or reason
}

// Counts that a summary lists one by one, before it adds up the rest.
const (
	maxBrands  = 30
	maxReasons = 30
)

// String is the summary in lines of at most about 80 columns, with bars for the brands that were found most often.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s scored, %s rejected", plural(s.Rows, "row"), grouped(s.Scored), grouped(s.Rejected))
	if s.Skipped > 0 {
		fmt.Fprintf(&b, ", %s skipped", grouped(s.Skipped))
	}
	if t := s.Elapsed; t > 0 {
		fmt.Fprintf(&b, ", in %s", duration(t))
		if s.Predicted > 0 {
			fmt.Fprintf(&b, ", predicted %s", duration(s.Predicted))
		}
		if rate := float64(s.Rows) / t.Seconds(); s.Rows > 0 {
			if rate < 10 {
				fmt.Fprintf(&b, " (%.1f a second)", rate)
			} else {
				fmt.Fprintf(&b, " (%s a second)", grouped(int64(math.Round(rate))))
			}
		}
	}
	b.WriteString("\n")

	brands := ranked(s.Brands)
	found := int64(0)
	brands = slices.DeleteFunc(brands, func(c count) bool { return c.name == model.NoLogo || c.n == 0 })
	for _, c := range brands {
		found += c.n
	}
	if s.Scored > 0 {
		of := ""
		if len(brands) > 0 {
			of = fmt.Sprintf(", of %s", plural(int64(len(brands)), "brand"))
		}
		fmt.Fprintf(&b, "\nlogos found in %s (%s)%s\n", plural(found, "image"), percent(found, s.Scored), of)
		bars(&b, brands, maxBrands, "brand")
	}
	if s.Rejected > 0 {
		fmt.Fprintf(&b, "\nrejected\n")
		bars(&b, slices.DeleteFunc(ranked(s.Reasons), func(c count) bool { return c.n == 0 }), maxReasons, "reason")
	}
	return b.String()
}

type count struct {
	name string
	n    int64
}

// ranked sorts counts by size, and by name where they are equal.
func ranked(of map[string]int64) []count {
	list := make([]count, 0, len(of))
	for name, n := range of {
		list = append(list, count{name, n})
	}
	slices.SortFunc(list, func(a, b count) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) })
	return list
}

// bars writes a line for each count, the longest bar for the largest.
func bars(b *strings.Builder, list []count, most int, what string) {
	rest := int64(0)
	more := 0
	if len(list) > most {
		for _, c := range list[most:] {
			rest += c.n
		}
		more = len(list) - most
		list = list[:most]
	}
	if len(list) == 0 {
		return
	}
	const widest, longest = 32, 30
	names, digits := 0, len(grouped(max(list[0].n, rest)))
	for i, c := range list {
		if utf8.RuneCountInString(c.name) > widest {
			list[i].name = string([]rune(c.name)[:widest-1]) + "…"
		}
		names = max(names, utf8.RuneCountInString(list[i].name))
	}
	for _, c := range list {
		fmt.Fprintf(b, "  %s%s  %*s  %s\n", c.name, strings.Repeat(" ", names-utf8.RuneCountInString(c.name)), digits, grouped(c.n), bar(float64(c.n)/float64(list[0].n)*longest))
	}
	if more > 0 {
		fmt.Fprintf(b, "  and %s more with %s\n", plural(int64(more), what), grouped(rest))
	}
}

// bar is a bar of so many columns, in eighths, and never nothing.
func bar(columns float64) string {
	eighths := max(int(math.Round(columns*8)), 1)
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}

func percent(n, of int64) string {
	p := 100 * float64(n) / float64(of)
	if n > 0 && p < 0.1 {
		return "below 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", p)
}

// grouped is n with a comma between thousands.
func grouped(n int64) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

// duration rounds to what matters of it.
func duration(t time.Duration) string {
	switch {
	case t < time.Second:
		return t.Round(time.Millisecond).String()
	case t < time.Minute:
		return fmt.Sprintf("%.1f s", t.Seconds())
	}
	return t.Round(time.Second).String()
}
