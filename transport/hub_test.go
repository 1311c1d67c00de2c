package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

func TestAttachWaitsForTheOwner(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		w.owner.set(func(o *owner) { o.manual = true })
		c := w.connect(format)
		defer c.close()
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room"}))
		r, h := await1(t, w.owner, anyOf[*channel.Register])
		want := channel.Counts{channel.Connections: 1, channel.Publishers: 1, channel.Subscribers: 1, channel.PresenceConnections: 1, channel.PresenceSubscribers: 1}
		if r.App != "demo" || r.Name != "room" || r.Counts != want || !r.Confirm || r.Watchers != 0 || h.part != w.g.partition("demo", "room") {
			t.Errorf("registered %+v at %+v", r, h)
		}
		c.quiet()
		say := func(v uint64) {
			w.g.FromOwner("n1", h.part, 1, &channel.Registered{App: "demo", Name: "room", Version: v, Serial: "5"})
		}
		say(r.Version - 1)
		synctest.Wait()
		c.quiet()
		say(r.Version)
		pm := c.expect(protocol.ActionAttached)
		if pm.ChannelSerial != "5" || pm.Flags.Modes() != protocol.DefaultModes || pm.Flags.Has(protocol.FlagResumed) || pm.Error != nil || pm.Params != nil {
			t.Errorf("attached %+v", pm)
		}
	})
}

func TestAttachModesAndParams(t *testing.T) {
	for name, tc := range map[string]struct {
		key, channel string
		params       map[string]string
		flags        protocol.Flags
		granted      protocol.Flags
		echoed       map[string]string
	}{
		"default":     {testKey, "a", nil, 0, protocol.DefaultModes, nil},
		"flags":       {testKey, "a", nil, protocol.ModeSubscribe, protocol.ModeSubscribe, nil},
		"params win":  {testKey, "a", map[string]string{"modes": "publish"}, protocol.ModeSubscribe, protocol.ModePublish, map[string]string{"modes": "publish"}},
		"unknown":     {testKey, "a", map[string]string{"frob": "1", "agent": "x"}, 0, protocol.DefaultModes, nil},
		"qualifier":   {testKey, "[?modes=subscribe]a", nil, 0, protocol.ModeSubscribe, map[string]string{"modes": "subscribe"}},
		"capability":  {limitedKey, "read", nil, 0, protocol.ModeSubscribe | protocol.ModePresenceSubscribe, nil},
		"echo":        {testKey, "a", map[string]string{"echo": "false"}, 0, protocol.DefaultModes, map[string]string{"echo": "false"}},
		"intersected": {limitedKey, "read", map[string]string{"modes": "publish,subscribe"}, 0, protocol.ModeSubscribe, map[string]string{"modes": "subscribe"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, false, nil)
				defer w.close()
				c := w.connect("key=" + tc.key)
				defer c.close()
				c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: tc.channel, Params: tc.params, Flags: tc.flags}))
				pm := c.expect(protocol.ActionAttached)
				if pm.Channel != tc.channel || pm.Flags.Modes() != tc.granted || fmt.Sprint(pm.Params) != fmt.Sprint(tc.echoed) {
					t.Errorf("got %q modes %s params %v, want modes %s params %v", pm.Channel,
						protocol.ModeNames(pm.Flags), pm.Params, protocol.ModeNames(tc.granted), tc.echoed)
				}
			})
		})
	}
}

func TestAttachIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		key, channel string
		params       map[string]string
		code         int
	}{
		"invalid name":      {testKey, ":hell", nil, 40010},
		"empty name":        {testKey, "", nil, 40010},
		"metachannel":       {testKey, "[meta]channel.lifecycles", nil, 40010},
		"not for all":       {limitedKey, "[meta]log", nil, 40160},
		"only subscribing":  {testKey, "[meta]log", map[string]string{"modes": "publish,presence"}, 40160},
		"filter":            {testKey, "[filter=bmFtZQ==]a", nil, 40010},
		"capability":        {limitedKey, "other", nil, 40160},
		"modes":             {limitedKey, "read", map[string]string{"modes": "publish"}, 40160},
		"occupancy":         {limitedKey, "read", map[string]string{"occupancy": "metrics"}, 40160},
		"occupancy of some": {limitedKey, "read", map[string]string{"occupancy": "metrics.publishers"}, 40160},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, false, nil)
				defer w.close()
				c := w.connect("key=" + tc.key)
				defer c.close()
				c.send(fmt.Appendf(nil, `{"action":10,"channel":%q,"params":%s}`, tc.channel, jsonMap(tc.params)))
				pm := c.expect(protocol.ActionError)
				if !pm.HasChannel || pm.Channel != tc.channel || pm.Error.Code != tc.code {
					t.Errorf("got %+v, error %v, want %d", pm, pm.Error, tc.code)
				}
				c.quiet() // the connection survives
			})
		})
	}
}

func jsonMap(m map[string]string) string {
	var b strings.Builder
	for k, v := range m {
		fmt.Fprintf(&b, ",%q:%q", k, v)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func TestChannelLimit(t *testing.T) {
	bubbleWith(t, func(c *GatewayConfig) { c.MaxChannels = 3 }, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		for i := range 3 {
			c.attach(fmt.Sprint("room", i), nil)
		}
		c.attach("room1", nil) // no new one
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room3"}))
		if pm := c.expect(protocol.ActionError); pm.Error.Code != 90010 || pm.Channel != "room3" {
			t.Errorf("got %+v, error %v", pm, pm.Error)
		}
		c.send(protocol.AppendDetach(nil, c.f, "room0"))
		c.expect(protocol.ActionDetached)
		c.attach("room3", nil)
	})
}

func TestDetach(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		a, b := w.connect(format), w.connect(format)
		defer a.close()
		defer b.close()
		a.attach("room", nil)
		b.attach("room", nil)
		a.send(protocol.AppendDetach(nil, a.f, "room"))
		if pm := a.expect(protocol.ActionDetached); pm.Channel != "room" || pm.Error != nil {
			t.Errorf("got %+v", pm)
		}
		r, _ := await1(t, w.owner, func(r *channel.Register) bool { return !r.Confirm })
		if r.Counts[channel.Connections] != 1 {
			t.Errorf("registered %+v", r)
		}
		a.send(protocol.AppendDetach(nil, a.f, "never"))
		if pm := a.expect(protocol.ActionDetached); pm.Channel != "never" {
			t.Errorf("got %+v", pm)
		}
		b.publish("room", 0, "x")
		b.expect(protocol.ActionMessage)
		b.expect(protocol.ActionAck)
		a.quiet()
	})
}

// ATTACH on an attached channel: at once when nothing changes, through the owner when modes do.
func TestAttachInPlace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		w.owner.set(func(o *owner) { o.heard = nil })
		if pm := c.attach("room", nil); !pm.Flags.Has(protocol.FlagResumed) {
			t.Error("not resumed")
		}
		w.owner.set(func(o *owner) {
			for _, h := range o.heard { // its watchers of connections may be asked for at any time
				if q, ok := h.m.(*channel.Query); !ok || q.Name == "room" {
					t.Errorf("the owner heard %T %+v", h.m, h.m)
				}
			}
		})
		if pm := c.attach("room", map[string]string{"modes": "subscribe"}); !pm.Flags.Has(protocol.FlagResumed) || pm.Flags.Modes() != protocol.ModeSubscribe {
			t.Errorf("flags %x", pm.Flags)
		}
		r, _ := await1(t, w.owner, anyOf[*channel.Register])
		if (r.Counts != channel.Counts{channel.Connections: 1, channel.Subscribers: 1}) {
			t.Errorf("registered %+v", r)
		}
		if n := w.g.Stats().Attachments; n != 1 {
			t.Errorf("%d attachments", n)
		}
	})
}

// What an ATTACH adds is not there before the owner has confirmed it, and it is once it has, however often it is asked for
// meanwhile and whether an ATTACH or an AUTH brought it.
func TestAttachAgainWhileUnconfirmed(t *testing.T) {
	const less = `{"*":["publish"]}`
	tokenBubble(t, func(t *testing.T, w *world, format string, issue issuer) {
		again := func(c *client) {
			c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Flags: protocol.ModePublish | protocol.ModeSubscribe}))
		}
		for name, widen := range map[string]func(c *client){
			"ATTACH": again,
			"AUTH": func(c *client) {
				c.auth(issue("demo.root", "", 0, ""))
				c.expect(protocol.ActionConnected)
			},
		} {
			first, capability := protocol.ModePublish, ""
			if name == "AUTH" {
				first, capability = protocol.ModePublish|protocol.ModeSubscribe, less
			}
			w.owner.set(func(o *owner) { o.manual = false })
			c := w.connect(withToken(format, issue("demo.root", "", 0, capability)))
			c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Flags: first}))
			if pm := c.expect(protocol.ActionAttached); pm.Flags.Modes() != protocol.ModePublish {
				t.Fatalf("%s: begins with modes %x", name, pm.Flags.Modes())
			}
			synctest.Wait()
			w.owner.set(func(o *owner) { o.manual, o.heard = true, nil })
			widen(c)
			was, _ := await1(t, w.owner, func(r *channel.Register) bool { return r.Confirm })
			again(c)
			r, h := await1(t, w.owner, func(r *channel.Register) bool { return r.Confirm })
			say := func(m channel.ToGateway) { w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, m) }
			say(&channel.Registered{App: r.App, Name: r.Name, Version: was.Version})
			c.quiet()
			say(&channel.Registered{App: r.App, Name: r.Name, Version: r.Version})
			pm := c.expect(protocol.ActionAttached)
			if !pm.Flags.Has(protocol.FlagResumed) || pm.Flags.Modes() != protocol.ModePublish|protocol.ModeSubscribe {
				t.Errorf("%s: flags %x", name, pm.Flags)
			}
			w.owner.set(func(o *owner) {
				say(o.keep(&channel.Publish{App: "demo", Name: "room", ID: name, Messages: []channel.Message{{Name: "heard"}}}))
			})
			if pm := c.expect(protocol.ActionMessage); pm.Messages[0].Name != "heard" {
				t.Errorf("%s: got %+v", name, pm.Messages)
			}
			c.quiet()
			c.close()
		}
	})
}

// A channel that failed at the client does not go on counting here.
func TestRefusedAttachInPlaceDetaches(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format + "&key=" + limitedKey)
		defer c.close()
		c.attach("read", nil)
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "read", Params: map[string]string{"modes": "publish"}}))
		if pm := c.expect(protocol.ActionError); pm.Error.Code != 40160 {
			t.Errorf("error %v", pm.Error)
		}
		await1(t, w.owner, func(r *channel.Register) bool { return r.Counts == channel.Counts{} })
		synctest.Wait()
		if st := w.g.Stats(); st.Attachments != 0 {
			t.Errorf("%d attachments", st.Attachments)
		}
	})
}

func TestReattachAtTheSameSerialResumes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		a := w.connect(format)
		a.attach("room", nil)
		a.publish("room", 0, "x")
		serial := a.expect(protocol.ActionMessage).ChannelSerial
		a.close()
		for channelSerial, resumed := range map[string]bool{serial: true, "01600000000000-000@old": false} {
			b := w.connect(format)
			b.send(protocol.AppendAttach(nil, b.f, &protocol.Attach{Channel: "room", ChannelSerial: channelSerial}))
			pm := b.expect(protocol.ActionAttached)
			if pm.Flags.Has(protocol.FlagResumed) != resumed || pm.ChannelSerial != serial {
				t.Errorf("from %q: %+v, want resumed %v", channelSerial, pm, resumed)
			}
			b.close()
		}
	})
}

func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		p := w.connect("format=msgpack&clientId=alice")
		j, m, q, deaf, mute := w.connect(""), w.connect("format=msgpack"), w.connect(""), w.connect("echo=false"), w.connect("")
		for _, c := range []*client{p, j, m, q, deaf, mute} {
			defer c.close()
		}
		p.attach("room", map[string]string{"echo": "false"})
		j.attach("room", nil)
		m.attach("room", nil)
		q.attach("[?modes=subscribe]room", nil)
		mute.attach("room", map[string]string{"modes": "publish"})
		deaf.attach("room", nil)

		p.send(protocol.AppendPublish(nil, p.f, "room", 0, nil, channel.Message{Name: "n", Kind: channel.BinaryData, Data: []byte{1, 2, 255}}))
		ack := p.expect(protocol.ActionAck)
		if ack.MsgSerial != 0 || ack.Count != 1 || len(ack.Res) != 1 || len(ack.Res[0].Serials) != 1 {
			t.Fatalf("ack %+v", ack)
		}
		for c, name := range map[*client]string{j: "room", m: "room", q: "[?modes=subscribe]room", deaf: "room"} {
			pm := c.expect(protocol.ActionMessage)
			if pm.Channel != name || pm.ConnectionID != p.id || len(pm.Messages) != 1 || pm.ID != p.id+":0" {
				t.Fatalf("got %+v", pm)
			}
			got := pm.Messages[0]
			if got.ClientID != "alice" || got.Name != "n" || got.Serial != ack.Res[0].Serials[0] {
				t.Errorf("message %+v", got)
			}
			if canonical, _, err := protocol.Canonical(pm.Messages, protocol.CanonicalOptions{}); err != nil || string(canonical[0].Data) != "\x01\x02\xff" {
				t.Errorf("data %v, %v", canonical, err)
			}
		}
		p.quiet()
		mute.quiet()

		deaf.publish("room", 0, "mine")
		deaf.expect(protocol.ActionAck)
		deaf.quiet()
		j.expect(protocol.ActionMessage)
		if st := w.g.Stats(); st.Deliveries != 4+4 || st.Acks != 2 || st.MessagesIn != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestPublishIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		key, attach, frame string
		code               int
	}{
		"capability":  {limitedKey, "", `"channel":"read","messages":[{"name":"x"}]`, 40160},
		"mode":        {testKey, "subscribe", `"channel":"room","messages":[{"name":"x"}]`, 40165},
		"name":        {testKey, "", `"channel":":x","messages":[{"name":"x"}]`, 40010},
		"meta":        {testKey, "", `"channel":"[meta]log","messages":[{"name":"x"}]`, 40160},
		"too large":   {testKey, "", `"channel":"room","messages":[{"data":"` + strings.Repeat("x", 65537) + `"}]`, 40009},
		"client id":   {testKey + "&clientId=alice", "", `"channel":"room","messages":[{"clientId":"bob"}]`, 40012},
		"forced":      {testKey, "", `"channel":"room","params":{"_forceNack":"true"},"messages":[{"name":"x"}]`, 40099},
		"nothing":     {testKey, "", `"channel":"room","messages":[]`, 40030},
		"bare number": {testKey, "", `"channel":"room","messages":[{"data":7}]`, 40013},
		"update":      {testKey, "", `"channel":"room","messages":[{"action":1}]`, 40003},
		"ids":         {testKey, "", `"channel":"room","messages":[{"id":"a:0"},{"id":"b:1"}]`, 40031},
		"too many":    {testKey, "", `"channel":"room","messages":[` + strings.TrimSuffix(strings.Repeat("{},", 1001), ",") + `]`, 40034},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, false, nil)
				defer w.close()
				c := w.connect("key=" + tc.key)
				defer c.close()
				if tc.attach != "" {
					c.attach("room", map[string]string{"modes": tc.attach})
				}
				c.send([]byte(`{"action":15,"msgSerial":0,` + tc.frame + `}`))
				pm := c.expect(protocol.ActionNack)
				if pm.MsgSerial != 0 || pm.Count != 1 || pm.Error.Code != tc.code {
					t.Errorf("got %+v, error %v, want %d", pm, pm.Error, tc.code)
				}
				c.publish("both", 1, "fine")
				c.expect(protocol.ActionAck)
			})
		})
	}
}

// Answers come from different owners in any order and leave in the order of the publishes, neighbours together.
func TestAcksAreInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		w.warm("room0", "room1", "room2", "room4", "room5")
		w.owner.set(func(o *owner) { o.manual = true })
		var pubs []*channel.Publish
		var parts []uint32
		for i := range 6 {
			if i == 3 {
				c.send(fmt.Appendf(nil, `{"action":14,"channel":"x","msgSerial":3}`))
				pubs, parts = append(pubs, nil), append(parts, 0)
				if c.f != protocol.JSON {
					t.Skip("the refused frame is written in JSON")
				}
				continue
			}
			c.publish(fmt.Sprint("room", i), int64(i), "x")
			p, h := await1(t, w.owner, anyOf[*channel.Publish])
			if p.MsgSerial != int64(i) || p.ConnID != c.id || p.ID != fmt.Sprintf("%s:%d", c.id, i) {
				t.Errorf("published %+v", p)
			}
			pubs, parts = append(pubs, p), append(parts, h.part)
		}
		answer := func(i int, refusal channel.Refusal) {
			w.g.FromOwner("n1", parts[i], 1, &channel.Published{Req: pubs[i].Req, Serial: fmt.Sprint("s", i), Refusal: refusal})
			synctest.Wait()
		}
		answer(2, channel.Accepted)
		answer(5, channel.Busy)
		answer(1, channel.Accepted)
		c.quiet()
		answer(0, channel.Accepted)
		pm := c.expect(protocol.ActionAck)
		if pm.MsgSerial != 0 || pm.Count != 3 || len(pm.Res) != 3 || pm.Res[2].Serials[0] != "s2:000" {
			t.Errorf("got %+v", pm)
		}
		if pm := c.expect(protocol.ActionNack); pm.MsgSerial != 3 || pm.Count != 1 {
			t.Errorf("got %+v", pm)
		}
		c.quiet()
		answer(4, channel.Accepted)
		if pm := c.expect(protocol.ActionAck); pm.MsgSerial != 4 || pm.Count != 1 {
			t.Errorf("got %+v", pm)
		}
		if pm := c.expect(protocol.ActionNack); pm.MsgSerial != 5 || pm.Count != 1 || pm.Error.Code != 50004 {
			t.Errorf("got %+v, error %v", pm, pm.Error)
		}
	})
}

func TestUnansweredPublishIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		w.unroute()
		before := time.Now()
		c.publish("room", 0, "x")
		pm := c.expect(protocol.ActionNack)
		if pm.Error.Code != 50003 {
			t.Errorf("error %v", pm.Error)
		}
		if took := time.Since(before).Round(100 * time.Millisecond); took != 10*time.Second {
			t.Errorf("after %v", took)
		}
		time.Sleep(w.g.cfg.RequestTimeout) // what asked whether anybody watches metachannels ends as well
		if n := w.g.Stats().Requests; n != 0 {
			t.Errorf("%d requests left", n)
		}
	})
}

// With a publish that waited too long end those behind it: its client may publish it again on another socket, and it is not
// to come after them.
func TestLaterPublishesEndWithOneThatWaitedTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c, other := w.connect(format), w.connect(format)
		defer c.close()
		defer other.close()
		w.unroute()
		c.publish("room", 0, "first")
		time.Sleep(w.g.cfg.RequestTimeout / 2)
		c.publish("room", 1, "second")
		other.publish("room", 0, "of another")
		time.Sleep(w.g.cfg.RequestTimeout/2 + time.Second)
		for nacked := 0; nacked < 2; {
			nacked += c.expect(protocol.ActionNack).Count
		}
		w.owner.set(func(o *owner) { o.heard = nil })
		w.route(Route{Node: "n2", Epoch: 2, Session: 2})
		other.expect(protocol.ActionAck)
		c.publish("room", 2, "third")
		c.expect(protocol.ActionAck)
		var said []string
		w.owner.set(func(o *owner) {
			for _, h := range o.heard {
				if p, ok := h.m.(*channel.Publish); ok {
					said = append(said, string(p.Messages[0].Data))
				}
			}
		})
		if got := strings.Join(said, ", "); got != "of another, third" {
			t.Errorf("the owner was told: %s", got)
		}
	})
}

// An owner that is not ready is asked again, first publish first, and nothing overtakes.
func TestNotOwnerIsAskedAgainInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		w.owner.set(func(o *owner) { o.refuse = channel.NotOwner })
		for i := range 5 {
			c.publish("room", int64(i), fmt.Sprint(i))
		}
		c.quiet()
		time.Sleep(time.Second)
		w.owner.set(func(o *owner) { o.refuse = channel.Accepted })
		var messages, acked int
		for acked < 5 {
			switch pm := c.next(); pm.Action {
			case protocol.ActionMessage:
				if got := string(pm.Messages[0].Data); got != fmt.Sprint(messages) {
					t.Errorf("message %d is %q", messages, got)
				}
				messages++
			case protocol.ActionAck:
				acked += pm.Count
			default:
				t.Fatalf("got %+v", pm)
			}
		}
		if messages != 5 {
			t.Errorf("%d messages", messages)
		}
	})
}

func TestPublishesAreSentAgainOnANewRoute(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		w.owner.set(func(o *owner) { o.manual = true })
		for i := range 3 {
			c.publish("room", int64(i), fmt.Sprint(i))
		}
		c.quiet()
		synctest.Wait()
		w.owner.set(func(o *owner) { o.heard = nil; o.manual = false })
		w.unroute()
		w.route(Route{Node: "n2", Epoch: 2, Session: 2})
		for i := range 3 {
			p, h := await1(t, w.owner, anyOf[*channel.Publish])
			if p.MsgSerial != int64(i) || h.route.Node != "n2" {
				t.Errorf("published %+v to %+v", p, h.route)
			}
		}
		for acked := 0; acked < 3; {
			acked += c.expect(protocol.ActionAck).Count
		}
	})
}

// What a client did not hear the answer to before its socket ended it says again, wherever it comes back, and goes on there.
// It is not said once more from here, to an owner that may know of none of it. Who closed the connection does not come back.
func TestPublishesOfALostSocketAreNotSentAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		lost, closed, stays := w.connect(format), w.connect(format), w.connect(format)
		defer stays.close()
		w.owner.set(func(o *owner) { o.manual = true })
		for i := range 3 {
			lost.publish("room", int64(i), fmt.Sprint("lost ", i))
		}
		closed.publish("room", 0, "closed")
		stays.publish("room", 0, "stays")
		synctest.Wait()
		w.unroute()
		lost.publish("room", 3, "lost 3")
		synctest.Wait()
		lost.close()
		closed.send(protocol.AppendClose(nil, closed.f))
		closed.expect(protocol.ActionClosed)
		closed.close()
		synctest.Wait()
		w.owner.set(func(o *owner) { o.heard = nil; o.manual = false })
		w.route(Route{Node: "n2", Epoch: 2, Session: 2})
		stays.expect(protocol.ActionAck)
		var said []string
		w.owner.set(func(o *owner) {
			for _, h := range o.heard {
				if p, ok := h.m.(*channel.Publish); ok {
					said = append(said, string(p.Messages[0].Data))
				}
			}
		})
		if got := strings.Join(said, ", "); got != "closed, stays" {
			t.Errorf("the owner was told: %s", got)
		}
	})
}

// The window of un-acknowledged publishes stops the reading.
func TestWindowPushesBack(t *testing.T) {
	bubbleWith(t, func(c *GatewayConfig) { c.MaxInflight = 4 }, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		w.warm("room")
		w.owner.set(func(o *owner) { o.manual = true })
		go func() {
			for i := range 6 {
				c.publish("room", int64(i), "x")
			}
		}()
		synctest.Wait()
		var pubs []*channel.Publish
		var before int
		w.owner.set(func(o *owner) {
			before = len(o.heard)
			for _, h := range o.heard {
				if p, ok := h.m.(*channel.Publish); ok {
					pubs = append(pubs, p)
				}
			}
		})
		if len(pubs) != 4 {
			t.Fatalf("the owner heard %d publishes, want 4", len(pubs))
		}
		part := w.g.partition("demo", "room")
		w.g.FromOwner("n1", part, 1, &channel.Published{Req: pubs[0].Req, Serial: "s"})
		c.expect(protocol.ActionAck)
		synctest.Wait()
		w.owner.set(func(o *owner) {
			if n := len(o.heard) - before; n != 1 {
				t.Errorf("%d more publishes, want 1", n)
			}
		})
		c.close()
	})
}

func TestSessionsAndContinuity(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		c.attach("other", nil)
		c.publish("room", 0, "x")
		serial := c.expect(protocol.ActionMessage).ChannelSerial
		c.expect(protocol.ActionAck)
		part := w.g.partition("demo", "room")

		// A new session with an owner that stands where we stand is nothing clients hear of.
		w.owner.set(func(o *owner) { o.heard = nil })
		w.unroute()
		w.route(Route{Node: "n1", Epoch: 1, Session: 2})
		snap, h := await1(t, w.owner, func(s *channel.Snapshot) bool { return len(s.Registers) > 0 && s.Registers[0].Name == "room" })
		if r := snap.Registers[0]; r.Serial != serial || !r.Confirm || r.Counts[channel.Subscribers] != 1 || h.route.Session != 2 {
			t.Errorf("registered %+v on %+v", r, h.route)
		}
		synctest.Wait()
		c.quiet()

		// One that stands elsewhere tells what was missed.
		missed := func(text string) {
			w.owner.set(func(o *owner) {
				o.keep(&channel.Publish{App: "demo", Name: "room", Messages: []channel.Message{{Name: text}}})
			})
		}
		missed("while away")
		w.route(Route{Node: "n1", Epoch: 1, Session: 3})
		if pm := c.expect(protocol.ActionMessage); pm.Messages[0].Name != "while away" {
			t.Errorf("got %+v", pm)
		}
		c.quiet()

		// One that does not know it says so, and clients hear of it.
		synctest.Wait() // what the owner before said of other channels is heard
		w.owner.set(func(o *owner) { o.lost = true; o.next("room") })
		w.route(Route{Node: "n2", Epoch: 2, Session: 4})
		for range 2 {
			if pm := c.expect(protocol.ActionAttached); pm.Channel != "room" {
				continue
			} else if pm.Flags.Has(protocol.FlagResumed) || pm.Error == nil || pm.Error.Code != 80020 || pm.ChannelSerial <= serial ||
				pm.Flags.Modes() != protocol.DefaultModes {
				t.Errorf("got %+v, error %v", pm, pm.Error)
			}
		}
		w.owner.set(func(o *owner) { o.lost = false })
		c.quiet()

		// What the old owner says is not heard any more.
		w.g.FromOwner("n1", part, 1, &channel.Delivery{App: "demo", Name: "room", Serial: "99", Messages: []channel.Message{{Name: "stale"}}})
		w.g.FromOwner("n2", part, 1, &channel.Delivery{App: "demo", Name: "room", Serial: "99", Messages: []channel.Message{{Name: "stale"}}})
		synctest.Wait()
		c.quiet()
		if n := w.g.Stats().StaleFrames; n != 2 {
			t.Errorf("%d stale frames", n)
		}

		// A message that slips in before the new session's word does not hide the gap, and is heard once and in order.
		w.owner.set(func(o *owner) { o.manual, o.heard = true, nil })
		missed("one")
		missed("two")
		w.route(Route{Node: "n3", Epoch: 3, Session: 5})
		await1(t, w.owner, func(s *channel.Snapshot) bool { return len(s.Registers) > 0 && s.Registers[0].Name == "room" })
		w.owner.set(func(o *owner) { w.g.FromOwner("n3", part, 3, o.kept["room"][len(o.kept["room"])-1]) })
		q, _ := await1(t, w.owner, anyOf[*channel.History])
		w.owner.set(func(o *owner) { w.g.FromOwner("n3", part, 3, o.recall(q)) })
		for _, want := range []string{"one", "two"} {
			if pm := c.expect(protocol.ActionMessage); pm.Messages[0].Name != want {
				t.Errorf("got %q, want %q", pm.Messages[0].Name, want)
			}
		}
		c.quiet()
	})
}

// After a send that failed nothing is sent until a new session begins, and then everything is.
func TestBrokenSession(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		a, b := w.connect(format), w.connect(format)
		defer a.close()
		defer b.close()
		a.attach("room", nil)
		w.owner.set(func(o *owner) { o.broken = true })
		b.send(protocol.AppendAttach(nil, b.f, &protocol.Attach{Channel: "room"}))
		synctest.Wait()
		b.quiet()
		w.owner.set(func(o *owner) { o.broken, o.heard = false, nil })
		a.send(protocol.AppendAttach(nil, a.f, &protocol.Attach{Channel: "room", Flags: protocol.ModeSubscribe}))
		a.quiet()
		synctest.Wait()
		w.owner.set(func(o *owner) {
			if len(o.heard) != 0 {
				t.Errorf("heard %+v", o.heard)
			}
		})
		w.route(Route{Node: "n1", Epoch: 1, Session: 2})
		snap, _ := await1(t, w.owner, func(s *channel.Snapshot) bool { return len(s.Registers) > 0 })
		if r := snap.Registers[0]; r.Counts[channel.Subscribers] != 2 || r.Counts[channel.Publishers] != 1 {
			t.Errorf("registered %+v", r)
		}
		a.expect(protocol.ActionAttached)
		b.expect(protocol.ActionAttached)
	})
}

// Versions only grow, whatever happens.
func TestVersionsGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, func(c *GatewayConfig) { c.Shards = 1 })
		defer w.close()
		for i := range 20 {
			c := w.connect("")
			defer c.close()
			c.attach(fmt.Sprint("room", i%7), nil)
			if i%5 == 0 {
				w.route(Route{Node: "n1", Epoch: uint64(i), Session: uint64(i)})
			}
			if i%3 == 0 {
				c.send(protocol.AppendDetach(nil, c.f, fmt.Sprint("room", i%7)))
			}
		}
		synctest.Wait()
		w.owner.set(func(o *owner) {
			last := uint64(0)
			check := func(r *channel.Register) {
				if r.Version <= last {
					t.Errorf("version %d after %d", r.Version, last)
				}
				last = r.Version
			}
			for _, h := range o.heard {
				switch m := h.m.(type) {
				case *channel.Register:
					check(m)
				case *channel.Snapshot:
					for i := range m.Registers {
						check(&m.Registers[i])
					}
				}
			}
		})
	})
}

func TestAttachWithoutOwnerIsGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		w.unroute()
		before := time.Now()
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room"}))
		pm := c.expect(protocol.ActionDetached)
		if pm.Error == nil || pm.Error.Code != 50003 || pm.Channel != "room" {
			t.Errorf("got %+v, error %v", pm, pm.Error)
		}
		if took := time.Since(before); took < 9*time.Second || took >= 10*time.Second {
			t.Errorf("after %v", took)
		}
		if st := w.g.Stats(); st.Attachments != 0 || st.Channels != 0 || st.AttachTimeouts != 1 {
			t.Errorf("stats %+v", st)
		}
		// One that waits is confirmed as soon as there is an owner.
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room"}))
		c.quiet()
		w.route(Route{Node: "n1", Epoch: 2, Session: 2})
		c.expect(protocol.ActionAttached)
		time.Sleep(12 * time.Second) // the first deadline does not hit the second attach
		c.quiet()
	})
}

func TestOccupancy(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		data := func() string {
			t.Helper()
			pm := c.expect(protocol.ActionMessage)
			m := pm.Messages[0]
			if pm.Channel != "room" || m.Name != "[meta]occupancy" || m.Encoding != "json" || pm.ChannelSerial != "" || m.ClientID != "" || pm.ConnectionID != "" || pm.ID == "" {
				t.Errorf("got %+v", pm)
			}
			return string(m.Data)
		}
		pm := c.attach("room", map[string]string{"occupancy": "metrics"})
		if pm.Params["occupancy"] != "metrics" {
			t.Errorf("params %v", pm.Params)
		}
		all := `{"metrics":{"connections":%d,"publishers":%d,"subscribers":%d,"presenceConnections":%d,"presenceMembers":0,"presenceSubscribers":%d,"objectPublishers":0,"objectSubscribers":0}}`
		if got, want := data(), fmt.Sprintf(all, 1, 1, 1, 1, 1); got != want {
			t.Errorf("seed %s, want %s", got, want)
		}
		other := w.connect(format)
		defer other.close()
		other.attach("room", map[string]string{"modes": "publish"})
		if got, want := data(), fmt.Sprintf(all, 2, 2, 1, 1, 1); got != want {
			t.Errorf("change %s, want %s", got, want)
		}

		// The same numbers are not repeated, others are told, one category is told alone.
		part := w.g.partition("demo", "room")
		tell := func(n, p int32) {
			w.g.FromOwner("n1", part, 1, &channel.Occupancy{App: "demo", Name: "room", Counts: channel.Counts{channel.Connections: n, channel.Publishers: p}})
			synctest.Wait()
		}
		tell(5, 1)
		data()
		tell(5, 1)
		c.quiet()
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Params: map[string]string{"occupancy": "metrics.publishers"}}))
		c.expect(protocol.ActionAttached)
		if got, want := data(), `{"metrics":{"publishers":2}}`; got != want {
			t.Errorf("seed %s, want %s", got, want)
		}
		tell(6, 2)
		c.quiet()
		tell(6, 3)
		if got, want := data(), `{"metrics":{"publishers":3}}`; got != want {
			t.Errorf("change %s, want %s", got, want)
		}
	})
}

func TestQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("")
		defer c.close()
		c.attach("room", nil)
		q, err := w.g.Query(t.Context(), "demo", "room")
		if err != nil || !q.Active || q.Counts[channel.Connections] != 1 {
			t.Errorf("got %+v, %v", q, err)
		}
		w.owner.set(func(o *owner) { o.refuse = channel.NotOwner })
		before := time.Now()
		_, err = w.g.Query(t.Context(), "demo", "room")
		if info := protocol.AsError(err); info == nil || info.Code != 50003 || time.Since(before) < 9*time.Second {
			t.Errorf("got %v after %v", err, time.Since(before))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = w.g.Query(ctx, "demo", "room"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPublishForREST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("")
		defer c.close()
		c.attach("room", nil)
		serial, err := w.g.Publish(t.Context(), "demo", "room", channel.Publish{Messages: []channel.Message{{Name: "x"}}})
		pm := c.expect(protocol.ActionMessage)
		if err != nil || pm.ChannelSerial != serial || pm.ID == "" || pm.ConnectionID != "" {
			t.Errorf("serial %q, %v; message %+v", serial, err, pm)
		}
		w.owner.set(func(o *owner) { o.refuse = channel.Busy })
		_, err = w.g.Publish(t.Context(), "demo", "room", channel.Publish{Messages: []channel.Message{{Name: "x"}}})
		if info := protocol.AsError(err); info == nil || info.Code != 50004 {
			t.Errorf("got %v", err)
		}
	})
}

func TestClosedGatewayAnswersItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		w.owner.set(func(o *owner) { o.manual = true })
		done := make(chan error)
		go func() {
			_, err := w.g.Query(context.Background(), "demo", "room")
			done <- err
		}()
		synctest.Wait()
		w.close()
		if err := <-done; err == nil {
			t.Error("no error")
		}
		if _, err := w.g.Query(context.Background(), "demo", "room"); err == nil {
			t.Error("no error after Close")
		}
		if w.g.FromOwner("n1", 0, 1, &channel.Occupancy{}) {
			t.Error("FromOwner took a frame after Close")
		}
	})
}

func TestPartitionInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, false, nil)
		defer w.close()
		c := w.connect("clientId=alice")
		defer c.close()
		c.attach("room", nil)
		info := w.g.PartitionInfo()
		p := info[w.g.partition("demo", "room")]
		if len(info) != testPartitions || p.Attachments != 1 || p.Channels != 1 || p.Owner != "n1" || p.Session != 1 {
			t.Errorf("got %+v", p)
		}
		conns := w.g.Connections(10)
		if len(conns) != 1 || conns[0].ClientID != "alice" || conns[0].Attachments != 1 {
			t.Errorf("got %+v", conns)
		}
	})
}
