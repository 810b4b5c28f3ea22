package device_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/logobeam/logobeam/model/device"
	"github.com/logobeam/logobeam/model/device/ptx"
)

// hardware opens an accelerator to run the tests on, with the tag gpu. newDriver is that, or an emulator.
var hardware func() (device.Driver, error)

func newDriver(t testing.TB) device.Driver {
	t.Helper()
	if hardware == nil {
		return newEmulator(t)
	}
	d, err := hardware()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// closed checks that a driver was closed, if that can be known.
func closed(t *testing.T, d device.Driver) {
	t.Helper()
	if e, ok := d.(*emulator); ok && !e.closed {
		t.Error("the device was not closed")
	}
}

// emulator is a driver that interprets the kernels on the processor. Streams do what they are told at once, but it keeps note of what
// a device would have waited for: work that is not behind what it needs is an error.
type emulator struct {
	module *ptx.Module
	memory *ptx.Memory

	mu      sync.Mutex
	streams []int               // things done by each
	seen    []map[int]int       // of the other streams, by each
	events  []map[int]int       // what had been done when it was recorded
	owner   map[device.Ptr]mark // the last copy to an address
	closed  bool
}

// mark is a moment of a stream.
type mark struct{ stream, number int }

func newEmulator(t testing.TB) *emulator {
	t.Helper()
	m, err := module()
	if err != nil {
		t.Fatal(err)
	}
	e := &emulator{module: m, memory: ptx.NewMemory(), owner: map[device.Ptr]mark{}}
	e.NewStream()
	return e
}

func (e *emulator) Name() string                  { return "an interpreter of PTX" }
func (e *emulator) Memory() (int64, int64, error) { return 1 << 30, 1 << 30, nil }
func (e *emulator) Sync(device.Event) error       { return nil }
func (e *emulator) done(s device.Stream)          { e.streams[s]++; e.seen[s][int(s)] = e.streams[s] }

func (e *emulator) Alloc(bytes int) (device.Ptr, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return device.Ptr(e.memory.Alloc(bytes)), nil
}

func (e *emulator) Free(p device.Ptr) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.memory.Free(uint64(p))
}

func (e *emulator) NewStream() (device.Stream, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.streams, e.seen = append(e.streams, 0), append(e.seen, map[int]int{})
	return device.Stream(len(e.streams) - 1), nil
}

func (e *emulator) NewEvent() (device.Event, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events = append(e.events, nil)
	return device.Event(len(e.events) - 1), nil
}

func (e *emulator) CopyIn(dst device.Ptr, src []byte, s device.Stream) error {
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

func (e *emulator) CopyOut(dst []byte, src device.Ptr, s device.Stream) error {
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
func (e *emulator) behind(p device.Ptr, s device.Stream) error {
	if m, ok := e.owner[p]; ok && e.seen[s][m.stream] < m.number {
		return fmt.Errorf("stream %d reads %#x, which stream %d may not have written yet", s, p, m.stream)
	}
	return nil
}

func (e *emulator) Launch(l device.Launch, s device.Stream) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.Grid[0] < 1 || l.Grid[1] < 1 || l.Grid[2] < 1 {
		return fmt.Errorf("%s: an empty grid %v", l.Kernel, l.Grid)
	}
	for _, a := range l.Args {
		if err := e.behind(device.Ptr(a), s); err != nil {
			return fmt.Errorf("%s: %w", l.Kernel, err)
		}
	}
	err := e.module.Launch(e.memory, l.Kernel, ptx.Dim{X: l.Grid[0], Y: l.Grid[1], Z: l.Grid[2]}, ptx.Dim{X: l.Block[0], Y: l.Block[1], Z: l.Block[2]}, l.Args...)
	e.done(s)
	e.owner[device.Ptr(l.Args[0])] = mark{int(s), e.streams[s]} // what a kernel writes is its first
	return err
}

func (e *emulator) Record(v device.Event, s device.Stream) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events[v] = map[int]int{}
	for k, n := range e.seen[s] {
		e.events[v][k] = n
	}
	return nil
}

func (e *emulator) Wait(s device.Stream, v device.Event) error {
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
