package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// counters counts what each connection received. Each has a cache line of its own: they are written by as many
// goroutines.
type counters []struct {
	n atomic.Int64
	_ [56]byte
}

func newCounters(n int) counters { return make(counters, n) }

func (c counters) add(i int) { c[i].n.Add(1) }

// least is what the slowest has.
func (c counters) least() int64 {
	least := c[0].n.Load()
	for i := range c {
		least = min(least, c[i].n.Load())
	}
	return least
}

func (c counters) total() (sum int64) {
	for i := range c {
		sum += c[i].n.Load()
	}
	return sum
}

// stallAfter is how long nothing at all may arrive before a measurement is given up.
const stallAfter = 20 * time.Second

// await waits until every connection has received n. broken, if not nil, is asked now and then whether it is in vain.
func (c counters) await(ctx context.Context, n int64, broken func() error) error {
	moved, seen, looked := time.Now(), int64(-1), time.Time{}
	for c.least() < n {
		// Looking after everybody costs more than waiting for the slowest, so it is done less often.
		if now := time.Now(); now.Sub(looked) > 50*time.Millisecond {
			looked = now
			if sum := c.total(); sum != seen {
				moved, seen = now, sum
			}
			if now.Sub(moved) > stallAfter {
				return fmt.Errorf("nothing arrived for %v; the slowest connection has %d of %d", stallAfter, c.least(), n)
			}
			if broken != nil {
				if err := broken(); err != nil {
					return err
				}
			}
		}
		select {
		case <-time.After(500 * time.Microsecond):
		case <-ctx.Done():
			return fmt.Errorf("the slowest connection has %d of %d: %w", c.least(), n, ctx.Err())
		}
	}
	return nil
}
