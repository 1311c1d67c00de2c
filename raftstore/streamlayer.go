package raftstore

import (
	"context"
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

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu     sync.Mutex
	conns  map[*streamConn]struct{} // guarded by mu
	closed bool                     // guarded by mu
}

func newStream(l net.Listener, dial func(context.Context, string) (net.Conn, error), advertise string) *stream {
	s := &stream{listener: l, dial: dial, addr: address(advertise), conns: map[*streamConn]struct{}{}}
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
	return s.track(c)
}

func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	c, err := s.dial(ctx, string(to))
	if err != nil {
		return nil, err
	}
	return s.track(c)
}

func (s *stream) track(c net.Conn) (net.Conn, error) {
	sc := &streamConn{Conn: c, stream: s}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		c.Close()
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

type streamConn struct {
	net.Conn
	stream *stream
}

func (c *streamConn) Close() error {
	c.stream.mu.Lock()
	delete(c.stream.conns, c)
	c.stream.mu.Unlock()
	return c.Conn.Close()
}
