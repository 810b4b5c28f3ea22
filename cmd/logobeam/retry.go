package main

import (
	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines"
)

func newRetry() *cobra.Command {
	cfg := pipelines.DefaultScoreConfig()
	r := runFlags{cfg: &cfg, nothing: "has no reject that may succeed at another time"}
	cmd := &cobra.Command{
		Use:   "retry OUT",
		Short: "try again what a finished score rejected for a reason that may have passed",
		Long: `retry takes the rejects of OUT that are marked retryable (timeouts, servers that
failed, too many requests and the like), tries them again with the model and the
options that score had, and moves those that succeed to the scores. Everything
else stays as it is. While it works there is no OUT/_SUCCESS; one that was
interrupted goes on where it was. It can be run any number of times.`,
		Example: `  logobeam retry scored
  logobeam retry gs://scores/2026-11-26 --host-rate 2`,
		Args: exactly("OUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Out = args[0]
			asked := cfg
			asked.Listing = cfg.Out // which the output names
			if err := asked.Validate(); err != nil {
				return usageError{err}
			}
			if err := checkRunner(cmd, cfg.Runner); err != nil {
				return err
			}
			return r.run(cmd, "retrying", pipelines.Retry)
		},
	}
	modelFlag(cmd, &cfg.Model)
	cmd.Flags().Lookup("model").Usage = "`folder` or gs:// prefix of the model, if it has moved since"
	jsonFlag(cmd, &r.json)
	heading(cmd, "Flags")
	r.fetching(cmd)
	r.resources(cmd)
	r.watching(cmd)
	return cmd
}
