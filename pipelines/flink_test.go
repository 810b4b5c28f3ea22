package pipelines

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Flink is asked to cancel the job, as soon as it knows it, and once.
func TestFlinkCancel(t *testing.T) {
	const beamID = "logobeam-1_22-33_44-55"
	for _, tt := range []struct {
		reason string
		states []string // of the job each time that Flink is asked; none: it does not know it
		status int      // of the answer to the request to cancel
		want   string   // of the error
		asked  int
	}{
		{"a running job", []string{"RUNNING", "CANCELLING", "CANCELED"}, http.StatusAccepted, "", 1},
		{"one that has just been submitted", []string{"", "", "CREATED", "CANCELED"}, http.StatusAccepted, "", 1},
		{"one that is done", []string{"FINISHED"}, http.StatusAccepted, "", 0},
		{"one that is restarted", []string{"RESTARTING", "CANCELED"}, http.StatusAccepted, "", 1},
		{"one that does not come", []string{""}, http.StatusAccepted, "has not got it yet", 0},
		{"one that does not end", []string{"RUNNING", "CANCELLING"}, http.StatusAccepted, "is at it", 1},
		{"a cluster that only shows", []string{"RUNNING"}, http.StatusForbidden, "403 Forbidden", 1},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			noLeaks(t)
			asked, looked := 0, 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.Method + " " + r.URL.String() {
				case "GET /jobs/overview":
					jobs := `{"jid":"aa","name":"another_22-33","state":"RUNNING"}`
					if state := tt.states[min(looked, len(tt.states)-1)]; state != "" {
						jobs += fmt.Sprintf(`,{"jid":"bb","name":"logobeam-1_22-33","state":%q}`, state)
					}
					looked++
					fmt.Fprintf(w, `{"jobs":[%s]}`, jobs)
				case "PATCH /jobs/bb?mode=cancel":
					asked++
					w.WriteHeader(tt.status)
				default:
					t.Errorf("asked for %s %s", r.Method, r.URL)
				}
			}))
			defer server.Close()
			ctx, stop := context.WithTimeout(context.Background(), 1500*time.Millisecond)
			defer stop()
			err := flink(strings.TrimPrefix(server.URL, "http://")).cancel(ctx, beamID)
			if got := fmt.Sprint(err); !strings.Contains(got, tt.want) || (err == nil) != (tt.want == "") {
				t.Errorf("error %v; want %q", err, tt.want)
			}
			if asked != tt.asked {
				t.Errorf("asked %d times; want %d", asked, tt.asked)
			}
		})
	}
}

// Of all that Flink and Beam print about a failure, people get what the program said.
func TestCause(t *testing.T) {
	const (
		harness = "java.lang.RuntimeException: Error received from SDK harness for instruction 2: process bundle failed for instruction 2 using plan 13-3 : " +
			"while executing Up for Plan[13-3]:\n1: DataSource[S[fn/read/n3:0@localhost:36907], local_output] Out:4\n\tcaused by:\n" +
			"DoFn[UID:4, PID:e4, Name: github.com/logobeam/logobeam/pipelines.ScoreChunkFn] failed:\nmodel m: no such file or directory"
		trace = "org.apache.flink.util.FlinkException: first\n\tat a.b.C.d(C.java:1)\nCaused by: java.util.concurrent.ExecutionException: second\n\tat a.b.C.e(C.java:2)\n\t... 9 more\n" +
			"Caused by: " + harness + "\n\tat a.b.C.f(C.java:3)\n\t... 3 more\n"
	)
	if got := rootCause(trace); ownError(got) != "model m: no such file or directory" || !strings.HasPrefix(got, "java.lang.RuntimeException: Error received") {
		t.Errorf("the root cause is %q, of which the program's own error is %q", got, ownError(got))
	}
	for _, text := range []string{"", "java.lang.OutOfMemoryError: Java heap space", "the task failed:\nsomehow"} {
		if got := ownError(rootCause(text)); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
