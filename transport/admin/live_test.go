package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/standing"
)

// tape is a log of events that grows.
type tape struct {
	mu    sync.Mutex
	first uint64
	all   []LiveEvent // from seq 1
}

func (l *tape) add(n int, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.all = append(l.all, LiveEvent{Seq: uint64(len(l.all) + 1), App: "a", Channel: name, Type: "occupied"})
	}
}

// forget drops what is before first.
func (l *tape) forget(first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = first
}

func (l *tape) events(after uint64, limit int) (first, last uint64, events []LiveEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	after, last = max(after, l.first-1), uint64(len(l.all))
	if after < last {
		events = l.all[after:min(last, after+uint64(limit))]
	}
	return l.first, last, events
}

// pipe is a response that is read while it is written, in a bubble.
type pipe struct {
	head   http.Header
	status int
	out    chan string
	part   strings.Builder
}

func (p *pipe) Header() http.Header         { return p.head }
func (p *pipe) WriteHeader(code int)        { p.status = code }
func (p *pipe) Write(b []byte) (int, error) { return p.part.Write(b) }
func (p *pipe) Flush()                      { p.out <- p.part.String(); p.part.Reset() }

type heardEvents struct {
	Events  []LiveEvent `json:"events"`
	Skipped uint64      `json:"skipped"`
}

// parse returns the summaries and the events of one write.
func parse(t *testing.T, text string) (summaries int, events *heardEvents) {
	t.Helper()
	event := ""
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case key == "event":
			event = value
		case key == "data" && event == "summary":
			summaries++
		case key == "data":
			events = &heardEvents{}
			if err := json.Unmarshal([]byte(value), events); err != nil {
				t.Fatalf("%v: %s", err, value)
			}
		}
	}
	return summaries, events
}

func TestLiveTellsOncePerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &tape{first: 1}
		log.add(150, "past")
		var ended atomic.Bool
		h := NewLive(LiveConfig{Summary: func(context.Context) Summary { return Summary{} }, Events: log.events, Ended: ended.Load})
		p := &pipe{head: http.Header{}, out: make(chan string)}
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.ServeHTTP(p, httptest.NewRequest("GET", "/live", nil))
		}()
		began := time.Now()
		expect := func(what string, first, last, skipped uint64) {
			t.Helper()
			n, e := parse(t, <-p.out)
			if n != 1 {
				t.Errorf("%s: %d summaries", what, n)
			}
			switch {
			case last == 0 && e != nil:
				t.Errorf("%s: %d events, want none", what, len(e.Events))
			case last == 0:
			case e == nil:
				t.Errorf("%s: no events", what)
			case e.Events[0].Seq != first || e.Events[len(e.Events)-1].Seq != last || e.Skipped != skipped:
				t.Errorf("%s: events %d to %d, skipped %d; want %d to %d, %d", what, e.Events[0].Seq, e.Events[len(e.Events)-1].Seq, e.Skipped, first, last, skipped)
			}
		}
		expect("the newest of the past", 51, 150, 0)
		expect("nothing new", 0, 0, 0)
		log.add(3, "new")
		expect("three", 151, 153, 0)
		log.add(1000, "flood")
		expect("a flood", 954, 1153, 800)
		log.add(100, "folded")
		log.forget(1200)
		expect("some are gone", 1200, 1253, 46)
		if passed := time.Since(began); passed != 4*time.Second {
			t.Errorf("five summaries take %v", passed)
		}
		ended.Store(true)
		<-done
		if p.head.Get("Content-Type") != "text/event-stream" || p.head.Get("Cache-Control") != "no-store" {
			t.Errorf("the headers are %v", p.head)
		}
	})
}

func TestLiveGoesOnBehindASeq(t *testing.T) {
	log := &tape{first: 1}
	log.add(150, "past")
	for after, want := range map[string]string{"148": `"skipped":0`, "150": "", "999": `"seq":51,`, "x": `"seq":51,`} {
		var asked int
		h := NewLive(LiveConfig{
			Summary: func(context.Context) Summary { return Summary{} }, Events: log.events,
			Ended: func() bool { asked++; return asked > 1 },
		})
		ctx, cancel := context.WithCancel(t.Context())
		w := httptest.NewRecorder()
		time.AfterFunc(0, cancel)
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/live?after="+after, nil))
		_, e := parse(t, w.Body.String())
		if (e == nil) != (want == "") || !strings.Contains(w.Body.String(), want) || after == "148" && len(e.Events) != 2 {
			t.Errorf("after %s comes %.300s", after, w.Body)
		}
	}
}

func TestLiveBoundsItsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &tape{first: 1}
		h := NewLive(LiveConfig{Summary: func(context.Context) Summary { return Summary{} }, Events: log.events, Ended: func() bool { return false }})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range liveReaders {
			all.Go(func() {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/live", nil))
			})
		}
		synctest.Wait()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/live", nil))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("one more is answered %d", w.Code)
		}
		cancel()
		all.Wait()
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/live", nil))
		if w.Code != http.StatusOK {
			t.Errorf("when all are gone, the next is answered %d", w.Code)
		}
	})
}

func TestMeter(t *testing.T) {
	h := NewLive(LiveConfig{Meter: func(app, unit string, limit int) ([]MeterRow, error) {
		switch {
		case app == "broken":
			return nil, errors.New("broken")
		case app == "none":
			return nil, nil
		}
		return []MeterRow{{StartMs: int64(limit), Channels: MeterGauge{Min: 1, Mean: 1.5, Peak: 501}}}, nil
	}})
	get := func(query string, status int) string {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/meter?"+query, nil))
		if w.Code != status {
			t.Errorf("%s is answered %d, want %d", query, w.Code, status)
		}
		return strings.Join(strings.Fields(w.Body.String()), "")
	}
	for unit, limit := range meterRows {
		want := fmt.Sprintf(`"intervals":[{"start_ms":%d,"channels":{"min":1,"mean":1.5,"peak":501},"connections":{"min":0,"mean":0,"peak":0}}],"limit":%d,"unit":%q`, limit, limit, unit)
		if got := get("unit="+unit+"&app=x", http.StatusOK); !strings.Contains(got, want) {
			t.Errorf("the meter says %s, want %s", got, want)
		}
	}
	if got := get("unit=day&app=none", http.StatusOK); !strings.Contains(got, `"intervals":[]`) {
		t.Errorf("nothing is told as %s", got)
	}
	get("unit=week", http.StatusBadRequest)
	get("unit=day&consistency=leader", http.StatusBadRequest)
	get("", http.StatusBadRequest)
	get("unit=day&app=broken", http.StatusInternalServerError)
}

// A node that has read nothing has no meter to show, and one that is cut off shows its own only to those who ask for it, as
// GET /occupied does.
func TestMeterOfWhoCannotKnow(t *testing.T) {
	for stands, want := range map[standing.Standing][2]int{standing.Behind: {503, 503}, standing.CutOff: {503, 200}, standing.InTouch: {200, 200}} {
		h := NewLive(LiveConfig{
			Standing: func() standing.Standing { return stands },
			Meter:    func(string, string, int) ([]MeterRow, error) { return []MeterRow{{StartMs: 1}}, nil },
		})
		for i, query := range []string{"unit=day", "unit=day&consistency=stale"} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/meter?"+query, nil))
			var got struct {
				Intervals []MeterRow `json:"intervals"`
				Stale     string     `json:"stale"`
				Error     struct{ Message string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			if w.Code != want[i] || (w.Code == 200) != (len(got.Intervals) == 1) || (w.Code == 503) != (got.Error.Message != "") {
				t.Errorf("standing %d, %s: %d %s", stands, query, w.Code, w.Body)
			}
			if says := w.Code == 200 && stands != standing.InTouch; says != (got.Stale != "") {
				t.Errorf("standing %d, %s: stale is %q", stands, query, got.Stale)
			}
		}
	}
}

func TestOneChannel(t *testing.T) {
	log := &tape{first: 1}
	const name = "../a//b?c#d"
	log.add(1, name)
	log.add(2500, "x")
	log.add(60, name)
	log.add(9000, "x")
	h := NewLive(LiveConfig{Events: log.events, Query: func(_ context.Context, app, name string) (bool, channel.Counts, error) {
		if name == "lost" {
			return false, channel.Counts{}, errors.New("no owner")
		}
		return true, channel.Counts{channel.Subscribers: 7}, nil
	}})
	get := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/channel?"+query, nil))
		return w
	}
	var got oneChannel
	if w := get("app=a&channel=..%2Fa%2F%2Fb%3Fc%23d"); json.Unmarshal(w.Body.Bytes(), &got) != nil || w.Code != 200 {
		t.Fatalf("answered %d %s", w.Code, w.Body)
	}
	if got.Channel != name || !got.Open || got.Occupancy.Subscribers != 7 || got.Since != 1562 {
		t.Errorf("the channel is %+v", got)
	}
	if len(got.Events) != channelTold || got.Events[0].Seq != 2561 || got.Events[channelTold-1].Seq != 2512 {
		t.Errorf("its events are %v", fmt.Sprint(got.Events))
	}
	for query, code := range map[string]int{"app=a": 400, "channel=x": 400, "app=a&channel=lost": 503} {
		if w := get(query); w.Code != code {
			t.Errorf("%s is answered %d, want %d", query, w.Code, code)
		}
	}
}
