package ptx

import (
	"fmt"
	"slices"
	"sync"
)

// Memory is the memory of a device. Pointers into it are numbers, of no meaning to Go; 0 is none. Several goroutines may use it at the
// same time, but for what they write themselves.
type Memory struct {
	mu      sync.RWMutex
	regions []region // by address
	next    uint64
}

// region is an allocation.
type region struct {
	from uint64
	data []byte
}

// distance is what lies between allocations at least, so that an access beyond the end of one does not meet another.
const distance = 1 << 12

// NewMemory is a device with nothing allocated.
func NewMemory() *Memory { return &Memory{next: 1 << 32} }

// Alloc gives n bytes that hold 0xff, aligned to 256. It panics if n is negative.
func (m *Memory) Alloc(n int) uint64 {
	r := region{data: make([]byte, n)}
	for i := range r.data {
		r.data[i] = 0xff
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.from = m.next
	m.next = (m.next + uint64(n) + 2*distance) &^ (distance - 1)
	m.regions = append(m.regions, r)
	return r.from
}

// Free gives back what Alloc gave.
func (m *Memory) Free(p uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, found := m.find(p)
	if !found || m.regions[i].from != p {
		return fmt.Errorf("ptx: %#x is no allocation", p)
	}
	m.regions = slices.Delete(m.regions, i, i+1)
	return nil
}

// Bytes are n bytes of an allocation from p on, to be read and written. Values are little-endian.
func (m *Memory) Bytes(p uint64, n int) ([]byte, error) {
	if r, ok := m.at(p); ok && n >= 0 && n <= len(r.data)-int(p-r.from) {
		return r.data[p-r.from:][:n:n], nil
	}
	return nil, fmt.Errorf("ptx: %d bytes at %#x are not all in one allocation", n, p)
}

// find is the region that holds address p, or ends there.
func (m *Memory) find(p uint64) (int, bool) {
	i, found := slices.BinarySearchFunc(m.regions, p, func(r region, p uint64) int {
		switch {
		case r.from > p:
			return 1
		case r.from+uint64(len(r.data)) < p:
			return -1
		}
		return 0
	})
	return i, found
}

func (m *Memory) at(p uint64) (region, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if i, ok := m.find(p); ok {
		return m.regions[i], true
	}
	return region{}, false
}
