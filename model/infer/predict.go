package infer

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/logobeam/logobeam/model"
)

// Softmax turns rows of logits into probabilities that sum to 1, in place (Bridle, 1990).
func Softmax(logits []float32, classes int) {
	for len(logits) >= classes && classes > 0 {
		row := logits[:classes]
		logits = logits[classes:]
		largest, sum := float64(slices.Max(row)), 0.0 // so that no exponential overflows
		for _, v := range row {
			sum += math.Exp(float64(v) - largest)
		}
		for i, v := range row {
			row[i] = float32(math.Exp(float64(v)-largest) / sum)
		}
	}
}

// Engine runs a network: a Plan on the processor, one of package device on an accelerator.
type Engine interface {
	// Precision is what it computes in.
	Precision() model.Precision
	// Input is the shape of one image, Classes the number of logits of one.
	Input() model.Shape
	Classes() int
	// Batch is how many images a worker had better run at once where there are many.
	Batch() int
	// Workspace makes the memory in which one goroutine runs the network, for up to batch images at a time.
	Workspace(batch int) (Workspace, error)
}

// Workspace is the memory in which one goroutine runs an engine. Arena says what holds for its methods. An error of Run is an
// accelerator's, which fails from then on.
type Workspace interface {
	Batch() int
	Input(i int) []float32
	Run(n int) ([]float32, error)
}

// Workspace is NewArena for those who run any engine.
func (p *Plan) Workspace(batch int) (Workspace, error) { return workspace{p.NewArena(batch)}, nil }

type workspace struct{ *Arena }

func (w workspace) Run(n int) ([]float32, error) { return w.Arena.Run(n), nil }

// Spread is Arena.Spread for a plan's workspace. That of another engine stays as it is.
func Spread(w Workspace, cores int) {
	if of, ok := w.(workspace); ok {
		of.Arena.Spread(cores)
	}
}

// Predict is the function Predict with this plan.
func (p *Plan) Predict(ctx context.Context, count, workers, batch int, load func(i int, image []float32) error) (probs []float32, err error) {
	return Predict(ctx, p, count, workers, batch, load)
}

// Predict gives the probabilities [count][classes] of images 0 to count-1, each of which load writes in the engine's
// input shape, normalised. Up to workers goroutines, at least one, call load and run the network on up to batch images
// at a time. The result does not depend on their number.
//
// The error is that of the lowest image that could not be loaded, however the goroutines were scheduled, and names it.
// When ctx ends, no image is loaded or run any more, and the error is ctx's.
func Predict(ctx context.Context, e Engine, count, workers, batch int, load func(i int, image []float32) error) (probs []float32, err error) {
	if count <= 0 {
		return nil, ctx.Err()
	}
	workers = min(max(workers, 1), count)
	batch = min(max(batch, 1), (count-1)/workers+1) // every worker has work
	batches := (count-1)/batch + 1
	workers = min(workers, batches)
	classes := e.Classes()
	probs = make([]float32, count*classes)

	var (
		mutex  sync.Mutex
		next   int     // batch that nobody has taken
		failed = count // lowest image that could not be loaded
		cause  error
		broken error // the engine's
	)
	// Batches are taken in order, and each is loaded up to the lowest failure known. So whatever comes before the
	// lowest of all has been tried when the last goroutine ends.
	take := func() (from, to int, ok bool) {
		mutex.Lock()
		defer mutex.Unlock()
		from = next * batch
		if from >= failed || broken != nil || ctx.Err() != nil {
			return 0, 0, false
		}
		next++
		return from, min(from+batch, count), true
	}
	fail := func(i int, err error) {
		mutex.Lock()
		defer mutex.Unlock()
		if i < failed {
			failed, cause = i, err
		}
	}
	stop := func(err error) {
		mutex.Lock()
		defer mutex.Unlock()
		broken = cmp.Or(broken, err)
	}
	hopeless := func(i int) bool {
		mutex.Lock()
		defer mutex.Unlock()
		return i > failed || ctx.Err() != nil
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			room, err := e.Workspace(batch)
			if err != nil {
				stop(err)
				return
			}
			for {
				from, to, ok := take()
				if !ok {
					return
				}
				for i := from; i < to; i++ {
					if hopeless(i) {
						return
					}
					if err := load(i, room.Input(i-from)); err != nil {
						fail(i, err)
						return
					}
				}
				if hopeless(to) {
					return
				}
				logits, err := room.Run(to - from)
				if err != nil {
					stop(err)
					return
				}
				row := probs[from*classes : to*classes]
				copy(row, logits)
				Softmax(row, classes)
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if broken != nil {
		return nil, broken
	}
	if cause != nil {
		return nil, fmt.Errorf("image %d: %w", failed, cause)
	}
	return probs, nil
}
