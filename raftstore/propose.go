package raftstore

import (
	"context"
	"fmt"
)

// Propose notes t for a channel of part, as the owner of epoch. It never waits. done is called exactly once, later,
// from a goroutine of this store, and must not block: with nil when t is committed (or the channel was in that state
// already), with ErrEpochOver when the epoch ended first, ErrInvalid when t cannot be accepted, ErrClosed when the
// store stopped. The transitions of a partition are taken in the order proposed.
//
// Committed means: in the log of a majority, and applied on the leader. This node's own View and Occupied may lag
// behind by a moment when it does not lead.
//
// What waits is kept in memory without a bound of its own: callers have few transitions per channel under way.
func (s *Store) Propose(part uint32, epoch uint64, t Transition, done func(error)) {
	s.proposer.propose(part, epoch, t, done)
}

// HandleForward answers what another node's Forwarder carried here. A node that does not lead answers who does, as far
// as it knows, in the payload it returns; the error is for payloads that no version of this room has sent. The payload
// is kept for a while after the return: do not write to it.
func (s *Store) HandleForward(ctx context.Context, payload []byte) ([]byte, error) {
	kind, body, err := splitForward(payload)
	if err != nil {
		return nil, fmt.Errorf("forwarded request: %w: %w", ErrInvalid, err)
	}
	switch kind {
	case forwardNewest:
		seq, err := s.newestHere(ctx)
		if err != nil {
			return appendRefusal(nil, err), nil
		}
		return appendNewest(nil, seq), nil
	case forwardTable:
		return s.forwardedTable(ctx, body)
	case forwardInit:
		if _, err := s.apply(ctx, body); err != nil {
			return appendRefusal(nil, err), nil
		}
		return appendVerdicts(nil, nil), nil
	}
	if len(body) > recordBytesMax {
		return nil, fmt.Errorf("forwarded records: %w: %d bytes", ErrInvalid, len(body))
	}
	count, err := checkRecords(body)
	if err != nil {
		return nil, fmt.Errorf("forwarded records: %w: %w", ErrInvalid, err)
	}
	verdicts, err := s.submit(ctx, body, count)
	if err != nil {
		return appendRefusal(nil, err), nil
	}
	return appendVerdicts(nil, verdicts), nil
}

// submit is the leader's side, for local and forwarded records.
func (s *Store) submit(ctx context.Context, records []byte, count int) ([]verdict, error) {
	if !s.IsLeader() {
		return nil, &NotLeaderError{Leader: s.Leader()}
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.ApplyTimeout)
	defer cancel()
	return s.collector.submit(ctx, records, count)
}

// send takes a batch of this node to the leader.
func (s *Store) send(ctx context.Context, leader string, records []byte, count int) ([]verdict, error) {
	if leader == s.config.NodeID {
		return s.submit(ctx, records, count)
	}
	if s.config.Forward == nil {
		return nil, &NotLeaderError{Leader: leader}
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.ApplyTimeout)
	defer cancel()
	payload := append(make([]byte, 0, 2+len(records)), forwardRecords, forwardVersion)
	answer, err := s.config.Forward.Forward(ctx, leader, append(payload, records...))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return decodeAnswer(answer)
}

// epoch is the current epoch of part as applied here.
func (s *Store) epoch(part uint32) (uint64, bool) {
	slots := s.View().Table.Slots
	if int(part) >= len(slots) {
		return 0, false
	}
	return slots[part].Epoch, true
}

// taken is the number of the last record of the present epoch of part as applied here.
func (s *Store) taken(part uint32) uint64 {
	s.fsm.mu.Lock()
	defer s.fsm.mu.Unlock()
	if taken := s.fsm.state.taken; int(part) < len(taken) {
		return taken[part]
	}
	return 0
}
