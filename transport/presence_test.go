package transport

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// change takes a change of members as the owner of a channel does.
func (o *owner) change(m *channel.PresenceChange) *channel.Delivery {
	d := &channel.Delivery{
		App: m.App, Name: m.Name, Prev: channel.SerialPosition(o.last[m.Name]), Serial: o.next(m.Name), ConnID: m.ConnID, ID: m.ID, TimeMs: 1700000000000,
	}
	for i, member := range m.Members {
		member.ConnID, member.ID = m.ConnID, cmp.Or(member.ID, m.ID+":"+strconv.Itoa(i))
		d.Presence = append(d.Presence, member)
		list := slices.DeleteFunc(o.members[m.Name], func(was channel.Member) bool {
			return was.ConnID == member.ConnID && was.ClientID == member.ClientID
		})
		if member.Action != channel.Leave {
			member.Action = channel.Present
			list = append(list, member)
		}
		o.members[m.Name] = list
	}
	return d
}

// present answers a PresenceQuery.
func (o *owner) present(q *channel.PresenceQuery) *channel.PresencePage {
	list := slices.SortedFunc(slices.Values(o.members[q.Name]), func(a, b channel.Member) int {
		return cmp.Or(cmp.Compare(a.ConnID, b.ConnID), cmp.Compare(a.ClientID, b.ClientID))
	})
	list = slices.DeleteFunc(list, func(m channel.Member) bool {
		return m.ConnID < q.AfterConn || m.ConnID == q.AfterConn && m.ClientID <= q.After || q.ConnID != "" && m.ConnID != q.ConnID
	})
	page := &channel.PresencePage{Req: q.Req, Members: list, More: len(list) > q.Limit}
	page.Members = list[:min(len(list), q.Limit)]
	return page
}

// people puts members of other nodes' connections on a channel.
func (w *world) people(name string, n int) {
	w.owner.set(func(o *owner) {
		for i := range n {
			conn := fmt.Sprintf("far-%05d", i)
			o.members[name] = append(o.members[name], channel.Member{Action: channel.Present, ConnID: conn, ClientID: "guest", ID: conn + ":0:0"})
		}
	})
}

// says sends a PRESENCE of one client.
func (c *client) says(action channel.PresenceAction, name string, serial int64, clientID string) {
	c.t.Helper()
	c.send(protocol.AppendClientPresence(nil, c.f, name, serial, channel.Member{Action: action, ClientID: clientID}))
}

// held waits until the owner is told of a connection's part in a channel.
func held(t testing.TB, w *world, match func(h channel.Hold) bool) channel.Hold {
	t.Helper()
	var found channel.Hold
	is := func(list []channel.Hold) bool {
		for _, h := range list {
			if match(h) {
				found = h
				return true
			}
		}
		return false
	}
	await1(t, w.owner, func(m channel.ToOwner) bool {
		switch m := m.(type) {
		case *channel.Register:
			return is(m.Holds)
		case *channel.Snapshot:
			return slices.ContainsFunc(m.Registers, func(r channel.Register) bool { return is(r.Holds) })
		}
		return false
	})
	return found
}

func clientsOf(list []channel.Member) (ids []string) {
	for _, m := range list {
		ids = append(ids, m.ClientID)
	}
	return ids
}

func TestPresenceIsEchoedAndAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		a, b := w.connect(format+"&clientId=alice"), w.connect(format)
		defer a.close()
		defer b.close()
		a.attach("room", nil)
		b.attach("room", nil)
		a.says(channel.Enter, "room", 0, "")
		m, _ := await1(t, w.owner, anyOf[*channel.PresenceChange])
		if m.ConnID != a.id || m.RemainMs != 15000 || m.MsgSerial != 0 || m.ID != a.id+":0" || len(m.Members) != 1 || m.Members[0].ClientID != "alice" {
			t.Errorf("asked for %+v", m)
		}
		for _, c := range []*client{a, b} {
			pm := c.expect(protocol.ActionPresence)
			if len(pm.Presence) != 1 || pm.Presence[0].Action != protocol.MessageAction(channel.Enter) || pm.Presence[0].ClientID != "alice" {
				t.Errorf("%+v", pm)
			}
		}
		a.expect(protocol.ActionAck)
		// One connection may stand for many, where its client id is not fixed.
		b.says(channel.Enter, "room", 0, "bob")
		b.expect(protocol.ActionPresence)
		b.expect(protocol.ActionAck)
		a.expect(protocol.ActionPresence)
		a.quiet()
		b.quiet()
	})
}

func TestPresenceThatIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		alice := w.connect(format + "&clientId=alice")
		defer alice.close()
		alice.attach("room", nil)
		alice.send(protocol.AppendAttach(nil, alice.f, &protocol.Attach{Channel: "ears", Flags: protocol.ModeSubscribe}))
		alice.expect(protocol.ActionAttached)
		limited := w.connect(format + "&key=" + limitedKey)
		defer limited.close()
		limited.attach("read", nil)
		for i, refused := range []struct {
			c              *client
			name, clientID string
			code           int
		}{
			{alice, "elsewhere", "", 91001},
			{alice, "ears", "", 40165},
			{alice, "room", "bob", 40012},
			{limited, "read", "carol", 40160},
		} {
			refused.c.says(channel.Enter, refused.name, int64(i), refused.clientID)
			if pm := refused.c.expect(protocol.ActionNack); pm.Error == nil || pm.Error.Code != refused.code {
				t.Errorf("%q on %q: %v, want %d", refused.clientID, refused.name, pm.Error, refused.code)
			}
		}
		// What the owner refuses is refused.
		for why, code := range map[channel.Refusal]int{channel.TooManyMembers: 91003, channel.MembersTooLarge: 91006, channel.TooFast: 42913} {
			w.owner.set(func(o *owner) { o.refuse = why })
			alice.says(channel.Enter, "room", 9, "")
			if pm := alice.expect(protocol.ActionNack); pm.Error.Code != code {
				t.Errorf("%v, want %d", pm.Error, code)
			}
		}
	})
}

// Who attaches gets all members, in pages, asked for one after the other.
func TestMembersComeInPages(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		for _, n := range []int{1, syncMembers, 2*syncMembers + 1} {
			name := fmt.Sprint("room-", n)
			w.people(name, n)
			c := w.connect(format)
			if pm := c.attach(name, nil); !pm.Flags.Has(protocol.FlagHasPresence) {
				t.Errorf("%d members, and the flags are %v", n, pm.Flags)
			}
			for range 2 { // by itself, and when asked
				seen := make(map[string]bool)
				for pages := 1; ; pages++ {
					pm := c.expect(protocol.ActionSync)
					for _, m := range pm.Presence {
						if seen[m.ConnectionID] || m.Action != protocol.MessageAction(channel.Present) {
							t.Fatalf("%+v, seen before: %v", m, seen[m.ConnectionID])
						}
						seen[m.ConnectionID] = true
					}
					if _, cursor, ok := strings.Cut(pm.ChannelSerial, ":"); !ok {
						t.Fatalf("the place of a page is %q", pm.ChannelSerial)
					} else if cursor == "" {
						break
					}
					if pages > n {
						t.Fatal("there is no end")
					}
				}
				if len(seen) != n {
					t.Errorf("%d of %d members", len(seen), n)
				}
				c.send(protocol.AppendClientSync(nil, c.f, name))
			}
			c.close()
		}
		c := w.connect(format)
		defer c.close()
		if pm := c.attach("nobody", nil); pm.Flags.Has(protocol.FlagHasPresence) {
			t.Error("nobody is there, and members are announced")
		}
		c.quiet()
	})
}

// A connection that breaks keeps its members for a while, one that is closed or detaches does not.
func TestWhatBecomesOfMembers(t *testing.T) {
	for _, end := range []string{"breaks", "closes", "detaches"} {
		t.Run(end, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world, format string) {
				c := w.connect(format + "&clientId=alice&remainPresentFor=4000")
				defer c.close()
				c.attach("room", nil)
				c.says(channel.Enter, "room", 0, "")
				c.expect(protocol.ActionPresence)
				c.expect(protocol.ActionAck)
				state := channel.HoldOver
				switch end {
				case "breaks":
					state = channel.HoldLost
					c.ws.CloseNow()
				case "closes":
					c.send(protocol.AppendClose(nil, c.f))
				case "detaches":
					c.send(protocol.AppendDetach(nil, c.f, "room"))
				}
				h := held(t, w, func(h channel.Hold) bool { return h.State != channel.HoldHere })
				if h.State != state || h.ConnID != c.id {
					t.Fatalf("%+v, want state %d", h, state)
				}
				if end != "breaks" {
					return
				}
				if h.RemainMs < 3900 || h.RemainMs > 4000 || !h.Whole || !slices.Equal(clientsOf(h.Members), []string{"alice"}) || h.Taken != 1 {
					t.Errorf("%+v", h)
				}
				// An owner that is new meanwhile is told how long they still have; later ones nothing.
				time.Sleep(time.Second)
				w.route(Route{Node: "n1", Epoch: 2, Session: 2})
				if h := held(t, w, func(h channel.Hold) bool { return h.ConnID == c.id }); h.State != channel.HoldLost || h.RemainMs < 2900 || h.RemainMs > 3000 {
					t.Errorf("%+v", h)
				}
				time.Sleep(3100 * time.Millisecond)
				synctest.Wait()
				w.owner.set(func(o *owner) { o.heard = nil })
				w.route(Route{Node: "n1", Epoch: 3, Session: 3})
				synctest.Wait()
				w.owner.set(func(o *owner) {
					for _, h := range o.heard {
						if s, ok := h.m.(*channel.Snapshot); ok && len(s.Registers) > 0 {
							t.Errorf("still told: %+v", s.Registers)
						}
					}
				})
			})
		})
	}
}

// A new owner is told all members of the connections that are here, also those that the one before did not answer.
func TestNewOwnerIsToldOfMembers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		for i, clientID := range []string{"alice", "bob"} {
			c.says(channel.Enter, "room", int64(i), clientID)
			c.expect(protocol.ActionPresence)
			c.expect(protocol.ActionAck)
		}
		w.owner.set(func(o *owner) { o.manual = true })
		c.says(channel.Leave, "room", 2, "bob")
		c.says(channel.Enter, "room", 3, "carol")
		await1(t, w.owner, func(m *channel.PresenceChange) bool { return m.MsgSerial == 3 })
		w.owner.set(func(o *owner) { o.manual = false })
		w.route(Route{Node: "n1", Epoch: 2, Session: 2})
		h := held(t, w, func(h channel.Hold) bool { return h.ConnID == c.id })
		if h.State != channel.HoldHere || !h.Whole || h.Taken != 2 || !slices.Equal(clientsOf(h.Members), []string{"alice", "carol"}) {
			t.Errorf("%+v", h)
		}
		// What was not answered is asked again, and then it is.
		for range 2 {
			c.expect(protocol.ActionPresence)
			c.expect(protocol.ActionAck)
		}
	})
}

// A change that is refused costs its owner nothing but the answer, unless what became of it is in doubt.
func TestRefusedChangesDoNotTellOfAllMembers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		w.warm("room")
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		c.says(channel.Enter, "room", 0, "alice")
		c.expect(protocol.ActionPresence)
		c.expect(protocol.ActionAck)
		synctest.Wait()
		serial := int64(1)
		refused := func(n int) {
			t.Helper()
			for range n {
				c.says(channel.Enter, "room", serial, "bob")
				serial++
			}
			for got := 0; got < n; {
				got += c.expect(protocol.ActionNack).Count
			}
		}
		w.owner.set(func(o *owner) { o.heard, o.refuse = nil, channel.TooManyMembers })
		refused(20)
		synctest.Wait()
		w.owner.set(func(o *owner) {
			for _, h := range o.heard {
				if r, ok := h.m.(*channel.Register); ok && len(r.Holds) > 0 {
					t.Fatalf("told of all members: %+v", r.Holds)
				}
			}
		})
		corrected := func() {
			t.Helper()
			h := held(t, w, func(h channel.Hold) bool { return h.ConnID == c.id })
			if !h.Whole || !slices.Equal(clientsOf(h.Members), []string{"alice"}) {
				t.Errorf("%+v", h)
			}
			if h.Taken != 1 {
				t.Errorf("what was refused is told as taken, up to %d", h.Taken)
			}
		}
		// A new owner hears of it before it is asked, and refuses.
		w.owner.set(func(o *owner) {
			o.heard, o.silent = nil, func(m channel.ToOwner) bool { _, ok := m.(*channel.PresenceChange); return ok }
		})
		c.says(channel.Enter, "room", serial, "bob")
		serial++
		await1(t, w.owner, anyOf[*channel.PresenceChange])
		w.owner.set(func(o *owner) { o.silent = nil })
		w.route(Route{Node: "n1", Epoch: 2, Session: 2})
		c.expect(protocol.ActionNack)
		if h := held(t, w, func(h channel.Hold) bool { return h.ConnID == c.id }); len(h.Members) != 2 {
			t.Errorf("a new owner is told %+v", h)
		}
		corrected()
		// Without an answer nobody knows.
		w.owner.set(func(o *owner) { o.heard, o.manual = nil, true })
		refused(1)
		corrected()
	})
}

// A connection that is attached to a channel under two names is one in its presence: it leaves with the last.
func TestTwoNamesOneConnection(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		c := w.connect(format + "&clientId=alice")
		defer c.close()
		c.attach("room", nil)
		c.attach("[?rewind=1]room", nil)
		c.says(channel.Enter, "room", 0, "")
		for range 2 {
			c.expect(protocol.ActionPresence)
		}
		c.expect(protocol.ActionAck)
		c.send(protocol.AppendDetach(nil, c.f, "room"))
		c.expect(protocol.ActionDetached)
		w.owner.set(func(o *owner) { o.heard = nil })
		w.route(Route{Node: "n1", Epoch: 2, Session: 2})
		if h := held(t, w, func(h channel.Hold) bool { return h.ConnID == c.id }); h.State != channel.HoldHere || len(h.Members) != 1 {
			t.Errorf("%+v", h)
		}
		c.send(protocol.AppendDetach(nil, c.f, "[?rewind=1]room"))
		if h := held(t, w, func(h channel.Hold) bool { return h.State != channel.HoldHere }); h.ConnID != c.id || h.State != channel.HoldOver {
			t.Errorf("%+v", h)
		}
	})
}

// Counts come behind what was missed and behind the members, as they are by then, and then as they change.
func TestOccupancyComesBehindTheMembers(t *testing.T) {
	for _, k := range []struct {
		resumes bool
		pages   int // of members
	}{{false, 0}, {true, 0}, {false, 2}, {true, 2}} {
		bubble(t, func(t *testing.T, w *world, format string) {
			resumes, members := k.resumes, max(0, k.pages-1)*syncMembers+min(k.pages, 1)
			w.people("room", members)
			serials := w.speak("room", "a", "b")
			w.warm("room")
			part := w.g.partition("demo", "room")
			tell := func(m channel.ToGateway) { w.g.FromOwner("n1", part, 1, m) }
			latest := int32(1)
			count := func(n int32) {
				latest = n
				m := &channel.Occupancy{App: "demo", Name: "room"}
				m.Counts[channel.Connections] = n
				tell(m)
				synctest.Wait()
			}
			c := w.connect(format)
			defer c.close()
			w.owner.set(func(o *owner) { o.manual, o.heard = true, nil })
			at := protocol.Attach{Channel: "room", Params: map[string]string{"occupancy": "metrics.connections"}}
			if resumes {
				at.ChannelSerial = serials[0]
			}
			c.send(protocol.AppendAttach(nil, c.f, &at))
			r, _ := await1(t, w.owner, anyOf[*channel.Register])
			counts := r.Counts
			counts[channel.PresenceMembers] = int32(members)
			tell(&channel.Registered{App: "demo", Name: "room", Version: r.Version, Serial: serials[1], Counts: counts})
			if resumes {
				q, _ := await1(t, w.owner, anyOf[*channel.History])
				count(2)
				w.owner.set(func(o *owner) { tell(o.recall(q)) })
			}
			c.expect(protocol.ActionAttached)
			if resumes {
				c.hears("b")
			}
			for page := range k.pages {
				q, _ := await1(t, w.owner, anyOf[*channel.PresenceQuery])
				count(int32(3 + page))
				c.quiet()
				w.owner.set(func(o *owner) { tell(o.present(q)) })
				c.expect(protocol.ActionSync)
			}
			event := func() {
				t.Helper()
				want := fmt.Sprint(latest)
				pm := c.expect(protocol.ActionMessage)
				if got := pm.Messages[0]; got.Name != "[meta]occupancy" || !strings.Contains(string(got.Data), `"connections":`+want+"}") {
					t.Errorf("heard %s %q, want %s connections", got.Name, got.Data, want)
				}
			}
			event()
			c.quiet()
			count(9)
			event()
			c.quiet()
		})
	}
}

// A frame of many members is measured as a publish is: every member may be small enough, and all of them too much.
func TestPresenceFrameIsMeasured(t *testing.T) {
	bubbleWith(t, func(c *GatewayConfig) { c.MaxMessageSize = 1000 }, func(t *testing.T, w *world, format string) {
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		says := func(serial int64, n int) {
			var members []channel.Member
			for i := range n {
				members = append(members, channel.Member{
					Action: channel.Enter, ClientID: fmt.Sprint("client-", i), Kind: channel.StringData, Data: []byte(strings.Repeat("x", 300)),
				})
			}
			c.send(protocol.AppendClientPresence(nil, c.f, "room", serial, members...))
		}
		says(0, 4)
		if pm := c.expect(protocol.ActionNack); pm.Error.Code != protocol.CodeTooLarge || !strings.Contains(pm.Error.Message, "1232 bytes, the limit is 1000") {
			t.Errorf("got %v", pm.Error)
		}
		says(1, 3)
		c.expect(protocol.ActionPresence)
		c.expect(protocol.ActionAck)
	})
}

// Members whose page is larger than what may wait for a connection do not end those that read.
func TestLargePageReachesWhoReads(t *testing.T) {
	bubbleWith(t, func(c *GatewayConfig) { c.OutboxBytes = 64 << 10 }, func(t *testing.T, w *world, format string) {
		data := []byte(strings.Repeat("\x01", 20<<10)) // six times as much in JSON
		w.owner.set(func(o *owner) {
			for _, conn := range []string{"far-1", "far-2", "far-3", "far-4"} {
				o.members["room"] = append(o.members["room"], channel.Member{
					Action: channel.Present, ConnID: conn, ClientID: "guest", ID: conn + ":0:0", Kind: channel.StringData, Data: data,
				})
			}
		})
		c := w.connect(format)
		defer c.close()
		c.ws.SetReadLimit(1 << 20)
		c.send(protocol.AppendAttach(nil, c.f, &protocol.Attach{Channel: "room"}))
		c.expect(protocol.ActionAttached)
		if pm := c.expect(protocol.ActionSync); len(pm.Presence) != 4 {
			t.Errorf("%d members", len(pm.Presence))
		}
	})
}
