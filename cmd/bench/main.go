// Command bench measures the engine: how many images a second every architecture is run forward and trained with, and how
// near that is to what the processor can do at most, which it measures first.
//
//	go run ./cmd/bench                                  # all of it, as a Markdown table
//	go run ./cmd/bench --what forward --arch resnet18   # one row or two
//	go run ./cmd/bench --json                           # one JSON object a row
//
// Weights and images are random and lie in memory. A rate is the median of several runs, with the lowest and the highest
// beside it; GFLOP/s count a multiplication and its addition as two, and leave biases and pools out. The share of the peak
// is of the fastest instruction for the precision on as many threads.
//
// With --serve it measures what it is asked for on its standard input; testdata/peers/compare.py takes turns with other
// systems in this way.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/kernel"
	"github.com/logobeam/logobeam/model/train"
)

var everything = []string{"peak", "forward", "train", "memory"}

// config is what to measure.
type config struct {
	what       []string
	archs      []string
	precisions []string
	threads    []int
	runs       int
	batch      int
	trainBatch int
	seconds    float64
	momentum   float64
	json       bool
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string, w io.Writer) error {
	var cfg config
	f := flag.NewFlagSet("bench", flag.ExitOnError)
	what := f.String("what", "all", "what to measure: "+strings.Join(everything, ", ")+", or several with commas")
	archs := f.String("arch", "all", "architectures: "+strings.Join(model.Architectures(), ", "))
	precisions := f.String("precision", "all", "of forward: "+strings.Join(forwardPrecisions, ", ")+"; of train: "+strings.Join(trainPrecisions, ", "))
	threads := f.String("threads", "", "numbers of threads (default 1 and all)")
	f.IntVar(&cfg.runs, "runs", 5, "measurements of each rate")
	f.IntVar(&cfg.batch, "batch", 0, "images a batch, forward (default what suits the network)")
	f.IntVar(&cfg.trainBatch, "train-batch", 40, "images a step of training")
	f.Float64Var(&cfg.seconds, "seconds", 1, "that a measurement takes at least")
	f.Float64Var(&cfg.momentum, "momentum", 0, "of training by SGD")
	f.BoolVar(&cfg.json, "json", false, "print one JSON object a row")
	serving := f.Bool("serve", false, "answer requests, one JSON object each, on standard input")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q is no flag; --help lists them", f.Arg(0))
	}
	if *serving {
		return serve(os.Stdin, w)
	}
	var err error
	if cfg.what, err = choose("what", *what, everything); err != nil {
		return err
	}
	if cfg.archs, err = choose("arch", *archs, model.Architectures()); err != nil {
		return err
	}
	if cfg.precisions, err = choose("precision", *precisions, knownPrecisions()); err != nil {
		return err
	}
	all := runtime.GOMAXPROCS(0)
	for _, s := range strings.FieldsFunc(cmp.Or(*threads, fmt.Sprintf("1,%d", all)), func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > all {
			return fmt.Errorf("--threads %s: want numbers from 1 to %d", *threads, all)
		}
		if !slices.Contains(cfg.threads, n) {
			cfg.threads = append(cfg.threads, n)
		}
	}
	if cfg.runs < 1 || cfg.batch < 0 || cfg.trainBatch < 1 || len(cfg.threads) == 0 || !(cfg.seconds >= 0 && cfg.seconds < 3600) || !(cfg.momentum >= 0 && cfg.momentum < 1) {
		return fmt.Errorf("want at least 1 run, 1 image a batch of training and 1 thread, 0 to 3600 seconds, and a momentum of 0 up to 1")
	}
	t := &table{json: cfg.json, w: w}
	return cfg.measure(t)
}

// choose reads a list of names, or all.
func choose(flag, list string, known []string) ([]string, error) {
	if list == "all" {
		return known, nil
	}
	names := strings.Split(list, ",")
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("--%s %s: %q is none of %s", flag, list, n, strings.Join(known, ", "))
		}
	}
	return names, nil
}

var (
	forwardPrecisions = []string{string(model.FP32), string(model.Int8)}
	trainPrecisions   = []string{train.FP32, train.BF16}
)

// knownPrecisions are those that are measured unless others are asked for: bfloat16 only where it is no matter of patience.
func knownPrecisions() []string {
	names := slices.Clone(forwardPrecisions)
	if kernel.HasBFloat16() {
		names = append(names, train.BF16)
	}
	return names
}

// row is a line of the results.
type row struct {
	What      string  `json:"what"`
	Arch      string  `json:"architecture,omitempty"`
	Precision string  `json:"precision"`
	Threads   int     `json:"threads"`
	Median    float64 `json:"median"` // images a second; of peaks GOP/s, of memory MB
	Min       float64 `json:"min"`
	Max       float64 `json:"max"`
	Unit      string  `json:"unit"`
	Rate      float64 `json:"gops,omitempty"`    // billions of operations a second
	Share     float64 `json:"of_peak,omitempty"` // 0 where the peak was not measured
	Note      string  `json:"note,omitempty"`    // such as the instruction
}

// table prints rows as they come.
type table struct {
	w      io.Writer
	json   bool
	headed bool
}

func (t *table) add(r row) error {
	if t.json {
		return json.NewEncoder(t.w).Encode(r)
	}
	if !t.headed {
		t.headed = true
		fmt.Fprintf(t.w, "%s, %s/%s, %d cores, kernels %s\n\n", processor(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), kernel.Features())
		fmt.Fprintln(t.w, "| what | architecture | precision | threads | median | min to max | | GOP/s | of peak |")
		fmt.Fprintln(t.w, "|---|---|---|--:|--:|--:|---|--:|--:|")
	}
	digits := 1
	if r.Median >= 1000 {
		digits = 0
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	rate, share := "", ""
	if r.Rate > 0 {
		rate = fmt.Sprintf("%.0f", r.Rate)
	}
	if r.Share > 0 {
		share = fmt.Sprintf("%.0f %%", 100*r.Share)
	}
	_, err := fmt.Fprintf(t.w, "| %s | %s | %s | %d | %s | %s to %s | %s | %s | %s |\n", r.What, cmp.Or(r.Arch, r.Note), r.Precision, r.Threads,
		number(r.Median), number(r.Min), number(r.Max), r.Unit, rate, share)
	return err
}

// summary fills in the median and the bounds.
func (r row) summary(values []float64) row {
	slices.Sort(values)
	n := len(values)
	r.Median, r.Min, r.Max = (values[(n-1)/2]+values[n/2])/2, values[0], values[n-1]
	return r
}

// of are the precisions to measure of those that something has.
func (cfg config) of(has []string) []string {
	return slices.DeleteFunc(slices.Clone(has), func(p string) bool { return !slices.Contains(cfg.precisions, p) })
}

func (cfg config) measure(t *table) error {
	best := map[string]map[int]float64{} // GOP/s by precision and threads
	if slices.Contains(cfg.what, "peak") {
		for _, p := range peaks {
			for _, n := range cfg.threads {
				if !p.has {
					continue
				}
				var rates []float64
				for range cfg.runs {
					rates = append(rates, p.rate(n, min(cfg.seconds, 0.3)))
				}
				r := row{What: "peak", Note: p.instruction, Precision: p.precision, Threads: n, Unit: "GOP/s"}.summary(rates)
				if best[p.precision] == nil {
					best[p.precision] = map[int]float64{}
				}
				best[p.precision][n] = max(best[p.precision][n], r.Max) // less is not the processor's doing
				if err := t.add(r); err != nil {
					return err
				}
			}
		}
		for _, precision := range []string{"fp32", "int8", "bf16"} {
			if best[precision] == nil && !t.json {
				defer fmt.Fprintf(t.w, "\nThe peak of %s was not measured: no instruction of this processor for it is known to this build.\n", precision)
			}
		}
	}
	rated := func(r row, rates []float64, multiplyAdds int) row {
		r = r.summary(rates)
		r.Unit, r.Rate = "images/s", 2*float64(multiplyAdds)*r.Median/1e9
		if p := best[r.Precision][r.Threads]; p > 0 {
			r.Share = r.Rate / p
		}
		return r
	}
	if slices.Contains(cfg.what, "forward") {
		for _, arch := range cfg.archs {
			for _, precision := range cfg.of(forwardPrecisions) {
				net, engine, err := compile(arch, "", model.Precision(precision), false)
				if err != nil {
					return err
				}
				operations, err := multiplyAdds(net)
				if err != nil {
					return err
				}
				for _, n := range cfg.threads {
					f, err := newForward(engine, n, cfg.batch)
					if err != nil {
						return err
					}
					var rates []float64
					for run := range cfg.runs + 1 {
						r, err := f.measure(cfg.seconds * float64(min(run, 1)))
						if err != nil {
							return err
						}
						if run > 0 { // the first fills caches
							rates = append(rates, r)
						}
					}
					if err := t.add(rated(row{What: "forward", Arch: arch, Precision: precision, Threads: n}, rates, operations)); err != nil {
						return err
					}
				}
			}
		}
	}
	if slices.Contains(cfg.what, "train") {
		for _, arch := range cfg.archs {
			net, err := model.New(arch, classes)
			if err != nil {
				return err
			}
			operations, err := stepMultiplyAdds(net)
			if err != nil {
				return err
			}
			for _, precision := range cfg.of(trainPrecisions) {
				for _, n := range cfg.threads {
					var rates []float64
					for range cfg.runs {
						r, err := steps(arch, precision, n, cfg.trainBatch, 1, cfg.seconds, cfg.momentum, false)
						if err != nil {
							return err
						}
						rates = append(rates, r)
					}
					if err := t.add(rated(row{What: "train", Arch: arch, Precision: precision, Threads: n}, rates, operations)); err != nil {
						return err
					}
				}
			}
		}
	}
	if slices.Contains(cfg.what, "memory") {
		for _, arch := range cfg.archs {
			for _, n := range cfg.threads {
				var sizes []float64
				for range min(cfg.runs, 3) { // it hardly varies
					bytes, err := trainMemory(request{Do: "train", Arch: arch, Threads: n, Batch: cfg.trainBatch, Steps: 2, Momentum: cfg.momentum})
					if err != nil {
						return err
					}
					sizes = append(sizes, float64(bytes)/1e6)
				}
				if sizes[0] == 0 {
					continue // this system does not tell
				}
				if err := t.add(row{What: "memory", Arch: arch, Precision: "fp32", Threads: n, Unit: "MB"}.summary(sizes)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// trainMemory is the peak of the memory of a process that trains.
func trainMemory(q request) (int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	line, err := json.Marshal(q)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, "--serve")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(line)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		return 0, err
	}
	if a.Error != "" {
		return 0, fmt.Errorf("%s", a.Error)
	}
	return a.PeakRSS, nil
}

// processor is the name of the processor, where Linux's /proc tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "a processor that has no name here"
}
