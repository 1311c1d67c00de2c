package channel

// LookupWhat says what of a message is asked for.
type LookupWhat uint8

// What can be asked for.
const (
	LookupMessage     LookupWhat = iota // the message as it is now
	LookupVersions                      // all its versions, the oldest first
	LookupAnnotations                   // its annotations, the oldest first
)

// Lookup asks for one message by its serial. It never opens the channel nor keeps it open. The answer is a
// HistoryResult whose Deliveries have one message each; its Refusal is NotFound when the message is not kept.
type Lookup struct {
	App, Name string
	Req       uint64
	What      LookupWhat
	Serial    string
	After     int // without so many of the first ones
	Limit     int // out of 1..1000: 1000
}

func (*Lookup) toOwner() {}

// lookup answers a Lookup. It neither opens the channel nor keeps it open.
func (s *State) lookup(now Moment, q *Lookup) *HistoryResult {
	r := &HistoryResult{Req: q.Req}
	if !now.Leased || s.waiting {
		r.Refusal = NotOwner
		return r
	}
	s.expireHistory(now)
	r.Serial, r.Complete = s.shown.serial(s.profile.Series), true
	h := s.past
	e, index := h.created(q.Serial)
	if e == nil || h.number(e) >= h.first+uint64(h.shown) {
		r.Refusal = NotFound
		return r
	}
	below := h.first + uint64(h.shown)
	one := func(of *entry, m Message) *Delivery {
		d := *of.d
		d.Messages = []Message{m}
		return &d
	}
	record := e.known(index)
	if record == nil {
		if q.What != LookupAnnotations {
			// Made for the answer alone: nothing was done to the message.
			bare := *e
			bare.extra = nil
			r.Deliveries = []*Delivery{one(e, bare.recordOf(index, below-1).latest(below))}
		}
		return r
	}
	limit := q.Limit
	if limit < 1 || limit > resultMessages {
		limit = resultMessages
	}
	bytes := 0
	full := func(d *Delivery) bool {
		if len(r.Deliveries) == limit || bytes > resultBytes {
			r.More = true
			return true
		}
		r.Deliveries = append(r.Deliveries, d)
		bytes += deliverySize(d)
		return false
	}
	switch q.What {
	case LookupMessage:
		r.Deliveries = []*Delivery{one(e, record.latest(below))}
	case LookupVersions:
		for i := max(q.After, 0); i < len(record.versions); i++ {
			if v := &record.versions[i]; i > 0 && v.number >= below || full(one(e, v.message)) {
				break
			}
		}
	case LookupAnnotations:
		for _, n := range record.notes[min(max(q.After, 0), len(record.notes)):] {
			of := &h.entries[n.number-h.first]
			if full(one(of, of.named(n.index))) {
				break
			}
		}
	}
	return r
}

// named is a message of an entry with its id.
func (e *entry) named(index int) Message {
	m := e.d.Messages[index]
	if m.ID == "" && e.d.ID != "" {
		m.ID = messageID(e.d.ID, index)
	}
	return m
}
