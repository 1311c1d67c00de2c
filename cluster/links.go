package cluster

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// duplicateFor is how recently a boot must have been heard for another boot of the same node to be taken for a second
// process. When a process is killed, its connections end at once.
const duplicateFor = 2 * time.Second

// links is every link of this node, the one to itself included.
type links struct {
	// Static after construction.
	me         Peer
	net        Net
	log        *slog.Logger
	count      *counters
	now        func() time.Duration // boottime
	hello      func(want string) hello
	changed    func() // called without locks after a link came, went or was refused; does not block
	pingEvery  time.Duration
	timeout    time.Duration
	frameMax   int
	queueBytes int
	requests   *requests
	local      *selfLink
	twin       func(hello) refusal // answers another process under this node's id; nil: it is refused

	// Written before start, read after.
	handlers [256]func(Peer, []byte)
	servers  [256]func(context.Context, Peer, []byte) ([]byte, error)

	session atomic.Uint64 // last one given out, over all links
	peers   atomic.Pointer[map[string]*peerLink]

	wg     sync.WaitGroup
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex // guards what follows, and replacing peers
	open   bool       // between start and close
	closed bool
}

func newLinks(cfg *Config, count *counters, hello func(want string) hello, changed func()) *links {
	l := &links{
		me: Peer{cfg.NodeID, cfg.BootID}, net: cfg.Net, log: cfg.Logger, count: count, now: cfg.Boottime,
		hello: hello, changed: changed,
		pingEvery: cfg.PingEvery, timeout: cfg.LinkTimeout, frameMax: cfg.FrameMax, queueBytes: cfg.LinkQueueBytes,
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.requests = newRequests()
	l.local = newSelfLink(l)
	l.peers.Store(&map[string]*peerLink{})
	return l
}

// start lets links begin.
func (l *links) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = !l.closed
	if l.open {
		l.wg.Go(func() { l.local.run(l.ctx) })
	}
}

// end ends all links at once. Then the mux is to be waited for, whose goroutines serve inbound connections, then wait.
func (l *links) end() {
	l.mu.Lock()
	l.open, l.closed = false, true
	l.mu.Unlock()
	l.cancel()
	for _, p := range *l.peers.Load() {
		p.reset()
	}
	l.requests.dropAll()
}

func (l *links) wait() { l.wg.Wait() }

func (l *links) peer(node string) *peerLink { return (*l.peers.Load())[node] }

// ensure finds or makes the link to a node; nil when links are not open.
func (l *links) ensure(node string, addrs ...string) *peerLink {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open {
		return nil
	}
	if p := l.peer(node); p != nil {
		return p
	}
	ctx, cancel := context.WithCancel(l.ctx)
	p := &peerLink{links: l, node: node, stop: cancel, wake: make(chan struct{}, 1), addrs: addrs}
	peers := maps.Clone(*l.peers.Load())
	peers[node] = p
	l.peers.Store(&peers)
	l.wg.Go(func() { p.run(ctx) })
	return p
}

// reconcile makes the links those of want (node id → addresses, best first). A link that the other end keeps up stays.
func (l *links) reconcile(want map[string][]string) {
	for node, addrs := range want {
		if node == l.me.Node {
			continue
		}
		if p := l.ensure(node, addrs...); p != nil {
			p.aim(addrs)
		}
	}
	l.mu.Lock()
	peers := maps.Clone(*l.peers.Load())
	for node, p := range peers {
		p.mu.Lock()
		idle := p.in == nil
		p.mu.Unlock()
		if _, wanted := want[node]; !wanted && idle {
			p.stop()
			delete(peers, node)
		}
	}
	l.peers.Store(&peers)
	l.mu.Unlock()
}

// settleCluster greets all over again, now that this node knows its cluster, whoever had not named that cluster: it may
// belong to another.
func (l *links) settleCluster(id string) {
	for _, p := range *l.peers.Load() {
		p.mu.Lock()
		stranger := p.out != nil && p.out.cluster != id || p.in != nil && p.in.cluster != id
		p.mu.Unlock()
		if stranger {
			p.reset()
		}
	}
}

// accept serves a connection whose first byte asked for a link, on the caller's goroutine.
func (l *links) accept(conn net.Conn) {
	defer conn.Close()
	unwatch := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer unwatch()
	conn.SetDeadline(time.Now().Add(l.timeout))
	_, h, err := readHello(conn)
	if err != nil {
		l.log.Debug("no hello on a link", "from", conn.RemoteAddr(), "reason", err)
		return
	}
	me := l.hello("")
	r := me.judge(h)
	if r == refusedDuplicate && h.want == l.me.Node && h.from.Boot != l.me.Boot && l.twin != nil {
		writeHello(conn, l.twin(h), me)
		return
	}
	var p *peerLink
	if r == welcome {
		if p = l.ensure(h.from.Node, h.addr); p == nil {
			r = refusedClosed
		} else if p.occupied(h.from.Boot) {
			r = refusedDuplicate
		}
	}
	if err := writeHello(conn, r, me); err != nil || r != welcome {
		if r != welcome && r != refusedClosed {
			l.count.linksRefused.Add(1)
			l.log.Warn("refused a link", "from", conn.RemoteAddr(), "peer", h.from.Node, "cluster", h.clusterID, "reason", r.String())
		}
		return
	}
	conn.SetDeadline(time.Time{})

	in := &inbound{conn: conn, from: h.from, cluster: h.clusterID, pair: make(chan struct{}), done: make(chan struct{})}
	in.heard.Store(int64(l.now()))
	p.took(in, h.addr)
	ctx, cancel := context.WithCancel(l.ctx)
	err = p.receive(ctx, in)
	cancel()
	l.log.Debug("inbound link ended", "peer", h.from.Node, "reason", err)
	p.lost(in)
}

// occupied says whether another boot of the node is linked and was heard just now.
func (p *peerLink) occupied(boot string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.in != nil && p.in.from.Boot != boot && p.links.now()-time.Duration(p.in.heard.Load()) < duplicateFor
}

// took installs an inbound connection in place of an older one, whose goroutine it waits for, so that frames stay in order.
func (p *peerLink) took(in *inbound, addr string) {
	for {
		p.mu.Lock()
		old := p.in
		if old == nil {
			p.order++
			in.order = p.order
			p.in = in
			if len(p.addrs) == 0 && addr != "" {
				p.addrs = []string{addr}
			}
			p.settle(true)
			down := p.out == nil
			p.mu.Unlock()
			if down {
				p.nudge() // it lives: no need to wait for the next attempt
			}
			p.links.changed()
			return
		}
		p.mu.Unlock()
		old.conn.Close()
		<-old.done
	}
}

func (p *peerLink) lost(in *inbound) {
	in.conn.Close()
	p.mu.Lock()
	p.in = nil
	p.settle(true)
	p.mu.Unlock()
	close(in.done)
	p.links.requests.dropPeer(p.node) // answers may be lost
	p.links.changed()
}

// deliver hands a frame to whom it is for, on the caller's goroutine. Requests are served on goroutines of their own.
func (l *links) deliver(ctx context.Context, from Peer, f frame) {
	l.count.framesReceived.Add(1)
	l.count.bytesReceived.Add(uint64(frameHeader + len(f.payload)))
	switch f.typ {
	case frameMessage:
		if fn := l.handlers[f.kind]; fn != nil {
			fn(from, f.payload)
			return
		}
		l.count.framesUnhandled.Add(1)
	case frameRequest:
		l.serveRequest(ctx, from, f)
	case frameResponse:
		l.requests.answered(from.Node, f)
	}
}

// standing is a link that is up.
type standing struct {
	boot    string
	session uint64
}

// sessions lists the links that are up, the one to this node included.
func (l *links) sessions() map[string]standing {
	up := map[string]standing{l.me.Node: {l.me.Boot, l.local.session.Load()}}
	for node, p := range *l.peers.Load() {
		p.mu.Lock()
		if p.session != 0 {
			up[node] = standing{p.out.boot, p.session}
		}
		p.mu.Unlock()
	}
	return up
}

// sessionOf is the session of the link to a node, 0 when it is down.
func (l *links) sessionOf(node string) uint64 {
	if node == l.me.Node {
		return l.local.session.Load()
	}
	if p := l.peer(node); p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.session
	}
	return 0
}

// gone lists the peers whose process is gone, as far as this node can tell: see health. A peer that still has a
// connection open to here is not.
func (l *links) gone(long time.Duration) []Peer {
	var gone []Peer
	for node, p := range *l.peers.Load() {
		p.mu.Lock()
		if p.in == nil && p.health.gone(long) {
			gone = append(gone, Peer{node, p.health.boot})
		}
		p.mu.Unlock()
	}
	slices.SortFunc(gone, func(a, b Peer) int { return strings.Compare(a.Node, b.Node) })
	return gone
}

// refusing counts those of the peers that refuse connections right now.
func (l *links) refusing(peers []Peer) int {
	n := 0
	for _, peer := range peers {
		if p := l.peer(peer.Node); p != nil {
			p.mu.Lock()
			if p.health.refused && p.health.boot == peer.Boot {
				n++
			}
			p.mu.Unlock()
		}
	}
	return n
}

// send queues a frame for a node, this one included.
func (l *links) send(node string, session uint64, typ frameType, kind byte, prefix, payload []byte) bool {
	if len(payload) > l.frameMax {
		l.log.Error("a frame is too large to be sent", "peer", node, "kind", kind, "bytes", len(payload))
		return false
	}
	if p := l.peer(node); p != nil {
		return p.send(session, typ, kind, prefix, payload)
	}
	return false
}
