package channel

import (
	"testing"
	"testing/synctest"
	"time"
)

// A copy is as good as it was when the link to it is gone and its owner after it, unless something was acknowledged in
// between. Then clients are told, those who cannot know included: one that did not hear it, of an owner whose copy does not
// have it.
func TestCopyOutlivesItsLink(t *testing.T) {
	for name, c := range map[string]struct{ published, back bool }{
		"in silence":             {},
		"while it publishes":     {published: true},
		"that is new by then":    {published: true, back: true},
		"and is back in silence": {back: true},
	} {
		t.Run(name, func(t *testing.T) {
			inSea(t, 4, func(t *testing.T, w *sea) {
				a, b := w.owner, w.follower
				for range 20 {
					a.say()
				}
				w.settled()
				w.sever(b)
				w.followBy(GatewayID{}, 0)
				var deaf *ship
				for _, s := range w.ships {
					if s != a && s != b {
						deaf = s
					}
				}
				if c.published {
					l := w.link(a.id, deaf.id)
					a.say()
					synctest.Wait()
					l.cut() // nobody there has heard it
					time.Sleep(100 * time.Millisecond)
					synctest.Wait()
					if len(a.asked) > 0 {
						t.Fatal("a publish waits for a copy that cannot be had")
					}
				}
				if c.back {
					w.follow()
					w.settled()
				}
				w.lossy = c.published && !c.back
				w.sink(a)
				w.commit(b, true)
				w.settled()
				for _, s := range w.ships {
					s.mu.Lock()
					if s.lost != w.lossy {
						t.Errorf("%v was told that continuity is lost: %v, want %v", s.id, s.lost, w.lossy)
					}
					s.mu.Unlock()
				}
				if !w.lossy {
					w.rest()
				}
			})
		})
	}
}

// An owner that has lost its copy and reaches nobody has nobody to tell: it shows and acknowledges nothing until it does.
func TestOwnerThatReachesNobody(t *testing.T) {
	inSea(t, 4, func(t *testing.T, w *sea) {
		a := w.owner
		a.say()
		w.settled()
		mute := func(is bool) {
			for _, s := range w.ships {
				if s != a {
					l := w.link(a.id, s.id)
					l.mu.Lock()
					l.mute = is
					l.mu.Unlock()
				}
			}
		}
		mute(true)
		w.sever(w.follower)
		w.followBy(GatewayID{}, 0)
		heard := len(a.log)
		a.say()
		w.settled()
		if len(a.asked) != 1 || len(a.log) != heard {
			t.Fatal("a publish is acknowledged or shown of which nobody else will know")
		}
		mute(false)
		time.Sleep(2 * behindAgain)
		synctest.Wait()
		if len(a.asked) != 0 || len(a.log) == heard {
			t.Fatal("a publish waits for a copy that is known to be lost")
		}
		w.rest()
	})
}

// Whoever gives its copy to the next owner may die over it. Another whole copy is taken then, and not waited long for.
func TestGiverDies(t *testing.T) {
	inSea(t, 3, func(t *testing.T, w *sea) {
		a, keeper := w.owner, w.follower
		next := w.ships[0]
		for _, s := range w.ships {
			if s != a && s != keeper {
				next = s
			}
		}
		for range 20 {
			a.say()
		}
		w.settled()
		dies := make(chan struct{})
		w.onHost = func(m ToHost) {
			if m, ok := m.(*CopyFetch); ok && m.Take {
				select {
				case <-dies:
				default:
					close(dies)
				}
			}
		}
		w.commit(next, true)
		<-dies
		w.sink(a) // before it has heard that
		w.commit(next, false)
		began := time.Now()
		for !next.host.Opened(0, w.epoch) {
			time.Sleep(10 * time.Millisecond)
			if took := time.Since(began); took > time.Second {
				t.Fatalf("nothing is served %v later", took)
			}
		}
		w.rest()
	})
}

// Whoever had a whole copy keeps it until the next one is whole, and no longer.
func TestCopyBeforeIsLetGo(t *testing.T) {
	inSea(t, 3, func(t *testing.T, w *sea) {
		holds := func(s *ship) (whole bool, channels int) {
			p := &s.host.layout.Load().parts[0]
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.replica == nil {
				return false, 0
			}
			return p.replica.complete, len(p.replica.channels)
		}
		before := w.follower
		before.say()
		w.settled()
		if whole, n := holds(before); !whole || n != 1 {
			t.Fatalf("the follower has %d channels, whole: %v", n, whole)
		}
		for w.follower == before {
			w.commit(w.owner, false)
		}
		w.settled()
		if whole, n := holds(before); whole || n != 0 {
			t.Errorf("the one before has %d channels, whole: %v", n, whole)
		}
		if whole, n := holds(w.follower); !whole || n != 1 {
			t.Errorf("the new one has %d channels, whole: %v", n, whole)
		}
	})
}
