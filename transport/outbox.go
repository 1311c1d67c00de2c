package transport

import (
	"bytes"
	"sync"
	"time"
)

const (
	// urgentBytes pending on one connection are written at once instead of at the end of the batch.
	urgentBytes = scratchBytes
	// keepFrames is the capacity an idle outbox may hold on to.
	keepFrames = 16
	// stallTimeout ends a connection whose socket takes nothing for so long. A peer that is gone is found earlier, by pings.
	stallTimeout = 30 * time.Second
	// largestFrame is how many times the limit of an outbox one frame may have. A frame as large as clients can make one
	// comes to some megabytes: a publish, a page of members or a summary of control characters, each of which has six bytes
	// in JSON.
	largestFrame = 16
)

// outbox is what has been sent to one connection and not yet handed to its socket. Frames are immutable and shared
// between connections. Appending never waits; there is one writer at a time, so frames never mix.
type outbox struct {
	mu      sync.Mutex
	one     [1][]byte // room for the frame of a connection that has just one
	pending [][]byte
	rest    []byte // what a write left over; goes before pending
	bytes   int    // pending and being written
	writing bool   // somebody writes and will look at pending again
	sealed  bool   // the last frame is in: what comes now is dropped
	broken  bool   // the socket failed: nothing is written any more
	idle    chan struct{}
}

// appended says what became of a frame.
type appended uint8

const (
	queued   appended = iota // another goroutine, or an earlier append of this one, takes care of it
	first                    // the caller has to flush, now or at the end of its batch
	urgent                   // the caller has to flush now
	overflow                 // the outbox is full: the frame was not taken
)

// append queues a frame. limit bounds what may be pending, in bytes. Being slow is a matter of what waits already: one
// frame counts for half of the limit at most, so that none ends a connection that keeps up, however large it is.
func (o *outbox) append(frame []byte, limit int) appended {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed || o.broken {
		return queued
	}
	if o.bytes+min(len(frame), limit/2) > limit || len(frame) > largestFrame*limit {
		return overflow
	}
	return o.put(frame)
}

// waiting is how many bytes are still to be written.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

func (o *outbox) put(frame []byte) appended {
	if o.pending == nil {
		o.pending = o.one[:0]
	}
	before := len(o.pending)
	o.pending = append(o.pending, frame)
	o.bytes += len(frame)
	switch {
	case o.writing:
		return queued
	case o.bytes >= urgentBytes:
		return urgent
	case before == 0:
		return first
	}
	return queued
}

// seal queues the last frames, whatever the limit, and lets nothing follow. drop gives up what is pending, except for
// the rest of a frame that was begun.
func (o *outbox) seal(frames []byte, drop bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed || o.broken {
		return
	}
	if drop {
		for _, frame := range o.pending {
			o.bytes -= len(frame)
		}
		o.reset()
	}
	if len(frames) > 0 {
		o.put(frames)
	}
	o.sealed = true
}

// take gives a writer its next buffer, nil when there is nothing left.
func (o *outbox) take(f *flusher) []byte {
	if o.rest != nil {
		buf := o.rest
		o.rest, f.joined = nil, false
		return buf
	}
	if len(o.pending) == 0 {
		return nil
	}
	buf, taken := f.join(o.pending)
	if taken == len(o.pending) {
		o.reset()
		return buf
	}
	left := copy(o.pending, o.pending[taken:])
	clear(o.pending[left:])
	o.pending = o.pending[:left]
	return buf
}

// reset forgets all pending frames.
func (o *outbox) reset() {
	clear(o.pending)
	if cap(o.pending) > keepFrames {
		o.pending = nil
	} else {
		o.pending = o.pending[:0]
	}
}

// leave ends a turn of writing and wakes who waits for it.
func (o *outbox) leave() {
	o.writing = false
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// fail marks the socket as useless.
func (o *outbox) fail() {
	o.broken = true
	o.rest, o.pending, o.bytes = nil, nil, 0
	o.leave()
}

// drained returns a channel that is closed when nothing is left to write, or nil when that is so already. There is one
// waiter at most.
func (o *outbox) drained() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing {
		return nil
	}
	o.idle = make(chan struct{})
	return o.idle
}

// pendingBytes is how much waits to be written.
func (o *outbox) pendingBytes() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// flush writes what is pending without waiting. What the socket does not take now is left to a goroutine that lives
// until the backlog is gone. Sockets that cannot be written without waiting always get that goroutine.
func (c *conn) flush(f *flusher) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.writing && !o.broken {
		if len(o.pending) == 0 {
			o.leave()
			return
		}
		o.writing = true
		if c.rc == nil {
			c.g.writers.Go(c.writeBacklog)
			return
		}
		buf := o.take(f)
		o.mu.Unlock()
		n, err := f.write(c.rc, buf)
		c.g.count.bytesOut.Add(uint64(n))
		o.mu.Lock()
		o.bytes -= n
		switch {
		case err != nil:
			o.fail()
			o.mu.Unlock()
			c.abort()
			o.mu.Lock()
		case n < len(buf):
			o.rest = buf[n:]
			if f.joined {
				o.rest = bytes.Clone(o.rest)
			}
			c.g.writers.Go(c.writeBacklog)
			return
		default:
			o.writing = false // and look again: who waits for drained waits for the last frame too
		}
	}
}

// writeBacklog writes with waiting until nothing is left. It is the writer: o.writing is set for it.
func (c *conn) writeBacklog() {
	f := flushers.Get().(*flusher)
	defer flushers.Put(f)
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		buf := o.take(f)
		if buf == nil {
			if c.rc != nil {
				c.raw.SetWriteDeadline(time.Time{}) // else the writes that do not wait would find it expired one day
			}
			o.leave()
			return
		}
		o.mu.Unlock()
		c.raw.SetWriteDeadline(time.Now().Add(stallTimeout))
		n, err := c.raw.Write(buf)
		c.g.count.bytesOut.Add(uint64(n))
		o.mu.Lock()
		o.bytes -= n
		if err != nil {
			o.fail()
			o.mu.Unlock()
			c.abort()
			o.mu.Lock()
			return
		}
	}
}
