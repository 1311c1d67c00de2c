package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"innkeeper/cluster/ring"
)

// fakeRaft is a log that all nodes of a test share. It behaves as Raft does where that matters here: a leader needs a majority of
// the voters to commit and to verify; one that is cut off thinks for a while that it still leads; followers see
// changes late, a cut one not at all; an election takes a second; a fresh leader's view may lag.
type fakeRaft struct {
	net *testNet

	mu      sync.Mutex
	history []*View // what was committed, oldest first
	servers []Server
	nodes   map[string]*fakeLog
	term    uint64
	good    time.Time // when the last real leader was last seen with a majority
	founded int
	refuse  string               // no server of this id is added
	watch   func(old, now *View) // called with each commit, f.mu held
	stop    chan struct{}
	done    chan struct{}
}

const (
	fakeTick      = 20 * time.Millisecond
	fakeElection  = time.Second
	fakeStepDown  = 500 * time.Millisecond
	fakeUncertain = 300 * time.Millisecond
)

func newFakeRaft(n *testNet) *fakeRaft {
	f := &fakeRaft{net: n, nodes: map[string]*fakeLog{}, history: []*View{{}}, stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		tick := time.NewTicker(fakeTick)
		defer tick.Stop()
		for {
			select {
			case <-f.stop:
				return
			case <-tick.C:
				f.mu.Lock()
				f.beat()
				f.mu.Unlock()
			}
		}
	}()
	return f
}

func (f *fakeRaft) close() {
	close(f.stop)
	<-f.done
}

// fakeLog is one node's log. What a disk would keep is in disk, which outlives it.
type fakeLog struct {
	raft    *fakeRaft
	id, ip  string
	up      bool
	disk    *fakeDisk
	term    uint64
	leads   bool
	contact time.Time // leader: with a majority; follower: with the leader
	elected time.Time
	leader  string
	changed chan struct{}
	led     chan struct{}
	lag     bool // what others commit does not reach this node

	stubborn bool          // goes on thinking that it leads, whatever happens
	slow     time.Duration // what a proof takes, and a commit
	slower   time.Duration // what a commit takes besides
}

type fakeDisk struct {
	state   bool
	applied int // index into history
}

func (f *fakeRaft) open(id, ip string, disk *fakeDisk) *fakeLog {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &fakeLog{raft: f, id: id, ip: ip, up: true, disk: disk, changed: make(chan struct{}, 1), led: make(chan struct{}, 1)}
	f.nodes[id] = l
	return l
}

func (l *fakeLog) close() {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	l.up, l.leads = false, false
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *fakeRaft) voters() int {
	n := 0
	for _, s := range f.servers {
		if s.Voter {
			n++
		}
	}
	return n
}

// quorum says whether l reaches a majority of the voters.
func (f *fakeRaft) quorum(l *fakeLog) bool {
	n := 0
	for _, s := range f.servers {
		o := f.nodes[s.ID]
		if s.Voter && o != nil && o.up && (o == l || f.net.reaches(l.ip, o.ip)) {
			n++
		}
	}
	return l.up && n >= majority(f.voters()) && f.voters() > 0
}

// real is the leader of the present term, if it can lead.
func (f *fakeRaft) real() *fakeLog {
	for _, l := range f.nodes {
		if l.leads && l.term == f.term && f.quorum(l) {
			return l
		}
	}
	return nil
}

func (f *fakeRaft) setLeader(l *fakeLog, leader string) {
	if l.leader != leader {
		l.leader = leader
		poke(l.led)
	}
}

func (f *fakeRaft) beat() {
	now := time.Now()
	r := f.real()
	if r == nil && now.Sub(f.good) >= fakeElection {
		for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
			l := f.nodes[id]
			if voter := slices.ContainsFunc(f.servers, func(s Server) bool { return s.ID == id && s.Voter }); !voter || !f.quorum(l) || !l.disk.state {
				continue
			}
			f.term++
			l.term, l.leads, l.contact, l.elected, r = f.term, true, now, now, l
			f.setLeader(l, l.id)
			poke(l.led)
			break
		}
	}
	if r != nil {
		f.good, r.contact = now, now
		if now.Sub(r.elected) > 5*fakeTick {
			f.apply(r)
		}
	}
	for _, l := range f.nodes {
		switch {
		case !l.up || l == r:
		case r != nil && f.net.reaches(r.ip, l.ip) && slices.ContainsFunc(f.servers, func(s Server) bool { return s.ID == l.id }):
			if l.leads {
				l.leads = false
				poke(l.led)
			}
			l.term, l.contact, l.disk.state = f.term, now, true
			f.setLeader(l, r.id)
			f.apply(l)
		case l.leads && l.stubborn:
		case l.leads && now.Sub(l.contact) > fakeStepDown, !l.leads && now.Sub(l.contact) > fakeElection:
			if l.leads {
				l.leads = false
				poke(l.led)
			}
			f.setLeader(l, "")
		}
	}
}

func (f *fakeRaft) apply(l *fakeLog) {
	if last := len(f.history) - 1; l.disk.applied != last && !l.lag {
		l.disk.applied = last
		poke(l.changed)
	}
}

func (l *fakeLog) HasState() bool {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	return l.disk.state
}

func (l *fakeLog) Bootstrap(clusterID string, partitions int, servers []Server) error {
	f := l.raft
	f.mu.Lock()
	defer f.mu.Unlock()
	f.founded++
	if l.disk.state || len(f.servers) > 0 {
		return errors.New("fake: founded twice")
	}
	l.disk.state = true
	f.servers = slices.Clone(servers)
	f.history = append(f.history, &View{ClusterID: clusterID, Version: 1, Table: ring.Table{Slots: make([]ring.Slot, partitions)}})
	return nil
}

func (l *fakeLog) IsLeader() bool {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	return l.leads
}

func (l *fakeLog) Leader() string {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	return l.leader
}

func (l *fakeLog) Term() uint64 {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	return l.term
}

func (l *fakeLog) LeaderChanged() <-chan struct{} { return l.led }
func (l *fakeLog) Changed() <-chan struct{}       { return l.changed }

func (l *fakeLog) View() *View {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	return l.raft.history[l.disk.applied]
}

func (l *fakeLog) Servers() []Server {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	return slices.Clone(l.raft.servers)
}

// lead does f if l can lead now; otherwise it fails after a while, as a proposal does that nobody answers.
func (l *fakeLog) lead(ctx context.Context, f func() error) error {
	l.raft.mu.Lock()
	slow := l.slow
	l.raft.mu.Unlock()
	time.Sleep(time.Millisecond + slow)
	l.raft.mu.Lock()
	if l.leads && l.term == l.raft.term && l.raft.quorum(l) {
		defer l.raft.mu.Unlock()
		return f()
	}
	l.raft.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(fakeUncertain):
		return errors.New("fake: not the leader")
	}
}

func (l *fakeLog) Verify(ctx context.Context) error {
	return l.lead(ctx, func() error { return nil })
}

func (l *fakeLog) Commit(ctx context.Context, c MembershipChange) error {
	var slower time.Duration
	l.set(func(l *fakeLog) { slower = l.slower })
	time.Sleep(slower)
	return l.lead(ctx, func() error {
		f := l.raft
		l.lag = false // what it leads to commit it must apply, and all before
		f.apply(l)
		old := f.history[len(f.history)-1]
		if old.Version != c.IfVersion {
			return ErrConflict
		}
		v := &View{ClusterID: old.ClusterID, ColdMs: old.ColdMs, Version: old.Version + 1, Table: old.Table.Apply(c.Slots)}
		v.Table.Version = v.Version
		members := map[string]Member{}
		for _, m := range append(slices.Clone(old.Members), c.Members...) {
			members[m.Node] = m
		}
		for _, id := range slices.Sorted(maps.Keys(members)) {
			v.Members = append(v.Members, members[id])
		}
		if c.Cold {
			v.ColdMs = c.TimeMs
		}
		f.history = append(f.history, v)
		if f.watch != nil {
			f.watch(old, v)
		}
		f.apply(l)
		return nil
	})
}

func (l *fakeLog) Repartition(ctx context.Context, c Layout) error {
	return l.lead(ctx, func() error {
		f := l.raft
		l.lag = false
		f.apply(l)
		old := f.history[len(f.history)-1]
		if old.Version != c.IfVersion {
			return ErrConflict
		}
		v := *old
		v.Version++
		v.Table = ring.Table{Version: v.Version, Slots: slices.Clone(c.Slots), Began: old.Table.Began + 1}
		for _, slot := range old.Table.Slots {
			v.Table.Before = append(v.Table.Before, slot.Epoch)
			v.Table.Began = max(v.Table.Began, slot.Epoch+1)
		}
		for i := range v.Table.Slots {
			v.Table.Slots[i].Epoch = v.Table.Began
		}
		f.history = append(f.history, &v)
		if f.watch != nil {
			f.watch(old, &v)
		}
		f.apply(l)
		return nil
	})
}

func (l *fakeLog) AddNonvoter(ctx context.Context, id, addr string) error {
	return l.lead(ctx, func() error {
		f := l.raft
		if id == f.refuse {
			return errors.New("fake: refused")
		}
		for _, s := range f.servers {
			if s.Addr == addr && s.ID != id {
				return fmt.Errorf("fake: %s is the address of %s", addr, s.ID)
			}
		}
		for i := range f.servers {
			if f.servers[i].ID == id {
				f.servers[i].Addr = addr
				return nil
			}
		}
		f.servers = append(slices.Clone(f.servers), Server{ID: id, Addr: addr})
		return nil
	})
}

func (l *fakeLog) Remove(ctx context.Context, id string) error {
	return l.lead(ctx, func() error {
		l.raft.servers = slices.DeleteFunc(slices.Clone(l.raft.servers), func(s Server) bool { return s.ID == id })
		return nil
	})
}

func (l *fakeLog) Promote(ctx context.Context, id, addr string) error {
	return l.lead(ctx, func() error {
		for i, s := range l.raft.servers {
			if s.ID == id {
				l.raft.servers[i] = Server{id, addr, true}
				return nil
			}
		}
		return fmt.Errorf("fake: no server %s", id)
	})
}

func (l *fakeLog) Transfer(ctx context.Context) error {
	return l.lead(ctx, func() error {
		f := l.raft
		for _, s := range f.servers {
			if o := f.nodes[s.ID]; s.Voter && o != nil && o != l && o.up && f.net.reaches(l.ip, o.ip) {
				f.term++
				l.leads = false
				o.term, o.leads, o.contact = f.term, true, time.Now()
				f.setLeader(o, o.id)
				f.setLeader(l, o.id)
				poke(o.led)
				return nil
			}
		}
		return errors.New("fake: nobody to lead")
	})
}

// set changes a node's log under the lock.
func (l *fakeLog) set(f func(l *fakeLog)) {
	l.raft.mu.Lock()
	defer l.raft.mu.Unlock()
	f(l)
}

// committed is the newest view.
func (f *fakeRaft) committed() *View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.history[len(f.history)-1]
}

// leaderID names the node that leads for real.
func (f *fakeRaft) leaderID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.real(); r != nil {
		return r.id
	}
	return ""
}
