package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines/scores"
)

func newVerify() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify OUT",
		Short: "prove from the files that every row of the listing was scored or rejected, once",
		Long: `verify reads all of OUT, the output of score, and checks that the chunks cover the
listing without a gap, that the part of each chunk holds the rows that the chunk
had, in scores or in rejects, that manifest.json says the same, and that no
other file lies among the parts. It needs neither the listing nor the model.`,
		Args: exactly("OUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var rows counter
			stop := watch(cmd.Context(), cmd.ErrOrStderr(), "verifying", rows.tick)
			m, err := scores.Verification{Progress: rows.set}.Run(cmd.Context(), args[0])
			stop()
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
					Rows     int64 `json:"rows"`
					Scored   int64 `json:"scored"`
					Rejected int64 `json:"rejected"`
					Skipped  int64 `json:"skipped"`
					Parts    int   `json:"parts"`
				}{m.Rows, m.Scored, m.Rejected, m.Skipped, len(m.Chunks)})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is whole: %s in %s, %d scored, %d rejected, %d skipped\n",
				args[0], count(m.Rows, "row"), count(int64(len(m.Chunks)), "part"), m.Scored, m.Rejected, m.Skipped)
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
