package pipelines

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/device"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines/corpus"
	"github.com/logobeam/logobeam/pipelines/store"
)

// TrainConfig says what to learn from, how, and by whom.
type TrainConfig struct {
	Data    string         // folder of the listings, as corpus.OpenSplits reads them; every worker finds it under this name
	Options corpus.Options // how they are read; Classes must be given
	Test    bool           // measure test.csv after each epoch
	// Model is the network, its card, and its starting weights.
	Model model.Model
	Half  bool         // keep the model's weights in float16
	Out   string       // folder or gs:// prefix for the model and, while the training goes on, the states of rounds
	Train train.Config // Cores are a worker's, 0 for its share of its machine's; State is not used

	Workers int // at least 1
	// Sync is the part of an epoch between two averagings: 1, 1/2, 1/3 and so on.
	Sync   float64
	Outer  train.Outer
	Runner string // one of Runners
	Flink  Flink  // for that runner
	// Resume goes on with the training in Out, if there is one there; otherwise that is removed.
	Resume bool
}

// MaxRounds is the most rounds that a training may have. Each leaves some files until the end.
const MaxRounds = 10000

// Validate says what no training can have, whatever lies on the disk.
func (cfg TrainConfig) Validate() error {
	_, err := cfg.rounds()
	switch {
	case cfg.Data == "" || cfg.Out == "":
		return errors.New("train: a folder of listings and an output folder must be named")
	case cfg.Workers < 1:
		return fmt.Errorf("train: %d workers: want at least 1", cfg.Workers)
	case err != nil:
		return err
	case cfg.Outer.Validate() != nil:
		return cfg.Outer.Validate()
	case !slices.Contains(Runners(), cfg.Runner):
		return fmt.Errorf("train: no runner %q: want one of %v", cfg.Runner, Runners())
	case cfg.Runner == "dataflow":
		return errors.New("train: listings and photographs are read from a folder that all workers share, which those of Dataflow do not: choose another runner")
	}
	return nil
}

// rounds is their number in an epoch.
func (cfg TrainConfig) rounds() (int, error) {
	n := math.Round(1 / cfg.Sync)
	if !(cfg.Sync > 0 && cfg.Sync <= 1 && math.Abs(1/cfg.Sync-n) < 0.05) {
		return 0, fmt.Errorf("train: averaging after %v of an epoch: want 1, 0.5, 0.33, 0.25 or another 1/n", cfg.Sync)
	}
	if n*float64(cfg.Train.Epochs) > MaxRounds {
		return 0, fmt.Errorf("train: %v rounds in each of %d epochs: want at most %d in all", n, cfg.Train.Epochs, MaxRounds)
	}
	return int(n), nil
}

func (cfg TrainConfig) platform() platform { return platform{"train", cfg.Runner, cfg.Flink} }

// training is what describes one, in the output. It is the same in all processes, and for all that resume it.
type training struct {
	// ID is drawn when it is begun, so that workers of one that was given up, which may be at work for a while, touch no
	// files of another, even if that is trained alike.
	ID      string            `json:"id"`
	Run     map[string]string `json:"run"` // its fingerprint
	Card    model.Card        `json:"card"`
	Network model.Network     `json:"network"`
	Half    bool              `json:"half"`
	Weights string            `json:"weights"` // SHA-256 of the starting weights
	Config  train.Config      `json:"config"`
	Options corpus.Options    `json:"options"`
	Test    bool              `json:"test"`
	DataID  string            `json:"data"`
	Workers int               `json:"workers"`
	Rounds  int               `json:"rounds"` // an epoch
	Outer   train.Outer       `json:"outer"`
}

// course is a training as a process has it open. All its workers share it.
type course struct {
	training
	key    string // SHA-256 of the description
	out    store.Store
	files  store.Store // in out: its records, states and answers
	data   train.Data
	params model.Params // the starting weights, which are not written to
}

// The files of a training, while it goes on: all but run.json and rounds.jsonl are in rounds/ID. Those of states and answers have
// the SHA-256 of their bytes in their names, and all but rounds.jsonl are created only if they are not there: whoever is late finds
// the name taken, and goes on from what is there.
const (
	folder      = "rounds"
	logFile     = "rounds.jsonl" // what remains of the others
	stateKind   = "state"
	answersKind = "answers"
	weightsKind = "weights"
)

func workerFile(round, worker int) string {
	return fmt.Sprintf("%05d-worker-%05d.json", round, worker)
}
func answeredFile(round, worker int) string {
	return fmt.Sprintf("%05d-answered-%05d.json", round, worker)
}
func mergedFile(round int) string { return fmt.Sprintf("%05d-merged.json", round) }
func epochFile(epoch int) string  { return fmt.Sprintf("epoch-%05d.json", epoch+1) }
func contentFile(round int, kind, sum string) string {
	return fmt.Sprintf("%05d-%s-%s", round, kind, sum)
}

// RoundsFile lies in the output of a training in rounds that is not finished.
const RoundsFile = folder + "/run.json"

// InRounds says whether a training in rounds was begun in out and is not finished.
func InRounds(ctx context.Context, out string) (bool, error) {
	s, err := store.At(ctx, out)
	if err != nil {
		return false, err
	}
	return there(ctx, s, RoundsFile)
}

func there(ctx context.Context, s store.Store, name string) (bool, error) {
	_, err := s.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ForgetRounds removes a training in rounds from out, but for its model.
func ForgetRounds(ctx context.Context, out string) error {
	s, err := store.At(ctx, out)
	if err != nil {
		return err
	}
	if err := s.Remove(ctx, logFile); err != nil {
		return err
	}
	if err := s.Remove(ctx, RoundsFile); err != nil { // by which the others are known
		return err
	}
	return ClearRounds(ctx, out)
}

// ClearRounds removes from out what a training in rounds has there while it goes on, last the file by which the others are known.
func ClearRounds(ctx context.Context, out string) error {
	s, err := store.At(ctx, out)
	if err != nil {
		return err
	}
	if err := s.Sweep(ctx); err != nil {
		return err
	}
	files, err := s.List(ctx, folder)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Name == RoundsFile {
			continue
		}
		if err := s.Remove(ctx, f.Name); err != nil {
			return err
		}
	}
	if err := s.Remove(ctx, RoundsFile); err != nil {
		return err
	}
	if !store.IsRemote(s.String()) {
		top := filepath.Join(s.String(), folder)
		own, _ := os.ReadDir(top)
		for _, f := range own {
			if f.IsDir() {
				os.Remove(filepath.Join(top, f.Name())) // which stays, as does the next, if somebody has put something there
			}
		}
		os.Remove(top)
	}
	return nil
}

// open makes the output ready for the training, or finds it there, and keeps other processes of this machine from it until unlock
// is called.
func (cfg TrainConfig) open(ctx context.Context) (c *course, unlock func() error, err error) {
	c = &course{params: cfg.Model.Params}
	if c.out, err = store.At(ctx, cfg.Out); err != nil {
		return nil, nil, err
	}
	free, err := c.out.Lock(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("train: %w", err)
	}
	defer func() {
		if err != nil {
			free()
		}
	}()
	if c.data, err = corpus.OpenSplits(cfg.Data, cfg.Options, cfg.Test); err != nil {
		return nil, nil, err
	}
	rounds, err := cfg.rounds()
	if err != nil {
		return nil, nil, err
	}
	c.training = training{Card: cfg.Model.Card, Network: cfg.Model.Network, Half: cfg.Half, Config: cfg.Train, Options: cfg.Options, Test: cfg.Test, DataID: c.data.ID,
		Workers: cfg.Workers, Rounds: rounds, Outer: cfg.Outer}
	if c.Run, err = train.Fingerprint(c.Network, c.params, c.data, c.Config); err != nil {
		return nil, nil, err
	}
	maps.Copy(c.Run, map[string]string{"workers": strconv.Itoa(c.Workers), "rounds an epoch": strconv.Itoa(rounds), "float16": strconv.FormatBool(cfg.Half),
		"outer learning rate": fmt.Sprint(c.Outer.LearningRate), "outer momentum": fmt.Sprint(c.Outer.Momentum), "test": strconv.FormatBool(cfg.Test)})
	var text []byte
	if cfg.Resume {
		if text, err = store.ReadFile(ctx, c.out, RoundsFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	if text != nil {
		var before training
		if err := json.Unmarshal(text, &before); err != nil {
			return nil, nil, fmt.Errorf("train: %s/%s: %w: remove it to start anew", cfg.Out, RoundsFile, err)
		}
		if d := train.Difference(before.Run, c.Run); d != "" {
			return nil, nil, fmt.Errorf("train: %s is of another run, which differs in %s: train as that one was, or choose another output", cfg.Out, d)
		}
		before.Config, before.Options = cfg.Train, cfg.Options // the same, and what no text holds, or is of this machine
		c.training = before
		err = c.find(ctx)
	} else {
		if err := ForgetRounds(ctx, cfg.Out); err != nil {
			return nil, nil, err
		}
		text, err = c.begin(ctx)
	}
	if err != nil {
		return nil, nil, err
	}
	c.key = sum(text)
	c.complete(cfg.Train.Cores, cfg.together())
	return c, free, nil
}

// find finds the place of the training's own files.
func (c *course) find(ctx context.Context) (err error) {
	c.files, err = store.At(ctx, store.Join(store.Join(c.out.String(), folder), c.ID))
	return err
}

// begin writes what the workers need to know.
func (c *course) begin(ctx context.Context) (text []byte, err error) {
	c.ID = rand.Text()
	if err := c.find(ctx); err != nil {
		return nil, err
	}
	list, err := c.Network.Parameters()
	if err != nil {
		return nil, err
	}
	tensors := map[string]model.Tensor{}
	for _, p := range list {
		tensors[p.Name] = model.Tensor{Shape: []int{len(c.params[p.Name])}, Data: c.params[p.Name]}
	}
	var b bytes.Buffer
	if err := model.WriteSafetensors(&b, tensors, false); err != nil {
		return nil, err
	}
	if c.Weights, err = c.put(ctx, 0, weightsKind, b.Bytes()); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(c.training); err != nil {
		return nil, err
	}
	return text, store.CreateFile(ctx, c.out, RoundsFile, text)
}

// complete fills in what is not part of the description.
func (c *course) complete(cores, together int) {
	c.Config.Cores = cmp.Or(cores, max(runtime.GOMAXPROCS(0)/together, 1))
	c.Config.EvaluateTest, c.Config.Resume, c.Config.State = c.Test, false, ""
}

// together is how many workers share a process: all in this one, and on a cluster, where there is a process on each machine and
// Parallelism is the number of these, those that one gets.
func (cfg TrainConfig) together() int {
	machines := *jobopts.Parallelism
	if machines < 1 || cfg.platform().local() || jobopts.IsLoopback() {
		return cfg.Workers
	}
	return (cfg.Workers + machines - 1) / machines
}

// lesson is what DoFns have to know.
func (cfg TrainConfig) lesson(run string, c *course) Lesson {
	l := Lesson{Run: run, Out: cfg.Out, Data: cfg.Data, Cores: cfg.Train.Cores, Together: cfg.together(), BadBatch: cfg.Train.BadBatch, Decoding: cfg.Options.Limits.Time, Key: c.key}
	if !cfg.platform().local() {
		absolute(&l.Out, &l.Data, &l.BadBatch) // an error is that of the folder that this process runs in
	}
	return l
}

var courses sync.Map // by a Lesson: func() (*course, error)

// keep makes c what courseOf finds in this process until forget is called.
func (c *course) keep(l Lesson) (forget func()) {
	courses.Store(l, func() (*course, error) { return c, nil })
	return func() { courses.Delete(l) }
}

// courseOf is this process's one course of a training. One that cannot be had is tried again when it is asked for next.
func courseOf(l Lesson) (*course, error) {
	load, _ := courses.LoadOrStore(l, sync.OnceValues(func() (*course, error) {
		c, err := l.open(context.Background())
		if err != nil {
			courses.Delete(l)
		}
		return c, err
	}))
	return load.(func() (*course, error))()
}

// open opens a training that another process has begun.
func (l Lesson) open(ctx context.Context) (*course, error) {
	c := &course{key: l.Key, params: model.Params{}}
	var err error
	if c.out, err = store.At(ctx, l.Out); err != nil {
		return nil, err
	}
	text, err := c.description(ctx)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &c.training); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", l.Out, RoundsFile, err)
	}
	c.Options.Limits.Time, c.Config.BadBatch = l.Decoding, l.BadBatch // which a resumed run may have anew
	if err := c.find(ctx); err != nil {
		return nil, err
	}
	if c.data, err = corpus.OpenSplits(l.Data, c.Options, c.Test); err != nil {
		return nil, err
	}
	if c.data.ID != c.DataID {
		return nil, fmt.Errorf("the listings in %s are not those that the run began with", l.Data)
	}
	weights, err := c.get(ctx, 0, weightsKind, c.Weights)
	if err != nil {
		return nil, err
	}
	tensors, err := model.ReadSafetensors(bytes.NewReader(weights), int64(len(weights)))
	if err != nil {
		return nil, fmt.Errorf("%s: the starting weights: %w", l.Out, err)
	}
	for name, t := range tensors {
		c.params[name] = t.Data
	}
	for i, d := range c.Config.Devices {
		if c.Config.Devices[i], err = deviceOf(d.Kind, i); err != nil {
			return nil, err
		}
	}
	c.complete(l.Cores, l.Together)
	return c, nil
}

// description is what lies in the output, as long as that is of this training.
func (c *course) description(ctx context.Context) ([]byte, error) {
	text, err := store.ReadFile(ctx, c.out, RoundsFile)
	if err == nil && sum(text) != c.key {
		err = fmt.Errorf("%s is of another run by now", c.out)
	}
	return text, err
}

// deviceOf is a device of this worker's machine, whatever the numbers of those where the training was begun.
func deviceOf(kind string, number int) (train.Opener, error) {
	for _, d := range []train.Opener{train.CPU, device.Opener(number)} {
		if d.Kind == kind {
			return d, nil
		}
	}
	return train.Opener{}, fmt.Errorf("train: this program has no device %q: start workers with the program that the training was begun with", kind)
}

// put keeps data of a round, and says by what name.
func (c *course) put(ctx context.Context, round int, kind string, data []byte) (name string, err error) {
	name = sum(data)
	if err = store.CreateFile(ctx, c.files, contentFile(round, kind, name), data); errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return name, err
}

// get is what was put, whole.
func (c *course) get(ctx context.Context, round int, kind, name string) ([]byte, error) {
	data, err := store.ReadFile(ctx, c.files, contentFile(round, kind, name))
	if err == nil && sum(data) != name {
		err = fmt.Errorf("%s/%s is damaged: its bytes are not those that its name tells of", c.files, contentFile(round, kind, name))
	}
	return data, err
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// note writes a record, and gives what is there then: another attempt's, if that was first.
func note[T any](ctx context.Context, s store.Store, name string, v T) (T, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	if err = store.CreateFile(ctx, s, name, text); !errors.Is(err, fs.ErrExist) {
		return v, err
	}
	first, ok, err := read[T](ctx, s, name)
	if err == nil && !ok {
		err = fmt.Errorf("%s/%s is gone: has somebody removed it?", s, name)
	}
	return first, err
}

// read reads a record, if it is there.
func read[T any](ctx context.Context, s store.Store, name string) (v T, ok bool, err error) {
	text, err := store.ReadFile(ctx, s, name)
	if errors.Is(err, fs.ErrNotExist) {
		return v, false, nil
	}
	if err == nil {
		if err = json.Unmarshal(text, &v); err != nil {
			err = fmt.Errorf("%s/%s: %w", s, name, err)
		}
	}
	return v, err == nil, err
}

// sweep removes the states that nobody reads any more once a round is averaged: those of rounds before the last one, but for the best
// epoch's. By the rounds in their names, it leaves those of later ones alone, should this be a late attempt.
func (c *course) sweep(ctx context.Context, round int) error {
	keep := contentFile(0, weightsKind, c.Weights)
	if epoch := round / c.Rounds; epoch > 0 {
		v, _, err := read[verdict](ctx, c.files, epochFile(epoch-1))
		if err != nil {
			return err
		}
		keep = contentFile(v.BestRound, stateKind, v.Best)
	}
	files, err := c.files.List(ctx, ".")
	if err != nil {
		return err
	}
	for _, f := range files {
		number, rest, _ := strings.Cut(f.Name, "-")
		of, err := strconv.Atoi(number)
		if err != nil || of >= round-1 || f.Name == keep {
			continue
		}
		if strings.HasPrefix(rest, stateKind) || strings.HasPrefix(rest, answersKind) {
			if err := c.files.Remove(ctx, f.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
