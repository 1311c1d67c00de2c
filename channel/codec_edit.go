package channel

import "math"

// Frames of messages that change or annotate others, or were changed. They are rare: their texts that can be long are
// copied once more than those of plain messages.
const (
	frameHistoryAsked    byte = 0x40 // in place of 0x06, which had no Raw
	framePublishEdit     byte = 0x41
	frameLookup          byte = 0x42
	frameDeliveryEdited  byte = 0x48
	annotationCountLimit      = math.MaxInt32
)

// special says whether a publish has what its plain frame has no room for.
func (m *Publish) special() bool {
	return m.Ephemeral || m.OwnOnly || m.MaxBytes != 0 || edits(m.Messages)
}

func anyEdit(messages []Message) bool {
	for i := range messages {
		if messages[i].Edit != nil {
			return true
		}
	}
	return false
}

// blob writes bytes that may be long, and tells none from empty.
func (w *writer) blob(b []byte) {
	if b == nil {
		w.uint(0)
		return
	}
	w.uint(uint64(len(b)) + 1)
	*w = append(*w, b...)
}

func (r *reader) blob() []byte {
	n := r.uint()
	if n == 0 {
		return nil
	}
	if n--; n > uint64(r.left()) {
		r.fail("cut short")
		return nil
	}
	r.at += int(n)
	return append([]byte{}, r.text[r.at-int(n):r.at]...)
}

// editions writes what messages have beside what plain ones have.
func (w *writer) editions(messages []Message) {
	w.uint(uint64(len(messages)))
	for i := range messages {
		e := messages[i].Edit
		w.bool(e != nil)
		if e == nil {
			continue
		}
		w.byte(byte(e.Action))
		w.text(e.Serial)
		w.int(e.CreatedMs)
		w.text(e.Version)
		w.int(e.VersionMs)
		w.text(e.By)
		w.text(e.Description)
		w.blob(e.Metadata)
		w.text(e.Type)
		w.count(int32(min(e.Count, annotationCountLimit)))
		w.blob(e.Summary)
		w.bool(e.Whole != nil)
		if m := e.Whole; m != nil {
			w.text(m.ID)
			w.text(m.Name)
			w.text(m.ClientID)
			w.text(m.Encoding)
			w.byte(byte(m.Kind))
			w.blob(m.Data)
			w.blob(m.Extras)
		}
	}
}

func (r *reader) editions() []*Edit {
	n := r.many(1)
	list := make([]*Edit, n)
	for i := range list {
		if !r.bool() {
			continue
		}
		e := &Edit{
			Action: Action(r.small(uint64(Unannotate), "unknown action")), Serial: r.string(), CreatedMs: r.int(),
			Version: r.string(), VersionMs: r.int(), By: r.string(), Description: r.string(), Metadata: r.blob(),
			Type: r.string(), Count: int64(r.count()), Summary: r.blob(),
		}
		if r.bool() {
			e.Whole = &Message{
				ID: r.string(), Name: r.string(), ClientID: r.string(), Encoding: r.string(),
				Kind: DataKind(r.small(uint64(BinaryData), "unknown kind of data")), Data: r.blob(), Extras: r.blob(),
			}
		}
		if r.err != nil {
			return nil
		}
		list[i] = e
	}
	return list
}

// edited reads messages behind their editions.
func (r *reader) edited(payload []byte) []Message {
	list := r.editions()
	messages := r.messages(payload)
	if r.err == nil && len(list) != len(messages) {
		r.fail("messages and editions differ in number")
	}
	if r.err != nil {
		return nil
	}
	for i, e := range list {
		messages[i].Edit = e
	}
	return messages
}

func (w *writer) publishEdit(m *Publish) {
	w.byte(framePublishEdit)
	w.uint(payloadSize(m.Messages))
	w.uint(m.Req)
	w.name(m.App, m.Name)
	w.text(m.ConnID)
	w.int(m.MsgSerial)
	w.text(m.ID)
	w.bool(m.Ephemeral)
	w.bool(m.OwnOnly)
	w.count(int32(min(m.MaxBytes, math.MaxInt32)))
	w.editions(m.Messages)
	w.messages(m.Messages)
}

func decodePublishEdit(frame []byte) (ToOwner, error) {
	r, payload, err := messageReader(frame)
	if err != nil {
		return nil, err
	}
	m := &Publish{
		Req: r.uint(), App: r.string(), Name: r.string(), ConnID: r.string(), MsgSerial: r.int(), ID: r.string(),
		Ephemeral: r.bool(), OwnOnly: r.bool(), MaxBytes: int(r.count()),
	}
	m.Messages = r.edited(payload)
	// An owner takes the first message's word for all of them.
	for i := range m.Messages {
		if (m.Messages[i].Edit == nil) != (m.Messages[0].Edit == nil) {
			r.fail("messages that edit among others")
		}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

func (w *writer) deliveryEdited(m *Delivery) {
	w.byte(frameDeliveryEdited)
	w.uint(payloadSize(m.Messages))
	w.deliveryHead(m)
	w.editions(m.Messages)
	w.messages(m.Messages)
}

func decodeDeliveryEdited(frame []byte) (*Delivery, error) {
	r, payload, err := messageReader(frame)
	if err != nil {
		return nil, err
	}
	m := r.deliveryHead()
	m.Messages = r.edited(payload)
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

func (w *writer) lookup(m *Lookup) {
	w.byte(frameLookup)
	w.uint(m.Req)
	w.name(m.App, m.Name)
	w.byte(byte(m.What))
	w.text(m.Serial)
	w.count(int32(min(m.After, math.MaxInt32)))
	w.count(int32(min(m.Limit, math.MaxInt32)))
}

func (r *reader) lookup() *Lookup {
	return &Lookup{
		Req: r.uint(), App: r.string(), Name: r.string(),
		What: LookupWhat(r.small(uint64(LookupAnnotations), "unknown question")), Serial: r.string(),
		After: int(r.count()), Limit: int(r.count()),
	}
}
