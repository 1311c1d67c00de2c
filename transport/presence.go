package transport

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// The bounds of remainPresentFor: how long members stay whose connection broke.
const (
	remainMin = time.Second
	remainMax = 15 * time.Second
)

// parseRemain reads the parameter remainPresentFor, in milliseconds; "" is remainMax.
func parseRemain(text string) (ms int64, err *protocol.ErrorInfo) {
	if text == "" {
		return remainMax.Milliseconds(), nil
	}
	n, bad := strconv.ParseInt(text, 10, 64)
	if bad != nil {
		return 0, protocol.Errorf(protocol.CodeBadParamValue, "remainPresentFor is a number of milliseconds from %d to %d, this is %.40q",
			remainMin.Milliseconds(), remainMax.Milliseconds(), text)
	}
	return min(max(n, remainMin.Milliseconds()), remainMax.Milliseconds()), nil
}

// presenceOrder is a PRESENCE that passed all checks of the connection.
type presenceOrder struct {
	a *attachment
	r *request
}

// presence serves a PRESENCE: like a publish it takes its place in the window and is answered by the channel's owner.
func (c *conn) presence(pm *protocol.ProtocolMessage) {
	a, change, err := c.checkPresence(pm)
	if err == nil {
		var ended bool
		if err, ended = c.limitPresence(change); ended {
			return
		}
	}
	if err != nil {
		c.nack(pm, err)
		return
	}
	if !c.acks.wait(c.g.cfg.MaxInflight, c.g.cfg.MaxInflightBytes) {
		return
	}
	size := 0
	for i := range change.Members {
		size += len(change.Members[i].Data)
	}
	r := &request{
		hash: a.hash, id: c.g.requestID.Add(1), message: change, conn: c, position: c.acks.add(pm.MsgSerial, size),
	}
	change.Req = r.id
	c.g.shardOf(a.hash).in.push(command{kind: doPresence, what: &presenceOrder{a, r}})
}

func (c *conn) checkPresence(pm *protocol.ProtocolMessage) (*attachment, *channel.PresenceChange, *protocol.ErrorInfo) {
	name, err := c.channelName(pm.Channel)
	if err != nil {
		return nil, nil, err
	}
	a := c.find(pm.Channel)
	switch {
	case !c.identity.Capability.Allows(name.Resource(), auth.Presence):
		return nil, nil, auth.Denied(auth.Presence, name.Resource())
	case a == nil:
		return nil, nil, protocol.Errorf(protocol.CodePresenceState, "the connection is not attached to %q: presence needs an attached channel", pm.Channel)
	case !a.asked.Has(protocol.ModePresence):
		return nil, nil, protocol.Errorf(protocol.CodeModeNotRequested, "the attachment to %q was made without the mode presence", pm.Channel)
	case pm.TooMany:
		return nil, nil, protocol.Errorf(protocol.CodeTooManyMessages, "too many members in one frame: the limit is %d", protocol.MaxMessages)
	}
	members, err := protocol.CanonicalPresence(pm.Presence, c.id, protocol.CanonicalOptions{MaxSize: c.maxSize()})
	if err != nil {
		return nil, nil, c.measured(err)
	}
	if size, most := protocol.MembersSize(members), c.maxSize(); most > 0 && size > most {
		return nil, nil, c.measured(protocol.Errorf(protocol.CodeTooLarge,
			"the presence frame has %d bytes, the limit is %d; say it in several frames", size, most))
	}
	if err := c.identity.ClaimMembers(members); err != nil {
		return nil, nil, err
	}
	if err := c.identity.MayPrivilegeMembers(members, name.Resource()); err != nil {
		return nil, nil, err
	}
	c.identity.VouchMembers(members, name.Base)
	return a, &channel.PresenceChange{
		App: a.key.app, Name: a.key.name, ConnID: c.id, Era: c.era, RemainMs: c.remainMs,
		MsgSerial: pm.MsgSerial, ID: c.id + ":" + strconv.FormatInt(pm.MsgSerial, 10), Members: members,
	}, nil
}

// hold is a connection with members on a channel. The gateway that has the connection answers for its members: what it
// says of them to an owner that is new counts over what that one may know. Owned by the shard.
type hold struct {
	ch          *localChannel
	id          string // of the connection
	conn        *conn  // nil while the connection is lost
	fixed       bool   // there never was one, and the members stay
	era         uint64
	remainMs    int64
	taken       int64 // as in channel.Hold, as far as the owner has answered
	whole       bool  // members are all that the owner has answered; else it may know more
	members     map[string]channel.Member
	pending     []*request       // changes that are not answered, in order
	leaves      map[string]leave // members whose client said that they leave, by client id
	leavesMost  int              // of them before old ones are forgotten
	leavesBytes int
	coming      map[string]int // client ids that pending lets enter, and how often; nil while there are none
	changed     bool           // has to be registered
	amiss       bool           // the owner may know members that there are not, or not know some
	told        time.Time      // when the owner was told of it last
	until       time.Time      // lost: the end of it
	lapse       *time.Timer
}

// holdFor is the hold of an attachment's connection, made or taken over when it has none.
func (s *shard) holdFor(a *attachment) *hold {
	ch, c := a.ch, a.conn
	h := ch.holds[c.id]
	switch {
	case h == nil:
		if ch.holds == nil {
			ch.holds = make(map[string]*hold)
		}
		// Of a connection that was resumed others may know members.
		h = &hold{ch: ch, id: c.id, whole: !c.resumed}
		ch.holds[c.id] = h
	case h.conn == c:
		return h
	default:
		s.abandonChanges(h, nil)
		if h.era != c.before { // it was elsewhere meanwhile
			h.whole, h.members = false, nil
		}
		if h.lapse != nil {
			h.lapse.Stop()
			h.lapse = nil
		}
	}
	h.conn, h.era, h.remainMs, h.until = c, c.era, c.remainMs, time.Time{}
	h.changed = true
	s.touch(ch)
	return h
}

// claim tells the owner where a connection that was resumed is now, so that its members stay.
func (s *shard) claim(a *attachment) {
	if a.granted.Has(protocol.ModePresence) && (a.conn.resumed || a.ch.holds[a.conn.id] != nil) {
		s.holdFor(a)
	}
}

// changePresence passes what a client says of its members on to the owner.
func (s *shard) changePresence(p *partition, o *presenceOrder) {
	if o.a.ch == nil {
		s.complete(o.r, nil, errDetached)
		return
	}
	h := s.holdFor(o.a)
	c := o.r.message.(*channel.PresenceChange)
	h.expect(c, 1)
	o.r.message = h.withoutReentries(c, time.Now(), s.g.cfg.ConnectionStateTTL)
	h.pending = append(h.pending, o.r)
	o.r.hold = h
	s.request(p, o.r)
}

// correctEvery is how often an owner is told all members of a connection that has changes under way, at most, because it may
// know others than there are.
const correctEvery = time.Second

// presenceAnswered takes in what became of a change. One that was refused may have been done all the same, where the
// answer was only late or the owner was told of it in another way: then it is told what there should be. Mostly it was not,
// and a client that is refused over and over costs no more than its changes.
func (s *shard) presenceAnswered(r *request, refused error) {
	h, c := r.hold, r.message.(*channel.PresenceChange)
	r.hold = nil
	h.pending = slices.DeleteFunc(h.pending, func(q *request) bool { return q == r })
	h.expect(c, -1)
	if refused == nil {
		h.taken, h.members = max(h.taken, c.MsgSerial+1), c.ApplyTo(h.members)
	}
	h.amiss = h.amiss || refused != nil && r.doubtful
	// What is told names the changes under way as if they were done, and so is in doubt again when they are refused.
	if h.amiss && h.whole && h.ch.holds[h.id] == h && (len(h.pending) == 0 || time.Since(h.told) >= correctEvery) {
		h.changed = true
		s.touch(h.ch)
	}
}

// abandonChanges gives up what was not answered: the client says it again when it comes back. err is for a client that
// is still there.
func (s *shard) abandonChanges(h *hold, err error) {
	for _, r := range h.pending {
		r.hold = nil
		h.whole = false // the owner may have done it
		if s.requests[r.id] == r {
			s.drop(h.ch.part, r)
			if err != nil {
				s.complete(r, nil, err)
			}
		}
	}
	h.pending, h.coming = nil, nil
}

// partFrom lets go of changes that are not answered, of a connection whose members leave now. The owner answers what it was
// asked on this session before it hears that they left. Later it would let them in again, so it is not asked once more.
func (s *shard) partFrom(h *hold) {
	for _, r := range h.pending {
		r.hold, r.parting = nil, true
		if !r.sent || !r.of.up() {
			s.moot(r)
		}
	}
	h.pending, h.coming = nil, nil
}

// moot answers a change of members that have left since.
func (s *shard) moot(r *request) {
	s.drop(r.of, r)
	s.complete(r, nil, errDetached)
}

var errDetached = protocol.Errorf(protocol.CodePresenceState, "the channel was detached")

// entering is how many members a change does not let leave.
func entering(c *channel.PresenceChange) (n int) {
	for i := range c.Members {
		if c.Members[i].Action != channel.Leave {
			n++
		}
	}
	return n
}

// letGo ends an attachment's part in presence: the members of its connection leave with it, or stay for a while when
// the connection only broke.
func (s *shard) letGo(ch *localChannel, a *attachment, over bool) {
	h := ch.holds[a.conn.id]
	if h == nil || h.conn != a.conn {
		return
	}
	// Those under other names are left. One that cannot have members does not keep those of one that could.
	if a.names.present > 0 || a.names.all > 0 && !a.granted.Has(protocol.ModePresence) {
		return
	}
	s.touch(ch)
	if over {
		s.partFrom(h)
		delete(ch.holds, h.id)
		ch.overs = append(ch.overs, channel.Hold{ConnID: h.id, Era: h.era, State: channel.HoldOver})
		return
	}
	s.abandonChanges(h, errDetached)
	remain := time.Duration(h.remainMs) * time.Millisecond
	h.conn, h.changed, h.until = nil, true, time.Now().Add(remain)
	h.lapse = time.AfterFunc(remain, func() {
		s.in.force(command{kind: doInspect, what: func(s *shard) { s.lapse(h) }})
	})
}

// lapse forgets a connection that did not come back. Its owner counts for itself.
func (s *shard) lapse(h *hold) {
	if h.conn == nil && h.ch.holds[h.id] == h && !time.Now().Before(h.until) {
		delete(h.ch.holds, h.id)
		s.touch(h.ch)
	}
}

// tell is what the owner has to know of a hold. What is said of it after this, it is told as well.
func (h *hold) tell() channel.Hold {
	h.changed, h.amiss, h.told = false, false, time.Now()
	t := channel.Hold{ConnID: h.id, Era: h.era, RemainMs: h.remainMs, Taken: h.taken, Whole: h.whole}
	if h.conn == nil && !h.fixed {
		t.State, t.RemainMs = channel.HoldLost, max(time.Until(h.until).Milliseconds(), 1)
	}
	members := h.members
	if len(h.pending) > 0 {
		members = maps.Clone(members)
		for _, r := range h.pending {
			r.doubtful = true
			members = r.message.(*channel.PresenceChange).ApplyTo(members)
		}
	}
	for _, client := range slices.Sorted(maps.Keys(members)) {
		t.Members = append(t.Members, members[client])
	}
	return t
}

// tellHolds is what a Register says of connections with members: of all, or of those of which something changed.
func (ch *localChannel) tellHolds(all bool) (list []channel.Hold) {
	if !all {
		list = ch.overs
	}
	ch.overs = nil
	for _, h := range ch.holds {
		if all || h.changed {
			list = append(list, h.tell())
		}
	}
	return list
}

// empty says that nothing is held on the channel.
func (ch *localChannel) empty() bool { return len(ch.attachments) == 0 && len(ch.holds) == 0 }

// presenceHeld takes an owner's word on the members of a connection that came here.
func (s *shard) presenceHeld(p *partition, m *channel.PresenceHeld) {
	ch := p.channels[channelKey{m.App, m.Name}]
	if ch == nil {
		return
	}
	h := ch.holds[m.ConnID]
	if h == nil || h.conn == nil || h.era != m.Era {
		return
	}
	h.whole, h.taken, h.members = true, max(h.taken, m.Taken), nil
	for i := range m.Members {
		if h.members == nil {
			h.members = make(map[string]channel.Member, len(m.Members))
		}
		h.members[m.Members[i].ClientID] = m.Members[i]
	}
}

// stays says whether a connection's members outlive it for a while: not where it was ended for good.
func (c *conn) stays() bool {
	switch ending(c.ended.Load()) {
	case running, endClosed, endRevoked, endRefused, endProtocol, endAuth:
		return false
	}
	return true
}
