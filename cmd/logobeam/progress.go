package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// tick is what a long command knows of itself at a moment.
type tick struct {
	done, total       int64
	rejected, skipped int64         // among those done
	binds             string        // what the work would have to do faster to be faster, if that is known
	note              string        // what else is worth knowing
	rate              float64       // a second; 0 while it cannot be told
	left              time.Duration // likewise
	known             bool          // rate and left are the command's own, better than the mean since it began
}

// display is how long commands show how far they are.
type display int

const (
	forPeople   display = iota // a bar on a terminal, a line now and then elsewhere
	forPrograms                // a JSON object a line
	forNobody
)

// counter is work whose function tells how much is done, of how much.
type counter struct{ done, total atomic.Int64 }

func (c *counter) set(done, total int64) {
	c.done.Store(done)
	c.total.Store(total)
}

func (c *counter) tick() tick { return tick{done: c.done.Load(), total: c.total.Load()} }

type displayKey struct{}

// quietFlag is the flag --quiet, which every command has. It decides with --json how the command is shown, which the
// context carries to watch.
func quietFlag(root *cobra.Command) {
	quiet := root.PersistentFlags().BoolP("quiet", "q", false, "do not show how far a command is")
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		how := forPeople
		if f := cmd.Flags().Lookup("json"); f != nil && f.Value.String() == "true" {
			how = forPrograms
		}
		if *quiet {
			how = forNobody
		}
		cmd.SetContext(context.WithValue(cmd.Context(), displayKey{}, how))
	}
}

// How often is heard from a long command: by a log without a terminal, by a program, on a terminal.
const (
	lineEvery   = 30 * time.Second
	objectEvery = 10 * time.Second
	barEvery    = 200 * time.Millisecond
)

// watch shows poll's answers until the returned function is called: as a bar on a terminal, as a line now and then
// elsewhere, or as the flags ask. A program gets the last answer, too.
func watch(ctx context.Context, w io.Writer, label string, poll func() tick) (stop func()) {
	how, _ := ctx.Value(displayKey{}).(display)
	if how == forNobody {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	p := newPace(poll().done)
	now := func() tick { return p.of(poll()) }
	f, isFile := w.(*os.File)
	switch {
	case how == forPrograms:
		objects := json.NewEncoder(w)
		say := func() { _ = objects.Encode(now().object(label)) } // an error is the reader's who has gone
		go every(ctx, objectEvery, say, ended)
		return func() { cancel(); <-ended; say() }
	case isFile && term.IsTerminal(int(f.Fd())):
		go bar(ctx, f, label, now, ended)
	default:
		go every(ctx, lineEvery, func() { fmt.Fprintf(w, "%s: %s\n", label, strings.Join(now().words(), ", ")) }, ended)
	}
	return func() { cancel(); <-ended }
}

func every(ctx context.Context, d time.Duration, say func(), ended chan<- struct{}) {
	defer close(ended)
	next := time.NewTicker(d)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			say()
		}
	}
}

func bar(ctx context.Context, w io.Writer, label string, now func() tick, ended chan<- struct{}) {
	defer close(ended)
	const widest, least = 40, 14 // columns of the bar itself
	p := mpb.New(mpb.WithOutput(w), mpb.WithWidth(widest), mpb.WithRefreshRate(barEvery))
	var shown atomic.Pointer[tick] // which the bar reads when it likes
	first := now()
	shown.Store(&first)
	b := p.AddBar(0, mpb.BarRemoveOnComplete(), mpb.BarFillerTrim(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return fmt.Sprintf("%s %3d %% ", label, shown.Load().percent()) })),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
			return " " + fit(shown.Load().words(), s.AvailableWidth-least)
		})))
	next := time.NewTicker(barEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			b.Abort(true)
			p.Wait()
			return
		case <-next.C:
			t := now()
			shown.Store(&t)
			b.SetTotal(max(t.total, 1), false)
			b.SetCurrent(t.done)
		}
	}
}

// fit joins as many of the words, from the first on, as columns hold.
func fit(words []string, columns int) string {
	text := words[0]
	for _, word := range words[1:] {
		if len(text)+2+len(word) > columns {
			break
		}
		text += ", " + word
	}
	return text
}

// pace is since when a command has worked, and what was done before, which says nothing about the rate.
type pace struct {
	began  time.Time
	before int64
}

func newPace(done int64) pace { return pace{time.Now(), done} }

// of fills in the mean rate since the work began, and the time that is left by it, if the command does not know them. The time is
// left out while there is too little to go by.
func (p pace) of(t tick) tick {
	elapsed := time.Since(p.began)
	if t.known || t.total == 0 || t.done <= p.before || elapsed <= 0 {
		return t
	}
	t.rate, t.known = float64(t.done-p.before)/elapsed.Seconds(), true
	if t.done < t.total && elapsed > 3*time.Second {
		t.left = time.Duration(float64(t.total-t.done) / t.rate * float64(time.Second))
	}
	return t
}

func (t tick) percent() int64 { return t.done * 100 / max(t.total, t.done, 1) }

// words tell how far the work is, what matters most first.
func (t tick) words() []string {
	if t.total == 0 || t.rate == 0 && t.done == 0 {
		return []string{"starting"}
	}
	words := []string{fmt.Sprintf("%s of %s", humanize.Comma(t.done), humanize.Comma(t.total))}
	if t.rate > 0 {
		words = append(words, perSecond(t.rate))
	}
	if t.left > 0 {
		words = append(words, about(t.left)+" left")
	}
	if t.rejected > 0 {
		words = append(words, humanize.Comma(t.rejected)+" rejected")
	}
	if t.binds != "" {
		words = append(words, t.binds+" binds")
	}
	if t.skipped > 0 {
		words = append(words, humanize.Comma(t.skipped)+" skipped")
	}
	if t.note != "" {
		words = append(words, t.note)
	}
	return words
}

func perSecond(rate float64) string {
	if rate < 100 {
		return fmt.Sprintf("%.1f/s", rate)
	}
	return humanize.Comma(int64(math.Round(rate))) + "/s"
}

// about is a time to come in no more digits than can be known of it.
func about(t time.Duration) string {
	switch {
	case t < time.Minute:
		return fmt.Sprintf("%d s", max(int(math.Round(t.Seconds())), 1))
	case t < time.Hour:
		return fmt.Sprintf("%d min %d s", t/time.Minute, t%time.Minute/(10*time.Second)*10)
	case t < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", t/time.Hour, t%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", t/(24*time.Hour))
}

// object is a tick as --json has it. What is not known is left out.
func (t tick) object(label string) any {
	return struct {
		Progress  string  `json:"progress"` // what is under way
		Done      int64   `json:"done"`
		Total     int64   `json:"total,omitempty"`
		Percent   int64   `json:"percent"`
		Rate      float64 `json:"per_second,omitempty"`
		Remaining float64 `json:"remaining_seconds,omitempty"`
		Rejected  int64   `json:"rejected,omitempty"`
		Skipped   int64   `json:"skipped,omitempty"`
		Binds     string  `json:"binds,omitempty"`
		Note      string  `json:"note,omitempty"`
	}{label, t.done, t.total, t.percent(), math.Round(10*t.rate) / 10, math.Round(t.left.Seconds()), t.rejected, t.skipped, t.binds, t.note}
}
