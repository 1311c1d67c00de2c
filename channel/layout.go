package channel

import (
	"sync/atomic"
	"time"

	"innkeeper/cluster/ring"
)

// layout is one way in which the ring is cut, with this host's partitions under it. The number of a partition means another
// range under another layout; an epoch belongs to one layout alone, since all of a layout are above all of those before.
type layout struct {
	began  uint64   // its first epoch; 0 for the first layout
	before []uint64 // by partition of the layout before: the epoch that it ended with
	parts  []partition

	// former is the layout before: who owned or followed then still has what was published. nil: nobody needs it.
	former    atomic.Pointer[layout]
	settledAt atomic.Int64 // on the host's clock: all partitions were served by then; 0: not yet
}

func newLayout(h *Host, table ring.Table) *layout {
	l := &layout{began: table.Began, before: table.Before, parts: make([]partition, len(table.Slots))}
	for i, slot := range table.Slots {
		l.parts[i].init(h, l, uint32(i))
		if l.began > 0 {
			l.parts[i].known = slot.Epoch - 1 // what is below is late
		}
	}
	return l
}

// part is a partition; nil when there is none of that number.
func (l *layout) part(id uint32) *partition {
	if uint64(id) >= uint64(len(l.parts)) {
		return nil
	}
	return &l.parts[id]
}

// place is where a channel stands in its partition; false when it does not belong there.
func (p *partition) place(app, name string) (Position, bool) {
	hash := ring.Hash(app, name)
	return Position{Hash: hash, App: app, Name: name}, ring.Partition(hash, len(p.of.parts)) == p.id
}

// Layout cuts the ring anew. All tenures end; what they knew of the past is kept for those who own its ranges now (see
// Settled). It is called by the goroutine that calls Acquire, before the first Acquire under the layout. The same layout
// again changes nothing.
func (h *Host) Layout(table ring.Table) {
	for _, a := range h.cut(table) {
		h.FromHost(a.from, a.part, a.epoch, a.m)
	}
}

// cut does it, and returns what others have asked for early.
func (h *Host) cut(table ring.Table) []earlyAsk {
	h.cutting.Lock()
	defer h.cutting.Unlock()
	was := h.layout.Load()
	if len(table.Slots) == len(was.parts) && table.Began == was.began {
		return nil
	}
	next := newLayout(h, table)
	for i := range was.parts {
		was.parts[i].retire(next)
	}
	for key, s := range h.early {
		if p := next.part(key.part); p != nil {
			p.welcome(key.from, s)
			delete(h.early, key)
		} else if s.epoch < next.began {
			delete(h.early, key)
		}
	}
	was.former.Store(nil)
	if h.cfg.Hosts != nil && len(next.before) == len(was.parts) {
		next.former.Store(was)
	}
	h.layout.Store(next)
	asks := h.asks
	h.asks = nil
	return asks
}

// earlyAsk is a question about a layout that is not known here yet.
type earlyAsk struct {
	from  GatewayID
	part  uint32
	epoch uint64
	m     *PastAsk
}

// earlyAsksMax bounds what is kept; who is not answered asks again.
const earlyAsksMax = 2 * ring.PartitionsMax

// keepAsk keeps a question until its layout is known; false when it is known meanwhile.
func (h *Host) keepAsk(a earlyAsk) bool {
	if a.m.Layout <= h.layout.Load().began {
		return false
	}
	h.cutting.Lock()
	defer h.cutting.Unlock()
	if a.m.Layout <= h.layout.Load().began {
		return false
	}
	if len(h.asks) < earlyAsksMax {
		h.asks = append(h.asks, a)
	}
	return true
}

// retire ends the partition with its layout. Sessions that were begun for the next one go on there.
func (p *partition) retire(next *layout) {
	p.mu.Lock()
	left := p.end()
	p.endGift()
	p.next, p.known = next, ^uint64(0)
	if heir := next.part(p.id); heir != nil {
		for g, s := range p.sessions {
			heir.welcome(g, s)
		}
		if r := p.replica; r != nil && r.epoch >= next.began {
			heir.replica, heir.coming = r, p.coming // copies that were begun before this node had heard
			p.replica, p.coming = nil, nil
		}
	}
	p.sessions = nil
	p.mu.Unlock()
	p.refuseAll(left)
	p.nudge()
}

// welcome takes a session in that was begun before this layout was known here.
func (p *partition) welcome(g Gateway, s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was := p.sessions[g]; s.epoch > p.known && (was == nil || was.epoch < s.epoch) && !p.host.roster.Load().isGone(g) {
		p.sessions[g] = s
	}
}

// earlyKey is a session for a partition that there is not yet.
type earlyKey struct {
	from Gateway
	part uint32
}

// registration gives a Snapshot or a Register to its partition: that of the layout which its epoch is of. False: it could
// not be kept.
func (h *Host) registration(l *layout, g Gateway, part uint32, epoch uint64, m ToOwner) bool {
	for {
		p := l.part(part)
		if p == nil {
			kept, done := h.keepEarly(l, g, part, epoch, m)
			if done {
				return kept
			}
			l = h.layout.Load()
			continue
		}
		var kept bool
		var next *layout
		switch m := m.(type) {
		case *Snapshot:
			kept, next = p.snapshot(g, epoch, m)
		case *Register:
			kept, next = p.register(g, epoch, m)
		}
		if next == nil {
			return kept
		}
		l = next
	}
}

// keepEarly keeps what is said for a partition of a layout that is not known here yet: the table is on its way. It is not
// done when another layout has become known meanwhile.
func (h *Host) keepEarly(l *layout, g Gateway, part uint32, epoch uint64, m ToOwner) (kept, done bool) {
	h.cutting.Lock()
	defer h.cutting.Unlock()
	if h.layout.Load() != l {
		return false, false
	}
	key := earlyKey{g, part}
	s := h.early[key]
	switch {
	case part >= ring.PartitionsMax || epoch <= l.began || h.roster.Load().isGone(g) || s != nil && s.epoch > epoch:
		h.counters.strays.Add(1)
		return true, true
	}
	if m, ok := m.(*Snapshot); ok {
		if h.early == nil {
			h.early = make(map[earlyKey]*session)
		}
		h.early[key] = &session{epoch: epoch, snapshot: m}
		return true, true
	}
	if s == nil || s.epoch != epoch {
		h.counters.strays.Add(1)
		return true, true
	}
	if len(s.later) >= bufferedMax {
		delete(h.early, key)
		h.counters.full.Add(1)
		return false, true
	}
	s.later = append(s.later, m.(*Register))
	return true, true
}

// Settled says that each partition of the layout that began with an epoch is served by its owner. What the layout before
// had is not all there is from now on. It is kept a little longer: an owner that dies before its follower has been sent
// everything leaves nothing else. Settled is called again and again.
func (h *Host) Settled(began uint64) {
	l := h.layout.Load()
	if l.began != began {
		return
	}
	now := h.elapsed()
	if !l.settledAt.CompareAndSwap(0, int64(now)) && now-time.Duration(l.settledAt.Load()) > formerKept {
		l.former.Store(nil)
	}
}

// formerKept is how long the layout before is kept when nobody needs it any more, unless an owner dies.
const formerKept = 2 * time.Minute
