package cluster

import (
	"context"
	"errors"

	"innkeeper/cluster/ring"
)

// ErrConflict is what Log.Commit returns when the view has moved on since the change was planned.
var ErrConflict = errors.New("cluster: the view changed since the change was planned")

// MemberState is what the cluster agreed about a member.
type MemberState uint8

// The states of a member.
const (
	Alive   MemberState = iota + 1
	Leaving             // counts as live, gets no partitions
	Dead
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

// Peer is one boot of a node.
type Peer struct{ Node, Boot string }

// Member is a node as the cluster agreed on it. A node has one member at most: its newest committed boot.
type Member struct {
	Node, Boot                     string
	State                          MemberState
	Cluster, Gossip, Client, Admin string // advertised addresses, "host:port"
}

// Peer is the boot of the member.
func (m Member) Peer() Peer { return Peer{m.Node, m.Boot} }

// View is the committed state of membership and placement, as far as this node has applied it. It is never written again.
type View struct {
	ClusterID string     // "" until the cluster is founded
	Members   []Member   // sorted by node id
	Table     ring.Table //
	ColdMs    int64      // time of the last change with Cold, Unix milliseconds; 0: never
	Version   uint64     // of members and table; goes up with each change of them
}

// Member finds a node's member.
func (v *View) Member(node string) (Member, bool) {
	for _, m := range v.Members {
		if m.Node == node {
			return m, true
		}
	}
	return Member{}, false
}

// holds says whether p is a committed live boot.
func (v *View) holds(p Peer) bool {
	m, ok := v.Member(p.Node)
	return ok && m.Boot == p.Boot && m.State != Dead
}

// live is every committed live boot, in order of node id.
func (v *View) live() []Peer {
	var live []Peer
	for _, m := range v.Members {
		if m.State != Dead {
			live = append(live, m.Peer())
		}
	}
	return live
}

// Server is one member of the Raft group.
type Server struct {
	ID, Addr string
	Voter    bool
}

// MembershipChange is what a leader commits. Death of a member and the new owners of its partitions are in one.
type MembershipChange struct {
	IfVersion uint64        // View.Version it was planned on
	Members   []Member      // replace the member of the same node, or add it
	Slots     []ring.Change // in order of partition
	Cold      bool          // the cluster comes back from a full stop with this change: owners use the restart grace
	TimeMs    int64         // when it was planned, Unix milliseconds
}

// empty says whether the change changes nothing.
func (c *MembershipChange) empty() bool { return len(c.Members) == 0 && len(c.Slots) == 0 && !c.Cold }

// Log is what this room needs of the replicated log. Methods may be called from any goroutine, but only after Start;
// those without a context return at once.
type Log interface {
	HasState() bool // this node has taken part in a Raft group before, or does now
	// Bootstrap founds the Raft group with servers, this node among them, and has its first leader commit the cluster
	// id and an empty table of that many partitions. Only for a node without state.
	Bootstrap(clusterID string, partitions int, servers []Server) error
	IsLeader() bool
	Leader() string // node id; "" when unknown
	Term() uint64
	LeaderChanged() <-chan struct{} // capacity 1; nobody else receives from it
	// Verify returns nil when a majority confirmed, after the call began, that this node still leads.
	Verify(ctx context.Context) error
	Servers() []Server // latest known configuration
	// AddNonvoter adds a server without a vote; of one that is there already it changes the address only. It fails when
	// another server has the address.
	AddNonvoter(ctx context.Context, id, addr string) error
	Remove(ctx context.Context, id string) error        // takes a server out of the group
	Promote(ctx context.Context, id, addr string) error // gives a server its vote
	Transfer(ctx context.Context) error                 // hands leadership to another server
	View() *View                                        // never nil
	Changed() <-chan struct{}                           // capacity 1, after View changed; nobody else receives from it
	// Commit commits a change. On the leader nil or ErrConflict mean that View shows everything committed before, also
	// by former leaders; any other error that nothing is known about the change. An empty change is allowed: it asks just that.
	Commit(ctx context.Context, change MembershipChange) error
	// Repartition commits a new layout, with the errors of Commit.
	Repartition(ctx context.Context, layout Layout) error
}
