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
	seq   string
	pages int
	after channel.Member // the last one sent
	to    []*attachment
	asked bool // for its first page: who comes now may join
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
	r := ch.joins
	if r == nil {
		r = &roll{ch: ch, seq: strconv.FormatUint(s.g.requestID.Add(1), 36)}
		ch.joins = r
		s.askPage(r)
	}
	if a.roll != r {
		a.roll = r
		r.to = append(r.to, a)
	}
}

func (s *shard) askPage(r *roll) {
	q := &channel.PresenceQuery{
		App: r.ch.key.app, Name: r.ch.key.name, Req: s.g.requestID.Add(1), Limit: syncMembers,
		AfterConn: r.after.ConnID, After: r.after.ClientID,
	}
	s.request(r.ch.part, &request{hash: ring.Hash(r.ch.key.app, r.ch.key.name), id: q.Req, message: q, page: func(m *channel.PresencePage) { s.rolled(r, m) }})
}

// rolled sends a page on, and asks for the next for those whose connections keep up.
func (s *shard) rolled(r *roll, m *channel.PresencePage) {
	if r.ch.joins == r {
		r.ch.joins = nil
	}
	r.to = r.listeners()
	if len(r.to) == 0 {
		return
	}
	if m == nil { // no owner for too long
		s.askPage(r)
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
	slow := *r
	slow.to = nil
	var ready []*attachment
	for _, a := range r.to {
		if a.conn.out.waiting() > s.g.cfg.OutboxBytes/4 {
			slow.to = append(slow.to, a)
		} else {
			ready = append(ready, a)
		}
	}
	if len(ready) > 0 {
		r.to = ready
		s.askPage(r)
	}
	if len(slow.to) > 0 {
		for _, a := range slow.to {
			a.roll = &slow
		}
		s.slow = append(s.slow, &slow)
	}
}

// goOn looks again at those that were too slow.
func (s *shard) goOn() {
	slow := s.slow
	s.slow = nil
	for _, r := range slow {
		if r.to = r.listeners(); len(r.to) > 0 {
			s.rollOn(r)
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

// askSync serves a SYNC of a client, which asks for the members again.
func (c *conn) askSync(pm *protocol.ProtocolMessage) {
	if a := c.find(pm.Channel); a != nil && a.asked.Has(protocol.ModePresenceSubscribe) {
		c.g.shardOf(a.hash).in.push(command{kind: doSync, what: a})
		return
	}
	c.reply(func(dst []byte) []byte { return protocol.AppendSync(dst, c.format, pm.Channel, "", nil) })
}
