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
	c, err := b.start(ctx, 3, tuning{vacatedDelay: 5 * time.Second, idleClose: time.Minute, retention: 2 * time.Minute})
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
	run := &spreadRun{channels: channels, pubs: pubs, received: received, name: name, broken: func() error {
		if err := pubs.ended(); err != nil {
			return err
		}
		return subs.ended()
	}}
	if err := run.paced(ctx, rate, rate); err != nil { // warm
		return err
	}
	used, took, err := c.during(func() error { return run.paced(ctx, rate*seconds, rate) })
	if err != nil {
		return err
	}
	deliveries := 3 * channels * rate * seconds
	b.progress("200 × 3 over three nodes: %d deliveries in %v; the idle cluster uses %.1f %% of a CPU", deliveries, took.Round(time.Millisecond), 100*idle.Seconds()/idleTook.Seconds())
	b.atMost(fmt.Sprintf("%d channels × 3 subscribers over three nodes, %d messages/s each: CPU per delivery, all nodes", channels, rate),
		micros(used)/float64(deliveries), "µs", 25)

	rounds := 20 * rate * seconds
	used, took, err = c.during(func() error { return run.closedLoop(ctx, rounds, spreadWindow) })
	if err != nil {
		return err
	}
	deliveries = 3 * channels * rounds
	b.progress("200 × 3 over three nodes: %d deliveries in %v, %.0f/s", deliveries, took.Round(time.Millisecond), float64(deliveries)/took.Seconds())
	b.atMost(fmt.Sprintf("%d channels × 3 subscribers over three nodes, as fast as it goes (window %d each): CPU per delivery, all nodes", channels, spreadWindow),
		micros(used)/float64(deliveries), "µs", 25)
	return nil
}

// spreadWindow is how many messages of a channel may be on their way when it goes as fast as it can.
const spreadWindow = 4

// spreadRun is a publisher on each node and three subscribers of each channel; a round is a message on each channel.
type spreadRun struct {
	channels int
	pubs     fleet
	received counters // of channel c: 3c, 3c+1, 3c+2
	name     func(ch int) string
	broken   func() error
	rounds   int
}

// publish sends a message on a channel. The publisher changes from round to round: near the owner and far from it.
func (s *spreadRun) publish(ch int) error {
	return s.pubs[(ch+s.rounds)%len(s.pubs)].publish(s.name(ch), payload)
}

// paced publishes evenly: so many rounds, rate of them a second.
func (s *spreadRun) paced(ctx context.Context, rounds, rate int) error {
	start, step := time.Now(), time.Second/time.Duration(s.channels*rate)
	for i := range rounds * s.channels {
		time.Sleep(time.Until(start.Add(time.Duration(i) * step)))
		ch := i % s.channels
		if err := s.publish(ch); err != nil {
			return err
		}
		if ch == s.channels-1 {
			s.rounds++
		}
	}
	return s.received.await(ctx, int64(s.rounds), s.broken)
}

// closedLoop publishes as fast as the slowest subscriber of each channel allows.
func (s *spreadRun) closedLoop(ctx context.Context, rounds, window int) error {
	for range rounds {
		for ch := range s.channels {
			if err := s.received[3*ch:3*ch+3].await(ctx, int64(s.rounds-window+1), s.broken); err != nil {
				return err
			}
			if err := s.publish(ch); err != nil {
				return err
			}
		}
		s.rounds++
	}
	return s.received.await(ctx, int64(s.rounds), s.broken)
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
