package transport

import (
	"fmt"
	"testing"
	"testing/synctest"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// connections is the number that the client's next frame tells as an occupancy event.
func (c *client) connections() (n int) {
	c.t.Helper()
	pm := c.expect(protocol.ActionMessage)
	if _, err := fmt.Sscanf(string(pm.Messages[0].Data), `{"metrics":{"connections":%d}}`, &n); err != nil || pm.Messages[0].Name != "[meta]occupancy" {
		c.t.Fatalf("got %+v, want an occupancy event", pm)
	}
	return n
}

func (w *world) tellConnections(name string, n int32) {
	w.g.FromOwner("n1", w.g.partition("demo", name), 1, &channel.Occupancy{App: "demo", Name: name, Counts: channel.Counts{channel.Connections: n}})
}

// Clients take every MESSAGE for what the next delta applies to: what follows on an occupancy event is whole.
func TestOccupancyIsNoBaseOfADelta(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c, other := w.connect(format), w.connect(format)
		defer c.close()
		defer other.close()
		other.attach("room", map[string]string{"delta": "vcdiff"})
		c.attach("room", map[string]string{"delta": "vcdiff", "occupancy": "metrics.connections"})
		c.connections()
		var before []byte
		for i, step := range []struct {
			counts int32 // told before it
			event  bool  // they are news
			delta  bool
		}{{5, true, false}, {5, false, true}, {5, false, true}, {6, true, false}, {6, false, true}} {
			w.tellConnections("room", step.counts)
			if step.event && c.connections() != int(step.counts) {
				t.Errorf("%d: other counts", i)
			}
			text := noise() + fmt.Sprint(i)
			w.deliver("room", "x", stringMessage(text))
			if data, delta := applied(t, &c.expect(protocol.ActionMessage).Messages[0], before); delta != step.delta || string(data) != text {
				t.Errorf("%d: delta %v, %q", i, delta, data)
			}
			if data, delta := applied(t, &other.expect(protocol.ActionMessage).Messages[0], before); delta != (i > 0) || string(data) != text {
				t.Errorf("%d without occupancy: delta %v, %q", i, delta, data)
			}
			before = []byte(text)
		}
	})
}

// What the owner tells while a watcher is brought what it missed is not told again: its seed is the latest.
func TestSeedBehindTheMissedIsTheLatest(t *testing.T) {
	for name, attach := range map[string]func(serial string) *protocol.Attach{
		"a serial": func(serial string) *protocol.Attach {
			return &protocol.Attach{ChannelSerial: serial, Params: map[string]string{"occupancy": "metrics.connections"}}
		},
		"rewind": func(string) *protocol.Attach {
			return &protocol.Attach{Params: map[string]string{"occupancy": "metrics.connections", "rewind": "1"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world, format string) {
				serials := w.speak("room", "a", "b")
				c, there := w.connect(format), w.connect(format)
				defer c.close()
				defer there.close()
				there.attach("room", map[string]string{"occupancy": "metrics.connections"})
				there.connections()
				w.owner.set(func(o *owner) { o.manual, o.heard = true, nil })
				order := attach(serials[0])
				order.Channel = "room"
				c.send(protocol.AppendAttach(nil, c.f, order))
				r, h := await1(t, w.owner, anyOf[*channel.Register])
				w.g.FromOwner("n1", h.part, 1, &channel.Registered{App: "demo", Name: "room", Version: r.Version, Serial: serials[1], Counts: channel.Counts{channel.Connections: 2}})
				q, _ := await1(t, w.owner, anyOf[*channel.History])
				for _, n := range []int32{4, 5} {
					w.tellConnections("room", n)
					if got := there.connections(); got != int(n) {
						t.Errorf("who was there is told %d, want %d", got, n)
					}
				}
				synctest.Wait()
				c.quiet()
				w.owner.set(func(o *owner) { w.g.FromOwner("n1", h.part, 1, o.recall(q)) })
				c.expect(protocol.ActionAttached)
				c.hears("b")
				if n := c.connections(); n != 5 {
					t.Errorf("the seed is %d, want 5", n)
				}
				w.tellConnections("room", 5)
				synctest.Wait()
				c.quiet()
				w.tellConnections("room", 6)
				if n := c.connections(); n != 6 {
					t.Errorf("told %d, want 6", n)
				}
			})
		})
	}
}
