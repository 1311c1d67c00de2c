package pull

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/transport/standing"
)

// TestWhoMayAnswer: a node that has not caught up shows nothing, and one that is cut off only to those who ask for it. A
// listing that begins asks the leader, whatever the node believes of itself.
func TestWhoMayAnswer(t *testing.T) {
	for _, tc := range []struct {
		stands             standing.Standing
		consistency        string
		occupied, events   int
		listing, following int // questions to the leader
	}{
		{standing.Behind, "", 503, 503, 0, 0},
		{standing.Behind, "stale", 503, 503, 0, 0},
		{standing.Behind, "leader", 200, 200, 1, 1}, // when the leader has answered it is not behind any more
		{standing.CutOff, "", 503, 503, 0, 0},
		{standing.CutOff, "stale", 200, 200, 0, 0},
		{standing.CutOff, "leader", 200, 200, 1, 1},
		{standing.InTouch, "", 200, 200, 1, 0},
		{standing.InTouch, "stale", 200, 200, 0, 0},
		{standing.InTouch, "leader", 200, 200, 1, 1},
	} {
		s := newFakeSource()
		s.toggle("demo", "chat:a")
		s.stand(tc.stands)
		h, query := handler(s), "consistency="+tc.consistency
		check := func(what string, status, asks int, ask func() errorBody) {
			before := s.indexed
			if got := ask(); status == 503 && got.Error.Code != 50003 {
				t.Errorf("%+v: %s answers code %d, want 50003", tc, what, got.Error.Code)
			}
			if got := s.indexed - before; got != asks {
				t.Errorf("%+v: %s asked the leader %d times, want %d", tc, what, got, asks)
			}
		}
		check("/occupied", tc.occupied, tc.listing, func() errorBody { return get[errorBody](t, h.Occupied, query, tc.occupied) })
		check("/events", tc.events, tc.following, func() errorBody { return get[errorBody](t, h.Events, query, tc.events) })
	}
}

// TestPagesNeedNoLeader: what a listing began with decides, so any node goes on with it that has seen as much.
func TestPagesNeedNoLeader(t *testing.T) {
	s := newFakeSource()
	s.toggle("demo", "chat:a")
	s.toggle("demo", "chat:b")
	first := get[occupiedBody](t, handler(s).Occupied, "limit=1", 200)
	s.behind = errors.New("no leader")
	s.stand(standing.CutOff)
	second := get[occupiedBody](t, handler(s).Occupied, "limit=1&cursor="+first.Next, 200)
	if second.AsOf != first.AsOf || len(second.Channels) != 1 {
		t.Errorf("got %+v behind %+v", second, first)
	}
}

// TestStreamEndsWhereNothingComes: a stream of a node that is cut off ends before its reader takes silence for calm, unless
// the reader said that it wants what there is.
func TestStreamEndsWhereNothingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSource()
		s.toggle("demo", "chat:a")
		l, stop := follow(t, handler(s), "consistency=stale", "")
		defer stop()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r := httptest.NewRequest("GET", "/events", nil).WithContext(t.Context())
			r.Header.Set("App", "demo")
			r.Header.Set("Accept", "text/event-stream")
			handler(s).Events(&live{header: http.Header{}}, r)
		}()
		synctest.Wait()
		s.stand(standing.CutOff)
		select {
		case <-ended:
		case <-time.After(beatEvery + time.Second):
			t.Error("it goes on")
		}
		was := len(l.text())
		time.Sleep(2 * beatEvery)
		synctest.Wait()
		if len(l.text()) == was {
			t.Error("who wanted to stay hears nothing")
		}
	})
}
