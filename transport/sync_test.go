package transport

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// busy is a gateway of one shard that may ask its owners for three things at a time.
func busy(cfg *GatewayConfig) { cfg.Shards, cfg.RequestsMax = 1, 3 }

// fill asks as much of the owners as may be asked, and keeps them from answering. The world has to be released, and so does
// who waits.
func (w *world) fill() (wait func()) {
	w.owner.set(func(o *owner) {
		o.silent = func(m channel.ToOwner) bool { q, ok := m.(*channel.Query); return ok && q.Name == "busy" }
	})
	var asking sync.WaitGroup
	for range w.g.cfg.RequestsMax {
		asking.Go(func() {
			if _, err := w.g.Query(context.Background(), "demo", "busy"); err != nil {
				w.t.Errorf("a request that was taken in: %v", err)
			}
		})
	}
	synctest.Wait()
	if _, err := w.g.Query(context.Background(), "demo", "busy"); protocol.AsError(err).Code != protocol.CodeBusy {
		w.t.Errorf("one request too many: %v", err)
	}
	return asking.Wait
}

// release lets the owners answer again, on a new session.
func (w *world) release() {
	w.owner.set(func(o *owner) { o.silent = nil })
	w.route(Route{Node: "n1", Epoch: 2, Session: 2})
}

// syncs takes SYNCs until they are complete, and returns who is present after it. Other frames are not expected.
func (c *client) syncs() (conns []string) {
	c.t.Helper()
	return c.syncsAfter(c.expect(protocol.ActionSync), nil)
}

// syncsAfter takes what follows a first page. live is told of what comes between pages.
func (c *client) syncsAfter(pm *protocol.ProtocolMessage, live func(*protocol.ProtocolMessage)) (conns []string) {
	c.t.Helper()
	seq, cursor, ok := strings.Cut(pm.ChannelSerial, ":")
	for {
		if !ok {
			c.t.Fatalf("the place of a page is %q", pm.ChannelSerial)
		}
		for _, m := range pm.Presence {
			conns = append(conns, m.ConnectionID)
		}
		if cursor == "" {
			return conns
		}
		for pm = c.next(); pm.Action == protocol.ActionPresence && live != nil; pm = c.next() {
			live(pm)
		}
		if pm.Action != protocol.ActionSync {
			c.t.Fatalf("got %v within a sync", pm.Action)
		}
		was := seq
		if seq, cursor, ok = strings.Cut(pm.ChannelSerial, ":"); seq != was {
			c.t.Fatalf("page %q of another sync than %q", pm.ChannelSerial, was)
		}
	}
}

// queries is how often members were asked for.
func (o *owner) queries() (n int) {
	o.set(func(o *owner) {
		for _, h := range o.heard {
			if _, ok := h.m.(*channel.PresenceQuery); ok {
				n++
			}
		}
	})
	return n
}

// Who attaches, or asks, while no more can be asked of the owners is told of the members when they can be.
func TestSyncWaitsWhileTooMuchIsAsked(t *testing.T) {
	bubbleWith(t, busy, func(t *testing.T, w *world, format string) {
		w.warm("room", "busy")
		w.people("room", 3)
		before := w.connect(format)
		defer before.close()
		before.attach("room", nil)
		before.syncs()
		wait := w.fill()
		w.owner.set(func(o *owner) { o.heard = nil })
		a, b := w.connect(format), w.connect(format)
		defer a.close()
		defer b.close()
		for _, c := range []*client{a, b} {
			if pm := c.attach("room", nil); !pm.Flags.Has(protocol.FlagHasPresence) {
				t.Error("members are there, and not announced")
			}
		}
		before.send(protocol.AppendClientSync(nil, before.f, "room"))
		gone := w.connect(format)
		gone.attach("room", nil)
		gone.close() // and does not wait
		time.Sleep(time.Second)
		for _, c := range []*client{a, b, before} {
			c.quiet()
		}
		if n := w.owner.queries(); n != 0 {
			t.Errorf("%d questions were asked", n)
		}
		w.release()
		for _, c := range []*client{a, b, before} {
			if got := c.syncs(); len(got) != 3 {
				t.Errorf("told of %v", got)
			}
			c.quiet()
		}
		wait()
		if n := w.owner.queries(); n != 1 {
			t.Errorf("asked %d times for all who waited", n)
		}
		// Who comes then has a sync of its own.
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		c.syncs()
	})
}

// All who waited have gone when members could be asked for: nobody is told, and who comes next is.
func TestSyncOfNobody(t *testing.T) {
	bubbleWith(t, busy, func(t *testing.T, w *world, format string) {
		w.warm("room", "busy")
		w.people("room", 3)
		stays := w.connect(format)
		defer stays.close()
		stays.attach("room", nil)
		stays.syncs()
		wait := w.fill()
		w.owner.set(func(o *owner) { o.heard = nil })
		gone := w.connect(format)
		gone.attach("room", nil)
		gone.close()
		time.Sleep(time.Second)
		w.release()
		wait()
		if n := w.owner.queries(); n != 0 {
			t.Errorf("asked %d times for nobody", n)
		}
		stays.send(protocol.AppendClientSync(nil, stays.f, "room"))
		if got := stays.syncs(); len(got) != 3 {
			t.Errorf("told of %v", got)
		}
	})
}

// A client that reads slowly gets its pages as it reads, and holds up nobody. When it goes on while no more can be asked of
// the owners, it waits for that as well.
func TestSyncOfASlowClient(t *testing.T) {
	tune := func(cfg *GatewayConfig) {
		busy(cfg)
		cfg.OutboxBytes = 80 << 10
	}
	for _, full := range []bool{false, true} {
		bubbleWith(t, tune, func(t *testing.T, w *world, format string) {
			const members = 3*syncMembers + 1
			w.warm("room", "busy")
			w.people("room", members)
			w.owner.set(func(o *owner) {
				o.silent = func(m channel.ToOwner) bool { _, ok := m.(*channel.PresenceQuery); return ok }
			})
			slow, quick := w.connect(format), w.connect(format)
			defer slow.close()
			defer quick.close()
			slow.attach("room", nil)
			quick.attach("room", nil)
			q, h := await1(t, w.owner, anyOf[*channel.PresenceQuery])
			w.owner.set(func(o *owner) { o.silent = nil })
			w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, w.owner.present(q)) // one page for both
			if got := quick.syncs(); len(got) != members {
				t.Errorf("who reads was told of %d members", len(got))
			}
			time.Sleep(time.Second)
			asked := w.owner.queries()
			var wait func()
			if full {
				wait = w.fill()
			}
			first := slow.expect(protocol.ActionSync)
			time.Sleep(time.Second) // long enough to see that it was read
			if full {
				if n := w.owner.queries(); n != asked {
					t.Errorf("%d pages were asked for", n-asked)
				}
				w.release()
				defer wait()
			}
			if got := slow.syncsAfter(first, nil); len(got) != members || !slices.IsSorted(got) || len(slices.Compact(got)) != members {
				t.Errorf("who did not read was told of %d members", len(got))
			}
			slow.quiet()
			quick.quiet()
		})
	}
}

// What happens to members while they are told page by page goes out between the pages, and both together are the truth.
func TestMembersComeAndGoDuringASync(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		w.warm("room")
		w.people("room", 2*syncMembers+10)
		w.owner.set(func(o *owner) {
			o.heard, o.silent = nil, func(m channel.ToOwner) bool { _, ok := m.(*channel.PresenceQuery); return ok }
		})
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		there := map[string]bool{}
		for page := range 3 {
			q, h := await1(t, w.owner, anyOf[*channel.PresenceQuery])
			answer := w.owner.present(q)
			w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, answer)
			pm := c.expect(protocol.ActionSync)
			if _, cursor, _ := strings.Cut(pm.ChannelSerial, ":"); (cursor == "") != (page == 2) {
				t.Errorf("page %d is %q", page, pm.ChannelSerial)
			}
			for _, m := range pm.Presence {
				there[m.ConnectionID] = true
			}
			// One of those who were told leaves, and one who was not; one comes.
			for i, change := range []channel.Member{
				{Action: channel.Leave, ConnID: answer.Members[3].ConnID, ClientID: "guest"},
				{Action: channel.Leave, ConnID: fmt.Sprint("far-0100", page), ClientID: "guest"},
				{Action: channel.Enter, ConnID: "a-new-" + string(rune('a'+page)), ClientID: "guest"},
			} {
				var d *channel.Delivery
				w.owner.set(func(o *owner) {
					d = o.change(&channel.PresenceChange{App: "demo", Name: "room", ConnID: change.ConnID, ID: change.ConnID + ":9", Members: []channel.Member{change}})
				})
				w.g.FromOwner(h.route.Node, h.part, h.route.Epoch, d)
				pm := c.expect(protocol.ActionPresence)
				if there[change.ConnID] = change.Action == channel.Enter; !there[change.ConnID] {
					delete(there, change.ConnID)
				}
				if len(pm.Presence) != 1 || pm.Presence[0].ConnectionID != change.ConnID {
					t.Fatalf("page %d, change %d: %+v", page, i, pm)
				}
			}
		}
		c.quiet()
		var want int
		w.owner.set(func(o *owner) {
			want = len(o.members["room"])
			for _, m := range o.members["room"] {
				if !there[m.ConnID] {
					t.Errorf("%s is missing", m.ConnID)
				}
			}
		})
		if len(there) != want {
			t.Errorf("told of %d members, there are %d", len(there), want)
		}
	})
}

// What is missed, or was missed before, cannot be asked for while nothing more can be asked: clients are told so at once.
func TestPastWhileTooMuchIsAsked(t *testing.T) {
	bubbleWith(t, busy, func(t *testing.T, w *world, format string) {
		w.warm("room", "busy")
		w.people("room", 1)
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		c.syncs()
		c.publish("room", 0, "a")
		at := c.expect(protocol.ActionMessage).ChannelSerial
		c.expect(protocol.ActionAck)
		wait := w.fill()
		// Who comes back with a serial is sent away and tries again.
		again := w.connect(format)
		defer again.close()
		again.send(protocol.AppendAttach(nil, again.f, &protocol.Attach{Channel: "room", ChannelSerial: at}))
		if pm := again.expect(protocol.ActionDetached); pm.Error == nil {
			t.Error("no reason is given")
		}
		// Who listens is told of the gap, and goes on behind it.
		publish := func(id string) {
			w.owner.set(func(o *owner) {
				d := o.keep(&channel.Publish{App: "demo", Name: "room", ID: id, Messages: []channel.Message{{Name: id}}})
				if id != "missed" {
					w.g.FromOwner("n1", w.g.partition("demo", "room"), 1, d)
				}
			})
		}
		publish("missed")
		publish("shows it")
		if pm := c.expect(protocol.ActionAttached); pm.Flags.Has(protocol.FlagResumed) || pm.Error == nil || pm.Error.Code != 80020 || !pm.Flags.Has(protocol.FlagHasPresence) {
			t.Errorf("told of the gap: %+v", pm)
		}
		publish("after")
		if pm := c.expect(protocol.ActionMessage); pm.Messages[0].ID != "after:0" && pm.ID != "after" {
			t.Errorf("heard %+v", pm)
		}
		c.quiet()
		w.release()
		wait()
		if got := c.syncs(); len(got) != 1 { // as ATTACHED said
			t.Errorf("told of %v", got)
		}
		again.send(protocol.AppendAttach(nil, again.f, &protocol.Attach{Channel: "room", ChannelSerial: at}))
		if pm := again.expect(protocol.ActionAttached); !pm.Flags.Has(protocol.FlagResumed) {
			t.Errorf("came back: %+v", pm)
		}
	})
}

// Who may not see others is told of its own members when it asks: it would take those that are not named for gone.
func TestSyncOfOwnMembers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		w.people("room", 3)
		c := w.connect(format)
		defer c.close()
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Flags: protocol.ModePresence}))
		if pm := c.expect(protocol.ActionAttached); pm.Flags.Has(protocol.FlagHasPresence) {
			t.Errorf("members are announced: %+v", pm)
		}
		ask := func(name string) []string {
			c.send(protocol.AppendClientSync(nil, c.f, name))
			return c.syncs()
		}
		if got := ask("room"); len(got) != 0 {
			t.Errorf("told of %v", got)
		}
		for i, who := range []string{"alice", "bob"} {
			c.says(channel.Enter, "room", int64(i), who)
			c.expect(protocol.ActionPresence)
			c.expect(protocol.ActionAck)
		}
		if got := ask("room"); !slices.Equal(got, []string{c.id, c.id}) {
			t.Errorf("told of %v, want two of its own", got)
		}
		// Without any mode of presence there is nobody to be told of.
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "ears", Flags: protocol.ModeSubscribe}))
		c.expect(protocol.ActionAttached)
		w.people("ears", 3)
		for _, name := range []string{"ears", "elsewhere"} {
			c.send(protocol.AppendClientSync(nil, c.f, name))
			if pm := c.expect(protocol.ActionSync); len(pm.Presence) != 0 {
				t.Errorf("%s: told of %+v", name, pm)
			}
		}
	})
}

// However often a client asks for its own members, its channel's owner is asked once at a time.
func TestSyncOfOwnMembersIsAskedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		w.warm("room")
		c := w.connect(format)
		defer c.close()
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room", Flags: protocol.ModePresence}))
		c.expect(protocol.ActionAttached)
		c.says(channel.Enter, "room", 0, "alice")
		c.expect(protocol.ActionPresence)
		c.expect(protocol.ActionAck)
		w.owner.set(func(o *owner) { o.heard = nil })
		w.unroute()
		for range 100 {
			c.send(protocol.AppendClientSync(nil, c.f, "room"))
		}
		c.quiet()
		synctest.Wait()
		w.route(Route{Node: "n1", Epoch: 2, Session: 2})
		if got := c.syncs(); len(got) != 1 {
			t.Errorf("told of %v", got)
		}
		synctest.Wait()
		c.quiet()
		if n := w.owner.queries(); n != 1 {
			t.Errorf("the owner was asked %d times", n)
		}
		// And once more when it asks after that.
		c.send(protocol.AppendClientSync(nil, c.f, "room"))
		if got := c.syncs(); len(got) != 1 {
			t.Errorf("told of %v", got)
		}
		c.quiet()
	})
}
