package pull

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"innkeeper/transport/dispatch"
)

// message is one thing that a stream said, as a browser takes it apart: by blank lines, then by fields.
type message struct{ id, event, data string }

func parseStream(t testing.TB, text string) (list []message) {
	t.Helper()
	blocks := strings.Split(text, "\n\n")
	if blocks[len(blocks)-1] != "" {
		t.Fatalf("the stream ends inside of a message: %q", text)
	}
	for _, block := range blocks[:len(blocks)-1] {
		var m message
		for line := range strings.SplitSeq(block, "\n") {
			field, value, ok := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case !ok:
				t.Fatalf("line %q has no colon", line)
			case field == "id":
				m.id = value
			case field == "event":
				m.event = value
			case field == "data":
				m.data = value
			case field == "", field == "retry":
			default:
				t.Fatalf("unknown field in %q", line)
			}
		}
		list = append(list, m)
	}
	return list
}

// live is a response that can be looked at while it is written.
type live struct {
	mu      sync.Mutex
	header  http.Header
	status  int
	flushed bytes.Buffer
	waiting bytes.Buffer
	fail    error
}

func (l *live) Header() http.Header { return l.header }
func (l *live) WriteHeader(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}
func (l *live) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	return l.waiting.Write(b)
}
func (l *live) FlushError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.waiting.WriteTo(&l.flushed)
	return err
}
func (l *live) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flushed.String()
}

// follow opens a stream in a bubble and returns it with a function that ends it and waits.
func follow(t *testing.T, h *Handler, query, lastID string) (*live, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequest("GET", "/events?"+query, nil).WithContext(ctx)
	r.Header.Set("App", "demo")
	r.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	l := &live{header: http.Header{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Events(l, r)
	}()
	return l, func() { cancel(); <-done }
}

func ids(list []message) (out []string) {
	for _, m := range list {
		if m.data != "" {
			out = append(out, m.id)
		}
	}
	return out
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSource()
		s.toggle("demo", "chat:a")
		s.toggle("other", "chat:a")
		l, stop := follow(t, handler(s), "", "")
		defer stop()
		synctest.Wait()
		s.toggle("demo", "chat:a\nb")
		s.toggle("demo", "chat:a")
		synctest.Wait()
		got := parseStream(t, l.text())
		if want := []string{"1", "3", "4"}; !slices.Equal(ids(got), want) {
			t.Fatalf("ids %v, want %v", ids(got), want)
		}
		if l.status != 200 || l.header.Get("Content-Type") != "text/event-stream" || l.header.Get("Cache-Control") != "no-store" {
			t.Errorf("status %d, header %v", l.status, l.header)
		}
		want := `{"id":"c1-4","seq":4,"app":"demo","channel":"chat:a","type":"vacated","time_ms":1004,"ends":1}`
		if last := got[len(got)-1]; last != (message{id: "4", data: want}) {
			t.Errorf("last message %+v", last)
		}
	})
}

func TestStreamGoesOnBehindTheLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSource()
		for range 5 {
			s.toggle("demo", "chat:a")
		}
		l, stop := follow(t, handler(s), "after=1", "3")
		defer stop()
		synctest.Wait()
		if got, want := ids(parseStream(t, l.text())), []string{"4", "5"}; !slices.Equal(got, want) {
			t.Errorf("ids %v, want %v", got, want)
		}
	})
}

// A stream says what it cannot tell any more, at its start and later, and goes on with what there is.
func TestStreamMarksGaps(t *testing.T) {
	for _, strict := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeSource()
			s.strict = strict
			for range 10 {
				s.toggle("demo", "chat:a")
			}
			s.retain(6)
			l, stop := follow(t, handler(s), "after=3", "")
			defer stop()
			oldest, stopOldest := follow(t, handler(s), "", "")
			defer stopOldest()
			nothing, stopNothing := follow(t, handler(s), "", "0") // it has seen all up to 0
			defer stopNothing()
			synctest.Wait()
			got := parseStream(t, l.text())[1:]
			if got[0] != (message{"5", "gap", `{"after":3,"first":6}`}) || !slices.Equal(ids(got[1:]), []string{"6", "7", "8", "9", "10"}) {
				t.Errorf("strict %v: got %v", strict, got)
			}
			if got := parseStream(t, oldest.text())[1:]; got[0].id != "6" || got[0].event != "" {
				t.Errorf("strict %v: who asked for the oldest got %v", strict, got)
			}
			if got := parseStream(t, nothing.text())[1:]; got[0] != (message{"5", "gap", `{"after":0,"first":6}`}) {
				t.Errorf("strict %v: who was at 0 got %v", strict, got)
			}
		})
	}
}

// A stream without events is not silent, and its position moves past what is not for it.
func TestStreamBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSource()
		s.toggle("demo", "chat:a")
		l, stop := follow(t, handler(s), "", "")
		defer stop()
		stopOthers := make(chan struct{})
		go func() { // others are never quiet for long
			for {
				select {
				case <-time.After(700 * time.Millisecond):
					s.toggle("other", "x")
				case <-stopOthers:
					return
				}
			}
		}()
		time.Sleep(time.Minute + time.Second)
		close(stopOthers)
		got := parseStream(t, l.text())
		if n := len(got); n < 5 || n > 6 {
			t.Fatalf("%d messages in a minute: %v", n, got)
		}
		before := 1
		for _, m := range got[2:] {
			id, err := strconv.Atoi(m.id)
			if err != nil || m.data != "" || id <= before {
				t.Errorf("beat %+v after position %d", m, before)
			}
			before = id
		}
		time.Sleep(time.Minute)
		last := parseStream(t, l.text())
		if m := last[len(last)-1]; m != (message{}) {
			t.Errorf("a beat when nothing happened: %+v", m)
		}
	})
}

func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSource()
		_, stop := follow(t, handler(s), "", "")
		synctest.Wait()
		stop() // returns when the handler has

		s.toggle("demo", "chat:a")
		r := httptest.NewRequest("GET", "/events", nil).WithContext(t.Context())
		r.Header.Set("App", "demo")
		r.Header.Set("Accept", "text/event-stream")
		handler(s).Events(&live{header: http.Header{}, fail: errors.New("reader gone")}, r)

		r.Method = "HEAD"
		w := httptest.NewRecorder()
		handler(s).Events(w, r)
		if w.Code != 200 || w.Body.Len() != 0 {
			t.Errorf("HEAD: %d %q", w.Code, w.Body)
		}
	})
}

func TestStreamRefusesLikeAnyRequest(t *testing.T) {
	s := newFakeSource()
	for _, test := range []struct {
		query, lastID, app string
		status, code       int
	}{
		{"after=x", "", "demo", 400, 40003},
		{"", "x", "demo", 400, 40003},
		{"rule=none", "", "demo", 400, 40003},
		{"consistency=strong", "", "demo", 400, 40003},
		{"", "", "", 401, 40101},
	} {
		r, w := httptest.NewRequest("GET", "/events?"+test.query, nil), httptest.NewRecorder()
		r.Header.Set("App", test.app)
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("Last-Event-ID", test.lastID)
		handler(s).Events(w, r)
		var body errorBody
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != test.status || body.Error.Code != test.code {
			t.Errorf("%+v: %d %s", test, w.Code, w.Body)
		}
	}
}

// Over a real socket: events come as they happen, and a server that closes ends the stream's goroutine.
func TestStreamOverASocket(t *testing.T) {
	s := newFakeSource()
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		handler(s).Events(w, r)
	}))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("App", "demo")
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		seq := s.toggle("demo", "chat:a")
		want := fmt.Sprintf("id: %d", seq)
		for lines.Scan() && lines.Text() != want {
		}
		if lines.Text() != want {
			t.Fatalf("event %d did not come: %v", i, lines.Err())
		}
	}
	server.CloseClientConnections()
	<-ended
}

func TestEventsOfARule(t *testing.T) {
	s := newFakeSource()
	for _, name := range []string{"chat:a", "news:a", "chat:b"} {
		s.toggle("demo", name)
		s.toggle("other", name)
	}
	h := New(Config{Source: s, Authorize: as, Rule: func(app, id string) (func(*dispatch.Event) bool, bool) {
		return func(e *dispatch.Event) bool { return strings.HasPrefix(e.Channel, "chat:") }, app == "demo" && id == "chat"
	}})
	got := get[eventsBody](t, h.Events, "rule=chat", 200)
	if len(got.Events) != 2 || got.Events[0].Channel != "chat:a" || got.Events[1].Channel != "chat:b" || got.Events[1].App != "demo" {
		t.Errorf("got %+v", got)
	}
	if got := getAs[errorBody](t, h.Events, "other", "rule=chat", 400); !strings.Contains(got.Error.Message, `app "other" has no rule`) {
		t.Errorf("got %+v", got)
	}
}

func TestConsistency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSource()
		s.toggle("demo", "chat:a")
		h := handler(s)
		get[eventsBody](t, h.Events, "", 200)
		get[eventsBody](t, h.Events, "consistency=stale", 200)
		get[occupiedBody](t, h.Occupied, "consistency=stale", 200)
		if s.indexed != 0 {
			t.Errorf("asked the leader %d times without need", s.indexed)
		}
		get[eventsBody](t, h.Events, "consistency=leader", 200)
		get[occupiedBody](t, h.Occupied, "consistency=leader", 200)
		get[occupiedBody](t, h.Occupied, "", 200)
		if s.indexed != 3 {
			t.Errorf("asked the leader %d times, want 3", s.indexed)
		}
		s.behind = errors.New("no leader is known")
		for _, serve := range []http.HandlerFunc{h.Events, h.Occupied} {
			begin := time.Now()
			got := get[errorBody](t, serve, "consistency=leader", 503)
			if took := time.Since(begin); got.Error.Code != 50003 || took != catchUpMost {
				t.Errorf("after %v: %+v", took, got)
			}
			if got := get[errorBody](t, serve, "consistency=x", 400); got.Error.Code != 40003 {
				t.Errorf("got %+v", got)
			}
		}
	})
}

// Whatever happens, and wherever a reader is cut off and comes back, the stream gives each event of its app once and in
// order, or a gap over it.
func TestStreamAcrossReconnects(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeSource()
			s.strict = rapid.Bool().Draw(rt, "strict")
			at := uint64(0) // the reader's position
			lastID := ""
			began := false
			for range rapid.IntRange(1, 8).Draw(rt, "connections") {
				l, stop := follow(t, handler(s), "", lastID)
				for range rapid.IntRange(0, 10).Draw(rt, "events") {
					s.toggle(rapid.SampledFrom([]string{"demo", "other"}).Draw(rt, "app"), "chat:a")
					if rapid.Bool().Draw(rt, "pause") {
						synctest.Wait()
					}
				}
				time.Sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, 20 * time.Second}).Draw(rt, "stay"))
				stop()
				s.retain(min(s.first+rapid.Uint64Range(0, 3).Draw(rt, "forget"), uint64(len(s.history))+1))
				for _, m := range parseStream(t, l.text()) {
					if m.id == "" {
						continue
					}
					id, err := strconv.ParseUint(m.id, 10, 64)
					if err != nil {
						rt.Fatal(err)
					}
					if m.data == "" || m.event == "gap" { // passed, or gone
						if m.data == "" {
							for _, e := range s.history[at:id] {
								if e.App == "demo" && began {
									rt.Fatalf("passed %+v without a word", e)
								}
							}
						}
						at = id
					} else {
						for _, e := range s.history[at : id-1] {
							if e.App == "demo" && (began || e.Seq >= s.first) {
								rt.Fatalf("%d was skipped before %d", e.Seq, id)
							}
						}
						if id <= at || s.history[id-1].App != "demo" {
							rt.Fatalf("event %d at position %d", id, at)
						}
						at = id
					}
					began, lastID = true, m.id
				}
			}
		})
	})
}
