package raftstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// testNet joins the stores of a test in memory: raft connections are pipes, forwarded payloads are calls.
type testNet struct {
	mu        sync.Mutex
	listeners map[string]*testListener // by address
	stores    map[string]*Store        // by node id
	cut       map[string]bool          // node ids off the net
	pipes     map[net.Conn][2]string   // both ends of each connection: node ids

	// onForward may fail a forward before it is made, or its answer afterwards.
	onForward func(leader string, answered bool) error
}

func newTestNet() *testNet {
	return &testNet{listeners: map[string]*testListener{}, stores: map[string]*Store{}, cut: map[string]bool{}, pipes: map[net.Conn][2]string{}}
}

type testListener struct {
	net    *testNet
	addr   address
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *testNet) listen(addr string) *testListener {
	l := &testListener{net: n, addr: address(addr), conns: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[addr] = l
	return l
}

func (l *testListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *testListener) Addr() net.Addr { return l.addr }

func (l *testListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		if l.net.listeners[string(l.addr)] == l {
			delete(l.net.listeners, string(l.addr))
		}
	})
	return nil
}

func (n *testNet) dialer(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		n.mu.Lock()
		l := n.listeners[addr]
		to := strings.TrimSuffix(addr, ":1")
		cut := n.cut[from] || n.cut[to]
		n.mu.Unlock()
		if cut {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if l == nil {
			return nil, fmt.Errorf("dial %s: refused", addr)
		}
		here, there := net.Pipe()
		select {
		case l.conns <- there:
			n.mu.Lock()
			defer n.mu.Unlock()
			n.pipes[here] = [2]string{from, to}
			return here, nil
		case <-l.closed:
			return nil, fmt.Errorf("dial %s: refused", addr)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Forward is a Forwarder for every node of the net.
func (n *testNet) Forward(ctx context.Context, leader string, payload []byte) ([]byte, error) {
	n.mu.Lock()
	s := n.stores[leader]
	hook := n.onForward
	cut := n.cut[leader]
	n.mu.Unlock()
	if s == nil || cut {
		return nil, errors.New("no link")
	}
	if hook != nil {
		if err := hook(leader, false); err != nil {
			return nil, err
		}
	}
	b, err := s.HandleForward(ctx, append([]byte(nil), payload...))
	if hook != nil && err == nil {
		err = hook(leader, true)
	}
	return b, err
}

// isolate cuts a node off or heals the cut: its connections break, new ones hang.
func (n *testNet) isolate(node string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[node] = cut
	for c, ends := range n.pipes {
		if cut && (ends[0] == node || ends[1] == node) {
			c.Close()
			delete(n.pipes, c)
		}
	}
}

func (n *testNet) set(id string, s *Store) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s == nil {
		delete(n.stores, id)
	} else {
		n.stores[id] = s
	}
}
