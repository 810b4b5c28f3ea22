package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/pipelines"
)

// complete makes shells complete what can follow, values of flags, models and topics of help, and has cobra's own commands refuse
// what there is not. Of a flag whose help has `one|other`, these are its values, and files where the last is FILE.
func complete(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	values := map[string][]string{
		"arch":   model.Architectures(),
		"runner": pipelines.Runners(),
	}
	var topics []string
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
				if len(args) > 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return topics, cobra.ShellCompDirectiveNoFileComp
			}
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if found, rest, _ := root.Find(args); len(rest) > 0 {
					return usagef("there is no help on %q: %s", strings.Join(args, " "), hint(found, rest[0]))
				}
				return nil
			}
		case "completion":
			cmd.Short = "write a script that completes commands, for bash, zsh, fish or powershell"
			for _, shell := range cmd.Commands() {
				shell.Short = "write it for " + shell.Name()
			}
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usagef("no completion for %q: want bash, zsh, fish or powershell", args[0])
				}
				return nil
			}
			cmd.RunE = func(cmd *cobra.Command, args []string) error { return cmd.Help() } // without which Args are not looked at
		}
		if cmd.IsAdditionalHelpTopicCommand() || cmd.IsAvailableCommand() {
			topics = append(topics, cobra.CompletionWithDesc(cmd.Name(), cmd.Short))
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			name, _ := pflag.UnquoteUsage(f)
			choice := values[f.Name]
			if strings.Contains(name, "|") {
				choice = strings.Split(name, "|")
			}
			// A flag that is there is completed once, so that no error can come.
			switch {
			case name == "folder" || name == "output":
				_ = cmd.MarkFlagDirname(f.Name)
			case choice != nil && choice[len(choice)-1] == "FILE":
				_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(choice[:len(choice)-1], cobra.ShellCompDirectiveDefault))
			case choice != nil:
				_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(choice, cobra.ShellCompDirectiveNoFileComp))
			}
		})
	}
}
