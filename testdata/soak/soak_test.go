package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// build makes the program, once.
func build(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the program itself")
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc, and all of 127.0.0.0/8")
	}
	path := filepath.Join(t.TempDir(), "logobeam")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/logobeam").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestQuick(t *testing.T) {
	path := build(t)
	run := func(t *testing.T, args ...string) report {
		t.Helper()
		var said bytes.Buffer
		r, err := soak(context.Background(), append(args, "--quick", "--logobeam", path, "--work", t.TempDir()), &said)
		if err != nil {
			t.Fatal(err, said.String())
		}
		if !r.OK {
			t.Error(said.String())
		}
		return r
	}
	t.Run("kill", func(t *testing.T) {
		t.Parallel()
		if k := run(t, "kill").Runs.(killed); k.Kills != 3 || k.Outputs < 1 || k.Identical != k.Outputs {
			t.Errorf("%+v", k)
		}
	})
	t.Run("train-kill", func(t *testing.T) {
		t.Parallel()
		if k := run(t, "train-kill").Runs.(trainKilled); k.Kills != 2 || k.Outputs < 1 || k.Identical != k.Outputs {
			t.Errorf("%+v", k)
		}
	})
	t.Run("rows", func(t *testing.T) {
		t.Parallel()
		for _, m := range run(t, "rows").Runs.([]measured) {
			if m.Rows != 5000 || m.Peak < 1<<20 || m.CPU <= 0 || m.Micros <= 0 {
				t.Errorf("%+v", m)
			}
		}
	})
	t.Run("http", func(t *testing.T) {
		t.Parallel()
		if f := run(t, "http").Runs.(fetched); f.Server.Requests < 1000 || f.Server.MostConnections < 2 || f.Server.Connections != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("race", func(t *testing.T) {
		t.Parallel()
		for _, f := range run(t, "race").Runs.([]raced) {
			if f.Done+f.Refused != racers || f.Identical != 1 {
				t.Errorf("%+v", f)
			}
		}
	})
	t.Run("diskfull", func(t *testing.T) {
		t.Parallel()
		d, unmount, err := mountSmall(context.Background(), config{work: t.TempDir()})
		if err != nil {
			t.Skip(err)
		}
		total, _, err := d.space()
		if err != nil || total != smallBytes {
			t.Errorf("%d bytes, %v", total, err)
		}
		if err := unmount(); err != nil {
			t.Fatal(err)
		}
		if f := run(t, "diskfull").Runs.(filled); f.Tries != 2 || f.Full == 0 || f.Identical != f.Tries {
			t.Errorf("%+v", f)
		}
	})
}

// A program that does not do as it has to is found out.
func TestFindsOut(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a shell")
	}
	const script = `#!/bin/sh
case "$*" in
--help) echo "  score  x"; exit;;
"score --help") echo "  --out  x"; exit;;
esac
while [ "$1" != --out ]; do shift; done
mkdir -p "$2"
echo '{"rows": 5000, "scored": 4999, "rejected": 1, "reasons": {"decode: corrupt": 1}}' >"$2/manifest.json"
`
	path := filepath.Join(t.TempDir(), "logobeam")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	r, err := soak(context.Background(), []string{"rows", "--quick", "--logobeam", path, "--work", t.TempDir(), "--cases", "csv,off"}, &said)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{`csv, 5000 rows: 1 rejects are "decode: corrupt": want 0`}; r.OK || !reflect.DeepEqual(r.Problems, want) {
		t.Errorf("problems %q; want %q", r.Problems, want)
	}
	if want := []string{"score --repeats", "verify"}; !reflect.DeepEqual(r.Without, want) {
		t.Errorf("without %q; want %q", r.Without, want)
	}
	for _, text := range append(r.Problems, "left out") {
		if !strings.Contains(said.String(), text) {
			t.Errorf("%q is not said: %s", text, said.String())
		}
	}
}

func TestOutput(t *testing.T) {
	want := output{"_SUCCESS": "", "manifest.json": `{"rows": 2}`, "scores/a": "1", "rejects/a": "2"}
	for _, tt := range []struct {
		reason             string
		got                output
		differences, whole []string
	}{
		{"the same", want, nil, []string{"there is a _SUCCESS"}},
		{"unfinished", output{"manifest.json": `{"rows": 0}`, "scores/a": "1", "scores/.pending-b": "x"},
			[]string{"_SUCCESS is missing", "manifest.json has other bytes: 11, want 11", "rejects/a is missing", "scores/.pending-b should not be there"}, nil},
		{"half a part", output{"manifest.json": `{"rows": 0`, "scores/a": ""},
			[]string{"_SUCCESS is missing", "manifest.json has other bytes: 10, want 11", "rejects/a is missing", "scores/a has other bytes: 0, want 1"},
			[]string{"manifest.json is not whole: unexpected end of JSON input", "scores/a is not what an undisturbed run writes"}},
		{"another part", output{"scores/b": ""}, []string{"_SUCCESS is missing", "manifest.json is missing", "rejects/a is missing", "scores/a is missing", "scores/b should not be there"},
			[]string{"scores/b is not what an undisturbed run writes"}},
	} {
		if got := want.differences(tt.got); !reflect.DeepEqual(got, tt.differences) {
			t.Errorf("%s: differences %q; want %q", tt.reason, got, tt.differences)
		}
		if got := want.whole(tt.got); !reflect.DeepEqual(got, tt.whole) {
			t.Errorf("%s: not whole %q; want %q", tt.reason, got, tt.whole)
		}
	}
}

// Where a part has other bytes, the posts that ended otherwise are named.
func TestOtherRejects(t *testing.T) {
	part := func(rows ...rejectRow) string {
		var b bytes.Buffer
		if err := parquet.Write(&b, rows); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	late := rejectRow{"post-2", "http://a/hang/2", "fetch", "timeout", "no answer"}
	cut := rejectRow{"post-2", "http://a/hang/2", "fetch", "cut-off", "it ended"}
	want := output{"rejects/part-1.parquet": part(rejectRow{"post-1", "b.jpg", "decode", "corrupt", "bad"}, late)}
	for _, tt := range []struct {
		reason string
		got    output
		want   []string
	}{
		{"the same in other files", output{"rejects/a": part(late), "rejects/b": part(rejectRow{"post-1", "b.jpg", "decode", "corrupt", "bad"})}, nil},
		{"another reason, and one less", output{"rejects/a": part(cut)}, []string{
			`post-1 is a reject for "", want "decode: corrupt: bad, b.jpg"`,
			`post-2 is a reject for "fetch: cut-off: it ended, http://a/hang/2", want "fetch: timeout: no answer, http://a/hang/2"`}},
	} {
		if got := want.otherRejects(tt.got); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q; want %q", tt.reason, got, tt.want)
		}
	}
	whole := part(late)
	for at := range len(whole) {
		readRejects(whole[:at]) // does not panic
	}
}

func TestComplaint(t *testing.T) {
	for _, tt := range []struct {
		reason, said, want string
		ok                 bool
	}{
		{"one line", "scoring 40%\nlogobeam: out: no space left on device\n", "out: no space left on device", true},
		{"a warning before it", "logobeam: warning: no such kernel\nlogobeam: failed\n", "failed", true},
		{"none", "panic: what\n", "panic: what\n", false},
		{"two", "logobeam: a\nlogobeam: b\n", "logobeam: a\nlogobeam: b\n", false},
	} {
		got, err := ended{Code: 1, Err: tt.said}.complaint()
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: %q, %v; want %q, %v", tt.reason, got, err, tt.want, tt.ok)
		}
	}
}

func TestProgramHelp(t *testing.T) {
	p := program{lacks: map[string]bool{}, commands: "Commands:\n  score   x\n  verify  y\n\nFlags:\n  -h, --help   x\n",
		help: "Flags:\n      --retries int     how often (default 2)\n      --robots string   honour or ignore\n  -h, --help            help\n"}
	if got := p.having("--retries=2", "--robot=x", "--robots=ignore", "--listen=:1"); !reflect.DeepEqual(got, []string{"--retries=2", "--robots=ignore"}) {
		t.Errorf("flags %q", got)
	}
	if !p.command("verify") || p.command("retry") {
		t.Error("verify is there, retry is not")
	}
	if want := []string{"retry", "score --listen", "score --robot"}; !reflect.DeepEqual(p.lacking(), want) {
		t.Errorf("lacks %q; want %q", p.lacking(), want)
	}
}

func TestLeaks(t *testing.T) {
	flat, growing := make([]sample, 100), make([]sample, 100)
	for i := range growing {
		flat[i] = sample{Connections: 100 + i%7, Descriptors: 120 - i%5, Goroutines: min(40*i, 300)}
		growing[i] = sample{Connections: 100, Descriptors: 100 + 2*i, Goroutines: 50 * i}
	}
	if got := leaks(flat); got != nil {
		t.Errorf("flat: %q", got)
	}
	if want := []string{"open descriptors grew from 198 to 298", "goroutines grew from 2450 to 4950"}; !reflect.DeepEqual(leaks(growing), want) {
		t.Errorf("growing: %q; want %q", leaks(growing), want)
	}
	if got := leaks(growing[:19]); got != nil {
		t.Errorf("too short to say: %q", got)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"no-such"}, {"kill", "--no-such"}, {"kill", "stray"}, {"rows", "--logobeam", "/no/such"}} {
		var said bytes.Buffer
		if _, err := soak(context.Background(), args, &said); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	c, err := parse("kill", []string{"--kills", "7", "--timeout=3s", "--", "--workers", "2"}, &bytes.Buffer{})
	if err != nil || c.kills != 7 || c.timeout != 3*time.Second || !reflect.DeepEqual(c.flags, []string{"--workers", "2"}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, rows := range []string{"", "0", "1,x", "-5"} {
		if _, err := (config{rows: rows}).rowCounts(); err == nil {
			t.Errorf("--rows %q is taken", rows)
		}
	}
	if _, err := (config{rows: "1,2"}).oneRowCount(1); err == nil {
		t.Error("two numbers are taken for one")
	}
}
