package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/report"
	"github.com/logobeam/logobeam/transforms"
)

func newScore() *cobra.Command {
	cfg := pipelines.DefaultScoreConfig()
	var allow []string
	var format, maxRejects string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "score LISTING --out OUT",
		Short: "classify the photographs of a listing of posts, into Parquet",
		Long: `score reads a listing of posts (post_id,image), classifies each photograph, and
writes

  OUT/scores/*.parquet    post_id, brand, probability, frames
  OUT/rejects/*.parquet   post_id, image, stage, reason, detail, retryable
  OUT/manifest.json       what was run on what, and what came out
  OUT/_SUCCESS            last

Every row of the listing is in exactly one of scores and rejects. A second run on
a finished output does nothing; an interrupted one goes on where it was.

LISTING is CSV with a header, JSON Lines, Parquet, or text with an image a line,
or a pattern of such files in quotes. Images are paths or http(s) URLs.
` + reasons(),
		Example: `  logobeam score posts.csv --out scored
  logobeam score 'nights/*.parquet' --out scored --model my-model --post-id-column id`,
		Args: exactly("LISTING"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cfg.Out == "" {
				return usagef("--out is missing: name the folder to write to")
			}
			nets, err := prefixes(allow)
			if err != nil {
				return err
			}
			allowed, err := parseShare(maxRejects)
			if err != nil {
				return err
			}
			cfg.Images.AllowNet = nets
			cfg.Options.Format = listing.Format(format)
			cfg.Listing, cfg.Program = args[0], "logobeam "+version()

			if err := cfg.Validate(); err != nil {
				return usageError{err}
			}
			if err := checkRunner(cmd, cfg.Runner); err != nil {
				return err
			}
			if err := checkFolder("--root", cfg.Images.Root); err != nil {
				return err
			}

			var latest atomic.Pointer[pipelines.Progress]
			cfg.Progress = func(p pipelines.Progress) { latest.Store(&p) }
			stop := watch(cmd.Context(), cmd.ErrOrStderr(), "scoring", func() tick {
				p := latest.Load()
				if p == nil {
					return tick{}
				}
				return tick{done: p.Done, total: p.Rows, note: fmt.Sprintf("%d rejected", p.Rejected)}
			})
			s, err := pipelines.Score(cmd.Context(), cfg)
			stop()
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
					pipelines.Summary
					Seconds float64 `json:"seconds"`
				}{s, s.Elapsed.Seconds()})
			} else {
				_, err = fmt.Fprint(cmd.OutOrStdout(), describe(cfg.Out, s))
			}
			if err == nil && float64(s.Rejected) > allowed*float64(s.Rows) {
				err = fmt.Errorf("%w: %d of %d rows, and --max-rejects is %s; the reasons are in %s/rejects", errRejects, s.Rejected, s.Rows, maxRejects, cfg.Out)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Out, "out", "", "folder to write to")
	modelFlag(cmd, &cfg.Model)
	precisionFlag(cmd, &cfg.Precision)
	f.StringVar(&format, "format", "", "of the listing: csv, jsonl, parquet or text (default by its extension)")
	f.StringVar(&cfg.Options.PostIDColumn, "post-id-column", listing.DefaultPostIDColumn, "column of the listing that identifies the post")
	f.StringVar(&cfg.Options.ImageColumn, "image-column", listing.DefaultImageColumn, "column of the listing that holds the image")
	f.StringVar(&cfg.Images.Root, "root", "", "folder that the images' paths are relative to (default the listing's)")
	f.IntVar(&cfg.Options.ChunkRows, "chunk-rows", 0, "rows a chunk (default by the number of rows)")
	f.IntVar(&cfg.Workers, "workers", cfg.Workers, "photographs worked on at one time")
	f.IntVar(&cfg.Batch, "batch", cfg.Batch, "photographs a worker classifies at once (default what suits the model)")
	f.Int64Var(&cfg.Memory, "memory", cfg.Memory, "bytes that decoding may take at one time, in all workers together; a photograph that takes more waits until it is alone")
	f.DurationVar(&cfg.Images.Timeout, "timeout", cfg.Images.Timeout, "for getting one photograph")
	f.StringVar(&maxRejects, "max-rejects", "100%", "share of rejects, as 5% or 0.05, above which the exit code is 3")
	f.StringVar(&cfg.Runner, "runner", cfg.Runner, "where the work is done: "+strings.Join(pipelines.Runners(), ", ")+" (logobeam help runners)")
	flinkFlags(cmd, &cfg.Flink)
	f.BoolVar(&asJSON, "json", false, "print the summary as one JSON object")
	limitFlags(cmd, &cfg.Images.Limits)
	allowNetFlag(cmd, &allow)
	beamFlags(cmd)
	return cmd
}

// describe is the summary for people.
func describe(out string, s pipelines.Summary) string {
	text := report.Summary{Rows: s.Rows, Scored: s.Scored, Rejected: s.Rejected, Elapsed: s.Elapsed.Round(time.Millisecond),
		Brands: s.Brands, Reasons: s.Reasons}.String()
	if s.Already {
		return fmt.Sprintf("%s was finished before: nothing to do\n\n%s", out, text)
	}
	return fmt.Sprintf("%s\n%s holds the scores, %s the rejects\n", text, out+"/scores", out+"/rejects")
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

// A rejection is why a row may end among the rejects, and the flag that moves the line, if there is one.
type rejection struct{ stage, reason, text, flag string }

// rejections lists all there are.
func rejections() []rejection {
	flags := map[string]string{
		string(fetch.TooLarge):                 "--max-bytes",
		string(fetch.Timeout):                  "--timeout",
		string(fetch.BlockedAddress):           "--allow-net",
		string(transforms.ReasonTooManyBytes):  "--max-bytes",
		string(transforms.ReasonTooManyPixels): "--max-pixels",
		string(transforms.ReasonTooMuchMemory): "--max-memory",
		string(transforms.ReasonTruncated):     "--truncated",
		string(transforms.ReasonDecodeTimeout): "--decode-timeout",
	}
	all := []rejection{{"listing", pipelines.ReasonMalformed, "the row breaks the rules of the listing's format", ""}}
	for _, r := range fetch.Reasons() {
		all = append(all, rejection{"fetch", string(r), fetch.Explain(r), flags[string(r)]})
	}
	for _, r := range transforms.Reasons() {
		all = append(all, rejection{"decode", string(r), transforms.Explain(r), flags[string(r)]})
	}
	return append(all,
		rejection{"infer", pipelines.ReasonNoNumber, "the network's answer is no probability: the model is broken", ""},
		rejection{"any", pipelines.ReasonPanic, "a fault of this program: please report the photograph", ""})
}

// reasons lists every reason for a reject.
func reasons() string {
	var b strings.Builder
	b.WriteString("\nReasons for rejects, by stage:\n")
	stage := ""
	for _, r := range rejections() {
		if r.stage != stage {
			stage = r.stage
			fmt.Fprintf(&b, "\n  %s\n", stage)
		}
		if r.flag != "" {
			r.text += " (" + r.flag + ")"
		}
		fmt.Fprintf(&b, "    %-20s  %s\n", r.reason, r.text)
	}
	return b.String()
}
