package channel

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Frames with messages have their payloads behind everything else: type, length of all payloads, fields, payloads.
// So the fields are copied once as text and the payloads once as bytes, and a payload pins no more than its frame's.

func (w *writer) publish(m *Publish) {
	w.byte(framePublish)
	w.uint(payloadSize(m.Messages))
	w.uint(m.Req)
	w.name(m.App, m.Name)
	w.text(m.ConnID)
	w.int(m.MsgSerial)
	w.text(m.ID)
	w.messages(m.Messages)
}

func decodePublish(frame []byte) (ToOwner, error) {
	r, payload, err := messageReader(frame)
	if err != nil {
		return nil, err
	}
	m := &Publish{Req: r.uint(), App: r.string(), Name: r.string(), ConnID: r.string(), MsgSerial: r.int(), ID: r.string()}
	m.Messages = r.messages(payload)
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

func (w *writer) delivery(m *Delivery) {
	switch {
	case m.Presence != nil:
		w.presenceDelivery(m)
		return
	case anyEdit(m.Messages):
		w.deliveryEdited(m)
		return
	}
	w.byte(frameDelivery)
	w.uint(payloadSize(m.Messages))
	w.deliveryHead(m)
	w.messages(m.Messages)
}

// deliveryHead is what a Delivery has whatever it carries.
func (w *writer) deliveryHead(m *Delivery) {
	w.name(m.App, m.Name)
	w.text(m.Serial)
	w.text(m.Prev)
	w.text(m.ID)
	w.text(m.ConnID)
	w.int(m.TimeMs)
}

func (r *reader) deliveryHead() *Delivery {
	return &Delivery{
		App: r.string(), Name: r.string(), Serial: r.string(), Prev: r.string(), ID: r.string(), ConnID: r.string(), TimeMs: r.int(),
	}
}

// decodeDelivery reads a Delivery of messages or of presence.
func decodeDelivery(frame []byte) (*Delivery, error) {
	if frame[0] == framePresenceDelivery {
		return decodePresenceDelivery(frame)
	}
	r, payload, err := messageReader(frame)
	if err != nil {
		return nil, err
	}
	m := r.deliveryHead()
	m.Messages = r.messages(payload)
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

// decodeAnyDelivery reads a Delivery of any type.
func decodeAnyDelivery(t byte, frame []byte) (*Delivery, error) {
	switch t {
	case frameDelivery, framePresenceDelivery:
		return decodeDelivery(frame)
	case frameDeliveryEdited:
		return decodeDeliveryEdited(frame)
	}
	return nil, fmt.Errorf("%w: no delivery", ErrFrame)
}

// deliveries writes a number of Deliveries, each as a frame of its own behind its length.
func (w *writer) deliveries(list []*Delivery) {
	w.uint(uint64(len(list)))
	var one writer
	for _, d := range list {
		one = one[:0]
		one.delivery(d)
		w.uint(uint64(len(one)))
		*w = append(*w, one...)
	}
}

// deliverySizeMin is the least a Delivery takes with its length.
const deliverySizeMin = 10

// deliveries reads what writer.deliveries wrote; frame is the whole that r reads.
func (r *reader) deliveries(frame []byte) []*Delivery {
	n := r.many(deliverySizeMin)
	if n == 0 {
		return nil
	}
	list := make([]*Delivery, n)
	for i := range list {
		size := r.uint()
		if r.err != nil || size > uint64(r.left()) {
			r.fail("delivery cut short")
			return nil
		}
		inner := frame[r.at : r.at+int(size)]
		t, err := frameType(inner)
		if err != nil {
			r.fail("no delivery")
			return nil
		}
		d, err := decodeAnyDelivery(t, inner)
		if err != nil {
			r.fail(err.Error())
			return nil
		}
		list[i] = d
		r.at += int(size)
	}
	return list
}

func payloadSize(messages []Message) (n uint64) {
	for i := range messages {
		n += uint64(len(messages[i].Data) + len(messages[i].Extras))
	}
	return n
}

func messageReader(frame []byte) (reader, []byte, error) {
	size, n := binary.Uvarint(frame[1:])
	if n <= 0 || size > uint64(len(frame)-1-n) {
		return reader{}, nil, fmt.Errorf("%w: payloads cut short", ErrFrame)
	}
	fields := len(frame) - int(size)
	return reader{text: string(frame[:fields]), at: 1 + n}, bytes.Clone(frame[fields:]), nil
}

// messages writes all but the payloads, then the payloads.
func (w *writer) messages(messages []Message) {
	w.uint(uint64(len(messages)))
	for i := range messages {
		m := &messages[i]
		w.text(m.ID)
		w.text(m.Name)
		w.text(m.ClientID)
		w.text(m.Encoding)
		w.byte(byte(m.Kind))
		w.uint(uint64(len(m.Data)))
		w.uint(uint64(len(m.Extras)))
	}
	for i := range messages {
		*w = append(*w, messages[i].Data...)
		*w = append(*w, messages[i].Extras...)
	}
}

// messageSize is the least a message takes without its payloads.
const messageSize = 7

func (r *reader) messages(payload []byte) []Message {
	n := r.many(messageSize)
	var messages []Message
	if n > 0 {
		messages = make([]Message, n)
	}
	take := func() []byte {
		n := r.uint()
		if n > uint64(len(payload)) {
			r.fail("payload cut short")
			return nil
		}
		if n == 0 {
			return nil
		}
		p := payload[:n:n] // no append to one may run into the next
		payload = payload[n:]
		return p
	}
	for i := range messages {
		m := &messages[i]
		m.ID, m.Name, m.ClientID, m.Encoding = r.string(), r.string(), r.string(), r.string()
		m.Kind = DataKind(r.small(uint64(BinaryData), "unknown kind of data"))
		m.Data, m.Extras = take(), take()
		if r.err != nil {
			return nil
		}
	}
	if len(payload) > 0 {
		r.fail("payload left over")
	}
	return messages
}
