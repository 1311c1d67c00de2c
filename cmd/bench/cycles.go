package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// cycles attaches to fresh channels and detaches again. Each cycle is two durable state events, a channel opened and,
// a second later, closed.
func (b *bench) cycles(ctx context.Context, nodes int, target float64) error {
	connections, total := 128, 20_000
	if b.Quick {
		connections, total = 64, 3_000
	}
	c, err := b.start(ctx, nodes, tuning{vacatedDelay: 50 * time.Millisecond, idleClose: time.Second, retention: 2 * time.Minute})
	if err != nil {
		return err
	}
	defer c.stop()
	conns, err := open(ctx, c.client, connections, 4<<10, func(int) string { return "" }, nil)
	if err != nil {
		return err
	}
	defer conns.close()

	var next atomic.Int64
	run := func(n int) error {
		before, err := c.lastEvent(ctx)
		if err != nil {
			return err
		}
		end := next.Load() + int64(n)
		err = each(ctx, conns, func(ctx context.Context, c *client) error {
			for ctx.Err() == nil {
				i := next.Add(1)
				if i > end {
					return nil
				}
				name := fmt.Sprintf("bench:cycle-%d", i)
				if err := c.attach(ctx, name); err != nil {
					return err
				}
				if err := c.detach(ctx, name); err != nil {
					return err
				}
			}
			return nil
		})
		next.Store(end) // each connection took one number too many
		if err != nil {
			return err
		}
		return c.awaitEvents(ctx, before+2*uint64(n))
	}
	if err := run(total / 10); err != nil { // warm
		return err
	}
	var took time.Duration
	used, _, err := c.during(func() error {
		start := time.Now()
		if err := run(total); err != nil {
			return err
		}
		took = time.Since(start)
		return sleep(ctx, 1500*time.Millisecond) // the channels' closing belongs to the cycle
	})
	if err != nil {
		return err
	}
	b.progress("attach + detach on %d node(s): %.0f cycles/s with %d connections", nodes, float64(total)/took.Seconds(), connections)
	b.atMost(fmt.Sprintf("attach + detach of fresh channels with durable events, %s: CPU per cycle, all nodes", plural(nodes, "node")),
		micros(used)/float64(total), "µs", target)
	return nil
}

// each calls fn for all connections at once and returns the first error.
func each(ctx context.Context, f fleet, fn func(context.Context, *client) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{}, len(f))
	for _, c := range f {
		go func() {
			if err := fn(ctx, c); err != nil {
				cancel(err)
			}
			done <- struct{}{}
		}()
	}
	for range f {
		<-done
	}
	return context.Cause(ctx)
}

func plural(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
