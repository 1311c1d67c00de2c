package channel

import (
	"strings"
	"sync"
	"time"

	"innkeeper/actor"
	"innkeeper/cluster/ring"
)

type stage uint8

const (
	away       stage = iota // another member owns it, or nobody
	rebuilding              // owned; not every live member was heard yet
	serving
)

// partition is one slice of the name space on this node, owned or not.
//
// It is an actor of its own for the work that grows with the number of channels: opening, and dropping what the dead
// held. Its messages are nudges without content; what to do is read from the state under mu.
type partition struct {
	actor.Actor[Input]
	host *Host   // static
	of   *layout // static
	id   uint32  // static

	mu       sync.Mutex // above activation.mu, the mailboxes' locks and Host.mu
	at       stage
	known    uint64  // highest epoch Acquire or Release named: below it everything is late
	tenure   *tenure // nil while away
	since    time.Time
	roster   *roster // the member set applied so far
	barrier  Barrier
	sessions map[Gateway]*session
	channels registry
	marks    uint32  // counts Snapshots applied
	next     *layout // the one that ended this partition; nil while it has a part in anything

	replica  *replica // what others published, or this node in a tenure that is over; nil: nothing
	coming   *replica // what is to take its place when it is whole; nil: nothing
	behind   behind   // said by an owner of its copies
	fetch    *fetch   // under way
	lineage  *lineage // under way
	wanted   wanted   // by the next owner, at the end of this tenure; zero: nothing
	gift     *feed    // replica on its way to a new owner
	lastFed  *feed    // to whoever had a whole copy when the last tenure ended
	remains  *remains // of that tenure
	hollow   hollow   // the last tenure that was one
	waiting  []Input  // requests that came while the partition is rebuilt
	sweeping bool     // replica has something that expires
	sweepAt  time.Duration
}

// session is what a gateway registered under one epoch since its Snapshot, kept while it cannot be applied yet.
type session struct {
	epoch    uint64
	snapshot *Snapshot // nil once applied
	later    []*Register
}

func (p *partition) init(h *Host, l *layout, id uint32) {
	p.host, p.of, p.id = h, l, id
	p.roster = h.roster.Load()
	p.sessions = make(map[Gateway]*session)
	p.channels = newRegistry(len(l.parts))
	p.Actor.Init(h.sys, p)
}

// stage also says whether there is a whole copy elsewhere, or none is wanted.
func (p *partition) stage() (at stage, copied bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.host.cfg.Hosts == nil {
		return p.at, true
	}
	return p.at, p.at == serving && p.tenure.feeds.Load().whole != nil && p.tenure.orphan.feed == nil
}

// nudge makes the partition look at the member set and the barrier. One nudge waiting is enough.
func (p *partition) nudge() { p.Offer(Input{}, 1) }

// Receive catches up with the member set and opens the partition when everybody was heard.
func (p *partition) Receive([]Input, bool) actor.Next {
	if t := p.catchUp(); t != nil {
		var o obligations
		// The log may be at another layout already; this tenure is about to end then.
		gather := func(list *[]Held) func(Held) bool {
			return func(h Held) bool {
				if _, ok := p.place(h.App, h.Name); ok {
					*list = append(*list, h)
				}
				return true
			}
		}
		p.host.cfg.Log.Occupied(p.id, gather(&o.occupied))
		p.host.cfg.Log.Opened(p.id, gather(&o.open))
		for _, in := range p.open(t, o) {
			p.host.FromGateway(p.host.roster.Load().ids[in.From-1], p.id, t.epoch, in.request())
		}
	}
	return actor.Next{Wake: p.care()}
}

// Stopped is never called: a partition does not stop.
func (p *partition) Stopped() {}

// catchUp applies the newest member set and returns the tenure that may open now, if any.
func (p *partition) catchUp() *tenure {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applyRoster()
	if p.at == rebuilding && p.search(p.barrier.Passed()) && p.barrier.Passed() {
		return p.tenure
	}
	return nil
}

// applyRoster drops what gateways held that are no longer live, and takes in what those said that now are.
func (p *partition) applyRoster() {
	was, is := p.roster, p.host.roster.Load()
	if was.generation == is.generation {
		return
	}
	p.roster = is
	p.barrier.Live(is.live)
	for g := range p.sessions {
		if is.isGone(g) {
			delete(p.sessions, g)
		}
	}
	for _, g := range was.live {
		if !contains(is.live, g) {
			p.dropHolder(g, p.marks+1, false)
		}
	}
	if p.at != serving {
		return
	}
	for _, g := range is.live {
		if s := p.sessions[g]; s != nil && s.epoch == p.tenure.epoch {
			p.apply(g, s)
		}
	}
}

// acquire begins a tenure.
func (p *partition) acquire(epoch uint64) {
	p.mu.Lock()
	if epoch < p.known || p.tenure != nil && epoch == p.tenure.epoch {
		p.mu.Unlock()
		return
	}
	left := p.end()
	p.endGift()
	p.known, p.at, p.since = epoch, rebuilding, time.Now()
	p.tenure = &tenure{partition: p, epoch: epoch, since: p.host.now()}
	p.tenure.feeds.Store(&feeds{})
	p.applyRoster()
	p.barrier = Barrier{}
	p.barrier.Live(p.roster.live)
	for g, s := range p.sessions {
		switch {
		case s.epoch < epoch:
			delete(p.sessions, g)
		case s.epoch == epoch:
			p.barrier.Heard(g)
		}
	}
	p.mu.Unlock()
	p.refuseAll(left)
	p.nudge()
}

// release ends the tenure for the owner of a later epoch.
func (p *partition) release(epoch uint64) {
	p.mu.Lock()
	if epoch < p.known {
		p.mu.Unlock()
		return
	}
	p.known = epoch
	left := p.end()
	for g, s := range p.sessions {
		if s.epoch <= epoch {
			delete(p.sessions, g)
		}
	}
	w := p.wanted
	p.wanted = wanted{}
	p.mu.Unlock()
	p.refuseAll(left)
	if w.epoch == epoch {
		p.fetched(w)
	}
	p.nudge()
}

func (p *partition) close() {
	p.mu.Lock()
	p.known = ^uint64(0)
	p.end()
	clear(p.sessions)
	p.mu.Unlock()
}

// unserved is what a tenure leaves behind: messages whose effects nobody will see.
type unserved struct {
	epoch  uint64
	inputs []Input
}

// earlyMax bounds the requests that wait for one partition to be served. Gateways send one at a time until they are
// answered.
const earlyMax = 4096

// wait keeps a request while the partition is rebuilt under its epoch; p.mu is held. False: it has to be refused.
func (p *partition) wait(from Gateway, epoch uint64, in Input) bool {
	if p.at != rebuilding || p.tenure.epoch != epoch || len(p.waiting) >= earlyMax {
		return false
	}
	in.From = from
	p.waiting = append(p.waiting, in)
	return true
}

// end drops all actors of the tenure.
func (p *partition) end() unserved {
	if p.tenure == nil {
		return unserved{}
	}
	left := unserved{epoch: p.tenure.epoch, inputs: p.waiting}
	p.waiting = nil
	p.tenure.over.Store(true)
	to := p.tenure.feeds.Load()
	if p.lastFed = to.whole; p.lastFed == p.tenure.orphan.feed {
		p.lastFed = nil
	}
	if to.growing != nil {
		p.freeSlot(to.growing)
	}
	p.leave()
	p.bequeath()
	p.endLineage()
	p.fetch = nil
	p.channels.all(func(a *activation) bool {
		dropped := a.Drop()
		for i := range dropped {
			if dropped[i].isLeave() {
				p.host.cfg.Admission.Settle(a.state.app, nil)
			}
		}
		left.inputs = append(left.inputs, dropped...)
		a.retire()
		return true
	})
	p.channels = newRegistry(len(p.of.parts))
	if p.host.cfg.Tap != nil {
		p.host.cfg.Tap.Over(p.id, p.tenure.epoch)
	}
	p.tenure, p.at = nil, away
	return left
}

func (p *partition) refuseAll(left unserved) {
	for i := range left.inputs {
		if in := &left.inputs[i]; in.request() != nil {
			p.host.refuse(p.host.roster.Load().ids[in.From-1], p.id, left.epoch, in.request(), NotOwner)
		}
	}
}

// obligations are what the log says about a partition's channels.
type obligations struct{ occupied, open []Held }

// open builds the channels from the obligations and everything the gateways said, and serves from now on. What waited for
// that comes before anything else; it returns the requests that are still to be seen to.
func (p *partition) open(t *tenure, log obligations) (left []Input) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applyRoster()
	if p.tenure != t || p.at != rebuilding || !p.barrier.Passed() || !p.search(true) {
		return nil // the world went on while the log was read; the next nudge comes with what changed it
	}
	now, grace := p.host.moment(), p.host.grace()
	heir := t.heritage != nil
	if heir {
		t.since = t.heritage.since
		p.host.raiseFloor(t.heritage.floor)
	}
	for _, h := range log.occupied {
		p.activate(h.position(), func(s *State) { s.Restore(now, true, grace) })
	}
	for _, h := range log.open {
		a := p.channels.find(h.position())
		if a == nil {
			a = p.activate(h.position(), func(s *State) { s.Restore(now, false, 0) })
		}
		a.state.RestoreOpen(now) // nothing has run yet
		if a.tap != nil {
			a.tap.toldCounts = unknownCounts
		}
	}
	p.inherit()
	if p.fetch != nil {
		p.inheritRemains(now, p.fetch.remains)
		p.fetch = nil
	}
	for _, g := range p.roster.live {
		if s := p.sessions[g]; s != nil && s.epoch == t.epoch {
			p.apply(g, s)
		}
	}
	p.at, p.coming = serving, nil
	p.arrange()
	p.channels.all(func(a *activation) bool {
		a.Offer(Input{Kind: InOpened, Heir: heir}, actor.NoLimit)
		return true
	})
	p.host.log.Debug("partition is served", "partition", p.id, "epoch", t.epoch,
		"occupied", len(log.occupied), "channels", p.channels.n, "took", time.Since(p.since))
	for _, in := range p.waiting {
		if !p.deal(in) {
			left = append(left, in)
		}
	}
	p.waiting = nil
	return left
}

// deal gives a request that waited to its channel, where their order matters; p.mu is held. False: it is still to be seen to.
func (p *partition) deal(in Input) bool {
	app, name, ok := in.opens()
	if !ok {
		return false
	}
	pos, ok := p.place(app, name)
	if !ok {
		return false
	}
	_, outcome := p.offer(pos, in, p.host.cfg.Mailbox)
	return outcome == actor.Accepted
}

// activate makes a channel's actor. Nothing runs before its first message.
func (p *partition) activate(pos Position, prepare func(*State)) *activation {
	a := &activation{tenure: p.tenure, state: p.host.newState(pos.App, pos.Name, p.tenure.since)}
	a.tally = p.tenure.tallies.of(p.host, a.state.app)
	if p.at == rebuilding {
		a.settling = true
		p.tenure.tallies.settling.Add(1)
	}
	if a.state.profile.Taps != 0 && p.host.cfg.Tap != nil {
		a.tap = newTapped(&a.state)
	}
	a.Init(p.host.sys, a)
	if prepare != nil {
		prepare(&a.state)
	}
	to := p.tenure.feeds.Load()
	a.state.copies = [2]uint64{to.whole.number(), to.growing.number()}
	p.channels.put(pos, a)
	return a
}

// offer gives an input to a channel and activates it if need be.
func (p *partition) offer(pos Position, in Input, limit int) (*activation, actor.Outcome) {
	if a := p.channels.find(pos); a != nil {
		if outcome := a.Offer(in, limit); outcome != actor.Stopped {
			return a, outcome
		}
		// It has decided to stop and is on its way out of the registry: the next one takes its place.
	}
	var prepare func(*State)
	if p.at == rebuilding {
		prepare = func(s *State) { s.Restore(Moment{}, false, 0) }
	}
	a := p.activate(pos, prepare)
	return a, a.Offer(in, limit)
}

// owns reports whether the partition is served under this epoch.
func (p *partition) owns(epoch uint64) bool {
	return p.at == serving && p.tenure.epoch == epoch
}

// put gives a channel something to do, and opens it if need be.
func (p *partition) put(g Gateway, epoch uint64, app, name string, in Input) Refusal {
	pos, ok := p.place(app, name)
	if !ok {
		return NotOwner
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.owns(epoch) {
		if p.wait(g, epoch, in) {
			return Accepted
		}
		return NotOwner
	}
	in.From = g
	switch _, outcome := p.offer(pos, in, p.host.cfg.Mailbox); outcome {
	case actor.Full:
		return Busy
	case actor.Stopped:
		return NotOwner // the host is closed
	}
	return Accepted
}

// query passes the question to the channel, or answers it when there is none: asking opens nothing.
func (p *partition) query(g Gateway, epoch uint64, m *Query) *QueryResult {
	refusal, passed := p.ask(g, epoch, m.App, m.Name, Input{Kind: InQuery, Query: m})
	if passed {
		return nil
	}
	return &QueryResult{Req: m.Req, Refusal: refusal}
}

// history does the same with a question for the past. A channel that is not there has none.
func (p *partition) history(g Gateway, epoch uint64, m *History) *HistoryResult {
	refusal, passed := p.ask(g, epoch, m.App, m.Name, Input{Kind: InHistory, History: m})
	if passed {
		return nil
	}
	return &HistoryResult{Req: m.Req, Refusal: refusal, Complete: m.After == ""}
}

// lookup does the same with a question for one message.
func (p *partition) lookup(g Gateway, epoch uint64, m *Lookup) *HistoryResult {
	refusal, passed := p.ask(g, epoch, m.App, m.Name, Input{Kind: InLookup, Lookup: m})
	switch {
	case passed:
		return nil
	case refusal == Accepted:
		refusal = NotFound
	}
	return &HistoryResult{Req: m.Req, Refusal: refusal}
}

// ask gives a question to a channel, if there is one and it takes it.
func (p *partition) ask(g Gateway, epoch uint64, app, name string, in Input) (refusal Refusal, passed bool) {
	pos, ok := p.place(app, name)
	if !ok || !p.host.cfg.Lease.Held() {
		p.host.counters.refused.Add(1)
		return NotOwner, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.owns(epoch) {
		if p.wait(g, epoch, in) {
			return Accepted, true
		}
		p.host.counters.refused.Add(1)
		return NotOwner, false
	}
	if a := p.channels.find(pos); a != nil {
		in.From = g
		switch a.Offer(in, p.host.cfg.Mailbox) {
		case actor.Accepted:
			return Accepted, true
		case actor.Full:
			p.host.counters.full.Add(1)
			return Busy, false
		}
	}
	return Accepted, false
}

// list walks the open channels in order. It reads the states from outside their actors, so it neither wakes nor opens one.
func (p *partition) list(epoch uint64, m *List) *ListResult {
	result := &ListResult{Req: m.Req}
	limit := m.Limit
	if limit < 1 || limit > listMax {
		limit = listMax
	}
	after := m.After
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.host.cfg.Lease.Held() || !p.owns(epoch) {
		p.host.counters.refused.Add(1)
		result.Refusal = NotOwner
		return result
	}
	switch at := ring.Partition(after.Hash, len(p.of.parts)); {
	case at > p.id:
		return result
	case at < p.id:
		after = Position{}
	}
	p.channels.after(after, func(a *activation) bool {
		if m.App != "" && a.state.app != m.App || !strings.HasPrefix(a.state.name, m.Prefix) {
			return true
		}
		l, open := a.listed()
		if !open {
			return true
		}
		if len(result.Channels) == limit {
			result.More = true
			return false
		}
		result.Channels = append(result.Channels, l)
		return true
	})
	return result
}
