package transport

import (
	"context"
	"fmt"
	"time"
)

// drainStep is how often a spread goodbye goes on, and how often Drain looks whether the last client has gone.
const drainStep = 20 * time.Millisecond

// goodbyeEvery is the longest time between two goodbyes: a few clients need not be spread over seconds.
const goodbyeEvery = 10 * time.Millisecond

// Refuse makes clients that come from now on go elsewhere. Those that are here stay.
func (g *Gateway) Refuse() { g.draining.Store(true) }

// Drain sends all clients away with an invitation to come back, evenly over the time of spread or less if they are few, and
// refuses new ones the same way. It returns when the last one has gone, or with the context's error.
func (g *Gateway) Drain(ctx context.Context, spread time.Duration) error {
	g.Refuse()
	var all []*conn
	g.sweeper.each(func(c *conn) { all = append(all, c) })
	spread = min(spread, time.Duration(len(all))*goodbyeEvery)
	t := time.NewTicker(drainStep)
	defer t.Stop()
	began, sent := time.Now(), 0
	for {
		due := len(all)
		if past := time.Since(began); past < spread {
			due = int(float64(len(all)) * float64(past) / float64(spread))
		}
		for ; sent < due; sent++ {
			all[sent].dismiss(endDrained, 1012, errDraining)
			all[sent] = nil
		}
		if sent == len(all) {
			// Whoever was about to be taken in when it began.
			g.sweeper.each(func(c *conn) { c.dismiss(endDrained, 1012, errDraining) })
		}
		if g.sweeper.count() == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("transport: drain: %w", ctx.Err())
		case <-t.C:
		}
	}
}
