package dispatch

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A rule that comes back while the log refuses to drop its cursor keeps the cursor.
func TestRuleThatComesBackKeepsItsCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		var refusing atomic.Bool
		refusing.Store(true)
		drops := 0
		log.drop = func() error {
			if refusing.Load() {
				return errors.New("no quorum")
			}
			drops++
			return nil
		}
		d := start(t, log, sink, rule())
		last := log.occupy(names(10)...)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		d.Remove("demo", "state")
		time.Sleep(time.Second)
		if err := d.Put(rule()); err != nil {
			t.Fatal(err)
		}
		refusing.Store(false)
		time.Sleep(time.Minute)
		last = log.occupy(names(10)...)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		expectOnce(t, sink.take(), last)
		if drops > 0 {
			t.Errorf("the cursor was dropped %d times", drops)
		}
	})
}

// A rule that comes back while its cursor is being dropped gets another one, and does not begin from the beginning.
func TestRuleGetsAnotherCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		d := start(t, log, sink, rule())
		last := log.occupy(names(100)...)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		log.drop = func() error {
			time.Sleep(3 * time.Millisecond)
			return nil
		}
		d.Remove("demo", "state")
		time.Sleep(time.Millisecond)
		if err := d.Put(rule()); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			last = log.occupy(names(1000)...)
			time.Sleep(100 * time.Millisecond)
		}
		eventually(t, "all committed", func() bool { return log.cursor("demo/state") == last })
		got := sink.take()
		expectAll(t, got, last)
		if again := len(got) - int(last); again > 2000 {
			t.Errorf("%d of %d events were sent again", again, last)
		}
	})
}
