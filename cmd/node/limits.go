package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster"
	"innkeeper/raftstore"
	"innkeeper/transport/limits"
	"innkeeper/transport/meter"
)

// tableLimits is the table of the log that holds what apps and accounts may have: scope → limits.Set as JSON.
const tableLimits = "limits"

// kindLimits is a request on a link: a limits.Sync for the leader, as JSON.
const kindLimits = 13

// How a node talks to the leader about limits.
const (
	limitsEvery   = 500 * time.Millisecond
	limitsAgain   = 100 * time.Millisecond // while somebody waits
	limitsTimeout = time.Second
)

// limiting applies limits on this node, and keeps them for the cluster while it leads.
type limiting struct {
	b     *boot
	gates *limits.Gates
	purse *limits.Purse
	short chan struct{} // nudge: somebody waits

	refusedChannels sync.Map // app → *atomic.Uint64: channels that were not opened

	mu     sync.Mutex
	leader *limits.Leader
	term   uint64 // of it

	watches map[limits.Key]*limits.Watch // of the leader
	asked   map[limits.Key]float64       // of rates, in the whole cluster, as the leader said last
	values  map[limits.Key]int64         // as of the last second
}

func newLimiting(b *boot) *limiting {
	l := &limiting{b: b, gates: limits.NewGates(), short: make(chan struct{}, 1)}
	l.purse = limits.NewPurse(l.gates, l.used, func() { nudge(l.short) })
	l.gates.Set(limits.Config{Account: b.authority.accounts()})
	return l
}

// used is how much of what is limited this node has open.
func (l *limiting) used(n limits.Name, has func(app string) bool) int64 {
	if n == limits.Channels {
		return l.b.host.OpenNow(has)
	}
	return l.b.gateway.ConnectionsOf(has)
}

// Limited implements channel.Admission.
func (l *limiting) Limited(app string) bool {
	return l.gates.MustAsk(limits.Channels, limits.ChannelRate, app)
}

// Ask implements channel.Admission.
func (l *limiting) Ask(app string, done func(channel.Refusal)) {
	if r := l.gates.Of(app).Spend(limits.ChannelRate, 1); r != nil {
		l.refuse(app)
		done(channel.OpenedTooFast)
		return
	}
	l.purse.Ask(time.Now(), limits.Channels, app, func(v limits.Verdict, s limits.Scope) {
		switch {
		case v == limits.Granted:
			done(channel.Accepted)
			return
		case v == limits.Unknown:
			done(channel.Busy)
		case s.Kind() == "account":
			done(channel.AccountChannels)
		default:
			done(channel.TooManyChannels)
		}
		l.refuse(app)
		if v == limits.Full {
			l.gates.Refused(limits.Key{Scope: s, Name: limits.Channels})
		}
	})
}

// Settle implements channel.Admission.
func (l *limiting) Settle(app string, open func()) { l.purse.Settle(limits.Channels, app, open) }

// refuse counts a channel that was not opened.
func (l *limiting) refuse(app string) {
	n, ok := l.refusedChannels.Load(app)
	if !ok {
		n, _ = l.refusedChannels.LoadOrStore(app, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

// ofChannel is what an app's channels keep to themselves.
func (l *limiting) ofChannel(app string) (members, rate int) {
	g := l.gates.Of(app)
	return int(g.Single(limits.PresenceMembers)), int(g.Single(limits.ChannelMessageRate))
}

// run talks to the leader until the boot ends.
func (l *limiting) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(limitsEvery)
	defer tick.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	var said time.Time // when demands were told
	for {
		select {
		case <-l.short:
		case <-again.C:
		case <-tick.C:
		case <-l.b.quit:
			l.purse.Close()
			return
		}
		if l.gates.Any() || l.purse.Waiting() {
			now := time.Now()
			whole := now.Sub(said) >= time.Second-limitsEvery/2
			if whole {
				said = now
			}
			l.sync(ctx, whole)
			if whole {
				l.watch(ctx, now)
			}
		}
		if l.purse.Waiting() {
			again.Reset(limitsAgain)
		}
	}
}

// sync tells the leader what is open here and takes in its answer. whole: with what is only needed once a second.
func (l *limiting) sync(ctx context.Context, whole bool) {
	holds, ok := l.purse.Begin()
	if !ok {
		return
	}
	s := &limits.Sync{Holds: holds}
	if whole {
		s.Demands, s.Refused = l.gates.Demands(), l.gates.Refusals()
	}
	ctx, cancel := context.WithTimeout(ctx, limitsTimeout)
	defer cancel()
	a, err := l.tell(ctx, s)
	if err != nil {
		l.b.log.Debug("the leader did not answer about limits", "err", err)
		l.purse.End(time.Now(), nil)
		return
	}
	l.gates.Share(a.Shares)
	if whole {
		asked := make(map[limits.Key]float64, len(a.Shares))
		for _, s := range a.Shares {
			asked[s.Key] = s.Asked
		}
		l.mu.Lock()
		l.asked = asked
		l.mu.Unlock()
	}
	l.purse.End(time.Now(), a.Grants)
}

func (l *limiting) tell(ctx context.Context, s *limits.Sync) (a *limits.Answer, err error) {
	leader := l.b.store.Leader()
	switch leader {
	case "":
		return nil, errors.New("no leader is known")
	case l.b.node.disk.NodeID():
		return l.answer(l.b.id, s)
	}
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	answer, err := l.b.cluster.Request(ctx, leader, kindLimits, payload)
	if err == nil {
		err = json.Unmarshal(answer, &a)
	}
	return a, err
}

// onSync answers another node.
func (l *limiting) onSync(_ context.Context, from cluster.Peer, payload []byte) ([]byte, error) {
	var s limits.Sync
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, err
	}
	a, err := l.answer(from.Boot, &s)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// answer is the leader's.
func (l *limiting) answer(boot string, s *limits.Sync) (*limits.Answer, error) {
	if !l.b.store.IsLeader() || !l.b.held.Load() {
		return nil, errors.New("this node does not lead")
	}
	c := limits.Cluster{
		Hard: func(k limits.Key) int64 { return l.gates.Hard(k.Scope, k.Name) },
		Open: l.openChannels(),
	}
	known := false
	for _, m := range l.b.store.View().Members {
		if m.State != raftstore.Dead {
			c.Live = append(c.Live, m.Boot)
			known = known || m.Boot == boot
		}
	}
	if !known {
		return nil, errors.New("not a member")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lead()
	return l.leader.Sync(time.Now(), boot, s, c), nil
}

// lead begins anew with each term; l.mu is held.
func (l *limiting) lead() {
	if term := l.b.store.Term(); l.leader == nil || l.term != term {
		l.leader, l.term, l.watches = limits.NewLeader(), term, nil
	}
}

// openChannels reads what all nodes reported: what moves between them is not in what they say of themselves. Connections do
// not move.
func (l *limiting) openChannels() func(limits.Key) int64 {
	var apps map[string]meter.Now
	return func(k limits.Key) (sum int64) {
		if k.Name != limits.Channels {
			return 0
		}
		if apps == nil {
			var whole bool
			if apps, whole = l.b.metering.open(); !whole {
				apps = nil
				return math.MaxInt64 // nobody knows: nothing is given, and nothing refused
			}
		}
		for app, now := range apps {
			if limits.AppScope(app) == k.Scope || l.gates.Account(app) == k.Scope {
				sum += now.Channels
			}
		}
		return sum
	}
}

// applyLimits takes over what the log says. The limits that channels apply themselves reach those that are open, too.
func (a *authority) applyLimits(rows []raftstore.Row) {
	sets := map[limits.Scope]limits.Set{}
	for _, r := range rows {
		var set limits.Set
		if err := json.Unmarshal(r.Value, &set); err != nil {
			a.b.log.Error("limits in the log cannot be read; they are left out", "scope", r.Key, "err", err)
			continue
		}
		sets[limits.Scope(r.Key)] = set
	}
	a.b.limiting.gates.Set(limits.Config{Sets: sets, Account: a.accounts()})
	a.b.host.Reconfigure()
}

// limitNewApp gives an app that was just made the limits that new ones have. Every node knows them when it returns.
func (a *authority) limitNewApp(ctx context.Context, app string) error {
	set, err := a.b.node.cfg.Limits.OfNewApps()
	if err != nil || set.Empty() {
		return err
	}
	value, err := json.Marshal(set)
	if err != nil {
		return err
	}
	version, err := a.b.store.Put(ctx, raftstore.Put{Table: tableLimits, Key: string(limits.AppScope(app)), Value: value, IfAbsent: true})
	if errors.Is(err, raftstore.ErrExists) {
		return nil // somebody was quicker to set some
	}
	if err != nil {
		return err
	}
	return a.spread(ctx, tableLimits, version)
}

// accounts says whose an app is, as of now.
func (a *authority) accounts() func(app string) string {
	byApp := map[string]string{}
	for i := range a.b.node.cfg.Apps {
		c := &a.b.node.cfg.Apps[i]
		byApp[c.ID] = cmp.Or(c.Account, accountOfAll)
	}
	for id, app := range a.catalog.Load().apps {
		if byApp[id] == "" {
			byApp[id] = app.Account()
		}
	}
	return func(app string) string { return cmp.Or(byApp[app], accountOfAll) }
}

// open is what each app has open, as all nodes reported it; whole: they all did.
func (m *metering) open() (apps map[string]meter.Now, whole bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.board.Apps(), m.board.Complete()
}

var _ channel.Admission = (*limiting)(nil)
