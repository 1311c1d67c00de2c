package transport

import (
	"time"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
)

// Route says where a partition's owner is to be found. A new Session means that whatever was sent before may be lost.
type Route struct {
	Node    string
	Epoch   uint64
	Session uint64
}

// Owners carries words to the owners of partitions. ToOwner never blocks and keeps the order of what one shard sends on
// one route; what it is given must not be changed any more. False means that the session is over: the message is lost and
// so may be earlier ones; the gateway says nothing more until the next Routed.
type Owners interface {
	ToOwner(part uint32, r Route, m channel.ToOwner) bool
}

// partition is what a shard knows about one partition: its route, what is held there and what was asked of its owner.
type partition struct {
	id       uint32
	route    Route
	routed   bool
	broken   bool // a send failed: the session is over
	channels map[channelKey]*localChannel

	// Requests in the order in which they came, which is also that of their deadlines. They are kept until answered and
	// sent again on every new session.
	head, tail *request

	// While probing only the first request is sent: an owner that is not ready refuses, and if the ones behind it were
	// already on their way it could take those and so swap a publisher's messages.
	probing bool
	probeAt time.Time // not before
}

func (p *partition) up() bool { return p.routed && !p.broken }

// tell sends to the partition's owner. False: the session is over.
func (s *shard) tell(p *partition, m channel.ToOwner) bool {
	if !p.up() {
		return false
	}
	if !s.g.cfg.Owners.ToOwner(p.id, p.route, m) {
		p.broken = true
	}
	return !p.broken
}

// routed opens a session: the owner hears of everything that is held here, and is asked again what it did not answer.
func (s *shard) routed(p *partition, r Route) {
	p.route, p.routed, p.broken = r, true, false
	registers := make([]channel.Register, 0, len(p.channels))
	for _, ch := range p.channels {
		ch.doubt()
		if ch.empty() {
			continue // touched, and about to be forgotten; what the owner is not told it does not count
		}
		ch.touched, ch.known = false, true
		ch.version = s.g.version.Add(1)
		r := ch.register(ch.version, true)
		r.Holds = ch.tellHolds(true)
		registers = append(registers, r)
	}
	s.tell(p, &channel.Snapshot{Registers: registers})
	p.probing, p.probeAt = true, time.Time{}
	s.unsend(p)
	s.pump(p, time.Now())
}

// unsend has all requests sent again that are worth it.
func (s *shard) unsend(p *partition) {
	for q := p.head; q != nil; {
		next := q.next
		if q.sent = false; q.parting {
			s.moot(q)
		}
		q = next
	}
}

// unrouted ends a session. Counting goes on here, and what is asked waits.
func (s *shard) unrouted(p *partition) {
	p.routed = false
	for _, ch := range p.channels {
		ch.doubt()
	}
}

// request is a Publish, Query, List or History on its way to an owner and back.
type request struct {
	hash     uint64 // place on the ring: whose partition's owner is asked
	of       *partition
	id       uint64
	message  channel.ToOwner
	deadline time.Time
	sent     bool // on this session
	next     *request
	prev     *request

	// Who asked: the shard itself, a connection for a publish at a position of its window, or a caller that waits.
	then     func(*channel.HistoryResult) // nil for the answer: there is none
	page     func(*channel.PresencePage)  // likewise
	hold     *hold                        // of a change of presence that is not answered
	doubtful bool                         // of a change of presence: it may have been done though it is refused
	parting  bool                         // a change of members that have left since: not sent again
	conn     *conn
	position uint64
	messages int
	reply    chan<- reply // has room
}

type reply struct {
	message channel.ToGateway
	err     error
	last    uint64 // highest hash of the partition that was asked
}

func (s *shard) lastOf(r *request) uint64 {
	if r.of == nil {
		return 0 // nobody was asked
	}
	return ring.Last(r.of.id, s.partitions())
}

// request takes in what is asked of an owner.
func (s *shard) request(p *partition, r *request) {
	if len(s.requests) >= s.g.cfg.RequestsMax {
		s.complete(r, nil, protocol.Errorf(protocol.CodeBusy, "too many requests wait for the owners of channels; try again"))
		return
	}
	now := time.Now()
	r.deadline = now.Add(s.g.cfg.RequestTimeout)
	s.requests[r.id] = r
	s.pending.Store(int64(len(s.requests)))
	p.put(r)
	switch {
	case !p.up():
	case p.probing:
		s.pump(p, now)
	default:
		r.sent = s.tell(p, r.message)
	}
}

// pump sends what may be sent: while probing the first request, else all that were not.
func (s *shard) pump(p *partition, now time.Time) {
	for q := p.head; q != nil && p.up(); {
		next := q.next
		switch {
		case q.sent:
		case q.moved():
			s.expire(p, q)
		case p.probing && now.Before(p.probeAt):
			return
		default:
			q.sent = s.tell(p, q.message)
		}
		if p.probing && p.head == q {
			return
		}
		q = next
	}
}

// moved says of a publish that it is its client's to say it again, since the socket on which it came is gone. The client may
// have done so on another node and have published more there: an owner that does not know of the first time would put it
// behind that.
func (r *request) moved() bool {
	if r.conn == nil || r.hold != nil {
		return false
	}
	why := ending(r.conn.ended.Load())
	return why != running && !why.final()
}

// answered takes an owner's answer. An owner that is not ready is asked again a little later.
func (s *shard) answered(p *partition, id uint64, refusal channel.Refusal, m channel.ToGateway) {
	r := s.requests[id]
	if r == nil || r.of != p {
		return
	}
	now := time.Now()
	if refusal == channel.NotOwner {
		p.probing, p.probeAt = true, now.Add(tick)
		if r.sent = false; r.parting {
			s.moot(r)
		}
		return
	}
	if refusal == channel.Busy && (r.then != nil || r.page != nil) {
		r.sent = false // many come back at once: asked again with the next tick, until its deadline
		return
	}
	s.drop(p, r)
	if refusal == channel.Accepted {
		s.complete(r, m, nil)
	} else {
		s.complete(r, nil, s.g.opening(r.app(), refusal))
	}
	if p.probing {
		p.probing = false
		s.pump(p, now)
	}
}

func (s *shard) drop(p *partition, r *request) {
	delete(s.requests, r.id)
	s.pending.Store(int64(len(s.requests)))
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		p.head = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		p.tail = r.prev
	}
	r.prev, r.next = nil, nil
}

// expireRequests answers those that waited too long. Whether an owner did what was asked is unknown then. What a
// connection asked after that ends with it: its client may not hear of the failure, come back and publish the first one
// again on another socket, and the later ones must not be there before it.
func (s *shard) expireRequests(p *partition, now time.Time) {
	var of map[*conn]bool
	for r := p.head; r != nil && !now.Before(r.deadline); r = p.head {
		s.expire(p, r)
		if r.conn != nil {
			if of == nil {
				of = make(map[*conn]bool)
			}
			of[r.conn] = true
		}
	}
	if of == nil {
		return
	}
	for r := p.head; r != nil; {
		next := r.next
		if r.conn != nil && of[r.conn] {
			s.expire(p, r)
		}
		r = next
	}
}

func (s *shard) expire(p *partition, r *request) {
	s.drop(p, r)
	r.doubtful = true
	s.complete(r, nil, protocol.Refused(channel.NotOwner))
}

// complete answers who asked.
func (s *shard) complete(r *request, m channel.ToGateway, err error) {
	if r.then != nil {
		result, _ := m.(*channel.HistoryResult)
		r.then(result)
		return
	}
	if r.page != nil {
		result, _ := m.(*channel.PresencePage)
		r.page(result)
		return
	}
	if r.hold != nil {
		s.presenceAnswered(r, err)
	}
	if r.parting && err != nil && entering(r.message.(*channel.PresenceChange)) == 0 {
		err = nil // they have left all the same
	}
	if r.conn == nil {
		r.reply <- reply{message: m, err: err, last: s.lastOf(r)}
		return
	}
	var serials protocol.Ack
	if pub, ok := m.(*channel.Published); ok {
		serials = protocol.Ack{Serial: pub.Serial, Messages: r.messages}
	}
	if err != nil {
		r.conn.tally.fault(protocol.AsError(err), r.messages, false)
	}
	if r.conn.acks.done(r.position, serials, protocol.AsError(err)) {
		s.acked = append(s.acked, r.conn)
	}
}

// app is whose channel is asked for something.
func (r *request) app() string {
	switch m := r.message.(type) {
	case *channel.Publish:
		return m.App
	case *channel.PresenceChange:
		return m.App
	}
	return ""
}
