package memnet

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// dialTimeout is how long a dial that gets no answer waits when its context does not end it, as Linux does by default.
const dialTimeout = 127 * time.Second

// Host is one process at one address. It listens, dials and sends packets as the functions of package net do, with
// addresses of the form "ip:port". Methods may be called from any goroutine.
type Host struct {
	n  *Network
	ip netip.Addr

	// Guarded by n.mu.
	dead      bool
	state     fate
	port      uint16 // the last port given to port 0
	listeners map[uint16]*listener
	sockets   map[uint16]*packetConn
	conns     map[*conn]struct{} // with an end here
}

func newHost(n *Network, ip netip.Addr) *Host {
	return &Host{
		n: n, ip: ip, port: 32767,
		listeners: make(map[uint16]*listener),
		sockets:   make(map[uint16]*packetConn),
		conns:     make(map[*conn]struct{}),
	}
}

// IP returns the host's address.
func (h *Host) IP() string { return h.ip.String() }

// Listen opens a listener. The address is the host's own, a loopback or the unspecified one; they are all the same here.
// Port 0 picks a free one. A port in use fails with EADDRINUSE, a dead host with ENETDOWN.
func (h *Host) Listen(addr string) (net.Listener, error) {
	port, err := h.own(addr)
	if err != nil {
		return nil, opError("listen", "tcp", nil, nil, err)
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	port, err = h.bindLocked(port, func(p uint16) bool { return h.listeners[p] != nil })
	if err != nil {
		return nil, opError("listen", "tcp", nil, nil, err)
	}
	l := newListener(h, port)
	h.listeners[port] = l
	return l, nil
}

// ListenPacket opens a packet socket; addresses and errors are as with Listen. Ports of packets and of streams are apart.
func (h *Host) ListenPacket(addr string) (net.PacketConn, error) {
	port, err := h.own(addr)
	if err != nil {
		return nil, opError("listen", "udp", nil, nil, err)
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	port, err = h.bindLocked(port, func(p uint16) bool { return h.sockets[p] != nil })
	if err != nil {
		return nil, opError("listen", "udp", nil, nil, err)
	}
	s := newPacketConn(h, port)
	h.sockets[port] = s
	return s, nil
}

// Dial connects to a listener. It waits for one round trip, and as long as the way is cut; ctx ends the wait.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	to, err := h.resolve(addr)
	if err != nil {
		return nil, opError("dial", "tcp", nil, nil, err)
	}
	remote := net.TCPAddrFromAddrPort(to)
	if err := h.shake(ctx, to.Addr()); err != nil {
		return nil, opError("dial", "tcp", nil, remote, err)
	}
	c, l, err := h.connect(to)
	if err != nil {
		return nil, opError("dial", "tcp", nil, remote, err)
	}
	if !l.offer(c.ends[1]) {
		c.ends[1].abort(syscall.ECONNRESET)
		c.ends[0].abort(syscall.ECONNRESET)
		return nil, opError("dial", "tcp", nil, remote, syscall.ECONNREFUSED)
	}
	return c.ends[0], nil
}

// shake waits until the first packet could go there and its answer come back.
func (h *Host) shake(ctx context.Context, to netip.Addr) error {
	timeout := time.NewTimer(dialTimeout)
	defer timeout.Stop()
	waited := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h.n.mu.Lock()
		down := h.dead
		there, back := h.n.pathLocked(h.ip, to), h.n.pathLocked(to, h.ip)
		known := h.n.hosts[to] != nil
		changed := h.n.changed
		trip := h.n.latencyLocked(h.n.linkLocked(h.ip, to)) + h.n.latencyLocked(h.n.linkLocked(to, h.ip))
		h.n.mu.Unlock()
		switch {
		case down:
			return syscall.ENETDOWN
		case !known:
			return syscall.EHOSTUNREACH
		case there.reject && !there.blocked():
			return syscall.ECONNREFUSED
		}
		var wait <-chan time.Time
		if !there.blocked() && !back.blocked() {
			if waited || trip == 0 {
				return nil
			}
			t := time.NewTimer(trip)
			defer t.Stop()
			wait, changed, waited = t.C, nil, true
		}
		select {
		case <-wait:
		case <-changed:
		case <-timeout.C:
			return syscall.ETIMEDOUT
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connect joins a new connection to both hosts.
func (h *Host) connect(to netip.AddrPort) (*conn, *listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if h.dead {
		return nil, nil, syscall.ENETDOWN
	}
	peer := h.n.hosts[to.Addr()]
	if peer == nil || peer.dead {
		return nil, nil, syscall.ECONNREFUSED
	}
	l := peer.listeners[to.Port()]
	if way := h.n.links[route{h.ip, to.Addr()}]; l == nil || way != nil && way.refused == to.Port() {
		return nil, nil, syscall.ECONNREFUSED
	}
	port, err := h.bindLocked(0, func(p uint16) bool { return h.listeners[p] != nil })
	if err != nil {
		return nil, nil, err
	}
	c := newConn(h, peer, netip.AddrPortFrom(h.ip, port), to)
	h.conns[c] = struct{}{}
	peer.conns[c] = struct{}{}
	return c, l, nil
}

// bindLocked checks a port, or picks the next free one for 0.
func (h *Host) bindLocked(port uint16, used func(uint16) bool) (uint16, error) {
	if h.dead {
		return 0, syscall.ENETDOWN
	}
	if port != 0 {
		if used(port) {
			return 0, syscall.EADDRINUSE
		}
		return port, nil
	}
	for range 1 << 15 {
		h.port++
		if h.port < 1<<15 {
			h.port = 1 << 15
		}
		if !used(h.port) {
			return h.port, nil
		}
	}
	return 0, syscall.EADDRNOTAVAIL
}

// own parses an address to listen on.
func (h *Host) own(addr string) (uint16, error) {
	to, err := h.resolve(addr)
	if err != nil {
		return 0, err
	}
	if to.Addr() != h.ip {
		return 0, syscall.EADDRNOTAVAIL
	}
	return to.Port(), nil
}

// resolve parses an address; loopback, "localhost", the unspecified address and "" mean this host.
func (h *Host) resolve(addr string) (netip.AddrPort, error) {
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	if name == "" || name == "localhost" {
		return netip.AddrPortFrom(h.ip, uint16(port)), nil
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return netip.AddrPort{}, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	if ip.IsLoopback() || ip.IsUnspecified() {
		ip = h.ip
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}

// end takes the host's process away: by reset, or closing each connection in order.
func (h *Host) end(reset bool) {
	h.n.mu.Lock()
	h.dead = true
	conns, listeners, sockets := h.conns, h.listeners, h.sockets
	h.conns = make(map[*conn]struct{})
	h.listeners = make(map[uint16]*listener)
	h.sockets = make(map[uint16]*packetConn)
	h.n.nudge()
	h.n.mu.Unlock()
	for _, l := range listeners {
		l.shut()
	}
	for _, s := range sockets {
		s.shut()
	}
	h.cutOff(conns, reset)
	for c := range conns {
		c.settle()
	}
}

// cutOff ends all connections at once: a process that is killed does not learn from one of them that it is, and tell it
// over another. One host at a time: two that die together hold their locks in different orders.
func (h *Host) cutOff(conns map[*conn]struct{}, reset bool) {
	h.n.ending.Lock()
	defer h.n.ending.Unlock()
	for c := range conns {
		c.mu.Lock()
	}
	for c := range conns {
		c.dieLocked(h, reset)
	}
	for c := range conns {
		c.mu.Unlock()
	}
}

// forget drops a connection that both ends are done with.
func (n *Network) forget(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(c.ends[0].host.conns, c)
	delete(c.ends[1].host.conns, c)
}
