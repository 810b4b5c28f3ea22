package pipelines

import (
	"context"
	"strings"
	"testing"
)

// Nothing but what a runner starts workers with makes a worker.
func TestWorkerArguments(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string // of the error, if it is a worker
	}{
		{nil, ""},
		{[]string{"score", "posts.csv", "--worker=true"}, ""},
		{[]string{"--help"}, ""},
		{[]string{"--worker=false", "--id=1"}, ""},
		{[]string{"--id=1-1"}, ""},
		{[]string{"--id=1-1", "--provision_endpoint="}, ""},
		{[]string{"--worker=true", "--id=1-1"}, "worker 1-1: the runner names no control or no logging endpoint"},
		{[]string{"--worker=true", "--id=1-1", "--options={"}, "worker 1-1: the pipeline's options: unexpected end of JSON"},
	} {
		handled, err := Worker(context.Background(), tt.args)
		if handled != (tt.want != "") || handled && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: worker %v, error %v; want %q", tt.args, handled, err, tt.want)
		}
	}
	t.Setenv("PIPELINE_OPTIONS_FILE", "/no/such/file")
	if _, err := Worker(context.Background(), []string{"--worker=true", "--id=1-1"}); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("error %v; want the options' file", err)
	}
}
