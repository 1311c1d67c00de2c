package protocol

// Limits of what Decode takes. They bound the work and the memory one frame can cause; the size limits a client is told
// about are the edge's.
const (
	MaxFrameBytes = 4 << 20 // longest frame or REST body
	MaxDepth      = 64      // nesting of objects and arrays
	MaxMessages   = 1000    // messages of one publish; more make it an error of the publish (40034)
	MaxParams     = 64      // entries of params
	MaxNameBytes  = 2048    // channel name, qualifier included
)

// ProtocolMessage is one decoded frame, of either direction. Fields that were absent or null are zero; action is then 0.
type ProtocolMessage struct {
	Action        Action
	ID            string
	AccessToken   string // auth.accessToken
	Channel       string
	HasChannel    bool // the key was there, even with an empty name
	ChannelSerial string
	ConnectionID  string
	Count         int
	Flags         Flags
	MsgSerial     int64 // some clients send 0 on every frame: read it only where it means something
	Timestamp     int64 // ms
	Params        map[string]string
	Messages      []Message
	Annotations   []Message
	Presence      []Message // what is said of members; Action is a channel.PresenceAction
	TooMany       bool      // messages, annotations or presence held more than MaxMessages; the rest was not kept

	Error   *ErrorInfo
	Details *ConnectionDetails
	Res     []AckResult
}

// AckResult is one element of an ACK's res: the serials of one publish, "" for a message that got none.
type AckResult struct{ Serials []string }

// ConnectionDetails is what CONNECTED tells a client about its connection. Times are in ms. Every field but ClientID
// and ServerID is always sent.
type ConnectionDetails struct {
	ClientID           string // "" leaves it out: the client is unidentified
	ConnectionKey      string
	MaxMessageSize     int // bytes
	MaxFrameSize       int // bytes
	MaxInboundRate     int // messages per second
	ConnectionStateTTL int64
	MaxIdleInterval    int64 // 0: no promise
	ServerID           string
}

// Shape is the type a message's data had on the wire.
type Shape uint8

// The shapes of data.
const (
	ShapeNone   Shape = iota // absent or null
	ShapeString              // Data is UTF-8 text
	ShapeBinary              // Data is bytes; only msgpack has it
	ShapeJSON                // an object or array; Data is its JSON text
	ShapeScalar              // a bare number or bool; Data is its text
)

// Message is one message as it stood on the wire; Canonical turns it into what channels keep.
type Message struct {
	ID            string
	Name          string
	ClientID      string
	ConnectionID  string
	ConnectionKey string
	Encoding      string
	Shape         Shape
	Data          []byte
	Extras        []byte // compact JSON object, nil when absent
	Action        MessageAction
	Serial        string
	VersionSerial string
	VersionTime   int64  // ms
	By            string // version.clientId
	Description   string // version.description
	Metadata      []byte // version.metadata: compact JSON object, nil when absent
	Timestamp     int64  // ms

	// Of annotations.
	MessageSerial string
	Type          string
	Count         int64

	// Err is the first thing wrong with this message that does not make the frame unreadable. The publish is refused
	// with it; the connection lives on.
	Err *ErrorInfo
}
