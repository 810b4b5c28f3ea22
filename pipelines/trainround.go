package pipelines

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines/classifier"
)

// Lesson is what the DoFns of a training have to know: where its description lies, and what is not the same in another
// process.
type Lesson struct {
	Run      string // finds the run in the process that began it
	Out      string
	Data     string        // folder of the listings
	Cores    int           // for a worker; 0 for its share of its machine's
	Together int           // workers that share these
	BadBatch string        // folder, as train.Config has it
	Decoding time.Duration // most for a photograph
	Key      string        // SHA-256 of the description
}

// BeginFn sends the workers off to a round, from where the one before has left them.
type BeginFn struct {
	Lesson
	Round int
}

// ProcessElement is called once.
func (f *BeginFn) ProcessElement(ctx context.Context, _ []byte, emit func(Leg)) error {
	ctx, run, leave := enter(ctx, f.Run)
	defer leave()
	legs, err := f.begin(ctx)
	for _, l := range legs {
		emit(l)
	}
	return run.fail(err)
}

func (f *BeginFn) begin(ctx context.Context) ([]Leg, error) {
	c, err := courseOf(f.Lesson)
	if err != nil {
		return nil, err
	}
	if f.Round == 0 {
		legs := make([]Leg, c.Workers)
		for k := range legs {
			legs[k].Worker = k
		}
		return legs, nil
	}
	legs, ok, err := read[[]Leg](ctx, c.files, mergedFile(f.Round-1))
	if err == nil && !ok {
		err = fmt.Errorf("%s: round %d has no record", c.files, f.Round-1)
	}
	if f.Round%c.Rounds == 0 {
		legs = anew(legs)
	}
	return legs, err
}

// anew are the workers at the beginning of an epoch.
func anew(legs []Leg) []Leg {
	for k, l := range legs {
		legs[k] = Leg{Round: l.Round, Worker: k, State: l.State}
	}
	return legs
}

// ShardFn is what a DoFn over workers is made of. Those in one bundle work at the same time.
type ShardFn struct {
	Lesson
	Round  int
	bundle *bundle[Leg]
}

// StartBundle begins a bundle of workers.
func (f *ShardFn) StartBundle(func(int, Leg)) { f.bundle = newBundle[Leg](f.Run, newRoom()) }

// FinishBundle waits for all workers, and passes on where they stand.
func (f *ShardFn) FinishBundle(emit func(int, Leg)) error {
	return f.bundle.finish(func(l Leg) { emit(0, l) })
}

// TrainFn has a worker take its steps of a round.
type TrainFn struct{ ShardFn }

// ProcessElement begins the work of a worker.
func (f *TrainFn) ProcessElement(ctx context.Context, l Leg, _ func(int, Leg)) error {
	return f.bundle.begin(ctx, 1, func(ctx context.Context, run *running) (Leg, error) { return f.train(ctx, run, l) })
}

// train takes the steps, unless they were taken.
func (f *TrainFn) train(ctx context.Context, run *running, l Leg) (Leg, error) {
	c, err := courseOf(f.Lesson)
	if err != nil {
		return l, err
	}
	record := workerFile(f.Round, l.Worker)
	if done, ok, err := read[Leg](ctx, c.files, record); ok || err != nil {
		return done, err
	}
	began := time.Now()
	from, err := c.state(ctx, f.Round-1, l.State)
	if err != nil {
		return l, err
	}
	span := c.span(f.Round, l.Worker)
	cfg := c.Config
	if cfg.BadBatch != "" && c.Workers > 1 { // several may come upon one at the same time
		cfg.BadBatch = filepath.Join(cfg.BadBatch, fmt.Sprint("worker-", l.Worker))
	}
	seen := l.Progress.Images
	state, progress, err := train.Round(ctx, c.Network, c.params, c.data, cfg, from, span, l.Progress, train.Hook{OnStep: func(_ context.Context, s train.StepInfo) error {
		err := run.hear(s.Epoch, s.Images-seen)
		seen = s.Images
		return err
	}})
	if err != nil {
		return l, err
	}
	done := Leg{Round: f.Round, Epoch: span.Epoch + 1, Worker: l.Worker, Host: host(), Images: progress.Images - l.Progress.Images, Progress: progress}
	if done.State, err = c.put(ctx, f.Round, stateKind, state); err != nil {
		return l, err
	}
	done.Seconds = time.Since(began).Seconds()
	return note(ctx, c.files, record, done)
}

// hear tells those who watch the run what was learnt from.
func (r *running) hear(epoch, images int) error {
	if r == nil || r.learnt == nil {
		return nil
	}
	return r.learnt(epoch, images)
}

// AverageFn makes one state of those of a round's workers.
type AverageFn struct {
	Lesson
	Round int
}

// ProcessElement is called once, with all workers under one key.
func (f *AverageFn) ProcessElement(ctx context.Context, _ int, next func(*Leg) bool, emit func(Leg)) error {
	ctx, run, leave := enter(ctx, f.Run)
	defer leave()
	legs, err := f.average(ctx, all(next))
	for _, l := range legs {
		emit(l)
	}
	return run.fail(err)
}

// average averages, unless that was done, and gives where the workers stand then.
func (f *AverageFn) average(ctx context.Context, legs []Leg) ([]Leg, error) {
	c, err := courseOf(f.Lesson)
	if err != nil {
		return nil, err
	}
	if merged, ok, err := read[[]Leg](ctx, c.files, mergedFile(f.Round)); ok || err != nil {
		return merged, err
	}
	if legs, err = c.inOrder(legs); err != nil {
		return nil, err
	}
	images := make([]int, len(legs))
	for k, l := range legs {
		images[k] = l.Images
	}
	from := func() ([]byte, error) { return c.before(ctx, f.Round) }
	states := func(k int) ([]byte, error) { return c.state(ctx, f.Round, legs[k].State) }
	state, err := train.Merge(c.params, c.Config, c.span(f.Round, 0), from, images, states, c.Outer)
	if err != nil {
		return nil, err
	}
	name, err := c.put(ctx, f.Round, stateKind, state)
	if err != nil {
		return nil, err
	}
	for k := range legs {
		legs[k].State = name
	}
	if legs, err = note(ctx, c.files, mergedFile(f.Round), legs); err != nil {
		return nil, err
	}
	return legs, c.sweep(ctx, f.Round)
}

// EvaluateFn has a worker answer to its share of the validation and test images.
type EvaluateFn struct{ ShardFn }

// ProcessElement begins the work of a worker.
func (f *EvaluateFn) ProcessElement(ctx context.Context, l Leg, _ func(int, Leg)) error {
	return f.bundle.begin(ctx, 1, func(ctx context.Context, _ *running) (Leg, error) { return f.evaluate(ctx, l) })
}

// evaluate answers, unless that was done.
func (f *EvaluateFn) evaluate(ctx context.Context, l Leg) (Leg, error) {
	c, err := courseOf(f.Lesson)
	if err != nil {
		return l, err
	}
	record := answeredFile(f.Round, l.Worker)
	if done, ok, err := read[Leg](ctx, c.files, record); ok || err != nil {
		return done, err
	}
	began := time.Now()
	params, err := c.answering(ctx, f.Round, l.State)
	if err != nil {
		return l, err
	}
	a, err := train.Evaluate(ctx, c.Network, params, c.data, c.Config, l.Worker, c.Workers)
	if err != nil {
		return l, err
	}
	var data []byte
	for _, p := range slices.Concat(a.Validation, a.Test) {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(p))
	}
	l.Host = host()
	if l.Answers, err = c.put(ctx, f.Round, answersKind, data); err != nil {
		return l, err
	}
	l.Seconds = time.Since(began).Seconds()
	return note(ctx, c.files, record, l)
}

// verdict is what is known after an epoch.
type verdict struct {
	History     []train.Epoch      `json:"history"` // of all epochs so far
	Best        string             `json:"best"`    // state of the best of them
	BestRound   int                `json:"best_round"`
	Calibration *model.Calibration `json:"calibration"` // of the best
}

// JudgeFn ends an epoch: it says how good the answers are, and saves the model if they are the best so far.
type JudgeFn struct {
	Lesson
	Round int // the epoch's last
}

// ProcessElement is called once, with all workers under one key.
func (f *JudgeFn) ProcessElement(ctx context.Context, _ int, next func(*Leg) bool, emit func(Leg)) error {
	ctx, run, leave := enter(ctx, f.Run)
	defer leave()
	legs, err := f.judge(ctx, all(next))
	for _, l := range legs {
		emit(l)
	}
	return run.fail(err)
}

// judge judges, unless that was done, and sends the workers on to the next epoch.
func (f *JudgeFn) judge(ctx context.Context, legs []Leg) ([]Leg, error) {
	c, err := courseOf(f.Lesson)
	if err != nil {
		return nil, err
	}
	if legs, err = c.inOrder(legs); err != nil {
		return nil, err
	}
	epoch := f.Round / c.Rounds
	if _, ok, err := read[verdict](ctx, c.files, epochFile(epoch)); err != nil {
		return nil, err
	} else if !ok {
		if err := c.judge(ctx, epoch, legs); err != nil {
			return nil, err
		}
	}
	return anew(legs), nil
}

func (c *course) judge(ctx context.Context, epoch int, legs []Leg) error {
	began := time.Now()
	last := (epoch+1)*c.Rounds - 1
	var before verdict
	if epoch > 0 {
		var err error
		if before, _, err = read[verdict](ctx, c.files, epochFile(epoch-1)); err != nil {
			return err
		}
	}
	a, err := c.answers(ctx, last, legs)
	if err != nil {
		return err
	}
	progress := make([]train.Progress, len(legs))
	for k, l := range legs {
		progress[k] = l.Progress
	}
	e, err := train.Judge(c.data, c.Config, before.History, progress, a)
	if err != nil {
		return err
	}
	training, err := c.seconds(ctx, epoch)
	if err != nil {
		return err
	}
	e.ImagesPerSecond = float64(c.data.Train.Len()) / training
	v := verdict{Best: before.Best, BestRound: before.BestRound, Calibration: before.Calibration}
	if e.Best {
		v.Best, v.BestRound, v.Calibration = legs[0].State, last, e.Calibration
		if err := c.save(ctx, e, v); err != nil {
			return err
		}
	}
	e.Calibration = nil
	e.Seconds = training + slices.MaxFunc(legs, func(a, b Leg) int { return cmp.Compare(a.Seconds, b.Seconds) }).Seconds + time.Since(began).Seconds()
	v.History = append(before.History, e)
	_, err = note(ctx, c.files, epochFile(epoch), v)
	return err
}

// answers joins the workers' shares.
func (c *course) answers(ctx context.Context, round int, legs []Leg) (a train.Answers, err error) {
	for k, l := range legs {
		data, err := c.get(ctx, round, answersKind, l.Answers)
		if err != nil {
			return a, err
		}
		all := make([]float32, len(data)/4)
		for i := range all {
			all[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
		n := c.data.Validation.Len()
		own := (n*(k+1)/c.Workers - n*k/c.Workers) * max(c.data.Views, 1) * len(c.data.Classes)
		if own > len(all) {
			return a, fmt.Errorf("%s: worker %d has answered to %d values of its %d", c.out, k, len(all), own)
		}
		a.Validation, a.Test = append(a.Validation, all[:own]...), append(a.Test, all[own:]...)
	}
	return a, nil
}

// seconds is how long the rounds of an epoch took: in each, as long as its slowest worker.
func (c *course) seconds(ctx context.Context, epoch int) (sum float64, err error) {
	for round := epoch * c.Rounds; round < (epoch+1)*c.Rounds; round++ {
		legs, _, err := read[[]Leg](ctx, c.files, mergedFile(round))
		if err != nil {
			return 0, err
		}
		slowest := 0.0
		for _, l := range legs {
			slowest = max(slowest, l.Seconds)
		}
		sum += slowest
	}
	return sum, nil
}

// save saves the model of the best epoch, unless another run has come into the output.
func (c *course) save(ctx context.Context, e train.Epoch, v verdict) error {
	if _, err := c.description(ctx); err != nil {
		return err
	}
	params, err := c.answering(ctx, v.BestRound, v.Best)
	if err != nil {
		return err
	}
	e.Calibration = v.Calibration
	m := e.Model(model.Model{Card: c.Card, Network: c.Network}, params)
	return classifier.Save(ctx, &m, c.out.String(), c.Half)
}

// inOrder are the legs of all workers in the order of these.
func (c *course) inOrder(legs []Leg) ([]Leg, error) {
	slices.SortFunc(legs, func(a, b Leg) int { return cmp.Compare(a.Worker, b.Worker) })
	for k, l := range legs {
		if l.Worker != k || len(legs) != c.Workers {
			return nil, fmt.Errorf("the runner has brought %d workers together: want %d, each once", len(legs), c.Workers)
		}
	}
	return legs, nil
}

// span is what a worker does in a round.
func (c *course) span(round, worker int) train.Span {
	return train.Span{Epoch: round / c.Rounds, Round: round % c.Rounds, Rounds: c.Rounds, Worker: worker, Workers: c.Workers}
}

// before is the state that a round begins with.
func (c *course) before(ctx context.Context, round int) ([]byte, error) {
	if round == 0 {
		return nil, nil
	}
	legs, ok, err := read[[]Leg](ctx, c.files, mergedFile(round-1))
	if err != nil || !ok {
		return nil, cmp.Or(err, fmt.Errorf("%s: round %d has no record", c.files, round-1))
	}
	return c.state(ctx, round-1, legs[0].State)
}

// state is one that a round has come to. The one without a name is nil.
func (c *course) state(ctx context.Context, round int, name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return c.get(ctx, round, stateKind, name)
}

// answering are the parameters that answer after a round.
func (c *course) answering(ctx context.Context, round int, name string) (model.Params, error) {
	state, err := c.state(ctx, round, name)
	if err != nil {
		return nil, err
	}
	return train.Answering(c.params, state)
}

// host is where this process runs.
var host = sync.OnceValue(func() string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return fmt.Sprint(name, ":", os.Getpid())
})
