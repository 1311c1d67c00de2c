package channel

import (
	"slices"
	"sync/atomic"
	"time"

	"innkeeper/actor"
)

const (
	// partBytes is how much history goes into one CopyPart, by estimate. What is published meanwhile comes behind it.
	partBytes = 128 << 10
	// feedWindow is how many CopyParts of what is old may be unconfirmed per partition.
	feedWindow = 4
	// feedsMax is how many partitions of a host send what is old at the same time; together they must not fill a link.
	feedsMax = 4
	// fetchTimeout is how long a new owner waits for the history of the one before, and then for each part of it.
	fetchTimeout = 2 * time.Second
	// fetchAgain is after how long without a word it asks again.
	fetchAgain = fetchTimeout / 5
	// takeTimeout and takeAgain are the same when the one that has it was asked to send it.
	takeTimeout = 2 * fetchTimeout
	takeAgain   = fetchTimeout / 2
	// sweepEvery is how often copies are rid of what is too old.
	sweepEvery = 15 * time.Second
)

// feed brings a partition's history to another host: the owner's to one that keeps a copy, where live publishes come behind
// it, or what an owner left behind to its successor.
type feed struct {
	follower
	epoch  uint64
	stream uint64
	began  time.Duration
	sent   atomic.Uint64 // CopyParts, all

	// Guarded by partition.mu.
	items       []feedItem
	busy        bool          // an activation is sending its part
	parts       int           // CopyParts of what is old that were sent
	unconfirmed int           // and are not confirmed
	slot        bool          // one of feedsMax is taken
	ended       bool          // CopyEnd was sent
	giveUpAt    time.Duration // of a gift: nobody seems to take it
	before      *feed         // the one that was whole, until this copy knows that it is; nil: it was let go
}

// feedItem is a channel with a past: an open one, or one that was left behind.
type feedItem struct {
	a     *activation
	after Stamp // of an open one: up to here it was sent
	key   replicaKey
	past  *copied
}

// feeds are those of a tenure to the tenure's keepers. It is immutable.
type feeds struct {
	whole   *feed // publishes wait for it; nil: for nothing
	growing *feed // the one that is to take its place; nil: none
}

// with is the feed of that stream; nil when there is none.
func (f *feeds) with(stream uint64) *feed {
	switch {
	case f.whole != nil && f.whole.stream == stream:
		return f.whole
	case f.growing != nil && f.growing.stream == stream:
		return f.growing
	}
	return nil
}

// each calls do for those that there are.
func (f *feeds) each(do func(*feed)) {
	if f.growing != nil {
		do(f.growing)
	}
	if f.whole != nil {
		do(f.whole)
	}
}

// Follow says where the copy of an owned partition's history is to be kept: with a member that is reached on a session.
// The zero GatewayID: with one that cannot be reached now, if any. Whoever has had a whole copy until then goes on keeping
// it until the new one is whole. Follow is called by the goroutine that calls Acquire, after it, and again whenever the
// session is another one.
func (h *Host) Follow(part uint32, to GatewayID, session uint64) {
	p := &h.layout.Load().parts[part]
	p.mu.Lock()
	if p.tenure != nil && h.cfg.Hosts != nil {
		p.tenure.keepers.want(follower{to, session})
		p.arrange()
	}
	p.mu.Unlock()
	p.nudge()
}

// Parted says that a session with a member is over. It is called by the goroutine that calls Follow, before Follow names
// another session with that member.
func (h *Host) Parted(from GatewayID, session uint64) {
	parts := h.layout.Load().parts
	for i := range parts {
		p := &parts[i]
		p.mu.Lock()
		p.lost(follower{from, session})
		p.mu.Unlock()
	}
}

// lost ends what is sent on a session that is over; p.mu is held.
func (p *partition) lost(f follower) {
	if p.tenure == nil || p.host.cfg.Hosts == nil {
		return
	}
	p.tenure.keepers.lost(f)
	p.arrange()
}

// arrange brings the feeds in line with the keepers; p.mu is held.
func (p *partition) arrange() {
	t := p.tenure
	if p.at != serving {
		return
	}
	now := t.feeds.Load()
	if f := now.whole; f != nil && f.follower != t.keepers.whole {
		p.bereave(f)
		now = t.feeds.Load()
	}
	if f := now.growing; f != nil && f.follower != t.keepers.growing {
		now = &feeds{whole: now.whole}
		t.feeds.Store(now)
		p.freeSlot(f)
		p.sendHost(f, &CopyEnd{Stream: f.stream})
	}
	if now.growing == nil && t.keepers.growing != (follower{}) {
		p.grow(t.keepers.growing)
	}
}

// grow begins a copy; p.mu is held.
func (p *partition) grow(at follower) {
	t, h := p.tenure, p.host
	f := &feed{follower: at, epoch: t.epoch, stream: h.streams.Add(1), began: h.elapsed()}
	if !p.sendHost(f, &CopyBegin{Stream: f.stream, Since: t.since.position(), Floor: h.now().position()}) {
		t.keepers.lost(at) // another session follows
		return
	}
	whole := t.feeds.Load().whole
	t.feeds.Store(&feeds{whole: whole, growing: f})
	p.channels.all(func(a *activation) bool {
		a.mu.Lock()
		if a.state.past == nil && a.state.present == nil {
			a.state.join(whole.number(), f.stream)
		} else {
			f.items = append(f.items, feedItem{a: a})
		}
		a.mu.Unlock()
		return true
	})
	p.nudge() // to send what is old
}

// number is the feed's stream; 0 when there is none.
func (f *feed) number() uint64 {
	if f == nil {
		return 0
	}
	return f.stream
}

// grown makes the copy that was growing the one that publishes wait for; p.mu is held.
//
// Nobody may take that copy for whole before it has all that was acknowledged without it. So it is told so on the way that
// live publishes take, when no channel has one in hand that others have been sent already; and the copy before is let go
// when it has heard.
func (p *partition) grown() {
	t := p.tenure
	now := t.feeds.Load()
	f, before := now.growing, now.whole
	t.sending.Lock()
	t.feeds.Store(&feeds{whole: f})
	t.orphan = orphan{}
	told := p.sendHost(f, &CopyWhole{Stream: f.stream})
	t.sending.Unlock()
	f.before = before
	p.host.log.Debug("a copy is whole", "partition", p.id, "epoch", f.epoch, "with", f.to.Node, "parts", f.sent.Load(), "took", p.host.elapsed()-f.began)
	t.keepers.grown()
	if !told {
		t.keepers.lost(f.follower)
	}
	p.tellPending(Input{Kind: InCopied, Stream: f.stream})
	p.arrange()
}

// letGo ends the copy that was whole before f is; p.mu is held.
func (p *partition) letGo(f *feed) {
	if f.before != nil {
		p.sendHost(f.before, &CopyEnd{Stream: f.before.stream})
		f.before = nil
	}
}

// tellPending lets publishes that wait for a copy know that another one counts, or none; p.mu is held.
func (p *partition) tellPending(in Input) {
	p.channels.all(func(a *activation) bool {
		a.mu.Lock()
		pending := a.state.past.pending()
		a.mu.Unlock()
		if pending {
			a.Offer(in, actor.NoLimit)
		}
		return true
	})
}

// broken ends a feed whose session is over.
func (p *partition) broken(f *feed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.tenure; t != nil && t.feeds.Load().with(f.stream) == f {
		p.lost(f.follower)
		if t.orphan.feed == f && !t.orphan.telling {
			p.tellBehind()
		}
	}
	if p.gift == f {
		p.endGift()
	}
}

func (p *partition) endGift() {
	if p.gift != nil {
		p.freeSlot(p.gift)
		p.gift = nil
	}
}

func (p *partition) sendHost(f *feed, m ToHost) bool {
	return p.host.cfg.Hosts.ToHost(f.to, f.session, p.id, f.epoch, m)
}

// feedOn goes on sending what is old.
func (p *partition) feedOn(f *feed) {
	if f == nil || f.ended || !f.slot && !p.takeSlot(f) {
		return
	}
	for len(f.items) > 0 && !f.busy && f.unconfirmed < feedWindow {
		it := f.items[0]
		f.items = f.items[1:]
		if it.a != nil {
			f.busy = it.a.Offer(Input{Kind: InCopyAll, Stream: f.stream, Copied: it.after}, actor.NoLimit) == actor.Accepted
			continue
		}
		c := copier{p: p, f: f, app: it.key.app, name: it.key.name, since: it.past.since}
		it.past.publishes(func(d *Delivery) { c.add(d, true) })
		c.flush()
		p.tellTold(f, it.key.app, it.key.name, it.past.told)
		f.unconfirmed += c.parts
		f.parts += c.parts
		if c.failed {
			p.endGift()
			return
		}
	}
	if len(f.items) == 0 && !f.busy {
		f.ended = true
		p.freeSlot(f)
		p.sendHost(f, &CopyEnd{Stream: f.stream, Complete: true, Parts: uint64(f.parts)})
	}
}

// fed is called when an activation has sent some of what it has, all that is old up to a stamp; joined: it was the last.
func (p *partition) fed(f *feed, a *activation, parts int, after Stamp, joined bool) {
	p.mu.Lock()
	f.busy = false
	f.unconfirmed += parts
	f.parts += parts
	if !joined {
		f.items = slices.Insert(f.items, 0, feedItem{a: a, after: after})
	}
	p.mu.Unlock()
	p.nudge()
}

// takeSlot asks to send what is old now; if it cannot be, the partition is nudged when it can.
func (p *partition) takeSlot(f *feed) bool {
	h := p.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.feeding >= feedsMax {
		h.hungry = append(h.hungry, p)
		return false
	}
	h.feeding++
	f.slot = true
	return true
}

func (p *partition) freeSlot(f *feed) {
	if !f.slot {
		return
	}
	f.slot = false
	h := p.host
	h.mu.Lock()
	h.feeding--
	next := h.hungry
	h.hungry = nil
	h.mu.Unlock()
	for _, q := range next {
		q.nudge()
	}
}

// copier gathers a channel's publishes into CopyParts.
type copier struct {
	p         *partition
	f         *feed
	app, name string
	since     Stamp
	part      *CopyPart
	bytes     int
	parts     int // of what is old
	failed    bool
}

func (c *copier) add(d *Delivery, old bool) {
	if c.part != nil && (c.part.Old != old || c.bytes >= partBytes) {
		c.flush()
	}
	if c.part == nil {
		c.part = &CopyPart{Stream: c.f.stream, App: c.app, Name: c.name, Old: old}
		if old && c.since != (Stamp{}) {
			c.part.Since = c.since.position()
		}
	}
	c.part.Deliveries = append(c.part.Deliveries, d)
	c.bytes += deliverySize(d)
}

func (c *copier) flush() {
	if c.part == nil {
		return
	}
	if c.part.Old {
		c.parts++
	}
	c.failed = c.failed || !c.p.sendHost(c.f, c.part)
	c.f.sent.Add(1)
	c.part, c.bytes = nil, 0
}
