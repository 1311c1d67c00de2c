package transport

import (
	"slices"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/limits"
	"innkeeper/transport/protocol"
)

// Continuity. Deliveries of a channel are chained: each names the position before it. A gateway that stands elsewhere has
// missed something, whatever the reason (a link was reset, a queue was full, the owner changed), and asks the owner for
// it. Answers come in the order of Deliveries, so what is asked for and what comes live join without a gap and without
// an overlap. A client that comes back with a serial, or wants to hear the last messages, is served by the same question.

// newer says that a serial stands behind another.
func newer(serial, than string) bool {
	return channel.SerialPosition(serial) > channel.SerialPosition(than)
}

// stand notes that the channel's owner was at a serial. Whoever listens here and has not heard all up to there is told
// the rest.
func (s *shard) stand(ch *localChannel, serial string) {
	if !newer(serial, ch.serial) {
		return
	}
	if ch.listeners > 0 && ch.serial != "" {
		s.mend(ch)
	} else {
		ch.serial = serial
	}
}

// listen lets deliveries flow to an attachment, from behind a serial on.
func (s *shard) listen(a *attachment, from string) {
	if !a.hears() {
		a.unlisten()
		a.from = from
		return
	}
	s.stand(a.ch, from)
	if !a.listening {
		a.listening, a.from = true, from
		a.ch.listeners++
	}
}

// hears says whether deliveries are for the attachment. A member hears of itself.
func (a *attachment) hears() bool {
	return a.granted&(protocol.ModeSubscribe|protocol.ModePresenceSubscribe|protocol.ModePresence|protocol.ModeAnnotationSubscribe) != 0
}

// stands is the serial up to which the attachment has heard everything, or where it began if that is later.
func (a *attachment) stands() string {
	if newer(a.from, a.ch.serial) {
		return a.from
	}
	return a.ch.serial
}

func (a *attachment) unlisten() {
	if a.listening {
		a.listening, a.from = false, ""
		a.ch.listeners--
	}
}

// mend asks the owner for what the channel's listeners missed.
func (s *shard) mend(ch *localChannel) {
	if !ch.mending {
		ch.mending = true
		s.askMissed(ch)
	}
}

func (s *shard) askMissed(ch *localChannel) {
	s.recall(ch, channel.History{After: ch.serial, Raw: true}, func(r *channel.HistoryResult) { s.mended(ch, r) })
}

// recall asks for the past of a channel. then runs on this shard; it gets nil when there is no answer.
func (s *shard) recall(ch *localChannel, q channel.History, then func(*channel.HistoryResult)) {
	q.App, q.Name, q.Req = ch.key.app, ch.key.name, s.g.requestID.Add(1)
	s.request(ch.part, &request{hash: ring.Hash(ch.key.app, ch.key.name), id: q.Req, message: &q, then: then})
}

// recallOnce does the same, and once for all who ask for what is behind the same serial meanwhile: when a node is gone its
// clients come back together, and most of them stood at the same place.
func (s *shard) recallOnce(ch *localChannel, q channel.History, then func(*channel.HistoryResult)) {
	if q.After == "" {
		s.recall(ch, q, then)
		return
	}
	others, asked := ch.playing[q.After]
	if ch.playing == nil {
		ch.playing = make(map[string][]func(*channel.HistoryResult))
	}
	ch.playing[q.After] = append(others, then)
	if asked {
		return
	}
	s.recall(ch, q, func(r *channel.HistoryResult) {
		waiting := ch.playing[q.After]
		if delete(ch.playing, q.After); len(ch.playing) == 0 {
			ch.playing = nil
		}
		for _, then := range waiting {
			then(r)
		}
	})
}

// mended brings the listeners what they missed, or tells them that it cannot be had.
func (s *shard) mended(ch *localChannel, r *channel.HistoryResult) {
	ch.mending = false
	if ch.part.channels[ch.key] != ch {
		return
	}
	if r == nil {
		ch.peopled = true // who knows
		s.tellLost(ch)
		ch.serial = "" // whatever comes next is where it goes on
		return
	}
	if !r.Complete {
		ch.peopled = true
		if ch.serial != "" { // else they were told meanwhile
			if newer(ch.serial, r.Serial) {
				ch.goOnFrom(r.Serial) // the owner does not know of what was heard
			}
			s.tellLost(ch)
		}
	}
	for _, d := range r.Deliveries {
		ch.peopled = ch.peopled || d.Presence != nil
		if newer(d.Serial, ch.serial) {
			s.fanOut(ch, d, true)
			ch.serial = d.Serial
		}
	}
	switch {
	case ch.listeners == 0:
	case r.More:
		ch.mending = true
		s.askMissed(ch)
		return
	}
	if newer(r.Serial, ch.serial) {
		ch.serial = r.Serial
	}
}

// goOnFrom has the channel's listeners hear everything behind a serial, which may be before what they have heard.
func (ch *localChannel) goOnFrom(serial string) {
	ch.serial = serial
	for _, a := range ch.attachments {
		if a.listening {
			a.from = serial
		}
	}
}

// tellLost tells a channel's listeners that they may have missed messages before the place where they stand.
func (s *shard) tellLost(ch *localChannel) {
	err := protocol.Errorf(protocol.CodeContinuityLost, "messages of the channel were lost to the cluster; some may have been missed")
	for _, a := range ch.attachments {
		if a.listening {
			s.lost.Add(1)
			a.from = a.stands()
			s.sendAttached(a, a.from, 0, err)
			s.sync(a)
		}
	}
}

// fanOut sends a publish to the channel's listeners. With mending it is older than some of them, who begin later.
func (s *shard) fanOut(ch *localChannel, d *channel.Delivery, mending bool) {
	n, hard := 0, s.g.cfg.Gates.Of(ch.key.app).Single(limits.ConnectionOutRate)
	for _, a := range ch.attachments {
		if !a.listening || mending && !newer(d.Serial, a.from) || hard > 0 && s.throttled(a, d, hard) {
			continue
		}
		if s.pass(a, d) {
			n++
		}
	}
	s.deliveries.Add(uint64(n))
	if n > 0 {
		s.g.tallies.of(ch.key.app).out.add(d.Messages, n)
	}
}

// pass sends a publish to one attachment, unless its modes are others or it is the connection's own and not wanted back.
func (s *shard) pass(a *attachment, d *channel.Delivery) bool {
	if len(d.Messages) > 0 && (d.Messages[0].Edit != nil || a.wants != nil || a.granted&protocol.ModeAnnotationSubscribe != 0) {
		return s.passForm(a, d)
	}
	switch {
	case d.Presence != nil:
		if d = a.members(d); d == nil {
			return false
		}
	case !a.granted.Has(protocol.ModeSubscribe), d.ConnID == a.conn.id && a.deaf(d):
		return false
	}
	s.send(a.conn, s.frames.message(&s.out, a.conn.format, a.name, d))
	return true
}

// members is what of a presence delivery is for the attachment, nil for nothing. Who does not watch members hears of its own
// all the same: what the owner says of several connections may have some of them.
func (a *attachment) members(d *channel.Delivery) *channel.Delivery {
	if a.granted.Has(protocol.ModePresenceSubscribe) {
		return d
	}
	if !a.granted.Has(protocol.ModePresence) {
		return nil
	}
	others := func(m channel.Member) bool { return m.ConnID != a.conn.id }
	switch {
	case !slices.ContainsFunc(d.Presence, others):
		return d
	case d.ConnID != "":
		return nil // all of one connection, which is another one
	}
	own := *d
	if own.Presence = slices.DeleteFunc(slices.Clone(d.Presence), others); len(own.Presence) == 0 {
		return nil
	}
	return &own
}

// replay brings a confirmed attachment what was published before now: behind the serial it came back with, or as far
// back as it asked for. It is attached when the last of that is on its way, and hears what comes live from there on.
func (s *shard) replay(a *attachment, m *channel.Registered) {
	p := &playback{shard: s, a: a, serial: a.serial}
	a.playback = p
	if a.watch != nil {
		a.watch.last = m.Counts
	}
	if a.serial != "" {
		p.ask(channel.History{After: a.serial, Raw: true}, p.resumed)
		return
	}
	p.ask(a.rewind.question(time.Now()), p.rewound)
}

// playback is one attachment's way through the past of its channel.
type playback struct {
	*shard
	a       *attachment
	serial  string // reached so far
	greeted bool   // ATTACHED was sent
}

func (p *playback) ask(q channel.History, then func(*channel.HistoryResult)) {
	p.recallOnce(p.a.ch, q, func(r *channel.HistoryResult) {
		if p.over() {
			return
		}
		if r == nil {
			p.giveUp(p.a)
			return
		}
		then(r)
	})
}

// over says that the attachment was detached, or asked anew.
func (p *playback) over() bool { return p.a.playback != p }

// resumed goes on from the client's serial, if everything behind it is there. What follows may be gone as well before it
// was asked for: a client that was told to have resumed is told otherwise then.
func (p *playback) resumed(r *channel.HistoryResult) {
	a := p.a
	if !r.Complete {
		p.finish(r.Serial, r.Serial, 0, protocol.Errorf(protocol.CodePositionExpired,
			"what was published behind channelSerial %.60q is not kept any more; messages may have been missed", p.serial))
		return
	}
	if !p.greeted {
		p.greeted = true
		flags := protocol.FlagResumed
		if len(r.Deliveries) > 0 && a.hears() {
			flags |= protocol.FlagHasBacklog
		}
		p.sendAttached(a, p.serial, flags, nil) // where the client stands: it may be cut off before the rest arrives
	}
	for _, d := range r.Deliveries {
		if a.hears() && !p.room(2) { // asked for again: keeping it for all who are slow would cost more
			p.more()
			return
		}
		p.play(d)
	}
	if r.More && a.hears() {
		p.more()
		return
	}
	p.finish(p.serial, r.Serial, 0, nil)
}

// room says that what waits for the connection is a share of what may wait at most. Half of that is left to what comes live.
func (p *playback) room(share int) bool {
	return p.a.conn.out.waiting() <= p.g.cfg.OutboxBytes/share
}

// more asks for what follows, later when the connection has much to read already: who reads all the time is not to be ended
// because of all that it missed.
func (p *playback) more() {
	if !p.room(4) {
		p.behind = append(p.behind, p)
		return
	}
	p.ask(channel.History{After: p.serial, Raw: true}, p.resumed)
}

// catchUp looks again at those that had too much to read. A connection that comes back to many channels gets one page at a
// time: there is no room for more.
func (s *shard) catchUp() {
	behind := s.behind
	s.behind = nil
	var asked map[*conn]bool
	for _, p := range behind {
		c := p.a.conn
		switch {
		case p.over():
		case asked[c]:
			s.behind = append(s.behind, p)
		default:
			if asked == nil {
				asked = make(map[*conn]bool)
			}
			asked[c] = true
			p.more()
		}
	}
}

func (p *playback) play(d *channel.Delivery) {
	if p.a.hears() && p.pass(p.a, d) {
		p.deliveries.Add(1)
		p.a.conn.tally.out.add(d.Messages, 1)
	}
	p.serial = d.Serial
	p.a.serial = p.serial // so that a regrant goes on from here
}

// finish makes the attachment a live one, behind the serial at which the owner answered. With err what is between start
// and the serial reached before is missing.
func (p *playback) finish(start, reached string, flags protocol.Flags, err *protocol.ErrorInfo) {
	a := p.a
	a.playback, a.inWait, a.serial, a.attached = nil, false, "", true
	if !p.greeted || err != nil {
		p.sendAttached(a, start, flags, err)
	}
	p.listen(a, reached)
	p.sync(a)
	if a.watch != nil {
		counts := a.watch.last
		p.seed(a, &counts)
	}
}
