package cluster

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"innkeeper/cluster/ring"
)

const (
	// prepareFor is how long a batch of moves waits for whole copies, and for all members to show that they follow. Then
	// it goes on without: what is missing is fetched, or waited for, by the new owner.
	prepareFor = 5 * time.Second
	// settleFor is how long the next batch waits for this one's partitions to be served.
	settleFor = 2 * time.Second
	// readyPoll is how often a node looks whether what it was asked for is so.
	readyPoll = 5 * time.Millisecond
	// questionMax bounds the partitions of one question.
	questionMax = 1 << 16
)

// MoveObserver is an Observer that takes part in planned moves. Without one, copies are not waited for. Its methods may be
// called from any goroutine and must not block.
type MoveObserver interface {
	// Prepared says whether a move of a partition, owned here under this epoch, would find all that is needed with the
	// node it goes to. It is true when there is nothing to prepare.
	Prepared(part uint32, epoch uint64, to string) bool
	// Opened says whether a partition is served here under this epoch or a later one, or is none of this node's business.
	Opened(part uint32, epoch uint64) bool
}

// question asks a node to answer when something is so: when it has applied a version of the view, and each of these
// partitions can move, or serves.
type question struct {
	version uint64
	opened  bool // whether they serve; else whether they can move
	parts   []asked
}

type asked struct {
	part  uint32
	epoch uint64
	to    string // node; "" when opened is asked
}

func appendQuestion(dst []byte, q question) []byte {
	dst = appendBool(binary.AppendUvarint(dst, q.version), q.opened)
	dst = binary.AppendUvarint(dst, uint64(len(q.parts)))
	for _, a := range q.parts {
		dst = binary.AppendUvarint(dst, uint64(a.part))
		dst = appendString(binary.AppendUvarint(dst, a.epoch), a.to)
	}
	return dst
}

func decodeQuestion(b []byte) (question, error) {
	r := wireReader{b: b}
	q := question{version: r.uvarint(), opened: r.bool()}
	for range r.count(questionMax) {
		a := asked{part: uint32(r.count(1<<31 - 1)), epoch: r.uvarint(), to: r.string(idMax)}
		if r.err != nil {
			break
		}
		q.parts = append(q.parts, a)
	}
	if err := r.end(); err != nil {
		return question{}, err
	}
	return q, nil
}

// serveReady answers a question when it is so, or not at all: ctx is bounded by who asks.
func (c *Cluster) serveReady(ctx context.Context, _ Peer, body []byte) ([]byte, error) {
	q, err := decodeQuestion(body)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for !c.isSo(&q) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.ctx.Done():
			return nil, ErrClosed
		}
	}
	return nil, nil
}

// isSo drops from a question what is so, and says whether nothing is left.
func (c *Cluster) isSo(q *question) bool {
	if c.cfg.Log.View().Version < q.version {
		return false
	}
	mover, ok := c.cfg.Observer.(MoveObserver)
	if !ok {
		return true
	}
	var left []asked
	for _, a := range q.parts {
		if q.opened && !mover.Opened(a.part, a.epoch) || !q.opened && !mover.Prepared(a.part, a.epoch, a.to) {
			left = append(left, a)
		}
	}
	q.parts = left
	return len(left) == 0
}

// batch is some moves that are under way together.
type batch struct {
	moves   []move
	changes []ring.Change
	version uint64 // of the view that they were planned on
}

// nextBatch takes the first moves there are; nil for none.
func nextBatch(view *View) *batch {
	list, changes := moves(view)
	if len(list) == 0 {
		return nil
	}
	n := min(len(list), moveBatch(len(view.Table.Slots)))
	return &batch{list[:n], changes[:n], view.Version}
}

// move goes on with planned moves: it has the next batch prepared, commits it, and waits for it to be served. Anything that
// changes the view meanwhile comes first; then the batch is planned anew.
func (d *desk) move(view *View) {
	b := d.prepared
	d.prepared = nil
	switch {
	case b != nil && b.version == view.Version:
		d.commitMoves(b)
		return
	case d.busy.move || d.rested == view.Version:
		return
	}
	if b = nextBatch(view); b == nil {
		d.rested = view.Version
		return
	}
	questions := map[string]*question{}
	for _, p := range view.live() {
		questions[p.Node] = &question{version: view.Version}
	}
	for _, m := range b.moves {
		questions[m.from].parts = append(questions[m.from].parts, asked{m.part, m.epoch, m.to})
	}
	d.busy.move = true
	term := d.term
	d.background(prepareFor, func(ctx context.Context) func() {
		d.c.awaitAll(ctx, questions)
		return func() {
			d.busy.move = false
			if term == d.term {
				d.prepared = b
			}
		}
	})
}

func (d *desk) commitMoves(b *batch) {
	change := MembershipChange{IfVersion: b.version, Slots: b.changes, TimeMs: time.Now().UnixMilli()}
	d.commitThen(change, nil, func() {
		questions := map[string]*question{}
		for _, m := range b.moves {
			q := questions[m.to]
			if q == nil {
				q = &question{version: b.version + 1, opened: true}
				questions[m.to] = q
			}
			q.parts = append(q.parts, asked{part: m.part, epoch: m.epoch + 1})
		}
		d.c.count.partitionsMoved.Add(uint64(len(b.moves)))
		d.busy.move = true
		d.background(settleFor, func(ctx context.Context) func() {
			d.c.awaitAll(ctx, questions)
			return func() { d.busy.move = false }
		})
	})
}

// awaitAll asks nodes their questions and waits for all answers, or until ctx ends.
func (c *Cluster) awaitAll(ctx context.Context, questions map[string]*question) {
	var all sync.WaitGroup
	for node, q := range questions {
		all.Go(func() {
			body := appendQuestion(nil, *q)
			for ctx.Err() == nil {
				if _, err := c.links.request(ctx, node, kindReady, body); err == nil {
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(retryEvery):
				}
			}
		})
	}
	all.Wait()
}
