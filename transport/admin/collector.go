package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// NodeStats is what a node counts about its clients and channels.
type NodeStats struct {
	Connections      int    // client connections held by this node
	Attachments      int    // of those connections to channels
	ChannelsOpen     int    // channels active on this node as their owner
	ChannelsOccupied int    // of those, channels with the occupied obligation
	PartitionsOpen   int    // partitions owned and served
	Rebuilding       int    // partitions owned, not served yet
	Uncopied         int    // partitions served of whose messages no other node has a whole copy
	LeaseHeld        bool   // whether the node may act for the cluster
	MessagesIn       uint64 // messages published through this node
	MessagesOut      uint64 // messages delivered to connections of this node
	MailboxFull      uint64 // commands refused because a channel was too busy
	OutboxFull       uint64 // connections ended because they read too slowly
}

// LogStats is what a node counts about its copy of the partition log.
type LogStats struct {
	Leader       bool          // whether this node leads
	Term         uint64        // of Raft
	LastIndex    uint64        // last entry stored
	CommitIndex  uint64        // last entry committed
	AppliedIndex uint64        // last entry applied
	Commits      uint64        // proposals of this node that were committed
	CommitTime   time.Duration // sum over Commits, from proposal to commit
	Transitions  uint64        // occupied and vacated proposed by this node and committed
	FirstSeq     uint64        // oldest event retained
	LastSeq      uint64        // newest event
	Occupied     int           // channels occupied in the whole cluster
}

// RuleStats is how one event rule fares. The counters are of this process.
type RuleStats struct {
	App, Rule string
	Lag       uint64            // events of the log behind the rule's cursor
	Leading   bool              // whether this process sends; only then is there a LagTime
	LagTime   time.Duration     // age of the oldest event that is wanted and not accepted
	LastSent  uint64            // highest seq accepted by the sink
	Sent      uint64            // events accepted
	Attempts  uint64            // requests made
	Failures  map[string]uint64 // requests not accepted, by kind; kinds that never happened are there too, as 0
	Skipped   uint64            // events gone before they could be sent
	Gaps      uint64            // gaps that the sink was told of, or that its format has no word for
	InBackoff bool              // waiting before it tries again
}

// LinkStats is the state of the link to one other node.
type LinkStats struct {
	Node string
	Up   bool
}

// TrafficStats is what a node counts about its links to all other nodes together.
type TrafficStats struct {
	SentBytes     uint64
	ReceivedBytes uint64
	Broken        uint64 // links that ended
	Overflows     uint64 // of those, because their queue was full
}

// LimitStats is how one limit of an app or an account stands.
type LimitStats struct {
	Scope, ID string // "app" or "account", and its id
	Limit     string // its name, as in the control API
	Soft      int64  // thresholds; 0 is none
	Hard      int64
	Value     int64  // of what is limited, in the whole cluster, a second ago
	Measured  bool   // whether there is such a value: not of a limit of one channel, connection or publish
	Level     int    // 0 calm, 1 approaching, 2 exceeded
	Refused   uint64 // by this process
}

// Sources are the functions that metrics are read from at each scrape. A nil one leaves its metrics out. They must be
// quick and safe to call from many goroutines.
type Sources struct {
	Node  func() NodeStats
	Log   func() LogStats
	Rules func() []RuleStats
	Links func() []LinkStats
	// Limits are those of all apps and accounts that have some.
	Limits func() []LimitStats
	// Traffic is over all links.
	Traffic func() TrafficStats
}

// Collector turns a node's own counters into Prometheus metrics. Register it with a registry.
type Collector struct{ sources Sources }

// NewCollector returns a collector that reads from the sources.
func NewCollector(s Sources) *Collector { return &Collector{s} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("innkeeper_"+name, help, labels, nil)
}

// The metrics. Names end in their unit where they have one.
var (
	connections   = desc("connections", "Client connections held by this node.")
	attachments   = desc("attachments", "Attachments of this node's connections to channels.")
	channels      = desc("channels_open", "Channels that are active on this node as their owner.")
	occupied      = desc("channels_occupied", "Occupied channels that this node owns.")
	partitions    = desc("partitions", "Partitions that this node owns, by state: open (served) or rebuilding.", "state")
	uncopied      = desc("partitions_uncopied", "Partitions that this node serves and of whose messages no other node has a whole copy: what is in them may be lost with it.")
	leaseHeld     = desc("lease_held", "1 while this node holds its lease and may act for the cluster, else 0.")
	messages      = desc("messages_total", "Messages published through this node (in) and delivered to its connections (out).", "direction")
	mailboxFull   = desc("mailbox_full_total", "Commands refused because a channel's mailbox was full.")
	outboxFull    = desc("outbox_full_total", "Connections ended because their outbox was full.")
	leader        = desc("leader", "1 while this node is the Raft leader, else 0.")
	term          = desc("log_term", "Raft term that this node is in.")
	index         = desc("log_index", "Raft log index that this node has stored, knows committed, and has applied.", "reached")
	commitSeconds = desc("log_commit_seconds", "Time from proposing to the commit of this node's proposals, in seconds.")
	transitions   = desc("log_transitions_total", "Occupied and vacated transitions that this node proposed and saw committed.")
	firstSeq      = desc("events_first_seq", "Seq of the oldest event that the log retains.")
	lastSeq       = desc("events_last_seq", "Seq of the newest event of the log.")
	occupiedAll   = desc("log_channels_occupied", "Occupied channels of the whole cluster, as of this node's copy of the log.")
	ruleLag       = desc("rule_lag_events", "Events of the log that the rule's cursor has not passed.", "app", "rule")
	ruleLagTime   = desc("rule_lag_seconds", "Age of the oldest event that the rule wants and its sink has not accepted, in seconds; only from the node that sends.", "app", "rule")
	ruleLast      = desc("rule_last_sent_seq", "Highest seq that the rule's sink accepted from this node.", "app", "rule")
	ruleSent      = desc("rule_sent_events_total", "Events that the rule's sink accepted from this node.", "app", "rule")
	ruleAttempts  = desc("rule_attempts_total", "Requests that this node made to the rule's sink.", "app", "rule")
	ruleFailures  = desc("rule_failures_total", "Requests to the rule's sink that were not accepted, by kind: connect, timeout, broken, status or answer.", "app", "rule", "kind")
	ruleSkipped   = desc("rule_skipped_events_total", "Events that were gone from the log before this node could send them.", "app", "rule")
	ruleGaps      = desc("rule_gaps_total", "Gaps in the events that the rule's sink was told of, or that its format has no word for.", "app", "rule")
	ruleBackoff   = desc("rule_in_backoff", "1 while requests to the rule's sink wait to be tried again, else 0.", "app", "rule")
	linkUp        = desc("link_up", "1 while the link to the other node is up, else 0.", "node")
	linkBytes     = desc("link_bytes_total", "Bytes sent to (out) and received from (in) other nodes.", "direction")
	linkBroken    = desc("link_breaks_total", "Links to other nodes that ended.")
	limitSet      = desc("limit", "Threshold of a limit of an app or account, soft (told) or hard (refused).", "scope", "id", "limit", "threshold")
	limitValue    = desc("limit_value", "What there is of what is limited, in the whole cluster, as of the last second.", "scope", "id", "limit")
	limitLevel    = desc("limit_level", "How the limit stands: 0 calm, 1 approaching, 2 exceeded.", "scope", "id", "limit")
	limitRefused  = desc("limit_refused_total", "What this node refused because of the limit.", "scope", "id", "limit")
	linkOverflows = desc("link_overflows_total", "Links to other nodes that were reset because their queue was full.")
)

// Describe sends nothing: which metrics there are depends on the sources that are given.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads all sources once.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	if c.sources.Node != nil {
		collectNode(out, c.sources.Node())
	}
	if c.sources.Log != nil {
		collectLog(out, c.sources.Log())
	}
	if c.sources.Rules != nil {
		for _, r := range c.sources.Rules() {
			collectRule(out, r)
		}
	}
	if c.sources.Traffic != nil {
		collectTraffic(out, c.sources.Traffic())
	}
	if c.sources.Limits != nil {
		for _, l := range c.sources.Limits() {
			collectLimit(out, l)
		}
	}
	if c.sources.Links != nil {
		for _, l := range c.sources.Links() {
			gauge(out, linkUp, one(l.Up), l.Node)
		}
	}
}

func collectNode(out chan<- prometheus.Metric, s NodeStats) {
	gauge(out, connections, s.Connections)
	gauge(out, attachments, s.Attachments)
	gauge(out, channels, s.ChannelsOpen)
	gauge(out, occupied, s.ChannelsOccupied)
	gauge(out, partitions, s.PartitionsOpen, "open")
	gauge(out, partitions, s.Rebuilding, "rebuilding")
	gauge(out, uncopied, s.Uncopied)
	gauge(out, leaseHeld, one(s.LeaseHeld))
	counter(out, messages, s.MessagesIn, "in")
	counter(out, messages, s.MessagesOut, "out")
	counter(out, mailboxFull, s.MailboxFull)
	counter(out, outboxFull, s.OutboxFull)
}

func collectLog(out chan<- prometheus.Metric, s LogStats) {
	gauge(out, leader, one(s.Leader))
	gauge(out, term, s.Term)
	gauge(out, index, s.LastIndex, "stored")
	gauge(out, index, s.CommitIndex, "committed")
	gauge(out, index, s.AppliedIndex, "applied")
	out <- prometheus.MustNewConstSummary(commitSeconds, s.Commits, s.CommitTime.Seconds(), nil)
	counter(out, transitions, s.Transitions)
	gauge(out, firstSeq, s.FirstSeq)
	gauge(out, lastSeq, s.LastSeq)
	gauge(out, occupiedAll, s.Occupied)
}

func collectRule(out chan<- prometheus.Metric, s RuleStats) {
	gauge(out, ruleLag, s.Lag, s.App, s.Rule)
	if s.Leading {
		gauge(out, ruleLagTime, s.LagTime.Seconds(), s.App, s.Rule)
	}
	gauge(out, ruleLast, s.LastSent, s.App, s.Rule)
	counter(out, ruleSent, s.Sent, s.App, s.Rule)
	counter(out, ruleAttempts, s.Attempts, s.App, s.Rule)
	for kind, n := range s.Failures {
		counter(out, ruleFailures, n, s.App, s.Rule, kind)
	}
	counter(out, ruleSkipped, s.Skipped, s.App, s.Rule)
	counter(out, ruleGaps, s.Gaps, s.App, s.Rule)
	gauge(out, ruleBackoff, one(s.InBackoff), s.App, s.Rule)
}

func collectLimit(out chan<- prometheus.Metric, s LimitStats) {
	if s.Soft > 0 {
		gauge(out, limitSet, s.Soft, s.Scope, s.ID, s.Limit, "soft")
	}
	if s.Hard > 0 {
		gauge(out, limitSet, s.Hard, s.Scope, s.ID, s.Limit, "hard")
	}
	if s.Measured {
		gauge(out, limitValue, s.Value, s.Scope, s.ID, s.Limit)
	}
	gauge(out, limitLevel, s.Level, s.Scope, s.ID, s.Limit)
	counter(out, limitRefused, s.Refused, s.Scope, s.ID, s.Limit)
}

func collectTraffic(out chan<- prometheus.Metric, s TrafficStats) {
	counter(out, linkBytes, s.SentBytes, "out")
	counter(out, linkBytes, s.ReceivedBytes, "in")
	counter(out, linkBroken, s.Broken)
	counter(out, linkOverflows, s.Overflows)
}

func gauge[N int | int64 | uint64 | float64](out chan<- prometheus.Metric, d *prometheus.Desc, v N, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func counter(out chan<- prometheus.Metric, d *prometheus.Desc, v uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
