package transport

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
)

// busy keeps the shard of a channel from doing anything until it is called.
func (w *world) busy(name string) (done func()) {
	wait := make(chan struct{})
	w.g.shardOf(ring.Hash("demo", name)).in.push(command{kind: doInspect, what: func(*shard) { <-wait }})
	return func() {
		synctest.Wait() // what was sent is on its way to the shard
		close(wait)
	}
}

func (c *client) auth(token string) { c.send(protocol.AppendClientAuth(nil, c.f, token)) }

// The last that a client hears of a channel is what has become of it.
func TestChannelErrorComesBehindAttached(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		c := w.connect(withToken(format, issue("demo.root", "", 0, "")))
		defer c.close()
		attach := func(params map[string]string) {
			c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "x", Params: params}))
		}
		gone := func(code int) {
			t.Helper()
			if pm := c.expect(protocol.ActionError); pm.Channel != "x" || pm.Error.Code != code {
				t.Errorf("%q: %v, want %d", pm.Channel, pm.Error, code)
			}
			c.quiet()
			await1(t, w.owner, func(r *channel.Register) bool { return r.Name == "x" && r.Counts == channel.Counts{} })
		}
		c.attach("x", nil)
		done := w.busy("x")
		attach(nil)
		attach(map[string]string{"rewind": "nonsense"})
		done()
		c.expect(protocol.ActionAttached)
		gone(40003)

		c.attach("x", nil)
		done = w.busy("x")
		attach(nil)
		c.auth(issue("demo.root", "", 0, `{"y":["*"]}`))
		c.expect(protocol.ActionConnected)
		done()
		c.expect(protocol.ActionAttached)
		gone(40160)
	})
}

// What a client asked for and was not allowed comes with the capability; what it did not ask for does not.
func TestReauthGivesModes(t *testing.T) {
	const less, more = `{"*":["subscribe"]}`, `{"*":["*"]}`
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		c := w.connect(withToken(format, issue("demo.root", "alice", 0, less)))
		defer c.close()
		heard := map[string]*protocol.ProtocolMessage{}
		// auth takes what is said of channels, of which there are n.
		auth := func(capability string, n int) {
			clear(heard)
			c.auth(issue("demo.root", "alice", 0, capability))
			c.expect(protocol.ActionConnected)
			for range n {
				pm := c.expect(protocol.ActionAttached)
				if !pm.Flags.Has(protocol.FlagResumed) || pm.Error != nil {
					t.Errorf("%q: flags %x, error %v", pm.Channel, pm.Flags, pm.Error)
				}
				heard[pm.Channel] = pm
			}
			c.quiet()
		}
		is := func(name string, want protocol.Flags) {
			t.Helper()
			if pm := heard[name]; pm == nil || pm.Flags.Modes() != want {
				t.Errorf("%q: got %+v, want modes %x", name, pm, want)
			}
		}
		const part = protocol.ModeSubscribe | protocol.ModePresenceSubscribe
		for name, params := range map[string]map[string]string{
			"any": nil, "modes": {"modes": "publish,subscribe", "delta": "vcdiff"}, "deaf": {"modes": "subscribe"},
		} {
			heard[name] = c.attach(name, params)
		}
		is("any", part)
		is("modes", protocol.ModeSubscribe)
		if got := fmt.Sprint(heard["modes"].Params); got != "map[delta:vcdiff modes:subscribe]" {
			t.Errorf("params %v", got)
		}
		c.publish("any", 0, "x")
		if pm := c.expect(protocol.ActionNack); pm.Error.Code != 40160 {
			t.Errorf("without the capability: %v", pm.Error)
		}

		auth(more, 2)
		is("any", protocol.DefaultModes)
		is("modes", protocol.ModePublish|protocol.ModeSubscribe)
		if got := fmt.Sprint(heard["modes"].Params); got != "map[delta:vcdiff modes:publish,subscribe]" {
			t.Errorf("params %v", got)
		}
		c.publish("any", 1, "x")
		c.expect(protocol.ActionMessage)
		c.expect(protocol.ActionAck)
		c.publish("deaf", 2, "x")
		if pm := c.expect(protocol.ActionNack); pm.Error.Code != 40165 {
			t.Errorf("without having asked for the mode: %v", pm.Error)
		}
		auth(more, 0)

		auth(`{"*":["publish"],"deaf":["subscribe"]}`, 2)
		is("any", protocol.ModePublish)
		is("modes", protocol.ModePublish)
		if got := fmt.Sprint(heard["modes"].Params); got != "map[modes:publish]" {
			t.Errorf("params %v", got)
		}
		auth(more, 2)
		is("any", protocol.DefaultModes)
		if got := fmt.Sprint(heard["modes"].Params); got != "map[delta:vcdiff modes:publish,subscribe]" {
			t.Errorf("params %v", got)
		}
		c.publish("modes", 3, "heard")
		c.expect(protocol.ActionMessage)
		c.expect(protocol.ActionAck)
	})
}

// Occupancy events come and go with the capability.
func TestReauthGivesOccupancyBack(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		c := w.connect(withToken(format, issue("demo.root", "", 0, "")))
		defer c.close()
		c.attach("x", map[string]string{"occupancy": "metrics"})
		c.expect(protocol.ActionMessage)
		c.auth(issue("demo.root", "", 0, `{"*":["subscribe","publish","presence","annotation-publish"]}`))
		c.expect(protocol.ActionConnected)
		if pm := c.expect(protocol.ActionAttached); len(pm.Params) > 0 || pm.Flags.Modes() != protocol.DefaultModes {
			t.Errorf("params %v, flags %x", pm.Params, pm.Flags)
		}
		c.quiet()
		c.auth(issue("demo.root", "", 0, ""))
		c.expect(protocol.ActionConnected)
		if pm := c.expect(protocol.ActionAttached); pm.Params["occupancy"] != "metrics" || !pm.Flags.Has(protocol.FlagResumed) {
			t.Errorf("params %v, flags %x", pm.Params, pm.Flags)
		}
		c.expect(protocol.ActionMessage)
		c.quiet()
	})
}

// An AUTH that meets an ATTACH under way changes its modes and nothing else.
func TestReauthKeepsARewind(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		c := w.connect(withToken(format, issue("demo.root", "", 0, "")))
		defer c.close()
		c.publish("x", 0, "before")
		c.expect(protocol.ActionAck)
		done := w.busy("x")
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "x", Params: map[string]string{"rewind": "1"}}))
		c.auth(issue("demo.root", "", 0, `{"*":["subscribe"]}`))
		c.expect(protocol.ActionConnected)
		done()
		if pm := c.expect(protocol.ActionAttached); !pm.Flags.Has(protocol.FlagHasBacklog) || pm.Flags.Has(protocol.ModePublish) {
			t.Errorf("flags %x", pm.Flags)
		}
		if pm := c.expect(protocol.ActionMessage); string(pm.Messages[0].Data) != "before" {
			t.Errorf("heard %q", pm.Messages[0].Data)
		}
		c.quiet()
	})
}

// An AUTH that meets a client on its way through what it missed does not begin that anew.
func TestReauthKeepsTheWayOfAResume(t *testing.T) {
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		w.warm("x")
		w.owner.set(func(o *owner) { o.manual = true })
		c := w.connect(withToken(format, issue("demo.root", "", 0, "")))
		defer c.close()
		serial := func(i int) string { return fmt.Sprintf("01700000000000-%03d@test", i) }
		say := func(h heard, m channel.ToGateway) { w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, m) }
		confirm := func() {
			t.Helper()
			r, h := await1(t, w.owner, func(r *channel.Register) bool { return r.Confirm })
			say(h, &channel.Registered{App: r.App, Name: r.Name, Version: r.Version, Serial: serial(3)})
		}
		asked := func(from int) (*channel.History, heard) {
			t.Helper()
			q, h := await1(t, w.owner, func(*channel.History) bool { return true })
			if q.After != serial(from) {
				t.Errorf("asked for what is behind %s, want %s", q.After, serial(from))
			}
			return q, h
		}
		page := func(q *channel.History, h heard, from int, more bool) {
			t.Helper()
			d := &channel.Delivery{App: "demo", Name: "x", Serial: serial(from + 1), ID: fmt.Sprint(from), Messages: []channel.Message{{Name: fmt.Sprint(from)}}}
			say(h, &channel.HistoryResult{Req: q.Req, Deliveries: []*channel.Delivery{d}, Serial: serial(3), Complete: true, More: more})
			if pm := c.next(); pm.Action == protocol.ActionAttached {
				if !pm.Flags.Has(protocol.FlagResumed) || pm.ChannelSerial != serial(from) {
					t.Errorf("attached at %s, flags %x", pm.ChannelSerial, pm.Flags)
				}
				c.expect(protocol.ActionMessage)
			} else if pm.Action != protocol.ActionMessage || pm.ChannelSerial != serial(from+1) {
				t.Errorf("got %v at %s", pm.Action, pm.ChannelSerial)
			}
		}
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "x", ChannelSerial: serial(0)}))
		confirm()
		q, h := asked(0)
		page(q, h, 0, true)
		q, h = asked(1)
		c.auth(issue("demo.root", "", 0, `{"*":["subscribe"]}`))
		c.expect(protocol.ActionConnected)
		confirm()
		synctest.Wait() // what was asked for before is what is asked for now
		page(q, h, 1, true)
		q, h = asked(2)
		page(q, h, 2, false)
		c.quiet()
	})
}

// Channels that an owner refused to open do not count for a connection: its client never detaches from them.
func TestRefusedChannelsDoNotCount(t *testing.T) {
	bubbleWith(t, func(c *GatewayConfig) { c.MaxChannels = 3 }, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		c.attach("kept", nil)
		refuse := func(name string) {
			t.Helper()
			w.owner.set(func(o *owner) { o.manual = true })
			c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: name}))
			r, h := await1(t, w.owner, func(r *channel.Register) bool { return r.Name == name && r.Confirm })
			w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, &channel.Refused{App: r.App, Name: r.Name, Version: r.Version, Why: channel.TooManyChannels})
			if pm := c.expect(protocol.ActionError); pm.Channel != name || pm.Error.Code != 40114 {
				t.Fatalf("%q: %v", pm.Channel, pm.Error)
			}
			w.owner.set(func(o *owner) { o.manual = false })
		}
		for i := range 10 {
			refuse(fmt.Sprint("full", i))
		}
		refuse("again")
		c.attach("again", nil)
		c.attach("third", nil)
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "fourth"}))
		if pm := c.expect(protocol.ActionError); pm.Error.Code != 90010 {
			t.Errorf("beyond the limit: %v", pm.Error)
		}
		c.attach("again", nil) // the others are untouched
		synctest.Wait()
		if n := w.g.Stats().Attachments; n != 3 {
			t.Errorf("%d attachments, want 3", n)
		}
	})
}

// What a client says in params that nothing comes of is not kept as long as the attachment, and params have a bound.
func TestOnlyParamsWithAnEffectAreKept(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		c.attach("[?n=1&echo=true]room", map[string]string{"rewind": "1", "custom": strings.Repeat("x", 100_000)})
		synctest.Wait()
		found := 0
		for i := range w.g.sweeper.slots {
			for _, c := range w.g.sweeper.slots[i].conns {
				for _, a := range c.attachments {
					if found++; !maps.Equal(a.demand.params, map[string]string{"echo": "true", "rewind": "1"}) {
						t.Errorf("%d params are kept", len(a.demand.params))
					}
				}
			}
		}
		if found != 1 {
			t.Errorf("%d attachments", found)
		}
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "other", Params: map[string]string{"modes": strings.Repeat("publish,", 200)}}))
		if pm := c.expect(protocol.ActionError); pm.Error.Code != protocol.CodeBadParamValue || !strings.Contains(pm.Error.Message, "modes has 1600 bytes, the limit is 1024") {
			t.Errorf("got %v", pm.Error)
		}
	})
}
