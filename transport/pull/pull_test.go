package pull

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestEventsOfOneApp(t *testing.T) {
	s := newFakeSource()
	s.toggle("demo", "chat:a")
	s.toggle("other", "chat:a")
	s.toggle("demo", "chat:a")
	got := get[eventsBody](t, handler(s).Events, "after=0", 200)
	if got.First != 1 || got.Last != 3 || len(got.Events) != 2 {
		t.Fatalf("got %+v", got)
	}
	e := got.Events[1]
	if e.ID != "c1-3" || e.Seq != 3 || e.App != "demo" || e.Channel != "chat:a" || e.Type != "vacated" || e.TimeMs != 1003 || e.Ends != 1 {
		t.Errorf("event = %+v", e)
	}
	if got := getAs[eventsBody](t, handler(s).Events, "nobody", "", 200); got.Events == nil || got.Last != 3 {
		t.Errorf("an app without events gets %+v, want an empty list", got)
	}
}

func TestBodiesExactly(t *testing.T) {
	s := newFakeSource()
	s.toggle("demo", "chat:<a>")
	h := handler(s)
	for _, test := range []struct {
		serve http.HandlerFunc
		want  string
	}{
		{h.Events, `{"first":1,"last":1,"events":[{"id":"c1-1","seq":1,"app":"demo","channel":"chat:<a>","type":"occupied","time_ms":1001}]}`},
		{h.Occupied, `{"as_of":1,"channels":[{"channel":"chat:<a>","since_ms":1001,"seq":1}]}`},
	} {
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("App", "demo")
		test.serve(w, r)
		if got := strings.TrimSpace(w.Body.String()); got != test.want {
			t.Errorf(" got %s\nwant %s", got, test.want)
		}
	}
}

func TestEventsAreFoundBehindManyOfOthers(t *testing.T) {
	s := newFakeSource()
	for range 2*scanChunk + 7 {
		s.toggle("other", "x")
	}
	want := s.toggle("demo", "chat:a")
	got := get[eventsBody](t, handler(s).Events, "limit=1", 200)
	if len(got.Events) != 1 || got.Events[0].Seq != want {
		t.Errorf("got %+v, want seq %d", got, want)
	}
}

func TestLongPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSource()
		s.toggle("demo", "chat:a")
		begin := time.Now()
		go func() {
			time.Sleep(time.Second)
			s.toggle("other", "x") // wakes the poll, but is not for it
			time.Sleep(time.Second)
			s.toggle("demo", "chat:b")
		}()
		got := get[eventsBody](t, handler(s).Events, "after=1&wait=20s", 200)
		if took := time.Since(begin); len(got.Events) != 1 || got.Events[0].Seq != 3 || took != 2*time.Second {
			t.Errorf("after %v got %+v", took, got)
		}
		begin = time.Now()
		got = get[eventsBody](t, handler(s).Events, "after=3&wait=20s", 200)
		if took := time.Since(begin); len(got.Events) != 0 || got.Last != 3 || took != 20*time.Second {
			t.Errorf("after %v got %+v", took, got)
		}
	})
}

func TestLongPollEndsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, w := httptest.NewRequest("GET", "/events?wait=1m", nil).WithContext(ctx), httptest.NewRecorder()
		r.Header.Set("App", "demo")
		begin := time.Now()
		handler(newFakeSource()).Events(w, r)
		if took := time.Since(begin); took != time.Second || w.Body.Len() != 0 {
			t.Errorf("after %v wrote %q", took, w.Body)
		}
	})
}

func TestForgottenEventsAreNotSkippedInSilence(t *testing.T) {
	for _, strict := range []bool{false, true} {
		testForgotten(t, strict)
	}
}

func testForgotten(t *testing.T, strict bool) {
	s := newFakeSource()
	s.strict = strict
	for range 10 {
		s.toggle("demo", "chat:a")
	}
	s.retain(6)
	h := handler(s)
	got := get[errorBody](t, h.Events, "after=4", 400)
	if got.Error.Code != 40011 || !strings.Contains(got.Error.Message, "behind seq 4 are no longer retained, the oldest is 6") {
		t.Errorf("error = %+v", got.Error)
	}
	if got := get[eventsBody](t, h.Events, "after=5", 200); len(got.Events) != 5 {
		t.Errorf("after=5: %+v", got)
	}
	if got := get[eventsBody](t, h.Events, "after=0", 200); got.First != 6 || len(got.Events) != 5 {
		t.Errorf("after=0: %+v", got)
	}
	if got := get[occupiedBody](t, h.Occupied, "", 200); got.AsOf != 10 {
		t.Errorf("occupied: %+v", got)
	}
}

func TestNodeThatLagsWaitsThenSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeSource()
		s.toggle("demo", "chat:a")
		h := handler(s)
		time.AfterFunc(time.Second, func() { s.toggle("demo", "chat:b") })
		if got := get[eventsBody](t, h.Events, "after=2", 200); got.Last != 2 {
			t.Errorf("got %+v", got)
		}
		got := get[errorBody](t, h.Events, "after=9", 503)
		if got.Error.Code != 50003 || !strings.Contains(got.Error.Message, "seq 9") {
			t.Errorf("error = %+v", got.Error)
		}
		ahead := cursor{asOf: 9, listing: listing("demo", "")}
		if got := get[errorBody](t, h.Occupied, "cursor="+ahead.text(), 503); got.Error.Code != 50003 {
			t.Errorf("error = %+v", got.Error)
		}
	})
}

func TestPagesShowTheSetAsOfOneSeq(t *testing.T) {
	s := newFakeSource()
	for i := range 25 {
		s.toggle("demo", fmt.Sprint("chat:", i))
	}
	s.toggle("demo", "game:1")
	s.toggle("other", "chat:100")
	h := handler(s)
	seen := make(map[string]uint64)
	query := "limit=10&prefix=chat:"
	for page := 0; ; page++ {
		got := get[occupiedBody](t, h.Occupied, query, 200)
		if got.AsOf != 27 || len(got.Channels) > 10 {
			t.Fatalf("page %d: as_of %d, %d channels", page, got.AsOf, len(got.Channels))
		}
		for _, c := range got.Channels {
			if seen[c.Channel] != 0 {
				t.Errorf("%s listed twice", c.Channel)
			}
			seen[c.Channel] = c.Seq
		}
		if got.Next == "" {
			break
		}
		query = "limit=10&prefix=chat:&cursor=" + got.Next
		s.toggle("demo", fmt.Sprint("chat:", page)) // changes behind and before the cursor
		s.toggle("demo", fmt.Sprint("chat:", 20+page))
		s.toggle("demo", fmt.Sprint("chat:new", page))
	}
	if len(seen) != 25 || seen["chat:3"] != 4 {
		t.Errorf("listed %d channels: %v", len(seen), seen)
	}
}

func TestExpiredListingSaysStartAgain(t *testing.T) {
	s := newFakeSource()
	for i := range 5 {
		s.toggle("demo", fmt.Sprint("chat:", i))
	}
	h := handler(s)
	page := get[occupiedBody](t, h.Occupied, "limit=2", 200)
	s.toggle("demo", "chat:9")
	s.toggle("demo", "chat:10")
	s.retain(7)
	got := get[errorBody](t, h.Occupied, "cursor="+page.Next, 400)
	if got.Error.Code != 40011 || !strings.Contains(got.Error.Message, "start again without a cursor") {
		t.Errorf("error = %+v", got.Error)
	}
}

func TestBadRequests(t *testing.T) {
	s := newFakeSource()
	h := handler(s)
	foreign := cursor{listing: listing("demo", "chat:")}
	for _, test := range []struct {
		serve  http.HandlerFunc
		query  string
		status int
		code   int
		want   string
	}{
		{h.Events, "after=-1", 400, 40003, `parameter after is "-1"; it must be a whole number from 0 to 18446744073709551615`},
		{h.Events, "limit=0", 400, 40003, `parameter limit is "0"; it must be a whole number from 1 to 10000`},
		{h.Events, "limit=10001", 400, 40003, `from 1 to 10000`},
		{h.Events, "wait=2h", 400, 40003, `parameter wait is "2h"; it must be a duration from 0s to 1m0s, such as 20s`},
		{h.Events, "wait=20", 400, 40003, `parameter wait is "20"`},
		{h.Occupied, "limit=x", 400, 40003, `parameter limit is "x"`},
		{h.Occupied, "cursor=nonsense", 400, 40003, `parameter cursor is "nonsense", which is not a cursor`},
		{h.Occupied, "prefix=game:&cursor=" + foreign.text(), 400, 40003, "of another listing"},
	} {
		got := get[errorBody](t, test.serve, test.query, test.status)
		if got.Error.Code != test.code || got.Error.StatusCode != test.status || !strings.Contains(got.Error.Message, test.want) ||
			got.Error.Href != "" {
			t.Errorf("?%s: %+v, want %d %q", test.query, got.Error, test.code, test.want)
		}
	}
}

func TestErrorsCarryTheirHeaders(t *testing.T) {
	s := newFakeSource()
	r, w := httptest.NewRequest("GET", "/events", nil), httptest.NewRecorder()
	handler(s).Events(w, r)
	if w.Code != 401 || w.Header().Get("X-Ably-Errorcode") != "40101" || w.Header().Get("X-Ably-Errormessage") == "" {
		t.Errorf("no credentials: %d %v", w.Code, w.Header())
	}
	r, w = httptest.NewRequest("GET", "/events?limit="+url.QueryEscape("ä\r\nX: y"), nil), httptest.NewRecorder()
	r.Header.Set("App", "demo")
	handler(s).Events(w, r)
	if got := w.Header().Get("X-Ably-Errormessage"); strings.ContainsAny(got, "\r\nä") {
		t.Errorf("header %q", got)
	}
	r, w = httptest.NewRequest("POST", "/events", nil), httptest.NewRecorder()
	handler(s).Events(w, r)
	if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
	s.fail = errDisk
	if got := get[errorBody](t, handler(s).Events, "", 500); got.Error.Code != 50000 || strings.Contains(got.Error.Message, "fire") {
		t.Errorf("inner error: %+v", got.Error)
	}
}

// A consumer that lost its database rebuilds it: snapshot, then the stream behind it, whatever happens meanwhile.
func TestRebuildIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newFakeSource()
		h := handler(s)
		churn := func(most int) {
			for range rapid.IntRange(0, most).Draw(rt, "toggles") {
				app := rapid.SampledFrom([]string{"demo", "demo", "other"}).Draw(rt, "app")
				s.toggle(app, fmt.Sprint("c", rapid.IntRange(0, 9).Draw(rt, "channel")))
			}
		}
		churn(60)
		mine := make(map[string]uint64)
		limit := rapid.IntRange(1, 5).Draw(rt, "limit")
		query, asOf := fmt.Sprint("limit=", limit), uint64(0)
		for {
			page := get[occupiedBody](t, h.Occupied, query, 200)
			asOf = page.AsOf
			for _, c := range page.Channels {
				mine[c.Channel] = c.Seq
			}
			if page.Next == "" {
				break
			}
			query = fmt.Sprintf("limit=%d&cursor=%s", limit, page.Next)
			churn(5)
		}
		for after := asOf; ; {
			got := get[eventsBody](t, h.Events, fmt.Sprintf("after=%d&limit=%d", after, limit), 200)
			for _, e := range got.Events {
				if e.Type == "occupied" {
					mine[e.Channel] = e.Seq
				} else if mine[e.Channel] != e.Ends {
					rt.Fatalf("vacated %d ends %d, have %d", e.Seq, e.Ends, mine[e.Channel])
				} else {
					delete(mine, e.Channel)
				}
				after = e.Seq
			}
			if len(got.Events) < limit {
				break
			}
			churn(1)
		}
		truth := make(map[string]uint64)
		for name, e := range s.occupiedAt("demo", uint64(len(s.history))) {
			truth[name] = e.Seq
		}
		if !maps.Equal(mine, truth) {
			rt.Fatalf("rebuilt %v, truth is %v", mine, truth)
		}
	})
}

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := cursor{
			asOf: rapid.Uint64().Draw(t, "asOf"), listing: rapid.Uint64().Draw(t, "listing"),
			at: Position{rapid.Uint64().Draw(t, "hash"), rapid.StringN(0, 100, cursorNameMax).Draw(t, "name")},
		}
		text := c.text()
		if url.QueryEscape(text) != text {
			t.Fatalf("%q needs escaping", text)
		}
		if got, err := parseCursor(text); err != nil || got != c {
			t.Fatalf("got %+v, %v; want %+v", got, err, c)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(cursor{asOf: 27, listing: 1, at: Position{7, "chat:a"}}.text())
	f.Add("AQ")
	f.Add(strings.Repeat("A", 9000))
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := parseCursor(text); err == nil && c.text() != text {
			t.Errorf("%q reads as %+v, which writes %q", text, c, c.text())
		}
	})
}
