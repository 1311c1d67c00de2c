package main

import (
	"context"
	"fmt"
	"time"
)

// settle is how long a server may clean up before its memory is read.
const settle = 5 * time.Second

// connections measures resident memory per idle connection, each attached to a channel of its own.
func (b *bench) connections(ctx context.Context) error {
	n := 8000
	if b.Quick {
		n = 1000
	}
	c, err := b.start(ctx, 1, tuning{vacatedDelay: 5 * time.Second, idleClose: time.Minute, retention: 2 * time.Minute})
	if err != nil {
		return err
	}
	defer c.stop()
	// A few connections first: what the first of them cause once is no cost of each.
	warm, err := open(ctx, c.client, 50, 1<<10, func(i int) string { return fmt.Sprintf("bench:warm-%d", i) }, nil)
	if err != nil {
		return err
	}
	defer warm.close()
	grown, err := b.grown(ctx, c, func() (func() error, error) {
		f, err := open(ctx, c.client, n, 1<<10, func(i int) string { return fmt.Sprintf("bench:idle-%d", i) }, nil)
		if err != nil {
			return nil, err
		}
		return func() error { defer f.close(); return f.ended() }, nil
	})
	if err != nil {
		return err
	}
	b.atMost(fmt.Sprintf("resident memory per idle connection attached to a channel of its own (%d)", n), float64(grown)/float64(n)/1024, "KB", 16)
	return nil
}

// channels measures resident memory per idle open channel, opened by one publish and attached by nobody: the channel
// itself, and the channel with its last message kept for those who come back.
func (b *bench) channels(ctx context.Context) error {
	if err := b.channelsKeeping(ctx, 0, "resident memory per idle open channel (%d)"); err != nil {
		return err
	}
	return b.channelsKeeping(ctx, 2*time.Minute, "the same, each with one message in its history (%d)")
}

func (b *bench) channelsKeeping(ctx context.Context, retention time.Duration, metric string) error {
	const publishers, window = 8, 64
	n := 100_000
	if b.Quick {
		n = 20_000
	}
	c, err := b.start(ctx, 1, tuning{vacatedDelay: 5 * time.Second, idleClose: 10 * time.Minute, retention: retention})
	if err != nil {
		return err
	}
	defer c.stop()
	pubs, err := open(ctx, c.client, publishers, 16<<10, func(int) string { return "" }, nil)
	if err != nil {
		return err
	}
	defer pubs.close()
	publish := func(prefix string, n int) error {
		return inParallel(ctx, publishers, func(ctx context.Context, p int) error {
			for i := p; i < n; i += publishers {
				if err := pubs[p].publish(fmt.Sprintf("bench:%s-%d", prefix, i), "x"); err != nil {
					return err
				}
				if err := pubs[p].awaitAcks(ctx, window); err != nil {
					return err
				}
			}
			return pubs[p].awaitAcks(ctx, 0)
		})
	}
	if err := publish("warm", 1000); err != nil {
		return err
	}
	grown, err := b.grown(ctx, c, func() (func() error, error) {
		return pubs.ended, publish("open", n)
	})
	if err != nil {
		return err
	}
	each := float64(grown) / float64(n) / 1024
	if retention > 0 {
		b.note(fmt.Sprintf(metric, n), fmt.Sprintf("%.2f KB", each), "–")
		return nil
	}
	b.atMost(fmt.Sprintf(metric, n), each, "KB", 1)
	return nil
}

// grown is by how many bytes a server's resident memory grew through what fill did. check is called afterwards.
func (b *bench) grown(ctx context.Context, c *cluster, fill func() (check func() error, err error)) (int64, error) {
	if err := sleep(ctx, settle); err != nil {
		return 0, err
	}
	before, err := c.procs[0].memory()
	if err != nil {
		return 0, err
	}
	check, err := fill()
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, settle); err != nil {
		return 0, err
	}
	after, err := c.procs[0].memory()
	if err != nil {
		return 0, err
	}
	b.progress("resident memory went from %d MB to %d MB", before>>20, after>>20)
	return after - before, check()
}
