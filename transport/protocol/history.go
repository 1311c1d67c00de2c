package protocol

import "innkeeper/channel"

// Past is one message of a publish that a channel keeps, or one member of one of presence.
type Past struct {
	Of    *channel.Delivery
	Index int
}

// AppendHistory appends an array of messages, each with the id of the connection it came from.
func AppendHistory(dst []byte, f Format, list []Past) []byte {
	w := writer{b: dst, f: f}
	w.pasts(list)
	return w.b
}

func (w *writer) pasts(list []Past) {
	outer := w.openArray()
	for _, p := range list {
		w.item()
		if len(p.Of.Presence) > 0 {
			w.member(&p.Of.Presence[p.Index])
			continue
		}
		w.past(p)
	}
	w.close(outer)
}

func (w *writer) past(p Past) {
	one := w.openMap()
	w.messageFields(p.Of, p.Index)
	w.optStr("connectionId", p.Of.ConnID)
	w.close(one)
}
