package listing

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/logobeam/logobeam/pipelines/store"
)

// parking keeps the readers of files that are costly to begin in the middle of, compressed ones and Parquet, where a
// chunk's rows ended, so that the chunks after it need not begin at the beginning.
var parking lot

const (
	parkedMost = 8
	parkedFor  = time.Minute
)

type lot struct {
	sync.Mutex
	readers []*parked // the one that has waited longest first
}

type parked struct {
	opened
	columns string
	offset  int64
	expires *time.Timer
}

// key is all that two chunks have in common that can be read by one reader.
func (c Chunk) key() string {
	return strings.Join(append([]string{c.Source, string(c.Format)}, c.columns().names...), "\x00")
}

// take gives a reader at the chunk's first row, and whether it was parked. It is the caller's until leave.
func (l *lot) take(ctx context.Context, c Chunk) (in opened, wasParked bool, err error) {
	if p := l.nearest(c); p != nil {
		if fresh(ctx, p.opened) {
			stop := p.during(ctx)
			err := p.seek(c.Offset, c.End, c.Line)
			stop()
			if err == nil {
				return p.opened, true, nil
			}
		}
		p.close()
	}
	in, err = c.open(ctx)
	return in, false, err
}

// nearest takes the reader out that is at the chunk or the least before it.
func (l *lot) nearest(c Chunk) *parked {
	l.Lock()
	defer l.Unlock()
	best, key := -1, c.key()
	for i, p := range l.readers {
		if p.columns == key && p.offset <= c.Offset && (best < 0 || p.offset > l.readers[best].offset) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	p := l.readers[best]
	l.readers = slices.Delete(l.readers, best, best+1)
	p.expires.Stop()
	return p
}

// fresh says whether a reader's file is still the one that lies there.
func fresh(ctx context.Context, in opened) bool {
	at, name := store.Split(in.location)
	s, err := store.At(ctx, at)
	if err != nil {
		return false
	}
	now, err := s.Stat(ctx, name)
	return err == nil && version(now) == version(in.Info())
}

// leave takes a reader back.
func (l *lot) leave(c Chunk, in opened) {
	if in.source == nil || in.packed == plain && c.Format != Parquet || in.ctx.Err() != nil {
		in.close()
		return
	}
	p := &parked{opened: in, columns: c.key()}
	p.offset, _ = in.position()
	l.Lock()
	defer l.Unlock()
	if len(l.readers) == parkedMost {
		oldest := l.readers[0]
		l.readers = slices.Delete(l.readers, 0, 1)
		oldest.expires.Stop()
		oldest.close()
	}
	l.readers = append(l.readers, p)
	p.expires = time.AfterFunc(parkedFor, func() { l.remove(p) })
}

// remove closes a reader that nobody has taken in time.
func (l *lot) remove(p *parked) {
	l.Lock()
	defer l.Unlock()
	if i := slices.Index(l.readers, p); i >= 0 {
		l.readers = slices.Delete(l.readers, i, i+1)
		p.close()
	}
}
