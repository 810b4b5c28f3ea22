package ptx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// lanes is a register of the 32 threads of a warp. Values of fewer than 64 bits have zeros above them.
type lanes [32]uint64

const all = 1<<32 - 1

// instr is an instruction. d, a, b, c are places of registers, or of predicates where the instruction has them.
type instr struct {
	kind       kind
	guard      int // predicate, -1 for none
	not        bool
	d, a, b, c int
	list       []int // registers of vectors: results, then factors for mma
	offset     int64 // of an address
	bytes      int   // of each value that is moved
	target     int
	compute    func(d, a, b, c *lanes)
	compare    func(a, b *lanes) uint32
	logic      func(a, b uint32) uint32
	line       int
	text       string
}

type kind uint8

const (
	compute kind = iota
	compare      // d is a predicate
	logic        // all are predicates
	choose       // c is a predicate
	load
	store
	loadShared
	storeShared
	loadMatrix
	loadMatrixTurned
	multiply
	exchange // shfl.sync.bfly: list is the result and its predicate or -1; a value, b lane mask, c members
	vote     // d and a are predicates, c members
	split    // a 64-bit value into two
	join     // and back
	branch
	barrier
	leave
)

// together says that a kind wants all threads of a warp.
func (k kind) together() bool {
	switch k {
	case loadMatrix, loadMatrixTurned, multiply, exchange, vote, barrier:
		return true
	}
	return false
}

// warp is 32 threads. They run together while they are at one instruction; threads that have branched elsewhere are groups
// of their own until they meet again. The group that is furthest behind goes first, and groups wait at what needs all.
type warp struct {
	*block
	number  int
	regs    []lanes
	preds   []uint32
	alive   uint32
	groups  []group
	scratch lanes
	last    region // where memory was accessed last
	count   int    // instructions
}

type group struct {
	pc    int
	mask  uint32
	waits bool
}

func (w *warp) fill(slot int, v uint64) {
	for lane := range w.regs[slot] {
		w.regs[slot][lane] = v
	}
}

func (w *warp) begin(mask uint32) {
	w.alive, w.count = mask, 0
	w.groups = append(w.groups[:0], group{0, mask, false})
}

// fault says where an error arose: in the first of the threads of mask.
func (w *warp) fault(pc int, mask uint32, err error) error {
	in := &w.code[pc]
	thread := w.size.at(w.number*32 + bits.TrailingZeros32(mask))
	return fmt.Errorf("line %d, %q, thread %v of block %v: %w", in.line, in.text, thread, w.block.number, err)
}

// run goes on until all threads are at a barrier, past which they go at the next call, or have left.
func (w *warp) run() error {
	if len(w.groups) == 1 && w.code[w.groups[0].pc].kind == barrier && w.groups[0].waits {
		w.groups[0].pc++
		w.groups[0].waits = false
	}
	for w.alive != 0 {
		w.merge()
		at, limit := -1, len(w.code)
		for i, g := range w.groups {
			if !g.waits && (at < 0 || g.pc < w.groups[at].pc) {
				at = i
			}
		}
		if at < 0 {
			if g := w.groups[0]; len(w.groups) == 1 && w.code[g.pc].kind == barrier {
				return nil
			}
			return w.fault(w.groups[0].pc, w.groups[0].mask, errDiverged)
		}
		for i, g := range w.groups {
			if i != at && g.pc > w.groups[at].pc {
				limit = min(limit, g.pc)
			}
		}
		if err := w.advance(at, limit); err != nil {
			return err
		}
	}
	return nil
}

// merge joins groups that have met.
func (w *warp) merge() {
	for i := 0; i < len(w.groups); i++ {
		for j := len(w.groups) - 1; j > i; j-- {
			if w.groups[j].pc == w.groups[i].pc {
				w.groups[i].mask |= w.groups[j].mask
				w.groups[i].waits = false
				w.groups = append(w.groups[:j], w.groups[j+1:]...)
			}
		}
	}
}

// advance runs a group until it branches, waits, or gets where another one may be.
func (w *warp) advance(at, limit int) error {
	g := &w.groups[at]
	for {
		in := &w.code[g.pc]
		if w.count++; w.count > maxInstructions {
			return w.fault(g.pc, g.mask, fmt.Errorf("more than %d instructions: does the kernel end?", maxInstructions))
		}
		mask := g.mask
		if in.guard >= 0 {
			p := w.preds[in.guard]
			if in.not {
				p = ^p
			}
			mask &= p
		}
		switch in.kind {
		case branch:
			switch mask {
			case 0:
				g.pc++
			case g.mask:
				g.pc = in.target
			default:
				g.mask &^= mask
				g.pc++
				w.groups = append(w.groups, group{in.target, mask, false})
			}
			return nil
		case leave:
			w.alive &^= mask
			g.mask &^= mask
			g.pc++
			if g.mask == 0 {
				w.groups = append(w.groups[:at], w.groups[at+1:]...)
			}
			for i := range w.groups { // who waited for those that left need not any more
				w.groups[i].waits = false
			}
			return nil
		}
		if in.kind.together() {
			if g.mask != w.alive || in.kind == barrier {
				g.waits = true
				return nil
			}
			if mask != w.alive {
				return w.fault(g.pc, g.mask, errDiverged)
			}
		}
		if mask != 0 {
			if err := w.execute(in, mask); err != nil {
				var f threadError
				if errors.As(err, &f) {
					return w.fault(g.pc, 1<<f.lane, f.error)
				}
				return w.fault(g.pc, mask, err)
			}
		}
		if g.pc++; g.pc >= limit {
			return nil
		}
	}
}

// threadError is an error of one thread.
type threadError struct {
	error
	lane int
}

// execute runs an instruction that goes to no other for the threads of mask, which are some.
func (w *warp) execute(in *instr, mask uint32) error {
	switch in.kind {
	case compute:
		d := &w.regs[in.d]
		if mask != all {
			d = &w.scratch
		}
		in.compute(d, &w.regs[in.a], &w.regs[in.b], &w.regs[in.c])
		w.take(in.d, mask)
	case compare:
		w.setPredicate(in.d, mask, in.compare(&w.regs[in.a], &w.regs[in.b]))
	case logic:
		w.setPredicate(in.d, mask, in.logic(w.preds[in.a], w.preds[in.b]))
	case choose:
		d, a, b, p := &w.scratch, &w.regs[in.a], &w.regs[in.b], w.preds[in.c]
		for l := range d {
			v := b[l]
			if p>>l&1 != 0 {
				v = a[l]
			}
			d[l] = v
		}
		w.keep(in.d, mask)
	case load, store:
		return w.move(in, mask)
	case loadShared, storeShared:
		return w.moveShared(in, mask)
	case loadMatrix, loadMatrixTurned:
		return w.matrix(in)
	case multiply:
		w.multiply(in)
	case exchange:
		return w.exchange(in)
	case vote:
		if err := w.members(in.c); err != nil {
			return err
		}
		var r uint32
		if w.preds[in.a]&w.alive == w.alive {
			r = all
		}
		w.setPredicate(in.d, mask, r)
	case split:
		low, high, a := &w.regs[in.list[0]], &w.regs[in.list[1]], w.regs[in.a]
		for m := mask; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			low[l], high[l] = uint64(uint32(a[l])), a[l]>>32
		}
	case join:
		for l := range w.scratch {
			w.scratch[l] = w.regs[in.list[0]][l] | w.regs[in.list[1]][l]<<32
		}
		w.keep(in.d, mask)
	}
	return nil
}

// take copies what was computed in scratch memory for some threads only; keep does so for all.
func (w *warp) take(d int, mask uint32) {
	if mask != all {
		w.keep(d, mask)
	}
}

func (w *warp) keep(d int, mask uint32) {
	if mask == all {
		w.regs[d] = w.scratch
		return
	}
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		w.regs[d][l] = w.scratch[l]
	}
}

func (w *warp) setPredicate(d int, mask, v uint32) { w.preds[d] = w.preds[d]&^mask | v&mask }

// move is ld.global and st.global.
func (w *warp) move(in *instr, mask uint32) error {
	address := &w.regs[in.a]
	size := in.bytes * len(in.list)
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		p := address[l] + uint64(in.offset)
		at := p - w.last.from
		if at > uint64(len(w.last.data)) || uint64(len(w.last.data))-at < uint64(size) {
			r, ok := w.mem.at(p)
			if at = p - r.from; !ok || uint64(len(r.data))-at < uint64(size) {
				if ok {
					return threadError{fmt.Errorf("%d bytes at %#x reach past an allocation of %d bytes at %#x", size, p, len(r.data), r.from), l}
				}
				return threadError{fmt.Errorf("%d bytes at %#x are outside of all that was allocated", size, p), l}
			}
			w.last = r
		}
		if p%uint64(size) != 0 {
			return threadError{fmt.Errorf("%d bytes at %#x are not aligned", size, p), l}
		}
		w.copy(in, w.last.data[at:], l)
	}
	return nil
}

// copy moves the values of one thread.
func (w *warp) copy(in *instr, data []byte, lane int) {
	out := in.kind == store || in.kind == storeShared
	for k, r := range in.list {
		v := &w.regs[r][lane]
		d := data[k*in.bytes:]
		switch {
		case in.bytes == 4 && out:
			binary.LittleEndian.PutUint32(d, uint32(*v))
		case in.bytes == 4:
			*v = uint64(binary.LittleEndian.Uint32(d))
		case in.bytes == 8 && out:
			binary.LittleEndian.PutUint64(d, *v)
		case in.bytes == 8:
			*v = binary.LittleEndian.Uint64(d)
		case in.bytes == 2 && out:
			binary.LittleEndian.PutUint16(d, uint16(*v))
		case in.bytes == 2:
			*v = uint64(binary.LittleEndian.Uint16(d))
		case out:
			d[0] = byte(*v)
		default:
			*v = uint64(d[0])
		}
	}
}

// moveShared is ld.shared and st.shared.
func (w *warp) moveShared(in *instr, mask uint32) error {
	size := in.bytes * len(in.list)
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		data, err := w.touch(w.regs[in.a][l]+uint64(in.offset), size, l, in.kind == storeShared)
		if err != nil {
			return threadError{err, l}
		}
		w.copy(in, data, l)
	}
	return nil
}

// touch gives a part of shared memory to a thread, if nobody else has to do with it until the next barrier.
func (w *warp) touch(p uint64, size, lane int, write bool) ([]byte, error) {
	b := w.block
	if p > uint64(len(b.memory)) || uint64(len(b.memory))-p < uint64(size) {
		return nil, fmt.Errorf("%d bytes at %#x are outside of the %d bytes of shared memory", size, p, len(b.memory))
	}
	if p%uint64(size) != 0 {
		return nil, fmt.Errorf("%d bytes at %#x of shared memory are not aligned", size, p)
	}
	me := uint16(w.number*32 + lane)
	for i := p / 4; i < (p+uint64(size)+3)/4; i++ {
		t := &b.touched[i]
		switch {
		case t.writer == wall:
			return nil, fmt.Errorf("%d bytes at %#x are outside of all arrays of shared memory", size, p)
		case t.written == b.epoch && t.writer != me:
			return nil, fmt.Errorf("byte %#x of shared memory was written by thread %d, with no barrier since", i*4, t.writer)
		case write && t.read == b.epoch && t.reader != me:
			return nil, fmt.Errorf("byte %#x of shared memory was read by others, with no barrier since", i*4)
		case write:
			t.written, t.writer = b.epoch, me
		case t.read != b.epoch:
			t.read, t.reader = b.epoch, me
		case t.reader != me:
			t.reader = many
		}
	}
	return b.memory[p:][:size], nil
}

// matrix is ldmatrix: thread i has the address of row i%8 of matrix i/8, and gets two neighbours in row i/4 of each matrix, or in
// column i/4 if they are turned.
func (w *warp) matrix(in *instr) error {
	var rows [32][]byte
	for l := range 8 * len(in.list) {
		var err error
		if rows[l], err = w.touch(w.regs[in.a][l]+uint64(in.offset), 16, l, false); err != nil {
			return threadError{err, l}
		}
	}
	for j, r := range in.list {
		m := rows[8*j:][:8]
		for l := range w.regs[r] {
			i, k := l/4, l%4*2
			if in.kind == loadMatrix {
				w.regs[r][l] = uint64(binary.LittleEndian.Uint32(m[i][2*k:]))
			} else {
				w.regs[r][l] = uint64(binary.LittleEndian.Uint16(m[k][2*i:])) | uint64(binary.LittleEndian.Uint16(m[k+1][2*i:]))<<16
			}
		}
	}
	return nil
}

// multiply is mma.m16n8k16 of bfloat16: d[16][8] = a[16][16] b[16][8] + c. Of a, a thread has the pairs (g, 2t), (g+8, 2t), (g, 2t+8) and
// (g+8, 2t+8), with g = lane/4 and t = lane%4; of b the pairs down column g from rows 2t and 2t+8 on; of c and d the values (g,
// 2t), (g, 2t+1), (g+8, 2t) and (g+8, 2t+1).
func (w *warp) multiply(in *instr) {
	var a [16][16]float64
	var b [8][16]float64
	d, af, bf, c := in.list[:4], in.list[4:8], in.list[8:10], in.list[10:14]
	low := func(v uint64) float64 { return float64(math.Float32frombits(uint32(v) << 16)) }
	high := func(v uint64) float64 { return float64(math.Float32frombits(uint32(v) &^ 0xffff)) }
	for l := range 32 {
		g, t := l/4, l%4*2
		for i, r := range af {
			v, row, k := w.regs[r][l], g+i%2*8, t+i/2*8
			a[row][k], a[row][k+1] = low(v), high(v)
		}
		for i, r := range bf {
			v := w.regs[r][l]
			b[g][t+i*8], b[g][t+i*8+1] = low(v), high(v)
		}
	}
	for l := range 32 {
		for i := range 4 {
			row, col := &a[l/4+i/2*8], &b[l%4*2+i%2]
			sum := float64(float(w.regs[c[i]][l]))
			for k, v := range row {
				sum += v * col[k]
			}
			w.regs[d[i]][l] = value(float32(sum))
		}
	}
}

// members checks that the threads that an exchange names are those that are there.
func (w *warp) members(slot int) error {
	for m := w.alive; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		if named := uint32(w.regs[slot][l]); named&w.alive != w.alive {
			return threadError{fmt.Errorf("the threads named are %#x, those there %#x", named, w.alive), l}
		}
	}
	return nil
}

func (w *warp) exchange(in *instr) error {
	if err := w.members(in.c); err != nil {
		return err
	}
	from := w.regs[in.a]
	for m := w.alive; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		other := l ^ int(w.regs[in.b][l]&31)
		if w.alive>>other&1 == 0 {
			return threadError{fmt.Errorf("lane %d has left", other), l}
		}
		w.regs[in.list[0]][l] = from[other]
	}
	if len(in.list) > 1 {
		w.setPredicate(in.list[1], w.alive, all)
	}
	return nil
}
