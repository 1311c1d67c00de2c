package cluster

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// testNet is a network in memory, just good enough to cut, reject and kill. A host that is killed resets its connections and then refuses;
// a cut holds bytes and swallows packets and attempts to connect; a rejecting path refuses attempts and resets who writes.
type testNet struct {
	mu      sync.Mutex
	cond    sync.Cond // any change at all
	hosts   map[string]*testHost
	cuts    map[[2]string]bool // from, to
	rejects map[[2]string]bool
}

func newTestNet() *testNet {
	n := &testNet{hosts: map[string]*testHost{}, cuts: map[[2]string]bool{}, rejects: map[[2]string]bool{}}
	n.cond.L = &n.mu
	return n
}

// testHost is one life of a host. It implements Net.
type testHost struct {
	net       *testNet
	ip        string
	dead      bool
	listeners map[string]*testListener
	packets   map[string]*testPackets
	conns     map[*testConn]bool
	ports     int
}

// host gives a fresh host at an address, in place of one that was killed.
func (n *testNet) host(ip string) *testHost {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &testHost{net: n, ip: ip, listeners: map[string]*testListener{}, packets: map[string]*testPackets{}, conns: map[*testConn]bool{}, ports: 40000}
	n.hosts[ip] = h
	return h
}

func (n *testNet) set(f func()) {
	n.mu.Lock()
	f()
	n.cond.Broadcast()
	n.mu.Unlock()
}

// isolate cuts a host from all others, or heals it.
func (n *testNet) isolate(ip string, cut bool) {
	n.set(func() {
		for other := range n.hosts {
			if other != ip {
				n.cuts[[2]string{ip, other}], n.cuts[[2]string{other, ip}] = cut, cut
			}
		}
	})
}

// reject makes a firewall reject everything between a host and all others.
func (n *testNet) reject(ip string) {
	n.set(func() {
		for other := range n.hosts {
			if other != ip {
				n.rejects[[2]string{ip, other}], n.rejects[[2]string{other, ip}] = true, true
			}
		}
	})
}

// reaches says whether packets get from a to b and back.
func (n *testNet) reaches(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	there, back := [2]string{a, b}, [2]string{b, a}
	return !n.cuts[there] && !n.cuts[back] && !n.rejects[there] && n.hosts[a] != nil && !n.hosts[a].dead && n.hosts[b] != nil && !n.hosts[b].dead
}

// kill ends a host's process at once.
func (h *testHost) kill() {
	h.net.set(func() {
		h.dead = true
		for c := range h.conns {
			c.closed = true
			c.peer.err = syscall.ECONNRESET
		}
		for _, l := range h.listeners {
			l.closed = true
		}
		for _, p := range h.packets {
			p.closed = true
		}
	})
}

func (h *testHost) Listen(addr string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.listeners[addr] != nil && !h.listeners[addr].closed {
		return nil, syscall.EADDRINUSE
	}
	a, err := net.ResolveTCPAddr("tcp", addr)
	l := &testListener{host: h, addr: a}
	h.listeners[addr] = l
	return l, err
}

func (h *testHost) ListenPacket(addr string) (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	a, err := net.ResolveUDPAddr("udp", addr)
	p := &testPackets{host: h, addr: a}
	h.packets[addr] = p
	return p, err
}

func (h *testHost) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n := h.net
	ip, _, _ := net.SplitHostPort(addr)
	stop := context.AfterFunc(ctx, func() { n.set(func() {}) })
	defer stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.cuts[[2]string{h.ip, ip}] || n.cuts[[2]string{ip, h.ip}] || n.hosts[ip] == nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n.cond.Wait()
	}
	if h.dead {
		return nil, net.ErrClosed
	}
	to := n.hosts[ip]
	l := to.listeners[addr]
	if to.dead || l == nil || l.closed || n.rejects[[2]string{h.ip, ip}] {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	h.ports++
	local := &net.TCPAddr{IP: net.ParseIP(h.ip), Port: h.ports}
	a := &testConn{net: n, host: h, local: local, remote: l.addr}
	b := &testConn{net: n, host: to, local: l.addr, remote: local}
	a.peer, b.peer = b, a
	h.conns[a], to.conns[b] = true, true
	l.queue = append(l.queue, b)
	n.cond.Broadcast()
	return a, nil
}

type testListener struct {
	host   *testHost
	addr   net.Addr
	queue  []*testConn
	closed bool
}

func (l *testListener) Accept() (net.Conn, error) {
	n := l.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		n.cond.Wait()
	}
	if l.closed {
		return nil, net.ErrClosed
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

func (l *testListener) Close() error {
	l.host.net.set(func() {
		l.closed = true
		for _, c := range l.queue {
			c.closed = true
			c.peer.err = syscall.ECONNRESET
		}
	})
	return nil
}

func (l *testListener) Addr() net.Addr { return l.addr }

// testConn is one end of a connection; everything is guarded by the network's mutex.
type testConn struct {
	net           *testNet
	host          *testHost
	peer          *testConn
	local, remote net.Addr
	in            []byte // arrived, not read
	closed        bool
	err           error // the other end is gone
	rdl, wdl      time.Time
}

// testWindow is what may be on its way.
const testWindow = 256 << 10

func (c *testConn) blocked() bool { return c.net.cuts[[2]string{c.peer.host.ip, c.host.ip}] }

func passed(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (c *testConn) Read(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case len(c.in) > 0 && !c.blocked():
			n := copy(b, c.in)
			c.in = c.in[n:]
			c.net.cond.Broadcast()
			return n, nil
		case c.err != nil && !c.blocked():
			return 0, c.err
		case passed(c.rdl):
			return 0, os.ErrDeadlineExceeded
		}
		c.net.cond.Wait()
	}
}

func (c *testConn) Write(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	sent := 0
	for sent < len(b) {
		switch {
		case c.closed:
			return sent, net.ErrClosed
		case c.net.rejects[[2]string{c.host.ip, c.peer.host.ip}]:
			c.err = syscall.ECONNRESET
			c.net.cond.Broadcast()
			return sent, c.err
		case c.err != nil:
			return sent, syscall.EPIPE
		case passed(c.wdl):
			return sent, os.ErrDeadlineExceeded
		case len(c.peer.in) < testWindow:
			n := min(len(b)-sent, testWindow-len(c.peer.in))
			c.peer.in = append(c.peer.in, b[sent:sent+n]...)
			sent += n
			c.net.cond.Broadcast()
			continue
		}
		c.net.cond.Wait()
	}
	return sent, nil
}

func (c *testConn) Close() error {
	c.net.set(func() {
		if !c.closed {
			c.closed = true
			delete(c.host.conns, c)
			if c.peer.err == nil {
				c.peer.err = io.EOF
			}
		}
	})
	return nil
}

func (c *testConn) LocalAddr() net.Addr  { return c.local }
func (c *testConn) RemoteAddr() net.Addr { return c.remote }

func (c *testConn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *testConn) SetReadDeadline(t time.Time) error  { return c.deadline(&c.rdl, t) }
func (c *testConn) SetWriteDeadline(t time.Time) error { return c.deadline(&c.wdl, t) }

func (c *testConn) deadline(d *time.Time, t time.Time) error {
	c.net.set(func() { *d = t })
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() { c.net.set(func() {}) })
	}
	return nil
}

type testPackets struct {
	host   *testHost
	addr   net.Addr
	queue  []testPacket
	closed bool
}

type testPacket struct {
	from net.Addr
	data []byte
}

func (p *testPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n := p.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(p.queue) == 0 && !p.closed {
		n.cond.Wait()
	}
	if p.closed {
		return 0, nil, net.ErrClosed
	}
	q := p.queue[0]
	p.queue = p.queue[1:]
	return copy(b, q.data), q.from, nil
}

func (p *testPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	ip, _, err := net.SplitHostPort(to.String())
	if err != nil {
		return 0, err
	}
	if p.host.net.reaches(p.host.ip, ip) {
		p.host.net.set(func() {
			if q := p.host.net.hosts[ip].packets[to.String()]; q != nil && len(q.queue) < 1024 {
				q.queue = append(q.queue, testPacket{p.addr, append([]byte(nil), b...)})
			}
		})
	}
	return len(b), nil
}

func (p *testPackets) Close() error {
	p.host.net.set(func() { p.closed = true })
	return nil
}

func (p *testPackets) LocalAddr() net.Addr              { return p.addr }
func (p *testPackets) SetDeadline(time.Time) error      { return nil }
func (p *testPackets) SetReadDeadline(time.Time) error  { return nil }
func (p *testPackets) SetWriteDeadline(time.Time) error { return nil }
