package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/logobeam/logobeam/pipelines/fetch/hostile"
)

// overHTTP is a listing over the hostile server and the command that scores it.
type overHTTP struct {
	server  *hostile.Server
	rows    int
	listing string
	want    expectation
	args    []string // of score, but for --out
}

// serve starts the hostile server, and writes a listing over it. The caller closes the server.
func serve(cfg config, p *program, m mix, hosts int, flags ...string) (*overHTTP, error) {
	model, err := cfg.modelFolder()
	if err != nil {
		return nil, err
	}
	o := &overHTTP{server: hostile.New(hostile.Options{}), rows: m.rows, listing: filepath.Join(cfg.work, "posts.csv")}
	urls, err := o.server.Listen(hosts)
	if err != nil {
		return nil, err
	}
	if o.want, err = hostileListing(o.listing, p, urls, m, cfg.seed); err != nil {
		o.server.Close()
		return nil, err
	}
	// What has no end is cut off early, as its whole 32 MiB may take longer than the time limit on a busy machine.
	o.args = append([]string{"score", o.listing, "--model", model, "--timeout", cfg.timeout.String(), "--max-bytes", "2000000"}, p.having(append(flags, fmt.Sprint("--retries=", cfg.retries))...)...)
	if !p.has("--connections") {
		o.args = append(o.args, "--workers", "64") // each of which fetches
	}
	for _, n := range o.server.Networks() {
		o.args = append(o.args, "--allow-net", n.String())
	}
	o.args = append(o.args, cfg.flags...)
	return o, nil
}

// to is the command with an output.
func (o *overHTTP) to(out string) []string {
	return append(o.args[:len(o.args):len(o.args)], "--out", out)
}

// undisturbed runs the command once, checks how each row has ended, and returns what it wrote and how long it took.
func (o *overHTTP) undisturbed(ctx context.Context, p *program, out string, r *report) (output, ended, error) {
	o.server.Forget()
	e, err := p.run(ctx, nil, o.to(out)...)
	if err != nil {
		return nil, e, err
	}
	if err := e.failure(); err != nil {
		return nil, e, fmt.Errorf("the undisturbed run: %w", err)
	}
	want, err := readOutput(out)
	if err != nil {
		return nil, e, err
	}
	if err := o.want.check([]byte(want["manifest.json"]), o.rows); err != nil {
		r.problem("the undisturbed run: %v", err)
	}
	r.check("the undisturbed run", ctx, p, out, want, want)
	return want, e, nil
}

// check reports what is not as it has to be of a finished output.
func (r *report) check(what string, ctx context.Context, p *program, out string, want, got output) {
	for _, d := range want.differences(got) {
		r.problem("%s: %s", what, d)
	}
	for name := range got {
		if strings.HasPrefix(filepath.Base(name), ".") {
			r.problem("%s: %s was left behind", what, name)
		}
	}
	if err := p.verify(ctx, nil, out); err != nil {
		r.problem("%s: %v", what, err)
	}
}

// killed are the figures of the command kill.
type killed struct {
	Rows        int     `json:"rows"`
	Undisturbed float64 `json:"undisturbed_seconds"`
	Kills       int     `json:"kills"`
	Outputs     int     `json:"outputs"`       // each of which was killed once at least
	Most        int     `json:"most_kills"`    // of one output
	Early       int     `json:"before_output"` // kills before there was an output at all
	Parts       int     `json:"with_parts"`    // kills after which some parts were there
	Identical   int     `json:"identical"`     // outputs with the bytes of the undisturbed run
}

func runKill(ctx context.Context, cfg config, p *program, r *report) error {
	rows, err := cfg.oneRowCount(200)
	if err != nil {
		return err
	}
	kills, m := cfg.kills, mix{rows: rows, faults: 0.3, slow: 0.03}
	if cfg.quick {
		kills, m.faults, m.hurried = 3, 0.1, true
	}
	o, err := serve(cfg, p, m, 8, fmt.Sprint("--chunk-rows=", max(rows/40, 10)), "--connections=128", "--host-connections=32")
	if err != nil {
		return err
	}
	defer o.server.Close()
	first := filepath.Join(cfg.work, "undisturbed")
	want, e, err := o.undisturbed(ctx, p, first, r)
	if err != nil {
		return err
	}
	k := killed{Rows: rows, Undisturbed: round(e.Wall.Seconds())}
	random := rand.New(rand.NewPCG(cfg.seed, 1))
	for k.Kills < kills {
		out := filepath.Join(cfg.work, fmt.Sprint("killed-", k.Outputs))
		o.server.Forget()
		here := 0
		for spread := 1.0; k.Kills < kills; spread *= 0.7 { // what is left to do takes less time
			run, err := p.start(ctx, nil, o.to(out)...)
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
			k.look(out, want, r)
			if random.IntN(3) == 0 {
				break
			}
		}
		if here == 0 {
			if err := os.RemoveAll(out); err != nil {
				return err
			}
			continue
		}
		end, err := p.run(ctx, nil, o.to(out)...)
		if err != nil {
			return err
		}
		k.Outputs++
		k.Most = max(k.Most, here)
		what := fmt.Sprintf("output %d, killed %d times", k.Outputs, here)
		if err := end.failure(); err != nil {
			r.problem("%s, cannot be resumed: %v", what, err)
			continue
		}
		got, err := readOutput(out)
		if err != nil {
			return err
		}
		if len(want.differences(got)) == 0 {
			k.Identical++
		}
		r.check(what, ctx, p, out, want, got)
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	r.Runs = k
	r.row("rows", "undisturbed", "kills", "outputs", "most kills", "before output", "with parts", "identical")
	r.row(k.Rows, fmt.Sprint(k.Undisturbed, " s"), k.Kills, k.Outputs, k.Most, k.Early, k.Parts, k.Identical)
	return os.RemoveAll(first)
}

// look is at what lies there after a kill: nothing under a final name is other than whole.
func (k *killed) look(out string, want output, r *report) {
	got, err := readOutput(out)
	if err != nil {
		k.Early++
		return
	}
	if len(want.differences(got)) == 0 {
		return // killed between its last work and its end
	}
	for name := range got {
		if strings.HasPrefix(name, "scores/part-") {
			k.Parts++
			break
		}
	}
	if wrong := want.whole(got); len(wrong) > 0 {
		r.problem("after a kill: %s", strings.Join(wrong, ", "))
	}
}
