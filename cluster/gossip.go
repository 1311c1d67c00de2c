package cluster

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// gossip is the address book: it knows which boots others have heard of lately, and where they live. It suggests; what
// counts is what the log says. memberlist brings goroutines of its own; its callbacks only queue.
type gossip struct {
	me      Peer
	log     *slog.Logger
	count   *counters
	cluster func() string           // id of the cluster, "" while it has none
	seeds   []string                // as configured
	wanted  func() []netip.AddrPort // where committed members are to be found
	changed func()                  // called after others changed; does not block
	rejoin  time.Duration

	net  *gossipNet
	list *memberlist.Memberlist
	self netip.AddrPort
	wg   sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc
	wake nudge // events wait, or meta changed

	meta   atomic.Pointer[[]byte]
	others atomic.Pointer[[]gossipNode]
	silent atomic.Pointer[[]string] // see unanswered

	mu      sync.Mutex
	news    map[string]*gossipNode // by name, not yet taken by run; nil: it left
	foreign map[string]bool        // nodes of other clusters that were told about
}

// gossipNode is one boot as gossip knows it.
type gossipNode struct {
	Peer
	gossip netip.AddrPort
	meta
}

const (
	joinFirst = time.Second // the distance of attempts until the first other node is found
	// silentFor is how long nobody may answer before the log says so: nodes that start together are not there at once.
	silentFor   = 5 * time.Second
	silentAgain = time.Minute
)

func newGossip(cfg *Config, count *counters, cluster func() string, wanted func() []netip.AddrPort, changed func()) (*gossip, error) {
	g := &gossip{
		me: Peer{cfg.NodeID, cfg.BootID}, log: cfg.Logger, count: count,
		cluster: cluster, seeds: cfg.Join, wanted: wanted, changed: changed, rejoin: cfg.RejoinEvery,
		wake: newNudge(), news: map[string]*gossipNode{}, foreign: map[string]bool{},
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.others.Store(&[]gossipNode{})
	g.silent.Store(&[]string{})
	g.meta.Store(&[]byte{})
	self, err := resolve(g.ctx, cfg.GossipAdvertise)
	if err != nil {
		return nil, fmt.Errorf("cluster: gossip address to advertise: %w", err)
	}
	g.self = self[0]
	return g, nil
}

// start opens the gossip listeners with the first metadata.
func (g *gossip) start(cfg *Config, m meta) error {
	b := appendMeta(nil, m)
	g.meta.Store(&b)
	g.net = newGossipNet(cfg, g.self, g.count)
	conf := memberlist.DefaultLANConfig()
	conf.Name = gossipName(g.me)
	conf.Transport = g.net
	conf.BindPort, conf.AdvertisePort = int(g.self.Port()), int(g.self.Port())
	conf.Delegate, conf.Events, conf.Alive = (*gossipDelegate)(g), (*gossipDelegate)(g), (*gossipDelegate)(g)
	conf.Logger = log.New(gossipLog{g.log}, "", 0)
	conf.TCPTimeout = 3 * time.Second
	conf.PushPullInterval = 15 * time.Second
	conf.EnableCompression = false
	conf.AwarenessMaxMultiplier = 2 // a probe under way outlives Stop by this many probe intervals
	list, err := memberlist.Create(conf)
	if err != nil {
		g.net.Shutdown()
		return fmt.Errorf("cluster: gossip: %w", err)
	}
	g.list = list
	g.wg.Go(g.run)
	g.wg.Go(g.seek)
	return nil
}

// close stops gossip; leave tells the others first.
func (g *gossip) close(leave bool) {
	if g.list == nil {
		return
	}
	if leave {
		g.list.Leave(500 * time.Millisecond)
	}
	g.stop()
	g.list.Shutdown()
	g.wg.Wait()
}

// tell changes this node's metadata.
func (g *gossip) tell(m meta) {
	b := appendMeta(nil, m)
	if old := g.meta.Swap(&b); !slices.Equal(*old, b) {
		g.wake.poke()
	}
}

// nodes lists the others that gossip holds to be alive, by node and boot.
func (g *gossip) nodes() []gossipNode {
	mine := g.cluster()
	var nodes []gossipNode
	for _, n := range *g.others.Load() {
		// Some may have got in before this node had a cluster.
		if n.cluster == "" || mine == "" || n.cluster == mine {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// run turns events into the list of others.
func (g *gossip) run() {
	known := map[string]gossipNode{}
	told := *g.meta.Load()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.wake:
		}
		if m := *g.meta.Load(); !slices.Equal(m, told) {
			told = m
			g.list.UpdateNode(time.Millisecond) // broadcast all the same when the time is over
		}
		g.mu.Lock()
		news := g.news
		g.news = map[string]*gossipNode{}
		g.mu.Unlock()
		for name, node := range news {
			if node == nil {
				delete(known, name)
			} else {
				known[name] = *node
			}
		}
		others := slices.SortedFunc(maps.Values(known), func(a, b gossipNode) int {
			return strings.Compare(gossipName(a.Peer), gossipName(b.Peer))
		})
		g.others.Store(&others)
		g.changed()
	}
}

// seek looks for nodes that are missing: seeds, and committed members. Gossip does not find them again by itself when
// both sides of a cut have given each other up.
func (g *gossip) seek() {
	since := time.Now() // nobody answers, or the log has said so
	tell := silentFor
	for {
		missing, unresolved := g.missing()
		reached, err := 0, error(nil)
		if len(missing) > 0 {
			reached, err = g.list.Join(missing)
		}
		alone := len(g.nodes()) == 0
		silent := []string{}
		if alone && reached == 0 {
			silent = append(missing, unresolved...)
		}
		g.silent.Store(&silent)
		if len(silent) == 0 {
			since, tell = time.Now(), silentFor
		} else if time.Since(since) >= tell && g.ctx.Err() == nil {
			g.log.Warn("no other node answers; node.join has to name the gossip addresses of nodes that run", "addresses", strings.Join(silent, ", "), "reason", oneLine(err))
			since, tell = time.Now(), silentAgain
		}
		wait := g.rejoin
		if alone && len(missing) > 0 {
			wait = min(wait, joinFirst)
		}
		select {
		case <-g.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// oneLine is an error of memberlist, which makes a list of them, on one line.
func oneLine(err error) string {
	if err == nil {
		return ""
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// unanswered lists addresses where other nodes should be and none answers, while no other node is known at all.
func (g *gossip) unanswered() []string {
	if len(g.nodes()) > 0 {
		return nil
	}
	return *g.silent.Load()
}

// missing lists addresses where somebody should be whom gossip does not know, and seeds whose addresses it cannot find out.
func (g *gossip) missing() (missing, unresolved []string) {
	known := map[netip.AddrPort]bool{g.self: true}
	for _, n := range g.nodes() {
		known[n.gossip] = true
	}
	addrs := g.wanted()
	for _, seed := range g.seeds {
		ctx, cancel := context.WithTimeout(g.ctx, 5*time.Second)
		found, err := resolve(ctx, seed)
		cancel()
		if err != nil {
			g.log.Warn("cannot resolve a node to join", "address", seed, "reason", err)
			unresolved = append(unresolved, seed)
			continue
		}
		addrs = append(addrs, found...)
	}
	for _, a := range addrs {
		if !known[a] {
			known[a] = true
			missing = append(missing, a.String())
		}
	}
	return missing, unresolved
}

// resolve gives the addresses behind "host:port", one at least. Nobody is asked when host is an IP address.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}, nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("no address for %q", host)
	}
	var found []netip.AddrPort
	for _, ip := range ips {
		found = append(found, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return found, nil
}

// gossipName is a boot's name in gossip. Gossip does not report a quick restart under the same name, and hides one that
// returns on another address.
func gossipName(p Peer) string { return p.Node + "/" + p.Boot }

func parseGossipName(name string) (Peer, error) {
	node, boot, ok := strings.Cut(name, "/")
	if !ok || validID("node id", node) != nil || validID("boot id", boot) != nil {
		return Peer{}, fmt.Errorf("%w: gossip name %q", errWire, name)
	}
	return Peer{node, boot}, nil
}

func decodeGossipNode(n *memberlist.Node) (*gossipNode, error) {
	p, err := parseGossipName(n.Name)
	if err != nil {
		return nil, err
	}
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return nil, err
	}
	ip, ok := netip.AddrFromSlice(n.Addr)
	if !ok {
		return nil, errWire
	}
	return &gossipNode{Peer: p, gossip: netip.AddrPortFrom(ip.Unmap(), n.Port), meta: m}, nil
}

// gossipDelegate is gossip as memberlist calls it. None of the methods may block: memberlist holds its locks.
type gossipDelegate gossip

var errForeign = errors.New("cluster: not of this cluster")

// NotifyAlive keeps nodes of other clusters and versions out.
func (d *gossipDelegate) NotifyAlive(n *memberlist.Node) error {
	g := (*gossip)(d)
	node, err := decodeGossipNode(n)
	if err == nil {
		mine := g.cluster()
		switch {
		case node.version != protocolVersion:
			err = fmt.Errorf("%w: protocol version %d, here %d", errForeign, node.version, protocolVersion)
		case node.cluster != "" && mine != "" && node.cluster != mine:
			err = fmt.Errorf("%w: cluster id %s, here %s", errForeign, node.cluster, mine)
		default:
			return nil
		}
	}
	d.queue(n.Name, nil) // it may have got in while one of us had no cluster
	g.count.gossipForeign.Add(1)
	g.mu.Lock()
	first := !g.foreign[n.Name]
	if len(g.foreign) < 1024 {
		g.foreign[n.Name] = true
	}
	g.mu.Unlock()
	if first {
		g.log.Warn("gossip about a node that does not belong here is ignored", "member", n.Name, "address", n.Address(), "reason", err)
	}
	return err
}

func (d *gossipDelegate) queue(name string, node *gossipNode) {
	if name == gossipName(d.me) {
		return
	}
	d.mu.Lock()
	d.news[name] = node
	d.mu.Unlock()
	d.wake.poke()
}

func (d *gossipDelegate) NotifyJoin(n *memberlist.Node) {
	if node, err := decodeGossipNode(n); err == nil {
		d.queue(n.Name, node)
	}
}

func (d *gossipDelegate) NotifyUpdate(n *memberlist.Node) { d.NotifyJoin(n) }
func (d *gossipDelegate) NotifyLeave(n *memberlist.Node)  { d.queue(n.Name, nil) }

func (d *gossipDelegate) NodeMeta(limit int) []byte {
	m := *d.meta.Load()
	if len(m) > limit {
		return nil // cannot be: see idMax
	}
	return m
}

func (d *gossipDelegate) NotifyMsg([]byte)                {}
func (d *gossipDelegate) GetBroadcasts(int, int) [][]byte { return nil }
func (d *gossipDelegate) LocalState(bool) []byte          { return nil }
func (d *gossipDelegate) MergeRemoteState([]byte, bool)   {}
