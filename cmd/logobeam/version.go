package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model/builtin"
	"github.com/logobeam/logobeam/model/kernel"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the program's version, its kernels and its built-in model",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := builtin.Load()
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "logobeam %s\n", version())
			fmt.Fprintf(w, "go       %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
			fmt.Fprintf(w, "kernels  %s\n", kernel.Features())
			fmt.Fprintf(w, "model    built-in, %s, %d classes, %s, %.12s\n", m.Network.Arch, len(m.Card.Classes), m.Card.DefaultPrecision(), m.Hash())
			return nil
		},
	}
}

// version is the module's version as Go stamped it: a release's tag, or the commit a checkout was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}
