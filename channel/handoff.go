package channel

import (
	"time"

	"innkeeper/actor"
	"innkeeper/cluster/ring"
)

// fetch is a new owner's search for the history of those before it.
type fetch struct {
	stream   uint64
	back     uint64                 // tenures before this one that never served: what is looked for is of the one before them
	deadline time.Duration          // to go on without
	againAt  time.Duration          // to ask again: something may have been lost with a session
	asked    map[GatewayID]struct{} // and not answered yet
	best     CopyHave               // of all answers, and of what is kept here
	from     GatewayID              // who has it; this host itself for what is kept here
	behind   uint64                 // copies up to this one miss something
	taking   bool
	heard    bool // everybody was heard when this host last asked
	found    *replica
	over     bool       // somebody knows of a later tenure: this one must not serve without what that one is about to take over
	remains  []*Remains // that the owner before has told of
}

// goesOn notes that something came. Who gives a copy may take a while between two parts of it, on a busy machine; asked
// again it has to begin anew.
func (f *fetch) goesOn(now time.Duration) {
	f.deadline, f.againAt = now+fetchTimeout, now+fetchAgain
	if f.taking {
		f.deadline, f.againAt = now+takeTimeout, now+takeAgain
	}
}

// wanted is a fetch of the next owner that came before this one heard that its tenure is over.
type wanted struct {
	from   GatewayID
	epoch  uint64
	stream uint64
	take   bool
	back   uint64
}

// of is the epoch of the tenure that is asked for.
func (w wanted) of() uint64 { return w.epoch - 1 - w.back }

// FromHost takes one frame of another host for a partition at an epoch; the host owns m from now on. Frames of one host
// come in order. It never blocks. False: a copy could not be begun, since the table that has its partition is not known here
// yet; the caller makes the host begin again (a new session).
func (h *Host) FromHost(from GatewayID, part uint32, epoch uint64, m ToHost) bool {
	if h.cfg.Hosts == nil {
		return true
	}
	if ask, ok := m.(*PastAsk); ok && h.keepAsk(earlyAsk{from, part, epoch, ask}) {
		return true
	}
	h.cutting.RLock() // what belongs to a copy is not lost between two layouts
	defer h.cutting.RUnlock()
	l := h.layout.Load()
	p := l.part(part)
	if p == nil {
		_, begins := m.(*CopyBegin)
		return !begins || epoch <= l.began
	}
	switch m := m.(type) {
	case *CopyBegin:
		p.beginCopy(from, epoch, m)
	case *CopyPart:
		p.takeCopy(from, epoch, m)
	case *CopyEnd:
		p.endCopy(from, epoch, m)
	case *CopyWhole:
		p.wholeCopy(from, epoch, m)
	case *CopyBehind:
		p.fellBehind(from, epoch, m)
	case *CopyKnown:
		p.behindKnown(epoch, m)
	case *Copied:
		p.confirmed(from, epoch, m)
	case *CopyFetch:
		p.fetched(wanted{from, epoch, m.Stream, m.Take, m.Back})
	case *CopyHave:
		p.heard(from, epoch, m)
	case *TapTold:
		p.takeTold(from, epoch, m)
	case *Left:
		p.takeRemains(epoch, m)
	case *PastAsk:
		h.pastAsked(from, l, p, epoch, m)
	case *PastHave:
		p.pastHeard(from, epoch, m)
	case *PastTake:
		h.pastTaken(from, l, p, epoch, m)
	case *PastPage:
		p.pastCame(from, epoch, m)
	}
	return true
}

// beginCopy makes room for a copy: of the owner's history, or of what this new owner has asked for.
func (p *partition) beginCopy(from GatewayID, epoch uint64, m *CopyBegin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, floor := parseSerial(m.Since), parseSerial(m.Floor)
	if f := p.fetching(epoch, m.Stream); f != nil {
		if f.found == nil {
			f.found = newReplica(epoch-1, m.Stream, from, since, floor)
			f.goesOn(p.host.elapsed())
		}
		return
	}
	if p.tenure != nil && p.tenure.epoch >= epoch || p.tenure == nil && epoch < p.known {
		return
	}
	p.coming = newReplica(epoch, m.Stream, from, since, floor)
	if p.replica == nil || p.replica.epoch < epoch || !p.replica.complete {
		p.replica, p.coming = p.coming, nil // there is nothing worth keeping until this one is whole
	}
}

// fetching is the search that a stream answers.
func (p *partition) fetching(epoch, stream uint64) *fetch {
	if p.tenure == nil || p.tenure.epoch != epoch || p.fetch == nil || p.fetch.stream != stream {
		return nil
	}
	return p.fetch
}

// copyOf is where the frames of a stream belong.
func (p *partition) copyOf(from GatewayID, epoch, stream uint64) *replica {
	if f := p.fetching(epoch, stream); f != nil {
		if f.found != nil && f.found.from == from {
			return f.found
		}
		return nil
	}
	for _, r := range []*replica{p.coming, p.replica} {
		if r != nil && r.epoch == epoch && r.stream == stream && r.from == from && p.next == nil {
			return r
		}
	}
	return nil
}

func (p *partition) takeCopy(from GatewayID, epoch uint64, m *CopyPart) {
	if len(m.Deliveries) == 0 {
		return
	}
	settings := p.host.cfg.Settings(m.App, m.Name)
	p.mu.Lock()
	r := p.copyOf(from, epoch, m.Stream)
	if r == nil {
		p.mu.Unlock()
		return
	}
	r.add(m, settings, p.host.elapsed(), time.Now().UnixMilli())
	sweep := !p.sweeping
	p.sweeping = true
	if f := p.fetching(epoch, m.Stream); f != nil {
		f.goesOn(p.host.elapsed())
	}
	p.mu.Unlock()
	serial := m.Deliveries[len(m.Deliveries)-1].Serial
	p.host.cfg.Hosts.ToHost(from, 0, p.id, epoch, &Copied{Stream: m.Stream, App: m.App, Name: m.Name, Serial: serial, Old: m.Old})
	if sweep {
		p.nudge()
	}
}

func (p *partition) endCopy(from GatewayID, epoch uint64, m *CopyEnd) {
	p.mu.Lock()
	r := p.copyOf(from, epoch, m.Stream)
	all := r != nil && m.Complete && r.parts == m.Parts
	switch {
	case r == nil:
	case p.fetching(epoch, m.Stream) != nil:
		r.complete = all
	case r == p.coming && !m.Complete:
		p.coming = nil
	case !m.Complete:
		r.letGo()
	}
	p.mu.Unlock()
	if all {
		p.host.cfg.Hosts.ToHost(from, 0, p.id, epoch, &Copied{Stream: m.Stream})
	}
	p.nudge()
}

// wholeCopy notes that a copy has everything that its owner has acknowledged.
func (p *partition) wholeCopy(from GatewayID, epoch uint64, m *CopyWhole) {
	p.mu.Lock()
	r := p.copyOf(from, epoch, m.Stream)
	if r == nil || p.fetching(epoch, m.Stream) != nil {
		p.mu.Unlock()
		return
	}
	if r.complete = true; r == p.coming {
		p.replica, p.coming = r, nil
	}
	p.mu.Unlock()
	p.host.cfg.Hosts.ToHost(from, 0, p.id, epoch, &Copied{Stream: m.Stream})
}

// confirmed takes the word of who keeps a copy.
func (p *partition) confirmed(from GatewayID, epoch uint64, m *Copied) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.gift
	if p.tenure != nil {
		f = p.tenure.feeds.Load().with(m.Stream)
	}
	if f == nil || f.stream != m.Stream || f.epoch != epoch || f.to != from {
		return
	}
	switch {
	case m.App == "" && m.Name == "" && m.Serial == "":
		switch {
		case f == p.gift:
			p.endGift()
		case f == p.tenure.feeds.Load().growing:
			p.grown()
		default:
			p.letGo(f)
		}
	case m.Old:
		f.unconfirmed--
		f.giveUpAt = p.host.elapsed() + fetchTimeout
		p.nudge()
	default:
		pos := Position{Hash: ring.Hash(m.App, m.Name), App: m.App, Name: m.Name}
		if a := p.channels.find(pos); a != nil {
			a.Offer(Input{Kind: InCopied, Stream: m.Stream, Copied: parseSerial(m.Serial)}, actor.NoLimit)
		}
	}
}

// fetched answers a new owner: what is known here of the tenure before its own.
func (p *partition) fetched(w wanted) {
	p.mu.Lock()
	if p.tenure != nil && p.tenure.epoch < w.epoch {
		p.wanted = w // this tenure is over: it just has not heard
		p.mu.Unlock()
		return
	}
	if w.take {
		p.give(w)
		p.mu.Unlock()
		p.nudge()
		return
	}
	have := &CopyHave{Stream: w.stream, Over: p.known > w.epoch, Behind: p.behind.of(w.of())}
	if p.tenure == nil {
		have.Of, have.Complete = p.has(w.of())
		if p.hollow.epoch == w.of() && have.Of == 0 {
			have.Hollow = p.hollow.back + 1
		}
		if f := p.lastFed; f != nil && f.to == w.from && f.epoch == w.of() {
			have.Sent, have.Parts = f.stream, f.sent.Load()
		}
		p.tellRemains(w)
	}
	p.host.cfg.Hosts.ToHost(w.from, 0, p.id, w.epoch, have)
	p.mu.Unlock()
}

// hollow is a tenure that ended before it served, and before it had found what was before.
type hollow struct {
	epoch uint64 // 0: there was none
	back  uint64 // how far back it was looking
}

// reaches says whether the tenure before that of an epoch, and so many more before, is one of this layout.
func (p *partition) reaches(epoch, back uint64) bool {
	return back+1 < epoch && epoch-1-back >= p.of.began
}

// has tells of the copy that is kept here of the tenure of an epoch.
func (p *partition) has(epoch uint64) (of uint64, complete bool) {
	r := p.replica
	if r == nil || r.epoch != epoch {
		return 0, false
	}
	return r.number(), r.complete && r.number() > p.behind.of(epoch)
}

// better says whether one copy is to be taken rather than another: one that is whole, and of those the one that was made
// last, since the one before was let go for it.
func better(whole bool, of uint64, thanWhole bool, than uint64) bool {
	if whole != thanWhole {
		return whole
	}
	return of > than
}

// ownersOwn is above the numbers of all copies.
const ownersOwn = 1<<64 - 1

// heard takes one answer to a fetch.
func (p *partition) heard(from GatewayID, epoch uint64, m *CopyHave) {
	p.mu.Lock()
	if f := p.fetching(epoch, m.Stream); f != nil && !f.taking {
		delete(f.asked, from)
		f.goesOn(p.host.elapsed())
		f.behind = max(f.behind, m.Behind)
		if better(m.Complete, m.Of, f.best.Complete, f.best.Of) {
			f.best, f.from = *m, from
			if r := p.replica; r != nil && m.Sent != 0 && r.isWhole(from, epoch-1-f.back, m) {
				f.from = p.host.cfg.Self
			}
		}
		f.over = f.over || m.Over
		if m.Hollow > 0 && p.reaches(epoch, f.back+m.Hollow) {
			f.back += m.Hollow
			f.stream = 0 // to ask again
		}
	}
	p.mu.Unlock()
	p.nudge()
}

// isWhole says whether the copy has all that its owner has sent of it.
func (r *replica) isWhole(owner GatewayID, epoch uint64, have *CopyHave) bool {
	return r.complete && r.from == owner && r.epoch == epoch && r.stream == have.Sent && r.taken == have.Parts
}

// give begins to hand over the copy that is kept here.
func (p *partition) give(w wanted) {
	r := p.replica
	if _, complete := p.has(w.of()); p.tenure != nil || !complete {
		return
	}
	p.endGift()
	f := &feed{follower: follower{to: w.from}, epoch: w.epoch, stream: w.stream}
	for key, c := range r.channels {
		if len(c.entries) > 0 || c.present.len() > 0 {
			f.items = append(f.items, feedItem{key: key, past: c})
		}
	}
	if !p.sendHost(f, &CopyBegin{Stream: f.stream, Since: r.since.position(), Floor: maxStamp(r.floor, p.host.now()).position()}) {
		return
	}
	f.giveUpAt = p.host.elapsed() + fetchTimeout
	p.gift = f
}

// search looks for the history of the tenure before this one. It is true when there is nothing more to wait for; what
// was found is in tenure.heritage then.
//
// Until everybody was heard, only the word of the former owner counts, who gives it when its tenure is over: it may be
// serving still, and what others have of it be growing. And there is time: who is silent may turn out to be dead.
func (p *partition) search(heard bool) bool {
	t, h := p.tenure, p.host
	if h.cfg.Hosts == nil || t.heritage != nil {
		return true
	}
	if p.of.began > 0 && t.epoch == p.of.began {
		return p.searchBefore(heard) // nothing of this layout came before
	}
	now := h.elapsed()
	f := p.fetch
	if f == nil {
		f = &fetch{}
		f.goesOn(now)
		p.fetch = f
	}
	if !heard {
		f.deadline = now + fetchTimeout
	}
	if f.taking && !p.isLive(f.from) {
		f.stream, f.taking = 0, false // somebody else may have a copy as well
		f.goesOn(now)
	}
	if f.stream == 0 || now >= f.againAt || heard && !f.heard && f.best.Of != ownersOwn {
		p.askAround(f, now)
	}
	sure := f.best.Of == ownersOwn // of what was answered since: whoever is asked again has said nothing yet
	f.heard = heard
	for id := range f.asked {
		if !p.isLive(id) {
			delete(f.asked, id)
		}
	}
	switch {
	case f.over:
		return false
	case f.found != nil && f.found.complete:
		t.heritage = f.found
	case now >= f.deadline:
	case !sure && (!heard || len(f.asked) > 0):
		return false
	case f.best.Of == 0 && p.of.began > 0:
		return p.searchBefore(heard)
	case !f.best.Complete, f.best.Of <= f.behind:
	case f.from == h.cfg.Self:
		t.heritage, p.replica = p.replica, nil
	case !f.taking:
		f.taking = true
		f.goesOn(now)
		h.cfg.Hosts.ToHost(f.from, 0, p.id, t.epoch, &CopyFetch{Stream: f.stream, Take: true, Back: f.back})
		return false
	default:
		return false
	}
	return true
}

// isLive says whether a boot is that of a live member; p.mu is held.
func (p *partition) isLive(id GatewayID) bool {
	g, known := p.roster.byID[id]
	return known && contains(p.roster.live, g)
}

// askAround asks all members what they have of the tenure before.
func (p *partition) askAround(f *fetch, now time.Duration) {
	h, epoch := p.host, p.tenure.epoch
	back := f.back
	if own := back + p.hollow.back + 1; p.hollow.epoch+1+back == epoch && p.reaches(epoch, own) {
		back = own // this host's hollow tenure
	}
	*f = fetch{stream: h.streams.Add(1), back: back, over: f.over, deadline: f.deadline, againAt: now + fetchAgain, from: h.cfg.Self, asked: make(map[GatewayID]struct{})}
	f.best.Of, f.best.Complete = p.has(epoch - 1 - back)
	f.behind = p.behind.of(epoch - 1 - back)
	for _, g := range p.roster.live {
		if id := p.roster.ids[g-1]; id != h.cfg.Self {
			f.asked[id] = struct{}{}
			h.cfg.Hosts.ToHost(id, 0, p.id, epoch, &CopyFetch{Stream: f.stream, Back: back})
		}
	}
}

// inherit gives the channels the past that was found.
func (p *partition) inherit() {
	t := p.tenure
	r := t.heritage
	if r == nil {
		return
	}
	for key, c := range r.channels {
		pos, ok := p.place(key.app, key.name)
		if !ok {
			continue
		}
		a := p.channels.find(pos)
		if a == nil {
			a = p.activate(pos, func(s *State) { s.Restore(Moment{}, false, 0) })
		}
		a.state.adopt(c)
		if a.tap != nil {
			a.tap.told = c.told // nothing has run yet
		}
	}
	t.heritage = nil
}

// bequeath keeps what the tenure that ends knows of the past, for whoever comes next.
func (p *partition) bequeath() {
	t := p.tenure
	switch {
	case p.host.cfg.Hosts == nil:
		return
	case p.at != serving:
		// It has said nothing: what it was about to take over is what its successor needs.
		if t.heritage != nil {
			p.replica = t.heritage
			p.replica.epoch, p.replica.stream = t.epoch, 0
		} else {
			p.hollow = hollow{epoch: t.epoch}
			if p.fetch != nil {
				p.hollow.back = p.fetch.back
			}
		}
		return
	case p.replica != nil && p.replica.epoch > t.epoch:
		return // the successor has begun a copy here already
	}
	r := newReplica(t.epoch, 0, p.host.cfg.Self, t.since, p.host.now())
	r.complete = true
	p.channels.all(func(a *activation) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		r.floor = maxStamp(r.floor, a.state.last)
		h, present := a.state.past, a.state.present
		if h == nil && present.len() == 0 {
			return true
		}
		c := &copied{since: a.state.since, retention: a.state.profile.Retention, known: a.state.profile.idRetention(), present: presence{members: present.all(), bytes: present.size()}}
		if a.tap != nil {
			c.told = a.tap.told
		}
		if h != nil {
			h.shown, h.waits = len(h.entries), nil
			c.history = *h
		}
		a.state.past, a.state.present = nil, nil
		r.channels[replicaKey{a.state.app, a.state.name}] = c
		return true
	})
	p.replica = r
}

// care does what the partition has to do for copies from time to time, and says when it wants to be woken.
func (p *partition) care() (wake time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.host.elapsed()
	if p.gift != nil && now >= p.gift.giveUpAt {
		p.endGift()
	}
	if p.tenure != nil {
		p.feedOn(p.tenure.feeds.Load().growing)
	} else {
		p.feedOn(p.gift)
	}
	if p.gift != nil {
		wake = p.gift.giveUpAt
	}
	if f := p.fetch; f != nil {
		wake = max(min(f.deadline, f.againAt), now+time.Millisecond) // there is no gift in a tenure
	}
	if l := p.lineage; l != nil {
		wake = max(min(l.deadline, l.againAt), now+time.Millisecond)
	}
	if t := p.tenure; t != nil && t.orphan.telling {
		if now >= t.orphan.againAt {
			p.tellBehind()
		}
		if at := t.orphan.againAt; t.orphan.telling && (wake == 0 || at < wake) {
			wake = at
		}
	}
	if r := p.remains; r != nil && now >= r.until {
		p.remains = nil
	} else if r != nil && (wake == 0 || r.until < wake) {
		wake = r.until
	}
	if p.replica != nil && now >= p.sweepAt {
		p.sweepAt = now + sweepEvery
		p.sweeping = p.replica.sweep(now)
		if p.coming != nil {
			p.coming.sweep(now)
		}
	}
	if p.replica != nil && len(p.replica.channels) > 0 && (wake == 0 || p.sweepAt < wake) {
		wake = p.sweepAt
	}
	return wake
}
