package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"
)

// fakeLog is an EventLog in memory.
type fakeLog struct {
	mu      sync.Mutex
	first   uint64
	events  []Event // events[i].Seq == first+i
	folded  []Event // what is left of those before first
	cursors map[string]uint64
	more    chan struct{} // closed and replaced when events come
	strict  bool          // Events refuses to begin behind events that are gone
	fail    error         // what every operation on cursors and Events returns, when set
	drop    func() error  // what becomes of DropCursor, when set; may take its time
	sets    int
}

func newFakeLog() *fakeLog {
	return &fakeLog{first: 1, cursors: make(map[string]uint64), more: make(chan struct{})}
}

// occupy appends an occupied event for each channel of app demo and returns the last seq.
func (l *fakeLog) occupy(channels ...string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range channels {
		seq := l.first + uint64(len(l.events))
		l.events = append(l.events, Event{
			Seq: seq, ID: fmt.Sprintf("c1-%d", seq), App: "demo", Channel: c, Kind: Occupied, TimeMs: int64(seq),
		})
	}
	close(l.more)
	l.more = make(chan struct{})
	return l.last()
}

func (l *fakeLog) last() uint64 { return l.first + uint64(len(l.events)) - 1 }

// forget drops the events before first.
func (l *fakeLog) forget(first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = l.events[first-l.first:]
	l.first = first
}

// Folded folds nothing but what fold says.
func (l *fakeLog) Folded(after uint64, limit int) (Event, []Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return Event{}, nil, l.fail
	}
	var events []Event
	for _, e := range l.folded {
		if e.Seq > after && len(events) < limit {
			events = append(events, e)
		}
	}
	return l.Gap(after+1, l.first-1), events, nil
}

func (l *fakeLog) Gap(from, to uint64) Event {
	return Event{Kind: Gap, ID: fmt.Sprintf("c1-gap-%d-%d", from, to), From: from, To: to}
}

func (l *fakeLog) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *fakeLog) Events(after uint64, limit int) (uint64, uint64, []Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, 0, nil, l.fail
	}
	if l.strict && after+1 < l.first {
		return l.first, l.last(), nil, errors.New("compacted")
	}
	from := min(max(after+1, l.first), l.last()+1) - l.first
	events := l.events[from:]
	return l.first, l.last(), append([]Event(nil), events[:min(limit, len(events))]...), nil
}

func (l *fakeLog) WaitEvents(ctx context.Context, after uint64) error {
	for {
		l.mu.Lock()
		more, have := l.more, l.last() > after
		l.mu.Unlock()
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

func (l *fakeLog) EnsureCursor(_ context.Context, name string) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	if _, ok := l.cursors[name]; !ok {
		l.cursors[name] = l.first - 1
	}
	return l.cursors[name], nil
}

func (l *fakeLog) SetCursor(_ context.Context, name string, seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	if _, ok := l.cursors[name]; !ok {
		return ErrNoCursor
	}
	l.sets++
	l.cursors[name] = max(l.cursors[name], seq)
	return nil
}

func (l *fakeLog) RewindCursor(_ context.Context, name string, seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	if seq+1 < l.first {
		return errors.New("compacted")
	}
	l.cursors[name] = min(l.cursors[name], seq)
	return nil
}

func (l *fakeLog) DropCursor(_ context.Context, name string) error {
	if l.drop != nil {
		if err := l.drop(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.cursors, name)
	return l.fail
}

func (l *fakeLog) Cursors() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.cursors)
}

func (l *fakeLog) cursor(name string) uint64 { return l.Cursors()[name] }

// received is one event as a sink got it.
type received struct {
	ID      string `json:"id"`
	Seq     uint64 `json:"seq"`
	Channel string `json:"channel"`
	TimeMs  uint64 `json:"time_ms"` // the fake log's seq, all that the Centrifugo format tells
}

// fakeSink is a RoundTripper. answer decides what happens to a request; nil accepts.
type fakeSink struct {
	mu       sync.Mutex
	answer   func(r *http.Request, events []received) (*http.Response, error)
	got      []received // of accepted requests, in order of acceptance
	requests int
	flying   int
	most     int // requests in flight at once
}

func (s *fakeSink) RoundTrip(r *http.Request) (*http.Response, error) {
	payload, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	var batch struct{ Events []received }
	if err := json.Unmarshal(payload, &batch); err != nil {
		return nil, err
	}
	for i := range batch.Events {
		if e := &batch.Events[i]; e.ID == "" {
			e.Seq, e.ID = e.TimeMs, fmt.Sprintf("c1-%d", e.TimeMs)
		}
	}
	s.mu.Lock()
	answer := s.answer
	s.requests++
	s.flying++
	s.most = max(s.most, s.flying)
	s.mu.Unlock()
	resp, err := reply(200, "{}"), error(nil)
	if answer != nil {
		resp, err = answer(r, batch.Events)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flying--
	if err == nil && resp.StatusCode == 200 {
		s.got = append(s.got, batch.Events...)
	}
	return resp, err
}

func (s *fakeSink) set(answer func(*http.Request, []received) (*http.Response, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *fakeSink) take() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.got...)
}

func (s *fakeSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *fakeSink) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flying
}

func reply(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewBufferString(body))}
}

func always(status int, body string) func(*http.Request, []received) (*http.Response, error) {
	return func(*http.Request, []received) (*http.Response, error) { return reply(status, body), nil }
}

// hang answers nothing until the request is given up.
func hang(r *http.Request, _ []received) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// cut is a body that ends in an error.
type cut struct{ io.Reader }

func (c cut) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if err == io.EOF {
		err = errors.New("connection reset")
	}
	return n, err
}
func (cut) Close() error { return nil }

func rule() Rule { return Rule{ID: "state", App: "demo", URL: "http://sink.test/events"} }

// start returns a leading dispatcher that is closed with the test.
func start(t *testing.T, log *fakeLog, sink http.RoundTripper, rules ...Rule) *Dispatcher {
	t.Helper()
	d := build(t, Config{Log: log, Client: &http.Client{Transport: sink}, Rules: rules})
	d.Lead(true)
	return d
}

func clientOf(sink http.RoundTripper) *http.Client { return &http.Client{Transport: sink} }

func build(t *testing.T, c Config) *Dispatcher {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// expectOnce checks that exactly the events up to last arrived, each once, in order per channel.
func expectOnce(t *testing.T, got []received, last uint64) {
	t.Helper()
	seen := make(map[uint64]bool)
	for _, e := range got {
		if seen[e.Seq] {
			t.Errorf("seq %d arrived twice", e.Seq)
		}
		seen[e.Seq] = true
	}
	expectAll(t, got, last)
}

// expectAll checks that the events up to last arrived, in order per channel on first receipt, under stable ids.
func expectAll(t *testing.T, got []received, last uint64) {
	t.Helper()
	seen := make(map[uint64]bool)
	latest := make(map[string]uint64)
	for _, e := range got {
		if want := fmt.Sprintf("c1-%d", e.Seq); e.ID != want {
			t.Errorf("seq %d has id %q, want %q", e.Seq, e.ID, want)
		}
		if seen[e.Seq] {
			continue
		}
		seen[e.Seq] = true
		if e.Seq < latest[e.Channel] {
			t.Errorf("channel %s: seq %d first arrived after %d", e.Channel, e.Seq, latest[e.Channel])
		}
		latest[e.Channel] = e.Seq
	}
	for seq := uint64(1); seq <= last; seq++ {
		if !seen[seq] {
			t.Errorf("seq %d never arrived", seq)
		}
	}
}

// names returns n channel names.
func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint("chat:", i)
	}
	return out
}

// eventually sleeps in fake time until ok, for a minute at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 60_000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("within a minute: not %s", what)
}
