package cluster

import (
	"sync"
	"sync/atomic"
	"time"
)

// lease is a member's permission to act, counted on the boottime clock. Reading it takes no lock.
type lease struct {
	until atomic.Int64 // nanoseconds; 0: none

	mu    sync.Mutex
	round uint64 // goes up when the lease is given back: what was asked before no longer counts
	over  bool   // never again
}

// ticket is one ask for the lease.
type ticket struct {
	round uint64
	at    time.Duration // before it was sent
}

// ask begins an ask.
func (l *lease) ask(now time.Duration) ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return ticket{l.round, now}
}

// grant extends the lease to ttl after the ask; false when it was given back since.
func (l *lease) grant(t ticket, ttl time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.round != l.round || l.over {
		return false
	}
	l.until.Store(max(l.until.Load(), int64(t.at+ttl)))
	return true
}

// giveBack ends the lease at once, and all asks that are under way.
func (l *lease) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.round++
	l.until.Store(0)
}

// end is giveBack for good.
func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.until.Store(0)
}

// left is how much of the lease is left, 0 when it is not held.
func (l *lease) left(now time.Duration) time.Duration {
	return max(0, time.Duration(l.until.Load())-now)
}

func (l *lease) heldAt(now time.Duration) bool { return l.left(now) > 0 }
