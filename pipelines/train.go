package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/logobeam/logobeam/model/train"
)

// Train trains a model with several workers, in rounds (train.Round says how): each worker takes steps with its share of an
// epoch's images, what they have come to is averaged, and so on. After the last round of an epoch the workers share the
// validation images too, and the best epoch's model is kept in cfg.Out.
//
// What a round has come to is a file in cfg.Out, so that the same call, with cfg.Resume, goes on from the last round that
// is finished, however it was ended, and comes to the same model bit for bit. With one worker and no outer step the weights are those
// of train.Run.
//
// Hooks hear what train.Run's hear, but of steps the images alone, those of all workers, and of a runner elsewhere once a round;
// OnEpoch and OnEnd have no parameters. OnEnd is called again by the next call with cfg.Resume if it fails. When ctx ends, Train returns its error.
func Train(ctx context.Context, cfg TrainConfig, hooks ...train.Hook) (train.Result, error) {
	if err := cfg.Validate(); err != nil {
		return train.Result{Best: -1}, err
	}
	c, unlock, err := cfg.open(ctx)
	if err != nil {
		return train.Result{Best: -1}, err
	}
	defer unlock()
	r := newRun(ctx, nil)
	defer r.end()
	f := newFollower(r, c, hooks)
	if done, ok, err := c.finished(ctx); err != nil {
		return train.Result{Best: -1}, err
	} else if ok {
		return done, f.end(ctx, done)
	}
	if err := f.begin(r.ctx); err != nil {
		return train.Result{Best: -1}, err
	}
	lesson := cfg.lesson(r.name(cfg.platform()), c)
	defer c.keep(lesson)()
	follow := f.follow()
	for first, all := max(f.round-1, 0), c.Config.Epochs*c.Rounds; first < all && err == nil; first += roundsAtOnce {
		last := min(first+roundsAtOnce, all) - 1
		err = r.execute(cfg.platform(), nil, func() *beam.Pipeline { return rounds(lesson, first, last, c.Rounds) })
	}
	if followed := follow(); err == nil {
		err = followed
	}
	if err != nil {
		return f.result(), err
	}
	result, err := c.finish(ctx)
	if err != nil {
		return f.result(), fmt.Errorf("train: the runner %s ended without finishing %s, go on with the same command and --resume: %w", cfg.Runner, cfg.Out, err)
	}
	return result, f.end(ctx, result)
}

// roundsAtOnce is how many rounds a pipeline has: Flink's planner, which is recursive, overflows its stack with 30 stages of a
// training in a row. Twice as many as here have been seen to pass.
const roundsAtOnce = 6

// rounds is the whole of it, from a round to a later one: legs are where the workers stand, which all train from the same
// state, have their own averaged and, at the end of an epoch, evaluate that.
func rounds(l Lesson, first, last, perEpoch int) *beam.Pipeline {
	p, root := beam.NewPipelineWithRoot()
	legs := beam.ParDo(root, &BeginFn{l, first}, beam.Impulse(root))
	for round := first; round <= last; round++ {
		trained := beam.ParDo(root, &TrainFn{ShardFn{Lesson: l, Round: round}}, beam.Reshuffle(root, legs))
		legs = beam.ParDo(root, &AverageFn{l, round}, beam.GroupByKey(root, trained))
		if (round+1)%perEpoch == 0 {
			answered := beam.ParDo(root, &EvaluateFn{ShardFn{Lesson: l, Round: round}}, beam.Reshuffle(root, legs))
			legs = beam.ParDo(root, &JudgeFn{l, round}, beam.GroupByKey(root, answered))
		}
	}
	return p
}

// Leg is what a worker has done in a round, and where it stands then. All that crosses a stage are legs; a worker's is its record
// in the output, too.
type Leg struct {
	Round   int     `json:"round"` // of all epochs, from 0
	Epoch   int     `json:"epoch"` // from 1
	Worker  int     `json:"worker"`
	Host    string  `json:"host,omitempty"`    // where it was done: name:process
	State   string  `json:"state,omitempty"`   // SHA-256 of the state that it has come to; empty for the starting weights
	Images  int     `json:"images"`            // that it has learnt from, in the round
	Seconds float64 `json:"seconds"`           // that it took
	Answers string  `json:"answers,omitempty"` // SHA-256 of what it answers to its share of the validation images
	// Progress is how far it is in the epoch.
	Progress train.Progress `json:"progress"`
}

// A leg crosses a stage as JSON, for the reason that chunks do.
func encodeLeg(l Leg) ([]byte, error) { return json.Marshal(l) }
func decodeLeg(text []byte) (l Leg, err error) {
	err = json.Unmarshal(text, &l)
	return l, err
}

func init() {
	beam.RegisterCoder(reflect.TypeFor[Leg](), encodeLeg, decodeLeg)
	register.DoFn3x1[context.Context, []byte, func(Leg), error](&BeginFn{})
	register.DoFn3x1[context.Context, Leg, func(int, Leg), error](&TrainFn{})
	register.DoFn4x1[context.Context, int, func(*Leg) bool, func(Leg), error](&AverageFn{})
	register.DoFn3x1[context.Context, Leg, func(int, Leg), error](&EvaluateFn{})
	register.DoFn4x1[context.Context, int, func(*Leg) bool, func(Leg), error](&JudgeFn{})
	register.Emitter1[Leg]()
	register.Emitter2[int, Leg]()
	register.Iter1[Leg]()
}
