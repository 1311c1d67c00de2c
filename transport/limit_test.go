package transport

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/limits"
	"innkeeper/transport/protocol"
)

// outRate lets a connection of the app have n messages per second.
func outRate(n int64) func(*GatewayConfig) {
	return func(c *GatewayConfig) {
		set := limits.Set{}
		set[limits.ConnectionOutRate].Hard = n
		c.Gates = limits.NewGates()
		c.Gates.Set(limits.Config{Sets: map[limits.Scope]limits.Set{limits.AppScope("demo"): set}, Account: func(string) string { return "" }})
	}
}

// flooded attaches to the room and is sent twice what the connection may have, which is 3.
func (c *client) flooded(w *world) (serials []string) {
	c.t.Helper()
	c.attach("room", nil)
	for i := range 6 {
		serials = append(serials, w.deliver("room", "x", stringMessage(fmt.Sprint(i))).Serial)
	}
	c.hears("m", "m", "m")
	synctest.Wait()
	c.quiet()
	return serials
}

// toldLeftOut takes an ATTACHED that says that messages were left out.
func (c *client) toldLeftOut(serial string) {
	c.t.Helper()
	pm := c.expect(protocol.ActionAttached)
	if pm.Flags.Has(protocol.FlagResumed) || pm.Error == nil || pm.Error.Code != 80020 || !strings.Contains(pm.Error.Message, "42915") || pm.ChannelSerial != serial {
		c.t.Fatalf("got %+v, error %v; want to be told that messages were left out before %s", pm, pm.Error, serial)
	}
}

func TestWhoIsLeftOutIsTold(t *testing.T) {
	bubbleWith(t, outRate(3), func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		serials := c.flooded(w)
		time.Sleep(throttleFor + 2*tick)
		c.toldLeftOut(serials[5])
		w.deliver("room", "x", stringMessage("after"))
		c.hears("m")
		time.Sleep(2 * throttleFor)
		c.quiet()
	})
}

// An ATTACH in place, meanwhile, is not answered as if nothing had been missed, and ends the wait.
func TestWhoIsLeftOutIsToldWhenItAttachesAgain(t *testing.T) {
	for name, modes := range map[string]protocol.Flags{
		"as before": protocol.DefaultModes, "with other modes": protocol.ModeSubscribe, "to hear nothing": protocol.ModePublish,
	} {
		t.Run(name, func(t *testing.T) {
			bubbleWith(t, outRate(3), func(t *testing.T, w *world, format string) {
				c := w.connect(format)
				defer c.close()
				serials := c.flooded(w)
				time.Sleep(throttleFor / 2)
				c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Flags: modes}))
				c.toldLeftOut(serials[5])
				w.deliver("room", "x", stringMessage("after"))
				if modes != protocol.ModePublish {
					c.hears("m")
				}
				time.Sleep(2 * throttleFor)
				synctest.Wait()
				c.quiet()
				if n := w.g.Stats().ContinuityLosses; n != 1 {
					t.Errorf("%d losses are counted", n)
				}
			})
		})
	}
}

// While the owner is asked to confirm an ATTACH in place, nothing else answers it.
func TestWhoIsLeftOutIsToldWithTheOwnersWord(t *testing.T) {
	bubbleWith(t, outRate(3), func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		serials := c.flooded(w)
		w.owner.set(func(o *owner) { o.manual, o.heard = true, nil })
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Flags: protocol.ModeSubscribe}))
		r, h := await1(t, w.owner, anyOf[*channel.Register])
		time.Sleep(2 * throttleFor)
		synctest.Wait()
		c.quiet()
		w.g.FromOwner("n1", h.part, 1, &channel.Registered{App: "demo", Name: "room", Version: r.Version, Serial: serials[5]})
		c.toldLeftOut(serials[5])
		w.deliver("room", "x", stringMessage("after"))
		c.hears("m")
		time.Sleep(2 * throttleFor)
		c.quiet()
	})
}

// Who is told again what it was left out of has missed nothing; who comes anew had nothing to miss.
func TestWhoIsLeftOutBeginsAnew(t *testing.T) {
	bubbleWith(t, outRate(3), func(t *testing.T, w *world, format string) {
		params := map[string]string{"delta": "vcdiff"}
		c := w.connect(format)
		defer c.close()
		c.attach("room", params)
		var serials []string
		for i := range 6 {
			serials = append(serials, w.deliver("room", "x", stringMessage(fmt.Sprint(i))).Serial)
		}
		c.hears("m", "m", "m")
		time.Sleep(throttleFor / 2)
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", ChannelSerial: serials[1], Params: params}))
		if pm := c.expect(protocol.ActionAttached); !pm.Flags.Has(protocol.FlagResumed) || pm.Error != nil {
			t.Errorf("got %+v, error %v", pm, pm.Error)
		}
		c.hears("m", "m", "m", "m")
		w.deliver("room", "x", stringMessage("one may come by now"))
		c.hears("m")
		w.deliver("room", "x", stringMessage("and no more"))
		synctest.Wait()
		c.send(protocol.AppendDetach(nil, c.f, "room"))
		c.expect(protocol.ActionDetached)
		time.Sleep(throttleFor / 2)
		c.attach("room", nil)
		w.deliver("room", "x", stringMessage("of another attachment"))
		c.hears("m")
		time.Sleep(2 * throttleFor)
		c.quiet()
		if n := w.g.Stats().ContinuityLosses; n != 0 {
			t.Errorf("%d losses are counted", n)
		}
	})
}

// What a gateway refuses is counted whatever it is.
func TestRefusedFramesOfAnyKindAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format + "&key=" + limitedKey)
		defer c.close()
		list := []channel.Member{{Action: channel.Enter, ClientID: "a"}, {Action: channel.Enter, ClientID: "b"}}
		c.send(protocol.AppendClientPresence(nil, c.f, "read", 0, list...))
		c.expect(protocol.ActionNack)
		if c.f == protocol.JSON {
			c.send([]byte(`{"action":21,"channel":"read","msgSerial":1,"annotations":[{"action":0,"type":"a:total.v1","messageSerial":"x"}]}`))
			c.expect(protocol.ActionNack)
		}
		want := uint64(2)
		if c.f == protocol.JSON {
			want++
		}
		if s := w.g.Metered()["demo"]; s.RealtimeFailed+s.RealtimeRefused != want {
			t.Errorf("%d failed and %d refused, want %d in all", s.RealtimeFailed, s.RealtimeRefused, want)
		}
	})
}
