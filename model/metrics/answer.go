package metrics

import "math"

// Answer is what a classifier says of one image.
type Answer struct {
	Truth, Class int     // indices of classes
	Probability  float32 // of Class
}

// Answers are the classes with the highest probability of each row of probs, [len(truth)][classes].
func Answers(truth []int, probs []float32) []Answer {
	answers := make([]Answer, len(truth))
	for i, t := range truth {
		n := len(probs) / len(truth)
		row := probs[i*n : (i+1)*n]
		k := Argmax(row)
		answers[i] = Answer{t, k, row[k]}
	}
	return answers
}

// Count counts answers.
func (c *Confusion) Count(answers []Answer) {
	for _, a := range answers {
		c.Add(a.Truth, a.Class)
	}
}

// Bin is the answers whose probabilities are alike.
type Bin struct {
	Images      int    `json:"images"`
	Probability Figure `json:"probability"` // their mean probability; absent if there are no Images
	Right       Figure `json:"right"`       // share of them that are right; absent if there are no Images
}

// Reliability puts answers in bins of equal width by their probability, (0, 1/bins], (1/bins, 2/bins] and so on. Where
// probabilities can be believed, Probability and Right are alike in each (Niculescu-Mizil and Caruana, Predicting Good
// Probabilities With Supervised Learning, 2005).
func Reliability(answers []Answer, bins int) []Bin {
	all := make([]Bin, bins)
	for _, a := range answers {
		b := &all[min(max(int(math.Ceil(float64(a.Probability)*float64(bins)))-1, 0), bins-1)]
		b.Images++
		b.Probability += Figure(a.Probability)
		if a.Class == a.Truth {
			b.Right++
		}
	}
	for i := range all {
		n := Figure(all[i].Images) // 0/0 is absent
		all[i].Probability /= n
		all[i].Right /= n
	}
	return all
}

// ECEBins is how many bins of equal width the expected calibration error is taken over, as usual since Guo et al., 2017.
const ECEBins = 15

// ECE is the expected calibration error (Guo et al., On Calibration of Modern Neural Networks, 2017): how far, on
// average, the probability of the answer given lies from the share of such answers that are right, in bins of equal
// width. NaN without answers or bins.
func ECE(answers []Answer, bins int) float64 {
	if len(answers) == 0 || bins < 1 {
		return math.NaN()
	}
	gap := 0.0
	for _, b := range Reliability(answers, bins) {
		if b.Images > 0 {
			gap += float64(b.Images) * math.Abs(float64(b.Probability-b.Right))
		}
	}
	return gap / float64(len(answers))
}
