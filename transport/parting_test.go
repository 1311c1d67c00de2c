package transport

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/limits"
	"innkeeper/transport/protocol"
)

// answer plays the owner's answer to a change that it only recorded.
func (w *world) answer(m *channel.PresenceChange, h heard, why channel.Refusal) {
	published := &channel.Published{Req: m.Req, Refusal: why}
	if why == channel.Accepted {
		var d *channel.Delivery
		w.owner.set(func(o *owner) { d = o.change(m) })
		w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, d)
		published.Serial = d.Serial
	}
	w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, published)
}

// A client that says that it leaves, or enters, and detaches without waiting hears what became of it: an owner that was asked
// answers, and one that cannot be reached any more is not asked again, since it would let in who has left. Who meant to
// leave has left either way.
func TestDetachWhileAChangeIsUnderWay(t *testing.T) {
	for what, tc := range map[string]struct {
		then    func(w *world, m *channel.PresenceChange, h heard)
		entered int // code of the answer to an enter, 0 for an ACK
	}{
		"answered":        {func(w *world, m *channel.PresenceChange, h heard) { w.answer(m, h, channel.Accepted) }, 0},
		"refused":         {func(w *world, m *channel.PresenceChange, h heard) { w.answer(m, h, channel.TooManyMembers) }, 91003},
		"not its owner":   {func(w *world, m *channel.PresenceChange, h heard) { w.answer(m, h, channel.NotOwner) }, 91001},
		"another session": {func(w *world, m *channel.PresenceChange, h heard) { w.route(Route{Node: "n1", Epoch: 2, Session: 2}) }, 91001},
		"another layout":  {func(w *world, m *channel.PresenceChange, h heard) { w.g.Layout(2 * testPartitions) }, 91001},
		"no answer":       {func(w *world, m *channel.PresenceChange, h heard) { time.Sleep(11 * time.Second) }, 50003},
	} {
		for _, action := range []channel.PresenceAction{channel.Leave, channel.Enter} {
			t.Run(what, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world, format string) {
					w.warm("room")
					c := w.connect(format)
					defer c.close()
					c.attach("room", nil)
					c.says(channel.Enter, "room", 0, "alice")
					c.expect(protocol.ActionPresence)
					c.expect(protocol.ActionAck)
					w.owner.set(func(o *owner) { o.heard, o.manual = nil, true })
					c.says(action, "room", 1, "alice")
					m, h := await1(t, w.owner, anyOf[*channel.PresenceChange])
					c.send(protocol.AppendDetach(nil, c.f, "room"))
					c.expect(protocol.ActionDetached)
					held(t, w, func(h channel.Hold) bool { return h.State == channel.HoldOver })
					tc.then(w, m, h)
					want := tc.entered
					if action == channel.Leave {
						want = 0
					}
					pm := c.next()
					if want == 0 && (pm.Action != protocol.ActionAck || pm.MsgSerial != 1) ||
						want != 0 && (pm.Action != protocol.ActionNack || pm.Error.Code != want) {
						t.Errorf("action %d: got %v %v, want code %d", action, pm.Action, pm.Error, want)
					}
					w.owner.set(func(o *owner) { o.heard, o.manual = nil, false })
					w.route(Route{Node: "n1", Epoch: 3, Session: 3})
					synctest.Wait()
					w.owner.set(func(o *owner) {
						for _, h := range o.heard {
							if m, ok := h.m.(*channel.PresenceChange); ok {
								t.Errorf("it is asked again: %+v", m)
							}
						}
					})
				})
			})
		}
	}
}

// Changes that were not sent yet are settled with the DETACH.
func TestDetachWithoutAnOwner(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		w.warm("room")
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		c.says(channel.Enter, "room", 0, "alice")
		c.expect(protocol.ActionPresence)
		c.expect(protocol.ActionAck)
		w.unroute()
		begun := time.Now()
		c.says(channel.Leave, "room", 1, "alice")
		c.says(channel.Update, "room", 2, "bob")
		c.says(channel.Leave, "room", 3, "carol")
		c.send(protocol.AppendDetach(nil, c.f, "room"))
		c.expect(protocol.ActionDetached)
		for serial, action := range []protocol.Action{1: protocol.ActionAck, 2: protocol.ActionNack, 3: protocol.ActionAck} {
			if serial == 0 {
				continue
			}
			if pm := c.expect(action); pm.MsgSerial != int64(serial) {
				t.Errorf("got %d, want %d", pm.MsgSerial, serial)
			}
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("it took %v", took)
		}
		w.owner.set(func(o *owner) { o.heard = nil })
		w.route(Route{Node: "n1", Epoch: 2, Session: 2})
		synctest.Wait()
		w.owner.set(func(o *owner) {
			for _, h := range o.heard {
				if m, ok := h.m.(*channel.PresenceChange); ok {
					t.Errorf("asked for %+v", m)
				}
			}
		})
	})
}

// A name under which the connection cannot have members does not keep those that it has under another.
func TestOtherNameWithoutPresence(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format + "&clientId=alice")
		defer c.close()
		const other = "[?echo=false]room"
		c.attach("room", nil)
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: other, Flags: protocol.ModeSubscribe}))
		c.expect(protocol.ActionAttached)
		c.says(channel.Enter, "room", 0, "")
		c.expect(protocol.ActionPresence)
		c.expect(protocol.ActionAck)
		// The one without members goes and comes, and nobody leaves.
		c.send(protocol.AppendDetach(nil, c.f, other))
		c.expect(protocol.ActionDetached)
		w.owner.set(func(o *owner) { o.heard = nil })
		w.route(Route{Node: "n1", Epoch: 2, Session: 2})
		if h := held(t, w, func(h channel.Hold) bool { return h.ConnID == c.id }); h.State != channel.HoldHere || len(h.Members) != 1 {
			t.Errorf("%+v", h)
		}
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: other, Flags: protocol.ModeSubscribe}))
		c.expect(protocol.ActionAttached)
		// Nor when the other one has lost the mode since: they came by that one, and leave with it.
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Flags: protocol.ModeSubscribe}))
		c.expect(protocol.ActionAttached)
		c.send(protocol.AppendDetach(nil, c.f, other))
		c.expect(protocol.ActionDetached)
		w.owner.set(func(o *owner) { o.heard = nil })
		w.route(Route{Node: "n1", Epoch: 3, Session: 3})
		if h := held(t, w, func(h channel.Hold) bool { return h.ConnID == c.id }); h.State != channel.HoldHere || len(h.Members) != 1 {
			t.Errorf("%+v", h)
		}
		c.attach("room", nil)
		c.syncs()
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: other, Flags: protocol.ModeSubscribe}))
		c.expect(protocol.ActionAttached)
		c.send(protocol.AppendDetach(nil, c.f, "room"))
		c.expect(protocol.ActionDetached)
		if h := held(t, w, func(h channel.Hold) bool { return h.State != channel.HoldHere }); h.ConnID != c.id || h.State != channel.HoldOver {
			t.Errorf("%+v", h)
		}
	})
}

// A channel that may not open leaves nothing behind of a connection that was resumed.
func TestTurnedAwayAfterAResume(t *testing.T) {
	for _, why := range []channel.Refusal{channel.TooManyChannels, channel.OpenedTooFast} {
		bubble(t, func(t *testing.T, w *world, format string) {
			first := w.open(format)
			key := first.expect(protocol.ActionConnected).Details.ConnectionKey
			first.close()
			w.owner.set(func(o *owner) { o.manual = true })
			c := w.connect(format + "&resume=" + key)
			defer c.close()
			c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room"}))
			r, h := await1(t, w.owner, func(r *channel.Register) bool { return r.Name == "room" })
			if len(r.Holds) != 1 || r.Holds[0].State != channel.HoldHere {
				t.Fatalf("claimed %+v", r.Holds)
			}
			c.says(channel.Enter, "room", 0, "alice")
			m, at := await1(t, w.owner, anyOf[*channel.PresenceChange])
			w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, &channel.Refused{App: "demo", Name: "room", Version: r.Version, Why: why})
			if pm := c.next(); pm.Error == nil || pm.Channel != "room" {
				t.Errorf("told %+v", pm)
			}
			if h := held(t, w, func(h channel.Hold) bool { return h.State != channel.HoldHere }); h.State != channel.HoldOver || h.ConnID != c.id {
				t.Errorf("%+v", h)
			}
			w.answer(m, at, why)
			c.expect(protocol.ActionNack)
			w.owner.set(func(o *owner) { o.heard, o.manual = nil, false })
			w.route(Route{Node: "n1", Epoch: 2, Session: 2})
			synctest.Wait()
			w.owner.set(func(o *owner) {
				for _, h := range o.heard {
					if s, ok := h.m.(*channel.Snapshot); ok && len(s.Registers) > 0 {
						t.Errorf("still held: %+v", s.Registers)
					}
				}
			})
		})
	}
}

// withLimits is a gateway with limits of the test's app.
func withLimits(set limits.Set) func(*GatewayConfig) {
	return func(cfg *GatewayConfig) {
		cfg.Gates = limits.NewGates()
		cfg.Gates.Set(limits.Config{Sets: map[limits.Scope]limits.Set{limits.AppScope("demo"): set}, Account: func(string) string { return "" }})
	}
}

// Members that enter and update count towards the rates of the connection and of its app, and nobody is kept from leaving.
func TestChangesOfMembersHaveRates(t *testing.T) {
	for name, code := range map[limits.Name]int{limits.ConnectionInRate: 42911, limits.MessageRate: 42917} {
		var set limits.Set
		set[name].Hard = 4
		bubbleWith(t, withLimits(set), func(t *testing.T, w *world, format string) {
			c := w.connect(format)
			defer c.close()
			c.attach("room", nil)
			serial := int64(0)
			say := func(want int, action channel.PresenceAction, clients ...string) {
				t.Helper()
				var list []channel.Member
				for _, client := range clients {
					list = append(list, channel.Member{Action: action, ClientID: client})
				}
				c.send(protocol.AppendClientPresence(nil, c.f, "room", serial, list...))
				if want == 0 {
					c.expect(protocol.ActionPresence)
					c.expect(protocol.ActionAck)
				} else if pm := c.expect(protocol.ActionNack); pm.Error.Code != want || pm.MsgSerial != serial {
					t.Errorf("%v: %d: %v", name, pm.MsgSerial, pm.Error)
				}
				serial++
			}
			say(0, channel.Enter, "a", "b", "c")
			say(0, channel.Update, "a")
			say(code, channel.Update, "a")
			say(code, channel.Enter, "d", "e")
			say(0, channel.Leave, "b", "c")
			c.publish("room", serial, "as a message")
			c.expect(protocol.ActionNack)
			serial++
			time.Sleep(time.Second)
			say(0, channel.Enter, "f")
			var there []string
			w.owner.set(func(o *owner) { there = clientsOf(o.members["room"]) })
			if slices.Sort(there); !slices.Equal(there, []string{"a", "f"}) {
				t.Errorf("%v are present", there)
			}
		})
	}
}

// Who says that members leave far more often than he may publish is ended as anybody else.
func TestFloodOfLeaves(t *testing.T) {
	var set limits.Set
	set[limits.ConnectionInRate].Hard = 1
	bubbleWith(t, withLimits(set), func(t *testing.T, w *world, format string) {
		c := w.connect(format + "&clientId=alice")
		defer c.close()
		c.attach("room", nil)
		for i := range int64(flood) {
			c.says(channel.Leave, "room", i, "")
			c.expect(protocol.ActionPresence) // this owner tells of everything
			c.expect(protocol.ActionAck)
		}
		c.says(channel.Leave, "room", flood, "")
		if pm := c.expect(protocol.ActionError); pm.Error.Code != 42920 {
			t.Errorf("%v", pm.Error)
		}
		c.ends()
	})
}
