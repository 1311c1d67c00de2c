package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Kinds of frames from kindReserved on are the cluster's own.
const (
	kindReserved = 0xf0
	kindRenew    = 0xf0 // request: renewal → answer
	kindLeave    = 0xf1 // request: nothing → answer
	kindFound    = 0xf2 // request: proposal → nothing
	kindWithdraw = 0xf3 // request: nothing → answer
	kindReady    = 0xf4 // request: question → nothing, when it is so
)

// Cluster is this boot's part in the cluster. All methods may be called from any goroutine, in the order New, Handle and
// HandleRequest, Start, anything, Stop.
type Cluster struct {
	// Static after New.
	cfg    Config
	me     Peer
	log    *slog.Logger
	mux    *mux
	links  *links
	gossip *gossip
	desk   *desk
	renew  *renewer

	count    counters
	lease    lease
	id       atomic.Pointer[string] // of the cluster; nil while unknown
	admitted atomic.Int64           // boottime since which this boot is known to be a member, 0 before
	seen     atomic.Bool            // the view has shown this boot as a member
	dead     atomic.Bool            // this boot is committed dead or replaced
	leaving  atomic.Bool            // Stop has begun
	promise  promise
	twins    twins

	observe nudge // observer's loop
	tend    nudge // steward's loop

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	started bool
	stopped bool
}

// New takes the listeners over and accepts connections from now on: Raft's are handed on, links are refused until Start.
func New(cfg Config) (*Cluster, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, me: Peer{cfg.NodeID, cfg.BootID}, log: cfg.Logger,
		observe: newNudge(), tend: newNudge(),
	}
	if cfg.ClusterID != "" {
		c.id.Store(&cfg.ClusterID)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.twins = twins{cleared: map[string]bool{}}
	c.links = newLinks(&c.cfg, &c.count, c.hello, c.linksChanged)
	c.links.twin = c.meetTwin
	c.desk = newDesk(c)
	c.renew = newRenewer(c)
	c.links.servers[kindRenew] = c.desk.serveRenewal
	c.links.servers[kindLeave] = c.desk.serveLeave
	c.links.servers[kindFound] = c.serveProposal
	c.links.servers[kindWithdraw] = c.desk.serveWithdrawal
	c.links.servers[kindReady] = c.serveReady
	var err error
	if c.gossip, err = newGossip(&c.cfg, &c.count, c.clusterID, c.gossipWanted, c.tend.poke); err != nil {
		c.cancel()
		c.links.cancel()
		return nil, err
	}
	c.mux = newMux(cfg.ClusterListener, cfg.HandshakeTimeout, c.links.accept, &c.count)
	return c, nil
}

// Handle sets who takes messages of a kind below 240. fn runs on the read loop of the link, one call at a time per
// peer, in the order of sending: it must not block. The payload is fn's to keep; of messages from this
// node to itself it is the slice that was given to Send. Only before Start.
func (c *Cluster) Handle(kind byte, fn func(from Peer, payload []byte)) {
	c.mustBeOpen(kind)
	c.links.handlers[kind] = fn
}

// HandleRequest sets who serves requests of a kind below 240. Each call has a goroutine of its own, 256 at a time per peer
// (the cluster's own requests do not count); more are refused with ErrBusy. ctx ends when the asker has given up or the link
// is gone. Only before Start.
func (c *Cluster) HandleRequest(kind byte, fn func(ctx context.Context, from Peer, payload []byte) ([]byte, error)) {
	c.mustBeOpen(kind)
	c.links.servers[kind] = fn
}

func (c *Cluster) mustBeOpen(kind byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || kind >= kindReserved {
		panic(fmt.Sprintf("cluster: kind %d cannot be handled (started: %v)", kind, c.started))
	}
}

// Start joins the cluster, or waits to found it, in the background. ctx bounds the start only.
func (c *Cluster) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.stopped {
		return errors.New("cluster: started or stopped before")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.learn(c.cfg.Log.View())
	if c.cfg.BootstrapExpect == 1 && !c.cfg.Log.HasState() {
		if err := c.found([]Server{{ID: c.me.Node, Addr: c.cfg.ClusterAdvertise}}); err != nil {
			return err
		}
	}
	if err := c.gossip.start(&c.cfg, c.meta()); err != nil {
		return err
	}
	c.started = true
	c.links.start()
	c.wg.Go(c.runSteward)
	c.wg.Go(c.desk.run)
	c.wg.Go(c.renew.run)
	c.wg.Go(c.runObserver)
	return nil
}

// Stop ends this node's part and waits for all its goroutines. A graceful stop first gives the lease back and tells the
// leader, so that others take over at once; it waits LeaveTimeout at most. Calls after the first return at once.
func (c *Cluster) Stop(graceful bool) {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return
	}
	c.stopped = true
	started := c.started
	c.mu.Unlock()

	graceful = graceful && started && !c.dead.Load()
	c.leaving.Store(true)
	c.loseLease(c.lease.end)
	if graceful {
		ctx, cancel := context.WithTimeout(c.ctx, c.cfg.LeaveTimeout)
		c.leave(ctx)
		cancel()
	}
	c.cancel()
	c.mux.close()
	c.links.end()
	c.gossip.close(graceful)
	c.mux.wait()
	c.links.wait()
	c.wg.Wait()
	if !started {
		c.cfg.GossipListener.Close()
		c.cfg.GossipPacket.Close()
	}
}

// leave tells the leader that this node goes.
func (c *Cluster) leave(ctx context.Context) {
	for ctx.Err() == nil {
		a, err := c.renew.tellLeader(ctx, kindLeave)
		if err == nil && (a.verdict == verdictGranted || a.verdict == verdictDead) {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
	others := slices.DeleteFunc(c.cfg.Log.View().live(), func(p Peer) bool { return p.Node == c.me.Node })
	if ctx.Err() == nil && c.cfg.Log.IsLeader() && len(others) > 0 {
		if err := c.cfg.Log.Transfer(ctx); err != nil {
			c.log.Info("leadership was not handed over", "reason", err)
		}
	}
}

// Send queues a message for a node. It never blocks. It returns false when the link is down, when session is neither 0 nor that of
// the link, or when too much waits already, which resets the link; what was sent on an earlier session may be lost. The payload is
// copied, unless node is this one: then it must not change any more. It may be FrameMax long; what is longer is logged
// and not sent.
func (c *Cluster) Send(node string, session uint64, kind byte, payload []byte) bool {
	if node == c.me.Node {
		return c.links.local.send(session, kind, payload)
	}
	return c.links.send(node, session, frameMessage, kind, nil, payload)
}

// Request asks a node and waits for its answer. A RemoteError is the handler's; with any other error but ErrBusy it is unknown
// whether the peer did what it was asked. Without a deadline in ctx it waits 30 s.
func (c *Cluster) Request(ctx context.Context, node string, kind byte, payload []byte) ([]byte, error) {
	return c.links.request(ctx, node, kind, payload)
}

// Session is the session of the link to a node, this one included: 0 while the link is down. A new session means that
// frames of either direction may be lost.
func (c *Cluster) Session(node string) uint64 { return c.links.sessionOf(node) }

// ResetLink begins a new session with a node, at both ends: each is told a new route and registers everything again.
// For this node itself only the session number changes, and messages that wait are dropped.
func (c *Cluster) ResetLink(node string) {
	if node == c.me.Node {
		c.links.local.reset()
	} else if p := c.links.peer(node); p != nil {
		p.reset()
	}
}

// LeaseHeld says whether this node may act as an owner now.
func (c *Cluster) LeaseHeld() bool {
	until := c.lease.until.Load()
	return until != 0 && int64(c.cfg.Boottime()) < until
}

// loseLease ends the lease by end, and has the observer told.
func (c *Cluster) loseLease(end func()) {
	end()
	c.observe.poke()
}

// condemn takes note that this boot is over.
func (c *Cluster) condemn(why string) {
	if c.leaving.Load() || c.dead.Swap(true) {
		return
	}
	c.log.Warn("this boot is declared dead", "boot", c.me.Boot, "reason", why)
	c.loseLease(c.lease.end)
}

// hello is what this node says on a link to want.
func (c *Cluster) hello(want string) hello {
	return hello{version: protocolVersion, clusterID: c.clusterID(), from: c.me, addr: c.cfg.ClusterAdvertise, want: want}
}

func (c *Cluster) clusterID() string {
	if id := c.id.Load(); id != nil {
		return *id
	}
	return ""
}

// linksChanged wakes everybody who acts on links.
func (c *Cluster) linksChanged() {
	c.observe.poke()
	c.renew.wake.poke()
	c.desk.wake.poke()
}

// learn takes what a view says about this cluster and this boot.
func (c *Cluster) learn(view *View) {
	if view.ClusterID != "" && c.id.CompareAndSwap(nil, &view.ClusterID) {
		c.log.Info("this node belongs to a cluster", "cluster", view.ClusterID)
		c.links.settleCluster(view.ClusterID)
	}
	m, ok := view.Member(c.me.Node)
	switch {
	case !ok:
	case m.Boot != c.me.Boot:
		// Until the view has shown this boot, it may be one from before, even if the leader has granted a lease.
		if c.seen.Load() {
			c.condemn("another boot of this node is a member now")
		}
	case m.State == Dead:
		c.condemn("the cluster gave it up")
	default:
		c.seen.Store(true)
		c.admitted.CompareAndSwap(0, max(1, int64(c.cfg.Boottime())))
	}
}

// meta is what this node says about itself by gossip.
func (c *Cluster) meta() meta {
	return meta{
		version: protocolVersion, cluster: c.clusterID(), hasState: c.cfg.Log.HasState(), expect: c.cfg.BootstrapExpect,
		addr: c.cfg.ClusterAdvertise, client: c.cfg.ClientAddr, admin: c.cfg.AdminAddr,
	}
}

// member is this node as it wants to be committed.
func (c *Cluster) member() Member {
	return Member{
		Node: c.me.Node, Boot: c.me.Boot, State: Alive,
		Cluster: c.cfg.ClusterAdvertise, Gossip: c.gossip.self.String(), Client: c.cfg.ClientAddr, Admin: c.cfg.AdminAddr,
	}
}

// gossipWanted lists where gossip should find the committed live members.
func (c *Cluster) gossipWanted() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, m := range c.cfg.Log.View().Members {
		if ap, err := netip.ParseAddrPort(m.Gossip); err == nil && m.State != Dead {
			addrs = append(addrs, ap)
		}
	}
	return addrs
}

// runSteward follows gossip and the log: it keeps links to whom they name, tells gossip about this node, founds the
// cluster when it is time, and wakes the loops that act on the view.
func (c *Cluster) runSteward() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		view := c.cfg.Log.View()
		c.learn(view)
		c.gossip.tell(c.meta())
		nodes := c.gossip.nodes()
		c.links.reconcile(addresses(c.me.Node, view, nodes))
		c.askTwins()
		c.tryFound(nodes)
		c.observe.poke()
		c.desk.wake.poke()
		select {
		case <-c.ctx.Done():
			return
		case <-c.tend:
		case <-c.cfg.Log.Changed():
		case <-c.cfg.Log.LeaderChanged():
			c.renew.leader.poke()
		case <-tick.C:
		}
	}
}

// addresses lists whom to link with and where they may be reached, the most recent word first.
func addresses(me string, view *View, nodes []gossipNode) map[string][]string {
	want := map[string][]string{}
	add := func(node, addr string) {
		if node != me && addr != "" && !slices.Contains(want[node], addr) {
			want[node] = append(want[node], addr)
		}
	}
	for _, n := range nodes {
		add(n.Node, n.addr)
	}
	for _, m := range view.Members {
		if m.State != Dead {
			add(m.Node, m.Cluster)
		}
	}
	return want
}
