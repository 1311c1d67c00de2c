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
	w.byte(frameDelivery)
	w.uint(payloadSize(m.Messages))
	w.name(m.App, m.Name)
	w.text(m.Serial)
	w.text(m.ID)
	w.text(m.ConnID)
	w.int(m.TimeMs)
	w.messages(m.Messages)
}

func decodeDelivery(frame []byte) (ToGateway, error) {
	r, payload, err := messageReader(frame)
	if err != nil {
		return nil, err
	}
	m := &Delivery{App: r.string(), Name: r.string(), Serial: r.string(), ID: r.string(), ConnID: r.string(), TimeMs: r.int()}
	m.Messages = r.messages(payload)
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
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
