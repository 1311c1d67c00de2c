package raftstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// readAgain is the wait before a leader that did not answer, or is not known, is asked again.
const readAgain = 50 * time.Millisecond

// reads shares questions for the newest event among those who ask at the same time. An answer counts for everybody who
// asked before the question was sent, so at most one question of a node is under way, however many readers there are.
type reads struct {
	mu      sync.Mutex
	next    *read // guarded by mu; what those who ask now wait for, nil when nobody does
	running bool  // guarded by mu
}

// read is one question. seq and err are set before done is closed.
type read struct {
	done chan struct{}
	seq  uint64
	err  error
}

// ReadIndex returns when this node has applied every event that was committed, anywhere in the cluster, before the call.
// What is read here afterwards is no older than that. It costs an entry in the log and, on a node that does not lead,
// a request to the leader; calls at the same time share both. While there is no leader it goes on trying until ctx ends.
func (s *Store) ReadIndex(ctx context.Context) error {
	for {
		seq, err := s.newest(ctx)
		if err == nil {
			return s.WaitApplied(ctx, seq)
		}
		if ctx.Err() != nil || !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrUnknownOutcome) {
			return fmt.Errorf("read index: %w", err)
		}
		t := time.NewTimer(readAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("read index: %w: %w", ctx.Err(), err)
		case <-s.ctx.Done():
			t.Stop()
			return fmt.Errorf("read index: %w", ErrClosed)
		}
	}
}

// newest is the seq of an event that is no older than any committed before the call.
func (s *Store) newest(ctx context.Context) (uint64, error) {
	r, err := s.joinRead()
	if err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.seq, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// joinRead returns a question that is not sent yet.
func (s *Store) joinRead() (*read, error) {
	s.reads.mu.Lock()
	defer s.reads.mu.Unlock()
	if s.reads.next == nil {
		s.reads.next = &read{done: make(chan struct{})}
	}
	r := s.reads.next
	if !s.reads.running {
		if !s.future(s.answerReads) {
			s.reads.next = nil
			return nil, ErrClosed
		}
		s.reads.running = true
	}
	return r, nil
}

// answerReads sends one question after the other until nobody asks.
func (s *Store) answerReads() {
	for {
		s.reads.mu.Lock()
		r := s.reads.next
		s.reads.next = nil
		s.reads.running = r != nil
		s.reads.mu.Unlock()
		if r == nil {
			return
		}
		r.seq, r.err = s.askNewest(s.ctx)
		close(r.done)
	}
}

func (s *Store) askNewest(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.ApplyTimeout)
	defer cancel()
	switch leader := s.Leader(); {
	case leader == s.config.NodeID:
		return s.newestHere(ctx)
	case leader == "" || s.config.Forward == nil:
		return 0, &NotLeaderError{Leader: leader}
	default:
		answer, err := s.config.Forward.Forward(ctx, leader, []byte{forwardNewest, forwardVersion})
		if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		}
		return decodeNewest(answer)
	}
}

// newestHere is the leader's side. A barrier that commits proves that this node still leads, and that it has applied all
// that earlier leaders committed; what it knew before as leader may be neither.
func (s *Store) newestHere(ctx context.Context) (uint64, error) {
	err := s.await(ctx, func() error { return s.raft.Barrier(s.config.ApplyTimeout).Error() })
	if err != nil {
		return 0, err
	}
	return s.View().LastSeq, nil
}
