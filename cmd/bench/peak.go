package main

import (
	"sync"
	"time"
)

// peak is a loop of one instruction that does as many multiplications and additions a second as a core can.
type peak struct {
	precision   string
	instruction string
	operations  int // multiplications with their additions, a round
	has         bool
	loop        func(rounds int)
}

// rate gives the billions of operations a second, a multiplication and an addition being two, of so many threads together.
func (p peak) rate(threads int, seconds float64) float64 {
	const rounds = 1 << 16 // under a millisecond
	p.loop(rounds)
	var all sync.WaitGroup
	rates := make([]float64, threads)
	for i := range rates {
		all.Go(func() {
			start, done := time.Now(), 0
			for {
				p.loop(rounds)
				done += rounds
				if t := time.Since(start).Seconds(); t >= seconds {
					rates[i] = 2 * float64(p.operations) * float64(done) / t / 1e9
					return
				}
			}
		})
	}
	all.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}
