package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"innkeeper/cluster"
	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
)

// Options are what a node is built from.
type Options struct {
	Config config.Config
	// Net is the network under the node; nil is the machine's.
	Net cluster.Net
	// Disk is where the log lives; nil is Config.Node.DataDir.
	Disk raftstore.Disk
	// Boottime is a clock that goes on while the machine is suspended; nil is CLOCK_BOOTTIME.
	Boottime func() time.Duration
	// Logger takes what the node says about itself; nil drops it.
	Logger *slog.Logger
	// Log may change how the log runs before it is opened, where its own defaults do not fit; nil leaves them. For
	// simulations.
	Log func(*raftstore.Config)

	// TrustAdmin lets everybody use the control API where there are no tokens, from whatever address. For simulations, whose
	// networks have no loopback.
	TrustAdmin bool

	joints joints
}

// Node is one process's part of a cluster. Run and Kill are called once; the rest may be called at any time.
type Node struct {
	opts Options
	cfg  config.Config
	net  cluster.Net
	disk raftstore.Disk
	log  *slog.Logger

	ownsDisk bool
	addr     addresses // as bound: port 0 is resolved by the first boot

	mu      sync.Mutex
	ears    *ears // bound by New, taken by the first boot
	boot    atomic.Pointer[boot]
	started chan struct{}
	once    sync.Once
	drain   chan struct{}
	drained sync.Once
	kill    chan struct{}
	killed  sync.Once
	done    chan struct{}
}

// addresses are where a node listens, with ports resolved.
type addresses struct{ client, admin, cluster, gossip string }

// ears are the bound listeners of one boot.
type ears struct {
	client, admin, cluster, gossip net.Listener
	packet                         net.PacketConn
}

func (e *ears) close() {
	for _, c := range []io.Closer{e.client, e.admin, e.cluster, e.gossip, e.packet} {
		if c != nil {
			c.Close()
		}
	}
}

// New opens the disk and binds the addresses, so that a port or a data directory in use is reported before anything
// runs. The node does nothing until Run.
func New(o Options) (*Node, error) {
	n := &Node{
		opts: o, cfg: o.Config, net: o.Net, disk: o.Disk, log: o.Logger,
		started: make(chan struct{}), drain: make(chan struct{}), kill: make(chan struct{}), done: make(chan struct{}),
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if n.net == nil {
		n.net = hostNet{}
	}
	if n.disk == nil {
		d, err := openDir(&n.cfg)
		if err != nil {
			return nil, err
		}
		n.disk, n.ownsDisk = d, true
	}
	c := n.cfg.Node
	n.addr = addresses{client: c.Listen, admin: c.AdminListen, cluster: c.ClusterListen, gossip: c.GossipListen}
	e, err := n.bind()
	if err != nil {
		if n.ownsDisk {
			n.disk.Close()
		}
		return nil, err
	}
	n.ears = e
	return n, nil
}

// StartError says that a node could not start, as an error of New does: it has served nobody.
type StartError struct{ error }

func (e *StartError) Unwrap() error { return e.error }

// bind listens on all addresses, or on none.
func (n *Node) bind() (*ears, error) {
	e := &ears{}
	var errs []error
	listen := func(key string, addr *string, to *net.Listener) {
		l, err := n.net.Listen(*addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: cannot listen on %s: %w%s", key, *addr, err, listenRemedy(err)))
			return
		}
		*to, *addr = l, l.Addr().String()
	}
	listen("node.listen", &n.addr.client, &e.client)
	if n.addr.admin != "" {
		listen("node.admin_listen", &n.addr.admin, &e.admin)
	}
	listen("node.cluster_listen", &n.addr.cluster, &e.cluster)
	if err := n.bindGossip(e); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		e.close()
		return nil, errors.Join(errs...)
	}
	return e, nil
}

// bindGossip binds one port for both TCP and UDP. With port 0 the first choice may be taken on the other protocol,
// so it tries a few.
func (n *Node) bindGossip(e *ears) error {
	host, port, err := net.SplitHostPort(n.addr.gossip)
	if err != nil {
		return fmt.Errorf("node.gossip_listen: %q: %w", n.addr.gossip, err)
	}
	tries := 1
	if port == "0" {
		tries = 16
	}
	for range tries {
		e.gossip, err = n.net.Listen(net.JoinHostPort(host, port))
		if err != nil {
			break
		}
		_, p, _ := net.SplitHostPort(e.gossip.Addr().String())
		bound := net.JoinHostPort(host, p)
		e.packet, err = n.net.ListenPacket(bound)
		if err == nil {
			n.addr.gossip = bound
			return nil
		}
		e.gossip.Close()
	}
	return fmt.Errorf("node.gossip_listen: cannot listen on %s (TCP and UDP): %w%s", n.addr.gossip, err, listenRemedy(err))
}

// Run serves until ctx ends (then it stops gracefully and returns nil, unless something broke meanwhile), Kill is called, or
// the node cannot go on; a *StartError says that it could not begin.
func (n *Node) Run(ctx context.Context) error {
	defer close(n.done)
	defer func() {
		if n.ownsDisk {
			n.disk.Close()
		}
	}()
	for {
		e, err := n.takeEars()
		if err != nil {
			return err
		}
		b, err := n.start(ctx, e)
		if err != nil {
			e.close()
			if n.boot.Load() == nil {
				err = &StartError{err}
			}
			return err
		}
		n.boot.Store(b)
		n.once.Do(func() { close(n.started) })
		again, err := n.watch(ctx, b)
		if !again {
			return err
		}
		n.log.Warn("this node was declared dead by the cluster; starting again under a new boot id", "node", n.disk.NodeID(), "boot", b.id)
	}
}

// watch waits for the end of one boot and stops it. again says that another boot shall follow.
func (n *Node) watch(ctx context.Context, b *boot) (again bool, err error) {
	select {
	case <-ctx.Done():
		n.log.Info("stopping", "node", n.disk.NodeID())
		return false, n.broke(b.stop(true))
	case <-n.drain:
		n.log.Info("draining", "node", n.disk.NodeID())
		return false, n.broke(b.stop(true))
	case <-n.kill:
		b.stop(false)
		return false, errKilled
	case err := <-b.fatal:
		b.stop(false)
		return false, n.broke(err)
	case <-b.dead:
		b.stop(false)
		return true, nil
	}
}

// broke says of an error, if there is one, that it ended the node.
func (n *Node) broke(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("node %s cannot go on: %w", n.disk.NodeID(), err)
}

// takeEars hands over what New bound, or binds the same addresses again for a later boot.
func (n *Node) takeEars() (*ears, error) {
	n.mu.Lock()
	e := n.ears
	n.ears = nil
	n.mu.Unlock()
	if e != nil {
		return e, nil
	}
	return n.bind()
}

// Drain makes the node hand over what it has, send its clients elsewhere and stop, as the end of Run's context does. It
// returns nil when Run has returned, or the error of ctx, which ends the waiting and not the stop.
func (n *Node) Drain(ctx context.Context) error {
	n.beginDrain()
	select {
	case <-n.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) beginDrain() { n.drained.Do(func() { close(n.drain) }) }

// Kill ends the node at once, telling nobody: what kill -9 does to a process. It returns when Run has returned.
func (n *Node) Kill() {
	n.killed.Do(func() { close(n.kill) })
	<-n.done
}

// Started is closed when the node listens for the first time; it need not be ready yet.
func (n *Node) Started() <-chan struct{} { return n.started }

// ID is the node id, kept in the data directory.
func (n *Node) ID() string { return n.disk.NodeID() }

// ClientAddr is where clients connect. It is final once New has returned.
func (n *Node) ClientAddr() string { return n.addr.client }

// AdminAddr is where the admin API listens, "" when there is none.
func (n *Node) AdminAddr() string { return n.addr.admin }

// GossipAddr is what other nodes may name in their join list.
func (n *Node) GossipAddr() string { return n.addr.gossip }

// ClusterAddr is where Raft and links listen.
func (n *Node) ClusterAddr() string { return n.addr.cluster }

// Ready is nil when the node serves: it holds a lease, knows a leader and has opened the partitions it owns.
func (n *Node) Ready() error {
	b := n.boot.Load()
	if b == nil {
		return errors.New("not started")
	}
	return b.ready()
}

// Status is what the node knows about the cluster now, the zero Status before it has started.
func (n *Node) Status() cluster.Status {
	b := n.boot.Load()
	if b == nil {
		return cluster.Status{}
	}
	return b.cluster.Status()
}

// hostNet is the machine's network.
type hostNet struct{}

func (hostNet) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

func (hostNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func (hostNet) ListenPacket(addr string) (net.PacketConn, error) {
	return net.ListenPacket("udp", addr)
}
