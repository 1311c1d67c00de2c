package mirror

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cmd/sim"
)

// scene is a cluster under churn, a mirror, and the truth: every event there ever was.
type scene struct {
	t     *testing.T
	sim   *sim.Sim
	ip    string // of the mirror
	truth []sim.Event

	mu    sync.Mutex
	seen  []Table // what the mirror's table was, now and then
	drawn *rand.Rand
}

// lap is one life of a mirror.
type lap struct {
	*Mirror
	stop func() Table // ends it and returns what it had
}

func newScene(t *testing.T) *scene {
	s, err := sim.New(5, sim.Options{Nodes: 3, Clients: -1, NoHooks: true, Retention: 1000})
	if err != nil {
		t.Fatal(err)
	}
	sc := &scene{t: t, sim: s, ip: "10.9.0.1", drawn: rand.New(rand.NewPCG(5, 5))}
	if !s.Ready() {
		t.Fatal("the cluster does not get ready")
	}
	return sc
}

// start begins a life with the table of another. What its table is counts from the moment on that it is trusted: at once,
// or when it was made anew.
func (sc *scene) start(with Table, trusted bool) lap {
	host := sc.sim.Net.Host(sc.ip)
	web := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return host.Dial(ctx, addr) },
	}}
	var nodes []string
	for _, addr := range sc.sim.Addresses() {
		nodes = append(nodes, "http://"+addr)
	}
	changed := func(t *Table, e *Event) {
		if trusted = trusted || e == nil; trusted {
			sc.note(t, e)
		}
	}
	m := New(Config{Nodes: nodes, Key: sim.Key, Client: web, Changed: changed}, with)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Run(ctx); err != nil {
			sc.t.Error(err)
		}
	}()
	return lap{m, func() Table {
		cancel()
		<-done
		web.CloseIdleConnections()
		t, _, _ := m.Table()
		return t
	}}
}

// note keeps what the table is: whenever it was made anew, and now and then.
func (sc *scene) note(t *Table, e *Event) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if e == nil || sc.drawn.IntN(50) == 0 {
		sc.seen = append(sc.seen, t.clone())
	}
}

// flap lets clients come and go until stop is closed: each attaches to a channel and leaves it some channels later.
func (sc *scene) flap(stop <-chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	for i := range 2 {
		c := sc.sim.AddClient()
		c.Connect(i % 3)
		wg.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				case <-time.After(25 * time.Millisecond):
				}
				c.Attach(fmt.Sprintf("fast:%d-%d", i, k%150), 0)
				if k >= 60 {
					c.Detach(fmt.Sprintf("fast:%d-%d", i, (k-60)%150))
				}
			}
		})
	}
	return wg.Wait
}

// record writes the truth down, before the log forgets it, until stop is closed and there is no more.
func (sc *scene) record(stop <-chan struct{}) {
	over := false
	for node := 0; ; node++ {
		after := uint64(len(sc.truth))
		events, err := sc.sim.Reader.Events(context.Background(), node%3, after)
		if err == nil {
			sc.truth = append(sc.truth, events...)
		}
		if over && err == nil && len(events) == 0 {
			return
		}
		select {
		case <-stop:
			over = true
		default:
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// asOf replays the truth up to a seq.
func (sc *scene) asOf(seq uint64) map[string]uint64 {
	table := map[string]uint64{}
	for _, e := range sc.truth[:seq] {
		if e.Type == sim.Occupied {
			table[e.Channel] = e.Seq
		} else {
			delete(table, e.Channel)
		}
	}
	return table
}

// until waits for what no event tells of.
func (sc *scene) until(what string, ok func() bool) {
	sc.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			sc.t.Fatalf("no %s within a minute", what)
		}
	}
}

// caughtUp says whether the mirror is, or nearly.
func (sc *scene) caughtUp(l lap, since uint64) func() bool {
	return func() bool { t, _, ok := l.Table(); return ok && t.Seq > since }
}

// TestMirrorIsExact: whatever happens to the mirror, to its table and to the nodes it reads from, while clients come and go,
// the table is at every moment what the log says that it is as of its seq; and it is made anew only where it must be.
func TestMirrorIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := newScene(t)
		defer sc.sim.Close()
		stopRecord, recorded := make(chan struct{}), make(chan struct{})
		go func() { defer close(recorded); sc.record(stopRecord) }()
		empty := sc.start(Table{}, true) // from before the first event
		time.Sleep(time.Second)
		stop := make(chan struct{})
		flapped := sc.flap(stop)
		time.Sleep(5 * time.Second)

		anew := func(l lap) int { _, made, _ := l.Table(); return made }
		step := func(what string, l lap, made int) {
			t.Helper()
			now, _, _ := l.Table()
			sc.until("progress after: "+what, sc.caughtUp(l, now.Seq))
			if anew(l) != made {
				t.Errorf("%s: the table was made %d times, want %d", what, anew(l), made)
			}
		}
		step("began before the first event", empty, 1)
		saved := empty.stop()

		l := sc.start(saved, true) // as after a restart
		time.Sleep(2 * time.Second)
		step("restarted with its table", l, 0)
		l.stop()

		l = sc.start(Table{}, true)
		time.Sleep(2 * time.Second)
		step("lost its table", l, 1)

		for i, n := range sc.sim.Nodes() { // one of them is the one it reads from
			n.Kill(i%2 == 0)
			time.Sleep(4 * time.Second)
			n.Start()
			time.Sleep(4 * time.Second)
			step(fmt.Sprintf("node %d died", i), l, 1)
		}

		sc.sim.Net.Isolate(sc.ip)
		time.Sleep(3 * time.Second)
		sc.sim.Net.Rejoin(sc.ip)
		step("cut off for a while", l, 1)

		saved = l.stop()
		sc.until("gap", func() bool { // the log has forgotten what it would go on with
			_, err := sc.sim.Reader.Events(context.Background(), 0, saved.Seq)
			return err != nil && strings.Contains(err.Error(), "40011")
		})
		l = sc.start(saved, true)
		time.Sleep(2 * time.Second)
		step("came back after a gap", l, 1)

		nothing := sc.start(Table{Channels: map[string]uint64{}}, true) // a table as of 0, when the log was empty
		time.Sleep(2 * time.Second)
		step("came back with a table of an empty log", nothing, 1)
		nothing.stop()

		wrong, _, _ := l.Table()
		wrong.Channels = map[string]uint64{} // as if what it keeps it in had lost some
		broken := sc.start(wrong, false)
		time.Sleep(5 * time.Second)
		step("had a table that was wrong", broken, 1)
		broken.stop()

		close(stop)
		flapped()
		time.Sleep(10 * time.Second)
		close(stopRecord)
		<-recorded
		final := l.stop()
		if final.Seq != uint64(len(sc.truth)) || !maps.Equal(final.Channels, sc.asOf(final.Seq)) {
			t.Errorf("in the end the table is %d channels as of %d; there were %d events, %d channels are occupied",
				len(final.Channels), final.Seq, len(sc.truth), len(sc.asOf(uint64(len(sc.truth)))))
		}
		sc.judge()
	})
}

// judge compares all that was seen with the truth.
func (sc *scene) judge() {
	for i, e := range sc.truth {
		if e.Seq != uint64(i+1) {
			sc.t.Fatalf("the truth has %d as event %d", e.Seq, i+1)
		}
	}
	bad := slices.IndexFunc(sc.seen, func(t Table) bool { return !maps.Equal(t.Channels, sc.asOf(t.Seq)) })
	if bad >= 0 {
		t := sc.seen[bad]
		sc.t.Errorf("as of %d the table had %d channels, and %d were occupied", t.Seq, len(t.Channels), len(sc.asOf(t.Seq)))
	}
	sc.t.Logf("%d events, %d tables compared", len(sc.truth), len(sc.seen))
}

func TestTableKnowsWhatContradictsIt(t *testing.T) {
	table := Table{Seq: 10, Channels: map[string]uint64{"a": 4}}
	for _, test := range []struct {
		e       Event
		changes bool
		err     bool
	}{
		{Event{Seq: 10, Channel: "a", Type: "vacated", Ends: 4}, false, false}, // had already
		{Event{Seq: 11, Channel: "a", Type: "occupied"}, false, true},
		{Event{Seq: 11, Channel: "a", Type: "vacated", Ends: 5}, false, true},
		{Event{Seq: 11, Channel: "b", Type: "vacated", Ends: 5}, false, true},
		{Event{Seq: 11, Channel: "b", Type: "renovated"}, true, false}, // of a later version
		{Event{Seq: 12, Channel: "a", Type: "vacated", Ends: 4}, true, false},
	} {
		changed, err := table.Apply(test.e)
		if changed != test.changes || err != nil != test.err {
			t.Errorf("%+v: %v, %v", test.e, changed, err)
		}
	}
	if table.Seq != 12 || len(table.Channels) != 0 {
		t.Errorf("the table is %+v", table)
	}
}
