package dispatch

import (
	"time"

	"innkeeper/channel"
)

// tapKey is a channel of an app.
type tapKey struct{ app, channel string }

// tapEntry is a channel with something to tell to one rule.
type tapEntry struct {
	part   uint32
	epoch  uint64
	cursor string // position up to which this rule was told; "": nobody knows
	what   channel.Taps
	queued bool
	busy   bool // in flight
	over   bool // the tenure ended while it was
	rested bool // it was told a moment ago, and is in resting
}

// tapRest is a channel that is not told again before a time.
type tapRest struct {
	key   tapKey
	until time.Time
}

// tapTurn is a channel whose news are to be told now.
type tapTurn struct {
	tapKey
	part   uint32
	epoch  uint64
	cursor string
	what   channel.Taps
}

// tapDone is how a turn ended.
type tapDone struct {
	tapTurn
	told string // position up to which it was told now
	more bool   // there is more behind it
	ok   bool   // all that was read was accepted

	counts channel.Counts // that were read, of a turn that tells them
}

// tapQueue is what there is to know about telling one rule's target: which channels have news, how far each was told,
// what is in flight, when to try again. A channel has one turn at a time, so its news stay in order. It is pure: it is told
// the time and what happened, and asked what to do.
type tapQueue struct {
	lanes    int           // turns in flight at most, each with one request at a time
	turns    int           // channels in a turn at most
	rest     time.Duration // least time between two turns of a channel; 0: none
	entries  map[tapKey]*tapEntry
	ready    []tapKey
	resting  []tapRest // by time
	inFlight int       // turns
	failures int       // in a row
	retryAt  time.Time // not before; then one request at a time until one is accepted
}

func newTapQueue(lanes, turns int, rest time.Duration) *tapQueue {
	return &tapQueue{lanes: lanes, turns: turns, rest: rest, entries: make(map[tapKey]*tapEntry)}
}

// news takes in that a channel has some.
func (q *tapQueue) news(n *channel.News, what channel.Taps) {
	key := tapKey{n.App, n.Name}
	e := q.entries[key]
	if e == nil {
		e = &tapEntry{cursor: n.Told}
		q.entries[key] = e
	}
	if n.Epoch < e.epoch {
		return
	}
	e.part, e.epoch, e.over = n.Part, n.Epoch, false
	e.cursor = max(e.cursor, n.Told)
	e.what |= what
	q.enqueue(key, e)
}

func (q *tapQueue) enqueue(key tapKey, e *tapEntry) {
	if !e.queued && !e.busy && !e.rested {
		e.queued = true
		q.ready = append(q.ready, key)
	}
}

// end forgets the channels of a tenure that is over.
func (q *tapQueue) end(part uint32, epoch uint64) {
	for key, e := range q.entries {
		if e.part != part || e.epoch > epoch {
			continue
		}
		if e.over = e.busy; !e.busy {
			delete(q.entries, key) // in ready it is passed over
		}
	}
}

// next returns the channels of a turn that is to begin now; none when there is nothing to do.
func (q *tapQueue) next(now time.Time) []tapTurn {
	for len(q.resting) > 0 && !now.Before(q.resting[0].until) {
		key := q.resting[0].key
		q.resting = q.resting[1:]
		if e := q.entries[key]; e != nil && e.rested {
			e.rested = false
			q.keep(key, e)
		}
	}
	if q.inFlight >= q.lanes || q.failures > 0 && (q.inFlight > 0 || now.Before(q.retryAt)) {
		return nil
	}
	var turns []tapTurn
	for len(q.ready) > 0 && len(turns) < q.turns {
		key := q.ready[0]
		q.ready = q.ready[1:]
		e := q.entries[key]
		if e == nil || !e.queued {
			continue
		}
		turns = append(turns, tapTurn{key, e.part, e.epoch, e.cursor, e.what})
		e.queued, e.busy, e.what = false, true, 0
	}
	if len(q.ready) == 0 {
		q.ready = nil
	}
	if turns != nil {
		q.inFlight++
	}
	return turns
}

// advance takes in how far a channel was told while its turn goes on.
func (q *tapQueue) advance(key tapKey, told string) {
	if e := q.entries[key]; e != nil {
		e.cursor = max(e.cursor, told)
	}
}

// over says whether a channel whose turn goes on is another owner's business by now.
func (q *tapQueue) over(key tapKey) bool {
	e := q.entries[key]
	return e == nil || e.over
}

// done takes in how a turn ended. failed says that the target did not accept all of it.
func (q *tapQueue) done(now time.Time, turns []tapDone, failed bool, jitter float64) {
	q.inFlight--
	if failed {
		q.failures++
		q.retryAt = now.Add(backoff(q.failures, jitter))
	} else {
		q.failures = 0
	}
	for _, d := range turns {
		e := q.entries[d.tapKey]
		if e == nil {
			continue
		}
		e.busy = false
		if e.over {
			delete(q.entries, d.tapKey)
			continue
		}
		e.cursor = max(e.cursor, d.told)
		if !d.ok || d.more {
			e.what |= d.what
		}
		if q.rest > 0 && d.ok {
			e.rested = true
			q.resting = append(q.resting, tapRest{d.tapKey, now.Add(q.rest)})
			continue
		}
		q.keep(d.tapKey, e)
	}
}

// keep queues a channel that has something to tell. One that has not is forgotten where there is no position to remember;
// else it is idle until forget.
func (q *tapQueue) keep(key tapKey, e *tapEntry) {
	switch {
	case e.what != 0:
		q.enqueue(key, e)
	case q.rest > 0:
		delete(q.entries, key)
	}
}

// idle says whether there is nothing to tell of a channel.
func (q *tapQueue) idle(key tapKey) bool {
	e := q.entries[key]
	return e == nil || e.what == 0 && !e.busy
}

// forget drops an idle channel: its position is kept elsewhere.
func (q *tapQueue) forget(key tapKey) { delete(q.entries, key) }

// told is how far a channel was told, where that is remembered here.
func (q *tapQueue) told(key tapKey) (cursor string, known bool) {
	if e := q.entries[key]; e != nil {
		return e.cursor, true
	}
	return "", false
}

// wake is when next may have something to do without anything else happening; the zero time if never.
func (q *tapQueue) wake() time.Time {
	var at time.Time
	if q.failures > 0 && q.inFlight == 0 && len(q.ready) > 0 {
		at = q.retryAt
	}
	if len(q.resting) > 0 && (at.IsZero() || q.resting[0].until.Before(at)) {
		at = q.resting[0].until
	}
	return at
}
