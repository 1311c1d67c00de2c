package transport

import (
	"sync"
	"sync/atomic"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// AppStats is what a gateway holds of an app now, and has done for it since its start.
type AppStats struct {
	Connections int64 // greeted, not gone

	Connects        uint64 // greeted
	ConnectsRefused uint64 // because of a limit
	ConnectsFailed  uint64 // for another reason, where it is known whom they were for
	Realtime        uint64 // messages published by connections
	RealtimeBytes   uint64 // of their data
	REST            uint64 // messages published by Publish and accepted
	RESTBytes       uint64
	Out             uint64 // messages × attachments they were sent to
	OutBytes        uint64

	// Messages that were not taken: because of a limit, or for another reason.
	RealtimeRefused, RealtimeFailed uint64
	RESTRefused, RESTFailed         uint64
}

// Metered reads the figures of all apps that ever came.
func (g *Gateway) Metered() map[string]AppStats {
	apps := map[string]AppStats{}
	g.tallies.Range(func(app, t any) bool {
		apps[app.(string)] = t.(*tally).stats()
		return true
	})
	return apps
}

// tally counts for one app.
type tally struct {
	connections         atomic.Int64
	connects            atomic.Uint64
	connectsRefused     atomic.Uint64
	connectsFailed      atomic.Uint64
	realtimeFaults      faults
	restFaults          faults
	realtime, rest, out traffic
}

type traffic struct{ count, bytes atomic.Uint64 }

// add counts messages that go to n receivers.
func (t *traffic) add(messages []channel.Message, n int) {
	t.count.Add(uint64(n * len(messages)))
	t.bytes.Add(uint64(n * protocol.Size(messages)))
}

func (t *tally) stats() AppStats {
	return AppStats{
		Connections: t.connections.Load(), Connects: t.connects.Load(),
		ConnectsRefused: t.connectsRefused.Load(), ConnectsFailed: t.connectsFailed.Load(),
		Realtime: t.realtime.count.Load(), RealtimeBytes: t.realtime.bytes.Load(),
		REST: t.rest.count.Load(), RESTBytes: t.rest.bytes.Load(),
		Out: t.out.count.Load(), OutBytes: t.out.bytes.Load(),
		RealtimeRefused: t.realtimeFaults.refused.Load(), RealtimeFailed: t.realtimeFaults.failed.Load(),
		RESTRefused: t.restFaults.refused.Load(), RESTFailed: t.restFaults.failed.Load(),
	}
}

// tallies are those of all apps: app → *tally.
type tallies struct{ sync.Map }

func (m *tallies) of(app string) *tally {
	if t, ok := m.Load(app); ok {
		return t.(*tally)
	}
	t, _ := m.LoadOrStore(app, new(tally))
	return t.(*tally)
}

// come counts a connection that is greeted, until it goes.
func (c *conn) come() {
	c.tally = c.g.tallies.of(c.identity.App)
	c.tally.connections.Add(1)
	c.tally.connects.Add(1)
}

func (c *conn) depart() {
	if c.tally != nil {
		c.tally.connections.Add(-1)
	}
}

// ConnectionsOf is how many connections there are now of the apps that has says yes to.
func (g *Gateway) ConnectionsOf(has func(app string) bool) (n int64) {
	g.tallies.Range(func(app, t any) bool {
		if has(app.(string)) {
			n += t.(*tally).connections.Load()
		}
		return true
	})
	return n
}
