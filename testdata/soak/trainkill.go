package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// trainKilled are the figures of the command train-kill.
type trainKilled struct {
	Workers     int     `json:"workers"`
	Rounds      int     `json:"rounds"`
	Undisturbed float64 `json:"undisturbed_seconds"`
	Kills       int     `json:"kills"`
	Outputs     int     `json:"outputs"`
	Most        int     `json:"most_kills"` // of one output
	Early       int     `json:"before_run"` // kills before there was a training at all
	States      int     `json:"with_states"`
	Identical   int     `json:"identical"` // outputs with the bytes of the undisturbed run
}

// trainWorkers, trainEpochs and trainSync are those of the trainings that are killed.
const (
	trainWorkers = 2
	trainEpochs  = 3
	trainSync    = 0.5
)

// runTrainKill kills a training in rounds at random moments and resumes it. The model and the states of all rounds have to be an
// undisturbed run's, bit for bit.
func runTrainKill(ctx context.Context, cfg config, p *program, r *report) error {
	kills := cfg.kills
	if cfg.quick {
		kills = 2
	}
	data := filepath.Join(cfg.work, "data")
	if err := trainData(data); err != nil {
		return err
	}
	to := func(out string) []string {
		return append([]string{"train", data, "--out", out, "--arch", "mlp", "--size", "32", "--epochs", fmt.Sprint(trainEpochs), "--augment", "strong", "--resume",
			"--solver", "adamw", "--lr", "0.001", "--ema", "1", "--head-epochs", "1", "--workers", fmt.Sprint(trainWorkers), "--sync", fmt.Sprint(trainSync),
			"--outer-lr", "0.7", "--outer-momentum", "0.9"}, cfg.flags...)
	}
	first := filepath.Join(cfg.work, "undisturbed")
	e, err := p.run(ctx, nil, to(first)...)
	if err != nil {
		return err
	}
	if err := e.failure(); err != nil {
		return fmt.Errorf("the undisturbed training: %w", err)
	}
	want, err := trained(first)
	if err != nil {
		return err
	}
	k := trainKilled{Workers: trainWorkers, Rounds: int(trainEpochs / trainSync), Undisturbed: round(e.Wall.Seconds())}
	random := rand.New(rand.NewPCG(cfg.seed, 2))
	for k.Kills < kills {
		out := filepath.Join(cfg.work, fmt.Sprint("killed-", k.Outputs))
		here := 0
		for spread := 1.0; k.Kills < kills; spread *= 0.8 { // what is left to do takes less time
			run, err := p.start(ctx, nil, to(out)...)
			if err != nil {
				return err
			}
			was := run.killAfter(time.Duration(random.Float64() * spread * float64(e.Wall)))
			if err := ctx.Err(); err != nil {
				return err
			}
			if !was {
				break // it has ended before; how, the run below will say
			}
			k.Kills++
			here++
			if states, _ := filepath.Glob(filepath.Join(out, "rounds", "*", "*-state-*")); len(states) > 0 {
				k.States++
			} else if _, err := os.Stat(filepath.Join(out, "rounds", "run.json")); err != nil {
				k.Early++
			}
			if random.IntN(4) == 0 {
				break
			}
		}
		if here > 0 {
			k.Outputs++
			k.Most = max(k.Most, here)
			if err := k.resume(ctx, p, out, to(out), want, r); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	r.Runs = k
	r.row("workers", "rounds", "undisturbed", "kills", "outputs", "most kills", "before run", "with states", "identical")
	r.row(k.Workers, k.Rounds, fmt.Sprint(k.Undisturbed, " s"), k.Kills, k.Outputs, k.Most, k.Early, k.States, k.Identical)
	return nil
}

// resume ends a training that was killed, and compares.
func (k *trainKilled) resume(ctx context.Context, p *program, out string, args []string, want output, r *report) error {
	end, err := p.run(ctx, nil, args...)
	if err != nil {
		return err
	}
	// A kill in the last moment may leave a finished model, which the command rather not replaces.
	if err := end.failure(); err != nil && !strings.Contains(end.Err, "holds a finished model") {
		r.problem("output %d cannot be resumed: %v", k.Outputs, err)
		return nil
	}
	got, err := trained(out)
	if err != nil {
		r.problem("output %d: %v", k.Outputs, err)
		return nil
	}
	differs := want.differences(got)
	if len(differs) == 0 {
		k.Identical++
	}
	for _, d := range differs {
		r.problem("output %d: %s", k.Outputs, d)
	}
	return nil
}

// trained is what a training has left, without what is another in each run: times, hosts, and the folder's own name.
func trained(out string) (output, error) {
	all, err := readOutput(out)
	if err != nil {
		return nil, err
	}
	all["model.json"] = strings.ReplaceAll(all["model.json"], out, "OUT")
	var b strings.Builder
	for line := range strings.Lines(all["rounds.jsonl"]) {
		var l struct {
			Round, Epoch, Worker, Images int
			State, Merged, Best          string
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return nil, fmt.Errorf("rounds.jsonl: %w", err)
		}
		fmt.Fprintln(&b, l)
	}
	all["rounds.jsonl"] = b.String()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(name, ".") {
			return nil, fmt.Errorf("%s was left behind", name)
		}
	}
	return all, nil
}

// trainData writes small photographs of two brands and of none, with their listings.
func trainData(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	names, err := localImages(dir)
	if err != nil {
		return err
	}
	for file, rows := range map[string]int{"train.csv": 60, "val.csv": 12} {
		err := writeFile(filepath.Join(dir, file), func(w *bufio.Writer) {
			fmt.Fprintln(w, "image,label")
			for i := range rows {
				fmt.Fprintf(w, "%s,%s\n", names[i%len(names)], []string{"adidas", "bmw", "no-logo"}[i%3])
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
