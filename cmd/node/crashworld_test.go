package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"innkeeper/channel"
	"innkeeper/cluster/ring"
	"innkeeper/cmd/memnet"
	"innkeeper/cmd/node/config"
	"innkeeper/raftstore"
	"innkeeper/transport/dispatch"
)

const (
	backendIP        = "10.2.0.1"
	crashClusterPort = ":7900"
	crashVacateDelay = 2 * time.Second
	diskDelay        = time.Millisecond // of each write

	// The channels of the story. Two are there so that there is something else to get wrong.
	stays = "room:stays" // occupied throughout
	early = "room:early" // came and went before
)

// machine is an address and a disk that outlive the processes on it.
type machine struct {
	index int
	ip    string
	disk  *raftstore.MemDisk
	node  *Node // nil while it is down; guarded by world.mu
	stop  context.CancelFunc
	done  chan struct{}
}

// world is a cluster in memory with a receiver, in which the power of one machine fails once.
type world struct {
	t        *testing.T
	net      *memnet.Network
	machines []*machine
	backend  *backend
	log      *logs
	wg       sync.WaitGroup

	began time.Time

	mu     sync.Mutex
	probe  string // the channel that the power fails around
	armed  bool
	at     point
	victim *machine
	struck chan struct{} // closed when the power has failed
	leader *machine      // when armed
	copies int           // disks that have the transition
	seq    uint64        // of the event that the armed phase led to; 0 before it was seen
}

func newWorld(t *testing.T, machines int) *world {
	w := &world{t: t, net: memnet.New(1), log: newLogs(), struck: make(chan struct{}), began: time.Now()}
	w.net.DefaultDelay(300*time.Microsecond, 0)
	w.backend = newBackend(w)
	for i := range machines {
		w.machines = append(w.machines, &machine{index: i, ip: fmt.Sprintf("10.0.0.%d", i+1), disk: raftstore.NewMemDisk()})
	}
	for _, m := range w.machines {
		w.start(m)
	}
	return w
}

func (w *world) config(m *machine) config.Config {
	c := config.Default()
	c.Node.DataDir = ""
	c.Node.Listen, c.Node.AdminListen = m.ip+":80", m.ip+":90"
	c.Node.ClusterListen, c.Node.GossipListen = m.ip+crashClusterPort, m.ip+":7910"
	c.Node.BootstrapExpect = len(w.machines)
	for _, o := range w.machines {
		c.Node.Join = append(c.Node.Join, o.ip+":7910")
	}
	c.Cluster.Partitions = 8
	c.StateEvents.VacatedDelay, c.StateEvents.RestartGrace = crashVacateDelay, 5*time.Second
	c.Apps = []config.App{{
		ID:   "demo",
		Keys: []config.Key{{Key: rootKey, Capability: map[string][]string{"[*]*": {"*"}}}},
		Rules: []config.Rule{{
			ID: "state", Source: "channel.state",
			Target: config.Target{URL: "http://" + backendIP + ":80/", Format: "innkeeper", Timeout: new(config.DefaultTargetTimeout)},
		}},
	}}
	return c
}

// start runs a node on a machine's disk.
func (w *world) start(m *machine) {
	t := taps{w, m}
	t.tapDisk()
	n, err := New(Options{
		Config: w.config(m), Net: tappedNet{w.net.Revive(m.ip), t}, Disk: m.disk, joints: t.joints(),
		Boottime: func() time.Duration { return time.Since(w.began) + time.Hour },
		Logger:   slog.New(slog.NewTextHandler(w.log, nil)).With("on", m.ip),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.mu.Lock()
	m.node, m.stop, m.done = n, stop, make(chan struct{})
	done := m.done
	w.mu.Unlock()
	w.wg.Go(func() {
		defer close(done)
		if err := n.Run(ctx); err != nil && w.process(m) == n {
			w.t.Errorf("%s ended by itself: %v", m.ip, err)
		}
	})
}

// process is what runs on a machine, nil when it is down.
func (w *world) process(m *machine) *Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return m.node
}

// kill takes the power from a machine. When it returns nothing that the node does can be seen or found on disk any more;
// the process is cleared away behind it, since whoever calls may be a goroutine of it.
func (w *world) kill(m *machine) {
	w.mu.Lock()
	n, stop := m.node, m.stop
	m.node = nil
	w.mu.Unlock()
	if n == nil {
		return
	}
	m.disk.Kill()
	w.net.Kill(m.ip)
	w.wg.Go(func() {
		n.Kill()
		stop()
	})
}

// arm makes the power of victim fail at the next time that p is passed.
func (w *world) arm(p point, victim, leader *machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.at, w.victim, w.leader = true, p, victim, leader
	w.copies, w.seq = 0, 0
}

// pass says that a machine is at a point of the way that the world is armed for. The kind is not looked at: it is the one
// that was armed.
func (w *world) pass(p point) {
	w.mu.Lock()
	p.kind = w.at.kind
	strikes := w.armed && p == w.at
	if strikes {
		w.armed = false
	}
	victim := w.victim
	w.mu.Unlock()
	if strikes {
		w.kill(victim)
		close(w.struck)
	}
}

// later is pass after a while.
func (w *world) later(d time.Duration, p point) {
	w.mu.Lock()
	armed := w.armed
	w.mu.Unlock()
	if armed {
		time.AfterFunc(d, func() { w.pass(p) })
	}
}

// leads says whether a machine led when the world was armed.
func (w *world) leads(m *machine) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed && w.leader == m
}

// copied counts one more disk that has the transition, and says whether it makes the majority.
func (w *world) copied() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.copies++
	return w.copies == len(w.machines)/2+1
}

// durable says whether a majority of disks has the transition.
func (w *world) durable() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.copies > len(w.machines)/2
}

// seen notes that the leader's dispatcher reads an event of the channel.
func (w *world) seen(e dispatch.Event) {
	w.mu.Lock()
	fresh := w.armed && e.Kind == w.at.kind && w.seq == 0
	if fresh {
		w.seq = e.Seq
	}
	w.mu.Unlock()
	if fresh {
		w.pass(point{step: applying, after: true})
	}
}

// known says whether the event was seen; covers, whether a cursor passes it.
func (w *world) known() bool { return w.covers(^uint64(0)) }

func (w *world) covers(cursor uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed && w.seq != 0 && cursor >= w.seq
}

// until waits for what no event tells of.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("no %s within a minute", what)
		}
	}
}

// ready waits until all machines that run serve.
func (w *world) ready() {
	w.t.Helper()
	w.until("cluster that serves", func() bool {
		for _, m := range w.machines {
			if n := w.process(m); n != nil && n.Ready() != nil {
				return false
			}
		}
		return true
	})
}

// about says whether the story is about a channel; named, whether some bytes name that channel.
func (w *world) about(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return name == w.probe
}

func (w *world) named(in ...[]byte) bool {
	w.mu.Lock()
	name := []byte(w.probe)
	w.mu.Unlock()
	return len(name) > 0 && slices.ContainsFunc(in, func(b []byte) bool { return bytes.Contains(b, name) })
}

// cast is who plays which part.
type cast struct{ leader, owner, gateway *machine }

// casting gives the parts to machines, and names the channel so that it is owned by the leader or by another. The gateway
// is neither where there are enough machines.
func (w *world) casting(together bool) (c cast) {
	w.t.Helper()
	var leading *Node
	w.until("cluster that serves and agrees on a leader", func() bool {
		c = cast{}
		for _, m := range w.machines {
			n := w.process(m)
			if n.Ready() != nil {
				return false
			}
			l := w.byID(n.boot.Load().store.Leader())
			if l == nil || c.leader != nil && c.leader != l {
				return false
			}
			c.leader, leading = l, w.process(l)
		}
		return true
	})
	slots := leading.boot.Load().store.View().Table.Slots
	for i := 0; c.owner == nil; i++ {
		name := fmt.Sprint("room:probe-", i)
		owner := w.byID(slots[ring.Partition(ring.Hash("demo", name), len(slots))].Owner)
		if (owner == c.leader) == together {
			c.owner = owner
			w.mu.Lock()
			w.probe = name
			w.mu.Unlock()
		}
	}
	c.gateway = c.leader
	for _, m := range w.machines {
		if m != c.leader && m != c.owner {
			c.gateway = m
		}
	}
	return c
}

// byID is the machine of a node, nil when there is none.
func (w *world) byID(node string) *machine {
	for _, m := range w.machines {
		if m.disk.NodeID() == node {
			return m
		}
	}
	return nil
}

// close ends everything. What the libraries under a node left behind gets its time to end, since time in a bubble stands
// still when a test returns.
func (w *world) close() {
	for _, m := range w.machines {
		w.kill(m)
	}
	w.backend.server.Close()
	w.net.Close()
	w.wg.Wait()
	time.Sleep(time.Minute)
	if w.t.Failed() && testing.Verbose() {
		w.t.Logf("%s", w.log)
	}
}

// backend is the receiver. It keeps what it was told, over all its requests.
type backend struct {
	w      *world
	server *http.Server

	mu    sync.Mutex
	heard []event
}

func newBackend(w *world) *backend {
	l, err := w.net.Host(backendIP).Listen(":80")
	if err != nil {
		w.t.Fatal(err)
	}
	b := &backend{w: w}
	b.server = &http.Server{Handler: b}
	w.wg.Go(func() { b.server.Serve(l) })
	return b
}

func (b *backend) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var batch struct{ Events []event }
	if body, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(body, &batch) != nil {
		return // cut off while it was sent
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = append(b.heard, batch.Events...)
}

// hears waits until the receiver has heard of something.
func (b *backend) hears(kind, name string) {
	b.w.t.Helper()
	b.w.until("webhook of "+name+" "+kind, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.heard, func(e event) bool { return e.Type == kind && e.Channel == name })
	})
}

// oracle compares all that there is to see with what the clients did: events are what each channel must have gone
// through, in order, and who of them holds now follows from the last. Nothing else may have happened.
func (w *world) oracle(want map[string][]string) {
	w.t.Helper()
	occupied := map[string]uint64{}
	var reference []event
	for _, m := range w.machines {
		n := w.process(m)
		if n == nil {
			continue
		}
		log := w.eventsOf(n)
		if reference == nil {
			reference = log
			occupied = w.judgeLog(log, want)
		} else if !slices.Equal(reference, log) {
			w.t.Errorf("%s says the log is %+v, another node says %+v", m.ip, log, reference)
		}
		held := map[string]uint64{}
		store := n.boot.Load().store
		for p := range len(store.View().Table.Slots) {
			store.Occupied(uint32(p), func(_, name string, seq uint64, _ int64) bool { held[name] = seq; return true })
		}
		if !maps.Equal(held, occupied) {
			w.t.Errorf("%s says that occupied are %v, the events say %v", m.ip, held, occupied)
		}
	}
	w.judgeReceiver(reference, occupied)
}

func (w *world) eventsOf(n *Node) (log []event) {
	_, _, events, err := n.boot.Load().store.Events(0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range eventsOf(events) {
		log = append(log, event{ID: e.ID, Seq: e.Seq, Channel: e.Channel, Type: e.Kind.String(), TimeMs: e.TimeMs, Ends: e.Ends})
	}
	return log
}

// judgeLog returns who is occupied by the log.
func (w *world) judgeLog(log []event, want map[string][]string) map[string]uint64 {
	w.t.Helper()
	occupied, got := map[string]uint64{}, map[string][]string{}
	for i, e := range log {
		if e.Seq != uint64(i+1) {
			w.t.Errorf("event %d of the log has seq %d", i+1, e.Seq)
		}
		got[e.Channel] = append(got[e.Channel], e.Type)
		since, is := occupied[e.Channel]
		switch {
		case e.Type == "occupied" && !is:
			occupied[e.Channel] = e.Seq
		case e.Type == "vacated" && is && e.Ends == since:
			delete(occupied, e.Channel)
		default:
			w.t.Errorf("%+v where %d was occupied", e, since)
		}
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		w.t.Errorf("the log tells %v, want %v", got, want)
	}
	return occupied
}

// judgeReceiver: each event at least once, in order per channel, and none that is not in the log; so its table is right.
func (w *world) judgeReceiver(log []event, occupied map[string]uint64) {
	w.t.Helper()
	w.backend.mu.Lock()
	defer w.backend.mu.Unlock()
	table, first, last := map[string]uint64{}, map[string]bool{}, map[string]uint64{}
	for _, e := range w.backend.heard {
		if e.Seq == 0 || e.Seq > uint64(len(log)) || log[e.Seq-1] != e {
			w.t.Errorf("the receiver was told %+v, which is not in the log", e)
		}
		if first[e.ID] {
			continue // told again
		}
		first[e.ID] = true
		if e.Seq < last[e.Channel] {
			w.t.Errorf("%+v arrived after %d", e, last[e.Channel])
		}
		last[e.Channel] = e.Seq
		if delete(table, e.Channel); e.Type == "occupied" {
			table[e.Channel] = e.Seq
		}
	}
	for _, e := range log {
		if !first[e.ID] {
			w.t.Errorf("%+v never arrived", e)
		}
	}
	if !maps.Equal(table, occupied) {
		w.t.Errorf("the receiver's table is %v, occupied are %v", table, occupied)
	}
}

var (
	_ channel.Log       = tappedLog{}
	_ dispatch.EventLog = tappedEvents{}
	_ net.Conn          = (*hookConn)(nil)
)
