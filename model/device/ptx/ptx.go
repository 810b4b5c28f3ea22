// Package ptx runs kernels for NVIDIA GPUs without a GPU: it interprets PTX, the text that CUDA C is compiled to, on memory
// of its own. Tests run the very text that a GPU gets:
//
//	m, err := ptx.Parse(text)
//	mem := ptx.NewMemory()
//	p := mem.Alloc(4 * n)
//	err = m.Launch(mem, "fill", ptx.Dim{X: blocks}, ptx.Dim{X: 256}, p, n, math.Float64bits(1))
//
// It knows the part of PTX 8 for sm_80 that our kernels use (the tables in ops.go and exec.go name it); Parse refuses the rest by name.
// Results are those of the hardware, but for two things that are not specified to the bit: mma.sync adds its products in float64 and
// rounds once, and ex2.approx is the rounded value.
//
// What a GPU may pass over in silence is an error here, which names the instruction and the thread: an access outside of what was
// allocated or of a shared array, one that is not aligned, two threads that touch a value of shared memory with no barrier
// between them, a barrier or an exchange between the threads of a warp that not all of them reach. Memory that nobody wrote holds
// 0xff bytes, which are NaN.
package ptx

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// Dim is the size of a grid in blocks, or of a block in threads. A size of 0 is 1.
type Dim struct{ X, Y, Z int }

func (d Dim) filled() Dim { return Dim{max(d.X, 1), max(d.Y, 1), max(d.Z, 1)} }

// at is the place of number i, x running first.
func (d Dim) at(i int) Dim { return Dim{i % d.X, i / d.X % d.Y, i / (d.X * d.Y)} }

func (d Dim) String() string { return fmt.Sprintf("(%d,%d,%d)", d.X, d.Y, d.Z) }

// The limits of a launch, as compute capability 8.0 has them, and on the work of one warp, so that a kernel that does not end
// is an error.
const (
	maxThreads      = 1024
	maxGrid         = 1<<31 - 1
	maxGridSide     = 65535
	maxShared       = 48 << 10
	maxInstructions = 1 << 30
)

// Module is PTX that can be launched. Several goroutines may do so at the same time.
type Module struct {
	kernels map[string]*kernel
	names   []string
}

// Kernels are the names of the kernels, in the order of the text.
func (m *Module) Kernels() []string { return m.names }

// kernel is what Parse makes of an entry.
type kernel struct {
	name   string
	params []param
	code   []instr
	// Every operand is a place in a warp's registers: those that the text declares, and after them special ones, parameters and
	// constants, which are filled in before a block runs.
	registers, predicates int
	constants             []constant
	special               map[string]int // places of %tid.x and so on
	shared                int            // bytes
	gaps                  []gap          // between shared arrays
	most                  int            // threads in a block; 0 for any number
	pool                  sync.Pool      // of *block
}

type param struct {
	name string
	size int
	slot int // the place of its value; -1 if it is not read
}

type constant struct {
	slot  int
	value uint64
}

type gap struct{ from, to int }

// Launch runs a kernel for all threads of the grid, several blocks at a time. Parameters are 8 bytes each: a pointer from
// Alloc, an integer, or math.Float64bits of a double. The error is that of the first block that has one; memory is then
// left half written. Blocks must not write what others read or write: only Go's race detector would see it.
func (m *Module) Launch(mem *Memory, name string, grid, size Dim, params ...uint64) error {
	k := m.kernels[name]
	if k == nil {
		return fmt.Errorf("ptx: there is no kernel %q", name)
	}
	grid, size = grid.filled(), size.filled()
	if grid.X > maxGrid || grid.Y > maxGridSide || grid.Z > maxGridSide {
		return fmt.Errorf("ptx: %s: a grid of %v: want at most %d x %d x %d", name, grid, maxGrid, maxGridSide, maxGridSide)
	}
	threads := maxThreads + 1
	if max(size.X, size.Y, size.Z) <= maxThreads {
		threads = size.X * size.Y * size.Z
	}
	if most := k.most; threads > maxThreads || most > 0 && threads > most {
		return fmt.Errorf("ptx: %s: blocks of %v threads: want at most %d", name, size, max(most, 1))
	}
	if len(params) != len(k.params) {
		return fmt.Errorf("ptx: %s: %d parameters: want %d", name, len(params), len(k.params))
	}
	blocks := grid.X * grid.Y * grid.Z
	workers := min(runtime.GOMAXPROCS(0), blocks)
	errs := make([]error, workers)
	firsts := make([]int, workers)
	var next atomic.Int64
	var failed atomic.Bool
	var wait sync.WaitGroup
	for i := range workers {
		wait.Go(func() {
			b, _ := k.pool.Get().(*block)
			if b == nil {
				b = &block{kernel: k}
			}
			defer k.pool.Put(b)
			b.prepare(mem, grid, size, params)
			for !failed.Load() {
				n := int(next.Add(1) - 1)
				if n >= blocks {
					return
				}
				if errs[i] = b.run(n); errs[i] != nil {
					firsts[i] = n
					failed.Store(true)
					return
				}
			}
		})
	}
	wait.Wait()
	var err error
	first := blocks
	for i, e := range errs {
		if e != nil && firsts[i] < first {
			err, first = e, firsts[i]
		}
	}
	if err != nil {
		return fmt.Errorf("ptx: %s: %w", name, err)
	}
	return nil
}

// block runs the blocks of a launch, one after another.
type block struct {
	*kernel
	mem        *Memory
	grid, size Dim
	number     Dim // of the block
	warps      []*warp
	memory     []byte  // shared
	touched    []touch // who touched each 4 bytes of it
	epoch      uint32  // counts barriers, over all blocks
}

// touch is a use of shared memory: by thread-1, or by several threads if many.
type touch struct {
	written, read uint32 // epochs
	writer        uint16
	reader        uint16
}

const (
	many = 1<<16 - 1
	wall = 1<<16 - 2 // belongs to nobody
)

func (b *block) prepare(mem *Memory, grid, size Dim, params []uint64) {
	b.mem, b.grid, b.size = mem, grid, size
	threads := size.X * size.Y * size.Z
	for len(b.warps)*32 < threads {
		b.warps = append(b.warps, &warp{block: b, number: len(b.warps), regs: make([]lanes, b.registers), preds: make([]uint32, b.predicates)})
	}
	b.warps = b.warps[:(threads+31)/32]
	if b.memory == nil {
		b.memory = make([]byte, b.shared)
		b.touched = make([]touch, (b.shared+3)/4)
		for _, g := range b.gaps {
			for i := g.from; i < g.to; i += 4 {
				b.touched[i/4].writer = wall
			}
		}
	}
	for _, w := range b.warps {
		for _, c := range b.constants {
			w.fill(c.slot, c.value)
		}
		for i, p := range b.params {
			if p.slot >= 0 {
				v := params[i]
				if p.size == 4 {
					v = uint64(uint32(v))
				}
				w.fill(p.slot, v)
			}
		}
		for name, slot := range b.special {
			for lane := range 32 {
				w.regs[slot][lane] = uint64(specials[name](b, size.at(w.number*32+lane)))
			}
		}
		w.last = region{}
	}
}

// specials are the registers that say where a thread is.
var specials = map[string]func(b *block, thread Dim) int{
	"%tid.x": func(_ *block, t Dim) int { return t.X }, "%tid.y": func(_ *block, t Dim) int { return t.Y },
	"%tid.z": func(_ *block, t Dim) int { return t.Z }, "%ntid.x": func(b *block, _ Dim) int { return b.size.X },
	"%ntid.y": func(b *block, _ Dim) int { return b.size.Y }, "%ntid.z": func(b *block, _ Dim) int { return b.size.Z },
	"%ctaid.x": func(b *block, _ Dim) int { return b.number.X }, "%ctaid.y": func(b *block, _ Dim) int { return b.number.Y },
	"%ctaid.z": func(b *block, _ Dim) int { return b.number.Z }, "%nctaid.x": func(b *block, _ Dim) int { return b.grid.X },
	"%nctaid.y": func(b *block, _ Dim) int { return b.grid.Y }, "%nctaid.z": func(b *block, _ Dim) int { return b.grid.Z },
}

// errDiverged stands where threads wait for others that never come.
var errDiverged = errors.New("not all threads reach it together")

func (b *block) run(n int) error {
	b.number = b.grid.at(n)
	for i := range b.memory {
		b.memory[i] = 0xff
	}
	threads := b.size.X * b.size.Y * b.size.Z
	for i, w := range b.warps {
		for name, slot := range b.special {
			if strings.HasPrefix(name, "%ctaid") {
				w.fill(slot, uint64(specials[name](b, Dim{})))
			}
		}
		w.begin(uint32(1<<min(threads-32*i, 32) - 1))
	}
	for {
		b.epoch++
		var waits, done *warp
		for _, w := range b.warps {
			if w.alive == 0 {
				done = w
				continue
			}
			if err := w.run(); err != nil {
				return err
			}
			if w.alive == 0 {
				done = w
			} else {
				waits = w
			}
		}
		switch {
		case waits == nil:
			return nil
		case done != nil:
			return waits.fault(waits.groups[0].pc, waits.groups[0].mask, errors.New("threads wait at a barrier that others have left out"))
		}
	}
}
