package transport

import (
	"testing"
	"time"
)

func TestFatesOfConnections(t *testing.T) {
	const ttl = 2 * time.Minute
	const here, there, elsewhere = 1, 2, 3
	begin := time.Unix(1000, 0)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	held := func(h *holders, id string) *conn {
		c := &conn{id: id}
		h.hold(c)
		return c
	}
	asks := func(t *testing.T, h *holders, to uint64, s int, want Whereabouts, had *conn) {
		t.Helper()
		if got, c := h.release("x", to, to == here, at(s), ttl); got != want || c != had {
			t.Errorf("after %d s: %+v, %p; want %+v, %p", s, got, c, want, had)
		}
	}
	t.Run("unknown", func(t *testing.T) {
		asks(t, &holders{}, there, 0, Whereabouts{Fate: Forgotten}, nil)
	})
	t.Run("live, fetched from elsewhere", func(t *testing.T) {
		h := &holders{}
		c := held(h, "x")
		asks(t, h, there, 0, Whereabouts{Fate: Dropped}, c)
		h.leave(c, at(1), ttl) // its read loop ends now; it has been given away already
		asks(t, h, elsewhere, 2, Whereabouts{Fate: Moved, Boot: there}, nil)
	})
	t.Run("live, held again here", func(t *testing.T) {
		h := &holders{}
		c := held(h, "x")
		asks(t, h, here, 0, Whereabouts{Fate: Dropped}, c)
		d := held(h, "x")
		h.leave(c, at(1), ttl)
		asks(t, h, there, 2, Whereabouts{Fate: Dropped}, d)
	})
	t.Run("dropped", func(t *testing.T) {
		h := &holders{}
		c := held(h, "x")
		c.ended.Store(uint32(endGone))
		h.leave(c, at(10), ttl)
		asks(t, h, here, 100, Whereabouts{Fate: Dropped, Ago: 90 * time.Second}, nil)
		asks(t, h, there, 129, Whereabouts{Fate: Dropped, Ago: 119 * time.Second}, nil)
		asks(t, h, elsewhere, 130, Whereabouts{Fate: Moved, Boot: there}, nil)
	})
	t.Run("dropped for too long", func(t *testing.T) {
		h := &holders{}
		c := held(h, "x")
		c.ended.Store(uint32(endDrained))
		h.leave(c, at(0), ttl)
		asks(t, h, there, 121, Whereabouts{Fate: Dropped, Ago: 121 * time.Second}, nil)
		asks(t, h, elsewhere, 122, Whereabouts{Fate: Dropped, Ago: 122 * time.Second}, nil)
	})
	t.Run("closed", func(t *testing.T) {
		for _, why := range []ending{endClosed, endAuth, endProtocol, endRefused} {
			h := &holders{}
			c := held(h, "x")
			c.ended.Store(uint32(why))
			h.leave(c, at(0), ttl)
			asks(t, h, there, 1, Whereabouts{Fate: Closed}, nil)
		}
	})
	t.Run("old ones are forgotten", func(t *testing.T) {
		h := &holders{}
		h.leave(held(h, "x"), at(0), ttl)
		h.leave(held(h, "y"), at(241), ttl)
		asks(t, h, there, 242, Whereabouts{Fate: Forgotten}, nil)
		if len(h.gone) != 1 || len(h.queue) != 1 {
			t.Errorf("%d and %d are kept", len(h.gone), len(h.queue))
		}
	})
	t.Run("more than can be remembered", func(t *testing.T) {
		h := &holders{}
		h.leave(held(h, "x"), at(0), ttl)
		for range goneMax {
			h.leave(held(h, "y"), at(1), ttl)
		}
		if len(h.queue) > goneMax {
			t.Errorf("%d are remembered", len(h.queue))
		}
		asks(t, h, here, 100, Whereabouts{Fate: Dropped, Ago: 100 * time.Second}, nil) // it could be resumed
		asks(t, h, there, 121, Whereabouts{Fate: Forgotten}, nil)
	})
}

func TestPromisedSilence(t *testing.T) {
	for text, want := range map[string]int32{"": 15000, "x": 15000, "0": 15000, "-5": 15000, "1": 5000, "5000": 5000, "20000": 20000, "1800001": 1800000, "99999999999999999999": 15000} {
		if got := idleInterval(text); got != want {
			t.Errorf("%q: %d ms, want %d", text, got, want)
		}
	}
}
