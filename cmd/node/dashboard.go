package node

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster"
	"innkeeper/raftstore"
	"innkeeper/transport/admin"
	"innkeeper/transport/dispatch"
	"innkeeper/transport/limits"
	"innkeeper/transport/meter"
)

// kindFigures is a request on a link: what do you count?
const kindFigures = 11

// figuresTimeout bounds how long a page waits for a node; who is slower is shown as silent.
const figuresTimeout = 800 * time.Millisecond

// figures is the answer to kindFigures.
type figures struct {
	Counts    admin.Figures    `json:"counts"`
	LeaseAges map[string]int64 `json:"lease_ages"` // by boot, milliseconds; of the leader only
	Rules     *dispatch.Status `json:"rules"`      // of the node that sends only
}

// figures says what this node counts.
func (b *boot) figures() figures {
	g, h := b.gateway.Stats(), b.host.Stats()
	f := figures{Counts: admin.Figures{
		Connections: int(g.Connections), Attachments: int(g.Attachments),
		Open: h.Open, Serving: h.Serving, Rebuilding: h.Rebuilding,
		MessagesIn: g.MessagesIn, MessagesOut: g.Deliveries, Connects: g.Connects, Nacks: g.Nacks,
		MailboxFull: h.MailboxFull, OutboxFull: g.OverflowCloses,
	}}
	if b.store.IsLeader() {
		f.LeaseAges = map[string]int64{}
		for _, m := range b.cluster.Status().Members {
			if m.LeaseAgeMs != nil {
				f.LeaseAges[m.Boot] = *m.LeaseAgeMs
			}
		}
	}
	if s := b.dispatcher.Status(); s.Leading {
		f.Rules = &s
	}
	return f
}

func (b *boot) onFigures(context.Context, cluster.Peer, []byte) ([]byte, error) {
	if b.stopping.Load() {
		return nil, errors.New("stopping")
	}
	return json.Marshal(b.figures())
}

// liveConfig is what the live part of the admin API reads from.
func (b *boot) liveConfig() admin.LiveConfig {
	return admin.LiveConfig{Summary: b.summary, Events: b.liveEvents, Query: b.query, Holders: b.holders, Meter: b.meterRows, Standing: b.standing, Ended: b.stopping.Load, Logger: b.log}
}

// summary asks all nodes at the same time and puts together what those say that answer.
func (b *boot) summary(ctx context.Context) admin.Summary {
	status, log := b.cluster.Status(), b.store.Stats()
	said := b.ask(ctx, status.Members)
	s := admin.Summary{
		TimeMs: time.Now().UnixMilli(), Node: status.Node, Version: version(), ClusterID: status.ClusterID,
		Leader: status.Leader, Term: status.Term, LeaseMs: status.LeaseMs, Reasons: b.readiness().Reasons(), Stale: b.stale(),
		Members: []admin.Member{}, Partitions: placement(status.Table),
		FirstSeq: log.FirstEvent, LastSeq: log.LastEvent, Occupied: log.Occupied,
	}
	voters := map[string]bool{}
	for _, v := range status.Servers {
		voters[v.Node] = v.Voter
	}
	rules, ages := (*dispatch.Status)(nil), map[string]int64{}
	for i, m := range status.Members {
		member := admin.Member{
			Node: m.Node, Boot: m.Boot, State: m.State, Link: m.Link, Client: m.Client, Admin: m.Admin,
			Owned: m.Owned, Voter: voters[m.Node],
		}
		if f := said[i]; f != nil {
			member.Figures = &f.Counts
			if m.Node == status.Leader {
				ages = f.LeaseAges
			}
			if f.Rules != nil {
				rules, s.RulesFrom = f.Rules, m.Node
			}
		}
		s.Members = append(s.Members, member)
	}
	for i := range s.Members {
		if age, ok := ages[s.Members[i].Boot]; ok {
			s.Members[i].LeaseAgeMs = &age
		}
	}
	if rules == nil { // nobody sends: cursors and lag are known here too
		own := b.dispatcher.Status()
		rules, s.RulesFrom = &own, status.Node
	}
	s.Rules, _ = json.Marshal(rules) // plain data
	s.Limits = b.limitStates()
	return s
}

// ask returns the figures of each member, nil of those that do not answer.
func (b *boot) ask(ctx context.Context, members []cluster.MemberStatus) []*figures {
	ctx, cancel := context.WithTimeout(ctx, figuresTimeout)
	defer cancel()
	out := make([]*figures, len(members))
	var all sync.WaitGroup
	for i, m := range members {
		switch m.Link {
		case "self":
			if m.Boot == b.id {
				own := b.figures()
				out[i] = &own
			}
		case "up":
			all.Go(func() {
				var f figures
				answer, err := b.cluster.Request(ctx, m.Node, kindFigures, nil)
				if err == nil && json.Unmarshal(answer, &f) == nil {
					out[i] = &f
				}
			})
		}
	}
	all.Wait()
	return out
}

// placement is the table in few bytes.
func placement(table []cluster.SlotStatus) admin.Placement {
	p := admin.Placement{Nodes: []string{}, Owners: []int{}, Followers: []int{}, Epochs: []uint64{}}
	index := map[string]int{"": -1}
	number := func(node string) int {
		i, ok := index[node]
		if !ok {
			i = len(p.Nodes)
			index[node], p.Nodes = i, append(p.Nodes, node)
		}
		return i
	}
	for _, s := range table {
		p.Owners = append(p.Owners, number(s.Owner))
		p.Followers = append(p.Followers, number(s.Follower))
		p.Epochs = append(p.Epochs, s.Epoch)
	}
	return p
}

// liveEvents implements admin.LiveConfig.Events.
func (b *boot) liveEvents(after uint64, limit int) (first, last uint64, events []admin.LiveEvent) {
	first, last, evs, err := b.store.Events(after, limit)
	if errors.Is(err, raftstore.ErrCompacted) && first > 0 {
		first, last, evs, err = b.store.Events(first-1, limit)
	}
	if err != nil { // compacted once more in between: the next call sees
		return first, last, nil
	}
	events = make([]admin.LiveEvent, len(evs))
	for i, e := range evs {
		events[i] = admin.LiveEvent{Seq: e.Seq, ID: e.ID, App: e.App, Channel: e.Channel, Type: e.Kind.String(), TimeMs: e.TimeMs, Ends: e.Ends}
		var n limitNotice
		if limit := e.Kind == raftstore.LimitNear || e.Kind == raftstore.LimitOver; limit && json.Unmarshal([]byte(e.Channel), &n) == nil {
			events[i].Channel, events[i].Note = "", n.String()
		}
	}
	return first, last, events
}

// meterRows implements admin.LiveConfig.Meter.
func (b *boot) meterRows(app, unit string, limit int) ([]admin.MeterRow, error) {
	q := meter.Query{Series: meter.AppSeries(app), ToMs: math.MaxInt64 - 1, Limit: limit}
	if app == "" {
		q.Series = meter.AccountSeries(accountOfAll)
	}
	var err error
	if q.Unit, err = meter.ParseUnit(unit); err != nil {
		return nil, err
	}
	entries, _, err := b.metering.archive.Find(q)
	if err != nil {
		return nil, err
	}
	slices.Reverse(entries) // newest first, as they are asked for
	rows := make([]admin.MeterRow, len(entries))
	for i, e := range entries {
		gauge := func(g *meter.Gauge) admin.MeterGauge {
			return admin.MeterGauge{Min: g.Min, Mean: e.Row.Mean(g), Peak: g.Peak}
		}
		rows[i] = admin.MeterRow{StartMs: e.StartMs, AsOfMs: e.AsOfMs, Channels: gauge(&e.Row.Channels), Connections: gauge(&e.Row.Connections)}
	}
	return rows, nil
}

// query implements admin.LiveConfig.Query.
func (b *boot) query(ctx context.Context, app, name string) (bool, channel.Counts, error) {
	q, err := b.gateway.Query(ctx, app, name)
	return q.Active, q.Counts, err
}

// limitStates is how the limits stand that are set, the ones that are met first.
func (b *boot) limitStates() []admin.LimitState {
	list := []admin.LimitState{}
	rows, _ := b.store.Rows(tableLimits)
	for _, row := range rows {
		scope := limits.Scope(row.Key)
		set, _, err := steering{b.authority}.readLimits(scope)
		if err != nil {
			continue // whoever reads it at the control API learns why
		}
		for n := range limits.NumNames {
			if set[n] == (limits.Limit{}) {
				continue
			}
			u := b.limiting.usage(limits.Key{Scope: scope, Name: n})
			list = append(list, admin.LimitState{
				Scope: scope.Kind(), ID: scope.ID(), Limit: n.String(), Unit: n.Unit(), Value: u.Value, Soft: set[n].Soft, Hard: set[n].Hard, Level: u.Level, SinceMs: u.SinceMs,
			})
		}
	}
	order := map[string]int{limits.Over.String(): -2, limits.Near.String(): -1}
	slices.SortStableFunc(list, func(a, b admin.LimitState) int { return order[a.Level] - order[b.Level] })
	return list[:min(len(list), admin.LimitsShown)]
}
