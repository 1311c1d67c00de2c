package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/xid"

	"innkeeper/channel"
	"innkeeper/cluster"
	"innkeeper/cluster/ring"
	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
	"innkeeper/transport"
	"innkeeper/transport/auth"
	"innkeeper/transport/dispatch"
)

// boot is one life of a node: from a fresh boot id to its stop, or to being declared dead.
type boot struct {
	id   string
	node *Node
	log  *slog.Logger

	store      *raftstore.Store
	cluster    *cluster.Cluster
	host       *channel.Host
	registrar  registrar // the host, for what gateways say
	gateway    *transport.Gateway
	dispatcher *dispatch.Dispatcher
	taps       *dispatch.Taps
	keys       *auth.Keys
	authority  *authority
	members    *membership
	metering   *metering
	limiting   *limiting
	feeding    atomic.Bool // the rule feed is served
	fellows    *fellows
	servers    []*http.Server

	refused  bool        // the configuration contradicts the cluster: nothing is done any more; the observer's
	held     atomic.Bool // whether the observer was told of a lease
	caughtUp atomic.Bool // held was true once: the log, and what follows it, have what was agreed on before this boot
	stopping atomic.Bool
	leads    chan struct{} // nudge: held changed
	fatal    chan error    // capacity 1: the log cannot go on
	dead     chan struct{} // closed when the cluster declared this boot dead
	quit     chan struct{} // ends the goroutines below
	waiting  sync.WaitGroup
}

// start builds all rooms and starts them. On error nothing is left running but the listeners, which the caller closes.
func (n *Node) start(ctx context.Context, e *ears) (*boot, error) {
	b := &boot{
		id: xid.New().String(), node: n, log: n.log.With("node", n.disk.NodeID()),
		fatal: make(chan error, 1), dead: make(chan struct{}), quit: make(chan struct{}), leads: make(chan struct{}, 1),
	}
	self := channel.GatewayID{Node: n.disk.NodeID(), Boot: b.id}
	var err error
	static, err := keysOf(n.cfg.Apps)
	if err != nil {
		return nil, err
	}
	b.keys, b.authority = auth.NewKeys(static), newAuthority(b, static)
	b.members = &membership{leading: make(chan struct{}, 1)}
	b.metering, b.limiting = newMetering(b), newLimiting(b)
	b.fellows = newFellows(b)
	c := n.cfg
	b.cluster, err = cluster.New(cluster.Config{
		NodeID: self.Node, BootID: self.Boot, ClusterID: cmp.Or(n.disk.ClusterID(), c.Cluster.ID),
		ClusterAdvertise: c.Node.ClusterAdvertise, GossipAdvertise: c.Node.GossipAdvertise,
		ClientAddr: n.addr.client, AdminAddr: n.addr.admin,
		ClusterListener: e.cluster, GossipListener: e.gossip, GossipPacket: e.packet, Net: n.net,
		Log: b.members, Observer: (*observer)(b),
		OnTwin: func(err *cluster.TwinError) { b.fail(err) },
		Join:   c.Node.Join, BootstrapExpect: c.Node.BootstrapExpect, Partitions: c.Cluster.Partitions,
		TrustRefused: c.Cluster.TrustRefused == nil || *c.Cluster.TrustRefused,
		Boottime:     n.opts.Boottime, Logger: b.log,
	})
	if err != nil {
		return nil, err
	}
	b.cluster.Handle(kindToOwner, b.onToOwner)
	b.cluster.Handle(kindToGateway, b.onToGateway)
	b.cluster.Handle(kindToHost, b.onToHost)
	b.cluster.Handle(kindMeter, b.metering.onReport)
	b.cluster.HandleRequest(kindForward, b.onForward)
	b.cluster.HandleRequest(kindLimits, b.limiting.onSync)
	b.cluster.HandleRequest(kindTable, b.authority.onTable)
	b.cluster.HandleRequest(kindFigures, b.onFigures)
	b.cluster.HandleRequest(kindAttachments, b.onAttachments)
	b.cluster.HandleRequest(kindWhereabouts, b.onWhereabouts)
	b.cluster.HandleRequest(kindDrain, b.onDrain)

	log := raftstore.Config{
		NodeID: self.Node, Disk: n.disk,
		Listener: b.cluster.RaftListener(), Dial: b.cluster.DialRaft, Advertise: b.cluster.RaftAddr(),
		Forward: forwarder{b}, Logger: b.log, ClusterID: c.Cluster.ID,
		Retention: c.StateEvents.Retention, RetentionMax: c.StateEvents.RetentionMax,
		RetentionMaxBytes: c.StateEvents.RetentionMaxBytes, RetentionAge: c.StateEvents.RetentionAge,
		OnFatal: b.fail,
	}
	if n.opts.Log != nil {
		n.opts.Log(&log)
	}
	b.store, err = raftstore.Open(log)
	if err == nil {
		b.members.store = b.store
		err = b.checkNewDir()
	}
	if err != nil {
		b.cluster.Stop(false)
		if b.store != nil {
			b.store.Close()
		}
		if errors.Is(err, raftstore.ErrWrongCluster) {
			err = fmt.Errorf("cluster.id: %w; use the data directory of the right cluster, or correct cluster.id", err)
		}
		return nil, err
	}
	b.taps = dispatch.NewTaps(dispatch.TapsConfig{
		Source: channels{b}, Dial: b.node.net.Dial, Site: b.site, Debounce: c.Channels.OccupancyInterval, Logger: b.log, Complain: b.complain,
	})
	b.host = channel.NewHost(channel.HostConfig{
		Tap: b.taps,
		Log: joined[channel.Log](n.opts.joints.log, obligations{b.store}), Gateways: &gateways{b, self}, Hosts: hosts{b}, Self: self, Lease: lease{b.cluster},
		Settings: settingsOf(c, b.authority.namespace, b.taps.Wants, b.limiting.ofChannel, b.lifecycle()), Admission: b.limiting, Partitions: c.Cluster.Partitions,
		RestartGraceUntil: b.graceUntil, Series: b.id, Logger: b.log,
	})
	b.registrar = joined[registrar](n.opts.joints.registrar, b.host)
	b.gateway = transport.NewGateway(transport.GatewayConfig{
		Owners: &owners{b, self, bootHash(self.Boot)}, Auth: b.keys, Partitions: c.Cluster.Partitions,
		NodeID: self.Node, Boot: self.Boot, Peers: b.fellows, Logger: b.log, Lifecycle: b.lifecycle(),
		Gates: b.limiting.gates, Purse: b.limiting.purse,
	})
	b.gateway.Fence(false) // until there is a lease: before, neither owners nor keys made at run time are known
	if b.dispatcher, err = b.newDispatcher(c.Apps); err != nil {
		b.close()
		return nil, err
	}
	if err := b.cluster.Start(ctx); err != nil {
		b.close()
		return nil, err
	}
	b.waiting.Go(b.follow)
	b.waiting.Go(b.authority.follow)
	b.serve(e)
	b.waiting.Go(b.metering.run)
	b.waiting.Go(b.metering.write)
	b.waiting.Go(b.limiting.run)
	return b, nil
}

// fail ends this boot, and with it the node. Only the first reason counts.
func (b *boot) fail(err error) {
	select {
	case b.fatal <- err:
	default:
	}
}

// checkNewDir refuses to found a cluster where a certain one is expected: a new one has an id of its own.
func (b *boot) checkNewDir() error {
	c := b.node.cfg
	if c.Cluster.ID == "" || b.store.HasState() {
		return nil
	}
	if err := foundsAnother(&c); err != nil {
		return err
	}
	b.log.Warn("the data directory is new and cluster.id is set: this node founds no cluster, it waits to join that one", "cluster", c.Cluster.ID, "join", c.Node.Join)
	return nil
}

func (b *boot) newDispatcher(apps []config.App) (*dispatch.Dispatcher, error) {
	rules, err := rulesOf(apps)
	if err != nil {
		return nil, err
	}
	if lifecyclesOf(&b.node.cfg).any() {
		rules = append(rules, b.feed())
		b.feeding.Store(true)
	}
	var events, taps []dispatch.Rule
	for _, r := range rules {
		if dispatch.IsTap(r.Source) {
			taps = append(taps, r)
		} else {
			events = append(events, r)
		}
	}
	if err := b.taps.Set(taps); err != nil {
		return nil, err
	}
	return dispatch.New(dispatch.Config{
		Log:   joined[dispatch.EventLog](b.node.opts.joints.events, eventLog{b.store}),
		Rules: events, Settled: b.rulesSettled, Dial: b.node.net.Dial, Logger: b.log,
		Counts: b.occupancyOf, Site: b.site, Complain: b.complain,
	})
}

// checkCluster refuses a configuration that contradicts what the cluster has agreed on, and a cluster that this version
// cannot serve.
func (b *boot) checkCluster() error {
	v := b.store.View()
	want := b.node.cfg.Cluster.ID
	if want != "" && v.ClusterID != "" && want != v.ClusterID {
		return ofAnother(&b.node.cfg, v.ClusterID)
	}
	if n := len(v.Table.Slots); n > 0 {
		if err := ring.CheckPartitions(n); err != nil {
			return fmt.Errorf("the cluster in %s was founded with a number of partitions that this version does not serve: %w", b.node.cfg.Node.DataDir, err)
		}
	}
	return nil
}

// follow lets the dispatcher run while this node leads and may act, and passes the nudges on to the cluster room.
func (b *boot) follow() {
	for {
		b.dispatcher.Lead(b.store.IsLeader() && b.held.Load())
		select {
		case <-b.store.LeaderChanged():
			nudge(b.members.leading)
		case <-b.leads:
		case <-b.quit:
			b.dispatcher.Lead(false)
			return
		}
	}
}

// stop ends everything. Graceful: clients are told to go elsewhere and the cluster that this node leaves. The error is what
// broke meanwhile.
func (b *boot) stop(graceful bool) (err error) {
	b.stopping.Store(true)
	if graceful {
		graceful, err = b.leave()
	}
	b.cluster.Stop(graceful)
	return cmp.Or(err, b.close())
}

// close ends what start built, in reverse, after the cluster was stopped. The error is that of the log.
func (b *boot) close() error {
	close(b.quit)
	for _, s := range b.servers {
		s.Close()
	}
	b.waiting.Wait()
	if b.dispatcher != nil {
		b.dispatcher.Close()
	}
	b.taps.Close()
	b.cluster.Stop(false)
	b.gateway.Close()
	b.host.Close()
	return b.store.Close()
}

// ready is nil when this node serves.
func (b *boot) ready() error {
	if reasons := b.readiness().Reasons(); len(reasons) > 0 {
		return errors.New(strings.Join(reasons, "; "))
	}
	return nil
}

// graceUntil is until when clients may come back after a stop of the whole cluster.
func (b *boot) graceUntil() time.Time {
	cold := b.store.View().ColdMs
	if cold == 0 {
		return time.Time{}
	}
	grace := b.node.cfg.StateEvents.RestartGrace
	until := time.UnixMilli(cold).Add(grace)
	// The mark is another node's clock; ours may have jumped. No clock makes the grace longer than it is.
	if most := time.Now().Add(grace); until.After(most) {
		return most
	}
	return until
}

// lease is the cluster's lease as the host asks for it.
type lease struct{ *cluster.Cluster }

// Held implements channel.Lease.
func (l lease) Held() bool { return l.LeaseHeld() }

// observer passes on what the cluster room says. All calls come from one goroutine, in order.
type observer boot

func (o *observer) Members(live []cluster.Peer) {
	// The log is known from here on; no lease was given yet, so nothing was served under a wrong configuration.
	if err := (*boot)(o).checkCluster(); err != nil {
		o.refused = true
		(*boot)(o).fail(err)
	}
	if o.refused {
		return
	}
	ids := make([]channel.GatewayID, len(live))
	for i, p := range live {
		ids[i] = channel.GatewayID{Node: p.Node, Boot: p.Boot}
	}
	o.host.SetMembers(ids)
	o.fellows.members(live)
}

func (o *observer) Layout(table ring.Table) {
	if o.refused {
		return
	}
	o.host.Layout(table)
	o.gateway.Layout(len(table.Slots))
}

func (o *observer) Acquire(part uint32, epoch uint64) {
	if !o.refused {
		o.host.Acquire(part, epoch)
	}
}

func (o *observer) Release(part uint32, epoch uint64) {
	if !o.refused {
		o.host.Release(part, epoch)
	}
}

func (o *observer) Routed(part uint32, r cluster.Route) {
	if !o.refused {
		o.gateway.Routed(part, transport.Route{Node: r.Node, Epoch: r.Epoch, Session: r.Session})
	}
}

func (o *observer) Unrouted(part uint32) {
	if !o.refused {
		o.gateway.Unrouted(part)
	}
}

func (o *observer) Follow(part uint32, to cluster.Peer, session uint64) {
	if !o.refused {
		o.host.Follow(part, channel.GatewayID{Node: to.Node, Boot: to.Boot}, session)
	}
}

func (o *observer) Parted(from cluster.Peer, session uint64) {
	if !o.refused {
		o.host.Parted(channel.GatewayID{Node: from.Node, Boot: from.Boot}, session)
	}
}

func (o *observer) Lease(held bool) {
	held = held && !o.refused
	if held {
		o.authority.look()
		o.caughtUp.Store(true)
	}
	o.held.Store(held)
	o.gateway.Fence(held)
	nudge(o.leads)
}

// Prepared implements cluster.MoveObserver.
func (o *observer) Prepared(part uint32, epoch uint64, to string) bool {
	return o.host.Prepared(part, epoch, to)
}

// Opened implements cluster.MoveObserver.
func (o *observer) Opened(part uint32, epoch uint64) bool { return o.host.Opened(part, epoch) }

func (o *observer) DeclaredDead() { close(o.dead) }

// nudge wakes whoever waits on a channel of capacity 1.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keysOf collects the keys of all apps.
func keysOf(apps []config.App) ([]auth.Key, error) {
	var keys []auth.Key
	for _, a := range apps {
		for _, k := range a.Keys {
			app, id, secret, err := auth.ParseKey(k.Key)
			if err != nil {
				return nil, err
			}
			capability, err := auth.ParseCapability(k.Capability)
			if err != nil {
				return nil, fmt.Errorf("key %s.%s: %w", app, id, err)
			}
			keys = append(keys, auth.Key{App: app, ID: id, Secret: secret, Capability: capability, Revocable: k.RevocableTokens})
		}
	}
	return keys, nil
}
