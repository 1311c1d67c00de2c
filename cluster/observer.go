package cluster

import "innkeeper/cluster/ring"

// Route says where the owner of a partition is reached. A gateway that is told another route than before must register
// everything it holds in the partition again.
type Route struct {
	Node    string
	Epoch   uint64
	Session uint64 // of the link to Node; see Cluster.Send
}

// Observer is told what a node must act on. One goroutine makes all calls, one at a time, none before Start and
// none after Stop returned. Calls must not block for long, and must not call Stop.
//
// What one change of the view brings comes in this order: Lease(false), Members, Layout, Release and Acquire, Routed and
// Unrouted, Lease(true), DeclaredDead. Changes that follow each other quickly may be told as one.
type Observer interface {
	// Members is every committed live boot, this node's included, in order of node id.
	Members(live []Peer)
	// Layout says how the ring is cut: first when that is known, then whenever it is cut anew. It ends whatever was owned
	// and routed under the layout before; partitions are those of the new one from then on. table is never written again.
	Layout(table ring.Table)
	// Acquire makes this node the owner of a partition. It is called again, after a Release, when the epoch goes up.
	Acquire(part uint32, epoch uint64)
	// Release ends the ownership; epoch is the one that ended it.
	Release(part uint32, epoch uint64)
	// Routed says that the committed owner is known and linked.
	Routed(part uint32, r Route)
	// Unrouted says that the owner is unknown, or the link to it is down. All partitions of a layout begin unrouted.
	Unrouted(part uint32)
	// Lease says whether this node may act. It begins as false, and becomes true once the view shows this boot: from then
	// on the log here has all that was committed before the boot began.
	Lease(held bool)
	// DeclaredDead says that this boot is committed dead or replaced. It can do nothing more here: the node must come
	// back under a new boot id. Called once at most, after Lease(false).
	DeclaredDead()
}

// FollowObserver is an Observer that also wants to know where the copies of what this node owns are to be kept.
type FollowObserver interface {
	// Follow names the committed follower of an owned partition and the session with it. The zero Peer: there is none,
	// or the link to it is down. It is called after Acquire, which begins without one, and whenever that changes.
	Follow(part uint32, to Peer, session uint64)
	// Parted says that a session with a member is over, and what was sent on it may be lost. It is called before anything
	// that names a later session with that member.
	Parted(from Peer, session uint64)
}
