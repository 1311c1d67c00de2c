package dispatch

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func seqs(got []received) (out []uint64) {
	for _, e := range got {
		out = append(out, e.Seq)
	}
	slices.Sort(out)
	return out
}

func TestReplaySendsAgainUnderTheSameIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		d := start(t, log, sink, rule())
		last := log.occupy(names(10)...)
		eventually(t, "all sent", func() bool { return log.cursor("demo/state") == last })
		if err := d.Replay(t.Context(), "demo", "state", 4); err != nil {
			t.Fatal(err)
		}
		eventually(t, "sent again", func() bool { return len(sink.take()) == 17 })
		got := sink.take()
		expectAll(t, got, last)
		if want := []uint64{4, 5, 6, 7, 8, 9, 10}; !slices.Equal(seqs(got[10:]), want) {
			t.Errorf("sent again %v, want %v", seqs(got[10:]), want)
		}
		last = log.occupy("chat:new")
		eventually(t, "goes on", func() bool { return log.cursor("demo/state") == last })
		if n := len(sink.take()); n != 18 {
			t.Errorf("%d events received in all, want 18", n)
		}
	})
}

// While a sink hangs its requests are given up for the replay; order and completeness hold.
func TestReplayWhileRequestsAreInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		d := start(t, log, sink, rule())
		last := log.occupy(names(10)...)
		eventually(t, "all sent", func() bool { return log.cursor("demo/state") == last })
		sink.set(hang)
		log.occupy(names(5)...)
		eventually(t, "in flight", func() bool { return sink.inFlight() > 0 })
		begin := time.Now()
		if err := d.Replay(t.Context(), "demo", "state", 1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("waited %v for a sink that hangs", took)
		}
		sink.set(nil)
		eventually(t, "all sent", func() bool { return log.cursor("demo/state") == 15 })
		if got := seqs(sink.take()); len(got) != 25 || got[1] != 1 || got[24] != 15 {
			t.Errorf("received %v", got)
		}
	})
}

func TestReplayThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		d := build(t, Config{Log: log, Client: clientOf(sink), Rules: []Rule{rule()}})
		log.occupy(names(10)...)
		log.forget(4)
		if err := d.Replay(t.Context(), "demo", "state", 5); !errors.Is(err, ErrNotLeading) {
			t.Errorf("without leading: %v", err)
		}
		d.Lead(true)
		eventually(t, "all sent", func() bool { return log.cursor("demo/state") == 10 })
		for _, from := range []uint64{0, 3, 11, 1 << 60} {
			err := d.Replay(t.Context(), "demo", "state", from)
			if r, ok := errors.AsType[*RangeError](err); !ok || *r != (RangeError{from, 4, 10}) {
				t.Errorf("from %d: %v", from, err)
			}
		}
		for _, id := range []string{"other", ""} {
			if err := d.Replay(t.Context(), "demo", id, 5); !errors.Is(err, ErrNoRule) {
				t.Errorf("rule %q: %v", id, err)
			}
		}
		log.setFail(errors.New("disk on fire"))
		if err := d.Replay(t.Context(), "demo", "state", 5); err == nil || err.Error() != "disk on fire" {
			t.Errorf("with a log that fails: %v", err)
		}
		// The log still fails, so that the rule's goroutine asks it for the cursor and hears nobody.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Replay(ctx, "demo", "state", 5); err == nil {
			t.Error("with a log that fails: no error")
		}
		done := make(chan error, 1)
		go func() { done <- d.Replay(t.Context(), "demo", "state", 5) }()
		synctest.Wait()
		d.Lead(false)
		if err := <-done; err == nil {
			t.Error("leadership lost: no error")
		}
		log.setFail(nil)
		d.Lead(true)
		eventually(t, "well again", func() bool { return d.Replay(t.Context(), "demo", "state", 10) == nil })
	})
}
