package protocol

import "strconv"

// Format is the encoding of a connection's frames or of a REST body.
type Format uint8

// The formats. JSON travels in WebSocket text frames, MsgPack in binary ones.
const (
	JSON Format = iota
	MsgPack
)

// ParseFormat reads the format query parameter; "" is JSON.
func ParseFormat(s string) (f Format, ok bool) {
	switch s {
	case "", "json":
		return JSON, true
	case "msgpack":
		return MsgPack, true
	}
	return JSON, false
}

// String is the name ParseFormat takes.
func (f Format) String() string {
	if f == MsgPack {
		return "msgpack"
	}
	return "json"
}

// ContentType is the exact media type of a body in this format. Clients compare it literally: no charset may follow.
func (f Format) ContentType() string {
	if f == MsgPack {
		return "application/x-msgpack"
	}
	return "application/json"
}

// Action says what a frame is. Numbers this table does not name are legal on the wire and have to be ignored.
type Action int

// The actions.
const (
	ActionHeartbeat    Action = 0
	ActionAck          Action = 1
	ActionNack         Action = 2
	ActionConnect      Action = 3
	ActionConnected    Action = 4
	ActionDisconnect   Action = 5
	ActionDisconnected Action = 6
	ActionClose        Action = 7
	ActionClosed       Action = 8
	ActionError        Action = 9
	ActionAttach       Action = 10
	ActionAttached     Action = 11
	ActionDetach       Action = 12
	ActionDetached     Action = 13
	ActionPresence     Action = 14
	ActionMessage      Action = 15
	ActionSync         Action = 16
	ActionAuth         Action = 17
	ActionActivate     Action = 18
	ActionObject       Action = 19
	ActionObjectSync   Action = 20
	ActionAnnotation   Action = 21
)

var actionNames = [...]string{
	"HEARTBEAT", "ACK", "NACK", "CONNECT", "CONNECTED", "DISCONNECT", "DISCONNECTED", "CLOSE", "CLOSED", "ERROR",
	"ATTACH", "ATTACHED", "DETACH", "DETACHED", "PRESENCE", "MESSAGE", "SYNC", "AUTH", "ACTIVATE", "OBJECT",
	"OBJECT_SYNC", "ANNOTATION",
}

// String names the action for logs.
func (a Action) String() string {
	if a >= 0 && int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "ACTION_" + strconv.Itoa(int(a))
}

// MessageAction says what a message does to the channel's record.
type MessageAction int

// The message actions.
const (
	MessageCreate  MessageAction = 0
	MessageUpdate  MessageAction = 1
	MessageDelete  MessageAction = 2
	MessageMeta    MessageAction = 3
	MessageSummary MessageAction = 4
	MessageAppend  MessageAction = 5
)
