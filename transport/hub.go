package transport

import (
	"bytes"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

const (
	// batchMax bounds how many commands are processed before what they caused is written.
	batchMax = 1024
	// tick is how often a shard with unanswered requests or attaches looks at their deadlines and tries again.
	tick = 50 * time.Millisecond
)

// shard is one slice of the gateway's hub: all channels of some of the partitions, with their attachments, and what is
// asked of the owners of these partitions. One goroutine owns everything in it; the rest of the world sends commands.
//
// A batch of commands is processed first and then all connections it had frames for are written to, once each. Under
// load many frames share a write; at low rates a delivery is one write per subscriber, made right here.
type shard struct {
	// Static after construction.
	g     *Gateway
	index int
	in    *queue
	done  chan struct{} // closed by the goroutine at its end

	// Owned by the goroutine.
	parts    []*partition // this shard's share of the ring, in order; nil until used
	requests map[uint64]*request
	waits    []attachWait // attaches not confirmed yet, by deadline; settled ones are skipped
	slow     []*roll      // SYNCs of connections that have much to read already
	behind   []*playback  // resumes of such
	touched  []*localChannel
	resting  []*rest
	dirty    []*conn // have frames that this shard has to flush
	acked    []*conn // have answers that this shard has to emit
	out      flusher
	frames   frameCache
	spare    []command
	timer    *time.Timer
	ticking  bool

	// Written by the goroutine, read by anybody.
	channels    atomic.Int64
	attachments atomic.Int64
	pending     atomic.Int64
	deliveries  atomic.Uint64
	dropped     atomic.Uint64
	refused     atomic.Uint64
	lost        atomic.Uint64
}

func newShard(g *Gateway, index int) *shard {
	n := g.cfg.Partitions / len(g.shards)
	return &shard{
		g:        g,
		index:    index,
		in:       newQueue(),
		done:     make(chan struct{}),
		parts:    make([]*partition, n),
		requests: make(map[uint64]*request),
		timer:    time.NewTimer(time.Hour),
	}
}

// run processes commands until the queue is closed and empty.
func (s *shard) run() {
	defer close(s.done)
	defer s.timer.Stop()
	s.timer.Stop()
	for {
		select {
		case <-s.in.wake:
			batch := s.in.take(s.spare)
			s.process(batch)
			s.spare = batch[:0]
		case now := <-s.timer.C:
			s.ticking = false
			s.tick(now)
		case <-s.g.stop:
			s.abandon()
			return
		}
		s.finishBatch()
		if !s.ticking && (len(s.requests) > 0 || len(s.waits) > 0 || len(s.slow) > 0 || len(s.behind) > 0 || len(s.resting) > 0) {
			s.ticking = true
			s.timer.Reset(tick)
		}
	}
}

func (s *shard) process(batch []command) {
	for i := range batch {
		s.handle(&batch[i])
		batch[i] = command{}
		if (i+1)%batchMax == 0 {
			s.finishBatch()
		}
	}
}

func (s *shard) handle(c *command) {
	switch c.kind {
	case doAttach:
		o := c.what.(*attachOrder)
		s.attach(s.at(o.a.hash), o)
	case doDetach:
		s.detach(c.what.(*attachment))
	case doGone:
		for _, a := range c.what.([]*attachment) {
			s.leave(a, !a.conn.stays())
		}
	case doRequest:
		r := c.what.(*request)
		s.request(s.at(r.hash), r)
	case doFromOwner:
		s.fromOwner(c)
	case doRouted:
		if p := s.part(c.part); p != nil {
			s.routed(p, c.what.(Route))
		}
	case doUnrouted:
		if p := s.part(c.part); p != nil {
			s.unrouted(p)
		}
	case doLayout:
		s.relayout(c.what.(int))
	case doPresence:
		o := c.what.(*presenceOrder)
		s.changePresence(s.at(o.r.hash), o)
	case doSync:
		s.answerSync(c.what.(*attachment))
	case doInspect:
		c.what.(func(*shard))(s)
	}
}

// fromOwner takes what an owner said, unless it is not the partition's owner any more.
func (s *shard) fromOwner(c *command) {
	p := s.part(c.part)
	if p == nil || !p.routed || p.route.Epoch != c.epoch || p.route.Node != c.node {
		s.dropped.Add(1)
		return
	}
	switch m := c.what.(type) {
	case *channel.Delivery:
		s.deliver(p, m)
	case *channel.Registered:
		s.registered(p, m)
	case *channel.Occupancy:
		s.occupancy(p, m)
	case *channel.Refused:
		s.turnedAway(p, m)
	case *channel.Published:
		s.answered(p, m.Req, m.Refusal, m)
	case *channel.QueryResult:
		s.answered(p, m.Req, m.Refusal, m)
	case *channel.ListResult:
		s.answered(p, m.Req, m.Refusal, m)
	case *channel.HistoryResult:
		s.answered(p, m.Req, m.Refusal, m)
	case *channel.PresencePage:
		s.answered(p, m.Req, m.Refusal, m)
	case *channel.PresenceHeld:
		s.presenceHeld(p, m)
	}
}

// finishBatch tells owners what changed and writes what has piled up.
func (s *shard) finishBatch() {
	s.registerTouched()
	for i, c := range s.acked {
		s.sent(c, c.emit(&s.out))
		s.acked[i] = nil
	}
	s.acked = s.acked[:0]
	for i, c := range s.dirty {
		c.flush(&s.out)
		s.dirty[i] = nil
	}
	s.dirty = s.dirty[:0]
	s.frames.forget()
}

// send queues an immutable frame for a connection; it is written at the end of the batch at the latest.
func (s *shard) send(c *conn, frame []byte) {
	s.sent(c, c.out.append(frame, s.g.cfg.OutboxBytes))
}

// sent does what the outcome of an append asks for.
func (s *shard) sent(c *conn, a appended) {
	switch a {
	case first:
		s.dirty = append(s.dirty, c)
	case urgent:
		c.flush(&s.out)
	case overflow:
		c.overflow()
	}
}

// sendNew encodes a frame for one connection and queues it.
func (s *shard) sendNew(c *conn, encode func(dst []byte) []byte) {
	s.out.encode = encode(begin(s.out.encode))
	s.send(c, bytes.Clone(seal(s.out.encode, c.format)))
}

// tick looks at deadlines and asks again what was refused.
func (s *shard) tick(now time.Time) {
	s.expireAttaches(now)
	s.rouse(now)
	s.goOn()
	s.catchUp()
	for _, p := range s.parts {
		if p != nil && p.head != nil {
			s.expireRequests(p, now)
			s.pump(p, now)
		}
	}
}

// abandon answers everybody who waits for this shard; it is about to end.
func (s *shard) abandon() {
	s.in.close()
	for batch := s.in.take(nil); len(batch) > 0; batch = s.in.take(nil) {
		for i := range batch {
			switch what := batch[i].what.(type) {
			case *request:
				s.complete(what, nil, errClosed)
			case func(*shard):
				what(s)
			}
		}
	}
	for _, r := range s.requests {
		if r.then == nil && r.page == nil {
			s.complete(r, nil, errClosed)
		}
	}
}

// deliver fans one publish out. One that was heard is dropped; one that does not follow on what was heard waits for what
// is between.
func (s *shard) deliver(p *partition, d *channel.Delivery) {
	ch := p.channels[channelKey{d.App, d.Name}]
	if ch == nil || !newer(d.Serial, ch.serial) {
		return
	}
	ch.peopled = ch.peopled || d.Presence != nil
	if ch.listeners > 0 && d.Prev != "" && ch.serial != "" && channel.SerialPosition(ch.serial) != d.Prev {
		s.mend(ch)
		return
	}
	ch.serial = d.Serial
	s.fanOut(ch, d, ch.mending)
}

// occupancy tells a channel's watchers its counts.
func (s *shard) occupancy(p *partition, m *channel.Occupancy) {
	ch := p.channels[channelKey{m.App, m.Name}]
	if ch == nil || ch.watchers == 0 {
		return
	}
	for _, a := range ch.attachments {
		switch {
		case a.watch == nil:
		case a.attached:
			s.tellCounts(a, &m.Counts)
		case a.playback != nil: // the owner says it once; before Registered it is older than that
			a.watch.last = m.Counts
		}
	}
}

// frameCache holds the frames of the delivery or occupancy event that is being fanned out: one per format, name and form,
// and there are hardly ever more than two.
type frameCache struct {
	of     any // the event
	frames []cachedFrame
	forms  []form // of the event, when it is a delivery
}

// frameKey is what the bytes of an event's frame depend on.
type frameKey struct {
	format protocol.Format
	which  channel.Category
	as     variant
	base   *channel.Delivery // of a delta
	name   string
}

type cachedFrame struct {
	frameKey
	bytes []byte
}

// turn makes room for the frames of another event.
func (f *frameCache) turn(of any) {
	if f.of != of {
		f.forget()
		f.of = of
	}
}

func (f *frameCache) find(of any, key frameKey) []byte {
	f.turn(of)
	for i := range f.frames {
		if e := &f.frames[i]; e.frameKey == key {
			return e.bytes
		}
	}
	return nil
}

func (f *frameCache) keep(key frameKey, b []byte) []byte {
	frame := bytes.Clone(seal(b, key.format))
	f.frames = append(f.frames, cachedFrame{key, frame})
	return frame
}

func (f *frameCache) message(fl *flusher, format protocol.Format, name string, d *channel.Delivery) []byte {
	key := frameKey{format: format, name: name}
	if frame := f.find(d, key); frame != nil {
		return frame
	}
	if d.Presence != nil {
		fl.encode = protocol.AppendPresence(begin(fl.encode), format, name, d)
	} else {
		fl.encode = protocol.AppendMessage(begin(fl.encode), format, name, d)
	}
	return f.keep(key, fl.encode)
}

func (f *frameCache) occupancy(fl *flusher, g *Gateway, format protocol.Format, name string, c *channel.Counts, which channel.Category) []byte {
	key := frameKey{format: format, which: which, name: name}
	if frame := f.find(c, key); frame != nil {
		return frame
	}
	fl.encode = protocol.AppendOccupancy(begin(fl.encode), format, name, g.eventID(), time.Now().UnixMilli(), c, which)
	return f.keep(key, fl.encode)
}

func (f *frameCache) sync(fl *flusher, format protocol.Format, name, position string, m *channel.PresencePage) []byte {
	key := frameKey{format: format, name: name}
	if frame := f.find(m, key); frame != nil {
		return frame
	}
	fl.encode = protocol.AppendSync(begin(fl.encode), format, name, position, m.Members)
	return f.keep(key, fl.encode)
}

// forget lets go of the last event.
func (f *frameCache) forget() {
	clear(f.frames)
	clear(f.forms)
	f.of, f.frames, f.forms = nil, f.frames[:0], f.forms[:0]
}
