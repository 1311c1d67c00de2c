package memnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Limits of packets.
const (
	packetMax   = 65507 // bytes of payload in one packet
	packetQueue = 1024  // packets that wait for ReadFrom; more are dropped
)

// packet is what one WriteTo sends.
type packet struct {
	from *net.UDPAddr
	data []byte
}

// packetConn is a packet socket.
type packetConn struct {
	host  *Host
	local *net.UDPAddr

	mu       sync.Mutex
	queue    fifo[packet]
	closed   bool
	readable sync.Cond
	readBy   deadline
	writeBy  deadline
	writable sync.Cond // only for its deadline: a send never waits
}

func newPacketConn(h *Host, port uint16) *packetConn {
	s := &packetConn{host: h, local: net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.ip, port))}
	s.readable.L, s.writable.L = &s.mu, &s.mu
	return s
}

// ReadFrom waits for a packet. What does not fit into p is lost.
func (s *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.closed:
			return 0, nil, opError("read", "udp", s.local, nil, net.ErrClosed)
		case s.readBy.passed():
			return 0, nil, opError("read", "udp", s.local, nil, os.ErrDeadlineExceeded)
		case s.queue.len() > 0:
			first := *s.queue.head()
			s.queue.pop()
			return copy(p, first.data), first.from, nil
		}
		s.readable.Wait()
	}
}

// WriteTo sends one packet. It never waits; a packet that nobody gets is not an error.
func (s *packetConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	s.mu.Lock()
	closed, late := s.closed, s.writeBy.passed()
	s.mu.Unlock()
	to, err := s.host.resolve(addr.String())
	switch {
	case closed:
		err = net.ErrClosed
	case late:
		err = os.ErrDeadlineExceeded
	case err == nil && len(p) > packetMax:
		err = syscall.EMSGSIZE
	}
	if err != nil {
		return 0, opError("write", "udp", s.local, addr, err)
	}
	for _, wait := range s.host.n.fares(s.host.ip, to.Addr()) {
		s.carry(packet{from: s.local, data: append([]byte(nil), p...)}, to, wait)
	}
	return len(p), nil
}

// fares draws after how long each copy of a packet arrives: none when it is lost.
func (n *Network) fares(from, to netip.Addr) []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pathLocked(from, to)
	if p.blocked() || p.reject {
		return nil
	}
	l := n.linkLocked(from, to)
	out := []time.Duration{n.latencyLocked(l)}
	if l.same {
		return out
	}
	if l.drop > 0 && l.rng.Float64() < l.drop {
		return nil
	}
	if l.duplicate > 0 && l.rng.Float64() < l.duplicate {
		out = append(out, n.latencyLocked(l))
	}
	return out
}

// carry delivers a packet after a while, if the way is still open then.
func (s *packetConn) carry(p packet, to netip.AddrPort, wait time.Duration) {
	if wait == 0 {
		s.host.n.put(p, s.host.ip, to)
		return
	}
	time.AfterFunc(wait, func() { s.host.n.put(p, s.host.ip, to) })
}

// put hands a packet to the socket that is bound there now.
func (n *Network) put(p packet, from netip.Addr, to netip.AddrPort) {
	n.mu.Lock()
	way := n.pathLocked(from, to.Addr())
	var s *packetConn
	if h := n.hosts[to.Addr()]; h != nil && !way.blocked() && !way.reject {
		s = h.sockets[to.Port()]
	}
	n.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.queue.len() < packetQueue {
		s.queue.push(p)
		s.readable.Signal()
	}
}

// Close frees the port.
func (s *packetConn) Close() error {
	s.host.n.mu.Lock()
	port := uint16(s.local.Port)
	if s.host.sockets[port] == s {
		delete(s.host.sockets, port)
	}
	s.host.n.mu.Unlock()
	if !s.shut() {
		return opError("close", "udp", s.local, nil, net.ErrClosed)
	}
	return nil
}

// shut ends the socket and says whether it was open.
func (s *packetConn) shut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := !s.closed
	s.closed = true
	s.queue.clear()
	s.readBy.stop()
	s.writeBy.stop()
	s.readable.Broadcast()
	return was
}

// LocalAddr returns the address that peers send to.
func (s *packetConn) LocalAddr() net.Addr { return s.local }

// SetDeadline sets both deadlines; the zero time takes them away.
func (s *packetConn) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

// SetReadDeadline sets the instant after which ReadFrom fails with os.ErrDeadlineExceeded.
func (s *packetConn) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readBy.set(t, &s.readable)
	return nil
}

// SetWriteDeadline sets the instant after which WriteTo fails with os.ErrDeadlineExceeded.
func (s *packetConn) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeBy.set(t, &s.writable)
	return nil
}
