package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/logobeam/logobeam/model/train"
	"github.com/logobeam/logobeam/pipelines/store"
)

// merged is the line of rounds.jsonl that says what a round has come to.
type merged struct {
	Round  int    `json:"round"`
	Epoch  int    `json:"epoch"`
	Merged string `json:"merged"` // SHA-256 of the state
}

// finish ends a training that is through: it sees to it that the model is the best epoch's, whichever attempt wrote last,
// and writes down where the parameters were.
func (c *course) finish(ctx context.Context) (train.Result, error) {
	v, ok, err := read[verdict](ctx, c.files, epochFile(c.Config.Epochs-1))
	if err == nil && !ok {
		err = fmt.Errorf("epoch %d has no record", c.Config.Epochs)
	}
	if err != nil {
		return train.Result{}, err
	}
	if err := c.save(ctx, v.History[train.Best(v.History)], v); err != nil {
		return train.Result{}, err
	}
	var b bytes.Buffer
	lines := json.NewEncoder(&b) // to a buffer, which takes everything
	for round := range c.Config.Epochs * c.Rounds {
		for k := range c.Workers {
			l, ok, err := read[Leg](ctx, c.files, workerFile(round, k))
			if err != nil || !ok {
				return train.Result{}, fmt.Errorf("round %d, worker %d: no record: %w", round, k, err)
			}
			lines.Encode(l)
		}
		legs, _, err := read[[]Leg](ctx, c.files, mergedFile(round))
		if err != nil {
			return train.Result{}, err
		}
		lines.Encode(merged{round, round/c.Rounds + 1, legs[0].State})
	}
	lines.Encode(v)
	if err := c.out.Put(ctx, logFile, b.Bytes()); err != nil {
		return train.Result{}, err
	}
	return v.result(), nil
}

// finished is the result of a training that has ended but for what hooks do then and the sweeping.
func (c *course) finished(ctx context.Context) (train.Result, bool, error) {
	text, err := store.ReadFile(ctx, c.out, logFile)
	if errors.Is(err, fs.ErrNotExist) {
		return train.Result{}, false, nil
	}
	if err != nil {
		return train.Result{}, false, err
	}
	last := bytes.TrimSpace(text)
	var v verdict
	if err := json.Unmarshal(last[bytes.LastIndexByte(last, '\n')+1:], &v); err != nil {
		return train.Result{}, false, fmt.Errorf("%s/%s: %w", c.out, logFile, err)
	}
	return v.result(), true, nil
}

func (v verdict) result() train.Result {
	return train.Result{History: v.History, Best: train.Best(v.History)}
}

// follower tells hooks how far a training is, by the records in the output and, where the work is done in this process, by its
// workers. It calls one hook at a time.
type follower struct {
	run    *running
	course *course
	hooks  []train.Hook
	mutex  sync.Mutex
	round  int // that is not known to be averaged
	images int // that were learnt from, of all epochs
	v      verdict
}

// followEvery is how often the records are looked for.
const followEvery = 500 * time.Millisecond

func newFollower(r *running, c *course, hooks []train.Hook) *follower {
	return &follower{run: r, course: c, hooks: hooks}
}

// begin finds what an earlier call has done, of which no hook hears.
func (f *follower) begin(ctx context.Context) error {
	hooks := f.hooks
	f.hooks = nil
	if err := f.look(ctx); err != nil {
		return err
	}
	f.hooks = hooks
	for k := range f.course.Workers { // of the round that was under way
		l, ok, err := read[Leg](ctx, f.course.files, workerFile(f.round, k))
		if err != nil {
			return err
		}
		if ok {
			f.images += l.Images
		}
	}
	f.run.learnt = func(epoch, images int) error {
		f.mutex.Lock()
		defer f.mutex.Unlock()
		f.images += images
		return f.step(f.run.ctx, epoch)
	}
	return nil
}

// follow looks for records until the function is called that it gives, and then once more.
func (f *follower) follow() (end func() error) {
	// Not the run's end: those who work finish what they are at, and it is to be heard of.
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.run.ctx))
	ended := make(chan error, 1)
	go func() {
		every := time.NewTicker(followEvery)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				ended <- f.look(context.WithoutCancel(ctx))
				return
			case <-every.C:
				if err := f.run.fail(f.look(ctx)); err != nil && ctx.Err() == nil {
					ended <- err
					return
				}
			}
		}
	}()
	return func() error { cancel(); return <-ended }
}

// look looks for records that were not there before.
func (f *follower) look(ctx context.Context) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	c := f.course
	for ; f.round < c.Config.Epochs*c.Rounds; f.round++ {
		if err := f.epoch(ctx); err != nil {
			return err
		}
		legs, ok, err := read[[]Leg](ctx, c.files, mergedFile(f.round))
		if err != nil || !ok {
			return err
		}
		images := f.round / c.Rounds * c.data.Train.Len()
		for _, l := range legs {
			images += l.Progress.Images
		}
		if images > f.images {
			f.images = images
			if err := f.step(ctx, f.round/c.Rounds+1); err != nil {
				return err
			}
		}
	}
	return f.epoch(ctx)
}

// epoch looks for the record of the epoch that is not known to be over.
func (f *follower) epoch(ctx context.Context) error {
	n := len(f.v.History)
	if n == f.course.Config.Epochs || f.round < (n+1)*f.course.Rounds {
		return nil
	}
	v, ok, err := read[verdict](ctx, f.course.files, epochFile(n))
	if err != nil || !ok {
		return err
	}
	f.v = v
	for _, h := range f.hooks {
		if h.OnEpoch != nil {
			if err := h.OnEpoch(ctx, v.History[n], nil); err != nil {
				return fmt.Errorf("train: %s: %w", h.Name, err)
			}
		}
	}
	return nil
}

// step tells how many images of an epoch were learnt from.
func (f *follower) step(ctx context.Context, epoch int) error {
	for _, h := range f.hooks {
		if h.OnStep != nil {
			if err := h.OnStep(ctx, train.StepInfo{Epoch: epoch, Images: f.images - (epoch-1)*f.course.data.Train.Len()}); err != nil {
				return fmt.Errorf("train: %s: %w", h.Name, err)
			}
		}
	}
	return nil
}

// result is what is known so far.
func (f *follower) result() train.Result {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.v.result()
}

// end tells the hooks of the end, and then removes the files of rounds: until a hook has done its part, the training can be resumed.
func (f *follower) end(ctx context.Context, r train.Result) error {
	for _, h := range f.hooks {
		if h.OnEnd != nil {
			if err := h.OnEnd(ctx, r); err != nil {
				return fmt.Errorf("train: %s: %w", h.Name, err)
			}
		}
	}
	return ClearRounds(ctx, f.course.out.String())
}
