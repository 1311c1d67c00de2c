package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"innkeeper/channel"
	"innkeeper/cluster"
	"innkeeper/raftstore"
	"innkeeper/transport"
	"innkeeper/transport/dispatch"
)

// The kinds of frames on a link. They are part of the protocol between nodes: numbers are never reused.
const (
	kindToOwner   = 1 // envelope, then channel.ToOwner
	kindToGateway = 2 // envelope, then channel.ToGateway
	kindForward   = 3 // request: a batch of proposals for the leader
	kindToHost    = 5 // envelope, then channel.ToHost
)

// envelope is what stands before a channel's message on a link. Boot is a hash of the boot id of the gateway that the
// message is from or for: what was meant for an earlier start of a node must not reach the later one.
type envelope struct {
	part  uint32
	epoch uint64
	boot  uint64
}

const envelopeBytes = 4 + 8 + 8

func (e envelope) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, e.part)
	dst = binary.BigEndian.AppendUint64(dst, e.epoch)
	return binary.BigEndian.AppendUint64(dst, e.boot)
}

func openEnvelope(b []byte) (e envelope, body []byte, err error) {
	if len(b) < envelopeBytes {
		return e, nil, fmt.Errorf("envelope of %d bytes, want at least %d", len(b), envelopeBytes)
	}
	return envelope{binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:])}, b[envelopeBytes:], nil
}

func bootHash(boot string) uint64 { return xxhash.Sum64String(boot) }

// owners carries a gateway's messages to the owners of partitions: by a call when that is this node, else by a link.
type owners struct {
	b    *boot
	self channel.GatewayID
	hash uint64
}

// ToOwner implements transport.Owners. It never blocks.
func (o *owners) ToOwner(part uint32, r transport.Route, m channel.ToOwner) bool {
	if r.Node == o.self.Node {
		if o.b.registrar.FromGateway(o.self, part, r.Epoch, m) {
			return true
		}
		o.b.cluster.ResetLink(o.self.Node)
		return false
	}
	payload := channel.AppendToOwner(envelope{part, r.Epoch, o.hash}.append(make([]byte, 0, 128)), m)
	return o.b.cluster.Send(r.Node, r.Session, kindToOwner, payload)
}

// onToOwner takes a message from another node's gateway. It runs on the link's read loop and does not block.
func (b *boot) onToOwner(from cluster.Peer, payload []byte) {
	e, body, err := openEnvelope(payload)
	if err == nil && e.boot != bootHash(from.Boot) {
		err = errors.New("sent by another boot than the link's")
	}
	var m channel.ToOwner
	if err == nil {
		m, err = channel.DecodeToOwner(body)
	}
	if err != nil {
		b.log.Error("bad frame from a gateway; its link is reset", "peer", from.Node, "err", err)
		b.cluster.ResetLink(from.Node)
		return
	}
	if !b.registrar.FromGateway(channel.GatewayID{Node: from.Node, Boot: from.Boot}, e.part, e.epoch, m) {
		b.cluster.ResetLink(from.Node)
	}
}

// gateways carries an owner's messages to gateways.
type gateways struct {
	b    *boot
	self channel.GatewayID
}

// ToGateway implements channel.Gateways. It never blocks.
func (g *gateways) ToGateway(to channel.GatewayID, part uint32, epoch uint64, m channel.ToGateway) bool {
	if to.Node == g.self.Node {
		if to.Boot != g.self.Boot {
			return false
		}
		if g.b.gateway.FromOwner(g.self.Node, part, epoch, m) {
			return true
		}
		g.b.cluster.ResetLink(g.self.Node)
		return false
	}
	payload := channel.AppendToGateway(envelope{part, epoch, bootHash(to.Boot)}.append(make([]byte, 0, 256)), m)
	return g.b.cluster.Send(to.Node, 0, kindToGateway, payload)
}

// onToGateway takes a message from another node's host. It runs on the link's read loop and does not block.
func (b *boot) onToGateway(from cluster.Peer, payload []byte) {
	e, body, err := openEnvelope(payload)
	var m channel.ToGateway
	if err == nil {
		if e.boot != bootHash(b.id) {
			return // for an earlier start of this node
		}
		m, err = channel.DecodeToGateway(body)
	}
	if err != nil {
		b.log.Error("bad frame from an owner; its link is reset", "peer", from.Node, "err", err)
		b.cluster.ResetLink(from.Node)
		return
	}
	if !b.gateway.FromOwner(from.Node, e.part, e.epoch, m) {
		// What this gateway did not take is lost to it: a new session tells the owner all again.
		b.cluster.ResetLink(from.Node)
	}
}

// hosts carries an owner's messages to other owners: copies of what is published.
type hosts struct{ b *boot }

// ToHost implements channel.Hosts. It never blocks.
func (h hosts) ToHost(to channel.GatewayID, session uint64, part uint32, epoch uint64, m channel.ToHost) bool {
	payload := channel.AppendToHost(envelope{part, epoch, bootHash(to.Boot)}.append(make([]byte, 0, 256)), m)
	return h.b.cluster.Send(to.Node, session, kindToHost, payload)
}

// onToHost takes a message from another node's host. It runs on the link's read loop and does not block.
func (b *boot) onToHost(from cluster.Peer, payload []byte) {
	e, body, err := openEnvelope(payload)
	var m channel.ToHost
	if err == nil {
		if e.boot != bootHash(b.id) {
			return // for an earlier start of this node
		}
		m, err = channel.DecodeToHost(body)
	}
	if err != nil {
		b.log.Error("bad frame from a host; its link is reset", "peer", from.Node, "err", err)
		b.cluster.ResetLink(from.Node)
		return
	}
	if !b.host.FromHost(channel.GatewayID{Node: from.Node, Boot: from.Boot}, e.part, e.epoch, m) {
		b.cluster.ResetLink(from.Node)
	}
}

// forwarder carries proposals to the leader.
type forwarder struct{ b *boot }

// Forward implements raftstore.Forwarder.
func (f forwarder) Forward(ctx context.Context, leader string, payload []byte) ([]byte, error) {
	return f.b.cluster.Request(ctx, leader, kindForward, payload)
}

func (b *boot) onForward(ctx context.Context, _ cluster.Peer, payload []byte) ([]byte, error) {
	return b.store.HandleForward(ctx, payload)
}

// obligations is the log as the channels see it.
type obligations struct{ store *raftstore.Store }

// Occupied implements channel.Log.
func (o obligations) Occupied(part uint32, yield func(channel.Held) bool) {
	o.store.Occupied(part, func(app, name string, seq uint64, sinceMs int64) bool {
		return yield(channel.Held{App: app, Name: name, Seq: seq, SinceMs: sinceMs})
	})
}

// Opened implements channel.Log.
func (o obligations) Opened(part uint32, yield func(channel.Held) bool) {
	o.store.Open(part, func(app, name string, seq uint64, sinceMs int64) bool {
		return yield(channel.Held{App: app, Name: name, Seq: seq, SinceMs: sinceMs})
	})
}

// Propose implements channel.Log.
func (o obligations) Propose(part uint32, epoch uint64, t channel.Transition, done func(error)) {
	o.store.Propose(part, epoch, raftstore.Transition{Kind: kindInLog[t.Kind], App: t.App, Name: t.Name, TimeMs: t.TimeMs}, done)
}

// The words of three rooms for one thing.
var (
	kindInLog = [...]raftstore.Kind{
		channel.Occupy: raftstore.Occupied, channel.Vacate: raftstore.Vacated,
		channel.Open: raftstore.Opened, channel.Close: raftstore.Closed,
	}
	kindOut = [...]dispatch.Kind{
		raftstore.Occupied: dispatch.Occupied, raftstore.Vacated: dispatch.Vacated,
		raftstore.Opened: dispatch.Opened, raftstore.Closed: dispatch.Closed,
		raftstore.LimitNear: dispatch.LimitNear, raftstore.LimitOver: dispatch.LimitOver,
	}
)

// eventLog is the log as the dispatcher sees it.
type eventLog struct{ *raftstore.Store }

// Events implements dispatch.EventLog.
func (l eventLog) Events(after uint64, limit int) (first, last uint64, events []dispatch.Event, err error) {
	first, last, evs, err := l.Store.Events(after, limit)
	return first, last, eventsOf(evs), err
}

// Folded implements dispatch.EventLog.
func (l eventLog) Folded(after uint64, limit int) (gap dispatch.Event, events []dispatch.Event, err error) {
	g, evs := l.Store.Folded(after, limit)
	return gapOf(g), eventsOf(evs), nil
}

// Gap implements dispatch.EventLog.
func (l eventLog) Gap(from, to uint64) dispatch.Event { return gapOf(l.Store.Gap(from, to)) }

func gapOf(g raftstore.Gap) dispatch.Event {
	return dispatch.Event{Kind: dispatch.Gap, ID: g.ID, From: g.From, To: g.To}
}

// SetCursor implements dispatch.EventLog.
func (l eventLog) SetCursor(ctx context.Context, name string, seq uint64) error {
	err := l.Store.SetCursor(ctx, name, seq)
	if errors.Is(err, raftstore.ErrNoCursor) {
		return fmt.Errorf("%w: %w", dispatch.ErrNoCursor, err)
	}
	return err
}

func eventsOf(evs []raftstore.Event) []dispatch.Event {
	if len(evs) == 0 {
		return nil
	}
	events := make([]dispatch.Event, len(evs))
	for i, e := range evs {
		events[i] = dispatch.Event{Seq: e.Seq, ID: e.ID, App: e.App, Channel: e.Channel, Kind: kindOut[e.Kind], TimeMs: e.TimeMs, Ends: e.Ends}
		if e.Kind == raftstore.LimitNear || e.Kind == raftstore.LimitOver {
			events[i].Channel, events[i].Limit = "", e.Channel
		}
	}
	return events
}

var (
	_ transport.Owners    = (*owners)(nil)
	_ channel.Gateways    = (*gateways)(nil)
	_ channel.Log         = obligations{}
	_ channel.Hosts       = hosts{}
	_ dispatch.EventLog   = eventLog{}
	_ raftstore.Forwarder = forwarder{}

	_ cluster.FollowObserver = (*observer)(nil)
	_ cluster.MoveObserver   = (*observer)(nil)
)
