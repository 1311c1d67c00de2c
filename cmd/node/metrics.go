package node

import (
	"innkeeper/transport/admin"
)

// sources are where the metrics come from, read at each scrape.
func (b *boot) sources() admin.Sources {
	return admin.Sources{Node: b.nodeStats, Log: b.logStats, Rules: b.ruleStats, Links: b.linkStats}
}

func (b *boot) nodeStats() admin.NodeStats {
	g, h := b.gateway.Stats(), b.host.Stats()
	return admin.NodeStats{
		Connections: int(g.Connections), Attachments: int(g.Attachments),
		ChannelsOpen: h.Open, ChannelsOccupied: h.Occupied,
		PartitionsOpen: h.Serving, Rebuilding: h.Rebuilding,
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
	for _, r := range b.dispatcher.Status().Rules {
		out = append(out, admin.RuleStats{
			App: r.App, Rule: r.Rule, Lag: r.Lag, LastSent: r.LastSent, Sent: r.Sent,
			Attempts: r.Attempts, Failures: r.Failures, Skipped: r.Skipped, InBackoff: r.InBackoff,
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
