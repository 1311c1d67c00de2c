package channel

import (
	"time"

	"innkeeper/cluster/ring"
)

// lineage is a new owner's search for what was published under the layout before: in all partitions that its own was a
// part of, or is made of. What whole copies have is taken over; where there is none, or where somebody has served since,
// clients are told that something may be missing.
type lineage struct {
	stream   uint64
	deadline time.Duration          // to go on without
	againAt  time.Duration          // to ask again: something may have been lost with a session
	asked    map[GatewayID]struct{} // and not answered yet
	served   bool                   // somebody served the partition in this layout: what is before is not all
	sources  []source
	taking   bool
	page     uint64 // number of the page that is waited for
	waiting  bool   // for that page
	slot     feed   // a place among those that send what is old
	found    *replica
}

// source is one partition of the layout before.
type source struct {
	part  uint32
	of    uint64 // the latest copy that anybody has; 0: none
	whole bool
	from  GatewayID
	next  PastPlace
	done  bool
}

// goesOn notes that something came.
func (l *lineage) goesOn(now time.Duration) {
	l.deadline, l.againAt = now+fetchTimeout, now+fetchAgain
}

// sure says that the owners of all sources are where the copies are.
func (l *lineage) sure() bool {
	for i := range l.sources {
		if l.sources[i].of != ownersOwn {
			return false
		}
	}
	return len(l.sources) > 0
}

// have takes in who has copies.
func (l *lineage) have(from GatewayID, copies []PastCopy) {
	for _, c := range copies {
		for i := range l.sources {
			if s := &l.sources[i]; s.part == c.Part && better(c.Complete, c.Of, s.whole, s.of) {
				s.of, s.whole, s.from = c.Of, c.Complete, from
			}
		}
	}
}

// searchBefore looks for what was published under the layout before. It is true when there is nothing more to wait for;
// what was found is in tenure.heritage then. heard: all gateways have registered. p.mu is held.
func (p *partition) searchBefore(heard bool) bool {
	t, h := p.tenure, p.host
	if len(p.of.before) == 0 {
		return true
	}
	now := h.elapsed()
	l := p.lineage
	if l == nil {
		l = &lineage{}
		l.goesOn(now)
		p.lineage = l
	}
	if l.taking && p.orphaned(l) {
		p.freeSlot(&l.slot)
		*l = lineage{} // somebody else may have a copy as well
		l.goesOn(now)
	}
	if !heard && !l.taking {
		l.deadline = now + fetchTimeout
	}
	if l.stream == 0 || now >= l.againAt && !l.taking {
		p.askForPast(l, now)
	}
	for id := range l.asked {
		if !p.isLive(id) {
			delete(l.asked, id)
		}
	}
	if !l.taking {
		// Before anybody has served, an owner's own copies are the last word.
		if sure := t.epoch == p.of.began && l.sure(); !sure && now < l.deadline && (!heard || len(l.asked) > 0) {
			return false
		}
		l.taking = true
		l.found = newReplica(t.epoch-1, 0, h.cfg.Self, Stamp{}, Stamp{})
		l.found.complete = true
		l.goesOn(now)
	}
	for i := range l.sources {
		if s := &l.sources[i]; !s.done && !p.takeSource(l, s, now) {
			return false
		}
	}
	p.freeSlot(&l.slot)
	p.lineage = nil
	l.found.complete = l.found.complete && !l.served
	if !l.found.complete {
		l.found.since = maxStamp(l.found.since, t.since)
	}
	t.heritage = l.found
	return true
}

// orphaned says that somebody from whom the rest is to be taken is gone.
func (p *partition) orphaned(l *lineage) bool {
	for i := range l.sources {
		s := &l.sources[i]
		if s.done || !s.whole || s.from == p.host.cfg.Self {
			continue
		}
		if !p.isLive(s.from) {
			return true
		}
	}
	return false
}

// askForPast asks all members what they have.
func (p *partition) askForPast(l *lineage, now time.Duration) {
	h := p.host
	*l = lineage{stream: h.streams.Add(1), deadline: l.deadline, againAt: now + fetchAgain, asked: make(map[GatewayID]struct{})}
	first, last := ring.Overlap(p.id, len(p.of.parts), len(p.of.before))
	for part := first; part <= last; part++ {
		l.sources = append(l.sources, source{part: part})
	}
	l.have(h.cfg.Self, p.pastCopies())
	if p.tenure.epoch > p.of.began {
		l.served = p.replica != nil || p.of.settledAt.Load() > 0
	} else if l.sure() {
		return
	}
	for _, g := range p.roster.live {
		if id := p.roster.ids[g-1]; id != h.cfg.Self {
			l.asked[id] = struct{}{}
			h.cfg.Hosts.ToHost(id, 0, p.id, p.tenure.epoch, &PastAsk{Stream: l.stream, Layout: p.of.began})
		}
	}
}

// takeSource goes on taking what one partition of the layout before has. False: it is not all here yet.
func (p *partition) takeSource(l *lineage, s *source, now time.Duration) bool {
	h := p.host
	switch {
	case !s.whole:
		l.found.complete, s.done = false, true
		return true
	case s.from == h.cfg.Self:
		page := p.pastPage(s.part, PastPlace{}, int(^uint(0)>>1))
		if page == nil {
			l.found.complete = false // it was let go meanwhile
		} else {
			p.takePage(l, page)
		}
		s.done = true
		return true
	case now >= l.deadline:
		l.found.complete, s.done, l.waiting = false, true, false
		return true
	case !l.slot.slot && !p.takeSlot(&l.slot):
		l.goesOn(now)
		return false
	case !l.waiting:
		l.page++
		l.waiting = true
		l.goesOn(now)
	case now < l.againAt:
		return false
	default:
		l.againAt = now + fetchAgain
	}
	h.cfg.Hosts.ToHost(s.from, 0, p.id, p.tenure.epoch, &PastTake{
		Stream: l.stream, Layout: p.of.began, Part: s.part, Page: l.page, After: s.next,
	})
	return false
}

// takePage adds a page to what was found.
func (p *partition) takePage(l *lineage, m *PastPage) {
	now, unixMs := p.host.elapsed(), p.host.moment().UnixMs
	r := l.found
	r.since = maxStamp(r.since, parseSerial(m.Since))
	r.floor = maxStamp(r.floor, parseSerial(m.Floor))
	for i := range m.Channels {
		c := &m.Channels[i]
		r.add(&CopyPart{App: c.App, Name: c.Name, Since: c.Since, Old: true, Deliveries: c.Deliveries},
			p.host.cfg.Settings(c.App, c.Name), now, unixMs)
		if kept := r.channels[replicaKey{c.App, c.Name}]; kept != nil {
			kept.told = maxStamp(kept.told, parseSerial(c.Told))
		}
	}
}

// searching is the search that a stream answers.
func (p *partition) searching(epoch, stream uint64) *lineage {
	if p.tenure == nil || p.tenure.epoch != epoch || p.lineage == nil || p.lineage.stream != stream {
		return nil
	}
	return p.lineage
}

// pastHeard takes one answer of those that were asked.
func (p *partition) pastHeard(from GatewayID, epoch uint64, m *PastHave) {
	p.mu.Lock()
	if l := p.searching(epoch, m.Stream); l != nil && !l.taking {
		delete(l.asked, from)
		l.served = l.served || m.Served && p.tenure.epoch > p.of.began
		l.have(from, m.Copies)
		l.goesOn(p.host.elapsed())
	}
	p.mu.Unlock()
	p.nudge()
}

// pastCame takes a page that was asked for.
func (p *partition) pastCame(from GatewayID, epoch uint64, m *PastPage) {
	p.mu.Lock()
	if l := p.searching(epoch, m.Stream); l != nil && l.waiting && l.page == m.Page {
		for i := range l.sources {
			s := &l.sources[i]
			if s.done {
				continue
			}
			if s.part == m.Part && s.from == from {
				p.takePage(l, m)
				l.waiting, s.next, s.done = false, m.Next, !m.More
				l.goesOn(p.host.elapsed())
			}
			break
		}
	}
	p.mu.Unlock()
	p.nudge()
}

// endLineage ends the search with the tenure.
func (p *partition) endLineage() {
	if p.lineage != nil {
		p.freeSlot(&p.lineage.slot)
		p.lineage = nil
	}
}
