package transport

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// counters are written all over the gateway.
type counters struct {
	connects    atomic.Uint64
	framesIn    atomic.Uint64
	messagesIn  atomic.Uint64
	bytesIn     atomic.Uint64
	bytesOut    atomic.Uint64
	acks        atomic.Uint64
	nacks       atomic.Uint64
	queueFull   atomic.Uint64
	unannounced atomic.Uint64
	endings     [numEndings]atomic.Uint64
}

// Stats is what a gateway has now and has done since its start.
type Stats struct {
	// Now.
	Connections int64
	Attachments int64
	Channels    int64 // with at least one attachment here
	Requests    int64 // publishes and queries that wait for an owner

	// Since the start.
	Connects         uint64 // upgrades, refused clients included
	FramesIn         uint64 // from clients
	BytesIn          uint64 // payload of these
	MessagesIn       uint64 // published here, by connections and REST
	Deliveries       uint64 // publishes × attachments they were sent to
	BytesOut         uint64 // written to sockets, headers included
	Acks             uint64 // publishes acknowledged
	Nacks            uint64 // publishes refused
	OverflowCloses   uint64 // connections ended because they did not read
	AttachTimeouts   uint64 // attaches that no owner confirmed in time
	ContinuityLosses uint64 // attachments told that they may have missed messages
	StaleFrames      uint64 // from nodes that do not own the partition any more
	QueueFull        uint64 // frames from owners refused because a queue was full
	Unannounced      uint64 // events that metachannels were not told of, since there were too many

	// Endings counts connections that ended, by reason.
	Endings map[string]uint64
}

// Stats is a cheap, not quite simultaneous reading of all counters.
func (g *Gateway) Stats() Stats {
	n := &g.count
	st := Stats{
		Connections:    int64(g.sweeper.count()),
		Connects:       n.connects.Load(),
		FramesIn:       n.framesIn.Load(),
		BytesIn:        n.bytesIn.Load(),
		MessagesIn:     n.messagesIn.Load(),
		BytesOut:       n.bytesOut.Load(),
		Acks:           n.acks.Load(),
		Nacks:          n.nacks.Load(),
		OverflowCloses: n.endings[endOverflow].Load(),
		QueueFull:      n.queueFull.Load(),
		Unannounced:    n.unannounced.Load(),
		Endings:        make(map[string]uint64, numEndings-1),
	}
	for e := endGone; e < numEndings; e++ {
		st.Endings[e.String()] = n.endings[e].Load()
	}
	for _, s := range g.shards {
		st.Attachments += s.attachments.Load()
		st.Channels += s.channels.Load()
		st.Requests += s.pending.Load()
		st.Deliveries += s.deliveries.Load()
		st.AttachTimeouts += s.refused.Load()
		st.ContinuityLosses += s.lost.Load()
		st.StaleFrames += s.dropped.Load()
	}
	return st
}

// ConnectionInfo describes one connection to an operator.
type ConnectionInfo struct {
	ID          string    `json:"id"`
	App         string    `json:"app"`
	ClientID    string    `json:"client_id,omitempty"`
	Remote      string    `json:"remote"`
	Format      string    `json:"format"`
	Since       time.Time `json:"since"`
	Attachments int       `json:"attachments"`
	OutboxBytes int       `json:"outbox_bytes"` // waiting to be written
	Ending      string    `json:"ending,omitempty"`
}

// Connections describes up to limit connections, those with the longest outbox first.
func (g *Gateway) Connections(limit int) []ConnectionInfo {
	list := make([]ConnectionInfo, 0, g.sweeper.count())
	g.sweeper.each(func(c *conn) {
		info := ConnectionInfo{
			ID: c.id, App: c.identity.App, ClientID: c.identity.ClientID, Remote: c.raw.RemoteAddr().String(),
			Format: c.format.String(), Since: time.UnixMilli(c.since).UTC(),
			Attachments: int(c.opened.Load()), OutboxBytes: c.out.pendingBytes(),
		}
		if e := ending(c.ended.Load()); e != running {
			info.Ending = e.String()
		}
		list = append(list, info)
	})
	slices.SortFunc(list, func(a, b ConnectionInfo) int {
		return cmp.Or(cmp.Compare(b.OutboxBytes, a.OutboxBytes), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return list[:min(len(list), limit)]
}

// PartitionInfo describes to an operator what a gateway holds in one partition.
type PartitionInfo struct {
	Partition   uint32 `json:"partition"`
	Owner       string `json:"owner,omitempty"` // "" while there is no session
	Epoch       uint64 `json:"epoch,omitempty"`
	Session     uint64 `json:"session,omitempty"`
	Channels    int    `json:"channels"`
	Attachments int    `json:"attachments"`
	Waiting     int    `json:"waiting"`  // attaches not confirmed yet
	Requests    int    `json:"requests"` // not answered yet
}

// PartitionInfo describes all partitions. It asks the shards and so takes as long as their current batch.
func (g *Gateway) PartitionInfo() []PartitionInfo {
	answers := make(chan []PartitionInfo, len(g.shards))
	asked := 0
	for _, s := range g.shards {
		describe := func(s *shard) { answers <- s.describe() }
		if s.in.force(command{kind: doInspect, what: describe}) {
			asked++
		}
	}
	var list []PartitionInfo
	for range asked {
		list = append(list, <-answers...)
	}
	slices.SortFunc(list, func(a, b PartitionInfo) int { return cmp.Compare(a.Partition, b.Partition) })
	return list
}

// describe lists this shard's partitions.
func (s *shard) describe() []PartitionInfo {
	list := make([]PartitionInfo, len(s.parts))
	for i, p := range s.parts {
		info := &list[i]
		info.Partition = uint32(s.index*len(s.parts) + i)
		if p == nil {
			continue
		}
		if p.up() {
			info.Owner, info.Epoch, info.Session = p.route.Node, p.route.Epoch, p.route.Session
		}
		info.Channels = len(p.channels)
		for _, ch := range p.channels {
			info.Attachments += len(ch.attachments)
			info.Waiting += len(ch.waiting)
		}
		for r := p.head; r != nil; r = r.next {
			info.Requests++
		}
	}
	return list
}
