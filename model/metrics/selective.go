package metrics

// Selective is the figures of a classifier that gives a brand only where it is sure enough of it, and otherwise answers that
// there is none.
type Selective struct {
	BrandPrecision Figure              `json:"precision"`        // share of the brands given that are right; absent if none is
	LogoRecall     Figure              `json:"logo_recall"`      // as in Summary
	FalseAlarms    Figure              `json:"false_alarm_rate"` // as in Summary
	Coverage       Figure              `json:"coverage"`         // brands given, of those that were likeliest
	Intervals      map[string]Interval `json:"intervals"`        // by the names of the figures
}

// Select compares what was given with what was likeliest, for the same images in the same order. The intervals are those of
// bootstrap, drawn by seed.
func Select(classes []string, likeliest, given []Answer, seed uint64) Selective {
	none := New(classes).noLogo()
	type image struct{ likeliest, given Answer }
	images := make([]image, len(given))
	for i := range images {
		images[i] = image{likeliest[i], given[i]}
	}
	measure := func(sample []image) []float64 {
		c := New(classes)
		brands, could, right := 0, 0, 0
		for _, m := range sample {
			c.Add(m.given.Truth, m.given.Class)
			if m.likeliest.Class != none {
				could++
			}
			if m.given.Class != none {
				brands++
				if m.given.Class == m.given.Truth {
					right++
				}
			}
		}
		return []float64{share(right, brands), c.LogoRecall(), c.FalseAlarms(), share(brands, could)}
	}
	f := measure(images)
	s := Selective{Figure(f[0]), Figure(f[1]), Figure(f[2]), Figure(f[3]), map[string]Interval{}}
	for i, interval := range bootstrap(images, seed, measure) {
		s.Intervals[[]string{"precision", "logo_recall", "false_alarm_rate", "coverage"}[i]] = interval
	}
	return s
}
