package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logobeam/logobeam/pipelines/scores"
)

// TestFlink scores on a real Flink cluster with workers that are processes of bin/logobeam, and does to them what happens
// in a year of nights. `make flink` starts the cluster and runs it.
func TestFlink(t *testing.T) {
	rest, endpoint := os.Getenv("FLINK_REST"), os.Getenv("BEAM_ENDPOINT")
	if rest == "" {
		t.Skip("there is no cluster: make flink starts one")
	}
	bin, err := filepath.Abs("../../bin/logobeam")
	if err != nil {
		t.Fatal(err)
	}
	f := flinkCluster{rest: "http://" + rest, bin: bin, listing: filepath.Join(t.TempDir(), "posts.csv")}
	f.flags = []string{"--chunk-rows", strconv.Itoa(chunkRows), "--workers", "1", "--repeats", "score"} // so that every row takes its time
	f.write(t)
	reference := filepath.Join(t.TempDir(), "prism")
	if out, err := exec.Command(bin, append([]string{"score", f.listing, "--out", reference}, f.flags...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.want = contents(t, reference)
	f.flags = append(f.flags, "--runner", "flink", "--endpoint", endpoint, "--flink-rest", rest)
	two := []string{"--parallelism", "2"}

	t.Run("both task managers share the work", func(t *testing.T) {
		f.score(t, two...).succeeds(t)
		share := f.share(t)
		if len(share) != 2 || share["tm1"]+share["tm2"] != f.chunks || share["tm1"] == 0 || share["tm2"] == 0 {
			t.Errorf("chunks by task manager: %v; want all %d, some in each", share, f.chunks)
		}
		for _, parallelism := range []string{"1", "2"} {
			began := time.Now()
			f.score(t, "--parallelism", parallelism).succeeds(t)
			t.Logf("parallelism %s: %.0f rows/s, start and end included; %.0f by Flink's clock; chunks %v",
				parallelism, float64(f.rows)/time.Since(began).Seconds(), f.rate(t), f.share(t))
		}
	})

	t.Run("a task manager is killed", func(t *testing.T) {
		run := f.score(t, two...)
		run.parts(t, f.chunks/4)
		f.do(t, "kill-tm", "1")
		run.parts(t, f.chunks/4+1)
		f.do(t, "start-tm", "1")
		run.succeeds(t)
		if f.failures(t, f.job(t).JID) == "" {
			t.Error("Flink knows of no failure: the task manager was not needed")
		}
		f.managers(t, 2)
	})

	t.Run("a worker is killed", func(t *testing.T) {
		others := f.workers(t)
		run := f.score(t, two...)
		run.parts(t, f.chunks/4)
		own := f.workers(t, others...)
		if len(own) != 2 {
			t.Errorf("%d workers; want one for each task manager", len(own))
		}
		syscall.Kill(own[0], syscall.SIGKILL)
		run.succeeds(t)
		if f.failures(t, f.job(t).JID) == "" {
			t.Error("Flink knows of no failure: the worker was not needed")
		}
	})

	t.Run("an error that passes", func(t *testing.T) {
		run := f.score(t, two...)
		f.until(t, "the run has begun", func() bool { return exists(run.out, "manifest.json") })
		away := f.listing + ".away"
		if err := os.Rename(f.listing, away); err != nil { // this process has read it; the workers have not
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Rename(away, f.listing) }) // for the tests that follow, if this one fails
		f.until(t, "the listing is missed", func() bool {
			return strings.Contains(f.failures(t, f.job(t).JID), f.listing+": no such file")
		})
		if err := os.Rename(away, f.listing); err != nil {
			t.Fatal(err)
		}
		run.succeeds(t)
	})

	t.Run("an error that stays", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "model")
		if err := os.CopyFS(dir, os.DirFS("../../model/builtin")); err != nil {
			t.Fatal(err)
		}
		run := f.score(t, append(two, "--model", dir)...)
		f.until(t, "the run has begun", func() bool { return exists(run.out, "manifest.json") })
		if err := os.RemoveAll(dir); err != nil { // this process has read it; the workers have not
			t.Fatal(err)
		}
		if code := run.end(t); code != exitFailed || !strings.Contains(run.stderr.String(), "failed: model "+dir+": no such file or directory") {
			t.Errorf("exit code %d, %s", code, &run.stderr)
		}
		if exists(run.out, "_SUCCESS") {
			t.Error("it passes for finished")
		}
	})

	t.Run("interrupted, and on", func(t *testing.T) {
		others := f.workers(t)
		run := f.score(t, two...)
		run.parts(t, f.chunks/4)
		began := time.Now()
		run.cmd.Process.Signal(os.Interrupt)
		if code := run.end(t); code != exitInterrupted || run.stderr.String() != "logobeam: interrupted\n" {
			t.Errorf("exit code %d, %s", code, &run.stderr)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("it ended %v after it was interrupted", took)
		}
		if state := f.job(t).State; state != "CANCELED" {
			t.Errorf("Flink's job is %s", state)
		}
		f.until(t, "its workers have ended", func() bool { return len(f.workers(t, others...)) == 0 })
		if _, err := scores.Verify(context.Background(), run.out); err == nil {
			t.Error("an unfinished output passes for whole")
		}
		again := f.score(t, append(two, "--out", run.out)...)
		again.out = run.out
		again.succeeds(t)
	})

	t.Run("worker pool", func(t *testing.T) {
		l, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().(*net.TCPAddr)
		l.Close()
		others := f.workers(t)
		ctx, stop := context.WithCancel(context.Background())
		pool := exec.CommandContext(ctx, bin, "worker", "--port", strconv.Itoa(address.Port))
		pool.Cancel = func() error { return pool.Process.Signal(os.Interrupt) }
		if err := pool.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			stop()
			pool.Wait()
			if left := f.workers(t, others...); len(left) > 0 {
				t.Errorf("the pool has left the workers %v", left)
			}
		}()
		external := append(two, "--environment_type", "EXTERNAL", "--environment_config", fmt.Sprint("localhost:", address.Port))
		run := f.score(t, external...)
		run.parts(t, f.chunks/4)
		f.do(t, "kill-tm", "2") // and its like has the same names for its workers
		f.do(t, "start-tm", "2")
		run.succeeds(t)
		f.managers(t, 2)
		f.score(t, external...).succeeds(t)
	})
}

// TestFlinkTraining trains in rounds, with two workers on the two task managers, and kills workers' processes, a task manager and
// the driver on the way. The model is the one that prism makes.
func TestFlinkTraining(t *testing.T) {
	rest, endpoint := os.Getenv("FLINK_REST"), os.Getenv("BEAM_ENDPOINT")
	if rest == "" {
		t.Skip("there is no cluster: make flink starts one")
	}
	bin, err := filepath.Abs("../../bin/logobeam")
	if err != nil {
		t.Fatal(err)
	}
	f := &flinkCluster{rest: "http://" + rest, bin: bin}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if out, err := exec.Command(f.bin, "prepare", "../../testdata", "--out", data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	flags := []string{"train", data, "--arch", "mlp", "--size", "64", "--epochs", "4", "--augment", "strong", "--views", "2", "--no-test",
		"--workers", "2", "--sync", "0.5", "--outer-lr", "0.7", "--outer-momentum", "0.9", "--batch", "4", "--slices", "1", "--cores", "1"}
	reference := filepath.Join(dir, "prism")
	if out, err := exec.Command(f.bin, append(flags, "--out", reference)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	weights := func(out string) string { return contents(t, out)["model.safetensors"] }
	want := weights(reference)
	begin := func(t *testing.T, more ...string) *flinkRun {
		r := &flinkRun{flinkCluster: f, out: filepath.Join(t.TempDir(), "out")}
		r.cmd = exec.Command(f.bin, slices.Concat(flags, []string{"--out", r.out, "--runner", "flink", "--endpoint", endpoint, "--flink-rest", rest, "--parallelism", "2"}, more)...)
		r.cmd.Stderr = &r.stderr
		if err := r.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.cmd.Process.Kill() })
		return r
	}
	round := func(t *testing.T, r *flinkRun, n int) {
		t.Helper()
		f.until(t, fmt.Sprint("round ", n, " is averaged"), func() bool {
			records, _ := filepath.Glob(filepath.Join(r.out, "rounds", "*", fmt.Sprintf("%05d-merged.json", n)))
			return len(records) > 0
		})
	}
	same := func(t *testing.T, r *flinkRun) {
		t.Helper()
		if code := r.end(t); code != exitDone {
			t.Fatalf("exit code %d: %s", code, &r.stderr)
		}
		if weights(r.out) != want {
			t.Error("the model is not the one that prism makes")
		}
	}
	began := time.Now()
	run := begin(t)
	same(t, run)
	took := time.Since(began)
	t.Logf("8 rounds in %v; of the last two by Flink's clock %v ms", took, f.job(t).Duration)
	hosts := map[string]int{}
	for line := range strings.Lines(contents(t, run.out)["rounds.jsonl"]) {
		var l struct{ Host string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Host != "" {
			hosts[l.Host]++
		}
	}
	if d := cmp.Diff([]int{2, 2, 6, 6}, slices.Sorted(maps.Values(hosts))); d != "" { // of a job with six rounds and one with two
		t.Errorf("rounds by process: %v; want two processes in each job, one for each task manager", hosts)
	}
	t.Log("rounds by process: ", hosts)

	t.Run("workers are killed at random moments", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 0))
		kills, runs := 0, 0
		for ; kills < workerKills; runs++ {
			if runs == 2*workerKills {
				t.Fatalf("%d trainings, and only %d of their workers were needed when they were killed", runs, kills)
			}
			others := f.workers(t)
			run := begin(t)
			f.until(t, "it has a worker", func() bool { return len(f.workers(t, others...)) > 0 })
			time.Sleep(time.Duration(random.Float64() * float64(took)))
			job, own := f.job(t).JID, f.workers(t, others...)
			if len(own) > 0 { // it may be between its two jobs, or over
				syscall.Kill(own[random.IntN(len(own))], syscall.SIGKILL)
			}
			same(t, run)
			if len(own) > 0 && f.failures(t, job) != "" {
				kills++
			}
		}
		t.Logf("%d workers were killed in %d trainings", kills, runs)
	})
	t.Run("a task manager is killed", func(t *testing.T) {
		run := begin(t)
		round(t, run, 1)
		f.do(t, "kill-tm", "1")
		f.do(t, "start-tm", "1")
		same(t, run)
		f.managers(t, 2)
	})
	t.Run("the driver is killed", func(t *testing.T) {
		run := begin(t)
		round(t, run, 1)
		run.cmd.Process.Kill() // and the job goes on
		run.end(t)
		again := begin(t, "--out", run.out, "--resume")
		again.out = run.out
		same(t, again)
	})
	t.Run("more rounds than Flink can plan at once", func(t *testing.T) {
		began := time.Now()
		run := begin(t, "--epochs", "10", "--size", "16")
		if code := run.end(t); code != exitDone {
			t.Fatalf("exit code %d: %s", code, &run.stderr)
		}
		t.Logf("20 rounds in %v", time.Since(began))
	})
}

const (
	copies    = 20 // of testdata/posts.csv
	chunkRows = 50
	// workerKills is how many workers of trainings are killed, each while its training needs it.
	workerKills = 20
)

// flinkCluster is the cluster, and the run that it is to do.
type flinkCluster struct {
	rest, bin, listing string
	flags              []string
	rows, chunks       int
	want               map[string]string // what the same run writes with the runner prism
}

// write writes the listing.
func (f *flinkCluster) write(t *testing.T) {
	t.Helper()
	root, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.Open(filepath.Join(root, "posts.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	posts, err := csv.NewReader(text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("post_id,image\n")
	for i := range copies {
		for _, p := range posts[1:] {
			fmt.Fprintf(&b, "%d-%s,%s\n", i, p[0], filepath.Join(root, p[1]))
			f.rows++
		}
	}
	f.chunks = (f.rows + chunkRows - 1) / chunkRows
	if err := os.WriteFile(f.listing, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// flinkRun is a logobeam score under way.
type flinkRun struct {
	*flinkCluster
	out    string
	cmd    *exec.Cmd
	stderr bytes.Buffer
}

// score starts one. Its output is a folder of its own unless the flags name one.
func (f *flinkCluster) score(t *testing.T, flags ...string) *flinkRun {
	t.Helper()
	r := &flinkRun{flinkCluster: f, out: filepath.Join(t.TempDir(), "out")}
	r.cmd = exec.Command(f.bin, slices.Concat([]string{"score", f.listing, "--out", r.out}, f.flags, flags)...)
	r.cmd.Stderr = &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cmd.Process.Kill() })
	return r
}

// end waits for it and gives its exit code.
func (r *flinkRun) end(t *testing.T) int {
	t.Helper()
	if err := r.cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return r.cmd.ProcessState.ExitCode()
}

// succeeds waits for it, and wants the same bytes as prism has written.
func (r *flinkRun) succeeds(t *testing.T) {
	t.Helper()
	if code := r.end(t); code != exitDone {
		t.Fatalf("exit code %d: %s", code, &r.stderr)
	}
	if _, err := scores.Verify(context.Background(), r.out); err != nil {
		t.Error(err)
	}
	if got := contents(t, r.out); !maps.Equal(got, r.want) {
		t.Errorf("%d files, which are not the %d that prism writes", len(got), len(r.want))
	}
}

// parts waits until so many parts are there.
func (r *flinkRun) parts(t *testing.T, n int) {
	t.Helper()
	r.until(t, fmt.Sprint(n, " parts are there"), func() bool {
		files, _ := filepath.Glob(filepath.Join(r.out, "scores", "part-*"))
		return len(files) >= n
	})
	if exists(r.out, "_SUCCESS") {
		t.Error("the run is over: nothing will come of what happens now")
	}
}

func (f *flinkCluster) until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for began := time.Now(); !happened(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("a minute has gone by until %s", what)
		}
	}
}

// do runs cluster.sh.
func (f *flinkCluster) do(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("../../testdata/flink/cluster.sh", args...).CombinedOutput(); err != nil {
		t.Fatalf("cluster.sh %v: %v: %s", args, err, out)
	}
}

func (f *flinkCluster) get(t *testing.T, path string, v any) {
	t.Helper()
	r, err := http.Get(f.rest + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// flinkJob is a job as Flink knows it.
type flinkJob struct {
	JID, State string
	Start      int64 `json:"start-time"`
	Duration   int64 // milliseconds
}

// job is the newest.
func (f *flinkCluster) job(t *testing.T) flinkJob {
	t.Helper()
	var list struct{ Jobs []flinkJob }
	f.get(t, "/jobs/overview", &list)
	if len(list.Jobs) == 0 {
		t.Fatal("Flink knows no job")
	}
	return slices.MaxFunc(list.Jobs, func(a, b flinkJob) int { return int(a.Start - b.Start) })
}

// rate is rows a second while the newest job ran.
func (f *flinkCluster) rate(t *testing.T) float64 {
	return float64(f.rows) / float64(f.job(t).Duration) * 1000
}

// share is how many chunks each task manager was given in the newest job.
func (f *flinkCluster) share(t *testing.T) map[string]int {
	t.Helper()
	var job struct {
		Vertices []struct{ ID, Name string }
	}
	id := f.job(t).JID
	f.get(t, "/jobs/"+id, &job)
	share := map[string]int{}
	for _, v := range job.Vertices {
		if !strings.Contains(v.Name, "ScoreChunkFn") {
			continue
		}
		var by struct {
			TaskManagers []struct {
				ID      string `json:"taskmanager-id"`
				Metrics struct {
					Read int `json:"read-records"`
				}
			}
		}
		f.get(t, "/jobs/"+id+"/vertices/"+v.ID+"/taskmanagers", &by)
		for _, m := range by.TaskManagers {
			share[m.ID] += m.Metrics.Read
		}
	}
	return share
}

// failures are what a job has come through, newest first.
func (f *flinkCluster) failures(t *testing.T, job string) string {
	t.Helper()
	var e struct {
		ExceptionHistory struct {
			Entries []struct{ Stacktrace string }
		}
	}
	f.get(t, "/jobs/"+job+"/exceptions", &e)
	var b strings.Builder
	for _, x := range e.ExceptionHistory.Entries {
		b.WriteString(x.Stacktrace)
	}
	return b.String()
}

// managers waits until there are so many task managers.
func (f *flinkCluster) managers(t *testing.T, n int) {
	t.Helper()
	f.until(t, fmt.Sprint(n, " task managers are there"), func() bool {
		var o struct{ TaskManagers int }
		f.get(t, "/overview", &o)
		return o.TaskManagers == n
	})
}

// workers are the processes of the program that work for a runner, but for those that are known. Flink forgets about one that it
// had begun to start when a job was restarted, until its task manager ends.
func (f *flinkCluster) workers(t *testing.T, known ...int) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		text, _ := os.ReadFile(file) // it may have ended
		if args := strings.Split(string(text), "\x00"); args[0] == f.bin && len(args) > 1 && strings.HasPrefix(args[1], "--id=") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil && !slices.Contains(known, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// contents are all files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "report.html" || name == "runs.jsonl" { // which tell of times
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
