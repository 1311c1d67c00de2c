package memnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is one connection: two ends and what is under way between them. Its lock guards all of it.
type conn struct {
	n    *Network
	mu   sync.Mutex
	ends [2]*end
	way  [2]direction // way[i] carries from ends[i] to the other
}

// end is one side of a connection, a net.Conn with CloseWrite.
type end struct {
	c             *conn
	side          int
	host          *Host
	local, remote *net.TCPAddr

	// Guarded by c.mu.
	recv      fifo[[]byte] // arrived and not read
	recvBytes int
	finished  bool  // the peer's last byte arrived
	shutWrite bool  // CloseWrite was called
	closed    bool  // Close was called, or the process is gone
	err       error // why the connection broke
	readable  sync.Cond
	writable  sync.Cond
	readBy    deadline
	writeBy   deadline
}

// newConn is called with the network's lock held.
func newConn(from, to *Host, local, remote netip.AddrPort) *conn {
	c := &conn{n: from.n}
	a, b := net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(remote)
	c.ends[0] = &end{c: c, side: 0, host: from, local: a, remote: b}
	c.ends[1] = &end{c: c, side: 1, host: to, local: b, remote: a}
	for i, e := range c.ends {
		e.readable.L, e.writable.L = &c.mu, &c.mu
		c.way[i].from, c.way[i].to = e, c.ends[1-i]
		c.way[i].way = c.n.linkLocked(e.host.ip, c.ends[1-i].host.ip)
	}
	return c
}

// Read waits for bytes. It returns io.EOF after the last byte of a peer that closed.
func (e *end) Read(p []byte) (int, error) {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	for {
		switch {
		case e.closed:
			return 0, e.opError("read", e.closedErr())
		case e.readBy.passed():
			return 0, e.opError("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case e.recvBytes > 0:
			n := e.take(p)
			e.c.ends[1-e.side].writable.Broadcast()
			return n, nil
		case e.err != nil:
			return 0, e.opError("read", e.err)
		case e.finished:
			return 0, io.EOF
		}
		e.readable.Wait()
	}
}

// take moves bytes that arrived into p.
func (e *end) take(p []byte) int {
	n := 0
	for n < len(p) && e.recv.len() > 0 {
		next := e.recv.head()
		k := copy(p[n:], *next)
		n += k
		if *next = (*next)[k:]; len(*next) == 0 {
			e.recv.pop()
		}
	}
	e.recvBytes -= n
	return n
}

// Write sends all of p, waiting while the window is full. Bytes that were accepted before an error may still arrive.
func (e *end) Write(p []byte) (int, error) {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	way := &e.c.way[e.side]
	for sent := 0; ; {
		switch {
		case e.closed:
			return sent, e.opError("write", e.closedErr())
		case e.writeBy.passed():
			return sent, e.opError("write", os.ErrDeadlineExceeded)
		case e.err != nil:
			return sent, e.opError("write", e.err)
		case e.shutWrite:
			return sent, e.opError("write", syscall.EPIPE)
		case sent == len(p):
			return sent, nil
		}
		if room := way.room(); room > 0 {
			k := min(room, len(p)-sent)
			way.send(segment{data: append([]byte(nil), p[sent:sent+k]...)})
			if sent += k; sent == len(p) {
				return sent, nil
			}
			continue
		}
		e.writable.Wait()
	}
}

// closedErr is what calls on a closed end say: a process that is gone hears why.
func (e *end) closedErr() error {
	if e.err != nil {
		return e.err
	}
	return net.ErrClosed
}

// CloseWrite tells the peer that no more bytes come; reading goes on.
func (e *end) CloseWrite() error {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	if e.closed {
		return e.opError("close", net.ErrClosed)
	}
	if e.err == nil && !e.shutWrite {
		e.shutWrite = true
		e.c.way[e.side].send(segment{fin: true})
	}
	return nil
}

// Close ends the connection. The peer reads what was written and then io.EOF; it gets a reset instead when bytes from it
// were left unread here.
func (e *end) Close() error {
	e.c.mu.Lock()
	if e.closed {
		e.c.mu.Unlock()
		return e.opError("close", net.ErrClosed)
	}
	e.hangUp(e.recvBytes > 0)
	e.c.mu.Unlock()
	e.c.settle()
	return nil
}

// hangUp closes this end and tells the peer. The lock is held.
func (e *end) hangUp(reset bool) {
	if e.closed {
		return
	}
	e.closed = true
	e.recv.clear()
	e.recvBytes = 0
	e.readBy.stop()
	e.writeBy.stop()
	e.wake()
	if e.err != nil {
		return
	}
	switch {
	case reset:
		e.c.way[e.side].send(segment{rst: true})
	case !e.shutWrite:
		e.c.way[e.side].send(segment{fin: true})
	}
}

// failLocked breaks this end alone; the other hears nothing of it.
func (e *end) failLocked(err error) {
	if e.err == nil {
		e.err = err
	}
	e.c.way[e.side].drop()
	e.wake()
}

// abort ends a connection that its process never saw, or that its process can no longer use.
func (e *end) abort(err error) {
	e.c.mu.Lock()
	e.hangUp(true)
	if e.err == nil {
		e.err = err
	}
	e.c.mu.Unlock()
	e.c.settle()
}

// dieLocked ends the sides of the connection that belong to a process that is gone.
func (c *conn) dieLocked(h *Host, reset bool) {
	for _, e := range c.ends {
		if e.host == h {
			e.hangUp(reset || e.recvBytes > 0)
			if e.err == nil {
				e.err = syscall.ECONNRESET
			}
		}
	}
}

// rethink looks at the faults again after they changed.
func (c *conn) rethink() {
	c.mu.Lock()
	c.way[0].pump()
	c.way[1].pump()
	c.mu.Unlock()
}

// settle lets go of a connection that both sides closed and that carries nothing any more.
func (c *conn) settle() {
	c.mu.Lock()
	over := c.ends[0].closed && c.ends[1].closed
	if over {
		for i := range c.ends {
			c.way[i].stop()
		}
	}
	c.mu.Unlock()
	if over {
		c.n.forget(c)
	}
}

func (e *end) wake() {
	e.readable.Broadcast()
	e.writable.Broadcast()
}

// LocalAddr returns this side's address.
func (e *end) LocalAddr() net.Addr { return e.local }

// RemoteAddr returns the other side's address.
func (e *end) RemoteAddr() net.Addr { return e.remote }

// SetDeadline sets both deadlines; the zero time takes them away.
func (e *end) SetDeadline(t time.Time) error { return e.setDeadlines(t, true, true) }

// SetReadDeadline sets the instant after which Read fails with os.ErrDeadlineExceeded.
func (e *end) SetReadDeadline(t time.Time) error { return e.setDeadlines(t, true, false) }

// SetWriteDeadline sets the instant after which Write fails with os.ErrDeadlineExceeded.
func (e *end) SetWriteDeadline(t time.Time) error { return e.setDeadlines(t, false, true) }

func (e *end) setDeadlines(t time.Time, read, write bool) error {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	if e.closed {
		return e.opError("set", net.ErrClosed)
	}
	if read {
		e.readBy.set(t, &e.readable)
	}
	if write {
		e.writeBy.set(t, &e.writable)
	}
	return nil
}

func (e *end) opError(op string, err error) error {
	return opError(op, "tcp", e.local, e.remote, err)
}
