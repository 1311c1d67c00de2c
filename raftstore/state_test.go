package raftstore

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"innkeeper/cluster/ring"
)

func snapshotBytes(t failer, s *state) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.snapshot().write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func allEvents(s *state) []Event {
	var events []Event
	v := s.events.view()
	v.walk(v.first, func(e *rawEvent) bool { events = append(events, e.event(s.eventIDs())); return true })
	return events
}

// drawCommand draws one command of a made-up log, some of them stale, repeated or out of order.
func drawCommand(t *rapid.T, s *state) []byte {
	switch rapid.IntRange(0, 11).Draw(t, "command") {
	case 0:
		return clusterInit{fmt.Sprintf("cluster-%d", rapid.IntRange(0, 3).Draw(t, "id")), 4}.append(nil)
	case 1:
		node := fmt.Sprintf("n%d", rapid.IntRange(0, 3).Draw(t, "node"))
		c := MembershipChange{
			IfVersion: s.version - uint64(rapid.IntRange(0, 1).Draw(t, "stale")),
			Members:   []Member{{Node: node, Boot: "b", State: MemberState(rapid.IntRange(1, 3).Draw(t, "state"))}},
			Cold:      rapid.Bool().Draw(t, "cold"), TimeMs: int64(s.index),
		}
		if rapid.Bool().Draw(t, "place") {
			c.Slots = []SlotChange{{
				Part: uint32(rapid.IntRange(0, 4).Draw(t, "part")), Owner: node, Follower: "f", Bump: rapid.Bool().Draw(t, "bump"),
			}}
		}
		if rapid.IntRange(0, 5).Draw(t, "forget") == 0 {
			c.Forget = []string{node}
		}
		return c.append(nil)
	case 2:
		sink := fmt.Sprintf("sink%d", rapid.IntRange(0, 2).Draw(t, "sink"))
		cmd := rapid.SampledFrom([]command{cmdCursorEnsure, cmdCursorSet, cmdCursorDrop, cmdCursorRewind}).Draw(t, "cursor")
		return cursorChange{sink, uint64(rapid.IntRange(0, int(s.events.last)+2).Draw(t, "seq"))}.append(nil, cmd)
	case 3:
		seq := uint64(rapid.IntRange(0, int(s.events.last)+2).Draw(t, "seq"))
		if rapid.IntRange(0, 3).Draw(t, "fold") == 0 {
			return appendFold(nil, seq)
		}
		return appendTrim(nil, seq)
	case 4:
		return cmdNoop.head(nil)
	case 5:
		c := Repartition{IfVersion: s.version - uint64(rapid.IntRange(0, 1).Draw(t, "stale")), TimeMs: int64(s.index)}
		for range rapid.SampledFrom([]int{1, 2, 3, 4, 8}).Draw(t, "partitions") {
			c.Slots = append(c.Slots, Placement{fmt.Sprintf("n%d", rapid.IntRange(0, 3).Draw(t, "owner")), ""})
		}
		return c.append(nil)
	}
	b := cmdRecords.head(nil)
	for range rapid.IntRange(1, 3).Draw(t, "records") {
		r := record{part: uint32(rapid.IntRange(0, 4).Draw(t, "part"))}
		if int(r.part) < len(s.slots) {
			r.epoch, r.n = s.slots[r.part].Epoch, s.taken[r.part]+1
			switch rapid.IntRange(0, 9).Draw(t, "wrong") {
			case 0:
				r.epoch++
			case 1:
				r.n++
			case 2:
				r.n = max(r.n-1, 1)
			}
		}
		var w bodyWriter
		for range rapid.IntRange(1, 8).Draw(t, "transitions") {
			w.add(&Transition{
				Kind(rapid.IntRange(1, 4).Draw(t, "kind")), "app", fmt.Sprint(rapid.IntRange(0, 30).Draw(t, "name")), int64(s.index),
			})
		}
		r.count, r.body = w.count, w.buf
		b = appendRecord(b, r)
	}
	return b
}

func (s *state) check(t failer, seen map[uint64]Event) {
	t.Helper()
	for _, e := range allEvents(s) {
		if old, ok := seen[e.Seq]; ok && old != e {
			t.Fatalf("event %d was %+v, is %+v", e.Seq, old, e)
		}
		seen[e.Seq] = e
	}
	if len(seen) != int(s.events.last) {
		t.Fatalf("%d events were seen, last is %d", len(seen), s.events.last)
	}
	var all []Event
	for seq := range s.events.last {
		all = append(all, seen[seq+1])
	}
	want := map[string]uint64{}
	if len(all) > 0 {
		want = checkEvents(t, all)
	}
	got := map[string]uint64{}
	for part := range s.parts {
		s.parts[part].freeze().after(key{}, func(e entry) bool {
			if ring.Partition(e.hash, len(s.parts)) != uint32(part) || ring.Hash(string(e.app), string(e.name)) != e.hash {
				t.Fatalf("%q is in partition %d", e.name, part)
			}
			got[string(e.app)+"\x00"+string(e.name)] = e.seq
			return true
		})
	}
	if s.occupied != len(got) {
		t.Fatalf("occupied set is %v, counted as %d", got, s.occupied)
	}
	for part := range s.open {
		s.open[part].freeze().after(key{}, func(e entry) bool {
			got[openMark+string(e.app)+"\x00"+string(e.name)] = e.seq
			return true
		})
	}
	if !maps.Equal(got, want) || s.opened+s.occupied != len(got) {
		t.Fatalf("sets are %v (%d and %d), the events say %v", got, s.occupied, s.opened, want)
	}
	for sink, seq := range s.cursors {
		if seq > s.events.last {
			t.Fatalf("cursor %s is %d, events are %d to %d", sink, seq, s.events.first, s.events.last)
		}
	}
}

// TestLogInvariants runs made-up logs: alternation, ends, cursors and epochs hold after each entry; the same log gives
// the same bytes; a snapshot at any index with the rest of the log gives the same state.
func TestLogInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newState()
		var log [][]byte
		var snapshots [][]byte
		seen := map[uint64]Event{}
		for i := range rapid.IntRange(1, 60).Draw(t, "entries") {
			cmd := drawCommand(t, s)
			if i == 0 {
				cmd = clusterInit{"cluster", 4}.append(nil)
			}
			log = append(log, cmd)
			epochs, began := slices.Clone(s.slots), s.began
			s.index++
			if _, _, err := s.apply(cmd); err != nil {
				t.Fatalf("entry %d: %v", i, err)
			}
			if s.began != began {
				s.checkLayout(t, epochs)
				epochs = nil
			}
			for part, old := range epochs {
				now := s.slots[part]
				if now.Epoch < old.Epoch || now.Owner != old.Owner && now.Epoch == old.Epoch {
					t.Fatalf("partition %d went from %v to %v", part, old, now)
				}
			}
			s.check(t, seen)
			snapshots = append(snapshots, snapshotBytes(t, s))
		}
		for i, b := range snapshots {
			r, err := readState(bytes.NewReader(b))
			if err != nil {
				t.Fatalf("snapshot at %d: %v", i+1, err)
			}
			if got := snapshotBytes(t, r); !bytes.Equal(got, b) {
				t.Fatalf("snapshot at %d reads back as another", i+1)
			}
			for _, cmd := range log[i+1:] {
				r.index++
				if _, _, err := r.apply(cmd); err != nil {
					t.Fatal(err)
				}
			}
			if got := snapshotBytes(t, r); !bytes.Equal(got, snapshots[len(snapshots)-1]) {
				t.Fatalf("snapshot at %d and the rest of the log give another state", i+1)
			}
		}
	})
}

// checkLayout makes sure that the new layout has left all epochs of the old one behind, and remembers them.
func (s *state) checkLayout(t failer, old []ring.Slot) {
	t.Helper()
	for part, slot := range s.slots {
		if slot.Epoch != s.began || s.taken[part] != 0 {
			t.Fatalf("partition %d begins with epoch %d and %d records taken, want %d and none", part, slot.Epoch, s.taken[part], s.began)
		}
	}
	for part, slot := range old {
		if slot.Epoch >= s.began || s.before[part] != slot.Epoch {
			t.Fatalf("partition %d ended with epoch %d, noted as %d; the new layout begins with %d", part, slot.Epoch, s.before[part], s.began)
		}
	}
	if len(s.before) != len(old) || len(s.parts) != len(s.slots) || len(s.open) != len(s.slots) || len(s.taken) != len(s.slots) {
		t.Fatalf("%d partitions became %d; sets %d and %d, numbers %d, noted %d", len(old), len(s.slots), len(s.parts), len(s.open), len(s.taken), len(s.before))
	}
}

// failer is what helpers need of *testing.T and *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func TestSnapshotStaysWhileStateGoesOn(t *testing.T) {
	s := newState()
	s.init(clusterInit{"cluster", 4})
	occupy := func(from, to int, kind Kind) {
		for i := from; i < to; i++ {
			name := fmt.Sprint("chan-", i)
			part := ring.Partition(ring.Hash("app", name), 4)
			var w bodyWriter
			w.add(&Transition{kind, "app", name, int64(i)})
			cmd := appendRecord(cmdRecords.head(nil), record{part, 0, s.taken[part] + 1, w.count, w.buf})
			if _, _, err := s.apply(cmd); err != nil {
				t.Fatal(err)
			}
		}
	}
	occupy(0, 5000, Occupied)
	occupy(1000, 2000, Vacated)
	want := snapshotBytes(t, s)
	frozen := s.snapshot()
	occupy(2000, 5000, Vacated)
	occupy(5000, 9000, Occupied)
	s.events.trim(4000)
	var got bytes.Buffer
	if err := frozen.write(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatal("the snapshot changed with the state")
	}
}

func TestDamagedSnapshotIsRefused(t *testing.T) {
	s := newState()
	s.init(clusterInit{"cluster", 4})
	for i := range 100 {
		name := fmt.Sprint("chan-", i)
		k := rawTransition{Occupied, []byte("app"), []byte(name), 1}
		s.transition(ring.Partition(ring.Hash("app", name), 4), &k)
	}
	whole := snapshotBytes(t, s)
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x41
		if r, err := readState(bytes.NewReader(damaged)); err == nil && !bytes.Equal(snapshotBytes(t, r), whole) {
			t.Fatalf("byte %d damaged and not noticed", i)
		}
		if _, err := readState(bytes.NewReader(whole[:i])); err == nil {
			t.Fatalf("cut to %d bytes and not noticed", i)
		}
	}
}

// TestPageIsExact compares every page of enumerations as of every seq with a replay of the events.
func TestPageIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Store{fsm: newFSM(nil, nil)}
		state := s.fsm.state
		state.init(clusterInit{"cluster", 4})
		for i := range rapid.IntRange(0, 120).Draw(t, "transitions") {
			app, name := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "app"), fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "name"))
			tr := rawTransition{Kind(rapid.IntRange(1, 4).Draw(t, "kind")), []byte(app), []byte(name), int64(i)}
			state.transition(ring.Partition(ring.Hash(app, name), 4), &tr)
		}
		events := allEvents(state)
		asOf := uint64(rapid.IntRange(0, len(events)).Draw(t, "as of"))
		state.events.trim(uint64(rapid.IntRange(0, int(asOf)).Draw(t, "trimmed")))
		app := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "of app")
		prefix := rapid.SampledFrom([]string{"", "1"}).Draw(t, "prefix")
		var want []OccupiedItem
		for _, e := range events[:asOf] {
			if e.Kind >= Opened {
				continue
			}
			want = slices.DeleteFunc(want, func(i OccupiedItem) bool { return i.App == e.App && i.Name == e.Channel })
			if e.Kind == Occupied && (app == "" || app == e.App) && e.Channel[:min(len(prefix), len(e.Channel))] == prefix {
				want = append(want, OccupiedItem{e.App, e.Channel, e.Seq, e.TimeMs})
			}
		}
		slices.SortFunc(want, func(a, b OccupiedItem) int {
			return key{ring.Hash(a.App, a.Name), []byte(a.App), []byte(a.Name)}.compare(
				key{ring.Hash(b.App, b.Name), []byte(b.App), []byte(b.Name)})
		})
		limit := rapid.IntRange(1, 12).Draw(t, "limit")
		var got []OccupiedItem
		for after := (&Position{}); after != nil; {
			items, next, err := s.OccupiedPage(asOf, app, prefix, *after, limit)
			if err != nil {
				t.Fatal(err)
			}
			if next != nil && len(items) != limit {
				t.Fatalf("a page of %d has %d items and is not the last", limit, len(items))
			}
			got, after = append(got, items...), next
		}
		if !slices.Equal(got, want) {
			t.Fatalf("as of %d: got %v, want %v", asOf, got, want)
		}
	})
}

func TestRecordRules(t *testing.T) {
	s := newState()
	s.init(clusterInit{"cluster", 1})
	s.slots = []ring.Slot{{Owner: "n", Epoch: 3}}
	one := func(epoch, n uint64, kind Kind) verdict {
		var w bodyWriter
		w.add(&Transition{kind, "app", "chan", int64(n)})
		verdicts, err := s.records(appendRecord(nil, record{0, epoch, n, w.count, w.buf}))
		if err != nil {
			t.Fatal(err)
		}
		return verdicts[0]
	}
	for i, step := range []struct {
		epoch, n uint64
		kind     Kind
		want     verdict
		events   uint64
	}{
		{3, 2, Occupied, verdict{outcomeGap, 0}, 0},
		{3, 1, Occupied, verdict{outcomeDone, 1}, 1},
		{3, 1, Vacated, verdict{outcomeDone, 1}, 1}, // a repetition is not looked at
		{2, 2, Vacated, verdict{outcomeEpochOver, 0}, 1},
		{4, 2, Vacated, verdict{outcomeEpochOver, 0}, 1},
		{3, 2, Occupied, verdict{outcomeDone, 2}, 1}, // is so already
		{3, 3, Vacated, verdict{outcomeDone, 3}, 2},
		{3, 4, Vacated, verdict{outcomeDone, 4}, 2},
	} {
		if got := one(step.epoch, step.n, step.kind); got != step.want || s.events.last != step.events {
			t.Fatalf("step %d: got %+v and %d events, want %+v and %d", i, got, s.events.last, step.want, step.events)
		}
	}
	if s.repetitive != 2 {
		t.Errorf("%d repetitive transitions, want 2", s.repetitive)
	}
}
