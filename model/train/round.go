package train

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/logobeam/logobeam/model"
	"github.com/logobeam/logobeam/model/infer"
)

// Training in rounds, or local SGD (Stich, Local SGD Converges Fast and Communicates Little, 2019; McMahan et al.,
// Communication-Efficient Learning of Deep Networks from Decentralized Data, 2017): workers take steps on their own, all
// from the same state, each with its share of an epoch's images, and then what they have come to is averaged:
//
//	for worker := range workers {
//		states[worker], progress[worker], err = train.Round(ctx, net, params, data, cfg, from, span, progress[worker])
//	}
//	from, err = train.Merge(params, cfg, span, before, images, states, train.Outer{LearningRate: 1})
//
// Here a state is a state file's bytes: what is trained at that point, what the solver keeps, the moving averages, and what
// the outer step keeps. Nil is the starting weights. The same arguments give the same bytes, whatever the number of cores.
// Merge takes functions that give states, before that which the round began with. With one worker and no outer step, rounds take
// the steps that Run takes, to the same bits.

// Span is what a worker does in a round: its steps of an epoch from one averaging to the next. All but the last of each
// pair count from 0.
type Span struct {
	Epoch           int
	Round, Rounds   int // of the epoch
	Worker, Workers int
}

// Progress is what a worker has seen of an epoch.
type Progress struct {
	Images       int     `json:"images"`
	Right        int     `json:"right"` // of Images
	Loss         float64 `json:"loss"`  // sum over Images, as a share of the images of all workers
	LearningRate float64 `json:"learning_rate"`
}

// deal gives the worker's share of an epoch's draws, dealt in turns, so that each epoch mixes the shares anew.
func (s Span) deal(all []draw) []draw {
	if s.Workers == 1 {
		return all
	}
	var own []draw
	for i := s.Worker; i < len(all); i += s.Workers {
		own = append(own, all[i])
	}
	return own
}

// steps are those of the span, from first to before last, of the worker's in the epoch.
func (s Span) steps(draws, batch int) (first, last, steps int) {
	steps = (draws + batch - 1) / batch
	return steps * s.Round / s.Rounds, steps * (s.Round + 1) / s.Rounds, steps
}

// begin is the epoch with which the phase of an epoch begins.
func (c Config) begin(epoch int) int {
	if c.Freeze || epoch < c.HeadEpochs {
		return 0
	}
	return c.HeadEpochs
}

// begins says that the span is the first of a phase: what the solver keeps begins anew.
func (s Span) begins(c Config) bool { return s.Round == 0 && s.Epoch == c.begin(s.Epoch) }

// Round takes the steps of a span from a state, and gives the state then. params are the starting weights, which stay as
// they are, and so is how far the worker was in the epoch. Each batch is as large as in plain training. A worker without a
// step may give from itself.
func Round(ctx context.Context, net model.Network, params model.Params, data Data, cfg Config, from []byte, span Span, so Progress, hooks ...Hook) ([]byte, Progress, error) {
	labels, err := check(net, data, cfg)
	if err != nil {
		return nil, so, err
	}
	small, err := cfg.small(net)
	if err != nil {
		return nil, so, err
	}
	s, err := stateOf(from)
	if err != nil {
		return nil, so, err
	}
	params = s.params(params, false)
	for name, values := range params {
		params[name] = slices.Clone(values) // which are trained in place
	}
	t, err := newTrainer(small, params, cfg, span.Epoch)
	if err != nil {
		return nil, so, err
	}
	defer t.close()
	if from != nil && !span.begins(cfg) {
		if err := t.restore(s); err != nil {
			return nil, so, fmt.Errorf("train: the state of a round: %w", err)
		}
	}
	p, err := t.train(ctx, data, labels, span, so, t.buffers(), hooks)
	if err != nil {
		return nil, p, err
	}
	var b bytes.Buffer
	if err := (state{Format: stateFormat, Steps: t.steps}).write(&b, t.tensors()); err != nil {
		return nil, p, fmt.Errorf("train: the state of a round: %w", err)
	}
	return b.Bytes(), p, nil
}

// stateOf reads a state's bytes. Nil has nothing in it.
func stateOf(data []byte) (*saved, error) {
	if data == nil {
		return &saved{}, nil
	}
	s, err := parseState(bytes.NewReader(data), int64(len(data)), nil)
	if err != nil {
		return nil, fmt.Errorf("train: the state of a round: %w", err)
	}
	return s, nil
}

// params are all parameters, with those that a state has in place of the starting weights, or their moving averages.
func (s *saved) params(start model.Params, averages bool) model.Params {
	params := maps.Clone(start)
	for name := range start {
		if t, ok := s.tensors[name]; ok {
			params[name] = t.Data
		}
		if t, ok := s.tensors[name+".average"]; ok && averages {
			params[name] = t.Data
		}
	}
	return params
}

// Outer is the step from a round's state along what its workers have come to on the mean. LearningRate 1 and Momentum 0 go all the way,
// which is plain averaging. DiLoCo (Douillard et al., 2023) has 0.7 and 0.9.
type Outer struct {
	LearningRate float64 `json:"learning_rate"` // more than 0
	Momentum     float64 `json:"momentum"`      // 0 to below 1
}

// Validate says what is wrong with it.
func (o Outer) Validate() error {
	if !(o.LearningRate > 0 && o.LearningRate <= 10) || !(o.Momentum >= 0 && o.Momentum < 1) {
		return fmt.Errorf("train: an outer step with rate %v and momentum %v: want a rate above 0 and at most 10, and a momentum from 0 to below 1", o.LearningRate, o.Momentum)
	}
	return nil
}

// Merge makes one state of those that the workers of a round have come to; images are the numbers of those that they have learnt
// from in the round. states is asked for one state after another of those who have, and from, where it is needed, for the state
// that they began with. Parameters, what the solver keeps and moving averages are means weighted by the images, summed in float64 in
// the order of the workers. Then the parameters take the outer step:
//
//	delta = from - mean; velocity = momentum velocity + delta; w = from - rate (delta + momentum velocity)
//
// which is Nesterov's as DiLoCo has it. Moving averages and what the solver keeps do not take it. The state of a single
// worker is passed on as it is, bit for bit, if there is no outer step. velocity begins anew with a phase of the training.
func Merge(params model.Params, cfg Config, span Span, from func() ([]byte, error), images []int, states func(worker int) ([]byte, error), o Outer) ([]byte, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	total := 0
	var share []int // workers that have learnt
	for k, n := range images {
		if total += n; n > 0 {
			share = append(share, k)
		}
	}
	plain := o == Outer{LearningRate: 1}
	switch {
	case total == 0 && !span.begins(cfg): // states lack its velocity
		return from()
	case total == 0:
		return states(0)
	case plain && len(share) == 1:
		return states(share[0])
	}
	var shapes map[string]model.Tensor // those of the first
	merged := state{Format: stateFormat}
	sums := map[string][]float64{}
	for i, k := range share {
		data, err := states(k)
		if err != nil {
			return nil, err
		}
		s, err := stateOf(data)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			shapes, merged.Steps = s.tensors, s.Steps
		}
		weight := float64(images[k]) / float64(total)
		for name, first := range shapes {
			v := s.tensors[name].Data
			if i == 0 {
				sums[name] = make([]float64, len(v))
			} else if len(v) != len(first.Data) {
				return nil, fmt.Errorf("train: workers %d and %d have %d and %d values of %s: want as many", share[0], k, len(first.Data), len(v), name)
			}
			for j, sum := 0, sums[name]; j < len(v); j++ {
				sum[j] += float64(weight * float64(v[j])) // the conversion keeps the product from being fused with the sum
			}
		}
	}
	tensors := map[string]model.Tensor{}
	for name, sum := range sums {
		tensors[name] = model.Tensor{Shape: shapes[name].Shape, Data: single(sum)}
	}
	if !plain {
		data, err := from()
		if err != nil {
			return nil, err
		}
		before, err := stateOf(data)
		if err != nil {
			return nil, err
		}
		for name, start := range before.params(params, false) {
			mean, ok := tensors[name]
			if !ok {
				continue
			}
			velocity := make([]float64, len(start))
			if !span.begins(cfg) {
				for i, v := range before.tensors[name+velocitySuffix].Data {
					velocity[i] = float64(v)
				}
			}
			moved := make([]float64, len(start))
			for i, w := range start {
				delta := float64(w) - float64(mean.Data[i])
				velocity[i] = float64(o.Momentum*velocity[i]) + delta
				moved[i] = float64(w) - float64(o.LearningRate*(delta+float64(o.Momentum*velocity[i])))
			}
			tensors[name] = model.Tensor{Shape: mean.Shape, Data: single(moved)}
			if o.Momentum > 0 {
				tensors[name+velocitySuffix] = model.Tensor{Shape: mean.Shape, Data: single(velocity)}
			}
		}
	}
	var b bytes.Buffer
	if err := merged.write(&b, tensors); err != nil {
		return nil, fmt.Errorf("train: the state of a round: %w", err)
	}
	return b.Bytes(), nil
}

const velocitySuffix = ".velocity" // of the outer step

func single(values []float64) []float32 {
	list := make([]float32, len(values))
	for i, v := range values {
		list[i] = float32(v)
	}
	return list
}

// Answering are the parameters of a state that are evaluated and saved: the moving averages of those that have one.
func Answering(params model.Params, state []byte) (model.Params, error) {
	s, err := stateOf(state)
	if err != nil {
		return nil, err
	}
	return s.params(params, true), nil
}

// Evaluate gives a worker's share of the answers after an epoch, of as many workers as there are. The shares, each behind the
// one before, are the Answers that Judge wants.
func Evaluate(ctx context.Context, net model.Network, params model.Params, data Data, cfg Config, worker, workers int) (a Answers, err error) {
	plan, err := infer.Compile(net, params)
	if err != nil {
		return a, err
	}
	for _, set := range []struct {
		name string
		Dataset
		to *[]float32
	}{{"validation", data.Validation, &a.Validation}, {"test", data.Test, &a.Test}} {
		if set.name == "test" && (data.Test == nil || !cfg.EvaluateTest) {
			continue
		}
		n := set.Len()
		if *set.to, err = predict(ctx, plan, set, data.views(), cfg.cores(), n*worker/workers, n*(worker+1)/workers); err != nil {
			return a, fmt.Errorf("train: %s: %w", set.name, err)
		}
	}
	return a, nil
}

// Judge makes the epoch that follows those of a history: what its workers have seen of the training images, in their
// order, and how good the answers are then. Its times are left to the caller.
func Judge(data Data, cfg Config, history []Epoch, workers []Progress, a Answers) (Epoch, error) {
	e := Epoch{Epoch: len(history) + 1}
	e.learnt(workers...)
	if err := e.judge(data, cfg, a); err != nil {
		return e, err
	}
	r := Result{Best: Best(history), History: slices.Clone(history)}
	r.add(e, cfg)
	return r.History[len(history)], nil
}

// Best is the index of the best epoch of a history, -1 if there is none.
func Best(history []Epoch) int {
	best := -1
	for i, e := range history {
		if e.Best {
			best = i
		}
	}
	return best
}
