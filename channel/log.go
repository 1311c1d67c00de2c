package channel

import (
	"log/slog"
	"time"

	"innkeeper/cluster/ring"
)

// Kind is a direction of a transition.
type Kind uint8

// The kinds of transition.
const (
	Occupy Kind = iota + 1
	Vacate
	Open // the channel's time of being open began; only where Settings.Lifecycle asks for it
	Close
)

// Transition is one step of a channel between vacant and occupied, or closed and open.
type Transition struct {
	Kind      Kind
	App, Name string
	TimeMs    int64 // Unix milliseconds when it was decided
}

// Held is an obligation in the log: a channel that is occupied until its vacated is committed, or open until its closed is.
type Held struct {
	App, Name string
	Seq       uint64 // of the occupied or opened event
	SinceMs   int64
}

// Log is the partition log as an owner uses it.
type Log interface {
	// Occupied yields the channels of a partition that are occupied, until yield returns false. It is called after
	// Acquire and before the first Propose under the new epoch; nothing else changes the set in that time.
	Occupied(part uint32, yield func(Held) bool)
	// Opened does the same with the channels that are open by an Open.
	Opened(part uint32, yield func(Held) bool)
	// Propose asks for a transition. It must not block. done is called exactly once, from any goroutine, never before
	// Propose returns: with nil when the transition is committed (or was already so), with an error when this epoch
	// is over. At most one proposal per channel and
	// kind of state (occupied, open) is outstanding; those of a partition are taken in order.
	Propose(part uint32, epoch uint64, t Transition, done func(error))
}

// Gateways carries frames to gateways.
type Gateways interface {
	// ToGateway sends one frame, in order per gateway. It never blocks. False: the link is down or full; the gateway
	// will send a new Snapshot. Messages are shared: nobody writes to them.
	ToGateway(to GatewayID, part uint32, epoch uint64, m ToGateway) bool
}

// Lease says whether this node may act as an owner now. It is asked once per batch of a channel, from many goroutines.
type Lease interface{ Held() bool }

// HostConfig is what a Host is made of.
type HostConfig struct {
	Log      Log
	Gateways Gateways
	// Hosts and Self are for copies of what is published; without Hosts none are kept and an owner's history ends with
	// its tenure. Hosts is called with the host's locks held and must not call back.
	Hosts Hosts
	Self  GatewayID
	Lease Lease
	// Tap is told of news on channels whose settings want it; nil: nobody is.
	Tap Tap
	// Settings gives a channel's settings. It is asked when the channel's actor is made and must not block.
	Settings   func(app, name string) Settings
	Partitions int
	// Admission says whether channels may open; nil: all may.
	Admission Admission
	// RestartGraceUntil is until when clients may still come back after a stop of the whole cluster; zero or nil: no
	// such time. Channels that nobody holds when a partition opens are not vacated before.
	RestartGraceUntil func() time.Time
	Series            string // ends every serial; unique per boot
	Mailbox           int    // publishes and queries that may wait per channel; 0 is 512
	Workers           int    // goroutines for all channels together; 0 is GOMAXPROCS
	Logger            *slog.Logger
}

// position is the channel's place in the order of enumeration.
func (h *Held) position() Position {
	return Position{Hash: ring.Hash(h.App, h.Name), App: h.App, Name: h.Name}
}
