package raftstore

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	batchBytes   = 64 << 10 // a batch is closed when it reaches this
	backoffFirst = 10 * time.Millisecond
	backoffMax   = 200 * time.Millisecond
)

// proposer is the owner's side: it queues transitions, makes one record of everything that waits in a partition, and
// has one batch of records in flight. A batch whose outcome is unknown is sent again with the same numbers until the
// outcome is known or the epoch is over, so nothing is lost, nothing counts twice, and the order within a partition
// stays.
//
// One goroutine (run) makes and sends batches. Callbacks are called from it, or from whoever calls expire.
type proposer struct {
	// send takes a batch to the leader. NotLeaderError and every other error mean: try again.
	send func(ctx context.Context, leader string, records []byte, count int) ([]verdict, error)
	// leader is the leader's node id, "" when unknown.
	leader func() string
	// current is the epoch of a partition as applied here, false when there is no such partition.
	current func(part uint32) (uint64, bool)
	// taken is the number of the last record applied here in the present epoch of a partition.
	taken func(part uint32) uint64
	// spawn runs fn on a goroutine that the store waits for.
	spawn func(fn func())
	stats *counters

	wake  chan struct{} // cap 1: there is something to send
	moved chan struct{} // cap 1: leader or table changed, a retry may do better now

	mu     sync.Mutex
	parts  map[uint32]*queue // guarded by mu, as all below
	ready  []uint32          // partitions with items, in order of arrival
	abort  func()            // ends the call in flight
	sentTo string            // node id that the call in flight goes to
	closed bool
}

// queue is what waits in one partition for one epoch.
type queue struct {
	epoch uint64
	n     uint64 // of the last record made
	items []item
	ready bool // in proposer.ready
}

type item struct {
	Transition
	done func(error)
}

// draft is a record in flight with whom to tell.
type draft struct {
	record
	items []item
}

func (p *proposer) init() {
	p.wake, p.moved = make(chan struct{}, 1), make(chan struct{}, 1)
	p.parts = map[uint32]*queue{}
}

// propose queues t.
func (p *proposer) propose(part uint32, epoch uint64, t Transition, done func(error)) {
	p.stats.proposed.Add(1)
	if err := checkTransition(part, &t); err != nil {
		p.refuse(done, err)
		return
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		go done(ErrClosed) // the store is gone and waits for nobody; the callback must still not run inside propose
		return
	}
	// Asked with mu held: expire looks at the queues after the table changed, so a queue that is too old is met by
	// one of the two.
	current, known := p.current(part)
	q := p.parts[part]
	if !known || epoch < current || q != nil && epoch < q.epoch {
		p.mu.Unlock()
		p.refuse(done, ErrEpochOver)
		return
	}
	if q == nil {
		q = &queue{epoch: epoch, n: p.taken(part)}
		p.parts[part] = q
	}
	var over []item
	if epoch > q.epoch {
		over = q.items
		*q = queue{epoch: epoch, n: p.taken(part), ready: q.ready}
	}
	q.items = append(q.items, item{t, done})
	p.stats.pending.Add(1)
	p.enqueue(part, q)
	p.mu.Unlock()
	nudge(p.wake)
	if len(over) > 0 {
		p.spawn(func() { p.finish(over, ErrEpochOver) })
	}
}

// enqueue makes part ready. mu is held.
func (p *proposer) enqueue(part uint32, q *queue) {
	if !q.ready {
		q.ready = true
		p.ready = append(p.ready, part)
	}
}

// refuse calls done from a goroutine of its own: the caller of propose may hold a lock that done takes.
func (p *proposer) refuse(done func(error), err error) {
	p.stats.refused.Add(1)
	p.spawn(func() { done(err) })
}

func checkTransition(part uint32, t *Transition) error {
	switch {
	case !t.Kind.known():
		return fmt.Errorf("%w: kind of transition %d", ErrInvalid, t.Kind)
	case len(t.App) == 0 || len(t.App) > appBytesMax:
		return fmt.Errorf("%w: app of %d bytes", ErrInvalid, len(t.App))
	case len(t.Name) > nameBytesMax:
		return fmt.Errorf("%w: channel name of %d bytes", ErrInvalid, len(t.Name))
	case part >= partitionsMax:
		return fmt.Errorf("%w: partition %d", ErrInvalid, part)
	}
	return nil
}

// finish tells the items their outcome.
func (p *proposer) finish(items []item, err error) {
	p.stats.pending.Add(-int64(len(items)))
	if err != nil {
		p.stats.refused.Add(uint64(len(items)))
	}
	for i := range items {
		items[i].done(err)
	}
}

// run sends until ctx ends, and then tells everybody ErrClosed.
func (p *proposer) run(ctx context.Context) {
	for ctx.Err() == nil {
		if drafts := p.take(); len(drafts) > 0 {
			p.commit(ctx, drafts)
			continue
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	p.closed = true
	parts := p.parts
	p.parts, p.ready = map[uint32]*queue{}, nil
	p.mu.Unlock()
	for _, q := range parts {
		p.finish(q.items, ErrClosed)
	}
}

// take makes a batch: one record of what waits in each partition, up to the size of a batch.
func (p *proposer) take() []draft {
	p.mu.Lock()
	defer p.mu.Unlock()
	var drafts []draft
	size := 0
	for len(p.ready) > 0 && size < batchBytes {
		part := p.ready[0]
		p.ready = p.ready[1:]
		q := p.parts[part]
		q.ready = false
		if len(q.items) == 0 {
			continue // its epoch ended
		}
		var w bodyWriter
		for w.count < len(q.items) && size+len(w.buf) < batchBytes {
			w.add(&q.items[w.count].Transition)
		}
		size += len(w.buf)
		q.n++
		drafts = append(drafts, draft{
			record: record{part: part, epoch: q.epoch, n: q.n, count: w.count, body: w.buf},
			items:  q.items[:w.count:w.count],
		})
		q.items = q.items[w.count:]
		if len(q.items) > 0 {
			p.enqueue(part, q)
		} else {
			q.items = nil // the draft keeps the array
		}
	}
	return drafts
}

// commit sends the batch until every record has its outcome.
func (p *proposer) commit(ctx context.Context, drafts []draft) {
	for backoff := backoffFirst; ; backoff = min(2*backoff, backoffMax) {
		if drafts = p.dropOver(drafts); len(drafts) == 0 {
			return
		}
		verdicts, err := p.attempt(ctx, drafts)
		if err == nil {
			p.settle(drafts, verdicts)
			return
		}
		p.stats.retries.Add(1)
		if !p.pause(ctx, backoff) {
			for _, d := range drafts {
				p.finish(d.items, ErrClosed)
			}
			return
		}
	}
}

// dropOver tells those whose epoch has ended here meanwhile, and returns the others.
func (p *proposer) dropOver(drafts []draft) []draft {
	kept := drafts[:0]
	for _, d := range drafts {
		if current, known := p.current(d.part); !known || d.epoch < current {
			p.finish(d.items, ErrEpochOver)
		} else {
			kept = append(kept, d)
		}
	}
	return kept
}

func (p *proposer) attempt(ctx context.Context, drafts []draft) ([]verdict, error) {
	leader := p.leader()
	if leader == "" {
		return nil, &NotLeaderError{}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.mu.Lock()
	p.abort, p.sentTo = cancel, leader
	p.mu.Unlock()
	var records []byte
	for _, d := range drafts {
		records = appendRecord(records, d.record)
	}
	verdicts, err := p.send(ctx, leader, records, len(drafts))
	p.mu.Lock()
	p.abort, p.sentTo = nil, ""
	p.mu.Unlock()
	if err == nil && len(verdicts) != len(drafts) {
		err = fmt.Errorf("%w: %d verdicts for %d records", ErrUnknownOutcome, len(verdicts), len(drafts))
	}
	return verdicts, err
}

// pause waits before another attempt, less when the leader or the table changes. It returns false when ctx ends.
func (p *proposer) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.moved:
	case <-ctx.Done():
		return false
	}
	return true
}

// settle tells the outcome of each record. After a gap (an owner that went on under an epoch which it had used before)
// the transitions are queued again, to be numbered from what the log has.
func (p *proposer) settle(drafts []draft, verdicts []verdict) {
	for i, d := range drafts {
		switch v := verdicts[i]; v.outcome {
		case outcomeDone:
			p.finish(d.items, nil)
		case outcomeGap:
			if !p.resync(d, v.n) {
				p.finish(d.items, ErrEpochOver)
			}
		default:
			p.finish(d.items, ErrEpochOver)
			p.expirePart(d.part, d.epoch+1)
		}
	}
}

func (p *proposer) resync(d draft, n uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.parts[d.part]
	if q == nil || q.epoch != d.epoch {
		return false
	}
	q.n = n
	q.items = append(d.items, q.items...)
	p.enqueue(d.part, q)
	return true
}

// leaderMoved ends a call to a node that does not lead any more: nobody may answer it.
func (p *proposer) leaderMoved() {
	leader := p.leader()
	p.mu.Lock()
	if p.abort != nil && p.sentTo != leader && leader != "" {
		p.abort()
	}
	p.mu.Unlock()
	nudge(p.moved)
}

// expire tells those that wait under an epoch which is over by the table applied here.
func (p *proposer) expire() {
	p.mu.Lock()
	parts := make([]uint32, 0, len(p.parts))
	for part := range p.parts {
		parts = append(parts, part)
	}
	p.mu.Unlock()
	for _, part := range parts {
		current, known := p.current(part)
		if !known {
			current = ^uint64(0)
		}
		p.expirePart(part, current)
	}
	nudge(p.moved)
}

// expirePart ends the epochs of part before current.
func (p *proposer) expirePart(part uint32, current uint64) {
	p.mu.Lock()
	q := p.parts[part]
	var items []item
	if q != nil && q.epoch < current {
		items, q.items = q.items, nil
	}
	p.mu.Unlock()
	p.finish(items, ErrEpochOver)
}

// nudge sends without waiting: whoever reads c will look again anyway if it is full.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
