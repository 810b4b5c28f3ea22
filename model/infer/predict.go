package infer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
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

// Predict gives the probabilities [count][classes] of images 0 to count-1, each of which load writes in the plan's
// input shape, normalised. Up to workers goroutines, at least one, call load and run the network on up to batch images
// at a time. The result does not depend on their number.
//
// The error is that of the lowest image that could not be loaded, however the goroutines were scheduled, and names it.
// When ctx ends, no image is loaded or run any more, and the error is ctx's.
func (p *Plan) Predict(ctx context.Context, count, workers, batch int, load func(i int, image []float32) error) (probs []float32, err error) {
	if count <= 0 {
		return nil, ctx.Err()
	}
	workers = min(max(workers, 1), count)
	batch = min(max(batch, 1), (count-1)/workers+1) // every worker has work
	batches := (count-1)/batch + 1
	workers = min(workers, batches)
	probs = make([]float32, count*p.classes)

	var (
		mutex  sync.Mutex
		next   int     // batch that nobody has taken
		failed = count // lowest image that could not be loaded
		cause  error
	)
	// Batches are taken in order, and each is loaded up to the lowest failure known. So whatever comes before the
	// lowest of all has been tried when the last goroutine ends.
	take := func() (from, to int, ok bool) {
		mutex.Lock()
		defer mutex.Unlock()
		from = next * batch
		if from >= failed || ctx.Err() != nil {
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
	hopeless := func(i int) bool {
		mutex.Lock()
		defer mutex.Unlock()
		return i > failed || ctx.Err() != nil
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			arena := p.NewArena(batch)
			for {
				from, to, ok := take()
				if !ok {
					return
				}
				for i := from; i < to; i++ {
					if hopeless(i) {
						return
					}
					if err := load(i, arena.Input(i-from)); err != nil {
						fail(i, err)
						return
					}
				}
				if hopeless(to) {
					return
				}
				logits := probs[from*p.classes : to*p.classes]
				copy(logits, arena.Run(to-from))
				Softmax(logits, p.classes)
			}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if cause != nil {
		return nil, fmt.Errorf("image %d: %w", failed, cause)
	}
	return probs, nil
}
