package memnet

import (
	"syscall"
	"time"
)

// window is how many bytes may be under way or unread in one direction.
const window = 256 << 10

// segment is what one write puts on the wire.
type segment struct {
	data []byte
	fin  bool // the sender closed in order
	rst  bool // the sender is gone
	due  time.Time
}

// direction carries segments from one end to the other. The connection's lock guards it and is held in all its methods.
type direction struct {
	from, to *end
	way      *link // what is drawn for it
	flight   fifo[segment]
	bytes    int       // in flight
	last     time.Time // when the newest segment is due: nothing overtakes
	timer    *time.Timer
	stuck    time.Time // since when bytes wait for an acknowledgement over a cut; zero: they do not
	giveUp   *time.Timer

	path path   // as of the faults that seen counts
	seen uint64 // 0: none yet
}

// room is how many bytes the window takes now.
func (d *direction) room() int { return window - d.bytes - d.to.recvBytes }

// send puts a segment on the wire.
func (d *direction) send(s segment) {
	s.due = time.Now().Add(d.from.c.n.latency(d.way))
	if s.due.Before(d.last) {
		s.due = d.last
	}
	d.last = s.due
	d.bytes += len(s.data)
	d.flight.push(s)
	d.pump()
}

// look returns the state of the way. It asks the network only after faults changed.
func (d *direction) look() path {
	n := d.from.c.n
	if now := n.faults.Load(); now != d.seen {
		d.path, d.seen = n.path(d.from.host.ip, d.to.host.ip), now
	}
	return d.path
}

// pump delivers what is due and not blocked, and arranges to be called again for the rest.
func (d *direction) pump() {
	p := d.look()
	now := time.Now()
	if !p.cut && !p.back {
		d.stuck = time.Time{}
	}
	for d.flight.len() > 0 {
		s := *d.flight.head()
		switch {
		case p.blocked():
			if p.cut {
				d.await(now, p)
			}
			return
		case p.reject:
			d.refuse(s)
			return
		case s.due.After(now):
			d.wake(s.due.Sub(now))
			return
		}
		d.flight.pop()
		d.bytes -= len(s.data)
		if p.back && !s.rst {
			d.await(now, p)
		}
		d.deliver(s)
	}
}

// deliver hands a segment to the other end.
func (d *direction) deliver(s segment) {
	e := d.to
	switch {
	case s.rst:
		if e.err == nil {
			e.err = syscall.ECONNRESET
		}
		e.c.way[e.side].drop()
		e.wake()
	case e.closed || e.err != nil:
		// Nobody is there any more: the answer to bytes is a reset. An orderly end needs no answer.
		if len(s.data) > 0 {
			e.c.way[e.side].send(segment{rst: true})
		}
	case s.fin:
		e.finished = true
		e.readable.Broadcast()
	default:
		e.recv.push(s.data)
		e.recvBytes += len(s.data)
		e.readable.Broadcast()
	}
}

// refuse answers a segment with a reset by a firewall.
func (d *direction) refuse(s segment) {
	d.drop()
	if !s.rst {
		d.from.failLocked(syscall.ECONNRESET)
	}
}

// drop forgets what is on the wire.
func (d *direction) drop() {
	d.flight.clear()
	d.bytes, d.stuck = 0, time.Time{}
	d.stop()
}

// wake arranges for pump after a while.
func (d *direction) wake(wait time.Duration) {
	if d.timer != nil {
		d.timer.Reset(wait)
		return
	}
	d.timer = time.AfterFunc(wait, func() {
		d.from.c.mu.Lock()
		defer d.from.c.mu.Unlock()
		d.pump()
	})
}

// await notes that bytes are unacknowledged over a cut and arranges for the sender to give up in time.
func (d *direction) await(now time.Time, p path) {
	if !d.stuck.IsZero() {
		return
	}
	d.stuck = now
	if d.giveUp != nil {
		d.giveUp.Reset(p.breaks)
		return
	}
	d.giveUp = time.AfterFunc(p.breaks, func() {
		d.from.c.mu.Lock()
		defer d.from.c.mu.Unlock()
		d.breakOff()
	})
}

// breakOff breaks the sender's end when its bytes have been unacknowledged for too long.
func (d *direction) breakOff() {
	if d.stuck.IsZero() {
		return
	}
	p := d.look()
	if left := p.breaks - time.Since(d.stuck); left > 0 {
		d.giveUp.Reset(left)
		return
	}
	d.from.failLocked(syscall.ETIMEDOUT)
}

// stop ends the timers.
func (d *direction) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	if d.giveUp != nil {
		d.giveUp.Stop()
	}
}
