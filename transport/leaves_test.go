package transport

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"innkeeper/channel"
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
