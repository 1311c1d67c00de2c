package channel

import "math"

// Frames of presence, of both directions, and those that carry holds or members. Payloads stand with their member:
// unlike messages they are mostly small or absent.
const (
	framePresenceChange byte = 0x32
	framePresenceQuery  byte = 0x33

	framePresenceDelivery byte = 0x38
	framePresenceHeld     byte = 0x39
	framePresencePage     byte = 0x3a
)

func (w *writer) bytes(b []byte) {
	w.uint(uint64(len(b)))
	*w = append(*w, b...)
}

// member writes a member; what is conn is left out where it is the connection's id.
func (w *writer) member(m *Member, conn string) {
	w.byte(byte(m.Action)<<4 | byte(m.Kind)<<1 | bit(m.ConnID == conn))
	if m.ConnID != conn {
		w.text(m.ConnID)
	}
	w.text(m.ClientID)
	w.text(m.ID)
	w.int(m.TimeMs)
	w.text(m.Encoding)
	w.bytes(m.Data)
	w.bytes(m.Extras)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (w *writer) members(list []Member, conn string) {
	w.uint(uint64(len(list)))
	for i := range list {
		w.member(&list[i], conn)
	}
}

// memberSizeMin is the least a member takes.
const memberSizeMin = 7

func (r *reader) members(conn string) []Member {
	n := r.many(memberSizeMin)
	if n == 0 {
		return nil
	}
	list := make([]Member, n)
	for i := range list {
		m := &list[i]
		head := r.byte()
		m.Action, m.Kind = PresenceAction(head>>4), DataKind(head>>1&7)
		if m.Action > Update || m.Kind > BinaryData {
			r.fail("unknown action or kind of data of a member")
			return nil
		}
		m.ConnID = conn
		if head&1 == 0 {
			m.ConnID = r.string()
		}
		m.ClientID, m.ID, m.TimeMs, m.Encoding = r.string(), r.string(), r.int(), r.string()
		m.Data, m.Extras = r.bytes(), r.bytes()
		if r.err != nil {
			return nil
		}
	}
	return list
}

// bytes reads a payload, nil for an empty one.
func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(r.left()) {
		r.fail("payload cut short")
		return nil
	}
	if n == 0 {
		return nil
	}
	r.at += int(n)
	return []byte(r.text[r.at-int(n) : r.at])
}

func (w *writer) holds(list []Hold) {
	w.uint(uint64(len(list)))
	for i := range list {
		h := &list[i]
		w.text(h.ConnID)
		w.uint(h.Era)
		w.byte(byte(h.State)<<1 | bit(h.Whole))
		w.int(h.RemainMs)
		w.int(h.Taken)
		w.members(h.Members, h.ConnID)
	}
}

// holdSizeMin is the least a hold takes.
const holdSizeMin = 6

func (r *reader) holds() []Hold {
	n := r.many(holdSizeMin)
	if n == 0 {
		return nil
	}
	list := make([]Hold, n)
	for i := range list {
		h := &list[i]
		h.ConnID, h.Era = r.string(), r.uint()
		head := r.byte()
		if h.State, h.Whole = HoldState(head>>1), head&1 == 1; h.State > HoldOver {
			r.fail("unknown state of a hold")
		}
		h.RemainMs, h.Taken, h.Members = r.int(), r.int(), r.members(h.ConnID)
		if r.err != nil {
			return nil
		}
	}
	return list
}

func (w *writer) presenceChange(m *PresenceChange) {
	w.byte(framePresenceChange)
	w.uint(m.Req)
	w.name(m.App, m.Name)
	w.text(m.ConnID)
	w.uint(m.Era)
	w.int(m.RemainMs)
	w.int(m.MsgSerial)
	w.text(m.ID)
	w.members(m.Members, m.ConnID)
}

func (r *reader) presenceChange() *PresenceChange {
	m := &PresenceChange{
		Req: r.uint(), App: r.string(), Name: r.string(), ConnID: r.string(), Era: r.uint(), RemainMs: r.int(),
		MsgSerial: r.int(), ID: r.string(),
	}
	m.Members = r.members(m.ConnID)
	return m
}

func (w *writer) presenceQuery(m *PresenceQuery) {
	w.byte(framePresenceQuery)
	w.uint(m.Req)
	w.name(m.App, m.Name)
	w.text(m.AfterConn)
	w.text(m.After)
	w.count(int32(min(max(m.Limit, 0), math.MaxInt32)))
	w.text(m.ClientID)
	w.text(m.ConnID)
}

func (r *reader) presenceQuery() *PresenceQuery {
	return &PresenceQuery{
		Req: r.uint(), App: r.string(), Name: r.string(), AfterConn: r.string(), After: r.string(), Limit: int(r.count()),
		ClientID: r.string(), ConnID: r.string(),
	}
}

func (w *writer) presenceDelivery(m *Delivery) {
	w.byte(framePresenceDelivery)
	w.deliveryHead(m)
	w.members(m.Presence, m.ConnID)
}

func decodePresenceDelivery(frame []byte) (*Delivery, error) {
	r := newReader(frame)
	m := r.deliveryHead()
	m.Presence = r.members(m.ConnID)
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

func (w *writer) presenceHeld(m *PresenceHeld) {
	w.byte(framePresenceHeld)
	w.name(m.App, m.Name)
	w.text(m.ConnID)
	w.uint(m.Era)
	w.int(m.Taken)
	w.members(m.Members, m.ConnID)
}

func (r *reader) presenceHeld() *PresenceHeld {
	m := &PresenceHeld{App: r.string(), Name: r.string(), ConnID: r.string(), Era: r.uint(), Taken: r.int()}
	m.Members = r.members(m.ConnID)
	return m
}

func (w *writer) presencePage(m *PresencePage) {
	w.byte(framePresencePage)
	w.uint(m.Req)
	w.bool(m.More)
	w.uint(uint64(m.Refusal))
	w.members(m.Members, "")
}

func (r *reader) presencePage() *PresencePage {
	return &PresencePage{Req: r.uint(), More: r.bool(), Refusal: r.refusal(), Members: r.members("")}
}
