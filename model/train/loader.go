package train

import (
	"context"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// ahead is the number of batches in memory: one that is computed, and those that are loaded meanwhile.
const ahead = 2

// buffers makes the memory of the batches, once for all epochs.
func (t *trainer) buffers() chan *batch {
	free := make(chan *batch, ahead)
	for range ahead {
		free <- t.newBatch(len(free))
	}
	return free
}

func (t *trainer) newBatch(slot int) *batch {
	fill := t.jobs[0].Config.rows() - 1 // what the last slice of a device may lack
	b := &batch{slot: slot, images: make([]float32, (t.cfg.Batch+fill)*t.net.Input.Size()),
		targets: make([]float32, t.cfg.Batch*t.net.Classes()), labels: make([]int, t.cfg.Batch)}
	if t.cfg.Mixup > 0 || t.cfg.Cutmix > 0 {
		b.shares = make([]float64, t.cfg.Batch)
	}
	return b
}

// load sends the batches of one epoch in their order, loaded while those before are computed. A batch that has been
// used goes back to free. The channel is closed after the last batch, after an error, which wait tells, and when ctx
// ends; no goroutine is left then.
func (t *trainer) load(ctx context.Context, data Dataset, draws []draw, epoch int, free chan *batch) (batches <-chan *batch, wait func() error) {
	out := make(chan *batch)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(out)
		for step := 0; len(draws) > 0; step++ {
			n := min(t.cfg.Batch, len(draws))
			var b *batch
			select {
			case b = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := t.fill(ctx, b, data, draws[:n], epoch); err != nil {
				free <- b
				return err
			}
			if b.shares != nil {
				t.cfg.Mix(t.net.Input, b.images, b.labels[:n], b.shares, epoch, step)
			}
			if err := t.ready(b); err != nil {
				free <- b
				return err
			}
			draws = draws[n:]
			select {
			case out <- b:
			case <-ctx.Done():
				free <- b
				return ctx.Err()
			}
		}
		return nil
	})
	return out, group.Wait
}

// drawn is the epoch that random steps of an image are drawn from. One drawn again is shown as in an epoch after the last,
// which nothing else uses.
func (c Config) drawn(epoch int, d draw) int { return epoch + d.repeat*c.Epochs }

// fill loads the images of one batch on as many goroutines as there are workers.
func (t *trainer) fill(ctx context.Context, b *batch, data Dataset, draws []draw, epoch int) error {
	size := t.net.Input.Size()
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(t.cfg.cores(), len(draws)) {
		group.Go(func() error {
			for {
				k := int(next.Add(1)) - 1
				if k >= len(draws) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				d := draws[k]
				b.labels[k] = data.Label(d.image)
				if err := data.Load(d.image, t.cfg.drawn(epoch, d), b.images[k*size:(k+1)*size]); err != nil {
					return fmt.Errorf("training image %d: %w", d.image, err)
				}
			}
		})
	}
	b.count, b.draws = len(draws), draws
	return group.Wait()
}
