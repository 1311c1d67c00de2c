package channel

import "time"

// A planned move finds its old owner alive. The barrier is the same as after a death: the new owner serves when all
// gateways have registered with it. What the old owner adds is what only it knows, and what would take time to fetch:
// the history, which the new owner has been sent as its follower before the move, and the remains of what ran out.

// Prepared says whether the history of a partition that is owned here under this epoch is with a node: whether that
// has a whole copy. It is true when there is nothing to wait for.
func (h *Host) Prepared(part uint32, epoch uint64, node string) bool {
	l := h.layout.Load()
	if int64(part) >= int64(len(l.parts)) {
		return true
	}
	p := &l.parts[part]
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case h.cfg.Hosts == nil || epoch < p.known:
		return true
	case p.at != serving || p.tenure.epoch != epoch:
		return false
	}
	f := p.tenure.feeds.Load().whole
	return f != nil && f != p.tenure.orphan.feed && f.to.Node == node
}

// Opened says whether a partition is served here under this epoch, or is another's by now.
func (h *Host) Opened(part uint32, epoch uint64) bool {
	l := h.layout.Load()
	if int64(part) >= int64(len(l.parts)) {
		return true
	}
	p := &l.parts[part]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known > epoch || p.at == serving && p.tenure.epoch == epoch
}

// remains is what a tenure that ended leaves to the next beside its history: what was running out. Channels of which
// nothing was are not in it.
type remains struct {
	epoch    uint64        // of the tenure that ended
	until    time.Duration // to be kept: then nobody asks any more, or it is too old to be of use
	channels []*Remains
}

// Remain notes what a channel would tell its next owner; nil for nothing. It is for the end of a tenure.
func (s *State) Remain(now Moment) *Remains {
	r := &Remains{App: s.app, Name: s.name, VacateMs: -1, UsedMs: -1}
	switch s.phase {
	case delaying:
		r.VacateMs = max((s.vacateAt - now.Since).Milliseconds(), 0)
	case vacating:
		r.VacateMs = 0
	}
	if s.open && !s.attached() {
		r.UsedMs = max((now.Since - s.usedAt).Milliseconds(), 0)
	}
	if r.VacateMs < 0 && r.UsedMs < 0 {
		return nil
	}
	return r
}

// Inherit takes over what the owner before has noted. It comes after Restore and before anything that gateways say; whoever
// holds the channel after all makes it void.
func (s *State) Inherit(now Moment, r *Remains) {
	if r.VacateMs >= 0 && s.phase == delaying {
		s.vacateAt = now.Since + time.Duration(r.VacateMs)*time.Millisecond
	}
	if r.UsedMs >= 0 {
		used := time.Duration(r.UsedMs) * time.Millisecond
		s.open, s.usedAt = true, now.Since-min(used, s.profile.IdleClose)
	}
}

// leave notes what ran out when the tenure ends; p.mu is held.
func (p *partition) leave() {
	t := p.tenure
	p.remains = nil
	if p.at != serving || p.host.cfg.Hosts == nil {
		return
	}
	now := p.host.moment()
	left := &remains{epoch: t.epoch, until: now.Since + remainsKept}
	p.channels.all(func(a *activation) bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		if r := a.state.Remain(now); r != nil {
			left.channels = append(left.channels, r)
		}
		return true
	})
	p.remains = left
}

// remainsKept is how long an owner's successor may take to ask.
const remainsKept = 15 * time.Second

// remainsBytes is how much goes into one frame of remains, by estimate.
const remainsBytes = 128 << 10

// tellRemains sends a new owner what the tenure before its own left; p.mu is held. It comes before CopyHave, which the new
// owner waits for.
func (p *partition) tellRemains(w wanted) {
	if p.remains == nil || p.remains.epoch != w.of() {
		return
	}
	frame, bytes := &Left{Stream: w.stream}, 0
	flush := func() {
		if len(frame.Channels) > 0 {
			p.host.cfg.Hosts.ToHost(w.from, 0, p.id, w.epoch, frame)
		}
		frame, bytes = &Left{Stream: w.stream}, 0
	}
	for _, r := range p.remains.channels {
		frame.Channels = append(frame.Channels, r)
		if bytes += r.size(); bytes >= remainsBytes {
			flush()
		}
	}
	flush()
}

// takeRemains keeps what the owner before has left until the partition opens.
func (p *partition) takeRemains(epoch uint64, m *Left) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.fetching(epoch, m.Stream); f != nil {
		f.remains = append(f.remains, m.Channels...)
		f.goesOn(p.host.elapsed())
	}
}

// inheritRemains gives the channels what was left of them; p.mu is held, and nothing the gateways said is applied yet.
func (p *partition) inheritRemains(now Moment, list []*Remains) {
	for _, r := range list {
		pos, ok := p.place(r.App, r.Name)
		if !ok {
			continue
		}
		a := p.channels.find(pos)
		if a == nil {
			a = p.activate(pos, func(s *State) { s.Restore(Moment{}, false, 0) })
		}
		a.state.Inherit(now, r)
	}
}
