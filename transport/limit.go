package transport

import (
	"sync"
	"sync/atomic"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/limits"
	"innkeeper/transport/protocol"
)

// flood is how many times its rate a connection may try to publish before it is ended.
const flood = 20

// A connection that comes back meets the limit while its old socket is not quite gone: it is given this much time.
const (
	comebackTries = 5
	comebackWait  = 500 * time.Millisecond
)

// rates are what is left of one connection's own rates. A connection without limits has none.
type rates struct {
	in, flood limits.Bucket // owned by the read loop
}

// admit says whether a client that is welcome may have its connection, nil if it may; a refused one was told. It may wait
// for the leader's word. The caller calls settle with what makes the connection count.
func (c *conn) admit() (settle func(count func()), refusal *protocol.ErrorInfo) {
	app := c.identity.App
	c.gate = c.g.cfg.Gates.Of(app)
	if r := c.gate.Spend(limits.ConnectionRate, 1); r != nil {
		refusal = r.Info()
		c.dismiss(endLimited, 1013, refusal)
	} else if purse := c.g.cfg.Purse; purse != nil && purse.Limited(limits.Connections, app) {
		if refusal = c.askLeave(purse); refusal == nil {
			return func(count func()) { purse.Settle(limits.Connections, app, count) }, nil
		}
	}
	if refusal != nil {
		c.g.tallies.of(app).connectsRefused.Add(1)
		return nil, refusal
	}
	return func(count func()) { count() }, nil
}

// askLeave asks for leave to have one more connection.
func (c *conn) askLeave(purse *limits.Purse) *protocol.ErrorInfo {
	tries := 1
	if c.resumed {
		tries = comebackTries
	}
	verdict, scope := limits.Full, limits.Scope("")
	for i := 0; i < tries && verdict == limits.Full; i++ {
		if i > 0 {
			time.Sleep(comebackWait)
		}
		verdict, scope = waitForLeave(purse, limits.Connections, c.identity.App)
	}
	switch verdict {
	case limits.Granted:
		return nil
	case limits.Full:
		c.g.cfg.Gates.Refused(limits.Key{Scope: scope, Name: limits.Connections})
		err := (&limits.Refusal{Name: limits.Connections, Scope: scope, Hard: c.g.cfg.Gates.Hard(scope, limits.Connections)}).Info()
		c.fail(endLimited, 1008, err)
		return err
	}
	err := protocol.Errorf(protocol.CodeTimeout, "it could not be found out in time whether the app may have one more connection; reconnect")
	c.dismiss(endLimited, 1013, err)
	return err
}

// waitForLeave waits for the answer.
func waitForLeave(p *limits.Purse, n limits.Name, app string) (limits.Verdict, limits.Scope) {
	type answer struct {
		verdict limits.Verdict
		scope   limits.Scope
	}
	wait := make(chan answer, 1)
	p.Ask(time.Now(), n, app, func(v limits.Verdict, s limits.Scope) { wait <- answer{v, s} })
	a := <-wait
	return a.verdict, a.scope
}

// limitPublish says whether the connection, and its app, may publish n messages now. ended: it tried so often that it was
// ended.
func (c *conn) limitPublish(n int) (err *protocol.ErrorInfo, ended bool) { return c.limit(n, n) }

// limitPresence says the same of a change of members, each of which counts as a message. Nobody is kept from leaving, since
// others would go on seeing him: who leaves has entered, which was limited.
func (c *conn) limitPresence(change *channel.PresenceChange) (err *protocol.ErrorInfo, ended bool) {
	return c.limit(len(change.Members), entering(change))
}

// limit is about n of the messages that a client tries to send.
func (c *conn) limit(tried, n int) (err *protocol.ErrorInfo, ended bool) {
	if hard := c.gate.Single(limits.ConnectionInRate); hard > 0 {
		if c.rates == nil {
			c.rates = &rates{}
		}
		now, rate := time.Since(c.g.start), float64(hard)
		if _, ok := c.rates.flood.Take(now, tried, flood*rate, flood*rate); !ok {
			c.gate.Refuse(limits.ConnectionInRate)
			c.fail(endFlood, 1008, protocol.Errorf(protocol.CodeFlood,
				"the connection published more than %d times the limit of %d messages per second and is ended", flood, hard))
			return nil, true
		}
		if n > 0 {
			if _, ok := c.rates.in.Take(now, n, rate, rate); !ok {
				return c.gate.Refuse(limits.ConnectionInRate).Info(), false
			}
		}
	}
	if n == 0 {
		return nil, false
	}
	if r := c.gate.Spend(limits.MessageRate, n); r != nil {
		return r.Info(), false
	}
	return nil, false
}

// maxInboundRate is what the client is told that it may publish per second.
func (c *conn) maxInboundRate() int {
	return int(limits.Tighter(int64(c.g.cfg.MaxInboundRate), c.gate.Single(limits.ConnectionInRate)))
}

// outbound is what is left of what may be delivered to a connection. Shards share it.
type outbound struct {
	mu     sync.Mutex
	bucket limits.Bucket
}

func (c *conn) mayDeliver(n int, hard int64) bool {
	o := c.outbound.Load()
	if o == nil {
		c.outbound.CompareAndSwap(nil, &outbound{})
		o = c.outbound.Load()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.bucket.Take(time.Since(c.g.start), n, float64(hard), float64(hard))
	return ok
}

// throttled says whether an attachment is to be left out, since its connection gets more than it may. It then misses what
// comes for a second, and is told so.
func (s *shard) throttled(a *attachment, d *channel.Delivery, hard int64) bool {
	if a.rest != nil {
		return true
	}
	if a.conn.mayDeliver(max(len(d.Messages), len(d.Presence)), hard) {
		return false
	}
	a.conn.gate.Refuse(limits.ConnectionOutRate)
	a.rest = &rest{a, time.Now().Add(throttleFor)}
	s.resting = append(s.resting, a.rest)
	return true
}

const throttleFor = time.Second

// rest is a while in which an attachment hears nothing.
type rest struct {
	a     *attachment // nil: it ended before
	until time.Time
}

// wake ends the attachment's rest, if it has one. Unless the client is told with tellLeftOut, it is to hear again all that
// it was left out of.
func (a *attachment) wake() {
	if a.rest != nil {
		a.rest.a, a.rest = nil, nil
	}
}

// rouse lets attachments hear again that were left out for long enough.
func (s *shard) rouse(now time.Time) {
	n := 0
	for n < len(s.resting) && !now.Before(s.resting[n].until) {
		a := s.resting[n].a
		n++
		if a == nil || a.inWait {
			continue // it was told, or is with the ATTACHED that it waits for
		}
		s.tellLeftOut(a, a.stands())
		s.sync(a)
	}
	s.resting = append(s.resting[:0:0], s.resting[n:]...)
}

// tellLeftOut tells a client that stands at a serial that it missed what came during the rest of its attachment, which is
// over.
func (s *shard) tellLeftOut(a *attachment, serial string) {
	a.wake()
	s.lost.Add(1)
	hard := a.conn.gate.Single(limits.ConnectionOutRate)
	s.sendAttached(a, serial, 0, protocol.Errorf(protocol.CodeContinuityLost,
		"more than the limit of %d messages per second came for the connection (%d); some of them were left out", hard, protocol.CodeRateOutbound))
}

// turnedAway refuses the attaches that a channel's owner did not open the channel for.
func (s *shard) turnedAway(p *partition, m *channel.Refused) {
	ch := p.channels[channelKey{m.App, m.Name}]
	if ch == nil || m.Version < ch.version {
		return
	}
	var refused []*attachment
	for _, a := range ch.waiting[:len(ch.waiting)-ch.fresh] {
		if a.version <= m.Version {
			refused = append(refused, a)
		}
	}
	err := s.g.opening(m.App, m.Why)
	for _, a := range refused {
		s.leave(a, true)
		s.refused.Add(1)
		failed := m.Why == channel.TooManyChannels || m.Why == channel.AccountChannels
		if failed {
			a.failed.Store(a.taken)
		}
		s.sendNew(a.conn, func(dst []byte) []byte {
			if failed {
				return protocol.AppendChannelError(dst, a.conn.format, a.name, err)
			}
			return protocol.AppendDetached(dst, a.conn.format, a.name, err) // tries again by itself
		})
	}
	if len(ch.attachments) > 0 {
		s.touch(ch) // the owner forgot what it had been told
	}
}

// opening says why a channel of an app was not opened, or nothing published there.
func (g *Gateway) opening(app string, why channel.Refusal) *protocol.ErrorInfo {
	hard := func(scope limits.Scope, n limits.Name) *protocol.ErrorInfo {
		return (&limits.Refusal{Name: n, Scope: scope, Hard: g.cfg.Gates.Hard(scope, n)}).Info()
	}
	switch why {
	case channel.TooManyChannels:
		return hard(limits.AppScope(app), limits.Channels)
	case channel.AccountChannels:
		return hard(g.cfg.Gates.Account(app), limits.Channels)
	case channel.TooFast:
		g.cfg.Gates.Of(app).Refuse(limits.ChannelMessageRate)
	}
	return protocol.Refused(why)
}

// limited says whether an error means that a limit was met, and not that something was wrong.
func limited(err *protocol.ErrorInfo) bool {
	return err.StatusCode == 429 || err.Code == protocol.CodeChannelLimit
}

// fault counts messages that were not taken.
func (t *tally) fault(err *protocol.ErrorInfo, n int, rest bool) {
	if t == nil || err == nil || n == 0 {
		return
	}
	of := &t.realtimeFaults
	if rest {
		of = &t.restFaults
	}
	if limited(err) {
		of.refused.Add(uint64(n))
	} else {
		of.failed.Add(uint64(n))
	}
}

// faults are messages that were not taken: because of a limit, or for another reason.
type faults struct{ refused, failed atomic.Uint64 }
