package channel

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var worldSeeds = flag.Int("world.seeds", 150, "how many random worlds to run")

// world is a small cluster without sockets: nodes with a host and a gateway each, one partition, a log, and a sequence
// of committed changes (members, owner) that every node applies in order but in its own time. Gateways know the truth,
// what their clients hold and which attaches were confirmed, and judge the log by it.
type world struct {
	*testing.T
	rnd     *rand.Rand
	log     *fakeLog
	boots   int
	mu      sync.Mutex
	nodes   []*simNode // alive; only the test writes, with mu held
	changes []change
	names   []string
}

// change is one committed state of membership and table.
type change struct {
	members []GatewayID
	owner   *simNode
	epoch   uint64
}

type simNode struct {
	world   *world
	id      GatewayID
	host    *Host
	lease   fakeLease
	applied int // changes
	gateway simGateway
}

// simGateway is one node's gateway. Its fields but the channels are the test's alone.
type simGateway struct {
	owner   *simNode
	version uint64

	mu       sync.Mutex
	epoch    uint64
	dead     bool
	channels map[string]*simChannel
}

type simChannel struct {
	subscribers int32
	since       uint64 // version of the register that began the hold
	confirmed   bool
}

func (w *world) addNode() {
	w.boots++
	n := &simNode{world: w, id: GatewayID{fmt.Sprint("n", w.boots%4), fmt.Sprint("b", w.boots)}}
	n.gateway.channels = map[string]*simChannel{}
	n.host = NewHost(HostConfig{
		Log: w.log, Gateways: w, Lease: &n.lease, Partitions: 1, Series: n.id.Boot, Workers: 2,
		Settings: func(string, string) Settings {
			return Settings{VacateDelay: 2 * time.Second, IdleClose: 5 * time.Second, OccupancyInterval: time.Second, Lifecycle: true}
		},
	})
	w.mu.Lock()
	w.nodes = append(w.nodes, n)
	w.mu.Unlock()
}

// commit appends a change: everybody alive is a member, owner owns at a new epoch if it is another than before.
func (w *world) commit(owner *simNode, fresh bool) {
	c := change{owner: owner}
	if len(w.changes) > 0 {
		c.epoch = w.changes[len(w.changes)-1].epoch
	}
	if fresh {
		c.epoch = w.log.next(0)
	}
	for _, n := range w.nodes {
		c.members = append(c.members, n.id)
	}
	w.changes = append(w.changes, c)
}

func (w *world) last() change { return w.changes[len(w.changes)-1] }

// apply lets a node see the next change: its host, then its gateway.
func (n *simNode) apply() {
	if n.applied == len(n.world.changes) {
		return
	}
	c := n.world.changes[n.applied]
	n.applied++
	n.host.SetMembers(c.members)
	if c.owner == n {
		n.host.Acquire(0, c.epoch)
	} else {
		n.host.Release(0, c.epoch)
	}
	if n.gateway.epoch != c.epoch {
		n.route(c.owner, c.epoch)
	}
}

// route begins a session with an owner: everything is registered again.
func (n *simNode) route(owner *simNode, epoch uint64) {
	g := &n.gateway
	g.mu.Lock()
	g.owner, g.epoch = owner, epoch
	snapshot := &Snapshot{}
	for name, c := range g.channels {
		if c.subscribers > 0 {
			snapshot.Registers = append(snapshot.Registers, g.register(name, c))
		}
	}
	g.mu.Unlock()
	owner.host.FromGateway(n.id, 0, epoch, snapshot)
}

func (g *simGateway) register(name string, c *simChannel) Register {
	g.version++
	if c.since == 0 {
		c.since = g.version
	}
	r := Register{App: "app", Name: name, Version: g.version, Confirm: !c.confirmed}
	r.Counts[Connections], r.Counts[Subscribers] = c.subscribers, c.subscribers
	return r
}

// hold makes the clients of a node hold a channel with so many subscribers.
func (n *simNode) hold(name string, subscribers int32) {
	g := &n.gateway
	g.mu.Lock()
	c := g.channels[name]
	if c == nil {
		c = &simChannel{}
		g.channels[name] = c
	}
	if subscribers == 0 {
		c.since, c.confirmed = 0, false
	}
	c.subscribers = subscribers
	var r Register
	if subscribers > 0 {
		r = g.register(name, c)
	} else {
		g.version++
		r = Register{App: "app", Name: name, Version: g.version}
	}
	owner, epoch := g.owner, g.epoch
	g.mu.Unlock()
	if owner != nil && !owner.host.FromGateway(n.id, 0, epoch, &r) {
		n.route(owner, epoch)
	}
}

// ToGateway is what the gateways are told.
func (w *world) ToGateway(to GatewayID, _ uint32, epoch uint64, m ToGateway) bool {
	for _, n := range w.alive() {
		if n.id == to {
			n.gateway.told(w, epoch, m)
			return true
		}
	}
	return false
}

func (g *simGateway) told(w *world, epoch uint64, m ToGateway) {
	r, ok := m.(*Registered)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !ok || g.dead || epoch != g.epoch {
		return
	}
	c := g.channels[r.Name]
	if c == nil || c.subscribers == 0 || r.Version < c.since {
		return
	}
	c.confirmed = true
	if !w.log.isHeld(0, r.Name) {
		w.Errorf("an attach to %s was confirmed, but occupied is not in the log", r.Name)
	}
}

// judge is called for each committed transition.
func (w *world) judge(t Transition) {
	if t.Kind != Vacate {
		return
	}
	for _, n := range w.alive() {
		g := &n.gateway
		g.mu.Lock()
		if c := g.channels[t.Name]; c != nil && c.confirmed && !g.dead {
			w.Errorf("false vacated of %s: %v holds it", t.Name, n.id)
		}
		g.mu.Unlock()
	}
}

func (w *world) alive() []*simNode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.nodes)
}

func (w *world) any() *simNode { return w.nodes[w.rnd.IntN(len(w.nodes))] }

// kill stops a node at once; its death is committed later, by the next change.
func (w *world) kill(n *simNode) {
	n.gateway.mu.Lock()
	n.gateway.dead = true
	n.gateway.mu.Unlock()
	n.lease.lost.Store(true)
	n.host.Close()
	w.pause(3000) // until it is noticed
	synctest.Wait()
	w.mu.Lock()
	w.nodes = slices.DeleteFunc(w.nodes, func(x *simNode) bool { return x == n })
	w.mu.Unlock()
	owner, fresh := w.last().owner, false
	if owner == n {
		owner, fresh = w.any(), true
	}
	w.commit(owner, fresh)
}

func (w *world) pause(ms int) {
	time.Sleep(time.Duration(w.rnd.IntN(ms)) * time.Millisecond)
}

func (w *world) step() {
	switch n := w.any(); w.rnd.IntN(12) {
	case 0, 1, 2:
		n.hold(w.names[w.rnd.IntN(len(w.names))], int32(1+w.rnd.IntN(2)))
	case 3, 4:
		n.hold(w.names[w.rnd.IntN(len(w.names))], 0)
	case 5, 6:
		n.apply()
	case 7:
		w.commit(w.any(), true)
	case 8:
		if g := &n.gateway; g.owner != nil && w.rnd.IntN(2) == 0 {
			n.route(g.owner, g.epoch) // the link was reset
		} else {
			n.lease.lost.Store(!n.lease.lost.Load())
		}
	case 9:
		switch {
		case len(w.nodes) > 2 && w.rnd.IntN(4) == 0:
			synctest.Wait()
			w.kill(n)
		case len(w.nodes) < 4 && w.rnd.IntN(3) == 0:
			synctest.Wait()
			w.addNode()
			w.commit(w.last().owner, false)
		}
	default:
		w.pause(1500)
	}
}

// rest heals everything and compares all that can be seen with the truth.
func (w *world) rest() {
	for _, n := range w.nodes {
		n.lease.lost.Store(false)
	}
	for _, n := range w.nodes {
		for n.applied < len(w.changes) {
			n.apply()
		}
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	owner := w.last().owner
	occupied := 0
	for _, name := range w.names {
		sum := int32(0)
		for _, n := range w.nodes {
			if c := n.gateway.channels[name]; c != nil {
				sum += c.subscribers
				if c.subscribers > 0 && !c.confirmed {
					w.Errorf("at rest: %v waits for %s", n.id, name)
				}
			}
		}
		if w.log.isHeld(0, name) != (sum > 0) {
			w.Errorf("at rest: %s has %d subscribers, occupied in the log: %v", name, sum, w.log.isHeld(0, name))
		}
		if w.log.isOpen(0, name) != (sum > 0) {
			w.Errorf("at rest: %s has %d subscribers, open in the log: %v", name, sum, w.log.isOpen(0, name))
		}
		if sum > 0 {
			occupied++
		}
		if got := owner.counts(name)[Subscribers]; got != sum {
			w.Errorf("at rest: %s has %d subscribers, its owner says %d", name, sum, got)
		}
	}
	if s := owner.host.Stats(); s.Serving != 1 || s.Occupied != occupied || s.Open != occupied {
		w.Errorf("at rest: %d occupied, the owner's figures are %+v", occupied, s)
	}
	for _, n := range w.nodes {
		if s := n.host.Stats(); n != owner && (s.Serving != 0 || s.Open != 0 || s.Occupied != 0) {
			w.Errorf("at rest: %v owns nothing, its figures are %+v", n.id, s)
		}
	}
}

func (n *simNode) counts(name string) Counts {
	p := &n.host.layout.Load().parts[0]
	pos, _ := p.place("app", name)
	p.mu.Lock()
	a := p.channels.find(pos)
	p.mu.Unlock()
	if a == nil {
		return Counts{}
	}
	l, _ := a.listed()
	return l.Counts
}

func TestRandomWorlds(t *testing.T) {
	for seed := range uint64(*worldSeeds) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{T: t, rnd: rand.New(rand.NewPCG(seed, 7)), names: []string{"a", "b", "c"}}
			w.log = newFakeLog(t, time.Duration(w.rnd.IntN(40))*time.Millisecond)
			w.log.onApply = w.judge
			for range 3 {
				w.addNode()
			}
			w.commit(w.nodes[0], true)
			for _, n := range w.nodes {
				n.apply()
			}
			for range 4 {
				for range 60 {
					w.step()
				}
				w.rest()
			}
			for _, n := range w.nodes {
				n.host.Close()
			}
			w.log.inner.Wait()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
}
