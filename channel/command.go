package channel

// Category is one kind of attachment that occupancy counts (Ably CHM2, protocol/ably-wire.md §6.1).
type Category uint8

// The categories of occupancy, in wire order.
const (
	Connections Category = iota
	Publishers
	Subscribers
	PresenceConnections
	PresenceMembers
	PresenceSubscribers
	ObjectPublishers
	ObjectSubscribers
	NumCategories = 8
)

// Counts is one number per category.
type Counts [NumCategories]int32

// GatewayID names one boot of a node as a holder of attachments. A node that starts again is another gateway.
type GatewayID struct{ Node, Boot string }

// ToOwner is what a gateway says to the owner of a partition: *Snapshot, *Register, *Publish, *Query, *List, *History,
// *Lookup, *PresenceChange or *PresenceQuery.
type ToOwner interface{ toOwner() }

// Register is what one gateway holds on one channel: absolute numbers, never deltas, so a lost or repeated one cannot
// make the count drift. All zero means that the gateway holds nothing any more.
type Register struct {
	App, Name string
	Version   uint64 // grows with every Register of this gateway boot, over all its channels
	Counts    Counts // attachments by category; PresenceMembers is 0 here (the owner keeps the presence set)
	Watchers  int32  // attachments that asked for occupancy events
	Confirm   bool   // answer with Registered once the channel's state covers this version
	Serial    string // the last channelSerial the gateway saw, "" if none; a new owner goes on above it
	Holds     []Hold // connections with members: those of which something changed, in a Snapshot all
}

// Snapshot is everything a gateway holds in one partition. It opens a session: it replaces all the gateway registered
// before, and a Register counts only after a Snapshot of the same epoch.
type Snapshot struct{ Registers []Register }

// Publish asks the owner to put messages on a channel, all or none. They are all new, or one that changes another, or
// annotations.
type Publish struct {
	App, Name string
	Req       uint64 // echoed in Published; unique per gateway boot
	ConnID    string // publisher's connection, "" for REST
	MsgSerial int64  // publisher's serial on that connection; NoSerial when it did not come over it
	ID        string // base of the message ids
	Messages  []Message
	Ephemeral bool // delivered and not kept
	OwnOnly   bool // only messages of the client that changes them may be changed
	MaxBytes  int  // that a message may have after a change; 0 is no limit
}

// NoSerial is the MsgSerial of a publish on behalf of a connection that did not come over it, and so has no turn there.
const NoSerial = -1

// Query asks for one channel's state. It never opens the channel nor keeps it open.
type Query struct {
	App, Name string
	Req       uint64
}

// History asks for publishes that a channel keeps. It never opens the channel nor keeps it open. On one link the answer
// comes in the order of Deliveries: it has everything that those before it had, and nothing of those behind it.
type History struct {
	App, Name string
	Req       uint64
	After     string // only what is behind this serial; "" for no bound
	Until     string // only up to and including this serial; "" for no bound
	StartMs   int64  // published at this Unix time or later; 0 for no bound
	EndMs     int64  // published at this Unix time or earlier; 0 for no bound
	Limit     int    // messages, after which no further publish is added; out of 1..1000: 1000
	Backwards bool   // newest first, and the bounds cut off the oldest
	Of        Of     // which publishes
	Raw       bool   // as it was published: messages as they were created, and what changed them. Otherwise messages are as they are now
}

// Of says what kind of publishes a History is about.
type Of uint8

// The kinds of publishes.
const (
	OfAll Of = iota
	OnlyMessages
	OnlyPresence
)

// Position is a place in the order of enumeration: by hash, then app, then name. The zero Position is before all.
type Position struct {
	Hash      uint64
	App, Name string
}

// List asks for the open channels of one partition after a position, in order.
type List struct {
	Req    uint64
	App    string // "" lists all apps
	After  Position
	Prefix string
	Limit  int
}

// ToGateway is what an owner says to a gateway: *Registered, *Delivery, *Occupancy, *Published,
// *QueryResult, *ListResult, *HistoryResult, *PresenceHeld or *PresencePage.
type ToGateway interface{ toGateway() }

// Registered confirms every Register of the channel up to Version: where they made the channel occupied, that is committed.
type Registered struct {
	App, Name string
	Version   uint64
	Serial    string // the attach point: deliveries after this frame have greater serials
	Counts    Counts // occupancy of the whole cluster
	Lost      bool   // messages behind the serial of the Snapshot's Register are lost to the owner
}

// Delivery is one publish for a gateway's attachments.
type Delivery struct {
	App, Name string
	Serial    string // channelSerial
	Prev      string // position of the publish before it: a gateway that stands elsewhere has missed something
	ID        string // base of the message ids
	ConnID    string
	TimeMs    int64
	Messages  []Message
	Presence  []Member // where it has no Messages: what happened to members
}

// Occupancy is a channel's counts over the whole cluster, sent to gateways with watchers. Last value wins.
type Occupancy struct {
	App, Name string
	Counts    Counts
}

// Published answers a Publish.
type Published struct {
	Req     uint64
	Serial  string // channelSerial of the publish; message i has serial Serial:00i
	Refusal Refusal
}

// QueryResult answers a Query.
type QueryResult struct {
	Req     uint64
	Active  bool
	Counts  Counts
	Refusal Refusal
}

// Listed is one open channel.
type Listed struct {
	App, Name string
	Counts    Counts
}

// ListResult answers a List. More is false when the partition has no open channel behind the last one listed.
type ListResult struct {
	Req      uint64
	Channels []Listed
	More     bool
	Refusal  Refusal
}

// HistoryResult answers a History.
type HistoryResult struct {
	Req        uint64
	Deliveries []*Delivery // whole publishes in the order asked for
	Serial     string      // where the channel stood
	Complete   bool        // nothing behind After is missing but for what the other bounds left out
	More       bool        // the bounds of one answer were reached: ask on behind the last one
	Refusal    Refusal
}

// Refusal says why an owner did not do what it was asked; the edge turns it into a code of its protocol.
type Refusal uint8

// The refusals. A sender may repeat what was refused: nothing of it was done, but for OutOfTurn, where an owner before may
// have done it.
const (
	Accepted        Refusal = iota
	NotOwner                // the partition is not served here, or not yet
	Busy                    // the channel's mailbox is full
	TooManyMembers          // the presence set is full
	MembersTooLarge         // the data of all members would take too much room
	TooManyChannels         // the app has as many channels open as it may
	AccountChannels         // its account has
	OpenedTooFast           // channels are opened faster than the app or its account may
	TooFast                 // messages are published faster than the channel takes them
	NotMutable              // messages of the channel are not changed or annotated
	NotFound                // the message is not kept, or never was
	NotOwn                  // the message is another client's
	NotAppendable           // text can be appended to text of the same encoding only
	TooLarge                // the message would be larger than the publisher allows
	Overtaken               // a change of members was refused before, and what its client said later was not
	OutOfTurn               // what its connection published later was taken; whether this was, is not known any more
)

// DataKind says what a message's Data is.
type DataKind uint8

// The kinds of data.
const (
	NoData     DataKind = iota // absent
	StringData                 // UTF-8 text
	BinaryData                 // bytes
)

// Message is one message in canonical form: Data is decoded from base64 where that was the outermost encoding step,
// so that every receiver can be served in its own format.
type Message struct {
	ID       string // full id; "" means <base>:<index>
	Name     string
	ClientID string
	Encoding string // remaining steps, joined by "/"
	Kind     DataKind
	Data     []byte
	Extras   []byte // JSON object, nil when absent
	Edit     *Edit  // nil for a message that is new and was left alone
}

func (*Snapshot) toOwner() {}
func (*Register) toOwner() {}
func (*Publish) toOwner()  {}
func (*Query) toOwner()    {}
func (*List) toOwner()     {}
func (*History) toOwner()  {}

func (*Registered) toGateway()    {}
func (*Delivery) toGateway()      {}
func (*Occupancy) toGateway()     {}
func (*Published) toGateway()     {}
func (*QueryResult) toGateway()   {}
func (*ListResult) toGateway()    {}
func (*HistoryResult) toGateway() {}
