package channel

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// turn publishes the n-th message of a connection and says what became of it.
func (st *stand) turn(conn string, n int64) string {
	st.t.Helper()
	p := &Publish{App: "app", Name: "room", Req: 7, ConnID: conn, MsgSerial: n, ID: fmt.Sprint(conn, ":", n), Messages: []Message{{Name: "m"}}}
	effects := st.s.Step(st.now, Input{Kind: InPublish, From: gwA, Publish: p}, nil)
	a, ok := effects[len(effects)-1].Message.(*Published)
	switch {
	case !ok:
		st.t.Fatalf("publish answered with %+v", effects)
	case a.Refusal != Accepted:
		return fmt.Sprint("refused ", a.Refusal)
	}
	return a.Serial
}

// The owner before had taken a message, whose answer waited for that of another channel, and died with its copy. Its client
// says it again from another node, behind a later one that its first node has passed on.
func TestPublishComesInItsTurnOrNotAtAll(t *testing.T) {
	refused := fmt.Sprint("refused ", OutOfTurn)
	st := newStand(t, resending)
	twelve := st.turn("conn", 12)
	for n, want := range map[int64]string{12: twelve, 6: refused, 11: refused} {
		if got := st.turn("conn", n); got != want {
			t.Errorf("%d behind 12: %s, want %s", n, got, want)
		}
	}
	for what, got := range map[string]string{
		"the next one": st.turn("conn", 13), "another connection": st.turn("other", 6), "not over the connection": st.turn("conn", NoSerial),
		"no connection": st.turn("", 0),
	} {
		if got == refused {
			t.Errorf("%s: %s", what, got)
		}
	}
	if got := st.turn("conn", 12); got != twelve {
		t.Errorf("12 said again is %s, it was %s", got, twelve)
	}
	// Later nothing is said again that an owner before may have taken.
	st.now.Age = resending.Known
	if got := st.turn("conn", 7); got == refused {
		t.Error("refused though there is no owner before of whom nothing is known")
	}
	st.after(resending.Known + time.Hour).tick()
	if st.s.past != nil {
		t.Errorf("%v are kept for ever", st.s.past.turns)
	}

	st = newStand(t, Settings{IdleClose: time.Minute, Known: 185 * time.Second})
	st.turn("conn", 12)
	if st.turn("conn", 6) == refused || st.s.past != nil {
		t.Error("turns are kept where nothing is known again")
	}
}

// An owner whose tenure goes back far enough, by itself or by what it took over, knows everything that may be said again.
func TestTurnsAreKeptByWhoKnowsNothing(t *testing.T) {
	say := func(w *sea, n int64) Refusal {
		var why Refusal
		done := make(chan struct{})
		to := w.ships[len(w.ships)-1]
		to.mu.Lock()
		to.req++
		p := &Publish{App: "app", Name: "turns", Req: to.req, ConnID: "conn", MsgSerial: n, ID: fmt.Sprint("conn:", n), Messages: []Message{{Name: "m"}}}
		to.answers = map[uint64]func(*Published){p.Req: func(m *Published) { why = m.Refusal; close(done) }}
		to.tell(p)
		to.mu.Unlock()
		<-done
		return why
	}
	for _, c := range []struct {
		what string
		sink int           // how many ships fall before the next owner comes
		age  time.Duration // of the first tenure by then
		want Refusal
	}{
		{"a copy, which goes back far", 1, 5 * time.Minute, Accepted},
		{"a copy of little", 1, time.Second, OutOfTurn},
		{"no copy", 2, 5 * time.Minute, OutOfTurn},
	} {
		t.Run(c.what, func(t *testing.T) {
			inSea(t, 3, func(t *testing.T, w *sea) {
				time.Sleep(c.age)
				synctest.Wait()
				w.lossy = true
				old, follower := w.owner, w.follower
				w.sink(old)
				if c.sink > 1 {
					w.sink(follower)
				}
				w.commit(w.ships[0], true)
				w.settled()
				if why := say(w, 12); why != Accepted {
					t.Fatalf("refused: %d", why)
				}
				if why := say(w, 6); why != c.want {
					t.Errorf("refusal %d, want %d", why, c.want)
				}
			})
		})
	}
}
