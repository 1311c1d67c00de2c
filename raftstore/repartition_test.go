package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"innkeeper/cluster/ring"
)

func goldenRepartition() *Repartition {
	return &Repartition{IfVersion: 2, TimeMs: 1_700_000_100_000, Slots: []Placement{
		{"node-a", "node-b"}, {"node-a", "node-b"}, {"node-b", "node-a"}, {"node-b", ""},
	}}
}

// TestGoldenRepartition is apart from the other commands, since what they make together is a golden snapshot.
func TestGoldenRepartition(t *testing.T) {
	s := newState()
	for _, c := range goldenCommands() {
		if _, _, err := s.apply(c.b); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"a", "b", "c", "d", "e", "f"}
	var w bodyWriter
	for i, name := range names {
		w.add(&Transition{Occupied, "app", name, int64(i)})
		w.add(&Transition{Opened, "app", name, int64(i)})
	}
	if _, _, err := s.apply(appendRecord(cmdRecords.head(nil), record{0, 1, 3, w.count, w.buf})); err != nil {
		t.Fatal(err)
	}
	cmd := golden(t, filepath.Join("commands", "repartition"), goldenRepartition().append(nil))
	if result, placed, err := s.apply(cmd); result != error(nil) || !placed || err != nil {
		t.Fatalf("got %v, %v, %v", result, placed, err)
	}
	want := []ring.Slot{{Owner: "node-a", Follower: "node-b", Epoch: 2}, {Owner: "node-a", Follower: "node-b", Epoch: 2},
		{Owner: "node-b", Follower: "node-a", Epoch: 2}, {Owner: "node-b", Epoch: 2}}
	if table := s.view().Table; !slices.Equal(table.Slots, want) || table.Began != 2 || !slices.Equal(table.Before, []uint64{1}) || table.Version != 3 {
		t.Errorf("table is %+v", table)
	}
	if s.occupied != len(names)+1 || s.opened != len(names) {
		t.Errorf("%d channels occupied, %d open", s.occupied, s.opened)
	}
	s.check(t, goldenSeen(s))
	b := golden(t, "snapshot-layout", snapshotBytes(t, s))
	r, err := readState(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshotBytes(t, r), b) {
		t.Error("snapshot reads back as another")
	}
	if table := r.view().Table; table.Began != 2 || !slices.Equal(table.Before, []uint64{1}) {
		t.Errorf("the snapshot's table is %+v", table)
	}
}

// goldenSeen stands for the events that were trimmed before the test looks.
func goldenSeen(s *state) map[uint64]Event {
	seen := map[uint64]Event{
		1: {Seq: 1, App: "app", Channel: "chan", Kind: Occupied, TimeMs: 1_700_000_000_000},
		2: {Seq: 2, App: "app", Channel: "chän", Kind: Occupied, TimeMs: 1_700_000_000_005},
	}
	for seq, e := range seen {
		e.ID = fmt.Sprintf("%s-%d", s.clusterID[:8], seq)
		seen[seq] = e
	}
	return seen
}

// TestOldLayoutIsLate: a record of the old layout is refused whatever its numbers, and one of the new is the first.
func TestOldLayoutIsLate(t *testing.T) {
	s := newState()
	s.init(clusterInit{"cluster", 2})
	s.slots = []ring.Slot{{Owner: "a", Epoch: 3}, {Owner: "b", Epoch: 7}}
	say := func(name string, epoch, n uint64) verdict {
		t.Helper()
		var w bodyWriter
		w.add(&Transition{Occupied, "app", name, 1})
		part := ring.Partition(ring.Hash("app", name), len(s.slots))
		verdicts, err := s.records(appendRecord(nil, record{part, epoch, n, w.count, w.buf}))
		if err != nil {
			t.Fatal(err)
		}
		return verdicts[0]
	}
	name := ""
	for i := 0; name == ""; i++ { // one that is in partition 1 of 2 and of 4
		if h := ring.Hash("app", fmt.Sprint(i)); ring.Partition(h, 2) == 1 && ring.Partition(h, 4) == 1+1 {
			name = fmt.Sprint(i)
		}
	}
	if v := say(name, 7, 1); v.outcome != outcomeDone {
		t.Fatalf("got %+v", v)
	}
	if err := s.repartition(&Repartition{IfVersion: s.version, Slots: make([]Placement, 4)}); err != nil {
		t.Fatal(err)
	}
	for _, epoch := range []uint64{0, 3, 7} {
		for part := range uint32(5) {
			if v := s.judge(&record{part: part, epoch: epoch, n: 1}); v.outcome != outcomeEpochOver {
				t.Errorf("partition %d, epoch %d of the old layout: %+v", part, epoch, v)
			}
		}
	}
	if v := say(name, 8, 2); v != (verdict{outcomeGap, 0}) {
		t.Errorf("numbers did not start anew: %+v", v)
	}
	if v := say(name, 8, 1); v != (verdict{outcomeDone, 1}) || s.repetitive != 1 || s.occupied != 1 {
		t.Errorf("got %+v, %d repetitive, %d occupied", v, s.repetitive, s.occupied)
	}
}

// TestRepartitionIsRefused: each with the number that is wrong, and nothing changed.
func TestRepartitionIsRefused(t *testing.T) {
	s := newState()
	if err := s.repartition(&Repartition{Slots: make([]Placement, 4)}); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("got %v", err)
	}
	s.init(clusterInit{"cluster", 8})
	before := snapshotBytes(t, s)
	if err := s.repartition(&Repartition{IfVersion: s.version + 1, Slots: make([]Placement, 16)}); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v", err)
	}
	if err := s.repartition(&Repartition{IfVersion: s.version, Slots: make([]Placement, 8)}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "8 partitions already") {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(snapshotBytes(t, s), before) {
		t.Error("a refused change changed something")
	}
	for _, n := range []int{0, 1, 4, 12, 100, 8192} {
		err := (&Store{}).Repartition(context.Background(), Repartition{Slots: make([]Placement, n)})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf("%d partitions: want a power of two from 8 to 4096", n)) {
			t.Errorf("%d: got %v", n, err)
		}
	}
}

// TestRegroupAgainstModel compares what becomes of a set with its entries sorted anew, and goes on writing to it while a
// view from before stays what it was.
func TestRegroupAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 3, 8, 64}).Draw(t, "from")
		parts := make([]partition, n)
		all := map[uint64]entry{}
		insert := func(i int) {
			name := fmt.Sprintf("channel-%d", i)
			e := entry{key: key{hash: ring.Hash("app", name), app: []byte("app"), name: []byte(name)}, seq: uint64(i)}
			parts[ring.Partition(e.hash, len(parts))].insert(&e)
			all[e.hash] = e
		}
		for i := range rapid.IntRange(0, 3000).Draw(t, "channels") {
			insert(i)
		}
		for range rapid.IntRange(1, 4).Draw(t, "times") {
			frozen := make([]frozen, len(parts))
			var want []entry
			for i := range parts {
				frozen[i] = parts[i].freeze()
				want = append(want, contents(frozen[i], key{})...)
			}
			parts = regroup(parts, rapid.SampledFrom([]int{1, 2, 5, 16, 256}).Draw(t, "to"))
			for i := range rapid.IntRange(0, 300).Draw(t, "more") {
				insert(10_000 + i)
			}
			var still []entry
			for i := range frozen {
				still = append(still, contents(frozen[i], key{})...)
			}
			if !equalEntries(still, want) {
				t.Fatal("a frozen view changed")
			}
		}
		count := 0
		for i := range parts {
			capacity := 0
			for _, ref := range parts[i].list {
				capacity += cap(ref.data)
				if ref.first != entryHash(ref.data) {
					t.Fatal("a block is filed under another hash")
				}
			}
			if capacity != parts[i].capacity {
				t.Fatalf("capacity is %d, counted %d", capacity, parts[i].capacity)
			}
			have := contents(parts[i].freeze(), key{})
			if len(have) != parts[i].count {
				t.Fatalf("%d entries, counted %d", len(have), parts[i].count)
			}
			for _, e := range have {
				if ring.Partition(e.hash, len(parts)) != uint32(i) || all[e.hash].seq != e.seq {
					t.Fatalf("%q is in partition %d", e.name, i)
				}
			}
			if !slices.IsSortedFunc(have, func(a, b entry) int { return a.compare(b.key) }) {
				t.Fatal("out of order")
			}
			count += len(have)
		}
		if count != len(all) {
			t.Fatalf("%d channels, want %d", count, len(all))
		}
	})
}

func BenchmarkRegroup(b *testing.B) {
	parts := make([]partition, 128)
	for i := range 1_000_000 {
		name := fmt.Sprintf("channel-%d", i)
		e := entry{key: key{hash: ring.Hash("app", name), app: []byte("app"), name: []byte(name)}, seq: uint64(i)}
		parts[ring.Partition(e.hash, len(parts))].insert(&e)
	}
	for b.Loop() {
		regroup(parts, 256)
	}
}
