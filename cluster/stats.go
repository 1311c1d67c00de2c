package cluster

import "sync/atomic"

// Stats are counters since New. All but the gauges only grow.
type Stats struct {
	BadFirstBytes    uint64 // connections closed because their first byte named no service, or none came in time
	LinksOpened      uint64 // outbound connections that finished their hello
	LinksBroken      uint64 // outbound connections that ended
	LinksRefused     uint64 // hellos refused, by either side
	QueueOverflows   uint64 // links reset because too much waited for them
	FramesSent       uint64
	BytesSent        uint64
	Writes           uint64 // FramesSent / Writes is how well frames share a write
	FramesReceived   uint64
	BytesReceived    uint64
	FramesUnhandled  uint64 // of a kind nobody handles
	RequestsRefused  uint64 // because too many of one peer were being served
	LeasesGranted    uint64 // by this node as leader
	LeasesLost       uint64 // of this node
	DeathsCommitted  uint64 // by this node as leader
	PlansCommitted   uint64
	PlansConflicted  uint64
	PartitionsMoved  uint64 // from a member that lives to another, by this node as leader
	GossipForeign    uint64 // gossip about nodes of other clusters, ignored
	GossipPackets    uint64 // received
	GossipPacketsBad uint64 // packets that could not be sent
}

// counters are Stats as they are counted.
type counters struct {
	badFirstBytes, linksOpened, linksBroken, linksRefused, queueOverflows          atomic.Uint64
	framesSent, bytesSent, writes, framesReceived, bytesReceived                   atomic.Uint64
	framesUnhandled, requestsRefused, leasesGranted, leasesLost, deathsCommitted   atomic.Uint64
	plansCommitted, plansConflicted, gossipForeign, gossipPackets, gossipPacketBad atomic.Uint64
	partitionsMoved                                                                atomic.Uint64
}

// Stats reads the counters.
func (c *Cluster) Stats() Stats {
	n := &c.count
	return Stats{
		BadFirstBytes: n.badFirstBytes.Load(), LinksOpened: n.linksOpened.Load(), LinksBroken: n.linksBroken.Load(),
		LinksRefused: n.linksRefused.Load(), QueueOverflows: n.queueOverflows.Load(),
		FramesSent: n.framesSent.Load(), BytesSent: n.bytesSent.Load(), Writes: n.writes.Load(),
		FramesReceived: n.framesReceived.Load(), BytesReceived: n.bytesReceived.Load(),
		FramesUnhandled: n.framesUnhandled.Load(), RequestsRefused: n.requestsRefused.Load(),
		LeasesGranted: n.leasesGranted.Load(), LeasesLost: n.leasesLost.Load(), DeathsCommitted: n.deathsCommitted.Load(),
		PlansCommitted: n.plansCommitted.Load(), PlansConflicted: n.plansConflicted.Load(), PartitionsMoved: n.partitionsMoved.Load(),
		GossipForeign: n.gossipForeign.Load(), GossipPackets: n.gossipPackets.Load(), GossipPacketsBad: n.gossipPacketBad.Load(),
	}
}
