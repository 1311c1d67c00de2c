package channel

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cluster/ring"
)

// inSea runs a story on n ships, the first of which is the owner.
func inSea(t *testing.T, n int, story func(t *testing.T, w *sea)) {
	synctest.Test(t, func(t *testing.T) {
		w := &sea{T: t, rnd: rand.New(rand.NewPCG(3, 5)), links: map[[2]string]*simLink{}, acked: map[string]string{}, changed: map[string]int{}, table: ring.Table{Slots: make([]ring.Slot, 1)}}
		w.log = newFakeLog(t, time.Millisecond)
		for range n {
			w.launch()
		}
		w.commit(w.ships[0], true)
		w.settled()
		story(t, w)
		for _, s := range w.ships {
			s.host.Close()
		}
		w.log.inner.Wait()
		for _, l := range w.links {
			close(l.wake)
		}
		w.sailing.Wait()
	})
}

// A move takes nothing off a delay, and adds nothing to it.
func TestMoveKeepsDelays(t *testing.T) {
	inSea(t, 2, func(t *testing.T, w *sea) {
		a, b := w.ships[0], w.ships[1]
		say := func(m ToOwner) { w.owner.host.FromGateway(a.id, 0, w.epoch, m) }
		hold := func(name string, n int32, version uint64) {
			r := &Register{App: "app", Name: name, Version: version}
			r.Counts[Connections], r.Counts[Subscribers] = n, n
			say(r)
		}
		hold("left", 1, 1000)
		hold("kept", 1, 1001)
		say(&Publish{App: "app", Name: "posted", Req: 1 << 30, ID: "x:1", Messages: []Message{{Name: "m"}}})
		time.Sleep(time.Second)
		hold("left", 0, 1002)
		hold("kept", 0, 1003)
		time.Sleep(1500 * time.Millisecond) // of the 2 s until vacated, and of the 5 s until closed
		w.commit(b, true)
		hold("kept", 1, 1004) // somebody came back
		time.Sleep(400 * time.Millisecond)
		synctest.Wait()
		if !w.log.isHeld(0, "left") {
			t.Error("vacated too early")
		}
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		if w.log.isHeld(0, "left") {
			t.Error("not vacated when the delay was over: it began anew with the move")
		}
		if !w.log.isHeld(0, "kept") {
			t.Error("vacated though somebody holds it")
		}
		open := func() int { return b.host.Stats().Open }
		time.Sleep(1500 * time.Millisecond) // 4.7 s since the publish
		synctest.Wait()
		with := open()
		time.Sleep(600 * time.Millisecond)
		synctest.Wait()
		if now := open(); now != with-1 {
			t.Errorf("%d channels were open before the idle time was over, %d are after", with, now)
		}
	})
}

// A new owner that was sent everything as the follower fetches nothing; one that was not fetches it all. Both have it.
func TestPreparedMoveFetchesNothing(t *testing.T) {
	for _, prepared := range []bool{true, false} {
		t.Run(fmt.Sprint("prepared ", prepared), func(t *testing.T) {
			inSea(t, 2, func(t *testing.T, w *sea) {
				a, b := w.ships[0], w.ships[1]
				for range 20 {
					a.say()
				}
				w.settled()
				if !a.host.Prepared(0, w.epoch, b.id.Node) || a.host.Prepared(0, w.epoch, "another") {
					t.Fatal("the follower has a copy, and nobody else")
				}
				if !prepared { // what is published now never arrives there
					w.link(a.id, b.id).cut()
					a.say()
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
				}
				var takes atomic.Int32
				synctest.Wait() // nobody sends while it is set
				w.onHost = func(m ToHost) {
					if m, ok := m.(*CopyFetch); ok && m.Take {
						takes.Add(1)
					}
				}
				epoch := w.epoch
				w.commit(b, true)
				if !a.host.Prepared(0, epoch, b.id.Node) {
					t.Error("what is over needs no preparation")
				}
				w.settled()
				if !b.host.Opened(0, w.epoch) || a.host.Opened(0, w.epoch+1) {
					t.Error("opened")
				}
				if want := map[bool]int32{true: 0, false: 1}[prepared]; takes.Load() != want {
					t.Errorf("%d copies were fetched, want %d", takes.Load(), want)
				}
				b.say()
				w.rest()
			})
		})
	}
}

// A history that is lost on its way is asked for again. What the new owner was sent as the follower, and is behind by now,
// does not take its place.
func TestHistoryLostOnItsWayIsFetchedAgain(t *testing.T) {
	inSea(t, 3, func(t *testing.T, w *sea) {
		a, b := w.ships[0], w.follower
		for range 20 {
			a.say()
		}
		w.settled()
		w.link(a.id, b.id).cut() // what is published now never arrives there
		a.say()
		w.settled()
		takes, lost := 0, false
		w.onHost = func(m ToHost) {
			w.mu.Lock()
			defer w.mu.Unlock()
			switch m := m.(type) {
			case *CopyFetch:
				if m.Take {
					takes++
				}
			case *CopyEnd:
				if takes == 1 && !lost {
					lost = true
					w.links[[2]string{a.id.Boot, b.id.Boot}].cut()
				}
			}
		}
		w.commit(b, true)
		w.settled()
		if takes != 2 {
			t.Errorf("the history was fetched %d times, want 2: the first was lost", takes)
		}
		b.say()
		w.rest()
	})
}

// What a channel does not know of another part's remains does no harm.
func TestUnknownSectionsAreSkipped(t *testing.T) {
	s := NewState("app", "room", &Profile{Settings: standSettings}, Stamp{})
	now := Moment{Since: time.Hour, Leased: true}
	s.Restore(now, true, 0)
	s.Inherit(now, &Remains{VacateMs: 250, UsedMs: -1, More: []Section{{Kind: 255, Data: []byte("what is this")}}})
	if got := s.vacateAt - now.Since; got != 250*time.Millisecond {
		t.Errorf("vacated is due in %v", got)
	}
}
