package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"innkeeper/cluster/ring"
)

// world is a network, a log and the nodes on them. It lives in a synctest bubble.
type world struct {
	t     *testing.T
	net   *testNet
	raft  *fakeRaft
	began time.Time
	boots int
	disks map[string]*fakeDisk
	nodes map[string]*testNode
	tweak func(*Config)
	lag   bool // the next node's log does not catch up

	mu  sync.Mutex
	all map[Peer]*testNode // every boot there ever was
}

// testNode is one boot of a node.
type testNode struct {
	*Cluster
	w    *world
	host *testHost
	logs *fakeLog
	rec  *recorder

	killed atomic.Bool

	mu    sync.Mutex
	slept time.Duration
}

func newWorld(t *testing.T) *world {
	n := newTestNet()
	w := &world{t: t, net: n, raft: newFakeRaft(n), began: time.Now(), disks: map[string]*fakeDisk{}, nodes: map[string]*testNode{}, all: map[Peer]*testNode{}}
	w.raft.watch = w.judge
	return w
}

// judge looks at every change as it is committed. Whoever is declared dead or replaced must have no lease, or no process;
// owners are alive; and epochs go up exactly where the owner's boot changes.
func (w *world) judge(old, now *View) {
	for _, p := range old.live() {
		w.mu.Lock()
		n := w.all[p]
		w.mu.Unlock()
		if n != nil && !now.holds(p) && !n.killed.Load() && n.LeaseHeld() {
			w.t.Errorf("%v is declared dead but holds its lease for another %v", p, n.lease.left(n.boottime()))
		}
	}
	if now.Table.Began != old.Table.Began {
		return // all of it is new
	}
	for part, s := range now.Table.Slots {
		was := old.Table.Slots[part]
		before, _ := old.Member(was.Owner)
		after, _ := now.Member(s.Owner)
		if s.Owner != "" && after.State != Alive && after.State != Leaving {
			w.t.Errorf("partition %d belongs to %+v", part, after)
		}
		if changed := before.Peer() != after.Peer(); changed && s.Epoch != was.Epoch+1 || !changed && s.Epoch != was.Epoch {
			w.t.Errorf("partition %d: epoch %d → %d, owner %v → %v", part, was.Epoch, s.Epoch, before.Peer(), after.Peer())
		}
	}
}

// end stops everything that still runs.
func (w *world) end() {
	var all sync.WaitGroup
	for _, n := range w.nodes {
		all.Go(func() { n.Stop(false) })
	}
	all.Wait()
	w.raft.close()
	time.Sleep(gossipEnds)
}

// gossipEnds is how long a probe of memberlist may still wait for its timers after Stop; a bubble wants to see it end.
const gossipEnds = 20 * time.Second

func ipOf(id string) string { return "10.0.0." + id[1:] }

// start boots a node; its number is its address. It joins n1 and n2.
func (w *world) start(id string, expect int) *testNode { return w.startAs(id, id, expect) }

// startAs boots a node at the address of another.
func (w *world) startAs(id, at string, expect int) *testNode {
	w.t.Helper()
	w.boots++
	host := w.net.host(ipOf(at))
	if w.disks[id] == nil {
		w.disks[id] = &fakeDisk{}
	}
	n := &testNode{w: w, host: host, logs: w.raft.open(id, host.ip, w.disks[id]), rec: newRecorder()}
	n.logs.set(func(l *fakeLog) { l.lag = w.lag })
	listen := func(port string) string { return host.ip + ":" + port }
	cl, _ := host.Listen(listen("7901"))
	gl, _ := host.Listen(listen("7911"))
	gp, _ := host.ListenPacket(listen("7911"))
	cfg := Config{
		NodeID: id, BootID: fmt.Sprintf("b%d", w.boots), ClientAddr: listen("8080"), AdminAddr: listen("8090"),
		ClusterListener: cl, GossipListener: gl, GossipPacket: gp, Net: host, Log: n.logs, Observer: n.rec,
		Join: []string{"10.0.0.1:7911", "10.0.0.2:7911"}, BootstrapExpect: expect, Partitions: 12, TrustRefused: true,
		Boottime: n.boottime,
	}
	if os.Getenv("CLUSTER_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("on", cfg.NodeID+"/"+cfg.BootID)
	}
	if w.tweak != nil {
		w.tweak(&cfg)
	}
	var err error
	if n.Cluster, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	n.rec.node = n
	n.Cluster.Handle(1, func(from Peer, b []byte) { n.rec.heard(from, string(b)) })
	n.Cluster.HandleRequest(2, func(_ context.Context, from Peer, b []byte) ([]byte, error) {
		return append([]byte(from.Node+" says "), b...), nil
	})
	if err := n.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.nodes[id] = n
	w.mu.Lock()
	w.all[n.me] = n
	w.mu.Unlock()
	return n
}

func (n *testNode) boottime() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.w.began) + n.slept
}

// sleepFor is a machine that slept for d: only its boottime clock noticed. No time passes for the others, which is harsher
// than the truth for a member, whose lease just ends sooner; of a leader it is impossible, since while it sleeps the
// leases of the others grow as old as it believes. Only for nodes that do not lead.
func (n *testNode) sleepFor(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slept += d
}

// sleepAll is one machine under all nodes that slept for d.
func (w *world) sleepAll(d time.Duration) {
	for _, n := range w.nodes {
		n.mu.Lock() // all of them, so that nobody sees some of the clocks ahead of others
		defer n.mu.Unlock()
	}
	for _, n := range w.nodes {
		n.slept += d
	}
}

// kill ends the node as kill -9 does. Its goroutines are ended as well, which nobody can see.
func (n *testNode) kill() {
	n.killed.Store(true)
	n.logs.close()
	n.host.kill()
	n.Stop(false)
}

// leave stops the node as it should be.
func (n *testNode) leave() {
	n.Stop(true)
	n.logs.close()
	n.host.kill()
}

// await waits until ok, and fails after limit. It returns how long that took.
func (w *world) await(limit time.Duration, what string, ok func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			w.t.Fatalf("not within %v: %s\n%s", limit, what, w.dump())
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

func (w *world) dump() string {
	v := w.raft.committed()
	s := fmt.Sprintf("committed: version %d, cold %d, members %+v\nleader %s, servers %+v\n", v.Version, v.ColdMs, v.Members, w.raft.leaderID(), w.raft.servers)
	for _, id := range slices.Sorted(mapsKeys(w.nodes)) {
		n := w.nodes[id]
		s += fmt.Sprintf("%s/%s held=%v dead=%v owned=%v\n", id, n.me.Boot, n.LeaseHeld(), n.dead.Load(), n.rec.owns())
	}
	return s
}

func mapsKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// serving says whether exactly these nodes hold leases, own everything between them in equal shares, and see each other.
func (w *world) serving(ids ...string) bool {
	slots := w.raft.committed().Table.Slots
	if len(slots) == 0 {
		return false
	}
	owned := 0
	for _, id := range ids {
		n := w.nodes[id]
		own := n.rec.owns()
		if !n.LeaseHeld() || !n.rec.lease() || len(own) < len(slots)/len(ids) || n.rec.routed() != len(slots) || len(n.rec.live()) != len(ids) {
			return false
		}
		for _, p := range own {
			if slots[p].Owner != id {
				return false
			}
		}
		owned += len(own)
	}
	return owned == len(slots)
}

// cluster starts n nodes that found a cluster together, and waits until they serve.
func (w *world) cluster(n int) {
	w.t.Helper()
	var ids []string
	for i := 1; i <= n; i++ {
		id := fmt.Sprintf("n%d", i)
		w.start(id, n)
		ids = append(ids, id)
	}
	w.await(30*time.Second, fmt.Sprintf("%d nodes found a cluster and serve", n), func() bool { return w.serving(ids...) })
}

// others are the ids of all nodes but one.
func (w *world) others(id string) []string {
	var ids []string
	for o := range w.nodes {
		if o != id {
			ids = append(ids, o)
		}
	}
	slices.Sort(ids)
	return ids
}

// recorder is an observer that keeps and checks what it is told.
type recorder struct {
	mayMove atomic.Pointer[func() bool]

	node *testNode

	mu       sync.Mutex
	members  []Peer
	owned    map[uint32]uint64
	epochs   map[uint32]uint64 // highest acquired
	routes   map[uint32]Route
	held     bool
	dead     int
	messages map[Peer][]string
	faults   []string
	laid     bool
	acquire  func(part uint32, epoch uint64) // hook
	trace    []string
}

func newRecorder() *recorder {
	return &recorder{owned: map[uint32]uint64{}, epochs: map[uint32]uint64{}, routes: map[uint32]Route{}, messages: map[Peer][]string{}}
}

func (r *recorder) note(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
}

func (r *recorder) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *recorder) Members(live []Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("members %v", live)
	r.members = live
}

func (r *recorder) Layout(table ring.Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("layout %d@%d", len(table.Slots), table.Began)
	for part, epoch := range r.epochs {
		if epoch >= table.Began && r.laid {
			r.fault("%d was owned at epoch %d before a layout that begins with %d", part, epoch, table.Began)
		}
	}
	r.laid = true
	clear(r.owned)
	clear(r.routes)
}

func (r *recorder) Acquire(part uint32, epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("acquire %d@%d", part, epoch)
	if r.owned[part] != 0 || epoch <= r.epochs[part] {
		r.fault("acquired %d at epoch %d, after %d, owning it at %d", part, epoch, r.epochs[part], r.owned[part])
	}
	if r.node != nil && !slices.Contains(r.members, r.node.me) {
		r.fault("acquired %d while not a member: %v", part, r.members)
	}
	r.owned[part], r.epochs[part] = epoch, epoch
	if r.acquire != nil {
		r.acquire(part, epoch)
	}
}

func (r *recorder) Release(part uint32, epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("release %d@%d", part, epoch)
	if r.owned[part] == 0 {
		r.fault("released %d, which it does not own", part)
	}
	delete(r.owned, part)
}

func (r *recorder) Routed(part uint32, route Route) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("routed %d %v", part, route)
	if r.routes[part] == route {
		r.fault("told the same route twice: %d %v", part, route)
	}
	if !slices.ContainsFunc(r.members, func(p Peer) bool { return p.Node == route.Node }) {
		r.fault("route of %d to %s, who is no member: %v", part, route.Node, r.members)
	}
	r.routes[part] = route
}

func (r *recorder) Unrouted(part uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("unrouted %d", part)
	if r.routes[part] == (Route{}) {
		r.fault("unrouted %d twice", part)
	}
	r.routes[part] = Route{}
}

func (r *recorder) Lease(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("lease %v", held)
	if r.held == held {
		r.fault("told twice that the lease is %v", held)
	}
	r.held = held
}

func (r *recorder) DeclaredDead() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("dead")
	if r.dead++; r.dead > 1 || r.held {
		r.fault("declared dead %d times, lease %v", r.dead, r.held)
	}
}

func (r *recorder) heard(from Peer, msg string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages[from] = append(r.messages[from], msg)
}

func (r *recorder) owns() []uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(mapsKeys(r.owned))
}

func (r *recorder) lease() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

func (r *recorder) declaredDead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead > 0
}

func (r *recorder) live() []Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members
}

// routed counts the partitions with a route.
func (r *recorder) routed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, route := range r.routes {
		if route != (Route{}) {
			n++
		}
	}
	return n
}

// check fails the test for every rule of Observer that was broken.
func (w *world) check() {
	w.t.Helper()
	for id, n := range w.nodes {
		n.rec.mu.Lock()
		for _, f := range n.rec.faults {
			w.t.Errorf("%s/%s: %s", id, n.me.Boot, f)
		}
		n.rec.mu.Unlock()
	}
}

// slow makes a node's partitions ready to move only when ok says so.
func (r *recorder) slow(ok func() bool) { r.mayMove.Store(&ok) }

// Prepared implements MoveObserver.
func (r *recorder) Prepared(uint32, uint64, string) bool {
	ok := r.mayMove.Load()
	return ok == nil || (*ok)()
}

// Opened implements MoveObserver.
func (r *recorder) Opened(part uint32, _ uint64) bool { return slices.Contains(r.owns(), part) }
