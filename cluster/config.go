package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Net is the network a node lives on. Implementations report a refused connection as syscall.ECONNREFUSED (errors.Is).
type Net interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
	ListenPacket(addr string) (net.PacketConn, error)
}

// Config is what a Cluster is built from. What is not marked optional must be set. The listeners belong to the Cluster from New on.
type Config struct {
	NodeID    string // lives as long as the data dir
	BootID    string // drawn anew at each start
	ClusterID string // optional: as found in the data dir

	ClusterAdvertise string // where others reach ClusterListener; "": its own address
	GossipAdvertise  string // where others reach GossipListener and GossipPacket; "": their own address
	ClientAddr       string // optional: told to others
	AdminAddr        string // optional: told to others

	ClusterListener net.Listener   // Raft and links
	GossipListener  net.Listener   // gossip's streams
	GossipPacket    net.PacketConn // gossip's packets, on the port of GossipListener
	Net             Net

	Log      Log // its methods are not called before Start
	Observer Observer
	// OnTwin is told that another process lives under this node id, on a copy of the data directory, and that this one has to
	// end: it has given its lease up and gets no other. Called once at most, from any goroutine; it must not block. May be nil.
	OnTwin          func(*TwinError)
	Join            []string // gossip addresses of some other nodes, "host:port"
	BootstrapExpect int      // nodes that found the cluster together; 0: only ever join one
	Partitions      int      // of a cluster that this node founds; default 128

	// TrustRefused takes a refused connection after a broken link for proof that a process is gone, if a majority sees it.
	TrustRefused bool
	// Boottime is a clock that goes on while the machine sleeps. Default: CLOCK_BOOTTIME.
	Boottime func() time.Duration
	Logger   *slog.Logger // default: discard

	// All nodes of a cluster must agree on these three.
	LeaseTTL    time.Duration // how long a member may act without hearing from the leader; default 4 s
	LeaseMargin time.Duration // how much longer a leader waits before it calls the silent dead; default 500 ms
	RenewEvery  time.Duration // default 1 s

	RefusedFor       time.Duration // how long a peer must refuse connections to count as gone; default 300 ms
	PingEvery        time.Duration // keepalive of links; default 1 s
	LinkTimeout      time.Duration // a link that was silent for so long is broken; default 5 s
	LinkQueueBytes   int           // what may wait for one peer; more resets the link; default 64 MB
	FrameMax         int           // largest payload; default 16 MB
	HandshakeTimeout time.Duration // default 5 s
	RejoinEvery      time.Duration // how often gossip seeks the missing; default 10 s
	LeaveTimeout     time.Duration // how long a graceful stop waits for the leader; default 2 s
}

// fill sets defaults and refuses what cannot work.
func (c *Config) fill() error {
	if c.Boottime == nil {
		c.Boottime = boottime
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	orElse(&c.Partitions, 128)
	orElse(&c.LeaseTTL, 4*time.Second)
	orElse(&c.LeaseMargin, 500*time.Millisecond)
	orElse(&c.RenewEvery, time.Second)
	orElse(&c.RefusedFor, 300*time.Millisecond)
	orElse(&c.PingEvery, time.Second)
	orElse(&c.LinkTimeout, 5*time.Second)
	orElse(&c.LinkQueueBytes, 64<<20)
	orElse(&c.FrameMax, 16<<20)
	orElse(&c.HandshakeTimeout, 5*time.Second)
	orElse(&c.RejoinEvery, 10*time.Second)
	orElse(&c.LeaveTimeout, 2*time.Second)

	switch {
	case c.ClusterListener == nil || c.GossipListener == nil || c.GossipPacket == nil || c.Net == nil:
		return errors.New("cluster: a listener or the network is missing")
	case c.Log == nil || c.Observer == nil:
		return errors.New("cluster: the log or the observer is missing")
	case c.BootstrapExpect < 0 || c.BootstrapExpect > 255:
		return fmt.Errorf("cluster: bootstrap expects %d nodes, want 0 to 255", c.BootstrapExpect)
	case c.Partitions < 0:
		return fmt.Errorf("cluster: %d partitions", c.Partitions)
	case c.LeaseTTL <= c.RenewEvery:
		return fmt.Errorf("cluster: a lease of %v cannot be renewed every %v", c.LeaseTTL, c.RenewEvery)
	}
	if err := validID("node id", c.NodeID); err != nil {
		return err
	}
	if err := validID("boot id", c.BootID); err != nil {
		return err
	}
	var err error
	if c.ClusterAdvertise, err = advertised("cluster", c.ClusterAdvertise, c.ClusterListener.Addr()); err != nil {
		return err
	}
	if c.GossipAdvertise, err = advertised("gossip", c.GossipAdvertise, c.GossipListener.Addr()); err != nil {
		return err
	}
	for _, a := range []string{c.ClientAddr, c.AdminAddr, c.ClusterID} {
		if len(a) > idMax {
			return fmt.Errorf("cluster: %q is longer than %d bytes", a, idMax)
		}
	}
	return nil
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// idMax bounds ids and addresses, so that a node's metadata fits into gossip's 512 bytes.
const idMax = 100

// validID refuses ids that would not survive their way through gossip names.
func validID(what, id string) error {
	if id == "" || len(id) > idMax {
		return fmt.Errorf("cluster: %s %q: want 1 to %d bytes", what, id, idMax)
	}
	for _, r := range id {
		if r <= ' ' || r == '/' || r > '~' {
			return fmt.Errorf("cluster: %s %q: %q is not allowed", what, id, r)
		}
	}
	return nil
}

// advertised is the address to tell others.
func advertised(what, set string, listens net.Addr) (string, error) {
	addr := set
	if addr == "" {
		addr = listens.String()
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("cluster: %s address: %w", what, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "", fmt.Errorf("cluster: others cannot reach %s: set an address to advertise for %s", addr, what)
	}
	if len(addr) > idMax {
		return "", fmt.Errorf("cluster: %s address %q is longer than %d bytes", what, addr, idMax)
	}
	return addr, nil
}
