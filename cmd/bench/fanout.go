package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// fanoutBuffer is the read buffer of a subscriber: large enough that reading is not what limits.
	fanoutBuffer = 16 << 10
	// messageData is what each message carries.
	messageData = 128
)

var payload = strings.Repeat("x", messageData)

// fanout publishes on one channel with many subscribers, as fast as it goes and slowly, and compares the CPU of each
// delivery with the floor.
func (b *bench) fanout(ctx context.Context) error {
	subscribers, fast, slow := 1000, 2000, 500
	if b.Quick {
		subscribers, fast, slow = 200, 4000, 200
	}
	c, err := b.start(ctx, 1, tuning{vacatedDelay: 5 * time.Second, idleClose: time.Minute, retention: 2 * time.Minute})
	if err != nil {
		return err
	}
	defer c.stop()

	received := newCounters(subscribers)
	var sample atomic.Pointer[[]byte]
	subs, err := open(ctx, c.client, subscribers, fanoutBuffer, func(int) string { return "bench:fanout" }, func(i int, p []byte) {
		if i == 0 && sample.Load() == nil {
			sample.Store(new(append([]byte(nil), p...)))
		}
		received.add(i)
	})
	if err != nil {
		return err
	}
	defer subs.close()
	pub, err := connect(ctx, c.client[0], fanoutBuffer, nil)
	if err != nil {
		return err
	}
	defer pub.close()
	f := &fanoutRun{pub: pub, subs: subs, received: received}

	if err := f.closedLoop(ctx, 100, b.Window); err != nil { // warm
		return err
	}
	if sample.Load() == nil {
		return errors.New("no message was seen")
	}
	frame := *sample.Load()

	// Server and floor take turns, and the median of the pairs counts: the machine's speed drifts, the ratio does not.
	fastPair, err := median(rounds, func() (cost, floor time.Duration, err error) {
		used, took, err := c.during(func() error { return f.closedLoop(ctx, fast/rounds, b.Window) })
		if err != nil {
			return 0, 0, err
		}
		n := subscribers * (fast / rounds)
		b.progress("fan-out 1 → %d: %d deliveries in %v, %.0f/s", subscribers, n, took.Round(time.Millisecond), float64(n)/took.Seconds())
		floor, err = floorCost(ctx, b.Dir, frame, subscribers, fast/rounds, 0)
		return used / time.Duration(n), floor, err
	})
	if err != nil {
		return err
	}
	slowPair, err := median(rounds, func() (cost, floor time.Duration, err error) {
		used, _, err := c.during(func() error { return f.paced(ctx, slow/rounds, 20*time.Millisecond) })
		if err != nil {
			return 0, 0, err
		}
		floor, err = floorCost(ctx, b.Dir, frame, subscribers, slow/rounds, 20*time.Millisecond)
		return used / time.Duration(subscribers*(slow/rounds)), floor, err
	})
	if err != nil {
		return err
	}
	b.ratio(fmt.Sprintf("fan-out 1 → %d, as fast as it goes (window %d): CPU per delivery against the floor", subscribers, b.Window), fastPair.cost, fastPair.floor, 0.5)
	b.ratio(fmt.Sprintf("fan-out 1 → %d, 50 messages/s: CPU per delivery against the floor", subscribers), slowPair.cost, slowPair.floor, 1.2)
	return nil
}

// rounds is how often server and floor are measured in turn.
const rounds = 5

// pair is what a delivery cost the server and the floor, one right after the other.
type pair struct{ cost, floor time.Duration }

// median measures n pairs and returns the one whose ratio is in the middle.
func median(n int, measure func() (cost, floor time.Duration, err error)) (pair, error) {
	var pairs []pair
	for range n {
		cost, floor, err := measure()
		if err != nil {
			return pair{}, err
		}
		pairs = append(pairs, pair{cost, floor})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Compare(float64(a.cost)/float64(a.floor), float64(b.cost)/float64(b.floor))
	})
	return pairs[len(pairs)/2], nil
}

// fanoutRun is one publisher and its subscribers.
type fanoutRun struct {
	pub      *client
	subs     fleet
	received counters
	sent     int64
}

// closedLoop publishes n messages, never more than window ahead of the slowest subscriber: as fast as it goes without
// overrunning anybody.
func (f *fanoutRun) closedLoop(ctx context.Context, n, window int) error {
	for range n {
		if err := f.received.await(ctx, f.sent-int64(window)+1, f.broken); err != nil {
			return err
		}
		if err := f.publish(); err != nil {
			return err
		}
	}
	return f.received.await(ctx, f.sent, f.broken)
}

// paced publishes n messages, one every interval.
func (f *fanoutRun) paced(ctx context.Context, n int, interval time.Duration) error {
	start := time.Now()
	for i := range n {
		time.Sleep(time.Until(start.Add(time.Duration(i) * interval)))
		if err := f.publish(); err != nil {
			return err
		}
	}
	return f.received.await(ctx, f.sent, f.broken)
}

func (f *fanoutRun) publish() error {
	f.sent++
	return f.pub.publish("bench:fanout", payload)
}

func (f *fanoutRun) broken() error {
	if err := f.pub.ended(); err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	return f.subs.ended()
}
