package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/monitor"
)

func newPlan() *cobra.Command {
	cfg := pipelines.DefaultScoreConfig()
	r := runFlags{cfg: &cfg}
	var sample int
	var seed uint64
	cmd := &cobra.Command{
		Use:   "plan LISTING",
		Short: "say what score would take: time, bytes, memory, and what binds",
		Long: `plan scores a sample of the listing, writes nothing, and says what all of it will
take on this machine with the same flags. Images that are on this machine are
timed as they are; images over the network are taken to come as fast as those of
the sample, as many at a time as --connections and --host-connections allow.`,
		Example: `  logobeam plan posts.csv
  logobeam plan posts.parquet --sample 2000 --connections 256`,
		Args: exactly("LISTING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Listing, cfg.Out = args[0], "-" // nothing is written
			if sample < 1 {
				return usagef("--sample is %d: want at least 1 row", sample)
			}
			if _, err := r.complete(cmd); err != nil {
				return err
			}
			if err := cfg.Validate(); err != nil {
				return usageError{err}
			}
			var sampling atomic.Pointer[monitor.Monitor]
			cfg.Started = sampling.Store
			stop := watch(cmd.Context(), cmd.ErrOrStderr(), "sampling", func() tick { return tickOf(sampling.Load()) })
			p, err := pipelines.Predict(cmd.Context(), cfg, sample, seed)
			stop()
			if err != nil {
				return err
			}
			if r.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(p)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), describePlan(p, time.Now()))
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&sample, "sample", 500, "`rows` to look at")
	f.Uint64Var(&seed, "seed", 1, "`number` that the sample is drawn by")
	modelFlag(cmd, &cfg.Model)
	runModelFlags(cmd, &cfg.Config)
	jsonFlag(cmd, &r.json)
	heading(cmd, "Flags")
	listingFlags(cmd, &cfg)
	r.fetching(cmd)
	limitFlags(cmd, &cfg.Images.Limits)
	heading(cmd, "Limits of one photograph")
	r.resources(cmd)
	return cmd
}

// describePlan is a prediction for people.
func describePlan(p pipelines.Prediction, now time.Time) string {
	about := "about "
	if p.Exact {
		about = ""
	}
	took := time.Duration(p.Seconds * float64(time.Second))
	shown := took.Round(time.Second)
	if took < 10*time.Second {
		shown = took.Round(100 * time.Millisecond)
	}
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s "+format+"\n", append([]any{name}, args...)...)
	}
	line("rows", "%s%d; %d were looked at, %.1f %% of them rejected", about, p.Rows, p.Sampled, 100*p.Rejects)
	if p.Fresh < 1 {
		line("", "%.1f %% have an image that none before has", 100*p.Fresh)
	}
	line("time", "%v, until %s if it begins now", shown, now.Add(took).Format("Mon 15:04"))
	line("binds", "%s: %s", p.Binds, remedy(p))
	line("an image", "%s decode, %s infer%s", milliseconds(p.Decode), milliseconds(p.Infer), latency(p))
	line("images", "%s to fetch", bytesOf(p.ImageBytes))
	line("output", "%s", bytesOf(p.OutputBytes))
	line("memory", "%s at most", bytesOf(p.Memory))
	return b.String()
}

// remedy is what would make the run shorter.
func remedy(p pipelines.Prediction) string {
	switch {
	case p.Binds != monitor.Fetch.String():
		return "more cores would help"
	case p.Hosts > 0:
		return "more --connections and --host-connections would help, if the hosts can bear them"
	}
	return "a faster disk would help"
}

func latency(p pipelines.Prediction) string {
	if p.Latency == 0 {
		return ""
	}
	return fmt.Sprintf(", %s over the network from %s", milliseconds(p.Latency), count(int64(p.Hosts), "host"))
}

func milliseconds(s float64) string { return fmt.Sprintf("%.2f ms", 1000*s) }

// bytesOf is a number of bytes with a unit that leaves few digits.
func bytesOf(n int64) string {
	v, unit := float64(n), "bytes"
	for _, larger := range []string{"KB", "MB", "GB", "TB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, larger
	}
	if unit == "bytes" {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
