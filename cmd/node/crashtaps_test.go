package node

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/raftstore"
	"innkeeper/transport/dispatch"
)

// A step is one link of the chain from a client's word to the sink's cursor.
type step string

// The steps, in the order in which they follow each other. How each is seen is written where it is tapped.
const (
	countChange  step = "count change"  // the owner takes in what the gateway holds
	delayStart   step = "delay start"   // the channel is empty, its vacate delay begins
	delayExpiry  step = "delay expiry"  // the vacate delay is over
	proposing    step = "propose"       // the owner hands the transition to the log
	committing   step = "commit"        // a majority has it on disk
	applying     step = "apply"         // the leader's state has it
	sending      step = "send"          // the request to the receiver is written
	acknowledged step = "2xx received"  // the receiver's answer arrives
	cursorCommit step = "cursor commit" // the log keeps that the receiver has it
)

// point is an instant at which the power may fail: just before a step or just after it, on the way to occupied or to
// vacated.
type point struct {
	step  step
	after bool
	kind  dispatch.Kind
}

func (p point) String() string {
	when := " before "
	if p.after {
		when = " after "
	}
	return p.kind.String() + when + string(p.step)
}

// blink is long enough for a node to do all it can do without time passing, and too short for a packet or a disk.
const blink = time.Microsecond

// taps tell a world what a machine is about to do, and has done. They are called on the machine's own goroutines, and
// what they stand around goes on only when they return: a machine that is dead by then does nothing more that counts.
type taps struct {
	w *world
	m *machine
}

func (t taps) joints() joints {
	return joints{
		registrar: func(r registrar) registrar { return tappedRegistrar{t, r} },
		log:       func(l channel.Log) channel.Log { return tappedLog{l, t} },
		events:    func(l dispatch.EventLog) dispatch.EventLog { return tappedEvents{l, t} },
	}
}

// tappedRegistrar sees the count of the channel change.
type tappedRegistrar struct {
	t  taps
	to registrar
}

func (r tappedRegistrar) FromGateway(gw channel.GatewayID, part uint32, epoch uint64, m channel.ToOwner) bool {
	reg, ok := m.(*channel.Register)
	if !ok || !r.t.w.about(reg.Name) {
		return r.to.FromGateway(gw, part, epoch, m)
	}
	w, empties := r.t.w, reg.Counts == channel.Counts{}
	w.pass(point{step: countChange})
	if empties {
		w.pass(point{step: delayStart})
	}
	took := r.to.FromGateway(gw, part, epoch, m)
	w.pass(point{step: countChange, after: true})
	if empties {
		w.later(blink, point{step: delayStart, after: true})
		w.later(crashVacateDelay-blink, point{step: delayExpiry})
		w.later(crashVacateDelay+blink, point{step: delayExpiry, after: true})
	}
	return took
}

// tappedLog sees transitions on their way to the log.
type tappedLog struct {
	channel.Log
	t taps
}

func (l tappedLog) Propose(part uint32, epoch uint64, tr channel.Transition, done func(error)) {
	if !l.t.w.about(tr.Name) {
		l.Log.Propose(part, epoch, tr, done)
		return
	}
	l.t.w.pass(point{step: proposing})
	l.Log.Propose(part, epoch, tr, done)
	l.t.w.pass(point{step: proposing, after: true})
}

// tapDisk sees the transition come to a disk. It is committed when a majority has it.
func (t taps) tapDisk() {
	t.m.disk.OnWrite(func(wr raftstore.Write) (time.Duration, error) {
		if t.w.named(wr.Data...) && t.w.leads(t.m) {
			t.w.pass(point{step: committing})
		}
		return diskDelay, nil
	})
	t.m.disk.OnWritten(func(wr raftstore.Write) {
		if t.w.named(wr.Data...) && t.w.copied() {
			t.w.pass(point{step: committing, after: true})
			if len(t.w.machines) == 1 {
				t.w.pass(point{step: applying})
			}
		}
	})
}

// tappedEvents sees the dispatcher read the event, and commit its cursor behind it.
type tappedEvents struct {
	dispatch.EventLog
	t taps
}

func (l tappedEvents) Events(after uint64, limit int) (first, last uint64, events []dispatch.Event, err error) {
	first, last, events, err = l.EventLog.Events(after, limit)
	for _, e := range events {
		if l.t.w.about(e.Channel) {
			l.t.w.seen(e)
		}
	}
	return first, last, events, err
}

func (l tappedEvents) SetCursor(ctx context.Context, name string, seq uint64) error {
	covers := l.t.w.covers(seq)
	if covers {
		l.t.w.pass(point{step: cursorCommit})
	}
	err := l.EventLog.SetCursor(ctx, name, seq)
	if covers && err == nil {
		l.t.w.pass(point{step: cursorCommit, after: true})
	}
	return err
}

// tappedNet sees what a machine says to the receiver, and the others' acknowledgements of what it sent them as leader.
type tappedNet struct {
	hostOf
	t taps
}

// hostOf is the network of one machine.
type hostOf interface {
	Listen(addr string) (net.Listener, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
	ListenPacket(addr string) (net.PacketConn, error)
}

func (n tappedNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := n.hostOf.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(addr, backendIP):
		return &hookConn{Conn: c, t: n.t}, nil
	case strings.HasSuffix(addr, crashClusterPort):
		return &raftConn{Conn: c, t: n.t}, nil
	}
	return c, nil
}

// hookConn carries webhooks. A request of this test is written at once.
type hookConn struct {
	net.Conn
	t     taps
	asked atomic.Bool // the request about the channel was written and has no answer yet
}

func (c *hookConn) Write(b []byte) (int, error) {
	// Not before the event is known: the request that told of the way to occupied names the channel too.
	about := c.t.w.named(b) && c.t.w.known()
	if about {
		c.t.w.pass(point{step: sending})
	}
	n, err := c.Conn.Write(b)
	if about && err == nil {
		c.asked.Store(true)
		c.t.w.pass(point{step: sending, after: true})
	}
	return n, err
}

func (c *hookConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.asked.Swap(false) {
		c.t.w.pass(point{step: acknowledged})
		c.t.w.later(blink, point{step: acknowledged, after: true})
	}
	return n, err
}

// raftConn is a connection between two nodes; those of Raft say so in their first byte.
type raftConn struct {
	net.Conn
	t    taps
	once atomic.Bool
	raft atomic.Bool
}

func (c *raftConn) Write(b []byte) (int, error) {
	if len(b) > 0 && !c.once.Swap(true) {
		c.raft.Store(b[0] == 'R')
	}
	return c.Conn.Write(b)
}

func (c *raftConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.raft.Load() && c.t.w.leads(c.t.m) && c.t.w.durable() {
		c.t.w.pass(point{step: applying})
	}
	return n, err
}
