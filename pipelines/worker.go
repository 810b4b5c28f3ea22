package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc"
)

// Worker works for a runner of Beam if the program's arguments, without its name, are those that one starts a worker
// with, and otherwise does nothing. The program calls it before it reads its arguments in any other way:
//
//	if worker, err := pipelines.Worker(ctx, os.Args[1:]); worker {
//		...exit
//	}
//
// A runner starts a worker in one of two ways. What Beam calls a boot program (--id, --provision_endpoint) is started
// beside the runner, by an environment of type PROCESS or by a worker pool. It would fetch the pipeline's program and
// start that; here it is the pipeline's program, so that nothing has to be fetched and one process is all there is. In a
// container of Beam's SDK, as on Dataflow, Beam's own boot program starts this one (--worker=true).
//
// The work is over when the runner closes the connection, or ctx ends.
func Worker(ctx context.Context, args []string) (handled bool, err error) {
	arg := map[string]string{}
	for _, a := range args {
		name, ok := strings.CutPrefix(a, "--")
		if !ok { // a command, which no runner gives
			return false, nil
		}
		name, value, _ := strings.Cut(name, "=")
		arg[name] = value
	}
	switch {
	case arg["worker"] == "true":
		return true, startedByBoot(ctx, arg)
	case arg["id"] != "" && arg["provision_endpoint"] != "":
		return true, boot(ctx, arg)
	}
	return false, nil
}

// boot asks the runner for what a worker needs to know.
func boot(ctx context.Context, arg map[string]string) error {
	ctx = grpcx.WriteWorkerID(ctx, arg["id"])
	info, err := tools.ProvisionInfo(ctx, arg["provision_endpoint"])
	if err != nil {
		return fmt.Errorf("worker %s: the runner at %s does not say what there is to do: %w", arg["id"], arg["provision_endpoint"], err)
	}
	var options runtime.RawOptionsWrapper
	if err := tools.ProtoToOptions(info.GetPipelineOptions(), &options); err != nil {
		return fmt.Errorf("worker %s: the pipeline's options: %w", arg["id"], err)
	}
	if u := info.GetLoggingEndpoint().GetUrl(); u != "" {
		arg["logging_endpoint"] = u
	}
	if u := info.GetControlEndpoint().GetUrl(); u != "" {
		arg["control_endpoint"] = u
	}
	return work(ctx, arg, options, harness.Options{
		StatusEndpoint:     info.GetStatusEndpoint().GetUrl(),
		RunnerCapabilities: info.GetRunnerCapabilities(),
	})
}

// startedByBoot takes it from Beam's boot program, which hands over by flags, variables and a file.
func startedByBoot(ctx context.Context, arg map[string]string) error {
	text := []byte(arg["options"])
	if file := os.Getenv("PIPELINE_OPTIONS_FILE"); file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("worker %s: the pipeline's options: %w", arg["id"], err)
		}
	}
	var options runtime.RawOptionsWrapper
	if len(text) > 0 {
		if err := json.Unmarshal(text, &options); err != nil {
			return fmt.Errorf("worker %s: the pipeline's options: %w", arg["id"], err)
		}
	}
	err := work(grpcx.WriteWorkerID(ctx, arg["id"]), arg, options, harness.Options{
		StatusEndpoint:     os.Getenv("STATUS_ENDPOINT"),
		RunnerCapabilities: strings.Fields(os.Getenv("RUNNER_CAPABILITIES")),
	})
	if err == nil { // the boot program takes any end for a failure, and its container is started anew
		<-ctx.Done()
	}
	return err
}

// work does what the runner says until it says no more. Beam's own way to this, a flag that beam.Init heeds, never comes
// back: a worker whose runner had gone would stay for ever.
func work(ctx context.Context, arg map[string]string, options runtime.RawOptionsWrapper, o harness.Options) error {
	if arg["control_endpoint"] == "" || arg["logging_endpoint"] == "" {
		return fmt.Errorf("worker %s: the runner names no control or no logging endpoint", arg["id"])
	}
	beam.Init()
	runtime.GlobalOptions.Import(options.Options)
	if err := harness.MainWithOptions(ctx, arg["logging_endpoint"], arg["control_endpoint"], o); err != nil && ctx.Err() == nil {
		return fmt.Errorf("worker %s: the runner at %s is gone: %w", arg["id"], arg["control_endpoint"], err)
	}
	return nil
}

// ServeWorkers is what Beam calls a worker pool, for environments of type EXTERNAL: beside each machine of the runner
// it starts workers, each a process of this program, when that asks for one on a port of localhost. It returns when ctx
// ends, and no worker is left then.
func ServeWorkers(ctx context.Context, port int, log *slog.Logger) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("localhost:%d", port))
	if err != nil {
		return fmt.Errorf("the worker pool: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &pool{ctx: ctx, program: self, log: log}
	defer p.running.Wait()
	defer cancel()
	s := grpc.NewServer()
	fnpb.RegisterBeamFnExternalWorkerPoolServer(s, p)
	defer context.AfterFunc(ctx, s.Stop)()
	log.Info("worker pool", "address", l.Addr())
	if err := s.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the worker pool: %w", err)
	}
	return nil
}

// pool starts workers. Unlike Beam's, it keeps no list of them by their ids, which are the same again after the runner
// was started anew, and it waits for their ends.
type pool struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer
	ctx     context.Context
	program string
	log     *slog.Logger
	running sync.WaitGroup
}

func (p *pool) StartWorker(_ context.Context, r *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	cmd := exec.CommandContext(p.ctx, p.program, "--id="+r.GetWorkerId(),
		"--provision_endpoint="+r.GetProvisionEndpoint().GetUrl(),
		"--logging_endpoint="+r.GetLoggingEndpoint().GetUrl(), "--control_endpoint="+r.GetControlEndpoint().GetUrl())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return &fnpb.StartWorkerResponse{Error: err.Error()}, nil
	}
	log := p.log.With("worker", r.GetWorkerId(), "pid", cmd.Process.Pid)
	log.Info("worker started", "runner", r.GetControlEndpoint().GetUrl())
	p.running.Go(func() {
		if err := cmd.Wait(); err != nil {
			log.Warn("worker ended", "error", err)
			return
		}
		log.Info("worker ended")
	})
	return &fnpb.StartWorkerResponse{}, nil
}

// StopWorker has nothing to do: a worker ends when its runner closes the connection, as it does after this.
func (p *pool) StopWorker(context.Context, *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	return &fnpb.StopWorkerResponse{}, nil
}
