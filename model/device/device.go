// Package device runs networks, and teaches them, on an accelerator: parameters, activations, gradients and what the solver
// keeps stay in its memory, and only images go in and answers come out.
//
// A Driver is all that it takes of an accelerator. Package cuda (tag gpu) has one for NVIDIA's; tests have one that
// interprets the same PTX on the CPU, so the order of the launches, their arguments and the kernels' arithmetic are checked
// without any hardware.
package device

import (
	"errors"
	"math"
	"sync"
	"unsafe"
)

// Ptr is an address in a device's memory. Arithmetic on it is in bytes.
type Ptr uint64

// Stream and Event are a driver's, by number. What is put on a stream is done in that order; streams do not wait for each
// other, but for events.
type (
	Stream int
	Event  int
)

// compute is the stream of parameters and of everything that is computed, in one order; copies of images have others.
const compute Stream = 0

// Driver is one device. Its methods may be called from any goroutine at a time. After an error of one, others may fail too: a
// device does not recover from a kernel that went wrong.
type Driver interface {
	// Name is the device's, as "NVIDIA H100 80GB HBM3".
	Name() string
	// Memory is how many bytes the device has, and how many of them are free.
	Memory() (free, total int64, err error)
	// Alloc gives memory of at least so many bytes, aligned to 256, which holds anything.
	Alloc(bytes int) (Ptr, error)
	Free(Ptr) error

	// NewStream makes a stream beside stream 0, which is there from the beginning.
	NewStream() (Stream, error)
	NewEvent() (Event, error)
	// CopyIn copies src to the device behind what the stream has to do. src may be changed once it returns.
	CopyIn(dst Ptr, src []byte, s Stream) error
	// CopyOut copies from the device behind what the stream has to do, and returns when dst is there.
	CopyOut(dst []byte, src Ptr, s Stream) error
	// Launch starts a kernel behind what the stream has to do, and does not wait for it.
	Launch(l Launch, s Stream) error
	// Record makes the event the moment at which all that s has to do now is done. Wait keeps what is put on s from now on
	// back until then, and Sync the caller.
	Record(e Event, s Stream) error
	Wait(s Stream, e Event) error
	Sync(e Event) error

	// Close gives all of the device's memory back.
	Close() error
}

// Launch is a kernel and how to start it.
type Launch struct {
	Kernel string
	Grid   [3]int // blocks
	Block  [3]int // threads of a block
	// Args are the kernel's, of 8 bytes each: addresses, whole numbers, and what F64 gives.
	Args []uint64
}

// F64 makes an argument of a number with a fraction.
func F64(v float64) uint64 { return math.Float64bits(v) }

var opened = struct {
	sync.Mutex
	open func(number int) (Driver, error)
}{}

// Register says how accelerators are opened, by number from 0. Package cuda does when it is imported.
func Register(open func(number int) (Driver, error)) {
	opened.Lock()
	defer opened.Unlock()
	opened.open = open
}

// Open opens the accelerator of a number, from 0.
func Open(number int) (Driver, error) {
	opened.Lock()
	open := opened.open
	opened.Unlock()
	if open == nil {
		return nil, errors.New("device: this program computes on the processor alone: logobeam-gpu, which make gpu builds, knows accelerators")
	}
	return open(number)
}

// Bytes is the memory of values, which it shares.
func Bytes[T float32 | float64 | int64](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(values[0])))
}
