package dispatch

import (
	"time"

	"innkeeper/cluster/ring"
)

// limits bound what one rule does at once.
type limits struct {
	lanes       int           // requests in flight at most
	batch       int           // events in a request at most
	window      int           // events held at most, read but not yet passed by the cursor
	linger      time.Duration // how long a lane waits for a batch to fill
	commitEvery time.Duration // least time between two commits of the cursor …
	commitAfter uint64        // … unless it has moved this far
	reach       uint64        // how far what is sent may be ahead of the committed cursor
}

// lane is a queue of events with at most one request in flight. All events of a channel are in one lane.
type lane struct {
	queue    []Event
	busy     int       // events at the head of the queue that are in flight; 0 when none are
	tried    int       // events of the request that failed: a batch is sent again as it was; 0 when none did
	failures int       // in a row
	ready    time.Time // not before: linger or backoff
}

// pump is what there is to know about sending one rule's events: which are read, which lane they wait in, which are in
// flight, when to try again, and how far the cursor may go. It is pure: it is told the time and what happened, and asked
// what to do; the goroutine that owns it does it.
type pump struct {
	limits limits
	prefix prefix
	lanes  []lane

	committed  uint64    // the cursor in the log
	delivered  bool      // something was sent since the last commit
	committing bool      // a commit is in flight
	commitAt   time.Time // not before
	commitFail int       // in a row
}

// newPump starts behind the cursor that the log has.
func newPump(l limits, cursor uint64) *pump {
	return &pump{limits: l, prefix: prefix{read: cursor}, lanes: make([]lane, l.lanes), committed: cursor}
}

// laneOf says which lane a channel's events go through.
func laneOf(app, channel string, lanes int) int {
	return int(ring.Hash(app, channel) % uint64(lanes))
}

// position is the seq behind which to read on.
func (p *pump) position() uint64 { return p.prefix.read }

// room is how many events may be read now.
func (p *pump) room() int {
	if p.position() >= p.reach() {
		return 0
	}
	return p.limits.window - p.prefix.held()
}

// reach is the highest seq that may be sent now.
func (p *pump) reach() uint64 { return p.committed + p.limits.reach }

// take queues one event to be sent. Events come in order of seq; drop is for those nobody wants.
func (p *pump) take(now time.Time, e Event) {
	p.prefix.add(e.Seq)
	l := &p.lanes[laneOf(e.App, e.Channel, len(p.lanes))]
	if len(l.queue) == 0 {
		l.ready = now.Add(p.limits.linger)
	}
	l.queue = append(l.queue, e)
}

// drop says that everything up to seq has been read and nothing else in it needs to be sent.
func (p *pump) drop(seq uint64) {
	if seq > p.prefix.read {
		p.prefix.skip(seq)
	}
}

// next returns a batch that is to be sent now, and its lane. The lane is in flight from here until sent or failed.
func (p *pump) next(now time.Time) (lane int, batch []Event, ok bool) {
	for i := range p.lanes {
		l := &p.lanes[i]
		if l.busy > 0 || len(l.queue) == 0 {
			continue
		}
		full := l.failures == 0 && len(l.queue) >= p.limits.batch
		if !full && now.Before(l.ready) {
			continue
		}
		if l.busy = l.tried; l.busy == 0 {
			l.busy = min(len(l.queue), p.limits.batch)
		}
		return i, l.queue[:l.busy:l.busy], true
	}
	return 0, nil, false
}

// sent says that the lane's request was accepted. A lane that comes back to life wakes the others that wait for a retry:
// the sink is probably well again. A lane that keeps failing among healthy ones is not woken by those.
func (p *pump) sent(now time.Time, lane int) {
	l := &p.lanes[lane]
	for _, e := range l.queue[:l.busy] {
		p.prefix.finish(e.Seq)
	}
	if l.queue = l.queue[l.busy:]; len(l.queue) == 0 {
		l.queue = nil
	}
	recovered := l.failures > 0
	l.busy, l.tried, l.failures, l.ready = 0, 0, 0, now
	p.delivered = true
	if !recovered {
		return
	}
	for i := range p.lanes {
		if o := &p.lanes[i]; o.busy == 0 && o.failures > 0 && o.ready.After(now) {
			o.ready = now
		}
	}
}

// failed says that the lane's request was not accepted, or that nobody knows. The same events are sent again later.
func (p *pump) failed(now time.Time, lane int, jitter float64) {
	l := &p.lanes[lane]
	l.busy, l.tried = 0, l.busy
	l.failures++
	l.ready = now.Add(backoff(l.failures, jitter))
}

// commit returns the cursor that is to be committed now. The commit is in flight from here until settled.
func (p *pump) commit(now time.Time) (seq uint64, ok bool) {
	seq = p.prefix.cursor()
	if p.committing || seq <= p.committed {
		return 0, false
	}
	urgent := p.commitFail == 0 && seq-p.committed >= p.limits.commitAfter
	if !urgent && now.Before(p.commitDue()) {
		return 0, false
	}
	p.committing, p.delivered = true, false
	return seq, true
}

// commitDue is when the next commit may be made. Where only events that nobody wants were passed there is no hurry: all
// that is saved is reading them again.
func (p *pump) commitDue() time.Time {
	if p.delivered || p.commitFail > 0 {
		return p.commitAt
	}
	return p.commitAt.Add(9 * p.limits.commitEvery)
}

// settled says how the commit of seq ended.
func (p *pump) settled(now time.Time, seq uint64, err error, jitter float64) {
	p.committing = false
	if err != nil {
		p.commitFail++
		p.commitAt = now.Add(backoff(p.commitFail, jitter))
		return
	}
	p.commitFail = 0
	p.committed = seq
	p.commitAt = now.Add(p.limits.commitEvery)
}

// wake is when next or commit may have something to do without anything else happening; the zero time if never.
func (p *pump) wake() time.Time {
	var at time.Time
	earlier := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for i := range p.lanes {
		if l := &p.lanes[i]; l.busy == 0 && len(l.queue) > 0 {
			earlier(l.ready)
		}
	}
	if !p.committing && p.prefix.cursor() > p.committed {
		earlier(p.commitDue())
	}
	return at
}

// waiting says whether a lane waits for a retry.
func (p *pump) waiting() bool {
	for i := range p.lanes {
		if l := &p.lanes[i]; l.failures > 0 && l.busy == 0 {
			return true
		}
	}
	return false
}

// oldest is when the oldest event that is read and not accepted was decided, Unix milliseconds; ok is false if there is
// none. Every lane has its own in order.
func (p *pump) oldest() (timeMs int64, ok bool) {
	var first *Event
	for i := range p.lanes {
		if q := p.lanes[i].queue; len(q) > 0 && (first == nil || q[0].Seq < first.Seq) {
			first = &q[0]
		}
	}
	if first == nil {
		return 0, false
	}
	return first.TimeMs, true
}

// inFlight is how many requests are.
func (p *pump) inFlight() (n int) {
	for i := range p.lanes {
		if p.lanes[i].busy > 0 {
			n++
		}
	}
	return n
}
