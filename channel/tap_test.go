package channel

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeTap keeps what it is told.
type fakeTap struct {
	mu   sync.Mutex
	news []News
	over []uint64
}

func (t *fakeTap) News(n News) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.news = append(t.news, n)
}

func (t *fakeTap) Over(_ uint32, epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = append(t.over, epoch)
}

func (t *fakeTap) take() []News {
	synctest.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	news := t.news
	t.news = nil
	return news
}

func tappedHouse(t *testing.T, tap *fakeTap, taps Taps) *house {
	return newHouse(t, func(c *HostConfig) {
		c.Tap = tap
		c.Settings = func(_, name string) Settings {
			s := standSettings
			s.Retention = 2 * time.Minute
			if name != "untapped" {
				s.Taps = taps
			}
			return s
		}
	})
}

func TestTapHearsOfPublishesAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := &fakeTap{}
		h := tappedHouse(t, tap, TapHistory|TapOccupancy).serve(boot1)
		defer h.Close()
		h.publish(boot1, "untapped", 1)
		h.publish(boot1, "room", 2)
		first := tap.take()
		if len(first) != 1 || first[0].Name != "room" || first[0].What != TapHistory|TapOccupancy || first[0].Told != "" || first[0].Epoch != h.epoch {
			t.Fatalf("got %+v", first)
		}
		serial := ""
		for _, m := range h.in.take(boot1) {
			if m, ok := m.(*Published); ok && m.Req == 2 {
				serial = m.Serial
			}
		}
		h.Told(0, h.epoch, "app", "room", serial)
		h.attach(boot1, "room", 1)
		if n := tap.take(); len(n) != 1 || n[0].What != TapOccupancy {
			t.Fatalf("got %+v", n)
		}
		h.query(boot1, "room")
		if n := tap.take(); len(n) != 0 {
			t.Fatalf("a question is no news: %+v", n)
		}
		h.publish(boot1, "room", 3)
		if n := tap.take(); len(n) != 1 || n[0].What != TapHistory || n[0].Told != SerialPosition(serial) {
			t.Fatalf("got %+v", n)
		}
		before := h.epoch
		h.acquire()
		tap.mu.Lock()
		defer tap.mu.Unlock()
		if !slices.Equal(tap.over, []uint64{before}) {
			t.Errorf("over: %v", tap.over)
		}
	})
}

// tellingGateways says Told when the first frame of a publish comes: after it was decided, before the tap hears of it.
type tellingGateways struct {
	Gateways
	tell func()
}

func (g *tellingGateways) ToGateway(to GatewayID, part uint32, epoch uint64, m ToGateway) bool {
	if tell := g.tell; tell != nil {
		g.tell = nil
		tell()
	}
	return g.Gateways.ToGateway(to, part, epoch, m)
}

// TestNewsAreBehindWhatWasTold has the tap tell everything while the news of more are under way: they are behind that.
func TestNewsAreBehindWhatWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap, gateways := &fakeTap{}, &tellingGateways{}
		h := newHouse(t, func(c *HostConfig) {
			gateways.Gateways = c.Gateways
			c.Tap, c.Gateways = tap, gateways
			c.Settings = func(string, string) Settings {
				s := standSettings
				s.Retention, s.Taps = 2*time.Minute, TapHistory
				return s
			}
		}).serve(boot1)
		defer h.Close()
		h.publish(boot1, "room", 1)
		tap.take()
		serial := h.in.take(boot1)[0].(*Published).Serial
		gateways.tell = func() { h.Told(0, h.epoch, "app", "room", serial) }
		h.publish(boot1, "room", 2)
		if n := tap.take(); len(n) != 1 || n[0].Told != SerialPosition(serial) {
			t.Errorf("got %+v, want news behind %s", n, SerialPosition(serial))
		}
	})
}

// tappedPair is a pair whose channels tell what is wanted at the time, and the taps of its nodes.
func tappedPair(t *testing.T, wanted *Taps) (w *pair, taps map[string]*fakeTap) {
	taps = map[string]*fakeTap{}
	w = newPair(t, func(c *HostConfig) {
		tap := &fakeTap{}
		taps[c.Self.Node] = tap
		c.Tap = tap
		c.Settings = func(string, string) Settings {
			s := standSettings
			s.Retention, s.Taps = 2*time.Minute, *wanted
			return s
		}
	})
	return w, taps
}

// TestNewOwnerTellsOn moves a tapped channel between two hosts: the second is told up to where the first has got.
func TestNewOwnerTellsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wanted := TapHistory
		w, taps := tappedPair(t, &wanted)
		defer w.close()
		w.publish(0, "room", "a")
		w.publish(0, "room", "b")
		serial := w.publish(0, "room", "c")
		w.hosts[0].Told(0, w.epoch, "app", "room", serial)
		w.publish(0, "room", "d")
		taps["n0"].take()
		w.move(1)
		n := taps["n1"].take()
		if len(n) != 1 || n[0].Told != SerialPosition(serial) || n[0].What != TapHistory || n[0].Epoch != w.epoch {
			t.Fatalf("got %+v, want what is behind %s", n, serial)
		}
	})
}

// pair is two hosts that own a partition in turn, each the other's follower, and one gateway that holds nothing.
type pair struct {
	t      *testing.T
	log    *fakeLog
	in     *inbox
	hosts  [2]*Host
	owner  int
	epoch  uint64
	req    uint64
	frames chan func() // between the hosts, in order
	done   chan struct{}
}

func newPair(t *testing.T, change func(*HostConfig)) *pair {
	p := &pair{t: t, log: newFakeLog(t, 0), in: &inbox{}, frames: make(chan func(), 1024), done: make(chan struct{})}
	for i := range p.hosts {
		c := HostConfig{
			Log: p.log, Gateways: p.in, Hosts: p, Self: pairID(i), Lease: &fakeLease{}, Partitions: 1, Series: pairID(i).Node, Workers: 2,
		}
		change(&c)
		p.hosts[i] = NewHost(c)
		p.hosts[i].SetMembers([]GatewayID{pairID(0), pairID(1)})
	}
	go func() {
		defer close(p.done)
		for f := range p.frames {
			f()
		}
	}()
	p.move(0)
	return p
}

func pairID(i int) GatewayID { return [...]GatewayID{{"n0", "b0"}, {"n1", "b1"}}[i] }

// ToHost implements Hosts: what one host sends is for the other.
func (p *pair) ToHost(to GatewayID, _ uint64, part uint32, epoch uint64, m ToHost) bool {
	frame := AppendToHost(nil, m)
	i := int(to.Node[1] - '0')
	p.frames <- func() {
		m, err := DecodeToHost(frame)
		if err != nil {
			p.t.Error(err)
			return
		}
		p.hosts[i].FromHost(pairID(1-i), part, epoch, m)
	}
	return true
}

// move makes a host the owner; both gateways hold nothing.
func (p *pair) move(to int) {
	p.epoch, p.owner = p.log.next(0), to
	p.hosts[1-to].Release(0, p.epoch)
	p.hosts[to].Acquire(0, p.epoch)
	p.hosts[to].Follow(0, pairID(1-to), 1)
	for i := range p.hosts {
		p.hosts[to].FromGateway(pairID(i), 0, p.epoch, &Snapshot{})
	}
	time.Sleep(5 * time.Second) // whatever the search for copies takes
	synctest.Wait()
}

// publish puts a message on a channel of the owner and returns its serial.
func (p *pair) publish(from int, name, id string) string {
	p.t.Helper()
	p.req++
	p.hosts[p.owner].FromGateway(pairID(from), 0, p.epoch, &Publish{App: "app", Name: name, Req: p.req, ID: id, Messages: []Message{{Name: id}}})
	synctest.Wait()
	for _, m := range p.in.take(pairID(from)) {
		if m, ok := m.(*Published); ok && m.Req == p.req && m.Refusal == Accepted {
			return m.Serial
		}
	}
	p.t.Fatalf("%s was not published", id)
	return ""
}

func (p *pair) close() {
	for _, h := range p.hosts {
		h.Close()
	}
	p.log.inner.Wait()
	close(p.frames)
	<-p.done
}

// A rule that is made while a channel is in use begins with what comes: it misses nothing from then on, and is told nothing
// of before, not even when it was there before, and not by the next owner.
func TestTapOfAChannelInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wanted Taps
		w, taps := tappedPair(t, &wanted)
		defer w.close()
		want := func(what Taps) {
			synctest.Wait()
			wanted = what
			for _, h := range w.hosts {
				h.Reconfigure()
			}
		}
		expect := func(what Taps, told string) {
			t.Helper()
			n := taps["n0"].take()
			if what == 0 && len(n) == 0 {
				return
			}
			if len(n) != 1 || n[0].What != what || what&TapHistory != 0 && n[0].Told != SerialPosition(told) {
				t.Fatalf("got %+v, want news of %d behind %q", n, what, told)
			}
		}
		before := w.publish(0, "room", "before")
		want(TapHistory)
		expect(0, "")
		w.publish(0, "room", "a")
		expect(TapHistory, before)
		want(TapHistory | TapOccupancy) // counts beside: what is told of publishes goes on
		expect(0, "")
		w.publish(0, "room", "b")
		expect(TapHistory, before)
		want(TapOccupancy)
		between := w.publish(0, "room", "nobody wants it")
		expect(0, "")
		want(TapOccupancy | TapHistory)
		w.publish(0, "room", "c")
		expect(TapHistory, between)
		want(0)
		last := w.publish(0, "room", "nobody wants it either")
		want(TapHistory)
		w.publish(0, "room", "d")
		expect(TapHistory, last)
		w.move(1)
		if n := taps["n1"].take(); len(n) != 1 || n[0].Told != SerialPosition(last) {
			t.Fatalf("the next owner says %+v, want what is behind %s", n, last)
		}
	})
}
