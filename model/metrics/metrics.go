// Package metrics counts how often a classifier is right, and in which way it is wrong.
//
// Accuracy alone hides a classifier that answers "no-logo" to everything: where most photographs show no logo,
// that is most often right. So the accuracy of always giving the commonest answer stands beside it, with macro-F1,
// the recall on photographs that show a logo and the false alarms on those that show none:
//
//	c := metrics.New([]string{"adidas", "no-logo"})
//	c.Add(0, 0) // an adidas taken for adidas
//	c.Add(1, 0) // nothing taken for adidas
//	fmt.Println(c.Accuracy(), c.Majority(), c.FalseAlarms()) // 0.5 0.5 1
//
// A figure that does not exist (the recall of a class nobody has seen) is NaN in Go and null in JSON.
package metrics

import (
	"encoding/json"
	"math"

	"github.com/logobeam/logobeam/model"
)

// Figure is a share between 0 and 1, or NaN where there is nothing to take a share of. JSON has no NaN: it is null
// there, and null reads back as NaN.
type Figure float64

// Absent says that the figure does not exist.
func (f Figure) Absent() bool { return math.IsNaN(float64(f)) }

// MarshalJSON writes null for a figure that is no finite number.
func (f Figure) MarshalJSON() ([]byte, error) {
	if v := float64(f); math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// UnmarshalJSON reads a number, or null as NaN.
func (f *Figure) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*f = Figure(math.NaN())
		return nil
	}
	return json.Unmarshal(data, (*float64)(f))
}

// Confusion counts answers by what was true and what was said.
type Confusion struct {
	Classes []string `json:"classes"`
	Counts  [][]int  `json:"counts"` // [true][predicted]
}

// New is an empty Confusion of the classes. The class named model.NoLogo, if there is one, stands for no brand at all.
func New(classes []string) *Confusion {
	c := &Confusion{Classes: classes, Counts: make([][]int, len(classes))}
	all := make([]int, len(classes)*len(classes))
	for i := range c.Counts {
		c.Counts[i], all = all[:len(classes):len(classes)], all[len(classes):]
	}
	return c
}

// Add counts one answer. Both are indices into Classes and must be in range.
func (c *Confusion) Add(truth, predicted int) { c.Counts[truth][predicted]++ }

// AddAll counts the answer with the highest probability of each row of probs, [len(truth)][classes].
func (c *Confusion) AddAll(truth []int, probs []float32) { c.Count(Answers(truth, probs)) }

// Argmax is the index of the largest value; the first of equals wins. -1 for an empty row.
func Argmax(row []float32) int {
	best := -1
	for i, v := range row {
		if best < 0 || v > row[best] {
			best = i
		}
	}
	return best
}

// Total is the number of answers counted.
func (c *Confusion) Total() int {
	n := 0
	for t := range c.Counts {
		n += c.support(t)
	}
	return n
}

func (c *Confusion) support(truth int) int {
	n := 0
	for _, v := range c.Counts[truth] {
		n += v
	}
	return n
}

func (c *Confusion) predicted(class int) int {
	n := 0
	for _, row := range c.Counts {
		n += row[class]
	}
	return n
}

func share(part, whole int) float64 {
	if whole == 0 {
		return math.NaN()
	}
	return float64(part) / float64(whole)
}

// Accuracy is the share of right answers.
func (c *Confusion) Accuracy() float64 {
	right := 0
	for i, row := range c.Counts {
		right += row[i]
	}
	return share(right, c.Total())
}

// Majority is the accuracy of always answering the commonest class: what a useless classifier reaches.
func (c *Confusion) Majority() float64 {
	most := 0
	for i := range c.Counts {
		most = max(most, c.support(i))
	}
	return share(most, c.Total())
}

// MajorityF1 is the macro-F1 of always answering the commonest class.
func (c *Confusion) MajorityF1() float64 {
	most, seen := 0, 0
	for i := range c.Counts {
		if n := c.support(i); n > 0 {
			most = max(most, n)
			seen++
		}
	}
	return share(2*most, most+c.Total()) / float64(seen)
}

// MacroF1 is the mean F1 over the classes that occur, in truth or among the answers. Every class weighs the same, so
// the rare ones count.
func (c *Confusion) MacroF1() float64 {
	sum, n := 0.0, 0
	for i := range c.Classes {
		if f := c.f1(i); !math.IsNaN(f) {
			sum += f
			n++
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

// f1 is 2 tp / (2 tp + fp + fn), the harmonic mean of precision and recall, defined where only one of the two is.
func (c *Confusion) f1(class int) float64 {
	return share(2*c.Counts[class][class], c.support(class)+c.predicted(class))
}

func (c *Confusion) noLogo() int {
	for i, name := range c.Classes {
		if name == model.NoLogo {
			return i
		}
	}
	return -1
}

// LogoRecall is the share of the images that show a logo for which the right brand was named. NaN if none shows one.
func (c *Confusion) LogoRecall() float64 {
	none, right, all := c.noLogo(), 0, 0
	for i, row := range c.Counts {
		if i != none {
			right += row[i]
			all += c.support(i)
		}
	}
	return share(right, all)
}

// FalseAlarms is the share of the images without a logo for which some brand was named. NaN if there are none.
func (c *Confusion) FalseAlarms() float64 {
	none := c.noLogo()
	if none < 0 {
		return math.NaN()
	}
	all := c.support(none)
	return share(all-c.Counts[none][none], all)
}

// Class is how one class fared.
type Class struct {
	Name      string `json:"name"`
	Support   int    `json:"support"`   // images that are of it
	Predicted int    `json:"predicted"` // images taken for it
	Precision Figure `json:"precision"` // share of Predicted that are of it; absent if Predicted is 0
	Recall    Figure `json:"recall"`    // share of Support that were taken for it; absent if Support is 0
	F1        Figure `json:"f1"`        // absent if both are 0
}

// PerClass lists the classes in the order of Classes.
func (c *Confusion) PerClass() []Class {
	list := make([]Class, len(c.Classes))
	for i, name := range c.Classes {
		support, predicted, right := c.support(i), c.predicted(i), c.Counts[i][i]
		list[i] = Class{name, support, predicted, Figure(share(right, predicted)), Figure(share(right, support)), Figure(c.f1(i))}
	}
	return list
}

// Summary is the figures that fit on a line.
type Summary struct {
	Images      int    `json:"images"`
	Accuracy    Figure `json:"accuracy"`
	Majority    Figure `json:"majority"`
	MacroF1     Figure `json:"macro_f1"`
	LogoRecall  Figure `json:"logo_recall"`
	FalseAlarms Figure `json:"false_alarm_rate"`
}

// Summary gathers the figures.
func (c *Confusion) Summary() Summary {
	return Summary{c.Total(), Figure(c.Accuracy()), Figure(c.Majority()), Figure(c.MacroF1()), Figure(c.LogoRecall()), Figure(c.FalseAlarms())}
}
