package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/logobeam/logobeam/pipelines/monitor"
)

func TestWords(t *testing.T) {
	for _, tt := range []struct {
		why  string
		tick tick
		want string
	}{
		{"nothing is known", tick{}, "starting"},
		{"nothing is done", tick{total: 10}, "starting"},
		{"all", tick{done: 1200, total: 5000, rejected: 3, skipped: 2, binds: "decode", note: "epoch 1", rate: 40.12, left: 95 * time.Second},
			"1,200 of 5,000, 40.1/s, 1 min 30 s left, 3 rejected, decode binds, 2 skipped, epoch 1"},
		{"fast and long", tick{done: 1, total: 1e9, rate: 12345.6, left: 50 * time.Hour}, "1 of 1,000,000,000, 12,346/s, 2 days left"},
		{"more is done than was estimated", tick{done: 12, total: 10, rate: 1}, "12 of 10, 1.0/s"},
	} {
		if got := strings.Join(tt.tick.words(), ", "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
		if p := tt.tick.percent(); p < 0 || p > 100 {
			t.Errorf("%s: %d %%", tt.why, p)
		}
	}
	if got := fit([]string{"1 of 2", "3.0/s", "4 s left"}, 13); got != "1 of 2, 3.0/s" {
		t.Errorf("%q does not fit into 13 columns as well as can be", got)
	}
}

func TestPace(t *testing.T) {
	p := pace{time.Now().Add(-10 * time.Second), 50} // an earlier run has done 50
	got := p.of(tick{done: 70, total: 90})
	if got.rate < 1.9 || got.rate > 2 || got.left < 10*time.Second || got.left > 11*time.Second {
		t.Errorf("20 in 10 seconds are %.2f a second, and 20 more take %v", got.rate, got.left)
	}
	if got := p.of(tick{done: 50, total: 90}); got.rate != 0 || got.left != 0 {
		t.Errorf("nothing was done, and the rate is %.2f, the time left %v", got.rate, got.left)
	}
	found := monitor.New(90, true, 1)
	found.ChunkFound(70, 0, 0)
	for _, own := range []tick{
		{done: 70, total: 90, known: true, rate: 9},
		tickOf(found), // a run that has just found what an earlier one had done
		{done: 70, total: 90, known: true, left: time.Hour}, // one that is stuck
	} {
		if got := p.of(own); got != own {
			t.Errorf("a command that knows better is not believed: %+v is shown as %+v", own, got)
		}
	}
}

// On a terminal there is one line, no wider than that, and nothing of it stays.
func TestBarOnTerminal(t *testing.T) {
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo terminal: ", err)
	}
	defer terminal.Close()
	const columns = 60
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 10, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	seen := make(chan string)
	go func() {
		text, _ := io.ReadAll(terminal) // which ends with an error of the terminal that is closed
		seen <- string(text)
	}()
	stop := watch(context.Background(), tty, "scoring", func() tick {
		return tick{done: 30, total: 60, rate: 12, left: time.Minute, rejected: 2, binds: "decode", note: strings.Repeat("long ", 30)}
	})
	time.Sleep(3 * barEvery)
	stop()
	tty.Close()
	text := <-seen
	if !regexp.MustCompile(`scoring  50 % \[=+>-+\] 30 of 60, 12.0/s`).MatchString(text) {
		t.Errorf("there is no bar: %q", text)
	}
	for _, line := range regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|[\r\n]+`).Split(text, -1) {
		if len([]rune(line)) > columns {
			t.Errorf("a line is wider than %d columns: %q", columns, line)
		}
	}
}

func TestProgressForPrograms(t *testing.T) {
	var b bytes.Buffer
	ctx := context.WithValue(context.Background(), displayKey{}, forPrograms)
	watch(ctx, &b, "scoring", func() tick {
		return tick{done: 5, total: 10, rejected: 1, binds: "fetch", rate: 2.5, left: 2 * time.Second}
	})()
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got["progress"] != "scoring" || got["percent"] != 50.0 || got["remaining_seconds"] != 2.0 || got["rejected"] != 1.0 {
		t.Errorf("%s: %v", b.String(), err)
	}
	b.Reset()
	watch(context.WithValue(context.Background(), displayKey{}, forNobody), &b, "scoring", func() tick { return tick{done: 5, total: 10} })()
	if b.Len() > 0 {
		t.Errorf("--quiet says %q", b.String())
	}
}
