package channel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// viewer is what a client makes of the presence events it is sent: the rules that SDKs follow.
type viewer struct {
	members map[string]Member
	syncing bool
	residue map[string]bool
}

func viewKey(m *Member) string { return m.ClientID + "@" + m.ConnID }

func (v *viewer) take(m Member) {
	key := viewKey(&m)
	delete(v.residue, key)
	was, found := v.members[key]
	if found && !m.Newer(&was) {
		return
	}
	switch {
	case m.Action != Leave:
		m.Action = Present
		v.members[key] = m
	case v.syncing:
		m.Action = Absent
		v.members[key] = m
	default:
		delete(v.members, key)
	}
}

// sync begins, takes pages and ends.
func (v *viewer) startSync() {
	v.syncing, v.residue = true, map[string]bool{}
	for key, m := range v.members {
		if m.Action != Absent {
			v.residue[key] = true
		}
	}
}

func (v *viewer) endSync() {
	for key, m := range v.members {
		if m.Action == Absent || v.residue[key] {
			delete(v.members, key)
		}
	}
	v.syncing, v.residue = false, nil
}

func (v *viewer) String() string {
	var list []string
	for key, m := range v.members {
		if m.Action != Absent {
			list = append(list, key+"="+string(m.Data))
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func (p *presence) String() string {
	var list []string
	for _, m := range p.all() {
		list = append(list, viewKey(m)+"="+string(m.Data))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestPresenceAgrees plays random lives of connections with members: they change nodes, are lost, come back, say again
// what they were not answered; gateways die and register anew; other owners take over copies. Clients that hear every
// event, and others that synchronise at any time while events go on, must end with the owner's set, and nobody whose
// connection is held may be missing.
func TestPresenceAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &presence{}
		now := Moment{Since: time.Second, UnixMs: 1_700_000_000_000}
		copied := &presence{} // at the follower
		faithful := &viewer{members: map[string]Member{}}
		var late *viewer
		var page PresenceQuery
		serialMs := int64(0) // of what happened last
		type client struct {
			id     string
			era    uint64
			at     Gateway // 0: lost
			serial int64
			means  map[string]string // what it wants to be there
			said   []*PresenceChange // may be said again
			lostAt time.Duration
		}
		clients := []*client{}
		tell := func(events []Member) {
			copied.fold(events)
			serialMs = max(serialMs, now.UnixMs)
			for i, e := range events {
				if e.ID == "" {
					e.ID, e.TimeMs = fmt.Sprint("~", i), max(e.TimeMs, serialMs)
				}
				faithful.take(e)
				if late != nil {
					late.take(e)
				}
			}
		}
		flush := func() {
			s.expire(now)
			tell(s.events)
			s.events, s.owed = nil, nil
		}
		hold := func(c *client, state HoldState, whole bool) *Hold {
			h := &Hold{ConnID: c.id, Era: c.era, State: state, RemainMs: 15000, Taken: c.serial, Whole: whole}
			if whole {
				for _, who := range slices.Sorted(maps.Keys(c.means)) {
					id, data, _ := strings.Cut(c.means[who], "|")
					h.Members = append(h.Members, Member{Action: Present, ID: id, ClientID: who, ConnID: c.id, Kind: StringData, Data: []byte(data), TimeMs: now.UnixMs})
				}
			}
			return h
		}
		pick := func(ok func(*client) bool) *client {
			var some []*client
			for _, c := range clients {
				if ok(c) {
					some = append(some, c)
				}
			}
			if len(some) == 0 {
				return nil
			}
			return rapid.SampledFrom(some).Draw(t, "client")
		}
		here := func(c *client) bool { return c.at != 0 }
		t.Repeat(map[string]func(*rapid.T){
			"come": func(t *rapid.T) {
				clients = append(clients, &client{id: fmt.Sprintf("c%02d", len(clients)), at: Gateway(rapid.IntRange(1, 3).Draw(t, "gateway")), means: map[string]string{}})
			},
			"change": func(t *rapid.T) {
				c := pick(here)
				if c == nil {
					return
				}
				ch := &PresenceChange{ConnID: c.id, Era: c.era, RemainMs: 15000, MsgSerial: c.serial, ID: fmt.Sprintf("%s:%d", c.id, c.serial)}
				for i := range rapid.IntRange(1, 3).Draw(t, "members") {
					who := fmt.Sprint("m", rapid.IntRange(0, 3).Draw(t, "who"))
					m := Member{Action: rapid.SampledFrom([]PresenceAction{Enter, Update, Leave}).Draw(t, "action"), ClientID: who}
					if m.Action == Leave {
						delete(c.means, who)
					} else {
						m.Kind, m.Data = StringData, []byte(fmt.Sprint(c.serial, i))
						c.means[who] = fmt.Sprintf("%s:%d|%s", ch.ID, i, m.Data)
					}
					ch.Members = append(ch.Members, m)
				}
				c.serial++
				c.said = append(c.said, ch)
				events, why := s.change(now, c.at, ch, 0, nil)
				if why != Accepted {
					t.Fatal("refused")
				}
				tell(events)
			},
			"say again": func(t *rapid.T) {
				c := pick(func(c *client) bool { return c.at != 0 && len(c.said) > 0 })
				if c == nil {
					return
				}
				from := rapid.IntRange(0, len(c.said)-1).Draw(t, "from")
				for _, ch := range c.said[from:] {
					again := *ch
					again.Era = c.era
					events, _ := s.change(now, c.at, &again, 0, nil)
					if len(events) > 0 {
						t.Fatalf("said again, %s did %v", ch.ID, events)
					}
				}
			},
			"say what it is": func(t *rapid.T) { // as clients do when they attach again
				c := pick(here)
				if c == nil || len(c.means) == 0 {
					return
				}
				ch := &PresenceChange{ConnID: c.id, Era: c.era, MsgSerial: c.serial, ID: fmt.Sprintf("%s:%d", c.id, c.serial)}
				for who, is := range c.means {
					id, data, _ := strings.Cut(is, "|")
					ch.Members = append(ch.Members, Member{Action: Enter, ID: id, ClientID: who, Kind: StringData, Data: []byte(data)})
				}
				c.serial++
				events, _ := s.change(now, c.at, ch, 0, nil)
				if len(events) > 0 {
					t.Fatalf("what was there already made %v", events)
				}
			},
			"break": func(t *rapid.T) {
				if c := pick(here); c != nil {
					if rapid.Bool().Draw(t, "noticed") {
						s.register(now, c.at, hold(c, HoldLost, false))
					}
					c.at, c.lostAt = 0, now.Since
				}
			},
			"late word of a node": func(t *rapid.T) { // of a connection that has gone on elsewhere
				c := pick(func(c *client) bool { return c.at != 0 && c.era > 0 })
				if c == nil {
					return
				}
				old := *c
				old.era--
				other := c.at%3 + 1
				old.means = map[string]string{"m9": c.id + ":0:0|stale"}
				word := hold(&old, rapid.SampledFrom([]HoldState{HoldHere, HoldLost, HoldOver}).Draw(t, "state"), rapid.Bool().Draw(t, "whole"))
				s.register(now, other, word)
			},
			"word of who is gone": func(t *rapid.T) { // the gateway notices late that it lost the connection
				c := pick(func(c *client) bool { return c.at == 0 && c.lostAt < 0 })
				if c == nil {
					return
				}
				old := *c
				old.means = map[string]string{"m9": c.id + ":0:0|stale"}
				s.register(now, Gateway(rapid.IntRange(1, 3).Draw(t, "gateway")), hold(&old, HoldLost, true))
			},
			"resume": func(t *rapid.T) {
				c := pick(func(c *client) bool { return c.at == 0 && now.Since-c.lostAt < 15*time.Second })
				if c == nil {
					return
				}
				c.era++
				c.at = Gateway(rapid.IntRange(1, 3).Draw(t, "gateway"))
				s.register(now, c.at, hold(c, HoldHere, false))
			},
			"leave": func(t *rapid.T) {
				if c := pick(here); c != nil {
					s.register(now, c.at, hold(c, HoldOver, true))
					c.at, c.means, c.lostAt = 0, map[string]string{}, -time.Hour
				}
			},
			"time": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 20000).Draw(t, "ms")) * time.Millisecond
				now.Since, now.UnixMs = now.Since+d, now.UnixMs+d.Milliseconds()
				flush()
			},
			"death of a node": func(t *rapid.T) {
				g := Gateway(rapid.IntRange(1, 3).Draw(t, "gateway"))
				for _, c := range clients {
					if c.at == g {
						c.at, c.lostAt = 0, now.Since
					}
				}
				s.dead(now, g)
			},
			"new owner": func(t *rapid.T) {
				flush()
				now.UnixMs += rapid.Int64Range(-5000, 5000).Draw(t, "ahead") // of the clock of the one before
				p := &presence{}
				hasCopy := rapid.Bool().Draw(t, "has the copy")
				if hasCopy {
					p.fold(nil)
					copied.deliveries(func(d *Delivery) { p.fold(d.Presence) })
					p.inherited()
				}
				all := slices.Clone(clients)
				for _, i := range rapid.Permutation([]int{0, 1, 2}).Draw(t, "order") {
					for _, c := range all {
						switch {
						case c.at != 0 && c.at != Gateway(i+1) && c.era > 0 && rapid.Bool().Draw(t, "was there"):
							old := *c
							old.era--
							old.means = map[string]string{"m9": c.id + ":0:0|stale"}
							p.heard = append(p.heard, heard{Gateway(i + 1), *hold(&old, HoldLost, true)})
						case c.at == Gateway(i+1):
							p.heard = append(p.heard, heard{c.at, *hold(c, HoldHere, true)})
						case c.at != 0 || int(c.era)%3 != i:
						case now.Since-c.lostAt < 15*time.Second && rapid.Bool().Draw(t, "its gateway lives"):
							p.heard = append(p.heard, heard{Gateway(i + 1), *hold(c, HoldLost, true)})
						case !hasCopy:
							c.means, c.lostAt = map[string]string{}, -time.Hour // nobody knows of its members
						}
					}
				}
				p.opened(now, hasCopy)
				if s = p; len(p.holds) == 0 && p.len() > 0 {
					t.Fatal("members without a hold")
				}
				if copied.String() != p.String() { // without the copy some are gone: clients are told to look again
					copied.members = nil
					copied.fold(slices.Collect(func(yield func(Member) bool) {
						for _, m := range p.members {
							yield(*m)
						}
					}))
					faithful.startSync()
					for _, m := range p.members {
						faithful.take(*m)
					}
					faithful.endSync()
					late = nil
					s.events = nil
				}
			},
			"sync": func(t *rapid.T) {
				if late == nil {
					late, page = &viewer{members: map[string]Member{}}, PresenceQuery{Limit: 2}
					late.startSync()
				}
				var r PresencePage
				s.page(&page, &r)
				for _, m := range r.Members {
					late.take(m)
					page.AfterConn, page.After = m.ConnID, m.ClientID
				}
				if !r.More && late.syncing {
					late.endSync()
				}
			},
			"": func(t *rapid.T) {
				flush()
				for _, c := range clients {
					for who, is := range c.means {
						i, found := s.find(c.id, who)
						_, data, _ := strings.Cut(is, "|")
						switch {
						case c.at != 0 && !found:
							t.Fatalf("%s@%s is held by %d and missing", who, c.id, c.at)
						case found && string(s.members[i].Data) != data:
							t.Fatalf("%s@%s is %q, want %q", who, c.id, s.members[i].Data, data)
						}
					}
					if c.at != 0 {
						if from, to := s.of(c.id); to-from != len(c.means) {
							t.Fatalf("%s has %d members, want %d", c.id, to-from, len(c.means))
						}
					}
				}
				want := s.String()
				if got := faithful.String(); got != want {
					t.Fatalf("who heard all sees %q, want %q", got, want)
				}
				if got := copied.String(); got != want {
					t.Fatalf("the copy has %q, want %q", got, want)
				}
				if late != nil && !late.syncing && late.String() != want {
					t.Fatalf("who came later sees %q, want %q", late, want)
				}
				bytes := 0
				for i, m := range s.members {
					bytes += m.size()
					if i > 0 && compareMember(s.members[i-1], m.ConnID, m.ClientID) >= 0 {
						t.Fatal("out of order")
					}
				}
				if bytes != s.bytes {
					t.Fatalf("%d bytes, counted as %d", bytes, s.bytes)
				}
			},
		})
	})
}
