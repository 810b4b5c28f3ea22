package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/store"
	"github.com/logobeam/logobeam/pipelines/store/storetest"
	"github.com/logobeam/logobeam/transforms"
)

// lessons writes photographs of patches with their listings, and says how a tiny network is to learn from them: in two phases,
// with all that the recipe has.
func lessons(t testing.TB) TrainConfig {
	t.Helper()
	dir := t.TempDir()
	classes := []string{"adidas", "bmw", model.NoLogo}
	n := 0
	for file, rows := range map[string]int{"train.csv": 22, "val.csv": 9, "test.csv": 5} {
		var b strings.Builder
		b.WriteString("image,label\n")
		for i := range rows {
			n++
			fmt.Fprintf(&b, "%s-%d.png,%s\n", file, i, classes[i%3])
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", file, i)), picture(i%3+3*(n%5)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	net := model.Network{Arch: "tiny", Input: model.Shape{H: 12, W: 12, C: 3}, Layers: []model.Layer{
		{Name: "conv", Op: model.Conv, Out: 6, Kernel: 3, Stride: 2, Act: model.ReLU},
		{Name: "fc", Op: model.Dense, Out: 3},
	}}
	params, err := model.Init(net, 1)
	if err != nil {
		t.Fatal(err)
	}
	mean, std := [3]float64{127, 127, 127}, [3]float64{60, 60, 60}
	scoring := transforms.DefaultScoring(12, mean, std)
	steps, err := json.Marshal(scoring)
	if err != nil {
		t.Fatal(err)
	}
	cfg := train.DefaultConfig()
	cfg.Epochs, cfg.HeadEpochs, cfg.Batch, cfg.Slices, cfg.Seed = 3, 1, 3, 2, 7
	cfg.Solver, cfg.LearningRate, cfg.WeightDecay, cfg.Average, cfg.Mixup = train.AdamW, 0.01, 0.05, 1, 0.2
	cfg.Schedule, cfg.Warmup = train.Cosine, 0.5
	return TrainConfig{
		Data: dir, Test: true, Train: cfg, Workers: 1, Sync: 1, Outer: train.Outer{LearningRate: 1}, Runner: "prism", Out: filepath.Join(t.TempDir(), "out"),
		Options: corpus.Options{Classes: classes, Training: transforms.DefaultTraining(12, mean, std), Scoring: scoring, Views: 2, Seed: 7},
		Model: model.Model{Network: net, Params: params, Card: model.Card{Classes: classes, Transforms: steps, Views: 2,
			Training: &model.Training{Arguments: []string{"train"}, Epochs: 3, Images: map[string]int{"train": 22}}}},
	}
}

// plain trains without Beam.
func plain(t *testing.T, cfg TrainConfig) (train.Result, map[string]string) {
	t.Helper()
	data, err := corpus.OpenSplits(cfg.Data, cfg.Options, cfg.Test)
	if err != nil {
		t.Fatal(err)
	}
	params := model.Params{}
	for name, values := range cfg.Model.Params {
		params[name] = slices.Clone(values)
	}
	r, err := train.Run(context.Background(), cfg.Model.Network, params, data, cfg.Train, train.SaveBest(cfg.Out, cfg.Model, cfg.Half))
	if err != nil {
		t.Fatal(err)
	}
	r.Params = nil
	return r, files(t, cfg.Out)
}

// trains is the result of a training, and its model's files.
func trains(t *testing.T, cfg TrainConfig, hooks ...train.Hook) (train.Result, map[string]string) {
	t.Helper()
	r, err := Train(context.Background(), cfg, hooks...)
	if err != nil {
		t.Fatal(err)
	}
	return r, modelFiles(t, cfg.Out)
}

// modelFiles are those of a finished training but for its log, which is looked at.
func modelFiles(t *testing.T, out string) map[string]string {
	t.Helper()
	all := files(t, out)
	if all[logFile] == "" || len(all) != 3 {
		t.Errorf("the output holds %v", slices.Collect(maps.Keys(all)))
	}
	delete(all, logFile)
	if _, err := os.Stat(filepath.Join(out, folder)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of rounds is left: %v", err)
	}
	return all
}

var epochTimes = cmpopts.IgnoreFields(train.Epoch{}, "Seconds", "ImagesPerSecond")

// elsewhereTo is cfg with an output of its own.
func elsewhereTo(t *testing.T, cfg TrainConfig) TrainConfig {
	cfg.Out = filepath.Join(t.TempDir(), "out")
	return cfg
}

// One worker comes to the model of plain training, bit for bit, however often it is averaged with itself.
func TestTrainOneWorker(t *testing.T) {
	noLeaks(t)
	recipe := lessons(t)
	bySGD := lessons(t)
	bySGD.Train.Solver, bySGD.Train.Average, bySGD.Train.HeadEpochs, bySGD.Half, bySGD.Test = train.SGD, 0, 0, true, false
	for _, c := range []struct {
		reason string
		cfg    TrainConfig
		syncs  []float64
	}{{"the recipe", recipe, []float64{1, 0.25}}, {"sgd", bySGD, []float64{0.5}}} {
		want, wantFiles := plain(t, elsewhereTo(t, c.cfg))
		for _, sync := range c.syncs {
			t.Run(fmt.Sprint(c.reason, ", ", sync), func(t *testing.T) {
				cfg := elsewhereTo(t, c.cfg)
				cfg.Sync = sync
				var heard []train.Epoch
				images := 0
				got, gotFiles := trains(t, cfg, train.Hook{
					OnStep:  func(_ context.Context, s train.StepInfo) error { images = s.Images; return nil },
					OnEpoch: func(_ context.Context, e train.Epoch, _ model.Params) error { heard = append(heard, e); return nil },
				})
				if d := cmp.Diff(want, got, epochTimes); d != "" {
					t.Errorf("(-plain +rounds)\n%s", d)
				}
				same(t, wantFiles, gotFiles)
				if d := cmp.Diff(got.History, heard); d != "" || images != 22 {
					t.Errorf("a hook has heard of %d images and\n%s", images, d)
				}
			})
		}
	}
}

// A number of workers comes to the same files each time, whoever runs it and on however many cores; another number to others.
// What the log says of where the parameters were adds up.
func TestTrainWorkers(t *testing.T) {
	noLeaks(t)
	base := lessons(t)
	base.Train.Epochs = 2
	seen := map[string]int{}
	for _, workers := range []int{2, 3} {
		cfg := elsewhereTo(t, base)
		cfg.Workers, cfg.Sync, cfg.Outer, cfg.Train.Cores = workers, 0.5, train.Outer{LearningRate: 0.7, Momentum: 0.9}, 1
		most := 0
		wantResult, want := trains(t, cfg, train.Hook{OnStep: func(context.Context, train.StepInfo) error {
			states, _ := filepath.Glob(filepath.Join(cfg.Out, folder, "*", "*-state-*"))
			most = max(most, len(states))
			return nil
		}})
		if limit := 3 * (workers + 1); most > limit {
			t.Errorf("%d workers: %d states lay there at a time; want at most %d", workers, most, limit)
		}
		if other, ok := seen[want["model.safetensors"]]; ok {
			t.Errorf("%d workers come to what %d come to", workers, other)
		}
		seen[want["model.safetensors"]] = workers
		states := checkLog(t, cfg, wantResult)
		again := elsewhereTo(t, cfg)
		again.Runner, again.Train.Cores = "direct", 3
		gotResult, got := trains(t, again)
		same(t, want, got)
		if d := cmp.Diff(wantResult, gotResult, epochTimes); d != "" {
			t.Errorf("%d workers (-first +second)\n%s", workers, d)
		}
		if d := cmp.Diff(states, checkLog(t, again, gotResult)); d != "" {
			t.Errorf("%d workers: states of rounds (-first +second)\n%s", workers, d)
		}
	}
}

// checkLog checks rounds.jsonl, and gives the states that it tells of.
func checkLog(t *testing.T, cfg TrainConfig, r train.Result) (states []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cfg.Out, logFile))
	if err != nil {
		t.Fatal(err)
	}
	rounds, err := cfg.rounds()
	if err != nil {
		t.Fatal(err)
	}
	images, lines := map[int]int{}, bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if want := cfg.Train.Epochs*rounds*(cfg.Workers+1) + 1; len(lines) != want {
		t.Fatalf("%d lines; want %d", len(lines), want)
	}
	for _, line := range lines[:len(lines)-1] {
		var l struct {
			Leg
			Merged string
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		images[l.Epoch] += l.Images
		states = append(states, l.State+l.Merged)
		if len(l.State+l.Merged) != 64 || l.Merged == "" && (l.Host == "" || l.Seconds <= 0) {
			t.Errorf("a line says %s", line)
		}
	}
	if d := cmp.Diff(map[int]int{1: 22, 2: 22}, images); d != "" {
		t.Error("images of the epochs", d)
	}
	var v verdict
	if err := json.Unmarshal(lines[len(lines)-1], &v); err != nil || !cmp.Equal(v.History, r.History) || !slices.Contains(states, v.Best) {
		t.Errorf("the last line is %s, %v", lines[len(lines)-1], err)
	}
	return states
}

// A training that is stopped as soon as there is another record, again and again, comes to the files of one that never was.
func TestTrainResumes(t *testing.T) {
	noLeaks(t)
	base := lessons(t)
	base.Workers, base.Sync, base.Outer = 2, 0.5, train.Outer{LearningRate: 0.7, Momentum: 0.5}
	base.Train.Epochs = 2
	wantResult, want := trains(t, base)
	cfg := elsewhereTo(t, base)
	cfg.Resume = true
	count := func() int {
		records, _ := filepath.Glob(filepath.Join(cfg.Out, folder, "*", "*.json"))
		return len(records)
	}
	stops := 0
	var told []train.Epoch
	for {
		ctx, stop := context.WithCancel(context.Background())
		var ended atomic.Bool
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for before := count(); count() <= before && !ended.Load(); {
				time.Sleep(time.Millisecond)
			}
			stop()
		}()
		got, err := Train(ctx, cfg, train.Hook{OnEpoch: func(_ context.Context, e train.Epoch, _ model.Params) error {
			told = append(told, e)
			return nil
		}})
		ended.Store(true)
		<-watched
		if err == nil {
			same(t, want, modelFiles(t, cfg.Out))
			if d := cmp.Diff(wantResult, got, epochTimes); d != "" {
				t.Errorf("(-undisturbed +stopped)\n%s", d)
			}
			if d := cmp.Diff(got.History, told); d != "" {
				t.Errorf("what hooks were told in all: %s", d)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if stops++; stops > 50 {
			t.Fatal("it does not get on")
		}
	}
	if stops < 5 {
		t.Errorf("it was stopped %d times: that shows little", stops)
	}
}

// What opens devices is in no description, and a resumed training has it all the same.
func TestTrainResumesDevices(t *testing.T) {
	noLeaks(t)
	cfg := lessons(t)
	cfg.Workers, cfg.Train.Epochs, cfg.Train.Devices = 2, 2, []train.Opener{train.CPU, train.CPU}
	_, want := trains(t, cfg)
	cfg = elsewhereTo(t, cfg)
	ctx, stop := context.WithCancel(context.Background())
	if _, err := Train(ctx, cfg, train.Hook{OnStep: func(context.Context, train.StepInfo) error { stop(); return nil }}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	cfg.Resume = true
	_, got := trains(t, cfg)
	same(t, want, got)
}

// A worker of a training that was given up, as a cluster's that has lost its driver, does nothing to the one that follows.
func TestTrainLateWorker(t *testing.T) {
	noLeaks(t)
	former := lessons(t)
	former.Workers, former.Train.Epochs = 2, 2
	cfg := former
	cfg.Train.LearningRate = 0.02
	_, want := trains(t, elsewhereTo(t, cfg))
	ctx := context.Background()
	c, unlock, err := former.open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	lesson := former.lesson("", c)
	defer c.keep(lesson)()
	unlock()
	late := false
	_, got := trains(t, cfg, train.Hook{OnStep: func(context.Context, train.StepInfo) error {
		if late {
			return nil
		}
		late = true
		for worker := range 2 {
			if _, err := (&TrainFn{ShardFn{Lesson: lesson}}).train(ctx, nil, Leg{Worker: worker}); err != nil {
				return err
			}
		}
		if err := c.save(ctx, train.Epoch{Epoch: 1}, verdict{}); err == nil || !strings.Contains(err.Error(), "is of another run by now") {
			return fmt.Errorf("it saves its model: %v", err)
		}
		return nil
	}})
	same(t, want, got)
}

// What a worker elsewhere knows beside the description is what the command says now.
func TestLesson(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	t.Cleanup(keepSettings())
	defer func(was int) { *jobopts.Parallelism = was }(*jobopts.Parallelism)
	cfg := lessons(t)
	cfg.Workers = 4
	for _, c := range []struct {
		reason, runner, environment string
		parallelism, cores, want    int
	}{
		{"all in this process", "prism", "", -1, 0, 2},
		{"all in this process, which is a cluster's only", "universal", "LOOPBACK", 4, 0, 2},
		{"as many processes as workers", "flink", "PROCESS", 4, 0, 8},
		{"fewer", "flink", "PROCESS", 3, 0, 4},
		{"more", "flink", "EXTERNAL", 9, 0, 8},
		{"who knows how many", "flink", "", -1, 0, 2},
		{"as it is told", "flink", "", 4, 3, 3},
	} {
		cfg.Runner, cfg.Train.Cores, *jobopts.EnvironmentType, *jobopts.Parallelism = c.runner, c.cores, c.environment, c.parallelism
		cfg.Train.BadBatch = filepath.Join(cfg.Out, "bad")
		cfg.Options.Limits.Time += time.Minute // another each time
		here, unlock, err := cfg.open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		there, err := cfg.lesson("", here).open(context.Background())
		unlock()
		if err != nil {
			t.Fatal(err)
		}
		if got := there.Config.Cores; got != c.want {
			t.Errorf("%s: %d cores; want %d", c.reason, got, c.want)
		}
		if got := there.Config.BadBatch; got != cfg.Train.BadBatch {
			t.Errorf("%s: batches go to %q; want %s", c.reason, got, cfg.Train.BadBatch)
		}
		for _, o := range []corpus.Options{here.Options, there.Options} {
			if o.Limits.Time != cfg.Options.Limits.Time {
				t.Errorf("%s: %v for a photograph; want %v", c.reason, o.Limits.Time, cfg.Options.Limits.Time)
			}
		}
		cfg.Resume = true
	}
}

// A batch that cannot be learnt from is kept, by each worker in a folder of its own.
func TestTrainBadBatch(t *testing.T) {
	noLeaks(t)
	for _, workers := range []int{1, 2} {
		cfg := lessons(t)
		cfg.Workers, cfg.Train.Solver, cfg.Train.LearningRate, cfg.Train.BadBatch = workers, train.SGD, 1e30, filepath.Join(t.TempDir(), "bad")
		_, err := Train(context.Background(), cfg)
		var bad *train.NotFiniteError
		if !errors.As(err, &bad) {
			t.Fatal(err)
		}
		want := cfg.Train.BadBatch
		if workers > 1 {
			want = filepath.Join(want, "worker-[01]")
		}
		if ok, _ := filepath.Match(want, bad.Batch); !ok {
			t.Errorf("%d workers: the batch is in %q; want %s", workers, bad.Batch, want)
		}
		if _, err := os.Stat(filepath.Join(bad.Batch, "batch.csv")); err != nil {
			t.Error(err)
		}
	}
}

// A record that was there, and is gone when it is read, is not taken for one of nothing.
func TestNoteGone(t *testing.T) {
	dir := t.TempDir()
	s, err := store.At(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "record")); err != nil {
		t.Fatal(err)
	}
	if l, err := note(context.Background(), s, "record", Leg{Worker: 1}); err == nil || !strings.Contains(err.Error(), "record is gone") {
		t.Errorf("%+v, error %v", l, err)
	}
}

// Who fails in the last hook hears of the end again.
func TestTrainEndsAgain(t *testing.T) {
	noLeaks(t)
	cfg := lessons(t)
	cfg.Train.Epochs, cfg.Train.HeadEpochs, cfg.Resume = 1, 0, true
	full := errors.New("the disk is full")
	if _, err := Train(context.Background(), cfg, train.Hook{OnEnd: func(context.Context, train.Result) error { return full }}); !errors.Is(err, full) {
		t.Fatal(err)
	}
	ended := false
	trains(t, cfg, train.Hook{OnEnd: func(_ context.Context, r train.Result) error { ended = len(r.History) == 1; return nil },
		OnStep: func(context.Context, train.StepInfo) error { return errors.New("it is trained again") }})
	if !ended {
		t.Error("no hook has heard of the end")
	}
}

// What was ended at its very end, or is of another run, or is damaged.
func TestTrainRefuses(t *testing.T) {
	noLeaks(t)
	base := lessons(t)
	base.Workers, base.Resume = 2, true
	ctx, stop := context.WithCancel(context.Background())
	_, err := Train(ctx, base, train.Hook{OnEpoch: func(context.Context, train.Epoch, model.Params) error { stop(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if there, err := InRounds(context.Background(), base.Out); err != nil || !there {
		t.Fatalf("the training is there: %v, %v", there, err)
	}
	for want, change := range map[string]func(*TrainConfig){
		"workers (\"2\" there, \"3\" now)":     nil,
		"learning_rate (0.01 there, 0.02 now)": func(c *TrainConfig) { c.Train.LearningRate = 0.02 },
		"rounds an epoch (1 there, 2 now)":     func(c *TrainConfig) { c.Sync = 0.5 },
		"outer momentum (0 there, 0.5 now)":    func(c *TrainConfig) { c.Outer.Momentum = 0.5 },
		"differs in data:":                     func(c *TrainConfig) { c.Options.Seed = 8 },
		"starting weights":                     func(c *TrainConfig) { c.Model.Params, _ = model.Init(c.Model.Network, 2) },
		"float16 (false there, true now)":      func(c *TrainConfig) { c.Half = true },
	} {
		cfg := base
		if change == nil {
			cfg.Workers, want = 3, "workers (2 there, 3 now)"
		} else {
			change(&cfg)
		}
		if _, err := Train(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), base.Out+" is of another run, which differs in ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q", err, want)
		}
	}
	states, err := filepath.Glob(filepath.Join(base.Out, folder, "*", "*-state-*"))
	if err != nil || len(states) == 0 {
		t.Fatal(states, err)
	}
	for _, name := range states {
		text, err := os.ReadFile(name)
		if err == nil {
			text[len(text)/2]++
			err = os.WriteFile(name, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Train(context.Background(), base); err == nil || !strings.Contains(err.Error(), "is damaged") || !strings.Contains(err.Error(), "-state-") {
		t.Errorf("damaged states: error %v", err)
	}
	base.Resume = false // gives it up
	_, want := trains(t, base)
	if text := files(t, base.Out)[logFile]; true { // as if it had been killed before it swept
		if err := os.MkdirAll(filepath.Join(base.Out, folder), 0o755); err != nil {
			t.Fatal(err)
		}
		again := elsewhereTo(t, base)
		ctx, stop := context.WithCancel(context.Background())
		again.Resume = true
		if _, err := Train(ctx, again, train.Hook{OnStep: func(context.Context, train.StepInfo) error { stop(); return nil }}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(again.Out, logFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(again.Out, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		ended := false
		r, got := trains(t, again, train.Hook{OnEnd: func(context.Context, train.Result) error { ended = true; return nil }})
		same(t, want, got)
		if len(r.History) != 3 || !ended {
			t.Errorf("%+v, and a hook has heard of the end: %v", r, ended)
		}
	}
}

func TestTrainConfig(t *testing.T) {
	for want, change := range map[string]func(*TrainConfig){
		"an output folder must be named":            func(c *TrainConfig) { c.Out = "" },
		"0 workers":                                 func(c *TrainConfig) { c.Workers = 0 },
		"averaging after 0.3 of an epoch":           func(c *TrainConfig) { c.Sync = 0.3 },
		"averaging after 0 of an epoch":             func(c *TrainConfig) { c.Sync = 0 },
		"averaging after 2 of an epoch":             func(c *TrainConfig) { c.Sync = 2 },
		"want at most 10000 in all":                 func(c *TrainConfig) { c.Sync = 0.0001 },
		"an outer step with rate 0 and momentum 0:": func(c *TrainConfig) { c.Outer = train.Outer{} },
		`no runner "spark"`:                         func(c *TrainConfig) { c.Runner = "spark" },
		"a folder that all workers share":           func(c *TrainConfig) { c.Runner = "dataflow" },
	} {
		cfg := TrainConfig{Data: "data", Out: "out", Workers: 1, Sync: 0.33, Outer: train.Outer{LearningRate: 1}, Runner: "prism", Train: train.DefaultConfig()}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want %q", err, want)
		}
	}
}

// States and model in a bucket are those of a disk.
func TestTrainBucket(t *testing.T) {
	cfg := lessons(t)
	cfg.Workers, cfg.Train.Epochs = 2, 2
	_, want := trains(t, cfg)
	server, _ := storetest.Bucket(t, nil)
	cfg.Out = "gs://bucket/model"
	if _, err := Train(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	list, err := server.ListObjectsWithOptionsPaginated("bucket", fakestorage.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, o := range list.Objects {
		object, err := server.GetObject("bucket", o.Name)
		if err != nil {
			t.Fatal(err)
		}
		if name := strings.TrimPrefix(o.Name, "model/"); name != logFile {
			got[name] = string(object.Content)
		}
	}
	same(t, want, got)
}

// Workers that are other processes come to the same.
func TestTrainElsewhere(t *testing.T) {
	cfg := lessons(t)
	cfg.Workers, cfg.Train.Epochs, cfg.Train.Devices = 2, 2, []train.Opener{train.CPU, train.CPU}
	_, want := trains(t, cfg)
	jobService(t, "EXTERNAL", workerPool(t))
	cfg = elsewhereTo(t, cfg)
	cfg.Runner = "universal"
	_, got := trains(t, cfg)
	same(t, want, got)
	text, err := os.ReadFile(filepath.Join(cfg.Out, logFile))
	if err != nil || bytes.Contains(text, []byte(host())) {
		t.Errorf("this process has worked itself: %s, %v", text, err)
	}
}
