package dispatch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventsArriveOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		sink.set(func(*http.Request, []received) (*http.Response, error) {
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			return reply(200, ""), nil
		})
		start(t, log, sink, rule())
		var last uint64
		for range 50 {
			last = log.occupy(names(37)...)
			time.Sleep(3 * time.Millisecond)
		}
		eventually(t, "all committed", func() bool { return log.cursor("demo/state") == last })
		expectOnce(t, sink.take(), last)
		if sink.most > 8 || sink.most < 2 {
			t.Errorf("%d requests in flight at most, want 2 to 8", sink.most)
		}
		if n := sink.count(); n > 1000 {
			t.Errorf("%d requests for %d events", n, last)
		}
	})
}

func TestFilteredEventsAreNotSentButPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		r := rule()
		r.Channels = regexp.MustCompile("^chat:1$")
		start(t, log, sink, r)
		log.occupy("game:1", "chat:1", "chat:2")
		log.mu.Lock()
		log.events[2].Channel, log.events[2].App = "chat:1", "other"
		log.mu.Unlock()
		eventually(t, "passed", func() bool { return log.cursor("demo/state") == 3 })
		if got := sink.take(); len(got) != 1 || got[0].Seq != 2 {
			t.Errorf("got %v, want seq 2 alone", got)
		}
	})
}

func TestCursorNeverPassesAFailureWhileOtherLanesGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		var sick atomic.Bool
		sick.Store(true)
		refuse := func(_ *http.Request, events []received) (*http.Response, error) {
			for _, e := range events {
				if sick.Load() && e.Channel == "chat:0" {
					return reply(500, "poison"), nil
				}
			}
			return reply(200, ""), nil
		}
		sink.set(refuse)
		d := start(t, log, sink, rule())
		other := names(200)[1:]
		log.occupy(other[:10]...)
		eventually(t, "healthy part committed", func() bool { return log.cursor("demo/state") == 10 })
		log.occupy("chat:0") // seq 11
		last := log.occupy(other...)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := log.cursor("demo/state"); got != 10 {
			t.Errorf("cursor = %d with seq 11 refused, want 10", got)
		}
		alone := laneOf("demo", "chat:0", 8)
		have := make(map[string]int)
		for _, e := range sink.take() {
			have[e.Channel]++
		}
		for i, c := range other {
			want := 1
			if i < 10 {
				want = 2
			}
			if laneOf("demo", c, 8) != alone && have[c] != want {
				t.Errorf("channel %s arrived %d times, want %d: a sick lane held up another", c, have[c], want)
			}
		}
		s := d.Status().Rules[0]
		if !s.InBackoff || s.Failures == 0 || s.Lag != last-10 || !strings.Contains(s.LastError, `500: "poison"`) {
			t.Errorf("status = %+v", s)
		}
		sick.Store(false)
		eventually(t, "all committed", func() bool { return log.cursor("demo/state") == last })
		expectOnce(t, sink.take(), last)
		if s := d.Status().Rules[0]; s.InBackoff || s.Lag != 0 || s.Held != 0 || s.LastSent != last || s.Sent != last {
			t.Errorf("status after recovery = %+v", s)
		}
	})
}

func TestMemoryIsBoundedWhileASinkIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		sink.set(always(503, ""))
		r := rule()
		d := build(t, Config{Log: log, Client: &http.Client{Transport: sink}, Rules: []Rule{r}, Window: 500})
		d.Lead(true)
		var last uint64
		for range 10 {
			last = log.occupy(names(1000)...)
		}
		time.Sleep(10 * time.Minute)
		if held := d.Status().Rules[0].Held; held != 500 {
			t.Errorf("holds %d events, want the window of 500", held)
		}
		tries := sink.count()
		time.Sleep(time.Minute)
		if n := sink.count() - tries; n < 8*3 || n > 8*6 {
			t.Errorf("%d requests in a minute of backoff at its most, want 24 to 48", n)
		}
		sink.set(nil)
		before := time.Now()
		eventually(t, "all committed", func() bool { return log.cursor("demo/state") == last })
		if took := time.Since(before); took > 25*time.Second {
			t.Errorf("recovery took %v", took)
		}
		expectOnce(t, sink.take(), last)
	})
}

func TestHangingSinkDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		sink.set(func(r *http.Request, events []received) (*http.Response, error) {
			if r.URL.Host == "hang.test" {
				return hang(r, events)
			}
			return reply(200, ""), nil
		})
		stuck := Rule{ID: "stuck", App: "demo", URL: "http://hang.test/"}
		d := start(t, log, sink, stuck, rule())
		before := time.Now()
		last := log.occupy(names(3000)...)
		eventually(t, "the other committed", func() bool { return log.cursor("demo/state") == last })
		if took := time.Since(before); took > time.Second {
			t.Errorf("the healthy sink took %v", took)
		}
		time.Sleep(3100 * time.Millisecond)
		s := d.Status().Rules[0]
		if s.Cursor != 0 || s.LastError != "no answer within 3s" {
			t.Errorf("hanging rule: %+v", s)
		}
		before = time.Now()
		d.Close()
		if took := time.Since(before); took > 0 {
			t.Errorf("close waited %v for a hanging sink", took)
		}
	})
}

func TestCrashAndResumeResendsUnderTheSameIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		first := start(t, log, sink, rule())
		log.occupy(names(20)...)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 20 })
		last := log.occupy(names(20)...)
		eventually(t, "sent", func() bool { synctest.Wait(); return len(sink.take()) == 40 })
		first.Close() // before the cursor was committed
		if got := log.cursor("demo/state"); got != 20 {
			t.Fatalf("cursor = %d, want 20 still", got)
		}
		start(t, log, sink, rule())
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		got := sink.take()
		if len(got) != 60 {
			t.Errorf("%d deliveries, want 60: 20 of them again", len(got))
		}
		expectAll(t, got, last)
	})
}

func TestAnswersThatAreFailures(t *testing.T) {
	long := strings.Repeat(" ", answerMax) + `{"result":{}}`
	for _, test := range []struct {
		name   string
		format Format
		answer func(*http.Request, []received) (*http.Response, error)
		want   string
	}{
		{"500", Innkeeper, always(500, "oops"), `answered 500: "oops"`},
		{"redirect", Innkeeper, func(r *http.Request, _ []received) (*http.Response, error) {
			resp := reply(302, "")
			resp.Header.Set("Location", "http://elsewhere.test/")
			return resp, nil
		}, `answered 302: ""`},
		{"100s", Innkeeper, always(199, ""), "answered 199"},
		{"hang", Innkeeper, hang, "no answer within 3s"},
		{"cut after reading", Innkeeper, func(*http.Request, []received) (*http.Response, error) {
			return nil, io.ErrUnexpectedEOF
		}, "unexpected EOF"},
		{"500", Centrifugo, always(500, `{"result":{}}`), "answered 500"},
		{"error", Centrifugo, always(200, `{"error":{"code":1,"message":"no"}}`), "the answer has an error"},
		{"error of another type", Centrifugo, always(200, `{"error":"no"}`), "the answer has an error"},
		{"empty", Centrifugo, always(200, ""), "not a JSON object"},
		{"not JSON", Centrifugo, always(200, "OK"), "not a JSON object"},
		{"array", Centrifugo, always(200, "[]"), "not a JSON object"},
		{"null", Centrifugo, always(200, "null"), "not a JSON object"},
		{"two objects", Centrifugo, always(200, "{}{}"), "not a JSON object"},
		{"too long", Centrifugo, always(200, long), "longer than 65536 bytes"},
		{"body cut short", Centrifugo, func(*http.Request, []received) (*http.Response, error) {
			resp := reply(200, "")
			resp.Body = cut{bytes.NewBufferString(`{"result":{}}`)}
			return resp, nil
		}, "answer cut short: connection reset"},
		{"body hangs", Centrifugo, func(r *http.Request, _ []received) (*http.Response, error) {
			resp := reply(200, "")
			resp.Body = slow{r.Context()}
			return resp, nil
		}, "answer cut short: no answer within 3s"},
	} {
		t.Run(string(test.format)+" "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, sink := newFakeLog(), &fakeSink{}
				sink.set(test.answer)
				r := rule()
				r.Format = test.format
				d := start(t, log, sink, r)
				last := log.occupy("chat:1", "chat:2")
				time.Sleep(10 * time.Second)
				s := d.Status().Rules[0]
				if !strings.Contains(s.LastError, test.want) || s.Cursor != 0 || s.Sent != 0 || s.Failures < 2 {
					t.Errorf("status = %+v, want error %q", s, test.want)
				}
				sink.mu.Lock()
				sink.got = nil // not accepted, whatever the fake thinks
				sink.mu.Unlock()
				sink.set(always(200, `{"result":{}}`))
				eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
				expectAll(t, sink.take(), last)
			})
		})
	}
}

// slow is a body that never ends.
type slow struct{ ctx context.Context }

func (s slow) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, s.ctx.Err() }
func (slow) Close() error               { return nil }

func TestAnswersThatAccept(t *testing.T) {
	for _, test := range []struct {
		format Format
		status int
		body   string
	}{
		{Innkeeper, 200, "anything"}, {Innkeeper, 204, ""}, {Innkeeper, 299, `{"error":"not our format"}`},
		{Centrifugo, 200, `{"result":{}}`}, {Centrifugo, 200, "{}"}, {Centrifugo, 201, ` {"error":null} `},
	} {
		if err := judge(t.Context(), &Rule{Format: test.format}, reply(test.status, test.body)); err != nil {
			t.Errorf("%s answer %d %q: %v", test.format, test.status, test.body, err)
		}
	}
}

func TestLeadershipFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		sink := &fakeSink{}
		sink.set(func(r *http.Request, _ []received) (*http.Response, error) {
			select {
			case <-time.After(time.Duration(rand.IntN(30)) * time.Millisecond):
				return reply(200, ""), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		nodes := []*Dispatcher{
			build(t, Config{Log: log, Client: &http.Client{Transport: sink}, Rules: []Rule{rule()}}),
			build(t, Config{Log: log, Client: &http.Client{Transport: sink}, Rules: []Rule{rule()}}),
		}
		var last uint64
		for i := range 200 {
			last = log.occupy(names(rand.IntN(20) + 1)...)
			leader := rand.IntN(2)
			nodes[1-leader].Lead(false)
			nodes[leader].Lead(true)
			if i%3 == 0 { // away and back before the old term can end
				nodes[leader].Lead(false)
				nodes[leader].Lead(true)
			}
			time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		}
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		expectAll(t, sink.take(), last)
	})
}

func TestLosingLeadershipCancelsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		sink.set(hang)
		d := start(t, log, sink, rule())
		log.occupy(names(100)...)
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if sink.inFlight() != 8 {
			t.Fatalf("%d requests in flight, want 8", sink.inFlight())
		}
		d.Lead(false)
		synctest.Wait()
		if n := sink.inFlight(); n != 0 {
			t.Errorf("%d requests in flight after the loss of leadership", n)
		}
		s := d.Status()
		if s.Leading || s.Rules[0].Failures != 0 || s.Rules[0].Lag != 100 || s.Rules[0].InFlight != 0 {
			t.Errorf("status = %+v", s)
		}
		before := sink.count()
		time.Sleep(time.Minute)
		if sink.count() != before {
			t.Error("sends without leading")
		}
	})
}

func TestLogThatFailsIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		log.setFail(errors.New("no leader"))
		start(t, log, sink, rule())
		last := log.occupy(names(10)...)
		time.Sleep(5 * time.Second)
		log.setFail(nil)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		log.setFail(errors.New("no leader"))
		last = log.occupy(names(10)...)
		time.Sleep(5 * time.Second)
		log.setFail(nil)
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		expectOnce(t, sink.take(), last)
	})
}

// A rule that is put again as it was goes on: what is under way is not sent twice.
func TestPutOfTheSameRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		sink.set(func(*http.Request, []received) (*http.Response, error) {
			time.Sleep(2 * time.Second)
			return reply(200, ""), nil
		})
		r := rule()
		r.Channels = regexp.MustCompile("^chat:")
		d := start(t, log, sink, r)
		last := log.occupy(names(3)...)
		for range 5 {
			time.Sleep(time.Second)
			r.Channels = regexp.MustCompile("^chat:")
			if err := d.Put(r); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == last })
		expectOnce(t, sink.take(), last)
		if n := d.Status().Rules[0]; n.Attempts != uint64(sink.count()) || n.Sent != 3 {
			t.Errorf("counted anew: %+v after %d requests", n, sink.count())
		}
		r.Batch = 1
		if err := d.Put(r); err != nil {
			t.Fatal(err)
		}
		if d.senders()[0].rule.Batch != 1 {
			t.Error("a change was not taken")
		}
	})
}

func TestCursorsOfGoneRulesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		log.cursors = map[string]uint64{"demo/state": 7, "demo/gone": 3, "old/state": 1}
		log.occupy(names(9)...)
		start(t, log, sink, rule())
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
		if got := log.Cursors(); len(got) != 1 {
			t.Errorf("cursors = %v, want demo/state alone", got)
		}
		if got := sink.take(); len(got) != 2 {
			t.Errorf("got %v, want what is behind the cursor", got)
		}
	})
}

func TestEventsGoneFromTheLogAreCountedNotAwaited(t *testing.T) {
	for _, strict := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log, sink := newFakeLog(), &fakeSink{}
			log.strict = strict
			log.cursors["demo/state"] = 2
			log.occupy(names(9)...)
			log.forget(6)
			d := build(t, Config{Log: log, Client: &http.Client{Transport: sink}, Rules: []Rule{rule()}})
			if s := d.Status().Rules[0]; s.Lag != 7 {
				t.Errorf("status before leading = %+v, want a lag of 7", s)
			}
			d.Lead(true)
			eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
			if s := d.Status().Rules[0]; s.Skipped != 3 || s.Sent != 4 {
				t.Errorf("strict %v: status = %+v, want 3 skipped and 4 sent", strict, s)
			}
		})
	}
}

func TestLogThatForgotAllIsNotReadInCircles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		log.cursors["demo/state"] = 2
		log.occupy(names(9)...)
		log.forget(10)
		d := start(t, log, sink, rule())
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 9 })
		log.occupy("chat:1")
		eventually(t, "sent", func() bool { return d.Status().Rules[0].Sent == 1 })
	})
}

func TestNextTermWaitsForTheLastRequestOfTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		sink.set(func(*http.Request, []received) (*http.Response, error) {
			time.Sleep(time.Second) // whatever the sender wants
			return reply(200, ""), nil
		})
		d := start(t, log, sink, rule())
		log.occupy("chat:1")
		time.Sleep(100 * time.Millisecond)
		d.Lead(false)
		d.Lead(true)
		time.Sleep(500 * time.Millisecond)
		if n := sink.count(); n != 1 {
			t.Errorf("%d requests for one channel at once", n)
		}
		eventually(t, "committed", func() bool { return log.cursor("demo/state") == 1 })
	})
}

func TestCursorIsCommittedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		start(t, log, sink, rule())
		for range 1000 {
			log.occupy("chat:1")
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		log.mu.Lock()
		defer log.mu.Unlock()
		if log.sets > 110 || log.sets < 50 {
			t.Errorf("%d commits in 10 s of steady events, want about 100", log.sets)
		}
	})
}

func TestRequestCarriesTheRulesHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		requests := make(chan *http.Request, 1)
		sink.set(func(r *http.Request, _ []received) (*http.Response, error) {
			requests <- r
			return reply(200, ""), nil
		})
		r := rule()
		r.Headers = map[string]string{"authorization": "Bearer x", "host": "inside.test"}
		start(t, log, sink, r)
		log.occupy("chat:1")
		req := <-requests
		if req.Method != "POST" || req.Header.Get("Content-Type") != "application/json" ||
			req.Header.Get("Authorization") != "Bearer x" || req.Host != "inside.test" {
			t.Errorf("request = %s, host %s, %v", req.Method, req.Host, req.Header)
		}
	})
}

func TestCloseIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, sink := newFakeLog(), &fakeSink{}
		d := start(t, log, sink, rule())
		d.Close()
		d.Lead(true)
		log.occupy("chat:1")
		time.Sleep(time.Minute)
		if sink.count() != 0 {
			t.Error("sends after Close")
		}
		d.Close()
	})
}
