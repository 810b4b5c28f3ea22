package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Flink is what can be said of a Flink cluster beside Beam's settings (package jobopts), which its flags make.
type Flink struct {
	// REST is where Flink's own interface is, host:port. A run that is interrupted cancels its job there, which Beam's job
	// service cannot do, and one that fails asks for the cause.
	REST string
	// Options are those of Beam's runner by their names, as execution_mode_for_batch: BATCH_FORCED.
	Options map[string]string
}

// flink is Flink's REST interface (Flink's documentation, "REST API"), at host:port.
type flink string

// call asks for a path, and decodes the answer into v unless that is nil.
func (f flink) call(ctx context.Context, method, path string, v any) error {
	base := string(f)
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, nil)
	if err != nil {
		return err
	}
	r.Close = true // no connection is kept
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, r.URL, answer.Status)
	}
	if v == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(v)
}

var errNoFlinkJob = errors.New("Flink has no such job")

// find gives Flink's own id for a job, and its state. Beam's id is that of its preparation, by which Flink knows the job,
// and a part of the run's.
func (f flink) find(ctx context.Context, beamID string) (id, state string, err error) {
	var list struct {
		Jobs []struct{ JID, Name, State string }
	}
	if err := f.call(ctx, http.MethodGet, "/jobs/overview", &list); err != nil {
		return "", "", err
	}
	name := beamID[:max(strings.LastIndexByte(beamID, '_'), 0)]
	for _, j := range list.Jobs {
		if j.Name == name {
			return j.JID, j.State, nil
		}
	}
	return "", "", errNoFlinkJob
}

// cancel has a job cancelled and waits for that. A job that has just been submitted may not be known yet.
func (f flink) cancel(ctx context.Context, beamID string) error {
	asked := false
	for {
		id, state, err := f.find(ctx, beamID)
		switch {
		case err != nil && !errors.Is(err, errNoFlinkJob):
			return fmt.Errorf("Flink at %s cannot be asked to cancel it: %w", string(f), err)
		case state == "CANCELED" || state == "FINISHED" || state == "FAILED":
			return nil
		case err == nil && !asked:
			if err := f.call(ctx, http.MethodPatch, "/jobs/"+id+"?mode=cancel", nil); err != nil {
				return fmt.Errorf("Flink does not cancel it: %w", err)
			}
			asked = true
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			if asked {
				return errors.New("Flink has been asked to cancel it and is at it")
			}
			return fmt.Errorf("Flink at %s has not got it yet", string(f))
		}
	}
}

// cause is why a job failed.
func (f flink) cause(ctx context.Context, beamID string) (string, error) {
	id, _, err := f.find(ctx, beamID)
	if err != nil {
		return "", err
	}
	var e struct {
		ExceptionHistory struct {
			Entries []struct{ Stacktrace string } // the newest first
		}
	}
	if err := f.call(ctx, http.MethodGet, "/jobs/"+id+"/exceptions?maxExceptions=1", &e); err != nil || len(e.ExceptionHistory.Entries) == 0 {
		return "", err
	}
	return rootCause(e.ExceptionHistory.Entries[0].Stacktrace), nil
}

// rootCause is the innermost cause of a Java stack trace, without where it was thrown.
func rootCause(trace string) string {
	const inner = "Caused by: "
	if i := strings.LastIndex(trace, "\n"+inner); i >= 0 {
		trace = trace[i+1+len(inner):]
	}
	var lines []string
	for line := range strings.Lines(trace) {
		if strings.HasPrefix(line, "\tat ") {
			break
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.Join(lines, "\n")
}
