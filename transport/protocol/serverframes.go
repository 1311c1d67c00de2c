package protocol

import (
	"slices"
	"strconv"

	"innkeeper/channel"
)

// Connected is what CONNECTED says. Error, when set, tells that a resume failed, or warns.
type Connected struct {
	ConnectionID string
	Details      ConnectionDetails
	Error        *ErrorInfo
}

// AppendConnected appends a CONNECTED frame.
func AppendConnected(dst []byte, f Format, c *Connected) []byte {
	w, outer := begin(dst, f, ActionConnected)
	w.keyStr("connectionId", c.ConnectionID)
	w.key("connectionDetails")
	in := w.openMap()
	d := &c.Details
	w.optStr("clientId", d.ClientID)
	w.keyStr("connectionKey", d.ConnectionKey)
	w.keyInt("maxMessageSize", int64(d.MaxMessageSize))
	w.keyInt("maxFrameSize", int64(d.MaxFrameSize))
	w.keyInt("maxInboundRate", int64(d.MaxInboundRate))
	w.keyInt("connectionStateTtl", d.ConnectionStateTTL)
	w.keyInt("maxIdleInterval", d.MaxIdleInterval)
	w.optStr("serverId", d.ServerID)
	w.close(in)
	w.error(c.Error)
	return w.end(outer)
}

// Attached is what ATTACHED says. Flags holds the granted modes beside the flags proper. Params is what was recognised,
// nil leaves the key out.
type Attached struct {
	Channel       string
	ChannelSerial string
	Flags         Flags
	Params        map[string]string
	Error         *ErrorInfo
}

// AppendAttached appends an ATTACHED frame.
func AppendAttached(dst []byte, f Format, a *Attached) []byte {
	w, outer := begin(dst, f, ActionAttached)
	w.keyStr("channel", a.Channel)
	w.optStr("channelSerial", a.ChannelSerial)
	w.keyInt("flags", int64(a.Flags))
	w.params(a.Params)
	w.error(a.Error)
	return w.end(outer)
}

// AppendDetached appends a DETACHED frame; err may be nil.
func AppendDetached(dst []byte, f Format, name string, err *ErrorInfo) []byte {
	w, outer := begin(dst, f, ActionDetached)
	w.keyStr("channel", name)
	w.error(err)
	return w.end(outer)
}

// AppendError appends an ERROR frame for the whole connection. It has no channel key: clients take any value of it as
// a channel's error. It is fatal to the client unless the code is a token error.
func AppendError(dst []byte, f Format, err *ErrorInfo) []byte {
	w, outer := begin(dst, f, ActionError)
	w.error(err)
	return w.end(outer)
}

// AppendChannelError appends an ERROR frame for one channel, whose name may be empty.
func AppendChannelError(dst []byte, f Format, name string, err *ErrorInfo) []byte {
	w, outer := begin(dst, f, ActionError)
	w.keyStr("channel", name)
	w.error(err)
	return w.end(outer)
}

// AppendHeartbeat appends a HEARTBEAT frame. id is that of the client's ping, "" for one of the server's own.
func AppendHeartbeat(dst []byte, f Format, id string) []byte {
	w, outer := begin(dst, f, ActionHeartbeat)
	w.optStr("id", id)
	return w.end(outer)
}

// AppendDisconnected appends a DISCONNECTED frame: the client reconnects.
func AppendDisconnected(dst []byte, f Format, err *ErrorInfo) []byte {
	w, outer := begin(dst, f, ActionDisconnected)
	w.error(err)
	return w.end(outer)
}

// AppendClosed appends a CLOSED frame.
func AppendClosed(dst []byte, f Format) []byte {
	w, outer := begin(dst, f, ActionClosed)
	return w.end(outer)
}

// AppendAuth appends an AUTH frame, which asks the client to renew its token.
func AppendAuth(dst []byte, f Format) []byte {
	w, outer := begin(dst, f, ActionAuth)
	return w.end(outer)
}

// Ack is one publish that is acknowledged: the channelSerial it got and how many messages it had. Messages 0 stands for
// something that has no serials, such as presence.
type Ack struct {
	Serial   string
	Messages int
}

// AppendAck appends an ACK frame for the publishes msgSerial, msgSerial+1, …, one per element of acks. The caller keeps
// the order of msgSerials without gaps: clients settle everything up to the last one.
func AppendAck(dst []byte, f Format, msgSerial int64, acks ...Ack) []byte {
	w, outer := begin(dst, f, ActionAck)
	w.keyInt("msgSerial", msgSerial)
	w.keyInt("count", int64(len(acks)))
	w.key("res")
	list := w.openArray()
	for _, a := range acks {
		w.item()
		one := w.openMap()
		w.key("serials")
		serials := w.openArray()
		for i := range a.Messages {
			w.item()
			w.messageSerial(a.Serial, i)
		}
		w.close(serials)
		w.close(one)
	}
	w.close(list)
	return w.end(outer)
}

// AppendNack appends a NACK frame for count publishes from msgSerial on.
func AppendNack(dst []byte, f Format, msgSerial int64, count int, err *ErrorInfo) []byte {
	w, outer := begin(dst, f, ActionNack)
	w.keyInt("msgSerial", msgSerial)
	w.keyInt("count", int64(count))
	w.error(err)
	return w.end(outer)
}

// AppendMessage appends the MESSAGE frame of a delivery for an attachment, whose name may differ from the channel's by
// its qualifier. The bytes depend on format and name alone, so attachments that agree in both can share them.
func AppendMessage(dst []byte, f Format, attachment string, d *channel.Delivery) []byte {
	w, outer := begin(dst, f, ActionMessage)
	w.optStr("id", d.ID)
	w.optStr("connectionId", d.ConnID)
	w.keyStr("channel", attachment)
	w.optStr("channelSerial", d.Serial)
	w.keyInt("timestamp", d.TimeMs)
	w.key("messages")
	list := w.openArray()
	for i := range d.Messages {
		w.item()
		w.message(d, i)
	}
	w.close(list)
	return w.end(outer)
}

func (w *writer) message(d *channel.Delivery, i int) {
	outer := w.openMap()
	w.messageFields(d, i)
	w.close(outer)
}

func (w *writer) messageFields(d *channel.Delivery, i int) {
	m := &d.Messages[i]
	if m.Edit != nil {
		w.edited(d, i)
		return
	}
	w.messageID(d, i)
	w.body(m)
	w.keyInt("timestamp", d.TimeMs)
	w.keyInt("action", int64(MessageCreate))
	if d.Serial != "" {
		w.key("serial")
		w.messageSerial(d.Serial, i)
		w.key("version")
		in := w.openMap()
		w.key("serial")
		w.messageSerial(d.Serial, i)
		w.keyInt("timestamp", d.TimeMs)
		w.close(in)
	}
}

// body writes what the publisher gave: name, data, encoding, clientId, extras.
func (w *writer) body(m *channel.Message) {
	w.optStr("name", m.Name)
	w.optStr("clientId", m.ClientID)
	encoding := m.Encoding
	switch m.Kind {
	case channel.StringData:
		w.key("data")
		if w.f == JSON {
			w.b = appendJSONString(w.b, m.Data)
		} else {
			w.b = appendMsgpackString(w.b, m.Data)
		}
	case channel.BinaryData:
		w.key("data")
		w.bytes(m.Data)
		if w.f == JSON {
			w.key("encoding")
			w.base64Encoding(encoding)
			encoding = ""
		}
	}
	w.optStr("encoding", encoding)
	if len(m.Extras) > 0 {
		w.key("extras")
		w.json(m.Extras)
	}
}

// base64Encoding writes the encoding string of binary data in JSON: the remaining steps, then base64.
func (w *writer) base64Encoding(steps string) {
	if steps == "" {
		w.str("base64")
		return
	}
	w.b = appendJSONString(w.b, steps)
	w.b = append(w.b[:len(w.b)-1], "/base64\""...)
}

// messageSerial writes the serial of message i of a publish.
func (w *writer) messageSerial(channelSerial string, i int) {
	if channelSerial == "" {
		w.null()
		return
	}
	w.indexed(channelSerial, i, 3)
}

// indexed writes base:i, i padded with zeros to width digits.
func (w *writer) indexed(base string, i, width int) {
	var tail [24]byte
	suffix := appendIndex(append(tail[:0], ':'), i, width)
	if w.f == JSON {
		w.b = appendJSONString(w.b, base)
		w.b = append(w.b[:len(w.b)-1], suffix...)
		w.b = append(w.b, '"')
		return
	}
	if n := len(base) + len(suffix); n < 32 && validUTF8(base) {
		w.b = append(w.b, 0xa0|byte(n))
		w.b = append(w.b, base...)
		w.b = append(w.b, suffix...)
		return
	}
	w.b = appendMsgpackString(w.b, base+string(suffix))
}

func appendIndex(b []byte, i, width int) []byte {
	for limit := 10; width > 1; width, limit = width-1, limit*10 {
		if i >= limit {
			continue
		}
		b = append(b, '0')
	}
	return strconv.AppendInt(b, int64(i), 10)
}

// MessageSerial is the serial of message i of the publish that got channelSerial.
func MessageSerial(channelSerial string, i int) string {
	return string(appendIndex(append([]byte(channelSerial), ':'), i, 3))
}

// MessageID is the id of message i of a publish with this id base.
func MessageID(base string, i int) string {
	return base + ":" + strconv.Itoa(i)
}

// AllCategories asks AppendOccupancy for every category.
const AllCategories channel.Category = channel.NumCategories

// categoryNames are the keys of metrics, in the order of channel.Category.
var categoryNames = [channel.NumCategories]string{
	"connections", "publishers", "subscribers", "presenceConnections", "presenceMembers", "presenceSubscribers",
	"objectPublishers", "objectSubscribers",
}

// CategoryName is the key of a category in metrics.
func CategoryName(c channel.Category) string { return categoryNames[c] }

// ParseOccupancy reads the occupancy parameter: "metrics" is AllCategories, "metrics.subscribers" one of them. ok is
// false for anything else.
func ParseOccupancy(param string) (c channel.Category, ok bool) {
	if param == "metrics" {
		return AllCategories, true
	}
	const prefix = "metrics."
	if len(param) <= len(prefix) || param[:len(prefix)] != prefix {
		return 0, false
	}
	i := slices.Index(categoryNames[:], param[len(prefix):])
	return channel.Category(max(i, 0)), i >= 0
}

// AppendOccupancy appends the occupancy event of an attachment: a MESSAGE named [meta]occupancy whose data is JSON
// text. id is the base of its message id. It carries no channelSerial, since it is no position to resume from.
func AppendOccupancy(dst []byte, f Format, attachment, id string, timeMs int64, c *channel.Counts, which channel.Category) []byte {
	w, outer := begin(dst, f, ActionMessage)
	w.keyStr("id", id)
	w.keyStr("channel", attachment)
	w.keyInt("timestamp", timeMs)
	w.key("messages")
	list := w.openArray()
	w.item()
	one := w.openMap()
	w.key("id")
	w.indexed(id, 0, 1)
	w.keyStr("name", "[meta]occupancy")
	var text [256]byte
	w.key("data")
	data := appendMetricsText(text[:0], c, which)
	if f == JSON {
		w.b = appendJSONString(w.b, data)
	} else {
		w.b = appendMsgpackString(w.b, data)
	}
	w.keyStr("encoding", "json")
	w.keyInt("timestamp", timeMs)
	w.close(one)
	w.close(list)
	return w.end(outer)
}

func appendMetricsText(b []byte, c *channel.Counts, which channel.Category) []byte {
	w := writer{b: b, f: JSON}
	outer := w.openMap()
	w.key("metrics")
	w.metrics(c, which)
	w.close(outer)
	return w.b
}

// AppendMetrics appends the counts of all categories as a JSON object.
func AppendMetrics(dst []byte, c *channel.Counts) []byte {
	w := writer{b: dst, f: JSON}
	w.metrics(c, AllCategories)
	return w.b
}

// metrics writes the categories asked for; zeros are written, never left out.
func (w *writer) metrics(c *channel.Counts, which channel.Category) {
	in := w.openMap()
	for i, name := range categoryNames {
		if which == AllCategories || int(which) == i {
			w.keyInt(name, int64(c[i]))
		}
	}
	w.close(in)
}

// begin opens a frame; end closes it and gives the bytes.
func begin(dst []byte, f Format, a Action) (writer, scope) {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.keyInt("action", int64(a))
	return w, outer
}

func (w *writer) end(outer scope) []byte {
	w.close(outer)
	return w.b
}

// error writes an error entry, nothing for nil.
func (w *writer) error(e *ErrorInfo) {
	if e != nil {
		w.key("error")
		w.errorInfo(e)
	}
}

func (w *writer) errorInfo(e *ErrorInfo) {
	in := w.openMap()
	w.keyStr("message", e.Message)
	w.keyInt("code", int64(e.Code))
	w.keyInt("statusCode", int64(e.StatusCode))
	w.optStr("href", e.Href)
	if len(e.Detail) > 0 {
		w.key("detail")
		w.stringMap(e.Detail)
	}
	w.close(in)
}

// params writes a params entry, nothing for nil.
func (w *writer) params(p map[string]string) {
	if p != nil {
		w.key("params")
		w.stringMap(p)
	}
}

// stringMap writes entries in the order of their keys, so that equal maps give equal bytes.
func (w *writer) stringMap(m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	in := w.openMap()
	for _, k := range keys {
		w.textKey(k)
		w.str(m[k])
	}
	w.close(in)
}
