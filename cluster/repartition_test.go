package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"innkeeper/cluster/ring"
)

// The observer is told of a new layout before anything else of it, and that alone ends what was before.
func TestObserverIsToldOfLayouts(t *testing.T) {
	v := viewOf(2, member("a", "a1", Alive), member("b", "b1", Alive))
	v.Table.Slots = []ring.Slot{{Owner: "a", Epoch: 3}, {Owner: "b", Epoch: 5}}
	rec := newRecorder()
	told := told{observer: rec, me: Peer{"a", "a1"}}
	up := map[string]standing{"a": {"a1", 1}, "b": {"b1", 4}}
	expect := func(name string, view *View, want ...string) {
		t.Helper()
		rec.trace = nil
		if told.bring(view, up, true, false); !slices.Equal(rec.trace, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, rec.trace, want)
		}
	}
	layout := func(began uint64, slots ...ring.Slot) *View {
		view := *v
		view.Table = ring.Table{Slots: slots, Began: began}
		return &view
	}
	expect("the first", v, "members [{a a1} {b b1}]", "layout 2@0", "acquire 0@3", "routed 0 {a 3 1}", "routed 1 {b 5 4}", "lease true")
	more := layout(6, ring.Slot{Owner: "a", Epoch: 6}, ring.Slot{Owner: "b", Epoch: 6}, ring.Slot{Owner: "a", Epoch: 6})
	expect("more", more, "layout 3@6", "acquire 0@6", "acquire 2@6", "routed 0 {a 6 1}", "routed 1 {b 6 4}", "routed 2 {a 6 1}")
	expect("still", more)
	expect("fewer, and moved since", layout(7, ring.Slot{Owner: "a", Epoch: 9}), "layout 1@7", "acquire 0@9", "routed 0 {a 9 1}")
	expect("two changes seen as one", layout(12, ring.Slot{Owner: "b", Epoch: 12}), "layout 1@12", "routed 0 {b 12 4}")
	if len(rec.faults) > 0 {
		t.Error(rec.faults)
	}
}

func TestRepartition(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster(3)
		leader, other := "", ""
		for id, n := range w.nodes {
			if n.logs.IsLeader() {
				leader = id
			} else {
				other = id
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.nodes[other].Repartition(ctx, 16); !errors.Is(err, ErrNotLeader) {
			t.Errorf("asked elsewhere: %v", err)
		}
		for _, n := range []int{0, 7, 24, 8192, -8} {
			if err := w.nodes[leader].Repartition(ctx, n); err == nil || !strings.Contains(err.Error(), fmt.Sprint(n)) {
				t.Errorf("%d partitions: %v", n, err)
			}
		}
		for _, n := range []int{16, 32, 8} {
			before := w.raft.committed().Table
			if err := w.nodes[leader].Repartition(ctx, n); err != nil {
				t.Fatal(err)
			}
			after := w.raft.committed().Table
			if len(after.Slots) != n || len(after.Before) != len(before.Slots) {
				t.Fatalf("the table is %+v", after)
			}
			w.await(5*time.Second, fmt.Sprint("all serve ", n), func() bool { return w.serving("n1", "n2", "n3") })
			if now := w.raft.committed().Table; now.Version != after.Version {
				t.Errorf("the new layout was placed again: %+v, then %+v", after, now)
			}
			if err := w.nodes[leader].Repartition(ctx, n); err == nil || !strings.Contains(err.Error(), fmt.Sprint(n, " partitions already")) {
				t.Errorf("the same again: %v", err)
			}
		}
	})
}
