package fetch

import (
	"context"
	"errors"
	"io"
	"time"
)

var errTimeout = errors.New("fetch: the time for one image is over")

// watch is the time that an attempt has. It stands still while the attempt waits for memory.
type watch struct {
	ctx    context.Context // ends with the time, or without a byte for too long
	cancel context.CancelCauseFunc
	began  time.Time
	end    time.Time
	timer  *time.Timer
	idle   *time.Timer // nil before the body comes
	every  time.Duration
	waited time.Duration
}

func newWatch(parent context.Context, d time.Duration) *watch {
	w := &watch{began: time.Now()}
	w.end = w.began.Add(d)
	w.ctx, w.cancel = context.WithCancelCause(parent)
	w.timer = time.AfterFunc(d, w.over)
	return w
}

func (w *watch) over() { w.cancel(errTimeout) }

// idleAfter ends the time as well when no byte comes for so long.
func (w *watch) idleAfter(d time.Duration) {
	w.every = d
	w.idle = time.AfterFunc(d, w.over)
}

// wait stops the watch until what it returns is called.
func (w *watch) wait() (goOn func()) {
	from := time.Now()
	w.timer.Stop()
	if w.idle != nil {
		w.idle.Stop()
	}
	return func() {
		now := time.Now()
		w.waited += now.Sub(from)
		w.end = w.end.Add(now.Sub(from))
		w.timer.Reset(w.end.Sub(now))
		if w.idle != nil {
			w.idle.Reset(w.every)
		}
	}
}

// stop ends the watch, and says for how long it ran.
func (w *watch) stop() time.Duration {
	w.timer.Stop()
	if w.idle != nil {
		w.idle.Stop()
	}
	w.cancel(context.Canceled)
	return time.Since(w.began) - w.waited
}

// read takes all of r, at most limit bytes. The buffer begins with what is expected, if that is known (not below zero), and
// grows as bytes come, as far as h does.
func (w *watch) read(h *hold, r io.Reader, expect, limit int64) ([]byte, error) {
	if expect < 0 {
		expect = 32<<10 - 1
	}
	size := min(expect, limit) + 1 // one more, so that the end is seen without growing
	data := make([]byte, 0, max(min(size, h.bytes), 512))
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if w.idle != nil && n > 0 {
			w.idle.Reset(w.every)
		}
		if int64(len(data)) > limit {
			return nil, tooLarge(limit)
		}
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			if size <= int64(cap(data)) {
				size = min(2*int64(cap(data)), limit+1)
			}
			if err := h.grow(w.ctx, size, w.wait); err != nil {
				return nil, err
			}
			data = append(make([]byte, 0, size), data...)
		}
	}
}

func tooLarge(limit int64) *Error {
	return reject(TooLarge, "it has more than the %d bytes that are taken", limit)
}

func checkSize(size, limit int64) error {
	if size > limit {
		return reject(TooLarge, "it has %d bytes: at most %d are taken", size, limit)
	}
	return nil
}
