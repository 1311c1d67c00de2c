package transport

import (
	"fmt"
	"testing"
	"testing/synctest"

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
