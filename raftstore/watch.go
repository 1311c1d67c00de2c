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
func (s *Store) onApplied(n notes) {
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
		s.considerTrim()
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
