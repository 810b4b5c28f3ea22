package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines"
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
			p, err := pipelines.Predict(cmd.Context(), cfg, sample, seed)
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
	modelFlag(cmd, &cfg.Model)
	precisionFlag(cmd, &cfg.Precision)
	listingFlags(cmd, &cfg)
	f.IntVar(&sample, "sample", 500, "rows to look at")
	f.Uint64Var(&seed, "seed", 1, "that the sample is drawn by")
	r.resources(cmd)
	limitFlags(cmd, &cfg.Images.Limits)
	return cmd
}

// describePlan is a prediction for people.
func describePlan(p pipelines.Prediction, now time.Time) string {
	about := "about "
	if p.Exact {
		about = ""
	}
	took := time.Duration(p.Seconds * float64(time.Second)).Round(time.Second)
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s "+format+"\n", append([]any{name}, args...)...)
	}
	line("rows", "%s%d; %d were looked at, %.1f %% of them rejected, %.0f %% of images new", about, p.Rows, p.Sampled, 100*p.Rejects, 100*p.Fresh)
	line("time", "%v, until %s if it begins now", took, now.Add(took).Format("Mon 15:04"))
	line("binds", "%s", p.Binds)
	line("an image", "%s decode, %s infer%s", milliseconds(p.Decode), milliseconds(p.Infer), latency(p))
	line("images", "%s to fetch", megabytes(p.ImageBytes))
	line("output", "%s", megabytes(p.OutputBytes))
	line("memory", "%s at most", megabytes(p.Memory))
	return b.String()
}

func latency(p pipelines.Prediction) string {
	if p.Latency == 0 {
		return ""
	}
	return fmt.Sprintf(", %s over the network from %d host(s)", milliseconds(p.Latency), p.Hosts)
}

func milliseconds(s float64) string { return fmt.Sprintf("%.2f ms", 1000*s) }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
