package channel

import "innkeeper/actor"

// snapshot begins a gateway's session at an epoch. When the partition has ended with its layout, the next one is returned.
func (p *partition) snapshot(g Gateway, epoch uint64, m *Snapshot) (kept bool, next *layout) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		return false, p.next
	}
	if !p.listens(g, epoch) {
		p.host.counters.strays.Add(1)
		return true, nil
	}
	if s := p.sessions[g]; s != nil && s.epoch > epoch {
		p.host.counters.strays.Add(1)
		return true, nil
	}
	p.host.counters.snapshots.Add(1)
	s := &session{epoch: epoch, snapshot: m}
	p.sessions[g] = s
	if p.tenure == nil || epoch != p.tenure.epoch {
		return true, nil // the table that makes this node the owner is still on its way here
	}
	if p.at == serving {
		if contains(p.roster.live, g) {
			p.apply(g, s)
		}
		return true, nil
	}
	p.barrier.Heard(g)
	if p.barrier.Passed() {
		p.nudge()
	}
	return true, nil
}

// register goes on in a gateway's session.
func (p *partition) register(g Gateway, epoch uint64, m *Register) (kept bool, next *layout) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		return false, p.next
	}
	s := p.sessions[g]
	if s == nil || s.epoch != epoch || !p.listens(g, epoch) {
		p.host.counters.strays.Add(1)
		return true, nil
	}
	if s.snapshot == nil {
		_, kept = p.applyRegister(g, m, false, registerRoom*p.host.cfg.Mailbox)
		return kept, nil
	}
	if len(s.later) >= bufferedMax {
		// With the session goes what it said, so the gateway counts as not heard: an opening must not miss it.
		delete(p.sessions, g)
		p.barrier.Forget(g)
		p.host.counters.full.Add(1)
		return false, nil
	}
	s.later = append(s.later, m)
	return true, nil
}

// listens reports whether what a gateway says at an epoch can still matter here.
func (p *partition) listens(g Gateway, epoch uint64) bool {
	if epoch < p.known || epoch == p.known && p.tenure == nil {
		return false // late; or for the owner that took over
	}
	return !p.host.roster.Load().isGone(g)
}

// apply gives the channels what a session has gathered: the Snapshot in place of everything the gateway said before,
// then what followed.
func (p *partition) apply(g Gateway, s *session) {
	if s.snapshot == nil {
		return
	}
	p.marks++
	for i := range s.snapshot.Registers {
		if a, _ := p.applyRegister(g, &s.snapshot.Registers[i], true, actor.NoLimit); a != nil {
			a.mark = p.marks
		}
	}
	p.dropHolder(g, p.marks, true)
	for _, r := range s.later {
		p.applyRegister(g, r, false, actor.NoLimit)
	}
	s.snapshot, s.later = nil, nil
}

// dropHolder makes every channel forget a gateway, except those with this mark. fresh: it lives, and holds nothing there.
func (p *partition) dropHolder(g Gateway, mark uint32, fresh bool) {
	bit := holderBit(g)
	shared := false
	for _, other := range p.roster.live {
		shared = shared || other != g && holderBit(other) == bit
	}
	p.channels.all(func(a *activation) bool {
		if a.holders&bit == 0 || a.mark == mark {
			return true
		}
		a.Offer(Input{Kind: InDrop, Fresh: fresh, From: g}, actor.NoLimit)
		if !shared {
			a.holders &^= bit
		}
		return true
	})
}

// applyRegister gives one register to its channel. The activation is nil when there was none to tell; kept is false when
// its mailbox was full.
func (p *partition) applyRegister(g Gateway, r *Register, fresh bool, limit int) (a *activation, kept bool) {
	pos, ok := p.place(r.App, r.Name)
	if !ok {
		p.host.counters.strays.Add(1)
		return nil, true
	}
	if r.isNothing() && p.channels.find(pos) == nil {
		return nil, true
	}
	a, outcome := p.offer(pos, Input{Kind: InRegister, Fresh: fresh, From: g, Register: r}, limit)
	if outcome == actor.Full {
		p.host.counters.full.Add(1)
		return nil, false
	}
	p.host.counters.registers.Add(1)
	a.holders |= holderBit(g)
	return a, true
}

// isNothing reports a register that leaves no trace on a channel that is not there.
func (r *Register) isNothing() bool {
	return r.Counts == Counts{} && r.Watchers == 0 && !r.Confirm && len(r.Holds) == 0
}
