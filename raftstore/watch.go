package raftstore

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// signal wakes everybody who waits.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; nil while nobody waits
}

// wait returns a channel that the next fire closes. Look at what is waited for after calling it.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// onApplied runs on raft's FSM goroutine after each batch: it only counts and wakes others.
func (s *Store) onApplied(v *View, n notes) {
	s.stats.entries.Add(n.entries)
	s.stats.bytes.Add(n.bytes)
	if n.placement {
		nudge(s.placed)
	}
	if n.tables {
		s.tabled.fire()
		nudge(s.tablesChanged)
	}
	if n.events > 0 {
		s.applied.fire()
		s.considerTrim(v, n)
	}
}

// trimmable says up to which seq events should go now, 0 for none. Some slack keeps this rare.
func (s *Store) trimmable(v *View, first, needed uint64) uint64 {
	retention := uint64(s.config.Retention)
	if v.LastSeq <= retention {
		return 0
	}
	upTo := min(v.LastSeq-retention, needed)
	if upTo < first+retention/16 {
		return 0
	}
	return upTo
}

// considerTrim lets a leader put it in the log that old events go. The FSM does not look at the configured retention,
// which may differ between nodes.
func (s *Store) considerTrim(v *View, n notes) {
	if s.trimmable(v, n.first, n.needed) == 0 || !s.started.Load() || !s.IsLeader() || s.trimming.Swap(true) {
		return
	}
	if !s.future(s.trim) {
		s.trimming.Store(false)
	}
}

// trim trims until nothing is left to do, since events may come in the meantime.
func (s *Store) trim() {
	defer s.trimming.Store(false)
	for {
		s.fsm.mu.Lock()
		first, needed := s.fsm.state.events.first, s.fsm.state.cursors.slowest(s.fsm.state.events.last)
		s.fsm.mu.Unlock()
		upTo := s.trimmable(s.View(), first, needed)
		if upTo == 0 {
			return
		}
		if _, err := s.applyFuture(appendTrim(nil, upTo)); err != nil || s.cut.Load() {
			s.log.Debug("events not trimmed", "error", err) // the next event tries again
			return
		}
	}
}

// watch tells users and the proposer what changed, until the store stops. known is the cluster id on the disk.
func (s *Store) watch(known string) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.leaderMoved:
			s.proposer.leaderMoved()
			nudge(s.leaderChanged)
		case <-s.placed:
			known = s.remember(known, s.View().ClusterID)
			s.proposer.expire()
			nudge(s.changed)
		}
	}
}

// remember keeps the cluster id on the disk, so that it is known before the log is, and stops a node whose disk says
// otherwise.
func (s *Store) remember(known, id string) string {
	switch {
	case id == known || id == "":
	case known == "":
		s.disk.Set(keyCluster, []byte(id))
		return id
	default:
		s.fail(&FatalError{FatalCluster, fmt.Errorf("%s %w: it is of cluster %s, the log is of %s", s.disk.file(), ErrWrongCluster, known, id)})
	}
	return known
}

// foundEvery is how often a bootstrapped node tries to get its init command committed.
const foundEvery = 100 * time.Millisecond

// found gets the init command of a bootstrap into the log: as the leader, or through it, since leadership may have moved
// before the command was committed. The first command counts, so it may be sent again.
func (s *Store) found(init []byte) {
	for s.View().ClusterID == "" {
		if err := s.tryFound(init); err != nil {
			s.log.Debug("cluster id not committed yet", "error", err)
		}
		t := time.NewTimer(foundEvery)
		select {
		case <-t.C:
		case <-s.ctx.Done():
			t.Stop()
			return
		}
	}
	s.disk.Set(keyPending, nil)
}

func (s *Store) tryFound(init []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.config.ApplyTimeout)
	defer cancel()
	switch leader := s.Leader(); {
	case leader == s.config.NodeID:
		_, err := s.apply(ctx, init)
		return err
	case leader == "" || s.config.Forward == nil:
		return &NotLeaderError{Leader: leader}
	default:
		answer, err := s.config.Forward.Forward(ctx, leader, append([]byte{forwardInit, forwardVersion}, init...))
		if err != nil {
			return err
		}
		_, err = decodeAnswer(answer)
		return err
	}
}
