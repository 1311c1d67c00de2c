package cluster

import (
	"fmt"
	"slices"
	"testing"

	"innkeeper/cluster/ring"
)

// followRecorder is an Observer that wants followers.
type followRecorder struct {
	*recorder
	follows []string
}

func (r *followRecorder) Follow(part uint32, to Peer, session uint64) {
	r.follows = append(r.follows, fmt.Sprint("follow ", part, " ", to.Node, "/", to.Boot, " ", session))
}

func (r *followRecorder) Parted(from Peer, session uint64) {
	r.follows = append(r.follows, fmt.Sprint("parted ", from.Node, "/", from.Boot, " ", session))
}

func TestFollowersAreTold(t *testing.T) {
	me := Peer{"a", "a1"}
	v := viewOf(3, member("a", "a1", Alive), member("b", "b1", Alive))
	v.Table.Slots = []ring.Slot{{Owner: "a", Follower: "b", Epoch: 1}, {Owner: "b", Follower: "a", Epoch: 1}, {Owner: "a", Epoch: 1}}
	rec := &followRecorder{recorder: newRecorder()}
	told := told{observer: rec, me: me}
	expect := func(name string, view *View, up map[string]standing, want ...string) {
		t.Helper()
		rec.follows = nil
		told.bring(view, up, true, false)
		if !slices.Equal(rec.follows, want) {
			t.Errorf("%s: got %q, want %q", name, rec.follows, want)
		}
	}
	self := standing{"a1", 1}
	expect("no link", v, map[string]standing{"a": self})
	expect("a link", v, map[string]standing{"a": self, "b": {"b1", 2}}, "follow 0 b/b1 2")
	expect("again", v, map[string]standing{"a": self, "b": {"b1", 2}})
	expect("a new session", v, map[string]standing{"a": self, "b": {"b1", 3}}, "parted b/b1 2", "follow 0 b/b1 3")
	expect("another boot", v, map[string]standing{"a": self, "b": {"b2", 4}}, "parted b/b1 3", "follow 0 / 0")
	expect("no link again", v, map[string]standing{"a": self}, "parted b/b2 4")

	back := *v
	back.Table.Slots = []ring.Slot{{Owner: "a", Follower: "b", Epoch: 3}, {Owner: "b", Follower: "a", Epoch: 1}, {Owner: "a", Follower: "b", Epoch: 1}}
	expect("a link, and another tenure", &back, map[string]standing{"a": self, "b": {"b1", 5}}, "follow 0 b/b1 5", "follow 2 b/b1 5")
	back2 := back
	back2.Table.Slots = []ring.Slot{{Owner: "a", Follower: "b", Epoch: 5}, {Owner: "b", Follower: "a", Epoch: 1}, {Owner: "b", Follower: "a", Epoch: 2}}
	expect("a tenure begins without one", &back2, map[string]standing{"a": self, "b": {"b1", 5}}, "follow 0 b/b1 5")
}
