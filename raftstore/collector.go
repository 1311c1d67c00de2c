package raftstore

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	entryBytes    = 64 << 10 // batches are gathered up to this size
	entriesFlying = 4        // entries in flight at most, the later ones only when full
)

// collector is the leader's side of proposing: it joins the batches of several nodes into entries. A batch that finds
// no entry in flight goes at once; others are gathered until an entry comes back or is full. So a quiet cluster has no
// added delay and a busy one full entries.
type collector struct {
	// apply submits an entry and waits for its result. It ends by itself in bounded time while raft runs.
	apply func(cmd []byte) (any, error)
	// spawn runs fn on a goroutine that the store waits for.
	spawn func(fn func())
	stats *counters

	mu      sync.Mutex
	pending []*batch // guarded by mu, as all below
	bytes   int      // of pending
	flying  int      // entries in flight
	closed  bool
}

// batch is what one node sent.
type batch struct {
	records []byte
	count   int
	answer  chan answer // cap 1
}

type answer struct {
	verdicts []verdict
	err      error
}

// submit hands in records that were checked, and waits for the verdicts. An error other than NotLeaderError means that
// the outcome is unknown.
func (c *collector) submit(ctx context.Context, records []byte, count int) ([]verdict, error) {
	b := &batch{records: records, count: count, answer: make(chan answer, 1)}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	c.pending = append(c.pending, b)
	c.bytes += len(records)
	c.pump()
	c.mu.Unlock()
	select {
	case a := <-b.answer:
		return a.verdicts, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, context.Cause(ctx))
	}
}

// pump sends what may go now. mu is held.
func (c *collector) pump() {
	for len(c.pending) > 0 && !c.closed && (c.flying == 0 || c.bytes >= entryBytes && c.flying < entriesFlying) {
		batches := c.take()
		c.flying++
		c.spawn(func() { c.fly(batches) })
	}
}

// take removes whole batches, at least one, up to the size of an entry. mu is held.
func (c *collector) take() []*batch {
	n, size := 0, 0
	for n < len(c.pending) && (n == 0 || size+len(c.pending[n].records) <= entryBytes) {
		size += len(c.pending[n].records)
		n++
	}
	batches := c.pending[:n:n]
	c.pending = c.pending[n:]
	c.bytes -= size
	return batches
}

// fly takes one entry through raft and answers its batches.
func (c *collector) fly(batches []*batch) {
	size := 2
	for _, b := range batches {
		size += len(b.records)
	}
	cmd := cmdRecords.head(make([]byte, 0, size))
	for _, b := range batches {
		cmd = append(cmd, b.records...)
	}
	start := time.Now()
	result, err := c.apply(cmd)
	c.mu.Lock()
	c.flying--
	c.pump()
	c.mu.Unlock()
	verdicts, ok := result.([]verdict)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %v", ErrUnknownOutcome, result)
	}
	if err == nil {
		c.stats.commits.observe(time.Since(start))
	}
	for _, b := range batches {
		if err != nil {
			b.answer <- answer{err: err}
			continue
		}
		b.answer <- answer{verdicts: verdicts[:b.count]}
		verdicts = verdicts[b.count:]
	}
}

// close refuses what is pending and whatever comes. Entries in flight still get their answers.
func (c *collector) close() {
	c.mu.Lock()
	c.closed = true
	pending := c.pending
	c.pending, c.bytes = nil, 0
	c.mu.Unlock()
	for _, b := range pending {
		b.answer <- answer{err: ErrClosed}
	}
}
