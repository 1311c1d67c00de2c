package transport

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
	"innkeeper/transport/vcdiff"
)

// deltaFrame is about what a delta adds to a message beside its bytes: steps of the encoding and its place in extras.
const deltaFrame = 64

// deltaOf is a delivery with its messages as deltas, each to the one before it, the first to the last one of base. Messages
// that are smaller as they are stay so; nil when they all are.
func deltaOf(base, d *channel.Delivery) *channel.Delivery {
	out := (*channel.Delivery)(nil)
	before, id := &base.Messages[len(base.Messages)-1], messageID(base, len(base.Messages)-1)
	for i := range d.Messages {
		m := &d.Messages[i]
		if delta, ok := deltaMessage(before, id, m); ok {
			if out == nil {
				c := *d
				c.Messages = append([]channel.Message(nil), d.Messages...)
				out = &c
			}
			out.Messages[i] = delta
		}
		before, id = m, messageID(d, i)
	}
	return out
}

func messageID(d *channel.Delivery, i int) string {
	if id := d.Messages[i].ID; id != "" {
		return id
	}
	return protocol.MessageID(d.ID, i)
}

func deltaMessage(base *channel.Message, id string, m *channel.Message) (delta channel.Message, ok bool) {
	if id == "" || base.Kind == channel.NoData || m.Kind == channel.NoData || len(m.Data) <= deltaFrame || !followed(base) {
		return delta, false
	}
	bytes := vcdiff.Encode(nil, base.Data, m.Data)
	if base64.StdEncoding.EncodedLen(len(bytes))+deltaFrame >= len(m.Data) {
		return delta, false
	}
	delta = *m
	delta.Kind, delta.Data = channel.BinaryData, bytes
	if m.Kind == channel.StringData {
		delta.Encoding = step(delta.Encoding, "utf-8") // what a delta makes is bytes
	}
	delta.Encoding = step(delta.Encoding, "vcdiff")
	delta.Extras = protocol.WithDelta(m.Extras, id)
	return delta, true
}

func step(encoding, next string) string {
	if encoding == "" {
		return next
	}
	return encoding + "/" + next
}

// followed says whether every client can decode a message as far as it knows: only then it has kept what it came with to
// apply a delta to.
func followed(m *channel.Message) bool {
	switch m.Encoding {
	case "":
		return true
	case "utf-8":
		return utf8.Valid(m.Data)
	case "json", "json/utf-8":
		return json.Valid(m.Data)
	}
	return false
}
