package raftstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cluster/ring"
)

// foldWorld is a log whose events are given up under sinks that are behind, and the receivers behind those sinks. A sink
// is served as a dispatcher does it: it reads on from its position, no further than the reach behind the cursor, its
// channels are sent independently of each other, and the cursor is the contiguous prefix of what was accepted.
type foldWorld struct {
	rand  *rand.Rand
	state *state
	sinks []*foldSink
	reach uint64 // of the dispatchers
}

type foldSink struct {
	name     string
	position uint64
	flying   []Event // read and not accepted, in order
	told     map[uint64]bool
	occupied map[string]uint64 // channel to seq, as the receiver believes
}

func newFoldWorld(seed uint64) *foldWorld {
	w := &foldWorld{rand: rand.New(rand.NewPCG(seed, 1)), state: newState(), reach: 6}
	w.state.reach = w.reach
	w.state.init(clusterInit{"cluster-a", 4})
	for i := range 1 + w.rand.IntN(3) {
		s := &foldSink{name: fmt.Sprint("sink", i), told: map[uint64]bool{}, occupied: map[string]uint64{}}
		w.state.cursors.ensure(s.name, 1)
		w.sinks = append(w.sinks, s)
	}
	return w
}

func (w *foldWorld) transition() {
	name := fmt.Sprint(w.rand.IntN(6))
	t := rawTransition{Kind(1 + w.rand.IntN(4)), []byte("app"), []byte(name), 7}
	w.state.transition(ring.Partition(ring.Hash("app", name), 4), &t)
}

// command applies an entry of the log.
func (w *foldWorld) command(b []byte) error {
	_, _, err := w.state.apply(b)
	return err
}

// read lets a sink read on.
func (w *foldWorld) read(k *foldSink) {
	bound := w.state.cursors[k.name] + w.reach
	store := &Store{fsm: &fsm{state: w.state}}
	first, last, events, err := store.Events(k.position, 1+w.rand.IntN(4))
	end := last
	if errors.Is(err, ErrCompacted) {
		limit := 1 + w.rand.IntN(4)
		_, events = store.Folded(k.position, limit)
		if end = first - 1; len(events) == limit {
			end = events[limit-1].Seq
		}
	} else if len(events) > 0 {
		end = events[len(events)-1].Seq
	}
	for _, e := range events {
		if e.Seq <= bound {
			k.flying = append(k.flying, e)
		}
	}
	k.position = max(k.position, min(end, bound))
}

// deliver sends the oldest event under way of some channel.
func (w *foldWorld) deliver(k *foldSink) error {
	if len(k.flying) == 0 {
		return nil
	}
	channel := k.flying[w.rand.IntN(len(k.flying))].Channel
	for i, e := range k.flying {
		if e.Channel == channel {
			k.flying = append(k.flying[:i:i], k.flying[i+1:]...)
			return k.receive(e)
		}
	}
	return nil
}

func (k *foldSink) receive(e Event) error {
	if k.told[e.Seq] {
		return nil
	}
	k.told[e.Seq] = true
	name := e.Channel
	if e.Kind >= Opened {
		name = openMark + name
	}
	seq, occupied := k.occupied[name]
	switch {
	case !e.Kind.ends() && !occupied:
		k.occupied[name] = e.Seq
	case e.Kind.ends() && occupied && seq == e.Ends:
		delete(k.occupied, name)
	default:
		return fmt.Errorf("%s got %+v where %d, %v was occupied", k.name, e, seq, occupied)
	}
	return nil
}

func (w *foldWorld) commit(k *foldSink) error {
	seq := k.position
	if len(k.flying) > 0 {
		seq = k.flying[0].Seq - 1
	}
	return w.command(cursorChange{k.name, seq}.append(nil, cmdCursorSet))
}

// restart is a crash, or a change of leadership: what was under way is forgotten.
func (w *foldWorld) restart(k *foldSink) { k.position, k.flying = w.state.cursors[k.name], nil }

func (w *foldWorld) step() error {
	k := w.sinks[w.rand.IntN(len(w.sinks))]
	if k.name == "sink2" && w.rand.IntN(40) > 0 {
		k = w.sinks[0] // one that is down most of the time
	}
	switch n := w.rand.IntN(100); {
	case n < 40:
		w.transition()
	case n < 55:
		w.read(k)
	case n < 75:
		return w.deliver(k)
	case n < 83:
		return w.commit(k)
	case n < 87:
		w.restart(k)
	case n < 90:
		seq := w.rand.Uint64N(w.state.events.last + 1)
		w.restart(k)
		if err := w.command(cursorChange{k.name, seq}.append(nil, cmdCursorRewind)); err != nil {
			return err
		}
		w.restart(k)
	case n < 93:
		return w.command(appendTrim(nil, w.rand.Uint64N(w.state.events.last+1)))
	case n < 97:
		return w.command(appendFold(nil, w.rand.Uint64N(w.state.events.last+1)))
	default:
		return w.reload()
	}
	return nil
}

// reload goes on with what a snapshot says.
func (w *foldWorld) reload() error {
	var b, again bytes.Buffer
	if err := w.state.snapshot().write(&b); err != nil {
		return err
	}
	s, err := readState(bytes.NewReader(b.Bytes()))
	if err != nil {
		return err
	}
	s.reach = w.state.reach
	if err := s.snapshot().write(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		return fmt.Errorf("the snapshot reads back as another (%v)", err)
	}
	w.state = s
	return nil
}

// settle serves all sinks to the end, and compares what the receivers believe with what is so.
func (w *foldWorld) settle() error {
	want := map[string]uint64{}
	for _, p := range w.state.parts {
		p.freeze().after(key{}, func(e entry) bool { want[string(e.name)] = e.seq; return true })
	}
	for _, p := range w.state.open {
		p.freeze().after(key{}, func(e entry) bool { want[openMark+string(e.name)] = e.seq; return true })
	}
	for _, k := range w.sinks {
		for w.state.cursors[k.name] < w.state.events.last {
			w.read(k)
			for len(k.flying) > 0 {
				if err := w.deliver(k); err != nil {
					return err
				}
			}
			if err := w.commit(k); err != nil {
				return err
			}
		}
		if fmt.Sprint(k.occupied) != fmt.Sprint(want) {
			return fmt.Errorf("%s believes %v, so is %v", k.name, k.occupied, want)
		}
	}
	if w.state.fold.count > 0 {
		return fmt.Errorf("%d events are folded for nobody", w.state.fold.count)
	}
	return nil
}

func (w *foldWorld) run(spoil func(*foldWorld)) error {
	for range 300 {
		spoil(w)
		if err := w.step(); err != nil {
			return err
		}
	}
	spoil(w)
	return w.settle()
}

// TestFoldKeepsSinksRight: whatever is given up while sinks are behind, and wherever they crash, what they get of each
// channel alternates, and in the end they are right about all of them.
func TestFoldKeepsSinksRight(t *testing.T) {
	folded := 0
	for seed := range uint64(1500) {
		w := newFoldWorld(seed)
		if err := w.run(func(w *foldWorld) { folded += w.state.fold.count }); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	if folded < 10_000 {
		t.Errorf("only %d events were ever folded", folded)
	}
}

// TestFoldMutants: each of the things that a fold remembers is needed.
func TestFoldMutants(t *testing.T) {
	for name, spoil := range map[string]func(*foldWorld){
		"cursors taken for all that was sent": func(w *foldWorld) { w.state.reach = 0 },
		"replays forgotten":                   func(w *foldWorld) { clear(w.state.rewound) },
		"dispatchers reach too far":           func(w *foldWorld) { w.reach = 12 },
		"nothing folded":                      func(w *foldWorld) { w.state.fold = fold{} },
		"another's cursor does not count": func(w *foldWorld) {
			if f := w.state.fold; f.count > 1 { // as if the slowest had what the others have
				var short foldWriter
				f.walk(0, func(e *rawEvent, raw []byte) bool {
					if e.seq > w.state.cursors["sink0"] {
						short.add(e.seq, raw)
					}
					return true
				})
				w.state.fold = short.fold
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(1500) {
				if newFoldWorld(seed).run(spoil) != nil {
					return
				}
			}
			t.Error("nothing noticed it")
		})
	}
}

// TestFoldIsBounded: what is kept for a sink that is down does not grow with what happens.
func TestFoldIsBounded(t *testing.T) {
	s := newState()
	s.reach = 100
	s.init(clusterInit{"cluster", 4})
	s.cursors.ensure("hook", 1)
	change := func(kind Kind, name string) {
		tr := rawTransition{kind, []byte("app"), []byte(name), 7}
		s.transition(ring.Partition(ring.Hash("app", name), 4), &tr)
	}
	for i := range 1000 {
		change(Occupied, fmt.Sprint("known-", i))
	}
	s.cursors.set("hook", 1000, 1000)
	for round := range 30 {
		for i := range 2000 {
			change(Occupied, fmt.Sprintf("brief-%d-%d", round, i))
			change(Vacated, fmt.Sprintf("brief-%d-%d", round, i))
		}
		change(Vacated, fmt.Sprint("known-", round))
		s.forget(s.events.last)
		if most := 1000 + 100; s.fold.count > most {
			t.Fatalf("round %d: %d events are folded, at most %d should be", round, s.fold.count, most)
		}
	}
	owed := map[string]bool{}
	s.fold.walk(0, func(e *rawEvent, _ []byte) bool {
		if strings.HasPrefix(string(e.name), "known-") {
			owed[string(e.name)] = e.kind == Vacated
		}
		return true
	})
	if len(owed) != 30 {
		t.Errorf("of the 30 channels that the sink knew and that are vacant, %d are folded", len(owed))
	}
}

func TestGoldenFold(t *testing.T) {
	s := newState()
	for _, c := range goldenCommands() {
		if _, _, err := s.apply(c.b); err != nil {
			t.Fatal(err)
		}
	}
	s.reach = 0
	if _, _, err := s.apply(cursorChange{"webhook", 5}.append(nil, cmdCursorSet)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.apply(cursorChange{"webhook", 3}.append(nil, cmdCursorRewind)); err != nil {
		t.Fatal(err)
	}
	s.former = []formerCluster{{"former-cluster", 3}}
	b := golden(t, filepath.Join("commands", "fold"), appendFold(nil, 4))
	if result, placed, err := s.apply(b); result != nil || placed || err != nil || s.events.first != 5 {
		t.Errorf("got %v, %v, %v, first %d", result, placed, err, s.events.first)
	}
	b = golden(t, "snapshot-fold", snapshotBytes(t, s))
	r, err := readState(bytes.NewReader(b))
	if err != nil || !bytes.Equal(snapshotBytes(t, r), b) {
		t.Fatalf("snapshot reads back as another: %v", err)
	}
	gap, events := (&Store{fsm: &fsm{state: r}}).Folded(3, 0)
	if gap != (Gap{"01234567-gap-4-4", 4, 4}) || len(events) != 1 || events[0].ID != "01234567-4" || r.eventIDs().of(3) != "former-c-3" {
		t.Errorf("got %+v, %+v", gap, events)
	}
}

// TestRetentionMax: a leader gives events up when there are more than are kept at most, and not before.
func TestRetentionMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(cfg *Config) { cfg.Retention, cfg.RetentionMax = 100, 400 })
		defer func() { c.close() }()
		leader, s := c.leader()
		c.own(func(uint32) string { return leader })
		ctx := context.Background()
		if _, err := s.EnsureCursor(ctx, "hook"); err != nil {
			t.Fatal(err)
		}
		var p proposals
		churn := func(from, to int) {
			for i := from; i < to; i++ {
				p.propose(s, Occupied, fmt.Sprint("chan-", i))
				p.propose(s, Vacated, fmt.Sprint("chan-", i))
			}
			p.wait(t)
			synctest.Wait()
		}
		churn(0, 200)
		if st := s.Stats(); st.FirstEvent != 1 || st.LastEvent != 400 || st.Folded != 0 {
			t.Errorf("while not too many: events %d to %d, %d folded", st.FirstEvent, st.LastEvent, st.Folded)
		}
		churn(200, 600)
		for id, other := range c.stores {
			for other.Stats().AppliedIndex < s.Stats().LastIndex {
				time.Sleep(time.Millisecond)
			}
			st := other.Stats()
			if kept := st.LastEvent + 1 - st.FirstEvent; st.LastEvent != 1200 || kept > 400 || kept < 375 || st.Folded == 0 {
				t.Errorf("%s: events %d to %d, %d folded", id, st.FirstEvent, st.LastEvent, st.Folded)
			}
		}
		gap, events := s.Folded(0, 10)
		if gap.From != 1 || gap.To != s.Stats().FirstEvent-1 || len(events) != 10 || events[9].Seq != 10 {
			t.Errorf("gap %+v, %d events", gap, len(events))
		}
		if err := s.SetCursor(ctx, "hook", gap.To); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Folded != 0 {
			t.Errorf("%d events are folded for nobody", st.Folded)
		}
	})
}

func TestExcess(t *testing.T) {
	s := &Store{config: Config{RetentionMax: 1 << 30, RetentionMaxBytes: 1 << 30}}
	l := eventLog{first: 1}
	for i := range 10 * chunkEvents {
		l.append(&rawTransition{Occupied, []byte("app"), []byte("channel"), int64(i)}, 0, 0)
	}
	bytes := 0
	for _, c := range l.chunks {
		bytes += c.bytes()
	}
	if l.bytes() != bytes {
		t.Fatalf("counted %d bytes, there are %d", l.bytes(), bytes)
	}
	if got := s.excess(l.view(), l.bytes()); got != 0 {
		t.Errorf("nothing is too much, got %d", got)
	}
	s.config.RetentionMaxBytes = bytes / 2
	upTo := s.excess(l.view(), l.bytes())
	l.trim(upTo)
	if upTo%chunkEvents != chunkEvents-1 || l.bytes() > bytes/2 || l.bytes() < bytes/4 {
		t.Errorf("trimmed to %d: %d bytes of %d", upTo, l.bytes(), bytes)
	}
	if got := s.excess(l.view(), l.bytes()); got != 0 {
		t.Errorf("after the trim there is nothing to do, got %d", got)
	}
	synctest.Test(t, func(t *testing.T) {
		s.config = Config{RetentionMax: 1 << 30, RetentionMaxBytes: 1 << 30, RetentionAge: 1600 * 1e6}
		l := eventLog{first: 1}
		now := time.Now().UnixMilli()
		for i := range 3000 {
			l.append(&rawTransition{Occupied, []byte("app"), []byte("channel"), now - 3000 + int64(i)}, 0, 0)
		}
		upTo := s.excess(l.view(), 0)
		if upTo != 1400 {
			t.Errorf("events up to %d are too old, want 1400", upTo)
		}
		l.trim(upTo)
		if got := s.excess(l.view(), 0); got != 0 {
			t.Errorf("after the trim there is nothing to do, got %d", got)
		}
	})
}
