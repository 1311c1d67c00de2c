package raftstore

import (
	"context"

	"innkeeper/cluster/ring"
)

// MemberState says what the cluster agreed on about a member.
type MemberState uint8

// The states of a member.
const (
	Alive   MemberState = iota + 1
	Leaving             // still serves, gets no new partitions
	Dead                // this boot is over
)

func (s MemberState) String() string {
	switch s {
	case Alive:
		return "alive"
	case Leaving:
		return "leaving"
	case Dead:
		return "dead"
	}
	return "unknown"
}

// Member is a node as the cluster agreed on it.
type Member struct {
	Node, Boot                     string // ids of the node and of its start
	State                          MemberState
	Cluster, Gossip, Client, Admin string // addresses, host:port
}

// View is what the log says about members and placement. It is immutable and shared: never write to it.
type View struct {
	Index     uint64     // raft index this view is true for
	ClusterID string     // "" before the first leader committed it
	Members   []Member   // sorted by node id
	Table     ring.Table // Version is the version of members and table together
	ColdMs    int64      // unix ms of the last start of the whole cluster, 0 if none was noted
	LastSeq   uint64     // seq of the newest event
}

// SlotChange places one partition. Its epoch goes up when Owner differs from the present owner or Bump is set (the
// owner has a new boot).
type SlotChange struct {
	Part            uint32
	Owner, Follower string // node ids
	Bump            bool
}

// MembershipChange is one atomic change of members and table.
type MembershipChange struct {
	IfVersion uint64       // View.Table.Version it was planned on
	Members   []Member     // added or replaced, by Node
	Forget    []string     // node ids to remove from the list; applied after Members
	Slots     []SlotChange // placed partitions
	Cold      bool         // the whole cluster started again: note TimeMs in View.ColdMs
	TimeMs    int64        // when this was decided, unix ms
}

// Kind is a kind of transition.
type Kind uint8

// The kinds of transitions.
const (
	Occupied Kind = 1
	Vacated  Kind = 2
	Opened   Kind = 3
	Closed   Kind = 4

	// LimitNear and LimitOver are no transitions of a channel: a limit of the app, which stands in the channel's place as the
	// proposer wrote it, is nearly or entirely used up.
	LimitNear Kind = 5
	LimitOver Kind = 6
)

// known reports whether channels of this version have the kind.
func (k Kind) known() bool { return k >= Occupied && k <= Closed }

// ends reports whether a transition of this kind ends what one of another kind began.
func (k Kind) ends() bool { return k == Vacated || k == Closed }

func (k Kind) String() string {
	switch k {
	case Occupied:
		return "occupied"
	case Vacated:
		return "vacated"
	case Opened:
		return "opened"
	case LimitNear:
		return "limit.approaching"
	case LimitOver:
		return "limit.exceeded"
	case Closed:
		return "closed"
	}
	return "unknown"
}

// Transition is what an owner wants noted about a channel.
type Transition struct {
	Kind      Kind
	App, Name string
	TimeMs    int64 // when it was decided, unix ms
}

// Event is a transition that took place: committed, numbered, alternating per channel.
type Event struct {
	Seq          uint64 // counts up by one over all channels, from 1
	ID           string // first 8 characters of the cluster id, "-", seq
	App, Channel string
	Kind         Kind
	TimeMs       int64
	Ends         uint64 // vacated, closed: seq of the occupied or opened that it ends
	SinceMs      int64  // vacated, closed: TimeMs of that event
}

// Position is a place in the order of enumeration: by ring.Hash, then app, then name. The zero Position is before all.
// App may be left empty where the enumeration is of one app.
type Position struct {
	Hash      uint64
	App, Name string
}

// OccupiedItem is one channel of the occupied set.
type OccupiedItem struct {
	App, Name string
	Seq       uint64 // of its occupied event
	SinceMs   int64
}

// Server is a raft server for Bootstrap.
type Server struct{ ID, Addr string }

// ServerInfo is a raft server as the log has it.
type ServerInfo struct {
	ID, Addr string
	Voter    bool
}

// Forwarder carries a payload to the leader's HandleForward and brings the answer back. It is called from one
// goroutine at a time for proposals; an error means that the outcome is unknown.
type Forwarder interface {
	Forward(ctx context.Context, leader string, payload []byte) ([]byte, error)
}
