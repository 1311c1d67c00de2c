package memnet

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// backlog is how many connections may wait for Accept.
const backlog = 1024

// listener is a port that takes connections.
type listener struct {
	host  *Host
	port  uint16
	queue chan *end

	mu     sync.Mutex
	closed bool
	done   chan struct{}
}

func newListener(h *Host, port uint16) *listener {
	return &listener{host: h, port: port, queue: make(chan *end, backlog), done: make(chan struct{})}
}

// Accept waits for the next connection, or fails with net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
	default:
		select {
		case e := <-l.queue:
			return e, nil
		case <-l.done:
		}
	}
	return nil, opError("accept", "tcp", nil, l.Addr(), net.ErrClosed)
}

// Close frees the port. Connections that nobody accepted are reset.
func (l *listener) Close() error {
	l.host.n.mu.Lock()
	if l.host.listeners[l.port] == l {
		delete(l.host.listeners, l.port)
	}
	l.host.n.mu.Unlock()
	if !l.shut() {
		return opError("close", "tcp", nil, l.Addr(), net.ErrClosed)
	}
	return nil
}

// Addr returns the address that peers dial.
func (l *listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.host.ip, l.port))
}

// offer queues a connection for Accept and says whether there was room.
func (l *listener) offer(e *end) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	select {
	case l.queue <- e:
		return true
	default:
		return false
	}
}

// shut ends the listener and says whether it was open.
func (l *listener) shut() bool {
	l.mu.Lock()
	was := !l.closed
	if was {
		l.closed = true
		close(l.done)
	}
	l.mu.Unlock()
	for {
		select {
		case e := <-l.queue:
			e.abort(syscall.ECONNRESET)
		default:
			return was
		}
	}
}
