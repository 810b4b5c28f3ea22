package main

import (
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/logobeam/logobeam/pipelines"
)

// notForPeople are Beam's flags that no command takes: those by which a runner starts a worker, and those with which
// a command would not do what it says, to come back when everything is done.
var notForPeople = []string{"worker", "id", "logging_endpoint", "control_endpoint", "semi_persist_dir", "options", "runner",
	"async", "execute_async", "dry_run", "template_location", "update", "transform_name_mapping"}

// beamFlags are the flags with which Beam's packages can be told about a cluster, by the names that Beam's and Dataflow's
// documentation gives them, as far as cmd has none of that name. `logobeam help runners` lists them; a command's own help does
// not.
func beamFlags(cmd *cobra.Command) {
	flag.VisitAll(func(f *flag.Flag) {
		if slices.Contains(notForPeople, f.Name) || strings.HasPrefix(f.Name, "test.") || cmd.Flags().Lookup(f.Name) != nil {
			return
		}
		added := cmd.Flags().VarPF(beamFlag{f}, f.Name, "", f.Usage)
		added.Hidden = true
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
			added.NoOptDefVal = "true"
		}
	})
}

// beamFlag is one of them. Beam asks package flag which have been set.
type beamFlag struct{ *flag.Flag }

func (f beamFlag) String() string     { return f.Value.String() }
func (f beamFlag) Set(s string) error { return flag.Set(f.Name, s) }
func (f beamFlag) Type() string       { return "value" }

// clusterFlags are the flags that say where a cluster is, and how it is to work.
var clusterFlags = []string{"endpoint", "parallelism", "environment_type", "environment_config", "project", "flink-rest", "flink-option"}

// checkRunner refuses settings of a cluster for a runner that has none, as the work would be done here after all, and a
// runner of a cluster without its address.
func checkRunner(cmd *cobra.Command, runner string) error {
	if !slices.Contains(pipelines.LocalRunners(), runner) {
		if runner != "dataflow" && !cmd.Flags().Changed("endpoint") {
			return usagef("the runner %s wants --endpoint HOST:PORT, of Beam's job service (logobeam help runners)", runner)
		}
		return nil
	}
	for _, name := range clusterFlags {
		if cmd.Flags().Changed(name) {
			return usagef("--%s is about a cluster, and the runner %s works in this process: choose another with --runner (logobeam help runners)", name, runner)
		}
	}
	return nil
}

// flinkFlags are those that Beam lacks.
func flinkFlags(cmd *cobra.Command, f *pipelines.Flink) {
	cmd.Flags().StringVar(&f.REST, "flink-rest", "", "`HOST:PORT` of Flink's REST interface, through which an interrupted run cancels its job")
	cmd.Flags().StringToStringVar(&f.Options, "flink-option", nil, "`KEY=VALUE`, an option of Beam's Flink runner, as execution_mode_for_batch=BATCH_FORCED; may be repeated")
	cmd.Flags().Lookup("flink-option").DefValue = "" // which is [] otherwise, and would be shown
}

// newRunners is a topic of help, not a command.
func newRunners() *cobra.Command {
	var b strings.Builder
	b.WriteString(`score --runner chooses where the work is done, and so does train --runner with
--workers.

  prism      in this process (the default)
  direct     in this process, by Beam's older local runner
  flink      on a Flink cluster, through Beam's job service at --endpoint HOST:PORT
  universal  by any other job service of Beam's at --endpoint
  dataflow   on Google's Dataflow: --project, --region, --staging_location

On a cluster the output, the listing, the photographs' root and the model must be
where every worker finds them under the same name: a shared folder, or gs://.
Relative names are those of the folder that the command runs in. train reads its
listings and photographs from a shared folder alone.

Workers of flink and universal are this very program. By default the runner starts
it where it lies here, so it must lie at the same place on every machine. Or
` + "`logobeam worker`" + ` runs beside each task manager, and the run is started with
--environment_type EXTERNAL --environment_config localhost:50000.

A job's parallelism should be the number of task managers, and for score --workers
the cores of one; train's --workers should be a multiple of it. Flink restarts a job that failed only if it is told to: restart-strategy.

Beam's own flags, for all but prism and direct:

`)
	flag.VisitAll(func(f *flag.Flag) {
		if slices.Contains(notForPeople, f.Name) || strings.HasPrefix(f.Name, "test.") {
			return
		}
		fmt.Fprintf(&b, "  --%s\n      %s\n", f.Name, strings.ReplaceAll(f.Usage, "\n", "\n      "))
	})
	return &cobra.Command{Use: "runners", Short: "where the work of score and train can be done, and Beam's flags for that", Long: strings.TrimSuffix(b.String(), "\n")}
}

func newWorker() *cobra.Command {
	port := 50000
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "start workers for a cluster's runner, beside each of its machines",
		Long: `worker is what Beam calls a worker pool: it waits on a port of localhost until a
runner on the same machine, such as a task manager of Flink, asks for a worker, which
is a process of this program. It runs until it is interrupted.`,
		Example: `  logobeam worker --port 50000
  logobeam score posts.csv --out /shared/scored --runner flink --endpoint jobs:8099 \
    --environment_type EXTERNAL --environment_config localhost:50000`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return pipelines.ServeWorkers(cmd.Context(), port, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
	cmd.Flags().IntVar(&port, "port", port, "of localhost to listen on")
	return cmd
}
