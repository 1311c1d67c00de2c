package channel

import (
	"sync/atomic"
	"time"

	"innkeeper/actor"
)

const (
	// partBytes is how much history goes into one CopyPart, by estimate.
	partBytes = 256 << 10
	// feedWindow is how many CopyParts of what is old may be unconfirmed per partition.
	feedWindow = 4
	// feedsMax is how many partitions of a host send what is old at the same time; together they must not fill a link.
	feedsMax = 4
	// fetchTimeout is how long a new owner waits for the history of the one before, and then for each part of it.
	fetchTimeout = 2 * time.Second
	// fetchAgain is after how long without a word it asks again.
	fetchAgain = fetchTimeout / 5
	// sweepEvery is how often copies are rid of what is too old.
	sweepEvery = 15 * time.Second
)

// feed brings a partition's history to another host: the owner's to its follower, where live publishes come behind it, or
// what an owner left behind to its successor.
type feed struct {
	to      GatewayID
	session uint64
	epoch   uint64
	stream  uint64
	waited  atomic.Bool   // the copy is whole: publishes wait for it
	sent    atomic.Uint64 // CopyParts, all

	// Guarded by partition.mu.
	items       []feedItem
	busy        bool          // an activation is sending its part
	parts       int           // CopyParts of what is old that were sent
	unconfirmed int           // and are not confirmed
	slot        bool          // one of feedsMax is taken
	ended       bool          // CopyEnd was sent
	giveUpAt    time.Duration // of a gift: nobody seems to take it
}

// feedItem is a channel with a past: an open one, or one that was left behind.
type feedItem struct {
	a    *activation
	key  replicaKey
	past *copied
}

// follower is where a tenure's copy is to be kept.
type follower struct {
	to      GatewayID
	session uint64
}

// Follow says where the copy of an owned partition's history is to be kept: with a member that is reached on a session.
// The zero GatewayID: nowhere. It is called by the goroutine that calls Acquire, after it, and again whenever the session
// is another one.
func (h *Host) Follow(part uint32, to GatewayID, session uint64) {
	p := &h.layout.Load().parts[part]
	p.mu.Lock()
	if p.tenure != nil && h.cfg.Hosts != nil {
		if f := p.tenure.feed.Load(); f != nil && f.to != to {
			h.cfg.Hosts.ToHost(f.to, 0, p.id, f.epoch, &CopyEnd{Stream: f.stream}) // what it has goes stale
		}
		p.unfollow()
		p.tenure.follower = follower{to, session}
		if p.at == serving {
			p.beginFeed()
		}
	}
	p.mu.Unlock()
	p.nudge()
}

// beginFeed begins a copy with the follower, if there is one.
func (p *partition) beginFeed() {
	t := p.tenure
	if t.follower.to == (GatewayID{}) {
		return
	}
	h := p.host
	f := &feed{to: t.follower.to, session: t.follower.session, epoch: t.epoch, stream: h.streams.Add(1)}
	if !p.sendHost(f, &CopyBegin{Stream: f.stream, Since: t.since.position(), Floor: h.now().position()}) {
		return // another session follows
	}
	t.feed.Store(f)
	p.channels.all(func(a *activation) bool {
		a.mu.Lock()
		if a.state.past == nil && a.state.present == nil {
			a.state.stream = f.stream
		} else {
			f.items = append(f.items, feedItem{a: a})
		}
		a.mu.Unlock()
		return true
	})
}

// unfollow ends the copy with the follower: nothing waits for it any more.
func (p *partition) unfollow() {
	t := p.tenure
	f := t.feed.Swap(nil)
	if f == nil {
		return
	}
	p.freeSlot(f)
	p.channels.all(func(a *activation) bool {
		a.mu.Lock()
		pending := a.state.past.pending()
		a.mu.Unlock()
		if pending {
			a.Offer(Input{Kind: InCopied}, actor.NoLimit)
		}
		return true
	})
}

// broken ends a feed whose session is over.
func (p *partition) broken(f *feed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tenure != nil && p.tenure.feed.Load() == f {
		p.unfollow()
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
			f.busy = it.a.Offer(Input{Kind: InCopyAll, Stream: f.stream}, actor.NoLimit) == actor.Accepted
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

// fed is called when an activation has sent its part.
func (p *partition) fed(f *feed, parts int) {
	p.mu.Lock()
	f.busy = false
	f.unconfirmed += parts
	f.parts += parts
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
