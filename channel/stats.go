package channel

import "sync/atomic"

// HostStats is what a Host has done and holds. Gauges are of the instant, the rest counts since NewHost.
type HostStats struct {
	Open, Occupied      int // channels: gauges
	Rebuilding, Serving int // partitions: gauges
	Uncopied            int // of those served, the ones without a whole copy elsewhere

	Publishes   uint64 // accepted
	Deliveries  uint64 // frames to gateways
	Registers   uint64 // taken, those in Snapshots included
	Snapshots   uint64
	Proposals   uint64
	Refused     uint64 // requests answered NotOwner
	MailboxFull uint64 // requests answered Busy, and registers that could not be kept
	Unsent      uint64 // frames a gateway's link did not take
	Strays      uint64 // frames that came for an epoch or a place that was not theirs, and registers without a Snapshot
}

type counters struct {
	open, occupied                                                                        atomic.Int64
	publishes, deliveries, registers, snapshots, proposals, refused, full, unsent, strays atomic.Uint64
}

// Stats reads the figures.
func (h *Host) Stats() HostStats {
	c := &h.counters
	stats := HostStats{
		Open: int(c.open.Load()), Occupied: int(c.occupied.Load()),
		Publishes: c.publishes.Load(), Deliveries: c.deliveries.Load(),
		Registers: c.registers.Load(), Snapshots: c.snapshots.Load(),
		Proposals: c.proposals.Load(), Refused: c.refused.Load(),
		MailboxFull: c.full.Load(), Unsent: c.unsent.Load(), Strays: c.strays.Load(),
	}
	parts := h.layout.Load().parts
	for i := range parts {
		switch at, copied := parts[i].stage(); {
		case at == rebuilding:
			stats.Rebuilding++
		case at == serving:
			stats.Serving++
			if !copied {
				stats.Uncopied++
			}
		}
	}
	return stats
}
