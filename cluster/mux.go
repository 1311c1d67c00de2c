package cluster

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// The first byte of a connection says what it is for.
const (
	serviceRaft = 'R'
	serviceLink = 'L'
)

// handshakesMax bounds connections that have not said yet what they are for.
const handshakesMax = 256

// mux shares the cluster listener between Raft and links. One goroutine accepts; each connection has one of its own until
// it is handed on.
type mux struct {
	ln        net.Listener
	handshake time.Duration
	link      func(net.Conn) // serves a link connection on the caller's goroutine
	raft      *raftListener
	count     *counters
	wg        sync.WaitGroup
	slots     chan struct{}

	mu      sync.Mutex
	pending map[net.Conn]bool // in their handshake
	closed  bool
}

func newMux(ln net.Listener, handshake time.Duration, link func(net.Conn), count *counters) *mux {
	m := &mux{
		ln: ln, handshake: handshake, link: link, count: count,
		raft:    &raftListener{addr: ln.Addr(), conns: make(chan raftConn, 16), done: make(chan struct{})},
		slots:   make(chan struct{}, handshakesMax),
		pending: map[net.Conn]bool{},
	}
	m.wg.Go(m.accept)
	return m
}

func (m *mux) accept() {
	for {
		conn, err := m.ln.Accept()
		if err != nil {
			m.mu.Lock()
			closed := m.closed
			m.mu.Unlock()
			if closed {
				return
			}
			// Out of descriptors, or the like: it may pass. A listener that somebody else closed keeps failing, slowly.
			time.Sleep(50 * time.Millisecond)
			continue
		}
		m.slots <- struct{}{} // the backlog waits in the kernel; each slot is free again after the handshake time at most
		m.wg.Go(func() { m.serve(conn) })
	}
}

// serve reads the first byte, of a Raft connection also whose it is, and hands the connection on.
func (m *mux) serve(conn net.Conn) {
	if !m.track(conn) {
		conn.Close()
		<-m.slots
		return
	}
	conn.SetReadDeadline(time.Now().Add(m.handshake))
	var first [1]byte
	var cluster string
	_, err := conn.Read(first[:])
	if err == nil && first[0] == serviceRaft {
		cluster, err = readKin(conn)
	}
	conn.SetReadDeadline(time.Time{})
	ours := m.untrack(conn)
	<-m.slots
	switch {
	case !ours:
		conn.Close()
	case err == nil && first[0] == serviceLink:
		m.link(conn)
	case err == nil && first[0] == serviceRaft:
		m.raft.push(raftConn{conn, cluster})
	default:
		m.count.badFirstBytes.Add(1)
		conn.Close()
	}
}

// track makes close reach the connection; false after close.
func (m *mux) track(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.pending[conn] = true
	}
	return !m.closed
}

func (m *mux) untrack(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pending, conn)
	return !m.closed
}

// close stops accepting and ends what is in its handshake. Link connections must be ended by their owner, before wait.
func (m *mux) close() {
	m.mu.Lock()
	m.closed = true
	for conn := range m.pending {
		conn.Close()
	}
	m.mu.Unlock()
	m.ln.Close()
	m.raft.Close()
}

func (m *mux) wait() { m.wg.Wait() }

// raftConn is a connection from a node's Raft.
type raftConn struct {
	net.Conn
	cluster string // that the node belongs to, as it says; "" for none
}

// raftListener is where Raft connections arrive.
type raftListener struct {
	addr  net.Addr
	conns chan raftConn
	once  sync.Once
	done  chan struct{}
}

// push hands a connection to Accept. When Raft is that far behind, the connection is closed: its peer dials again.
func (l *raftListener) push(conn raftConn) {
	select {
	case l.conns <- conn:
	default:
		conn.Close()
	}
	select {
	case <-l.done:
		l.drain() // Close may have drained before
	default:
	}
}

func (l *raftListener) drain() {
	for {
		select {
		case conn := <-l.conns:
			conn.Close()
		default:
			return
		}
	}
}

// Accept waits for the next Raft connection.
func (l *raftListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept; the cluster listener itself goes on.
func (l *raftListener) Close() error {
	l.once.Do(func() { close(l.done) })
	l.drain()
	return nil
}

// Addr is the address of the cluster listener.
func (l *raftListener) Addr() net.Addr { return l.addr }

// RaftListener gives the Raft connections of the cluster listener. They arrive from New on. Closing it closes nothing else.
func (c *Cluster) RaftListener() net.Listener { return &kinListener{raftListener: c.mux.raft, c: c} }

// RaftAddr is where others reach RaftListener, and this node's address among the servers of the log. Raft tells nodes apart
// by it: a follower that hears from its leader refuses to vote for anybody else at another address.
func (c *Cluster) RaftAddr() string { return c.cfg.ClusterAdvertise }

// kinListener is the cluster listener as Raft sees it: with connections from its own cluster only.
type kinListener struct {
	*raftListener
	c    *Cluster
	warn sync.Once // strangers keep asking
}

// Accept waits for the next Raft connection from this cluster, or from a node that belongs to none yet.
func (l *kinListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.raftListener.Accept()
		if err != nil {
			return nil, err
		}
		theirs, mine := conn.(raftConn).cluster, l.c.clusterID()
		if theirs == "" || mine == "" || theirs == mine {
			return conn, nil
		}
		conn.Close()
		l.c.count.linksRefused.Add(1)
		l.warn.Do(func() {
			l.c.log.Warn("refused Raft of another cluster, which seems to have had a member at this address; remove that member there",
				"from", conn.RemoteAddr(), "cluster", theirs, "here", mine)
		})
	}
}

// DialRaft connects to the Raft side of another node's cluster address. It says whose this node is: another cluster may
// live at an address that was a member's once, and Raft itself would take any leader's word and give up its log for it.
func (c *Cluster) DialRaft(ctx context.Context, addr string) (net.Conn, error) {
	id := c.clusterID()
	return dialService(ctx, c.cfg.Net, addr, append([]byte{serviceRaft, byte(len(id))}, id...)...)
}

// readKin reads what DialRaft says behind the first byte.
func readKin(r io.Reader) (cluster string, err error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", err
	}
	b := make([]byte, n[0])
	_, err = io.ReadFull(r, b)
	return string(b), err
}

// dialService connects and says what for.
func dialService(ctx context.Context, n Net, addr string, preamble ...byte) (net.Conn, error) {
	conn, err := n.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetWriteDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now()) })
	_, err = conn.Write(preamble)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetWriteDeadline(time.Time{})
	return conn, nil
}
