package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// tick is what a long command knows of itself at a moment.
type tick struct {
	done, total int64
	note        string        // what else is worth knowing, such as the number of rejects
	rate        float64       // a second, where the command knows better than the mean since it began
	left        time.Duration // likewise; 0 while it cannot be told
}

// lineEvery is how often a log without a terminal hears from a long command.
const lineEvery = 30 * time.Second

// watch shows poll's answers until the returned function is called: as a bar on a terminal, as a line now and then
// elsewhere.
func watch(ctx context.Context, w io.Writer, label string, poll func() tick) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	began, before := time.Now(), poll().done // what was done before says nothing about the rate
	say := func() string { return poll().since(before, time.Since(began)) }
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		go bar(ctx, f, label, poll, say, ended)
	} else {
		go lines(ctx, w, label, say, ended)
	}
	return func() { cancel(); <-ended }
}

func bar(ctx context.Context, w io.Writer, label string, poll func() tick, say func() string, ended chan<- struct{}) {
	defer close(ended)
	p := mpb.New(mpb.WithOutput(w), mpb.WithWidth(64), mpb.WithRefreshRate(200*time.Millisecond))
	b := p.AddBar(0, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(label+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return say() })))
	for next := time.NewTicker(200 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			next.Stop()
			b.Abort(true)
			p.Wait()
			return
		case <-next.C:
			t := poll()
			b.SetTotal(max(t.total, 1), false)
			b.SetCurrent(t.done)
		}
	}
}

func lines(ctx context.Context, w io.Writer, label string, say func() string, ended chan<- struct{}) {
	defer close(ended)
	for next := time.NewTicker(lineEvery); ; {
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
			fmt.Fprintf(w, "%s: %s\n", label, say())
		}
	}
}

// since tells how far the work is, elapsed after before of it was done. The remaining time is that of the mean rate since
// then, and left out while there is too little to go by.
func (t tick) since(before int64, elapsed time.Duration) string {
	if t.total == 0 || t.done <= before {
		return "starting"
	}
	if t.rate == 0 {
		t.rate = float64(t.done-before) / elapsed.Seconds()
		if t.done < t.total && elapsed > 3*time.Second {
			t.left = time.Duration(float64(t.total-t.done) / t.rate * float64(time.Second))
		}
	}
	s := fmt.Sprintf("%d of %d (%d %%), %.1f/s", t.done, t.total, t.done*100/t.total, t.rate)
	if t.left > 0 {
		s += fmt.Sprintf(", %v left", t.left.Round(time.Second))
	}
	if t.note != "" {
		s += ", " + t.note
	}
	return s
}
