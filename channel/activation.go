package channel

import (
	"sync"
	"sync/atomic"
	"time"

	"innkeeper/actor"
)

// tenure is one time of owning a partition: from Acquire to Release. What its actors do counts only while it lasts.
type tenure struct {
	partition *partition
	epoch     uint64
	since     Stamp // all publishes behind it were taken here or by owners whose histories were taken over
	over      atomic.Bool
	feeds     atomic.Pointer[feeds] // the copies being kept; never nil
	sending   sync.RWMutex          // below partition.mu; see partition.grown
	tallies   tallies

	// Guarded by partition.mu.
	keepers  keepers
	orphan   orphan
	heritage *replica // found, not taken over yet
}

// activation is the shell of one channel: the actor that steps the state and carries out its effects.
type activation struct {
	actor.Actor[Input]
	tenure *tenure

	// Guarded by partition.mu.
	holders uint64 // bit g%64 is set when gateway g may hold something here; never misses one
	mark    uint32 // the last Snapshot that named this channel

	mu      sync.Mutex // below partition.mu; nothing is called with it held but Admission.Settle and Tap.News
	state   State
	counted gauge // what this channel adds to the host's gauges
	retired bool

	settling bool   // it was made before the tenure served, and has not counted itself yet
	tally    *tally // static

	tap *tapped // nil when nobody wants to know; guarded by mu

	sent   int   // CopyParts of what is old in the last batch; owned by Receive
	sentTo Stamp // of the last publish in them; owned by Receive
}

// gauge is one channel's share of the host's gauges.
type gauge struct{ open, occupied bool }

func holderBit(g Gateway) uint64 { return 1 << (g % 64) }

// Receive steps the state through a batch, then performs the effects in order.
func (a *activation) Receive(batch []Input, woken bool) actor.Next {
	host := a.tenure.partition.host
	scratch := host.scratch.Get().(*[]Effect)
	now := host.moment()
	now.Gated = host.cfg.Admission != nil && host.cfg.Admission.Limited(a.state.app)
	now.Age = time.Duration(now.UnixMs-a.tenure.since.ms) * time.Millisecond
	effects, next, to, news, from := a.step(now, batch, woken, *scratch)
	if t := a.tenure; a.sendCopies(effects, to) {
		a.perform(effects, to)
		for i := range batch {
			if f := to.growing; batch[i].Kind == InCopyAll && f != nil && f.stream == batch[i].Stream {
				a.mu.Lock()
				joined, told := a.state.joined(f.stream), Stamp{}
				if a.tap != nil {
					told = a.tap.told
				}
				a.mu.Unlock()
				if joined {
					t.partition.tellTold(f, a.state.app, a.state.name, told)
				}
				t.partition.fed(f, a, a.sent, a.sentTo, joined)
			}
		}
		if from != (Stamp{}) {
			to.each(func(f *feed) { t.partition.tellTold(f, a.state.app, a.state.name, from) })
		}
		if news.What != 0 {
			a.say(news)
		}
	} else {
		t.partition.refuseAll(unserved{epoch: t.epoch, inputs: batch})
	}
	clear(effects)
	*scratch = effects[:0]
	if cap(effects) <= scratchMax {
		host.scratch.Put(scratch)
	}
	return next
}

// step also says which copies the effects are for, and where somebody has begun to want publishes, zero for nowhere. While a
// copy is growing, tenure.sending is held to read when it returns.
func (a *activation) step(now Moment, batch []Input, woken bool, effects []Effect) (_ []Effect, _ actor.Next, to *feeds, _ News, from Stamp) {
	t := a.tenure
	a.mu.Lock()
	defer a.mu.Unlock()
	to = t.feeds.Load()
	for to.growing != nil {
		a.mu.Unlock()
		t.sending.RLock()
		a.mu.Lock()
		if to = t.feeds.Load(); to.growing != nil {
			break
		}
		t.sending.RUnlock()
	}
	now.Stream, now.Growing = to.whole.number(), to.growing.number()
	for i := range batch {
		effects = a.state.Step(now, batch[i], effects)
		if begin, changed := a.retap(now); changed { // what is behind it in the batch is told
			from = maxStamp(from, begin)
			effects = a.state.Step(now, Input{Kind: InTick}, effects)
		}
	}
	if woken {
		effects = a.state.Step(now, Input{Kind: InTick}, effects)
	}
	if !a.spend(batch) {
		a.recount()
	}
	return effects, actor.Next{Wake: a.state.Wake(), Stop: a.state.Done()}, to, a.news(), from
}

// recount brings the host's gauges up to date; a.mu is held.
func (a *activation) recount() {
	if !a.retired {
		a.count(gauge{a.state.Open(), a.state.Occupied()})
		a.settled()
	}
}

// count moves the host's gauges from what this channel added before to what it adds now.
func (a *activation) count(now gauge) {
	if now == a.counted {
		return
	}
	counters := &a.tenure.partition.host.counters
	counters.open.Add(delta(a.counted.open, now.open))
	counters.occupied.Add(delta(a.counted.occupied, now.occupied))
	a.tallied(a.counted.open, now.open)
	a.counted = now
}

func delta(was, is bool) int64 {
	switch {
	case is && !was:
		return 1
	case was && !is:
		return -1
	}
	return 0
}

// sendCopies sends the copies among effects, in as few frames as possible, and ends what step has begun. It comes before
// anything else: what anybody sees was sent to the follower before. It is false when the tenure ended and nobody has seen
// anything.
func (a *activation) sendCopies(effects []Effect, to *feeds) bool {
	t := a.tenure
	a.sent = 0
	over, copied := t.over.Load(), false
	var broken []*feed
	if !over {
		// Whoever is waited for comes last: what it confirms was sent to the other one before.
		to.each(func(f *feed) {
			place := ToWhole
			if f == to.growing {
				place = ToGrowing
			}
			some, ok := a.sendTo(f, place, effects)
			if copied = copied || some; !ok {
				broken = append(broken, f)
			}
		})
	}
	if to.growing != nil {
		t.sending.RUnlock()
	}
	for _, f := range broken {
		t.partition.broken(f)
	}
	// What was sent when the tenure ended may be short of these.
	return !over && !(copied && t.over.Load())
}

// sendTo sends those for one feed; some: there were any; ok: the session is not over.
func (a *activation) sendTo(f *feed, place CopyPlace, effects []Effect) (some, ok bool) {
	c := copier{p: a.tenure.partition, f: f, app: a.state.app, name: a.state.name, since: a.state.since}
	for i := range effects {
		if e := &effects[i]; e.Copy&place != 0 {
			d := e.Message.(*Delivery)
			if c.add(d, e.Old); e.Old && d.Serial != "" {
				a.sentTo = parseSerial(d.Serial)
			}
			some = true
		}
	}
	c.flush()
	a.sent += c.parts
	return some, !c.failed
}

// perform carries out all other effects in order.
func (a *activation) perform(effects []Effect, to *feeds) {
	p, epoch := a.tenure.partition, a.tenure.epoch
	host := p.host
	var published, delivered, refused uint64
	for i := range effects {
		e := &effects[i]
		if e.Copy != 0 {
			continue
		}
		if e.Propose != 0 {
			a.propose(e)
			continue
		}
		if e.Ask {
			a.ask()
			continue
		}
		switch m := e.Message.(type) {
		case *Delivery:
			delivered++
		case *Published:
			if m.Refusal == Accepted {
				published++
			} else {
				refused++
			}
		}
		host.send(e.To, p.id, epoch, e.Message)
	}
	if published+delivered+refused > 0 {
		host.counters.publishes.Add(published)
		host.counters.deliveries.Add(delivered)
		host.counters.refused.Add(refused)
	}
}

// propose hands a transition to the log. The answer comes back through the mailbox, which always takes it: there are at
// most two proposals of a channel under way.
func (a *activation) propose(e *Effect) {
	host := a.tenure.partition.host
	host.counters.proposals.Add(1)
	t := Transition{Kind: e.Propose, App: a.state.app, Name: a.state.name, TimeMs: e.TimeMs}
	host.cfg.Log.Propose(a.tenure.partition.id, a.tenure.epoch, t, func(err error) {
		in := Input{Kind: InCommitted, Done: t.Kind}
		if err != nil {
			in.Kind = InFailed
		}
		a.Offer(in, actor.NoLimit)
	})
}

// ask asks for leave to open. The answer comes through the mailbox, as a proposal's does.
func (a *activation) ask() {
	leave, app := a.tenure.partition.host.cfg.Admission, a.state.app
	leave.Ask(app, func(why Refusal) {
		in := Input{Kind: InLeave, Refusal: why}
		if a.Offer(in, actor.NoLimit) != actor.Accepted && in.isLeave() {
			leave.Settle(app, nil)
		}
	})
}

// spend ends the leave that inputs brought, if any did: the channel counts from then on, or never will; a.mu is held.
func (a *activation) spend(batch []Input) (any bool) {
	for i := range batch {
		if batch[i].isLeave() {
			a.tenure.partition.host.cfg.Admission.Settle(a.state.app, a.recount)
			any = true
		}
	}
	return any
}

// isLeave says whether an input brings leave to open.
func (in *Input) isLeave() bool { return in.Kind == InLeave && in.Refusal == Accepted }

// Stopped takes the passivated channel out of its partition.
func (a *activation) Stopped() {
	p := a.tenure.partition
	p.mu.Lock()
	if p.tenure == a.tenure {
		p.channels.remove(a)
	}
	p.mu.Unlock()
	a.retire()
}

// retire ends the channel's part in the host's figures and keeps its serials from ever going back.
func (a *activation) retire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retired = true
	a.count(gauge{})
	a.tenure.partition.host.raiseFloor(a.state.last)
}

// listed is the channel as a List shows it; false when it is not open.
func (a *activation) listed() (Listed, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Listed{App: a.state.app, Name: a.state.name, Counts: a.state.Counts()}, a.state.Open()
}
