package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"innkeeper/channel"
)

// tapWorld is the channels of a node, a backend, and what each has seen of the other.
type tapWorld struct {
	t    *testing.T
	taps *Taps

	mu       sync.Mutex
	epoch    uint64
	kept     map[string][]*channel.Delivery
	from     map[string]int // publishes before are gone
	counts   map[string]channel.Counts
	told     map[string]string
	heard    map[string]int32 // connections
	refuse   map[string]int   // by path: requests to refuse
	page     int              // publishes that one read gives
	reads    int
	answer   func() (takes bool)      // before refuse; nil takes all
	slow     map[string]time.Duration // by path: what a request takes, though it be given up
	requests []tapRequest
}

type tapRequest struct {
	path   string
	header http.Header
	body   string
	at     time.Time
}

func newTapWorld(t *testing.T, rules ...Rule) *tapWorld {
	w := &tapWorld{
		t: t, epoch: 1, kept: map[string][]*channel.Delivery{}, from: map[string]int{}, counts: map[string]channel.Counts{},
		told: map[string]string{}, heard: map[string]int32{}, refuse: map[string]int{}, slow: map[string]time.Duration{}, page: 2,
	}
	w.taps = NewTaps(TapsConfig{Source: w, Client: &http.Client{Transport: w}, Site: func() string { return "here" }})
	if err := w.taps.Set(rules); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *tapWorld) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	slow := w.slow[r.URL.Path]
	w.mu.Unlock()
	time.Sleep(slow)
	takes := w.answer == nil || w.answer()
	w.mu.Lock()
	defer w.mu.Unlock()
	status := http.StatusOK
	if !takes {
		status = http.StatusInternalServerError
	} else if w.refuse[r.URL.Path] > 0 {
		w.refuse[r.URL.Path]--
		status = http.StatusInternalServerError
	} else {
		w.requests = append(w.requests, tapRequest{r.URL.Path, r.Header, string(body), time.Now()})
	}
	if err := r.Context().Err(); err != nil {
		return nil, err // the backend has it all the same
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

func (w *tapWorld) History(_ context.Context, _, name string, q channel.History) (r channel.HistoryResult, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads++
	list := w.kept[name]
	r = channel.HistoryResult{Complete: q.After == ""}
	for i, d := range list {
		if q.After == channel.SerialPosition(d.Serial) && i+1 >= w.from[name] {
			r.Complete = true
		}
		if i < w.from[name] || channel.SerialPosition(d.Serial) <= q.After || q.Of == channel.OnlyPresence != (d.Presence != nil) {
			continue
		}
		if len(r.Deliveries) == w.page {
			r.More = true
			break
		}
		r.Deliveries = append(r.Deliveries, d)
	}
	if len(list) > 0 {
		r.Serial = list[len(list)-1].Serial
	}
	return r, nil
}

func (w *tapWorld) Query(_ context.Context, _, name string) (channel.QueryResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return channel.QueryResult{Active: true, Counts: w.counts[name]}, nil
}

func (w *tapWorld) Told(_ uint32, epoch uint64, _, name, serial string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch == w.epoch {
		w.told[name] = max(w.told[name], serial)
	}
}

func (w *tapWorld) Counted(_ uint32, epoch uint64, _, name string, counts channel.Counts) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch == w.epoch {
		w.heard[name] = counts[channel.Connections]
	}
}

// publish keeps messages, or a member when there is an empty one, and says so.
func (w *tapWorld) publish(name string, texts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock() // as the host says news: nothing is told between the position and them
	n := len(w.kept[name]) + 1
	d := &channel.Delivery{
		App: "demo", Name: name, Serial: fmt.Sprintf("01726585978590-%03d@s", n), ID: fmt.Sprintf("id%d", n), ConnID: "c1", TimeMs: 1726585978590,
	}
	for _, text := range texts {
		d.Messages = append(d.Messages, channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(text)})
	}
	if texts[0] == "" {
		d.Messages, d.Presence = nil, []channel.Member{{Action: channel.Enter, ID: "c1:0:0", ClientID: "alice", ConnID: "c1", TimeMs: d.TimeMs}}
	}
	w.kept[name] = append(w.kept[name], d)
	w.taps.News(channel.News{Epoch: w.epoch, App: "demo", Name: name, Told: w.told[name], What: channel.TapHistory})
}

func (w *tapWorld) count(name string, n int32) {
	w.mu.Lock()
	w.counts[name] = channel.Counts{n}
	w.mu.Unlock()
	w.taps.News(channel.News{Epoch: w.epoch, App: "demo", Name: name, What: channel.TapOccupancy})
}

// texts are the data of all messages that came to a path, in order.
func (w *tapWorld) texts(path string) (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		if r.path != path {
			continue
		}
		var b struct {
			Items []struct {
				Name string
				Data struct {
					ChannelID string
					Messages  []struct{ Data string }
					Presence  []struct{ ClientID string }
				}
			}
		}
		if err := json.Unmarshal([]byte(r.body), &b); err != nil {
			w.t.Fatalf("%s: %v", r.body, err)
		}
		for _, it := range b.Items {
			if it.Name == "channel.gap" {
				list = append(list, "gap")
			}
			for _, m := range it.Data.Messages {
				list = append(list, m.Data)
			}
			for _, m := range it.Data.Presence {
				list = append(list, m.ClientID)
			}
		}
	}
	return list
}

func tapRule(id, source string) Rule {
	return Rule{ID: id, App: "demo", Source: source, Format: Ably, URL: "http://backend/" + id}
}

// rest lets time pass, and everything that happens in it.
func rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestTapsTellMessagesAndPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		presence := tapRule("presence", SourceChannelPresence)
		chats := tapRule("chats", SourceChannelMessage)
		chats.Channels = regexp.MustCompile("^chat:")
		w := newTapWorld(t, tapRule("all", SourceChannelMessage), presence, chats)
		defer w.taps.Close()
		if got := w.taps.Wants("demo", "room"); got != channel.TapHistory {
			t.Errorf("wants %v", got)
		}
		if got := w.taps.Wants("other", "room"); got != 0 {
			t.Errorf("wants %v of another app", got)
		}
		for i := range 7 {
			w.publish("room", fmt.Sprint(i))
		}
		w.publish("room", "")
		w.publish("chat:a", "hello")
		rest(time.Second)
		var rooms []string
		for _, text := range w.texts("/all") {
			if text != "hello" {
				rooms = append(rooms, text)
			}
		}
		if fmt.Sprint(rooms) != "[0 1 2 3 4 5 6]" {
			t.Errorf("all: %v", rooms)
		}
		if got := fmt.Sprint(w.texts("/presence"), w.texts("/chats")); got != "[alice] [hello]" {
			t.Errorf("presence and chats: %v", got)
		}
		if w.told["room"] != "01726585978590-008" || w.told["chat:a"] != "01726585978590-001" {
			t.Errorf("told %v", w.told)
		}
		for _, s := range w.taps.Status() {
			if s.Held != 0 || s.InFlight != 0 {
				t.Errorf("at rest: %+v", s)
			}
		}
	})
}

// TestDeadTargetHoldsOnlyItself has one target that is down: the other rule goes on, and the position stays behind what
// both were told.
func TestDeadTargetHoldsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTapWorld(t, tapRule("well", SourceChannelMessage), tapRule("down", SourceChannelMessage))
		defer w.taps.Close()
		w.refuse["/down"] = 5
		w.publish("room", "a")
		rest(10 * time.Millisecond)
		w.publish("room", "b")
		rest(50 * time.Millisecond)
		if got := fmt.Sprint(w.texts("/well"), w.texts("/down")); got != "[a b] []" {
			t.Errorf("told %v", got)
		}
		if w.told["room"] != "" {
			t.Errorf("told up to %v though one was not", w.told)
		}
		if s := w.taps.Status()[1]; s.Failures == 0 || s.LastError == "" || !s.InBackoff {
			t.Errorf("status %+v", s)
		}
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/down")); got != "[a b]" {
			t.Errorf("told %v", got)
		}
		if w.told["room"] != "01726585978590-002" {
			t.Errorf("told up to %v", w.told)
		}
	})
}

func TestWhatIsGoneLeavesAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTapWorld(t, tapRule("all", SourceChannelMessage))
		defer w.taps.Close()
		w.publish("room", "a")
		rest(time.Second)
		w.refuse["/all"] = 8
		for _, text := range []string{"b", "c", "d"} {
			w.publish("room", text)
		}
		rest(100 * time.Millisecond)
		w.mu.Lock()
		w.from["room"] = 3 // b and c are older than the retention
		w.mu.Unlock()
		rest(5 * time.Minute)
		if got := fmt.Sprint(w.texts("/all")); got != "[a gap d]" {
			t.Errorf("told %v", got)
		}
	})
}

// TestNextOwnerGoesOn ends a tenure while a target is down: nothing is told any more, and the next one tells the rest.
func TestNextOwnerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTapWorld(t, tapRule("all", SourceChannelMessage))
		defer w.taps.Close()
		w.publish("room", "a")
		rest(time.Second)
		w.refuse["/all"] = 3
		w.publish("room", "b")
		rest(100 * time.Millisecond)
		w.taps.Over(0, 1)
		w.epoch = 2
		rest(time.Hour)
		if got := fmt.Sprint(w.texts("/all")); got != "[a]" {
			t.Errorf("told %v after the end", got)
		}
		w.publish("room", "c")
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/all")); got != "[a b c]" {
			t.Errorf("told %v", got)
		}
	})
}

func TestOccupancyIsToldAtLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTapWorld(t, tapRule("counts", SourceChannelOccupancy))
		defer w.taps.Close()
		begin := time.Now()
		for i := range int32(50) {
			w.count("room", i+1)
			rest(20 * time.Millisecond)
		}
		w.count("room", 0)
		rest(time.Minute)
		if n := len(w.requests); n < 2 || n > 3 || w.requests[0].at.Sub(begin) > 20*time.Millisecond {
			t.Errorf("%d requests", n)
		}
		if last := w.requests[len(w.requests)-1].body; !strings.Contains(last, `"connections":0`) || !strings.Contains(last, `"name":"channel.occupancy"`) {
			t.Errorf("at last: %s", last)
		}
	})
}

// Counts are heard when all who want to know them have accepted them, and not while there are others to tell.
func TestCountsAreHeardByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTapWorld(t, tapRule("one", SourceChannelOccupancy), tapRule("other", SourceChannelOccupancy), tapRule("said", SourceChannelMessage))
		defer w.taps.Close()
		expect := func(what string, want int32) {
			t.Helper()
			w.mu.Lock()
			defer w.mu.Unlock()
			if got, known := w.heard["room"]; got != want || !known {
				t.Errorf("%s: %d (known: %v), want %d", what, got, known, want)
			}
		}
		w.count("room", 3)
		rest(5 * time.Second)
		expect("told to both", 3)
		w.mu.Lock()
		w.refuse["/other"] = 1 << 30
		w.mu.Unlock()
		w.count("room", 0)
		rest(time.Minute)
		expect("one refuses", 3)
		w.count("room", 2)
		rest(time.Minute)
		w.count("room", 0)
		w.mu.Lock()
		w.refuse["/other"] = 0
		w.mu.Unlock()
		rest(time.Minute)
		expect("it accepts again", 0)
	})
}

func TestSingleAndPlainRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		single, plain := tapRule("single", SourceChannelMessage), tapRule("plain", SourceChannelMessage)
		single.Ably = AblyForm{Single: true, KeyName: "demo.root", KeySecret: "s"}
		plain.Ably = AblyForm{Single: true, Plain: true}
		w := newTapWorld(t, single, plain)
		defer w.taps.Close()
		w.publish("room", "a")
		w.publish("room", "b")
		rest(time.Second)
		var bodies []string
		for _, r := range w.requests {
			switch r.path {
			case "/plain":
				bodies = append(bodies, r.body)
				if h := r.header; h.Get("Content-Type") != "text/plain" || h.Get("X-Ably-Envelope-Channel") != "room" || h.Get("X-Ably-Message-Name") != "m" ||
					h.Get("X-Ably-Message-Connection-Id") != "c1" || h.Get("X-Ably-Message-Id") == "" || h.Get("X-Ably-Message-Action") != "0" {
					t.Errorf("headers %v", h)
				}
			case "/single":
				var e struct {
					Source, AppID, Channel, Site, RuleID string
					Messages                             []struct{ Data, ID, ConnectionID string }
				}
				if err := json.Unmarshal([]byte(r.body), &e); err != nil || e.Source != "channel.message" || e.AppID != "demo" || e.Site != "here" ||
					len(e.Messages) != 1 || e.Messages[0].ConnectionID != "c1" || r.header.Get("X-Ably-Key") != "demo.root" {
					t.Errorf("%s (%v)", r.body, err)
				}
			}
		}
		if fmt.Sprint(bodies) != "[a b]" {
			t.Errorf("plain bodies %v", bodies)
		}
	})
}

func TestSkippedByRule(t *testing.T) {
	for extras, want := range map[string]bool{
		`{"privileged":{"skipRule":"*"}}`: true, `{"privileged":{"skipRule":"all"}}`: true, `{"privileged":{"skipRule":["x","all"]}}`: true,
		`{"privileged":{"skipRule":["x"]}}`: false, `{"headers":{"skipRule":"*"}}`: false, `{"skipRule`: false, ``: false,
		// What is not seen as a privilege, and so not refused, does not work as one.
		`{"Privileged":{"skipRule":"*"}}`: false, `{"privileged":{"SkipRule":"*","x":"skipRule"}}`: false, `{"privileged":"skipRule"}`: false,
		`{"privileged":{"skipRule":"*"},"privileged":null}`: false,
	} {
		if got := skipsRule([]byte(extras), "all"); got != want {
			t.Errorf("%s: %v", extras, got)
		}
	}
}

// TestRulesChangeWhileTheyRun replaces a target that is down by one that is not: what waited is told.
func TestRulesChangeWhileTheyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTapWorld(t, tapRule("all", SourceChannelMessage))
		defer w.taps.Close()
		w.refuse["/all"] = 1 << 30
		w.publish("room", "a")
		rest(10 * time.Second)
		other := tapRule("all", SourceChannelMessage)
		other.URL = "http://backend/other"
		if err := w.taps.Set([]Rule{other}); err != nil {
			t.Fatal(err)
		}
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/other")); got != "[a]" {
			t.Errorf("told %v", got)
		}
		bad := other
		bad.Format = Innkeeper
		if err := w.taps.Set([]Rule{bad}); err == nil {
			t.Error("a bad rule was taken")
		}
	})
}

// TestOthersChangeWhileARequestIsMade has another rule made and dropped while a target takes its time: it is told once.
func TestOthersChangeWhileARequestIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine := func() Rule {
			r := tapRule("all", SourceChannelMessage)
			r.Channels, r.Headers = regexp.MustCompile("^room"), map[string]string{"X": "y"}
			return r
		}
		w := newTapWorld(t, mine())
		defer w.taps.Close()
		w.answer = func() bool {
			time.Sleep(time.Second)
			return true
		}
		w.publish("room", "a")
		rest(500 * time.Millisecond)
		for _, rules := range [][]Rule{{tapRule("other", SourceChannelPresence), mine()}, {mine()}} {
			if err := w.taps.Set(rules); err != nil {
				t.Fatal(err)
			}
		}
		w.publish("room", "b")
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/all")); got != "[a b]" {
			t.Errorf("told %v", got)
		}
		changed := mine()
		changed.Channels = regexp.MustCompile("^chat")
		if err := w.taps.Set([]Rule{changed}); err != nil {
			t.Fatal(err)
		}
		w.publish("room", "c")
		w.publish("chat", "d")
		rest(time.Minute)
		if got := fmt.Sprint(w.texts("/all")); got != "[a b d]" {
			t.Errorf("told %v", got)
		}
	})
}

// TestTapQueueOrder drives a queue with random news, ends and outcomes: a channel has one turn at a time, positions never
// go back within a tenure, and in the end everything was told.
func TestTapQueueOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newTapQueue(rapid.IntRange(1, 3).Draw(t, "lanes"), rapid.IntRange(1, 3).Draw(t, "turns"), time.Duration(rapid.IntRange(0, 1).Draw(t, "rest"))*time.Second)
		now := time.Unix(1, 0)
		head := map[string]int{}    // publishes of a channel
		told := map[string]int{}    // accepted
		flying := map[tapKey]bool{} // turns
		var requests [][]tapTurn
		serial := func(n int) string {
			if n == 0 {
				return ""
			}
			return fmt.Sprintf("%014d-000", n)
		}
		number := func(s string) (n int) { fmt.Sscanf(s, "%d", &n); return n }
		take := func() {
			for turns := q.next(now); turns != nil; turns = q.next(now) {
				for _, turn := range turns {
					if flying[turn.tapKey] {
						t.Fatalf("%s has two turns", turn.channel)
					}
					if n := number(turn.cursor); n > told[turn.channel] {
						t.Fatalf("%s begins at %d, told up to %d", turn.channel, n, told[turn.channel])
					}
					flying[turn.tapKey] = true
				}
				requests = append(requests, turns)
			}
		}
		finish := func(i int, fails bool) {
			turns := requests[i]
			requests = append(requests[:i], requests[i+1:]...)
			var done []tapDone
			for _, turn := range turns {
				delete(flying, turn.tapKey)
				d := tapDone{tapTurn: turn, told: turn.cursor}
				if !fails {
					to := min(number(turn.cursor)+2, head[turn.channel])
					d.told, d.ok, d.more = serial(to), true, to < head[turn.channel]
					told[turn.channel] = max(told[turn.channel], to)
				}
				done = append(done, d)
			}
			q.done(now, done, fails, 0.5)
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "channel")
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				head[name]++
				q.news(&channel.News{Epoch: 1, App: "demo", Name: name, Told: serial(told[name]), What: channel.TapHistory}, channel.TapHistory)
			case 2:
				take()
			case 3:
				if len(requests) > 0 {
					finish(rapid.IntRange(0, len(requests)-1).Draw(t, "request"), rapid.Bool().Draw(t, "fails"))
				}
			case 4:
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			}
		}
		for range 200 {
			take()
			for len(requests) > 0 {
				finish(0, false)
			}
			if at := q.wake(); at.After(now) {
				now = at
			}
		}
		for name, n := range head {
			if told[name] != n {
				t.Fatalf("%s was told %d of %d", name, told[name], n)
			}
		}
		for key := range q.entries {
			if !q.idle(key) {
				t.Fatalf("at rest: %+v is not idle", key)
			}
		}
		if q.inFlight != 0 || q.rest > 0 && len(q.entries) > 0 {
			t.Fatalf("at rest: %d entries, %d in flight", len(q.entries), q.inFlight)
		}
	})
}
