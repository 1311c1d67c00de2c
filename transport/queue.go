package transport

import (
	"sync"

	"innkeeper/channel"
)

// What a shard's queue may hold. Frames from owners are let in beyond the point where read loops wait, so that clients
// that send fast cannot make an owner's frames overflow.
const (
	queueWait     = 4 << 10  // commands; read loops wait above it
	queueMax      = 64 << 10 // commands; frames from owners are refused above it
	queueMaxBytes = 64 << 20 // of message data; likewise
	queueKeep     = 4 << 10  // capacity an idle queue may hold on to
)

// command is one thing a shard is asked to do.
type command struct {
	kind  commandKind
	part  uint32
	epoch uint64
	node  string
	what  any
}

type commandKind uint8

const (
	doAttach    commandKind = iota // what: *attachOrder
	doDetach                       // what: *attachment
	doGone                         // what: []*attachment, all of one connection that has ended
	doRequest                      // what: *request
	doFromOwner                    // what: channel.ToGateway, with node and epoch
	doRouted                       // what: Route
	doUnrouted
	doLayout   // what: int, the number of partitions
	doInspect  // what: func(*shard)
	doPresence // what: *presenceOrder
	doSync     // what: *attachment
)

// queue carries commands to one shard.
type queue struct {
	wake chan struct{} // has one element when there is something to take

	mu     sync.Mutex
	items  []command
	bytes  int
	closed bool
	room   chan struct{} // closed by take when somebody waits; nil otherwise
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// offer queues a frame from an owner and never waits. It is false when the queue is full or closed.
func (q *queue) offer(c command) bool {
	size := weight(c.what)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.items) >= queueMax || q.bytes+size > queueMaxBytes {
		return false
	}
	q.bytes += size
	q.put(c)
	return true
}

// force queues a command that must not be lost and is bounded by its nature, and never waits.
func (q *queue) force(c command) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.put(c)
	return true
}

// push queues a command of a client and waits for room: a client that sends faster than it is served stops being read.
// It is false when the queue is closed.
func (q *queue) push(c command) bool {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return false
		}
		if len(q.items) < queueWait {
			q.put(c)
			q.mu.Unlock()
			return true
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		<-room
	}
}

func (q *queue) put(c command) {
	q.items = append(q.items, c)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take swaps what is queued for the empty buffer given.
func (q *queue) take(empty []command) []command {
	if cap(empty) > queueKeep {
		empty = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.bytes = empty[:0], 0
	q.wakeWaiters()
	return items
}

// close refuses whatever comes from now on.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wakeWaiters()
}

func (q *queue) wakeWaiters() {
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
}

// weight is roughly the memory a frame from an owner holds on to.
func weight(what any) int {
	n := 0
	if r, ok := what.(*channel.HistoryResult); ok {
		for _, d := range r.Deliveries {
			n += weight(d)
		}
	}
	d, ok := what.(*channel.Delivery)
	if !ok {
		return n
	}
	for i := range d.Presence {
		n += len(d.Presence[i].Data)
	}
	for i := range d.Messages {
		n += len(d.Messages[i].Data) + len(d.Messages[i].Extras)
	}
	return n
}
