package fetch

import (
	"context"
	"slices"
)

// baseHold is what an image holds of the budget before its first byte comes: most images need no more.
const baseHold = 128 << 10

// budget is the memory of images that are coming or not yet released. The scheduler's lock guards it.
//
// An image that grows holds memory and waits for more, so images could wait for one another for ever. They do not:
//
//  1. The budget is two parts, common and spare; spare is as large as an image may get (if the budget is at least two of
//     these). An image starts only while no other waits to grow, and bases take at most half of the common part.
//  2. Growing takes from the common part, in turn. The first that would have to wait gets the key to the spare part
//     instead. Whoever has the key never waits again, since it cannot outgrow the spare part. So it ends, by its last byte
//     or by a time limit, and the key comes back when it fails or is released.
//  3. Release depends on whoever was given the image and, for an image that is not taken yet, on Each's caller, never
//     on another image that is still to come.
//
// So as long as images are released, the key comes back, the next in turn gets it, and all that wait come to have it.
type budget struct {
	common  int64 // bytes that may be held without the key
	used    int64 // bytes held, with the key and without
	keyed   *hold // has the key
	waiting []*hold
}

func newBudget(cfg Config) budget {
	return budget{common: max(cfg.Memory-cfg.MaxBytes, cfg.Memory/2)}
}

// hold is one image's share of the budget.
type hold struct {
	s     *scheduler
	bytes int64
	want  int64         // while it waits
	grown chan struct{} // closed when it has what it wants
}

// room tells whether an image may start where flying are under way.
func (b *budget) room(flying int) bool {
	if flying == 0 && b.used == 0 {
		return true
	}
	return len(b.waiting) == 0 && b.used+baseHold <= b.common && int64(flying+1)*baseHold <= b.common/2
}

func (b *budget) start(s *scheduler) *hold {
	b.used += baseHold
	return &hold{s: s, bytes: baseHold}
}

// take gives h what it wants if that can be had without waiting.
func (b *budget) take(h *hold, to int64) bool {
	switch {
	case b.keyed == h || b.used+to-h.bytes <= b.common:
	case b.keyed == nil:
		b.keyed = h
	default:
		return false
	}
	b.used += to - h.bytes
	h.bytes = to
	return true
}

// resize makes h smaller; to nothing, it gives the key back. Those that wait are served in turn.
func (b *budget) resize(h *hold, to int64) {
	b.used += to - h.bytes
	h.bytes = to
	if to == 0 && b.keyed == h {
		b.keyed = nil
	}
	for len(b.waiting) > 0 && b.take(b.waiting[0], b.waiting[0].want) {
		close(b.waiting[0].grown)
		b.waiting = slices.Delete(b.waiting, 0, 1)
	}
}

// grow makes h hold so many bytes. It calls wait, if it has to, before it waits, and what that returned afterwards.
func (h *hold) grow(ctx context.Context, to int64, wait func() func()) error {
	if to <= h.bytes {
		return nil
	}
	s := h.s
	s.mu.Lock()
	b := &s.memory
	if (len(b.waiting) == 0 || b.keyed == h) && b.take(h, to) {
		s.mu.Unlock()
		return nil
	}
	h.want, h.grown = to, make(chan struct{})
	b.waiting = append(b.waiting, h)
	s.mu.Unlock()
	defer wait()()
	select {
	case <-h.grown:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(b.waiting, h); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
		b.resize(h, h.bytes) // the next in turn may have waited for this one alone
	}
	return ctx.Err()
}

// release gives everything back. It may be called more than once.
func (h *hold) release() {
	if h == nil {
		return
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.bytes > 0 {
		h.s.memory.resize(h, 0)
		h.s.pump()
	}
}
