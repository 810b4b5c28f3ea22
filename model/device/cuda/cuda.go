//go:build gpu

// Package cuda drives NVIDIA's accelerators through CUDA's driver interface. Importing it ends the program where no driver
// is: libcuda.so.1 is looked for when the program is loaded, and gorgonia.org/cu exits if that finds no device. So it is
// there with the tag gpu alone, in a binary of its own.
package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/logobeam/logobeam/model/device"
)

// Count is the number of devices.
func Count() (int, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return 0, fmt.Errorf("cuda: counting devices: %w", err)
	}
	return n, nil
}

// Driver is one device with its kernels loaded. It works in the device's primary context, which whoever else uses the device
// in this process shares.
type Driver struct {
	dev  cu.Device
	ctx  cu.CUContext
	name string
	mod  cu.Module

	mu        sync.Mutex // of what follows
	functions map[string]cu.Function
	memory    map[device.Ptr]bool
	streams   []cu.Stream
	events    []cu.Event
}

var _ device.Driver = (*Driver)(nil)

func init() {
	device.Register(func(number int) (device.Driver, error) { return Open(number) })
}

// Open makes device number n ready, counted from 0, and loads the kernels, which the driver compiles for it.
func Open(n int) (d *Driver, err error) {
	fail := func(what string, err error) (*Driver, error) {
		return nil, fmt.Errorf("cuda: device %d: %s: %w", n, what, err)
	}
	d = &Driver{functions: map[string]cu.Function{}, memory: map[device.Ptr]bool{}}
	if d.dev, err = cu.GetDevice(n); err != nil {
		return fail("it is not there", err)
	}
	if d.name, err = d.dev.Name(); err != nil {
		return fail("its name", err)
	}
	if d.ctx, err = d.dev.RetainPrimaryCtx(); err != nil {
		return fail("its context", err)
	}
	if _, err := d.NewStream(); err != nil {
		d.dev.ReleasePrimaryCtx()
		return fail("its first stream", err)
	}
	if err := d.do(func() error { d.mod, err = cu.LoadData(device.PTX); return err }); err != nil {
		d.dev.ReleasePrimaryCtx()
		return fail("loading the kernels: is it older than they are for (compute capability 8.0), or the driver than CUDA 12?", err)
	}
	return d, nil
}

// do calls f with the device's context current. That is a thing of the thread, so the goroutine stays on it. The driver may be
// called from many threads at a time.
func (d *Driver) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(d.ctx); err != nil {
		return err
	}
	return f()
}

func (d *Driver) Name() string { return d.name }

func (d *Driver) Memory() (free, total int64, err error) {
	err = d.do(func() error { free, total, err = cu.MemInfo(); return err })
	return free, total, err
}

func (d *Driver) Alloc(bytes int) (p device.Ptr, err error) {
	err = d.do(func() error {
		at, err := cu.MemAlloc(int64(max(bytes, 1)))
		p = device.Ptr(at)
		return err
	})
	if err != nil {
		free, total, _ := d.Memory()
		return 0, fmt.Errorf("cuda: %s: %d bytes of memory, with %d of %d free: %w", d.name, bytes, free, total, err)
	}
	d.mu.Lock()
	d.memory[p] = true
	d.mu.Unlock()
	return p, nil
}

func (d *Driver) Free(p device.Ptr) error {
	d.mu.Lock()
	delete(d.memory, p)
	d.mu.Unlock()
	return d.do(func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (d *Driver) NewStream() (s device.Stream, err error) {
	err = d.do(func() error {
		made, err := cu.MakeStream(cu.NonBlocking)
		if err == nil {
			d.mu.Lock()
			s, d.streams = device.Stream(len(d.streams)), append(d.streams, made)
			d.mu.Unlock()
		}
		return err
	})
	return s, err
}

func (d *Driver) NewEvent() (e device.Event, err error) {
	err = d.do(func() error {
		made, err := cu.MakeEvent(cu.DisableTiming | cu.BlockingSyncEvent)
		if err == nil {
			d.mu.Lock()
			e, d.events = device.Event(len(d.events)), append(d.events, made)
			d.mu.Unlock()
		}
		return err
	})
	return e, err
}

func (d *Driver) stream(s device.Stream) cu.Stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.streams[s]
}

func (d *Driver) event(e device.Event) cu.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events[e]
}

// CopyIn returns when the driver has src in pinned memory of its own, from where it goes on by itself: cu cannot pin ours.
func (d *Driver) CopyIn(dst device.Ptr, src []byte, s device.Stream) error {
	if len(src) == 0 {
		return nil
	}
	return d.do(func() error {
		return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&src[0]), int64(len(src)), d.stream(s))
	})
}

func (d *Driver) CopyOut(dst []byte, src device.Ptr, s device.Stream) error {
	if len(dst) == 0 {
		return nil
	}
	return d.do(func() error {
		if err := cu.MemcpyDtoHAsync(unsafe.Pointer(&dst[0]), cu.DevicePtr(src), int64(len(dst)), d.stream(s)); err != nil {
			return err
		}
		return d.stream(s).Synchronize()
	})
}

// function finds a kernel by its name.
func (d *Driver) function(name string) (cu.Function, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.functions[name]
	if !ok {
		var err error
		if f, err = d.mod.Function(name); err != nil {
			return f, fmt.Errorf("cuda: there is no kernel %s: %w", name, err)
		}
		d.functions[name] = f
	}
	return f, nil
}

func (d *Driver) Launch(l device.Launch, s device.Stream) error {
	err := d.do(func() error {
		f, err := d.function(l.Kernel)
		if err != nil {
			return err
		}
		args := make([]unsafe.Pointer, len(l.Args)) // cu reads 8 bytes at each
		for i := range l.Args {
			args[i] = unsafe.Pointer(&l.Args[i])
		}
		return f.Launch(l.Grid[0], l.Grid[1], l.Grid[2], l.Block[0], l.Block[1], l.Block[2], 0, d.stream(s), args)
	})
	if err != nil {
		return fmt.Errorf("cuda: %s: launching %s: %w", d.name, l.Kernel, err)
	}
	return nil
}

func (d *Driver) Record(e device.Event, s device.Stream) error {
	return d.do(func() error { return d.event(e).Record(d.stream(s)) })
}

func (d *Driver) Wait(s device.Stream, e device.Event) error {
	return d.do(func() error { return d.stream(s).Wait(d.event(e), 0) })
}

func (d *Driver) Sync(e device.Event) error {
	return d.do(func() error { return d.event(e).Synchronize() })
}

func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.do(func() error {
		var errs []error
		for i := range d.streams {
			errs = append(errs, d.streams[i].Synchronize(), d.streams[i].Destroy())
		}
		for i := range d.events {
			errs = append(errs, cu.DestroyEvent(&d.events[i]))
		}
		for p := range d.memory {
			errs = append(errs, cu.MemFree(cu.DevicePtr(p)))
		}
		return errors.Join(append(errs, d.mod.Unload())...)
	})
	d.streams, d.events, d.memory = nil, nil, nil
	return errors.Join(err, d.dev.ReleasePrimaryCtx())
}
