package cluster

import (
	"context"
	"sync"
	"sync/atomic"
)

// selfLink brings this node's messages to itself: in order, on a goroutine of their own, with nothing encoded. It keeps
// the rules of other links: what waits is bounded, and overflow or a reset begin a new session, for which what waited is dropped.
type selfLink struct {
	links   *links
	session atomic.Uint64
	wake    nudge

	mu    sync.Mutex
	queue []selfMessage
	bytes int
}

type selfMessage struct {
	kind    byte
	payload []byte
}

// selfMessageCost is what a waiting message takes besides its payload.
const selfMessageCost = 32

func newSelfLink(l *links) *selfLink {
	s := &selfLink{links: l, wake: newNudge()}
	s.session.Store(l.session.Add(1))
	return s
}

func (s *selfLink) send(session uint64, kind byte, payload []byte) bool {
	s.mu.Lock()
	if session != 0 && session != s.session.Load() {
		s.mu.Unlock()
		return false
	}
	if s.bytes+len(payload)+selfMessageCost > s.links.queueBytes {
		s.renew()
		s.mu.Unlock()
		s.links.count.queueOverflows.Add(1)
		s.links.changed()
		return false
	}
	s.bytes += len(payload) + selfMessageCost
	s.queue = append(s.queue, selfMessage{kind, payload})
	first := len(s.queue) == 1
	s.mu.Unlock()
	if first {
		s.wake.poke()
	}
	return true
}

// reset begins a new session.
func (s *selfLink) reset() {
	s.mu.Lock()
	s.renew()
	s.mu.Unlock()
	s.links.changed()
}

// renew is reset with mu held.
func (s *selfLink) renew() {
	s.queue, s.bytes = nil, 0
	s.session.Store(s.links.session.Add(1))
}

func (s *selfLink) run(ctx context.Context) {
	var spare []selfMessage
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		s.mu.Lock()
		batch := s.queue
		s.queue, s.bytes = spare[:0], 0
		s.mu.Unlock()
		for i, m := range batch {
			if fn := s.links.handlers[m.kind]; fn != nil {
				fn(s.links.me, m.payload)
			} else {
				s.links.count.framesUnhandled.Add(1)
			}
			batch[i] = selfMessage{}
		}
		spare = batch
		if cap(spare) > keepMax/selfMessageCost {
			spare = nil
		}
	}
}
