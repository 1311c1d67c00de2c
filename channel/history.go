package channel

import (
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// historyBytes is what one channel keeps of its messages at most, by estimate. The oldest go first.
	historyBytes = 4 << 20
	// historyIDs is how many ids of publishes a channel knows again at most, those whose messages are gone included.
	historyIDs = 1 << 16
	// indexFrom is from how many publishes on ids are looked up in a map.
	indexFrom = 16
	// entryCost is what a publish takes beside its texts and payloads.
	entryCost = 256
	// messageCost is what a message takes beside its texts and payload.
	messageCost = 128
	// editCost is what an Edit takes beside its longer texts.
	editCost = 320
	// expirySlack is the part of the retention by which entries may outlive it, so that a busy channel does not wake up
	// for each of them.
	expirySlack = 8
)

// history is what a channel keeps of its publishes for as long as its retention: the Deliveries themselves, which are
// immutable and shared with those who sent them, and the ids by which a publish that is said again is known. When the
// messages take too much room the oldest are let go and only their ids stay, as they do for a while when messages are too
// old.
//
// Publishes behind shown are not to be seen yet: they wait for the follower's copy.
type history struct {
	entries []entry // in order of serial
	first   uint64  // number of entries[0], counted over the life of the history
	shown   int     // entries that may be seen
	bytes   int
	index   map[uint64]uint64 // hash of id → number; nil while there are few
	old     *knownIDs         // ids of publishes that are not in entries any more; nil when there are none
	waits   []wait            // answers that are due when their publish is shown
	safe    Stamp             // publishes up to here may be shown
	turns   turns             // nil unless owners before, of whose histories there is no copy, may have taken publishes
	ahead   Stamp             // publishes up to here are in the copy that was the last to grow, if it is whole
}

type entry struct {
	d     *Delivery
	key   uint64 // hash of its id
	stamp Stamp
	at    time.Duration
	size  int
	extra *extra // nil for almost all
}

// same says whether a publish with the entry's id is the entry's. An id that is made of the publisher's connection id is
// that connection's alone: others cannot take it away by using it first.
func (e *entry) same(p *Publish) bool {
	return e.d.ConnID == p.ConnID || !ownID(e.d.ConnID, e.d.ID) && !ownID(p.ConnID, p.ID)
}

func ownID(conn, id string) bool {
	return conn != "" && len(id) > len(conn) && id[len(conn)] == ':' && id[:len(conn)] == conn
}

// await keeps a publisher's wait; from 0 nobody waits.
func (h *history) await(w wait) {
	if w.from != 0 {
		h.waits = append(h.waits, w)
	}
}

// wait is a publisher that is answered when a publish can be seen.
type wait struct {
	number uint64
	from   Gateway
	req    uint64
}

// deliverySize is what a Delivery takes in memory, by estimate.
func deliverySize(d *Delivery) int {
	n := entryCost
	for i := range d.Messages {
		m := &d.Messages[i]
		n += messageCost + len(m.ID) + len(m.Name) + len(m.ClientID) + len(m.Encoding) + len(m.Data) + len(m.Extras)
		if e := m.Edit; e != nil {
			n += editCost + len(e.Description) + len(e.Metadata) + len(e.Summary)
		}
	}
	for i := range d.Presence {
		n += d.Presence[i].size()
	}
	return n
}

// find gives the entry of an id, nil when there is none. A publish without an id is never known again.
func (h *history) find(id string) (*entry, uint64) {
	if id == "" {
		return nil, 0
	}
	if h.index != nil {
		if n, ok := h.index[xxhash.Sum64String(id)]; ok {
			if e := &h.entries[n-h.first]; e.d.ID == id {
				return e, n
			}
		}
		return nil, 0
	}
	for i := len(h.entries) - 1; i >= 0; i-- {
		if h.entries[i].d.ID == id {
			return &h.entries[i], h.first + uint64(i)
		}
	}
	return nil, 0
}

// add appends a publish that is not shown yet and lets go what there is no room for. The stamp of the last messages
// let go is returned, zero when there are none.
func (h *history) add(stamp Stamp, at time.Duration, d *Delivery) (lost Stamp) {
	e := entry{d: d, key: xxhash.Sum64String(d.ID), stamp: stamp, at: at, size: deliverySize(d)}
	h.entries = append(h.entries, e)
	h.bytes += e.size
	if h.index != nil {
		h.index[e.key] = h.first + uint64(len(h.entries)-1)
	} else if len(h.entries) > indexFrom {
		h.index = make(map[uint64]uint64, 2*indexFrom)
		for i := range h.entries {
			h.index[h.entries[i].key] = h.first + uint64(i)
		}
	}
	n, bytes := 0, h.bytes
	for ; bytes > historyBytes && n < h.shown; n++ {
		bytes -= h.entries[n].size
		lost = h.entries[n].stamp
		h.remember(&h.entries[n])
	}
	h.drop(n)
	if over := len(h.entries) + h.old.len() - historyIDs; over > 0 {
		ids := min(over, h.old.len())
		h.forgetIDs(ids)
		if over -= ids; over > 0 && over <= h.shown {
			lost = maxStamp(lost, h.entries[over-1].stamp)
			h.drop(over)
		}
	}
	return lost
}

// light is a publish without its messages: what is needed to know it again. It pins no frame.
func (d *Delivery) light() *Delivery {
	return &Delivery{
		Serial: strings.Clone(d.Serial), Prev: strings.Clone(d.Prev), ID: strings.Clone(d.ID), ConnID: strings.Clone(d.ConnID),
		TimeMs: d.TimeMs,
	}
}

// drop forgets the first n entries.
func (h *history) drop(n int) {
	for i := range n {
		e := &h.entries[i]
		h.bytes -= e.size
		if h.index != nil && h.index[e.key] == h.first+uint64(i) {
			delete(h.index, e.key)
		}
		*e = entry{}
	}
	h.entries = h.entries[n:] // append moves what is left when the room behind it is used up
	h.first += uint64(n)
	h.shown -= n
}

// expire forgets what was published at or before a time, and returns the stamp of the last of it, zero for nothing. Ids by
// which connections may say it again stay unless it was published at or before known.
func (h *history) expire(before, known time.Duration) (gone Stamp) {
	n := 0
	for ; n < h.shown && h.entries[n].at <= before; n++ {
		e := &h.entries[n]
		if gone = e.stamp; e.at > known && e.d.ConnID != "" && e.d.Presence == nil {
			h.remember(e)
		}
	}
	h.drop(n)
	h.expireIDs(known)
	return gone
}

// fresh says that expire would find nothing.
func (h *history) fresh(before, known time.Duration) bool {
	return (len(h.entries) == 0 || h.entries[0].at > before) && (h.old == nil || h.old.list[0].at > known)
}

// empty says that nothing is left of it.
func (h *history) empty() bool { return len(h.entries) == 0 && h.old == nil }

// has reports whether a publish with this stamp is kept.
func (h *history) has(p Stamp) bool {
	if h == nil {
		return false
	}
	_, found := slices.BinarySearchFunc(h.entries, p, func(e entry, p Stamp) int {
		switch {
		case e.stamp.less(p):
			return -1
		case p.less(e.stamp):
			return 1
		}
		return 0
	})
	return found
}

// visible is the part that may be seen.
func (h *history) visible() []entry {
	if h == nil {
		return nil
	}
	return h.entries[:h.shown]
}

func maxStamp(p, q Stamp) Stamp {
	if p.less(q) {
		return q
	}
	return p
}

// expireHistory forgets what is older than the retention.
func (s *State) expireHistory(now Moment) {
	h := s.past
	if h == nil {
		return
	}
	before, known := now.Since-s.profile.Retention, now.Since-s.profile.idRetention()
	if h.fresh(before, known) {
		return
	}
	s.expired = maxStamp(s.expired, h.expire(before, known))
	if h.empty() {
		s.past = nil
	}
}

// covers reports that whoever has seen all up to p would miss nothing with what the history holds.
func (s *State) covers(p Stamp) bool {
	return p != (Stamp{}) && !p.less(s.since) && !p.less(s.expired)
}

// recall answers a History. It neither opens the channel nor keeps it open, and what it names changes nothing: After may be
// what a client claims to have seen.
func (s *State) recall(now Moment, q *History) *HistoryResult {
	if !now.Leased || s.waiting {
		return &HistoryResult{Req: q.Req, Refusal: NotOwner}
	}
	s.expireHistory(now)
	after, until := parseSerial(q.After), parseSerial(q.Until)
	complete := q.After == "" || s.covers(after) && (q.Backwards || s.vouches(after))
	r := &HistoryResult{Req: q.Req, Serial: s.shown.serial(s.profile.Series), Complete: complete}
	pick := picker{q: q, h: s.past, after: after, until: until, r: r}
	list := s.past.visible()
	for i := range list {
		e := &list[i]
		if q.Backwards {
			e = &list[len(list)-1-i]
		}
		if !pick.take(e) {
			break
		}
	}
	return r
}

// The bounds of one HistoryResult.
const (
	resultMessages = 1000
	resultBytes    = 256 << 10
)

// picker gathers the Deliveries of a HistoryResult.
type picker struct {
	q            *History
	h            *history
	after, until Stamp
	r            *HistoryResult
	messages     int
	bytes        int
}

// take looks at one entry; false: there is no more to be had.
func (p *picker) take(e *entry) bool {
	q := p.q
	switch {
	case q.Of == OnlyMessages && len(e.d.Messages) == 0, q.Of == OnlyPresence && len(e.d.Presence) == 0:
		return true
	case !p.after.less(e.stamp):
		return !q.Backwards
	case q.Until != "" && p.until.less(e.stamp):
		return q.Backwards
	case q.StartMs > 0 && e.d.TimeMs < q.StartMs, q.EndMs > 0 && e.d.TimeMs > q.EndMs:
		return true
	}
	d := e.d
	if q.Raw {
		d = p.h.retold(e)
	} else {
		d = p.h.present(e)
	}
	if d == nil || len(d.Messages)+len(d.Presence) == 0 {
		return true // a change, which shows where the message is; or not kept
	}
	limit := q.Limit
	if limit < 1 || limit > resultMessages {
		limit = resultMessages
	}
	if p.messages >= limit || p.bytes >= resultBytes {
		p.r.More = true
		return false
	}
	p.messages += len(d.Messages) + len(d.Presence)
	p.bytes += e.size
	p.r.Deliveries = append(p.r.Deliveries, d)
	return true
}

// pending reports publishes that wait for their copy.
func (h *history) pending() bool { return h != nil && h.shown < len(h.entries) }

// ripe reports publishes that waited and may be shown.
func (h *history) ripe() bool { return h.pending() && !h.safe.less(h.entries[h.shown].stamp) }

// release shows what has a copy now: it is delivered and its publishers are answered.
func (s *State) release(effects []Effect) []Effect {
	h := s.past
	for h.ripe() {
		e := &h.entries[h.shown]
		number := h.first + uint64(h.shown)
		h.shown++
		s.shown = maxStamp(s.shown, e.stamp)
		effects = s.deliver(h.reveal(h.shown-1), effects)
		left := h.waits[:0]
		for _, w := range h.waits {
			if w.number == number {
				effects = append(effects, Effect{To: w.from, Message: &Published{Req: w.req, Serial: e.d.Serial}})
			} else {
				left = append(left, w)
			}
		}
		clear(h.waits[len(left):])
		h.waits = left
	}
	return effects
}

// copied takes in how far a copy goes.
func (s *State) copied(now Moment, in Input) {
	h := s.past
	switch {
	case h == nil:
	case in.Stream == 0:
		if now.Stream == 0 {
			h.safe = s.last
		}
	case in.Stream == now.Growing:
		h.ahead = maxStamp(h.ahead, in.Copied)
	case in.Stream == now.Stream:
		h.safe = maxStamp(h.safe, in.Copied)
		if s.copies[1] == in.Stream {
			h.safe = maxStamp(h.safe, h.ahead)
		}
	}
}

// places says which copies have all that is kept, so that what comes is to be sent to them.
func (s *State) places(now Moment) (to CopyPlace) {
	if now.Stream != 0 && (s.copies[0] == now.Stream || s.copies[1] == now.Stream) {
		to |= ToWhole
	}
	if now.Growing != 0 && s.copies[1] == now.Growing {
		to |= ToGrowing
	}
	return to
}

// join says that the copy of a stream has all that is kept from now on, beside the whole one if there is one.
func (s *State) join(whole, stream uint64) {
	if s.copies[1] == whole {
		s.copies[0] = whole
	}
	s.copies[1] = stream
	if s.past != nil {
		s.past.ahead = s.last // when it is whole, it has got what was sent of old
	}
}

// copyAll sends what is kept to the copy that grows: the members and some of the publishes behind in.Copied, or all of
// what is left of them. Then what is published from now on follows.
func (s *State) copyAll(now Moment, in Input, effects []Effect) []Effect {
	if in.Stream != now.Growing {
		return effects // over already
	}
	if in.Copied == (Stamp{}) {
		effects = s.copyPresence(effects)
	}
	if s.past != nil {
		list := s.past.entries
		i, _ := slices.BinarySearchFunc(list, in.Copied, func(e entry, after Stamp) int {
			if after.less(e.stamp) {
				return 1
			}
			return -1
		})
		for bytes := 0; i < len(list); i++ {
			if bytes >= partBytes {
				return effects
			}
			bytes += list[i].size
			effects = append(effects, Effect{Copy: ToGrowing, Old: true, Message: list[i].d})
		}
	}
	s.join(now.Stream, in.Stream)
	return effects
}

// joined says whether the copy of a stream has all that is kept.
func (s *State) joined(stream uint64) bool { return s.copies[1] == stream }
