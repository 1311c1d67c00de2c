package channel

import "strconv"

// PresenceAction says what happened to a member of a presence set, with the numbers of the wire.
type PresenceAction uint8

// The actions of presence.
const (
	Absent PresenceAction = iota
	Present
	Enter
	Leave
	Update
)

// Member is a member of a presence set, or what happened to one. A member is one client id on one connection.
type Member struct {
	Action   PresenceAction
	Kind     DataKind
	ID       string // <connection>:<msgSerial>:<index> of what the client said last; of another form where nobody said it
	ClientID string
	ConnID   string
	Encoding string // as in Message
	Data     []byte
	Extras   []byte
	TimeMs   int64 // when it was said, on the owner's clock
}

// PresenceChange asks the owner to let members of one connection enter, update or leave, all or none of them. Published
// answers it. The owner knows by its MsgSerial what was said before something that it has taken. That does nothing more: it is
// accepted when what the client said then or later is what is there, else it was refused before and is Overtaken.
type PresenceChange struct {
	App, Name string
	Req       uint64 // as in Publish
	ConnID    string
	Era       uint64 // as in Hold
	RemainMs  int64  // as in Hold
	MsgSerial int64
	ID        string // base of the ids of members that have none
	Members   []Member
}

// HoldState is what a gateway says of a connection.
type HoldState uint8

// The states of a hold.
const (
	HoldHere HoldState = iota // the connection is here
	HoldLost                  // it broke; its members stay for RemainMs from now on
	HoldOver                  // it has left the channel: its members leave
)

// ApplyTo is what a connection's members are after the change, by client id. It may use the map it is given, which may be
// nil.
func (c *PresenceChange) ApplyTo(members map[string]Member) map[string]Member {
	for i := range c.Members {
		m := c.Members[i]
		if m.Action == Leave {
			delete(members, m.ClientID)
			continue
		}
		if m.ID == "" {
			m.ID = c.ID + ":" + strconv.Itoa(i)
		}
		m.Action, m.ConnID = Present, c.ConnID
		if was, ok := members[m.ClientID]; ok && !m.Newer(&was) {
			continue
		}
		if members == nil {
			members = make(map[string]Member)
		}
		members[m.ClientID] = m
	}
	return members
}

// Hold is a connection with members, as the gateway that has it tells of it. What is said of a connection counts over
// what the owner knows, if it is not of an earlier era: a client may be back at another gateway before the first one
// notices that it has gone.
type Hold struct {
	ConnID   string
	Era      uint64 // grows each time the client resumes the connection
	State    HoldState
	RemainMs int64    // how long members stay when the connection is lost
	Taken    int64    // none of its changes with this MsgSerial or a greater one was taken; of those below some may not be
	Whole    bool     // Members is all there are; else the owner answers with PresenceHeld what there is
	Members  []Member // in the state HoldLost it may be empty without being Whole: all stay as they are
}

// PresenceHeld tells a gateway the members of a connection that it holds and knows nothing of.
type PresenceHeld struct {
	App, Name string
	ConnID    string
	Era       uint64
	Taken     int64
	Members   []Member
}

// PresenceQuery asks for members of a channel, in the order of connection and client id. It never opens the channel nor
// keeps it open. On one link its answer comes in the order of Deliveries, as that of a History does.
type PresenceQuery struct {
	App, Name string
	Req       uint64
	AfterConn string // with AfterClient: only members behind this one
	After     string //
	Limit     int    // members; out of 1..1000: 1000
	ClientID  string // only this client's; "" for all
	ConnID    string // only this connection's; "" for all
}

// PresencePage answers a PresenceQuery. Their Action is Present.
type PresencePage struct {
	Req     uint64
	Members []Member
	More    bool
	Refusal Refusal
}

func (*PresenceChange) toOwner() {}
func (*PresenceQuery) toOwner()  {}
func (*PresenceHeld) toGateway() {}
func (*PresencePage) toGateway() {}

// memberCost is what a member takes beside its texts and payloads.
const memberCost = 176

func (m *Member) size() int {
	return memberCost + len(m.ID) + len(m.ClientID) + len(m.ConnID) + len(m.Encoding) + len(m.Data) + len(m.Extras)
}
