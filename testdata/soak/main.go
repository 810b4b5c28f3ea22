// Soak drives the program from outside, as it is built, for longer and against worse than tests do. From the repository's
// root, for instance,
//
//	go run ./testdata/soak kill --logobeam bin/logobeam --kills 100
//	go run ./testdata/soak http --logobeam bin/logobeam --rows 1000000 -- --connections 256
//
// What stands behind "--" are further flags for logobeam score, or train. Each command prints a table to standard error and one JSON
// object to standard output, and ends with exit code 1 if anything is not as it has to be. What a program of another
// version lacks, a flag or a command, is left out and named. --quick is a size for tests.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// config is what the flags say. A command reads those that concern it.
type config struct {
	logobeam string // the program
	work     string // folder for everything that is made
	keep     bool
	seed     uint64
	quick    bool
	rows     string        // numbers of rows, separated by commas
	timeout  time.Duration // of score, for an image
	retries  int           // likewise
	kills    int
	tries    int
	small    string   // folder on a small file system
	model    string   // folder of a model; a tiny one is made if there is none
	cases    string   // of the command rows
	offFlags string   // which keep score from remembering answers
	flags    []string // further ones for score
}

// report is what comes out of a command.
type report struct {
	Command  string   `json:"command"`
	OK       bool     `json:"ok"`
	Seconds  float64  `json:"seconds"`
	Problems []string `json:"problems,omitempty"`
	Without  []string `json:"without,omitempty"` // flags and commands that the program lacks
	Runs     any      `json:"runs"`              // figures
	table    [][]string
}

func (r *report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *report) row(cells ...any) {
	line := make([]string, len(cells))
	for i, c := range cells {
		line[i] = fmt.Sprint(c)
	}
	r.table = append(r.table, line)
}

type command struct {
	name, text string
	run        func(context.Context, config, *program, *report) error
}

// Nothing hangs in a quick run, so that its time limit is not reached on busy machines, and what fails is tried again once.
const (
	quickTimeout = 5 * time.Second
	quickRetries = 1
)

var commands = []command{
	{"kill", "kills score at random moments, resumes, and compares all bytes with an undisturbed run's", runKill},
	{"train-kill", "kills train --workers at random moments, resumes, and compares model and states with an undisturbed run's", runTrainKill},
	{"diskfull", "lets the disk run full at random points, resumes, and compares (needs root, or --dir)", runDiskFull},
	{"rows", "memory and time for few and very many rows over a few local images", runRows},
	{"http", "very many rows from the hostile server: rate, connections, descriptors, goroutines", runHTTP},
	{"race", "several processes on one output at once, on disk and in a bucket", runRace},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := soak(ctx, os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil || !r.OK {
		os.Exit(1)
	}
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: soak COMMAND [flags] [-- flags of logobeam score]")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.text)
	}
}

// soak runs a command and shows its table. An error is one of the harness; what is wrong with the program is in the report.
func soak(ctx context.Context, args []string, stderr io.Writer) (report, error) {
	if len(args) == 0 {
		usage(stderr)
		return report{}, errors.New("a command is missing")
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		usage(stderr)
		return report{}, fmt.Errorf("there is no command %q", args[0])
	}
	cfg, err := parse(args[0], args[1:], stderr)
	if err != nil {
		return report{}, err
	}
	if cfg.work, err = os.MkdirTemp(cfg.work, "soak-"+args[0]+"-*"); err != nil {
		return report{}, err
	}
	if cfg.keep {
		fmt.Fprintln(stderr, "everything is kept in", cfg.work)
	} else {
		defer os.RemoveAll(cfg.work)
	}
	p, err := openProgram(ctx, cfg.logobeam, cfg.work)
	if err != nil {
		return report{}, err
	}
	began := time.Now()
	r := report{Command: args[0]}
	if err := commands[i].run(ctx, cfg, p, &r); err != nil {
		return r, err
	}
	r.Seconds = round(time.Since(began).Seconds())
	r.Without = p.lacking()
	r.OK = len(r.Problems) == 0
	r.show(stderr)
	return r, nil
}

func parse(command string, args []string, stderr io.Writer) (config, error) {
	var c config
	f := flag.NewFlagSet("soak "+command, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.logobeam, "logobeam", "bin/logobeam", "the program")
	f.StringVar(&c.work, "work", "", "folder for the temporary folder that everything is made in (default the system's)")
	f.BoolVar(&c.keep, "keep", false, "keep that folder")
	f.Uint64Var(&c.seed, "seed", 1, "what everything random is drawn from")
	f.BoolVar(&c.quick, "quick", false, "a size for tests")
	f.StringVar(&c.model, "model", "", "folder of a model (default a tiny one that is made)")
	switch command {
	case "kill":
		f.StringVar(&c.rows, "rows", "1500", "rows of the listing")
		f.IntVar(&c.kills, "kills", 100, "how often the program is killed")
	case "train-kill":
		f.IntVar(&c.kills, "kills", 20, "how often the program is killed")
	case "diskfull":
		f.StringVar(&c.rows, "rows", "1000", "rows of the listing")
		f.IntVar(&c.tries, "tries", 20, "how often the disk is full")
		f.StringVar(&c.small, "dir", "", "empty folder on a file system of at most 256 MiB (default one that is mounted, by root)")
	case "rows":
		f.StringVar(&c.rows, "rows", "100000,10000000", "rows of the listings, the smallest first")
		f.StringVar(&c.cases, "cases", "csv,parquet,off", "csv and parquet listings; off: csv, with --off-flags")
		f.StringVar(&c.offFlags, "off-flags", "--repeats=score", "flags that keep score from remembering answers")
	case "http":
		f.StringVar(&c.rows, "rows", "1000000", "rows of the listing")
	case "race":
		f.StringVar(&c.rows, "rows", "2000", "rows of the listing")
		f.IntVar(&c.tries, "tries", 5, "how often")
	}
	timeout := 2 * time.Second
	if command == "http" { // where the machine is at its limit, and nothing is to be late for want of it
		timeout = 5 * time.Second
	}
	f.DurationVar(&c.timeout, "timeout", timeout, "of score, for an image: what hangs costs it")
	f.IntVar(&c.retries, "retries", 2, "of score, if it has that flag")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	c.flags = f.Args()
	if c.quick {
		c.timeout, c.retries = quickTimeout, quickRetries
	}
	if len(c.flags) > 0 && !strings.HasPrefix(c.flags[0], "-") {
		return c, fmt.Errorf("unexpected %q: flags of score stand behind --", c.flags[0])
	}
	return c, nil
}

func (r *report) show(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range r.table {
		fmt.Fprintln(t, strings.Join(line, "\t")+"\t")
	}
	t.Flush()
	if len(r.Without) > 0 {
		fmt.Fprintln(w, "left out, as the program has none:", strings.Join(r.Without, ", "))
	}
	for _, p := range r.Problems {
		fmt.Fprintln(w, "PROBLEM:", p)
	}
	fmt.Fprintf(w, "%s: %s, %.1f s\n", r.Command, map[bool]string{true: "all as it has to be", false: fmt.Sprint(len(r.Problems), " problems")}[r.OK], r.Seconds)
}

// round keeps three digits behind the point.
func round(x float64) float64 { return float64(int64(x*1000+0.5)) / 1000 }
