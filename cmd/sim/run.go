package sim

import (
	"context"
	"slices"
	"sync"
	"time"
)

// How long the phases of a run may take.
const (
	// readyWait is for a new cluster to serve.
	readyWait = 30 * time.Second
	// healWait is how long after the last fault the cluster may need to be whole: half-open sockets are found within it.
	healWait = 50 * time.Second
	// settleWait is how long the clients may then need to hold what they want.
	settleWait = 30 * time.Second
	// drainWait covers the longest back-off of the dispatcher.
	drainWait = 60 * time.Second
	// followEvery is how often the pull API is read.
	followEvery = 2 * time.Second
	// watchEvery is how often nodes are asked what they own.
	watchEvery = 1 * time.Second
)

// Ready waits until every node that runs serves, and says whether they all did in time.
func (s *Sim) Ready() bool {
	return await(readyWait, 50*time.Millisecond, func() bool {
		for _, n := range s.Nodes() {
			if n.Up() && !n.Ready() {
				return false
			}
		}
		return true
	})
}

// Run plays a schedule while clients come and go, lets the cluster heal and judges what everybody saw.
func (s *Sim) Run(schedule Schedule) (*History, []Violation) {
	if !s.Ready() {
		s.fail("the new cluster does not get ready")
	}
	s.note("ready")
	churn, stop := context.WithCancel(s.ctx)
	defer stop()
	var wg sync.WaitGroup
	for _, c := range s.Clients() {
		if slices.Contains(s.Options.Idle, c.ID) {
			continue
		}
		rng := s.random(uint64(c.ID) + 5000)
		wg.Go(func() { s.script(churn, c, rng) })
	}
	s.Follow()
	s.Play(schedule)
	s.note("all faults are over")
	time.Sleep(healWait)
	stop()
	wg.Wait()
	s.note("clients are left alone")
	return s.Finish()
}

// Follow reads the pull API, and what nodes say that they own, from now until Finish.
func (s *Sim) Follow() {
	ctx, stop := context.WithCancel(s.ctx)
	wg := new(sync.WaitGroup)
	s.unfollow = func() { stop(); wg.Wait() }
	wg.Go(func() { s.Reader.follow(ctx, followEvery) })
	wg.Go(func() { s.watch(ctx, watchEvery) })
}

// Finish lets everything come to rest after the last fault and the last act of a client, writes down what the nodes say
// then, and judges the history.
func (s *Sim) Finish() (*History, []Violation) {
	if s.unfollow != nil {
		s.unfollow()
	}
	if !await(settleWait, 100*time.Millisecond, s.settled) {
		for _, c := range s.Clients() {
			if !c.Settled() {
				s.note("client %d: %s", c.ID, c.lacks())
			}
		}
		s.diagnose("")
	}
	s.rec.record(func(h *History) { h.Quiet = time.Now() })
	s.note("clients hold what they want")
	time.Sleep(time.Second)
	s.count()
	time.Sleep(s.Options.VacateDelay + 5*time.Second)
	s.drain()
	h := s.collect()
	return h, append(Check(h), s.Failures()...)
}

// settled says whether every client holds what it wants.
func (s *Sim) settled() bool {
	for _, c := range s.Clients() {
		if !c.Settled() {
			return false
		}
	}
	return true
}

// count asks every node for the occupancy of every channel that a client ever wanted.
func (s *Sim) count() {
	channels := make(map[string]bool)
	s.rec.record(func(h *History) {
		for _, a := range h.Attachments {
			channels[a.Channel] = true
		}
	})
	names := sorted(channels)
	if most := 2 * s.Options.Channels; len(names) > most {
		names = names[:most]
	}
	for _, n := range s.Nodes() {
		for _, channel := range names {
			c, err := s.Reader.Count(s.ctx, n.Index, channel)
			if err != nil {
				s.fail("node %d does not count: %v", n.Index, err)
				s.diagnose(channel)
				return
			}
			s.rec.record(func(h *History) { h.Counts = append(h.Counts, c) })
		}
	}
}

// drain waits until the receivers have all they are owed, and not longer than the longest back-off.
func (s *Sim) drain() {
	await(drainWait, time.Second, func() bool {
		log, err := s.Reader.Events(s.ctx, 0, 0)
		if err != nil {
			return false
		}
		h := s.rec.History()
		h.Logs = append(h.Logs, log) // besides what was read before it was forgotten
		return len(CheckDelivery(h)) == 0
	})
}

// collect takes the log of every node and closes the history.
func (s *Sim) collect() *History {
	for _, n := range s.Nodes() {
		log, err := s.Reader.Events(s.ctx, n.Index, 0)
		if err != nil {
			s.fail("node %d does not tell its log: %v", n.Index, err)
			continue
		}
		s.rec.record(func(h *History) { h.Logs = append(h.Logs, log) })
		if snap, err := s.Reader.Snapshot(s.ctx, n.Index, 10); err == nil {
			s.rec.record(func(h *History) { h.Snapshots = append(h.Snapshots, snap) })
		}
	}
	wanted := make(map[int][]Want)
	for _, c := range s.Clients() {
		wanted[c.ID] = c.Wants()
	}
	s.rec.record(func(h *History) { h.Wanted, h.End = wanted, time.Now() })
	return s.rec.History()
}
