package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// moveChannels is how many channels are published to, and how many others are attached to again and again: enough for
	// nearly all partitions to have one of each.
	moveChannels = 256
	// moveEvery is how often each of them is. They take turns, so that none waits for the others.
	moveEvery = 100 * time.Millisecond
)

// moves stops one node of three and starts it again, first one that does not lead, then the leader, and measures what
// clients on the other two notice: how long at most each channel's publishes and attaches took.
func (b *bench) moves(ctx context.Context) error {
	c, err := b.start(ctx, 3, tuning{vacatedDelay: 5 * time.Second, idleClose: time.Minute, retention: 2 * time.Minute})
	if err != nil {
		return err
	}
	defer c.stop()
	for _, role := range []string{"a follower", "the leader"} {
		if err := b.moveRound(ctx, c, role); err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
	}
	return nil
}

func (b *bench) moveRound(ctx context.Context, c *cluster, role string) error {
	if _, err := c.awaitBalance(ctx); err != nil {
		return err
	}
	leader, err := c.leads(ctx)
	if err != nil {
		return err
	}
	victim := leader
	if role == "a follower" {
		victim = (leader + 1) % len(c.procs)
	}
	w, err := watchMoves(ctx, slices.Delete(slices.Clone(c.client), victim, victim+1))
	if err != nil {
		return err
	}
	defer w.end()

	w.phase()
	if err := sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	quiet := w.phase()
	began := time.Now()
	c.procs[victim].stop()
	stopped := time.Since(began)
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	left := w.phase()
	began = time.Now()
	if err := c.restart(ctx, victim); err != nil {
		return err
	}
	ready := time.Since(began)
	if _, err := c.awaitBalance(ctx); err != nil {
		return err
	}
	balanced := time.Since(began)
	joined := w.phase()
	if err := w.failed(); err != nil {
		return err
	}
	b.progress("%s: stopped after %v, ready again after %v, has its share after %v", role,
		stopped.Round(time.Millisecond), ready.Round(time.Millisecond), balanced.Round(time.Millisecond))
	b.progress("  no moves: publishes %v; attaches %v", quiet.publishes, quiet.attaches)
	b.progress("  it leaves: publishes %v; attaches %v", left.publishes, left.attaches)
	b.progress("  it joins: publishes %v; attaches %v", joined.publishes, joined.attaches)
	const target = 250
	for _, p := range []struct {
		what string
		of   pauses
	}{{"leaves", left}, {"joins", joined}} {
		b.atMost(fmt.Sprintf("%s %s: longest wait of a publish, p99 of channels", role, p.what), millis(p.of.publishes.p99), "ms", target)
		b.atMost(fmt.Sprintf("%s %s: longest wait of an attach, p99 of channels", role, p.what), millis(p.of.attaches.p99), "ms", target)
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// moveWatch is the load: a connection per channel that publishes to it, and one per channel that attaches and detaches.
type moveWatch struct {
	conns  fleet
	cancel context.CancelFunc
	run    sync.WaitGroup

	publishes, attaches []atomic.Int64 // by channel: the longest wait of the phase, in nanoseconds
	err                 atomic.Pointer[error]
}

func watchMoves(ctx context.Context, addrs []string) (*moveWatch, error) {
	conns, err := open(ctx, addrs, 2*moveChannels, 4<<10, func(int) string { return "" }, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &moveWatch{conns: conns, cancel: cancel, publishes: make([]atomic.Int64, moveChannels), attaches: make([]atomic.Int64, moveChannels)}
	for i := range moveChannels {
		turn := time.Duration(i) * moveEvery / moveChannels
		w.loop(ctx, turn, &w.publishes[i], func() error {
			if err := conns[i].publish(fmt.Sprintf("bench:moved-%d", i), "x"); err != nil {
				return err
			}
			return conns[i].awaitAcks(ctx, 0)
		}, nil)
		attacher, name := conns[moveChannels+i], fmt.Sprintf("bench:attached-%d", i)
		w.loop(ctx, turn, &w.attaches[i], func() error { return attacher.attach(ctx, name) }, func() error { return attacher.detach(ctx, name) })
	}
	return w, nil
}

// loop does something every so often, beginning at its turn, until ctx ends, and keeps the longest time it took; after
// each, undo.
func (w *moveWatch) loop(ctx context.Context, turn time.Duration, longest *atomic.Int64, do, undo func() error) {
	w.run.Go(func() {
		if sleep(ctx, turn) != nil {
			return
		}
		tick := time.NewTicker(moveEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			began := time.Now()
			err := do()
			took := int64(time.Since(began))
			if err == nil && undo != nil {
				err = undo()
			}
			if err != nil {
				if ctx.Err() == nil {
					w.err.CompareAndSwap(nil, &err)
				}
				return
			}
			for was := longest.Load(); took > was && !longest.CompareAndSwap(was, took); was = longest.Load() {
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
}

// pauses are the longest waits of a phase.
type pauses struct{ publishes, attaches distribution }

// phase ends a phase, begins the next, and says how it was.
func (w *moveWatch) phase() pauses { return pauses{take(w.publishes), take(w.attaches)} }

func (w *moveWatch) failed() error {
	if err := w.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *moveWatch) end() {
	w.cancel()
	w.run.Wait()
	w.conns.close()
}

// distribution is that of some durations.
type distribution struct{ p50, p90, p99, max time.Duration }

func (d distribution) String() string {
	r := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	return fmt.Sprintf("p50 %v, p90 %v, p99 %v, longest %v", r(d.p50), r(d.p90), r(d.p99), r(d.max))
}

// take reads and resets.
func take(longest []atomic.Int64) distribution {
	all := make([]time.Duration, len(longest))
	for i := range longest {
		all[i] = time.Duration(longest[i].Swap(0))
	}
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[min(int(share*float64(len(all))), len(all)-1)] }
	return distribution{at(0.5), at(0.9), at(0.99), all[len(all)-1]}
}

// restart starts a node again whose process has ended, and waits until it is ready.
func (c *cluster) restart(ctx context.Context, i int) error {
	p, err := startProcess(c.procs[i].log, c.procs[i].cmd.Path, c.procs[i].cmd.Args[1:]...)
	if err != nil {
		return err
	}
	c.procs[i] = p
	return c.awaitReady(ctx)
}

// clusterStatus is a part of what the admin API says.
type clusterStatus struct {
	Leader     string
	Members    []memberStatus
	Partitions []struct{ Owner string }
}

type memberStatus struct {
	Node  string
	State string
	Admin string `json:"admin_addr"`
	Owned int    `json:"partitions_owned"`
}

func (c *cluster) status(ctx context.Context, i int) (s clusterStatus, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.admin[i]+"/cluster", nil)
	if err != nil {
		return s, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	return s, json.NewDecoder(res.Body).Decode(&s)
}

// leads is the node that leads.
func (c *cluster) leads(ctx context.Context) (int, error) {
	s, err := c.status(ctx, 0)
	if err != nil {
		return 0, err
	}
	for _, m := range s.Members {
		if m.Node == s.Leader {
			if i := slices.Index(c.admin, m.Admin); i >= 0 {
				return i, nil
			}
		}
	}
	return 0, errors.New("no node leads")
}

// awaitBalance waits until every node owns its share of the partitions, and says how many that are at least.
func (c *cluster) awaitBalance(ctx context.Context) (share int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		s, err := c.status(ctx, 0)
		if err != nil {
			return 0, err
		}
		share = len(s.Partitions) / len(c.procs)
		low := slices.ContainsFunc(s.Members, func(m memberStatus) bool { return m.State != "alive" || m.Owned < share })
		if !low && len(s.Members) == len(c.procs) && share > 0 {
			return share, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("the partitions are not shared out: %w", ctx.Err())
		}
	}
}
