package transport

import (
	"strconv"
	"sync"
	"time"

	"innkeeper/transport/protocol"
)

const (
	// maxIdleInterval is the silence that clients are promised not to see, unless they ask for another one.
	maxIdleInterval = 15 * time.Second
	idleLeast       = 5 * time.Second
	idleMost        = 30 * time.Minute
	// sweepSlots is in how many turns of sweepEvery all connections are visited once. Two rounds without a sign of life
	// end a connection, so a dead one is found within 28 s. Those that asked for less silence have slots of their own,
	// which come around faster.
	sweepSlots = 14
	briskSlots = 4
	sweepEvery = time.Second
)

// idleInterval is the silence to promise, in ms, to a client that asks for text ms.
func idleInterval(text string) int32 {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms <= 0 {
		return int32(maxIdleInterval.Milliseconds())
	}
	return int32(min(max(ms, idleLeast.Milliseconds()), idleMost.Milliseconds()))
}

// sweeper keeps all connections and looks after the idle ones: one timer for all of them. In each turn it visits one
// slot: whoever was silent since the visit before, although pinged then, is gone; the others are pinged.
type sweeper struct {
	slots [sweepSlots + briskSlots]slot // those of the brisk ones at the end

	mu   sync.Mutex
	next int // slot of the next connection
	size int
}

type slot struct {
	mu    sync.Mutex
	conns []*conn
}

// add takes a connection in.
func (s *sweeper) add(c *conn) {
	s.mu.Lock()
	c.slot = s.next % sweepSlots
	if int64(c.idle) < maxIdleInterval.Milliseconds() {
		c.slot = sweepSlots + s.next%briskSlots
	}
	s.next = (s.next + 1) % (sweepSlots * briskSlots)
	s.size++
	s.mu.Unlock()
	sl := &s.slots[c.slot]
	sl.mu.Lock()
	c.index = len(sl.conns)
	sl.conns = append(sl.conns, c)
	sl.mu.Unlock()
}

// remove lets a connection go.
func (s *sweeper) remove(c *conn) {
	sl := &s.slots[c.slot]
	sl.mu.Lock()
	last := len(sl.conns) - 1
	sl.conns[c.index] = sl.conns[last]
	sl.conns[c.index].index = c.index
	sl.conns[last] = nil
	sl.conns = sl.conns[:last]
	sl.mu.Unlock()
	s.mu.Lock()
	s.size--
	s.mu.Unlock()
}

func (s *sweeper) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// each calls f for every connection there is now, without a lock.
func (s *sweeper) each(f func(*conn)) {
	var list []*conn
	for i := range s.slots {
		list = s.slots[i].list(list[:0])
		for _, c := range list {
			f(c)
		}
	}
}

func (sl *slot) list(into []*conn) []*conn {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return append(into, sl.conns...)
}

// run visits one slot per turn until stop is closed.
func (s *sweeper) run(stop <-chan struct{}) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	f := new(flusher)
	var list []*conn
	for turn := 0; ; turn = (turn + 1) % (sweepSlots * briskSlots) {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		list = s.slots[turn%sweepSlots].list(list[:0])
		list = append(list, s.slots[sweepSlots+turn%briskSlots].list(nil)...)
		for i, c := range list {
			c.visit(f)
			list[i] = nil
		}
	}
}

var heartbeatFrames = [2][]byte{
	protocol.JSON:    seal(protocol.AppendHeartbeat(begin(nil), protocol.JSON, ""), protocol.JSON),
	protocol.MsgPack: seal(protocol.AppendHeartbeat(begin(nil), protocol.MsgPack, ""), protocol.MsgPack),
}

// visit looks after one connection. A ping asks for a sign of life and shows ours; clients that cannot see pings get a
// HEARTBEAT as well, those that asked for more silence only as often as they have to.
func (c *conn) visit(f *flusher) {
	if c.ended.Load() != uint32(running) {
		return
	}
	if !c.heard.Swap(false) && c.pinged {
		c.end(endSilent, 0, nil)
		return
	}
	c.pinged = true
	a := c.out.append(pingFrame, c.g.cfg.OutboxBytes)
	const visits = sweepSlots * sweepEvery
	if c.quiet++; c.heartbeats && int64(c.quiet+1)*visits.Milliseconds() > int64(c.idle) {
		c.quiet = 0
		a = max(a, c.out.append(heartbeatFrames[c.format], c.g.cfg.OutboxBytes))
	}
	c.settle(f, a)
}
