package channel

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// remainDefault is how long members stay whose connection is lost, where nobody says otherwise.
	remainDefault = 15 * time.Second
	// membersBytes is how much the members of one channel may take, by estimate.
	membersBytes = 16 << 20
)

// presence is who is present on a channel, and on whose word. It is pure: what it decides is left in events for who
// keeps it.
type presence struct {
	members []*Member        // by connection, then client; what is pointed to is never written to
	holds   map[string]*hold // by connection
	bytes   int              // of members, by estimate
	soonest time.Duration    // no hold is over before; 0: none will be
	events  []Member         // happened, and not told yet
	owed    []string         // connections whose gateways wait for PresenceHeld
	heard   []heard          // while gateways are still to be heard: what they said
}

// heard is a gateway's word on a connection.
type heard struct {
	from Gateway
	hold Hold
}

// hold is a connection that has or had members here.
type hold struct {
	gateway Gateway // that has the connection, or had it last; 0: nobody has said so
	era     uint64
	remain  time.Duration
	until   time.Duration // lost: its members leave then; 0 while it is held
	taken   int64         // as in Hold; nothing is kept of which ones below were refused
}

func compareMember(m *Member, conn, client string) int {
	if c := cmp.Compare(m.ConnID, conn); c != 0 {
		return c
	}
	return cmp.Compare(m.ClientID, client)
}

func (p *presence) find(conn, client string) (int, bool) {
	return slices.BinarySearchFunc(p.members, conn, func(m *Member, conn string) int { return compareMember(m, conn, client) })
}

// of is the range of a connection's members.
func (p *presence) of(conn string) (from, to int) {
	from, _ = p.find(conn, "")
	to = from
	for to < len(p.members) && p.members[to].ConnID == conn {
		to++
	}
	return from, to
}

func (p *presence) len() int {
	if p == nil {
		return 0
	}
	return len(p.members)
}

// idle reports that nothing would be lost if the presence were forgotten.
func (p *presence) idle() bool {
	return p == nil || len(p.members) == 0 && len(p.holds) == 0 && len(p.events) == 0 && len(p.heard) == 0
}

// put makes m a member in place of what it was. It does not ask whether m is newer.
func (p *presence) put(m Member) {
	m.Action = Present
	i, found := p.find(m.ConnID, m.ClientID)
	if found {
		p.bytes -= p.members[i].size()
		p.members[i] = &m
	} else {
		p.members = slices.Insert(p.members, i, &m)
	}
	p.bytes += m.size()
}

func (p *presence) remove(i int) {
	p.bytes -= p.members[i].size()
	p.members = slices.Delete(p.members, i, i+1)
	if len(p.members) == 0 {
		p.members = nil
	}
}

// Newer says whether what the client said under one id is newer than under another. Ids that are not of the form
// <connection>:<msgSerial>:<index> are of another's making: then the later time counts.
func (m *Member) Newer(than *Member) bool {
	serial, index, ok := m.said()
	s, i, also := than.said()
	if !ok || !also {
		return m.TimeMs >= than.TimeMs
	}
	return serial > s || serial == s && index > i
}

// said is the msgSerial and index of a member's id.
func (m *Member) said() (serial, index int64, ok bool) {
	rest, ok := strings.CutPrefix(m.ID, m.ConnID+":")
	if !ok {
		return 0, 0, false
	}
	a, b, ok := strings.Cut(rest, ":")
	if !ok {
		return 0, 0, false
	}
	serial, bad := strconv.ParseInt(a, 10, 64)
	index, worse := strconv.ParseInt(b, 10, 64)
	return serial, index, bad == nil && worse == nil
}

// take gives the hold of a connection to a gateway that says it has it, nil when the client has gone on elsewhere.
func (p *presence) take(from Gateway, conn string, era uint64, remainMs int64) *hold {
	h := p.holds[conn]
	switch {
	case h == nil:
		h = &hold{}
		if p.holds == nil {
			p.holds = make(map[string]*hold)
		}
		p.holds[strings.Clone(conn)] = h
	case h.gateway != from && era < h.era:
		return nil
	}
	h.gateway, h.era, h.until = from, max(h.era, era), 0
	h.remain = min(time.Duration(remainMs)*time.Millisecond, remainDefault)
	if h.remain <= 0 {
		h.remain = remainDefault
	}
	return h
}

// change does what a client asks for. The events are what others have to hear of it. past is what happened on the channel.
func (p *presence) change(now Moment, from Gateway, c *PresenceChange, most int, past *history) (events []Member, why Refusal) {
	if len(c.Members) == 0 {
		return nil, Accepted
	}
	h := p.take(from, c.ConnID, c.Era, c.RemainMs)
	switch {
	case h == nil:
		return nil, Accepted // to a socket that the client has left
	case c.MsgSerial >= h.taken:
	case p.stands(now, c, past):
		return nil, Accepted
	default:
		return nil, Overtaken
	}
	if why := p.room(c, most); why != Accepted {
		return nil, why
	}
	h.taken = c.MsgSerial + 1
	for i := range c.Members {
		if e, news := p.apply(c.member(now, i)); news {
			events = append(events, e)
		}
	}
	return events, Accepted
}

// member is what the change says of its i-th member, as the owner keeps and tells it.
func (c *PresenceChange) member(now Moment, i int) Member {
	m := c.Members[i]
	m.ConnID, m.TimeMs = c.ConnID, now.UnixMs
	if m.Action == Leave || m.ID == "" {
		m.ID = c.ID + ":" + strconv.Itoa(i)
	}
	return m
}

// stands says of a change that was said before one that was taken whether it, or what the client said later of the same
// members, is what is there. If not, the change was refused, by whomever, and the client may not have heard so; it is not
// done now, since what came after it was answered without it.
func (p *presence) stands(now Moment, c *PresenceChange, past *history) bool {
	for i := range c.Members {
		m := c.member(now, i)
		at, found := p.find(m.ConnID, m.ClientID)
		switch {
		case found && p.members[at].ID != m.ID && m.Newer(p.members[at]):
			return false
		case !found && m.Action != Leave && !past.leftAfter(&m):
			return false
		}
	}
	return true
}

// room says whether a change fits.
func (p *presence) room(c *PresenceChange, most int) Refusal {
	more, bytes := 0, 0
	for i := range c.Members {
		m := &c.Members[i]
		if m.Action == Leave {
			continue
		}
		bytes += m.size()
		if at, found := p.find(c.ConnID, m.ClientID); found {
			bytes -= p.members[at].size()
		} else {
			more++
		}
	}
	switch {
	case more > 0 && most > 0 && len(p.members)+more > most:
		return TooManyMembers
	case bytes > 0 && p.bytes+bytes > membersBytes:
		return MembersTooLarge
	}
	return Accepted
}

// entering is how many members a change lets enter or update. What was said before does nothing more.
func (p *presence) entering(c *PresenceChange) (n int) {
	if p != nil && p.holds[c.ConnID] != nil && c.MsgSerial < p.holds[c.ConnID].taken {
		return 0
	}
	for i := range c.Members {
		m := c.Members[i]
		if m.Action == Leave {
			continue
		}
		if p != nil && m.ID != "" {
			m.ConnID = c.ConnID
			if at, found := p.find(c.ConnID, m.ClientID); found && !m.Newer(p.members[at]) {
				continue
			}
		}
		n++
	}
	return n
}

// apply does one thing that a client said; news is false when nothing changed.
func (p *presence) apply(m Member) (event Member, news bool) {
	i, found := p.find(m.ConnID, m.ClientID)
	if m.Action == Leave {
		if !found {
			return m, false
		}
		if last := p.members[i]; m.Kind == NoData {
			m.Kind, m.Data, m.Encoding = last.Kind, last.Data, last.Encoding
		}
		p.remove(i)
		return m, true
	}
	if found {
		if !m.Newer(p.members[i]) {
			return m, false
		}
		m.Action = Update
	} else {
		m.Action = Enter
	}
	p.put(m)
	return m, true
}

// register takes in what a gateway says of a connection.
func (p *presence) register(now Moment, from Gateway, r *Hold) {
	h := p.holds[r.ConnID]
	switch {
	case r.State == HoldOver:
		if h != nil && (h.gateway == from || r.Era >= h.era) {
			p.expel(now, r.ConnID)
		}
		return
	case r.State == HoldLost:
		// Its members are known here as well as there. If there is no hold, it left, or its time is over.
		if h != nil {
			if h := p.take(from, r.ConnID, r.Era, r.RemainMs); h != nil {
				p.lose(now, h)
			}
		}
		return
	}
	p.enroll(now, from, r)
}

// enroll takes in what a gateway says of a connection and its members.
func (p *presence) enroll(now Moment, from Gateway, r *Hold) {
	h := p.take(from, r.ConnID, r.Era, r.RemainMs)
	if h == nil {
		return // it has gone on elsewhere
	}
	h.taken = max(h.taken, r.Taken)
	if r.State == HoldLost {
		p.lose(now, h)
	}
	if r.Whole {
		p.cut(now, r)
	} else if r.State == HoldHere {
		p.owed = append(p.owed, r.ConnID)
	}
	p.merge(now, r)
}

// merge adds what a gateway knows of members and nobody here.
func (p *presence) merge(now Moment, r *Hold) {
	for i := range r.Members {
		m := r.Members[i]
		m.ConnID = r.ConnID
		if at, found := p.find(m.ConnID, m.ClientID); found && !m.Newer(p.members[at]) {
			continue
		} else if m.Action = Enter; found {
			m.Action = Update
		}
		m.TimeMs = now.UnixMs
		p.put(m)
		p.events = append(p.events, m)
	}
}

// cut lets those go of whom the gateway of their connection knows nothing.
func (p *presence) cut(now Moment, r *Hold) {
	from, to := p.of(r.ConnID)
	for i := to - 1; i >= from; i-- {
		known := slices.ContainsFunc(r.Members, func(m Member) bool { return m.ClientID == p.members[i].ClientID })
		if !known {
			p.leave(now, i)
		}
	}
}

// leave removes a member that did not say so.
func (p *presence) leave(now Moment, i int) {
	p.events = append(p.events, p.members[i].gone(now))
	p.remove(i)
}

// gone is the leave of a member that did not say so. Clients compare its time with that of the member, which an owner may
// have given whose clock was ahead.
func (m *Member) gone(now Moment) Member {
	e := *m
	e.Action, e.ID, e.TimeMs = Leave, "", max(now.UnixMs, m.TimeMs)
	return e
}

// expel ends the part of connections: their members leave.
func (p *presence) expel(now Moment, conns ...string) {
	slices.Sort(conns)
	for _, conn := range conns {
		delete(p.holds, conn)
	}
	if len(conns) == 0 {
		return
	}
	from, _ := p.of(conns[0])
	_, to := p.of(conns[len(conns)-1])
	kept := p.members[:from]
	for _, m := range p.members[from:to] {
		if _, out := slices.BinarySearch(conns, m.ConnID); !out {
			kept = append(kept, m)
			continue
		}
		p.bytes -= m.size()
		p.events = append(p.events, m.gone(now))
	}
	kept = append(kept, p.members[to:]...)
	clear(p.members[len(kept):])
	if p.members = kept; len(kept) == 0 {
		p.members = nil
	}
}

// lose begins the time that members stay whose connection broke.
func (p *presence) lose(now Moment, h *hold) {
	h.until = now.Since + h.remain
	if p.soonest == 0 || h.until < p.soonest {
		p.soonest = h.until
	}
}

// heldBy are the connections whose hold is a gateway's.
func (p *presence) heldBy(g Gateway) (conns []string) {
	for conn, h := range p.holds {
		if h.gateway == g {
			conns = append(conns, conn)
		}
	}
	slices.Sort(conns)
	return conns
}

// only ends the part of a gateway's connections that it does not name any more.
func (p *presence) only(now Moment, from Gateway, named []Hold) {
	if p == nil {
		return
	}
	p.expel(now, slices.DeleteFunc(p.heldBy(from), func(conn string) bool {
		return slices.ContainsFunc(named, func(r Hold) bool { return r.ConnID == conn })
	})...)
}

// dead notes that a gateway is no more. Its connections may come back elsewhere.
func (p *presence) dead(now Moment, g Gateway) {
	if p == nil {
		return
	}
	for _, conn := range p.heldBy(g) {
		h := p.holds[conn]
		if h.gateway = 0; h.until == 0 {
			p.lose(now, h)
		}
	}
}

// opened takes in what the gateways have said now that every one of them was heard. Of a connection the latest era
// counts; what was known of it in earlier ones counts only where the gateway it came to knows nothing yet. Who is held by
// none is lost. heir: the members are those of the owner before, so that a gateway which lost a connection knows no more of
// it, and perhaps less: it may have been elsewhere since, and its time begin only now.
func (p *presence) opened(now Moment, heir bool) {
	if p == nil {
		return
	}
	if heir {
		p.heard = slices.DeleteFunc(p.heard, func(w heard) bool { return w.hold.State == HoldLost })
	}
	slices.SortStableFunc(p.heard, func(a, b heard) int {
		return cmp.Or(cmp.Compare(a.hold.ConnID, b.hold.ConnID), cmp.Compare(b.hold.Era, a.hold.Era))
	})
	var latest *heard
	for i := range p.heard {
		w := &p.heard[i]
		if latest == nil || latest.hold.ConnID != w.hold.ConnID || latest.from == w.from && latest.hold.Era == w.hold.Era {
			latest = w
		}
		switch {
		case latest != w:
			if latest.hold.State != HoldOver && !latest.hold.Whole && latest.from != w.from {
				p.merge(now, &w.hold)
			}
		case w.hold.State == HoldOver:
			p.expel(now, w.hold.ConnID)
		default:
			p.enroll(now, w.from, &w.hold)
		}
	}
	p.heard = nil
	for _, h := range p.holds {
		if h.gateway == 0 && h.until == 0 {
			p.lose(now, h)
		}
	}
}

// expire lets the members of lost connections go whose time is over.
func (p *presence) expire(now Moment) {
	if p == nil || p.soonest == 0 || now.Since < p.soonest {
		return
	}
	p.soonest = 0
	var over []string
	for conn, h := range p.holds {
		switch {
		case h.until == 0:
		case h.until <= now.Since:
			over = append(over, conn)
		case p.soonest == 0 || h.until < p.soonest:
			p.soonest = h.until
		}
	}
	p.expel(now, over...)
}

// fold takes in what another owner decided.
func (p *presence) fold(list []Member) {
	for i := range list {
		m := &list[i]
		at, found := p.find(m.ConnID, m.ClientID)
		switch {
		case m.Action != Leave:
			p.put(*m)
		case found:
			p.remove(at)
		}
	}
}

// inherited makes holds for members that were taken over: nobody has said yet who has them.
func (p *presence) inherited() {
	p.holds = make(map[string]*hold)
	for _, m := range p.members {
		h := p.holds[m.ConnID]
		if h == nil {
			h = &hold{remain: remainDefault}
			p.holds[m.ConnID] = h
		}
		if serial, _, ok := m.said(); ok {
			h.taken = max(h.taken, serial+1)
		}
	}
}

// The bounds of one PresencePage.
const (
	pageMembers = 1000
	pageBytes   = 128 << 10
)

// page gathers the members behind a place.
func (p *presence) page(q *PresenceQuery, r *PresencePage) {
	if p == nil {
		return
	}
	limit := q.Limit
	if limit < 1 || limit > pageMembers {
		limit = pageMembers
	}
	i, found := p.find(q.AfterConn, q.After)
	if found {
		i++
	}
	if q.ConnID != "" && q.AfterConn < q.ConnID {
		i, _ = p.of(q.ConnID)
	}
	if q.ClientID == "" && q.ConnID == "" {
		r.Members = make([]Member, 0, min(limit, len(p.members)-i))
	}
	bytes := 0
	for ; i < len(p.members); i++ {
		m := p.members[i]
		switch {
		case q.ConnID != "" && m.ConnID != q.ConnID:
			return
		case q.ClientID != "" && m.ClientID != q.ClientID:
			continue
		case len(r.Members) >= limit || bytes >= pageBytes:
			r.More = true
			return
		}
		r.Members = append(r.Members, *m)
		bytes += m.size()
	}
}

// due reports that something is to be told.
func (p *presence) due(now Moment) bool {
	return p != nil && (len(p.events) > 0 || len(p.owed) > 0 || p.soonest > 0 && p.soonest <= now.Since)
}

func (p *presence) all() []*Member {
	if p == nil {
		return nil
	}
	return p.members
}

func (p *presence) size() int {
	if p == nil {
		return 0
	}
	return p.bytes
}
