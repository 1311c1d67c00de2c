package node

import (
	"time"

	"innkeeper/transport/admin"
	"innkeeper/transport/dispatch"
)

// sources are where the metrics come from, read at each scrape.
func (b *boot) sources() admin.Sources {
	return admin.Sources{Node: b.nodeStats, Log: b.logStats, Rules: b.ruleStats, Links: b.linkStats, Limits: b.limiting.stats, Traffic: b.trafficStats}
}

func (b *boot) nodeStats() admin.NodeStats {
	g, h := b.gateway.Stats(), b.host.Stats()
	return admin.NodeStats{
		Connections: int(g.Connections), Attachments: int(g.Attachments),
		ChannelsOpen: h.Open, ChannelsOccupied: h.Occupied,
		PartitionsOpen: h.Serving, Rebuilding: h.Rebuilding, Uncopied: h.Uncopied,
		LeaseHeld:  b.cluster.LeaseHeld(),
		MessagesIn: g.MessagesIn, MessagesOut: g.Deliveries,
		MailboxFull: h.MailboxFull, OutboxFull: g.OverflowCloses,
	}
}

func (b *boot) logStats() admin.LogStats {
	s := b.store.Stats()
	return admin.LogStats{
		Leader: b.store.IsLeader(), Term: s.Term,
		LastIndex: s.LastIndex, CommitIndex: s.AppliedIndex, AppliedIndex: s.AppliedIndex,
		Commits: s.Commits.Count, CommitTime: s.Commits.Sum, Transitions: s.Proposed,
		FirstSeq: s.FirstEvent, LastSeq: s.LastEvent, Occupied: s.Occupied,
	}
}

func (b *boot) ruleStats() []admin.RuleStats {
	var out []admin.RuleStats
	status := b.rules()
	for _, r := range status.Rules {
		failures := make(map[string]uint64, len(dispatch.FailureKinds))
		for _, kind := range dispatch.FailureKinds {
			failures[string(kind)] = r.ByKind[kind]
		}
		out = append(out, admin.RuleStats{
			App: r.App, Rule: r.Rule, Lag: r.Lag, Leading: status.Leading,
			LagTime:  time.Duration(r.LagSeconds * float64(time.Second)),
			LastSent: r.LastSent, Sent: r.Sent, Attempts: r.Attempts, Failures: failures,
			Skipped: r.Skipped, Gaps: r.Gaps, InBackoff: r.InBackoff,
		})
	}
	return out
}

func (b *boot) linkStats() []admin.LinkStats {
	var out []admin.LinkStats
	for _, m := range b.cluster.Status().Members {
		if m.Link != "self" {
			out = append(out, admin.LinkStats{Node: m.Node, Up: m.Link == "up"})
		}
	}
	return out
}

func (b *boot) trafficStats() admin.TrafficStats {
	s := b.cluster.Stats()
	return admin.TrafficStats{SentBytes: s.BytesSent, ReceivedBytes: s.BytesReceived, Broken: s.LinksBroken, Overflows: s.QueueOverflows}
}
