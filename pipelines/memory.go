package pipelines

import (
	"fmt"
	"runtime/debug"
	"runtime/metrics"

	"github.com/logobeam/logobeam/transforms"
)

// besides is what a run takes beside its model and its images: Beam, the rows of the chunks under way, their parts, the
// answers that are remembered, and what the collector has not yet collected.
const besides = 192 << 20

// portions is how a process's memory is dealt out among those that take much: bytes.
type portions struct {
	fetch  int64 // images that have come and wait for a worker
	decode int64 // pictures
}

// divide deals memory out, once the model is loaded. It is an error if the largest image that limits allow has no room.
func divide(memory int64, limits transforms.Limits) (portions, error) {
	taken := inUse() + besides
	least := limits.Bytes + limits.Memory
	rest := memory - taken
	if rest < least {
		return portions{}, fmt.Errorf("--memory %d MB is too little: the model and the program take %d MB and the largest image %d MB; give %d MB, or lower --max-memory and --max-bytes",
			memory>>20, taken>>20, least>>20, (taken+least)>>20+1)
	}
	p := portions{fetch: max(rest/4, limits.Bytes)}
	p.decode = max(rest-p.fetch, limits.Memory)
	if p.fetch+p.decode > rest {
		p.fetch = rest - p.decode
	}
	return p, nil
}

// inUse is the memory that the process has of the system now, its binary left out.
func inUse() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// bound makes the collector work harder before the process has more than memory, until release is called. What is thrown
// away in a run is little beside the work, so it is also collected when it has come to two fifths of what is kept, and not to as much.
func bound(memory int64) (release func()) {
	limit, percent := debug.SetMemoryLimit(memory-memory/16), debug.SetGCPercent(40)
	return func() { debug.SetMemoryLimit(limit); debug.SetGCPercent(percent) }
}
