package transport

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/transport/protocol"
)

func TestWithoutReentries(t *testing.T) {
	now, remember := time.Unix(1000, 0), 2*time.Minute
	change := func(serial int, members ...channel.Member) *channel.PresenceChange {
		return &channel.PresenceChange{ConnID: "c", ID: fmt.Sprintf("c:%d", serial), MsgSerial: int64(serial), Members: members}
	}
	say := func(action channel.PresenceAction, client, id string) channel.Member {
		return channel.Member{Action: action, ClientID: client, ConnID: "c", ID: id}
	}
	for _, tc := range []struct {
		name string
		said []*channel.PresenceChange // in order
		want []string                  // what is left of the last one
	}{
		{"a first word", []*channel.PresenceChange{change(0, say(channel.Enter, "a", ""))}, []string{"a"}},
		{"again after a leave", []*channel.PresenceChange{change(4, say(channel.Leave, "a", "")), change(5, say(channel.Enter, "a", "c:1:0"))}, nil},
		{"of others", []*channel.PresenceChange{change(4, say(channel.Leave, "a", "")), change(5, say(channel.Enter, "b", "c:1:0"), say(channel.Enter, "a", "c:1:1"))}, []string{"b"}},
		{"anew", []*channel.PresenceChange{change(4, say(channel.Leave, "a", "")), change(5, say(channel.Enter, "a", ""))}, []string{"a"}},
		{"again after it came anew", []*channel.PresenceChange{change(4, say(channel.Leave, "a", "")), change(5, say(channel.Enter, "a", "")), change(6, say(channel.Enter, "a", "c:5:0"))}, []string{"a"}},
		{"under a later id", []*channel.PresenceChange{change(4, say(channel.Leave, "a", "")), change(6, say(channel.Enter, "a", "c:5:0"))}, []string{"a"}},
		{"one by one in a frame", []*channel.PresenceChange{change(4, say(channel.Enter, "a", "c:1:0"), say(channel.Leave, "a", ""))}, []string{"a"}},
		{"a leave", []*channel.PresenceChange{change(4, say(channel.Leave, "a", "")), change(5, say(channel.Leave, "a", ""))}, []string{"a"}},
	} {
		h := &hold{}
		var got []string
		for _, c := range tc.said {
			before := slices.Clone(c.Members)
			got = clientsOf(h.withoutReentries(c, now, remember).Members)
			if !slices.EqualFunc(before, c.Members, func(a, b channel.Member) bool { return a.ClientID == b.ClientID }) {
				t.Errorf("%s: what the client said is changed, which others may read", tc.name)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v is left, want %v", tc.name, got, tc.want)
		}
	}
}

// What is remembered of members that come and go is bounded by how many do so in the time.
func TestLeavesAreForgotten(t *testing.T) {
	now, h := time.Unix(1000, 0), &hold{}
	most := 0
	for i := range 100_000 {
		now = now.Add(100 * time.Millisecond)
		c := &channel.PresenceChange{ConnID: "c", ID: fmt.Sprintf("c:%d", i), Members: []channel.Member{{Action: channel.Leave, ClientID: fmt.Sprint("guest-", i)}}}
		h.withoutReentries(c, now, 2*time.Minute)
		most = max(most, len(h.leaves))
	}
	if most > 2500 { // 1,200 in two minutes
		t.Errorf("%d leaves are remembered", most)
	}
}

// Who never entered cannot leave, and is not remembered. Who did, or is on the way, is.
func TestLeavesOfInventedMembers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, format string) {
		w.warm("room")
		c := w.connect(format)
		defer c.close()
		c.attach("room", nil)
		serial := int64(0)
		say := func(action channel.PresenceAction, client string) {
			c.says(action, "room", serial, client)
			serial++
		}
		taken := func(n int) {
			t.Helper()
			for acked := 0; acked < n; {
				if pm := c.next(); pm.Action == protocol.ActionAck {
					acked += pm.Count
				} else if pm.Action != protocol.ActionPresence {
					t.Fatalf("got %v", pm.Action)
				}
			}
		}
		remembered := func(want ...string) {
			t.Helper()
			read := make(chan []string, 1)
			w.g.shardOf(ring.Hash("demo", "room")).in.push(command{kind: doInspect, what: func(s *shard) {
				h := s.at(ring.Hash("demo", "room")).channels[channelKey{"demo", "room"}].holds[c.id]
				if len(h.pending) == 0 && len(h.coming) > 0 {
					t.Errorf("still to come: %v", h.coming)
				}
				read <- slices.Sorted(maps.Keys(h.leaves))
			}})
			if got := <-read; !slices.Equal(got, want) {
				t.Errorf("remembered are %v, want %v", got, want)
			}
		}
		say(channel.Enter, "alice")
		taken(1)
		for i := range 100 {
			say(channel.Leave, fmt.Sprint("nobody-", i))
		}
		say(channel.Leave, "alice")
		taken(101)
		remembered("alice")
		w.owner.set(func(o *owner) { o.manual = true })
		say(channel.Enter, "bob")
		say(channel.Leave, "carol")
		say(channel.Leave, "bob")
		synctest.Wait()
		remembered("alice", "bob")
		w.owner.set(func(o *owner) { o.manual = false })
		w.route(Route{Node: "n1", Epoch: 2, Session: 2})
		taken(3)
		remembered("alice", "bob")
	})
}

// However many enter and leave, what is remembered of it is bounded, and the latest is.
func TestLeavesAreBounded(t *testing.T) {
	now, h := time.Unix(1000, 0), &hold{}
	for i := range 20_000 {
		now = now.Add(time.Millisecond)
		id := fmt.Sprintf("%01000d", i)
		h.withoutReentries(&channel.PresenceChange{ConnID: "c", ID: fmt.Sprintf("c:%d", i), Members: []channel.Member{{Action: channel.Leave, ClientID: id}}}, now, 2*time.Minute)
		sum := 0
		for _, l := range h.leaves {
			sum += l.size()
		}
		if _, found := h.leaves[id]; !found || sum != h.leavesBytes || sum > leavesMax {
			t.Fatalf("after %d: %v, %d bytes, counted as %d", i, found, sum, h.leavesBytes)
		}
	}
}
