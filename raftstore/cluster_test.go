package raftstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"innkeeper/cluster/ring"
)

const testPartitions = 8

// testCluster is some stores on memory disks. Run it inside a bubble.
type testCluster struct {
	t      *testing.T
	net    *testNet
	disks  map[string]*MemDisk
	stores map[string]*Store
	config func(*Config) // nil, or changes configurations
	fatal  chan error
}

func newTestCluster(t *testing.T, n int, config func(*Config)) *testCluster {
	c := &testCluster{
		t: t, net: newTestNet(), disks: map[string]*MemDisk{}, stores: map[string]*Store{},
		config: config, fatal: make(chan error, 16),
	}
	var servers []Server
	for i := range n {
		id := fmt.Sprintf("n%d", i)
		c.disks[id] = NewMemDisk()
		c.disks[id].SetNodeID(id)
		servers = append(servers, Server{id, id + ":1"})
		c.open(id)
	}
	if err := c.stores["n0"].Bootstrap("0123456789abcdef", testPartitions, servers); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *testCluster) open(id string) *Store {
	c.t.Helper()
	config := Config{
		Disk: c.disks[id], Listener: c.net.listen(id + ":1"), Dial: c.net.dialer(id), Advertise: id + ":1",
		Forward: c.net, OnFatal: func(err error) { c.fatal <- err },
	}
	if c.config != nil {
		c.config(&config)
	}
	s, err := Open(config)
	if err != nil {
		c.t.Fatalf("open %s: %v", id, err)
	}
	c.stores[id] = s
	c.net.set(id, s)
	return s
}

func (c *testCluster) kill(id string) {
	s := c.stores[id]
	c.net.set(id, nil)
	delete(c.stores, id)
	s.Kill()
}

func (c *testCluster) close() {
	for id, s := range c.stores {
		if err := s.Close(); err != nil {
			c.t.Errorf("close %s: %v", id, err)
		}
	}
}

// leader waits for one and returns it with its id.
func (c *testCluster) leader() (string, *Store) {
	c.t.Helper()
	for range 10000 {
		for id, s := range c.stores {
			if s.IsLeader() && s.View().ClusterID != "" && s.Verify(context.Background()) == nil {
				return id, s
			}
		}
		time.Sleep(time.Millisecond)
	}
	c.t.Fatal("no leader")
	return "", nil
}

// own gives every partition to an owner of the test's choice and waits until all nodes know.
func (c *testCluster) own(owner func(part uint32) string) {
	c.t.Helper()
	for {
		_, s := c.leader()
		change := MembershipChange{IfVersion: s.View().Table.Version}
		for part := range uint32(testPartitions) {
			change.Slots = append(change.Slots, SlotChange{Part: part, Owner: owner(part), Bump: true})
		}
		err := s.Commit(context.Background(), change)
		if errors.Is(err, ErrConflict) || errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUnknownOutcome) {
			continue
		}
		if err != nil {
			c.t.Fatal(err)
		}
		version := s.View().Table.Version
		for _, other := range c.stores {
			for other.View().Table.Version < version {
				time.Sleep(time.Millisecond)
			}
		}
		return
	}
}

// proposals keeps the outcomes of what a test proposed.
type proposals struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (p *proposals) propose(s *Store, kind Kind, name string) {
	part := ring.Partition(ring.Hash("app", name), testPartitions)
	p.wg.Add(1)
	s.Propose(part, s.View().Table.Slots[part].Epoch, Transition{kind, "app", name, time.Now().UnixMilli()}, func(err error) {
		p.mu.Lock()
		p.errs = append(p.errs, err)
		p.mu.Unlock()
		p.wg.Done()
	})
}

func (p *proposals) wait(t *testing.T) {
	t.Helper()
	p.wg.Wait()
	for _, err := range p.errs {
		if err != nil {
			t.Fatalf("proposal: %v", err)
		}
	}
}

// sync waits until all stores have applied what the furthest has, and checks that they agree.
func (c *testCluster) sync() []Event {
	c.t.Helper()
	var last uint64
	for _, s := range c.stores {
		last = max(last, s.View().LastSeq)
	}
	var all []Event
	for id, s := range c.stores {
		if err := s.WaitApplied(context.Background(), last); err != nil {
			c.t.Fatal(err)
		}
		_, _, events, err := s.Events(0, 1<<30)
		if err != nil {
			c.t.Fatal(err)
		}
		if all == nil {
			all = events
		}
		if !slices.Equal(all, events) {
			c.t.Fatalf("%s has other events", id)
		}
	}
	return all
}

// checkEvents checks alternation, numbering and ends, and returns what is occupied after all of them, and what is open,
// under names with openMark.
func checkEvents(t failer, events []Event) map[string]uint64 {
	t.Helper()
	occupied := map[string]uint64{}
	since := map[string]int64{}
	for i, e := range events {
		if e.Seq != events[0].Seq+uint64(i) {
			t.Fatalf("event %d has seq %d", i, e.Seq)
		}
		k := e.App + "\x00" + e.Channel
		if e.Kind >= Opened {
			k = openMark + k
		}
		seq, is := occupied[k]
		switch {
		case !e.Kind.ends() && !is:
			occupied[k], since[k] = e.Seq, e.TimeMs
		case e.Kind.ends() && is && e.Ends == seq && e.SinceMs == since[k]:
			delete(occupied, k)
		default:
			t.Fatalf("event %+v when occupied is %v by %d", e, is, seq)
		}
	}
	return occupied
}

const openMark = "open\x00"

func TestThreeStoresCommitFromEachNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		c.own(func(part uint32) string { return fmt.Sprintf("n%d", part%3) })
		var p proposals
		for i := range 300 {
			name := fmt.Sprintf("chan-%d", i)
			part := ring.Partition(ring.Hash("app", name), testPartitions)
			p.propose(c.stores[fmt.Sprintf("n%d", part%3)], Occupied, name)
		}
		p.wait(t)
		events := c.sync()
		if len(events) != 300 {
			t.Fatalf("got %d events, want 300", len(events))
		}
		if got, want := events[41].ID, "01234567-42"; got != want {
			t.Fatalf("got id %s, want %s", got, want)
		}
		for id, s := range c.stores {
			n := 0
			for part := range uint32(testPartitions) {
				s.Occupied(part, func(string, string, uint64, int64) bool { n++; return true })
			}
			if n != 300 {
				t.Errorf("%s has %d occupied channels, want 300", id, n)
			}
		}
	})
}

// TestLeaderKilledUnderLoad proposes occupied, vacated, occupied, … for each channel from its owner, one after the
// other's confirmation, while leaders are killed and forwards and answers get lost. Nothing may be lost or doubled.
func TestLeaderKilledUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(c *Config) { c.SnapshotEntries, c.TrailingEntries, c.SnapshotInterval = 30, 10, time.Second })
		defer c.close()
		_, _ = c.leader()
		rng := rand.New(rand.NewPCG(1, 2))
		var hookMu sync.Mutex
		c.net.onForward = func(string, bool) error {
			hookMu.Lock()
			defer hookMu.Unlock()
			if rng.IntN(10) == 0 {
				return errors.New("lost")
			}
			return nil
		}
		confirmed := map[string]int{}
		for round := range 12 {
			owner := slices.Sorted(maps.Keys(c.stores))[round%len(c.stores)]
			c.own(func(uint32) string { return owner })
			s := c.stores[owner]
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i := range 40 {
				wg.Go(func() {
					name := fmt.Sprintf("chan-%d", i)
					part := ring.Partition(ring.Hash("app", name), testPartitions)
					for range 5 {
						mu.Lock()
						kind := Kind(confirmed[name]%2) + Occupied
						mu.Unlock()
						outcome := make(chan error, 1)
						s.Propose(part, s.View().Table.Slots[part].Epoch, Transition{kind, "app", name, time.Now().UnixMilli()},
							func(err error) { outcome <- err })
						if err := <-outcome; err != nil {
							t.Errorf("round %d: %v", round, err)
							return
						}
						mu.Lock()
						confirmed[name]++
						mu.Unlock()
					}
				})
			}
			if leader, _ := c.leader(); leader != owner {
				c.kill(leader)
				start := time.Now()
				if _, s := c.leader(); s != nil && time.Since(start) > 3*time.Second {
					t.Errorf("round %d: new leader after %v", round, time.Since(start))
				}
				c.open(leader)
			}
			wg.Wait()
		}
		events := c.sync()
		checkEvents(t, events)
		want := 0
		for _, n := range confirmed {
			want += n
		}
		if len(events) != want {
			t.Errorf("got %d events, %d were confirmed", len(events), want)
		}
	})
}

func TestWholeClusterRestartsFromDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer func() { c.close() }()
		c.own(func(uint32) string { return "n1" })
		var p proposals
		for i := range 100 {
			p.propose(c.stores["n1"], Occupied, fmt.Sprint("chan-", i))
		}
		p.wait(t)
		_, leader := c.leader()
		if _, err := leader.EnsureCursor(context.Background(), "hook"); err != nil {
			t.Fatal(err)
		}
		if err := leader.SetCursor(context.Background(), "hook", 40); err != nil {
			t.Fatal(err)
		}
		for _, id := range slices.Sorted(maps.Keys(c.stores)) {
			c.kill(id)
		}
		for id := range c.disks {
			c.open(id)
		}
		_, leader = c.leader()
		if err := leader.WaitApplied(context.Background(), 100); err != nil {
			t.Fatal(err)
		}
		if got := leader.Cursors()["hook"]; got != 40 {
			t.Errorf("cursor is %d, want 40", got)
		}
		if got := len(checkEvents(t, c.sync())); got != 100 {
			t.Errorf("%d channels are occupied, want 100", got)
		}
	})
}

func TestEpochOverEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, nil)
		defer c.close()
		c.own(func(uint32) string { return "n1" })
		leader, _ := c.leader()
		owner := "n1"
		if leader == owner {
			owner = "n2"
		}
		c.net.onForward = func(string, bool) error { return errors.New("link is down") }
		outcome := make(chan error, 1)
		epoch := c.stores[owner].View().Table.Slots[0].Epoch
		name := nameIn(0)
		c.stores[owner].Propose(0, epoch, Transition{Occupied, "app", name, 1}, func(err error) { outcome <- err })
		time.Sleep(time.Second)
		select {
		case err := <-outcome:
			t.Fatalf("outcome %v without a link to the leader", err)
		default:
		}
		c.own(func(uint32) string { return leader })
		if err := <-outcome; !errors.Is(err, ErrEpochOver) {
			t.Fatalf("got %v, want ErrEpochOver", err)
		}
		c.stores[owner].Propose(0, epoch, Transition{Occupied, "app", name, 1}, func(err error) { outcome <- err })
		if err := <-outcome; !errors.Is(err, ErrEpochOver) {
			t.Fatalf("got %v, want ErrEpochOver", err)
		}
	})
}

// nameIn finds a channel name in a partition.
func nameIn(part uint32) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("c", i); ring.Partition(ring.Hash("app", name), testPartitions) == part {
			return name
		}
	}
}

func TestConflictingCommitIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, nil)
		defer c.close()
		_, s := c.leader()
		ctx := context.Background()
		version := s.View().Table.Version
		m := Member{Node: "n0", Boot: "b", State: Alive}
		if err := s.Commit(ctx, MembershipChange{IfVersion: version, Members: []Member{m}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx, MembershipChange{IfVersion: version, Members: []Member{m}}); !errors.Is(err, ErrConflict) {
			t.Fatalf("got %v, want ErrConflict", err)
		}
		if err := s.Commit(ctx, MembershipChange{IfVersion: version + 1, Members: []Member{{Node: "x"}}}); !errors.Is(err, ErrInvalid) {
			t.Fatalf("got %v, want ErrInvalid for a member without a state", err)
		}
		if got := s.View().Members; len(got) != 1 || got[0] != m {
			t.Fatalf("members are %v", got)
		}
	})
}

func TestJoinAndPromote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, func(c *Config) { c.SnapshotEntries, c.TrailingEntries, c.SnapshotInterval = 10, 1, time.Second })
		defer c.close()
		c.own(func(uint32) string { return "n0" })
		for i := range 50 {
			var p proposals
			p.propose(c.stores["n0"], Occupied, fmt.Sprint("chan-", i))
			p.wait(t)
		}
		time.Sleep(10 * time.Second) // a snapshot is taken and the log cut, so that the joiner needs it
		if n := c.stores["n0"].Stats().Snapshots; n == 0 {
			t.Fatal("no snapshot")
		}
		c.disks["n9"] = NewMemDisk()
		c.disks["n9"].SetNodeID("n9")
		joiner := c.open("n9")
		if joiner.HasState() {
			t.Fatal("new node has state")
		}
		ctx := context.Background()
		_, leader := c.leader()
		if err := leader.AddNonvoter(ctx, "n9", "n9:1"); err != nil {
			t.Fatal(err)
		}
		if err := joiner.WaitApplied(ctx, 50); err != nil {
			t.Fatal(err)
		}
		if err := leader.Promote(ctx, "n9", "n9:1"); err != nil {
			t.Fatal(err)
		}
		want := []ServerInfo{{"n0", "n0:1", true}, {"n9", "n9:1", true}}
		if got := leader.Servers(); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if err := leader.Transfer(ctx); err != nil {
			t.Fatal(err)
		}
		if id, _ := c.leader(); id != "n9" {
			t.Fatalf("leader is %s", id)
		}
		c.sync()
	})
}

// TestFailedWriteStopsTheNode fails a write of the leader's disk: it must stop by itself and be replaced.
func TestFailedWriteStopsTheNode(t *testing.T) {
	for _, op := range []string{"log", "stable"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTestCluster(t, 3, nil)
				defer func() { c.close() }()
				c.own(func(uint32) string { return "n0" })
				leader, s := c.leader()
				c.disks[leader].OnWrite(func(w Write) (time.Duration, error) {
					if w.Op == op {
						return 0, errors.New("no space left")
					}
					return 0, nil
				})
				if op == "log" {
					err := s.Commit(context.Background(), MembershipChange{IfVersion: s.View().Table.Version})
					if err == nil {
						t.Error("committed by a failing disk")
					}
				} else {
					s.Transfer(context.Background()) // the next term cannot be stored
				}
				var fatal *FatalError
				if err := <-c.fatal; !errors.As(err, &fatal) || fatal.Kind != FatalDisk {
					t.Fatalf("got %v, want a FatalError of the disk", err)
				}
				if err := s.Close(); !errors.As(err, &fatal) {
					t.Fatalf("close: %v", err)
				}
				delete(c.stores, leader)
				c.net.set(leader, nil)
				if id, _ := c.leader(); id == leader {
					t.Fatal("still the leader")
				}
				c.disks[leader].OnWrite(nil)
				c.open(leader)
				c.sync()
			})
		})
	}
}

// TestHungDiskIsNoticed lets the leader's disk hang: heartbeats would go on for ever.
func TestHungDiskIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 3, func(c *Config) { c.DiskTimeout = 2 * time.Second })
		defer func() { c.close() }()
		leader, s := c.leader()
		c.disks[leader].OnWrite(func(Write) (time.Duration, error) { return time.Hour, nil })
		go s.Commit(context.Background(), MembershipChange{IfVersion: s.View().Table.Version})
		start := time.Now()
		<-c.fatal
		s.Kill()
		delete(c.stores, leader)
		c.net.set(leader, nil)
		c.leader()
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("new leader after %v", d)
		}
	})
}

// TestUnknownCommandStopsTheNode puts into the log what a newer version might.
func TestUnknownCommandStopsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, nil)
		_, s := c.leader()
		if _, err := s.applyFuture([]byte{200, 1}); err != nil {
			t.Fatal(err)
		}
		var fatal *FatalError
		if err := <-c.fatal; !errors.As(err, &fatal) || fatal.Kind != FatalCommand {
			t.Fatalf("got %v, want a FatalError of the command", err)
		}
		if err := s.Close(); !errors.As(err, &fatal) {
			t.Fatalf("close: %v", err)
		}
	})
}

func TestTrimKeepsWhatCursorsNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, 1, func(c *Config) { c.Retention, c.RetentionMax = 100, 10_000 })
		defer c.close()
		c.own(func(uint32) string { return "n0" })
		_, s := c.leader()
		ctx := context.Background()
		if seq, err := s.EnsureCursor(ctx, "slow"); err != nil || seq != 0 {
			t.Fatalf("got %d, %v, want 0", seq, err)
		}
		add := func(from, n int) {
			for i := range n {
				var p proposals
				p.propose(s, Occupied, fmt.Sprint("chan-", from+i))
				p.wait(t)
			}
			time.Sleep(time.Second)
		}
		add(0, 500)
		if first, _, _, _ := s.Events(499, 1); first != 1 {
			t.Fatalf("first event is %d before the cursor moved", first)
		}
		if err := s.SetCursor(ctx, "slow", 300); err != nil {
			t.Fatal(err)
		}
		add(500, 1)
		if first, _, _, _ := s.Events(499, 1); first != 301 {
			t.Fatalf("first event is %d, want 301", first)
		}
		if err := s.DropCursor(ctx, "slow"); err != nil {
			t.Fatal(err)
		}
		add(501, 200)
		first, last, _, _ := s.Events(700, 1)
		if n := last - first + 1; n < 100 || n > 110 {
			t.Fatalf("%d events retained, want about 100", n)
		}
		if _, _, _, err := s.Events(first-2, 1); !errors.Is(err, ErrCompacted) {
			t.Fatalf("got %v, want ErrCompacted", err)
		}
		if seq, err := s.EnsureCursor(ctx, "new"); err != nil || seq != first-1 {
			t.Fatalf("got %d, %v, want %d", seq, err, first-1)
		}
	})
}
