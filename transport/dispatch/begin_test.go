package dispatch

import (
	"testing"
	"testing/synctest"
	"time"
)

// offLog has events 1 to 9; the rule was off from 3 to 7.
func offLog() (*fakeLog, Rule) {
	log := newFakeLog()
	log.occupy(names(9)...)
	r := rule()
	r.After, r.GapFrom, r.Lanes = 7, 3, 1
	return log, r
}

func TestRuleThatWasOffTellsSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, r := offLog()
		sink := &fakeSink{}
		sink.set(always(503, "down"))
		d := build(t, Config{Log: log, Client: clientOf(sink), Rules: []Rule{r}})
		d.Lead(true)
		eventually(t, "tried", func() bool { return sink.count() > 3 })
		d.Lead(false)
		d.Lead(true) // the next leader owes it, too
		time.Sleep(time.Second)
		sink.set(nil)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
		if got, want := ids(sink.take()), "c1-gap-3-7 c1-8 c1-9"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		d.Lead(false)
		d.Lead(true)
		last := log.occupy("more")
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		if got, want := ids(sink.take()), "c1-gap-3-7 c1-8 c1-9 c1-10"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// What a sink missed while its rule was off is sent when somebody asks for it.
func TestReplayOfWhatWasMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, r := offLog()
		sink := &fakeSink{}
		d := start(t, log, sink, r)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
		for _, from := range []uint64{3, 7} {
			sink.got = nil
			if err := d.Replay(t.Context(), "demo", "state", from); err != nil {
				t.Fatal(err)
			}
			eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
			if got := sink.take(); len(got) != int(10-from) || got[0].Seq != from {
				t.Errorf("from %d: got %s", from, ids(got))
			}
		}
	})
}

// A replay does not make a gap forgotten that the sink was not told of yet.
func TestReplayBeforeTheGapIsTold(t *testing.T) {
	for _, from := range []uint64{2, 6} {
		synctest.Test(t, func(t *testing.T) {
			log, r := offLog()
			sink := &fakeSink{}
			sink.set(always(503, "down"))
			d := start(t, log, sink, r)
			eventually(t, "tried", func() bool { return sink.count() > 1 })
			if err := d.Replay(t.Context(), "demo", "state", from); err != nil {
				t.Fatal(err)
			}
			sink.set(nil)
			eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
			got := sink.take()
			if got[0].ID != "c1-gap-3-7" || got[1].Seq > from || len(got) != int(11-got[1].Seq) {
				t.Errorf("from %d: got %s", from, ids(got))
			}
		})
	}
}

// Events that the log gave up before a new rule had a cursor are told of, and so are those from before it was on again.
func TestRuleThatComesLate(t *testing.T) {
	for _, test := range []struct {
		gapFrom uint64
		want    string
	}{
		{0, "c1-gap-3-5 c1-6 c1-7 c1-8 c1-9"},
		{1, "c1-gap-1-5 c1-6 c1-7 c1-8 c1-9"},
	} {
		synctest.Test(t, func(t *testing.T) {
			log, r := offLog()
			log.forget(6)
			r.After, r.GapFrom = 2, test.gapFrom
			sink := &fakeSink{}
			start(t, log, sink, r)
			eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
			if got := ids(sink.take()); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
