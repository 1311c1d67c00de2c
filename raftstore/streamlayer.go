package raftstore

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stream is raft's way to other nodes, over the listener and dial function of Config. It knows every open connection,
// so that a node can be cut from the network at once: raft's own transport leaves accepted ones to the other side.
type stream struct {
	listener net.Listener
	dial     func(ctx context.Context, addr string) (net.Conn, error)
	addr     address
	self     string                   // node id
	nodeAt   func(addr string) string // which node's vote an address stands for; "": nobody's

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex
	conns  map[*streamConn]struct{} // guarded by mu
	closed bool                     // guarded by mu
}

func newStream(c *Config, nodeAt func(addr string) string) *stream {
	s := &stream{
		listener: c.Listener, dial: c.Dial, addr: address(c.Advertise), self: c.NodeID, nodeAt: nodeAt,
		conns: map[*streamConn]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// address is what a node advertises to the others.
type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

func (s *stream) Addr() net.Addr { return s.addr }

func (s *stream) Accept() (net.Conn, error) {
	c, err := s.listener.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(&streamConn{Conn: c, unread: true})
}

func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	node := s.nodeAt(string(to))
	if node == "" {
		return nil, fmt.Errorf("dial %s: no server of the log is there", to)
	}
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	c, err := s.dial(ctx, string(to))
	if err != nil {
		return nil, err
	}
	return s.track(&streamConn{Conn: c, greeting: appendBytes([]byte{streamVersion}, node)})
}

func (s *stream) track(sc *streamConn) (net.Conn, error) {
	sc.stream = s
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		sc.Conn.Close()
		return nil, net.ErrClosed
	}
	s.conns[sc] = struct{}{}
	s.mu.Unlock()
	return sc, nil
}

// Close cuts this node off: when it returns nothing is sent or received any more. It may be called again.
func (s *stream) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	conns := s.conns
	s.conns = map[*streamConn]struct{}{}
	s.mu.Unlock()
	s.cancel()
	err := s.listener.Close()
	for c := range conns {
		c.Conn.Close()
	}
	return err
}

// streamVersion begins what a connection begins with: this byte, uvarint length, id of the node that is meant. Raft itself
// asks an address. A new node at the address of a dead one would answer in its place, and has forgotten all that the
// other had agreed to: with its vote, one could lead who lacks what was committed.
const streamVersion = 1

type streamConn struct {
	net.Conn
	stream   *stream
	greeting []byte // dialed: goes before what is written first; nil when it has gone. Of the writer
	unread   bool   // accepted: the greeting is still to be read. Of the reader
}

func (c *streamConn) Write(b []byte) (int, error) {
	if c.greeting == nil {
		return c.Conn.Write(b)
	}
	greeting := c.greeting
	c.greeting = nil
	n, err := c.Conn.Write(append(greeting, b...))
	return max(n-len(greeting), 0), err
}

func (c *streamConn) Read(b []byte) (int, error) {
	if c.unread {
		if err := c.greeted(); err != nil {
			c.Close()
			return 0, err
		}
		c.unread = false
	}
	return c.Conn.Read(b)
}

// greeted reads the greeting.
func (c *streamConn) greeted() error {
	var head [2]byte // an id has no more than 127 bytes
	if _, err := io.ReadFull(c.Conn, head[:]); err != nil {
		return err
	}
	if head[0] != streamVersion || head[1] > 127 {
		return fmt.Errorf("connection of another version: it begins with %x", head)
	}
	node := make([]byte, head[1])
	if _, err := io.ReadFull(c.Conn, node); err != nil {
		return err
	}
	if string(node) != c.stream.self {
		return fmt.Errorf("connection is for node %q, which is not here", node)
	}
	return nil
}

func (c *streamConn) Close() error {
	c.stream.mu.Lock()
	delete(c.stream.conns, c)
	c.stream.mu.Unlock()
	return c.Conn.Close()
}
