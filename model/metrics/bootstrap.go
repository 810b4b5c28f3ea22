package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is the least and the largest value that a figure may well have: its 95 % confidence interval. Both are absent
// where the figure is.
type Interval [2]Figure

// Resamples is how often bootstrap draws.
const Resamples = 2000

// bootstrap says how far figures may be off since they were measured on these images and not on others: the 95 %
// confidence interval of each, by the percentiles of Resamples samples of as many images, drawn with replacement (Efron,
// Bootstrap Methods: Another Look at the Jackknife, 1979). measure gives the figures of a sample, always as many; a
// sample in which one does not exist (NaN) is left out of its interval. The same seed gives the same intervals.
func bootstrap[Image any](images []Image, seed uint64, measure func(sample []Image) []float64) []Interval {
	var drawn [][]float64 // [figure][resample]
	r := rand.New(rand.NewPCG(seed, 0))
	sample := make([]Image, len(images))
	for range Resamples {
		for i := range sample {
			sample[i] = images[r.IntN(len(images))]
		}
		figures := measure(sample)
		if drawn == nil {
			drawn = make([][]float64, len(figures))
		}
		for i, f := range figures {
			if !math.IsNaN(f) {
				drawn[i] = append(drawn[i], f)
			}
		}
	}
	intervals := make([]Interval, len(drawn))
	for i, values := range drawn {
		intervals[i] = Interval{Figure(math.NaN()), Figure(math.NaN())}
		if n := len(values); n > 0 {
			slices.Sort(values)
			intervals[i] = Interval{Figure(values[n/40]), Figure(values[n-1-n/40])} // 2.5 % lie on either side
		}
	}
	return intervals
}

// Intervals are those of a Summary's figures and of ECE in so many bins, by their names in JSON.
func Intervals(classes []string, answers []Answer, bins int, seed uint64) map[string]Interval {
	list := bootstrap(answers, seed, func(sample []Answer) []float64 {
		c := New(classes)
		c.Count(sample)
		return []float64{c.Accuracy(), c.Majority(), c.MacroF1(), c.LogoRecall(), c.FalseAlarms(), ECE(sample, bins)}
	})
	named := map[string]Interval{}
	for i, name := range []string{"accuracy", "majority", "macro_f1", "logo_recall", "false_alarm_rate", "ece"} {
		named[name] = list[i]
	}
	return named
}

// ChanceECE is the ECE that answers show on average if they are right exactly as often as their probabilities say: on few
// images it is not 0. It is the mean of Resamples draws, NaN without answers or bins.
func ChanceECE(answers []Answer, bins int, seed uint64) float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	drawn, sum := slices.Clone(answers), 0.0
	for range Resamples {
		for i, a := range answers {
			drawn[i].Truth = a.Class
			if r.Float64() >= float64(a.Probability) {
				drawn[i].Truth = -1
			}
		}
		sum += ECE(drawn, bins)
	}
	return sum / Resamples
}
