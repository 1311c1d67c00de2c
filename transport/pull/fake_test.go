package pull

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"innkeeper/cluster/ring"
	"innkeeper/transport/dispatch"
	"innkeeper/transport/protocol"
	"innkeeper/transport/standing"
)

// fakeSource is a node's copy of the log: a history of which only a part is retained.
type fakeSource struct {
	mu      sync.Mutex
	first   uint64
	history []dispatch.Event // history[i].Seq == i+1
	more    chan struct{}
	strict  bool // Events refuses to begin behind events that are gone
	fail    error
	behind  error // what ReadIndex returns once ctx ends; nil: it returns at once
	indexed int   // calls of ReadIndex
	stands  standing.Standing
}

func newFakeSource() *fakeSource {
	return &fakeSource{first: 1, more: make(chan struct{}), stands: standing.InTouch}
}

func (s *fakeSource) Standing() standing.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stands
}

func (s *fakeSource) stand(as standing.Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stands = as
}

// toggle occupies or vacates a channel and returns the seq.
func (s *fakeSource) toggle(app, channel string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq := uint64(len(s.history) + 1)
	e := dispatch.Event{Seq: seq, ID: fmt.Sprint("c1-", seq), App: app, Channel: channel, Kind: dispatch.Occupied, TimeMs: int64(1000 + seq)}
	for i := len(s.history) - 1; i >= 0; i-- {
		if o := s.history[i]; o.App == app && o.Channel == channel {
			if o.Kind == dispatch.Occupied {
				e.Kind, e.Ends = dispatch.Vacated, o.Seq
			}
			break
		}
	}
	s.history = append(s.history, e)
	close(s.more)
	s.more = make(chan struct{})
	return seq
}

func (s *fakeSource) retain(first uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = first
}

func (s *fakeSource) Events(after uint64, limit int) (uint64, uint64, []dispatch.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := uint64(len(s.history))
	if s.strict && after+1 < s.first {
		return s.first, last, nil, errors.New("compacted")
	}
	events := s.history[min(max(after, s.first-1), last):]
	return s.first, last, slices.Clone(events[:min(limit, len(events))]), s.fail
}

func (s *fakeSource) WaitEvents(ctx context.Context, after uint64) error {
	return s.WaitApplied(ctx, after+1)
}

func (s *fakeSource) ReadIndex(ctx context.Context) error {
	s.mu.Lock()
	s.indexed++
	behind := s.behind
	s.mu.Unlock()
	if behind == nil {
		return nil
	}
	<-ctx.Done()
	return behind
}

func (s *fakeSource) WaitApplied(ctx context.Context, seq uint64) error {
	for {
		s.mu.Lock()
		more, have := s.more, uint64(len(s.history)) >= seq
		s.mu.Unlock()
		if have {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// occupiedAt is the truth: name → occupied event.
func (s *fakeSource) occupiedAt(app string, asOf uint64) map[string]dispatch.Event {
	set := make(map[string]dispatch.Event)
	for _, e := range s.history[:asOf] {
		if e.App != app {
			continue
		}
		if e.Kind == dispatch.Occupied {
			set[e.Channel] = e
		} else {
			delete(set, e.Channel)
		}
	}
	return set
}

func (s *fakeSource) OccupiedPage(asOf uint64, app, prefix string, after *Position, limit int) ([]Channel, *Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asOf+1 < s.first {
		return nil, nil, fmt.Errorf("fake: %w", ErrCompacted)
	}
	var all []Channel
	for name, e := range s.occupiedAt(app, asOf) {
		if strings.HasPrefix(name, prefix) {
			all = append(all, Channel{Name: name, SinceMs: e.TimeMs, Seq: e.Seq})
		}
	}
	order := func(a, b Position) int {
		return cmp.Or(cmp.Compare(a.Hash, b.Hash), strings.Compare(a.Name, b.Name))
	}
	place := func(c Channel) Position { return Position{Hash: ring.Hash(app, c.Name), Name: c.Name} }
	slices.SortFunc(all, func(a, b Channel) int { return order(place(a), place(b)) })
	if after != nil {
		all = slices.DeleteFunc(all, func(c Channel) bool { return order(place(c), *after) <= 0 })
	}
	if len(all) <= limit {
		return all, nil, s.fail
	}
	next := place(all[limit-1])
	return all[:limit], &next, s.fail
}

// as authorizes by a header that names the app.
func as(r *http.Request) (string, error) {
	if app := r.Header.Get("App"); app != "" {
		return app, nil
	}
	return "", protocol.NewError(protocol.CodeUnauthorized)
}

func handler(s *fakeSource) *Handler { return New(Config{Source: s, Authorize: as}) }

// get asks as app demo and decodes the answer, which must have the status.
func get[T any](t testing.TB, h http.HandlerFunc, query string, status int) (v T) {
	t.Helper()
	return getAs[T](t, h, "demo", query, status)
}

func getAs[T any](t testing.TB, h http.HandlerFunc, app, query string, status int) (v T) {
	t.Helper()
	r := httptest.NewRequest("GET", "/x?"+query, nil).WithContext(t.Context())
	r.Header.Set("App", app)
	w := httptest.NewRecorder()
	h(w, r)
	if w.Code != status {
		t.Fatalf("GET ?%s answers %d, want %d: %s", query, w.Code, status, w.Body)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("GET ?%s: %v: %s", query, err, w.Body)
	}
	return v
}

// Bodies as a reader decodes them.
type (
	eventsBody struct {
		First, Last uint64
		Events      []struct {
			ID, App, Channel, Type string
			Seq, Ends              uint64
			TimeMs                 int64 `json:"time_ms"`
		}
	}
	occupiedBody struct {
		AsOf     uint64 `json:"as_of"`
		Channels []struct {
			Channel string
			SinceMs int64 `json:"since_ms"`
			Seq     uint64
		}
		Next string
	}
	errorBody struct {
		Error struct {
			Message, Href    string
			Code, StatusCode int
		}
	}
)

var errDisk = errors.New("disk on fire")
