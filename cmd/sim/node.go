package sim

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"innkeeper/cmd/node"
	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
)

// The one app of a simulation.
const (
	App       = "demo"
	keyName   = "demo.root"
	keySecret = "secret"
	Key       = keyName + ":" + keySecret
)

// Ports of a simulated node; each has an address of its own.
const (
	clientPort  = 80
	adminPort   = 90
	clusterPort = 7900
	gossipPort  = 7910
)

// Node is one machine: an address, a disk and a clock that outlive the process on it.
type Node struct {
	Index int
	IP    string
	sim   *Sim
	disk  atomic.Pointer[raftstore.MemDisk]
	ill   atomic.Bool  // its disk fails: processes may end by themselves
	away  atomic.Bool  // it left, and nobody is to start it meanwhile
	skew  atomic.Int64 // added to the clock that leases count, in nanoseconds

	turn    chan struct{}           // held by whoever starts or ends a process; a mutex would stop fake time meanwhile
	process atomic.Pointer[process] // nil while it is down

	outages map[OutageKind]int // that last now, by their index in the history; guarded by the recorder
}

// process is one run of a node.
type process struct {
	node *node.Node
	stop context.CancelFunc
	done chan struct{}
	bye  atomic.Bool // somebody meant it to end
}

func nodeIP(i int) string { return fmt.Sprintf("10.0.0.%d", i+1) }

func newNode(s *Sim, i int) *Node {
	n := &Node{Index: i, IP: nodeIP(i), sim: s, turn: make(chan struct{}, 1), outages: make(map[OutageKind]int)}
	n.disk.Store(raftstore.NewMemDisk())
	return n
}

// config is what the node is started with.
func (n *Node) config() config.Config {
	o := n.sim.Options
	cfg := config.Default()
	cfg.Node.DataDir = ""
	cfg.Node.Listen = fmt.Sprintf("%s:%d", n.IP, clientPort)
	cfg.Node.AdminListen = fmt.Sprintf("%s:%d", n.IP, adminPort)
	cfg.Node.ClusterListen = fmt.Sprintf("%s:%d", n.IP, clusterPort)
	cfg.Node.GossipListen = fmt.Sprintf("%s:%d", n.IP, gossipPort)
	cfg.Node.BootstrapExpect = o.Nodes
	cfg.Node.Join = nil
	for i := range o.Nodes {
		cfg.Node.Join = append(cfg.Node.Join, fmt.Sprintf("%s:%d", nodeIP(i), gossipPort))
	}
	app := config.App{
		ID:         App,
		Keys:       []config.Key{{Key: Key, Capability: map[string][]string{"[*]*": {"*"}}}},
		Namespaces: []config.Namespace{},
	}
	for _, ns := range namespaces {
		app.Namespaces = append(app.Namespaces, config.Namespace{ID: ns.id, VacatedDelay: ns.delay, OccupiedBy: ns.by})
	}
	for _, r := range o.rules() {
		app.Rules = append(app.Rules, config.Rule{
			ID: r.id, Source: "channel.state", Channels: r.pattern,
			Target: config.Target{URL: hookURL + r.id, Format: r.format, Timeout: new(config.DefaultTargetTimeout)},
		})
	}
	cfg.Apps = []config.App{app}
	cfg.StateEvents.VacatedDelay = o.VacateDelay
	cfg.StateEvents.RestartGrace = o.RestartGrace
	cfg.StateEvents.Retention = cmp.Or(o.Retention, cfg.StateEvents.Retention)
	if o.EventsMax > 0 {
		cfg.StateEvents.Retention, cfg.StateEvents.RetentionMax = o.EventsMax, o.EventsMax
	}
	cfg.Cluster.Partitions = o.Partitions
	return cfg
}

// boottime is the clock that leases count.
func (n *Node) boottime() time.Duration {
	return time.Since(n.sim.began) + time.Duration(n.skew.Load()) + time.Hour
}

// Start runs the node on its disk. It fails the run when the node cannot be built.
func (n *Node) Start() {
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	if n.Up() {
		return
	}
	host := n.sim.Net.Revive(n.IP)
	built, err := node.New(node.Options{
		Config: n.config(), Net: host, Disk: n.disk.Load(), Boottime: n.boottime, Logger: n.sim.logger(n.Index),
		Log: n.sim.Options.tune, TrustAdmin: true,
	})
	if err != nil {
		n.trouble("cannot start", err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &process{node: built, stop: stop, done: make(chan struct{})}
	n.process.Store(p)
	n.sim.wg.Go(func() {
		defer close(p.done)
		if err := built.Run(ctx); err != nil && !p.bye.Load() {
			n.trouble("stops by itself", err)
			n.fell(p)
		}
	})
	n.over(Dead)
}

// trouble notes that a process did not start, or ended by itself, which is a failure of the run unless its disk is at
// fault.
func (n *Node) trouble(what string, err error) {
	if n.ill.Load() {
		n.sim.note("node %d %s: %v", n.Index, what, err)
	} else {
		n.sim.fail("node %d %s: %v", n.Index, what, err)
	}
}

// fell notes that a process is gone that nobody ended.
func (n *Node) fell(p *process) {
	if n.process.CompareAndSwap(p, nil) {
		n.begin(Dead)
		n.sim.Net.Exit(n.IP)
	}
}

// Kill ends the process as kill -9 does: its peers see resets, or orderly ends where the kernel would send those.
func (n *Node) Kill(reset bool) {
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	p := n.take()
	if p == nil {
		return
	}
	n.disk.Load().Kill()
	if reset {
		n.sim.Net.Kill(n.IP)
	} else {
		n.sim.Net.Exit(n.IP)
	}
	p.node.Kill()
	p.stop()
	<-p.done
}

// Stop ends the process gracefully.
func (n *Node) Stop() {
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	p := n.take()
	if p == nil {
		return
	}
	p.stop()
	<-p.done
	n.sim.Net.Exit(n.IP)
}

// take ends the time in which a process is taken to live.
func (n *Node) take() *process {
	p := n.process.Swap(nil)
	if p != nil {
		p.bye.Store(true)
		n.begin(Dead)
	}
	return p
}

// Up says whether a process runs here.
func (n *Node) Up() bool { return n.process.Load() != nil }

// Ready says whether the node serves.
func (n *Node) Ready() bool {
	p := n.process.Load()
	return p != nil && p.node.Ready() == nil
}

// ID is the node id in the cluster.
func (n *Node) ID() string { return n.disk.Load().NodeID() }

// begin notes the start of an outage, unless one of the kind lasts already.
func (n *Node) begin(k OutageKind) {
	n.sim.rec.record(func(h *History) {
		if _, lasts := n.outages[k]; lasts {
			return
		}
		n.outages[k] = len(h.Outages)
		h.Outages = append(h.Outages, Outage{Node: n.Index, Client: -1, Kind: k, From: time.Now()})
	})
}

// over notes the end of an outage.
func (n *Node) over(k OutageKind) {
	n.sim.rec.record(func(h *History) {
		if i, lasts := n.outages[k]; lasts {
			h.Outages[i].To = time.Now()
			delete(n.outages, k)
		}
	})
}
