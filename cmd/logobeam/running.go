package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/report"
)

// runFlags are the flags of the commands that run a pipeline over photographs: score, retry, and of what they ask for beforehand,
// plan.
type runFlags struct {
	cfg        *pipelines.ScoreConfig
	allow      []string
	robots     string
	repeats    string
	maxRejects string
	deadline   string
	listen     string
	log        string
	json       bool
	noReport   bool
	nothing    string // what is said of an output with nothing to do
}

// resources are the flags that say what a run may take of the machine.
func (r *runFlags) resources(cmd *cobra.Command) {
	f, cfg := cmd.Flags(), r.cfg
	f.Var((*size)(&cfg.Memory), "memory", "that the program may take, as 4GiB")
	f.IntVar(&cfg.Workers, "workers", cfg.Workers, "`photographs` decoded and classified at one time")
	f.IntVar(&cfg.Batch, "batch", cfg.Batch, "`photographs` a worker classifies at once (default what suits the model)")
	f.StringVar(&r.repeats, "repeats", "remember", "of an image that comes again, by its name or by its bytes: remember its answer, or score it anew (`remember|score`)")
	heading(cmd, "The machine")
}

// watching are the flags of how a run ends, is watched, and where it is done.
func (r *runFlags) watching(cmd *cobra.Command) {
	f, cfg := cmd.Flags(), r.cfg
	f.StringVar(&r.maxRejects, "max-rejects", "100%", "`share` of rejects, as 5% or 0.05, above which the exit code is 3; the run stops as soon as that is plain")
	f.StringVar(&r.deadline, "deadline", "", "`time` of day, as 06:00, or RFC 3339 time at which the run stops with what is done and exit code 3; the same command goes on from there")
	f.StringVar(&r.listen, "listen", "", "`address`, as localhost:8080, of a status page, Prometheus metrics and profiles while it runs")
	f.StringVar(&r.log, "log", "off", "`off|text|json`: lines on standard error, off for what is stuck alone, the others for each chunk, too")
	f.BoolVar(&r.noReport, "no-report", false, "do not write OUT/report.html and OUT/runs.jsonl, which are for people")
	heading(cmd, "End and progress")
	f.StringVar(&cfg.Runner, "runner", cfg.Runner, "`name` of what does the work: "+strings.Join(pipelines.Runners(), ", ")+" (logobeam help runners)")
	flinkFlags(cmd, &cfg.Flink)
	heading(cmd, "Where the work is done")
	beamFlags(cmd)
}

// fetching are the flags of how images are fetched.
func (r *runFlags) fetching(cmd *cobra.Command) {
	f, c := cmd.Flags(), &r.cfg.Images.Fetch
	f.DurationVar(&c.Timeout, "timeout", c.Timeout, "for getting one photograph, all attempts together")
	f.IntVar(&c.Retries, "retries", c.Retries, "`attempts` after the first, for reasons that may pass")
	f.DurationVar(&c.Patience, "patience", c.Patience, "for the pauses that a host asks for (429, Retry-After), all together, before its photographs are left for a retry")
	f.IntVar(&c.Connections, "connections", c.Connections, "`photographs` fetched at one time")
	f.IntVar(&c.HostConnections, "host-connections", c.HostConnections, "`photographs` fetched from one host at one time")
	f.Float64Var(&c.HostRate, "host-rate", c.HostRate, "`requests` a second to one host (default no limit)")
	f.StringVar(&c.Contact, "contact", c.Contact, "`URL` or mail address that the user agent names, for people whose sites are fetched from")
	f.StringVar(&r.robots, "robots", "honour", "`honour|ignore` robots.txt and X-Robots-Tag")
	allowNetFlag(cmd, &r.allow)
	heading(cmd, "Fetching photographs")
}

// complete reads what the flags say into the configuration.
func (r *runFlags) complete(cmd *cobra.Command) (allowed float64, err error) {
	cfg := r.cfg
	cfg.Program = "logobeam " + version()
	if cfg.Images.Fetch.AllowNet, err = prefixes(r.allow); err != nil {
		return 0, err
	}
	if cfg.Images.Fetch.IgnoreRobots, err = either("--robots", r.robots, "honour", "ignore"); err != nil {
		return 0, err
	}
	if cfg.Repeats, err = either("--repeats", r.repeats, "remember", "score"); err != nil {
		return 0, err
	}
	if err := completeFetching(&cfg.Images.Fetch); err != nil {
		return 0, err
	}
	if r.maxRejects != "" {
		if allowed, err = parseShare(r.maxRejects); err != nil {
			return 0, err
		}
		cfg.MaxRejects = &allowed
	}
	if r.deadline != "" {
		if cfg.Deadline, err = parseDeadline(r.deadline, time.Now()); err != nil {
			return 0, err
		}
	}
	switch r.log {
	case "off", "": // what is stuck is said all the same
		cfg.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	case "text":
		cfg.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	case "json":
		cfg.Log = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
	default:
		return 0, usagef("--log is %s: want off, text or json", r.log)
	}
	return allowed, nil
}

// completeFetching refuses what cannot be meant, and writes zero in a way that is not taken for the default.
func completeFetching(c *fetch.Config) error {
	if c.Timeout <= 0 || c.Connections < 1 || c.HostConnections < 1 {
		return usagef("--timeout %v, --connections %d, --host-connections %d: want more than 0 of each", c.Timeout, c.Connections, c.HostConnections)
	}
	if c.Retries < 0 || c.Patience < 0 || !(c.HostRate >= 0) {
		return usagef("--retries %d, --patience %v, --host-rate %v: want 0 or more of each", c.Retries, c.Patience, c.HostRate)
	}
	if err := c.Validate(); err != nil {
		return usagef("--contact: %w", err) // the rest was checked
	}
	if c.Retries == 0 {
		c.Retries = -1
	}
	c.Patience = max(c.Patience, 1)
	return nil
}

// either reads a flag with two values: the first is false, the second true.
func either(flag, value, no, yes string) (bool, error) {
	if value != no && value != yes {
		return false, usagef("%s is %s: want %s or %s", flag, value, no, yes)
	}
	return value == yes, nil
}

// run does what a command is for: it shows how far it is, serves the status page, and says what came out.
func (r *runFlags) run(cmd *cobra.Command, label string, do func(context.Context, pipelines.ScoreConfig) (pipelines.Summary, error)) error {
	allowed, err := r.complete(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	served := func() {}
	defer func() { cancel(); served() }()
	var running atomic.Pointer[monitor.Monitor]
	var listening error
	cfg := *r.cfg
	cfg.Started = func(m *monitor.Monitor) {
		running.Store(m)
		if r.listen == "" {
			return
		}
		addr, wait, err := monitor.Serve(ctx, r.listen, m, cfg.Log)
		if err != nil {
			listening = fmt.Errorf("--listen: %w", err)
			cancel()
			return
		}
		served = wait
		fmt.Fprintf(cmd.ErrOrStderr(), "logobeam: status at http://%s/\n", addr)
	}
	stop := watch(ctx, cmd.ErrOrStderr(), label, func() tick { return tickOf(running.Load()) })
	s, err := do(ctx, cfg)
	stop()
	switch {
	case listening != nil:
		return listening
	case errors.Is(err, pipelines.ErrRejects):
		fmt.Fprint(cmd.ErrOrStderr(), running.Load().Explain(advice))
		return fmt.Errorf("stopped early, as it is plain with --max-rejects %s: %w", r.maxRejects, err)
	case err != nil:
		return err
	}
	if !s.Already && !r.noReport {
		r.reportOn(ctx, cmd.ErrOrStderr(), running.Load())
	}
	if r.json {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
			pipelines.Summary
			Seconds   float64 `json:"seconds"`
			Predicted float64 `json:"predicted_seconds,omitempty"`
		}{s, s.Elapsed.Seconds(), s.Predicted.Seconds()})
	} else {
		_, err = fmt.Fprint(cmd.OutOrStdout(), r.describe(cfg.Out, s))
	}
	if err == nil && float64(s.Rejected) > allowed*float64(s.Rows) {
		fmt.Fprint(cmd.ErrOrStderr(), running.Load().Explain(advice)) // nothing, if nothing was done
		err = fmt.Errorf("%w: %d of %d rows, and --max-rejects is %s; the reasons are in %s/rejects", pipelines.ErrRejects, s.Rejected, s.Rows, r.maxRejects, cfg.Out)
	}
	return err
}

// tickOf is how far a run is.
func tickOf(m *monitor.Monitor) tick {
	s := m.Snapshot()
	return tick{done: s.Done, total: s.Rows, rejected: s.Rejected, skipped: s.Skipped, binds: s.Binds, known: true, rate: s.Rate, left: s.Remaining.Duration()}
}

// describe is the summary for people.
func (r *runFlags) describe(out string, s pipelines.Summary) string {
	text := report.Summary{Rows: s.Rows, Scored: s.Scored, Rejected: s.Rejected, Skipped: s.Skipped, Elapsed: s.Elapsed.Round(time.Millisecond),
		Predicted: s.Predicted.Round(time.Second), Brands: s.Brands, Reasons: s.Reasons}.String()
	if s.Already {
		return fmt.Sprintf("%s %s: nothing to do\n\n%s", out, r.nothing, text)
	}
	text += fmt.Sprintf("\n%s holds the scores, %s the rejects\n", out+"/scores", out+"/rejects")
	if !r.noReport {
		text += fmt.Sprintf("%s shows them\n", out+"/report.html")
	}
	if s.Retryable > 0 {
		text += fmt.Sprintf("%s may succeed at another time: logobeam retry %s\n", count(s.Retryable, "reject"), out)
	}
	return text
}

// parseShare reads 5% or 0.05.
func parseShare(s string) (float64, error) {
	number, scale := s, 1.0
	if n, ok := strings.CutSuffix(s, "%"); ok {
		number, scale = n, 100
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v >= 0 && v <= scale) {
		return 0, usagef("--max-rejects is %s: want a share, as 5%% or 0.05", s)
	}
	return v / scale, nil
}

// parseDeadline reads the next time that it is 06:00, or a time with its date.
func parseDeadline(s string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		if !at.After(now) {
			return at, usagef("--deadline %s is over", s)
		}
		return at, nil
	}
	clock, err := time.Parse("15:04", s)
	if err != nil {
		return time.Time{}, usagef("--deadline is %s: want a time of day, as 06:00, or one with its date, as 2026-11-27T06:00:00Z", s)
	}
	at := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, now.Location())
	if !at.After(now) {
		at = at.AddDate(0, 0, 1)
	}
	return at, nil
}
