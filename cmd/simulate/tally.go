package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"innkeeper/cmd/sim"
)

// tally says how far a campaign is. Its methods may be called from any goroutine.
type tally struct {
	mu           sync.Mutex
	all          int
	began        time.Time
	over, failed int
	simulated    time.Duration
	sum          sim.Tally
}

func newTally(all int) *tally { return &tally{all: all, began: time.Now()} }

func (t *tally) add(out sim.Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over++
	if len(out.Violations) > 0 {
		t.failed++
	}
	t.simulated += out.Simulated
	t.sum.Add(out.Tally)
}

// String is one line of progress.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	wall := time.Since(t.began)
	return fmt.Sprintf("%d of %d seeds, %d failed, %.1f simulated hours in %.1f min (%.1f seeds and %.2f hours a minute): %v",
		t.over, t.all, t.failed, t.simulated.Hours(), wall.Minutes(), float64(t.over)/wall.Minutes(), t.simulated.Hours()/wall.Minutes(), t.sum)
}

// print writes a line now and then until the function it returns is called.
func (t *tally) print(w io.Writer, every time.Duration) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintln(w, t)
			case <-quit:
				return
			}
		}
	})
	return func() { close(quit); wg.Wait() }
}
