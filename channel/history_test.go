package channel

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var keeping = Settings{VacateDelay: 5 * time.Second, IdleClose: 60 * time.Second, OccupancyInterval: 2 * time.Second, Retention: 2 * time.Minute}

// say publishes under an id and returns the serial it was answered with.
func (st *stand) say(g Gateway, id, text string) string {
	st.t.Helper()
	p := &Publish{App: "app", Name: "room", Req: 7, ID: id, Messages: []Message{{Kind: StringData, Data: []byte(text)}}}
	effects := st.s.Step(st.now, Input{Kind: InPublish, From: g, Publish: p}, nil)
	a, ok := effects[len(effects)-1].Message.(*Published)
	if !ok || a.Refusal != Accepted {
		st.t.Fatalf("publish answered with %+v", effects)
	}
	return a.Serial
}

func (st *stand) recall(q History) *HistoryResult {
	st.t.Helper()
	return st.s.Step(st.now, Input{Kind: InHistory, From: gwA, History: &q}, nil)[0].Message.(*HistoryResult)
}

// texts is what a result holds, in short.
func texts(r *HistoryResult) string {
	var list []string
	for _, d := range r.Deliveries {
		list = append(list, string(d.Messages[0].Data))
	}
	return strings.Join(list, " ")
}

func TestHistoryIsRecalled(t *testing.T) {
	st := newStand(t, keeping)
	serials := map[string]string{}
	for _, text := range []string{"a", "b", "c", "d"} {
		serials[text] = st.say(gwB, "id-"+text, text)
		st.after(time.Second)
	}
	at := func(i int64) int64 { return 1_700_000_000_000 + 1000*i }
	for want, q := range map[string]History{
		"a b c d":    {},
		"d c b a":    {Backwards: true},
		"c d":        {After: serials["b"]},
		"d c":        {After: serials["b"], Backwards: true},
		"b a":        {Until: serials["b"], Backwards: true},
		"b c":        {After: serials["a"], Until: serials["c"]},
		"b c d":      {StartMs: at(1)},
		"a b":        {EndMs: at(1)},
		"c b":        {StartMs: at(1), EndMs: at(2), Backwards: true},
		"a b (more)": {Limit: 2},
		"d (more)":   {Limit: 1, Backwards: true},
		"":           {After: serials["d"]},
	} {
		r := st.recall(q)
		got := texts(r)
		if r.More {
			got += " (more)"
		}
		if got != want || !r.Complete || r.Serial != serials["d"] {
			t.Errorf("%+v: %q complete=%v at %s, want %q", q, got, r.Complete, r.Serial, want)
		}
	}
}

func TestDeliveriesAreChained(t *testing.T) {
	st := newStand(t, keeping)
	st.step(reg(gwA, 1, 1, 1, "c"), "occupy")
	r := st.s.Step(st.now, committed, nil)[0].Message.(*Registered)
	at := SerialPosition(r.Serial)
	for i := range 5 {
		st.after(time.Duration(i%2) * time.Second)
		p := &Publish{App: "app", Name: "room", ID: fmt.Sprint(i)}
		d := st.s.Step(st.now, Input{Kind: InPublish, From: gwB, Publish: p}, nil)[0].Message.(*Delivery)
		if d.Prev != at {
			t.Fatalf("publish %d comes after %s, want %s", i, d.Prev, at)
		}
		at = SerialPosition(d.Serial)
	}
}

func TestPublishSaidAgainIsAnsweredAsBefore(t *testing.T) {
	st := newStand(t, keeping)
	st.step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed)
	first := map[int]string{}
	for i := range 3 * indexFrom { // looked up in the list, then in the map
		first[i] = st.say(gwB, fmt.Sprint("id", i), "x")
		st.after(time.Second)
	}
	for i, serial := range first {
		if got := st.say(gwB, fmt.Sprint("id", i), "x"); got != serial {
			t.Errorf("id%d was %s, said again it is %s", i, serial, got)
		}
	}
	if n := len(st.recall(History{}).Deliveries); n != len(first) {
		t.Errorf("%d publishes are kept of %d", n, len(first))
	}
	if a, b := st.say(gwB, "", "x"), st.say(gwB, "", "x"); a == b {
		t.Error("publishes without id are taken for one")
	}
	st.after(keeping.Retention + time.Second)
	if got := st.say(gwB, "id1", "x"); got == first[1] {
		t.Error("known again after the retention")
	}
}

func TestHistoryExpires(t *testing.T) {
	st := newStand(t, keeping)
	old := st.say(gwB, "1", "old")
	st.after(time.Minute)
	st.say(gwB, "2", "new")
	if r := st.recall(History{After: old}); !r.Complete || texts(r) != "new" {
		t.Fatalf("%+v", r)
	}
	st.after(61 * time.Second).tick().wakes(0*time.Second + 59*time.Second + keeping.Retention/expirySlack)
	if r := st.recall(History{}); texts(r) != "new" {
		t.Fatalf("after a minute and more: %q", texts(r))
	}
	if r := st.recall(History{After: "01699999999999-000@x"}); r.Complete {
		t.Error("complete from before what has expired")
	}
	st.after(2 * time.Minute).tick().wakes(0)
	if !st.s.Done() || st.s.past != nil {
		t.Errorf("an empty history is still something: %+v", st.s.past)
	}
}

func TestChannelWithHistoryIsNotOpenButStays(t *testing.T) {
	st := newStand(t, keeping)
	st.say(gwB, "1", "x")
	st.after(keeping.IdleClose).tick()
	if st.s.Open() || st.s.Done() {
		t.Errorf("open=%v done=%v, want closed and kept", st.s.Open(), st.s.Done())
	}
}

func TestHistoryIsBounded(t *testing.T) {
	st := newStand(t, keeping)
	big := strings.Repeat("x", 64<<10)
	var serials []string
	for i := range 100 {
		serials = append(serials, st.say(gwB, fmt.Sprint(i), big))
	}
	h := st.s.past
	if h.bytes > historyBytes || len(h.visible()) < 50 || h.bytes != (64<<10+entryCost+messageCost)*len(h.visible()) {
		t.Errorf("%d bytes in %d publishes", h.bytes, len(h.visible()))
	}
	if r := st.recall(History{After: serials[0]}); r.Complete {
		t.Error("complete although the oldest went")
	}
	if r := st.recall(History{After: serials[99-10]}); !r.Complete {
		t.Error("incomplete although all of it is there")
	}
	if got := st.say(gwB, "0", big); got != serials[0] {
		t.Error("an id went with its messages")
	}
}

func TestNewOwnerSaysWhatItDoesNotKnow(t *testing.T) {
	for seen, lost := range map[string]bool{
		"":                     false,
		"01699999990000-999@y": true,  // given by an owner before
		"01700000000000-999@x": false, // given here
		"01700000000000-001@x": true,  // of a publish that would be kept, and is not
	} {
		st := newStand(t, keeping)
		st.s.Remember(Stamp{ms: st.now.UnixMs}, st.now.UnixMs)
		in := reg(gwA, 1, 1, 1, "cf")
		in.Register.Serial = seen
		st.step(in, "occupy")
		if r := st.s.Step(st.now, committed, nil)[0].Message.(*Registered); r.Lost != lost {
			t.Errorf("from %q: lost=%v, want %v", seen, r.Lost, lost)
		}
	}
}

// A position that the owner does not know was given by an owner before, of whose last publishes there is no copy. Nobody
// is told that all is well: not who asks, and not those who were there already.
func TestSeenWithoutACopy(t *testing.T) {
	before, beyond := "01700000000000-000@y", "01700000001000-000@y"
	fresh := func(g Gateway, seen string) Input {
		in := reg(g, 1, 1, 1, "f")
		in.Register.Serial = seen
		return in
	}
	for _, seen := range [][]string{{before, beyond}, {beyond, before}, {before, before}} {
		st := newStand(t, keeping)
		st.s.Remember(Stamp{ms: 1}, st.now.UnixMs)
		st.s.adopt(&copied{history: history{entries: []entry{{stamp: parseSerial(before), d: &Delivery{Serial: before}}}}})
		st.s.Step(st.now, fresh(gwA, seen[0]), nil)
		st.s.Step(st.now, fresh(gwB, seen[1]), nil)
		told := map[Gateway]bool{}
		for _, v := range []Gateway{gwA, gwB} {
			told[v] = st.s.held.find(v).lost
		}
		if want := seen[0] != seen[1]; told[gwA] != want || told[gwB] != want {
			t.Errorf("seen %v: told %v, want %v", seen, told, want)
		}
	}

	st := newStand(t, keeping)
	st.s.Remember(Stamp{ms: 1}, st.now.UnixMs)
	ask := func(after string) bool {
		in := Input{Kind: InHistory, From: gwA, History: &History{App: "app", Name: "room", Req: 1, After: after}}
		return st.s.Step(st.now, in, nil)[0].Message.(*HistoryResult).Complete
	}
	// On a channel on which nothing was said, a point that is not ahead of it is believed, and asking moves nothing.
	point := "01700000000000-999@y"
	if ask(point) || ask(beyond) {
		t.Error("the owner vouches for what it does not know")
	}
	st.s.Step(st.now, reg(gwA, 1, 1, 1, "c"), nil)
	st.s.Step(st.now, committed, nil)
	if !ask(point) || ask(beyond) || !ask(point) || ask("01700000001000-999@y") {
		t.Error("the owner vouches for what it does not know, or not for what it does")
	}
	// A publish that would still be kept is not, if the copy is empty.
	st = newStand(t, keeping)
	st.s.Remember(Stamp{ms: 1}, st.now.UnixMs)
	if ask(before) {
		t.Error("the owner vouches for a publish that it has no copy of")
	}
}

// What was seen without a copy may be published again: it comes out of its place for who has seen it, so that the gateway
// asks, and tells its clients of the gap first.
func TestSaidAgainWithoutACopy(t *testing.T) {
	st := newStand(t, keeping)
	seen := Stamp{ms: st.now.UnixMs, n: 5}
	st.s.Remember(Stamp{ms: 1}, st.now.UnixMs)
	in := reg(gwA, 1, 1, 1, "f")
	in.Register.Serial = seen.serial("y")
	st.s.Step(st.now, in, nil)
	st.s.Step(st.now, committed, nil)
	var d *Delivery
	for _, e := range st.s.Step(st.now, pubID(gwB, "again"), nil) {
		if m, ok := e.Message.(*Delivery); ok && e.To == gwA {
			d = m
		}
	}
	if d == nil || d.Prev == SerialPosition(seen.serial("y")) || !seen.less(parseSerial(d.Serial)) {
		t.Fatalf("delivered %+v to who has seen %s", d, seen.serial("y"))
	}
	ask := Input{Kind: InHistory, From: gwA, History: &History{App: "app", Name: "room", Req: 1, After: seen.serial("y"), Raw: true}}
	r := st.s.Step(st.now, ask, nil)[0].Message.(*HistoryResult)
	if r.Complete || len(r.Deliveries) != 1 {
		t.Errorf("asked for what is missing: complete %v, %d deliveries", r.Complete, len(r.Deliveries))
	}
}

// short is the effects of an input in short; "copy" is a Delivery for the follower.
func (st *stand) short(in Input) string {
	var list []string
	for _, e := range st.s.Step(st.now, in, nil) {
		if e.Copy != 0 {
			list = append(list, [...]string{ToWhole: "copy", ToGrowing: "grow", ToWhole | ToGrowing: "copy both"}[e.Copy])
		} else {
			list = append(list, brief(e))
		}
	}
	return strings.Join(list, ", ")
}

func (st *stand) wants(in Input, want string) *stand {
	st.t.Helper()
	if got := st.short(in); got != want {
		st.t.Fatalf("got %q, want %q", got, want)
	}
	return st
}

func pubID(g Gateway, id string) Input {
	return Input{Kind: InPublish, From: g, Publish: &Publish{App: "app", Name: "room", Req: 7, ID: id, Messages: []Message{{Name: id}}}}
}

// Nothing is shown or acknowledged before the follower has it.
func TestPublishWaitsForItsCopy(t *testing.T) {
	st := newStand(t, keeping)
	st.step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed)
	st.wants(pubID(gwB, "0"), "deliver A, published B") // no follower
	st.now.Growing = 3
	st.wants(pubID(gwB, "1"), "deliver A, published B") // one that has nothing of this channel yet
	// One of another stream says nothing.
	st.wants(Input{Kind: InCopyAll, Stream: 2}, "").
		wants(Input{Kind: InCopyAll, Stream: 3}, "grow, grow")
	st.wants(pubID(gwB, "2"), "grow, deliver A, published B") // it is not waited for yet
	st.now.Stream, st.now.Growing = 3, 0
	shown := st.s.shown
	st.wants(pubID(gwB, "3"), "copy").
		wants(pubID(gwB, "4"), "copy").
		wants(pubID(gwC, "3"), "") // said again while it waits
	if r := st.recall(History{}); len(r.Deliveries) != 3 || r.Serial != shown.serial("x") {
		t.Errorf("%d publishes are shown, at %s", len(r.Deliveries), r.Serial)
	}
	third, fourth := st.s.past.entries[3].stamp, st.s.past.entries[4].stamp
	st.wants(Input{Kind: InCopied, Stream: 2, Copied: fourth}, "").
		wants(Input{Kind: InCopied, Stream: 3, Copied: third}, "deliver A, published B, published C")
	st.now.Leased = false
	st.wants(Input{Kind: InCopied, Stream: 3, Copied: fourth}, "").wakes(leaseRetry)
	st.now.Leased = true
	st.tick("deliver A", "published B")

	// The follower is gone: what waits is shown at once, and in order.
	st.wants(pubID(gwB, "5"), "copy")
	st.now.Stream = 0
	st.wants(pubID(gwB, "6"), "deliver A, published B, deliver A, published B")
	st.wants(Input{Kind: InCopied}, "")
	st.wants(pubID(gwB, "7"), "deliver A, published B")
	st.now.Growing = 4
	st.wants(Input{Kind: InCopyAll, Stream: 4}, strings.Repeat("grow, ", 7)+"grow")
	st.now.Stream, st.now.Growing = 4, 0
	st.wants(pubID(gwB, "8"), "copy")
	st.now.Stream = 0
	st.wants(Input{Kind: InCopied}, "deliver A, published B")
}

// Until another copy is whole the one before is waited for; then the other is, for what both were sent as well.
func TestPublishWaitsForOneCopyAfterTheOther(t *testing.T) {
	st := newStand(t, keeping)
	st.step(reg(gwA, 1, 1, 1, ""), "occupy").step(committed)
	st.now.Growing = 1
	st.wants(Input{Kind: InCopyAll, Stream: 1}, "")
	st.now.Stream, st.now.Growing = 1, 2
	st.wants(pubID(gwB, "0"), "copy") // not with the second yet
	st.wants(Input{Kind: InCopyAll, Stream: 2}, "grow")
	st.wants(pubID(gwB, "1"), "copy both").wants(pubID(gwB, "2"), "copy both").wants(pubID(gwB, "3"), "copy both")
	at := func(i int) Stamp { return st.s.past.entries[i].stamp }
	st.wants(Input{Kind: InCopied, Stream: 2, Copied: at(2)}, ""). // the first is the one that counts
									wants(Input{Kind: InCopied, Stream: 1, Copied: at(0)}, "deliver A, published B")
	st.now.Stream, st.now.Growing = 2, 0
	st.wants(Input{Kind: InCopied, Stream: 1, Copied: at(3)}, ""). // and counts no more
									wants(Input{Kind: InCopied, Stream: 2}, "deliver A, published B, deliver A, published B").
									wants(Input{Kind: InCopied, Stream: 2, Copied: at(3)}, "deliver A, published B")

	// A third: what the second has been sent and not confirmed goes along with what is old, and counts when it is whole.
	st.wants(pubID(gwB, "4"), "copy")
	st.now.Growing = 3
	st.wants(Input{Kind: InCopyAll, Stream: 3}, "grow, grow, grow, grow, grow")
	st.now.Stream, st.now.Growing = 3, 0
	st.wants(Input{Kind: InCopied, Stream: 3}, "deliver A, published B")
	// It is lost, and the word of that comes when the next one is whole already.
	st.now.Stream, st.now.Growing = 3, 4
	st.wants(Input{Kind: InCopyAll, Stream: 4}, "grow, grow, grow, grow, grow")
	st.wants(pubID(gwB, "5"), "copy both")
	st.now.Stream, st.now.Growing = 4, 0
	st.wants(Input{Kind: InCopied}, "").wants(Input{Kind: InCopied, Stream: 4}, "").
		wants(Input{Kind: InCopied, Stream: 4, Copied: at(5)}, "deliver A, published B")
}

func TestIDsOfAConnectionAreItsOwn(t *testing.T) {
	st := newStand(t, keeping)
	said := func(conn, id string) string {
		p := &Publish{App: "app", Name: "room", ConnID: conn, ID: id}
		effects := st.s.Step(st.now, Input{Kind: InPublish, From: gwA, Publish: p}, nil)
		return effects[len(effects)-1].Message.(*Published).Serial
	}
	stolen, own := said("thief", "victim:1"), said("victim", "victim:1")
	if stolen == own {
		t.Error("a publish was lost to somebody who used its id before")
	}
	if again := said("victim", "victim:1"); again != own {
		t.Errorf("said again it is %s, was %s", again, own)
	}
	if said("a", "order") != said("b", "order") || said("", "order") != said("a", "order") {
		t.Error("an id that a client chose is not known from another connection")
	}
}

// A long history goes out in parts, and what is published in between is in one of them or behind the last.
func TestCopyGrowsInParts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := newStand(t, keeping)
		st.now.Growing = 3
		copied := newReplica(1, 3, GatewayID{}, Stamp{}, Stamp{})
		after, turns, said := Stamp{}, 0, 0
		step := func(in Input) {
			sent := 0
			for _, e := range st.s.Step(st.now, in, nil) {
				if e.Copy != ToGrowing {
					continue
				}
				d := e.Message.(*Delivery)
				copied.add(&CopyPart{App: "app", Name: "room", Old: e.Old, Deliveries: []*Delivery{d}}, keeping, st.now.Since, st.now.UnixMs)
				if e.Old {
					after = parseSerial(d.Serial)
					sent += deliverySize(d)
				}
			}
			if most := partBytes + 40<<10; sent > most {
				rt.Fatalf("%d bytes at once", sent)
			}
		}
		say := func(most int) {
			for range rapid.IntRange(0, most).Draw(rt, "publishes") {
				p := pubID(gwB, fmt.Sprint(said))
				p.Publish.Messages[0].Data = make([]byte, rapid.IntRange(1, 30<<10).Draw(rt, "size"))
				st.now.UnixMs += int64(rapid.IntRange(0, 1).Draw(rt, "ms"))
				step(p)
				said++
			}
		}
		say(40)
		for joined := false; !joined; turns++ {
			step(Input{Kind: InCopyAll, Stream: 3, Copied: after})
			joined = st.s.joined(3)
			say(4)
			if turns > 100 {
				rt.Fatal("it never ends")
			}
		}
		say(3)
		var got, want []string
		if c := copied.channels[replicaKey{"app", "room"}]; c != nil {
			for _, e := range c.entries {
				got = append(got, e.d.ID)
			}
		}
		for i := range said {
			want = append(want, fmt.Sprint(i))
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("the copy has %q of %d publishes", got, said)
		}
	})
}
