// Command logobeam recognises brands by their logos in photographs, and learns to.
//
//	logobeam score posts.csv --out scored      # post_id, brand, probability in Parquet
//	logobeam prepare photos/ --out data        # labelled photographs -> train, val, test listings
//	logobeam train data --out my-model         # -> a model that score takes with --model
//
// Results go to standard output, everything said to a person to standard error. Exit codes: 0 done, 1 failed, 2 wrong
// usage, 3 done but with more rejects than allowed, 130 interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/model/kernel"
	"github.com/logobeam/logobeam/pipelines"
	"github.com/logobeam/logobeam/pipelines/classifier"
)

func main() { os.Exit(run()) }

// The exit codes are a promise to scripts.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRejects     = 3
	exitInterrupted = 130
)

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // a second signal ends the program at once: the first only asks it to stop
		<-ctx.Done()
		stop()
	}()
	if err := kernel.CheckEnvironment(); err != nil {
		fmt.Fprintf(os.Stderr, "logobeam: warning: %s\n", oneLine(err))
	}
	if worker, err := pipelines.Worker(ctx, os.Args[1:]); worker {
		return explain(os.Stderr, err)
	}
	log.SetOutput(io.Discard) // where net/http tells what strangers' servers do
	err := newRoot().ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "logobeam: interrupted")
		if runsOn := (*pipelines.RunsOnError)(nil); errors.As(err, &runsOn) {
			fmt.Fprintf(os.Stderr, "logobeam: warning: %s\n", oneLine(err))
		}
		return exitInterrupted
	}
	return explain(os.Stderr, err)
}

// usageError is a mistake in the command line rather than in the work.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// explain prints err as one line and gives the exit code it stands for.
func explain(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(w, "logobeam: %s\n", oneLine(err))
	switch {
	case errors.As(err, new(usageError)), errors.As(err, new(*classifier.ConfigError)):
		return exitUsage
	case errors.Is(err, pipelines.ErrRejects), errors.Is(err, pipelines.ErrDeadline):
		return exitRejects
	}
	return exitFailed
}

// oneLine is err as a line that a terminal can be shown: several errors stand behind one another, and control characters, which
// come from names of files and hosts, do not reach it.
func oneLine(err error) string {
	line := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, line)
}

// hint says what a name may have meant that no command below cmd has.
func hint(cmd *cobra.Command, name string) string {
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return "logobeam --help lists the commands"
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "logobeam",
		Short: "recognise brands by their logos in very many photographs",
		Long: `logobeam reads listings of posts, classifies their photographs by the logo they
show, and writes post_id, brand and probability to Parquet. It trains the
classifier, too.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usagef("unknown command %q: %s", args[0], hint(cmd, args[0]))
		},
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (%s --help lists the flags)", err, cmd.CommandPath())
	})
	quietFlag(root)
	cobra.AddTemplateFunc("flagUsages", flagUsages)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "Flags:\n{{.LocalFlags.FlagUsages", "{{flagUsages .LocalFlags", 1))
	root.AddCommand(newScore(), newRetry(), newVerify(), newReport(), newPlan(), newClassify(), newPrepare(), newShow(), newTrain(), newExperiment(), newEvaluate(), newCalibrate(), newQuantize(), newExport(), newImport(), newVersion(), newWorker(), newRunners(), newMan())
	root.AddCommand(newGuides()...)
	complete(root)
	return root
}
