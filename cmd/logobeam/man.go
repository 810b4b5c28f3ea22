package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan writes the commands' help as pages for man: for packagers and make man. The date in them is that of
// SOURCE_DATE_EPOCH, if it is set.
func newMan() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:    "man",
		Short:  "write a page for man of each command",
		Hidden: true,
		Args:   exactly(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("--out is missing: the folder for the pages")
			}
			if err := os.MkdirAll(out, 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Source: "logobeam " + version(), Manual: "logobeam"}, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`folder` for the pages")
	return cmd
}
