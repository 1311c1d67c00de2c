package channel

import (
	"sort"
	"strconv"
	"strings"
)

// A change of a message is a publish of its own in the channel's history, so it is kept, copied and told to clients that
// come back like any other. What messages have become is worked out from them and not kept anywhere else.

// extra is what few publishes have: a message that was changed, or something else to deliver than what is kept.
type extra struct {
	records []*record // by index of message; nil for those that nothing was done to
	live    *Delivery // what is delivered when the publish is shown, then nil
}

// record is what was done to one message.
type record struct {
	versions []version // the first is the message as it was created
	text     []byte    // grows with Appends; versions hold beginnings of it
	notes    []place   // its annotations that may be seen
	summary  summary   // of them
}

// version is a message after a change.
type version struct {
	number  uint64  // of the publish that made it
	message Message // with its Edit
}

// place is a message of a publish that is kept.
type place struct {
	number uint64
	index  int
}

// at finds the publish of a stamp, nil when it is not kept with its messages.
func (h *history) at(p Stamp) *entry {
	if h == nil {
		return nil
	}
	i := sort.Search(len(h.entries), func(i int) bool { return !h.entries[i].stamp.less(p) })
	if i == len(h.entries) || h.entries[i].stamp != p {
		return nil
	}
	return &h.entries[i]
}

// created finds a message by its serial. It is nil when the serial is not that of a message that was created and is kept.
func (h *history) created(serial string) (e *entry, index int) {
	text, number, ok := cutLast(serial, ':')
	if !ok {
		return nil, 0
	}
	e = h.at(parseSerial(text))
	i, err := strconv.ParseUint(number, 10, 16)
	if err != nil || e == nil || e.d.Serial != text || int(i) >= len(e.d.Messages) || e.d.Messages[i].Edit != nil {
		return nil, 0
	}
	return e, int(i)
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// messageSerial is the serial of a message of a publish: its index takes three digits at least.
func messageSerial(serial string, i int) string {
	var space [80]byte
	b := append(append(space[:0], serial...), ':')
	if i > countMax {
		return string(strconv.AppendInt(b, int64(i), 10))
	}
	return string(appendPadded(b, int64(i), 3))
}

// messageID is the id of a message of a publish that bears none itself.
func messageID(base string, i int) string { return base + ":" + strconv.Itoa(i) }

// recordOf is a message's record, made when it has none.
func (e *entry) recordOf(index int, number uint64) *record {
	if e.extra == nil {
		e.extra = &extra{}
	}
	if e.extra.records == nil {
		e.extra.records = make([]*record, len(e.d.Messages))
	}
	r := e.extra.records[index]
	if r == nil {
		m := e.named(index)
		serial := messageSerial(e.d.Serial, index)
		m.Edit = &Edit{Serial: serial, CreatedMs: e.d.TimeMs, Version: serial, VersionMs: e.d.TimeMs}
		r = &record{versions: []version{{number: number, message: m}}}
		e.extra.records[index] = r
	}
	return r
}

// known is a message's record, nil when nothing was done to it.
func (e *entry) known(index int) *record {
	if e.extra == nil || e.extra.records == nil {
		return nil
	}
	return e.extra.records[index]
}

// last is the newest version of those that publishes below a number made.
func (r *record) last(below uint64) *version {
	i := len(r.versions) - 1
	for i > 0 && r.versions[i].number >= below {
		i--
	}
	return &r.versions[i]
}

// latest is a message as it is now, with the summary of its annotations.
func (r *record) latest(below uint64) Message {
	m := r.last(below).message
	if text := r.summary.text(); text != nil {
		e := *m.Edit
		e.Summary = text
		m.Edit = &e
	}
	return m
}

// change adds the version that an edit makes of a message.
func (r *record) change(number uint64, d *Delivery) *Message {
	was, change := &r.versions[len(r.versions)-1].message, d.Messages[0]
	if change.ID == "" && d.ID != "" {
		change.ID = messageID(d.ID, 0)
	}
	edit := *change.Edit
	is, _ := mix(was, &change, edit.Action)
	if extends(was, &change, edit.Action) {
		if len(r.text) != len(was.Data) || len(r.text) > 0 && &r.text[0] != &was.Data[0] {
			r.text = append(make([]byte, 0, 2*len(was.Data)+len(change.Data)), was.Data...)
		}
		r.text = append(r.text, change.Data...)
		is.Data = r.text[:len(r.text):len(r.text)]
	}
	if edit.Action == MessageAppend {
		edit.Action = MessageUpdate
	}
	is.Edit = &edit
	r.versions = append(r.versions, version{number, is})
	return &r.versions[len(r.versions)-1].message
}

// newest is a message with all changes that were made to it, those included that are not to be seen yet.
func (e *entry) newest(index int) *Message {
	if r := e.known(index); r != nil {
		return &r.versions[len(r.versions)-1].message
	}
	return &e.d.Messages[index]
}

// checkEdits says whether the messages that a publish is about are there and may be changed by it.
func (s *State) checkEdits(p *Publish) Refusal {
	if !s.profile.Mutable {
		return NotMutable
	}
	for i := range p.Messages {
		m := &p.Messages[i]
		e, index := s.past.created(m.Edit.Serial)
		if e == nil {
			return NotFound
		}
		if m.Edit.annotates() {
			continue
		}
		was := e.newest(index)
		if p.OwnOnly && (was.ClientID == "" || was.ClientID != m.Edit.By) {
			return NotOwn
		}
		is, fits := mix(was, m, m.Edit.Action)
		size := messageBytes(&is)
		if extends(was, m, m.Edit.Action) {
			size += len(m.Data)
		}
		switch {
		case !fits:
			return NotAppendable
		case p.MaxBytes > 0 && size > p.MaxBytes:
			return TooLarge
		}
	}
	return Accepted
}

// complete fills in what only the owner knows of a publish that edits: a change then has all of the message. Appends stay
// what they are, or a text that grows bit by bit would be kept as often.
func (s *State) complete(d *Delivery) {
	d.Messages = append([]Message(nil), d.Messages...) // the publisher's gateway may say it again
	for i := range d.Messages {
		m := &d.Messages[i]
		e := *m.Edit
		m.Edit = &e
		e.Version, e.VersionMs = messageSerial(d.Serial, i), d.TimeMs
		from, index := s.past.created(e.Serial)
		e.CreatedMs = from.d.TimeMs
		if e.annotates() {
			continue
		}
		is, _ := mix(from.newest(index), m, e.Action)
		if e.Action == MessageAppend {
			is.Kind, is.Data, is.Encoding = m.Kind, m.Data, m.Encoding
		}
		is.Edit = &e
		*m = is
	}
}

// keepEdit works out what the entry just added does to others.
func (h *history) keepEdit() {
	i := len(h.entries) - 1
	e := &h.entries[i]
	if m := h.link(e, h.first+uint64(i)); m != nil && e.d.Messages[0].Edit.Action == MessageAppend {
		e.extra = &extra{live: whole(e.d, m)}
	}
}

// whole is an Append with all of its message.
func whole(d *Delivery, is *Message) *Delivery {
	live, m := *d, d.Messages[0]
	edit, all := *m.Edit, *is
	all.Edit = nil
	edit.Whole, m.Edit = &all, &edit
	live.Messages = []Message{m}
	return &live
}

// link works out what the entry of a change makes of its message. Annotations are counted when they may be seen.
func (h *history) link(e *entry, number uint64) *Message {
	if e.d.Messages[0].Edit.annotates() {
		return nil
	}
	from, index := h.created(e.d.Messages[0].Edit.Serial)
	if from == nil {
		return nil
	}
	m := from.recordOf(index, h.number(from)).change(number, e.d)
	more := messageCost + len(e.d.Messages[0].Data) // by estimate: versions share what they can
	h.bytes += more
	e.size += more
	return m
}

// number is that of an entry.
func (h *history) number(e *entry) uint64 {
	i := sort.Search(len(h.entries), func(i int) bool { return !h.entries[i].stamp.less(e.stamp) })
	return h.first + uint64(i)
}

// note counts the annotations of an entry that may be seen from now on.
func (h *history) note(e *entry, number uint64) {
	for i := range e.d.Messages {
		m := &e.d.Messages[i]
		if m.Edit == nil || !m.Edit.annotates() {
			return
		}
		if from, index := h.created(m.Edit.Serial); from != nil {
			r := from.recordOf(index, h.number(from))
			r.notes = append(r.notes, place{number, i})
			r.summary.take(m)
		}
	}
}

// relink works all out again, for a history that was another owner's.
func (h *history) relink() {
	for i := range h.entries {
		h.entries[i].extra = nil
	}
	for i := range h.entries {
		if e := &h.entries[i]; edits(e.d.Messages) {
			h.link(e, h.first+uint64(i))
			h.note(e, h.first+uint64(i))
		}
	}
}

// reveal is what an entry that may be seen from now on is delivered as.
func (h *history) reveal(i int) *Delivery {
	e := &h.entries[i]
	switch {
	case e.extra != nil && e.extra.live != nil:
		d := e.extra.live
		e.extra = nil
		return d
	case edits(e.d.Messages) && e.d.Messages[0].Edit.annotates():
		h.note(e, h.first+uint64(i))
		return h.retold(e)
	}
	return e.d
}

// retold is an entry as it is delivered to who hears of it only now: with what came of it since.
func (h *history) retold(e *entry) *Delivery {
	if !edits(e.d.Messages) || e.d.Messages[0].Edit.Action == MessageUpdate || e.d.Messages[0].Edit.Action == MessageDelete {
		return e.d
	}
	d := *e.d
	d.Messages = append([]Message(nil), e.d.Messages...)
	for i := range d.Messages {
		from, index := h.created(d.Messages[i].Edit.Serial)
		if from == nil || from.known(index) == nil {
			continue
		}
		edit := *d.Messages[i].Edit
		now := from.known(index).latest(h.first + uint64(h.shown))
		if !edit.annotates() {
			return whole(e.d, &now)
		}
		if edit.Summary = now.Edit.Summary; edit.Summary == nil {
			edit.Summary = []byte("{}")
		}
		d.Messages[i].Edit = &edit
	}
	return &d
}

// present is a publish with its messages as they are now. It is nil when it is about messages elsewhere.
func (h *history) present(e *entry) *Delivery {
	switch {
	case edits(e.d.Messages):
		return nil
	case e.extra == nil || e.extra.records == nil:
		return e.d
	}
	d := *e.d
	d.Messages = append([]Message(nil), e.d.Messages...)
	for i, r := range e.extra.records {
		if r != nil {
			d.Messages[i] = r.latest(h.first + uint64(h.shown))
		}
	}
	return &d
}
