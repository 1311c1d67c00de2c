package transport

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// speak has the owner keep a publish that this gateway is not told of.
func (w *world) speak(name string, texts ...string) (serials []string) {
	w.owner.set(func(o *owner) {
		for _, text := range texts {
			d := o.keep(&channel.Publish{App: "demo", Name: name, ConnID: "elsewhere", ID: "id-" + text, Messages: []channel.Message{{Name: text}}})
			serials = append(serials, d.Serial)
		}
	})
	return serials
}

// hears expects one message each, in this order.
func (c *client) hears(names ...string) {
	c.t.Helper()
	for _, want := range names {
		if pm := c.expect(protocol.ActionMessage); pm.Messages[0].Name != want {
			c.t.Fatalf("heard %q, want %q", pm.Messages[0].Name, want)
		}
	}
}

func (c *client) reattach(name, serial string) *protocol.ProtocolMessage {
	c.t.Helper()
	c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: name, ChannelSerial: serial}))
	return c.expect(protocol.ActionAttached)
}

func TestClientComesBackWithItsSerial(t *testing.T) {
	for _, page := range []int{100, 2} { // publishes in one answer of the owner
		bubble(t, func(t *testing.T, w *world, format string) {
			w.owner.set(func(o *owner) { o.page = page })
			serials := w.speak("room", "a", "b", "c", "d", "e")
			c := w.connect(format)
			defer c.close()
			pm := c.reattach("room", serials[0])
			if !pm.Flags.Has(protocol.FlagResumed|protocol.FlagHasBacklog) || pm.Error != nil || pm.ChannelSerial != serials[0] {
				t.Errorf("%+v, error %v: want resumed, where the client stands", pm, pm.Error)
			}
			c.hears("b", "c", "d", "e")
			c.publish("room", 0, "x") // named m
			c.hears("m")
			c.expect(protocol.ActionAck)

			// Others on the channel hear nothing of it again.
			d := w.connect(format)
			defer d.close()
			if pm := d.reattach("room", serials[4]); !pm.Flags.Has(protocol.FlagResumed | protocol.FlagHasBacklog) {
				t.Errorf("%+v", pm)
			}
			d.hears("m")
			c.quiet()
			d.quiet()
		})
	}
}

// Who comes back to far more than its outbox holds, and reads all the time, gets all of that however slowly it reads: on
// several channels, in pages larger than the outbox, and for longer than an ATTACH may take. What it has no room for is not
// asked for.
func TestSlowReaderComesBackToMuch(t *testing.T) {
	for _, page := range []int{4, 1000} {
		bubbleWith(t, func(c *GatewayConfig) { c.OutboxBytes = 80 << 10 }, func(t *testing.T, w *world, format string) {
			const missed = 100
			rooms := []string{"a", "b", "c", "d", "e", "f"}
			text := func(i int) string { return fmt.Sprintf("%03d", i) + strings.Repeat("x", 4000) }
			first := map[string]string{}
			for _, name := range rooms {
				for i := range missed + 1 {
					if serial := w.speak(name, text(i))[0]; i == 0 {
						first[name] = serial
					}
				}
			}
			w.owner.set(func(o *owner) { o.page = page })
			c := w.connect(format)
			defer c.close()
			for _, name := range rooms {
				c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: name, ChannelSerial: first[name]}))
			}
			asked := func() (n int) {
				w.owner.set(func(o *owner) {
					for _, h := range o.heard {
						if _, ok := h.m.(*channel.History); ok {
							n++
						}
					}
				})
				return n
			}
			time.Sleep(time.Second)
			before := asked()
			time.Sleep(5 * time.Second)
			if n := asked() - before; n > 0 {
				t.Errorf("%d pages were asked for of which nothing could be sent", n)
			}
			began, heard := time.Now(), map[string]int{}
			for i := range len(rooms) * (missed + 1) {
				pm := c.next()
				switch n := heard[pm.Channel]; {
				case n == 0 && (pm.Action != protocol.ActionAttached || !pm.Flags.Has(protocol.FlagResumed|protocol.FlagHasBacklog)),
					n > 0 && (pm.Action != protocol.ActionMessage || pm.Messages[0].Name != text(n)):
					t.Fatalf("frame %d, %d of %q: %v, error %v", i, n, pm.Channel, pm.Action, pm.Error)
				}
				heard[pm.Channel]++
				time.Sleep(20 * time.Millisecond)
			}
			if n := asked(); n > 300 { // a page for a quarter of an outbox is 120 of 20 KB
				t.Errorf("%d pages were asked for", n)
			}
			if took := time.Since(began); took < w.g.cfg.AttachTimeout {
				t.Errorf("all was there after %v", took)
			}
			for i, name := range rooms {
				c.publish(name, int64(i), "live")
				c.hears("m")
				c.expect(protocol.ActionAck)
			}
			c.quiet()
		})
	}
}

func TestClientComesBackTooLate(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		serials := w.speak("room", "a", "b")
		c := w.connect(format)
		defer c.close()
		pm := c.reattach("room", "01600000000000-000@old")
		if pm.Flags.Has(protocol.FlagResumed) || pm.Error == nil || pm.Error.Code != 90003 || pm.ChannelSerial != serials[1] {
			t.Errorf("%+v, error %v", pm, pm.Error)
		}
		c.quiet()
		w.speak("room", "c")
	})
}

// What is behind a client's serial may be gone before all of it was asked for. A client that was told that it has resumed is
// told of that, and goes on with what comes live.
func TestHistoryIsGoneDuringAResume(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		w.people("room", 2)
		serials := w.speak("room", "a", "b", "c", "d", "e")
		w.warm("room")
		part := w.g.partition("demo", "room")
		c := w.connect(format)
		defer c.close()
		w.owner.set(func(o *owner) { o.page, o.manual, o.heard = 2, true, nil })
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", ChannelSerial: serials[0]}))
		r, _ := await1(t, w.owner, anyOf[*channel.Register])
		answer := func() {
			q, _ := await1(t, w.owner, anyOf[*channel.History])
			w.owner.set(func(o *owner) { w.g.FromOwner("n1", part, 1, o.recall(q)) })
		}
		w.owner.set(func(o *owner) { o.register(r, false, func(m channel.ToGateway) { w.g.FromOwner("n1", part, 1, m) }) })
		answer()
		if pm := c.expect(protocol.ActionAttached); !pm.Flags.Has(protocol.FlagResumed|protocol.FlagHasPresence) || pm.Error != nil {
			t.Errorf("%+v, error %v: want resumed", pm, pm.Error)
		}
		c.hears("b", "c")
		w.owner.set(func(o *owner) { o.evicted = serials[3] })
		answer()
		pm := c.expect(protocol.ActionAttached)
		if pm.Flags.Has(protocol.FlagResumed) || pm.Error == nil || pm.Error.Code != 90003 || pm.ChannelSerial != serials[4] {
			t.Errorf("%+v, error %v: want to be told of the loss", pm, pm.Error)
		}
		if !pm.Flags.Has(protocol.FlagHasPresence) {
			t.Error("it is not told of the members again")
		}
		q, _ := await1(t, w.owner, anyOf[*channel.PresenceQuery])
		w.owner.set(func(o *owner) { w.g.FromOwner("n1", part, 1, o.present(q)) })
		if pm := c.expect(protocol.ActionSync); len(pm.Presence) != 2 {
			t.Errorf("%d members, want 2", len(pm.Presence))
		}
		c.quiet()
		w.owner.set(func(o *owner) { o.manual = false })
		c.publish("room", 0, "x")
		c.hears("m")
		c.expect(protocol.ActionAck)
	})
}

// While the channel's listeners are brought what they missed, some of them have begun behind that. An ATTACH in place tells
// each of them the place where it stands, never one before what it was told.
func TestAttachInPlaceWhileAGapIsFilled(t *testing.T) {
	for _, modes := range []protocol.Flags{protocol.ModeSubscribe, protocol.ModePublish} {
		bubble(t, func(t *testing.T, w *world, format string) {
			a, b := w.connect(format), w.connect(format)
			defer a.close()
			defer b.close()
			a.attach("room", nil)
			a.publish("room", 0, "x")
			a.hears("m")
			a.expect(protocol.ActionAck)
			serials := w.speak("room", "one", "two") // lost on the way to here
			part := w.g.partition("demo", "room")
			w.owner.set(func(o *owner) { o.manual, o.heard = true, nil })
			in := func(c *client, modes protocol.Flags) *protocol.ProtocolMessage {
				c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Flags: modes}))
				synctest.Wait()
				w.owner.set(func(o *owner) {
					for _, h := range o.heard {
						if r, ok := h.m.(*channel.Register); ok {
							o.register(r, false, func(m channel.ToGateway) { w.g.FromOwner("n1", part, 1, m) })
						}
					}
				})
				return c.expect(protocol.ActionAttached)
			}
			first := in(b, modes)
			again := in(b, modes)
			if first.ChannelSerial != serials[1] || again.ChannelSerial != first.ChannelSerial || !again.Flags.Has(protocol.FlagResumed) {
				t.Errorf("attached at %s, and in place at %s (%v), want %s", first.ChannelSerial, again.ChannelSerial, again.Flags, serials[1])
			}
			both := protocol.ModeSubscribe | protocol.ModePublish
			for _, other := range []protocol.Flags{both, modes ^ both, both} {
				if pm := in(b, other); pm.ChannelSerial != serials[1] {
					t.Errorf("with modes %v it is attached at %s, want %s", other, pm.ChannelSerial, serials[1])
				}
			}
			q, _ := await1(t, w.owner, anyOf[*channel.History])
			w.owner.set(func(o *owner) { w.g.FromOwner("n1", part, 1, o.recall(q)) })
			a.hears("one", "two")
			a.quiet()
			b.quiet()
			if pm := in(a, 0); pm.ChannelSerial != serials[1] {
				t.Errorf("the one who was brought everything is attached at %s, want %s", pm.ChannelSerial, serials[1])
			}
		})
	}
}

// An owner may not believe what a gateway has seen. The channel then goes on from where the owner is, for those who come as
// well.
func TestOwnerIsBehindWhatWasSeen(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		for _, modes := range []protocol.Flags{protocol.ModeSubscribe, protocol.ModePublish} {
			name := fmt.Sprint("room", modes)
			a, b := w.connect(format), w.connect(format)
			defer a.close()
			defer b.close()
			w.owner.set(func(o *owner) { o.last[name] = "98000000000000-000@odd" })
			a.send(protocol.AppendAttach(nil, a.f, &protocol.Attach{Channel: name, Flags: modes}))
			a.expect(protocol.ActionAttached)
			behind := ""
			w.owner.set(func(o *owner) { behind = o.next(name); o.lost = true })
			epoch := w.g.partition("demo", name) // any number that was not used
			w.route(Route{Node: "n1", Epoch: 1, Session: uint64(100 + epoch)})
			if modes == protocol.ModeSubscribe {
				if pm := a.expect(protocol.ActionAttached); pm.ChannelSerial != behind || pm.Error == nil || pm.Error.Code != 80020 {
					t.Errorf("%+v, error %v", pm, pm.Error)
				}
			}
			b.attach(name, nil)
			b.publish(name, 0, "x")
			b.hears("m")
			b.expect(protocol.ActionAck)
			if modes == protocol.ModeSubscribe {
				a.hears("m")
			}
			a.quiet()
			b.quiet()
			w.owner.set(func(o *owner) { o.lost = false })
		}
	})
}

// The same, where it is the answer to a gap.
func TestOwnerDoesNotKnowWhereTheGapBegins(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		w.owner.set(func(o *owner) { o.last["room"] = "98000000000000-000@odd" })
		c.attach("room", nil)
		w.owner.set(func(o *owner) {
			w.g.FromOwner("n1", w.g.partition("demo", "room"), 1, &channel.Delivery{
				App: "demo", Name: "room", Serial: "98000000000005-000@odd", Prev: "98000000000003-000", Messages: []channel.Message{{Name: "x"}},
			})
			o.last["room"] = "01700000000000-000@test"
		})
		pm := c.expect(protocol.ActionAttached)
		if pm.ChannelSerial != "01700000000000-000@test" || pm.Error == nil || pm.Error.Code != 80020 {
			t.Errorf("%+v, error %v", pm, pm.Error)
		}
		c.expect(protocol.ActionSync) // there may be members that it does not know
		c.publish("room", 0, "x")
		c.hears("m")
		c.expect(protocol.ActionAck)
	})
}

func TestRewind(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		serials := w.speak("room", "a", "b", "c")
		c := w.connect(format)
		defer c.close()
		pm := c.attach("room", map[string]string{"rewind": "2"})
		if pm.Params["rewind"] != "2" || !pm.Flags.Has(protocol.FlagHasBacklog) || pm.Flags.Has(protocol.FlagResumed) || pm.ChannelSerial != channel.SerialPosition(serials[0]) {
			t.Errorf("%+v", pm)
		}
		c.hears("b", "c")
		c.publish("room", 0, "x")
		c.hears("m")
		c.expect(protocol.ActionAck)
		for i, bad := range []string{"", "x", "-1", "1h", "s"} {
			c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: fmt.Sprint("bad", i), Params: map[string]string{"rewind": bad}}))
			if pm := c.expect(protocol.ActionError); pm.Error.Code != 40003 {
				t.Errorf("rewind %q: %v", bad, pm.Error)
			}
		}
		if pm := c.attach("empty", map[string]string{"rewind": "2m"}); pm.Flags.Has(protocol.FlagHasBacklog) || pm.Error != nil {
			t.Errorf("%+v", pm)
		}
		c.quiet()
	})
}

// A delivery that does not follow on the last one has the gap filled first.
func TestGapIsFilledFromTheOwner(t *testing.T) {
	for _, page := range []int{100, 1} {
		bubble(t, func(t *testing.T, w *world, format string) {
			w.owner.set(func(o *owner) { o.page = page })
			a, b := w.connect(format), w.connect(format)
			defer a.close()
			defer b.close()
			a.attach("room", nil)
			a.publish("room", 0, "x")
			a.hears("m")
			a.expect(protocol.ActionAck)
			w.speak("room", "one", "two") // lost on the way
			part := w.g.partition("demo", "room")
			b.attach("room", map[string]string{}) // begins behind them
			a.hears("one", "two")
			w.speak("room", "three", "four", "five")
			w.owner.set(func(o *owner) {
				list := o.kept["room"]
				w.g.FromOwner("n1", part, 1, list[len(list)-1])
				w.g.FromOwner("n1", part, 1, list[len(list)-1]) // twice
			})
			synctest.Wait()
			for _, c := range []*client{a, b} {
				c.hears("three", "four", "five")
				c.quiet()
			}
			if n := w.g.Stats().ContinuityLosses; n != 0 {
				t.Errorf("%d continuity losses", n)
			}
		})
	}
}

// Clients that come back together ask once, and an owner that is busy is asked again.
func TestManyComeBackAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		serials := w.speak("room", "a", "b", "c")
		w.warm("room")
		var clients []*client
		for range 20 {
			c := w.connect(format)
			defer c.close()
			clients = append(clients, c)
		}
		w.owner.set(func(o *owner) { o.manual, o.heard = true, nil })
		for _, c := range clients {
			c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", ChannelSerial: serials[0]}))
		}
		synctest.Wait()
		var last *channel.Register
		part := w.g.partition("demo", "room")
		w.owner.set(func(o *owner) {
			for _, h := range o.heard {
				if r, ok := h.m.(*channel.Register); ok {
					last = r
				}
			}
			w.g.FromOwner("n1", part, 1, &channel.Registered{App: "demo", Name: "room", Version: last.Version, Serial: serials[2], Counts: last.Counts})
		})
		q, _ := await1(t, w.owner, anyOf[*channel.History])
		w.g.FromOwner("n1", part, 1, &channel.HistoryResult{Req: q.Req, Refusal: channel.Busy})
		again, _ := await1(t, w.owner, anyOf[*channel.History])
		w.owner.set(func(o *owner) { w.g.FromOwner("n1", part, 1, o.recall(again)) })
		for _, c := range clients {
			if pm := c.expect(protocol.ActionAttached); !pm.Flags.Has(protocol.FlagResumed) {
				t.Errorf("%+v", pm)
			}
			c.hears("b", "c")
			c.quiet()
		}
		w.owner.set(func(o *owner) {
			for _, h := range o.heard {
				if _, ok := h.m.(*channel.History); ok {
					t.Error("asked more than once")
				}
			}
		})
	})
}
