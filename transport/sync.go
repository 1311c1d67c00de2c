package transport

import (
	"strconv"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
)

// syncMembers is how many members a SYNC frame has at most.
const syncMembers = 500

// roll is a walk through the members of a channel, page by page, for attachments that begin at the same time. Each page
// is asked for when the one before has gone out, so that what is asked is never older than what came live before it.
type roll struct {
	ch    *localChannel
	conn  string // only members of this connection; "" for all
	seq   string
	pages int
	after channel.Member // the last one sent
	to    []*attachment
}

func (s *shard) newRoll(ch *localChannel) *roll {
	return &roll{ch: ch, seq: strconv.FormatUint(s.g.requestID.Add(1), 36)}
}

// sync sends an attachment the members of its channel, if there are some.
func (s *shard) sync(a *attachment) {
	if a.promised || a.seesMembers() {
		a.promised = false
		s.syncAll(a)
	}
}

func (s *shard) syncAll(a *attachment) {
	ch := a.ch
	r, begins := ch.joins, ch.joins == nil
	if begins {
		r = s.newRoll(ch)
		ch.joins = r
	}
	if a.roll != r {
		a.roll = r
		r.to = append(r.to, a)
	}
	if begins {
		s.askPage(r) // last, since the answer may come at once
	}
}

// syncOwn sends an attachment that does not watch members those of its own connection. Who asks again before they are all
// told is answered with that.
func (s *shard) syncOwn(a *attachment) {
	if a.roll != nil && a.roll.conn != "" {
		return
	}
	r := s.newRoll(a.ch)
	r.conn, r.to = a.conn.id, []*attachment{a}
	a.roll = r
	s.askPage(r)
}

func (s *shard) askPage(r *roll) {
	q := &channel.PresenceQuery{
		App: r.ch.key.app, Name: r.ch.key.name, Req: s.g.requestID.Add(1), Limit: syncMembers,
		ConnID: r.conn, AfterConn: r.after.ConnID, After: r.after.ClientID,
	}
	s.request(r.ch.part, &request{hash: ring.Hash(r.ch.key.app, r.ch.key.name), id: q.Req, message: q, page: func(m *channel.PresencePage) { s.rolled(r, m) }})
}

// rolled sends a page on, and asks for the next for those whose connections keep up. Without a page, since there was no
// owner for too long or too much is asked of owners already, it is asked for again with the next tick: not here, where the
// answer to that may be the same, at once.
func (s *shard) rolled(r *roll, m *channel.PresencePage) {
	r.to = r.listeners()
	if len(r.to) > 0 && m == nil {
		s.slow = append(s.slow, r)
		return
	}
	if r.ch.joins == r {
		r.ch.joins = nil
	}
	if len(r.to) == 0 {
		return
	}
	r.pages++
	position := r.seq + ":"
	if m.More {
		position += strconv.Itoa(r.pages)
	}
	for _, a := range r.to {
		s.send(a.conn, s.frames.sync(&s.out, a.conn.format, a.name, position, m))
		if !m.More {
			a.roll = nil
		}
	}
	if m.More {
		r.after = m.Members[len(m.Members)-1]
		s.rollOn(r)
	} else {
		s.seedAll(r.to)
	}
}

// rollOn asks for the next page. Attachments whose connections have much to read already get it later.
func (s *shard) rollOn(r *roll) {
	var ready, slow []*attachment
	for _, a := range r.to {
		if a.conn.out.waiting() > s.g.cfg.OutboxBytes/4 {
			slow = append(slow, a)
		} else {
			ready = append(ready, a)
		}
	}
	if len(ready) == 0 {
		s.slow = append(s.slow, r)
		return
	}
	if len(slow) > 0 {
		later := *r
		later.to = slow
		for _, a := range slow {
			a.roll = &later
		}
		s.slow = append(s.slow, &later)
	}
	r.to = ready
	s.askPage(r)
}

// goOn looks again at those that were too slow, or got no answer.
func (s *shard) goOn() {
	slow := s.slow
	s.slow = nil
	for _, r := range slow {
		if r.to = r.listeners(); len(r.to) > 0 {
			s.rollOn(r)
		} else if r.ch.joins == r {
			r.ch.joins = nil
		}
	}
}

// listeners are the attachments that the roll is still for.
func (r *roll) listeners() []*attachment {
	left := r.to[:0]
	for _, a := range r.to {
		if a.roll == r && a.ch == r.ch {
			left = append(left, a)
		}
	}
	return left
}

// seesMembers says whether the attachment is to be told of members, as far as there may be some.
func (a *attachment) seesMembers() bool {
	return a.ch.peopled && a.granted.Has(protocol.ModePresenceSubscribe)
}

// askSync serves a SYNC of a client, which asks for the members again. Who may not see others is told of its own: it would
// take those that are not named for gone.
func (c *conn) askSync(pm *protocol.ProtocolMessage) {
	if a := c.find(pm.Channel); a != nil && a.asked&(protocol.ModePresenceSubscribe|protocol.ModePresence) != 0 {
		c.g.shardOf(a.hash).in.push(command{kind: doSync, what: a})
		return
	}
	c.reply(func(dst []byte) []byte { return protocol.AppendSync(dst, c.format, pm.Channel, "", nil) })
}

// answerSync sends an attachment the members that it asked for.
func (s *shard) answerSync(a *attachment) {
	switch {
	case a.ch == nil: // given up meanwhile, which the client was told
	case a.granted.Has(protocol.ModePresenceSubscribe):
		s.syncAll(a)
	default:
		s.syncOwn(a)
	}
}
