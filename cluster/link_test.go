package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pair is links without the rest of a cluster.
type pair struct {
	t     *testing.T
	net   *testNet
	began time.Time
	ends  map[string]*end
}

type end struct {
	*links
	mux   *mux
	host  *testHost
	count counters
	news  nudge
}

func newPair(t *testing.T) *pair {
	return &pair{t: t, net: newTestNet(), began: time.Now(), ends: map[string]*end{}}
}

func (p *pair) open(id, boot, clusterID string, tweak func(*Config)) *end {
	p.t.Helper()
	host := p.net.host(ipOf(id))
	ln, _ := host.Listen(host.ip + ":7901")
	cfg := Config{
		NodeID: id, BootID: boot, ClusterListener: ln, GossipListener: ln, GossipPacket: &testPackets{host: host}, Net: host,
		Log: &fakeLog{}, Observer: newRecorder(), Boottime: func() time.Duration { return time.Since(p.began) },
	}
	if err := cfg.fill(); err != nil {
		p.t.Fatal(err)
	}
	if tweak != nil {
		tweak(&cfg)
	}
	e := &end{host: host, news: newNudge()}
	e.links = newLinks(&cfg, &e.count, func(want string) hello {
		return hello{version: protocolVersion, clusterID: clusterID, from: Peer{id, boot}, addr: host.ip + ":7901", want: want}
	}, e.news.poke)
	e.mux = newMux(ln, cfg.HandshakeTimeout, e.links.accept, &e.count)
	e.links.start()
	p.ends[id] = e
	return e
}

func (e *end) close() {
	e.mux.close()
	e.end()
	e.mux.wait()
	e.wait()
}

func (p *pair) close() {
	for _, e := range p.ends {
		e.close()
	}
}

// meet lets two ends know of each other and waits until they are linked. It returns their sessions.
func (p *pair) meet(a, b string) (uint64, uint64) {
	p.t.Helper()
	p.ends[a].ensure(b, ipOf(b)+":7901")
	p.ends[b].ensure(a, ipOf(a)+":7901")
	return p.ends[a].awaitSession(p.t, b, 0), p.ends[b].awaitSession(p.t, a, 0)
}

// awaitSession waits for a session other than old.
func (e *end) awaitSession(t *testing.T, node string, old uint64) uint64 {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		if s := e.sessionOf(node); s != 0 && s != old {
			return s
		}
		select {
		case <-e.news:
		case <-deadline:
			t.Fatalf("%s has no new session with %s", e.me.Node, node)
		}
	}
}

func TestLinkKeepsOrderAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a, b := p.open("n1", "b1", "c", nil), p.open("n2", "b1", "c", nil)
		const senders, each = 4, 5000
		var next [senders]int
		got, all := 0, make(chan struct{})
		b.handlers[7] = func(from Peer, m []byte) {
			var who, n int
			fmt.Sscanf(string(m), "%d %d", &who, &n)
			if from != a.me || n != next[who] {
				t.Errorf("from %v: sender %d's message %d, want %d", from, who, n, next[who])
			}
			next[who]++
			if got++; got == senders*each {
				close(all)
			}
		}
		session, _ := p.meet("n1", "n2")
		for who := range senders {
			go func() {
				for n := range each {
					if !a.send("n2", session, frameMessage, 7, nil, fmt.Appendf(nil, "%d %d", who, n)) {
						t.Error("not sent")
					}
				}
			}()
		}
		<-all
		if w, f := a.count.writes.Load(), a.count.framesSent.Load(); w*2 > f {
			t.Errorf("%d writes for %d frames: they do not share", w, f)
		}
		if b.count.framesReceived.Load() != senders*each {
			t.Errorf("%d frames received", b.count.framesReceived.Load())
		}
	})
}

// A peer that does not read fills its queue; the link then begins anew, and both ends know.
func TestOverflowResetsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a := p.open("n1", "b1", "c", func(c *Config) { c.LinkQueueBytes = 1 << 20; c.LinkTimeout = time.Minute })
		b := p.open("n2", "b1", "c", func(c *Config) { c.LinkTimeout = time.Minute })
		hold, first := make(chan struct{}), true
		var last atomic.Value
		b.handlers[7] = func(_ Peer, m []byte) {
			if first {
				first = false
				<-hold
			}
			last.Store(string(m))
		}
		sa, sb := p.meet("n1", "n2")
		sent := 0
		for a.send("n2", sa, frameMessage, 7, nil, make([]byte, 1000)) {
			if sent++; sent > 10000 {
				t.Fatal("no end to the queue")
			}
		}
		if sent < 1000 {
			t.Errorf("full after %d messages of 1,000 bytes, at a limit of 1 MB", sent)
		}
		if a.count.queueOverflows.Load() != 1 {
			t.Errorf("%d overflows counted", a.count.queueOverflows.Load())
		}
		close(hold)
		sa2, sb2 := a.awaitSession(t, "n2", sa), b.awaitSession(t, "n1", sb)
		if a.send("n2", sa, frameMessage, 7, nil, []byte("late")) {
			t.Error("sent on a session that is over")
		}
		if !a.send("n2", sa2, frameMessage, 7, nil, []byte("new")) || !b.send("n1", sb2, frameMessage, 7, nil, nil) {
			t.Error("the new session does not carry")
		}
		synctest.Wait()
		if last.Load() != "new" {
			t.Errorf("last heard %q", last.Load())
		}
	})
}

func TestResetBeginsASessionAtBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a, b := p.open("n1", "b1", "c", nil), p.open("n2", "b1", "c", nil)
		sa, sb := p.meet("n1", "n2")
		for range 5 {
			a.peer("n2").reset()
			sa, sb = a.awaitSession(t, "n2", sa), b.awaitSession(t, "n1", sb)
		}
		// It settles: nobody answers a reset with a reset. (One reset may take two sessions, one per connection.)
		time.Sleep(3 * time.Second)
		sa, sb = a.sessionOf("n2"), b.sessionOf("n1")
		time.Sleep(10 * time.Second)
		if a.sessionOf("n2") != sa || b.sessionOf("n1") != sb {
			t.Errorf("sessions went on changing: %d → %d, %d → %d", sa, a.sessionOf("n2"), sb, b.sessionOf("n1"))
		}
	})
}

func TestSelfLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a := p.open("n1", "b1", "c", func(c *Config) { c.LinkQueueBytes = 10 * (100 + selfMessageCost) })
		hold := make(chan struct{})
		var got []byte
		a.handlers[7] = func(from Peer, m []byte) {
			if from != a.me {
				t.Errorf("from %v", from)
			}
			<-hold
			got = append(got, m[0])
		}
		s := a.sessionOf("n1")
		if s == 0 {
			t.Fatal("no session with itself")
		}
		one := func(b byte) []byte { m := make([]byte, 100); m[0] = b; return m }
		a.local.send(s, 7, one('a'))
		synctest.Wait() // now it is being delivered
		for i := range 10 {
			if !a.local.send(s, 7, one(byte('0'+i))) {
				t.Fatalf("message %d not taken", i)
			}
		}
		if a.local.send(s, 7, one('x')) {
			t.Fatal("too much taken")
		}
		s2 := a.sessionOf("n1")
		if s2 == s || a.local.send(s, 7, one('y')) || !a.local.send(s2, 7, one('b')) {
			t.Errorf("sessions %d, %d", s, s2)
		}
		close(hold)
		synctest.Wait()
		if string(got) != "ab" {
			t.Errorf("delivered %q: what waited when it overflowed is dropped", got)
		}
		a.local.reset()
		if s3 := a.sessionOf("n1"); s3 == s2 {
			t.Error("a reset keeps the session")
		}
	})
}

func TestLinksAreRefused(t *testing.T) {
	cases := []struct {
		name        string
		id, cluster string // of the stranger
		dials       string // whom it thinks it dials
		mine        string
		want        refusal
	}{
		{name: "another cluster", id: "n2", cluster: "other", dials: "n1", mine: "c", want: refusedCluster},
		{name: "another node", id: "n2", cluster: "c", dials: "n3", mine: "c", want: refusedNode},
		{name: "own id", id: "n1", cluster: "c", dials: "n1", mine: "c", want: refusedDuplicate},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t)
				defer p.close()
				p.open("n1", "b1", tc.mine, nil)
				conn, err := dialService(t.Context(), p.net.host("10.0.0.9"), "10.0.0.1:7901", serviceLink)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				me := hello{version: protocolVersion, clusterID: tc.cluster, from: Peer{tc.id, "b9"}, want: tc.dials}
				if err := writeHello(conn, welcome, me); err != nil {
					t.Fatal(err)
				}
				got, h, err := readHello(conn)
				if err != nil || got != tc.want || h.from != (Peer{"n1", "b1"}) {
					t.Errorf("answer %v of %v, %v, want %v", got, h.from, err, tc.want)
				}
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					t.Error("the connection stays open")
				}
			})
		})
	}
}

// The dialer as well looks at whom it got.
func TestDialerRefusesAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a := p.open("n1", "b1", "c", nil)
		p.open("n2", "b1", "other", nil)
		link := &peerLink{links: a.links, node: "n2", wake: make(chan struct{}, 1), addrs: []string{"10.0.0.2:7901"}}
		_, err := link.dial(t.Context())
		var refused *LinkRefusedError
		if !errors.As(err, &refused) || refused.Reason != refusedCluster.String() {
			t.Errorf("got %v", err)
		}
		link.node = "n3"
		if _, err := link.dial(t.Context()); !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
	})
}

// A second process under a node's id stays out while the first lives, and gets in once it is gone.
func TestSecondBootWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a, b := p.open("n1", "b1", "c", nil), p.open("n2", "b1", "c", nil)
		p.meet("n1", "n2")
		hi := func() refusal {
			conn, err := dialService(t.Context(), p.net.hosts["10.0.0.2"], "10.0.0.1:7901", serviceLink)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			writeHello(conn, welcome, hello{version: protocolVersion, clusterID: "c", from: Peer{"n2", "b2"}, want: "n1"})
			r, _, err := readHello(conn)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		time.Sleep(3 * time.Second)
		if r := hi(); r != refusedDuplicate {
			t.Errorf("the second boot: %v", r)
		}
		if a.sessionOf("n2") == 0 {
			t.Error("the first boot's link suffered")
		}
		b.host.kill()
		b.close()
		delete(p.ends, "n2")
		s := a.sessionOf("n2")
		b2 := p.open("n2", "b2", "c", nil)
		b2.ensure("n1", "10.0.0.1:7901")
		a.awaitSession(t, "n2", s)
		if up := a.sessions()["n2"]; up.boot != "b2" {
			t.Errorf("linked with %+v", up)
		}
	})
}

// A path that swallows everything is noticed by the missing pongs, at both ends.
func TestSilentPeerLosesItsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a, b := p.open("n1", "b1", "c", nil), p.open("n2", "b1", "c", nil)
		sa, sb := p.meet("n1", "n2")
		p.net.isolate("10.0.0.1", true)
		time.Sleep(4 * time.Second)
		if a.sessionOf("n2") != sa || b.sessionOf("n1") != sb {
			t.Error("a pause of 4 s breaks the link")
		}
		time.Sleep(4 * time.Second)
		if a.sessionOf("n2") != 0 || b.sessionOf("n1") != 0 {
			t.Error("nobody noticed in 8 s")
		}
		if len(a.gone(0)) > 0 {
			t.Error("silence is no proof of death")
		}
		p.net.isolate("10.0.0.1", false)
		a.awaitSession(t, "n2", sa)
		b.awaitSession(t, "n1", sb)
	})
}

func TestGoneNeedsRefusalBothWaysAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a, b := p.open("n1", "b1", "c", nil), p.open("n2", "b1", "c", nil)
		p.meet("n1", "n2")
		b.host.kill()
		began := time.Now()
		for len(a.gone(300*time.Millisecond)) == 0 {
			<-a.news
		}
		if took := time.Since(began); took < 300*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("gone after %v", took)
		}
		if got := a.gone(300 * time.Millisecond); got[0] != (Peer{"n2", "b1"}) {
			t.Errorf("gone: %v", got)
		}
	})
}

// A peer that refuses but whose own connection to here stands is alive.
func TestWhoStillTalksIsNotGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a, b := p.open("n1", "b1", "c", nil), p.open("n2", "b1", "c", nil)
		sa, _ := p.meet("n1", "n2")
		b.mux.ln.Close()
		a.peer("n2").mu.Lock()
		a.peer("n2").out.fail(errLinkReset)
		a.peer("n2").mu.Unlock()
		time.Sleep(2 * time.Second)
		if n := a.refusing([]Peer{{"n2", "b1"}}); n != 1 || a.sessionOf("n2") != 0 {
			t.Errorf("%d refuse, sessions %d → %d", n, sa, a.sessionOf("n2"))
		}
		if got := a.gone(300 * time.Millisecond); len(got) > 0 {
			t.Errorf("gone: %v", got)
		}
	})
}

func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a, b := p.open("n1", "b1", "c", nil), p.open("n2", "b1", "c", nil)
		started, given := make(chan struct{}, 1000), make(chan error, 1000)
		for _, e := range []*end{a, b} {
			e.servers[1] = func(_ context.Context, from Peer, m []byte) ([]byte, error) {
				return append([]byte(from.Node+":"), m...), nil
			}
			e.servers[kindRenew] = e.servers[1]
			e.servers[2] = func(context.Context, Peer, []byte) ([]byte, error) { return nil, errors.New("no luck") }
			e.servers[3] = func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
				started <- struct{}{}
				<-ctx.Done()
				given <- ctx.Err()
				return nil, ctx.Err()
			}
		}
		if _, err := a.request(t.Context(), "n2", 1, nil); !errors.Is(err, ErrLinkDown) {
			t.Errorf("without a link: %v", err)
		}
		p.meet("n1", "n2")
		for _, to := range []string{"n1", "n2"} {
			got, err := a.request(t.Context(), to, 1, []byte("x"))
			if err != nil || string(got) != "n1:x" {
				t.Errorf("%s answers %q, %v", to, got, err)
			}
			var remote *RemoteError
			if _, err = a.request(t.Context(), to, 9, nil); !errors.As(err, &remote) {
				t.Errorf("nobody serves: %v", err)
			}
		}
		if _, err := a.request(t.Context(), "n2", 2, nil); err == nil || err.Error() != "no luck" {
			t.Errorf("the handler's error: %v", err)
		}

		// The handler learns when the asker's time is over.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := a.request(ctx, "n2", 3, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
		<-started
		if err := <-given; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the handler saw %v", err)
		}

		// Only so many are served at once; a lost link fails the rest.
		var wg sync.WaitGroup
		errs := make(chan error, servingMax+1)
		for range servingMax {
			wg.Go(func() {
				_, err := a.request(t.Context(), "n2", 3, nil)
				errs <- err
			})
		}
		for range servingMax {
			<-started
		}
		if _, err := a.request(t.Context(), "n2", 1, nil); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		if got, err := a.request(t.Context(), "n2", kindRenew, []byte("x")); err != nil || string(got) != "n1:x" {
			t.Errorf("the cluster's own request: %q, %v", got, err)
		}
		a.peer("n2").reset()
		wg.Wait()
		for range servingMax {
			if err := <-errs; !errors.Is(err, ErrLinkDown) {
				t.Errorf("over a broken link: %v", err)
			}
			if err := <-given; !errors.Is(err, context.Canceled) {
				t.Errorf("over a broken link the handler saw %v", err)
			}
		}
		a.requests.mu.Lock()
		if n := len(a.requests.open); n != 0 {
			t.Errorf("%d requests stay open", n)
		}
		a.requests.mu.Unlock()
	})
}

// The handler learns that the asker has given up also when only the way back broke, which no request came over.
func TestRequestsEndWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a, b := p.open("n1", "b1", "c", nil), p.open("n2", "b1", "c", nil)
		started, given := make(chan struct{}), make(chan error, 1)
		b.servers[1] = func(ctx context.Context, _ Peer, _ []byte) ([]byte, error) {
			close(started)
			<-ctx.Done()
			given <- ctx.Err()
			return []byte("late"), nil
		}
		_, session := p.meet("n1", "n2")
		asked := make(chan error, 1)
		go func() {
			_, err := a.request(t.Context(), "n2", 1, nil)
			asked <- err
		}()
		<-started
		way := b.peer("n1")
		way.mu.Lock()
		way.out.fail(errLinkReset)
		way.mu.Unlock()
		if err := <-asked; !errors.Is(err, ErrLinkDown) {
			t.Errorf("the asker saw %v", err)
		}
		if err := <-given; !errors.Is(err, context.Canceled) {
			t.Errorf("the handler saw %v", err)
		}
		b.awaitSession(t, "n1", session)
	})
}

func TestMuxTellsServicesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t)
		defer p.close()
		a := p.open("n1", "b1", "c", nil)
		host := p.net.host("10.0.0.9")
		conn, err := dialService(t.Context(), host, "10.0.0.1:7901", serviceRaft, 0)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("vote"))
		got, err := a.mux.raft.Accept()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4)
		if _, err := got.Read(buf); err != nil || string(buf) != "vote" {
			t.Errorf("Raft reads %q, %v", buf, err)
		}
		got.Close()
		conn.Close()

		for _, first := range []string{"X", ""} {
			conn, err := host.Dial(t.Context(), "10.0.0.1:7901")
			if err != nil {
				t.Fatal(err)
			}
			conn.Write([]byte(first))
			if _, err := conn.Read(buf); err == nil {
				t.Errorf("a connection that begins with %q is served", first)
			}
			conn.Close()
		}
		if n := a.count.badFirstBytes.Load(); n != 2 {
			t.Errorf("%d bad first bytes counted", n)
		}
		a.mux.raft.Close()
		if _, err := a.mux.raft.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

// BenchmarkLink measures the way of a 128-byte message from Send to its handler over loopback.
func BenchmarkLink(b *testing.B) {
	var ends [2]*end
	for i := range ends {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		id := fmt.Sprint("n", i)
		cfg := Config{NodeID: id, BootID: "b", ClusterListener: ln, GossipListener: ln, GossipPacket: &testPackets{}, Net: realNet{}, Log: &fakeLog{}, Observer: newRecorder()}
		if err := cfg.fill(); err != nil {
			b.Fatal(err)
		}
		e := &end{news: newNudge()}
		e.links = newLinks(&cfg, &e.count, func(want string) hello {
			return hello{version: protocolVersion, from: Peer{id, "b"}, addr: ln.Addr().String(), want: want}
		}, e.news.poke)
		e.mux = newMux(ln, time.Second, e.links.accept, &e.count)
		ends[i] = e
	}
	var got atomic.Int64
	room := make(chan struct{}, 1)
	ends[1].handlers[7] = func(Peer, []byte) {
		if got.Add(1)&1023 == 0 {
			select {
			case room <- struct{}{}:
			default:
			}
		}
	}
	for _, e := range ends {
		e.links.start()
		defer e.close()
	}
	ends[0].ensure("n1", ends[1].mux.ln.Addr().String())
	for ends[0].sessionOf("n1") == 0 {
		<-ends[0].news
	}
	session, payload := ends[0].sessionOf("n1"), make([]byte, 128)
	sent := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		for sent-got.Load() > 4<<10 {
			<-room
		}
		if !ends[0].send("n1", session, frameMessage, 7, nil, payload) {
			b.Fatal("not sent")
		}
		sent++
	}
	for got.Load() < sent {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(ends[0].count.framesSent.Load())/float64(ends[0].count.writes.Load()), "messages/write")
}

func BenchmarkSelfLink(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	cfg := Config{NodeID: "n", BootID: "b", ClusterListener: ln, GossipListener: ln, GossipPacket: &testPackets{}, Net: realNet{}, Log: &fakeLog{}, Observer: newRecorder()}
	if err := cfg.fill(); err != nil {
		b.Fatal(err)
	}
	var count counters
	l := newLinks(&cfg, &count, nil, func() {})
	var got atomic.Int64
	l.handlers[7] = func(Peer, []byte) { got.Add(1) }
	l.start()
	defer func() { l.end(); l.wait() }()
	payload, sent := make([]byte, 128), int64(0)
	b.ReportAllocs()
	for b.Loop() {
		for sent-got.Load() > 32<<10 {
			time.Sleep(10 * time.Microsecond)
		}
		if !l.local.send(0, 7, payload) {
			b.Fatal("not sent")
		}
		sent++
	}
}

func BenchmarkLeaseHeld(b *testing.B) {
	c := &Cluster{cfg: Config{Boottime: boottime}}
	c.lease.grant(c.lease.ask(boottime()), time.Hour)
	for b.Loop() {
		if !c.LeaseHeld() {
			b.Fatal("not held")
		}
	}
}

// realNet is the operating system's network.
type realNet struct{}

func (realNet) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
func (realNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}
func (realNet) ListenPacket(addr string) (net.PacketConn, error) {
	return net.ListenPacket("udp", addr)
}
