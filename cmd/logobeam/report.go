package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/monitor"
	"github.com/logobeam/logobeam/pipelines/scores"
	"github.com/logobeam/logobeam/transforms"
)

func newReport() *cobra.Command {
	cfg := pipelines.ReportConfig{}
	var out string
	cmd := &cobra.Command{
		Use:   "report OUT",
		Short: "write a page on what score found: brands, photographs, rejects, rates",
		Long: `report looks at OUT, the finished output of score, and writes OUT/report.html: one
page that needs nothing else, with brands by count, histograms of probabilities,
calibration, rejects by reason with examples, rates by stage over time, slowest
hosts, and the surest and least sure photographs of each brand.

score does this itself at its end. Photographs are looked at where they are on a
disk or in a bucket; servers are not asked again. The page holds small copies of
them.`,
		Example: `  logobeam report scored
  logobeam report gs://scores/2026-11-26 --out report.html --no-images`,
		Args: exactly("OUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out != "" {
				if err := checkFolder("--out", filepath.Dir(out)); err != nil {
					return err
				}
			}
			if err := writeReport(cmd.Context(), cmd.ErrOrStderr(), args[0], out, cfg); err != nil {
				return err
			}
			if out == "" {
				out = args[0] + "/report.html"
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), out)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "HTML `file` to write (default OUT/report.html)")
	f.StringVar(&cfg.Root, "root", "", "`folder` or gs:// prefix that the images' paths are relative to, if they have moved since")
	f.BoolVar(&cfg.NoImages, "no-images", false, "leave photographs out")
	modelFlag(cmd, &cfg.Model)
	f.Lookup("model").Usage = "`folder` or gs:// prefix of the model, if it has moved since"
	limitFlags(cmd, &cfg.Limits)
	return cmd
}

// writeReport writes the page of an output to a file, or into the output where none is named.
func writeReport(ctx context.Context, stderr io.Writer, of, file string, cfg pipelines.ReportConfig) error {
	cfg.Program = "logobeam " + version()
	cfg.Explain = explainReason
	var work *counter
	watched, stop := "", func() {}
	cfg.Progress = func(what string, done, total int64) {
		if what != watched { // scores and photographs have rates of their own
			stop()
			watched, work = what, new(counter)
			stop = watch(ctx, stderr, "reporting "+what, work.tick)
		}
		work.set(done, total)
	}
	seen, err := pipelines.Overview(ctx, of, cfg)
	stop()
	if err != nil {
		return err
	}
	page, err := seen.HTML()
	if err != nil {
		return err
	}
	if file != "" {
		return replaceText(file, page)
	}
	return scores.PutReport(ctx, of, page)
}

// explainReason is a reason of rejects in words.
func explainReason(stage, reason string) string {
	for _, r := range rejections() {
		if r.reason == reason && (r.stage == stage || r.stage == "any") {
			return r.text
		}
	}
	return ""
}

// reportOn notes how a run went, and writes the page of its output, or only warns: the output is finished without it.
func (r *runFlags) reportOn(ctx context.Context, stderr io.Writer, m *monitor.Monitor) {
	limits := r.cfg.Images.Limits
	if limits.Bytes == 0 {
		limits = transforms.DefaultLimits()
	}
	err := pipelines.NoteRun(ctx, r.cfg.Out, m.Record())
	if err == nil {
		err = writeReport(ctx, stderr, r.cfg.Out, "", pipelines.ReportConfig{Model: r.cfg.Model, Limits: limits})
	}
	if err != nil {
		fmt.Fprintf(stderr, "logobeam: warning: the output is finished, but its report could not be written: %s\n", oneLine(err))
	}
}
