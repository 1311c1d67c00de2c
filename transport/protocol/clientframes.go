package protocol

import "innkeeper/channel"

// Frames a client sends, for tests and tools. A heartbeat is the same in both directions: AppendHeartbeat.

// Attach is what an ATTACH says. Zero fields are left out.
type Attach struct {
	Channel       string
	ChannelSerial string
	Flags         Flags
	Params        map[string]string
}

// AppendAttach appends an ATTACH frame.
func AppendAttach(dst []byte, f Format, a *Attach) []byte {
	w, outer := begin(dst, f, ActionAttach)
	w.keyStr("channel", a.Channel)
	w.optStr("channelSerial", a.ChannelSerial)
	if a.Flags != 0 {
		w.keyInt("flags", int64(a.Flags))
	}
	w.params(a.Params)
	return w.end(outer)
}

// AppendDetach appends a DETACH frame.
func AppendDetach(dst []byte, f Format, name string) []byte {
	w, outer := begin(dst, f, ActionDetach)
	w.keyStr("channel", name)
	return w.end(outer)
}

// AppendPublish appends a client's MESSAGE frame; params may be nil.
func AppendPublish(dst []byte, f Format, name string, msgSerial int64, params map[string]string, messages ...channel.Message) []byte {
	w, outer := begin(dst, f, ActionMessage)
	w.keyStr("channel", name)
	w.keyInt("msgSerial", msgSerial)
	w.params(params)
	w.key("messages")
	w.clientMessages(messages)
	return w.end(outer)
}

func (w *writer) clientMessages(messages []channel.Message) {
	list := w.openArray()
	for i := range messages {
		w.item()
		one := w.openMap()
		w.optStr("id", messages[i].ID)
		w.body(&messages[i])
		w.close(one)
	}
	w.close(list)
}

// AppendMessages appends the array that a REST publish takes as its body.
func AppendMessages(dst []byte, f Format, messages ...channel.Message) []byte {
	w := writer{b: dst, f: f}
	w.clientMessages(messages)
	return w.b
}

// AppendClose appends a CLOSE frame.
func AppendClose(dst []byte, f Format) []byte {
	w, outer := begin(dst, f, ActionClose)
	return w.end(outer)
}

// AppendClientAuth appends an AUTH frame that offers a token.
func AppendClientAuth(dst []byte, f Format, accessToken string) []byte {
	w, outer := begin(dst, f, ActionAuth)
	w.key("auth")
	in := w.openMap()
	w.keyStr("accessToken", accessToken)
	w.close(in)
	return w.end(outer)
}
