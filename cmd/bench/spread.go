package main

import (
	"context"
	"fmt"
	"time"
)

// spread publishes on many channels with a subscriber on each of three nodes: most of the deliveries cross a link.
func (b *bench) spread(ctx context.Context) error {
	const channels, rate = 200, 10 // messages per second and channel
	seconds := 10
	if b.Quick {
		seconds = 3
	}
	c, err := b.start(ctx, 3, tuning{vacatedDelay: 5 * time.Second, idleClose: time.Minute})
	if err != nil {
		return err
	}
	defer c.stop()
	idle, idleTook, err := c.during(func() error { return sleep(ctx, 2*time.Second) })
	if err != nil {
		return err
	}

	// Subscriber i listens to channel i/3 on node i mod 3: one connection each, so that no write serves two.
	name := func(i int) string { return fmt.Sprintf("bench:spread-%d", i) }
	received := newCounters(3 * channels)
	subs, err := open(ctx, c.client, 3*channels, 4<<10, func(i int) string { return name(i / 3) }, func(i int, _ []byte) { received.add(i) })
	if err != nil {
		return err
	}
	defer subs.close()
	pubs, err := open(ctx, c.client, 3, 16<<10, func(int) string { return "" }, nil)
	if err != nil {
		return err
	}
	defer pubs.close()
	broken := func() error {
		if err := pubs.ended(); err != nil {
			return err
		}
		return subs.ended()
	}
	rounds := int64(0)
	run := func(n int) error {
		start, step := time.Now(), time.Second/(channels*rate)
		for i := range n * channels {
			time.Sleep(time.Until(start.Add(time.Duration(i) * step)))
			// The publisher of a channel changes its node from round to round: near the owner and far from it.
			ch, round := i%channels, i/channels
			if err := pubs[(ch+round)%3].publish(name(ch), payload); err != nil {
				return err
			}
		}
		rounds += int64(n)
		return received.await(ctx, rounds, broken)
	}
	if err := run(rate); err != nil { // warm
		return err
	}
	used, took, err := c.during(func() error { return run(rate * seconds) })
	if err != nil {
		return err
	}
	deliveries := 3 * channels * rate * seconds
	b.progress("200 × 3 over three nodes: %d deliveries in %v; the idle cluster uses %.1f %% of a CPU", deliveries, took.Round(time.Millisecond), 100*idle.Seconds()/idleTook.Seconds())
	b.atMost(fmt.Sprintf("%d channels × 3 subscribers over three nodes, %d messages/s each: CPU per delivery, all nodes", channels, rate),
		micros(used)/float64(deliveries), "µs", 25)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
