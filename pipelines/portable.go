package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/extworker"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

// environment completes Beam's settings for workers elsewhere, unless they say something: they are processes of this very
// program, which lies at the same place on every machine, and nothing is sent there.
func (on platform) environment() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if *jobopts.EnvironmentType == "" {
		*jobopts.EnvironmentType = "PROCESS"
	}
	switch strings.ToUpper(*jobopts.EnvironmentType) {
	case "PROCESS":
		if *jobopts.EnvironmentConfig == "" {
			command, err := json.Marshal(map[string]string{"command": self})
			if err != nil {
				return err
			}
			*jobopts.EnvironmentConfig = string(command)
		}
	case "EXTERNAL":
		if *jobopts.EnvironmentConfig == "" {
			return fmt.Errorf("%s: --environment_type EXTERNAL wants --environment_config HOST:PORT, where `logobeam worker` listens on each machine", on.command)
		}
	case "LOOPBACK":
	default: // a container, whose boot program fetches the worker
		*jobopts.WorkerBinary = cmp.Or(*jobopts.WorkerBinary, self)
	}
	if *jobopts.WorkerBinary == "" { // Beam would compile one
		empty, err := os.CreateTemp("", "worker-*")
		if err != nil {
			return err
		}
		*jobopts.WorkerBinary = empty.Name()
		return empty.Close()
	}
	return nil
}

// job is a pipeline that was handed to a job service of Beam.
type job struct {
	command string // begins errors
	service jobpb.JobServiceClient
	id      string
	flink   flink
}

// runPortable has a pipeline run by the job service at --endpoint, to its end or to ctx's. Beam's own universal runner
// may take a job that failed for one that is done, since the service ends its messages before it tells the state, and
// does nothing about a job when ctx ends; so it is Beam's steps that are taken here, and not the runner.
func (on platform) runPortable(ctx context.Context, p *beam.Pipeline, parts *partCount) error {
	if *jobopts.Endpoint == "" {
		return fmt.Errorf("%s: the runner %s wants --endpoint HOST:PORT, of Beam's job service", on.command, on.runner)
	}
	if err := on.environment(); err != nil {
		return err
	}
	conn, err := grpcx.Dial(ctx, *jobopts.Endpoint, 15*time.Second)
	if err != nil {
		return fmt.Errorf("%s: nothing answers at --endpoint %s as a job service of Beam would: %w", on.command, *jobopts.Endpoint, err)
	}
	defer conn.Close()
	service := withOptions{jobpb.NewJobServiceClient(conn), on.flink.Options}

	environmentConfig := jobopts.GetEnvironmentConfig
	if jobopts.IsLoopback() {
		workers, err := extworker.StartLoopback(context.WithoutCancel(ctx), 0)
		if err != nil {
			return err
		}
		defer workers.Stop(context.WithoutCancel(ctx))
		environmentConfig = workers.EnvironmentConfig
	}
	id, err := submit(ctx, p, service, environmentConfig)
	if err != nil {
		return cmp.Or(context.Cause(ctx), fmt.Errorf("%s: the job service at %s did not take the job: %w", on.command, *jobopts.Endpoint, err))
	}
	j := job{on.command, service, id, flink(on.flink.REST)}
	return j.wait(ctx, parts)
}

// submit hands over a pipeline and says what the service calls the job.
func submit(ctx context.Context, p *beam.Pipeline, service jobpb.JobServiceClient, environmentConfig func(context.Context) string) (id string, err error) {
	edges, _, err := p.Build()
	if err != nil {
		return "", err
	}
	env, err := graphx.CreateEnvironment(ctx, jobopts.GetEnvironmentUrn(ctx), environmentConfig)
	if err != nil {
		return "", err
	}
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: env, PipelineResourceHints: jobopts.GetPipelineResourceHints()})
	if err != nil {
		return "", err
	}
	if err := runnerlib.UpdateGoEnvironmentWorker(*jobopts.WorkerBinary, pipeline); err != nil {
		return "", err
	}
	prepared, artifacts, token, err := runnerlib.Prepare(ctx, service, pipeline, &runnerlib.JobOptions{
		Name: *jobopts.JobName, Experiments: jobopts.GetExperiments(), Worker: *jobopts.WorkerBinary,
		RetainDocker: *jobopts.RetainDockerContainers, Parallelism: *jobopts.Parallelism, Loopback: jobopts.IsLoopback(),
	})
	if err != nil {
		return "", err
	}
	if token, err = runnerlib.Stage(ctx, prepared, artifacts, *jobopts.WorkerBinary, token); err != nil {
		return "", err
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	// From here on there may be a job, whose id must not be missed.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer stop()
	return runnerlib.Submit(ctx, service, prepared, token)
}

// withOptions adds options of the runner's to a job. Beam's SDK for Go has flags for few of them.
type withOptions struct {
	jobpb.JobServiceClient
	options map[string]string
}

func (s withOptions) Prepare(ctx context.Context, r *jobpb.PrepareJobRequest, opts ...grpc.CallOption) (*jobpb.PrepareJobResponse, error) {
	for name, text := range s.options {
		var value any
		if json.Unmarshal([]byte(text), &value) != nil { // a word
			value = text
		}
		v, err := structpb.NewValue(value)
		if err != nil {
			return nil, fmt.Errorf("option %s: %w", name, err)
		}
		r.PipelineOptions.Fields["beam:option:"+name+":v1"] = v
	}
	return s.JobServiceClient.Prepare(ctx, r, opts...)
}

// wait watches a job until it ends, or until ctx does and the job is cancelled. A job that was not done is an error.
func (j job) wait(ctx context.Context, parts *partCount) error {
	listening, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	said := make(chan string, 1)
	go func() { said <- j.complaint(listening) }()
	for every := time.NewTicker(lookEvery); ; {
		select {
		case <-ctx.Done():
			every.Stop()
			return j.cancel(ctx)
		case <-every.C:
		}
		parts.look(ctx)
		r, err := j.service.GetState(ctx, &jobpb.GetJobStateRequest{JobId: j.id})
		switch state := r.GetState(); {
		case ctx.Err() != nil:
		case err != nil:
			return fmt.Errorf("%s: the job service does not answer any more, and the job %s may run on: %w", j.command, j.id, err)
		case state == jobpb.JobState_DONE:
			return nil
		case state == jobpb.JobState_FAILED, state == jobpb.JobState_CANCELLED, state == jobpb.JobState_STOPPED, state == jobpb.JobState_DRAINED:
			return j.failed(ctx, state, said)
		}
	}
}

// complaint listens to a job until it ends and gives the last error that it told of.
func (j job) complaint(ctx context.Context) (last string) {
	stream, err := j.service.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: j.id})
	for err == nil {
		var m *jobpb.JobMessagesResponse
		m, err = stream.Recv()
		if r := m.GetMessageResponse(); r.GetImportance() >= jobpb.JobMessage_JOB_MESSAGE_ERROR {
			last = r.GetMessageText()
		}
	}
	return last
}

// failed is the error of a job that ended otherwise than well, with what is known of the cause.
func (j job) failed(ctx context.Context, state jobpb.JobState_Enum, said <-chan string) error {
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	var cause string
	if j.flink != "" { // which tells more, if it still knows the job
		cause, _ = j.flink.cause(ctx, j.id)
	}
	if cause == "" {
		select { // the state may come before the message
		case cause = <-said:
		case <-ctx.Done():
		}
	}
	if state == jobpb.JobState_CANCELLED {
		return fmt.Errorf("%s: the job %s was cancelled by somebody else", j.command, j.id)
	}
	return fmt.Errorf("%s: the job %s %s: %s", j.command, j.id, strings.ToLower(state.String()), cmp.Or(ownError(cause), "the runner does not say why; its logs may"))
}

// ownError is what a DoFn has returned, if that is what a runner tells of, without how Beam's harness came to it.
func ownError(text string) string {
	if _, own, ok := strings.Cut(text, " failed:\n"); ok && strings.Contains(text, "DoFn[") {
		return own
	}
	return text
}

// cancel stops a job after ctx has ended, and gives ctx's error.
func (j job) cancel(ended context.Context) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ended), 3*time.Second)
	defer stop()
	runsOn := func(why string) error { return &RunsOnError{j.id, context.Cause(ended), why} }
	if j.flink == "" {
		if _, err := j.service.Cancel(ctx, &jobpb.CancelJobRequest{JobId: j.id}); err != nil {
			return runsOn(fmt.Sprintf("the job service does not cancel it: %v", err))
		}
		// The service's word is not Flink's, which goes on.
		return runsOn("the job service was asked to cancel it, and Flink heeds its own REST interface alone: name it with --flink-rest")
	}
	if err := j.flink.cancel(ctx, j.id); err != nil {
		j.service.Cancel(context.WithoutCancel(ended), &jobpb.CancelJobRequest{JobId: j.id})
		return runsOn(err.Error())
	}
	return context.Cause(ended)
}
