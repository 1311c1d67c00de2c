package dispatch

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

func grpcRule() Rule { return Rule{ID: "state", App: "demo", URL: "grpc://proxy.test:9000"} }

// grpcPair is a leading dispatcher and a server, joined in memory through the dispatcher's dial function.
func grpcPair(t *testing.T, log *fakeLog, r Rule) (*Dispatcher, *proxyServer) {
	t.Helper()
	server := newProxyServer(t)
	l := bufconn.Listen(1 << 16)
	server.serve(t, l)
	d := build(t, Config{Log: log, Rules: []Rule{r}, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		if addr != "proxy.test:9000" {
			t.Errorf("dialed %s", addr)
		}
		return l.DialContext(ctx)
	}})
	d.Lead(true)
	return d, server
}

func TestGRPCBatchesArriveOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		r := grpcRule()
		r.Headers = map[string]string{"Authorization": "Bearer x"}
		r.Lanes, r.Batch = 3, 10
		var last uint64
		for range 4 {
			last = log.occupy(names(100)...)
		}
		d, server := grpcPair(t, log, r)
		eventually(t, "all received", func() bool { return d.Status().Rules[0].Cursor == last })
		expectOnce(t, server.take(), last)
		if sizes := server.sizes(); slices.Max(sizes) != 10 {
			t.Errorf("batches of %v, want up to 10", sizes)
		}
		md := server.seen()
		if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer x" {
			t.Errorf("authorization %v", got)
		}
		if got := md.Get("user-agent"); len(got) != 1 || !strings.HasPrefix(got[0], "innkeeper") {
			t.Errorf("user-agent %v", got)
		}
	})
}

func TestGRPCChannelNamesArriveAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		all := []string{"", "chat:ü €\n\x00", strings.Repeat("x", 2000), "no \xff UTF-8"}
		log.occupy(all...)
		_, server := grpcPair(t, log, grpcRule())
		eventually(t, "all received", func() bool { return len(server.take()) == len(all) })
		for _, e := range server.take() {
			if want := strings.ToValidUTF8(all[e.Seq-1], "\uFFFD"); e.Channel != want {
				t.Errorf("got %q, want %q", e.Channel, want)
			}
		}
	})
}

// Whatever is no plain success is tried again, with the same events and in order.
func TestGRPCFailuresAreRetried(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(s *proxyServer) func(context.Context, []received) (proto.Message, error)
		kind   FailureKind
		want   string
	}{
		"error in the answer": {func(s *proxyServer) func(context.Context, []received) (proto.Message, error) {
			return func(context.Context, []received) (proto.Message, error) {
				return s.response(`result {} error { code: 1000 message: "disk full" }`), nil
			}
		}, FailedAnswer, `code 1000, "disk full"`},
		"empty error": {func(s *proxyServer) func(context.Context, []received) (proto.Message, error) {
			return func(context.Context, []received) (proto.Message, error) { return s.response(`error {}`), nil }
		}, FailedAnswer, "has an error"},
		"status": {func(*proxyServer) func(context.Context, []received) (proto.Message, error) {
			return func(context.Context, []received) (proto.Message, error) {
				return nil, status.Error(codes.PermissionDenied, "who are you")
			}
		}, FailedStatus, `answered PermissionDenied: "who are you"`},
		"unavailable by its own word": {func(*proxyServer) func(context.Context, []received) (proto.Message, error) {
			return func(context.Context, []received) (proto.Message, error) {
				return nil, status.Error(codes.Unavailable, "later")
			}
		}, FailedStatus, `answered Unavailable: "later"`},
		"hangs": {func(*proxyServer) func(context.Context, []received) (proto.Message, error) {
			return func(ctx context.Context, _ []received) (proto.Message, error) {
				<-ctx.Done()
				time.Sleep(time.Millisecond) // both sides know the deadline: this one is later
				return nil, ctx.Err()
			}
		}, FailedTimeout, "no answer within 3s"},
		"deadline of the server": {func(*proxyServer) func(context.Context, []received) (proto.Message, error) {
			return func(context.Context, []received) (proto.Message, error) {
				return nil, context.DeadlineExceeded
			}
		}, FailedTimeout, `answered DeadlineExceeded: "context deadline exceeded"`},
		"long answer": {func(s *proxyServer) func(context.Context, []received) (proto.Message, error) {
			return func(context.Context, []received) (proto.Message, error) {
				return s.response(`error { message: "` + strings.Repeat("x", answerMax) + `" }`), nil
			}
		}, FailedStatus, "answered ResourceExhausted"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newFakeLog()
				d, server := grpcPair(t, log, grpcRule())
				server.set(test.answer(server))
				last := log.occupy("chat:1", "chat:1", "chat:2")
				eventually(t, "tried thrice", func() bool { return server.count() >= 3 })
				eventually(t, "failure noted", func() bool { return d.Status().Rules[0].Failures > 0 })
				s := d.Status().Rules[0]
				if s.Cursor != 0 || !strings.Contains(s.LastError, test.want) || s.ByKind[test.kind] != s.Failures {
					t.Errorf("status = %+v", s)
				}
				server.set(nil)
				eventually(t, "all received", func() bool { return d.Status().Rules[0].Cursor == last })
				expectOnce(t, server.take(), last)
			})
		})
	}
}

// A server that cannot be reached is a failure like any other, and found again when it is back.
func TestGRPCServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		server := newProxyServer(t)
		l := bufconn.Listen(1 << 16)
		server.serve(t, l)
		var back atomic.Bool
		d := build(t, Config{Log: log, Rules: []Rule{grpcRule()}, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			if !back.Load() {
				return nil, errors.New("cable cut")
			}
			return l.DialContext(ctx)
		}})
		d.Lead(true)
		last := log.occupy("chat:1", "chat:2")
		time.Sleep(time.Hour)
		s := d.Status().Rules[0]
		if s.Cursor != 0 || s.ByKind[FailedConnect] != s.Failures || s.Failures < 100 || s.Failures > 1000 || !strings.Contains(s.LastError, "cable cut") {
			t.Errorf("after an hour: %+v", s)
		}
		back.Store(true)
		began := time.Now()
		eventually(t, "all received", func() bool { return d.Status().Rules[0].Cursor == last })
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("found again after %v", took)
		}
		expectOnce(t, server.take(), last)
	})
}

// The connection belongs to the term: it ends with it, and the next one makes its own.
func TestGRPCConnectionEndsWithTheTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		server := newProxyServer(t)
		l := bufconn.Listen(1 << 16)
		server.serve(t, l)
		var open, dials atomic.Int64
		d := build(t, Config{Log: log, Rules: []Rule{grpcRule()}, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := l.DialContext(ctx)
			dials.Add(1)
			open.Add(1)
			return &countedConn{Conn: c, open: &open}, err
		}})
		for term := range int64(3) {
			d.Lead(true)
			last := log.occupy("chat:1")
			eventually(t, "received", func() bool { return d.Status().Rules[0].Cursor == last })
			if dials.Load() != term+1 || open.Load() != 1 {
				t.Errorf("term %d: dialed %d times, %d open", term, dials.Load(), open.Load())
			}
			d.Lead(false)
			synctest.Wait()
			if n := open.Load(); n != 0 {
				t.Errorf("%d connections open after the term", n)
			}
		}
	})
}

type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

func TestNotifyAccepted(t *testing.T) {
	s := newProxyServer(t)
	lay := func(text string) []byte {
		b, err := proto.Marshal(s.response(text))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"empty": nil, "result": lay("result {}"), "unknown field": {0x98, 0x06, 0x01},
	} {
		if err := notifyAccepted(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"error": lay(`error { code: 3 temporary: true }`), "empty error": lay("error {}"), "cut short": lay(`error { message: "abc" }`)[:4],
		"garbage": []byte("not protobuf"), "error of another type": {0x10, 0x01}, "inner garbage": {0x12, 0x02, 0x0a, 0x05},
	} {
		if notifyAccepted(b) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func FuzzNotifyAccepted(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x12, 0x05, 0x12, 0x03, 'a', 'b', 'c'})
	f.Add([]byte{0x0a, 0x00})
	f.Fuzz(func(_ *testing.T, b []byte) { notifyAccepted(b) })
}

func TestGRPCRulesThatCannotBe(t *testing.T) {
	for name, test := range map[string]struct {
		bend func(*Rule)
		want string
	}{
		"no port":      {func(r *Rule) { r.URL = "grpc://host" }, "grpc://host:port"},
		"path":         {func(r *Rule) { r.URL = "grpc://host:1/x" }, "grpc://host:port"},
		"format":       {func(r *Rule) { r.Format = Innkeeper }, `no format but "centrifugo"`},
		"secret":       {func(r *Rule) { r.Secrets = []string{newSecret} }, "secrets sign HTTP requests"},
		"header":       {func(r *Rule) { r.Headers = map[string]string{"grpc-timeout": "1"} }, `header "grpc-timeout"`},
		"binary":       {func(r *Rule) { r.Headers = map[string]string{"key-bin": "1"} }, `header "key-bin"`},
		"header value": {func(r *Rule) { r.Headers = map[string]string{"key": "ü"} }, "characters that gRPC cannot carry"},
	} {
		r := grpcRule()
		test.bend(&r)
		if _, err := New(Config{Log: newFakeLog(), Rules: []Rule{r}}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if _, err := New(Config{Log: newFakeLog(), Rules: []Rule{grpcRule()}}); err != nil {
		t.Errorf("a good rule: %v", err)
	}
}

// A rule's own settings win over the dispatcher's; what it does not say is the dispatcher's.
func TestRulesHaveSettingsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		sink := &fakeSink{answer: hang}
		narrow, wide := rule(), rule()
		narrow.ID, narrow.Lanes, narrow.Batch = "narrow", 1, 5
		wide.ID, wide.Linger = "wide", 10*time.Second
		d := build(t, Config{Log: log, Rules: []Rule{narrow, wide}, Lanes: 4, Client: clientOf(sink)})
		d.Lead(true)
		log.occupy(names(50)...)
		began := time.Now()
		flying := func() (n [2]int) {
			for i, r := range d.Status().Rules {
				n[i] = r.InFlight
			}
			return n
		}
		eventually(t, "narrow sends", func() bool { return flying()[0] > 0 })
		if got := flying(); got != [2]int{1, 0} {
			t.Errorf("in flight %v", got)
		}
		eventually(t, "wide sends", func() bool { return flying()[1] == 4 })
		if waited := time.Since(began); waited < 9*time.Second {
			t.Errorf("lingered %v", waited)
		}
	})
}

func TestStatusCountsFailuresByKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFakeLog()
		sink := &fakeSink{}
		sink.set(always(500, ""))
		r := rule()
		r.Format = Centrifugo
		d := start(t, log, sink, r)
		log.occupy("chat:1")
		kinds := func() map[FailureKind]uint64 { return d.Status().Rules[0].ByKind }
		eventually(t, "a status", func() bool { return kinds()[FailedStatus] > 0 })
		sink.set(always(200, `{"error":{}}`))
		eventually(t, "an answer", func() bool { return kinds()[FailedAnswer] > 0 })
		sink.set(hang)
		eventually(t, "a timeout", func() bool { return kinds()[FailedTimeout] > 0 })
		var sum uint64
		for n := range maps.Values(kinds()) {
			sum += n
		}
		if s := d.Status().Rules[0]; sum != s.Failures {
			t.Errorf("kinds %v of %d failures", s.ByKind, s.Failures)
		}
	})
}
