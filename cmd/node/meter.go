package node

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"innkeeper/cluster"
	"innkeeper/raftstore"
	"innkeeper/transport/meter"
	"innkeeper/transport/rest"
)

// kindMeter is a frame on a link: a meter.Report of the boot that sends it.
const kindMeter = 12

// accountOfAll is the account of apps that name none.
const accountOfAll = "default"

// metering keeps the meter of a boot. Each node tells all others once a second what it has, so that whoever leads next
// knows it already; the leader samples and commits. Who samples does not write: a slow disk delays commits, not samples.
type metering struct {
	b       *boot
	archive *meter.Archive
	due     chan struct{} // nudge: there may be something to write

	requests func() map[string]rest.Requests // of the REST API; set before the goroutines start

	mu      sync.Mutex
	n       uint64 // of the last report
	board   *meter.Board
	meter   *meter.Meter // nil unless this node leads
	term    uint64       // of it
	sinceMs int64        // when it began
}

func newMetering(b *boot) *metering {
	return &metering{
		b: b, due: make(chan struct{}, 1), board: meter.NewBoard(), archive: meter.NewArchive(meterLog{b}),
		requests: func() map[string]rest.Requests { return nil },
	}
}

// meterLog is the log as an archive sees it.
type meterLog struct{ b *boot }

// Rows implements meter.Log.
func (l meterLog) Rows(table string) ([]meter.Stored, uint64) {
	rows, version := l.b.store.Rows(table)
	list := make([]meter.Stored, len(rows))
	for i, r := range rows {
		list[i] = meter.Stored{Key: r.Key, Value: r.Value}
	}
	return list, version
}

// Version implements meter.Log.
func (l meterLog) Version(table string) uint64 { return l.b.store.TableVersion(table) }

// run reports at each full second until the boot ends, and samples a little later.
func (m *metering) run() {
	timer := time.NewTimer(untilSecond(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-m.b.quit:
			return
		}
		at := time.Now()
		m.tell()
		timer.Reset(hearing)
		select {
		case <-timer.C:
		case <-m.b.quit:
			return
		}
		m.sample(at.Truncate(time.Second).UnixMilli())
		timer.Reset(untilSecond(time.Now()))
	}
}

// hearing is how long the leader waits for what the others say at a full second, so that what moved meanwhile is not
// counted in both places.
const hearing = 200 * time.Millisecond

// hearingMax is how long a new leader waits at most for partitions that it has not heard of.
const hearingMax = 10 * time.Second

// untilSecond is the time to the next full second: all nodes report then.
func untilSecond(now time.Time) time.Duration {
	return now.Truncate(time.Second).Add(time.Second).Sub(now)
}

// tell reports to all members, this node included.
func (m *metering) tell() {
	r := m.report()
	payload := r.Append(nil)
	self := m.b.node.disk.NodeID()
	for _, x := range m.b.store.View().Members {
		if x.State != raftstore.Dead && x.Node != self {
			m.b.cluster.Send(x.Node, 0, kindMeter, payload) // one that is lost is made up for by the next
		}
	}
	m.mu.Lock()
	m.board.Take(m.b.id, r)
	m.mu.Unlock()
	m.settle()
}

// sample brings the board up to date, and looks at it if this node leads.
func (m *metering) sample(nowMs int64) {
	var live []string
	for _, x := range m.b.store.View().Members {
		if x.State != raftstore.Dead {
			live = append(live, x.Boot)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.board.Live(live, nowMs)
	leads := m.b.store.IsLeader() && m.b.held.Load()
	if !leads {
		if !m.b.store.IsLeader() {
			m.meter = nil
		}
		return
	}
	// A new leader that started just now waits until it has heard of every partition, but not forever.
	ready := m.board.Complete() || nowMs-m.sinceMs > hearingMax.Milliseconds()
	if m.meter != nil && m.term == m.b.store.Term() && ready {
		m.meter.Sample(nowMs, m.board)
	}
	nudge(m.due)
}

// report is what this boot has now.
func (m *metering) report() *meter.Report {
	m.mu.Lock()
	m.n++
	r := &meter.Report{N: m.n}
	m.mu.Unlock()
	apps := map[string]*meter.App{}
	of := func(id string) *meter.App {
		if apps[id] == nil {
			apps[id] = &meter.App{ID: id}
		}
		return apps[id]
	}
	host := m.b.host.Meter()
	r.Layout = host.Layout
	for _, p := range host.Partitions {
		r.Partitions = append(r.Partitions, meter.Partition{Part: p.Part, Epoch: p.Epoch, Open: p.Apps})
	}
	for id, n := range host.Opened {
		of(id).Counters[meter.ChannelsOpened] = n
	}
	m.b.limiting.refusedChannels.Range(func(app, n any) bool {
		of(app.(string)).Counters[meter.ChannelsRefused] = n.(*atomic.Uint64).Load()
		return true
	})
	for id, s := range m.b.gateway.Metered() {
		a := of(id)
		a.Connections = s.Connections
		c := &a.Counters
		c[meter.ConnectionsOpened], c[meter.ConnectionsRefused], c[meter.ConnectionsFailed] = s.Connects, s.ConnectsRefused, s.ConnectsFailed
		c[meter.InboundRealtimeRefused], c[meter.InboundRealtimeFailed] = s.RealtimeRefused, s.RealtimeFailed
		c[meter.InboundRESTRefused], c[meter.InboundRESTFailed] = s.RESTRefused, s.RESTFailed
		c[meter.InboundRealtime], c[meter.InboundRealtimeBytes] = s.Realtime, s.RealtimeBytes
		c[meter.InboundREST], c[meter.InboundRESTBytes] = s.REST, s.RESTBytes
		c[meter.OutboundRealtime], c[meter.OutboundRealtimeBytes] = s.Out, s.OutBytes
	}
	for id, s := range m.requests() {
		c := &of(id).Counters
		c[meter.TokenRequests], c[meter.TokenRequestsFailed] = s.Tokens, s.TokensFailed
		c[meter.APIRequests], c[meter.APIRequestsFailed] = s.Others, s.OthersFailed
		c[meter.TokenRequestsRefused], c[meter.APIRequestsRefused] = s.TokensRefused, s.OthersRefused
	}
	for _, id := range slices.Sorted(maps.Keys(apps)) {
		r.Apps = append(r.Apps, *apps[id])
	}
	return r
}

// onReport takes another node's report. It runs on the link's read loop and does not block.
func (m *metering) onReport(from cluster.Peer, payload []byte) {
	r, err := meter.DecodeReport(payload)
	if err != nil {
		m.b.log.Error("bad report of a node's meter; it is left out", "peer", from.Node, "err", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.board.Take(from.Boot, r)
}

// write commits what is due, and takes over from the last leader, until the boot ends.
func (m *metering) write() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-m.due:
		case <-m.b.quit:
			return
		}
		if err := m.writeDue(ctx); err != nil {
			m.b.log.Warn("the meter's figures were not committed; they are written again", "err", err)
		}
	}
}

func (m *metering) writeDue(ctx context.Context) error {
	term := m.b.store.Term()
	m.mu.Lock()
	leading, of := m.meter, m.term
	m.mu.Unlock()
	if leading == nil || of != term {
		return m.takeOver(ctx, term)
	}
	m.mu.Lock()
	batch := leading.Due(time.Now().UnixMilli(), false)
	m.mu.Unlock()
	for _, p := range batch.Puts {
		_, err := m.b.store.Put(ctx, raftstore.Put{Table: p.Table, Key: p.Key, Value: p.Value, ExpireMs: p.ExpireMs, NoWait: true})
		if err != nil {
			return err
		}
	}
	for _, key := range batch.Deletes {
		if _, err := m.b.store.Delete(ctx, meter.TableState, key); err != nil {
			return err
		}
	}
	m.announceStats(batch)
	m.mu.Lock()
	defer m.mu.Unlock()
	leading.Wrote(batch)
	return nil
}

// A new leader writes this row before it reads the state: when it has been applied here, so has everything that was
// committed before. It has a table of its own, so that readers of the state do not meet it.
const tableMeterTaken, keyTaken = "meter-taken", "by"

// account is whose an app is.
func (m *metering) account(app string) string {
	return m.b.limiting.gates.Account(app).ID()
}

// takeOver goes on with what the log holds.
func (m *metering) takeOver(ctx context.Context, term uint64) error {
	if _, err := m.b.store.Put(ctx, raftstore.Put{Table: tableMeterTaken, Key: keyTaken, Value: []byte(m.b.id)}); err != nil {
		return err
	}
	m.b.authority.look() // the first sample has to know whose each app is
	state, _ := meterLog{m.b}.Rows(meter.TableState)
	next, err := meter.Resume(term, state, m.retention(), m.account)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.b.store.IsLeader() && m.b.store.Term() == term {
		m.meter, m.term, m.sinceMs = next, term, time.Now().UnixMilli()
	}
	return nil
}

// The cluster's figures by app, as this node has heard them.
var (
	appChannels    = prometheus.NewDesc("innkeeper_app_channels_open", "Channels of the app that are open in the whole cluster, as of the last second.", []string{"app"}, nil)
	appConnections = prometheus.NewDesc("innkeeper_app_connections", "Client connections of the app in the whole cluster, as of the last second.", []string{"app"}, nil)
)

// Describe implements prometheus.Collector. Which apps there are is not known before.
func (m *metering) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *metering) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	apps := m.board.Apps()
	m.mu.Unlock()
	for app, v := range apps {
		out <- prometheus.MustNewConstMetric(appChannels, prometheus.GaugeValue, float64(v.Channels), app)
		out <- prometheus.MustNewConstMetric(appConnections, prometheus.GaugeValue, float64(v.Connections), app)
	}
}

// retention is for how long rows are kept, from when their interval began. Each row says when it goes, so that all nodes
// forget it at the same place in the log.
func (m *metering) retention() meter.Retention {
	c := m.b.node.cfg.Meter
	d := meter.DefaultRetention
	return meter.Retention{cmp.Or(c.Minutes, d[meter.Minute]), cmp.Or(c.Hours, d[meter.Hour]), cmp.Or(c.Days, d[meter.Day]), cmp.Or(c.Months, d[meter.Month])}
}
