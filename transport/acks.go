package transport

import (
	"bytes"
	"sync"

	"innkeeper/transport/protocol"
)

// acks is the window of one connection's publishes that were not acknowledged yet, in the order in which they came.
// Answers arrive in any order, since publishes go to different owners; they leave in order and without gaps, neighbours
// merged, because a client settles everything up to the msgSerial it hears of.
type acks struct {
	mu      sync.Mutex
	first   uint64 // position of window[0]
	window  []ack
	bytes   int
	waiting chan struct{} // non-nil while the read loop waits for room
	gone    bool          // the connection has ended
	ready   bool          // the head is answered and somebody has promised to call emit
}

// ack is one publish and, once done, its answer.
type ack struct {
	msgSerial int64
	size      int // bytes of message data
	done      bool
	serials   protocol.Ack
	err       *protocol.ErrorInfo // nil for an ACK
}

// wait returns when there is room for one more publish, false when the connection has ended. Only the read loop waits,
// and while it does nothing is read from the socket: that pushes back on the client.
func (a *acks) wait(maxCount, maxBytes int) bool {
	for {
		a.mu.Lock()
		if a.gone {
			a.mu.Unlock()
			return false
		}
		if len(a.window) < maxCount && a.bytes < maxBytes {
			a.mu.Unlock()
			return true
		}
		a.waiting = make(chan struct{})
		w := a.waiting
		a.mu.Unlock()
		<-w
	}
}

// add takes a publish into the window and returns its position.
func (a *acks) add(msgSerial int64, size int) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.window = append(a.window, ack{msgSerial: msgSerial, size: size})
	a.bytes += size
	return a.first + uint64(len(a.window)-1)
}

// done records the answer to the publish at a position. It is true when something can be sent and the caller has to
// call emit, now or at the end of its batch.
func (a *acks) done(position uint64, serials protocol.Ack, err *protocol.ErrorInfo) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone || position < a.first {
		return false
	}
	e := &a.window[position-a.first]
	e.done, e.serials, e.err = true, serials, err
	if a.ready || !a.window[0].done {
		return false
	}
	a.ready = true
	return true
}

// leave ends the window: nothing will be answered any more.
func (a *acks) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
	a.window = nil
	a.wake()
}

func (a *acks) wake() {
	if a.waiting != nil {
		close(a.waiting)
		a.waiting = nil
	}
}

// emit sends the answers at the head of the window. The lock is held until the frames are in the outbox, so that two
// shards cannot swap theirs. The result is that of the outbox.
func (c *conn) emit(f *flusher) appended {
	a := &c.acks
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready = false
	result := queued
	n := 0
	var one [16]protocol.Ack
	for n < len(a.window) && a.window[n].done {
		head := &a.window[n]
		run := 1
		for n+run < len(a.window) && joins(head, &a.window[n+run], run) {
			run++
		}
		f.encode = begin(f.encode)
		if head.err != nil {
			f.encode = protocol.AppendNack(f.encode, c.format, head.msgSerial, run, head.err)
			c.g.count.nacks.Add(uint64(run))
		} else {
			list := one[:0]
			for i := range run {
				list = append(list, a.window[n+i].serials)
			}
			f.encode = protocol.AppendAck(f.encode, c.format, head.msgSerial, list...)
			c.g.count.acks.Add(uint64(run))
		}
		for i := range run {
			a.bytes -= a.window[n+i].size
		}
		n += run
		result = max(result, c.out.append(bytes.Clone(seal(f.encode, c.format)), c.g.cfg.OutboxBytes))
	}
	left := copy(a.window, a.window[n:])
	clear(a.window[left:])
	a.window = a.window[:left]
	if left == 0 && cap(a.window) > keepFrames {
		a.window = nil
	}
	a.first += uint64(n)
	a.wake()
	return result
}

// joins says whether an answer can go out in one frame with the run that began with head.
func joins(head, next *ack, run int) bool {
	if !next.done || next.msgSerial != head.msgSerial+int64(run) {
		return false
	}
	if head.err == nil || next.err == nil {
		return head.err == nil && next.err == nil
	}
	return head.err.Code == next.err.Code && head.err.Message == next.err.Message
}
