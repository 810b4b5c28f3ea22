package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/logobeam/logobeam/pipelines/fetch"
	"github.com/logobeam/logobeam/pipelines/listing"
	"github.com/logobeam/logobeam/pipelines/monitor"
)

// TestMain lets the test's program be started as a worker, as the product is.
func TestMain(m *testing.M) {
	if worker, err := Worker(context.Background(), os.Args[1:]); worker {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// freePort is a port of localhost that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// jobService starts Beam's local runner as a job service, and sets Beam's flags for it until the test ends.
func jobService(t *testing.T, environmentType, environmentConfig string) {
	t.Helper()
	port := freePort(t)
	if _, err := prism.CreateJobServer(context.Background(), prism.Options{Port: port}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keepSettings())
	*jobopts.Endpoint, *jobopts.EnvironmentType, *jobopts.EnvironmentConfig = fmt.Sprint("localhost:", port), environmentType, environmentConfig
}

// workerPool serves workers, which are processes of the test's program, until the test ends.
func workerPool(t *testing.T) (address string) {
	t.Helper()
	port := freePort(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ServeWorkers(ctx, port, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprint("localhost:", port)
}

// A job service gets the same bytes out of workers, in other processes or in this one, as the local runner out of itself.
func TestUniversal(t *testing.T) {
	cfg := ScoreConfig{Listing: posts(t, 300), Options: listing.Options{ChunkRows: 64}, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out")}
	score(t, cfg)
	want := files(t, cfg.Out)
	cfg.Runner = "universal"
	for _, environment := range []string{"EXTERNAL", "LOOPBACK"} {
		t.Run(environment, func(t *testing.T) {
			noLeaks(t)
			jobService(t, environment, workerPool(t))
			cfg := cfg
			cfg.Out = filepath.Join(t.TempDir(), "out")
			var watched *monitor.Monitor
			cfg.Started = func(m *monitor.Monitor) { watched = m }
			score(t, cfg)
			same(t, want, files(t, cfg.Out))
			if w := watched.Snapshot(); w.Rows != 300 || w.Done != 300 || w.Rejected != int64(len(bad)) || w.Chunks.Done != 5 {
				t.Errorf("watched to the end: %+v", w)
			}
		})
	}
	score(t, ScoreConfig{Listing: cfg.Listing, Model: cfg.Model, Out: filepath.Join(t.TempDir(), "out")}) // and here again
}

// What a worker fails of is the error of the run, in its own words.
func TestUniversalFails(t *testing.T) {
	jobService(t, "EXTERNAL", workerPool(t))
	dir := newModel(t, 1)
	cfg := ScoreConfig{Listing: posts(t, 60), Model: dir, Out: filepath.Join(t.TempDir(), "out"), Runner: "universal"}
	cfg.Started = func(*monitor.Monitor) { // after this process has read it
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
	_, err := Score(context.Background(), cfg)
	if err == nil || !strings.Contains(err.Error(), "failed: model "+dir+": no such file or directory") {
		t.Errorf("error %v; want the worker's", err)
	}
}

// An interrupted run does not wait for a job elsewhere, and says when that may not have ended.
func TestUniversalInterrupted(t *testing.T) {
	jobService(t, "LOOPBACK", "")
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	list := filepath.Join(t.TempDir(), "posts.csv")
	if err := os.WriteFile(list, []byte("post_id,image\n1,"+server.URL+"/never.png\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := ScoreConfig{Listing: list, Model: newModel(t, 1), Out: filepath.Join(t.TempDir(), "out"), Runner: "universal", Images: Images{Fetch: fetch.Config{AllowNet: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	_, err := Score(ctx, cfg)
	if runsOn := (*RunsOnError)(nil); !errors.As(err, &runsOn) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v; want the context's, and a warning", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// preparing keeps what a job was prepared with.
type preparing struct {
	jobpb.JobServiceClient
	options map[string]any
}

func (p *preparing) Prepare(_ context.Context, r *jobpb.PrepareJobRequest, _ ...grpc.CallOption) (*jobpb.PrepareJobResponse, error) {
	p.options = r.PipelineOptions.AsMap()
	return &jobpb.PrepareJobResponse{}, nil
}

// Options of the runner reach it under the names that Beam gives them: words as words, JSON as what it says.
func TestRunnerOptions(t *testing.T) {
	var p preparing
	s := withOptions{&p, map[string]string{"execution_mode_for_batch": "BATCH_FORCED", "max_bundle_size": "10", "files_to_stage": `["a","b"]`}}
	options, err := structpb.NewStruct(map[string]any{"beam:option:parallelism:v1": 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prepare(context.Background(), &jobpb.PrepareJobRequest{PipelineOptions: options}); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"beam:option:parallelism:v1": 2.0, "beam:option:execution_mode_for_batch:v1": "BATCH_FORCED",
		"beam:option:max_bundle_size:v1": 10.0, "beam:option:files_to_stage:v1": []any{"a", "b"}}
	if diff := cmp.Diff(want, p.options); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

// Workers run in other folders than the one that names are relative to.
func TestAbsolute(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	chunks := []listing.Chunk{{Source: "posts.csv"}, {Source: "gs://bucket/posts.csv"}, {Source: "/data/posts.csv"}}
	cfg, got, err := ScoreConfig{Out: "out", Images: Images{Root: "../photographs"}}.absolute(chunks)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Out != filepath.Join(here, "out") || cfg.Images.Root != filepath.Join(filepath.Dir(here), "photographs") || cfg.Model != "" {
		t.Errorf("out %s, root %s, model %q", cfg.Out, cfg.Images.Root, cfg.Model)
	}
	want := []listing.Chunk{{Source: filepath.Join(here, "posts.csv")}, chunks[1], chunks[2]}
	if diff := cmp.Diff(want, got); diff != "" || chunks[0].Source != "posts.csv" {
		t.Errorf("chunks (-want +got):\n%s\nand of the caller's, the first is %s", diff, chunks[0].Source)
	}
}
