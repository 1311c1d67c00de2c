package actor

import (
	"math"
	"sync"
	"time"
)

// NoLimit lets a message into any mailbox that is not stopped.
const NoLimit = math.MaxInt

// Handler is what an actor does.
type Handler[M any] interface {
	// Receive handles the messages that have come since the last call, in order, and says what is next. woken is true
	// when a wake-up came; it may come earlier than asked for, and batch may then be empty, so the clock decides.
	// Receive runs on a worker of the system, never twice at once for one actor, and must not block. The batch is
	// only lent: it is cleared after the call.
	Receive(batch []M, woken bool) Next

	// Stopped is called once, after Receive returned Stop and no message raced with it, on the same worker. It is not
	// called for an actor that was dropped. It may take the directory's lock.
	Stopped()
}

// Next is what an actor wants after a Receive.
type Next struct {
	// Wake is when to be woken at the latest, on the system's clock ([System.Now]); 0 is never. An actor has one
	// wake-up: each Receive says anew when. An earlier one still standing is left to come, which is why Receive looks
	// at the clock.
	Wake time.Duration
	// Stop ends the actor unless a message has come meanwhile; then Receive is called again and may decide anew.
	Stop bool
}

// Outcome is what became of an offered message.
type Outcome uint8

// The outcomes.
const (
	Accepted Outcome = iota
	Full             // the mailbox holds as many messages as the sender's limit; nothing was queued
	Stopped          // the actor has ended (or its system); activate another
)

type status uint8

const (
	idle    status = iota // nothing to do
	queued                // waits for a worker
	running               // a worker is in Receive
	stopped               // for good
)

// Actor is a mailbox with a handler. The zero value is not ready: call Init. It must not be copied after that.
// All methods may be called from any goroutine, except Init.
type Actor[M any] struct {
	sys     *System[M]
	handler Handler[M]

	mu     sync.Mutex // taken before System.mu and timers.mu
	queue  []M        // nil while idle: the buffer goes back to the system
	wakeAt time.Duration
	status status
	woken  bool

	next *Actor[M] // link of the run queue; guarded by System.mu
	slot int       // place in the heap of wake-ups plus 1, 0 is none; guarded by timers.mu
}

// Init ties the actor to its system and handler. Nothing runs before the first message.
func (a *Actor[M]) Init(sys *System[M], h Handler[M]) {
	a.sys, a.handler = sys, h
}

// Offer puts a message into the mailbox unless limit or more are waiting there (those that a running Receive was given
// do not count). It never blocks.
func (a *Actor[M]) Offer(m M, limit int) Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status == stopped {
		return Stopped
	}
	if len(a.queue) >= limit {
		return Full
	}
	if a.status == idle {
		buffer, ok := a.sys.schedule(a)
		if !ok {
			return Stopped
		}
		a.status, a.queue = queued, buffer
	}
	a.queue = append(a.queue, m)
	return Accepted
}

// Drop ends the actor at once and returns the messages that nobody will receive. A Receive under way goes on to its end;
// what it returns is ignored. Stopped is not called.
func (a *Actor[M]) Drop() []M {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status == stopped {
		return nil
	}
	left := a.queue
	a.status, a.queue, a.wakeAt = stopped, nil, 0
	a.sys.timers.disarm(a)
	return left
}

// wake is the wake-up's arrival.
func (a *Actor[M]) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status == stopped {
		return
	}
	a.wakeAt, a.woken = 0, true
	if a.status == idle {
		buffer, ok := a.sys.schedule(a)
		if !ok {
			return
		}
		a.status, a.queue = queued, buffer
	}
}

// turn lets the handler receive once. The queue is swapped against the empty buffer spare; what it returns are buffers
// that are empty and free afterwards.
func (a *Actor[M]) turn(spare []M) (free, extra []M) {
	a.mu.Lock()
	if a.status == stopped {
		a.mu.Unlock()
		return spare, nil
	}
	batch, woken := a.queue, a.woken
	a.status, a.queue, a.woken = running, spare, false
	a.mu.Unlock()

	next := a.handler.Receive(batch, woken)
	clear(batch)

	extra, ended := a.settle(next)
	if ended {
		a.handler.Stopped()
	}
	if cap(batch) > bufferMax {
		batch = nil
	}
	return batch[:0], extra
}

// settle decides, under the mailbox's lock, what follows a Receive: this is where Stop meets a racing message.
func (a *Actor[M]) settle(next Next) (free []M, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.status == stopped: // dropped meanwhile
		return nil, false
	case len(a.queue) > 0 || a.woken:
		a.status = queued
		a.sys.requeue(a)
		return nil, false
	case next.Stop:
		a.status, a.wakeAt, ended = stopped, 0, true
		a.sys.timers.disarm(a)
	default:
		a.status = idle
		// A wake-up that stands earlier is left alone: moving it later on every message would cost more than one
		// wake-up for nothing.
		if next.Wake > 0 && (a.wakeAt == 0 || next.Wake < a.wakeAt) {
			a.wakeAt = next.Wake
			a.sys.timers.arm(a, next.Wake)
		}
	}
	free, a.queue = a.queue, nil
	return free, ended
}
