package channel

// Presence as a part of a channel's state. What happens to members has places among the channel's messages: the same
// serials, the same history and copy, the same chain of deliveries.

// The bounds of one Delivery of what nobody asked for, such as the leaves of lost connections.
const (
	newsMembers = 256
	newsBytes   = 64 << 10
)

// here is the channel's presence, made when there is none.
func (s *State) here() *presence {
	if s.present == nil {
		s.present = &presence{}
	}
	return s.present
}

// changePresence does what a client asks of its members.
func (s *State) changePresence(now Moment, from Gateway, c *PresenceChange, effects []Effect) []Effect {
	if !now.Leased || s.waiting {
		return append(effects, Effect{To: from, Message: &Published{Req: c.Req, Refusal: NotOwner}})
	}
	s.expireHistory(now)
	if n := s.present.entering(c); n > 0 && !s.mayPublish(now, n) {
		return append(effects, Effect{To: from, Message: &Published{Req: c.Req, Refusal: TooFast}})
	}
	s.open, s.usedAt = true, now.Since
	effects = s.tellPresence(now, effects)
	events, why := s.here().change(now, from, c, s.profile.MembersMax, s.past)
	if len(events) == 0 {
		return s.settle(now, append(effects, Effect{To: from, Message: &Published{Req: c.Req, Refusal: why}}))
	}
	effects = s.emit(now, &Delivery{ID: c.ID, ConnID: c.ConnID, Presence: events}, false, from, c.Req, effects)
	return s.settle(now, effects)
}

// registerPresence takes in what a gateway says of connections with members. Fresh: it says all.
func (s *State) registerPresence(now Moment, in Input) {
	r := in.Register
	s.overtaken(in.From, in.Fresh, r.Holds)
	if len(r.Holds) == 0 && s.present == nil {
		return
	}
	p := s.here()
	if s.waiting {
		for _, h := range r.Holds {
			p.heard = append(p.heard, heard{in.From, h})
		}
		return
	}
	if in.Fresh {
		p.only(now, in.From, r.Holds)
	}
	for i := range r.Holds {
		p.register(now, in.From, &r.Holds[i])
	}
}

// tellPresence says what happened to members on nobody's request, and answers the gateways that wait to hear what they
// hold.
func (s *State) tellPresence(now Moment, effects []Effect) []Effect {
	p := s.present
	if p == nil {
		return effects
	}
	p.expire(now)
	for _, conn := range p.owed {
		if h := p.holds[conn]; h != nil && h.gateway != 0 && h.until == 0 {
			m := &PresenceHeld{App: s.app, Name: s.name, ConnID: conn, Era: h.era, Taken: h.taken}
			from, to := p.of(conn)
			for _, member := range p.members[from:to] {
				m.Members = append(m.Members, *member)
			}
			effects = append(effects, Effect{To: h.gateway, Message: m})
		}
	}
	p.owed = nil
	for len(p.events) > 0 {
		n, bytes := 0, 0
		for n < len(p.events) && n < newsMembers && bytes < newsBytes {
			bytes += p.events[n].size()
			n++
		}
		d := &Delivery{Presence: p.events[:n:n]}
		p.events = p.events[n:]
		effects = s.emit(now, d, false, 0, 0, effects)
	}
	p.events = nil
	s.sum[PresenceMembers] = int32(len(p.members))
	if p.idle() {
		s.present = nil
	}
	return effects
}

// presencePage answers a PresenceQuery.
func (s *State) presencePage(now Moment, q *PresenceQuery) *PresencePage {
	if !now.Leased || s.waiting {
		return &PresencePage{Req: q.Req, Refusal: NotOwner}
	}
	r := &PresencePage{Req: q.Req}
	s.present.page(q, r)
	return r
}

// nameEvents gives ids to what nobody said: of another form than those of clients, who then compare times. Its time is not
// before that of its serial, and so of nothing that happened on the channel before it, whatever the owners' clocks said.
func nameEvents(d *Delivery, serialMs int64) {
	if d.ID == "" {
		d.ID = "~" + SerialPosition(d.Serial)
	}
	for i := range d.Presence {
		if m := &d.Presence[i]; m.ID == "" {
			m.ID, m.TimeMs = d.ID, max(m.TimeMs, serialMs)
		}
	}
}

// leftAfter says whether a member is known to have left at its client's own word, which it said after this. Others may have
// taken it away for the client's being gone: that says nothing about what the client means.
func (h *history) leftAfter(m *Member) bool {
	if h == nil {
		return false
	}
	for i := len(h.entries) - 1; i >= 0; i-- {
		for j := range h.entries[i].d.Presence {
			e := &h.entries[i].d.Presence[j]
			if e.Action != Leave || e.ConnID != m.ConnID || e.ClientID != m.ClientID {
				continue
			}
			if _, _, own := e.said(); own && e.Newer(m) {
				return true
			}
		}
	}
	return false
}

// copyPresence sends the members to the follower: Deliveries without a serial, which a copy takes for the set itself. A
// channel that keeps no publishes does not copy those of members either, so its copy would be wrong soon.
func (s *State) copyPresence(effects []Effect) []Effect {
	if s.profile.Retention <= 0 {
		return effects
	}
	s.present.deliveries(func(d *Delivery) {
		effects = append(effects, Effect{Copy: ToGrowing, Old: true, Message: d})
	})
	return effects
}

// deliveries yields the set in the form in which it is copied.
func (p *presence) deliveries(yield func(*Delivery)) {
	var q PresenceQuery
	for more := p.len() > 0; more; {
		var r PresencePage
		p.page(&q, &r)
		last := &r.Members[len(r.Members)-1]
		q.AfterConn, q.After, more = last.ConnID, last.ClientID, r.More
		yield(&Delivery{Presence: r.Members})
	}
}
