package channel

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What a History names changes nothing, whatever it is: of two channels to which the same happens, of which one is asked
// all the time from true and invented serials, both say the same. And an answer is only complete for who may stand there.
func TestSerialsOfClientsChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		asked, quiet := newStand(t, keeping), newStand(t, keeping)
		both := []*stand{asked, quiet}
		begin := Stamp{ms: asked.now.UnixMs - rapid.Int64Range(0, 300_000).Draw(rt, "since")}
		floor := Stamp{ms: asked.now.UnixMs - rapid.Int64Range(-5000, 300_000).Draw(rt, "floor")}
		for _, st := range both {
			st.s = NewState("app", "room", st.s.profile, floor)
			st.s.Remember(begin, st.now.UnixMs)
		}
		given := []string{} // to publishes
		told := []string{}  // to gateways as well
		step := func(in func() Input) {
			var effects [2][]Effect
			for i, st := range both {
				effects[i] = st.s.Step(st.now, in(), nil)
			}
			if !reflect.DeepEqual(effects[0], effects[1]) {
				rt.Fatalf("it does\n%s\nand had it not been asked\n%s", long(effects[0]), long(effects[1]))
			}
			for _, e := range effects[0] {
				switch m := e.Message.(type) {
				case *Published:
					given, told = append(given, m.Serial), append(told, m.Serial)
				case *Registered:
					told = append(told, m.Serial)
				}
			}
		}
		var version uint64
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1:
				id := fmt.Sprint("id", len(given))
				step(func() Input { return pubID(gwB, id) })
			case 2:
				version++
				seen := ""
				if len(told) > 0 {
					seen = rapid.SampledFrom(append(told, "")).Draw(rt, "seen")
				}
				flags := rapid.SampledFrom([]string{"", "c", "f", "cf"}).Draw(rt, "flags")
				from := rapid.SampledFrom([]Gateway{gwA, gwB}).Draw(rt, "from")
				step(func() Input {
					in := reg(from, version, 1, 1, flags)
					in.Register.Serial = seen
					return in
				})
				step(func() Input { return committed })
			case 3:
				d := time.Duration(rapid.IntRange(0, 100).Draw(rt, "seconds")) * time.Second
				for _, st := range both {
					st.after(d)
				}
				step(func() Input { return Input{Kind: InTick} })
			default:
				q := History{App: "app", Name: "room", Raw: rapid.Bool().Draw(rt, "raw"), Backwards: rapid.IntRange(0, 4).Draw(rt, "direction") == 0}
				if len(told) > 0 && rapid.Bool().Draw(rt, "honest") {
					q.After = rapid.SampledFrom(told).Draw(rt, "after")
				} else {
					q.After = drawForged(rt, asked.now.UnixMs, told)
				}
				checkAnswer(rt, asked, &q, given)
			}
		}
	})
}

// long writes effects with all that is in their messages.
func long(effects []Effect) string {
	var list []string
	for _, e := range effects {
		list = append(list, fmt.Sprintf("%+v %+v", e, reflect.Indirect(reflect.ValueOf(e.Message))))
	}
	return strings.Join(list, "\n")
}

// drawForged is a serial that a client may make up.
func drawForged(rt *rapid.T, unixMs int64, told []string) string {
	p := Stamp{ms: unixMs, n: uint16(rapid.SampledFrom([]int{0, 1, 2, countMax - 1, countMax}).Draw(rt, "count"))}
	switch rapid.IntRange(0, 4).Draw(rt, "kind") {
	case 0:
		p.ms += rapid.Int64Range(-200_000, 200_000).Draw(rt, "ms")
	case 1:
		p.ms = rapid.SampledFrom([]int64{0, 1, msMax - 1, msMax, msMax + 1, 99_999_999_999_999, 98_000_000_000_000}).Draw(rt, "ms")
	case 2: // right beside a true one
		if len(told) > 0 {
			p = parseSerial(rapid.SampledFrom(told).Draw(rt, "beside"))
			if p.n = p.n + 1; p.n > countMax {
				p = Stamp{ms: p.ms + 1}
			}
		}
	case 3:
		return rapid.SampledFrom([]string{"", "whatever", "-", "@", "01700000000000-0a0@x"}).Draw(rt, "text")
	}
	return p.serial("forged")
}

// checkAnswer asks, and judges whether the answer may call itself complete.
func checkAnswer(rt *rapid.T, st *stand, q *History, given []string) {
	r := st.s.Step(st.now, Input{Kind: InHistory, From: gwC, History: q}, nil)[0].Message.(*HistoryResult)
	after := parseSerial(q.After)
	if q.After == "" || q.Backwards || !r.Complete {
		return
	}
	real := slices.ContainsFunc(given, func(s string) bool { return parseSerial(s) == after })
	switch {
	case st.s.shown.less(after):
		rt.Fatalf("complete behind %s, which is ahead of %s", q.After, r.Serial)
	case !real && !after.isPoint() && after != st.s.since && after != st.s.expired:
		rt.Fatalf("complete behind %s, which nobody was given", q.After)
	}
	want := 0
	for _, s := range given {
		want += map[bool]int{true: 1}[after.less(parseSerial(s))]
	}
	if len(r.Deliveries) != want {
		rt.Fatalf("complete behind %s with %d publishes, there were %d", q.After, len(r.Deliveries), want)
	}
}

// A channel of which nothing was kept has gone on for an owner before, for clients of a gateway that went with it. Whoever
// comes back with a point of that time has missed nothing.
func TestPointsOfAnOwnerBeforeAreBelow(t *testing.T) {
	st := newStand(t, keeping)
	begun := st.now.UnixMs // of the copy, which knows of no serial that is greater
	st.s = NewState("app", "room", st.s.profile, Stamp{ms: begun})
	point := pointAt(begun + 20_000).serial("before")
	st.after(30 * time.Second)
	st.s.Remember(Stamp{ms: begun - 1000}, st.now.UnixMs)
	st.step(reg(gwA, 1, 1, 1, "c"), "occupy").step(committed, "confirm A v1 1/1")
	if r := st.recall(History{After: point}); !r.Complete {
		t.Errorf("not complete behind %s, the channel is at %s", point, r.Serial)
	}
}

// A gateway's word moves a channel ahead, but not where no owner can have been.
func TestGatewaysSerialsAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		seen func(now int64) Stamp
		lost bool
	}{
		"a clock a little ahead": {func(now int64) Stamp { return pointAt(now + 30_000) }, false},
		"at the bound":           {func(now int64) Stamp { return pointAt(now + aheadMax.Milliseconds()) }, false},
		"beyond it":              {func(now int64) Stamp { return pointAt(now + aheadMax.Milliseconds() + 1) }, true},
		"a year ahead":           {func(now int64) Stamp { return pointAt(now + 365*86_400_000) }, true},
		"all that can be read":   {func(int64) Stamp { return Stamp{ms: msMax, n: countMax - 1} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStand(t, keeping)
			st.s.Remember(Stamp{ms: 1}, st.now.UnixMs)
			seen := c.seen(st.now.UnixMs)
			in := reg(gwA, 1, 1, 1, "cf")
			in.Register.Serial = seen.serial("y")
			other := reg(gwB, 1, 1, 1, "cf")
			st.step(in, "occupy").step(other)
			for _, e := range st.s.Step(st.now, committed, nil) {
				r := e.Message.(*Registered)
				if want := c.lost && e.To == gwA; r.Lost != want {
					t.Errorf("gateway %d was told that it lost something: %v, want %v", e.To, r.Lost, want)
				}
				if at := parseSerial(r.Serial); c.lost == (at == seen) || at.ms > st.now.UnixMs+aheadMax.Milliseconds() {
					t.Errorf("it goes on from %s", r.Serial)
				}
			}
			last := ""
			for i := range 2000 {
				serial := st.say(gwB, fmt.Sprint(i), "x")
				if serial <= last || parseSerial(serial) == (Stamp{}) {
					t.Fatalf("%s follows %s", serial, last)
				}
				last = serial
			}
			if r := st.recall(History{After: last}); !r.Complete {
				t.Errorf("the channel does not know its own serial %s", last)
			}
		})
	}
}

// More says that there is more to give: what was published before and is shown with the message it changed is not.
func TestMoreIsWhatWouldBeGiven(t *testing.T) {
	st := watched(t, mutable)
	old, _ := st.publish(Publish{ID: "old", Messages: []Message{text("old", nil)}})
	st.after(time.Minute)
	if a, _ := st.edit("e", text("new", &Edit{Action: MessageUpdate, Serial: old.Serial + ":000"})); a.Refusal != Accepted {
		t.Fatal(a.Refusal)
	}
	st.publish(Publish{ID: "last", Messages: []Message{text("last", nil)}})
	for kept, more := range []bool{true, false} {
		if r := st.recall(History{Backwards: true, Limit: 1, Of: OnlyMessages}); len(r.Deliveries) != 1 || r.More != more {
			t.Errorf("%d minutes later: %d publishes, more: %v; want one, %v", 1+kept, len(r.Deliveries), r.More, more)
		}
		st.after(70 * time.Second)
	}
}
