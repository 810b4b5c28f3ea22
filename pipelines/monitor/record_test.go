package monitor

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// However long a run, its course is short, goes on in time, and covers the run from near its beginning to near its end.
func TestCourse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c course
		at := time.Duration(0)
		for range rapid.IntRange(1, 3000).Draw(t, "samples") {
			at += time.Duration(rapid.Int64Range(int64(sampleEvery), int64(3*sampleEvery)).Draw(t, "pause"))
			c.keep(sample{at: at, rows: int64(at)})
		}
		if len(c.kept) == 0 || len(c.kept) >= courseMost {
			t.Fatalf("%d samples are kept; want some, and fewer than %d", len(c.kept), courseMost)
		}
		for i := 1; i < len(c.kept); i++ {
			if c.kept[i].at <= c.kept[i-1].at {
				t.Fatalf("sample %d is not after the one before it", i)
			}
		}
		pause := 4 * sampleEvery * time.Duration(c.every)
		if first, last := c.kept[0].at, c.kept[len(c.kept)-1].at; first > 3*sampleEvery || at-last > pause {
			t.Fatalf("kept from %v to %v of %v", first, last, at)
		}
	})
}

func TestRecord(t *testing.T) {
	m := New(3, true, 1)
	m.Spent(Decode, time.Second, 2, 10)
	m.Count(2, 1, 0, 0)
	r := m.Record()
	last := r.Course[len(r.Course)-1]
	if r.Course[0].At != 0 || last.Rows != 3 || len(last.Stages) != 1 || last.Stages[0] != (StageMoment{"decode", 2, 1}) {
		t.Errorf("the course is %+v", r.Course)
	}
	if r := (*Monitor)(nil).Record(); len(r.Course) != 0 {
		t.Errorf("nobody's course is %+v", r)
	}
}
