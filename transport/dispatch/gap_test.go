package dispatch

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// gapLog has events 3 to 9 behind the rule's cursor, of which 3 to 6 are given up but for 4 and 5.
func gapLog() *fakeLog {
	log := newFakeLog()
	log.cursors["demo/state"] = 2
	log.occupy(names(9)...)
	log.folded = append(log.folded, log.events[3], log.events[4])
	log.forget(7)
	return log
}

func ids(got []received) string {
	var list []string
	for _, e := range got {
		list = append(list, e.ID)
	}
	return strings.Join(list, " ")
}

func TestGapIsToldBeforeWhatIsLeftOfIt(t *testing.T) {
	for _, test := range []struct {
		format Format
		want   string
	}{
		{Innkeeper, "c1-gap-3-6 c1-4 c1-5 c1-7 c1-8 c1-9"},
		{Centrifugo, "c1-4 c1-5 c1-7 c1-8 c1-9"},
	} {
		synctest.Test(t, func(t *testing.T) {
			log, sink := gapLog(), &fakeSink{}
			r := rule()
			r.Format, r.Lanes = test.format, 1
			d := start(t, log, sink, r)
			eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
			if got := ids(sink.take()); got != test.want {
				t.Errorf("%s: got %s, want %s", test.format, got, test.want)
			}
			if s := d.Status().Rules[0]; s.Gaps != 1 || s.Skipped != 2 || s.Sent != 5 {
				t.Errorf("%s: status is %+v, want 1 gap, 2 skipped, 5 sent", test.format, s)
			}
		})
	}
}

// TestGapIsAwaited: nothing of the range is sent, and no cursor moves, before the sink accepted the marker.
func TestGapIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := gapLog(), &fakeSink{}
		sink.set(always(503, "down"))
		d := start(t, log, sink, rule())
		eventually(t, "tried", func() bool { return sink.count() == 4 })
		if s := d.Status().Rules[0]; s.Failures < 3 || s.LastError == "" || log.cursor("demo/state") != 2 {
			t.Errorf("status is %+v", s)
		}
		d.Lead(false) // another leader starts with the marker again
		d.Lead(true)
		sink.set(nil)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
		if got := ids(sink.take()); !strings.HasPrefix(got, "c1-gap-3-6 ") || strings.Count(got, "gap") != 1 || len(sink.take()) != 6 {
			t.Errorf("got %s", got)
		}
	})
}

// TestGapGoesOnWhereTheCursorIs: a leader that dies in the middle of a gap leaves the rest of it to the next, which tells
// of the rest.
func TestGapGoesOnWhereTheCursorIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := gapLog(), &fakeSink{}
		r := rule()
		r.Lanes, r.Batch = 1, 1
		sink.set(func(_ *http.Request, events []received) (*http.Response, error) {
			if events[0].Seq == 5 {
				return reply(500, ""), nil
			}
			return reply(200, ""), nil
		})
		d := start(t, log, sink, r)
		eventually(t, "half", func() bool { return log.cursor("demo/state") == 4 })
		d.Close()
		sink.set(nil)
		start(t, log, sink, r)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
		if got, want := ids(sink.take()), "c1-gap-3-6 c1-4 c1-gap-5-6 c1-5 c1-7 c1-8 c1-9"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestGapThatGrows: what is given up while a gap is passed is another gap.
func TestGapThatGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := gapLog(), &fakeSink{}
		r := rule()
		r.Lanes = 1
		grown := false
		sink.set(func(_ *http.Request, events []received) (*http.Response, error) {
			if !grown && strings.Contains(events[0].ID, "gap") {
				grown = true
				log.forget(9)
			}
			return reply(200, ""), nil
		})
		start(t, log, sink, r)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
		if got, want := ids(sink.take()), "c1-gap-3-6 c1-gap-3-8 c1-4 c1-5 c1-9"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestNothingIsSentBeyondTheReach: the log takes it that what is far ahead of the cursor is unknown to the sink.
func TestNothingIsSentBeyondTheReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		var mu sync.Mutex
		most := uint64(0)
		sink.set(func(_ *http.Request, events []received) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range events {
				if most = max(most, e.Seq); e.Seq == 1 {
					return reply(500, ""), nil
				}
			}
			return reply(200, ""), nil
		})
		var many []string
		for i := range Reach + 5000 {
			many = append(many, fmt.Sprint("chat:", i%3))
		}
		last := log.occupy(many...)
		r := rule()
		r.Lanes = 8
		d := build(t, Config{Log: log, Client: clientOf(sink), Rules: []Rule{r}, Window: 10 * Reach})
		d.Lead(true)
		eventually(t, "stuck", func() bool { return d.Status().Rules[0].LastSent > Reach-4 })
		synctest.Wait()
		mu.Lock()
		if most > Reach {
			t.Errorf("seq %d was sent while the cursor was 0", most)
		}
		mu.Unlock()
		sink.set(nil)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
	})
}

func TestGapBody(t *testing.T) {
	golden(t, "gap.json", body(&Rule{ID: "state", App: "demo", Format: Innkeeper}, []Event{
		{Kind: Gap, ID: "7f3a91c2-gap-123-456", App: "demo", From: 123, To: 456},
	}))
}
