package device

import (
	"fmt"
	"sync"
	"testing"

	"github.com/logobeam/logobeam/model/device/ptx"
)

// emulator is a driver that interprets the kernels on the processor. Streams do what they are told at once, but it keeps note of what
// a device would have waited for: work that is not behind what it needs is an error.
type emulator struct {
	module *ptx.Module
	memory *ptx.Memory

	mu       sync.Mutex
	streams  []int         // things done by each
	seen     []map[int]int // of the other streams, by each
	events   []map[int]int // what had been done when it was recorded
	owner    map[Ptr]mark  // the last copy to an address
	launches map[string]int
	live     map[Ptr]bool
	closed   bool
}

// mark is a moment of a stream.
type mark struct{ stream, number int }

var parsed = sync.OnceValues(func() (*ptx.Module, error) { return ptx.Parse(PTX) })

func newEmulator(t testing.TB) *emulator {
	t.Helper()
	m, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	e := &emulator{module: m, memory: ptx.NewMemory(), owner: map[Ptr]mark{}, launches: map[string]int{}, live: map[Ptr]bool{}}
	e.NewStream()
	return e
}

func (e *emulator) Name() string                  { return "an interpreter of PTX" }
func (e *emulator) Memory() (int64, int64, error) { return 1 << 30, 1 << 30, nil }
func (e *emulator) Sync(Event) error              { return nil }
func (e *emulator) done(s Stream)                 { e.streams[s]++; e.seen[s][int(s)] = e.streams[s] }

func (e *emulator) Alloc(bytes int) (Ptr, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := Ptr(e.memory.Alloc(bytes))
	e.live[p] = true
	return p, nil
}

func (e *emulator) Free(p Ptr) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.live, p)
	return e.memory.Free(uint64(p))
}

func (e *emulator) NewStream() (Stream, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.streams, e.seen = append(e.streams, 0), append(e.seen, map[int]int{})
	return Stream(len(e.streams) - 1), nil
}

func (e *emulator) NewEvent() (Event, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, nil)
	return Event(len(e.events) - 1), nil
}

func (e *emulator) CopyIn(dst Ptr, src []byte, s Stream) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	to, err := e.memory.Bytes(uint64(dst), len(src))
	if err != nil {
		return err
	}
	copy(to, src)
	e.done(s)
	e.owner[dst] = mark{int(s), e.streams[s]}
	return nil
}

func (e *emulator) CopyOut(dst []byte, src Ptr, s Stream) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.behind(src, s); err != nil {
		return err
	}
	from, err := e.memory.Bytes(uint64(src), len(dst))
	copy(dst, from)
	return err
}

// behind says whether the last to write to an address did so before what is put on a stream now.
func (e *emulator) behind(p Ptr, s Stream) error {
	if m, ok := e.owner[p]; ok && e.seen[s][m.stream] < m.number {
		return fmt.Errorf("stream %d reads %#x, which stream %d may not have written yet", s, p, m.stream)
	}
	return nil
}

func (e *emulator) Launch(l Launch, s Stream) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.Grid[0] < 1 || l.Grid[1] < 1 || l.Grid[2] < 1 {
		return fmt.Errorf("%s: an empty grid %v", l.Kernel, l.Grid)
	}
	for _, a := range l.Args {
		if err := e.behind(Ptr(a), s); err != nil {
			return fmt.Errorf("%s: %w", l.Kernel, err)
		}
	}
	e.launches[l.Kernel]++
	err := e.module.Launch(e.memory, l.Kernel, ptx.Dim{X: l.Grid[0], Y: l.Grid[1], Z: l.Grid[2]}, ptx.Dim{X: l.Block[0], Y: l.Block[1], Z: l.Block[2]}, l.Args...)
	e.done(s)
	e.owner[Ptr(l.Args[0])] = mark{int(s), e.streams[s]} // what a kernel writes is its first
	return err
}

func (e *emulator) Record(v Event, s Stream) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events[v] = map[int]int{}
	for k, n := range e.seen[s] {
		e.events[v][k] = n
	}
	return nil
}

func (e *emulator) Wait(s Stream, v Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, n := range e.events[v] {
		e.seen[s][k] = max(e.seen[s][k], n)
	}
	return nil
}

func (e *emulator) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	return nil
}
