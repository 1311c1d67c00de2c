package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"innkeeper/cmd/sim"
)

// shrinker looks for a smaller case that fails.
type shrinker struct {
	play  func([]sim.Case) []sim.Outcome // side by side
	tries int                            // how often a case may pass before it counts as passing
	width int                            // how many cases to play side by side
	end   time.Time                      // no new attempt after this
	log   io.Writer
}

// shrink takes away faults, time at the end, and clients, as long as the case still fails. It returns nil when not even
// the case itself fails again.
func (s shrinker) shrink(out sim.Outcome) *sim.Outcome {
	best := s.first([]sim.Case{out.Case})
	if best == nil {
		return nil
	}
	best = s.without(best, best.Faults, func(c sim.Case, gone []int) sim.Case {
		c.Without = slices.Sorted(slices.Values(append(slices.Clone(c.Without), gone...)))
		return c
	})
	best = s.shorter(best)
	var clients []int
	for i := range best.Clients {
		if !slices.Contains(best.Case.Idle, i) {
			clients = append(clients, i)
		}
	}
	return s.without(best, clients, func(c sim.Case, gone []int) sim.Case {
		c.Idle = slices.Sorted(slices.Values(append(slices.Clone(c.Idle), gone...)))
		return c
	})
}

// without takes items away from a case: in ever smaller portions, as many as it can do without.
func (s shrinker) without(best *sim.Outcome, items []int, take func(sim.Case, []int) sim.Case) *sim.Outcome {
	for portion := (len(items) + 1) / 2; portion >= 1 && len(items) > 0 && time.Now().Before(s.end); {
		var cases []sim.Case
		portions := slices.Collect(slices.Chunk(items, portion))
		for _, p := range portions {
			cases = append(cases, take(best.Case, p))
		}
		found := s.first(cases)
		if found == nil {
			if portion == 1 {
				break
			}
			portion = (portion + 1) / 2
			continue
		}
		for i, c := range cases {
			if slices.Equal(c.Without, found.Case.Without) && slices.Equal(c.Idle, found.Case.Idle) {
				items = slices.Concat(append(slices.Clone(portions[:i]), portions[i+1:]...)...)
			}
		}
		best = found
		portion = min(portion, max(1, (len(items)+1)/2))
		fmt.Fprintf(s.log, "fails with %d faults and %d clients doing nothing\n", len(best.Faults), len(best.Case.Idle))
	}
	return best
}

// shorter cuts time off the end, in which nothing happens any more.
func (s shrinker) shorter(best *sim.Outcome) *sim.Outcome {
	for _, share := range []float64{0.25, 0.5, 0.75} {
		c := best.Case
		if c.Minutes *= share; c.Minutes < 2 {
			continue
		}
		if found := s.first([]sim.Case{c}); found != nil {
			fmt.Fprintf(s.log, "fails within %v minutes\n", c.Minutes)
			return found
		}
	}
	return best
}

// first plays cases, several times each, and returns the first failure it finds, nil when there is none or no time.
func (s shrinker) first(cases []sim.Case) *sim.Outcome {
	var all []sim.Case
	for range s.tries {
		all = append(all, cases...)
	}
	for part := range slices.Chunk(all, s.width) {
		if !time.Now().Before(s.end) {
			return nil
		}
		for _, out := range s.play(part) {
			if len(out.Violations) > 0 {
				return &out
			}
		}
	}
	return nil
}
